"""Bundle adjustment: real beads and patches beside IMOD's solution of the same tracks, simulated truth, time."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd

from benchmarks import bent, imod_local, imod_model
from benchmarks.cases import Target, Targets
from tomo3d import io
from tomo3d.align import BundleAdjustment, bundle_adjust, local_alignment, with_fiducials
from tomo3d.compute import tilt_model
from tomo3d.types import TiltSeries

FOLDER = Path(__file__).parents[2] / "shared" / "data" / "beads_BBa"
_ANGLES = np.arange(65.0, -56.0, -2.0)
_MODELS = {  # name: model; "imod" solves what IMOD's own solution shows
    "plain": "",
    "imod": "x_stretch=groups:7,skew=groups:11,projection_stretch=global",
    "free tilts": "tilt=free,x_stretch=groups:7,skew=groups:11,projection_stretch=global",
}
_CUTOFFS = {"robust": 5.1, "least squares": np.inf}
_NOISE_NM = 0.3


@functools.cache
def adjusted(file: str, model: str, weights: str) -> BundleAdjustment:
    """A bundle adjustment of real tracks, in pixels."""
    tracks = io.read_tracks(FOLDER / file, pixel_size_nm=1.0)
    return bundle_adjust(tracks, _ANGLES, image_shape=(512, 512), pixel_size_nm=1.0, tilt_axis_deg=-11.0,
                         model=_MODELS[model], tukey_cutoff=_CUTOFFS[weights])  # fmt: skip


def _present() -> None:
    if not FOLDER.exists():
        raise NotImplementedError("the beads are not here")


class Beads:
    """23 gold beads on 61 views, 1,403 observations; IMOD's mean residual is 0.3129 px. Lengths in px."""

    params, param_names = (list(_MODELS), list(_CUTOFFS)), ("model", "weights")
    _IMOD = ("imod", "robust")
    targets: ClassVar[Targets] = {
        "track_unknowns": {_IMOD: Target(at_most=400)},
        "track_mean_residual_px": {_IMOD: Target(at_most=0.314)},
        "track_rotation_beside_imod_deg": {_IMOD: Target(at_most=0.1)},
    }

    def setup(self, model: str, weights: str) -> None:
        _present()
        self.found = adjusted("BBa.resid", model, weights)

    def track_unknowns(self, model: str, weights: str) -> float:
        return self.found.n_unknowns

    def track_mean_residual_px(self, model: str, weights: str) -> float:
        return self.found.mean_residual_nm

    def track_left_out_residual_px(self, model: str, weights: str) -> float:
        return self.found.mean_left_out_nm

    def track_rotation_beside_imod_deg(self, model: str, weights: str) -> float:
        """Largest difference from the axis of IMOD's transforms."""
        return _rotation_beside_imod_deg(self.found.alignment.tilt_axis_deg)

    def track_beads_beside_imod_px(self, model: str, weights: str) -> float:
        """R.m.s. distance after a similarity: how far that of one program's gauge is sheared in the other's, too."""
        return _beads_beside_imod_px(self._beads())

    def track_beads_beside_imod_affine_px(self, model: str, weights: str) -> float:
        """The same after an affine map: how the whole specimen is sheared, no tracks tell once views may be."""
        ours, theirs = self._beads(), _imods_beads()
        return _rms(ours @ np.linalg.lstsq(ours, theirs, rcond=None)[0] - theirs)

    def _beads(self) -> np.ndarray:
        ours = self.found.points_nm[["x_nm", "y_nm", "z_nm"]].to_numpy()
        return ours - ours.mean(axis=0)


class BeadsAsByImod:
    """The same beads solved with what IMOD grouped and held, group by group. IMOD's own is least squares."""

    params, param_names = (list(_CUTOFFS),), ("weights",)
    _SAME = ("least squares",)
    targets: ClassVar[Targets] = {
        "track_unknowns": {_SAME: Target(at_most=400)},
        "track_mean_residual_px": {_SAME: Target(at_most=0.314)},
        "track_rotation_beside_imod_deg": {_SAME: Target(at_most=0.1)},
        "track_beads_beside_imod_px": {_SAME: Target(at_most=0.06)},
    }

    def setup(self, weights: str) -> None:
        _present()
        self.found = imod_model.solved(FOLDER, _CUTOFFS[weights])

    def track_unknowns(self, weights: str) -> float:
        return self.found.n_unknowns

    def track_mean_residual_px(self, weights: str) -> float:
        return self.found.mean_residual

    def track_left_out_residual_px(self, weights: str) -> float:
        return self.found.mean_left_out

    def track_rotation_beside_imod_deg(self, weights: str) -> float:
        """Largest difference from the axis of IMOD's transforms."""
        return _rotation_beside_imod_deg(self.found.axis_deg)

    def track_beads_beside_imod_px(self, weights: str) -> float:
        """R.m.s. distance after a similarity."""
        return _beads_beside_imod_px(self.found.points_xyz - self.found.points_xyz.mean(axis=0))


def _rotation_beside_imod_deg(axis_deg: np.ndarray) -> float:
    theirs = io.read_alignment(FOLDER / "BBa.tltxf", pixel_size_nm=1.0)
    return float(np.abs(axis_deg - theirs.tilt_axis_deg).max())


def _imods_beads() -> np.ndarray:
    theirs = io.read_point_positions(FOLDER / "BBafid.xyz", pixel_size_nm=1.0)[
        ["x_nm", "y_nm", "z_nm"]
    ].to_numpy()
    return np.asarray(theirs - theirs.mean(axis=0))


def _beads_beside_imod_px(ours: np.ndarray) -> float:
    theirs = _imods_beads()
    u, s, vt = np.linalg.svd(ours.T @ theirs)
    return _rms(s.sum() / (ours**2).sum() * ours @ u @ vt - theirs)


class Patches:
    """54 pieces of 9 tracked patches, 864 observations; IMOD's mean residual is 0.1465 px, with free magnification."""

    params, param_names = (list(_MODELS), list(_CUTOFFS)), ("model", "weights")
    targets: ClassVar[Targets] = {"track_mean_residual_px": Target(at_most=0.1465)}

    def setup(self, model: str, weights: str) -> None:
        _present()
        self.found = adjusted("BBa_patch-tracking.resid", model, weights)

    def track_unknowns(self, model: str, weights: str) -> float:
        return self.found.n_unknowns

    def track_mean_residual_px(self, model: str, weights: str) -> float:
        return self.found.mean_residual_nm

    def track_left_out_residual_px(self, model: str, weights: str) -> float:
        return self.found.mean_left_out_nm


class LocalOnBeads:
    """Local shifts for the real tracks: what they predict of tracks elsewhere, in px. IMOD made a local solution."""

    params, param_names = (["BBa.resid", "BBa_patch-tracking.resid"], ["plain", "imod"]), ("file", "model")

    def setup(self, file: str, model: str) -> None:
        _present()
        self.models = _locally(file, model).alignment.evidence["local_models"]

    def track_global_left_out_px(self, file: str, model: str) -> float:
        return float(self.models["left_out_nm"].iloc[0])

    def track_best_local_over_global(self, file: str, model: str) -> float:
        return float(self.models["left_out_nm"].iloc[1:].min() / self.models["left_out_nm"].iloc[0])

    def track_is_local(self, file: str, model: str) -> float:
        return float(not self.models["is_chosen"].iloc[0])


class LocalByImod:
    """IMOD's own global and local solutions of the beads, on the observations that both were fitted to, in px."""

    def setup(self) -> None:
        _present()
        self.in_global, self.in_local = imod_local.residuals_px(FOLDER)

    def track_global_residual_px(self) -> float:
        return self.in_global

    def track_local_residual_px(self) -> float:
        return self.in_local


@functools.cache
def _locally(file: str, model: str) -> BundleAdjustment:
    tracks = io.read_tracks(FOLDER / file, pixel_size_nm=1.0)
    return local_alignment(tracks, _ANGLES, image_shape=(512, 512), pixel_size_nm=1.0, tilt_axis_deg=-11.0,
                           model=_MODELS[model])  # fmt: skip


class Bent:
    """Views that a known field of 1.5 px bends, noise 0.2 px: r.m.s. error of points that were not tracked, in px."""

    params, param_names = ([25, 60], [0.0, 1.5]), ("n_beads", "amplitude_px")
    targets: ClassVar[Targets] = {
        "track_unseen_error_px": {(60, 1.5): Target(at_most=0.12), (25, 1.5): Target(at_most=0.16)},
        "track_is_local": {(n, 0.0): Target(at_most=0.0) for n in (25, 60)},
    }

    def setup(self, n_beads: int, amplitude_px: float) -> None:
        points = bent.beads_zyx(n_beads, np.random.default_rng(1))
        self.tracks = bent.tracks_of(points, noise_px=0.2, seed=1, amplitude=amplitude_px)

    def _found(self, function: Callable[..., BundleAdjustment]) -> BundleAdjustment:
        model = "rotation=global, tilt=fixed, magnification=fixed"
        return function(self.tracks, bent.ANGLES, image_shape=bent.SHAPE, pixel_size_nm=1.0, model=model)

    def track_global_unseen_error_px(self, n_beads: int, amplitude_px: float) -> float:
        return bent.unseen_error(self._found(bundle_adjust).alignment, amplitude_px)

    def track_unseen_error_px(self, n_beads: int, amplitude_px: float) -> float:
        return bent.unseen_error(self._found(local_alignment).alignment, amplitude_px)

    def track_is_local(self, n_beads: int, amplitude_px: float) -> float:
        return float(self._found(local_alignment).alignment.local_shifts_nm is not None)

    def time_local_alignment(self, n_beads: int, amplitude_px: float) -> None:
        self._found(local_alignment)


class BentImages:
    """Noisy pictures of 40 beads in such views, by `with_fiducials` from the images alone, in px."""

    params, param_names = ([False, True],), ("local",)
    targets: ClassVar[Targets] = {"track_unseen_error_px": {(True,): Target(at_most=0.12)}}

    def setup(self, local: bool) -> None:
        images = bent.views_of(bent.beads_zyx(40, np.random.default_rng(3)))
        images += 0.05 * images.max() * np.random.default_rng(1).normal(size=images.shape).astype(np.float32)
        self.series = TiltSeries(images, bent.ANGLES, 1.0)

    def track_unseen_error_px(self, local: bool) -> float:
        found = with_fiducials(self.series, diameter_nm=4.0, polarity="bright", local=local)
        return bent.unseen_error(found)


class Simulated:
    """Beads on 61 views, noise 0.3 nm a coordinate, rotations and magnifications that wander, 5 % outliers."""

    params, param_names = ([25, 100],), ("n_beads",)
    targets: ClassVar[Targets] = {
        "time_bundle_adjust": {(100,): Target(at_most=2.0)},
        "track_coverage_of_90_percent": Target(at_least=0.85),
    }

    def setup(self, n_beads: int) -> None:
        self.tracks, self.truth = simulated_tracks(n_beads)

    def adjust(self) -> BundleAdjustment:
        return bundle_adjust(
            self.tracks, _ANGLES, image_shape=(1024, 1024), pixel_size_nm=0.5, tilt_axis_deg=-8.0
        )

    def time_bundle_adjust(self, n_beads: int) -> None:
        self.adjust()

    def track_first_run_s(self, n_beads: int) -> float:
        start = time.perf_counter()
        self.adjust()
        return time.perf_counter() - start

    def track_rotation_error_deg(self, n_beads: int) -> float:
        """R.m.s. over the views."""
        return float(np.sqrt(np.mean((self._rotations()["value"] - self.truth) ** 2)))

    def track_coverage_of_90_percent(self, n_beads: int) -> float:
        """How many rotations lie within 1.645 stated standard deviations."""
        table = self._rotations()
        return float(np.mean(np.abs(table["value"] - self.truth) < 1.645 * table["uncertainty"]))

    def _rotations(self) -> pd.DataFrame:
        return self.adjust().uncertainties.query("parameter == 'rotation'")


def simulated_tracks(n_beads: int, seed: int = 0) -> tuple[pd.DataFrame, np.ndarray]:
    """Tracks of beads in a slab of 480 x 480 x 100 nm, and the true rotations in degrees."""
    rng = np.random.default_rng(seed)
    n = len(_ANGLES)
    rotation = -11.0 + 0.5 * np.sin(np.arange(n) / 8.0)
    parameters = np.tile(tilt_model.NEUTRAL, (n, 1))
    parameters[:, 0], parameters[:, 1] = np.deg2rad(rotation), np.deg2rad(_ANGLES)
    parameters[:, 2] = 1.0 + 0.004 * np.sin(np.arange(n) / 5.0)
    points = rng.uniform(-1.0, 1.0, (n_beads, 3)) * [50.0, 240.0, 240.0]
    seen = np.einsum("vij,pj->pvi", tilt_model.projections(parameters), points) + rng.normal(0, 4, (n, 2))
    seen += 0.25 * 1023 + _NOISE_NM * rng.normal(size=seen.shape)
    wrong = rng.random(seen.shape[:2]) < 0.05
    seen[wrong] += rng.normal(0, 8.0, (int(wrong.sum()), 2))
    track, view = np.indices(seen.shape[:2])
    columns = {
        "track": track.ravel(),
        "view": view.ravel(),
        "y_nm": seen[..., 0].ravel(),
        "x_nm": seen[..., 1].ravel(),
    }
    return pd.DataFrame(columns), rotation


def _rms(difference: np.ndarray) -> float:
    return float(np.sqrt((difference**2).sum(axis=1).mean()))
