"""Removal of what noise leaves in a segmentation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy import ndimage

from tomo3d import progress
from tomo3d.compute.distance import distance_to_background
from tomo3d.planning import Plan, Sketch, planned
from tomo3d.types import Labels

_FACES = ndimage.generate_binary_structure(3, 1)  # 6 neighbours: for the background
_CORNERS = ndimage.generate_binary_structure(3, 3)  # 26 neighbours: for a structure


def _plan(labels: Sketch, **_: Any) -> Plan:
    result = Sketch("Labels", labels.shape, labels.dtype, labels.pixel_size_nm)
    # A mask and its components (int32), or a mask, a distance and its square (float32, int64 at worst), or the votes
    # of two classes, their running sums and the winner.
    return Plan(result, result.n_bytes + 18 * math.prod(labels.shape))


@planned(_plan)
def clean(
    labels: Labels,
    *,
    opening_nm: float = 0.0,
    closing_nm: float = 0.0,
    min_volume_nm3: float = 0.0,
    fill_holes: bool = False,
    n_largest: int = 0,
    majority_nm: float = 0.0,
) -> Labels:
    """Labels without single odd voxels, thin necks, thin gaps, dust, islands and closed holes; nothing is unasked.

    In this order, whatever the order of the parameters.

    Parameters
    ----------
    labels : Labels, shape (n_z, n_y, n_x)
        Classes.
    opening_nm : float
        Diameter of a ball; where it fits in no class, that class turns into background.
    closing_nm : float
        Diameter of a ball; background that such a ball, kept out of a class,
        cannot reach joins that class. The lower class wins where two would.
    min_volume_nm3 : float
        Smaller components of a class (voxels that touch by face, edge or corner) are removed.
    fill_holes : bool
        Fill the background that is cut off from the border of the volume
        (voxels that touch by face).
    n_largest : int
        How many components of each class stay, the largest ones; others are islands, and go as dust does. 0: all.
    majority_nm : float
        Diameter of a ball around each voxel, whose most frequent class it takes; of equal ones its own, then the
        lowest. Beyond the volume nothing votes.

    Returns
    -------
    Labels, same grid, type, and names
        A component removed, or a hole filled, takes the class that most of its
        faces touch, the lower one of two equals: in a mask, dust becomes background.

    Raises
    ------
    ValueError
        If a length, volume or number is negative or not finite.

    Notes
    -----
    Distances are between voxel centres and beyond the volume counts as more of
    the same, so that the border is neither opened nor closed.
    """
    wanted = {
        "opening_nm": opening_nm,
        "closing_nm": closing_nm,
        "min_volume_nm3": min_volume_nm3,
        "n_largest": n_largest,
        "majority_nm": majority_nm,
    }
    for name, value in wanted.items():
        if not (math.isfinite(value) and value >= 0):
            raise ValueError(f"{name} must be zero or more, got {value:g}.")
    data = np.array(labels.data)
    if majority_nm > 0:
        data = _majority(data, 0.5 * majority_nm, labels.voxel_size_nm)
    classes = [int(c) for c in np.unique(data) if c != 0]
    voxel = labels.voxel_size_nm
    for c in progress.track(classes, "clean", len(classes)):
        if opening_nm > 0:
            inside = data == c
            data[inside & ~_opened(inside, 0.5 * opening_nm, voxel)] = 0
    for c in classes:
        if closing_nm > 0:
            outside = data != c
            data[(data == 0) & ~_opened(outside, 0.5 * closing_nm, voxel)] = c
    if min_volume_nm3 > 0:
        for c in classes:
            _remove_dust(data, c, min_volume_nm3 / math.prod(voxel))
    if n_largest > 0:
        for c in classes:
            _remove_islands(data, c, n_largest)
    if fill_holes:
        _fill_holes(data)
    record = {"method": "clean", **wanted, "fill_holes": fill_holes, "input": dict(labels.record)}
    return Labels(data, voxel, labels.origin_nm, record, labels.names)


def _opened(inside: np.ndarray, radius_nm: float, voxel_size_nm: tuple[float, float, float]) -> np.ndarray:
    """Voxels nearer than the radius to a voxel that lies at least that deep."""
    centres = distance_to_background(inside, voxel_size_nm) >= radius_nm
    return inside & (distance_to_background(~centres, voxel_size_nm) < radius_nm)


def _remove_dust(data: np.ndarray, number: int, least_voxels: float) -> None:
    """Give each component of a class with fewer voxels to the class around it, in place."""
    components, n_components = ndimage.label(data == number, structure=_CORNERS)
    sizes = np.bincount(components.ravel(), minlength=n_components + 1)
    is_dust = sizes < least_voxels * (1 - 1e-9)  # a volume of just so many voxels is not below itself
    is_dust[0] = False
    _give_away(data, components, is_dust)


def _remove_islands(data: np.ndarray, number: int, n_largest: int) -> None:
    """Give all components of a class but the largest ones to the class around them, in place."""
    components, n_components = ndimage.label(data == number, structure=_CORNERS)
    if n_components <= n_largest:
        return
    sizes = np.bincount(components.ravel(), minlength=n_components + 1)
    sizes[0] = 0
    is_island = np.ones(n_components + 1, dtype=bool)
    is_island[np.argsort(-sizes, kind="stable")[:n_largest]] = False  # of equal ones, the first in the volume
    is_island[0] = False
    _give_away(data, components, is_island)


def _majority(data: np.ndarray, radius_nm: float, voxel_size_nm: tuple[float, float, float]) -> np.ndarray:
    """The most frequent class in the ball around each voxel."""
    classes = np.unique(data)
    winner, most = np.full_like(data, classes[0]), np.zeros(data.shape, dtype=np.int32)
    for c in progress.track(classes, "majority", len(classes)):
        votes = 2 * _sum_in_ball(data == c, radius_nm, voxel_size_nm) + (
            data == c
        )  # its own wins of two equal ones
        is_more = votes > most
        winner[is_more], most[is_more] = c, votes[is_more]
    return winner


def _sum_in_ball(
    inside: np.ndarray, radius_nm: float, voxel_size_nm: tuple[float, float, float]
) -> np.ndarray:
    """Voxels of a mask whose centres are within the radius of each voxel's centre; int32."""
    n_z, n_y, n_x = inside.shape
    reach_z, reach_y = (int(radius_nm / edge + 1e-9) for edge in voxel_size_nm[:2])
    running = np.zeros((n_z, n_y, n_x + 1), dtype=np.int32)
    np.cumsum(inside, axis=2, out=running[:, :, 1:])
    found = np.zeros(inside.shape, dtype=np.int32)
    for dz in range(-min(reach_z, n_z - 1), min(reach_z, n_z - 1) + 1):
        for dy in range(-min(reach_y, n_y - 1), min(reach_y, n_y - 1) + 1):
            left = radius_nm**2 * (1 + 1e-9) - (dz * voxel_size_nm[0]) ** 2 - (dy * voxel_size_nm[1]) ** 2
            if left < 0:
                continue
            width = int(math.sqrt(left) / voxel_size_nm[2] + 1e-9)
            here = (slice(max(0, -dz), n_z - max(0, dz)), slice(max(0, -dy), n_y - max(0, dy)))
            there = running[max(0, dz) : n_z - max(0, -dz), max(0, dy) : n_y - max(0, -dy)]
            ends = np.minimum(np.arange(n_x) + width + 1, n_x)
            found[here] += there[:, :, ends] - there[:, :, np.maximum(np.arange(n_x) - width, 0)]
    return found


def _fill_holes(data: np.ndarray) -> None:
    """Give each background component that no face of the volume touches to the class around it, in place."""
    components, n_components = ndimage.label(data == 0, structure=_FACES)
    is_hole = np.ones(n_components + 1, dtype=bool)
    is_hole[0] = False
    for axis in range(3):
        for end in (0, -1):
            is_hole[components.take(end, axis=axis)] = False
    _give_away(data, components, is_hole)


def _give_away(data: np.ndarray, components: np.ndarray, given: np.ndarray) -> None:
    """Each component that is `given` takes the class that most of its faces touch, in place."""
    where = np.nonzero(given[components])
    if len(where[0]) == 0:
        return
    owner = components[where]
    classes = np.unique(data)
    votes = np.zeros((len(given), len(classes)), dtype=np.int64)
    for axis in range(3):
        for step in (-1, 1):
            neighbour = list(where)
            neighbour[axis] = where[axis] + step
            exists = (neighbour[axis] >= 0) & (neighbour[axis] < data.shape[axis])
            place = tuple(index[exists] for index in neighbour)
            is_other = components[place] != owner[exists]
            touched = np.searchsorted(classes, data[tuple(index[is_other] for index in place)])
            pair = owner[exists][is_other] * len(classes) + touched
            votes += np.bincount(pair, minlength=votes.size).reshape(votes.shape)
    winner = classes[votes.argmax(axis=1)]
    winner[votes.sum(axis=1) == 0] = 0  # nothing around: the component is the whole volume
    data[where] = winner[owner]
