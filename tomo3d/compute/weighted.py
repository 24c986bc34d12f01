"""Weighted back-projection of a slab of slices at a time: filtered, turned and smeared back."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from tomo3d import progress
from tomo3d.compute import backend, filters
from tomo3d.compute.inner_order import takes_slabs_directly
from tomo3d.compute.projector import SLAB, Projector
from tomo3d.compute.streaming import ReadAhead, WriteBehind

Array = Any
_TOGETHER = 2  # views that a thread filters at a time: their spectra stay in its cache
_SHARES = (
    8  # in which a GPU filters them: a view and its spectrum, padded, take eight times what the view does
)


def wbp(
    images: Array,
    projector: Projector,
    *,
    window: filters.Window,
    pixel_size_nm: float = 1.0,
    out: Array | None = None,
    n_slices: int = SLAB,
) -> Array:
    """Weighted back-projection of `images` (n_views, n_y, n_u): density per nm, (n_z, n_y, n_x) float32.

    `images` is read, and `out` (an array, memory map, or store with `out[:, first:last] = slab`) written, `n_slices`
    slices at a time; all at once where the projector couples them. With images on a GPU, `out` may be there or on the
    host; from the host and to it slabs go while a GPU works on another. Densities are divided by `pixel_size_nm`.
    """
    _, n_y, n_u = images.shape
    n_slices = n_slices if projector.is_separable else n_y
    response = filters.responses(
        projector.tilt_angles_deg, filters.padded_length(n_u), window, pixel_size_nm=pixel_size_nm
    )
    response /= np.float32(pixel_size_nm)
    inner = None
    bands = [slice(y, min(y + n_slices, n_y)) for y in range(0, n_y, n_slices)]
    with ReadAhead(images, bands) as views, WriteBehind() as written:
        for band in progress.track(bands, "weighted back-projection", len(bands)):
            rows = views[:, band]
            xp = backend.namespace(rows)
            if out is None:
                out = xp.empty((projector.n_z, n_y, projector.n_x), dtype=np.float32)
            if inner is None or inner.shape[2] != rows.shape[1]:
                inner = projector.empty_images(rows, rows.shape[1])
            filter_views(rows, response, inner[:, projector.inside])
            del rows
            views.go_on()
            if takes_slabs_directly(out, xp):
                projector.back_to_public(inner, xp.asarray(out[:, band]))
                continue
            slab = xp.empty((projector.n_z, inner.shape[2], projector.n_x), dtype=np.float32)
            projector.back_to_public(inner, slab)
            written.write(slab, out, band)
            del slab
    return out


def filter_views(images: Array, response: np.ndarray, inner: Array) -> None:
    """Filter rows along u of `images` (n_views, n_y, n_u) into `inner` (n_views, n_u, n_y)."""
    xp = backend.namespace(images)
    response = xp.asarray(np.broadcast_to(response, (len(images), response.shape[1])))
    together = _TOGETHER if xp is np else -(-len(images) // _SHARES)

    def some(first: int) -> None:
        views = slice(first, first + together)
        inner[views] = filters.filter_rows(images[views], response[views]).transpose(0, 2, 1)

    firsts = range(0, len(images), together)
    if xp is not np:  # on the caller's device and stream
        for first in firsts:
            some(first)
        return
    with ThreadPoolExecutor(backend.n_threads()) as pool:
        for _ in pool.map(some, firsts):
            pass
