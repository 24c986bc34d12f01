"""Views of a tilt series as the projector wants them, resampled only where they must be, a band of rows at a time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from tomo3d.compute import backend
from tomo3d.compute.bending import Bends
from tomo3d.compute.resampling import affine_image

Array = Any
_REACH = 16  # pixels; a cubic spline's memory of its neighbours has faded to 1e-9 by then


@dataclass(frozen=True, eq=False)
class SelectedViews:
    """Some of the views of a stack, without a copy: `selected[:, first:last]` reads a band of rows of each.

    `images` is (n_tilts, n_y, n_x), an array, memory map or Zarr store; `indices` says which views, in which
    order; `first_rows`, one per view, where row 0 is taken from: it moves a view by whole rows. Rows from beyond the
    image are unknown: NaN, or with `continued` the nearest row.
    """

    images: Array
    indices: np.ndarray
    first_rows: np.ndarray | None = None
    continued: bool = False

    @property
    def shape(self) -> tuple[int, int, int]:
        """(n_views, n_y, n_x)."""
        return (len(self.indices), int(self.images.shape[1]), int(self.images.shape[2]))

    def __getitem__(self, key: tuple[slice, slice]) -> Array:
        first, last = _rows(key, self.shape[1])
        xp = backend.namespace(self.images)
        n_y = self.shape[1]
        moves = np.zeros(len(self.indices), dtype=int) if self.first_rows is None else self.first_rows
        if not moves.any() and np.array_equal(self.indices, np.arange(self.images.shape[0])):
            return xp.asarray(self.images[:, first:last])
        band = xp.empty((len(self.indices), last - first, self.shape[2]), dtype=np.float32)
        for k, (view, move) in enumerate(zip(self.indices.tolist(), moves.tolist(), strict=True)):
            rows = np.arange(first, last) + move
            held = np.clip(rows, 0, n_y - 1)
            part = xp.asarray(self.images[view, held[0] : held[-1] + 1])
            band[k] = part[held - held[0]] if held[0] + len(held) - 1 != held[-1] else part
            if not self.continued:
                band[k, rows != held] = xp.nan
        return band


@dataclass(frozen=True, eq=False)
class ResampledViews:
    """Views resampled once by a cubic spline, a band of rows at a time: `views[:, first:last]`.

    Value at index i (y, x) of view k is taken from index matrices[k] @ i + offsets[k] of images[indices[k]], or from
    where local shifts `bends`, one for each of these views, move that place to.
    Pixels from beyond the image are unknown: NaN, or with `continued` the value at its nearest edge.
    """

    images: Array
    indices: np.ndarray
    matrices: np.ndarray
    offsets: np.ndarray
    out_shape: tuple[int, int]
    continued: bool = False
    bends: Bends | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """(n_views, n_y, n_x)."""
        return (len(self.indices), *self.out_shape)

    def __getitem__(self, key: tuple[slice, slice]) -> Array:
        first, last = _rows(key, self.shape[1])
        xp = backend.namespace(self.images)
        band = xp.empty((len(self.indices), last - first, self.shape[2]), np.float32)
        if xp is not np:  # on the caller's device and stream
            for k in range(len(band)):
                self._resample(k, first, last, band[k])
            return band
        with ThreadPoolExecutor(backend.n_threads()) as pool:
            for _ in pool.map(lambda k: self._resample(k, first, last, band[k]), range(len(self.indices))):
                pass
        return band

    def _resample(self, k: int, first: int, last: int, out: Array) -> None:
        """Rows first to last of view k: only the part of the image that they need is read."""
        if self.bends is not None:
            self._resample_bent(self.bends, k, first, last, out)
            return
        matrix = self.matrices[k]
        offset = matrix @ [first, 0] + self.offsets[k]
        corners = np.array([[y, x] for y in (0, last - first - 1) for x in (0, self.shape[2] - 1)])
        part, low = self._part(k, corners @ matrix.T + offset)
        xp = backend.namespace(part)
        if xp is np:
            affine_image(np.ascontiguousarray(part), matrix, offset - low, out)
        else:
            backend.ndimage(part).affine_transform(
                part,
                xp.asarray(matrix),
                offset=(offset - low).tolist(),
                output_shape=out.shape,
                output=out,
                order=3,
                mode="nearest",
            )
        if not self.continued:
            self._forget_outside(out, matrix, offset)

    def _resample_bent(self, bends: Bends, k: int, first: int, last: int, out: Array) -> None:
        """The same where local shifts bend the view."""
        places = bends.places(k, self.matrices[k], self.offsets[k], (first, last), self.shape[2])
        part, low = self._part(k, places.reshape(2, -1).T)
        xp = backend.namespace(part)
        within = xp.asarray(places - low[:, None, None])
        backend.ndimage(part).map_coordinates(part, within, output=out, order=3, mode="nearest")
        if not self.continued:
            limits = np.array(self.images.shape[1:])[:, None, None] - 0.5
            out[xp.asarray(((places < -0.5) | (places > limits)).any(axis=0))] = xp.nan

    def _part(self, k: int, reached: np.ndarray) -> tuple[Array, np.ndarray]:
        """The part of a view that places (n, 2) need, float32, and its first row and column."""
        shape = np.array(self.images.shape[1:])
        low = np.clip(np.floor(reached.min(0)).astype(int) - _REACH, 0, shape - 1)
        high = np.clip(np.ceil(reached.max(0)).astype(int) + _REACH + 1, low + 1, shape)
        view = self.images[int(self.indices[k]), low[0] : high[0], low[1] : high[1]]
        return backend.namespace(self.images).asarray(view, dtype=np.float32), low

    def _forget_outside(self, out: Array, matrix: np.ndarray, offset: np.ndarray) -> None:
        """NaN where a pixel comes from beyond the outer half pixel of the image."""
        xp = backend.namespace(out)
        y, x = xp.arange(out.shape[0])[:, None], xp.arange(out.shape[1])
        for axis, n in enumerate(self.images.shape[1:]):
            position = matrix[axis, 0] * y + matrix[axis, 1] * x + offset[axis]
            out[(position < -0.5) | (position > n - 0.5)] = xp.nan


def _rows(key: tuple[slice, slice], n_y: int) -> tuple[int, int]:
    """First and last of the rows that `[:, first:last]` asks for."""
    views, rows = key
    first, last, step = rows.indices(n_y)
    if views != slice(None) or step != 1:
        raise IndexError(f"views are read as [:, first:last], got {key}.")
    return first, last
