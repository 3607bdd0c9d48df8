"""A column of a table, with what its cells are found to be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

from gatewright.data.cell_text import is_text, known, text
from gatewright.data.datetimes import numeric
from gatewright.data.datetimes.inference import (
    LIKE_CODES,
    PART_WORDS,
    has_date_shapes,
    is_monotonic,
    is_named,
    is_regular,
    words_of,
)
from gatewright.data.datetimes.parser import (
    HEAD,
    ParsedTimes,
    matching_patterns,
    parse_format,
    parse_numbers,
    parse_pattern,
)
from gatewright.data.number_format import OTHERS, PLAIN, Notation, hint
from gatewright.data.time_zones import Times
from gatewright.errors import shorten

#: Rows from which on numbers are known for times without a name that says so.
_ENOUGH = 8

#: Meanings of numbers that plain counts fit too.
_LIKE_COUNTS = {"4 digits", "days of a spreadsheet"}


@dataclass(frozen=True, eq=False)
class Column:
    """A column of cells.  What they are is found once, when it is first asked for.

    Attributes:
        cells: the cells, under the column's name.
        notation: how numbers are written.
        time_format: how times are written, as in strftime; "" to find it.
    """

    cells: pl.Series
    notation: Notation = PLAIN
    time_format: str = ""

    @property
    def name(self) -> str:
        """The column's name."""
        return self.cells.name

    @cached_property
    def is_numeric(self) -> bool:
        """Whether most of the first cells are numbers in the column's notation."""
        if not (is_text(self.cells) or self.cells.dtype.is_numeric()):
            return False
        return 2 * self.notation.cast(self._number_head).count() > len(self._number_head)

    @cached_property
    def other_notation(self) -> str:
        """A cell and the options that read it, if most cells are numbers in another notation; else ""."""
        if not is_text(self.cells) or self.is_numeric:
            return ""
        head = self._number_head
        numbers = max((other.cast(head) for other in OTHERS), key=pl.Series.count)
        cells = head.filter(numbers.is_not_null() & self.notation.cast(head).is_null())
        return f"{shorten(cells[0])}{hint(cells, self.notation)}" if 2 * numbers.count() > len(head) else ""

    @cached_property
    def is_time(self) -> bool:
        """Whether most of the first cells are times that can be read.

        Numbers are times if the column's name says so, or if they go on as times alone do.
        """
        if isinstance(self.cells.dtype, (pl.Date, pl.Datetime)):
            return True
        if not (is_text(self.cells) or self.cells.dtype.is_numeric()):
            return False
        if self._has_plain_numbers and not self.time_format:
            return self._numbers_are_times()
        if len(self.time_head) == 0:
            return False
        best = min(self._parsed_head, key=lambda parsed: parsed.failures)
        if 2 * best.failures >= len(self.time_head):
            return False
        sure = bool(self.time_format) or best.pattern not in LIKE_CODES or is_named(self.name)
        return sure or is_monotonic(best.clock)

    @cached_property
    def has_date_shapes(self) -> bool:
        """Whether nearly all of the first cells have the shape of a date, one that is ambiguous too."""
        return not self._head_has_plain_numbers and has_date_shapes(self.time_head)

    @cached_property
    def parsed_times(self) -> list[ParsedTimes]:
        """The cells as times, in each way that fits most of them; at least one."""
        if self.time_format:
            return [parse_format(text(self.cells), self.time_format)]
        if self.cells.dtype.is_float() or self._has_plain_numbers:
            return [self._parsed_numbers]
        cells = text(self.cells)
        # The first cells that are not empty; `time_head` also leaves out words for a missing value.
        head = cells.drop_nulls().head(HEAD)
        patterns = self._head_patterns if head.equals(self.time_head) else matching_patterns(head)
        return [parse_pattern(cells, name) for name in patterns]

    @cached_property
    def time_head(self) -> pl.Series:
        """The text of the first cells that are not missing."""
        return known(text(self.cells.head(10 * HEAD))).drop_nulls().head(HEAD)

    @cached_property
    def _number_head(self) -> pl.Series:
        return known(self.cells.head(1000), self.notation.missing).drop_nulls()

    @cached_property
    def _has_plain_numbers(self) -> bool:
        """Whether most of the first cells are numbers as Python writes them."""
        return numeric.looks_like_number(self.cells)

    @cached_property
    def _head_has_plain_numbers(self) -> bool:
        return numeric.looks_like_number(self.time_head)

    @cached_property
    def _head_patterns(self) -> list[str]:
        return matching_patterns(self.time_head)

    @cached_property
    def _parsed_head(self) -> list[ParsedTimes]:
        if self.time_format:
            return [parse_format(self.time_head, self.time_format)]
        if self._head_has_plain_numbers:
            return [parse_numbers(self.time_head)]
        return [parse_pattern(self.time_head, name) for name in self._head_patterns]

    @cached_property
    def _parsed_numbers(self) -> ParsedTimes:
        return parse_numbers(self.cells)

    def _numbers_are_times(self) -> bool:
        """Say whether numbers are times: by the column's name, and by their order and distances."""
        head, named = self.cells.drop_nulls().head(HEAD), is_named(self.name)
        clock, meaning = numeric.times(head)
        if len(clock) == 0 or 2 * int(np.isnat(clock).sum()) >= len(clock):
            return False
        if named and meaning != "4 digits":
            return True
        # Whatever else it may count, a column that is no time neither rises nor falls like one.
        if not is_monotonic(clock):
            return False
        if named or words_of(self.name) & PART_WORDS:
            return is_monotonic(self._known_clock())
        if len(clock) < _ENOUGH or meaning in _LIKE_COUNTS or not is_regular(clock):
            return False
        clock = self._known_clock()
        return is_monotonic(clock) and is_regular(clock)

    def _known_clock(self) -> Times:
        """Return the times that numbers stand for, without those of empty cells."""
        return self._parsed_numbers.clock[self.cells.is_not_null().to_numpy()]


#: The columns of a table by name, in order.
Columns = Mapping[str, Column]


def columns_of(cells: pl.DataFrame, notation: Notation = PLAIN, time_format: str = "") -> Columns:
    """Return the columns of a table.

    >>> columns_of(pl.DataFrame({"load": ["1.5", "2"]}))["load"].is_numeric
    True
    """
    return {column.name: Column(column, notation, time_format) for column in cells}
