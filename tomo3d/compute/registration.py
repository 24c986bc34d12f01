"""Rigid registration of two volumes that were measured over different, limited ranges of tilt.

Only what both saw is compared: the directions of Fourier space outside both missing wedges, within a band.
Lengths are voxels, positions (z, y, x) from the centre of a grid.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import scipy.fft
import scipy.linalg
import scipy.ndimage

from tomo3d import geometry
from tomo3d.compute import backend

_COARSE = 48  # longest edge of the volumes that the search over rotations compares
_EDGE = 0.05  # of each width, over which a volume falls to zero
_LOW = 1.5  # cycles over the longest edge: slower variations are background
_HIGH = 0.2  # cycles per voxel: Gaussian, beyond which noise prevails
_MARGIN_DEG = 3.0  # of each end of a tilt range: what a finite volume blurs into the wedge
_N_KEPT = 3  # rotations of the search that are refined before one is chosen
_N_ROUNDS = 2
_N_STEPS = 10  # of a round
_N_HALVINGS = 4
_CONVERGED = 0.005  # voxels at the rim of the volume


@dataclass(frozen=True, eq=False)
class RigidTransform:
    """q = rotation @ p + shift, of positions (z, y, x) from the centre of each grid, in voxels."""

    rotation: np.ndarray
    shift: np.ndarray

    def moved(self, turn: np.ndarray, move: np.ndarray) -> RigidTransform:
        """The transform of p turned by the rotation vector `turn` and moved by `move` before."""
        turned = self.rotation @ scipy.linalg.expm(_generator(turn))
        left, _, right = np.linalg.svd(turned)  # rounding
        return RigidTransform(left @ right, self.shift + self.rotation @ move)


@dataclass(frozen=True, eq=False)
class Registration:
    """Where a volume lies in another: volume(q) matches amplitude * reference(p).

    `amplitude` is the ratio of their strengths, noise included. `agreement` is the normalised correlation of what both
    measured, 1 for the same and about 0 for different things.
    """

    transform: RigidTransform
    agreement: float
    amplitude: float


@dataclass(frozen=True, eq=False)
class Measured:
    """A volume (n_z, n_y, n_x), and the lowest and highest tilt, about y, that it was measured at."""

    data: np.ndarray
    tilt_range_deg: tuple[float, float]


def rotation_about_beam(angle_deg: float) -> np.ndarray:
    """Counter-clockwise rotation in the plane, of positions (z, y, x), (3, 3)."""
    turn = np.eye(3)
    turn[1:, 1:] = geometry.rotation_yx(angle_deg)
    return turn


def register(reference: Measured, volume: Measured, *, rotations: Sequence[np.ndarray]) -> Registration:
    """The rigid transform from `reference` to `volume`, from the best of several first `rotations`.

    Every rotation is tried with all translations on small copies; the best three are refined there, and the best
    of them at full size: Gauss-Newton steps on rotation, translation and amplitude together, in Fourier space.
    """
    factor = max(1, math.ceil(max(*reference.data.shape, *volume.data.shape) / _COARSE))
    small = [replace(part, data=_binned(part.data, factor)) for part in (reference, volume)]
    coarse = _Comparison(*small)
    starts = sorted((coarse.translated(rotation) for rotation in rotations), key=lambda start: -start[1])
    kept = (coarse.refined(start, n_rounds=1) for start, _ in starts[:_N_KEPT])
    found = max(kept, key=lambda made: made.agreement)
    start = replace(found.transform, shift=found.transform.shift * factor)
    fine = coarse if factor == 1 else _Comparison(reference, volume)
    return fine.refined(start, n_rounds=_N_ROUNDS)


def _binned(data: np.ndarray, factor: int) -> np.ndarray:
    """Mean over cubes of factor^3 voxels, (n // factor) each way, about the same centre within half a voxel."""
    kept = [max(1, n // factor) for n in data.shape]
    edges = [min(factor, n) for n in data.shape]
    first = [(n - k * e) // 2 for n, k, e in zip(data.shape, kept, edges, strict=True)]
    z, y, x = (slice(f, f + k * e) for f, k, e in zip(first, kept, edges, strict=True))
    blocks = data[z, y, x].reshape(kept[0], edges[0], kept[1], edges[1], kept[2], edges[2])
    return np.asarray(blocks.mean(axis=(1, 3, 5)), dtype=np.float32)


class _Comparison:
    """Two volumes that are to be compared under many transforms."""

    def __init__(self, reference: Measured, volume: Measured) -> None:
        self._reference, self._volume = reference, volume
        self._frequency = _frequencies(reference.data.shape)
        self._splines = scipy.ndimage.spline_filter(
            volume.data * _taper(volume.data.shape), order=3, output=np.float32, mode="constant"
        )

    def translated(self, rotation: np.ndarray) -> tuple[RigidTransform, float]:
        """The best translation after a rotation, to a voxel, and its normalised correlation."""
        return self._shared(rotation).translated(rotation)

    def refined(self, start: RigidTransform, *, n_rounds: int) -> Registration:
        """Gauss-Newton from `start`. What both measured is found anew in each round, and kept within it."""
        transform = start
        for _ in range(n_rounds):
            found = self._shared(transform.rotation).refined(transform)
            transform = found.transform
        return found

    def _shared(self, rotation: np.ndarray) -> _Shared:
        """The comparison of what both measured: frequency k of the warped volume is R k of the volume."""
        turned = np.tensordot(rotation, self._frequency, axes=1)
        both = _is_measured(self._frequency, self._reference.tilt_range_deg) & _is_measured(
            turned, self._volume.tilt_range_deg
        )
        return _Shared(self._reference.data, self._splines, self._frequency, both)


class _Shared:
    """What two volumes have both measured, compared within a band and away from the faces."""

    def __init__(
        self, reference: np.ndarray, splines: np.ndarray, frequency: np.ndarray, both: np.ndarray
    ) -> None:
        self._shape = reference.shape
        self._taper = _taper(self._shape)
        length = np.sqrt((frequency**2).sum(axis=0))
        low = _LOW / max(self._shape)
        band = np.exp(-0.5 * (length / _HIGH) ** 2) * (1 - np.exp(-0.5 * (length / low) ** 2))
        self._band = np.where(both, band, 0.0).astype(np.float32)
        # rfftn holds half of the transform: what stands for two counts twice in sums of squares
        self._double = np.full(frequency.shape[3], math.sqrt(2.0), dtype=np.float32)
        self._double[0] = 1.0
        if self._shape[2] % 2 == 0:
            self._double[-1] = 1.0
        self._target = self._seen(reference)
        self._splines = splines
        self._reach = 0.5 * max(self._shape)

    def translated(self, rotation: np.ndarray) -> tuple[RigidTransform, float]:
        """The best translation after a rotation, to a voxel, and its normalised correlation."""
        seen = self._seen(self._warped(RigidTransform(rotation, np.zeros(3))))
        cross = np.conj(self._target) * seen / self._double**2  # irfftn doubles it itself
        correlation = scipy.fft.irfftn(cross, self._shape, workers=backend.n_threads())
        norm = math.sqrt(_power(self._target) * _power(seen))
        peak = np.unravel_index(int(correlation.argmax()), self._shape)
        move = np.array([(p + n // 2) % n - n // 2 for p, n in zip(peak, self._shape, strict=True)], float)
        height = float(correlation.max()) * math.prod(self._shape) / norm if norm > 0 else 0.0
        return RigidTransform(rotation, rotation @ move), height

    def refined(self, start: RigidTransform) -> Registration:
        """Gauss-Newton steps; one that does not raise the agreement is halved."""
        best, warped = self._compare(start)
        for _ in range(_N_STEPS):
            step = self._step(warped)
            for _ in range(_N_HALVINGS):
                trial, trial_warped = self._compare(best.transform.moved(step[:3], step[3:]))
                if trial.agreement >= best.agreement:
                    break
                step = 0.5 * step
            else:
                break
            best, warped = trial, trial_warped
            if np.linalg.norm(step[3:]) + self._reach * np.linalg.norm(step[:3]) < _CONVERGED:
                break
        return best

    def _compare(self, transform: RigidTransform) -> tuple[Registration, np.ndarray]:
        """How well they agree, and the warped volume."""
        warped = self._warped(transform)
        seen = self._seen(warped)
        powers = _power(self._target), _power(seen)
        if not min(powers) > 0:
            return Registration(transform, 0.0, 0.0), warped
        agreement = float((np.conj(self._target) * seen).real.sum()) / math.sqrt(powers[0] * powers[1])
        return Registration(transform, agreement, math.sqrt(powers[1] / powers[0])), warped

    def _step(self, warped: np.ndarray) -> np.ndarray:
        """Change (turn, move) of p that brings the warped volume nearest to the reference, to first order."""
        gradient = [
            np.gradient(warped, axis=axis) if n > 1 else np.zeros_like(warped)
            for axis, n in enumerate(self._shape)
        ]
        axes = [geometry.coordinates(n).astype(np.float32) for n in self._shape]
        position = np.meshgrid(*axes, indexing="ij", sparse=True)
        z, y, x = (
            gradient[(axis + 2) % 3] * position[(axis + 1) % 3]
            - gradient[(axis + 1) % 3] * position[(axis + 2) % 3]
            for axis in range(3)
        )  # of a turn about each axis
        seen = np.stack([self._seen(column).ravel() for column in (z, y, x, *gradient, warped)])
        target = self._target.ravel()
        normal = (np.conj(seen) @ seen.T).real
        right = (np.conj(seen) @ target).real
        scale = 1.0 / np.sqrt(np.maximum(np.diag(normal), 1e-30))
        solution = (
            scale * np.linalg.lstsq(scale[:, None] * normal * scale[None, :], scale * right, rcond=1e-9)[0]
        )
        amplitude = solution[6] if abs(solution[6]) > 1e-12 else 1.0
        return np.asarray(solution[:6] / amplitude)

    def _seen(self, column: np.ndarray) -> np.ndarray:
        """Transform of an array on the grid of the reference, within the band and away from its faces."""
        transform = scipy.fft.rfftn(column * self._taper, workers=backend.n_threads())
        return np.asarray(transform * (self._band * self._double))

    def _warped(self, transform: RigidTransform) -> np.ndarray:
        """The volume where the transform finds it, on the grid of the reference."""
        warped = np.empty(self._shape, dtype=np.float32)
        middle = np.array([geometry.centre(n) for n in self._splines.shape])
        corner = transform.rotation @ np.array([-geometry.centre(n) for n in self._shape])
        offset = middle + transform.shift + corner

        def some(first: int, last: int) -> None:
            scipy.ndimage.affine_transform(
                self._splines,
                transform.rotation,
                offset=offset + transform.rotation[:, 0] * first,
                output=warped[first:last],
                order=3,
                prefilter=False,
            )

        n_parts = min(self._shape[0], 2 * backend.n_threads())
        bounds = np.linspace(0, self._shape[0], n_parts + 1).astype(int)
        with ThreadPoolExecutor(backend.n_threads()) as pool:
            list(pool.map(some, bounds[:-1], bounds[1:]))
        return warped


def _frequencies(shape: tuple[int, ...]) -> np.ndarray:
    """Frequencies (z, y, x) of `rfftn`, (3, n_z, n_y, n_x // 2 + 1), in cycles per voxel."""
    axes = [*(scipy.fft.fftfreq(n) for n in shape[:2]), scipy.fft.rfftfreq(shape[2])]
    return np.stack(np.meshgrid(*axes, indexing="ij")).astype(np.float32)


def _is_measured(frequency: np.ndarray, tilt_range_deg: tuple[float, float]) -> np.ndarray:
    """Whether views about y, between two tilts, surely contain a frequency (z, y, x): u = x cos t + z sin t."""
    angle = np.rad2deg(np.arctan2(frequency[0], frequency[2]))
    angle = (angle + 90.0) % 180.0 - 90.0
    low, high = tilt_range_deg
    if high - low + 2 * _MARGIN_DEG < 180.0:
        low, high = low + _MARGIN_DEG, high - _MARGIN_DEG
    on_axis = np.hypot(frequency[0], frequency[2]) < 1e-12
    return np.asarray(on_axis | ((angle >= low) & (angle <= high)))


def _taper(shape: tuple[int, ...]) -> np.ndarray:
    """1 inside, falling to 0 towards each face, float32."""
    window = np.ones((1, 1, 1), dtype=np.float32)
    for axis, n in enumerate(shape):
        depth = np.minimum(np.arange(n) + 0.5, n - 0.5 - np.arange(n)) / max(1.0, _EDGE * n)
        fall = np.where(depth < 1, 0.5 - 0.5 * np.cos(np.pi * np.minimum(depth, 1)), 1.0)
        window = window * fall.astype(np.float32).reshape([-1 if i == axis else 1 for i in range(3)])
    return window


def _generator(vector: np.ndarray) -> np.ndarray:
    """The antisymmetric matrix of a rotation vector, (3, 3)."""
    a, b, c = vector
    return np.array([[0.0, -c, b], [c, 0.0, -a], [-b, a, 0.0]])


def _power(transform: np.ndarray) -> float:
    return float((np.abs(transform) ** 2).sum())
