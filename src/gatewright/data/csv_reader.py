"""A reader of delimited text: columns of text, and the line number of each row.

Two functions read it with the same result.  `read_with_polars` lets polars split a text of equal rows and gives up
where its result might be wrong.  `read_records` finds the records itself, also where there are blank lines, quotes
within cells, or rows of other lengths, whose line it names.
The cells stay text here: `datetimes/` converts times, `numeric_columns.py` numbers.
"""

from __future__ import annotations

import re
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

#: What numbers and times have in them.
_WITH_DIGITS = re.compile(r"\d|inf", re.I)
#: A cell in quotes, without quotes in it.
_WHOLE_QUOTES = re.compile(rb'"[^"]*"')

Places = NDArray[np.int64]


def read_delimited(path: Path, raw: bytes, separators: str, notation: Notation) -> tuple[pl.DataFrame, Places]:
    """Return the columns of a text, as text, and the line number of each row.

    Args:
        path: the file, for errors.
        raw: its content in UTF-8.
        separators: the characters that may stand between cells.
        notation: how numbers are written.

    Raises:
        DataError: if it is no table; it names the line at fault.
    """
    if b"\n" not in raw:
        raw = raw.replace(b"\r", b"\n")
    if b'"' not in raw:
        separators = _unambiguous_separators(path, raw, separators, notation)
    return read_with_polars(path, raw, separators) or read_records(path, raw, separators)


def _unambiguous_separators(path: Path, raw: bytes, separators: str, notation: Notation) -> str:
    """Leave out separators that are marks within numbers; only quotes can tell the two apart.

    Raises:
        DataError: if the header has no other separator.
    """
    marks = {notation.decimal: "--decimal", notation.thousands: "--thousands"}
    header = raw.lstrip(b"\r\n").partition(b"\n")[0].decode()
    usable = "".join(each for each in separators if each not in marks)
    clash = next((each for each in separators if each in marks and each in header), "")
    if clash and not any(each in header for each in usable):
        expected = "another character than the one between the cells, or quotes around the cells"
        raise DataError(marks[clash], expected, f"{shorten(clash)}, which separates the cells of {path}")
    return usable


def read_with_polars(path: Path, raw: bytes, separators: str) -> tuple[pl.DataFrame, Places] | None:
    """Let polars split a text at once.

    Returns:
        What `read_records` returns; None if the text is no table of equal rows, or where polars might split it in
        another way.
    """
    header = raw[: max(raw.find(b"\n"), 0)]
    lines = raw.count(b"\n") + (not raw.endswith(b"\n"))
    if not header.strip(b"\r") or lines < 2 or (b"\r" in raw and raw.count(b"\r") != raw.count(b"\r\n")):
        return None
    quoted = b'"' in raw
    separator, between = _sure_separator(raw, header, separators)
    if not separator:
        return None
    # At the end of a text, polars drops an empty cell too many.
    if raw.endswith(separator.encode()) or (quoted and not _has_plain_quotes(raw, separator)):
        return None
    try:
        cells = _cells(raw, separator, between + 1, quotes=quoted)
    except pl.exceptions.PolarsError:  # a row with more cells than the header
        return None
    numbers = np.arange(1, lines + 1)
    if quoted:
        numbers = _lines_of_quoted(cells, raw, separator)
    if len(numbers) != len(cells) or all(cell is None for cell in cells.row(-1)):
        return None
    return _named(cells[1:], _names(path, cells.row(0))), numbers[1:]


def _sure_separator(raw: bytes, header: bytes, separators: str) -> tuple[str, int]:
    """Return the separator of a text of equal rows, and how often it stands in each; "" if the rows may differ."""
    unquoted = _WHOLE_QUOTES.sub(b"", header)
    counts = {each: unquoted.count(each.encode()) for each in separators}
    candidates = [each for each in separators if counts[each]]
    if not candidates:
        candidates = [separators[0]]  # of a single column
    if b'"' in unquoted or (b'"' in raw and len(candidates) > 1):
        return "", 0  # only the cells tell how often each stands outside quotes
    if b'"' not in raw:
        lines = raw.count(b"\n") + (not raw.endswith(b"\n"))
        candidates = [each for each in candidates if raw.count(each.encode()) == lines * counts[each]]
    separator = max(candidates, key=lambda each: counts[each], default="")
    return separator, counts.get(separator, 0)


def _has_plain_quotes(raw: bytes, separator: str) -> bool:
    """Say whether quotes are around whole cells only, and none could as well begin a cell as end one."""
    data = np.frombuffer(raw, np.uint8)
    quotes = np.flatnonzero(data == ord('"'))
    is_edge = np.zeros(256, np.bool_)
    is_edge[list(f"{separator}\n\r".encode())] = True
    # The text begins and ends with an edge.
    before, after = is_edge[data[quotes - 1]], is_edge[data[np.minimum(quotes + 1, len(data) - 1)]]
    before[0] |= quotes[0] == 0
    after[-1] |= quotes[-1] == len(data) - 1
    first = np.arange(len(quotes)) % 2 == 0
    return len(quotes) % 2 == 0 and bool((before == first).all() and (after == ~first).all())


def _lines_of_quoted(cells: pl.DataFrame, raw: bytes, separator: str) -> Places:
    """Return the line of each row of a text with quotes; none unless the cells account for every byte of it.

    No quote was taken for text if no cell has one.  All rows have the same number of cells if the separators that
    are not within cells are those between them; no line was left out if the same holds for line breaks.
    """
    nowhere: Places = np.empty(0, np.int64)
    columns = cells.get_columns()
    if any(column.str.contains('"', literal=True).any() for column in columns):
        return nowhere
    between = raw.count(separator.encode()) - len(cells) * (len(columns) - 1)
    if between != sum(int(column.str.count_matches(separator, literal=True).sum()) for column in columns):
        return nowhere
    lines = raw.count(b"\n") + (not raw.endswith(b"\n"))
    if lines == len(cells):
        return np.arange(1, lines + 1)
    breaks = np.zeros(len(cells), np.int64)
    for column in columns:
        breaks += column.str.count_matches("\n", literal=True).fill_null(0).to_numpy()
    if lines != len(cells) + breaks.sum():
        return nowhere
    return np.arange(1, len(cells) + 1) + np.cumsum(breaks) - breaks


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
    counts = {each: _between(_find(data, each, quoted), starts, ends) for each in separators}
    # Most records have as many separators as the header; of two such characters, the more frequent one there.
    separator = max(
        separators, key=lambda each: (np.count_nonzero(counts[each] == (counts[each][0] or -1)), counts[each][0])
    )
    between = counts[separator]
    if quoted is not None:
        _check_quotes(path, data, quoted, separator)
    selected = _row_mask(ends - starts, between)
    starts, ends, lines, between = starts[selected], ends[selected], lines[selected], between[selected]
    odd = np.flatnonzero(between != between[0])
    if len(odd):
        row = raw[starts[odd[0]] : ends[odd[0]]]
        raise _odd_row(f"{path}, line {lines[odd[0]]}", row, separator, int(between[0]), int(between[odd[0]]))
    rows = [raw[start:end] for start, end in zip(starts, ends, strict=True)]
    cells = _parse(path, rows, separator, int(between[0]) + 1)
    return _named(cells[1:], _names(path, cells.row(0))), lines[1:]


def _odd_row(place: str, row: bytes, separator: str, header: int, separators: int) -> DataError:
    """Return the error of a row whose number of separators differs from that of the header."""
    got = str(separators + 1)
    if separators > header and row.endswith(separator.encode()):
        got += ", the last one empty"
    elif separators > header and separator == ",":
        got += "; a comma within a cell needs quotes around the cell"
    return DataError(place, f"as many cells as in the header, {header + 1}", got)


def _find(data: NDArray[np.uint8], character: str, quoted: NDArray[np.bool_] | None) -> Places:
    """Return the positions of a character outside quotes."""
    matches = data == ord(character)
    return np.flatnonzero(matches if quoted is None else matches & ~quoted)


def _between(places: Places, starts: Places, ends: Places) -> Places:
    """Return the number of places within each record."""
    return np.searchsorted(places, ends) - np.searchsorted(places, starts)


def _records(data: NDArray[np.uint8], quoted: NDArray[np.bool_] | None) -> tuple[Places, Places, Places]:
    """Return start, end (without line break) and line number of each record from the first that is not blank."""
    ends = _find(data, "\n", quoted)
    if len(data) and (len(ends) == 0 or ends[-1] != len(data) - 1):
        ends = np.append(ends, len(data))
    starts = np.append(0, ends[:-1] + 1)[: len(ends)]
    lines = np.searchsorted(np.flatnonzero(data == ord("\n")), starts) + 1
    returns = (ends > starts) & (data[ends - 1] == ord("\r"))
    ends = ends - returns
    first = int(np.argmax(ends > starts)) if np.any(ends > starts) else len(ends)
    return starts[first:], ends[first:], lines[first:]


def _row_mask(lengths: Places, between: Places) -> NDArray[np.bool_]:
    """Leave out blank lines and empty rows at the end; in a single column, a blank line is a missing value."""
    selected = lengths > 0 if between[0] else np.ones(len(lengths), dtype=np.bool_)
    filled = np.flatnonzero(lengths > between)
    selected[max(filled, default=0) + 1 :] = False
    return selected


def _check_quotes(path: Path, data: NDArray[np.uint8], quoted: NDArray[np.bool_], separator: str) -> None:
    """Refuse quotes that do not enclose a whole cell; within a cell, a quote is doubled."""
    quotes = np.flatnonzero(data == ord('"'))
    opens, closes = quotes[quoted[quotes]], quotes[~quoted[quotes]]
    edges = np.frombuffer(f'{separator}\n\r"'.encode(), np.uint8)
    bare = np.append(data, np.uint8(ord("\n")))
    bad = [
        *opens[~np.isin(bare[opens - 1], edges)],  # index -1 is the newline at the end
        *closes[~np.isin(bare[closes + 1], edges)],
        *(opens[-1:] if len(opens) > len(closes) else ()),
    ]
    if bad:
        line = int(np.count_nonzero(data[: min(bad)] == ord("\n"))) + 1
        raise DataError(f"{path}, line {line}", "quotes around whole cells only", "a quote without its other")


def _parse(path: Path, rows: Sequence[bytes], separator: str, width: int) -> pl.DataFrame:
    """Split records into cells of text; columns are named by their number."""
    try:
        cells = _cells(b"\n".join([*rows, b""]), separator, width, quotes=True)
    except pl.exceptions.PolarsError:
        raise DataError(str(path), "a table", "text that cannot be taken apart into cells") from None
    if len(cells) != len(rows):
        raise DataError(str(path), f"{len(rows)} rows, by its lines and quotes", f"{len(cells)} in reading it")
    return cells


def _cells(body: bytes, separator: str, width: int, *, quotes: bool = False) -> pl.DataFrame:
    schema = {str(number): pl.String for number in range(width)}
    quote = '"' if quotes else None
    return pl.read_csv(body, has_header=False, separator=separator, schema=schema, quote_char=quote)


def _named(cells: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    return cells.rename(dict(zip(cells.columns, names, strict=True)))


def _names(path: Path, header: Sequence[str | None]) -> list[str]:
    """Return the names of the columns; column N without a name is called column_N."""
    names = [(name or "").strip() or f"column_{number}" for number, name in enumerate(header, start=1)]
    [(name, count)] = Counter(names).most_common(1)
    if count > 1:
        raise DataError(f"header of {path}", "each name once", f"{shorten(name)} {count} times")
    # Most headers have a name that is no number and no time at first sight.
    if all(_WITH_DIGITS.search(name) for name in names) and all(map(_looks_like_data, names)):
        got = f"{shorten(names[0])}, which looks like data"
        raise DataError(f"header of {path}", "the names of the columns", got)
    return names


def _looks_like_data(name: str) -> bool:
    cell = Column(pl.Series([name]))
    return cell.is_numeric or cell.is_time
