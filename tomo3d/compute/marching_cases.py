"""The 256 ways in which a surface can pass through a cell of eight voxels, and their triangles.

They are derived, not listed: on each face of the cell the surface runs from edge to edge with the inside on its
left; where all four edges of a face are crossed it cuts off the two corners inside, so that voxels inside which share
no more than an edge are apart. Both cells at a face cut it alike, so surfaces have no cracks. Loops are divided into
triangles by diagonals that lie on no face, so that two triangles meet at every edge.
"""

from __future__ import annotations

import functools
import itertools

import numpy as np

Edge = tuple[int, int, int, int]  # (dz, dy, dx) of the voxel that owns it, and its axis: 0 x, 1 y, 2 z
Corner = tuple[int, int, int]  # (x, y, z)


def _edges() -> list[Edge]:
    return [
        (dz, dy, dx, axis)
        for axis in range(3)
        for dz, dy, dx in itertools.product((0, 1), repeat=3)
        if (dx, dy, dz)[axis] == 0
    ]


EDGES = _edges()


@functools.cache
def cases() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Triangles of each case (256,), the edges at their corners (256, n, 3), and the edges (12, 4): dz, dy, dx, axis.

    Bit 4 dz + 2 dy + dx of a case says whether that voxel is inside. Seen from outside, in right-handed x, y, z, the
    corners of a triangle run counter-clockwise.
    """
    triangles = [[t for loop in _loops(case) for t in _divide(tuple(loop))] for case in range(256)]
    counts = np.array([len(found) for found in triangles], dtype=np.uint8)
    corners = np.zeros((256, int(counts.max()), 3), dtype=np.uint8)
    for case, found in enumerate(triangles):
        if found:
            corners[case, : len(found)] = found
    tables = counts, corners, np.array(EDGES, dtype=np.uint8)
    for table in tables:
        table.flags.writeable = False
    return tables


def _is_inside(case: int, corner: Corner) -> bool:
    x, y, z = corner
    return bool(case >> (4 * z + 2 * y + x) & 1)


def _faces() -> list[list[Corner]]:
    """Corners of each face, counter-clockwise as seen from outside the cell."""
    faces = []
    for axis, side in itertools.product(range(3), (0, 1)):
        ring = []
        for b, c in ((0, 0), (1, 0), (1, 1), (0, 1)):
            corner = [0, 0, 0]
            corner[axis], corner[(axis + 1) % 3], corner[(axis + 2) % 3] = side, b, c
            ring.append((corner[0], corner[1], corner[2]))
        faces.append(ring if side else ring[::-1])
    return faces


def _edge_between(a: Corner, b: Corner) -> int:
    axis = next(i for i in range(3) if a[i] != b[i])
    x, y, z = min(a, b)
    return EDGES.index((z, y, x, axis))


def _loops(case: int) -> list[list[int]]:
    """Edges that each closed line of the surface on the faces of the cell passes, in order."""
    following: dict[int, int] = {}
    for ring in _faces():
        flags = [_is_inside(case, corner) for corner in ring]
        crossed = [i for i in range(4) if flags[i] != flags[(i + 1) % 4]]
        for i in crossed:
            if flags[
                i
            ]:  # leaves the inside here; back in at the crossed edge before, around the corner inside
                back = max((j for j in crossed if not flags[j]), key=lambda j: (j - i) % 4)
                start, end = (_edge_between(ring[j], ring[(j + 1) % 4]) for j in (back, i))
                following[start] = end
    loops = []
    while following:
        start, end = following.popitem()
        loop = [start]
        while end != start:
            loop.append(end)
            end = following.pop(end)
        loops.append(loop)
    return loops


def _share_a_face(a: int, b: int) -> bool:
    """Whether two edges lie on one face of the cell."""
    places = []
    for dz, dy, dx, axis in (EDGES[a], EDGES[b]):
        place: list[int | None] = [dx, dy, dz]
        place[axis] = None
        places.append(place)
    return any(p is not None and p == q for p, q in zip(*places, strict=True))


@functools.cache
def _divide(loop: tuple[int, ...]) -> list[tuple[int, int, int]]:
    """Triangles of a loop whose inner sides lie on no face of the cell."""
    found = _divisions(loop)
    if found is None:
        raise ValueError(f"a loop must have a division off the faces of its cell, got none for {loop}.")
    return found


def _divisions(loop: tuple[int, ...]) -> list[tuple[int, int, int]] | None:
    n = len(loop)
    if n == 3:
        return [loop]  # type: ignore[list-item]
    for i in range(1, n - 1):  # the triangle on the side from the last to the first
        parts = [loop[: i + 1], loop[i:]]
        if any(len(part) > 2 and _share_a_face(part[0], part[-1]) for part in parts):
            continue
        divided = [_divisions(part) if len(part) > 2 else [] for part in parts]
        if all(part is not None for part in divided):
            return [(loop[0], loop[i], loop[-1]), *(t for part in divided for t in part or [])]
    return None
