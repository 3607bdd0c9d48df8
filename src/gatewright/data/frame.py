"""The rows of a table as named columns of cells, and the place of each row in its file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from gatewright.data.cell_text import is_text, text


@dataclass(frozen=True)
class Frame:
    """The rows of a file or of a data frame.

    Attributes:
        cells: the columns; those of a text file are text.
        lines: the number of each row in its source.
        unit: what ``lines`` counts: each "line" of a text file, or each "row" of any other source.
        time: the time column, where the source itself says which it is; else "".
        files: of rows of several files, the name of each file and the number of rows up to its end.
        in_order: whether the order of the rows says something; else their times alone do.
    """

    cells: pl.DataFrame
    lines: NDArray[np.int64]
    unit: str
    time: str = ""
    files: tuple[tuple[str, int], ...] = ()
    in_order: bool = True

    def place(self, row: int) -> str:
        """Return the place of a row as an error names it."""
        name = next((f"{name}, " for name, end in self.files if row < end), "")
        return f"{name}{self.unit} {self.lines[row]}"


def ids_in(cells: pl.DataFrame, ids: Sequence[str]) -> pl.DataFrame:
    """Return the id columns such that rows of one series are equal: names without the spaces around them.

    >>> ids_in(pl.DataFrame({"site": ["a", "a "]}), ["site"])["site"].to_list()
    ['a', 'a']
    """
    return cells.select(text(cells[name]) if is_text(cells[name]) else cells[name] for name in ids)


def starts_of(ids: pl.DataFrame) -> NDArray[np.int64]:
    """Return the rows at which another series begins than in the row before, the first row included.

    Args:
        ids: the id columns; of no columns, all rows are of one series.

    >>> starts_of(pl.DataFrame({"site": ["a", "a", "b", "a"]}))
    array([0, 2, 3])
    """
    if not ids.width or not len(ids):
        return np.zeros(min(1, len(ids)), np.int64)
    changes = [pl.col(name).ne_missing(pl.col(name).shift()) for name in ids.columns]
    changed = ids.select(pl.any_horizontal(changes)).to_series().to_numpy().copy()
    changed[0] = True
    return np.flatnonzero(changed)
