"""From text with a separator between cells to columns of text, and the line that each row stands in.

There are two ways to read it, with the same result. `read_plain` lets polars read all at once, where every line is
a row with as many cells as the header. `read_records` takes quotes, blank lines and rows of other lengths apart.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from gatewright.data.columns import Column
from gatewright.data.number_format import Notation
from gatewright.errors import DataError, shorten

SEPARATORS = ",;\t|"

Places = NDArray[np.int64]


def read_delimited(path: Path, raw: bytes, separators: str, notation: Notation) -> tuple[pl.DataFrame, Places]:
    """Return the columns of a text, as text, and the line of each row.

    Args:
        path: the file, as an error names it.
        raw: what is in it, in UTF-8.
        separators: the characters that may stand between cells.
        notation: how numbers are written.

    Raises:
        DataError: if it is no table; the line at fault is named.
    """
    if b"\n" not in raw:
        raw = raw.replace(b"\r", b"\n")
    if b'"' not in raw:
        separators = _without_marks(path, raw, separators, notation)
    return read_plain(path, raw, separators) or read_records(path, raw, separators)


def _without_marks(path: Path, raw: bytes, separators: str, notation: Notation) -> str:
    """Leave out separators that stand within numbers; only quotes can keep the two apart.

    Raises:
        DataError: if the header has no other one.
    """
    marks = {notation.decimal: "--decimal", notation.thousands: "--thousands"}
    header = raw.lstrip(b"\r\n").partition(b"\n")[0].decode()
    usable = "".join(one for one in separators if one not in marks)
    clash = next((one for one in separators if one in marks and one in header), "")
    if clash and not any(one in header for one in usable):
        expected = "another character than the one between the cells, or quotes around the cells"
        raise DataError(marks[clash], expected, f"{shorten(clash)}, which separates the cells of {path}")
    return usable


def read_plain(path: Path, raw: bytes, separators: str) -> tuple[pl.DataFrame, Places] | None:
    """Read a text without quotes whose lines all have as many cells as the first, or return None."""
    header, _, body = raw.partition(b"\n")
    if b'"' in raw or not header.strip(b"\r") or not body or raw.count(b"\r") != raw.count(b"\r\n"):
        return None
    rows = body.count(b"\n") + (not body.endswith(b"\n"))
    inside = {one: header.count(one.encode()) for one in separators}
    regular = [one for one in separators if inside[one] and body.count(one.encode()) == rows * inside[one]]
    if not regular:
        return None
    separator = max(regular, key=lambda one: inside[one])
    width = inside[separator] + 1
    try:
        cells = _cells(body, separator, width)
    except pl.exceptions.PolarsError:  # a row has more cells, so that another one has fewer
        return None
    if len(cells) != rows or all(cell is None for cell in cells.row(-1)):
        return None
    names = _names(path, _parse(path, [header.removesuffix(b"\r")], separator, width).row(0))
    return _named(cells, names), np.arange(2, rows + 2)


def read_records(path: Path, raw: bytes, separators: str) -> tuple[pl.DataFrame, Places]:
    """Read a text record by record, so that an error names the line at fault.

    Raises:
        DataError: if it is no table.
    """
    data = np.frombuffer(raw, np.uint8)
    quoted = np.logical_xor.accumulate(data == ord('"')) if b'"' in raw else None
    starts, ends, lines = _records(data, quoted)
    if len(starts) == 0:
        raise DataError(str(path), "a header and rows below it", "an empty file")
    counts = {one: _between(_find(data, one, quoted), starts, ends) for one in separators}
    # The separator is what most records have as many of as the header; of two such, what the header has more of.
    separator = max(
        separators, key=lambda one: (np.count_nonzero(counts[one] == (counts[one][0] or -1)), counts[one][0])
    )
    between = counts[separator]
    if quoted is not None:
        _check_quotes(path, data, quoted, separator)
    kept = _worth_keeping(ends - starts, between)
    starts, ends, lines, between = starts[kept], ends[kept], lines[kept], between[kept]
    odd = np.flatnonzero(between != between[0])
    if len(odd):
        row = raw[starts[odd[0]] : ends[odd[0]]]
        raise _odd_row(f"{path}, line {lines[odd[0]]}", row, separator, int(between[0]), int(between[odd[0]]))
    rows = [raw[start:end] for start, end in zip(starts, ends, strict=True)]
    width = int(between[0]) + 1
    names = _names(path, _parse(path, rows[:1], separator, width).row(0))
    return _named(_parse(path, rows[1:], separator, width), names), lines[1:]


def _odd_row(place: str, row: bytes, separator: str, header: int, found: int) -> DataError:
    """Return the error of a row with another number of separators than the header."""
    got = str(found + 1)
    if found > header and row.endswith(separator.encode()):
        got += ", the last one empty"
    elif found > header and separator == ",":
        got += "; a comma within a cell needs quotes around the cell"
    return DataError(place, f"as many cells as in the header, {header + 1}", got)


def _find(data: NDArray[np.uint8], character: str, quoted: NDArray[np.bool_] | None) -> Places:
    """Return where a character stands outside quotes."""
    found = data == ord(character)
    return np.flatnonzero(found if quoted is None else found & ~quoted)


def _between(places: Places, starts: Places, ends: Places) -> Places:
    """Count the places that lie in each record."""
    return np.searchsorted(places, ends) - np.searchsorted(places, starts)


def _records(data: NDArray[np.uint8], quoted: NDArray[np.bool_] | None) -> tuple[Places, Places, Places]:
    """Return start, end (without line end) and line of each record from the first that is not blank."""
    ends = _find(data, "\n", quoted)
    if len(data) and (len(ends) == 0 or ends[-1] != len(data) - 1):
        ends = np.append(ends, len(data))
    starts = np.append(0, ends[:-1] + 1)[: len(ends)]
    lines = np.searchsorted(np.flatnonzero(data == ord("\n")), starts) + 1
    returns = (ends > starts) & (data[ends - 1] == ord("\r"))
    ends = ends - returns
    first = int(np.argmax(ends > starts)) if np.any(ends > starts) else len(ends)
    return starts[first:], ends[first:], lines[first:]


def _worth_keeping(lengths: Places, between: Places) -> NDArray[np.bool_]:
    """Leave out blank lines, and rows of empty cells at the end; one blank cell may be a missing value."""
    kept = lengths > 0 if between[0] else np.ones(len(lengths), dtype=np.bool_)
    filled = np.flatnonzero(lengths > between)
    kept[max(filled, default=0) + 1 :] = False
    return kept


def _check_quotes(path: Path, data: NDArray[np.uint8], quoted: NDArray[np.bool_], separator: str) -> None:
    """Refuse quotes that do not enclose a cell whole; within a cell, a quote is written twice."""
    quotes = np.flatnonzero(data == ord('"'))
    opens, closes = quotes[quoted[quotes]], quotes[~quoted[quotes]]
    edges = np.frombuffer(f'{separator}\n\r"'.encode(), np.uint8)
    bare = np.append(data, np.uint8(ord("\n")))
    bad = [
        *opens[~np.isin(bare[opens - 1], edges)],  # before the first byte stands the last, which is the newline
        *closes[~np.isin(bare[closes + 1], edges)],
        *(opens[-1:] if len(opens) > len(closes) else ()),
    ]
    if bad:
        line = int(np.count_nonzero(data[: min(bad)] == ord("\n"))) + 1
        raise DataError(f"{path}, line {line}", "quotes around whole cells only", "a quote without its other")


def _parse(path: Path, rows: Sequence[bytes], separator: str, width: int) -> pl.DataFrame:
    """Take records apart into text cells; columns are named by their number."""
    try:
        cells = _cells(b"\n".join([*rows, b""]), separator, width, quotes=True)
    except pl.exceptions.PolarsError:
        raise DataError(str(path), "a table", "text that cannot be taken apart into cells") from None
    if len(cells) != len(rows):
        raise DataError(str(path), f"{len(rows)} rows, by its lines and quotes", f"{len(cells)} in reading it")
    return cells


def _cells(body: bytes, separator: str, width: int, *, quotes: bool = False) -> pl.DataFrame:
    schema = {str(number): pl.String for number in range(width)}
    if not body:
        return pl.DataFrame(schema=schema)
    quote = '"' if quotes else None
    return pl.read_csv(body, has_header=False, separator=separator, schema=schema, quote_char=quote)


def _named(cells: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    return cells.rename(dict(zip(cells.columns, names, strict=True)))


def _names(path: Path, header: Sequence[str | None]) -> list[str]:
    """Return the names of the columns; one without a name is called by its number."""
    names = [(name or "").strip() or f"column_{number}" for number, name in enumerate(header, start=1)]
    [(name, count)] = Counter(names).most_common(1)
    if count > 1:
        raise DataError(f"header of {path}", "each name once", f"{shorten(name)} {count} times")
    cells = [Column(pl.Series([name])) for name in names]
    if all(cell.is_numeric or cell.is_time for cell in cells):
        got = f"{shorten(names[0])}, which looks like data"
        raise DataError(f"header of {path}", "the names of the columns", got)
    return names
