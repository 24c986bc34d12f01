"""Which of several sources a fact of a file is taken from: the caller's option first, then the file."""

from __future__ import annotations

import logging
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tomo3d.errors import FormatError
from tomo3d.io._angles import check_agreement, check_angles, read_angle_file, side_file
from tomo3d.io._extended import Extended, read_extended
from tomo3d.io._mrc_header import MrcHeader

Angles = str | os.PathLike[str] | Sequence[float] | np.ndarray
_AXIS_TITLE = re.compile(r"tilt axis angle\s*=\s*([-+]?\d+(?:\.\d*)?(?:e[-+]?\d+)?)", re.IGNORECASE)
_EXCLUDED_TITLE = re.compile(r"excluded views \(0-based\) = ([\d, -]+)")
UNKNOWN = "unknown"  # how the source of an assumed fact begins
_SAME_SIZE = 1e-3  # two pixel sizes agree within this part: cells are stored as rounded float32
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SeriesFacts:
    """What is known of a tilt series without its images, and from where."""

    tilt_angles_deg: np.ndarray
    pixel_size_nm: float
    tilt_axis_deg: float
    use: np.ndarray | None
    sources: Mapping[str, str]


def series_facts(
    header: MrcHeader, angles: Angles | None, pixel_size_nm: float | None, tilt_axis_deg: float | None
) -> SeriesFacts:
    """Angles, pixel size and axis of a tilt series, or the sentence that says what is missing."""
    if header.stored_axes != (0, 1, 2):
        raise FormatError(
            f"{header.path} must have its views as sections with x along the rows (mapc, mapr, maps = 1, 2, 3), "
            f"got the order {tuple(3 - axis for axis in reversed(header.stored_axes))}: "
            "it looks like a map, not a tilt series."
        )
    extended = read_extended(header)
    values, angle_source = tilt_angles(header, extended, angles)
    pixel, pixel_source = pixel_size(header, extended, pixel_size_nm)
    axis, axis_source = tilt_axis(header, extended, tilt_axis_deg)
    sources = {"tilt_angles_deg": angle_source, "pixel_size_nm": pixel_source, "tilt_axis_deg": axis_source}
    return SeriesFacts(values, pixel, axis, excluded_views(header), sources)


def tilt_angles(header: MrcHeader, extended: Extended, angles: Angles | None) -> tuple[np.ndarray, str]:
    """Angles in degrees and their source: option, file beside the images, extended header."""
    n_views = header.stored_shape[0]
    if angles is not None:
        if isinstance(angles, (str, os.PathLike)):
            values, source = read_angle_file(angles), f"file {Path(angles).name}"
        else:
            values, source = np.asarray(angles, dtype=np.float64), "given"
        return check_angles(values, n_views, source), source
    in_header = f"extended header ({extended.layout})"
    beside = side_file(header.path)
    stored = extended.tilt_angles_deg
    if beside is not None:
        source = f"file {beside.name}"
        values = check_angles(read_angle_file(beside), n_views, source)
        if stored is not None:
            check_agreement(values, source, check_angles(stored, n_views, in_header), in_header)
        return values, source
    if stored is not None:
        return check_angles(stored, n_views, in_header), in_header
    raise FormatError(
        f"{header.path} must come with its tilt angles, but has none in its header and no file "
        f"{header.path.stem}.rawtlt or .tlt beside it: pass angles, a file with one angle per line "
        f"or a list of {n_views} angles in degrees."
    )


def pixel_size(header: MrcHeader, extended: Extended, pixel_size_nm: float | None) -> tuple[float, str]:
    """Pixel size in nm and its source: option, extended header, cell."""
    if pixel_size_nm is not None:
        return check_length(pixel_size_nm, "pixel_size_nm"), "given"
    if extended.pixel_size_nm is not None:
        return extended.pixel_size_nm, f"extended header ({extended.layout})"
    _, y, x = header.voxel_size_nm
    if math.isnan(x) or math.isnan(y):
        raise FormatError(f"{header.path} has no pixel size in its header: pass pixel_size_nm.")
    if abs(x - y) > _SAME_SIZE * x:
        raise FormatError(f"{header.path} must have square pixels, got {y:g} x {x:g} nm: pass pixel_size_nm.")
    if is_default_size(x):
        _log.warning("%s: %s", header.path, default_size_suspicion("pixel"))
    return x, "cell of the header"


def tilt_axis(header: MrcHeader, extended: Extended, tilt_axis_deg: float | None) -> tuple[float, str]:
    """Tilt axis in degrees and its source: option, title of the header, else 0."""
    if tilt_axis_deg is not None:
        if not math.isfinite(tilt_axis_deg):
            raise ValueError(f"tilt_axis_deg must be a finite angle in degrees, got {tilt_axis_deg}.")
        return float(tilt_axis_deg), "given"
    for title in header.titles:
        found = _AXIS_TITLE.search(title)
        if found:
            return float(found[1]), "title of the header"
    if extended.axis_deg is not None:
        _log.warning("%s: %s", header.path, axis_suspicion(extended.axis_deg))
    return 0.0, f"{UNKNOWN}: the file does not say; along y assumed"


def excluded_views(header: MrcHeader) -> np.ndarray | None:
    """Flags of the views in use, from the title that tomo3d writes; None where all are."""
    found = [match[1] for match in map(_EXCLUDED_TITLE.search, header.titles) if match]
    if not found:
        return None
    use = np.ones(header.stored_shape[0], dtype=bool)
    for item in ",".join(found).replace(" ", "").split(","):
        first, _, last = item.partition("-")
        if not first.isdigit() or (last and not last.isdigit()) or int(last or first) >= len(use):
            raise FormatError(
                f"{header.path} must name excluded views of 0 to {len(use) - 1}, its title says {item!r}."
            )
        use[int(first) : int(last or first) + 1] = False
    return use


def excluded_titles(use: np.ndarray) -> list[str]:
    """Titles that name the views that are not in use, as runs."""
    edges = np.flatnonzero(np.diff(np.concatenate([[True], use, [True]]).astype(np.int8)))
    runs = [f"{a}" if b == a + 1 else f"{a}-{b - 1}" for a, b in zip(edges[::2], edges[1::2], strict=True)]
    lines: list[str] = []
    for run in runs:
        if lines and len(lines[-1]) + len(run) + 1 <= 80:
            lines[-1] += f",{run}"
        else:
            lines.append(f"excluded views (0-based) = {run}")
    return lines


def axis_title(tilt_axis_deg: float) -> str:
    """IMOD's way to note the axis."""
    return f"Tilt axis angle = {float(tilt_axis_deg)!r}"


def voxel_size(
    header: MrcHeader, voxel_size_nm: float | Sequence[float] | None
) -> tuple[tuple[float, float, float], str]:
    """Voxel size (z, y, x) in nm and its source: option, cell."""
    if voxel_size_nm is not None:
        given = [voxel_size_nm] * 3 if np.ndim(voxel_size_nm) == 0 else list(voxel_size_nm)  # type: ignore[arg-type]
        if len(given) != 3:
            raise ValueError(f"voxel_size_nm must be one length or three (z, y, x) in nm, got {len(given)}.")
        z, y, x = (check_length(length, "voxel_size_nm") for length in given)  # type: ignore[arg-type]
        return (z, y, x), "given"
    if any(math.isnan(length) for length in header.voxel_size_nm):
        raise FormatError(f"{header.path} has no voxel size in its header: pass voxel_size_nm.")
    if has_one_interval(header):
        z, y, x = header.voxel_size_nm
        raise FormatError(
            f"{header.path} gives voxels of {z:g} x {y:g} x {x:g} nm (z, y, x), as its header counts one interval "
            f"along z for {header.shape[0]} slices: that is not believed. Pass voxel_size_nm."
        )
    if is_default_size(*header.voxel_size_nm):
        _log.warning("%s: %s", header.path, default_size_suspicion("voxel"))
    return header.voxel_size_nm, "cell of the header"


def has_one_interval(header: MrcHeader) -> bool:
    """Whether mz = 1 makes the voxels of many slices far too tall, as some label files do."""
    z, y, x = header.voxel_size_nm
    return header.intervals[0] == 1 < header.shape[0] and z > 3 * max(y, x)


def check_length(value: float, name: str) -> float:
    """The value, if it is a positive length in nm."""
    if not (isinstance(value, (int, float, np.integer, np.floating)) and math.isfinite(value) and value > 0):
        raise ValueError(f"{name} must be a positive length in nm, got {value}.")
    return float(value)


def is_default_size(*sizes_nm: float) -> bool:
    """Whether all sizes are exactly 1 angstrom, which writers put where they know nothing."""
    return all(math.isclose(size, 0.1, rel_tol=1e-6) for size in sizes_nm)  # cells are float32


def default_size_suspicion(what: str) -> str:
    """What to say of a size of exactly 1 angstrom."""
    return (
        f"the {what} size is 1 angstrom, which many programs write when they do not know it: check it, "
        f"and pass {what}_size_nm if it is wrong."
    )


def axis_suspicion(axis_deg: float) -> str:
    """What to say of an axis in an FEI header."""
    return (
        f"the extended header notes a tilt axis of {axis_deg:g} deg, which is not used, "
        "as its sign differs between programs: pass tilt_axis_deg."
    )
