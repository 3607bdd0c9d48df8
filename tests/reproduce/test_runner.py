"""Runs of experiments: kept seeds, files, the page; with an experiment that takes no time."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from gatewright import cli, progress
from gatewright.errors import GatewrightError, RunError
from gatewright.files import lock
from gatewright.reproduce import names, registry, results, runner
from gatewright.reproduce.experiment import Curve, Experiment, Measure, Outcome, Paper
from tests.support.lazy import LazyModule

if TYPE_CHECKING:
    from gatewright.reproduce import page
else:
    page = LazyModule("gatewright.reproduce.page")

DOCS, RESULTS = Path(__file__).parents[2] / "docs", Path(__file__).parents[2] / "benchmarks" / "results"


@dataclass(frozen=True)
class Settings:
    factor: float
    sizes: tuple[int, ...] = (1, 2)


CALLS: list[tuple[float, int]] = []


def train(settings, seed, waits):
    CALLS.append((settings.factor, seed))
    if seed == 9:
        raise GatewrightError("data", "a file", "none")
    figures = {"loss": settings.factor * (seed + 1), "count": None if seed == 2 else 4}
    return Outcome(figures, {"LSTM": Curve([1, 2, 3], [0.5, 0.25, 1 / 3])})


EXPERIMENT = Experiment(
    name="toy",
    title="A toy",
    paper=Paper("Nobody", 1999, "Nothing", "https://example.org"),
    task="None.",
    training="None.",
    stopping="None.",
    measures={
        "loss": Measure("loss", "lower", 2.5, "table 1", digits=2),
        "count": Measure("count", "lower", 5, "table 2"),
    },
    settings=Settings(1.0),
    short=Settings(0.5),
    train=train,
    axes=("x", "y"),
)


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    CALLS.clear()
    # The page first: it is imported here, and takes the experiments of the registry.
    monkeypatch.setattr("gatewright.reproduce.page.EXPERIMENTS", {"toy": EXPERIMENT})
    monkeypatch.setattr(registry, "EXPERIMENTS", {"toy": EXPERIMENT})
    monkeypatch.setattr(names, "NAMES", ("toy",))


def test_finished_seeds_are_kept(tmp_path):
    lines = []
    runner.reproduce(EXPERIMENT, tmp_path, [0, 3])
    with pytest.raises(GatewrightError, match="data"):
        runner.reproduce(EXPERIMENT, tmp_path, [3, 1, 9])  # the last one fails
    found = runner.reproduce(EXPERIMENT, tmp_path, [0, 1], report=lines.append)
    assert [seed for _, seed in CALLS] == [0, 3, 1, 9]
    assert sorted(found.seeds) == [0, 1, 3]
    assert lines == ["seed 0: finished before, kept", "seed 1: finished before, kept"]
    data = json.loads((tmp_path / "toy.json").read_text())
    assert data["settings"] == {"factor": 1.0, "sizes": [1, 2]}
    assert data["summary"]["loss"] == pytest.approx(
        {"mean": 7 / 3, "spread": (7 / 3) ** 0.5, "missed": 0, "seeds": 3}
    )
    assert data["seeds"]["3"]["figures"] == {"loss": 4.0, "count": 4}
    assert data["seeds"]["3"]["curves"] == {"LSTM": {"x": [1, 2, 3], "y": [0.5, 0.25, 0.3333]}}
    assert results.load(tmp_path / "toy.json").seeds[3].figures["loss"] == 4


def test_results_of_other_settings_are_not_mixed(tmp_path):
    runner.reproduce(EXPERIMENT, tmp_path, [0])
    with pytest.raises(RunError, match=r"toy\.json: expected results of toy with the settings of this version"):
        runner.reproduce(replace(EXPERIMENT, settings=Settings(2.0)), tmp_path, [1])
    runner.reproduce(EXPERIMENT, tmp_path, [0], short=True)
    assert CALLS == [(1.0, 0), (0.5, 0)]
    assert {path.name for path in tmp_path.glob("*.json")} == {"toy.json", "toy.short.json"}
    short = results.load(tmp_path / "toy.short.json")
    assert short.short
    assert short.seeds[0].figures["loss"] == 0.5


def test_two_processes_do_not_run_the_same_experiment(tmp_path):
    with lock.held(tmp_path / ".toy.json.lock"), pytest.raises(RunError, match="no other process"):
        runner.reproduce(EXPERIMENT, tmp_path, [0])
    assert CALLS == []


@pytest.mark.parametrize("seeds", [[], [1, 1], [-1]])
def test_seeds_that_make_no_sense_are_refused(tmp_path, seeds):
    with pytest.raises(GatewrightError, match="--seeds"):
        runner.reproduce(EXPERIMENT, tmp_path, seeds)
    assert CALLS == []


@pytest.mark.parametrize(
    "content", ["", "{}", "[]", '{"gatewright_results": 2}', '{"gatewright_results": 1, "seeds": 3}']
)
def test_a_damaged_file_is_named(tmp_path, content):
    (tmp_path / "toy.json").write_text(content)
    with pytest.raises(RunError, match=r"toy\.json"):
        runner.reproduce(EXPERIMENT, tmp_path, [0])
    assert CALLS == []


def test_the_page_has_every_figure_and_what_falls_short(tmp_path):
    runner.reproduce(EXPERIMENT, tmp_path, [0, 1, 2])
    written = page.write(tmp_path, tmp_path / "docs")
    text = (tmp_path / "docs" / "results.md").read_text()
    assert "| [toy](#toy) | loss | 2.50 | ≤ 2.50 | 2.00 ± 1.00 | 3 | yes |" in text
    assert "| [toy](#toy) | count | 5 | ≤ 5 | not reached by 1 of 3 | 3 | **no** |" in text
    assert "- [toy](#toy): count: not reached by 1 of 3, to reach 5." in text
    assert "| loss | 2.50 (table 1) | 2.00 ± 1.00 | 1.00 | 2.00 | 3.00 |" in text
    picture = (tmp_path / "docs" / "images" / "results" / "toy.svg").read_bytes()
    assert picture.startswith(b"<?xml")
    page.write(tmp_path, tmp_path / "again")
    assert (tmp_path / "again" / "images" / "results" / "toy.svg").read_bytes() == picture
    assert [path.name for path in written] == ["results.md", "toy.svg"]


def test_a_page_of_nothing_is_refused(tmp_path):
    with pytest.raises(RunError, match="expected JSON files of `gatewright reproduce`, got none"):
        page.write(tmp_path, tmp_path / "docs")
    assert not (tmp_path / "docs").exists()


def test_an_experiment_without_results_is_named(tmp_path, monkeypatch):
    runner.reproduce(EXPERIMENT, tmp_path, [0])
    runner.reproduce(replace(EXPERIMENT, name="ucr-Toy"), tmp_path, [0])
    other = replace(EXPERIMENT, name="other")
    monkeypatch.setattr(
        "gatewright.reproduce.page.EXPERIMENTS", {"ucr-Toy": replace(EXPERIMENT, name="ucr-Toy"), "other": other}
    )
    page.write(tmp_path, tmp_path / "docs")
    text = (tmp_path / "docs" / "results.md").read_text()
    assert "- Not measured yet: `other`." in text
    assert "| [ucr-Toy](#ucr-toy) | loss |" in text  # the anchor of a heading is in lower case


def test_the_commands(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    cli.main(["reproduce", "toy", "--seeds", "0", "1", "--out", str(tmp_path)])
    out = capsys.readouterr().out
    assert "seed 1: loss 2.00, " in out
    assert "1.50 ± 0.71" in out
    cli.main(["reproduce", "list"])
    assert "Nobody 1999" in capsys.readouterr().out
    cli.main(["reproduce", "page", str(tmp_path), "--docs", str(tmp_path / "docs")])
    assert f"wrote {tmp_path / 'docs' / 'results.md'}" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        cli.main(["reproduce", "tou"])
    assert capsys.readouterr().err == (
        "error: NAME: expected an experiment of `gatewright reproduce list`, got 'tou'; did you mean 'toy'?\n"
    )


def test_an_interrupted_command_says_how_to_go_on(tmp_path, capsys, monkeypatch):
    def stop(settings, seed, waits):
        if seed == 1:
            raise KeyboardInterrupt
        return train(settings, seed, waits)

    monkeypatch.setattr(registry, "EXPERIMENTS", {"toy": replace(EXPERIMENT, train=stop)})
    with pytest.raises(SystemExit) as end:
        cli.main(["reproduce", "toy", "--out", str(tmp_path)])
    assert end.value.code == 130
    assert capsys.readouterr().err.endswith(
        "interrupted: the same command again goes on with the seeds that are missing\n"
    )
    assert list(results.load(tmp_path / "toy.json").seeds) == [0]


def test_every_command_has_an_example(capsys):
    for command in (["reproduce"], ["reproduce", "list"], ["reproduce", "page"]):
        cli.main([*command, "--help"])
        assert f"Example: gatewright {' '.join(command)}" in capsys.readouterr().out


def test_the_committed_page_is_that_of_the_committed_results(monkeypatch):
    monkeypatch.undo()
    assert (DOCS / "results.md").read_text("utf-8") == page.text(page.entries(RESULTS))
    assert all((DOCS / page.IMAGES / f"{path.stem}.svg").exists() for path in RESULTS.glob("*.json"))


def test_the_progress_tells_which_training_of_how_many_and_the_time_for_all(tmp_path, monkeypatch):
    """Two seeds of two trainings each; the first takes 40 s, the others are expected to take as long."""
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    monkeypatch.setattr(progress, "PLAIN_SECONDS", 10.0)
    monkeypatch.setattr(progress, "PATIENCE", 0.0)

    def trained(settings, seed, waits):
        for name in ("LSTM", "plain RNN"):
            with waits.counting(name, 4, "steps") as advance:
                for _ in range(4):
                    now[0] += 10.0 + seed
                    advance(1)
        return train(settings, seed, waits)

    experiment = replace(EXPERIMENT, train=trained, trainings=lambda _: 2)
    shown = io.StringIO()
    runner.reproduce(experiment, tmp_path, (0, 1), waits=progress.Waits(Console(file=shown, width=200)))
    lines = shown.getvalue().splitlines()
    assert lines[0] == "training 1 of 4, LSTM: 4 steps"
    assert lines[1] == "training 1 of 4, LSTM: 1 of 4 steps, eta 30 s, 2 min for all"
    assert lines[3] == "training 1 of 4, LSTM: 3 of 4 steps, eta 10 s, 2 min for all"
    assert lines[4] == "training 2 of 4, plain RNN (2 min left for all): 4 steps"
    assert lines[7].endswith("eta 10 s, 90 s for all")
    assert lines[8].startswith("training 3 of 4, LSTM (80 s left for all)")
    assert lines[-1] == "training 4 of 4, plain RNN (41 s left for all): 3 of 4 steps, eta 11 s, 11 s for all"
    # A seed that is finished counts no more.
    shown = io.StringIO()
    runner.reproduce(experiment, tmp_path, (0, 1, 2), waits=progress.Waits(Console(file=shown, width=200)))
    assert shown.getvalue().startswith("training 1 of 2, LSTM: 4 steps\n")
