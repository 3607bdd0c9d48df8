"""Two ways to read the same text: all at once, and record by record."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gatewright.data.csv_reader import SEPARATORS, read_delimited, read_plain, read_records
from gatewright.data.number_format import PLAIN
from gatewright.errors import DataError

FILE = Path("a.csv")
CELLS = st.sampled_from(["", " ", "1", "-2.5", "na", "x y", "2020-01-01", "'", "é", "\r", "1 ", "0"]) | st.text(
    "ab1,;|\t. \r\0", max_size=4
)
QUOTED = st.sampled_from(['"a"', '"a;b"', '"a\nb"', '"a""b"', '""', '"', 'a"b', '"\r\n"'])


@st.composite
def texts(draw):
    """A text such as people have: mostly regular, with one or the other thing about it."""
    separator = draw(st.sampled_from(SEPARATORS))
    width = draw(st.integers(1, 4))
    cells = CELLS | QUOTED if draw(st.booleans()) else CELLS
    rows = [
        [f"c{number}" for number in range(width)]
        if draw(st.booleans())
        else draw(st.lists(cells, min_size=1, max_size=4))
    ]
    for _ in range(draw(st.integers(0, 8))):
        length = width if draw(st.integers(0, 9)) else draw(st.integers(0, 5))
        rows.append(draw(st.lists(cells, min_size=length, max_size=length)))
    end = draw(st.sampled_from(["\n", "\r\n", "\r"]))
    text = end.join(separator.join(row) for row in rows)
    return "".join([draw(st.sampled_from(["", "", end])), text, draw(st.sampled_from(["", end, end, end * 2]))])


def result(reader, *arguments):
    try:
        found = reader(*arguments)
    except DataError as error:
        return str(error)
    return None if found is None else (found[0].columns, found[0].rows(), found[1].tolist())


@settings(max_examples=150, deadline=None)
@given(texts().map(str.encode), st.sampled_from([SEPARATORS, SEPARATORS, "\t", ";"]))
@example(b"t,y\n1,2\n3,4\r", SEPARATORS)
@example(b"t,y\n1,2,3\n4\n", SEPARATORS)
@example(b"t,y\n4\n1,2,3\n", SEPARATORS)
@example(b"t;y,z\n1;2,3\n4;5,6\n", SEPARATORS)
@example(b"t,y\n1,2\n,\n", SEPARATORS)
def test_both_ways_give_the_same(raw, separators):
    if b"\n" not in raw:
        raw = raw.replace(b"\r", b"\n")
    plain = result(read_plain, FILE, raw, separators)
    if plain is not None:
        assert plain == result(read_records, FILE, raw, separators)
    # What is read is one of the two, at any rate.
    assert result(read_delimited, FILE, raw, separators, PLAIN) == result(read_records, FILE, raw, separators)


@pytest.mark.parametrize("row", [3, 199_998])
@pytest.mark.parametrize("change", ["1", "1,2,3", ""])
def test_an_odd_row_anywhere_in_a_long_file(row, change):
    """Long enough for polars to read it in pieces."""
    rows = [f"{number},{number % 7}" for number in range(200_000)]
    rows[row] = change
    raw = ("a,b\n" + "\n".join(rows) + "\n").encode()
    assert read_plain(FILE, raw, SEPARATORS) is None
    regular = raw.replace(f"\n{change}\n".encode(), b"\n1,2\n", 1)
    frame, lines = read_plain(FILE, regular, SEPARATORS) or (None, None)
    assert frame is not None
    assert lines[[0, -1]].tolist() == [2, frame.height + 1]


def test_two_odd_rows_make_no_even_ones():
    """One row with a cell more and one with a cell less have as many separators as two whole rows."""
    rows = ["1,2"] * 100_000
    rows[500], rows[90_000] = "1", "1,2,3"
    raw = ("a,b\n" + "\n".join(rows) + "\n").encode()
    assert read_plain(FILE, raw, SEPARATORS) is None
    expected = "a.csv, line 502: expected as many cells as in the header, 2, got 1"
    assert result(read_delimited, FILE, raw, SEPARATORS, PLAIN) == expected
