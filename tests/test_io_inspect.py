"""What `inspect` says of a file, and what it finds suspicious."""

import dataclasses
import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mrc_bytes import mrc_bytes, ramp

from tomo3d import Alignment, FormatError, TiltSeries, Volume
from tomo3d.cli.main import main
from tomo3d.io import inspect, write_alignment, write_table, write_tilt_series, write_volume
from tomo3d.io._file_info import column_text, range_text

SHIPPED = Path(__file__).parents[1] / "examples" / "data" / "needle.mrc"
DATA = ramp((3, 4, 5))


@pytest.fixture
def put(tmp_path):
    def write(content, name="a.mrc"):
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return write


def test_the_needle_is_described_with_its_traps():
    info = inspect(SHIPPED)
    assert (info.kind, info.shape, info.dtype) == ("tilt series", (77, 168, 188), "int16")
    assert info.voxel_size_nm == (3.36, 3.36)
    assert info.tilt_angles.startswith("77 angles, -76 to 76 deg, steps of 2 deg")
    assert info.mode == "1 (16-bit integer), little-endian"
    assert info.titles == ("Fei Company (c) Copyright 2003",)
    assert any("stored less 32,768" in s for s in info.suspicions)
    assert any("does not give the tilt axis" in s for s in info.suspicions)
    with pytest.raises(dataclasses.FrozenInstanceError):
        info.kind = "other"


def test_what_we_write_raises_no_suspicion(tmp_path):
    data = np.random.default_rng(0).normal(size=(6, 7, 8)).astype("f4")
    write_volume(Volume(data, (2.5, 2.5, 2.5), (1.0, 2.0, 3.0)), tmp_path / "v.mrc")
    write_tilt_series(TiltSeries(data, np.linspace(-60, 60, 6), 0.5, 85.0), tmp_path / "t.mrc")
    volume, series = inspect(tmp_path / "v.mrc"), inspect(tmp_path / "t.mrc")
    assert volume.suspicions == series.suspicions == ()
    assert (volume.kind, volume.voxel_size_nm, volume.origin_nm) == (
        "volume",
        (2.5, 2.5, 2.5),
        (1.0, 2.0, 3.0),
    )
    assert (series.kind, series.tilt_axis) == ("tilt series", "85 deg (title of the header)")
    assert volume.values is not None
    sampled = data[[0, 1, 2, 3, 5]]
    np.testing.assert_allclose(volume.values, [sampled.min(), sampled.max(), sampled.mean()], rtol=1e-6)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"cell": (5.0, 4.0, 3.0)}, "voxel size is 1 angstrom"),
        ({"cell": (0.0, 0.0, 0.0)}, "no voxel size: pass voxel_size_nm"),
        ({"cell": (50.0, 40.0, 90.0)}, "not cubic: 3 x 1 x 1 nm"),
        ({"m": (5, 4, 1), "cell": (50.0, 40.0, 300.0)}, "not believed"),
        ({"statistics": (0.0, 10.0, 5.0)}, "beyond the 0 to 10 of the header"),
    ],
)
def test_suspicions_of_a_header(put, changes, sentence):
    data = ramp((30, 4, 5)) if "m" in changes else DATA
    assert any(sentence in s for s in inspect(put(mrc_bytes(data, **changes))).suspicions)


def test_suspicions_of_the_values(put):
    assert any("all sampled values are 0" in s for s in inspect(put(mrc_bytes(DATA * 0))).suspicions)
    holes = DATA.copy()
    holes[1, :2, 0] = np.nan
    info = inspect(put(mrc_bytes(holes, statistics=(0, 0, 0))))
    assert any("2 of 60 sampled values are nan or infinite" in s for s in info.suspicions)
    assert info.values[:2] == (np.nanmin(holes), np.nanmax(holes))
    assert inspect(put(mrc_bytes(DATA * np.nan))).values is None
    assert any("4 bytes lie behind" in s for s in inspect(put(mrc_bytes(DATA) + b"rest")).suspicions)


def test_an_inspection_goes_on_where_a_reader_stops(put):
    path = put(mrc_bytes(DATA, extended=bytes(4), extended_type=b"FEI1"))
    put(b"1\n2\n", "a.rawtlt")
    info = inspect(path)
    assert info.kind == "tilt series"
    assert any("records of" in s for s in info.suspicions)
    assert any("2 angles (file a.rawtlt) for 3 views" in s for s in info.suspicions)


def test_a_big_file_is_sampled_not_read(tmp_path):
    path = tmp_path / "big.mrc"
    header = mrc_bytes(ramp((1, 1, 1)), n=(1000, 1000, 500), m=(1000, 1000, 500), cell=(1e4, 1e4, 5e3))[:1024]
    with open(path, "wb") as stream:
        stream.write(header)
        stream.truncate(1024 + 4 * 500 * 1000 * 1000)  # 2 GB of holes, which take no room
    tracemalloc.start()
    info = inspect(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert info.shape == (500, 1000, 1000)
    assert peak < 100_000_000


def test_alignments_and_tables_are_known(tmp_path):
    reliable = np.array([True, False])
    alignment = Alignment(
        np.zeros((2, 2)), np.array([84.0, 85.0]), np.array([-1.0, 1.0]), np.ones(2), 1.0, reliable
    )
    write_alignment(alignment, tmp_path / "a.json")
    info = inspect(tmp_path / "a.json")
    assert (info.kind, info.shape, info.tilt_axis) == ("alignment", (2,), "84 to 85 deg")
    assert info.suspicions == ("the method distrusts 1 of 2 views.",)
    write_table(pd.DataFrame({"a": [1, 2], "b": [3, 4], "c": [5, 6]}), tmp_path / "t.csv")
    assert (inspect(tmp_path / "t.csv").kind, inspect(tmp_path / "t.csv").shape) == ("table", (2, 3))


def test_other_files_are_refused(put, tmp_path):
    with pytest.raises(FormatError, match="must be images, an alignment, a record of views"):
        inspect(put(b"hello " * 300))
    with pytest.raises(FormatError, match="not an MRC file"):
        inspect(put(b"hello\0" * 300))
    with pytest.raises(IsADirectoryError):
        inspect(tmp_path)


SHARED = Path(__file__).parents[2] / "shared" / "data"
BY_EYE = [  # kind, shape, what the angles say, axis: read in the text of the files
    ("beads_BBa/BBa.xf", "alignment", (61,), "61 angles", "11.5"),
    ("beads_BBa/BBa.tlt", "list of angles", (61,), "61 angles", ""),
    ("sidecars/alnfile/global_and_local.aln", "alignment", (51,), "51 angles, -55.7 to 44.29 deg", "84.4445"),
    ("sidecars/alnfile/global_no_local.tlt", "list of angles", (61,), "61 angles, -63.2 to 56.79 deg", ""),
    ("sidecars/etspy/test_000.mrc.mdoc", "tilt series", (2,), "2 angles, -0.000488", "-90 deg"),
    (
        "sidecars/mdocfile/tilt_series.mdoc",
        "tilt series",
        (41,),
        "41 angles, -59.9986 to 60.0006 deg",
        "85.3 deg",
    ),
    ("sidecars/mdocfile/montage_section.mdoc", "montage", (62,), "", "-86.7 deg"),
    ("sidecars/warp/TS_1.xml", "alignment", (41,), "41 angles", "-85.5995"),
    ("sidecars/imodmodel/two_contour_example.mod", "model of 2 contours", (25,), "", ""),
    ("sidecars/cryoet_alignment/test.xf", "transforms of IMOD", (3,), "", "-11.4"),  # without .tlt
    ("sidecars/cryoet_alignment/tilt.com", "command file of IMOD: tilt", (), "", ""),
    (
        "sidecars/etomofiles_TS_001/TS_001.edf",
        "settings of IMOD's etomo, which nothing here reads",
        (),
        "",
        "",
    ),
    ("sidecars/yaiw/align.log", "log of tiltalign of IMOD", (40,), "40 angles, -48 to 69 deg", ""),
    ("beads_BBa/BBa.xtilt", "x-axis tilts of IMOD", (61,), "", ""),
    ("beads_BBa/BBa.zfac", "Z factors of IMOD", (61,), "", ""),
    ("beads_BBa/BBa.resid", "residuals of IMOD: 23 tracks in 61 views", (1403,), "", ""),
    ("beads_BBa/BBafid.xyz", "positions of fiducials of IMOD", (23,), "", ""),
    ("beads_BBa/BBalocal.xf", "local alignment of IMOD, read with the .xf of its name", (2, 2), "", ""),
    ("needle/HAADF.txt", "log of a microscope", (), "", "90 deg"),
    ("needle/HAADF.rawtlt", "list of angles", (77,), "77 angles, -76 to 76 deg, steps of 2 deg", ""),
]


@pytest.mark.skipif(not SHARED.exists(), reason="the collection of real files is not here")
@pytest.mark.parametrize(("name", "kind", "shape", "angles", "axis"), BY_EYE)
def test_real_side_files_are_known_by_content(name, kind, shape, angles, axis):
    info = inspect(SHARED / name)
    assert (info.kind, info.shape) == (kind, shape)
    assert info.tilt_angles.startswith(angles)
    assert axis in info.tilt_axis
    assert not any("nan" in text for text in info.views.values())


@pytest.mark.skipif(not SHARED.exists(), reason="the collection of real files is not here")
def test_what_a_real_side_file_says_is_shown_by_its_text():
    """Values as they stand in the files, and nothing where a file does not say."""
    options = inspect(SHARED / "beads_BBa" / "tilta.com").views
    assert (options["tilt THICKNESS"], options["tilt XAXISTILT"]) == ("84", "1.94")
    factors = inspect(SHARED / "beads_BBa" / "BBa.zfac").views
    assert factors["z_factor_x"] == "-0.002847 to 0.002052"
    assert inspect(SHARED / "sidecars" / "yaiw" / "align.log").voxel_size_nm == pytest.approx((1.08, 1.08))
    assert inspect(SHARED / "needle" / "HAADF.txt").voxel_size_nm == (3.36, 3.36)
    series = inspect(SHARED / "sidecars" / "mdocfile" / "tilt_series.mdoc").views
    assert "dose_before_e_per_A2" not in series  # ExposureDose is 0 in all sections
    aretomo = inspect(SHARED / "sidecars" / "alnfile" / "global_and_local.aln")
    assert aretomo.suspicions == ("14 of 51 views are left out or excluded.",)  # "# DarkFrame" 14 times
    with pytest.raises(
        FormatError, match=r"4 lines and 4 dark frames, but there are 90 views by its RawSize\.$"
    ):
        inspect(SHARED / "sidecars" / "cryoet_alignment" / "test.aln")
    with pytest.raises(FormatError, match="the defocus that CTFFIND found, and has no tilt angles"):
        inspect(SHARED / "sidecars" / "cryoet_alignment" / "test_CTF.txt")


def test_sizes_and_ranges_in_words(put, tmp_path):
    assert range_text(np.array([33.0])) == "1 angle, 33 deg"
    assert range_text(np.array([33.0, 33.0])) == "2 angles, 33 deg"
    assert column_text([np.nan, 2.0, 1.0]) == "1 to 2 (of 2 of 3 views)"
    assert (column_text(["a", "b"]), column_text(["a", "a"])) == ("a to b", "a")
    assert inspect(put(b"-1\n1\n", "a.tlt")).size == "2 views"
    assert inspect(put(b"a,b\n1,2\n", "a.csv")).size == "1 row, 2 columns"
    assert inspect(put(mrc_bytes(DATA))).size == "3 x 4 x 5 float32"


def test_a_missing_pixel_is_told_once(put):
    put(b"-1\n0\n1\n", "a.tlt")
    found = inspect(put(mrc_bytes(DATA, cell=(0.0, 0.0, 0.0)))).suspicions
    assert sum("pixel" in sentence for sentence in found) == 1


def test_info_prints_a_long_name_whole(tmp_path, capsys):
    """To be copied, whatever the width of the table below it; and no source where there is no size."""
    name = tmp_path / ("a" * 100) / ("b" * 100 + ".tlt")
    name.parent.mkdir()
    name.write_text("-1\n0\n1\n")
    assert main(["info", str(name)]) == 0
    out = capsys.readouterr().out
    assert str(name) in out
    assert "pixel" not in out
