"""From one file to another: images, alignments and tables, each by its own reader and writer."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from tomo3d.io._facts import voxel_size
from tomo3d.io._images import open_images
from tomo3d.io._inspect import inspect
from tomo3d.io._write_images import StoredType, ZarrVersion, format_of
from tomo3d.types import Volume

Kind = Literal["auto", "volume", "tilt series", "labels", "alignment", "table"]
_ALIGNMENTS = (".json", ".xf", ".aln", ".star", ".xml")


def convert(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    kind: Kind = "auto",
    pixel_size_nm: float | None = None,
    series: str | os.PathLike[str] | None = None,
    dtype: StoredType | None = None,
    ome_zarr: ZarrVersion = "0.5",
    overwrite: bool = False,
) -> None:
    """Write what a file holds into a file of another format, piece by piece where the file allows.

    Parameters
    ----------
    source : path
        Tilt series, volume, labels, alignment or table.
    target : path
        Where to write it; the ending chooses the format, as in `write_volume`, `write_alignment` and `write_table`.
    kind : str
        What the source is: volume, tilt series, labels, alignment or table. "auto": as `inspect` finds; images without
        angles are a volume.
    pixel_size_nm : float, optional
        Pixel or voxel edge in nm. Default: as the source says.
    series : path, optional
        Tilt series that an alignment is for, where the format needs one.
    dtype : str, optional
        Type of the values of a volume or tilt series in the target. Default: as `write_volume` chooses.
    ome_zarr : str
        Version of OME-Zarr: 0.4 or 0.5.
    overwrite : bool
        True if an existing target may be replaced.

    Raises
    ------
    FileNotFoundError, IsADirectoryError, PermissionError, FormatError
        If the source cannot be read.
    FileExistsError
        If the target exists and `overwrite` is False.
    ValueError
        If source and target are one file, or the target has an ending that its kind is not written to.

    Notes
    -----
    A native MRC file of any size passes within a few hundred megabytes of memory. What a format has no place for is
    left out, as the writers say.
    """
    from tomo3d import io  # every reader and writer

    start, end = Path(source), Path(target)
    if end.exists() and start.exists() and end.samefile(start):
        raise ValueError(f"the target must be another file than the source, got {target} for both.")
    found = kind
    if found == "auto":
        found = "alignment" if end.suffix.lower() in _ALIGNMENTS else inspect(source).kind  # type: ignore[assignment]
    if found == "alignment":
        views = None if series is None else io.read_tilt_series(series, pixel_size_nm=pixel_size_nm)
        alignment = io.read_alignment(start, series=views, pixel_size_nm=pixel_size_nm)
        io.write_alignment(alignment, end, series=views, pixel_size_nm=pixel_size_nm, overwrite=overwrite)
        return
    if found == "table":
        io.write_table(io.read_table(start), end, overwrite=overwrite)
        return
    if found not in ("volume", "tilt series", "labels"):
        raise ValueError(
            f"only images, alignments and tables are converted, and {source} is none: it is a {found}. tomo3d info "
            "shows what it says, and tomo3d.io reads it."
        )
    format_of(end)  # say what is wrong with the name before anything is read
    if found == "tilt series":
        views = io.read_tilt_series(source, pixel_size_nm=pixel_size_nm)
        io.write_tilt_series(views, end, dtype=dtype, ome_zarr=ome_zarr, overwrite=overwrite)
    elif found == "labels":
        labels = io.read_labels(source, voxel_size_nm=pixel_size_nm)
        io.write_labels(labels, end, ome_zarr=ome_zarr, overwrite=overwrite)
    else:
        # Not by read_volume, which looks at all values once: the writer does that, too.
        image = open_images(source)
        size_nm, _ = voxel_size(image, pixel_size_nm)
        volume = Volume(image.read(), size_nm, image.origin(size_nm))
        io.write_volume(volume, end, dtype=dtype, ome_zarr=ome_zarr, overwrite=overwrite)
