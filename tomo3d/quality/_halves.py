"""Two volumes from two halves of the views, by any method of reconstruction."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tomo3d import geometry
from tomo3d.planning import Plan, Sketch, plan_of, planned
from tomo3d.progress import report
from tomo3d.types import Alignment, TiltSeries, Volume

Method = Callable[..., Volume]  # in a recipe { run = "reconstruct.wbp", thickness_nm = 100 }
_EVEN_ODD = "even-odd"


@dataclass(frozen=True, eq=False)
class HalfVolumes:
    """Volumes of two halves of the views that share none."""

    first: Volume
    second: Volume


def _plan(series: Sketch, method: Method, *, by: str = _EVEN_ODD, alignment: Sketch | None = None) -> Plan:
    one = plan_of_method(method, series, alignment)
    if not isinstance(one.result, Sketch):
        raise TypeError("method must return a Volume.")
    return Plan({"first": one.result, "second": one.result}, one.peak_bytes + one.result.n_bytes)


@planned(_plan)
def half_volumes(
    series: TiltSeries, method: Method, *, by: str = _EVEN_ODD, alignment: Alignment | None = None
) -> HalfVolumes:
    """Reconstruct two halves of the views on their own, for `fourier_shell_correlation`.

    Parameters
    ----------
    series : TiltSeries
        At least two views in use.
    method : callable
        From a series to a Volume, as functools.partial(tomo3d.reconstruct.wbp, thickness_nm=100). It gets the series
        with the views of the other half excluded, and `alignment` where one is given.
    by : str
        "even-odd": every second view in order of tilt angle. Otherwise a column of numbers of `series.views`, such as
        the dose up to each view or the order of exposure: views up to the middle of its range, and views above it.
    alignment : Alignment, optional
        How the views fit together, one row per view. Default: the series is aligned.

    Returns
    -------
    HalfVolumes
        Volumes of the even (first, third, ...) and odd views, or of those up to the middle and above it; their records
        say which views went in. Excluded views go into neither.

    Raises
    ------
    ValueError
        If fewer than two views are in use, `by` is no column, its values are not finite or all equal, the alignment
        has another number of views, or the two volumes are not on one grid.
    TypeError
        If the method returns something else than a Volume.

    Notes
    -----
    Each half has half the views: noise and angular step are twice those of the whole. With the even-odd division both
    halves cover the same range [1]_. Beyond the Crowther limit of a half, one has gaps where the other has views,
    and their correlation falls to zero or below whatever the noise: the whole resolves more. One alignment for both
    halves counts as part of the signal. Divide by dose only if both halves cover the tilts alike (two passes, or
    frames): else their wedges differ.

    References
    ----------
    .. [1] G. Cardone, K. Gruenewald and A. C. Steven, A resolution criterion for electron tomography based on
       cross-validation, J. Struct. Biol. 151 (2005) 117-129
    """
    used = np.flatnonzero(series.used)
    if len(used) < 2:
        raise ValueError(f"at least two views must be in use to be divided, got {len(used)}.")
    if alignment is not None:
        geometry.check_fits(series, alignment)
    halves = _even_odd(series, used, alignment) if by == _EVEN_ODD else _by_column(series, used, by)
    volumes = []
    for i, (name, views) in enumerate(halves.items()):
        report("half volumes", i, 2)
        made = reconstruct(series, views, method, alignment)
        record = {**made.record, "half": name, "views": [int(view) for view in np.sort(views)]}
        volumes.append(dataclasses.replace(made, record=record))
    report("half volumes", 2, 2)
    first, second = volumes
    if first.data.shape != second.data.shape or first.voxel_size_nm != second.voxel_size_nm:
        raise ValueError(
            f"the method must make both volumes on one grid, got {tuple(first.data.shape)} and "
            f"{tuple(second.data.shape)} voxels of {first.voxel_size_nm} and {second.voxel_size_nm} nm."
        )
    return HalfVolumes(first, second)


def plan_of_method(method: Method, series: Sketch, alignment: Sketch | None) -> Plan:
    """What one run of the method makes and needs; something of the size of the series where it does not say."""
    own = plan_of(getattr(method, "func", method))
    if own is None:
        return Plan(Sketch("Volume", series.shape, "float32", series.pixel_size_nm), series.n_bytes)
    return own(series, **{**getattr(method, "keywords", {}), "alignment": alignment})


def reconstruct(series: TiltSeries, views: np.ndarray, method: Method, alignment: Alignment | None) -> Volume:
    """The volume of some of the views: the others are excluded, and keep their rows.

    Raises
    ------
    TypeError
        If the method returns something else than a Volume.
    """
    use = np.zeros(series.n_tilts, dtype=bool)
    use[views] = True
    options: dict[str, Any] = {} if alignment is None else {"alignment": alignment}
    made = method(dataclasses.replace(series, use=use), **options)
    if not isinstance(made, Volume):
        raise TypeError(f"method must return a Volume, got a {type(made).__name__}.")
    return made


def _even_odd(series: TiltSeries, used: np.ndarray, alignment: Alignment | None) -> dict[str, np.ndarray]:
    angles = series.tilt_angles_deg if alignment is None else alignment.tilt_angles_deg
    order = used[np.argsort(angles[used], kind="stable")]
    return {"even": order[::2], "odd": order[1::2]}


def _by_column(series: TiltSeries, used: np.ndarray, column: str) -> dict[str, np.ndarray]:
    """Views before and after the middle of a column's range."""
    known = [] if series.views is None else [str(name) for name in series.views.columns]
    if series.views is None or column not in known:
        raise ValueError(
            f"by must be {_EVEN_ODD!r} or a column of the table of views, got {column!r}; "
            f"its columns are {', '.join(known) if known else 'none'}."
        )
    values = series.views[column].to_numpy()[used]
    if values.dtype.kind not in "iuf" or not np.isfinite(values.astype(np.float64)).all():
        raise ValueError(
            f"column {column!r} must hold a finite number for every view in use, got {values.dtype}."
        )
    values = values.astype(np.float64)
    if values.min() == values.max():
        raise ValueError(
            f"column {column!r} must have different values to divide the views, got {values[0]:g} only."
        )
    is_late = values > 0.5 * (values.min() + values.max())
    return {f"low {column}": used[~is_late], f"high {column}": used[is_late]}
