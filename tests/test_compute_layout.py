"""Changing the order of axes moves every number to its place, whatever the shape and the strides."""

import numpy as np
import pytest

from tomo3d.compute.inner_order import to_inner, to_public

SHAPES = [(1, 1, 1), (3, 16, 16), (2, 17, 31), (5, 64, 48), (2, 33, 100), (1, 15, 130)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", ["whole", "part", "turned", "integers"])
def test_the_inner_order_has_y_last(shape, kind):
    whole = np.random.default_rng(0).integers(0, 1000, (shape[0] + 2, shape[1] + 5, shape[2] + 3))
    public = whole[1:-1, 3:-2, 2:-1].astype(np.int16 if kind == "integers" else np.float32)
    if kind == "part":
        public = whole.astype(np.float32)[1:-1, 3:-2, 2:-1]
    if kind == "turned":
        public = np.ascontiguousarray(public.transpose(2, 1, 0)).transpose(2, 1, 0)
    public.flags.writeable = False
    np.testing.assert_array_equal(to_inner(public), public.transpose(0, 2, 1))
    padded = np.full((shape[0], shape[2] + 3, shape[1]), -1.0, dtype=np.float32)
    to_inner(public, padded, before=1)
    np.testing.assert_array_equal(padded[:, 1:-2], public.transpose(0, 2, 1))
    assert (padded[:, [0, -2, -1]] == -1.0).all()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("scale", [1.0, 0.25])
def test_the_public_order_has_x_last_and_may_be_part_of_an_array(shape, scale):
    n_a, n_y, n_b = shape
    inner = np.random.default_rng(1).random((n_a, n_b + 3, n_y), dtype=np.float32)
    whole = np.full((n_a, n_y + 4, n_b), -1.0, dtype=np.float32)
    to_public(inner, whole[:, 2 : 2 + n_y], before=1, scale=scale)
    np.testing.assert_array_equal(
        whole[:, 2 : 2 + n_y], np.float32(scale) * inner[:, 1:-2].transpose(0, 2, 1)
    )
    assert (whole[:, [0, 1, -2, -1]] == -1.0).all()
