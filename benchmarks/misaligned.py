"""Tilt series with known misalignment: a catalyst layer in closed form, and a textured slab that fills the field."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import scipy.fft
import scipy.ndimage

from tomo3d.compute.projector import Projector
from tomo3d.phantoms import Acquisition, Microscope, acquire, catalyst_layer
from tomo3d.types import Alignment, TiltSeries

N_PIXELS = 300
PIXEL_NM = 0.66  # 190 nm of specimen and the largest shift in 300 pixels
TILTS_DEG = np.linspace(-61.0, 61.0, 62)
TROUBLES = ("none", "jumps of 40 px", "axis 10 deg off", "five views missing", "truncated", "dose-symmetric")


def catalyst(trouble: str, noise_fraction: float, seed: int, *, n_pixels: int = N_PIXELS) -> Acquisition:
    """300 x 300 pixels, 62 views over +-61 deg, moved by up to 8 px; or fewer and larger pixels."""
    scale = n_pixels / N_PIXELS
    pixel_nm = (0.4 if trouble == "truncated" else PIXEL_NM) / scale  # 120 of 190 nm
    jump_px = (40.0 if trouble == "jumps of 40 px" else 8.0) * scale
    microscope = Microscope(
        shift_nm=jump_px * pixel_nm,
        noise_fraction=noise_fraction,
        axis_error_deg=10.0 if trouble == "axis 10 deg off" else 0.0,
    )
    views = np.arange(len(TILTS_DEG))
    if trouble == "five views missing":
        views = np.delete(views, np.arange(20, 25))
    if trouble == "dose-symmetric":
        views = np.argsort(np.abs(TILTS_DEG + 0.1), kind="stable")
    if trouble == "jumps of 40 px":
        n_pixels += round(64 * scale)  # the specimen stays in the field
    return acquire(
        catalyst_layer(seed=seed),
        tilt_angles_deg=TILTS_DEG[views].tolist(),
        pixel_size_nm=pixel_nm,
        image_shape=(n_pixels, n_pixels),
        microscope=microscope,
        seed=seed,
    )


def bound_px(images: np.ndarray, sigma: float) -> tuple[float, float]:
    """Cramer-Rao bound (across, along), r.m.s. over the views, of a shift against a perfect reference."""
    along, across = np.gradient(np.asarray(images, dtype=np.float64), axis=(1, 2))
    return tuple(
        float(np.sqrt(np.mean(sigma**2 / np.square(slope).sum(axis=(1, 2))))) for slope in (across, along)
    )  # type: ignore[return-value]


_FINER = 2  # the slab is made and projected on pixels half as large
_BORDER = 24  # pixels around the field, for shifts
_TEXTURE = 1.5  # pixels, standard deviation of the smoothing of white noise
ICE_THICKNESS = 50  # pixels


def textured_slab(
    seed: int, *, n_pixels: int = 256, n_views: int = 41, variance_ratio: float = 0.1
) -> Acquisition:
    """A slab of smoothed noise that goes on beside the field, +-60 deg, views moved by up to 5 px.

    `variance_ratio` is var(signal) / var(noise) of the untilted view. Pixels are 1 nm.
    """
    rng = np.random.default_rng(seed)
    tilts = np.linspace(-60.0, 60.0, n_views)
    edge = n_pixels + 2 * _BORDER
    width = int(_FINER * (edge + ICE_THICKNESS) * 2.05)  # seen at 60 deg
    slab = rng.normal(size=(_FINER * ICE_THICKNESS, width, _FINER * edge)).astype(np.float32)
    slab = scipy.ndimage.gaussian_filter(slab, _FINER * _TEXTURE)
    projector = Projector(tilts, n_u=_FINER * edge, n_x=width, n_z=len(slab))
    views = projector.forward_inner(slab)[:, projector.inside].transpose(0, 2, 1)
    shifts = rng.uniform(-5.0, 5.0, (n_views, 2))
    frequencies = scipy.fft.fftfreq(views.shape[1])[:, None], scipy.fft.rfftfreq(views.shape[2])[None]
    images = np.empty((n_views, n_pixels, n_pixels), dtype=np.float32)
    for image, view, (y, x) in zip(images, views, _FINER * shifts, strict=True):
        phase = np.exp(2j * np.pi * (frequencies[0] * y + frequencies[1] * x))
        moved = scipy.fft.irfft2(scipy.fft.rfft2(view - view.mean()) * phase, view.shape)
        binned = moved.reshape(edge, _FINER, edge, _FINER).mean(axis=(1, 3))
        image[...] = binned[_BORDER : _BORDER + n_pixels, _BORDER : _BORDER + n_pixels]
    images /= images[n_views // 2].std()
    images += rng.normal(0.0, variance_ratio**-0.5, images.shape).astype(np.float32)
    alignment = Alignment(
        shifts, np.zeros(n_views), tilts, np.ones(n_views), 0.0, np.ones(n_views, dtype=bool)
    )
    return Acquisition(TiltSeries(images, tilts, pixel_size_nm=1.0), alignment)


def errors_px(found: Alignment, acquired: Acquisition) -> tuple[np.ndarray, np.ndarray]:
    """Errors (across, along) of the shifts of each view, in pixels, without the free modes.

    Across the axis that is a + b cos t + c sin t, along it a constant.
    """
    error = (found.shifts_nm - acquired.alignment.shifts_nm) / acquired.series.pixel_size_nm
    tilt = np.deg2rad(acquired.series.tilt_angles_deg)
    modes = np.column_stack((np.ones_like(tilt), np.cos(tilt), np.sin(tilt)))
    across = error[:, 1] - modes @ np.linalg.lstsq(modes, error[:, 1], rcond=None)[0]
    return across, error[:, 0] - error[:, 0].mean()


def with_axis_off(acquired: Acquisition, degrees: float) -> Acquisition:
    """The same series, whose nominal axis is wrong by so much."""
    off = acquired.series.tilt_axis_deg + degrees
    return replace(acquired, series=replace(acquired.series, tilt_axis_deg=off))
