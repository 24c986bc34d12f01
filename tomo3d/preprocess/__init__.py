"""Preparation: what is done to the views before they are aligned and reconstructed."""

from tomo3d.preprocess._align_frames import AlignedFrames, align_frames
from tomo3d.preprocess._align_frames_locally import LocallyAlignedFrames, align_frames_locally
from tomo3d.preprocess._background import subtract_background
from tomo3d.preprocess._bin import bin_views
from tomo3d.preprocess._correct_gain import correct_gain
from tomo3d.preprocess._flag_views import flag_views
from tomo3d.preprocess._normalize_intensity import BrightField, Mass, normalize_intensity
from tomo3d.preprocess._remove_outliers import remove_outliers

__all__ = [
    "AlignedFrames",
    "BrightField",
    "LocallyAlignedFrames",
    "Mass",
    "align_frames",
    "align_frames_locally",
    "bin_views",
    "correct_gain",
    "flag_views",
    "normalize_intensity",
    "remove_outliers",
    "subtract_background",
]
