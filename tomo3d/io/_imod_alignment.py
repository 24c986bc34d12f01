"""Alignments of IMOD: .xf transforms, .tlt angles, .xtilt and .zfac beside them.

A line A11 A12 A21 A22 DX DY takes (x, y) to A (x, y) + D about the centre of the image: an angle of the axis, a
magnification, a stretch and a skew in one matrix. `tomo3d.geometry` says how ours act.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tomo3d import geometry
from tomo3d.errors import FormatError
from tomo3d.io._angles import read_angle_file
from tomo3d.io._command_file import Options, option, read_command_file, view_list
from tomo3d.io._foreign_alignment import excluded_evidence, warn_lost
from tomo3d.io._imod_local import read_local_transforms
from tomo3d.io._side_text import file_name, number_rows
from tomo3d.types import Alignment

if TYPE_CHECKING:
    import pandas as pd

_SAME = 2e-6  # .xf holds seven decimals
_ROUNDING_DEG = 0.025  # .xtilt holds two decimals
_COMMANDS = ("tilt.com", "tilta.com", "tiltb.com")


def read_transforms(path: str | os.PathLike[str]) -> tuple[np.ndarray, np.ndarray]:
    """Matrices (n, 2, 2) and shifts (n, 2) of an .xf, .prexg or .tltxf file, of column vectors (y, x), in pixels.

    Raises
    ------
    FormatError
        If it is not such a file, or a matrix is singular or mirrors.
    """
    rows = number_rows(path, 6, "transforms of IMOD (.xf)", "A11 A12 A21 A22 DX DY")
    matrices = rows[:, :4].reshape(-1, 2, 2)
    determinants = np.linalg.det(matrices)
    if not (determinants > 1e-6).all():
        view = int(np.argmin(determinants))
        raise FormatError(
            f"{path}: a transform must neither mirror nor flatten, got determinant {determinants[view]:g} for view "
            f"{view} (0-based)."
        )
    return matrices[:, ::-1, ::-1], rows[:, :3:-1]


def compose_transforms(
    first: tuple[np.ndarray, np.ndarray], second: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """The transforms that do `first` and then `second`, as .prexg and .tltxf make .xf.

    Raises
    ------
    ValueError
        If they are of different numbers of views.
    """
    if len(first[0]) != len(second[0]):
        raise ValueError(
            f"transforms must be of the same views, got {len(first[0])} and then {len(second[0])} of them."
        )
    return second[0] @ first[0], np.einsum("nij,nj->ni", second[0], first[1]) + second[1]


def read_z_factors(path: str | os.PathLike[str]) -> np.ndarray:
    """Shift (y, x) of a point per height, beyond what its tilt makes, from a .zfac file, shape (n, 2)."""
    return number_rows(path, 2, "Z factors of IMOD (.zfac)", "along x, along y")[:, ::-1]


def read_x_axis_tilts(path: str | os.PathLike[str]) -> np.ndarray:
    """Tilts about x in degrees from an .xtilt file, shape (n,)."""
    return number_rows(path, 1, "x-axis tilts of IMOD (.xtilt)", "tilt about x")[:, 0]


def imod_alignment(path: Path, pixel_size_nm: float) -> Alignment:
    """The alignment of an .xf file and the files of the same name beside it.

    `.tlt` must be there; `.xtilt` and `.zfac` count where they are. A .prexg file is composed with the .tltxf beside
    it. A Z factor across the axis goes into the tilt angle and the stretch:
    x cos b + z (sin b + f) = m (x cos t + z sin t), tan t = tan b + f / cos b; that is exact where there is no x-axis
    tilt. Views that a tilt.com with this .tlt excludes are distrusted; its options, and a local alignment (local.xf),
    are kept in evidence and not applied.

    Raises
    ------
    FormatError
        If the files disagree in length, there is no .tlt, an angle is not within 90 deg, or x-axis tilts differ
        between views.
    """
    matrices, shifts = read_transforms(path)
    if path.suffix.lower() == ".prexg":
        last = path.with_suffix(".tltxf")
        if not last.is_file():
            raise FormatError(
                f"{path} only moves the views to where they are aligned: there is no {last} to follow it."
            )
        matrices, shifts = compose_transforms((matrices, shifts), read_transforms(last))
    n = len(matrices)
    if not path.with_suffix(".tlt").is_file():
        raise FormatError(
            f"{path} must have its tilt angles beside it: there is no {path.with_suffix('.tlt')}."
        )
    angles = _beside(path, ".tlt", read_angle_file, n)
    if angles is None or not (np.abs(angles) < 90.0).all():
        raise FormatError(f"{path.with_suffix('.tlt')}: tilt angles must lie between -90 and 90 deg.")
    factors = _beside(path, ".zfac", read_z_factors, n)
    x_tilts = _beside(path, ".xtilt", read_x_axis_tilts, n)
    if x_tilts is not None and not (np.ptp(x_tilts) <= _ROUNDING_DEG and np.abs(x_tilts).max() < 90.0):
        raise FormatError(
            f"{path.with_suffix('.xtilt')}: x-axis tilts must be one for all views and within 90 deg, got "
            f"{x_tilts.min():g} to {x_tilts.max():g} deg."
        )
    alignment = from_transforms(
        matrices,
        shifts * pixel_size_nm,
        angles,
        z_factors=factors,
        x_axis_tilt_deg=None if x_tilts is None else float(np.median(x_tilts)) or None,
    )
    evidence, excluded = _evidence(path, n, pixel_size_nm)
    return replace(alignment, reliable=~excluded, evidence={**evidence, **excluded_evidence(excluded)})


def imod_files_beside(path: Path) -> list[Path]:
    """Files beside an .xf file that `imod_alignment` reads or would read: those that exist."""
    suffixes = (".tlt", ".xtilt", ".zfac", *((".tltxf",) if path.suffix.lower() == ".prexg" else ()))
    names = [path.with_suffix(suffix).name for suffix in suffixes] + list(_COMMANDS)
    local = {f"{path.stem}local.xf"}
    for command in _COMMANDS:
        if path.with_name(command).is_file():
            with suppress(FormatError):  # the reader tells
                local.add(file_name(option(_tilt_options(path.with_name(command), path), "LOCALFILE")))
    files = [path.with_name(name) for name in (*names, *sorted(local - {""}))]
    return [file for file in files if file.is_file() and file != path]


def _tilt_options(command: Path, path: Path) -> Options:
    """Options of tilt in a command file, if it is for the .tlt of this .xf file; else none."""
    options = read_command_file(command).get("tilt", {})
    return options if file_name(option(options, "TILTFILE")) == path.with_suffix(".tlt").name else {}


def _evidence(path: Path, n: int, pixel_nm: float) -> tuple[dict[str, pd.DataFrame], np.ndarray]:
    """Local alignment and options of tilt.com beside an .xf file, as tables; flags of the views that it excludes."""
    import pandas as pd

    evidence: dict[str, pd.DataFrame] = {}
    excluded = np.zeros(n, dtype=bool)
    local = path.with_name(f"{path.stem}local.xf")
    for command in _COMMANDS:
        if not path.with_name(command).is_file():
            continue
        options = _tilt_options(path.with_name(command), path)
        if not options:
            continue
        table = {"option": list(options), "value": list(options.values())}
        evidence["imod_tilt_com"] = pd.DataFrame(table)
        views = view_list(
            f"{option(options, 'EXCLUDELIST')},{option(options, 'EXCLUDELIST2')}", f"EXCLUDELIST of {command}"
        )
        if len(views) and views[-1] >= n:
            raise FormatError(
                f"{path.with_name(command)} excludes view {views[-1] + 1} (1-based), but there are {n}."
            )
        excluded[views] = True
        local = path.with_name(file_name(option(options, "LOCALFILE")) or local.name)
    if local.is_file():
        evidence["imod_local"] = read_local_transforms(local, n, pixel_size_nm=pixel_nm)
        warn_lost(local, "the local alignment is kept as a table in evidence, and not applied.")
    return evidence, excluded


def _beside(path: Path, suffix: str, read: Callable[[Path], np.ndarray], n: int) -> np.ndarray | None:
    file = path.with_suffix(suffix)
    if not file.is_file():
        return None
    values = read(file)
    if len(values) != n:
        raise FormatError(f"{file} must have one line per line of {path.name} ({n}), got {len(values)}.")
    return values


def from_transforms(
    matrices: np.ndarray,
    shifts_nm: np.ndarray,
    angles_deg: np.ndarray,
    *,
    z_factors: np.ndarray | None = None,
    x_axis_tilt_deg: float | None = None,
) -> Alignment:
    """The alignment whose views are brought by `matrices` (n, 2, 2) and `shifts_nm` (n, 2), of (y, x)."""
    tilt = np.deg2rad(angles_deg)
    z_shear = None
    if z_factors is not None:
        refined = np.arctan(np.tan(tilt) + z_factors[:, 1] / np.cos(tilt))
        widen = (np.cos(refined) / np.cos(tilt))[:, None]
        matrices, shifts_nm = matrices.copy(), shifts_nm.copy()
        matrices[:, 1] *= widen
        shifts_nm[:, 1:] *= widen
        tilt = refined
        z_shear = z_factors[:, 0] if np.any(z_factors[:, 0]) else None
    factors = geometry.view_factors(matrices)
    is_stretched, is_skewed = factors.distorts(_SAME)
    return Alignment(
        shifts_nm=shifts_nm,
        tilt_axis_deg=factors.tilt_axis_deg,
        tilt_angles_deg=np.rad2deg(tilt),
        magnification=factors.magnification,
        residual_nm=math.nan,
        reliable=np.ones(len(tilt), dtype=bool),
        x_axis_tilt_deg=x_axis_tilt_deg,
        stretch=factors.stretch if is_stretched else None,
        skew_deg=factors.skew_deg if is_skewed else None,
        z_shear=z_shear,
    )
