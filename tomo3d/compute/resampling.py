"""Images and volumes on another grid."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import scipy.fft
import scipy.ndimage

from tomo3d import progress
from tomo3d.compute import backend
from tomo3d.compute.bending import Bends
from tomo3d.compute.kernels import spline

_FADE = 32  # binned pixels over which an image fades into its other edge
_MARGIN = 16  # rows and columns beyond what a shift brings in
_ROUNDING = 1e-6  # pixels


def affine_images(
    images: np.ndarray,
    matrices: np.ndarray,
    offsets: np.ndarray,
    out_shape: tuple[int, int],
    bends: Bends | None = None,
) -> np.ndarray:
    """Each image resampled once by a cubic spline, (n, *out_shape) float32.

    Value at index i of image k is taken from index matrices[k] @ i + offsets[k], or from where
    local shifts `bends` move that place to.
    What lies beyond the image is continued from its nearest edge: unknown, so
    neither zero nor wrapped around.
    """
    resampled = np.empty((len(matrices), *out_shape), dtype=np.float32)

    def resample(k: int) -> None:
        image = np.ascontiguousarray(images[k], dtype=np.float32)
        if bends is not None:
            places = bends.places(k, matrices[k], offsets[k], (0, out_shape[0]), out_shape[1])
            scipy.ndimage.map_coordinates(image, places, output=resampled[k], order=3, mode="nearest")
            return
        affine_image(image, matrices[k], offsets[k], resampled[k])

    with ThreadPoolExecutor(backend.n_threads()) as pool:
        for _ in progress.track(pool.map(resample, range(len(matrices))), "resampling", len(matrices)):
            pass
    return resampled


def affine_image(image: np.ndarray, matrix: np.ndarray, offset: np.ndarray, out: np.ndarray) -> None:
    """Fill `out`, float32, with one image, float32, resampled by a cubic spline: index i is matrix @ i + offset."""
    n_y, n_x = image.shape
    coefficients = np.empty((n_y + 2 * spline.EDGE, n_x + 2 * spline.EDGE), dtype=np.float32)
    spline.spline_coefficients_cpu(image, coefficients)
    matrix, offset = (np.ascontiguousarray(each, dtype=np.float64) for each in (matrix, offset))
    spline.affine_spline_cpu(coefficients, matrix, offset, out)


def bin_images(images: np.ndarray, factor: int, *, views: np.ndarray | None = None) -> np.ndarray:
    """Mean over blocks of factor x factor pixels of the `views` (all), (n, n_y // factor, n_x // factor) float32.

    The rows and columns that do not fill a block are left out, equally on both
    sides (one more at the end if odd), so that the centre moves by half a pixel at most.
    """
    _, n_y, n_x = images.shape
    taken = np.arange(images.shape[0]) if views is None else views
    m_y, m_x = n_y // factor, n_x // factor
    y = (n_y - m_y * factor) // 2
    x = (n_x - m_x * factor) // 2
    binned = np.empty((len(taken), m_y, m_x), dtype=np.float32)
    for k, view in enumerate(taken):
        image = np.asarray(images[view, y : y + m_y * factor, x : x + m_x * factor])
        # down the columns first: numpy adds whole rows quickly, whatever their type
        sums = image.reshape(m_y, factor, m_x * factor).sum(axis=1, dtype=np.float32)
        binned[k] = sums.reshape(m_y, m_x, factor).sum(axis=2) / np.float32(factor**2)
    return binned


def crop_images(images: np.ndarray, factor: int) -> np.ndarray:
    """What pixels `factor` times as large can hold, at their centres, (n, n_y // factor, n_x // factor) float32.

    The transform is cut at the new Nyquist frequency, which is left out itself, one image at a time. Blocks
    are those of `bin_images`. The image is continued by its mirror image, so that one edge does not ring into the
    other.
    """
    _, n_y, n_x = images.shape
    m_y, m_x = n_y // factor, n_x // factor
    y, x = (n_y - m_y * factor) // 2, (n_x - m_x * factor) // 2
    wide_y, wide_x = (scipy.fft.next_fast_len(m + 2 * min(_FADE, m), real=True) for m in (m_y, m_x))
    kept_y, kept_x = (wide_y - 1) // 2, (wide_x - 1) // 2
    frequency_y, frequency_x = (scipy.fft.fftfreq(n)[:, None] for n in (wide_y, wide_x))
    # from the corner of each block to its centre
    to_centre = np.exp(1j * np.pi * (factor - 1) / factor * (frequency_y + frequency_x[: wide_x // 2 + 1].T))
    to_centre[kept_y + 1 : wide_y - kept_y] = 0.0
    to_centre[:, kept_x + 1 :] = 0.0
    response = (to_centre / factor**2).astype(np.complex64)
    cropped = np.empty((images.shape[0], m_y, m_x), dtype=np.float32)
    for k in progress.track(range(images.shape[0]), "binning", images.shape[0]):
        image = np.asarray(images[k, y : y + m_y * factor, x : x + m_x * factor], dtype=np.float32)
        wide = _continued(image, (wide_y * factor, wide_x * factor))
        transform = scipy.fft.rfft2(wide, workers=backend.n_threads())
        low = np.zeros(response.shape, dtype=np.complex64)
        low[: kept_y + 1] = transform[: kept_y + 1, : wide_x // 2 + 1]
        low[wide_y - kept_y :] = transform[wide_y * factor - kept_y :, : wide_x // 2 + 1]
        small = scipy.fft.irfft2(low * response, (wide_y, wide_x), workers=backend.n_threads())
        cropped[k] = small[:m_y, :m_x]
    return cropped


def moved_image(image: np.ndarray, shift: np.ndarray) -> tuple[np.ndarray, tuple[slice, slice]]:
    """The image with its content moved by `shift` (y, x) pixels in Fourier space, and where that was recorded.

    The image is continued by its mirror image, so that nothing is wrapped around. Float32.
    """
    n_y, n_x = image.shape
    wide_y, wide_x = (
        scipy.fft.next_fast_len(n + 2 * (int(np.ceil(abs(s))) + _MARGIN), real=True)
        for n, s in zip(image.shape, shift, strict=True)
    )
    wide = _continued(image, (wide_y, wide_x))
    transform = scipy.fft.rfft2(wide, workers=backend.n_threads())
    turn_y = np.exp(-2j * np.pi * shift[0] * scipy.fft.fftfreq(wide.shape[0])).astype(np.complex64)
    turn_x = np.exp(-2j * np.pi * shift[1] * scipy.fft.rfftfreq(wide.shape[1])).astype(np.complex64)
    transform *= turn_y[:, None] * turn_x[None, :]
    moved = scipy.fft.irfft2(transform, wide.shape, workers=backend.n_threads())
    recorded = tuple(
        slice(max(0, int(np.ceil(s - _ROUNDING))), min(n, int(np.floor(n - 1 + s + _ROUNDING)) + 1))
        for n, s in zip(image.shape, shift, strict=True)
    )
    return np.asarray(moved[:n_y, :n_x], dtype=np.float32), (recorded[0], recorded[1])


def _continued(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The image at the start of a larger one of this shape, which joins smoothly around its border, float32.

    What is added fades from the mirror image about one edge to that about the other: there is no step anywhere, and
    noise stays noise.
    """
    wide = np.asarray(image, dtype=np.float32)
    for axis, total in enumerate(shape):
        n = wide.shape[axis]
        index = np.arange(total - n)
        if not len(index):
            continue
        after = np.take(wide, _mirrored(n + index, n), axis=axis)
        before = np.take(wide, _mirrored(index - len(index), n), axis=axis)
        fade = (0.5 - 0.5 * np.cos(np.pi * (index + 0.5) / len(index))).astype(np.float32)
        fade = np.expand_dims(fade, 1 - axis)
        wide = np.concatenate((wide, (1.0 - fade) * after + fade * before), axis=axis)
    return wide


def _mirrored(index: np.ndarray, n: int) -> np.ndarray:
    """Index into n samples, mirrored at both edges."""
    around = np.mod(index, 2 * n)
    return np.minimum(around, 2 * n - 1 - around)
