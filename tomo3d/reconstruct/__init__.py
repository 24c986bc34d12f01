"""Reconstruction: from an aligned tilt series to a volume of densities (grey value per nm)."""

from tomo3d.compute.filters import Butterworth, Cosine, Exact, Gaussian, Hamming, Hann, Ramp, SirtLike, Window
from tomo3d.compute.solvers import Discrepancy, HalvesAgree
from tomo3d.reconstruct._cgls import cgls
from tomo3d.reconstruct._dart import dart
from tomo3d.reconstruct._dual_axis import dual_axis
from tomo3d.reconstruct._mlem import mlem
from tomo3d.reconstruct._multi_channel import CountingNoise, multi_channel
from tomo3d.reconstruct._project import project
from tomo3d.reconstruct._sart import sart
from tomo3d.reconstruct._sirt import sirt
from tomo3d.reconstruct._total_variation import total_variation
from tomo3d.reconstruct._wbp import wbp

__all__ = [
    "Butterworth",
    "Cosine",
    "CountingNoise",
    "Discrepancy",
    "Exact",
    "Gaussian",
    "HalvesAgree",
    "Hamming",
    "Hann",
    "Ramp",
    "SirtLike",
    "Window",
    "cgls",
    "dart",
    "dual_axis",
    "mlem",
    "multi_channel",
    "project",
    "sart",
    "sirt",
    "total_variation",
    "wbp",
]
