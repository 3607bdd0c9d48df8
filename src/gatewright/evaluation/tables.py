"""An evaluation as tables for the terminal."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from rich import box
from rich.markup import escape
from rich.table import Table

from gatewright.tasks.forecast.metrics import Measures

#: Most series that a table names.
SHOWN = 12


def tables(evaluation: dict[str, Any]) -> Iterator[Table]:
    """Lay out what `gatewright.evaluation.report.evaluate_run` returned."""
    if evaluation["kind"] == "language":
        yield _language(evaluation)
        return
    windows, horizon = evaluation["windows"], evaluation["horizon"]
    ahead = f"{horizon} steps ahead" if horizon > 1 else "a step ahead"
    available = evaluation["windows_available"]
    counted = (
        f"{windows:,} of {available:,} windows, drawn evenly" if windows < available else f"{windows:,} windows"
    )
    for target, methods in evaluation["targets"].items():
        series = methods["model"]["by_series"]
        yield _overall(f"{target}: test part, {counted}, {ahead}", methods, bool(series))
        if series:
            yield _by_series(target, methods)
        if horizon > 1:
            yield _by_step(target, methods)


def _language(evaluation: dict[str, Any]) -> Table:
    nats, bits = evaluation["nats_per_character"], evaluation["bits_per_character"]
    table = empty(f"test part, {evaluation['characters']:,} characters", ["nats/char", "bits/char"])
    for name in nats:
        table.add_row(name, f"{nats[name]:.4f}", f"{bits[name]:.4f}")
    return table


def _overall(title: str, methods: dict[str, Any], several: bool) -> Table:
    """Every measure of each method, over all series and steps."""
    rows: dict[str, Measures] = {name: found["overall"] for name, found in methods.items()}
    expected = rows["model"]["coverage_expected"]
    names = {
        "MAE": "mae",
        "RMSE": "rmse",
        "MSE": "mse",
        "MAE/σ": "mae_standardised",
        "MSE/σ²": "mse_standardised",
        "median\nNSE" if several else "NSE": "nse",
        "quantile\nloss": "quantile_loss",
    }
    table = empty(title, [*names, *([] if expected is None else [f"inside\n{expected:.0%}"])])
    columns = [written([row[name] for row in rows.values()]) for name in names.values()]
    if expected is not None:
        few = "*" if rows["model"]["few_windows"] else ""
        covers = [row["coverage"] for row in rows.values()]
        columns.append(["" if cover is None else f"{cover:.1%}{few}" for cover in covers])
        if few:
            count = int(rows["model"]["windows"] or 0)
            table.caption = f"* from {count} window{'' if count == 1 else 's'}: too few to judge an interval by"
            table.caption_justify = "left"
    for name, *figures in zip(rows, *columns, strict=True):
        table.add_row(name, *figures)
    return table


def _by_series(target: str, methods: dict[str, Any]) -> Table:
    """Mean absolute error and NSE of each method, series by series."""
    names = list(methods["model"]["by_series"])
    title = f"{target}: by series" + (f", {SHOWN} of {len(names):,}" if len(names) > SHOWN else "")
    names = names[:SHOWN]
    heads = [method.replace("-", "-\n") for method in methods]
    table = empty(title, [f"{measure}\n{head}" for measure in ("MAE", "NSE") for head in heads])
    columns = [
        written([found["by_series"][name][measure] for name in names])
        for measure in ("mae", "nse")
        for found in methods.values()
    ]
    for name, *figures in zip(names, *columns, strict=True):
        table.add_row(escape(name), *figures)
    return table


def _by_step(target: str, methods: dict[str, Any]) -> Table:
    """Mean absolute error by step ahead, at up to eight steps."""
    horizon = len(methods["model"]["by_step"])
    shown = sorted({round(1 + (horizon - 1) * place / 7) for place in range(8)})
    table = empty(f"{target}: MAE by step ahead", list(map(str, shown)))
    columns = [written([found["by_step"][step - 1]["mae"] for found in methods.values()]) for step in shown]
    for name, *figures in zip(methods, *columns, strict=True):
        table.add_row(name, *figures)
    return table


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
    """Write a column: as many decimals as show four digits of its largest figure, a dash where there is none.

    >>> written([12.3456, 0.5, None])
    ['12.35', '0.50', '–']
    """
    largest = max((abs(value) for value in values if value is not None), default=0.0)
    if largest and not 1e-4 <= largest < 1e7:
        return ["–" if value is None else f"{value:.3e}" for value in values]
    decimals = min(4, max(0, 3 - math.floor(math.log10(largest)))) if largest else 4
    return ["–" if value is None else f"{value:.{decimals}f}" for value in values]
