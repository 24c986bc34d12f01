"""Classes by a mixture of normal distributions of the grey values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tomo3d.planning import Plan, Sketch, planned
from tomo3d.segment.histogram import grey_histogram, grey_range, slabs
from tomo3d.segment.mixture_fit import Mixture, Pile, fit
from tomo3d.types import Labels, Volume

_BINS = 1024
_LEAST_PILE = 1e-3  # share of the voxels that makes a pile of those at the smallest or the largest value
_NEAR = 64  # part of the grey values that is beside a pile
_FINE = 4097  # grey values at which the classes are compared, to find where they change


def _plan(volume: Sketch, *, n_classes: int = 3, with_probabilities: bool = True, **_: Any) -> Plan:
    result = Sketch("Labels", volume.shape, "uint8", volume.pixel_size_nm)
    probabilities = 4 * n_classes * math.prod(volume.shape) if with_probabilities else 0
    return Plan(result, result.n_bytes + probabilities + (1 << 28))


@planned(_plan)
def gaussian_mixture(
    volume: Volume,
    *,
    n_classes: int = 3,
    names: Sequence[str] | None = None,
    with_probabilities: bool = True,
) -> Labels:
    """Classes by brightness, each normal with a mean, width and share of its own, and their probabilities.

    Parameters
    ----------
    volume : Volume, shape (n_z, n_y, n_x)
        Grey values; read slab by slab.
    n_classes : int
        Number of classes, 2 to 5.
    names : sequence of str, optional
        Names of the classes, darkest first. Default: background, class 1, class 2, ...
    with_probabilities : bool
        Whether the result holds the probability of every class in every voxel, 4 bytes each.

    Returns
    -------
    Labels, same grid, uint8
        The most probable class, 0 the darkest; `probabilities` as float32. The record holds `class_means`,
        `class_sigmas`, `class_shares`, the `levels` where the most probable class changes, and the `piles`: bound and
        share of the voxels that it holds.

    Raises
    ------
    ValueError
        If the volume is constant or holds a value that is not finite, or has fewer grey values than classes;
        if n_classes is out of range or differs from the number of names.
    ConvergenceError
        If the fit does not settle, or two classes lie beyond one bound: the classes cannot be told apart.

    Notes
    -----
    Maximum likelihood by expectation and maximisation [1]_, started from the classes of Otsu, on a histogram of
    1024 bins (for integers of fewer values, one a value), whose width h is taken out of the variances by
    Sheppard's correction, h^2 / 12. Means and widths of well-separated classes of n voxels are within their
    sampling errors, sigma / sqrt(n) and sigma / sqrt(2 n). A voxel darker than the darkest mean counts as that
    mean, and one brighter than the brightest as that: otherwise the wider of two classes would win on both
    sides of the other. Voxels on an interface mix two classes and belong to neither: they widen the fit.

    A bound, as that of a reconstruction that is not negative, piles up at one value all that would lie beyond it. More
    than a thousandth of the voxels at the smallest or largest value, and more than lie next to it, are such a pile if
    others lie near: its voxels are known to lie beyond the bound, no more (a censored sample [2]_). The mean of a
    class may then lie beyond it too. The darkest class (at the largest value the brightest) may besides fall off
    exponentially from the pile, if the Bayesian information criterion is for it: SIRT leaves a tail that is not
    normal. Where the darkest of three classes is centred up to half its width beyond or within a bound, means and
    widths are off by four sampling errors and 0.02 of the width at most.

    References
    ----------
    .. [1] Dempster, Laird and Rubin, J. R. Stat. Soc. B 39 (1977) 1-38, doi:10.1111/j.2517-6161.1977.tb01600.x
    .. [2] Lee and Scott, Comput. Stat. Data Anal. 56 (2012) 2816-2829, doi:10.1016/j.csda.2012.03.003
    """
    if not 2 <= n_classes <= 5:
        raise ValueError(f"n_classes must be 2 to 5, got {n_classes}.")
    if names is None:
        names = ["background", *(f"class {i}" for i in range(1, n_classes))]
    if len(names) != n_classes or len(set(names)) != n_classes:
        raise ValueError(
            f"names must be one for each of the {n_classes} classes, all different, got {list(names)}."
        )
    counts, edges = grey_histogram(volume, _BINS)
    if np.count_nonzero(counts) < n_classes:
        raise ValueError(
            f"the volume must have at least n_classes ({n_classes}) different grey values, "
            f"got {np.count_nonzero(counts)} of {len(counts)} histogram bins filled."
        )
    mixture, n_iterations = fit(counts, edges, n_classes, _piles(volume, counts, edges))
    data = np.empty(volume.data.shape, dtype=np.uint8)
    probabilities = np.empty((n_classes, *data.shape), dtype=np.float32) if with_probabilities else None
    for part, slab in slabs(volume.data, "gaussian mixture"):
        shares = mixture.probabilities(slab.astype(np.float64).ravel())
        data[part] = shares.argmax(axis=0).reshape(slab.shape)
        if probabilities is not None:
            probabilities[:, part] = shares.reshape(n_classes, *slab.shape)
    record = {
        "method": "gaussian_mixture",
        "levels": _levels(mixture),
        "class_means": mixture.means.tolist(),
        "class_sigmas": mixture.sigmas.tolist(),
        "class_shares": mixture.class_shares.tolist(),
        "piles": [{"bound": pile.at, "share": pile.weight} for pile in mixture.piles],
        "n_classes": n_classes,
        "n_iterations": n_iterations,
    }
    names_by_number = dict(enumerate(names))
    return Labels(data, volume.voxel_size_nm, volume.origin_nm, record, names_by_number, probabilities)


def _piles(volume: Volume, counts: np.ndarray, edges: np.ndarray) -> tuple[Pile, ...]:
    """What a bound has piled up at the smallest and at the largest value.

    That is more than lie next to it; and some must, or the values are a class of one value that nothing has cut off.
    """
    n_voxels = float(counts.sum())
    beside = max(1, len(counts) // _NEAR)
    ends = [(-1, counts[: beside + 1]), (1, counts[::-1][: beside + 1])]
    if not any(found[0] > max(found[1], _LEAST_PILE * n_voxels) for _, found in ends):
        return ()
    values = grey_range(volume)
    at_end = [0, 0]
    for _, slab in slabs(volume.data, "values at the bounds"):
        for i, value in enumerate(values):
            at_end[i] += int(np.count_nonzero(slab == value))
    is_value = edges[1] - edges[0] == 1.0 and np.dtype(volume.data.dtype).kind in "iub"
    bounds = (edges[1], edges[-2]) if is_value else values  # a whole number stands for what is rounded to it
    return tuple(
        Pile(float(bound), side, n / n_voxels)
        for (side, found), n, bound in zip(ends, at_end, bounds, strict=True)
        if n > max(found[0] - n, found[1], _LEAST_PILE * n_voxels) and found.sum() - n > _LEAST_PILE * n
    )


def _levels(mixture: Mixture) -> list[float]:
    """Grey values where the most probable class changes, between the outermost means."""
    grey = np.linspace(mixture.means[0], mixture.means[-1], _FINE)
    density = mixture.log_class_densities(grey)
    winner = density.argmax(axis=0)
    levels = []
    for i in np.flatnonzero(np.diff(winner)):
        difference = density[winner[i], i : i + 2] - density[winner[i + 1], i : i + 2]
        share = difference[0] / (difference[0] - difference[1])
        levels.append(float(grey[i] + share * (grey[i + 1] - grey[i])))
    return levels
