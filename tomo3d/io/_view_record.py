"""What a side file says of the views of a tilt series, whatever program wrote it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tomo3d import tables

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class ViewRecord:
    """What a side file says of the views of a tilt series.

    Parameters
    ----------
    views : pandas.DataFrame
        `tables.VIEWS`, one row per view in the order of the file, and columns of their own for some formats.
    kind : str
        "tilt series", "frame sets", "montage", "list of angles", "RELION tilt series" or "Warp tilt series".
    pixel_size_nm : float, optional
        Pixel of the images. None where the file does not say, or views differ.
    tilt_axis_deg : float, optional
        From +y, counter-clockwise. None where the file does not say.
    image_file : str
        Name of the image file that it belongs to, without folder; "" where there is none.
    image_shape : tuple of int, optional
        (n_y, n_x) of an image.
    voltage_kv : float, optional
    titles : tuple of str
    notes : tuple of str
        One sentence for each thing to check before its facts are used.
    """

    views: pd.DataFrame
    kind: str
    pixel_size_nm: float | None = None
    tilt_axis_deg: float | None = None
    image_file: str = ""
    image_shape: tuple[int, int] | None = None
    voltage_kv: float | None = None
    titles: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def view_table(
    n_views: int, columns: Mapping[str, Sequence[float] | Sequence[str] | np.ndarray]
) -> pd.DataFrame:
    """`tables.VIEWS` of `n_views` views: the columns that are known, nothing where they are not, others behind."""
    import pandas as pd

    nothing: dict[str, Any] = {
        "number": lambda: np.full(n_views, np.nan),
        "integer": lambda: np.full(n_views, -1, dtype=np.int64),
        "text": lambda: [""] * n_views,
    }
    known: dict[str, Any] = {"view": np.arange(n_views), **columns}
    table = {column.name: known.pop(column.name, None) for column in tables.VIEWS}
    for column in tables.VIEWS:
        if table[column.name] is None:
            table[column.name] = nothing[column.kind]()
    return tables.check(pd.DataFrame({**table, **known}), tables.VIEWS)


def order_of(values: Sequence[float] | Sequence[str] | np.ndarray) -> np.ndarray:
    """Rank of each value, 0 for the smallest; equal ones in their order."""
    order = np.empty(len(values), dtype=np.int64)
    order[np.argsort(np.asarray(values), kind="stable")] = np.arange(len(values))
    return order


def dose_before(exposure: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Sum of the doses of the views taken before each one; nan where one of them is not known."""
    if not np.isfinite(exposure).any():
        return np.full(len(exposure), np.nan)
    taken = np.argsort(order)
    before = np.empty(len(exposure))
    before[taken] = np.concatenate(([0.0], np.cumsum(exposure[taken])[:-1])) if len(exposure) else []
    return before
