"""Edges and films along the normals of a surface."""

from __future__ import annotations

from tomo3d.tables._schema import Column, Schema

EDGE_WIDTHS: Schema = (
    Column(
        "elevation_deg",
        "number",
        "deg",
        "angle of the normal to the plane across the beam, 0 to 90; middle of the bin",
    ),
    Column(
        "azimuth_deg",
        "number",
        "deg",
        "angle of the normal from x to y in that plane, 0 to 90; middle of the bin",
    ),
    Column(
        "fwhm_nm", "number", "nm", "median width of the edges, as that of a Gaussian point-spread function"
    ),
    Column("fwhm_low_nm", "number", "nm", "2.5 % of the edges are sharper"),
    Column("fwhm_high_nm", "number", "nm", "2.5 % of the edges are wider"),
    Column("n", "integer", "", "points of the surface"),
)

THICKNESS_BY_ANGLE: Schema = (
    Column("sample", "text", "", "definition and place, as chord_surface"),
    Column(
        "elevation_deg",
        "number",
        "deg",
        "angle of the normal to the plane across the beam; middle of the bin",
    ),
    Column("median_nm", "number", "nm", "median thickness"),
    Column("p25_nm", "number", "nm", "a quarter is thinner"),
    Column("p75_nm", "number", "nm", "a quarter is thicker"),
    Column("share", "number", "", "share of the area with such normals"),
    Column("share_in_wedge", "number", "", "share of it that no view saw; nan where the tilts are not known"),
    Column("n", "integer", "", "voxels, or points of the surface"),
)
