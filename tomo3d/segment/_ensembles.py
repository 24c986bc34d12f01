"""Ensembles: all the segmentations that the data allow, one at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from scipy import ndimage, special

from tomo3d.segment._thresholds import threshold
from tomo3d.types import Labels, Volume


def threshold_ensemble(
    volume: Volume, level: float, *, half_range: float, n: int = 5, upper: float | None = None
) -> Iterator[Labels]:
    """Masks at a level and at levels evenly spread about it: what a threshold range does to a number.

    Parameters
    ----------
    volume : Volume, shape (n_z, n_y, n_x)
        Grey values.
    level : float
        The best level: the first member.
    half_range : float
        How far a level may be off and still be right, in grey values.
    n : int
        Number of masks, odd. The others lie from level - half_range to level + half_range.
    upper : float, optional
        As in `threshold`; it is not varied.

    Yields
    ------
    Labels
        As `threshold` gives them; `measure.with_uncertainty(..., spread="range")` takes them.

    Raises
    ------
    ValueError
        If `half_range` is not positive, or `n` is not odd and at least 3.
    """
    if not (math.isfinite(half_range) and half_range > 0):
        raise ValueError(f"half_range must be a positive grey value, got {half_range:g}.")
    if n < 3 or n % 2 == 0:
        raise ValueError(f"n must be odd and at least 3: the level and as many below as above, got {n}.")
    for offset in (0.0, *np.linspace(-half_range, half_range, n - 1)):
        yield threshold(volume, level=level + float(offset), upper=upper)


def probability_ensemble(
    labels: Labels, *, n: int = 20, correlation_nm: float = 0.0, seed: int = 0
) -> Iterator[Labels]:
    """Classes drawn at random by their probabilities, boundaries as a whole and not voxel by voxel.

    Parameters
    ----------
    labels : Labels, shape (n_z, n_y, n_x)
        With `probabilities` (n_classes, n_z, n_y, n_x) of the classes in ascending order, as a mixture, a random walk
        or a classifier gives them.
    n : int
        Number of draws.
    correlation_nm : float
        Distance over which the classifier errs alike: the resolution, at least. 0 draws each voxel by itself, which
        makes noise of the boundary and hardly any uncertainty of a volume.
    seed : int

    Yields
    ------
    Labels
        Each voxel belongs to each class as often as its probability says; voxels nearer than `correlation_nm`
        are drawn nearly alike. `measure.with_uncertainty(..., spread="draws")` takes them.

    Raises
    ------
    ValueError
        If there are no probabilities, `n` is less than 2, or `correlation_nm` is negative.

    Notes
    -----
    A Gaussian copula: white noise, smoothed by a Gaussian of standard deviation `correlation_nm` / 2 and brought back
    to unit variance, gives through its distribution function a number u from 0 to 1 in each voxel; the class is the
    first whose cumulative probability exceeds u.
    """
    if labels.probabilities is None:
        raise ValueError(
            "labels must have probabilities, got none. A mixture, a random walk and a classifier give them."
        )
    if n < 2:
        raise ValueError(f"n must be at least 2, got {n}.")
    if not (math.isfinite(correlation_nm) and correlation_nm >= 0):
        raise ValueError(f"correlation_nm must be zero or a positive length, got {correlation_nm:g} nm.")
    classes = _classes(labels)
    sigmas = [0.5 * correlation_nm / size for size in labels.voxel_size_nm]
    rng = np.random.default_rng(seed)
    for _ in range(n):
        uniform = _uniform(rng, labels.data.shape, sigmas)
        drawn = np.zeros(labels.data.shape, dtype=np.intp)
        cumulative = np.zeros(labels.data.shape, dtype=np.float32)
        for probability in labels.probabilities[:-1]:
            cumulative += probability
            drawn += uniform >= cumulative
        record = {**labels.record, "ensemble": "drawn by probability", "correlation_nm": correlation_nm}
        yield Labels(classes[drawn], labels.voxel_size_nm, labels.origin_nm, record, labels.names)


def _classes(labels: Labels) -> np.ndarray:
    """Numbers of the classes, (n_classes,), in the order of the probabilities."""
    assert labels.probabilities is not None
    n_classes = len(labels.probabilities)
    dtype = np.asarray(labels.data[:1]).dtype
    if len(labels.names) == n_classes:
        return np.array(sorted(labels.names), dtype=dtype)
    present = np.unique(np.asarray(labels.data))
    if len(present) == n_classes:
        return present
    if present.size == 0 or present[-1] < n_classes:
        return np.arange(n_classes, dtype=dtype)
    raise ValueError(
        f"labels must name as many classes as there are probabilities ({n_classes}), got {sorted(labels.names)}."
    )


def _uniform(rng: np.random.Generator, shape: tuple[int, ...], sigmas: list[float]) -> np.ndarray:
    """Numbers that are even from 0 to 1 in each voxel and alike nearby, float32."""
    noise = rng.standard_normal(shape, dtype=np.float32)
    for axis, sigma in enumerate(sigmas):
        if sigma > 0:
            noise = ndimage.gaussian_filter1d(noise, sigma, axis=axis, mode="wrap")
            kernel = ndimage.gaussian_filter1d(
                np.eye(1, shape[axis], dtype=np.float64)[0], sigma, mode="wrap"
            )
            noise /= math.sqrt(float(kernel @ kernel))
    return np.asarray(special.ndtr(noise), dtype=np.float32)
