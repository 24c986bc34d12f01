"""Features of every voxel at several scales, for a classifier: blurred values, edges, ridges, texture.

On plain arrays. A voxel's features depend on the grey values within `reach` voxels only, so that tile by tile
gives the same, bit by bit, as the whole.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np
from scipy import ndimage

from tomo3d.types import Array

_TRUNCATE = 3.0  # standard deviations
N_PER_SCALE = 11
N_WITHOUT_SCALE = 1
NAMES = (
    "blurred value",
    "gradient",
    "largest second derivative",
    "middle second derivative",
    "smallest second derivative",
    "largest of the structure tensor",
    "middle of the structure tensor",
    "smallest of the structure tensor",
    "local standard deviation",
    "gradient along z",
    "second derivative along z",
)
Tile = tuple[slice, ...]
Scale = tuple[float, float, float]  # standard deviation (z, y, x) in voxels


def feature_names(scales_nm: Sequence[float]) -> list[str]:
    """Name of each feature, in the order of `features`."""
    return ["grey value", *(f"{name}, {scale:g} nm" for scale in scales_nm for name in NAMES)]


def reach(scale: Scale) -> tuple[int, int, int]:
    """How many voxels away (z, y, x) grey values count at a scale."""
    z, y, x = (2 * _radius(sigma) + 2 for sigma in scale)
    return z, y, x


def _radius(sigma: float) -> int:
    return int(_TRUNCATE * sigma + 0.5)


def tiles(shape: tuple[int, ...], edge: int) -> list[Tile]:
    """Slices (z, y, x) of tiles of at most `edge` voxels."""
    starts = itertools.product(*(range(0, n, edge) for n in shape))
    return [tuple(slice(i, min(n, i + edge)) for i, n in zip(start, shape, strict=True)) for start in starts]


def features(data: Array, tile: Tile, scales: Sequence[Scale]) -> np.ndarray:
    """Features of the voxels of a tile, shape (n_features, n_z, n_y, n_x), float32.

    For each scale: the value blurred by a Gaussian; the length of its gradient; the eigenvalues of its second
    derivatives; those of the structure tensor (gradients of it, multiplied and blurred by the same Gaussian);
    the standard deviation under the Gaussian; and both derivatives along z, which a missing wedge makes another
    direction. Derivatives are per standard deviation, not per voxel, so all
    are in grey values and mean the same along each axis. Beyond the volume it is mirrored.
    """
    shape = [part.stop - part.start for part in tile]
    found = np.empty((N_WITHOUT_SCALE + N_PER_SCALE * len(scales), *shape), dtype=np.float32)
    found[0] = data[tile]
    for i, scale in enumerate(scales):
        start = N_WITHOUT_SCALE + i * N_PER_SCALE
        block, inner = _around(tile, reach(scale), data.shape)
        grey = np.asarray(data[block]).astype(np.float32)
        for number, feature in enumerate(_features_of_scale(grey, scale, inner)):
            found[start + number] = feature
    return found


def _around(tile: Tile, halo: tuple[int, int, int], shape: tuple[int, ...]) -> tuple[Tile, Tile]:
    """Slices of the tile with a halo within the volume, and of the tile in that."""
    block = tuple(
        slice(max(0, part.start - n), min(size, part.stop + n))
        for part, n, size in zip(tile, halo, shape, strict=True)
    )
    inner = tuple(slice(p.start - b.start, p.stop - b.start) for p, b in zip(tile, block, strict=True))
    return block, inner


def _blur(data: np.ndarray, scale: Scale) -> np.ndarray:
    """Gaussian of `scale`."""
    for axis, sigma in enumerate(scale):
        radius = _radius(sigma)
        if radius:
            data = ndimage.gaussian_filter1d(data, sigma, axis=axis, mode="reflect", radius=radius)
    return data


def _features_of_scale(data: np.ndarray, scale: Scale, inner: Tile) -> Iterator[np.ndarray]:
    """The features of one scale in the inner part of a block, in the order of `NAMES`."""
    blurred = _blur(data, scale)
    yield blurred[inner]
    slopes = [scale[axis] * _difference(blurred, axis) for axis in range(3)]
    yield np.sqrt(slopes[0][inner] ** 2 + slopes[1][inner] ** 2 + slopes[2][inner] ** 2)
    pairs = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))
    second = []
    for a, b in pairs:
        if a == b:
            second.append(scale[a] ** 2 * _second_difference(blurred, a)[inner])
        else:
            second.append(scale[b] * _difference(slopes[a], b)[inner])
    yield from eigenvalues(second)
    yield from eigenvalues([_blur(slopes[a] * slopes[b], scale)[inner] for a, b in pairs])
    wide = data.astype(np.float64)  # a small spread of large values
    variance = _blur(wide**2, scale)[inner] - _blur(wide, scale)[inner] ** 2
    yield np.sqrt(np.maximum(variance, 0.0))
    yield np.abs(slopes[0][inner])
    yield second[0]


def _mirrored(data: np.ndarray, axis: int) -> np.ndarray:
    """The data with one more slice at either end, mirrored."""
    width = [(0, 0)] * 3
    width[axis] = (1, 1)
    return np.pad(data, width, mode="symmetric")


def _part(data: np.ndarray, axis: int, start: int) -> np.ndarray:
    """The data without two slices along an axis: from `start` on."""
    return np.moveaxis(np.moveaxis(data, axis, 0)[start : start + data.shape[axis] - 2], 0, axis)


def _difference(data: np.ndarray, axis: int) -> np.ndarray:
    """Central difference."""
    wide = _mirrored(data, axis)
    return np.asarray(0.5 * (_part(wide, axis, 2) - _part(wide, axis, 0)))


def _second_difference(data: np.ndarray, axis: int) -> np.ndarray:
    wide = _mirrored(data, axis)
    return np.asarray(_part(wide, axis, 2) + _part(wide, axis, 0) - 2 * data)


def eigenvalues(tensor: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Eigenvalues of symmetric 3 x 3 matrices (zz, yy, xx, zy, zx, yx), largest first.

    In closed form by the angle of the characteristic polynomial (Smith, Commun. ACM 4 (1961) 168,
    doi:10.1145/355578.366316).
    """
    zz, yy, xx, zy, zx, yx = (part.astype(np.float64) for part in tensor)
    mean = (zz + yy + xx) / 3.0
    zz, yy, xx = zz - mean, yy - mean, xx - mean
    size = np.sqrt((zz**2 + yy**2 + xx**2 + 2.0 * (zy**2 + zx**2 + yx**2)) / 6.0)
    half = 0.5 * (zz * (yy * xx - yx**2) - zy * (zy * xx - yx * zx) + zx * (zy * yx - yy * zx))
    cosine = np.divide(half, size**3, out=np.zeros_like(half), where=size > 1e-100)
    angle = np.arccos(np.clip(cosine, -1.0, 1.0)) / 3.0
    largest = mean + 2.0 * size * np.cos(angle)
    smallest = mean + 2.0 * size * np.cos(angle + 2.0 * math.pi / 3.0)
    return largest, 3.0 * mean - largest - smallest, smallest
