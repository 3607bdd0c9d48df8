"""From a source and options to a run: new, or taken up again."""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate.accelerator import Accelerator
from accelerate.utils.dataclasses import DistributedDataParallelKwargs
from accelerate.utils.operations import broadcast_object_list
from rich.console import Console

from gatewright.data.table import TrainingSource
from gatewright.data.text_sources import TextFiles
from gatewright.errors import GatewrightError, path_of, shorten
from gatewright.files import model_file
from gatewright.nn.model import Model
from gatewright.progress import SILENT, Waits
from gatewright.runs.run import Run
from gatewright.tasks import registry
from gatewright.tasks.base import Kind, Share, Task
from gatewright.tasks.cell_words import words_of
from gatewright.tasks.options import ALL_DEFAULTS, FREE, Options
from gatewright.tasks.settings import RefitSettings, TrainingSettings
from gatewright.tasks.sources import learned_from
from gatewright.train.callback import Callback
from gatewright.train.checkpoint import Progress
from gatewright.train.lost_process import with_all_processes
from gatewright.train.memory import within_memory
from gatewright.train.progress import Display
from gatewright.train.refit import forget_refit, refit, without_refit
from gatewright.train.trainer import Loop

#: How processes exchange gradients: those of a large layer while the backward pass of the one below it runs.
_EXCHANGE = DistributedDataParallelKwargs(gradient_as_bucket_view=True, bucket_cap_mb=4)


@contextlib.contextmanager
def _on_the_cpu() -> Iterator[None]:
    """Make tensors on the CPU where nothing says otherwise, whatever torch's default device is."""
    elsewhere = torch.get_default_device().type != "cpu"
    with torch.device("cpu") if elsewhere else contextlib.nullcontext():
        yield


@_on_the_cpu()
@with_all_processes()
def train(
    source: Any, options: Options = ALL_DEFAULTS, *, run: Path | str | None = None, kind: str = "",
    console: Console | None = None, callbacks: Sequence[Callback] = (), initial: Model | None = None,
    temporary: bool = False,
) -> tuple[Run, Progress]:  # fmt: skip
    """Train a model on a table of series or a text.

    Args:
        source: the path of a ``.csv``, ``.tsv`` or ``.parquet`` table, of a ``.txt`` text, or of a directory with
            texts; a list of `Path`s of texts and such directories; or, in memory, a data frame of polars or
            pandas, an Arrow table, or a `gatewright.data.sources.Text` or `Texts`.
        options: what is not left to the defaults.
        run: the directory to make; one below ``runs/`` if None.
        kind: name of the kind of model, such as "forecast", where the file's ending does not say.
        console: where to show progress; nowhere if None.
        callbacks: are called as the training goes, in its first process.
        initial: a trained model to start from, of the same kind and with the same columns, for other data; it
            fixes its sizes and inputs.  It is not changed.
        temporary: whether the caller deletes the directory afterwards, so that no line names it.

    Returns:
        The run, whose ``model`` is the best model, and how far it came.

    Raises:
        GatewrightError: at an option or data that cannot be used, before anything is written.
        NonFiniteError: at a NaN or infinity while training.
    """
    learned, source = learned_from(source, kind, options)
    title = source.name if isinstance(source, Path) else "the data"
    options = learned.resolve(options if initial is None else _continued(learned, options, initial))
    accelerator = _accelerator(TrainingSettings.of(options.training))
    waits = Waits(console, accelerator.is_main_process)
    with waits.during(f"reading {title}"):
        data = learned.read(source, options.data, None if initial is None else initial.spec)
    prepare = partial(_prepare, learned, data, options, accelerator, waits, initial)
    options, task = prepare()
    # All processes write into the directory that the first one found free.
    free = (
        Run.free_path(_name_of(source, learned.name))
        if run is None
        else path_of(run, "run", "the path of a directory")
    )
    [path] = broadcast_object_list([free])
    new_run = Run(path, None if isinstance(source, (Path, TextFiles)) else source)
    new_run.temporary = temporary
    with _alone(new_run, accelerator):
        if accelerator.is_main_process:
            Run.create(path, source, learned.name, options, initial)
        accelerator.wait_for_everyone()
        if not new_run.config.is_file():
            got = f"{new_run.path}, which is not there on {platform.node()}"
            raise GatewrightError("--run", "a directory that all machines of the training share", got)
        return new_run, _loop(
            *(task, options, new_run, accelerator, _listeners(console, callbacks, accelerator, task)),
            resume=False,
            prepare=prepare,
        )


@_on_the_cpu()
@with_all_processes()
def resume(
    run: Path | str | Run,
    options: Options = ALL_DEFAULTS,
    *,
    console: Console | None = None,
    callbacks: Sequence[Callback] = (),
) -> tuple[Run, Progress]:
    """Go on with a run that was stopped or killed, to the same bits as if it never had been.

    Args:
        run: the run or its directory.
        options: only ``steps``, ``epochs``, ``patience``, ``refit`` and ``device`` may differ from the run's own.
        console: where to show progress; nowhere if None.
        callbacks: are called as the training goes, in its first process.

    Raises:
        GatewrightError: if there is no such run, another process trains it, its source has changed, or one of its
            files is damaged.
    """
    opened = run if isinstance(run, Run) else Run.open(run)
    kind = registry.kind(opened.kind)
    opened.unchanged_source()
    options = kind.resolve(_lengthened(kind, opened.options(), options))
    accelerator = _accelerator(TrainingSettings.of(options.training))
    waits = Waits(console, accelerator.is_main_process)
    with _alone(opened, accelerator):
        initial = opened.initial_model()
        prepare = partial(_prepare, kind, opened.data(waits=waits), options, accelerator, waits, initial)
        options, task = prepare()
        return opened, _loop(
            *(task, options, opened, accelerator, _listeners(console, callbacks, accelerator, task)),
            resume=True,
            prepare=prepare,
        )


def require_one_process(argument: str, expected: str) -> None:
    """Check that no launcher has started several processes, which would be those of one training.

    Args:
        argument: what needs a single process.
        expected: for the error.

    Raises:
        GatewrightError: if one has.
    """
    if int(os.environ.get("WORLD_SIZE", "1") or 1) > 1:
        raise GatewrightError(argument, expected, "one of a launcher's")


def _name_of(source: TrainingSource, kind: str) -> Path:
    """Return what a new run is named after: its file, the first of several, or its kind."""
    if isinstance(source, TextFiles):
        return Path(source.paths[0].resolve().name)
    return source if isinstance(source, Path) else Path(kind)


def _alone(run: Run, accelerator: Accelerator) -> contextlib.AbstractContextManager[None]:
    """Keep other trainings out of a run; the first process does so for all of them."""
    return run.alone() if accelerator.is_main_process else contextlib.nullcontext()


@_on_the_cpu()
def reopen(run: Run) -> tuple[Options, Task]:
    """Return options and task of a run as it began: the same batches, and a model that has learned nothing.

    Raises:
        RunError: if the run's source has changed.
    """
    data, options = run.data(), run.options()
    kind, accelerator = registry.kind(run.kind), _accelerator(TrainingSettings.of(options.training))
    return _prepare(kind, data, options, accelerator, initial=run.initial_model())


def _continued(kind: Kind[Any], options: Options, initial: Model) -> Options:
    """Return options with those that the initial model fixes.

    Raises:
        GatewrightError: if the model is of another kind, or an option says otherwise than it.
    """
    if not kind.fits(initial.spec):
        raise GatewrightError("init", f"a {kind.name} model", f"a {registry.kind_of(initial.spec).name} model")
    fixed = kind.fixed_by(initial)
    for table, values in fixed.plain().items():
        for name, value in values.items():
            own = getattr(getattr(options, table), name)
            if own is not None and not kind.agrees(name, own, value):
                expected = f"{shorten(value)}, as the initial model has it"
                raise GatewrightError(f"--{name.replace('_', '-')}", expected, shorten(own))
    kind.require_sizes(initial, options)
    return fixed.over(options)


def _lengthened(kind: Kind[Any], own: Options, changes: Options) -> Options:
    """Return the run's own options with what may differ when it goes on."""
    for table, values in changes.plain().items():
        for name, value in values.items():
            fixed = getattr(getattr(own, table), name)
            if name not in FREE and (fixed is None or not kind.agrees(name, value, fixed)):
                flag = f"--{name.replace('_', '-')}"
                raise GatewrightError(flag, f"the run's own value with --resume, {shorten(fixed)}", shorten(value))
    return Options(training=changes.training).over(own)


def _accelerator(settings: TrainingSettings) -> Accelerator:
    # Without an accelerator the CPU has to be asked for, or several processes would not find each other.
    on_cpu = settings.device == "cpu" or not torch.accelerator.is_available()
    accelerator = Accelerator(cpu=on_cpu, kwargs_handlers=[_EXCHANGE])
    if settings.device not in ("auto", accelerator.device.type):
        raise GatewrightError(
            "--device", f"a device of this machine, such as {accelerator.device.type}", settings.device
        )
    if settings.compute != "full" and accelerator.device.type != "cpu":
        got = f"{settings.precision} on {accelerator.device.type}; --device cpu has it"
        raise GatewrightError("--precision", "float32 on other devices than the CPU", got)
    if settings.batch < accelerator.num_processes:
        expected = f"at least the number of processes, {accelerator.num_processes}"
        raise GatewrightError("--batch", expected, str(settings.batch))
    return accelerator


def _prepare(
    kind: Kind[Any],
    data: Any,
    options: Options,
    accelerator: Accelerator,
    waits: Waits = SILENT,
    initial: Model | None = None,
    refit: bool = False,
) -> tuple[Options, Task]:
    """Build the model on its device, or copy the initial one, and its task, the same in every process.

    The task of a refit also learns the validation part.
    """
    share = Share(accelerator.process_index, accelerator.num_processes)
    torch.manual_seed(TrainingSettings.of(options.training).seed)
    options = kind.complete(options, data)
    with within_memory():
        model = kind.build(data, options) if initial is None else kind.continued(initial, data, options)
        model = model.to(accelerator.device)
    with within_memory(), waits.during("encoding the data"):
        data = kind.with_validation(data) if refit else data
        return options, kind.task(model, data, options, share, accelerator.device)


def _listeners(
    console: Console | None, callbacks: Sequence[Callback], accelerator: Accelerator, task: Task
) -> Sequence[Callback]:
    """Return what a training calls: the display and the callbacks in the first process, nothing in others."""
    if not accelerator.is_main_process:
        return ()
    return callbacks if console is None else (Display(console, task.measures), *callbacks)


def _loop(
    task: Task,
    options: Options,
    run: Run,
    accelerator: Accelerator,
    callbacks: Sequence[Callback],
    resume: bool,
    prepare: Callable[..., tuple[Options, Task]],
) -> Progress:
    loop = Loop(task, TrainingSettings.of(options.training), run, accelerator, callbacks)
    if resume:
        loop.resume()
        if loop.total < loop.progress.step:
            expected = f"more than the {loop.progress.step} steps that the run has taken"
            raise GatewrightError("--steps or --epochs", expected, f"{loop.total} steps")
    if loop.progress.step == 0 and accelerator.is_main_process:
        forget_refit(run)  # of a training whose own checkpoint is lost

    def note(text: str) -> None:
        for callback in callbacks:
            callback.note(text)

    with contextlib.ExitStack() as closing:
        for callback in callbacks:
            closing.callback(callback.close)
            callback.start(loop.total, task.unit)
        size = sum(value.numel() for value in task.model.parameters())
        note(task.summary)
        first = f"going on from step {loop.progress.step}, " if resume else ""
        note(
            f"{first}{loop.total} steps, {size:,} weights, on {accelerator.device.type}"
            + ("" if run.temporary else f", into {run.path}")
        )
        if task.model.spec.lstm.features():
            note(f"cell: {' '.join(words_of(task.model.spec.lstm))}")
        for callback in callbacks:
            callback.begin(run, note)
        with within_memory():
            progress = loop.run()
        ends = {"steps": "finished", "patience": "no better validation for a while", "": "stopped"}
        best = f"best validation {progress.best:.4f} at step {progress.best_step}"
        note(f"{ends[progress.finished]} at step {progress.step}; {best}")
        if RefitSettings.of(options.training).refit:
            with within_memory():
                if progress.finished and not _refit(loop, options, run, accelerator, callbacks, prepare):
                    progress = replace(progress, finished="")
                    note("stopped in the refit; the best model is kept")
        elif accelerator.is_main_process:
            without_refit(run)
        if run.model.exists() and (more := registry.kind(run.kind).note_on(model_file.read(run.model), options)):
            note(more)
        if not run.temporary:
            on = "" if progress.finished else f"gatewright train --run {run.path} --resume, or "
            note(f"next: {on}gatewright evaluate {run.path}")
        return progress


def _refit(
    loop: Loop, options: Options, run: Run, accelerator: Accelerator, callbacks: Sequence[Callback],
    prepare: Callable[..., tuple[Options, Task]],
) -> bool:  # fmt: skip
    """Refit the model of a run whose steps are all taken; return whether that came to its end."""
    settings, anneals = TrainingSettings.of(options.training), registry.kind(run.kind).refit_anneals
    steps = loop.progress.step if anneals else loop.progress.best_step
    # Epochs are longer with the validation part: the learning rates are those of the run's steps.
    own = replace(settings, steps=steps if anneals else loop.total, epochs=None)
    return refit(lambda: prepare(refit=True)[1], own, run, accelerator, callbacks, steps)
