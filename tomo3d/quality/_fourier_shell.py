"""Fourier shell correlation of two volumes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tomo3d import tables
from tomo3d.compute import fourier_shell
from tomo3d.compute.fourier_shell import Shells
from tomo3d.planning import Plan, Sketch, planned
from tomo3d.quality._pair import Pair, pair, resolution_nm
from tomo3d.types import Array, Labels, Volume

if TYPE_CHECKING:
    import pandas as pd

_RANDOM_BELOW = 0.8  # phases are randomised from the shell at which the unmasked curve falls below this
_N_KEPT = 2  # shells next to the randomised ones, which leak into them, are not corrected


@dataclass(frozen=True, eq=False)
class ShellCorrelation:
    """Fourier shell correlation of two volumes, and the resolution that it shows."""

    curve: pd.DataFrame  # tables.SHELLS; with a mask tables.MASKED_SHELLS
    resolution_0_143_nm: float  # inf if the curve starts below the threshold, nan if it never falls below it
    resolution_0_5_nm: float
    note: str  # what the two numbers say, in words


def _plan(
    first: Sketch,
    second: Sketch,
    *,
    mask: Sketch | None = None,
    soft_edge_nm: float | None = None,
    shell_width_per_nm: float | None = None,
    seed: int = 0,
) -> Plan:
    n_voxels = math.prod(first.shape)
    # two transforms and the volume that goes into one; with a mask, its weight, a randomised volume and its phases
    return Plan({"curve": Sketch("DataFrame")}, (12 if mask is None else 24) * n_voxels)


@planned(_plan)
def fourier_shell_correlation(
    first: Volume,
    second: Volume,
    *,
    mask: Labels | None = None,
    soft_edge_nm: float | None = None,
    shell_width_per_nm: float | None = None,
    seed: int = 0,
) -> ShellCorrelation:
    """Correlation of two volumes over shells of Fourier space, and the resolution where it is lost.

    Parameters
    ----------
    first, second : Volume, shape (n_z, n_y, n_x)
        Two independent volumes of one structure on one grid, as `half_volumes` makes them.
    mask : Labels, same grid, optional
        Structure to compare: every non-zero voxel. Default: the whole grid.
    soft_edge_nm : float, optional
        Width over which the mask falls to zero beyond its voxels; 0 is a hard edge. Default: four voxels.
    shell_width_per_nm : float, optional
        Thickness of a shell in 1/nm. Default, and least: one over the longest edge of the grid.
    seed : int
        Of the random phases that measure what the mask adds.

    Returns
    -------
    ShellCorrelation
        Curve (`tomo3d.tables.SHELLS`; with a mask `MASKED_SHELLS`) up to the lowest Nyquist frequency of the axes,
        without frequency zero, and the period in nm at which it first falls below 0.143 and 0.5, by a straight line
        between shells: inf if it starts below, nan if it never falls below. First shells of fewer than 50 Fourier
        voxels do not count.

    Raises
    ------
    ValueError
        If the grids differ, a voxel is not finite, a volume is constant, the mask is empty, or a width is not allowed.
    TypeError
        If one array is on the GPU and another is not.

    Notes
    -----
    FSC(s) = sum F G* / sqrt(sum |F|^2 sum |G|^2) over the shell s [1]_ of the volumes about their means. Of two volumes
    with one signal and independent noise it is SNR / (1 + SNR); 0.143 is where a volume made of both halves would
    correlate by 0.5 with the truth [2]_. Without signal it scatters by sqrt(2 / n) about 0 in a shell of n voxels.

    A mask correlates shells with their neighbours. What that adds is measured on the same volumes with random phases
    from the shell at which the unmasked curve falls below 0.8, and taken off from two shells further on:
    (FSC - FSC_random) / (1 - FSC_random) [3]_. The resolution is that of the corrected curve; where the
    correlation breaks off at once, it follows two shells late.

    Whatever both volumes share counts as signal: the edges of the grid, the missing wedge filled by one method's
    bounds, a misalignment that went into both.

    References
    ----------
    .. [1] W. O. Saxton and W. Baumeister, J. Microscopy 127 (1982) 127-138, doi:10.1111/j.1365-2818.1982.tb00405.x
    .. [2] P. B. Rosenthal and R. Henderson, J. Mol. Biol. 333 (2003) 721-745, doi:10.1016/j.jmb.2003.07.013
    .. [3] S. Chen et al., Ultramicroscopy 135 (2013) 24-35, doi:10.1016/j.ultramic.2013.06.004
    """
    import pandas as pd

    both = pair(first, second, mask, soft_edge_nm)
    width = _shell_width(both, shell_width_per_nm)
    plain = _shells(both, width, both.transforms(masked=False))
    columns = {
        "shell": np.arange(1, len(plain.frequency) + 1),
        "frequency_per_nm": plain.frequency,
        "correlation": plain.correlation,
        "n_voxels": plain.n_voxels,
    }
    schema = tables.SHELLS
    if mask is not None:
        columns |= _masked(both, width, plain, seed)
        schema = tables.MASKED_SHELLS
    curve = tables.check(pd.DataFrame(columns)[tables.names(schema)], schema)
    at_0_143, at_0_5 = (resolution_nm(curve, threshold) for threshold in (0.143, 0.5))
    note = " ".join(_sentence(*item, curve) for item in ((0.143, at_0_143), (0.5, at_0_5)))
    return ShellCorrelation(curve, at_0_143, at_0_5, note)


def _shell_width(both: Pair, asked: float | None) -> float:
    least = 1.0 / max(both.extent_nm(axis) for axis in range(3))
    highest = min(0.5 / edge for edge in both.voxel_nm)
    width = least if asked is None else asked
    if not least * (1 - 1e-6) <= width <= highest:
        raise ValueError(
            f"shell_width_per_nm must be from one over the longest edge of the grid ({least:.4g} 1/nm) to the "
            f"Nyquist frequency ({highest:.4g} 1/nm), got {width:g} 1/nm."
        )
    return width


def _shells(both: Pair, width: float, transforms: tuple[Array, Array]) -> Shells:
    n_shells = fourier_shell.n_complete_shells(min(0.5 / edge for edge in both.voxel_nm), width)
    return fourier_shell.correlate(*transforms, both.shape, both.voxel_nm, width=width, n_shells=n_shells)


def _masked(both: Pair, width: float, plain: Shells, seed: int) -> dict[str, np.ndarray]:
    """Columns of a curve within a mask; without a shell below 0.8 nothing is randomised, and nothing corrected."""
    masked = _shells(both, width, both.transforms(masked=True)).correlation
    randomised = np.full(len(masked), math.nan)
    corrected = masked.copy()
    below = np.flatnonzero(plain.correlation < _RANDOM_BELOW)
    if len(below):
        first = int(below[0])
        beyond = (first + 0.5) * width  # lower edge of that shell, whose number is first + 1
        randomised = _randomised(both, width, beyond, seed)
        rest = slice(first + _N_KEPT, None)
        corrected[rest] = (masked[rest] - randomised[rest]) / (1.0 - randomised[rest])
    return {
        "correlation": corrected,
        "correlation_masked": masked,
        "correlation_unmasked": plain.correlation,
        "correlation_random_phases": randomised,
    }


def _randomised(both: Pair, width: float, beyond: float, seed: int) -> np.ndarray:
    """Masked correlation of the two volumes with their phases random at and beyond a frequency."""
    seeds = np.random.SeedSequence(seed).generate_state(2)

    def changed(data: Array, state: int) -> Array:
        data = fourier_shell.randomise_phases(data, both.voxel_nm, beyond=beyond, seed=state)
        return fourier_shell.transform(data, both.weight)

    transforms = (changed(both.first, int(seeds[0])), changed(both.second, int(seeds[1])))
    return _shells(both, width, transforms).correlation


def _sentence(threshold: float, value_nm: float, curve: pd.DataFrame) -> str:
    """What a resolution says in words."""
    finest = 1.0 / float(curve["frequency_per_nm"].iloc[-1])
    start = fourier_shell.n_undecided(curve["n_voxels"].to_numpy())
    coarsest = 1.0 / float(curve["frequency_per_nm"].iloc[start])
    if math.isnan(value_nm):
        return f"The correlation never falls below {threshold:g}: finer than {finest:.3g} nm, the limit of the grid."
    if math.isinf(value_nm):
        return (
            f"The correlation starts below {threshold:g}: nothing finer than {coarsest:.3g} nm is resolved."
        )
    return f"The correlation falls below {threshold:g} at {value_nm:.3g} nm."
