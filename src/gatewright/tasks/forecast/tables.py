"""An evaluation of a forecaster as tables for the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.markup import escape
from rich.table import Table

from gatewright.tasks.forecast.calibration import UNCALIBRATED
from gatewright.tasks.forecast.metrics import Measures
from gatewright.tasks.tables import empty, written

#: Maximum number of series that a table names.
SHOWN = 12


def tables(evaluation: dict[str, Any]) -> Iterator[Table]:
    """Lay out what `gatewright.tasks.forecast.evaluate.evaluate_forecast` returned."""
    for target, methods in evaluation["targets"].items():
        series = methods["model"]["by_series"]
        yield overall(f"{target}: {heading(evaluation)}", methods, bool(series))
        # Its point forecasts are those of the model.
        methods = {name: scores for name, scores in methods.items() if name != UNCALIBRATED}
        yield more(target, methods, bool(series))
        if series:
            yield _by_series(target, methods)
        if evaluation["horizon"] > 1:
            yield by_step(target, methods)


def heading(evaluation: dict[str, Any]) -> str:
    """Say which windows were scored."""
    part = {"test": "test part", "origins": "rolling origins"}[evaluation.get("part", "test")]
    windows, available, horizon = (evaluation[name] for name in ("windows", "windows_available", "horizon"))
    ahead = f"{horizon} steps ahead" if horizon > 1 else "a step ahead"
    counted = (
        f"{windows:,} of {available:,} windows, drawn evenly" if windows < available else f"{windows:,} windows"
    )
    return f"{part}, {counted}, {ahead}"


def overall(title: str, methods: dict[str, Any], several: bool) -> Table:
    """Lay out the main measures of each method, over all series and steps; the first method is a model."""
    rows: dict[str, Measures] = {name: scores["overall"] for name, scores in methods.items()}
    model = next(iter(rows.values()))
    expected = model["coverage_expected"]
    names = {
        "MAE": "mae",
        "RMSE": "rmse",
        "MASE": "mase",
        "median\nNSE" if several else "NSE": "nse",
        "quantile\nloss": "quantile_loss",
        "scaled\nq. loss": "scaled_quantile_loss",
    }
    table = empty(title, [*names, *([] if expected is None else [f"inside\n{expected:.0%}", "width"])])
    columns = [written([row[name] for row in rows.values()]) for name in names.values()]
    if expected is not None:
        few = "*" if model["few_windows"] else ""
        covers = [row["coverage"] for row in rows.values()]
        columns.append(["" if cover is None else f"{cover:.1%}{few}" for cover in covers])
        widths = written([row["interval_width"] for row in rows.values()])
        columns.append(["" if cover is None else width for cover, width in zip(covers, widths, strict=True)])
        if few:
            count = int(model["windows"] or 0)
            table.caption = f"* from {count} window{'' if count == 1 else 's'}: too few to judge an interval by"
            table.caption_justify = "left"
    for name, *figures in zip(rows, *columns, strict=True):
        table.add_row(escape(name), *figures)
    return table


def more(target: str, methods: dict[str, Any], several: bool) -> Table:
    """Lay out the other measures of each method, over all series and steps."""
    rows: dict[str, Measures] = {name: scores["overall"] for name, scores in methods.items()}
    names = {
        "MSE": "mse",
        "MAE/σ": "mae_standardised",
        "MSE/σ²": "mse_standardised",
        "sMAPE %": "smape",
        "median\nKGE" if several else "KGE": "kge",
        "WQL": "wql",
    }
    table = empty(f"{target}: more measures", list(names))
    columns = [written([row[name] for row in rows.values()]) for name in names.values()]
    if "log_likelihood" in methods.get("model", {}):
        table.add_column("log\nlikelihood", justify="right")
        columns.append(written([scores.get("log_likelihood") for scores in methods.values()]))
    for name, *figures in zip(rows, *columns, strict=True):
        table.add_row(escape(name), *figures)
    return table


def _by_series(target: str, methods: dict[str, Any]) -> Table:
    """Mean absolute error of each method, and MASE and NSE of the model, series by series."""
    names = list(methods["model"]["by_series"])
    title = f"{target}: by series" + (f", {SHOWN} of {len(names):,}" if len(names) > SHOWN else "")
    names = names[:SHOWN]
    shown = [("mae", method) for method in methods] + [("mase", "model"), ("nse", "model")]
    heads = [f"{measure.upper()}\n{method.replace('-', '-' + chr(10))}" for measure, method in shown]
    table = empty(title, heads)
    columns = [
        written([methods[method]["by_series"][name][measure] for name in names]) for measure, method in shown
    ]
    for name, *figures in zip(names, *columns, strict=True):
        table.add_row(escape(name), *figures)
    return table


def by_step(target: str, methods: dict[str, Any]) -> Table:
    """Lay out the mean absolute error by step ahead, at up to eight steps."""
    horizon = len(next(iter(methods.values()))["by_step"])
    shown = sorted({round(1 + (horizon - 1) * place / 7) for place in range(8)})
    table = empty(f"{target}: MAE by step ahead", list(map(str, shown)))
    columns = [written([scores["by_step"][step - 1]["mae"] for scores in methods.values()]) for step in shown]
    for name, *figures in zip(methods, *columns, strict=True):
        table.add_row(escape(name), *figures)
    return table
