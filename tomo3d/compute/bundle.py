"""Bundle adjustment: parameters of views and points of a specimen from where the points were seen.

Least squares with a block structure: an observation depends on one view and one point. Points are eliminated (Schur
complement), so that what is solved at once are the parameters and the shifts of the views. Levenberg-Marquardt, with
Tukey's weights on the length of each residual.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import scipy.linalg
import scipy.sparse

from tomo3d.compute import tilt_model
from tomo3d.errors import ConvergenceError

_QUANTILE = 0.75  # of the lengths of residuals, by which the noise is measured
_QUANTILE_LENGTH = float(
    np.sqrt(-2.0 * np.log(1.0 - _QUANTILE))
)  # of a normal vector (y, x) of unit variance
_MAX_STEPS = 200
_MAX_ROUNDS = 20
_SMALLEST_STEP = 1e-8  # relative change of the cost
_SMALLEST_ROBUST = 1e-6
_FALL = 0.8  # the scale of the noise is taken anew until it falls by less: then outliers no longer hide it
_ROUNDING = 1e-9  # of the positions
_FAINT = 1e-6  # weight of an outlier that is needed
_SINGULAR = 1e-9  # smallest eigenvalue of the normal matrix, scaled to a unit diagonal


@dataclass(frozen=True, eq=False)
class Problem:
    """What was seen, and what may change.

    Parameters
    ----------
    positions : ndarray, shape (n, 2)
        (y, x) of each observation.
    views, points : ndarray of int, shape (n,)
        Which view and point it is of; each pair at most once.
    start : ndarray, shape (n_views, 9)
        `tilt_model.PARAMETERS` of each view, angles in radians.
    designs : mapping of int to ndarray, shape (n_views, n_unknowns)
        By index of the parameter: its values are start + design @ unknowns.
    """

    positions: np.ndarray
    views: np.ndarray
    points: np.ndarray
    start: np.ndarray
    designs: dict[int, np.ndarray]
    n_points: int

    @property
    def n_views(self) -> int:
        """Number of views."""
        return len(self.start)

    @property
    def solved(self) -> list[int]:
        """Indices of the parameters that are solved."""
        return sorted(self.designs)

    @property
    def n_parameters(self) -> int:
        """Number of unknowns that are neither points nor shifts."""
        return sum(design.shape[1] for design in self.designs.values())

    @property
    def n_unknowns(self) -> int:
        """Points, shifts and parameters, less the three that say where the specimen is."""
        return 3 * self.n_points + 2 * self.n_views + self.n_parameters - 3

    def parameters(self, unknowns: np.ndarray) -> np.ndarray:
        """Parameters of each view, shape (n_views, 9)."""
        values, first = self.start.copy(), 0
        for index in self.solved:
            design = self.designs[index]
            values[:, index] += design @ unknowns[first : first + design.shape[1]]
            first += design.shape[1]
        return values

    def chain(self) -> np.ndarray:
        """Derivative of each view's solved parameters and (y, x) shift by all unknowns but the points.

        Shape (n_views * (n_solved + 2), n_parameters + 2 * n_views).
        """
        n_local = len(self.solved) + 2
        chain = np.zeros((self.n_views, n_local, self.n_parameters + 2 * self.n_views))
        first = 0
        for row, index in enumerate(self.solved):
            design = self.designs[index]
            chain[:, row, first : first + design.shape[1]] = design
            first += design.shape[1]
        each = np.arange(self.n_views)
        for k in range(2):
            chain[each, n_local - 2 + k, first + 2 * each + k] = 1.0
        return chain.reshape(self.n_views * n_local, -1)


@dataclass(frozen=True, eq=False)
class State:
    """A solution: unknowns, shifts (n_views, 2), points (n_points, 3), weights (n,) and the scale of the noise."""

    unknowns: np.ndarray
    shifts: np.ndarray
    points: np.ndarray
    weights: np.ndarray
    scale: float = field(default=np.inf)


def residuals(problem: Problem, state: State) -> np.ndarray:
    """Measured minus predicted, shape (n, 2)."""
    matrices = tilt_model.projections(problem.parameters(state.unknowns))
    predicted = np.einsum("nij,nj->ni", matrices[problem.views], state.points[problem.points])
    return np.asarray(problem.positions - predicted - state.shifts[problem.views])


def jacobian(problem: Problem, state: State) -> tuple[np.ndarray, np.ndarray]:
    """Derivatives of the predictions, which hold all that is not zero.

    Returns
    -------
    by_view : ndarray, shape (n, 2, n_solved + 2)
        By the solved parameters and the shift (y, x) of the observation's view.
    by_point : ndarray, shape (n, 2, 3)
        By (z, y, x) of its point.
    """
    parameters = problem.parameters(state.unknowns)
    slopes = tilt_model.derivatives(parameters)[:, problem.solved]
    n_solved = len(problem.solved)
    by_view = np.empty((len(problem.views), 2, n_solved + 2))
    seen = state.points[problem.points]
    by_view[:, :, :n_solved] = np.einsum("nkij,nj->nik", slopes[problem.views], seen)
    by_view[:, :, n_solved:] = np.eye(2)
    return by_view, tilt_model.projections(parameters)[problem.views]


@dataclass(frozen=True, eq=False)
class Normal:
    """The normal equations with the points eliminated.

    Parameters
    ----------
    matrix : ndarray, shape (m, m)
        Of the m = n_parameters + 2 n_views unknowns, with a term that holds the translation of the specimen.
    gradient : ndarray, shape (m,)
    to_points : ndarray, shape (n_points, 3, m)
        inverse(V) W': how points answer to these unknowns.
    points_inverse : ndarray, shape (n_points, 3, 3)
    points_gradient : ndarray, shape (n_points, 3)
    """

    matrix: np.ndarray
    gradient: np.ndarray
    to_points: np.ndarray
    points_inverse: np.ndarray
    points_gradient: np.ndarray


def normal_equations(problem: Problem, state: State) -> Normal:
    """Normal equations at a state."""
    by_view, by_point = jacobian(problem, state)
    error = residuals(problem, state)
    n_local = by_view.shape[2]
    weighted = state.weights[:, None, None] * by_view
    of_view, of_point = (
        _selection(problem.views, problem.n_views),
        _selection(problem.points, problem.n_points),
    )
    blocks = _sums(of_view, np.einsum("nik,nil->nkl", weighted, by_view))
    inner = _sums(of_point, np.einsum("n,nik,nil->nkl", state.weights, by_point, by_point))
    cross = np.zeros((problem.n_views, n_local, problem.n_points, 3))
    cross[problem.views, :, problem.points, :] = np.einsum("nik,nil->nkl", weighted, by_point)
    gradient = _sums(of_view, np.einsum("nik,ni->nk", weighted, error)).ravel()
    points_gradient = _sums(of_point, np.einsum("n,nik,ni->nk", state.weights, by_point, error))
    chain = problem.chain()
    points_inverse = np.linalg.inv(inner)
    outer = chain.T @ cross.reshape(problem.n_views * n_local, -1)  # (m, 3 n_points)
    m = len(outer)
    to_points = np.einsum("jab,mjb->jam", points_inverse, outer.reshape(m, -1, 3))
    local = (blocks @ chain.reshape(problem.n_views, n_local, m)).reshape(-1, m)
    held = _translation(problem, state, float(np.trace(inner.mean(axis=0))))
    matrix = chain.T @ local - outer @ to_points.reshape(-1, m) + held @ held.T
    reduced = chain.T @ gradient - to_points.reshape(-1, m).T @ points_gradient.ravel()
    return Normal(matrix, reduced, to_points, points_inverse, points_gradient)


def _translation(problem: Problem, state: State, stiffness: float) -> np.ndarray:
    """Directions (m, 3) of the shifts by which the specimen moves as a whole; the residuals hold it nowhere."""
    matrices = tilt_model.projections(problem.parameters(state.unknowns))
    held = np.zeros((problem.n_parameters + 2 * problem.n_views, 3))
    held[problem.n_parameters :] = matrices.reshape(-1, 3)
    return held * np.sqrt(stiffness / problem.n_views)


def _selection(index: np.ndarray, n: int) -> scipy.sparse.csr_array:
    shape = (n, len(index))
    return scipy.sparse.csr_array((np.ones(len(index)), (index, np.arange(len(index)))), shape=shape)


def _sums(selection: scipy.sparse.csr_array, values: np.ndarray) -> np.ndarray:
    """Sums of the rows of `values` that belong together."""
    summed = selection @ values.reshape(len(values), -1)
    return np.asarray(summed).reshape(selection.shape[0], *values.shape[1:])


def structure(problem: Problem) -> State:
    """Points and shifts for the parameters at their start: linear, so solved at once."""
    state = State(
        np.zeros(0),
        np.zeros((problem.n_views, 2)),
        np.zeros((problem.n_points, 3)),
        np.ones(len(problem.views)),
    )
    state = _moved(replace(problem, designs={}), state, damping=0.0)
    return replace(state, unknowns=np.zeros(problem.n_parameters))


def _moved(problem: Problem, state: State, damping: float, normal: Normal | None = None) -> State:
    """One step of Gauss and Newton, its parameters damped as Marquardt does; points and shifts follow exactly."""
    normal = normal or normal_equations(problem, state)
    n = problem.n_parameters
    matrix = normal.matrix.copy()
    diagonal = np.arange(n)
    matrix[diagonal, diagonal] *= 1.0 + damping
    step = scipy.linalg.cho_solve(scipy.linalg.cho_factor(matrix), normal.gradient)
    points = np.einsum("jab,jb->ja", normal.points_inverse, normal.points_gradient)
    points -= normal.to_points @ step
    return replace(
        state,
        unknowns=state.unknowns + step[:n],
        shifts=state.shifts + step[n:].reshape(-1, 2),
        points=state.points + points,
    )


def _cost(error: np.ndarray, threshold: float) -> float:
    """Sum of the squared lengths, or of Tukey's function of them, which is the square where it is small."""
    squares = (error**2).sum(axis=1)
    if not np.isfinite(threshold):
        return float(squares.sum())
    rest = np.maximum(1.0 - squares / threshold**2, 0.0)
    return float(threshold**2 / 3.0 * (1.0 - rest**3).sum())


def minimise(problem: Problem, state: State, threshold: float = np.inf) -> State:
    """The state of least squares, or of least cost by Tukey: a residual longer than `threshold` counts no more.

    Raises
    ------
    ConvergenceError
        If there is none within 200 steps.
    """
    state = _weighted(problem, state, threshold)
    cost, damping = _cost(residuals(problem, state), threshold), 1e-3
    normal: Normal | None = None
    for _ in range(_MAX_STEPS):
        normal = normal or normal_equations(problem, state)
        try:
            trial = _moved(problem, state, damping, normal)
            trial_cost = _cost(residuals(problem, trial), threshold)
        except np.linalg.LinAlgError:  # not positive: only more damping helps
            trial, trial_cost = state, np.inf
        if trial_cost <= cost:
            gain = (cost - trial_cost) / max(cost, np.finfo(float).tiny)
            state, cost, normal = _weighted(problem, trial, threshold), trial_cost, None
            damping = max(damping / 10.0, 1e-12)
            if gain < (_SMALLEST_STEP if threshold == np.inf else _SMALLEST_ROBUST):
                return state
        else:
            if trial_cost - cost <= 1e-9 * cost or (damping > 1e12 and np.isfinite(trial_cost)):
                return state  # at rounding
            damping *= 10.0
    length = float(np.sqrt(cost / len(problem.views)))
    raise ConvergenceError(
        f"the bundle adjustment must settle within {_MAX_STEPS} steps, got a residual of {length:g} nm r.m.s. "
        "that still falls: start nearer (tilt_axis_deg, tilt_angles_deg), or solve fewer parameters."
    )


def _weighted(problem: Problem, state: State, threshold: float) -> State:
    if not np.isfinite(threshold):
        return state
    weights = tukey_weights(residuals(problem, state), threshold)
    weights[_is_needed(problem, weights)] = _FAINT
    return replace(state, weights=weights)


def noise_scale(problem: Problem, error: np.ndarray) -> float:
    """Standard deviation of one coordinate of an observation, by the upper quartile of the lengths of residuals.

    Made larger for what the unknowns took up. Up to a quarter may be outliers; the median would bear a half, but calls
    many of those outliers that drift together, as tracked patches do.
    """
    lengths = np.hypot(error[:, 0], error[:, 1])
    n = 2 * len(lengths)
    freedom = max(n - problem.n_unknowns, 1)
    return float(np.quantile(lengths, _QUANTILE) / _QUANTILE_LENGTH * np.sqrt(n / freedom))


def tukey_weights(error: np.ndarray, cutoff: float) -> np.ndarray:
    """(1 - (length / cutoff)^2)^2, and 0 from the cutoff on, shape (n,)."""
    ratio = (error**2).sum(axis=1) / cutoff**2
    return np.where(ratio < 1.0, (1.0 - ratio) ** 2, 0.0)


def robust(problem: Problem, state: State, cutoff: float) -> State:
    """The state with weights by Tukey, `cutoff` in standard deviations; infinite for least squares.

    The scale of the noise comes from the residuals and is held once it settles: taken anew for ever it would
    shrink with each observation that it casts out, as those of a drifting patch, which are wrong together.
    """
    state = minimise(problem, state)
    scale = np.inf
    for _ in range(_MAX_ROUNDS if np.isfinite(cutoff) else 0):
        before, scale = scale, noise_scale(problem, residuals(problem, state))
        if scale <= _ROUNDING * np.abs(problem.positions).max():
            break  # nothing is left over
        state = replace(minimise(problem, state, cutoff * scale), scale=scale)
        if np.isfinite(before) and scale > _FALL * before:
            break
    return state


def _is_needed(problem: Problem, weights: np.ndarray) -> np.ndarray:
    """Observations of a view or point that would keep under two: it must stay somewhere, however weakly."""
    kept = weights > _FAINT
    few_in_view = np.bincount(problem.views[kept], minlength=problem.n_views) < 2
    few_of_point = np.bincount(problem.points[kept], minlength=problem.n_points) < 2
    return ~kept & (few_in_view[problem.views] | few_of_point[problem.points])


def undetermined(problem: Problem, state: State) -> list[int]:
    """Indices of parameters that the observations do not tell apart; empty where they tell all."""
    n = problem.n_parameters
    if not n:
        return []
    matrix = normal_equations(problem, state).matrix
    shifts = scipy.linalg.cho_factor(matrix[n:, n:])
    reduced = matrix[:n, :n] - matrix[:n, n:] @ scipy.linalg.cho_solve(shifts, matrix[n:, :n])
    whole = np.sqrt(np.maximum(np.diag(matrix)[:n], np.finfo(float).tiny))
    values, vectors = np.linalg.eigh(reduced / whole / whole[:, None])
    shares = (vectors[:, values < _SINGULAR] ** 2).sum(axis=1)
    owner = np.repeat(problem.solved, [problem.designs[index].shape[1] for index in problem.solved])
    total = np.bincount(owner, shares, minlength=len(tilt_model.PARAMETERS))
    return [int(index) for index in np.flatnonzero(total > 0.02)]
