"""Phases by name or number, components, and the faces of the volume that they touch."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from scipy import ndimage

from tomo3d.types import Labels

AXES = "zyx"
STRUCTURES = {6: ndimage.generate_binary_structure(3, 1), 26: np.ones((3, 3, 3), dtype=bool)}
Face = tuple[int, int]  # axis, and 0 for the first plane or -1 for the last


def phase_number(labels: Labels, phase: int | str, what: str = "phase") -> int:
    """Number of a phase that is given by number or by name.

    Raises
    ------
    ValueError
        If no class has this name.
    """
    if not isinstance(phase, str):
        return int(phase)
    named = {name: number for number, name in labels.names.items()}
    if phase in named:
        return int(named[phase])
    if phase == "background":
        return 0
    digits = phase.removeprefix("class_")
    if digits.isascii() and digits.isdigit():
        return int(digits)
    known = ", ".join(sorted({"background", *named}))
    raise ValueError(f"{what} must be the number of a class or one of the names {known}, got {phase!r}.")


def phase_voxels(labels: Labels, phase: int | str, what: str = "phase") -> np.ndarray:
    """Flags of the voxels of a phase, (n_z, n_y, n_x).

    Raises
    ------
    ValueError
        If no class has this name, or the class has no voxel.
    """
    inside = np.asarray(labels.data) == phase_number(labels, phase, what)
    if not inside.any():
        raise ValueError(f"{what} must have at least one voxel, got none of class {phase}.")
    return inside


def check_axes(axes: str) -> list[int]:
    """Indices of the axes that are named, as in "zx".

    Raises
    ------
    ValueError
        If a letter is not z, y or x, or comes twice, or there is none.
    """
    if not axes or len(set(axes)) != len(axes) or not set(axes) <= set(AXES):
        raise ValueError(f"axes must be some of z, y and x, each once, as 'zyx', got {axes!r}.")
    return [AXES.index(letter) for letter in axes]


def check_faces(faces: str) -> list[Face]:
    """Faces of the volume that are named: "all", or z-, z+, z (both) and so on, with commas between.

    Raises
    ------
    ValueError
        If a word is none of these.
    """
    if faces == "all":
        return [(axis, end) for axis in range(3) for end in (0, -1)]
    found: list[Face] = []
    for word in faces.replace(" ", "").split(","):
        letter, sign = word[:1], word[1:]
        if letter not in AXES or not letter or sign not in ("", "-", "+"):
            raise ValueError(f"faces must be all, or some of z-, z+, z, y-, ... with commas, got {faces!r}.")
        ends = {"-": (0,), "+": (-1,), "": (0, -1)}[sign]
        found += [(AXES.index(letter), end) for end in ends]
    return found


def check_connectivity(connectivity: int) -> np.ndarray:
    """Neighbourhood of a voxel, (3, 3, 3).

    Raises
    ------
    ValueError
        If it is not 6 or 26.
    """
    if connectivity not in STRUCTURES:
        raise ValueError(
            f"connectivity must be 6 (faces) or 26 (faces, edges and corners), got {connectivity}."
        )
    return STRUCTURES[connectivity]


def at_faces(components: np.ndarray, faces: Iterable[Face]) -> np.ndarray:
    """Numbers of the components that touch any of the faces; 0 is none."""
    found = [np.unique(components.take(end, axis=axis)) for axis, end in faces]
    return np.setdiff1d(np.concatenate(found), [0])


def is_one_of(components: np.ndarray, numbers: np.ndarray, n_components: int) -> np.ndarray:
    """Flags of the voxels whose component is one of the numbers."""
    wanted = np.zeros(n_components + 1, dtype=bool)
    wanted[numbers] = True
    return wanted[components]


def joining(inside: np.ndarray, axis: int, connectivity: int = 6) -> np.ndarray:
    """Voxels of the components that touch both faces of an axis."""
    components, n_components = ndimage.label(inside, structure=STRUCTURES[connectivity])
    both = np.intersect1d(at_faces(components, [(axis, 0)]), at_faces(components, [(axis, -1)]))
    return is_one_of(components, both, n_components)


def independent_edges(inside: np.ndarray) -> tuple[float, float]:
    """How wide blocks along y and x must be to be nearly independent: four mean runs of one class, in voxels."""
    runs = [inside.size / max(int(np.count_nonzero(np.diff(inside, axis=axis))), 1) for axis in (1, 2)]
    return 4.0 * runs[0], 4.0 * runs[1]
