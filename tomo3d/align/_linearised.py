"""How the views change with the parameters of their alignment, and the step that leaves least unexplained."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from tomo3d import geometry
from tomo3d.compute.explained import Explanation, joined
from tomo3d.types import Alignment

PARAMETERS = ("shifts", "tilt_axis", "tilt_angles", "magnification")
_EXPECTED = {  # what a pass changes it by at most without evidence
    "tilt_axis": np.deg2rad(2.0),
    "tilt_angles": np.deg2rad(0.5),
    "magnification": 0.005,
}
_MAX_STEPS = 12  # of conjugate gradients
_THIN, _ENOUGH_SLICES = 2, 64  # every second slice says how the views change, where that leaves enough


@dataclass(frozen=True, eq=False)
class Step:
    """What one step changes: shifts (n_views, 2) in pixels as (y, x), axis, angles in radians, and the rest."""

    shifts_px: np.ndarray
    tilt_axis: float
    tilt_angles: np.ndarray
    magnification: np.ndarray
    offsets: np.ndarray  # grey values to add to the views: where zero is is not known better than that

    def applied(self, alignment: Alignment, pixel_size_nm: float) -> Alignment:
        """The alignment after the step."""
        scale = 1.0 + self.magnification
        moved = replace(
            alignment,
            shifts_nm=(alignment.shifts_nm + self.shifts_px * pixel_size_nm) / scale[:, None],
            tilt_angles_deg=alignment.tilt_angles_deg + np.rad2deg(self.tilt_angles),
            magnification=alignment.magnification * scale,
        )
        if self.tilt_axis == 0.0:
            return moved
        turn_deg = float(np.rad2deg(self.tilt_axis))
        return replace(
            moved,
            shifts_nm=moved.shifts_nm @ geometry.rotation_yx(-turn_deg).T,
            tilt_axis_deg=moved.tilt_axis_deg + turn_deg,
        )


class Linearised:
    """Weighted views as a linear function of their alignment, w (b + J p), p about zero.

    Arrays are in the inner order of the projector, (n_views, n_u + padding, n_y).

    Parameters
    ----------
    explanation : Explanation
    volume : ndarray, shape (n_z, n_x, n_y)
        Its projections, which have less noise than the views, are what moves.
    solve : tuple of str
        Any of "shifts", "tilt_axis", "tilt_angles", "magnification".
    slice_step : int
        Pixels from one slice along y to the next.
    """

    def __init__(
        self, explanation: Explanation, volume: np.ndarray, solve: tuple[str, ...], *, slice_step: int = 1
    ) -> None:
        self.explanation = explanation
        projector = explanation.projector
        self.n_views = projector.n_views
        weights, inside = explanation.weights, projector.inside
        model = explanation.predict(volume)
        along, across = _slope(model, 2, step=slice_step), _slope(model, 1)
        u = np.zeros(model.shape[1], dtype=np.float32)
        u[inside] = geometry.coordinates(projector.n_u)
        v = (slice_step * geometry.coordinates(model.shape[2])).astype(np.float32)
        u, v = u[None, :, None], v[None, None, :]
        self.columns: list[tuple[str, np.ndarray]] = []  # one parameter per view
        if "shifts" in solve:
            self.columns += [("shift_y", -along * weights), ("shift_x", -across * weights)]
        if "tilt_angles" in solve:
            self.columns.append(("tilt_angles", -self._turned_views(volume) * weights))
        if "magnification" in solve:
            self.columns.append(("magnification", (u * across + v * along) * weights))
        self.columns.append(("offset", weights))
        self.axis = (u * along - v * across) * weights if "tilt_axis" in solve else None
        self.powers = self._powers()

    def _powers(self) -> np.ndarray:
        """What is left of the views, at most, by each parameter alone."""
        return np.concatenate([_per_view(c, c) for _, c in self.columns] + self._of_axis(self.axis))

    def thinned(self, step: int) -> Linearised:
        """The same of every `step`-th slice."""
        slices = slice((step - 1) // 2, None, step)
        thin = copy.copy(self)
        thin.explanation = self.explanation.slices(slices)
        thin.columns = [(name, np.ascontiguousarray(column[:, :, slices])) for name, column in self.columns]
        thin.axis = None if self.axis is None else np.ascontiguousarray(self.axis[:, :, slices])
        thin.powers = thin._powers()
        return thin

    def by_kind(self, powers: np.ndarray) -> np.ndarray:
        """Each parameter's mean over the views of its kind."""
        means = powers.copy()
        n = self.n_views
        for k in range(len(self.columns)):
            means[k * n : (k + 1) * n] = powers[k * n : (k + 1) * n].mean()
        return means

    def _turned_views(self, volume: np.ndarray) -> np.ndarray:
        """Derivative of the projections with respect to their tilt angles."""
        projector = self.explanation.projector
        tilt = np.deg2rad(np.asarray(projector.tilt_angles_deg))[:, None, None]
        x = geometry.coordinates(volume.shape[1]).astype(np.float32)[None, :, None]
        z = geometry.coordinates(volume.shape[0]).astype(np.float32)[:, None, None]
        by_x, by_z = (self.explanation.predict(np.ascontiguousarray(volume * each)) for each in (x, z))
        return np.asarray(_slope((np.sin(tilt) * by_x - np.cos(tilt) * by_z).astype(np.float32), 1))

    def _of_axis(self, images: np.ndarray | None) -> list[np.ndarray]:
        """[<axis column, images>], where the axis is solved for."""
        if self.axis is None or images is None:
            return []
        return [np.array([np.vdot(self.axis, images)], dtype=np.float64)]

    def change(self, p: np.ndarray) -> np.ndarray:
        """w J p."""
        total = np.zeros_like(self.explanation.weights)
        for k, (_, column) in enumerate(self.columns):
            part = p[k * self.n_views : (k + 1) * self.n_views].astype(np.float32)
            total += part[:, None, None] * column
        if self.axis is not None:
            total += np.float32(p[-1]) * self.axis
        return total

    def transposed(self, images: np.ndarray) -> np.ndarray:
        """J' w images."""
        return np.concatenate([_per_view(c, images) for _, c in self.columns] + self._of_axis(images))

    def free_modes(self) -> np.ndarray:
        """(n_parameters, n_modes): what only moves, turns or scales the specimen as a whole."""
        n, tilt = self.n_views, np.deg2rad(np.asarray(self.explanation.projector.tilt_angles_deg))
        modes = []
        for k, (name, _) in enumerate(self.columns):
            shapes = {"shift_x": (np.cos(tilt), np.sin(tilt))}.get(name, (np.ones(n),))
            for shape in shapes:
                mode = np.zeros(len(self.powers))
                mode[k * n : (k + 1) * n] = shape
                modes.append(mode)
        return np.stack(modes, axis=1)

    def step(self, p: np.ndarray) -> Step:
        """Parameters by name."""
        n = self.n_views
        parts = {name: p[k * n : (k + 1) * n] for k, (name, _) in enumerate(self.columns)}
        zero = np.zeros(n)
        return Step(
            shifts_px=np.stack([parts.get("shift_y", zero), parts.get("shift_x", zero)], axis=1),
            tilt_axis=0.0 if self.axis is None else float(p[-1]),
            tilt_angles=parts.get("tilt_angles", zero),
            magnification=parts.get("magnification", zero),
            offsets=parts["offset"],
        )


class ScaledNormal:
    """H q = g in parameters scaled to unit power, within what is not free.

    Views are smooth along y, so that where there are many slices every second one gives H, times two.
    `noise_power` is the spectral density of the noise, grey value squared times pixels; `damping` holds back
    combinations of the parameters of single views of which the views fix less than this share.
    """

    def __init__(self, linear: Linearised, noise_power: float, damping: float = 0.0) -> None:
        self.linear = linear
        powers = np.maximum(linear.powers, 1e-12 * float(linear.powers.max()) + 1e-30)
        self.scale = 1.0 / np.sqrt(powers)
        free, _ = np.linalg.qr(linear.free_modes() / self.scale[:, None])
        self._free = free
        damped = np.full(len(powers), damping)
        for k, (name, _) in enumerate(linear.columns):
            if name in _EXPECTED:
                part = slice(k * linear.n_views, (k + 1) * linear.n_views)
                damped[part] += noise_power / (powers[part] * _EXPECTED[name] ** 2)
        if linear.axis is not None:
            damped[-1] = noise_power / (powers[-1] * _EXPECTED["tilt_axis"] ** 2)
        self._damping = damped
        n_slices = linear.explanation.weights.shape[2]
        self.thin = linear.thinned(_THIN) if n_slices >= _ENOUGH_SLICES else linear
        left_out = linear.by_kind(powers) / np.maximum(linear.by_kind(self.thin.powers), 1e-30)
        self._thin_scale = self.scale * np.sqrt(left_out)

    def without_free(self, q: np.ndarray) -> np.ndarray:
        """The part of q that is not free."""
        return np.asarray(q - self._free @ (self._free.T @ q))

    def gradient(self, rest: np.ndarray) -> np.ndarray:
        """g, from what is unexplained now."""
        return self.without_free(-self.scale * self.linear.transposed(rest))

    def solve(self, rest: np.ndarray, *, tolerance: float = 0.05) -> np.ndarray:
        """The parameters, by conjugate gradients down to a share of the gradient."""
        return solve_together([self], [rest], tolerance=tolerance)[0]

    def change(self, q: np.ndarray) -> np.ndarray:
        """What q changes of the weighted views, in the slices that H is taken from."""
        return self.thin.change(self._thin_scale * q)

    def response(self, rest: np.ndarray, q: np.ndarray) -> np.ndarray:
        """H q, from what no volume explains of that change."""
        return self.without_free(self._thin_scale * self.thin.transposed(rest) + self._damping * q)


def solve_together(
    systems: list[ScaledNormal], rests: list[np.ndarray], *, tolerance: float
) -> list[np.ndarray]:
    """The parameters of systems on different slices of one projector, which is quicker than one after the other."""
    parts = [system.thin.explanation for system in systems]
    explanation = parts[0] if len(parts) == 1 else joined(parts)
    ends = np.cumsum([part.weights.shape[2] for part in parts])[:-1]
    n_parameters = len(systems[0].scale)

    def product(q: np.ndarray) -> np.ndarray:
        own = q.reshape(len(systems), n_parameters)
        changes = [system.change(each) for system, each in zip(systems, own, strict=True)]
        rest, _ = explanation.split(changes[0] if len(changes) == 1 else np.concatenate(changes, axis=2))
        left = np.split(rest, ends, axis=2)
        return np.concatenate(
            [system.response(*each) for system, *each in zip(systems, left, own, strict=True)]
        )

    right = np.concatenate([system.gradient(rest) for system, rest in zip(systems, rests, strict=True)])
    q = _conjugate_gradients(product, right, tolerance).reshape(len(systems), n_parameters)
    return [system.scale * each for system, each in zip(systems, q, strict=True)]


def _conjugate_gradients(
    product: Callable[[np.ndarray], np.ndarray], right: np.ndarray, tolerance: float
) -> np.ndarray:
    """x with product(x) = right, for a symmetric positive operator."""
    x, rest = np.zeros_like(right), right.copy()
    direction, power = rest.copy(), float(rest @ rest)
    enough = tolerance**2 * power
    for _ in range(_MAX_STEPS):
        if power <= enough or power == 0.0:
            break
        image = product(direction)
        curvature = float(direction @ image)
        if curvature <= 0.0:
            break
        length = power / curvature
        x += length * direction
        rest -= length * image
        power, before = float(rest @ rest), power
        direction = rest + (power / before) * direction
    return x


_DIFFERENCES = ((2, (2 / 3, -1 / 12)), (4, (4 / 5, -1 / 5, 4 / 105, -1 / 280)))


def _slope(images: np.ndarray, axis: int, *, step: int = 1) -> np.ndarray:
    """Derivative along an axis by differences of fourth order, zero within two samples of the ends.

    Of eighth order, from four samples on, where samples are `step` pixels apart.
    """
    slope = np.zeros_like(images)
    n = images.shape[axis]

    def at(first: int, end: int) -> tuple[slice, ...]:
        return tuple(slice(first, end) if k == axis else slice(None) for k in range(images.ndim))

    for reach, factors in _DIFFERENCES[: min(step, 2)]:
        if n <= 2 * reach:
            break
        inside = slope[at(reach, n - reach)]
        inside[...] = 0.0
        for away, factor in enumerate(factors, start=1):
            near = images[at(reach + away, n - reach + away)] - images[at(reach - away, n - reach - away)]
            near *= np.float32(factor / step)
            inside += near
    return slope


def _per_view(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Inner products (n_views,) of views in double precision."""
    return np.einsum("vuy,vuy->v", a, b, dtype=np.float64, optimize=False)
