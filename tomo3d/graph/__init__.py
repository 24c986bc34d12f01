"""Networks: skeletons that keep topology, graphs in nm, and what their connectivity does: rigidity, stiffness, flow."""

from tomo3d.graph._centralities import centralities
from tomo3d.graph._contact_graph import contact_graph
from tomo3d.graph._descriptors import descriptors, descriptors_in_windows
from tomo3d.graph._loads import Indentation, UniformStrain
from tomo3d.graph._networkx import from_networkx, to_networkx
from tomo3d.graph._rank_correlation import rank_correlation
from tomo3d.graph._rigidity import floppy_modes, rigidity
from tomo3d.graph._skeleton_graph import skeleton_graph
from tomo3d.graph._skeletonize import medial_surface, skeletonize
from tomo3d.graph._stiffness import Stiffness, stiffness
from tomo3d.graph._tables import branch_table, node_table
from tomo3d.graph._transport import Transport, transport
from tomo3d.graph._windows import windows

__all__ = [
    "Indentation",
    "Stiffness",
    "Transport",
    "UniformStrain",
    "branch_table",
    "centralities",
    "contact_graph",
    "descriptors",
    "descriptors_in_windows",
    "floppy_modes",
    "from_networkx",
    "medial_surface",
    "node_table",
    "rank_correlation",
    "rigidity",
    "skeleton_graph",
    "skeletonize",
    "stiffness",
    "to_networkx",
    "transport",
    "windows",
]
