"""How many slices along y are solved at a time, and what that takes of memory."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tomo3d.compute.kernels.projection import PAD, SLICES

_ENOUGH_SLABS = 8  # what the first upload and the last download take overlaps nothing: an eighth
_ENOUGH_SLICES = 128  # of a slab; with fewer the threads of a GPU are not all used


@dataclass(frozen=True)
class SlabWork:
    """Arrays that a method holds for each slab: volumes (n_z, n_x, n_y) and images (n_views, n_u, n_y), float32.

    `has_gaps`: some pixels may not be measured, so that the weights are those of every voxel and pixel.
    """

    n_volumes: int
    n_images: int
    has_gaps: bool = False
    has_mask: bool = False

    def n_bytes(self, n_slices: int, n_z: int, n_x: int, n_views: int, n_u: int) -> int:
        """Bytes of a slab of so many slices."""
        volumes = self.n_volumes + self.has_gaps + 0.25 * self.has_mask
        images = self.n_images + 2 * self.has_gaps
        return int(4 * n_slices * (volumes * n_z * n_x + images * n_views * (n_u + PAD)))

    def streamed(self, *, up: bool, down: bool) -> SlabWork:
        """With what a device holds besides while slabs come and go: the next one's images, and the last volume."""
        return replace(self, n_volumes=self.n_volumes + down, n_images=self.n_images + up)


def slices_that_fit(n_y: int, bytes_per_slice: int, n_bytes: int | None, *, is_streamed: bool = False) -> int:
    """Slices of a slab: 64 (the fastest on a CPU); with `n_bytes`, as many times 64 as fit there, at least 64.

    Slabs that are streamed to a device and back are eight or more, unless they get thin: transfers overlap with the
    work on other slabs.
    """
    least = min(SLICES, n_y)
    if n_bytes is None:
        return least
    most = max(least, n_bytes // max(1, bytes_per_slice) // SLICES * SLICES)
    if is_streamed:
        n_slabs = min(_ENOUGH_SLABS, -(-n_y // _ENOUGH_SLICES))
        most = min(most, -(-n_y // (n_slabs * SLICES)) * SLICES)
    return min(n_y, most)
