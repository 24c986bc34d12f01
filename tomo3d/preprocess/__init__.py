"""Preparation: what is done to the views before they are aligned and reconstructed."""

from tomo3d.preprocess._align_frames import AlignedFrames, align_frames
from tomo3d.preprocess._background import subtract_background
from tomo3d.preprocess._bin import bin_views
from tomo3d.preprocess._remove_outliers import remove_outliers

__all__ = ["AlignedFrames", "align_frames", "bin_views", "remove_outliers", "subtract_background"]
