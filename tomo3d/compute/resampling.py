"""Images and volumes on another grid."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import scipy.fft
import scipy.ndimage

from tomo3d import progress
from tomo3d.compute import backend

_MARGIN = 16  # rows and columns beyond what a shift brings in
_ROUNDING = 1e-6  # pixels


def affine_images(
    images: np.ndarray, matrices: np.ndarray, offsets: np.ndarray, out_shape: tuple[int, int]
) -> np.ndarray:
    """Each image resampled once by a cubic spline, (n, *out_shape) float32.

    Value at index i of image k is taken from index matrices[k] @ i + offsets[k].
    What lies beyond the image is continued from its nearest edge: unknown, so
    neither zero nor wrapped around.
    """
    resampled = np.empty((len(matrices), *out_shape), dtype=np.float32)

    def resample(k: int) -> None:
        scipy.ndimage.affine_transform(
            np.asarray(images[k], dtype=np.float32),
            matrices[k],
            offset=offsets[k],
            output_shape=out_shape,
            output=resampled[k],
            order=3,
            mode="nearest",
        )

    with ThreadPoolExecutor(backend.n_threads()) as pool:
        for _ in progress.track(pool.map(resample, range(len(matrices))), "resampling", len(matrices)):
            pass
    return resampled


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
        image = np.asarray(images[view, y : y + m_y * factor, x : x + m_x * factor], dtype=np.float32)
        binned[k] = image.reshape(m_y, factor, m_x, factor).mean(axis=(1, 3))
    return binned


def moved_image(image: np.ndarray, shift: np.ndarray) -> tuple[np.ndarray, tuple[slice, slice]]:
    """The image with its content moved by `shift` (y, x) pixels in Fourier space, and where it was recorded.

    Whole pixels and edges: the image is continued by its mirror image, so that nothing is wrapped into what was recorded.
    """
    pad = [int(np.ceil(abs(s))) + _MARGIN for s in shift]
    wide = periodic(image, (pad[0], pad[1]))
    transform = scipy.fft.rfft2(wide, workers=backend.n_threads())
    turn_y = np.exp(-2j * np.pi * shift[0] * scipy.fft.fftfreq(wide.shape[0])).astype(np.complex64)
    turn_x = np.exp(-2j * np.pi * shift[1] * scipy.fft.rfftfreq(wide.shape[1])).astype(np.complex64)
    transform *= turn_y[:, None] * turn_x[None, :]
    moved = scipy.fft.irfft2(transform, wide.shape, workers=backend.n_threads())
    n_y, n_x = image.shape
    recorded = tuple(
        slice(max(0, int(np.ceil(s - _ROUNDING))), min(n, int(np.floor(n - 1 + s + _ROUNDING)) + 1))
        for n, s in zip(image.shape, shift, strict=True)
    )
    inside = moved[pad[0] : pad[0] + n_y, pad[1] : pad[1] + n_x]
    return np.asarray(inside, dtype=np.float32), (recorded[0], recorded[1])


def periodic(image: np.ndarray, pad: tuple[int, int]) -> np.ndarray:
    """The image with at least `pad` rows and columns more on each side, which join smoothly around the border, float32.

    What is added fades from the mirror image about one edge to that about the other, so that there is no step
    anywhere, and noise stays noise. The image starts at index `pad`.
    """
    wide = np.asarray(image, dtype=np.float32)
    for axis, least in enumerate(pad):
        n = wide.shape[axis]
        total = scipy.fft.next_fast_len(n + 2 * least, real=True)
        behind = total - n  # all that is added, seen as behind the image
        index = np.arange(behind)
        after = np.take(wide, _mirrored(n + index, n), axis=axis)
        before = np.take(wide, _mirrored(index - behind, n), axis=axis)
        fade = (0.5 - 0.5 * np.cos(np.pi * (index + 0.5) / max(behind, 1))).astype(np.float32)
        fade = fade[:, None] if axis == 0 else fade[None, :]
        joined = np.concatenate((wide, (1.0 - fade) * after + fade * before), axis=axis)
        wide = np.roll(joined, least, axis=axis)
    return wide


def _mirrored(index: np.ndarray, n: int) -> np.ndarray:
    """Index into n samples, mirrored at both edges."""
    around = np.mod(index, 2 * n)
    return np.minimum(around, 2 * n - 1 - around)
