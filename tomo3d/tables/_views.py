"""Views, frames, and views repeated at one angle."""

from __future__ import annotations

from tomo3d.tables._schema import Column, Schema

VIEWS: Schema = (
    Column("view", "integer", "", "row of the tilt series, 0-based, in the order of the file"),
    Column("tilt_angle_deg", "number", "deg", "tilt angle of the stage; nan where the file does not say"),
    Column("acquisition_order", "integer", "", "0 for the view that was taken first; -1 where nothing says"),
    Column(
        "exposure_dose_e_per_A2", "number", "e/A^2", "dose of this view; nan where unknown or not calibrated"
    ),
    Column("dose_before_e_per_A2", "number", "e/A^2", "dose that the specimen had before this view"),
    Column("time", "text", "", "when it was taken, as 2015-11-30T15:21:38; empty where unknown"),
    Column("stage_x_nm", "number", "nm", "position of the stage"),
    Column("stage_y_nm", "number", "nm", "position of the stage"),
    Column("stage_z_nm", "number", "nm", "height of the stage"),
    Column("defocus_nm", "number", "nm", "as the file has it: SerialEM and Warp differ in sign"),
    Column("magnification", "number", "", "nominal magnification of the microscope"),
    Column(
        "sub_frame_file", "text", "", "name of the file of frames, without folder; empty where there is none"
    ),
)

FRAMES: Schema = (
    Column("movie", "integer", "", "view that the frame became part of, 0-based"),
    Column("frame", "integer", "", "row of the frame in its series, 0-based"),
    Column("tilt_angle_deg", "number", "deg", "tilt angle of the movie"),
    Column("shift_y_nm", "number", "nm", "how far the content was moved along y; nan where not known"),
    Column("shift_x_nm", "number", "nm", "how far the content was moved along x; nan where not known"),
    Column("residual_nm", "number", "nm", "r.m.s. of what its pairs measured minus what the shifts say"),
    Column("n_pairs", "integer", "", "pairs that agree on it"),
    Column("is_reliable", "flag", "", "false where too few pairs agree: the frame was left out"),
)

FRAME_PAIRS: Schema = (
    Column("movie", "integer", "", "view that the frames became part of, 0-based"),
    Column("first", "integer", "", "row of the first frame, 0-based"),
    Column("second", "integer", "", "row of the second frame, 0-based"),
    Column("shift_y_nm", "number", "nm", "measured along y: what takes the second frame onto the first"),
    Column("shift_x_nm", "number", "nm", "measured along x"),
    Column("residual_y_nm", "number", "nm", "measured minus what the shifts of the frames say"),
    Column("residual_x_nm", "number", "nm", "measured minus what the shifts of the frames say"),
    Column("peak", "number", "", "normalised correlation of the two, 1 for the same"),
    Column("is_second_search", "flag", "", "searched again, near what the other pairs say"),
    Column("is_used", "flag", "", "agrees with the others"),
)

FRAME_PATCHES: Schema = (
    Column("movie", "integer", "", "view that the frame became part of, 0-based"),
    Column("frame", "integer", "", "row of the frame in its series, 0-based"),
    Column("y_nm", "number", "nm", "middle of the patch, from the centre of the image"),
    Column("x_nm", "number", "nm", "middle of the patch, from the centre of the image"),
    Column("shift_y_nm", "number", "nm", "measured: how far the content must move along y"),
    Column("shift_x_nm", "number", "nm", "measured: how far the content must move along x"),
    Column("fitted_y_nm", "number", "nm", "what the smooth field says along y"),
    Column("fitted_x_nm", "number", "nm", "what the smooth field says along x"),
    Column("weight", "number", "", "of the patch in the fit, 0 for an outlier"),
)

REPEATED_VIEWS: Schema = (
    Column("first", "integer", "", "row of the view that was recorded first, 0-based"),
    Column("second", "integer", "", "row of the view that was recorded later, 0-based"),
    Column("tilt_angle_deg", "number", "deg", "tilt angle of both"),
    Column("shift_y_nm", "number", "nm", "how far the content of the second must move along y"),
    Column("shift_x_nm", "number", "nm", "how far the content of the second must move along x"),
    Column("magnification_along", "number", "", "size of the second over the first along the tilt axis"),
    Column("magnification_along_error", "number", "", "its standard error"),
    Column("magnification_across", "number", "", "size of the second over the first across the tilt axis"),
    Column("magnification_across_error", "number", "", "its standard error"),
    Column("mass_ratio", "number", "", "grey value of one part of the specimen, second over first"),
    Column("mass_ratio_low", "number", "", "lower end of its 95 % interval: bootstrap over blocks"),
    Column("mass_ratio_high", "number", "", "upper end of its 95 % interval"),
    Column("resolution_0_5_nm", "number", "nm", "period where the ring correlation falls below 0.5"),
    Column("resolution_0_143_nm", "number", "nm", "period where the ring correlation falls below 0.143"),
)

REPEATED_RINGS: Schema = (
    Column("first", "integer", "", "row of the view that was recorded first, 0-based"),
    Column("second", "integer", "", "row of the view that was recorded later, 0-based"),
    Column("ring", "integer", "", "number of the ring, from 1; frequency zero is left out"),
    Column("frequency_per_nm", "number", "1/nm", "mean frequency of the ring"),
    Column("correlation", "number", "", "Fourier ring correlation of the registered views"),
    Column("n_pixels", "integer", "", "Fourier pixels in the ring"),
)
