"""The first bytes of a table: mistakes that they show are reported before any slow work."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from pathlib import Path

import polars as pl

from gatewright.data.csv_reader import SEPARATORS, read_delimited
from gatewright.data.number_format import Notation
from gatewright.data.roles import missing_column
from gatewright.data.source_files import has_byte_order_mark, require_table, require_text
from gatewright.errors import DataError

#: Number of bytes that are read.
HEAD = 1 << 18


def check_head(path: Path, notation: Notation, named: Iterable[tuple[str, str]], fixed: bool = False) -> None:
    """Check what the first bytes of a table show: its format, and its columns.

    A header that only the whole file explains passes.

    Args:
        path: the table.
        notation: how its numbers are written.
        named: role and name of each column that has to be there.
        fixed: whether a trained model fixes the columns.

    Raises:
        DataError: as the reader of the whole table does.
    """
    require_table(path)
    if path.is_dir():
        return  # of several files, whose directories may name columns too
    named = [(role, name) for role, name in named if name]
    if path.suffix.lower() == ".parquet":
        columns, header = _parquet_columns(path), ""
    else:
        columns, header = _csv_columns(path, notation)
    for role, name in named if columns else []:
        if name not in columns and name not in header:
            raise missing_column(role, name, columns, fixed, [each for _, each in named] if fixed else [])


def _parquet_columns(path: Path) -> list[str]:
    """Return the columns of a Parquet file; none if it cannot be read."""
    try:
        with path.open("rb") as file:
            return list(pl.read_parquet_schema(file))
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, ValueError):
        return []


def _csv_columns(path: Path, notation: Notation) -> tuple[list[str], str]:
    """Return the columns of a text, and text in which every name of a column stands; none if that is not sure."""
    raw = _head_of(path)
    require_text(path, raw)
    whole = len(raw) < HEAD
    lines = raw if whole else raw[: raw.rfind(b"\n") + 1]
    if has_byte_order_mark(raw) or b"\n" not in lines:
        return [], ""
    separators = "\t" if path.name.lower().removesuffix(".gz").endswith(".tsv") else SEPARATORS
    try:
        columns = read_delimited(path, lines, separators, notation)[0].columns
        names = lines if b'"' in lines else lines.lstrip(b"\r\n").partition(b"\n")[0]
        return columns, names.decode("utf-8")
    except (DataError, UnicodeDecodeError):
        return [], ""


def _head_of(path: Path) -> bytes:
    """Return the first bytes of a file, also of one packed with gzip; none if it is damaged."""
    try:
        with path.open("rb") as file:
            raw = file.read(HEAD)
        if raw.startswith(b"\x1f\x8b") or path.suffix.lower() == ".gz":
            return zlib.decompressobj(wbits=31).decompress(raw, HEAD)
        return raw
    except (OSError, zlib.error):
        return b""
