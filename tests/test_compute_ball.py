"""The image of a ball, and its fit."""

import numpy as np
import pytest
from scipy.integrate import dblquad

from tomo3d.compute import ball_fit
from tomo3d.compute.ball_image import BallImage


@pytest.mark.parametrize("diameter", [3.0, 10.0, 24.0])
def test_a_ball_that_is_hardly_blurred_is_its_closed_form(diameter):
    ball = BallImage(diameter, blur_px=0.0)
    distance = np.linspace(0.0, 0.25 * diameter, 20)
    chord = np.sqrt(1.0 - (distance / (0.5 * diameter)) ** 2)
    blur = 1.0 / 12.0 / (0.5 * diameter) ** 2  # of the pixel, relative to the curvature: lowers by about this
    assert ball.value(distance) == pytest.approx(chord, abs=1.5 * blur + 2e-3)


def test_a_blurred_ball_is_the_convolution():
    ball, radius = BallImage(6.0, blur_px=0.8), 3.0
    variance = 0.8**2 + 1.0 / 12.0

    def blurred(d):
        def integrand(y, x):
            chord = np.sqrt(max(radius**2 - x**2 - y**2, 0.0))
            return chord * np.exp(-0.5 * ((x - d) ** 2 + y**2) / variance)

        return dblquad(integrand, -radius, radius, -radius, radius, epsabs=1e-3, epsrel=1e-3)[0]

    middle = blurred(0.0)
    for d in (1.5, 3.0, 4.0):
        assert float(ball.value(np.array([d]))[0]) == pytest.approx(blurred(d) / middle, abs=2e-3)


def test_the_slope_is_the_derivative():
    ball = BallImage(9.0)
    d = np.linspace(0.2, 6.0, 40)
    numeric = (ball.value(d + 0.05) - ball.value(d - 0.05)) / 0.1
    assert ball.slope(d) == pytest.approx(numeric, abs=2e-3)


def test_balls_that_touch_are_fitted_without_pulling_each_other():
    ball = BallImage(8.0)
    y, x = np.mgrid[:60, :70]
    places = np.array([[30.2, 30.3], [30.9, 38.1], [12.0, 50.4]])
    image = 5.0 + 0.02 * x - 0.01 * y
    for place, height in zip(places, (10.0, 7.0, -4.0), strict=True):
        image = image + height * ball.value(np.hypot(y - place[0], x - place[1]))
    fit = ball_fit.fit(image, np.rint(places), ball)
    assert fit.positions == pytest.approx(places, abs=0.05)
    assert fit.contrast == pytest.approx([10.0, 7.0, -4.0], rel=0.05)
    assert (fit.correlation > 0.9).all()
