"""The check of a GPU runs where there is none, with few libraries, and on a stand-in for CuPy."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))  # the benchmarks are not installed with the package

from cuda_shim import stand_in

from benchmarks import gpu_check
from tomo3d.compute import backend

NOT_THERE = (
    "mrcfile",
    "tifffile",
    "zarr",
    "matplotlib",
    "jinja2",
    "cyclopts",
    "docstring_parser",
    "rich",
    "pytest",
)
needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++ to compile CUDA as C++")


@pytest.mark.slow
@needs_compiler
def test_without_a_gpu_it_says_so_and_compares_the_source(tmp_path):
    if backend.gpu_status().is_available:
        pytest.skip("there is a GPU")
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({NOT_THERE}));"
        f"sys.argv = ['gpu_check.py', '--output', {str(tmp_path)!r}];"
        f"import runpy; runpy.run_path({gpu_check.__file__!r}, run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("No speed was measured, as there is no GPU: ")
    numbers = json.loads((tmp_path / "gpu_check.json").read_text())
    assert len(numbers["parity"]) == 17
    assert max(value for each in numbers["parity"].values() for value in each.values()) <= 1e-6
    assert list(numbers["thickness"].values()) == [0, 0, 0]
    assert numbers["speed"] == {}
    assert "| ok |" in (tmp_path / "gpu_check.md").read_text()


@pytest.mark.slow
@needs_compiler
def test_with_a_gpu_it_measures_every_kernel_and_whole_iterations(tmp_path, monkeypatch):
    monkeypatch.setattr(gpu_check, "N_RUNS", 1)
    monkeypatch.setattr(gpu_check, "N_ITERATIONS", 2)
    monkeypatch.setattr(gpu_check, "QUICK", (gpu_check.Workload("small", 3, 4, 9, 8),))
    with stand_in.cupy():
        assert gpu_check.main(["--quick", "--output", str(tmp_path)]) == 0
    numbers = json.loads((tmp_path / "gpu_check.json").read_text())
    (speed,) = numbers["speed"].values()
    kernels = ("back", "forward", "general back", "general forward")
    assert all(speed[f"{kernel}_gups"] > 0 for kernel in kernels)
    assert min(speed["warp_gpixels"], speed["warp back_gpixels"]) > 0
    assert list(numbers["thickness"].values()) == [0, 0, 0]
    assert numbers["thickness_s"]["16^3"] > 0
    assert speed["slices"] == 9
    assert speed["wbp_s"] > 0
    assert {"wbp", "sirt"} < set(numbers["whole"])
    assert (
        0 < max(numbers["whole"][name] for name in ("wbp", "sirt")) <= 1e-6
    )  # with the transforms of the CPU
    assert max(numbers["whole"].values()) <= gpu_check.WHOLE_TOLERANCE
    assert speed["sirt_over_kernels"] == pytest.approx(speed["sirt_s"] / speed["kernels_s"])
    assert "a stand-in" in numbers["where"]


@needs_compiler
def test_numbers_that_differ_are_a_failure(tmp_path, monkeypatch, capsys):
    wrong = {"a pair": gpu_check.projections.Differences(1e-7, 2e-6, 0.0)}
    monkeypatch.setattr(gpu_check, "parity", lambda xp, large: wrong)
    monkeypatch.setattr(gpu_check.gpu_thickness, "parity", lambda xp, large: {})
    monkeypatch.setattr(gpu_check.gpu_thickness, "speed", lambda *_: {})
    monkeypatch.setattr(gpu_check, "whole_parity", lambda: {"wbp": 2e-6})
    with stand_in.cupy():
        assert gpu_check.main(["--output", str(tmp_path)], workloads=()) == 1
    said = capsys.readouterr().out
    assert "| a pair | 1.0e-07 | 2.0e-06 | 0.0e+00 | **MISSED** |" in said
    assert "| wbp | 2.0e-06 | ok |" in said


def test_thicknesses_that_differ_are_a_failure(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(gpu_check, "parity", lambda xp, large: {})
    monkeypatch.setattr(gpu_check, "whole_parity", dict)
    monkeypatch.setattr(gpu_check.gpu_thickness, "parity", lambda xp, large: {"blobs": 3})
    monkeypatch.setattr(gpu_check.gpu_thickness, "speed", lambda *_: {})
    with stand_in.cupy():
        assert gpu_check.main(["--output", str(tmp_path)], workloads=()) == 1
    assert "| blobs | 3 | **MISSED** |" in capsys.readouterr().out


def test_slabs_that_differ_are_a_failure(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(gpu_check, "parity", lambda xp, large: {})
    monkeypatch.setattr(gpu_check, "whole_parity", lambda: {"wbp": 1e-7, "sirt": 0.1})
    monkeypatch.setattr(gpu_check.gpu_thickness, "parity", lambda xp, large: {})
    monkeypatch.setattr(gpu_check.gpu_thickness, "speed", lambda *_: {})
    with stand_in.cupy():
        assert gpu_check.main(["--output", str(tmp_path)], workloads=()) == 1
    assert "| sirt | 1.0e-01 | **MISSED** |" in capsys.readouterr().out
