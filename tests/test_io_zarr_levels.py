"""Chunks of OME-Zarr: many pieces, levels and threads give what one thought would; disks that want their cache, too."""

import errno
import itertools
import os

import numpy as np
import pytest
import zarr

from tomo3d import Labels, Volume, io
from tomo3d.io import _direct, _zarr_levels, _zarr_write

SHAPE = (19, 37, 83)  # odd, and no multiple of a chunk along any axis


@pytest.fixture
def small_pieces(monkeypatch):
    """Several pieces of several chunks along every axis of a small volume, and five levels."""
    monkeypatch.setattr(_zarr_levels, "_PIECE", (8, 16, 32))
    monkeypatch.setattr(_zarr_write, "CHUNK", (8, 16, 16))
    monkeypatch.setattr(_zarr_write, "_SLAB_CHUNK", (8, 8, 16))
    monkeypatch.setattr(_zarr_levels, "_SMALL", 8)


def _below(fine, *, by_mean):
    """The level below, the plain way: means of 2 x 2 x 2, the last of an odd number with itself."""
    if not by_mean:
        return fine[::2, ::2, ::2]
    padded = np.pad(fine.astype(float), [(0, n % 2) for n in fine.shape], mode="edge")
    n_z, n_y, n_x = (n // 2 for n in padded.shape)
    return padded.reshape(n_z, 2, n_y, 2, n_x, 2).mean(axis=(1, 3, 5))


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("kind", ["volume", "labels"])
def test_every_level_is_made_from_the_one_before(tmp_path, small_pieces, version, kind):
    rng = np.random.default_rng(0)
    if kind == "volume":
        data = rng.random(SHAPE, dtype=np.float32)
        io.write_volume(Volume(data, (2, 2, 2)), tmp_path / "v.zarr", ome_zarr=version)
    else:
        data = rng.integers(0, 5, SHAPE).astype("u1")
        io.write_labels(Labels(data, (2, 2, 2)), tmp_path / "v.zarr", ome_zarr=version)
    group = zarr.open_group(tmp_path / "v.zarr", mode="r")
    levels = [group[str(i)][:] for i in range(5)]
    assert [level.shape for level in levels] == [SHAPE, (10, 19, 42), (5, 10, 21), (3, 5, 11), (2, 3, 6)]
    np.testing.assert_array_equal(levels[0], data)
    for fine, coarse in itertools.pairwise(levels):
        np.testing.assert_allclose(coarse, _below(fine, by_mean=kind == "volume"), rtol=1e-6)


def test_what_was_never_filled_is_zero_on_every_level(tmp_path, small_pieces):
    with io.new_zarr_volume(tmp_path / "v.zarr", SHAPE, voxel_size_nm=(1, 1, 1)) as sink:
        sink[:, :16] = 8.0  # whole chunks: those behind them have no file
    group = zarr.open_group(tmp_path / "v.zarr", mode="r")
    assert group["2"][:, :4].min() == group["2"][:, :4].max() == 8.0
    assert not group["2"][:, 4:].any()


@pytest.mark.parametrize("refused_by", ["open", "write"])
def test_a_disk_that_wants_its_cache_gets_the_same_bytes(tmp_path, monkeypatch, refused_by):
    """Some file systems refuse O_DIRECT, either when a file is opened or when it is written."""
    if not _direct._FLAG:
        pytest.skip("this system has no O_DIRECT")
    direct, real = [], {name: getattr(os, name) for name in ("open", "write")}

    def refusing_open(path, flags, *rest, **options):
        if flags & _direct._FLAG and refused_by == "open":
            direct.append("open")
            raise OSError(errno.EINVAL, "not here")
        descriptor = real["open"](path, flags, *rest, **options)
        if flags & _direct._FLAG:
            direct.append(descriptor)
        return descriptor

    def refusing_write(descriptor, data):
        if descriptor in direct:
            direct.remove(descriptor)
            direct.append("write")
            raise OSError(errno.EINVAL, "not here")
        return real["write"](descriptor, data)

    data = np.arange(4096, dtype=np.uint8).reshape(2, 32, 64)
    array = _direct.aligned(data.shape, data.dtype)
    array[:] = data
    monkeypatch.setattr(os, "open", refusing_open)
    monkeypatch.setattr(os, "write", refusing_write)
    _direct.write_through(tmp_path / "a", array.data.cast("B"), past_cache=True)
    assert direct == [refused_by]
    assert (tmp_path / "a").read_bytes() == data.tobytes()
