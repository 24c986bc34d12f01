"""Views on the coarser grid of a volume, without aliasing, a band of rows at a time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from tomo3d import geometry
from tomo3d.compute import backend

Array = Any
_REACH = 10.0  # coarse pixels on each side of the kernel
_CUTOFF = 0.425  # cycles per coarse pixel: between what is kept, up to 0.35, and what is not, from 0.5
_BETA = 4.53  # Kaiser's parameter for 50 dB
_BLOCK = 64  # coarse columns in one matrix product: most of its band is not zero


@dataclass(frozen=True, eq=False)
class CoarseViews:
    """A stack (n_views, n_y, n_x) on pixels `factor` times as wide, about the same centre: it reads as an array does.

    What a coarser pixel cannot hold would come back as what is not there: 0.6 cycles per pixel as 0.4. So each
    view is first low-passed at 0.5 cycles per coarse pixel, by a sinc in a Kaiser window (Kaiser and Schafer, IEEE
    Trans. Acoust. Speech Signal Process. 28 (1980) 105-107): up to 0.35 cycles per coarse pixel amplitudes are kept
    within 0.5 %, and from 0.5 on at most 0.5 % is left. Values are means, not sums, and what is even stays as it is, so
    that densities do not change. Beyond the image the nearest pixel goes on.

    That serves views at every tilt: a step of one voxel is |cos t| or |sin t| of a pixel there, never more.

    `views[k]`, `views[:, first:last]`, `views[k, y0:y1, x0:x1]` read no more of `images` than they need. `factor` is
    1 or more; coarse pixels that would stick out of the image are left out.
    """

    images: Array
    factor: float

    ndim = 3
    dtype = np.dtype(np.float32)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(n_views, n_y, n_x) on the coarse pixels."""
        n_views, n_y, n_x = (int(n) for n in self.images.shape)
        return (n_views, coarse_length(n_y, self.factor), coarse_length(n_x, self.factor))

    def __getitem__(self, key: Any) -> Array:
        view, rows, columns = (*(key if isinstance(key, tuple) else (key,)), slice(None), slice(None))[:3]
        _, n_y, n_x = (int(n) for n in self.images.shape)
        y0, along_y = _band(n_y, self.factor, rows)
        x0, along_x = _band(n_x, self.factor, columns)
        xp = backend.namespace(self.images)
        views = range(self.shape[0])[view] if isinstance(view, slice) else [view]
        out = xp.empty((len(views), len(along_y), len(along_x)), dtype=np.float32)
        for k, index in enumerate(views):
            part = self.images[int(index), y0 : y0 + along_y.shape[1], x0 : x0 + along_x.shape[1]]
            held = xp.asarray(along_y) @ xp.asarray(part, dtype=np.float32)
            for x in range(0, len(along_x), _BLOCK):
                weights = along_x[x : x + _BLOCK]
                used = np.flatnonzero(weights.any(axis=0))
                band = slice(int(used[0]), int(used[-1]) + 1)
                out[k, :, x : x + _BLOCK] = held[:, band] @ xp.asarray(weights[:, band].T)
        return out if isinstance(view, slice) else out[0]


def coarse_length(n: int, factor: float) -> int:
    """Number of coarse pixels that fit on `n` pixels, one at least."""
    return max(1, math.floor(n / factor + 1e-6))


def _band(n: int, factor: float, part: slice) -> tuple[int, np.ndarray]:
    """First pixel that the coarse pixels of a slice need, and their weights (n_coarse, n_needed) float32."""
    n_coarse = coarse_length(n, factor)
    chosen = np.arange(n_coarse)[part]
    middle = (chosen - geometry.centre(n_coarse)) * factor + geometry.centre(n)
    reach = math.ceil(_REACH * factor)
    pixels = np.rint(middle).astype(int)[:, None] + np.arange(-reach, reach + 1)
    distance = (pixels - middle[:, None]) / factor  # in coarse pixels
    window = np.i0(_BETA * np.sqrt(np.maximum(1.0 - (distance / _REACH) ** 2, 0.0)))
    taps = np.where(np.abs(distance) <= _REACH, np.sinc(2.0 * _CUTOFF * distance) * window, 0.0)
    taps /= taps.sum(axis=1, keepdims=True)
    held = np.clip(pixels, 0, n - 1)
    first = int(held.min()) if len(chosen) else 0
    weights = np.zeros((len(chosen), int(held.max()) + 1 - first if len(chosen) else 0))
    np.add.at(weights, (np.arange(len(chosen))[:, None], held - first), taps)
    return first, weights.astype(np.float32)
