"""Reconstruction: unbiased densities, the right hand, and clear errors."""

import dataclasses
import functools
import itertools
import logging
import re

import numpy as np
import pytest

from tomo3d import Alignment, Labels, TiltSeries, geometry
from tomo3d.compute import weighted
from tomo3d.compute.aligned_views import SelectedViews
from tomo3d.compute.filters import Ramp
from tomo3d.compute.projector import Projector
from tomo3d.reconstruct import sirt, wbp
from tomo3d.reconstruct._prepare import prepare


def disc_series(tilts_deg, *, n=256, radius=80.0, pixel_size_nm=1.0, n_y=1):
    """Exact line integrals, in nm, of a cylinder of density 1 along y."""
    u = geometry.coordinates(n)
    line = 2 * np.sqrt(np.maximum(radius**2 - u**2, 0)) * pixel_size_nm
    images = np.broadcast_to(line.astype(np.float32), (len(tilts_deg), n_y, n))
    return TiltSeries(images, np.asarray(tilts_deg, dtype=float), pixel_size_nm)


def radius_map(n):
    c = geometry.coordinates(n)
    return np.hypot(c[:, None], c[None, :])


@pytest.mark.parametrize("pixel_size_nm", [1.0, 3.36])
@pytest.mark.parametrize(
    "tilts_deg",
    [
        np.arange(-90.0, 90.0),
        np.arange(181) * 180.0 / 181 - 90,
        np.random.default_rng(0).permutation(np.arange(-90.0, 90.0)),
    ],
    ids=["180 views", "181 views", "random order"],
)
def test_a_unit_disc_is_one_inside_and_zero_outside(tilts_deg, pixel_size_nm):
    volume = wbp(disc_series(tilts_deg, pixel_size_nm=pixel_size_nm), thickness_nm=256 * pixel_size_nm)
    section, r = volume.data[:, 0], radius_map(256)
    assert abs(section[r < 76].mean() - 1) <= 1e-3
    assert abs(section[(r > 84) & (r < 128)].mean()) <= 1e-3


def test_densities_do_not_change_with_binning():
    fine = wbp(
        disc_series(np.arange(-90.0, 90.0, 2), n=128, radius=40.0, pixel_size_nm=1.0), thickness_nm=128
    )
    coarse = wbp(
        disc_series(np.arange(-90.0, 90.0, 2), n=64, radius=20.0, pixel_size_nm=2.0), thickness_nm=128
    )
    # at 90 views both are within a per cent of 1 in the middle
    assert fine.data[:, 0][radius_map(128) < 35].mean() == pytest.approx(1.0, abs=2e-3)
    assert coarse.data[:, 0][radius_map(64) < 17].mean() == pytest.approx(1.0, abs=2e-3)


def test_sirt_finds_the_density_of_a_disc():
    series = disc_series(np.arange(-90.0, 90.0, 3), n=96, radius=30.0, pixel_size_nm=2.0)
    volume = sirt(series, thickness_nm=192, n_iterations=60, lower=0.0)
    section, r = volume.data[:, 0], radius_map(96)
    assert section[r < 26].mean() == pytest.approx(1.0, abs=0.01)
    assert abs(section[(r > 34) & (r < 48)].mean()) <= 0.01
    norms = volume.record["residual_norms"]
    assert len(norms) == 60
    assert all(later <= earlier for earlier, later in itertools.pairwise(norms))  # SIRT is monotone


def test_sirt_keeps_within_its_bounds():
    rng = np.random.default_rng(0)
    series = TiltSeries(rng.normal(size=(9, 3, 20)).astype(np.float32), np.linspace(-60, 60, 9), 2.0)
    volume = sirt(series, thickness_nm=20, n_iterations=5, lower=-0.01, upper=0.02)
    assert volume.data.min() == pytest.approx(-0.01)
    assert volume.data.max() == pytest.approx(0.02)


@pytest.mark.parametrize(
    ("n_y", "n_x", "thickness_nm", "n_z"), [(5, 20, 20.0, 10), (4, 21, 15.1, 8), (1, 7, 2.0, 1)]
)
def test_the_grid_is_the_contract(n_y, n_x, thickness_nm, n_z):
    images = np.ones((3, n_y, n_x), dtype=np.int16)
    images.flags.writeable = False
    series = TiltSeries(images, np.array([-10.0, 0.0, 10.0]), 2.0)
    for volume in (
        wbp(series, thickness_nm=thickness_nm),
        sirt(series, thickness_nm=thickness_nm, n_iterations=1),
    ):
        assert volume.data.shape == (n_z, n_y, n_x)
        assert volume.data.dtype == np.float32
        assert volume.voxel_size_nm == (2.0, 2.0, 2.0)
        assert volume.origin_nm == (-(n_z - 1), -(n_y - 1), -(n_x - 1))
        assert volume.record["tilt_range_deg"] == [-10.0, 10.0]


def test_an_alignment_in_the_call_equals_an_applied_one():
    from tomo3d.align import apply

    rng = np.random.default_rng(3)
    series = TiltSeries(
        rng.random((5, 16, 24), dtype=np.float32), np.linspace(-40, 40, 5), 1.5, tilt_axis_deg=80.0
    )
    alignment = Alignment(
        rng.normal(size=(5, 2)),
        np.full(5, 82.0),
        series.tilt_angles_deg,
        np.ones(5),
        np.nan,
        np.ones(5, bool),
    )
    inside = wbp(series, thickness_nm=12.0, alignment=alignment)
    outside = wbp(apply(series, alignment), thickness_nm=12.0)
    assert inside.data.shape == (8, 24, 16)  # the axis is nearer 90 deg: n_y and n_x are swapped
    assert np.array_equal(inside.data, outside.data)


@pytest.mark.parametrize("rows", [0, 3])
def test_views_that_only_move_are_moved_by_the_projector_and_not_resampled(rows):
    tilts = np.linspace(-60, 60, 41)
    series = disc_series(tilts, n=64, radius=20.0, n_y=9)
    shifts = np.stack([np.full(41, float(rows)), 2.0 * np.sin(np.arange(41))], axis=1)
    moved = Projector(tilts, n_u=64, n_x=64, n_z=64, shifts=-shifts[:, 1]).forward(
        sirt(series, thickness_nm=64.0, n_iterations=3).data
    )
    raw = np.roll(moved, -rows, axis=1)
    alignment = Alignment(shifts, np.zeros(41), tilts, np.ones(41), np.nan, np.ones(41, bool))
    prepared = prepare(TiltSeries(raw, tilts, 1.0), 64.0, alignment)
    assert isinstance(prepared.images, SelectedViews)  # as they are: nothing interpolated
    found = wbp(TiltSeries(raw, tilts, 1.0), thickness_nm=64.0, alignment=alignment)
    expected = weighted.wbp(moved, Projector(tilts, 64, 64, 64, -shifts[:, 1]), window=Ramp())
    inside = slice(rows, None)  # rows from beyond the view are continued from its edge
    np.testing.assert_allclose(found.data[:, inside], expected[:, inside], atol=1e-6)


class Sink:
    """The least that `out` must be: sizes and kind of an array, and slabs that are set."""

    ndim, dtype = 3, np.dtype(np.float64)

    def __init__(self, shape):
        self.shape = shape
        self.data = np.full(shape, np.nan)

    def __setitem__(self, key, slab):
        self.data[key] = slab


def test_a_volume_is_written_slab_by_slab_to_what_takes_it(tmp_path):
    series = TiltSeries(
        np.random.default_rng(1).random((9, 150, 20), dtype=np.float32), np.linspace(-60, 60, 9), 2.0
    )
    whole = wbp(series, thickness_nm=14.0)
    sink = Sink((7, 150, 20))
    assert wbp(series, thickness_nm=14.0, out=sink, memory_limit=400_000).data is sink
    np.testing.assert_array_equal(sink.data, whole.data)
    mapped = np.lib.format.open_memmap(tmp_path / "a.npy", mode="w+", dtype=np.float32, shape=(7, 150, 20))
    wbp(series, thickness_nm=14.0, out=mapped)
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), whole.data)
    halves = np.empty((7, 150, 20), dtype=np.float16)
    wbp(series, thickness_nm=14.0, out=halves)
    np.testing.assert_allclose(halves, whole.data, atol=2e-3)


@pytest.mark.parametrize("voxel_size_nm", [2.0, 3.2])
def test_larger_voxels_keep_densities_and_positions(voxel_size_nm):
    tilts = np.arange(-90.0, 90.0)
    series = disc_series(tilts, n=128, radius=40.0, n_y=20)
    volume = wbp(series, thickness_nm=100.0, voxel_size_nm=voxel_size_nm)
    assert volume.data.shape == (
        round(100 / voxel_size_nm),
        int(20 / voxel_size_nm),
        int(128 / voxel_size_nm),
    )
    assert volume.voxel_size_nm == (voxel_size_nm,) * 3
    z, _, x = np.meshgrid(
        *(geometry.coordinates(n) * voxel_size_nm for n in volume.data.shape), indexing="ij"
    )
    radius = np.hypot(z, x)
    assert volume.data[radius < 30].mean() == pytest.approx(1.0, abs=2e-3)
    assert volume.data[(radius > 48) & (radius < 60)].mean() == pytest.approx(0.0, abs=2e-3)
    half = volume.data[np.abs(z) < voxel_size_nm / 2 + 1e-6] > 0.5
    assert 2 * np.abs(x[np.abs(z) < voxel_size_nm / 2 + 1e-6][half]).max() == pytest.approx(
        80.0, abs=2 * voxel_size_nm
    )


def test_memory_is_stated_and_kept(caplog):
    series = TiltSeries(np.zeros((9, 150, 20), np.float32), np.linspace(-60, 60, 9), 2.0)
    with caplog.at_level(logging.INFO, logger="tomo3d.reconstruct"):
        wbp(series, thickness_nm=14.0, memory_limit="1 MiB")
    assert re.search(r"WBP, which works on 64 slices at a time, \d+ KiB of memory at most", caplog.text)
    with pytest.raises(
        ValueError, match=r"memory_limit must be at least 2\d\d KiB .*64 slices\), got 1000 B"
    ):
        wbp(series, thickness_nm=14.0, memory_limit=1000)
    with pytest.raises(ValueError, match=r"an amount of memory must be .* got 'much'"):
        wbp(series, thickness_nm=14.0, memory_limit="much")


def test_a_thickness_beyond_memory_is_refused_before_it_is_taken():
    series = TiltSeries(np.zeros((3, 1000, 1000), np.float32), np.array([-1.0, 0.0, 1.0]), 1.0)
    with pytest.raises(ValueError, match=r"thickness of 100000000 voxels of 1 nm needs 364 TiB"):
        wbp(series, thickness_nm=1e8)


def test_what_is_written_to_must_fit():
    series = TiltSeries(np.zeros((3, 4, 5), np.float32), np.array([-1.0, 0.0, 1.0]), 1.0)
    with pytest.raises(ValueError, match=r"out must have the shape .*\(2, 4, 5\).*got \(2, 4, 6\)"):
        wbp(series, thickness_nm=2.0, out=np.empty((2, 4, 6), np.float32))
    with pytest.raises(ValueError, match=r"voxel_size_nm must be at least one pixel \(1 nm\), got 0.5 nm"):
        wbp(series, thickness_nm=2.0, voxel_size_nm=0.5)


@pytest.mark.parametrize("method", [wbp, functools.partial(sirt, n_iterations=2)], ids=["wbp", "sirt"])
@pytest.mark.parametrize("kind", ["fortran", "every other", "reversed", "float64"])
def test_any_layout_is_written_to_and_nothing_beside_it(method, kind):
    series = TiltSeries(
        np.random.default_rng(2).random((9, 70, 32), dtype=np.float32), np.linspace(-60, 60, 9), 1.0
    )
    whole = method(series, thickness_nm=16.0)
    shape = (16, 70, 32)
    guard = np.full((16, 70, 64), 7.0, dtype=np.float32)
    out = {
        "fortran": np.zeros(shape, np.float32, order="F"),
        "every other": guard[:, :, ::2],
        "reversed": guard[:, :, 31::-1],
        "float64": np.zeros(shape),
    }[kind]
    method(series, thickness_nm=16.0, out=out)
    np.testing.assert_array_equal(out, whole.data)
    beside = {"every other": guard[:, :, 1::2], "reversed": guard[:, :, 32:]}.get(kind)
    assert beside is None or (beside == 7.0).all()


def test_what_cannot_hold_densities_is_refused():
    series = TiltSeries(np.zeros((3, 4, 5), np.float32), np.array([-1.0, 0.0, 1.0]), 1.0)
    with pytest.raises(TypeError, match=r"out must hold floating-point densities, got int16"):
        wbp(series, thickness_nm=2.0, out=np.empty((2, 4, 5), np.int16))
    fixed = np.zeros((2, 4, 5), np.float32)
    fixed.flags.writeable = False
    with pytest.raises(ValueError, match=r"out must be writeable, got a read-only array"):
        wbp(series, thickness_nm=2.0, out=fixed)
    for window in ("gaussian:nan,0.03", "exact:inf"):
        with pytest.raises(ValueError, match=r"must be .*finite"):
            wbp(series, thickness_nm=2.0, window=window)
    with pytest.raises(TypeError, match=r"window must be a Window or its name, got int"):
        wbp(series, thickness_nm=2.0, window=5)


def test_a_mask_from_elsewhere_is_refused_and_one_without_an_origin_taken():
    series = TiltSeries(np.zeros((3, 4, 5), np.float32), np.array([-1.0, 0.0, 1.0]), 1.0)
    inside = np.ones((2, 4, 5), np.uint8)
    sirt(series, thickness_nm=2.0, n_iterations=1, mask=Labels(inside, (1.0,) * 3))
    with pytest.raises(ValueError, match=r"mask must lie where the reconstruction does"):
        sirt(series, thickness_nm=2.0, n_iterations=1, mask=Labels(inside, (1.0,) * 3, (1000.0, 0.0, 0.0)))


def test_a_specimen_tilted_about_x_comes_out_level():
    """A thin slab, tilted by 10 deg about x: level with the tilt in the alignment, slanted without."""
    tilts = np.arange(-70.0, 71.0, 2.0)
    n_y, n = 48, 48
    slanted = Projector(tilts, n_u=n, n_x=n, n_z=n, x_tilt_deg=10.0)
    slab = np.zeros((n, n_y, n), dtype=np.float32)
    slab[22:26, 4:-4, 4:-4] = 1.0
    series = TiltSeries(slanted.forward(slab), tilts, 1.0)

    found = dataclasses.replace(geometry.nominal_alignment(series), x_axis_tilt_deg=10.0)

    def slant_deg(alignment):
        data = wbp(series, thickness_nm=48.0, alignment=alignment).data[:, 12:36, 16:32].mean(axis=2)
        z = geometry.coordinates(n)[:, None]
        middle = np.maximum(data - 0.5 * data.max(axis=0), 0.0)  # of the upper half of the peak
        middle = (middle * z).sum(axis=0) / middle.sum(axis=0)
        return np.rad2deg(np.arctan(np.polyfit(np.arange(24), middle, 1)[0]))

    assert abs(slant_deg(found)) < 0.3
    assert abs(slant_deg(dataclasses.replace(found, x_axis_tilt_deg=None))) == pytest.approx(10.0, abs=1.0)


def test_an_excluded_view_does_not_count():
    series = disc_series(np.arange(-90.0, 90.0, 3), n=48, radius=15.0)
    images = np.array(series.images)
    images[7] = np.nan
    use = np.ones(60, dtype=bool)
    use[7] = False
    flagged = TiltSeries(images, series.tilt_angles_deg, 1.0, use=use)
    dropped = TiltSeries(np.delete(images, 7, 0), np.delete(series.tilt_angles_deg, 7), 1.0)
    a, b = (sirt(s, thickness_nm=48, n_iterations=3) for s in (flagged, dropped))
    assert np.array_equal(a.data, b.data)


@pytest.mark.parametrize(
    ("changes", "arguments", "message"),
    [
        ({}, {"thickness_nm": 0.0}, r"thickness_nm must be at least one pixel \(2 nm\), got 0 nm"),
        ({}, {"thickness_nm": np.nan}, "thickness_nm must be at least one pixel"),
        ({}, {"thickness_nm": np.inf}, "thickness_nm must be finite"),
        ({"tilt_axis_deg": 5.0}, {}, "tilt axis of the series must be 0 deg"),
        ({"use": np.zeros(3, dtype=bool)}, {}, "at least one view must be in use"),
        ({"nan": True}, {}, r"got 1 NaN or infinite pixels in view 1 \(0-based\)"),
        ({}, {"n_iterations": 0}, "n_iterations must be at least 1, got 0"),
        ({}, {"relaxation": 2.0}, "relaxation must lie between 0 and 2"),
        ({}, {"lower": 1.0, "upper": 0.5}, "lower must be below upper"),
    ],
)
def test_bad_input_is_said_in_a_sentence(changes, arguments, message):
    images = np.ones((3, 4, 6), dtype=np.float32)
    if changes.pop("nan", False):
        images[1, 2, 3] = np.nan
    series = TiltSeries(images, np.array([-10.0, 0.0, 10.0]), 2.0, **changes)
    with pytest.raises(ValueError, match=message):
        sirt(series, **{"thickness_nm": 8.0, "n_iterations": 1, **arguments})


def test_an_alignment_of_another_series_is_refused():
    series = disc_series([-10.0, 0.0, 10.0], n=16)
    other = geometry.nominal_alignment(disc_series([-10.0, 0.0], n=16))
    with pytest.raises(
        ValueError, match=r"one row per view of the series \(3, excluded views too\), got 2 rows"
    ):
        wbp(series, thickness_nm=8, alignment=other)
