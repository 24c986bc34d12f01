"""What lies beside a tilt series: where each fact comes from, that sources must agree, and that no view is lost."""

import logging
import struct
from pathlib import Path

import mrcfile
import numpy as np
import pytest
from mrc_bytes import mrc_bytes, ramp

from tomo3d.errors import FormatError
from tomo3d.io import files_beside, inspect, read_tilt_series

SHARED = Path(__file__).parents[2] / "shared" / "data"
needs_shared = pytest.mark.skipif(not SHARED.exists(), reason="the collection of real files is not here")
VIEWS = ramp((3, 4, 6), "i2")
ANGLES = [-60.0, 0.0, 45.5]


def mdoc(angles=ANGLES, *, axis=84.3, pixel=10.0, size=(6, 4), dose=1.5, minutes=(2, 0, 1), eol="\n", **more):
    """An .mdoc file of SerialEM as text; the order of its views in time is that of `minutes`."""
    lines = [f"PixelSpacing = {pixel}", "Voltage = 300", f"ImageSize = {size[0]} {size[1]}", "",
             f"[T =     Tilt axis angle = {axis}, binning = 1  spot = 8  camera = 0]", ""]  # fmt: skip
    for z, (angle, minute) in enumerate(zip(angles, minutes, strict=True)):
        lines += [
            f"[ZValue = {z}]",
            f"Defocus = {-1.0 - z}",
            f"TiltAngle = {angle}",
            "StagePosition = 1.5 -2.5",
        ]
        lines += [
            f"StageZ = {3 + z}",
            "Magnification = 33000",
            f"ExposureDose = {dose}",
            f"PixelSpacing = {pixel}",
        ]
        lines += [f"DateTime = 08-Oct-21  07:{minute:02d}:29", f"SubFramePath = X:\\a\\..\\..\\frame_{z}.tif"]
        lines += [f"{key} = {value}" for key, value in more.items()] + [""]
    return eol.join(lines).encode("latin-1")


@pytest.fixture
def put(tmp_path):
    def write(content, name="a.mrc"):
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return write


@pytest.mark.parametrize("name", ["a.mrc.mdoc", "a.mdoc"])
@pytest.mark.parametrize("eol", ["\n", "\r\n"])
def test_an_mdoc_gives_angles_axis_and_a_row_for_each_view(put, name, eol):
    path = put(mrc_bytes(VIEWS))
    put(mdoc(eol=eol), name)
    series = read_tilt_series(path)
    assert (list(series.tilt_angles_deg), series.tilt_axis_deg, series.pixel_size_nm) == (ANGLES, 84.3, 1.0)
    assert {series.sources[key] for key in ("tilt_angles_deg", "tilt_axis_deg", "views")} == {f"mdoc {name}"}
    assert series.sources["pixel_size_nm"] == "cell of the header"
    views = series.views
    assert list(views["acquisition_order"]) == [2, 0, 1]
    assert list(views["exposure_dose_e_per_A2"]) == [1.5] * 3
    assert list(views["dose_before_e_per_A2"]) == [3.0, 0.0, 1.5]
    assert list(views["defocus_nm"]) == [-1000, -2000, -3000]
    assert (list(views["stage_x_nm"]), list(views["stage_z_nm"])) == ([1500] * 3, [3000, 4000, 5000])
    assert list(views["magnification"]) == [33000] * 3
    assert list(views["voltage_kv"]) == [300.0] * 3
    assert list(views["time"]) == ["2021-10-08T07:02:29", "2021-10-08T07:00:29", "2021-10-08T07:01:29"]
    assert list(views["sub_frame_file"]) == ["frame_0.tif", "frame_1.tif", "frame_2.tif"]  # never a path


def test_an_mdoc_of_another_place_is_named(put):
    path = put(mrc_bytes(VIEWS))
    (path.parent / "elsewhere").mkdir()
    other = put(mdoc(axis=10.0), "elsewhere/b.mdoc")
    assert read_tilt_series(path, mdoc=other).tilt_axis_deg == 10.0
    with pytest.raises(FileNotFoundError, match="there is no file"):
        read_tilt_series(path, mdoc="nowhere.mdoc")


def test_an_mdoc_in_the_order_of_acquisition_is_matched_by_its_angles(put):
    path = put(mrc_bytes(VIEWS))
    put(b"-60\n0\n45.5\n", "a.rawtlt")
    put(mdoc([0.0, -60.0, 45.5], minutes=(0, 1, 2)), "a.mrc.mdoc")
    series = read_tilt_series(path)
    assert list(series.tilt_angles_deg) == ANGLES
    assert list(series.views["acquisition_order"]) == [1, 0, 2]
    assert list(series.views["defocus_nm"]) == [-2000, -1000, -3000]
    assert series.sources["tilt_angles_deg"] == "file a.rawtlt"
    assert series.sources["views"] == "mdoc a.mrc.mdoc, matched by tilt angle"


@pytest.mark.parametrize(
    ("side", "sentence"),
    [
        (mdoc([-60.0, 1.0, 45.5]), r"view 1 .* 0 deg by file a\.rawtlt and 1 deg by mdoc a\.mrc\.mdoc"),
        (mdoc([60.0, 0.0, -45.5]), r"view 0 .* -60 deg by file a\.rawtlt and 60 deg by mdoc"),
        (mdoc([-60.0, 0.0], minutes=(0, 1)), r"2 angles \(mdoc a\.mrc\.mdoc\) for 3 views"),
        (
            mdoc(pixel=12.0),
            r"one, got 1 nm by cell of the header and 1\.2 nm by mdoc a\.mrc\.mdoc: pass pixel_size",
        ),
        (
            mdoc(axis=-95.7),
            r"one, got 84\.3 deg by title of the header and -95\.7 deg by mdoc .*: pass tilt_axis_deg",
        ),
    ],
)
def test_sources_that_disagree_stop_with_both_values(put, side, sentence):
    path = put(mrc_bytes(VIEWS, titles=["Tilt axis angle = 84.3, binning = 1"]))
    put(b"-60\n0\n45.5\n", "a.rawtlt")
    put(side, "a.mrc.mdoc")
    with pytest.raises(FormatError, match=sentence):
        read_tilt_series(path)
    assert any("pass" in s.lower() or "angles" in s for s in inspect(path).suspicions)


def test_what_is_given_goes_before_all_that_is_found(put):
    path = put(mrc_bytes(VIEWS, titles=["Tilt axis angle = 84.3"]))
    put(mdoc([10.0, 20.0, 30.0], pixel=12.0, axis=-95.7), "a.mrc.mdoc")
    series = read_tilt_series(path, angles=[-1, 0, 1], pixel_size_nm=3.0, tilt_axis_deg=5.0)
    assert (list(series.tilt_angles_deg), series.pixel_size_nm, series.tilt_axis_deg) == (
        [-1, 0, 1],
        3.0,
        5.0,
    )
    assert {series.sources[key] for key in ("tilt_angles_deg", "pixel_size_nm", "tilt_axis_deg")} == {"given"}


def test_the_pixel_of_an_mdoc_of_larger_images_is_not_that_of_these(put):
    path = put(mrc_bytes(VIEWS))
    put(mdoc(pixel=5.0, size=(12, 8)), "a.mrc.mdoc")  # a stack that was binned
    assert read_tilt_series(path).pixel_size_nm == 1.0
    assert any("12 x 8 pixels, these have 6 x 4" in s for s in inspect(path).suspicions)


def test_excluded_views_are_flagged_and_keep_their_rows(put):
    path = put(mrc_bytes(VIEWS, titles=["excluded views (0-based) = 2"]))
    put(mdoc(), "a.mrc.mdoc")
    series = read_tilt_series(path, exclude=[0])
    assert (series.n_tilts, len(series.views), list(series.use)) == (3, 3, [False, True, False])
    assert list(series.tilt_angles_deg) == ANGLES
    for bad in ([3], [-1], [0.5], [True]):
        with pytest.raises(ValueError, match="exclude must name views of 0 to 2"):
            read_tilt_series(path, exclude=bad)
    with pytest.raises(ValueError, match="exclude must leave at least one view"):
        read_tilt_series(path, exclude=[0, 1, 2])


def test_a_montage_or_a_set_of_frames_is_no_record_of_views(put):
    path = put(mrc_bytes(VIEWS))
    put(mdoc(PieceCoordinates="0 0 0"), "a.mrc.mdoc")
    with pytest.raises(FormatError, match="montage"):
        read_tilt_series(path, angles=ANGLES)


@needs_shared
def test_the_real_needle_takes_its_axis_from_the_log_and_says_that_its_hand_is_open(caplog):
    path = SHARED / "needle" / "HAADF.mrc"
    series = read_tilt_series(path)
    assert (series.tilt_axis_deg, series.pixel_size_nm) == (90.0, 3.36)
    assert series.sources["tilt_axis_deg"].startswith("log HAADF.txt; its sign is not verified")
    assert set(series.views["magnification"]) == {
        115000
    }  # "microscope STEM Magnification: 115000" in the log
    assert any("may be a mirror image" in s for s in inspect(path).suspicions)
    assert [other.name for other in files_beside(path)] == ["HAADF.rawtlt", "HAADF.txt"]


@needs_shared
def test_a_real_mdoc_of_serialem_beside_a_stack(put):
    stack = np.zeros((41, 10, 10), "f4") + ramp((10, 10))
    path = put(mrc_bytes(stack, cell=(54.0, 54.0, 221.4)), "TS_01.mrc")
    put((SHARED / "sidecars" / "tiltstack" / "mdoc" / "TS_01.mrc.mdoc").read_bytes(), "TS_01.mrc.mdoc")
    series = read_tilt_series(path)
    assert (series.n_tilts, series.tilt_axis_deg, series.pixel_size_nm) == (41, 85.3, 0.54)
    views = series.views.iloc[0]
    # read in the text of the file
    assert series.tilt_angles_deg[0] == 0.000999877
    assert (views["stage_x_nm"], views["stage_y_nm"]) == pytest.approx((20793.6, 155287.0), rel=1e-12)
    assert (views["defocus_nm"], views["target_defocus_nm"]) == pytest.approx((2680.83, -4000), rel=1e-12)
    assert (views["magnification"], views["time"]) == (105000, "2015-11-30T15:21:38")
    assert views["sub_frame_file"] == "TS_01_000_0.0.mrc"
    np.testing.assert_array_equal(series.views["acquisition_order"], np.arange(41))


@needs_shared
@pytest.mark.parametrize("number", [0, 1, 2])
def test_real_mdocs_of_a_stem_give_the_axis(put, number):
    name = f"test_{number:03d}.mrc"
    text = (SHARED / "sidecars" / "etspy" / f"{name}.mdoc").read_bytes()
    n_views = text.count(b"[ZValue")
    path = put(mrc_bytes(ramp((n_views, 4, 4), "i2"), cell=(4 * 7.88, 4 * 7.88, 1)), name)
    put(text, f"{name}.mdoc")
    assert read_tilt_series(path).tilt_axis_deg == -90.0


def test_serialem_records_give_stage_magnification_and_dose(put):
    # tilt x 100, stage x 25, magnification / 100, dose as two shorts: 12,345 x 2^-13 e/A^2 (flags 1, 4, 8 and 32)
    mantissa, power = 12345, -13
    second = -((abs(power) << 8) + mantissa % 256)
    records = [struct.pack("<6h", round(100 * a), 50, -25, 330, mantissa // 256, second) for a in ANGLES]
    path = put(mrc_bytes(VIEWS, extended=b"".join(records), extended_type=b"SERI", n_int=12, n_real=45))
    views = read_tilt_series(path).views
    assert (list(views["stage_x_nm"]), list(views["stage_y_nm"])) == ([2000.0] * 3, [-1000.0] * 3)
    assert list(views["magnification"]) == [33000.0] * 3
    assert list(views["exposure_dose_e_per_A2"]) == [mantissa * 2.0**power] * 3


@pytest.mark.parametrize("exttyp", [b"FEI1", b"FEI2"])
def test_fei_records_give_dose_stage_defocus_and_order(put, exttyp):
    records = np.zeros(3, mrcfile.dtypes.get_ext_header_dtype(exttyp, "<"))
    flags = (0, 5, 6, 7, 9, 10, 11, 14, 15, 22, 31)  # of the fields that are filled, by the standard of FEI
    records["Metadata size"], records["Bitmask 1"] = records.dtype.itemsize, sum(1 << flag for flag in flags)
    records["Timestamp"] = 44477.5 + np.array([2, 0, 1]) / 1440  # noon of 8 October 2021 is day 44477.5
    records["HT"], records["Dose"], records["Alpha tilt"] = 200e3, 1.5e20, ANGLES
    records["X-Stage"], records["Z-Stage"], records["Defocus"] = 1e-6, -2e-6, -3e-6
    records["Pixel size X"] = records["Pixel size Y"] = 1e-9
    records["Magnification"] = 33000
    series = read_tilt_series(put(mrc_bytes(VIEWS, extended=records.tobytes(), extended_type=exttyp)))
    views = series.views
    assert list(views["acquisition_order"]) == [2, 0, 1]
    assert views["time"][1] == "2021-10-08T12:00:00.000"
    np.testing.assert_allclose(views["exposure_dose_e_per_A2"], 1.5)
    np.testing.assert_allclose(views["dose_before_e_per_A2"], [3.0, 0.0, 1.5])
    np.testing.assert_allclose(views["stage_x_nm"], 1000)
    np.testing.assert_allclose(views["stage_z_nm"], -2000)
    np.testing.assert_allclose(views["defocus_nm"], -3000)
    assert list(views["magnification"]) == [33000] * 3
    assert list(views["voltage_kv"]) == [200.0] * 3


def test_an_inspection_says_when_fringes_are_wider_than_half_of_what_is_measured(put):
    path = put(mrc_bytes(VIEWS))
    put(mdoc(), "a.mrc.mdoc")  # 300 kV, 3 micrometres at most: sqrt(0.0019687 nm x 3000 nm) = 2.43 nm
    assert not any("Fresnel" in s for s in inspect(path).suspicions)
    assert not any("Fresnel" in s for s in inspect(path, measured_size_nm=4.9).suspicions)
    said = [s for s in inspect(path, measured_size_nm=4.8).suspicions if "Fresnel" in s]
    assert "fringes of 2.43 nm, more than half of the 4.8 nm" in said[0]
    with pytest.raises(ValueError, match="measured_size_nm must be a positive length"):
        inspect(path, measured_size_nm=0)


def test_an_inspection_shows_views_and_sources(put):
    path = put(mrc_bytes(VIEWS))
    put(mdoc(), "a.mrc.mdoc")
    info = inspect(path)
    assert info.views["defocus_nm"] == "-3000 to -1000"
    assert info.sources == {"pixel": "cell of the header", "views": "mdoc a.mrc.mdoc"}
    assert info.tilt_axis == "84.3 deg (mdoc a.mrc.mdoc)"


def test_duplicate_sections_are_refused(put, caplog):
    path = put(mrc_bytes(VIEWS))
    put(mdoc() + b"[ZValue = 1]\nTiltAngle = 3\n", "a.mrc.mdoc")
    with caplog.at_level(logging.WARNING), pytest.raises(FormatError, match="twice"):
        read_tilt_series(path)
