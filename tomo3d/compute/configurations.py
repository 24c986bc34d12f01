"""Numbers that follow from how often each configuration of 2 x 2 x 2 voxels occurs."""

from __future__ import annotations

import functools
import itertools
import math

import numpy as np

from tomo3d.compute.distance import in_threads
from tomo3d.compute.kernels import configurations as kernels

_N_PLANES = 16
CONNECTIVITIES = (6, 26)


def configuration_counts(inside: np.ndarray) -> np.ndarray:
    """How many cells of 2 x 2 x 2 voxels have each configuration, (256,), beyond the volume being background.

    Bit 4 dz + 2 dy + dx of a configuration says whether that voxel is inside.
    """
    padded = np.zeros([n + 2 for n in inside.shape], dtype=np.uint8)
    padded[1:-1, 1:-1, 1:-1] = inside
    n_parts = math.ceil((len(padded) - 1) / _N_PLANES)
    counts = np.zeros((n_parts, 256), dtype=np.int64)

    def count(i: int) -> None:
        kernels.count_configurations_cpu(padded, i * _N_PLANES, (i + 1) * _N_PLANES, counts[i])

    in_threads(count, n_parts, "counting configurations")
    return np.asarray(counts.sum(axis=0))


@functools.cache
def euler_weights(connectivity: int) -> np.ndarray:
    """Eight times what each configuration adds to the Euler number, (256,), for voxels joined by 6 or 26 neighbours.

    26: voxels are closed cubes, and corners - edges + faces - cubes are counted, each shared among the cells that hold
    it. 6: voxels are points, joined by edges, squares and cubes where all their corners are inside.
    """
    corners = list(itertools.product((0, 1), repeat=3))
    weights = np.zeros(256, dtype=np.int64)
    # sets of corners of the cell that form one element of each dimension: a pair, a square, the cube
    groups = {
        n: [
            [i for i, corner in enumerate(corners) if all(corner[a] == v for a, v in zip(axes, place, strict=True))]
            for axes in itertools.combinations(range(3), 3 - n)
            for place in itertools.product((0, 1), repeat=3 - n)
        ]
        for n in range(4)
    }  # fmt: skip
    for case in range(256):
        bits = [bool(case >> i & 1) for i in range(8)]
        test = any if connectivity == 26 else all
        for n in range(4):
            n_found = sum(test(bits[i] for i in group) for group in groups[n])
            # an element of n free axes is shared by 2^(3 - n) cells; for closed cubes it stands for one of 3 - n
            # dimensions (the corner amid eight voxels for all of them)
            sign = (-1) ** (3 - n) if connectivity == 26 else (-1) ** n
            weights[case] += sign * n_found * 2**n
    weights.flags.writeable = False
    return weights


def euler_number(inside: np.ndarray, connectivity: int) -> int:
    """Pieces less tunnels plus cavities of a mask, by 6- or 26-connectivity; the background has the other."""
    total = int(euler_weights(connectivity) @ configuration_counts(inside))
    return total // 8
