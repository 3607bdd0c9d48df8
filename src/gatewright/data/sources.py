"""Sources of tables and texts: the path of a file, or a value in memory; and the digest of what they hold."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl

from gatewright.data.dataframes import DataFrame, cells_of, is_dataframe
from gatewright.data.frame import Frame
from gatewright.data.number_format import PLAIN, Notation
from gatewright.data.readers import read_frame
from gatewright.data.sequences import Sequences
from gatewright.data.shards import Shards
from gatewright.data.source_files import has_shards
from gatewright.data.text_sources import Text as Text
from gatewright.data.text_sources import TextFiles as TextFiles
from gatewright.data.text_sources import Texts as Texts
from gatewright.errors import DataError, shorten, unusable

#: What a table is read from: the path of a file or of a directory of Parquet files (also as `str`), several such
#: files, a data frame of polars or pandas, an Arrow table, or a frame that was read before.
TableSource = str | Path | Shards | Frame | DataFrame

#: What a text is read from: the path of a file (also as `str`), a text in memory, or several of them.
TextSource = str | Path | Text | Texts | TextFiles

Source = TableSource | TextSource | Sequences

_TABLE = "the path of a table, a polars or pandas DataFrame, or an Arrow table"


def as_path(source: str | Path, expected: str = "the path of a file", remedy: str = "") -> Path:
    """Return the path that a source names.

    Raises:
        DataError: at text of several lines, which no path is; it names ``remedy``.
    """
    if isinstance(source, str) and ("\n" in source or "\r" in source or not source):
        got = f"text of {len(source.splitlines())} lines" if source else "an empty text"
        raise DataError("source", expected, got + (f"; {remedy}" if remedy else ""))
    return Path(source)


def frame_of(source: TableSource, notation: Notation = PLAIN) -> Frame:
    """Return the rows of a source; what it returns can be read as often as needed, unlike a stream of Arrow data.

    Args:
        source: see `TableSource`.
        notation: how numbers are written in text.

    Raises:
        DataError: if the source cannot be read, is no table, or has no rows.

    >>> frame_of(pl.DataFrame({"load": [1.5, 2.5]})).place(1)
    'row 2'
    """
    if isinstance(source, Frame):
        return source
    if isinstance(source, Shards):
        return source.frame()
    if isinstance(source, (str, Path)):
        path = as_path(source, _TABLE, "a file holds a table, or polars.read_csv reads it")
        return Shards((path,)).frame() if has_shards(path) else read_frame(path, notation)
    if isinstance(source, pl.LazyFrame):
        raise DataError("source", _TABLE, "a LazyFrame; .collect() makes a DataFrame of it")
    if not is_dataframe(source):
        got = f"an object of type {type(source).__name__}"
        if isinstance(source, (dict, list, tuple, np.ndarray)):
            got += "; polars.DataFrame(...) makes a data frame of it"
        elif hasattr(source, "__dataframe__"):
            got += "; pyarrow.interchange.from_dataframe(...) makes an Arrow table of it"
        raise DataError("source", _TABLE, got)
    cells, time = cells_of(source)
    if not len(cells):
        raise DataError("source", "a data frame with rows", "one without any")
    return Frame(cells, np.arange(1, len(cells) + 1), "row", time)


def digest(source: Source) -> str:
    """Return the SHA-256 of what a source holds, in hexadecimal digits.

    The digest of a file is that of its bytes, and the digest of a `Text` that of its bytes in UTF-8.  That of
    several texts covers the digest of each, in order; their names make no difference.  The digest
    of a data frame covers names, types and values of its columns in order; neither their layout in memory nor the
    library makes a difference.

    Raises:
        DataError: if the source cannot be read.

    >>> digest(Text("abc")) == hashlib.sha256(b"abc").hexdigest()
    True
    """
    hasher = hashlib.sha256()
    if isinstance(source, Sequences):
        return source.digest()
    if isinstance(source, (Texts, TextFiles)):
        each = map(Text, source.contents) if isinstance(source, Texts) else source.files()
        names = source.names() if isinstance(source, TextFiles) else ()
        hasher.update(json.dumps(["texts", *names, *map(digest, each)]).encode())
    elif isinstance(source, Text):
        hasher.update(source.content.encode("utf-8", "surrogatepass"))
    elif isinstance(source, (str, Path)):
        path = as_path(source)
        if has_shards(path):
            return digest(Shards((path,)))
        try:
            with path.open("rb") as file:
                while block := file.read(1 << 20):
                    hasher.update(block)
        except (OSError, ValueError) as error:
            raise unusable(DataError, path, error) from None
    else:
        cells = frame_of(source).cells
        hasher.update(f"table {len(cells)} {len(cells.columns)}\n".encode())
        for part in itertools.chain.from_iterable(map(_column, cells)):
            hasher.update(part)
    return hasher.hexdigest()


def _type_name(dtype: pl.DataType) -> str:
    """Name a type; all types of text are one."""
    if isinstance(dtype, (pl.String, pl.Categorical, pl.Enum)):
        return "String"
    details = (getattr(dtype, name, None) for name in ("time_unit", "time_zone", "scale"))
    return " ".join([type(dtype).__name__, *(str(detail) for detail in details if detail is not None)])


def _is_wide(dtype: pl.DataType) -> bool:
    """Say whether a type of numbers is one that NumPy lacks."""
    return dtype.is_decimal() or dtype in (pl.Int128, pl.UInt128)


def _column(cells: pl.Series) -> Iterator[bytes]:
    """Yield name, type and content of a column."""
    yield json.dumps([cells.name, _type_name(cells.dtype)]).encode() + b"\n"
    yield from _content(cells)


def _content(cells: pl.Series) -> Iterator[bytes]:
    """Yield which cells are missing, one bit each, and the values, with 0 or nothing in place of missing ones."""
    dtype = cells.dtype
    yield np.packbits(cells.is_null().to_numpy()).tobytes()
    if isinstance(dtype, pl.Object):
        raise DataError(f"column {shorten(cells.name)}", "numbers, text or times", "Python objects")
    if isinstance(dtype, pl.Struct):
        for field in cells.struct.unnest():
            yield from _column(field)
    elif isinstance(dtype, (pl.List, pl.Array)):
        lists = cells.arr.to_list() if isinstance(dtype, pl.Array) else cells
        sizes = lists.list.len().fill_null(0)
        yield sizes.to_numpy().astype("<u8").tobytes()
        yield from _column(lists.filter(sizes > 0).explode().rename(""))
    elif dtype == pl.Boolean or dtype.is_temporal() or (dtype.is_numeric() and not _is_wide(dtype)):
        physical = cells.cast(pl.UInt8) if dtype == pl.Boolean else cells.to_physical()
        values = physical.fill_null(0).to_numpy()
        if dtype.is_float():
            values = np.where(np.isnan(values), np.array(np.nan, values.dtype), values)  # one NaN of many
        yield np.ascontiguousarray(values.astype(values.dtype.newbyteorder("<"))).tobytes()
    elif dtype != pl.Null:
        cells = cells if dtype == pl.Binary else cells.cast(pl.String)
        words = [word.encode() if isinstance(word, str) else word or b"" for word in cells]
        yield np.array([len(word) for word in words], "<u8").tobytes()
        yield b"".join(words)
