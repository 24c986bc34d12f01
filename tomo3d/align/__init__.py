"""Alignment: how the views of a tilt series fit together.

Every function takes a tilt series, and most an alignment to start from, and
returns an `Alignment`; `apply` turns a series and its alignment into an aligned
series. `marker_free` is the chain that a user runs without knowing any of this.
"""

from tomo3d.align._apply import apply
from tomo3d.align._bundle_adjust import BundleAdjustment, bundle_adjust
from tomo3d.align._center_of_mass import center_of_mass
from tomo3d.align._common_lines import common_lines
from tomo3d.align._cross_correlation import cross_correlation
from tomo3d.align._detect_beads import detect_beads
from tomo3d.align._erase_beads import erase_beads
from tomo3d.align._level_slab import level_slab
from tomo3d.align._local_alignment import local_alignment
from tomo3d.align._marker_free import marker_free
from tomo3d.align._projection_matching import projection_matching
from tomo3d.align._tilt_axis import tilt_axis
from tomo3d.align._tilt_model import TiltModel
from tomo3d.align._track_beads import track_beads
from tomo3d.align._track_patches import track_patches, with_patches
from tomo3d.align._with_fiducials import with_fiducials
from tomo3d.align._with_particles import with_particles

__all__ = [
    "BundleAdjustment",
    "TiltModel",
    "apply",
    "bundle_adjust",
    "center_of_mass",
    "common_lines",
    "cross_correlation",
    "detect_beads",
    "erase_beads",
    "level_slab",
    "local_alignment",
    "marker_free",
    "projection_matching",
    "tilt_axis",
    "track_beads",
    "track_patches",
    "with_fiducials",
    "with_particles",
    "with_patches",
]
