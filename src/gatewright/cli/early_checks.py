"""Checks of a command's arguments that need no torch: a mistake is reported before torch is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gatewright.data.text_sources import TextFiles
from gatewright.errors import GatewrightError, RunError
from gatewright.files.model_path import require_model_file
from gatewright.runs.run import Run
from gatewright.spec import FILLS
from gatewright.tasks import registry
from gatewright.tasks.options import Options
from gatewright.tasks.sources import learned_from


def check_new_run(run: Path | None) -> None:
    """Check that a directory to create holds no run yet.

    Raises:
        RunError: if it does.
    """
    if run is not None:
        Run(run).require_new()


def check_source(source: Sequence[Path], kind: str, options: Options, initial: Path | None = None) -> None:
    """Check what a training learns from: the files, the options, the header of a table.

    Args:
        source: the files or directories.
        kind: name of the kind; empty where the source or an option says it.
        options: what is not left to the defaults.
        initial: the model that the training starts from, which sets options, too.

    Raises:
        GatewrightError: as the training does.
    """
    learned, path = learned_from(source, kind, options)
    if initial is None:
        learned.resolve(options)
    else:
        require_model_file(initial, "--init")
    if isinstance(path, Path):
        learned.check_head(path, options.data)
    elif isinstance(path, TextFiles):
        path.files()


def check_run(path: Path) -> Run:
    """Return a run that has a model.

    Raises:
        RunError: if there is none.
    """
    run = Run.open(path)
    run.require_model()
    return run


def check_windows(windows: int | None) -> None:
    """Check a number of windows.

    Raises:
        GatewrightError: if it is below 1.
    """
    if windows is not None and windows < 1:
        raise GatewrightError("--windows", "a whole number of at least 1", str(windows))


def check_data(run: Run, data: Path) -> None:
    """Check the format and the header of data that a run's model is to read.

    Raises:
        GatewrightError: as the reader of the whole data does.
    """
    with run.reading():
        registry.kind(run.kind).check_head(data, run.options().data, fixed=True)


def check_outputs(data: Path, **outputs: Path | None) -> None:
    """Check that files to write are none that is read, and each another one.

    Args:
        data: what is read.
        outputs: the files by their options; None for none.

    Raises:
        GatewrightError: names the first that is not.
    """
    taken = {data.resolve(): "the table"}
    for name, out in outputs.items():
        if out is None:
            continue
        if out.resolve() in taken:
            raise GatewrightError(f"--{name}", f"another file than {taken[out.resolve()]}", str(out))
        taken[out.resolve()] = f"that of --{name}"


def check_forecast(path: Path, data: Path, horizon: int | None, fill: str | None) -> None:
    """Check the arguments of a forecast.

    Raises:
        GatewrightError: as `gatewright.evaluation.report.forecast_run` does.
    """
    run = Run.open(path)
    if not registry.kind(run.kind).forecasts:
        raise RunError("run", "a run that forecasts", f"{run.path}, a {run.kind} model")
    run.require_model()
    longest = run.options().data.horizon
    if horizon is not None and longest is not None and not 1 <= horizon <= longest:
        expected = f"1 to {longest} steps (to go further, train with a longer --horizon)"
        raise GatewrightError("--horizon", expected, str(horizon))
    if fill not in (None, *FILLS):
        raise GatewrightError("--fill", "forward or mean", repr(fill))
    check_data(run, data)


def check_predict(path: Path, data: Path) -> None:
    """Check the arguments of a prediction.

    Raises:
        GatewrightError: as `gatewright.evaluation.report.predict_run` does.
    """
    run = Run.open(path)
    if not registry.kind(run.kind).classifies:
        raise RunError("run", "a run that classifies", f"{run.path}, a {run.kind} model")
    run.require_model()
    check_data(run, data)
