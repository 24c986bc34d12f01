"""Surfaces pass between steps and commands as PLY files, with what is on their vertices."""

from pathlib import Path

import numpy as np
import pytest

from tomo3d import io, measure, pipeline
from tomo3d.cli import main as entry
from tomo3d.types import Volume

RECIPE = """
[[step]]
run = "io.read_volume"
path = "ball.mrc"
[[step]]
id = "bent"
run = "measure.curvature"
level = 0.5
tilt_range_deg = [-60, 60]
[[step]]
id = "numbers"
run = "measure.curvature_summary"
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    z, y, x = np.indices((14, 15, 16))
    distance = np.sqrt((z - 6.4) ** 2 + (y - 7.1) ** 2 + (x - 7.7) ** 2)
    io.write_volume(Volume(np.clip(5.5 - distance, 0, 1).astype(np.float32), (2.0, 2.0, 2.0)), "ball.mrc")
    return tmp_path


def test_a_recipe_hands_a_surface_on_and_keeps_it(folder):
    Path("recipe.toml").write_text(RECIPE)
    pipeline.run(pipeline.load(Path("recipe.toml")), Path("out"))
    stored, expected = (
        io.read_surface("out/bent.ply"),
        measure.curvature(io.read_volume("ball.mrc"), level=0.5, tilt_range_deg=(-60, 60)),
    )
    np.testing.assert_allclose(stored.vertices_nm, expected.vertices_nm, rtol=1e-6)
    assert set(stored.point_data) == set(expected.point_data)
    assert stored.point_data["normal_in_wedge"].dtype == bool
    numbers = io.read_table("out/numbers.csv")
    direct = measure.curvature_summary(expected)
    np.testing.assert_allclose(numbers["value"], direct["value"], rtol=1e-4, atol=1e-6)


def test_commands_write_surfaces_read_them_and_say_what_is_wrong(folder, capsys):
    def says(*words):
        return entry.main([str(word) for word in words]), capsys.readouterr().err

    mesh = ("measure", "surface-mesh", "ball.mrc")
    assert says(*mesh, "s.ply", "--level", 0.5, "--tilt-range-deg", -60, 60)[0] == 0
    assert "normal_in_wedge" in io.read_surface("s.ply").point_data
    status, error = says(*mesh, "t.ply", "--level", 7)
    assert status == 2
    assert "between the least and the largest grey value (0 and 1), got 7" in error
    status, error = says("measure", "curvature-summary", "s.ply", "s.csv")
    assert status == 2
    assert "must have triangles and curvatures" in error
