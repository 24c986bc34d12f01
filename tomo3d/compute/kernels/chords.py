"""Where the line along a normal enters and leaves a structure. Kernels release the GIL."""

import math

import numba
import numpy as np

from tomo3d.compute.kernels.profiles import cubic_at

_STEP = 0.5  # voxels
_SEARCH = 1.5  # voxels: a surface of other origin may lie so far beside the structure's
_N_HALVINGS = 12


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _at(height: np.ndarray, index: np.ndarray, direction: np.ndarray, s: float) -> float:
    return cubic_at(
        height, index[0] + s * direction[0], index[1] + s * direction[1], index[2] + s * direction[2]
    )


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _leave(height: np.ndarray, index: np.ndarray, direction: np.ndarray, start: float, sign: float) -> float:
    """Place along the line, from one inside, where the height falls to zero; nan where the volume ends before."""
    near = start
    while True:
        far = near + sign * _STEP
        value = _at(height, index, direction, far)
        if math.isnan(value):
            return math.nan
        if value <= 0.0:
            break
        near = far
    for _ in range(_N_HALVINGS):
        middle = 0.5 * (near + far)
        if _at(height, index, direction, middle) > 0.0:
            near = middle
        else:
            far = middle
    return 0.5 * (near + far)


@numba.njit(nogil=True, cache=True, error_model="numpy")
def chords_cpu(
    height: np.ndarray, index: np.ndarray, direction: np.ndarray, lengths: np.ndarray, missed: np.ndarray
) -> None:
    """lengths[i] <- length in steps of `direction` of the part inside (height > 0) of the line through a point.

    `index` (n, 3) in voxels; `direction` (n, 3) is a step of about one voxel. The part is that at the point, or the
    nearest within 1.5 steps: missed[i] says that there is none. nan there, and where the volume ends first.
    """
    for i in range(len(index)):
        lengths[i] = np.nan
        missed[i] = True
        for k in range(2 * int(_SEARCH / 0.25) + 1):
            start = 0.25 * ((k + 1) // 2) * (1.0 if k % 2 else -1.0)
            if _at(height, index[i], direction[i], start) > 0.0:
                missed[i] = False
                lengths[i] = _leave(height, index[i], direction[i], start, 1.0) - _leave(
                    height, index[i], direction[i], start, -1.0
                )
                break
