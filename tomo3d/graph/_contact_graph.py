"""Which objects touch, and over which area."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd

from tomo3d import tables
from tomo3d.progress import track
from tomo3d.types import Labels, SpatialGraph

_STEPS = [step for step in itertools.product((-1, 0, 1), repeat=3) if step > (0, 0, 0)]
_N_DIRECTIONS = 20_000  # that share out the sphere among the steps: weights to 1 %


def contact_graph(labels: Labels, *, min_area_nm2: float = 0.0) -> SpatialGraph:
    """Objects as nodes, and their contacts as branches with an area.

    Parameters
    ----------
    labels : Labels, shape (n_z, n_y, n_x)
        Objects by number, as crumples, grains or particles; 0 is background and no object.
    min_area_nm2 : float
        Contacts of a smaller area are left out.

    Returns
    -------
    SpatialGraph
        Nodes and branches with the columns of `tables.CONTACT_NODES` and `tables.CONTACTS`; a node is named by its
        label. Lines run from centroid to centroid through the middle of the contact. Without contacts it has no
        branches.

    Raises
    ------
    ValueError
        If there is no object, a label is negative, or `min_area_nm2` is.

    Notes
    -----
    Two objects touch where voxels of them share a face, an edge or a corner. The area is that of the surface between
    by the Crofton formula: how often straight lines along the 13 directions to neighbours cross it, weighted by the
    directions' shares of the sphere. A plane in any direction is right to 10 %; counting faces is up to 73 %
    too large. A contact of one corner alone has a small area, that `min_area_nm2` leaves out.
    """
    if not (math.isfinite(min_area_nm2) and min_area_nm2 >= 0):
        raise ValueError(f"min_area_nm2 must be an area in nm^2, 0 or more, got {min_area_nm2:g} nm^2.")
    data = np.asarray(labels.data)
    data = data.astype(np.int64) if data.dtype.kind == "b" else data
    low = int(data.min())
    if low < 0:
        raise ValueError(f"labels must be zero or positive, got {low}.")
    objects = np.unique(data)
    objects = objects[objects > 0]
    if not len(objects):
        raise ValueError("the labels must hold at least one object, got background only.")
    contacts = _contacts(data, objects, labels)
    contacts = contacts[contacts["area_nm2"] >= min_area_nm2].reset_index(drop=True)
    contacts.insert(0, "branch", np.arange(len(contacts)))
    nodes = _objects(data, objects, labels, contacts)
    place = nodes.set_index("node")[["z_nm", "y_nm", "x_nm"]]
    middles = contacts[["z_nm", "y_nm", "x_nm"]].to_numpy()
    starts, ends = (place.loc[contacts[name]].to_numpy() for name in ("node_a", "node_b"))
    lines = list(np.stack([starts, middles, ends], axis=1))
    contacts["length_nm"] = [float(np.linalg.norm(np.diff(line, axis=0), axis=1).sum()) for line in lines]
    contacts["length_nm"] = contacts["length_nm"].astype(np.float64)
    branches = contacts[tables.names(tables.CONTACTS)]
    return SpatialGraph(
        tables.check(nodes, tables.CONTACT_NODES),
        tables.check(branches, tables.CONTACTS),
        lines,
        record={"min_area_nm2": min_area_nm2, "field_nm": _field(labels)},
    )


def _field(labels: Labels) -> list[list[float]]:
    """Low and high corner of the volume."""
    voxel = np.array(labels.voxel_size_nm)
    low = np.array(labels.origin_nm) - 0.5 * voxel
    return [low.tolist(), (low + voxel * labels.data.shape).tolist()]


def _objects(data: np.ndarray, objects: np.ndarray, labels: Labels, contacts: pd.DataFrame) -> pd.DataFrame:
    """One row per object: centroid, volume, contacts, and whether it is cut by the border."""
    n = len(objects)
    voxel, origin = np.array(labels.voxel_size_nm), np.array(labels.origin_nm)
    counts, sums = np.zeros(n), np.zeros((n, 3))
    on_border = np.zeros(n, dtype=bool)
    for z in track(range(len(data)), "objects", len(data)):
        y, x = np.nonzero(data[z])
        rows = np.searchsorted(objects, data[z][y, x])
        number = np.bincount(rows, minlength=n)
        counts += number
        sums[:, 0] += z * number
        sums[:, 1] += np.bincount(rows, weights=y, minlength=n)
        sums[:, 2] += np.bincount(rows, weights=x, minlength=n)
    for axis in range(3):
        for face in (0, -1):
            seen = np.unique(data.take(face, axis=axis))
            on_border[np.searchsorted(objects, seen[seen > 0])] = True
    volumes = counts * voxel.prod()
    centroids = origin + sums / counts[:, None] * voxel
    ends = np.concatenate([contacts["node_a"], contacts["node_b"]]).astype(np.int64)
    return pd.DataFrame(
        {
            "node": objects.astype(np.int64),
            "z_nm": centroids[:, 0],
            "y_nm": centroids[:, 1],
            "x_nm": centroids[:, 2],
            "degree": np.bincount(np.searchsorted(objects, ends), minlength=n),
            "radius_nm": np.cbrt(volumes * 3 / (4 * math.pi)),
            "volume_nm3": volumes,
            "touches_border": on_border,
        }
    )


def _contacts(data: np.ndarray, objects: np.ndarray, labels: Labels) -> pd.DataFrame:
    """One row per pair of objects that touch: area, middle, and whether it reaches the border."""
    voxel, origin = np.array(labels.voxel_size_nm), np.array(labels.origin_nm)
    found = []
    weights = _weights(voxel)
    for step, weight in track(zip(_STEPS, weights, strict=True), "contacts", len(_STEPS)):
        before = tuple(slice(max(0, -s), n - max(0, s)) for s, n in zip(step, data.shape, strict=True))
        after = tuple(slice(max(0, s), n - max(0, -s)) for s, n in zip(step, data.shape, strict=True))
        one, two = data[before], data[after]
        place = np.argwhere((one != two) & (one > 0) & (two > 0))
        if not len(place):
            continue
        pairs = np.stack([one[tuple(place.T)], two[tuple(place.T)]], axis=1)
        rows = np.searchsorted(objects, np.sort(pairs, axis=1))
        first = place + [span.start for span in before]
        ends = np.stack([first, first + step])
        is_border = ((ends == 0) | (ends == np.array(data.shape) - 1)).any(axis=(0, 2))
        middle = origin + ends.mean(axis=0) * voxel
        # lines along a step stand for voxel volume / step length of a plane at right angles to it
        area = 2.0 * weight * voxel.prod() / np.linalg.norm(step * voxel)
        part = pd.DataFrame(
            {"key": rows[:, 0] * len(objects) + rows[:, 1], "area_nm2": area, "border": is_border}
        )
        for axis, name in enumerate(("z_nm", "y_nm", "x_nm")):
            part[name] = area * middle[:, axis]
        found.append(part.groupby("key").agg("sum"))
    columns = ["node_a", "node_b", "area_nm2", "z_nm", "y_nm", "x_nm", "touches_border"]
    if not found:
        empty = pd.DataFrame({name: np.empty(0) for name in columns})
        return empty.astype({"node_a": np.int64, "node_b": np.int64, "touches_border": bool})
    whole = pd.concat(found).groupby(level=0).agg("sum")
    for name in ("z_nm", "y_nm", "x_nm"):
        whole[name] /= whole["area_nm2"]
    keys = whole.index.to_numpy()
    whole["node_a"] = objects[keys // len(objects)].astype(np.int64)
    whole["node_b"] = objects[keys % len(objects)].astype(np.int64)
    whole["touches_border"] = whole["border"] > 0
    return whole.reset_index(drop=True)[columns]


def _weights(voxel: np.ndarray) -> np.ndarray:
    """Share of the sphere that is nearest to each of the 13 directions, either way."""
    z = 1.0 - (2.0 * np.arange(_N_DIRECTIONS) + 1.0) / _N_DIRECTIONS
    angle = math.pi * (3.0 - math.sqrt(5.0)) * np.arange(_N_DIRECTIONS)
    across = np.sqrt(1.0 - z**2)
    sphere = np.stack([z, across * np.sin(angle), across * np.cos(angle)], axis=1)
    steps = np.array(_STEPS) * voxel
    steps = steps / np.linalg.norm(steps, axis=1, keepdims=True)
    nearest = np.abs(sphere @ steps.T).argmax(axis=1)
    return np.bincount(nearest, minlength=len(steps)) / _N_DIRECTIONS
