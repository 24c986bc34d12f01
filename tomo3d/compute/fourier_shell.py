"""Correlation of two volumes over shells of Fourier space, and where it falls below a threshold.

Frequencies are physical, in cycles per unit of the voxel edges, so that shells are round whatever the shape
and the voxel. A real volume has a symmetric transform, of which half is kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.fft

from tomo3d import progress
from tomo3d.compute import backend
from tomo3d.compute.distance import distance_to_background
from tomo3d.types import Array

Vector = tuple[float, float, float]
Shape = tuple[int, int, int]

_ALMOST = 1e-6  # a whole number of shells that rounding made a little less is whole
_ON_THE_BORDER = 1e-9  # frequencies on the border of a cone are in it
_FEW_VOXELS = 50  # a shell of fewer, 25 of which are independent, does not decide where a curve falls


@dataclass(frozen=True, eq=False)
class Shells:
    """Correlation per shell, from the first shell above frequency zero."""

    frequency: np.ndarray  # (n_shells,) mean over the shell
    correlation: np.ndarray  # (n_shells,) 0 where a volume has no power
    n_voxels: np.ndarray  # (n_shells,) of the whole transform, both halves


@dataclass(frozen=True)
class Cone:
    """Directions within `half_angle_deg` of an axis (0: z, 1: y, 2: x), both ways."""

    axis: int
    half_angle_deg: float


def transform(data: Array, weight: Array | None = None) -> Array:
    """Transform (n_z, n_y, n_x // 2 + 1) complex64 of a volume about its mean, times a weight."""
    xp = backend.namespace(data)
    data = xp.asarray(data)
    about_mean = xp.empty(data.shape, dtype=np.float32)
    mean = _mean(data, weight)
    for z in range(len(data)):  # by plane: what is an integer or a memory map is never copied whole
        about_mean[z] = data[z] - mean
        if weight is not None:
            about_mean[z] *= weight[z]
    return _rfftn(about_mean)


def correlate(
    a: Array,
    b: Array,
    shape: Shape,
    spacing: Vector,
    *,
    width: float,
    n_shells: int,
    cone: Cone | None = None,
) -> Shells:
    """Correlation of two transforms over shells of `width` cycles per unit, or over their part in a cone.

    Shell s holds the frequencies in [s - 1/2, s + 1/2) widths; sums are in double precision.
    """
    xp = backend.namespace(a)
    along_z, in_plane, twice = _frequencies(xp, shape, spacing)
    sums = xp.zeros((5, n_shells + 2))
    for z in progress.track(range(shape[0]), "Fourier shells", shape[0]):
        radius = xp.sqrt(sum(k * k for k in in_plane) + float(along_z[z]) ** 2)
        shell = xp.minimum((radius / width + 0.5).astype(np.int64), n_shells + 1)
        if cone is not None:
            along = abs(float(along_z[z])) if cone.axis == 0 else abs(in_plane[cone.axis - 1])
            within = along >= (math.cos(math.radians(cone.half_angle_deg)) - _ON_THE_BORDER) * radius
            shell = xp.where(within, shell, n_shells + 1)
        keys = shell.ravel()
        f, g = a[z].astype(np.complex128), b[z].astype(np.complex128)
        products = (f.real * g.real + f.imag * g.imag, f.real**2 + f.imag**2, g.real**2 + g.imag**2)
        for row, values in enumerate((*products, radius, xp.ones_like(radius))):
            sums[row] += xp.bincount(keys, weights=(twice * values).ravel(), minlength=n_shells + 2)
    cross, power_a, power_b, frequency, n_voxels = _host(sums)[:, 1:-1]
    norm = np.sqrt(power_a * power_b)
    return Shells(
        frequency=np.divide(frequency, n_voxels, out=np.full(n_shells, math.nan), where=n_voxels > 0),
        correlation=np.divide(cross, norm, out=np.zeros(n_shells), where=norm > 0),
        n_voxels=np.rint(n_voxels).astype(np.int64),
    )


def n_complete_shells(highest: float, width: float) -> int:
    """Number of shells of `width` up to the frequency `highest`."""
    return int(highest / width * (1.0 + _ALMOST))


def randomise_phases(data: Array, spacing: Vector, *, beyond: float, seed: int) -> Array:
    """The volume about its mean with random phases at and beyond a frequency, its amplitudes kept, float32.

    The phases are those of white noise, which have the symmetry of a real volume. They are drawn on the
    host: the same on every device.
    """
    xp = backend.namespace(data)
    shape: Shape = tuple(int(n) for n in data.shape)  # type: ignore[assignment]
    rng = np.random.default_rng(seed)
    noise = xp.empty(shape, dtype=np.float32)
    for z in range(shape[0]):
        noise[z] = xp.asarray(rng.standard_normal(shape[1:], dtype=np.float32))
    phases = _rfftn(noise)
    del noise
    changed = transform(data)
    along_z, in_plane, _ = _frequencies(xp, shape, spacing)
    for z in progress.track(range(shape[0]), "random phases", shape[0]):
        radius = xp.sqrt(sum(k * k for k in in_plane) + float(along_z[z]) ** 2)
        unit = phases[z] / xp.maximum(abs(phases[z]), np.float32(1e-30))
        changed[z] = xp.where(radius >= beyond, abs(changed[z]) * unit, changed[z])
    del phases
    return _irfftn(changed, shape)


def soft_edge(inside: Array, spacing: Vector, width: float) -> Array:
    """1 inside, falling to 0 as half a cosine over `width` beyond it, float32; a `width` of 0 is a hard edge."""
    xp = backend.namespace(inside)
    inside = xp.asarray(inside) != 0
    if width <= 0 or bool(inside.all()):
        return inside.astype(np.float32)
    distance = distance_to_background(~_host(inside), spacing)
    distance /= np.float32(width)
    np.minimum(distance, 1.0, out=distance)
    return xp.asarray(0.5 + 0.5 * np.cos(np.float32(math.pi) * distance))


def n_undecided(n_voxels: np.ndarray) -> int:
    """Number of first shells that hold too few voxels to decide anything; 0 if all do."""
    enough = np.flatnonzero(n_voxels >= _FEW_VOXELS)
    return int(enough[0]) if len(enough) else 0


def crossing(frequency: np.ndarray, correlation: np.ndarray, n_voxels: np.ndarray, threshold: float) -> float:
    """Frequency at which a curve first falls below a threshold, by a straight line between two shells.

    0 if it starts below, nan if it never falls below. The first shells, while they hold fewer than 50 voxels, cannot
    end a curve: their correlation is mostly chance.
    """
    start = n_undecided(n_voxels)
    below = start + np.flatnonzero(~(correlation[start:] >= threshold))
    if not len(below):
        return math.nan
    last = int(below[0])
    if last == 0 or not correlation[last - 1] >= threshold:
        return 0.0
    high, low = float(correlation[last - 1]), float(correlation[last])
    share = (high - threshold) / (high - low)
    return float(frequency[last - 1] + share * (frequency[last] - frequency[last - 1]))


def _frequencies(xp: Any, shape: Shape, spacing: Vector) -> tuple[np.ndarray, tuple[Array, Array], Array]:
    """Frequencies along z; along y and x, to be broadcast to a plane; and how often a column counts."""
    along_z, along_y = (np.fft.fftfreq(n, d) for n, d in zip(shape[:2], spacing[:2], strict=True))
    along_x = np.fft.rfftfreq(shape[2], spacing[2])
    twice = np.full(len(along_x), 2.0)
    twice[0] = 1.0
    if shape[2] % 2 == 0:
        twice[-1] = 1.0
    return along_z, (xp.asarray(along_y)[:, None], xp.asarray(along_x)[None, :]), xp.asarray(twice)[None, :]


def _mean(data: Array, weight: Array | None) -> float:
    if weight is None:
        return float(data.mean(dtype=np.float64))
    planes = range(len(data))
    total = sum(float((data[z] * weight[z]).sum(dtype=np.float64)) for z in planes)
    return total / float(weight.sum(dtype=np.float64))


def _rfftn(data: Array) -> Array:
    xp = backend.namespace(data)
    if xp is np:
        return scipy.fft.rfftn(data, workers=backend.n_threads(), overwrite_x=True)
    return xp.fft.rfftn(data)


def _irfftn(data: Array, shape: Shape) -> Array:
    xp = backend.namespace(data)
    inverse: Callable[..., Array] = xp.fft.irfftn
    if xp is np:
        return scipy.fft.irfftn(data, s=shape, workers=backend.n_threads(), overwrite_x=True)
    return inverse(data, s=shape, axes=(0, 1, 2))


def _host(array: Array) -> np.ndarray:
    xp = backend.namespace(array)
    return np.asarray(array) if xp is np else np.asarray(xp.asnumpy(array))
