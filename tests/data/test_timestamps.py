"""Timestamps as people write them: Python's datetime judges how they are read."""

from __future__ import annotations

import math
from datetime import date, datetime, time, timedelta, timezone

import numpy as np
import polars as pl
import pytest

from tests.support.tables import DAYS, VALUES, days, read, refused, values, with_times

NAN = math.nan
TIMES = [datetime(2020, 1, 1) + timedelta(hours=hour) for hour in range(4)]
HOW = "--time-format says how they are written, --time none takes the rows in order"
ROW = "time column 't', line"


#: What gathers rows at any times into steps.
GATHER = "--resample {} --aggregate mean, sum or last gathers rows into steps"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("tables")


@pytest.mark.parametrize(
    ("written", "more"),
    [
        ("%Y-%m-%d", {}),
        ("%Y/%m/%d", {}),
        ("%Y-%m-%dT%H:%M", {}),
        ("%Y-%m-%d %H:%M:%S", {}),
        ("%Y-%m-%d  %H:%M:%S.%f", {}),
        ("%Y-%m-%dT%H:%M:%SZ", {}),
        ("%Y-%m-%d %H:%M:%S+00:00", {}),
        ("%Y-%m-%dT%H:%M:%S,%f", {}),
        ("%d.%m.%Y", {}),
        ("%d.%m.%Y %H:%M", {}),
        ("%d/%m/%Y %H:%M:%S", {}),
        ("%m/%d/%Y %H:%M", {}),
        ("%-m/%-d/%Y %-H:%M", {}),
        ("%-d-%-m-%Y", {}),
        ("%d %b %Y", {"time_format": "%d %b %Y"}),
        ("%d.%m.%y", {"time_format": "%d.%m.%y"}),
        ("%Y-%m-%d %I:%M %p", {"time_format": "%Y-%m-%d %I:%M %p"}),
        ("%Y-%m-%d %H:%M %z", {"time_format": "%Y-%m-%d %H:%M %z"}),
        ("%Y%m%d", {"time": "t"}),
        ("%Y%m%d", {"time_format": "%Y%m%d"}),
    ],
)
def test_ways_to_write_a_day(folder, written, more):
    rows = [datetime(2020, 3, day, tzinfo=timezone.utc).strftime(written) for day in range(1, 14)]
    table = read(folder, with_times(rows, range(13)), **more)
    assert table.roles.time == "t"
    assert days(table) == [f"2020-03-{day:02d}" for day in range(1, 14)]


@pytest.mark.parametrize(
    ("cells", "step", "second"),
    [
        (["1577836800", "1577840400", "1577844000"], "1h", "2020-01-01T01:00:00.000000"),
        (["1577836800000", "1577836800250", "1577836800500"], "250ms", "2020-01-01T00:00:00.250000"),
        (["1577836800000000", "1577836800000001"], "1us", "2020-01-01T00:00:00.000001"),
        (["2020-01-01T00", "2020-01-01T01", "2020-01-01T02"], "1h", "2020-01-01T01:00:00.000000"),
        (["2020", "2021", "2022"], "12mo", "2021-01-01T00:00:00.000000"),
        (["202012", "202101", "202102"], "1mo", "2021-01-01T00:00:00.000000"),
        (["2020-12", "2021-01", "2021-02"], "1mo", "2021-01-01T00:00:00.000000"),
        (["2020Q3", "2020Q4", "2021Q1"], "3mo", "2020-10-01T00:00:00.000000"),
        (["2020-02-29", "2020-03-31", "2020-04-30"], "1me", "2020-03-31T00:00:00.000000"),
        (["2021-03-28T00:00+01:00", "2021-03-28T01:00+01:00", "2021-03-28T03:00+02:00"], "1h",
         "2021-03-28T00:00:00.000000"),
        # Midnights at a place are days, though a day in March has 23 hours there.
        (["2021-03-27T00:00+01", "2021-03-28T00:00+01", "2021-03-29T00:00+0200"], "1d",
         "2021-03-28T00:00:00.000000"),
        (["2021-03-27 12:00:00-05:30", "2021-03-27 13:00:00 -05:30"], "1h", "2021-03-27T13:00:00.000000"),
    ],
)  # fmt: skip
def test_more_ways_to_write_a_time(folder, cells, step, second):
    table = read(folder, with_times(cells), time="t")
    assert table.step == step
    assert str(table.series[0].times[1]) == second


def test_numbers_are_times_only_where_that_is_sure(folder):
    for name, cells, found in (
        ("date", ("20200101", "20200102"), True),
        ("timestamp", ("1577836800", "1577840400"), True),
        ("time", ("2020", "2021"), True),
        ("year", ("2020", "2021"), True),
        ("year", ("2020", "2020"), False),
        ("month", ("202001", "202002"), True),
        ("month", ("1", "2"), False),
        ("id", ("20200101", "20200102"), False),
        ("response_time", ("20200101", "20200102"), False),
    ):
        table = read(folder, f"{name},y\n{cells[0]},1\n{cells[1]},2\n")
        assert (table.roles.time == name) == found, name


@pytest.mark.parametrize(
    ("cells", "more", "message"),
    [
        (["01/02/2020", "02/02/2020"], {},
         f"{ROW} 2: expected a date that can be read in one way only (--time-format '%d/%m/%Y' or"
         " '%m/%d/%Y' says how), got '01/02/2020'"),
        (["2020-01-01", ""], {"time": "t"}, f"{ROW} 3: expected a timestamp, got nothing"),
        (["2020-01-01", "soon"], {"time_format": "%Y-%m-%d", "time": "t"},
         f"{ROW} 3: expected a timestamp written as '%Y-%m-%d', got 'soon'; {HOW}"),
        (["2020-01-01", "2020-01-02", "2020-01-02"], {},
         f"{ROW} 4: expected a later timestamp than 2020-01-02, the one before in the table, got"
         " 2020-01-02, which repeats; if the table holds many series, name their column with --id; "
         + GATHER.format("1d")),
        (["2020-01-02 06:30", "2020-01-01", "2020-01-03"], {},
         f"{ROW} 3: expected a later timestamp than 2020-01-02 06:30, the one before in the table, got"
         " 2020-01-01, which goes back; if the table holds many series, name their column with --id"
         "; rows out of order have to be sorted by time"),
        (["2020-01-01", "2020-01-02", "2020-01-05", "2020-01-06"], {},
         f"{ROW} 4: expected one row every 1d in the table, got 2020-01-05 after 2020-01-02, 3 steps"
         " on; missing rows: 2, --fill forward or mean puts them in, --time none takes the rows in order"),
        (["2020-01-01", "2020-01-04", "2020-01-05", "2020-01-05 01:00", "2020-01-06", "2020-01-07"], {},
         f"{ROW} 5: expected one row every 1d in the table, got 2020-01-05 01:00 after 2020-01-05, off that step"
         f"; {GATHER.format('1d')}"),
        (["2020-01-01", "2020-01-02", "2020-01-03 01:00", "2020-01-04", "2020-01-05"], {"fill": "forward"},
         f"{ROW} 4: expected one row every 1d in the table, got 2020-01-03 01:00 after 2020-01-02, off"
         f" that step; {GATHER.format('1d')}"),
        (["2020-01-01", "2020-02-02", "2020-03-01", "2020-04-01"], {},
         f"{ROW} 3: expected one row every 1mo in the table, got 2020-02-02 after 2020-01-01, off that"
         f" step; {GATHER.format('1mo')}"),
        (["2020-01-05", "2020-02-02", "2020-03-02", "2020-04-02"], {},
         f"{ROW} 2: expected one row every 1mo in the table, got 2020-01-05, off that step; "
         + GATHER.format("1mo")),
        (["2020-01-01", "2020-01-02", "2020-01-03", "9020-01-05"], {"fill": "mean"},
         f"{ROW} 5: expected one row every 1d in the table, got 9020-01-05 after 2020-01-03, 2556699"
         " steps on; missing rows: 2556698, too many to fill, --time none takes the rows in order"),
        (["2020-01-01"], {}, "time column 't': expected at least two rows in a series, got one"),
    ],
)  # fmt: skip
def test_times_that_cannot_be_used(folder, cells, more, message):
    assert refused(folder, with_times(cells), **more) == message


def test_a_bad_format_is_named(folder):
    message = refused(folder, with_times(DAYS), time="t", time_format="%Y-%m-%d %Q")
    assert message == (
        "--time-format: expected a format as in strftime, such as '%d.%m.%Y %H:%M', got '%Y-%m-%d %Q': "
        "%Q, which says nothing here"
    )


def test_gaps_are_filled_where_that_is_asked_for(folder):
    cells = ["2020-01-31", "2020-03-31", "2020-04-30", "2020-05-31"]
    table = read(folder, with_times(cells), fill="mean")
    assert days(table) == ["2020-01-31", "2020-02-29", "2020-03-31", "2020-04-30", "2020-05-31"]
    np.testing.assert_array_equal(values(table), [1, NAN, 2, 4, 3])
    [one] = table.series
    assert one.lines.tolist() == [2, 0, 3, 4, 5]
    assert (one.place(1), one.place(2)) == ("the missing row of 2020-02-29", "line 3")


@pytest.mark.parametrize(
    ("column", "step"),
    [
        (pl.Series(TIMES, dtype=pl.Datetime("us")), "1h"),
        (pl.Series(TIMES, dtype=pl.Datetime("ns")), "1h"),
        (pl.Series(TIMES, dtype=pl.Datetime("ms")), "1h"),
        (pl.Series(TIMES, dtype=pl.Datetime("ms", "UTC")), "1h"),
        (pl.Series([date(2020, 1, day) for day in range(1, 5)]), "1d"),
        (pl.Series([f"2020-01-01 0{hour}:00" for hour in range(4)]), "1h"),
        (pl.Series([f"2020-01-01 0{hour}:00" for hour in range(4)], dtype=pl.Categorical), "1h"),
        (pl.Series([1577836800 + 3600 * hour for hour in range(4)]), "1h"),
    ],
)
def test_parquet_times(folder, column, step):
    table = read(folder, pl.DataFrame({"t": column, "y": VALUES}), time="t")
    assert table.step == step
    assert str(table.series[0].times[0]) == "2020-01-01T00:00:00.000000"
    assert values(table) == VALUES
    assert table.series[0].lines.tolist() == [1, 2, 3, 4]


def test_days_of_a_place_are_days(folder):
    berlin = pl.Series([datetime(2021, 3, day) for day in (27, 28, 29)]).dt.replace_time_zone("Europe/Berlin")
    assert days(read(folder, pl.DataFrame({"t": berlin, "y": [1, 2, 3]}))) == [
        "2021-03-27",
        "2021-03-28",
        "2021-03-29",
    ]
    hours = pl.Series([datetime(2021, 3, 28, hour) for hour in (0, 1, 3)]).dt.replace_time_zone("Europe/Berlin")
    table = read(folder, pl.DataFrame({"t": hours, "y": [1, 2, 3]}))
    assert (table.step, str(table.series[0].times[0])) == ("1h", "2021-03-27T23:00:00.000000")


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (pl.Series([None, *TIMES[1:]]), ", row 1: expected a timestamp, got nothing"),
        (pl.Series([0, 2**62, 3, 4]).cast(pl.Datetime("us")), f", row 2: expected a timestamp, got {2**62}"),
        (pl.Series([0, 2**62, 3, 4]).cast(pl.Datetime("ms")), f", row 2: expected a timestamp, got {2**62}"),
        (pl.Series([0, 2**30, 3, 4]).cast(pl.Int32).cast(pl.Date), f", row 2: expected a timestamp, got {2**30}"),
        (pl.Series([time(1), time(2), time(3), time(4)]), ": expected timestamps, got cells of type 'Time'"),
        (pl.Series([1, 2, 3, 4]), ", row 1: expected a timestamp, got 1;"),
        (pl.Series([1.5, 2, 3, 4]), ", row 1: expected a timestamp, got 1.5;"),
    ],
)  # fmt: skip
def test_parquet_times_that_cannot_be_used(folder, column, message):
    assert refused(folder, pl.DataFrame({"t": column, "y": VALUES}), time="t").startswith(
        f"time column 't'{message}"
    )
