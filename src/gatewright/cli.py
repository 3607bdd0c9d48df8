"""The ``gatewright`` command: parse, call one function, print."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, CycloptsError, Group, Parameter
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from gatewright.errors import GatewrightError, RunError
from gatewright.train.options import (
    NOTHING_SAID,
    DataOptions,
    ModelOptions,
    Options,
    TrainingOptions,
    read_config,
)

app = App(
    name="gatewright",
    help="The LSTM you can see through, at full speed.",
    version=lambda: importlib.metadata.version("gatewright"),
    default_parameter=Parameter(negative=(), consume_multiple=True, show_default=False),
)
console = Console()
errors = Console(stderr=True)


def _flat(title: str, order: int) -> Parameter:
    return Parameter(name="*", group=Group(title, sort_key=order))


@app.command
def train(
    source: Path | None = None,
    /,
    *,
    run: Path | None = None,
    kind: str = "",
    config: Path | None = None,
    resume: bool = False,
    data: Annotated[DataOptions, _flat("Data", 1)] = NOTHING_SAID.data,
    model: Annotated[ModelOptions, _flat("Model", 2)] = NOTHING_SAID.model,
    training: Annotated[TrainingOptions, _flat("Training", 3)] = NOTHING_SAID.training,
) -> None:
    """Train a model on a table of series or a text.

    Example: gatewright train load.csv --target demand --horizon 24 --known temperature

    Ctrl-C stops and keeps the best model so far; --run DIR --resume goes on to the same bits.

    Args:
        source: A .csv, .tsv or .parquet table (.gz too), or a .txt text. Left out with --resume.
        run: Directory to make (default: runs/NAME), or to go on with.
        kind: "forecast" or "language", where the file's ending does not say.
        config: TOML file with options in the tables [data], [model] and [training]; options given here win.
        resume: Go on with --run.
        data: What the model learns from.
        model: How large the model is.
        training: How it is trained.
    """
    from gatewright.train import start

    options = Options(data, model, training)
    if config:
        options = options.over(read_config(config))
    if resume:
        if run is None or source is not None:
            raise GatewrightError("--resume", "--run DIR, and no source", f"--run {run} and source {source}")
        made, progress = start.resume(run, options, console=console)
    elif source is None:
        raise GatewrightError("source", "a table or a text to learn from", "nothing")
    else:
        made, progress = start.train(source, options, run=run, kind=kind, console=console)
    ends = {"steps": "finished", "patience": "no better validation for a while", "": "stopped"}
    _say(f"{ends[progress.finished]} at step {progress.step}; best validation {progress.best:.4f} at step "
         f"{progress.best_step}")  # fmt: skip
    if progress.finished:
        _say(f"next: gatewright evaluate {made.path}")
    else:
        _say(f"next: gatewright train --run {made.path} --resume, or gatewright evaluate {made.path}")


@app.command
def evaluate(run: Path, /) -> None:
    """Evaluate a run on its untouched test part, beside baselines on the same windows.

    Example: gatewright evaluate runs/load

    Writes evaluation.json and, for a forecaster, forecast.png into the run.

    Args:
        run: Directory of the run.
    """
    from gatewright.train.report import evaluate_run

    made, evaluation = evaluate_run(run)
    for table in _tables(evaluation):
        console.print(table)
    wrote = [made.evaluation] + ([made.plot] if evaluation["kind"] == "forecast" else [])
    _say(f"wrote {' and '.join(map(str, wrote))}")


@app.command
def forecast(
    run: Path, data: Path, /, *, horizon: int | None = None, fill: str | None = None, out: Path | None = None
) -> None:
    """Forecast what follows the last observed target of each series, with quantiles, as CSV.

    Example: gatewright forecast runs/load load.csv --horizon 12 --out next.csv

    Args:
        run: Directory of the run.
        data: A table like the one that the run learned from. Inputs known in advance go on for the horizon.
        horizon: Steps to forecast (default: what the model was trained for).
        fill: Fill missing inputs: "forward" or "mean" (default: as in training).
        out: File to write (default: standard output).
    """
    from gatewright.train.report import forecast_run

    text = forecast_run(run, data, horizon, fill)
    if out is None:
        sys.stdout.write(text)
    else:
        with _writing(out):
            out.write_text(text, "utf-8")
        _say(f"wrote {out}")


@app.command
def generate(
    run: Path, /, *, prompt: str = "", length: int = 500, temperature: float = 1.0, seed: int = 0
) -> None:
    """Write text with a language model.

    Example: gatewright generate runs/plays --prompt "ROMEO:" --length 300 --temperature 0.8

    Args:
        run: Directory of the run.
        prompt: Text to continue.
        length: Characters to write (default: 500).
        temperature: Below 1 prefers likely characters; 0 takes the likeliest (default: 1).
        seed: Of the draws (default: 0).
    """
    from gatewright.generate import generate as characters
    from gatewright.model import load
    from gatewright.train.run import Run

    model = load(Run.open(run).require_model())
    sys.stdout.write(prompt)
    for character in characters(model, prompt, length, temperature, seed):
        sys.stdout.write(character)
        sys.stdout.flush()
    sys.stdout.write("\n")


def _say(text: str) -> None:
    console.print(text, highlight=False, markup=False, soft_wrap=True)


def _tables(evaluation: dict[str, Any]) -> Iterator[Table]:
    """Lay an evaluation out for the terminal."""
    if evaluation["kind"] == "language":
        table = _table(f"test part, {evaluation['characters']:,} characters", "nats/char", "bits/char")
        for name, nats in evaluation["nats_per_character"].items():
            table.add_row(name, f"{nats:.4f}", f"{evaluation['bits_per_character'][name]:.4f}")
        yield table
        return
    for target, methods in evaluation["targets"].items():
        title = (
            f"{escape(target)}: test part, {evaluation['windows']:,} windows, {evaluation['horizon']} steps ahead"
        )
        yield _measures(title, {name: found["overall"] for name, found in methods.items()})
        for name in methods["model"]["by_series"]:
            rows = {method: found["by_series"][name] for method, found in methods.items()}
            yield _measures(f"{escape(target)}, series {escape(name)}", rows)
        if evaluation["horizon"] > 1:
            yield _steps(escape(target), methods)


def _table(title: str, *columns: str) -> Table:
    """An empty table with a left-hand column of names and right-aligned figures."""
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def _measures(title: str, rows: dict[str, dict[str, float | None]]) -> Table:
    expected = rows["model"]["coverage_expected"]
    columns: dict[str, str] = {
        "MAE": "mae",
        "RMSE": "rmse",
        "MSE": "mse",
        "MSE/σ²": "mse_standardised",
        "NSE": "nse",
        "quantile\nloss": "quantile_loss",
        "" if expected is None else f"inside\n{expected:.0%}": "coverage",
    }
    table = _table(title, *columns)
    for name, row in rows.items():
        cover = row["coverage"]
        figures = [_number(row[key]) for key in columns.values() if key != "coverage"]
        table.add_row(name, *figures, "" if cover is None else f"{cover:.1%}")
    return table


def _steps(target: str, methods: dict[str, Any]) -> Table:
    """MAE by step ahead, at up to six steps."""
    horizon = len(methods["model"]["by_step"])
    shown = sorted({round(1 + (horizon - 1) * place / 5) for place in range(6)})
    table = _table(f"{target}: MAE by step ahead", *map(str, shown))
    for name, found in methods.items():
        table.add_row(name, *(_number(found["by_step"][step - 1]["mae"]) for step in shown))
    return table


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RunError(str(path), "a file that can be written", str(error.strerror)) from None


def main(arguments: list[str] | None = None) -> None:
    """Run the command: exit status 0, 1 for an error of ours (one line), 2 for usage, 130 for Ctrl-C."""
    try:
        app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        errors.print(f"[bold red]usage:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
        errors.print("[dim]--help after a command shows its options[/]")
        sys.exit(2)
    except GatewrightError as error:
        errors.print(f"[bold red]error:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
        sys.exit(1)
    except ModuleNotFoundError as error:
        if error.name and error.name.split(".")[0] == "gatewright":
            raise
        errors.print(
            f"[bold red]error:[/] this command needs {error.name}: pip install 'gatewright\\[train]'",
            highlight=False, soft_wrap=True,
        )  # fmt: skip
        sys.exit(1)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of a pipe has gone; nothing is left to say
    except KeyboardInterrupt:
        sys.exit(130)
