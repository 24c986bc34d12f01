"""Geometries, and the comparisons that the tests of the projection kernels share."""

import numpy as np

from tomo3d.compute.kernels import projection

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
    affine = np.zeros((n_views, 2, 4))
    for view, tilt in enumerate(np.deg2rad(TILTS_DEG[:n_views])):
        rotation = np.deg2rad(rng.uniform(-rotation_deg, rotation_deg))
        turn = np.array([[np.cos(rotation), -np.sin(rotation)], [np.sin(rotation), np.cos(rotation)]])
        onto_detector = np.array([[np.cos(tilt), 0, np.sin(tilt)], [0, 1, 0]])
        affine[view, :, :3] = rng.uniform(0.98, 1.02) * turn @ onto_detector @ tip
        affine[view, :, 3] = rng.uniform(-3, 3, 2) + np.array([0.5 * (n_u - 1), 0.5 * (n_v - 1)])
    return affine


def padded(images):
    """Images (n_views, n_u, n_y) with the padding that the separable kernels ask for."""
    behind = projection.PAD - projection.PAD_BEFORE
    return np.pad(images, ((0, 0), (projection.PAD_BEFORE, behind), (0, 0)))


def inside(n_u):
    """The detector within the padding."""
    return slice(projection.PAD_BEFORE, projection.PAD_BEFORE + n_u)


def relative(found, expected):
    """Largest difference, relative to the largest value."""
    return np.abs(found - expected).max() / np.abs(expected).max()


def dot(a, b):
    """Scalar product in float64."""
    return float(np.vdot(a.astype(np.float64), b.astype(np.float64)))
