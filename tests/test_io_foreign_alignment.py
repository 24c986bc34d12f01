"""Alignments of IMOD, AreTomo, RELION and Warp: their geometry, each other's values, real files, and hostile ones."""

import logging
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from peers import ask

from tomo3d import Alignment, FormatError, TiltSeries, geometry, io, reconstruct
from tomo3d.io import _write
from tomo3d.io._aln import read_aln
from tomo3d.io._star import read_star
from tomo3d.phantoms import Microscope, acquire, asymmetric

SHARED = Path(__file__).parents[2] / "shared" / "data"
SIDES = SHARED / "sidecars"
real = pytest.mark.skipif(not SIDES.exists(), reason="needs ../shared/data/sidecars")
FOREIGN = (".xf", ".aln", ".star", ".xml")
# decimals: degrees of the axis, pixels of the shift (as nm of a pixel of 0.5), degrees of the tilt
PRINTED = {
    ".xf": (2e-5, 3e-4, 6e-5),
    ".aln": (6e-5, 6e-4, 6e-5),
    ".star": (6e-7, 1e-6, 6e-7),
    ".xml": (6e-7, 1e-6, 6e-7),
}
PIXEL_NM = 0.5


def series_of(angles, shape=(64, 48), **facts):
    images = np.zeros((len(angles), *shape), np.float32)
    return TiltSeries(images, np.array(angles, float), PIXEL_NM, **facts)


def alignment_of(angles, shifts=None, axis=85.0, **facts):
    n = len(angles)
    fields = {
        "shifts_nm": np.zeros((n, 2)) if shifts is None else np.array(shifts, float),
        "tilt_axis_deg": np.broadcast_to(np.asarray(axis, float), n).copy(),
        "tilt_angles_deg": np.array(angles, float),
        "magnification": np.ones(n),
        "residual_nm": math.nan,
        "reliable": np.ones(n, bool),
    }
    return Alignment(**(fields | facts))


def put(path, text):
    path.write_bytes(text.encode())
    return path


# What each program says of a point of the specimen, written out: (x, y) in pixels of the raw view's index.


def turn(axis, angle_deg):
    c, s = math.cos(math.radians(angle_deg)), math.sin(math.radians(angle_deg))
    return {
        "x": np.array([[1, 0, 0], [0, c, -s], [0, s, c]]),
        "y": np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]),
        "z": np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]),
    }[axis]


def landed(alignment, view, point_xyz_px, shape):
    """Index (x, y) of the raw view where our alignment says that a point lands, in pixels."""
    tilted = turn("x", alignment.x_axis_tilt_deg or 0.0) @ point_xyz_px
    u = geometry.detector_position(tilted[0], tilted[2], alignment.tilt_angles_deg[view])
    matrices, offsets = geometry.alignment_matrices(alignment, PIXEL_NM, shape, (1, 1))
    y, x = matrices[view] @ np.array([tilted[1], u]) + offsets[view]
    return np.array([x, y])


POINT = np.array([11.0, -7.0, 5.0])
SHAPES = [(64, 48), (63, 48), (64, 47), (63, 47)]


@pytest.mark.parametrize("shape", SHAPES)
def test_relions_projection_is_ours(tmp_path, shape):
    """P = shift, centre n // 2, Rz(zrot), Ry(ytilt), Rx(xtilt), as RELION's Tomogram::setProjectionMatrix."""
    rows = "30 2.0 31.5 85.0 12.5 -7.5\n-10 2.0 -9 84.0 -3.25 0.5\n"
    columns = ["NominalStageTiltAngle", "XTilt", "YTilt", "ZRot", "XShiftAngst", "YShiftAngst"]
    text = "data_a\n\nloop_\n" + "".join(f"_rlnTomo{name} #{i}\n" for i, name in enumerate(columns, 1)) + rows
    alignment = io.read_alignment(
        put(tmp_path / "a.star", text), series=series_of([30, -10], shape), pixel_size_nm=0.5
    )
    for view, row in enumerate(rows.splitlines()):
        _, x_tilt, y_tilt, z_rot, *shift = map(float, row.split())
        theirs = (turn("z", z_rot) @ turn("y", y_tilt) @ turn("x", x_tilt) @ POINT)[:2]
        theirs += np.array(shift) / (10 * PIXEL_NM) + np.array([shape[1] // 2, shape[0] // 2])
        np.testing.assert_allclose(landed(alignment, view, POINT, shape), theirs, atol=1e-9)


@pytest.mark.parametrize("shape", SHAPES)
def test_warps_projection_is_ours_with_the_other_sign_of_the_tilt(tmp_path, shape):
    """Euler(0, Angles + LevelAngleY, -AxisAngle) RotateX(LevelAngleX), centre at half the size: GetPositionInAllTilts.

    Warp's Euler(0, b, c) is Rz(-c) Ry(-b) of column vectors; half the size is n / 2 from the centre of the first pixel.
    """
    text = (
        '<TiltSeries LevelAngleX="2.5" LevelAngleY="-1.5"><Angles>-30\n10.5</Angles><AxisAngle>85\n84</AxisAngle>'
        "<AxisOffsetX>12.5\n-3.25</AxisOffsetX><AxisOffsetY>-7.5\n0.5</AxisOffsetY></TiltSeries>"
    )
    alignment = io.read_alignment(put(tmp_path / "a.xml", "\ufeff" + text), pixel_size_nm=PIXEL_NM)
    for view, (angle, axis, x, y) in enumerate([(-30, 85, 12.5, -7.5), (10.5, 84, -3.25, 0.5)]):
        theirs = (turn("z", axis) @ turn("y", -(angle - 1.5)) @ turn("x", 2.5) @ POINT)[:2]
        theirs += np.array([x, y]) / (10 * PIXEL_NM) + np.array(shape[::-1]) / 2
        np.testing.assert_allclose(landed(alignment, view, POINT, shape), theirs, atol=1e-9)


# TomogramSet::read and loadTomogram of RELION 5 stop where one of these is missing, whatever is done with the file.
ASKED = ("rlnVoltage", "rlnSphericalAberration", "rlnAmplitudeContrast", "rlnTomoHand")


@pytest.mark.parametrize("is_known", [True, False])
def test_relion_finds_what_it_stops_without(tmp_path, caplog, is_known):
    views = pd.DataFrame({"dose_before_e_per_A2": [3.0, 0.0], "voltage_kv": [200.0, 200.0]})
    series = series_of([30.0, -10.0], views=views if is_known else None)
    with caplog.at_level(logging.WARNING):
        io.write_alignment(alignment_of([30.0, -10.0]), tmp_path / "TS_1.star", series=series)
    blocks = read_star(tmp_path / "TS_1.star")
    overview, table = blocks["global"], blocks["TS_1"]
    assert overview.texts("rlnTomoName") == ["TS_1"]
    assert [overview.numbers(name)[0] for name in ASKED] == [200.0 if is_known else 300.0, 2.7, 0.1, -1.0]
    assert (
        "rlnTomoTiltSeriesStarFile" not in overview.columns
    )  # else it would have to be right from RELION's folder
    assert table.numbers("rlnMicrographPreExposure").tolist() == ([3.0, 0.0] if is_known else [0.0, 0.0])
    assert (
        "rlnSphericalAberration 2.7, rlnAmplitudeContrast 0.1, rlnTomoHand -1 written. Correct them"
        in caplog.text
    )
    assert ("rlnVoltage 300" in caplog.text) != is_known
    assert ("the dose before each view is not known" in caplog.text) != is_known
    record = io.read_views(tmp_path / "TS_1.star")
    assert record.views["dose_before_e_per_A2"].isna().all() != is_known  # a dose of 0 in all views is none
    assert len(record.notes) == (not is_known)


def sought(rows, point, shape):
    """Where AreTomo2's mGCorrect looks for a point (x, y) of the raw view from its centre, before the global shift."""
    shift, total = np.zeros(2), 0.0
    for x, y, s_x, s_y, good in rows:
        if good >= 0.9:
            a, b = (point[0] - x) / shape[1], (point[1] - y) / shape[0]
            weight = math.exp(-100.0 * (a * a + b * b))
            shift, total = shift + weight * np.array([s_x, s_y]), total + weight
    return point + shift / total


def test_local_shifts_of_aretomo_take_points_where_aretomo_looks_for_them(tmp_path):
    """Odd, not square; one patch is bad, and one view has no patches at all."""
    rng, shape = np.random.default_rng(5), (630, 480)
    patches = [(x, y, *rng.normal(size=2) * 6.0, float(k != 4)) for k, (x, y) in
               enumerate((x, y) for y in (-210, 0, 210) for x in (-160, 0, 160))]  # fmt: skip
    text = ALN.replace("48 64 4", f"{shape[1]} {shape[0]} 4") + "# Local Alignment\n"
    text += "".join(f"0 {k} {' '.join(f'{value:.2f}' for value in row)}\n" for k, row in enumerate(patches))
    alignment = io.read_alignment(put(tmp_path / "a.aln", text), pixel_size_nm=PIXEL_NM, use_local=True)
    assert not alignment.local_shifts_nm[1:].any()
    assert io.read_alignment(tmp_path / "a.aln", pixel_size_nm=PIXEL_NM).local_shifts_nm is None
    points = rng.uniform(-0.45, 0.45, size=(200, 2)) * shape[::-1]
    rounded = [[round(value, 2) for value in row] for row in patches]
    raw = (
        np.array([sought(rounded, point, shape) for point in points])
        + [2.5, -1.5]
        + np.array(shape[::-1]) / 2
    )
    views = np.zeros(len(points), int)
    shifts = geometry.local_shifts(alignment.local_shifts_nm / PIXEL_NM, raw[:, ::-1] / shape, views)
    theirs = (points + [2.5, -1.5] + np.array(shape[::-1]) / 2)[:, ::-1]
    error = np.abs(raw[:, ::-1] + shifts - theirs)
    assert np.sqrt((error**2).mean()) < 0.02  # of shifts of up to 15 px, which jump between patches
    assert error.max() < 0.3  # 2 % of the largest jump: within 1/33 of the view, nodes are 1/48 apart


@real
def test_local_shifts_of_real_patches_are_used_only_on_request(caplog):
    path = SIDES / "alnfile" / "global_and_local.aln"
    alignment = io.read_alignment(path, pixel_size_nm=1.0, use_local=True)
    assert "not applied" not in caplog.text
    fields = alignment.local_shifts_nm
    assert fields.shape == (51, 48, 48, 2)
    assert not fields[~alignment.reliable].any()
    # the first patch of the first line, at (-1537.16, -1363.14) px, is sought (-6.93, -36.22) px farther
    first = alignment.evidence["aretomo_local"].iloc[0]
    y, x = (int((first[name] / 4096 + 0.5) * 48) for name in ("y_nm", "x_nm"))
    np.testing.assert_allclose(fields[int(first["view"]), y, x], [36.22, 6.93], rtol=0.02)
    with pytest.raises(ValueError, match="cannot hold local_shifts_nm"):
        io.write_alignment(alignment, path.with_name("never.xf"), pixel_size_nm=1.0)
    with pytest.raises(ValueError, match="use_local must be False for"):
        io.read_alignment(SIDES / "warp" / "TS_1.xml", use_local=True)


@pytest.mark.parametrize("suffix", [".xf", ".star", ".xml"])
def test_an_x_axis_tilt_goes_through_the_formats_that_hold_one(tmp_path, suffix):
    series = series_of([-20.0, 0.0, 20.0], (63, 48))
    given_ = alignment_of([-20.0, 1.0, 21.0], [[1, 2], [3, 4], [5, 6]], x_axis_tilt_deg=1.5)
    io.write_alignment(given_, tmp_path / f"a{suffix}", series=series)
    back = io.read_alignment(tmp_path / f"a{suffix}", series=series)
    assert back.x_axis_tilt_deg == pytest.approx(1.5, abs=1e-6)
    for view in range(3):
        np.testing.assert_allclose(
            landed(back, view, POINT, (63, 48)), landed(given_, view, POINT, (63, 48)), atol=1e-3
        )


ALN = """# AreTomo Alignment / Priims bprmMn
# RawSize = 48 64 4
# NumPatches = 0
# DarkFrame =     2    2   10.00
# AlphaOffset =     1.50
# BetaOffset =     0.00
# SEC     ROT         GMAG       TX          TY      SMEAN     SFIT    SCALE     BASE     TILT
    0    85.0000    1.00000      2.500     -1.500     1.00     1.00     1.00     0.00    -28.50
    1    84.0000    1.00000     -0.650      0.100     1.00     1.00     1.00     0.00      1.50
    2    84.0000    1.00000      0.000      0.000     1.00     1.00     1.00     0.00     31.50
"""


def test_an_aln_takes_points_as_aretomos_own_transforms_do(tmp_path):
    alignment = io.read_alignment(put(tmp_path / "a.aln", ALN), pixel_size_nm=PIXEL_NM)
    assert alignment.tilt_angles_deg.tolist() == [-28.5, 1.5, 11.5, 31.5]
    assert alignment.reliable.tolist() == [True, True, False, True]
    assert alignment.evidence["excluded_views"]["view"].tolist() == [2]
    raw = np.array([9.0, -4.0])  # (x, y) from the centre
    r = math.radians(85.0)
    a = np.array([[math.cos(r), math.sin(r)], [-math.sin(r), math.cos(r)]])
    x, y = a @ raw - a @ np.array([2.5, -1.5])
    ours = geometry.aligned_nm(alignment, PIXEL_NM * raw[None, ::-1], np.array([0]), np.zeros(2)) / PIXEL_NM
    np.testing.assert_allclose(ours[0], [y, x], atol=1e-9)


def test_rows_of_an_aln_belong_to_the_views_of_their_angle(tmp_path):
    """A series in the order of acquisition keeps it; AreTomo has sorted its lines, and left dark views out."""
    file = put(tmp_path / "a.aln", ALN)
    series = series_of([0.0, 30.02, 10.0, -30.0])
    alignment = io.read_alignment(file, series=series)
    assert alignment.tilt_angles_deg.tolist() == [1.5, 31.5, 11.5, -28.5]
    assert alignment.tilt_axis_deg.tolist() == [84.0, 84.0, 84.0, 85.0]
    assert alignment.evidence["excluded_views"]["view"].tolist() == [2]
    with pytest.raises(
        FormatError, match=r"row 0 .* is -30 deg, but the nearest free view, 3 .*, is at -50 deg"
    ):
        io.read_alignment(file, series=series_of([0.0, 30.0, 10.0, -50.0]))
    with pytest.raises(
        FormatError, match=r"dark: these are at \[12.0\] deg in the series, its dark frames at \[10.0\]"
    ):
        io.read_alignment(file, series=series_of([0.0, 30.0, 12.0, -30.0]))
    with pytest.raises(
        FormatError, match="account for every view: it has 3 lines and 1 dark frames, but there are 5"
    ):
        io.read_alignment(file, series=series_of([0.0, 30.0, 10.0, -30.0, 5.0]))
    with pytest.raises(
        FormatError, match=r"images of 48 x 64 \(RawSize\), but those of the series have 24 x 32"
    ):
        io.read_alignment(file, series=series_of([0.0, 30.0, 10.0, -30.0], (32, 24)))
    twins = put(tmp_path / "b.aln", ALN.replace("10.00", " 0.00"))
    with pytest.raises(FormatError, match="one row at 0 deg, where the series has the views 0 and 2"):
        io.read_alignment(twins, series=series_of([0.0, 30.0, 0.0, -30.0]))


ALNFILE = """
import alnfile
print(json.dumps([alnfile.df_to_xf(alnfile.read(file), yx=True).tolist() for file in sys.argv[1:]]))
"""
CRYOET = """
from cryoet_alignment.io.aretomo3 import AreTomo3ALN
from cryoet_alignment.io.cryoet_data_portal import Alignment
rows = Alignment.from_aretomo3(AreTomo3ALN.from_file(sys.argv[1])).to_imod(ts_size=(4096, 4096, 51)).xf.alignments
print(json.dumps([[[r.myy, r.myx, r.sy], [r.mxy, r.mxx, r.sx]] for r in rows]))
"""


@real
def test_a_real_aln_makes_the_transforms_that_alnfile_makes():
    files = [SIDES / "alnfile" / f"{name}.aln" for name in ("global_no_local", "global_and_local")]
    for file, theirs in zip(files, ask("alnfile", ALNFILE, *files), strict=True):
        assert_same_transforms(file, np.array(theirs))


@real
def test_a_real_aln_makes_the_transforms_that_cryoet_alignment_makes():
    file = SIDES / "alnfile" / "global_and_local.aln"
    theirs = np.array(ask("cryoet_alignment", CRYOET, file))
    assert len(theirs) == 51
    assert_same_transforms(file, theirs[14:])  # the first 14 are dark


def assert_same_transforms(file, theirs):
    """Matrices and shifts (n, 2, 3) of column vectors (y, x): 1e-4 px, at the corner of a view of 4096 too."""
    alignment = io.read_alignment(file, pixel_size_nm=PIXEL_NM)
    kept = alignment.reliable
    to_raw, _ = geometry.alignment_matrices(alignment, 1.0, (1, 1), (1, 1))
    assert kept.sum() == len(theirs)
    corner = np.array([2048.0, -2048.0])
    ours = np.linalg.inv(to_raw)[kept] @ corner + alignment.shifts_nm[kept] / PIXEL_NM
    np.testing.assert_allclose(ours, theirs[:, :, :2] @ corner + theirs[:, :, 2], atol=1e-4)


@real
def test_a_real_aln_has_a_row_for_each_view_and_its_local_shifts_in_evidence(caplog):
    file = SIDES / "alnfile" / "global_and_local.aln"
    nominal = np.arange(51) * 2.0 - 68.0
    order = np.argsort(np.abs(nominal), kind="stable")
    series = series_of(nominal[order])
    with caplog.at_level(logging.WARNING):
        alignment = io.read_alignment(file, series=series, pixel_size_nm=PIXEL_NM)
    np.testing.assert_allclose(alignment.tilt_angles_deg, nominal[order] + 12.3, atol=0.02)
    assert (~alignment.reliable).sum() == 14
    assert (nominal[order][~alignment.reliable] <= -42.0).all()
    local = alignment.evidence["aretomo_local"]
    assert len(local) == 37 * 16
    first = local.iloc[0]
    assert nominal[order][int(first["view"])] == -40.0
    assert (first["x_nm"], first["y_nm"]) == (-1537.16 * PIXEL_NM, -1363.14 * PIXEL_NM)
    assert (first["shift_x_nm"], first["shift_y_nm"]) == (-6.93 * PIXEL_NM, -36.22 * PIXEL_NM)
    assert "not applied" in caplog.text


@real
def test_a_part_of_an_aln_is_read_but_is_no_alignment():
    """test.aln has 4 lines and 4 dark frames of 90 views."""
    aln = read_aln(SIDES / "cryoet_alignment" / "test.aln")
    assert (aln.raw_size, len(aln.rows), len(aln.dark), len(aln.local)) == ((2032, 2032, 90), 4, 4, 6)
    with pytest.raises(FormatError, match="4 lines and 4 dark frames, but there are 90 views"):
        io.read_alignment(SIDES / "cryoet_alignment" / "test.aln", pixel_size_nm=1.0)


@real
def test_a_real_warp_alignment_reads_to_the_values_of_its_text(caplog):
    with caplog.at_level(logging.WARNING):
        alignment = io.read_alignment(SIDES / "warp" / "TS_1.xml")
    assert alignment.tilt_angles_deg[0] == 40.01
    np.testing.assert_array_equal(alignment.tilt_axis_deg, -85.59953)
    r = math.radians(-85.59953)
    a = np.array([[math.cos(r), math.sin(r)], [-math.sin(r), math.cos(r)]])
    offset = np.array([1.02173195, -4.3755066]) + 0.5 * 0.07894  # PixelSize 0.7894 angstrom
    np.testing.assert_allclose(alignment.shifts_nm[0, ::-1], -a @ offset, atol=1e-9)
    assert "the pixel of its <CTF>" in caplog.text
    assert "local movements" in caplog.text
    assert "MagnificationCorrection" in caplog.text
    assert set(alignment.evidence["warp_grids"]["grid"]) >= {"GridMovementX", "GridMovementY"}


@real
@pytest.mark.parametrize(
    ("name", "n", "axis", "x_tilt"),
    [
        ("etomofiles_TS_001/TS_001.xf", 40, 84.1406, None),
        ("cryoet_alignment/convert/imod_1/tilt_1.xf", 59, -100.4477, None),
        ("../beads_BBa/BBa.xf", 61, -10.9749, None),
        ("../beads_BBa/BBa_patch-tracking.xf", 61, -11.53, None),
    ],
)
def test_real_alignments_of_imod(name, n, axis, x_tilt):
    alignment = io.read_alignment(SIDES / name, pixel_size_nm=1.0)
    assert (alignment.n_tilts, alignment.x_axis_tilt_deg) == (n, x_tilt)
    assert alignment.tilt_axis_deg[0] == pytest.approx(axis, abs=1e-3)


@pytest.mark.parametrize("order", [[3, 2, 1, 0], [0, 2, 1, 3]])
def test_transforms_of_imod_must_be_in_the_order_of_the_views(tmp_path, order):
    """They have one line per view and no angle to match by: another order would be a wrong volume without a word."""
    nominal = np.array([-40.0, -20.0, 0.0, 20.0])
    io.write_alignment(alignment_of(nominal + 7.0), tmp_path / "a.xf", pixel_size_nm=PIXEL_NM)
    np.testing.assert_allclose(
        io.read_alignment(tmp_path / "a.xf", series=series_of(nominal)).tilt_angles_deg, nominal + 7
    )
    with pytest.raises(FormatError, match="views of the series in their order: its tilt angle of view"):
        io.read_alignment(tmp_path / "a.xf", series=series_of(nominal[order]))


@real
def test_the_command_file_of_imod_excludes_a_view_which_keeps_its_row():
    alignment = io.read_alignment(SHARED / "beads_BBa" / "BBa.xf", pixel_size_nm=2.02)
    assert alignment.n_tilts == 61
    assert np.flatnonzero(~alignment.reliable).tolist() == [0]
    options = alignment.evidence["imod_tilt_com"].set_index("option")["value"]
    assert (options["XAXISTILT"], options["THICKNESS"]) == ("1.94", "84")
    local = alignment.evidence["imod_local"]
    assert len(local) == 4 * 61
    first, last = local.iloc[0], local.iloc[-1]
    assert (first["x_nm"], first["y_nm"]) == (235 * 2.02, 171 * 2.02)
    assert (last["x_nm"], last["y_nm"]) == (
        pytest.approx((235 + 149) * 2.02),
        pytest.approx((171 + 133) * 2.02),
    )
    assert (first["tilt_change_deg"], first["z_factor_x"], first["z_factor_y"]) == (
        0.07,
        -0.004845,
        -0.007247,
    )


angles = st.lists(st.integers(-800, 800), min_size=3, max_size=7, unique=True)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_alignment_goes_round_through_all_formats(tmp_path, data):
    """.xf, .aln, RELION and Warp after one another, with views left out, odd and even sizes: as good as each prints."""
    nominal = np.array(data.draw(angles)) / 10.0
    n = len(nominal)
    number = st.floats(-1.0, 1.0)
    shape = tuple(data.draw(st.sampled_from([(64, 47), (63, 48), (63, 47), (64, 48)])))
    use = np.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    use[data.draw(st.integers(0, n - 1))] = True
    series = series_of(nominal, shape, use=use)
    current = alignment_of(
        np.clip(nominal + 0.03 * data.draw(number), -85, 85),
        100.0 * np.array(data.draw(st.lists(number, min_size=2 * n, max_size=2 * n))).reshape(n, 2),
        180.0 * data.draw(number) + np.array(data.draw(st.lists(number, min_size=n, max_size=n))),
    )
    worst = np.zeros(3)
    for suffix in data.draw(st.permutations(FOREIGN)):
        file = tmp_path / f"a{suffix}"
        io.write_alignment(current, file, series=series, overwrite=True)
        back = io.read_alignment(file, series=series)
        worst += PRINTED[suffix]
        worst[1] += 100.0 * math.radians(PRINTED[suffix][0])  # a turn moves a shift of 100 nm
        difference = [
            np.abs(geometry.axis_difference_deg(back.tilt_axis_deg[use], current.tilt_axis_deg[use])).max(),
            np.abs(back.shifts_nm[use] - current.shifts_nm[use]).max(),
            np.abs(back.tilt_angles_deg[use] - current.tilt_angles_deg[use]).max(),
        ]
        assert (np.array(difference) <= worst).all(), (suffix, difference, worst)
        assert back.n_tilts == n
        assert suffix == ".xf" or (back.reliable == use).all()
        current = back if suffix != ".xf" else replace(back, magnification=np.ones(n))


@pytest.fixture(scope="module")
def taken():
    microscope = Microscope(tilt_axis_deg=84.0, shift_nm=2.0, blur_fwhm_nm=3.0)
    return acquire(
        asymmetric(size_nm=32.0),
        tilt_angles_deg=np.arange(-60.0, 61.0, 12.0),
        image_shape=(40, 41),
        microscope=microscope,
    )


def foreign_text(suffix, taken):
    """A file of each program for an acquisition, from where the centre of the specimen lands in each raw view."""
    truth, angles = taken.alignment, taken.alignment.tilt_angles_deg
    _, offsets = geometry.alignment_matrices(truth, 1.0, taken.series.images.shape[1:], (1, 1))
    y, x = offsets.T  # index
    axis = 84.0
    if suffix == ".aln":
        rows = [
            f"{i} {axis} 1 {a - 20.0:.3f} {b - 19.5:.3f} 1 1 1 0 {t}"
            for i, (a, b, t) in enumerate(zip(x, y, angles, strict=True))
        ]
        return "# AreTomo Alignment\n# AlphaOffset = 0\n# SEC\n" + "\n".join(rows)
    if suffix == ".star":
        names = ("YTilt", "ZRot", "XShiftAngst", "YShiftAngst")
        rows = [
            f"{t} {axis} {10 * (a - 20):.3f} {10 * (b - 20):.3f}"
            for a, b, t in zip(x, y, angles, strict=True)
        ]
        return "data_a\nloop_\n" + "".join(f"_rlnTomo{name}\n" for name in names) + "\n".join(rows)
    lists = {
        "Angles": -angles,
        "AxisAngle": np.full(len(x), axis),
        "AxisOffsetX": 10 * (x - 20.5),
        "AxisOffsetY": 10 * (y - 20.0),
    }
    return f"<TiltSeries>{''.join(f'<{k}>{chr(10).join(map(str, v))}</{k}>' for k, v in lists.items())}</TiltSeries>"


@pytest.mark.parametrize("suffix", FOREIGN)
def test_an_asymmetric_phantom_aligned_through_a_format_is_the_same_volume_not_its_mirror(
    tmp_path, taken, suffix
):
    truth = reconstruct.wbp(taken.series, thickness_nm=32.0, alignment=taken.alignment).data
    written = tmp_path / f"written{suffix}"
    io.write_alignment(taken.alignment, written, series=taken.series)
    files = (
        [written]
        if suffix == ".xf"
        else [written, put(tmp_path / f"theirs{suffix}", foreign_text(suffix, taken))]
    )
    for file in files:
        alignment = io.read_alignment(file, series=taken.series)
        volume = reconstruct.wbp(taken.series, thickness_nm=32.0, alignment=alignment).data
        scale = np.abs(truth).max()
        assert np.abs(volume - truth).max() < 0.01 * scale  # shifts are printed to 0.001 px
        for axis in range(3):
            assert np.abs(np.flip(volume, axis) - truth).max() > 0.3 * scale


@pytest.mark.parametrize("suffix", FOREIGN)
def test_views_that_are_not_used_keep_their_rows(tmp_path, caplog, suffix):
    nominal = [-20.0, 0.0, 40.0, 20.0]
    series = series_of(nominal, use=[True, False, True, True])
    alignment = alignment_of(nominal, [[1, 2], [3, 4], [5, 6], [7, 8]])
    with caplog.at_level(logging.WARNING):
        io.write_alignment(alignment, tmp_path / f"a{suffix}", series=series)
    back = io.read_alignment(tmp_path / f"a{suffix}", series=series)
    np.testing.assert_allclose(back.tilt_angles_deg, nominal, atol=1e-4)
    np.testing.assert_allclose(back.shifts_nm[[0, 2, 3]], alignment.shifts_nm[[0, 2, 3]], atol=1e-3)
    assert back.reliable.tolist() == [True, suffix == ".xf", True, True]
    if suffix == ".xf":
        assert "EXCLUDELIST 2" in caplog.text
    if suffix == ".star":
        assert "[1] (0-based) left out" in caplog.text


@pytest.mark.parametrize(
    ("facts", "lost"),
    [
        ({"magnification": np.array([1.0, 1.01])}, {".aln", ".star", ".xml"}),
        ({"stretch": np.array([1.0, 1.01])}, {".aln", ".star", ".xml"}),
        ({"skew_deg": np.array([0.0, 0.1])}, {".aln", ".star", ".xml"}),
        ({"z_shear": np.array([0.0, 0.01])}, {".aln", ".star", ".xml"}),
        ({"x_axis_tilt_deg": 1.5}, {".aln"}),
        ({"stretch": np.ones(2), "x_axis_tilt_deg": 0.0}, set()),
    ],
)
def test_what_a_format_cannot_hold_is_said_and_not_dropped(tmp_path, facts, lost):
    series = series_of([-10.0, 20.0])
    alignment = alignment_of([-10.0, 20.0], [[1, 2], [3, 4]], **facts)
    for suffix in FOREIGN:
        file = tmp_path / f"a{suffix}"
        if suffix in lost:
            with pytest.raises(ValueError, match=f"cannot hold {next(iter(facts))}"):
                io.write_alignment(alignment, file, series=series)
            assert not file.exists()
            continue
        io.write_alignment(alignment, file, series=series)
        back = io.read_alignment(file, series=series)
        for name, value in facts.items():
            neutral = {"x_axis_tilt_deg": 0.0, "stretch": 1.0, "skew_deg": 0.0, "z_shear": 0.0}.get(name, 1.0)
            found = getattr(back, name)
            np.testing.assert_allclose(neutral if found is None else found, value, atol=2e-5)
        np.testing.assert_allclose(back.shifts_nm, alignment.shifts_nm, atol=1e-3)


def test_files_of_imod_are_written_together_or_not_at_all(tmp_path, monkeypatch):
    alignment, series = alignment_of([-10.0, 20.0]), series_of([-10.0, 20.0])
    put(tmp_path / "a.xtilt", "mine")
    with pytest.raises(FileExistsError, match=r"a\.xtilt"):
        io.write_alignment(alignment, tmp_path / "a.xf", series=series)
    assert [file.name for file in tmp_path.iterdir()] == ["a.xtilt"]
    calls = []

    def fails(temporary, target, overwrite):
        calls.append(target)
        if len(calls) == 3:
            raise OSError("the disk is gone")
        return give(temporary, target, overwrite)

    give = _write._give_name
    monkeypatch.setattr(_write, "_give_name", fails)
    with pytest.raises(OSError, match="gone"):
        io.write_alignment(alignment, tmp_path / "b.xf", series=series)
    assert [file.name for file in tmp_path.iterdir()] == ["a.xtilt"]
    monkeypatch.undo()
    put(tmp_path / "c.zfac", "0 0.1\n0 0.1\n")
    with pytest.raises(ValueError, match=r"c.zfac is of another alignment"):
        io.write_alignment(alignment, tmp_path / "c.xf", series=series)


def test_the_name_says_the_format_and_an_existing_file_is_kept(tmp_path):
    alignment = alignment_of([-10.0, 20.0])
    with pytest.raises(ValueError, match=r"must end in .json, .xf, .aln, .star, .xml"):
        io.write_alignment(alignment, tmp_path / "a.txt")
    with pytest.raises(ValueError, match="pixel_size_nm must be a positive length"):
        io.write_alignment(alignment, tmp_path / "a.aln")
    with pytest.raises(ValueError, match="one row per view of the series"):
        io.write_alignment(alignment, tmp_path / "a.aln", series=series_of([1.0]))
    for suffix in (*FOREIGN, ".json"):
        io.write_alignment(alignment, tmp_path / f"a{suffix}", pixel_size_nm=PIXEL_NM)
        with pytest.raises(FileExistsError):
            io.write_alignment(alignment, tmp_path / f"a{suffix}", pixel_size_nm=PIXEL_NM)


def test_prexg_and_tltxf_compose_to_xf(tmp_path):
    put(tmp_path / "a.prexg", "1 0 0 1 5 -3\n")
    put(tmp_path / "a.tltxf", "0.98 -0.2 0.19 0.97 3.0 -4.0\n")
    put(tmp_path / "a.tlt", "10\n")
    alignment = io.read_alignment(tmp_path / "a.prexg", pixel_size_nm=1.0)
    x, y = 0.98 * 5 - 0.2 * -3 + 3.0, 0.19 * 5 + 0.97 * -3 - 4.0
    np.testing.assert_allclose(alignment.shifts_nm, [[y, x]])
    (tmp_path / "a.tltxf").unlink()
    with pytest.raises(FormatError, match=r"there is no .*a.tltxf to follow it"):
        io.read_alignment(tmp_path / "a.prexg", pixel_size_nm=1.0)


BOMB = '<!DOCTYPE a [<!ENTITY b "bbbb">' + "".join(
    f'<!ENTITY {c} "{f"&{p};" * 10}">' for p, c in zip("bcdefgh", "cdefghi", strict=True)
)
WARP = "<TiltSeries><Angles>1\n2</Angles><AxisAngle>8\n9</AxisAngle></TiltSeries>"
STAR = "data_a\nloop_\n_rlnTomoYTilt\n_rlnTomoZRot\n_rlnTomoXShiftAngst\n_rlnTomoYShiftAngst\n1 85 0 0\n2 85 0 0\n"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (BOMB + "]><TiltSeries><Angles>&i;</Angles></TiltSeries>", "no document type nor entities"),
        (WARP.replace("TiltSeries", "Movie"), "whose root is <TiltSeries>, got <Movie>"),
        (WARP[:-5], "unclosed token|no element found"),
        (WARP.replace("8\n9", "8"), r"<AxisAngle> must have one line per line of <Angles> \(2\), got 1"),
        (WARP.replace("8\n9", "8\nnan"), "<AxisAngle> must hold finite numbers, got 'nan'"),
        (WARP.replace("Angles", "Other"), "<Angles> must have one line per view, got 0"),
        (WARP.replace("<Ang", "<UseTilt>True\nMaybe</UseTilt><Ang", 1), "2 lines of True and False"),
        ("<a>" * 100_000, "got <a>"),
        ("<TiltSeries>" + "<a>" * 100_000, "nested more than 16 deep"),
        ("<TiltSeries>&undefined;</TiltSeries>", "undefined entity"),
        (STAR.replace("_rlnTomoZRot", "_rlnOther"), r"missing \['rlnTomoZRot'\]"),
        (STAR.replace("2 85", "nan 85"), "rlnTomoYTilt must hold finite numbers"),
        (STAR[: STAR.index("1 85")], "one row per view, got none"),
        (
            STAR.replace("_rlnTomoZRot", "_rlnTomoXTilt\n_rlnTomoZRot")
            .replace("85", "7 85")
            .replace("2 7", "2 9"),
            "one for all",
        ),
        (ALN.replace("-28.50", "inf"), "line 8: must be 10 numbers"),
        (ALN[: ALN.index("    0    85")], "one line per view .* got none"),
        (ALN.replace("48 64 4", "48 64 1e12"), "RawSize must be positive sizes"),
        (ALN.replace("DarkFrame =     2", "DarkFrame =    99"), "different views of 0 to 3"),
        (ALN.replace("DarkFrame =     2", "DarkFrame =     0"), "do not fit between its lines"),
        (ALN + "# Local Alignment\n 9 0 1 1 0 0 1.0\n", "local block must name lines of 0 to 2, got 9"),
        (ALN + "x" * 10_000_000, "10,000,000 characters"),
        ("1 2 3 4 5 6\n" + "7" * 10_000_000, "10,000,000 characters"),
        ("1 2 3 4 5\n", "must be 6 numbers"),
        ("1\n2\n", "it is a list of angles"),
        ("2 2 235 171 149 133 0 20.2 1\n0\n", "it is a local alignment"),
        ("[" + "[]," * 1_000_001, "at most 1,000,000 lists"),
        ("data_a\n" + "#\n" * (3 << 20), "at most 4 MiB"),
        ("<TiltSeries><Angles>" + "1\n" * (1 << 20), "list of the views|no element found"),
        ("\0\1\2", "it is none of these"),
        ("", "it is none of these"),
    ],
)
def test_hostile_alignments_are_refused_in_one_sentence(tmp_path, text, sentence):
    file = put(tmp_path / "a.dat", text)
    with pytest.raises(FormatError, match=sentence) as told:
        io.read_alignment(file, pixel_size_nm=1.0)
    assert str(file) in str(told.value)
    assert "\n" not in str(told.value)
    assert len(str(told.value)) < 500


def test_a_table_of_excluded_views_goes_through_without_a_series(tmp_path):
    evidence = {"excluded_views": pd.DataFrame({"view": [1]})}
    alignment = alignment_of([-10.0, 0.0, 20.0], evidence=evidence)
    io.write_alignment(alignment, tmp_path / "a.aln", pixel_size_nm=PIXEL_NM)
    assert "DarkFrame =     1    1     0.00" in (tmp_path / "a.aln").read_text()
    back = io.read_alignment(tmp_path / "a.aln", pixel_size_nm=PIXEL_NM)
    assert back.reliable.tolist() == [True, False, True]
    np.testing.assert_allclose(back.tilt_angles_deg, [-10, 0, 20])


def test_local_shifts_are_of_a_number_of_patches_that_could_be(tmp_path):
    """Each patch counts at each of 48 x 48 nodes: a line for each of a hundred thousand would take gigabytes."""
    text = ALN + "# Local Alignment\n" + "0 0 1.0 2.0 0.5 0.5 1.0\n" * 1025
    with pytest.raises(FormatError, match=r"2,000 views and 1,024 patches in each .* got 4 and 1,025"):
        io.read_alignment(put(tmp_path / "a.aln", text), pixel_size_nm=1.0, use_local=True)
