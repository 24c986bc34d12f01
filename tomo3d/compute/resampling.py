"""Images and volumes on another grid."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import scipy.ndimage

from tomo3d import progress
from tomo3d.compute import backend


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
