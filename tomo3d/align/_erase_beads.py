"""Beads taken out of the views."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from tomo3d import progress, tables
from tomo3d.align._beads import diameter_px
from tomo3d.compute import backend
from tomo3d.compute.inpainting import erase_discs
from tomo3d.planning import Plan, Sketch, planned
from tomo3d.types import TiltSeries

if TYPE_CHECKING:
    import pandas as pd

_BEYOND_PX = 2.0  # of a bead's edge: what its blur reaches


def _plan(series: Sketch, **_: object) -> Plan:
    result = Sketch("TiltSeries", series.shape, series.dtype, series.pixel_size_nm)
    return Plan(result, result.n_bytes + 16 * series.shape[1] * series.shape[2])


@planned(_plan)
def erase_beads(series: TiltSeries, tracks: pd.DataFrame, *, diameter_nm: float, seed: int = 0) -> TiltSeries:
    """Replace beads by grey values like those around them, so that they leave no streaks in a reconstruction.

    Parameters
    ----------
    series : TiltSeries
        As it was tracked: raw, before `apply`.
    tracks : pandas.DataFrame
        view, y_nm and x_nm of each bead: as `track_beads` or `detect_beads` returns.
    diameter_nm : float
        Of what is erased; two pixels beyond it on each side are, too, for the blur.
    seed : int
        Of the noise where there is none to copy.

    Returns
    -------
    TiltSeries
        Of the same type of numbers; whatever lies outside the discs is bit-equal.

    Raises
    ------
    ValueError
        If the table lacks a column, names a view that does not exist or a position that is not finite, or the
        diameter is below two pixels or above a quarter of the image.

    Notes
    -----
    A disc takes the texture of a place nearby, free of beads, whose rim is most like its own, on the plane that
    fits its own rim: noise keeps its strength and grain, and no ring is left.
    """
    radius_px = 0.5 * diameter_px(series, diameter_nm) + _BEYOND_PX
    tables.check(tracks, tuple(column for column in tables.BEADS if column.name in ("view", "y_nm", "x_nm")))
    view = tracks["view"].to_numpy()
    if len(view) and not ((view >= 0) & (view < series.n_tilts)).all():
        raise ValueError(
            f"views of the beads must be rows of the series, 0 to {series.n_tilts - 1}, got {view.min()} to "
            f"{view.max()}."
        )
    positions = tracks[["y_nm", "x_nm"]].to_numpy(dtype=np.float64) / series.pixel_size_nm
    if not np.isfinite(positions).all():
        row = int(np.argmin(np.isfinite(positions).all(axis=1)))
        raise ValueError(f"positions of beads must be finite, got one that is not in row {row}.")
    images = np.empty(series.images.shape, dtype=series.images.dtype)
    seeds = np.random.SeedSequence(seed).spawn(series.n_tilts)

    def erase(i: int) -> None:
        image = np.asarray(series.images[i])
        images[i] = erase_discs(image, positions[view == i], radius_px, np.random.default_rng(seeds[i]))

    with ThreadPoolExecutor(backend.n_threads()) as pool:
        for _ in progress.track(pool.map(erase, range(series.n_tilts)), "erasing beads", series.n_tilts):
            pass
    return replace(series, images=images, sources={**series.sources, "beads": "erased"})
