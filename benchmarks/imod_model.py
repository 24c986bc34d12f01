"""The model of IMOD's own solution of the real beads, group by group, to be solved here from the same positions.

What it grouped and held is read off its solution (`.tlt`, `.zfac`, `.tltxf`). The stretch of the projection is the same
in all views and its direction, -57.50 deg in the raw image, is 45 deg from a tilt axis at -12.50: its diagonals are
those of the axis that IMOD was given. Stretches of the specimen are in steps, one of which is held at 1; skews and
tilts are straight between knots, of which one is held. Rotations and magnifications are free.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tomo3d import geometry, io
from tomo3d.compute import bundle, tilt_model
from tomo3d.compute.bundle_errors import errors

ANGLES_DEG = np.arange(65.0, -56.0, -2.0)
AXIS_DEG = -12.5  # that IMOD was given
_STRETCH_STEPS = (63.0, 55.0, 45.0, 33.0, 17.0, -1.0, -19.0, -33.0, -45.0, -55.0)  # last tilt of each
_HELD_STEP = 3
_SKEW_KNOTS, _HELD_SKEW = (65.0, 45.0, 25.0, 5.0, -15.0, -35.0, -55.0), 45.0
_TILT_KNOTS = (65.0, 61.0, 55.0, 45.0, 37.0, 27.0, 17.0, 5.0, -7.0, -19.0, -31.0, -41.0, -49.0, -55.0)
_HELD_TILT = 5.0


@dataclass(frozen=True, eq=False)
class Solved:
    """Our solution of IMOD's model. Lengths in pixels."""

    n_unknowns: int
    mean_residual: float
    mean_left_out: float
    axis_deg: np.ndarray  # of each view
    points_xyz: np.ndarray


def solved(folder: Path, tukey_cutoff: float) -> Solved:
    """The beads of BBa with IMOD's groups; a cutoff of inf is least squares, as its own solution is."""
    tracks = io.read_tracks(folder / "BBa.resid", pixel_size_nm=1.0)
    start = np.tile(tilt_model.NEUTRAL, (len(ANGLES_DEG), 1))
    start[:, tilt_model.PARAMETERS.index("tilt")] = np.deg2rad(ANGLES_DEG)
    places = tracks[["y_nm", "x_nm"]].to_numpy() - geometry.centre(512)
    track, view = tracks["track"].to_numpy(), tracks["view"].to_numpy()
    # in the frame of the given axis, whose diagonals the projection is stretched along
    turned = places @ geometry.rotation_yx(-AXIS_DEG).T
    problem = bundle.Problem(turned, view, np.unique(track, return_inverse=True)[1], start, _designs(),
                             len(np.unique(track)))  # fmt: skip
    state = bundle.robust(problem, bundle.structure(problem), tukey_cutoff)
    left_out = errors(problem, state, tukey_cutoff).left_out
    parameters = problem.parameters(state.unknowns)
    # the axis as transforms show it, once what tilting does to the specimen's own y and x is taken out
    to_raw = tilt_model.projections(parameters)[:, :, 1:].copy()
    to_raw[:, :, 1] /= np.cos(parameters[:, tilt_model.PARAMETERS.index("tilt")])[:, None]
    to_aligned = np.linalg.inv(geometry.rotation_yx(AXIS_DEG) @ to_raw)
    return Solved(
        n_unknowns=problem.n_unknowns,
        mean_residual=float(np.linalg.norm(bundle.residuals(problem, state), axis=1).mean()),
        mean_left_out=float(np.linalg.norm(left_out, axis=1).mean()),
        axis_deg=geometry.view_factors(to_aligned).tilt_axis_deg,
        points_xyz=state.points[:, ::-1],
    )


def _designs() -> dict[int, np.ndarray]:
    n = len(ANGLES_DEG)
    steps = np.searchsorted(-np.array(_STRETCH_STEPS), -ANGLES_DEG)
    nearest_zero = int(np.argmin(np.abs(ANGLES_DEG)))
    designs = {
        "rotation": np.eye(n),
        "tilt": _straight(_TILT_KNOTS, _HELD_TILT),
        "magnification": np.delete(np.eye(n), nearest_zero, axis=1),
        "x_stretch": np.delete(np.eye(len(_STRETCH_STEPS))[steps], _HELD_STEP, axis=1),
        "skew": _straight(_SKEW_KNOTS, _HELD_SKEW),
        "projection_stretch": np.ones((n, 1)),
    }
    return {tilt_model.PARAMETERS.index(name): design for name, design in designs.items()}


def _straight(knots: tuple[float, ...], held: float) -> np.ndarray:
    """Straight lines over the tilts between values at the knots, but for the one that is held."""
    rising = np.sort(knots)
    values = np.eye(len(rising))[rising != held]
    return np.stack([np.interp(ANGLES_DEG, rising, value) for value in values], axis=1)
