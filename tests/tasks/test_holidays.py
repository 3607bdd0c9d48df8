"""Holidays as inputs: of the dates to be forecast, from the times alone, in tables and streams."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pytest

import gatewright as gw
from gatewright.data.public_holidays import ahead, counts
from gatewright.data.table import Roles, table_of
from gatewright.errors import DataError, GatewrightError, SpecError
from gatewright.exchange.c import to_c
from gatewright.spec import SeriesEncoder
from tests.support.lazy import LazyModule

if TYPE_CHECKING:
    import holidays
else:
    holidays = LazyModule("holidays")

HORIZON, CONTEXT = 3, 10


def times(*texts: str) -> np.ndarray[Any, Any]:
    return np.array(texts, "datetime64[us]")


def by_hand(first: str, last: str, region: str) -> int:
    """Count the holidays of dates from the first to the last, date by date."""
    country, _, part = region.partition("-")
    days = np.arange(np.datetime64(first), np.datetime64(last) + 1)
    calendar = holidays.country_holidays(country, subdiv=part or None)
    return sum(day in calendar for day in days.tolist())


@pytest.mark.parametrize(
    ("start", "step", "last"),
    [
        ("2024-05-01T23:00", "1h", "2024-05-01"),
        ("2024-11-01", "1d", "2024-11-01"),
        ("2024-05-03", "1b", "2024-05-03"),
        ("2024-04-29", "7d", "2024-05-05"),
        ("2024-05-01", "1mo", "2024-05-31"),
        ("2023-12-01", "3mo", "2024-02-29"),
        ("2024-12-24", "3d", "2024-12-26"),
    ],
)
def test_a_step_has_the_holidays_of_its_dates(start: str, step: str, last: str) -> None:
    regions = ("DE", "DE-BY", "US")
    expected = [by_hand(start[:10], last, region) for region in regions]
    assert counts(times(start), step, regions).tolist() == [expected]
    assert sum(expected) > 0 or step == "1b"


def test_the_next_steps_are_on_the_clock_of_the_zone() -> None:
    """Two hours after 22:30 of a day before a holiday it is one; the clock goes forward in between or not."""
    assert ahead(times("2024-04-30T22:30"), "", "1h", 3, ("DE",)).tolist() == [[0, 1, 1]]
    assert ahead(times("2024-04-30T22:30"), "Europe/Berlin", "1h", 3, ("DE", "FR")).tolist() == [
        [0, 1, 1, 0, 1, 1]
    ]
    # Easter Sunday of 2024 in Brandenburg, when the clock left out an hour: the next day begins an hour earlier.
    zoned = ahead(times("2024-03-31T00:30"), "Europe/Berlin", "1h", 24, ("DE",))
    plain = ahead(times("2024-03-31T00:30"), "", "1h", 24, ("DE",))
    assert (zoned.sum(), plain.sum()) == (2, 1)


def frame(rows: int = 300) -> pl.DataFrame:
    random = np.random.default_rng(1)
    days = np.datetime64("2023-03-01", "us") + np.arange(rows) * np.timedelta64(1, "D")
    price = random.normal(size=rows)
    return pl.DataFrame({"day": days, "y": random.normal(size=rows).cumsum(), "price": price})


def test_a_table_has_the_number_of_each_row() -> None:
    table = table_of(frame(80), Roles(("y",), known=("price",), holidays=("DE", "DE-BY")))
    assert table.roles.known == ("price", "holidays DE", "holidays DE-BY")
    days = [str(day)[:10] for day in table.series[0].times.tolist()]  # type: ignore[union-attr]
    expected = [[by_hand(day, day, region) for region in ("DE", "DE-BY")] for day in days]
    np.testing.assert_array_equal(table.series[0].values[:, 2:], expected)
    assert table.series[0].values[:, 2].sum() == 4


@pytest.fixture(scope="module")
def model() -> gw.Forecaster:
    sizes: dict[str, Any] = {
        "horizon": HORIZON,
        "context": CONTEXT,
        "hidden": 16,
        "steps": 3,
        "start": "zero",
        "test": 50,
        "valid": 50,
    }
    return gw.Forecaster(holidays=["DE", "DE-BY"], **sizes).fit(frame(), target="y", known="price", time="day")


@pytest.mark.slow
def test_a_forecast_needs_no_rows_for_holidays_and_a_stream_agrees(model: gw.Forecaster, tmp_path: Path) -> None:
    encoder = model.model_.spec.encoder
    assert (encoder.holidays, encoder.known) == (("DE", "DE-BY"), ("price", "holidays DE", "holidays DE-BY"))
    assert (model.options_.data.known, model.options_.data.holidays) == (("price",), ("DE", "DE-BY"))
    rows = frame()
    last = rows["day"].to_list().index(datetime(2023, 10, 30))
    context = slice(last + 1 - CONTEXT, last + 1)
    known = rows[: last + 1 + HORIZON].with_columns(
        y=pl.when(pl.int_range(pl.len()) <= last).then("y")  # the future has the price alone
    )
    answer = model.predict(known).select(pl.col("^y_q.*$")).to_numpy()
    price = rows["price"].to_numpy()
    xs = [[rows["y"][t], *price[t + 1 : t + 1 + HORIZON]] for t in range(context.start, context.stop)]
    stream = model.stream()
    assert stream.reads_calendar
    assert stream.columns == ("y", "price+1", "price+2", "price+3")
    expected = stream.run(xs, times=rows["day"][context].to_numpy())[-1][:, 0]
    np.testing.assert_allclose(answer, expected, rtol=1e-12)
    # The holidays of Tuesday and Wednesday, 31 October and 1 November, count: the day before they do not.
    other = stream.copy()
    other.reset()
    assert not np.array_equal(
        other.run(xs, times=rows["day"][context].to_numpy() - np.timedelta64(9, "D"))[-1][:, 0], expected
    )
    with pytest.raises(GatewrightError, match=r"expected a time such as .*, for .*DE, DE-BY"):
        stream.step(xs[0])
    model.save(tmp_path / "model.safetensors")
    again = gw.load(tmp_path / "model.safetensors")
    assert again.predict(known).equals(model.predict(known))
    to_c(again.model_.file(), tmp_path)
    assert '    "holidays DE-BY+3",\n};' in (tmp_path / "model.c").read_text()
    figures = again.evaluate(rows)["targets"]["y"]["model"]["overall"]
    assert np.isfinite(figures["mae"])
    assert again.look(rows).about.inputs[-1] == "holidays DE-BY +3"


REFUSED: dict[str, tuple[Any, dict[str, Any], str]] = {
    "a country": (("XX",), {}, "holidays: expected a country such as DE, or a part of one .* got 'XX'"),
    "a name": (("Germany",), {}, "holidays: expected a country such as DE"),
    "a part": (("DE-XX",), {}, r"holidays: expected one of \['DE-BB'.*got 'DE-XX'"),
    "twice": (("DE", "DE"), {}, "holidays: expected each region once"),
    "no times": (("DE",), {"time": "none"}, "holidays: expected a table with timestamps"),
    "too early": (("DE",), {}, "holidays DE: expected years from 1991 to 2100, got 1950"),
    "a column": (("DE",), {}, "holidays: expected a name that no column has, got 'holidays DE'"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_before_a_training(name: str) -> None:
    regions, columns, message = REFUSED[name]
    rows = frame(60)
    if name == "too early":
        rows = rows.with_columns(pl.col("day").dt.offset_by("-73y"))
    if name == "a column":
        rows, columns = rows.rename({"price": "holidays DE"}), {"past": "holidays DE"}
    with pytest.raises(GatewrightError, match=message):
        gw.Forecaster(holidays=regions, steps=1).fit(rows, target="y", **columns)


def test_the_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "holidays", None)
    with pytest.raises(
        GatewrightError, match=r"--holidays: expected the package holidays: pip install 'gatewright\[holi"
    ):
        table_of(frame(20), Roles(("y",), holidays=("DE",)))


def test_a_specification_names_its_holidays_last() -> None:
    for known, step in ((("price",), "1d"), (("holidays DE", "price"), "1d"), (("price", "holidays DE"), "row")):
        with pytest.raises(SpecError):
            SeriesEncoder(("y",), known=known, holidays=("DE",), step=step)
    with pytest.raises(DataError):
        table_of(frame(20), Roles(("y",), known=("holidays DE",), holidays=("DE",)))
