"""Pictures of films show the numbers that they are made from."""

import numpy as np
import pandas as pd
import pytest
from films import blurred

from tomo3d import phantoms, render, tables
from tomo3d.measure import profile_thickness, surface_mesh, thickness_by_angle
from tomo3d.types import Surface, Volume

CUBE = (1.0, 1.0, 1.0)


def volume(values):
    data = np.zeros((2, 4, 50), dtype=np.float32)
    data.ravel()[: len(values)] = values
    data.flags.writeable = False
    return Volume(data, CUBE)


def points(values, areas):
    vertices = np.random.default_rng(0).random((len(values), 3))
    return Surface(vertices, np.array([[0, 1, 2]]), {"thickness_nm": values, "area_nm2": areas})


def test_distributions_stand_above_each_other_on_one_axis():
    values = np.concatenate([np.full(70, 4.0), np.full(30, 10.0)])
    surface = points(np.array([2.0, 8.0, 8.0, np.nan]), np.array([6.0, 1.0, 1.0, 5.0]))
    figure = render.thickness_distributions(
        {"local": volume(values)}, surfaces={"chord $t$": surface}, cutoff_nm=1.5, truth_nm=5.0
    )
    assert len(figure.axes) == 2
    texts = [axes.texts[0].get_text() for axes in figure.axes]
    assert texts[0] == "local\nmedian 4 nm\nn = 100 voxels"
    assert texts[1] == "chord \\$t\\$\nmedian 2 nm\nn = 3 points"  # by area: 6 of 8
    for axes in figure.axes:
        share, edges, _ = axes.patches[0].get_data()
        assert (share * np.diff(edges)).sum() == pytest.approx(1.0)
        assert 5.0 in [line.get_xdata()[0] for line in axes.lines]
    assert "1.5 nm" in figure.axes[-1].get_xlabel()
    assert render.encode(figure, dpi=50)[:4] == b"\x89PNG"


def by_angle():
    n = 9
    table = pd.DataFrame(
        {
            "sample": ["chord_surface"] * n,
            "elevation_deg": np.arange(5.0, 90.0, 10.0),
            "median_nm": np.linspace(4, 8, n),
            "p25_nm": np.linspace(3, 7, n),
            "p75_nm": np.linspace(5, 9, n),
            "share": np.full(n, 1 / n),
            "share_in_wedge": np.linspace(0, 1, n),
            "n": np.full(n, 7),
        }
    )
    return tables.check(table, tables.THICKNESS_BY_ANGLE)


def test_thickness_by_angle_shows_medians_and_what_no_view_saw():
    figure = render.thickness_by_angle(by_angle(), truth_nm=4.0)
    upper, lower = figure.axes
    np.testing.assert_array_equal(upper.lines[0].get_ydata(), np.linspace(4, 8, 9))
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["chord surface", "truth, 4 nm"]
    bars = [bar.get_height() for bar in lower.patches]
    np.testing.assert_allclose(bars[:9], 100 / 9)
    np.testing.assert_allclose(bars[9:], np.linspace(0, 100 / 9, 9))
    unknown = by_angle().assign(share_in_wedge=np.nan)
    assert len(render.thickness_by_angle(unknown).axes[1].patches) == 9


def test_the_profile_across_a_film_goes_through_its_points():
    specimen = phantoms.oblique_film(thickness_nm=5.0)
    grey = blurred(specimen.density_volume((34, 33, 32), 1.0).data, CUBE, 4.0, noise=0.02)
    axes = [o + np.arange(n) for o, n in zip(grey.origin_nm, grey.data.shape, strict=True)]
    normal = np.array([0.7, 0.5, 0.51]) / np.linalg.norm([0.7, 0.5, 0.51])
    height = -np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1) @ normal
    surface = surface_mesh(Volume(height, CUBE, grey.origin_nm), level=0.0)
    films = profile_thickness(grey, surface, film_level=0.5, psf_fwhm_nm=4.0, max_thickness_nm=6.0)
    drawn = {line.get_label(): line for line in render.film_profile(grey, films).axes[0].lines}
    fit = drawn["fit"]
    measured = next(line for label, line in drawn.items() if label.startswith("mean of"))
    np.testing.assert_allclose(measured.get_ydata(), fit.get_ydata()[::2], atol=0.02)
    steps = next(line for label, line in drawn.items() if label.startswith("film of"))
    assert steps.get_xdata()[3] == pytest.approx(5.0, rel=0.03)
    np.testing.assert_allclose(steps.get_ydata()[::2], [1.0, 0.5, 0.0], atol=0.02)
    table = thickness_by_angle(surfaces={"profile": films})
    assert render.thickness_by_angle(table).axes[0].lines[0].get_ydata()[0] == pytest.approx(5.0, rel=0.05)
    none = {**films.point_data, "is_covered": np.zeros(len(films.vertices_nm), bool)}
    with pytest.raises(ValueError, match="no such point"):
        render.film_profile(grey, Surface(films.vertices_nm, films.faces, none))
    with pytest.raises(ValueError, match="films must come from profile_thickness"):
        render.film_profile(grey, surface)


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(ValueError, match="from 1 to 8 distributions"):
        render.thickness_distributions({})
    with pytest.raises(ValueError, match="local must have at least one thickness above 0 nm"):
        render.thickness_distributions({"local": volume([])})
    with pytest.raises(ValueError, match="must hold thickness_nm"):
        render.thickness_distributions({}, surfaces={"a": Surface(np.zeros((3, 3)), np.array([[0, 1, 2]]))})
    with pytest.raises(ValueError, match="cutoff_nm must be zero or"):
        render.thickness_distributions({"local": volume([1.0])}, cutoff_nm=-1.0)
    with pytest.raises(ValueError, match="from 1 to 8 samples, got 0"):
        render.thickness_by_angle(by_angle().iloc[:0])
