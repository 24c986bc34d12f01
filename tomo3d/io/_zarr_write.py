"""Writing OME-Zarr (NGFF 0.4 on Zarr format 2, 0.5 on Zarr format 3): multiscale, piece by piece.

The pieces of the finest level are read once; means of 2 x 2 x 2 voxels (labels: every second voxel) go down the
levels until the largest axis has at most 256. y is not flipped, as nowhere in Zarr. Moore et al., Histochem. Cell
Biol. 160, 223 (2023), doi:10.1007/s00418-023-02209-1; https://ngff.openmicroscopy.org.
"""

from __future__ import annotations

import contextlib
import gzip
import itertools
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tomo3d._version import __version__
from tomo3d.io._facts import UNKNOWN
from tomo3d.io._images import release
from tomo3d.io._pieces import check_finite, check_in_main_memory, converted, extremes, narrowest
from tomo3d.io._write import check_folder_output, new_folder
from tomo3d.progress import track
from tomo3d.types import Array, ArraySink, Labels, TiltSeries, Volume

_CHUNK = (32, 256, 256)  # of the finest level; of the others half of it along each axis that they halve
_PIECE = (32, 256, 1024)  # what a thread takes at once: whole chunks, also of the next level
_N_THREADS = 4
_SMALL = 256  # no axis of the coarsest level is longer
_STORED = {"b1": "i1", "f8": "f4", "i8": "i4", "u8": "u4"}  # the others are stored as they are
_COLOURS = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
)
_Block = tuple[slice, slice, slice]


@dataclass(frozen=True)
class _Image:
    """What goes into one group; `spacing` and `start` in units of the axes."""

    shape: tuple[int, int, int]
    dtype: np.dtype
    axes: list[dict[str, str]]
    spacing: tuple[float, float, float]
    start: tuple[float, float, float]
    version: str
    shrinks: tuple[bool, bool, bool] = (True, True, True)  # axes that coarser levels halve
    by_mean: bool = True
    labels: dict[str, Any] | None = None  # names and colours of classes
    facts: Mapping[str, Any] = field(default_factory=dict)  # attributes of its own


def write_zarr_volume(
    volume: Volume,
    path: str | os.PathLike[str],
    *,
    dtype: np.dtype | None,
    version: str,
    overwrite: bool,
) -> None:
    """Write a volume, not compressed: noise does not shrink, and chunks then pass as fast as a plain copy."""
    kind = np.dtype(volume.data.dtype if dtype is None else dtype).str[1:]
    image = _of_volume(volume, np.dtype("<" + _STORED.get(kind, kind)), version)
    _write(image, volume.data, path, overwrite)


def write_zarr_labels(labels: Labels, path: str | os.PathLike[str], *, version: str, overwrite: bool) -> None:
    """Write labels, compressed, with the names of their classes and colours as `image-label`."""
    check_folder_output(path, overwrite=overwrite)
    dtype = narrowest(*extremes(labels.data))
    image = _of_volume(labels, dtype, version, by_mean=False, labels=_image_label(labels))
    _write(image, labels.data, path, overwrite)


def write_zarr_series(
    series: TiltSeries,
    path: str | os.PathLike[str],
    *,
    dtype: np.dtype | None,
    version: str,
    overwrite: bool,
) -> None:
    """Write a tilt series; its angles, axis and which views are used are attributes of the group."""
    kind = np.dtype(series.images.dtype if dtype is None else dtype).str[1:]
    facts: dict[str, Any] = {"tilt_angles_deg": series.tilt_angles_deg.tolist()}
    if not series.sources.get("tilt_axis_deg", "").startswith(UNKNOWN):
        facts["tilt_axis_deg"] = float(series.tilt_axis_deg)
    if series.use is not None:
        facts["use"] = series.use.tolist()
    pixel = series.pixel_size_nm
    image = _Image(
        shape=_three(series.images.shape),
        dtype=np.dtype("<" + _STORED.get(kind, kind)),
        axes=[{"name": "tilt", "type": "tilt"}, *_space("yx")],
        spacing=(1.0, pixel, pixel),
        start=(0.0, 0.0, 0.0),
        version=version,
        shrinks=(False, True, True),
        facts=facts,
    )
    _write(image, series.images, path, overwrite)


@contextlib.contextmanager
def new_zarr_volume(
    path: str | os.PathLike[str],
    shape: tuple[int, int, int],
    *,
    voxel_size_nm: tuple[float, float, float],
    origin_nm: tuple[float, float, float] | None = None,
    overwrite: bool = False,
) -> Iterator[ArraySink]:
    """An OME-Zarr volume of float32 to be filled, slab by slab, as the `out` of a reconstruction.

    Parameters
    ----------
    path : path
        Where it will be: a folder named *.zarr.
    shape : tuple of int
        (n_z, n_y, n_x).
    voxel_size_nm : tuple of float
        (z, y, x).
    origin_nm : tuple of float, optional
        Centre of the first voxel, (z, y, x). Default: that of a reconstruction, -(n - 1) / 2 voxels.
    overwrite : bool
        True if an existing Zarr folder may be replaced.

    Yields
    ------
    ArraySink
        The finest level: `sink[:, first:last] = slab`. Coarser levels are made, and the folder gets its name, when
        the `with` block ends well; if it raises, nothing is left.

    Raises
    ------
    FileExistsError
        If the folder exists and `overwrite` is False.
    OSError
        If the folder cannot be written to or the disk is full.
    """
    size_nm = _three(voxel_size_nm)
    centred = tuple(-0.5 * (n - 1) * size for n, size in zip(shape, size_nm, strict=True))
    start = _three(centred if origin_nm is None else origin_nm)
    image = _Image(_three(shape), np.dtype("<f4"), _space("zyx"), size_nm, start, "0.5")
    with new_folder(path, _n_bytes(image), overwrite=overwrite) as folder:
        levels = _create(image, folder, Path(path).name)
        yield levels[0].array
        _coarsen(image, levels, 0)


def _of_volume(volume: Volume | Labels, dtype: np.dtype, version: str, **rest: Any) -> _Image:
    shape = _three(volume.data.shape)
    return _Image(shape, dtype, _space("zyx"), volume.voxel_size_nm, volume.origin_nm, version, **rest)


def _three(values: Any) -> tuple[Any, Any, Any]:
    a, b, c = (value.item() if isinstance(value, np.generic) else value for value in values)
    return a, b, c


def _space(names: str) -> list[dict[str, str]]:
    return [{"name": name, "type": "space", "unit": "nanometer"} for name in names]


def _image_label(labels: Labels) -> dict[str, Any]:
    named = sorted(int(value) for value in labels.names)
    shown = [value for value in named if value != 0]
    return {
        "colors": [
            {"label-value": value, "rgba": [*_COLOURS[i % len(_COLOURS)], 255]}
            for i, value in enumerate(shown)
        ],
        "properties": [{"label-value": value, "name": labels.names[value]} for value in named],
    }


def _shapes(image: _Image) -> list[tuple[int, int, int]]:
    """Shape of every level, finest first."""
    shapes = [image.shape]
    while max(n for n, shrinks in zip(shapes[-1], image.shrinks, strict=True) if shrinks) > _SMALL:
        halved = (
            (n + 1) // 2 if shrinks else n for n, shrinks in zip(shapes[-1], image.shrinks, strict=True)
        )
        shapes.append(_three(tuple(halved)))
    return shapes


def _n_bytes(image: _Image) -> int:
    return sum(math.prod(shape) for shape in _shapes(image)) * image.dtype.itemsize if image.by_mean else 0


def _write(image: _Image, values: Array, path: str | os.PathLike[str], overwrite: bool) -> None:
    check_in_main_memory(values)
    with new_folder(path, _n_bytes(image), overwrite=overwrite) as folder:
        levels = _create(image, folder, Path(path).name)
        _fill(image, values, levels[:2], Path(path).name)
        _coarsen(image, levels, 1)


def _coarsen(image: _Image, levels: list[_Level], first: int) -> None:
    """Make every level after the first from the one before."""
    for i in range(first, len(levels) - 1):
        _fill(image, levels[i].array, [None, levels[i + 1]], f"level {i + 1}")


def _fill(image: _Image, values: Array, levels: Sequence[_Level | None], name: str) -> None:
    """Write values into a level, where there is one, and their means into the next, a few pieces at a time."""
    fine, coarse = [*levels, None][:2]

    def work(block: _Block) -> None:
        piece = _ready(np.asarray(values[block]), image.dtype, block[0].start)
        if fine is not None:
            fine.put(block, piece)
        if coarse is not None:
            means = _coarser(piece, image)
            coarse.put(_halved(block, image), means)
            is_sound = means.dtype.kind != "f" or math.isfinite(float(means.sum(dtype=np.float64)))
        if coarse is None or not is_sound:
            check_finite(piece, block[0].start)
        release(values)

    blocks = list(_blocks(values.shape))
    with ThreadPoolExecutor(_N_THREADS) as pool:
        try:
            for _ in track(pool.map(work, blocks), f"writing {name}", len(blocks)):
                pass
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _ready(piece: np.ndarray, dtype: np.dtype, start: int) -> np.ndarray:
    """The piece in the type of the file; floats of that type are checked later, by their means."""
    return piece if piece.dtype == dtype else converted(piece, dtype, start)


@dataclass(frozen=True)
class _Level:
    """An array of the group; its chunks are written here, as the plain or packed files that they are."""

    array: Any
    folder: Path
    is_packed: bool
    key: str  # of a chunk, with a slash behind it

    def put(self, block: _Block, piece: np.ndarray) -> None:
        """Write a piece of whole chunks."""
        chunk = self.array.chunks
        whole = np.zeros(chunk, piece.dtype)
        for start in itertools.product(*(range(0, n, c) for n, c in zip(piece.shape, chunk, strict=True))):
            part = piece[tuple(slice(first, first + c) for first, c in zip(start, chunk, strict=True))]
            if part.shape != chunk:
                whole[:] = 0
            whole[tuple(slice(n) for n in part.shape)] = part
            place = [(s.start + first) // c for s, first, c in zip(block, start, chunk, strict=True)]
            file = self.folder / f"{self.key}{place[0]}/{place[1]}/{place[2]}"
            file.parent.mkdir(parents=True, exist_ok=True)
            with open(file, "wb", buffering=0) as stream:
                # without a time, so that the same labels make the same file
                view = (
                    memoryview(gzip.compress(whole.data, 1, mtime=0))
                    if self.is_packed
                    else whole.data.cast("B")
                )
                while view:
                    view = view[stream.write(view) :]
                os.fsync(stream.fileno())  # now, while other threads compute


def _create(image: _Image, folder: Path, name: str) -> list[_Level]:
    """The group with its metadata and the arrays of all its levels, empty."""
    import zarr

    is_v2 = image.version == "0.4"
    group = zarr.create_group(folder, zarr_format=2 if is_v2 else 3, attributes=_attributes(image, name))
    levels = []
    for i, shape in enumerate(_shapes(image)):
        chunk = (
            _CHUNK
            if i == 0
            else tuple(c // 2 if s else c for c, s in zip(_CHUNK, image.shrinks, strict=True))
        )
        array = group.create_array(
            str(i),
            shape=shape,
            dtype=image.dtype,
            chunks=tuple(min(c, n) for c, n in zip(chunk, shape, strict=True)),
            fill_value=0,
            chunk_key_encoding={"name": "v2" if is_v2 else "default", "separator": "/"},
            dimension_names=None if is_v2 else [axis["name"] for axis in image.axes],
            compressors=None if image.by_mean else _gzip(is_v2),
            config={"write_empty_chunks": True},  # what is missing is damage, not zeros
        )
        levels.append(_Level(array, folder / str(i), not image.by_mean, "" if is_v2 else "c/"))
    return levels


def _gzip(is_v2: bool) -> Any:
    """What packs labels; at most 1000 to 1, so that a reader knows what to expect of so many bytes."""
    import numcodecs
    from zarr.codecs import GzipCodec

    return numcodecs.GZip(level=1) if is_v2 else GzipCodec(level=1)


def _attributes(image: _Image, name: str) -> dict[str, Any]:
    datasets = []
    spacing, start = np.array(image.spacing), np.array(image.start)
    for i in range(len(_shapes(image))):
        transformations = [
            {"type": "scale", "scale": spacing.tolist()},
            {"type": "translation", "translation": start.tolist()},
        ]
        datasets.append({"path": str(i), "coordinateTransformations": transformations})
        if image.by_mean:  # the centre of two voxels lies half a voxel behind that of the first
            start = start + 0.5 * spacing * image.shrinks
        spacing = spacing * np.where(image.shrinks, 2, 1)
    multiscale = {
        "name": name.removesuffix(".zarr").removesuffix(".ome"),
        "axes": image.axes,
        "datasets": datasets,
        "type": "mean of 2 along each axis" if image.by_mean else "every second along each axis",
    }
    own = {"written_by": f"tomo3d {__version__}", "y_up": True, **image.facts}
    labels = {} if image.labels is None else {"image-label": image.labels}
    if image.version == "0.4":
        for label in labels.values():
            label["version"] = "0.4"
        return {"multiscales": [{"version": "0.4", **multiscale}], **labels, **own}
    return {"ome": {"version": "0.5", "multiscales": [multiscale], **labels}, **own}


def _blocks(shape: tuple[int, int, int]) -> Iterator[_Block]:
    """Pieces of whole chunks; each has an even number of voxels along every axis, but at the far end."""
    for first in itertools.product(*(range(0, n, step) for n, step in zip(shape, _PIECE, strict=True))):
        yield _three(
            slice(start, min(start + step, n)) for start, step, n in zip(first, _PIECE, shape, strict=True)
        )


def _halved(block: _Block, image: _Image) -> _Block:
    """Where a block lies in the next level."""
    return _three(
        slice(s.start // 2, (s.stop + 1) // 2) if shrinks else s
        for s, shrinks in zip(block, image.shrinks, strict=True)
    )


def _coarser(piece: np.ndarray, image: _Image) -> np.ndarray:
    """Means of two along each axis (the last of an odd number stays itself), or every second value."""
    if not image.by_mean:
        return piece[tuple(slice(None, None, 2 if shrinks else 1) for shrinks in image.shrinks)]
    step = 2 if image.shrinks[0] else 1
    shape = _halved(_three(slice(0, n) for n in piece.shape), image)
    means = np.empty([s.stop for s in shape], image.dtype)
    for i in range(len(means)):  # plane by plane, so that what is added is still in the cache
        planes = piece[step * i : step * (i + 1)]
        plane = _pair_means(planes, 0)[0] if len(planes) == 2 else planes[0]
        for axis in (0, 1):
            if image.shrinks[axis + 1]:
                plane = _pair_means(plane, axis)
        means[i] = plane if image.dtype.kind == "f" else np.rint(plane)
    return means


def _pair_means(values: np.ndarray, axis: int) -> np.ndarray:
    """Means of neighbours along an axis, float32; the last of an odd number stays itself."""
    n = values.shape[axis]
    before = (slice(None),) * axis
    first, second = values[(*before, slice(0, n - n % 2, 2))], values[(*before, slice(1, None, 2))]
    means = np.add(first, second, dtype=np.float32)
    means *= np.float32(0.5)
    if n % 2:
        return np.concatenate([means, values[(*before, slice(n - 1, None))]], axis=axis, dtype=np.float32)
    return means
