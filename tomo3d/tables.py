"""Schema of every table that the package returns: column, kind, unit, meaning.

There are two kinds of table, both pandas: objects (one row each, units in the
column names) and summaries (one quantity a row, with its unit and interval).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Column:
    """One column of a table: `kind` is "number", "integer", "flag" or "text"."""

    name: str
    kind: str
    unit: str
    meaning: str


Schema = tuple[Column, ...]

SUMMARY: Schema = (
    Column("quantity", "text", "", "what was measured"),
    Column("value", "number", "see unit", "the measured value"),
    Column("low", "number", "see unit", "lower end of the interval; nan where none was made"),
    Column("high", "number", "see unit", "upper end of the interval; nan where none was made"),
    Column("unit", "text", "", "unit of value, low and high; empty for a pure number"),
    Column("n", "integer", "", "number of objects or samples behind the value"),
    Column("interval", "text", "", "how the interval was made; empty where none was"),
)

COMPARISON: Schema = (
    Column("quantity", "text", "", "what was measured"),
    Column("measured", "number", "see unit", "the measured value"),
    Column("truth", "number", "see unit", "the value that the phantom was built with"),
    Column("error", "number", "see unit", "measured minus truth"),
    Column("error_percent", "number", "%", "error over truth; nan where the truth is zero"),
    Column("unit", "text", "", "unit of measured, truth and error"),
)

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

_KINDS = {"number": "fiu", "integer": "iu", "flag": "b"}


def summary(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """A summary table; `low`, `high` and `interval` may be left out of a row."""
    import pandas as pd

    filled = [{"low": math.nan, "high": math.nan, "interval": "", **row} for row in rows]
    return check(pd.DataFrame(filled, columns=names(SUMMARY)), SUMMARY)


def names(schema: Schema) -> list[str]:
    """Names of the columns of a schema."""
    return [column.name for column in schema]


def check(table: pd.DataFrame, schema: Schema) -> pd.DataFrame:
    """The table itself, if it has the columns of the schema with their kinds.

    Raises
    ------
    ValueError
        If a column is missing or holds another kind of value.
    """
    missing = [name for name in names(schema) if name not in table.columns]
    if missing:
        raise ValueError(f"the table must have the columns {names(schema)}, missing {missing}.")
    for column in schema:
        kinds = _KINDS.get(column.kind)
        if kinds and len(table) and getattr(table[column.name].dtype, "kind", "O") not in kinds:
            raise ValueError(
                f"column {column.name!r} must hold values of kind {column.kind}, got {table[column.name].dtype}."
            )
    return table


def describe(schema: Schema) -> Sequence[tuple[str, str, str]]:
    """(column, unit, meaning) of a schema, for reports."""
    return [(column.name, column.unit, column.meaning) for column in schema]
