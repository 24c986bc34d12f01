"""Networks: nodes, branches, and contacts of objects."""

from __future__ import annotations

from tomo3d.tables._schema import Column, Schema

GRAPH_NODES: Schema = (
    Column("node", "integer", "", "number of the node, from 0"),
    Column("z_nm", "number", "nm", "position along z, the origin of the volume included"),
    Column("y_nm", "number", "nm", "position along y"),
    Column("x_nm", "number", "nm", "position along x"),
    Column("degree", "integer", "", "ends of branches at the node; a loop has two"),
    Column("radius_nm", "number", "nm", "of the largest ball there; of the strut, where it ends freely"),
    Column("touches_border", "flag", "", "whether the ball reaches the border of the volume"),
)

GRAPH_BRANCHES: Schema = (
    Column("branch", "integer", "", "number of the branch, from 0"),
    Column("node_a", "integer", "", "node where its line begins"),
    Column("node_b", "integer", "", "node where its line ends"),
    Column("length_nm", "number", "nm", "length of the centre line"),
    Column("chord_nm", "number", "nm", "straight way between its nodes; 0 for a loop"),
    Column("tortuosity", "number", "", "length over chord; nan for a loop"),
    Column("mean_width_nm", "number", "nm", "mean along the line, clear of junctions, of the width: the diameter of "
           "the circle with the area of the cross-section"),
    Column("minimum_width_nm", "number", "nm", "least width, clear of junctions"),
    Column("volume_nm3", "number", "nm^3", "of the voxels that are nearer to this branch than to any other"),
    Column("curvature_per_nm", "number", "1/nm", "angle that the line turns by, in radians, over its length"),
    Column("touches_border", "flag", "", "whether one of its voxels lies at the border of the volume"),
)  # fmt: skip

CONTACT_NODES: Schema = (
    Column("node", "integer", "", "number of the object: its label"),
    Column("z_nm", "number", "nm", "position of the centroid along z, the origin of the volume included"),
    Column("y_nm", "number", "nm", "position of the centroid along y"),
    Column("x_nm", "number", "nm", "position of the centroid along x"),
    Column("degree", "integer", "", "objects that it touches"),
    Column("radius_nm", "number", "nm", "of the ball of the same volume"),
    Column("volume_nm3", "number", "nm^3", "volume of the object"),
    Column("touches_border", "flag", "", "whether one of its voxels lies at the border of the volume"),
)

CONTACTS: Schema = (
    Column("branch", "integer", "", "number of the contact, from 0"),
    Column("node_a", "integer", "", "one object, the one with the lower label"),
    Column("node_b", "integer", "", "the other object"),
    Column("length_nm", "number", "nm", "way from centroid to centroid through the middle of the contact"),
    Column("area_nm2", "number", "nm^2", "area of the contact, by the Crofton formula over 13 directions"),
    Column("touches_border", "flag", "", "whether the contact reaches the border of the volume"),
)
