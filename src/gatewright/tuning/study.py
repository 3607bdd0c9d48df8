"""Studies: directories with the trials of a search, in Optuna's storage and as runs."""

from __future__ import annotations

import json
import secrets
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial, Trial, TrialState

from gatewright.errors import GatewrightError, RunError, shorten, unusable
from gatewright.files import atomic, lock, regular_file
from gatewright.tasks.search_space import Domain, Span, space_of
from gatewright.train.checkpoint import Progress

#: Name of the study in Optuna's storage.
NAME = "gatewright"
#: Times that a trial may be killed before it counts as failed.
KILLS = 3
#: Seconds that a worker waits for another one that writes.
PATIENCE = 120.0
#: Trials that are drawn at random before the sampler learns from them, and those before any is pruned.
RANDOM_TRIALS, UNPRUNED_TRIALS = 10, 5
#: Share of the steps before which no trial is pruned.
UNPRUNED_STEPS = 0.25
_ENDED = (TrialState.COMPLETE, TrialState.PRUNED)


@dataclass(frozen=True)
class Plan:
    """What a study searches; the same for all that work on it.

    Attributes:
        kind: name of the kind of model.
        source: path of what the trials learn from, of several files one a line; empty for data in memory.
        sha256: of its content.
        options: the options that are fixed, in the tables of a ``config.toml``.
        search: entries of the search space.
        seed: of the sampler.
    """

    kind: str
    source: str
    sha256: str
    options: dict[str, dict[str, Any]]
    search: list[str]
    seed: int

    def differences(self, other: Plan) -> list[str]:
        """Return what the other one has otherwise, for a person."""
        mine, theirs = asdict(self), asdict(other)
        found = [f"the {name} {theirs[name]}" for name in ("kind", "seed") if mine[name] != theirs[name]]
        if self.sha256 != other.sha256:
            found.insert(0, f"the source {other.source or 'in memory'} with other content")
        own, others = (
            {name: value for table in plan.options.values() for name, value in table.items()}
            for plan in (self, other)
        )
        for name in [*own, *(name for name in others if name not in own)]:
            if own.get(name) != others.get(name):
                flag = f"--{name.replace('_', '-')}"
                found.append(f"{flag} {shorten(others[name])}" if name in others else f"no {flag}")
        if self.search != other.search:
            found.append(f"--search {' '.join(other.search)}")
        return found


class Study:
    """The directory of a search: ``study.db`` (Optuna's storage), ``study.json``, a run for each trial.

    Args:
        path: the directory.
        plan: what it searches.
    """

    def __init__(self, path: Path, plan: Plan) -> None:
        self.path, self.plan = path, plan
        self.runs = path / "trials"
        self._lock, self._workers = path / ".lock", path / "workers"
        self._worker = ""
        self._distributions = {name: _distribution(domain) for name, domain in space_of(plan.search).items()}
        self._storage = _storage(path)
        self.optuna = optuna.create_study(
            storage=self._storage,
            study_name=NAME,
            direction="minimize",
            load_if_exists=True,
            pruner=optuna.pruners.MedianPruner(n_startup_trials=UNPRUNED_TRIALS),
        )

    @staticmethod
    def open(path: Path) -> Study:
        """Return the study in a directory.

        Raises:
            RunError: if the directory holds none.
        """
        return Study(path, read_plan(path))

    @staticmethod
    def begin(path: Path, plan: Plan) -> Study:
        """Return the study in a directory, which is made if necessary.

        Raises:
            RunError: if the directory holds a study of another plan or something else, or cannot be made.
        """
        try:
            path.mkdir(parents=True, exist_ok=True)
            with lock.waited_for(path / ".lock"):
                if note_of(path).exists():
                    differences = plan.differences(read_plan(path))
                    if differences:
                        got = f"{path}, a study with {', '.join(differences)}"
                        raise RunError("--study", "a new directory, or the command that began the study", got)
                elif (path / "config.toml").exists():
                    raise RunError("--study", "a new directory, or one of a study", f"{path}, which holds a run")
                else:
                    atomic.write_bytes(note_of(path), json.dumps(asdict(plan), indent=2).encode())
                for folder in ("trials", "workers"):
                    (path / folder).mkdir(exist_ok=True)
                return Study(path, plan)  # the tables of the storage are made by one process alone
        except OSError as error:
            raise unusable(RunError, path, error, writing=True) from None

    def close(self) -> None:
        """Close the storage."""
        self._storage.remove_session()
        self._storage.engine.dispose()

    def trials(self) -> list[FrozenTrial]:
        """Return all trials, in their order."""
        return list(self.optuna.get_trials(deepcopy=False))

    def run_of(self, trial: Trial | FrozenTrial) -> Path:
        """Return the directory of the run of a trial."""
        return self.runs / f"{trial.number:04d}"

    @contextmanager
    def working(self) -> Iterator[None]:
        """Be one of the workers, as long as the process lives: the trials of a dead one are tried again."""
        self._worker = secrets.token_hex(8)
        path = self._workers / self._worker
        with ExitStack() as stack:
            stack.enter_context(lock.held(path))
            stack.callback(path.unlink, missing_ok=True)
            yield

    def next_trial(self, most: int | None) -> Trial | None:
        """Begin a trial; return None if there are enough.

        Args:
            most: maximum number of trials of the study, those of other workers included; no limit if None.
        """
        with lock.waited_for(self._lock):
            self._cut_of_dead_workers()
            counted = sum(map(counts, self.trials()))
            if most is not None and counted >= most:
                return None
            # A draw is a function of the seed and the trials before it, also where the search was cut.
            seed = int(np.random.SeedSequence([self.plan.seed, counted]).generate_state(1)[0])
            self.optuna.sampler = optuna.samplers.TPESampler(n_startup_trials=RANDOM_TRIALS, seed=seed)
            trial = self.optuna.ask(self._distributions)
            trial.set_user_attr("worker", self._worker)
            return trial

    def finish(self, trial: Trial, progress: Progress, *, pruned: bool) -> None:
        """End a trial with the score of its best validation, or as one that was pruned."""
        self._note(trial, progress)
        if pruned:
            self.optuna.tell(trial, state=TrialState.PRUNED)
        else:
            self.optuna.tell(trial, progress.best)

    def fail(self, trial: Trial, message: str) -> None:
        """End a trial that cannot be trained."""
        trial.set_user_attr("error", message)
        self.optuna.tell(trial, state=TrialState.FAIL)

    def cut(self, trial: Trial) -> None:
        """End a trial that was interrupted; its options are tried again."""
        with lock.waited_for(self._lock):
            self._cut(trial.number, killed=False)

    def _note(self, trial: Trial, progress: Progress) -> None:
        trial.set_user_attr("best_step", progress.best_step)
        trial.set_user_attr("steps", progress.step)
        trial.set_user_attr("seconds", round(progress.seconds, 3))

    def _cut_of_dead_workers(self) -> None:
        """Cut the trials whose worker does not live any more."""
        for trial in self.optuna.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            worker = self._workers / str(trial.user_attrs.get("worker", ""))
            if not _is_locked(worker):
                self._cut(trial.number, killed=True)
                if worker != self._workers:
                    worker.unlink(missing_ok=True)

    def _cut(self, number: int, *, killed: bool) -> None:
        """End a trial as failed, after its options are noted to be tried again."""
        trials = self.trials()
        trial = trials[number]
        kills = int(trial.user_attrs.get("kills", 0)) + killed
        waiting = [each.user_attrs.get("again") for each in trials if each.state == TrialState.WAITING]
        if kills >= KILLS:
            note = {"error": f"the process was killed {KILLS} times"}
        else:
            note = {"cut": "killed" if killed else "interrupted"}
            if number not in waiting:  # the process may end between the two
                asked = {**trial.system_attrs.get("fixed_params", {}), **trial.params}
                self.optuna.enqueue_trial(asked, user_attrs={"again": number, "kills": kills})
        for name, value in note.items():
            self._storage.set_trial_user_attr(trial._trial_id, name, value)
        self.optuna.tell(number, state=TrialState.FAIL)


def counts(trial: FrozenTrial) -> bool:
    """Whether a trial is one of the number that was asked for: one that was cut is not, nor one that waits."""
    return trial.state in (*_ENDED, TrialState.RUNNING) or (
        trial.state == TrialState.FAIL and "cut" not in trial.user_attrs
    )


def note_of(path: Path) -> Path:
    """Return the file with the plan of a study."""
    return path / "study.json"


def read_plan(path: Path) -> Plan:
    """Return the plan of a study.

    Raises:
        RunError: if it has no plan, or a damaged one.
    """
    note = note_of(path)
    if not note.is_file():
        raise RunError("study", "a directory that `gatewright tune` made", f"{path}, which holds no study.json")
    try:
        with regular_file.open_file(note) as file:
            return Plan(**json.loads(file.read()))
    except OSError as error:
        raise unusable(RunError, note, error) from None
    except (ValueError, TypeError, RecursionError):
        raise RunError(str(note), "the plan of a study", "a damaged file") from None


@contextmanager
def quiet_optuna() -> Iterator[None]:
    """Keep Optuna from logging its trials."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


class _Connection(sqlite3.Connection):
    """A connection that waits for the disk at checkpoints only: each report of a score is a commit.

    After a power failure the database is sound, and the last commits may be missing.
    """

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.execute("PRAGMA journal_mode=WAL").close()
        self.execute("PRAGMA synchronous=NORMAL").close()


def _storage(path: Path) -> optuna.storages.RDBStorage:
    """Open ``study.db``.

    Raises:
        GatewrightError: if it is none of Optuna's, or the path cannot stand in a URL.
    """
    file = (path / "study.db").absolute()
    if "?" in str(file):
        raise GatewrightError("--study", "a path without a question mark", shorten(str(path)))
    try:
        arguments = {"timeout": PATIENCE, "factory": _Connection}
        return optuna.storages.RDBStorage(f"sqlite:///{file}", {"connect_args": arguments})
    except Exception as error:  # of SQLAlchemy, SQLite, Alembic or Optuna
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise RunError(str(file), "the storage of a study", shorten(why)) from None


def _distribution(domain: Domain) -> BaseDistribution:
    if not isinstance(domain, Span):
        return CategoricalDistribution(domain.values)
    if domain.whole:
        return IntDistribution(int(domain.low), int(domain.high), log=domain.log)
    return FloatDistribution(domain.low, domain.high, log=domain.log)


def _is_locked(path: Path) -> bool:
    if not path.is_file():
        return False
    try:
        with lock.held(path):
            return False
    except lock.LockedError:
        return True


def values_of(trial: Trial | FrozenTrial) -> Mapping[str, Any]:
    """Return the values of a trial's options by name."""
    return dict(trial.params)
