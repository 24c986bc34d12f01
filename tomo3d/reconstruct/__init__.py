"""Reconstruction: from an aligned tilt series to a volume of densities (grey value per nm)."""

from tomo3d.compute.filters import Butterworth, Cosine, Exact, Gaussian, Hamming, Hann, Ramp, SirtLike, Window
from tomo3d.reconstruct._dual_axis import dual_axis
from tomo3d.reconstruct._multi_channel import multi_channel
from tomo3d.reconstruct._project import project
from tomo3d.reconstruct._sirt import sirt
from tomo3d.reconstruct._wbp import wbp

__all__ = [
    "Butterworth",
    "Cosine",
    "Exact",
    "Gaussian",
    "Hamming",
    "Hann",
    "Ramp",
    "SirtLike",
    "Window",
    "dual_axis",
    "multi_channel",
    "project",
    "sirt",
    "wbp",
]
