"""Where lines end that end freely: in the middle of a cap, or at the border of the volume, where the strut goes on."""

from __future__ import annotations

import numpy as np

from tomo3d.compute.kernels import cross_section as kernels
from tomo3d.graph._line import CONTEXT, SPACING, Line, Structure
from tomo3d.graph._lines import path_lengths
from tomo3d.graph._network import Network

_THIN = 8.0  # voxels: caps of smaller radii are placed by counting voxels


def end_freely(network: Network, lines: dict[int, Line], structure: Structure) -> None:
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
        & (before <= 0.7 * radius + CONTEXT * (radius + structure.voxel.min()))
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
    spacing = SPACING * float(structure.voxel.min())
    ahead = (points - cap) @ direction
    is_near = np.linalg.norm(points - cap, axis=1) < CONTEXT * (line.radius + spacing) + abs(ahead[-1])
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
