"""The choice of a recipe before an estimator is fitted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from gatewright.errors import path_of
from gatewright.estimators.isolation import isolated
from gatewright.runs.run import Run
from gatewright.tasks.base import Kind
from gatewright.tasks.options import Options
from gatewright.tasks.sources import learned_from
from gatewright.tuning.auto import Choice, Seconds, choose


def choose_recipe(
    kind: Kind[Any],
    source: Any,
    options: Options,
    seconds: float,
    run_dir: str | Path | None,
    say: Callable[[str], None],
) -> Choice:
    """Choose a recipe for the data of an estimator.

    Args:
        kind: the kind of model.
        source: what it learns from.
        options: the estimator's parameters and columns.
        seconds: the budget.
        run_dir: directory of the run that follows; None if it is not kept.
        say: is given lines for a person.

    Raises:
        GatewrightError: see `gatewright.tuning.auto.choose`; also if the directory holds a run.
    """
    meter = Seconds(seconds)
    if run_dir is not None:
        Run(path_of(run_dir, "run_dir", "the path of a directory")).require_new()
    learned, value = learned_from(source, kind.name, options)
    with isolated():
        choice = choose(learned, value, options, meter, say)
    say(f"recipe: {choice.recipe.name}, {choice.why}")
    return choice
