"""Motion of a specimen that is not the same everywhere: patches of the frames, and the smooth field through them.

Positions are (y, x) in pixels of the aligned image, shifts how far the content of a frame must move to come there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.ndimage

from tomo3d import progress
from tomo3d.compute.frame_stack import Field, ReadFrame, Spectra, read_stack
from tomo3d.compute.frames import Drift, common_fields, refine_jointly

_N_ROUNDS = 3
_TUKEY = 4.685
_LEAST_SIGMA = 0.02  # pixels: residuals as small as this are never outliers
_DEGREE_IN_TIME = 3
_SIZE = 2.0  # of the distance of two patches: they overlap by half


@dataclass(frozen=True, eq=False)
class LocalMotion:
    """Shift of each frame, and how it differs over the image: quadratic in space, cubic in time, 0 at `still`."""

    offsets: np.ndarray  # (n_frames, 2) at the middle of the image
    coefficients: np.ndarray  # (n_space * n_time, 2)
    still: int  # the frame that is not moved
    shape: tuple[int, int]
    positions: np.ndarray  # (n_patches, 2)
    measured: np.ndarray  # (n_patches, n_frames, 2)
    weights: np.ndarray  # (n_patches, n_frames) of the last fit, 0 to 1

    def shifts(self, frame: int, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Shifts (2, ...) of a frame at positions."""
        terms = _terms(y, x, self.shape)
        time = _times(len(self.offsets), self.still)[frame]
        field = np.einsum(
            "s...,t,stc->c...", terms, time, self.coefficients.reshape(len(terms), len(time), 2)
        )
        return np.asarray(field + self.offsets[frame].reshape(2, *np.ones(np.ndim(y), dtype=int)))


def find_local_motion(
    read: ReadFrame, drift: Drift, shape: tuple[int, int], n_patches: int
) -> LocalMotion | None:
    """Local motion of frames that are all placed, `n_patches` along each edge; None if they overlap too little."""
    fields = common_fields(drift.shifts, shape)
    if fields is None:
        return None
    still = int(np.flatnonzero((drift.shifts == 0).all(axis=1))[0])
    n_frames = len(drift.shifts)
    n_terms = len(_terms(np.zeros(1), np.zeros(1), shape)) * _times(n_frames, still).shape[1]
    boxes = _patches(fields[still], n_patches)
    positions = np.array([[0.5 * (f.start + f.stop - 1) for f in box] for box in boxes])
    empty = np.empty((0, 0))
    motion = LocalMotion(drift.shifts, np.zeros((n_terms, 2)), still, shape, positions, empty, empty)
    for _ in range(_N_ROUNDS):
        measured = np.empty((len(boxes), n_frames, 2))
        for p in progress.track(range(len(boxes)), "patches of frames", len(boxes)):
            measured[p] = _measured(read, motion, boxes[p], positions[p], drift.spectra)
        motion = _fitted(motion, measured)
    return motion


def resampled(image: np.ndarray, motion: LocalMotion, frame: int) -> tuple[np.ndarray, np.ndarray]:
    """The frame where the specimen was in the still one, by one cubic spline, float32, and where that was recorded."""
    y, x = np.meshgrid(*(np.arange(n, dtype=float) for n in image.shape), indexing="ij")
    source = np.stack((y, x)) - motion.shifts(frame, y, x)
    last = np.array(image.shape)[:, None, None] - 1
    recorded = ((source >= 0) & (source <= last)).all(axis=0)
    moved = scipy.ndimage.map_coordinates(
        np.asarray(image, dtype=np.float32), source, order=3, mode="nearest"
    )
    return moved, recorded


def _patches(field: Field, n_patches: int) -> list[Field]:
    """Overlapping windows of one size that cover the field, n_patches along each edge."""
    along = []
    for f in field:
        n = f.stop - f.start
        size = min(n, round(_SIZE * n / (n_patches + 1)))
        starts = f.start + np.linspace(0, n - size, n_patches).round().astype(int)
        along.append([slice(int(start), int(start) + size) for start in starts])
    return [(y, x) for y in along[0] for x in along[1]]


def _measured(
    read: ReadFrame, motion: LocalMotion, box: Field, position: np.ndarray, spectra: Spectra
) -> np.ndarray:
    """Shifts of all frames at a patch, up to a constant, (n_frames, 2)."""
    n_frames = len(motion.offsets)
    said = np.array([motion.shifts(k, position[:1], position[1:])[:, 0] for k in range(n_frames)])
    size = np.array([f.stop - f.start for f in box])
    corner = np.array([f.start for f in box])
    starts = np.clip(corner - np.rint(said).astype(int), 0, np.array(motion.shape) - size)
    windows = [tuple(slice(int(a), int(a + n)) for a, n in zip(start, size, strict=True)) for start in starts]
    stack = read_stack(read, windows, spectra)  # type: ignore[arg-type]
    moved = corner - starts
    return np.asarray(refine_jointly(stack, spectra, said - moved, n_rounds=2) + moved)


def _fitted(motion: LocalMotion, measured: np.ndarray) -> LocalMotion:
    """Offsets and field through what the patches measured, by least squares with Tukey's weights."""
    n_patches, n_frames, _ = measured.shape
    terms = _terms(motion.positions[:, 0], motion.positions[:, 1], motion.shape)
    time = _times(n_frames, motion.still)
    n_terms = len(terms) * time.shape[1]
    local = np.einsum("sp,kt->pkst", terms, time).reshape(n_patches, n_frames, n_terms)
    of_frame = np.broadcast_to(
        np.delete(np.eye(n_frames), motion.still, axis=1), (n_patches, n_frames, n_frames - 1)
    )
    of_patch = np.broadcast_to(np.eye(n_patches)[:, None], (n_patches, n_frames, n_patches))
    columns = np.concatenate((local, of_frame, of_patch), axis=2).reshape(n_patches * n_frames, -1)
    values = measured.reshape(-1, 2)
    weight = np.ones(len(values))
    for _ in range(8):
        root = np.sqrt(weight)[:, None]
        found = np.linalg.lstsq(columns * root, values * root, rcond=None)[0]
        distance = np.hypot(*(values - columns @ found).T)
        sigma = max(float(np.median(distance)) / 1.1774, _LEAST_SIGMA)
        weight = np.clip(1.0 - (distance / (_TUKEY * sigma)) ** 2, 0.0, None) ** 2
    offsets = np.insert(found[n_terms : n_terms + n_frames - 1], motion.still, 0.0, axis=0)
    of_patches = found[n_terms + n_frames - 1 :]
    return LocalMotion(
        offsets,
        found[:n_terms],
        motion.still,
        motion.shape,
        motion.positions,
        measured - of_patches[:, None],
        weight.reshape(n_patches, n_frames),
    )


def _terms(y: np.ndarray, x: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Polynomials in space, without the constant, (5, ...)."""
    y, x = ((2.0 * np.asarray(at) - (n - 1)) / max(n - 1, 1) for at, n in zip((y, x), shape, strict=True))
    return np.stack((y, x, y * y, y * x, x * x))


def _times(n_frames: int, still: int) -> np.ndarray:
    """Polynomials in time, 0 at the still frame, (n_frames, up to 3)."""
    t = np.linspace(-1.0, 1.0, n_frames)
    made = np.polynomial.legendre.legvander(t, min(_DEGREE_IN_TIME, n_frames - 1))[:, 1:]
    return np.asarray(made - made[still])
