"""Results and the files that keep them: writing, reading back exactly, checksums, provenance files.

What a file format has no place for (the record of a volume, the names of classes, the exact voxel
size where a header rounds it) stands in the provenance file OUTPUT.json and is merged when the
output is read back.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io as streams
import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from tomo3d.pipeline._catalogue import resolve
from tomo3d.pipeline._json import decode, dumps, encode
from tomo3d.pipeline._kinds import READERS, kind_of
from tomo3d.progress import report

FIGURE_DPI = 200
_CHUNK = 1 << 24
_STATE: dict[str, tuple[str, ...]] = {
    "TiltSeries": ("tilt_angles_deg", "pixel_size_nm", "tilt_axis_deg", "use", "views", "sources"),
    "Volume": ("voxel_size_nm", "origin_nm", "record"),
    "Labels": ("voxel_size_nm", "origin_nm", "record", "names"),
}
_log = logging.getLogger(__name__)


def write_result(value: Any, path: Path, *, overwrite: bool = False) -> dict[str, Any]:
    """Write a result into its file; returns what the file has no place for, for its provenance.

    Raises
    ------
    FileExistsError
        If the file exists and `overwrite` is false.
    """
    from tomo3d import io

    kind = kind_of(type(value))
    writers: dict[str | None, Callable[..., Any]] = {
        "TiltSeries": io.write_tilt_series,
        "Volume": io.write_volume,
        "Labels": io.write_labels,
        "Alignment": io.write_alignment,
        "Surface": io.write_surface,
        "SpatialGraph": io.write_graph,
        "DataFrame": io.write_table,
    }
    if kind == "Figure":
        picture = streams.BytesIO()
        value.savefig(picture, format="png", dpi=FIGURE_DPI)
        io.write_bytes(picture.getvalue(), path, overwrite=overwrite)
    elif kind == "Movie":
        from tomo3d import render

        movie = render.encode_movie(value, format=path.suffix[1:].lower())
        io.write_bytes(movie, path, overwrite=overwrite)
    elif kind == "PixelClassifier":
        from tomo3d import segment

        segment.save_classifier(value, path, overwrite=overwrite)
    else:
        writers[kind](value, path, overwrite=overwrite)
    return state_of(value)


def read_result(cls: Any, path: Path) -> Any:
    """Read a file that a step of this run wrote, or whose checksum was compared, with its provenance."""
    value = resolve(READERS[str(kind_of(cls))])(path)
    known = read_provenance(path)
    return _restore(value, str(kind_of(cls)), known["state"]) if known else value


def with_provenance(value: Any, path: Path, said: Iterable[str] = ()) -> Any:
    """What was read from any file, with what its provenance knows beyond it (all facts but those in `said`).

    Provenance is believed only if the file is the very one that it was written for.
    """
    kind = kind_of(type(value))
    known = finished_provenance(path)
    if kind is None or known is None:
        return value
    return _restore(value, kind, {name: fact for name, fact in known["state"].items() if name not in said})


def finished_provenance(path: Path) -> dict[str, Any] | None:
    """The provenance of a file, if there is one and the file is unchanged since."""
    known = read_provenance(path)
    if not known or not known.get("state") or known.get("bytes") != size_of(path):
        return None
    return known if known.get("sha256") == checksum(path) else None


def now() -> str:
    """Time of day for the record, in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def place_of(path: Path) -> Path:
    """The file of an input that names a data set in it, as FILE::/DATASET; the input itself of all others."""
    return Path(str(path).partition("::")[0])


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    if path.is_dir():
        return sum(
            item.lstat().st_size for item in path.rglob("*") if item.is_file() and not item.is_symlink()
        )
    return path.stat().st_size


def checksum(path: Path) -> str:
    """SHA-256 of a file, streamed; of a folder, as of a Zarr store, that of the names and checksums of its files."""
    if path.is_dir():
        files = sorted(item for item in path.rglob("*") if item.is_file() and not item.is_symlink())
        lines = "".join(f"{item.relative_to(path).as_posix()} {checksum(item)}\n" for item in files)
        return hashlib.sha256(lines.encode()).hexdigest()
    size = path.stat().st_size
    digest = hashlib.sha256()
    n_done = 0
    with path.open("rb") as stream:
        while block := stream.read(_CHUNK):
            digest.update(block)
            n_done += len(block)
            if size > _CHUNK:
                report(f"checksum of {path.name}", n_done, size)
    return digest.hexdigest()


def describe_file(path: Path) -> dict[str, Any]:
    """Name, size and checksum of an input, for provenance."""
    path = place_of(path)
    described = {"file": str(path.resolve()), "bytes": size_of(path), "sha256": checksum(path)}
    known = read_provenance(path)
    if known and known.get("sha256") == described["sha256"]:
        described["fingerprint"] = known["fingerprint"]  # of the run that made it
    return described


def provenance_path(output: Path) -> Path:
    """OUTPUT.json: the full name of the output and `.json`."""
    return output.with_name(output.name + ".json")


def read_provenance(output: Path) -> dict[str, Any] | None:
    """The provenance beside an output; None where there is none of ours."""
    path = provenance_path(output)
    try:
        content = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError:  # something else that happens to bear the name
        return None
    return content if isinstance(content, dict) and "fingerprint" in content else None


def write_provenance(output: Path, content: Mapping[str, Any]) -> None:
    """Write (or replace) the provenance of an output."""
    from tomo3d import io

    io.write_bytes(dumps(encode(content)), provenance_path(output), overwrite=True)


@contextlib.contextmanager
def provenance_undone(output: Path) -> Iterator[None]:
    """Put the provenance of an output back to what it was if the block raises."""
    from tomo3d import io

    path = provenance_path(output)
    before = path.read_bytes() if path.is_file() else None
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):  # a full disk, say: none is better than a wrong one
            if before is None or path.read_bytes() != before:
                path.unlink()
                if before is not None:
                    io.write_bytes(before, path)
        raise


def state_of(value: Any) -> dict[str, Any]:
    """What the file of a result has no place for, in terms of JSON."""
    kind = kind_of(type(value))
    if kind == "Labels" and value.probabilities is not None:
        _log.warning("the probabilities of labels have no file yet: only the classes are stored.")
    state = {name: getattr(value, name) for name in _STATE.get(str(kind), ())}
    if kind in ("Labels", "Volume", "TiltSeries"):
        array = value.images if kind == "TiltSeries" else value.data
        state["dtype"] = str(array.dtype)
    return dict(encode(state))


def _restore(value: Any, kind: str, state: Mapping[str, Any]) -> Any:
    """The value with the facts that its file has no place for."""
    if kind not in _STATE:
        return value
    facts = {name: decode(item) for name, item in state.items() if name in _STATE[kind]}
    for name in ("tilt_angles_deg", "use"):
        if facts.get(name) is not None:
            facts[name] = np.array(facts[name])
    if "names" in facts:
        facts["names"] = {int(key): name for key, name in facts["names"].items()}
    if kind == "Labels" and state.get("dtype") == "bool" and value.data.dtype.itemsize == 1:
        facts["data"] = value.data.view(bool)  # stored as bytes 0 and 1
    return dataclasses.replace(value, **facts)
