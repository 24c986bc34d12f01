"""Reconstructions and projections against what is known: closed forms, another program's results, real x-ray data.

Nothing here depends on the machine but `time_wbp`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from benchmarks import tooth
from benchmarks.bench_reconstruct import disc_errors, disc_rows
from benchmarks.cases import Target, Targets
from tomo3d import geometry
from tomo3d.compute import filters
from tomo3d.compute.projector import Projector
from tomo3d.phantoms import Cylinder, Ellipsoid, Slab, Solid
from tomo3d.reconstruct import cgls, project, sirt, total_variation, wbp
from tomo3d.types import TiltSeries, Volume

_N_PIXELS = 192
_LIMIT_DEG = 60.0
_SPECIMEN_NM = 48.0  # thickness of the slab phantom
_THICKNESS_NM = 64.0  # of its reconstruction


class Disc:
    """Densities of a disc of radius 80 pixels and density 1 in 256 x 256, by the plain ramp."""

    params, param_names = (["180", "181", "180 in random order"],), ("views",)
    targets: ClassVar[Targets] = {
        "track_inside_error": Target(at_least=-1e-4, at_most=1e-4),
        "track_outside_mean": Target(at_least=-1e-4, at_most=1e-4),
    }

    def setup(self, views: str) -> None:
        self.inside, self.outside = disc_errors(disc_section(disc_angles(views)))

    def track_inside_error(self, views: str) -> float:
        return self.inside

    def track_outside_mean(self, views: str) -> float:
        return self.outside


def disc_angles(views: str) -> np.ndarray:
    """Angles over 180 deg, evenly spread."""
    number, _, order = views.partition(" in ")
    angles_deg = np.arange(int(number)) * (180.0 / int(number)) - 90.0
    return np.random.default_rng(0).permutation(angles_deg) if order else angles_deg


def disc_section(angles_deg: np.ndarray, window: str = "ramp") -> np.ndarray:
    """The disc, reconstructed, (256, 256)."""
    rows = disc_rows(256, len(angles_deg))
    return np.asarray(wbp(TiltSeries(rows, angles_deg, 1.0), thickness_nm=256, window=window).data[:, 0])


class UnevenAngles:
    """What the weights of the angles gain, on slab phantoms over +-60 deg, against a series in steps of 0.25 deg.

    A slab of 48 in 64 pixels of thickness, 192 wide, with 24 cylinders along y in it, after optimal scaling: the
    error of equal weights, over that with the weights. `width` is that of the slab: within the detector, or beyond it.

    In the slab itself the gain does not depend on the thickness of the volume. The empty space beside it fills with the
    streaks of single views, which larger weights raise: over a volume of 192 the three ratios fall to 1.1, 1.05, 0.9.
    """

    params, param_names = (
        (
            ["2 / 4 deg", "4 deg x cos", "five missing", "uniform"],
            ["narrow", "wide"],
        ),
        ("angles", "width"),
    )
    targets: ClassVar[Targets] = {
        "track_error_ratio": {
            (angles, width): target
            for angles, target in (
                ("2 / 4 deg", Target(at_least=1.6)),
                ("4 deg x cos", Target(at_least=1.4)),
                ("five missing", Target(at_least=1.1)),
                ("uniform", Target(at_least=1.0 - 1e-3, at_most=1.0 + 1e-3)),
            )
            for width in ("narrow", "wide")
        }
    }

    def setup(self, angles: str, width: str) -> None:
        self.equal, self.by_angle = uneven_errors(angles, width)

    def track_equal_nrmse(self, angles: str, width: str) -> float:
        return self.equal

    def track_weighted_nrmse(self, angles: str, width: str) -> float:
        return self.by_angle

    def track_error_ratio(self, angles: str, width: str) -> float:
        return self.equal / self.by_angle


@functools.cache  # three cases ask for each
def uneven_errors(scheme: str, width: str, seed: int = 0) -> tuple[float, float]:
    """Errors with equal weights and with those of the angles, against the series in steps of 0.25 deg."""
    bodies, angles_deg, truth = slab_phantom(width, seed), uneven_angles(scheme), fine_slab(width, seed)
    equal = scaled_error(equally_weighted(bodies, angles_deg), truth)
    return equal, scaled_error(weighted(bodies, angles_deg), truth)


@functools.cache
def fine_slab(width: str, seed: int = 0) -> np.ndarray:
    """The slab phantom from 481 views in steps of 0.25 deg."""
    return weighted(slab_phantom(width, seed), np.arange(-_LIMIT_DEG, _LIMIT_DEG + 0.1, 0.25))


def uneven_angles(scheme: str) -> np.ndarray:
    """Tilt angles of a scheme, within +-60 deg."""
    even = np.arange(-_LIMIT_DEG, _LIMIT_DEG + 1.0, 2.0)
    if scheme == "2 / 4 deg":  # every view inside +-30 deg, every other one outside
        return even[(np.abs(even) <= 30.0) | (even % 4.0 == 0.0)]
    if scheme == "4 deg x cos":
        half = [0.0]
        while (following := half[-1] + 4.0 * np.cos(np.deg2rad(half[-1]))) <= _LIMIT_DEG:
            half.append(following)
        return np.array([-angle for angle in half[:0:-1]] + half)
    if scheme == "five missing":  # neighbours, from 16 to 24 deg
        return even[(even < 16.0) | (even > 24.0)]
    return even


def slab_phantom(width: str, seed: int) -> list[Solid]:
    """A slab of density 1 along y with pores and heavy rods in it, of one width or another; lengths are pixels."""
    rng = np.random.default_rng(seed)
    edge = 150.0 if width == "narrow" else 800.0
    bodies: list[Solid] = [Slab(thickness_nm=_SPECIMEN_NM, extent_nm=(500.0, edge))]
    for _ in range(24):
        z, x, radius = rng.uniform((-18.0, -68.0, 2.0), (18.0, 68.0, 6.0))
        bodies.append(
            Cylinder(
                radius_nm=radius,
                length_nm=500.0,
                axis=(0.0, 1.0, 0.0),
                centre_nm=(z, 0.0, x),
                density=float(rng.choice([-1.0, 2.0])),
            )
        )
    return bodies


def slab_images(bodies: Sequence[Solid], angles_deg: np.ndarray) -> np.ndarray:
    """Closed-form views of one slice, (n_views, 1, 192)."""
    views = sum(body.project(angles_deg, (1, _N_PIXELS), 1.0, samples_per_pixel=2) for body in bodies)
    return np.asarray(views, dtype=np.float32)


def weighted(bodies: Sequence[Solid], angles_deg: np.ndarray) -> np.ndarray:
    """Reconstruction by the plain ramp and the weights of the angles, as the package makes it."""
    series = TiltSeries(slab_images(bodies, angles_deg), angles_deg, 1.0)
    return np.asarray(wbp(series, thickness_nm=_THICKNESS_NM).data)


def equally_weighted(bodies: Sequence[Solid], angles_deg: np.ndarray) -> np.ndarray:
    """The same with every view counting alike."""
    ramp = filters.ramp_response(filters.padded_length(_N_PIXELS)).astype(np.float32)
    filtered = filters.filter_rows(slab_images(bodies, angles_deg), ramp[None])
    return Projector(angles_deg, n_u=_N_PIXELS, n_x=_N_PIXELS, n_z=round(_THICKNESS_NM)).back(filtered)


def scaled_error(volume: np.ndarray, truth: np.ndarray) -> float:
    """Relative L2 error after the scale that makes it least."""
    a, b = volume.astype(np.float64).ravel(), truth.astype(np.float64).ravel()
    return float(np.linalg.norm((a @ b) / (a @ a) * a - b) / np.linalg.norm(b))


class Rim:
    """Density near the edges of the field, of a film that goes on beside it, 61 views, +-60 deg.

    A film of density 1 and 48 pixels, with 24 cylinders along y in it, over `fields` fields of 192 pixels, in a volume
    as thick; "margin" solves for what lies beside the field too, as far as the most tilted view sees. The error is that
    of the sums over the thickness against the closed-form view at 0 deg, r.m.s., relative to the film: within 16
    pixels of the edges, and within 48 of the middle.
    """

    params, param_names = (
        ([1.24, 3.0], ["wbp", "sirt", "sirt, margin", "cgls, margin", "total variation, margin"]),
        ("fields", "method"),
    )
    targets: ClassVar[Targets] = {
        name: {
            (fields, method): Target(at_most=0.02)
            for fields in (1.24, 3.0)
            for method in ("sirt, margin", "cgls, margin", "total variation, margin")
        }
        for name in ("track_edge_error", "track_middle_error")
    }

    def setup(self, fields: float, method: str) -> None:
        self.edge, self.middle = rim_errors(fields, method)

    def track_edge_error(self, fields: float, method: str) -> float:
        return self.edge

    def track_middle_error(self, fields: float, method: str) -> float:
        return self.middle


@functools.cache
def rim_errors(fields: float, method: str) -> tuple[float, float]:
    """Relative r.m.s. error of the sums over the thickness: near the edges of the field, and in its middle."""
    angles_deg = np.linspace(-_LIMIT_DEG, _LIMIT_DEG, 61)
    film = Slab(thickness_nm=_SPECIMEN_NM, extent_nm=(500.0, fields * _N_PIXELS))
    bodies = [film, *slab_phantom("wide", 0)[1:]]
    series = TiltSeries(slab_images(bodies, angles_deg), angles_deg, 1.0)
    name, _, margin = method.partition(", ")
    given: dict[str, Any] = {"thickness_nm": _SPECIMEN_NM}
    if name != "wbp":
        given["margin_nm"] = "auto" if margin else 0.0
    methods: dict[str, Callable[..., Volume]] = {
        "wbp": wbp,
        "sirt": functools.partial(sirt, n_iterations=50),
        "cgls": functools.partial(cgls, n_iterations=15),
        "total variation": functools.partial(total_variation, n_iterations=150, weight=0.01),
    }
    sums = np.asarray(methods[name](series, **given).data)[:, 0].sum(axis=0, dtype=np.float64)
    errors = (sums - slab_images(bodies, np.zeros(1))[0, 0]) / _SPECIMEN_NM
    edges, middle = np.r_[errors[:16], errors[-16:]], errors[_N_PIXELS // 2 - 48 : _N_PIXELS // 2 + 48]
    return float(np.sqrt(np.mean(edges**2))), float(np.sqrt(np.mean(middle**2)))


class Projection:
    """`project` at two parts to a voxel against closed-form views of an oblique ellipsoid, 61 views, +-60 deg.

    The path rises at the edge as the root of the distance: the error is of first order in voxel / radius.
    """

    params, param_names = ([13, 26, 52],), ("mean_radius_voxels",)
    targets: ClassVar[Targets] = {
        "track_error": Target(at_most=1e-2),
        "track_error_times_radius": Target(at_most=0.14),
    }

    def setup(self, mean_radius_voxels: int) -> None:
        self.error = projection_error(float(mean_radius_voxels), np.linspace(-_LIMIT_DEG, _LIMIT_DEG, 61))

    def track_error(self, mean_radius_voxels: int) -> float:
        return self.error

    def track_error_times_radius(self, mean_radius_voxels: int) -> float:
        return self.error * mean_radius_voxels


def projection_error(mean_radius: float, angles_deg: np.ndarray) -> float:
    """Relative L2 error of the projections of an oblique ellipsoid off the centre; lengths in voxels."""
    solid = _oblique_ellipsoid(mean_radius)
    n = round(3.2 * mean_radius)
    volume = Volume(2.0 * solid.fraction((n, n, n), 1.0).astype(np.float32), (1.0, 1.0, 1.0))
    exact = solid.project(angles_deg, (n, n), 1.0, samples_per_pixel=6)  # 6 x 6 rays: 1e-3 from the mean
    found = project(volume, angles_deg, supersampling=2).images
    return float(np.linalg.norm(found - exact) / np.linalg.norm(exact))


def _oblique_ellipsoid(mean_radius: float) -> Ellipsoid:
    z, y, x = (mean_radius * factor for factor in (1.0, 0.7, 1.3))
    return Ellipsoid(
        semi_axes_nm=(z, y, x), rotation_deg=(20.0, -35.0, 10.0), centre_nm=(0.6, -1.2, 0.9), density=2.0
    )


class InPlane:
    """Views turned, magnified and moved, against closed forms: by cubics, and by shares among four pixels.

    Of an ellipsoid of mean radius 13 voxels in 25 views, +-60 deg, two parts to a voxel and pixel.
    """

    params, param_names = (["turned 1 deg", "turned 3 deg", "0.5 %", "2 %", "moved", "all"],), ("views",)
    targets: ClassVar[Targets] = {"track_error_over_shared": Target(at_most=1.0)}

    def setup(self, views: str) -> None:
        self.errors = in_plane_errors(views)

    def track_error(self, views: str) -> float:
        return self.errors[0]

    def track_shared_error(self, views: str) -> float:
        return self.errors[1]

    def track_error_over_shared(self, views: str) -> float:
        return self.errors[0] / self.errors[1]


def in_plane_errors(views: str, mean_radius: float = 13.0) -> tuple[float, float]:
    """Relative L2 errors of the projector as it is, and of the general kernel."""
    rng, angles_deg = np.random.default_rng(0), np.linspace(-_LIMIT_DEG, _LIMIT_DEG, 25)
    turn_deg, enlarge, move = {
        "turned 1 deg": (1.0, 0.0, 0.0),
        "turned 3 deg": (3.0, 0.0, 0.0),
        "0.5 %": (0.0, 0.005, 0.0),
        "2 %": (0.0, 0.02, 0.0),
        "moved": (0.0, 0.0, 3.0),
        "all": (3.0, 0.02, 3.0),
    }[views]
    turns_deg, sizes = turn_deg * rng.uniform(-1, 1, 25), 1 + enlarge * rng.uniform(-1, 1, 25)
    shifts = move * rng.uniform(-1, 1, (25, 2))
    solid, n = _oblique_ellipsoid(mean_radius), round(3.2 * mean_radius)
    parts = (np.arange(6) + 0.5) / 6 - 0.5  # 6 x 6 rays to a pixel
    at = (geometry.coordinates(n)[:, None] + parts).ravel()
    grid = np.stack(np.meshgrid(at, at, indexing="ij"))  # (v, u) on the detector
    exact = []
    for angle_deg, turned_deg, size, shift in zip(angles_deg, turns_deg, sizes, shifts, strict=True):
        v, u = np.tensordot(geometry.rotation_yx(-turned_deg) / size, grid - shift[:, None, None], axes=1)
        paths = solid.density * solid.chord_nm(u, v, float(angle_deg))
        exact.append(paths.reshape(n, 6, n, 6).mean(axis=(1, 3)))
    volume = (solid.density * solid.fraction((2 * n,) * 3, 0.5)).astype(np.float32)
    errors = []
    for is_positive in (False, True):
        projector = Projector(
            angles_deg,
            *(2 * n,) * 3,
            2 * shifts,
            rotations_deg=turns_deg,
            magnifications=sizes,
            is_positive=is_positive,
        )
        found = projector.forward(volume).reshape(25, n, 2, n, 2).mean(axis=(2, 4)) / 2
        errors.append(float(np.linalg.norm(found - exact) / np.linalg.norm(exact)))
    return errors[0], errors[1]


class SmallObject:
    """Four iterations of SIRT against those of TomoPy, from 16 views, 48 pixels wide.

    Within 23 pixels of the axis.
    """

    params, param_names = ([4],), ("n_iterations",)
    targets: ClassVar[Targets] = {
        "track_sirt_error": Target(at_most=0.03),
        "track_sirt_correlation": Target(at_least=0.998),
    }

    def setup(self, n_iterations: int) -> None:
        series = tooth.small_object()
        volume = sirt(series, thickness_nm=48.0, n_iterations=n_iterations)
        self.error, self.correlation = tooth.agreement(volume.data, "sirt")

    def track_sirt_error(self, n_iterations: int) -> float:
        return self.error

    def track_sirt_correlation(self, n_iterations: int) -> float:
        return self.correlation


class Tooth:
    """Two real x-ray slices of 640 x 640 from 181 views: how flat their phases are, in parts of the enamel's level.

    Standard deviation of the means of patches of 16 x 16 pixels; mean of the air. Rings, streaks and what the
    tooth itself varies by are in it. The worse of the two slices.
    """

    params, param_names = (["ramp", "hann"],), ("window",)
    targets: ClassVar[Targets] = {
        "track_air_error": Target(at_most=0.03),
        "track_dentine_error": Target(at_most=0.03),
        "track_enamel_error": Target(at_most=0.03),
        "track_air_mean_error": Target(at_most=0.03),
    }

    def setup(self, window: str) -> None:
        self.series, self.alignment = tooth.read()
        sections = self._reconstruct(window)
        self.found = [tooth.flatness(sections[:, y]) for y in range(sections.shape[1])]

    def _reconstruct(self, window: str) -> np.ndarray:
        return np.asarray(wbp(self.series, thickness_nm=640.0, window=window, alignment=self.alignment).data)

    def time_wbp(self, window: str) -> None:
        self._reconstruct(window)

    def track_air_error(self, window: str) -> float:
        return max(found.spread["air"] for found in self.found)

    def track_dentine_error(self, window: str) -> float:
        return max(found.spread["dentine"] for found in self.found)

    def track_enamel_error(self, window: str) -> float:
        return max(found.spread["enamel"] for found in self.found)

    def track_air_mean_error(self, window: str) -> float:
        return max(abs(found.air) for found in self.found)
