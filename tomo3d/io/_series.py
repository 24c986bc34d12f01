"""The entry points for images: tilt series, volumes and movies, in any format."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from tomo3d.io._facts import Angles, Options, pixel_size, series_facts, voxel_size
from tomo3d.io._images import Hints, ImageFile, check_finite, open_images, slab_rows
from tomo3d.planning import Plan, Sketch, planned
from tomo3d.types import TiltSeries, Volume


def _plan_series(path: str | os.PathLike[str], **options: Any) -> Plan:
    image = open_images(path)
    return _plan("TiltSeries", image, series_facts(image, Options(**options)).pixel_size_nm)


def _plan_volume(
    path: str | os.PathLike[str], *, voxel_size_nm: float | Sequence[float] | None = None
) -> Plan:
    image = open_images(path)
    return _plan("Volume", image, voxel_size(image, voxel_size_nm)[0][2])


def _plan_movie(
    path: str | os.PathLike[str], *, pixel_size_nm: float | None = None, tilt_angle_deg: float = 0.0
) -> Plan:
    image = open_images(path)
    return _plan("TiltSeries", image, pixel_size(image, image.hints(), Hints(), pixel_size_nm)[0])


def _plan(kind: str, image: ImageFile, pixel_size_nm: float) -> Plan:
    """A memory map holds nothing but the slab that is being checked; all else holds the result too."""
    sketch = Sketch(kind, image.shape, image.dtype.name, pixel_size_nm)
    slab = min(slab_rows(image.shape, image.dtype) * sketch.n_bytes // image.shape[0], sketch.n_bytes)
    return Plan(sketch, slab + image.held_bytes)


@planned(_plan_series)
def read_tilt_series(
    path: str | os.PathLike[str],
    *,
    angles: Angles | None = None,
    mdoc: str | os.PathLike[str] | None = None,
    pixel_size_nm: float | None = None,
    tilt_axis_deg: float | None = None,
    exclude: Sequence[int] = (),
) -> TiltSeries:
    """Read a tilt series, and all that lies beside it, from a file of any known format.

    Parameters
    ----------
    path : path
        MRC (.mrc, .st, .ali; packed by gzip or bzip2 too), TIFF, OME-TIFF, HDF5, EMD, DM3, DM4, SER, NumPy, or a folder
        with OME-Zarr: known by its content. FILE::/DATASET names one of several data sets of an HDF5 file.
    angles : path or sequence of float, optional
        Tilt angles in degrees: a file with one per line, or a list. Default: the .rawtlt or .tlt file beside
        the images, else the file itself, else the .mdoc.
    mdoc : path, optional
        .mdoc file of SerialEM, or a folder of them; or another record of the views, as `read_views` takes it. Default:
        the .mdoc beside the images, under any of its usual names.
    pixel_size_nm : float, optional
        Pixel size in nm. Default: that of the file, the .mdoc and the log, which must agree.
    tilt_axis_deg : float, optional
        Direction of the tilt axis in degrees, from +y, counter-clockwise. Default: the title
        "Tilt axis angle = ..." of the file or the .mdoc, else the log, else 0.
    exclude : sequence of int
        Views (0-based) not to use. They stay in the series, flagged.

    Returns
    -------
    TiltSeries
        Every acquired view, in the order of the file, row 0 at the bottom of the picture; a read-only memory map where
        format and byte order allow it. `views` (`tomo3d.tables.VIEWS`) has what is known of each view, `sources` says
        where each fact came from.

    Raises
    ------
    FileNotFoundError, IsADirectoryError, PermissionError
        If there is no such file, or it cannot be read.
    FormatError
        If the file is damaged or not supported, angles or pixel size are missing, two sources contradict each
        other, or a pixel is not finite.
    ValueError
        If an option is no length or angle, or a view to exclude does not exist.

    Notes
    -----
    Float images are read through once, slab by slab, to look for values that are not finite. Row 0 of an MRC section is
    the bottom of the picture, as here; TIFF, DM and EMD are flipped; HDF5, Zarr and NumPy are taken as they are.
    """
    image = open_images(path)
    facts = series_facts(image, Options(angles, mdoc, pixel_size_nm, tilt_axis_deg, exclude))
    images = image.read()
    check_finite(image.path, images, "view")
    return TiltSeries(
        images,
        facts.tilt_angles_deg,
        facts.pixel_size_nm,
        facts.tilt_axis_deg,
        facts.use,
        facts.views,
        sources={"images": f"{image.path.name} ({image.layout})", **facts.sources},
    )


@planned(_plan_volume)
def read_volume(
    path: str | os.PathLike[str], *, voxel_size_nm: float | Sequence[float] | None = None
) -> Volume:
    """Read a volume from a file of any known format.

    Parameters
    ----------
    path : path
        MRC of any order of axes (.mrc, .rec, .map; packed by gzip or bzip2 too), TIFF, OME-TIFF, HDF5, EMD, DM3, DM4,
        SER, NumPy, or a folder with OME-Zarr: known by its content.
    voxel_size_nm : float or sequence of float, optional
        Voxel edge in nm, one or (z, y, x). Default: that of the file.

    Returns
    -------
    Volume
        Values (n_z, n_y, n_x), row 0 at the bottom of the picture, a read-only memory map where format and byte order
        allow it. The origin is that of the header, taken as the centre of the first voxel; where it is zero, start
        index x voxel size.

    Raises
    ------
    FileNotFoundError, IsADirectoryError, PermissionError
        If there is no such file, or it cannot be read.
    FormatError
        If the file is damaged or not supported, has no voxel size that can be believed, or a value is not finite.
    ValueError
        If `voxel_size_nm` is no length.

    Notes
    -----
    Float volumes are read through once, slab by slab, to look for values that are not finite.
    """
    image = open_images(path)
    size_nm, source = voxel_size(image, voxel_size_nm)
    values = image.read()
    check_finite(image.path, values, "section")
    return Volume(
        values, size_nm, image.origin(size_nm), record={"file": image.path.name, "voxel_size_nm": source}
    )


@planned(_plan_movie)
def read_movie(
    path: str | os.PathLike[str], *, pixel_size_nm: float | None = None, tilt_angle_deg: float = 0.0
) -> TiltSeries:
    """Read the frames of one view, for `preprocess.align_frames`.

    Parameters
    ----------
    path : path
        Stack of frames in MRC or TIFF, or any other known format.
    pixel_size_nm : float, optional
        Pixel size in nm. Default: that of the file.
    tilt_angle_deg : float
        Tilt angle that the frames were recorded at.

    Returns
    -------
    TiltSeries
        One row per frame, in the order of time, all at this angle; columns movie (0) and frame of `views`.

    Raises
    ------
    FileNotFoundError, IsADirectoryError, PermissionError
        If there is no such file, or it cannot be read.
    FormatError
        If the file is damaged or not supported, has no pixel size, or a pixel is not finite.
    ValueError
        If `pixel_size_nm` is no length.
    """
    import pandas as pd

    image = open_images(path)
    size_nm, source = pixel_size(image, image.hints(), Hints(), pixel_size_nm)
    frames = image.read()
    check_finite(image.path, frames, "frame")
    n_frames = image.shape[0]
    return TiltSeries(
        frames,
        np.full(n_frames, float(tilt_angle_deg)),
        size_nm,
        views=pd.DataFrame({"movie": np.zeros(n_frames, np.int64), "frame": np.arange(n_frames)}),
        sources={
            "images": f"{image.path.name} ({image.layout})",
            "pixel_size_nm": source,
            "tilt_angles_deg": "given",
            "tilt_axis_deg": "unknown: the frames of one view do not need it",
        },
    )
