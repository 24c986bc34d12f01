"""Side files that say what the views are (.mdoc, angles, STAR, .tomostar, Warp); real ones, and hostile ones."""

from pathlib import Path

import numpy as np
import pytest
from peers import ask

from tomo3d import FormatError, io, tables

SHARED = Path(__file__).parents[2] / "shared" / "data"
SIDES = SHARED / "sidecars"
real = pytest.mark.skipif(not SIDES.exists(), reason="needs ../shared/data/sidecars")


def put(path, text, encoding="utf-8"):
    path.write_bytes(text.encode(encoding))
    return path


HEAD = """PixelSpacing = 5.4
Voltage = 300
ImageFile = TS_01.mrc
ImageSize = 924 958

[T = SerialEM: 30-Nov-15]

[T =     Tilt axis angle = 85.3, binning = 4  spot = 8  camera = 2]

"""
SECTION = """[ZValue = {z}]
TiltAngle = {angle}
StagePosition = 1.5 -2
StageZ = 163.8
Magnification = 105000
ExposureDose = {dose}
PixelSpacing = 5.4
Defocus = -4.5
RotationAngle = 175.3
SubFramePath = {path}
DateTime = {time}

"""


def sections(n=3, dose=2.0, path="D:\\DATA\\f\\a_{z}.mrc", time="30-Nov-15  15:2{z}:00"):
    angles = (0.0, 3.0, -3.0)
    return [
        SECTION.format(z=z, angle=angles[z], dose=dose, path=path.format(z=z), time=time.format(z=z))
        for z in range(n)
    ]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_an_mdoc_gives_each_view_its_facts_in_nm(tmp_path, end):
    text = (HEAD + "".join(sections())).replace("\n", end)
    record = io.read_mdoc(put(tmp_path / "a.mdoc", text.replace("SerialEM", "Universit\xe4t"), "latin-1"))
    tables.check(record.views, tables.VIEWS)
    view = record.views.iloc[2]
    assert record.kind == "tilt series"
    assert (record.pixel_size_nm, record.tilt_axis_deg, record.voltage_kv) == (
        pytest.approx(0.54),
        85.3,
        300.0,
    )
    assert (record.image_file, record.image_shape) == ("TS_01.mrc", (958, 924))
    assert record.titles[0].startswith("Universit\xe4t")
    assert (view["tilt_angle_deg"], view["defocus_nm"], view["magnification"]) == (-3.0, -4500.0, 105000.0)
    assert (view["stage_x_nm"], view["stage_y_nm"], view["stage_z_nm"]) == (1500.0, -2000.0, 163800.0)
    assert (view["exposure_dose_e_per_A2"], view["dose_before_e_per_A2"]) == (2.0, 4.0)
    assert (view["time"], view["sub_frame_file"]) == ("2015-11-30T15:22:00", "a_2.mrc")
    assert record.notes == ()


def test_the_order_of_acquisition_is_that_of_the_times(tmp_path):
    """Rows stay in the order of the file; dose adds up in the order in which the views were taken."""
    record = io.read_mdoc(put(tmp_path / "a.mdoc", HEAD + "".join(reversed(sections()))))
    assert record.views["tilt_angle_deg"].tolist() == [-3.0, 3.0, 0.0]
    assert record.views["acquisition_order"].tolist() == [2, 1, 0]
    assert record.views["dose_before_e_per_A2"].tolist() == [4.0, 2.0, 0.0]
    told = put(
        tmp_path / "b.mdoc",
        HEAD + "".join(s + f"PriorRecordDose = {7 * z}\n" for z, s in enumerate(sections())),
    )
    assert io.read_mdoc(told).views["dose_before_e_per_A2"].tolist() == [0.0, 7.0, 14.0]


@pytest.mark.parametrize(
    ("text", "iso"),
    [
        ("30-Nov-15  15:21:38", "2015-11-30T15:21:38"),
        ("30-Nov-2015  15:21:38", "2015-11-30T15:21:38"),
        ("2021-Jul-31 10:49:38", "2021-07-31T10:49:38"),
        ("2021-07-31 10:49:38", "2021-07-31T10:49:38"),
        ("01-Jan-99 12:00:05 AM", "1999-01-01T00:00:05"),
        ("31-Foo-15 15:21:38", ""),
        ("yesterday", ""),
    ],
)
def test_times_are_read_as_serialem_writes_them(tmp_path, text, iso):
    record = io.read_mdoc(put(tmp_path / "a.mdoc", HEAD + sections(1, time=text)[0]))
    assert record.views["time"].tolist() == [iso]
    assert any("not understood" in note for note in record.notes) == (not iso)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("..\\..\\..\\etc\\passwd", "passwd"),
        ("/abs/../../x.tif", "x.tif"),
        ("..", ""),
        ("C:\\", "C:"),
        ("\\\\server\\share\\f 1.tif", "f 1.tif"),
    ],
)
def test_paths_of_other_computers_give_a_name_and_are_not_followed(tmp_path, path, name):
    record = io.read_mdoc(put(tmp_path / "a.mdoc", HEAD + sections(1, path=path)[0]))
    assert record.views["sub_frame_file"].tolist() == [name]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "it is empty"),
        (HEAD, "got none"),
        (HEAD + sections(1)[0] * 2, r"\[ZValue = 0\] is there twice"),
        (HEAD + sections(1)[0] + "TiltAngle = 7\n", "TiltAngle is there twice"),
        (
            HEAD + sections(1)[0].replace("TiltAngle = 0.0", "TiltAngle = nan"),
            "section 0: TiltAngle must hold numbers",
        ),
        (HEAD + sections(1)[0].replace("1.5 -2", "1.5"), "StagePosition must hold numbers"),
        (HEAD + sections(1)[0].replace("Dose = 2.0", "Dose = -2"), "must not be negative"),
        (HEAD + "[ZValue = x]\n", "must number its section"),
        (HEAD + "[Nonsense]\n", "must be key = value or a section"),
        (HEAD + sections(1)[0] + "x" * 10_000_000, "got 10,000,000 characters"),
        (HEAD + sections(1)[0] + "\0", "not plain text"),
        ("\n" * (1 << 21), "lines"),
    ],
)
def test_what_is_no_mdoc_is_refused_in_one_sentence(tmp_path, text, sentence):
    file = put(tmp_path / "a.mdoc", text)
    with pytest.raises(FormatError, match=sentence) as told:
        io.read_views(file)
    assert str(file) in str(told.value)
    assert len(str(told.value)) < 400


def test_a_dose_of_zero_everywhere_is_not_taken_for_known(tmp_path):
    record = io.read_mdoc(put(tmp_path / "a.mdoc", HEAD + "".join(sections(dose=0))))
    assert record.views["exposure_dose_e_per_A2"].isna().all()
    assert "not calibrated" in record.notes[0]


def test_a_folder_of_mdocs_is_one_record_in_the_order_of_the_times(tmp_path):
    for z, name in enumerate(("c", "a", "b")):
        put(tmp_path / f"{name}.mdoc", HEAD + sections()[z])
    put(tmp_path / "copy.mdoc", HEAD + sections()[0])
    record = io.read_views(tmp_path)
    assert record.views["tilt_angle_deg"].tolist() == [0.0, 3.0, -3.0]
    assert record.views["dose_before_e_per_A2"].tolist() == [0.0, 2.0, 4.0]
    assert record.notes == ("copy.mdoc is the same as c.mdoc: it counts once.",)
    put(tmp_path / "d.mdoc", HEAD.replace("85.3", "80") + sections()[0])
    with pytest.raises(FormatError, match="agree in tilt_axis_deg"):
        io.read_views(tmp_path)


@real
@pytest.mark.parametrize(
    ("name", "kind", "n", "pixel", "axis"),
    [
        ("mdocfile/tilt_series.mdoc", "tilt series", 41, 0.54, 85.3),
        ("tiltstack/mdoc/TS_01.mrc.mdoc", "tilt series", 41, 0.54, 85.3),
        ("mdocfile/frame_set_single.mdoc", "frame sets", 1, 0.12827, None),
        ("mdocfile/frame_set_multiple.mdoc", "frame sets", 20, 0.12827, None),
        ("mdocfile/montage_section.mdoc", "montage", 62, 65.6139, -86.7),
        ("mdocfile/montage_section_multiple.mdoc", "montage", 90, 0.768 * 10, 85.5),
        ("etspy/test_000.mdoc", "tilt series", 2, 0.788, -90.0),
        ("etspy", "tilt series", 6, 0.788, -90.0),
    ],
)
def test_real_mdocs_read_to_the_values_of_their_text(name, kind, n, pixel, axis):
    record = io.read_views(SIDES / name)
    assert (record.kind, len(record.views), record.tilt_axis_deg) == (kind, n, axis)
    assert record.pixel_size_nm == pytest.approx(pixel)


MDOCS = (
    "tilt_series",
    "frame_set_single",
    "frame_set_multiple",
    "montage_section",
    "montage_section_multiple",
)
MDOCFILE = """
from mdocfile.data_models import Mdoc
found = []
for file in sys.argv[1:]:
    found.append([{
        "z": section.ZValue, "angle": section.TiltAngle, "defocus": section.Defocus, "stage": section.StagePosition,
        "pixel": section.PixelSpacing, "frames": section.SubFramePath.name if section.SubFramePath else "",
    } for section in Mdoc.from_file(file).section_data])
print(json.dumps(found))
"""


@real
def test_real_mdocs_read_as_mdocfile_reads_them():
    files = [SIDES / "mdocfile" / f"{name}.mdoc" for name in MDOCS]
    for name, file, theirs in zip(MDOCS, files, ask("mdocfile", MDOCFILE, *files), strict=True):
        ours = io.read_mdoc(file).views
        theirs = [section for section in theirs if section["z"] is not None or name == "frame_set_single"]
        assert len(theirs) == len(ours)
        np.testing.assert_array_equal(ours["tilt_angle_deg"], [section["angle"] for section in theirs])
        if name == "frame_set_multiple":  # whose sections have few facts of their own
            continue
        np.testing.assert_allclose(ours["defocus_nm"], [1e3 * section["defocus"] for section in theirs])
        np.testing.assert_allclose(
            ours[["stage_x_nm", "stage_y_nm"]], [np.multiply(section["stage"], 1e3) for section in theirs]
        )
        np.testing.assert_allclose(ours["pixel_size_nm"], [0.1 * section["pixel"] for section in theirs])
        assert ours["sub_frame_file"].tolist() == [section["frames"] for section in theirs]


def test_a_list_of_angles_may_say_order_and_dose(tmp_path):
    record = io.read_views(put(tmp_path / "a_TLT.txt", "-3 3 2.5\n0 1 2.0\n3 2 2.25\n"))
    assert record.views["acquisition_order"].tolist() == [2, 0, 1]
    assert record.views["dose_before_e_per_A2"].tolist() == [4.25, 0.0, 2.0]
    unknown = io.read_views(put(tmp_path / "b.tlt", "-3 30\n0 10\n3 20\n"))
    assert unknown.views["column_2"].tolist() == [30.0, 10.0, 20.0]
    assert "nothing says what they mean" in unknown.notes[0]
    assert (unknown.views["acquisition_order"] == -1).all()
    with pytest.raises(FormatError, match="line 2: must be 2 numbers"):
        io.read_views(put(tmp_path / "c.tlt", "-3 30\n0\n"))


@real
@pytest.mark.parametrize(
    ("name", "n", "first", "last"),
    [
        ("alnfile/global_no_local.tlt", 61, -63.20, 56.79),
        ("etomofiles_TS_001/TS_001.rawtlt", 40, -60.0, 56.99),
        ("etomofiles_TS_001/TS_001.tlt", 40, -57.12, 59.84),
        ("etspy/HAADF.rawtlt", 77, -76.0, 76.0),
        ("../needle/HAADF.rawtlt", 77, -76.0, 76.0),
        ("cryoet_alignment/convert/imod_1/tilt_1.tlt", 59, -52.24, 63.76),
        ("../beads_BBa/BBa.tlt", 61, 65.06, -55.12),
    ],
)
def test_real_lists_of_angles(name, n, first, last):
    angles = io.read_views(SIDES / name).views["tilt_angle_deg"]
    assert (len(angles), angles.iloc[0], angles.iloc[-1]) == (n, first, last)


STAR = """
# version 50001

data_global

loop_
_rlnTomoName #1
_rlnTomoTiltSeriesStarFile #2
_rlnTomoTiltSeriesPixelSize #3
TS_01 Align/job002/tilt_series/TS_01.star 1.350000
"""
TILTS = """
data_TS_01

loop_
_rlnMicrographMovieName #1
_rlnTomoNominalStageTiltAngle #2
_rlnTomoNominalTiltAxisAngle #3
_rlnMicrographPreExposure #4
_rlnTomoNominalDefocus #5
"frames/TS 01 a.mrc" -3.0 85.0 4.0 -4.0
frames/it's_b.mrc   0.001 85.0 0.0 -4.1  # first
frames/c.mrc        3.0 85.0 2.0 -4.2
"""


def test_a_series_of_relion_is_found_from_the_folder_of_its_project(tmp_path):
    folder = tmp_path / "Align" / "job002"
    (folder / "tilt_series").mkdir(parents=True)
    put(folder / "tilt_series" / "TS_01.star", TILTS)
    record = io.read_views(put(folder / "tomograms.star", STAR))
    assert (record.pixel_size_nm, record.tilt_axis_deg, record.kind) == (
        pytest.approx(0.135),
        85.0,
        "RELION tilt series",
    )
    assert record.views["tilt_angle_deg"].tolist() == [-3.0, 0.001, 3.0]
    assert record.views["acquisition_order"].tolist() == [2, 0, 1]
    assert record.views["sub_frame_file"].tolist() == ["TS 01 a.mrc", "it's_b.mrc", "c.mrc"]
    assert record.views["defocus_nm"].tolist() == [-4000.0, -4100.0, -4200.0]


@pytest.mark.parametrize(
    "named", ["../../secret.star", "/etc/secret.star", "..\\..\\secret.star", "link.star"]
)
def test_a_star_file_elsewhere_is_never_followed(tmp_path, named):
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    put(tmp_path / "secret.star", TILTS)
    (inner / "link.star").symlink_to(tmp_path / "secret.star")
    with pytest.raises(FormatError, match="neither beside it"):
        io.read_views(
            put(inner / "tomograms.star", STAR.replace("Align/job002/tilt_series/TS_01.star", named))
        )


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (TILTS.replace("-3.0 85.0 4.0", "-3.0 85.0"), "must hold 5 values as columns of data_TS_01, got 4"),
        (TILTS.replace(" 0.001", " nan"), "must hold finite numbers, got 'nan' in row 1"),
        (TILTS.replace("NominalStageTiltAngle", "Other"), "one table of views"),
        (TILTS + TILTS, "data_TS_01 is there twice"),
        (TILTS.replace("NominalDefocus", "NominalStageTiltAngle"), "is there twice in data_TS_01"),
        ("what is this\n" + TILTS, "blocks begin with data_"),
        (STAR + "TS_02 x.star 1.35\n", "one tilt series, got 2"),
        (STAR.replace("1.350000", "-1"), "one positive length"),
        (STAR.replace("_rlnTomoName #1", "_rlnOther #1"), "must have the column rlnTomoName"),
        ("data_x\nloop_\n_a #1\nloop_\n", "another loop_"),
    ],
)
def test_star_files_that_contradict_themselves_are_refused(tmp_path, text, sentence):
    put(tmp_path / "TS_01.star", TILTS)
    file = put(tmp_path / "a.star", text)
    with pytest.raises(FormatError, match=sentence) as told:
        io.read_views(file)
    assert len(str(told.value)) < 500


@real
def test_a_real_star_file_reads_as_starfile_reads_it():
    starfile = pytest.importorskip("starfile")
    from tomo3d.io._star import read_star

    file = SIDES / "tiltstack" / "motioncor_output" / "corrected_micrographs.star"
    ours = read_star(file)
    theirs = starfile.read(file, always_dict=True)
    assert list(ours) == list(theirs)
    for name, table in theirs.items():
        columns = {key: [str(value)] for key, value in table.items()} if isinstance(table, dict) else table
        assert list(ours[name].columns) == list(columns)
        for column in columns:
            texts, values = ours[name].texts(column), list(columns[column])
            assert len(texts) == len(values)
            assert all(a == b or float(a) == float(b) for a, b in zip(texts, values, strict=True))


@pytest.mark.parametrize(("unit", "is_taken"), [(1.0, True), (1e-4, False)])
def test_columns_of_pipelines_around_relion_are_taken_for_what_they_are(tmp_path, unit, is_taken):
    """As found in the field: tabs, brackets in names, columns of other programs, None, and defocus in micrometres."""
    columns = ["rlnMicrographMovieName", "rlnTomoTiltMovieFrameCount", "rlnTomoNominalStageTiltAngle",
               "rlnTomoNominalTiltAxisAngle", "rlnMicrographPreExposure", "rlnTomoNominalDefocus", "otherKey",
               "rlnMicrographMetadata", "rlnDefocusU", "rlnDefocusV", "rlnCtfMaxResolution"]  # fmt: skip
    rows = [
        f"frames/P_1_00{i}[{angle}]_EER.eer\t1\t{angle}\t84.2\t{3.1 * i}\t-5.5\tgood\tNone\t{u}\t{u}\tinf"
        for i, (angle, u) in enumerate([(9.98, 53361 * unit), (12.99, 53409 * unit), (6.99, "None")])
    ]
    text = "# Created by a script\n\n\ndata_Position_1\n\nloop_\n"
    text += "".join(f"_{name} #{i}\n" for i, name in enumerate(columns, 1)) + "\n".join(rows) + "\n\n\n"
    record = io.read_views(put(tmp_path / "a.star", text))
    tables.check(record.views, tables.VIEWS)
    assert record.tilt_axis_deg == 84.2
    assert list(record.views["sub_frame_file"]) == [
        f"P_1_00{i}[{a}]_EER.eer" for i, a in enumerate((9.98, 12.99, 6.99))
    ]
    np.testing.assert_allclose(record.views["dose_before_e_per_A2"], [0, 3.1, 6.2])
    if is_taken:
        np.testing.assert_allclose(record.views["defocus_u_nm"], [5336.1, 5340.9, np.nan])
    else:
        assert "defocus_u_nm" not in record.views
    assert any("looks like micrometres" in note for note in record.notes) != is_taken


def test_a_tomostar_of_few_columns_in_any_order_is_read(tmp_path):
    text = "data_\n\nloop_\n_wrpAngleTilt #1\n_wrpMovieName #2\n_wrpAxisOffsetX #3\n"
    text += "30\t../frames/a.eer\t1.5\n-3 b.eer 2\n"
    record = io.read_views(put(tmp_path / "a.tomostar", text))
    assert list(record.views["tilt_angle_deg"]) == [-30.0, 3.0]
    assert list(record.views["sub_frame_file"]) == ["a.eer", "b.eer"]
    assert record.tilt_axis_deg is None


def test_a_tomostar_has_angles_of_the_other_sign(tmp_path):
    columns = "_wrpMovieName #1\n_wrpAngleTilt #2\n_wrpAxisAngle #3\n_wrpDose #4\n"
    text = f"data_\n\nloop_\n{columns}../f/a.tif 3.0 85 2.5\n../f/b.tif 0 85 0\n"
    record = io.read_views(put(tmp_path / "a.tomostar", text))
    assert record.views["tilt_angle_deg"].tolist() == [-3.0, 0.0]
    assert record.views["dose_before_e_per_A2"].tolist() == [2.5, 0.0]
    assert record.views["sub_frame_file"].tolist() == ["a.tif", "b.tif"]
    assert record.tilt_axis_deg == 85.0


@real
def test_a_real_warp_file_reads_to_the_values_of_its_text():
    record = io.read_views(SIDES / "warp" / "TS_1.xml")
    first = record.views.iloc[0]
    assert len(record.views) == 41
    assert (first["tilt_angle_deg"], first["dose_before_e_per_A2"]) == (40.01, 105.600006)
    assert first["sub_frame_file"] == "2Dvs3D_53-1_00041_-40.0_Jul31_11.05.12.tif"
    assert (record.tilt_axis_deg, record.pixel_size_nm) == (-85.59953, pytest.approx(0.07894))
    assert first["acquisition_order"] == 40
    assert record.views["is_used"].all()
