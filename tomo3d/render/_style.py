"""The one style of all figures: sizes, palette, scale bar; and figures as bytes.

Figures are made without pyplot, so that nothing here opens a window or keeps a
global list. Sizes are those of a journal page: `PAGE_IN` is two columns wide,
`COLUMN_IN` one, and text is 7 to 8 points in print.
"""

from __future__ import annotations

import functools
import io
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

import matplotlib
import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Colormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from tomo3d.compute import backend

P = ParamSpec("P")
R = TypeVar("R")

PAGE_IN = 7.1  # 180 mm
COLUMN_IN = 3.5  # 89 mm
INK = "#222222"
QUIET = "#767676"
PAPER = "#ebebeb"  # behind a map whose zero is transparent: its brightest colour must still show

# Okabe and Ito (2008), told apart under every common colour blindness; the order puts strong contrasts first.
PALETTE = ("#E69F00", "#56B4E9", "#009E73", "#CC79A7", "#D55E00", "#0072B2", "#F0E442", "#999999")

_RC: dict[Any, Any] = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "legend.handlelength": 1.6,
    "axes.linewidth": 0.6,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlepad": 4,
    "axes.labelpad": 3,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "lines.linewidth": 1.0,
    "lines.markersize": 3,
    "text.color": INK,
    "axes.unicode_minus": True,
}
_RC_SAVE: dict[Any, Any] = {"pdf.fonttype": 42, "svg.fonttype": "path", "svg.hashsalt": "tomo3d"}


@contextmanager
def _style() -> Iterator[None]:
    defaults = matplotlib.rcParamsDefault
    # to ask for the backend would load pyplot
    settings: dict[Any, Any] = {name: defaults[name] for name in defaults if not name.startswith("backend")}
    with matplotlib.rc_context({**settings, **_RC}):
        yield


def styled(function: Callable[P, R]) -> Callable[P, R]:
    """The function, run in the style of this module whatever the caller's matplotlib settings are."""

    @functools.wraps(function)
    def in_style(*args: P.args, **kwargs: P.kwargs) -> R:
        with _style():
            return function(*args, **kwargs)

    return in_style


def new_figure(width_in: float, height_in: float, *, layout: str | None = None) -> Figure:
    """An empty figure of a size in inches, on an Agg canvas."""
    figure = Figure(figsize=(width_in, height_in), dpi=150, layout=layout, facecolor="white")  # type: ignore[arg-type]
    FigureCanvasAgg(figure)
    return figure


def encode(figure: Figure, *, format: str = "png", dpi: float = 300) -> bytes:
    """A figure as the bytes of a PNG, PDF or SVG file.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    format : str
        "png", "pdf" or "svg". In the last two text stays a vector.
    dpi : float
        Pixels per inch of a PNG, and of pictures inside a PDF or SVG.

    Returns
    -------
    bytes
        The same bytes for the same figure: no date is written.

    Raises
    ------
    ValueError
        If the format is none of the three.
    """
    dates = {"png": {}, "pdf": {"CreationDate": None}, "svg": {"Date": None}}
    if format not in dates:
        raise ValueError(f"format must be one of {', '.join(dates)}, got {format!r}.")
    buffer = io.BytesIO()
    with _style(), matplotlib.rc_context(_RC_SAVE):
        figure.savefig(buffer, format=format, dpi=dpi, metadata=dates[format])
    return buffer.getvalue()


def round_length(length: float) -> float:
    """The largest 1, 2 or 5 times a power of ten that is not above `length`."""
    power = 10.0 ** math.floor(math.log10(length))
    # 1 - 1e-9: a length that is round already must not fall to the one below
    return max(step * power for step in (0.5, 1.0, 2.0, 5.0, 10.0) if step * power * (1 - 1e-9) <= length)


def length_text(length_nm: float) -> str:
    """A length with its unit: nm below 1000 nm, else µm."""
    return f"{length_nm / 1000:g} µm" if length_nm >= 1000 else f"{length_nm:g} nm"


def signed(angle_deg: float) -> str:
    """An angle with its sign, to a tenth; no sign for 0."""
    text = f"{angle_deg:+.1f}".replace("-", "−")
    return "0.0" if text[1:] == "0.0" else text


def add_scale_bar(axes: Axes, *, dark: bool = False, fraction: float = 0.3) -> float:
    """Draw a bar of a round length at the lower left of axes in nm; returns that length in nm.

    The bar is at most `fraction` of the width. White with a dark rim by default, as pictures can be dark or bright.
    """
    left, right = axes.get_xlim()
    bottom, top = axes.get_ylim()
    width, height = right - left, top - bottom
    length_nm = round_length(fraction * width)
    ink, rim = (INK, "white") if dark else ("white", INK)
    nm_per_in = height * axes.get_figure(root=True).dpi / axes.get_window_extent().height  # type: ignore[union-attr]
    margin_nm = min(0.08 * nm_per_in, 0.1 * height, 0.1 * width)
    thickness_nm = min(0.035 * nm_per_in, 0.1 * height)
    effects = [patheffects.withStroke(linewidth=1.4, foreground=rim, alpha=0.7)]
    bar = Rectangle(
        (left + margin_nm, bottom + margin_nm),
        length_nm,
        thickness_nm,
        facecolor=ink,
        edgecolor="none",
        path_effects=effects,
        gid="scale bar",
        zorder=5,
    )
    axes.add_patch(bar)
    axes.annotate(
        length_text(length_nm),
        (left + margin_nm + 0.5 * length_nm, bottom + margin_nm + thickness_nm),
        xytext=(0, 1.5),
        textcoords="offset points",
        ha="center",
        va="bottom",
        fontsize=7,
        color=ink,
        path_effects=effects,
        annotation_clip=False,
        zorder=5,
    )
    return length_nm


def picture_axes(axes: Axes) -> None:
    """Frame on all sides, no ticks: what pictures have."""
    for spine in axes.spines.values():
        spine.set_visible(True)
        spine.set_color(QUIET)
    axes.set_xticks([])
    axes.set_yticks([])


def grey_range(values: np.ndarray, contrast: tuple[float, float]) -> tuple[float, float]:
    """Grey values drawn black and white: percentiles of the finite `values`.

    Raises
    ------
    ValueError
        If the percentiles are not ascending within 0 to 100, or no value is finite.
    """
    low, high = contrast
    if not 0 <= low < high <= 100:
        raise ValueError(f"contrast must be two ascending percentiles within 0 to 100, got {contrast}.")
    values = (
        values.astype(np.float32, copy=False) if values.dtype == bool else values
    )  # masks have no percentiles
    finite = values[np.isfinite(values)]
    if finite.size == 0:
        raise ValueError(
            f"at least one grey value must be finite to be drawn, got none in {values.size} values."
        )
    black, white = (float(v) for v in np.percentile(finite, (low, high)))
    if black == white:  # sparse structures: the percentiles fall in the background
        black, white = float(finite.min()), float(finite.max())
    return (black, white) if black < white else (black - 0.5, white + 0.5)


def colour_map(name: str) -> Colormap:
    """A matplotlib colour map whose masked values are transparent."""
    return matplotlib.colormaps[name].with_extremes(bad=(0, 0, 0, 0))


def host(array: Any) -> np.ndarray:
    """A part of an array as NumPy, whatever device or store it lives on."""
    xp = backend.namespace(array)
    return np.asarray(array) if xp is np else xp.asnumpy(array)
