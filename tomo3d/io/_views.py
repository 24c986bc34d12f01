"""What any side file says of the views of a tilt series: one entry for all of them, known by content."""

from __future__ import annotations

import os
from pathlib import Path

from tomo3d.io._angles import read_tilt_list
from tomo3d.io._mdoc import read_mdoc
from tomo3d.io._relion import relion_record, tomostar_record
from tomo3d.io._star import read_star
from tomo3d.io._view_record import ViewRecord
from tomo3d.io._warp import warp_record

_START = 1 << 14


def read_views(path: str | os.PathLike[str]) -> ViewRecord:
    """Read what a side file says of the views of a tilt series, whatever program wrote it.

    Parameters
    ----------
    path : path
        .mdoc of SerialEM, or a folder of them; list of angles (.rawtlt, .tlt) with or without further columns; STAR
        file of RELION 5 (tomograms.star of one series, or the file of a tilt series); .tomostar or XML file of Warp.

    Returns
    -------
    ViewRecord
        `views` has one row per view in the order of the file (`tables.VIEWS`), nan where the file does not say.

    Raises
    ------
    FileNotFoundError, PermissionError
        If there is no such file or folder, or it cannot be read.
    FormatError
        If it is none of these, or contradicts itself.
    """
    file = Path(path)
    if file.is_dir() or not file.is_file():
        return read_mdoc(file)
    with open(file, "rb") as stream:
        start = stream.read(_START).removeprefix(b"\xef\xbb\xbf").lstrip()
    if start[:1] == b"<":
        return warp_record(file)
    lines = [line.strip() for line in start.splitlines()]
    if any(line.startswith(b"data_") for line in lines):
        blocks = read_star(file)
        for table in blocks.values():
            if "wrpAngleTilt" in table.columns:
                return tomostar_record(file, table)
        return relion_record(file)
    if file.suffix.lower() == ".mdoc" or any(b"=" in line.partition(b"#")[0] for line in lines):
        return read_mdoc(file)
    return read_tilt_list(file)
