"""Streams of forecasters with categories: the bits of the whole series, from values and from indices."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gatewright import Model, Stream
from gatewright.errors import GatewrightError
from gatewright.runtime.category_index import CategoryIndex
from gatewright.spec import Category
from tests.support.stream_models import rows_of, series_model, table, whole_forecast

RAIN, AREA = Category("rain", ("dry", "wet"), 3), Category("area", ("-1", "7", "12"), 1)
HOLIDAY, PRICE = Category("holiday", ("false", "true"), 2), Category("price", ("high", "low"), 4)
CASES = [(RAIN,), (AREA, PRICE), (RAIN, AREA, HOLIDAY, PRICE)]
ALL = CASES[-1]


def shown(model: Model, rows: np.ndarray[Any, Any]) -> list[list[Any]]:
    """Rows as a caller has them: values in place of indices, each in one of its forms."""
    said: dict[str, list[Any]] = {
        "rain": ["hail", "dry", " wet "],
        "area": [99, "-1", 7.0, np.int64(12)],
        "holiday": [None, False, "True"],
        "price": [math.nan, np.str_("high"), "low"],
    }
    names = [name.split("+")[0] for name in model.stream().columns]
    categories = {each.column for each in model.spec.encoder.categories}
    return [
        [said[name][int(value)] if name in categories else value for name, value in zip(names, row, strict=True)]
        for row in rows.tolist()
    ]


@pytest.mark.parametrize("categories", CASES)
@pytest.mark.parametrize("reads", ["both", "nothing"])
def test_a_stream_gives_the_bits_of_the_whole_series(
    categories: tuple[Category, ...], reads: str, tmp_path: Path
) -> None:
    model = series_model(categories=categories, reads=reads)
    model.save(tmp_path / "model.safetensors")
    stream, series = Stream.load(tmp_path), table(model, 43)
    assert series.times is not None
    expected, xs, times = whole_forecast(model, series, 40), rows_of(model, series, 40), series.times[:40]
    assert np.array_equal(stream.run(xs, times=times, indexed=True), expected)
    stream.reset()
    rows = shown(model, xs)
    steps = [stream.step(x, time=when) for x, when in zip(rows, times, strict=True)]
    assert np.array_equal(np.stack(steps), expected)
    stream.reset()
    assert np.array_equal(stream.run(np.array(rows, object), times=times), expected)
    read, _ = stream.read(rows, times)
    assert np.array_equal(read, xs, equal_nan=True)


def test_many_sessions_and_chunks_of_steps_give_the_same_bits() -> None:
    model = series_model(categories=ALL, calendar=())
    xs = rows_of(model, table(model, 700), 690)
    expected = whole_forecast(model, table(model, 700), 690)
    assert np.array_equal(model.stream().run(xs, indexed=True), expected)
    several = np.stack([xs[start : start + 500] for start in range(60)], axis=1)
    stream = model.stream(sessions=60, threads=2)
    got = stream.run(several, indexed=True)
    for session in (0, 1, 59):
        assert np.array_equal(got[:, session], model.stream().run(several[:, session], indexed=True))
    alone, out = model.stream(), np.empty((3, 2, 3))
    alone.step_into(xs[0], out)
    assert np.array_equal(out, expected[0])


def test_categories_are_named() -> None:
    stream = series_model(categories=ALL).stream()
    assert stream.categories == {each.column: each.values for each in ALL}
    assert list(stream.categories) == ["rain", "area", "holiday", "price"]
    assert series_model().stream().categories == {}


GIVEN = [
    (RAIN, "wet", 2), (RAIN, " dry", 1), (RAIN, "hail", 0), (RAIN, "", 0), (RAIN, None, 0), (RAIN, math.nan, 0),
    (RAIN, np.str_("wet"), 2), (RAIN, True, 0), (RAIN, 1, None), (RAIN, 2.0, None), (RAIN, ["wet"], None),
    (AREA, 7, 2), (AREA, "7", 2), (AREA, 7.0, 2), (AREA, np.int8(-1), 1), (AREA, 2, 0), (AREA, "x", 0),
    (AREA, 7.5, None), (AREA, "7.0", None), (AREA, True, None), (AREA, math.inf, None), (AREA, 10**400, 0),
    (HOLIDAY, True, 2), (HOLIDAY, np.False_, 1), (HOLIDAY, "TRUE", 2), (HOLIDAY, 1, 2), (HOLIDAY, 0.0, 1),
    (HOLIDAY, 2, None), (HOLIDAY, "maybe", 0), (HOLIDAY, b"true", None),
]  # fmt: skip


@pytest.mark.parametrize(("category", "value", "expected"), GIVEN)
def test_a_value_has_its_index_or_is_refused(category: Category, value: Any, expected: int | None) -> None:
    index = CategoryIndex(category)
    if expected is not None:
        assert index.index(value) == expected
        return
    with pytest.raises(GatewrightError, match=rf"x: expected .* for category '{category.column}'"):
        index.index(value)


REFUSED: dict[str, tuple[int, Any, str]] = {
    "a number for a text": (2, 1.0, "a text such as 'dry' for category 'rain', None for none, got 1.0"),
    "a text for a number": (0, "12.5", r"x\[0\]: expected a number, got '12.5'"),
    "nothing for a number": (0, None, r"x\[0\]: expected a number, got None"),
    "a fraction for a code": (3, 7.25, "a whole number such as '-1' for category 'area'"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_wrong_type_moves_no_state(name: str) -> None:
    model = series_model(categories=ALL, calendar=())
    stream, place, value = model.stream(), *REFUSED[name][:2]
    row = shown(model, rows_of(model, table(model, 9), 5))[4]
    stream.step(row)
    before = stream.state()
    row[place] = value
    with pytest.raises(GatewrightError, match=REFUSED[name][2]):
        stream.step(row)
    for wrong in (row[:-1], [row, row[:-1]], [row]):
        with pytest.raises(GatewrightError, match="x: expected shape"):
            stream.step(wrong)
    assert stream.state() == before


def test_an_index_that_is_none_moves_no_state() -> None:
    model = series_model(categories=ALL, calendar=())
    stream = model.stream()
    xs = rows_of(model, table(model, 9), 5)
    before = stream.state()
    for place, value in ((2, 3.0), (2, -1.0), (2, 0.5), (3, 4.0), (4, math.nan), (9, 3.0)):
        wrong = xs.copy()
        wrong[3, place] = value
        message = f"the index of a value in each column of categories, got {value} in column {place} at step 3"
        with pytest.raises(GatewrightError, match=message):
            stream.run(wrong, indexed=True)
        with pytest.raises(GatewrightError, match="the index of a value"):
            stream.step_into(wrong[3], np.empty((3, 2, 3)))
    assert stream.state() == before
