"""Grey values of a volume, class by class, with the levels that divide them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tomo3d.progress import track
from tomo3d.render import _style
from tomo3d.types import Labels, Volume

_BINS = 200
_SLAB_VOXELS = 1 << 22
_CURVE_POINTS = 400


@_style.styled
def grey_histogram(volume: Volume, labels: Labels, *, is_logarithmic: bool = True) -> Figure:
    """Distribution of the grey values, of each class, and the levels that were used.

    Parameters
    ----------
    volume : Volume, shape (n_z, n_y, n_x)
        Grey values; read slab by slab.
    labels : Labels, same grid
        Classes of its voxels. Levels in its record, as thresholds leave them, are drawn, and a Gaussian mixture.
    is_logarithmic : bool
        Whether shares of the volume are drawn on a logarithmic axis, so that small classes show.

    Returns
    -------
    matplotlib.figure.Figure
        Share of the volume in each of 200 bins over the range of the grey values: of all voxels (outline), and of
        each class (filled), named with its share of the volume.

    Raises
    ------
    ValueError
        If the grids differ, or the grey values are constant or not finite.
    """
    counts, edges = _counts(volume, labels)
    classes = [number for number in counts if counts[number].any()]
    share = {number: 100.0 * counts[number] / volume.data.size for number in classes}
    figure = _style.new_figure(_style.PAGE_IN, 2.8, layout="constrained")
    axes = figure.subplots()
    for i, number in enumerate(classes):
        colour = _style.PALETTE[i % len(_style.PALETTE)] if number else "#c8c8c8"
        name = str(labels.names.get(number, "background" if number == 0 else f"class {number}"))
        text = f"{name.replace('$', chr(92) + '$')}: {share[number].sum():.3g} %"
        axes.stairs(share[number], edges, fill=True, color=colour, alpha=0.6, label=text)
    everything = sum(share.values())
    axes.stairs(everything, edges, color=_style.INK, lw=0.7)
    _draw_mixture(axes, labels, edges)
    _draw_levels(axes, labels.record.get("levels", ()))
    smallest = 100.0 / volume.data.size
    axes.set(xlabel="Grey value", ylabel="Volume (% per bin)", xlim=(edges[0], edges[-1]))
    if is_logarithmic:
        axes.set_yscale("log")
        axes.set_ylim(0.5 * smallest, 2.0 * float(np.max(everything)))
    else:
        axes.set_ylim(0.0, None)
    figure.legend(loc="outside right upper", title=str(labels.record.get("method", "")), title_fontsize=7)
    return figure


def _counts(volume: Volume, labels: Labels) -> tuple[dict[int, np.ndarray], np.ndarray]:
    """Voxels in each bin, by class; and the edges of the bins."""
    if tuple(volume.data.shape) != tuple(labels.data.shape):
        raise ValueError(
            f"labels must have the shape of the volume, {tuple(volume.data.shape)}, "
            f"got {tuple(labels.data.shape)}."
        )
    n_z, n_y, n_x = volume.data.shape
    depth = max(1, _SLAB_VOXELS // (n_y * n_x))
    parts = [slice(z, min(n_z, z + depth)) for z in range(0, n_z, depth)]
    ranges = []
    for part in track(parts, "grey range", len(parts)):
        grey = _style.host(volume.data[part])
        ranges.append((float(grey.min()), float(grey.max())))
    low, high = min(r[0] for r in ranges), max(r[1] for r in ranges)
    if not all(math.isfinite(value) for pair in ranges for value in pair):
        raise ValueError(
            "the grey values must be finite, got nan or inf. Crop the volume to where it is known."
        )
    if low == high:
        raise ValueError(f"the grey values must differ, got {low:g} everywhere.")
    edges = np.linspace(low, high, _BINS + 1)
    counts: dict[int, np.ndarray] = {}
    for part in track(parts, "grey histogram", len(parts)):
        grey = _style.host(volume.data[part]).astype(np.float64)
        classes = _style.host(labels.data[part])
        for number in np.unique(classes):
            found = np.histogram(grey[classes == number], edges)[0]
            counts[int(number)] = counts.get(int(number), 0) + found
    return dict(sorted(counts.items())), edges


def _draw_levels(axes: Axes, levels: Sequence[float]) -> None:
    for i, level in enumerate(levels):
        label = f"level {level:.4g}"
        axes.axvline(level, color=_style.INK, ls=(0, (4, 2)), lw=0.9, label=label, zorder=3 + i)


def _draw_mixture(axes: Axes, labels: Labels, edges: np.ndarray) -> None:
    """The normal distributions of a Gaussian mixture, in the same unit."""
    record = labels.record
    if not {"class_means", "class_sigmas", "class_shares"} <= set(record):
        return
    grey = np.linspace(edges[0], edges[-1], _CURVE_POINTS)
    for mean, sigma, share in zip(
        record["class_means"], record["class_sigmas"], record["class_shares"], strict=True
    ):
        density = share / (sigma * math.sqrt(2 * math.pi)) * np.exp(-0.5 * ((grey - mean) / sigma) ** 2)
        axes.plot(grey, 100.0 * density * (edges[1] - edges[0]), color=_style.INK, lw=0.8, ls=(0, (1, 1)))
