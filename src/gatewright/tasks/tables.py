"""The layout of tables in the terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich import box
from rich.markup import escape
from rich.table import Table


def empty(title: str, columns: Sequence[str]) -> Table:
    """An empty table with a left-hand column of names and right-aligned figures."""
    table = Table(
        title=escape(title),
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        show_edge=False,
        pad_edge=False,
    )
    table.add_column(no_wrap=True)
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def written(values: Sequence[float | None]) -> list[str]:
    """Write a column: as many decimals as show four digits of its largest figure, a dash for a missing value.

    >>> written([12.3456, 0.5, None])
    ['12.35', '0.50', '–']
    """
    largest = max((abs(value) for value in values if value is not None), default=0.0)
    if largest and not 1e-4 <= largest < 1e7:
        return ["–" if value is None else f"{value:.3e}" for value in values]
    decimals = min(4, max(0, 3 - math.floor(math.log10(largest)))) if largest else 4
    return ["–" if value is None else f"{value:.{decimals}f}" for value in values]
