"""Specimens that go on beside the field: a margin that is solved for and cut away, and what stopping rules judge."""

import re
import shutil
import tracemalloc

import numpy as np
import pytest
from cuda_shim import stand_in

from tomo3d import Labels, TiltSeries, Volume, geometry, io, reconstruct
from tomo3d.cli import main as entry
from tomo3d.compute.projector import Projector
from tomo3d.compute.solvers import Cgls, Constraint, Problem, iterate, pilot
from tomo3d.compute.solvers._margin import judged, margin_of_views, rays_within
from tomo3d.phantoms import Slab
from tomo3d.pipeline._device import call_on
from tomo3d.planning import Sketch, plan_of
from tomo3d.reconstruct import _slab_memory, cgls, sirt
from tomo3d.types import Alignment

OWN = {
    "sirt": {"n_iterations": 30},
    "sart": {"n_iterations": 10, "n_subsets": 3},
    "cgls": {"n_iterations": 10},
    "total_variation": {"n_iterations": 60, "weight": 0.01},
    "mlem": {"n_iterations": 20},
    "dart": {"n_iterations": 5, "grey_levels": (0.0, 0.5)},
}
EVERY = pytest.mark.parametrize("name", OWN)
N, N_Z, N_Y = 48, 12, 3
VOXEL_NM = 2.0
TILTS_DEG = np.linspace(-60, 60, 25)
THICKNESS_NM = N_Z * VOXEL_NM


def run(name, given, **arguments):
    function = getattr(reconstruct, name)
    return function(given, **{"thickness_nm": THICKNESS_NM, **OWN[name], **arguments})


def film(width_nm, density=0.5, n_y=N_Y, tilts_deg=TILTS_DEG):
    """Closed-form views of a film as thick as the reconstruction."""
    solid = Slab(thickness_nm=THICKNESS_NM, extent_nm=(1e5, width_nm), density=density)
    images = solid.project(tilts_deg, (n_y, N), VOXEL_NM, samples_per_pixel=2).astype(np.float32)
    images.flags.writeable = False
    return TiltSeries(images, tilts_deg, VOXEL_NM)


def random_slab(noise_sigma, n_y=8, seed=0):
    """A wide slab of lumps, cut to the field, and its views with white noise."""
    rng = np.random.default_rng(seed)
    wide = rng.standard_normal((N_Z, n_y, 5 * N)).astype(np.float32)
    for axis in (0, 2):
        wide = sum(np.roll(wide, k, axis) for k in range(4)) / 2
    wide = 1.0 + 0.3 * wide
    images = Projector(TILTS_DEG, n_u=N, n_x=5 * N, n_z=N_Z).forward(wide) * VOXEL_NM
    images += rng.normal(0, noise_sigma, images.shape).astype(np.float32)
    return wide[:, :, 2 * N : 3 * N], TiltSeries(images, TILTS_DEG, VOXEL_NM)


def rms(array):
    return float(np.sqrt(np.mean(np.square(array))))


# --- the margin ------------------------------------------------------------------------------------------------


@EVERY
@pytest.mark.parametrize("fields", [1.24, 3.0])
def test_a_film_that_goes_on_beside_the_field_keeps_its_density_up_to_the_edge(name, fields):
    """A film of density 0.5, wider than the field. Its projections are exact but for the ripple of the lattice (7 %
    from pixel to pixel at 45 deg, which back-projection averages out); columns are means over the thickness."""
    given = film(fields * N * VOXEL_NM)
    narrow, wide = (run(name, given, margin_nm=margin).data for margin in (0.0, "auto"))
    assert wide.shape == narrow.shape == (N_Z, N_Y, N)
    columns = wide[:, 1].mean(axis=0)
    np.testing.assert_allclose(columns, 0.5, rtol=0.03)
    rim = [
        abs(np.r_[data[:, 1, :4].mean(axis=0), data[:, 1, -4:].mean(axis=0)] - 0.5).max()
        for data in (narrow, wide)
    ]
    if name != "dart":  # whose densities are given: it has no more than both levels
        assert rim[0] > 0.15  # what lies beside the field ends up at its edge
    assert rim[1] < 0.1 * rim[0] or name == "dart"


@EVERY
def test_no_margin_is_what_there_was(name):
    given = film(3 * N * VOXEL_NM)
    plain = run(name, given, n_iterations=2)
    assert np.array_equal(plain.data, run(name, given, n_iterations=2, margin_nm=0.0).data)
    assert plain.record["margin_nm"] == 0.0


def test_a_margin_is_a_wider_volume_that_is_cut():
    given = film(3 * N * VOXEL_NM)
    seen = []
    made = sirt(
        given, thickness_nm=THICKNESS_NM, n_iterations=3, margin_nm=7.5,
        callback=lambda i, volume, norm: seen.append(np.array(volume)),
    )  # fmt: skip
    projector = Projector(TILTS_DEG, n_u=N, n_x=N + 8, n_z=N_Z)  # 3.75 voxels: 4
    path = projector.forward(np.ones((N_Z, N_Y, N + 8), np.float32))
    path[path < 0.05] = np.inf  # rays that miss it
    x, columns = np.zeros((N_Z, N_Y, N + 8), np.float32), projector.back(np.ones_like(given.images))
    for step in range(3):
        x += projector.back((given.images / VOXEL_NM - projector.forward(x)) / path) / columns
        np.testing.assert_allclose(seen[step], x[:, :, 4:-4], atol=1e-5)  # a callback sees the field
    assert np.array_equal(made.data, seen[-1])
    assert made.record["margin_nm"] == 8.0
    np.testing.assert_allclose(made.origin_nm, geometry.centred_origin_nm((N_Z, N_Y, N), (VOXEL_NM,) * 3))


@EVERY
def test_slabs_are_cut_where_they_are_written(name, tmp_path):
    given = film(3 * N * VOXEL_NM, n_y=70)
    expected = run(name, given, n_iterations=1, margin_nm=10.0).data

    class Sink:
        shape, ndim, dtype = (N_Z, 70, N), 3, np.dtype(np.float64)

        def __init__(self):
            self.array = np.full(self.shape, np.nan)

        def __setitem__(self, key, value):
            assert value.shape == self.array[key].shape
            self.array[key] = value

    sink = Sink()
    on_disk = np.lib.format.open_memmap(tmp_path / "v.npy", "w+", np.float32, Sink.shape)
    run(name, given, n_iterations=1, margin_nm=10.0, out=sink)
    run(name, given, n_iterations=1, margin_nm=10.0, out=on_disk)
    assert np.array_equal(sink.array, expected)
    assert np.array_equal(on_disk, expected)


@pytest.mark.parametrize("changes", [{}, {"voxel_size_nm": 3.1}], ids=["pixels", "larger voxels"])
@pytest.mark.parametrize("axis_deg", [0.0, 90.0])
def test_aligned_views_see_beside_the_field_too(axis_deg, changes):
    """Views that were moved back by less than the field, and turned by a quarter: the same film."""
    given = film(4 * N * VOXEL_NM, n_y=N + 5)
    n = given.n_tilts
    shifts_nm = np.random.default_rng(3).uniform(-4, 4, (n, 2)) * VOXEL_NM
    shifts_nm[:, 0] = 0
    ones = np.ones(n)
    alignment = Alignment(shifts_nm, axis_deg * ones, TILTS_DEG, ones, 0.0, ones.astype(bool))
    images = given.images if axis_deg == 0 else np.rot90(given.images, 1, axes=(1, 2)).copy()
    # a uniform film looks alike wherever it is seen: moved views are those of the film itself
    found = cgls(
        TiltSeries(images, TILTS_DEG, VOXEL_NM), thickness_nm=THICKNESS_NM, n_iterations=10,
        alignment=alignment, margin_nm="auto", **changes,
    )  # fmt: skip
    n_z, _, n_x = found.data.shape
    voxel_nm = found.voxel_size_nm[0]
    assert n_x == (N if not changes else 30)
    density = 0.5 * THICKNESS_NM / (n_z * voxel_nm)  # spread over whole voxels
    np.testing.assert_allclose(found.data[:, 20].mean(axis=0), density, rtol=0.03)


def test_a_film_under_an_x_axis_tilt_keeps_its_density_up_to_the_edge():
    """Slices depend on each other: rays that leave at the ends of y keep to the outermost rows."""
    n_y, tilts_deg = 20, np.linspace(-50, 50, 15)
    film = Projector(tilts_deg, n_u=N, n_x=5 * N, n_z=N_Z, x_tilt_deg=4.0, n_y=n_y + 20, n_v=n_y)
    images = film.forward(np.full((N_Z, n_y + 20, 5 * N), 0.5, np.float32)) * VOXEL_NM
    ones = np.ones(len(tilts_deg))
    alignment = Alignment(
        np.zeros((len(tilts_deg), 2)), 0 * ones, tilts_deg, ones, 0.0, ones.astype(bool), x_axis_tilt_deg=4.0
    )
    given = TiltSeries(images, tilts_deg, VOXEL_NM)
    for margin_nm, at_most in (("auto", 0.01), (0.0, np.inf)):
        made = cgls(
            given, thickness_nm=THICKNESS_NM, n_iterations=12, alignment=alignment, margin_nm=margin_nm
        )
        error = np.abs(made.data[:, 5:-5].mean(axis=0) / 0.5 - 1).max()
        assert error < at_most
    assert error > 0.3


def test_mask_and_first_volume_go_on_as_their_outermost_voxels():
    rng = np.random.default_rng(0)
    mask, first = rng.random((4, 5, 6)) < 0.5, rng.random((4, 5, 6), dtype=np.float32)
    images = np.zeros((3, 5, 6), np.float32)
    problem = Problem(
        images,
        Projector(np.array([-40.0, 0.0, 40.0]), n_u=6, n_x=12, n_z=4),
        constraint=Constraint(mask=mask),
        initial=first,
        margin=3,
    )
    _, x, constraint = problem.block([slice(1, 2), slice(3, 5)])
    rows, places = [1, 3, 4], np.clip(np.arange(-3, 9), 0, 5)
    expected = mask[:, rows][:, :, places].transpose(0, 2, 1)
    assert np.array_equal(constraint.mask, expected)
    assert np.array_equal(x, first[:, rows][:, :, places].transpose(0, 2, 1) * expected)


def test_a_mask_away_from_the_edges_leaves_nothing_beside_the_field():
    given = film(0.4 * N * VOXEL_NM)
    inside = np.zeros((N_Z, N_Y, N), np.uint8)
    inside[:, :, 3:-3] = 1
    mask = Labels(inside, (VOXEL_NM,) * 3)
    plain, wide = (run("sirt", given, mask=mask, margin_nm=margin).data for margin in (0.0, 20.0))
    np.testing.assert_allclose(wide, plain, atol=0.02)  # rays are weighted by the longer path
    assert not wide[:, :, :3].any()


@pytest.mark.parametrize(
    ("limit_deg", "x_tilt_deg", "wanted"),
    [
        (60.0, 0.0, 35),  # ((N + 1) / 2 + (N_Z - 1) / 2 sin 60) / cos 60 - 1 / 2 - N / 2 = 34.03
        (0.0, 0.0, 0),
        (85.0, 0.0, N),  # 319: no more than the field
        (90.0, 0.0, N),
        # x = (u - z / cos 20 sin 30 - v tan 20 sin 30) / cos 30, for u = 24.5, z = 5.5 and v = 2: 32.09 - 24.5
        (30.0, 20.0, 8),
    ],
)
def test_auto_is_what_the_most_tilted_view_sees(limit_deg, x_tilt_deg, wanted):
    tilts_deg = np.array([-limit_deg, 0.5 * limit_deg])
    projector = Projector(tilts_deg, n_u=N, n_x=N, n_z=N_Z, x_tilt_deg=x_tilt_deg)
    assert margin_of_views(projector, N_Y) == wanted
    wide, less = (
        Projector(tilts_deg, n_u=N, n_x=N + 2 * margin, n_z=N_Z, x_tilt_deg=x_tilt_deg, n_y=9)
        for margin in (wanted, wanted - 1)
    )
    if wanted < N:
        assert rays_within(wide, N_Y).all()
        assert not rays_within(less, N_Y).all()


def test_a_view_that_was_moved_sees_farther():
    projector = Projector(np.array([-60.0, 60.0]), n_u=N, n_x=N, n_z=N_Z, shifts=np.array([0.0, 2.5]))
    assert margin_of_views(projector, N_Y) == 40  # 34.03 + 2.5 / cos 60 = 39.03


# --- what stopping rules judge -------------------------------------------------------------------------------


def wider(projector, more):
    return Projector(
        projector.tilt_angles_deg, n_u=projector.n_u, n_x=projector.n_x + 2 * more, n_z=projector.n_z,
        shifts=projector.shifts,
    )  # fmt: skip


@pytest.mark.parametrize("n_x", [30, 31, 52])
@pytest.mark.parametrize("shifts", [None, np.array([0.0, 1.7, -2.4, 0.3, 0.0])])
def test_rays_stay_within_where_more_width_adds_nothing(n_x, shifts):
    """Ones beyond the ends of x reach just the pixels that are not judged."""
    tilts = np.array([-60.0, -33.0, 0.0, 12.0, 57.0])
    projector = Projector(tilts, n_u=30, n_x=n_x, n_z=7, shifts=shifts)
    ones = np.ones((7, 1, n_x + 200), np.float32)
    ones[:, :, 100:-100] = 0
    beyond = wider(projector, 100).forward(ones)[:, 0]
    within = rays_within(projector, 1)[:, :, 0]
    assert within.any()
    assert np.all(beyond[within] == 0)
    # the ray of a pixel is judged by its two faces, to a voxel: others see at least a bit of what lies beyond
    others = ~within
    assert np.mean(beyond[others] > 0) > 0.9


def test_rays_of_an_axis_that_is_turned_leave_at_both_ends_of_y_too():
    projector = Projector(
        np.array([-40.0, 0.0, 30.0]), n_u=20, n_x=24, n_z=6, rotations_deg=np.array([3.0, -5.0, 0.0]),
        x_tilt_deg=10.0, n_y=18,
    )  # fmt: skip
    more = Projector(
        projector.tilt_angles_deg, n_u=20, n_x=84, n_z=6, rotations_deg=projector.rotations_deg,
        x_tilt_deg=10.0, n_y=78, n_v=18,
    )  # fmt: skip
    ones = np.ones((6, 78, 84), np.float32)
    ones[:, 30:-30, 30:-30] = 0
    beyond = more.forward(ones).transpose(0, 2, 1)
    within = rays_within(projector, 18)
    assert 0.2 < within.mean() < 0.9
    assert np.all(beyond[within] <= 1e-6)
    assert np.mean(beyond[~within] > 0) > 0.85


@pytest.mark.parametrize("function", [sirt, cgls])
def test_a_specimen_that_goes_on_is_explained_to_its_noise(function):
    """White noise of 3, a third of the contrast of the views: with the margin both rules stop near the least error."""
    sigma = 3.0
    truth, given = random_slab(sigma)
    errors = []
    n = 60 if function is sirt else 15
    arguments = {"thickness_nm": THICKNESS_NM, "margin_nm": "auto", "n_iterations": n}
    function(given, **arguments, callback=lambda i, volume, norm: errors.append(rms(volume - truth)))
    for stop in (f"discrepancy:{sigma}", "halves"):
        made = function(given, **arguments, stop=stop)
        assert made.record["n_iterations"] < n
        assert rms(made.data - truth) <= 1.15 * min(errors)
        assert "judged" not in made.record["stopped"]  # all pixels are


def test_half_of_the_margin_is_judged_by_the_rays_that_it_explains():
    sigma = 3.0
    truth, given = random_slab(sigma)
    full = sirt(
        given, thickness_nm=THICKNESS_NM, margin_nm="auto", n_iterations=60, stop=f"discrepancy:{sigma}"
    )
    arguments = {"thickness_nm": THICKNESS_NM, "n_iterations": 60, "stop": f"discrepancy:{sigma}"}
    part = sirt(given, margin_nm=30.0, **arguments)
    assert part.record["n_iterations"] < 60
    assert re.search(r"judged on the (8|9)\d % of the pixels whose rays stay", part.record["stopped"])
    assert rms(part.data - truth) <= 1.2 * rms(full.data - truth)
    without = sirt(
        given, **arguments
    )  # the rays that leave spoil what the others see: no stop, and it says so
    assert without.record["stopped"].startswith("n_iterations; r.m.s. residual")
    assert re.search(r"judged on the [67]\d % of the pixels whose rays stay", without.record["stopped"])


def test_too_few_rays_within_are_not_enough_to_judge_by():
    rng = np.random.default_rng(0)
    given = TiltSeries(rng.random((9, 4, 12), dtype=np.float32), np.linspace(60, 76, 9), VOXEL_NM)
    made = sirt(given, thickness_nm=40.0, n_iterations=2, stop="discrepancy:1e-3")
    assert made.record["stopped"].endswith(
        "judged on all pixels, of which 0 % have rays that stay within the volume"
    )


def test_pixels_that_were_not_measured_are_not_judged():
    images = np.ones((3, 4, 10), np.float32)
    images[:, :, 4] = np.nan
    projector = Projector(np.array([-50.0, 0.0, 50.0]), n_u=10, n_x=10, n_z=2)
    equations = pilot(Problem(images, projector), Cgls()).equations
    found = judged(equations)
    within = rays_within(projector, 1)[:, :, 0]
    within[:, 4] = False
    assert found.count(equations) == 4 * within.sum()
    assert found.share == pytest.approx(within.sum() / 27)
    assert "% of the pixels" in found.note


# --- memory, devices, commands, errors -----------------------------------------------------------------------


@EVERY
@pytest.mark.parametrize("margin_nm", [40.0, "auto"])
def test_the_plan_counts_the_margin(name, margin_nm):
    given = TiltSeries(
        np.random.default_rng(0).random((21, 100, 64), dtype=np.float32), np.linspace(-65, 65, 21), 1.0
    )
    function, own = getattr(reconstruct, name), {**OWN[name], "n_iterations": 1, "margin_nm": margin_nm}
    sketch = Sketch("TiltSeries", given.images.shape, "float32", 1.0)
    plan = plan_of(function)(sketch, thickness_nm=40.0, **own)
    assert plan.result.shape == (40, 100, 64)
    function(given, thickness_nm=40.0, **own)
    tracemalloc.start()
    try:
        function(given, thickness_nm=40.0, **own)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    pieces = 2 * 6 << 18
    assert peak <= 1.02 * plan.peak_bytes + pieces
    if margin_nm != "auto":  # planned before the angles are known: as wide as it may be
        assert plan.peak_bytes <= 1.4 * peak
    with pytest.raises(ValueError, match=r"memory_limit must be at least .* \((\d+) bytes") as narrow:
        function(given, thickness_nm=40.0, **{**own, "margin_nm": 0.0}, memory_limit="20 KiB")
    with pytest.raises(ValueError, match=r"memory_limit must be at least .* \((\d+) bytes") as wide:
        function(given, thickness_nm=40.0, **own, memory_limit="20 KiB")
    needed = [int(str(caught.value).split("(")[1].split()[0]) for caught in (narrow, wide)]
    assert needed[1] > 1.3 * needed[0]


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++ to compile CUDA as C++")
@EVERY
def test_a_margin_is_solved_for_on_the_gpu_as_on_the_cpu(name, monkeypatch):
    monkeypatch.setattr(_slab_memory, "_DEVICE_SHARE", 1e-9)
    rng = np.random.default_rng(4)
    given = TiltSeries(rng.random((9, 66, 11), dtype=np.float32), np.linspace(-60, 60, 9), VOXEL_NM)
    inside = np.ones((5, 66, 11), np.uint8)
    inside[:2, :, :3] = 0
    keywords = {
        **OWN[name], "thickness_nm": 10.0, "n_iterations": 2, "margin_nm": 6.0, "stop": "discrepancy:0.01",
        "mask": Labels(inside, (VOXEL_NM,) * 3),
        "initial": Volume(np.full((5, 66, 11), 0.2, np.float32), (VOXEL_NM,) * 3),
    }  # fmt: skip
    function = getattr(reconstruct, name)
    wanted = function(given, **keywords)
    with stand_in.cupy():
        found = call_on("gpu", function, [given], keywords)
    assert type(found.data) is np.ndarray
    assert np.abs(found.data - wanted.data).max() <= 1e-6 * np.abs(wanted.data).max()
    assert found.record["stopped"] == wanted.record["stopped"]


@pytest.mark.parametrize(("text", "margin_nm"), [("auto", "auto"), ("14", 14.0)])
def test_a_command_takes_a_width_or_auto(text, margin_nm, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    io.write_tilt_series(film(3 * N * VOXEL_NM), "tilts.mrc")
    words = ["reconstruct", "sirt", "tilts.mrc", "v.mrc", "--thickness-nm", "24", "--n-iterations", "2",
             "--margin-nm", text, "--tilt-axis-deg", "0"]  # fmt: skip
    assert entry.main(words) == 0
    direct = sirt(film(3 * N * VOXEL_NM), thickness_nm=24.0, n_iterations=2, margin_nm=margin_nm)
    np.testing.assert_allclose(io.read_volume("v.mrc").data, direct.data, rtol=1e-5)


@EVERY
@pytest.mark.parametrize(
    ("margin_nm", "message"),
    [
        (-1.0, "margin_nm must be at least 0, got -1 nm"),
        (np.nan, "margin_nm must be at least 0, got nan nm"),
        ("wide", "margin_nm must be a width in nm or 'auto', got 'wide'"),
    ],
)
def test_a_bad_margin_is_said_in_a_sentence(name, margin_nm, message):
    with pytest.raises(ValueError, match=message):
        run(name, film(3 * N * VOXEL_NM), margin_nm=margin_nm)


def test_slices_of_a_wider_volume_are_solved_for_themselves():
    images = np.random.default_rng(0).random((5, 66, 12), dtype=np.float32)
    problem = Problem(
        images, Projector(np.linspace(-50, 50, 5), n_u=12, n_x=20, n_z=4), margin=4
    )  # fmt: skip
    whole = iterate(Cgls(), problem, n_iterations=3, n_slices=66)
    slabs = iterate(Cgls(), problem, n_iterations=3, n_slices=64)
    assert whole.volume.shape == (4, 66, 12)
    np.testing.assert_allclose(slabs.volume, whole.volume, atol=1e-6)
