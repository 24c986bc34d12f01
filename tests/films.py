"""Blurred volumes of films, for the tests of what is measured on them."""

import numpy as np
from scipy import ndimage

from tomo3d.measure.profiles import FWHM
from tomo3d.types import Volume


def blurred(data, voxel, fwhm_nm, noise=0.0, seed=0):
    """A grid of partial volumes blurred so that the whole point-spread function, voxel included, has this width."""
    fwhm = np.broadcast_to(fwhm_nm, (3,))
    sigma = [np.sqrt((w / FWHM) ** 2 - edge**2 / 12) / edge for w, edge in zip(fwhm, voxel, strict=True)]
    data = ndimage.gaussian_filter(np.asarray(data, dtype=np.float64), sigma, mode="nearest")
    data += noise * np.random.default_rng(seed).standard_normal(data.shape)
    data = data.astype(np.float32)
    data.flags.writeable = False
    origin = tuple(-(n - 1) / 2 * edge for n, edge in zip(data.shape, voxel, strict=True))
    return Volume(data, voxel, origin)


def positions(volume):
    """Positions (..., 3) of the voxels in nm."""
    axes = [
        o + e * np.arange(n)
        for o, e, n in zip(volume.origin_nm, volume.voxel_size_nm, volume.data.shape, strict=True)
    ]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
