"""Alignment by particles that the specimen has: balls that a field cuts, with known shifts, axis and offset."""

from dataclasses import replace

import numpy as np
import pytest

from tomo3d import TiltSeries, align, geometry
from tomo3d.align import _marker_free, _with_particles
from tomo3d.align._marker_free import _smoothing
from tomo3d.phantoms import Ball, Body, Microscope, Specimen, acquire

TILTS = np.linspace(-60.0, 60.0, 31)
NM = 5.0  # of a particle; a pixel is 1 nm


def specimen(seed=0):
    """Particles among large grains, in a slab twice as wide as the field."""
    rng = np.random.default_rng(seed)
    edge = np.array([40.0, 100.0, 190.0])

    def balls(n, radii, density):
        return [
            Body(
                Ball(
                    radius_nm=float(rng.uniform(*radii)),
                    centre_nm=tuple(rng.uniform(-0.45, 0.45, 3) * edge),
                    density=density,
                ),
                "ball",
            )
            for _ in range(n)
        ]

    return Specimen(balls(100, (2.0, 3.0), 4.0) + balls(12, (9.0, 12.0), 1.0), tuple(edge))


@pytest.fixture(scope="module")
def cut():
    """(series, truth, the truth with errors of 1 px and an offset of the axis of 14 px): clean."""
    acquired = acquire(
        specimen(),
        tilt_angles_deg=TILTS,
        image_shape=(97, 88),
        microscope=Microscope(blur_fwhm_nm=1.5, shift_nm=4.0),
        seed=3,
    )
    images = np.asarray(acquired.series.images)
    images.flags.writeable = False
    moves = np.random.default_rng(8).normal(0.0, 0.7, (len(TILTS), 2))
    moves[:, 1] += 14.0 + np.cos(np.deg2rad(4.0 * TILTS))
    start = replace(acquired.alignment, shifts_nm=acquired.alignment.shifts_nm + moves)
    return replace(acquired.series, images=images), acquired.alignment, start


def errors(found, truth):
    """R.m.s. (along, across), without what is free, in pixels."""
    off = found.shifts_nm - truth.shifts_nm
    tilt = np.deg2rad(TILTS)
    modes = np.column_stack((np.ones_like(tilt), np.cos(tilt), np.sin(tilt)))
    across = off[:, 1] - modes @ np.linalg.lstsq(modes, off[:, 1], rcond=None)[0]
    return float(np.std(off[:, 0])), float(np.sqrt(np.mean(across**2)))


@pytest.mark.parametrize("polarity", ["auto", "bright"])
def test_views_are_aligned_from_an_axis_far_off_the_middle(cut, polarity):
    series, truth, start = cut
    assert max(errors(start, truth)) > 0.6
    found = align.with_particles(series, diameter_nm=NM, polarity=polarity, alignment=start)
    assert max(errors(found, truth)) < 0.1
    assert geometry.axis_difference_deg(found.tilt_axis_deg[0], truth.tilt_axis_deg[0]) == pytest.approx(
        0.0, abs=0.1
    )
    offset = found.evidence["axis_offset"]
    # over 120 deg, elsewhere along the beam is much like another offset
    assert offset["offset_nm"][offset["brightness"].idxmax()] < -6.0
    assert set(found.evidence["particle_scales"]["polarity"]) == {"bright"}
    particles, views = found.evidence["particles"], found.evidence["particle_views"]
    assert len(particles) >= 20
    assert (particles["n_views"] > 6).mean() > 0.7
    sigma = views[["sigma_y_nm", "sigma_x_nm"]].to_numpy()
    assert sigma.min() > 0.0
    assert sigma.max() < 0.3
    assert found.reliable.all()
    assert 0.0 < found.residual_nm < 1.0
    assert found.residual_nm != start.residual_nm


@pytest.mark.slow
@pytest.mark.parametrize("diameter_nm", [2.5, 8.8])
def test_particles_of_half_and_twice_the_size(cut, diameter_nm):
    series, truth, start = cut
    middle = replace(start, shifts_nm=start.shifts_nm - (0.0, 14.0))
    found = align.with_particles(series, diameter_nm=diameter_nm, polarity="bright", alignment=middle)
    assert max(errors(found, truth)) < 0.1


@pytest.mark.slow
@pytest.mark.parametrize(("noise", "limit_px"), [(0.1, 0.12), (0.3, 0.25)])
def test_noise(noise, limit_px):
    microscope = Microscope(blur_fwhm_nm=1.5, shift_nm=4.0, noise_fraction=noise)
    acquired = acquire(specimen(), tilt_angles_deg=TILTS, image_shape=(97, 88), microscope=microscope, seed=3)
    truth = acquired.alignment
    moves = np.random.default_rng(8).normal(0.0, 0.7, (len(TILTS), 2))
    found = align.with_particles(
        acquired.series, diameter_nm=NM, alignment=replace(truth, shifts_nm=truth.shifts_nm + moves)
    )
    assert max(errors(found, truth)) < limit_px
    sigma = found.evidence["particle_views"][["sigma_y_nm", "sigma_x_nm"]].to_numpy()
    assert 0.5 < np.sqrt(np.mean(sigma**2)) / np.hypot(*errors(found, truth)) * np.sqrt(2.0) < 2.0


def test_dark_particles_are_as_good(cut):
    series, truth, start = cut
    dark = replace(series, images=5.0 - np.asarray(series.images))
    found = align.with_particles(dark, diameter_nm=NM, alignment=start)
    assert max(errors(found, truth)) < 0.1
    assert set(found.evidence["particle_scales"]["polarity"]) == {"dark"}


def test_an_axis_that_is_off_and_an_excluded_view(cut):
    series, truth, start = cut
    use = np.ones(len(TILTS), dtype=bool)
    use[[0, 12]] = False
    turned = replace(
        start,
        shifts_nm=start.shifts_nm @ geometry.rotation_yx(-1.0).T,
        tilt_axis_deg=start.tilt_axis_deg + 1.0,
    )
    found = align.with_particles(replace(series, use=use), diameter_nm=NM, alignment=turned)
    assert geometry.axis_difference_deg(found.tilt_axis_deg[0], truth.tilt_axis_deg[0]) == pytest.approx(
        0.0, abs=0.15
    )
    assert not found.reliable[[0, 12]].any()
    np.testing.assert_array_equal(found.evidence["particle_views"]["view"], np.flatnonzero(use))
    rows = geometry.rows(found, use), geometry.rows(truth, use)
    off = rows[0].shifts_nm - rows[1].shifts_nm
    assert float(np.std(off[:, 0])) < 0.1


@pytest.mark.slow
def test_noise_is_not_taken_for_particles():
    rng = np.random.default_rng(0)
    series = TiltSeries(rng.normal(size=(31, 64, 64)).astype(np.float32), TILTS, 1.0)
    with pytest.raises(ValueError, match=r"halves of the particles must agree on the shifts within .* nm"):
        align.with_particles(series, diameter_nm=5.0, alignment=geometry.nominal_alignment(series))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"diameter_nm": 1.0}, r"along a side \(2 nm\), and a tenth of the image \(8.8 nm\), got 1 nm"),
        ({"diameter_nm": np.nan}, "got nan nm"),
        (
            {"diameter_nm": 5.0, "thickness_nm": np.nan},
            "thickness_nm must be a positive length in nm, got nan nm",
        ),
        ({"diameter_nm": 5.0, "thickness_nm": -3.0}, "got -3 nm"),
        ({"diameter_nm": 5.0, "polarity": "white"}, "polarity must be one of 'auto', 'bright', 'dark'"),
    ],
)
def test_bad_options(cut, options, message):
    with pytest.raises(ValueError, match=message):
        align.with_particles(cut[0], **options)


def test_particles_that_the_working_copy_cannot_show():
    images = np.broadcast_to(np.float32(1.0), (31, 40, 2050))
    with pytest.raises(ValueError, match=r"of at most 1024 along a side \(6 nm\)"):
        align.with_particles(TiltSeries(images, TILTS, 1.0), diameter_nm=3.0)


def test_a_pixel_that_is_not_finite(cut):
    series, _, start = cut
    images = np.array(series.images)
    images[7, 3, 4] = np.nan
    with pytest.raises(ValueError, match="view 7"):
        align.with_particles(replace(series, images=images), diameter_nm=NM, alignment=start)


@pytest.mark.parametrize("function", [align.marker_free, align.projection_matching, align.tilt_axis])
def test_a_thickness_that_is_none(cut, function):
    with pytest.raises(ValueError, match="thickness_nm must be a positive length in nm, got 0 nm"):
        function(cut[0], thickness_nm=0.0)


def test_too_few_views(cut):
    series = cut[0]
    use = np.zeros(len(TILTS), dtype=bool)
    use[:4] = True
    with pytest.raises(ValueError, match="at least six views in use, got 4"):
        align.with_particles(replace(series, use=use), diameter_nm=NM)


def test_one_ball_is_too_few():
    tilts = TILTS[::5]
    acquired = acquire(
        Specimen([Body(Ball(radius_nm=2.5, centre_nm=(9.0, 5.0, -7.0)), "ball")], (60.0, 60.0, 60.0)),
        tilt_angles_deg=tilts,
        image_shape=(60, 60),
    )
    with pytest.raises(ValueError, match="check diameter_nm, polarity and the alignment to start from"):
        align.with_particles(acquired.series, diameter_nm=NM, alignment=acquired.alignment)


def test_too_few_particles(cut, monkeypatch):
    monkeypatch.setattr(_with_particles, "_FEWEST", 1000)
    with pytest.raises(ValueError, match=r"at least 1000 particles .* got fewer of 5 nm"):
        align.with_particles(cut[0], diameter_nm=NM, alignment=cut[2])


@pytest.mark.slow
def test_marker_free_follows_particles_where_the_field_cuts_the_specimen(cut):
    series, truth, _ = cut
    found = align.marker_free(series)
    assert "particles" in found.evidence
    assert max(errors(found, truth)) < 0.15
    table = found.evidence["projection_matching"]
    off = found.shifts_nm - truth.shifts_nm
    assert np.mean(np.abs(off[:, 0] - off[:, 0].mean()) < 1.645 * table["sigma_y_nm"]) > 0.7


@pytest.mark.slow
def test_marker_free_leaves_particles_that_are_not_sure_alone(cut, monkeypatch):
    monkeypatch.setattr(_marker_free, "_LEAST_CONTRAST", 1e6)
    assert "particles" not in align.marker_free(cut[0]).evidence


def test_what_varies_slowly_passes_the_smoothing_and_what_does_not_is_left():
    smoothing = _smoothing(TILTS)
    line = 2.0 + 0.1 * TILTS
    np.testing.assert_allclose(smoothing @ line, line, atol=1e-9)
    alternating = np.where(np.arange(len(TILTS)) % 2, 1.0, -1.0)
    assert np.abs(smoothing @ alternating).max() < 0.75
    assert np.abs((smoothing @ alternating)[3:-3]).max() < 0.2
