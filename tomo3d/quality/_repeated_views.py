"""Views that were recorded at one tilt twice: what the beam did to the specimen in between."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tomo3d import geometry, progress, tables
from tomo3d.compute import correlation, fourier_shell
from tomo3d.compute.affinity import Affinity, register_affine
from tomo3d.compute.checks import require_finite
from tomo3d.compute.resampling import affine_images
from tomo3d.planning import Plan, Sketch, planned
from tomo3d.quality._pair import resolution_nm
from tomo3d.types import TiltSeries

if TYPE_CHECKING:
    import pandas as pd

_REACH = 0.25  # of the shorter side: how far the second view may have moved
_N_BLOCKS = 8  # along each edge, that the bootstrap draws
_N_DRAWS = 2000
_COVERAGE = 0.95
_N_SIGMA = 1.96  # of a normal distribution, for that


@dataclass(frozen=True, eq=False)
class RepeatedViews:
    """Comparison of repeated views, and the correlation of each pair over rings of frequency."""

    pairs: pd.DataFrame  # tables.REPEATED_VIEWS
    curves: pd.DataFrame  # tables.REPEATED_RINGS


def _plan(series: Sketch, **_: Any) -> Plan:
    results = {name: Sketch("DataFrame") for name in ("pairs", "curves")}
    return Plan(results, 64 * math.prod(series.shape[1:]))


@planned(_plan)
def repeated_views(series: TiltSeries, *, tolerance_deg: float = 0.1, seed: int = 0) -> RepeatedViews:
    """Compare views that were recorded at one tilt angle, as zero tilt before and after a series.

    Parameters
    ----------
    series : TiltSeries
        Background subtracted, for masses. Column order of `views` says which view came first; without it, rows do.
    tolerance_deg : float
        Angles that differ by no more are one.
    seed : int
        Of the bootstrap.

    Returns
    -------
    RepeatedViews
        `pairs` (`tomo3d.tables.REPEATED_VIEWS`): the first view of each angle with each later one: shift, magnification
        along and across the tilt axis with standard errors (below 1: the specimen shrank), ratio of the masses of
        the same part of the specimen with its 95 % interval, periods at which the correlation falls below 0.5 and
        0.143. `curves` (`REPEATED_RINGS`): Fourier ring correlation after registration.

    Raises
    ------
    ValueError
        If no angle was recorded twice, the tolerance is negative, a view is constant or holds no mass, the views show
        different things, or a pixel of a view in use is not finite.

    Notes
    -----
    The second view is registered by the shifts of 25 overlapping patches, which a shift, a rotation and two
    magnifications fit. On noise-free textures of 256 x 256 pixels magnifications are right within 0.0005. Masses are
    compared over the field that both views show, corrected for its change of area; the interval comes from a
    bootstrap over 8 x 8 blocks and the errors of the magnifications. What stands still on the detector correlates
    too: correct gain and outliers first.
    """
    import pandas as pd

    if not tolerance_deg >= 0.0:
        raise ValueError(f"tolerance_deg must be 0 or more, got {tolerance_deg:g} deg.")
    found = _repeated(series, tolerance_deg)
    if not found:
        raise ValueError(
            f"at least two views in use must have one tilt angle (within {tolerance_deg:g} deg), got "
            f"{int(series.used.sum())} views at different angles."
        )
    require_finite(series.images, np.unique(found))
    rng = np.random.default_rng(seed)
    rows, curves = [], []
    for first, second in progress.track(found, "repeated views", len(found)):
        row, curve = _compare(series, first, second, rng)
        rows.append(row)
        curves.append(curve)
    table = pd.DataFrame(rows, columns=tables.names(tables.REPEATED_VIEWS))
    return RepeatedViews(
        tables.check(table, tables.REPEATED_VIEWS),
        tables.check(pd.concat(curves, ignore_index=True), tables.REPEATED_RINGS),
    )


def _repeated(series: TiltSeries, tolerance_deg: float) -> list[tuple[int, int]]:
    """(first, second) for each view that repeats the angle of an earlier one."""
    order = np.arange(series.n_tilts)
    for name in ("acquisition_order", "order"):
        if series.views is not None and name in series.views and (series.views[name] >= 0).all():
            order = np.argsort(series.views[name].to_numpy(), kind="stable")
            break
    firsts: list[int] = []
    found = []
    for view in order[series.used[order]].tolist():
        away = np.abs(series.tilt_angles_deg[firsts] - series.tilt_angles_deg[view])
        if len(firsts) and away.min() <= tolerance_deg:
            found.append((firsts[int(away.argmin())], view))
        else:
            firsts.append(view)
    return found


def _compare(
    series: TiltSeries, first: int, second: int, rng: np.random.Generator
) -> tuple[dict[str, Any], pd.DataFrame]:
    a, b = (np.asarray(series.images[k], dtype=np.float32) for k in (first, second))
    for k, image in ((first, a), (second, b)):
        if image.min() == image.max():
            raise ValueError(
                f"a view must hold more than one value, got {image.min():g} everywhere in view {k} (0-based)."
            )
    axes = geometry.rotation_yx(-series.tilt_axis_deg)  # rows: along and across the axis
    found = register_affine(a, b, axes, max_shift=_REACH * min(a.shape))
    field = _common_field(found, a.shape)
    if found.n_patches < 6 or field is None:
        raise ValueError(
            f"repeated views must show the same, got views {first} and {second} (0-based) that do not match: "
            "exclude one."
        )
    moved = affine_images(b[None], found.matrix[None], found.offset[None], a.shape)[0][field]
    here = a[field]
    magnification = found.along(axes)
    area = float(np.linalg.det(found.matrix))
    ratio, low, high = _mass_ratio(here, moved, rng, (first, second))
    of_area = _N_SIGMA * float(np.hypot(found.error[0, 0], found.error[1, 1]))  # relative
    low, high = (ratio + np.sign(end - ratio) * np.hypot(end - ratio, of_area * ratio) for end in (low, high))
    curve = _rings(series, here, moved, first, second)
    middle = 0.5 * (np.array(a.shape) - 1)
    shift = (middle - (found.matrix @ middle + found.offset)) * series.pixel_size_nm
    row = {
        "first": first,
        "second": second,
        "tilt_angle_deg": float(series.tilt_angles_deg[first]),
        "shift_y_nm": float(shift[0]),
        "shift_x_nm": float(shift[1]),
        "magnification_along": float(magnification[0, 0]),
        "magnification_along_error": float(found.error[0, 0]),
        "magnification_across": float(magnification[1, 1]),
        "magnification_across_error": float(found.error[1, 1]),
        "mass_ratio": area * ratio,
        "mass_ratio_low": float(area * low),
        "mass_ratio_high": float(area * high),
        "resolution_0_5_nm": resolution_nm(curve.rename(columns={"n_pixels": "n_voxels"}), 0.5),
        "resolution_0_143_nm": resolution_nm(curve.rename(columns={"n_pixels": "n_voxels"}), 0.143),
    }
    return row, curve


def _common_field(found: Affinity, shape: tuple[int, ...]) -> tuple[slice, slice] | None:
    """The rectangle of the first view that the second shows too; None if it is under a third of a side."""
    low, high = np.zeros(2), np.array(shape, dtype=float) - 1
    for _ in range(2):  # the matrix is nearly diagonal
        corners = np.array([[y, x] for y in (low[0], high[0]) for x in (low[1], high[1])])
        at = corners @ found.matrix.T + found.offset
        low = np.maximum(low, low - at.min(axis=0)).clip(0)
        high = np.minimum(high, high - (at.max(axis=0) - (np.array(shape) - 1)))
    first, last = np.ceil(low - 1e-6).astype(int), np.floor(high + 1e-6).astype(int) + 1
    if (3 * (last - first) < np.array(shape)).any():
        return None
    return slice(int(first[0]), int(last[0])), slice(int(first[1]), int(last[1]))


def _mass_ratio(
    first: np.ndarray, second: np.ndarray, rng: np.random.Generator, views: tuple[int, int]
) -> tuple[float, float, float]:
    """Total of the second over that of the first, and its interval by a bootstrap over blocks."""
    edges = [np.linspace(0, n, _N_BLOCKS + 1).astype(int)[:-1] for n in first.shape]
    sums = [
        np.add.reduceat(np.add.reduceat(image.astype(np.float64), edges[0], axis=0), edges[1], axis=1).ravel()
        for image in (first, second)
    ]
    for view, total in zip(views, (sums[0].sum(), sums[1].sum()), strict=True):
        if not total > 0:
            raise ValueError(
                f"the total of a view must be positive for a ratio of masses, got {total:g} in view {view} (0-based)."
            )
    drawn = rng.integers(0, len(sums[0]), (_N_DRAWS, len(sums[0])))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = sums[1][drawn].sum(axis=1) / sums[0][drawn].sum(axis=1)
    tail = 0.5 * (1.0 - _COVERAGE)
    low, high = np.quantile(ratios, (tail, 1.0 - tail))
    return float(sums[1].sum() / sums[0].sum()), float(low), float(high)


def _rings(series: TiltSeries, a: np.ndarray, b: np.ndarray, first: int, second: int) -> pd.DataFrame:
    """Fourier ring correlation of two registered images, as shells of volumes of one slice."""
    import pandas as pd

    shape = (1, int(a.shape[0]), int(a.shape[1]))
    spacing = (series.pixel_size_nm, series.pixel_size_nm, series.pixel_size_nm)
    width = 1.0 / (min(a.shape) * series.pixel_size_nm)
    n_rings = fourier_shell.n_complete_shells(0.5 / series.pixel_size_nm, width)
    of_a, of_b = (fourier_shell.transform(correlation.apodise(image)[None]) for image in (a, b))
    rings = fourier_shell.correlate(of_a, of_b, shape, spacing, width=width, n_shells=n_rings)
    return pd.DataFrame(
        {
            "first": first,
            "second": second,
            "ring": np.arange(1, n_rings + 1),
            "frequency_per_nm": rings.frequency,
            "correlation": rings.correlation,
            "n_pixels": rings.n_voxels,
        }
    )
