"""How views fit together: alignments, tracks, beads, local fields."""

from __future__ import annotations

from tomo3d.tables._schema import Column, Schema

ALIGNMENT: Schema = (
    Column("view", "integer", "", "row of the tilt series, 0-based"),
    Column("tilt_angle_deg", "number", "deg", "refined tilt angle"),
    Column("tilt_axis_deg", "number", "deg", "direction of the tilt axis from +y, counter-clockwise"),
    Column("shift_y_nm", "number", "nm", "how far the content moves along y, after rotation"),
    Column("shift_x_nm", "number", "nm", "how far the content moves along x, after rotation"),
    Column("magnification", "number", "", "scale of the raw view"),
    Column("is_reliable", "flag", "", "false where the method distrusts its result"),
)

TRACKS: Schema = (
    Column("track", "integer", "", "which bead or patch"),
    Column("view", "integer", "", "row of the tilt series, 0-based"),
    Column("y_nm", "number", "nm", "raw view: pixel index times pixel size, row 0 at the bottom"),
    Column(
        "x_nm", "number", "nm", "raw view: pixel index times pixel size; 0 is the centre of the first pixel"
    ),
)

BEAD_TRACKS: Schema = (*TRACKS, Column("score", "number", "", "how surely it is a bead: see `BEADS`"))

PATCH_TRACKS: Schema = (*TRACKS, Column("correlation", "number", "", "with the views before; 1 for the same"))

BEADS: Schema = (
    Column("view", "integer", "", "row of the tilt series, 0-based"),
    Column("y_nm", "number", "nm", "raw view: pixel index times pixel size, row 0 at the bottom"),
    Column("x_nm", "number", "nm", "raw view: pixel index times pixel size"),
    Column(
        "score",
        "number",
        "",
        "height in standard deviations of the background, times correlation with a ball",
    ),
    Column(
        "contrast", "number", "grey", "grey value at the centre less its surroundings; negative where dark"
    ),
)

TRACK_RESIDUALS: Schema = (
    Column("track", "integer", "", "which bead or patch"),
    Column("view", "integer", "", "row of the tilt series, 0-based"),
    Column("y_nm", "number", "nm", "measured minus predicted, in the raw view"),
    Column("x_nm", "number", "nm", "measured minus predicted, in the raw view"),
    Column(
        "left_out_y_nm", "number", "nm", "measured minus predicted by all else; nan where nothing predicts it"
    ),
    Column(
        "left_out_x_nm", "number", "nm", "measured minus predicted by all else; nan where nothing predicts it"
    ),
    Column("weight", "number", "", "1 for what agrees, 0 for an outlier"),
)

LOCAL_MODELS: Schema = (
    Column("length", "number", "", "over which local shifts change, over the edge of a view; inf for none"),
    Column(
        "tilt_length_deg",
        "number",
        "deg",
        "likewise over tilts: 0 if each view has its own, inf if all share them",
    ),
    Column("strength_nm", "number", "nm", "standard deviation that local shifts were expected to have"),
    Column(
        "left_out_nm",
        "number",
        "nm",
        "r.m.s. distance of tracks from what those elsewhere predict, their points fitted",
    ),
    Column("is_chosen", "flag", "", "whether this is in the alignment"),
)

LOCAL_TRACKS: Schema = (
    Column("track", "integer", "", "which bead or patch"),
    Column(
        "global_left_out_nm",
        "number",
        "nm",
        "r.m.s. distance from what those elsewhere predict, without local shifts",
    ),
    Column("local_left_out_nm", "number", "nm", "the same with local shifts"),
)

LOCAL_SHIFTS: Schema = (
    Column("view", "integer", "", "row of the tilt series, 0-based"),
    Column("tilt_angle_deg", "number", "deg", "nominal tilt angle of the view"),
    Column("y_nm", "number", "nm", "where the node is in the raw view, pixel index times pixel size"),
    Column("x_nm", "number", "nm", "where the node is in the raw view, pixel index times pixel size"),
    Column("shift_y_nm", "number", "nm", "how far the content there must move"),
    Column("shift_x_nm", "number", "nm", "how far the content there must move"),
)

POINTS: Schema = (
    Column("track", "integer", "", "which bead or patch"),
    Column("z_nm", "number", "nm", "height in the specimen, from the middle of the points"),
    Column("y_nm", "number", "nm", "along the tilt axis, from the centre of the aligned views"),
    Column("x_nm", "number", "nm", "across the tilt axis, from the centre of the aligned views"),
    Column("z_uncertainty_nm", "number", "nm", "standard deviation of the height over the points' centroid"),
    Column("y_uncertainty_nm", "number", "nm", "standard deviation, from the points' centroid"),
    Column("x_uncertainty_nm", "number", "nm", "standard deviation, from the points' centroid"),
    Column("n_views", "integer", "", "views that it was seen in"),
    Column("mean_residual_nm", "number", "nm", "mean length of its residuals"),
)

POINT_POSITIONS: Schema = (
    Column("track", "integer", "", "which bead or patch"),
    *(Column(f"{axis}_nm", "number", "nm", "position, as the file has it") for axis in "zyx"),
)

VIEW_PARAMETERS: Schema = (
    Column("parameter", "text", "", "which parameter of the tilt model"),
    Column("view", "integer", "", "row of the tilt series, 0-based"),
    Column("value", "number", "see unit", "its value in this view"),
    Column("uncertainty", "number", "see unit", "standard deviation; 0 where it is held"),
    Column("unit", "text", "", "unit of value and uncertainty; empty for a pure number"),
)

THINNING: Schema = (
    Column("view", "integer", "", "row of the tilt series, 0-based"),
    Column("tilt_angle_deg", "number", "deg", "tilt angle of the view"),
    Column("thinning", "number", "", "thickness over that in the reference view"),
    Column("uncertainty", "number", "", "standard deviation; 0 where it is held"),
)

TRACKS_LEFT_OUT: Schema = (
    Column("what", "text", "", "track or view"),
    Column("number", "integer", "", "which one"),
    Column("reason", "text", "", "why it was left out"),
)
