"""How well a bundle adjustment is determined: uncertainties, and each observation predicted without itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg

from tomo3d.compute import bundle

_AT_A_TIME = 4096  # observations
_ALONE = 1e-8  # determinant of 1 - leverage of an observation that nothing else predicts


@dataclass(frozen=True, eq=False)
class Errors:
    """What is uncertain about a solution.

    Parameters
    ----------
    parameters : ndarray, shape (n_views, 9)
        Standard deviations, angles in radians; 0 for what was not solved.
    points : ndarray, shape (n_points, 3)
        Standard deviations (z, y, x) of points from their centroid.
    left_out : ndarray, shape (n, 2)
        Measured minus predicted from all other observations, to first order; nan where they predict nothing.
    """

    parameters: np.ndarray
    points: np.ndarray
    left_out: np.ndarray


def errors(problem: bundle.Problem, state: bundle.State, cutoff: float) -> Errors:
    """Uncertainties at a solution by `bundle.robust` with the same cutoff.

    The noise is what the residuals say, with as many degrees of freedom as the unknowns left. For robust weights the
    asymptotic variance of an M-estimate (Huber and Ronchetti, Robust Statistics, 2009, chapter 7,
    doi:10.1002/9780470434697): the mean square of the influence over the squared mean of its slope.
    """
    normal = bundle.normal_equations(problem, state)
    covariance = scipy.linalg.inv(normal.matrix)
    error = bundle.residuals(problem, state)
    variance = _variance(problem, state, error, cutoff)
    return Errors(
        parameters=np.sqrt(variance) * _parameter_deviations(problem, covariance),
        points=np.sqrt(variance) * _point_deviations(normal, covariance),
        left_out=_left_out(problem, state, error, normal, covariance),
    )


def _variance(problem: bundle.Problem, state: bundle.State, error: np.ndarray, cutoff: float) -> float:
    """What the inverse of the weighted normal matrix is to be multiplied by."""
    freedom = max(2 * len(error) - problem.n_unknowns, 1)
    squares = float(((state.weights[:, None] * error) ** 2).sum()) / freedom
    if not np.isfinite(cutoff) or not np.isfinite(state.scale):
        return squares
    ratio = np.minimum((error**2).sum(axis=1) / (cutoff * state.scale) ** 2, 1.0)
    slope = float(np.mean((1.0 - ratio) * (1.0 - 3.0 * ratio)))
    return squares / slope**2 * float(state.weights.mean())


def _parameter_deviations(problem: bundle.Problem, covariance: np.ndarray) -> np.ndarray:
    deviations = np.zeros_like(problem.start)
    first = 0
    for index in problem.solved:
        design = problem.designs[index]
        block = slice(first, first + design.shape[1])
        deviations[:, index] = np.sqrt(np.einsum("vk,kl,vl->v", design, covariance[block, block], design))
        first += design.shape[1]
    return deviations


def _point_deviations(normal: bundle.Normal, covariance: np.ndarray) -> np.ndarray:
    n = len(normal.to_points)
    alone = np.diagonal(normal.points_inverse, axis1=1, axis2=2)
    of_centroid = alone.sum(axis=0) / n**2
    answers = normal.to_points - normal.to_points.mean(axis=0)
    through_views = np.einsum("jam,jam->ja", answers @ covariance, answers)
    return np.asarray(np.sqrt(alone * (1.0 - 2.0 / n) + of_centroid + through_views))


def _left_out(
    problem: bundle.Problem,
    state: bundle.State,
    error: np.ndarray,
    normal: bundle.Normal,
    covariance: np.ndarray,
) -> np.ndarray:
    by_view, by_point = bundle.jacobian(problem, state)
    chain = problem.chain().reshape(problem.n_views, by_view.shape[2], -1)
    result = np.empty_like(error)
    for first in range(0, len(error), _AT_A_TIME):
        part = slice(first, first + _AT_A_TIME)
        views, points, on_point = problem.views[part], problem.points[part], by_point[part]
        slopes = by_view[part] @ chain[views] - on_point @ normal.to_points[points]
        predicted = (slopes @ covariance) @ slopes.transpose(0, 2, 1)
        predicted += on_point @ normal.points_inverse[points] @ on_point.transpose(0, 2, 1)
        rest = np.eye(2) - state.weights[part, None, None] * predicted
        alone = np.linalg.det(rest) < _ALONE
        rest[alone] = np.eye(2)
        result[part] = np.linalg.solve(rest, error[part, :, None])[:, :, 0]
        result[part][alone] = np.nan
    return result
