"""A search of an estimator's parameters: many trainings, the best of which is kept."""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from gatewright.errors import GatewrightError, path_of, shorten
from gatewright.estimators.base import Estimator
from gatewright.estimators.isolation import isolated
from gatewright.estimators.python_names import python_names
from gatewright.tasks.cell_words import words_from
from gatewright.tasks.options import Options
from gatewright.tasks.search_space import Space, space_of, with_values

if TYPE_CHECKING:
    from gatewright.tuning.search import Job, Limits
    from gatewright.tuning.study import Study

E = TypeVar("E", bound=Estimator)


@dataclass(frozen=True)
class Tuned(Generic[E]):
    """Result of a search.

    Attributes:
        best_estimator_: the fitted estimator of the best trial.
        best_params_: the parameters that it was given: what was searched, and what the data decided for all trials
            where the estimator left it open: transform and scale of a forecaster.
        best_score_: score of its best validation; lower is better.
        trials_: a polars DataFrame with a row for each trial: its state, score, steps, seconds and parameters.
    """

    best_estimator_: E
    best_params_: dict[str, Any]
    best_score_: float
    trials_: Any


def tune(
    estimator: E,
    X: Any,
    y: Any = None,
    *,
    trials: int | None = None,
    seconds: float | None = None,
    search: Mapping[str, Any] | Sequence[str] | None = None,
    storage: str | Path | None = None,
    **columns: Any,
) -> Tuned[E]:
    """Search an estimator's parameters by Optuna; the estimator itself is neither fitted nor changed.

    A trial is scored by its best validation; those that are worse than most others at the same step are stopped.
    The test part is never scored.  Ctrl-C ends the search and keeps the best so far.

    Args:
        estimator: its parameters that are not None are the same in all trials.
        X: data, as for its `fit`.
        y: as for its `fit`.
        trials: number of trials, those of an earlier call with the same ``storage`` included (default: 20, without
            ``seconds``).
        seconds: no trial begins later.
        search: what is searched, by the parameter's name: ``(low, high)`` or ``(low, high, "log")`` for numbers,
            or a list of values; or entries as of the command line, such as ``["hidden=32:256:log"]``.  By default
            the usual parameters that the estimator leaves at None.
        storage: directory of the study, which another call with the same arguments goes on with, also from several
            processes at once; none is kept if None.
        **columns: as for its `fit`.

    Raises:
        GatewrightError: at an argument that cannot be used, before anything is trained; or if no trial finished.

    >>> import gatewright, numpy as np
    >>> series = np.sin(np.arange(200) * 2 * np.pi / 12)
    >>> model = gatewright.Forecaster(context=24, steps=10)
    >>> found = gatewright.tune(model, series, trials=2, search={"hidden": [4, 8], "lr": (1e-3, 1e-1, "log")})
    >>> sorted(found.best_params_), len(found.trials_)
    (['hidden', 'lr', 'scale', 'transform'], 2)
    """
    if not isinstance(estimator, Estimator):
        raise GatewrightError("estimator", "an estimator of gatewright", f"an object of type {_type(estimator)}")
    if importlib.util.find_spec("optuna") is None:
        raise GatewrightError("tune", "the package optuna: pip install 'gatewright[tune]'", "none")
    from gatewright.tuning.results import best_trial, frame, results
    from gatewright.tuning.search import Job, Limits

    with python_names(), ExitStack() as stack:
        source, options = estimator._learned_from(X, y, columns)
        limits = Limits(trials, seconds).bounded
        job = Job.of(source, estimator._kind, options, _space(estimator, search))
        path = stack.enter_context(_directory(storage))
        study = stack.enter_context(_opened(path, job))
        ended = _search(estimator, study, job, limits, temporary=storage is None)
        found = results(study)
        if not ended and not any(result.state == "finished" for result in found):
            raise KeyboardInterrupt
        best = best_trial(study)
        params = {**job.settled, **_params(best.params)}
        fitted = _fitted(estimator, params, (X, y, columns), study.run_of(best))
        if storage is None:
            fitted.run_ = None
        if not ended:
            fitted._warn(f"stopped after {len(found)} trials: this is the best so far")
        return Tuned(fitted, params, float(best.value or 0.0), frame(found))


def _search(estimator: Estimator, study: Study, job: Job, limits: Limits, *, temporary: bool) -> bool:
    """Train the trials; return False if they were interrupted."""
    from gatewright.tuning.search import search

    with isolated():
        return search(study, job, limits, estimator._say, temporary=temporary)


def _fitted(estimator: E, params: Mapping[str, Any], data: tuple[Any, Any, Mapping[str, Any]], run: Path) -> E:
    """Return a copy of an estimator with other parameters that has taken over a run which is finished."""
    X, y, columns = data
    copied = type(estimator)(**{**estimator.get_params(), **params, "verbose": 0})
    fit: Any = copied.fit  # type: ignore[attr-defined]  # each estimator has its own
    fit(X, y, run_dir=run, resume=True, **columns)
    copied.verbose = estimator.verbose
    return copied


@contextmanager
def _directory(storage: str | Path | None) -> Iterator[Path]:
    if storage is not None:
        yield path_of(storage, "storage", "the path of a directory").absolute()
        return
    with tempfile.TemporaryDirectory(prefix="gatewright-") as folder:
        yield Path(folder, "study")


@contextmanager
def _opened(path: Path, job: Job) -> Iterator[Study]:
    from gatewright.tuning.study import Study, quiet_optuna

    with quiet_optuna():
        try:
            study = Study.begin(path, job.plan())
        except GatewrightError as error:
            argument = "storage" if error.argument == "--study" else error.argument
            raise type(error)(argument, error.expected, error.got, sentence=error.sentence) from None
        try:
            yield study
        finally:
            study.close()


def _space(estimator: Estimator, search: Mapping[str, Any] | Sequence[str] | None) -> Space | None:
    """Return what a caller wants to be searched.

    Raises:
        GatewrightError: if an entry cannot be read, or is of no parameter of the estimator.
    """
    if search is None:
        return None
    if isinstance(search, Mapping):
        entries = [f"{name}={_entry(str(name), values)}" for name, values in search.items()]
    elif not isinstance(search, str) and all(isinstance(entry, str) for entry in search):
        entries = list(search)
    else:
        raise GatewrightError("search", 'a dict such as {"hidden": (32, 256, "log")}', shorten(search))
    space = space_of(entries)
    for name in space:
        if name not in estimator._defaults():
            raise GatewrightError("search", f"parameters of {_type(estimator)}", shorten(name))
    return space


def _entry(name: str, values: Any) -> str:
    """Return the values to search as the command line takes them."""
    if isinstance(values, str):
        return values
    if isinstance(values, tuple) and len(values) in (2, 3) and values[2:] in ((), ("log",)):
        return ":".join(map(str, values))
    if isinstance(values, list):
        each = [words_from(value) for value in values] if name == "cell" else values
        each = [str(value).lower() if isinstance(value, bool) else value for value in each]
        return ",".join("+".join(map(str, v)) if isinstance(v, (list, tuple)) else str(v) for v in each)
    raise GatewrightError("search", f'(low, high), (low, high, "log") or a list for {name}', shorten(values))


def _params(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a trial tried as parameters of an estimator."""
    plain = with_values(Options(), values).plain()
    return {name: value for table in plain.values() for name, value in table.items()}


def _type(value: object) -> str:
    return type(value).__name__
