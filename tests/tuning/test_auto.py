"""The choice of a recipe: folds and scores by loops, rounds within a budget of steps, the run that follows."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import gatewright as gw
from gatewright import cli
from gatewright.data.target_units import Transform
from gatewright.errors import DataError, GatewrightError
from gatewright.estimators import recipe
from gatewright.runs.run import Run, digest
from gatewright.tasks import registry
from gatewright.tasks.forecast import recipes as of_forecasters
from gatewright.tasks.forecast.rolling import Rolling
from gatewright.tasks.options import DataOptions, ModelOptions, Options, TrainingOptions
from gatewright.tasks.recipes import Recipe
from gatewright.tasks.search_space import with_values
from gatewright.train import launch
from gatewright.train.callback import Callback
from gatewright.tuning import auto
from gatewright.tuning.auto import MARGIN, TOGETHER, Seconds, choose, scores_of
from tests.estimators.test_backtest import panel

KIND = registry.kind("forecast")
OPTIONS = Options(
    DataOptions(
        target=("load",), time="ts", id=("site",), horizon=2, context=12, season=("6",), valid="31", test="20",
        transform=("none",), scale="global",
    ),
    ModelOptions(hidden=3),
    TrainingOptions(steps=8, batch=4, lr=0.02, validate_every=2, warmup=1, device="cpu"),
)  # fmt: skip
RECIPES = (
    Recipe("default"),
    Recipe("both", {"reads": "both"}),
    Recipe("level", {"reads": "level"}),
    Recipe("none", {"dropout": 0.0}),
)
LENGTHS = (140, 110)


class Steps(Callback):
    """A meter of steps of trainings in place of seconds."""

    def __init__(self, limit: float) -> None:
        self.limit, self.taken = limit, 0

    def step(self, *_):
        self.taken += 1

    def spent(self):
        return float(self.taken)

    def listeners(self):
        return (self,)


@pytest.fixture(autouse=True)
def few(monkeypatch):
    monkeypatch.setattr(of_forecasters, "every", lambda _: RECIPES)


@pytest.fixture(scope="module")
def table() -> pl.DataFrame:
    return panel(LENGTHS)


def read(table, options=OPTIONS):
    return KIND.read(KIND.source_of(table), KIND.resolve(options).data)


def test_folds_tile_the_validation_part_and_come_after_what_is_learned_from(table):
    data = read(table)
    rolling = Rolling.of(data)
    assert rolling.bounds == (((89, 99), (59, 69)), ((99, 109), (69, 79)), ((109, 120), (79, 90)))
    for fold, bounds in enumerate(rolling.bounds):
        for series, whole, (first, _) in zip(rolling.source(fold).series, data.table.series, bounds, strict=True):
            np.testing.assert_array_equal(series.values, whole.values[:first])
    assert float(rolling.share) == pytest.approx(31 / 120, abs=1e-4)
    short = Rolling.of(
        read(table, replace(OPTIONS, data=replace(OPTIONS.data, horizon=12, context=24, valid="25")))
    )
    assert short.folds == 2


def test_a_score_is_the_scaled_quantile_loss_of_the_windows_of_the_fold(table, tmp_path):
    data = read(table)
    rolling = Rolling.of(data)
    options = replace(OPTIONS, training=replace(OPTIONS.training, steps=4))
    run, _ = launch.train(
        rolling.source(1), rolling.options(KIND.resolve(options)), run=tmp_path / "r", kind="forecast"
    )
    trained = gw.load(run.path)
    losses = []
    for site, (first, end) in zip(("s0", "s1"), rolling.bounds[1], strict=True):
        rows = table.filter(pl.col("site") == site)
        values = rows["load"].to_numpy()
        own = []
        for origin in range(first - 1, end - 2):
            ahead = trained.predict(rows[: origin + 1])
            for step in (1, 2):
                row, truth = ahead.row(step - 1, named=True), values[origin + step]
                own += [
                    max(p * (truth - row[f"load_q{p}"]), (p - 1) * (truth - row[f"load_q{p}"]))
                    for p in (0.1, 0.5, 0.9)
                ]
        losses.append(np.mean(own) / np.abs(values[6:first] - values[: first - 6]).mean())
    assert rolling.score(1, run.best_model(), 0) == pytest.approx(np.mean(losses), rel=1e-4)
    # Windows of a longer context are the same here: there are enough rows before the fold.
    assert rolling.score(1, run.best_model(), 40) == pytest.approx(np.mean(losses), rel=1e-4)
    with pytest.raises(DataError, match="--valid: expected a validation part with windows"):
        rolling.score(1, run.best_model(), 400)


@pytest.fixture(scope="module")
def chosen(table):
    """A choice with all the steps that it can take."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(of_forecasters, "every", lambda _: RECIPES)
        meter, lines = Steps(1e9), []
        return choose(KIND, KIND.source_of(table), OPTIONS, meter, lines.append), meter, lines


@pytest.mark.slow
def test_rounds_take_more_steps_and_folds_of_fewer_recipes(chosen):
    choice, meter, lines = chosen
    assert len(lines) == len(choice.trials)
    assert meter.taken == sum(trial.steps for trial in choice.trials)
    by_round = {}
    for trial in choice.trials:
        by_round.setdefault((trial.round, trial.steps), {}).setdefault(trial.recipe, []).append(trial.fold)
    assert [*by_round] == [(0, 1), (1, 2), (2, 4), (3, 8)][: len(by_round)]
    rounds = list(by_round.values())
    assert rounds[0] == {recipe.name: [2] for recipe in RECIPES}
    scores = scores_of(choice.trials)
    assert all(folds == [2, 1] for folds in rounds[1].values())
    assert all(folds == [2, 1, 0] for later in rounds[2:] for folds in later.values())
    better = sorted((name for name in scores[0] if name != "default"), key=scores[0].get)
    expected = ["default", better[0]]
    wins = [name for name in better if scores[0][name] < scores[0]["default"]]
    changed = {name for recipe in RECIPES if recipe.name in wins for name in recipe.values}
    if len(changed) > 1:
        expected.insert(1, TOGETHER)
    assert list(rounds[1]) == expected
    last = scores[-1]
    best = min(last, key=last.get)
    assert choice.recipe.name == (best if last[best] <= (1 - MARGIN) * last["default"] else "default")
    assert f"{last['default']:.4f}" in choice.why or f"{last[best]:.4f}" in choice.why


@pytest.mark.slow
def test_a_trial_is_a_training_of_its_own(chosen, table, tmp_path):
    """The last trial of the default: its score is that of a model trained by hand."""
    choice, _, _ = chosen
    [trial] = [t for t in choice.trials if (t.recipe, t.round, t.fold) == ("default", 0, 2)]
    rolling = Rolling.of(read(table))
    own = replace(OPTIONS, training=replace(OPTIONS.training, steps=trial.steps, warmup=0))
    run, _ = launch.train(
        rolling.source(2), rolling.options(KIND.resolve(own)), run=tmp_path / "r", kind="forecast"
    )
    assert rolling.score(2, run.best_model(), 0) == trial.score


@pytest.mark.slow
def test_a_budget_bounds_the_steps_and_the_order_stays(chosen, table):
    whole, _, _ = chosen
    for limit, count in ((0.5, 0), (3, 3)):
        meter = Steps(limit)
        choice = choose(KIND, KIND.source_of(table), OPTIONS, meter)
        assert meter.taken <= limit + 1
        drop = {"seconds": 0.0}
        assert [replace(t, **drop) for t in choice.trials] == [replace(t, **drop) for t in whole.trials[:count]]
    choice = choose(KIND, KIND.source_of(table), OPTIONS, Steps(1))
    assert (choice.recipe.name, choice.why) == ("default", "no time to compare recipes: the default")


@pytest.mark.slow
def test_the_test_part_decides_nothing(chosen, table):
    whole, _, _ = chosen
    late = pl.int_range(pl.len()).over("site") >= pl.len().over("site") - 20
    other = table.with_columns(load=pl.when(late).then(1e4 * pl.col("load")).otherwise("load"))
    choice = choose(KIND, KIND.source_of(other), OPTIONS, Steps(2))
    assert [trial.score for trial in choice.trials] == [trial.score for trial in whole.trials[:2]]


def test_what_is_set_is_in_no_recipe(table):
    fixed = replace(OPTIONS, data=replace(OPTIONS.data, reads="change"))
    assert [recipe.name for recipe in KIND.recipes(read(table), fixed)] == ["default", "none"]


def test_recipes_that_a_table_does_not_allow_are_left_out(monkeypatch):
    monkeypatch.undo()
    left_open = replace(OPTIONS.data, context=None, season=None, transform=None, scale=None)
    free = replace(OPTIONS, data=left_open, model=ModelOptions())
    data = read(panel((200, 170)), free)
    assert (data.sizes.read, data.sizes.seasons) == (96, (24,))
    every = [recipe.name for recipe in of_forecasters.every(96)]
    assert [recipe.name for recipe in KIND.recipes(data, free)] == [
        name for name in every if name not in ("twice the context", "no transform")
    ]
    transformed = replace(data, units=replace(data.units, transforms=(Transform("log1p"),)))
    assert "no transform" in [recipe.name for recipe in KIND.recipes(transformed, free)]
    # Where there is no season, there is none to leave out.
    without = replace(free, data=replace(free.data, season=("none",)))
    assert "no seasonal differences" not in [recipe.name for recipe in KIND.recipes(data, without)]


@pytest.fixture
def asked(chosen, monkeypatch):
    """The choice without its trainings: the arguments of each, and what it answers."""
    choice, _, _ = chosen
    answer = replace(choice, recipe=RECIPES[1], options=with_values(OPTIONS, RECIPES[1].values))
    calls = []

    def choose_by_hand(kind, source, options, meter, say):
        calls.append((kind.name, digest(source), options, meter.limit))
        return answer

    for module in (auto, recipe):
        monkeypatch.setattr(module, "choose", choose_by_hand)
    return calls, answer


@pytest.mark.slow
def test_fit_trains_the_recipe_that_it_chose(asked, table, tmp_path):
    calls, choice = asked
    sizes = {"horizon": 2, "context": 12, "season": 6, "valid": 31, "test": 20, "hidden": 3}
    sizes |= {"steps": 8, "batch": 4, "lr": 0.02, "validate_every": 2, "warmup": 1, "device": "cpu"}
    sizes |= {"transform": "none", "scale": "global"}
    columns = {"target": "load", "time": "ts", "id": "site"}
    model = gw.Forecaster(**sizes).fit(table, auto=7, run_dir=tmp_path / "r", **columns)
    assert calls == [("forecast", digest(KIND.source_of(table)), OPTIONS, 7.0)]
    assert model.recipe_ == {"reads": "both"}
    assert model.recipes_["score"].to_list() == [trial.score for trial in choice.trials]
    assert model.get_params() == gw.Forecaster(**sizes).get_params()
    alone = gw.Forecaster(**sizes, reads="both").fit(table, **columns)
    assert (alone.recipe_, alone.recipes_) == (None, None)
    assert model.predict(table).equals(alone.predict(table))
    written = json.loads((tmp_path / "r" / "recipes.json").read_text())
    assert (written["chosen"], written["options"], written["why"]) == ("both", {"reads": "both"}, choice.why)
    assert [trial["score"] for trial in written["trials"]] == model.recipes_["score"].to_list()
    for arguments, message in (
        ({"auto": 0}, "auto: expected a number of seconds above 0, got 0"),
        ({"auto": "5"}, "auto: expected a number of seconds above 0, got '5'"),
        ({"auto": 5, "init": model}, "auto: expected no resume and no init with it, got init"),
        ({"auto": 5, "run_dir": tmp_path / "r"}, "run: expected a new directory"),
    ):
        with pytest.raises(GatewrightError, match=message):
            gw.Forecaster(**sizes).fit(table, **columns, **arguments)


@pytest.mark.slow
def test_the_command_shows_its_choice_and_keeps_it(asked, table, tmp_path, capsys, monkeypatch):
    calls, choice = asked
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    table.write_csv("load.csv")
    options = (
        "--target load --time ts --id site --horizon 2 --context 12 --season 6 --valid 31 --test 20 --hidden 3 "
    )
    options += "--steps 8 --batch 4 --lr 0.02 --validate-every 2 --warmup 1 --device cpu "
    options += "--transform none --scale global"
    cli.main(["train", "load.csv", *options.split(), "--auto", "7", "--run", "r"])
    printed, complaints = capsys.readouterr()
    assert complaints == ""
    assert calls == [("forecast", digest(Path("load.csv")), OPTIONS, 7.0)]
    lines = {line.split("  ")[0]: line.split() for line in printed.splitlines()}
    scores = scores_of(choice.trials)
    assert lines["both *"][2:4] == ["--reads", "both"]
    for name in ("default", "level"):
        shown = [float(word) for word in lines[name] if word[0].isdigit()]
        assert shown == pytest.approx([of_round[name] for of_round in scores if name in of_round], rel=1e-2)
    assert json.loads(Path("r/recipes.json").read_text())["chosen"] == "both"
    assert Run.open(Path("r")).options().data.reads == "both"
    with pytest.raises(SystemExit):
        cli.main(["train", "load.csv", *options.split(), "--auto", "5", "--run", "r"])
    assert capsys.readouterr().err.startswith(
        "error: --run: expected a new directory, or --resume to go on, got r"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("no.txt", "--auto", "5"), "error: no.txt: the file does not exist"),
        (
            ("a.txt", "--auto", "5"),
            "error: --auto: expected a kind of model with recipes, such as a forecaster, got ",
        ),
        (("a.txt", "--auto", "0"), "error: --auto: expected a number of seconds above 0, got 0.0"),
        (
            ("a.txt", "--auto", "5", "--init", "m"),
            "usage: --auto: expected no --resume and no --init with it, got ",
        ),
        (
            ("--resume", "--run", "r", "--auto", "5"),
            "usage: --auto: expected no --resume and no --init with it, got ",
        ),
    ],
)
def test_mistakes_are_refused_in_one_sentence(tmp_path, capsys, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    Path("a.txt").write_text("to be or not to be. " * 100)
    with pytest.raises(SystemExit):
        cli.main(["train", *arguments])
    assert capsys.readouterr().err.splitlines()[0].startswith(message)


def test_seconds_pass_by_themselves():
    meter = Seconds(5)
    assert meter.limit == 5.0
    assert 0 <= meter.spent() <= meter.spent()


def test_a_round_that_was_cut_counts_the_folds_that_all_have():
    def trial(recipe, fold, score, number=1):
        return auto.Trial(recipe, {}, number, fold, 2, score, 0.0, "" if score is not None else "an error")

    first = [trial(name, 2, score, 0) for name, score in (("a", 4.0), ("b", 3.0), ("c", 2.0), ("d", None))]
    second = [trial("a", 2, 3.0), trial("c", 2, 1.0), trial("a", 1, 1.0)]
    assert scores_of([*first, *second]) == [{"a": 4.0, "b": 3.0, "c": 2.0}, {"a": 3.0, "c": 1.0}]
    assert scores_of([*first, *second, trial("c", 1, 9.0)])[1] == {"a": 2.0, "c": 5.0}
    assert auto._best([*first, *second], "a") == (
        "c", "the best of 2 recipes after 2 steps, over one fold: 1.0000, the default 3.0000"
    )  # fmt: skip
    assert auto._best([*first, *second, trial("c", 1, 9.0)], "a")[0] == "a"
    nearly = [trial("a", 2, 1.0, 0), trial("b", 2, 0.995, 0)]
    assert auto._best(nearly, "a") == (
        "a", "no recipe is better by 1% after 2 steps, over one fold: 1.0000, b 0.9950"
    )  # fmt: skip
    with pytest.raises(GatewrightError, match="--auto: expected rows that recipes can be scored on, got an error"):
        auto._best([trial("a", 2, None, 0)], "a")
