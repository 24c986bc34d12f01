"""`tomo3d io convert`: what a file holds, in another format."""

import mrcfile
import numpy as np
import pandas as pd
import pytest
import zarr

from tomo3d import Labels, TiltSeries, Volume, io
from tomo3d.cli import main as entry


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    io.write_volume(Volume(rng.random((5, 40, 300), "f4"), (3, 2, 1), (1, 2, 3)), "v.mrc")
    io.write_tilt_series(
        TiltSeries(rng.integers(0, 99, (4, 6, 7)).astype("i2"), [-3.5, 0, 3, 6], 0.5, 12.5), "t.mrc"
    )
    io.write_labels(Labels(rng.integers(0, 3, (3, 4, 5)), (2, 2, 2), names={2: "film"}), "l.mrc")
    (tmp_path / "list.txt").write_text("-3.5\n0\n3\n")
    return tmp_path


def convert(*words):
    return entry.main(["io", "convert", *words])


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_volume_goes_to_ome_zarr(folder, version):
    assert convert("v.mrc", "v.ome.zarr", "--ome-zarr", version) == 0
    np.testing.assert_array_equal(zarr.open_group("v.ome.zarr", mode="r")["0"][:], mrcfile.read("v.mrc"))


def test_the_command_is_the_function(folder):
    assert convert("v.mrc", "a.nrrd") == 0
    io.convert("v.mrc", "b.nrrd")
    assert (folder / "a.nrrd").read_bytes() == (folder / "b.nrrd").read_bytes()


def test_a_series_keeps_its_angles(folder):
    assert convert("t.mrc", "t.zarr") == 0
    assert zarr.open_group("t.zarr", mode="r").attrs["tilt_angles_deg"] == [-3.5, 0, 3, 6]
    assert convert("t.mrc", "u.st", "--dtype", "float32", "--pixel-size-nm", "0.25") == 0
    back = io.read_tilt_series("u.st")
    assert (back.images.dtype, back.pixel_size_nm, back.tilt_axis_deg) == ("f4", 0.25, 12.5)


def test_labels_keep_their_names_if_they_are_called_labels(folder):
    assert convert("l.mrc", "l.zarr", "--kind", "labels") == 0
    facts = zarr.open_group("l.zarr", mode="r").attrs["ome"]
    assert facts["image-label"]["properties"] == [{"label-value": 2, "name": "film"}]


def test_tables_go_to_parquet_and_back(folder):
    io.write_table(pd.DataFrame({"a": [0.1, 0.2]}), "a.csv")
    assert convert("a.csv", "a.parquet") == 0
    assert convert("a.parquet", "b.csv", "--kind", "table") == 0
    assert (folder / "b.csv").read_bytes() == (folder / "a.csv").read_bytes()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("v.mrc", "v.mrc", "--overwrite"), "another file than the source"),
        (("v.mrc", "t.mrc"), "exists: choose another name"),
        (("v.mrc", "v.jpg"), "one of the endings"),
        (("t.mrc", "t.nrrd"), "no place for its angles"),
        (("list.txt", "a.csv"), "list.txt is none: it is a list of angles"),
        (("none.mrc", "v.zarr"), "there is no file none.mrc"),
        (("v.mrc", "v.zarr", "--dtype", "int8"), "whole numbers to be stored as int8"),
    ],
)
def test_what_cannot_be_converted_is_said_and_leaves_nothing(folder, capsys, words, sentence):
    before = {path: path.read_bytes() for path in folder.iterdir()}
    assert convert(*words) == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert len(said.splitlines()) == 1
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
