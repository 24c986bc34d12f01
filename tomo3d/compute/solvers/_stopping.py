"""When to stop: rules that look at a pilot block, so that all slabs stop after the same number of iterations."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from tomo3d.compute.solvers._constraint import Constraint
from tomo3d.compute.solvers._equations import Array, Equations, Method
from tomo3d.compute.solvers._margin import Judged, judged

_PATIENCE = 5  # iterations without a better one, at least; and a quarter of those done
_LEAST_VIEWS = 4  # two halves of two views


@dataclass(frozen=True, eq=False)
class Pilot:
    """A block of slices to try a method on; `scale` turns its residuals into those of the images."""

    equations: Equations
    start: Array
    constraint: Constraint
    scale: float


@dataclass(frozen=True)
class Discrepancy:
    """Stop when the r.m.s. residual of a pixel is down to `tau` times the noise: the discrepancy principle.

    `noise_sigma` is the standard deviation of the noise, in the grey values of the images (V. A. Morozov, Soviet Math.
    Dokl. 7 (1966) 414-417). Judged on all pixels, and on those alone whose rays stay within the volume through its
    whole thickness, as others may see what no voxel stands for: whichever is down first.
    """

    noise_sigma: float
    tau: float = 1.0

    def __post_init__(self) -> None:
        for name in ("noise_sigma", "tau"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} of a discrepancy must be positive, got {value:g}.")

    def best(self, method: Method, pilot: Pilot, n_iterations: int) -> tuple[int, str]:
        """How many iterations to do, at most `n_iterations`, and why."""
        x, limit = pilot.start.copy(), self.tau * self.noise_sigma
        within = judged(pilot.equations)
        choices = [(pixels, max(1, pixels.count(pilot.equations))) for pixels in (within.everywhere, within)]
        rms, text = math.inf, ""
        for n_done, powers in zip(range(n_iterations), _powers(method, pilot, x, within), strict=False):
            means = [power / n for power, (_, n) in zip(powers, choices, strict=False)]
            rms, chosen = math.sqrt(min(means)) * pilot.scale, choices[means.index(min(means))][0]
            text = f"{self.tau:g} x {self.noise_sigma:g}{chosen.note}"
            if rms <= limit:
                return max(1, n_done), f"r.m.s. residual {rms:.4g}, at most {text}"
        return n_iterations, f"n_iterations; r.m.s. residual {rms:.4g}, not yet {text}"

    def __str__(self) -> str:
        return f"discrepancy:{self.noise_sigma:g},{self.tau:g}"


def _powers(method: Method, pilot: Pilot, x: Array, within: Judged) -> Iterator[tuple[float, ...]]:
    """|b - A x|^2 after 0, 1, ... iterations: over all pixels, which the method knows, and over those within."""
    steps = method.steps(pilot.equations, x, pilot.constraint)
    if within.pixels is None:
        yield from ((step.power,) for step in steps)
        return
    room = pilot.equations.images()
    while True:
        power = within.power(pilot.equations, x, room)  # before x changes
        yield next(steps).power, power


@dataclass(frozen=True)
class HalvesAgree:
    """Stop when the volumes of the even and of the odd views predict each other's views best.

    Cross-validation (M. Stone, J. R. Stat. Soc. B 36 (1974) 111-147, doi:10.1111/j.2517-6161.1974.tb00994.x): no
    view is predicted by a volume that it went into, so that noise does not praise itself. The volumes themselves
    correlate best when both are blurred, after the first iteration, and cannot say when to stop. Half of the
    views carry half of the signal: the whole could bear a few more iterations. Only rays that stay
    within the volume are to be predicted.
    """

    def best(self, method: Method, pilot: Pilot, n_iterations: int) -> tuple[int, str]:
        """How many iterations to do, at most `n_iterations`, and why.

        Raises
        ------
        ValueError
            If there are fewer than four views, or fewer than two of a series that is one of several.
        """
        index = halves(pilot.equations.projector)
        whole = judged(pilot.equations)
        parts = [pilot.equations.views(i) for i in index]
        chosen = [whole.views(i) for i in index]
        volumes = [pilot.start.copy() for _ in parts]
        runs = [method.steps(h, x, pilot.constraint) for h, x in zip(parts, volumes, strict=True)]
        best, least = 1, math.inf
        for n_done in range(1, n_iterations + 1):
            error = 0.0
            for run, x, other, pixels in zip(runs, volumes, parts[::-1], chosen[::-1], strict=True):
                next(run)
                error += pixels.power(other, x, other.images())
            if error < least:
                best, least = n_done, error
            elif n_done - best >= max(_PATIENCE, best // 4):
                break
        n_judged = sum(pixels.count(half) for pixels, half in zip(chosen, parts, strict=True))
        rms = math.sqrt(least / max(1, n_judged)) * pilot.scale
        reason = f"halves predict each other's views best, r.m.s. {rms:.4g}{whole.note}"
        return best, reason if best < n_iterations else f"n_iterations; {reason} so far"

    def __str__(self) -> str:
        return "halves"


def halves(projector: Any) -> list[np.ndarray]:
    """Indices of the even and of the odd views by angle; of each series where a projector joins several."""
    parts = getattr(projector, "parts", (projector,))
    least, orders, first = _LEAST_VIEWS // len(parts), [], 0
    for part in parts:
        if part.n_views < least:
            each = "" if len(parts) == 1 else " of each series"
            raise ValueError(f"stop 'halves' needs at least {least} views in use{each}, got {part.n_views}.")
        orders.append(first + np.argsort(part.tilt_angles_deg, kind="stable"))
        first += part.n_views
    return [np.concatenate([order[start::2] for order in orders]) for start in (0, 1)]


StoppingRule: TypeAlias = Discrepancy | HalvesAgree


_RULES: dict[str, Callable[..., StoppingRule]] = {"discrepancy": Discrepancy, "halves": HalvesAgree}


def parse_stop(stop: StoppingRule | str | None) -> StoppingRule | None:
    """A stopping rule from its name and parameters, as "halves" or "discrepancy:2.5".

    Raises
    ------
    ValueError
        If the name is unknown or a parameter does not fit.
    """
    if not isinstance(stop, str):
        return stop
    name, _, text = stop.partition(":")
    if name not in _RULES:
        raise ValueError(f"stop must be discrepancy:SIGMA (the noise of a pixel) or halves, got {stop!r}.")
    if name == "discrepancy" and not text:
        raise ValueError(f"stop 'discrepancy' needs the noise of a pixel, as discrepancy:2.5, got {stop!r}.")
    try:
        return _RULES[name](*(float(word) for word in text.split(",") if word))
    except (TypeError, ValueError) as error:
        raise ValueError(f"stop {name!r} has parameters that do not fit, got {stop!r}: {error}") from error
