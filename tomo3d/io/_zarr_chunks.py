"""Chunks of a Zarr array, looked at before their decoders believe them: what they unpack to must be a chunk.

Blosc, LZ4 and Zstandard say so at the beginning (a Zstandard stream that does not is counted block by block, of at most
128 KiB each: RFC 8878, 3.1.1). What gzip, zlib, bzip2 and LZMA come to is only known by unpacking, which stops where a
chunk is full. In shards every inner chunk is looked at, by the index of the shard.
"""

from __future__ import annotations

import bz2
import lzma
import math
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tomo3d.errors import FormatError

_FREE_BYTES = 64 << 20  # what a chunk may unpack to without being looked at
_BLOSC = struct.Struct("<4B3I")  # versions, flags, size of an element; bytes, of a block, stored
_ZSTD_MAGIC, _SKIPPABLE = 0xFD2FB528, range(0x184D2A50, 0x184D2A60)
_ZSTD_BLOCK = 128 << 10
_METADATA = ("zarr.json", ".zattrs", ".zgroup", ".zarray")
_SAME_SIZE = (
    "bytes",
    "transpose",
    "crc32c",
    "shuffle",
)  # codecs that leave the number of bytes as it is, or nearly
_EMPTY = 2**64 - 1


class _Unreadable(Exception):  # caught here, and said with the name of the chunk
    """A chunk is not what its codec wants."""


def check_chunks(folder: Path, array: Path, metadata: Mapping[str, Any], chunk_bytes: int) -> None:
    """Raise FormatError if a chunk of an array unpacks to another size than it should, before it is unpacked."""
    codecs = metadata.get("codecs") or [metadata.get("compressor") or {}, *(metadata.get("filters") or [])]
    by_name = {str(codec.get("name", codec.get("id"))): codec.get("configuration", codec) for codec in codecs}
    shard = by_name.get("sharding_indexed")
    size = chunk_bytes
    if shard is not None:
        outer, inner = metadata["chunk_grid"]["configuration"]["chunk_shape"], shard["chunk_shape"]
        size = chunk_bytes // math.prod(outer) * math.prod(inner)
        by_name = {str(codec["name"]): codec.get("configuration", {}) for codec in shard["codecs"]}
    names = [name.removeprefix("numcodecs.") for name in by_name if name not in (*_SAME_SIZE, "None")]
    if len(names) != 1 or names[0] not in _UNPACKED:  # packed twice, or by what zarr must know itself
        return
    for path in array.rglob("*"):
        if path.name in _METADATA or not path.is_file():
            continue
        try:
            content = path.read_bytes()
            n_inner = math.prod(-(-n // m) for n, m in zip(outer, inner, strict=True)) if shard else 0
            for part in _inner(content, n_inner, shard) if shard else (content,):
                _UNPACKED[names[0]](part, size)
        except (
            _Unreadable,
            struct.error,
            zlib.error,
            lzma.LZMAError,
            OSError,
            EOFError,
            ValueError,
        ) as error:
            raise FormatError(
                f"{folder} must hold whole chunks, but {path.relative_to(array)} is not the {size:,} bytes of one, "
                f"packed by {names[0]} ({error}): it is cut short or damaged."
            ) from error


def _inner(content: bytes, n_chunks: int, shard: Mapping[str, Any]) -> Iterator[memoryview]:
    """The chunks in a shard, by its index of offsets and sizes (Zarr's codec sharding_indexed, 1.0)."""
    names = [codec.get("name") for codec in shard.get("index_codecs", ())]
    if [name for name in names if name not in ("bytes", "crc32c")]:
        return
    n_bytes = 16 * n_chunks
    end = len(content) - (4 if "crc32c" in names else 0)
    at = 0 if shard.get("index_location") == "start" else end - n_bytes
    if at < 0:
        raise _Unreadable("it has no room for its index")
    index = struct.unpack_from(f"<{2 * n_chunks}Q", content, at)
    for start, n in zip(index[::2], index[1::2], strict=True):
        if start == _EMPTY and n == _EMPTY:
            continue
        if start + n > len(content):
            raise _Unreadable("its index leads beyond its end")
        yield memoryview(content)[start : start + n]


def _blosc(part: bytes | memoryview, size: int) -> None:
    _, _, _, element, n_bytes, block, stored = _BLOSC.unpack_from(part)
    if (n_bytes, stored) != (size, len(part)) or not (0 < block <= n_bytes and element):
        raise _Unreadable(f"its header says {n_bytes:,}")


def _lz4(part: bytes | memoryview, size: int) -> None:
    if struct.unpack_from("<i", part)[0] != size:
        raise _Unreadable(f"its header says {struct.unpack_from('<i', part)[0]:,}")


def _zstd(part: bytes | memoryview, size: int) -> None:
    """Sizes that all frames state, or else the most that their blocks can hold."""
    at, stated, most = 0, 0, 0
    while at < len(part):
        (magic,) = struct.unpack_from("<I", part, at)
        if magic in _SKIPPABLE:
            at += 8 + struct.unpack_from("<I", part, at + 4)[0]
            continue
        if magic != _ZSTD_MAGIC:
            raise _Unreadable("it has no frame of Zstandard")
        flags = part[at + 4]
        is_single = bool(flags & 32)
        at += 5 + (not is_single) + (0, 1, 2, 4)[flags & 3]
        width = (int(is_single), 2, 4, 8)[flags >> 6]
        said = int.from_bytes(part[at : at + width], "little") + (256 if width == 2 else 0) if width else None
        at, held = _zstd_blocks(part, at + width)
        at += 4 if flags & 4 else 0
        stated, most = stated + (held if said is None else said), most + held
    if min(stated, most) > max(size, _FREE_BYTES) or (stated < size and stated < most):
        raise _Unreadable(f"its frames say {stated:,}")


def _zstd_blocks(part: bytes | memoryview, at: int) -> tuple[int, int]:
    """Where the blocks of a frame end, and the most bytes that they unpack to."""
    held, is_last = 0, False
    while not is_last:
        if at + 3 > len(part):
            raise _Unreadable("its blocks lead beyond its end")
        head = int.from_bytes(part[at : at + 3], "little")
        is_last, kind, n = bool(head & 1), head >> 1 & 3, head >> 3
        at += 3 + (1 if kind == 1 else n)  # one byte that is repeated, or n of them
        held += _ZSTD_BLOCK if kind == 2 else n
    return at, held


def _by_unpacking(make: Callable[[], Any], ratio: int) -> Callable[[bytes | memoryview, int], None]:
    """Unpacks until a chunk is full, where the packed bytes might hold far more."""

    def check(part: bytes | memoryview, size: int) -> None:
        if ratio * len(part) <= max(size, _FREE_BYTES):
            return
        unpacked, left = 0, bytes(part)
        while left and unpacked <= size:
            decoder = make()
            unpacked += len(decoder.decompress(left, size + 1 - unpacked))
            left = decoder.unused_data if decoder.eof else b""
        if unpacked > size:
            raise _Unreadable("it unpacks to more")

    return check


_UNPACKED: dict[str, Callable[[bytes | memoryview, int], None]] = {
    "blosc": _blosc,
    "lz4": _lz4,
    "zstd": _zstd,
    "gzip": _by_unpacking(lambda: zlib.decompressobj(31), 1040),
    "zlib": _by_unpacking(lambda: zlib.decompressobj(15), 1040),
    "bz2": _by_unpacking(bz2.BZ2Decompressor, 1 << 30),
    "lzma": _by_unpacking(lzma.LZMADecompressor, 1 << 30),
}
