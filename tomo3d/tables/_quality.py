"""How good a volume is, and how well labels agree."""

from __future__ import annotations

from tomo3d.tables._schema import Column, Schema

SHELLS: Schema = (
    Column("shell", "integer", "", "number of the shell, from 1; frequency zero is left out"),
    Column("frequency_per_nm", "number", "1/nm", "mean frequency of the shell"),
    Column(
        "correlation", "number", "", "Fourier shell correlation, corrected for the mask where there is one"
    ),
    Column("n_voxels", "integer", "", "Fourier voxels in the shell"),
)

MASKED_SHELLS: Schema = (
    *SHELLS,
    Column("correlation_masked", "number", "", "within the mask, as it is"),
    Column("correlation_unmasked", "number", "", "of the whole grid"),
    Column("correlation_random_phases", "number", "", "what the mask adds; nan where nothing was randomised"),
)

DIRECTIONAL_SHELLS: Schema = (Column("direction", "text", "", "axis of the cone: x, y or z"), *SHELLS)

DIRECTIONS: Schema = (
    Column("direction", "text", "", "axis of the cone: x, y or z"),
    Column("half_angle_deg", "number", "deg", "frequencies up to this angle from the axis count"),
    Column("resolution_0_143_nm", "number", "nm", "period where the correlation falls below 0.143"),
    Column("resolution_0_5_nm", "number", "nm", "period where the correlation falls below 0.5"),
)

LEFT_OUT: Schema = (
    Column("view", "integer", "", "row of the tilt series, 0-based"),
    Column("tilt_angle_deg", "number", "deg", "tilt angle of the view"),
    Column("error", "number", "", "r.m.s. of prediction minus view over r.m.s. of the view"),
    Column("correlation", "number", "", "of prediction and view, about their means"),
    Column("n_pixels", "integer", "", "pixels compared"),
)

AGREEMENT: Schema = (
    Column("class", "integer", "", "number of the class"),
    Column("name", "text", "", "name of the class"),
    Column("dice", "number", "", "twice the common volume over the sum of both; 1 where they are the same"),
    Column("intersection_over_union", "number", "", "common volume over that of either"),
    Column("hausdorff_90_nm", "number", "nm", "90 % of each boundary lie nearer than this to the other"),
    Column("boundary_error_nm", "number", "nm", "mean distance between the boundaries, over both"),
    Column("boundary_shift_nm", "number", "nm", "mean distance, positive where the boundary is too far out"),
    Column("n_voxels", "integer", "", "voxels of the class"),
    Column("n_voxels_truth", "integer", "", "voxels of the class in the truth"),
)
