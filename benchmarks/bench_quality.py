"""Fourier shell correlation of two volumes whose signal-to-noise ratio is known in every shell."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import scipy.fft

from benchmarks.cases import Target, Targets
from tomo3d.quality import directional_resolution, fourier_shell_correlation
from tomo3d.types import Labels, Volume

_SNR = np.array([0.0, 30.0, 9.0, 3.0, 1.0, 0.4, 0.1, 0.03, 0.01])  # of each shell
_WIDTH_PER_VOXEL = 1 / 16  # of a shell: eight up to the Nyquist frequency
_CUBE = (1.0, 1.0, 1.0)


def noisy_halves(edge_voxels: int) -> tuple[Volume, Volume]:
    """One signal with the known spectrum, and white noise of its own in each volume."""
    rng = np.random.default_rng(0)
    shape = (edge_voxels,) * 3
    frequency = scipy.fft.fftfreq(edge_voxels)
    radius = np.sqrt(
        frequency[:, None, None] ** 2
        + frequency[None, :, None] ** 2
        + scipy.fft.rfftfreq(edge_voxels)[None, None, :] ** 2
    )
    shell = np.minimum((radius / _WIDTH_PER_VOXEL + 0.5).astype(np.int64), len(_SNR) - 1)
    white = scipy.fft.rfftn(rng.standard_normal(shape, dtype=np.float32), workers=-1)
    signal = scipy.fft.irfftn(white * np.sqrt(_SNR[shell]).astype(np.float32), shape, workers=-1)
    first, second = (Volume(signal + rng.standard_normal(shape, dtype=np.float32), _CUBE) for _ in range(2))
    return first, second


class KnownNoise:
    """Of signal and independent noise the correlation is SNR / (1 + SNR)."""

    params, param_names = ([128, 256],), ("edge_voxels",)
    targets: ClassVar[Targets] = {"track_largest_error": Target(at_most=0.02)}

    def setup(self, edge_voxels: int) -> None:
        self.halves = noisy_halves(edge_voxels)

    def time_fourier_shell_correlation(self, edge_voxels: int) -> None:
        fourier_shell_correlation(*self.halves)

    def track_largest_error(self, edge_voxels: int) -> float:
        """Largest difference from the known curve, of any shell."""
        curve = fourier_shell_correlation(*self.halves, shell_width_per_nm=_WIDTH_PER_VOXEL).curve
        return float(np.abs(curve["correlation"].to_numpy() - (_SNR / (1 + _SNR))[1:]).max())

    def peakmem_fourier_shell_correlation(self, edge_voxels: int) -> None:
        fourier_shell_correlation(*self.halves)

    def time_directional_resolution(self, edge_voxels: int) -> None:
        directional_resolution(*self.halves)


class Masked:
    """Within a ball, with what the mask adds taken off."""

    params, param_names = ([128, 256],), ("edge_voxels",)

    def setup(self, edge_voxels: int) -> None:
        self.halves = noisy_halves(edge_voxels)
        axis = np.arange(edge_voxels) - 0.5 * (edge_voxels - 1)
        squared = axis[:, None, None] ** 2 + axis[None, :, None] ** 2 + axis[None, None, :] ** 2
        self.mask = Labels(squared < (0.3 * edge_voxels) ** 2, _CUBE)

    def time_fourier_shell_correlation(self, edge_voxels: int) -> None:
        fourier_shell_correlation(*self.halves, mask=self.mask)

    def peakmem_fourier_shell_correlation(self, edge_voxels: int) -> None:
        fourier_shell_correlation(*self.halves, mask=self.mask)
