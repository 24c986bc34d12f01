"""Which particles would have been found: balls of known size, put into the views and looked for in the result."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from scipy import ndimage

from tomo3d import geometry, phantoms, tables
from tomo3d.compute import filters, weighted
from tomo3d.compute.distance import distance_to_background
from tomo3d.compute.logistic import fit_logistic, size_of
from tomo3d.compute.projector import Projector
from tomo3d.progress import report
from tomo3d.types import Labels, TiltSeries, Volume

if TYPE_CHECKING:
    import pandas as pd

_CORNERS = np.ones((3, 3, 3), dtype=bool)
_GAP_VOXELS = 4.0  # between inserted balls, and from them to what was there
_NEAR_VOXELS = 1.5  # how far off the centre of what was found may lie, if that is more than a radius
_LARGER = 8.0  # times the volume of the ball: what is larger is something else
_N_TRIES = 200
_MAX_ROUNDS = 100
_N_DRAWS = 1000
_PROBABILITIES = (0.5, 0.95)

Chain = Callable[[TiltSeries], Labels]


@dataclass(frozen=True, eq=False)
class DetectionLimit:
    """Sizes that would have been found.

    Parameters
    ----------
    table : pandas.DataFrame
        Columns of `tomo3d.tables.INSERTED`: how many balls of each size were found.
    summary : pandas.DataFrame
        Rows of `tomo3d.tables.SUMMARY`: diameters found with probabilities of 50 and 95 %.
    """

    table: pd.DataFrame
    summary: pd.DataFrame


def detection_limit(
    data: Volume | TiltSeries,
    *,
    diameters_nm: Sequence[float],
    density: float,
    level: float | None = None,
    tilt_angles_deg: Sequence[float] | None = None,
    n_iterations: int | None = None,
    chain: Chain | None = None,
    places: Labels | None = None,
    n_per_size: int = 50,
    seed: int = 0,
) -> DetectionLimit:
    """Diameter of the particles that are found with a probability of 50 and 95 %, by inserting balls.

    Parameters
    ----------
    data : Volume, shape (n_z, n_y, n_x), or TiltSeries
        A reconstruction, with `level` and `tilt_angles_deg`; or an aligned series, with `chain`.
    diameters_nm : sequence of float
        Diameters of the balls, at least three, from ones that are missed to ones that are found.
    density : float
        What a ball adds to the density, in grey value per nm: that of the particles less what they lie in.
    level : float, optional
        Grey value from which on a voxel of the volume belongs to a particle; up to which, if `density` is negative.
    tilt_angles_deg : sequence of float, optional
        Of the views that the volume was made from.
    n_iterations : int, optional
        The volume was made by so many iterations of SIRT, without bounds. Default: by weighted back-projection.
    chain : callable, optional
        chain(series) -> Labels: what was done to the series, to the end. Every voxel that is not 0 is of a particle;
        several numbers are several particles. Called once without and a few times with balls.
    places : Labels, optional
        Voxels that may be centres of balls, as the surface of a support, on the grid of the volume or of what the
        chain returns. Default: all.
    n_per_size : int
        Balls of each diameter.
    seed : int
        Of the places, and of the intervals.

    Returns
    -------
    DetectionLimit

    Raises
    ------
    ValueError
        If there are fewer than three diameters, or one is not positive; if the density is 0 or not finite; if what
        belongs to a volume or to a series is missing or of the other; if voxels are not cubic, no place is left, or
        the grid of `places` differs.
    TypeError
        If `chain` does not return Labels.

    Notes
    -----
    The line integrals of balls are exact, means over each pixel, added to the views (without noise of their own). To a
    volume is added what reconstruction makes of those views: the same, as it is linear; with bounds, or a
    mask, it is not, and `chain` tells. Balls keep clear of each other, of the border, and of what is found without.

    A ball is found if the centre of an object lies within its radius (or 1.5 voxels) of its own, and the object has at
    most 8 times its volume. The probability is a logistic function of the logarithm of the diameter (Firth's
    likelihood); intervals: 2.5 % and 97.5 % quantiles over 1000 draws from the fitted curve, refitted. nan, where all
    balls were found, or none.
    """
    sizes = np.sort(np.array(diameters_nm, dtype=np.float64).ravel())
    if len(sizes) < 3 or not (np.isfinite(sizes).all() and (sizes > 0).all()) or len(set(sizes)) < len(sizes):
        raise ValueError(
            f"diameters_nm must be at least three different positive lengths, got {list(diameters_nm)}."
        )
    if not (math.isfinite(density) and density != 0):
        raise ValueError(f"density must be a finite grey value per nm other than 0, got {density:g}.")
    if n_per_size < 1:
        raise ValueError(f"n_per_size must be at least 1, got {n_per_size}.")
    if isinstance(data, Volume):
        if chain is not None or level is None or tilt_angles_deg is None:
            raise ValueError("a volume must come with level and tilt_angles_deg, and without chain.")
        inserting: _Inserting = _IntoVolume.of(data, level, density < 0, tilt_angles_deg, n_iterations)
    else:
        if chain is None or level is not None or tilt_angles_deg is not None or n_iterations is not None:
            raise ValueError("a tilt series must come with chain, and without level, angles and iterations.")
        inserting = _IntoSeries(data, chain)
    found, ratios = _search(inserting, sizes, density, places, n_per_size, np.random.default_rng(seed))
    return _result(sizes, found, ratios, n_per_size, seed)


class _Inserting(Protocol):
    """Somewhere that balls are put into."""

    def labels(self, balls: Sequence[phantoms.Ball]) -> Labels:
        """What is found with these balls in it."""


@dataclass(frozen=True, eq=False)
class _IntoVolume(_Inserting):
    volume: Volume
    level: float
    is_dark: bool
    angles_deg: np.ndarray
    n_iterations: int | None

    @staticmethod
    def of(
        volume: Volume,
        level: float,
        is_dark: bool,
        tilt_angles_deg: Sequence[float],
        n_iterations: int | None,
    ) -> _IntoVolume:
        angles = np.array(tilt_angles_deg, dtype=np.float64)
        if angles.ndim != 1 or len(angles) < 2 or not np.isfinite(angles).all():
            raise ValueError(f"tilt_angles_deg must be at least two finite angles, got {tilt_angles_deg}.")
        if not np.allclose(volume.voxel_size_nm, volume.voxel_size_nm[2], rtol=1e-3):
            raise ValueError(f"the volume must have cubic voxels, got {volume.voxel_size_nm} nm.")
        if n_iterations is not None and n_iterations < 1:
            raise ValueError(f"n_iterations must be at least 1, got {n_iterations}.")
        if not np.isfinite(np.asarray(volume.data)).all():
            raise ValueError("every grey value must be finite, got NaN or infinite voxels.")
        if not math.isfinite(level):
            raise ValueError(f"level must be a finite grey value, got {level:g}.")
        return _IntoVolume(volume, level, is_dark, np.sort(angles), n_iterations)

    def labels(self, balls: Sequence[phantoms.Ball]) -> Labels:
        grey = np.asarray(self.volume.data, dtype=np.float32)
        n_z, n_y, n_x = grey.shape
        voxel_nm = self.volume.voxel_size_nm[2]
        if balls:
            views = _views(balls, self.angles_deg, (n_y, n_x), voxel_nm)
            grey = grey + self._reconstruct(views, Projector(self.angles_deg, n_x, n_x, n_z), voxel_nm)
        return Labels(grey <= self.level if self.is_dark else grey >= self.level, self.volume.voxel_size_nm)

    def _reconstruct(self, views: np.ndarray, projector: Projector, voxel_nm: float) -> np.ndarray:
        if self.n_iterations is None:
            made = weighted.wbp(views, projector, window=filters.Ramp(), pixel_size_nm=voxel_nm)
            return np.asarray(made)
        shape = (projector.n_z, views.shape[1], projector.n_x)
        rows = 1.0 / np.maximum(projector.forward(np.ones(shape, dtype=np.float32)), 1e-3)
        columns = 1.0 / np.maximum(projector.back(np.ones_like(views)), 1e-3)
        volume = np.zeros(shape, dtype=np.float32)
        for _ in range(self.n_iterations):
            volume += columns * projector.back(rows * (views - projector.forward(volume)))
        return volume / np.float32(voxel_nm)


@dataclass(frozen=True, eq=False)
class _IntoSeries(_Inserting):
    series: TiltSeries
    chain: Chain

    def labels(self, balls: Sequence[phantoms.Ball]) -> Labels:
        series = self.series
        if balls:
            images = np.asarray(series.images, dtype=np.float32)
            added = _views(balls, series.tilt_angles_deg, images.shape[1:], series.pixel_size_nm)
            series = dataclasses.replace(series, images=images + added)
        labels = self.chain(series)
        if not isinstance(labels, Labels):
            raise TypeError(f"chain must return Labels, got {type(labels).__name__}.")
        return labels


def _views(
    balls: Sequence[phantoms.Ball], angles_deg: np.ndarray, image_shape: tuple[int, ...], pixel_nm: float
) -> np.ndarray:
    """Line integrals of balls, float32."""
    n_y, n_x = image_shape
    bodies = [phantoms.Body(ball, "particle") for ball in balls]
    specimen = phantoms.Specimen(bodies, (pixel_nm * n_x, pixel_nm * n_y, pixel_nm * n_x))
    series = specimen.project(angles_deg, (n_y, n_x), pixel_nm, samples_per_pixel=3)
    return np.asarray(series.images, dtype=np.float32)


def _search(
    inserting: _Inserting,
    sizes: np.ndarray,
    density: float,
    places: Labels | None,
    n_per_size: int,
    rng: np.random.Generator,
) -> tuple[np.ndarray, list[list[float]]]:
    """How many balls of each size are found, and volumes of what is found over theirs."""
    before = inserting.labels([])
    shape, voxel = before.data.shape, np.array(before.voxel_size_nm)
    if places is not None and tuple(places.data.shape) != tuple(shape):
        raise ValueError(f"places must be on the grid of {shape} voxels, got {tuple(places.data.shape)}.")
    room = _Room.of(before, places, rng)
    left = np.full(len(sizes), n_per_size)
    found, ratios = np.zeros(len(sizes), dtype=np.int64), [[] for _ in sizes]  # type: ignore[var-annotated]
    origin = np.array(geometry.centred_origin_nm(shape, before.voxel_size_nm))
    n_all = int(left.sum())
    for _ in range(_MAX_ROUNDS):
        wanted = rng.permutation(np.repeat(np.arange(len(sizes)), left))
        chosen = room.fill(wanted, 0.5 * sizes)
        if not chosen:
            break
        balls = [
            phantoms.Ball(radius_nm=0.5 * sizes[i], centre_nm=tuple(at + origin), density=density)
            for i, at in chosen
        ]
        objects = _Objects.of(inserting.labels(balls))
        for i, at in chosen:
            ratio = objects.ratio_at(at, 0.5 * float(sizes[i]), voxel)
            left[i] -= 1
            if ratio is not None:
                found[i] += 1
                ratios[i].append(ratio)
        report("inserting balls", n_all - int(left.sum()), n_all)
        if not left.any():
            return found, ratios
    raise ValueError(
        f"there must be places for {n_per_size} balls of each size, clear of the border and of what is there, got "
        f"{n_all - int(left.sum())} of {n_all}: take smaller or fewer balls, or other places."
    )


@dataclass(frozen=True, eq=False)
class _Room:
    """Voxels that are free, and how far each is from what was found without any ball."""

    voxels: np.ndarray  # (m, 3)
    clearance_nm: np.ndarray  # (m,)
    voxel_nm: np.ndarray
    shape: np.ndarray
    rng: np.random.Generator

    @staticmethod
    def of(before: Labels, places: Labels | None, rng: np.random.Generator) -> _Room:
        occupied = np.asarray(before.data) != 0
        if occupied.any():
            clearance = distance_to_background(~occupied, before.voxel_size_nm)
        else:
            clearance = np.full(occupied.shape, np.inf, dtype=np.float32)
        free = clearance > 0 if places is None else (clearance > 0) & (np.asarray(places.data) != 0)
        if not free.any():
            raise ValueError("at least one voxel must be free for a ball, got none.")
        voxel = np.array(before.voxel_size_nm)
        return _Room(np.argwhere(free), clearance[free], voxel, np.array(occupied.shape), rng)

    def fill(self, wanted: np.ndarray, radii_nm: np.ndarray) -> list[tuple[int, np.ndarray]]:
        """As many of the wanted sizes as find room, with their centres (index times voxel)."""
        gap = _GAP_VOXELS * float(self.voxel_nm.max())
        centres, taken = np.empty((len(wanted), 3)), np.empty(len(wanted))
        chosen: list[tuple[int, np.ndarray]] = []
        for i in wanted:
            radius = float(radii_nm[i])
            picked = self.rng.integers(len(self.voxels), size=_N_TRIES)
            at = (self.voxels[picked] + self.rng.uniform(-0.5, 0.5, (_N_TRIES, 3))) * self.voxel_nm
            is_free = self.clearance_nm[picked] > radius + gap
            inner = (at > radius + self.voxel_nm) & (at < (self.shape - 2) * self.voxel_nm - radius)
            is_free &= inner.all(axis=1)
            k = len(chosen)
            if k:
                apart = np.linalg.norm(at[:, None] - centres[:k], axis=2)
                is_free &= (apart > taken[:k] + radius + gap).all(axis=1)
            if is_free.any():
                centres[k], taken[k] = at[is_free.argmax()], radius
                chosen.append((int(i), centres[k].copy()))
        return chosen


@dataclass(frozen=True, eq=False)
class _Objects:
    """Objects of labels: volumes and centres."""

    volumes_nm3: np.ndarray
    centres_nm: np.ndarray

    @staticmethod
    def of(labels: Labels) -> _Objects:
        data = np.asarray(labels.data)
        voxel = np.array(labels.voxel_size_nm)
        if int(data.max()) == 1:  # a mask
            data, _ = ndimage.label(data, structure=_CORNERS)
        numbers = np.unique(data[data > 0])
        if not len(numbers):
            return _Objects(np.zeros(0), np.zeros((0, 3)))
        counts = np.bincount(data[data > 0])[numbers]
        centres = np.array(ndimage.center_of_mass(data > 0, data, numbers))
        return _Objects(counts * voxel.prod(), centres * voxel)

    def ratio_at(self, at: np.ndarray, radius_nm: float, voxel: np.ndarray) -> float | None:
        """Volume of the object found for a ball over its own; None for a ball that is not found."""
        if not len(self.volumes_nm3):
            return None
        off = np.linalg.norm(self.centres_nm - at, axis=1)
        ratio = self.volumes_nm3 / (4.0 / 3.0 * math.pi * radius_nm**3)
        near = max(radius_nm, _NEAR_VOXELS * float(voxel.max()))
        # what one voxel makes of a ball that is smaller must not count as too large
        is_one = (off <= near) & ((ratio <= _LARGER) | (self.volumes_nm3 <= _LARGER * voxel.prod()))
        return float(ratio[is_one].max()) if is_one.any() else None


def _result(
    sizes: np.ndarray, found: np.ndarray, ratios: list[list[float]], n_per_size: int, seed: int
) -> DetectionLimit:
    import pandas as pd

    n, logs = np.full(len(sizes), n_per_size), np.log(sizes)
    beta = fit_logistic(logs, n, found)
    fitted = 1.0 / (1.0 + np.exp(-(beta[0, 0] + beta[0, 1] * logs)))
    table = pd.DataFrame(
        {
            "diameter_nm": sizes,
            "n_inserted": n,
            "n_found": found,
            "probability": found / n,
            "fitted": fitted,
            "volume_ratio": [float(np.median(each)) if each else math.nan for each in ratios],
        }
    )
    drawn = np.random.default_rng(seed).binomial(n, fitted, size=(_N_DRAWS, len(sizes)))
    draws = fit_logistic(logs, n, drawn)
    rows: list[dict[str, object]] = []
    for probability in _PROBABILITIES:
        value = low = high = math.nan
        interval = f"none: {'every' if found.all() else 'no'} ball was found, take others"
        if 0 < found.sum() < n.sum():
            value = float(np.exp(size_of(beta, probability))[0])
            low, high = np.nanquantile(np.exp(size_of(draws, probability)), (0.025, 0.975))
            interval = f"95 %, {_N_DRAWS} draws from the curve, {n_per_size} balls of {len(sizes)} sizes"
            if not sizes[0] <= value <= sizes[-1]:
                interval += "; extrapolated beyond them"
        rows.append(
            {
                "quantity": f"diameter_found_{100 * probability:.0f}",
                "value": value,
                "low": low,
                "high": high,
                "unit": "nm",
                "n": int(n.sum()),
                "interval": interval,
            }
        )
    return DetectionLimit(tables.check(table, tables.INSERTED), tables.summary(rows))
