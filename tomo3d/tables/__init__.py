"""Schema of every table that the package returns: column, kind, unit, meaning.

There are two kinds of table, both pandas: objects (one row each, units in the
column names) and summaries (one quantity a row, with its unit and interval).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from tomo3d.tables._alignment import (
    ALIGNMENT,
    BEAD_TRACKS,
    BEADS,
    LOCAL_MODELS,
    LOCAL_SHIFTS,
    LOCAL_TRACKS,
    PATCH_TRACKS,
    POINT_POSITIONS,
    POINTS,
    THINNING,
    TRACK_RESIDUALS,
    TRACKS,
    TRACKS_LEFT_OUT,
    VIEW_PARAMETERS,
)
from tomo3d.tables._films import EDGE_WIDTHS, THICKNESS_BY_ANGLE
from tomo3d.tables._graph_numbers import (
    CENTRALITIES,
    DISPLACEMENTS,
    ENERGIES,
    FLOPPY_MODES,
    FLOWS,
    PRESSURES,
    RANK_CORRELATIONS,
    RIGIDITY,
)
from tomo3d.tables._graphs import CONTACT_NODES, CONTACTS, GRAPH_BRANCHES, GRAPH_NODES
from tomo3d.tables._intervals import BIAS
from tomo3d.tables._particles import DISPERSION, INSERTED, PARTICLE_SIZES, PARTICLES
from tomo3d.tables._phases import CHORDS, CORRELATION, OBJECTS, PATHS, PERCOLATION, SIZES, TRANSPORT
from tomo3d.tables._quality import AGREEMENT, DIRECTIONAL_SHELLS, DIRECTIONS, LEFT_OUT, MASKED_SHELLS, SHELLS
from tomo3d.tables._schema import Column, Schema, check, describe, names
from tomo3d.tables._summaries import COMPARISON, SUMMARY
from tomo3d.tables._surfaces import INTERFACE_AREAS, SURFACE_SUMMARY
from tomo3d.tables._views import FRAME_PAIRS, FRAME_PATCHES, FRAMES, REPEATED_RINGS, REPEATED_VIEWS, VIEWS

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "AGREEMENT",
    "ALIGNMENT",
    "BEADS",
    "BEAD_TRACKS",
    "BIAS",
    "CENTRALITIES",
    "CHORDS",
    "COMPARISON",
    "CONTACTS",
    "CONTACT_NODES",
    "CORRELATION",
    "DIRECTIONAL_SHELLS",
    "DIRECTIONS",
    "DISPERSION",
    "DISPLACEMENTS",
    "EDGE_WIDTHS",
    "ENERGIES",
    "FLOPPY_MODES",
    "FLOWS",
    "FRAMES",
    "FRAME_PAIRS",
    "FRAME_PATCHES",
    "GRAPH_BRANCHES",
    "GRAPH_NODES",
    "INSERTED",
    "INTERFACE_AREAS",
    "LEFT_OUT",
    "LOCAL_MODELS",
    "LOCAL_SHIFTS",
    "LOCAL_TRACKS",
    "MASKED_SHELLS",
    "OBJECTS",
    "PARTICLES",
    "PARTICLE_SIZES",
    "PATCH_TRACKS",
    "PATHS",
    "PERCOLATION",
    "POINTS",
    "POINT_POSITIONS",
    "PRESSURES",
    "RANK_CORRELATIONS",
    "REPEATED_RINGS",
    "REPEATED_VIEWS",
    "RIGIDITY",
    "SHELLS",
    "SIZES",
    "SUMMARY",
    "SURFACE_SUMMARY",
    "THICKNESS_BY_ANGLE",
    "THINNING",
    "TRACKS",
    "TRACKS_LEFT_OUT",
    "TRACK_RESIDUALS",
    "TRANSPORT",
    "VIEWS",
    "VIEW_PARAMETERS",
    "Column",
    "Schema",
    "check",
    "describe",
    "names",
    "summary",
    "surface_summary",
]


def summary(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """A summary table; `low`, `high` and `interval` may be left out of a row."""
    import pandas as pd

    filled = [{"low": math.nan, "high": math.nan, "interval": "", **row} for row in rows]
    return check(pd.DataFrame(filled, columns=names(SUMMARY)), SUMMARY)


def surface_summary(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """A summary table with the estimator of each value; `low`, `high` and `interval` may be left out of a row."""
    import pandas as pd

    filled = [{"low": math.nan, "high": math.nan, "interval": "", **row} for row in rows]
    return check(pd.DataFrame(filled, columns=names(SURFACE_SUMMARY)), SURFACE_SUMMARY)
