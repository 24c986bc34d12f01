"""Charts show the numbers that they are made from."""

import numpy as np
import pandas as pd
import pytest

from tomo3d import render
from tomo3d.types import Volume


def thickness(values, voxel=1.0):
    data = np.zeros(max(2 * len(values), 8), dtype=np.float32)
    data[: len(values)] = values
    data = data[: len(data) // 2 * 2].reshape(2, 1, -1)
    data.flags.writeable = False
    return Volume(data, (voxel,) * 3)


def lines(figure):
    return {line.get_label(): line.get_xdata()[0] for line in figure.axes[0].lines}


def test_mean_median_and_n_leave_the_background_out():
    values = np.concatenate([np.full(70, 4.0), np.full(30, 10.0)])
    figure = render.thickness_histogram(thickness(values), truth_nm=6)
    assert lines(figure) == {"mean 5.8 nm": pytest.approx(5.8), "median 4 nm": 4.0, "truth 6 nm": 6}
    assert figure.axes[0].get_legend().get_title().get_text() == "n = 100 voxels"
    assert figure.axes[0].get_xlabel() == "Local thickness (nm)"
    assert figure.axes[0].get_ylabel() == "Volume (% per nm)"


@pytest.mark.parametrize("voxel", [0.5, 3.0])
def test_the_histogram_holds_the_whole_volume_in_bins_of_at_least_a_voxel(voxel):
    values = np.random.default_rng(7).gamma(5.0, 4.0, 5000).astype(np.float32)
    patch = render.thickness_histogram(thickness(values, voxel)).axes[0].patches[0]
    share, edges, _ = patch.get_data()
    assert (share * np.diff(edges)).sum() == pytest.approx(100)  # percent
    assert np.diff(edges).min() >= voxel * (1 - 1e-6)
    assert edges[0] >= 0
    # the share of each bin, counted the slow way
    for low, high, height in list(zip(edges[:-1], edges[1:], share, strict=True))[:5]:
        n = sum(low <= v < high for v in values.tolist())
        assert height == pytest.approx(100 * n / 5000 / (high - low))


def test_a_single_thickness_is_a_histogram_too():
    share, edges, _ = render.thickness_histogram(thickness([8.0] * 5)).axes[0].patches[0].get_data()
    assert (share * np.diff(edges)).sum() == pytest.approx(100)


def test_the_histogram_of_an_empty_structure_is_refused():
    with pytest.raises(ValueError, match="the structure is empty"):
        render.thickness_histogram(Volume(np.zeros((2, 2, 2)), (1, 1, 1)))


def comparison(percent):
    n = len(percent)
    return pd.DataFrame(
        {
            "quantity": [f"quantity ${i}$" for i in range(n)],
            "measured": np.linspace(1, 2, n),
            "truth": np.ones(n),
            "error": np.linspace(0, 1, n),
            "error_percent": percent,
            "unit": ["nm"] * n,
        }
    )


def test_errors_are_drawn_in_percent_with_zero_in_the_middle():
    axes = render.comparison(comparison([-12.0, np.nan, 3.0])).axes[0]
    drawn = next(line for line in axes.lines if line.get_marker() == "o")
    assert list(drawn.get_xdata()) == [-12.0, 3.0]
    assert axes.get_xlim()[0] == -axes.get_xlim()[1]
    texts = [label.get_text() for label in axes.get_yticklabels()]
    assert texts == [r"quantity \$0\$: 1 of 1 nm", r"quantity \$2\$: 2 of 1 nm"]


def test_a_comparison_without_a_finite_error_is_refused():
    with pytest.raises(ValueError, match="finite error_percent"):
        render.comparison(comparison([np.nan]))
    with pytest.raises(ValueError, match="missing"):
        render.comparison(comparison([1.0]).drop(columns="truth"))
