"""The columns of an answer about sequences that say which sequence a row is of."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import polars as pl

from gatewright.data.cell_text import is_text, text
from gatewright.data.frame import Frame
from gatewright.data.sequences import Sequences
from gatewright.errors import DataError, shorten

#: Column of the name of a sequence that is no rows of a table.
ID = "id"


def key_cells(frame: Frame, names: Iterable[str]) -> dict[str, pl.Series]:
    """Return columns of a table as an answer repeats them."""
    return {name: text(frame.cells[name]) if is_text(frame.cells[name]) else frame.cells[name] for name in names}


def sequence_keys(frame: Frame | None, sequences: Sequences, ids: tuple[str, ...] | None) -> dict[str, pl.Series]:
    """Return the columns that name sequences, a row each: the id columns of their table, else ``id``.

    Args:
        frame: the table of the sequences; None for sequences that come from no table.
        sequences: the sequences.
        ids: the id columns of the table.
    """
    if frame is None or not ids or sequences.rows is None:
        return {ID: pl.Series(sequences.names, dtype=pl.String)}
    first = np.array([rows[0] for rows in sequences.rows], np.int64)
    return {name: cells.gather(first) for name, cells in key_cells(frame, ids).items()}


def joined(keys: dict[str, pl.Series], answer: dict[str, pl.Series]) -> pl.DataFrame:
    """Return the keys and the columns of an answer as one frame.

    Raises:
        DataError: if a key has the name of a column of the answer.
    """
    both = sorted(keys.keys() & answer.keys())
    if both:
        expected = f"a column of id or time with another name than {shorten(both[0])}, a column of the answer"
        raise DataError("columns", expected, shorten(both[0]))
    columns = {**keys, **answer}
    return pl.DataFrame(list(columns.values()), schema=list(columns))
