"""Python's own calendar judges steps, positions and what follows."""

from __future__ import annotations

import calendar as months
import math
from datetime import datetime, timedelta

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gatewright.data import frequency
from gatewright.errors import GatewrightError
from gatewright.spec import CALENDAR

FIXED = {
    "250ms": timedelta(milliseconds=250), "1us": timedelta(microseconds=1), "30s": timedelta(seconds=30),
    "1m": timedelta(minutes=1), "15m": timedelta(minutes=15), "90m": timedelta(minutes=90),
    "1h": timedelta(hours=1), "6h": timedelta(hours=6), "1d": timedelta(days=1),
    "7d": timedelta(days=7), "28d": timedelta(days=28),
}  # fmt: skip
MONTHS = {"1mo": 1, "3mo": 3, "12mo": 12, "1me": 1, "3me": 3, "6me": 6, "12me": 12}


def add(start: datetime, step: str, count: int) -> datetime:
    """The timestamp `count` steps later; at month ends, the last day stays the last."""
    if step in FIXED:
        return start + count * FIXED[step]
    month = start.year * 12 + start.month - 1 + count * MONTHS[step]
    year, month = month // 12, month % 12 + 1
    day = months.monthrange(year, month)[1] if step.endswith("me") else start.day
    return start.replace(year=year, month=month, day=day)


def stamps(times: list[datetime]) -> frequency.Times:
    return np.array(times, "datetime64[us]")


@st.composite
def series(draw: st.DrawFn, most_gaps: int = 3) -> tuple[str, list[int], list[datetime]]:
    """A step, places on its grid (most next to each other) and their timestamps."""
    step = draw(st.sampled_from([*FIXED, *MONTHS]))
    start = draw(st.datetimes(datetime(1900, 1, 1), datetime(2090, 1, 1)))
    if step in MONTHS:
        day = months.monthrange(start.year, start.month)[1] if step.endswith("me") else min(start.day, 28)
        start = start.replace(day=day)
    # With so many rows, month ends cannot be mistaken for another day that all months have.
    rows = draw(st.integers(16, 30))
    gone = draw(st.sets(st.integers(1, rows - 2), max_size=most_gaps))
    places = [place for place in range(rows) if place not in gone]
    return step, places, [add(start, step, place) for place in places]


@settings(deadline=None)
@given(series())
def test_the_step_is_found_and_followed(case):
    step, places, times = case
    assert frequency.find_step(stamps(times)) == step
    np.testing.assert_array_equal(frequency.positions(stamps(times), step), places)
    np.testing.assert_array_equal(frequency.after(stamps(times)[0], step, np.array(places)), stamps(times))


@settings(deadline=None)
@given(series(most_gaps=0), st.data())
def test_what_is_off_the_grid_has_no_position(case, data):
    step, places, times = case
    assume(step != "1us")  # nothing is off its grid
    row = data.draw(st.integers(1, len(times) - 1))
    times[row] += timedelta(microseconds=data.draw(st.sampled_from([-7, -1, 1, 7])))
    expected = np.array(places, dtype=float)
    expected[row] = np.nan
    assert frequency.find_step(stamps(times)) == step
    np.testing.assert_array_equal(frequency.positions(stamps(times), step), expected)


@pytest.mark.parametrize(
    ("times", "step", "then"),
    [
        (["2020-07-31", "2020-08-31"], "1me", "2020-09-30"),  # the 31st is no place in September
        (["2021-01-31", "2021-03-31"], "2me", "2021-05-31"),
        (["2020-07-01", "2020-08-01"], "1mo", "2020-09-01"),  # not "31 days before the month's end"
        (["2020-02-29", "2021-02-28", "2022-02-28"], "12me", "2023-02-28"),
        (["2023-02-28", "2024-02-29", "2025-02-28"], "12me", "2026-02-28"),
        (["2020-01-01", "2020-01-31", "2020-03-01", "2020-03-31", "2020-04-30"], "30d", "2020-05-30"),
        (["2019-12-31", "2020-12-31", "2021-12-31"], "12me", "2022-12-31"),
        (["1969-11-01", "1969-12-01", "1970-01-01"], "1mo", "1970-02-01"),
        (["2020-01-06", "2020-01-13"], "7d", "2020-01-20"),
        (["2020-01-01T00:00", "2020-01-01T00:00:00.5"], "500ms", "2020-01-01T00:00:01"),
    ],
)
def test_steps_by_hand(times, step, then):
    times = np.array(times, "datetime64[us]")
    assert frequency.find_step(times) == step
    assert frequency.after(times[-1], step, np.array([1]))[0] == np.datetime64(then, "us")


@settings(deadline=None)
@given(
    st.datetimes(datetime(1900, 1, 1), datetime(2090, 1, 1)),
    st.sets(st.integers(1, 38), max_size=4),
    st.integers(1, 380),
)
def test_business_days_skip_weekends(start, holidays, ahead):
    """A list of weekdays, made a day at a time, judges places and what follows."""
    days = [start + timedelta(days=day) for day in range(600)]
    business = [day for day in days if day.weekday() < 5]
    places = [place for place in range(40) if place not in holidays]
    times = stamps([business[place] for place in places])
    assert frequency.find_step(times) == "1b"
    np.testing.assert_array_equal(frequency.positions(times, "1b"), places)
    assert frequency.after(times[-1], "1b", np.array([ahead, 1])).tolist() == [business[39 + ahead], business[40]]
    # A row at a weekend, or at another time of day, has no place.
    saturday = next(day for day in days if day.weekday() == 5)
    other = business[7] + (timedelta(hours=1) if business[7].hour < 12 else -timedelta(hours=1))
    odd = stamps([business[0], *sorted([saturday, other])])
    assert np.isnan(frequency.positions(odd, "1b")).tolist() == [False, True, True]
    assert frequency.find_step(stamps(sorted([*business[:40], saturday]))) == "1d"


def test_one_missing_weekend_is_a_gap_of_days():
    days = [datetime(2024, 1, day) for day in (1, 2, 3, 4, 5, 8, 9, 10, 11, 12)]  # a Monday to the next Friday
    assert frequency.find_step(stamps(days)) == "1d"
    assert frequency.find_step(stamps([*days, datetime(2024, 1, 15)])) == "1b"
    # A leap over years is no weekend.
    assert frequency.find_step(stamps([*days[:5], datetime(2024, 1, 15), datetime(2031, 1, 6)])) == "1d"


@pytest.mark.parametrize(
    ("width", "step"),
    [
        ("1h", "1h"), ("60m", "1h"), ("3600s", "1h"), ("24h", "1d"), ("90m", "90m"), ("15m", "15m"), ("1w", "7d"),
        ("2w", "14d"), ("3d", "3d"), ("1mo", "1mo"), ("12mo", "12mo"), ("1s", "1s"),
    ],
)  # fmt: skip
def test_bins_have_a_step(width, step):
    assert frequency.bin_step(width) == step


@pytest.mark.parametrize(
    "width", ["", "1", "h", "7m", "5h", "25h", "5mo", "24mo", "1me", "1b", "0h", "-1h", "1 h", "1y"]
)
def test_bins_that_do_not_keep_to_the_clock(width):
    with pytest.raises(GatewrightError, match=r"^--resample: expected a part of a day such as 15m or 1h, .* got "):
        frequency.bin_step(width)


@pytest.mark.parametrize("step", ["", "h", "0h", "-1h", "1.5h", "1w", "1 h", "1mon", "1h\n", "row"])
def test_what_is_no_step(step):
    with pytest.raises(GatewrightError, match=r"^step: expected a time such as '15m', '1h', '1d' or '1mo', got "):
        frequency.positions(stamps([datetime(2020, 1, 1)]), step)


@pytest.mark.parametrize(
    ("step", "season"),
    [
        ("1m", 1440), ("15m", 96), ("90m", 16), ("1h", 24), ("6h", 4), ("12h", 2), ("7h", 1), ("1d", 7), ("2d", 1),
        ("7d", 52), ("1mo", 12), ("1me", 12), ("3mo", 4), ("12mo", 1), ("24mo", 1), ("5mo", 1), ("30s", 1),
        ("1ms", 1), ("row", 1), ("1b", 5), ("5b", 1),
    ],
)  # fmt: skip
def test_seasons(step, season):
    assert frequency.season(step) == season


@pytest.mark.parametrize(
    ("step", "days", "parts"),
    [
        ("1h", 1.9, ()),
        ("1h", 2, ("hour_of_day",)),
        ("1h", 14, ("hour_of_day", "day_of_week")),
        ("1h", 730, CALENDAR),
        ("1d", 730, ("day_of_week", "day_of_year")),
        ("1b", 730, ("day_of_week", "day_of_year")),
        ("7d", 10_000, ("day_of_year",)),
        ("1mo", 10_000, ("day_of_year",)),
        ("3me", 10_000, ("day_of_year",)),
        ("12mo", 10_000, ()),  # the same day each year
        ("row", 10_000, ()),
    ],
)
def test_parts_of_the_calendar_that_are_worth_reading(step, days, parts):
    assert frequency.calendar_parts(step, np.timedelta64(int(days * 86_400_000_000), "us")) == parts


@settings(deadline=None)
@given(
    st.lists(st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1)), max_size=5),
    st.lists(st.sampled_from(CALENDAR), unique=True).map(tuple),
)
def test_the_phases_of_the_calendar(times, parts):
    expected = []
    for time in times:
        day = time - time.replace(hour=0, minute=0, second=0, microsecond=0)
        year = datetime(time.year, 1, 1)
        phases = {
            "hour_of_day": day / timedelta(days=1),
            "day_of_week": (time.weekday() + day / timedelta(days=1)) / 7,
            "day_of_year": (time - year) / (datetime(time.year + 1, 1, 1) - year),
        }
        angles = [2 * math.pi * phases[part] for part in parts]
        expected.append([wave(angle) for angle in angles for wave in (math.sin, math.cos)])
    got = frequency.calendar(stamps(times), parts)
    assert got.shape == (len(times), 2 * len(parts))
    np.testing.assert_allclose(got, np.reshape(expected, got.shape), atol=1e-9)
