"""`tomo3d info`, `tomo3d io convert` and `tomo3d doctor`: files, and what is installed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from tomo3d import pipeline
from tomo3d.cli.console import out, say

_OPTIONAL = (
    "pyvista",
    "vtk",
    "trame",
    "cupy-cuda12x",
    "cupy-cuda13x",
    "dask",
    "scikit-learn",
    "rosettasciio",
)


def info(*files: Path, measured_size_nm: float | None = None) -> None:
    """Show what files are: size, voxel, angles, values, views, where each is from, and what looks wrong in them.

    Parameters
    ----------
    files
        Tilt series, volumes, labels, alignments or tables.
    measured_size_nm
        Size of what is to be measured: says whether the fringes of the defocus are too wide for it.
    """
    from tomo3d import io

    if not files:
        raise ValueError("info needs at least one file.")
    for path in files:
        found = io.inspect(path, measured_size_nm=measured_size_nm)
        rows = [
            ("kind", found.kind),
            ("size", found.size),
            ("on disk", pipeline.bytes_text(found.n_bytes)),
            ("format", found.layout),
            ("mode", found.mode),
            ("voxel" if found.kind == "volume" else "pixel", _size(found.voxel_size_nm, found.sources)),
            ("origin", _nm(found.origin_nm)),
            ("tilt angles", found.tilt_angles),
            ("tilt axis", found.tilt_axis),
            ("values", _values(found.values)),
            *((name, text + _from(found.sources.get("views", ""))) for name, text in found.views.items()),
            ("titles", "\n".join(found.titles)),
        ]
        _show(str(found.path), [(name, text) for name, text in rows if text])
        for sentence in found.suspicions:
            say(f"warning: {found.path}: {sentence.removeprefix(f'{found.path} ')}")


def convert(
    source: Path,
    target: Path,
    /,
    *,
    kind: Literal["auto", "volume", "tilt-series", "labels", "alignment", "table"] = "auto",
    pixel_size_nm: float | None = None,
    series: Path | None = None,
    dtype: Literal["int8", "uint8", "int16", "uint16", "int32", "uint32", "float16", "float32"] | None = None,
    ome_zarr: Literal["0.4", "0.5"] = "0.5",
    overwrite: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Write what a file holds into a file of another format.

    Parameters
    ----------
    source
        Tilt series, volume, labels, alignment or table.
    target
        File of the result; its ending chooses the format: .mrc .st .rec .tif .ome.tif .nrrd .zarr of images; .json
        .xf .aln .star .xml of alignments; .csv .parquet of tables.
    kind
        What the source is; auto: what it looks like, and images without angles are a volume.
    pixel_size_nm
        Pixel or voxel edge in nm, where the source does not say.
    series
        Tilt series that an alignment is for, where the format needs one.
    dtype
        Type of the values in the target.
    ome_zarr
        Version of OME-Zarr.
    overwrite
        Replace an existing target.
    """
    from tomo3d import io

    io.convert(
        source,
        target,
        kind="tilt series" if kind == "tilt-series" else kind,
        pixel_size_nm=pixel_size_nm,
        series=series,
        dtype=dtype,
        ome_zarr=ome_zarr,
        overwrite=overwrite,
    )


def doctor() -> None:
    """Show what is installed and what this machine can do."""
    from tomo3d import render
    from tomo3d.compute.backend import gpu_status

    gpu, opengl = gpu_status(), render.opengl_status()
    memory = (
        f"{pipeline.bytes_text(pipeline.total_memory())}, "
        f"{pipeline.bytes_text(pipeline.available_memory())} available"
    )
    rows = [
        *pipeline.versions().items(),
        *pipeline.installed(_OPTIONAL).items(),
        *{**pipeline.machine(), "memory": memory}.items(),
        ("GPU", _status(gpu.is_available, gpu.reason)),
        ("OpenGL", _status(opengl.is_available, opengl.reason)),
    ]
    _show("tomo3d doctor", rows)


def _show(title: str, rows: list[tuple[str, str]]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False)
    table.add_column(no_wrap=True, style="dim")
    table.add_column(overflow="fold")
    for name, text in rows:
        table.add_row(name, Text(text))  # as Text, so that brackets in a title are not markup
    out().print(Text(title, style="bold"), soft_wrap=True)  # whole, however long: to be copied
    out().print(table)


def _status(is_available: bool, reason: str) -> str:
    return f"yes: {reason}" if is_available else f"no: {reason}"


def _nm(lengths: tuple[float, ...] | None) -> str:
    if lengths is None:
        return ""
    names = ("z, y, x")[-3 * len(lengths) + 2 :]
    return f"{', '.join(f'{length:g}' for length in lengths)} nm ({names})"


def _size(lengths: tuple[float, ...] | None, sources: Mapping[str, str]) -> str:
    found = [text for name, text in sources.items() if name != "views"]
    return _nm(lengths) + _from(found[0] if found else "") if lengths else ""


def _from(source: str) -> str:
    return f" ({source})" if source else ""


def _values(values: tuple[float, float, float] | None) -> str:
    return "" if values is None else f"{values[0]:g} to {values[1]:g}, mean {values[2]:g} (sampled)"
