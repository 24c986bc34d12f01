"""Motion that differs over the image: a smooth field that is known in closed form is found and undone."""

import numpy as np
import pytest
from movies import path, series

from tomo3d import preprocess, tables

SHAPE, N = (256, 240), 12


def waves(y, x, seed=0, n=80):
    """A texture in closed form: plane waves of periods from 7 to 50 pixels, variance 1."""
    rng = np.random.default_rng(seed)
    period, angle, phase = np.exp(rng.uniform(np.log(7), np.log(50), n)), *rng.uniform(0, 2 * np.pi, (2, n))
    image = np.zeros(y.shape)
    for p, a, s in zip(period, angle, phase, strict=True):
        image += np.cos(2 * np.pi * (y * np.sin(a) + x * np.cos(a)) / p + s)
    return image / np.sqrt(n / 2)


def field(k, y, x, scale=4.0):
    """Shift (2, ...) of frame k at positions, beside its offset: quadratic in space and in time; 0 in no frame."""
    t = k / (N - 1)
    v, u = (2 * y - SHAPE[0] + 1) / SHAPE[0], (2 * x - SHAPE[1] + 1) / SHAPE[1]
    grown = scale * (t - 0.6 * t * t)
    return np.stack((grown * (0.8 * v * u - 0.5 * u), grown * (0.7 * u * u - 0.6 * v)))


def moving(noise, seed=0, scale=4.0):
    """Frames, and the offsets that undo their drift; frame(q) = specimen(p) where p - shift(p) = q."""
    offsets = -path(N, 1.5, seed)
    y, x = np.meshgrid(*(np.arange(n, dtype=float) for n in SHAPE), indexing="ij")
    rng = np.random.default_rng(seed + 9)
    frames = np.empty((N, *SHAPE), dtype=np.float32)
    for k in range(N):
        p = np.stack((y, x))
        for _ in range(8):  # the field is a contraction: 4 px over 256
            p = np.stack((y, x)) + offsets[k][:, None, None] + field(k, *p, scale)
        frames[k] = waves(*p, seed) + rng.normal(0, noise, SHAPE)
    frames.flags.writeable = False
    return frames, offsets


def found_error(made, offsets, scale=4.0):
    """Error (n_patches * N, 2) in pixels of the fitted field at the patches, relative to the still frame."""
    shifts = made.shifts[["shift_y_nm", "shift_x_nm"]].to_numpy()
    still = int(np.flatnonzero((shifts == 0).all(axis=1))[0])
    table = made.patches
    errors = []
    for k in range(N):
        own = table[table["frame"] == k]
        # the still frame's own deformation is what all others are brought to: compare there, to first order in it
        y, x = (
            own[name].to_numpy() / 0.5 + 0.5 * (n - 1) for name, n in (("y_nm", SHAPE[0]), ("x_nm", SHAPE[1]))
        )
        p = np.stack((y, x))
        for _ in range(8):
            p = np.stack((y, x)) + offsets[still][:, None] + field(still, *p, scale)
        true = p - offsets[k][:, None] - field(k, *p, scale)  # where frame k shows it
        said = np.stack((y - own["fitted_y_nm"] / 0.5, x - own["fitted_x_nm"] / 0.5))
        errors.append((said - true).T)
    return np.concatenate(errors), still


def test_a_smooth_field_is_found_in_as_much_noise_as_signal():
    frames, offsets = moving(1.0)
    made = preprocess.align_frames_locally(series(frames))
    error, still = found_error(made, offsets)
    assert np.sqrt((error**2).sum(axis=1).mean()) < 0.1  # as the docstring claims
    assert len(made.patches) == 25 * N
    tables.check(made.patches, tables.FRAME_PATCHES)
    y, x = np.meshgrid(*(np.arange(n, dtype=float) for n in SHAPE), indexing="ij")
    p = np.stack((y, x))
    for _ in range(8):
        p = np.stack((y, x)) + offsets[still][:, None, None] + field(still, *p)
    truth = waves(*p)
    inner = (slice(30, -30), slice(30, -30))
    whole = preprocess.align_frames(series(frames)).series.images[0]
    left = [np.std((image - truth)[inner]) for image in (made.series.images[0], whole)]
    assert left[0] < 0.37  # noise of 1 in 12 frames is 0.29
    assert left[1] > left[0] + 0.03  # one shift for all leaves the field


def test_a_specimen_that_moves_as_a_whole_is_not_deformed():
    frames, offsets = moving(0.5, seed=2, scale=0.0)
    made = preprocess.align_frames_locally(series(frames), n_patches=4)
    error, _ = found_error(made, offsets, scale=0.0)
    assert np.sqrt((error**2).sum(axis=1).mean()) < 0.05


def test_what_cannot_be_divided_is_told():
    frames = np.random.default_rng(0).random((4, 96, 100)).astype(np.float32)
    with pytest.raises(ValueError, match="patches at least 32 pixels, got 6 along 96 pixels"):
        preprocess.align_frames_locally(series(frames), n_patches=6)
    with pytest.raises(ValueError, match=r"n_patches must be from 3 to 15, .* got 2"):
        preprocess.align_frames_locally(series(frames), n_patches=2)


def test_a_movie_of_noise_is_flagged_here_too():
    noise = np.random.default_rng(0).normal(0, 1, (6, 128, 128)).astype(np.float32)
    made = preprocess.align_frames_locally(series(noise))
    assert made.series.views["flag"].tolist() == ["frames not aligned"]
    assert len(made.patches) == 0
