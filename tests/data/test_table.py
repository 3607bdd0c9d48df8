"""From the cells of a table to its series: which column is what, and is every cell usable?"""

from __future__ import annotations

import csv
import math
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from gatewright.data.table import Roles, read_table
from tests.support.tables import SIMPLE, VALUES, read, refused, values

DATA = Path(__file__).parents[3] / "shared" / "data"
NAN = math.nan
TIMES = [datetime(2020, 1, 1) + timedelta(hours=hour) for hour in range(4)]
COLUMNS = "expected a column out of 'day', 'temp', 'wind', 'site', got"
INPUT = "expected a number in every row of an input, got nothing"
FILL = "--fill forward or mean fills them)"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("tables")


@pytest.mark.parametrize(
    ("roles", "message"),
    [
        (Roles(("Tmep",)), f"--target: {COLUMNS} 'Tmep'; did you mean 'temp'?"),
        (Roles(("temp",), past=("xyz",)), f"--past: {COLUMNS} 'xyz'"),
        (Roles(("temp",), known=("Wind",)), f"--known: {COLUMNS} 'Wind';"
                                            " did you mean 'wind'?"),
        (Roles(("temp",), static=("sites",)), f"--static: {COLUMNS} 'sites';"
                                              " did you mean 'site'?"),
        (Roles(("temp",), series="sit"), f"--id: {COLUMNS} 'sit';"
                                         " did you mean 'site'?"),
        (Roles(("temp",), time="date"), f"--time: {COLUMNS} 'date';"
                                        " did you mean 'day'?"),
        (Roles(("temp",), past=("temp",)), "--target and --past: expected each column once, got 'temp' twice"),
        (Roles(("temp", "temp")), "--target: expected each column once, got 'temp' twice"),
        (Roles(("temp",), time="temp"), "--target and --time: expected each column once, got 'temp' twice"),
        (Roles(), "--target: expected the column to forecast, out of 'temp', 'wind', got none"),
        (Roles(("temp",), time_format="%d %b %Y"),
         "--time-format: expected a column of timestamps written so, got '%d %b %Y'"),
    ],
)  # fmt: skip
def test_columns_that_are_named_wrongly(folder, roles, message):
    assert refused(folder, "day,temp,wind,site\n2020-01-01,1,2,a\n2020-01-02,2,3,b\n", roles) == message


def test_many_columns_are_not_all_listed(folder):
    names = [f"c{number}" for number in range(300)]
    content = ",".join(names) + "\n" + ",".join("1" for _ in names) + "\n"
    assert refused(folder, content, targets=("z",)).endswith("'c19' and 280 more, got 'z'")


def test_columns_are_found(folder):
    table = read(folder, "site,when,load\na,2020-01-01,1\na,2020-01-02,2\n", Roles())
    assert table.roles == Roles(("load",), time="when")
    assert table.unused == ("site",)
    assert read(folder, "y\n1\n\n2\n", Roles()).roles == Roles(("y",), time="none")
    # A cell that is wrong does not make another kind of its column.
    bad = SIMPLE.replace("2020-01-02", "2020-01-32")
    hint = "--time-format says how they are written, --time none takes the rows in order"
    assert refused(folder, bad) == f"time column 't', line 3: expected a timestamp, got '2020-01-32'; {hint}"
    assert refused(folder, SIMPLE.replace("2.5", "x"), Roles()).startswith("column 'y', line 3: ")


def test_series_keep_their_order_and_names(folder):
    """Sorted by date, then id; lengths differ, names are text."""
    content = "day,site,y\n"
    truth: dict[str, list[tuple[int, float]]] = {"007": [], "7": [], "NA": [], " b": []}
    line = 2
    for number in range(6):
        for index, name in enumerate(truth):
            if index <= number:
                content += f"2020-01-{number + 1:02d},{name},{10 * index + number}\n"
                truth[name].append((line, 10 * index + number))
                line += 1
    table = read(folder, content, series="site")
    assert [one.name for one in table.series] == ["007", "7", "NA", "b"]
    for one, rows in zip(table.series, truth.values(), strict=True):
        assert one.lines.tolist() == [line for line, _ in rows]
        assert one.values[:, 0].tolist() == [value for _, value in rows]


@pytest.mark.parametrize(
    ("rows", "more", "message"),
    [
        ("1,a,1,5\n2,,2,5", {}, "id column 's', line 3: expected the name of a series, got nothing"),
        ("1,a,1,5\n1,b,1,5\n2,b,1,5\n1,a,1,5", {},
         "time column 'd', line 5: expected a later timestamp than 2020-01-01, the one before in series 'a', got"
         " 2020-01-01, which repeats; --resample 1d --aggregate mean, sum or last gathers rows into steps"),
        ("1,a,1,5\n2,a,2,5\n3,a,2,5\n1,b,1,5\n3,b,2,5", {},
         "time column 'd', line 6: expected one row every 1d in series 'b', got 2020-01-03 after 2020-01-01, 2"
         " steps on; missing rows: 1, --fill forward or mean puts them in, --time none takes the rows in order"),
        ("1,a,,5\n2,a,,5\n1,b,,5\n2,b,,5", {},
         "target 'y' of series 'a': expected at least one observed value, got none"),
        ("1,a,1,5\n2,a,2,6", {"static": ("x",)},
         "static column 'x', line 3: expected one value in series 'a', got 5 and 6"),
        ("1,a,1,\n2,a,2,", {"static": ("x",)}, "static column 'x': expected a value in series 'a', got none"),
        ("1,a,1,5\n2,a,2,\n3,a,2,", {"past": ("x",)},
         f"column 'x', line 3: {INPUT} (missing in 2 rows; {FILL}"),
        ("1,a,1,5\n2,a,2,5\n3,a,,", {"known": ("x",)},
         f"column 'x', line 4: {INPUT} (missing in 1 rows; {FILL}"),
    ],
)  # fmt: skip
def test_series_that_cannot_be_used(folder, rows, more, message):
    content = "d,s,y,x\n" + "".join(f"2020-01-0{row}\n" for row in rows.split("\n"))
    assert refused(folder, content, series="s", **more) == message


def test_what_may_be_missing(folder):
    content = "d,y,p,k,s\n2020-01-01,,1,1,\n2020-01-02,2,2,2,9\n2020-01-03,,,3,\n"
    roles = {"past": ("p",), "known": ("k",), "static": ("s",)}
    [one] = read(folder, content, **roles).series
    # Targets anywhere, past inputs in the future, a static wherever it is given once.
    np.testing.assert_array_equal(one.values, [[NAN, 1, 1, 9], [2, 2, 2, 9], [NAN, NAN, 3, 9]])
    [one] = read(folder, content.replace("01,,1,1", "01,,,"), fill="mean", **roles).series
    np.testing.assert_array_equal(one.values[0], [NAN, NAN, NAN, 9])


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pl.Series([1, None, 2, 3], dtype=pl.Int8), [1, NAN, 2, 3]),
        (pl.Series([1, 2**40, 2, 3], dtype=pl.UInt64), [1, 2**40, 2, 3]),
        (pl.Series([0.5, NAN, None, 3], dtype=pl.Float32), [0.5, NAN, NAN, 3]),
        (pl.Series([True, None, False, True]), [1, NAN, 0, 1]),
        (pl.Series([Decimal("1.50"), None, Decimal("-2.25"), Decimal(3)]), [1.5, NAN, -2.25, 3]),
        (pl.Series([" 1", "NA", "2e3", ""]), [1, NAN, 2000, NAN]),
        (pl.Series(["1", "NA", "2", "1"], dtype=pl.Categorical), [1, NAN, 2, 1]),
        (pl.Series(["1", "2", "2", "1"], dtype=pl.Enum(["1", "2"])), [1, 2, 2, 1]),
    ],
)
def test_parquet_numbers(folder, column, expected):
    np.testing.assert_array_equal(values(read(folder, pl.DataFrame({"t": TIMES, "y": column}))), expected)


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (pl.Series(TIMES), "expected numbers, got cells of type 'Datetime("),
        (pl.Series([stamp.date() for stamp in TIMES]), "expected numbers, got cells of type 'Date'"),
        (pl.Series([timedelta(1)] * 4), "expected numbers, got cells of type \"Duration("),
        (pl.Series([[1]] * 4), "expected numbers, got cells of type 'List("),
        (pl.Series([{"a": 1}] * 4), "expected numbers, got cells of type \"Struct("),
        (pl.Series([b"1"] * 4), "expected numbers, got cells of type 'Binary'"),
        (pl.Series([1.0, math.inf, 2.0, 3.0]), "column 'y', row 2: expected a number (up to 1e+100), or nothing"),
        (pl.Series([None] * 4), "target 'y' of the table: expected at least one observed value, got none"),
    ],
)  # fmt: skip
def test_parquet_cells_that_are_no_numbers(folder, column, message):
    assert message.replace("'", '"') in refused(folder, pl.DataFrame({"t": TIMES, "y": column})).replace("'", '"')


@pytest.mark.parametrize(
    ("column", "names"),
    [
        (pl.Series([1, 1, 2, 2]), ["1", "2"]),
        (pl.Series(["a", "a", "b", "b"], dtype=pl.Categorical), ["a", "b"]),
        (pl.Series([True, True, False, False]), ["true", "false"]),
    ],
)
def test_parquet_names_of_series(folder, column, names):
    frame = pl.DataFrame({"t": [*TIMES[:2], *TIMES[:2]], "i": column, "y": VALUES})
    assert [one.name for one in read(folder, frame, series="i").series] == names
    bad = frame.with_columns(i=pl.Series([[1], [1], [2], [2]]))
    assert refused(folder, bad, series="i") == "id column 'i': expected names, got cells of type 'List(Int64)'"


@pytest.mark.skipif(not (DATA / "camels_4_basins.csv").exists(), reason=f"{DATA} is not there")
def test_four_basins():
    path = DATA / "camels_4_basins.csv"
    table = read_table(path, Roles(("streamflow_mm",), past=("prcp_mm", "tmax_c"), series="basin"))
    assert (table.step, table.roles.time) == ("1d", "date")
    with path.open() as file:
        rows = list(csv.DictReader(file))
    for one in table.series:
        mine = [row for row in rows if row["basin"] == one.name]
        expected = [[float(row[name] or "nan") for name in table.roles.columns] for row in mine]
        np.testing.assert_array_equal(one.values, expected)
        assert one.times.astype("datetime64[D]").astype(str).tolist() == [row["date"] for row in mine]
    assert sum(len(one.values) for one in table.series) == len(rows)
