"""The search of a study: trials, one after another, until there are enough or the time is up."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from optuna.trial import Trial

from gatewright.data.kept_sources import sources_kept
from gatewright.data.text_sources import TextFiles
from gatewright.errors import GatewrightError, shorten
from gatewright.nn.model import Model
from gatewright.runs.run import digest
from gatewright.tasks.base import Kind
from gatewright.tasks.options import Options
from gatewright.tasks.search_space import Space, Value, checked, entries_of, space_of, with_values
from gatewright.tasks.sources import learned_from
from gatewright.train import launch
from gatewright.train.callback import Callback
from gatewright.train.checkpoint import Progress
from gatewright.tuning.study import UNPRUNED_STEPS, Plan, Study

#: Trials of a study, if neither their number nor a time is asked for.
TRIALS = 20


@dataclass(frozen=True)
class Job:
    """What the trials of a study learn, and how.

    Attributes:
        source: what they learn from.
        kind: name of the kind of model.
        options: the options that are fixed.
        space: what is searched.
        settled: those of the options that the data decided for all trials, whose scores have one unit, by name.
    """

    source: Any
    kind: str
    options: Options
    space: Space
    settled: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, source: Any, kind: str, options: Options, search: Space | None) -> Job:
        """Return the job of a source, checked before any training.

        Args:
            source: the path of a file, or a value in memory.
            kind: name of the kind, where the source does not say.
            options: the options that are fixed.
            search: what is searched; the space of the kind if None.

        Raises:
            GatewrightError: at an option, a value to search, or data that cannot be used.
        """
        learned, source = learned_from(source, kind, options)
        own = () if search is None else tuple(search)
        if search is not None:
            search = checked(learned.resolve, options, search, own)  # before the data is read
            if not learned.settles:
                return cls(source, learned.name, options, search)
        data = _read(learned, source, options, search or {})
        fixed = learned.settled(data, options)
        if search is None:
            entries = learned.search_entries(data, fixed)
            if not entries:
                raise GatewrightError("--search", f"options to search, for a {learned.name} model", "none")
            search = space_of(entries)
        search = checked(learned.resolve, fixed, search, own)
        learned.require_comparable(data, fixed, search)
        return cls(source, learned.name, fixed, search, _changed(options, fixed))

    def plan(self) -> Plan:
        """Return the plan of the study."""
        return Plan(
            kind=self.kind,
            source=_path_of(self.source),
            sha256=digest(self.source),
            options=_as_json(self.options.plain()),
            search=entries_of(self.space),
            seed=self.options.training.seed or 0,
        )

    def train(self, values: dict[str, Value], run: Path, reporter: Callback, temporary: bool) -> Progress:
        """Train a trial: a run like any other."""
        options = with_values(self.options, values)
        return launch.train(
            self.source, options, run=run, kind=self.kind, callbacks=[reporter], temporary=temporary
        )[1]


@dataclass(frozen=True)
class Limits:
    """When a search ends.

    Attributes:
        trials: number of trials of the study, those before included; no limit if None.
        seconds: no trial begins later; no limit if None.

    Raises:
        GatewrightError: if a limit is not positive.
    """

    trials: int | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        if self.trials is not None and (
            isinstance(self.trials, bool) or not isinstance(self.trials, (int, np.integer)) or self.trials < 1
        ):
            raise GatewrightError("--trials", "a whole number of at least 1", shorten(self.trials))
        if self.seconds is not None and not (
            isinstance(self.seconds, (int, float)) and not isinstance(self.seconds, bool) and self.seconds > 0
        ):
            raise GatewrightError("--seconds", "a number above 0", shorten(self.seconds))

    @property
    def bounded(self) -> Limits:
        """These limits, or the default without any."""
        return Limits(TRIALS) if self.trials is None and self.seconds is None else self


class _PrunedError(Exception):
    """A trial that is not worth its other steps."""


class _Reporter(Callback):
    """Tells a study the score of each validation, and ends a trial that it prunes."""

    def __init__(self, trial: Trial) -> None:
        self._trial, self._total = trial, 0
        self.progress = Progress()

    def start(self, total: int, unit: str) -> None:  # noqa: ARG002
        """Note the number of steps."""
        self._total = total

    def validation(self, step: int, epoch: float, loss: float, valid: float, best: bool) -> None:  # noqa: ARG002
        """Report a score."""
        self._trial.report(valid, step)
        self.progress.step = step
        if best:
            self.progress.best, self.progress.best_step = valid, step

    def validated(self, model: Model, step: int) -> None:  # noqa: ARG002
        """End the trial if others were better at this step; the checkpoint is on disk."""
        if UNPRUNED_STEPS * self._total <= step < self._total and self._trial.should_prune():
            raise _PrunedError


def search(study: Study, job: Job, limits: Limits, say: Callable[[str], None], *, temporary: bool = False) -> bool:
    """Train trials until there are enough, no time is left, or Ctrl-C.

    Args:
        study: keeps them.
        job: what they learn.
        limits: when the search ends.
        say: is given lines for a person.
        temporary: whether the caller deletes the directory of the study afterwards.

    Returns:
        Whether the search came to its end; False after Ctrl-C or SIGTERM, which leaves a study to go on with.
    """
    end = None if limits.seconds is None else time.monotonic() + limits.seconds
    with study.working(), sources_kept():
        while end is None or time.monotonic() < end:
            trial = study.next_trial(limits.trials)
            if trial is None:
                break
            if not _try(study, job, trial, say, temporary):
                return False
    return True


def _try(study: Study, job: Job, trial: Trial, say: Callable[[str], None], temporary: bool) -> bool:
    """Train a trial; return False if it was interrupted."""
    say(f"trial {trial.number}: {described(trial.params)}")
    reporter, began = _Reporter(trial), time.perf_counter()
    try:
        progress = job.train(dict(trial.params), study.run_of(trial), reporter, temporary)
    except _PrunedError:
        reporter.progress.seconds = time.perf_counter() - began
        study.finish(trial, reporter.progress, pruned=True)
        say(f"trial {trial.number}: pruned at step {reporter.progress.step}, {reporter.progress.best:.4f}")
        return True
    except KeyboardInterrupt:
        study.cut(trial)
        return False
    except GatewrightError as error:
        study.fail(trial, str(error))
        say(f"trial {trial.number}: failed: {error}")
        return True
    if not progress.finished:
        study.cut(trial)
        return False
    study.finish(trial, progress, pruned=False)
    best = study.optuna.best_trial.number == trial.number
    mark = ", the best so far" if best else ""
    say(f"trial {trial.number}: valid {progress.best:.4f} at step {progress.best_step}{mark}")
    return True


def described(values: Mapping[str, Any]) -> str:
    """Return values of options in a line.

    >>> described({"hidden": 32, "weight_decay": 0.0123456})
    'hidden 32, weight-decay 0.01235'
    """
    return ", ".join(f"{name.replace('_', '-')} {_written(value)}" for name, value in values.items())


def _written(value: Any) -> str:
    if isinstance(value, tuple):
        return " ".join(map(str, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _read(kind: Kind[Any], source: Any, options: Options, space: Space) -> Any:
    """Read what the trials learn from, with the defaults; or, if these do not fit it, with values of the space.

    Raises:
        GatewrightError: if it cannot be used.
    """
    try:
        return kind.read(source, kind.resolve(options).data)
    except GatewrightError as error:
        values = {name: domain.ends[0] for name, domain in space.items()}
        try:
            return kind.read(source, kind.resolve(with_values(options, values)).data)
        except GatewrightError:
            raise error from None


def _changed(before: Options, after: Options) -> dict[str, Any]:
    """Return the options that differ, by name."""
    own = before.plain()
    return {
        name: value
        for table, values in after.plain().items()
        for name, value in values.items()
        if own[table].get(name) != value
    }


def _path_of(source: Any) -> str:
    """Return the path of a source, or the paths of several files, one a line; empty for a value in memory."""
    paths = source.paths if isinstance(source, TextFiles) else [source] if isinstance(source, Path) else []
    return "\n".join(str(path.resolve()) for path in paths)


def _as_json(value: Any) -> Any:
    """Return a value as JSON gives it back: tuples as lists."""
    if isinstance(value, dict):
        return {name: _as_json(each) for name, each in value.items()}
    return [_as_json(each) for each in value] if isinstance(value, (list, tuple)) else value
