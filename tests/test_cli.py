"""The command: its help, its exit status, one line for every error, and what it writes."""

from __future__ import annotations

import csv
import io
import json
import os
import random
import re
import shutil
import subprocess
import sys
from dataclasses import fields, replace
from datetime import date, timedelta

import polars as pl
import pytest
import torch

from gatewright import cli
from gatewright.nn.model import load
from gatewright.runtime.sampling import generate
from gatewright.tasks.forecast.calibration import UNCALIBRATED
from gatewright.tasks.forecast.evaluate import METHODS
from gatewright.tasks.forecast.metrics import MEASURES
from gatewright.tasks.forecast.tables import tables
from gatewright.tasks.options import Options, TrainingOptions
from gatewright.train.launch import train
from tests.support.forks import TRAINING, fork_server
from tests.support.small_models import rows_of, write_cells
from tests.support.training_runs import FORECAST, LANGUAGE, quiet, weights, write_table, write_text

pytestmark = pytest.mark.slow

SHORT = TrainingOptions(
    steps=3, batch=4, validate_every=3, checkpoint_every=3, seed=3, warmup=1, schedule="constant", device="cpu"
)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder with a table, a text, and a run of each."""
    folder = tmp_path_factory.mktemp("runs")
    load_options = replace(FORECAST, training=SHORT)
    train(write_table(folder / "load.csv"), load_options, run=folder / "load", console=quiet())
    train(
        write_text(folder / "plays.txt"), replace(LANGUAGE, training=SHORT), run=folder / "plays", console=quiet()
    )
    rows = (folder / "load.csv").read_text().splitlines()
    (folder / "now.csv").write_text("\n".join([*rows[:98], *(re.sub(",.*,", ",,", row) for row in rows[98:101])]))
    return folder


@pytest.fixture
def gatewright(capsys, monkeypatch):
    """Run the command in this process: its exit status, output and errors."""
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments):
        code = 0
        try:
            cli.main([str(argument) for argument in arguments])
        except SystemExit as end:
            code = end.code
        out, err = capsys.readouterr()
        return code, out, err

    return run


def fails(outcome, code, pattern):
    """Check that a command failed with one line, which says what is wrong."""
    assert outcome[0] == code, outcome
    assert outcome[1] == ""
    lines = outcome[2].splitlines()
    assert len(lines) == (2 if code == 2 else 1), outcome[2]
    assert lines[0].startswith("usage: " if code == 2 else "error: ")
    assert re.search(pattern, lines[0]), lines[0]
    assert "Traceback" not in outcome[2]


ALL = (
    "backtest, compare, evaluate, export, forecast, generate, info, look, predict, quantize, reproduce, serve, "
    "train, tune, verify"
)
COMMANDS = ("train", "evaluate", "forecast", "compare", "backtest", "predict", "generate", "export")


def test_help_has_an_example_for_each_command_and_every_option(gatewright):
    code, out, _ = gatewright("--help")
    assert code == 0
    assert all(command in out for command in COMMANDS)
    for command in COMMANDS:
        code, out, _ = gatewright(command, "--help")
        assert code == 0
        example = re.search(r"^Example: gatewright (\w+) .*$", out, re.M)
        assert example is not None
        assert example[1] == command
        assert len(example[0].rstrip()) <= 80
    _, out, _ = gatewright("train", "--help")
    shown = set(re.findall(r"--[a-z-]+", out))
    for table in fields(Options):
        for option in fields(type(table.default)):
            assert f"--{option.name.replace('_', '-')}" in shown
    assert gatewright("--version")[1].strip()


def test_the_examples_of_the_help_are_understood(gatewright):
    for command in COMMANDS:
        out = gatewright(command, "--help")[1]
        arguments = re.search(r"^Example: gatewright (.*)$", out, re.M)[1].replace('"', "").split()
        fails(gatewright(*arguments), 1, "expected|does not exist")  # there is no such file; all is understood


@pytest.mark.parametrize(
    ("arguments", "pattern"),
    [
        ("evaluate", "RUN requires an argument"),
        ("evaluate a b", "b"),
        ("forecast a", "DATA requires an argument"),
        ("generate", "RUN requires an argument"),
        ("trian", f"^usage: command: expected one out of {ALL}, got 'trian'; did you mean 'train'\\?$"),
        ("--hidden 3", f"^usage: command: expected one out of {ALL}, got '--hidden'"),
        ("train a.csv --hiden 3", "Did you mean --hidden"),
        ("evaluate a --horizon 3", "Unknown option: --horizon"),
        ("train a.csv --hidden three", "--hidden.*expected a whole number, or several .* got 'three'"),
        ("train a.csv --hidden 8.7", "--hidden.*expected a whole number, or several .* got '8.7'"),
        ("train a.csv --lr fast", "--lr.*expected a number, got 'fast'"),
        ("train a.csv --hidden 1.e400", "--hidden.*expected a whole number"),
        ("train a.csv --hidden", "--hidden requires an argument"),
        ("train a.csv --quantiles 0.1 x", '--quantiles.*"x"'),
        ("forecast a b --horizon 1.0", "--horizon.*expected a whole number"),
        ("generate a --temperature warm", "--temperature.*expected a number, got 'warm'"),
        ("export a", "--to"),
        ("export a --to abacus", "--to: expected c or .*, got 'abacus'"),
        ("train", "source: expected a table or a text to learn from, before the options, got nothing"),
        ("train --target load load.csv", "source: expected a table or a text to learn from, before the options"),
        ("train --resume", "--resume: expected --run DIR, and no source"),
        ("train a.csv --run b --resume", "--resume: expected --run DIR, and no source"),
    ],
)
def test_usage_errors(gatewright, arguments, pattern):
    fails(gatewright(*arguments.split()), 2, pattern)


def test_train_evaluate_forecast_generate(gatewright, runs, tmp_path):
    code, out, err = gatewright(
        "train", runs / "load.csv", "--target", "load", "--known", "wind", "--run", tmp_path / "run",
        "--hidden", "4", "--steps", "2", "--horizon", "2", "--context", "8", "--device", "cpu",
        "--forget-bias", "-1",
    )  # fmt: skip
    assert (code, err) == (0, "")
    assert f"next: gatewright evaluate {tmp_path / 'run'}" in out
    code, out, err = gatewright("evaluate", runs / "load")
    assert (code, err) == (0, "")
    evaluation = json.loads((runs / "load" / "evaluation.json").read_text(), parse_constant=pytest.fail)
    overall = {name: found["overall"] for name, found in evaluation["targets"]["load"].items()}
    assert tuple(overall) == (METHODS[0], UNCALIBRATED, *METHODS[1:])
    for name, measures in overall.items():
        [row] = [line.split() for line in out.splitlines() if line.startswith(name)][:1]
        assert float(row[1]) == pytest.approx(measures["mae"], rel=1e-3)
        assert float(row[3]) == pytest.approx(measures["mase"], rel=1e-3)
        assert float(row[4]) == pytest.approx(measures["nse"], rel=1e-2, abs=1e-3)
    assert (runs / "load" / "forecast.png").read_bytes()[:4] == b"\x89PNG"
    code, out, err = gatewright("evaluate", runs / "plays")
    assert (code, err) == (0, "")
    nats = json.loads((runs / "plays" / "evaluation.json").read_text())["nats_per_character"]
    assert all(re.search(rf"^ *{name} +{value:.4f} ", out, re.M) for name, value in nats.items())
    code, out, err = gatewright("generate", runs / "plays", "--prompt", "-- cell", "--length", "20", "--seed", "5")
    model = load(runs / "plays" / "model.safetensors")
    assert (code, out) == (0, "-- cell" + "".join(generate(model.stream(), "-- cell", 20, seed=5)) + "\n")
    assert err == "note: the model does not know '-': read as the unknown symbol\n"


def test_forecast_writes_csv(gatewright, runs, tmp_path):
    code, out, err = gatewright("forecast", runs / "load", runs / "now.csv")
    assert (code, err) == (0, "")
    lines = list(csv.reader(io.StringIO(out)))
    assert lines[0] == ["time", "load_q0.1", "load_q0.5", "load_q0.9"]
    assert [line[0] for line in lines[1:]] == [f"2024-01-05 0{hour}:00:00" for hour in (1, 2, 3)]
    code, said, _ = gatewright(
        "forecast", runs / "load", runs / "now.csv", "--horizon", "2", "--out", tmp_path / "n.csv"
    )
    assert (code, said) == (0, f"wrote {tmp_path / 'n.csv'}\n")
    assert (tmp_path / "n.csv").read_text() == "".join(out.splitlines(keepends=True)[:3])
    table = (runs / "now.csv").read_bytes()
    code, _, err = gatewright("forecast", runs / "load", runs / "now.csv", "--out", runs / "." / "now.csv")
    assert (code, (runs / "now.csv").read_bytes()) == (1, table)
    assert "--out: expected another file than the table" in err
    same = ("--out", tmp_path / "o.parquet", "--snapshots", tmp_path / "o.parquet")
    code, _, err = gatewright("forecast", runs / "load", runs / "now.csv", *same)
    assert (code, "--snapshots: expected another file than that of --out" in err) == (1, True)


def test_forecast_of_a_parquet_file_is_that_of_its_csv(gatewright, runs, tmp_path):
    _, text, _ = gatewright("forecast", runs / "load", runs / "now.csv")
    table, out, states = (tmp_path / f"{name}.parquet" for name in ("now", "out", "states"))
    pl.read_csv(runs / "now.csv", try_parse_dates=True).write_parquet(table)
    assert gatewright("forecast", runs / "load", table) == (0, text, "")
    code, said, err = gatewright("forecast", runs / "load", table, "--out", out)
    assert (code, said, err) == (0, f"wrote {out}: 3 rows, 1 series\n", "")
    columns = pl.read_csv(text.encode()).columns[1:]
    numbers = pl.read_parquet(out).select(pl.col(columns).cast(pl.Float32))
    assert numbers.equals(pl.read_csv(text.encode()).select(pl.col(columns).cast(pl.Float32)))
    options = ("--out", out, "--snapshots", states)
    code, said, _ = gatewright("forecast", runs / "load", runs / "now.csv", *options)
    assert (code, said) == (0, f"wrote {out}: 3 rows, 1 series\nwrote {states}\n")
    fails(gatewright("forecast", runs / "load", table, *options), 1, "rows that were read: pass only later ones")
    for wrong, pattern in (
        (("--snapshots", "x.csv"), "--snapshots: expected a .parquet file, got x.csv"),
        (("--paths", 2, "--out", out), "--paths: expected none with --out"),
    ):
        fails(gatewright("forecast", runs / "load", table, *wrong), 2, pattern)
    fails(
        gatewright("forecast", runs / "load", runs / "now.csv", "--ray", "auto"), 2, "--ray: expected a .parquet"
    )


def test_a_config_makes_the_same_run_again_and_the_command_line_wins(gatewright, runs, tmp_path):
    config = runs / "load" / "config.toml"
    assert gatewright("train", runs / "load.csv", "--config", config, "--run", tmp_path / "again")[0] == 0
    assert weights(tmp_path / "again") == weights(runs / "load")
    assert (tmp_path / "again" / "config.toml").read_bytes() == config.read_bytes()
    gatewright(
        "train", runs / "load.csv", "--config", config, "--run", tmp_path / "other", "--seed", "4",
        "--epochs", "1", "--fill", "",
    )  # fmt: skip
    expected = config.read_text().replace("seed = 3", "seed = 4").replace("steps = 3", "epochs = 1")
    assert sorted((tmp_path / "other" / "config.toml").read_text().split()) == sorted(expected.split())


def test_errors_of_ours_are_one_line(gatewright, runs, tmp_path):
    table = runs / "load.csv"
    odd = tmp_path / "a\nb"
    long = "x" * 5000
    foreign, gaps = runs / "foreign.csv", runs / "gaps.csv"
    foreign.write_text(table.read_text().replace("load", "Load").replace("time", "when"))
    lines = table.read_text().splitlines(keepends=True)
    gaps.write_text("".join(lines[:30] + lines[33:60]))
    other_columns = (
        r"columns: expected the column 'load', the target of the model, got 'when', 'Load', 'wind'; did you mean "
        rf"'Load'\? Rename it, or take another run: {runs / 'load'} learned from load.csv$"
    )
    for arguments, pattern in {
        ("forecast", runs / "load", foreign): other_columns,
        ("quantize", runs / "load", foreign): other_columns,
        ("look", runs / "load", foreign, "--save", tmp_path / "r"): other_columns,
        ("forecast", runs / "load", gaps): r"\(--time is an option of the training; here, write the data as",
        (f"evaluate {tmp_path}",): "run: expected the directory of a run",
        ("evaluate", odd): r"a\\nb",
        ("evaluate", long): "run: expected the directory of a run",
        ("evaluate", "\0"): "run: expected the directory of a run",
        ("forecast", runs / "load", tmp_path): "expected a file, got a directory",
        ("forecast", runs / "load", tmp_path / "none.csv"): "none.csv: the file does not exist",
        ("forecast", runs / "load", runs / "now.csv", "--horizon", "4"): "--horizon: expected 1 to 3 steps",
        ("forecast", runs / "load", runs / "now.csv", "--fill", "x"): "--fill: expected forward or mean, got 'x'",
        ("forecast", runs / "load", runs / "now.csv", "--out", tmp_path): "it is a directory, not a file",
        ("forecast", runs / "plays", table): "run: expected a run that forecasts, got .*plays, a language model",
        ("generate", runs / "load"): "model: expected a language model",
        ("generate", runs / "plays", "--length", "-1"): "--length: expected a whole number of at least 0, got -1",
        ("generate", runs / "plays", "--temperature", "nan"): "--temperature: expected a number of at least 0",
        ("generate", runs / "plays", "--seed", str(2**64)): "--seed: expected a whole number from 0",
        ("train", tmp_path / "none.csv"): "none.csv: the file does not exist",
        ("train", tmp_path): "expected a directory with files that end in .txt or .txt.gz, got none",
        ("train", table, "--kind", "poem"): "one of forecast, language, classify, tag, got 'poem'",
        ("train", table, "--target", "lod"): "did you mean 'load'",
        ("train", table, "--target", ""): "--target",
        ("train", table, "--hidden", "0"): "--hidden: expected a whole number from 1",
        ("train", table, "--hidden", "9" * 5000): "--hidden",
        (
            "train",
            table,
            "--target",
            "load",
            "--run",
            runs / "load.csv",
        ): "--run: expected a directory that can be",
        ("train", table, "--target", "load", "--run", runs / "load.csv" / "x"): "--run: expected a directory that",
        ("train", table, "--target", "load", "--run", runs / "load"): "--run: expected a new directory",
        ("train", table, "--target", "load", "--hidden", "9000000"): "memory: expected a model and batches",
        ("train", table, "--config", tmp_path): "it is a directory, not a file",
        ("train", "--run", tmp_path, "--resume"): "run: expected the directory of a run",
    }.items():
        words = arguments[0].split() if len(arguments) == 1 else arguments
        fails(gatewright(*words), 2 if "9" * 5000 in arguments else 1, pattern)
    assert not (tmp_path / "run").exists()


def damaged(runs, tmp_path, kind, file, content):
    run = tmp_path / kind
    shutil.copytree(runs / kind, run)
    if content is None:
        (run / file).unlink()
    else:
        (run / file).write_bytes(content)
    return run


@pytest.mark.parametrize("kind", ["load", "plays"])
def test_damaged_runs(gatewright, runs, tmp_path, kind):
    other = "plays" if kind == "load" else "load"
    note = json.loads((runs / kind / "source.json").read_text())
    for place, (file, content, pattern) in enumerate([
        ("model.safetensors", None, "run: expected a run with a trained model, got .*, which has none yet"),
        ("model.safetensors", b"", "model.safetensors"),
        ("model.safetensors", (runs / kind / "model.safetensors").read_bytes()[:-9], "model.safetensors"),
        ("model.safetensors", (runs / other / "model.safetensors").read_bytes(), "model.safetensors: expected a"),
        ("config.toml", None, "run: expected the directory of a run"),
        ("config.toml", b"\xff", "config.toml: expected a TOML file in UTF-8"),
        ("config.toml", b"[data", "config.toml: expected TOML"),
        ("config.toml", b"[data]\ntarget = ['nothing']\ncontext = 0", "--(target|context)"),
        ("source.json", None, "run: expected the directory of a run"),
        ("source.json", b"", "source.json: expected JSON"),
        ("source.json", b"[" * 100000, "source.json: expected JSON"),
        ("source.json", b"{}", "source.json: expected JSON with a text 'kind'"),
        ("source.json", b'{"kind": 3}', "source.json: expected JSON with a text 'kind', got 3"),
        ("source.json", b'{"kind": "poem"}', "source.json: expected a kind out of .*tag, got 'poem'"),
        ("source.json", json.dumps({**note, "source": "none"}).encode(), "source: expected the file that"),
        ("source.json", json.dumps({**note, "source": "\0"}).encode(), "source: expected the file that"),
        ("source.json", json.dumps({**note, "sha256": "0"}).encode(), "which has changed since"),
    ]):  # fmt: skip
        run = damaged(runs, tmp_path / str(place), kind, file, content)
        fails(gatewright("evaluate", run), 1, pattern)
        assert not (run / "evaluation.json").exists() or (runs / kind / "evaluation.json").exists()
    if kind == "load":
        edited = (
            (runs / kind / "config.toml")
            .read_bytes()
            .replace(b'"load"', b'"wind"')
            .replace(b'    "wind",\n]\ns', b"]\ns")
        )
        run = damaged(runs, tmp_path / "edited", kind, "config.toml", edited)
        fails(gatewright("evaluate", run), 1, "target columns: expected load, got wind|--target and --known")


def test_an_empty_config_falls_back_to_the_defaults(gatewright, runs, tmp_path):
    run = damaged(runs, tmp_path, "plays", "config.toml", b"")
    assert gatewright("evaluate", run)[0] == 0


@pytest.mark.skipif(os.name == "nt", reason="POSIX folders")
def test_only_windows_of_a_forecaster_are_drawn(gatewright, runs):
    fails(
        gatewright("evaluate", runs / "plays", "--windows", "5"),
        1,
        "--windows: expected a run that forecasts, got",
    )
    fails(
        gatewright("evaluate", runs / "load", "--windows", "0"),
        1,
        "--windows: expected a whole number of at least",
    )
    fails(gatewright("evaluate", runs / "load", "--windows", "2.5"), 2, "--windows")


def test_an_evaluation_that_cannot_be_written(gatewright, runs, tmp_path):
    for file in ("evaluation.json", "forecast.png"):
        run = tmp_path / file / "load"
        shutil.copytree(runs / "load", run)
        (run / file).unlink(missing_ok=True)
        (run / file / "in the way").mkdir(parents=True)
        fails(gatewright("evaluate", run), 1, f"{file}: it is a directory, not a file")


def test_a_series_without_windows_is_told(gatewright, tmp_path):
    cells = rows_of("empty [red]", 100, 3)
    for row in cells[80:]:
        row[2] = ""
    source = write_cells(tmp_path / "sites.csv", cells + rows_of("full", 100, 4))
    gatewright("train", source, "--id", "site", "--target", "load", "--valid", "20", "--test", "20",
               "--steps", "1", "--context", "8", "--hidden", "4", "--device", "cpu",
               "--run", tmp_path / "run")  # fmt: skip
    code, out, err = gatewright("evaluate", tmp_path / "run")
    assert (code, err) == (0, "")
    assert "no window in the test part of empty [red]" in out
    assert re.search(r"^full +\d", out, re.M)


def test_one_short_series_stops_nothing(gatewright, tmp_path):
    """Several id columns; a short series is left out of what it has no rows for, and named."""
    header = "shop,time,load,flow,wind,heat,item"
    cells = [[*row[:-1], item] for item in ("x", "y") for row in rows_of("7", 90, 3)]
    cells += [[*row[:-1], "x"] for row in rows_of("8 / 9", 6, 4)]
    source = write_cells(tmp_path / "shops.csv", cells, header)
    options = ("--steps", "1", "--hidden", "4", "--context", "8", "--device", "cpu", "--run", tmp_path / "run")
    code, out, err = gatewright("train", source, "--id", "shop", "item", "--target", "load", *options)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "128 + 29 + 29 rows (training + validation + test, 3 series), every 1h"
    counts = re.fullmatch(r"108 \+ (\d+) \+ (\d+) windows of 2 \+ 2 \+ 2 series", lines[1])
    assert counts
    assert "no training window, which takes 9 rows with an observed target: 8 / 9 / x" in lines
    config = (tmp_path / "run" / "config.toml").read_text()
    assert re.search(r'id = \[\s*"shop",\s*"item",?\s*\]', config)
    code, out, err = gatewright("evaluate", tmp_path / "run", "--windows", "9")
    assert (code, err) == (0, "")
    assert f"load: test part, 9 of {counts[2]} windows, drawn evenly, a step ahead" in out
    assert re.search(r"^7 / x +\d", out, re.M)
    code, out, err = gatewright("forecast", tmp_path / "run", source)
    assert code == 0
    assert (
        err
        == "note: left out, fewer than 8 rows (the model's context) up to the last observed target: 8 / 9 / x\n"
    )
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [(row["shop"], row["item"]) for row in rows] == [("7", "x"), ("7", "y")]
    assert list(rows[0])[:3] == ["shop", "item", "time"]
    assert gatewright("look", tmp_path / "run", "--row", "1", "--export", tmp_path / "page.html")[0] == 0
    # If none is left, it is an error.
    write_cells(source, cells[-6:], header)
    fails(gatewright("forecast", tmp_path / "run", source), 1, "series '8 / 9 / x': expected at least 8 rows")


def test_a_run_of_one_id_as_a_string_still_opens(gatewright, runs, tmp_path):
    source = write_cells(tmp_path / "sites.csv", rows_of("a", 60, 1) + rows_of("b", 60, 2))
    options = ("--steps", "1", "--hidden", "4", "--context", "8", "--device", "cpu", "--run", tmp_path / "run")
    assert gatewright("train", source, "--id", "site", "--target", "load", *options)[0] == 0
    config = tmp_path / "run" / "config.toml"
    text = re.sub(r'id = \[\s*"site",?\s*\]', 'id = "site"', config.read_text())
    assert 'id = "site"' in text
    whole = gatewright("forecast", tmp_path / "run", source)
    config.write_text(text)
    assert gatewright("forecast", tmp_path / "run", source) == whole
    assert whole[1].startswith("site,time,load_q0.1")
    # As does one without any.
    shutil.copytree(runs / "load", tmp_path / "load")
    config = tmp_path / "load" / "config.toml"
    config.write_text(re.sub(r"^id = .*$", 'id = ""', config.read_text(), flags=re.M))
    assert gatewright("forecast", tmp_path / "load", runs / "now.csv")[0] == 0


def test_a_run_gathers_what_it_reads_as_it_learned(gatewright, tmp_path):
    """Train, evaluate, forecast and look keep to --resample; business days go on after the weekend."""
    rng = random.Random(3)
    rows = ["t,y,k"]
    for hour in range(24 * 30):
        for _ in range(rng.randrange(1, 4)):
            when = f"2024-03-{1 + hour // 24:02d}T{hour % 24:02d}:{rng.randrange(60):02d}"
            rows.append(f"{when},{rng.random():.3f},{hour % 7}")
    source = tmp_path / "events.csv"
    source.write_text("\n".join(rows) + "\n")
    options = ("--steps", "1", "--hidden", "4", "--context", "8", "--device", "cpu", "--run", tmp_path / "run")
    message = "repeats; if .*; --resample .* --aggregate mean, sum or last gathers rows into steps"
    refused = gatewright("train", source, "--target", "y", *options)
    fails(refused, 1, "goes back|" + message)
    how = ("--resample", "1h", "--aggregate", "sum")
    code, out, err = gatewright("train", source, "--target", "y", "--known", "k", *how, *options)
    assert (code, err) == (0, "")
    assert "every 1h" in out.splitlines()[0]
    code, out, _ = gatewright("evaluate", tmp_path / "run")
    assert code == 0
    source.write_text("\n".join([*rows, "2024-03-31T00:30,,3"]) + "\n")
    code, out, err = gatewright("forecast", tmp_path / "run", source)
    assert (code, err) == (0, "")
    assert out.splitlines()[1].startswith("2024-03-31 00:00:00,")
    assert gatewright("look", tmp_path / "run", source, "--export", tmp_path / "page.html")[0] == 0
    fails(
        gatewright("train", source, "--target", "y", "--aggregate", "sum"),
        1,
        "--aggregate: expected --resample STEP",
    )
    fails(
        gatewright("train", source, "--target", "y", "--resample", "7m"), 1, "--resample: expected a part of a day"
    )
    fails(
        gatewright("train", source, "--target", "y", *how[:2], "--aggregate", "max"),
        1,
        "--aggregate: expected one of",
    )


def test_business_days_go_on_after_the_weekend(gatewright, tmp_path):
    days = [date(2024, 1, 1) + timedelta(days=day) for day in range(140)]
    business = [day for day in days if day.weekday() < 5]
    source = tmp_path / "prices.csv"
    source.write_text("date,close\n" + "".join(f"{day},{100 + (n * 7) % 11}\n" for n, day in enumerate(business)))
    options = ("--steps", "1", "--hidden", "4", "--horizon", "3", "--context", "8", "--device", "cpu")
    code, out, err = gatewright("train", source, "--target", "close", *options, "--run", tmp_path / "run")
    assert (code, err) == (0, "")
    assert out.startswith("70 + 15 + 15 rows (training + validation + test), every 1b\n")
    assert json.loads(gatewright("evaluate", tmp_path / "run") and
                      (tmp_path / "run" / "evaluation.json").read_text())["season"] == 5  # fmt: skip
    code, out, err = gatewright("forecast", tmp_path / "run", source)
    assert (code, err) == (0, "")
    assert business[-1].weekday() == 4
    assert [line[:10] for line in out.splitlines()[1:]] == ["2024-05-20", "2024-05-21", "2024-05-22"]
    # A few rows are read at the model's step; a missing weekday is a gap.
    lines = source.read_text().splitlines()
    source.write_text("\n".join([lines[0], *lines[-8:]]) + "\n")
    assert gatewright("forecast", tmp_path / "run", source)[1] == out
    source.write_text("\n".join([lines[0], *lines[-12:-7], *lines[-6:]]) + "\n")
    fails(
        gatewright("forecast", tmp_path / "run", source), 1, "missing rows: 1, --fill forward or mean puts them in"
    )
    assert gatewright("forecast", tmp_path / "run", source, "--fill", "forward")[0] == 0


def test_a_run_whose_step_other_rules_found_keeps_it(gatewright, tmp_path):
    """Weekdays with filled weekends were days once: such a run goes on with days."""
    days = [date(2024, 1, 1) + timedelta(days=day) for day in range(200)]
    source = tmp_path / "prices.csv"
    rows = [f"{day},{100 + (n * 7) % 11}" for n, day in enumerate(days) if day.weekday() < 5]
    source.write_text("\n".join(["date,close", *rows]) + "\n")
    options = ("--fill", "forward", "--steps", "4", "--hidden", "4", "--context", "8", "--device", "cpu",
               "--validate-every", "2", "--schedule", "constant")  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gatewright.data.frequency._of_business", lambda _: False)
        code, out, err = gatewright("train", source, "--target", "close", *options, "--run", tmp_path / "run")
    assert (code, err, out.partition("\n")[0].rpartition(" ")[2]) == (0, "", "1d")
    code, out, err = gatewright("train", "--resume", "--run", tmp_path / "run", "--steps", "6")
    assert (code, err, out.partition("\n")[0].rpartition(" ")[2]) == (0, "", "1d")
    assert gatewright("evaluate", tmp_path / "run")[0] == 0
    code, out, _ = gatewright("forecast", tmp_path / "run", source)
    assert (code, out.splitlines()[1][:10]) == (
        0,
        str(days[-1] if days[-1].weekday() > 4 else days[-1] + timedelta(1)),
    )
    assert gatewright("quantize", tmp_path / "run", source)[0] == 0


def test_a_constant_input_is_left_out_and_told(gatewright, tmp_path):
    source = write_cells(tmp_path / "site.csv", rows_of("a", 80, 5))
    options = ("--steps", "1", "--hidden", "4", "--context", "8", "--device", "cpu", "--run", tmp_path / "run")
    code, out, err = gatewright(
        "train", source, "--target", "load", "--static", "height", "--past", "wind", *options
    )
    assert (code, err) == (0, "")
    assert "left out, 5 in every row of the training part: height" in out.splitlines()
    assert "static inputs" not in out
    for command in (["evaluate"], ["forecast", source], ["look", "--export", tmp_path / "page.html"]):
        assert gatewright(command[0], tmp_path / "run", *command[1:])[0] == 0
    fails(gatewright("train", source, "--target", "height", *options[:-1], tmp_path / "other"), 1,
          "column 'height': expected values that vary in the training part, got 5 in every row of it")  # fmt: skip


def test_tables_keep_every_figure_in_a_narrow_terminal(gatewright, runs, monkeypatch):
    wide = gatewright("evaluate", runs / "load")[1]
    monkeypatch.setenv("COLUMNS", "20")
    narrow = gatewright("evaluate", runs / "load")[1]
    numbers = re.compile(r"-?\d+\.\d+%?")
    assert numbers.findall(narrow) == numbers.findall(wide)
    assert "…" not in narrow
    assert max(map(len, narrow.splitlines()[:8])) <= 80


def test_tables_of_many_series_name_only_some():
    measures = {**dict.fromkeys(MEASURES), "mae": 1.5, "rmse": 2.0, "mse": 4.0, "mse_standardised": 12345678.0,
                "nse": -0.5, "quantile_loss": 0.0}  # fmt: skip
    part = {"overall": measures, "by_step": [measures] * 9, "by_series": {f"s{n}": measures for n in range(500)}}
    evaluation = {"kind": "forecast", "windows": 3, "windows_available": 3, "horizon": 9,
                  "targets": {"[a]": dict.fromkeys(METHODS, part)}}  # fmt: skip
    laid = list(tables(evaluation))
    assert [table.row_count for table in laid] == [4, 4, 12, 4]
    assert str(laid[2].title) == r"\[a]: by series, 12 of 500"


def test_ctrl_c_is_130(gatewright, runs, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("gatewright.runtime.stream.Stream.load", stop)
    told = "interrupted: --resume continues a training from its last checkpoint\n"
    assert gatewright("generate", runs / "plays") == (130, "", told)


def test_a_bug_is_not_hidden(gatewright, runs, monkeypatch):
    def bug(*_, **__):
        raise RuntimeError("a bug")

    monkeypatch.setattr("gatewright.runtime.stream.Stream.load", bug)
    with pytest.raises(RuntimeError, match="a bug"):
        gatewright("generate", runs / "plays")


def test_what_the_machine_refuses_is_one_line(gatewright, runs, monkeypatch):
    for error, pattern in (
        (PermissionError(13, "Permission denied", "x.csv"), "x.csv: you have no permission for it"),
        (OSError(28, "No space left on device"), "the disk is full"),
        (MemoryError(), "memory: expected room"),
        (RuntimeError("CUDA out of memory. Tried to allocate"), "memory: expected room"),
    ):
        monkeypatch.setattr(
            "gatewright.runtime.stream.Stream.load", lambda *_, error=error: (_ for _ in ()).throw(error)
        )
        fails(gatewright("generate", runs / "plays"), 1, pattern)


def without(missing, *arguments, folder=None):
    """Run the command in a Python that lacks some packages."""
    script = (
        "import sys\n"
        f"for missing in {missing!r}:\n"
        "    for name in [name for name in sys.modules if name.startswith(missing + '.')]: del sys.modules[name]\n"
        "    sys.modules[missing] = None\n"
        "from gatewright import progress\nprogress.PATIENCE = 1e6\nfrom gatewright.cli import main\nmain()"
    )
    done = fork_server(*TRAINING).run(["-c", script, *arguments], cwd=folder)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("missing", "command"),
    [("torch", "evaluate load"), ("polars", "forecast load now.csv"), ("accelerate", "train load.csv"),
     ("matplotlib", "evaluate load")],
)  # fmt: skip
def test_without_the_extra_the_hint_is_how_to_install_it(runs, missing, command):
    outcome = without([missing], *command.split(), folder=runs)
    fails(outcome, 1, rf"this command needs {missing}: pip install 'gatewright\[train\]'")


def test_help_needs_only_the_base():
    code, out, err = without(
        ["torch", "polars", "tomli_w", "tomli", "accelerate", "matplotlib"], "train", "--help"
    )
    assert (code, err) == (0, "")
    assert "--horizon" in out


def test_mistakes_are_reported_before_torch_is_loaded(runs, tmp_path):
    """Options, paths, headers: all in one process, which never imports torch."""
    table, load_run, foreign = runs / "load.csv", runs / "load", tmp_path / "foreign.csv"
    foreign.write_text(table.read_text().replace("load", "demand"))
    none = tmp_path / "none.csv"
    cases = [
        (("train", none), "does not exist"),
        (("train", table, "--target", "laod"), "did you mean 'load'"),
        (("train", table, "--target", "load", "--horizon", "0"), "--horizon: expected"),
        (("train", table, "--target", "load", "--run", load_run), "which holds a run"),
        (("train", table, "--init", none), "--init: expected the directory of a run or a model file"),
        (("train", "--resume", "--run", none), "run: expected the directory of a run"),
        (("train", table, "--hiden", "3"), "Unknown option: --hiden"),
        (("evaluate", none), "run: expected the directory of a run"),
        (("evaluate", load_run, "--windows", "0"), "--windows: expected"),
        (("forecast", load_run, foreign), "columns: expected the column 'load', the target of the model"),
        (("forecast", load_run, none), "none.csv: the file does not exist"),
        (("forecast", load_run, table, "--horizon", "4"), "--horizon: expected 1 to 3 steps"),
        (("forecast", runs / "plays", table), "run: expected a run that forecasts, got"),
        (("predict", load_run, table), "run: expected a run that classifies, got"),
        (("compare", load_run), "runs: expected at least two runs to compare"),
        (("look", none), "run: expected the directory of a run, a recording or a model file"),
        (("look", load_run, "--steps", "0"), "--steps: expected"),
        (("look", load_run, foreign), "columns: expected the column 'load'"),
        (("backtest", table, "--target", "laod"), "did you mean 'load'"),
        (("tune", table, "--target", "laod"), "did you mean 'load'"),
        (("tune", table, "--search", "hiden=3,4"), "--search: expected an option of the training"),
        (("reproduce", "ading-100"), "did you mean 'adding-100'"),
    ]
    script = (
        "import json, sys; from gatewright import cli\n"
        "for words in json.loads(sys.argv[1]):\n"
        "    try: cli.main(words)\n"
        "    except SystemExit: pass\n"
        "    print('torch' in sys.modules, file=sys.stderr)\n"
    )
    words = json.dumps([[str(word) for word in case] for case, _ in cases])
    done = subprocess.run([sys.executable, "-c", script, words], capture_output=True, text=True, check=False)
    assert done.stdout == ""
    answers = [line for line in done.stderr.split("\n") if not line.startswith("--help")]
    for (case, expected), said, loaded in zip(cases, answers[::2], answers[1::2], strict=False):
        assert expected in said, case
        assert loaded == "False", case
    assert len(answers) == 2 * len(cases) + 1


def test_a_closed_pipe_is_no_error(runs):
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "gatewright", "generate", str(runs / "plays"), "--length", "1000000"]
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, env=buffered, check=False, timeout=60)
    os.close(write)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp437"])
def test_a_terminal_that_lacks_our_characters_is_no_error(runs, monkeypatch, encoding):
    out = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", out)
    cli.main(["generate", str(runs / "plays"), "--length", "5", "--prompt", "\N{SNOWMAN}\udcff"])
    assert out.buffer.getvalue().startswith(b"??")
    assert len(out.buffer.getvalue()) == 2 + 5 + len(os.linesep)
    for command in (["evaluate", str(runs / "plays")], ["evaluate", "--help"]):
        cli.main(command)
    assert b"unigram" in out.buffer.getvalue()


def test_resume_takes_the_config_of_the_run(gatewright, runs, tmp_path):
    run = tmp_path / "load"
    shutil.copytree(runs / "load", run)
    outcome = gatewright("train", "--run", run, "--resume", "--config", run / "config.toml", "--steps", "5")
    assert outcome[0] == 0, outcome
    assert "finished at step 5" in outcome[1]
    fails(gatewright("train", "--run", run, "--resume", "--lr", "0.5"), 1, "--lr: expected the run's own value")


def test_a_training_starts_from_a_model(gatewright, runs, tmp_path):
    table, start = runs / "load.csv", runs / "load" / "model.safetensors"
    columns = ("--target", "load", "--known", "wind")
    settings = ("--steps", 2, "--lr", 1e-30, "--calibrate", "none", "--run", tmp_path / "run")
    code, _, errors = gatewright("train", table, *columns, *settings, "--init", start)
    assert (code, errors) == (0, "")
    before, after = load(start).state_dict(), load(tmp_path / "run").state_dict()
    assert all(torch.allclose(value, after[name], rtol=1e-6, atol=1e-7) for name, value in before.items())
    wrong = gatewright("train", table, *columns, "--hidden", 3, "--run", tmp_path / "other", "--init", start)
    fails(wrong, 1, "--hidden: expected .*, as the initial model has it, got 3")
    both = gatewright("train", "--run", tmp_path / "run", "--resume", "--init", start)
    fails(both, 2, "--init: expected no --resume with it")
    assert not (tmp_path / "other").exists()


#: Says at the end of each announced step whether what a model needs has been loaded.
ANNOUNCED = """
import sys
from contextlib import contextmanager
from gatewright import progress

@contextmanager
def during(self, what):
    yield
    print(what, "gatewright.nn.model" in sys.modules)

progress.Waits.during = during
from gatewright.cli import main
main()
"""


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [("forecast", "evaluate run"), ("forecast", "forecast run a.csv"), ("classify", "predict run a.csv")],
)
def test_the_wait_for_torch_is_announced(tmp_path, kind, arguments):
    """Of a run whose model is damaged: what needs no torch is in order."""
    (tmp_path / "run").mkdir()
    (tmp_path / "a.csv").write_text("y\n1\n")
    contents = {"config.toml": "", "source.json": json.dumps({"kind": kind, "source": "a.csv", "sha256": ""})}
    for name, content in {**contents, "model.safetensors": "damaged"}.items():
        (tmp_path / "run" / name).write_text(content)
    done = fork_server(*TRAINING).run(["-c", ANNOUNCED, *arguments.split()], cwd=tmp_path)
    assert done.stdout == "loading torch True\n"
    assert done.stderr.startswith("error: ")
