"""Two ways to read the same text: all at once, and record by record."""

from __future__ import annotations

import csv
import io
import random
from pathlib import Path

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gatewright.data.csv_reader import SEPARATORS, read_delimited, read_records, read_with_polars
from gatewright.data.number_format import PLAIN
from gatewright.data.source_files import read_utf8
from gatewright.errors import DataError
from tests.support.examples import examples

FILE = Path("a.csv")
DATA = Path(__file__).parents[3] / "shared" / "data"
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


@st.composite
def quoted_tables(draw):
    """A table with cells in quotes here and there, as programs write it, and its separator."""
    separator, end = draw(st.sampled_from(SEPARATORS)), draw(st.sampled_from(["\n", "\r\n"]))
    width = draw(st.integers(2, 4))
    plain = st.sampled_from(["", "a", " ", "1.5", "é", "0012", " 7 ", "'"])
    inner = st.text("ab1 \n,;|\t'" + ('"' if draw(st.booleans()) else ""), max_size=5)
    quoted = inner.map(lambda cell: '"' + cell.replace('"', '""').replace("\n", end) + '"')
    names = [f'"c{number}"' if draw(st.booleans()) else f"c{number}" for number in range(width)]
    rows = draw(st.lists(st.lists(plain | quoted, min_size=width, max_size=width), min_size=1, max_size=6))
    return end.join([separator.join(row) for row in [names, *rows]]) + draw(st.sampled_from(["", end])), separator


@settings(max_examples=examples(60), deadline=None)
@given(quoted_tables())
@pytest.mark.slow
def test_cells_in_quotes_are_those_that_the_csv_module_reads(table):
    text, separator = table
    cells, lines = read_records(FILE, text.encode(), SEPARATORS)
    with_polars = read_with_polars(FILE, text.encode(), SEPARATORS)
    if with_polars is not None:
        assert (with_polars[0].rows(), with_polars[1].tolist()) == (cells.rows(), lines.tolist())
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    names, *rows = list(reader)
    assert cells.columns == names
    while rows and not any(rows[-1]) and len(rows) > len(cells):  # that a spreadsheet left empty
        rows.pop()
    assert [[cell or "" for cell in row] for row in cells.rows()] == rows


@pytest.mark.slow
@settings(max_examples=examples(75), deadline=None)
@given(texts().map(str.encode), st.sampled_from([SEPARATORS, SEPARATORS, "\t", ";"]))
@example(b"t,y\n1,2\n3,4\r", SEPARATORS)
@example(b"t,y\n1,2,3\n4\n", SEPARATORS)
@example(b"t,y\n4\n1,2,3\n", SEPARATORS)
@example(b"t;y,z\n1;2,3\n4;5,6\n", SEPARATORS)
@example(b"t,y\n1,2\n,\n", SEPARATORS)
@example(b"t,y\n1\na,b,", SEPARATORS)
@example(b't,y\n\r\n"a",b,', SEPARATORS)
@example(b't,y\n"","""', SEPARATORS)
@example(b't,y\n1,""a""\n', SEPARATORS)
@example(b't,y\n1,"a,"1",b"\n', SEPARATORS)
@example(b't,y\n1," ""\n', SEPARATORS)
@example(b't,y\n1\n"a,b",c\n', SEPARATORS)
@example(b't,y\n"\n",","\n",",1\n', SEPARATORS)
@example(b't,y\n"a\n",1\n"\nb",2\n', SEPARATORS)
@example(b't,"y\nz"\n1,2\n', SEPARATORS)
@example(b"t,y\n\xef\xbb\xbf1,2\n", SEPARATORS)
@example(b't\n"a,b"\n\n"c"\n', SEPARATORS)
@example(b"t\n1\n\n2\n", SEPARATORS)
@example(b'"t;u",y\n"1;2",3\n', SEPARATORS)
def test_both_ways_give_the_same(raw, separators):
    if b"\n" not in raw:
        raw = raw.replace(b"\r", b"\n")
    plain = result(read_with_polars, FILE, raw, separators)
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
    assert read_with_polars(FILE, raw, SEPARATORS) is None
    regular = raw.replace(f"\n{change}\n".encode(), b"\n1,2\n", 1)
    frame, lines = read_with_polars(FILE, regular, SEPARATORS) or (None, None)
    assert frame is not None
    assert lines[[0, -1]].tolist() == [2, frame.height + 1]


def test_two_odd_rows_make_no_even_ones():
    """One row with a cell more and one with a cell less have as many separators as two whole rows."""
    rows = ["1,2"] * 100_000
    rows[500], rows[90_000] = "1", "1,2,3"
    raw = ("a,b\n" + "\n".join(rows) + "\n").encode()
    assert read_with_polars(FILE, raw, SEPARATORS) is None
    expected = "a.csv, line 502: expected as many cells as in the header, 2, got 1"
    assert result(read_delimited, FILE, raw, SEPARATORS, PLAIN) == expected


@pytest.mark.slow
def test_quoted_cells_over_several_lines_in_a_long_file():
    """Long enough for polars to read it in pieces, with cells that look like rows."""
    draw = random.Random(7)
    inner = ["a", "1,2,3", "x\n1,2,3\n4,5,6", "a, b", "one, two\nthree", ""]
    rows = [[str(number), draw.choice(inner), f"{number}.5"] for number in range(150_000)]
    file = io.StringIO(newline="")
    writer = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    lines = [1]
    for row in [["id", "note", "y"], *rows]:
        writer.writerow([row[0], row[1], row[2]])
        lines.append(lines[-1] + 1 + sum(cell.count("\n") for cell in row))
    text = file.getvalue()
    frame, places = read_with_polars(FILE, text.encode(), SEPARATORS) or (pl.DataFrame(), None)
    assert frame.rows() == [tuple(row) for row in rows]
    assert places.tolist() == lines[1:-1]
    for odd in ('th"ree', 'three",,"', 'three"\n"', 'three""'):
        assert read_with_polars(FILE, text.replace("three", odd, 1).encode(), SEPARATORS) is None


def plain_and_quoted(frame: pl.DataFrame) -> list[bytes]:
    styles = ("necessary", "always", "non_numeric")
    return [frame.write_csv(quote_style=style, separator=each).encode() for style in styles for each in ",;"]


@pytest.mark.slow
def test_tables_as_people_publish_them():
    vega_datasets = pytest.importorskip("vega_datasets")
    sources = [*sorted(Path(vega_datasets.__file__).parent.glob("_data/*.csv")), *sorted(DATA.glob("*.csv"))]
    assert len(sources) > 5
    sure = 0
    for path in sources:
        raw = read_utf8(path)
        for text in [raw, *plain_and_quoted(read_delimited(path, raw, SEPARATORS, PLAIN)[0])]:
            records, places = read_records(path, text, SEPARATORS)
            with_polars = read_with_polars(path, text, SEPARATORS)
            if with_polars is not None:
                sure += 1
                assert with_polars[0].equals(records)
                assert with_polars[1].tolist() == places.tolist()
    assert sure > 5 * len(sources)


@pytest.mark.parametrize("header", ["1,2.5", "inf,-Infinity", "2024-01-01,5", "2024Q1,7", "5 Jan 2018,7", "INF"])
def test_a_header_that_looks_like_data_is_refused(header: str) -> None:
    raw = f"{header}\n1,2\n".encode()
    with pytest.raises(DataError, match=r"expected the names of the columns, got .*, which looks like data"):
        read_delimited(FILE, raw if "," in header else f"{header}\n1\n".encode(), SEPARATORS, PLAIN)


@pytest.mark.parametrize("header", ["x1,x2", "2024-01-01,load", "info,1", "Jan 5,Q1", "nan,na", "time,1"])
def test_a_header_with_digits_may_be_one_of_names(header: str) -> None:
    cells, _ = read_delimited(FILE, f"{header}\n1,2\n".encode(), SEPARATORS, PLAIN)
    assert cells.columns == header.split(",")
