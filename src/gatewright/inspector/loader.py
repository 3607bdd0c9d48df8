"""Catalogs of what `gatewright look` shows: a run, a recording, a model file, or the built-in example."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import time
from collections.abc import Iterator
from pathlib import Path

from gatewright.errors import GatewrightError, ModelFileError, RunError
from gatewright.files.model_path import no_run, require_model_file
from gatewright.insight import recording_file
from gatewright.insight.inputs import gather, of_run
from gatewright.insight.modules import file as module_file
from gatewright.insight.modules.recording import ModuleRecording
from gatewright.insight.recording import Recording
from gatewright.inspector.catalog import Catalog, Entry, Subject
from gatewright.inspector.module_catalog import module_catalog
from gatewright.inspector.selection import DEFAULT, Say, Selection
from gatewright.nn.model import Model, load
from gatewright.progress import PLAIN_SECONDS
from gatewright.runs import snapshots
from gatewright.runs.run import Run
from gatewright.tasks import registry
from gatewright.tasks.inputs import InputBatch
from gatewright.tasks.settings import TrainingSettings
from gatewright.train import launch, plain_rnn

#: Entry of a recording that is alone in its catalog.
ONLY = Entry("only", first=True)


def open_example(selection: Selection = DEFAULT, train_plain: bool = False) -> tuple[Catalog, str]:
    """Return the catalog of the built-in example, and its title.

    Raises:
        GatewrightError: if an option selects a part of it.
    """
    selection.require_none("the built-in example", None, train_plain)
    from gatewright.inspector.example import INTRO, PLACE, example

    model, batch, plain = example()
    entry = Entry("only", first=True, intro=INTRO, place=PLACE)
    return _single(Subject(model, batch, plain=plain), entry), batch.about.title


def open_path(
    path: Path, data: Path | None, selection: Selection, train_plain: bool, say: Say
) -> tuple[Catalog, str]:
    """Return the catalog of a run, a recording or a model file, and a title.

    Args:
        path: directory of a run, or a file.
        data: file that the model reads, or a recording of a run's model; None for the test part of the run's data.
        selection: part of the data.
        train_plain: whether to train a plain RNN for comparison with a run's model, unless the run has one.
        say: shows a line to the user.

    Raises:
        GatewrightError: if there is nothing to show, or the data does not fit the model.
    """
    if path.is_file() and module_file.is_module_recording(path):
        selection.require_none("a recording", data, train_plain)
        module = ModuleRecording.load(path)
        return module_catalog(module), path.name
    if path.is_file():
        if recording_file.is_recording(path):
            selection.require_none("a recording", data, train_plain)
            recording = Recording.load(path)
            return _single(Subject(recording=recording)), recording.about.title or path.name
        return _open_model(path, data, selection, train_plain, say)
    if not path.is_dir():
        raise RunError("run", "the directory of a run, a recording or a model file", no_run(path))
    run = Run.open(path)
    model = run.best_model()
    if data is not None and recording_file.is_recording(data):
        selection.require_none("a recording", None, train_plain)
        return _single(_recording_of(model, data)), path.resolve().name
    with _flags():
        batch = of_run(run, model, data, start=selection.start, steps=selection.max_steps, fill=selection.fill)
    batch = selection.rows_of(batch, say)
    return open_run(run, model, batch, _plain_rnn(run, model, train_plain, say)), batch.about.title


def _open_model(
    path: Path, data: Path | None, selection: Selection, train_plain: bool, say: Say
) -> tuple[Catalog, str]:
    """Return the catalog of a model file with data; arguments and errors as for `open_path`."""
    if registry.suffix_of(path) in registry.suffixes():
        raise GatewrightError("RUN", "a run, a recording or a model file, and data after it", f"the data {path}")
    model = load(require_model_file(path))
    if data is None:
        raise GatewrightError("DATA", "a file for the model to read, after the model file", "nothing")
    if train_plain:
        raise GatewrightError("--plain-rnn", "a run, whose batches train the plain RNN", f"a file: {path}")
    with _flags():
        batch = gather(model, data, start=selection.start, steps=selection.max_steps, fill=selection.fill or "")
    return _single(Subject(model, selection.rows_of(batch, say))), batch.about.title


@contextlib.contextmanager
def _flags() -> Iterator[None]:
    """Raise errors of the argument ``start`` as errors of the option."""
    try:
        yield
    except GatewrightError as error:
        if error.argument != "start":
            raise
        raise type(error)("--start", error.expected, error.got) from None


def open_run(run: Run, model: Model, batch: InputBatch, plain: plain_rnn.PlainModel | None) -> Catalog:
    """Return a catalog of a run's snapshots, if it has any, and of its best model.

    Args:
        run: the run.
        model: its best model.
        batch: inputs of all these models.
        plain: a plain RNN for comparison with the best model, or None.
    """
    catalog, scores = Catalog(), dict(run.validations())
    best = min(scores, key=lambda step: scores[step], default=None)
    for step, path in snapshots.found(run):
        if step != best:
            entry = snapshot_entry(run, step, scores.get(step))
            catalog.add(entry, functools.partial(_snapshot, path, batch.noted(entry.note)))
    note = "" if best is None else f"step {best}, best"
    score = None if best is None else scores[best]
    entry = Entry("best", note, best, score, registry.kind(run.kind).unit_of(run.options()), first=True)
    catalog.add(entry, lambda: Subject(model, batch.noted(note), plain=plain))
    return catalog


def snapshot_entry(run: Run, step: int, score: float | None) -> Entry:
    """Return the catalog's entry of a snapshot.

    Args:
        run: the run.
        step: training step of the snapshot.
        score: its validation score, or None if unknown.
    """
    return Entry(f"step-{step}", f"step {step}", step, score, registry.kind(run.kind).unit_of(run.options()))


def _snapshot(path: Path, batch: InputBatch) -> Subject:
    model = load(path)
    about = dataclasses.replace(batch.about, fingerprint=model.fingerprint)
    return Subject(model, dataclasses.replace(batch, about=about))


def _recording_of(model: Model, path: Path) -> Subject:
    """Read a recording of a model.

    Raises:
        GatewrightError: if it is of another model.
    """
    recording = Recording.load(path)
    if recording.about.fingerprint != model.fingerprint:
        got = f"a recording of the model {recording.about.fingerprint[:12]}: {path}"
        raise GatewrightError("DATA", f"a recording of the run's model {model.fingerprint[:12]}", got)
    return Subject(recording=dataclasses.replace(recording, model=model))


def _plain_rnn(run: Run, model: Model, train: bool, say: Say) -> plain_rnn.PlainModel | None:
    """Return the plain RNN of a run for comparison with its model; None without one if ``train`` is false."""
    if run.plain_rnn.exists():
        try:
            return plain_rnn.load(run.plain_rnn, model)
        except ModelFileError as error:
            if not train:
                say(f"plain RNN ignored: {error}; --plain-rnn trains a new one")
                return None
    return _train_plain_rnn(run, model, say) if train else None


def _train_plain_rnn(run: Run, model: Model, say: Say) -> plain_rnn.PlainModel:
    """Train a plain RNN on the batches of a run's best model, and write it into the run.

    Raises:
        GatewrightError: if the run has no validation, its source has changed, or its layers differ in size.
        OSError: if the file cannot be written.
    """
    if isinstance(model.spec.lstm.hidden_size, tuple):
        raise GatewrightError("--plain-rnn", "a model with layers of one size", str(model.spec.lstm.hidden_size))
    scores = dict(run.validations())
    if not scores:
        raise RunError("--plain-rnn", "a run with a validation", f"{run.path}, which has none")
    best = min(scores, key=lambda step: scores[step])
    options, task = launch.reopen(run)
    say(f"training a plain RNN on the {best} batches that the model was trained on")
    last_line = time.monotonic()

    def progress(step: int, loss: float) -> None:
        nonlocal last_line
        if time.monotonic() - last_line >= PLAIN_SECONDS:
            last_line = time.monotonic()
            say(f"step {step}/{best}  loss {loss:.4f}")

    plain = plain_rnn.train_plain_rnn(
        task, TrainingSettings.of(options.training), best, fingerprint=model.fingerprint, progress=progress
    )
    plain_rnn.save(run.plain_rnn, plain)
    say(f"wrote {run.plain_rnn}")
    return plain


def _single(subject: Subject, entry: Entry = ONLY) -> Catalog:
    """Return a catalog of one recording."""
    catalog = Catalog()
    catalog.add(entry, lambda: subject)
    return catalog
