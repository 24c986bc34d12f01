"""AreTomo's .aln files: one line per view that was kept, and a block of local shifts of patches.

SEC ROT GMAG TX TY SMEAN SFIT SCALE BASE TILT: only ROT, TX, TY and TILT carry the alignment; TILT contains AlphaOffset
already. Dark views have no line. SEC may count raw or kept views, from 0 or 1, and is not used: lines belong to the
views whose nominal angle is TILT - AlphaOffset. alnfile and cryoet-alignment make the same transforms, but do not match
lines to views by angle: lines are taken in order, without the dark ones.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from tomo3d.errors import FormatError
from tomo3d.io._angles import check_angles
from tomo3d.io._foreign_alignment import (
    check_holds,
    excluded_views,
    from_offsets,
    match_rows,
    pixel_of,
    spread,
    to_offsets,
    warn_lost,
)  # fmt: skip
from tomo3d.io._side_text import numbers, text_lines
from tomo3d.types import Alignment, TiltSeries

WHAT = "an .aln file of AreTomo"
FIRST = "# AreTomo Alignment"
_COLUMNS = "SEC ROT GMAG TX TY SMEAN SFIT SCALE BASE TILT"
_LOCAL_COLUMNS = "tilt, patch, x, y, shift x, shift y, good"
_NOMINAL_DEG = 0.1  # both are rounded to 0.01, and stages are noted with 0.05 to spare
_MOST_VIEWS = 100_000
_MOST_LOCAL_VIEWS, _MOST_PATCHES = 2000, 1024


@dataclass(eq=False)
class AlnFile:
    """What an .aln file says, in its own units: degrees and pixels, x before y."""

    raw_size: tuple[int, int, int] = (0, 0, 0)
    dark: list[list[float]] = field(default_factory=list)
    alpha_deg: float = 0.0
    beta_deg: float = 0.0
    rows: np.ndarray = field(default_factory=lambda: np.empty((0, 10)))
    local: np.ndarray = field(default_factory=lambda: np.empty((0, 7)))


def read_aln(path: str | Path) -> AlnFile:
    """What an .aln file says.

    Raises
    ------
    FormatError
        If it is no such file, or a line is not of its kind.
    """
    file, lines = text_lines(path, WHAT, encodings=("utf-8", "latin-1"))
    if not lines[0][1].startswith(FIRST):
        raise FormatError(f"{file} must be {WHAT}, beginning with {FIRST!r}, got {lines[0][1][:60]!r}.")
    found = AlnFile()
    rows: list[list[float]] = []
    local: list[list[float]] = []
    in_local = False
    for number, line in lines[1:]:
        if not line.startswith("#"):
            n_words, what, into = (7, _LOCAL_COLUMNS, local) if in_local else (10, _COLUMNS, rows)
            into.append(numbers(file, number, line.split(), n_words, what))
            continue
        name, equals, value = (part.strip() for part in line[1:].partition("="))
        if name == "RawSize":
            n_x, n_y, n = numbers(file, number, value.split(), 3, "RawSize: x, y, views")
            if not (1 <= n <= _MOST_VIEWS and 0 <= n_x < 2**31 and 0 <= n_y < 2**31):
                raise FormatError(
                    f"{file}, line {number}: RawSize must be positive sizes, got {value[:60]!r}."
                )
            found.raw_size = (int(n_x), int(n_y), int(n))
        elif name == "DarkFrame":
            found.dark.append(numbers(file, number, value.split(), 3, "DarkFrame: index, section, tilt"))
        elif name in ("AlphaOffset", "BetaOffset") and equals:
            setattr(found, f"{name[:-6].lower()}_deg", numbers(file, number, value.split(), 1, name)[0])
        elif name.startswith("Local Alignment"):
            in_local = True
    if not rows:
        raise FormatError(f"{file} must hold one line per view ({_COLUMNS}), got none.")
    found.rows, found.local = np.array(rows), np.array(local).reshape(-1, 7)
    return found


def aln_alignment(
    file: Path, pixel_size_nm: float | None, series: TiltSeries | None, *, use_local: bool = False
) -> Alignment:
    """The alignment of an .aln file, with a row for every view of the series, dark ones too.

    `use_local` has its local block as local shifts, too.

    Raises
    ------
    FormatError
        If lines and dark frames do not account for the views, or angles disagree with the nominal ones; or if the
        pixel would be that of a series whose images have another size than RawSize says.
    """
    aln = read_aln(file)
    pixel_nm = pixel_of(file, series, pixel_size_nm)
    if series is not None and pixel_size_nm is None and any(aln.raw_size[:2]):
        shape = tuple(series.images.shape[1:])
        if shape != aln.raw_size[1::-1]:
            raise FormatError(
                f"{file} is in pixels of images of {aln.raw_size[0]} x {aln.raw_size[1]} (RawSize), but those of the "
                f"series have {shape[1]} x {shape[0]}: pass pixel_size_nm, the pixel of the former."
            )
    angles = check_angles(aln.rows[:, 9], len(aln.rows), str(file))
    n_views = series.n_tilts if series is not None else aln.raw_size[2] or len(aln.rows) + len(aln.dark)
    if len(aln.rows) + len(aln.dark) != n_views:
        raise FormatError(
            f"{file} must account for every view: it has {len(aln.rows)} lines and {len(aln.dark)} dark frames, but "
            f"there are {n_views} views{'' if series is not None else ' by its RawSize'}."
        )
    if series is None:
        views, dark_deg = _by_order(file, aln, n_views), [row[2] for row in sorted(aln.dark)]
    else:
        views = match_rows(
            file,
            angles - aln.alpha_deg,
            series.tilt_angles_deg,
            tolerance_deg=_tolerance(series.tilt_angles_deg),
            what="TILT - AlphaOffset",
        )
        dark_deg = _check_dark(file, aln, series.tilt_angles_deg, views)
    excluded = np.ones(n_views, dtype=bool)
    excluded[views] = False
    all_angles = spread(angles, views, n_views, 0.0)
    all_angles[excluded] = np.asarray(dark_deg)[: excluded.sum()] + aln.alpha_deg
    if aln.beta_deg:
        warn_lost(
            file, f"BetaOffset is {aln.beta_deg:g} deg, which is not applied: AreTomo turns the volume by it."
        )
    alignment = from_offsets(
        spread(aln.rows[:, 1], views, n_views, float(np.median(aln.rows[:, 1]))),
        spread(aln.rows[:, [4, 3]] * pixel_nm, views, n_views, 0.0),
        all_angles,
        excluded=excluded,
        evidence=_local_evidence(file, aln, views, pixel_nm),
    )
    if not len(aln.local):
        return alignment
    if not use_local:
        warn_lost(
            file,
            "its local shifts are kept as a table in evidence, and not applied: use_local has them used.",
        )
        return alignment
    return replace(alignment, local_shifts_nm=_local_shifts_px(file, aln, views, n_views, series) * pixel_nm)


def _local_shifts_px(
    file: Path, aln: AlnFile, views: np.ndarray, n_views: int, series: TiltSeries | None
) -> np.ndarray:
    from tomo3d.io._aln_local import local_nodes_px

    shape = aln.raw_size[1::-1] if any(aln.raw_size[:2]) or series is None else series.images.shape[1:]
    if not all(shape):
        raise FormatError(
            f"{file} must say the size of its views (RawSize) for its local shifts, got none: pass series."
        )
    most = int(np.bincount(aln.local[:, 0].astype(int)).max())
    if n_views > _MOST_LOCAL_VIEWS or most > _MOST_PATCHES:
        raise FormatError(
            f"{file} must have at most {_MOST_LOCAL_VIEWS:,} views and {_MOST_PATCHES:,} patches in each for its local "
            f"shifts to be used, got {n_views:,} and {most:,}."
        )
    return local_nodes_px(aln, views, n_views, (int(shape[0]), int(shape[1])))


def _tolerance(nominal_deg: np.ndarray) -> float:
    """How far a refined angle may lie from its nominal one: less than half a step, so that it is nearest to its own."""
    steps = np.diff(np.unique(nominal_deg))
    return max(_NOMINAL_DEG, 0.4 * float(np.median(steps)) if len(steps) else 0.0)


def _by_order(file: Path, aln: AlnFile, n_views: int) -> np.ndarray:
    """Views of the lines where no series tells their angles: all in order but the dark ones."""
    dark = np.array([row[0] for row in aln.dark])
    is_view = (dark >= 0) & (dark < n_views) & (dark == np.round(dark))
    if not is_view.all() or len(set(dark)) < len(dark):
        raise FormatError(
            f"{file}: DarkFrame must name different views of 0 to {n_views - 1}, got {dark.tolist()[:20]}."
        )
    views = np.setdiff1d(np.arange(n_views), dark)
    nominal = np.full(n_views, np.nan)
    nominal[views] = aln.rows[:, 9] - aln.alpha_deg
    nominal[dark.astype(int)] = [row[2] for row in aln.dark]
    if len(dark) and (np.diff(nominal[views]) > 0).all() and not (np.diff(nominal) > 0).all():
        worst = int(np.argmin(np.diff(nominal)))
        raise FormatError(
            f"{file}: its dark frames do not fit between its lines: view {worst} (0-based) would be at "
            f"{nominal[worst]:g} deg and the next at {nominal[worst + 1]:g} deg. Pass series, whose angles tell."
        )
    return views


def _check_dark(file: Path, aln: AlnFile, nominal_deg: np.ndarray, views: np.ndarray) -> list[float]:
    """Angles of the views without a line, in their order, if they are those of the dark frames."""
    free = np.setdiff1d(np.arange(len(nominal_deg)), views)
    dark = np.array([row[2] for row in aln.dark])
    difference = np.abs(np.sort(nominal_deg[free]) - np.sort(dark))
    if len(free) and difference.max() > _NOMINAL_DEG:
        in_series, in_file = (np.sort(values)[:8].tolist() for values in (nominal_deg[free], dark))
        raise FormatError(
            f"{file} must name views without a line as dark: these are at {in_series} deg in the series, its dark "
            f"frames at {in_file} deg."
        )
    return nominal_deg[free].tolist()


def _local_evidence(file: Path, aln: AlnFile, views: np.ndarray, pixel_nm: float) -> dict:
    """Shifts of patches: where they are in the raw view, from its centre, and how far they lie from the global fit."""
    import pandas as pd

    if not len(aln.local):
        return {}
    tilt = aln.local[:, 0]
    if not ((tilt == np.round(tilt)) & (tilt >= 0) & (tilt < len(views))).all():
        raise FormatError(
            f"{file}: its local block must name lines of 0 to {len(views) - 1}, got {tilt.max():g}."
        )
    y_x = aln.local[:, [3, 2, 5, 4]] * pixel_nm
    names = ("y_nm", "x_nm", "shift_y_nm", "shift_x_nm")
    table = {"view": views[tilt.astype(int)], "patch": aln.local[:, 1].astype(np.int64)}
    table |= dict(zip(names, y_x.T, strict=True))
    return {"aretomo_local": pd.DataFrame({**table, "is_good": aln.local[:, 6] > 0})}


def aln_text(alignment: Alignment, pixel_nm: float, series: TiltSeries | None) -> str:
    """Text of an .aln file.

    Raises
    ------
    ValueError
        If the alignment holds more than axis, shift and tilt of each view.
    """
    check_holds(alignment, WHAT)
    excluded = excluded_views(alignment, series)
    n_y, n_x = series.images.shape[1:] if series is not None else (0, 0)
    nominal = alignment.tilt_angles_deg if series is None else series.tilt_angles_deg
    kept = np.flatnonzero(~excluded)
    if not len(kept):
        raise ValueError(f"{WHAT} must hold one view or more, got none in use.")
    alpha = 0.0 if series is None else float(np.median(alignment.tilt_angles_deg[kept] - nominal[kept]))
    lines = [f"{FIRST} / Priims bprmMn", f"# RawSize = {n_x} {n_y} {alignment.n_tilts}", "# NumPatches = 0"]
    lines += [f"# DarkFrame =  {view:4d} {view:4d} {nominal[view]:8.2f}" for view in np.flatnonzero(excluded)]
    lines += [f"# AlphaOffset = {alpha:8.2f}", "# BetaOffset =     0.00"]
    lines.append(
        "# SEC     ROT         GMAG       TX          TY      SMEAN     SFIT    SCALE     BASE     TILT"
    )
    offsets = to_offsets(alignment) / pixel_nm
    for view in kept:
        axis, tilt = alignment.tilt_axis_deg[view], alignment.tilt_angles_deg[view]
        lines.append(
            f"{view:5d} {axis:10.4f}    1.00000 {offsets[view, 1]:10.3f} {offsets[view, 0]:10.3f}"
            f"     1.00     1.00     1.00     0.00 {tilt:10.4f}"
        )
    return "\n".join(lines) + "\n"
