"""Warp's XML file of a tilt series: Angles (the negative of ours), AxisAngle, AxisOffsetX and AxisOffsetY in angstrom.

A point lands at Rz(AxisAngle) Ry(-Angles - LevelAngleY) Rx(LevelAngleX) times its position from the centre, plus the
offsets, plus half the size of the view. Warp counts that from the centre of the first pixel: index n / 2, half a pixel
beyond our centre, for odd n too (github.com/warpem/warp, WarpLib/TiltSeries/TiltSeries.cs: GetPositionInAllTilts, and
GetImagesForOneParticle, which puts that position into pixel size / 2 of a cut-out). Its import of .xf files takes the
shifts of IMOD as they are, so those lie half a pixel from IMOD's: a file is read here for what Warp does.

Read with expat and no document type, so that entities cannot grow; only what is needed is kept of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

import numpy as np

from tomo3d.errors import FormatError
from tomo3d.io._angles import check_angles
from tomo3d.io._foreign_alignment import (
    check_holds,
    excluded_views,
    from_offsets,
    match_refined,
    pixel_of,
    spread,
    to_offsets,
    warn_lost,
)  # fmt: skip
from tomo3d.io._relion import dose_columns
from tomo3d.io._side_text import file_name, number_of, text_of
from tomo3d.io._view_record import ViewRecord, view_table
from tomo3d.types import Alignment, TiltSeries

WHAT = "an XML file of a tilt series of Warp"
_ROOT = "TiltSeries"
_GRIDS = ("GridMovementX", "GridMovementY", "GridVolumeWarpX", "GridVolumeWarpY", "GridVolumeWarpZ",
          "GridAngleX", "GridAngleY", "GridAngleZ")  # fmt: skip
_DEEPEST = 16
_LARGEST_BYTES = 32 << 20
_LISTS = ("Angles", "Dose", "UseTilt", "AxisAngle", "AxisOffsetX", "AxisOffsetY", "MoviePath")
_LONGEST_LIST = 1 << 20
_SAME = 1e-6


@dataclass(eq=False)
class WarpFile:
    """What a Warp file says, in its own units: texts of the root and its elements, one pixel, which grids are not 0."""

    root: dict[str, str] = field(default_factory=dict)
    texts: dict[str, list[str]] = field(default_factory=dict)
    pixel_angstrom: float | None = None
    grids: dict[str, float] = field(default_factory=dict)


class _Handler:
    """Keeps the text of the root's elements and the values of grids, as expat comes by them."""

    def __init__(self, file: Path) -> None:
        self.file, self.found = file, WarpFile()
        self.path: list[str] = []
        self.pieces: list[str] = []

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if len(self.path) >= _DEEPEST:
            raise FormatError(
                f"{self.file} must be {WHAT}: its elements are nested more than {_DEEPEST} deep."
            )
        if not self.path:
            if name != _ROOT:
                raise FormatError(f"{self.file} must be {WHAT}, whose root is <{_ROOT}>, got <{name[:40]}>.")
            self.found.root = attributes
        self.path.append(name)
        self.pieces = []
        if self.path == [_ROOT, "CTF", "Param"] and attributes.get("Name") == "PixelSize":
            self.found.pixel_angstrom = _number(self.file, "PixelSize", attributes.get("Value", ""))
        elif len(self.path) == 3 and self.path[1] in _GRIDS and name == "Node":
            value = abs(_number(self.file, self.path[1], attributes.get("Value", "")))
            self.found.grids[self.path[1]] = max(value, self.found.grids.get(self.path[1], 0.0))

    def text(self, data: str) -> None:
        if len(self.path) == 2 and self.path[1] in _LISTS:
            self.pieces.append(data)

    def end(self, name: str) -> None:
        if len(self.path) == 2 and (text := "".join(self.pieces).strip()):
            if name in self.found.texts:
                raise FormatError(f"{self.file}: <{name}> is there twice.")
            if len(text) > _LONGEST_LIST:
                raise FormatError(
                    f"{self.file}: <{name}> must be a list of the views, got {len(text):,} characters."
                )
            self.found.texts[name] = [line.strip() for line in text.split("\n")]
        self.path.pop()

    def refuse(self, *_: object) -> None:
        raise FormatError(
            f"{self.file} must be {WHAT}, which has no document type nor entities: it may be an attack."
        )


def read_warp(path: str | Path) -> WarpFile:
    """What a Warp file says.

    Raises
    ------
    FormatError
        If it is no such file, is not well formed, or has a document type.
    """
    file = Path(path)
    text = text_of(file, WHAT, encodings=("utf-8",), largest=_LARGEST_BYTES)
    handler = _Handler(file)
    parser = expat.ParserCreate("utf-8")
    parser.StartElementHandler, parser.EndElementHandler = handler.start, handler.end
    parser.CharacterDataHandler = handler.text
    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = handler.refuse
    try:
        parser.Parse(text.encode(), True)
    except expat.ExpatError as error:
        raise FormatError(
            f"{file} must be {WHAT}: {expat.ErrorString(error.code)}, line {error.lineno}."
        ) from error
    return handler.found


def _number(file: Path, name: str, text: str) -> float:
    value = number_of(text)
    if not math.isfinite(value):
        raise FormatError(f"{file}: {name} must hold finite numbers, got {text[:40]!r}.")
    return value


def _numbers(file: Path, found: WarpFile, name: str, n: int | None) -> np.ndarray:
    texts = found.texts.get(name)
    if texts is None and n is not None:
        return np.zeros(n)
    values = np.array([_number(file, f"<{name}>", text) for text in texts or []])
    if not len(values) or (n is not None and len(values) != n):
        want = "one line per view" if n is None else f"one line per line of <Angles> ({n})"
        raise FormatError(f"{file}: <{name}> must have {want}, got {len(values)}.")
    return values


def _flags(file: Path, found: WarpFile, n: int) -> np.ndarray:
    texts = found.texts.get("UseTilt")
    if texts is None:
        return np.ones(n, dtype=bool)
    if len(texts) != n or not all(text.lower() in ("true", "false") for text in texts):
        raise FormatError(
            f"{file}: <UseTilt> must have {n} lines of True and False, got {len(texts)}, as {texts[0][:20]!r}."
        )
    return np.array([text.lower() == "true" for text in texts])


def warp_record(file: Path) -> ViewRecord:
    """What a Warp file says of its views; the sign of its angles is turned."""
    found = read_warp(file)
    angles = 0.0 - _numbers(file, found, "Angles", None)
    n = len(angles)
    columns: dict[str, np.ndarray | list[str]] = {"tilt_angle_deg": angles, "is_used": _flags(file, found, n)}
    if "Dose" in found.texts:
        columns |= dose_columns(_numbers(file, found, "Dose", n))
    paths = found.texts.get("MoviePath", [])
    if len(paths) == n:
        columns["sub_frame_file"] = [file_name(path) for path in paths]
    axis = _numbers(file, found, "AxisAngle", n)
    return ViewRecord(
        view_table(n, columns),
        "Warp tilt series",
        pixel_size_nm=None if found.pixel_angstrom is None else 0.1 * found.pixel_angstrom,
        tilt_axis_deg=float(np.median(axis)) if "AxisAngle" in found.texts else None,
        notes=("<CTF> gives the pixel of the frames, which views may bin.",) if found.pixel_angstrom else (),
    )


def warp_alignment(file: Path, pixel_nm: float | None, series: TiltSeries | None) -> Alignment:
    """The alignment of a Warp file, with a row for every view of the series.

    Raises
    ------
    FormatError
        If its lists differ in length, or its rows do not belong to the views.
    ValueError
        If the pixel is not known, which says where Warp's centre is.
    """
    found = read_warp(file)
    if pixel_nm is None and series is None and found.pixel_angstrom is not None:
        pixel_nm = 0.1 * found.pixel_angstrom
        warn_lost(
            file, "the views are taken to have the pixel of its <CTF>; pass series or pixel_size_nm if not."
        )
    half_nm = 0.5 * pixel_of(file, series, pixel_nm)
    angles = 0.0 - _numbers(file, found, "Angles", None) - _level(file, found, "LevelAngleY")
    x_tilt = _level(file, found, "LevelAngleX")
    n = len(angles)
    check_angles(angles, n, str(file))
    axis, used = _numbers(file, found, "AxisAngle", n), _flags(file, found, n)
    offsets = (
        0.1 * np.stack([_numbers(file, found, f"AxisOffset{name}", n) for name in "YX"], axis=1) + half_nm
    )
    views, n_views = np.arange(n), n
    if series is not None:
        n_views = series.n_tilts
        views = match_refined(file, angles, series.tilt_angles_deg, "the negative of <Angles>")
    excluded = np.ones(n_views, dtype=bool)
    excluded[views[used]] = False
    _warn_of_more(file, found)
    return from_offsets(
        spread(axis, views, n_views, float(np.median(axis))),
        spread(offsets, views, n_views, 0.0),
        spread(angles, views, n_views, 0.0 if series is None else series.tilt_angles_deg),
        excluded=excluded,
        x_axis_tilt_deg=x_tilt or None,
        evidence=_grid_evidence(found),
    )


def _level(file: Path, found: WarpFile, name: str) -> float:
    """An angle by which Warp levels the specimen, which older files do not have."""
    angle = _number(file, name, found.root.get(name, "") or "0")
    if not abs(angle) < 90.0:
        raise FormatError(f"{file}: {name} must be within 90 deg, got {angle:g}.")
    return angle


def _warn_of_more(file: Path, found: WarpFile) -> None:
    moved = [name for name, value in found.grids.items() if value > _SAME]
    if moved:
        warn_lost(
            file, f"its local movements ({', '.join(moved)}) are not read: only the global alignment is."
        )
    scale = found.root.get("MagnificationCorrection", "")
    if scale and not np.allclose(
        [_number(file, "MagnificationCorrection", v) for v in scale.split(",")], [1, 0, 0, 1]
    ):
        warn_lost(
            file,
            f"MagnificationCorrection is {scale}: Warp applies it to the frames, it is not applied here.",
        )


def _grid_evidence(found: WarpFile) -> dict:
    import pandas as pd

    grids = {name: value for name, value in found.grids.items() if value > _SAME}
    table = {"grid": list(grids), "largest": np.array(list(grids.values()), dtype=float)}
    return {"warp_grids": pd.DataFrame(table)} if grids else {}


def warp_text(alignment: Alignment, pixel_nm: float, series: TiltSeries | None) -> str:
    """Text of a Warp file; an x-axis tilt is its LevelAngleX, which Warp knows since 2.0.0dev36.

    Raises
    ------
    ValueError
        If the alignment holds more than axis, shift and tilts.
    """
    check_holds(alignment, WHAT, x_axis_tilt=True)
    offsets = 10.0 * (to_offsets(alignment) - 0.5 * pixel_nm)
    excluded = excluded_views(alignment, series)
    known: Any = {} if series is None or series.views is None else series.views
    lists: dict[str, list[str]] = {"Angles": [f"{0.0 - angle:.6f}" for angle in alignment.tilt_angles_deg]}
    if "dose_before_e_per_A2" in known and np.isfinite(known["dose_before_e_per_A2"]).all():
        lists["Dose"] = [f"{dose:.6f}" for dose in known["dose_before_e_per_A2"]]
    lists["UseTilt"] = [str(not flag) for flag in excluded]
    lists["AxisAngle"] = [f"{angle:.6f}" for angle in alignment.tilt_axis_deg]
    lists["AxisOffsetX"], lists["AxisOffsetY"] = ([f"{value:.6f}" for value in offsets[:, i]] for i in (1, 0))
    if "sub_frame_file" in known and (known["sub_frame_file"] != "").all():
        lists["MoviePath"] = [str(name) for name in known["sub_frame_file"]]
    attributes = {"AreAnglesInverted": "False"}
    if alignment.x_axis_tilt_deg:
        attributes["LevelAngleX"] = f"{alignment.x_axis_tilt_deg:.6f}"
    if series is not None:
        n_y, n_x = series.images.shape[1:]
        attributes["ImageDimensionsAngstrom"] = ", ".join(f"{10 * n * pixel_nm:.6g}" for n in (n_x, n_y))
    head = " ".join(f"{name}={quoteattr(value)}" for name, value in attributes.items())
    body = "".join(f"\t<{name}>{escape(chr(10).join(values))}</{name}>\n" for name, values in lists.items())
    pixel = f'\t<CTF><Param Name="PixelSize" Value="{10 * pixel_nm:.9g}"/></CTF>\n'
    return f'<?xml version="1.0" encoding="utf-8"?>\n<{_ROOT} {head}>\n{body}{pixel}</{_ROOT}>\n'
