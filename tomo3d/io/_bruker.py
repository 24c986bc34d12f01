"""BCF files of Bruker, by RosettaSciIO, which is under the GPL and is loaded only when such a file is opened."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from tomo3d.errors import FormatError
from tomo3d.io._images import ImageFile, check_values, frozen, translated
from tomo3d.io._stacks import nanometres


def open_bruker(file: Path) -> ImageFile:
    """The images of a BCF file (those of detectors, not the spectra), as a stack."""
    signals = [signal for signal in _signals(file) if signal["data"].ndim == 2]
    if not signals or len({signal["data"].shape for signal in signals}) != 1:
        raise FormatError(f"{file} must hold images of one size, got {len(signals)} images.")
    values = np.stack([np.asarray(signal["data"]) for signal in signals])
    dtype = check_values(file, values.dtype)
    sizes = {
        axis["name"]: nanometres(float(axis["scale"]), str(axis["units"])) for axis in signals[0]["axes"]
    }
    return ImageFile(
        path=file,
        layout="BCF",
        shape=(values.shape[0], values.shape[1], values.shape[2]),
        dtype=dtype,
        read=lambda: frozen(values.astype(dtype))[:, ::-1],
        held_bytes=2 * values.nbytes,
        voxel_size_nm=(math.nan, sizes.get("height", math.nan), sizes.get("width", math.nan)),
        size_source="calibration of the image",
        n_bytes=file.stat().st_size,
    )


def _signals(file: Path) -> list[dict[str, Any]]:
    try:
        from rsciio.bruker import file_reader
    except ImportError as error:
        raise FormatError(
            f"{file} is a BCF file of Bruker, which needs RosettaSciIO, and that is not installed: install it with "
            "'pip install tomo3d[formats]'. It is under the GPL, so it is not part of tomo3d."
        ) from error
    with translated(file, "BCF file"):
        found: list[dict[str, Any]] = file_reader(str(file))
        return found
