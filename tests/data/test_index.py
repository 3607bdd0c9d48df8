"""Row numbers that pandas and R write beside a table: no target, and a time where they are one."""

from __future__ import annotations

from datetime import datetime, timedelta

import polars as pl
import pytest

from gatewright.data.roles import is_index
from gatewright.data.table import Roles
from tests.support.tables import read, refused

LOADS = [3.5, 4.0, 2.5, 7.0, 5.5]
START = datetime(2020, 1, 1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("tables")


def with_index(name, numbers, quoted=False, more=()):
    quote = '"' if quoted else ""
    head = ",".join(f"{quote}{each}{quote}" for each in (name, "load", *more))
    rows = zip(numbers, LOADS, strict=True)
    return f"{head}\n" + "".join(f"{quote}{number}{quote},{load}{',1' * len(more)}\n" for number, load in rows)


@pytest.mark.parametrize(
    ("name", "numbers", "quoted"),
    [
        ("Unnamed: 0", range(5), False),  # pandas' to_csv, read and written again
        ("Unnamed: 0.1", range(5), False),
        ("", range(5), False),  # pandas' to_csv
        ("", range(1, 6), True),  # R's write.csv
        ("index", range(5), False),  # pandas' reset_index
        ("Index", range(5), False),
        ("level_0", range(5), False),
        ("__index_level_0__", range(5), False),
        ("index", [0, 2, 5, 6, 9], False),  # some rows were left out
        ("", [0, 1, 2, 0, 1], False),  # two tables, one below the other
        ("rownames", range(1, 6), True),
    ],
)
def test_row_numbers_are_no_target(folder, name, numbers, quoted):
    table = read(folder, with_index(name, numbers, quoted), Roles(time="none"))
    assert table.roles.targets == ("load",)
    assert [row[0] for row in table.series[0].values.tolist()] == LOADS
    # Of two columns that are left they are not listed, but may be named.
    message = refused(folder, with_index(name, numbers, quoted, ["wind"]), Roles(time="none"))
    assert message == "--target: expected the column to forecast, out of 'load', 'wind', got none"


def test_a_parquet_file_with_the_index_of_pandas(folder):
    frame = pl.DataFrame({"load": LOADS, "__index_level_0__": [3, 5, 6, 8, 9]})
    assert read(folder, frame, Roles(time="none")).roles.targets == ("load",)


@pytest.mark.parametrize("name", ["Unnamed: 0", "", "index", "__index_level_0__"])
def test_a_datetime_index_is_the_time(folder, name):
    times = [START + timedelta(hours=hour) for hour in range(5)]
    table = read(folder, with_index(name, times), Roles())
    assert (table.roles.time, table.step) == (name or "column_1", "1h")
    assert table.roles.targets == ("load",)
    if name:
        stored = pl.DataFrame({"load": LOADS, name: times})
        table = read(folder, stored, Roles())
        assert (table.roles.time, table.step, table.roles.targets) == (name, "1h", ("load",))


@pytest.mark.parametrize(
    ("name", "numbers"),
    [
        ("load", range(5)),  # not a name of row numbers
        ("index", [101.5, 102.0, 101.0, 99.5, 100.0]),  # of prices
        ("index", [5, 3, 4, 1, 2]),
        ("column_2", range(5)),
    ],
)
def test_what_is_no_row_number(name, numbers):
    assert not is_index(pl.Series(name, list(numbers)))
    assert not is_index(pl.Series(name, [str(number) for number in numbers]))


def test_a_column_of_row_numbers_alone_may_be_learned(folder):
    assert read(folder, "index\n0\n1\n2\n", Roles(time="none")).roles.targets == ("index",)
    assert read(folder, with_index("index", range(5)), Roles(("index",), time="none")).roles.targets == ("index",)
