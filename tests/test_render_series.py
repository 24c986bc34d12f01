"""A tilt series is drawn by tilt angle, with its gaps, its axis, and its scale."""

import math

import numpy as np
import pytest

from tomo3d import render
from tomo3d.types import TiltSeries

ANGLES = np.array([0.0, 3.0, -3.0, 6.0, -6.0, 9.0, -9.0, 12.0, -12.0])  # dose-symmetric order


def series(axis_deg=0.0, use=None, shape=(7, 10), pixel_nm=2.0, angles=ANGLES):
    """Every pixel tells view, row and column."""
    view, row, column = np.indices((len(angles), *shape))
    images = (1000.0 * view + 30.0 * row + column).astype(np.float32)
    images.flags.writeable = False
    return TiltSeries(images, angles, pixel_nm, axis_deg, use)


def views_of(figure):
    return [axes for axes in figure.axes if axes.get_title(loc="left").endswith("°")]


def sinogram_of(figure):
    return next(axes for axes in figure.axes if axes.get_title(loc="left").startswith("Sinogram"))


def rows_at(figure, angle_deg):
    """The line of pixels that the sinogram shows at an angle."""
    image = sinogram_of(figure).images[0]
    _, _, low, high = image.get_extent()
    data = image.get_array()
    return data[int((angle_deg - low) / (high - low) * data.shape[0])]


def test_views_go_from_the_lowest_to_the_highest_tilt():
    figure = render.tilt_series(series())
    titles = [axes.get_title(loc="left") for axes in views_of(figure)]
    assert titles == ["−12.0°", "−6.0°", "0.0°", "+6.0°", "+12.0°"]
    for axes, view in zip(views_of(figure), (8, 4, 0, 3, 7), strict=True):
        assert (axes.images[0].get_array() == series().images[view]).all()
        assert axes.images[0].origin == "lower"


def test_the_sinogram_shows_the_central_row_of_each_view_at_its_angle():
    data = series()
    figure = render.tilt_series(data)
    for view, angle in enumerate(ANGLES):
        assert (rows_at(figure, angle) == data.images[view, 3]).all()
    left, right, low, high = sinogram_of(figure).images[0].get_extent()
    assert (left, right) == (-10.0, 10.0)  # 10 pixels of 2 nm
    assert (low, high) == (-13.5, 13.5)  # half a step beyond the outer views


def test_the_sinogram_of_an_axis_along_x_is_the_central_column():
    data = series(axis_deg=87.0)
    figure = render.tilt_series(data)
    assert (rows_at(figure, 6.0) == data.images[3, :, 4]).all()
    assert sinogram_of(figure).get_xlabel() == "y (nm)"
    assert "column" in sinogram_of(figure).get_title(loc="left")


def test_excluded_views_leave_a_gap_at_their_angles():
    use = np.ones(9, dtype=bool)
    use[3] = False  # 6 deg
    figure = render.tilt_series(series(use=use))
    assert np.ma.getmaskarray(rows_at(figure, 6.0)).all()
    assert not np.ma.getmaskarray(rows_at(figure, 3.0)).any()
    assert sinogram_of(figure).get_title(loc="left") == "Sinogram of the central row: 8 views, 1 excluded"
    assert "+6.0°" not in [axes.get_title(loc="left") for axes in views_of(figure)]


@pytest.mark.parametrize("axis_deg", [-8.0, 0.0, 30.0, 86.3])
def test_the_axis_is_drawn_counter_clockwise_from_y(axis_deg):
    figure = render.tilt_series(series(axis_deg=axis_deg))
    level = next(axes for axes in views_of(figure) if axes.get_title(loc="left") == "0.0°")
    (x0, y0), (x1, y1) = level.lines[0].get_xy1(), level.lines[0].get_xy2()
    assert math.degrees(math.atan2(-(x1 - x0), y1 - y0)) == pytest.approx(axis_deg)


def test_the_scale_bar_of_the_views_is_true():
    axes = views_of(render.tilt_series(series(shape=(30, 90), pixel_nm=3.0)))[0]
    bar = next(patch for patch in axes.patches if patch.get_gid() == "scale bar")
    assert axes.texts[0].get_text() == "100 nm"
    assert bar.get_width() == 100
    assert np.ptp(axes.get_xlim()) == 270  # the axes count nm
    assert axes.get_ylim()[0] < bar.get_y() < axes.get_ylim()[1]


def test_views_larger_than_a_panel_are_averaged_and_keep_their_size_in_nm():
    image = np.zeros((2100, 2100), dtype=np.float32)
    image[:, 1050:] = 1
    large = TiltSeries(np.stack([image, image]), np.array([0.0, 1.0]), 0.5)
    drawn = views_of(render.tilt_series(large))[0].images[0]
    assert drawn.get_array().shape == (700, 700)
    assert drawn.get_extent() == [-525, 525, -525, 525]
    assert drawn.get_array().mean() == pytest.approx(0.5)


@pytest.mark.parametrize("angles", [np.array([4.0]), np.array([5.0, 5.0])])
def test_one_tilt_is_drawn_too(angles):
    figure = render.tilt_series(series(angles=angles))
    assert len(views_of(figure)) == 1
    assert render.encode(figure, dpi=50)


def test_a_series_without_views_in_use_is_refused():
    with pytest.raises(ValueError, match="at least one view must be in use"):
        render.tilt_series(series(use=np.zeros(9, dtype=bool)))
