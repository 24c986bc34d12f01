"""Stiffness of frames: straight bars or beams between joints, under prescribed displacements."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from tomo3d.compute.dissection import block_order, factorised, nested_dissection
from tomo3d.compute.two_level import solve_two_level

_POISSON = 0.3
_SHEAR_SHAPE = 0.9  # of a round section (Cowper 1966, to 1 %)
_DIRECT = {3: 150_000, 6: 40_000}  # unknowns, by those of a joint: up to here factors, beyond iterations
_SHIFT = 1e-10  # of the mean diagonal: what nothing resists stays where it is


@dataclass(frozen=True, eq=False)
class Beams:
    """Round, straight beams; lengths in nm, modulus in GPa (1 GPa = 1 nN/nm^2).

    Parameters
    ----------
    positions : ndarray, shape (n_joints, 3)
    ends : ndarray of int, shape (n_beams, 2)
    diameters : ndarray, shape (n_beams,)
    modulus : float
    rigid : bool
        Joints are rigid: beams bend and twist, and a joint has six unknowns, a move and a turn times `length_scale`.
        Else beams turn freely, and it has three.
    """

    positions: np.ndarray
    ends: np.ndarray
    diameters: np.ndarray
    modulus: float
    rigid: bool

    @property
    def block(self) -> int:
        """Unknowns of a joint."""
        return 6 if self.rigid else 3

    @property
    def lengths(self) -> np.ndarray:
        """Of the beams, (n_beams,)."""
        return np.asarray(
            np.linalg.norm(self.positions[self.ends[:, 1]] - self.positions[self.ends[:, 0]], axis=1)
        )

    @property
    def length_scale(self) -> float:
        """What turns are multiplied by, so that all unknowns are lengths."""
        return float(self.lengths.mean())

    def stiffnesses(self) -> np.ndarray:
        """Matrix of each beam, (n_beams, 2 block, 2 block), in nN/nm."""
        axial = self._axial()
        if not self.rigid:
            return axial
        return axial + self._bending()

    def axial_energies(self, moves: np.ndarray) -> np.ndarray:
        """Energy of stretching of each beam, in 1e-18 J, by the moves (n_joints, block) in nm."""
        return self._energies(self._axial(), moves)

    def energies(self, moves: np.ndarray) -> np.ndarray:
        """Elastic energy of each beam, in 1e-18 J."""
        return self._energies(self.stiffnesses(), moves)

    def matrix(self) -> sparse.csr_array:
        """Stiffness of the frame, (n_joints block, n_joints block), in nN/nm."""
        block = self.block
        unknowns = (self.ends[:, :, None] * block + np.arange(block)).reshape(len(self.ends), -1)
        width = unknowns.shape[1]
        rows, columns = np.repeat(unknowns, width, axis=1).ravel(), np.tile(unknowns, width).ravel()
        size = len(self.positions) * block
        values = self.stiffnesses().ravel()
        return sparse.csr_array(sparse.coo_array((values, (rows, columns)), shape=(size, size)))

    def _energies(self, matrices: np.ndarray, moves: np.ndarray) -> np.ndarray:
        own = moves[self.ends].reshape(len(self.ends), -1)
        return np.asarray(0.5 * np.einsum("ni,nij,nj->n", own, matrices, own))

    def _unit(self) -> np.ndarray:
        along = self.positions[self.ends[:, 1]] - self.positions[self.ends[:, 0]]
        return np.asarray(along / self.lengths[:, None])

    def _axial(self) -> np.ndarray:
        stiffness = self.modulus * math.pi / 4 * self.diameters**2 / self.lengths
        unit = self._unit()
        stretch = np.zeros((len(self.ends), 2 * self.block))
        stretch[:, :3], stretch[:, self.block : self.block + 3] = -unit, unit
        return np.asarray(stiffness[:, None, None] * stretch[:, :, None] * stretch[:, None, :])

    def _bending(self) -> np.ndarray:
        """Bending and shear in two planes, and twist (Przemieniecki, Theory of Matrix Structural Analysis, 1968)."""
        length, unit = self.lengths, self._unit()
        second = math.pi / 64 * self.diameters**4
        shear_modulus = self.modulus / (2 * (1 + _POISSON))
        bending = self.modulus * second
        shear = 12 * bending / (_SHEAR_SHAPE * shear_modulus * math.pi / 4 * self.diameters**2 * length**2)
        a, b = _across(unit)
        scale = self.length_scale
        total = _outer(shear_modulus * 2 * second / length, _row(unit, scale, twist=True))
        for across, turn in ((a, b), (b, -a)):
            # Deflection along `across` with turns about `turn`: half difference and half sum of end turns to the chord.
            slope = np.zeros((len(length), 12))
            slope[:, 0:3], slope[:, 6:9] = -across / length[:, None], across / length[:, None]
            first, second_end = np.zeros_like(slope), np.zeros_like(slope)
            first[:, 3:6], second_end[:, 9:12] = turn / scale, turn / scale
            total += _outer(bending / length, second_end - first)
            total += _outer(3 * bending / (length * (1 + shear)), first + second_end - 2 * slope)
        return total


@dataclass(frozen=True, eq=False)
class Equilibrium:
    """Moves in nm and forces in nN that hold them, (n_joints, block) each; moves are nan where nothing holds."""

    moves: np.ndarray
    forces: np.ndarray


def equilibrium(beams: Beams, prescribed: np.ndarray) -> Equilibrium:
    """Where the joints of a frame come to rest.

    Parameters
    ----------
    beams : Beams
    prescribed : ndarray, shape (n_joints, block)
        Moves that are given; nan where a joint is free.

    Raises
    ------
    ConvergenceError
        If the iterations of a large frame do not converge.
    """
    size = prescribed.size
    values = prescribed.ravel()
    is_given = np.isfinite(values)
    held = _held(beams, is_given.reshape(prescribed.shape).any(axis=1))
    free = np.flatnonzero(~is_given & np.repeat(held, beams.block))
    matrix = beams.matrix()
    moves = np.where(is_given, values, 0.0)
    if free.size:
        inner = matrix[free][:, free]
        right = -(matrix @ moves)[free]
        inner = inner + _SHIFT * float(matrix.diagonal().mean()) * sparse.eye_array(free.size, format="csr")
        joints = free // beams.block
        if free.size <= _DIRECT[beams.block]:
            order = block_order(nested_dissection(beams.positions, beams.ends), beams.block)
            place = np.full(size, -1)
            place[free] = np.arange(free.size)
            order = place[order][place[order] >= 0]
            factors = factorised(inner, order)
            found = np.empty(free.size)
            found[order] = factors.solve(right[order])
        else:
            motions = _rigid_motions(beams)[free]
            found = solve_two_level(inner, right, beams.positions[joints], motions)
        moves[free] = found
    forces = (matrix @ moves).reshape(prescribed.shape)
    moves = moves.reshape(prescribed.shape)
    moves[~held] = np.nan
    return Equilibrium(moves, forces)


def _held(beams: Beams, is_given: np.ndarray) -> np.ndarray:
    """Joints of the pieces that have a prescribed joint."""
    links = sparse.csr_array((np.ones(len(beams.ends)), beams.ends.T), shape=(len(is_given),) * 2)
    piece = sparse.csgraph.connected_components(links, directed=False)[1]
    has = np.zeros(piece.max(initial=-1) + 1, dtype=bool)
    has[piece[is_given]] = True
    return np.asarray(has[piece])


def _rigid_motions(beams: Beams) -> np.ndarray:
    """Motions of the whole in the unknowns, (n_joints block, 6)."""
    centred = beams.positions - beams.positions.mean(axis=0)
    motions = np.zeros((len(centred), beams.block, 6))
    motions[:, :3, :3] = np.eye(3)
    for axis in range(3):
        motions[:, :3, 3 + axis] = np.cross(np.eye(3)[axis], centred) / beams.length_scale
        if beams.rigid:
            motions[:, 3 + axis, 3 + axis] = 1.0
    return motions.reshape(-1, 6)


def _across(unit: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two unit vectors at right angles to each other and to the beams, right-handed: unit x a = b."""
    helper = np.zeros_like(unit)
    helper[np.arange(len(unit)), np.abs(unit).argmin(axis=1)] = 1.0
    a = np.cross(unit, helper)
    a /= np.linalg.norm(a, axis=1, keepdims=True)
    return a, np.cross(unit, a)


def _row(unit: np.ndarray, scale: float, *, twist: bool) -> np.ndarray:
    """What the unknowns of a beam do to its twist, (n_beams, 12)."""
    row = np.zeros((len(unit), 12))
    row[:, 3:6], row[:, 9:12] = -unit / scale, unit / scale
    return row


def _outer(weights: np.ndarray, rows: np.ndarray) -> np.ndarray:
    return np.asarray(weights[:, None, None] * rows[:, :, None] * rows[:, None, :])
