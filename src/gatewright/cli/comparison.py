"""The commands that judge forecasters beyond one run: compare, backtest."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from gatewright.cli import early_checks
from gatewright.cli.app import LOADING, app, complain, errors, flat, print_table, say
from gatewright.errors import GatewrightError
from gatewright.evaluation.picture_file import require_picture
from gatewright.progress import Waits
from gatewright.tasks.config_file import read_config
from gatewright.tasks.options import ALL_DEFAULTS, DataOptions, ModelOptions, Options, TrainingOptions


@app.command
def compare(*runs: Path, windows: int | None = None, out: Path | None = None, plot: Path | None = None) -> None:
    """Compare runs of the same data on the same windows, with a Diebold-Mariano test.

    Example: gatewright compare runs/small runs/large

    The test is of the quantile loss, for each pair of runs; it takes into account that neighbouring forecasts
    overlap. A run of other data, another split, horizon or other quantiles is refused. The end of
    `gatewright evaluate --help` says what the measures mean.

    Args:
        runs: Directories of two or more runs. The season of the first one scales MASE.
        windows: Maximum number of windows of the test part, evenly spaced (default: all).
        out: JSON file to write all figures to.
        plot: PNG or SVG file to draw: losses by step ahead, and differences with their 95% interval.
    """
    early_checks.check_windows(windows)
    if plot is not None:
        require_picture(plot)
    for run in runs:
        early_checks.check_run(run)
    if len(runs) < 2:
        raise GatewrightError("runs", "at least two runs to compare", str(len(runs)))
    waits = Waits(errors)
    with waits.during(LOADING):
        from gatewright.data.window_checks import listed
        from gatewright.evaluation.comparison import compare_runs
        from gatewright.evaluation.comparison_tables import tables
        from gatewright.files.atomic import write_bytes, writing

    if plot is not None:  # matplotlib is slow to load
        from gatewright.evaluation.comparison_plot import comparison_figure
        from gatewright.evaluation.pictures import write_picture
    figures = compare_runs(runs, windows, waits)
    for table in tables(figures):
        print_table(table)
    if figures["series_without_windows"]:
        say(f"no window in the test part of {listed(figures['series_without_windows'])}")
    if out is not None:
        with writing(out):
            write_bytes(out, json.dumps(figures, indent=2, allow_nan=False).encode())
        say(f"wrote {out}")
    if plot is not None:
        write_picture(comparison_figure(figures), plot)
        say(f"wrote {plot}")


@app.command
def backtest(
    source: Path,
    /,
    *,
    windows: int = 5,
    step: int | None = None,
    retrain: Annotated[bool, Parameter(negative="--no-retrain")] = True,
    baselines: Sequence[str] = (),
    out: Path = Path("backtest.csv"),
    plot: Path | None = None,
    config: Path | None = None,
    data: Annotated[DataOptions, flat("Data", 1)] = ALL_DEFAULTS.data,
    model: Annotated[ModelOptions, flat("Model", 2)] = ALL_DEFAULTS.model,
    training: Annotated[TrainingOptions, flat("Training", 3)] = ALL_DEFAULTS.training,
) -> None:
    """Forecast the last rows of a table from rolling origins, next to baselines.

    Example: gatewright backtest load.csv --horizon 24 --windows 5

    Each forecast comes from a model that learned from the rows before its origin only, or before the first one.

    Args:
        source: A .csv, .tsv or .parquet table (.gz too).
        windows: Number of origins; the last one leaves a horizon of rows (default: 5).
        step: Rows between two origins (default: the horizon).
        retrain: Train anew at each origin; with --no-retrain once, on the rows before the first (default:
            --retrain).
        baselines: Models of other packages that forecast from the same origins: "autoets", "autoarima",
            "lightgbm"; they need gatewright[baselines] (default: none).
        out: CSV file to write: forecasts next to the observed values (default: backtest.csv).
        plot: PNG or SVG file to draw: errors by origin and by step ahead, with their spread.
        config: TOML file with options in the tables [data], [model] and [training]; the command line wins.
        data: Columns, parts and windows of the data.
        model: Size of the model.
        training: Optimization.
    """
    options = Options(data, model, training)
    if config:
        options = options.over(read_config(config))
    if plot is not None:
        require_picture(plot)
    early_checks.check_source([source], "forecast", options)
    if not out.parent.is_dir():
        raise GatewrightError("--out", "a file in a directory that exists", str(out))
    early_checks.check_outputs(source, out=out, plot=plot)
    waits = Waits(errors)
    with waits.during(LOADING):
        from gatewright.data.window_checks import listed
        from gatewright.estimators.backtest import Origins, backtest_source
        from gatewright.files.atomic import writing
        from gatewright.tasks.forecast.csv_output import to_csv
        from gatewright.tasks.forecast.tables import tables
        from gatewright.tasks.spreadsheet import with_harmless_names

    origins = Origins(windows, step, retrain)
    if plot is not None:
        from gatewright.estimators.backtest_plot import backtest_figure
        from gatewright.evaluation.pictures import write_picture

    result = backtest_source(source, options, origins, None, waits, baselines)
    frame, notes = with_harmless_names(result.forecasts)
    reasons = (
        (result.table.empty, "no observed target"),
        (result.figures["series_without_windows"], "too few rows before an origin"),
    )
    left_out = [f"left out, {reason}: {listed(series)}" for series, reason in reasons if series]
    for note in (*result.table.notes, *left_out, *notes):
        complain("note", note)
    with writing(out):
        out.write_text(to_csv(frame, result.table), "utf-8")
    for table in tables(result.figures):
        print_table(table)
    if plot is not None:
        write_picture(backtest_figure(result), plot)
    say(f"wrote {out}" + (f" and {plot}" if plot else ""))
