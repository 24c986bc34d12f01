"""Volume of each class, and its share."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from tomo3d import tables
from tomo3d.measure.bootstrap import blocks_of, resample
from tomo3d.progress import track
from tomo3d.types import Labels

if TYPE_CHECKING:
    import pandas as pd


def volume_fractions(labels: Labels, *, seed: int = 0) -> pd.DataFrame:
    """Share and volume of every class, the background too, with their intervals.

    Parameters
    ----------
    labels : Labels, shape (n_z, n_y, n_x)
        Classes.
    seed : int
        Of the resampling.

    Returns
    -------
    DataFrame
        Rows of `tomo3d.tables.SUMMARY`, class by class: volume_fraction_NAME, a pure
        number, with n the number of voxels of the grid; and volume_NAME in nm^3, with n
        the number of voxels of the class. A class without a name is class_NUMBER, 0 is background. A named class
        that has no voxel is listed as 0.

    Raises
    ------
    ValueError
        If a class is negative, or two classes would have the same row.

    Notes
    -----
    Interval: 2.5 % and 97.5 % quantiles over 1000 draws, with replacement, of blocks of the
    specimen [1]_. Blocks are cut along y and x, at most 8 by 8, at least four times as wide
    as the mean run of one class along that axis, and span z. Below 10 blocks no interval is given: nan.

    References
    ----------
    .. [1] Efron and Tibshirani, An Introduction to the Bootstrap, Chapman & Hall (1993), doi:10.1201/9780429246593
    """
    shape = labels.data.shape
    numbers, runs = _classes_and_runs(labels)
    names = _row_names(numbers, labels.names)
    blocks = blocks_of(shape, (4 * runs[0], 4 * runs[1]))
    counts = np.zeros((blocks.n_blocks, len(numbers)))
    for plane in track(labels.data, "volume fractions", shape[0]):
        entry = blocks.of_column * len(numbers) + np.searchsorted(numbers, np.asarray(plane, dtype=np.int64))
        counts += np.bincount(entry.ravel(), minlength=counts.size).reshape(counts.shape)

    def shares(weights: np.ndarray) -> np.ndarray:
        return np.asarray(weights @ counts / (weights @ blocks.n_voxels))

    values = shares(np.ones(blocks.n_blocks))
    (low, high), interval = resample(shares, blocks, labels.voxel_size_nm, seed)
    n_voxels = math.prod(shape)
    whole_nm3 = n_voxels * math.prod(labels.voxel_size_nm)
    kinds = (("volume_fraction", "", 1.0), ("volume", "nm^3", whole_nm3))
    return tables.summary(
        {
            "quantity": f"{kind}_{name}",
            "value": values[i] * scale,
            "low": low[i] * scale,
            "high": high[i] * scale,
            "unit": unit,
            "n": n_voxels if unit == "" else int(counts[:, i].sum()),
            "interval": interval,
        }
        for i, name in enumerate(names)
        for kind, unit, scale in kinds
    )


def _classes_and_runs(labels: Labels) -> tuple[np.ndarray, tuple[float, float]]:
    """Numbers of the classes, ascending, 0 and all named ones too; mean run of one class along y and x."""
    present: set[int] = {0, *(int(number) for number in labels.names)}
    n_changes = np.zeros(2)
    for plane in labels.data:
        plane = np.asarray(plane)
        present.update(int(number) for number in np.unique(plane))
        n_changes += [np.count_nonzero(np.diff(plane, axis=axis)) for axis in (0, 1)]
    if min(present) < 0:
        raise ValueError(f"labels must be zero or positive, got {min(present)}.")
    run_y, run_x = (math.prod(labels.data.shape) / max(n, 1.0) for n in n_changes)
    return np.array(sorted(present), dtype=np.int64), (run_y, run_x)


def _row_names(numbers: np.ndarray, known: Mapping[int, str]) -> list[str]:
    defaults = {0: "background"}
    names = [known.get(int(n), defaults.get(int(n), f"class_{n}")).replace(" ", "_") for n in numbers]
    if len(set(names)) != len(names):
        raise ValueError(f"labels must have a different name for each class, got {names}.")
    return names
