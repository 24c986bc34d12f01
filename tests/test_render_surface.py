"""Surfaces lie where the structure is, in nm and not mirrored; a machine without OpenGL is told what is missing."""

import itertools
import os
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest

from tomo3d import render
from tomo3d.render import _mesh, _opengl
from tomo3d.types import Labels, Surface, Volume

pytestmark = pytest.mark.skipif(find_spec("pyvista") is None, reason="pyvista is not installed")

VOXEL = (2.0, 1.5, 1.0)
ORIGIN = (-30.0, 7.0, 100.0)


@pytest.fixture
def opengl(monkeypatch):
    """A machine that can draw; pictures small enough to be quick."""
    status = render.opengl_status()
    if not status.is_available:
        pytest.skip(status.reason)
    monkeypatch.setattr("tomo3d.render._surface._PIXELS", 600)


def frozen(array):
    array.flags.writeable = False
    return array


def ball(shape, centre, radius):
    """Share of each voxel inside a ball, to first order of the distance from its surface."""
    z, y, x = np.indices(shape)
    distance = np.sqrt((z - centre[0]) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2)
    return np.clip(radius + 0.5 - distance, 0, 1).astype(np.float32)


def area(surface):
    a, b, c = (surface.vertices_nm[surface.faces[:, i]] for i in range(3))
    return 0.5 * np.linalg.norm(np.cross(b - a, c - a), axis=1).sum()


def enclosed(surface):
    """Volume within a closed surface whose normals, in (x, y, z), point outwards."""
    points = surface.vertices_nm[:, ::-1] - surface.vertices_nm[:, ::-1].mean(axis=0)
    a, b, c = (points[surface.faces[:, i]] for i in range(3))
    return np.einsum("ij,ij->", a, np.cross(b, c)) / 6


def centre_of_mass(surface):
    """(z, y, x) of what a closed surface encloses, from the tetrahedra over its faces."""
    origin = surface.vertices_nm.mean(axis=0)
    a, b, c = (surface.vertices_nm[surface.faces[:, i]] - origin for i in range(3))
    weights = np.einsum("ij,ij->i", a, np.cross(b, c))
    return origin + (weights[:, None] * (a + b + c) / 4).sum(axis=0) / weights.sum()


def is_closed(surface):
    edges = np.sort(surface.faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
    _, n = np.unique(edges, axis=0, return_counts=True)
    return bool((n == 2).all())


@pytest.mark.parametrize("radius", [5.0, 8.25, 14.5])
@pytest.mark.parametrize("shift", [0.0, 0.3])
def test_the_area_of_a_ball_from_grey_values_is_true(radius, shift):
    n = 2 * int(radius) + 7
    data = ball((n, n + 1, n + 2), (n / 2 - shift, n / 2, n / 2 + shift), radius)
    surface = _mesh.iso_mesh(Volume(frozen(data), (1, 1, 1)), level=0.5).surface
    # grey iso-surface: within 1.5 % down to radius 5
    assert area(surface) == pytest.approx(4 * np.pi * radius**2, rel=0.015)
    assert enclosed(surface) == pytest.approx(4 / 3 * np.pi * radius**3, rel=0.025)
    assert is_closed(surface)


@pytest.mark.parametrize("radius", [6.0, 12.5])
def test_smoothing_takes_the_steps_off_a_mask_and_does_not_shrink_it(radius):
    n = 2 * int(radius) + 7
    inside = ball((n, n, n), (n / 2, n / 2, n / 2), radius) >= 0.5
    surface = _mesh.iso_mesh(Labels(frozen(inside), (1, 1, 1)), level=None).surface
    # the steps of a binary surface add 8 % or more to its area; smoothed, it is as good as a grey one
    assert area(surface) == pytest.approx(4 * np.pi * radius**2, rel=0.02)
    assert enclosed(surface) == pytest.approx(inside.sum(), rel=0.02)


@pytest.mark.parametrize("as_mask", [True, False])
def test_the_surface_lies_where_the_structure_is_in_nm(as_mask):
    first, last = np.array([6, 10, 14]), np.array([17, 24, 41])
    data = np.zeros((25, 30, 50), dtype=bool)
    data[tuple(slice(a, b + 1) for a, b in zip(first, last, strict=True))] = True
    grid = (
        Labels(frozen(data), VOXEL, ORIGIN)
        if as_mask
        else Volume(frozen(data.astype(np.float32)), VOXEL, ORIGIN)
    )
    index = (_mesh.iso_mesh(grid, level=None if as_mask else 0.5).surface.vertices_nm - ORIGIN) / VOXEL
    # half a voxel outside the outermost voxels; smoothing moves the middle of a face by less than 0.15
    slack = 0.15 if as_mask else 1e-4
    middle = 0.5 * (first + last)
    for axis in range(3):
        others = [i for i in range(3) if i != axis]
        on_axis = index[(np.abs(index - middle)[:, others] < 2).all(axis=1), axis]
        low, high = on_axis[on_axis < middle[axis]], on_axis[on_axis > middle[axis]]
        assert low == pytest.approx(first[axis] - 0.5, abs=slack)
        assert high == pytest.approx(last[axis] + 0.5, abs=slack)


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_smoothing_keeps_thin_films_as_thick_as_they_are(n):
    data = np.zeros((14, 30, 30), dtype=bool)
    data[5 : 5 + n, 3:27, 3:27] = True
    vertices = _mesh.iso_mesh(Labels(frozen(data), (1, 1, 1)), level=None).surface.vertices_nm
    inner = vertices[(np.abs(vertices[:, 1:] - 14.5) < 7).all(axis=1), 0] - (4.5 + 0.5 * n)
    assert np.abs(inner) == pytest.approx(0.5 * n, abs=0.1)  # a tenth of a voxel a side


@pytest.mark.parametrize("as_mask", [True, False])
def test_a_structure_that_leaves_the_volume_is_closed_by_the_faces_of_its_last_voxels(as_mask):
    data = np.zeros((6, 8, 10), dtype=np.float32)
    data[:, 2:5, :] = 3
    grid = Labels(data.astype(np.uint8), (1, 1, 1)) if as_mask else Volume(data, (1, 1, 1))
    surface = _mesh.iso_mesh(grid, level=None if as_mask else 1.5).surface
    assert is_closed(surface)
    low, high = surface.vertices_nm.min(axis=0), surface.vertices_nm.max(axis=0)
    slack = 0.5 if as_mask else 1e-4  # smoothed edges bulge by up to half a voxel
    assert low == pytest.approx([-0.5, 1.5, -0.5], abs=slack)
    assert high == pytest.approx([5.5, 4.5, 9.5], abs=slack)


@pytest.mark.parametrize("shape", [(40, 41, 47), (44, 40, 48)])
def test_binning_moves_nothing(shape):
    centre = np.array([17.0, 22.0, 25.0])
    data = ball(shape, centre, 12.0)
    iso = _mesh.iso_mesh(Volume(frozen(data), VOXEL, ORIGIN), level=0.5, max_voxels=12_000)
    assert iso.binning == 2
    # means over 2 voxels blur the ball alike on all sides: its centre of mass stays, up to a tenth of a voxel
    assert np.abs((centre_of_mass(iso.surface) - ORIGIN) / VOXEL - centre).max() < 0.1
    # blur and facets of 2 voxels take about 0.12 voxels off the radius of 12: 3 % of the volume
    assert enclosed(iso.surface) == pytest.approx(4 / 3 * np.pi * 12**3 * np.prod(VOXEL), rel=0.03)


def test_binning_keeps_below_the_limit_and_above_one_voxel():
    assert _mesh.binning_for((256, 256, 256)) == 1
    assert _mesh.binning_for((257, 256, 256)) == 2
    assert _mesh.binning_for((1024, 1024, 1024)) == 4
    assert _mesh.binning_for((2, 9000, 9000)) == 2


def test_binned_values_are_means_of_all_or_of_what_is_not_zero():
    data = np.zeros((2, 2, 5), dtype=np.uint8)
    data[0, 0, :2] = 6
    assert _mesh.binned(data, 2)[0, 0, 0] == 12 / 8
    assert _mesh.binned(data, 2, ignore_zero=True)[0, 0].tolist() == [6, 0]
    assert _mesh.binned(data, 2, is_mask=True)[0, 0, 0] == 2 / 8
    assert _mesh.binned(data, 2).shape == (1, 1, 2)


def test_the_level_between_two_greys_is_found():
    rng = np.random.default_rng(3)
    data = (ball((24, 24, 24), (12, 12, 12), 7) * 10 + 5 + rng.normal(0, 0.3, (24, 24, 24))).astype(
        np.float32
    )
    # greys of 5 and 15 with noise of 0.3: any level from 6 to 14 parts them
    assert 6 < _mesh.iso_mesh(Volume(frozen(data), (1, 1, 1)), level=None).level < 14


@pytest.mark.parametrize(
    ("data", "level", "message"),
    [
        (np.zeros((4, 4, 4), dtype=np.float32), None, "grey values that differ"),
        (np.arange(64.0).reshape(4, 4, 4), 64.0, "both sides of its level"),
        (np.full((4, 4, 4), np.nan), 0.5, "must be finite"),
    ],
)
def test_a_volume_without_a_surface_is_refused(data, level, message):
    with pytest.raises(ValueError, match=message):
        _mesh.iso_mesh(Volume(data, (1, 1, 1)), level=level)


def test_an_empty_mask_is_refused():
    with pytest.raises(ValueError, match="the mask is empty"):
        _mesh.iso_mesh(Labels(np.zeros((4, 4, 4), dtype=bool), (1, 1, 1)), level=None)


def test_colours_take_no_part_of_the_zeros_outside():
    inside = ball((30, 30, 40), (15, 15, 20), 11) >= 0.5
    values = np.where(inside, 22.0, 0).astype(np.float32)
    surface = _mesh.iso_mesh(Labels(frozen(inside), VOXEL, ORIGIN), level=None).surface
    colours = _mesh.sampled(Volume(frozen(values), VOXEL, ORIGIN), surface.vertices_nm)
    assert colours == pytest.approx(22.0)  # every vertex, none of them nan


def test_colours_are_interpolated_at_positions_in_nm():
    z, y, x = np.indices((6, 7, 8))
    values = Volume((1 + z + 10.0 * y + 100.0 * x), VOXEL, ORIGIN)
    index = np.array([[1.25, 3.5, 4.75], [0.0, 0.0, 0.0], [2.5, 5.0, 6.0]])
    found = _mesh.sampled(values, index * VOXEL + ORIGIN)
    assert found == pytest.approx(1 + index @ [1, 10, 100])  # linear, so interpolation is exact
    assert np.isnan(_mesh.sampled(values, np.array([[900.0, 0.0, 0.0]]))).all()


def picture(figure):
    return np.asarray(figure.axes[0].images[0].get_array())[..., :3].astype(float)


def middle_of(figure):
    """Middle of what is neither white nor the grey of the box, in nm of the picture (across, up)."""
    image = figure.axes[0].images[0]
    rgb = picture(figure)
    left, right, bottom, top = image.get_extent()
    rows, columns = np.nonzero(rgb.max(axis=2) - rgb.min(axis=2) > 8)  # the plain surface is bluish
    n_rows, n_columns = rgb.shape[:2]
    return np.array(
        [
            left + (columns.mean() + 0.5) / n_columns * (right - left),
            top - (rows.mean() + 0.5) / n_rows * (top - bottom),
        ]
    )


def test_the_picture_is_drawn_along_the_axes_that_it_names_and_true_to_scale(opengl):
    shape = (24, 24, 24)
    at = {name: np.array([12.0, 12, 12]) for name in "ozyx"}
    for axis, name in enumerate("zyx"):
        at[name][axis] = 18
    figures = {
        name: render.iso_surface(Volume(ball(shape, c, 3.5), (2.0,) * 3), level=0.5) for name, c in at.items()
    }
    middles = {name: middle_of(figure) for name, figure in figures.items()}
    moved = {name: middles[name] - middles["o"] for name in "zyx"}
    axes = figures["o"].axes[0]
    names = {t.get_gid()[-1]: t for t in axes.texts if (t.get_gid() or "").startswith("axis ")}
    starts = [a for a in axes.texts if a.get_text() == "" and getattr(a, "arrow_patch", None)]
    start = np.array(starts[0].xyann)
    for name in "zyx":
        arrow = np.array(names[name].get_position()) - start
        cosine = arrow @ moved[name] / np.linalg.norm(arrow) / np.linalg.norm(moved[name])
        assert cosine > 0.999
    # an orthonormal frame seen in parallel: the three lengths obey sum of squares = 2 (6 voxels of 2 nm each)
    squares = sum(float(moved[name] @ moved[name]) for name in "zyx")
    assert squares == pytest.approx(2 * 12.0**2, rel=0.02)
    assert moved["z"][1] > 0  # z up
    assert abs(moved["z"][0]) < 0.2
    assert moved["x"][0] > 0


def test_what_is_nearer_hides_what_is_behind_so_the_hand_is_right(opengl):
    # the camera looks from the front (low y) and above: of two balls in its line of sight the lower y is nearer
    shape = (40, 40, 40)
    azimuth, elevation = np.deg2rad(-62), np.deg2rad(22)
    away = -np.array(
        [
            np.sin(elevation),
            np.cos(elevation) * np.sin(azimuth),
            np.cos(elevation) * np.cos(azimuth),
        ]
    )
    middle = np.array([19.5, 19.5, 19.5])
    near, far = ball(shape, middle - 11 * away, 6), ball(shape, middle + 11 * away, 6)
    assert away[1] > 0
    colours = Volume(1.0 * (near > 0) + 9.0 * (far > 0), (1, 1, 1))
    figure = render.iso_surface(Volume(near + far, (1, 1, 1)), level=0.5, colour_by=colours)
    rgb = picture(figure)
    _, green, blue = rgb[rgb.shape[0] // 2, rgb.shape[1] // 2]
    assert blue > green  # the low end of viridis is violet, its high end yellow


def test_the_surface_has_a_scale_bar_and_the_lengths_of_its_box(opengl):
    volume = Volume(ball((20, 30, 40), (10, 15, 20), 7), (2.0, 1.0, 0.5))
    colour = Volume(np.full((20, 30, 40), 5.0), (2.0, 1.0, 0.5))
    figure = render.iso_surface(volume, colour_by=colour, label="Depth (nm)")
    axes = figure.axes[0]
    texts = [text.get_text() for text in axes.texts]
    assert {"x 20 nm", "y 30 nm", "z 40 nm"} <= set(texts)
    bar = next(patch for patch in axes.patches if patch.get_gid() == "scale bar")
    assert f"{bar.get_width():g} nm" in texts
    assert figure.axes[1].get_ylabel() == "Depth (nm)"
    assert figure.axes[1].get_ylim()[0] == 0


def quilt():
    """A square of two halves at z = 0, the right one raised by 4 nm, with values of both signs on its vertices."""
    y, x = np.divmod(np.arange(36), 6)
    vertices = np.stack([4.0 * (x >= 3), 10.0 + y, 20.0 + x], axis=1)
    a = np.arange(36).reshape(6, 6)[:-1, :-1].ravel()
    faces = np.concatenate([np.stack([a, a + 1, a + 6], 1), np.stack([a + 1, a + 7, a + 6], 1)])
    values = {
        "mean_curvature_per_nm": np.where(x >= 3, 0.2, -0.1),
        "normal": np.ones((36, 3)),
        "is_in": x < 3,
    }
    return Surface(vertices, faces, values)


def test_a_surface_is_drawn_in_its_box_by_the_values_on_its_vertices(opengl):
    figure = render.surface(quilt(), colour_by="mean_curvature_per_nm")
    assert figure.axes[1].get_ylabel() == "Mean curvature (1/nm)"
    assert figure.axes[1].get_ylim() == pytest.approx((-0.2, 0.2))  # as far to each side of zero
    assert {"x 5 nm", "y 5 nm", "z 4 nm"} <= {text.get_text() for text in figure.axes[0].texts}
    rgb = picture(figure)
    spread = rgb[..., 0] - rgb[..., 2]
    columns = np.arange(rgb.shape[1])
    red = (spread > 60).sum(axis=0) @ columns / max((spread > 60).sum(), 1)
    blue = (spread < -30).sum(axis=0) @ columns / max((spread < -30).sum(), 1)
    assert red > blue > 0  # the positive half is at the larger x, which is to the right
    assert render.surface(quilt(), colour_by="is_in", label="Inside").axes[1].get_ylabel() == "Inside"
    assert len(render.surface(quilt()).axes) == 1


def test_surfaces_without_triangles_or_such_values_are_refused():
    with pytest.raises(
        ValueError, match="one of the values on the vertices, mean_curvature_per_nm, is_in, got 'normal'"
    ):
        render.surface(quilt(), colour_by="normal")
    with pytest.raises(ValueError, match="must have triangles to be drawn"):
        render.surface(Surface(np.zeros((3, 3)), np.zeros((0, 3), dtype=int)))


def test_every_edge_of_the_box_but_the_three_nearest_is_drawn():
    from tomo3d.render._surface import _View

    view = _View.of(Volume(np.zeros((3, 4, 5)), VOXEL, ORIGIN))
    edges = view.box_edges()
    assert len(edges) == 9
    corners = [np.array(c) for c in itertools.product(*zip(view.low, view.high, strict=True))]
    nearest = max(corners, key=lambda corner: corner @ view.towards)
    assert not any((end == nearest).all() for edge in edges for end in edge)
    # the whole box is in the picture
    assert (np.abs(view.project(np.array(corners))) <= view.half_size_nm).all()


@pytest.fixture
def fresh_probe():
    _opengl._probe.cache_clear()
    yield
    _opengl._probe.cache_clear()


VOLUME = Volume(np.eye(4, dtype=np.float32)[None].repeat(4, axis=0), (1, 1, 1))


def test_surfaces_can_be_switched_off(monkeypatch):
    monkeypatch.setenv("TOMO3D_OPENGL", "off")
    assert not render.opengl_status().is_available
    with pytest.raises(render.OpenGLError, match="TOMO3D_OPENGL"):
        render.iso_surface(VOLUME)


@pytest.mark.skipif(sys.platform != "linux", reason="windows of X exist only there")
def test_a_machine_on_which_vtk_dies_is_told_what_to_install(monkeypatch, fresh_probe):
    monkeypatch.delenv("DISPLAY", raising=False)
    # VTK's own variable: a window of X without a display is a segmentation fault, as without any OpenGL
    monkeypatch.setenv("VTK_DEFAULT_OPENGL_WINDOW", "vtkXOpenGLRenderWindow")
    status = render.opengl_status()
    assert not status.is_available
    assert "libegl1 libgl1-mesa-dri" in status.reason
    with pytest.raises(render.OpenGLError, match="apt-get install libegl1"):
        render.iso_surface(VOLUME)


def test_a_probe_that_hangs_is_given_up(monkeypatch, fresh_probe):
    monkeypatch.setattr(_opengl, "_PROBE", "import time; time.sleep(30)")
    monkeypatch.setattr(_opengl, "_TIMEOUT_S", 0.3)
    assert "did not draw a test picture within 0.3 s" in render.opengl_status().reason


def test_a_missing_extra_is_named(monkeypatch, fresh_probe):
    monkeypatch.setattr(_opengl.importlib.util, "find_spec", lambda name: None)
    status = render.opengl_status()
    assert not status.is_available
    assert "pip install 'tomo3d[viz]'" in status.reason


def test_the_machine_is_tried_once(monkeypatch, fresh_probe):
    calls = []

    def run(*args, **kwargs):
        calls.append(args)
        return subprocess.CompletedProcess(args, 0, "drawn by a test\n", "")

    monkeypatch.setattr(_opengl.subprocess, "run", run)
    monkeypatch.delenv("TOMO3D_OPENGL", raising=False)
    assert render.opengl_status() == render.opengl_status() == render.OpenGLStatus(True, "drawn by a test")
    assert len(calls) == 1


def test_vtk_says_nothing_on_the_terminal(opengl):
    code = (
        "import numpy as np; from tomo3d import render; from tomo3d.types import Volume;"
        "render.iso_surface(Volume(np.eye(6)[None].repeat(6, axis=0), (1, 1, 1)), level=0.5)"
    )
    environment = {name: value for name, value in os.environ.items() if name != "DISPLAY"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout == done.stderr == ""
