"""Curves show the columns that they are made from, with their units."""

import numpy as np
import pandas as pd
import pytest

from tomo3d import render


def table():
    rows = [(group, float(i), 1.0 / (1 + i) + k) for k, group in enumerate(("radial", "z")) for i in range(5)]
    made = pd.DataFrame(rows, columns=["direction", "distance_nm", "probability"])
    return made.assign(low=made.probability - 0.1, high=made.probability + 0.1)


def test_a_curve_for_each_group_with_its_band():
    axes = render.curves(table(), x="distance_nm", y="probability", group="direction").axes[0]
    assert [line.get_label() for line in axes.lines] == ["radial", "z"]
    np.testing.assert_array_equal(axes.lines[1].get_ydata(), table().probability[5:])
    assert axes.get_xlabel() == "Distance (nm)"
    assert axes.get_ylabel() == "Probability"
    assert axes.get_legend().get_title().get_text() == "Direction"
    assert len(axes.collections) == 2
    extents = axes.collections[0].get_paths()[0].get_extents()
    assert (extents.y0, extents.y1) == (pytest.approx(0.1), pytest.approx(1.1))


def test_a_density_has_its_own_band_and_unit():
    made = pd.DataFrame({"diameter_nm": [3.0, 1.0, 0.0], "density_per_nm": [0.2, 0.4, np.nan],
                         "density_low": [0.1, 0.3, np.nan], "density_high": [0.3, 0.5, np.nan]})  # fmt: skip
    axes = render.curves(made, x="diameter_nm", y="density_per_nm", is_logarithmic=True).axes[0]
    assert axes.get_ylabel() == "Density (1/nm)"
    np.testing.assert_array_equal(axes.lines[0].get_xdata(), [1.0, 3.0])
    assert len(axes.collections) == 1
    assert axes.get_xscale() == "log"
    assert axes.get_legend() is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": "chance"}, "missing \\['chance'\\]"),
        ({"x": "direction"}, "'direction' must hold numbers"),
        ({"band": ("low", "top")}, "missing \\['top'\\]"),
    ],
)
def test_columns_that_cannot_be_drawn_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        render.curves(table(), **({"x": "distance_nm", "y": "probability"} | change))


def test_too_many_curves_and_none_are_refused():
    with pytest.raises(ValueError, match="at most 8 values"):
        render.curves(pd.DataFrame({"a": range(9), "b": range(9)}), x="a", y="b", group="a")
    with pytest.raises(ValueError, match="at least one row"):
        render.curves(pd.DataFrame({"a": [1.0], "b": [np.nan]}), x="a", y="b")
