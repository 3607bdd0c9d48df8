"""Which column is the time, and how it is written: read, or refused with what helps; other tables are left alone.

Python's `datetime` writes the times, and judges `--time-format` by its `strptime`.
"""

from __future__ import annotations

import random
import warnings
from datetime import datetime, timedelta, timezone
from pathlib import Path

import polars as pl
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from gatewright.data.columns import Column
from gatewright.data.datetimes.patterns import read_text
from gatewright.data.datetimes.timestamps import timestamps
from gatewright.data.table import Roles, Table, read_table
from gatewright.errors import DataError
from tests.support.examples import examples

pytestmark = pytest.mark.slow

REMEDY = "--time-format says how they are written, --time none takes the rows in order"
HOURS = [datetime(2024, 2, 27) + timedelta(hours=hour) for hour in range(72)]
DAYS = [datetime(2023, 12, 20) + timedelta(days=day) for day in range(60)]
WEEKS = [datetime(2019, 12, 30) + timedelta(days=7 * week) for week in range(60)]
MONTHS = [datetime(2018 + month // 12, month % 12 + 1, 1) for month in range(30)]
QUARTERS = MONTHS[::3]
START = datetime(1970, 1, 1)


def since(moment: datetime, unit: timedelta = timedelta(seconds=1)) -> int:
    return (moment - START) // unit


def serial(moment: datetime) -> str:
    """The day of a spreadsheet, with the digits that one shows."""
    return f"{(moment - datetime(1899, 12, 30)) / timedelta(days=1):.10f}".rstrip("0").rstrip(".")


def quarter(moment: datetime, form: str) -> str:
    return form.format(q=(moment.month + 2) // 3, y=moment.year)


def day24(moment: datetime) -> str:
    """The end of a day in place of the next one's beginning."""
    if moment.hour:
        return moment.strftime("%Y-%m-%d %H:%M")
    return (moment - timedelta(days=1)).strftime("%Y-%m-%d 24:00")


#: Ways to write times: moments, cells, and the zone that they name.
WRITINGS = {
    "AM and PM": (HOURS, [each.strftime("%m/%d/%Y %I:%M %p") for each in HOURS], ""),
    "ISO with AM": (HOURS, [each.strftime("%Y-%m-%d %I:%M:%S%p").lower() for each in HOURS], ""),
    "GMT": (HOURS, [each.strftime("%Y-%m-%d %H:%M:%S GMT") for each in HOURS], "UTC"),
    "mail": (HOURS, [each.strftime("%a, %d %b %Y %H:%M:%S GMT") for each in HOURS], "UTC"),
    "UTC": (HOURS, [each.strftime("%d %B %Y %H:%M UTC") for each in HOURS], "UTC"),
    "CET": (HOURS, [each.strftime("%d.%m.%Y %H:%M CET") for each in HOURS], "+01:00"),
    "CEST": (HOURS, [each.strftime("%Y-%m-%d %H:%M CEST") for each in HOURS], "+02:00"),
    "basic with Z": (HOURS, [each.strftime("%Y%m%dT%H%M%SZ") for each in HOURS], "UTC"),
    "basic date": (HOURS, [each.strftime("%Y%m%d %H:%M") for each in HOURS], ""),
    "basic": (HOURS, [each.strftime("%Y%m%dT%H%M") for each in HOURS], ""),
    "week": (WEEKS, [each.strftime("%G-W%V") for each in WEEKS], ""),
    "day of a week": (DAYS, [each.strftime("%G-W%V-%u") for each in DAYS], ""),
    "day of a year": (DAYS, [each.strftime("%Y-%j") for each in DAYS], ""),
    "Q1 2020": (QUARTERS, [quarter(each, "Q{q} {y}") for each in QUARTERS], ""),
    "2020Q1": (QUARTERS, [quarter(each, "{y}Q{q}") for each in QUARTERS], ""),
    "2020-Q1": (QUARTERS, [quarter(each, "{y}-Q{q}") for each in QUARTERS], ""),
    "1Q2020": (QUARTERS, [quarter(each, "{q}Q{y}") for each in QUARTERS], ""),
    "Jan 2018": (MONTHS, [each.strftime("%b %Y") for each in MONTHS], ""),
    "January, 2018": (MONTHS, [each.strftime("%B, %Y") for each in MONTHS], ""),
    "2018-Jan": (MONTHS, [each.strftime("%Y-%b") for each in MONTHS], ""),
    "01/2018": (MONTHS, [each.strftime("%m/%Y") for each in MONTHS], ""),
    "2018M01": (MONTHS, [each.strftime("%YM%m") for each in MONTHS], ""),
    "1 Jan 2018": (DAYS, [each.strftime("%-d %b %Y") for each in DAYS], ""),
    "01-JAN-2018": (DAYS, [each.strftime("%d-%b-%Y").upper() for each in DAYS], ""),
    "01JAN2018": (DAYS, [each.strftime("%d%b%Y").upper() for each in DAYS], ""),
    "January 5, 2018": (DAYS, [each.strftime("%B %-d, %Y") for each in DAYS], ""),
    "Friday, Jan. 5, 2018": (DAYS, [each.strftime("%A, %b. %-d, %Y") for each in DAYS], ""),
    "asctime": (HOURS, [each.ctime() for each in HOURS], ""),
    "24:00": (HOURS, [day24(each) for each in HOURS], ""),
    "new to old": (DAYS, [each.strftime("%d/%m/%Y") for each in DAYS][::-1], ""),
    "digits of a month": (MONTHS, [each.strftime("%Y%m") for each in MONTHS], ""),
    "digits of a day": (DAYS, [each.strftime("%Y%m%d") for each in DAYS], ""),
    "digits of an hour": (HOURS, [each.strftime("%Y%m%d%H") for each in HOURS], ""),
    "digits of a minute": (HOURS, [each.strftime("%Y%m%d%H%M") for each in HOURS], ""),
    "digits of a second": (HOURS, [each.strftime("%Y%m%d%H%M%S") for each in HOURS], ""),
    "seconds": (HOURS, [str(since(each)) for each in HOURS], "UTC"),
    "seconds, new to old": (HOURS, [str(since(each)) for each in HOURS][::-1], "UTC"),
    "seconds as real numbers": (HOURS, [f"{since(each)}.0" for each in HOURS], "UTC"),
    "milliseconds": (HOURS, [f"{since(each)}000" for each in HOURS], "UTC"),
    "microseconds": (HOURS, [f"{since(each)}000000" for each in HOURS], "UTC"),
    "nanoseconds": (HOURS, [f"{since(each)}000000000" for each in HOURS], "UTC"),
}  # fmt: skip
#: Those that only a name tells from counts.
NAMED = {
    "days of a spreadsheet": (DAYS, [serial(each) for each in DAYS], ""),
    "hours of a spreadsheet": (HOURS, [serial(each) for each in HOURS], ""),
    "halves of seconds": (
        [HOURS[0] + timedelta(seconds=half / 2) for half in range(20)],
        [f"{since(HOURS[0]) + half / 2}" for half in range(20)],
        "UTC",
    ),
    "years": ([datetime(year, 1, 1) for year in range(1990, 2020)], [str(year) for year in range(1990, 2020)], ""),
}


def read(folder: Path, name: str, cells: list[str], **roles: str) -> Table:
    path = folder / "table.csv"
    path.write_text(f"{name};y;z\n" + "".join(f"{cell};{row};7\n" for row, cell in enumerate(cells)), "utf-8")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return read_table(path, Roles(("y",), **roles))


def refused(folder: Path, name: str, cells: list[str], **roles: str) -> str:
    with pytest.raises(DataError) as error:
        read(folder, name, cells, **roles)
    return str(error.value)


def require(table: Table, name: str, writing: tuple[list[datetime], list[str], str]) -> None:
    moments, cells, zone = writing
    [series] = table.series
    assert (table.roles.time, table.clock.zone) == (name, zone)
    assert series.times is not None
    assert series.times.tolist() == moments
    back = len(cells) > 1 and table.notes != ()
    rows = list(range(len(cells)))
    assert series.values[:, 0].tolist() == (rows[::-1] if back else rows)


@pytest.mark.parametrize("way", [*WRITINGS, *NAMED])
@pytest.mark.parametrize("name", ["date", "Time Stamp", "unheard of"])
def test_a_time_is_read_however_it_is_written(way: str, name: str, tmp_path: Path) -> None:
    writing = (WRITINGS | NAMED)[way]
    if way in NAMED and name == "unheard of":
        assert read(tmp_path, name, writing[1]).roles.time == "none"
        require(read(tmp_path, name, writing[1], time=name), name, writing)
        return
    table = read(tmp_path, name, writing[1])
    require(table, name, writing)
    assert ("new to old" in way) == (
        table.notes == ("the file's rows run from new to old: they are read in order of time",)
    )


@pytest.mark.parametrize(
    "way", ["seconds", "milliseconds", "nanoseconds", "digits of a day", "hours of a spreadsheet"]
)
def test_numbers_of_a_parquet_file_are_read_alike(way: str, tmp_path: Path) -> None:
    writing = (WRITINGS | NAMED)[way]
    for kind in (pl.Float64, pl.Int64):
        if kind == pl.Int64 and "spreadsheet" in way:
            continue
        column = pl.Series("date", writing[1]).cast(pl.Float64 if "." in writing[1][1] else pl.Int64).cast(kind)
        path = tmp_path / "table.parquet"
        pl.DataFrame({"date": column, "y": range(len(column))}).write_parquet(path)
        if kind == pl.Float64 and way == "nanoseconds":
            continue  # more digits than such a number has
        require(read_table(path, Roles(("y",))), "date", writing)


@pytest.mark.parametrize("name", ["date", "unheard of"])
@pytest.mark.parametrize(
    "form", ["%d/%m/%y", "%y/%m/%d", "%d.%m.%y", "%d-%m-%y %H:%M", "%d-%b-%y", "%Y-%m-%d %H h", "%d/%m/%Y - %H:%M"]
)
@pytest.mark.parametrize("back", [False, True])
def test_what_may_be_read_in_two_ways_is_refused(form: str, name: str, back: bool, tmp_path: Path) -> None:
    cells = [each.strftime(form) for each in DAYS][:: -1 if back else 1]
    assert refused(tmp_path, name, cells) == (
        f"time column {name!r}: expected timestamps that can be read in one way, got {cells[0]!r}; {REMEDY}"
    )
    assert read(tmp_path, name, cells, time="none").step == "row"
    table = read(tmp_path, name, cells, time_format=form)
    assert table.series[0].times.tolist() == DAYS
    assert table.series[0].values[:, 0].tolist() == list(range(len(DAYS)))[:: -1 if back else 1]


def test_missing_cells_hide_no_time(tmp_path: Path) -> None:
    cells = ["NA" if row % 3 == 1 else each.strftime("%d/%m/%y") for row, each in enumerate(DAYS)]
    assert "expected timestamps that can be read in one way, got '20/12/23'" in refused(tmp_path, "t", cells)
    cells = ["NA" if row % 3 == 1 else str(each.date()) for row, each in enumerate(DAYS)]
    assert "time column 't', line 3: expected a timestamp, got 'NA'" in refused(tmp_path, "t", cells)


def test_what_is_written_in_two_ways_is_refused(tmp_path: Path) -> None:
    cells = [f"{each}{'Z' * (row % 2)}" for row, each in enumerate(HOURS)]
    assert refused(tmp_path, "t", cells) == (
        "time column 't', line 3: expected a time zone with every timestamp or with none, as in the first, "
        f"got '2024-02-27 01:00:00Z'; {REMEDY}"
    )
    cells = [f"{each} CST" for each in HOURS]
    for more in ({}, {"time": "t"}):
        assert "CST stands for several time zones: an offset such as +02:00" in refused(
            tmp_path, "t", cells, **more
        )
    cells = [each.strftime("%d/%m/%Y %I:%M:%S %p") for each in DAYS[12:24]]
    assert "(--time-format '%d/%m/%Y %I:%M:%S %p' or '%m/%d/%Y %I:%M:%S %p' says how)" in refused(
        tmp_path, "t", cells
    )
    assert read(tmp_path, "t", cells, time_format="%d/%m/%Y %I:%M:%S %p").series[0].times.tolist() == DAYS[12:24]
    for cells in (["0", "1", "2"], ["soon", "later"], ["12:00", "13:00"], ["1958.2", "1958.3"], ["", ""]):
        assert refused(tmp_path, "time", cells).endswith(REMEDY)
        assert read(tmp_path, "time", cells, time="none").step == "row"


def test_no_other_column_stands_in_for_one_that_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    rows = [f"{each.strftime('%d/%m/%y')};{each.date()};{row}" for row, each in enumerate(DAYS)]
    for names, used in (("date;settled;y", None), ("traded;date;y", "date"), ("booked;settled;y", "settled")):
        path.write_text("\n".join([names, *rows]) + "\n")
        if used is None:
            with pytest.raises(
                DataError, match=r"^time column 'date': expected timestamps that can be read in one"
            ):
                read_table(path, Roles(("y",)))
        else:
            assert read_table(path, Roles(("y",))).roles.time == used


@pytest.mark.parametrize("back", [False, True])
@pytest.mark.parametrize("name", ["year", "period", "month", "unheard of"])
def test_times_rise_within_each_series(name: str, back: bool, tmp_path: Path) -> None:
    """Numbers are a time where they rise, or fall, in each series: by years, or by months."""
    moments = [datetime(year, 1, 1) for year in range(2000, 2020)] if name == "year" else MONTHS
    form = "%Y" if name == "year" else "%Y%m"
    path = tmp_path / "table.csv"
    rows = [
        f"{series};{moment.strftime(form)};{row}"
        for series in "ab"
        for row, moment in list(enumerate(moments))[:: -1 if back else 1]
    ]
    path.write_text("\n".join([f"id;{name};y", *rows]) + "\n")
    table = read_table(path, Roles(("y",), series="id"))
    assert table.roles.time == name
    for series in table.series:
        assert series.times is not None
        assert series.times.tolist() == moments
        assert series.values[:, 0].tolist() == list(range(len(moments)))
    assert table.notes == (
        ("the rows of 2 of 2 series run from new to old: they are read in order of time",) * back
    )


def test_dates_in_several_columns_do_not_run_backwards(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    rows = [f"{each.year},{each.month},{each.day},{row}" for row, each in enumerate(DAYS)]
    path.write_text("\n".join(["year,month,day,y", *rows]) + "\n")
    assert read_table(path, Roles(("y",))).step == "row"
    path.write_text("\n".join(["year,month,day,y", *rows[::-1]]) + "\n")
    with pytest.raises(
        DataError, match=r"^columns 'year', 'month', 'day': expected rows from old to new, got rows"
    ):
        read_table(path, Roles(("y",)))
    path.write_text("date;time;y\n" + "".join(f"{each.date()};{each.time()};{each.hour}\n" for each in HOURS))
    with pytest.raises(
        DataError, match="the clock times of column 'time' have to stand in one column with the dates"
    ):
        read_table(path, Roles(("y",)))


draw = random.Random(0)
#: Columns of ordinary tables, none of which is a time.
ORDINARY = {
    "id": [str(10_000_000 + row) for row in range(60)],
    "sku": [f"{draw.randrange(1000, 9999)}-{draw.randrange(1, 400):03d}" for _ in range(60)],
    "code": [f"AB-{draw.randrange(10**6)}" for _ in range(60)],
    "order": [f"2024-{draw.randrange(1000):03d}" for _ in range(60)],
    "price": [f"{draw.uniform(1, 900):.2f}" for _ in range(60)],
    "serial": [str(draw.randrange(20_000, 80_000)) for _ in range(60)],
    "version": [f"{draw.randrange(5)}.{draw.randrange(30)}.{draw.randrange(90)}" for _ in range(60)],
    "phone": [f"+49 30 {draw.randrange(10**6):06d}" for _ in range(60)],
    "call": [
        f"{draw.randrange(200, 999)}-{draw.randrange(100, 999)}-{draw.randrange(10**4):04d}" for _ in range(60)
    ],
    "address": [f"10.{draw.randrange(255)}.{draw.randrange(255)}.{draw.randrange(255)}" for _ in range(60)],
    "sort_code": [
        f"{draw.randrange(20, 99)}-{draw.randrange(20, 99)}-{draw.randrange(20, 99)}" for _ in range(60)
    ],
    "response_time": [f"{draw.uniform(0, 9):.3f}" for _ in range(60)],
    "time (s)": [f"{row / 10}" for row in range(60)],
    "month": [str(row % 12 + 1) for row in range(60)],
    "day_of_week": [str(row % 7) for row in range(60)],
    "hour": [str(row % 24) for row in range(60)],
    "year": ["2020"] * 60,
    "updated": ["yes", "no"] * 30,
    "street": [f"{draw.randrange(1, 99)} Main Street" for _ in range(60)],
    "size": [f"{draw.randrange(40)}/{draw.randrange(40, 60)}" for _ in range(60)],
    "ratio": [f"{draw.randrange(20)}:{draw.randrange(20)}" for _ in range(60)],
    "population": [str(draw.randrange(10**8, 10**10)) for _ in range(60)],
    "score": [f"{draw.randrange(10)}-{draw.randrange(10)}" for _ in range(60)],
    "period": ["morning", "evening"] * 30,
}


@pytest.mark.parametrize("name", ORDINARY)
def test_ordinary_tables_are_read_in_order(name: str, tmp_path: Path) -> None:
    table = read(tmp_path, name, ORDINARY[name])
    assert (table.roles.time, table.step) == ("none", "row")
    # Beside a time, that is found, wherever it stands.
    path = tmp_path / "beside.csv"
    rows = [
        f"{cell};{moment};{row}" for row, (cell, moment) in enumerate(zip(ORDINARY[name], HOURS, strict=False))
    ]
    path.write_text("\n".join([f"{name};Date;y", *rows]) + "\n", "utf-8")
    assert read_table(path, Roles(("y",))).roles.time == "Date"


@settings(deadline=None, max_examples=150)
@given(st.lists(st.text("0123456789.-/ :abcMJan", max_size=10), min_size=8, max_size=12, unique=True))
def test_random_text_is_a_time_only_where_python_agrees(cells: list[str]) -> None:
    """What is read of any text is a time of its own: its digits are in it."""
    for cell in cells:
        found = read_text(cell)
        if found is not None:
            year = str(found.clock)[:4]
            assert year in cell.replace("-", " ") or str(int(year) - 1) in cell or str(int(year) + 1) in cell


FORMATS = [
    "%Y-%m-%d", "%d.%m.%y", "%y%m%d", "%m/%d/%Y %H:%M", "%d/%m/%Y %I:%M:%S %p", "%Y-%m-%dT%H:%M:%S.%f",
    "%Y-%m-%dT%H:%M:%S.%f%z", "%d %B %Y", "%b %d, %Y", "%a %b %d %H:%M:%S %Y", "%Y%j", "%y-%j", "%A, %d. %B %Y",
    "%Y %U %w", "%Y %W %w", "%Y %W %a", "%G-W%V-%u", "%H:%M %d%m%Y", "%Y-%m-%d %H:%M:%S,%f", "100%% %Y-%m", "%Y",
]  # fmt: skip


@settings(deadline=None, max_examples=examples(150))
@given(
    st.sampled_from(FORMATS),
    st.datetimes(datetime(1969, 1, 1), datetime(2068, 12, 31)),
    st.integers(-14 * 60, 14 * 60),
)
@example("%Y-%m-%dT%H:%M:%S.%f", datetime(2020, 1, 1, 0, 0, 0, 500_000), 0)
@example("%d/%m/%Y %I:%M:%S %p", datetime(2020, 1, 1, 0, 30), 0)
@example("%d.%m.%y", datetime(2026, 1, 31), 0)
@example("%d.%m.%y", datetime(1969, 1, 31), 0)
def test_a_format_means_what_it_means_to_python(form: str, moment: datetime, minutes: int) -> None:
    assume(moment.year != 1969 or "%y" not in form or moment.month > 0)
    cell = moment.replace(tzinfo=timezone(timedelta(minutes=minutes))).strftime(form)
    expected = datetime.strptime(cell, form)
    stamps = timestamps(Column(pl.Series("t", [cell, cell]), time_format=form), str)
    assert stamps.local[0].tolist() == expected.replace(tzinfo=None)
    offset = expected.utcoffset()
    assert stamps.zoned == (offset is not None)
    if offset is not None and minutes:
        assert stamps.zone == f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}"


@settings(deadline=None, max_examples=examples(150))
@given(st.sampled_from(FORMATS), st.text("0123456789-/. :TZampABJn+", max_size=24))
def test_a_format_reads_no_more_than_python_does(form: str, cell: str) -> None:
    cell = cell.strip()
    try:
        expected = datetime.strptime(cell, form)
    except ValueError:
        expected = None
    column = Column(pl.Series("t", [cell]), time_format=form)
    try:
        found = timestamps(column, str).local[0].tolist()
    except DataError:
        found = None
    assert found == (None if expected is None else expected.replace(tzinfo=None))


@pytest.mark.parametrize(
    ("form", "got"),
    [
        ("%Y-%m-%d %H:%M:%S %Q", "%Q, which says nothing here"),
        ("%Y-%m-%d %", "a % at its end"),
        ("%Y-%m-%d %I:%M", "%I without %p"),
        ("%Y-%m-%d %H:%M %p", "%p without %I"),
        ("%H:%M", "one whose parts name no date: a year, and a month, a day or a week with its day"),
        ("%d %B", "one whose parts name no date: a year, and a month, a day or a week with its day"),
        ("%Y %U", "one whose parts name no date: a year, and a month, a day or a week with its day"),
        ("%Y-%m-%d %m", "%m and %m, which say the same"),
        ("%Y-%m-%d %H:%S", "%S without the minute"),
        ("%c", "%c, which says nothing here"),
        ("", None),
    ],
)
def test_a_format_that_says_nothing_is_named(form: str, got: str | None, tmp_path: Path) -> None:
    cells = [str(each) for each in HOURS]
    if got is None:
        assert read(tmp_path, "t", cells, time_format=form).step == "1h"
        return
    assert refused(tmp_path, "t", cells, time_format=form) == (
        f"--time-format: expected a format as in strftime, such as '%d.%m.%Y %H:%M', got {form!r}: {got}"
    )


def test_fractions_of_seconds_are_shown(tmp_path: Path) -> None:
    cells = [f"2024-01-01 00:00:0{row / 2:.6f}" for row in (0, 1, 2, 3, 5, 6)]
    assert "got 2024-01-01 00:00:02.500000 after 2024-01-01 00:00:01.500000, 2 steps on" in refused(
        tmp_path, "t", cells, time_format="%Y-%m-%d %H:%M:%S.%f"
    )


def test_an_hour_that_comes_twice(tmp_path: Path) -> None:
    """Rows of a local clock across a change of the clocks: refused without a zone, told apart with one."""
    utc = [datetime(2024, 10, 26, 20, tzinfo=timezone.utc) + timedelta(minutes=30 * row) for row in range(20)]
    zone = pytest.importorskip("zoneinfo").ZoneInfo("Europe/Berlin")
    cells = [each.astimezone(zone).strftime("%Y-%m-%d %H:%M") for each in utc]
    message = refused(tmp_path, "t", cells)
    assert (
        "which goes back; where the clocks are put back, --time-zone (such as Europe/Berlin) tells the" in message
    )
    assert "--id" not in message
    for first, last in ((0, 20), (8, 20), (9, 20), (0, 11), (10, 20)):
        table = read(tmp_path, "t", cells[first:last], time_zone="Europe/Berlin")
        assert table.series[0].times.tolist() == [each.replace(tzinfo=None) for each in utc[first:last]]
    assert "where the clocks are put back" in refused(tmp_path, "t", cells, time_zone="UTC")
    # By hours, it repeats.
    assert "which repeats; where the clocks are put back" in refused(tmp_path, "t", cells[::2])
    assert read(tmp_path, "t", cells[::2], time_zone="Europe/Berlin").step == "1h"
    # New to old, they are told apart too.
    table = read(tmp_path, "t", cells[::-1], time_zone="Europe/Berlin")
    assert table.series[0].times.tolist() == [each.replace(tzinfo=None) for each in utc]
    # In spring an hour is left out, and is no gap.
    spring = [datetime(2024, 3, 30, 22, tzinfo=timezone.utc) + timedelta(hours=row) for row in range(9)]
    cells = [each.astimezone(zone).strftime("%Y-%m-%d %H:%M") for each in spring]
    assert "2 steps on; missing rows: 1" in refused(tmp_path, "t", cells)
    assert read(tmp_path, "t", cells, time_zone="Europe/Berlin").step == "1h"
    shown = refused(tmp_path, "t", [*cells[:4], "2024-03-31 02:30"], time_zone="Europe/Berlin")
    assert (
        "line 6: expected a time that the clock of Europe/Berlin shows (--time-zone), got '2024-03-31 02:30'"
        in shown
    )
