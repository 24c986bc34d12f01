"""Centre lines between voxels: chains are moved to the centroids of their cross-sections, smoothed, and ended.

Lengths are in nm from the first voxel of a mask; the boundary of a mask lies at one half between its voxels.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from tomo3d.compute.distance import in_threads
from tomo3d.compute.kernels import cross_section as kernels
from tomo3d.compute.kernels import polyline
from tomo3d.compute.kernels import polylines as many
from tomo3d.graph._free_ends import end_freely
from tomo3d.graph._line import CONTEXT, SPACING, Line, Structure
from tomo3d.graph._lines import path_lengths, resampled, tangents
from tomo3d.graph._network import Network
from tomo3d.progress import report

_WAVE_VOXELS, _WAVE_RADII = (
    6.0,
    2.0,
)  # waves shorter than so many voxels and radii are taken for steps of the voxels
_PINNED, _LOOSE = 1e4, 1e-4  # weights of a node, and of a point whose cross-section is none
_HOLD = 0.05  # strength of the spring that holds a junction where its lines do not
_ROUND = 2.0  # longest ray over the shortest, up to which a cross-section is that of one strut
_WIDE = 1.8  # area over the median of its line, from which a cross-section next to a junction is part of it
_SIDE_BY_SIDE = 6.0  # radii of a junction up to which its struts may touch
_N_ROUNDS = 2
_RAYS, _FEW_RAYS = 24, 16  # of a cross-section that is measured, and of one that says where its middle is
_POINTS = 1024  # cross-sections at once


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
    end_freely(network, lines, structure)
    report("centre lines", _N_ROUNDS + 1, _N_ROUNDS + 1)
    return lines


def _first_line(network: Network, number: int, structure: Structure) -> Line:
    """The voxels of a chain, evenly spaced, and which of them lie beyond the largest balls at its junctions."""
    chain = network.chains[number]
    points = resampled(network.path(number), SPACING * float(structure.voxel.min()))
    is_clear, is_near = np.empty(len(points), dtype=bool), np.empty(len(points), dtype=bool)
    is_ring = chain.a == chain.b and network.degree(chain.a) == 2
    radius_a, radius_b = (
        network.nodes[node].radius if network.degree(node) > 2 else -1.0 for node in (chain.a, chain.b)
    )
    polyline.clear_of_ends_cpu(path_lengths(points), radius_a, radius_b, _SIDE_BY_SIDE, is_clear, is_near)
    return Line(chain.a, chain.b, points, np.zeros(len(points)), is_clear, is_near, is_ring)


def _sections(
    lines: list[Line], structure: Structure, n_rays: int
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
            longest[part], area[part], centroid[part], extremes[part], n_rays,
        )  # fmt: skip

    in_threads(section, len(parts), "cross-sections")
    return area, centroid, extremes, starts


def _move_to_centroids(lines: Iterable[Line], structure: Structure) -> None:
    """Move the points in the open to the centroids of their cross-sections; flag those that see another strut."""
    lines = list(lines)
    area, centroid, extremes, starts = _sections(lines, structure, _FEW_RAYS)
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
    area, _, _, starts = _sections(lines, structure, _RAYS)
    for line, first, last in zip(lines, starts[:-1], starts[1:], strict=True):
        line.set_area(area[first:last])


def _move_nodes(network: Network, lines: dict[int, Line], structure: Structure) -> None:
    """Move each junction to the point nearest to the straight continuations of its lines."""
    known = list(lines.values())
    least = float(structure.voxel.min())
    ends = [
        (node, i, is_last, CONTEXT * (line.radius + least))
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
    spacing = SPACING * float(structure.voxel.min())
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
