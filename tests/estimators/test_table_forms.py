"""Ids, timestamps and labels of an answer are those of the table, whatever their types are."""

from __future__ import annotations

import datetime
import uuid
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pytest

import gatewright as gw
from gatewright.errors import GatewrightError
from gatewright.estimators.base import GatewrightWarning
from tests.support.lazy import LazyModule

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = LazyModule("pandas")

pytestmark = pytest.mark.slow

ROWS = 60
SMALL: dict[str, Any] = {
    "horizon": 2, "hidden": 4, "context": 8, "steps": 2, "batch": 8, "refit": False,
    "transform": "none", "scale": "global",  # the choice of them takes as long as the training
}  # fmt: skip
LOAD = np.sin(np.arange(ROWS) / 4)


def forecaster(**more: Any) -> gw.Forecaster:
    return gw.Forecaster(**{**SMALL, **more})


def pandas_panel(first: Any, second: Any, dtype: Any = None) -> pd.DataFrame:
    ids = pd.Series([first] * ROWS + [second] * ROWS, dtype=dtype)
    times = pd.date_range("2024-01-01", periods=ROWS, freq="h")
    return pd.DataFrame({"site": ids, "ts": [*times, *times], "load": [*LOAD, *(2 * LOAD + 5)]})


def polars_panel(first: Any, second: Any, dtype: Any = None) -> pl.DataFrame:
    times = pl.Series(np.datetime64("2024-01-01", "us") + np.arange(ROWS) * np.timedelta64(1, "h"))
    ids = pl.Series([first] * ROWS + [second] * ROWS, dtype=dtype)
    return pl.DataFrame({"site": ids, "ts": pl.concat([times, times]), "load": [*LOAD, *(2 * LOAD + 5)]})


PANDAS_IDS: dict[str, tuple[Any, Any, Any]] = {
    "whole numbers as categories": (1, 2, "category"),
    "text as categories": ("a", "b", "category"),
    "booleans": (True, False, None),
    "nullable booleans": (True, False, "boolean"),
    "nullable whole numbers": (1, 2, "Int64"),
    "objects of whole numbers": (1, 2, object),
    "objects of several kinds": (1, "a", object),
    "identifiers": (uuid.UUID(int=1), uuid.UUID(int=2), object),
    "tuples": ((1, 2), (1, 3), object),
    "times": (lambda: pd.Timestamp("2024-01-01"), lambda: pd.Timestamp("2024-01-02"), None),
    "durations": (lambda: pd.Timedelta("1D"), lambda: pd.Timedelta("2D"), None),
    "periods": (lambda: pd.Period("2024-01"), lambda: pd.Period("2024-02"), None),
    "intervals": (lambda: pd.Interval(0, 1), lambda: pd.Interval(1, 2), "category"),
    "text with spaces": (" a", "b ", None),
}


@pytest.fixture(scope="module")
def plain_medians() -> np.ndarray[Any, Any]:
    """Forecasts of a table whose ids are plain text."""
    plain = pandas_panel("one", "two")
    answer = forecaster().fit(plain, target="load", id="site").predict(plain)
    return answer["load_q0.5"].to_numpy()


@pytest.mark.parametrize(("first", "second", "dtype"), PANDAS_IDS.values(), ids=PANDAS_IDS)
def test_ids_of_pandas_come_back(first: Any, second: Any, dtype: Any, plain_medians: np.ndarray[Any, Any]) -> None:
    first, second = (value() if callable(value) else value for value in (first, second))
    table = pandas_panel(first, second, dtype)
    columns = {"target": "load", "id": "site"}
    answer = forecaster().fit(table, **columns).predict(table)
    assert answer["site"].tolist() == [first, first, second, second]
    assert answer["site"].dtype == table["site"].dtype
    np.testing.assert_array_equal(answer["load_q0.5"].to_numpy(), plain_medians)
    folds = forecaster().cross_validate(table, windows=1, **columns)
    assert folds["site"].tolist() == [first, first, second, second]


POLARS_IDS: dict[str, tuple[Any, Any, Any]] = {
    "categories": ("a", "b", pl.Categorical),
    "an enum": ("a", "b", pl.Enum(["b", "a"])),
    "booleans": (True, False, None),
    "decimals": (Decimal("1.50"), Decimal("2.50"), pl.Decimal(10, 2)),
    "dates": (datetime.date(2024, 1, 1), datetime.date(2024, 1, 2), None),
    "durations": (datetime.timedelta(1), datetime.timedelta(2), None),
    "times of day": (datetime.time(1), datetime.time(2), None),
    "very wide numbers": (1, 2, pl.Int128),
    "text with spaces": (" a", "b ", None),
}


@pytest.mark.parametrize(("first", "second", "dtype"), POLARS_IDS.values(), ids=POLARS_IDS)
def test_ids_of_polars_come_back(first: Any, second: Any, dtype: Any) -> None:
    table = polars_panel(first, second, dtype)
    answer = forecaster().fit(table, target="load", id="site").predict(table)
    assert answer["site"].to_list() == [first, first, second, second]
    assert answer.schema["site"] == table.schema["site"]


@pytest.mark.parametrize(("first", "second"), [(1, "1"), ("a", "a "), (True, "True")])
def test_ids_that_are_equal_as_text_are_refused(first: Any, second: Any) -> None:
    table = pandas_panel(first, second, object)
    table["ts"] = pd.date_range("2024-01-01", periods=2 * ROWS, freq="h")  # one series would pass
    with pytest.raises(GatewrightError, match=r"^id column 'site': expected ids that differ as text, got "):
        forecaster().fit(table, target="load", id="site")
    good = pandas_panel("x", "y")
    model = forecaster().fit(good, target="load", id="site")
    with pytest.raises(GatewrightError, match="expected ids that differ as text"):
        model.predict(table)


@pytest.mark.parametrize("missing", [np.nan, None])
def test_a_row_without_an_id_is_refused(missing: Any) -> None:
    for table in (pandas_panel(1.0, missing), polars_panel(1.0, missing)):
        with pytest.raises(
            GatewrightError, match=f"id column 'site', row {ROWS + 1}: expected the name of a series"
        ):
            forecaster().fit(table, target="load", id="site")


BERLIN = "Europe/Berlin"
HOURS = pd.date_range("2024-03-30 05:00", periods=ROWS + 2, freq="h")
DAYS = pd.date_range("2024-02-01", periods=ROWS + 2, freq="D")
PANDAS_TIMES: dict[str, Any] = {
    "days at a place": pd.date_range("2024-02-01", periods=ROWS + 2, freq="D", tz=BERLIN),
    "months at a place": pd.date_range("2014-02-01", periods=ROWS + 2, freq="MS", tz="America/New_York"),
    "hours at a place": pd.date_range("2024-03-30", periods=ROWS + 2, freq="h", tz=BERLIN),
    "hours that end in autumn": pd.date_range("2024-10-24 14:00", periods=ROWS + 2, freq="h", tz=BERLIN),
    "days at a fixed offset": pd.date_range("2024-02-01", periods=ROWS + 2, freq="D", tz="+05:30"),
    "seconds": HOURS.astype("datetime64[s]"),
    "nanoseconds": HOURS.astype("datetime64[ns]"),
    "objects of dates": pd.Index(DAYS.date, dtype=object),
    "objects of times": pd.Index(HOURS.to_pydatetime(), dtype=object),
    "objects with a zone": pd.Index(list(HOURS.tz_localize("UTC")), dtype=object),
    "text": HOURS.astype(str),
    "text as in Germany": HOURS.strftime("%d.%m.%Y %H:%M"),
    "text as in America": DAYS.strftime("%m/%d/%Y"),
    "text on a clock of 12 hours": HOURS.strftime("%Y-%m-%d %I:%M %p"),
    "text with an offset": HOURS.strftime("%Y-%m-%dT%H:%M:%S+02:00"),
    "text in UTC": HOURS.strftime("%Y-%m-%dT%H:%M:%SZ"),
    "categories of text": pd.CategoricalIndex(HOURS.astype(str)),
    "periods of a month": pd.period_range("2014-01", periods=ROWS + 2, freq="M"),
    "periods of a week": pd.period_range("2014-01", periods=ROWS + 2, freq="W-WED"),
    "quarters": pd.period_range("2004-01", periods=ROWS + 2, freq="Q-NOV"),
    "days as numbers": pd.Index(DAYS.strftime("%Y%m%d").astype(int)),
    "seconds since 1970": pd.Index(HOURS.astype("datetime64[s]").astype(np.int64)),
    "milliseconds since 1970": pd.Index(HOURS.astype("datetime64[ms]").astype(np.int64)),
}


@pytest.mark.parametrize("times", PANDAS_TIMES.values(), ids=PANDAS_TIMES)
def test_times_of_pandas_go_on(times: Any) -> None:
    table = pd.DataFrame({"when": times[:ROWS], "load": LOAD})
    answer = forecaster().fit(table, target="load", time="when").predict(table)
    assert answer["when"].tolist() == list(times[ROWS:])
    if not isinstance(times, pd.CategoricalIndex):
        assert answer["when"].dtype == table["when"].dtype
    folds = forecaster().cross_validate(table, windows=1, target="load", time="when")
    assert folds["when"].tolist() == list(times[ROWS - 2 : ROWS])
    assert folds["cutoff"].tolist() == [times[ROWS - 3]] * 2


@pytest.mark.parametrize("name", ["days at a place", "hours at a place", "periods of a week", "seconds"])
def test_an_index_of_times_goes_on(name: str) -> None:
    times = PANDAS_TIMES[name]
    series = pd.Series(LOAD, index=times[:ROWS], name="load")
    frame = series.to_frame()
    answer = forecaster().fit(frame).predict(frame)
    assert list(answer.index) == list(times[ROWS:])
    assert answer.index.dtype == frame.index.dtype
    alone = forecaster().fit(series)
    pd.testing.assert_frame_equal(alone.predict(series), answer)
    with pytest.raises(GatewrightError, match="rows out of order have to be sorted by time"):
        alone.predict(series.sample(frac=1, random_state=0))


@pytest.mark.parametrize("name", ["days at a place", "hours at a place", "hours that end in autumn"])
def test_times_of_polars_go_on(name: str) -> None:
    utc = pl.Series(PANDAS_TIMES[name].tz_convert("UTC").tz_localize(None).to_numpy())
    times = utc.dt.replace_time_zone("UTC").dt.convert_time_zone(str(PANDAS_TIMES[name].tz))
    table = pl.DataFrame({"when": times[:ROWS], "load": LOAD})
    answer = forecaster().fit(table).predict(table)
    assert answer["when"].equals(times[ROWS:])
    assert answer.schema["when"] == table.schema["when"]


def test_text_in_utc_stays_so_whatever_the_clock_of_the_model() -> None:
    times = HOURS.tz_localize("UTC")
    local = pl.Series(HOURS.to_numpy()).dt.replace_time_zone("UTC").dt.convert_time_zone(BERLIN)
    model = forecaster().fit(pl.DataFrame({"when": local[:ROWS], "load": LOAD}))
    for pattern in ("%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%d %H:%M:%S+00:00"):
        table = pl.DataFrame({"when": times[:ROWS].strftime(pattern).to_list(), "load": LOAD})
        assert model.predict(table)["when"].to_list() == times[ROWS:].strftime(pattern).to_list()


@pytest.mark.parametrize("start", ["2024-07-01", "2024-03-29T06:00", "2024-10-25T06:00"])
def test_a_clock_without_a_zone_stays_one(start: str) -> None:
    utc = pl.Series(np.datetime64(start, "us") + np.arange(ROWS + 2) * np.timedelta64(1, "h"))
    local = utc.dt.replace_time_zone("UTC").dt.convert_time_zone(BERLIN).dt.replace_time_zone(None)
    table = pl.DataFrame({"when": local[:ROWS], "load": LOAD})
    answer = forecaster(time_zone=BERLIN).fit(table).predict(table)
    assert answer["when"].to_list() == local[ROWS:].to_list()
    frame = pd.DataFrame({"when": local[:ROWS].to_numpy(), "load": LOAD})
    assert forecaster(time_zone=BERLIN).fit(frame).predict(frame)["when"].tolist() == local[ROWS:].to_list()


def test_labels_of_pandas_come_back() -> None:
    table = pandas_panel("a", "b").set_axis([2, 0, 1], axis=1)
    answer = forecaster().fit(table, target=1, id=2, time=0).predict(table)
    assert list(answer.columns) == [2, 0, "1_q0.1", "1_q0.5", "1_q0.9"]
    assert answer[2].tolist() == ["a", "a", "b", "b"]
    folds = forecaster().cross_validate(table, windows=1, target=1, id=2, time=0)
    assert list(folds.columns) == [2, 0, "cutoff", 1, "1_q0.1", "1_q0.5", "1_q0.9"]


ARRAYS: dict[str, Any] = {
    "objects": LOAD.astype(object),
    "objects with None": np.array([None, *LOAD[1:]], object),
    "a list with None": [None, *LOAD[1:]],
    "decimals": [Decimal(str(value)) for value in LOAD],
    "a mask": np.ma.masked_array(np.where(np.arange(ROWS) == 0, 1e6, LOAD), mask=np.arange(ROWS) == 0),
    "every other item": np.repeat(LOAD, 2)[::2],
    "another order of bytes": LOAD.astype(">f8"),
}


@pytest.mark.parametrize("values", ARRAYS.values(), ids=ARRAYS)
def test_arrays_mean_their_numbers(values: Any) -> None:
    missing = np.where(np.arange(ROWS) == 0, np.nan, LOAD)
    plain = missing if values is ARRAYS["a mask"] or values[0] is None else LOAD
    expected = forecaster().fit(plain).predict(plain)
    np.testing.assert_array_equal(forecaster().fit(values).predict(values), expected)


def test_tensors_mean_their_numbers() -> None:
    import torch

    expected = forecaster().fit(LOAD).predict(LOAD)
    tensor = torch.tensor(LOAD, requires_grad=True)
    np.testing.assert_array_equal(forecaster().fit(tensor).predict(tensor), expected)
    half = torch.tensor(LOAD).bfloat16()
    rounded = half.double().numpy()
    np.testing.assert_array_equal(forecaster().fit(half).predict(half), forecaster().fit(rounded).predict(rounded))
    three = np.stack([LOAD, 2 * LOAD])[:, :, None]
    own = forecaster().fit(torch.tensor(three)).predict(torch.tensor(three))
    np.testing.assert_array_equal(own, forecaster().fit(three).predict(three))


def test_sequences_to_classify_mean_their_numbers() -> None:
    import torch

    random = np.random.default_rng(0)
    X, y = random.normal(size=(20, 12, 2)), ["a", "b"] * 10
    X[1::2] += 1
    sizes: dict[str, Any] = {"hidden": 4, "steps": 2, "batch": 4}
    hidden = np.broadcast_to(np.arange(12)[None, :, None] == 3, X.shape)
    missing = gw.SequenceClassifier(**sizes).fit(np.where(hidden, np.nan, X), y)
    masked = np.ma.masked_array(np.where(hidden, 1e6, X), mask=hidden)
    assert gw.SequenceClassifier(**sizes).fit(masked, y).model_.fingerprint == missing.model_.fingerprint
    plain = gw.SequenceClassifier(**sizes).fit(X, y)
    tensor = torch.tensor(X, requires_grad=True)
    for values in (tensor, list(tensor), X.astype(object)):
        own = gw.SequenceClassifier(**sizes).fit(values, y)
        np.testing.assert_array_equal(own.predict_proba(values), plain.predict_proba(X))


def test_names_of_targets_apart_from_an_array_are_kept() -> None:
    inputs, targets = np.stack([LOAD, LOAD**2], axis=1), pd.DataFrame({"load": LOAD, "x": 2 * LOAD})
    model = forecaster().fit(inputs, targets)
    assert model.model_.spec.encoder.columns == ("load", "x", "x0", "x1")
    plain = forecaster().fit(inputs, targets.to_numpy())
    np.testing.assert_array_equal(model.predict(inputs, targets), plain.predict(inputs, targets.to_numpy()))


def test_a_series_left_out_keeps_its_place() -> None:
    model = forecaster().fit(LOAD)
    with pytest.warns(GatewrightWarning, match="left out, fewer than 8 rows: 1"):
        answer = model.predict([LOAD, LOAD[:3], LOAD[:40]])
    np.testing.assert_array_equal(answer[0], model.predict(LOAD))
    assert np.isnan(answer[1]).all()
    np.testing.assert_allclose(answer[2], model.predict(LOAD[:40]), rtol=1e-6)
    single = forecaster().fit([LOAD, LOAD])
    np.testing.assert_allclose(single.predict(LOAD), single.predict([LOAD])[0], rtol=1e-12)


def test_rows_that_do_not_belong_together_are_refused() -> None:
    table = pandas_panel("a", "b").iloc[:ROWS][["ts", "load"]]
    turned = table["load"].iloc[::-1]
    with pytest.raises(GatewrightError, match=r"^y: expected the index of X, got another one; y.reindex\(X"):
        forecaster().fit(table[["ts"]], turned)
    model = forecaster().fit(table[["ts"]], table["load"])
    again = model.predict(table[["ts"]], turned.reindex(table.index))
    pd.testing.assert_frame_equal(again, model.predict(table[["ts"]], table["load"]))
    indexed = table[["ts"]].set_index(table["ts"].rename("index"))[[]]
    assert len(forecaster().fit(indexed, table["load"]).predict(indexed, table["load"])) == 2


LISTS: dict[str, tuple[Any, str]] = {
    "frames": ([pl.DataFrame({"load": LOAD})] * 2, "^series 0: expected an array of numbers, got a DataFrame"),
    "series with times": ([pd.Series(LOAD, index=HOURS[:ROWS])] * 2, "^series 0: .*got a Series with times; one"),
    "a series named as the ids": ([pl.Series("series", LOAD)] * 2, "^series 0: expected a name other than "),
    "series of other names": ([pl.Series("a", LOAD), pl.Series("b", LOAD)], "^series 1: expected the name 'a'"),
    "an item that is nothing": ([LOAD, None], "^series 1: expected numbers .* got a NoneType"),
    "complex numbers": (LOAD + 1j, "^X: .*got a ndarray of complex128"),
    "labels that look like times": (pd.Series(LOAD, index=HOURS[:ROWS].astype(str)), "labels without a name"),
}  # fmt: skip


@pytest.mark.parametrize(("values", "message"), LISTS.values(), ids=LISTS)
def test_what_would_be_lost_is_refused(values: Any, message: str) -> None:
    with pytest.raises(GatewrightError, match=message):
        forecaster().fit(values)


def test_arrays_and_tables_that_do_not_fit_are_told_apart() -> None:
    model = forecaster().fit(pl.DataFrame({"load": LOAD}))
    with pytest.raises(GatewrightError, match=r"^X: expected the columns of the training, 'load', got arrays"):
        model.predict(LOAD)
    wide = forecaster().fit(np.stack([LOAD, LOAD**2], axis=1))
    with pytest.raises(GatewrightError, match=r"^X: expected the columns of the training, 'y0', 'y1', got arrays"):
        wide.predict(LOAD)


def test_arrow_tables_and_columns() -> None:
    arrow = pytest.importorskip("pyarrow")
    table = arrow.table({"ts": HOURS[:ROWS].to_numpy(), "load": LOAD})
    answer = forecaster().fit(table).predict(table)
    assert isinstance(answer, arrow.Table)
    assert answer["ts"].to_pylist() == [when.to_pydatetime() for when in HOURS[ROWS:]]
    column = forecaster().fit(table["load"]).predict(table["load"])
    np.testing.assert_array_equal(column, forecaster().fit(LOAD).predict(LOAD))
