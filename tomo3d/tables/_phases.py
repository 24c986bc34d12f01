"""Phases: transport, paths, percolation, sizes, correlation and chords."""

from __future__ import annotations

from tomo3d.tables._schema import Column, Schema

_AXIS = Column("axis", "text", "", "axis of the volume: z, y or x")

TRANSPORT: Schema = (
    _AXIS,
    Column(
        "tortuosity", "number", "", "mean diffusivity of what is joined to both faces over the effective one"
    ),
    Column("tortuosity_whole", "number", "", "the same with all that conducts, closed parts too"),
    Column(
        "diffusivity", "number", "of the input", "effective diffusivity of the volume; 0 where none crosses"
    ),
    Column("diffusivity_ratio", "number", "", "effective diffusivity over that of the best phase"),
    Column("macmullin_number", "number", "", "one over the diffusivity ratio"),
    Column("volume_fraction", "number", "", "share of the volume that conducts"),
    Column("percolating_fraction", "number", "", "share of the volume that is joined to both faces"),
    Column("flux_mismatch", "number", "", "largest minus least flux through any plane, over the mean"),
    Column("residual", "number", "", "sum of what voxels do not balance, over the flux"),
    Column("n_iterations", "integer", "", "iterations of the solver"),
    Column("n_voxels", "integer", "", "voxels joined to both faces"),
)

PATHS: Schema = (
    _AXIS,
    Column(
        "tortuosity", "number", "", "mean length of the shortest paths between the faces, over their distance"
    ),
    Column("least", "number", "", "of the shortest of them"),
    Column("median", "number", "", "median over the ends"),
    Column("p95", "number", "", "95 % quantile over the ends"),
    Column("reached_fraction", "number", "", "share of the phase at the last face that a path reaches"),
    Column("n_ends", "integer", "", "voxels of the last face that a path reaches"),
)

PERCOLATION: Schema = (
    _AXIS,
    Column("percolates", "flag", "", "whether the phase joins the two faces"),
    Column("percolating_fraction", "number", "", "share of the phase that is joined to both faces"),
    Column("largest_component_fraction", "number", "", "share of the phase in its largest component"),
    Column("n_components", "integer", "", "components of the phase"),
    Column(
        "diameter_nm", "number", "nm", "of the largest ball that crosses from face to face; 0 where none does"
    ),
    Column("connectivity", "integer", "", "neighbours of a voxel that count as joined: 6 or 26"),
)

SIZES: Schema = (
    Column("diameter_nm", "number", "nm", "middle of the bin"),
    Column("from_nm", "number", "nm", "lower end of the bin"),
    Column("to_nm", "number", "nm", "upper end of the bin"),
    Column("density_per_nm", "number", "1/nm", "share of the volume in the bin over its width"),
    Column("density_low", "number", "1/nm", "lower end of the interval; nan where none was made"),
    Column("density_high", "number", "1/nm", "upper end of the interval; nan where none was made"),
    Column(
        "share_wider",
        "number",
        "",
        "share of the volume that is at least as wide as the lower end of the bin",
    ),
    Column("n_voxels", "integer", "", "voxels in the bin"),
)

CORRELATION: Schema = (
    Column("direction", "text", "", "radial: mean over all directions; z, y, x: along the axis"),
    Column("distance_nm", "number", "nm", "mean distance of the pairs"),
    Column("probability", "number", "", "that of two points so far apart one is in each phase"),
    Column("low", "number", "", "lower end of the interval; nan where none was made"),
    Column("high", "number", "", "upper end of the interval; nan where none was made"),
    Column("n_pairs", "number", "", "pairs of voxels"),
)

CHORDS: Schema = (
    _AXIS,
    Column("length_nm", "number", "nm", "length of the chord"),
    Column("n_complete", "integer", "", "chords with both ends in the volume"),
    Column("n_cut", "integer", "", "chords with one end in the volume, at least so long"),
    Column("n_cut_twice", "integer", "", "chords with no end in the volume, at least so long"),
    Column("share", "number", "", "share of chords of this length, those cut once taken as at least so long"),
    Column("survival", "number", "", "share of chords longer than this"),
)

OBJECTS: Schema = (
    Column("object", "integer", "", "number of the object in the labels"),
    Column("n_voxels", "integer", "", "voxels of the object"),
    Column("volume_nm3", "number", "nm^3", "volume"),
    Column("diameter_nm", "number", "nm", "of the ball of the same volume"),
    Column("z_nm", "number", "nm", "centre of mass"),
    Column("y_nm", "number", "nm", "centre of mass"),
    Column("x_nm", "number", "nm", "centre of mass"),
    Column("extent_z_nm", "number", "nm", "edge of its box"),
    Column("extent_y_nm", "number", "nm", "edge of its box"),
    Column("extent_x_nm", "number", "nm", "edge of its box"),
    Column("touches_border", "flag", "", "whether it touches a face of the volume, which may cut it"),
)
