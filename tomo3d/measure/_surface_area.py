"""Areas of surfaces and interfaces, each with the estimator that it is by."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from tomo3d import tables
from tomo3d.compute.crofton import crossings
from tomo3d.compute.extrapolated_area import GREY, MASK, extrapolated
from tomo3d.compute.placed_surface import placed_surface
from tomo3d.compute.triangles import face_areas
from tomo3d.geometry import nm_to_index
from tomo3d.measure._surface_mesh import check_found
from tomo3d.measure.bootstrap import Blocks, blocks_of, resample
from tomo3d.measure.structure import field_of, grid_of, inside_of, is_mask
from tomo3d.planning import Plan, Sketch, planned
from tomo3d.types import Labels, Volume

if TYPE_CHECKING:
    import pandas as pd

CROFTON = "Crofton, 13 directions"
GREY_SURFACE, MASK_SURFACE = "iso-surface of grey values", "iso-surface of the smoothed mask"
EXTRAPOLATED = "iso-surfaces extrapolated to no smoothing"
_LEAST_VOXELS = 113  # a ball of 6 voxels in diameter
_MANY_CLASSES = 64
_log = logging.getLogger(__name__)
_RUNS = 4  # mean runs of one class that a block of the bootstrap is wide


def _plan(structure: Sketch, **_: Any) -> Plan:
    # numbers of parts and their kinds, and what a mesh of blobs of 20 voxels takes, its faces one by one
    return Plan(Sketch("DataFrame"), 75 * math.prod(structure.shape))


@planned(_plan)
def surface_area(
    structure: Volume | Labels,
    *,
    level: float | None = None,
    smoothing_nm: float | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Area of the surface of a structure, by named estimators.

    Parameters
    ----------
    structure : Volume or Labels, shape (n_z, n_y, n_x)
        Grey values, with `level`; or a mask, every non-zero voxel of which belongs to the structure.
    level : float, optional
        Grey value of the surface of the structure, which is brighter.
    smoothing_nm : float, optional
        As in `surface_mesh`; it does not enter the counts of Crofton's estimator, and is the least of the smoothings
        that are extrapolated.
    seed : int
        Of the resampling.

    Returns
    -------
    DataFrame
        Rows of `tomo3d.tables.SURFACE_SUMMARY`: `surface_area` in nm^2, and `surface_area_per_volume`, over the
        volume of the whole grid, in 1/nm. Grey values: by their iso-surface; n is its number of triangles. A mask: by
        Crofton's formula, n being the crossings counted, and by the iso-surface of the smoothed mask; and
        `surface_area_of_small_parts`, how much of it lies on parts smaller than a ball of 6 voxels in diameter, whose
        area labels do not tell. Both also by iso-surfaces extrapolated to no smoothing, unless smoothing changes what
        there is (parts under 4 voxels thick vanish or merge), which a warning then says.

    Raises
    ------
    ValueError
        As `surface_mesh`; or if no part of a mask is as large as a ball of 6 voxels in diameter.

    Notes
    -----
    Where the structure meets the border of the volume it has no surface. Iso-surface: see `surface_mesh` for its
    errors. Crofton [1]_: crossings of lines in 13 directions, weighted by the cells of Voronoi of these directions as
    they are in space, whatever the voxel size. Error for balls, shells and tori from a radius of 5 voxels up: 2 %;
    for a plane -7 % (along a face of the grid) to 2 %, so that single flat films are better measured by their mesh.
    Where voxels are twice as long along one axis, planes err by -12 to 9 %.

    Extrapolated: the areas of iso-surfaces after Gaussians of 0.6 to 2 voxels (a mask: 1 to 1.75, less what the steps
    of voxels add), as a polynomial of the second degree of the width, at width 0. A sharp rim loses area in proportion
    to the width, a rounded surface to its square; so this one holds for both. Error of balls, shells, tori and cubes at
    any direction, from a radius (half an edge) of 5 voxels up: 1.5 % from grey values, 2.5 % from masks (cubes in
    voxels that are twice as long along one axis: 4 %); with noise of 0.1 of the contrast, 2 % from grey values.

    Interval: 2.5 % and 97.5 % quantiles over draws of blocks that span z, four mean runs wide or more.

    References
    ----------
    .. [1] Ohser and Muecklich, Statistical Analysis of Microstructures in Materials Science, Wiley (2000), ch. 5
    """
    mask = is_mask(structure, level)
    rows = list(_crofton_rows(structure, _parts(inside_of(structure, level)), seed)) if mask else []
    found = placed_surface(field_of(structure, level, smoothing_nm))
    check_found(found)
    blocks = _blocks(structure, float(face_areas(found.vertices, found.faces).sum()))
    per_block = _per_block(structure, blocks, found.vertices, found.faces)
    n = len(found.faces)
    rows += _mesh_rows(structure, blocks, per_block, n, MASK_SURFACE if mask else GREY_SURFACE, seed)
    del found
    extrapolated_areas = _extrapolated(structure, level, smoothing_nm, blocks)
    if extrapolated_areas is not None:
        rows += _mesh_rows(structure, blocks, extrapolated_areas, n, EXTRAPOLATED, seed)
    return tables.surface_summary(rows)


def interface_areas(labels: Labels, *, seed: int = 0) -> pd.DataFrame:
    """Area of the interface of every pair of classes that touch.

    Parameters
    ----------
    labels : Labels, shape (n_z, n_y, n_x)
        Classes, at most 64; 0 is the background.
    seed : int
        Of the resampling.

    Returns
    -------
    DataFrame
        Rows of `tomo3d.tables.INTERFACE_AREAS`, by Crofton's formula with 13 directions, the lower class first; pairs
        that touch nowhere have none. A class without a name is class_NUMBER, 0 is background.

    Raises
    ------
    ValueError
        If there is only one class, a class is negative, or there are too many: numbered particles are not phases.

    Notes
    -----
    Errors as of `surface_area`; beside it, where three classes meet a diagonal step passes from the first to
    the third without the second: each line where they meet counts as a strip of the wrong pair, half a voxel wide.
    The mesh of one pair is `interface_mesh`.
    """
    data = np.asarray(labels.data)
    numbers = np.unique(data).astype(np.int64)
    if numbers[0] < 0:
        raise ValueError(f"labels must be zero or positive, got {numbers[0]}.")
    if len(numbers) == 1:
        raise ValueError(
            f"labels must hold at least two classes to have an interface, got only {numbers[0]}."
        )
    if len(numbers) > _MANY_CLASSES:
        raise ValueError(
            f"labels must hold at most {_MANY_CLASSES} classes, got {len(numbers)}: if these are numbered objects, "
            "set each to its phase."
        )
    classes = np.searchsorted(numbers, data).astype(np.uint8)
    pairs = [(i, j) for i in range(len(numbers)) for j in range(i + 1, len(numbers))]
    counted = _Counted(labels, classes, len(numbers))
    pairs = [pair for pair in pairs if counted.counts[pair]]
    names = {
        i: labels.names.get(int(n), "background" if n == 0 else f"class_{n}") for i, n in enumerate(numbers)
    }
    values, low, high, interval = counted.areas(pairs, seed)
    rows = [
        {
            "pair": f"{names[i]}|{names[j]}",
            "first": int(numbers[i]),
            "second": int(numbers[j]),
            "area_nm2": values[k],
            "low_nm2": low[k],
            "high_nm2": high[k],
            "area_per_volume_per_nm": values[k] / _volume_nm3(labels),
            "n": int(counted.counts[i, j]),
            "interval": interval,
            "estimator": CROFTON,
        }
        for k, (i, j) in enumerate(pairs)
    ]
    import pandas as pd

    return tables.check(
        pd.DataFrame(rows, columns=tables.names(tables.INTERFACE_AREAS)), tables.INTERFACE_AREAS
    )


class _Counted:
    """Crossings between classes, by block of the specimen."""

    def __init__(self, structure: Volume | Labels, classes: np.ndarray, n_classes: int) -> None:
        whole = crossings(
            classes, n_classes, structure.voxel_size_nm, np.zeros(classes.shape[1:], dtype=np.int32)
        )
        self.counts = whole.counts
        self._blocks = _blocks(structure, float(whole.areas.sum()))
        self._structure = structure
        if self._blocks.n_blocks == 1:
            self._areas = whole.areas
        else:
            found = crossings(classes, n_classes, structure.voxel_size_nm, self._blocks.of_column)
            self._areas = found.areas

    def areas(
        self, pairs: list[tuple[int, int]], seed: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, str]:
        """Area of each pair in nm^2, the ends of its interval, and how that was made."""
        per_block = np.stack([self._areas[:, i, j] for i, j in pairs], axis=1)
        (low, high), interval = _interval(self._structure, self._blocks, per_block, seed)
        return per_block.sum(axis=0), low, high, interval


def _parts(inside: np.ndarray) -> np.ndarray:
    """0 outside, 1 in parts of at least 113 voxels, 2 in smaller ones; checked."""
    number, n_parts = ndimage.label(inside, np.ones((3, 3, 3)))
    sizes = np.bincount(number.ravel())
    kinds = np.where(sizes < _LEAST_VOXELS, 2, 1).astype(np.uint8)
    kinds[0] = 0
    if (kinds[1:] == 2).all():
        raise ValueError(
            f"a mask must have a part of at least {_LEAST_VOXELS} voxels, a ball of 6 voxels in diameter, for its area "
            f"to be told, got {n_parts} of at most {sizes[1:].max()} voxels. Give grey values with a level."
        )
    return np.asarray(kinds[number])


def _crofton_rows(structure: Volume | Labels, parts: np.ndarray, seed: int) -> Iterator[dict[str, Any]]:
    counted = _Counted(structure, parts, 3)
    values, low, high, interval = counted.areas([(0, 1), (0, 2)], seed)
    n = int(counted.counts[0, 1] + counted.counts[0, 2])
    has_small = bool(counted.counts[0, 2])
    if has_small:  # their sum has an interval of its own, not the sum of two
        both = _Counted(structure, (parts > 0).astype(np.uint8), 2)
        total, low_total, high_total, interval = both.areas([(0, 1)], seed)
        values = np.array([total[0], values[1]])
        low, high = np.array([low_total[0], low[1]]), np.array([high_total[0], high[1]])
    yield from _two_rows(structure, (values[0], low[0], high[0]), n, interval, CROFTON)
    if has_small:
        yield {
            "quantity": "surface_area_of_small_parts",
            "value": values[1],
            "low": low[1],
            "high": high[1],
            "unit": "nm^2",
            "n": int(counted.counts[0, 2]),
            "interval": interval,
            "estimator": CROFTON,
        }


def _mesh_rows(
    structure: Volume | Labels, blocks: Blocks, per_block: np.ndarray, n: int, estimator: str, seed: int
) -> Iterator[dict[str, Any]]:
    (low, high), interval = _interval(structure, blocks, per_block[:, None], seed)
    yield from _two_rows(structure, (per_block.sum(), low[0], high[0]), n, interval, estimator)


def _extrapolated(
    structure: Volume | Labels, level: float | None, smoothing_nm: float | None, blocks: Blocks
) -> np.ndarray | None:
    """Area in each block without smoothing; None, with a warning, where parts vanish or merge on the way."""
    values, widths = structure.data, GREY
    if is_mask(structure, level):
        values, level, widths = (np.asarray(values) != 0).astype(np.float32), 0.5, MASK
    assert level is not None
    widths = widths.wider((smoothing_nm or 0.0) / min(structure.voxel_size_nm))
    measured = partial(_per_block, structure, blocks)
    per_block = extrapolated(measured, grid_of(structure), values, level, widths)
    if per_block is None:
        _log.warning(
            "The area extrapolated to no smoothing is not given: smoothing by up to %g voxels changes what there is, "
            "as parts under 4 voxels thick vanish or merge.",
            widths.sigmas[-1],
        )
    return per_block


def _per_block(
    structure: Volume | Labels, blocks: Blocks, vertices: np.ndarray, faces: np.ndarray
) -> np.ndarray:
    """Area in each block, (n_blocks,)."""
    index = np.rint(nm_to_index(structure, vertices[faces].mean(axis=1))).astype(int)
    y, x = (np.clip(index[:, i], 0, structure.data.shape[i] - 1) for i in (1, 2))
    areas = face_areas(vertices, faces)
    return np.bincount(blocks.of_column[y, x], weights=areas, minlength=blocks.n_blocks)


def _two_rows(
    structure: Volume | Labels,
    values: tuple[float, float, float],
    n: int,
    interval: str,
    estimator: str,
) -> Iterator[dict[str, Any]]:
    for quantity, unit, scale in (
        ("surface_area", "nm^2", 1.0),
        ("surface_area_per_volume", "1/nm", 1.0 / _volume_nm3(structure)),
    ):
        value, low, high = (number * scale for number in values)
        yield {
            "quantity": quantity, "value": value, "low": low, "high": high, "unit": unit, "n": n,
            "interval": interval, "estimator": estimator,
        }  # fmt: skip


def _blocks(structure: Volume | Labels, area_nm2: float) -> Blocks:
    # a straight line crosses a surface area / (2 volume) times per length
    run_nm = 2.0 * _volume_nm3(structure) / max(area_nm2, 1e-30)
    _, y, x = structure.voxel_size_nm
    return blocks_of(structure.data.shape, (_RUNS * run_nm / y, _RUNS * run_nm / x))


def _interval(
    structure: Volume | Labels, blocks: Blocks, per_block: np.ndarray, seed: int
) -> tuple[tuple[np.ndarray, np.ndarray], str]:
    n_voxels = math.prod(structure.data.shape)

    def totals(weights: np.ndarray) -> np.ndarray:
        return np.asarray(weights @ per_block / (weights @ blocks.n_voxels) * n_voxels)

    statistics: Callable[[np.ndarray], np.ndarray] = totals
    return resample(statistics, blocks, structure.voxel_size_nm, seed)


def _volume_nm3(structure: Volume | Labels) -> float:
    return math.prod(structure.data.shape) * math.prod(structure.voxel_size_nm)
