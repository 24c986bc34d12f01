"""A flat slab in a volume of local power: its plane, its thickness, and how well they are known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.optimize
import scipy.special

from tomo3d import geometry

TILE = 16  # voxels: edge of the columns whose profiles along z are fitted
_WEAK = 0.3  # of the power that one tile in five exceeds: there is next to nothing in a tile
_MAX_SLOPES = (0.35, 0.6)  # of the plane along y and x: tangents of 19 and 31 deg
_TABLE = 0.25  # voxels: step of a tabulated profile
_BEYOND = 8.0  # voxels beyond the faces that are compared
_SOFT = 0.5  # of the r.m.s. of a profile: beyond, a difference counts less than its square
_STEP = 0.03  # of the slopes that are tried first


@dataclass(frozen=True, eq=False)
class Tiles:
    """Profiles along z of columns of a volume, about the centre of the volume, in voxels."""

    profiles: np.ndarray  # (n_tiles, n_z)
    y: np.ndarray  # (n_tiles,)
    x: np.ndarray  # (n_tiles,)

    @property
    def z(self) -> np.ndarray:
        """Heights of the samples, shape (n_z,)."""
        return geometry.coordinates(self.profiles.shape[1])


@dataclass(frozen=True, eq=False)
class SlabFit:
    """z = centre + slope_y y + slope_x x is the middle plane; lengths along z in voxels."""

    parameters: (
        np.ndarray
    )  # (5,): centre, slope_y, slope_x, thickness, blur (standard deviation of the faces)
    covariance: np.ndarray  # (5, 5), from the scatter between tiles
    explained: np.ndarray  # (n_tiles,) share of each profile's variance; 0 of one weak beside others
    kernel: np.ndarray

    @property
    def centre(self) -> float:
        """Height of the middle plane at the centre of the field."""
        return float(self.parameters[0])

    @property
    def slope_y(self) -> float:
        """dz/dy of the middle plane."""
        return float(self.parameters[1])

    @property
    def slope_x(self) -> float:
        """dz/dx of the middle plane."""
        return float(self.parameters[2])

    @property
    def thickness(self) -> float:
        """Between the half heights of the profile along z."""
        return float(self.parameters[3])

    def heights(self, tiles: Tiles) -> np.ndarray:
        """Height of every sample above the middle plane, shape (n_tiles, n_z)."""
        return _heights(tiles, self.parameters)

    def shape(self, heights: np.ndarray) -> np.ndarray:
        """The profile at heights above the middle plane: 1 inside, 0 outside, blurred."""
        return _box(heights, self.thickness, float(self.parameters[4]), self.kernel)


def tiles(power: np.ndarray, slope_y: float = 0.0, slope_x: float = 0.0) -> Tiles:
    """Mean profiles of columns of `power` (n_z, n_y, n_x), each sheared along a plane so that it stays in its tile.

    A tile of `TILE` voxels on a slope would blur the faces by `TILE` times the slope; columns are moved by whole
    voxels to where the plane meets the middle of their tile.
    """
    n_z, n_y, n_x = power.shape
    firsts = [_firsts(n) for n in (n_y, n_x)]
    inside = np.arange(TILE) - 0.5 * (TILE - 1)
    profiles, places = [], []
    step = np.rint(slope_y * inside[:, None] + slope_x * inside[None, :]).astype(int)
    rows = np.clip(np.arange(n_z)[:, None, None] + step, 0, n_z - 1)
    for y in firsts[0]:
        for x in firsts[1]:
            block = power[:, y : y + TILE, x : x + TILE]
            profiles.append(np.take_along_axis(block, rows, axis=0).mean(axis=(1, 2), dtype=np.float64))
            places.append(
                (y + 0.5 * (TILE - 1) - geometry.centre(n_y), x + 0.5 * (TILE - 1) - geometry.centre(n_x))
            )
    y_places, x_places = np.array(places).T
    return Tiles(np.array(profiles), y_places, x_places)


def fit(columns: Tiles, kernel: np.ndarray) -> SlabFit:
    """The slab that explains most profiles, each with a height and a level of its own, whatever its power.

    `kernel` (odd number of voxels along z) is what a thin sheet looks like: faces are blurred by it, and a Gaussian.
    Its tails are those of a sheet without end; so the slab is fitted once more to what is within `_BEYOND` of it.

    Every slope is tried by how sharp the sum of the profiles becomes; then least squares with soft L1 loss, and the
    covariance of M-estimators whose independent parts are the tiles (Huber, Robust Statistics, 1981, chapter 6).
    """
    everything = np.ones(columns.profiles.shape, dtype=bool)
    first = _least_squares(columns, kernel, _start(_normed(columns, everything)[0]), everything)
    near = np.abs(_heights(columns, first.x)) <= 0.5 * first.x[3] + _BEYOND
    found = _least_squares(columns, kernel, first.x, near)
    normed, scale = _normed(columns, near)
    n_tiles, n_z = normed.profiles.shape
    left, explained = _residuals(normed, found.x, kernel, near)
    jacobian = found.jac.reshape(n_tiles, n_z, 5)  # scipy scales it and the residuals by the loss
    scores = np.einsum("tzp,tz->tp", jacobian, _scaled(left.ravel(), _SOFT).reshape(n_tiles, n_z))
    bread = np.linalg.pinv(found.jac.T @ found.jac)
    is_strong = scale > _WEAK * np.quantile(scale, 0.8)
    explained = np.where(is_strong, explained, 0.0)
    return SlabFit(found.x, bread @ (scores.T @ scores) @ bread, explained, kernel)


def _normed(columns: Tiles, near: np.ndarray) -> tuple[Tiles, np.ndarray]:
    """Profiles over their r.m.s. where `near`, and that."""
    scale = np.sqrt((np.square(columns.profiles) * near).sum(axis=1) / near.sum(axis=1))
    return Tiles(
        columns.profiles / np.maximum(scale, np.finfo(float).tiny)[:, None], columns.y, columns.x
    ), scale


def _least_squares(
    columns: Tiles, kernel: np.ndarray, start: np.ndarray, near: np.ndarray
) -> scipy.optimize.OptimizeResult:
    normed, _ = _normed(columns, near)
    low = [-np.inf, -1.0, -1.0, 1.0, 0.3]
    high = [np.inf, 1.0, 1.0, float(len(normed.z)), 0.5 * len(normed.z)]
    return scipy.optimize.least_squares(
        lambda p: _residuals(normed, p, kernel, near)[0].ravel(),
        np.clip(start, low, high),
        bounds=(low, high),
        loss="soft_l1",
        f_scale=_SOFT,
        x_scale=[1, 0.01, 0.01, 1, 1],
    )


def combined(plane: SlabFit, faces: SlabFit) -> SlabFit:
    """The middle plane of one fit with thickness and blur of another."""
    covariance = np.zeros((5, 5))
    covariance[:3, :3], covariance[3:, 3:] = plane.covariance[:3, :3], faces.covariance[3:, 3:]
    parameters = np.concatenate((plane.parameters[:3], faces.parameters[3:]))
    return SlabFit(parameters, covariance, faces.explained, faces.kernel)


def _firsts(n: int) -> np.ndarray:
    """First voxels of tiles side by side, as many as there is room for: the widest lever for the slopes."""
    count = max(1, n // TILE)
    return (n - count * TILE) // 2 + TILE * np.arange(count)


def _heights(columns: Tiles, p: np.ndarray) -> np.ndarray:
    return columns.z[None, :] - (p[0] + p[1] * columns.y + p[2] * columns.x)[:, None]


def _box(heights: np.ndarray, thickness: float, blur: float, kernel: np.ndarray) -> np.ndarray:
    """1 inside, 0 outside, blurred; tabulated, as heights are many."""
    reach = len(kernel) // 2
    first, last = float(heights.min()) - 1.0, float(heights.max()) + 1.0
    table = np.arange(first - reach, last + reach + _TABLE, _TABLE)
    scale = 1.0 / (np.sqrt(2.0) * blur)
    upper, lower = (scipy.special.erf((table + sign * 0.5 * thickness) * scale) for sign in (1, -1))
    sharp = 0.5 * (upper - lower)
    per_voxel = round(1.0 / _TABLE)
    spread = np.zeros((len(kernel) - 1) * per_voxel + 1)
    spread[::per_voxel] = kernel
    blurred = np.convolve(sharp, spread, mode="valid")
    inner = table[reach * per_voxel : reach * per_voxel + len(blurred)]
    return np.asarray(np.interp(heights, inner, blurred))


def _residuals(
    columns: Tiles, p: np.ndarray, kernel: np.ndarray, near: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Differences (n_tiles, n_z) from the best multiple of the box and level of each tile, and what these explain.

    Where not `near`, nothing is compared, and the differences are 0.
    """
    count = near.sum(axis=1, keepdims=True)
    box = _box(_heights(columns, p), float(p[3]), float(p[4]), kernel)
    box = (box - (box * near).sum(axis=1, keepdims=True) / count) * near
    seen = (columns.profiles - (columns.profiles * near).sum(axis=1, keepdims=True) / count) * near
    power = np.maximum(np.square(box).sum(axis=1), 1e-9)
    height = np.maximum((box * seen).sum(axis=1) / power, 0.0)
    left = seen - height[:, None] * box
    total = np.maximum(np.square(seen).sum(axis=1), np.finfo(float).tiny)
    return left, 1.0 - np.square(left).sum(axis=1) / total


def _scaled(residuals: np.ndarray, scale: float) -> np.ndarray:
    """Residuals as they enter the gradient of the soft L1 loss, over the root of the weight in scipy's Jacobian."""
    squared = np.square(residuals / scale)
    slope = 1.0 / np.sqrt(1.0 + squared)
    curvature = np.maximum(slope - squared * slope**3, np.finfo(float).eps)
    return np.asarray(residuals * slope / np.sqrt(curvature))


def _start(columns: Tiles) -> np.ndarray:
    n_z = columns.profiles.shape[1]
    spectra = np.fft.rfft(columns.profiles - columns.profiles.mean(axis=1, keepdims=True), 2 * n_z, axis=1)
    turns = 2j * np.pi * np.fft.rfftfreq(2 * n_z)
    best, sharpest = (0.0, 0.0), -np.inf
    for slope_y in np.arange(-_MAX_SLOPES[0], _MAX_SLOPES[0] + 1e-9, _STEP):
        for slope_x in np.arange(-_MAX_SLOPES[1], _MAX_SLOPES[1] + 1e-9, _STEP):
            shift = slope_y * columns.y + slope_x * columns.x
            total = (spectra * np.exp(turns[None, :] * shift[:, None])).sum(axis=0)
            sharpness = float(np.square(np.abs(total)).sum())
            if sharpness > sharpest:
                best, sharpest = (float(slope_y), float(slope_x)), sharpness
    shift = best[0] * columns.y + best[1] * columns.x
    levelled = [np.interp(columns.z + s, columns.z, p) for s, p in zip(shift, columns.profiles, strict=True)]
    profile = np.mean(levelled, axis=0)
    profile = np.maximum(profile - np.quantile(profile, 0.1), 0.0)
    high = profile > 0.5 * np.quantile(profile, 0.98)
    weight = profile * high
    centre = float(weight @ columns.z / max(float(weight.sum()), np.finfo(float).tiny))
    return np.array([centre, *best, max(3.0, float(high.sum())), 2.0])
