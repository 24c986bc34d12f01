"""Segmentation of a simulated catalyst layer, beside its truth; and how fast the methods are.

The specimen, the microscope and the reconstruction are those of `examples/catalyst.toml`, or a smaller one of the same
kind. The forest learns from 0.1 % of the voxels, which are painted with their true classes.
"""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from skimage.registration import phase_cross_correlation

from benchmarks.cases import Target, Targets
from tomo3d import align, preprocess, reconstruct, segment
from tomo3d.phantoms import Microscope, Particles, Specimen, Support, acquire, catalyst_layer
from tomo3d.types import Labels, Volume

_VOXEL_NM = 1.5
_PAINTED = 1e-3
_SHARES = (0.35, 0.3, 0.3, 0.05)  # of what is painted: background, film, support, particles
_LEVELS = (
    0.5,
    2.0,
    9.5,
)  # half way between 0, 1, 3 and 16 per nm: of the background, support, film, particles
_PAINTINGS = {"at random": 1, "four rounds": 4}  # rounds


class Forest:
    """Dice of a random forest; painted at random within each class, or a quarter so and then where it is wrong.

    `is_aligned` 0: by the alignment that the microscope knows; 1: by `align.marker_free`, and the truth is moved to
    where the volume shows it.
    """

    params = ([80, 190], [0, 1], list(_PAINTINGS))
    param_names = ("size_nm", "is_aligned", "painted")
    targets: ClassVar[Targets] = {
        f"track_dice_{phase}": {
            (190, is_aligned, painted): Target(at_least=least)
            for is_aligned in (0, 1)
            for painted in _PAINTINGS
        }
        for phase, least in (("support", 0.95), ("particle", 0.84))
    }

    def setup(self, size_nm: int, is_aligned: int, painted: str) -> None:
        try:
            import sklearn.ensemble  # noqa: F401
        except ImportError as error:
            raise NotImplementedError("scikit-learn is not installed") from error
        self.dice = forest_dice(size_nm, is_aligned, painted)

    def track_dice_film(self, size_nm: int, is_aligned: int, painted: str) -> float:
        return self.dice["film"]

    def track_dice_support(self, size_nm: int, is_aligned: int, painted: str) -> float:
        return self.dice["support"]

    def track_dice_particle(self, size_nm: int, is_aligned: int, painted: str) -> float:
        return self.dice["particle"]

    def track_dice_particle_not_painted(self, size_nm: int, is_aligned: int, painted: str) -> float:
        return self.dice["particle, not painted"]


class Levels:
    """Dice of grey levels half way between the known densities, on the same volume: what a forest has to beat."""

    params, param_names = ([80, 190],), ("size_nm",)

    def setup(self, size_nm: int) -> None:
        volume, truth = recorded(size_nm, 0)
        numbers = np.array([0, 2, 1, 3], dtype=np.uint8)  # by density the support comes before the film
        found = Labels(numbers[np.digitize(volume.data, _LEVELS)], volume.voxel_size_nm)
        self.dice = dice(found, truth)

    def track_dice_support(self, size_nm: int) -> float:
        return self.dice["support"]

    def track_dice_particle(self, size_nm: int) -> float:
        return self.dice["particle"]


class Speed:
    """Two noisy halves, from marks at either end."""

    params = (
        [32, 128],
        ["gaussian_mixture", "watershed", "random_walker", "random_forest", "hysteresis", "sauvola"],
    )
    param_names = ("edge_voxels", "method")

    def setup(self, edge_voxels: int, method: str) -> None:
        rng = np.random.default_rng(0)
        half = np.zeros((edge_voxels,) * 3)
        half[:, :, edge_voxels // 2 :] = 1.0
        marks = np.zeros(half.shape, dtype=np.uint8)
        marks[:, ::8, 1], marks[:, ::8, -2] = 1, 2
        volume = Volume((half + 0.3 * rng.standard_normal(half.shape)).astype(np.float32), (1.0, 1.0, 1.0))
        markers = Labels(marks, volume.voxel_size_nm)
        mask = Labels((half > 0.5).astype(np.uint8), volume.voxel_size_nm)
        calls: dict[str, Any] = {
            "gaussian_mixture": lambda: segment.gaussian_mixture(volume, n_classes=2),
            "watershed": lambda: segment.watershed(mask, h_nm=1.0),
            "random_walker": lambda: segment.random_walker(volume, markers),
            "random_forest": lambda: segment.random_forest(volume, markers),
            "hysteresis": lambda: segment.hysteresis(volume, low=0.5, high=1.0),
            "sauvola": lambda: segment.sauvola(volume, window_nm=15.0),
        }
        self.call = calls[method]

    def time_segment(self, edge_voxels: int, method: str) -> None:
        try:
            self.call()
        except ImportError as error:
            raise NotImplementedError(str(error)) from error


@functools.cache
def recorded(size_nm: int, is_aligned: int) -> tuple[Volume, Labels]:
    """A reconstruction and the truth on its grid."""
    specimen = layer(size_nm)
    microscope = Microscope(
        shift_nm=12,
        axis_error_deg=3,
        blur_fwhm_nm=2,
        background=20,
        dose_electrons_per_nm2=800,
        scattering_per_nm=0.002,
    )
    taken = acquire(specimen, pixel_size_nm=_VOXEL_NM, microscope=microscope)
    series = preprocess.subtract_background(taken.series)
    thickness_nm = 1.25 * specimen.size_nm[0]
    alignment = align.marker_free(series, thickness_nm=thickness_nm) if is_aligned else taken.alignment
    volume = reconstruct.sirt(
        series, thickness_nm=thickness_nm, n_iterations=40, lower=0.0, alignment=alignment
    )
    if is_aligned:  # where the specimen is no alignment can know
        specimen = moved_to(specimen, volume)
    return volume, specimen.labels(volume.data.shape, _VOXEL_NM)


def moved_to(specimen: Specimen, volume: Volume) -> Specimen:
    """The specimen moved to where a volume shows it, to 1/20 voxel by the peak of their correlation."""
    density = specimen.density_volume(volume.data.shape, volume.voxel_size_nm)
    shift, _, _ = phase_cross_correlation(volume.data, density.data, upsample_factor=20, normalization=None)
    move_nm = np.asarray(shift) * volume.voxel_size_nm

    def moved(solid: Any) -> Any:
        return replace(solid, centre_nm=tuple(float(c) for c in np.add(solid.centre_nm, move_nm)))

    bodies = [replace(body, solid=moved(body.solid)) for body in specimen.bodies]
    return replace(specimen, bodies=bodies)


def layer(size_nm: int) -> Specimen:
    """The specimen of the example, 190 nm wide, or one such grain in a smaller field."""
    if size_nm == 190:
        particles = Particles(n_particles=40, diameter_nm=(5.0, 7.0), density=16.0)
        return catalyst_layer(seed=1, film_thickness_nm=10.0, film_density=3.0, particles=particles)
    particles = Particles(n_particles=8, diameter_nm=(5.0, 7.0), density=16.0)
    return catalyst_layer(
        seed=1,
        size_nm=(float(size_nm),) * 3,
        film_thickness_nm=10.0,
        film_density=3.0,
        support=Support(n_grains=1),
        particles=particles,
    )


@functools.cache
def forest_dice(size_nm: int, is_aligned: int, painted: str) -> dict[str, float]:
    """Dice of each phase."""
    volume, truth = recorded(size_nm, is_aligned)
    rng = np.random.default_rng(0)
    known = np.asarray(truth.data)
    n_voxels, n_rounds = round(_PAINTED * known.size), _PAINTINGS[painted]
    n_trees = 100 if size_nm == 190 else 10
    paint = paint_at_random(truth, n_voxels // n_rounds, rng)
    found = learned(volume, paint, n_trees)
    for i in range(2, n_rounds + 1):
        wrong = np.flatnonzero((np.asarray(found.data) != known) & (paint == 0))
        n_more = i * n_voxels // n_rounds - int(np.count_nonzero(paint))
        more = rng.choice(wrong, min(n_more, len(wrong)), replace=False)
        paint.flat[more] = known.flat[more] + 1
        found = learned(volume, paint, n_trees)
    kept = (paint == 0).astype(np.uint8)
    result = dice(found, truth)
    unseen = dice(
        Labels(np.asarray(found.data) * kept, truth.voxel_size_nm),
        Labels(np.asarray(truth.data) * kept, truth.voxel_size_nm, names=truth.names),
    )
    return result | {"particle, not painted": unseen["particle"]}


def paint_at_random(truth: Labels, n_voxels: int, rng: np.random.Generator) -> np.ndarray:
    """Single voxels of each phase, numbered one higher, as 0 is where nothing is painted."""
    paint = np.zeros(truth.data.shape, dtype=np.uint8)
    for number, share in enumerate(_SHARES):
        places = np.flatnonzero(np.asarray(truth.data) == number)
        paint.flat[rng.choice(places, round(share * n_voxels), replace=False)] = number + 1
    return paint


def learned(volume: Volume, paint: np.ndarray, n_trees: int) -> Labels:
    """Phases by a forest, in the numbers of the truth."""
    painted = Labels(paint, volume.voxel_size_nm)
    found = segment.random_forest(volume, painted, n_trees=n_trees)
    return Labels(np.asarray(found.data) - np.uint8(1), volume.voxel_size_nm)


def dice(found: Labels, truth: Labels) -> dict[str, float]:
    """Dice by the name of the phase."""
    overlap = {}
    for number, name in truth.names.items():
        ours, theirs = np.asarray(found.data) == number, np.asarray(truth.data) == number
        overlap[name] = float(2 * np.count_nonzero(ours & theirs) / (ours.sum() + theirs.sum()))
    return overlap
