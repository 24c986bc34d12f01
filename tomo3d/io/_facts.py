"""Which of several sources a fact of a file is taken from, and whether they agree: the caller's option first."""

from __future__ import annotations

import logging
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tomo3d.errors import FormatError
from tomo3d.io._angles import check_agreement, check_angles, read_tilt_list, side_file
from tomo3d.io._beside import beside_hints, known_columns
from tomo3d.io._images import Hints, ImageFile
from tomo3d.io._view_record import dose_before, order_of, view_table

if TYPE_CHECKING:
    import pandas as pd

Angles = str | os.PathLike[str] | Sequence[float] | np.ndarray
_EXCLUDED_TITLE = re.compile(r"excluded views \(0-based\) = ([\d, -]+)")
UNKNOWN = "unknown"  # how the source of an assumed fact begins
_SAME_SIZE = 1e-3  # the sides of a pixel agree within this part: cells are stored as rounded float32
_AGREED_SIZE = 0.01  # two sources of a pixel size agree within this part
_AGREED_AXIS_DEG = 0.5
_AGREED_ANGLE_DEG = 0.05  # the rounding of the formats
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Options:
    """What the caller says of a tilt series; it goes before what the file says."""

    angles: Angles | None = None
    mdoc: str | os.PathLike[str] | None = None
    pixel_size_nm: float | None = None
    tilt_axis_deg: float | None = None
    exclude: Sequence[int] = ()


@dataclass(frozen=True)
class SeriesFacts:
    """What is known of a tilt series without its images, and from where."""

    tilt_angles_deg: np.ndarray
    pixel_size_nm: float
    tilt_axis_deg: float
    use: np.ndarray | None
    views: pd.DataFrame  # tables.VIEWS
    sources: Mapping[str, str]


def series_facts(image: ImageFile, options: Options) -> SeriesFacts:
    """Angles, pixel size, axis and views of a tilt series, or the sentence that says what is missing."""
    check_series_layout(image)
    own, beside = image.hints(), beside_hints(image.path, image.shape[1:], options.mdoc)
    n_views = image.shape[0]
    angles = tilt_angles(image, own, beside, options.angles)
    pixel, pixel_source = pixel_size(image, own, beside, options.pixel_size_nm)
    axis, axis_source = tilt_axis(own, beside, options.tilt_axis_deg)
    views, views_source = table_of_views(own, beside, angles)
    if voltage_v := beside.voltage_v or own.voltage_v:
        views = views.assign(voltage_kv=1e-3 * voltage_v)
    sources = {"tilt_angles_deg": angles.source, "pixel_size_nm": pixel_source, "tilt_axis_deg": axis_source}
    if views_source:
        sources["views"] = views_source
    used = excluded_views(image)
    if np.ndim(options.exclude) != 1:
        raise ValueError(
            f"exclude must be a list of views (0-based), as [{options.exclude}], got one number."
        )
    if len(options.exclude):
        used, sources["use"] = with_excluded(used, options.exclude, n_views), "given"
    elif used is not None:
        sources["use"] = "title of the header"
    return SeriesFacts(angles.values_deg, pixel, axis, used, views, sources)


def check_series_layout(image: ImageFile) -> None:
    """Raise FormatError if the sections cannot be views."""
    if not image.is_series_layout:
        raise FormatError(
            f"{image.path} must have its views as sections with x along the rows, got the order of axes of a map: "
            "it looks like a volume, not a tilt series. Read it with read_volume."
        )


@dataclass(frozen=True)
class FoundAngles:
    """Tilt angles, their source, what their file says else, and the row of the .mdoc that each view has."""

    values_deg: np.ndarray
    source: str
    listed: Mapping[str, Any]
    rows: np.ndarray | None


def tilt_angles(image: ImageFile, own: Hints, beside: Hints, angles: Angles | None) -> FoundAngles:
    """Angles of the first source that has them: option, file beside the images, header, .mdoc.

    The others must agree. An .mdoc in another order, as that of acquisition, is matched by its angles.
    """
    n_views = image.shape[0]
    found: list[tuple[np.ndarray, str]] = []
    listed: Mapping[str, Any] = {}
    path = side_file(image.path) if angles is None else angles
    if isinstance(path, (str, os.PathLike)):
        record, source = read_tilt_list(path), f"file {Path(path).name}"
        found.append((check_angles(record.views["tilt_angle_deg"].to_numpy(), n_views, source), source))
        listed = known_columns(record.views)
    elif path is not None:
        found.append((check_angles(path, n_views, "given"), "given"))
    for values, source in own.tilt_angles if angles is None else ():
        found.append((check_angles(values, n_views, source), source))
        check_agreement(*found[0], *found[-1])
    rows = np.arange(n_views) if beside.views and not beside.tilt_angles else None
    for values, source in beside.tilt_angles:
        values = check_angles(values, n_views, source)
        found.append((values, source))
        rows = matching_rows(found[0][0], values)
        if rows is None and angles is None:
            check_agreement(*found[0], values, source)
    if not found:
        raise FormatError(
            f"{image.path} must come with its tilt angles, but has none in its header and no file "
            f"{image.path.stem}.rawtlt or .tlt beside it: pass angles, a file with one angle per line "
            f"or a list of {n_views} angles in degrees."
        )
    return FoundAngles(*found[0], listed, rows)


def matching_rows(angles_deg: np.ndarray, others_deg: np.ndarray) -> np.ndarray | None:
    """Row of `others_deg` that each angle is in: the same, or by the value if all differ; None if they disagree."""
    if np.abs(angles_deg - others_deg).max() <= _AGREED_ANGLE_DEG:
        return np.arange(len(angles_deg))
    order, other_order = np.argsort(angles_deg, kind="stable"), np.argsort(others_deg, kind="stable")
    apart = np.diff(angles_deg[order]).min(initial=np.inf) > 2 * _AGREED_ANGLE_DEG
    if not apart or np.abs(angles_deg[order] - others_deg[other_order]).max() > _AGREED_ANGLE_DEG:
        return None
    rows = np.empty(len(angles_deg), dtype=np.intp)
    rows[order] = other_order
    return rows


def pixel_size(image: ImageFile, own: Hints, beside: Hints, pixel_size_nm: float | None) -> tuple[float, str]:
    """Pixel size in nm and its source: option, extended header, header, .mdoc, log; these must agree."""
    if pixel_size_nm is not None:
        return check_length(pixel_size_nm, "pixel_size_nm"), "given"
    _, y, x = image.voxel_size_nm
    known = x > 0 and y > 0  # nan is not
    square = known and abs(x - y) <= _SAME_SIZE * x
    cell = [(x, image.size_source)] if square and not is_default_size(x) else []
    found = [*own.pixel_sizes, *cell, *beside.pixel_sizes]
    for size, source in found[1:]:
        if abs(size - found[0][0]) > _AGREED_SIZE * found[0][0]:
            raise FormatError(
                f"the pixel size of {image.path} must be one, got {found[0][0]:g} nm by {found[0][1]} and "
                f"{size:g} nm by {source}: pass pixel_size_nm."
            )
    if found:
        return found[0]
    if not known:
        raise FormatError(f"{image.path} has no pixel size in its header: pass pixel_size_nm.")
    if not square:
        raise FormatError(f"{image.path} must have square pixels, got {y:g} x {x:g} nm: pass pixel_size_nm.")
    _log.warning("%s: %s", image.path, default_size_suspicion("pixel"))
    return x, image.size_source


def tilt_axis(own: Hints, beside: Hints, tilt_axis_deg: float | None) -> tuple[float, str]:
    """Tilt axis in degrees and its source: option, title of the header, .mdoc, log, else 0; titles must agree."""
    if tilt_axis_deg is not None:
        is_number = isinstance(tilt_axis_deg, (int, float, np.integer, np.floating))
        if not (is_number and math.isfinite(tilt_axis_deg)):
            shown = tilt_axis_deg if is_number else repr(tilt_axis_deg)
            raise ValueError(f"tilt_axis_deg must be a finite angle in degrees, got {shown}.")
        return float(tilt_axis_deg), "given"
    verified = [axis for axis in (*own.axes, *beside.axes) if not axis[1].startswith("log ")]
    for axis, source in verified[1:]:
        if abs((axis - verified[0][0] + 180.0) % 360.0 - 180.0) > _AGREED_AXIS_DEG:
            raise FormatError(
                f"the tilt axis must be one, got {verified[0][0]:g} deg by {verified[0][1]} and {axis:g} deg by "
                f"{source}: pass tilt_axis_deg."
            )
    if found := [*verified, *own.axes, *beside.axes]:
        return found[0]
    return 0.0, f"{UNKNOWN}: the file does not say; along y assumed"


def table_of_views(own: Hints, beside: Hints, angles: FoundAngles) -> tuple[pd.DataFrame, str]:
    """`tables.VIEWS` and where it is from, "" where nothing is known but angles. The .mdoc goes before the header."""
    columns, sources = {**own.views, **angles.listed}, []
    if beside.views and angles.rows is not None:
        columns |= {name: np.asarray(values)[angles.rows] for name, values in beside.views.items()}
        is_moved = (angles.rows != np.arange(len(angles.rows))).any()
        sources.append(f"{beside.views_source}, matched by tilt angle" if is_moved else beside.views_source)
    sources += [angles.source] if angles.listed else []
    sources += [own.views_source] if own.views else []
    times, dose = columns.get("time"), columns.get("exposure_dose_e_per_A2")
    if "acquisition_order" not in columns and times is not None and all(times):
        columns["acquisition_order"] = order_of(times)
    if "dose_before_e_per_A2" not in columns and dose is not None and "acquisition_order" in columns:
        columns["dose_before_e_per_A2"] = dose_before(np.asarray(dose), columns["acquisition_order"])
    return view_table(len(angles.values_deg), {**columns, "tilt_angle_deg": angles.values_deg}), "; ".join(
        sources
    )


def with_excluded(use: np.ndarray | None, exclude: Sequence[int], n_views: int) -> np.ndarray:
    """Flags of the views in use, without those that the caller excludes (0-based)."""
    flags = np.ones(n_views, dtype=bool) if use is None else use.copy()
    for view in exclude:
        if isinstance(view, bool) or not isinstance(view, (int, np.integer)) or not 0 <= view < n_views:
            raise ValueError(f"exclude must name views of 0 to {n_views - 1}, got {view!r}.")
        flags[view] = False
    if not flags.any():
        raise ValueError(f"exclude must leave at least one view in use, got all {n_views}.")
    return flags


def excluded_views(image: ImageFile) -> np.ndarray | None:
    """Flags of the views in use, from the title that tomo3d writes; None where all are."""
    found = [match[1] for match in map(_EXCLUDED_TITLE.search, image.titles) if match]
    if not found:
        return None
    use = np.ones(image.shape[0], dtype=bool)
    for item in ",".join(found).replace(" ", "").split(","):
        first, _, last = item.partition("-")
        if not first.isdigit() or (last and not last.isdigit()) or int(last or first) >= len(use):
            raise FormatError(
                f"{image.path} must name excluded views of 0 to {len(use) - 1}, its title says {item!r}."
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
    image: ImageFile, voxel_size_nm: float | Sequence[float] | None
) -> tuple[tuple[float, float, float], str]:
    """Voxel size (z, y, x) in nm and its source: option, header."""
    if voxel_size_nm is not None:
        given = [voxel_size_nm] * 3 if np.ndim(voxel_size_nm) == 0 else list(voxel_size_nm)  # type: ignore[arg-type]
        if len(given) != 3:
            raise ValueError(f"voxel_size_nm must be one length or three (z, y, x) in nm, got {len(given)}.")
        z, y, x = (check_length(length, "voxel_size_nm") for length in given)  # type: ignore[arg-type]
        return (z, y, x), "given"
    if not all(length > 0 for length in image.voxel_size_nm):  # nan is not
        raise FormatError(f"{image.path} has no voxel size in its header: pass voxel_size_nm.")
    if image.size_doubt:
        raise FormatError(f"{image.path} {image.size_doubt}. Pass voxel_size_nm.")
    if is_default_size(*image.voxel_size_nm):
        _log.warning("%s: %s", image.path, default_size_suspicion("voxel"))
    return image.voxel_size_nm, image.size_source


def check_length(value: float, name: str) -> float:
    """The value, if it is a positive length in nm."""
    if not (isinstance(value, (int, float, np.integer, np.floating)) and math.isfinite(value) and value > 0):
        shown = repr(value) if isinstance(value, str) else value
        raise ValueError(f"{name} must be a positive length in nm, got {shown}.")
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
