"""Pixels that stand out of their neighbourhood further, and over fewer pixels, than anything that was imaged can."""

from __future__ import annotations

import numpy as np
import scipy.ndimage

_RING = 7  # pixels: edge of the neighbourhood that a pixel is compared with, less the middle 3 x 3
_NOISE = 15  # pixels: edge of the neighbourhood whose spread counts as noise
_CLIP = 4.0  # standard deviations at which a value counts for the means no further
_SKIRT = 0.3  # of its height, at which the width of a peak is measured
_SAMPLE = 1 << 16  # pixels that tell the step between grey values
_MEAN_OF_ABSOLUTE = 0.7979  # of a normal distribution, in standard deviations


def deviations(image: np.ndarray) -> np.ndarray:
    """Difference of each pixel from its surroundings, in standard deviations of the noise there, float32.

    These are at least the step between grey values: where most pixels counted no electron, two are no outlier.
    """
    image = np.asarray(image, dtype=np.float32)
    values = image
    for _ in range(2):  # the second time without what stood out the first time
        around = _ring_mean(values)
        difference = image - around
        spread = scipy.ndimage.uniform_filter(
            np.minimum(np.abs(difference), _limit(difference)), _NOISE, mode="mirror"
        )
        sigma = np.maximum(spread / _MEAN_OF_ABSOLUTE, _least(image))
        values = around + np.clip(difference, -_CLIP * sigma, _CLIP * sigma)
    return np.asarray(difference / sigma, dtype=np.float32)


def isolated(deviation: np.ndarray, *, threshold: float, largest: int) -> np.ndarray:
    """Pixels of peaks and holes beyond `threshold` standard deviations, of at most `largest` pixels, (n_y, n_x) bool.

    The size is that at 0.3 of the height: a feature that the microscope resolves is wider.
    """
    found = np.zeros(deviation.shape, dtype=bool)
    for sign in (1.0, -1.0):
        signed = deviation * np.float32(sign)
        centres = np.argwhere(
            (signed > threshold) & (signed == scipy.ndimage.maximum_filter(signed, 3, mode="mirror"))
        )
        for y, x in centres:
            _mark(signed, found, int(y), int(x), largest)
    return found


def repaired(image: np.ndarray, bad: np.ndarray) -> np.ndarray:
    """The image with the median of the good pixels around each bad one, float32."""
    fixed = np.array(image, dtype=np.float32)
    for y, x in np.argwhere(bad):
        for reach in (2, 4, 8, max(image.shape)):
            box = (slice(max(0, y - reach), y + reach + 1), slice(max(0, x - reach), x + reach + 1))
            good = ~bad[box]
            if good.sum() >= 8 or good.size == bad.size:
                break
        if good.any():
            fixed[y, x] = np.median(image[box][good])
    return fixed


def _mark(signed: np.ndarray, found: np.ndarray, y: int, x: int, largest: int) -> None:
    """Mark the peak at (y, x) if it is small enough."""
    reach = largest + 1
    top, left = max(0, y - reach), max(0, x - reach)
    box = signed[top : y + reach + 1, left : x + reach + 1]
    labels, _ = scipy.ndimage.label(box > _SKIRT * signed[y, x], structure=np.ones((3, 3)))
    own = labels == labels[y - top, x - left]
    if own.sum() <= largest:
        found[top : y + reach + 1, left : x + reach + 1] |= own


def _ring_mean(values: np.ndarray) -> np.ndarray:
    outer = scipy.ndimage.uniform_filter(values, _RING, mode="mirror") * np.float32(_RING**2)
    inner = scipy.ndimage.uniform_filter(values, 3, mode="mirror") * np.float32(9)
    return (outer - inner) / np.float32(_RING**2 - 9)


def _limit(difference: np.ndarray) -> float:
    """Beyond this no difference counts further for the spread: of the whole view, as places may be flat."""
    sample = np.abs(difference.ravel()[:: max(1, difference.size // (1 << 18))])
    return float(np.quantile(sample, 0.99))


def _least(image: np.ndarray) -> float:
    """What a standard deviation cannot be below: rounding, and the smallest step between grey values."""
    levels = np.unique(image.ravel()[:: max(1, image.size // _SAMPLE)])
    step = float(np.diff(levels).min()) if len(levels) > 1 else 0.0
    return max(step, 1e-6 * float(np.abs(levels).max())) + 1e-30
