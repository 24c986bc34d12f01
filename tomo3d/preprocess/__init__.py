"""Preparation: what is done to the views before they are aligned and reconstructed."""

from tomo3d.preprocess._background import subtract_background
from tomo3d.preprocess._bin import bin_views

__all__ = ["bin_views", "subtract_background"]
