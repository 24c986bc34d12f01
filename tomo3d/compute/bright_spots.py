"""Small bright things of a specimen: views in a band about their width, and where they are in the volume.

What is as small as the band is a spot in each view, whatever the tilt; none is looked for in a single view.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.ndimage

from tomo3d import geometry
from tomo3d.compute.projector import Projector

_SURROUND = 1.6  # width of what is subtracted over that of the spot
_SEEN = 0.4  # of the views, that see a voxel, for a spot to be looked for there
_AS_BRIGHT = 0.5  # of the ten brightest spots: what is less bright is none
_BRIGHTEST, _USUAL = 10, 20
_WIDEST = 1.6  # widths of the field, that spots are looked for in
_SLAB = 64  # slices that spots are looked for in at once
_MAD = 1.4826
_SAMPLE = 7  # of so many voxels, one tells the deviation


@dataclass(frozen=True, eq=False)
class SpotViews:
    """Aligned views in a band about the width of a spot, in pixels.

    Parameters
    ----------
    images, splines : ndarray, shape (n_views, n_y, n_x), float32
        The views, and coefficients of their cubic splines.
    inside : ndarray of bool, likewise
        Where a view shows something that its border has no part in.
    tilts : ndarray, shape (n_views,)
        Tilt angles in radians.
    width : float
        Standard deviation of the Gaussian that a spot was smoothed by.
    """

    images: np.ndarray
    splines: np.ndarray
    inside: np.ndarray
    tilts: np.ndarray
    width: float

    @classmethod
    def of(cls, images: np.ndarray, inside: np.ndarray, tilts: np.ndarray, width: float) -> SpotViews:
        """Of aligned images that are in the band already."""
        splines = np.stack(
            [scipy.ndimage.spline_filter(image, order=3, output=np.float32) for image in images]
        )
        return cls(images, splines, inside, tilts, width)

    @property
    def centre(self) -> np.ndarray:
        """(y, x) of the axis and the middle along it, in pixel indices."""
        return np.array([geometry.centre(n) for n in self.splines.shape[1:]])


def band_passed(images: np.ndarray, width: float) -> np.ndarray:
    """Views less what is wider than spots of this width, float32: differences of two Gaussians.

    D. Marr and E. Hildreth, Proc. R. Soc. Lond. B 207 (1980) 187-217, doi:10.1098/rspb.1980.0020.
    """
    near, far = (
        scipy.ndimage.gaussian_filter(images, (0.0, sigma, sigma), mode="nearest")
        for sigma in (width, _SURROUND * width)
    )
    near -= far
    return np.asarray(near, dtype=np.float32)


@dataclass(frozen=True, eq=False)
class Spots:
    """The brightest spots of a volume, brightest first: (z, y, x) in pixels from its middle, (n, 3), and brightness.

    `deviation` is the robust standard deviation of all voxels.
    """

    positions: np.ndarray
    brightness: np.ndarray
    deviation: float

    @property
    def mean_brightness(self) -> float:
        """Of the brightest twenty: high where the views agree on where they are."""
        return float(self.brightness[:_USUAL].mean()) if len(self.brightness) else 0.0

    @property
    def contrast(self) -> float:
        """The same in standard deviations: 7 to 8 where the views show texture and noise."""
        return self.mean_brightness / self.deviation if self.deviation > 0.0 else 0.0


def find(
    images: np.ndarray,
    inside: np.ndarray,
    tilt_angles_deg: np.ndarray,
    *,
    width: float,
    n_z: int,
    n_most: int = 300,
) -> Spots:
    """Spots in the mean over the views that see a voxel.

    `images` and `inside` are aligned, (n_views, n_y, n_x), in the band.
    """
    n_y, n_x = images.shape[1:]
    projector = Projector(tilt_angles_deg, n_x, int(_WIDEST * n_x), n_z)
    apart = max(3, int(2.0 * width) | 1)
    places, heights, samples = [], [], []
    for first in range(0, n_y, _SLAB):
        rows = slice(max(0, first - apart), min(n_y, first + _SLAB + apart))
        shown = inside[:, rows].astype(np.float32)
        n_seen = projector.back_inner(projector.padded(shown))
        mean = projector.back_inner(projector.padded(images[:, rows] * shown))
        enough = n_seen > _SEEN * len(images)
        mean = np.where(enough, mean / np.maximum(n_seen, 1.0), 0.0)
        samples.append(mean[enough][::_SAMPLE])
        is_peak = (mean == scipy.ndimage.maximum_filter(mean, apart)) & (mean > 0.0)
        z, x, y = np.nonzero(is_peak)
        y_whole = y + rows.start
        own = (y_whole >= first) & (y_whole < first + _SLAB)
        places.append(np.column_stack((z, y_whole, x))[own])
        heights.append(mean[z, x, y][own])
    height = np.concatenate(heights)
    order = np.argsort(-height, kind="stable")[:n_most]
    if len(order):
        order = order[height[order] > _AS_BRIGHT * height[order[:_BRIGHTEST]].mean()]
    middle = np.array([geometry.centre(n) for n in (n_z, n_y, projector.n_x)])
    sample = np.concatenate(samples)
    deviation = _MAD * float(np.median(np.abs(sample - np.median(sample)))) if len(sample) else 0.0
    return Spots(np.concatenate(places)[order] - middle, height[order], deviation)
