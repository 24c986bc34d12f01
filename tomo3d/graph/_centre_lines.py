"""Centre lines between voxels: chains are moved to the centroids of their cross-sections, smoothed, and ended.

Lengths are in nm from the first voxel of a mask; the boundary of a mask lies at one half between its voxels.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from tomo3d.compute.distance import in_threads
from tomo3d.compute.kernels import cross_section as kernels
from tomo3d.compute.kernels import polyline
from tomo3d.compute.kernels import polylines as many
from tomo3d.compute.voxel_list import Depths
from tomo3d.graph._lines import median, path_lengths, resampled, tangents
from tomo3d.graph._network import Network
from tomo3d.progress import report

_SPACING = 1.0  # voxels between the points of a line
_WAVE_VOXELS, _WAVE_RADII = (
    6.0,
    2.0,
)  # waves shorter than so many voxels and radii are taken for steps of the voxels
_PINNED, _LOOSE = 1e4, 1e-4  # weights of a node, and of a point whose cross-section is none
_HOLD = 0.05  # strength of the spring that holds a junction where its lines do not
_ROUND = 2.0  # longest ray over the shortest, up to which a cross-section is that of one strut
_CONTEXT = 3.0  # radii and voxels of a line that say where it goes
_WIDE = 1.8  # area over the median of its line, from which a cross-section next to a junction is part of it
_SIDE_BY_SIDE = 6.0  # radii of a junction up to which its struts may touch
_THIN = 8.0  # voxels: caps of smaller radii are placed by counting voxels
_N_ROUNDS = 2
_POINTS = 4096  # cross-sections at once


@dataclass
class Line:
    """A centre line: points (n, 3), cross-sections (n,), and which of them lie in the open, clear of junctions.

    `is_near` says where another strut of a junction may run beside this one.
    """

    a: int
    b: int
    points: np.ndarray
    area: np.ndarray
    is_clear: np.ndarray
    is_near: np.ndarray
    is_ring: bool = False
    radius: float = 0.0

    def set_area(self, area: np.ndarray) -> None:
        """Take new cross-sections; the radius is that of a circle with the median in the open, or of the middle."""
        self.area = area
        known = area[self.is_clear] if self.is_clear.any() else area[len(area) // 2 :][:1]
        self.radius = math.sqrt(max(median(known), 0.0) / math.pi)


@dataclass(frozen=True)
class Structure:
    """The mask that lines run in: cavities filled, uint8; voxel size (z, y, x); faces that are the volume's border."""

    inside: np.ndarray
    depths: Depths
    voxel: np.ndarray
    is_border: np.ndarray  # (3, 2) bool: at index 0, at the last index

    def within(self, points: np.ndarray) -> np.ndarray:
        """Points (..., 3), those beyond the border of the box put onto it: a straight way on may lead out."""
        return np.asarray(np.clip(points, -0.5 * self.voxel, self.end))

    @property
    def end(self) -> np.ndarray:
        """The last corner of the box."""
        return (np.array(self.inside.shape) - 0.5) * self.voxel

    def depth_at(self, points: np.ndarray) -> np.ndarray:
        """Distance to the background at the voxels nearest to points (n, 3)."""
        index = np.clip(np.rint(points / self.voxel).astype(int), 0, np.array(self.inside.shape) - 1)
        return self.depths.at(index)

    def radius_at(self, points: np.ndarray) -> np.ndarray:
        """Radius of the largest ball about points (n, 3), to about half a voxel."""
        half = 0.5 * float(self.voxel.min())
        return np.maximum(self.depth_at(points) - half, half)


def centre_lines(network: Network, structure: Structure) -> dict[int, Line]:
    """The line of each chain; nodes of the network move to where their lines meet."""
    lines = {}
    for number in sorted(network.chains):
        lines[number] = _first_line(network, number, structure)
    for n_done in range(_N_ROUNDS):
        report("centre lines", n_done, _N_ROUNDS + 1)
        _move_to_centroids(lines.values(), structure)
        _move_nodes(network, lines, structure)
        _smooth(lines.values(), network, structure)
    report("centre lines", _N_ROUNDS, _N_ROUNDS + 1)
    _measure(lines.values(), structure)
    _end_freely(network, lines, structure)
    report("centre lines", _N_ROUNDS + 1, _N_ROUNDS + 1)
    return lines


def _first_line(network: Network, number: int, structure: Structure) -> Line:
    """The voxels of a chain, evenly spaced, and which of them lie beyond the largest balls at its junctions."""
    chain = network.chains[number]
    points = resampled(network.path(number), _SPACING * float(structure.voxel.min()))
    is_clear, is_near = np.empty(len(points), dtype=bool), np.empty(len(points), dtype=bool)
    is_ring = chain.a == chain.b and network.degree(chain.a) == 2
    radius_a, radius_b = (
        network.nodes[node].radius if network.degree(node) > 2 else -1.0 for node in (chain.a, chain.b)
    )
    polyline.clear_of_ends_cpu(path_lengths(points), radius_a, radius_b, _SIDE_BY_SIDE, is_clear, is_near)
    return Line(chain.a, chain.b, points, np.zeros(len(points)), is_clear, is_near, is_ring)


def _sections(
    lines: list[Line], structure: Structure
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Area, centroid and extreme rays of the cross-sections of all lines, and where each line begins.

    Those in the open are taken, or all of a line that is nowhere in the open; the others are 0.
    """
    starts = np.concatenate([[0], np.cumsum([len(line.points) for line in lines])]).astype(int)
    if not lines:
        return np.empty(0), np.empty((0, 3)), np.empty((0, 2)), starts
    points = np.concatenate([line.points for line in lines])
    directions = np.concatenate([tangents(line.points, line.is_ring) for line in lines])
    is_wanted = np.concatenate(
        [line.is_clear if line.is_clear.any() else ~line.is_clear for line in lines]
    )  # elsewhere a section says nothing of its strut
    depth = structure.depth_at(points)
    longest = 2.5 * depth + 2.0 * structure.voxel.max()
    # half a diagonal to the centre of the voxel, and one to the boundary
    safe = np.maximum(depth - 1.5 * np.linalg.norm(structure.voxel), 0.0)
    area, centroid, extremes = np.empty(len(points)), np.empty((len(points), 3)), np.empty((len(points), 2))
    parts = [slice(i, i + _POINTS) for i in range(0, len(points), _POINTS)]

    def section(i: int) -> None:
        part = parts[i]
        kernels.sections_cpu(
            structure.inside, structure.voxel, points[part], directions[part], is_wanted[part], safe[part],
            longest[part], area[part], centroid[part], extremes[part],
        )  # fmt: skip

    in_threads(section, len(parts), "cross-sections")
    return area, centroid, extremes, starts


def _move_to_centroids(lines: Iterable[Line], structure: Structure) -> None:
    """Move the points in the open to the centroids of their cross-sections; flag those that see another strut."""
    lines = list(lines)
    area, centroid, extremes, starts = _sections(lines, structure)
    if not lines:
        return
    is_clear, typical = np.concatenate([line.is_clear for line in lines]), np.empty(len(lines))
    polyline.narrow_stretches_cpu(
        starts, area, extremes, np.concatenate([line.is_near for line in lines]), is_clear,
        _ROUND, 0.5 * float(structure.voxel.min()), _WIDE, typical,
    )  # fmt: skip
    points = np.where(is_clear[:, None], centroid, np.concatenate([line.points for line in lines]))
    radii = np.sqrt(np.maximum(typical, 0.0) / math.pi).tolist()
    for line, radius, first, last in zip(lines, radii, starts[:-1], starts[1:], strict=True):
        line.is_clear, line.points, line.area = is_clear[first:last], points[first:last], area[first:last]
        line.radius = radius


def _measure(lines: Iterable[Line], structure: Structure) -> None:
    """Cross-sections of the final lines."""
    lines = list(lines)
    area, _, _, starts = _sections(lines, structure)
    for line, first, last in zip(lines, starts[:-1], starts[1:], strict=True):
        line.set_area(area[first:last])


def _move_nodes(network: Network, lines: dict[int, Line], structure: Structure) -> None:
    """Move each junction to the point nearest to the straight continuations of its lines."""
    known = list(lines.values())
    least = float(structure.voxel.min())
    ends = [
        (node, i, is_last, _CONTEXT * (line.radius + least))
        for i, line in enumerate(known)
        for node, is_last in ((line.a, False), (line.b, True))
        if network.degree(node) > 2
    ]
    if not ends:
        return
    nodes, rows, is_last, reach = (np.array(column) for column in zip(*ends, strict=True))
    points, starts, is_clear = _joined(known)
    middles, spreads = np.empty((len(ends), 3)), np.empty((len(ends), 3, 3))
    is_known = np.empty(len(ends), dtype=np.bool_)
    many.courses_cpu(points, starts, is_clear, rows, is_last, reach, middles, spreads, is_known)
    order = np.flatnonzero(is_known)[np.argsort(nodes[is_known], kind="stable")]
    if not len(order):
        return
    directions = np.linalg.eigh(spreads[order])[1][:, :, -1]
    moved, firsts = np.unique(nodes[order], return_index=True)
    junctions = [network.nodes[node] for node in moved.tolist()]
    places, meetings = np.array([node.position for node in junctions]), np.empty((len(junctions), 3))
    many.meeting_points_cpu(
        middles[order], directions, np.append(firsts, len(order)), places, _HOLD, meetings
    )
    is_near = np.linalg.norm(meetings - places, axis=1) < np.array([node.radius for node in junctions])
    for node, meeting, near in zip(junctions, structure.within(meetings), is_near.tolist(), strict=True):
        if near:
            node.position = meeting


def _joined(lines: list[Line]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points of all lines, where each line begins, and which points lie in the open."""
    starts = np.concatenate([[0], np.cumsum([len(line.points) for line in lines])]).astype(np.int64)
    points = np.concatenate([np.empty((0, 3)), *(line.points for line in lines)])
    return points, starts, np.concatenate([np.empty(0, dtype=bool), *(line.is_clear for line in lines)])


def _smooth(lines: Iterable[Line], network: Network, structure: Structure) -> None:
    """Smooth lines, their junctions held fast."""
    lines = list(lines)
    spacing = _SPACING * float(structure.voxel.min())
    points, starts, is_clear = _joined(lines)
    waves = _WAVE_VOXELS + _WAVE_RADII * np.array([line.radius for line in lines]) / spacing
    pairs = [(line.a, line.b) for line in lines]
    is_held = np.array([[network.degree(node) > 2 for node in pair] for pair in pairs]).reshape(-1, 2)
    ends = np.array([[network.nodes[node].position for node in pair] for pair in pairs]).reshape(-1, 2, 3)
    smooth = np.empty_like(points)
    many.smooth_lines_cpu(
        points, starts, np.where(is_clear, 1.0, _LOOSE), (waves / (2 * math.pi)) ** 4,
        np.array([line.is_ring for line in lines], dtype=bool), is_held, ends, _PINNED,
        -0.5 * structure.voxel, structure.end, smooth,
    )  # fmt: skip
    for line, first, last in zip(lines, starts[:-1].tolist(), starts[1:].tolist(), strict=True):
        line.points = smooth[first:last]
        if line.is_ring:
            network.nodes[line.a].position = line.points[0].copy()


def _end_freely(network: Network, lines: dict[int, Line], structure: Structure) -> None:
    """End lines that end freely in the middle of their caps, or at the border of the volume; nodes go there."""
    ends = []
    for line in lines.values():
        for node, is_last in ((line.a, False), (line.b, True)):
            if network.degree(node) == 1:
                ends.append((line, node, is_last, *_last_straight(line, is_last, structure)))
    if not ends:
        return
    starts, directions = np.array([end[3] for end in ends]), np.array([end[4] for end in ends])
    radii = np.array([max(end[0].radius, 0.5 * structure.voxel.min()) for end in ends])
    caps = np.empty_like(starts)
    kernels.caps_cpu(structure.inside, structure.voxel, starts, directions, radii, caps)
    is_thin = radii < _THIN * structure.voxel.min()
    counted = caps[is_thin]
    kernels.caps_by_count_cpu(structure.inside, structure.voxel, directions[is_thin], radii[is_thin], counted)
    caps[is_thin] = counted
    for (line, node, is_last, start, direction), cap, radius in zip(ends, caps, radii, strict=True):
        border = _way_to_border(start, direction, structure)
        way = float((cap - start) @ direction)
        if border is not None and border <= way + 1.2 * radius:  # the structure goes on there
            cap = start + border * direction
        cap = structure.within(cap)
        _end_at(line, is_last, cap, direction, structure)
        network.nodes[node].position = cap
        network.nodes[node].radius = radius


def _last_straight(line: Line, is_last: bool, structure: Structure) -> tuple[np.ndarray, np.ndarray]:
    """Where a line that ends freely would end if it went on straight, and its direction there."""
    points = line.points if is_last else line.points[::-1]
    before = path_lengths(points[::-1])[::-1]
    radius = max(line.radius, float(structure.voxel.min()))
    clear = line.is_clear if is_last else line.is_clear[::-1]
    window = (
        (before >= 0.7 * radius)
        & (before <= 0.7 * radius + _CONTEXT * (radius + structure.voxel.min()))
        & clear
    )
    if window.sum() < 3:
        window = np.zeros(len(points), dtype=bool)
        window[-4:] = True
    near = points[window]
    middle = near.mean(axis=0)
    direction = np.linalg.svd(near - middle)[2][0]
    if direction @ (near[-1] - near[0]) < 0:
        direction = -direction
    if not np.ptp(near, axis=0).any():
        direction = np.array([1.0, 0.0, 0.0])
    return middle + ((points[-1] - middle) @ direction) * direction, direction


def _way_to_border(start: np.ndarray, direction: np.ndarray, structure: Structure) -> float | None:
    """Length of the way along a direction to the border of the volume, where the first border met is one.

    0 from a start that lies beyond the border already, as the extension of a line may.
    """
    ways = []
    for axis in range(3):
        if abs(direction[axis]) < 1e-9:
            continue
        is_far = direction[axis] > 0
        edge = structure.voxel[axis] * ((structure.inside.shape[axis] - 0.5) if is_far else -0.5)
        way = max(0.0, float((edge - start[axis]) / direction[axis]))
        ways.append((way, structure.is_border[axis, int(is_far)]))
    way, is_border = min(ways)
    return way if is_border else None


def _end_at(line: Line, is_last: bool, cap: np.ndarray, direction: np.ndarray, structure: Structure) -> None:
    """Cut a line short of its cap's centre, or let it go on, and end it there."""
    order = slice(None) if is_last else slice(None, None, -1)
    points, area, is_clear, is_near = (
        a[order] for a in (line.points, line.area, line.is_clear, line.is_near)
    )
    spacing = _SPACING * float(structure.voxel.min())
    ahead = (points - cap) @ direction
    is_near = np.linalg.norm(points - cap, axis=1) < _CONTEXT * (line.radius + spacing) + abs(ahead[-1])
    kept = ~(
        is_near & (ahead > -max(line.radius, 0.5 * spacing))
    )  # within the cap a line may lead to its side
    kept[0] = True
    points, area, is_clear, is_near = (a[kept] for a in (points, area, is_clear, is_near))
    n_more = max(1, round(float(np.linalg.norm(cap - points[-1])) / spacing))
    more = points[-1] + np.linspace(0.0, 1.0, n_more + 1)[1:, None] * (cap - points[-1])
    line.points = np.concatenate([points, more])[order]
    line.area = np.concatenate([area, np.full(n_more, area[-1])])[order]
    line.is_clear = np.concatenate([is_clear, np.full(n_more, is_clear[-1])])[order]
    line.is_near = np.concatenate([is_near, np.full(n_more, is_near[-1])])[order]
