"""What an alignment's figure draws is what the alignment holds."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from tomo3d import render
from tomo3d.types import Alignment

ANGLES = np.array([0.0, 3.0, -3.0, 6.0, -6.0, 9.0, -9.0, 12.0, -12.0])  # dose-symmetric order
RISING = np.argsort(ANGLES)


def aligned(residual_nm=math.nan, evidence=None, axis_deg=-3.0):
    shifts = np.stack([np.arange(9.0), -2 * np.arange(9.0)], axis=1)
    reliable = np.ones(9, dtype=bool)
    reliable[4] = False
    return Alignment(shifts, np.full(9, axis_deg), ANGLES, np.ones(9), residual_nm, reliable, evidence or {})


def test_shifts_are_drawn_over_the_tilt_angle_and_distrusted_views_are_open():
    axes = render.alignment(aligned()).axes[0]
    _, y_line, y_trusted, y_open = axes.lines[:4]
    assert (np.diff(y_line.get_xdata()) > 0).all()
    assert sorted(zip(y_trusted.get_xdata(), y_trusted.get_ydata(), strict=True)) == sorted(
        (ANGLES[i], float(i)) for i in range(9) if i != 4
    )
    assert (y_open.get_xdata().item(), y_open.get_ydata().item()) == (-6.0, 4.0)
    assert y_open.get_markerfacecolor() == "white"
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["y", "x"]


@pytest.mark.parametrize(
    ("residual_nm", "text"), [(math.nan, "residual not available"), (0.3334, "residual 0.333 nm")]
)
def test_the_residual_is_written_or_said_to_be_missing(residual_nm, text):
    figure = render.alignment(aligned(residual_nm))
    assert figure.get_suptitle() == f"9 views, 1 distrusted (open markers); tilt axis −3.00°; r.m.s. {text}"


def test_evidence_by_view_is_drawn_over_the_tilt_angle():
    evidence = {
        "residuals": pd.DataFrame({"view": [0, 3], "residual_nm": [0.5, 0.7]}),
        "axis_scores": pd.DataFrame({"axis_deg": [-1.0, 0.0, 1.0], "score": [1.0, 2.0, 1.5]}),
        "words": pd.DataFrame({"name": ["a", "b"]}),
    }
    figure = render.alignment(aligned(evidence=evidence))
    _, residuals, scores = figure.axes
    assert list(residuals.lines[0].get_xdata()) == [0.0, 6.0]
    assert list(residuals.lines[0].get_ydata()) == [0.5, 0.7]
    assert (residuals.get_xlabel(), residuals.get_ylabel()) == ("Tilt angle (°)", "Residual (nm)")
    assert list(scores.lines[0].get_xdata()) == [-1.0, 0.0, 1.0]
    assert (scores.get_xlabel(), scores.get_title(loc="left")) == ("Axis (°)", "Axis scores")


def matched(sigma_nm=(3.0, 1.0), rows=slice(None)):
    views = np.arange(9)
    table = pd.DataFrame(
        {
            "view": views,
            "tilt_angle_deg": ANGLES,
            "view_error": 0.1 + 0.01 * views,
            "residual_y_nm": 0.1 * views,
            "residual_x_nm": -0.2 * views,
            "sigma_y_nm": np.full(9, sigma_nm[0]),
            "sigma_x_nm": np.linspace(sigma_nm[1], 2 * sigma_nm[1], 9),
        }
    )
    return aligned(evidence={"projection_matching": table.iloc[rows]})


def panel(figure, label):
    return next(axes for axes in figure.axes if axes.get_ylabel() == label)


def test_bands_are_one_standard_error_about_the_shifts():
    figure = render.alignment(matched())
    axes = panel(figure, "Shift of the content (nm)")
    for band, component, sigma_nm in zip(
        axes.collections, (0, 1), (np.full(9, 3.0), np.linspace(1.0, 2.0, 9)), strict=True
    ):
        corners = {(x, round(y, 9)) for x, y in band.get_paths()[0].vertices}
        shifts_nm = matched().shifts_nm[:, component]
        for side in (-1, 1):
            edge = np.round(shifts_nm + side * sigma_nm, 9)
            assert set(zip(ANGLES, edge, strict=True)) <= corners
    assert axes.get_title(loc="left") == "Bands: ±1 standard error"


def test_standard_errors_too_small_to_see_are_said_to_be_so():
    axes = panel(render.alignment(matched((0.03, 0.01))), "Shift of the content (nm)")
    assert axes.get_title(loc="left") == "Standard errors: within the markers"


def test_views_without_a_standard_error_have_no_band():
    figure = render.alignment(matched(rows=slice(1, None)))  # view 0, at 0 deg, was excluded
    for band in panel(figure, "Shift of the content (nm)").collections:
        assert len(band.get_paths()) == 2
        assert not any((path.vertices[:, 0] == 0.0).any() for path in band.get_paths())


def test_errors_and_standard_errors_have_panels_where_distrusted_views_are_open():
    figure = render.alignment(matched())
    line, trusted, distrusted = panel(figure, "View error").lines
    assert list(line.get_xdata()) == list(ANGLES[RISING])
    assert line.get_ydata() == pytest.approx(0.1 + 0.01 * RISING)
    assert len(trusted.get_xdata()) == 8
    assert (distrusted.get_xdata().item(), distrusted.get_ydata().item()) == (-6.0, 0.14)
    for label, slopes in (("Residual (nm)", (0.1, -0.2)), ("Standard error (nm)", None)):
        axes = panel(figure, label)
        assert [text.get_text() for text in axes.get_legend().get_texts()] == ["y", "x"]
        if slopes:
            assert axes.lines[0].get_ydata() == pytest.approx(slopes[0] * RISING)
            assert axes.lines[3].get_ydata() == pytest.approx(slopes[1] * RISING)


def test_an_axis_is_drawn_only_where_it_differs_between_views():
    label = "Direction of the tilt axis (°)"
    assert label not in [axes.get_ylabel() for axes in render.alignment(aligned()).axes]
    turning = replace(aligned(), tilt_axis_deg=np.linspace(-3.0, -2.0, 9))
    figure = render.alignment(turning)
    assert list(panel(figure, label).lines[0].get_ydata()) == list(turning.tilt_axis_deg[RISING])
    assert "tilt axis about −2.50°" in figure.get_suptitle()


@pytest.mark.parametrize(("found_deg", "marked_deg"), [(-3.0, -3.0), (177.0, -3.0), (90.0, 90.0)])
def test_the_axis_found_is_marked_in_its_search(found_deg, marked_deg):
    search = pd.DataFrame({"tilt_axis_deg": [-80.0, -3.0, 100.0], "error": [0.3, 0.1, 0.3]})
    axes = panel(render.alignment(aligned(evidence={"tilt_axis": search}, axis_deg=found_deg)), "Error")
    assert list(axes.lines[0].get_xdata()) == [-80.0, -3.0, 100.0]
    assert axes.lines[-1].get_xdata()[0] == pytest.approx(marked_deg)


def test_the_evidence_of_fiducials_is_residuals_per_view_and_observation():
    views = pd.DataFrame({"view": range(9), "tilt_angle_deg": ANGLES, "n_tracks": range(9),
                          "residual_nm": 0.1 * ANGLES**2, "left_out_nm": 0.2 * ANGLES**2})  # fmt: skip
    cloud = pd.DataFrame({"track": [0, 0, 1, 1], "view": [0, 1, 0, 1], "y_nm": [0.1, 0.2, 0.3, 0.4],
                          "x_nm": [1.0, 2.0, 3.0, 4.0], "left_out_y_nm": [9.0] * 4, "weight": [1.0] * 4})  # fmt: skip
    evidence = {"residual_per_view": views, "views": views, "residuals": cloud, "tracks": cloud}
    figure = render.alignment(aligned(evidence=evidence))
    _, counts, per_view, every = figure.axes  # means beside medians and positions of tracks are not drawn
    assert counts.get_ylabel() == "Number of tracks"
    assert [text.get_text() for text in per_view.get_legend().get_texts()] == ["in the fit", "left out"]
    assert per_view.lines[0].get_ydata() == pytest.approx(0.1 * ANGLES[RISING] ** 2)
    assert [list(line.get_xdata()) for line in every.lines] == [[0.0, 3.0, 0.0, 3.0]] * 2
    assert [list(line.get_ydata()) for line in every.lines] == [list(cloud["y_nm"]), list(cloud["x_nm"])]
    assert every.get_ylabel() == per_view.get_ylabel() == "Residual (nm)"


def test_standard_errors_that_are_all_unknown_are_not_drawn():
    axes = panel(render.alignment(matched((math.nan, math.nan))), "Shift of the content (nm)")
    assert len(axes.collections) == 0
    assert axes.get_title(loc="left") == ""


def test_a_title_and_a_legend_do_not_meet():
    figure = render.alignment(matched((0.03, 0.01)))
    figure.canvas.draw()
    axes = panel(figure, "Shift of the content (nm)")
    title, legend = axes._left_title.get_window_extent(), axes.get_legend().get_window_extent()
    assert title.x1 < legend.x0
