"""A comparison of runs as tables for the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.markup import escape
from rich.table import Table

from gatewright.tasks.forecast.tables import by_step, heading, more, overall
from gatewright.tasks.tables import empty, written


def tables(figures: dict[str, Any]) -> Iterator[Table]:
    """Lay out what `gatewright.evaluation.comparison.compare_runs` returned."""
    for target, methods in figures["targets"].items():
        several = bool(next(iter(methods.values()))["by_series"])
        yield overall(f"{target}: {heading(figures)}", methods, several)
        yield more(target, methods, several)
        if figures["horizon"] > 1:
            yield by_step(target, methods)
        yield _tests(target, figures["tests"][target])


def _tests(target: str, tests: list[dict[str, Any]]) -> Table:
    """Lay out the Diebold-Mariano test of each pair."""
    table = empty(f"{target}: Diebold-Mariano test", ["difference", "statistic", "p", "origins"])
    columns = [written([test[name] for test in tests]) for name in ("difference", "statistic")]
    for test, *figures in zip(tests, *columns, strict=True):
        p = test["p_value"]
        shown = "–" if p is None else f"{p:.4f}" if p >= 0.0001 else "<0.0001"
        names = f"{escape(test['first'])} - {escape(test['second'])}"
        table.add_row(names, *figures, shown, f"{test['origins']:,}")
    table.caption = "negative: the first of the pair is better"
    table.caption_justify = "left"
    return table
