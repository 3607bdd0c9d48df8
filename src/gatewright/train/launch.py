"""From a source and options to a run: new, or taken up again."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from accelerate.accelerator import Accelerator
from accelerate.utils.operations import broadcast_object_list
from rich.console import Console

from gatewright.data.source_files import other_format, require_file
from gatewright.errors import GatewrightError
from gatewright.files import model_file
from gatewright.nn.model import Model
from gatewright.progress import SILENT, Waits
from gatewright.runs.options import FREE, KINDS, NOTHING_SAID, Options, TrainingOptions, resolve
from gatewright.runs.run import Run
from gatewright.spec import SeriesEncoder
from gatewright.tasks.base import Share, Task
from gatewright.tasks.forecast import dataset as series_data
from gatewright.tasks.forecast.task import ForecastTask
from gatewright.tasks.language import dataset as text_data
from gatewright.tasks.language.task import LanguageTask
from gatewright.train.callback import Callback
from gatewright.train.checkpoint import Progress
from gatewright.train.progress import Display
from gatewright.train.trainer import Loop

SUFFIXES = {".csv": "forecast", ".tsv": "forecast", ".parquet": "forecast", ".txt": "language"}


def infer_kind(source: Path, kind: str = "") -> str:
    """Return what to learn from a file: "forecast" or "language".

    Raises:
        GatewrightError: if it cannot be told.

    >>> infer_kind(Path("load.csv.gz")), infer_kind(Path("plays.txt"))
    ('forecast', 'language')
    """
    if kind:
        if kind not in KINDS:
            raise GatewrightError("--kind", f"one of {', '.join(KINDS)}", repr(kind))
        return kind
    suffix = Path(source.name.lower().removesuffix(".gz")).suffix
    if suffix not in SUFFIXES:
        expected = f"a file whose name ends in {', '.join(SUFFIXES)}, or --kind"
        raise GatewrightError(str(source), expected, other_format(source))
    return SUFFIXES[suffix]


def train(
    source: Path | str, options: Options = NOTHING_SAID, *, run: Path | str | None = None, kind: str = "",
    console: Console | None = None, callbacks: Sequence[Callback] = (),
) -> tuple[Run, Progress]:  # fmt: skip
    """Train a model on a table of series or a text.

    Args:
        source: a ``.csv``, ``.tsv`` or ``.parquet`` table, or a ``.txt`` text.
        options: what is not left to the defaults.
        run: the directory to make; one below ``runs/`` if None.
        kind: "forecast" or "language", where the file's ending does not say.
        console: where to show progress; standard output if None.
        callbacks: are called at each validation.

    Returns:
        The run, whose ``model`` is the best model, and how far it came.

    Raises:
        GatewrightError: at an option or data that cannot be used, before anything is written.
        NonFiniteError: at a NaN or infinity while training.
    """
    source = Path(source)
    require_file(source)
    kind = infer_kind(source, kind)
    options = resolve(options, kind)
    accelerator = _accelerator(options.training)
    console = console or Console()
    options, task = _prepare(source, kind, options, accelerator, Waits(console, accelerator.is_main_process))
    # All processes write into the directory that the first one found free.
    [path] = broadcast_object_list([Run.free_path(source) if run is None else Path(run)])
    with _alone(Run(path), accelerator):
        if accelerator.is_main_process:
            Run.create(path, source, kind, options)
        accelerator.wait_for_everyone()
        return Run(path), _loop(task, options, Run(path), accelerator, console, callbacks, resume=False)


def resume(
    run: Path | str,
    options: Options = NOTHING_SAID,
    *,
    console: Console | None = None,
    callbacks: Sequence[Callback] = (),
) -> tuple[Run, Progress]:
    """Go on with a run that was stopped or killed, to the same bits as if it never had been.

    Args:
        run: its directory.
        options: only ``steps``, ``epochs``, ``patience`` and ``device`` may differ from the run's own.
        console: where to show progress; standard output if None.
        callbacks: are called at each validation.

    Raises:
        GatewrightError: if there is no such run, another process trains it, its source has changed, or one of its
            files is damaged.
    """
    opened = Run.open(Path(run))
    kind, source = opened.kind, opened.unchanged_source()
    options = resolve(_lengthened(opened.options(), options), kind)
    accelerator = _accelerator(options.training)
    console = console or Console()
    waits = Waits(console, accelerator.is_main_process)
    with _alone(opened, accelerator):
        options, task = _prepare(source, kind, options, accelerator, waits, _step(opened))
        return opened, _loop(task, options, opened, accelerator, console, callbacks, resume=True)


def _alone(run: Run, accelerator: Accelerator) -> contextlib.AbstractContextManager[None]:
    """Keep other trainings out of a run; the first process does so for all of them."""
    return run.alone() if accelerator.is_main_process else contextlib.nullcontext()


def reopen(run: Run) -> tuple[Options, Task]:
    """Return options and task of a run as it began: the same batches, and a model that has learned nothing.

    Raises:
        RunError: if the run's source has changed.
    """
    kind, source = run.kind, run.unchanged_source()
    options = run.options()
    return _prepare(source, kind, options, _accelerator(options.training), step=_step(run))


def _step(run: Run) -> str:
    """Return the step between rows that a run's model knows: other rules may have found it than today's."""
    if run.kind != "forecast" or not run.model.exists():
        return ""
    encoder = model_file.read(run.model).spec.encoder
    return encoder.step if isinstance(encoder, SeriesEncoder) else ""


def _lengthened(own: Options, given: Options) -> Options:
    """Return the run's own options with what may differ when it goes on."""
    for table, values in given.plain().items():
        for name, value in values.items():
            if name not in FREE and getattr(getattr(own, table), name) != value:
                flag = f"--{name.replace('_', '-')}"
                raise GatewrightError(flag, "the run's own value with --resume", repr(value))
    return Options(training=given.training).over(own)


def _accelerator(options: TrainingOptions) -> Accelerator:
    # Without an accelerator the CPU has to be asked for, or several processes would not find each other.
    accelerator = Accelerator(cpu=options.device == "cpu" or not torch.accelerator.is_available())
    if options.device not in ("auto", accelerator.device.type):
        raise GatewrightError(
            "--device", f"a device of this machine, such as {accelerator.device.type}", options.device
        )
    if options.batch % accelerator.num_processes:
        raise GatewrightError(
            "--batch", f"a multiple of the {accelerator.num_processes} processes", str(options.batch)
        )
    return accelerator


def _prepare(
    source: Path, kind: str, options: Options, accelerator: Accelerator, waits: Waits = SILENT, step: str = ""
) -> tuple[Options, Task]:
    """Read the data and build the model on its device, the same in every process."""
    share = Share(accelerator.process_index, accelerator.num_processes)
    seed, batch, bias = options.training.seed, options.training.batch, options.model.forget_bias
    torch.manual_seed(seed)
    if kind == "forecast":
        with waits.during(f"reading {source.name}"):
            table = series_data.read(source, options.data, step)
        options = replace(options, data=table.options)
        spec, scaler = series_data.build(table, options)
        model = Model(spec, scaler=scaler, forget_bias=bias).to(accelerator.device)
        with waits.during("scaling and encoding the series, making windows"):
            return options, ForecastTask(model, table, batch, seed, share, accelerator.device)
    with waits.during(f"reading {source.name}"):
        text = text_data.read(source, options.data)
    spec = text_data.build(text, options)
    model = Model(spec, vocabulary=text.vocabulary, forget_bias=bias).to(accelerator.device)
    return options, LanguageTask(model, text, options, share, accelerator.device)


def _loop(
    task: Task,
    options: Options,
    run: Run,
    accelerator: Accelerator,
    console: Console,
    callbacks: Sequence[Callback],
    resume: bool,
) -> Progress:
    loop = Loop(task, options.training, run, accelerator, callbacks)
    if resume:
        loop.resume()
        if loop.total < loop.progress.step:
            expected = f"more than the {loop.progress.step} steps that the run has taken"
            raise GatewrightError("--steps or --epochs", expected, f"{loop.total} steps")
    with Display(console, loop.total, task.unit, accelerator.is_main_process) as display:
        size = sum(value.numel() for value in task.model.parameters())
        display.note(task.summary)
        first = f"going on from step {loop.progress.step}, " if resume else ""
        display.note(f"{first}{loop.total} steps, {size:,} weights, on {accelerator.device.type}, into {run.path}")
        if accelerator.is_main_process:
            for callback in callbacks:
                callback.begin(run, display.note)
        progress = loop.run(display)
        ends = {"steps": "finished", "patience": "no better validation for a while", "": "stopped"}
        best = f"best validation {progress.best:.4f} at step {progress.best_step}"
        display.note(f"{ends[progress.finished]} at step {progress.step}; {best}")
        on = "" if progress.finished else f"gatewright train --run {run.path} --resume, or "
        display.note(f"next: {on}gatewright evaluate {run.path}")
        return progress
