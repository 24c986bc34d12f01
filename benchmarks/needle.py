"""The tilt series of the needle, and two figures that say how well it is aligned."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tomo3d import align, geometry, io, progress
from tomo3d.compute.projector import Projector
from tomo3d.types import Alignment, TiltSeries

ROOT = Path(__file__).parents[1]
CROP = ROOT / "examples" / "data" / "needle.mrc"
FULL = ROOT.parent / "shared" / "data" / "needle" / "HAADF.mrc"
COLUMNS = (80, 128, 180)  # raw columns of the full series: the planes across the needle that are predicted
AXIS_DEG = 90.0  # from the microscope's log; the sign is not known

_N_BORDER = 8  # columns on the left of an aligned view, where there is background only
_CUT = 0.12  # of the maximum of a view: what is below is not needle
_SLAB = 20  # pixels along the axis that share one centre of mass
_N_ITERATIONS = 40
_LEAST_PATH = 0.05  # voxels; rays and voxels with less are left out, as in SIRT


def read(path: Path) -> TiltSeries:
    """The series as it was recorded, with the axis that the microscope's log gives."""
    return io.read_tilt_series(path, tilt_axis_deg=AXIS_DEG)


def unaligned(series: TiltSeries) -> TiltSeries:
    """The series with its axis turned to y, and nothing else done to it: what an alignment is compared with."""
    return align.apply(series, geometry.nominal_alignment(series))


def center_of_mass_px(aligned: TiltSeries) -> float:
    """How far the centre of mass strays from c + a cos t + b sin t, in pixels r.m.s., at best 0.

    The background of each view is the median of its 8 left columns, and what is then below 0.12 of its maximum
    counts as zero. Slabs of 20 pixels over the middle half of y are fitted each for itself; the median of
    their residuals is returned.
    """
    images = np.asarray(aligned.images, dtype=np.float64)
    images = images - np.median(images[:, :, :_N_BORDER], axis=(1, 2))[:, None, None]
    images[images < _CUT * images.max(axis=(1, 2))[:, None, None]] = 0.0
    tilt = np.deg2rad(aligned.tilt_angles_deg)
    orbit = np.column_stack((np.ones_like(tilt), np.cos(tilt), np.sin(tilt)))
    n_y = images.shape[1]
    residuals = []
    for y in range(n_y // 4, 3 * n_y // 4 - _SLAB + 1, _SLAB):
        mass = images[:, y : y + _SLAB].sum(axis=1)
        centre = mass @ np.arange(mass.shape[1]) / mass.sum(axis=1)
        fit = orbit @ np.linalg.lstsq(orbit, centre, rcond=None)[0]
        residuals.append(np.sqrt(np.mean((centre - fit) ** 2)))
    return float(np.median(residuals))


def aligned_row(series: TiltSeries, alignment: Alignment, column: int) -> int:
    """The row of the aligned series where the tilt axis shows a column of the raw one, on the mean of the views."""
    raw_shape = (int(series.images.shape[1]), int(series.images.shape[2]))
    shape = geometry.aligned_shape(raw_shape, geometry.mean_axis_deg(alignment.tilt_axis_deg))
    matrices, offsets = geometry.alignment_matrices(alignment, series.pixel_size_nm, raw_shape, shape)
    # raw x of the aligned point (y, centre), averaged over the views, is slope * y + rest
    slope = matrices[:, 1, 0].mean()
    rest = (matrices[:, 1, 1] * geometry.centre(shape[1]) + offsets[:, 1]).mean()
    return round(float((column - rest) / slope))


def leave_one_out(aligned: TiltSeries, rows: Sequence[int]) -> np.ndarray:
    """How badly the other views predict a view: |b - A x| / |b| for each row, the median over every other view.

    x is 40 iterations of SIRT with density not below 0, on a square as wide as the views, without the view in
    question. The median of the series counts as background, and what is below it as zero. The reconstructions
    of a row, one for each view left out, are worked on together as if they were slices.
    """
    images = np.asarray(aligned.images, dtype=np.float32)
    images = np.maximum(images - np.median(images), 0.0)
    n_u = images.shape[2]
    projector = Projector(aligned.tilt_angles_deg, n_u=n_u, n_x=n_u, n_z=n_u)
    left_out = np.arange(0, len(images), 2)
    errors = [
        np.median(_prediction_errors(images[:, row], projector, left_out))
        for row in progress.track(rows, "leave one out", len(rows))
    ]
    return np.array(errors)


def _prediction_errors(sinogram: np.ndarray, projector: Projector, left_out: np.ndarray) -> np.ndarray:
    """|b - A x| / |b| of each view in `left_out`, from a sinogram (n_views, n_u)."""
    n_views, n_u = sinogram.shape
    n = len(left_out)
    taken = np.ones((n_views, n, 1), dtype=np.float32)
    taken[left_out, np.arange(n)] = 0.0
    taken = np.broadcast_to(taken, (n_views, n, n_u))
    measured = projector.padded(np.broadcast_to(sinogram[:, None], (n_views, n, n_u)))
    taken = projector.padded(taken)
    ones = np.ones((projector.n_z, projector.n_x, 1), dtype=np.float32)
    row_weights = _inverse(projector.forward_inner(ones)) * taken
    column_weights = _inverse(projector.back_inner(taken))
    x = np.zeros_like(column_weights)
    for _ in range(_N_ITERATIONS):
        x += column_weights * projector.back_inner(row_weights * (measured - projector.forward_inner(x)))
        np.maximum(x, 0.0, out=x)
    missed = (measured - projector.forward_inner(x))[left_out, projector.inside, np.arange(n)]
    return np.linalg.norm(missed, axis=1) / np.linalg.norm(sinogram[left_out], axis=1)


def _inverse(sums: np.ndarray) -> np.ndarray:
    return np.where(sums > _LEAST_PATH, 1.0 / np.maximum(sums, _LEAST_PATH), 0.0).astype(np.float32)
