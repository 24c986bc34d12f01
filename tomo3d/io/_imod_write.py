"""Alignments as IMOD takes them: .xf, .tlt and .xtilt of one name, and .zfac where points shift with height."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tomo3d import geometry
from tomo3d.io._command_file import view_list_text
from tomo3d.io._foreign_alignment import check_holds, excluded_views, warn_lost
from tomo3d.io._write import check_output, write_bytes
from tomo3d.types import Alignment, TiltSeries

WHAT = "an .xf file of IMOD"


def imod_texts(alignment: Alignment, pixel_nm: float) -> dict[str, str]:
    """Text of each file, by suffix, the .xf last.

    Raises
    ------
    ValueError
        If the alignment holds more than IMOD's files, or a tilt angle is not within 90 deg.
    """
    check_holds(alignment, WHAT, x_axis_tilt=True, distortions=True)
    if not (np.abs(alignment.tilt_angles_deg) < 90.0).all():
        worst = float(np.abs(alignment.tilt_angles_deg).max())
        raise ValueError(f"tilt angles must lie between -90 and 90 deg for {WHAT}, got {worst:g} deg.")
    to_raw, _ = geometry.alignment_matrices(alignment, 1.0, (1, 1), (1, 1))
    matrices = np.linalg.inv(to_raw)[:, ::-1, ::-1].reshape(-1, 4)
    shifts = alignment.shifts_nm[:, ::-1] / pixel_nm
    texts = {
        ".tlt": _lines("{:9.4f}", alignment.tilt_angles_deg[:, None]),
        ".xtilt": _lines("{:9.4f}", np.full((alignment.n_tilts, 1), alignment.x_axis_tilt_deg or 0.0)),
    }
    if alignment.z_shear is not None:
        along_y = np.stack((np.zeros(alignment.n_tilts), alignment.z_shear), axis=1)
        texts[".zfac"] = _lines("{:12.6f}", along_y)
    rows = zip(
        _lines("{:12.7f}", matrices).splitlines(), _lines("{:12.3f}", shifts).splitlines(), strict=True
    )
    return {**texts, ".xf": "".join(f"{matrix}{shift}\n" for matrix, shift in rows)}


def _lines(form: str, rows: np.ndarray) -> str:
    return "".join("".join(form.format(value + 0.0) for value in row) + "\n" for row in rows)


def write_imod(
    alignment: Alignment, path: Path, pixel_nm: float, series: TiltSeries | None, *, overwrite: bool
) -> None:
    """Write the files beside each other, the .xf last; none that is new is left behind if one fails.

    Raises
    ------
    FileExistsError
        If one of them exists and `overwrite` is False.
    ValueError
        As `imod_texts`; or if a .zfac of another alignment is there, which would be read with these.
    """
    texts = {path.with_suffix(suffix): text for suffix, text in imod_texts(alignment, pixel_nm).items()}
    stale = path.with_suffix(".zfac")
    if stale not in texts and stale.exists():
        raise ValueError(
            f"{stale} is of another alignment and would be read with {path}: move it, or choose another name."
        )
    for file in texts:
        check_output(file, overwrite=overwrite)
    new = [file for file in texts if not file.exists()]
    try:
        for file, text in texts.items():
            write_bytes(text.encode("ascii"), file, overwrite=overwrite)
    except BaseException:
        if not path.exists() or path in new:
            for file in new:
                file.unlink(missing_ok=True)
        raise
    excluded = np.flatnonzero(excluded_views(alignment, series))
    if len(excluded):
        warn_lost(
            path,
            f"no file of an alignment excludes views: give EXCLUDELIST {view_list_text(excluded)} to tilt.",
        )
