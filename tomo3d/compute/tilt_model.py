"""How points of a specimen land in the views of a tilt series: the model of bundle adjustment, and its derivatives.

A view sees a point X as P X + d, in the raw image. P is made of nine parameters that act in this order (that of
IMOD's tiltalign): magnification m, thinning f along z, stretch s of x, skew k of x towards y; x-axis tilt a; tilt t
about an axis that a beam tilt g takes out of the plane; direction r of the axis in the image; stretch q of the
projection:

    P = [1 q; q 1]  R(r)  (x, y)  X(g) Y(t) X(-g)  X(a)  m [s cos k, 0, 0; s sin k, 1, 0; 0, 0, f]
"""

from __future__ import annotations

import numpy as np

PARAMETERS = (
    "rotation",
    "tilt",
    "magnification",
    "x_stretch",
    "skew",
    "x_tilt",
    "beam_tilt",
    "thinning",
    "projection_stretch",
)
NEUTRAL = np.array([0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0])
IS_ANGLE = np.array([name in ("rotation", "tilt", "skew", "x_tilt", "beam_tilt") for name in PARAMETERS])
_ROTATION, _TILT, _SCALE, _STRETCH, _SKEW, _PITCH, _BEAM, _THINNING, _PROJECTION = range(len(PARAMETERS))


def projections(parameters: np.ndarray) -> np.ndarray:
    """P of each view, from points (z, y, x) to raw positions (y, x), shape (n_views, 2, 3).

    `parameters` is (n_views, 9), in the order of `PARAMETERS`, angles in radians.
    """
    return _as_yx(_product([factor for _, factor in _factors(parameters)]))


def derivatives(parameters: np.ndarray) -> np.ndarray:
    """dP / dparameter of each view, shape (n_views, 9, 2, 3)."""
    factors = _factors(parameters)
    matrices = [matrix for _, matrix in factors]
    result = np.zeros((len(parameters), len(PARAMETERS), 2, 3))
    for place, (changes, _) in enumerate(factors):
        for index, change in changes.items():
            result[:, index] += _as_yx(_product([*matrices[:place], change, *matrices[place + 1 :]]))
    return result


def _factors(parameters: np.ndarray) -> list[tuple[dict[int, np.ndarray], np.ndarray]]:
    """Each factor of P in the order (x, y, z), left to right, and its derivative by each parameter that it holds."""
    turn, turned = _rotation(parameters[:, _ROTATION], 1, 0)  # x towards y: counter-clockwise
    tilt, tilted = _rotation(parameters[:, _TILT], 0, 2)  # u = x cos t + z sin t
    pitch, pitched = _rotation(parameters[:, _PITCH], 2, 1)  # y towards z
    beam, beamed = _rotation(parameters[:, _BEAM], 2, 1)
    back, _ = _rotation(-parameters[:, _BEAM], 2, 1)
    _, backed = _rotation(-parameters[:, _BEAM], 2, 1)
    plane, planed = _stretch_of_projection(parameters[:, _PROJECTION])
    distortion, distorted = _distortion(parameters)
    return [
        ({_PROJECTION: planed}, plane),
        ({_ROTATION: turned[:, :2, :]}, turn[:, :2, :]),
        ({_BEAM: beamed}, beam),
        ({_TILT: tilted}, tilt),
        ({_BEAM: -backed}, back),
        ({_PITCH: pitched}, pitch),
        (distorted, distortion),
    ]


def _rotation(angle: np.ndarray, to: int, source: int) -> tuple[np.ndarray, np.ndarray]:
    """Rotation that takes axis `source` towards axis `to`, and its derivative, each (n_views, 3, 3).

    For the tilt, (0, 2) takes z towards x.
    """
    rotation = np.tile(np.eye(3), (len(angle), 1, 1))
    change = np.zeros_like(rotation)
    cos, sin = np.cos(angle), np.sin(angle)
    for axis in (to, source):
        rotation[:, axis, axis], change[:, axis, axis] = cos, -sin
    rotation[:, to, source], change[:, to, source] = sin, cos
    rotation[:, source, to], change[:, source, to] = -sin, -cos
    return rotation, change


def _stretch_of_projection(stretch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    matrix = np.tile(np.eye(2), (len(stretch), 1, 1))
    matrix[:, 0, 1] = matrix[:, 1, 0] = stretch
    change = np.zeros_like(matrix)
    change[:, 0, 1] = change[:, 1, 0] = 1.0
    return matrix, change


def _distortion(parameters: np.ndarray) -> tuple[np.ndarray, dict[int, np.ndarray]]:
    scale, stretch, skew, thinning = (parameters[:, i] for i in (_SCALE, _STRETCH, _SKEW, _THINNING))
    cos, sin = np.cos(skew), np.sin(skew)
    shape = np.zeros((len(parameters), 3, 3))
    shape[:, 0, 0], shape[:, 1, 0], shape[:, 1, 1], shape[:, 2, 2] = (
        stretch * cos,
        stretch * sin,
        1.0,
        thinning,
    )
    of_stretch, of_skew, of_thinning = np.zeros_like(shape), np.zeros_like(shape), np.zeros_like(shape)
    of_stretch[:, 0, 0], of_stretch[:, 1, 0] = scale * cos, scale * sin
    of_skew[:, 0, 0], of_skew[:, 1, 0] = -scale * stretch * sin, scale * stretch * cos
    of_thinning[:, 2, 2] = scale
    changes = {_SCALE: shape, _STRETCH: of_stretch, _SKEW: of_skew, _THINNING: of_thinning}
    return scale[:, None, None] * shape, changes


def _product(matrices: list[np.ndarray]) -> np.ndarray:
    result = matrices[0]
    for matrix in matrices[1:]:
        result = result @ matrix
    return result


def _as_yx(matrices: np.ndarray) -> np.ndarray:
    """From (x, y) of (x, y, z) to (y, x) of (z, y, x)."""
    return matrices[:, ::-1, ::-1]
