"""Areas, curvatures and topology of surfaces."""

from __future__ import annotations

from tomo3d.tables._schema import Column, Schema
from tomo3d.tables._summaries import SUMMARY

SURFACE_SUMMARY: Schema = (*SUMMARY, Column("estimator", "text", "", "how the value was estimated"))

INTERFACE_AREAS: Schema = (
    Column("pair", "text", "", "names of the two classes, as carbon|pore"),
    Column("first", "integer", "", "number of the one class"),
    Column("second", "integer", "", "number of the other, larger than the first"),
    Column("area_nm2", "number", "nm^2", "area of their interface"),
    Column("low_nm2", "number", "nm^2", "lower end of its interval; nan where none was made"),
    Column("high_nm2", "number", "nm^2", "upper end of its interval; nan where none was made"),
    Column("area_per_volume_per_nm", "number", "1/nm", "area over the volume of the whole grid"),
    Column("n", "integer", "", "crossings counted"),
    Column("interval", "text", "", "how the interval was made"),
    Column("estimator", "text", "", "how the area was estimated"),
)
