"""Reader of ``.ts`` files, the format of the UCR/UEA archive of time series classification.

A line is a sequence: its dimensions, separated by ``:``, then its class.  The numbers of a dimension are separated
by commas; ``?`` or ``NaN`` stands for a missing one.  Lines that begin with ``@`` describe the data.  Lines that
begin with ``#`` are comments.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gatewright.data.sequences import LARGEST, Sequences
from gatewright.data.source_files import read_utf8
from gatewright.errors import DataError, shorten


def read_ts(path: Path) -> Sequences:
    """Read a ``.ts`` file (also packed, ``.gz``).

    The labels are None where the header says ``@classLabel false``; dimensions are the columns dim_0, dim_1, ...

    Raises:
        DataError: if it cannot be read, holds timestamps, or a line does not fit the header; it names the line.
    """
    lines = read_utf8(path).decode("utf-8").splitlines()
    header, first = _header(path, lines)
    labelled = header.get("classlabel", "true").split()[0].lower() == "true"
    classes = header.get("classlabel", "").split()[1:]
    values: list[NDArray[np.float64]] = []
    labels, places = [], []
    for number, line in enumerate(lines[first:], start=first + 1):
        if not line.strip() or line.startswith("#"):
            continue
        place = f"{path}, line {number}"
        dimensions = line.split(":")
        if labelled:
            label = dimensions.pop().strip()
            if not label or label == "?":
                raise DataError(place, "a class after the last colon", "nothing")
            if classes and label not in classes:
                raise DataError(
                    place, f"a class out of {shorten(' '.join(classes))}, as in the header", shorten(label)
                )
            labels.append(label)
        values.append(_values(place, dimensions))
        if values[-1].shape[1] != values[0].shape[1]:
            expected = f"{values[0].shape[1]} dimensions, as in the lines before"
            raise DataError(place, expected, str(values[-1].shape[1]))
        places.append(f"line {number}")
    if not values:
        raise DataError(str(path), "sequences after @data", "none")
    columns = tuple(f"dim_{n}" for n in range(values[0].shape[1]))
    names = tuple(str(number) for number in range(len(values)))
    return Sequences(tuple(values), columns, tuple(labels) if labelled else None, names, tuple(places))


def _header(path: Path, lines: list[str]) -> tuple[dict[str, str], int]:
    """Return the fields of the header in small letters, and the number of the first line of data."""
    header: dict[str, str] = {}
    for number, line in enumerate(lines):
        word, _, rest = line.strip().partition(" ")
        if word.lower() == "@data":
            if header.get("timestamps", "false").strip().lower() == "true":
                got = "@timeStamps true; a long table with a time column holds such data"
                raise DataError(str(path), "a .ts file without timestamps", got)
            if header.get("targetlabel", "false").strip().lower() == "true":
                raise DataError(str(path), "a .ts file with classes", "@targetLabel true, numbers to predict")
            return header, number + 1
        if word.startswith("@"):
            header[word[1:].lower()] = rest.strip()
        elif word and not word.startswith("#"):
            expected = "a header of lines such as @classLabel, and @data"
            raise DataError(f"{path}, line {number + 1}", expected, shorten(line))
    raise DataError(str(path), "a line @data, and sequences after it", "none")


def _values(place: str, dimensions: list[str]) -> NDArray[np.float64]:
    """Return the numbers of a sequence, (T, D)."""
    if not dimensions:
        raise DataError(place, "numbers before the class", "nothing")
    columns = [_numbers(f"{place}, dimension {n}", text) for n, text in enumerate(dimensions)]
    lengths = sorted({len(column) for column in columns})
    if len(lengths) > 1:
        raise DataError(place, "dimensions of one length", f"lengths {lengths[0]} and {lengths[-1]}")
    return np.stack(columns, axis=1)


def _numbers(place: str, text: str) -> NDArray[np.float64]:
    cells = [cell.strip() for cell in text.split(",")]
    try:
        numbers = np.array([np.nan if cell == "?" else float(cell) for cell in cells])
    except ValueError:
        numbers = None
    if numbers is None:
        wrong = next((cell for cell in cells if not _is_number(cell)), "")
        raise DataError(place, "numbers separated by commas", shorten(wrong) if wrong else "nothing")
    bad = ~(np.isnan(numbers) | (np.abs(numbers) <= LARGEST))
    if bad.any():
        raise DataError(place, f"numbers up to {LARGEST:g}, or ? where one is missing", cells[int(bad.argmax())])
    return numbers


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return cell == "?"
    return True
