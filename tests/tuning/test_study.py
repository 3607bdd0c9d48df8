"""Studies: scores next to runs trained by themselves, Optuna's own reading, searches that were cut."""

from __future__ import annotations

import json
import os
import signal
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gatewright.errors import GatewrightError, RunError
from gatewright.runs.run import Run
from gatewright.tasks.options import DataOptions, ModelOptions, Options, TrainingOptions
from gatewright.tasks.search_space import space_of, with_values
from gatewright.train import launch
from gatewright.tuning import results
from gatewright.tuning.search import Job, Limits, search
from gatewright.tuning.study import KILLS, Study, quiet_optuna
from tests.support.lazy import LazyModule
from tests.support.training_runs import write_table

if TYPE_CHECKING:
    import optuna
else:
    optuna = LazyModule("optuna")

pytestmark = pytest.mark.slow

OPTIONS = Options(
    DataOptions(target=("load",), known=("wind",), context=12, horizon=2, season=("none",), valid="40", test="40",
                transform=("none",), scale="global"),
    ModelOptions(dropout=0.1),
    TrainingOptions(steps=8, batch=4, validate_every=2, checkpoint_every=100, seed=3, warmup=1, device="cpu"),
)  # fmt: skip
SEARCH = ["hidden=2:8:log", "lr=1e-4:1e-1:log", "reads=change,level"]
TRIALS = 7


def job_of(source: Path, entries=SEARCH, options=OPTIONS) -> Job:
    return Job.of(source, "", options, space_of(entries))


@contextmanager
def opened(path: Path, job: Job):
    with quiet_optuna():
        study = Study.begin(path, job.plan())
        try:
            yield study
        finally:
            study.close()


def searched(path: Path, job: Job, limits: Limits, say=lambda _: None):
    """Go on with a study; whether it came to its end, and its trials."""
    with opened(path, job) as study:
        return search(study, job, limits, say), results.results(study)


def outcomes(found, states=("finished", "pruned")):
    """What was tried and what came of it, apart from the numbers of the trials and their time."""
    return [
        (each.state, each.score, each.best_step, each.steps, each.options)
        for each in found
        if each.state in states
    ]


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> Path:
    return write_table(tmp_path_factory.mktemp("tables") / "load.csv", rows=260)


@pytest.fixture(scope="module")
def whole(table, tmp_path_factory):
    """A study of all its trials in one go: its directory and its trials."""
    path = tmp_path_factory.mktemp("studies") / "whole"
    ended, found = searched(path, job_of(table), Limits(TRIALS))
    assert ended
    return path, found


def test_scores_are_those_of_runs_trained_by_themselves(whole, table, tmp_path):
    path, found = whole
    assert {"finished", "pruned"} == {each.state for each in found}
    pruned = [each for each in found if each.state == "pruned"]
    for trial in [found[0], results.ranked(found)[0], pruned[0]]:
        assert 2 <= trial.options["hidden"] <= 8
        assert 1e-4 <= trial.options["lr"] <= 1e-1
        alone, progress = launch.train(
            table, with_values(job_of(table).options, trial.options), run=tmp_path / f"{trial.number}"
        )
        own = Run.open(path / "trials" / f"{trial.number:04d}")
        assert own.config.read_bytes() == alone.config.read_bytes()
        scores, expected = own.validations(), alone.validations()
        assert scores == expected[: len(scores)]
        assert trial.score == min(score for _, score in scores)
        if trial.state == "finished":
            assert (trial.score, trial.best_step, trial.steps) == (progress.best, progress.best_step, 8)
            assert own.model.read_bytes() == alone.model.read_bytes()
        else:
            assert trial.steps == scores[-1][0] < 8


def test_optuna_reads_the_study(whole):
    path, found = whole
    study = optuna.load_study(study_name=None, storage=f"sqlite:///{path / 'study.db'}")
    try:
        assert [trial.params for trial in study.trials] == [each.options for each in found]
        finished = [trial for trial in study.trials if trial.state == optuna.trial.TrialState.COMPLETE]
        assert [trial.value for trial in finished] == [each.score for each in found if each.state == "finished"]
        assert study.best_trial.number == results.ranked(found)[0].number
        for trial, each in zip(study.trials, found, strict=True):
            run = Run.open(path / "trials" / f"{each.number:04d}")
            assert list(trial.intermediate_values.items()) == run.validations()
            # Pruned are those whose best score so far is above the median of finished trials before, at that step.
            if each.state == "pruned":
                step = max(trial.intermediate_values)
                others = [
                    other.intermediate_values[step]
                    for other in finished
                    if step in other.intermediate_values and other.number < each.number
                ]
                assert sorted(others)[len(others) // 2] <= min(trial.intermediate_values.values())
    finally:
        study._storage._backend.engine.dispose()


def test_a_study_that_was_stopped_goes_on_as_if_it_never_had_been(whole, table, tmp_path):
    _, found = whole
    job = job_of(table)
    assert len(searched(tmp_path / "s", job, Limits(3))[1]) == 3
    ended, again = searched(tmp_path / "s", job, Limits(5))
    assert ended
    assert outcomes(again) == outcomes(found)[:5]
    assert searched(tmp_path / "s", job, Limits(5))[1] == again  # nothing is left to do


def test_ctrl_c_in_a_training_keeps_the_study(whole, table, tmp_path, monkeypatch):
    _, found = whole
    job, plain = job_of(table), launch.train

    def train(*arguments, **more):
        if more["run"].name == "0001":
            more["callbacks"][0].validated = lambda *_: os.kill(os.getpid(), signal.SIGINT)
        return plain(*arguments, **more)

    with monkeypatch.context() as patch:
        patch.setattr(launch, "train", train)
        ended, cut = searched(tmp_path / "s", job, Limits(TRIALS))
    assert not ended
    assert [each.state for each in cut] == ["finished", "cut", "waiting"]
    assert cut[2].options == cut[1].options
    ended, again = searched(tmp_path / "s", job, Limits(2))
    assert ended
    assert [each.state for each in again] == ["finished", "cut", "finished"]
    assert outcomes(again) == outcomes(found)[:2]


def die(path: Path, job: Job) -> None:
    """Begin a trial as a process does that is killed."""
    with opened(path, job) as study, study.working():
        assert study.next_trial(None) is not None


def test_a_trial_whose_process_was_killed_is_tried_again_a_few_times(table, tmp_path):
    job = job_of(table)
    for number in range(KILLS):
        die(tmp_path / "s", job)
        with opened(tmp_path / "s", job) as study:
            states = [each.state for each in results.results(study)]
            assert states == ["cut"] * number + ["running"]
    found = searched(tmp_path / "s", job, Limits(1))[1]
    assert [each.state for each in found] == ["cut"] * (KILLS - 1) + ["failed"]
    assert found[KILLS - 1].error == "the process was killed 3 times"
    assert len({json.dumps(each.options) for each in found[:KILLS]}) == 1
    assert not list((tmp_path / "s" / "workers").iterdir())


def test_a_living_worker_keeps_its_trial(table, tmp_path):
    job = job_of(table)
    with opened(tmp_path / "s", job) as study, study.working():
        trial = study.next_trial(None)
        ended, found = searched(tmp_path / "s", job, Limits(2))
        assert ended
        assert [each.state for each in found] == ["running", "finished"]
        study.cut(trial)
        assert [each.state for each in results.results(study)] == ["cut", "finished", "waiting"]


def test_a_trial_that_cannot_be_trained_fails_alone(table, tmp_path):
    open_context = replace(OPTIONS, data=replace(OPTIONS.data, context=None))
    job = job_of(table, ["context=12,400", "hidden=2,3,4"], open_context)
    found = searched(tmp_path / "s", job, Limits(4))[1]
    assert {each.state for each in found if each.options["context"] == 12} <= {"finished", "pruned"}
    failed = [each for each in found if each.options["context"] == 400]
    assert {each.state for each in failed} == {"failed"}
    assert "context" in failed[0].error
    only = job_of(table, ["context=400,401"], open_context)
    ended, found = searched(tmp_path / "t", only, Limits(1))
    assert ended
    with (
        opened(tmp_path / "t", only) as study,
        pytest.raises(RunError, match="a trial that has finished, got none; "),
    ):
        results.best_trial(study)


def test_the_test_part_decides_nothing(whole, table, tmp_path):
    _, found = whole
    lines = table.read_text().splitlines()
    time = lines[-1].split(",")[0]
    changed = [*lines[:-40], *(",".join([line.split(",")[0], "1e4", "7"]) for line in lines[-40:])]
    assert changed[-1].startswith(time)
    other = tmp_path / "other.csv"
    other.write_text("\n".join(changed) + "\n")
    again = searched(tmp_path / "s", job_of(other), Limits(1))[1]
    assert outcomes(again) == outcomes(found)[:1]


def test_a_directory_of_another_study_is_refused(whole, table, tmp_path):
    path, _ = whole
    training = replace(OPTIONS.training, batch=5)
    for job, difference in (
        (job_of(table, ["hidden=2:9"]), "--search hidden=2:8:log lr="),
        (job_of(table, options=replace(OPTIONS, training=training)), "a study with --batch 4$"),
        (job_of(table, options=replace(OPTIONS, training=replace(OPTIONS.training, clip=2.0))), "with no --clip$"),
        (job_of(write_table(tmp_path / "o.csv", rows=250)), "the source .*load.csv with other content$"),
    ):
        with pytest.raises(RunError, match=difference):
            Study.begin(path, job.plan())
    with pytest.raises(
        RunError, match=r"--study: expected a new directory, or one of a study, got .* holds a run"
    ):
        Study.begin(path / "trials" / "0000", job_of(table).plan())
    with pytest.raises(RunError, match=r"s: a directory in its path is a file"):
        Study.begin(table / "s", job_of(table).plan())
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "study.json").write_text("{")
    with pytest.raises(RunError, match=r"study.json: expected the plan of a study, got a damaged file"):
        Study.open(tmp_path / "d")
    (tmp_path / "d" / "study.json").write_text((path / "study.json").read_text())
    (tmp_path / "d" / "study.db").write_text("no database" * 100)
    with pytest.raises(RunError, match=r"study.db: expected the storage of a study, got"):
        Study.open(tmp_path / "d")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"trials": 0}, "--trials: expected a whole number of at least 1, got 0"),
        ({"trials": True}, "--trials: expected a whole number"),
        ({"trials": 2.5}, "--trials: expected a whole number"),
        ({"seconds": 0.0}, "--seconds: expected a number above 0"),
        ({"seconds": float("nan")}, "--seconds: expected a number above 0"),
    ],
)
def test_limits_that_are_none_are_refused(arguments, message):
    with pytest.raises(GatewrightError, match=message):
        Limits(**arguments)


def test_no_trial_begins_after_the_time(table, tmp_path):
    ended, found = searched(tmp_path / "s", job_of(table), Limits(seconds=1e-9))
    assert (ended, found) == (True, [])
