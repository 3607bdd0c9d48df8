"""Names in a table that a person may open in a spreadsheet."""

from __future__ import annotations

import re

import polars as pl

from gatewright.data.window_checks import listed

#: How a text begins that a spreadsheet takes for a formula (OWASP, "CSV injection").
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def harmless(text: str) -> str:
    """Return a text that a spreadsheet shows and does not run: an apostrophe before it says that it is one.

    Numbers stay as they are.

    >>> [harmless(text) for text in ("north", "=1+1", "-5", "-5+1", "@home")]
    ['north', "'=1+1", '-5', "'-5+1", "'@home"]
    """
    return f"'{text}" if text.startswith(_FORMULA) and not _NUMBER.fullmatch(text) else text


def with_harmless_names(frame: pl.DataFrame) -> tuple[pl.DataFrame, list[str]]:
    """Return a table whose names, of columns and in them, are harmless; and a line that says which have changed.

    Args:
        frame: the table; its numbers and times stay.
    """
    texts = [name for name in frame.columns if frame[name].dtype == pl.String]
    names = {*frame.columns, *(text for name in texts for text in frame[name].unique() if text is not None)}
    changed = {name: harmless(name) for name in sorted(names) if harmless(name) != name}
    if not changed:
        return frame, []
    columns = [pl.col(name).replace(changed) for name in texts]
    headers = {name: changed[name] for name in frame.columns if name in changed}
    note = f"written with an apostrophe before them, so that no spreadsheet runs them: {listed(list(changed))}"
    return frame.with_columns(columns).rename(headers), [note]
