"""Elemental maps: the likelihood of counts, shadowing, other pixels, and fusion with the HAADF series."""

import dataclasses
import itertools
import shutil
import tracemalloc

import numpy as np
import pandas as pd
import pytest
import scipy.special
from cuda_shim import stand_in

from tomo3d import TiltSeries, planning
from tomo3d.compute.counting import expected_divergence
from tomo3d.compute.projector import Projector
from tomo3d.phantoms import Ball, Body, Ellipsoid, Microscope, Specimen, acquire
from tomo3d.reconstruct import multi_channel
from tomo3d.reconstruct._multi_channel import _noise, _written

N = 40  # edge of the field in nm
IRON = Ellipsoid(semi_axes_nm=(7, 9, 11), centre_nm=(0, -5, -5), density=0.2, rotation_deg=(20, 30, 0))
GOLD = (
    Ball(radius_nm=5, centre_nm=(3, 10, 8), density=0.4),
    Ball(radius_nm=3, centre_nm=(-8, 9, -7), density=0.4),
)
FEW, MANY = np.arange(-60.0, 61.0, 15.0), np.arange(-70.0, 71.0, 4.0)


def specimen(*solids):
    return Specimen([Body(solid, "element") for solid in solids], (N, N, N))


ELEMENTS = {"Fe": specimen(IRON), "Au": specimen(*GOLD)}
TRUTH = {name: element.density_volume((N, N, N), 1.0).data for name, element in ELEMENTS.items()}


def counted(element, angles_deg, *, pixel_nm=1.0, dose=1.0, factors=1.0, seed=0):
    """Poisson counts; `dose` multiplies the densities."""
    n = round(N / pixel_nm)
    expected = ELEMENTS[element].project(angles_deg, (n, n), pixel_nm).images
    expected = expected * dose * np.broadcast_to(factors, len(angles_deg))[:, None, None]
    images = np.random.default_rng(seed).poisson(expected).astype(np.int32)
    images.flags.writeable = False
    return TiltSeries(images, angles_deg, pixel_nm)


def exact(element, angles_deg, *, pixel_nm=1.0):
    n = round(N / pixel_nm)
    return ELEMENTS[element].project(angles_deg, (n, n), pixel_nm)


def error(volume, element):
    return float(np.linalg.norm(volume.data - TRUTH[element]) / np.linalg.norm(TRUTH[element]))


@pytest.fixture(scope="module")
def few_counts():
    """About 8 counts in the brightest pixel, at nine tilts."""
    return {name: counted(name, FEW, seed=i) for i, name in enumerate(ELEMENTS)}


@pytest.fixture(scope="module")
def haadf():
    """36 tilts, noise of 2 % of the brightest pixel; one count of gold shows four times as bright as one of iron."""
    images = 5 * exact("Fe", MANY).images + 20 * exact("Au", MANY).images
    noise = np.random.default_rng(9).normal(0, 0.02 * images.max(), images.shape)
    return TiltSeries((images + noise).astype(np.float32), MANY, 1.0)


@pytest.fixture(scope="module")
def fused(few_counts, haadf):
    return multi_channel(few_counts, thickness_nm=N, n_iterations=40, haadf=haadf, tv_weight=0.3)


def test_alone_and_in_full_view_it_is_maximum_likelihood(few_counts):
    series = few_counts["Fe"]
    projector = Projector(FEW, n_u=N, n_x=N, n_z=N)
    counts = series.images.astype(np.float32)
    norm = projector.back(np.ones_like(counts))
    x = np.full((N, N, N), counts.sum() / projector.forward(np.ones((N, N, N), np.float32)).sum(), np.float32)
    for _ in range(6):
        x = x * projector.back(counts / np.maximum(projector.forward(x), 1e-20)) / np.maximum(norm, 1e-20)
    ones = {"Fe": np.ones(len(FEW))}
    for shadowing in (None, ones, pd.DataFrame(ones)):
        found = multi_channel({"Fe": series}, thickness_nm=N, n_iterations=6, shadowing=shadowing)["Fe"]
        # rays that graze an edge of the slab with under 0.05 voxels are left out
        np.testing.assert_allclose(found.data, x, atol=2e-3 * x.max())


def test_the_likelihood_rises_and_keeps_the_total(few_counts):
    found = multi_channel(few_counts, thickness_nm=N, n_iterations=12)
    for name, volume in found.items():
        divergences = volume.record["divergences"]
        assert len(divergences) == 12
        assert all(later < earlier for earlier, later in itertools.pairwise(divergences))
        assert volume.data.sum() * len(FEW) == pytest.approx(few_counts[name].images.sum(), rel=0.01)
        assert volume.record["channel"] == name
        assert volume.record["tilt_range_deg"] == [-60, 60]


def test_channels_alone_do_not_know_of_each_other(few_counts):
    both = multi_channel(few_counts, thickness_nm=N, n_iterations=4)
    for name, series in few_counts.items():
        alone = multi_channel({name: series}, thickness_nm=N, n_iterations=4)[name]
        assert np.array_equal(both[name].data, alone.data)


def test_fusion_lowers_the_error(few_counts, fused):
    best = dict.fromkeys(ELEMENTS, np.inf)
    for n_iterations in (3, 5, 8):  # the likelihood alone overfits further on
        alone = multi_channel(few_counts, thickness_nm=N, n_iterations=n_iterations)
        best = {name: min(best[name], error(alone[name], name)) for name in ELEMENTS}
    smooth = multi_channel(few_counts, thickness_nm=N, n_iterations=60, tv_weight=1.0)
    for name, limit in (("Fe", 0.6), ("Au", 0.6)):
        assert error(fused[name], name) < limit * best[name]
        assert error(fused[name], name) < 0.95 * error(smooth[name], name)


def test_fusion_keeps_totals_and_finds_the_signal_of_each_element(fused):
    for name, per_count in (("Fe", 5), ("Au", 20)):
        # total variation takes some of the total away: a tenth at this weight at most
        assert fused[name].data.sum() == pytest.approx(TRUTH[name].sum(), rel=0.1)
        assert fused[name].record["haadf_per_count"] == pytest.approx(per_count, rel=0.25)


def test_the_joint_objective_falls(fused):
    record = fused["Fe"].record
    totals = record["objectives"]
    assert all(later < earlier for earlier, later in itertools.pairwise(totals))
    assert totals == fused["Au"].record["objectives"]
    parts = record["divergences"][-1] + fused["Au"].record["divergences"][-1]
    assert parts + record["haadf_misfits"][-1] + record["variations"][-1] == pytest.approx(totals[-1])


def test_a_given_contrast_is_kept(few_counts, haadf):
    found = multi_channel(
        few_counts, thickness_nm=N, n_iterations=10, haadf=haadf, contrast={"Au": 4.0, "Fe": 1.0}
    )
    weights = {name: volume.record["haadf_per_count"] for name, volume in found.items()}
    assert weights["Au"] / weights["Fe"] == pytest.approx(4)


def test_shadowing_is_undone():
    factors = np.where(FEW < 0, 0.35, 1.0) * np.linspace(0.8, 1.0, len(FEW))
    counts = {"Fe": counted("Fe", FEW, dose=50, factors=factors)}
    right = multi_channel(counts, thickness_nm=N, n_iterations=10, shadowing={"Fe": factors})["Fe"].data / 50
    wrong = multi_channel(counts, thickness_nm=N, n_iterations=10)["Fe"].data / 50
    full = multi_channel({"Fe": counted("Fe", FEW, dose=50)}, thickness_nm=N, n_iterations=10)["Fe"].data / 50
    errors = [np.linalg.norm(data - TRUTH["Fe"]) for data in (right, wrong, full)]
    total = TRUTH["Fe"].sum()
    assert right.sum() == pytest.approx(total, rel=0.02)  # 1 % by counting
    assert wrong.sum() < 0.75 * total
    assert errors[0] < 1.3 * errors[2]  # a third fewer counts
    assert errors[1] > 1.5 * errors[2]


@pytest.mark.parametrize("pixel_nm", [1.6, 2.0])
def test_channels_of_other_pixels_and_tilts_share_a_grid(pixel_nm):
    channels = {"Fe": exact("Fe", FEW + 3, pixel_nm=pixel_nm), "Au": exact("Au", np.arange(-66.0, 67, 6))}
    found = multi_channel(channels, thickness_nm=N, n_iterations=30)
    for name, volume in found.items():
        assert volume.data.shape == (N, N, N)
        assert volume.voxel_size_nm == (1, 1, 1)
        assert volume.data.sum() == pytest.approx(TRUTH[name].sum(), rel=0.01)
        assert volume.record["channel_pixel_nm"] == channels[name].pixel_size_nm
    middle = found["Fe"].data[18:23, 13:18, 13:18]  # within the ellipsoid
    assert middle.mean() == pytest.approx(IRON.density, rel=0.1)  # over a wedge


def test_the_grid_is_that_of_the_haadf_series(few_counts):
    coarse = exact("Fe", MANY, pixel_nm=2.0)
    found = multi_channel({"Fe": few_counts["Fe"]}, thickness_nm=24, n_iterations=1, haadf=coarse)["Fe"]
    assert found.data.shape == (12, 20, 20)
    assert found.voxel_size_nm == (2, 2, 2)
    assert found.origin_nm == (-11, -19, -19)


@pytest.mark.parametrize("tilt_axis_deg", [2.5, 87.0, -91.5, 180.0])
def test_an_alignment_acts_within_the_projector(tilt_axis_deg):
    microscope = Microscope(tilt_axis_deg=tilt_axis_deg, shift_nm=4.0)
    made = acquire(
        ELEMENTS["Fe"], tilt_angles_deg=FEW, microscope=microscope, image_shape=(56, 56), pixel_size_nm=1.0
    )
    straight = ELEMENTS["Fe"].project(FEW, (56, 56), 1.0)
    truth = np.pad(TRUTH["Fe"], ((0, 0), (8, 8), (8, 8)))
    errors = [
        np.linalg.norm(volume.data - truth) / np.linalg.norm(truth)
        for volume in (
            multi_channel({"Fe": straight}, thickness_nm=N, n_iterations=10)["Fe"],
            multi_channel({"Fe": made.series}, thickness_nm=N, n_iterations=10,
                          alignments={"Fe": made.alignment})["Fe"],
            multi_channel({"Fe": made.series}, thickness_nm=N, n_iterations=10,
                          alignments={"Fe": unshifted(made.alignment)})["Fe"],
        )
    ]  # fmt: skip
    assert errors[1] < 1.1 * errors[0]  # bilinear instead of linear weights
    assert errors[2] > 2 * errors[0]


def unshifted(alignment):
    return dataclasses.replace(alignment, shifts_nm=np.zeros_like(alignment.shifts_nm))


def test_an_excluded_view_does_not_count(few_counts):
    series = few_counts["Au"]
    images = series.images.astype(np.float32)
    images[4] = np.nan
    use = np.arange(len(FEW)) != 4
    factors = np.linspace(0.5, 1, len(FEW))
    factors[4] = 0  # and neither does its factor
    flagged = TiltSeries(images, FEW, 1.0, use=use)
    dropped = TiltSeries(series.images[use], FEW[use], 1.0)
    a = multi_channel({"Au": flagged}, thickness_nm=N, n_iterations=3, shadowing={"Au": factors})["Au"]
    b = multi_channel({"Au": dropped}, thickness_nm=N, n_iterations=3, shadowing={"Au": factors[use]})["Au"]
    assert np.array_equal(a.data, b.data)


@pytest.mark.parametrize("sigma", [0.5, 3.0])
def test_the_noise_of_the_haadf_series_is_found(sigma):
    images = np.random.default_rng(0).normal(0, sigma, (5, 60, 50)) + np.linspace(0, 90, 50)
    assert _noise(images) == pytest.approx(sigma, rel=0.03)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"channels": {}}, "there must be at least one channel, got none"),
        ({"n_iterations": 0}, "n_iterations must be at least 1, got 0"),
        ({"thickness_nm": 1.0}, r"thickness_nm must be at least one pixel \(2 nm\), got 1 nm"),
        ({"shadowing": {"Fe": [1.0, 0.0, 1.0]}}, r"shadowing of 'Fe' must lie in \(0, 1\], got 0"),
        ({"shadowing": {"Fe": [1.0, 1.1, 1.0]}}, r"shadowing of 'Fe' must lie in \(0, 1\], got 1.1"),
        ({"shadowing": {"Fe": [1.0, 1.0]}}, r"one factor per view \(3\), got shape \(2,\)"),
        ({"shadowing": {"Zn": [1.0, 1.0, 1.0]}}, r"shadowing must name channels \['Fe'\], got \['Zn'\]"),
        ({"contrast": {"Fe": 1.0}}, "contrast must come with a haadf series, got none"),
        ({"contrast": {"Fe": -1.0}, "haadf": True}, "contrast of 'Fe' must be a positive number, got -1"),
        ({"haadf_weight": 0.0}, "haadf_weight must be positive, got 0"),
        ({"tv_weight": -1.0}, "tv_weight must be 0 or more, got -1"),
        ({"alignments": {"Cu": None}}, r"alignments must name channels \['Fe', 'haadf'\], got \['Cu'\]"),
        ({"change": {"tilt_axis_deg": 3.0}}, "Fe: the tilt axis of the series must be 0 deg"),
        ({"change": {"use": np.zeros(3, bool)}}, "Fe: at least one view must be in use"),
        ({"pixel": -2.0}, r"channel 'Fe' must hold counts, 0 or more, got -2 in view 1 \(0-based\)"),
        ({"pixel": np.nan}, r"Fe: every pixel must be finite, got 1 NaN or infinite pixels in view 1"),
        ({"haadf": False}, "haadf: some grey value must differ from 0"),
    ],
)
def test_bad_input_is_said_in_a_sentence(arguments, message):
    images = np.ones((3, 6, 8), dtype=np.float32)
    images[1, 2, 3] = arguments.pop("pixel", 1.0)
    angles = np.array([-20.0, 0.0, 20.0])
    channels = {"Fe": TiltSeries(images, angles, 2.0, **arguments.pop("change", {}))}
    if "haadf" in arguments:
        arguments["haadf"] = TiltSeries(np.full((3, 6, 8), float(arguments["haadf"])), angles, 2.0)
    with pytest.raises(ValueError, match=message):
        multi_channel(**{"channels": channels, "thickness_nm": 8.0, "n_iterations": 1, **arguments})


def test_the_divergence_of_counts_from_their_mean_is_known():
    rng = np.random.default_rng(0)
    for mean in (0.01, 0.3, 1.3, 6.0, 90.0, 400.0):
        counts = rng.poisson(mean, 400_000).astype(float)
        divergence = mean - counts + scipy.special.xlogy(counts, counts / mean)
        error = 5 * divergence.std() / np.sqrt(counts.size)
        assert expected_divergence(np.float32(mean)) == pytest.approx(divergence.mean(), abs=error)
    assert expected_divergence(np.zeros(2, np.float32)).max() < 1e-20


def test_it_stops_when_counting_explains_what_is_left(few_counts):
    found = multi_channel(few_counts, thickness_nm=N, n_iterations=60, stop="discrepancy")
    free = multi_channel(few_counts, thickness_nm=N, n_iterations=60)
    for name, volume in found.items():
        record, n_done = volume.record, volume.record["n_iterations"]
        assert n_done < 60
        assert record["divergences"] == free[name].record["divergences"][:n_done]
        assert record["divergences"][-1] > record["divergences_by_counting"][-1]  # not yet before the last
        assert record["stopped"] == "divergence at most 1 x that of counting"
        assert error(volume, name) < 0.8 * error(free[name], name)


def test_a_callback_sees_each_iteration_and_may_stop(few_counts, haadf):
    seen = []

    def callback(iteration, volumes, objective):
        seen.append((iteration, {name: data.copy() for name, data in volumes.items()}, objective))
        return iteration == 2

    found = multi_channel(few_counts, thickness_nm=N, n_iterations=9, haadf=haadf, callback=callback)
    assert [iteration for iteration, _, _ in seen] == [1, 2]
    for name, volume in found.items():
        np.testing.assert_array_equal(seen[-1][1][name], volume.data)
        assert volume.record["objectives"] == [objective for _, _, objective in seen]
        assert volume.record["stopped"] == "callback"


def test_channels_are_written_where_they_are_asked_for(few_counts, tmp_path):
    out = {"Au": np.lib.format.open_memmap(tmp_path / "v.npy", "w+", np.float32, (N, N, N))}
    found = multi_channel(few_counts, thickness_nm=N, n_iterations=2, out=out)
    plain = multi_channel(few_counts, thickness_nm=N, n_iterations=2)
    assert found["Au"].data is out["Au"]
    for name in few_counts:
        assert np.array_equal(found[name].data, plain[name].data)
    with pytest.raises(ValueError, match="Fe: out must have the shape of the reconstruction"):
        multi_channel(few_counts, thickness_nm=N, n_iterations=2, out={"Fe": np.empty((N, N, 3), np.float32)})


@pytest.mark.parametrize(
    "arguments",
    [{}, {"tv_weight": 0.3}, {"haadf": True}, {"haadf": True, "tv_weight": 0.3}, {"stop": "discrepancy"}],
)
def test_the_plan_holds_the_memory_that_it_takes(few_counts, haadf, arguments):
    arguments = {"thickness_nm": N, **arguments, **({"haadf": haadf} if "haadf" in arguments else {})}

    def sketch(value):
        return planning.Sketch("TiltSeries", value.images.shape, "float32", 1.0)

    known = {name: sketch(v) if isinstance(v, TiltSeries) else v for name, v in arguments.items()}
    plan = planning.plan_of(multi_channel)({name: sketch(s) for name, s in few_counts.items()}, **known)
    tracemalloc.start()
    try:
        found = multi_channel(few_counts, n_iterations=2, **arguments)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert plan.result["Fe"].shape == found["Fe"].data.shape
    assert 0.75 * plan.peak_bytes < peak < 1.1 * plan.peak_bytes
    with pytest.raises(ValueError, match=rf"memory_limit must be at least .* \({plan.peak_bytes} bytes"):
        multi_channel(few_counts, n_iterations=2, memory_limit=plan.peak_bytes - 1, **arguments)


class HostSink:
    """An output on the host, which takes NumPy arrays alone; CuPy's do not become those unasked."""

    def __init__(self, shape):
        self.held, self.shape = np.zeros(shape, np.float32), shape

    def __setitem__(self, key, value):
        assert type(value) is np.ndarray
        self.held[key] = value


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++ to compile CUDA as C++")
def test_a_channel_on_the_gpu_is_written_to_the_host():
    solved = np.random.default_rng(0).random((2, 3, 4), dtype=np.float32)  # (n_z, n_x, n_y)
    out = HostSink((2, 4, 3))
    with stand_in.cupy() as cupy:
        assert _written(cupy.asarray(solved), out) is out
    np.testing.assert_array_equal(out.held, solved.transpose(0, 2, 1))
