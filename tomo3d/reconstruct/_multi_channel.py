"""Elemental maps of one specimen, counted at few tilts, alone or together with its HAADF series."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tomo3d import geometry, progress
from tomo3d.compute import backend, fused
from tomo3d.compute.binned_projector import BinnedProjector, binned_projector
from tomo3d.compute.fused import Counts, Elastic, Objective
from tomo3d.planning import planned
from tomo3d.reconstruct import _channel_memory
from tomo3d.reconstruct._channels import check_channels, check_names, shadowing_of
from tomo3d.reconstruct._iterative import Request
from tomo3d.reconstruct._prepare import Prepared, check_out
from tomo3d.reconstruct._raw_views import RawViews, raw_views
from tomo3d.reconstruct._slab_memory import check_peak
from tomo3d.types import Alignment, ArraySink, TiltSeries, Volume

if TYPE_CHECKING:
    import pandas as pd

_START = 3  # iterations on the counts alone before the HAADF series joins, so that the elements differ
_MODEL_ERROR = 0.01  # of the r.m.s. grey value: what no projector explains, however little noise there is

ChannelsCallback = Callable[[int, Mapping[str, Any], float], bool | None]  # (iteration, volumes, objective)


@dataclass(frozen=True)
class CountingNoise:
    """Stop when the divergence is down to `tau` times what counting alone makes it: the discrepancy principle.

    For counts of any number: the divergence of Poisson counts from their own mean is expected as a sum over pixels,
    1/2 each where there are many, less where there are few (after M. Bertero et al., Inverse Problems 26 (2010)
    105004, doi:10.1088/0266-5611/26/10/105004, who take 1/2 for all).
    """

    tau: float = 1.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.tau) and self.tau > 0):
            raise ValueError(f"tau of a discrepancy must be positive, got {self.tau:g}.")

    def __str__(self) -> str:
        return f"discrepancy:{self.tau:g}"


def _parse_stop(stop: CountingNoise | str | None) -> CountingNoise | None:
    """The rule from "discrepancy" or "discrepancy:TAU"."""
    if not isinstance(stop, str):
        return stop
    name, _, text = stop.partition(":")
    try:
        if name == "discrepancy":
            return CountingNoise(*([float(text)] if text else []))
    except ValueError as error:
        raise ValueError(f"stop must be discrepancy or discrepancy:TAU, got {stop!r}: {error}") from error
    raise ValueError(f"stop must be discrepancy or discrepancy:TAU, got {stop!r}.")


@planned(_channel_memory.plan)
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
    stop: CountingNoise | str | None = None,
    callback: ChannelsCallback | None = None,
    out: Mapping[str, ArraySink] | None = None,
    memory_limit: int | str | None = None,
) -> dict[str, Volume]:
    """Densities of several elements from their counts (EDX, EELS), fused with the HAADF series if there is one.

    Parameters
    ----------
    channels : mapping of str to TiltSeries
        Counts of each element; never negative. Each has its own tilts, views in use and pixel.
    thickness_nm : float
        Thickness of the reconstruction along the beam.
    n_iterations : int
        More iterations are sharper and noisier: 10 to 100. With `stop`, the most that are done.
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
        How the views of a channel, or of "haadf", fit together, without local shifts. Default: they are aligned.
    stop : CountingNoise or str, optional
        When to stop before `n_iterations`: "discrepancy", when the counts lie no further from the model than counting
        alone puts them, or "discrepancy:TAU" for TAU times that. Default: not.
    callback : callable, optional
        callback(iteration, volumes, objective) after each iteration, counted from 1, with the volumes so far (those of
        the elements that are solved together) and the objective before it; it returns True to stop. Default: none.
    out : mapping of str to array-like, shape (n_z, n_y, n_x), optional
        Where to write a channel, as out[name][:, 0:n_y] = volume. Default, and for a channel left out: a new array.
    memory_limit : int or str, optional
        Most that the call may take besides its inputs, in bytes or as "8 GiB". Default: no limit.

    Returns
    -------
    dict of str to Volume, shape (round(thickness_nm / pixel), n_y, n_x), float32
        Density of each element in counts per nm, on the grid of the HAADF series (else of the first channel with
        the smallest pixel), over `out` if given. Their records hold the objective before each iteration, its terms,
        how many were done, and why they ended.

    Raises
    ------
    ValueError
        If there is no channel, a count is negative or not finite, a factor lies outside (0, 1] or their number is
        not that of the views, a name is not that of a channel, the memory limit is too low, or as for `sirt`.
    TypeError
        If an output does not hold floating-point densities.

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
    Without HAADF, elements are solved one after the other, and stop each for itself. With it they are solved
    together, and stop when the sum of their divergences says so. Volumes are held whole, six for each element
    that is solved, and three more, or ten for total variation.
    Each iteration lowers the objective (separable bounds, [3]_); without HAADF and total variation it is MLEM.

    References
    ----------
    .. [1] J. Schwartz et al., Nat. Commun. 15 (2024) 3555, doi:10.1038/s41467-024-47558-0
    .. [2] J. Immerkaer, Comput. Vis. Image Underst. 64 (1996) 300-302, doi:10.1006/cviu.1996.0060
    .. [3] A. R. De Pierro, IEEE Trans. Med. Imaging 14 (1995) 132-137, doi:10.1109/42.370409
    """
    Request(thickness_nm, n_iterations)  # checks the number
    check_channels(channels, haadf, contrast, alignments, haadf_weight, tv_weight)
    rule = _parse_stop(stop)
    factors = {name: shadowing_of(name, series, shadowing) for name, series in channels.items()}
    check_names("shadowing", shadowing, channels)
    check_names("out", out, channels)
    known = alignments or {}
    views = {name: _views(name, series, known.get(name)) for name, series in channels.items()}
    elastic_views = None if haadf is None else _views("haadf", haadf, known.get("haadf"))
    finest = elastic_views or min(views.values(), key=lambda channel: channel.pixel_nm)
    shape = geometry.reconstruction_shape(finest.image_shape, thickness_nm, finest.pixel_nm)
    _check_sinks(out or {}, channels, finest, shape)
    _check_memory(views, elastic_views, shape, tv_weight, rule is not None, out or {}, memory_limit)
    elastic = None
    if elastic_views is not None:
        elastic = _elastic(elastic_views, shape, tuple(channels), contrast, haadf_weight)
    task = _Task(shape, finest.pixel_nm, elastic, n_iterations, tv_weight, rule, callback, out or {})
    found: dict[str, Volume] = {}
    for group in [list(channels)] if elastic is not None else [[name] for name in channels]:
        found |= _solved(task, {name: views[name] for name in group}, factors)
    return found


@dataclass(frozen=True, eq=False)
class _Task:
    """What is the same for all elements."""

    shape: tuple[int, int, int]
    pixel_nm: float
    elastic: Elastic | None
    n_iterations: int
    tv_weight: float
    rule: CountingNoise | None
    callback: ChannelsCallback | None
    out: Mapping[str, ArraySink]


def _solved(
    task: _Task, views: Mapping[str, RawViews], factors: Mapping[str, np.ndarray]
) -> dict[str, Volume]:
    """The volumes of the elements that are solved together."""
    shape, pixel_nm = task.shape, task.pixel_nm
    counts = [  # of views whose images are let go of with them
        Counts(_operator(channel, shape, pixel_nm, factors[name]), replace(channel).images)
        for name, channel in views.items()
    ]
    x, objectives, stopped = _solve(task, counts, tuple(views))
    x /= np.float32(pixel_nm)  # line integrals are per nm, the solver counts in voxels
    voxel_size_nm = (pixel_nm,) * 3
    origin_nm = geometry.centred_origin_nm(shape, voxel_size_nm)
    found = {}
    for i, (name, channel) in enumerate(views.items()):
        record = {**_record(name, i, channel, objectives, task), "stopped": stopped}
        found[name] = Volume(_written(x[i], task.out.get(name)), voxel_size_nm, origin_nm, record)
    return found


def _written(x: np.ndarray, out: ArraySink | None) -> Any:
    """The volume in the public order: in `out`, or in an array of its own."""
    public = x.transpose(0, 2, 1)
    if out is None:
        return backend.namespace(x).ascontiguousarray(public)
    here = backend.namespace(out) is backend.namespace(x)
    out[:, 0 : public.shape[1]] = public if here else backend.to_device(public, "cpu")
    return out


def _solve(
    task: _Task, counts: list[Counts], names: tuple[str, ...]
) -> tuple[np.ndarray, list[Objective], str]:
    """Densities per voxel, (n_channels, n_z, n_x, n_y), the objective before each iteration, and why they ended."""
    n_z, n_y, n_x = task.shape
    x = backend.namespace(counts[0].images).stack(
        [fused.uniform(channel, (n_z, n_x, n_y)) for channel in counts]
    )
    if task.elastic is not None:
        for _, _ in zip(range(_START), fused.fused(counts, x), strict=False):
            pass
    tau = None if task.rule is None else task.rule.tau
    steps = fused.fused(counts, x, elastic=task.elastic, variation=task.tv_weight, tau=tau)
    done: list[Objective] = []
    for _, objective in zip(range(task.n_iterations), steps, strict=False):
        done.append(objective)
        progress.report("multi-channel reconstruction", len(done), task.n_iterations)
        if task.callback is not None:
            volumes = {
                name: volume.transpose(0, 2, 1) / np.float32(task.pixel_nm)
                for name, volume in zip(names, x, strict=True)
            }
            if task.callback(len(done), volumes, objective.total):
                return x, done, "callback"
    if len(done) < task.n_iterations:
        return x, done, f"divergence at most {tau:g} x that of counting"
    return x, done, "n_iterations"


def _check_sinks(
    out: Mapping[str, ArraySink],
    channels: Mapping[str, TiltSeries],
    finest: RawViews,
    shape: tuple[int, int, int],
) -> None:
    """Raise an error, which names the channel, unless every output fits."""
    projector = finest.projector(shape, finest.pixel_nm)
    for name, sink in out.items():
        prepared = Prepared(channels[name].images, projector, shape, finest.pixel_nm)
        try:
            check_out(sink, prepared)
        except (ValueError, TypeError) as error:
            raise type(error)(f"{name}: {error}") from None


def _check_memory(
    views: Mapping[str, RawViews],
    elastic: RawViews | None,
    shape: tuple[int, int, int],
    tv_weight: float,
    has_stop: bool,
    out: Mapping[str, ArraySink],
    memory_limit: int | str | None,
) -> None:
    """Say what the call will take, and refuse it where that is too much."""
    held = [name for name in views if name not in out]
    sizes = [(channel.n_views, *channel.image_shape) for channel in views.values()]
    together = "one element at a time" if elastic is None else f"all {len(views)} elements at once"
    check_peak(
        _channel_memory.peak_bytes(
            shape,
            sizes,
            None if elastic is None else (elastic.n_views, *elastic.image_shape),
            variation=tv_weight,
            has_stop=has_stop,
            n_held=len(held),
        ),
        memory_limit,
        result=4 * len(held) * math.prod(shape),
        title=f"multi_channel, which works on {together},",
        work=together,
        advice="bin the finest series, or reconstruct a thinner slab"
        + (", or pass out={...} to write to files" if held else ""),
    )


def _views(name: str, series: TiltSeries, alignment: Alignment | None) -> RawViews:
    """The views in use of a channel; errors name it."""
    if alignment is not None and alignment.local_shifts_nm is not None:
        raise ValueError(
            f"{name}: views of channels are never resampled, so an alignment must have no local shifts, got one that "
            "does: take the one without (dataclasses.replace(alignment, local_shifts_nm=None))."
        )
    try:
        return raw_views(series, alignment)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def _operator(
    views: RawViews, shape: tuple[int, int, int], voxel_nm: float, factors: np.ndarray
) -> BinnedProjector:
    """From the grid to the raw views: projected as they are aligned, then averaged over their pixels."""
    projector, n_y = replace(views.projector(shape, voxel_nm), is_positive=True), shape[1]
    free = replace(projector, n_y=None, n_v=None)
    if (projector.n_v or 0) <= n_y and free.is_separable:
        projector = free  # a detector as large as the field keeps slices independent, which is faster
    return binned_projector(projector, n_y, views.image_shape[::-1], views.pixel_nm / voxel_nm, factors)


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
    name: str, index: int, views: RawViews, objectives: list[Objective], task: _Task
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
        "stop": None if task.rule is None else str(task.rule),
        "max_iterations": int(task.n_iterations),
        "n_iterations": len(objectives),
        "objectives": [objective.total for objective in objectives],
        "divergences": [objective.counts[index] for objective in objectives],
        "variations": [objective.variation for objective in objectives],
    }
    if task.rule is not None:
        record["divergences_by_counting"] = [objective.by_counting[index] for objective in objectives]
    if task.elastic is not None:
        record["haadf_misfits"] = [objective.elastic for objective in objectives]
        record["haadf_per_count"] = objectives[-1].weights[index]
        record["haadf_noise"] = task.elastic.noise
    return record
