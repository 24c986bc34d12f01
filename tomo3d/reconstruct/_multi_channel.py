"""Elemental maps of one specimen, counted at few tilts, alone or together with its HAADF series."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tomo3d import geometry, progress
from tomo3d.compute import fused
from tomo3d.compute.binned_projector import BinnedProjector, binned_projector
from tomo3d.compute.fused import Counts, Elastic, Objective
from tomo3d.memory import check_held
from tomo3d.reconstruct._raw_views import RawViews, raw_views
from tomo3d.types import Alignment, TiltSeries, Volume

if TYPE_CHECKING:
    import pandas as pd

_START = 3  # iterations on the counts alone before the HAADF series joins, so that the elements differ
_MODEL_ERROR = 0.01  # of the r.m.s. grey value: what no projector explains, however little noise there is


def multi_channel(
    channels: Mapping[str, TiltSeries],
    *,
    thickness_nm: float,
    n_iterations: int,
    shadowing: Mapping[str, np.ndarray] | pd.DataFrame | None = None,
    haadf: TiltSeries | None = None,
    contrast: Mapping[str, float] | None = None,
    haadf_weight: float = 1.0,
    tv_weight: float = 0.0,
    alignments: Mapping[str, Alignment] | None = None,
) -> dict[str, Volume]:
    """Densities of several elements from their counts (EDX, EELS), fused with the HAADF series if there is one.

    Parameters
    ----------
    channels : mapping of str to TiltSeries
        Counts of each element; never negative. Each has its own tilts, views in use and pixel.
    thickness_nm : float
        Thickness of the reconstruction along the beam.
    n_iterations : int
        More iterations are sharper and noisier: 10 to 100.
    shadowing : mapping of str to array, or table with a column per channel, optional
        Part of the emission that the detector receives in each view, (n_tilts,) in (0, 1]: holder and specimen
        shadow it. Default, and for a channel left out: 1.
    haadf : TiltSeries, optional
        HAADF series of the same field, without background. Default: each element is reconstructed alone.
    contrast : mapping of str to float, optional
        HAADF signal of one count of each element, relative to one another: Z^gamma (gamma about 1.7) over the
        counts per atom. One scale for all is then fitted. Default: every element's signal is fitted.
    haadf_weight : float
        Factor on the HAADF term, in which 1 is the likelihood of its noise.
    tv_weight : float
        Factor on the total variation of each element, per count per voxel; 0 for none.
    alignments : mapping of str to Alignment, optional
        How the views of a channel, or of "haadf", fit together. Default: they are aligned.

    Returns
    -------
    dict of str to Volume, shape (round(thickness_nm / pixel), n_y, n_x), float32
        Density of each element in counts per nm, on the grid of the HAADF series (else of the first channel with
        the smallest pixel). Their records hold the objective before each iteration, and its terms.

    Raises
    ------
    ValueError
        If there is no channel, a count is negative or not finite, a factor lies outside (0, 1] or their number is
        not that of the views, a name is not that of a channel, or as for `sirt`.

    Notes
    -----
    Minimises over x >= 0, after Schwartz et al. [1]_,

        haadf_weight / 2 |A_H sum_i w_i x_i - b_H|^2 / sigma^2
        + sum_i (1' S_i A_i x_i - b_i' log(S_i A_i x_i)) + tv_weight sum_i TV(x_i).

    It differs from [1]_ in three things. They raise (Z_i x_i)^gamma: here only Z is raised, since the signal of
    incoherent scattering is proportional to the number of atoms, which makes it convex in x. sigma, the noise of
    the HAADF series [2]_ (at least 1 % of its r.m.s. grey value, for what no projector explains), takes the
    place of the weight between HAADF and counts. And S_i, the shadowing, is part of the model: counts stay counts.
    A_i projects, as the channel is aligned, on the pixels of the grid and averages over those of the channel: data are
    never resampled. Total variation is smoothed for differences under 5 % of the mean density.
    All channels are held whole, about fifteen volumes for each. Recipes and commands cannot run it.
    Each iteration lowers the objective (separable bounds, [3]_); without HAADF and total variation it is MLEM.

    References
    ----------
    .. [1] J. Schwartz et al., Nat. Commun. 15 (2024) 3555, doi:10.1038/s41467-024-47558-0
    .. [2] J. Immerkaer, Comput. Vis. Image Underst. 64 (1996) 300-302, doi:10.1006/cviu.1996.0060
    .. [3] A. R. De Pierro, IEEE Trans. Med. Imaging 14 (1995) 132-137, doi:10.1109/42.370409
    """
    _check(channels, haadf, contrast, alignments, n_iterations, haadf_weight, tv_weight)
    factors = {name: _shadowing(name, series, shadowing) for name, series in channels.items()}
    _check_names("shadowing", shadowing, channels)
    known = alignments or {}
    views = {name: _views(name, series, known.get(name)) for name, series in channels.items()}
    elastic_views = None if haadf is None else _views("haadf", haadf, known.get("haadf"))
    finest = elastic_views or min(views.values(), key=lambda channel: channel.pixel_nm)
    shape = geometry.reconstruction_shape(finest.image_shape, thickness_nm, finest.pixel_nm)
    n_bytes = 4 * len(channels) * math.prod(shape)
    check_held(n_bytes, f"{len(channels)} channels of {shape[0]} layers of {finest.pixel_nm:g} nm")
    counts = [
        Counts(_operator(channel, shape, finest.pixel_nm, factors[name]), channel.images)
        for name, channel in views.items()
    ]
    elastic = None
    if elastic_views is not None:
        elastic = _elastic(elastic_views, shape, tuple(channels), contrast, haadf_weight)
    x, objectives = _solve(counts, shape, elastic, n_iterations, tv_weight)
    x /= np.float32(finest.pixel_nm)  # line integrals are per nm, the solver counts in voxels
    voxel_size_nm = (finest.pixel_nm,) * 3
    origin_nm = geometry.centred_origin_nm(shape, voxel_size_nm)
    return {
        name: Volume(
            np.ascontiguousarray(x[i].transpose(0, 2, 1)),
            voxel_size_nm,
            origin_nm,
            _record(name, i, views[name], objectives, elastic),
        )
        for i, name in enumerate(channels)
    }


def _solve(
    counts: list[Counts],
    shape: tuple[int, int, int],
    elastic: Elastic | None,
    n_iterations: int,
    tv_weight: float,
) -> tuple[np.ndarray, list[Objective]]:
    """Densities per voxel, (n_channels, n_z, n_x, n_y), and the objective before each iteration."""
    n_z, n_y, n_x = shape
    x = np.stack([fused.uniform(channel, (n_z, n_x, n_y)) for channel in counts])
    if elastic is not None:
        for _, _ in zip(range(_START), fused.fused(counts, x), strict=False):
            pass
    steps = fused.fused(counts, x, elastic=elastic, variation=tv_weight)
    iterations = progress.track(range(n_iterations), "multi-channel reconstruction", n_iterations)
    return x, [next(steps) for _ in iterations]


def _views(name: str, series: TiltSeries, alignment: Alignment | None) -> RawViews:
    """The views in use of a channel; errors name it."""
    try:
        return raw_views(series, alignment)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def _operator(
    views: RawViews, shape: tuple[int, int, int], voxel_nm: float, factors: np.ndarray
) -> BinnedProjector:
    """From the grid to the raw views: projected as they are aligned, then averaged over their pixels."""
    projector, n_y = views.projector(shape, voxel_nm), shape[1]
    free = replace(projector, n_y=None, n_v=None)
    if (projector.n_v or 0) <= n_y and free.is_separable:
        projector = free  # a detector as large as the field keeps slices independent, which is faster
    return binned_projector(projector, n_y, views.images.shape[1:], views.pixel_nm / voxel_nm, factors)


def _elastic(
    views: RawViews,
    shape: tuple[int, int, int],
    names: tuple[str, ...],
    contrast: Mapping[str, float] | None,
    weight: float,
) -> Elastic:
    """The HAADF series, with its noise."""
    images = views.images
    rms = math.sqrt(float(np.vdot(images, images)) / images.size)
    if rms == 0:
        raise ValueError("haadf: some grey value must differ from 0, got a series of zeros.")
    noise = max(_noise(images), _MODEL_ERROR * rms) / math.sqrt(weight)
    ones = np.ones(len(images), dtype=np.float32)
    operator = _operator(views, shape, views.pixel_nm, ones)
    factors = None if contrast is None else np.array([contrast[name] for name in names], dtype=np.float64)
    return Elastic(operator, images, noise, factors)


def _noise(images: np.ndarray) -> float:
    """Standard deviation of the noise of a pixel, from what a plane through its neighbours does not explain."""
    if min(images.shape[1:]) < 3:
        return 0.0
    rows = images[:, :-2] - 2 * images[:, 1:-1] + images[:, 2:]
    bend = rows[:, :, :-2] - 2 * rows[:, :, 1:-1] + rows[:, :, 2:]
    return math.sqrt(0.5 * math.pi) / 6.0 * float(np.abs(bend).mean(dtype=np.float64))


def _record(
    name: str, index: int, views: RawViews, objectives: list[Objective], elastic: Elastic | None
) -> dict[str, Any]:
    """What made the volume of one channel."""
    angles = views.alignment.tilt_angles_deg
    record: dict[str, Any] = {
        "method": "multi_channel",
        "quantity": "density",
        "unit": "counts per nm",
        "channel": name,
        "channel_pixel_nm": views.pixel_nm,
        "n_views": len(angles),
        "tilt_range_deg": [float(angles.min()), float(angles.max())],
        "n_iterations": len(objectives),
        "objectives": [objective.total for objective in objectives],
        "divergences": [objective.counts[index] for objective in objectives],
        "variations": [objective.variation for objective in objectives],
    }
    if elastic is not None:
        record["haadf_misfits"] = [objective.elastic for objective in objectives]
        record["haadf_per_count"] = objectives[-1].weights[index]
        record["haadf_noise"] = elastic.noise
    return record


def _shadowing(name: str, series: TiltSeries, shadowing: Any) -> np.ndarray:
    """Factors of the views in use of a channel, float32."""
    if shadowing is None or name not in shadowing:
        return np.ones(int(series.used.sum()), dtype=np.float32)
    factors = np.asarray(shadowing[name], dtype=np.float64)
    if factors.shape != (series.n_tilts,):
        raise ValueError(
            f"shadowing of {name!r} must have one factor per view ({series.n_tilts}), got shape {factors.shape}."
        )
    used = factors[series.used]
    bad = used[~((used > 0) & (used <= 1))]
    if len(bad):
        raise ValueError(
            f"shadowing of {name!r} must lie in (0, 1], got {bad[0]:g}: exclude a view that received nothing."
        )
    return used.astype(np.float32)


def _check(
    channels: Mapping[str, TiltSeries],
    haadf: TiltSeries | None,
    contrast: Mapping[str, float] | None,
    alignments: Mapping[str, Alignment] | None,
    n_iterations: int,
    haadf_weight: float,
    tv_weight: float,
) -> None:
    """Raise ValueError unless the arguments go together."""
    if not channels:
        raise ValueError("there must be at least one channel, got none.")
    if n_iterations < 1:
        raise ValueError(f"n_iterations must be at least 1, got {n_iterations}.")
    if not (math.isfinite(haadf_weight) and haadf_weight > 0):
        raise ValueError(f"haadf_weight must be positive, got {haadf_weight:g}.")
    if not (math.isfinite(tv_weight) and tv_weight >= 0):
        raise ValueError(f"tv_weight must be 0 or more, got {tv_weight:g}.")
    _check_names("alignments", alignments, [*channels, "haadf"])
    for name, series in channels.items():
        for view in np.flatnonzero(series.used):
            least = float(np.min(np.asarray(series.images[view])))
            if least < 0:
                raise ValueError(
                    f"channel {name!r} must hold counts, 0 or more, got {least:g} in view {int(view)} (0-based)."
                )
    if contrast is not None:
        if haadf is None:
            raise ValueError("contrast must come with a haadf series, got none.")
        _check_names("contrast", contrast, channels)
        for name in channels:
            if not (name in contrast and math.isfinite(contrast[name]) and contrast[name] > 0):
                raise ValueError(f"contrast of {name!r} must be a positive number, got {contrast.get(name)}.")


def _check_names(what: str, given: Any, known: Any) -> None:
    unknown = [] if given is None else [str(name) for name in given if name not in known]
    if unknown:
        raise ValueError(f"{what} must name channels {list(known)}, got {unknown}.")
