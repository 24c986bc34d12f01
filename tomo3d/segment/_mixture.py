"""Classes by a mixture of normal distributions of the grey values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tomo3d.errors import ConvergenceError
from tomo3d.planning import Plan, Sketch, planned
from tomo3d.progress import report
from tomo3d.segment.histogram import grey_histogram, slabs
from tomo3d.types import Labels, Volume

_BINS = 1024
_MAX_ITERATIONS = 20_000
_TOLERANCE = 1e-9  # change of the log-likelihood a voxel
_PATIENCE = 20  # iterations in a row
_FINE = 4097  # grey values at which the classes are compared, to find where they change


def _plan(volume: Sketch, *, n_classes: int = 3, with_probabilities: bool = True, **_: Any) -> Plan:
    result = Sketch("Labels", volume.shape, "uint8", volume.pixel_size_nm)
    probabilities = 4 * n_classes * math.prod(volume.shape) if with_probabilities else 0
    return Plan(result, result.n_bytes + probabilities + (1 << 28))


@dataclass(frozen=True, eq=False)
class Mixture:
    """Normal distributions, darkest first: `means`, `sigmas` and `shares`, shape (n_classes,) each."""

    means: np.ndarray
    sigmas: np.ndarray
    shares: np.ndarray

    def log_densities(self, grey: np.ndarray) -> np.ndarray:
        """Logarithm of share times density, shape (n_classes, n)."""
        distance = (grey - self.means[:, None]) / self.sigmas[:, None]
        scale = np.log(self.shares / self.sigmas / math.sqrt(2.0 * math.pi))
        return np.asarray(scale[:, None] - 0.5 * distance**2)

    def probabilities(self, grey: np.ndarray) -> np.ndarray:
        """Probability of each class given the grey value, shape (n_classes, n)."""
        inside = np.clip(grey, self.means[0], self.means[-1])
        return _posterior(self.log_densities(inside))[0]


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
        `class_sigmas`, `class_shares`, and the `levels` where the most probable class changes.

    Raises
    ------
    ValueError
        If the volume is constant or holds a value that is not finite, or has fewer grey values than classes;
        if n_classes is out of range or differs from the number of names.
    ConvergenceError
        If the fit does not settle: the classes cannot be told apart.

    Notes
    -----
    Maximum likelihood by expectation and maximisation [1]_, started from the classes of Otsu, on a histogram of
    1024 bins (for integers of fewer values, one a value), whose width h is taken out of the variances by
    Sheppard's correction, h^2 / 12. Means and widths of well-separated classes of n voxels are within their
    sampling errors, sigma / sqrt(n) and sigma / sqrt(2 n). A voxel darker than the darkest mean counts as that
    mean, and one brighter than the brightest as that: otherwise the wider of two classes would win on both
    sides of the other. Voxels on an interface mix two classes and belong to neither: they widen the fit.

    References
    ----------
    .. [1] Dempster, Laird and Rubin, J. R. Stat. Soc. B 39 (1977) 1-38, doi:10.1111/j.2517-6161.1977.tb01600.x
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
    mixture, n_iterations = fit(counts, edges, n_classes)
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
        "class_shares": mixture.shares.tolist(),
        "n_classes": n_classes,
        "n_iterations": n_iterations,
    }
    names_by_number = dict(enumerate(names))
    return Labels(data, volume.voxel_size_nm, volume.origin_nm, record, names_by_number, probabilities)


def fit(counts: np.ndarray, edges: np.ndarray, n_classes: int) -> tuple[Mixture, int]:
    """The most likely mixture of a histogram, and the iterations that it took.

    Raises
    ------
    ConvergenceError
        If it does not settle, or a class vanishes.
    """
    filled = counts > 0
    grey = 0.5 * (edges[:-1] + edges[1:])[filled]
    weights = counts[filled] / counts.sum()
    width = float(edges[1] - edges[0])
    least = width**2 / 12.0  # of a class within one bin
    mixture = _start(grey, weights, counts, edges, n_classes, least)
    before, n_quiet = -np.inf, 0
    for i in range(1, _MAX_ITERATIONS + 1):
        posterior, log_density = _posterior(mixture.log_densities(grey))
        likelihood = float(weights @ log_density)
        n_quiet = n_quiet + 1 if abs(likelihood - before) < _TOLERANCE else 0
        if n_quiet == _PATIENCE:
            return _without_bins(mixture, least), i
        before = likelihood
        mixture = _moments(grey, posterior * weights, least)
        if mixture.shares.min() < 1e-12:
            break
        if i % 1000 == 0:
            report("gaussian mixture", i, _MAX_ITERATIONS)
    raise ConvergenceError(
        f"the mixture of {n_classes} classes must settle within {_MAX_ITERATIONS} iterations, got a change of "
        f"{abs(likelihood - before):.3g} in the log-likelihood a voxel, at shares of "
        f"{mixture.shares.round(4).tolist()}. Ask for fewer classes."
    )


def _start(
    grey: np.ndarray, weights: np.ndarray, counts: np.ndarray, edges: np.ndarray, n_classes: int, least: float
) -> Mixture:
    """Moments of the classes of Otsu on a histogram of at most 256 bins."""
    from skimage.filters import threshold_multiotsu

    step = math.ceil(len(counts) / 256)
    padded = np.pad(counts, (0, -len(counts) % step)).reshape(-1, step).sum(axis=1)
    centres = edges[0] + (np.arange(len(padded)) + 0.5) * step * (edges[1] - edges[0])
    if np.count_nonzero(padded) > n_classes:
        hist = (padded.astype(np.float32), centres)
        levels = threshold_multiotsu(classes=n_classes, hist=hist) + 0.5 * step * (edges[1] - edges[0])
    else:
        levels = np.quantile(grey, np.arange(1, n_classes) / n_classes)
    member = np.digitize(grey, levels) == np.arange(n_classes)[:, None]
    shares = np.maximum(member * weights, 1e-9 * weights)  # no class starts empty
    return _moments(grey, shares, least)


def _moments(grey: np.ndarray, shares: np.ndarray, least: float) -> Mixture:
    """Mixture with the moments of each class, its part of the bins being `shares`, shape (n_classes, n_bins)."""
    total = shares.sum(axis=1)
    means = shares @ grey / total
    variances = (shares * (grey - means[:, None]) ** 2).sum(axis=1) / total
    order = np.argsort(means, kind="stable")
    sigmas = np.sqrt(np.maximum(variances, least))
    return Mixture(means[order], sigmas[order], (total / total.sum())[order])


def _posterior(log_densities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of the classes, and the logarithm of the density of all of them together."""
    largest = log_densities.max(axis=0)
    parts = np.exp(log_densities - largest)
    total = parts.sum(axis=0)
    return parts / total, largest + np.log(total)


def _without_bins(mixture: Mixture, least: float) -> Mixture:
    """The mixture with the variance of a bin taken out, but for at least that much left."""
    return Mixture(mixture.means, np.sqrt(np.maximum(mixture.sigmas**2 - least, least)), mixture.shares)


def _levels(mixture: Mixture) -> list[float]:
    """Grey values where the most probable class changes, between the outermost means."""
    grey = np.linspace(mixture.means[0], mixture.means[-1], _FINE)
    density = mixture.log_densities(grey)
    winner = density.argmax(axis=0)
    levels = []
    for i in np.flatnonzero(np.diff(winner)):
        difference = density[winner[i], i : i + 2] - density[winner[i + 1], i : i + 2]
        share = difference[0] / (difference[0] - difference[1])
        levels.append(float(grey[i] + share * (grey[i + 1] - grey[i])))
    return levels
