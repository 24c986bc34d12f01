"""Classes by grey level."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tomo3d.planning import Plan, Sketch, planned
from tomo3d.segment.histogram import grey_histogram, grey_range, slabs
from tomo3d.types import Labels, Volume

_OTSU_BINS = 1 << 14
_MULTI_OTSU_BINS = 256
_SLAB_BYTES = 1 << 27  # a slab in float64, its classes and the temporaries of the histogram


def _plan(volume: Sketch, **_: Any) -> Plan:
    result = Sketch("Labels", volume.shape, "uint8", volume.pixel_size_nm)
    return Plan(result, result.n_bytes + _SLAB_BYTES)


@planned(_plan)
def otsu(volume: Volume) -> Labels:
    """Mask of the brighter of two classes, split where their variances within are least.

    Parameters
    ----------
    volume : Volume, shape (n_z, n_y, n_x)
        Grey values; read slab by slab.

    Returns
    -------
    Labels, same grid, uint8
        1 where the grey value is at least the level. The record holds the level
        and the mean grey value of each class.

    Raises
    ------
    ValueError
        If the volume is constant or holds a value that is not finite.

    Notes
    -----
    Exact on a histogram of 16384 bins [1]_: the level is an edge between bins.
    It lies half way between the class means where both classes are normal with
    the same width and share, and is drawn towards the larger class otherwise.

    References
    ----------
    .. [1] Otsu, IEEE Trans. Syst. Man Cybern. 9 (1979) 62-66, doi:10.1109/TSMC.1979.4310076
    """
    counts, edges = grey_histogram(volume, _OTSU_BINS)
    centres = 0.5 * (edges[:-1] + edges[1:])
    below = np.cumsum(counts)[:-1].astype(np.float64)
    moment = np.cumsum(counts * centres)
    above = counts.sum() - below
    mean_below = moment[:-1] / below
    mean_above = (moment[-1] - moment[:-1]) / above
    between = below * above * (mean_above - mean_below) ** 2
    # An empty gap between the classes makes a plateau: the middle of it favours neither.
    best = np.flatnonzero(between >= between.max() * (1 - 1e-12))
    level = float(0.5 * (edges[best[0] + 1] + edges[best[-1] + 1]))
    return _classify(volume, [level], "otsu", {1: "foreground"})


@planned(_plan)
def multi_otsu(volume: Volume, *, n_classes: int = 3, names: Sequence[str] | None = None) -> Labels:
    """Classes by brightness, split where their variances within are least.

    Parameters
    ----------
    volume : Volume, shape (n_z, n_y, n_x)
        Grey values; read slab by slab.
    n_classes : int
        Number of classes, 2 to 5; the time grows as 256 to the power of n_classes - 1.
    names : sequence of str, optional
        Names of the classes, darkest first. Default: background, class 1, class 2, ...

    Returns
    -------
    Labels, same grid, uint8
        0 is the darkest class (the background), n_classes - 1 the brightest. The
        record holds the levels and the mean grey value of each class.

    Raises
    ------
    ValueError
        If the volume is constant, holds a value that is not finite, or has fewer
        grey values than classes; if n_classes is out of range or differs from the number of names.

    Notes
    -----
    Exact search over a histogram of 256 bins [1]_ by scikit-image: a level is
    within one bin, 1/256 of the range of grey values, of the best.

    References
    ----------
    .. [1] Liao, Chen and Chung, J. Inf. Sci. Eng. 17 (2001) 713-727, doi:10.6688/JISE.2001.17.5.1
    """
    from skimage.filters import threshold_multiotsu

    if not 2 <= n_classes <= 5:
        raise ValueError(f"n_classes must be 2 to 5, got {n_classes}.")
    if names is None:
        names = ["background", *(f"class {i}" for i in range(1, n_classes))]
    if len(names) != n_classes or len(set(names)) != n_classes:
        raise ValueError(
            f"names must be one for each of the {n_classes} classes, all different, got {list(names)}."
        )
    counts, edges = grey_histogram(volume, _MULTI_OTSU_BINS)
    if np.count_nonzero(counts) < n_classes:
        raise ValueError(
            f"the volume must have at least n_classes ({n_classes}) different grey values, "
            f"got {np.count_nonzero(counts)} of {len(counts)} histogram bins filled."
        )
    centres = 0.5 * (edges[:-1] + edges[1:])
    lower_bins = np.searchsorted(
        centres, threshold_multiotsu(classes=n_classes, hist=(counts.astype(np.float32), centres))
    )
    levels = [float(edges[i + 1]) for i in lower_bins]
    return _classify(volume, levels, "multi_otsu", dict(enumerate(names)))


@planned(_plan)
def threshold(volume: Volume, *, level: float, upper: float | None = None) -> Labels:
    """Mask of the voxels whose grey value is at least a level, and below an upper one if there is one.

    Parameters
    ----------
    volume : Volume, shape (n_z, n_y, n_x)
        Grey values; read slab by slab.
    level : float
        Smallest grey value of the structure.
    upper : float, optional
        Grey value at which the structure ends, not part of it. Default: no upper end.

    Returns
    -------
    Labels, same grid, uint8
        1 in the structure. The record holds the levels and the mean grey values inside and outside.

    Raises
    ------
    ValueError
        If the volume holds a value that is not finite, `level` is not finite, `upper` does not exceed it, or
        the levels leave no voxel in the mask, or all of them.
    """
    if not math.isfinite(level):
        raise ValueError(f"level must be a finite grey value, got {level}.")
    if upper is not None and not upper > level:
        raise ValueError(f"upper must exceed level ({level:g}), got {upper:g}.")
    low, high = grey_range(volume)
    levels = [level] if upper is None else [level, upper]
    labels = _classify(volume, levels, "threshold", {1: "foreground"})
    if np.isnan(labels.record["class_means"]).any():  # of a class without voxels
        found = "none" if math.isnan(labels.record["class_means"][1]) else "every voxel"
        raise ValueError(
            f"the levels must put some of the grey values ({low:g} to {high:g}) in the mask and some outside, "
            f"got {found} from {' to '.join(f'{value:g}' for value in levels)}."
        )
    return labels


def _classify(volume: Volume, levels: list[float], method: str, names: Mapping[int, str]) -> Labels:
    """Class = number of levels that the grey value reaches; classes without a name join the background."""
    n_classes = len(levels) + 1
    last = max(names)
    data = np.empty(volume.data.shape, dtype=np.uint8)
    counts, sums = np.zeros(n_classes), np.zeros(n_classes)
    for part, slab in slabs(volume.data, method):
        slab = slab.astype(np.float64)
        classes = np.digitize(slab, levels)
        classes[classes > last] = 0
        data[part] = classes
        counts += np.bincount(classes.ravel(), minlength=n_classes)
        sums += np.bincount(classes.ravel(), weights=slab.ravel(), minlength=n_classes)
    means = [
        float(total / count) if count else math.nan
        for total, count in zip(sums[: last + 1], counts[: last + 1], strict=True)
    ]
    record = {"method": method, "levels": levels, "class_means": means, "n_classes": last + 1}
    return Labels(data, volume.voxel_size_nm, volume.origin_nm, record, names)
