"""Particles: sizes on exact masks and after a missing wedge, ten thousand of them, dispersion of random patterns."""

from __future__ import annotations

import time
from functools import lru_cache

import numpy as np
import pandas as pd

from benchmarks.cases import Target
from tomo3d import measure, phantoms, reconstruct
from tomo3d.types import Labels, TiltSeries, Volume

_CUBE = (1.0, 1.0, 1.0)
_N_BALLS = 512
_PITCH = 12


@lru_cache(maxsize=8)
def exact_sizes(diameter: float, voxel_size: tuple[float, float, float]) -> pd.DataFrame:
    """Table of 512 balls whose masks are exact, at random places on the grid."""
    rng = np.random.default_rng(1)
    voxel = np.array(voxel_size)
    shape = np.ceil((diameter + 4.0) / voxel).astype(int)
    blocks = []
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), axis=-1) * voxel
    for number in range(1, _N_BALLS + 1):
        centre = (0.5 * (shape - 1) + rng.uniform(-0.5, 0.5, 3)) * voxel
        blocks.append(number * (((grid - centre) ** 2).sum(axis=-1) < 0.25 * diameter**2))
    return measure.particles(Labels(np.concatenate(blocks).astype(np.int32), voxel_size))


class ExactMasks:
    """Bias of the diameter by voxel count, in percent, over 512 places on the grid."""

    params = ([3, 4, 5, 6, 8, 12], ["1 1 1", "2 1 1"])
    param_names = ("diameter_nm", "voxel_nm")
    targets = {"track_abs_bias_percent": Target(at_most=1.0)}  # noqa: RUF012

    def setup(self, diameter_nm: int, voxel_nm: str) -> None:
        z, y, x = (float(edge) for edge in voxel_nm.split())
        self.table = exact_sizes(float(diameter_nm), (z, y, x))

    def track_abs_bias_percent(self, diameter_nm: int, voxel_nm: str) -> float:
        return abs(100.0 * (float(self.table["diameter_nm"].mean()) / diameter_nm - 1.0))


@lru_cache(maxsize=64)
def wedge_sizes(diameter: float, method: str, noise: float) -> pd.DataFrame:
    """Balls on a lattice, apart, seen within +-60 deg, reconstructed, cut at half of their brightest, and measured."""
    rng = np.random.default_rng(2)
    pitch, per_edge = max(2.6 * diameter, diameter + 14.0), 4
    n_x, n_z = int(per_edge * pitch), int(max(3.0 * diameter, diameter + 24.0))
    places = (np.arange(per_edge) - 0.5 * (per_edge - 1)) * pitch
    bodies = [
        phantoms.Body(
            phantoms.Ball(
                radius_nm=0.5 * diameter,
                centre_nm=(rng.uniform(-1, 1), y + rng.uniform(-1, 1), x + rng.uniform(-1, 1)),
            ),
            "particle",
        )
        for y in places
        for x in places
    ]
    specimen = phantoms.Specimen(bodies, (float(n_z), float(n_x), float(n_x)))
    microscope = phantoms.Microscope(noise_fraction=noise)
    series = phantoms.acquire(
        specimen, pixel_size_nm=1.0, image_shape=(n_x, n_x), microscope=microscope, seed=3
    ).series
    if method == "wbp":
        volume = reconstruct.wbp(series, thickness_nm=n_z)
    else:
        lower = 0.0 if method == "sirt, >= 0" else None
        volume = reconstruct.sirt(series, thickness_nm=n_z, n_iterations=30, lower=lower)
    level = 0.5 * float(np.sort(np.asarray(volume.data).ravel())[-len(bodies)])
    mask = Labels(np.asarray(volume.data) > level, volume.voxel_size_nm, volume.origin_nm)
    labels = measure.split_particles(mask, h_nm=1.0, min_voxels=4)
    table = measure.particles(labels, volume=volume, max_tilt_deg=60.0)
    true = np.array([body.solid.centre_nm for body in bodies])
    found = table[["z_nm", "y_nm", "x_nm"]].to_numpy()
    return table[np.linalg.norm(found[:, None] - true, axis=2).min(axis=1) < 0.5 * diameter]


class Wedge:
    """Error of the diameter after a wedge of +-60 deg with noise of 0.1 of the range, in percent, the median of 16."""

    params = ([3, 4, 6, 8, 12], ["wbp", "sirt", "sirt, >= 0"])
    param_names = ("diameter_nm", "method")
    targets = {"track_abs_error_xy_percent": Target(at_most=5.0)}  # noqa: RUF012

    def setup(self, diameter_nm: int, method: str) -> None:
        self.table = wedge_sizes(float(diameter_nm), method, 0.1)

    def track_abs_error_xy_percent(self, diameter_nm: int, method: str) -> float:
        return abs(100.0 * (float(self.table["diameter_xy_nm"].median()) / diameter_nm - 1.0))

    def track_voxel_count_percent(self, diameter_nm: int, method: str) -> float:
        return 100.0 * (float(self.table["diameter_nm"].median()) / diameter_nm - 1.0)

    def track_elongation_z(self, diameter_nm: int, method: str) -> float:
        return float(self.table["elongation_z"].median())

    def track_share_fitted(self, diameter_nm: int, method: str) -> float:
        return float(self.table["diameter_xy_nm"].notna().sum() / 16)


@lru_cache(maxsize=1)
def many(n_particles: int) -> tuple[Labels, Volume]:
    """A lattice of balls of 3 to 8 voxels, their exact masks, and grey values with noise."""
    rng = np.random.default_rng(4)
    per_edge = round(n_particles ** (1 / 3))
    grid = np.stack(np.meshgrid(*(np.arange(_PITCH),) * 3, indexing="ij"), axis=-1)
    kinds = []
    for _ in range(64):
        centre, radius = 5.5 + rng.uniform(-1.0, 1.0, 3), rng.uniform(1.5, 4.0)
        kinds.append(radius - np.linalg.norm(grid - centre, axis=-1))
    depth = np.array(kinds, dtype=np.float32)[rng.integers(64, size=per_edge**3)]
    numbers = np.arange(1, per_edge**3 + 1, dtype=np.int32)[:, None, None, None] * (depth > 0)

    def together(blocks: np.ndarray) -> np.ndarray:
        whole = blocks.reshape((per_edge,) * 3 + (_PITCH,) * 3)
        return np.ascontiguousarray(whole.transpose(0, 3, 1, 4, 2, 5).reshape((per_edge * _PITCH,) * 3))

    grey = together(np.clip(0.5 + 0.6 * depth, 0.0, 1.0))
    grey += np.float32(0.05) * rng.standard_normal(grey.shape, dtype=np.float32)
    return Labels(together(numbers), _CUBE), Volume(grey, _CUBE)


@lru_cache(maxsize=16)
def seconds_for(n_particles: int, table: str) -> tuple[float, float]:
    """Wall and CPU seconds for a table."""
    labels, volume = many(n_particles)
    part = (slice(2 * _PITCH),) * 3
    measure.particles(Labels(labels.data[part], _CUBE), volume=Volume(volume.data[part], _CUBE))  # compiles
    start, start_cpu = time.perf_counter(), time.process_time()
    if table == "voxels":
        measure.particles(labels)
    else:
        measure.particles(labels, volume=volume, max_tilt_deg=60.0 if table == "balls, wedge" else None)
    return time.perf_counter() - start, time.process_time() - start_cpu


class TenThousand:
    """A table of particles of 3 to 8 voxels, by voxels and with fitted balls: seconds, and those of all cores."""

    params, param_names = ([216, 10648], ["voxels", "balls", "balls, wedge"]), ("n_particles", "table")
    targets = {  # noqa: RUF012
        "track_cpu_seconds": {
            (10648, table): Target(at_most=10.0) for table in ("voxels", "balls", "balls, wedge")
        }
    }

    def track_seconds(self, n_particles: int, table: str) -> float:
        return seconds_for(n_particles, table)[0]

    def track_cpu_seconds(self, n_particles: int, table: str) -> float:
        return seconds_for(n_particles, table)[1]


def support(radius: float) -> tuple[Labels, np.ndarray]:
    """Two balls that overlap, and their centres, (2, 3), in nm from the first voxel."""
    edge = int(2 * radius + 9)
    shape = (edge, edge, int(edge + 1.2 * radius))
    middle = 0.5 * (np.array(shape) - 1) + np.array([0.2, -0.3, 0.1])
    centres = middle + 0.6 * radius * np.array([[0, 0, -1], [0, 0, 1]])
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), axis=-1)
    inside = np.zeros(shape, dtype=np.uint8)
    for centre in centres:
        inside |= ((grid - centre) ** 2).sum(axis=-1) < radius**2
    return Labels(inside, _CUBE), centres


def pattern(
    rng: np.random.Generator, centres: np.ndarray, radius: float, n: int, spread: float
) -> pd.DataFrame:
    """Balls that touch the two balls at places in closed form; a finite spread gathers them about eight places."""
    heart = rng.standard_normal((8, 3))
    positions: list[np.ndarray] = []
    diameters = rng.lognormal(np.log(4.0), 0.2, n)
    for diameter in diameters:
        while True:
            direction = rng.standard_normal(3)
            if np.isfinite(spread):
                about = heart[rng.integers(8)]
                direction = about / np.linalg.norm(about) + spread * direction
            side = rng.integers(2)
            direction /= np.linalg.norm(direction)
            place = centres[side] + direction * (radius + 0.5 * diameter)
            is_outside = np.linalg.norm(place - centres[1 - side]) >= radius + 0.5 * diameter
            gaps = [
                np.linalg.norm(place - q) - 0.5 * (diameter + d)
                for q, d in zip(positions, diameters, strict=False)
            ]
            if is_outside and all(gap >= 0 for gap in gaps):
                positions.append(place)
                break
    z, y, x = np.array(positions).T
    return pd.DataFrame({"z_nm": z, "y_nm": y, "x_nm": x, "diameter_nm": diameters})


class RandomPatterns:
    """Share of patterns whose g(r) lies wholly inside the global envelope of 95 %, each of 199 placements."""

    params = ([10, 200], ["euclidean", "geodesic"])
    param_names = ("n_patterns", "distance")
    targets = {  # noqa: RUF012
        "track_share_inside": {
            (200, kind): Target(at_least=0.90, at_most=0.98) for kind in ("euclidean", "geodesic")
        },
    }

    def track_share_inside(self, n_patterns: int, distance: str) -> float:
        return _share_inside(n_patterns, distance, np.inf)

    def track_share_of_clusters_told(self, n_patterns: int, distance: str) -> float:
        return 1.0 - _share_inside(n_patterns // 10, distance, 0.3)


def _share_inside(n_patterns: int, distance: str, spread: float) -> float:
    rng = np.random.default_rng(5)
    radius = 20.0 if distance == "euclidean" else 8.0
    labels, centres = support(radius)
    n_inside = 0
    for i in range(n_patterns):
        table = pattern(rng, centres, radius, 60 if distance == "euclidean" else 20, spread)
        result = measure.dispersion(
            table,
            labels,
            distance="geodesic" if distance == "geodesic" else "euclidean",
            n_simulations=199,
            seed=i,
        )
        g = result.curves[result.curves["function"] == "g"]
        n_inside += bool(g["observed"].between(g["low"], g["high"]).all())
    return n_inside / n_patterns


class Detection:
    """Sizes found in a noisy volume, and the time of 400 balls."""

    params, param_names = ([5, 50],), ("n_per_size",)

    def setup(self, n_per_size: int) -> None:
        rng = np.random.default_rng(6)
        angles = np.arange(-60.0, 61.0, 4.0)
        views = 2.0 * rng.standard_normal((len(angles), 80, 80), dtype=np.float32)
        self.volume = reconstruct.wbp(TiltSeries(views, angles, 1.0), thickness_nm=48)
        self.angles = angles.tolist()

    def track_diameter_found_95_nm(self, n_per_size: int) -> float:
        result = measure.detection_limit(
            self.volume,
            diameters_nm=[1.5, 2, 2.5, 3, 3.5, 4, 5, 6],
            density=1.0,
            level=0.5,
            tilt_angles_deg=self.angles,
            n_per_size=n_per_size,
        )
        return float(result.summary["value"].iloc[1])
