"""Which beads of different views are one: points of the specimen, predicted from view to view, then solved."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tomo3d import progress
from tomo3d.compute import bundle, tilt_model
from tomo3d.compute.bead_matching import GATE, assigned, refined, voted_shift
from tomo3d.compute.bead_scene import Cloud, Pose, Scene, Seen, is_inside

_PATIENCE = 5  # views in a row that may miss a point before it is given up
_N_ROUNDS = 3
_CUTOFF = 4.685  # of Tukey's weights, in standard deviations
_LEAST_SHARE = 0.3  # of the expected points that a view must show


@dataclass(eq=False)
class Matches:
    """Which bead of each view is which point: `beads` (n_points, n_views), -1 for none."""

    beads: np.ndarray

    def pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """(point, view) of what was seen."""
        points, views = np.nonzero(self.beads >= 0)
        return points, views


def track(scene: Scene) -> Matches:
    """Beads of all views, each point followed outward from the lowest tilt, then all of them by the geometry found.

    A view that shows too little of what is expected stays without; a bead that two points claim, or a point that
    two beads would do for, stays alone in that view.
    """
    first = _Outward(scene, [Pose() for _ in scene.views])
    first.follow(find_poses=True)
    cloud, matches, poses = first.cloud, first.matches(), first.poses
    for _ in progress.track(range(_N_ROUNDS), "tracking beads", _N_ROUNDS):
        solved = _solved(scene, matches, poses)
        if solved is None:
            return _long_enough(matches)
        poses, scale = solved
        cloud = _distinct(_triangulated(scene, matches, poses, scale), scene, scale)
        matches = _rematched(scene, cloud, poses, scale)
        rest = _Outward(_left_over(scene, matches), poses)
        rest.follow(find_poses=False)
        matches = _long_enough(Matches(np.concatenate((matches.beads, rest.matches().beads))))
    return matches


class _Outward:
    """Points followed from the lowest tilt outward."""

    def __init__(self, scene: Scene, poses: list[Pose]) -> None:
        self.scene, self.poses = scene, poses
        self.cloud = Cloud()
        self._sights = scene.sights()
        self._beads: list[np.ndarray] = []  # of each point
        self._missed = np.zeros((2, 0), dtype=int)  # views in a row, on the side of lower and of higher tilts
        self.found = np.zeros(len(scene.views), dtype=bool)

    def matches(self) -> Matches:
        n_views = len(self.scene.views)
        return Matches(np.array(self._beads, dtype=int).reshape(-1, n_views))

    def follow(self, *, find_poses: bool) -> None:
        """Go through the views; their poses are found on the way, or taken as they are."""
        counts = np.array([int(seen.sure.sum()) for seen in self.scene.views])
        if not counts.any():
            return
        good = counts >= 0.5 * np.median(counts[counts > 0])
        start = int(np.flatnonzero(good)[np.abs(self.scene.tilts[good]).argmin()])
        order = np.argsort(np.abs(self.scene.tilts - self.scene.tilts[start]), kind="stable")
        order = np.concatenate(([start], order[order != start]))
        last = [start, start]
        for step, view in enumerate(map(int, order)):
            seen, side = self.scene.views[view], int(self.scene.tilts[view] > self.scene.tilts[start])
            if not len(seen.score):
                continue
            if step and find_poses:
                pose = self._pose(view, self.poses[last[side]], side)
                if pose is None:
                    continue
                self.poses[view] = pose
            self.found[view] = True
            last[side] = view
            if not step:
                last = [view, view]
            self._take(view, side)

    def _alive(self, side: int) -> np.ndarray:
        return np.flatnonzero(self._missed[side] < _PATIENCE)

    def _pose(self, view: int, near: Pose, side: int) -> Pose | None:
        """Where a view is, from the beads that it shares with what is expected; None if they are too few."""
        seen, alive = self.scene.views[view], self._alive(side)
        if not len(alive):
            return None
        cloud = self.cloud.taken(alive)
        expected, spread = cloud.expected(self._sights[view], near)
        shift = voted_shift(seen, expected, spread, self.scene)
        if shift is None:
            return None
        pose = Pose(near.matrix.copy(), near.shift + shift)
        pose, n_matched = refined(seen, cloud, self._sights[view], pose, near, self.scene)
        inside = is_inside(cloud.expected(self._sights[view], pose)[0], self.scene)
        if n_matched < max(min(3, len(alive)), _LEAST_SHARE * inside.sum()):
            return None
        return pose

    def _take(self, view: int, side: int) -> None:
        """Match a view's beads with the points, learn from them, and begin points with what is left."""
        seen, pose, sight = self.scene.views[view], self.poses[view], self._sights[view]
        alive = self._alive(side)
        taken = np.zeros(len(seen.score), dtype=bool)
        if len(alive):
            expected, spread = self.cloud.taken(alive).expected(sight, pose)
            bead, near = assigned(seen, expected, spread, self.scene.diameter)
            has = bead >= 0
            self.cloud.observe(alive[has], sight, pose, seen.positions[bead[has]])
            for point, k in zip(alive[has], bead[has], strict=True):
                self._beads[point][view] = k
            missed = ~has & is_inside(expected, self.scene)
            self._missed[side][alive[has]] = 0
            self._missed[side][alive[missed]] += 1
            taken = near
        new = np.flatnonzero(seen.sure & ~taken)
        self.cloud.add(sight, pose, seen.positions[new], self.scene.height_sd)
        for k in new:
            row = np.full(len(self.scene.views), -1)
            row[view] = k
            self._beads.append(row)
        self._missed = np.concatenate((self._missed, np.zeros((2, len(new)), dtype=int)), axis=1)


def _solved(scene: Scene, matches: Matches, poses: list[Pose]) -> tuple[list[Pose], float] | None:
    """Poses from all tracks at once, turned alike, and the scatter of a position; None if too little is tracked."""
    beads = matches.beads
    span = np.ptp(scene.tilts)
    first, last = (np.where(beads >= 0, scene.tilts[None], fill) for fill in (np.inf, -np.inf))
    long = ((beads >= 0).sum(axis=1) >= 4) & (last.max(axis=1) - first.min(axis=1) >= 0.25 * span)
    while True:
        views = np.flatnonzero((beads[long] >= 0).sum(axis=0) >= 2)
        still = long & ((beads[:, views] >= 0).sum(axis=1) >= 4)
        if (still == long).all():
            break
        long = still
    if long.sum() < 3 or len(views) < 3:
        return None
    points, rows = np.nonzero(beads[np.ix_(long, views)] >= 0)
    seen = beads[np.ix_(long, views)][points, rows]
    positions = np.array([scene.views[views[i]].positions[k] for i, k in zip(rows, seen, strict=True)])
    start = np.tile(tilt_model.NEUTRAL, (len(views), 1))
    start[:, tilt_model.PARAMETERS.index("tilt")] = scene.tilts[views]
    designs = {tilt_model.PARAMETERS.index("rotation"): np.ones((len(views), 1))}
    problem = bundle.Problem(positions, rows, points, start, designs, int(long.sum()))
    try:
        state = bundle.robust(problem, bundle.structure(problem), _CUTOFF)
    except np.linalg.LinAlgError:
        return None
    turn = float(state.unknowns[0])
    turned = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    found = [Pose(turned.copy(), pose.shift.copy()) for pose in poses]
    for row, view in enumerate(views):
        found[view] = Pose(turned.copy(), state.shifts[row])
    missing = np.setdiff1d(np.arange(len(poses)), views)
    for view in missing:
        found[view].shift = np.full(2, np.nan)  # nothing is known of it
    return found, max(float(state.scale) if np.isfinite(state.scale) else 0.0, 0.05)


def _triangulated(scene: Scene, matches: Matches, poses: list[Pose], scale: float) -> Cloud:
    """Points from where they were seen, with covariances for a scatter of `scale`."""
    sights = scene.sights()
    known = np.array([bool(np.isfinite(pose.shift).all()) for pose in poses])
    cloud = Cloud()
    for row in matches.beads:
        views = np.flatnonzero((row >= 0) & known)
        if not len(views):
            continue
        base = np.concatenate([poses[i].matrix @ sights[i] for i in views])
        target = np.concatenate([scene.views[i].positions[row[i]] - poses[i].shift for i in views])
        prior = np.diag([1.0 / scene.height_sd**2, 1e-12, 1e-12])
        weights = np.ones(len(target))
        for _ in range(5):
            normal = (base * weights[:, None]).T @ base / scale**2 + prior
            point = np.linalg.solve(normal, (base * weights[:, None]).T @ target / scale**2)
            error = (target - base @ point).reshape(-1, 2)
            length = np.repeat(np.hypot(*error.T), 2)
            weights = 1.0 / np.maximum(1.0, length / (3.0 * scale))
        cloud.means = np.concatenate((cloud.means, point[None]))
        cloud.covariances = np.concatenate((cloud.covariances, np.linalg.inv(normal)[None]))
    return cloud


def _distinct(cloud: Cloud, scene: Scene, scale: float) -> Cloud:
    """Points that are not one: of those as near as their uncertainty allows, the better known."""
    size = np.trace(cloud.covariances, axis1=1, axis2=2)
    order = np.argsort(size, kind="stable")
    kept: list[int] = []
    for i in order:
        if kept:
            off = cloud.means[kept] - cloud.means[i]
            spread = cloud.covariances[kept] + cloud.covariances[i] + (0.3 + scale) ** 2 * np.eye(3)
            squared = np.einsum("ni,nij,nj->n", off, np.linalg.inv(spread), off)
            if ((squared < GATE) & (np.hypot(off[:, 1], off[:, 2]) < scene.diameter)).any():
                continue
        kept.append(int(i))
    return cloud.taken(np.array(kept, dtype=int))


def _rematched(scene: Scene, cloud: Cloud, poses: list[Pose], scale: float) -> Matches:
    """Every view matched with all points by the geometry; each pose gives way a little first."""
    sights = scene.sights()
    beads = np.full((len(cloud), len(poses)), -1)
    for view, seen in enumerate(scene.views):
        if not len(seen.score) or not len(cloud):
            continue
        pose = poses[view]
        if not np.isfinite(pose.shift).all():
            near = _nearest_known(poses, scene.tilts, view)
            expected, spread = cloud.expected(sights[view], near)
            shift = voted_shift(seen, expected, spread, scene)
            if shift is None:
                continue
            pose = Pose(near.matrix, near.shift + shift)
        pose, n_matched = refined(seen, cloud, sights[view], pose, pose, scene)
        expected, spread = cloud.expected(sights[view], pose)
        if n_matched < max(min(3, len(cloud)), _LEAST_SHARE * is_inside(expected, scene).sum()):
            continue
        poses[view] = pose
        beads[:, view], _ = assigned(seen, expected, spread, scene.diameter)
    return Matches(beads)


def _nearest_known(poses: list[Pose], tilts: np.ndarray, view: int) -> Pose:
    known = np.flatnonzero([bool(np.isfinite(pose.shift).all()) for pose in poses])
    return poses[int(known[np.abs(tilts[known] - tilts[view]).argmin()])]


def _left_over(scene: Scene, matches: Matches) -> Scene:
    """The scene without the beads that have a point; what is left keeps its number, but is sure of nothing taken."""
    views = []
    for view, seen in enumerate(scene.views):
        sure = seen.sure.copy()
        sure[matches.beads[matches.beads[:, view] >= 0, view]] = False
        positions = np.where(sure[:, None], seen.positions, np.inf)
        views.append(Seen(np.where(np.isfinite(positions), positions, 1e9), seen.score, sure))
    return replace(scene, views=views)


def _long_enough(matches: Matches) -> Matches:
    """Tracks of at least three views, and a tenth of those that show beads."""
    seen = matches.beads >= 0
    least = max(3, round(0.1 * int(seen.any(axis=0).sum())))
    return Matches(matches.beads[seen.sum(axis=1) >= least])
