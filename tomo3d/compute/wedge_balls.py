"""What a fit makes of a ball that was seen through a missing wedge, and the ball behind a fit.

A tilt series within +-t knows the Fourier transform of the specimen where |k_z| <= tan(t) |k_x|. Without the rest, dark
lobes lie beside a ball along x, and it looks narrower across z and longer along it. How much depends on its size
and blur: so balls of known size and blur are made by their Fourier transforms, and fitted as the objects are.

A ball that is small against its blur looks the same with another radius and blur, and the wedge drives a free fit of
both to no radius at all. What a wedge does to the blur is asked of well seen balls only, and what it does to the radius
of fits whose blur is given.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy.fft
import scipy.special
from scipy import ndimage

from tomo3d.compute.blurred_balls import Balls, Places, fit_balls
from tomo3d.progress import track

_N_SIZES, _N_BLURS = 6, 4
_N_GIVEN = 12  # sizes, where the blur is given
_SHIFTS = np.array([[0.1, 0.2, 0.3], [0.35, -0.4, -0.15]])  # voxels, of the balls from the grid
_LARGEST = 9.0  # voxels: the radius from which on the blur is all that matters little
_SMALLEST = 0.8
_NARROWEST = 0.2  # voxels: blur, under which no grid can tell
_WELL_SEEN = 3.0  # radius over blur from which on a fit through the wedge tells both
_WELL_SAMPLED = 1.5  # voxels: radius from which on it does
_N_ROUNDS = 30


@dataclass(frozen=True, eq=False)
class WedgeResponse:
    """Radius and blur as fitted, over those of the ball: on a grid of log radius and log blur, (n, m, 2).

    Beyond the grid the ratios are those of its border, and those of a ball too small to tell its blur are those of the
    smallest that does.
    """

    log_radii: np.ndarray
    log_blurs: np.ndarray
    log_ratios: np.ndarray

    def ratios(self, radius: np.ndarray, blur: np.ndarray) -> np.ndarray:
        """Fitted over true radius and blur, (n, 2), of balls."""
        from scipy.interpolate import RegularGridInterpolator

        table = RegularGridInterpolator((self.log_radii, self.log_blurs), self.log_ratios)
        place = np.stack((np.log(radius), np.log(blur)), axis=1)
        low = [self.log_radii[0], self.log_blurs[0]]
        high = [self.log_radii[-1], self.log_blurs[-1]]
        return np.asarray(np.exp(table(np.clip(np.nan_to_num(place), low, high))))

    def undo(self, fitted: Balls) -> tuple[np.ndarray, np.ndarray]:
        """Radius and blur, (n,) each, of the balls behind a fit of both."""
        radius, blur = fitted.radius.copy(), fitted.blur.copy()
        for _ in range(_N_ROUNDS):
            ratios = self.ratios(radius, blur)
            radius, blur = fitted.radius / ratios[:, 0], fitted.blur / ratios[:, 1]
        return radius, blur


@dataclass(frozen=True, eq=False)
class SizeResponse:
    """Radius and height as fitted with a given blur, over those of the ball, (n, 2), by log of the fitted radius (n,).

    Fitted radii increase; beyond them the ratios are those of the ends.
    """

    log_fitted: np.ndarray
    log_ratios: np.ndarray

    def undo(self, fitted: Balls) -> tuple[np.ndarray, np.ndarray]:
        """Radius and height, (n,) each, of the balls behind a fit."""
        place = np.log(fitted.radius)
        radius, height = (np.exp(np.interp(place, self.log_fitted, column)) for column in self.log_ratios.T)
        return fitted.radius / radius, fitted.height / height


def wedge_response(
    radii: tuple[float, float],
    blurs: tuple[float, float],
    voxel_size: tuple[float, float, float],
    max_tilt_deg: float,
) -> WedgeResponse:
    """The response of fits of radius and blur, for radii and blurs between two ends, by balls of their own."""
    edge = max(voxel_size)
    sizes = _sizes(radii, voxel_size, _N_SIZES)
    widths = np.geomspace(
        max(0.5 * blurs[0], _NARROWEST * edge), 1.3 * max(*blurs, _NARROWEST * edge), _N_BLURS
    )
    ratios = np.empty((_N_SIZES, _N_BLURS, 2))
    for j in track(range(_N_BLURS), "balls through the wedge", _N_BLURS):
        seen = np.maximum(sizes, max(_WELL_SEEN * widths[j], _WELL_SAMPLED * edge))
        for size in np.unique(seen):
            ratios[seen == size, j] = _ratios(float(size), float(widths[j]), voxel_size, max_tilt_deg)[:2]
    return WedgeResponse(np.log(sizes), np.log(widths), np.log(_without_gaps(ratios)))


def size_response(
    radii: tuple[float, float],
    blur: float,
    fitted_blur: float,
    voxel_size: tuple[float, float, float],
    max_tilt_deg: float,
) -> SizeResponse:
    """The response of fits with a given blur, `fitted_blur`, to balls whose own is `blur`.

    Balls that are too small for a fit, or fitted no smaller than the next larger one, are left out.
    """
    rows: list[np.ndarray] = []
    for size in _sizes(radii, voxel_size, _N_GIVEN)[::-1]:
        ratios = _ratios(float(size), blur, voxel_size, max_tilt_deg, fitted_blur)
        row = np.array([size * ratios[0], ratios[0], ratios[2]])
        if np.isfinite(row).all() and (row > 0).all() and (not rows or row[0] < rows[-1][0]):
            rows.append(row)
    table = np.log(np.array(rows[::-1])) if rows else np.full((1, 3), math.nan)
    return SizeResponse(table[:, 0], table[:, 1:])


def _sizes(radii: tuple[float, float], voxel_size: tuple[float, float, float], n: int) -> np.ndarray:
    edge = max(voxel_size)
    low, high = (min(max(radius, _SMALLEST * edge), _LARGEST * edge) for radius in radii)
    return np.geomspace(0.75 * low, 1.4 * max(high, low), n)


def _without_gaps(ratios: np.ndarray) -> np.ndarray:
    """Ratios; where no ball could be fitted, those of the nearest cell with one."""
    is_gap = ~np.isfinite(ratios).all(axis=2)
    if not is_gap.any() or is_gap.all():
        return ratios
    nearest = ndimage.distance_transform_edt(is_gap, return_distances=False, return_indices=True)
    return np.asarray(ratios[tuple(nearest)])


def _ratios(
    radius: float,
    blur: float,
    voxel_size: tuple[float, float, float],
    max_tilt_deg: float,
    fitted_blur: float | None = None,
) -> np.ndarray:
    """Fitted over true radius, blur and height of one ball, (3,), the mean over places on the grid."""
    voxel = np.array(voxel_size)
    half = 2.0 * (1.6 * radius + 3.0 * voxel) + 3.0 * blur
    shape = tuple(2 * scipy.fft.next_fast_len(math.ceil(h / v)) for h, v in zip(half, voxel, strict=True))
    given = None if fitted_blur is None else np.array([fitted_blur])
    fits = []
    for shift in _SHIFTS:
        centre = (np.array(shape) // 2 + shift) * voxel
        grey = ball_through_wedge(radius, blur, shape, voxel_size, centre, max_tilt_deg)
        places = Places(np.array([1]), centre[None], np.array([radius]))
        fits.append(fit_balls(grey, np.zeros(shape, dtype=np.int8), places, voxel_size, blur=given))
    return np.array(
        [
            _mean([fit.radius[0] for fit in fits]) / radius,
            _mean([fit.blur[0] for fit in fits]) / blur,
            _mean([fit.height[0] for fit in fits]),
        ]
    )


def ball_through_wedge(
    radius: float,
    blur: float,
    shape: tuple[int, ...],
    voxel_size: tuple[float, float, float],
    centre: np.ndarray,
    max_tilt_deg: float,
) -> np.ndarray:
    """A ball of height 1, blurred, without its Fourier transform beyond the largest tilt about y, on a periodic grid.

    Its transform is 4 pi R^3 j1(k R) / (k R) exp(-k^2 w^2 / 2), and fades out within a step of the grid along k_z, so
    that all depends smoothly on the tilt.
    """
    k_z, k_y = (2 * np.pi * scipy.fft.fftfreq(n, v) for n, v in zip(shape[:2], voxel_size[:2], strict=True))
    k_x = 2 * np.pi * scipy.fft.rfftfreq(shape[2], voxel_size[2])
    kz, ky, kx = k_z[:, None, None], k_y[:, None], k_x
    k = np.sqrt(kz**2 + ky**2 + kx**2)
    argument = np.maximum(k * radius, 1e-6)
    spectrum = 4 * np.pi * radius**3 * scipy.special.spherical_jn(1, argument) / argument
    step = 2 * np.pi / (shape[0] * voxel_size[0])
    beyond = np.abs(kz) - math.tan(math.radians(max_tilt_deg)) * kx
    seen = np.clip(1.0 - beyond / step, 0.0, 1.0)
    phase = np.exp(-1j * (kz * centre[0] + ky * centre[1] + kx * centre[2]))
    spectrum = spectrum * np.exp(-0.5 * (k * blur) ** 2) * seen * phase / math.prod(voxel_size)
    return np.ascontiguousarray(scipy.fft.irfftn(spectrum, s=shape))


def _mean(values: list[float]) -> float:
    known = [value for value in values if math.isfinite(value)]
    return float(np.mean(known)) if known else math.nan
