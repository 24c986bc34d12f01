"""How arrays of other formats become stacks of images: which axes are the three, and what a length is in nm."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from tomo3d.errors import FormatError
from tomo3d.io._mrc_fields import shortest

_EXPONENTS = {  # of ten, from the unit to nm
    "m": 9, "meter": 9, "metre": 9, "cm": 7, "mm": 6, "millimeter": 6, "um": 3, "µm": 3, "μm": 3, "micron": 3,
    "microns": 3, "micrometer": 3, "micrometre": 3, "nm": 0, "nanometer": 0, "nanometre": 0, "a": -1, "å": -1,
    "angstrom": -1, "angstroms": -1, "ångström": -1, "pm": -3, "picometer": -3, "\\u00b5m": 3,
}  # fmt: skip
DEGREES = ("deg", "degree", "degrees", "°", "[deg]")


def nanometres(value: float, unit: str) -> float:
    """A length in nm; nan where it is no positive length or the unit is unknown."""
    exponent = _EXPONENTS.get(unit.strip().strip("[]").replace("_", "").lower())
    if exponent is None or not math.isfinite(value) or not value > 0:
        return math.nan
    length = shortest(np.float64(value), exponent)
    return length if math.isfinite(length) and length > 0 else math.nan


def stack_shape(shape: tuple[int, ...], index: tuple[Any, ...]) -> tuple[int, int, int]:
    """Shape of an array after an index of `three_axes`, without its values."""
    z, y, x = np.broadcast_to(np.zeros((), np.uint8), shape)[index].shape
    return z, y, x


def three_axes(file: Path, shape: tuple[int, ...], names: str) -> tuple[Any, ...]:
    """Index that leaves three axes: those of one element go first, and images get an axis for their number.

    `names` has one letter per axis, for the message, or is empty.

    Raises
    ------
    FormatError
        If more than three axes have more than one element, or one has none.
    """
    if not all(n >= 1 for n in shape) or len(shape) < 2:
        raise FormatError(
            f"{file} must hold an image or a stack of images, got an array of shape {tuple(shape)}."
        )
    if len(shape) == 2:
        return (None, Ellipsis)
    surplus = len(shape) - 3
    index: list[Any] = []
    for n in shape[:-2]:
        drop = surplus > 0 and n == 1
        index.append(0 if drop else slice(None))
        surplus -= drop
    if surplus:
        axes = f", axes {names}" if names else ""
        raise FormatError(
            f"{file} must hold one stack of images, got an array of shape {tuple(shape)}{axes}: "
            "write one channel, position or time into a file of its own."
        )
    return tuple(index)
