"""The pose of a flat specimen: tilt-angle offset, pitch, thickness and height."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import scipy.ndimage

from tomo3d import geometry, progress, tables
from tomo3d.align._apply import apply
from tomo3d.align._working import SMOOTHING, all_rows, planner, require_tilts, rows_in_use, working_copy
from tomo3d.compute import filters, slab_fit, weighted
from tomo3d.compute.projector import Projector
from tomo3d.compute.slab_fit import SlabFit, Tiles
from tomo3d.planning import planned
from tomo3d.types import Alignment, TiltSeries

_ROUNDS_PIXELS = (128, 256, 256)  # longest side of the working copy in each round
_COARSER = 6.0  # pixels: what is smoother than that is no texture
_AROUND = 20  # voxels of nothing above and below the slab
_CLIP_PLANE, _CLIP_FACES = 2.0, 8.0  # of the 90 % quantile of the power
_NEAR = 20  # voxels on each side of a point that hold its texture
_Z90 = 1.645
_EXPLAINED = 0.3  # of a tile's profile, for a tile that shows the slab
_LEAST_SHARE = 0.5  # of the tiles that show it
_MOST_THICKNESS_ERROR = 0.2  # standard errors beyond which there are no two faces: a grain, a few beads
_MOST_TILT_ERROR_DEG = 1.5


@planned(planner(max(_ROUNDS_PIXELS)))
def level_slab(
    series: TiltSeries, *, alignment: Alignment | None = None, thickness_nm: float | None = None
) -> Alignment:
    """Tilt-angle offset, pitch, thickness and height of a flat specimen, so that its volume is level and tight.

    Parameters
    ----------
    series : TiltSeries
        Of a film, a section or ice with texture that fills most of the field.
    alignment : Alignment, optional
        How the views fit together. Default: the series is aligned.
    thickness_nm : float, optional
        Height of the box in which the slab is sought; the slab, tilted, must fit. Default: the width of the image.

    Returns
    -------
    Alignment
        The one given, with the offset added to the tilt angles, the pitch in `x_axis_tilt_deg` (in place of one that
        was there), and shifts that bring the middle plane of the slab to z = 0. Evidence "slab": a summary of
        tilt_offset, x_axis_tilt, thickness and centre_z (height of the middle plane before), with intervals; and
        "slab_profile": power of the texture and its fit over height above the middle plane.

    Raises
    ------
    ValueError
        If fewer than six views are in use, or over less than 10 deg, a pixel is not finite, a view is blank, the
        box is thinner than 16 pixels of the working copy, or nothing in it looks like a slab.

    Notes
    -----
    Two volumes, each of every second view, are back-projected from views freed of noise and of what is smooth. Their
    product has the power of the texture, without that of the noise, and is elongated along z to both sides alike.
    A box, blurred by what a thin sheet would look like in the same views, is fitted to its profiles on tiles of the
    field: so it has the plane and the thickness of the slab whatever the missing wedge. The angles are corrected and
    the slab fitted again. The thickness is that of the texture, between half heights.

    The larger the field over the grain of the texture, the surer: on 256 x 256 pixels of grains of 3 pixels, offsets
    up to 15 deg come out within 0.3 deg, pitch within 0.2 deg, thickness within a pixel. A slab without texture shows
    no faces in a tilt series, and is refused.
    """
    require_tilts(series, "the pose of a slab")
    given = rows_in_use(series, alignment or geometry.nominal_alignment(series))
    offset_deg, height_nm, fitted, pixel_nm = 0.0, thickness_nm, None, 1.0
    for max_pixels in progress.track(_ROUNDS_PIXELS, "level the slab", len(_ROUNDS_PIXELS)):
        views = _texture(apply(working_copy(series, max_pixels=max_pixels, smooth=True), given))
        views = replace(views, tilt_angles_deg=given.tilt_angles_deg + offset_deg)
        n_z = _box_pixels(views, height_nm)
        power = _power(views, given.z_shear, n_z)
        kernel = _sheet(views.tilt_angles_deg, n_z, views.images.shape[2])
        if fitted is None:
            fitted = slab_fit.fit(slab_fit.tiles(_clipped(power, _CLIP_PLANE)), kernel)
        slopes = (fitted.slope_y, 0.0 if offset_deg else fitted.slope_x)  # the offset is in the angles
        plane = slab_fit.fit(slab_fit.tiles(_clipped(power, _CLIP_PLANE), *slopes), kernel)
        columns = slab_fit.tiles(_clipped(power, _CLIP_FACES), *slopes)
        fitted = slab_fit.combined(plane, slab_fit.fit(columns, kernel))
        _require_slab(fitted, n_z)
        pixel_nm = views.pixel_size_nm
        pose = Pose.of(fitted, pixel_nm)
        offset_deg += pose.offset_deg
        height_nm = _tight(fitted, views.images.shape[1]) * pixel_nm
    assert fitted is not None  # there is a round
    evidence = {
        "slab": _summary(fitted, pose, offset_deg, int((fitted.explained > _EXPLAINED).sum())),
        "slab_profile": _profile(fitted, columns, pixel_nm),
    }
    return all_rows(series, positioned(given, offset_deg, pose), evidence)


@dataclass(frozen=True)
class Pose:
    """A slab in a volume: the offset still to add to the tilt angles, the pitch, and nm along its normal."""

    offset_deg: float
    pitch_deg: float
    thickness_nm: float
    height_nm: float

    @classmethod
    def of(cls, fitted: SlabFit, pixel_nm: float) -> Pose:
        """By the normal (z, y, x), which is (cos a cos o, -sin a, cos a sin o) for a pitch a before an offset o."""
        normal = np.array([1.0, -fitted.slope_y, -fitted.slope_x])
        normal /= np.linalg.norm(normal)
        return cls(
            offset_deg=math.degrees(math.atan2(normal[2], normal[0])),
            pitch_deg=-math.degrees(math.asin(normal[1])),
            thickness_nm=float(fitted.thickness * normal[0] * pixel_nm),
            height_nm=float(fitted.centre * normal[0] * pixel_nm),
        )


def positioned(alignment: Alignment, offset_deg: float, pose: Pose) -> Alignment:
    """The alignment with offset and pitch, and the slab's middle plane moved to z = 0.

    A point at height h of the levelled specimen lands at u = h cos a sin t, v = h (z_shear - sin a) from where
    one at z = 0 does.
    """
    angles = alignment.tilt_angles_deg + offset_deg
    tilt, pitch = np.deg2rad(angles), math.radians(pose.pitch_deg)
    shear = np.zeros_like(angles) if alignment.z_shear is None else alignment.z_shear
    moved = pose.height_nm * np.column_stack((shear - math.sin(pitch), math.cos(pitch) * np.sin(tilt)))
    return replace(
        alignment,
        tilt_angles_deg=angles,
        x_axis_tilt_deg=pose.pitch_deg,
        shifts_nm=alignment.shifts_nm - moved,
    )


def _texture(views: TiltSeries) -> TiltSeries:
    images = np.asarray(views.images, dtype=np.float32)
    smooth = scipy.ndimage.gaussian_filter(images, sigma=(0.0, _COARSER, _COARSER), mode="nearest")
    return replace(views, images=images - smooth)


def _power(views: TiltSeries, z_shear: np.ndarray | None, n_z: int) -> np.ndarray:
    """Product of the volumes of every second view, (n_z, n_y, n_x)."""
    order = np.argsort(views.tilt_angles_deg, kind="stable")
    n_x = views.images.shape[2]
    halves = []
    for half in (order[::2], order[1::2]):
        shears = None if z_shear is None else z_shear[half]
        projector = Projector(views.tilt_angles_deg[half], n_u=n_x, n_x=n_x, n_z=n_z, z_shears=shears)
        halves.append(weighted.wbp(views.images[half], projector, window=filters.parse_window("ramp")))
    return np.asarray(halves[0] * halves[1])


def _box_pixels(views: TiltSeries, thickness_nm: float | None) -> int:
    if thickness_nm is None:
        return int(views.images.shape[2])
    n_z = geometry.reconstruction_shape((1, 1), thickness_nm, views.pixel_size_nm)[0]
    if n_z < slab_fit.TILE:
        least_nm = slab_fit.TILE * views.pixel_size_nm
        raise ValueError(f"thickness_nm must be at least {least_nm:g} nm here, got {thickness_nm:g} nm.")
    return n_z


def _tight(fitted: SlabFit, n_y: int) -> int:
    """Height of a box about z = 0 that holds the slab once the offset is in the angles."""
    return math.ceil(2.0 * abs(fitted.centre) + fitted.thickness + n_y * abs(fitted.slope_y)) + 2 * _AROUND


def _clipped(power: np.ndarray, level: float) -> np.ndarray:
    """The power, of which no strong grain has more than a few times that of many.

    Low levels give sharper planes, and thicker slabs, as they raise the foot of the faces; the high one takes its say
    from one voxel in a hundred.
    """
    most = level * float(np.quantile(np.abs(power), 0.9))
    return np.clip(power, -most, most)


def _sheet(tilt_angles_deg: np.ndarray, n_z: int, n_x: int) -> np.ndarray:
    """Power over z of a thin sheet of white texture, normal to the beam, in such a volume; its peak has the area 1.

    Far from the sheet it is negative: there the streaks of one half of the views lie in the gaps of the other.
    """
    middle = n_x // 2
    point = np.zeros((1, 2 * _NEAR + 1, 2 * middle + 1), dtype=np.float32)
    point[0, _NEAR, middle] = 1.0
    point = scipy.ndimage.gaussian_filter(point, (0.0, SMOOTHING, SMOOTHING))
    views = TiltSeries(np.repeat(point, len(tilt_angles_deg), axis=0), tilt_angles_deg, 1.0)
    reach = n_z  # from one face of the box to the other
    power = _power(_texture(views), None, 2 * reach + 1).sum(axis=(1, 2), dtype=np.float64)
    near = min(reach, _NEAR)
    return np.asarray(power / power[reach - near : reach + near + 1].sum())


def _require_slab(fitted: SlabFit, n_z: int) -> None:
    share = float(np.mean(fitted.explained > _EXPLAINED))
    if share < _LEAST_SHARE:
        raise ValueError(
            "level_slab needs a flat specimen whose texture fills most of the field, got a slab in "
            f"{100 * share:.0f} % of it: an isolated particle has no pose, and a slab without texture shows none."
        )
    errors = np.sqrt(np.diag(fitted.covariance))
    tilt_error_deg = math.degrees(max(errors[1], errors[2]))
    if errors[3] > _MOST_THICKNESS_ERROR * fitted.thickness or tilt_error_deg > _MOST_TILT_ERROR_DEG:
        raise ValueError(
            "level_slab needs a flat specimen with enough texture to place its faces, got standard errors of "
            f"{tilt_error_deg:.1f} deg and of {100 * errors[3] / fitted.thickness:.0f} % of the thickness."
        )
    if fitted.thickness > 0.85 * n_z:
        raise ValueError(
            f"the slab must be thinner than the box in which it is sought, got {fitted.thickness:.0f} of {n_z} pixels: "
            "raise thickness_nm, or check that the specimen is flat."
        )


def _summary(fitted: SlabFit, pose: Pose, offset_deg: float, n_tiles: int) -> pd.DataFrame:
    errors = np.sqrt(np.diag(fitted.covariance))
    pixel_nm = pose.thickness_nm / fitted.thickness
    rows = (
        ("tilt_offset", offset_deg, math.degrees(errors[2]), "deg"),
        ("x_axis_tilt", pose.pitch_deg, math.degrees(errors[1]), "deg"),
        ("thickness", pose.thickness_nm, errors[3] * pixel_nm, "nm"),
        ("centre_z", pose.height_nm, errors[0] * pixel_nm, "nm"),
    )
    return tables.summary(
        {
            "quantity": name,
            "value": value,
            "low": value - _Z90 * error,
            "high": value + _Z90 * error,
            "unit": unit,
            "n": n_tiles,
            "interval": "90 %, from the scatter between tiles",
        }
        for name, value, error, unit in rows
    )


def _profile(fitted: SlabFit, columns: Tiles, pixel_nm: float) -> pd.DataFrame:
    heights = fitted.heights(columns)
    z = columns.z
    scale = np.sqrt(np.mean(np.square(columns.profiles), axis=1))
    shows = fitted.explained > _EXPLAINED
    levelled = [
        np.interp(z, height, profile / size)
        for height, profile, size in zip(heights[shows], columns.profiles[shows], scale[shows], strict=True)
    ]
    power = np.mean(levelled, axis=0)
    design = np.column_stack((fitted.shape(z), np.ones_like(z)))
    return pd.DataFrame(
        {"z_nm": z * pixel_nm, "power": power, "fit": design @ np.linalg.lstsq(design, power, rcond=None)[0]}
    )
