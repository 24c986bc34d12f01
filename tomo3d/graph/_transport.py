"""What flows through a network from one face of its field to the other."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.sparse import csgraph

from tomo3d import tables
from tomo3d.compute.dissection import factorised, nested_dissection
from tomo3d.graph._framework import AXES, Framework, at_faces, field_of
from tomo3d.types import SpatialGraph

_PARALLEL = (
    "the widths of all branches must be known: give width_nm, or a network whose branches have mean_width_nm."
)


@dataclass(frozen=True, eq=False)
class Transport:
    """Flow through a network.

    Parameters
    ----------
    summary : pandas.DataFrame
        `tables.SUMMARY`: effective conductivity or permeability, and the conductance from face to face.
    potentials : pandas.DataFrame
        `tables.PRESSURES`, node by node.
    flows : pandas.DataFrame
        `tables.FLOWS`, branch by branch.
    """

    summary: pd.DataFrame
    potentials: pd.DataFrame
    flows: pd.DataFrame


def transport(
    graph: SpatialGraph,
    *,
    kind: Literal["flow", "conduction"] = "flow",
    axis: Literal["z", "y", "x"] = "z",
    width_nm: float | None = None,
) -> Transport:
    """Permeability of a pore network, or conductivity of a conducting one, along an axis.

    Parameters
    ----------
    graph : SpatialGraph
        Branches with `length_nm` and `mean_width_nm`; where the network has widths along its lines they count.
    kind : {"flow", "conduction"}
        Flow: laminar, by Hagen and Poiseuille, pi d^4 / (128 L) a branch (viscosity 1). Conduction of charge, heat or a
        diffusing substance: pi d^2 / (4 L) a branch (conductivity of the material 1).
    axis : {"z", "y", "x"}
    width_nm : float, optional
        Diameter of all branches, in place of theirs.

    Returns
    -------
    Transport
        `summary`: the permeability (nm^2) of the field, or its relative_conductivity (of the material's), and the
        conductance from face to face (nm^3, nm); 0 where no way leads across. Potentials are 1 at nodes of the low
        face, 0 at the high one.

    Raises
    ------
    ValueError
        If a width or a length is not positive or not known, or the field has no volume.

    Notes
    -----
    Kirchhoff's equations. Of a branch whose width varies the resistances of its parts add up. Junctions resist nothing.
    """
    if kind not in ("flow", "conduction"):
        raise ValueError(f"kind must be 'flow' or 'conduction', got {kind!r}.")
    if axis not in AXES:
        raise ValueError(f"axis must be one of {', '.join(AXES)}, got {axis!r}.")
    framework = Framework.of(graph)
    low, high = field_of(graph)
    extent = high - low
    if float(np.prod(extent)) <= 0:
        raise ValueError(f"the field must have a volume, got {np.round(extent, 3)} nm (z, y, x).")
    conductance = _conductances(graph, framework, 4 if kind == "flow" else 2, width_nm)
    number = AXES.index(axis)
    faces = at_faces(graph)[:, number]
    potential = _potentials(framework, conductance, faces[:, 0], faces[:, 1])
    drop = potential[framework.ends[:, 0]] - potential[framework.ends[:, 1]]
    flow = np.nan_to_num(conductance * drop)
    total = _through(framework, flow, faces[:, 0])
    unit = "nm^3" if kind == "flow" else "nm"
    effective = total * extent[number] / float(np.prod(np.delete(extent, number)))
    name, effective_unit = ("permeability", "nm^2") if kind == "flow" else ("relative_conductivity", "")
    n = framework.n_branches
    summary = tables.summary(
        [
            {"quantity": name, "value": effective, "unit": effective_unit, "n": n},
            {"quantity": "conductance", "value": total, "unit": unit, "n": n},
        ]
    )
    potentials = pd.DataFrame({"node": graph.nodes["node"].to_numpy(), "potential": potential})
    flows = pd.DataFrame(
        {"branch": graph.branches["branch"].to_numpy(), "conductance": conductance, "flow": flow}
    )
    return Transport(summary, potentials, tables.check(flows, tables.FLOWS))


def _conductances(
    graph: SpatialGraph, framework: Framework, power: int, width_nm: float | None
) -> np.ndarray:
    """Of each branch, (n_branches,): `power` 4 for flow, 2 for conduction."""
    shape = math.pi / 128 if power == 4 else math.pi / 4
    lengths = framework.lengths_nm
    if len(lengths) and not lengths[~framework.is_loop].min(initial=math.inf) > 0:
        raise ValueError(
            f"lengths of branches must be positive, got {lengths.min():g} nm. Merge nodes at one place."
        )
    if width_nm is not None:
        if not (math.isfinite(width_nm) and width_nm > 0):
            raise ValueError(f"width_nm must be a positive length, got {width_nm:g} nm.")
        widths = np.full(len(lengths), float(width_nm))
    elif "mean_width_nm" in graph.branches:
        widths = graph.branches["mean_width_nm"].to_numpy(dtype=np.float64)
    else:
        raise ValueError(_PARALLEL)
    resistance = lengths / (shape * widths**power)
    if width_nm is None and len(graph.widths_nm):
        for i, (line, along) in enumerate(zip(graph.lines_nm, graph.widths_nm, strict=True)):
            known = np.isfinite(along)
            if known.sum() >= 2:
                steps = np.linalg.norm(np.diff(line, axis=0), axis=1)
                weight = np.r_[steps, 0.0] + np.r_[0.0, steps]
                mean = float((weight[known] / along[known] ** power).sum() / weight[known].sum())
                resistance[i] = lengths[i] * mean / shape
    carries = ~framework.is_loop
    if not (np.isfinite(resistance[carries]) & (resistance[carries] > 0)).all():
        raise ValueError(_PARALLEL)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(carries, 1.0 / resistance, 0.0)


def _potentials(
    framework: Framework, conductance: np.ndarray, at_low: np.ndarray, at_high: np.ndarray
) -> np.ndarray:
    """Potential of each node, 1 at the low face and 0 at the high one; nan of a piece that does not reach both."""
    piece = framework.components()
    crossing = np.intersect1d(piece[at_low], piece[at_high])
    potential = np.full(framework.n_nodes, math.nan)
    in_play = np.isin(piece, crossing)
    potential[in_play & at_high] = 0.0
    potential[in_play & at_low] = 1.0
    free = np.flatnonzero(in_play & ~at_low & ~at_high)
    if free.size == 0:
        return potential
    ends = framework.ends
    links = sparse.coo_array((conductance, (ends[:, 0], ends[:, 1])), shape=(framework.n_nodes,) * 2)
    laplacian = sparse.csr_array(csgraph.laplacian(sparse.csr_array(links + links.T)))
    right = -(laplacian @ np.nan_to_num(potential))[free]
    inner = laplacian[free][:, free]
    place = np.full(framework.n_nodes, -1)
    place[free] = np.arange(free.size)
    order = place[nested_dissection(framework.positions_nm, ends)]
    order = order[order >= 0]
    found = np.empty(free.size)
    found[order] = factorised(inner, order).solve(right[order])
    potential[free] = found
    return potential


def _through(framework: Framework, flow: np.ndarray, at_low: np.ndarray) -> float:
    """What leaves the nodes of the low face."""
    leaves = at_low[framework.ends[:, 0]].astype(np.float64) - at_low[framework.ends[:, 1]]
    return float(leaves @ flow)
