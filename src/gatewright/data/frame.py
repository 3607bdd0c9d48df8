"""From a CSV or Parquet file to named columns of cells that know where in the file they stand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from gatewright.data.cells import looks_numeric
from gatewright.data.files import read_utf8, reason
from gatewright.data.stamps import looks_like_times
from gatewright.errors import DataError
from gatewright.spec import shown

SEPARATORS = ",;\t|"

Places = NDArray[np.int64]


@dataclass(frozen=True)
class Frame:
    """The rows of a file.

    Attributes:
        cells: the columns; those of a text file are text.
        lines: where each row stands in the file.
        unit: what ``lines`` counts: each "line" of a text file, or each "row" of a Parquet file.
    """

    cells: pl.DataFrame
    lines: Places
    unit: str

    def place(self, row: int) -> str:
        """Name a row as an error does."""
        return f"{self.unit} {self.lines[row]}"


def read_frame(path: Path) -> Frame:
    """Read a ``.csv``, ``.tsv`` or ``.txt`` table (also packed, ``.gz``), or a ``.parquet`` file.

    Raises:
        DataError: if it cannot be read, is no table, or has no rows.
    """
    name = path.name.lower()
    if name.endswith(".parquet"):
        frame = _read_parquet(path)
    elif name.removesuffix(".gz").endswith((".csv", ".tsv", ".txt")):
        frame = _read_text(path, "\t" if name.removesuffix(".gz").endswith(".tsv") else SEPARATORS)
    else:
        raise DataError(str(path), "a .csv, .tsv, .txt or .parquet file", f"a file named {path.name!r}")
    if len(frame.lines) == 0:
        raise DataError(str(path), "a header and rows below it", "no row")
    return frame


def _read_parquet(path: Path) -> Frame:
    try:
        # Opened here, because polars takes a name with * or [ for a pattern, and a directory for many files.
        with path.open("rb") as file:
            cells = pl.read_parquet(file)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:  # some damage makes it panic
        raise DataError(str(path), "a Parquet file", shown(str(error).partition("\n")[0])) from None
    except (OSError, ValueError) as error:
        raise DataError(str(path), "a file that can be read", reason(error)) from None
    return Frame(cells, np.arange(1, len(cells) + 1), "row")


def _read_text(path: Path, separators: str) -> Frame:
    raw = read_utf8(path)
    if b"\n" not in raw:
        raw = raw.replace(b"\r", b"\n")
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
        expected, got = f"as many cells as in the header, {between[0] + 1}", int(between[odd[0]]) + 1
        comma = separator == "," and got > between[0]
        hint = "; a comma within a cell needs quotes around the cell" if comma else ""
        raise DataError(f"{path}, line {lines[odd[0]]}", expected, f"{got}{hint}")
    rows = [raw[start:end] for start, end in zip(starts, ends, strict=True)]
    width = int(between[0]) + 1
    names = _names(path, _parse(path, rows[:1], separator, width).row(0))
    return Frame(
        _parse(path, rows[1:], separator, width).rename(dict(zip(map(str, range(width)), names, strict=True))),
        lines[1:],
        "line",
    )


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
    bare = np.append(data, ord("\n"))
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
    schema = {str(number): pl.String for number in range(width)}
    if not rows:
        return pl.DataFrame(schema=schema)
    body = b"\n".join(rows) + b"\n"
    try:
        cells = pl.read_csv(body, has_header=False, separator=separator, schema=schema)
    except pl.exceptions.PolarsError as error:
        raise DataError(str(path), "a table", shown(str(error).partition("\n")[0])) from None
    if len(cells) != len(rows):
        raise DataError(str(path), f"{len(rows)} rows, by its lines and quotes", f"{len(cells)} in reading it")
    return cells


def _names(path: Path, header: Sequence[str | None]) -> list[str]:
    """Return the names of the columns; one without a name is called by its number."""
    names = [(name or "").strip() or f"column_{number}" for number, name in enumerate(header, start=1)]
    [(name, count)] = Counter(names).most_common(1)
    if count > 1:
        raise DataError(f"header of {path}", "each name once", f"{shown(name)} {count} times")
    cells = [pl.Series([name]) for name in names]
    if all(looks_numeric(cell) or looks_like_times(cell) for cell in cells):
        got = f"{shown(names[0])}, which looks like data"
        raise DataError(f"header of {path}", "the names of the columns", got)
    return names
