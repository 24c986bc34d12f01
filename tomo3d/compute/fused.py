"""Counts of several elements, and one elastic image series, explained by one set of volumes.

Everything is in voxels and in the inner order, y last. The objective is

    sum_i KL(c_i, B_i x_i) + 1/2 sum (A_H sum_i w_i x_i - h)^2 / sigma^2 + t sum_i TV(x_i),    x_i >= 0,

with KL(c, m) = sum m - c + c log(c / m), the Poisson likelihood but for a constant; B_i the operator of element i;
h the elastic (HAADF) series; w_i what one count of element i adds to it. Each iteration minimises a sum of
functions of one voxel each that touches the objective from above (De Pierro, IEEE Trans. Med. Imaging 14 (1995)
132-137, doi:10.1109/42.370409), so that the objective never rises; with neither h nor t it is MLEM itself.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.optimize

from tomo3d.compute import backend
from tomo3d.compute.binned_projector import BinnedProjector
from tomo3d.compute.counting import expected_divergence

Array = Any
_TINY = 1e-20  # below every density and projection that float32 tells from none
_REFIT = 5  # iterations from one fit of the elastic weights to the next
_LEAST_CURVATURE = 1e-3  # of an element's own, at its mean density
_NEWTON_STEPS = 30
_FORCE_ERROR = 1e-4  # of a force of one count
_EDGE = 0.05  # of the mean density of an element: differences much smaller are smoothed, not kept as edges


@dataclass(frozen=True, eq=False)
class Counts:
    """What was counted of one element: images (n_views, n_pixels_u, n_pixels_v) float32, and their operator."""

    operator: BinnedProjector
    images: Array


@dataclass(frozen=True, eq=False)
class Elastic:
    """The elastic (HAADF) series of the sum of all elements.

    `contrast` (n_elements,) holds what one count of each element adds to it, but for a common scale that is
    fitted; None: every element has a scale of its own. `noise` is the standard deviation of a pixel.
    """

    operator: BinnedProjector
    images: Array
    noise: float
    contrast: np.ndarray | None = None


@dataclass(frozen=True)
class Objective:
    """The objective and its three terms; the weights of the elements that were fitted.

    `by_counting` is the divergence that counting alone would make of each element, where that was asked for.
    """

    counts: tuple[float, ...]
    elastic: float
    variation: float
    weights: tuple[float, ...]
    by_counting: tuple[float, ...] = ()

    @property
    def total(self) -> float:
        """Their sum."""
        return sum(self.counts) + self.elastic + self.variation


def uniform(counts: Counts, shape: tuple[int, int, int]) -> Array:
    """The volume (n_z, n_x, n_y) of one density that gives as many counts as were measured, float32."""
    xp = backend.namespace(counts.images)
    volume = xp.ones(shape, dtype=xp.float32)
    measured = float((counts.images * (counts.operator.seen > 0)).sum(dtype=np.float64))
    expected = float(counts.operator.forward(volume).sum(dtype=np.float64))
    volume *= np.float32(max(measured, _TINY) / max(expected, _TINY))
    return volume


def fused(
    channels: Sequence[Counts],
    x: Array,
    *,
    elastic: Elastic | None = None,
    variation: float = 0.0,
    tau: float | None = None,
) -> Iterator[Objective]:
    """Improve x (n_channels, n_z, n_x, n_y), positive float32, in place; yields the objective before each step.

    With `tau` it ends, after the first step, when the divergence is down to `tau` times what counting alone makes it.
    """
    xp = backend.namespace(x)
    sensitivities = [channel.operator.back(xp.ones_like(channel.images)) for channel in channels]
    edges = [_EDGE * float(volume.mean(dtype=np.float64)) for volume in x]
    coverage = None if elastic is None else _coverage(elastic, x.shape[1:])
    weights, gradient = np.zeros(len(channels)), None
    for iteration in itertools.count():
        elastic_term, variation_term, counts_terms = 0.0, 0.0, []
        if elastic is not None:
            if iteration % _REFIT == 0:
                _restore_totals(channels, x, elastic, variation, edges)
                weights = fit_weights(elastic, x)
            elastic_term, gradient = _elastic_slope(elastic, x, weights)
        by_counting = [] if tau is None else [_by_counting(*pair) for pair in zip(channels, x, strict=True)]
        gains, curvatures = xp.empty_like(x), xp.zeros_like(x)
        slopes = xp.stack(sensitivities)
        for i, channel in enumerate(channels):
            gains[i], term = _expectation(channel, x[i])
            counts_terms.append(term)
            if variation > 0:
                value, slope, curvatures[i] = total_variation(x[i], edges[i])
                variation_term += variation * value
                slopes[i] += np.float32(variation) * slope
                curvatures[i] *= np.float32(variation)
        if tau is not None and iteration > 0 and sum(counts_terms) <= tau * sum(by_counting):
            return
        for z in range(x.shape[1]):  # a layer at a time, as it is done in double precision
            terms = (x[:, z], gains[:, z], slopes[:, z], curvatures[:, z])
            if gradient is None or coverage is None:
                x[:, z] = _minimum(*terms)
            else:
                x[:, z] = _joint_minimum(*terms, weights, gradient[z], coverage[z])
        fitted = tuple(map(float, weights))
        yield Objective(tuple(counts_terms), elastic_term, variation_term, fitted, tuple(by_counting))


def fit_weights(elastic: Elastic, x: Array) -> np.ndarray:
    """What one count of each element adds to the elastic series, (n_elements,), by non-negative least squares."""
    projections = [elastic.operator.forward(volume) for volume in x]
    measured = elastic.images
    if elastic.contrast is not None:
        model = sum(float(c) * p for c, p in zip(elastic.contrast, projections, strict=True))
        scale = _dot(model, measured) / max(_dot(model, model), _TINY)
        return np.asarray(max(scale, 0.0) * elastic.contrast)
    gram = np.array([[_dot(a, b) for b in projections] for a in projections])
    values, vectors = np.linalg.eigh(gram)
    values = np.maximum(values, 1e-12 * values[-1])
    root = np.sqrt(values)[:, None] * vectors.T
    target = (vectors.T @ np.array([_dot(p, measured) for p in projections])) / np.sqrt(values)
    return np.asarray(scipy.optimize.nnls(root, target)[0])


def _restore_totals(
    channels: Sequence[Counts], x: Array, elastic: Elastic, variation: float, edges: Sequence[float]
) -> None:
    """Scale the elements, each or (with a given contrast) together, to explain as many counts as there are.

    The fit of the weights takes the scale up again, so that the elastic term does not see it.
    """
    groups = [[i] for i in range(len(channels))] if elastic.contrast is None else [list(range(len(channels)))]
    for group in groups:
        counted = sum(
            float((channels[i].images * (channels[i].operator.seen > 0)).sum(dtype=np.float64)) for i in group
        )
        expected = sum(float(channels[i].operator.forward(x[i]).sum(dtype=np.float64)) for i in group)
        rough = sum(variation * total_variation(x[i], edges[i])[0] for i in group) if variation else 0.0
        if not (counted > 0 and expected > 0):
            continue
        scale = counted / (expected + rough)
        after = scale * expected - counted * math.log(scale)
        if variation:
            after += sum(variation * total_variation(np.float32(scale) * x[i], edges[i])[0] for i in group)
        if after < expected + rough:
            for i in group:
                x[i] *= np.float32(scale)


def total_variation(x: Array, edge: float) -> tuple[float, Array, Array]:
    """Sum of sqrt(|grad x|^2 + edge^2) - edge, its gradient, and the curvature of a separable bound on it."""
    xp = backend.namespace(x)
    steps = [xp.diff(x, axis=axis) for axis in range(3)]
    square = xp.full_like(x, edge**2)
    for axis, step in enumerate(steps):
        square[_without(axis, last=True)] += step**2
    length = xp.sqrt(square, out=square)
    value = float(length.sum(dtype=np.float64)) - edge * length.size
    slope, curvature = xp.zeros_like(x), xp.zeros_like(x)
    for axis, step in enumerate(steps):
        here, beyond = _without(axis, last=True), _without(axis, last=False)
        pull = step / length[here]
        slope[here] -= pull
        slope[beyond] += pull
        curvature[here] += 2.0 / length[here]
        curvature[beyond] += 2.0 / length[here]
    return value, slope, curvature


def _without(axis: int, *, last: bool) -> tuple[slice, ...]:
    """Index of all but the last, or the first, sample along an axis of three."""
    cut = slice(None, -1) if last else slice(1, None)
    return tuple(cut if i == axis else slice(None) for i in range(3))


def _coverage(elastic: Elastic, shape: tuple[int, ...]) -> Array:
    """Curvature of the elastic term along a common change of all voxels, A' A 1 / sigma^2."""
    xp = backend.namespace(elastic.images)
    operator = elastic.operator
    return operator.back(operator.forward(xp.ones(shape, dtype=xp.float32))) / np.float32(elastic.noise**2)


def _elastic_slope(elastic: Elastic, x: Array, weights: np.ndarray) -> tuple[float, Array]:
    """The elastic term, and its derivative with respect to the weighted sum of the elements."""
    xp = backend.namespace(x)
    model = elastic.operator.forward(xp.tensordot(xp.asarray(weights, dtype=xp.float32), x, axes=1))
    residual = (model - elastic.images * (elastic.operator.seen > 0)) / np.float32(elastic.noise)
    return 0.5 * _dot(residual, residual), elastic.operator.back(residual / np.float32(elastic.noise))


def _expectation(channel: Counts, x: Array) -> tuple[Array, float]:
    """x B'(c / B x), the counts that each voxel is held to have given, and the divergence of B x from c."""
    xp = backend.namespace(x)
    seen = channel.operator.seen > 0
    expected = xp.maximum(channel.operator.forward(x), np.float32(_TINY))
    ratio = xp.where(seen, channel.images / expected, np.float32(0))
    counted = xp.where(seen, channel.images, np.float32(0))
    surprise = xp.where(ratio > 0, counted * xp.log(xp.maximum(ratio, np.float32(_TINY))), np.float32(0))
    divergence = xp.where(seen, expected, np.float32(0)) - counted + surprise
    return x * channel.operator.back(ratio), float(divergence.sum(dtype=np.float64))


def _by_counting(channel: Counts, x: Array) -> float:
    """The divergence of Poisson counts whose mean is B x, to be expected."""
    seen = channel.operator.seen > 0
    return float((expected_divergence(channel.operator.forward(x)) * seen).sum(dtype=np.float64))


def _minimum(x: Array, gain: Array, slope: Array, curvature: Array) -> Array:
    """Where slope x' - gain log x' + curvature (x' - x)^2 / 2 is least, per voxel; 0 where nothing was measured."""
    xp = backend.namespace(x)
    linear = slope - curvature * x
    root = xp.sqrt(linear**2 + 4 * curvature * gain)
    falling = 2 * gain / xp.maximum(linear + root, _TINY)
    rising = (root - linear) / (2 * xp.maximum(curvature, _TINY))
    return xp.where(linear > 0, falling, xp.where(curvature > _TINY, rising, 0.0))


def _joint_minimum(
    x: Array, gain: Array, slope: Array, curvature: Array, weights: np.ndarray, pull: Array, stiffness: Array
) -> Array:
    """The same for all elements of a voxel together, (n_channels, ...), with pull y' + stiffness (y' - y)^2 / 2 added.

    y is the weighted sum of the elements. Its force, f = pull + stiffness (y'(f) - y), has one root: y' is convex
    and falls as f rises, so that Newton's steps on f never pass it.
    """
    xp = backend.namespace(x)
    x, gain, slope, curvature = (a.astype(np.float64) for a in (x, gain, slope, curvature))
    w = xp.asarray(weights).reshape(-1, *(1,) * (x.ndim - 1))
    mean = xp.maximum(x.mean(axis=tuple(range(1, x.ndim)), keepdims=True), _TINY)
    curvature += _LEAST_CURVATURE * xp.maximum(slope, 1.0) / mean  # keeps y' finite for every force
    y = (w * x).sum(axis=0)
    force = pull.astype(np.float64)
    for _ in range(_NEWTON_STEPS):
        total = slope + w * force
        trial = _minimum(x, gain, total, curvature)
        fall = trial / xp.maximum(xp.sqrt((total - curvature * x) ** 2 + 4 * curvature * gain), _TINY)
        excess = force - pull - stiffness * ((w * trial).sum(axis=0) - y)
        step = excess / (1.0 + stiffness * (w**2 * fall).sum(axis=0))
        force -= step
        if not (xp.abs(step) > _FORCE_ERROR * (1.0 + xp.abs(force))).any():
            break
    return _minimum(x, gain, slope + w * force, curvature)


def _dot(a: Array, b: Array) -> float:
    """Inner product, summed in double precision."""
    return float((a * b).sum(dtype=np.float64))
