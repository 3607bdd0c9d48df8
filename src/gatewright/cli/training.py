"""The commands of a run: train, evaluate, forecast, quantize."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from gatewright.cli import early_checks, large_tables
from gatewright.cli.app import LOADING, UsageError, app, complain, console, errors, flat, print_table, say
from gatewright.evaluation.glossary import help_text
from gatewright.files.model_path import require_model_file
from gatewright.progress import Waits
from gatewright.runs.run import Run
from gatewright.tasks.config_file import read_config
from gatewright.tasks.options import ALL_DEFAULTS, DataOptions, ModelOptions, Options, TrainingOptions

if TYPE_CHECKING:
    from gatewright.train.callback import Callback


@app.command
def train(
    *source: Path,
    run: Path | None = None,
    kind: str = "",
    config: Path | None = None,
    resume: bool = False,
    init: Path | None = None,
    auto: float | None = None,
    data: Annotated[DataOptions, flat("Data", 1)] = ALL_DEFAULTS.data,
    model: Annotated[ModelOptions, flat("Model", 2)] = ALL_DEFAULTS.model,
    training: Annotated[TrainingOptions, flat("Training", 3)] = ALL_DEFAULTS.training,
    look: bool = False,
    port: int = 0,
    no_browser: bool = False,
) -> None:
    """Train a model on a table of series, on labelled sequences or on a text.

    Example: gatewright train load.csv --target demand --horizon 24 --known wind

    Ctrl-C stops and keeps the best model so far; --run DIR --resume continues with the same bits.

    Args:
        source: A .csv, .tsv or .parquet table (.gz too), .parquet files or a directory of them that are one table,
            a .ts file of labelled sequences, or .txt texts: one or several, or directories with them; with --label
            also tables, each a sequence. Not with --resume.
        run: Directory to create (default: runs/NAME), or to resume.
        kind: "forecast", "language", "classify" or "tag", if neither the file's suffix nor --label tells.
        config: TOML file with options in the tables [data], [model] and [training]; the command line wins.
        resume: Continue the training of --run.
        init: Model file, or directory of a run, to start from instead of random weights: for other data with the
            same columns. It fixes the sizes of the model.
        auto: Seconds to choose a recipe in, before the training: what a forecaster reads, its size, context and
            dropout, by rolling validation; options that are set stay.
        data: Columns, parts and windows of the data.
        model: Size of the model.
        training: Optimization.
        look: Show the inspector in a browser during training, with a slider over the validations.
        port: Port of that page; 0 for any free port (default: 0).
        no_browser: Print the page's URL; do not open a browser.
    """
    if resume and (run is None or source):
        got = "no --run" if run is None else f"the source {', '.join(map(str, source))}"
        raise UsageError("--resume", "--run DIR, and no source", got)
    if not resume and not source:
        raise UsageError("source", "a table or a text to learn from, before the options", "nothing")
    if resume and init is not None:
        raise UsageError("--init", "no --resume with it", str(init))
    if auto is not None and (resume or init is not None):
        raise UsageError("--auto", "no --resume and no --init with it", "--resume" if resume else "--init")
    options = Options(data, model, training)
    if config:
        options = options.over(read_config(config))
    if source:
        early_checks.check_source(source, kind, options, init)
        early_checks.check_new_run(run)
    else:
        assert run is not None
        Run.open(run)
    with Waits(console).during(LOADING):
        from gatewright.nn.model import load
        from gatewright.train import launch

    with contextlib.ExitStack() as watching:
        callbacks: list[Callback] = []
        if look:
            from gatewright.inspector.live import Live

            callbacks = [watching.enter_context(Live(port, browser=not no_browser))]
        if not source:
            assert run is not None
            launch.resume(run, options, console=console, callbacks=callbacks)
        else:
            initial = None if init is None else load(require_model_file(init, "--init"))
            if auto is not None:
                options, keeper = _chosen(list(source), kind, options, auto, run)
                callbacks.append(keeper)
            launch.train(
                list(source), options, run=run, kind=kind, console=console, callbacks=callbacks, initial=initial
            )
        for callback in callbacks:
            callback.end()


def _chosen(
    source: Sequence[Path], kind: str, options: Options, seconds: float, run: Path | None
) -> tuple[Options, Callback]:
    """Choose a recipe, and show why; return its options, and a callback that writes the choice into the run."""
    from gatewright.tasks.sources import learned_from
    from gatewright.tuning.auto import Seconds, choose
    from gatewright.tuning.recipe_table import recipe_table

    meter = Seconds(seconds)
    if run is not None:
        Run(run).require_new()
    learned, path = learned_from(source, kind, options)
    try:
        choice = choose(learned, path, options, meter, say)
    except KeyboardInterrupt:
        complain("interrupted", "no recipe was chosen")
        sys.exit(130)
    print_table(recipe_table(choice))
    return choice.options, choice.keeper


@app.command(help_epilogue=help_text())
def evaluate(run: Path, /, *, windows: int | None = None, baselines: Sequence[str] = ()) -> None:
    """Evaluate a run on its held-out test part, next to baselines on the same windows.

    Example: gatewright evaluate runs/load

    Writes evaluation.json into the run directory, and a picture: forecast.png for a forecaster, evaluation.png for
    a classifier or a tagger.

    Args:
        run: Directory of the run.
        windows: Maximum number of windows of the test part to evaluate, evenly spaced (default: all).
        baselines: Models of other packages to compare a forecaster with: "autoets", "autoarima", "lightgbm"; they
            need gatewright[baselines] (default: none).
    """
    early_checks.check_windows(windows)
    early_checks.check_run(run)
    waits = Waits(errors)
    with waits.during(LOADING):
        import gatewright.nn.model  # noqa: F401  (torch, which the run's model needs)
        from gatewright.data.window_checks import listed
        from gatewright.evaluation.report import evaluate_run
        from gatewright.tasks import registry

    evaluated, evaluation = evaluate_run(run, windows, waits, baselines)
    for table in registry.kind(evaluated.kind).tables(evaluation):
        print_table(table)
    for name, what in (("series_without_windows", "in the test part"), ("series_not_sampled", "drawn")):
        if evaluation.get(name):
            say(f"no window {what} of {listed(evaluation[name])}")
    wrote = [evaluated.evaluation] + ([evaluated.plot] if evaluated.plot.exists() else [])
    say(f"wrote {' and '.join(map(str, wrote))}")


@app.command
def forecast(
    run: Path,
    data: Path,
    /,
    *,
    horizon: int | None = None,
    paths: int | None = None,
    seed: int | None = None,
    fill: str | None = None,
    out: Path | None = None,
    snapshots: Path | None = None,
    ray: str | None = None,
) -> None:
    """Forecast the values after the last observed target of each series, with quantiles, as CSV or Parquet.

    Example: gatewright forecast runs/load load.csv --horizon 12 --out next.csv

    With --paths, sample paths take the place of the quantiles: joint draws of all steps, for sums and maxima.
    In a table of several series, those with too few rows are left out and named on standard error.
    A Parquet file is read by row groups, and may be larger than memory.

    Args:
        run: Directory of the run.
        data: A table with the columns of the training table. Inputs known in advance must cover the horizon.
        horizon: Number of steps to forecast (default: the horizon of the training).
        paths: Number of sample paths of each series (default: none, but quantiles).
        seed: Random seed of the sample paths (default: 0).
        fill: Fill missing inputs: "forward" or "mean" (default: as in training).
        out: File to write, CSV or .parquet (default: standard output).
        snapshots: A .parquet file with the state of each series: the table has its later rows alone, and a file
            that has read them takes its place. It is made if it is not there (default: none).
        ray: Address of a Ray cluster that scores a Parquet file, or "local" or "auto"; needs gatewright[ray]
            (default: this process).
    """
    if seed is not None and paths is None:
        raise UsageError("--seed", "--paths with it: quantiles are not drawn", str(seed))
    early_checks.check_outputs(data, out=out, snapshots=snapshots)
    early_checks.check_forecast(run, data, horizon, fill)
    waits = Waits(errors)
    if large_tables.takes(run, data, out, snapshots, ray, paths):
        large_tables.forecast(run, large_tables.Options(data, out, snapshots, ray, horizon, fill), waits)
        return
    with waits.during(LOADING):
        import gatewright.nn.model  # noqa: F401
        from gatewright.evaluation.report import forecast_run
        from gatewright.tasks.base import SamplePaths

    wanted = None if paths is None else SamplePaths(paths, seed or 0)
    text, notes = forecast_run(run, data, horizon, fill, waits, wanted)
    _write_csv(text, notes, out)


def _write_csv(text: str, notes: list[str], out: Path | None) -> None:
    """Print CSV or write it to a file, with notes for a person on standard error."""
    from gatewright.files.atomic import writing

    for note in notes:
        complain("note", note)
    if out is None:
        sys.stdout.write(text)
    else:
        with writing(out):
            out.write_text(text, "utf-8")
        say(f"wrote {out}")


@app.command
def predict(run: Path, data: Path, /, *, fill: str | None = None, out: Path | None = None) -> None:
    """Predict the label of each sequence, or of each step by a tagger, with the probability of each class, as CSV.

    Example: gatewright predict runs/moves new.csv --out labels.csv

    Args:
        run: Directory of the run.
        data: A table with the columns of the training table, or a .ts file. Labels are not read.
        fill: Fill missing values also where the training had none: "mean" (default: as in training).
        out: File to write (default: standard output).
    """
    early_checks.check_outputs(data, out=out)
    early_checks.check_predict(run, data)
    waits = Waits(errors)
    with waits.during(LOADING):
        import gatewright.nn.model  # noqa: F401
        from gatewright.evaluation.report import predict_run

    _write_csv(*predict_run(run, data, fill, waits), out)


@app.command
def quantize(run: Path, data: Path, /) -> None:
    """Compare weights in 32, 16 and 8 bits: the model's own metric, memory, and times of a step and of a batch.

    Example: gatewright quantize runs/load load.csv

    The model file does not change: gatewright.Stream.load(..., weights="int8") uses fewer bits for steps, and
    gatewright.load(...).model_.lstm.compute = "int8" for batches, here of 64 rows and 64 steps.

    Args:
        run: Directory of the run.
        data: A table or a text like that of the training.
    """
    from gatewright.evaluation.quantization import lines, quantize_run, remark

    with Waits(errors).during(f"reading {data}, and running the model over it"):
        results = quantize_run(run, data)
    print_table(lines(results))
    if (text := remark(results)) is not None:
        say(text)
