"""Movies of drifting specimens, moved exactly: what is moved is periodic and larger than the frame."""

import numpy as np
import scipy.fft

from tomo3d import TiltSeries


def texture(n, seed, *, finest=4.0):
    """Smooth noise, periodic over n pixels, of features down to `finest` pixels; variance 1."""
    frequency = np.hypot(scipy.fft.fftfreq(n)[:, None], scipy.fft.rfftfreq(n)[None, :])
    response = np.exp(-((frequency * finest) ** 2)) / np.sqrt(np.maximum(frequency, 4 / n))
    response[0, 0] = 0.0
    white = np.random.default_rng(seed).standard_normal((n, n))
    made = scipy.fft.irfft2(scipy.fft.rfft2(white) * response, (n, n))
    return made / made.std()


def lattice(n, seed, *, period=8.0, rest=0.3):
    """A hexagonal lattice, periodic over n pixels, of about this period, on smooth noise of variance rest^2."""
    y, x = np.indices((n, n)) * 2 * np.pi / n
    along, across = round(n / period), round(n / period * 0.5 * 3**0.5)
    half = along // 2
    waves = (np.cos(along * x), np.cos(half * x + across * y), np.cos(half * x - across * y))
    return sum(waves) / 1.2247 + rest * texture(n, seed, finest=12.0)


def path(n_frames, step, seed):
    """Positions (n_frames, 2) in pixels, about their mean: `step` per frame in some direction, and 0.5 at random."""
    rng = np.random.default_rng(seed)
    angle = rng.uniform(0, 2 * np.pi)
    moved = np.arange(n_frames)[:, None] * step * np.array([np.sin(angle), np.cos(angle)])
    moved = moved + rng.normal(0, 0.5, (n_frames, 2))
    return moved - moved.mean(axis=0)


def movie(positions, shape, *, noise=0.0, seed=0, content=None):
    """Frames (n, *shape) in which the content has moved to `positions` (y, x), with noise, read-only float32."""
    n = 2 * max(shape)
    transform = scipy.fft.rfft2(texture(n, seed) if content is None else content)
    y, x = scipy.fft.fftfreq(n)[:, None], scipy.fft.rfftfreq(n)[None, :]
    rng = np.random.default_rng(seed + 1)
    frames = np.empty((len(positions), *shape), dtype=np.float32)
    top, left = ((n - m) // 2 for m in shape)
    for k, (down, right) in enumerate(positions):
        whole = scipy.fft.irfft2(transform * np.exp(-2j * np.pi * (y * down + x * right)), (n, n))
        frames[k] = whole[top : top + shape[0], left : left + shape[1]]
        frames[k] += rng.normal(0, noise, shape) if noise else 0.0
    frames.flags.writeable = False
    return frames


def series(frames, angles=0.0, **fields):
    return TiltSeries(frames, np.broadcast_to(np.float64(angles), len(frames)), 0.5, **fields)


def shift_error(table, positions, pixel_nm=0.5):
    """Error of shifts (n, 2) in pixels, less its mean: where a movie lies as a whole is free."""
    found = table[["shift_y_nm", "shift_x_nm"]].to_numpy() / pixel_nm
    error = found + positions
    return error - np.nanmean(error, axis=0)
