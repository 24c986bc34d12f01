"""Beads of a view matched with the places where points are expected."""

from __future__ import annotations

import numpy as np
import scipy.optimize
import scipy.spatial

from tomo3d.compute.bead_scene import Cloud, Pose, Scene, Seen

GATE = 16.0  # squared distance, in standard deviations, of a bead from where it is expected
_AFFINE_SD = 0.02  # of what B may change by from view to view
_CLOSE = 0.5  # diameters between points below which their beads are not told apart
_DOUBT = 4.0  # another bead is as good if its squared distance is larger by less than this


def voted_shift(seen: Seen, expected: np.ndarray, spread: np.ndarray, scene: Scene) -> np.ndarray | None:
    """The move of all expected places that brings most of them to a bead."""
    beads = seen.positions[seen.sure]
    if not len(beads):
        return None
    moves = (beads[:, None] - expected[None]).reshape(-1, 2)
    furthest = 2.0 * scene.diameter if scene.is_aligned else float(scene.reach.max())
    tolerance = 2.0 * np.sqrt(np.median(spread[:, [0, 1], [0, 1]], axis=0))
    tolerance = np.clip(tolerance, 2.0, 1.5 * scene.diameter)
    moves = moves[np.abs(moves).max(axis=1) <= furthest]
    if not len(moves):
        return None
    scaled = moves / tolerance
    tree = scipy.spatial.cKDTree(scaled)
    neighbours = tree.query_ball_point(scaled, 1.0)
    votes = np.array([len(each) for each in neighbours], dtype=float)
    votes -= 0.5 * np.hypot(*moves.T) / furthest  # of equals, the smaller move
    best = int(votes.argmax())
    return np.asarray(np.median(moves[neighbours[best]], axis=0))


def refined(
    seen: Seen, cloud: Cloud, sight: np.ndarray, pose: Pose, near: Pose, scene: Scene
) -> tuple[Pose, int]:
    """A pose brought to what matches it, shift first, and how many points then do."""
    n_matched = 0
    for step in range(6):
        expected, spread = cloud.expected(sight, pose)
        bead, _ = assigned(seen, expected, spread, scene.diameter, doubt=False)
        has = bead >= 0
        n_matched = int(has.sum())
        if not n_matched:
            break
        weights = 1.0 / np.stack((spread[has, 0, 0], spread[has, 1, 1]))
        target, plain = seen.positions[bead[has]], cloud.means[has] @ sight.T
        error = target - expected[has]
        if step < 2 or n_matched < 4:
            pose = Pose(
                pose.matrix,
                pose.shift + np.array([_weighted_median(error[:, k], weights[k]) for k in (0, 1)]),
            )
            continue
        pose = _affine(plain, target, weights, near)
    return pose, n_matched


def _weighted_median(values: np.ndarray, weights: np.ndarray) -> float:
    order = np.argsort(values)
    total = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(total, 0.5 * total[-1])])


def _affine(plain: np.ndarray, target: np.ndarray, weights: np.ndarray, near: Pose) -> Pose:
    """B and d of least squares, B being held near that of a neighbouring view."""
    base = np.column_stack((plain, np.ones(len(plain))))
    pose = Pose(near.matrix.copy(), near.shift.copy())
    prior = np.diag([1.0 / _AFFINE_SD**2, 1.0 / _AFFINE_SD**2, 0.0])
    for k in range(2):
        error = target[:, k] - plain @ near.matrix[k]
        normal = (base * weights[k][:, None]).T @ base + prior
        step = np.linalg.solve(normal, (base * weights[k][:, None]).T @ error)
        pose.matrix[k] += step[:2]
        pose.shift[k] = step[2]
    return pose


def assigned(
    seen: Seen, expected: np.ndarray, spread: np.ndarray, diameter: float, *, doubt: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Bead of each expected place, -1 for none, and which beads are near any place.

    With `doubt`, a place that two free beads would do for, and places too near to each other, get none.
    """
    off = seen.positions[None] - expected[:, None]
    squared = np.einsum("jki,jil,jkl->jk", off, np.linalg.inv(spread), off)
    squared = np.where(seen.sure[None], squared, squared + 1.0)
    near = np.asarray((squared < GATE).any(axis=0))
    bead = np.full(len(expected), -1)
    rows, columns = scipy.optimize.linear_sum_assignment(np.minimum(squared, GATE))
    good = squared[rows, columns] < GATE
    rows, columns = rows[good], columns[good]
    bead[rows] = columns
    if doubt:
        free = np.ones(len(seen.score), dtype=bool)
        free[columns] = False
        rival = np.where(free & seen.sure, squared, np.inf)[rows].min(axis=1, initial=np.inf)
        bead[rows[rival < squared[rows, columns] + _DOUBT]] = -1
        if len(expected) > 1:
            apart, _ = scipy.spatial.cKDTree(expected).query(expected, k=2)
            bead[apart[:, 1] < _CLOSE * diameter] = -1
    return bead, near
