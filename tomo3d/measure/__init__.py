"""Measurement: thickness, surfaces, phases, particles, and the numbers of a structure with their intervals."""

from tomo3d.measure._bias import correct_bias, measurement_bias
from tomo3d.measure._chord_thickness import chord_thickness
from tomo3d.measure._chords import ChordLengths, chord_lengths
from tomo3d.measure._correlation import TwoPoint, two_point_correlation
from tomo3d.measure._curvature import curvature, curvature_summary
from tomo3d.measure._detection_limit import DetectionLimit, detection_limit
from tomo3d.measure._dispersion import Dispersion, dispersion
from tomo3d.measure._distance_thickness import distance_thickness
from tomo3d.measure._edge_widths import edge_widths
from tomo3d.measure._film_coverage import FilmCoverage, film_coverage
from tomo3d.measure._fractions import volume_fractions
from tomo3d.measure._local_thickness import local_thickness
from tomo3d.measure._over_blocks import over_blocks
from tomo3d.measure._particle_sizes import particle_sizes, particle_summary
from tomo3d.measure._particles import particles
from tomo3d.measure._percolation import percolation, porosimetry, porosity
from tomo3d.measure._profile_thickness import profile_thickness
from tomo3d.measure._sizes import object_sizes, size_distribution
from tomo3d.measure._slice_thickness import slice_thickness
from tomo3d.measure._split_particles import split_particles
from tomo3d.measure._surface_area import interface_areas, surface_area
from tomo3d.measure._surface_mesh import interface_mesh, surface_mesh
from tomo3d.measure._thickness import local_thickness_voxel, thickness_summary
from tomo3d.measure._thickness_by_angle import thickness_by_angle
from tomo3d.measure._thickness_report import thickness_report
from tomo3d.measure._topology import euler_number, minkowski_functionals
from tomo3d.measure._tortuosity import effective_diffusivity, geodesic_tortuosity, tortuosity
from tomo3d.measure._uncertainty import pool_summaries, with_uncertainty

__all__ = [
    "ChordLengths",
    "DetectionLimit",
    "Dispersion",
    "FilmCoverage",
    "TwoPoint",
    "chord_lengths",
    "chord_thickness",
    "correct_bias",
    "curvature",
    "curvature_summary",
    "detection_limit",
    "dispersion",
    "distance_thickness",
    "edge_widths",
    "effective_diffusivity",
    "euler_number",
    "film_coverage",
    "geodesic_tortuosity",
    "interface_areas",
    "interface_mesh",
    "local_thickness",
    "local_thickness_voxel",
    "measurement_bias",
    "minkowski_functionals",
    "object_sizes",
    "over_blocks",
    "particle_sizes",
    "particle_summary",
    "particles",
    "percolation",
    "pool_summaries",
    "porosimetry",
    "porosity",
    "profile_thickness",
    "size_distribution",
    "slice_thickness",
    "split_particles",
    "surface_area",
    "surface_mesh",
    "thickness_by_angle",
    "thickness_report",
    "thickness_summary",
    "tortuosity",
    "two_point_correlation",
    "volume_fractions",
    "with_uncertainty",
]
