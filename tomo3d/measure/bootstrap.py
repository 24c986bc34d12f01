"""Block bootstrap over the specimen: intervals that do not take voxels for independent samples."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

_N_DRAWS = 1000
_MAX_PER_AXIS = 8
_MIN_BLOCKS = 10  # below, the quantiles of the draws are far narrower than 95 %


@dataclass(frozen=True, eq=False)
class Blocks:
    """The specimen cut along y and x into columns that span z."""

    of_column: np.ndarray  # (n_y, n_x), number of the block
    n_voxels: np.ndarray  # (n_blocks,)
    per_axis: tuple[int, int]  # (y, x)

    @property
    def n_blocks(self) -> int:
        """Number of blocks."""
        return len(self.n_voxels)


def blocks_of(shape: tuple[int, ...], least_edge: tuple[float, float]) -> Blocks:
    """Blocks of a grid, at most 8 along y and x, at least `least_edge` (y, x) voxels wide."""
    n_z, *widths = shape
    n_y, n_x = (
        min(_MAX_PER_AXIS, max(1, int(width / max(edge, 1.0))))
        for width, edge in zip(widths, least_edge, strict=True)
    )
    y, x = (np.arange(width) * n // width for width, n in zip(widths, (n_y, n_x), strict=True))
    of_column = y[:, None] * n_x + x
    return Blocks(of_column, np.bincount(of_column.ravel()) * n_z, (n_y, n_x))


def resample(
    statistics: Callable[[np.ndarray], np.ndarray],
    blocks: Blocks,
    voxel_size_nm: tuple[float, float, float],
    seed: int,
) -> tuple[tuple[np.ndarray, np.ndarray], str]:
    """Ends of the 95 % interval of each statistic, and the text that says how it was made.

    `statistics` takes how often each block counts, shape (n_blocks,), and returns an array.
    """
    n_statistics = len(statistics(np.ones(blocks.n_blocks)))
    if blocks.n_blocks < _MIN_BLOCKS:
        nothing = np.full(n_statistics, math.nan)
        return (nothing, nothing), (
            f"none: {blocks.n_blocks} blocks wide enough to be independent, {_MIN_BLOCKS} are needed"
        )
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(blocks.n_blocks, np.full(blocks.n_blocks, 1 / blocks.n_blocks), size=_N_DRAWS)
    draws = np.array([statistics(weight) for weight in weights.astype(np.float64)])
    low, high = np.nanquantile(draws, [0.025, 0.975], axis=0)
    edges_nm = [
        width * size / n
        for width, size, n in zip(blocks.of_column.shape, voxel_size_nm[1:], blocks.per_axis, strict=True)
    ]
    return (low, high), (
        f"95 %, bootstrap over {blocks.n_blocks} blocks of {edges_nm[0]:.3g} x {edges_nm[1]:.3g} nm (y, x), "
        f"{_N_DRAWS} draws, seed {seed}"
    )
