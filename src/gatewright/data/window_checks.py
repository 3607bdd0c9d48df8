"""Checks that each part of a table has windows, and the sizes that would fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gatewright.data.preprocessing import origins
from gatewright.data.split import Parts
from gatewright.data.table import Table
from gatewright.errors import DataError

NAMES = ("training", "validation", "test")

#: Maximum of series that a line names.
MOST_NAMED = 5


@dataclass(frozen=True)
class Sizes:
    """Lengths of windows, in steps.

    Attributes:
        horizon: steps ahead.
        season: steps of a season.
        context: steps that are read; None for a default that depends on season and horizon.
        seasons: seasons whose differences a forecast has, rising; the default context grows by the longest.
    """

    horizon: int
    season: int
    context: int | None = None
    seasons: tuple[int, ...] = ()

    @property
    def read(self) -> int:
        """Steps that are read."""
        base = max(4 * self.season, 2 * self.horizon, 32)
        # As many steps of a window as without seasons have the row one season before them.
        return self.context or max(base, self.longest + (base + 1) // 2)

    @property
    def longest(self) -> int:
        """Steps of the longest season whose differences a forecast has; 0 without."""
        return self.seasons[-1] if self.seasons else 0

    @property
    def why(self) -> str:
        """The context, and the size that it was made of."""
        if self.context is None and self.read > max(4 * self.season, 2 * self.horizon, 32):
            return f"{self.read} = season {self.longest} + {self.read - self.longest}"
        if self.context is None and self.read == 4 * self.season:
            return f"{self.read} = 4 x season {self.season}"
        if self.context is None and self.read == 2 * self.horizon:
            return f"{self.read} = 2 x horizon {self.horizon}"
        return str(self.read)


def windows_of(table: Table, parts: Sequence[Parts], sizes: Sizes) -> NDArray[np.int64]:
    """Return the number of windows of each series in each part: (series, 3)."""
    targets = len(table.roles.targets)
    counts = [
        [len(part_origins) for part_origins in _origins(each.values[:, :targets], part, sizes)]
        for each, part in zip(table.series, parts, strict=True)
    ]
    return np.array(counts, dtype=np.int64)


def _origins(target: NDArray[np.float64], part: Parts, sizes: Sizes) -> list[NDArray[np.int64]]:
    spans = ((0, part.valid), (part.valid, part.test), (part.test, part.end))
    # In training every step of a window makes a forecast, in validation and test only the last.
    return [
        origins(target, sizes.read, sizes.horizon, *span, supervised)
        for span, supervised in zip(spans, (sizes.read, 1, 1), strict=True)
    ]


def require_windows(
    table: Table, parts: Sequence[Parts], sizes: Sizes, needed: Sequence[str]
) -> NDArray[np.int64]:
    """Check that there are windows to train on, or to score.

    Args:
        table: the series.
        parts: the parts of each series.
        sizes: lengths of the windows.
        needed: the parts, out of `NAMES`, that need a window.

    Returns:
        The number of windows, as from `windows_of`.

    Raises:
        DataError: names what is needed, what there is, and an option that would fit.
    """
    places = [NAMES.index(name) for name in needed]

    def fits(sizes: Sizes) -> NDArray[np.bool_]:
        return windows_of(table, parts, sizes)[:, places].sum(axis=0) > 0

    counts = windows_of(table, parts, sizes)
    enough = counts[:, places].sum(axis=0) > 0
    if enough.all():
        return counts
    place = places[int(np.argmin(enough))]
    name, horizon = NAMES[place], sizes.horizon
    rows = max((part.valid, part.test - part.valid, part.end - part.test)[place] for part in parts)
    present = _rows(rows) + (" in the longest series" if len(parts) > 1 else "")
    if place == 0:
        takes, why = sizes.read + horizon, f"context {sizes.why}, plus horizon {horizon}"
    else:
        takes, why = horizon, f"horizon {horizon}, after a context of {sizes.why}"
    expected = f"at least {_rows(takes)} with an observed target among those to forecast ({why})"
    raise DataError(f"{name} part", expected, f"{present}{_hint(fits, sizes)}")


def _rows(count: int) -> str:
    return f"{count} row" if count == 1 else f"{count} rows"


def _hint(fits: Callable[[Sizes], NDArray[np.bool_]], sizes: Sizes) -> str:
    """Return a remedy: a context that fits, or else the longest horizon that does."""

    def largest(most: int, make: Callable[[int], Sizes]) -> int:
        """Return the largest number that fits; 0 if none does."""
        low, high = 0, most
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if fits(make(middle)).all() else (low, middle - 1)
        return low

    def room(horizon: int) -> int:
        """Return half of the longest context, which leaves as many windows as a window has steps; 0 for none."""
        longest = largest(sizes.read, lambda read: replace(sizes, horizon=horizon, context=read))
        return max((longest + 1) // 2, sizes.longest + 1) if longest > sizes.longest else 0

    context = room(sizes.horizon)
    if context:
        return f"; --context {context} would do"
    if sizes.seasons and fits(replace(sizes, seasons=(), context=None)).all():
        return f"; --season none {sizes.season} would do"
    horizon = largest(sizes.horizon, lambda ahead: replace(sizes, horizon=ahead))
    if horizon:
        return f"; --horizon {horizon} is the longest that fits"
    horizon = largest(sizes.horizon, lambda ahead: replace(sizes, horizon=ahead, context=sizes.longest + 1))
    if horizon:
        return f"; --horizon {horizon} is the longest that fits, with --context {room(horizon)}"
    return "; more rows are needed, or other sizes of --valid and --test"


def without_windows(table: Table, counts: NDArray[np.int64], sizes: Sizes) -> tuple[str, ...]:
    """Return a line for each part on the series that have no window in it.

    Args:
        table: the series.
        counts: the result of `windows_of`.
        sizes: lengths of the windows.
    """
    lines = []
    for place, name in enumerate(NAMES):
        pairs = zip(table.series, counts[:, place], strict=True)
        empty = [series.name or series.title for series, count in pairs if not count]
        if empty:
            takes = _rows(sizes.read + sizes.horizon if place == 0 else sizes.horizon)
            lines.append(f"no {name} window, which takes {takes} with an observed target: {listed(empty)}")
    return tuple(lines)


def listed(names: Sequence[str]) -> str:
    """Join names; of many, only the first ones.

    >>> listed(["a", "b", "c", "d", "e", "f", "g"])
    'a, b, c, d, e and 2 more'
    """
    more = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
