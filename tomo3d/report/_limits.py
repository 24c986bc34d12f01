"""What a reader must not conclude: the limits that follow from the data and the methods of a run."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from tomo3d.report import _figures, _words
from tomo3d.report._records import StepRecord
from tomo3d.types import Alignment, Labels, TiltSeries, Volume

_THIN_VOXELS = 3  # a slab of 3 voxels reads a third too thick by the voxel definition


def limits(steps: Sequence[StepRecord]) -> list[tuple[str, str]]:
    """(subject, sentence), for what the run holds."""
    series = _figures.last(steps, TiltSeries)
    volume = _figures.last(steps, Volume, lambda v: not _figures.is_thickness(v))
    mask = _figures.last(steps, Labels)
    grid = mask or volume
    found: list[tuple[str, str]] = []
    if series is not None:
        found += _wedge(series)
        found += _hand(series)
        if volume is not None:
            found += _sampling(series, volume)
        found += _alignment(_figures.last(steps, Alignment))
    if grid is not None:
        found += _thin(grid)
    thickness = _figures.last(steps, Volume, _figures.is_thickness)
    if thickness is not None:
        found += _voxel_bias(thickness)
    if volume is not None:
        found.append(
            (
                "Density",
                "Densities are grey value of the views per nm of path. They are a physical density only if the "
                "views were calibrated, which no step here does.",
            )
        )
    return found


def elongation(half_range_deg: float) -> float:
    """Elongation along z of the point-spread function under tilts of +- half_range_deg; 1 without a wedge.

    sqrt((a + sin a cos a) / (a - sin a cos a)) with a in radians: Radermacher and Hoppe, Proc. 7th Eur.
    Congr. Electron Microsc. (1980).
    """
    a = math.radians(min(half_range_deg, 90.0))
    if a == 0:
        return math.inf
    mixed = math.sin(a) * math.cos(a)
    return math.sqrt((a + mixed) / (a - mixed))


def _tilts(series: TiltSeries) -> np.ndarray:
    return np.unique(series.tilt_angles_deg[series.used])


def _wedge(series: TiltSeries) -> list[tuple[str, str]]:
    tilts = _tilts(series)
    if len(tilts) < 2:
        return []
    low, high = float(tilts[0]), float(tilts[-1])
    covered = high - low
    step = covered / (len(tilts) - 1)
    seen = f"{len(tilts)} tilts from {_words.number(low)} to {_words.number(high)}°"
    if covered + step >= 180:
        return [("Tilt range", f"{seen}: no missing wedge.")]
    factor = elongation(0.5 * covered)
    middle = 0.5 * (low + high)
    along = "the beam" if abs(middle) < 1 else f"a direction {_words.number(abs(middle), 3)}° from the beam"
    return [
        (
            "Missing wedge",
            f"{seen} leave a wedge of {_words.number(180 - covered)}° without data. The point-spread function is "
            f"{_words.number(factor, 3)} times as long along {along} as across it. That is not the elongation of "
            "objects, which is less and depends on their size: correct no size by it.",
        ),
        (
            "Normals in the wedge",
            "Surfaces whose normals point into the missing wedge (near the beam direction, z) are blurred or not "
            "seen at all; thicknesses along z are the least certain numbers here.",
        ),
    ]


def _sampling(series: TiltSeries, volume: Volume) -> list[tuple[str, str]]:
    tilts = _tilts(series)
    if len(tilts) < 2:
        return []
    step = float(tilts[-1] - tilts[0]) / (len(tilts) - 1)
    depth_nm = volume.data.shape[0] * volume.voxel_size_nm[0]
    crowther_nm = depth_nm * math.radians(step)
    pixel = 2 * max(volume.voxel_size_nm)
    return [
        (
            "Resolution",
            f"No detail is finer than two voxels ({_words.number(pixel, 3)} nm). Tilts {_words.number(step, 3)}° "
            f"apart sample an object {_words.number(depth_nm, 3)} nm thick (the depth of the reconstruction) to "
            f"{_words.number(crowther_nm, 3)} nm: d = D Δθ, which is π D / n for n views over 180° (Crowther, "
            "DeRosier and Klug 1970, doi:10.1098/rspa.1970.0119). Neither is a measured resolution.",
        )
    ]


def _hand(series: TiltSeries) -> list[tuple[str, str]]:
    source = str(series.sources.get("tilt_axis_deg", ""))
    axis = f"{_words.number(series.tilt_axis_deg)}°"
    if source and not source.startswith(("unknown", "given")):
        return [
            (
                "Hand",
                f"The direction of the tilt axis ({axis}) was taken from: {source}. If the program that wrote it "
                "counts angles the other way, or the axis is off by 180°, the volume is its mirror image.",
            )
        ]
    why = "was given by the user" if source.startswith("given") else "is not stated in the file"
    return [
        (
            "Hand",
            f"The direction of the tilt axis ({axis}) {why}. An axis off by 180° gives the mirror image, and "
            "nothing in the data can tell: the hand of this volume is unverified.",
        )
    ]


def _alignment(alignment: Alignment | None) -> list[tuple[str, str]]:
    if alignment is None:
        return [
            (
                "Alignment",
                "No step of this run aligned the views: they were taken as aligned, and no residual is available.",
            )
        ]
    n_distrusted = int((~alignment.reliable).sum())
    distrusted = f" The method distrusts {n_distrusted} of {alignment.n_tilts} views." if n_distrusted else ""
    if math.isnan(alignment.residual_nm):
        return [
            (
                "Alignment",
                "The method of alignment gives no residual: how well the views fit together is not measured."
                + distrusted,
            )
        ]
    return [
        (
            "Alignment",
            f"The r.m.s. residual is {_words.number(alignment.residual_nm, 3)} nm; it says how well the views fit "
            f"the model, not that the model is right.{distrusted}",
        )
    ]


def _thin(grid: Volume | Labels) -> list[tuple[str, str]]:
    limit_nm = _THIN_VOXELS * max(grid.voxel_size_nm)
    return [
        (
            "Thin features",
            f"Thicknesses under about {_words.number(limit_nm, 3)} nm ({_THIN_VOXELS} voxels of "
            f"{_words.triple(grid.voxel_size_nm, 'nm')}) say more about the voxels and the blur than about the "
            "specimen.",
        )
    ]


def _voxel_bias(thickness: Volume) -> list[tuple[str, str]]:
    if "voxel" not in str(thickness.record.get("method", "")):
        return []
    return [
        (
            "Local thickness",
            "The voxel definition of local thickness is biased by up to one voxel "
            f"({_words.number(max(thickness.voxel_size_nm))} nm): in the mean +33 % on a film of 3 voxels, −4 % on a "
            "ball of radius 20.25 voxels, −8 % on a cylinder of radius 8.25 voxels. Compare it only with numbers of "
            "the same definition and voxel size.",
        )
    ]
