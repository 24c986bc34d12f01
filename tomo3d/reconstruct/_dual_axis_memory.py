"""What a reconstruction from two series takes of memory, stated before it is taken."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tomo3d import geometry
from tomo3d.compute.kernels.projection import PAD
from tomo3d.planning import Plan, Sketch, voxels_along
from tomo3d.types import Alignment

REGISTERED = 128  # longest edge, in pixels, of the views that the series are registered on
_BYTES_REGISTERED = 130  # per voxel of a volume that is registered: seven derivatives and their transforms


@dataclass(frozen=True)
class Size:
    """Sizes that the memory follows from: (n_z, n_y, n_x) of the volume, (n_views, n_v, n_u) of both series."""

    volume: tuple[int, int, int]
    series: Sequence[tuple[int, int, int]]

    @property
    def factor(self) -> int:
        """How many pixels are binned into one that the series are registered on."""
        return math.ceil(max(max(n_v, n_u) for _, n_v, n_u in self.series) / REGISTERED)

    def peak_bytes(self, *, has_mask: bool, has_out: bool, stop: object) -> int:
        """Most that is held at a time, the volume included."""
        voxels = 4 * math.prod(self.volume)
        n_views, n_v, n_u = zip(*self.series, strict=True)
        pixels = 4 * sum(n_views) * max(n_v) * max(n_u)
        own = max(4 * views * v * (u + PAD) for views, v, u in self.series)  # of the series that is projected
        has_gaps = (
            len({shape[1:] for shape in self.series}) > 1
        )  # what was measured is held too, and its weights
        mask = 0.25 * has_mask
        # the volume, what is written, its weights, its change, and that as the second series sees it; measured,
        # residual, weights, and ones to find weights by
        solved = (5 - has_out + mask) * voxels + (4 + has_gaps) * pixels + own
        tried = 0.0
        if str(stop).startswith(
            "halves"
        ):  # four of these for each half; their images are one series together
            tried = (8 + mask) * voxels + (5 + 2.5 * has_gaps) * pixels + own / 2
        elif stop is not None:
            tried = (5 + mask) * voxels + (4 + has_gaps) * pixels + own
        registered = _BYTES_REGISTERED / 4 * voxels / self.factor**3 + 6 * pixels / self.factor**2
        return int(max(solved, tried, registered))


def plan(
    first: Sketch,
    second: Sketch,
    *,
    thickness_nm: float,
    mask: Any = None,
    stop: object = None,
    out: Any = None,
    first_alignment: Any = None,
    second_alignment: Any = None,
    **_: Any,
) -> Plan:
    """What `dual_axis` makes and takes, by the sizes of its series."""
    detectors = [_turned(first.shape[1:], first_alignment), _turned(second.shape[1:], second_alignment)]
    shape = (voxels_along(thickness_nm, first.pixel_size_nm or 1.0), *detectors[0])
    n_views = (first.shape[0], second.shape[0])
    size = Size(shape, [(n, *detector) for n, detector in zip(n_views, detectors, strict=True)])
    result = Sketch("Volume", shape, "float32", first.pixel_size_nm)
    return Plan(result, size.peak_bytes(has_mask=mask is not None, has_out=out is not None, stop=stop))


def _turned(image_shape: tuple[int, ...], alignment: Any) -> tuple[int, int]:
    n_y, n_x = image_shape
    if not isinstance(alignment, Alignment):  # a Sketch of one does not say where its axis lies
        return n_y, n_x
    return geometry.aligned_shape((n_y, n_x), geometry.mean_axis_deg(alignment.tilt_axis_deg))
