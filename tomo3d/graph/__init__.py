"""Networks from images: skeletons that keep topology, and graphs whose nodes, lengths and widths are in nm."""

from tomo3d.graph._contact_graph import contact_graph
from tomo3d.graph._networkx import from_networkx, to_networkx
from tomo3d.graph._skeleton_graph import skeleton_graph
from tomo3d.graph._skeletonize import medial_surface, skeletonize
from tomo3d.graph._tables import branch_table, node_table

__all__ = [
    "branch_table",
    "contact_graph",
    "from_networkx",
    "medial_surface",
    "node_table",
    "skeleton_graph",
    "skeletonize",
    "to_networkx",
]
