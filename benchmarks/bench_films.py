"""Films near the resolution: errors of their thickness and mass under noise, and of coverage after a tilt series.

Profiles: a film on a ball of six widths' radius, blurred, with white noise of a tenth of the contrast, averaged over
1.5 widths; errors are medians over all points of the ball. Coverage: ellipsoids, 61 views of +-60 deg, 800 electrons
per nm^2 and view, SIRT of 30 iterations; the control is another such specimen without film.
"""

from __future__ import annotations

import functools
import time
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd
from scipy import ndimage

from benchmarks.cases import Target, Targets
from tomo3d import measure, phantoms, reconstruct
from tomo3d.measure import edge_widths, film_coverage, profile_thickness, surface_mesh
from tomo3d.measure.profiles import FWHM
from tomo3d.types import Labels, Surface, Volume

_WIDTH = 5.0  # voxels
_CUBE = (1.0, 1.0, 1.0)
_VOXEL_NM = 1.5
_TILTS = (-60.0, 60.0)
_RADIUS_NM = 9.0  # of averaging
_FIELDS = {60: ((64.0, 104.0, 104.0), 2), 140: ((90.0, 140.0, 140.0), 6)}  # size_nm and number of grains
_AVERAGED = 1.5  # widths


def blurred_film(widths: float, density: float, radius: float, noise: float) -> tuple[Volume, Surface]:
    """A film on a ball, and the surface of the ball."""
    specimen = phantoms.film_on_ball(
        radius_nm=radius,
        thickness_nm=max(widths * _WIDTH, 1e-6),
        film_density=density,
        centre_nm=(0.3, 0.2, -0.4),
    )
    edge = int(2 * (radius + 3.5 * _WIDTH))
    volume = specimen.density_volume((edge, edge, edge), 1.0)
    sigma = np.sqrt((_WIDTH / FWHM) ** 2 - 1 / 12)  # with the voxel it is as wide as it should be
    grey = ndimage.gaussian_filter(np.asarray(volume.data), sigma)
    grey += noise * np.random.default_rng(0).standard_normal(grey.shape)
    ball = specimen.bodies[1].solid.fraction((edge, edge, edge), 1.0)
    surface = surface_mesh(Volume(ball, _CUBE, volume.origin_nm), level=0.5)
    return Volume(grey.astype(np.float32), _CUBE, volume.origin_nm), surface


@functools.cache
def profile_errors(widths: float, density: float) -> tuple[np.ndarray, np.ndarray]:
    """Relative errors of thickness and mass per area at each point."""
    volume, surface = blurred_film(widths, density, 6.0 * _WIDTH, 0.1)
    films = profile_thickness(
        volume,
        surface,
        film_level=density,
        psf_fwhm_nm=_WIDTH,
        max_thickness_nm=3.0 * _WIDTH,
        averaging_radius_nm=_AVERAGED * _WIDTH,
    )
    thickness = films.point_data["thickness_nm"] / (widths * _WIDTH) - 1.0
    return thickness, films.point_data["mass_per_area"] / (density * widths * _WIDTH) - 1.0


class Profiles:
    """Thickness and mass per area of films of 0.4 to 2 widths of the point-spread function, noise 0.1."""

    params, param_names = ([0.4, 0.7, 1.0, 2.0], [0.5, 1.8]), ("widths", "density")
    targets: ClassVar[Targets] = {
        "track_thickness_error_percent": Target(at_most=15.0),
        "track_mass_error_percent": Target(at_most=5.0),
    }

    def setup(self, widths: float, density: float) -> None:
        self.thickness, self.mass = profile_errors(widths, density)

    def track_thickness_error_percent(self, widths: float, density: float) -> float:
        return 100.0 * float(np.nanmedian(np.abs(self.thickness)))

    def track_thickness_bias_percent(self, widths: float, density: float) -> float:
        return 100.0 * float(np.nanmedian(self.thickness))

    def track_mass_error_percent(self, widths: float, density: float) -> float:
        return 100.0 * float(np.nanmedian(np.abs(self.mass)))

    def track_mass_bias_percent(self, widths: float, density: float) -> float:
        return 100.0 * float(np.nanmedian(self.mass))


class Speed:
    """Time for 100,000 points, on the points that there are."""

    params, param_names = ([14, 30],), ("radius_voxels",)

    def track_seconds_per_100000_points(self, radius_voxels: int) -> float:
        volume, surface = blurred_film(1.0, 0.5, float(radius_voxels), 0.1)
        seconds = []
        for _ in range(3):
            start = time.perf_counter()
            profile_thickness(
                volume, surface, film_level=0.5, psf_fwhm_nm=_WIDTH, max_thickness_nm=3.0 * _WIDTH
            )
            seconds.append(time.perf_counter() - start)
        return min(seconds) * 1e5 / len(surface.vertices_nm)


@functools.cache
def by_definition(film: str, thickness_voxels: int) -> tuple[pd.Series, float, float, float]:
    """The truth of a film, and its local, distance (mean) and chord thickness from its labels."""
    t = float(thickness_voxels)
    specimen = {
        "ball": lambda: phantoms.film_on_ball(radius_nm=13.0, thickness_nm=t, centre_nm=(0.2, -0.3, 0.4)),
        "oblique": lambda: phantoms.oblique_film(thickness_nm=t),
        "bridge": lambda: phantoms.bridge_in_slot(width_nm=t, length_nm=36.0),
    }[film]()
    shape = {"ball": (44, 45, 46), "oblique": (40, 41, 42), "bridge": (24, 52, 14)}[film]
    labels = specimen.labels(shape, 1.0)
    number = next(n for n, name in labels.names.items() if name == "film")
    inner = tuple(slice(10, -10) if film == "oblique" else slice(None) for _ in range(3))
    inside = np.asarray(labels.data)[inner] == number
    truth = specimen.truth.set_index("quantity").value
    only = Labels((labels.data == number).astype(np.uint8), _CUBE, labels.origin_nm)
    local = float(np.median(measure.local_thickness(only).data[inner][inside]))
    distance = float(measure.distance_thickness(labels, phase=number).data[inner][inside].mean())
    chord = measure.chord_thickness(only)
    middle = np.ones(len(chord.vertices_nm), dtype=bool)
    if film == "oblique":
        middle = (np.abs(chord.vertices_nm) < 10).all(axis=1)
    elif film == "bridge":
        middle = np.abs(chord.point_data["normal"][:, 0]) > 0.99
    middle_chord = float(np.nanmedian(chord.point_data["thickness_nm"][middle]))
    return truth, local, distance, middle_chord


class Definitions:
    """Films that are known, from their labels: how far each definition is off, in percent of the thickness."""

    params, param_names = (["ball", "oblique", "bridge"], [6]), ("film", "thickness_voxels")
    targets: ClassVar[Targets] = {
        "track_local_error_percent": Target(at_most=3.0),
        "track_chord_error_percent": Target(at_most=3.0),
        "track_distance_error_voxels": Target(at_most=0.5),
    }

    def setup(self, film: str, thickness_voxels: int) -> None:
        self.truth, self.local, self.distance, self.chord = by_definition(film, thickness_voxels)

    def track_local_error_percent(self, film: str, thickness_voxels: int) -> float:
        return 100.0 * abs(self.local / self.truth["film_local_thickness"] - 1.0)

    def track_chord_error_percent(self, film: str, thickness_voxels: int) -> float:
        return 100.0 * abs(self.chord / self.truth["film_chord_thickness"] - 1.0)

    def track_distance_error_voxels(self, film: str, thickness_voxels: int) -> float:
        return abs(self.distance - self.truth["film_distance_thickness_volume"])


def specimen(size: int, film_nm: float, seed: int) -> phantoms.Specimen:
    """Ellipsoids; with a film, every second one is coated, all else bare."""
    size_nm, n_grains = _FIELDS[size]
    whole = phantoms.catalyst_layer(
        seed=seed,
        size_nm=size_nm,
        film_thickness_nm=film_nm,
        film_density=0.5,
        support=phantoms.Support(n_grains=n_grains, gap_nm=4.0, semi_axis_nm=(13.0, 17.0)),
        particles=phantoms.Particles(n_particles=0),
    )
    bodies: list[phantoms.Body] = []
    for i, body in enumerate(b for b in whole.bodies if b.phase == "support"):
        if body.inside is not None and i % 2 == 0:
            bodies += [whole.bodies[body.inside], phantoms.Body(body.solid, "support", len(bodies))]
        else:
            bodies.append(phantoms.Body(body.solid, "support"))
    return phantoms.Specimen(bodies, size_nm)


@functools.cache
def recorded(size: int, film_nm: float, seed: int) -> tuple[phantoms.Specimen, Volume, Surface]:
    """A specimen, its reconstruction from a low-dose series, and the surface of what is in it at half its level."""
    found = specimen(size, film_nm, seed)
    microscope = phantoms.Microscope(
        tilt_range_deg=_TILTS, blur_fwhm_nm=2.0, dose_electrons_per_nm2=800, scattering_per_nm=0.002
    )
    series = phantoms.acquire(found, pixel_size_nm=_VOXEL_NM, microscope=microscope, seed=seed).series
    volume = reconstruct.sirt(series, thickness_nm=found.size_nm[0] + 12, n_iterations=30, lower=0.0)
    return found, volume, surface_mesh(volume, level=0.5, smoothing_nm=_VOXEL_NM)


@functools.cache
def control(size: int) -> pd.DataFrame:
    """Widths of the edges of a specimen without film."""
    _, volume, surface = recorded(size, 0.0, 2)
    return edge_widths(volume, surface, max_width_nm=15.0, averaging_radius_nm=_RADIUS_NM)


@dataclass(frozen=True)
class Found:
    """What coverage told of the normals that were seen: percent of area, and nm."""

    false: float
    off: float
    unknown: float
    thickness: float


@functools.cache
def coverage(size: int, film_nm: float, seed: int) -> Found:
    """Coverage of a specimen beside its truth: every point belongs to the nearest grain, with a film or without."""
    specimen_, volume, surface = recorded(size, film_nm, seed)
    films = profile_thickness(
        volume,
        surface,
        film_level=0.46,  # as it is reconstructed: the supports come out at 0.92
        edge_widths=control(size),
        averaging_radius_nm=_RADIUS_NM,
        max_thickness_nm=15.0,
    )
    data = film_coverage(films).surface.point_data
    supports = [body for body in specimen_.bodies if body.phase == "support"]
    nearest = np.stack([body.solid.depth_nm(films.vertices_nm) for body in supports]).argmax(axis=0)
    is_coated = np.array([body.inside is not None for body in supports])[nearest]
    seen, known = ~np.asarray(data["normal_in_wedge"]), data["kind"] < 2
    area, covered = data["area_nm2"], data["is_covered"]

    def percent(part: np.ndarray, whole: np.ndarray) -> float:
        return 100.0 * float(area[part & whole].sum() / area[whole].sum())

    thickness = data["thickness_nm"][covered & seen & is_coated]
    return Found(
        percent(covered, known & seen & ~is_coated),
        abs(percent(covered, known & seen) - percent(is_coated, known & seen)),
        percent(~known, seen),
        float(np.median(thickness)) if len(thickness) else 0.0,
    )


class Coverage:
    """Coverage of ellipsoids after a low-dose series of +-60 deg; the film has half the density of the support.

    `film_nm` 0 is bare: what is called covered is false. Else every second grain has a film.
    """

    params, param_names = ([60, 140], [0.0, 6.0], [3, 4, 5]), ("size_nm", "film_nm", "seed")
    targets: ClassVar[Targets] = {
        "track_false_percent_of_bare": {
            (140, film, seed): Target(at_most=3.0) for film in (0.0, 6.0) for seed in (3, 4, 5)
        },
        "track_coverage_off_by_points": {(140, 6.0, seed): Target(at_most=5.0) for seed in (3, 4, 5)},
    }  # fmt: skip

    def setup(self, size_nm: int, film_nm: float, seed: int) -> None:
        self.found = coverage(size_nm, film_nm, seed)

    def track_false_percent_of_bare(self, size_nm: int, film_nm: float, seed: int) -> float:
        return self.found.false

    def track_coverage_off_by_points(self, size_nm: int, film_nm: float, seed: int) -> float:
        return self.found.off

    def track_unknown_percent(self, size_nm: int, film_nm: float, seed: int) -> float:
        return self.found.unknown

    def track_median_thickness_nm(self, size_nm: int, film_nm: float, seed: int) -> float:
        return self.found.thickness
