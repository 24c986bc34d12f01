"""Why views are flagged: a text per view in the column flag of `views`."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd


def add_flags(views: pd.DataFrame, reasons: Mapping[int, str]) -> pd.DataFrame:
    """The table with a column flag, "" where nothing is known against a view; new reasons follow older ones."""
    known = views["flag"].fillna("").astype(str).tolist() if "flag" in views.columns else [""] * len(views)
    for view, reason in reasons.items():
        known[view] = f"{known[view]}; {reason}" if known[view] else reason
    return views.assign(flag=known)
