"""Beads in views, and points of the specimen behind them.

Positions are (v, u): along and across the tilt axis of each view, in pixels from the centre of the image. A point
(z, y, x) lands at B (y + shear z, x cos t + z sin t) + d, d being the shift of a view and B nearly 1: what the nominal
axis, tilt and magnification leave over.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

SIGMA = 0.6  # pixels: what a prediction is wrong by beyond what is known of it


@dataclass(frozen=True, eq=False)
class Seen:
    """Beads of one view: `positions` (n, 2) as (v, u), `score` (n,), `sure` (n,) bool."""

    positions: np.ndarray
    score: np.ndarray
    sure: np.ndarray


@dataclass(frozen=True, eq=False)
class Scene:
    """What was seen in all views: `tilts` in radians and `shear`, (n_views,); sizes in pixels.

    `reach` is half the image (v, u), `height_sd` how far from the middle points are expected to be.
    """

    views: list[Seen]
    tilts: np.ndarray
    shear: np.ndarray
    diameter: float
    reach: np.ndarray
    height_sd: float
    is_aligned: bool  # whether positions are where an alignment puts them

    def sights(self) -> np.ndarray:
        """From points (z, y, x) to (v, u), (n_views, 2, 3)."""
        result = np.zeros((len(self.tilts), 2, 3))
        result[:, 0, 1], result[:, 0, 0] = 1.0, self.shear
        result[:, 1, 0], result[:, 1, 2] = np.sin(self.tilts), np.cos(self.tilts)
        return result


@dataclass(eq=False)
class Pose:
    """Where a view is: B (2, 2) and d (2,)."""

    matrix: np.ndarray = field(default_factory=lambda: np.eye(2))
    shift: np.ndarray = field(default_factory=lambda: np.zeros(2))


@dataclass(eq=False)
class Cloud:
    """Points (n, 3) as (z, y, x), with covariances (n, 3, 3)."""

    means: np.ndarray = field(default_factory=lambda: np.zeros((0, 3)))
    covariances: np.ndarray = field(default_factory=lambda: np.zeros((0, 3, 3)))

    def __len__(self) -> int:
        return len(self.means)

    def expected(self, sight: np.ndarray, pose: Pose) -> tuple[np.ndarray, np.ndarray]:
        """(v, u) of each point in a view, and its covariance with that of a bead's position."""
        whole = pose.matrix @ sight
        spread = whole @ self.covariances @ whole.T + SIGMA**2 * np.eye(2)
        return self.means @ whole.T + pose.shift, spread

    def inside(self, sight: np.ndarray, pose: Pose, scene: Scene) -> np.ndarray:
        """Whether each point lands in the image, as nearly as a turned frame tells."""
        return is_inside(self.expected(sight, pose)[0], scene)

    def taken(self, which: np.ndarray) -> Cloud:
        """Some of the points."""
        return Cloud(self.means[which], self.covariances[which])

    def observe(self, which: np.ndarray, sight: np.ndarray, pose: Pose, positions: np.ndarray) -> None:
        """Kalman's update of some points by where they were seen."""
        whole = pose.matrix @ sight
        prior = self.covariances[which]
        expected, spread = Cloud(self.means[which], prior).expected(sight, pose)
        gain = prior @ whole.T @ np.linalg.inv(spread)
        self.means[which] += np.einsum("nij,nj->ni", gain, positions - expected)
        self.covariances[which] = prior - gain @ whole @ prior

    def add(self, sight: np.ndarray, pose: Pose, positions: np.ndarray, height_sd: float) -> None:
        """New points seen at `positions`, at a height of 0 give or take."""
        at = (positions - pose.shift) @ np.linalg.inv(pose.matrix).T
        sin, cos = sight[1, 0], sight[1, 2]
        means = np.column_stack((np.zeros(len(at)), at[:, 0], at[:, 1] / cos))
        turn = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [-sin / cos, 0.0, 1.0 / cos]])
        spread = turn @ np.diag([height_sd**2, SIGMA**2, SIGMA**2]) @ turn.T
        self.means = np.concatenate((self.means, means))
        self.covariances = np.concatenate((self.covariances, np.tile(spread, (len(at), 1, 1))))


def is_inside(positions: np.ndarray, scene: Scene) -> np.ndarray:
    """Whether places lie in the image, as nearly as a turned frame tells."""
    return np.asarray((np.abs(positions) < scene.reach - scene.diameter).all(axis=1))
