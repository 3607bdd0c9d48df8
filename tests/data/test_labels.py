"""Labels of steps: from arrays and tables, with and without a label, in the order of the classes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pytest

from gatewright.data.labels import StepLabels, label_text, step_labels_of
from gatewright.data.sequence_split import in_order_of_time, shuffled
from gatewright.data.sequence_table import SequenceRoles, sequences_of_table
from gatewright.data.sequences import sequences_of
from gatewright.errors import DataError, GatewrightError
from tests.support.lazy import LazyModule

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = LazyModule("pandas")


def texts(labels: StepLabels) -> list[list[str]]:
    names = [*labels.names, ""]
    return [[names[number] for number in own] for own in labels.numbers]


@pytest.mark.parametrize(
    ("y", "expected"),
    [
        ([["b", None, "a"], ["", "b"]], [["b", "", "a"], ["", "b"]]),
        ([np.array([10, 2, 2]), [2.0, float("nan")]], [["10", "2", "2"], ["2", ""]]),
        (["of pandas", pl.Series(["y", None])], [["x", "", "y"], ["y", ""]]),
        ([np.ma.array([1, 2, 3], mask=[0, 1, 0]), (True, False)], [["1", "", "3"], ["True", "False"]]),
    ],
)
def test_labels_of_arrays(y: Any, expected: list[list[str]]) -> None:
    y = [pd.Series(["x", pd.NA, "y"]) if isinstance(row, str) else row for row in y]
    found, values = step_labels_of(y, [3, 2])
    assert texts(found) == expected
    assert set(values) == {text for row in expected for text in row if text} == set(found.names)


def test_numbers_come_in_their_order_and_become_those_of_classes() -> None:
    labels, _ = step_labels_of([[10, 2, None, 9]], [4])
    assert labels.names == ("2", "9", "10")
    assert labels.counts().tolist() == [1, 1, 1]
    assert labels.as_numbers_of(("10", "9", "8", "2"))[0].tolist() == [0, 3, -1, 1]
    assert texts(labels.take([0])) == [["10", "2", "", "9"]]
    assert label_text(pd.NaT) == label_text(pd.NA) == ""


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (["abc", "de"], r"^y\[0\]: expected a label for each step"),
        ([["a", "b", "c"]], "^y: expected labels of each step for 2 sequences: .* got 1 of them"),
        ([["a", "b"], ["a", "b"]], r"^y\[0\]: expected 3 labels, as X\[0\] has steps, got 2"),
        ([[["a"], ["b"], ["c"]], ["a", "b"]], r"^y\[0\]: .* got a list in it"),
        ([[1, 2, "1"], [1, 2]], "^y: expected labels that differ as text, got 1 and '1'"),
        ("text", "^y: expected labels of each step"),
        (3, "^y: expected labels of each step"),
    ],
)
def test_wrong_labels_are_refused(y: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        step_labels_of(y, [3, 2])


TABLE = pl.DataFrame(
    {
        "who": ["a", "b", "a", "b", "a"],
        "t": [1.5, 1.0, 0.5, 2.0, 3.0],
        "x": [1.0, 2.0, 3.0, 4.0, 5.0],
        "state": ["walk", "none", None, " NA ", "walk"],
    }
)


def test_labels_of_a_table_follow_its_rows() -> None:
    roles = SequenceRoles(("who",), "state", ("x",), "t", label_per="step")
    sequences, _ = sequences_of_table(TABLE, roles)
    assert [value[:, 0].tolist() for value in sequences.values] == [[3.0, 1.0, 5.0], [2.0, 4.0]]
    assert [rows.tolist() for rows in sequences.rows] == [[2, 0, 4], [1, 3]]
    assert sequences.labels is None
    assert texts(sequences.steps) == [["", "walk", "walk"], ["none", ""]]
    part = sequences.piece(0, slice(1, 3))
    assert (texts(part.steps), part.rows[0].tolist()) == ([["walk", "walk"]], [0, 4])
    assert texts(sequences.take([1]).steps) == [["none", ""]]
    whole, _ = sequences_of_table(TABLE.drop("t"), SequenceRoles((), "state", ("x",), label_per="step"))
    assert (len(whole), texts(whole.steps)) == (1, [["walk", "none", "", "", "walk"]])
    again = sequences_of_table(TABLE, roles)[0].digest()
    assert (
        again == sequences.digest() != sequences_of_table(TABLE.drop("state"), SequenceRoles(("who",)))[0].digest()
    )


def test_numbers_and_words_for_no_label() -> None:
    frame = pl.DataFrame({"x": [1.0, 2.0, 3.0], "state": [3.0, float("nan"), -1.0]})
    roles = SequenceRoles((), "state", label_per="step")
    assert texts(sequences_of_table(frame, roles)[0].steps) == [["3", "", "-1"]]
    from dataclasses import replace

    from gatewright.data.number_format import Notation

    roles = replace(roles, notation=Notation(missing=("-1",)))
    assert texts(sequences_of_table(frame, roles)[0].steps) == [["3", "", ""]]


def test_a_label_that_changes_says_what_learns_it() -> None:
    varies = TABLE.with_columns(state=pl.Series(["a", "b", "a", "b", "c"]))
    with pytest.raises(
        DataError, match=r"row 5: expected 'a', .* \(a tagger, --label-per step, learns .*, got 'c'"
    ):
        sequences_of_table(varies, SequenceRoles(("who",), "state", ("x",), "none"))
    with pytest.raises(
        DataError, match=r"row 3: expected a label in every row .*--label-per step, .*, got nothing"
    ):
        sequences_of_table(TABLE, SequenceRoles(("who",), "state", ("x",), "none"))


def test_splits() -> None:
    parts = shuffled(20, "0.15", "2", seed=3)
    assert [len(part) for part in parts] == [15, 3, 2]
    assert sorted(np.concatenate(parts).tolist()) == list(range(20))
    assert in_order_of_time(10, "1", "0") == (slice(0, 9), slice(9, 10), slice(10, 10))
    for call in (lambda: shuffled(2, "0.1", "0.1", 0), lambda: in_order_of_time(2, "0.1", "0.1")):
        with pytest.raises(DataError, match="expected at least 3, one for each part"):
            call()
    with pytest.raises(GatewrightError, match="--valid and --test: expected sizes that leave a training part"):
        shuffled(9, "0.5", "0.5", 0)
    assert sequences_of([[1.0]]).rows is None


def test_a_column_that_counts_the_steps_of_each_sequence_orders_them() -> None:
    frame = pl.DataFrame(
        {
            "who": ["a"] * 5 + ["b"] * 3,
            "n": [2, 1, 5, 4, 3, 1, 2, 3],
            "x": [2.0, 1.0, 5.0, 4.0, 3.0, 0.0, 1.0, 2.0],
            "m": ["r"] * 5 + ["s"] * 3,
        }
    ).with_columns(x=pl.col("x") / 2)
    sequences, roles = sequences_of_table(frame, SequenceRoles(("who",), "m"))
    assert (roles.time, roles.features) == ("n", ("x",))
    assert sequences.values[0][:, 0].tolist() == [0.5, 1.0, 1.5, 2.0, 2.5]
    for other in (frame.with_columns(n=pl.col("n") + 1), frame.with_columns(n=pl.col("n").replace(5, 4))):
        _, roles = sequences_of_table(other, SequenceRoles(("who",), "m"))
        assert (roles.time, roles.features) == ("none", ("n", "x"))
    _, roles = sequences_of_table(frame, SequenceRoles(("who",), "m", ("n", "x")))
    assert (roles.time, roles.features) == ("none", ("n", "x"))
    _, roles = sequences_of_table(frame, SequenceRoles(("who",), "m", time="none"))
    assert roles.features == ("n", "x")
