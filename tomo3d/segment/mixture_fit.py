"""Fit of normal distributions to a histogram whose ends may be cut off by a bound."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import special

from tomo3d.errors import ConvergenceError
from tomo3d.progress import report

_MAX_ITERATIONS = 20_000
_TOLERANCE = 1e-9  # change of the log-likelihood a voxel
_PATIENCE = 20  # iterations in a row
_TINY = 1e-300


@dataclass(frozen=True)
class Pile:
    """Voxels at the least value (`side` -1) or the largest (1): a bound has put all values beyond it there."""

    at: float
    side: int
    weight: float  # share of all voxels


@dataclass(frozen=True)
class Tail:
    """What falls off exponentially from a pile into the grey values: part of the class that is piled up."""

    share: float  # of all voxels
    scale: float  # grey values


@dataclass(frozen=True, eq=False)
class Mixture:
    """Normal distributions, darkest first: `means`, `sigmas` and `shares`, shape (n_classes,) each.

    Beyond a pile they are cut off. A pile has a tail, which belongs to the class at its end, the darkest or brightest.
    """

    means: np.ndarray
    sigmas: np.ndarray
    shares: np.ndarray
    piles: tuple[Pile, ...] = ()
    tails: tuple[Tail, ...] = ()

    @property
    def class_shares(self) -> np.ndarray:
        """Share of the voxels that is of each class, tails included, (n_classes,)."""
        return self._of_classes(np.concatenate([self.shares, [tail.share for tail in self.tails]]))

    def probabilities(self, grey: np.ndarray) -> np.ndarray:
        """Probability of each class given the grey value, shape (n_classes, n)."""
        inside = np.clip(grey, self.means[0], self.means[-1])
        found = self._of_classes(posterior(self.log_densities(inside))[0])
        for pile in self.piles:
            found[:, pile.side * (grey - pile.at) >= 0] = posterior(self.log_shares_beyond(pile))[0]
        return found

    def log_class_densities(self, grey: np.ndarray) -> np.ndarray:
        """Logarithm of share times density of each class, shape (n_classes, n)."""
        n, of_parts = len(self.means), self.log_densities(grey)
        for i, pile in enumerate(self.piles):
            owner = of_parts[0 if pile.side < 0 else n - 1]
            np.logaddexp(owner, of_parts[n + i], out=owner)
        return of_parts[:n]

    def log_densities(self, grey: np.ndarray) -> np.ndarray:
        """Logarithm of share times density of the normal distributions and the tails, (n_classes + n_tails, n)."""
        distance = (grey - self.means[:, None]) / self.sigmas[:, None]
        scale = np.log(self.shares / self.sigmas / math.sqrt(2.0 * math.pi))
        rows = [scale[:, None] - 0.5 * distance**2]
        for pile, tail in zip(self.piles, self.tails, strict=True):
            depth = np.maximum(-pile.side * (grey - pile.at), 0.0) / tail.scale
            rows.append((math.log(max(tail.share, _TINY) / tail.scale) - depth)[None])
        return np.concatenate(rows)

    def log_shares_beyond(self, pile: Pile) -> np.ndarray:
        """Logarithm of the share of all voxels that is of a class and beyond the bound, (n_classes, 1)."""
        inwards = pile.side * (pile.at - self.means) / self.sigmas
        return np.asarray(np.log(self.shares) + special.log_ndtr(-inwards))[:, None]

    def moments_beyond(self, pile: Pile) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance of what of each class lies beyond the bound, (n_classes, 1) each."""
        inwards = pile.side * (pile.at - self.means) / self.sigmas
        # Density of the standard normal distribution over what of it lies beyond.
        hazard = np.exp(-0.5 * inwards**2 - 0.5 * math.log(2.0 * math.pi) - special.log_ndtr(-inwards))
        means = self.means + pile.side * self.sigmas * hazard
        variances = self.sigmas**2 * np.maximum(1.0 + inwards * hazard - hazard**2, 0.0)
        return means[:, None], variances[:, None]

    def _of_classes(self, of_parts: np.ndarray) -> np.ndarray:
        """Rows of the classes: those of normal distributions, with the tails added to what they belong to."""
        n = len(self.means)
        found = of_parts[:n].copy()
        for i, pile in enumerate(self.piles[: len(of_parts) - n]):
            found[0 if pile.side < 0 else -1] += of_parts[n + i]
        return found


def posterior(log_densities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of the parts (n_parts, n), and the logarithm of the density of all of them together, (n,)."""
    largest = log_densities.max(axis=0)
    parts = np.exp(log_densities - largest)
    total = parts.sum(axis=0)
    return parts / total, largest + np.log(total)


def fit(
    counts: np.ndarray, edges: np.ndarray, n_classes: int, piles: tuple[Pile, ...] = ()
) -> tuple[Mixture, int]:
    """The most likely mixture of a histogram, and the iterations that it took.

    The counts hold the voxels of `piles`; of these is only known that they lie beyond the bound. Piles have tails if
    the histogram asks for them (Bayesian information criterion).

    Raises
    ------
    ConvergenceError
        If it does not settle, a class vanishes, or two lie beyond the same bound.
    """
    if not piles:
        mixture, _, n_iterations = _settled(counts, edges, n_classes, (), in_tail=0.0)
        return mixture, n_iterations
    found, failure = [], None
    penalty = len(piles) * math.log(counts.sum()) / counts.sum()
    for in_tail in (0.0, 0.5):
        try:
            mixture, likelihood, n_iterations = _settled(counts, edges, n_classes, piles, in_tail=in_tail)
            found.append((likelihood - (penalty if in_tail else 0.0), mixture, n_iterations))
        except ConvergenceError as error:
            failure = error
    if not found:
        raise failure or AssertionError
    _, mixture, n_iterations = max(found, key=lambda one: one[0])
    _check_told_apart(mixture)
    return mixture, n_iterations


def _settled(
    counts: np.ndarray, edges: np.ndarray, n_classes: int, piles: tuple[Pile, ...], *, in_tail: float
) -> tuple[Mixture, float, int]:
    """The most likely mixture, its log-likelihood a voxel, and the iterations that it took."""
    weights = counts / counts.sum()
    for pile in piles:
        end = 0 if pile.side < 0 else -1
        weights[end] = max(weights[end] - pile.weight, 0.0)
    filled = weights > 0
    grey = 0.5 * (edges[:-1] + edges[1:])[filled]
    weights = weights[filled]
    least = float(edges[1] - edges[0]) ** 2 / 12.0  # variance of a class within one bin
    mixture = _start(counts, edges, n_classes, least, piles, in_tail)
    before, n_quiet = -np.inf, 0
    for i in range(1, _MAX_ITERATIONS + 1):
        following, likelihood = _step(mixture, grey, weights, least)
        n_quiet = n_quiet + 1 if abs(likelihood - before) < _TOLERANCE else 0
        if n_quiet == _PATIENCE:
            return _without_bins(mixture, least), likelihood, i
        before = likelihood
        mixture = following
        if mixture.class_shares.min() < 1e-12:
            break
        if i % 1000 == 0:
            report("gaussian mixture", i, _MAX_ITERATIONS)
    raise ConvergenceError(
        f"the mixture of {n_classes} classes must settle within {_MAX_ITERATIONS} iterations, got a change of "
        f"{abs(likelihood - before):.3g} in the log-likelihood a voxel, at shares of "
        f"{mixture.class_shares.round(4).tolist()}. Ask for fewer classes."
    )


def _check_told_apart(mixture: Mixture) -> None:
    """Refuse more than one class beyond a bound: nothing tells them apart there."""
    for pile in mixture.piles:
        means = mixture.means[1:] if pile.side < 0 else mixture.means[:-1]
        if (pile.side * (means - pile.at) >= 0).any():
            raise ConvergenceError(
                f"at most one class may lie beyond the bound at {pile.at:g}, where {100 * pile.weight:.3g} % of the "
                f"voxels are, got means of {mixture.means.round(4).tolist()}. Ask for fewer classes."
            )


def _step(mixture: Mixture, grey: np.ndarray, weights: np.ndarray, least: float) -> tuple[Mixture, float]:
    """The mixture after one step of expectation and maximisation, and the log-likelihood of that before it."""
    n = len(mixture.means)
    shares, log_density = posterior(mixture.log_densities(grey))
    shares *= weights
    likelihood = float(weights @ log_density)
    known = [(shares[:n], grey, np.zeros(1))]
    tails = []
    for i, pile in enumerate(mixture.piles):
        beyond, log_share = posterior(mixture.log_shares_beyond(pile))
        likelihood += pile.weight * float(log_share[0])
        known.append((pile.weight * beyond, *mixture.moments_beyond(pile)))
        of_tail = shares[n + i]
        total = float(of_tail.sum())
        depth = float(of_tail @ (-pile.side * (grey - pile.at)))
        tails.append(Tail(total, max(depth / max(total, _TINY), math.sqrt(least))))
    return _moments(known, least, mixture.piles, tuple(tails)), likelihood


def _start(
    counts: np.ndarray,
    edges: np.ndarray,
    n_classes: int,
    least: float,
    piles: tuple[Pile, ...],
    in_tail: float,
) -> Mixture:
    """Moments of the classes of Otsu on a histogram of at most 256 bins.

    `in_tail` is the share of its tail in what is beside a pile.
    """
    from skimage.filters import threshold_multiotsu

    filled = counts > 0
    grey = 0.5 * (edges[:-1] + edges[1:])[filled]
    weights = counts[filled] / counts.sum()
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
    tails = []
    for pile in piles:
        of_class = shares[0 if pile.side < 0 else -1]
        beside = max(float(of_class.sum()) - pile.weight, 0.0)
        depth = float(of_class @ np.abs(grey - pile.at))
        tails.append(Tail(in_tail * beside, max(depth / max(beside, _TINY), math.sqrt(least))))
    return _moments([(shares, grey, np.zeros(1))], least, piles, tuple(tails))


def _moments(
    known: list[tuple[np.ndarray, np.ndarray, np.ndarray]],
    least: float,
    piles: tuple[Pile, ...],
    tails: tuple[Tail, ...],
) -> Mixture:
    """Mixture with the moments of each class, from what is known of some of the voxels after the other.

    Each is shares of the classes in bins, shape (n_classes, n_bins), and the mean and the variance within a bin.
    """
    n_classes = len(known[0][0])
    total, first = np.zeros(n_classes), np.zeros(n_classes)
    for shares, mean, _ in known:
        total += shares.sum(axis=1)
        first += (shares * mean).sum(axis=1)
    means, second = first / total, np.zeros(n_classes)
    for shares, mean, variance in known:
        second += (shares * (variance + (mean - means[:, None]) ** 2)).sum(axis=1)
    sigmas = np.sqrt(np.maximum(second / total, least))
    order = np.argsort(means, kind="stable")
    rest = 1.0 - sum(tail.share for tail in tails)
    return Mixture(means[order], sigmas[order], (rest * total / total.sum())[order], piles, tails)


def _without_bins(mixture: Mixture, least: float) -> Mixture:
    """The mixture with the variance of a bin taken out, but for at least that much left."""
    sigmas = np.sqrt(np.maximum(mixture.sigmas**2 - least, least))
    return Mixture(mixture.means, sigmas, mixture.shares, mixture.piles, mixture.tails)
