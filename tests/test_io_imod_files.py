"""IMOD's models, logs, command files and local alignments: real ones, by eye or by imodmodel, and hostile ones."""

import struct
from pathlib import Path

import numpy as np
import pytest
from peers import ask

from tomo3d import FormatError, io, tables
from tomo3d.io._command_file import view_list, view_list_text

SIDES = Path(__file__).parents[2] / "shared" / "data" / "sidecars"
real = pytest.mark.skipif(not SIDES.exists(), reason="needs ../shared/data/sidecars")
MODELS = (
    "meshed_contour",
    "meshed_curvature",
    "multiple_objects",
    "point_sizes",
    "slicer_angle",
    "two_contour",
)


def model(*contours, extra=b"", end=b"IEOF"):
    """A model of one object, as IMOD's binary specification says."""
    parts = [b"IMODV1.2", bytes(232), b"OBJT", bytes(176)]
    for points in contours:
        points = np.array(points, ">f4").reshape(-1, 3)
        parts += [b"CONT", struct.pack(">iIii", len(points), 0, 0, 0), points.tobytes()]
        parts += [b"SIZE", struct.pack(">i", 4 * len(points)), bytes(4 * len(points))]
    return b"".join([*parts, extra, end])


def put(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_tracks_of_a_model_are_pixel_indices_and_views(tmp_path):
    """The middle of pixel i lies at i + 0.5, section k at z = k; an empty contour makes no track."""
    content = model([(10.5, 20.5, 1), (10.5, 21.0, 0)], [], [(0.5, 0.5, 2.0)])
    table = io.read_tracks(put(tmp_path / "a.fid", content), pixel_size_nm=2.0)
    tables.check(table, tables.TRACKS)
    assert table.to_numpy().tolist() == [[0, 0, 41.0, 20.0], [0, 1, 40.0, 20.0], [1, 2, 0.0, 0.0]]


IMODMODEL = """
from imodmodel import ImodModel
models = [ImodModel.from_file(file) for file in sys.argv[1:]]
print(json.dumps([[c.points.tolist() for thing in model.objects for c in thing.contours] for model in models]))
"""


@real
def test_real_models_have_the_points_that_imodmodel_reads():
    files = [SIDES / "imodmodel" / f"{name}_example.mod" for name in MODELS]
    for file, theirs in zip(files, ask("imodmodel", IMODMODEL, *files), strict=True):
        ours = [points.tolist() for _, _, points in io.read_contours(file)]
        assert ours == theirs


@real
def test_a_model_of_something_else_is_no_set_of_tracks():
    with pytest.raises(FormatError, match="one point per view, got more in view 80"):
        io.read_tracks(SIDES / "imodmodel" / "two_contour_example.mod", pixel_size_nm=1.0)


POINTS = [(1.0, 2.0, 0.0), (3.0, 4.0, 1.0)]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (model(POINTS, end=b""), "ends before its last mark"),
        (model(POINTS)[:-20], "ends"),
        (model(POINTS).replace(struct.pack(">i", 2), struct.pack(">i", 2**31 - 1), 1), "bytes too early"),
        (model(POINTS).replace(struct.pack(">i", 2), struct.pack(">i", -5), 1), "claims -5 entries"),
        (
            model(POINTS, extra=b"MESH" + struct.pack(">iiIhh", 2**31 - 1, 2**31 - 1, 0, 0, 0)),
            "bytes too early",
        ),
        (model(POINTS, extra=b"MESH" + struct.pack(">iiIhh", -1, 0, 0, 0, 0)), "claims -1 entries"),
        (model(POINTS, extra=b"LABL" + struct.pack(">i", 2**31 - 1)), "bytes too early"),
        (model([(np.nan, 1, 1)]), "finite positions"),
        (model(np.zeros((1_000_001, 3))), "at most 1,000,000 points"),
        (model([(1, 1, -7)]), "must be views from 0, got -7"),
        (model(), "got none with points"),
        (b"IMODV1.2" + bytes(232) + b"CONT" + bytes(16) + b"IEOF", "before any object"),
        (b"IMODV2.0" + bytes(400), "beginning with IMODV1.2"),
    ],
)
def test_hostile_models_are_refused_in_one_sentence(tmp_path, content, sentence):
    file = put(tmp_path / "a.mod", content)
    with pytest.raises(FormatError, match=sentence) as told:
        io.read_tracks(file, pixel_size_nm=1.0)
    assert str(file) in str(told.value)


def test_a_model_that_ends_anywhere_is_refused(tmp_path):
    whole = model(POINTS, [(5.0, 6.0, 0.0)])
    for n in range(8, len(whole), 5):
        with pytest.raises(FormatError):
            io.read_tracks(put(tmp_path / "a.mod", whole[:n]), pixel_size_nm=1.0)


@real
def test_a_real_log_of_tiltalign_reads_to_the_values_of_its_text():
    log = io.read_alignment_log(SIDES / "yaiw" / "align.log")
    tables.check(log.points, tables.POINT_POSITIONS)
    assert log.pixel_size_nm == pytest.approx(8 * 0.135)
    assert (log.mean_residual_nm, log.sd_residual_nm, log.weighted_residual_nm) == (0.360, 0.457, 0.289)
    assert log.beam_tilt_deg == 0.15
    last = log.views.iloc[-1]
    assert log.views["view"].tolist() == list(range(1, 41))  # the log solves views 2 to 41
    assert (last["tilt_axis_deg"], last["tilt_angle_deg"], last["mean_residual_nm"]) == (85.2, 69.0, 0.42)
    assert len(log.points) == 16
    first = log.points.iloc[0]
    np.testing.assert_allclose(first[["z_nm", "y_nm", "x_nm"]], np.array([32.66, 157.72, -123.74]) * 1.08)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("nothing\n", "got none"),
        ("view rotation tilt deltilt mag dmag skew resid-nm\n1 2 3\n", "line 2: must be 8 numbers"),
        (
            "view rotation tilt deltilt mag dmag skew resid-nm\n1 2 3 4 5 6 nan 8\n",
            "line 2: must be 8 numbers",
        ),
    ],
)
def test_what_is_no_log_of_tiltalign_is_refused(tmp_path, text, sentence):
    with pytest.raises(FormatError, match=sentence):
        io.read_alignment_log(put(tmp_path / "align.log", text))


@real
@pytest.mark.parametrize(
    ("name", "program", "values"),
    [
        (
            "cryoet_alignment/tilt.com",
            "tilt",
            {"THICKNESS": "900", "FULLIMAGE": "2032 2032", "PERPENDICULAR": ""},
        ),
        (
            "cryoet_alignment/newst.com",
            "newstack",
            {"BinByFactor": "2", "TransformFile": "mba2012-02-01-1.xf"},
        ),
        ("cryoet_alignment/convert/imod_1/tilt.com", "tilt", {"THICKNESS": "2000", "SUBSETSTART": "-2 0"}),
        ("cryoet_alignment/convert/imod_1/newst.com", "newstack", {"SizeToOutputInXandY": "928,958"}),
        ("../beads_BBa/tilta.com", "tilt", {"XAXISTILT": "1.94", "EXCLUDELIST": "1", "TILTFILE": "BBa.tlt"}),
    ],
)
def test_real_command_files_read_to_the_values_of_their_text(name, program, values):
    options = io.read_command_file(SIDES / name)
    assert list(options) == [program]
    assert {key: options[program][key] for key in values} == values


def test_options_come_from_programs_that_read_them_and_nothing_is_run(tmp_path):
    run = "$/usr/local/IMOD/bin/tilt -StandardInput\n# X 2\nx 3\nx 4\n"
    text = f"$rm -rf /\nX 1\n{run}$if (-e ./savework) ./savework\nY 5\n"
    assert io.read_command_file(put(tmp_path / "a.com", text)) == {"tilt": {"x": "3,4"}}
    for bad, sentence in (("X 1\n", "got none"), (text + text, "runs tilt twice")):
        with pytest.raises(FormatError, match=sentence):
            io.read_command_file(put(tmp_path / "a.com", bad))


def test_lists_of_views_count_from_1_in_imod_and_from_0_here():
    assert view_list("1,3-5, 9", "a").tolist() == [0, 2, 3, 4, 8]
    assert view_list_text(np.array([0, 2, 3, 4, 8])) == "1,3-5,9"
    assert view_list_text(np.array([], int)) == ""
    for bad in ("0", "5-3", "1-999999999", "-1", "x"):
        with pytest.raises(FormatError, match="must list views from 1"):
            view_list(bad, "EXCLUDELIST")


LOCAL = "1 2 20 30 5 7 1 20.2 1\n0.1 0.2\n0.3 0.4\n1 2 3 4\n1 2 3 4 5 6\n7 8 9 10 11 12\n" + "0 " * 20


def test_a_local_alignment_is_a_table_of_patches_and_views(tmp_path):
    """Tilts, x-axis tilts, Z factors, then transforms, of each patch; patches go along x first."""
    table = io.read_local_transforms(put(tmp_path / "alocal.xf", LOCAL), 2, pixel_size_nm=2.0)
    assert table["patch"].tolist() == [0, 0, 1, 1]
    assert table[["y_nm", "x_nm"]].iloc[2].tolist() == [74.0, 40.0]
    row = table.iloc[1]
    assert (row["view"], row["tilt_change_deg"], row["x_tilt_change_deg"]) == (1, 0.2, 0.4)
    assert (row["z_factor_x"], row["z_factor_y"]) == (3.0, 4.0)
    assert row[["a_xx", "a_xy", "a_yx", "a_yy"]].tolist() == [7.0, 8.0, 9.0, 10.0]
    assert row[["shift_x_nm", "shift_y_nm"]].tolist() == [22.0, 24.0]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (LOCAL[:-2], "10 numbers for each of 2 patches and 2 views, 40 in all, got 39"),
        (LOCAL.replace("1 2 20", "100000 100000 20"), "must count 1 to 10,000 patches"),
        (LOCAL.replace("1 2 20", "1 2.5 20"), "must be 9 numbers"),
        (LOCAL.replace("0.3", "nan"), "line 3: must hold numbers"),
        (LOCAL.replace("0.3", "x"), "line 3: must hold numbers"),
    ],
)
def test_hostile_local_alignments_are_refused(tmp_path, text, sentence):
    with pytest.raises(FormatError, match=sentence):
        io.read_local_transforms(put(tmp_path / "alocal.xf", text), 2, pixel_size_nm=2.0)
