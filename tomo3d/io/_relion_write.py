"""A tilt series for RELION 5: data_global and the table of its views in one file.

RELION reads a data_global without rlnTomoTiltSeriesStarFile as version 4 had it, with the tables in the same file,
which works in any folder of a project. It stops where rlnVoltage, rlnSphericalAberration, rlnAmplitudeContrast,
rlnTomoHand or rlnMicrographPreExposure are missing (github.com/3dem/relion, src/jaz/tomography/tomogram_set.cpp: read,
loadTomogram); what is not known of them is written as below, and a warning says so.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tomo3d.io._foreign_alignment import check_holds, excluded_views, to_offsets, warn_lost
from tomo3d.io._relion import NOMINAL, WHAT, beyond_nm
from tomo3d.io._star import star_text
from tomo3d.types import Alignment, TiltSeries

_USUAL_KV = 300.0
_USUAL = {"rlnSphericalAberration": "2.7", "rlnAmplitudeContrast": "0.1", "rlnTomoHand": "-1"}


def relion_text(alignment: Alignment, file: Path, pixel_nm: float, series: TiltSeries | None) -> str:
    """Text of a STAR file that holds data_global and the table of its one tilt series.

    Raises
    ------
    ValueError
        If the alignment holds more than axis, shift and tilt.
    """
    check_holds(alignment, WHAT, x_axis_tilt=True)
    excluded = excluded_views(alignment, series)
    kept = np.flatnonzero(~excluded)
    if not len(kept):
        raise ValueError(f"{WHAT} must hold one view or more, got none in use.")
    if excluded.any():
        warn_lost(
            file,
            f"RELION has no row for excluded views: {np.flatnonzero(excluded).tolist()} (0-based) left out.",
        )
    known: Any = {} if series is None or series.views is None else series.views
    name = "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in file.stem) or "series"
    views = _views(alignment, file, pixel_nm, series)
    columns = {column: [f"{value:.6f}" for value in values[kept]] for column, values in views.items()}
    columns["rlnTomoTiltMovieIndex"] = [str(view + 1) for view in kept]
    if "sub_frame_file" in known and (known["sub_frame_file"] != "").all():
        columns["rlnMicrographMovieName"] = [str(known["sub_frame_file"].iloc[view]) for view in kept]
    overview = {
        "rlnTomoName": name,
        **_optics(file, known),
        "rlnTomoTiltSeriesPixelSize": f"{10.0 * pixel_nm:.6f}",
    }
    return star_text({"global": {column: [value] for column, value in overview.items()}, name: columns})


def _views(
    alignment: Alignment, file: Path, pixel_nm: float, series: TiltSeries | None
) -> dict[str, np.ndarray]:
    """Numbers of every view."""
    shifts = 10.0 * (to_offsets(alignment) - beyond_nm(file, pixel_nm, series))
    known: Any = {} if series is None or series.views is None else series.views
    dose = known["dose_before_e_per_A2"].to_numpy() if "dose_before_e_per_A2" in known else np.array([np.nan])
    if not np.isfinite(dose).all():
        warn_lost(
            file, "the dose before each view is not known: rlnMicrographPreExposure is 0. Correct it there."
        )
        dose = np.zeros(alignment.n_tilts)
    return {
        NOMINAL: alignment.tilt_angles_deg if series is None else series.tilt_angles_deg,
        "rlnTomoXTilt": np.full(alignment.n_tilts, alignment.x_axis_tilt_deg or 0.0),
        "rlnTomoYTilt": alignment.tilt_angles_deg,
        "rlnTomoZRot": alignment.tilt_axis_deg,
        "rlnTomoXShiftAngst": shifts[:, 1],
        "rlnTomoYShiftAngst": shifts[:, 0],
        "rlnMicrographPreExposure": dose,
    }


def _optics(file: Path, known: Any) -> dict[str, str]:
    """Voltage in kV, spherical aberration in mm, amplitude contrast and hand: what is known, else the usual."""
    voltages = np.unique(known["voltage_kv"].dropna()) if "voltage_kv" in known else np.empty(0)
    is_known = len(voltages) == 1
    voltage = f"{voltages[0] if is_known else _USUAL_KV:g}"
    assumed = ({} if is_known else {"rlnVoltage": voltage}) | _USUAL
    listed = ", ".join(f"{name} {value}" for name, value in assumed.items())
    warn_lost(
        file, f"RELION asks for what is not known here: {listed} written. Correct them there if they differ."
    )
    return {"rlnVoltage": voltage, **_USUAL, "rlnOpticsGroupName": "opticsGroup1"}
