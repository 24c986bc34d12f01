"""Translation between two images by cross-correlation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.fft

from tomo3d.compute import backend

_REACHES = (1.0, 0.2)  # pixels around the peak that are searched on a fine grid, one after the other
_N_STEPS = 9  # of each grid along an axis; a parabola then goes below a step


def apodise(image: np.ndarray, *, edge: float = 0.1) -> np.ndarray:
    """The image about its mean, falling to zero over `edge` of its width on each side, float32."""
    window = soft_window(image.shape, edge=edge)
    mean = float((image * window).sum() / window.sum())
    return ((image - mean) * window).astype(np.float32)


def soft_window(shape: tuple[int, ...], *, edge: float) -> np.ndarray:
    """1, falling to zero as half a cosine over `edge` of its width on each side, (n_y, n_x)."""
    window = np.ones((1, 1))
    for axis, n in enumerate(shape):
        n_edge = max(2, round(edge * n))
        ramp = np.ones(n)
        fall = 0.5 - 0.5 * np.cos(np.pi * (np.arange(n_edge) + 0.5) / n_edge)
        ramp[:n_edge] = fall
        ramp[n - n_edge :] = fall[::-1]
        window = window * np.expand_dims(ramp, 1 - axis)
    return window


def band(shape: tuple[int, int], *, low: float, high: float) -> np.ndarray:
    """Band-pass for `rfft2` of an image: Gaussian edges at `low` and `high` cycles per pixel (0: no edge)."""
    frequency = np.hypot(scipy.fft.fftfreq(shape[0])[:, None], scipy.fft.rfftfreq(shape[1])[None, :])
    response = np.exp(-0.5 * (frequency / high) ** 2) if high > 0 else np.ones_like(frequency)
    if low > 0:
        response = response * (1.0 - np.exp(-0.5 * (frequency / low) ** 2))
    return np.asarray(response, dtype=np.float32)


def translation(
    reference: np.ndarray, image: np.ndarray, *, pass_band: np.ndarray, max_shift: float
) -> tuple[np.ndarray, float]:
    """How far `image` must move to match `reference`, (y, x) in pixels, and the height of the peak.

    Normalised cross-correlation over a band of frequencies, searched up to `max_shift` pixels on each
    axis, then refined below a pixel by evaluating the transform on a fine grid around the peak
    (Guizar-Sicairos, Thurman and Fienup, Opt. Lett. 33 (2008) 156-158, doi:10.1364/OL.33.000156).

    Returns
    -------
    shift : ndarray, shape (2,)
    peak : float
        1 for images that are the same within the band, 0 for images that have nothing in common.
    """
    shape = reference.shape
    workers = backend.n_threads()
    a = scipy.fft.rfft2(reference, workers=workers) * pass_band
    b = scipy.fft.rfft2(image, workers=workers) * pass_band
    cross = a * np.conj(b)
    norm = np.sqrt(sum_of_squares(a, shape) * sum_of_squares(b, shape))
    if not norm > 0:
        return np.zeros(2), 0.0
    shift, height = peak(cross, shape, reach=max_shift)
    return shift, float(height / norm)


def peak(
    cross: np.ndarray,
    shape: tuple[int, ...],
    *,
    reach: float,
    around: Sequence[float] = (0.0, 0.0),
    norm: np.ndarray | None = None,
) -> tuple[np.ndarray, float]:
    """Where the image whose `rfft2` is `cross` is highest, (y, x) in pixels, and how high it is there.

    Searched up to `reach` pixels on each axis from the pixel next to `around`, then refined below a pixel. Where
    `norm` (n_y, n_x) is given, what is searched is the height over the norm at that shift.
    """
    correlation = scipy.fft.irfft2(cross, shape, workers=backend.n_threads())
    if norm is not None:
        correlation /= norm
    far = [min(int(reach), (n - 1) // 2) for n in shape]
    rows, columns = (round(a) + np.arange(-m, m + 1) for a, m in zip(around, far, strict=True))
    near = correlation[np.ix_(rows % shape[0], columns % shape[1])]
    row, column = np.unravel_index(int(near.argmax()), near.shape)
    return _refine(cross, shape, np.array([rows[row], columns[column]], dtype=np.float64))


def sum_of_squares(transform: np.ndarray, shape: tuple[int, ...]) -> float:
    """Sum of squares of an image from its `rfft2`."""
    squares = np.abs(transform) ** 2
    total = 2.0 * float(squares.sum()) - float(squares[:, 0].sum())
    if shape[1] % 2 == 0:
        total -= float(squares[:, -1].sum())
    return total / (shape[0] * shape[1])


def _refine(cross: np.ndarray, shape: tuple[int, ...], coarse: np.ndarray) -> tuple[np.ndarray, float]:
    """Peak of the correlation within a pixel of `coarse`, by its transform on a fine grid."""
    frequency_y = scipy.fft.fftfreq(shape[0])
    frequency_x = scipy.fft.rfftfreq(shape[1])
    twice = np.full(len(frequency_x), 2.0)
    twice[0] = 1.0
    if shape[1] % 2 == 0:
        twice[-1] = 1.0
    shift, height = coarse, 0.0
    for reach in _REACHES:
        steps = np.linspace(-reach, reach, _N_STEPS)
        phase_y = np.exp(2j * np.pi * np.outer(shift[0] + steps, frequency_y))
        phase_x = np.exp(2j * np.pi * np.outer(frequency_x, shift[1] + steps)) * twice[:, None]
        # not @: on busy cores the threads of BLAS wait for one another a hundred times as long as this takes
        by_row = np.einsum("ij,jk->ik", phase_y, cross)
        fine = np.einsum("ik,kl->il", by_row, phase_x).real / (shape[0] * shape[1])
        row, column = divmod(int(fine.argmax()), fine.shape[1])
        shift = shift + np.array([_vertex(steps, fine[:, column], row), _vertex(steps, fine[row], column)])
        height = float(fine.max())
    return shift, height


def _vertex(steps: np.ndarray, line: np.ndarray, position: int) -> float:
    """Where the parabola through a maximum and its two neighbours is highest."""
    if not 0 < position < len(steps) - 1:
        return float(steps[position])
    left, middle, right = line[position - 1 : position + 2]
    curvature = left - 2 * middle + right
    if not curvature < 0:
        return float(steps[position])
    return float(steps[position] + 0.5 * (left - right) / curvature * (steps[1] - steps[0]))
