"""One size of the views in projection matching, and what is known of their alignment so far."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
import scipy.ndimage

from tomo3d import geometry
from tomo3d.align._apply import apply
from tomo3d.align._working import SMOOTHING, require_different, working_copy
from tomo3d.compute.projector import Projector
from tomo3d.types import Alignment, TiltSeries

_COARSEST_PIXELS = 64
_TAPER = 0.08  # of the width of a view over which its weight falls to zero at the border
_SIDE_SHARE = 0.4  # of the views' r.m.s. that their sides have where the specimen goes on beside the field
_SLOW = (
    30.0  # standard deviations of the low-pass across such views; the taper hides what it does at the border
)
_WIDEST = 1.6  # widths of the field
_SLICE_STEP = 2  # of smooth views, every second slice holds what all hold: 0.4 % of white noise lies beyond
_FEWEST_SLICES = 48  # that are left out of
_DENSITY = (
    4.0 * math.pi * SMOOTHING**2
)  # of white noise that was smoothed: its spectral density over its mean square


def level_sizes(n_pixels: int, max_pixels: int) -> list[int]:
    """Longest edges of the working copies, from coarse to fine, each about twice the one before."""
    factors = [math.ceil(n_pixels / max_pixels)]
    while n_pixels // (2 * factors[-1]) >= _COARSEST_PIXELS:
        factors.append(2 * factors[-1])
    return [math.ceil(n_pixels / factor) for factor in factors[::-1]]


@dataclass(eq=False)
class State:
    """What is known so far: the alignment of the views in use, how it was found, and how well it predicts."""

    alignment: Alignment
    thickness_nm: float | None
    is_filled: bool | None = None  # whether the specimen goes on beside the field
    damping: float = 0.0  # of what the views hardly fix; raised where a step made the halves agree less
    choice: tuple[int, float] | None = (
        None  # iterations of the volume, and what is bright: 0 without a support
    )
    view_weights: np.ndarray | None = None
    view_errors: np.ndarray | None = None
    offsets: np.ndarray | None = None  # grey values added to the views
    last_move_nm: np.ndarray | None = None
    passes: list[dict[str, float]] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class Level:
    """Working copies of one size."""

    views: TiltSeries
    taper: np.ndarray  # (n_y, n_x) weight of a raw pixel
    n_x: int
    n_z: int

    @classmethod
    def of(cls, series: TiltSeries, size: int, state: State) -> Level:
        views = working_copy(series, max_pixels=size, smooth=True)
        require_different(views)
        n_y, n_x = views.images.shape[1:]
        taper = np.outer(_fall(n_y), _fall(n_x)).astype(np.float32)
        n_u = geometry.aligned_shape((n_y, n_x), float(state.alignment.tilt_axis_deg[0]))[1]
        n_z = n_u
        if state.thickness_nm is not None:
            n_z = max(1, round(state.thickness_nm / views.pixel_size_nm))
        if state.is_filled is None:
            state.is_filled = is_filled(apply(views, state.alignment))
        if not state.is_filled:
            return cls(views, taper, n_u, n_z)
        # what varies slowly cannot be told from what lies beside the field; to leave it out of all views alike
        # leaves it out of the volume
        slow = scipy.ndimage.gaussian_filter(views.images, (0.0, n_y / _SLOW, n_x / _SLOW), mode="nearest")
        steepest = math.radians(min(float(np.abs(state.alignment.tilt_angles_deg).max()), 80.0))
        seen = (n_u + n_z * math.sin(steepest)) / math.cos(steepest)
        n_seen = math.ceil(min(seen, _WIDEST * n_u))
        return cls(replace(views, images=views.images - slow), taper, n_seen, n_z)

    def aligned(self, state: State) -> tuple[np.ndarray, np.ndarray]:
        """(views, weights) in the inner order, n_views x (n_u + padding) x n_y."""
        alignment, view_weights = state.alignment, state.view_weights
        projector = self.projector(alignment)
        images = np.array(apply(self.views, alignment).images)
        if state.offsets is not None:
            images += state.offsets[:, None, None].astype(np.float32)
        shape = (len(images), *self.taper.shape)
        tapers = apply(replace(self.views, images=np.broadcast_to(self.taper, shape)), alignment)
        weights = np.clip(np.asarray(tapers.images), 0.0, 1.0)
        if view_weights is not None:
            weights *= view_weights[:, None, None].astype(np.float32)
        step = self.slice_step
        return projector.padded(images[:, ::step]), projector.padded(weights[:, ::step])

    @property
    def slice_step(self) -> int:
        """Pixels from one slice that is worked on to the next."""
        return _SLICE_STEP if min(self.views.images.shape[1:]) >= 2 * _FEWEST_SLICES else 1

    def noise_power(self, rest: np.ndarray, weights: np.ndarray) -> float:
        """Spectral density of the noise on the pixels of these slices, from what is unexplained."""
        mean_square = float(np.vdot(rest, rest)) / max(float(np.vdot(weights, weights)), 1e-30)
        return _DENSITY / self.slice_step * mean_square

    def projector(self, alignment: Alignment) -> Projector:
        n_u = geometry.aligned_shape(self.views.images.shape[1:], float(alignment.tilt_axis_deg[0]))[1]
        return Projector(alignment.tilt_angles_deg, n_u, self.n_x, self.n_z)


def is_filled(aligned: TiltSeries) -> bool:
    """Whether aligned views, about the level of their border, show something at either side.

    Neighbouring tilts are multiplied: they share what they show, and not their noise.
    """
    images = np.asarray(aligned.images)[np.argsort(aligned.tilt_angles_deg, kind="stable")]
    width = max(1, images.shape[2] // 16)
    sides = np.concatenate((images[:, :, :width], images[:, :, -width:]), axis=2)
    shared = [float(np.mean(each[:-1] * each[1:])) for each in (sides, images)]
    return shared[0] > _SIDE_SHARE**2 * max(shared[1], 0.0)


def _fall(n: int) -> np.ndarray:
    """1, falling to 0 at both ends."""
    edge = max(2, round(_TAPER * n))
    ramp = np.ones(n)
    fall = 0.5 - 0.5 * np.cos(np.pi * (np.arange(edge) + 0.5) / edge)
    ramp[:edge], ramp[n - edge :] = fall, fall[::-1]
    return ramp
