"""Halves of the views share none, cover all in use, and leave the series as it is."""

import functools
import math

import numpy as np
import pandas as pd
import pytest

from tomo3d import geometry, quality, reconstruct
from tomo3d.progress import listening
from tomo3d.types import Alignment, TiltSeries, Volume

ANGLES = np.array([0.0, 3.0, -3.0, -6.0, 6.0, 9.0, -9.0, 12.0])  # dose-symmetric: not in order


def series(use=None, views=None, **options):
    images = np.random.default_rng(0).standard_normal((8, 6, 10)).astype(np.float32)
    images.flags.writeable = False
    return TiltSeries(images, ANGLES, 2.0, use=use, views=views, **options)


class Recorder:
    """A method that notes what it gets."""

    def __init__(self):
        self.calls = []

    def __call__(self, series, **options):
        self.calls.append((series, options))
        return Volume(
            np.full((3, 6, 10), float(len(self.calls))), (2.0, 2.0, 2.0), record={"method": "recorder"}
        )


def used(call):
    return set(np.flatnonzero(call[0].used).tolist())


def test_even_and_odd_alternate_in_order_of_tilt_angle():
    method, whole = Recorder(), series()
    halves = quality.half_volumes(whole, method)
    first, second = map(used, method.calls)
    assert [sorted(ANGLES[sorted(half)]) for half in (first, second)] == [[-9, -3, 3, 9], [-6, 0, 6, 12]]
    assert (halves.first.data == 1).all()
    assert (halves.second.data == 2).all()
    assert halves.first.record == {"method": "recorder", "half": "even", "views": sorted(first)}
    assert halves.second.record == {"method": "recorder", "half": "odd", "views": sorted(second)}


def test_excluded_views_go_into_neither_half_and_no_view_is_dropped():
    use = np.array([True, False, True, True, True, False, True, True])
    method, whole = Recorder(), series(use=use)
    quality.half_volumes(whole, method)
    first, second = map(used, method.calls)
    assert first | second == {0, 2, 3, 4, 6, 7}
    assert not first & second
    for given, options in method.calls:
        assert given.images is whole.images
        assert given.n_tilts == 8
        assert options == {}
    assert whole.use is not None
    assert whole.use.tolist() == use.tolist()


def test_a_column_divides_the_views_at_the_middle_of_its_range():
    # accumulated dose of a first view that took as much as the other seven together
    table = pd.DataFrame({"dose": [70.0, 80.0, 90.0, 100.0, 110.0, 120.0, 130.0, 140.0]})
    method = Recorder()
    halves = quality.half_volumes(series(views=table), method, by="dose")
    assert used(method.calls[0]) == {0, 1, 2, 3}
    assert used(method.calls[1]) == {4, 5, 6, 7}
    assert (halves.first.record["half"], halves.second.record["half"]) == ("low dose", "high dose")
    steps = pd.DataFrame({"dose": [7.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 14.0]})
    quality.half_volumes(series(views=steps), method, by="dose")
    assert used(method.calls[3]) == {7}


def test_an_alignment_goes_to_the_method_whole_and_its_angles_order_the_views():
    alignment = Alignment(
        np.zeros((8, 2)), np.zeros(8), np.arange(8.0), np.ones(8), math.nan, np.ones(8, bool)
    )
    method = Recorder()
    quality.half_volumes(series(), method, alignment=alignment)
    assert [used(call) for call in method.calls] == [{0, 2, 4, 6}, {1, 3, 5, 7}]
    assert all(options == {"alignment": alignment} for _, options in method.calls)


def test_halves_are_what_the_method_makes_of_each_half_alone():
    whole = series()
    method = functools.partial(reconstruct.wbp, thickness_nm=8.0)
    halves = quality.half_volumes(whole, method)
    even = np.argsort(ANGLES)[::2]
    alone = method(TiltSeries(whole.images[even], ANGLES[even], 2.0))
    # the sum over views is taken in another order
    np.testing.assert_allclose(halves.first.data, alone.data, atol=1e-5 * abs(alone.data).max())
    assert halves.first.origin_nm == geometry.centred_origin_nm((4, 6, 10), (2.0, 2.0, 2.0))
    assert quality.fourier_shell_correlation(halves.first, halves.second).curve.correlation.abs().max() < 1


def test_progress_is_reported():
    heard = []
    with listening(lambda what, done, total: heard.append((what, done, total))):
        quality.half_volumes(series(), Recorder())
    assert heard == [("half volumes", i, 2) for i in range(3)]


@pytest.mark.parametrize(
    ("given", "options", "sentence"),
    [
        (series(use=np.arange(8) == 3), {}, "at least two views must be in use to be divided, got 1"),
        (
            series(),
            {"by": "dose"},
            "by must be 'even-odd' or a column of the table of views, got 'dose'; .* none",
        ),
        (series(views=pd.DataFrame({"order": range(8)})), {"by": "dose"}, "its columns are order"),
        (series(views=pd.DataFrame({"dose": [1.0] * 8})), {"by": "dose"}, "different values .* got 1 only"),
        (
            series(views=pd.DataFrame({"dose": [1.0] * 7 + [math.nan]})),
            {"by": "dose"},
            "a finite number for every",
        ),
        (series(views=pd.DataFrame({"dose": list("abcdefgh")})), {"by": "dose"}, "a finite number for every"),
        (
            series(),
            {
                "alignment": Alignment(
                    np.zeros((2, 2)), np.zeros(2), np.zeros(2), np.ones(2), 0.0, np.ones(2, bool)
                )
            },
            "one row per view",
        ),
    ],
)
def test_views_that_cannot_be_divided_are_refused(given, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        quality.half_volumes(given, Recorder(), **options)


def test_a_method_must_make_volumes_on_one_grid():
    with pytest.raises(TypeError, match="method must return a Volume, got a ndarray"):
        quality.half_volumes(series(), lambda series: series.images)
    with pytest.raises(ValueError, match=r"on one grid, got \(3, 1, 3\) and \(4, 1, 3\) voxels"):
        quality.half_volumes(
            series(), lambda series: Volume(np.zeros((4 if series.used[0] else 3, 1, 3)), (1.0, 1.0, 1.0))
        )
