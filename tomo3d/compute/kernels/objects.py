"""Sums over the voxels of numbered objects, in one pass. Kernels release the GIL."""

import numba
import numpy as np

N_SUMS = 10  # voxels; sums of z, y, x; of zz, yy, xx, zy, zx, yx
N_DIRECTIONS = 13


@numba.njit(nogil=True, cache=True, error_model="numpy")
def objects_cpu(
    labels: np.ndarray,
    row_of: np.ndarray,
    offsets: np.ndarray,
    sums: np.ndarray,
    boxes: np.ndarray,
    crossings: np.ndarray,
) -> None:
    """Sums, boxes and boundary crossings of each object.

    `row_of` gives the row of each label (-1 for none), `offsets` (13, 3) one of each pair of opposite neighbours;
    `sums` (n, 10) are about the first voxel, `boxes` (n, 9) hold first and last index along z, y, x, and the first
    voxel; `crossings` (n, 13) counts neighbours along each direction, both ways, that are not of the object.
    """
    n_z, n_y, n_x = labels.shape
    for z in range(n_z):
        for y in range(n_y):
            for x in range(n_x):
                label = labels[z, y, x]
                if label == 0:
                    continue
                row = row_of[label]
                if row < 0:
                    continue
                box = boxes[row]
                total = sums[row]
                if total[0] == 0:
                    box[0], box[1], box[2], box[3], box[4], box[5] = z, z, y, y, x, x
                    box[6], box[7], box[8] = z, y, x
                box[1] = max(box[1], z)
                box[2] = min(box[2], y)
                box[3] = max(box[3], y)
                box[4] = min(box[4], x)
                box[5] = max(box[5], x)
                dz, dy, dx = float(z - box[6]), float(y - box[7]), float(x - box[8])
                total[0] += 1.0
                total[1] += dz
                total[2] += dy
                total[3] += dx
                total[4] += dz * dz
                total[5] += dy * dy
                total[6] += dx * dx
                total[7] += dz * dy
                total[8] += dz * dx
                total[9] += dy * dx
                for k in range(offsets.shape[0]):
                    for sign in (-1, 1):
                        oz, oy, ox = (
                            z + sign * offsets[k, 0],
                            y + sign * offsets[k, 1],
                            x + sign * offsets[k, 2],
                        )
                        if 0 <= oz < n_z and 0 <= oy < n_y and 0 <= ox < n_x and labels[oz, oy, ox] != label:
                            crossings[row, k] += 1
