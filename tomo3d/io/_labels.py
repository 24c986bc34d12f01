"""Reading labels: any file of images that holds whole numbers, with the names of its classes where it has them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import numpy as np

from tomo3d.errors import FormatError
from tomo3d.io._facts import voxel_size
from tomo3d.io._images import Array, ImageFile, frozen, open_images, release, slab_rows, slabs
from tomo3d.io._titles import read_names
from tomo3d.planning import Plan, Sketch, planned
from tomo3d.types import Labels

_LARGEST_EXACT = 2**24  # of whole numbers in float32
_SAME_SIZE = 1e-3  # two voxel sizes agree within this part: headers hold rounded numbers


def _plan_labels(
    path: str | os.PathLike[str],
    *,
    voxel_size_nm: float | Sequence[float] | None = None,
    like: str | os.PathLike[str] | None = None,
) -> Plan:
    image = open_images(path)
    size_nm = _grid(image, voxel_size_nm, like)[0]
    is_float = image.dtype.kind == "f"
    sketch = Sketch("Labels", image.shape, "int32" if is_float else image.dtype.name, size_nm[2])
    slab = min(slab_rows(image.shape, image.dtype) * sketch.n_bytes // image.shape[0], sketch.n_bytes)
    return Plan(sketch, slab + image.held_bytes + (sketch.n_bytes if is_float else 0))


@planned(_plan_labels)
def read_labels(
    path: str | os.PathLike[str],
    *,
    voxel_size_nm: float | Sequence[float] | None = None,
    like: str | os.PathLike[str] | None = None,
) -> Labels:
    """Read labels (classes) or a mask from a file of any known format.

    Parameters
    ----------
    path : path
        MRC, NRRD (3D Slicer's too), AmiraMesh, TIFF, OME-TIFF, NumPy, HDF5 (ilastik's export; FILE::/DATASET names one
        of several data sets), or a folder with OME-Zarr: known by its content. Floats must be whole numbers.
    voxel_size_nm : float or sequence of float, optional
        Voxel edge in nm, one or (z, y, x). Default: that of `like`, else of the file.
    like : path, optional
        The volume that the labels are of: they must have its shape, and take its voxel size and origin. Where the
        labels' own file has a voxel size, it must be the same.

    Returns
    -------
    Labels
        As stored, row 0 at the bottom of the picture; int32 if the file holds floats. Names are those of an MRC's
        titles, an NRRD's segments, AmiraMesh's materials, a TIFF's description ("1 = film", one a line) and OME-Zarr's
        `image-label`.

    Raises
    ------
    FileNotFoundError, IsADirectoryError, PermissionError
        If there is no such file, or it cannot be read.
    FormatError
        If the file is damaged or not supported, a value is not a whole number, its voxel size is unknown or not that of
        `like`, or its shape is not.
    ValueError
        If `voxel_size_nm` is no length.
    """
    image = open_images(path)
    size_nm, origin_nm, source = _grid(image, voxel_size_nm, like)
    values = image.read()
    return Labels(
        _whole_numbers(image, values) if image.dtype.kind == "f" else values,
        size_nm,
        origin_nm,
        record={"file": image.path.name, "voxel_size_nm": source},
        names=_names(image),
    )


def _grid(
    image: ImageFile, voxel_size_nm: float | Sequence[float] | None, like: str | os.PathLike[str] | None
) -> tuple[tuple[float, float, float], tuple[float, float, float], str]:
    """Voxel size, origin, and where they are from."""
    if like is None:
        size_nm, source = voxel_size(image, voxel_size_nm)
        return size_nm, image.origin(size_nm), source
    volume = open_images(like)
    if volume.shape != image.shape:
        raise FormatError(
            f"{image.path} must have the shape of {volume.path}, {volume.shape} (z, y, x), got {image.shape}: "
            "they are not of one volume, or one is cropped or binned."
        )
    size_nm, source = voxel_size(volume, voxel_size_nm)
    own = image.voxel_size_nm
    is_known = all(length > 0 for length in own) and not image.size_doubt  # nan is not
    if is_known and any(abs(a - b) > _SAME_SIZE * b for a, b in zip(own, size_nm, strict=True)):
        raise FormatError(
            f"{image.path} must have the voxels of {volume.path}, {_sizes(size_nm)} nm (z, y, x), its own "
            f"{image.size_source} says {_sizes(own)} nm: pass voxel_size_nm without like to say which is right."
        )
    return size_nm, volume.origin(size_nm), f"{volume.path.name}: {source}"


def _sizes(size_nm: Sequence[float]) -> str:
    return " x ".join(f"{length:g}" for length in size_nm)


def _whole_numbers(image: ImageFile, values: Array) -> np.ndarray:
    """Float values as int32, if they all are whole numbers."""
    converted = np.empty(values.shape, np.int32)
    for rows in slabs(values, f"reading labels of {image.path.name}"):
        part = values[rows]
        wrong = ~((np.abs(part) <= _LARGEST_EXACT) & (np.trunc(part) == part))
        if wrong.any():
            raise FormatError(
                f"{image.path} must hold whole numbers to be labels, got {part[wrong][0]:g}: segment it first "
                "(tomo3d.segment), or read it as a volume."
            )
        converted[rows] = part
        release(values)
    return frozen(converted)


def _names(image: ImageFile) -> Mapping[int, str]:
    return image.names or read_names(image.titles)
