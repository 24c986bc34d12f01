"""Geometry of triangle meshes: areas, borders, what they enclose, and how they bend as polyhedra.

Positions are (z, y, x); in right-handed (x, y, z) the corners of a face run counter-clockwise as seen from outside.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


def area_vectors(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Outward normal of each face, as long as its area: (n_faces, 3), (z, y, x)."""
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    # reversing (x, y, z) turns the sign of a cross product
    return np.asarray(-0.5 * np.cross(b - a, c - a))


def face_areas(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Area of each face, (n_faces,)."""
    return np.asarray(np.linalg.norm(area_vectors(vertices, faces), axis=1))


def vertex_areas(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """A third of the area of the faces at each vertex, (n_vertices,)."""
    thirds = np.repeat(face_areas(vertices, faces) / 3.0, 3)
    return np.bincount(faces.ravel(), weights=thirds, minlength=len(vertices))


def vertex_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Unit normals, outward, (n_vertices, 3), means over the faces by area; (0, 0, 0) at a vertex without a face."""
    vectors = np.repeat(area_vectors(vertices, faces), 3, axis=0)
    total = np.stack(
        [np.bincount(faces.ravel(), vectors[:, axis], len(vertices)) for axis in range(3)], axis=1
    )
    length = np.linalg.norm(total, axis=1, keepdims=True)
    return np.divide(total, length, out=np.zeros_like(total), where=length > 0)


def enclosed_volume(vertices: np.ndarray, faces: np.ndarray) -> float:
    """Volume inside a closed surface."""
    middle = vertices.mean(axis=0)
    a = vertices[faces].mean(axis=1) - middle
    return float(np.einsum("ij,ij->", a, area_vectors(vertices, faces)) / 3.0)


@dataclass(frozen=True, eq=False)
class Edges:
    """The edges of a mesh, each once.

    Attributes
    ----------
    ends : ndarray of int, shape (n_edges, 2)
        Vertices.
    n_faces : ndarray of int, shape (n_edges,)
        Faces at it: 2, 1 at an open border.
    first, second : ndarray of int, shape (n_edges,)
        Two of the faces; the same where there is one.
    """

    ends: np.ndarray
    n_faces: np.ndarray
    first: np.ndarray
    second: np.ndarray


def edges_of(faces: np.ndarray) -> Edges:
    """The edges of a mesh."""
    sides = np.sort(faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2).astype(np.int64), axis=1)
    key = sides[:, 0] * (int(faces.max(initial=0)) + 1) + sides[:, 1]
    order = np.argsort(key, kind="stable")
    is_first = np.empty(len(key), dtype=bool)
    is_first[:1] = True
    np.not_equal(key[order][1:], key[order][:-1], out=is_first[1:])
    starts = np.flatnonzero(is_first)
    n_faces = np.diff(starts, append=len(key))
    owner = order // 3
    return Edges(sides[order[starts]], n_faces, owner[starts], owner[starts + n_faces - 1])


def is_on_open_edge(edges: Edges, n_vertices: int) -> np.ndarray:
    """Whether each vertex lies at the end of an edge with one face, (n_vertices,)."""
    flags = np.zeros(n_vertices, dtype=bool)
    flags[edges.ends[edges.n_faces == 1]] = True
    return flags


def euler_characteristic(faces: np.ndarray, edges: Edges) -> int:
    """Vertices less edges plus faces: 2 - 2 genus for each closed piece."""
    return int(len(np.unique(faces)) - len(edges.ends) + len(faces))


def n_pieces(faces: np.ndarray) -> int:
    """Number of connected pieces of a mesh."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    used, number = np.unique(faces, return_inverse=True)
    number = number.reshape(faces.shape)
    rows, columns = number[:, [0, 1]].ravel(), number[:, [1, 2]].ravel()
    graph = coo_array((np.ones(len(rows), dtype=np.int8), (rows, columns)), shape=(len(used), len(used)))
    return int(connected_components(graph, directed=False)[0])


def angle_deficits(vertices: np.ndarray, faces: np.ndarray, on_open_edge: np.ndarray) -> np.ndarray:
    """Integral of the Gaussian curvature about each vertex of the polyhedron, (n_vertices,), in radians.

    2 pi less the angles of its faces; pi less them at an open edge, where it is the turn of the border. Their sum is
    2 pi times the Euler characteristic, exactly, for every mesh (Gauss and Bonnet).
    """
    total = np.zeros(len(vertices))
    for i in range(3):
        here, left, right = (vertices[faces[:, (i + k) % 3]] for k in range(3))
        a, b = left - here, right - here
        sine = np.linalg.norm(np.cross(a, b), axis=1)
        angle = np.arctan2(sine, np.einsum("ij,ij->i", a, b))
        total += np.bincount(faces[:, i], weights=angle, minlength=len(vertices))
    whole = np.where(on_open_edge, math.pi, 2.0 * math.pi)
    whole[np.bincount(faces.ravel(), minlength=len(vertices)) == 0] = 0.0
    return np.asarray(whole - total)


def mean_curvature_integral(vertices: np.ndarray, faces: np.ndarray, edges: Edges) -> float:
    """Integral of the mean curvature over the polyhedron: half of length times turn, summed over its inner edges.

    Exact for a polyhedron (Steiner); 4 pi r for a ball of radius r.
    """
    normals = area_vectors(vertices, faces)
    lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    normals = np.divide(normals, lengths, out=np.zeros_like(normals), where=lengths > 0)
    inner = edges.n_faces == 2
    one, other = edges.first[inner], edges.second[inner]
    a, b = normals[one], normals[other]
    along = vertices[edges.ends[inner, 1]] - vertices[edges.ends[inner, 0]]
    turn = np.arctan2(np.linalg.norm(np.cross(a, b), axis=1), np.einsum("ij,ij->i", a, b))
    # convex where the middle of one face lies below the plane of the other
    apart = vertices[faces[other]].mean(axis=1) - vertices[faces[one]].mean(axis=1)
    sign = -np.sign(np.einsum("ij,ij->i", apart, a))
    return float(0.5 * (np.linalg.norm(along, axis=1) * turn * sign).sum())


def clipped(
    vertices: np.ndarray, faces: np.ndarray, height: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The part of a mesh where a height, (n_vertices,), linear on each face, is not negative.

    Returns vertices, faces and the weights that made each vertex: rows (a, b, share of b).
    """
    keep = height >= 0
    n_kept = keep[faces].sum(axis=1)
    whole = faces[n_kept == 3]
    pieces, ends = [whole], list[np.ndarray]()
    n_vertices = len(vertices)
    for count in (1, 2):
        part = faces[n_kept == count]
        # turn each face so that its odd corner comes first
        odd = np.argmax(keep[part] == (count == 1), axis=1)
        a, b, c = (part[np.arange(len(part)), (odd + k) % 3] for k in range(3))
        n_ends = sum(map(len, ends))
        ab = n_vertices + n_ends + np.arange(len(part))
        ac = ab + len(part)
        ends += [np.stack([a, b], axis=1), np.stack([a, c], axis=1)]
        if count == 1:
            pieces.append(np.stack([a, ab, ac], axis=1))
        else:
            pieces += [np.stack([ab, b, c], axis=1), np.stack([ab, c, ac], axis=1)]
    cuts = np.sort(np.concatenate(ends), axis=1)
    unique, number = np.unique(cuts, axis=0, return_inverse=True)
    h0, h1 = height[unique[:, 0]], height[unique[:, 1]]
    share = np.divide(h0, h0 - h1, out=np.zeros(len(unique)), where=h0 != h1)
    own = np.arange(n_vertices)
    weights = np.concatenate(
        [np.stack([own, own, np.zeros(n_vertices)], axis=1), np.column_stack([unique, share])]
    )
    merged = np.concatenate([own, n_vertices + number.ravel()])
    joined = merged[np.concatenate(pieces)]
    used, renumbered = np.unique(joined, return_inverse=True)
    weights = weights[used]
    a, b = (vertices[weights[:, i].astype(np.int64)] for i in range(2))
    return a + weights[:, 2:] * (b - a), renumbered.reshape(joined.shape), weights
