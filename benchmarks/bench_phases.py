"""Transport, correlation and connectivity of phases: closed forms, times beside peers, and memory."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable
from typing import ClassVar

import numpy as np
from scipy import sparse
from scipy.sparse import linalg
from scipy.special import digamma

from benchmarks import transport_peer
from benchmarks.bench_thickness import blobs
from benchmarks.cases import Target, Targets
from tomo3d.measure import (
    chord_lengths,
    effective_diffusivity,
    percolation,
    porosimetry,
    porosity,
    tortuosity,
    two_point_correlation,
)
from tomo3d.measure.phase import joining
from tomo3d.types import Labels

_CUBE = (1.0, 1.0, 1.0)


class InclinedSlot:
    """Tortuosity of a slot at an angle to the axis, against its closed form, ends included.

    With stairs of voxels as walls (`smooth_walls` 0), in whose corners nothing flows, and with what conducts there.
    """

    params = ([6, 10, 20, 40, 80], [10.0, 26.0, 45.0], [0, 1])
    param_names = ("width_voxels", "tilt_deg", "smooth_walls")
    targets: ClassVar[Targets] = {
        "track_error_percent": {
            (width, tilt, 1): Target(at_most=1.0)
            for width in (6, 10, 20, 40, 80)
            for tilt in (10.0, 26.0, 45.0)
        }
    }

    def setup(self, width_voxels: int, tilt_deg: float, smooth_walls: int) -> None:
        self.slot = inclined_slot(width_voxels, tilt_deg, 3 * width_voxels)

    def track_error_percent(self, width_voxels: int, tilt_deg: float, smooth_walls: int) -> float:
        found = tortuosity(self.slot, phase=1, axes="z", smooth_walls=bool(smooth_walls)).tortuosity[0]
        return 100.0 * abs(found / inclined_factor(width_voxels, tilt_deg, 3 * width_voxels) - 1.0)


class Laminate:
    """Three phases in layers of two voxels, across and along the axis, voxels of 0.7 x 2 x 1.3 nm."""

    params, param_names = (["z", "y", "x"],), ("across",)
    targets: ClassVar[Targets] = {
        name: Target(at_most=1e-5) for name in ("track_error_in_series", "track_error_parallel")
    }

    def setup(self, across: str) -> None:
        axis = "zyx".index(across)
        layers = np.resize(np.repeat([0, 1, 2], 2), 60)
        data = np.broadcast_to(
            layers.reshape([-1 if i == axis else 1 for i in range(3)]),
            [60 if i == axis else 8 for i in range(3)],
        )
        labels = Labels(np.array(data, dtype=np.uint8), (0.7, 2.0, 1.3))
        values = {"0": 0.02, "1": 3.0, "2": 0.5}
        self.found = (
            effective_diffusivity(labels, diffusivities=values, tolerance=1e-7).set_index("axis").diffusivity
        )
        self.layers = np.array(list(values.values()))

    def track_error_in_series(self, across: str) -> float:
        return abs(self.found[across] * np.mean(1.0 / self.layers) - 1.0)

    def track_error_parallel(self, across: str) -> float:
        return max(abs(self.found[axis] / self.layers.mean() - 1.0) for axis in "zyx" if axis != across)


class Diffusion:
    """Diffusion along z through blobs of 20 voxels, half of the volume, to 1e-4 of the flux."""

    params, param_names = ([32, 256],), ("edge_voxels",)
    targets: ClassVar[Targets] = {
        "track_flux_mismatch": Target(at_most=1e-4),
        "track_n_iterations": Target(at_most=30),
    }

    def setup(self, edge_voxels: int) -> None:
        self.labels = blobs(edge_voxels)
        tortuosity(blobs(16), phase=1, axes="z")

    def time_tortuosity(self, edge_voxels: int) -> None:
        self.row = tortuosity(self.labels, phase=1, axes="z").iloc[0]

    def track_flux_mismatch(self, edge_voxels: int) -> float:
        return float(tortuosity(self.labels, phase=1, axes="z").flux_mismatch[0])

    def track_n_iterations(self, edge_voxels: int) -> float:
        return float(tortuosity(self.labels, phase=1, axes="z").n_iterations[0])

    def peakmem_tortuosity(self, edge_voxels: int) -> None:
        tortuosity(self.labels, phase=1, axes="z")


class Peer:
    """The same diffusion by others in the same run, ours and theirs by turns: median of two ratios.

    scipy: conjugate gradients with the diagonal as preconditioner, to 1e-6 of the right side, the matrix set up
    outside of the time (its incomplete factor, `spilu`, takes minutes for 48^3). porespy: `tortuosity_fd`, which
    holds the concentration in the middles of the end voxels, and so has another length. Ours with stairs, as they have.
    """

    params, param_names = (
        ([32, 96], ["scipy", "porespy"]),
        ("edge_voxels", "program"),
    )
    targets: ClassVar[Targets] = {
        "track_difference": {(edge, "scipy"): Target(at_most=1e-3) for edge in (32, 96)}
    }

    def setup(self, edge_voxels: int, program: str) -> None:
        self.labels = blobs(edge_voxels)
        tortuosity(blobs(16), phase=1, axes="z")
        self.seconds, self.ratio = their_diffusion(edge_voxels, program)

    def track_their_time_over_ours(self, edge_voxels: int, program: str) -> float:
        ours = []
        for _ in range(3):
            start = time.perf_counter()
            tortuosity(self.labels, phase=1, axes="z", smooth_walls=False)
            ours.append(time.perf_counter() - start)
        return self.seconds / float(np.median(ours))

    def track_difference(self, edge_voxels: int, program: str) -> float:
        return abs(
            self.ratio / tortuosity(self.labels, phase=1, axes="z", smooth_walls=False).diffusivity_ratio[0]
            - 1.0
        )


class Time:
    """Everything else on blobs of 20 voxels."""

    params, param_names = (
        (
            [32, 256],
            ["porosity", "percolation", "porosimetry", "two_point_correlation", "chord_lengths"],
        ),
        ("edge_voxels", "function"),
    )

    def setup(self, edge_voxels: int, function: str) -> None:
        functions: dict[str, Callable[..., object]] = {
            "porosity": porosity,
            "percolation": percolation,
            "porosimetry": porosimetry,
            "two_point_correlation": two_point_correlation,
            "chord_lengths": chord_lengths,
        }
        self.labels, self.function = blobs(edge_voxels), functions[function]
        self.function(blobs(32), phase=1)

    def time_measure(self, edge_voxels: int, function: str) -> None:
        self.function(self.labels, phase=1)


class Boolean:
    """Overlapping balls of 8 voxels, half of the volume: against the closed forms of their number per volume."""

    params, param_names = ([64, 192],), ("edge_voxels",)
    targets: ClassVar[Targets] = {
        "track_two_point_error": {(192,): Target(at_most=0.02)},
        "track_surface_error_percent": {(192,): Target(at_most=5.0)},
    }

    def setup(self, edge_voxels: int) -> None:
        self.radius, self.per_volume = 8.0, math.log(2.0) / (4 / 3 * math.pi * 8.0**3)
        data = overlapping_balls(edge_voxels, self.radius, self.per_volume)
        self.fraction = float(data.mean())
        self.result = two_point_correlation(
            Labels(data.astype(np.uint8), _CUBE), phase=1, max_distance_nm=24.0
        )

    def track_two_point_error(self, edge_voxels: int) -> float:
        """Largest error of (S2 - f^2) / (f - f^2), f being that of the volume and of the model."""
        radial = self.result.curve[self.result.curve.direction == "radial"]
        r = np.minimum(radial.distance_nm.to_numpy(), 2 * self.radius)
        ball = 4 / 3 * math.pi * self.radius**3
        common = math.pi / 12 * (4 * self.radius + r) * (2 * self.radius - r) ** 2
        theory = (np.exp(-self.per_volume * (2 * ball - common)) - 0.25) / 0.25
        f = self.fraction
        return float(np.abs((radial.probability - f**2) / (f - f**2) - theory).max())

    def track_surface_error_percent(self, edge_voxels: int) -> float:
        f = self.fraction
        truth = -3.0 / self.radius * (1 - f) * math.log(1 - f)
        found = self.result.summary.set_index("quantity").value["specific_surface"]
        return 100.0 * abs(found / truth - 1.0)


@functools.cache
def their_diffusion(edge_voxels: int, program: str) -> tuple[float, float]:
    """Seconds and D_eff / D of another program."""
    inside = joining(np.asarray(blobs(edge_voxels).data), 0)
    if program == "porespy":
        return transport_peer.diffusivity(inside)
    matrix, right = equations(inside)
    start = time.perf_counter()
    preconditioner = sparse.diags(1.0 / matrix.diagonal())
    x, failed = linalg.cg(matrix, right, rtol=1e-6, atol=0.0, M=preconditioner, maxiter=5000)
    seconds = time.perf_counter() - start
    if failed:
        raise NotImplementedError("no convergence in 5000 iterations")
    return seconds, float(2.0 * (1.0 - x[: int(inside[0].sum())]).sum() / inside.shape[0])


def inclined_slot(width: int, tilt_deg: float, n_z: int) -> Labels:
    """A slot inclined to z in a plane one voxel thick."""
    slope, across = math.tan(math.radians(tilt_deg)), width / math.cos(math.radians(tilt_deg))
    z, x = np.arange(n_z) + 0.5, np.arange(int(n_z * slope + across + 3)) + 0.5
    inside = np.abs(x - 1.5 - across / 2 - z[:, None] * slope) < across / 2
    return Labels(inside[:, None, :].astype(np.uint8), _CUBE)


def inclined_factor(width: float, tilt_deg: float, length: float) -> float:
    """1 / cos^2, less what oblique ends spare: by the map of Schwarz and Christoffel of a strip to a half plane."""
    tilt = math.radians(tilt_deg)
    a = 0.5 - tilt / math.pi
    end = -(2 * math.log(2) + np.euler_gamma + 0.5 * (digamma(a) + digamma(1 - a))) * width / math.pi
    return float((length / math.cos(tilt) - 2 * end) / (length * math.cos(tilt)))


def equations(inside: np.ndarray) -> tuple[sparse.csr_matrix, np.ndarray]:
    """Matrix and right side of the same finite volumes, of the voxels of the phase only."""
    number = np.full(inside.shape, -1)
    n = int(inside.sum())
    number[inside] = np.arange(n)
    pairs = []
    for axis in range(3):
        here, there = np.moveaxis(number, axis, 0)[:-1].ravel(), np.moveaxis(number, axis, 0)[1:].ravel()
        both = (here >= 0) & (there >= 0)
        pairs.append(np.stack([here[both], there[both]]))
    i, j = np.concatenate(pairs, axis=1)
    off = sparse.csr_matrix((np.ones(len(i)), (i, j)), shape=(n, n))
    off = off + off.T
    ends = np.zeros(n)
    right = np.zeros(n)
    for plane in (number[0], number[-1]):
        np.add.at(ends, plane[plane >= 0], 2.0)
    right[number[0][number[0] >= 0]] = 2.0
    diagonal = np.asarray(off.sum(axis=1)).ravel() + ends
    return (sparse.diags(diagonal) - off).tocsr(), right


def overlapping_balls(edge: int, radius: float, per_volume: float) -> np.ndarray:
    """Boolean model of balls on a cube."""
    rng = np.random.default_rng(0)
    inside = np.zeros((edge,) * 3, dtype=bool)
    n_balls = rng.poisson(per_volume * (edge + 2 * radius) ** 3)
    for centre in rng.uniform(-radius, edge + radius, (n_balls, 3)):
        box = tuple(slice(max(0, int(c - radius)), max(0, min(edge, int(c + radius + 1)))) for c in centre)
        z, y, x = (g + 0.5 - c for g, c in zip(np.ogrid[box], centre, strict=True))
        inside[box] |= z * z + y * y + x * x < radius * radius
    return inside
