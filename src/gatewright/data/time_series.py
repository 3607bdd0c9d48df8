"""One series of a table: rows in time order, each with its place in the file."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gatewright.data import frequency
from gatewright.data.time_zones import NAIVE, Clock
from gatewright.errors import shorten


@dataclass(frozen=True)
class Series:
    """One series: rows in time order, missing values as NaN.

    Attributes:
        name: the values of the id columns, joined; "" without id columns.
        times: timestamps (rows,) on the clock, or None.
        values: float64 (rows, columns).
        lines: the number of each row in its source; 0 for a row that fills a gap.
        unit: what ``lines`` counts, "line" or "row".
        ids: the value of each id column.
        clock: the clock of the times.
    """

    name: str
    times: frequency.Times | None
    values: NDArray[np.float64]
    lines: NDArray[np.int64]
    unit: str = "line"
    ids: tuple[str, ...] = ()
    clock: Clock = NAIVE

    @property
    def title(self) -> str:
        """The series as an error names it."""
        return f"series {shorten(self.name)}" if self.name else "the table"

    def place(self, row: int) -> str:
        """A row as an error names it."""
        if self.lines[row]:
            return f"{self.unit} {self.lines[row]}"
        return "a missing row" if self.times is None else f"the missing row of {self.when(row)}"

    def when(self, row: int) -> str:
        """The time of a row as an error shows it."""
        assert self.times is not None
        times = self.times[row : row + 1]
        offset = self.clock.offsets(times)[0] if self.clock.absolute else ""
        return f"{frequency.shown(self.clock.local(times)[0])}{offset}"
