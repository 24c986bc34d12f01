"""Rigidity of a network as a framework of bars that turn freely at its nodes."""

from __future__ import annotations

import numpy as np
import pandas as pd

from tomo3d import tables
from tomo3d.compute import rigidity as frameworks
from tomo3d.graph._framework import Framework
from tomo3d.types import SpatialGraph

_MOST_NODES = 3000  # dense singular vectors: 9000 unknowns, 650 MB, minutes


def rigidity(graph: SpatialGraph) -> pd.DataFrame:
    """Count and rank of a network as bars and joints: how many motions cost nothing, how many bars are one too many.

    Parameters
    ----------
    graph : SpatialGraph
        Each branch is a straight bar between its nodes; parallel branches are several bars, loops none.

    Returns
    -------
    DataFrame
        One row of `tomo3d.tables.RIGIDITY`.

    Raises
    ------
    ValueError
        If two nodes with a branch between them lie at one place, or a position is not finite.

    Notes
    -----
    In three dimensions and at the given positions [1]_: floppy modes = 3 N - motions of the whole - rank, these
    motions being 3 for one node, 5 for nodes on a line, else 6; states of self-stress = E - rank. The count 3 N - 6 - E
    is an estimate, the rank is the truth: a special position, or a part with bars to spare, makes them differ. A motion
    counts as floppy if it changes no bar by more than 1e-6 of itself. Networks of mean degree 3 are
    floppy as bars whatever their strength; `stiffness` with rigid joints says how strong they are.

    References
    ----------
    .. [1] Calladine, Int. J. Solids Struct. 14 (1978) 161-172, doi:10.1016/0020-7683(78)90052-5
    """
    positions, ends = _bars(graph)
    n_nodes, n_bars = len(positions), len(ends)
    rank = frameworks.rank(positions, ends)
    n_floppy = 3 * n_nodes - frameworks.n_whole_motions(positions) - rank
    row = {
        "n_nodes": n_nodes,
        "n_branches": n_bars,
        "maxwell_count": 3 * n_nodes - 6 - n_bars,
        "rank": rank,
        "n_floppy_modes": n_floppy,
        "floppy_fraction": n_floppy / (3 * n_nodes) if n_nodes else 0.0,
        "n_self_stress_states": n_bars - rank,
    }
    return tables.check(pd.DataFrame([row]), tables.RIGIDITY)


def floppy_modes(graph: SpatialGraph, *, n_modes: int | None = None) -> pd.DataFrame:
    """Motions of a network that change the length of no branch, without those of the whole.

    Parameters
    ----------
    graph : SpatialGraph
        As in `rigidity`; at most 3000 nodes.
    n_modes : int, optional
        How many. Default: all.

    Returns
    -------
    DataFrame
        Rows of `tomo3d.tables.FLOPPY_MODES`, node by node, motion by motion. The motions are orthogonal to each
        other and to the motions of the whole; within the space that they span their choice is free.

    Raises
    ------
    ValueError
        As `rigidity`; and if there are more than 3000 nodes, or `n_modes` is negative.
    """
    positions, ends = _bars(graph)
    if len(positions) > _MOST_NODES:
        raise ValueError(
            f"floppy modes are found for up to {_MOST_NODES} nodes, got {len(positions)}. "
            "rigidity counts them at any size; cut a window to see them."
        )
    if n_modes is not None and n_modes < 0:
        raise ValueError(f"n_modes must not be negative, got {n_modes}.")
    modes = frameworks.null_space(positions, ends)[:n_modes]
    n = len(modes)
    names = graph.nodes["node"].to_numpy()
    table = pd.DataFrame({"mode": np.repeat(np.arange(n), len(names)), "node": np.tile(names, n)})
    for axis, name in enumerate("zyx"):
        table[f"move_{name}"] = modes[:, :, axis].ravel()
    return table


def _bars(graph: SpatialGraph) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the joints and ends of the bars."""
    framework = Framework.of(graph)
    is_bar = ~framework.is_loop
    ends, chords = framework.ends[is_bar], framework.chords_nm[is_bar]
    if len(chords) and chords.min() <= 0:
        a, b = ends[int(chords.argmin())]
        names = graph.nodes["node"].to_numpy()
        raise ValueError(
            f"a bar must have a length; nodes {names[a]} and {names[b]} are joined and lie at one place. Merge them."
        )
    scale = float(chords.mean()) if len(chords) else 1.0
    return framework.positions_nm / scale, ends
