"""Rows gathered into steps of the clock, judged by loops over rows with Python's own calendar."""

from __future__ import annotations

import math
import statistics
from datetime import datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatewright.data.resample import resampled
from gatewright.data.roles import Roles
from gatewright.data.table import Series
from tests.support.tables import read, refused, values

NAN = math.nan


def start_of(time: datetime, width: str) -> datetime:
    """Where the bin of a timestamp begins."""
    day = time.replace(hour=0, minute=0, second=0, microsecond=0)
    if width in ("1mo", "3mo"):
        return day.replace(day=1, month=time.month if width == "1mo" else (time.month - 1) // 3 * 3 + 1)
    if width in ("1d", "1w"):
        return day - timedelta(days=time.weekday() if width == "1w" else 0)
    size = {"1s": 1, "15m": 900, "90m": 5400, "1h": 3600, "6h": 21600}[width]
    return day + timedelta(seconds=(time - day).seconds // size * size)


CELLS = st.just(NAN) | st.integers(-500, 500).map(lambda number: number / 8)


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.datetimes(datetime(1960, 1, 1), datetime(1960, 3, 1)), st.tuples(CELLS, CELLS, CELLS)),
        min_size=1,
        max_size=30,
    ),
    st.sampled_from(["1s", "15m", "90m", "1h", "6h", "1d", "1w", "1mo", "3mo"]),
    st.sampled_from(["", "mean", "sum", "last"]),
)
def test_bins_are_what_a_loop_gathers(rows, width, how):
    rows = [*rows, rows[0]]  # a timestamp that comes again
    one = Series(
        "",
        np.array([time for time, _ in rows], "datetime64[us]"),
        np.array([[*cells, 7.1] for _, cells in rows]),
        np.arange(2, len(rows) + 2),
    )
    roles = Roles(("y",), past=("p",), known=("k",), static=("s",), resample=width, aggregate=how)
    found = resampled(one, roles)
    bins: dict[datetime, list[int]] = {}
    for row in sorted(range(len(rows)), key=lambda row: rows[row][0]):
        bins.setdefault(start_of(rows[row][0], width), []).append(row)
    assert found.times.tolist() == sorted(bins)
    for place, inside in enumerate(bins.values()):
        assert found.lines[place] == inside[0] + 2
        for column, of in enumerate([how or "mean"] * 2 + ["last" if how == "sum" else how or "mean"]):
            seen = [rows[row][1][column] for row in inside if not math.isnan(rows[row][1][column])]
            expected = (
                {"mean": statistics.fmean, "sum": sum, "last": lambda all_: all_[-1]}[of](seen) if seen else NAN
            )
            np.testing.assert_allclose(found.values[place, column], expected, rtol=1e-12)
        assert found.values[place, 3] == 7.1


IRREGULAR = (
    "t,y\n2024-01-01 00:05,1\n2024-01-01 00:35,2\n2024-01-01 00:35,4\n2024-01-01 01:00,8\n2024-01-01 03:59,\n"
    "2024-01-01 04:10,16\n"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("tables")


def test_a_bin_without_rows_is_a_missing_row(folder):
    message = refused(folder, IRREGULAR, resample="1h")
    assert message.startswith(
        "time column 't', line 6: expected one row every 1h in the table, got 2024-01-01 03:00"
    )
    assert "missing rows: 1, --fill forward or mean puts them in" in message
    table = read(folder, IRREGULAR, fill="forward", resample="1h", aggregate="sum")
    assert table.step == "1h"
    np.testing.assert_array_equal(values(table), [7, 8, NAN, NAN, 16])  # no sum of nothing is 0
    [one] = table.series
    assert one.times.astype("datetime64[h]").astype(int).tolist() == [473352 + hour for hour in range(5)]
    assert one.place(2) == "the missing row of 2024-01-01 02:00"
    np.testing.assert_array_equal(
        values(read(folder, IRREGULAR, fill="mean", resample="60m", aggregate="last")), [4, 8, NAN, NAN, 16]
    )


def test_each_series_is_gathered_by_itself_in_any_order(folder):
    content = "t,s,y\n2024-01-03,b,1\n2024-01-01,a,2\n2024-01-02 12:00,b,3\n2024-01-01 18:00,a,4\n2024-01-02,a,6\n"
    table = read(folder, content, series="s", resample="1d")
    assert [one.name for one in table.series] == ["b", "a"]
    assert [one.values[:, 0].tolist() for one in table.series] == [[3, 1], [3, 6]]


@pytest.mark.parametrize(
    ("width", "zone", "expected"),
    [
        # Two days over the change to summer time, a row every half hour: how many rows each bin has.
        ("1d", "Europe/Berlin", {"2024-03-30 00:00": 48, "2024-03-31 00:00": 46}),
        ("1d", "", {"2024-03-29 00:00": 2, "2024-03-30 00:00": 48, "2024-03-31 00:00": 44}),
        ("12h", "Europe/Berlin", {"2024-03-30 00:00": 24, "2024-03-30 12:00": 24, "2024-03-31 00:00": 24,
                                  "2024-03-31 13:00": 22}),
        ("1h", "Asia/Kolkata", dict.fromkeys(
            (f"{datetime(2024, 3, 30, 4) + timedelta(hours=hour):%Y-%m-%d %H:%M}" for hour in range(48)), 2)),
    ],
)  # fmt: skip
def test_bins_keep_to_the_local_clock(folder, width, zone, expected):
    """Stamps in UTC; days are the place's own, hours are even."""
    start = datetime(2024, 3, 29, 22 if zone == "Asia/Kolkata" else 23, 30 if zone == "Asia/Kolkata" else 0)
    count = 96 if zone == "Asia/Kolkata" else 94
    rows = "".join(f"{(start + timedelta(minutes=30 * n)):%Y-%m-%dT%H:%M}Z,1\n" for n in range(count))
    table = read(folder, f"t,y\n{rows}", resample=width, aggregate="sum", time_zone=zone)
    [one] = table.series
    found = one.clock.local(one.times).tolist()
    shown = {f"{time:%Y-%m-%d %H:%M}": value for time, value in zip(found, one.values[:, 0].tolist(), strict=True)}
    assert shown == expected


def test_rows_from_new_to_old_are_turned_round(folder):
    lines = IRREGULAR.splitlines()
    turned = "\n".join([lines[0], *lines[:0:-1]]) + "\n"
    more = {"fill": "forward", "resample": "30m", "aggregate": "last"}
    upright, other = read(folder, IRREGULAR, **more), read(folder, turned, **more)
    np.testing.assert_array_equal(values(other), values(upright))
    assert values(upright)[1] == 4  # of two rows at 00:35, the later


def test_many_gaps_have_a_remedy(folder):
    """Rows at whole minutes, few of them next to each other: a step of a minute is found, and mostly missing."""
    minutes = [0, 1, 2, 50, 51, 110, 170, 171, 230]
    content = "t,y\n" + "".join(f"2024-01-01 {m // 60:02d}:{m % 60:02d},{m}\n" for m in minutes)
    message = refused(folder, content)
    assert "one row every 1m" in message
    assert "--time none takes the rows in order; --resample 30m --aggregate mean, sum or last gathers" in message
    assert values(read(folder, content, resample="1h")) == [pytest.approx(20.8), 110, 170.5, 230]
    wider = refused(folder, content, resample="1m", fill="mean")
    assert wider.endswith("missing rows: 222, too many to fill; a wider --resample leaves fewer")
    assert refused(folder, content.replace(" 01:", " 02:"), resample="1h").endswith("puts them in")


def test_what_cannot_be_gathered(folder):
    expected = "--resample: expected a table with timestamps, got a table without any, or --time none"
    assert refused(folder, "y\n1\n2\n", resample="1h") == expected
    assert refused(folder, IRREGULAR, resample="1h", time="none") == expected
    static = "t,y,s\n2024-01-01 00:05,1,5\n2024-01-01 00:06,1,6\n"
    message = refused(folder, static, resample="1h", static=("s",))
    assert message == "static column 's', line 3: expected one value in the table, got 5 and 6"


def test_the_remedy_is_named_and_works(folder):
    """What the error proposes makes steps of the rows."""
    draw = np.random.default_rng(0)
    for width, seconds in (("1s", 1), ("15m", 900), ("1h", 3600), ("1d", 86400)):
        jitter = draw.uniform(0.1, 0.9, 40)
        times = [datetime(2024, 1, 1) + timedelta(seconds=seconds * (k + jitter[k])) for k in range(40)]
        content = "t,y\n" + "".join(f"{time},{k}\n" for k, time in enumerate(times))
        assert f"--resample {width} --aggregate mean, sum or last" in refused(folder, content)
        table = read(folder, content, resample=width)
        assert (table.step, values(table)) == (width, list(range(40)))
