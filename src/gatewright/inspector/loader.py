"""From what a person names to what a page shows: a run, a file, or the built-in example."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable
from pathlib import Path

from gatewright.errors import GatewrightError, ModelFileError, RunError
from gatewright.insight import recording_file
from gatewright.insight.inputs import gather, of_run
from gatewright.insight.recording import Recording
from gatewright.inspector.catalog import Entry, Shelf, Subject
from gatewright.nn.model import Model, load
from gatewright.progress import PLAIN_SECONDS
from gatewright.runs import models
from gatewright.runs.models import run_model
from gatewright.runs.run import Run
from gatewright.spec import FILLS
from gatewright.tasks.forecast.task import ForecastTask
from gatewright.tasks.inputs import InputBatch
from gatewright.tasks.language.task import LanguageTask
from gatewright.train import launch, plain_rnn

#: A recording that is alone on its shelf.
ONLY = Entry("only", first=True)
#: Series that a page shows without being told which.
MOST_ROWS = 16
#: Steps that are read without being told how many.
STEPS = 2000
#: What validation scores are measured in, by the kind of the run.
UNITS = {"forecast": ForecastTask.unit, "language": LanguageTask.unit}

Say = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What of the data is wanted.

    Attributes:
        row: number of the series, or None for the first `MOST_ROWS`.
        start: first step.
        steps: at most so many, or None for the first `STEPS`.
        fill: how missing inputs are filled, or None for what training did.

    Raises:
        GatewrightError: if a number is below what there can be.
    """

    row: int | None = None
    start: int = 0
    steps: int | None = None
    fill: str | None = None

    def __post_init__(self) -> None:
        for name, number, least in (("--start", self.start, 0), ("--steps", self.steps, 1)):
            if number is not None and number < least:
                raise GatewrightError(name, f"a whole number of at least {least}", str(number))
        if self.fill not in (None, *FILLS[1:]):
            raise GatewrightError("--fill", "forward or mean", repr(self.fill))

    @property
    def most(self) -> int:
        """At most so many steps."""
        return STEPS if self.steps is None else self.steps

    def of(self, material: InputBatch, say: Say) -> InputBatch:
        """Return the wanted rows.

        Raises:
            GatewrightError: if there is no such row.
        """
        rows = len(material.lengths)
        if self.row is not None:
            if not 0 <= self.row < rows:
                raise GatewrightError("--row", f"a series from 0 to {rows - 1}", str(self.row))
            return material.rows([self.row])
        if rows > MOST_ROWS:
            say(f"the first {MOST_ROWS} of {rows} series; --row shows a single series")
            return material.rows(range(MOST_ROWS))
        return material


#: All that is shown without being told more.
UNTOLD = Wanted()


def open_example(wanted: Wanted = UNTOLD, train_plain: bool = False) -> tuple[Shelf, str]:
    """Return the built-in example, and its title.

    Raises:
        GatewrightError: if a part of it is wanted.
    """
    _require_whole("the built-in example", None, wanted, train_plain)
    from gatewright.inspector.example import INTRO, PLACE, example

    model, material, beside = example()
    shelf = _shelf(Subject(model, material, plain=beside), Entry("only", first=True, intro=INTRO, place=PLACE))
    return shelf, material.about.title


def open_path(path: Path, data: Path | None, wanted: Wanted, train_plain: bool, say: Say) -> tuple[Shelf, str]:
    """Return what there is to see of a run's directory, a recording or a model file, and a title.

    Args:
        path: what is looked at.
        data: what a model reads; None for the test part of what its run learned from.
        wanted: what of it.
        train_plain: whether to train a plain RNN beside a run's model, if there is none yet.
        say: shows a line.

    Raises:
        GatewrightError: if there is nothing to see, or the data does not fit.
    """
    if path.is_file():
        if recording_file.is_recording(path):
            _require_whole("a recording", data, wanted, train_plain)
            found = Recording.load(path)
            return _shelf(Subject(recording=found)), found.about.title or path.name
        if Path(path.name.removesuffix(".gz")).suffix in launch.SUFFIXES:
            raise GatewrightError(
                "RUN", "a run, a recording or a model file, and data after it", f"the data {path}"
            )
        model = load(path)
        if data is None:
            raise GatewrightError("DATA", "what the model is to read, after the model's file", "nothing")
        if train_plain:
            raise GatewrightError("--plain-rnn", "a run, on whose batches it is trained", f"a file: {path}")
        material = gather(model, data, start=wanted.start, steps=wanted.most, fill=wanted.fill or "")
        return _shelf(Subject(model, wanted.of(material, say))), material.about.title
    if not path.is_dir():
        raise RunError(
            "run", "the directory of a run, a recording or a model file", f"{path}, which does not exist"
        )
    run = Run.open(path)
    model = run_model(run)
    if data is not None and recording_file.is_recording(data):
        _require_whole("a recording", None, wanted, train_plain)
        return _shelf(_own_recording(data, model)), path.resolve().name
    material = wanted.of(of_run(run, model, data, start=wanted.start, steps=wanted.most, fill=wanted.fill), say)
    beside = _beside(run, model, train_plain, say)
    return open_run(run, model, material, beside), material.about.title


def open_run(run: Run, model: Model, material: InputBatch, beside: plain_rnn.PlainModel | None) -> Shelf:
    """Return a run's best model, and before it its snapshots, if it has some."""
    shelf, scores = Shelf(), dict(run.validations())
    best = min(scores, key=lambda step: scores[step], default=None)
    for step, path in models.found(run):
        if step != best:
            entry = snapshot_entry(run, step, scores.get(step))
            shelf.add(entry, functools.partial(_of_snapshot, path, material.noted(entry.note)))
    note = "" if best is None else f"step {best}, best"
    entry = Entry("best", note, best, None if best is None else scores[best], UNITS[run.kind], first=True)
    shelf.add(entry, lambda: Subject(model, material.noted(note), plain=beside))
    return shelf


def _of_snapshot(path: Path, material: InputBatch) -> Subject:
    model = load(path)
    about = dataclasses.replace(material.about, fingerprint=model.fingerprint)
    return Subject(model, dataclasses.replace(material, about=about))


def snapshot_entry(run: Run, step: int, score: float | None) -> Entry:
    """Return what the page lists of a snapshot."""
    return Entry(f"step-{step}", f"step {step}", step, score, UNITS[run.kind])


def _require_whole(what: str, data: Path | None, wanted: Wanted, train_plain: bool) -> None:
    """Raise if more is said of what is shown as it is."""
    row, steps = wanted.row, wanted.steps
    given = {"DATA": data, "--row": row, "--start": wanted.start or None, "--steps": steps, "--fill": wanted.fill}
    for name, value in {**given, "--plain-rnn": train_plain or None}.items():
        if value is not None:
            raise GatewrightError(name, f"nothing with {what}, which holds all there is to see", str(value))


def _own_recording(path: Path, model: Model) -> Subject:
    """Read a recording of a model.

    Raises:
        GatewrightError: if it is of another one.
    """
    found = Recording.load(path)
    if found.about.fingerprint != model.fingerprint:
        got = f"one of the model {found.about.fingerprint[:12]}: {path}"
        raise GatewrightError("DATA", f"a recording of the run's model {model.fingerprint[:12]}", got)
    whole: Recording = dataclasses.replace(found, model=model)
    return Subject(recording=whole)


def _beside(run: Run, model: Model, train: bool, say: Say) -> plain_rnn.PlainModel | None:
    """Return the plain RNN that stands beside a run's model; None if there is none and none is wanted."""
    if run.plain_rnn.exists():
        try:
            return plain_rnn.load(run.plain_rnn, model)
        except ModelFileError as error:
            if not train:
                say(f"left out: {error}; --plain-rnn trains one anew")
                return None
    if not train:
        return None
    scores = dict(run.validations())
    if not scores:
        raise RunError("--plain-rnn", "a run with a validation", f"{run.path}, which has none")
    best = min(scores, key=lambda step: scores[step])
    options, task = launch.reopen(run)
    say(f"training a plain RNN on the {best} batches that the model was trained on")
    told = time.monotonic()

    def progress(step: int, loss: float) -> None:
        nonlocal told
        if time.monotonic() - told >= PLAIN_SECONDS:
            told = time.monotonic()
            say(f"step {step}/{best}  loss {loss:.4f}")

    made = plain_rnn.train_beside(task, options.training, best, fingerprint=model.fingerprint, progress=progress)
    plain_rnn.save(run.plain_rnn, made)
    say(f"wrote {run.plain_rnn}")
    return made


def _shelf(subject: Subject, entry: Entry = ONLY) -> Shelf:
    shelf = Shelf()
    shelf.add(entry, lambda: subject)
    return shelf
