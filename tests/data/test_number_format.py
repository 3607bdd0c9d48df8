"""How numbers are written: decimal marks, groups of digits, words and numbers for missing values, truth values."""

from __future__ import annotations

import math
import re

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewright.data.number_format import PLAIN, Notation, hint
from gatewright.data.table import Roles
from gatewright.errors import GatewrightError
from tests.support.tables import read, refused, values

NUMBER = "expected a number (up to 1e+100), or nothing where it is missing, got"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("tables")


def column(folder, cells, notation, separator=";"):
    rows = "".join(f"{number}{separator}{cell}\n" for number, cell in enumerate(cells))
    return read(folder, f"n{separator}y\n{rows}", Roles(("y",), time="none", notation=notation))


@pytest.mark.parametrize(
    ("notation", "cells", "expected"),
    [
        (Notation(","), ["1,5", "-2", ",5", "3,", "1,5e3", " 7,25 "], [1.5, -2, 0.5, 3, 1500, 7.25]),
        (Notation(",", "."), ["1.234,5", "1.234", "1234,5", "-1.234.567,25"], [1234.5, 1234, 1234.5, -1234567.25]),
        (Notation(".", ","), ["1,234.5", "1,234", "999", "1,000,000"], [1234.5, 1234, 999, 1e6]),
        (Notation(",", " "), ["1 234,5", "1\u00a0234", "1\u202f234\u202f567"], [1234.5, 1234, 1234567]),
        (Notation(".", "'"), ["1'234.5", "7"], [1234.5, 7]),
        (Notation(missing=("-999", "bad")), ["1", "-999", "-999.0", "-9.99e2", "BAD", "na"],
         [1] + [math.nan] * 5),
        (Notation(",", missing=("-999,5",)), ["1,5", "-999,5", "-999,50"], [1.5, math.nan, math.nan]),
        (Notation(missing=("inf", "1e999")), ["1", "inf", "-1"], [1, math.nan, -1]),
        (PLAIN, ["True", "FALSE", "true", "", "false", " True "], [1, 0, 1, math.nan, 0, 1]),
        (Notation(missing=("-999",)), ["true", "-999", "false"], [1, math.nan, 0]),
    ],
)  # fmt: skip
def test_numbers_in_every_notation(folder, notation, cells, expected):
    np.testing.assert_array_equal(values(column(folder, cells, notation)), expected)


@pytest.mark.parametrize(
    ("notation", "cells", "message"),
    [
        (PLAIN, ["1", "1,5"], f"line 3: {NUMBER} '1,5'; --decimal , reads it as 1.5"),
        (PLAIN, ["1.234,5"], f"line 2: {NUMBER} '1.234,5'; --decimal , --thousands . reads it as 1234.5"),
        (PLAIN, ["1,234"], f"line 2: {NUMBER} '1,234'; --decimal , reads it as 1.234,"
                           " --thousands , reads it as 1234"),
        (PLAIN, ["1,234", "1,5"], f"line 2: {NUMBER} '1,234'; --decimal , reads it as 1.234"),
        (PLAIN, ["1,234", "1,234,567"], f"line 2: {NUMBER} '1,234'; --thousands , reads it as 1234"),
        (PLAIN, ["5,5", "x", "1.005,5"], f"line 2: {NUMBER} '5,5'; --decimal , --thousands . reads it as 5.5"),
        (PLAIN, ["abc,"], f"line 2: {NUMBER} 'abc,'"),
        (PLAIN, ["5,"], f"line 2: {NUMBER} '5,'"),
        (PLAIN, ["1,5 kWh"], f"line 2: {NUMBER} '1,5 kWh'"),
        (Notation(","), ["1,5", "1.5"], f"line 3: {NUMBER} '1.5'; --decimal . reads it as 1.5"),
        (Notation(",", "."), ["1.5"], f"line 2: {NUMBER} '1.5'; --decimal . without --thousands reads it as 1.5"),
        (Notation(",", "."), ["12.34.567"], f"line 2: {NUMBER} '12.34.567'"),
        (Notation(".", ","), ["1,5"], f"line 2: {NUMBER} '1,5'; --decimal , without --thousands reads it as 1.5"),
        (Notation(","), ["inf"], f"line 2: {NUMBER} 'inf'"),
        (PLAIN, ["true", "1"], "line 3: expected cells of one kind, such as 'true' in line 2, got '1'"),
        (PLAIN, ["1", "", "0", "True"], "line 5: expected cells of one kind, such as '1' in line 2, got 'True'"),
        (PLAIN, ["true", "yes"], "line 3: expected cells of one kind, such as 'true' in line 2, got 'yes'"),
    ],
)  # fmt: skip
def test_cells_that_are_no_numbers(folder, notation, cells, message):
    rows = "".join(f"{number};{cell}\n" for number, cell in enumerate(cells))
    said = refused(folder, f"n;y\n{rows}", Roles(("y",), time="none", notation=notation))
    assert said == f"column 'y', {message}"


@given(
    st.floats(-1e15, 1e15),
    st.sampled_from([Notation(","), Notation(",", "."), Notation(".", ","), Notation(",", " ")]),
)
def test_what_a_notation_writes_it_reads(number, notation):
    written = f"{number:,.6f}".replace(",", "G").replace(".", notation.decimal).replace("G", notation.thousands)
    assert notation.number(written) == float(f"{number:.6f}")


@given(st.text("0123456789.,' eE+-x", max_size=12), st.sampled_from([PLAIN, Notation(","), Notation(",", ".")]))
def test_a_hint_reads_what_it_says(cell, notation):
    """The options of a hint read the cell as the number that it says, which the notation of the file did not."""
    said = hint(pl.Series([cell]), notation)
    if not said:
        return
    assert notation.number(cell) is None
    match = re.match(
        r'; (--decimal ([.,]) ?)?(without --thousands ?|--thousands "?(.)"? ?)?reads it as ([^,]+)', said
    )
    assert match
    thousands = (match[4] or "") if match[3] else notation.thousands
    found = Notation(match[2] or notation.decimal, thousands).number(cell)
    assert found is not None
    assert f"{found:.15g}" == match[5]
    assert any(mark in cell for mark in ".,' ")


def test_parquet_columns_obey_too(folder):
    frame = pl.DataFrame(
        {
            "y": pl.Series([1.5, -999.9, 2.5], dtype=pl.Float32),
            "whole": pl.Series([1, -999, 2], dtype=pl.Int16),
            "written": ["1,5", "-999", "2"],
            "flag": [True, None, False],
        }
    )
    notation = Notation(",", missing=("-999.9", "-999"))
    table = read(folder, frame, Roles(("y", "whole", "written", "flag"), time="none", notation=notation))
    np.testing.assert_array_equal(
        table.series[0].values, [[1.5, 1, 1.5, 1], [math.nan] * 4, [2.5, 2, 2, 0]]
    )  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((".", "."), "--decimal and --thousands: expected two different characters, got '.' for both;"
                     " --decimal , sets the other mark"),
        ((",", ","), "--decimal and --thousands: expected two different characters, got ',' for both;"
                     " --decimal . sets the other mark"),
        ((";", ""), "--decimal: expected a point or a comma, got ';'"),
        (("", ""), "--decimal: expected a point or a comma, got ''"),
        ((".", "0"), "--thousands: expected a point, a comma, a space, an apostrophe or an underscore, got '0'"),
    ],
)  # fmt: skip
def test_marks_that_contradict_each_other(arguments, message):
    with pytest.raises(GatewrightError) as error:
        Notation(*arguments)
    assert str(error.value) == message


def test_a_mark_that_also_separates_cells(folder):
    def said(content, *marks):
        return refused(folder, content, Roles(("y",), time="none", notation=Notation(*marks)))

    expected = "expected another character than the one between the cells, or quotes around the cells, got ','"
    assert said("n,y\n1,5\n2,6\n", ",").startswith(f"--decimal: {expected}, which separates the cells of FILE")
    assert said("n,y\n1,5\n2,6\n", ".", ",").startswith(f"--thousands: {expected}")
    quoted = read(folder, 'n,y\n1,"1.005,5"\n2,"6"\n', Roles(("y",), time="none", notation=Notation(",", ".")))
    assert values(quoted) == [1005.5, 6]
    # A single column, and a name with the mark in it, hold no separator.
    single = read(folder, "y\n1,5\n2,5\n", Roles(("y",), time="none", notation=Notation(",")))
    assert values(single) == [1.5, 2.5]
    named = read(folder, "n;y, kWh\n1;1,5\n", Roles(("y, kWh",), time="none", notation=Notation(",")))
    assert values(named) == [1.5]


def test_the_target_is_found_in_the_notation_of_the_file(folder):
    content = "t;y\n2020-01-01;1,5\n2020-01-02;2,5\n"
    assert values(read(folder, content, Roles(notation=Notation(",")))) == [1.5, 2.5]
    expected = "--target: expected the column to forecast, out of 'y', got none; a cell of 'y' is"
    assert refused(folder, content, Roles()) == f"{expected} '1,5'; --decimal , reads it as 1.5"
    groups = content.replace("2,5", "2.000,5")
    assert refused(folder, groups, Roles()) == f"{expected} '1,5'; --decimal , --thousands . reads it as 1.5"
    # A column of whole numbers next to it is not taken for the target in silence.
    beside = "t;n;y\n2020-01-01;1;1,5\n2020-01-02;2;2,5\n"
    assert refused(folder, beside, Roles()).startswith(
        "--target: expected the column to forecast, out of 'n', 'y'"
    )
    words = "t;y\n2020-01-01;bad\n2020-01-02;bad\n2020-01-03;1\n2020-01-04;2\n"
    assert len(values(read(folder, words, Roles(notation=Notation(missing=("bad",)))))) == 4
