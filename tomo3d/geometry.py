"""THE convention of axes, angles and centres, and nm <-> index. Nothing else may define one.

- Arrays are (z, y, x), images (y, x), the beam along z. y runs up the picture: row 0 is the bottom.
- Index i of n sits at i - (n - 1) / 2 pixels from the centre, for odd and even n alike.
- In an aligned series the tilt axis is y, and a point of the specimen at tilt t lands at
  u = x cos t + z sin t, v = y (the convention of IMOD and AreTomo; Warp's angle is the negative).
- Tilt-axis angle: counter-clockwise from +y to the axis, in the raw image.
- Alignment of a view: p_aligned = T R(-axis) (p_raw - c) / magnification + shift + c, T (y, x) being
  (y + x tan(skew), stretch x): 1 unless the alignment says otherwise. A point at height z then lands
  at v = y + z_shear z. Local shifts come before: p_raw is p + s(p) where the alignment has a field s, given in
  nm on the middles of equal parts of the raw view and, between them, by cubics of their index (R. Keys, IEEE
  Trans. Acoust. 29 (1981) 1153-1160, a = -1/2), constant beyond the outermost. A projector onto raw views takes -s.
- A reconstruction has n_x and n_y of the aligned detector, n_z = round(thickness / pixel), and its
  centre at (0, 0, 0) nm.
- Grey values of a view are line integrals, density x path in nm; so a reconstructed density is
  the grey value per nm and does not change when a series is binned.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from tomo3d.types import Alignment, Labels, TiltSeries, Volume

_NO_BEND = 1e-7  # pixels
_MOST_BENDS = 50  # steps; shifts that change by 1 % of the way shrink the error 100 times in each


def centre(n: int) -> float:
    """Index of the centre of `n` samples: (n - 1) / 2."""
    return 0.5 * (n - 1)


def coordinates(n: int) -> np.ndarray:
    """Position of each of `n` samples from their centre, in pixels, shape (n,)."""
    return np.arange(n) - centre(n)


def detector_position(x: np.ndarray, z: np.ndarray, tilt_angle_deg: np.ndarray | float) -> np.ndarray:
    """u = x cos t + z sin t: where a point of the specimen lands across the tilt axis."""
    tilt = np.deg2rad(tilt_angle_deg)
    return np.asarray(x * np.cos(tilt) + z * np.sin(tilt))


def rotation_yx(angle_deg: float) -> np.ndarray:
    """Counter-clockwise rotation by `angle_deg` of column vectors (y, x), shape (2, 2)."""
    angle = math.radians(angle_deg)
    return np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])


def axis_difference_deg(a_deg: np.ndarray | float, b_deg: np.ndarray | float) -> np.ndarray:
    """a - b for directions without a head (modulo 180 deg), in [-90, 90)."""
    return np.asarray((np.asarray(a_deg) - b_deg + 90.0) % 180.0 - 90.0)


def is_transposed(tilt_axis_deg: float) -> bool:
    """Whether an axis is nearer 90 than 0 deg, so that the aligned image swaps n_y and n_x."""
    return bool(abs(axis_difference_deg(tilt_axis_deg, 0.0)) > 45.0)


def mean_axis_deg(tilt_axis_deg: np.ndarray) -> float:
    """Mean direction of the tilt axis over the views, in degrees, on the branch of the first view."""
    first = float(tilt_axis_deg[0])
    return first + float(np.mean(axis_difference_deg(tilt_axis_deg, first)))


def aligned_shape(shape: tuple[int, int], tilt_axis_deg: float) -> tuple[int, int]:
    """(n_y, n_x) of an aligned image of a raw image of (n_y, n_x)."""
    n_y, n_x = shape
    return (n_x, n_y) if is_transposed(tilt_axis_deg) else (n_y, n_x)


def alignment_matrices(
    alignment: Alignment, pixel_size_nm: float, raw_shape: tuple[int, int], out_shape: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Affine maps from aligned to raw pixel indices, as a resampler needs them; local shifts are not in them.

    Returns
    -------
    matrices : ndarray, shape (n_tilts, 2, 2)
    offsets : ndarray, shape (n_tilts, 2)
        raw index (y, x) = matrix @ aligned index (y, x) + offset.
    """
    n_tilts = alignment.n_tilts
    raw_centre = np.array([centre(n) for n in raw_shape])
    out_centre = np.array([centre(n) for n in out_shape])
    matrices = np.empty((n_tilts, 2, 2))
    offsets = np.empty((n_tilts, 2))
    from_aligned = np.linalg.inv(distortions_yx(alignment))
    for i in range(n_tilts):
        turn = rotation_yx(float(alignment.tilt_axis_deg[i]))
        matrices[i] = alignment.magnification[i] * turn @ from_aligned[i]
        shift = alignment.shifts_nm[i] / pixel_size_nm
        offsets[i] = raw_centre - matrices[i] @ (out_centre + shift)
    return matrices, offsets


def distortions_yx(alignment: Alignment) -> np.ndarray:
    """Stretch and skew of each view: T, of column vectors (y, x), shape (n_tilts, 2, 2)."""
    distortions = np.tile(np.eye(2), (alignment.n_tilts, 1, 1))
    if alignment.stretch is not None:
        distortions[:, 1, 1] = alignment.stretch
    if alignment.skew_deg is not None:
        distortions[:, 0, 1] = np.tan(np.deg2rad(alignment.skew_deg))
    return distortions


def undistortions_yx(alignment: Alignment) -> np.ndarray | None:
    """Inverse of `distortions_yx`, as a projector onto raw views takes it; None where the alignment has none."""
    if alignment.stretch is None and alignment.skew_deg is None:
        return None
    return np.linalg.inv(distortions_yx(alignment))


@dataclass(frozen=True, eq=False)
class ViewFactors:
    """Factors of matrices from raw to aligned views, each (n_tilts,); names as in `Alignment`."""

    tilt_axis_deg: np.ndarray
    magnification: np.ndarray
    stretch: np.ndarray
    skew_deg: np.ndarray

    def distorts(self, tolerance: float) -> tuple[bool, bool]:
        """Whether a stretch and a skew differ from none by more than the tolerance."""
        skew = np.deg2rad(self.skew_deg)
        return bool((np.abs(self.stretch - 1.0) > tolerance).any()), bool((np.abs(skew) > tolerance).any())


def view_factors(matrices: np.ndarray) -> ViewFactors:
    """T R(-axis) / magnification = matrix, of column vectors (y, x), shape (n_tilts, 2, 2), that do not mirror."""
    axis = np.arctan2(matrices[:, 1, 0], matrices[:, 1, 1])
    along = np.stack((np.cos(axis), -np.sin(axis)), axis=1)
    across = np.stack((np.sin(axis), np.cos(axis)), axis=1)
    magnification = 1.0 / np.einsum("ni,ni->n", matrices[:, 0], along)
    stretch = np.linalg.norm(matrices[:, 1], axis=1) * magnification
    skew = np.arctan(np.einsum("ni,ni->n", matrices[:, 0], across) * magnification)
    return ViewFactors(np.rad2deg(axis), magnification, stretch, np.rad2deg(skew))


def aligned_nm(
    alignment: Alignment,
    positions_nm: np.ndarray,
    views: np.ndarray,
    centre_nm: np.ndarray,
    pixel_size_nm: float | None = None,
) -> np.ndarray:
    """Where points (y, x) of raw views land in the aligned views, in nm from their centre, shape (n, 2).

    Parameters
    ----------
    alignment : Alignment
    positions_nm : ndarray, shape (n, 2)
        (y, x), pixel index times pixel size.
    views : ndarray of int, shape (n,)
        Row of the alignment that each point belongs to.
    centre_nm : ndarray, shape (2,)
        (y, x) of the centre of the raw image, likewise.
    pixel_size_nm : float, optional
        Of the raw views; local shifts need it.

    Raises
    ------
    ValueError
        If the alignment has local shifts and `pixel_size_nm` is not given.
    """
    if alignment.local_shifts_nm is not None:
        if pixel_size_nm is None:
            raise ValueError("pixel_size_nm must be given where an alignment has local shifts, got none.")
        fractions = (positions_nm + 0.5 * pixel_size_nm) / (2.0 * centre_nm + pixel_size_nm)
        positions_nm = positions_nm + local_shifts(alignment.local_shifts_nm, fractions, views)
    matrices, _ = alignment_matrices(alignment, 1.0, (1, 1), (1, 1))  # aligned to raw
    from_centre = np.einsum("nij,nj->ni", np.linalg.inv(matrices)[views], positions_nm - centre_nm)
    return np.asarray(from_centre + alignment.shifts_nm[views])


def node_weights(fractions: np.ndarray, n_nodes: int) -> np.ndarray:
    """How much each node along an axis of a view counts at places on it, (n, n_nodes).

    `fractions` (n,) are (index + 1/2) / pixels, 0 and 1 being the edges. Weights add up to 1.
    """
    place = np.clip(np.asarray(fractions, dtype=np.float64) * n_nodes - 0.5, 0.0, n_nodes - 1.0)
    first = np.floor(place).astype(int)
    t = place - first
    taps = (
        ((-0.5 * t + 1.0) * t - 0.5) * t,
        (1.5 * t - 2.5) * t * t + 1.0,
        ((-1.5 * t + 2.0) * t + 0.5) * t,
        (0.5 * t - 0.5) * t * t,
    )
    weights = np.zeros((len(place), n_nodes))
    for k, tap in enumerate(taps):
        np.add.at(weights, (np.arange(len(place)), np.clip(first + k - 1, 0, n_nodes - 1)), tap)
    return weights


def local_shifts(nodes: np.ndarray, fractions: np.ndarray, views: np.ndarray) -> np.ndarray:
    """Local shifts (n, 2) at places (n, 2) of views (n,), in the unit of `nodes` (n_views, n_nodes_y, n_nodes_x, 2).

    Places are (y, x) as fractions of the raw view, (index + 1/2) / pixels.
    """
    along, across = (node_weights(fractions[:, axis], nodes.shape[1 + axis]) for axis in range(2))
    shifts = np.empty((len(views), 2))
    for view in np.unique(views):
        at = views == view
        shifts[at] = np.einsum("ny,nx,yxi->ni", along[at], across[at], nodes[view])
    return shifts


def without_local_shifts(
    nodes: np.ndarray, positions: np.ndarray, views: np.ndarray, shape: tuple[int, int]
) -> np.ndarray:
    """Raw indices (n, 2) whose content local shifts move to `positions`; `nodes` in pixels, views of `shape`."""
    raw = np.array(positions, dtype=np.float64)
    for _ in range(_MOST_BENDS):
        before = raw
        raw = positions - local_shifts(nodes, (before + 0.5) / shape, views)
        if np.abs(raw - before).max(initial=0.0) < _NO_BEND:
            break
    return raw


def rows(alignment: Alignment, index: np.ndarray) -> Alignment:
    """The alignment of some views, in the order of `index` (or where its flags are set)."""
    names = ("shifts_nm", "tilt_axis_deg", "tilt_angles_deg", "magnification", "reliable")
    optional = [
        name
        for name in ("stretch", "skew_deg", "z_shear", "local_shifts_nm")
        if getattr(alignment, name) is not None
    ]
    return replace(alignment, **{name: getattr(alignment, name)[index] for name in (*names, *optional)})


def nominal_alignment(series: TiltSeries) -> Alignment:
    """The alignment that a series comes with: its nominal axis and angles, and no shifts."""
    n_tilts = series.n_tilts
    return Alignment(
        shifts_nm=np.zeros((n_tilts, 2)),
        tilt_axis_deg=np.full(n_tilts, series.tilt_axis_deg),
        tilt_angles_deg=series.tilt_angles_deg,
        magnification=np.ones(n_tilts),
        residual_nm=math.nan,
        reliable=np.ones(n_tilts, dtype=bool),
    )


def check_fits(series: TiltSeries, alignment: Alignment) -> None:
    """Raise ValueError unless the alignment has one row per view of the series."""
    if alignment.n_tilts != series.n_tilts:
        raise ValueError(
            f"the alignment must have one row per view of the series ({series.n_tilts}, excluded views too), "
            f"got {alignment.n_tilts} rows."
        )


def reconstruction_shape(
    image_shape: tuple[int, int], thickness_nm: float, pixel_size_nm: float
) -> tuple[int, int, int]:
    """(n_z, n_y, n_x) of the reconstruction of aligned images of (n_y, n_x).

    Raises
    ------
    ValueError
        If the thickness is not at least one pixel, or not finite.
    """
    if not thickness_nm >= pixel_size_nm:
        raise ValueError(
            f"thickness_nm must be at least one pixel ({pixel_size_nm:g} nm), got {thickness_nm:g} nm."
        )
    if not math.isfinite(thickness_nm):
        raise ValueError(f"thickness_nm must be finite, got {thickness_nm:g} nm.")
    return (round(thickness_nm / pixel_size_nm), *image_shape)


def centred_origin_nm(shape: tuple[int, ...], voxel_size_nm: tuple[float, ...]) -> tuple[float, float, float]:
    """Position of voxel [0, 0, 0] when the centre of the grid is at (0, 0, 0) nm."""
    z, y, x = (-centre(n) * size for n, size in zip(shape, voxel_size_nm, strict=True))
    return (z, y, x)


def index_to_nm(grid: Volume | Labels, index: np.ndarray) -> np.ndarray:
    """Positions (z, y, x) in nm of voxel indices (z, y, x), shape (..., 3)."""
    return np.asarray(index) * np.array(grid.voxel_size_nm) + np.array(grid.origin_nm)


def nm_to_index(grid: Volume | Labels, position_nm: np.ndarray) -> np.ndarray:
    """Voxel indices (z, y, x), fractional, of positions (z, y, x) in nm, shape (..., 3)."""
    return (np.asarray(position_nm) - np.array(grid.origin_nm)) / np.array(grid.voxel_size_nm)
