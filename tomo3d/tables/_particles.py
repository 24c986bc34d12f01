"""Particles: one row each, their sizes, how they are spread, and which would have been found."""

from __future__ import annotations

from tomo3d.tables._schema import Column, Schema

PARTICLES: Schema = (
    Column("particle", "integer", "", "number in the labels"),
    Column("n_voxels", "integer", "", "voxels"),
    Column("volume_nm3", "number", "nm^3", "volume by voxel count"),
    Column("diameter_nm", "number", "nm", "diameter of the ball of that volume"),
    Column("z_nm", "number", "nm", "mean of its voxels along the beam"),
    Column("y_nm", "number", "nm", "mean of its voxels along the tilt axis"),
    Column("x_nm", "number", "nm", "mean of its voxels across both"),
    Column("axis_long_nm", "number", "nm", "longest axis of the ellipsoid with its second moments"),
    Column("axis_middle_nm", "number", "nm", "middle axis"),
    Column("axis_short_nm", "number", "nm", "shortest axis"),
    Column("aspect", "number", "", "longest over shortest axis"),
    Column("area_crofton_nm2", "number", "nm^2", "surface by Crofton's formula in 13 directions"),
    Column("sphericity", "number", "", "surface of the ball of its volume over area_crofton_nm2"),
    Column("touches_border", "flag", "", "whether a voxel lies at the border of the volume"),
    Column(
        "border_weight", "number", "", "how many particles it stands for (Miles-Lantuejoul); 0 at the border"
    ),
    Column(
        "diameter_xy_nm", "number", "nm", "diameter of the fitted blurred ball; nan where none was fitted"
    ),
    Column(
        "elongation_z", "number", "", "length along z over width of the fitted ball, as it is in the volume"
    ),
    Column("contrast", "number", "grey value", "height of the fitted ball above its background"),
    Column("integrated_intensity", "number", "grey value nm^3", "contrast times volume of the fitted ball"),
    Column("z_fit_nm", "number", "nm", "centre of the fitted ball along the beam"),
    Column("y_fit_nm", "number", "nm", "centre of the fitted ball along the tilt axis"),
    Column("x_fit_nm", "number", "nm", "centre of the fitted ball across both"),
    Column("blur_nm", "number", "nm", "standard deviation of the Gaussian that all fitted balls share"),
    Column("fit_residual", "number", "", "r.m.s. of what the fit leaves, over the contrast"),
)

PARTICLE_SIZES: Schema = (
    Column("from_nm", "number", "nm", "lower end of the class"),
    Column("to_nm", "number", "nm", "upper end of the class"),
    Column("n", "integer", "", "particles in it that do not touch the border"),
    Column("share", "number", "", "share of the particles, corrected for the border"),
    Column("low", "number", "", "lower end of the 95 % interval of the share"),
    Column("high", "number", "", "upper end of the 95 % interval of the share"),
)

DISPERSION: Schema = (
    Column("function", "text", "", "g, K or nearest"),
    Column("distance", "text", "", "euclidean or geodesic"),
    Column("r_nm", "number", "nm", "distance between centres"),
    Column("observed", "number", "see function", "of the particles; K in nm^2, the others pure numbers"),
    Column("expected", "number", "see function", "mean of the random placements"),
    Column("low", "number", "see function", "lower end of their global 95 % envelope"),
    Column("high", "number", "see function", "upper end of their global 95 % envelope"),
)

INSERTED: Schema = (
    Column("diameter_nm", "number", "nm", "diameter of the inserted balls"),
    Column("n_inserted", "integer", "", "balls inserted"),
    Column("n_found", "integer", "", "balls found"),
    Column("probability", "number", "", "share found"),
    Column("fitted", "number", "", "probability by the fitted curve"),
    Column(
        "volume_ratio", "number", "", "median volume of what was found over that of the ball; nan without any"
    ),
)
