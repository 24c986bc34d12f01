"""IMOD's side files: tracks, transforms, Z factors, x-axis tilts, fiducials; real ones, and hostile ones."""

import numpy as np
import pytest
from tracked import BBA

from tomo3d import FormatError, geometry, io, tables
from tomo3d.types import TiltSeries

real = pytest.mark.skipif(not BBA.exists(), reason="needs ../shared/data/beads_BBa")
RESID = """  3 residuals
    10.50    20.50    0   -0.20    0.17
    11.00    21.00    1    0.10    0.00
    5.5 6.5 1 0 0
"""


def write(path, text):
    path.write_text(text)
    return path


def test_tracks_are_positions_of_pixel_indices(tmp_path):
    file = write(tmp_path / "a.resid", RESID)
    table = io.read_tracks(file, pixel_size_nm=2.0)
    tables.check(table, tables.TRACKS)
    assert table.to_numpy().tolist() == [[0, 0, 40.0, 20.0], [0, 1, 41.0, 21.0], [1, 1, 12.0, 10.0]]
    residuals = io.read_track_residuals(file, pixel_size_nm=2.0)
    np.testing.assert_allclose(residuals[0], [-0.34, 0.40])  # measured minus predicted: the other sign


@pytest.mark.parametrize(
    "text",
    [
        "",
        "3 residuals\n",
        "two residuals\n1 2 0 0 0\n",
        RESID.replace("3 res", "4 res"),
        RESID.replace("3 res", "-3 res"),
        RESID.replace("3 res", "9" * 5000 + " res"),
        RESID.replace("10.50", "nan"),
        RESID.replace("10.50", "1e999"),
        RESID.replace(" 1    0.10", " 1.5  0.10"),
        RESID.replace(" 1    0.10", " -1   0.10"),
        RESID.replace(" 1    0.10", " 1e9  0.10"),
        RESID.replace("5.5 6.5", "5.5"),
        RESID + "x" * 10_000,
        RESID.replace("5.5", "5\u20325"),
    ],
)
def test_what_are_no_residuals_is_refused_in_one_sentence(tmp_path, text):
    file = tmp_path / "a.resid"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(FormatError) as told:
        io.read_tracks(file, pixel_size_nm=1.0)
    assert "\n" not in str(told.value)
    assert str(file) in str(told.value)
    assert len(str(told.value)) < 400


def test_a_file_larger_than_any_of_its_kind_is_not_read(tmp_path):
    file = tmp_path / "a.resid"
    with open(file, "wb") as stream:
        stream.truncate(65 << 20)
    with pytest.raises(FormatError, match="at most 64 MiB"):
        io.read_tracks(file, pixel_size_nm=1.0)


@pytest.mark.parametrize("pixel", [0.0, -1.0, float("nan")])
def test_a_pixel_that_is_no_length_is_refused(tmp_path, pixel):
    for read in (io.read_tracks, io.read_point_positions):
        with pytest.raises(ValueError, match="pixel_size_nm"):
            read(write(tmp_path / "a.resid", RESID), pixel_size_nm=pixel)


XF = "0.98 -0.2 0.19 0.97 3.0 -4.0\n1.0 0.0 0.0 1.0 0.0 0.0\n"


def test_a_transform_takes_points_as_its_file_says(tmp_path):
    write(tmp_path / "a.tlt", "10\n-20\n")
    file = write(tmp_path / "a.xf", XF)
    alignment = io.read_alignment(file, pixel_size_nm=2.0)
    raw = np.array([[7.0, -9.0], [7.0, -9.0]])  # (y, x) from the centre, in pixels
    landed = geometry.aligned_nm(alignment, 2.0 * raw, np.array([0, 1]), np.zeros(2)) / 2.0
    x, y = 0.98 * -9.0 - 0.2 * 7.0 + 3.0, 0.19 * -9.0 + 0.97 * 7.0 - 4.0
    np.testing.assert_allclose(landed, [[y, x], [7.0, -9.0]], atol=1e-12)
    np.testing.assert_allclose(alignment.tilt_angles_deg, [10.0, -20.0])
    assert alignment.stretch is not None
    assert alignment.skew_deg is not None
    assert alignment.z_shear is None


def test_a_turn_alone_has_no_stretch_and_its_sign_is_ours(tmp_path):
    write(tmp_path / "a.tlt", "0\n")
    c, s = np.cos(np.deg2rad(12.0)), np.sin(np.deg2rad(12.0))
    file = write(tmp_path / "a.xf", f"{c:.7f} {s:.7f} {-s:.7f} {c:.7f} 0 0\n")  # clockwise by 12 deg
    alignment = io.read_alignment(file, pixel_size_nm=1.0)
    np.testing.assert_allclose(alignment.tilt_axis_deg, 12.0, atol=1e-4)
    assert alignment.stretch is None
    assert alignment.skew_deg is None


def test_z_factors_act_as_imod_says(tmp_path):
    """x = X cos b + Z (sin b + zf_x), y = Y + Z zf_y."""
    write(tmp_path / "a.tlt", "50\n-20\n")
    write(tmp_path / "a.zfac", "0.03 0.01\n-0.02 0.0\n")
    alignment = io.read_alignment(write(tmp_path / "a.xf", XF), pixel_size_nm=1.0)
    matrices, shifts = io.read_transforms(tmp_path / "a.xf")
    point_z, point_x = 30.0, -12.0
    for view, (b, zf_x, zf_y) in enumerate([(50.0, 0.03, 0.01), (-20.0, -0.02, 0.0)]):
        theirs = np.array(
            [5.0 + point_z * zf_y, point_x * np.cos(np.deg2rad(b)) + point_z * (np.sin(np.deg2rad(b)) + zf_x)]
        )
        raw = np.linalg.solve(matrices[view], theirs - shifts[view])
        ours = geometry.aligned_nm(alignment, raw[None], np.array([view]), np.zeros(2))[0]
        u = geometry.detector_position(point_x, point_z, alignment.tilt_angles_deg[view])
        np.testing.assert_allclose(ours, [5.0 + alignment.z_shear[view] * point_z, u], atol=1e-10)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a.xf": XF}, "tilt angles beside it"),
        ({"a.xf": XF, "a.tlt": "1\n"}, r"one line per line of a.xf \(2\), got 1"),
        ({"a.xf": XF, "a.tlt": "1\n95\n"}, "between -90 and 90"),
        (
            {"a.xf": XF.replace("1.0 0.0 0.0 1.0", "1 0 0 -1"), "a.tlt": "1\n2\n"},
            "neither mirror nor flatten.*view 1",
        ),
        ({"a.xf": XF + "1 2 3\n", "a.tlt": "1\n2\n"}, "line 3: must be 6 numbers"),
        ({"a.xf": XF, "a.tlt": "1\n2\n", "a.xtilt": "1\n2\n"}, "one for all views"),
    ],
)
def test_transforms_that_contradict_themselves_are_refused(tmp_path, files, message):
    for name, text in files.items():
        write(tmp_path / name, text)
    with pytest.raises(FormatError, match=message):
        io.read_alignment(tmp_path / "a.xf", pixel_size_nm=1.0)


def test_the_pixel_of_a_transform_comes_from_the_series(tmp_path):
    write(tmp_path / "a.tlt", "1\n2\n")
    file = write(tmp_path / "a.xf", XF)
    series = TiltSeries(np.zeros((2, 4, 4), np.float32), np.array([1.0, 2.0]), 2.5)
    np.testing.assert_allclose(io.read_alignment(file, series=series).shifts_nm[0], [-10.0, 7.5])
    with pytest.raises(ValueError, match="pixel_size_nm"):
        io.read_alignment(file)


@real
def test_imods_own_solution_has_the_residuals_that_its_file_says():
    """Centres, signs, angles and Z factors together: another program's numbers, from another program's files."""
    tracks = io.read_tracks(BBA / "BBa.resid", pixel_size_nm=1.0)
    alignment = io.read_alignment(BBA / "BBa.tltxf", pixel_size_nm=1.0)
    points = io.read_point_positions(BBA / "BBafid.xyz", pixel_size_nm=1.0).loc[tracks["track"]]
    tables.check(points, tables.POINT_POSITIONS)
    centre = np.array([255.5, 255.5])
    view = tracks["view"].to_numpy()
    landed = geometry.aligned_nm(alignment, tracks[["y_nm", "x_nm"]].to_numpy(), view, centre)
    z = points["z_nm"].to_numpy()
    y, x = points["y_nm"].to_numpy() - centre[0], points["x_nm"].to_numpy() - centre[1]
    u = geometry.detector_position(x, z, alignment.tilt_angles_deg[view])
    aligned = landed - np.stack((y + alignment.z_shear[view] * z, u), axis=1)
    to_raw, _ = geometry.alignment_matrices(alignment, 1.0, (1, 1), (1, 1))
    residual = np.einsum("nij,nj->ni", to_raw[view], aligned)
    theirs = io.read_track_residuals(BBA / "BBa.resid", pixel_size_nm=1.0)
    assert abs(np.hypot(*residual.T).mean() - 0.3130) < 0.002
    assert (
        np.abs(residual - theirs).max() < 0.03
    )  # rounding: positions 0.005, transforms 2e-7 x 256, z factors
    assert np.hypot(*(residual - theirs).T).mean() < 0.01


@real
def test_the_first_transforms_then_the_second_make_the_whole():
    """.prexg then .tltxf is .xf: taking .tltxf away again leaves whole-picture shifts, as .prexg holds."""
    whole, last = (io.read_transforms(BBA / name) for name in ("BBa.xf", "BBa.tltxf"))
    first_matrices = np.linalg.inv(last[0]) @ whole[0]
    first_shifts = np.einsum("nij,nj->ni", np.linalg.inv(last[0]), whole[1] - last[1])
    np.testing.assert_allclose(first_matrices, np.tile(np.eye(2), (61, 1, 1)), atol=2e-6)
    matrices, shifts = io.compose_transforms((first_matrices, first_shifts), last)
    np.testing.assert_allclose(matrices, whole[0], atol=1e-12)
    np.testing.assert_allclose(shifts, whole[1], atol=1e-12)
    with pytest.raises(ValueError, match="61 and then 3"):
        io.compose_transforms(whole, (last[0][:3], last[1][:3]))


def test_composing_is_doing_one_after_the_other():
    rng = np.random.default_rng(0)
    first, second = ((rng.normal(size=(3, 2, 2)), rng.normal(size=(3, 2))) for _ in range(2))
    point = rng.normal(size=2)
    matrices, shifts = io.compose_transforms(first, second)
    step = first[0] @ point + first[1]
    expected = np.einsum("nij,nj->ni", second[0], step) + second[1]
    np.testing.assert_allclose(matrices @ point + shifts, expected, atol=1e-12)


def test_columns_of_side_files_are_y_then_x(tmp_path):
    assert io.read_z_factors(write(tmp_path / "a.zfac", "1 2\n3 4\n")).tolist() == [[2.0, 1.0], [4.0, 3.0]]
    assert io.read_x_axis_tilts(write(tmp_path / "a.xtilt", "1.5\n1.5\n")).tolist() == [1.5, 1.5]
