"""What is done to a network to see how stiff it is."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tomo3d.graph._framework import AXES

_SIDES = ("free", "confined")


@dataclass(frozen=True, kw_only=True)
class UniformStrain:
    """The field is stretched along one axis; as text: "strain:z" or "strain:z,confined".

    Parameters
    ----------
    axis : {"z", "y", "x"}
    sides : {"free", "confined"}
        Free: nodes at the low and the high face of the axis move along it, and are free across it, as between greased
        plates. Confined: every node at a face of the field moves as if the field were uniform, so that it
        keeps its width: a higher modulus.
    """

    axis: str = "z"
    sides: str = "free"

    def __post_init__(self) -> None:
        if self.axis not in AXES:
            raise ValueError(f"UniformStrain.axis must be one of {', '.join(AXES)}, got {self.axis!r}.")
        if self.sides not in _SIDES:
            raise ValueError(f"UniformStrain.sides must be one of {', '.join(_SIDES)}, got {self.sides!r}.")


@dataclass(frozen=True, kw_only=True)
class Indentation:
    """A ball is pressed without friction from +z into a network that is held at its low z face.

    As text: "indentation:50", or "indentation:50,2" with the depth.

    Parameters
    ----------
    tip_radius_nm : float
    depth_nm : float, optional
        Of the tip below the highest node within its reach. Default: a tenth of the tip's radius.
    position_nm : tuple of float, optional
        (y, x) of the tip. Default: the middle of the field.
    """

    tip_radius_nm: float
    depth_nm: float | None = None
    position_nm: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        for name in ("tip_radius_nm", "depth_nm"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise ValueError(f"Indentation.{name} must be a positive length, got {value:g} nm.")

    @property
    def depth(self) -> float:
        """In nm."""
        return 0.1 * self.tip_radius_nm if self.depth_nm is None else self.depth_nm


Load = UniformStrain | Indentation


def load_of(load: Load | str) -> Load:
    """A load from itself or its text.

    Raises
    ------
    ValueError
        If the text is none of those.
    """
    if not isinstance(load, str):
        return load
    kind, _, rest = load.partition(":")
    parts = [part.strip() for part in rest.split(",") if part.strip()]
    try:
        if kind == "strain" and 1 <= len(parts) <= 2:
            return UniformStrain(axis=parts[0], sides=parts[1] if len(parts) > 1 else "free")
        if kind == "indentation" and 1 <= len(parts) <= 2:
            return Indentation(
                tip_radius_nm=float(parts[0]), depth_nm=float(parts[1]) if len(parts) > 1 else None
            )
    except ValueError as error:
        raise ValueError(f"load must be a load, got {load!r}: {error}") from error
    raise ValueError(
        f"load must be as 'strain:z', 'strain:x,confined' or 'indentation:50' (tip radius in nm), got {load!r}."
    )
