"""What the elements of one specimen take of memory, stated before it is taken."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from tomo3d.compute.kernels.projection import PAD
from tomo3d.planning import Plan, Sketch, voxels_along

_VOLUMES = 6  # of each element: itself, its gain, slope, curvature and sensitivity, and room to work
_VOLUMES_AT_WORK = 3  # of the element that is projected
_VOLUMES_VARIATION = 10  # of the element whose total variation is looked at
_VOLUMES_ELASTIC = 3  # of what all elements share: gradient, coverage, weighted sum
_IMAGES = 2  # of each series: itself, and which of its pixels are seen
_IMAGES_AT_WORK = 8  # of the series that is projected
_IMAGES_STOP = 2  # more of it, to say what counting alone would do


def peak_bytes(
    shape: tuple[int, int, int],
    series: Sequence[tuple[int, int, int]],
    elastic: tuple[int, int, int] | None,
    *,
    variation: float,
    has_stop: bool,
    n_held: int,
) -> int:
    """Most that is held at a time.

    `shape` is (n_z, n_y, n_x); `series` holds (n_views, n_v, n_u) of each element, `elastic` that of the HAADF series;
    `n_held` results are arrays in memory.
    """
    voxels, together = 4 * math.prod(shape), len(series) if elastic else 1
    pixels = [4 * n_views * n_v * (n_u + PAD) for n_views, n_v, n_u in series]
    volumes = _VOLUMES * together + (_VOLUMES_VARIATION if variation > 0 else _VOLUMES_AT_WORK)
    images = _IMAGES * (sum(pixels) if elastic else max(pixels))
    at_work = (_IMAGES_AT_WORK + _IMAGES_STOP * has_stop) * max(pixels)
    if elastic is not None:
        n_views, n_v, n_u = elastic
        volumes += _VOLUMES_ELASTIC
        own = 4 * n_views * n_v * (n_u + PAD)
        images += _IMAGES * own
        at_work = max(at_work, (len(series) + 3) * own)
    return (volumes + n_held) * voxels + images + at_work


def plan(
    channels: Mapping[str, Sketch],
    *,
    thickness_nm: float,
    haadf: Sketch | None = None,
    tv_weight: float = 0.0,
    stop: object = None,
    out: Any = None,
    **_: Any,
) -> Plan:
    """What `multi_channel` makes and takes, by the sizes of its series."""
    finest = haadf or min(channels.values(), key=lambda sketch: sketch.pixel_size_nm or math.inf)
    pixel_nm = finest.pixel_size_nm
    n_y, n_x = finest.shape[1:]
    shape = (voxels_along(thickness_nm, pixel_nm or 1.0), n_y, n_x)
    result = {name: Sketch("Volume", shape, "float32", pixel_nm) for name in channels}
    series = [_sizes(sketch) for sketch in channels.values()]
    elastic = None if haadf is None else _sizes(haadf)
    peak = peak_bytes(
        shape,
        series,
        elastic,
        variation=tv_weight,
        has_stop=stop is not None,
        n_held=len(channels) - len(out or ()),
    )
    return Plan(result, peak)


def _sizes(sketch: Sketch) -> tuple[int, int, int]:
    n_views, n_v, n_u = sketch.shape
    return n_views, n_v, n_u
