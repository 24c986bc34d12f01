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
