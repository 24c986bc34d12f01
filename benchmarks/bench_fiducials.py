"""Beads found, followed and solved: a slab with gold beads as a microscope records it, with known truth."""

from __future__ import annotations

import functools
import time
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from benchmarks.cases import Target, Targets
from tomo3d import align, geometry
from tomo3d.phantoms import Acquisition, Microscope, acquire, bead_slab
from tomo3d.types import Alignment

if TYPE_CHECKING:
    import pandas as pd

_DIAMETER_NM = 10.0  # pixels of 1 nm
_SHIFT_NM = 10.0  # so that views jump by up to 20 pixels
_N_BEADS = {256: 12, 1024: 80}
_AXIS_DEG, _AXIS_ERROR_DEG = 4.0, 3.0


@functools.cache
def recorded(size: int, noise_fraction: float) -> tuple[Acquisition, np.ndarray, np.ndarray]:
    """61 views, where the beads are in them (n_views, n_beads, 2) in pixels, and which can be seen apart."""
    specimen = bead_slab(
        size_nm=float(size),
        thickness_nm=100.0,
        diameter_nm=_DIAMETER_NM,
        n_beads=_N_BEADS[size],
        texture=0.05,
    )
    microscope = Microscope(
        shift_nm=_SHIFT_NM,
        tilt_axis_deg=_AXIS_DEG,
        axis_error_deg=_AXIS_ERROR_DEG,
        noise_fraction=noise_fraction,
        blur_fwhm_nm=1.0,
    )
    acquired = acquire(specimen, image_shape=(size, size), microscope=microscope)
    true = acquired.alignment
    matrices, offsets = geometry.alignment_matrices(true, 1.0, (size, size), (size, size))
    beads = np.array([body.solid.centre_nm for body in specimen.bodies if body.phase == "bead"])
    across = [geometry.detector_position(beads[:, 2], beads[:, 0], tilt) for tilt in true.tilt_angles_deg]
    aligned = np.stack([np.column_stack((beads[:, 1], each)) for each in across]) + geometry.centre(size)
    places = np.einsum("vij,vbj->vbi", matrices, aligned) + offsets[:, None]
    edge = 0.5 * _DIAMETER_NM + 1.5
    visible = ((places > edge) & (places < size - 1 - edge)).all(axis=2)
    apart = np.linalg.norm(places[:, :, None] - places[:, None], axis=3) + 1e9 * np.eye(len(beads))
    return acquired, places, visible & (apart.min(axis=2) > _DIAMETER_NM)


@functools.cache
def aligned_by_beads(size: int, noise_fraction: float) -> tuple[Alignment, float]:
    """What `with_fiducials` finds, and the seconds that it takes."""
    series = recorded(size, noise_fraction)[0].series
    start = time.perf_counter()
    found = align.with_fiducials(series, diameter_nm=_DIAMETER_NM)
    return found, time.perf_counter() - start


class Beads:
    """61 views that jump by up to 20 pixels, nominal axis 3 deg off, beads of 10 px in a textured slab."""

    params, param_names = ([256, 1024], [0.0, 0.1]), ("size", "noise_fraction")
    _clean: ClassVar[dict[tuple[int, float], Target]] = {(n, 0.0): Target(at_most=0.1) for n in (256, 1024)}
    targets: ClassVar[Targets] = {
        "track_position_error_px": {
            **_clean,
            **{(n, 0.1): Target(at_most=0.3) for n in (256, 1024)},
        },
        "track_recall": Target(at_least=0.98),
        "track_precision": Target(at_least=0.98),
        "track_beads_followed": Target(at_least=0.95),
        "track_rows_of_other_beads": Target(at_most=0.0),
        "track_shift_along_px": _clean,
        "track_shift_across_px": _clean,
        "track_rotation_error_deg": _clean,
    }

    def setup(self, size: int, noise_fraction: float) -> None:
        self.acquired, self.places, self.visible = recorded(size, noise_fraction)

    def track_detect_beads_s(self, size: int, noise_fraction: float) -> float:
        start = time.perf_counter()
        align.detect_beads(self.acquired.series, diameter_nm=_DIAMETER_NM)
        return time.perf_counter() - start

    def track_with_fiducials_s(self, size: int, noise_fraction: float) -> float:
        return aligned_by_beads(size, noise_fraction)[1]

    def _named(self, table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        off = np.linalg.norm(self.places[table["view"]] - table[["y_nm", "x_nm"]].to_numpy()[:, None], axis=2)
        return off.argmin(axis=1), off.min(axis=1)

    def _detected(self) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
        table = align.detect_beads(self.acquired.series, diameter_nm=_DIAMETER_NM)
        return table, *self._named(table)

    def track_recall(self, size: int, noise_fraction: float) -> float:
        table, bead, off = self._detected()
        hit, found = off < 0.25 * _DIAMETER_NM, np.zeros_like(self.visible)
        found[table["view"].to_numpy()[hit], bead[hit]] = True
        return float((found & self.visible).sum() / self.visible.sum())

    def track_precision(self, size: int, noise_fraction: float) -> float:
        return float((self._detected()[2] < 0.25 * _DIAMETER_NM).mean())

    def track_position_error_px(self, size: int, noise_fraction: float) -> float:
        """R.m.s. distance, of beads that are a diameter from the next."""
        table, bead, off = self._detected()
        alone = self.visible[table["view"], bead] & (off < 0.25 * _DIAMETER_NM)
        return float(np.sqrt(np.mean(off[alone] ** 2)))

    def _followed(self, size: int, noise_fraction: float) -> tuple[float, float]:
        tracks = aligned_by_beads(size, noise_fraction)[0].evidence["tracks"]
        bead, off = self._named(tracks)
        right, shares, n_wrong = off < 0.3 * _DIAMETER_NM, np.zeros(self.visible.shape[1]), 0
        for _, rows in tracks.assign(bead=np.where(right, bead, -1)).groupby("track"):
            own = int(rows["bead"].mode().iloc[0])
            n_wrong += int((rows["bead"] != own).sum())
            seen = self.visible[rows.loc[rows["bead"] == own, "view"], own].sum()
            shares[own] = max(shares[own], seen / max(int(self.visible[:, own].sum()), 1))
        counted = self.visible.sum(axis=0) >= 3
        return float((shares[counted] >= 0.9).mean()), float(n_wrong)

    def track_beads_followed(self, size: int, noise_fraction: float) -> float:
        """Share of the beads that one track has in 90 % of the views that show them apart from others."""
        return self._followed(size, noise_fraction)[0]

    def track_rows_of_other_beads(self, size: int, noise_fraction: float) -> float:
        return self._followed(size, noise_fraction)[1]

    def _shift_error(self, size: int, noise_fraction: float) -> np.ndarray:
        return aligned_by_beads(size, noise_fraction)[0].shifts_nm - self.acquired.alignment.shifts_nm

    def track_shift_along_px(self, size: int, noise_fraction: float) -> float:
        """R.m.s. error along the axis, less its mean."""
        return float(self._shift_error(size, noise_fraction)[:, 0].std())

    def track_shift_across_px(self, size: int, noise_fraction: float) -> float:
        """R.m.s. error across the axis, less a + b cos t + c sin t."""
        tilt = np.deg2rad(self.acquired.series.tilt_angles_deg)
        orbit = np.column_stack((np.ones_like(tilt), np.cos(tilt), np.sin(tilt)))
        error = self._shift_error(size, noise_fraction)[:, 1]
        rest = error - orbit @ np.linalg.lstsq(orbit, error, rcond=None)[0]
        return float(np.sqrt(np.mean(rest**2)))

    def track_rotation_error_deg(self, size: int, noise_fraction: float) -> float:
        found = aligned_by_beads(size, noise_fraction)[0].tilt_axis_deg
        return float(np.abs(geometry.axis_difference_deg(found, self.acquired.alignment.tilt_axis_deg)).max())
