"""A table of particles: size, place and shape of each, by its voxels and by a blurred ball fitted to grey values."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from tomo3d import tables
from tomo3d.compute.blurred_balls import Balls, Places, fit_balls, shared_blur
from tomo3d.compute.objects import Objects, measure_objects
from tomo3d.compute.wedge_balls import size_response, wedge_response
from tomo3d.types import Labels, Volume

if TYPE_CHECKING:
    import pandas as pd

_TOUCHING = np.ones((3, 3, 3), dtype=bool)
_LEAST_RADIUS = 0.7  # voxels: where a fit begins


def particles(
    labels: Labels,
    *,
    volume: Volume | None = None,
    max_tilt_deg: float | None = None,
    blur_nm: float | None = None,
) -> pd.DataFrame:
    """Table of particles: size, place, shape, and the blurred ball that fits the grey values of each.

    Parameters
    ----------
    labels : Labels, shape (n_z, n_y, n_x)
        A number for each particle, as `split_particles` gives them; 0 elsewhere.
    volume : Volume, optional
        Grey values on the same grid, in which balls are fitted. Default: no ball, and nan in its columns.
    max_tilt_deg : float, optional
        Largest tilt about y of the series that the volume was made from: what the missing wedge does to a fitted
        ball is then undone. Default: nothing is missing.
    blur_nm : float, optional
        Standard deviation of the Gaussian that blurs the volume. Default: found from the particles, one for all; give
        it where there are less than some ten, from a volume with more.

    Returns
    -------
    DataFrame
        Rows of `tomo3d.tables.PARTICLES`. A ball is missing (nan) where the fit did not converge near the particle;
        all are where no particle tells the blur, or no ball can be told within `max_tilt_deg` (below some 15 deg).

    Raises
    ------
    ValueError
        If there is no particle, a number is negative, one number stands for several separate objects and there is no
        other, the grids differ, a grey value is not finite, the tilt is not between 0 and 90 deg, or `blur_nm` not
        positive.

    Notes
    -----
    By voxels: on exact masks of balls of 3 to 12 voxels at any place on the grid, the mean of `diameter_nm` is within
    1 %, and from 6 voxels the area within 3 % (13 directions [1]_; of 3 voxels 10 % low). Axes are those of the
    ellipsoid with the same second moments, at least a voxel edge each.

    Balls: height, radius, elongation along z, place, a background with a slope, and the blur, by least squares in an
    ellipsoid around the particle; touching neighbours are taken off. A second fit has one blur for all, so that the
    smallest do not trade it for their size: the median of those whose radius is over twice their blur or, if these
    are fewer than five, of the five largest. A tenth more of it makes balls of a radius of twice the blur 2 to 10 %
    smaller.

    With `max_tilt_deg`, `diameter_xy_nm`, `contrast` and `integrated_intensity` are those of the ball whose image,
    without the Fourier components beyond that tilt, gives the same fit: without it, balls seen within +-60 deg read 4
    to 14 % too narrow, as dark lobes beside them belong to their image. Diameters of 3 to 12 voxels are then right to
    5 % after weighted back-projection and SIRT; bounds on the density change the contrast more than the size. Where the
    radius is 1.7 to 2.4 times the blur they are right to 5 % without noise, and to 8 % on voxels that are 1.3 times as
    long along z. What is undone depends smoothly on the tilt; balls smaller than any that such a fit can tell are
    corrected as the smallest that it can. `elongation_z` says how long the ball is in the volume, not in the specimen.

    `border_weight`: a particle of extent f is wholly inside a field of edges N voxels, clear of its border, at
    N - f - 1 places along each axis; it stands for the product of N / (N - f - 1) [2]_.

    References
    ----------
    .. [1] Ohser and Muecklich, Statistical Analysis of Microstructures in Materials Science, Wiley (2000)
    .. [2] Serra, Image Analysis and Mathematical Morphology, Academic Press (1982), chapter 8
    """
    data = _checked(labels)
    if max_tilt_deg is not None and not 0 < max_tilt_deg < 90:
        raise ValueError(f"max_tilt_deg must lie between 0 and 90 deg, got {max_tilt_deg:g} deg.")
    if blur_nm is not None and not (math.isfinite(blur_nm) and blur_nm > 0):
        raise ValueError(f"blur_nm must be a positive length, got {blur_nm:g} nm.")
    objects = measure_objects(data, labels.voxel_size_nm)
    columns = _by_voxels(objects, labels)
    nothing = np.full(len(objects.numbers), math.nan)
    for column in tables.names(tables.PARTICLES):
        columns.setdefault(column, nothing)
    if volume is not None:
        grey = _grey_values(volume, labels)
        columns |= _by_balls(grey, data, objects, labels, max_tilt_deg, blur_nm)
    return _table(columns)


def _table(columns: dict[str, np.ndarray]) -> pd.DataFrame:
    import pandas as pd

    return tables.check(pd.DataFrame(columns, columns=tables.names(tables.PARTICLES)), tables.PARTICLES)


def _checked(labels: Labels) -> np.ndarray:
    """The numbers as an array, after the checks."""
    data = np.ascontiguousarray(labels.data)
    data = data.astype(np.uint8) if data.dtype == bool else data
    least, largest = int(data.min()), int(data.max())
    if least < 0:
        raise ValueError(f"labels must be zero or positive, got {least}.")
    if largest == 0:
        raise ValueError("labels must number at least one particle, got none.")
    if not ((data != 0) & (data != largest)).any():  # a mask, perhaps
        _, n_parts = ndimage.label(data, structure=_TOUCHING)
        if n_parts > 1:
            raise ValueError(
                f"labels must have a number for each particle, got {n_parts} separate objects with the number "
                f"{largest}: use split_particles first."
            )
    return data


def _grey_values(volume: Volume, labels: Labels) -> np.ndarray:
    same_shape = tuple(volume.data.shape) == tuple(labels.data.shape)
    if not (same_shape and np.allclose(volume.voxel_size_nm, labels.voxel_size_nm, rtol=1e-3, atol=0)):
        raise ValueError(
            f"volume must be on the grid of the labels, {tuple(labels.data.shape)} voxels of {labels.voxel_size_nm} "
            f"nm, got {tuple(volume.data.shape)} of {volume.voxel_size_nm} nm."
        )
    grey = np.ascontiguousarray(volume.data)
    if not np.isfinite(grey).all():
        raise ValueError(
            f"every grey value must be finite, got {int((~np.isfinite(grey)).sum())} NaN or infinite voxels."
        )
    return grey


def _by_voxels(objects: Objects, labels: Labels) -> dict[str, np.ndarray]:
    voxel = np.array(labels.voxel_size_nm)
    volume_nm3 = objects.n_voxels * voxel.prod()
    centre = np.array(labels.origin_nm) + objects.centre * voxel
    moments = np.linalg.eigvalsh(objects.covariance * np.outer(voxel, voxel))
    axes = 2.0 * np.sqrt(5.0 * np.maximum(moments, voxel.min() ** 2 / 20.0))  # a voxel edge at least
    shape = np.array(labels.data.shape)
    at_border = (objects.first == 0) | (objects.last == shape - 1)
    touches = at_border.any(axis=1)
    extent = objects.last - objects.first + 1
    places = np.maximum(shape - extent - 1, 1)
    ball_area = math.pi ** (1 / 3) * (6.0 * volume_nm3) ** (2 / 3)
    area = np.where(objects.area > 0, objects.area, math.nan)  # a particle may fill the volume
    return {
        "particle": objects.numbers,
        "n_voxels": objects.n_voxels,
        "volume_nm3": volume_nm3,
        "diameter_nm": np.cbrt(6.0 * volume_nm3 / math.pi),
        "z_nm": centre[:, 0],
        "y_nm": centre[:, 1],
        "x_nm": centre[:, 2],
        "axis_long_nm": axes[:, 2],
        "axis_middle_nm": axes[:, 1],
        "axis_short_nm": axes[:, 0],
        "aspect": axes[:, 2] / axes[:, 0],
        "area_crofton_nm2": objects.area,
        "sphericity": ball_area / area,
        "touches_border": touches,
        "border_weight": np.where(touches, 0.0, (shape / places).prod(axis=1)),
    }


def _by_balls(
    grey: np.ndarray,
    data: np.ndarray,
    objects: Objects,
    labels: Labels,
    max_tilt_deg: float | None,
    blur_nm: float | None,
) -> dict[str, np.ndarray]:
    voxel = np.array(labels.voxel_size_nm)
    radius = np.cbrt(0.75 / math.pi * objects.n_voxels * voxel.prod())
    radius = np.maximum(radius, _LEAST_RADIUS * voxel.max())
    places = Places(objects.numbers, objects.centre * voxel, radius)
    balls = fit_balls(grey, data, places, labels.voxel_size_nm)
    if blur_nm is None and not np.isfinite(balls.radius).any():
        return {}
    if max_tilt_deg is None:
        width_nm = seen_nm = shared_blur(balls, radius, balls.blur) if blur_nm is None else blur_nm
    else:
        width_nm, seen_nm = _blur_through_wedge(balls, radius, labels, max_tilt_deg, blur_nm)
    if not math.isfinite(seen_nm):  # too few tilts for any ball
        return {}
    given = np.full(len(radius), seen_nm)
    balls = fit_balls(grey, data, places, labels.voxel_size_nm, blur=given, start=balls)
    sizes, heights = balls.radius, balls.height
    if max_tilt_deg is not None and np.isfinite(sizes).any():
        response = size_response(_ends(sizes, 0.01), width_nm, seen_nm, labels.voxel_size_nm, max_tilt_deg)
        sizes, heights = response.undo(balls)
    return _columns_of(balls, sizes, heights, labels) | {
        "blur_nm": np.where(np.isfinite(sizes), width_nm, math.nan)
    }


def _blur_through_wedge(
    balls: Balls, radius: np.ndarray, labels: Labels, max_tilt_deg: float, blur_nm: float | None
) -> tuple[float, float]:
    """The blur that all share, and that with which a ball of a usual size is fitted then."""
    is_fitted = np.isfinite(balls.radius)
    blurs = _ends(balls.blur, 0.1) if blur_nm is None else (blur_nm, blur_nm)
    radii = _ends(balls.radius if is_fitted.any() else radius, 0.01)
    response = wedge_response(radii, blurs, labels.voxel_size_nm, max_tilt_deg)
    if not np.isfinite(response.log_ratios).all():
        return math.nan, math.nan
    sizes, widths = response.undo(balls)
    width_nm = shared_blur(balls, radius, widths) if blur_nm is None else blur_nm
    usual = np.median(sizes[is_fitted] if is_fitted.any() else radius)
    return width_nm, width_nm * float(response.ratios(np.array([usual]), np.array([width_nm]))[0, 1])


def _ends(values: np.ndarray, share: float) -> tuple[float, float]:
    """Lowest and highest of the values that are known, without a share of them at either end."""
    low, high = np.nanquantile(values, (share, 1.0 - share))
    return float(low), float(high)


def _columns_of(
    balls: Balls, radius: np.ndarray, height: np.ndarray, labels: Labels
) -> dict[str, np.ndarray]:
    centre = np.array(labels.origin_nm) + balls.centre
    return {
        "diameter_xy_nm": 2.0 * radius,
        "elongation_z": balls.elongation,
        "contrast": height,
        "integrated_intensity": height * 4.0 / 3.0 * math.pi * radius**3,
        "z_fit_nm": centre[:, 0],
        "y_fit_nm": centre[:, 1],
        "x_fit_nm": centre[:, 2],
        "fit_residual": balls.residual / np.abs(height),
    }
