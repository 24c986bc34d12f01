"""What is given by channel: checked against the channels there are."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from tomo3d.types import Alignment, TiltSeries


def shadowing_of(name: str, series: TiltSeries, shadowing: Any) -> np.ndarray:
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


def check_channels(
    channels: Mapping[str, TiltSeries],
    haadf: TiltSeries | None,
    contrast: Mapping[str, float] | None,
    alignments: Mapping[str, Alignment] | None,
    haadf_weight: float,
    tv_weight: float,
) -> None:
    """Raise ValueError unless the arguments go together."""
    if not channels:
        raise ValueError("there must be at least one channel, got none.")
    if not (math.isfinite(haadf_weight) and haadf_weight > 0):
        raise ValueError(f"haadf_weight must be positive, got {haadf_weight:g}.")
    if not (math.isfinite(tv_weight) and tv_weight >= 0):
        raise ValueError(f"tv_weight must be 0 or more, got {tv_weight:g}.")
    check_names("alignments", alignments, [*channels, "haadf"])
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
        check_names("contrast", contrast, channels)
        for name in channels:
            if not (name in contrast and math.isfinite(contrast[name]) and contrast[name] > 0):
                raise ValueError(f"contrast of {name!r} must be a positive number, got {contrast.get(name)}.")


def check_names(what: str, given: Any, known: Any) -> None:
    """Raise ValueError if something is given for a name that is not known."""
    unknown = [] if given is None else [str(name) for name in given if name not in known]
    if unknown:
        raise ValueError(f"{what} must name channels {list(known)}, got {unknown}.")
