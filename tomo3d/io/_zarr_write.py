"""Writing OME-Zarr (NGFF 0.4 on Zarr format 2, 0.5 on Zarr format 3): multiscale, piece by piece.

y is not flipped, as nowhere in Zarr. Moore et al., Histochem. Cell Biol. 160, 223 (2023),
doi:10.1007/s00418-023-02209-1; https://ngff.openmicroscopy.org.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tomo3d._version import __version__
from tomo3d.io._facts import UNKNOWN
from tomo3d.io._pieces import check_in_main_memory, extremes, narrowest
from tomo3d.io._write import check_folder_output, new_folder
from tomo3d.io._zarr_levels import CHUNK, Layout, Level, coarsen, three, write_levels
from tomo3d.types import Array, ArraySink, Labels, TiltSeries, Volume

_SLAB_CHUNK = (32, 64, 256)  # of a volume that comes in slabs of 64 rows: none is written twice
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
    layout = _of_volume(volume, np.dtype("<" + _STORED.get(kind, kind)), version)
    _write(layout, volume.data, path, overwrite)


def write_zarr_labels(labels: Labels, path: str | os.PathLike[str], *, version: str, overwrite: bool) -> None:
    """Write labels, compressed, with the names of their classes and colours as `image-label`."""
    check_folder_output(path, overwrite=overwrite)
    dtype = narrowest(*extremes(labels.data))
    layout = _of_volume(labels, dtype, version, by_mean=False, labels=_image_label(labels))
    _write(layout, labels.data, path, overwrite)


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
    layout = Layout(
        shape=three(series.images.shape),
        dtype=np.dtype("<" + _STORED.get(kind, kind)),
        axes=[{"name": "tilt", "type": "tilt"}, *_space("yx")],
        spacing=(1.0, pixel, pixel),
        start=(0.0, 0.0, 0.0),
        version=version,
        shrinks=(False, True, True),
        facts=facts,
    )
    _write(layout, series.images, path, overwrite)


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
    size_nm = three(voxel_size_nm)
    centred = tuple(-0.5 * (n - 1) * size for n, size in zip(shape, size_nm, strict=True))
    start = three(centred if origin_nm is None else origin_nm)
    layout = Layout(three(shape), np.dtype("<f4"), _space("zyx"), size_nm, start, "0.5")
    with new_folder(path, layout.n_bytes, overwrite=overwrite) as folder:
        levels = _create(layout, folder, Path(path).name, _SLAB_CHUNK)
        yield levels[0].array
        coarsen(layout, levels, 0)


def _of_volume(volume: Volume | Labels, dtype: np.dtype, version: str, **rest: Any) -> Layout:
    shape = three(volume.data.shape)
    return Layout(shape, dtype, _space("zyx"), volume.voxel_size_nm, volume.origin_nm, version, **rest)


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


def _write(layout: Layout, values: Array, path: str | os.PathLike[str], overwrite: bool) -> None:
    check_in_main_memory(values)
    with new_folder(path, layout.n_bytes, overwrite=overwrite) as folder:
        write_levels(layout, values, _create(layout, folder, Path(path).name), Path(path).name)


def _create(
    layout: Layout, folder: Path, name: str, finest: tuple[int, int, int] | None = None
) -> list[Level]:
    """The group with its metadata and the arrays of all its levels, empty."""
    import zarr

    is_v2 = layout.version == "0.4"
    group = zarr.create_group(folder, zarr_format=2 if is_v2 else 3, attributes=_attributes(layout, name))
    levels = []
    for i, shape in enumerate(layout.shapes):
        chunk = (
            finest or CHUNK
            if i == 0
            else tuple(c // 2 if s else c for c, s in zip(CHUNK, layout.shrinks, strict=True))
        )
        array = group.create_array(
            str(i),
            shape=shape,
            dtype=layout.dtype,
            chunks=tuple(min(c, n) for c, n in zip(chunk, shape, strict=True)),
            fill_value=0,
            chunk_key_encoding={"name": "v2" if is_v2 else "default", "separator": "/"},
            dimension_names=None if is_v2 else [axis["name"] for axis in layout.axes],
            compressors=None if layout.by_mean else _gzip(is_v2),
            config={"write_empty_chunks": True},  # what is missing is damage, not zeros
        )
        key = "" if is_v2 else "c/"
        levels.append(Level(array, folder / str(i), not layout.by_mean, key, is_read_again=i > 0))
    return levels


def _gzip(is_v2: bool) -> Any:
    """What packs labels; at most 1000 to 1, so that a reader knows what to expect of so many bytes."""
    import numcodecs
    from zarr.codecs import GzipCodec

    return numcodecs.GZip(level=1) if is_v2 else GzipCodec(level=1)


def _attributes(layout: Layout, name: str) -> dict[str, Any]:
    datasets = []
    spacing, start = np.array(layout.spacing), np.array(layout.start)
    for i in range(len(layout.shapes)):
        transformations = [
            {"type": "scale", "scale": spacing.tolist()},
            {"type": "translation", "translation": start.tolist()},
        ]
        datasets.append({"path": str(i), "coordinateTransformations": transformations})
        if layout.by_mean:  # the centre of two voxels lies half a voxel behind that of the first
            start = start + 0.5 * spacing * layout.shrinks
        spacing = spacing * np.where(layout.shrinks, 2, 1)
    multiscale = {
        "name": name.removesuffix(".zarr").removesuffix(".ome"),
        "axes": layout.axes,
        "datasets": datasets,
        "type": "mean of 2 along each axis" if layout.by_mean else "every second along each axis",
    }
    own = {"written_by": f"tomo3d {__version__}", "y_up": True, **layout.facts}
    labels = {} if layout.labels is None else {"image-label": layout.labels}
    if layout.version == "0.4":
        for label in labels.values():
            label["version"] = "0.4"
        return {"multiscales": [{"version": "0.4", **multiscale}], **labels, **own}
    return {"ome": {"version": "0.5", "multiscales": [multiscale], **labels}, **own}
