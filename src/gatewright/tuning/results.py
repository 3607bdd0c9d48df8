"""Results of a study: a row for each trial, as a table for the terminal, a frame and a file."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState
from rich.markup import escape
from rich.table import Table

from gatewright.errors import RunError
from gatewright.files import atomic
from gatewright.tasks.tables import empty, written
from gatewright.tuning.study import Study

#: Maximum number of trials that a table shows.
SHOWN = 20
#: Columns of a trial apart from its options.
COLUMNS = ("trial", "state", "score", "best_step", "steps", "seconds")
_STATES = {
    TrialState.COMPLETE: "finished",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "waiting",
}


@dataclass(frozen=True)
class Result:
    """A trial.

    Attributes:
        number: of the trial, and of its run.
        state: "finished", "pruned", "failed", "cut" (interrupted, and tried again), "running" or "waiting".
        score: of its best validation; None before one.
        best_step: step of that validation; None before one.
        steps: steps that it took; None before its end.
        seconds: that it trained; None before its end.
        options: what it tried, by name.
        error: why it failed, or "".
    """

    number: int
    state: str
    score: float | None
    best_step: int | None
    steps: int | None
    seconds: float | None
    options: dict[str, Any]
    error: str

    def row(self, names: list[str]) -> dict[str, Any]:
        """Return the trial as a row of a table with columns for some options."""
        own = (self.number, self.state, self.score, self.best_step, self.steps, self.seconds)
        columns = dict(zip(COLUMNS, own, strict=True))
        return {**columns, **{name: self.options.get(name) for name in names}, "error": self.error}


def results(study: Study) -> list[Result]:
    """Return the trials of a study in their order."""
    return [_result(trial) for trial in study.trials()]


def _result(trial: FrozenTrial) -> Result:
    notes, reported = trial.user_attrs, trial.intermediate_values
    finished = trial.state == TrialState.COMPLETE
    best = min(reported, key=lambda step: (reported[step], step)) if reported else None
    return Result(
        number=trial.number,
        state="cut" if "cut" in notes else _STATES[trial.state],
        score=trial.value if finished else None if best is None else reported[best],
        best_step=notes.get("best_step", best),
        steps=notes.get("steps"),
        seconds=notes.get("seconds"),
        options=dict(trial.params) or dict(trial.system_attrs.get("fixed_params", {})),
        error=str(notes.get("error", "")),
    )


def best_trial(study: Study) -> FrozenTrial:
    """Return the best finished trial.

    Raises:
        RunError: if none has finished.
    """
    trials = study.trials()
    if not any(trial.state == TrialState.COMPLETE for trial in trials):
        errors = [str(trial.user_attrs["error"]) for trial in trials if "error" in trial.user_attrs]
        got = f"none; the first error of a trial: {errors[0]}" if errors else "none"
        raise RunError("study", "a trial that has finished", got)
    return study.optuna.best_trial


def names_of(found: list[Result]) -> list[str]:
    """Return the options that trials have tried, in the order of the first that has them."""
    return list(dict.fromkeys(name for result in found for name in result.options))


def ranked(found: list[Result]) -> list[Result]:
    """Return finished trials by their score, then all others in their order."""
    last = float("inf")  # a trial that was pruned has a score too, of fewer steps
    return sorted(
        found,
        key=lambda each: (each.state != "finished", each.score if each.state == "finished" else last, each.number),
    )


def tables(found: list[Result], unit: str) -> list[Table]:
    """Lay out trials, the best first."""
    names = names_of(found)
    order = ranked(found)
    title = f"{len(found)} trials" + (f", the first {SHOWN} in order" if len(found) > SHOWN else "")
    table = empty(
        title, ["state", unit.replace(" ", "\n"), "at step", *(name.replace("_", "-") for name in names)]
    )
    shown = order[:SHOWN]
    scores = written([result.score for result in shown])
    columns = [_written([result.options.get(name) for result in shown]) for name in names]
    for result, score, *values in zip(shown, scores, *columns, strict=True):
        step = "–" if result.best_step is None else f"{result.best_step:,}"
        table.add_row(str(result.number), result.state, score, step, *map(escape, values))
    return [table]


def _written(values: list[Any]) -> list[str]:
    return ["–" if v is None else f"{v:.4g}" if isinstance(v, float) else str(v) for v in values]


def write_csv(path: Path, found: list[Result]) -> None:
    """Write a row for each trial, in their order."""
    names = names_of(found)
    text = io.StringIO()
    table = csv.DictWriter(text, [*COLUMNS, *names, "error"], lineterminator="\n")
    table.writeheader()
    table.writerows(result.row(names) for result in found)
    atomic.write_bytes(path, text.getvalue().encode())


def frame(found: list[Result]) -> Any:
    """Return a polars DataFrame with a row for each trial, in their order."""
    import polars as pl

    names = names_of(found)
    types = {"trial": pl.Int64, "state": pl.String, "score": pl.Float64, "best_step": pl.Int64, "steps": pl.Int64,
             "seconds": pl.Float64, "error": pl.String}  # fmt: skip
    rows = [result.row(names) for result in found]
    return pl.DataFrame(rows, schema_overrides=types, infer_schema_length=None)
