"""Figures for papers and reports: slices, thickness maps, tilt series, charts, surfaces.

Every function returns a matplotlib Figure that was made off screen, or a Movie; nothing
here opens a window or writes a file. `encode` turns a figure into the bytes of
a PNG, PDF or SVG file, `encode_movie` a movie into those of a GIF or MP4 file.
"""

from tomo3d.render._alignment import alignment
from tomo3d.render._charts import comparison, thickness_histogram
from tomo3d.render._curves import curves
from tomo3d.render._films import film_profile, thickness_by_angle, thickness_distributions
from tomo3d.render._grey_histogram import grey_histogram
from tomo3d.render._movie import alignment_movie, encode_movie
from tomo3d.render._network import branch_histograms, network
from tomo3d.render._opengl import OpenGLError, OpenGLStatus, opengl_status
from tomo3d.render._particles import detection_limit, dispersion, particle_sizes, particles
from tomo3d.render._resolution import fourier_shell_correlation
from tomo3d.render._series import tilt_series
from tomo3d.render._slices import slices, thickness_map
from tomo3d.render._style import encode
from tomo3d.render._surface import iso_surface
from tomo3d.render._surface_values import surface

__all__ = [
    "OpenGLError",
    "OpenGLStatus",
    "alignment",
    "alignment_movie",
    "branch_histograms",
    "comparison",
    "curves",
    "detection_limit",
    "dispersion",
    "encode",
    "encode_movie",
    "film_profile",
    "fourier_shell_correlation",
    "grey_histogram",
    "iso_surface",
    "network",
    "opengl_status",
    "particle_sizes",
    "particles",
    "slices",
    "surface",
    "thickness_by_angle",
    "thickness_distributions",
    "thickness_histogram",
    "thickness_map",
    "tilt_series",
]
