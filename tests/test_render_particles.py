"""Pictures of particles show the numbers of their tables."""

import numpy as np
import pandas as pd
import pytest

from tomo3d import render, tables
from tomo3d.types import Volume


def sizes():
    return pd.DataFrame(
        {
            "from_nm": [2.0, 4.0, 6.0],
            "to_nm": [4.0, 6.0, 8.0],
            "n": [30, 0, 10],
            "share": [0.7, 0.0, 0.3],
            "low": [0.6, 0.0, 0.2],
            "high": [0.8, 0.0, 0.4],
        }
    )


def test_the_size_distribution_is_per_nm_with_intervals():
    figure = render.particle_sizes(sizes())
    share, edges, _ = figure.axes[0].patches[0].get_data()
    np.testing.assert_allclose(share, [35.0, 0.0, 15.0])  # percent over classes of 2 nm
    np.testing.assert_allclose(edges, [2.0, 4.0, 6.0, 8.0])
    bars = figure.axes[0].collections[0].get_segments()
    np.testing.assert_allclose([bar[:, 1] for bar in bars], [[30.0, 40.0], [10.0, 20.0]])
    assert figure.axes[0].get_title(loc="left") == "n = 40 clear of the border"
    few = render.particle_sizes(sizes().assign(low=np.nan, high=np.nan))
    assert not few.legends


def curves():
    r = np.arange(1.0, 6.0)
    return pd.concat(
        pd.DataFrame(
            {
                "function": name,
                "distance": "geodesic",
                "r_nm": r,
                "observed": [0.0, 3.0, 1.0, 1.0, 1.0],
                "expected": 1.0,
                "low": 0.0,
                "high": 2.0,
            }
        )
        for name in ("g", "K", "nearest")
    )


def test_dispersion_marks_what_is_outside_of_the_envelope():
    summary = tables.summary([{"quantity": "p_g", "value": 0.004, "unit": "", "n": 9}])
    figure = render.dispersion(curves(), summary=summary)
    assert len(figure.axes) == 3
    marked = next(line for line in figure.axes[0].lines if line.get_label() == "outside")
    assert marked.get_xdata().tolist() == [2.0]
    assert figure.axes[0].get_title(loc="left") == "p = 0.004"
    assert figure.axes[1].get_title(loc="left") == ""
    assert figure.axes[0].get_xlabel() == "r, along the surface (nm)"
    band = figure.axes[0].collections[0].get_paths()[0].vertices
    assert (band[:, 1].min(), band[:, 1].max()) == (0.0, 2.0)


def test_circles_are_where_the_slices_cut_the_balls():
    volume = Volume(np.random.default_rng(0).random((9, 11, 13)), (1.0, 1.0, 1.0))
    table = pd.DataFrame(
        {
            "z_nm": [4.0, 6.0, 8.0, 4.0],
            "y_nm": [5.0, 2.0, 5.0, 8.0],
            "x_nm": [3.0, 6.0, 6.0, 9.0],
            "diameter_nm": [4.0, 5.0, 4.0, np.nan],
            "touches_border": [False, False, True, False],
        }
    )
    figure = render.particles(volume, table)  # cuts at z 4, y 5, x 6
    circles = [
        [collection for collection in axes.collections if len(collection.get_offsets())]
        for axes in figure.axes[:3]
    ]
    widths = {}
    for axes, drawn in zip(figure.axes[:3], circles, strict=True):
        name = axes.get_xlabel()[:1] + axes.get_ylabel()[:1]
        widths[name] = sorted(float(w) for c in drawn for w in 2 * np.ravel(c._widths))
    assert widths["xy"] == pytest.approx([2 * (2.5**2 - 2**2) ** 0.5, 4.0])
    assert widths["xz"] == pytest.approx([4.0, 4.0])  # the first, and the one at the border
    assert widths["zy"] == pytest.approx([4.0, 5.0])


def test_found_shares_and_the_curve_through_them():
    table = pd.DataFrame(
        {
            "diameter_nm": [2.0, 4.0, 8.0],
            "n_inserted": 50,
            "n_found": [0, 25, 50],
            "probability": [0.0, 0.5, 1.0],
            "fitted": [0.1, 0.5, 0.9],
            "volume_ratio": [np.nan, 1.0, 1.0],
        }
    )
    summary = tables.summary(
        [
            {"quantity": "diameter_found_50", "value": 4.0, "low": 3.5, "high": 4.5, "unit": "nm", "n": 150},
            {"quantity": "diameter_found_95", "value": np.nan, "unit": "nm", "n": 150},
        ]
    )
    axes = render.detection_limit(table, summary=summary).axes[0]
    lines = {line.get_label(): line for line in axes.lines}
    np.testing.assert_allclose(lines["found"].get_ydata(), [0.0, 50.0, 100.0])
    x, y = lines["logistic curve"].get_data()
    assert np.interp(4.0, x, y) == pytest.approx(50.0, abs=0.5)
    assert "50 %: 4 nm (3.5 to 4.5)" in lines
    assert not any(str(label).startswith("95") for label in lines)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: render.particle_sizes(sizes().assign(n=0)), "at least one particle"),
        (lambda: render.particle_sizes(sizes().drop(columns="share")), "missing"),
        (lambda: render.dispersion(curves().iloc[:0]), "must hold one of the functions"),
        (lambda: render.particles(Volume(np.ones((3, 3, 3)), (1, 1, 1)), sizes()), "missing .*z_nm"),
        (
            lambda: render.detection_limit(pd.DataFrame(columns=tables.names(tables.INSERTED))),
            "at least one diameter",
        ),
    ],
)
def test_bad_tables_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
