"""What a column is: found once for the header, the roles and the conversion."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gatewright.data import columns
from gatewright.data.columns import Column, columns_of
from gatewright.data.datetimes import numeric
from gatewright.data.number_format import Notation
from gatewright.data.numeric_columns import numbers
from gatewright.data.table import Roles, table_of
from gatewright.errors import DataError
from tests.support.examples import examples

HOURS = [datetime(2024, 1, 20) + timedelta(hours=hour) for hour in range(48)]
ISO = [hour.isoformat() for hour in HOURS]


@pytest.fixture
def calls(monkeypatch):
    """How often each question is put to each column, by name and question."""
    counts: Counter[tuple[str, str]] = Counter()

    def count(owner, name):
        original = getattr(owner, name)

        def counted(cells, *arguments):
            counts[cells.name, name] += 1
            return original(cells, *arguments)

        monkeypatch.setattr(owner, name, counted)

    count(columns, "matching_patterns")
    count(columns, "has_date_shapes")
    count(numeric, "looks_like_number")
    return counts


def cells_of_times(form):
    return [hour.strftime(form) for hour in HOURS]


@pytest.mark.parametrize("form", ["%Y-%m-%dT%H:%M:%S", "%d.%m.%Y %H:%M", "%m/%d/%Y %I:%M %p"])
@pytest.mark.parametrize("roles", [Roles(), Roles(targets=("load",)), Roles(targets=("load",), time="when")])
def test_each_question_is_put_to_a_column_once(tmp_path, calls, form, roles):
    path = tmp_path / "table.csv"
    cells = {"load": [f"{hour % 7}.5" for hour in range(48)], "when": cells_of_times(form)}
    pl.DataFrame(cells).write_csv(path)
    assert table_of(path, roles).step == "1h"
    assert calls["when", "matching_patterns"] == 1
    # Once for all cells and once for those that are not missing, which words for a missing value may set apart.
    assert 1 <= calls["when", "looks_like_number"] <= 2
    assert calls["load", "looks_like_number"] <= 1
    assert calls["load", "matching_patterns"] == 0


def test_numbers_are_parsed_as_times_once(calls, monkeypatch):
    seen, parse = [], columns.parse_numbers
    monkeypatch.setattr(columns, "parse_numbers", lambda cells: seen.append(cells.name) or parse(cells))
    seconds = [1_704_067_200 + 3600 * hour for hour in range(48)]
    frame = pl.DataFrame({"load": [float(hour % 7) for hour in range(48)], "t": seconds})
    table = table_of(frame, Roles())
    assert (table.roles.time, table.roles.targets, table.step) == ("t", ("load",), "1h")
    assert seen == ["t"]
    assert calls["t", "looks_like_number"] == 1


def test_the_notation_is_judged_once(monkeypatch):
    seen, cast = Counter(), Notation.cast

    def counted(self, cells):
        seen[self, cells.name, len(cells)] += 1
        return cast(self, cells)

    monkeypatch.setattr(Notation, "cast", counted)
    notation = Notation(",")
    frame = pl.DataFrame({"when": ISO, "load": [f"{hour % 7},5" for hour in range(48)], "site": ["a"] * 48})
    assert table_of(frame, Roles(notation=notation)).roles.targets == ("load",)
    assert seen[notation, "load", 48] == 2  # the first cells for the roles, all for the conversion


def test_what_a_column_is():
    cells = pl.DataFrame(
        {
            "number": ["1.5", "NA", "x", "2"],
            "german": ["1,5", "2,5", "x", "3,0"],
            "time": ["2024-01-01", None, "2024-01-02", "?"],
            "ambiguous": ["01/02/24", "02/02/24", "03/02/24", "04/02/24"],
            "date": [20240101, 20240102, 20240103, 20240104],
            "plain": [20240101, 20240102, 20240103, 20240104],
            "word": ["a", "b", "c", "d"],
        }
    )
    found = columns_of(cells)
    assert [name for name, column in found.items() if column.is_numeric] == ["number", "date", "plain"]
    assert [name for name, column in found.items() if column.is_time] == ["time", "date"]
    assert [name for name, column in found.items() if column.has_date_shapes] == ["time", "ambiguous"]
    assert [name for name, column in found.items() if column.other_notation] == ["german"]
    assert found["german"].other_notation == "'1,5'; --decimal , reads it as 1.5"


def test_words_for_a_missing_value_are_no_part_of_the_head():
    cells = pl.Series("t", ["NA", "", None, *ISO])
    column = Column(cells)
    assert column.time_head.to_list() == ISO
    assert column.is_time
    [parsed] = column.parsed_times
    assert (parsed.pattern, parsed.failures, len(parsed.clock)) == ("year, month, day", 3, 51)
    assert parsed.clock[3:].tolist() == HOURS


def test_a_format_decides():
    column = Column(pl.Series("t", ["01/02/24", "02/02/24"]), time_format="%d/%m/%y")
    assert column.is_time
    assert [parsed.clock.tolist() for parsed in column.parsed_times] == [
        [datetime(2024, 2, 1), datetime(2024, 2, 2)]
    ]


CELLS = st.sampled_from(
    ["1", " 2.5", "1e101", "-1e100", "inf", "nan", "NA", "", " ", "true", "x", "1,5", "+3", None]
)


@settings(max_examples=examples(100), deadline=None)
@given(st.lists(CELLS | st.floats(-10, 10).map(str), max_size=6), st.sampled_from([".", ","]))
@example(["1", "nan"], ".")
@example([None, "", "2"], ".")
@pytest.mark.slow
def test_a_column_without_missing_cells_is_read_as_any_other(cells, decimal):
    """A word for a missing value that no cell has changes nothing but the way that is taken."""

    def read(notation: Notation):
        column = Column(pl.Series("y", cells, dtype=pl.String), notation)
        try:
            return numbers(column, str).tobytes()
        except DataError as error:
            return str(error)

    assert read(Notation(decimal)) == read(Notation(decimal, missing=("zz",)))
