"""Files as people have them: read as Python's own csv module reads them, or refused."""

from __future__ import annotations

import csv
import gzip
import io
from datetime import date

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatewright.data.table import Roles, read_table
from gatewright.errors import DataError
from tests.support.examples import examples
from tests.support.tables import DAYS, SIMPLE, VALUES, days, read, refused, values

pytestmark = pytest.mark.slow

QUOTES = "expected quotes around whole cells only, got a quote without its other"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("tables")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", SIMPLE),
        ("a.csv", SIMPLE.rstrip("\n")),
        ("a.csv", SIMPLE.replace("\n", "\r\n")),
        ("a.csv", SIMPLE.replace("\n", "\r")),
        ("a.csv", "\ufeff" + SIMPLE),
        ("a.csv", "\n\n" + SIMPLE + "\n\n"),
        ("a.csv", SIMPLE + ",\n,\n\n"),  # rows that a spreadsheet left empty
        ("a.csv", SIMPLE.replace("2020-01-02", "\n2020-01-02")),  # a blank line
        ("a.csv", SIMPLE.replace("t,y", '"t","y"').replace("2.5", '"2.5"')),
        ("a.csv", SIMPLE.replace(",", " , ")),
        ("a.csv", SIMPLE.replace(",", ";")),
        ("a.csv", SIMPLE.replace(",", "|")),
        ("a.txt", SIMPLE.replace(",", "\t")),
        ("a.tsv", SIMPLE.replace(",", "\t")),
        ("A.CSV", SIMPLE),
        ("a [1]*.csv", SIMPLE),
        ("a.csv.gz", gzip.compress(SIMPLE.encode(), mtime=0)),
        ("a.csv", gzip.compress(SIMPLE.encode(), mtime=0)),
        ("a.csv", SIMPLE.encode("utf-16")),
        ("a.csv", "\ufeff".encode("utf-16-be") + SIMPLE.encode("utf-16-be")),
        ("a.csv.gz", gzip.compress(SIMPLE.encode("utf-32"), mtime=0)),
        ("a.csv", ",t,y\n" + "".join(f"{i},{row}\n" for i, row in enumerate(SIMPLE.splitlines()[1:]))),
        ("a.csv", "what; when; where,t,y\n" + "".join(f"x,{row}\n" for row in SIMPLE.splitlines()[1:])),
        ("a.csv", '"a;b;c",t,y\n' + "".join(f"x,{row}\n" for row in SIMPLE.splitlines()[1:])),
    ],
)
def test_one_table_in_many_guises(folder, name, content):
    table = read(folder, content, name=name)
    assert table.roles.time == "t"
    assert table.step == "1d"
    assert values(table) == VALUES
    assert days(table) == DAYS


@pytest.mark.parametrize(
    "cell", ["", " ", "NA", "n/a", "#N/A", "NaN", "nan", "NULL", "None", "-", ".", "?", '""', " na ", "<NA>"]
)
def test_cells_that_are_missing(folder, cell):
    assert np.isnan(values(read(folder, SIMPLE.replace("2.5", cell)))[1])


@pytest.mark.parametrize(
    "cell", ["+5", ".5", "5.", "1e-300", "1E3", "-0", "007", "0.1", "123456789.123456789", "1e100", " 7 "]
)
def test_cells_that_are_numbers(folder, cell):
    assert values(read(folder, SIMPLE.replace("2.5", cell)))[1] == float(cell)


NAMES = st.text("ab \n\",;é'", min_size=1, max_size=5).map(str.strip).filter(bool)
NUMBERS = st.none() | st.integers(-999, 999) | st.floats(-1e9, 1e9)


@settings(max_examples=60, deadline=None)
@given(
    names=st.lists(NAMES, min_size=2, max_size=4, unique=True),
    rows=st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS), min_size=2, max_size=8),
    texts=st.lists(st.text(' \n\r",;x', max_size=4), min_size=8, max_size=8),
    separator=st.sampled_from(",;\t|"),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    ends=st.sampled_from(["\n", "\r\n"]),
)
def test_whatever_the_csv_module_writes_is_read(folder, names, rows, texts, separator, quoting, ends):
    """Line numbers too, beside texts that run over several lines."""
    rows = [row if any(cell is not None for cell in row) else (1, 2, 3) for row in rows]
    names = [*names[:-1], "note"] if "note" not in names[:-1] else names
    width = len(names) - 1
    file = io.StringIO(newline="")
    writer = csv.writer(file, delimiter=separator, quoting=quoting, lineterminator=ends)
    writer.writerow(["first", *names])
    lines = []
    for number, row in enumerate(rows):
        lines.append(file.getvalue().count("\n") + 1)
        writer.writerow([number + 1, *row[:width], *[None] * (width - 3), f"x{texts[number]}"])
    roles = Roles(targets=("first", *names[:-1]), time="none")
    table = read(folder, file.getvalue(), roles)
    [one] = table.series
    expected = [[number + 1, *row[:width], *[None] * (width - 3)] for number, row in enumerate(rows)]
    np.testing.assert_array_equal(one.values, np.array(expected, dtype=np.float64))
    assert one.lines.tolist() == lines
    assert table.unused == ("note",)


def test_errors_name_the_line_of_the_file(folder):
    content = 't,n,y\n2020-01-01,"a\nb\n\nc",1\n\n2020-01-02,d,2\n2020-01-03,e,x\n'
    expected = "a number (up to 1e+100), or nothing where it is missing"
    assert refused(folder, content) == f"column 'y', line 8: expected {expected}, got 'x'"
    frame = pl.DataFrame({"t": [date(2020, 1, 1), date(2020, 1, 2)], "y": ["1", "x"]})
    assert refused(folder, frame) == f"column 'y', row 2: expected {expected}, got 'x'"


REMEDY = "save it as UTF-8 (in Excel: CSV UTF-8), or convert it: iconv -f windows-1252 -t utf-8"
NUMBER = "expected a number (up to 1e+100), or nothing where it is missing, got"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "FILE: expected a header and rows below it, got an empty file"),
        ("\n\r\n\n", "FILE: expected a header and rows below it, got an empty file"),
        ("t,y", "FILE: expected a header and rows below it, got no row"),
        ("t,y\n,\n", "FILE: expected a header and rows below it, got no row"),
        ("t,y\n1,2\n1,2,3\n", "FILE, line 3: expected as many cells as in the header, 2, got 3; a comma within a"
                              " cell needs quotes around the cell"),
        ("# by hand\nt,y\n1,2\n", "FILE, line 2: expected as many cells as in the header, 1, got 2; a comma within"
                                  " a cell needs quotes around the cell"),
        ("t;y\n1;2\n1\n", "FILE, line 3: expected as many cells as in the header, 2, got 1"),
        ("t;y\n1;2,5\n", f"column 'y', line 2: {NUMBER} '2,5'; --decimal , reads it as 2.5"),
        ('t,y\n1,"-2,5"\n', f"column 'y', line 2: {NUMBER} '-2,5'; --decimal , reads it as -2.5"),
        ("t;y\n1;2,5,7\n", f"column 'y', line 2: {NUMBER} '2,5,7'"),
        ("t,y\n1,inf\n", f"column 'y', line 2: {NUMBER} 'inf'"),
        ("t,y\n1,1e101\n", f"column 'y', line 2: {NUMBER} '1e101'"),
        ("t,y\n1,1e999\n", f"column 'y', line 2: {NUMBER} '1e999'"),
        ("t,y\n1,2\n3,1_000\n", f"column 'y', line 3: {NUMBER} '1_000'; --thousands _ reads it as 1000"),
        ("t,y\n1,yes\n", f"column 'y', line 2: {NUMBER} 'yes'"),
        ("t,y\n1,2,\n3,4,\n", "FILE, line 2: expected as many cells as in the header, 2, got 3, the last one"
                              " empty"),
        ("y,y\n1,2\n", "header of FILE: expected each name once, got 'y' 2 times"),
        ("y, y \n1,2\n", "header of FILE: expected each name once, got 'y' 2 times"),
        ("2020-01-01,5\n2020-01-02,6\n",
         "header of FILE: expected the names of the columns, got '2020-01-01', which looks like data"),
        (b"t,y\n1,2\n\xfc,3\n", f"FILE: expected UTF-8 text, got byte 0xfc in line 3; {REMEDY}"),
        ('t,y\n1,2\n3,5" pipe\n', f"FILE, line 3: {QUOTES}"),
        ('t,y\n1,a"2"\n', f"FILE, line 2: {QUOTES}"),
        ('t,y\n"1"x,2\n', f"FILE, line 2: {QUOTES}"),
        ('t,y\n1,2\n"3,4\n5,6\n', f"FILE, line 3: {QUOTES}"),
    ],
)  # fmt: skip
def test_a_text_that_is_no_table(folder, content, message):
    assert refused(folder, content) == message


@settings(max_examples=examples(100), deadline=None)
@given(
    st.binary(max_size=40)
    | st.text(st.sampled_from('ty,;\n\r"1-20.x '), max_size=40).map(str.encode)
    | st.tuples(st.integers(0, len(SIMPLE)), st.integers(0, 3), st.text('",;\n\r\0e9-x', max_size=3)).map(
        lambda change: (SIMPLE[: change[0]] + change[2] + SIMPLE[sum(change[:2]) :]).encode()
    ),
    st.sampled_from(["", "forward"]),
    st.sampled_from(
        [Roles(), Roles(("y",)), Roles(("y",), time="t"), Roles(("y",), time="none"), Roles(series="t")]
    ),
    st.sampled_from(["a.csv", "a.csv", "a.csv.gz", "a.parquet"]),
)
def test_garbage_is_read_or_refused(folder, raw, fill, roles, name):
    try:
        table = read(folder, raw, roles, fill, name=name)
    except DataError as error:
        refusal = str(error)
    else:
        refusal = ""
        assert all(np.isfinite(one.values).any() for one in table.series)
    assert len(refusal) < 1000


def test_a_parquet_file_that_was_cut_off(folder):
    whole = folder / "whole.parquet"
    pl.DataFrame({"t": pl.Series(DAYS).str.to_date(), "y": VALUES}).write_parquet(whole)
    cut = folder / "cut.parquet"
    for length in range(0, whole.stat().st_size, 7):
        cut.write_bytes(whole.read_bytes()[:length])
        with pytest.raises(DataError, match="expected a Parquet file, got "):
            read_table(cut, Roles(("y",)))


def test_a_parquet_file_that_makes_polars_panic(folder, monkeypatch):
    def panic(file):
        raise pl.exceptions.PanicException("range.end as u64 <= self.size\nstack backtrace")

    monkeypatch.setattr(pl, "read_parquet", panic)
    frame = pl.DataFrame({"y": VALUES})
    with pytest.raises(DataError, match="expected a Parquet file, got a file that is damaged, cut off"):
        read(folder, frame)
