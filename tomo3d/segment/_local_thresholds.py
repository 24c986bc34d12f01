"""Thresholds that follow the surroundings of each voxel, for grey values that drift across a volume."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from scipy import ndimage

from tomo3d.planning import Plan, Sketch, planned
from tomo3d.progress import track
from tomo3d.segment.histogram import grey_range
from tomo3d.types import Labels, Volume

_SLAB_VOXELS = 1 << 21
_TRUNCATE = 4.0  # standard deviations of the Gaussian window
_FWHM = math.sqrt(8.0 * math.log(2.0))
_ROUNDING = 1e-9  # of the range of grey values: means of a flat window differ by less from what is in it
Window = Callable[[np.ndarray], np.ndarray]


def _plan(volume: Sketch, **_: Any) -> Plan:
    result = Sketch("Labels", volume.shape, "uint8", volume.pixel_size_nm)
    return Plan(result, result.n_bytes + (1 << 28))


@planned(_plan)
def local_threshold(
    volume: Volume, *, window_nm: float, offset: float = 0.0, weighting: Literal["mean", "gaussian"] = "mean"
) -> Labels:
    """Mask of the voxels brighter than the mean of their surroundings.

    Parameters
    ----------
    volume : Volume, shape (n_z, n_y, n_x)
        Grey values; read slab by slab.
    window_nm : float
        Width of the surroundings: edge of a box, or full width at half maximum of a Gaussian. It should be
        some times the width of the structures, as inside a larger one there is no contrast to go by.
    offset : float
        How far above the mean a voxel must be, in grey values.
    weighting : {"mean", "gaussian"}
        Whether all of a box counts the same, or what is near counts more.

    Returns
    -------
    Labels, same grid, uint8
        1 where grey value > mean + offset; where a window is flat, nothing exceeds its mean.

    Raises
    ------
    ValueError
        If the volume is constant or holds a value that is not finite, `window_nm` is not above the largest voxel
        edge, or no voxel, or every voxel, is in the mask.

    Notes
    -----
    The window is as wide in nm along each axis, in whole voxels for the box (the odd number nearest below or
    equal). Beyond the volume nothing counts: at the border the mean is that of what exists.
    """
    if weighting not in ("mean", "gaussian"):
        raise ValueError(f"weighting must be 'mean' or 'gaussian', got {weighting!r}.")
    if not math.isfinite(offset):
        raise ValueError(f"offset must be a finite grey value, got {offset}.")
    bounds = _contrast(volume)
    window, halo = _window(volume, window_nm, weighting)

    def level(slab: np.ndarray) -> np.ndarray:
        return window(slab - bounds[0]) + (bounds[0] + offset)

    record = {"method": "local_threshold", "window_nm": window_nm, "offset": offset, "weighting": weighting}
    return _by_level(volume, level, halo, record, bounds)


@planned(_plan)
def sauvola(
    volume: Volume, *, window_nm: float, k: float = 0.2, dynamic_range: float | None = None
) -> Labels:
    """Mask of bright structures by a level that follows the mean and the contrast of the surroundings.

    Parameters
    ----------
    volume : Volume, shape (n_z, n_y, n_x)
        Grey values; read slab by slab.
    window_nm : float
        Edge of the box of surroundings, some times the width of the structures.
    k : float
        How far the level rises above the local mean where there is no contrast, in parts of the distance to the
        brightest grey value; 0 to 1. The larger, the less noise of flat regions is taken for structure.
    dynamic_range : float, optional
        Standard deviation of a window with full contrast, where the level is the mean. Default: half the
        range of the grey values.

    Returns
    -------
    Labels, same grid, uint8
        1 where the grey value exceeds the level.

    Raises
    ------
    ValueError
        As `local_threshold`; or if `k` is outside 0 to 1 or `dynamic_range` is not positive.

    Notes
    -----
    Sauvola and Pietikainen [1]_ find dark text on bright paper, t = m (1 + k (s / R - 1)). Here it is mirrored for
    bright structures: with b the brightest grey value, m and s mean and standard deviation in the window,

        level = b - (b - m) (1 + k (s / R - 1)).

    So brightness and contrast of the volume do not change the mask. Window and border as in `local_threshold`.

    References
    ----------
    .. [1] Pattern Recognition 33 (2000) 225-236, doi:10.1016/S0031-3203(99)00055-2
    """
    if not 0.0 <= k <= 1.0:
        raise ValueError(f"k must be 0 to 1, got {k:g}.")
    low, high = _contrast(volume)
    if dynamic_range is None:
        dynamic_range = 0.5 * (high - low)
    if not (math.isfinite(dynamic_range) and dynamic_range > 0):
        raise ValueError(
            f"dynamic_range must be a positive difference of grey values, got {dynamic_range:g}."
        )
    window, halo = _window(volume, window_nm, "mean")

    def level(slab: np.ndarray) -> np.ndarray:
        darkness = high - slab
        mean = window(darkness)
        spread = np.sqrt(np.maximum(window(darkness**2) - mean**2, 0.0))
        return np.asarray(high - mean * (1.0 + k * (spread / dynamic_range - 1.0)))

    record = {"method": "sauvola", "window_nm": window_nm, "k": k, "dynamic_range": dynamic_range}
    return _by_level(volume, level, halo, record, (low, high))


def _contrast(volume: Volume) -> tuple[float, float]:
    low, high = grey_range(volume)
    if low == high:
        raise ValueError(f"a constant volume has no threshold, got {low:g} everywhere.")
    return low, high


def _window(volume: Volume, window_nm: float, weighting: str) -> tuple[Window, int]:
    """Weighted mean of the surroundings that exist, and how many slices it reaches up and down."""
    voxel = volume.voxel_size_nm
    if not (math.isfinite(window_nm) and window_nm > max(voxel)):
        raise ValueError(
            f"window_nm must be above the largest voxel edge ({max(voxel):g} nm), got {window_nm:g} nm."
        )
    if weighting == "mean":
        sizes = [2 * math.floor(0.5 * (window_nm / edge - 1.0) + 1e-9) + 1 for edge in voxel]
        halo = sizes[0] // 2

        def smooth(data: np.ndarray, axis: int) -> np.ndarray:
            size = sizes[axis]
            mean: np.ndarray = ndimage.uniform_filter1d(data, size, axis=axis, mode="constant")
            return mean
    else:
        sigmas = [window_nm / _FWHM / edge for edge in voxel]
        halo = int(_TRUNCATE * sigmas[0] + 0.5)

        def smooth(data: np.ndarray, axis: int) -> np.ndarray:
            mean: np.ndarray = ndimage.gaussian_filter1d(
                data, sigmas[axis], axis=axis, mode="constant", truncate=_TRUNCATE
            )
            return mean

    def window(slab: np.ndarray) -> np.ndarray:
        for axis, n in enumerate(slab.shape):
            share = smooth(np.ones(n), 0) if axis == 0 else smooth(np.ones((1,) * axis + (n,)), axis)
            shape = [1, 1, 1]
            shape[axis] = n
            slab = smooth(slab, axis) / share.reshape(shape)
        return slab

    return window, halo


def _by_level(
    volume: Volume,
    level: Callable[[np.ndarray], np.ndarray],
    halo: int,
    record: dict[str, Any],
    bounds: tuple[float, float],
) -> Labels:
    """Mask of what exceeds its level, slab by slab; `level` reaches `halo` slices up and down."""
    rounding = _ROUNDING * (bounds[1] - bounds[0])
    n_z, n_y, n_x = volume.data.shape
    depth = max(1, _SLAB_VOXELS // (n_y * n_x))
    data = np.empty((n_z, n_y, n_x), dtype=np.uint8)
    starts = range(0, n_z, depth)
    for z in track(starts, record["method"], len(starts)):
        first, last = max(0, z - halo), min(n_z, z + depth + halo)
        slab = np.asarray(volume.data[first:last]).astype(np.float64)
        data[z : z + depth] = (slab - level(slab) > rounding)[z - first : z - first + depth]
    n_inside = int(np.count_nonzero(data))
    if n_inside in (0, data.size):
        found = "none" if n_inside == 0 else "every voxel"
        raise ValueError(
            f"some voxels, and not all, must exceed the level of their surroundings, got {found}. "
            "Change the window or what the level is raised by."
        )
    return Labels(data, volume.voxel_size_nm, volume.origin_nm, record, {1: "foreground"})
