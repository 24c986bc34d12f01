"""Surfaces: areas, curvatures and topology of bodies of known form, and the time of meshing beside its peers."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.bench_thickness import blob_field
from benchmarks.cases import Target
from tomo3d import geometry, measure, phantoms
from tomo3d.compute.iso_surface import iso_surface
from tomo3d.measure._surface_area import EXTRAPOLATED
from tomo3d.types import Labels, Surface, Volume

_CUBE = (1.0, 1.0, 1.0)
_LONG = (2.0, 1.0, 1.0)
_ESTIMATORS = (
    "track_worst_error_percent", "track_worst_mesh_error_percent", "track_worst_extrapolated_error_percent"
)  # fmt: skip
_N_PLACES = 4  # of each body, at random on the grid; the worst counts


class BallAreas:
    """Balls: the worst error of the area over places on the grid, for both inputs."""

    params, param_names = ([2.25, 3.5, 5, 8, 20], ["grey", "mask"]), ("radius_voxels", "input")
    targets = {  # noqa: RUF012
        name: {
            (radius, kind): Target(at_most=1.5 if kind == "grey" else 2.0)
            for radius in (5, 8, 20)
            for kind in ("grey", "mask")
        }
        for name in _ESTIMATORS
    }

    def setup(self, radius_voxels: float, input: str) -> None:
        self.errors = _area_errors(_ball, radius_voxels, input)

    def track_worst_error_percent(self, radius_voxels: float, input: str) -> float:
        """By the first estimator of the table: iso-surface of grey values, Crofton's of masks."""
        return _worst(self.errors, 0)

    def track_worst_mesh_error_percent(self, radius_voxels: float, input: str) -> float:
        """By the iso-surface, of masks too."""
        return _worst(self.errors, -2)

    def track_worst_extrapolated_error_percent(self, radius_voxels: float, input: str) -> float:
        """By iso-surfaces extrapolated to no smoothing."""
        return _worst(self.errors, -1)


class TorusAndShellAreas:
    """A torus of three times this radius and a shell of three and two times it."""

    params, param_names = ([5, 8], ["torus", "shell"], ["grey", "mask"]), ("radius_voxels", "body", "input")
    targets = {  # noqa: RUF012
        name: {
            (radius, body, kind): Target(at_most=1.5 if kind == "grey" else 2.0)
            for radius in (5, 8)
            for body in ("torus", "shell")
            for kind in ("grey", "mask")
        }
        for name in _ESTIMATORS
    }

    def setup(self, radius_voxels: float, body: str, input: str) -> None:
        self.errors = _area_errors({"torus": _torus, "shell": _shell}[body], radius_voxels, input, n_places=2)

    def track_worst_error_percent(self, radius_voxels: float, body: str, input: str) -> float:
        return _worst(self.errors, 0)

    def track_worst_mesh_error_percent(self, radius_voxels: float, body: str, input: str) -> float:
        return _worst(self.errors, -2)

    def track_worst_extrapolated_error_percent(self, radius_voxels: float, body: str, input: str) -> float:
        return _worst(self.errors, -1)


class CubeAreas(BallAreas):
    """Cubes at random directions, of this half edge: their rims are sharper than any voxel.

    The extrapolated area is the one for sharp rims, and has the target; the others stand beside it.
    """

    params, param_names = ([5, 10, 20], ["grey", "mask"]), ("radius_voxels", "input")
    targets = {  # noqa: RUF012
        "track_worst_extrapolated_error_percent": {
            (radius, kind): Target(at_most=1.5 if kind == "grey" else 2.0)
            for radius in (5, 10, 20)
            for kind in ("grey", "mask")
        }
    }

    def setup(self, radius_voxels: float, input: str) -> None:
        self.errors = _area_errors(_cube, radius_voxels, input)


class LongVoxels:
    """A ball of radius 10 nm in voxels of 2 x 1 x 1 nm: area and curvature."""

    params, param_names = (["grey", "mask"],), ("input",)
    targets = {
        name: {("grey",): Target(at_most=1.5), ("mask",): Target(at_most=2.0)}
        for name in ("track_area_error_percent", "track_extrapolated_area_error_percent")
    } | {
        "track_mean_curvature_error_percent": {
            ("grey",): Target(at_most=4.0),
            ("mask",): Target(at_most=10.0),
        },
    }

    def setup(self, input: str) -> None:
        self.solid = _ball(10.0, np.random.default_rng(2))
        self.structure, self.level = _sampled(self.solid, input, _LONG)

    def track_area_error_percent(self, input: str) -> float:
        table = measure.surface_area(self.structure, level=self.level)
        return abs(100.0 * (float(table["value"][0]) / self.solid.area_nm2 - 1.0))

    def track_extrapolated_area_error_percent(self, input: str) -> float:
        table = measure.surface_area(self.structure, level=self.level)
        value = float(table["value"][table["estimator"] == EXTRAPOLATED].iloc[0])
        return abs(100.0 * (value / self.solid.area_nm2 - 1.0))

    def track_mean_curvature_error_percent(self, input: str) -> float:
        found = measure.curvature(self.structure, level=self.level)
        return _rms_percent(found, "mean_curvature_per_nm", 0.1)


class BallCurvature:
    """R.m.s. error of the curvatures on balls, over their r.m.s."""

    params, param_names = ([8, 20], ["grey", "mask"]), ("radius_voxels", "input")
    targets = {  # noqa: RUF012
        name: {
            (radius, kind): Target(at_most=4.0 if kind == "grey" else 10.0)
            for radius in (8, 20)
            for kind in ("grey", "mask")
        }
        for name in ("track_mean_error_percent", "track_gaussian_error_percent")
    }

    def setup(self, radius_voxels: float, input: str) -> None:
        _, self.found = _curved(_ball, radius_voxels, input)
        self.mean = np.full(len(self.found.vertices_nm), 1.0 / radius_voxels)
        self.gaussian = self.mean**2

    def track_mean_error_percent(self, radius_voxels: float, input: str) -> float:
        return _rms_percent(self.found, "mean_curvature_per_nm", self.mean)

    def track_gaussian_error_percent(self, radius_voxels: float, input: str) -> float:
        return _rms_percent(self.found, "gaussian_curvature_per_nm2", self.gaussian)

    def track_implicit_gauss_bonnet_percent(self, radius_voxels: float, input: str) -> float:
        """Integral of the Gaussian curvature by derivatives less 2 pi times the Euler characteristic, over 4 pi."""
        return 100.0 * _gauss_bonnet(self.found, "Gaussian derivatives")


class TorusCurvature(BallCurvature):
    """The same on a torus of three times this radius; its integral of the Gaussian curvature is 0."""

    params, param_names = ([8], ["grey", "mask"]), ("radius_voxels", "input")
    targets = {  # noqa: RUF012
        name: {(8, kind): Target(at_most=4.0 if kind == "grey" else 10.0) for kind in ("grey", "mask")}
        for name in ("track_mean_error_percent", "track_gaussian_error_percent")
    }

    def setup(self, radius_voxels: float, input: str) -> None:
        solid, self.found = _curved(_torus, radius_voxels, input)
        self.mean, self.gaussian = torus_curvature(solid, self.found.vertices_nm)


class GaussBonnet:
    """Integral of the Gaussian curvature over the closed surface of smoothed noise less 2 pi times its Euler number."""

    targets = {"track_error_of_the_mesh": Target(at_most=1e-9)}  # noqa: RUF012

    def track_error_of_the_mesh(self) -> float:
        field = blob_field(48, 12)
        field[[0, -1]] = field[:, [0, -1]] = field[:, :, [0, -1]] = field.min()
        found = measure.curvature(Volume(field, _CUBE), level=0.0)
        return _gauss_bonnet(found, "angle deficits of the mesh")


class Meshing:
    """Marching cubes of blobs of 20 voxels, by turns with VTK's flying edges and scikit-image.

    Ratios are of processor time, the least of seven runs each: machines are shared, and all three use all cores.
    """

    params, param_names = ([32, 256],), ("edge_voxels",)
    targets = {"track_cpu_time_over_flying_edges": {(256,): Target(at_most=1.0)}}  # noqa: RUF012

    def setup(self, edge_voxels: int) -> None:
        self.field = blob_field(edge_voxels)
        self._ours()

    def time_iso_surface(self, edge_voxels: int) -> None:
        self._ours()

    def track_cpu_seconds(self, edge_voxels: int) -> float:
        return _least_cpu_seconds(self._ours)[0]

    def track_cpu_time_over_flying_edges(self, edge_voxels: int) -> float:
        try:
            import pyvista
        except ImportError:
            raise NotImplementedError("VTK is not installed: pip install 'tomo3d[viz]'") from None
        image = pyvista.ImageData(dimensions=self.field.shape[::-1])
        image.point_data["value"] = self.field.ravel()
        ours, theirs = _least_cpu_seconds(
            self._ours,
            lambda: image.contour([0.0], scalars="value", method="flying_edges", compute_normals=False),
        )
        return ours / theirs

    def track_cpu_time_over_scikit_image(self, edge_voxels: int) -> float:
        from skimage.measure import marching_cubes

        ours, theirs = _least_cpu_seconds(self._ours, lambda: marching_cubes(self.field, 0.0))
        return ours / theirs

    def peakmem_iso_surface(self, edge_voxels: int) -> None:
        self._ours()

    def _ours(self) -> object:
        return iso_surface(self.field, 0.0, _CUBE)


def _least_cpu_seconds(*works: Callable[[], object]) -> list[float]:
    """Least processor time, over all threads, of each work, done by turns."""
    least = [float("inf")] * len(works)
    for _ in range(7):
        for i, work in enumerate(works):
            start = time.process_time()
            work()
            least[i] = min(least[i], time.process_time() - start)
    return least


class Whole:
    """What a user calls, on blobs of 20 voxels: processor time over all threads."""

    params, param_names = ([32, 128], ["grey", "mask"]), ("edge_voxels", "input")

    def setup(self, edge_voxels: int, input: str) -> None:
        field = blob_field(edge_voxels)
        self.structure = Volume(field, _CUBE) if input == "grey" else Labels(field > 0, _CUBE)
        self.level = 0.0 if input == "grey" else None

    def track_surface_mesh_cpu_seconds(self, edge_voxels: int, input: str) -> float:
        return self._cpu_seconds(measure.surface_mesh)

    def track_curvature_cpu_seconds(self, edge_voxels: int, input: str) -> float:
        return self._cpu_seconds(measure.curvature)

    def track_surface_area_cpu_seconds(self, edge_voxels: int, input: str) -> float:
        return self._cpu_seconds(measure.surface_area)

    def _cpu_seconds(self, function: Callable[..., object]) -> float:
        start = time.process_time()
        function(self.structure, level=self.level)
        return time.process_time() - start


def torus_curvature(solid: phantoms.Torus, positions_nm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and Gaussian curvature of a torus at the points of it nearest to positions (n, 3)."""
    axis = np.array(solid.axis) / np.linalg.norm(solid.axis)
    position = positions_nm - np.array(solid.centre_nm)
    along = position @ axis
    across = np.linalg.norm(position - along[:, None] * axis, axis=1) - solid.major_radius_nm
    c = across / np.hypot(across, along)
    major, minor = solid.major_radius_nm, solid.minor_radius_nm
    return (major + 2 * minor * c) / (2 * minor * (major + minor * c)), c / (minor * (major + minor * c))


def _ball(radius: float, rng: np.random.Generator) -> phantoms.Ball:
    return phantoms.Ball(radius_nm=radius, centre_nm=_place(rng))


def _torus(radius: float, rng: np.random.Generator) -> phantoms.Torus:
    axis = tuple(rng.standard_normal(3))
    return phantoms.Torus(
        major_radius_nm=3 * radius, minor_radius_nm=radius, axis=axis, centre_nm=_place(rng)
    )


def _shell(radius: float, rng: np.random.Generator) -> phantoms.Shell:
    return phantoms.Shell(outer_radius_nm=3 * radius, thickness_nm=radius, centre_nm=_place(rng))


def _cube(radius: float, rng: np.random.Generator) -> phantoms.Slab:
    edge = 2.0 * radius
    normal = tuple(rng.standard_normal(3))
    return phantoms.Slab(thickness_nm=edge, extent_nm=(edge, edge), normal=normal, centre_nm=_place(rng))


def _place(rng: np.random.Generator) -> tuple[float, float, float]:
    z, y, x = rng.uniform(-0.5, 0.5, 3)
    return (float(z), float(y), float(x))


def _sampled(
    solid: phantoms.Solid, input: str, voxel: tuple[float, float, float]
) -> tuple[Volume | Labels, float | None]:
    """A solid as grey values with their level, or as a mask, with room around it."""
    reach = 2.0 * solid.bounding_radius_nm
    n_z, n_y, n_x = (int(reach / edge) + 8 + i for i, edge in enumerate(voxel))
    shape = (n_z, n_y, n_x)
    z, y, x = (-geometry.centre(n) * edge for n, edge in zip(shape, voxel, strict=True))
    origin = (z, y, x)
    if input == "grey":
        return Volume(
            solid.fraction(shape, voxel, samples_per_voxel=2).astype(np.float32), voxel, origin
        ), 0.5
    axes = [geometry.coordinates(n) * edge for n, edge in zip(shape, voxel, strict=True)]
    positions = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    return Labels(solid.depth_nm(positions) > 0, voxel, origin), None


@functools.cache
def _area_errors(
    make: Callable[[float, np.random.Generator], Any], radius: float, input: str, n_places: int = _N_PLACES
) -> np.ndarray:
    """Errors of the area in per cent, (n_places, n_estimators): the last the extrapolated one, nan if not given."""
    rng = np.random.default_rng(1)
    errors = []
    for _ in range(n_places):
        solid = make(radius, rng)
        structure, level = _sampled(solid, input, _CUBE)
        if input == "mask" and np.count_nonzero(structure.data) < 113:
            raise NotImplementedError("the area of so few voxels of a mask is refused")
        table = measure.surface_area(structure, level=level)
        values = table[table["quantity"] == "surface_area"].set_index("estimator")["value"]
        alone = [value for name, value in values.items() if name != EXTRAPOLATED]
        found = [*alone, values.get(EXTRAPOLATED, np.nan)]
        errors.append([100.0 * (float(value) / solid.area_nm2 - 1.0) for value in found])
    return np.array(errors)


def _worst(errors: np.ndarray, column: int) -> float:
    if np.isnan(errors[:, column]).any():
        raise NotImplementedError("parts so thin have no area without smoothing")
    return float(np.abs(errors[:, column]).max())


@functools.cache
def _curved(
    make: Callable[[float, np.random.Generator], Any], radius: float, input: str
) -> tuple[Any, Surface]:
    """A solid and its surface with curvatures."""
    solid = make(radius, np.random.default_rng(3))
    structure, level = _sampled(solid, input, _CUBE)
    return solid, measure.curvature(structure, level=level)


def _rms_percent(surface: Surface, name: str, truth: np.ndarray | float) -> float:
    error = surface.point_data[name] - truth
    return 100.0 * float(np.sqrt(np.mean(error**2) / np.mean(np.square(truth))))


def _gauss_bonnet(surface: Surface, estimator: str) -> float:
    table = measure.curvature_summary(surface)
    row = table[(table["quantity"] == "gauss_bonnet_deviation") & (table["estimator"] == estimator)]
    return abs(float(row["value"].iloc[0]))
