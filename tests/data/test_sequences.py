"""Labelled sequences: from arrays, long tables and .ts files; the split; what cannot be used is refused."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatewright.data.sequence_split import classes_of, stratified
from gatewright.data.sequence_table import SequenceRoles, sequences_of_table
from gatewright.data.sequences import sequences_of
from gatewright.data.sources import digest
from gatewright.data.ts_reader import read_ts
from gatewright.errors import GatewrightError
from tests.support.lazy import LazyModule

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = LazyModule("pandas")

ROLES = SequenceRoles(("who",), "move")
TIMED = SequenceRoles(("who",), "move", time="t")


def test_arrays_of_each_form_are_the_same_sequences() -> None:
    numbers = np.arange(12.0).reshape(2, 3, 2)
    whole = sequences_of(numbers, [1, 2.0], columns=("a", "b"))
    listed = sequences_of([numbers[0], numbers[1].tolist()], np.array(["1", "2"]), columns=("a", "b"))
    assert whole.labels == listed.labels == ("1", "2")
    np.testing.assert_array_equal(np.stack(whole.values), np.stack(listed.values))
    assert digest(whole) == digest(listed)
    assert digest(whole) != digest(sequences_of(numbers, [2, 1], columns=("a", "b")))
    flat = sequences_of([[1.0, np.nan], np.array([3], np.int32)], None)
    assert (flat.lengths.tolist(), flat.columns, flat.labels) == ([2, 1], ("x0",), None)
    assert sequences_of(flat, ["x", "y"]).take([1]).labels == ("y",)


@pytest.mark.parametrize(
    ("X", "y", "message"),
    [
        (np.zeros(5), None, r"X: expected numbers \(n, T\) or .*, got an array of shape \(5,\)"),
        ([], None, "X: expected at least one sequence, got none"),
        ("abc", None, r"X: expected .*, got a str"),
        ([[1.0], []], None, r"X\[1\]: expected .* of at least one row, got no row"),
        ([np.zeros((2, 2)), np.zeros((2, 3))], None, r"X\[1\]: expected 2 numbers a row, as in X\[0\], got 3"),
        ([["a", "b"]], None, r"X\[0\]: expected numbers"),
        ([[1.0, np.inf]], None, r"X\[0\], row 1, column 0: expected a number .*, got inf"),
        ([[[1.0], [1.0, 2.0]]], None, r"X\[0\]: expected .*, got rows of unequal length"),
        ([[1.0], [2.0]], ["a"], "y: expected 2 labels, as X has sequences, got 1"),
        ([[1.0], [2.0]], ["a", None], r"y\[1\]: expected a label, got nothing"),
        ([[1.0], [2.0]], [1.0, np.nan], r"y\[1\]: expected a label, got nothing"),
        ([[1.0], [2.0]], 3, "y: expected a list of labels, got a int"),
    ],
)
def test_arrays_that_are_no_sequences_are_refused(X, y, message: str) -> None:
    with pytest.raises(GatewrightError, match=message):
        sequences_of(X, y)


def long_table() -> pl.DataFrame:
    return pl.DataFrame(
        {
            "who": ["b", "a", "b", "a", "b"],
            "t": [2, 10, 1, 9, 3],
            "ax": [1.0, 2.0, 3.0, None, 5.0],
            "note": ["u", "v", "w", "x", "y"],
            "move": ["run", "walk", "run", "walk", "run"],
        }
    )


def test_a_long_table_is_read_in_order_of_time() -> None:
    frame = long_table()
    sequences, roles = sequences_of_table(frame, TIMED)
    assert (roles.features, sequences.names, sequences.labels) == (("ax",), ("b", "a"), ("run", "walk"))
    np.testing.assert_array_equal(sequences.values[0], [[3.0], [1.0], [5.0]])
    np.testing.assert_array_equal(sequences.values[1], [[np.nan], [2.0]])
    dated = frame.with_columns(time=pl.Series([f"2024-01-{day:02}" for day in frame["t"]])).drop("t")
    found, roles = sequences_of_table(dated, ROLES)
    assert roles.time == "time"
    np.testing.assert_array_equal(found.values[0], sequences.values[0])
    as_pandas, _ = sequences_of_table(pd.DataFrame(frame.to_dict(as_series=False)), TIMED)
    assert digest(as_pandas) == digest(sequences)
    in_order, roles = sequences_of_table(frame, SequenceRoles(("who",), "move", ("ax",), time="none"))
    np.testing.assert_array_equal(in_order.values[0], [[1.0], [3.0], [5.0]])


def test_a_table_from_a_file_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "moves.csv"
    long_table().write_csv(path)
    assert sequences_of_table(path, ROLES)[0].title(1) == "sequence 'a', line 3"
    text = path.read_text()
    for changed, roles, message in (
        (text.replace("x,walk", "x,run"), ROLES, "line 5: expected 'walk', the label of sequence 'a' in line 3"),
        (text.replace("w,run", "w,"), ROLES, "'move', line 4: expected a label in every row .*, got nothing"),
        (text.replace("9,,", "9,oops,"), ROLES, "column 'ax', line 5: expected a number .*, got 'oops'"),
        (text.replace("a,9,", ",9,"), ROLES, "'who', line 5: expected the name of a series, got nothing"),
        (text.replace("a,9,", "a,10,"), TIMED, "line 5: expected another time than line 3 of sequence 'a'"),
        (text, SequenceRoles(("who",), "moves"), "--label: expected a column out of "),
        (text, SequenceRoles(("who",), "who"), "--id and --label: expected each column once, got 'who' twice"),
        (text, SequenceRoles(()), "--id: expected the column that names a row's sequence"),
        (text, SequenceRoles(("who",), "move", ("note",), category=("none",)), "'note', line 2: expected a n"),
    ):  # fmt: skip
        path.write_text(changed)
        with pytest.raises(GatewrightError, match=message):
            sequences_of_table(path, roles)


TS = """# a comment
@problemName Moves
@timeStamps false
@univariate false
@equalLength false
@classLabel true up down
@data
1.0,2.0,3:0.5,?,1.5:up
-1,NaN:2e0,3:down
"""


def test_a_ts_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "Moves_TRAIN.ts"
    path.write_text(TS)
    sequences = read_ts(path)
    assert (sequences.labels, sequences.columns, sequences.lengths.tolist()) == (
        ("up", "down"),
        ("dim_0", "dim_1"),
        [3, 2],
    )
    np.testing.assert_array_equal(sequences.values[0], [[1.0, 0.5], [2.0, np.nan], [3.0, 1.5]])
    np.testing.assert_array_equal(sequences.values[1], [[-1.0, 2.0], [np.nan, 3.0]])
    assert sequences.title(1) == "sequence '1', line 9"
    packed = tmp_path / "Moves.ts.gz"
    packed.write_bytes(gzip.compress(TS.encode()))
    assert digest(read_ts(packed)) == digest(sequences)
    path.write_text(
        TS.replace("@classLabel true up down", "@classLabel false").replace(":up", "").replace(":down", "")
    )
    assert read_ts(path).labels is None


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("2.0,3:", "2.0,three:", "line 8, dimension 0: expected numbers separated by commas, got 'three'"),
        ("2.0,3:", "2.0,,3:", "line 8, dimension 0: expected numbers separated by commas, got nothing"),
        ("2.0,3:", "2.0,inf:", "line 8, dimension 0: expected numbers up to"),
        ("2.0,3:", "2.0:", "line 8: expected dimensions of one length, got lengths 2 and 3"),
        (":up", ":left", "line 8: expected a class out of 'up down', as in the header, got 'left'"),
        (":up", ":", "line 8: expected a class after the last colon, got nothing"),
        ("-1,NaN:2e0,3:down", "-1,3:down", "line 9: expected 2 dimensions, as in the lines before, got 1"),
        ("-1,NaN:2e0,3:down", "down", "line 9: expected numbers before the class, got nothing"),
        ("@timeStamps false", "@timeStamps true", "expected a .ts file without timestamps"),
        ("@data", "data", "line 7: expected a header of lines"),
        ("@classLabel true up down", "@targetLabel true", "expected a .ts file with classes"),
        (TS[TS.index("@data") + 6 :], "", "expected sequences after @data, got none"),
        ("@data\n" + TS[TS.index("@data") + 6 :], "", "expected a line @data"),
    ],
)
def test_a_damaged_ts_file_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "a.ts"
    assert old in TS
    path.write_text(TS.replace(old, new))
    with pytest.raises(GatewrightError, match=message):
        read_ts(path)


@given(
    st.lists(st.integers(3, 30), min_size=2, max_size=5),
    st.floats(0.05, 0.4),
    st.floats(0.05, 0.4),
    st.integers(0, 3),
)
@settings(max_examples=50, deadline=None)
def test_each_class_is_in_each_part(counts: list[int], valid: float, test: float, seed: int) -> None:
    labels = [f"c{number}" for number, count in enumerate(counts) for _ in range(count)]
    labels = tuple(np.random.default_rng(0).permutation(labels).tolist())
    parts = stratified(labels, str(valid), str(test), seed)
    every = np.concatenate([parts.train, parts.valid, parts.test])
    np.testing.assert_array_equal(np.sort(every), np.arange(len(labels)))
    for number, count in enumerate(counts):
        sizes = [sum(labels[n] == f"c{number}" for n in part) for part in (parts.train, parts.valid, parts.test)]
        assert min(sizes) >= 1
        if count >= 10:
            assert abs(sizes[1] - valid * count) <= 1
            assert abs(sizes[2] - test * count) <= 1
    again = stratified(labels, str(valid), str(test), seed)
    np.testing.assert_array_equal(parts.test, again.test)


def test_the_split_depends_on_the_seed_and_sizes_may_be_counts() -> None:
    labels = ("a", "b") * 50
    first, second = (stratified(labels, "0.2", "20", seed) for seed in (0, 1))
    assert (len(first.valid), len(first.test)) == (20, 20)
    assert first.test.tolist() != second.test.tolist()
    assert len(stratified(labels, "0.1", "0", 0).test) == 0


@pytest.mark.parametrize(
    ("labels", "sizes", "message"),
    [
        (("a",) * 9, ("0.2", "0.2"), "labels: expected at least two classes to tell apart, got 'a' alone"),
        (("a",) * 9 + ("b",) * 2, ("0.2", "0.2"), "'b': expected at least 3 sequences, .* got 2"),
        (("a",) * 9 + ("b",), ("0.2", "0"), "'b': expected at least 2 sequences, .* got 1"),
        (("a", "b") * 9, ("0.6", "0.4"), "--valid and --test: expected sizes that leave a training part"),
        (("a", "b") * 9, ("2017-01-01", "0"), "--valid: expected a share such as 0.15, or a number of sequences"),
        (("a", "b") * 9, ("0.1", "-3"), "--test: expected a share .*, or the path of a file"),
        (("a", "b") * 9, ("18", "0"), "--valid: expected .*, got '18' of 18 sequences"),
        (("a", "b") * 9, ("nan", "0"), "--valid: expected"),
    ],
)  # fmt: skip
def test_what_cannot_be_split_is_refused(labels, sizes, message: str) -> None:
    with pytest.raises(GatewrightError, match=message):
        stratified(labels, *sizes, seed=0)


def test_classes_are_in_order() -> None:
    assert classes_of(("10", "9", "10")) == ("9", "10")
    assert classes_of(("b", "10", "9")) == ("10", "9", "b")
