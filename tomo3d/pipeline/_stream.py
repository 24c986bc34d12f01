"""A result that is written while it is computed: slabs go into a Zarr store, which gets its name when all are there."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from tomo3d.pipeline._bind import BoundStep
from tomo3d.pipeline._device import sketched
from tomo3d.pipeline._store import read_provenance
from tomo3d.planning import Sketch, plan_of


@contextlib.contextmanager
def stream_of(step: BoundStep, paths: Mapping[str, Path], *, overwrite: bool) -> Iterator[ZarrStream | None]:
    """The store that a step writes its volume to while it computes; None for a step that does not."""
    if not step.is_streamed:
        yield None
        return
    replaces = overwrite or read_provenance(paths[""]) is not None
    with ZarrStream(paths[""], overwrite=replaces) as stream:
        yield stream


class ZarrStream:
    """The store at a path, for the time of one call; nothing is left of it unless `finish` is called.

    Parameters
    ----------
    path : Path
        Of the store.
    overwrite : bool
        True if an existing store may be replaced.
    """

    def __init__(self, path: Path, *, overwrite: bool) -> None:
        self._path, self._overwrite = path, overwrite
        self._stack = contextlib.ExitStack()
        self._sink: Any = None

    def open(
        self, function: Callable[..., Any], positional: Sequence[Any], keywords: Mapping[str, Any]
    ) -> Any:
        """The array to write to, as large as what the function is going to make; None where it does not say."""
        from tomo3d import io

        made = plan_of(function)(  # type: ignore[misc]
            *(sketched(value) for value in positional),
            **{name: sketched(value) for name, value in keywords.items()},
        ).result
        if not isinstance(made, Sketch) or made.pixel_size_nm is None:
            return None
        n_z, n_y, n_x = made.shape
        store = io.new_zarr_volume(
            self._path,
            (n_z, n_y, n_x),
            voxel_size_nm=(made.pixel_size_nm,) * 3,
            overwrite=self._overwrite,
        )
        self._sink = self._stack.enter_context(store)
        return self._sink

    def finish(self, value: Any) -> Any:
        """Give the store its name; returns the volume over what was stored, still on the disk."""
        import zarr

        self._stack.close()
        self._sink = None
        return dataclasses.replace(value, data=zarr.open_array(str(self._path / "0"), mode="r"))

    def holds(self, value: Any) -> bool:
        """Whether a volume was written here."""
        return self._sink is not None and getattr(value, "data", None) is self._sink

    def __enter__(self) -> ZarrStream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._sink is None:
            return
        with contextlib.suppress(_Abandoned):
            if error is None:  # it was not what the function returned
                kind, error = _Abandoned, _Abandoned()
            self._stack.__exit__(kind, error, trace)


class _Abandoned(Exception):  # no error: what is thrown into a store that is not to be kept
    """The store is not needed."""
