"""Columns of categories: which they are, from any source, and the indices of their values."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pytest

from gatewright.data import preprocessing
from gatewright.data.categories import codes
from gatewright.data.category_values import values_of_training, with_values
from gatewright.data.columns import Column
from gatewright.data.number_format import PLAIN, Notation
from gatewright.data.split import Parts
from gatewright.data.table import Roles, Table, digest_of, table_of
from gatewright.errors import DataError
from gatewright.spec import Category, SeriesEncoder
from tests.support.lazy import LazyModule

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = LazyModule("pandas")

NAN = math.nan
LOAD = [5.0, 7.0, 6.0, 8.0, 4.0, 3.0]
DAYS = [f"2024-01-0{day}" for day in range(1, 7)]


def read(cells: Any, notation: Notation = PLAIN, **roles: Any) -> Table:
    """Read a column ``c`` of past inputs next to days and targets."""
    frame = pl.DataFrame({"day": DAYS, "load": LOAD}).with_columns(pl.Series("c", cells))
    return table_of(frame, Roles(("load",), ("c",), notation=notation, **roles))


def indices(table: Table, column: str = "c") -> list[float]:
    return table.series[0].values[:, table.roles.columns.index(column)].tolist()


NAMES = ["b", "a", None, "b", " a ", ""]
FORMS: dict[str, tuple[Any, tuple[str, ...], list[float]]] = {
    "text": (NAMES, ("a", "b"), [2, 1, NAN, 2, 1, NAN]),
    "categorical": (pl.Series(NAMES, dtype=pl.Categorical), ("a", "b"), [2, 1, NAN, 2, 1, NAN]),
    "enum of digits": (
        pl.Series(["10", "9", None, "9", "9", "9"], dtype=pl.Enum(["10", "9"])),
        ("9", "10"), [2, 1, NAN, 1, 1, 1],
    ),
    "booleans": ([True, False, None, True, True, True], ("false", "true"), [2, 1, NAN, 2, 2, 2]),
    "truth in text": (["True", "FALSE", "NA", "true", "true", "true"], ("false", "true"), [2, 1, NAN, 2, 2, 2]),
    "names that are like truth": (["true", "maybe", "x", "x", "x", "x"], ("maybe", "true", "x"), [2, 1, 3, 3, 3,
    3]),
}  # fmt: skip


@pytest.mark.parametrize("name", FORMS)
def test_names_and_truth_values_are_categories_by_themselves(name: str) -> None:
    cells, values, expected = FORMS[name]
    table = read(cells)
    assert dict(table.categories) == {"c": values}
    np.testing.assert_array_equal(indices(table), expected)


CODES: dict[str, tuple[Any, tuple[str, ...], list[float]]] = {
    "whole numbers": ([10, 9, None, -1, 9, 9], ("-1", "9", "10"), [3, 2, NAN, 1, 2, 2]),
    "digits in text": (["10", "9", "", "9", "9", "9"], ("9", "10"), [2, 1, NAN, 1, 1, 1]),
    "digits with zeros": (["010", "10", "10", "9", "9", "9"], ("9", "010", "10"), [2, 3, 3, 1, 1, 1]),
    "digits and names": (["7", "B2", "7", "7", "7", "1.5"], ("1.5", "7", "B2"), [2, 3, 2, 2, 2, 1]),
}


@pytest.mark.parametrize("name", CODES)
def test_codes_are_categories_if_they_are_named(name: str) -> None:
    cells, values, expected = CODES[name]
    table = read(cells, category=("c",))
    assert table.categories["c"] == values
    np.testing.assert_array_equal(indices(table), expected)


def test_words_for_a_missing_value_are_no_category() -> None:
    missing = Notation(missing=("-9", "unknown"))
    assert indices(read(["a", "Unknown", "b", "n/a", "a", "a"], missing)) == pytest.approx(
        [1, NAN, 2, NAN, 1, 1], nan_ok=True
    )
    assert indices(read([1, -9, 2, 1, 1, 1], missing, category=("c",))) == pytest.approx(
        [1, NAN, 2, 1, 1, 1], nan_ok=True
    )


def test_none_reads_truth_as_numbers_and_refuses_names() -> None:
    table = read([True, False, True, True, False, True], category=("none",))
    assert (dict(table.categories), indices(table)) == ({}, [1, 0, 1, 1, 0, 1])
    with pytest.raises(DataError, match="column 'c', row 1: expected a number"):
        read(["a", "b", "a", "a", "a", "a"], category=("none",))
    frame = pl.DataFrame({"day": DAYS, "load": LOAD, "c": [True] * 5 + [False], "d": [1, 2, 1, 2, 1, 1]})
    table = table_of(frame, Roles(("load",), ("c", "d"), category=("none", "d")))
    assert list(table.categories) == ["d"]


REFUSED: dict[str, tuple[Any, tuple[str, ...], str]] = {
    "floats": ([1.0, 2.0, 1.0, 1.0, 2.0, 2.5], ("c",),
        "category 'c': expected text, true and false, or whole numbers, "
               "got cells of type 'Float64'; codes that came as floats become whole numbers by a cast"),
    "fractions in text": (["1.0", "2.0"] * 3, ("c",),
    "got numbers such as '1.0'; codes are written without a decimal"), "dates": (pl.Series(DAYS).str.to_date(),
    ("c",), "category 'c': expected text, .* got cells of type 'Date'"), "lists": ([[1], [2], [1], [1], [1], [1]],
    ("c",), "got cells of type 'List"), "the target": ([1, 2, 1, 1, 1, 1], ("load",),
    "--category: expected inputs that .* got the target 'load'"), "no input": ([1, 2, 1, 1, 1, 1], ("d",),
        "--category: expected inputs that --past, --known or --static names"),
    "names and numbers": (["a", "b", "c", "7", "d", "e"], (),
    "column 'c', row 4: expected numbers or names in all "
                          "rows, got '7', and 'a' in row 1; --category c takes all cells as names"),
    "a long name": (["a", "b", "c" * 201, "a", "a", "a"], (), "'c', row 3: expected a value of at most 200"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_a_category_is_refused_by_name(name: str) -> None:
    cells, category, message = REFUSED[name]
    with pytest.raises(DataError, match=message):
        read(cells, category=category)


def test_numbers_in_another_notation_stay_numbers() -> None:
    with pytest.raises(DataError, match=r"column 'c', row 1: expected a number .* --decimal ,"):
        read(["1,5", "2,5", "1,5", "1,5", "2,5", "3,5"])


def test_a_file_and_frames_of_all_libraries_give_the_same_bits(tmp_path: Path) -> None:
    """Text, truth and codes, in every type that a library has for them."""
    names, truth, code = (
        ["b", "a", "b", None, "a", "b"],
        [True, None, False, True, True, False],
        [3, 10, 3, 3, None, 1],
    )
    frame = pl.DataFrame({"day": DAYS, "load": LOAD, "name": names, "open": truth, "code": code})
    frame.write_csv(tmp_path / "t.csv")
    frame.with_columns(pl.col("name").cast(pl.Categorical)).write_parquet(tmp_path / "t.parquet")
    plain = pd.DataFrame({"day": DAYS, "load": LOAD, "name": names, "open": truth, "code": code})
    typed = plain.astype({"name": "category", "open": "boolean", "code": "Int64"})
    sources = {
        "csv": tmp_path / "t.csv",
        "parquet": tmp_path / "t.parquet",
        "enum": frame.with_columns(pl.col("name").cast(pl.Enum(["b", "a"])), pl.col("code").cast(pl.Int8)),
        "objects": plain.astype({"code": "Int64"}),
        "pandas": typed,
        "arrow": Stream(frame.with_columns(pl.col("name").cast(pl.Categorical))),
        "strings": typed.astype({"name": "string"}),
    }
    roles = Roles(("load",), ("name", "open"), ("code",), category=("code",))
    expected = table_of(frame, roles)
    assert dict(expected.categories) == {"name": ("a", "b"), "open": ("false", "true"), "code": ("1", "3", "10")}
    for name, source in sources.items():
        table = table_of(source, roles)
        assert table.categories == expected.categories, name
        np.testing.assert_array_equal(table.series[0].values, expected.series[0].values)


class Stream:
    """An Arrow stream of another library, which sends categories as a dictionary."""

    def __init__(self, frame: pl.DataFrame) -> None:
        self.frame = frame

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        return self.frame.__arrow_c_stream__(requested_schema)


def test_the_id_of_a_series_may_be_one_of_its_inputs() -> None:
    frame = pl.DataFrame({"day": DAYS[:3] * 2, "shop": [12, 12, 12, 7, 7, 7], "load": LOAD})
    table = table_of(frame, Roles(("load",), static=("shop",), series=("shop",)))
    assert dict(table.categories) == {"shop": ("7", "12")}
    assert [each.values[:, 1].tolist() for each in table.series] == [[2, 2, 2], [1, 1, 1]]


def test_a_static_category_has_one_value_and_may_be_missing() -> None:
    frame = pl.DataFrame({"day": DAYS[:3] * 2, "shop": list("aaabbb"), "load": LOAD})
    roles = Roles(("load",), static=("kind",), series=("shop",))
    table = table_of(frame.with_columns(kind=pl.Series(["x", None, "x", None, None, None])), roles)
    np.testing.assert_array_equal([each.values[0, 1] for each in table.series], [1, NAN])
    with pytest.raises(DataError, match="'kind', row 3: expected one value in series 'a', got 'x' and 'y'"):
        table_of(frame.with_columns(kind=pl.Series(["x", "x", "y", "x", "x", "x"])), roles)


HOURS = ["2024-01-01 00:00", "2024-01-01 00:20", "2024-01-01 00:40", "2024-01-01 01:00", "2024-01-01 01:30"]


@pytest.mark.parametrize(
    ("aggregate", "expected"), [("", [2, 1]), ("mean", [2, 1]), ("sum", [2, 1]), ("last", [1, 2])]
)
def test_a_step_takes_the_most_frequent_category_or_the_last(aggregate: str, expected: list[float]) -> None:
    """Of two that are as frequent the first in the order of values."""
    frame = pl.DataFrame({"at": HOURS, "load": LOAD[:5], "c": ["b", "b", "a", "a", "b"]})
    for role in ({"past": ("c",)}, {"known": ("c",)}):
        table = table_of(frame, Roles(("load",), **role, resample="1h", aggregate=aggregate))
        assert indices(table) == expected


def test_gaps_are_filled_or_unknown() -> None:
    """The table has nothing in rows that it puts in; `encode` fills them, within the window."""
    frame = pl.DataFrame({"day": [*DAYS[:2], *DAYS[3:]], "load": LOAD[:5], "c": ["b", "a", None, "b", "b"]})
    table = table_of(frame, Roles(("load",), ("c",)), fill="forward")
    np.testing.assert_array_equal(indices(table), [2, 1, NAN, NAN, 2, 2])


@pytest.mark.parametrize(("fill", "expected"), [("forward", [2, 1, 1, 1, 2]), ("mean", [2, 1, 0, 0, 2])])
def test_a_missing_category_goes_on_or_is_unknown(fill: str, expected: list[float]) -> None:
    """What goes on has an age, so that a window which begins later reads an unknown category."""
    cells = pl.Series(["b", "a", None, None, "b"])
    table = table_of(pl.DataFrame({"day": DAYS[:5], "load": LOAD[:5], "c": cells}), Roles(("load",), ("c",)), fill)
    scaler = preprocessing.fit_scaler(table, [Parts(5, 5, 5)])
    assert (scaler.mean[1], scaler.scale[1]) == (0, 1)
    encoder = SeriesEncoder(("load",), ("c",), context=2, categories=(Category("c", ("a", "b"), 3),))
    encoded = preprocessing.encode(table.series[0], encoder, scaler, fill)
    assert encoded.inputs[:, 2].tolist() == expected
    assert encoded.input_ages[:, 2].tolist() == ([0, 0, 1, 2, 0] if fill == "forward" else [0] * 5)


def test_values_that_training_lacks_are_unknown_and_said() -> None:
    table = read(["b", "d", "b", "a", "c", None])
    training = values_of_training(table, [Parts(3, 5, 6)])
    assert dict(training.categories) == {"c": ("b", "d")}
    np.testing.assert_array_equal(indices(training), [1, 2, 1, 0, 0, NAN])
    assert training.notes == ("c: unknown to the training, in 2 rows: 'a', 'c'",)
    other = with_values(read(["d", "e", "b", "b", "b", None]), {"c": ("b", "d")})
    np.testing.assert_array_equal(indices(other), [2, 0, 1, 1, 1, NAN])
    assert other.notes == ("c: unknown to the training, in 1 row: 'e'",)
    assert with_values(other, {"c": ("b", "d")}) is other
    numbers = with_values(read([1, 0, 1, 1, None, 0], category=("c",)), {"c": ("false", "true")})
    np.testing.assert_array_equal(indices(numbers), [2, 1, 2, 2, NAN, 1])
    assert numbers.notes == ()


def test_a_category_that_does_not_vary_is_left_out() -> None:
    parts = [Parts(3, 5, 6)]
    for cells, left in ((["a"] * 6, True), (["a", "a", "a", "b", "a", "a"], True), (["a", None, "a"] * 2, False)):
        table, notes = preprocessing.leave_out_constants(read(cells), parts)
        assert ("c" not in table.categories) == left
        assert bool(notes) == left
    assert notes == ()
    _, notes = preprocessing.leave_out_constants(read(["a", "a", "a", "b", "a", "a"]), parts)
    assert notes == ("left out, a in every row of the training part, though not after it: c",)


def test_the_values_of_categories_are_in_the_digest() -> None:
    table = read(["a", "b", "a", "a", "a", "a"])
    other = replace(table, categories={"c": ("a", "x")})
    assert digest_of(table) != digest_of(other)


def test_many_values_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gatewright.data.categories.MOST_VALUES", 3)
    with pytest.raises(DataError, match="category 'c': expected at most 3 different values, got 4"):
        codes(Column(pl.Series("c", list("abcd"))), str)
