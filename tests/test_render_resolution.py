"""The chart of a Fourier shell correlation shows its table, and where it crosses."""

import numpy as np
import pandas as pd
import pytest

from tomo3d import render, tables

FREQUENCY = np.arange(1, 11) * 0.05


def curve(correlation=None, **columns):
    falling = np.linspace(1.0, 0.0, 10) if correlation is None else np.asarray(correlation, float)
    table = {"shell": range(1, 11), "frequency_per_nm": FREQUENCY, "correlation": falling, "n_voxels": 1000}
    return pd.DataFrame({**table, **columns})


def dots(figure):
    return [
        (line.get_xdata()[0], line.get_ydata()[0])
        for line in figure.axes[0].lines
        if line.get_marker() == "o"
    ]


def texts(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_dots_and_legend_are_at_the_crossings():
    # the line 1 - (f - 0.05) / 0.45: 0.5 at f = 0.275, 0.143 at f = 0.43565
    figure = render.fourier_shell_correlation(curve())
    assert [x for x, _ in dots(figure)] == pytest.approx([0.275, 0.43565])
    assert [y for _, y in dots(figure)] == [0.5, 0.143]
    assert texts(figure) == ["3.64 nm at 0.5, 2.3 nm at 0.143"]
    axes = figure.axes[0]
    assert axes.get_xlabel() == "Spatial frequency (1/nm)"
    assert axes.get_ylabel() == "Fourier shell correlation"
    top = axes.child_axes[0]
    assert top.get_xlabel() == "Period (nm)"
    shown = {
        float(label.get_text()): tick
        for tick, label in zip(top.get_xticks(), top.get_xticklabels(), strict=True)
    }
    assert shown == {period: pytest.approx(1 / period) for period in (2.0, 5.0, 10.0, 20.0)}


def test_a_curve_that_does_not_cross_says_so():
    assert texts(render.fourier_shell_correlation(curve(np.full(10, 0.3)))) == [
        "below 0.5 throughout, above 0.143 throughout"
    ]


def test_shells_of_few_voxels_are_faint_and_do_not_cross():
    table = curve([0.1, 0.9, *np.linspace(0.9, 0.0, 8)], n_voxels=[10, 40, *[1000] * 8])
    figure = render.fourier_shell_correlation(table)
    faint = [line for line in figure.axes[0].lines if line.get_alpha() == 0.4]
    assert [len(line.get_xdata()) for line in faint] == [3]
    assert dots(figure)[0][0] > 0.25


def test_a_masked_curve_shows_what_it_was_made_from():
    columns = {
        "correlation_masked": 0.9,
        "correlation_unmasked": 0.4,
        "correlation_random_phases": [np.nan] * 4 + [0.2] * 6,
    }
    table = tables.check(curve(**columns), tables.MASKED_SHELLS)
    figure = render.fourier_shell_correlation(table)
    assert texts(figure)[:3] == ["masked, not corrected", "whole grid", "random phases"]
    assert texts(figure)[3].startswith("corrected: 3.64 nm at 0.5")
    table["correlation_random_phases"] = np.nan
    assert "random phases" not in texts(render.fourier_shell_correlation(table))


def test_each_direction_has_a_curve():
    # 1.5 - 1.4 (f - 0.05) / 0.45: 0.5 at f = 0.3714, 0.143 at f = 0.4862
    table = pd.concat([curve(direction="z"), curve(np.linspace(1.5, 0.1, 10), direction="x")])
    assert texts(render.fourier_shell_correlation(table)) == [
        "x: 2.69 nm at 0.5, 2.06 nm at 0.143",
        "z: 3.64 nm at 0.5, 2.3 nm at 0.143",
    ]


def test_a_table_without_the_columns_or_a_shell_is_refused():
    with pytest.raises(ValueError, match="missing"):
        render.fourier_shell_correlation(curve().drop(columns="n_voxels"))
    with pytest.raises(ValueError, match="at least one shell"):
        render.fourier_shell_correlation(curve()[:0])
