"""Choice of classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tomo3d.planning import Plan, Sketch, planned
from tomo3d.segment.histogram import slabs
from tomo3d.types import Labels


def _plan(labels: Sketch, **_: Any) -> Plan:
    result = Sketch("Labels", labels.shape, "uint8", labels.pixel_size_nm)
    return Plan(result, result.n_bytes + (1 << 26))


@planned(_plan)
def select(labels: Labels, *, classes: Sequence[int | str]) -> Labels:
    """Mask of one or more classes.

    Parameters
    ----------
    labels : Labels, shape (n_z, n_y, n_x)
        Classes.
    classes : sequence of int or str
        Classes of the mask, by number or by name; 0 or its name is the background.

    Returns
    -------
    Labels, same grid, uint8
        1 in the classes chosen.

    Raises
    ------
    ValueError
        If no class is named, a name is unknown, or no voxel is in the classes.
    """
    if isinstance(classes, str) or len(classes) == 0:
        raise ValueError(f"classes must be a sequence of one or more numbers or names, got {classes!r}.")
    numbers = sorted({_number(labels, name) for name in classes})
    data = np.empty(labels.data.shape, dtype=np.uint8)
    n_voxels = 0
    for part, slab in slabs(labels.data, "select"):
        data[part] = np.isin(slab.astype(np.int64, copy=False), numbers)
        n_voxels += int(np.count_nonzero(data[part]))
    if n_voxels == 0:
        raise ValueError(f"classes must have at least one voxel, got none in {list(classes)}.")
    name = "+".join(labels.names.get(number, str(number)) for number in numbers)
    record = {"method": "select", "classes": numbers}
    return Labels(data, labels.voxel_size_nm, labels.origin_nm, record, {1: name})


def _number(labels: Labels, name: int | str) -> int:
    """Number of a class given by number or name."""
    if not isinstance(name, str):
        return int(name)
    numbers = [number for number, known in labels.names.items() if known == name]
    if name == "background" and 0 not in labels.names:
        numbers.append(0)
    if len(numbers) != 1:
        raise ValueError(f"classes must be names of the labels {dict(labels.names)}, got {name!r}.")
    return numbers[0]
