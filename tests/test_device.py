"""`--device gpu`: data go to the GPU and back, on a stand-in for CuPy that runs the CUDA kernels on the CPU."""

import contextlib
import json
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
from cuda_shim import stand_in

from tomo3d import io, measure, pipeline, progress, quality, reconstruct, segment
from tomo3d.cli import main as entry
from tomo3d.cli.commands import STAGES, functions
from tomo3d.compute import backend, solvers
from tomo3d.compute.kernels import affine, projection, warp
from tomo3d.compute.slabs import SlabWork
from tomo3d.compute.solvers import _pieces
from tomo3d.pipeline._device import GPU_FUNCTIONS, call_on
from tomo3d.planning import Sketch, plan_of
from tomo3d.reconstruct import _slab_memory
from tomo3d.types import Alignment, Labels, TiltSeries, Volume

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++ to compile CUDA as C++")
PIXEL_NM = 2.0
THICKNESS_NM = 10.0
WAIT_S = 20.0  # what is waited for comes at once, or never
SHAPE = (5, 76, 11)  # (n_z, n_y, n_x); slabs of 64 slices and of 12
ALL = pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("wbp", {"window": "hann"}),
        ("sirt", {"n_iterations": 3, "relaxation": 0.9, "lower": 0.0}),
        ("sart", {"n_iterations": 2, "n_subsets": 3}),
        ("cgls", {"n_iterations": 3, "lower": 0.0}),
        ("total_variation", {"n_iterations": 3, "weight": 0.1}),
        ("mlem", {"n_iterations": 3}),
        ("dart", {"n_iterations": 2, "grey_levels": (0.1, 0.4)}),
    ],
)


@pytest.fixture
def gpu(monkeypatch):
    """The stand-in for CuPy, with room for the least slab only."""
    monkeypatch.setattr(_slab_memory, "_DEVICE_SHARE", 1e-9)
    with stand_in.cupy() as cupy:
        yield cupy


@pytest.fixture
def no_cpu(monkeypatch):
    """Called, it takes the kernels of the CPU away: what was not on the GPU would be compared with itself."""

    def take_away():
        for kernel in ("back_cpu", "back_step_cpu", "back_to_public_cpu", "forward_cpu"):
            monkeypatch.setattr(projection, kernel, None)
        for kernel in ("back_affine_cpu", "forward_affine_cpu"):
            monkeypatch.setattr(affine, kernel, None)
        for kernel in ("warp_cpu", "warp_transpose_cpu"):
            monkeypatch.setattr(warp, kernel, None)

    return take_away


def series(n_y=SHAPE[1], **changes):
    images = np.random.default_rng(0).random((7, n_y, SHAPE[2]), dtype=np.float32) * 4
    images.flags.writeable = False
    return TiltSeries(images, np.array([-60.0, -45, -20, 0, 15, 30, 50]), PIXEL_NM, **changes)


def on_gpu(array):
    return backend.to_device(array, "gpu")


class Store:
    """Takes slabs on the host alone, as Zarr does."""

    ndim, dtype = 3, np.dtype(np.float32)

    def __init__(self, shape=SHAPE):
        self.data = np.full(shape, np.nan, dtype=np.float32)
        self.shape = shape
        self.n_slabs = 0

    def __setitem__(self, key, slab):
        assert type(slab) is np.ndarray
        self.data[key] = slab
        self.n_slabs += 1


class HostArray(np.ndarray):
    """Takes arrays on the host alone, as NumPy's own do where CuPy is real."""

    def __setitem__(self, key, value):
        assert not isinstance(value, stand_in.DeviceArray)
        super().__setitem__(key, value)


def assert_equal(found, wanted, tolerance=1e-6):
    """Relative to the largest value: sums in another order."""
    assert type(found) is np.ndarray
    assert found.dtype == wanted.dtype
    assert np.abs(found - wanted).max() <= tolerance * np.abs(wanted).max()


@needs_compiler
@ALL
def test_every_method_gives_on_the_gpu_what_it_gives_on_the_cpu(gpu, no_cpu, name, parameters):
    function = getattr(reconstruct, name)
    wanted = function(series(), thickness_nm=THICKNESS_NM, **parameters)
    no_cpu()
    found = call_on("gpu", function, [series()], {"thickness_nm": THICKNESS_NM, **parameters})
    assert f"reconstruct.{name}" in GPU_FUNCTIONS
    assert_equal(found.data, wanted.data)
    assert found.voxel_size_nm == wanted.voxel_size_nm
    assert found.record.keys() == wanted.record.keys()


@needs_compiler
@pytest.mark.parametrize("name", ["wbp", "sirt"])
@pytest.mark.parametrize("kind", ["store", "array", "float64", "memory map", "on the GPU"])
def test_slabs_are_written_where_out_is(gpu, no_cpu, tmp_path, name, kind):
    parameters = {"thickness_nm": THICKNESS_NM} | ({"n_iterations": 2} if name == "sirt" else {})
    function = getattr(reconstruct, name)
    wanted = function(series(), **parameters)
    out = {
        "store": Store,
        "array": lambda: np.full(SHAPE, np.nan, np.float32).view(HostArray),
        "float64": lambda: np.full(SHAPE, np.nan).view(HostArray),
        "memory map": lambda: np.lib.format.open_memmap(tmp_path / "v.npy", "w+", np.float32, SHAPE),
        "on the GPU": lambda: on_gpu(np.full(SHAPE, np.nan, np.float32)),
    }[kind]()
    given = series()
    there = TiltSeries(on_gpu(given.images), given.tilt_angles_deg, PIXEL_NM)
    no_cpu()
    made = function(there, **parameters, out=out)
    assert made.data is out
    assert kind != "store" or out.n_slabs == 2
    found = out.data if kind == "store" else backend.to_device(out, "cpu")
    assert_equal(np.array(found, dtype=np.float32), wanted.data)


def wide_series(n_slabs):
    """Of slabs of 64 slices, the last one thinner; 5 x 48 voxels each."""
    images = np.random.default_rng(3).random((7, 64 * n_slabs - 10, 48), dtype=np.float32)
    return TiltSeries(images, series().tilt_angles_deg, PIXEL_NM)


COUNTED = {"wbp": SlabWork(2, 3)} | {
    name: SlabWork(method.n_volumes, method.n_images)
    for name, method in (
        ("sirt", solvers.Sirt),
        ("sart", solvers.Sart),
        ("cgls", solvers.Cgls),
        ("mlem", solvers.Mlem),
        ("dart", solvers.Dart),
    )
}


@needs_compiler
@pytest.mark.parametrize(
    ("name", "n_slabs"),
    [
        ("wbp", 12),
        ("sirt", 12),
        *((name, 3) for name in COUNTED if name != "dart"),
        pytest.param("dart", 3, marks=pytest.mark.slow),
    ],
)
def test_neither_views_nor_volume_need_fit_on_the_gpu(gpu, monkeypatch, name, n_slabs):
    monkeypatch.setattr(_pieces, "_DEVICE_PIECE_BYTES", 1 << 13)  # in proportion
    given = wide_series(n_slabs)
    parameters = {"n_iterations": 1} if name != "wbp" else {}
    parameters |= {"grey_levels": (0.0, 0.5)} if name == "dart" else {}
    found = call_on("gpu", getattr(reconstruct, name), [given], {"thickness_nm": THICKNESS_NM, **parameters})
    counted = COUNTED[name].streamed(up=True, down=True).n_bytes(64, 5, 48, 7, 48)
    held = gpu.cuda.streams.most_held_bytes
    # how much of it is held at a time depends on which thread is first
    assert 0.4 * counted < held <= counted
    assert n_slabs < 12 or held < min(given.images.nbytes, found.data.nbytes)
    wanted = getattr(reconstruct, name)(given, thickness_nm=THICKNESS_NM, **parameters)
    assert_equal(found.data, wanted.data)


class Watched:
    """Slabs of 64 slices on the host: says when one was read, and takes none before the next is worked on."""

    def __init__(self, values, n_slabs):
        self.values, self.shape, self.ndim, self.dtype = values, values.shape, 3, values.dtype
        self.is_read, self.is_begun = ([threading.Event() for _ in range(n_slabs)] for _ in "ab")

    def __getitem__(self, key):
        if isinstance(key, tuple):  # else a view is looked at
            self.is_read[key[1].start // 64].set()
        return self.values[key]

    def __setitem__(self, key, slab):
        assert all(begun.wait(WAIT_S) for begun in self.is_begun[key[1].start // 64 + 1 :][:1])
        self.values[key] = slab


@needs_compiler
@pytest.mark.parametrize("name", ["wbp", "sirt"])
def test_slabs_come_and_go_while_the_gpu_works_on_others(gpu, name):
    given, n_slabs, parameters = wide_series(4), 4, {"n_iterations": 2} if name == "sirt" else {}
    views, out = (
        Watched(values, n_slabs) for values in (given.images, np.full((5, 246, 48), np.nan, np.float32))
    )

    def heard(what, n_done, n_total):
        if n_done == 0:
            return
        slab = n_done if name == "wbp" else (n_done - 1) // 2  # all is given to the device; is worked on
        for begun in out.is_begun[slab : slab + 1]:
            begun.set()
        following = slab if name == "wbp" else slab + 1
        assert all(read.wait(WAIT_S) for read in views.is_read[following : following + 1])

    gpu.cuda.streams.delay_s = 0.2  # work goes on meanwhile, but not where a slab still waits
    watched = TiltSeries(views, given.tilt_angles_deg, PIXEL_NM)
    keywords = {"thickness_nm": THICKNESS_NM, **parameters}
    with progress.listening(heard):
        call_on("gpu", getattr(reconstruct, name), [watched], {**keywords, "out": out})
    assert_equal(out.values, getattr(reconstruct, name)(given, **keywords).data)


@needs_compiler
def test_views_with_gaps_are_counted_too(gpu, monkeypatch):
    monkeypatch.setattr(_pieces, "_DEVICE_PIECE_BYTES", 1 << 13)
    given = wide_series(3)
    keywords = {"thickness_nm": THICKNESS_NM, "n_iterations": 1, "alignment": alignment_of(given, (0.3, 2.4))}
    call_on("gpu", reconstruct.sirt, [given], keywords)
    counted = SlabWork(2, 2, has_gaps=True).streamed(up=True, down=True).n_bytes(64, 5, 48, 7, 48)
    assert gpu.cuda.streams.most_held_bytes <= counted


def test_a_slab_that_does_not_fit_on_the_gpu_is_told():
    images = np.broadcast_to(np.float32(1), (7, 64, 20_000))
    given = TiltSeries(images, series().tilt_angles_deg, PIXEL_NM)
    with (
        stand_in.cupy(),
        pytest.raises(MemoryError, match=r"GPU must have .* for 64 slices at a time, got 61 MiB"),
    ):
        call_on(
            "gpu", reconstruct.wbp, [given], {"thickness_nm": THICKNESS_NM, "out": Store((5, 64, 20_000))}
        )


def test_a_slab_leaves_room_for_page_locked_memory(monkeypatch):
    monkeypatch.setattr(_slab_memory, "available_memory", lambda: 8 * 2 * 200 * 1000)
    assert _slab_memory._within_host(10**6, 1000) == 400 * 10**6  # 400 slices, twice, are a quarter


def alignment_of(given, shift_px, axis_deg=0.0):
    n = given.n_tilts
    shifts_nm = PIXEL_NM * np.array([shift_px] * n)
    ones = np.ones(n)
    return Alignment(shifts_nm, axis_deg * ones, given.tilt_angles_deg, ones, 0.0, ones.astype(bool))


@needs_compiler
@pytest.mark.parametrize(
    ("shift_px", "axis_deg", "parameters"),
    [
        ((2.0, 0.4), 0.0, {}),  # views are moved
        ((0.3, -0.4), 3.0, {}),  # they are resampled
        ((2.0, 0.0), 0.0, {"voxel_size_nm": 1.3 * PIXEL_NM}),  # they are made coarser, and moved
        ((0.3, 0.4), 90.0, {"voxel_size_nm": 1.3 * PIXEL_NM}),  # and resampled
    ],
)
def test_views_are_aligned_on_the_gpu_as_on_the_cpu(gpu, no_cpu, shift_px, axis_deg, parameters):
    given = series(n_y=15)
    keywords = {"thickness_nm": 12.0, "alignment": alignment_of(given, shift_px, axis_deg), **parameters}
    wanted = reconstruct.wbp(given, **keywords)
    no_cpu()
    assert_equal(call_on("gpu", reconstruct.wbp, [given], keywords).data, wanted.data)


@needs_compiler
def test_two_series_whose_views_are_turned_and_magnified_are_solved_together_there(gpu, no_cpu):
    rng, given, alignments = np.random.default_rng(5), [], []
    for n, shape in ((5, (12, 11)), (4, (11, 13))):
        images = rng.random((n, *shape), dtype=np.float32)
        given.append(TiltSeries(images, np.linspace(-60, 60, n), 1.0))
        shifts_nm, axes_deg, sizes = (
            rng.uniform(-1, 1, (n, 2)),
            rng.uniform(-1, 1, n),
            rng.uniform(0.99, 1.01, n),
        )
        tilts_deg = given[-1].tilt_angles_deg
        alignments.append(Alignment(shifts_nm, axes_deg, tilts_deg, sizes, 0.1, np.ones(n, bool)))
    keywords = {
        "thickness_nm": 5.0,
        "n_iterations": 3,
        "min_agreement": 0.0,
        "first_alignment": alignments[0],
        "second_alignment": alignments[1],
    }
    wanted = reconstruct.dual_axis(*given, **keywords)
    no_cpu()
    there = [TiltSeries(on_gpu(one.images), one.tilt_angles_deg, 1.0) for one in given]
    found = reconstruct.dual_axis(*there, **keywords)
    assert found.record["shift_nm"] == pytest.approx(wanted.record["shift_nm"], abs=1e-3)
    assert_equal(backend.to_device(found.data, "cpu"), wanted.data, tolerance=1e-5)  # what iterations add up


@needs_compiler
def test_mask_and_first_volume_go_with_the_views(gpu, no_cpu):
    inside = np.zeros(SHAPE, dtype=np.uint8)
    inside[1:4, :70, 2:] = 1
    edges = (PIXEL_NM,) * 3
    keywords = {
        "thickness_nm": THICKNESS_NM,
        "n_iterations": 2,
        "mask": Labels(inside, edges),
        "initial": Volume(np.full(SHAPE, 0.2, np.float32), edges),
        "stop": "halves",
    }
    wanted = reconstruct.sirt(series(), **keywords)
    no_cpu()
    found = call_on("gpu", reconstruct.sirt, [series()], keywords)
    assert_equal(found.data, wanted.data)
    assert not found.data[inside == 0].any()


@needs_compiler
@pytest.mark.parametrize("aligned", [True, False])
def test_views_are_projected_on_the_gpu_as_on_the_cpu(gpu, no_cpu, aligned):
    volume = Volume(np.random.default_rng(1).random((6, 14, 9), dtype=np.float32), (PIXEL_NM,) * 3)
    tilts_deg = np.array([-50.0, 0.0, 20.0])
    shape = TiltSeries(np.zeros((3, 14, 9), np.float32), tilts_deg, PIXEL_NM)
    alignment = None if aligned else alignment_of(shape, (1.2, -0.7), 4.0)
    keywords = {"supersampling": 2, "alignment": alignment}
    wanted = reconstruct.project(volume, tilts_deg, **keywords)
    no_cpu()
    found = call_on("gpu", reconstruct.project, [volume, tilts_deg], keywords)
    assert_equal(found.images, wanted.images)
    assert found.tilt_angles_deg.tolist() == wanted.tilt_angles_deg.tolist()


def test_shells_correlate_on_the_gpu_as_on_the_cpu():
    rng = np.random.default_rng(2)
    signal = rng.normal(size=(13, 16, 20))
    first, second = (
        Volume((signal + rng.normal(size=signal.shape)).astype(np.float32), (2.0,) * 3) for _ in "ab"
    )
    mask = Labels(np.pad(np.ones((9, 10, 12), np.uint8), ((2, 2), (3, 3), (4, 4))), (2.0,) * 3)
    wanted = quality.fourier_shell_correlation(first, second, mask=mask)
    with stand_in.cupy():
        found = call_on("gpu", quality.fourier_shell_correlation, [first, second], {"mask": mask})
    for column in wanted.curve:
        np.testing.assert_allclose(found.curve[column], wanted.curve[column], rtol=1e-5, atol=1e-5)
    assert found.note == wanted.note


def test_arrays_on_two_devices_are_told():
    edges = (PIXEL_NM,) * 3
    ones = np.ones((5, 6, 11), dtype=np.float32)
    given = series(n_y=6)
    with stand_in.cupy():
        there = TiltSeries(on_gpu(given.images), given.tilt_angles_deg, PIXEL_NM)
        few = {"thickness_nm": THICKNESS_NM, "n_iterations": 1}
        for one, other in ((there, ones), (given, on_gpu(ones))):
            with pytest.raises(
                TypeError, match=r"^initial must live where the images do, got one on the GPU and"
            ):
                reconstruct.sirt(one, initial=Volume(other, edges), **few)
            with pytest.raises(
                TypeError, match=r"^mask must live where the images do, got one on the GPU and"
            ):
                reconstruct.mlem(one, mask=Labels(other.astype(np.uint8), edges), **few)
        with pytest.raises(
            TypeError, match=r"^out must live on the CPU where the images do, got one on the GPU\.$"
        ):
            reconstruct.sirt(given, out=on_gpu(ones), **few)
        with pytest.raises(
            TypeError, match=r"^out must live on the CPU where the images do, got one on the GPU\.$"
        ):
            reconstruct.wbp(given, thickness_nm=THICKNESS_NM, out=on_gpu(ones))
        with pytest.raises(TypeError, match="the second volume must live on the device of the first"):
            quality.fourier_shell_correlation(Volume(ones, edges), Volume(on_gpu(ones), edges))


@pytest.mark.parametrize("axis_deg", [0.0, 90.0])
@pytest.mark.parametrize("voxel_px", [1.0, 1.3])
def test_a_plan_knows_the_shape_of_what_is_made(axis_deg, voxel_px):
    given = series(n_y=15)
    keywords = {
        "thickness_nm": 12.0,
        "alignment": alignment_of(given, (0.0, 0.0), axis_deg),
        "voxel_size_nm": voxel_px * PIXEL_NM,
    }
    sketch = Sketch("TiltSeries", given.images.shape, "float32", PIXEL_NM)
    made = reconstruct.wbp(given, **keywords)
    assert plan_of(reconstruct.wbp)(sketch, **keywords).result.shape == made.data.shape


def test_arrays_go_to_the_gpu_and_come_back(tmp_path):
    array = np.arange(24, dtype=">i2").reshape(2, 3, 4)
    mapped = np.lib.format.open_memmap(tmp_path / "a.npy", "w+", np.uint8, (3, 4))
    assert backend.to_device(mapped, "cpu") is mapped
    with stand_in.cupy() as cupy:
        there = on_gpu(array)
        assert isinstance(there, cupy.ndarray)
        assert there.dtype == np.int16
        assert there.dtype.isnative
        assert on_gpu(there) is there
        back = backend.to_device(there, "cpu")
        assert type(back) is np.ndarray
        assert np.array_equal(back, array)
        with pytest.raises(
            MemoryError, match=r"free memory, 61 MiB, got 191 MiB: bin or crop them, or compute on"
        ):
            on_gpu(np.broadcast_to(np.float32(0), (50, 1000, 1000)))


def test_without_a_gpu_data_stay_where_they_are():
    if backend.gpu_status().is_available:
        pytest.skip("there is a GPU")
    with pytest.raises(RuntimeError, match="a GPU is needed, and there is none: CuPy is"):
        on_gpu(np.zeros((2, 2)))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A series and two volumes in files, where the commands run."""
    monkeypatch.chdir(tmp_path)
    io.write_tilt_series(series(n_y=12), "tilts.mrc")
    return tmp_path


def says(capsys, *words):
    return entry.main([str(word) for word in words]), capsys.readouterr().err


def provenance(path):
    return json.loads(Path(f"{path}.json").read_text())


@needs_compiler
@pytest.mark.parametrize("name", ["wbp", "sirt"])
def test_a_command_computes_on_the_gpu(gpu, no_cpu, folder, capsys, name):
    words = ["tilts.mrc", "v.mrc", "--thickness-nm", 10, *(["--n-iterations", 2] if name == "sirt" else [])]
    assert says(capsys, "reconstruct", name, *words)[0] == 0
    wanted = io.read_volume("v.mrc")
    assert provenance("v.mrc")["device"] == "cpu"
    no_cpu()
    assert says(capsys, "reconstruct", name, *words, "--overwrite", "--device", "gpu")[0] == 0
    assert_equal(np.asarray(io.read_volume("v.mrc").data), np.asarray(wanted.data))
    assert provenance("v.mrc")["device"] == "gpu (a stand-in)"


RECIPE = """
title = "A GPU where it can be used"

[[step]]
run = "io.read_tilt_series"
path = "tilts.mrc"

[[step]]
run = "reconstruct.wbp"
thickness_nm = 10.0

[[step]]
run = "segment.otsu"

[[step]]
run = "reconstruct.sirt"
thickness_nm = 10.0
n_iterations = 2
mask = "otsu"
initial = "wbp"

[[step]]
run = "quality.fourier_shell_correlation"
first = "wbp"
second = "sirt"
"""


@needs_compiler
def test_voxel_thickness_computes_on_the_gpu(gpu):
    field = np.random.default_rng(3).random((6, 9, 10))
    mask = Labels((field < 0.9).astype(np.uint8), (2.0, 1.0, 1.0))
    assert "measure.local_thickness_voxel" in GPU_FUNCTIONS
    found = call_on("gpu", measure.local_thickness_voxel, [mask], {})
    assert type(found.data) is np.ndarray
    np.testing.assert_array_equal(found.data, measure.local_thickness_voxel(mask).data)


@needs_compiler
def test_a_recipe_uses_the_gpu_where_it_can(gpu, folder, capsys):
    Path("recipe.toml").write_text(RECIPE)
    assert says(capsys, "run", "recipe.toml", "-o", "gpu", "--device", "gpu")[0] == 0
    devices = {
        name: provenance(f"gpu/{name}")["device"]
        for name in (
            "read_tilt_series",
            "wbp.mrc",
            "otsu.mrc",
            "sirt.mrc",
            "fourier_shell_correlation.curve.csv",
        )
    }
    there = "gpu (a stand-in)"
    assert list(devices.values()) == ["cpu", there, "cpu", there, there]
    views = io.read_tilt_series("tilts.mrc")
    wbp = reconstruct.wbp(views, thickness_nm=10.0)
    assert_equal(np.array(io.read_volume("gpu/wbp.mrc").data), wbp.data)
    mask = segment.otsu(wbp)
    sirt = reconstruct.sirt(views, thickness_nm=10.0, n_iterations=2, mask=mask, initial=wbp)
    assert_equal(np.array(io.read_volume("gpu/sirt.mrc").data), sirt.data)
    made = Path("gpu/sirt.mrc").stat().st_mtime_ns
    assert says(capsys, "run", "recipe.toml", "-o", "gpu")[0] == 0  # what a GPU made is kept
    assert Path("gpu/sirt.mrc").stat().st_mtime_ns == made


def test_a_function_that_cannot_use_a_gpu_says_so(folder, capsys):
    io.write_volume(Volume(np.ones((2, 3, 4), np.float32), (2.0,) * 3), "v.mrc")
    with stand_in.cupy() if not backend.gpu_status().is_available else contextlib.nullcontext():
        status, err = says(capsys, "segment", "otsu", "v.mrc", "m.mrc", "--device", "gpu")
    assert status == 2
    assert err == "tomo3d: segment.otsu computes on the CPU only: leave out --device gpu.\n"
    assert not Path("m.mrc").exists()


def test_what_computes_on_a_gpu_is_a_command():
    assert {f"{stage}.{name}" for stage in STAGES for name in functions(stage)} >= GPU_FUNCTIONS
    assert all(pipeline.resolve(run) for run in GPU_FUNCTIONS)
