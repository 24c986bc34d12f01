"""Two real x-ray slices of a tooth, and reconstructions of a small object by another program.

Parallel-beam projections published with TomoPy (Gursoy et al., J. Synchrotron Rad. 21 (2014) 1188-1193,
doi:10.1107/S1600577514013939). Their rotation is about y as ours; lengths are pixels, as the files give none.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage
from skimage.filters import threshold_multiotsu

from tomo3d import geometry
from tomo3d.types import Alignment, TiltSeries

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FOLDER = Path(__file__).parents[2] / "shared" / "data" / "tooth"
CENTRE_PX = 295.5  # where the axis of rotation lands on the 640 pixels of the detector
PHASES = ("air", "dentine", "enamel")

_TILE = 16  # pixels along the edge of a patch whose mean counts
_SMOOTH = 1.5  # pixels, sigma: only to tell the phases apart
_MARGIN = 3  # pixels from the edge of a phase that do not count
_FIELD = 280  # pixels from the axis: all views see what lies within


def read() -> tuple[TiltSeries, Alignment]:
    """The series as -log((counts - dark) / (flat - dark)), and the alignment that centres its axis.

    Raises
    ------
    NotImplementedError
        If the file or h5py is missing.
    """
    path = FOLDER / "tooth.h5"
    if not path.exists():
        raise NotImplementedError(f"there is no {path.name}")
    try:
        h5py = importlib.import_module("h5py")
    except ImportError as error:
        raise NotImplementedError("h5py is not installed") from error
    with h5py.File(path) as file:
        counts, flats, darks = (file[f"exchange/{name}"][:] for name in ("data", "data_white", "data_dark"))
        angles_deg = file["exchange/theta"][:]
    flat, dark = (frames.mean(axis=0, dtype=np.float64) for frames in (flats, darks))
    images = -np.log((counts - dark) / (flat - dark)).astype(np.float32)
    n_tilts, _, n_u = images.shape
    alignment = Alignment(
        shifts_nm=np.tile([0.0, geometry.centre(n_u) - CENTRE_PX], (n_tilts, 1)),
        tilt_axis_deg=np.zeros(n_tilts),
        tilt_angles_deg=angles_deg,
        magnification=np.ones(n_tilts),
        residual_nm=np.nan,
        reliable=np.ones(n_tilts, dtype=bool),
    )
    return TiltSeries(images, angles_deg, pixel_size_nm=1.0), alignment


@dataclass(frozen=True)
class Flatness:
    """How flat the phases of a section are, in parts of the level of enamel.

    `spread` is the standard deviation over patches of 16 x 16 pixels of their mean, by phase: what is left of
    noise (1/16 of that of a pixel), rings, streaks, cupping, and what the tooth itself varies by. `air` is the
    mean of the air beside the tooth, at best 0; `dentine` the level of dentine.
    """

    spread: dict[str, float]
    air: float
    dentine: float


def flatness(section: np.ndarray) -> Flatness:
    """Flatness of one section (n_z, n_x) with the axis at its centre, n_z and n_x multiples of 16."""
    phases = dict(zip(PHASES, _phases(section), strict=True))
    enamel = float(np.median(section[phases["enamel"]]))
    spread = {name: float(_patch_means(section, phase).std()) / enamel for name, phase in phases.items()}
    air, dentine = (float(section[phases[name]].mean(dtype=np.float64)) for name in ("air", "dentine"))
    return Flatness(spread, air / enamel, dentine / enamel)


def _phases(section: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where air beside the tooth, dentine and enamel are, each without its edges."""
    smooth = ndimage.gaussian_filter(section, _SMOOTH)
    low, high = threshold_multiotsu(smooth, 3)
    tooth = ndimage.binary_fill_holes(ndimage.binary_closing(smooth > low, iterations=2 * _MARGIN))
    z, x = (geometry.coordinates(n) for n in section.shape)
    air = ~ndimage.binary_dilation(tooth, iterations=2 * _MARGIN) & (np.hypot(z[:, None], x) < _FIELD)
    dentine, enamel = (
        ndimage.binary_erosion(phase, iterations=_MARGIN)
        for phase in ((smooth > low) & (smooth <= high), smooth > high)
    )
    return air, dentine, enamel


def _patch_means(section: np.ndarray, phase: np.ndarray) -> np.ndarray:
    """Mean over the phase in each patch that is at least 60 % of it."""
    n_z, n_x = section.shape
    patches = (n_z // _TILE, _TILE, n_x // _TILE, _TILE)
    share = phase.reshape(patches).mean(axis=(1, 3))
    total = np.where(phase, section, 0.0).reshape(patches).mean(axis=(1, 3), dtype=np.float64)
    return np.asarray(total[share >= 0.6] / share[share >= 0.6])


def picture(section: np.ndarray) -> Figure:
    """The section as a figure, dark air and bright enamel, cut to the tooth."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2, 4.4), dpi=200, layout="constrained")
    axes = figure.subplots()
    white = float(np.percentile(section, 99.9))
    extent = np.array([-0.5, section.shape[1] - 0.5, -0.5, section.shape[0] - 0.5])
    extent -= np.repeat([geometry.centre(n) for n in section.shape[::-1]], 2)
    image = axes.imshow(
        section, cmap="gray", vmin=-0.25 * white, vmax=white, origin="lower", extent=tuple(extent)
    )
    axes.set(xlim=(-160, 160), ylim=(-170, 150), xlabel="x / pixels", ylabel="z / pixels")
    figure.colorbar(image, label="absorption per pixel")
    return figure


def reference(name: str) -> np.ndarray:
    """One of the arrays of the small object: "proj", "angle" or the name of a method.

    Raises
    ------
    NotImplementedError
        If the file is missing.
    """
    path = FOLDER / "reference" / f"{name}.npy"
    if not path.exists():
        raise NotImplementedError(f"there is no {path.name}")
    return np.asarray(np.load(path))


def small_object() -> TiltSeries:
    """16 views over 180 deg of 8 slices, 48 pixels wide, the axis at 23.5."""
    angles_deg = np.rad2deg(reference("angle"))
    return TiltSeries(reference("proj").astype(np.float32), angles_deg, pixel_size_nm=1.0)


def agreement(ours: np.ndarray, name: str, radius_px: float = 23.0) -> tuple[float, float]:
    """Relative L2 difference and correlation of our (n_z, n_y, n_x) with a reference (n_y, row, x mirrored).

    Within a radius from the axis.
    """
    theirs = reference(name)
    c = geometry.coordinates(theirs.shape[1])
    within = np.hypot(c[:, None], c) < radius_px
    a = ours.transpose(1, 0, 2)[:, :, ::-1][:, within].astype(np.float64)
    b = theirs[:, within].astype(np.float64)
    return float(np.linalg.norm(a - b) / np.linalg.norm(b)), float(np.corrcoef(a.ravel(), b.ravel())[0, 1])
