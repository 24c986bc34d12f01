"""A measured network beside a known one."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from scipy.optimize import linear_sum_assignment

from tomo3d import tables
from tomo3d.types import SpatialGraph


def compare_networks(truth: SpatialGraph, measured: SpatialGraph, *, reach_nm: float) -> pd.DataFrame:
    """Nodes, branches, lengths and widths of a measured network beside the true ones.

    Parameters
    ----------
    truth, measured : SpatialGraph
        In one frame.
    reach_nm : float
        A node is found if a measured one lies within this; each measured one stands for one.

    Returns
    -------
    pandas.DataFrame
        Columns of `tables.COMPARISON`. nodes and branches (numbers); nodes_found; branches_found, those whose two
        nodes were found and are joined by a measured branch that no other stands for; branches_spurious, the rest
        (truth 0); total_length (nm); of the branches found, length_error_mean and width_error_mean (nm, of |measured
        - truth|; truth 0) and width_error_largest.

    Raises
    ------
    ValueError
        If `reach_nm` is not positive.
    """
    if not (math.isfinite(reach_nm) and reach_nm > 0):
        raise ValueError(f"reach_nm must be a positive length in nm, got {reach_nm:g} nm.")
    pairs = matched_branches(truth, measured, reach_nm)
    n_nodes = len(matched_nodes(truth, measured, reach_nm))
    one, two = truth.branches.iloc[pairs[:, 0]], measured.branches.iloc[pairs[:, 1]]
    lengths = np.abs(two["length_nm"].to_numpy() - one["length_nm"].to_numpy())
    widths = np.abs(two["mean_width_nm"].to_numpy() - one["mean_width_nm"].to_numpy())
    some = len(pairs) > 0
    rows = [
        ("nodes", len(measured.nodes), len(truth.nodes), ""),
        ("branches", len(measured.branches), len(truth.branches), ""),
        ("nodes_found", n_nodes, len(truth.nodes), ""),
        ("branches_found", len(pairs), len(truth.branches), ""),
        ("branches_spurious", len(measured.branches) - len(pairs), 0, ""),
        ("total_length", measured.branches["length_nm"].sum(), truth.branches["length_nm"].sum(), "nm"),
        ("length_error_mean", lengths.mean() if some else math.nan, 0, "nm"),
        ("width_error_mean", widths.mean() if some else math.nan, 0, "nm"),
        ("width_error_largest", widths.max() if some else math.nan, 0, "nm"),
    ]
    table = pd.DataFrame(
        [
            {
                "quantity": name,
                "measured": float(value),
                "truth": float(known),
                "error": float(value) - float(known),
                "error_percent": 100.0 * (float(value) - float(known)) / float(known) if known else math.nan,
                "unit": unit,
            }
            for name, value, known, unit in rows
        ],
        columns=tables.names(tables.COMPARISON),
    )
    return tables.check(table, tables.COMPARISON)


def matched_nodes(truth: SpatialGraph, measured: SpatialGraph, reach_nm: float) -> dict[int, int]:
    """Measured node that stands for each true one within reach, so that the ways between add up to least."""
    names = ["z_nm", "y_nm", "x_nm"]
    known, found = truth.nodes[names].to_numpy(float), measured.nodes[names].to_numpy(float)
    gaps = np.linalg.norm(known[:, None] - found[None], axis=2)
    rows, columns = linear_sum_assignment(np.where(gaps <= reach_nm, gaps, 1e3 * (reach_nm + 1.0)))
    near = gaps[rows, columns] <= reach_nm
    one, two = truth.nodes["node"].to_numpy(), measured.nodes["node"].to_numpy()
    return {int(one[a]): int(two[b]) for a, b in zip(rows[near], columns[near], strict=True)}


def matched_branches(truth: SpatialGraph, measured: SpatialGraph, reach_nm: float) -> np.ndarray:
    """Rows (true, measured) of branches that join the same nodes, (n, 2); of several, those nearest in length."""
    stands_for = matched_nodes(truth, measured, reach_nm)
    by_ends: dict[frozenset[int], list[int]] = {}
    for row, (a, b) in enumerate(measured.branches[["node_a", "node_b"]].to_numpy()):
        by_ends.setdefault(frozenset((int(a), int(b))), []).append(row)
    lengths = measured.branches["length_nm"].to_numpy()
    found = []
    known = truth.branches[["node_a", "node_b", "length_nm"]].itertuples(index=False)
    for row, (a, b, length_nm) in enumerate(known):
        if int(a) not in stands_for or int(b) not in stands_for:
            continue
        rivals = by_ends.get(frozenset((stands_for[int(a)], stands_for[int(b)])), [])
        if rivals:
            best = min(rivals, key=lambda other: abs(lengths[other] - length_nm))
            rivals.remove(best)
            found.append((row, best))
    return np.array(found, dtype=np.int64).reshape(-1, 2)
