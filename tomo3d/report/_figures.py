"""Which figures belong to which result, as pictures inside the page; or the reason why one is missing."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from tomo3d import render, tables
from tomo3d.report._records import StepRecord, StoredPicture
from tomo3d.types import Alignment, Labels, Surface, TiltSeries, Volume

_PAGE_IN = 7.1  # width of the widest figures
_TYPES = {".png": "image/png", ".svg": "image/svg+xml", ".gif": "image/gif", ".jpg": "image/jpeg"}
_DPI = 200  # 1400 pixels across: sharp on a screen and in print, some hundred kB a picture


@dataclass(frozen=True)
class Picture:
    """A picture as a data address, or the reason why there is none."""

    caption: str
    address: str = ""
    width_percent: int = 100  # of the page: figures keep their sizes to each other, and so do their letters
    reason: str = ""


def pictures(value: Any, earlier: Sequence[StepRecord]) -> list[Picture]:
    """The figures of one result; `earlier` are the steps up to this one, which may hold its grey volume."""
    if isinstance(value, TiltSeries):
        return [
            _picture(
                "Views from the lowest to the highest tilt, each in its own grey range, with the nominal tilt axis "
                "(dashed); below, the central line across the axis against the tilt angle.",
                lambda: render.tilt_series(value),
            )
        ]
    if isinstance(value, Alignment):
        return [
            _picture(
                "The alignment over the tilt angle. Open markers: views whose alignment the method distrusts. "
                "Bands about the shifts: one standard error, where the method has it.",
                lambda: render.alignment(value),
            )
        ]
    if isinstance(value, StoredPicture):
        return [_stored(value)]
    if isinstance(value, Labels):
        return [_outlines(value, earlier)]
    if isinstance(value, pd.DataFrame) and set(tables.names(tables.COMPARISON)) <= set(value.columns):
        return [_picture("Errors of the measured quantities.", lambda: render.comparison(value))]
    if isinstance(value, Surface):
        return [_surface(value)]
    if isinstance(value, Volume):
        return _thickness(value, earlier) if is_thickness(value) else [_slices(value)]
    return []


def surface(steps: Sequence[StepRecord]) -> Picture | None:
    """The surface of the last mask of a run, coloured by the last thickness on its grid; None without a mask."""
    mask = last(steps, Labels)
    if mask is None:
        return None
    colour = last(steps, Volume, lambda volume: is_thickness(volume) and same_grid(volume, mask))
    label = "" if colour is None else f"{_quantity(colour)} (nm)"
    how = "" if colour is None else f", coloured by {_quantity(colour).lower()}"
    return _picture(
        f"Surface of the final mask{how}. Parallel projection, z up.",
        lambda: render.iso_surface(mask, colour_by=colour, label=label),
    )


def _surface(surface: Surface) -> Picture:
    """The surface, coloured by what says most of it."""
    numbers = [
        name for name, values in surface.point_data.items() if values.ndim == 1 and values.dtype != bool
    ]
    ranks = ("thickness", "mean_curvature", "wedge_depth", "normal_tilt")
    named = [name for rank in ranks for name in numbers if rank in name]
    colour = next(iter(named), None)
    how = (
        "" if colour is None else f", coloured by {colour.rpartition('_per_')[0] or colour}".replace("_", " ")
    )
    return _picture(
        f"The surface{how}. Parallel projection, z up.", lambda: render.surface(surface, colour_by=colour)
    )


def is_thickness(volume: Volume) -> bool:
    """Whether the record of a volume says, by its quantity or its method, that it is a thickness in nm."""
    what = f"{volume.record.get('quantity', '')} {volume.record.get('method', '')}"
    return volume.record.get("unit", "nm") == "nm" and "thickness" in what


def last(
    steps: Sequence[StepRecord], kind: type[Any], fits: Callable[[Any], bool] = lambda value: True
) -> Any | None:
    """The latest result of a type that fits, or None."""
    found = [value for step in steps for value in step.results(kind) if fits(value)]
    return found[-1] if found else None


def same_grid(a: Volume | Labels, b: Volume | Labels) -> bool:
    """Whether two grids have the same voxels."""
    return tuple(a.data.shape) == tuple(b.data.shape) and np.allclose(
        (a.voxel_size_nm, a.origin_nm),
        (b.voxel_size_nm, b.origin_nm),
        rtol=1e-5,
        atol=1e-3 * min(a.voxel_size_nm),
    )


def _outlines(mask: Labels, earlier: Sequence[StepRecord]) -> Picture:
    grey = last(earlier, Volume, lambda volume: not is_thickness(volume) and same_grid(volume, mask))
    if grey is None:
        drawn = Volume(mask.data, mask.voxel_size_nm, mask.origin_nm)
        return _picture(
            "The labels in three orthogonal slices through the centre, which the ticks on the frames mark.",
            lambda: render.slices(drawn, mask=mask),
        )
    return _picture(
        "The labels, outlined over the grey volume that they lie on, in slices through the centre.",
        lambda: render.slices(grey, mask=mask),
    )


def _slices(volume: Volume) -> Picture:
    return _picture(
        "Three orthogonal slices through the centre, at one scale; the ticks on the frames are where the other "
        "two cut. Black and white: percentiles 0.5 and 99.5 of these slices.",
        lambda: render.slices(volume),
    )


def _thickness(thickness: Volume, earlier: Sequence[StepRecord]) -> list[Picture]:
    name = _quantity(thickness)
    return [
        _picture(
            f"{name} in three orthogonal slices through the centre.",
            lambda: render.thickness_map(thickness, label=name),
        ),
        _picture(
            f"Distribution of the {name.lower()} over the volume of the structure: every voxel counts the same.",
            lambda: render.thickness_histogram(thickness, label=name),
        ),
    ]


def _quantity(volume: Volume) -> str:
    method = str(volume.record.get("method", ""))
    known = (
        "local thickness" if "local_thickness" in method else method if "thickness" in method else "thickness"
    )
    name = str(volume.record.get("quantity", known)).replace("_", " ").replace("$", r"\$")
    return name[:1].upper() + name[1:]


def _stored(picture: StoredPicture) -> Picture:
    """A picture that a step wrote to a file, as it is."""
    if picture.suffix not in _TYPES:
        return Picture(
            picture.caption, reason=f"This figure is left out: a page does not show {picture.suffix}."
        )
    data = base64.b64encode(picture.data).decode("ascii")
    share = min(1.0, _png_width_in(picture.data) / _PAGE_IN)
    return Picture(picture.caption, f"data:{_TYPES[picture.suffix]};base64,{data}", round(100 * share))


def _png_width_in(data: bytes) -> float:
    """Width in inches of a PNG, by its pixels and its resolution; the page's where they are not told."""
    at = data.find(b"pHYs", 0, 4096)
    if not data.startswith(b"\x89PNG") or at < 0:
        return _PAGE_IN
    per_metre = int.from_bytes(data[at + 4 : at + 8], "big")
    return int.from_bytes(data[16:20], "big") / per_metre / 0.0254 if per_metre else _PAGE_IN


def _picture(caption: str, draw: Callable[[], Any]) -> Picture:
    try:
        figure = draw()
    except (render.OpenGLError, ValueError) as error:  # what cannot be drawn here, or has nothing to draw
        return Picture(caption, reason=f"This figure is left out: {error}")
    has_pictures = any(axes.images for axes in figure.axes)
    # charts are smaller and sharper as vectors, grey values as pixels
    kind = "png" if has_pictures else "svg"
    data = base64.b64encode(render.encode(figure, format=kind, dpi=_DPI)).decode("ascii")
    address = f"data:image/{'png' if has_pictures else 'svg+xml'};base64,{data}"
    return Picture(caption, address, min(100, round(100 * figure.get_figwidth() / _PAGE_IN)))
