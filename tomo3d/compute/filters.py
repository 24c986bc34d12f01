"""Filters of weighted back-projection: the unbiased ramp, its windows, the weights of the angles, the exact filter."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, TypeAlias

import numpy as np
import scipy.fft

from tomo3d.compute import backend


@dataclass(frozen=True)
class Ramp:
    """No window: the plain ramp, which keeps densities."""

    def response(self, frequency: np.ndarray) -> np.ndarray:
        """Factor on the ramp at `frequency` in cycles per pixel, 0 to 0.5."""
        return np.ones_like(frequency)


@dataclass(frozen=True)
class Hann:
    """0.5 + 0.5 cos(2 pi f)."""

    def response(self, frequency: np.ndarray) -> np.ndarray:
        """Factor on the ramp at `frequency` in cycles per pixel, 0 to 0.5."""
        return 0.5 + 0.5 * np.cos(2 * np.pi * frequency)


@dataclass(frozen=True)
class Hamming:
    """0.54 + 0.46 cos(2 pi f)."""

    def response(self, frequency: np.ndarray) -> np.ndarray:
        """Factor on the ramp at `frequency` in cycles per pixel, 0 to 0.5."""
        return 0.54 + 0.46 * np.cos(2 * np.pi * frequency)


@dataclass(frozen=True)
class Cosine:
    """cos(pi f)."""

    def response(self, frequency: np.ndarray) -> np.ndarray:
        """Factor on the ramp at `frequency` in cycles per pixel, 0 to 0.5."""
        return np.cos(np.pi * frequency)


@dataclass(frozen=True)
class Butterworth:
    """1 / (1 + (f / cutoff)^(2 order)); `cutoff` in cycles per pixel."""

    cutoff: float = 0.25
    order: float = 4.0

    def __post_init__(self) -> None:
        _check_positive(self, "cutoff", "order")

    def response(self, frequency: np.ndarray) -> np.ndarray:
        """Factor on the ramp at `frequency` in cycles per pixel, 0 to 0.5."""
        return np.asarray(1.0 / (1.0 + (frequency / self.cutoff) ** (2 * self.order)))


@dataclass(frozen=True)
class Gaussian:
    """1 up to `cutoff`, then a Gaussian of `sigma`, both in cycles per pixel (the defaults are IMOD's)."""

    cutoff: float = 0.35
    sigma: float = 0.035

    def __post_init__(self) -> None:
        _check_positive(self, "sigma")
        if not math.isfinite(self.cutoff):
            raise ValueError(f"Gaussian.cutoff must be a finite frequency, got {self.cutoff:g}.")

    def response(self, frequency: np.ndarray) -> np.ndarray:
        """Factor on the ramp at `frequency` in cycles per pixel, 0 to 0.5."""
        beyond = np.maximum(frequency - self.cutoff, 0.0)
        return np.exp(-0.5 * (beyond / self.sigma) ** 2)


@dataclass(frozen=True)
class SirtLike:
    """Looks like `n_iterations` of SIRT; it lowers densities (0.93 at 5 iterations)."""

    n_iterations: float = 10.0

    def __post_init__(self) -> None:
        _check_positive(self, "n_iterations")

    def response(self, frequency: np.ndarray) -> np.ndarray:
        """Factor on the ramp at `frequency` in cycles per pixel, 0 to 0.5."""
        n = self.n_iterations
        n_scaled = n if n <= 15 else 15 + 0.8 * (n - 15) if n <= 30 else 27 + 0.6 * (n - 30)
        lowest = 0.00195
        ratio = lowest / np.maximum(frequency, lowest)
        return np.where(frequency < lowest, 1.0, 1.0 - (1.0 - ratio) ** (n_scaled + 0.3))


@dataclass(frozen=True)
class Exact:
    """The exact filter of an object of `diameter_nm`, in place of ramp and angle weights (see `exact_responses`)."""

    diameter_nm: float

    def __post_init__(self) -> None:
        _check_positive(self, "diameter_nm")


Window: TypeAlias = Ramp | Hann | Hamming | Cosine | Butterworth | Gaussian | SirtLike | Exact

_WINDOWS: dict[str, Callable[..., Window]] = {
    "ramp": Ramp,
    "hann": Hann,
    "hamming": Hamming,
    "cosine": Cosine,
    "butterworth": Butterworth,
    "gaussian": Gaussian,
    "sirt-like": SirtLike,
    "exact": Exact,
}


def parse_window(window: Window | str) -> Window:
    """A window from its name and parameters, as "hann" or "gaussian:0.35,0.035".

    Raises
    ------
    ValueError
        If the name is unknown or a parameter is not a number.
    TypeError
        If it is neither a window nor a name.
    """
    if not isinstance(window, str):
        if not isinstance(window, tuple(_WINDOWS.values())):  # type: ignore[arg-type]
            raise TypeError(f"window must be a Window or its name, got {type(window).__name__}.")
        return window
    name, _, text = window.partition(":")
    if name not in _WINDOWS:
        raise ValueError(f"window must be one of {', '.join(_WINDOWS)}, got {name!r}.")
    try:
        return _WINDOWS[name](*(float(word) for word in text.split(",") if word))
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"window {name!r} has parameters that do not fit, got {window!r}: {error}"
        ) from error


def padded_length(n_u: int) -> int:
    """Length of the transform: the row, a taper of a quarter on each side, and no wrap-around between them."""
    return int(scipy.fft.next_fast_len(2 * (n_u + taper_length(n_u)), real=True))


def taper_length(n_u: int) -> int:
    """Pixels over which a row is continued beyond each edge."""
    return -(-n_u // 4)


def ramp_response(n_padded: int) -> np.ndarray:
    """Unbiased ramp, (n_padded // 2 + 1,): the transform of the band-limited kernel sampled in space.

    h[0] = 1/4, h[odd n] = -1 / (pi n)^2, h[even n] = 0. Sampling |f| itself would
    bias every density (Kak and Slaney, Principles of Computerized Tomographic Imaging,
    1988, doi:10.1137/1.9780898719277, section 3.3).
    """
    distance = np.minimum(np.arange(n_padded), n_padded - np.arange(n_padded)).astype(np.float64)
    kernel = np.zeros(n_padded)
    odd = distance % 2 == 1
    kernel[odd] = -1.0 / (np.pi * distance[odd]) ** 2
    kernel[0] = 0.25
    return np.asarray(scipy.fft.rfft(kernel).real)


def responses(
    tilt_angles_deg: np.ndarray, n_padded: int, window: Window, *, pixel_size_nm: float = 1.0
) -> np.ndarray:
    """All that the spectrum of each view is multiplied by before it is projected back, float32.

    Ramp x window x angle weight, or the exact filter. The sum of the views so filtered and projected back is the
    density per pixel.

    Parameters
    ----------
    tilt_angles_deg : ndarray, shape (n_views,)
        In any order.
    n_padded : int
        Length of the rows that are transformed.
    window : Window
    pixel_size_nm : float
        For windows that hold a length in nm. Default: such lengths are in pixels.

    Returns
    -------
    ndarray, shape (n_views, n_padded // 2 + 1), or (1, n_padded // 2 + 1) where all views share one response
    """
    frequency = np.arange(n_padded // 2 + 1) / n_padded
    if isinstance(window, Exact):
        return exact_responses(tilt_angles_deg, frequency, window.diameter_nm / pixel_size_nm)
    weights = angle_weights(tilt_angles_deg).astype(np.float32)
    if (weights == weights[0]).all():
        weights = weights[:1]
    response = (ramp_response(n_padded) * window.response(frequency)).astype(np.float32)
    return np.asarray(weights[:, None] * response)


def exact_responses(tilt_angles_deg: np.ndarray, frequency: np.ndarray, diameter: float) -> np.ndarray:
    """Exact filter of an object of `diameter` pixels, (n_views, n_frequencies) float32.

    W_i(f) = (1 / D) / sum_j max(0, 1 - f D |sin(t_i - t_j)|), j over all views: how much of what a view holds at a
    frequency in cycles per pixel the others hold too, the transform of an object of diameter D being blurred
    over 1 / D (Harauz and van Heel, Optik 73 (1986) 146-156). Evenly spread angles give the ramp times the angle
    weight, f x step, from 1 / D up to the Crowther limit f_C = 1 / (D step), less by at most the share
    (f / f_C)^2 / 4 + 1 / (12 (f D)^2), and 1 / D beyond it. Below 1 / D the filter does not fall to 0 as
    the ramp does, but to 1 / (n_views D): the lowest frequencies are raised.
    """
    tilt = np.deg2rad(np.asarray(tilt_angles_deg, dtype=np.float64))
    filters = np.empty((len(tilt), len(frequency)), dtype=np.float32)
    for i, angle in enumerate(tilt):
        reach = diameter * np.abs(np.sin(angle - tilt))
        overlap = np.maximum(0.0, 1.0 - np.multiply.outer(reach, frequency)).sum(axis=0)
        filters[i] = 1.0 / (diameter * overlap)  # never under 1: a view overlaps with itself
    return filters


def filter_rows(images: Any, response: Any) -> Any:
    """Rows of `images` (n_views, n_y, n_u) filtered by their `responses`, float32, continued beyond their edges.

    Beyond the detector the data are unknown, not zero: the edge value goes on and
    falls to zero over a quarter of the width. `response` is of rows of `padded_length(n_u)`.
    """
    n_u = images.shape[-1]
    n_padded = padded_length(n_u)
    n_taper = taper_length(n_u)
    fall = (0.5 + 0.5 * np.cos(np.pi * (np.arange(n_taper) + 1) / (n_taper + 1))).astype(np.float32)
    xp = backend.namespace(images)
    fft = backend.fft(images)
    rows = xp.zeros((*images.shape[:-1], n_padded), dtype=np.float32)
    rows[..., :n_u] = images
    rows[..., n_u : n_u + n_taper] = rows[..., n_u - 1 : n_u] * xp.asarray(fall)
    rows[..., n_padded - n_taper :] = rows[..., :1] * xp.asarray(fall[::-1])
    spectrum = fft.rfft(rows, axis=-1)
    spectrum *= xp.asarray(response)[:, None, :]
    return fft.irfft(spectrum, n_padded, axis=-1, overwrite_x=True)[..., :n_u]


def angle_weights(tilt_angles_deg: np.ndarray) -> np.ndarray:
    """Width in radians of the range of directions that each view stands for, in the order given.

    Half the gap to the neighbour on each side, modulo 180 deg; equal angles share
    one weight; a missing outer gap equals the inner one, unless the gap across
    +-90 deg is at most 1.5 times the median gap, which closes the circle.
    """
    folded = (np.asarray(tilt_angles_deg, dtype=np.float64) + 90.0) % 180.0
    angles, inverse, counts = np.unique(np.round(folded, 6) % 180.0, return_inverse=True, return_counts=True)
    if len(angles) == 1:
        return np.full(len(folded), np.pi / len(folded))
    gaps = np.diff(angles)
    across = 180.0 - (angles[-1] - angles[0])
    closed = across <= 1.5 * np.median(gaps)
    before = np.concatenate(([across if closed else gaps[0]], gaps))
    after = np.concatenate((gaps, [across if closed else gaps[-1]]))
    weights = np.deg2rad(0.5 * (before + after)) / counts
    return np.asarray(weights[inverse])


def _check_positive(window: Window, *names: str) -> None:
    for field in fields(window):
        value = getattr(window, field.name)
        if field.name in names and not (math.isfinite(value) and value > 0):
            raise ValueError(
                f"{type(window).__name__}.{field.name} must be positive and finite, got {value:g}."
            )
