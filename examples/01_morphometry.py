"""Thickness and volumes of a film with honest intervals: of the segmentation, and of the whole chain, beside the truth.

    python examples/01_morphometry.py

A simulated catalyst layer stands for your specimen and `chain` for your analysis: put your own in its place.
"""

import pandas as pd

from tomo3d import measure, phantoms, reconstruct, segment

MICROSCOPE = phantoms.Microscope(
    tilt_range_deg=(-60, 60), blur_fwhm_nm=2, dose_electrons_per_nm2=8000, scattering_per_nm=0.002
)
LEVEL, UPPER = (
    0.25,
    0.75,
)  # half way from nothing to the film, 0.5 per nm, and from it to the grains, 1 per nm


def specimen(seed, film_thickness_nm):
    """Three grains in a film, with particles in them; every seed places and shapes them anew."""
    return phantoms.catalyst_layer(
        seed=seed,
        size_nm=(64, 96, 96),
        film_thickness_nm=film_thickness_nm,
        film_density=0.5,
        support=phantoms.Support(n_grains=3, semi_axis_nm=(12, 15)),
        particles=phantoms.Particles(n_particles=8, diameter_nm=(4, 6), density=3, in_film=False),
    )


def measured(film):
    """One summary of what is asked for, by the names of the truth."""
    film = segment.clean(film, min_volume_nm3=500)
    names = {"thickness_median": "film_thickness_median", "volume_foreground": "volume_film"}
    summaries = measure.thickness_summary(measure.local_thickness(film)), measure.volume_fractions(film)
    table = pd.concat(summaries).replace({"quantity": names})
    return table[table.quantity.isin(names.values())]


def chain(series):
    """From the tilt series to numbers; the levels may be 10 % off."""
    volume = reconstruct.sirt(series, thickness_nm=76, n_iterations=40, lower=0)
    masks = segment.threshold_ensemble(volume, LEVEL, half_range=0.1 * LEVEL, n=3, upper=UPPER)
    return measure.with_uncertainty(measured, masks, spread="range")


# What is to be known: a film of 7.5 nm, recorded once.
real = specimen(seed=100, film_thickness_nm=7.5)
series = phantoms.acquire(real, pixel_size_nm=1.5, microscope=MICROSCOPE, seed=100).series
summary = chain(series)

# How far off the chain is, on phantoms like it, from thinner to thicker films; then taken out, with its scatter.
alike = (specimen(seed, film_thickness_nm=6 + 0.5 * (seed % 7)) for seed in range(8))
bias = measure.measurement_bias(alike, chain, like=series, microscope=MICROSCOPE)
corrected = measure.correct_bias(summary, bias)

for name, table in {"as measured": summary, "corrected": corrected}.items():
    beside = phantoms.compare(real, table)[["quantity", "measured", "truth", "unit"]]
    beside[["low", "high"]] = table[["low", "high"]].to_numpy()
    print(f"{name}:\n{beside.to_string(index=False, float_format='{:.4g}'.format)}")
