"""Readers of CSV and Parquet files: from a path to a frame."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from gatewright.data.csv_reader import SEPARATORS, read_delimited
from gatewright.data.dataframes import named
from gatewright.data.frame import Frame
from gatewright.data.number_format import PLAIN, Notation
from gatewright.data.source_files import read_utf8, require_table
from gatewright.errors import DataError, unusable


def read_frame(path: Path, notation: Notation = PLAIN, *, empty: bool = False) -> Frame:
    """Read a ``.csv``, ``.tsv`` or ``.txt`` table (also packed, ``.gz``), or a ``.parquet`` file.

    Args:
        path: the file.
        notation: how its numbers are written; a mark within numbers cannot also separate cells.
        empty: whether it may be without rows.

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
    if len(frame.lines) == 0 and not empty:
        raise DataError(str(path), "a header and rows below it", "no row")
    return frame


def _read_parquet(path: Path) -> pl.DataFrame:
    try:
        # Opened here, because polars takes a name with * or [ for a pattern, and a directory for many files.
        with path.open("rb") as file:
            cells = pl.read_parquet(file)
    except pl.exceptions.DuplicateError:
        raise DataError(f"columns of {path}", "each name once", "a name several times") from None
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):  # some damage makes it panic
        got = "a file that is damaged, cut off or of another format"
        raise DataError(str(path), "a Parquet file", got) from None
    except (OSError, ValueError) as error:
        raise unusable(DataError, path, error) from None
    return named(cells, cells.columns)
