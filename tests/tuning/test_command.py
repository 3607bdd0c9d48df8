"""The command `tune`: what it prints and writes, several processes on one study, and what it refuses."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import polars as pl
import pytest

import gatewright as gw
from gatewright import cli
from gatewright.data import sources
from gatewright.data.kept_sources import sources_kept
from gatewright.data.readers import read_frame
from gatewright.data.text import read_text
from gatewright.evaluation.report import evaluate_run
from gatewright.runs.run import Run
from gatewright.tasks.options import Options
from gatewright.tasks.search_space import space_of
from gatewright.tuning import results, workers
from gatewright.tuning.search import Job
from gatewright.tuning.study import Study, quiet_optuna
from tests.support.training_runs import PROCESSES, command_in_process, write_table, write_text

OPTIONS = [
    *("--target", "load", "--known", "wind", "--context", "12", "--horizon", "2", "--season", "none"),
    *("--transform", "none", "--scale", "global"),
    *("--valid", "40", "--test", "40", "--steps", "6", "--batch", "4", "--validate-every", "2", "--warmup", "1"),
    *("--device", "cpu", "--search", "hidden=2:8:log", "lr=1e-4:1e-1:log"),
]


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> Path:
    return write_table(tmp_path_factory.mktemp("tables") / "load.csv", rows=260)


def rows_of(study: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((study / "trials.csv").read_text().splitlines()))


def check(study: Path, trials: int) -> None:
    """The scores of a study are those of its runs; no trial is there twice."""
    rows = rows_of(study)
    assert [row["trial"] for row in rows] == [str(number) for number in range(trials)]
    for row in rows:
        run = Run.open(study / "trials" / f"{int(row['trial']):04d}")
        assert row["state"] in ("finished", "pruned")
        assert float(row["score"]) == min(score for _, score in run.validations())
        assert (run.options().model.hidden, run.options().training.lr) == (int(row["hidden"]), float(row["lr"]))


@pytest.mark.slow
def test_the_best_trial_is_a_run_like_any_other(table, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    reads = []
    monkeypatch.setattr(sources, "read_frame", lambda *given: reads.append(given) or read_frame(*given))
    cli.main(["tune", str(table), *OPTIONS, "--trials", "2"])
    assert len(reads) == 1  # of both trials
    printed, complaints = capsys.readouterr()
    assert complaints == ""
    study = Path("studies/load")
    check(study, 2)
    best = min(rows_of(study), key=lambda row: float(row["score"]))
    run = study / "trials" / f"{int(best['trial']):04d}"
    assert printed.endswith(f"best: trial {best['trial']}\nnext: gatewright evaluate {run}\n")
    shown = printed[printed.index("2 trials") :]
    first = next(line.split() for line in shown.splitlines() if "finished" in line)
    assert (first[0], float(first[2])) == (best["trial"], pytest.approx(float(best["score"]), rel=1e-3))
    cli.main(["tune", "--show", str(study)])
    assert capsys.readouterr().out == shown
    assert evaluate_run(run)[1]["targets"]["load"]["model"]["overall"]["mae"] > 0
    frame = pl.read_csv(table, try_parse_dates=True)
    frame = frame.with_columns(load=pl.when(pl.int_range(pl.len()) < 255).then("load"))
    assert len(gw.load(run).predict(frame)) == 2
    assert gw.load(run).look(frame, steps=20).layers[0].forget_gate.shape[0] == 20


@pytest.mark.slow
def test_two_processes_work_on_one_study_at_once(table, tmp_path):
    arguments = ["tune", table, *OPTIONS, "--trials", "6", "--study", tmp_path / "s"]
    outputs = [tmp_path / "one", tmp_path / "two"]
    processes = [command_in_process(arguments, output) for output in outputs]
    for process in processes:
        process.join()
    texts = [output.read_text() for output in outputs]
    assert [process.exitcode for process in processes] == [0, 0], texts
    begun = [int(number) for text in texts for number in re.findall(r"^trial (\d+): hidden", text, re.MULTILINE)]
    assert sorted(begun) == list(range(6))
    with quiet_optuna():
        study = Study.open(tmp_path / "s")
        results.write_csv(study.path / "trials.csv", results.results(study))  # all have ended
        study.close()
    check(study.path, 6)


@pytest.mark.slow
def test_workers_share_a_study(table, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(workers, "PROCESSES", PROCESSES)
    cli.main(["tune", str(table), *OPTIONS, "--trials", "6", "--study", str(tmp_path / "s"), "--workers", "2"])
    assert capsys.readouterr().err == ""
    check(tmp_path / "s", 6)


@pytest.mark.slow
def test_a_search_that_was_killed_goes_on_to_the_same_trials(table, tmp_path, capsys):
    arguments = ["tune", str(table), *OPTIONS, "--trials", "3", "--study"]
    cli.main([*arguments, str(tmp_path / "whole")])
    process = command_in_process([*arguments, tmp_path / "cut"], tmp_path / "out")
    checkpoint = tmp_path / "cut" / "trials" / "0001" / "checkpoint.safetensors"
    while not checkpoint.exists() and process.is_alive():
        process.join(0.02)
    process.kill()  # in the second trial, or in a later one
    process.join()
    cli.main([*arguments, str(tmp_path / "cut")])
    whole, cut = (
        [(row["score"], row["best_step"], row["hidden"], row["lr"]) for row in rows_of(tmp_path / name)
         if row["state"] != "cut"]
        for name in ("whole", "cut")
    )  # fmt: skip
    assert cut == whole
    assert len(rows_of(tmp_path / "cut")) in (3, 4)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ((), 2, "source: expected a table or a text to learn from, or --show DIR, got neither"),
        (("load.csv", "--show", "s"), 2, "source: expected .*, got both"),
        (("load.csv", "--workers", "0"), 2, "--workers: expected a whole number of at least 1, got 0"),
        (("load.csv", "--trials", "0"), 1, "--trials: expected a whole number of at least 1, got 0"),
        (("load.csv", "--seconds", "-1"), 1, "--seconds: expected a number above 0, got -1.0"),
        (("load.csv", "--search", "hiden=4:8"), 1, "--search: expected an option .*; did you mean 'hidden'?"),
        (
            ("load.csv", "--hidden", "4", "--search", "hidden=4:8"),
            1,
            "--search hidden: expected an option without",
        ),
        (("load.csv", "--hidden", "0", "--search", "lr=1,2"), 1, "--hidden: expected a whole number from 1"),
        (("load.csv", "--horizon", "2"), 1, "a column to forecast|--target|target"),
        (("no.csv",), 1, "no.csv: .* does not exist|no.csv: the file does not exist"),
        (("load.csv", "--study", "a?b", "--target", "load", "--search", "lr=1,2"), 1, "a path without a question"),
        (("--show", "nowhere"), 1, "study: expected a directory that `gatewright tune` made, got nowhere"),
    ],
)
def test_mistakes_are_refused_in_one_sentence(table, tmp_path, capsys, monkeypatch, arguments, code, message):
    monkeypatch.chdir(tmp_path)
    Path("load.csv").write_bytes(table.read_bytes())
    with pytest.raises(SystemExit) as end:
        cli.main(["tune", *arguments])
    assert end.value.code == code
    lines = capsys.readouterr().err.splitlines()
    assert re.search(message, lines[0])
    assert lines[1:] in ([], ["--help after a command shows its options"])


def test_a_launcher_of_several_processes_is_refused(table, capsys, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(SystemExit):
        cli.main(["tune", str(table)])
    assert (
        capsys.readouterr().err
        == "error: tune: expected a single process; --workers starts more, got one of a launcher's\n"
    )


def test_a_study_of_several_texts_has_their_paths(tmp_path):
    paths = [write_text(tmp_path / name, 600) for name in ("a.txt", "b.txt")]
    job = Job.of(paths, "", Options(), space_of(["hidden=4,8"]))
    assert job.plan().source.split("\n") == [str(path) for path in paths]


def test_a_kept_source_is_read_again_when_it_has_changed(tmp_path):
    path = tmp_path / "a.txt"
    with sources_kept():
        for content in ("one", "other"):
            path.write_text(content)
            assert [read_text(path), read_text(path), read_text(path, raw=True)] == [content] * 3
    assert read_text(path) == "other"
