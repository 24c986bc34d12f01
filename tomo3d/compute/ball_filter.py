"""Where an image looks like a ball: normalised correlation with its projection."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.fft
import scipy.ndimage

from tomo3d.compute.ball_image import BallImage

_MAD = 1.4826  # standard deviation over median absolute deviation, of a normal distribution
_APART = 0.7  # diameters between the centres of two balls that are told apart
_MIN_CORRELATION = 0.25
_MAX_PEAKS = 3000


@dataclass(frozen=True, eq=False)
class Peaks:
    """Places that look like a ball, best first.

    Parameters
    ----------
    positions : ndarray, shape (n, 2)
        (y, x), whole pixels.
    score : ndarray, shape (n,)
        Height of the ball that fits best, in robust standard deviations of that height over the image, times the
        correlation with the ball.
    """

    positions: np.ndarray
    score: np.ndarray


class BallFilter:
    """Correlation of images of one shape with the projection of a ball, about the mean of its surroundings."""

    def __init__(self, shape: tuple[int, int], ball: BallImage) -> None:
        self._shape, self._ball = shape, ball
        reach = ball.window_px
        offset = np.arange(-reach, reach + 1)
        distance = np.hypot(offset[:, None], offset[None, :])
        disc = np.clip(reach + 0.5 - distance, 0.0, 1.0)
        template = ball.value(distance)
        template = (template - (template * disc).sum() / disc.sum()) * disc
        self._n = float(disc.sum())
        self._power = float((template**2).sum())
        self._padded = tuple(scipy.fft.next_fast_len(n + 2 * reach, real=True) for n in shape)
        self._template, self._disc = (self._transform(each, reach) for each in (template, disc))

    def _transform(self, kernel: np.ndarray, reach: int) -> np.ndarray:
        """Of a kernel about its centre; both kernels are even, so correlation is convolution."""
        whole = np.zeros(self._padded, dtype=np.float32)
        whole[: kernel.shape[0], : kernel.shape[1]] = kernel
        return np.asarray(scipy.fft.rfft2(np.roll(whole, (-reach, -reach), (0, 1))))

    def responses(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Height of the ball that fits best at each pixel, and its correlation there, each (n_y, n_x)."""
        pad = [(0, p - n) for p, n in zip(self._padded, self._shape, strict=True)]
        # mirrored, so that what lies beyond an edge is like what lies before it
        whole = np.pad(image, pad, mode="symmetric")
        transform = scipy.fft.rfft2(whole)
        product, total, squares = (
            scipy.fft.irfft2(each, self._padded)[: self._shape[0], : self._shape[1]]
            for each in (
                transform * self._template,
                transform * self._disc,
                scipy.fft.rfft2(whole**2) * self._disc,
            )
        )
        variance = squares / self._n - (total / self._n) ** 2
        floor = 1e-6 * max(float(variance.max()), 1e-30)
        correlation = product / np.sqrt(self._n * self._power * np.maximum(variance, floor))
        return product / self._power, correlation

    def peaks(self, image: np.ndarray, sign: int) -> tuple[Peaks, Peaks]:
        """Places like a ball that is brighter (sign 1) or darker (-1) than its surroundings, and of the other sign.

        Those of the other sign are what the background alone makes.
        """
        centred = np.asarray(image, dtype=np.float32)
        centred = centred - np.float32(np.median(centred[::4, ::4]))
        spread = float(centred.std())
        if not spread > 0:
            nothing = Peaks(np.zeros((0, 2)), np.zeros(0))
            return nothing, nothing
        height, correlation = self.responses(centred / np.float32(spread))
        sample = height[::3, ::3]
        deviation = max(_MAD * float(np.median(np.abs(sample - np.median(sample)))), 1e-3)
        score = np.abs(correlation) * height / deviation
        return self._maxima(sign * score, sign * correlation), self._maxima(
            -sign * score, -sign * correlation
        )

    def _maxima(self, score: np.ndarray, correlation: np.ndarray) -> Peaks:
        reach = max(1, round(_APART * self._ball.diameter_px))
        highest = scipy.ndimage.maximum_filter(score, size=2 * (reach // 2) + 1, mode="nearest")
        is_peak = (score == highest) & (correlation > _MIN_CORRELATION)
        rows, columns = np.nonzero(is_peak)
        order = np.argsort(-score[rows, columns], kind="stable")[:_MAX_PEAKS]
        rows, columns = rows[order], columns[order]
        return Peaks(
            np.column_stack((rows, columns)).astype(np.float64), score[rows, columns].astype(np.float64)
        )
