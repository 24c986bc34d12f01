"""Checks of data that more than one stage makes."""

from __future__ import annotations

from typing import Any

import numpy as np

from tomo3d.compute import backend


def require_finite(images: Any, views: np.ndarray) -> None:
    """Raise ValueError if one of the `views` (indices) of `images` holds NaN or infinity; one view at a time."""
    if np.dtype(images.dtype).kind != "f":
        return
    for view in views:
        require_finite_view(images[view], int(view))


def require_finite_view(image: Any, view: int) -> None:
    """Raise ValueError if an image, which is this view of a series, holds NaN or infinity."""
    if np.dtype(image.dtype).kind != "f" or bool(
        np.isfinite(image.sum())
    ):  # quick; it may also have overflowed
        return
    n_bad = int((~backend.namespace(image).isfinite(image)).sum())
    if n_bad:
        raise ValueError(
            f"every pixel must be finite, got {n_bad} NaN or infinite pixels in view {view} (0-based): "
            "repair the view, or exclude it."
        )
