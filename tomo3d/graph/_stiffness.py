"""How stiff a network is: bars that turn freely at its nodes, or beams joined rigidly."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pandas as pd
from scipy import stats

from tomo3d import tables
from tomo3d.compute.frames_of_beams import Beams, Equilibrium, equilibrium
from tomo3d.graph._framework import AXES, Framework, at_faces, field_of
from tomo3d.graph._loads import Indentation, Load, UniformStrain, load_of
from tomo3d.graph._windows import windows
from tomo3d.progress import report
from tomo3d.types import SpatialGraph

_STRAIN = 0.01
_POISSON = 0.3
_MAX_CONTACTS = 50
_NO_WIDTH = "the network has no widths: give width_nm, or a network whose branches have mean_width_nm."


@dataclass(frozen=True, eq=False)
class Stiffness:
    """A network under load.

    Parameters
    ----------
    summary : pandas.DataFrame
        `tables.SUMMARY`: apparent_modulus (GPa), force (nN) and energy (aJ), and what else the load has.
    displacements : pandas.DataFrame
        `tables.DISPLACEMENTS`, node by node.
    energies : pandas.DataFrame
        `tables.ENERGIES`, branch by branch.
    """

    summary: pd.DataFrame
    displacements: pd.DataFrame = field(default_factory=pd.DataFrame)
    energies: pd.DataFrame = field(default_factory=pd.DataFrame)


def stiffness(
    graph: SpatialGraph,
    *,
    youngs_modulus: float,
    load: Load | str = "strain:z",
    joints: Literal["rigid", "pinned"] = "rigid",
    width_nm: float | None = None,
    window_nm: Sequence[float] | None = None,
) -> Stiffness:
    """Apparent modulus of a network, and where its energy sits.

    Parameters
    ----------
    graph : SpatialGraph
        Each branch is a straight, round bar between its nodes, `mean_width_nm` thick. Loops carry nothing.
    youngs_modulus : float
        Of the material, in GPa.
    load : UniformStrain, Indentation or str
        As "strain:z", "strain:x,confined", "indentation:50" (tip radius in nm).
    joints : {"rigid", "pinned"}
        Rigid: beams that stretch, bend, shear and twist, joined as in one piece. Pinned: bars that turn freely.
    width_nm : float, optional
        Diameter of all branches, in place of theirs.
    window_nm : sequence of float, optional
        Edges (y, x) or (z, y, x) of windows: a strain is also put on each alone, for the interval of the modulus.

    Returns
    -------
    Stiffness
        Of a strain of 1 %, in which all is linear: `apparent_modulus` is twice the energy over strain^2 and the volume
        of the field, which is force over area and strain; confined, the longitudinal modulus C_ii. Of an indentation
        it is that of the uniform half space that would take the same force (Hertz; Poisson's ratio 0.3). 0 where
        nothing leads from face to face, or a pinned network is floppy. `apparent_modulus_of_windows` is the mean of
        windows by themselves, with its 95 % interval (Student's t).

    Raises
    ------
    ValueError
        If the modulus or a width is not positive, two joined nodes lie at one place, the field has no volume, no node
        lies at a face that the load holds, or the tip reaches no node.
    ConvergenceError
        If the equilibrium of a large network is not found.

    Notes
    -----
    Timoshenko beams (Przemieniecki, Theory of Matrix Structural Analysis, 1968), shear coefficient 0.9, Poisson's ratio
    0.3. Nodes at a face are those whose ball (`radius_nm`) reaches it. Up to 40,000 unknowns (150,000 of bars) by
    factors in nested-dissection order, beyond by conjugate gradients with a coarse problem. A window cuts branches at
    its faces.
    """
    if not (math.isfinite(youngs_modulus) and youngs_modulus > 0):
        raise ValueError(f"youngs_modulus must be positive, got {youngs_modulus:g} GPa.")
    if joints not in ("rigid", "pinned"):
        raise ValueError(f"joints must be 'rigid' or 'pinned', got {joints!r}.")
    load = load_of(load)
    frame = _Frame.of(graph, youngs_modulus, width_nm, rigid=joints == "rigid")
    if isinstance(load, Indentation):
        if window_nm is not None:
            raise ValueError("window_nm goes with a strain: an indentation is one place of its own.")
        rest = _pressed(frame, load)
        rows = _indentation_rows(frame, load, rest)
    else:
        rest = equilibrium(frame.beams, _strained(frame, load))
        rows = _strain_rows(frame, load, rest)
        if window_nm is not None:
            rows.append(_over_windows(graph, load, frame, window_nm))
    return Stiffness(tables.summary(rows), _displacements(graph, frame, rest), _energies(graph, frame, rest))


@dataclass(frozen=True, eq=False)
class _Frame:
    """The beams of a network, the rows of their branches, and the field."""

    beams: Beams
    branch_rows: np.ndarray
    faces: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @classmethod
    def of(cls, graph: SpatialGraph, modulus: float, width_nm: float | None, *, rigid: bool) -> _Frame:
        framework = Framework.of(graph)
        widths = _widths(graph, width_nm)
        rows = np.flatnonzero(~framework.is_loop)
        chords = framework.chords_nm[rows]
        if len(rows) and chords.min() <= 0:
            branch = graph.branches["branch"].to_numpy()[rows[int(chords.argmin())]]
            raise ValueError(
                f"a branch must have a length; the ends of branch {branch} lie at one place. Merge its nodes."
            )
        low, high = field_of(graph)
        beams = Beams(framework.positions_nm, framework.ends[rows], widths[rows], modulus, rigid)
        return cls(beams, rows, at_faces(graph), low, high)

    @property
    def volume(self) -> float:
        return float(np.prod(self.high - self.low))


def _widths(graph: SpatialGraph, width_nm: float | None) -> np.ndarray:
    n = len(graph.branches)
    if width_nm is not None:
        if not (math.isfinite(width_nm) and width_nm > 0):
            raise ValueError(f"width_nm must be a positive length, got {width_nm:g} nm.")
        return np.full(n, float(width_nm))
    if "mean_width_nm" not in graph.branches:
        raise ValueError(_NO_WIDTH)
    widths = graph.branches["mean_width_nm"].to_numpy(dtype=np.float64).copy()
    if n and not np.isfinite(widths).any():
        raise ValueError(_NO_WIDTH)
    # A branch so short that it lies within junctions has no width of its own: that of the others stands in.
    widths[~np.isfinite(widths)] = np.nanmedian(widths) if n else 0.0
    if n and widths.min() <= 0:
        raise ValueError(f"widths must be positive, got {widths.min():g} nm.")
    return widths


def _strained(frame: _Frame, load: UniformStrain) -> np.ndarray:
    """Moves that a strain prescribes, (n_nodes, block), nan where free."""
    axis = AXES.index(load.axis)
    prescribed = np.full((len(frame.beams.positions), frame.beams.block), np.nan)
    if frame.volume <= 0:
        raise ValueError(
            f"the field must have a volume to have a modulus, got {np.round(frame.high - frame.low, 3)} nm (z, y, x)."
        )
    at_low, at_high = frame.faces[:, axis, 0], frame.faces[:, axis, 1]
    places = frame.beams.positions[:, axis]
    for name, at, away in (
        ("low", at_low, float(places.min() - frame.low[axis])),
        ("high", at_high, float(frame.high[axis] - places.max())),
    ):
        if not at.any():
            raise ValueError(
                f"a node must lie at the {name} {load.axis} face of the field for a strain along it, got none nearer "
                f"than {away:.3g} nm. Crop the mask to a part that the network spans."
            )
    along = frame.beams.positions[:, axis] - frame.low[axis]
    if load.sides == "confined":
        at_border = frame.faces.any(axis=(1, 2))
        prescribed[at_border, :3] = 0.0
        prescribed[at_border, axis] = _STRAIN * along[at_border]
    else:
        prescribed[at_low, axis] = 0.0
        prescribed[at_high, axis] = _STRAIN * float(frame.high[axis] - frame.low[axis])
    return prescribed


def _strain_rows(frame: _Frame, load: UniformStrain, rest: Equilibrium) -> list[dict[str, object]]:
    axis = AXES.index(load.axis)
    energy = float(frame.beams.energies(np.nan_to_num(rest.moves)).sum())
    modulus = _modulus(frame, rest)
    force = float(rest.forces[frame.faces[:, axis, 1], axis].sum())
    n = len(frame.branch_rows)
    return [
        {"quantity": "apparent_modulus", "value": modulus, "unit": "GPa", "n": n},
        {"quantity": "relative_modulus", "value": modulus / frame.beams.modulus, "unit": "", "n": n},
        {"quantity": "force", "value": force, "unit": "nN", "n": n},
        {"quantity": "energy", "value": energy, "unit": "aJ", "n": n},
        {"quantity": "bending_share", "value": _bending_share(frame, rest, energy), "unit": "", "n": n},
    ]


def _modulus(frame: _Frame, rest: Equilibrium) -> float:
    energy = float(frame.beams.energies(np.nan_to_num(rest.moves)).sum())
    return 2 * energy / (_STRAIN**2 * frame.volume)


def _bending_share(frame: _Frame, rest: Equilibrium, energy: float) -> float:
    if energy <= 0:
        return math.nan
    return 1 - float(frame.beams.axial_energies(np.nan_to_num(rest.moves)).sum()) / energy


def _pressed(frame: _Frame, load: Indentation) -> Equilibrium:
    """Moves under the tip, found by letting go of nodes that would pull at it and taking those that would enter it."""
    positions = frame.beams.positions
    supported = frame.faces[:, 0, 0]
    if not supported.any():
        raise ValueError("a node must lie at the low z face of the field to support the network, got none.")
    tip = 0.5 * (frame.low + frame.high)[1:] if load.position_nm is None else np.array(load.position_nm)
    away = np.linalg.norm(positions[:, 1:] - tip, axis=1)
    reach = (away < load.tip_radius_nm) & ~supported
    if not reach.any():
        raise ValueError(
            f"the tip must be above a node of the network, got none within {load.tip_radius_nm:g} nm of "
            f"(y, x) = {np.round(tip, 3)} nm."
        )
    surface = np.full(len(positions), np.inf)  # height of the tip's surface above its lowest point
    surface[reach] = load.tip_radius_nm - np.sqrt(load.tip_radius_nm**2 - away[reach] ** 2)
    first = float((positions[reach, 0] - surface[reach]).max())
    wanted = first - load.depth + surface - positions[:, 0]  # move along z that puts a node on the tip
    touching = reach & (wanted < 0)
    for _ in range(_MAX_CONTACTS):
        report("contact with the tip", 0, 1)
        prescribed = np.full((len(positions), frame.beams.block), np.nan)
        prescribed[supported] = 0.0
        prescribed[touching, 0] = wanted[touching]
        rest = equilibrium(frame.beams, prescribed)
        moved = np.nan_to_num(rest.moves[:, 0])
        pulls = touching & (rest.forces[:, 0] > 0)
        enters = reach & ~touching & (moved > wanted + 1e-9 * load.depth) & np.isfinite(rest.moves[:, 0])
        if not (pulls.any() or enters.any()):
            break
        touching = (touching & ~pulls) | enters
    report("contact with the tip", 1, 1)
    return rest


def _indentation_rows(frame: _Frame, load: Indentation, rest: Equilibrium) -> list[dict[str, object]]:
    supported = frame.faces[:, 0, 0]
    force = float(rest.forces[supported, 0].sum())
    energy = float(frame.beams.energies(np.nan_to_num(rest.moves)).sum())
    half_space = 4 / 3 * math.sqrt(load.tip_radius_nm) * load.depth**1.5 / (1 - _POISSON**2)
    n = len(frame.branch_rows)
    return [
        {"quantity": "apparent_modulus", "value": force / half_space, "unit": "GPa", "n": n},
        {
            "quantity": "relative_modulus",
            "value": force / half_space / frame.beams.modulus,
            "unit": "",
            "n": n,
        },
        {"quantity": "force", "value": force, "unit": "nN", "n": n},
        {"quantity": "stiffness", "value": force / load.depth, "unit": "nN/nm", "n": n},
        {"quantity": "energy", "value": energy, "unit": "aJ", "n": n},
        {"quantity": "bending_share", "value": _bending_share(frame, rest, energy), "unit": "", "n": n},
    ]


def _over_windows(
    graph: SpatialGraph, load: UniformStrain, frame: _Frame, window_nm: Sequence[float]
) -> dict[str, object]:
    widths = np.full(len(graph.branches), np.nan)
    widths[frame.branch_rows] = frame.beams.diameters
    branches = graph.branches.assign(mean_width_nm=widths)
    with_widths = SpatialGraph(graph.nodes, branches, graph.lines_nm, record=graph.record)
    moduli = np.array(list(_window_moduli(with_widths, load, frame, window_nm)))
    n = len(moduli)
    half = float(stats.t.ppf(0.975, n - 1) * moduli.std(ddof=1)) / math.sqrt(n) if n > 1 else math.nan
    words = f"95 %, Student's t over {n} windows" if n > 1 else "none: two windows are needed"
    mean = float(moduli.mean())
    return {"quantity": "apparent_modulus_of_windows", "value": mean, "low": mean - half, "high": mean + half,
            "unit": "GPa", "n": n, "interval": words}  # fmt: skip


def _window_moduli(
    graph: SpatialGraph, load: UniformStrain, frame: _Frame, window_nm: Sequence[float]
) -> Iterator[float]:
    for part in windows(graph, window_nm):
        inner = (
            _Frame.of(part, frame.beams.modulus, None, rigid=frame.beams.rigid)
            if len(part.branches)
            else None
        )
        axis = AXES.index(load.axis)
        if inner is None or not (inner.faces[:, axis, 0].any() and inner.faces[:, axis, 1].any()):
            yield 0.0
            continue
        rest = equilibrium(inner.beams, _strained(inner, load))
        yield _modulus(inner, rest)


def _displacements(graph: SpatialGraph, frame: _Frame, rest: Equilibrium) -> pd.DataFrame:
    table = pd.DataFrame({"node": graph.nodes["node"].to_numpy()})
    for axis, name in enumerate(AXES):
        table[f"move_{name}_nm"] = rest.moves[:, axis]
    return table


def _energies(graph: SpatialGraph, frame: _Frame, rest: Equilibrium) -> pd.DataFrame:
    moves = np.nan_to_num(rest.moves)
    energy, axial = np.zeros(len(graph.branches)), np.full(len(graph.branches), np.nan)
    own = frame.beams.energies(moves)
    energy[frame.branch_rows] = own
    stretching = frame.beams.axial_energies(moves)
    axial[frame.branch_rows] = np.divide(stretching, own, out=np.full(len(own), np.nan), where=own > 0)
    table = pd.DataFrame(
        {"branch": graph.branches["branch"].to_numpy(), "energy_aj": energy, "axial_share": axial}
    )
    return tables.check(table, tables.ENERGIES)
