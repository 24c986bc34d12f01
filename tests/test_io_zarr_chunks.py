"""Chunks of Zarr that other programs packed: read where they are whole, refused before a bomb is unpacked."""

import bz2
import gzip
import json
import lzma
import zlib

import numcodecs
import numpy as np
import pytest
import zarr
from zarr import codecs

from tomo3d import FormatError, io

SHAPE, CHUNK = (6, 20, 30), (4, 10, 30)
DATA = (np.random.default_rng(0).random(SHAPE) * 9).astype("f4")
CODECS = {
    "zstd": codecs.ZstdCodec(level=3),
    "zstd with checksum": codecs.ZstdCodec(level=3, checksum=True),
    "gzip": codecs.GzipCodec(),
    "blosc": codecs.BloscCodec(),
}
OLD = {"lz4": numcodecs.LZ4(), "zlib": numcodecs.Zlib(), "bz2": numcodecs.BZ2(), "lzma": numcodecs.LZMA(),
       "zstd": numcodecs.Zstd(), "gzip": numcodecs.GZip(), "blosc": numcodecs.Blosc()}  # fmt: skip
ZEROS = bytes(80 << 20)


def a_chunk(folder):
    return next(
        p
        for p in sorted(folder.rglob("*"))
        if p.is_file() and p.name not in ("zarr.json", ".zarray", ".zattrs")
    )


def make(folder, packer, *, is_old=False, is_sharded=False):
    zarr.create_array(
        str(folder), data=DATA, chunks=(2, 5, 10) if is_sharded else CHUNK, shards=CHUNK if is_sharded else None,
        compressors=packer, zarr_format=2 if is_old else 3,
    )  # fmt: skip


@pytest.mark.parametrize("is_sharded", [False, True])
@pytest.mark.parametrize("name", CODECS)
def test_what_zarr_packs_is_read(tmp_path, name, is_sharded):
    make(tmp_path / "a.zarr", CODECS[name], is_sharded=is_sharded)
    np.testing.assert_array_equal(io.read_volume(tmp_path / "a.zarr", voxel_size_nm=1).data, DATA)


@pytest.mark.parametrize("name", OLD)
def test_what_zarr_2_packs_is_read(tmp_path, name):
    make(tmp_path / "a.zarr", OLD[name], is_old=True)
    np.testing.assert_array_equal(io.read_volume(tmp_path / "a.zarr", voxel_size_nm=1).data, DATA)


def test_a_stream_of_zstandard_that_does_not_say_its_size_is_read(tmp_path):
    """As some writers make them; one block that is not packed, without the size in its header."""
    make(tmp_path / "a.zarr", codecs.ZstdCodec())
    raw = np.zeros(CHUNK, "f4").tobytes()
    head = (0xFD2FB528).to_bytes(4, "little") + bytes([0, 0x38])
    a_chunk(tmp_path / "a.zarr").write_bytes(head + (len(raw) << 3 | 1).to_bytes(3, "little") + raw)
    assert not io.read_volume(tmp_path / "a.zarr", voxel_size_nm=1).data[:4, :10].any()


BOMBS = {
    "zstd": lambda: numcodecs.Zstd().encode(ZEROS),
    "zstd without its size": lambda: b"".join(  # 640 blocks of one byte, 128 KiB times, and one of nothing
        [(0xFD2FB528).to_bytes(4, "little"), b"\0\x38", 640 * (b"\2\0\x10" + b"\0"), b"\1\0\0"]
    ),
    "gzip": lambda: gzip.compress(ZEROS, 1),
    "gzip of many members": lambda: 80 * gzip.compress(bytes(1 << 20), 1),
    "zlib": lambda: zlib.compress(ZEROS, 1),
    "bz2": lambda: bz2.compress(ZEROS, 1),
    "lzma": lambda: lzma.compress(ZEROS, preset=0),
    "lz4": lambda: numcodecs.LZ4().encode(ZEROS),
    "blosc": lambda: numcodecs.Blosc().encode(ZEROS),
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path, name, monkeypatch):
    make(tmp_path / "a.zarr", OLD[name.split()[0]], is_old=True)
    a_chunk(tmp_path / "a.zarr").write_bytes(BOMBS[name]())
    monkeypatch.setattr(zarr, "open_array", lambda *_, **__: pytest.fail("zarr was asked to unpack it"))
    with pytest.raises(FormatError, match=f"is not the 4,800 bytes of one, packed by {name.split()[0]}"):
        io.read_volume(tmp_path / "a.zarr", voxel_size_nm=1)


@pytest.mark.parametrize("name", ["zstd", "blosc"])
def test_a_bomb_in_a_shard_is_refused(tmp_path, name, monkeypatch):
    make(tmp_path / "a.zarr", CODECS[name], is_sharded=True)
    shard = a_chunk(tmp_path / "a.zarr")
    content, bomb = shard.read_bytes(), BOMBS[name]()
    index = np.frombuffer(content[-4 - 16 * 12 : -4], "<u8").reshape(12, 2).copy()
    index[5] = 0, len(bomb)
    index[[i for i in range(12) if i != 5], 0] += len(bomb)
    packed = index.tobytes()
    shard.write_bytes(bomb + content[: -4 - 16 * 12] + packed + bytes(numcodecs.CRC32C().encode(packed))[:4])
    monkeypatch.setattr(zarr, "open_array", lambda *_, **__: pytest.fail("zarr was asked to unpack it"))
    with pytest.raises(FormatError, match=f"is not the 400 bytes of one, packed by {name}"):
        io.read_volume(tmp_path / "a.zarr", voxel_size_nm=1)


def test_a_shard_whose_index_leads_beyond_its_end_is_refused(tmp_path):
    make(tmp_path / "a.zarr", CODECS["zstd"], is_sharded=True)
    shard = a_chunk(tmp_path / "a.zarr")
    shard.write_bytes(shard.read_bytes()[: -4 - 16 * 12] + bytes(15) + b"\x10" + bytes(16 * 11 + 4))
    with pytest.raises(FormatError, match="its index leads beyond its end"):
        io.read_volume(tmp_path / "a.zarr", voxel_size_nm=1)
    assert (
        json.loads((tmp_path / "a.zarr" / "zarr.json").read_text())["codecs"][0]["name"] == "sharding_indexed"
    )
