"""What lies beside the images of a tilt series: angles, the .mdoc of SerialEM, the log of the microscope."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tomo3d.errors import FormatError
from tomo3d.io._alignment import alignment_files_beside
from tomo3d.io._angles import side_file
from tomo3d.io._images import Hints
from tomo3d.io._view_record import ViewRecord
from tomo3d.io._views import read_views

if TYPE_CHECKING:
    import pandas as pd

MDOC_NAMES = ("{name}.mdoc", "{stem}.mdoc", "{stem}.mrc.mdoc", "{stem}.st.mdoc", "{stem}.tif.mdoc")
LOG_NAMES = ("{stem}.txt", "{stem}.log")
_LOG_START = 1 << 16
_LOG_AXIS = re.compile(r"Tilt Axis Angle \[.{1,2}\]:\s*([-+]?\d+(?:\.\d*)?)")
_LOG_PIXEL = re.compile(r"Image pixel size \[nm\]:\s*(\d+(?:\.\d*)?)")
_SAME_ROTATION_DEG = 0.5


def files_beside(path: str | os.PathLike[str]) -> list[Path]:
    """Files that a reader takes facts from by itself: angles, .mdoc and log of images; .tlt and more of alignments.

    Parameters
    ----------
    path : path
        The file of images or of an alignment.

    Returns
    -------
    list of Path
        Those that exist.
    """
    image = Path(os.fspath(path).partition("::")[0])
    found = [side_file(image), find_beside(image, MDOC_NAMES), find_beside(image, LOG_NAMES)]
    found += alignment_files_beside(image) if image.is_file() else []
    return [other for other in dict.fromkeys(found) if other is not None and other != image]


def find_beside(image: Path, names: Sequence[str]) -> Path | None:
    """The first of the files of these names beside an image file, or None."""
    for name in names:
        candidate = image.parent / name.format(name=image.name, stem=image.stem)
        if candidate != image and candidate.is_file():
            return candidate
    return None


def beside_hints(image: Path, image_size: tuple[int, int], mdoc: str | os.PathLike[str] | None) -> Hints:
    """What the .mdoc and the log beside the images of this (n_y, n_x) say; `mdoc` names another place."""
    place = Path(mdoc) if mdoc is not None else find_beside(image, MDOC_NAMES)
    first = Hints() if place is None else record_hints(read_views(place), f"mdoc {place.name}", image_size)
    log = find_beside(image, LOG_NAMES)
    second = Hints() if log is None else log_hints(log)
    return Hints(
        tilt_angles=first.tilt_angles,
        pixel_sizes=(*first.pixel_sizes, *second.pixel_sizes),
        axes=first.axes or second.axes,  # that of the log only where no other is
        views=first.views,
        views_source=first.views_source,
        voltage_v=first.voltage_v,
        doubts=(*first.doubts, *(() if first.axes else second.doubts)),
    )


def record_hints(record: ViewRecord, source: str, image_size: tuple[int, int]) -> Hints:
    """What the record of an .mdoc says of images of this (n_y, n_x), in the order of its sections.

    Raises
    ------
    FormatError
        If it is that of a montage.
    """
    if record.kind == "montage":
        raise FormatError(
            f"the {source} must describe the views of a tilt series, got the pieces of a montage."
        )
    angles = record.views["tilt_angle_deg"].to_numpy()
    doubts = [f"{source}: {note}" for note in record.notes]
    sizes = [] if record.pixel_size_nm is None else [(record.pixel_size_nm, source)]
    if record.image_shape is not None and record.image_shape != image_size:
        (n_y, n_x), (own_y, own_x) = record.image_shape, image_size
        doubts.append(
            f"{source} is of images of {n_x} x {n_y} pixels, these have {own_x} x {own_y}: "
            "its pixel size is not used."
        )
        sizes = []
    return Hints(
        tilt_angles=((angles, source),) if np.isfinite(angles).all() else (),
        pixel_sizes=tuple(sizes),
        axes=_axes(record, source),
        views=known_columns(record.views),
        views_source=source,
        voltage_v=None if record.voltage_kv is None else 1e3 * record.voltage_kv,
        doubts=tuple(doubts),
    )


def known_columns(views: pd.DataFrame) -> dict[str, Any]:
    """The columns of a table of views that say something of at least one view, without row and angle."""
    known = {}
    for name in views.columns:
        values = views[name].to_numpy()
        if values.dtype.kind == "f":
            says = bool(np.isfinite(values).any())
        elif name == "acquisition_order":
            says = bool((values >= 0).all())
        else:
            says = any(values != "")
        if says and name not in ("view", "tilt_angle_deg"):
            known[str(name)] = values
    return known


def log_hints(path: Path) -> Hints:
    """What the log of an FEI microscope says: pixel size and tilt axis."""
    with open(path, "rb") as stream:
        text = stream.read(_LOG_START).decode("latin-1")
    pixel, axis = _LOG_PIXEL.search(text), _LOG_AXIS.search(text)
    unverified = f"log {path.name}; its sign is not verified, so the hand of a volume is not known"
    doubt = (
        f"the tilt axis is that of the log {path.name}, whose sign differs between programs: the volume may be a "
        "mirror image. Pass tilt_axis_deg if you know it."
    )
    return Hints(
        pixel_sizes=((float(pixel[1]), f"log {path.name}"),) if pixel and float(pixel[1]) > 0 else (),
        axes=((float(axis[1]), unverified),) if axis else (),
        doubts=(doubt,) if axis else (),
    )


def _axes(record: ViewRecord, source: str) -> tuple[tuple[float, str], ...]:
    if record.tilt_axis_deg is not None:
        return ((record.tilt_axis_deg, source),)
    if "rotation_angle_deg" in record.views:
        rotation = record.views["rotation_angle_deg"].to_numpy()
        if np.isfinite(rotation).all() and np.ptp(rotation) < _SAME_ROTATION_DEG:
            return ((float(rotation[0]) - 90.0, f"{source}, RotationAngle - 90"),)
    return ()
