"""A smooth field of local shifts, from what a bundle adjustment leaves over.

The field is a Gaussian process: nodes of one view resemble their neighbours within a length, views their neighbours
within some degrees of tilt (C. E. Rasmussen and C. K. I. Williams, Gaussian Processes for Machine Learning, 2006,
chapter 2). It is solved for together with the parameters and shifts of all views and with the points, linearised about
the adjustment, so that nothing is put into the field that these explain as well. How much it may say is judged by
tracks that are left out whole, with all others at their place: their observations are close to one another, and would
vouch for each other; pieces of the track of one patch even share some.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import scipy.cluster.hierarchy
import scipy.linalg

from tomo3d import geometry
from tomo3d.compute import bundle

_LEAST_VARIANCE = 1e-2  # of a mode, over that of the first: fainter ones are left out
_LEAST_REST = 1e-6  # of an observation that others do not fix
_ONE_PLACE = 0.06  # of the edge of a view
_FAINT = 1e-8  # weight of what counts for nothing, so that its own residual is still known


@dataclass(frozen=True)
class Smoothness:
    """What a field may be.

    Parameters
    ----------
    length : float
        Distance over which it changes, over the mean edge of a view.
    tilt_deg : float
        Likewise between views: 0 for views of which each has its own, inf for one field for all.
    strength : float
        Its standard deviation over that of the noise of a coordinate; 0 for none.
    """

    length: float
    tilt_deg: float
    strength: float


@dataclass(frozen=True, eq=False)
class Modes:
    """Fields of unit variance as sums: over views (n_views, m_t) and over nodes (n_nodes_y, n_nodes_x, m_s)."""

    of_views: np.ndarray
    of_nodes: np.ndarray

    @classmethod
    def of(
        cls,
        smoothness: Smoothness,
        tilt_angles_deg: np.ndarray,
        n_nodes: tuple[int, int],
        edges: tuple[float, float],
    ) -> Modes:
        """Modes of views at these tilts, with n_nodes (y, x) over views of `edges` (y, x)."""
        between = np.abs(tilt_angles_deg[:, None] - tilt_angles_deg[None, :])
        if smoothness.tilt_deg == 0.0:
            of_views = np.eye(len(tilt_angles_deg))
        else:
            of_views = _roots(np.exp(-0.5 * (between / smoothness.tilt_deg) ** 2))
        y, x = ((np.arange(n) + 0.5) / n * edge for n, edge in zip(n_nodes, edges, strict=True))
        places = np.stack(np.meshgrid(y, x, indexing="ij"), axis=-1).reshape(-1, 2) / np.mean(edges)
        squares = ((places[:, None] - places[None]) ** 2).sum(axis=-1)
        return cls(of_views, _roots(np.exp(-0.5 * squares / smoothness.length**2)).reshape(*n_nodes, -1))

    @property
    def n(self) -> int:
        """Number of coefficients of both components."""
        return 2 * self.of_views.shape[1] * self.of_nodes.shape[2]

    def field(self, coefficients: np.ndarray) -> np.ndarray:
        """Nodes (n_views, n_nodes_y, n_nodes_x, 2) of coefficients (n,)."""
        shaped = coefficients.reshape(self.of_views.shape[1], self.of_nodes.shape[2], 2)
        return np.einsum("vt,yxs,tsi->vyxi", self.of_views, self.of_nodes, shaped, optimize=True)

    def slopes(self, fractions: np.ndarray, views: np.ndarray) -> np.ndarray:
        """Derivative of either component at places of views, (n_places, m_t m_s)."""
        along, across = (
            geometry.node_weights(fractions[:, axis], self.of_nodes.shape[axis]) for axis in (0, 1)
        )
        at = np.einsum("ny,nx,yxs->ns", along, across, self.of_nodes, optimize=True)
        return (self.of_views[views][:, :, None] * at[:, None, :]).reshape(len(views), -1)


def places_of(points: np.ndarray, extent: float) -> np.ndarray:
    """Points (n, 3) by the place that they are at, (n,) int: places are at most `extent` wide in y and in x."""
    return np.asarray(
        scipy.cluster.hierarchy.fclusterdata(points[:, 1:], extent, "distance", method="complete")
    )


def _roots(covariance: np.ndarray) -> np.ndarray:
    """Columns whose products add up to the covariance."""
    values, vectors = np.linalg.eigh(covariance)
    kept = values > _LEAST_VARIANCE * values[-1]
    return np.asarray(vectors[:, kept] * np.sqrt(values[kept]))


@dataclass(frozen=True, eq=False)
class Fit:
    """A field that was fitted.

    Parameters
    ----------
    nodes : ndarray, shape (n_views, n_nodes_y, n_nodes_x, 2)
        How far the content of the views lies from where a rigid specimen would have it, (y, x).
    held_out : ndarray, shape (n_points,)
        R.m.s. distance of each track from what those at other places predict, its own point fitted.
    error : float
        The same over all tracks.
    left_out : ndarray, shape (n, 2)
        Each observation as all others predict it: measured minus that; nan where they predict nothing.
    n_unknowns : float
        How many unknowns the field is worth.
    """

    nodes: np.ndarray
    held_out: np.ndarray
    error: float
    left_out: np.ndarray
    n_unknowns: float


class Fitter:
    """Fields for one solved bundle adjustment.

    Parameters
    ----------
    problem, state
        Its input and solution; positions already without the field of `before`.
    places : ndarray, shape (n, 2)
        Where in the raw view each observation is expected, as fractions of the view.
    edges : tuple of float
        (y, x) of the view, in the unit of the points.
    before : ndarray, shape (n, 2), optional
        The field that the positions are without.
    """

    def __init__(
        self,
        problem: bundle.Problem,
        state: bundle.State,
        places: np.ndarray,
        edges: tuple[float, float],
        before: np.ndarray | None = None,
    ) -> None:
        state = replace(state, weights=np.maximum(state.weights, _FAINT))
        self._problem, self._places, self._edges = problem, places, edges
        self._order = np.argsort(problem.points, kind="stable")  # by track
        self._ends = np.cumsum(np.bincount(problem.points, minlength=problem.n_points))
        self._roots = np.sqrt(state.weights[self._order])
        self._groups = places_of(state.points, _ONE_PLACE * float(np.mean(edges)))
        by_view, by_point = bundle.jacobian(problem, state)
        error = bundle.residuals(problem, state)
        self.n_places = int(self._groups.max())
        self.noise = float(np.sqrt(0.5 * (state.weights @ (error**2).sum(axis=1)) / state.weights.sum()))
        chain = problem.chain().reshape(problem.n_views, by_view.shape[2], -1)
        on_views = np.empty((len(by_view), 2, chain.shape[2]))
        for view in range(problem.n_views):
            on_views[problem.views == view] = by_view[problem.views == view] @ chain[view]
        on_point = self._weighted(by_point)
        self._by_point = [np.linalg.qr(on_point[part])[0] for part in self._tracks()]
        self._on_views = self._without_points(self._weighted(on_views))
        rest = error if before is None else error + before
        self._rest = self._without_points(self._weighted(rest[:, :, None]))[:, 0]
        self._views_matrix = bundle.normal_equations(problem, state).matrix

    def _weighted(self, values: np.ndarray) -> np.ndarray:
        """(n, 2, k) by track, times the root of the weights, as rows (2 n, k)."""
        ordered = self._roots[:, None, None] * values[self._order]
        return np.asarray(ordered.reshape(-1, values.shape[2]))

    def _tracks(self) -> list[slice]:
        return [slice(2 * a, 2 * b) for a, b in zip((0, *self._ends[:-1]), self._ends, strict=True)]

    def _without_points(self, rows: np.ndarray) -> np.ndarray:
        """Rows less what a point of each track explains of them."""
        rest = np.empty_like(rows)
        for part, basis in zip(self._tracks(), self._by_point, strict=True):
            rest[part] = rows[part] - basis @ (basis.T @ rows[part])
        return rest

    def fit(
        self, smoothness: Smoothness, tilt_angles_deg: np.ndarray, used: np.ndarray, n_nodes: tuple[int, int]
    ) -> Fit:
        """The most likely field of all views at these tilts, of which the adjustment has the `used` ones."""
        modes = Modes.of(smoothness, tilt_angles_deg, n_nodes, self._edges)
        n, first = modes.n, self._on_views.shape[1]
        rows = np.empty((len(self._rest), first + (n if smoothness.strength else 0)))
        rows[:, :first] = self._on_views
        if smoothness.strength:
            rows[:, first:] = self._field_rows(modes, used)
        matrix = rows.T @ rows
        matrix[:first, :first] = self._views_matrix
        if smoothness.strength:
            diagonal = np.arange(first, first + n)
            matrix[diagonal, diagonal] += 1.0 / smoothness.strength**2
        factor = scipy.linalg.cholesky(matrix, lower=True, overwrite_a=True)
        half = scipy.linalg.solve_triangular(factor, rows.T, lower=True)
        solved = scipy.linalg.solve_triangular(factor.T, half @ self._rest, lower=False)
        error = self._rest - rows @ solved
        held_out, squares = self._tracks_left_out(half, error)
        nodes = (
            modes.field(solved[first:])
            if smoothness.strength
            else np.zeros((len(tilt_angles_deg), *n_nodes, 2))
        )
        return Fit(
            nodes=nodes,
            held_out=held_out,
            error=float(np.sqrt(squares / (self._roots**2).sum())),
            left_out=self._observations_left_out(half, error),
            n_unknowns=max(0.0, float((half**2).sum()) - (first - 3)),
        )

    def _field_rows(self, modes: Modes, used: np.ndarray) -> np.ndarray:
        slopes = modes.slopes(self._places, used[self._problem.views])
        both = np.zeros((len(slopes), 2, slopes.shape[1], 2))
        both[:, 0, :, 0] = both[:, 1, :, 1] = slopes
        return self._without_points(self._weighted(both.reshape(len(slopes), 2, -1)))

    def _tracks_left_out(self, half: np.ndarray, error: np.ndarray) -> tuple[np.ndarray, float]:
        """R.m.s. of each track, left out with those at its place, and the sum of squares of all."""
        roots, tracks = np.repeat(self._roots, 2), self._tracks()
        lengths, total = np.empty(self._problem.n_points), 0.0
        for group in np.unique(self._groups):
            members = np.flatnonzero(self._groups == group)
            rows = np.concatenate([np.arange(tracks[point].start, tracks[point].stop) for point in members])
            rest = np.eye(len(rows)) - half[:, rows].T @ half[:, rows]
            values, vectors = np.linalg.eigh(rest)
            alone = vectors @ ((vectors.T @ error[rows]) / np.maximum(values, _LEAST_REST))
            total += float(alone @ alone)
            ends = np.cumsum([tracks[point].stop - tracks[point].start for point in members])
            for point, part in zip(members, np.split(alone, ends[:-1]), strict=True):
                lengths[point] = np.sqrt(2.0 * (part @ part) / (roots[tracks[point]] ** 2).sum())
        return lengths, total

    def _observations_left_out(self, half: np.ndarray, error: np.ndarray) -> np.ndarray:
        own = np.concatenate([basis.reshape(-1, 2, 3) for basis in self._by_point])
        seen = half.T.reshape(-1, 2, len(half))
        hat = own @ own.transpose(0, 2, 1) + seen @ seen.transpose(0, 2, 1)
        rest = np.eye(2) - hat
        alone = np.linalg.det(rest) < _LEAST_REST
        rest[alone] = np.eye(2)
        lengths = np.linalg.solve(rest, error.reshape(-1, 2, 1))[:, :, 0] / self._roots[:, None]
        lengths[alone] = np.nan
        result = np.empty_like(lengths)
        result[self._order] = lengths
        return result
