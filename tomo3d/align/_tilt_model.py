"""Which parameters of the views a bundle adjustment solves, and how they may vary over the views."""

from __future__ import annotations

import dataclasses
import difflib
import re
from dataclasses import dataclass, fields

import numpy as np
import scipy.linalg

from tomo3d.compute import tilt_model

_KINDS = (
    '"fixed", "global", "free" or "groups:N" (N views between knots, along tilts; "groups:N,rows" along rows)'
)
_GROUPS = re.compile(r"groups:(\d{1,6})(,rows)?")
_ONE_FOR_ALL = {
    "tilt": "one offset for all tilts only turns the specimen",
    "magnification": "one magnification for all views only scales the specimen",
    "x_stretch": "one stretch for all views only stretches the specimen",
    "skew": "one skew for all views only skews the specimen",
    "x_tilt": "one x-axis tilt for all views only turns the specimen",
    "thinning": "one thinning for all views only thins the specimen",
}
_NEAR_ZERO_TILT_DEG = 5.0  # below it, a view hardly shows heights, and takes its thinning from its neighbours


@dataclass(frozen=True)
class TiltModel:
    """What a bundle adjustment solves: each parameter is "fixed", "global", "free" or "groups:N".

    "global" is one value for all views, "free" one for each. "groups:N" has knots every N views along the tilt angles,
    with linear interpolation between them; "groups:N,rows" has them along the rows of the series, as for what the beam
    does. The order in which the parameters act is that of IMOD's tiltalign.

    Parameters
    ----------
    rotation : str
        Direction of the tilt axis in the image.
    tilt : str
        Tilt angle; that of the view nearest 0 deg is held.
    magnification : str
        Held at 1 in that view, as is x-axis tilt at 0.
    x_stretch, skew : str
        Of the specimen across the tilt axis, before it is tilted, and its turn towards the axis. A stretch of
        1 + a + c tan t only shears the specimen, and with tilts solved one of d tan^2 t hardly does more: the solved
        stretches have no share of these. The mean skew over the views is 0, likewise.
    x_tilt : str
        Tilt of the specimen about x.
    beam_tilt : str
        How far the tilt axis is from perpendicular to the beam.
    thinning : str
        Thickness of the specimen; held at 1 at the first knot (the first row beyond 5 deg of tilt).
    projection_stretch : str
        q for an image stretched by 1 + q along one diagonal and 1 - q along the other.

    Raises
    ------
    ValueError
        If a text is none of those, or parameters are solved together that no tracks can tell apart: thinning, tilt
        and x_stretch; x_tilt and rotation; beam_tilt, rotation and skew.
    """

    rotation: str = "free"
    tilt: str = "groups:5"
    magnification: str = "free"
    x_stretch: str = "fixed"
    skew: str = "fixed"
    x_tilt: str = "fixed"
    beam_tilt: str = "fixed"
    thinning: str = "fixed"
    projection_stretch: str = "fixed"

    def __post_init__(self) -> None:
        for each in fields(self):
            kind = getattr(self, each.name)
            match = _GROUPS.fullmatch(kind) if isinstance(kind, str) else None
            if kind not in ("fixed", "global", "free") and not (match and int(match[1]) > 0):
                raise ValueError(f"TiltModel.{each.name} must be {_KINDS}, got {kind!r}.")
            if kind == "global" and each.name in _ONE_FOR_ALL:
                raise ValueError(
                    f'TiltModel.{each.name} must be "fixed", "free" or "groups:N", got "global": '
                    f"{_ONE_FOR_ALL[each.name]}."
                )
        for together in (
            ("thinning", "tilt", "x_stretch"),
            ("x_tilt", "rotation"),
            ("beam_tilt", "rotation", "skew"),
        ):
            if all(getattr(self, name) not in ("fixed", "global") for name in together) or (
                "beam_tilt" in together and all(getattr(self, name) != "fixed" for name in together)
            ):
                raise ValueError(
                    f"TiltModel must hold one of {', '.join(together)}, which no tracks can tell apart, got all of "
                    'them solved: set one to "fixed".'
                )

    @classmethod
    def parse(cls, text: str) -> TiltModel:
        """From a text, as "rotation=free, tilt=groups:5"; what it does not name is as by default."""
        given = {}
        known = [each.name for each in fields(cls)]
        for part in re.split(r",(?!\s*rows)", text) if text.strip() else ():
            name, _, kind = (piece.strip() for piece in part.partition("="))
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}."
                raise ValueError(f"TiltModel has no parameter {name!r}; {hint}")
            given[name] = kind.replace(" ", "")
        return dataclasses.replace(cls(), **given)

    def designs(self, tilt_angles_deg: np.ndarray) -> dict[int, np.ndarray]:
        """How the values in the views follow from unknowns, by index of the parameter: (n_views, n_unknowns)."""
        designs = {}
        for index, name in enumerate(tilt_model.PARAMETERS):
            kind = getattr(self, name)
            if kind != "fixed":
                angles = np.asarray(tilt_angles_deg, dtype=np.float64)
                design = _design(kind, name, angles)
                if name == "x_stretch":
                    design = _without(design, _shears(angles, is_tilt_solved=self.tilt != "fixed"))
                if name == "skew":
                    design = _without(design, np.ones((len(angles), 1)))
                if design.shape[1]:
                    designs[index] = design
        return designs


def _design(kind: str, name: str, angles_deg: np.ndarray) -> np.ndarray:
    n = len(angles_deg)
    if kind == "global":
        return np.ones((n, 1))
    match = _GROUPS.fullmatch(kind)
    by_rows = bool(match and match[2]) or (name == "thinning" and kind == "free")
    places = np.arange(n, dtype=np.float64) if by_rows else angles_deg
    may_have_knots = np.ones(n, dtype=bool)
    if name == "thinning":
        may_have_knots = np.abs(angles_deg) >= _NEAR_ZERO_TILT_DEG
    if match:
        knots = _knots(places[may_have_knots], int(match[1]))
        design = np.stack([np.interp(places, knots, row) for row in np.eye(len(knots))], axis=1)
    elif may_have_knots.all():
        design = np.eye(n)
    else:
        knots = places[may_have_knots]
        design = np.stack([np.interp(places, knots, row) for row in np.eye(len(knots))], axis=1)
    if name not in _ONE_FOR_ALL or name in ("x_stretch", "skew"):
        return design
    reference = int(np.argmin(np.abs(angles_deg)))
    if name == "thinning":
        reference = int(np.argmin(np.where(may_have_knots, places, np.inf)))
    held = int(np.argmax(design[reference]))
    return np.delete(design - design[reference], held, axis=1)


def _shears(angles_deg: np.ndarray, *, is_tilt_solved: bool) -> np.ndarray:
    """Stretches over the views that only shear or scale the specimen in x and z, (n_views, 2 or 3).

    Points (x + a x, z + c x + d z) at tilt t are those at tilt t + d tan t stretched by a + c tan t + d tan^2 t.
    """
    slope = np.tan(np.deg2rad(angles_deg))
    return slope[:, None] ** np.arange(3 if is_tilt_solved else 2)


def _without(design: np.ndarray, held: np.ndarray) -> np.ndarray:
    """The part of a design whose values over the views have no share of the columns of `held`."""
    return np.asarray(design @ scipy.linalg.null_space(np.linalg.qr(held)[0].T @ design))


def _knots(places: np.ndarray, n_between: int) -> np.ndarray:
    """Ascending places of the knots: the first, the last, and others at most `n_between` views apart."""
    ordered = np.unique(places)
    n_knots = min(len(ordered), -(-(len(ordered) - 1) // n_between) + 1) if len(ordered) > 1 else len(ordered)
    return ordered[np.round(np.linspace(0, len(ordered) - 1, n_knots)).astype(int)]
