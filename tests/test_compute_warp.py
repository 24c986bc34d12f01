"""Resampling in the plane of the detector: against its definition, and an exact adjoint pair."""

import numpy as np
import pytest
from projections import WARPS, dot, warp_maps

from tomo3d.compute.kernels.warp import warp_cpu, warp_transpose_cpu


def keys(x):
    x = np.abs(x)
    return np.where(
        x < 1, 1.5 * x**3 - 2.5 * x**2 + 1, np.where(x < 2, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2, 0)
    )


def field_at(field, detector):
    """The field at every pixel, (n_views, n_u, n_v, 2): cubics between nodes, the end ones repeated."""
    for axis, n in enumerate(detector, start=1):
        n_nodes = field.shape[axis]
        place = np.clip((np.arange(n) + 0.5) * n_nodes / n - 0.5, 0, n_nodes - 1)
        first = np.floor(place).astype(int)
        held = [np.take(field, np.clip(first + k, 0, n_nodes - 1), axis=axis) for k in (-1, 0, 1, 2)]
        shape = tuple(n if i == axis else 1 for i in range(4))
        field = sum(
            keys(place - first - k).reshape(shape) * part for k, part in zip((-1, 0, 1, 2), held, strict=True)
        )
    return field


def warped(planes, affine, field, detector, *, size=np.positive):
    """The definition, in float64; `size` is what counts of a weight."""
    i, j = np.meshgrid(*(np.arange(n) for n in detector), indexing="ij")
    moves = field_at(field, detector)
    images = np.empty((len(planes), *detector))
    for view, plane in enumerate(planes):
        u, v = (
            np.tensordot(affine[view, axis, :2], [i, j], 1) + affine[view, axis, 2] + moves[view, ..., axis]
            for axis in range(2)
        )
        weights_u = size(keys(u[..., None] - np.arange(plane.shape[0])))
        weights_v = size(keys(v[..., None] - np.arange(plane.shape[1])))
        images[view] = np.einsum("ijr,ijc,rc->ij", weights_u, weights_v, plane)
    return images


@pytest.mark.parametrize("is_absolute", [False, True])
@pytest.mark.parametrize("geometry", WARPS)
def test_a_pixel_sees_the_plane_where_the_map_says(geometry, is_absolute):
    plane, detector = geometry[:2]
    affine, field = warp_maps(*geometry)
    planes = np.random.default_rng(1).normal(size=(3, plane[0] + 5, plane[1])).astype(np.float32)
    planes.flags.writeable = affine.flags.writeable = field.flags.writeable = False
    images = np.full((3, *detector), np.nan, np.float32)
    warp_cpu(planes, (2, 2 + plane[0]), affine, field, images, is_absolute)
    size = np.abs if is_absolute else np.positive
    expected = warped(planes[:, 2 : 2 + plane[0]], affine, field, detector, size=size)
    assert abs(images - expected).max() <= 1e-6 * abs(planes).max()  # sums of 16 terms in float32


@pytest.mark.parametrize("is_absolute", [False, True])
@pytest.mark.parametrize("geometry", WARPS)
def test_the_transpose_is_exact(geometry, is_absolute):
    plane, detector = geometry[:2]
    affine, field = warp_maps(*geometry)
    rng = np.random.default_rng(2)
    planes = rng.random((3, plane[0] + 3, plane[1]), dtype=np.float32)
    images = rng.random((3, *detector), dtype=np.float32)
    planes.flags.writeable = images.flags.writeable = False
    rows = (1, 1 + plane[0])
    seen, spread = np.zeros_like(images), np.full_like(planes, 7.0)
    warp_cpu(planes, rows, affine, field, seen, is_absolute)
    warp_transpose_cpu(images, rows, affine, field, spread, is_absolute)
    assert (np.delete(spread, np.r_[slice(*rows)], axis=1) == 7).all()
    a, b = dot(seen, images), dot(planes[:, slice(*rows)], spread[:, slice(*rows)])
    assert abs(a - b) <= 1e-6 * abs(a)
