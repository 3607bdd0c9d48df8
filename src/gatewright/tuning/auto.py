"""The choice of a recipe: a few of them, trained for more and more steps and scored by rolling validation."""

from __future__ import annotations

import json
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from gatewright.errors import GatewrightError, shorten
from gatewright.files import atomic
from gatewright.nn.model import Model
from gatewright.runs.run import Run
from gatewright.tasks.base import Kind
from gatewright.tasks.options import Options, TrainingOptions
from gatewright.tasks.recipes import Recipe, RollingValidation
from gatewright.tasks.search_space import with_values
from gatewright.train import launch
from gatewright.train.callback import Callback

#: Shares of the steps of a training that recipes take in each round, and of the recipes that go on to the next.
ROUNDS, KEPT = (1 / 8, 1 / 4, 1 / 2, 1), 1 / 2
#: Share of the default's score by which another recipe must be better.
MARGIN = 0.01
#: Name of the recipe of all changes that were better than the default.
TOGETHER = "the better ones together"


class Meter(Protocol):
    """What a choice may cost, and what it has cost."""

    limit: float

    def spent(self) -> float:
        """Return what was spent since the meter was made."""
        ...

    def listeners(self) -> Sequence[Callback]:
        """Return what trainings have to report to."""
        ...


class Seconds:
    """A meter of wall time.

    Args:
        limit: seconds.

    Raises:
        GatewrightError: if it is no number above 0.
    """

    def __init__(self, limit: float) -> None:
        if (
            isinstance(limit, bool)
            or not isinstance(limit, (int, float, np.number))
            or not 0 < limit < float("inf")
        ):
            raise GatewrightError("--auto", "a number of seconds above 0", shorten(limit))
        self.limit, self._began = float(limit), time.monotonic()

    def spent(self) -> float:
        """Return the seconds."""
        return time.monotonic() - self._began

    def listeners(self) -> Sequence[Callback]:
        """Return nothing: time passes by itself."""
        return ()


@dataclass(frozen=True)
class Trial:
    """A training of a recipe for the choice.

    Attributes:
        recipe: its name.
        options: what it changes.
        round: number of the round, from 0 on.
        fold: number of the fold of the validation part.
        steps: of the training.
        score: in the fold; None after an error.
        seconds: that it took.
        error: why it has no score, or "".
    """

    recipe: str
    options: dict[str, Any]
    round: int
    fold: int
    steps: int
    score: float | None
    seconds: float
    error: str


@dataclass(frozen=True)
class Choice:
    """A recipe that was chosen.

    Attributes:
        recipe: the recipe.
        options: the user's options with those of the recipe.
        trials: all trainings, in their order.
        why: the reason, in a sentence.
    """

    recipe: Recipe
    options: Options
    trials: list[Trial]
    why: str

    def scores(self) -> list[dict[str, float]]:
        """Return the mean score of each recipe that has one in all folds of a round, round by round."""
        return scores_of(self.trials)

    def write(self, path: Path) -> None:
        """Write the choice as JSON."""
        figures = {
            "chosen": self.recipe.name,
            "options": dict(self.recipe.values),
            "why": self.why,
            "trials": [asdict(trial) for trial in self.trials],
        }
        atomic.write_bytes(path, json.dumps(figures, indent=2, allow_nan=False).encode())

    @property
    def keeper(self) -> Callback:
        """Return a callback that writes the choice into the directory of a run, before its first step."""
        return _Keeper(self)

    def frame(self) -> Any:
        """Return the trials as a polars DataFrame."""
        import polars as pl

        rows = [{**asdict(trial), "options": json.dumps(trial.options)} for trial in self.trials]
        return pl.DataFrame(rows, schema_overrides={"score": pl.Float64}, infer_schema_length=None)


class _Keeper(Callback):
    def __init__(self, choice: Choice) -> None:
        self._choice = choice

    def begin(self, run: Run, say: Callable[[str], None]) -> None:  # noqa: ARG002
        """Write ``recipes.json``."""
        self._choice.write(run.recipes)


class _OutOfBudgetError(Exception):
    """A training that would cost more than is left."""


class _Stop(Callback):
    """Ends a training when nothing is left."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter

    def step(self, step: int, loss: float, rate: float) -> None:  # noqa: ARG002
        """End the training."""
        if self._meter.spent() > self._meter.limit:
            raise _OutOfBudgetError


@dataclass
class _Rounds:
    """The rounds of a choice.

    Attributes:
        kind: the kind of model.
        data: the dataset.
        options: as the user set them.
        meter: what may be spent.
        say: is given lines for a person.
        trials: all so far.
    """

    kind: Kind[Any]
    data: Any
    options: Options
    meter: Meter
    say: Callable[[str], None]
    trials: list[Trial] = field(default_factory=list)
    _costs: dict[str, float] = field(default_factory=dict)

    def run(self, recipes: Sequence[Recipe]) -> dict[str, Recipe]:
        """Train recipes until the last round has ended or nothing is left; return all by their name."""
        rolling = self.kind.rolling(self.data)
        total = rolling.steps(self.kind.resolve(self.options))
        known = {recipe.name: recipe for recipe in recipes}
        left = list(recipes)
        try:
            for number, share in enumerate(ROUNDS):
                context = max(self._steps_read(recipe) for recipe in left)
                steps, first = max(1, round(share * total)), max(0, rolling.folds - 1 - number)
                for fold in range(rolling.folds - 1, first - 1, -1):
                    for recipe in left:
                        self._train(rolling, recipe, (number, fold, steps), context)
                    failed = {trial.recipe for trial in self.trials if trial.round == number and trial.error}
                    left = [recipe for recipe in left if recipe.name not in failed]
                left = self._next(left, number)
                if number == 0 and (together := self._together(known)) is not None:
                    known[together.name] = together
                    left.insert(1, together)
                if len(left) < 2:
                    break
        except _OutOfBudgetError:
            pass
        return known

    def _steps_read(self, recipe: Recipe) -> int:
        return self.kind.steps_read(self.data, with_values(self.options, recipe.values))

    def _train(
        self, rolling: RollingValidation, recipe: Recipe, place: tuple[int, int, int], context: int
    ) -> None:
        """Train and score a recipe in a fold.

        Args:
            rolling: the folds.
            recipe: the recipe.
            place: number of the round, the fold, and the steps.
            context: steps that one of the recipes reads at most.

        Raises:
            _OutOfBudgetError: if not enough is left.
        """
        number, fold, steps = place
        cost = self._costs.get(recipe.name, max(self._costs.values(), default=0.0))
        if self.meter.spent() + cost * steps > self.meter.limit:
            raise _OutOfBudgetError
        spent, began = self.meter.spent(), time.perf_counter()
        score, error = None, ""
        try:
            score = rolling.score(fold, self._model(rolling, recipe, fold, steps), context)
        except GatewrightError as failure:
            error = str(failure)
        self._costs[recipe.name] = (self.meter.spent() - spent) / steps
        seconds = round(time.perf_counter() - began, 3)
        values = dict(recipe.values)
        self.trials.append(Trial(recipe.name, values, number, fold, steps, score, seconds, error))
        self.say(f"{recipe.name}: {error or f'{score:.4f}'}, fold {fold + 1} of {rolling.folds}, {steps:,} steps")

    def _model(self, rolling: RollingValidation, recipe: Recipe, fold: int, steps: int) -> Model:
        options = with_values(self.options, recipe.values)
        # A rise to the full learning rate that is longer than the training would leave little to compare.
        warmup = min(self.kind.resolve(options).training.warmup or 0, steps // 4)
        options = Options(training=TrainingOptions(steps=steps, warmup=warmup)).over(options)
        listeners = (*self.meter.listeners(), _Stop(self.meter))
        with tempfile.TemporaryDirectory(prefix="gatewright-") as folder:
            run, progress = launch.train(
                rolling.source(fold), rolling.options(self.kind.resolve(options)), run=Path(folder, "run"),
                kind=self.kind.name, callbacks=listeners, temporary=True,
            )  # fmt: skip
            if not progress.finished:
                raise KeyboardInterrupt
            return run.best_model()

    def _next(self, recipes: Sequence[Recipe], number: int) -> list[Recipe]:
        """Return the recipes of the next round: the default, then the better half, the best first."""
        scores = scores_of(self.trials)[number]
        default, *others = recipes
        ranked = sorted((each for each in others if each.name in scores), key=lambda each: scores[each.name])
        return [default, *ranked[: max(1, round(KEPT * len(recipes)) - 1)]]

    def _together(self, known: dict[str, Recipe]) -> Recipe | None:
        """Return the recipe of all changes that were better than the default, if there are several options."""
        scores = scores_of(self.trials)[0]
        default = scores.get(next(iter(known)), float("inf"))
        values: dict[str, Any] = {}
        for name in sorted(scores, key=lambda each: -scores[each]):
            if scores[name] < default:
                values.update(known[name].values)
        if len(values) < 2:
            return None
        recipe = Recipe(TOGETHER, values)
        return recipe if self._steps_read(recipe) else None


def scores_of(trials: Sequence[Trial]) -> list[dict[str, float]]:
    """Return the mean score of each recipe, round by round.

    In a round that was cut, only the folds count in which as many recipes were trained as in any.
    """
    rounds = []
    for _, own in groupby(trials, key=lambda trial: trial.round):
        of_round = list(own)
        counts = Counter(trial.fold for trial in of_round if not trial.error)
        folds = {fold for fold, count in counts.items() if count == max(counts.values())}
        scores: dict[str, list[float]] = {}
        for trial in of_round:
            if trial.score is not None and trial.fold in folds:
                scores.setdefault(trial.recipe, []).append(trial.score)
        rounds.append({name: float(np.mean(each)) for name, each in scores.items() if len(each) == len(folds)})
    return rounds


def _scored(trials: Sequence[Trial], recipe: str, fold: int) -> bool:
    return any((trial.recipe, trial.fold) == (recipe, fold) and trial.score is not None for trial in trials)


def choose(
    kind: Kind[Any], source: Any, options: Options, meter: Meter, say: Callable[[str], None] = lambda _: None
) -> Choice:
    """Choose a recipe by rolling validation, within a budget; the test part is never scored.

    Every recipe is trained for an eighth of the steps and scored in the last fold of the validation part.  The
    better half goes on with twice the steps and one fold more, and so on, up to all steps; so does the default,
    which is chosen unless another one is better by `MARGIN`.
    After the first round, the changes that were better than the default are also tried together.

    Args:
        kind: the kind of model.
        source: what it learns from.
        options: as the user set them; recipes of other values of these are left out.
        meter: what may be spent.
        say: is given lines for a person.

    Raises:
        GatewrightError: if the kind has no recipes, no training can be scored, or the options or the source cannot
            be used.
        KeyboardInterrupt: at Ctrl-C.
    """
    launch.require_one_process("--auto", "a single process")
    data = kind.read(source, kind.resolve(options).data)
    recipes = kind.recipes(data, options)
    if not recipes:
        raise GatewrightError(
            "--auto", "a kind of model with recipes, such as a forecaster", f"a {kind.name} model"
        )
    rounds = _Rounds(kind, data, options, meter, say)
    known = rounds.run(recipes)
    name, why = _best(rounds.trials, recipes[0].name)
    chosen = known[name]
    return Choice(chosen, with_values(options, chosen.values), rounds.trials, why)


def _best(trials: Sequence[Trial], default: str) -> tuple[str, str]:
    """Return the best recipe of the last round that compared some, and why.

    Raises:
        GatewrightError: if no training of the default could be scored.
    """
    rounds = scores_of(trials)
    compared = [number for number, scores in enumerate(rounds) if len(scores) > 1]
    errors = [trial.error for trial in trials if trial.recipe == default and trial.error]
    if errors:
        raise GatewrightError("--auto", "rows that recipes can be scored on", errors[0])
    if not compared:
        return default, "no time to compare recipes: the default"
    scores = rounds[compared[-1]]
    best = min(scores, key=lambda name: scores[name])
    own = [trial for trial in trials if trial.round == compared[-1]]
    count = len({trial.fold for trial in own if all(_scored(own, name, trial.fold) for name in scores)})
    folds = f"{count} folds" if count > 1 else "one fold"
    over = f"after {own[0].steps:,} steps, over {folds}"
    others = f"the best of {len(scores)} recipes {over}"
    if best == default:
        return best, f"{others}: {scores[best]:.4f}"
    if scores[best] > (1 - MARGIN) * scores[default]:
        return (
            default,
            f"no recipe is better by {MARGIN:.0%} {over}: {scores[default]:.4f}, {best} {scores[best]:.4f}",
        )
    return best, f"{others}: {scores[best]:.4f}, the default {scores[default]:.4f}"
