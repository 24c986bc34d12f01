"""The network of a mask: nodes, branches with lengths and widths, and centre lines between voxels."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from tomo3d import tables
from tomo3d.compute.canonical_frame import Box, Frame, bounding_box, canonical_frame
from tomo3d.compute.kernels import spread as spread_kernels
from tomo3d.compute.thinning import neighbour_steps, thinned, without_cavities
from tomo3d.compute.voxel_list import Bits, depths_of
from tomo3d.graph._centre_lines import centre_lines
from tomo3d.graph._line import Line, Structure
from tomo3d.graph._lines import path_lengths, total_turn
from tomo3d.graph._network import Network
from tomo3d.graph._split_junctions import join_split_junctions
from tomo3d.graph._voxel_graph import voxel_graph
from tomo3d.types import Labels, SpatialGraph

_CHAMFER = 5  # steps of a way through the shortest edge of a voxel


def skeleton_graph(mask: Labels, *, spur_radii: float = 2.0, merge_radii: float = 2.0) -> SpatialGraph:
    """Network of a mask: junctions and free ends are nodes, the struts between them branches with centre lines.

    Parameters
    ----------
    mask : Labels, shape (n_z, n_y, n_x)
        Structure; every non-zero voxel belongs to it. Cavities (background that does not reach the border of the
        volume by faces) are filled first: a hollow strut is one strut. The record says how many voxels that were.
    spur_radii : float
        A branch that ends freely at one end, and is shorter than so many radii of the largest ball at its junction,
        is a spur of the surface and is cut off. 0 keeps all.
    merge_radii : float
        Junctions are one if the way between them is shorter than so many radii of the larger one. 0 merges only
        voxels that touch.

    Returns
    -------
    SpatialGraph
        Nodes and branches with the columns of `tables.GRAPH_NODES` and `tables.GRAPH_BRANCHES`; lines, and the width
        at each of their points, nan within junctions, where a cross-section has no meaning. A mask turned by 90 deg
        or mirrored gives the same network, turned or mirrored. The record tells the parameters, the field
        (`field_nm`: low and high corner), and what was filled, cut and merged.

    Raises
    ------
    ValueError
        If the mask is empty, or a number of radii is negative.

    Notes
    -----
    The curve skeleton (see `skeletonize`) keeps every piece and tunnel, so that nodes minus branches is the Euler
    number of the filled mask, but for tunnels that voxels of one junction surround. Its chains are moved to the
    centroids of the cross-sections at right angles, taken by 16 to 24 rays to the boundary half way between voxels, and
    smoothed (Whittaker's smoother; Eilers, Anal. Chem. 75 (2003) 3631, doi:10.1021/ac034173t) over about six voxels
    and a diameter. Junctions lie where their lines meet. A line ends freely in the middle of a cap: where a ball of
    the strut's radius holds as many voxels of the end as the mask; or at the border of the volume, where the strut
    goes on.

    Width is the diameter of the circle with the area of the cross-section. A ring without a junction has one node,
    at its deepest voxel; a piece shorter than its radius is one node without a branch. Pieces that touch by edges or
    corners are one.

    Lengths of capsules, helices and rings are right to 3 % from 24 voxels and a radius of 2 on. At a radius of 1.5 the
    same mask may be that of capsules whose lengths differ by 1.7 voxels: to 4.5 % from 24 voxels, to 3 % from 36 on.
    Widths of struts are right to half a voxel.
    """
    for name, value in (("spur_radii", spur_radii), ("merge_radii", merge_radii)):
        if not (math.isfinite(value) and value >= 0):
            raise ValueError(f"{name} must be a number of radii, 0 or more, got {value:g}.")
    inside = np.asarray(mask.data) != 0
    box = bounding_box(inside)
    if box is None:
        raise ValueError("the mask must have at least one voxel to have a network, got none.")
    frame = canonical_frame(inside[box], mask.voxel_size_nm)
    part = frame.turned(inside[box])
    size = frame.sizes(mask.voxel_size_nm)
    filled = without_cavities(part)
    depths = depths_of(filled, size)
    is_border = _border_faces(box, mask.data.shape, frame)
    structure = Structure(filled.view(np.uint8), depths, np.array(size), is_border)
    network = voxel_graph(thinned(depths, size), depths, np.array(size))
    made = {
        "n_cavity_voxels": int(np.count_nonzero(filled) - np.count_nonzero(part)),
        "spur_radii": spur_radii,
        "merge_radii": merge_radii,
        "n_spurs": network.prune(spur_radii),
        "n_merged": network.merge(merge_radii),
        "n_joined": join_split_junctions(
            network, structure.radius_at, structure.within, min(size), merge_radii
        )
        if merge_radii
        else 0,
    }
    made["n_closed"] = network.n_closed
    sources = _sources(network, size)  # before the nodes move
    with ThreadPoolExecutor(1) as beside:
        share = beside.submit(_parts, depths.mask, part, is_border, sources, size)
        lines = centre_lines(network, structure)
        volumes, on_border = share.result()
    place = _Place.of(mask, box, frame, part.shape)
    return _graph(network, lines, place, volumes * math.prod(size), on_border, made)


@dataclass(frozen=True)
class _Place:
    """From positions in the frame of a part to those of the volume, and the corners of its field."""

    frame: Frame
    size: np.ndarray  # from the first voxel of the part to the last, along the frame's axes
    first: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @classmethod
    def of(cls, mask: Labels, box: Box, frame: Frame, shape: tuple[int, ...]) -> _Place:
        voxel, origin = np.array(mask.voxel_size_nm), np.array(mask.origin_nm)
        size = (np.array(shape) - 1) * np.array(frame.sizes(mask.voxel_size_nm))
        first = origin + np.array([part.start for part in box]) * voxel
        low = origin - 0.5 * voxel
        return cls(frame, size, first, low, low + np.array(mask.data.shape) * voxel)

    def positions(self, points: np.ndarray) -> np.ndarray:
        """Positions in nm, (n, 3), of points of the part."""
        return self.first + self.frame.positions_back(points, self.size)


def _border_faces(box: Box, shape: tuple[int, ...], frame: Frame) -> np.ndarray:
    """Which faces of a part are the border of the volume, (3, 2) by the frame's axes: first and last index."""
    faces = np.array([(part.start == 0, part.stop == n) for part, n in zip(box, shape, strict=True)])
    turned = faces[list(frame.axes)]
    return np.array([row[::-1] if flip else row for row, flip in zip(turned, frame.is_reversed, strict=True)])


def _sources(network: Network, size: tuple[float, float, float]) -> list[np.ndarray]:
    """Points (n, 3) of the chain of each branch, and of the ends that are its own, in the order of the branches."""
    sources = []
    for number in sorted(network.chains):
        chain = network.chains[number]
        ends = [network.nodes[node].position for node in (chain.a, chain.b) if network.degree(node) < 3]
        points = np.concatenate([chain.points, np.reshape(ends, (-1, 3))])
        points = points if len(points) else network.path(number).mean(axis=0, keepdims=True)
        sources.append(points)
    return sources


def _parts(
    filled: Bits,
    inside: np.ndarray,
    is_border: np.ndarray,
    sources: list[np.ndarray],
    size: tuple[float, float, float],
) -> tuple[np.ndarray, np.ndarray]:
    """Voxels of each branch, and whether one of them lies at the border of the volume, by row.

    A voxel belongs to the branch nearest to it, by the way within the filled mask.
    """
    shape = (filled.shape[0] + 2, filled.shape[1] + 2, 64 * filled.row)
    steps, ways = neighbour_steps(shape, size, 1)
    n_steps = np.maximum(1, (ways / (min(size) / _CHAMFER) + 0.5).astype(np.int64))
    lengths = np.unique(n_steps[steps != 0])
    reached = np.array([sum(1 << k for k in np.flatnonzero((n_steps == n) & (steps != 0))) for n in lengths])
    rows = np.repeat(np.arange(len(sources), dtype=np.int32), [len(points) for points in sources])
    index = np.rint(np.concatenate([np.empty((0, 3)), *sources]) / size).astype(np.int64)
    counted = Bits.of(inside)
    counts, on_border = np.zeros(len(sources), dtype=np.int64), np.zeros(len(sources), dtype=np.bool_)
    spread_kernels.spread_cpu(
        steps, lengths, reached, filled.places(index), rows, filled.words.copy(), counted.words,
        counted.on_faces(is_border), np.uint64(filled.row), np.uint64(filled.plane), counts, on_border,
    )  # fmt: skip
    return counts, on_border


def _graph(
    network: Network,
    lines: dict[int, Line],
    place: _Place,
    volumes_nm3: np.ndarray,
    on_border: np.ndarray,
    made: dict[str, Any],
) -> SpatialGraph:
    """Tables and lines in the frame of the volume."""
    rows, widths = [], []
    points = []
    for row, number in enumerate(sorted(lines)):
        line = lines[number]
        if _is_a_ball(network, number, line):
            _as_a_ball(network, number, line)
            continue
        rows.append(_branch(line, float(volumes_nm3[row]), bool(on_border[row])))
        is_known = line.is_clear & (line.area > 0)
        widths.append(np.where(is_known, 2 * np.sqrt(line.area / math.pi), np.nan))
        points.append(place.positions(line.points))
    numbers = {node: i for i, node in enumerate(sorted(network.nodes))}
    nodes = pd.DataFrame(
        [_node(network, node, number, place) for node, number in numbers.items()],
        columns=tables.names(tables.GRAPH_NODES),
    )
    branches = pd.DataFrame(rows, columns=tables.names(tables.GRAPH_BRANCHES)[1:])
    branches.insert(0, "branch", np.arange(len(branches)))
    if not rows:
        kinds = {"integer": np.int64, "number": np.float64, "flag": np.bool_}
        branches = branches.astype({column.name: kinds[column.kind] for column in tables.GRAPH_BRANCHES})
    for end in ("node_a", "node_b"):
        branches[end] = branches[end].map(numbers).astype(np.int64)
    record = made | {"field_nm": [place.low.tolist(), place.high.tolist()]}
    return SpatialGraph(
        tables.check(nodes, tables.GRAPH_NODES),
        tables.check(branches, tables.GRAPH_BRANCHES),
        points,
        widths_nm=widths,
        record=record,
    )


def _is_a_ball(network: Network, number: int, line: Line) -> bool:
    """Whether a piece of one branch is shorter than its radius."""
    free = network.degree(line.a) == 1 and network.degree(line.b) == 1
    return free and path_lengths(line.points)[-1] < line.radius


def _as_a_ball(network: Network, number: int, line: Line) -> None:
    """Make one node of a piece of one branch."""
    network.remove_chain(number)
    network.remove_node(line.b)
    network.nodes[line.a].position = line.points.mean(axis=0)


def _node(network: Network, node: int, number: int, place: _Place) -> dict[str, Any]:
    known = network.nodes[node]
    z, y, x = (position := place.positions(known.position[None])[0])
    gap = min((position - place.low).min(), (place.high - position).min())
    return {
        "node": number,
        "z_nm": z,
        "y_nm": y,
        "x_nm": x,
        "degree": network.degree(node),
        "radius_nm": known.radius,
        "touches_border": bool(gap <= known.radius),
    }


def _branch(line: Line, volume_nm3: float, touches_border: bool) -> dict[str, Any]:
    length = float(path_lengths(line.points)[-1])
    chord = 0.0 if line.a == line.b else float(np.linalg.norm(line.points[-1] - line.points[0]))
    widths = 2 * np.sqrt(line.area / math.pi)
    # No section is taken outside of the structure, where a smoothed line may run for a point or two.
    known = widths[line.is_clear & (widths > 0)]
    if known.size == 0:
        known = np.array([np.median(widths[widths > 0]) if (widths > 0).any() else math.nan])
    turn = total_turn(line.points, line.is_ring)
    return {
        "node_a": line.a,
        "node_b": line.b,
        "length_nm": length,
        "chord_nm": chord,
        "tortuosity": length / chord if chord > 0 else math.nan,
        "mean_width_nm": float(known.mean()),
        "minimum_width_nm": float(known.min()),
        "volume_nm3": volume_nm3,
        "curvature_per_nm": turn / length if length > 0 else 0.0,
        "touches_border": touches_border,
    }
