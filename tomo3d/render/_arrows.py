"""Motions of the nodes of a network as arrows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from tomo3d.types import SpatialGraph

_MOVES = (("move_z", "move_y", "move_x"), ("move_z_nm", "move_y_nm", "move_x_nm"))


@dataclass(frozen=True, eq=False)
class Arrows:
    """Motions of nodes as they are drawn: feet and vectors (n, 3) in nm, (z, y, x), and what the legend says."""

    feet: np.ndarray
    vectors: np.ndarray
    words: str

    @classmethod
    def of(cls, graph: SpatialGraph, moves: pd.DataFrame, mode: int, longest_nm: float) -> Arrows:
        """Arrows of one motion, the longest as long as given."""
        if "mode" in moves:
            known = sorted(set(moves["mode"]))
            if mode not in known:
                raise ValueError(f"mode must be one of the {len(known)} motions of the table, got {mode}.")
            moves = moves[moves["mode"] == mode]
        names = [name for name in _MOVES if set(name) <= set(moves.columns)]
        if "node" not in moves or not names:
            raise ValueError(
                f"moves must have the columns node and {', '.join(_MOVES[0])} (or {', '.join(_MOVES[1])}), "
                f"got {list(moves.columns)}."
            )
        place = graph.nodes.set_index("node")[["z_nm", "y_nm", "x_nm"]]
        moves = moves[moves["node"].isin(place.index)]
        if not len(moves):
            raise ValueError("moves must know nodes of the network, got none of them.")
        vectors = moves[list(names[0])].to_numpy(dtype=np.float64)
        is_known = np.isfinite(vectors).all(axis=1)
        vectors, feet = vectors[is_known], place.loc[moves["node"]].to_numpy(dtype=np.float64)[is_known]
        largest = float(np.linalg.norm(vectors, axis=1).max(initial=0.0))
        times = longest_nm / largest if largest > 0 else 1.0
        words = f"floppy mode {mode}" if names[0] == _MOVES[0] else f"move, {times:.3g} times"
        return cls(feet, times * vectors, words)

    def mesh(self) -> Any:
        """All arrows as one mesh."""
        import pyvista

        lengths = np.linalg.norm(self.vectors, axis=1)
        seen = lengths > 0.02 * max(float(lengths.max(initial=0.0)), 1e-30)
        cloud = pyvista.PolyData(self.feet[seen][:, ::-1].copy())
        cloud["vector"] = self.vectors[seen][:, ::-1].copy()
        arrow = pyvista.Arrow(tip_length=0.3, tip_radius=0.09, shaft_radius=0.035)
        return cloud.glyph(orient="vector", scale="vector", factor=1.0, geom=arrow)
