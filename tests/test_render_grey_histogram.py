"""The grey histogram shows the shares of the classes and the levels that were used."""

import numpy as np
import pytest

from tomo3d import render, segment
from tomo3d.types import Labels, Volume


def specimen():
    rng = np.random.default_rng(0)
    classes = rng.choice(3, size=(10, 20, 30), p=[0.6, 0.3, 0.1])
    grey = (np.take([0.0, 5.0, 20.0], classes) + rng.standard_normal(classes.shape)).astype(np.float32)
    grey.flags.writeable = False
    return Volume(grey, (1.0, 1.0, 1.0)), classes


def names(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_shares_of_the_classes_add_up_to_the_volume(monkeypatch):
    monkeypatch.setattr("tomo3d.render._grey_histogram._SLAB_VOXELS", 3 * 600)
    volume, classes = specimen()
    labels = Labels(classes.astype(np.uint8), (1.0, 1.0, 1.0), names={0: "pore", 2: "metal"})
    figure = render.grey_histogram(volume, labels)
    *parts, outline = (patch.get_data() for patch in figure.axes[0].patches)
    assert len(parts) == 3
    for number, (share, edges, _) in enumerate(parts):
        expected = np.histogram(volume.data[classes == number].astype(float), edges)[0]
        np.testing.assert_allclose(share, 100 * expected / classes.size)
    np.testing.assert_allclose(outline[0], sum(part[0] for part in parts))
    assert outline[0].sum() == pytest.approx(100)
    shares = 100 * np.bincount(classes.ravel()) / classes.size
    assert names(figure) == [
        f"{n}: {s:.3g} %" for n, s in zip(("pore", "class 1", "metal"), shares, strict=True)
    ]


def test_levels_of_the_segmentation_are_drawn():
    volume, _ = specimen()
    labels = segment.multi_otsu(volume)
    figure = render.grey_histogram(volume, labels, is_logarithmic=False)
    drawn = [line.get_xdata()[0] for line in figure.axes[0].lines]
    assert drawn == labels.record["levels"]
    assert f"level {drawn[0]:.4g}" in names(figure)
    assert figure.axes[0].get_yscale() == "linear"
    assert render.grey_histogram(volume, labels).axes[0].get_yscale() == "log"


def test_a_mixture_is_drawn_in_the_unit_of_the_bins():
    volume, _ = specimen()
    figure = render.grey_histogram(volume, segment.gaussian_mixture(volume))
    curves = [line for line in figure.axes[0].lines if len(line.get_xdata()) > 2]
    edges = figure.axes[0].patches[0].get_data()[1]
    assert len(curves) == 3
    areas = [np.trapezoid(curve.get_ydata(), curve.get_xdata()) / (edges[1] - edges[0]) for curve in curves]
    np.testing.assert_allclose(areas, [60, 30, 10], atol=2)  # percent; the tails end with the grey values


@pytest.mark.parametrize(
    ("data", "shape", "match"),
    [
        (np.zeros((3, 4, 5)), (3, 4, 5), "must differ, got 0 everywhere"),
        (np.full((3, 4, 5), np.nan), (3, 4, 5), "must be finite"),
        (np.arange(60.0).reshape(3, 4, 5), (3, 4, 6), "must have the shape of the volume"),
    ],
)
def test_what_has_no_histogram_is_refused(data, shape, match):
    with pytest.raises(ValueError, match=match):
        render.grey_histogram(Volume(data, (1, 1, 1)), Labels(np.zeros(shape, np.uint8), (1, 1, 1)))
