"""Writing volumes, labels and tilt series: the ending of the name chooses the format."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import numpy as np

from tomo3d.io._mrc_write import write_mrc_labels, write_mrc_series, write_mrc_volume
from tomo3d.types import Labels, TiltSeries, Volume

StoredType = Literal["int8", "uint8", "int16", "uint16", "int32", "uint32", "float16", "float32"]
ZarrVersion = Literal["0.4", "0.5"]
FORMATS: dict[str, tuple[str, ...]] = {
    "MRC": (".mrc", ".rec", ".map", ".st", ".ali", ".preali"),
    "TIFF": (".tif", ".tiff"),
    "NRRD": (".nrrd",),
    "OME-Zarr": (".zarr",),
}


def write_volume(
    volume: Volume,
    path: str | os.PathLike[str],
    *,
    dtype: StoredType | None = None,
    ome_zarr: ZarrVersion = "0.5",
    overwrite: bool = False,
) -> None:
    """Write a volume to an MRC, TIFF, NRRD or OME-Zarr file.

    Parameters
    ----------
    volume : Volume
        It may be larger than memory: it is taken piece by piece.
    path : path
        Where to write it. The ending chooses the format: .mrc, .rec, .map; .tif (read by Fiji with its voxel size),
        .ome.tif; .nrrd; .zarr or .ome.zarr (a folder, multiscale).
    dtype : str, optional
        Type of the values in the file. Default: that of the volume, or the next in which the format holds them exactly;
        float64 is rounded to float32. In MRC, booleans and int8 are mode 0, uint8 and int16 mode 1, float32 mode 2,
        uint16 mode 6, float16 mode 12.
    ome_zarr : str
        Version of OME-Zarr: 0.4 (Zarr format 2) or 0.5 (Zarr format 3).
    overwrite : bool
        True if an existing file may be replaced.

    Raises
    ------
    FileExistsError
        If the file exists and `overwrite` is False.
    ValueError
        If the ending is of no known format, a value is not finite, or does not fit `dtype` exactly.
    TypeError
        If the values lie on a GPU.
    OSError
        If the folder cannot be written to or the disk is full.

    Notes
    -----
    `record` is not part of a file. MRC stores voxel size and origin as float32, in angstrom; TIFF has no place for
    the origin. Row 0 of a TIFF is the top of the picture, so y is flipped there, and nowhere else.
    """
    wanted = None if dtype is None else np.dtype(dtype)
    kind = format_of(path)
    if kind == "MRC":
        write_mrc_volume(volume, path, dtype=wanted, overwrite=overwrite)
    elif kind == "TIFF":
        from tomo3d.io._tiff_write import write_tiff_volume

        write_tiff_volume(volume, path, dtype=wanted, overwrite=overwrite)
    elif kind == "NRRD":
        from tomo3d.io._nrrd_write import write_nrrd_volume

        write_nrrd_volume(volume, path, dtype=wanted, overwrite=overwrite)
    else:
        from tomo3d.io._zarr_write import write_zarr_volume

        write_zarr_volume(volume, path, dtype=wanted, version=ome_zarr, overwrite=overwrite)


def write_labels(
    labels: Labels,
    path: str | os.PathLike[str],
    *,
    ome_zarr: ZarrVersion = "0.5",
    overwrite: bool = False,
) -> None:
    """Write labels or a mask to an MRC, TIFF, NRRD or OME-Zarr file, with the names of their classes.

    Parameters
    ----------
    labels : Labels
        Stored in the narrowest type that holds them: a mask comes back as 0 and 1.
    path : path
        Where to write them; the ending chooses the format, as in `write_volume`. IMOD opens MRC; Fiji TIFF; napari
        TIFF and OME-Zarr; ParaView MRC and NRRD; 3D Slicer shows the names in .seg.nrrd.
    ome_zarr : str
        Version of OME-Zarr: 0.4 (Zarr format 2) or 0.5 (Zarr format 3).
    overwrite : bool
        True if an existing file may be replaced.

    Raises
    ------
    FileExistsError
        If the file exists and `overwrite` is False.
    ValueError
        If a label does not fit the format (MRC: -32768 to 65535), or the names do not fit into nine titles of an MRC.
    TypeError
        If the labels lie on a GPU.
    OSError
        If the folder cannot be written to or the disk is full.

    Notes
    -----
    Names stand in the titles of an MRC, in the description of a TIFF, as segments in an NRRD, and as properties
    of `image-label` in OME-Zarr. `record` and `probabilities` are not part of the file.
    """
    kind = format_of(path)
    if kind == "MRC":
        write_mrc_labels(labels, path, overwrite=overwrite)
    elif kind == "TIFF":
        from tomo3d.io._tiff_write import write_tiff_labels

        write_tiff_labels(labels, path, overwrite=overwrite)
    elif kind == "NRRD":
        from tomo3d.io._nrrd_write import write_nrrd_labels

        write_nrrd_labels(labels, path, overwrite=overwrite)
    else:
        from tomo3d.io._zarr_write import write_zarr_labels

        write_zarr_labels(labels, path, version=ome_zarr, overwrite=overwrite)


def write_tilt_series(
    series: TiltSeries,
    path: str | os.PathLike[str],
    *,
    dtype: StoredType | None = None,
    ome_zarr: ZarrVersion = "0.5",
    overwrite: bool = False,
) -> None:
    """Write a tilt series to an MRC, OME-Zarr or TIFF file that holds its angles, pixel size, axis and excluded views.

    Parameters
    ----------
    series : TiltSeries
        It may be larger than memory.
    path : path
        Where to write it: .mrc, .st, .ali, .tif, or .zarr (a folder).
    dtype : str, optional
        Type of the values in the file, as in `write_volume`.
    ome_zarr : str
        Version of OME-Zarr: 0.4 (Zarr format 2) or 0.5 (Zarr format 3).
    overwrite : bool
        True if an existing file may be replaced.

    Raises
    ------
    FileExistsError
        If the file exists and `overwrite` is False.
    ValueError
        If the format has no place for angles, a value is not finite or does not fit `dtype` exactly, or the
        runs of excluded views do not fit into the titles of an MRC.
    TypeError
        If the images lie on a GPU.
    OSError
        If the folder cannot be written to or the disk is full.

    Notes
    -----
    In MRC, angles and pixel size are doubles of an FEI1 extended header, which mrcfile reads too; the axis is IMOD's
    title "Tilt axis angle = ...", left out where `sources` says that it is unknown. In OME-Zarr they are
    attributes of the group. In TIFF they are lines of its description, which other programs only show; a warning says
    so. `views` and `sources` are not part of the file.
    """
    wanted = None if dtype is None else np.dtype(dtype)
    kind = format_of(path)
    if kind == "MRC":
        write_mrc_series(series, path, dtype=wanted, overwrite=overwrite)
    elif kind == "OME-Zarr":
        from tomo3d.io._zarr_write import write_zarr_series

        write_zarr_series(series, path, dtype=wanted, version=ome_zarr, overwrite=overwrite)
    elif kind == "TIFF":
        from tomo3d.io._tiff_write import write_tiff_series

        write_tiff_series(series, path, dtype=wanted, overwrite=overwrite)
    else:
        raise ValueError(
            f"a tilt series must be written as MRC (.mrc, .st), OME-Zarr (.zarr) or TIFF (.tif), as {kind} has no "
            f"place for its angles, got {Path(path).name!r}."
        )


def format_of(path: str | os.PathLike[str]) -> str:
    """Name of the format that the ending of a path stands for.

    Raises
    ------
    ValueError
        If it stands for none.
    """
    ending = Path(path).suffix.lower()
    for name, endings in FORMATS.items():
        if ending in endings:
            return name
    listed = ", ".join(ending for endings in FORMATS.values() for ending in endings)
    raise ValueError(f"an image must be named with one of the endings {listed}, got {Path(path).name!r}.")
