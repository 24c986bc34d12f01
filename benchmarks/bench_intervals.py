"""How often stated 95 % intervals hold the truth, after correction of the bias, on small simulated specimens."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import ClassVar

import numpy as np
import pandas as pd

from benchmarks.cases import Target, Targets
from tomo3d import measure, phantoms, reconstruct, segment, tables
from tomo3d.types import Labels, TiltSeries, Volume

_N_PHANTOMS = 24
_FILM_NM = (5.0, 7.0)
_FIELD_NM = (48.0, 76.0, 76.0)
_THICKNESS_NM = 52.0
_FILM_DENSITY, _PARTICLE_DENSITY = 3.0, 16.0
_FILM_LEVEL = 0.5 * (1.0 + _FILM_DENSITY) - 0.25  # half way between support and film, pulled towards the pore
_PARTICLE_LEVEL = 0.5 * (_FILM_DENSITY + _PARTICLE_DENSITY)
_LEVEL_ERROR = 0.05  # how far a level may be off, as a share of the contrast that it parts
_MICROSCOPE = phantoms.Microscope(tilt_step_deg=4.0, noise_fraction=0.03, blur_fwhm_nm=1.5)
QUANTITIES = ("film_thickness_mean", "volume_film", "volume_particle")


def specimen(seed: int, level_error: float = 0.0) -> phantoms.Specimen:
    """Two coated grains with eight particles; the film's thickness is drawn from a range.

    Densities differ from those that the levels were made for: the right levels lie up to `level_error` off, as a
    share of the contrast that they part.
    """
    rng = np.random.default_rng(seed)
    film_thickness = float(rng.uniform(*_FILM_NM))
    film, particle = rng.uniform(-level_error, level_error, 2)
    film_density = _FILM_DENSITY + 2 * film * (_FILM_DENSITY - 1.0)
    return phantoms.catalyst_layer(
        seed=seed,
        size_nm=_FIELD_NM,
        film_thickness_nm=film_thickness,
        film_density=film_density,
        support=phantoms.Support(n_grains=2, semi_axis_nm=(7.5, 9.0), gap_nm=4.0),
        particles=phantoms.Particles(
            n_particles=8,
            diameter_nm=(3.0, 4.0),
            density=_PARTICLE_DENSITY + 2 * particle * (_PARTICLE_DENSITY - _FILM_DENSITY),
        ),
    )


def volume_of(series: TiltSeries) -> Volume:
    """The reconstruction that the chain makes."""
    return reconstruct.sirt(series, thickness_nm=_THICKNESS_NM, n_iterations=20, lower=0)


def film_and_particles(volume: Volume, change: float) -> Labels:
    """1 the film, 2 the particles; both levels changed by a share of what they part."""
    film = segment.threshold(
        volume, level=_FILM_LEVEL + change * (_FILM_DENSITY - 1.0), upper=_PARTICLE_LEVEL
    )
    film = segment.clean(film, opening_nm=3, min_volume_nm3=200)
    particles = np.asarray(volume.data) >= _PARTICLE_LEVEL + change * (_PARTICLE_DENSITY - _FILM_DENSITY)
    data = np.where(particles, 2, film.data).astype(np.uint8)
    return Labels(data, volume.voxel_size_nm, volume.origin_nm, names={1: "film", 2: "particle"})


def numbers_of(labels: Labels) -> pd.DataFrame:
    """Thickness of the film, and the volumes; what takes blocks for independent is left to the ensemble."""
    film = Labels((labels.data == 1).astype(np.uint8), labels.voxel_size_nm)
    thickness = measure.thickness_summary(measure.local_thickness_voxel(film), quantity="film_thickness")
    table = pd.concat([thickness, measure.volume_fractions(labels)], ignore_index=True)
    return tables.summary(
        {key: row[key] for key in ("quantity", "value", "unit", "n")}
        for row in table[table.quantity.isin(QUANTITIES)].to_dict("records")
    )


def chain(series: TiltSeries) -> pd.DataFrame:
    """From the views to the numbers, with levels that may be off by `_LEVEL_ERROR`."""
    volume = volume_of(series)

    def ensemble() -> Iterator[Labels]:
        yield from (film_and_particles(volume, change) for change in (0.0, -_LEVEL_ERROR, _LEVEL_ERROR))

    return measure.with_uncertainty(numbers_of, ensemble(), spread="range")


@functools.cache
def intervals(n_specimens: int) -> pd.DataFrame:
    """Value, low, high and truth of every quantity of every specimen.

    The phantoms that give the bias have films of the same range, and the densities that the levels were made for.
    """
    bias = measure.measurement_bias(
        [specimen(10_000 + i) for i in range(min(_N_PHANTOMS, n_specimens))],
        chain,
        microscope=_MICROSCOPE,
        seed=10_000,
    )
    rows = []
    for seed in range(n_specimens):
        one = specimen(seed, _LEVEL_ERROR)
        series = phantoms.acquire(one, microscope=_MICROSCOPE, seed=seed).series
        measured = chain(series)
        corrected = measure.correct_bias(measured, bias)
        truth = one.truth.set_index("quantity").value
        raw = measured.set_index("quantity")
        for row in corrected.to_dict("records"):
            name = str(row["quantity"])
            rows.append({**row, "truth": truth[name], "raw_low": raw.low[name], "raw_high": raw.high[name]})
    return pd.DataFrame(rows)


class Coverage:
    """Share of specimens whose truth lies in the stated interval, and how wide it is."""

    params: ClassVar = [[4, 200], QUANTITIES]
    param_names: ClassVar = ["n_specimens", "quantity"]
    timeout = 600
    targets: ClassVar[Targets] = {
        "track_covered_by_95_percent": {(200, q): Target(at_least=0.90, at_most=0.99) for q in QUANTITIES},
        "track_half_width": {(200, q): Target(at_most=0.25) for q in QUANTITIES},
    }

    def setup(self, n_specimens: int, quantity: str) -> None:
        table = intervals(n_specimens)
        self.rows = table[table.quantity == quantity]

    def track_covered_by_95_percent(self, n_specimens: int, quantity: str) -> float:
        return float(((self.rows.low <= self.rows.truth) & (self.rows.truth <= self.rows.high)).mean())

    def track_covered_without_correction(self, n_specimens: int, quantity: str) -> float:
        return float(
            ((self.rows.raw_low <= self.rows.truth) & (self.rows.truth <= self.rows.raw_high)).mean()
        )

    def track_half_width(self, n_specimens: int, quantity: str) -> float:
        """Of the interval, over the value: the median of the specimens."""
        return float((0.5 * (self.rows.high - self.rows.low) / self.rows.value).median())

    def track_bias_left_percent(self, n_specimens: int, quantity: str) -> float:
        return float(100 * (self.rows.value / self.rows.truth - 1).mean())
