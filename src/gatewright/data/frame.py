"""From a CSV or Parquet file to named columns of cells that know where in the file they stand."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from gatewright.data.csv_reader import SEPARATORS, read_delimited
from gatewright.data.number_format import PLAIN, Notation
from gatewright.data.source_files import read_utf8, require_table
from gatewright.errors import DataError, unusable


@dataclass(frozen=True)
class Frame:
    """The rows of a file.

    Attributes:
        cells: the columns; those of a text file are text.
        lines: where each row stands in the file.
        unit: what ``lines`` counts: each "line" of a text file, or each "row" of a Parquet file.
    """

    cells: pl.DataFrame
    lines: NDArray[np.int64]
    unit: str

    def place(self, row: int) -> str:
        """Name a row as an error does."""
        return f"{self.unit} {self.lines[row]}"


def read_frame(path: Path, notation: Notation = PLAIN) -> Frame:
    """Read a ``.csv``, ``.tsv`` or ``.txt`` table (also packed, ``.gz``), or a ``.parquet`` file.

    Args:
        path: the file.
        notation: how its numbers are written; a mark within numbers cannot also separate cells.

    Raises:
        DataError: if it cannot be read, is no table, or has no rows.
    """
    require_table(path)
    name = path.name.lower()
    if name.endswith(".parquet"):
        cells = _read_parquet(path)
        frame = Frame(cells, np.arange(1, len(cells) + 1), "row")
    else:
        separators = "\t" if name.removesuffix(".gz").endswith(".tsv") else SEPARATORS
        frame = Frame(*read_delimited(path, read_utf8(path), separators, notation), "line")
    if len(frame.lines) == 0:
        raise DataError(str(path), "a header and rows below it", "no row")
    return frame


def _read_parquet(path: Path) -> pl.DataFrame:
    try:
        # Opened here, because polars takes a name with * or [ for a pattern, and a directory for many files.
        with path.open("rb") as file:
            return pl.read_parquet(file)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):  # some damage makes it panic
        got = "a file that is damaged, cut off or of another format"
        raise DataError(str(path), "a Parquet file", got) from None
    except (OSError, ValueError) as error:
        raise unusable(DataError, path, error) from None
