"""Alignments in files: ours (JSON, every field), IMOD, AreTomo, RELION and Warp, known by their content."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from tomo3d.errors import FormatError
from tomo3d.geometry import check_fits
from tomo3d.io._alignment_json import json_alignment, json_text
from tomo3d.io._aln import FIRST, aln_alignment, aln_text
from tomo3d.io._foreign_alignment import check_order, pixel_of
from tomo3d.io._imod_alignment import imod_alignment, imod_files_beside
from tomo3d.io._imod_write import write_imod
from tomo3d.io._input import existing_file
from tomo3d.io._relion import relion_alignment, relion_files_beside
from tomo3d.io._relion_write import relion_text
from tomo3d.io._side_text import number_of
from tomo3d.io._warp import warp_alignment, warp_text
from tomo3d.io._write import check_output, write_bytes
from tomo3d.types import Alignment, TiltSeries

_KINDS = (
    "a JSON file of an alignment, .xf of IMOD, .aln of AreTomo, a STAR file of RELION or an XML file of Warp"
)
_SUFFIXES = (".json", ".xf", ".aln", ".star", ".xml")
_LOCAL_OF_OTHERS = {"imod_local", "warp_grids"}
_LARGEST_TILT_DEG = 180.0
UNKNOWN_KIND = "it is none of these"
_START = 1 << 14


def read_alignment(
    path: str | os.PathLike[str],
    *,
    series: TiltSeries | None = None,
    pixel_size_nm: float | None = None,
    use_local: bool = False,
) -> Alignment:
    """Read an alignment that tomo3d, IMOD, AreTomo, RELION 5 or Warp wrote, whatever its name.

    Parameters
    ----------
    path : path
        JSON file of `write_alignment`; .xf or .tltxf of IMOD with its .tlt beside it, and .xtilt, .zfac, local.xf and
        tilt.com where it has them; .prexg with its .tltxf and .tlt; .aln of AreTomo; tomograms.star of one series, or
        the STAR file of a tilt series of RELION 5; XML file of a tilt series of Warp.
    series : TiltSeries, optional
        The series it is for: rows are matched to its views by angle where the format leaves views out or sorts them,
        and its pixel size and image size are used.
    pixel_size_nm : float, optional
        Pixel of files in pixels (.xf, .aln), and of the centres of RELION and Warp. Default: that of RELION's file,
        then of the series.

    use_local : bool
        True to have the local shifts of AreTomo's patches as `local_shifts_nm`. A file in another format cannot hold
        them then.

    Returns
    -------
    Alignment
        One row per view. Views that the file has no alignment for, or excludes, are not reliable, and are listed in
        evidence["excluded_views"]. Local alignments of IMOD and Warp, which tilt patches in three dimensions, are not
        applied: they are evidence["imod_local"] or ["warp_grids"], and a warning in the log says so. Those of AreTomo
        are evidence["aretomo_local"].

    Raises
    ------
    FileNotFoundError, IsADirectoryError, PermissionError
        If there is no such file, or it cannot be read.
    FormatError
        If it is no such file, contradicts itself, or disagrees with the angles of the series.
    ValueError
        If the alignment has another number of views than `series`, or a pixel size is needed and not known.

    Notes
    -----
    Without `series`, the views of a RELION file are taken to have even numbers of rows and columns, as its centre is
    index n // 2 and ours (n - 1) / 2; a warning says so. That of Warp is n / 2: half a pixel beyond ours for any n.
    """
    file = existing_file(path)
    kind = _kind(file)
    if kind == "json":
        alignment = json_alignment(file)
    elif kind == "imod":
        alignment = imod_alignment(file, pixel_of(file, series, pixel_size_nm))
        if series is not None:
            check_order(file, alignment.tilt_angles_deg, series.tilt_angles_deg)
    elif kind == "aln":
        alignment = aln_alignment(file, pixel_size_nm, series, use_local=use_local)
    elif kind == "star":
        alignment = relion_alignment(file, pixel_size_nm, series)
    else:
        alignment = warp_alignment(file, pixel_size_nm, series)
    beyond = np.abs(alignment.tilt_angles_deg) > _LARGEST_TILT_DEG
    for view in np.flatnonzero(beyond & (kind != "json")):
        raise FormatError(
            f"{file} must have tilt angles within {_LARGEST_TILT_DEG:g} deg, got "
            f"{alignment.tilt_angles_deg[view]:g} for view {view} (0-based)."
        )
    if use_local and not _LOCAL_OF_OTHERS.isdisjoint(alignment.evidence):
        raise ValueError(
            f"use_local must be False for {file}: only AreTomo's local shifts can be used, those of IMOD and Warp tilt "
            "patches in three dimensions, which no field of shifts does."
        )
    if series is not None:
        check_fits(series, alignment)
    return alignment


def alignment_files_beside(file: Path) -> list[Path]:
    """Other files that `read_alignment` reads with this one; none where it is no alignment."""
    try:
        kind = _kind(file)
    except FormatError:
        return []
    return {"imod": imod_files_beside, "star": relion_files_beside}.get(kind, lambda _: [])(file)


def _kind(file: Path) -> str:
    """Which kind of alignment a file holds, by how it begins."""
    with open(file, "rb") as stream:
        start = stream.read(_START).removeprefix(b"\xef\xbb\xbf").lstrip()
    if start[:1] in (b"{", b"["):
        return "json"
    if start[:1] == b"<":
        return "warp"
    if start.startswith(FIRST.encode()):
        return "aln"
    lines = [line.strip() for line in start.splitlines() if line.strip()]
    if any(line.startswith(b"data_") for line in lines if not line.startswith(b"#")) and b"\0" not in start:
        return "star"
    words = lines[0].split() if lines else []
    if words and np.isfinite([number_of(word.decode("latin-1")) for word in words]).all():
        hints = {
            1: "it is a list of angles",
            9: "it is a local alignment, which is read with the .xf of its name",
        }
        if len(words) in hints:
            raise FormatError(f"{file} must be {_KINDS}: {hints[len(words)]}.")
        return "imod"
    raise FormatError(f"{file} must be {_KINDS}: {UNKNOWN_KIND}.")


def write_alignment(
    alignment: Alignment,
    path: str | os.PathLike[str],
    *,
    series: TiltSeries | None = None,
    pixel_size_nm: float | None = None,
    overwrite: bool = False,
) -> None:
    """Write an alignment in the format that its name asks for.

    Parameters
    ----------
    alignment : Alignment
        What to write.
    path : path
        .json: every field, evidence too. .xf: IMOD's .xf, .tlt and .xtilt (and .zfac) of that name. .aln: AreTomo.
        .star: RELION 5, data_global and the table of the one series in one file. .xml: Warp.
    series : TiltSeries, optional
        The series it is for: its pixel size, image size, nominal angles, doses, names of frames, and which views it
        does not use (dark in .aln, left out in .star, UseTilt False in .xml).
    pixel_size_nm : float, optional
        Pixel of all but .json. Default: that of the series.
    overwrite : bool
        True if existing files may be replaced.

    Raises
    ------
    FileExistsError
        If a file exists and `overwrite` is False.
    ValueError
        If the name ends otherwise, the pixel size is needed and not known, the format cannot hold what the alignment
        says (magnification, stretch, skew, x-axis tilt, local field), or an evidence table has no unique column names.
    TypeError
        If an evidence table holds something other than numbers, flags and texts.
    OSError
        If the folder cannot be written to or the disk is full.

    Notes
    -----
    Decimals: .xf 7 of the matrix and 3 of pixels, .tlt 4; .aln 4 of degrees and 3 of pixels; .star and .xml 6.
    """
    target = check_output(path, overwrite=overwrite)
    suffix = target.suffix.lower()
    if suffix not in _SUFFIXES:
        raise ValueError(
            f"{target} must end in {', '.join(_SUFFIXES)}, which says the format, got {suffix!r}."
        )
    if series is not None:
        check_fits(series, alignment)
    if suffix == ".json":
        text = json_text(alignment)
    else:
        pixel_nm = pixel_of(target, series, pixel_size_nm)
        if suffix == ".xf":
            write_imod(alignment, target, pixel_nm, series, overwrite=overwrite)
            return
        if suffix == ".aln":
            text = aln_text(alignment, pixel_nm, series)
        elif suffix == ".xml":
            text = warp_text(alignment, pixel_nm, series)
        else:
            text = relion_text(alignment, target, pixel_nm, series)
    write_bytes(text.encode("utf-8"), target, overwrite=overwrite)
