"""Text in cells: without the spaces around it, and null where it stands for a missing value."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

#: Cells of text that stand for a missing value, in any case of letters.
MISSING = ("na", "n/a", "#n/a", "<na>", "nan", "null", "none", "-", ".", "?")


def is_text(column: pl.Series) -> bool:
    """Say whether a column holds text."""
    return isinstance(column.dtype, (pl.String, pl.Categorical, pl.Enum))


def text(column: pl.Series) -> pl.Series:
    """Return cells as text without the spaces around it; empty ones as null."""
    column = column.cast(pl.String).str.strip_chars()
    empty = column == ""
    return column.set(empty, None) if empty.any() else column


def known(column: pl.Series, missing: Iterable[str] = ()) -> pl.Series:
    """Return cells with null in place of `MISSING` and further words for a missing value."""
    if not is_text(column):
        return column
    column = text(column)
    words = {*MISSING, *(word.strip().lower() for word in missing)}
    stands_for_nothing = column.str.to_lowercase().is_in(sorted(words))
    return column.set(stands_for_nothing, None) if stands_for_nothing.any() else column
