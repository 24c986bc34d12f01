"""Geometries, and the comparisons that the tests of the projection kernels share."""

from typing import NamedTuple

import numpy as np

from tomo3d.compute.kernels import affine, projection, projection_cuda, warp, warp_cuda

TILTS_DEG = [0.0, 90.0, -90.0, 45.0, -45.0, 60.0, -60.0, 44.9, -135.0, 10.0, 180.0, 89.9]
# volume (n_z, n_x, n_y), n_u, n_views: odd, even, thin, wider and narrower than the detector, a single voxel
SEPARABLE = [
    ((7, 12, 5), 12, 1),
    ((8, 17, 14), 15, 4),
    ((13, 9, 25), 21, 8),
    ((1, 1, 1), 4, 4),
    ((2, 31, 12), 8, 12),
]
# volume (n_z, n_x, n_y), detector (n_u, n_v), largest rotation and x-axis tilt in degrees
AFFINE = [
    ((5, 8, 33), (9, 31), 0.0, 0.0),  # magnification and shifts alone
    ((9, 16, 40), (7, 20), 1.0, 3.0),  # a detector smaller than the specimen
    ((3, 7, 64), (12, 70), 6.0, -2.0),
    ((4, 5, 17), (6, 18), 90.0, 20.0),  # rows as steep as they come
    ((10, 11, 12), (1, 1), 3.0, 3.0),
]

# maps: plane (n_rows, n_y), detector (n_u, n_v), degrees, magnification, nodes of the field
WARPS = [
    ((9, 31), (9, 31), 0.0, 1.0, (1, 1)),
    ((20, 40), (17, 33), 2.0, 0.98, (1, 1)),
    ((30, 21), (40, 50), 7.0, 1.2, (3, 4)),
    ((24, 70), (15, 64), 40.0, 0.6, (1, 1)),
    ((33, 18), (19, 36), 90.0, 1.01, (4, 2)),
    ((1, 1), (4, 5), 3.0, 1.0, (2, 2)),
    ((12, 40), (1, 1), 1.0, 1.0, (1, 1)),
]


def separable(n_u, n_views, *, seed=0):
    """cos, sin and detector index of the axis; the last of many views is shifted off the detector."""
    tilt = np.deg2rad(TILTS_DEG[:n_views])
    offset = 0.5 * (n_u - 1) + np.random.default_rng(seed).uniform(-3, 3, n_views)
    if n_views > 4:
        offset[-1] += 10 * n_u
    return np.cos(tilt), np.sin(tilt), offset


def affine_geometry(n_u, n_v, rotation_deg, x_tilt_deg, *, n_views=7, seed=0):
    """(n_views, 2, 4): x-axis tilt, tilt, then rotation and magnification in the image, then a shift."""
    rng = np.random.default_rng(seed)
    x_tilt = np.deg2rad(x_tilt_deg)
    tip = np.array([[1, 0, 0], [0, np.cos(x_tilt), -np.sin(x_tilt)], [0, np.sin(x_tilt), np.cos(x_tilt)]])
    geometry = np.zeros((n_views, 2, 4))
    for view, tilt in enumerate(np.deg2rad(TILTS_DEG[:n_views])):
        rotation = np.deg2rad(rng.uniform(-rotation_deg, rotation_deg))
        turn = np.array([[np.cos(rotation), -np.sin(rotation)], [np.sin(rotation), np.cos(rotation)]])
        onto_detector = np.array([[np.cos(tilt), 0, np.sin(tilt)], [0, 1, 0]])
        geometry[view, :, :3] = rng.uniform(0.98, 1.02) * turn @ onto_detector @ tip
        geometry[view, :, 3] = rng.uniform(-3, 3, 2) + np.array([0.5 * (n_u - 1), 0.5 * (n_v - 1)])
    return geometry


def warp_maps(plane, detector, turn_deg, magnification, nodes, *, n_views=3, seed=0):
    """The affine maps about both centres, with shifts of up to 3 pixels, and fields of up to 2."""
    rng = np.random.default_rng(seed)
    affine = np.empty((n_views, 2, 3))
    for k in range(n_views):
        angle = np.deg2rad(turn_deg) * (1 - 0.3 * k)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) / magnification
        centre = 0.5 * (np.array(plane) - 1) - turn @ (0.5 * (np.array(detector) - 1))
        affine[k] = np.column_stack((turn, centre + rng.uniform(-3, 3, 2)))
    field = rng.uniform(-2, 2, (n_views, *nodes, 2)) if nodes != (1, 1) else np.zeros((n_views, 1, 1, 2))
    return affine, field


def padded(images):
    """Images (n_views, n_u, n_y) with the padding that the separable kernels ask for."""
    behind = projection.PAD - projection.PAD_BEFORE
    return np.pad(images, ((0, 0), (projection.PAD_BEFORE, behind), (0, 0)))


def inside(n_u):
    """The detector within the padding."""
    return slice(projection.PAD_BEFORE, projection.PAD_BEFORE + n_u)


def relative(found, expected):
    """Largest difference, relative to the largest value."""
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def dot(a, b):
    """Scalar product in float64."""
    return float(np.vdot(a.astype(np.float64), b.astype(np.float64)))


class Differences(NamedTuple):
    """Of the CUDA pair from numba's, relative to the largest value, and between <Ax, y> and <x, A'y>, relative."""

    back: float
    forward: float
    adjoint: float


def separable_differences(shape, n_u, geometry, *, xp=np):
    """The separable CUDA pair on arrays of `xp`; `geometry` is cos, sin and offset."""
    rng = np.random.default_rng(1)
    images = padded(rng.random((len(geometry[0]), n_u, shape[2]), dtype=np.float32))
    return _differences(
        (projection.back_cpu, projection.forward_cpu),
        (projection_cuda.back_cuda, projection_cuda.forward_cuda),
        (rng.random(shape, dtype=np.float32), images),
        geometry,
        xp,
    )


def affine_differences(shape, detector, geometry, *, xp=np):
    """The affine CUDA pair on arrays of `xp`; `geometry` is (n_views, 2, 4)."""
    rng = np.random.default_rng(2)
    images = rng.random((len(geometry), *detector), dtype=np.float32)
    return _differences(
        (affine.back_affine_cpu, affine.forward_affine_cpu),
        (projection_cuda.back_affine_cuda, projection_cuda.forward_affine_cuda),
        (rng.random(shape, dtype=np.float32), images),
        (geometry,),
        xp,
    )


def warp_differences(plane, detector, maps, *, is_absolute=False, xp=np):
    """The pair that resamples views on arrays of `xp`; `maps` is affine (n_views, 2, 3) and the field."""
    rng = np.random.default_rng(3)
    rows = (1, 1 + plane[0])
    planes = rng.random((len(maps[0]), plane[0] + 3, plane[1]), dtype=np.float32)
    images = rng.random((len(maps[0]), *detector), dtype=np.float32)
    results = []
    for (gather, spread), place in (
        ((warp.warp_cpu, warp.warp_transpose_cpu), np),
        ((warp_cuda.warp_cuda, warp_cuda.warp_transpose_cuda), xp),
    ):
        # both overwrite what is there, but for the rows around the plane
        seen, back = (place.full(array.shape, 7.0, dtype=np.float32) for array in (images, planes))
        gather(place.asarray(planes), rows, *maps, seen, is_absolute)
        spread(place.asarray(images), rows, *maps, back, is_absolute)
        results.append([array if place is np else xp.asnumpy(array) for array in (seen, back)])
    (seen_cpu, back_cpu), (seen, back) = results
    inside = slice(*rows)
    assert (np.delete(back, np.r_[inside], axis=1) == 7).all()
    planes, back, back_cpu = (array[:, inside] for array in (planes, back, back_cpu))
    a, b = dot(seen, images), dot(planes, back)
    return Differences(relative(back, back_cpu), relative(seen, seen_cpu), abs(a - b) / abs(a))


def _differences(numba_pair, cuda_pair, arrays, geometry, xp):
    volume, images = arrays
    results = []
    for (back, forward), place in ((numba_pair, np), (cuda_pair, xp)):
        # all add to what is there: start from ones, the padding's included
        gathered, projected = (place.ones(array.shape, dtype=place.float32) for array in arrays)
        back(place.asarray(images), *geometry, gathered)
        forward(place.asarray(volume), *geometry, projected)
        results.append([array if place is np else xp.asnumpy(array) for array in (gathered, projected)])
    (back_cpu, forward_cpu), (back, forward) = results
    a, b = dot(forward - 1, images), dot(volume, back - 1)
    return Differences(relative(back, back_cpu), relative(forward, forward_cpu), abs(a - b) / abs(a))
