"""Kinds of results: which types flow between the steps and how a returned type divides into fields."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from tomo3d.pipeline._hints import hints, members

EXTENSIONS: dict[str, str] = {
    "TiltSeries": ".mrc",
    "Volume": ".mrc",
    "Labels": ".mrc",
    "Alignment": ".json",
    "Surface": ".ply",
    "SpatialGraph": ".graphml",
    "DataFrame": ".csv",
    "Figure": ".png",
    "Movie": ".gif",
    "PixelClassifier": ".skops",
}
_VOLUMES = (".mrc", ".rec", ".map", ".zarr", ".tif", ".tiff", ".nrrd")
OTHER_EXTENSIONS: dict[str, tuple[str, ...]] = {
    "TiltSeries": (".mrc", ".st", ".ali", ".preali", ".zarr", ".tif", ".tiff"),
    "Volume": _VOLUMES,
    "Labels": _VOLUMES,
    "SpatialGraph": (".graphml", ".vtp"),
    "DataFrame": (".csv", ".parquet"),
    "Movie": (".gif", ".mp4"),
}
"""All endings that a result of a kind may be given, where there is a choice."""
READERS: dict[str, str] = {
    "TiltSeries": "io.read_tilt_series",
    "Volume": "io.read_volume",
    "Labels": "io.read_labels",
    "Alignment": "io.read_alignment",
    "Surface": "io.read_surface",
    "SpatialGraph": "io.read_graph",
    "DataFrame": "io.read_table",
    "PixelClassifier": "segment.load_classifier",
}
_HOMES = ("tomo3d.types", "tomo3d.segment._classifier", "pandas", "matplotlib.figure")
_PLAIN = (bool, int, float, str, types.NoneType)


def kind_of(cls: Any) -> str | None:
    """Name of the kind that has a file of its own, or None: matplotlib and pandas stay unimported."""
    if not isinstance(cls, type):
        return None
    for base in cls.__mro__:
        home = base.__module__
        if base.__name__ in EXTENSIONS and (home in _HOMES or home.startswith("pandas.")):
            return base.__name__
    return None


def extension(cls: Any, ending: str = "") -> str:
    """Ending of the file of a result of type `cls`: what is asked for where that can hold it, else the usual."""
    kind = str(kind_of(cls))
    return ending if ending in OTHER_EXTENSIONS.get(kind, ()) else EXTENSIONS[kind]


def is_plain(annotation: Any) -> bool:
    """Whether values of this type can be written into JSON as they are."""
    for member in members(annotation):
        origin, arguments = typing.get_origin(member), typing.get_args(member)
        if origin is Literal or member in _PLAIN:
            continue
        if (origin or member) in (tuple, list, dict, Mapping, Sequence):
            if not all(is_plain(argument) for argument in arguments if argument is not Ellipsis):
                return False
            continue
        return False
    return True


def item_of(annotation: Any) -> Any:
    """The type of the items of a table of data by name, as Volume in dict[str, Volume]; None for all else."""
    for kind in members(annotation):
        arguments = typing.get_args(kind)
        if typing.get_origin(kind) in (dict, Mapping) and arguments[0] is str and kind_of(arguments[1]):
            return arguments[1]
    return None


def file_fields(cls: Any, names: Sequence[str] = ()) -> dict[str, Any] | None:
    """Type of each file that a result of type `cls` makes, by field ("" for a result that is one file).

    A table of data has the `names` as fields. None for what has no file: it is computed anew when it is needed.
    """
    if item_of(cls):
        return dict.fromkeys(names, item_of(cls))
    if kind_of(cls):
        return {"": cls}
    if not (isinstance(cls, type) and dataclasses.is_dataclass(cls)):
        return None
    known = {field.name: hints(cls)[field.name] for field in dataclasses.fields(cls) if field.init}
    if not all(kind_of(annotation) or is_plain(annotation) for annotation in known.values()):
        return None
    return {name: annotation for name, annotation in known.items() if kind_of(annotation)} or None


def result_fields(cls: Any, names: Sequence[str] = ()) -> dict[str, Any]:
    """Types that later steps may use: "" for the whole result, and each field of a result with several."""
    fields = {"": cls}
    if item_of(cls):
        return fields | dict.fromkeys(names, item_of(cls))
    if isinstance(cls, type) and dataclasses.is_dataclass(cls) and not kind_of(cls):
        fields |= {field.name: hints(cls)[field.name] for field in dataclasses.fields(cls)}
    return fields
