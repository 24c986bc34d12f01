"""Quality: what a reconstruction resolves, and how well it predicts views that it has not seen."""

from tomo3d.compute.sampling import crowther_limit_nm, psf_elongation
from tomo3d.quality._directional import DirectionalResolution, directional_resolution
from tomo3d.quality._fourier_shell import ShellCorrelation, fourier_shell_correlation
from tomo3d.quality._halves import HalfVolumes, half_volumes
from tomo3d.quality._leave_one_out import leave_one_out
from tomo3d.quality._repeated_views import RepeatedViews, repeated_views

__all__ = [
    "DirectionalResolution",
    "HalfVolumes",
    "RepeatedViews",
    "ShellCorrelation",
    "crowther_limit_nm",
    "directional_resolution",
    "fourier_shell_correlation",
    "half_volumes",
    "leave_one_out",
    "psf_elongation",
    "repeated_views",
]
