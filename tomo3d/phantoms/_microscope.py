"""A microscope: a tilt series of a specimen with known misalignment, blur and noise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tomo3d import geometry
from tomo3d.phantoms import _sampling
from tomo3d.phantoms._specimen import Specimen, SpecimenSketch
from tomo3d.planning import Plan, Sketch, planned
from tomo3d.progress import track
from tomo3d.types import Alignment, TiltSeries


@dataclass(frozen=True, kw_only=True)
class Microscope:
    """What the microscope does to the views. The default is an ideal one: every fault is asked for by name.

    Parameters
    ----------
    tilt_range_deg : tuple of float
        First and last tilt angle.
    tilt_step_deg : float
        From one view to the next.
    tilt_axis_deg : float
        True direction of the tilt axis, from +y, counter-clockwise.
    axis_error_deg : float
        Nominal minus true direction of the axis: what the header of the series is wrong by.
    shift_nm : float
        Each view is moved by up to this much along y and x, evenly at random.
    blur_fwhm_nm : float
        Full width at half maximum of a Gaussian that blurs each view.
    background : float
        Grey value that is added to every pixel, in the units of a line integral.
    dose_electrons_per_nm2 : float
        Incident electrons per view. inf: the detector counts without noise.
    scattering_per_nm : float
        Share of the incident electrons that 1 nm of density 1 sends to the detector.
    noise_fraction : float
        Standard deviation of Gaussian noise, as a fraction of the range of the noise-free series.

    Raises
    ------
    ValueError
        If a value is outside its range.
    """

    tilt_range_deg: tuple[float, float] = (-60.0, 60.0)
    tilt_step_deg: float = 2.0
    tilt_axis_deg: float = 0.0
    axis_error_deg: float = 0.0
    shift_nm: float = 0.0
    blur_fwhm_nm: float = 0.0
    background: float = 0.0
    dose_electrons_per_nm2: float = math.inf
    scattering_per_nm: float = 1e-3
    noise_fraction: float = 0.0

    def __post_init__(self) -> None:
        limits = tuple(float(value) for value in self.tilt_range_deg)
        if len(limits) != 2 or not -90.0 <= limits[0] <= limits[1] <= 90.0:
            raise ValueError(
                "Microscope.tilt_range_deg must be two rising tilt angles from -90 to 90 degrees, "
                f"got {self.tilt_range_deg}."
            )
        object.__setattr__(self, "tilt_range_deg", limits)
        for name, unit in (
            ("tilt_step_deg", "degrees"),
            ("dose_electrons_per_nm2", "electrons per nm2 and view"),
            ("scattering_per_nm", "per nm"),
        ):
            value = getattr(self, name)
            if not value > 0:
                raise ValueError(f"Microscope.{name} must be positive, got {value:g} {unit}.")
        for name in ("shift_nm", "blur_fwhm_nm", "noise_fraction"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"Microscope.{name} must be finite and not negative, got {value:g}.")
        for name in ("tilt_axis_deg", "axis_error_deg", "background", "tilt_step_deg", "scattering_per_nm"):
            value = getattr(self, name)
            if not math.isfinite(value):
                raise ValueError(f"Microscope.{name} must be finite, got {value:g}.")

    @property
    def tilt_angles_deg(self) -> np.ndarray:
        """Tilt angles of the range, from its first by steps, never beyond its last."""
        first, last = self.tilt_range_deg
        return first + self.tilt_step_deg * np.arange(
            math.floor((last - first) / self.tilt_step_deg + 1e-9) + 1
        )


IDEAL = Microscope()
SAMPLES_PER_PIXEL = 2  # rays along each edge of a pixel: a particle of four pixels keeps its mass to 1 %


@dataclass(frozen=True, eq=False)
class Acquisition:
    """A tilt series and the truth about its misalignment.

    Parameters
    ----------
    series : TiltSeries
        As the microscope recorded it: shifted, turned, blurred and noisy.
    alignment : Alignment
        What aligns it exactly.
    """

    series: TiltSeries
    alignment: Alignment


def _image_shape(size_nm: Sequence[float], pixel_size_nm: float, microscope: Microscope) -> tuple[int, int]:
    """Raw (n_y, n_x) that hold the field, turned to the tilt axis, and the largest shift on each side."""
    turn = np.abs(geometry.rotation_yx(microscope.tilt_axis_deg))
    n_y, n_x = (
        math.ceil(edge / pixel_size_nm - 1e-9)
        for edge in turn @ (np.array(size_nm[1:]) + 2.0 * microscope.shift_nm)
    )
    return n_y, n_x


def _plan_acquire(
    specimen: Specimen | Sketch,
    *,
    tilt_angles_deg: Sequence[float] | None = None,
    pixel_size_nm: float = 1.0,
    image_shape: tuple[int, int] | None = None,
    microscope: Microscope = IDEAL,
    **_: object,
) -> Plan:
    n_tilts = len(microscope.tilt_angles_deg if tilt_angles_deg is None else tilt_angles_deg)
    shape: tuple[int, ...] = ()
    if image_shape is not None:
        shape = (n_tilts, *image_shape)
    elif isinstance(specimen, (Specimen, SpecimenSketch)):
        shape = (n_tilts, *_image_shape(specimen.size_nm, pixel_size_nm, microscope))
    series = Sketch("TiltSeries", shape, "float32", pixel_size_nm)
    # The float32 series, and for one view the float64 image with its rays: position, transformed position, ...
    one_view = series.n_bytes // n_tilts
    return Plan({"series": series, "alignment": Sketch("Alignment")}, series.n_bytes + 32 * one_view)


@planned(_plan_acquire)
def acquire(
    specimen: Specimen,
    *,
    tilt_angles_deg: Sequence[float] | None = None,
    pixel_size_nm: float = 1.0,
    image_shape: tuple[int, int] | None = None,
    microscope: Microscope = IDEAL,
    seed: int = 0,
) -> Acquisition:
    """Tilt series of a specimen as a microscope records it, with the alignment that undoes its errors.

    Parameters
    ----------
    specimen : Specimen
    tilt_angles_deg : sequence of float, optional
        In any order. Default: the microscope's range and step.
    pixel_size_nm : float
    image_shape : tuple of int, optional
        (n_y, n_x) of the raw views. Default: the smallest that holds the specimen's field, turned to the
        tilt axis, with the largest shift on each side.
    microscope : Microscope
        Misalignment, blur, background and noise.
    seed : int
        Of the shifts and of the noise. A view's noise does not depend on the number of views.

    Returns
    -------
    Acquisition
        `series`, float32, grey values in the unit of line integrals (density x nm), and `alignment`.

    Raises
    ------
    ValueError
        If a size is not positive, there is no tilt angle, or counting noise meets negative grey values.

    Notes
    -----
    Misalignment is exact, not resampled: each raw pixel is the mean of 2 x 2 closed-form line integrals at
    the places that the true alignment gives it. The blur has exactly the variance of its Gaussian, however
    narrow, and what lies outside the image blurs into it. A pixel of grey value g counts a Poisson number
    of electrons with mean g x dose x pixel area x scattering, divided by the same factor: so its mean stays
    g and its variance is g over that factor.
    """
    angles = microscope.tilt_angles_deg if tilt_angles_deg is None else _sampling.tilt_angles(tilt_angles_deg)
    _sampling.check_pixel(pixel_size_nm)
    raw_shape = image_shape or _image_shape(specimen.size_nm, pixel_size_nm, microscope)
    _sampling.check_image(raw_shape, pixel_size_nm)
    seed_of_shifts, *seeds_of_views = np.random.SeedSequence(seed).spawn(len(angles) + 1)
    shifts = np.random.default_rng(seed_of_shifts).uniform(-1.0, 1.0, (len(angles), 2))
    alignment = _true_alignment(angles, shifts * microscope.shift_nm, microscope.tilt_axis_deg)
    images = np.empty((len(angles), *raw_shape), dtype=np.float32)
    frames = _frames(alignment, pixel_size_nm, raw_shape)
    for i in track(range(len(angles)), "acquire the views", len(angles)):
        images[i] = _blurred_view(specimen, frames[i], raw_shape, microscope)
    sigma = microscope.noise_fraction * float(np.ptp(images))
    electrons_per_grey = microscope.dose_electrons_per_nm2 * pixel_size_nm**2 * microscope.scattering_per_nm
    for image, seed_of_view in zip(images, seeds_of_views, strict=True):
        image[...] = _noisy(image, electrons_per_grey, sigma, np.random.default_rng(seed_of_view))
    nominal_axis = microscope.tilt_axis_deg + microscope.axis_error_deg
    facts = ("images", "tilt_angles_deg", "pixel_size_nm", "tilt_axis_deg")
    sources = dict.fromkeys(facts, "tomo3d.phantoms.acquire")
    return Acquisition(TiltSeries(images, angles, pixel_size_nm, nominal_axis, sources=sources), alignment)


def _true_alignment(angles: np.ndarray, shifts_nm: np.ndarray, axis_deg: float) -> Alignment:
    return Alignment(
        shifts_nm=shifts_nm,
        tilt_axis_deg=np.full(len(angles), axis_deg),
        tilt_angles_deg=angles,
        magnification=np.ones(len(angles)),
        residual_nm=0.0,
        reliable=np.ones(len(angles), dtype=bool),
    )


def _frames(
    alignment: Alignment, pixel_size_nm: float, raw_shape: tuple[int, int]
) -> list[_sampling.ViewFrame]:
    """Where the raw pixels of each view lie in the aligned view, in nm from its centre."""
    aligned_shape = geometry.aligned_shape(raw_shape, float(alignment.tilt_axis_deg[0]))
    to_raw, offsets = geometry.alignment_matrices(alignment, pixel_size_nm, raw_shape, aligned_shape)
    aligned_centre = np.array([geometry.centre(n) for n in aligned_shape])
    frames = []
    for angle, matrix, offset in zip(alignment.tilt_angles_deg, to_raw, offsets, strict=True):
        to_aligned = np.linalg.inv(matrix)
        frames.append(
            _sampling.ViewFrame(
                float(angle),
                pixel_size_nm * to_aligned,
                pixel_size_nm * (-to_aligned @ offset - aligned_centre),
            )
        )
    return frames


def _blurred_view(
    specimen: Specimen, frame: _sampling.ViewFrame, shape: tuple[int, int], microscope: Microscope
) -> np.ndarray:
    """One raw view (n_y, n_x), float64, blurred, with its background."""
    kernel = _gaussian_kernel(microscope.blur_fwhm_nm / frame.nm_per_pixel)
    margin = len(kernel) // 2
    image = np.zeros((shape[0] + 2 * margin, shape[1] + 2 * margin))
    shifted = frame.offset_nm - frame.matrix @ np.array([margin, margin])
    wider = _sampling.ViewFrame(frame.tilt_angle_deg, frame.matrix, shifted)
    specimen.add_view(image, wider, SAMPLES_PER_PIXEL)
    if margin:
        from scipy.ndimage import convolve1d

        for axis in range(2):
            image = convolve1d(image, kernel, axis=axis, mode="constant")
    return image[margin : margin + shape[0], margin : margin + shape[1]] + microscope.background


def _gaussian_kernel(fwhm_px: float) -> np.ndarray:
    """Discrete Gaussian, (odd,), whose variance is exact for any width (Lindeberg 1990).

    References
    ----------
    .. [1] IEEE Trans. Pattern Anal. Mach. Intell. 12 (1990) 234-254, doi:10.1109/34.49051
    """
    from scipy.special import ive

    sigma = fwhm_px / math.sqrt(8.0 * math.log(2.0))
    if sigma == 0.0:
        return np.ones(1)
    reach = math.ceil(6.0 * sigma) + 3
    weights = ive(np.abs(np.arange(-reach, reach + 1)), sigma**2)
    return np.asarray(weights / weights.sum())


def _noisy(
    image: np.ndarray, electrons_per_grey: float, sigma: float, rng: np.random.Generator
) -> np.ndarray:
    """Image with counting noise, if electrons are finite in number, then Gaussian noise."""
    if math.isfinite(electrons_per_grey):
        lowest = float(image.min())
        if lowest < -1e-6 * float(np.abs(image).max()):  # below that it is rounding, of bodies that cancel
            raise ValueError(
                f"grey values must not be negative where electrons are counted, got {lowest:g}. "
                "Raise Microscope.background, or let no density be negative."
            )
        image = rng.poisson(np.maximum(image, 0.0) * electrons_per_grey) / electrons_per_grey
    return image + rng.normal(0.0, sigma, image.shape) if sigma > 0 else image
