"""Marching cubes in two passes, a plane at a time: what each row will make is counted, then it is written in its place.

Flags are those of the padded grid: one voxel on each side of the values. A voxel owns the edges that lead from it to
the next one along x, y and z. Kernels release the GIL.
"""

import numba
import numpy as np

_ALL = np.uint64(0x0F0F0F0F0F0F0F0F)
_EIGHT = 8


@numba.njit(nogil=True, cache=True, inline="always")
def _fill_quads(inside: np.ndarray, z: int, y: int, quads: np.ndarray) -> None:
    """Flags of the four voxels (z, y), (z, y + 1), (z + 1, y), (z + 1, y + 1) in bits 0 to 3, for every x."""
    n_z, n_y, n_x = inside.shape
    up, along = min(z + 1, n_z - 1), min(y + 1, n_y - 1)
    a, b, c, d = inside[z, y], inside[z, along], inside[up, y], inside[up, along]
    for x in range(n_x):
        quads[x] = a[x] | (b[x] << 1) | (c[x] << 2) | (d[x] << 3)
    for x in range(n_x, len(quads)):
        quads[x] = quads[n_x - 1]


@numba.njit(nogil=True, cache=True, inline="always")
def _is_plain(words: np.ndarray, quads: np.ndarray, i: int) -> bool:
    """Whether eight voxels and the next are all inside or all outside, in all four rows."""
    word = words[i]
    return (word == 0 and quads[_EIGHT * (i + 1)] == 0) or (word == _ALL and quads[_EIGHT * (i + 1)] == 15)


@numba.njit(nogil=True, cache=True, error_model="numpy")
def count_cpu(
    inside: np.ndarray, z: int, spread: np.ndarray, n_triangles: np.ndarray, n_of_row: np.ndarray
) -> None:
    """n_of_row[z, y] <- (vertices, triangles) of each row of plane z."""
    n_z, n_y, n_x = inside.shape
    words = np.zeros(n_x // _EIGHT + 2, dtype=np.uint64)
    quads = words.view(np.uint8)
    for y in range(n_y):
        _fill_quads(inside, z, y, quads)
        n_vertices, n_faces = 0, 0
        has_cells = z < n_z - 1 and y < n_y - 1
        for i in range((n_x + _EIGHT - 1) // _EIGHT):
            if _is_plain(words, quads, i):
                continue
            for x in range(_EIGHT * i, min(_EIGHT * i + _EIGHT, n_x)):
                here, following = quads[x], quads[x + 1]
                if (here == 0 and following == 0) or (here == 15 and following == 15):
                    continue
                bit = here & 1
                n_vertices += (bit ^ (following & 1)) if x < n_x - 1 else 0
                n_vertices += (bit ^ ((here >> 1) & 1)) + (bit ^ ((here >> 2) & 1))
                if has_cells and x < n_x - 1:
                    n_faces += n_triangles[spread[here] | (spread[following] << 1)]
        n_of_row[z, y, 0], n_of_row[z, y, 1] = n_vertices, n_faces


@numba.njit(nogil=True, cache=True, inline="always")
def _value(values: np.ndarray, level: float, is_closed: bool, z: int, y: int, x: int) -> float:
    """Value at a voxel of the padded grid: that of the nearest voxel, mirrored about the level if it is closed."""
    n_z, n_y, n_x = values.shape
    k, j, i = min(max(z - 1, 0), n_z - 1), min(max(y - 1, 0), n_y - 1), min(max(x - 1, 0), n_x - 1)
    value = float(values[k, j, i])
    if is_closed and (k != z - 1 or j != y - 1 or i != x - 1):
        return min(value, 2.0 * level - value)
    return value


@numba.njit(nogil=True, cache=True, inline="always")
def _share(start: float, end: float, level: float) -> float:
    """Where the level is between two values, kept off the ends so that no triangle is a point."""
    return min(max((level - start) / (end - start), 1e-4), 1.0 - 1e-4)


@numba.njit(nogil=True, cache=True, inline="always")
def _at(frame: np.ndarray, axis: int, padded: float) -> float:
    """Place of an index of the padded grid, at most half a voxel beyond the outermost centres."""
    return min(max(padded - 1.0, -0.5), frame[axis, 2] - 0.5) * frame[axis, 0] + frame[axis, 1]


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _place_plane(values, inside, level, is_closed, frame, z, starts, words, ids, vertices, writes):
    """Number the vertices of plane z into `ids` (3, n_y, n_x), and write their places (z, y, x) if `writes`."""
    _, n_y, n_x = inside.shape
    quads = words.view(np.uint8)
    for y in range(n_y):
        if starts[z, y, 0] == starts[z, y + 1, 0]:
            continue
        _fill_quads(inside, z, y, quads)
        number = starts[z, y, 0]
        for i in range((n_x + _EIGHT - 1) // _EIGHT):
            if _is_plain(words, quads, i):
                continue
            for x in range(_EIGHT * i, min(_EIGHT * i + _EIGHT, n_x)):
                here, following = quads[x], quads[x + 1]
                bit = here & 1
                for axis in range(3):
                    if axis == 0:
                        crosses = x < n_x - 1 and bit != (following & 1)
                    else:
                        crosses = bit != ((here >> axis) & 1)
                    if not crosses:
                        continue
                    ids[axis, y, x] = number
                    if writes:
                        start = _value(values, level, is_closed, z, y, x)
                        end = _value(
                            values, level, is_closed, z + (axis == 2), y + (axis == 1), x + (axis == 0)
                        )
                        share = _share(start, end, level)
                        vertices[number, 0] = _at(frame, 0, z + (share if axis == 2 else 0.0))
                        vertices[number, 1] = _at(frame, 1, y + (share if axis == 1 else 0.0))
                        vertices[number, 2] = _at(frame, 2, x + (share if axis == 0 else 0.0))
                    number += 1


@numba.njit(nogil=True, cache=True, error_model="numpy")
def march_cpu(
    values: np.ndarray,
    inside: np.ndarray,
    level: float,
    is_closed: bool,
    frame: np.ndarray,
    planes: tuple[int, int],
    starts: np.ndarray,
    spread: np.ndarray,
    cases: tuple[np.ndarray, np.ndarray, np.ndarray],
    vertices: np.ndarray,
    faces: np.ndarray,
) -> None:
    """Vertices (z, y, x) and faces of the planes from the first to before the last.

    `frame` (3, 3) holds voxel size, origin and number of voxels of each axis.
    `starts` (n_z, n_y + 1, 2) says where the vertices and triangles of each row begin; `cases` holds the number of
    triangles of each of 256 cells, the edges that they join, and (dz, dy, dx, axis) of each edge.
    """
    n_z, n_y, n_x = inside.shape
    n_triangles, corners, edges = cases
    words = np.zeros(n_x // _EIGHT + 2, dtype=np.uint64)
    quads = words.view(np.uint8)
    ids = np.empty((2, 3, n_y, n_x), dtype=faces.dtype)
    first, last = planes
    _place_plane(
        values, inside, level, is_closed, frame, first, starts, words, ids[first & 1], vertices, True
    )
    for z in range(first, last):
        if z == n_z - 1:
            break
        above = ids[(z + 1) & 1]
        _place_plane(
            values, inside, level, is_closed, frame, z + 1, starts, words, above, vertices, z + 1 < last
        )
        for y in range(n_y - 1):
            number = starts[z, y, 1]
            if number == starts[z, y + 1, 1]:
                continue
            _fill_quads(inside, z, y, quads)
            for i in range((n_x + _EIGHT - 1) // _EIGHT):
                if _is_plain(words, quads, i):
                    continue
                for x in range(_EIGHT * i, min(_EIGHT * i + _EIGHT, n_x - 1)):
                    case = spread[quads[x]] | (spread[quads[x + 1]] << 1)
                    for t in range(n_triangles[case]):
                        for corner in range(3):
                            edge = edges[corners[case, t, corner]]
                            faces[number, corner] = ids[(z + edge[0]) & 1, edge[3], y + edge[1], x + edge[2]]
                        number += 1
