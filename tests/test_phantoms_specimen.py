"""Specimens: sums over bodies, labels, closed-form truth, and a phantom without symmetry."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest

from tomo3d import tables
from tomo3d.phantoms import Ball, Body, Ellipsoid, Slab, Specimen, asymmetric

COAT = Ball(radius_nm=9.0, centre_nm=(1.0, -2.0, 3.0), density=1.8)
CORE = Ball(radius_nm=6.0, centre_nm=(1.0, -2.0, 3.0), density=1.0)
BEAD = Ball(radius_nm=1.2, centre_nm=(1.0, -2.0, 10.3), density=8.0)  # in the coat: 6.1 to 8.5 nm out
NESTED = Specimen(
    [Body(COAT, "film"), Body(CORE, "support", inside=0), Body(BEAD, "bead", inside=0)], (30.0, 32.0, 34.0)
)


def ball_volume(radius):
    return 4 / 3 * math.pi * radius**3


def test_densities_of_nested_bodies_are_those_of_the_innermost():
    volume = NESTED.density_volume((31, 33, 35), 1.0)
    at = {name: (15 + z, 16 + y, 17 + x) for name, (z, y, x) in
          {"core": (1, -2, 3), "coat": (1, 5, 3), "bead": (1, -2, 10), "pore": (-14, -10, -10)}.items()}  # fmt: skip
    assert volume.data[at["core"]] == pytest.approx(1.0)
    assert volume.data[at["coat"]] == pytest.approx(1.8)
    assert volume.data[at["bead"]] == pytest.approx(8.0)
    assert volume.data[at["pore"]] == 0.0
    assert volume.origin_nm == (-15.0, -16.0, -17.0)
    assert volume.voxel_size_nm == (1.0, 1.0, 1.0)


def test_volumes_and_projections_hold_the_mass():
    mass = (
        1.0 * ball_volume(6)
        + 8.0 * ball_volume(1.2)
        + 1.8 * (ball_volume(9) - ball_volume(6) - ball_volume(1.2))
    )
    # the bead of 1.2 voxels is right to 1 % and holds 2 % of the mass
    assert NESTED.density_volume((31, 33, 36), 1.0).data.sum() == pytest.approx(mass, rel=3e-4)
    series = NESTED.project([-50.0, 0.0, 70.0], (60, 71), 0.5, samples_per_pixel=2)
    np.testing.assert_allclose(series.images.sum(axis=(1, 2)) * 0.25, mass, rtol=1e-3)
    assert series.pixel_size_nm == 0.5
    np.testing.assert_array_equal(series.tilt_angles_deg, [-50.0, 0.0, 70.0])


def test_projection_is_the_sum_over_bodies_of_excess_densities():
    expected = sum(
        factor * solid.project([25.0], (40, 41), 1.0) / solid.density
        for solid, factor in ((COAT, 1.8), (CORE, 1.0 - 1.8), (BEAD, 8.0 - 1.8))
    )
    np.testing.assert_allclose(NESTED.project([25.0], (40, 41), 1.0).images, expected, atol=1e-12)


def test_labels_tell_the_innermost_phase_at_each_voxel_centre():
    labels = NESTED.labels((62, 64, 68), 0.5)
    assert labels.names == {0: "background", 1: "film", 2: "support", 3: "bead"}
    position = np.stack(
        np.meshgrid(*[(np.arange(n) - (n - 1) / 2) * 0.5 for n in (62, 64, 68)], indexing="ij"), -1
    )

    def inside(ball):
        return np.linalg.norm(position - np.array(ball.centre_nm), axis=-1) < ball.radius_nm

    expected = np.select([inside(BEAD), inside(CORE), inside(COAT)], [3, 2, 1])
    np.testing.assert_array_equal(labels.data, expected)
    assert labels.data.dtype == np.uint8


def test_truth_is_the_closed_form_of_each_phase():
    truth = NESTED.truth
    tables.check(truth, tables.SUMMARY)
    value = truth.set_index("quantity")["value"]
    film = ball_volume(9) - ball_volume(6) - ball_volume(1.2)
    assert value["volume_film"] == pytest.approx(film)
    assert value["volume_support"] == pytest.approx(ball_volume(6))
    assert value["field_fraction_film"] == pytest.approx(film / (30 * 32 * 34))
    assert value["density_bead"] == pytest.approx(8.0)
    assert value["number_bead"] == 1
    assert value["diameter_bead_mean"] == pytest.approx(2.4)
    # a film is no set of balls, though its outer bodies are
    assert "diameter_film_mean" not in value.index


def test_truth_keeps_what_the_builder_knew_and_leaves_out_what_is_infinite():
    known = tables.summary([{"quantity": "film_thickness_mean", "value": 3.0, "unit": "nm", "n": 1}])
    specimen = Specimen([Body(Slab(thickness_nm=3.0), "film")], (9.0, 9.0, 9.0), known)
    assert list(specimen.truth["quantity"]) == ["film_thickness_mean"]
    both = Specimen([Body(CORE, "support")], (30.0, 30.0, 30.0), known).truth
    assert list(both["quantity"])[-1] == "film_thickness_mean"
    assert len(both) == 6


def test_asymmetric_differs_from_each_of_its_mirrors_and_quarter_turns():
    data = asymmetric(size_nm=32.0).density_volume((32, 32, 32), 1.0).data
    overlap = {}
    for order in itertools.permutations(range(3)):
        for flips in itertools.product((False, True), repeat=3):
            axes = [axis for axis, flip in enumerate(flips) if flip]
            overlap[order, flips] = (np.flip(data.transpose(order), axes) * data).sum() / (data**2).sum()
    assert overlap.pop(((0, 1, 2), (False, False, False))) == pytest.approx(1.0)
    assert len(overlap) == 47
    assert max(overlap.values()) < 0.5


@pytest.mark.parametrize("size_nm", [64.0, 20.0])
def test_asymmetric_stays_in_its_field_at_every_tilt(size_nm):
    specimen = asymmetric(size_nm=size_nm)
    for body in specimen.bodies:
        z, y, x = body.solid.centre_nm
        reach = body.solid.bounding_radius_nm
        assert math.hypot(z, x) + reach < size_nm / 2
        assert abs(y) + reach < size_nm / 2
    pairs = itertools.combinations([body.solid for body in specimen.bodies], 2)
    for a, b in pairs:  # bodies must be disjoint for densities to be what the phases say
        points = np.random.default_rng(0).uniform(-size_nm / 2, size_nm / 2, (20000, 3))
        assert not ((a.depth_nm(points) > 0) & (b.depth_nm(points) > 0)).any()


def test_centre_of_mass_of_a_projection_is_that_of_the_volume():
    specimen = asymmetric(size_nm=40.0)
    volume = specimen.density_volume((40, 40, 40), 1.0).data
    position = np.arange(40) - 19.5
    z, y, x = (
        (volume.sum(axis=tuple({0, 1, 2} - {axis})) * position).sum() / volume.sum() for axis in range(3)
    )
    # Beads of 1.25 to 2.5 nm radius on voxels of 1 nm are right to 0.5 %, at up to 20 nm from the centre of mass,
    # with under a fifth of the mass: 0.02 nm.
    for tilt_deg in (-60.0, 0.0, 25.0):
        image = specimen.project([tilt_deg], (40, 40), 1.0, samples_per_pixel=3).images[0]
        t = math.radians(tilt_deg)
        assert (image.sum(axis=1) * position).sum() / image.sum() == pytest.approx(y, abs=0.02)
        u = (image.sum(axis=0) * position).sum() / image.sum()
        assert u == pytest.approx(x * math.cos(t) + z * math.sin(t), abs=0.02)


def test_a_specimen_reports_its_progress():
    from tomo3d.progress import listening

    heard = []
    with listening(lambda what, done, total: heard.append((what, done, total))):
        NESTED.project([0.0, 5.0], (9, 9), 4.0)
        NESTED.density_volume((8, 8, 8), 4.0)
    assert ("project the specimen", 2, 2) in heard
    assert ("fill the voxels", 3, 3) in heard


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Specimen([], (1.0, 1.0, 1.0)), "at least one body"),
        (
            lambda: Specimen([Body(CORE, "a", inside=0)], (1.0, 1.0, 1.0)),
            r"bodies\[0\].inside must be .* got 0",
        ),
        (lambda: Specimen([Body(CORE, "a")], (1.0, 0.0, 1.0)), "Specimen.size_nm must be a positive length"),
        (lambda: Specimen([Body(CORE, "a")], (1.0, 1.0)), "three lengths"),
        (
            lambda: Specimen([Body(CORE, "a")], (1.0, 1.0, 1.0), pd.DataFrame({"a": [1]})),
            "must have the columns",
        ),
        (lambda: asymmetric(size_nm=-1.0), "size_nm must be a positive length"),
    ],
)
def test_a_bad_specimen_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_body_that_replaces_another_may_be_any_solid():
    host = Ellipsoid(semi_axes_nm=(8.0, 9.0, 10.0), density=2.0)
    hole = Slab(thickness_nm=3.0, extent_nm=(5.0, 6.0), density=0.0)
    specimen = Specimen([Body(host, "host"), Body(hole, "hole", inside=0)], (30.0, 30.0, 30.0))
    value = specimen.truth.set_index("quantity")["value"]
    assert value["volume_host"] == pytest.approx(4 / 3 * math.pi * 720 - 90)
    path = specimen.project([0.0], (1, 1), 1.0).images[0, 0, 0]
    assert path == pytest.approx(2.0 * (16.0 - 3.0))
