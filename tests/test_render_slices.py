"""Slices are true to scale, y runs up, and what is drawn is where it is."""

import io
import subprocess
import sys

import numpy as np
import pytest
from matplotlib.figure import Figure

from tomo3d import render
from tomo3d.types import Labels, Volume

SHAPE = (12, 20, 31)  # odd, even and non-cubic
VOXEL = (3.0, 1.5, 2.0)
ORIGIN = (-16.5, 40.0, -30.0)


def frozen(array):
    array.flags.writeable = False
    return array


@pytest.fixture
def volume():
    """A gradient along each axis, so that every flip and every transposition shows."""
    z, y, x = np.indices(SHAPE)
    return Volume(frozen((100.0 * z + 10.0 * y + x).astype(np.float32)), VOXEL, ORIGIN)


def mask_of(data, **kwargs):
    return Labels(frozen(data), VOXEL, ORIGIN, **kwargs)


def panel(figure, name):
    return next(axes for axes in figure.axes if axes.get_label() == name)


def shown(axes, x_nm, y_nm):
    """Value of the picture at a point of the axes, found from the pixels and not from the code under test."""
    image = axes.images[-1]
    left, right, bottom, top = image.get_extent()
    data = image.get_array()
    assert image.origin == "lower"
    row = int((y_nm - bottom) / (top - bottom) * data.shape[0])
    column = int((x_nm - left) / (right - left) * data.shape[1])
    return data[row, column]


def position(index):
    return tuple(o + i * v for o, i, v in zip(ORIGIN, index, VOXEL, strict=True))


@pytest.mark.parametrize("index", [(2, 3, 5), (11, 0, 30)])
def test_every_point_of_the_three_slices_is_drawn_where_it_is(volume, index):
    figure = render.slices(volume, position_nm=position(index))
    z0, y0, x0 = index
    for z, y, x in ((z0, 17, 4), (z0, 0, 30)):
        at_z, at_y, at_x = position((z, y, x))
        assert shown(panel(figure, "xy"), at_x, at_y) == volume.data[z, y, x]
    for z, y, x in ((1, y0, 4), (11, y0, 28)):
        at_z, at_y, at_x = position((z, y, x))
        assert shown(panel(figure, "xz"), at_x, at_z) == volume.data[z, y, x]
    for z, y, x in ((1, 18, x0), (10, 2, x0)):
        at_z, at_y, at_x = position((z, y, x))
        assert shown(panel(figure, "zy"), at_z, at_y) == volume.data[z, y, x]


def test_y_and_z_run_up(volume):
    figure = render.slices(volume)
    for name, across, up in (("xy", "x", "y"), ("xz", "x", "z"), ("zy", "z", "y")):
        axes = panel(figure, name)
        assert axes.get_ylim()[0] < axes.get_ylim()[1]
        assert axes.get_xlim()[0] < axes.get_xlim()[1]
        assert (axes.get_xlabel(), axes.get_ylabel()) == (across, up)


def test_bright_voxel_at_high_y_is_drawn_in_the_upper_half_of_the_picture():
    data = np.zeros((5, 40, 40), dtype=np.float32)
    data[2, 35, 20] = 1
    volume = Volume(frozen(data), (1, 1, 1))
    figure = render.slices(volume, contrast=(0, 100))
    from matplotlib.image import imread

    picture = imread(io.BytesIO(render.encode(figure, dpi=100)))[..., 0]
    box = panel(figure, "xy").get_position()
    n_rows, n_columns = picture.shape
    left, right = (int(n_columns * v) for v in (box.x0, box.x1))
    top, bottom = (int(n_rows * (1 - v)) for v in (box.y1, box.y0))
    inside = picture[top + 4 : bottom - 45, left + 4 : right - 4]  # without frame and scale bar
    row = np.unravel_index(inside.argmax(), inside.shape)[0]
    # y = 35 of 40: its middle is 4.5 / 40 below the top; within one voxel
    assert abs((row + 4) / (bottom - top) - 4.5 / 40) < 1 / 40


def test_a_nanometre_is_as_long_in_every_panel_and_direction(volume):
    figure = render.slices(volume)
    width_in, height_in = figure.get_size_inches()
    scales = []
    for name in ("xy", "xz", "zy"):
        axes = panel(figure, name)
        box = axes.get_position(original=True)
        scales.append(box.width * width_in / np.ptp(axes.get_xlim()))
        scales.append(box.height * height_in / np.ptp(axes.get_ylim()))
    assert scales == pytest.approx([scales[0]] * 6, rel=1e-9)


def test_the_scale_bar_is_in_the_panel_that_has_room_for_it():
    tall = render.slices(Volume(frozen(np.arange(2000.0).reshape(100, 5, 4)), (1, 1, 1)))
    assert not panel(tall, "xy").patches
    assert panel(tall, "zy").patches[0].get_gid() == "scale bar"


@pytest.mark.parametrize("n_x", [7, 100, 4321])
@pytest.mark.parametrize("voxel", [0.37, 1.0, 12.0])
def test_the_scale_bar_is_round_and_as_long_as_it_says(n_x, voxel):
    volume = Volume(frozen(np.arange(2.0 * 8 * n_x).reshape(2, 8, n_x)), (voxel,) * 3)
    axes = panel(render.slices(volume), "xy")
    bar = next(patch for patch in axes.patches if patch.get_gid() == "scale bar")
    text = next(text.get_text() for text in axes.texts if text.get_text().split()[-1] in ("nm", "µm"))
    said, unit = text.split()
    assert bar.get_width() == pytest.approx(float(said) * {"nm": 1, "µm": 1000}[unit])
    assert said.strip("0.")[0] in "125"
    assert len(said.strip("0.")) == 1
    # a bar of 1, 2, 5 steps is between 0.4 and 1 of the 0.3 widths that it may take
    assert 0.3 * 0.4 * n_x * voxel <= bar.get_width() <= 0.3 * n_x * voxel


def test_the_outline_of_a_mask_runs_half_way_between_its_voxels_and_the_others(volume):
    data = np.zeros(SHAPE, dtype=np.uint8)
    data[3:9, 5:15, 10:21] = 2
    figure = render.slices(volume, mask=mask_of(data, names={2: "carbon"}))
    path = panel(figure, "xy").collections[0].get_paths()[0]
    # halves of a voxel outside the first and inside the last: indices 9.5 to 20.5 and 4.5 to 14.5
    assert path.vertices[:, 0].min() == pytest.approx(ORIGIN[2] + 9.5 * VOXEL[2])
    assert path.vertices[:, 0].max() == pytest.approx(ORIGIN[2] + 20.5 * VOXEL[2])
    assert path.vertices[:, 1].min() == pytest.approx(ORIGIN[1] + 4.5 * VOXEL[1])
    assert path.vertices[:, 1].max() == pytest.approx(ORIGIN[1] + 14.5 * VOXEL[1])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["carbon"]


def test_each_class_has_its_colour_in_every_slice_and_in_the_legend(volume):
    data = np.zeros(SHAPE, dtype=np.int16)
    data[2:10, 2:18, 2:14] = 1
    data[2:10, 2:18, 16:28] = 5
    figure = render.slices(volume, mask=mask_of(data, names={1: "a"}))
    lines = figure.legends[0].get_lines()
    from matplotlib.colors import to_rgba

    colours = [to_rgba(line.get_color()) for line in lines]
    assert len(set(colours)) == 2
    for name in ("xy", "xz"):
        drawn = [tuple(c.get_edgecolor()[0]) for c in panel(figure, name).collections]
        assert drawn == colours
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "class 5"]


def test_more_classes_than_colours_are_counted_and_not_named(volume):
    data = np.arange(np.prod(SHAPE)).reshape(SHAPE).astype(np.int32) % 40
    figure = render.slices(volume, mask=mask_of(data))
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["39 classes"]


def test_a_mask_on_another_grid_is_refused(volume):
    other = Labels(np.zeros(SHAPE, dtype=bool), VOXEL, (0, 0, 0))
    with pytest.raises(ValueError, match="must be on the grid of the volume"):
        render.slices(volume, mask=other)


def test_a_position_outside_is_refused_with_the_limits(volume):
    with pytest.raises(ValueError, match=r"position_nm must be a point \(z, y, x\) inside the volume"):
        render.slices(volume, position_nm=(0, 0, 0))


def test_values_that_are_not_finite_do_not_spoil_the_contrast_and_none_finite_is_refused(volume):
    data = volume.data.copy()
    data[0, 0, 0] = np.nan
    data[6, 10, 3] = np.inf
    with_holes = render.slices(Volume(data, VOXEL, ORIGIN), contrast=(0, 100))
    low, high = panel(with_holes, "xy").images[0].get_clim()
    assert np.isfinite([low, high]).all()
    with pytest.raises(ValueError, match="at least one grey value must be finite"):
        render.slices(Volume(np.full(SHAPE, np.nan), VOXEL, ORIGIN))


@pytest.mark.parametrize("shape", [(1, 5, 6), (3, 1, 4), (1, 1, 1), (2, 3, 500)])
def test_the_thinnest_volumes_are_drawn(shape):
    data = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    figure = render.slices(Volume(data, (1, 1, 1)), mask=Labels(data > 2, (1, 1, 1)))
    assert render.encode(figure, dpi=50).startswith(b"\x89PNG")


def test_percentiles_out_of_order_are_refused(volume):
    with pytest.raises(ValueError, match="two ascending percentiles"):
        render.slices(volume, contrast=(99, 1))


def test_the_grey_bar_names_quantity_and_unit_of_the_record():
    volume = Volume(np.eye(3)[None], (1, 1, 1), record={"quantity": "density", "unit": "e/nm"})
    assert panel(render.slices(volume), "bar").get_ylabel() == "Density (e/nm)"
    assert panel(render.slices(volume, unit="a.u."), "bar").get_ylabel() == "Density (a.u.)"


def test_a_thickness_of_zero_is_transparent_and_the_bar_starts_at_zero():
    data = np.zeros(SHAPE, dtype=np.float32)
    data[3:9, 5:15, 10:21] = 7.5
    figure = render.thickness_map(Volume(frozen(data), VOXEL, ORIGIN), label="Separation")
    image = panel(figure, "xy").images[0]
    assert image.get_clim() == (0, 7.5)
    colours = image.to_rgba(image.get_array())
    inside = data[6] != 0
    assert (colours[~inside, 3] == 0).all()
    assert (colours[inside, 3] == 1).all()
    assert panel(figure, "bar").get_ylabel() == "Separation (nm)"


def test_thickness_maps_share_a_scale_when_it_is_given():
    data = np.full(SHAPE, 30.0)
    figure = render.thickness_map(Volume(data, VOXEL, ORIGIN), upper_nm=20)
    assert panel(figure, "xy").images[0].get_clim() == (0, 20)
    with pytest.raises(ValueError, match="upper_nm must be a positive thickness"):
        render.thickness_map(Volume(data, VOXEL, ORIGIN), upper_nm=0)


def test_an_empty_thickness_is_drawn_as_an_empty_map():
    figure = render.thickness_map(Volume(np.zeros(SHAPE), VOXEL, ORIGIN))
    assert panel(figure, "xy").images[0].get_array().count() == 0


def test_grey_lies_under_the_thickness(volume):
    figure = render.thickness_map(Volume(np.zeros(SHAPE), VOXEL, ORIGIN), grey=volume)
    assert len(panel(figure, "xz").images) == 2
    assert panel(figure, "xz").images[0].get_cmap().name == "gray"


@pytest.mark.parametrize(("kind", "start"), [("png", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<?xml")])
def test_a_figure_becomes_the_same_file_every_time(volume, kind, start):
    figure = render.slices(volume)
    first = render.encode(figure, format=kind, dpi=60)
    assert first.startswith(start)
    assert render.encode(figure, format=kind, dpi=60) == first


def test_an_unknown_file_format_is_refused(volume):
    with pytest.raises(ValueError, match="png, pdf, svg"):
        render.encode(Figure(), format="gif")


def test_figures_are_made_without_pyplot_and_whatever_the_settings_are():
    code = (
        "import sys, numpy as np, matplotlib; matplotlib.rcParams['font.size'] = 40;"
        "from tomo3d import render; from tomo3d.types import Volume;"
        "figure = render.slices(Volume(np.eye(9)[None], (1, 1, 1)));"
        "print('matplotlib.pyplot' in sys.modules, matplotlib.rcParams['font.size'],"
        " figure.axes[0].xaxis.label.get_size())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "40.0", "8.0"]
