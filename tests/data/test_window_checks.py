"""What a table has room for: counted by loops, and each hint tried."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import numpy as np
import pytest

from gatewright.data import preprocessing, split
from gatewright.data.roles import Roles
from gatewright.data.table import Series, Table
from gatewright.data.window_checks import Sizes, require_windows, windows_of
from gatewright.errors import DataError
from gatewright.tasks import registry
from gatewright.tasks.forecast import dataset as series_data
from gatewright.tasks.options import DataOptions, Options

NAN = math.nan


def table_of(*rows: int, holes=()) -> Table:
    """Series of so many rows, wavy, with missing values at some of them."""
    made = []
    for number, count in enumerate(rows):
        values = np.sin(np.arange(count))[:, None]
        values[[row for row in holes if row < count]] = NAN
        made.append(Series("abcdefgh"[number] if len(rows) > 1 else "", None, values, np.arange(2, count + 2)))
    return Table(Roles(("y",)), tuple(made), "row", ())


def write(path, *rows: int, start="2015-01-05", step=7):
    """A table of weekly series of so many rows."""
    lines = ["week,shop,sales"]
    for number, count in enumerate(rows):
        weeks = np.datetime64(start) + step * np.arange(count)
        lines += [f"{week},{'abcdefgh'[number]},{math.sin(row) + number:.4f}" for row, week in enumerate(weeks)]
    path.write_text("\n".join(lines) + "\n")
    return path


def read(path, **options):
    return series_data.read(
        path, registry.kind("forecast").resolve(Options(DataOptions(target=("sales",), **options))).data
    )


def refused(path, **options) -> str:
    with pytest.raises(DataError) as error:
        read(path, **options)
    return str(error.value)


def test_windows_are_counted_as_a_loop_does():
    table = table_of(40, 9, 3, holes=(30, 31, 38, 39))
    parts = split.split(table.series, "10", "5")
    sizes = Sizes(2, 1, 4)
    found = windows_of(table, parts, sizes)
    for one, part, counts in zip(table.series, parts, found, strict=True):
        seen = np.isfinite(one.values[:, 0])
        for place, (start, end) in enumerate([(0, part.valid), (part.valid, part.test), (part.test, part.end)]):
            origins = [
                origin
                for origin in range(3, part.end)
                if origin + 2 < end
                and (place == 0 or origin + 1 >= start)
                and seen[origin - 2 if place == 0 else origin + 1 : origin + 3].any()
            ]
            assert counts[place] == len(origins)


def test_the_error_says_where_the_number_comes_from_and_what_would_do(tmp_path):
    path = write(tmp_path / "a.csv", 156)
    message = refused(path)
    assert message == (
        "training part: expected at least 209 rows with an observed target among those to forecast"
        " (context 208 = 4 x season 52, plus horizon 1), got 110 rows; --context 55 would do"
    )
    assert read(path, context=55).windows.tolist() == [[55, 23, 23]]
    assert read(path, context=8).windows.tolist() == [[102, 23, 23]]
    assert "(context 120 = 4 x season 30, plus horizon 1), got 110 rows; --context 55 would" in refused(
        path, season=("none", "30")
    )
    assert "at least 111 rows with an observed target" in refused(path, context=110)
    assert "(context 110, plus horizon 1), got 110 rows; --context 55 would do" in refused(path, context=110)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"horizon": 100_000},
            "training part: .* 300000 rows .*context 200000 = 2 x horizon 100000, plus horizon",
        ),
        ({"horizon": 100_000, "context": 60}, "training part: .* 100060 rows .*context 60, plus horizon 100000"),
        (
            {"horizon": 30, "season": ("none", "4")},
            "validation part: .* 30 rows .*horizon 30, after a context of 60 = 2 x",
        ),
        (
            {"horizon": 9, "valid": "8", "season": ("none", "4")},
            "validation part: .* 9 rows .*horizon 9, after a context of 32",
        ),
        (
            {"season": ("none", "5000")},
            "training part: .* 20001 rows .*context 20000 = 4 x season 5000, plus horizon 1",
        ),
        ({"season": ("none", "30"), "valid": "100"}, "training part: .* 121 rows"),
        ({"season": ("30",)}, r"training part: .* 121 rows .*\(context 120 = 4 x season 30, plus horizon 1\)"),
        ({"season": ("4", "100")}, r"training part: .* \(context 116 = season 100 \+ 16, plus horizon 1\)"),
        ({"season": ("4", "120")}, r"training part: .* season 120 \+ 16, plus horizon 1\)"),
    ],
)
def test_every_hint_is_tried(tmp_path, options, message):
    """What an error proposes does, and for a horizon the next longer one does not."""
    path = write(tmp_path / "a.csv", 156)
    text = refused(path, **options)
    assert re.match(message, text)
    told = {name: int(value) for name, value in re.findall(r"--(context|horizon) (\d+)", text.partition("got")[2])}
    if "--season none" in text:
        told["season"] = ("none", "4")
    assert told
    assert read(path, **{**options, **told}).windows[0, :2].all()
    if "horizon" in told:
        refused(path, **{**options, "context": 1, **told, "horizon": told["horizon"] + 1})


def test_nothing_helps_where_nothing_was_observed():
    table = table_of(40, holes=range(20, 40))
    parts = split.split(table.series, "10", "10")
    with pytest.raises(DataError, match=r"; more rows are needed, or other sizes of --valid and --test$"):
        require_windows(table, parts, Sizes(3, 1, 4), ("training", "validation"))
    require_windows(table, parts, Sizes(3, 1, 4), ("training",))


def test_one_short_series_stops_nothing(tmp_path):
    path = write(tmp_path / "a.csv", 156, 12, 150, 30)
    data = read(path, id=("shop",), context=8, valid="20", test="20")
    assert data.windows.tolist() == [[108, 20, 20], [0, 0, 4], [102, 20, 20], [0, 2, 20]]
    assert data.notes == (
        "no training window, which takes 9 rows with an observed target: b, d",
        "no validation window, which takes 1 row with an observed target: b",
    )
    # If none is long enough, the error speaks of the longest.
    message = refused(path, id=("shop",), context=140)
    assert "training part: expected at least 141 rows" in message
    assert "got 110 rows in the longest series; --context 55 would do" in message


def test_a_series_without_an_observed_target_is_left_out(tmp_path):
    path = write(tmp_path / "a.csv", 60, 60)
    lines = path.read_text().splitlines()
    path.write_text("\n".join(f"{line.rpartition(',')[0]}," if ",b," in line else line for line in lines) + "\n")
    data = read(path, id=("shop",), context=8)
    assert [one.name for one in data.table.series] == ["a"]
    assert data.table.empty == ("b",)


def test_constant_inputs_are_left_out_and_told():
    names = ("y", "fixed", "wave", "later", "never", "k", "s")
    rows = np.arange(40.0)
    columns = {
        "y": np.sin(rows), "fixed": np.full(40, 1013.25), "wave": np.cos(rows),
        "later": np.where(rows < 30, 2.0, rows), "never": np.where(rows < 30, NAN, rows),
        "k": np.full(40, 0.1) + 1e-17, "s": np.full(40, 3.0),
    }  # fmt: skip
    one = Series("", None, np.stack([columns[name] for name in names], 1), np.arange(2, 42))
    table = Table(Roles(("y",), ("fixed", "wave", "later", "never"), ("k",), ("s",)), (one,), "row", ())
    parts = split.split(table.series, "5", "5")
    found, notes = preprocessing.leave_out_constants(table, parts)
    assert found.roles == Roles(("y",), ("wave",))
    np.testing.assert_array_equal(found.series[0].values, one.values[:, [0, 2]])
    assert notes == (
        "left out, 1013.25 in every row of the training part: fixed",
        "left out, 2 in every row of the training part, though not after it: later",
        "left out, without a value in the training part, though not after it: never",
        "left out, 0.1 in every row of the training part: k",
        "left out, 3 in every row of the training part: s",
    )
    preprocessing.fit_scaler(found, parts)
    # What varies, but not by enough for its size, is not called the same.
    near = one.values.copy()
    near[:, 1] = 1e13 + np.sin(rows)
    _, notes = preprocessing.leave_out_constants(replace(table, series=(replace(one, values=near),)), parts)
    assert notes[0] == "left out, numbers that differ too little for their size in the training part: fixed"
    near[:, 0] = near[:, 1]
    with pytest.raises(DataError, match=r"got numbers from 9999999999999\.0 to 10000000000000\.99\d*, which"):
        preprocessing.fit_scaler(replace(table, series=(replace(one, values=near),)), parts)
    # A static of several series varies between them; a constant target is nothing to learn.
    other = replace(one, values=one.values + 1)
    assert preprocessing.leave_out_constants(replace(table, series=(one, other)), parts * 2)[0].roles.static == (
        "s",
    )
    flat = replace(table, series=(replace(one, values=np.full((40, 7), 5.0)),))
    kept, notes = preprocessing.leave_out_constants(flat, parts)
    assert kept.roles == Roles(("y",))
    with pytest.raises(
        DataError, match="column 'y': expected values that vary in the training part, got 5 in every"
    ):
        preprocessing.fit_scaler(kept, parts)
