"""The iterative reconstructions as stage functions: units, records, memory, stopping, and clear errors."""

import inspect
import logging
import tracemalloc

import numpy as np
import pytest

from tomo3d import Labels, TiltSeries, Volume, geometry, io, reconstruct
from tomo3d.cli import main as entry
from tomo3d.compute.projector import Projector
from tomo3d.planning import Sketch, plan_of
from tomo3d.reconstruct import Discrepancy, HalvesAgree, cgls, dart, mlem, sart, sirt, total_variation

OWN = {
    "sirt": {},
    "sart": {"n_subsets": 3},
    "cgls": {},
    "total_variation": {"weight": 0.1},
    "mlem": {},
    "dart": {"grey_levels": (0.1, 0.4)},
}
FUNCTIONS = [getattr(reconstruct, name) for name in OWN]
EVERY = pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__name__)
VOXEL_NM = 2.0
SHAPE = (5, 6, 12)  # (n_z, n_y, n_x)
THICKNESS_NM = SHAPE[0] * VOXEL_NM


def series(n_y=SHAPE[1], n_tilts=9, **changes):
    images = np.random.default_rng(0).random((n_tilts, n_y, SHAPE[2]), dtype=np.float32) * 4
    images.flags.writeable = False
    return TiltSeries(images, np.linspace(-60, 60, n_tilts), VOXEL_NM, **changes)


def run(function, given=None, **arguments):
    arguments = {"thickness_nm": THICKNESS_NM, "n_iterations": 3, **OWN[function.__name__], **arguments}
    return function(series() if given is None else given, **arguments)


def disc(n=64, n_z=48, n_y=3, radius=18.0, density=0.5):
    z, x = geometry.coordinates(n_z)[:, None], geometry.coordinates(n)[None]
    inside = (
        (z**2 + x**2 < radius**2) & ((z - 6) ** 2 + (x - 5) ** 2 > 16) & ((z + 7) ** 2 + (x + 4) ** 2 > 9)
    )
    return np.repeat(density * inside[:, None].astype(np.float32), n_y, axis=1)


def noisy_disc(sigma=0.0, n_tilts=41, is_counted=False):
    truth, tilts_deg = disc(), np.linspace(-70, 70, n_tilts)
    images = Projector(tilts_deg, n_u=64, n_x=64, n_z=48).forward(truth) * VOXEL_NM
    rng = np.random.default_rng(1)
    images = rng.poisson(images) if is_counted else images + rng.normal(0, sigma, images.shape)
    return truth, TiltSeries(images.astype(np.float32), tilts_deg, VOXEL_NM)


@EVERY
def test_the_record_says_what_was_done(function):
    made = run(function, lower=0.05, n_iterations=4)
    record = made.record
    assert record["method"] == function.__name__
    assert (record["n_iterations"], record["max_iterations"], record["stopped"]) == (4, 4, "n_iterations")
    assert record["lower"] == 0.05
    assert len(record["residual_norms"]) == 4
    assert all(record[name] is not None for name in OWN[function.__name__])
    assert made.data.shape == SHAPE
    assert made.voxel_size_nm == (VOXEL_NM,) * 3


@EVERY
def test_the_first_residual_is_that_of_the_images(function):
    if function in (mlem, dart, sart):  # which do not begin with nothing, or meet the views in turn
        known = Volume(np.full(SHAPE, 0.4, np.float32), (VOXEL_NM,) * 3)
        views = Projector(series().tilt_angles_deg, n_u=12, n_x=12, n_z=5).forward(known.data) * VOXEL_NM
        given = TiltSeries(views, series().tilt_angles_deg, VOXEL_NM)
        assert run(function, given, initial=known).record["residual_norms"][0] < 1e-4 * np.linalg.norm(views)
    else:
        first = run(function).record["residual_norms"][0]
        assert first == pytest.approx(np.linalg.norm(series().images), rel=1e-5)


@EVERY
def test_views_that_are_excluded_change_nothing(function):
    use = np.arange(9) != 4
    images = np.array(series().images)
    images[4] = -1e9
    images[4, 0, 0] = np.nan
    flagged = TiltSeries(images, series().tilt_angles_deg, VOXEL_NM, use=use)
    dropped = TiltSeries(images[use], series().tilt_angles_deg[use], VOXEL_NM)
    assert np.array_equal(run(function, flagged).data, run(function, dropped).data)


@EVERY
def test_a_callback_sees_every_iteration_and_can_stop(function):
    seen = []

    def callback(iteration, volume, residual_norm):
        with pytest.raises(ValueError, match="read-only"):
            volume[0, 0, 0] = 1.0
        seen.append((iteration, np.array(volume), residual_norm))
        return iteration == 2

    stopped = run(function, n_iterations=5, callback=callback)
    assert [iteration for iteration, _, _ in seen] == [1, 2]
    assert stopped.record["stopped"] == "callback"
    assert stopped.record["residual_norms"] == [norm for _, _, norm in seen]
    assert np.array_equal(seen[-1][1], stopped.data)  # in grey value per nm
    assert np.array_equal(stopped.data, run(function, n_iterations=2).data)


@EVERY
def test_what_is_given_to_write_to_is_the_volume(function, tmp_path):
    expected = run(function, series(n_y=70)).data
    on_disk = np.lib.format.open_memmap(tmp_path / "v.npy", "w+", np.float32, (5, 70, 12))
    made = run(function, series(n_y=70), out=on_disk)
    assert made.data is on_disk
    assert np.array_equal(on_disk, expected)

    class Sink:
        shape, ndim, dtype = (5, 70, 12), 3, np.dtype(np.float32)

        def __init__(self):
            self.array, self.keys = np.zeros(self.shape, np.float32), []

        def __setitem__(self, key, value):
            self.keys.append(key[1])
            self.array[key] = value

    sink = Sink()
    assert run(function, series(n_y=70), out=sink).data is sink
    assert np.array_equal(sink.array, expected)
    whole = [slice(0, 70)]
    assert sink.keys == (whole if function is total_variation else [slice(0, 64), slice(64, 70)])


@EVERY
def test_initial_volume_and_mask_are_in_the_frame_of_the_result(function):
    first = run(function, n_iterations=2)
    mask = np.zeros(SHAPE, dtype=np.uint8)
    mask[1:3, 2:, 3:9] = 7
    kept = Labels(mask, (VOXEL_NM,) * 3)
    again = run(function, initial=first, mask=kept, n_iterations=1)
    assert not again.data[mask == 0].any()
    assert again.data[mask != 0].any()
    assert (again.record["has_mask"], again.record["has_initial"]) == (True, True)


@EVERY
def test_pixels_from_beyond_a_view_do_not_count(function):
    """A view moved by 3 pixels leaves 3 rows unmeasured: what else lies there changes nothing."""
    given = series(n_y=9)
    shifts_nm = np.zeros((9, 2))
    shifts_nm[:3, 0] = 3 * VOXEL_NM
    alignment = geometry.nominal_alignment(given)
    moved = type(alignment)(
        shifts_nm, alignment.tilt_axis_deg, alignment.tilt_angles_deg, alignment.magnification, np.nan,
        alignment.reliable,
    )  # fmt: skip
    made = run(function, given, alignment=moved)
    assert np.isfinite(made.data).all()
    by_hand = np.array(given.images)
    by_hand[:3, 3:] = given.images[:3, :-3]
    by_hand[:3, :3] = 0
    zeros = run(function, TiltSeries(by_hand, given.tilt_angles_deg, VOXEL_NM))
    np.testing.assert_allclose(
        made.data[:, 6:], zeros.data[:, 6:], atol=1e-4 if function is not total_variation else 1
    )
    assert np.abs(made.data[:, :3] - zeros.data[:, :3]).max() > 0.01  # zeros would count


# --- stopping --------------------------------------------------------------------------------------------------


def errors_by_iteration(function, given, truth, n):
    errors = []
    function(
        given, thickness_nm=96.0, n_iterations=n,
        callback=lambda i, volume, norm: errors.append(np.linalg.norm(volume - truth)),
    )  # fmt: skip
    return np.array(errors)


@pytest.mark.parametrize("stop", ["discrepancy", "halves"])
@pytest.mark.parametrize(("function", "n"), [(sirt, 150), (cgls, 30), (mlem, 60)])
def test_a_stopping_rule_stops_near_the_least_error(function, n, stop):
    truth, given = noisy_disc(sigma=3.0, is_counted=function is mlem)
    errors = errors_by_iteration(function, given, truth, n)
    sigma = 3.0 if function is not mlem else np.sqrt(given.images.mean())
    rule = Discrepancy(sigma) if stop == "discrepancy" else HalvesAgree()
    made = function(given, thickness_nm=96.0, n_iterations=n, stop=rule)
    done = made.record["n_iterations"]
    assert made.record["n_iterations"] == len(made.record["residual_norms"])
    assert made.record["stop"] == str(rule)
    assert errors.argmin() + 1 < n
    assert done < n
    assert errors[done - 1] <= 1.15 * errors.min(), (done, errors.argmin() + 1)
    assert np.linalg.norm(made.data - truth) == pytest.approx(errors[done - 1], rel=1e-4)


@EVERY
@pytest.mark.parametrize("stop", ["discrepancy:1e9", "halves"])
def test_every_method_can_be_stopped(function, stop):
    made = run(function, stop=stop, n_iterations=40)
    assert made.record["n_iterations"] < 40
    assert "n_iterations" not in made.record["stopped"]


def test_a_rule_that_is_not_met_says_so():
    made = run(sirt, stop="discrepancy:0.001,1.1")
    assert made.record["n_iterations"] == 3
    assert made.record["stopped"].startswith("n_iterations; r.m.s. residual")


def test_all_slabs_stop_after_the_same_iterations():
    given = series(n_y=130)
    images = np.array(given.images)
    images[:, :64] *= 0.01  # a slab that would meet the limit at once
    made = run(
        sirt, TiltSeries(images, given.tilt_angles_deg, VOXEL_NM), n_iterations=30, stop="discrepancy:0.8"
    )
    done = made.record["n_iterations"]
    assert 1 < done < 30
    same = run(sirt, TiltSeries(images, given.tilt_angles_deg, VOXEL_NM), n_iterations=done)
    assert np.array_equal(made.data, same.data)


# --- memory ----------------------------------------------------------------------------------------------------


def peak_bytes(function, given, **arguments):
    run(function, series(n_tilts=4), n_iterations=1)  # what is kept for ever is made now
    tracemalloc.start()
    try:
        run(function, given, **arguments)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def long_series(n_y=1024, n_x=48):
    images = np.random.default_rng(0).random((21, n_y, n_x), dtype=np.float32)
    return TiltSeries(images, np.linspace(-60, 60, 21), VOXEL_NM)


@EVERY
def test_the_plan_holds_and_the_peak_is_said_before(function, caplog):
    given = long_series(192, 160)
    arguments = {**OWN[function.__name__], "thickness_nm": 80.0, "n_iterations": 2}
    plan = plan_of(function)(Sketch("TiltSeries", given.images.shape, "float32", VOXEL_NM), **arguments)
    with caplog.at_level(logging.INFO, logger="tomo3d.reconstruct"):
        peak = peak_bytes(function, given, **arguments)
    pieces = 2 * 6 << 18  # of two threads, in their caches
    assert peak <= 1.02 * plan.peak_bytes + pieces  # weights of one slice
    assert plan.peak_bytes <= 1.3 * peak
    assert any("of memory at most" in message for message in caplog.messages)


def test_sirt_takes_little_more_than_its_input_and_output():
    given = long_series()
    output = 4 * 16 * 1024 * 48
    peak = peak_bytes(sirt, given, thickness_nm=32.0, n_iterations=2)
    assert peak <= output + 0.15 * (output + given.images.nbytes)  # the input is there already


@EVERY
def test_too_little_memory_is_said_with_what_is_needed(function):
    given = series(n_y=130)
    with pytest.raises(ValueError, match=r"memory_limit must be at least .* \((\d+) bytes") as caught:
        run(function, given, memory_limit="20 KiB")
    needed = int(str(caught.value).split("(")[1].split()[0])
    for limit in (needed, f"{needed} B", "1 GiB"):
        assert run(function, given, memory_limit=limit).data.shape == (5, 130, 12)
    with pytest.raises(ValueError, match="memory_limit must be at least"):
        run(function, given, memory_limit=needed - 1)


# --- units -----------------------------------------------------------------------------------------------------


def ball_by_total_variation(share, *, voxel_nm=1.0, n_tilts=40, radius=13.0, n=40):
    """Density at the centre of a ball of 1, for a weight of share * radius^2."""
    at = geometry.coordinates(n)
    squares = at[:, None, None] ** 2 + at[None, :, None] ** 2 + at[None, None, :] ** 2
    tilts_deg = (np.arange(n_tilts) + 0.5) * 180.0 / n_tilts - 90
    images = (
        Projector(tilts_deg, n_u=n, n_x=n, n_z=n).forward((squares < radius**2).astype(np.float32)) * voxel_nm
    )
    made = total_variation(
        TiltSeries(images, tilts_deg, voxel_nm),
        thickness_nm=n * voxel_nm,
        n_iterations=300,
        weight=share * (radius * voxel_nm) ** 2,
    )
    return made.data[squares < (0.5 * radius) ** 2].mean()


def test_total_variation_costs_the_centre_of_a_ball_the_density_that_theory_says():
    """Mean square projection 2 pi r^4, surface 4 pi r^2: a ball that stays one loses 2 weight / r^2."""
    lost = 1 - ball_by_total_variation(0.02)
    assert lost == pytest.approx(0.04, rel=0.25)  # its edge softens instead
    assert 1 - ball_by_total_variation(0.02, voxel_nm=3.0) == pytest.approx(lost, rel=1e-3)
    assert 1 - ball_by_total_variation(0.02, n_tilts=20) == pytest.approx(lost, rel=0.1)


@pytest.mark.parametrize("function", [cgls, total_variation, mlem], ids=lambda function: function.__name__)
def test_objectives_are_in_the_units_that_they_say(function):
    """Residuals in grey values of the images, lengths in nm."""
    x = np.random.default_rng(2).random(SHAPE, dtype=np.float32)
    made = run(function, initial=Volume(x, (VOXEL_NM,) * 3), n_iterations=1)
    projector = Projector(series().tilt_angles_deg, n_u=12, n_x=12, n_z=5)
    b, model = series().images.astype(np.float64), projector.forward(x).astype(np.float64) * VOXEL_NM
    if function is cgls:  # over the path of each ray in voxels
        path = projector.forward(np.ones_like(x))
        expected = np.sum(np.where(path > 0.05, (b - model) ** 2 / np.maximum(path, 0.05), 0))
    elif function is total_variation:
        slopes = [np.diff(x, axis=axis, append=np.take(x, [-1], axis=axis)) / VOXEL_NM for axis in range(3)]
        variation = np.sqrt(np.sum(np.square(slopes), axis=0)).sum() * VOXEL_NM**3
        expected = np.sum((b - model) ** 2) * VOXEL_NM**2 / (2 * len(b)) + 0.1 * variation
    else:
        is_met = model > 0
        expected = np.sum((model - b) + b * np.log(np.where(is_met, b / np.where(is_met, model, 1), 1)))
    assert made.record["objectives"][0] == pytest.approx(expected, rel=1e-4)


def test_counts_are_kept_in_nm():
    counts = np.random.default_rng(0).poisson(20, (9, 6, 12)).astype(np.float32)
    # the middle of a slab that every view sees in full would hold all counts; here rays miss the corners
    made = mlem(
        TiltSeries(counts, np.zeros(9) + np.arange(9) * 1e-3, VOXEL_NM), thickness_nm=10.0, n_iterations=3
    )
    np.testing.assert_allclose(made.data.sum(axis=0) * VOXEL_NM, counts.mean(axis=0), rtol=0.02)


def test_estimated_levels_are_densities_per_nm():
    truth, given = noisy_disc(sigma=0.2)
    made = dart(given, thickness_nm=96.0, n_iterations=20, grey_levels=2)
    np.testing.assert_allclose(made.record["grey_levels"], [0.0, 0.5], atol=0.02)
    assert np.mean(np.abs(made.data - truth) > 0.1) < 0.003
    assert set(np.unique(made.data)) == set(np.float32(made.record["grey_levels"]))


def test_dart_depends_on_its_seed_only():
    _, given = noisy_disc(sigma=2.0)
    arguments = {"thickness_nm": 96.0, "n_iterations": 3, "grey_levels": (0.0, 0.5)}
    one, same, other = (dart(given, seed=seed, **arguments).data for seed in (1, 1, 2))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


# --- errors ----------------------------------------------------------------------------------------------------


def grid(shape=SHAPE, value=1.0, voxel_nm=VOXEL_NM):
    return Volume(np.full(shape, value, np.float32), (voxel_nm,) * 3)


def support(shape=SHAPE, value=1):
    return Labels(np.full(shape, value, np.uint8), (VOXEL_NM,) * 3)


BAD = [
    ({"n_iterations": 0}, "n_iterations must be at least 1, got 0"),
    (
        {"lower": 0.5, "upper": 0.5},
        "lower must be below upper, got lower 0.5 and upper 0.5 grey value per nm",
    ),
    ({"lower": np.nan}, "lower must be a finite density"),
    ({"mask": support(value=0)}, "mask must hold at least one voxel that is not 0"),
    ({"mask": support((5, 6, 11))}, r"mask must have the shape of the reconstruction, \(5, 6, 12\)"),
    ({"initial": grid((5, 6, 11))}, r"initial must have the shape .* got \(5, 6, 11\)"),
    ({"initial": grid(voxel_nm=3.0)}, "initial must have the voxels of the reconstruction, 2 nm"),
    ({"initial": grid(value=np.nan)}, "initial must be finite, got NaN or infinity in slice z = 0"),
    ({"out": np.zeros((1, 2, 3))}, "out must have the shape of the reconstruction"),
    ({"memory_limit": "much"}, "an amount of memory must be"),
    ({"stop": "never"}, "stop must be discrepancy:SIGMA .* or halves, got 'never'"),
    ({"stop": "discrepancy"}, "stop 'discrepancy' needs the noise of a pixel"),
    ({"stop": "discrepancy:-1"}, "noise_sigma of a discrepancy must be positive, got -1"),
    ({"thickness_nm": 0.0}, "thickness_nm must be at least"),
    ({"thickness_nm": 1e12}, "memory"),
]


@EVERY
@pytest.mark.parametrize(
    ("changes", "message"), BAD, ids=lambda value: next(iter(value), "") if isinstance(value, dict) else ""
)
def test_bad_input_is_said_in_a_sentence(function, changes, message):
    with pytest.raises(ValueError, match=message):
        run(function, **changes)


@EVERY
@pytest.mark.parametrize(
    ("changes", "message"),
    [({"use": np.zeros(9, bool)}, "at least one view must be in use"), ({"tilt_axis_deg": 5.0}, "tilt axis")],
)
def test_series_that_cannot_be_reconstructed_are_refused(function, changes, message):
    with pytest.raises(ValueError, match=message):
        run(function, series(**changes))


@pytest.mark.parametrize(
    ("function", "changes", "message"),
    [
        (sirt, {"relaxation": 2.0}, "relaxation must lie between 0 and 2"),
        (sart, {"relaxation": 0.0}, "relaxation must lie between 0 and 2"),
        (sart, {"n_subsets": 0}, "n_subsets must be at least 1, got 0"),
        (total_variation, {"weight": -1.0}, "weight must be at least 0, got -1 grey value x nm"),
        (mlem, {"upper": 0.0}, "upper must be above 0, got 0 counts per nm"),
        (mlem, {"initial": grid(value=-1.0)}, "initial must be 0 or more for counts, got -1"),
        (dart, {"grey_levels": (1.0,)}, "grey_levels must be at least 2, got 1"),
        (dart, {"grey_levels": (1.0, 1.0)}, "grey_levels must be different finite densities"),
        (dart, {"free_share": 1.5}, "free_share must be at least 0 and at most 1, got 1.5"),
    ],
)
def test_bad_parameters_are_said_in_a_sentence(function, changes, message):
    with pytest.raises(ValueError, match=message):
        run(function, **changes)


def test_negative_counts_are_refused():
    images = np.array(series().images)
    images[2, 3, 4] = -0.5
    given = TiltSeries(images, series().tilt_angles_deg, VOXEL_NM)
    with pytest.raises(ValueError, match=r"counts must be 0 or more, got -0.5 in view 2 \(0-based\)"):
        run(mlem, given)


def test_halves_need_four_views():
    with pytest.raises(ValueError, match="stop 'halves' needs at least 4 views in use, got 3"):
        run(sirt, series(n_tilts=3), stop="halves")


# --- the command line ------------------------------------------------------------------------------------------


def test_files_stand_for_mask_and_initial_volume(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    io.write_tilt_series(series(), "tilts.mrc")
    mask = np.ones(SHAPE, np.uint8)
    mask[:, :, :4] = 0
    io.write_labels(Labels(mask, (VOXEL_NM,) * 3), "mask.mrc")
    io.write_volume(grid(value=0.25), "first.mrc")
    words = ["reconstruct", "sirt", "tilts.mrc", "v.mrc", "--thickness-nm", "10", "--n-iterations", "6",
             "--mask", "mask.mrc", "--initial", "first.mrc", "--stop", "halves", "--memory-limit", "1 GiB",
             "--tilt-axis-deg", "0"]  # fmt: skip
    assert entry.main(words) == 0
    read = io.read_tilt_series("tilts.mrc", tilt_axis_deg=0)
    direct = sirt(
        read, thickness_nm=10.0, n_iterations=6, mask=io.read_labels("mask.mrc"),
        initial=io.read_volume("first.mrc"), stop="halves",
    )  # fmt: skip
    assert np.array_equal(io.read_volume("v.mrc").data, direct.data)


@EVERY
def test_every_parameter_is_explained(function):
    text = inspect.getdoc(function)
    for name in inspect.signature(function).parameters:
        assert f"\n{name} : " in text, name


def test_a_stopping_rule_counts_the_memory_of_its_pilot():
    series = TiltSeries(np.zeros((9, 200, 40), np.float32), np.linspace(-60, 60, 9), 1.0)
    sink = np.empty((20, 200, 40), np.float16)
    room = plan_of(sirt)(
        Sketch("TiltSeries", (9, 200, 40), "float32", 1.0), thickness_nm=20.0, n_iterations=2, out=sink
    ).peak_bytes
    sirt(series, thickness_nm=20.0, n_iterations=1, out=sink, memory_limit=room)
    with pytest.raises(
        ValueError, match="memory_limit must be at least"
    ):  # both halves, and what they come from
        sirt(series, thickness_nm=20.0, n_iterations=1, out=sink, memory_limit=2 * room, stop="halves")
    sirt(series, thickness_nm=20.0, n_iterations=1, out=sink, memory_limit=3 * room, stop="halves")


def test_a_start_of_zeros_in_some_slices_does_not_depend_on_slabs():
    rng = np.random.default_rng(9)
    tilts = np.linspace(-60, 60, 9)
    series = TiltSeries(rng.random((9, 130, 16), dtype=np.float32), tilts, 1.0)
    first = np.zeros((8, 130, 16), dtype=np.float32)
    first[:, 100:] = 0.1
    arguments = {"thickness_nm": 8.0, "n_iterations": 2, "initial": Volume(first, (1.0,) * 3)}
    slabs = mlem(series, **arguments)
    whole = mlem(series, **arguments, callback=lambda *_: False)
    np.testing.assert_allclose(slabs.data, whole.data, atol=1e-6)
    assert not slabs.data[:, :100].any()
