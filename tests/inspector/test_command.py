"""`gatewright look`: what it finds to show, what it writes, and one line for everything that cannot be shown."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import IO, Any

import httpx
import numpy as np
import pytest
import safetensors
import safetensors.numpy

from gatewright import cli, look
from gatewright.insight.recording import Recording
from gatewright.inspector.server import PageServer
from gatewright.nn.model import load
from gatewright.tasks.options import ModelOptions, Options, TrainingOptions
from gatewright.train import plain_rnn
from gatewright.train.launch import train
from tests.support.forks import TRAINING, Forked, fork_server
from tests.support.inspected import blocks_of, same, strict
from tests.support.small_models import DATA, rows_of, write_cells, write_sites
from tests.support.training_runs import FORECAST, LANGUAGE, quiet, write_table, write_text

SHORT = TrainingOptions(
    steps=4, batch=4, validate_every=2, checkpoint_every=4, seed=3, warmup=1, schedule="constant", device="cpu"
)
Outcome = tuple[Any, str, str]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with runs of a table, of a text, and of a table of two series; and a recording."""
    folder = tmp_path_factory.mktemp("runs")
    table = write_table(folder / "load.csv")
    train(table, replace(FORECAST, training=SHORT), run=folder / "load", console=quiet())
    text = write_text(folder / "plays.txt")
    train(text, replace(LANGUAGE, training=SHORT), run=folder / "plays", console=quiet())
    sites = Options(replace(DATA), ModelOptions(hidden=5, layers=1), SHORT)
    train(write_sites(folder / "sites.csv"), sites, run=folder / "sites", console=quiet())
    look(folder / "load").save(folder / "load.safetensors")
    return folder


@pytest.fixture
def gatewright(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Outcome]:
    """Run the command in this process: its exit status, output and errors."""
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: Any) -> Outcome:
        code: Any = 0
        try:
            cli.main(["look", *map(str, arguments)])
        except SystemExit as end:
            code = end.code
        return (code, *capsys.readouterr())

    return run


class Seen:
    """What a page showed while it was served."""

    def __init__(self) -> None:
        self.entries: list[dict[str, Any]] = []
        self.metas: dict[str, dict[str, Any]] = {}
        self.title, self.url, self.browser = "", "", False
        self._blocks: dict[tuple[str, int, str], bytes] = {}

    @property
    def shown(self) -> dict[str, Any]:
        return self.metas[next((one["id"] for one in self.entries if one["first"]), self.entries[-1]["id"])]

    def read(self, url: str) -> None:
        self.url = url
        with httpx.Client(base_url=url, trust_env=False, timeout=30) as client:
            [self.title] = re.findall("<title>(.*)</title>", client.get("").text, re.DOTALL)
            self.entries = strict(client.get("recordings").content)
            for entry in self.entries:
                name = entry["id"]
                meta = self.metas[name] = strict(client.get(f"recordings/{name}/meta").raise_for_status().content)
                for row, blocks in enumerate(meta["blocks"]):
                    for block in blocks:
                        answer = client.get(f"recordings/{name}/rows/{row}/{block}")
                        self._blocks[name, row, block] = answer.raise_for_status().content

    def require(self, recording: Recording) -> None:
        """Check that what is shown first is this recording."""
        name = self.shown["id"]
        for row in range(len(recording.lengths)):
            for block, (dtype, expected) in blocks_of(recording, row).items():
                got = np.frombuffer(self._blocks[name, row, block], dtype).reshape(expected.shape)
                assert same(got, expected.astype(dtype)), (row, block)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    """Reads the page in the place of a person, who then ends it."""
    found = Seen()
    monkeypatch.setattr(PageServer, "wait", lambda server: found.read(server.url))
    monkeypatch.setattr(PageServer, "open_browser", lambda _: setattr(found, "browser", True))
    return found


def succeeds(outcome: Outcome) -> str:
    assert (outcome[0], outcome[2]) == (0, ""), outcome
    return outcome[1]


def fails(outcome: Outcome, pattern: str, code: int = 1) -> None:
    """Check that a command failed with one line, which says what is wrong."""
    assert outcome[:2] == (code, ""), outcome
    lines = outcome[2].splitlines()
    assert len(lines) == (2 if code == 2 else 1), outcome[2]
    assert re.match(f"{'usage' if code == 2 else 'error'}: {pattern}", lines[0]), lines[0]


# --- what is shown


def test_a_run_is_shown_with_its_test_part(gatewright: Any, runs: Path, seen: Seen) -> None:
    for kind in ("load", "plays", "sites"):
        out = succeeds(gatewright(runs / kind))
        assert re.fullmatch(rf"look at {kind}, test part: http://127.0.0.1:\d+/[\w-]+/\nCtrl-C stops\n", out)
        assert seen.url in out
        assert seen.browser
        assert seen.title == f"{kind}, test part - Gatewright"
        seen.require(look(runs / kind, steps=2000))
        [entry] = seen.entries
        assert (entry["id"], entry["first"], entry["note"]) == ("best", True, f"step {entry['step']}, best")
        assert entry["step"] in (0, 2, 4)
        assert entry["unit"] == {"plays": "nats/char"}.get(kind, entry["unit"]) != ""
        assert 0 < entry["score"] < 100
        assert seen.shown["note"] == entry["note"]
        assert seen.shown["fingerprint"] == load(runs / kind / "model.safetensors").fingerprint


def test_other_data(gatewright: Any, runs: Path, seen: Seen, tmp_path: Path) -> None:
    text = tmp_path / "mine.txt"
    text.write_text("what it read, then forgets", "utf-8")
    out = succeeds(gatewright(runs / "plays", text, "--no-browser"))
    assert out.startswith("look at mine.txt: ")
    assert not seen.browser
    seen.require(look(runs / "plays", text))
    table = write_table(tmp_path / "now.csv", rows=60, seed=5)
    succeeds(gatewright(runs / "load", table))
    seen.require(look(runs / "load", table))
    sites = write_sites(tmp_path / "two.csv", rows=30)
    succeeds(gatewright(runs / "sites", sites))
    assert [row["name"] for row in seen.shown["rows"]] == ["north", "south"]
    seen.require(look(runs / "sites", sites))


def test_a_model_file(gatewright: Any, runs: Path, seen: Seen) -> None:
    for kind, source in (("load", "load.csv"), ("plays", "plays.txt")):
        file = runs / kind / "model.safetensors"
        succeeds(gatewright(file, runs / source, "--steps", 50))
        seen.require(look(load(file), runs / source, steps=50))
        assert [entry["id"] for entry in seen.entries] == ["only"]
    missing = "DATA: expected a file for the model to read, after the model file, got nothing"
    fails(gatewright(runs / "load" / "model.safetensors"), missing)
    told = "--plain-rnn: expected a run, whose batches train the plain RNN, got a file: "
    fails(gatewright(runs / "load" / "model.safetensors", runs / "load.csv", "--plain-rnn"), told)


def test_what_is_saved_can_be_looked_at(gatewright: Any, runs: Path, seen: Seen, tmp_path: Path) -> None:
    saved, page = tmp_path / "a.safetensors", tmp_path / "a.html"
    out = succeeds(gatewright(runs / "load", "--save", saved, "--export", page))
    lines = out.splitlines()
    assert lines[0] == f"wrote {saved}"
    assert lines[1] == f"wrote {page}, {page.stat().st_size / 1e6:.1f} MB"
    assert seen.url == ""  # nothing is served
    expected = look(runs / "load", steps=2000)
    assert Recording.load(saved).about.fingerprint == expected.about.fingerprint
    assert succeeds(gatewright(saved)).startswith("look at load, test part: ")
    seen.require(expected)
    assert succeeds(gatewright(runs / "load", saved)).startswith("look at load: ")
    seen.require(expected)
    again = tmp_path / "b.html"
    succeeds(gatewright(saved, "--export", again))
    assert abs(again.stat().st_size - page.stat().st_size) < 20_000
    assert b'data-name="only/meta"' in again.read_bytes()


def test_a_part_of_it(gatewright: Any, runs: Path, seen: Seen) -> None:
    succeeds(gatewright(runs / "sites", "--row", 1, "--start", 3, "--steps", 7))
    assert seen.shown["rows"] == [{"name": "south", "steps": 7}]
    seen.require(look(runs / "sites", start=3, steps=7).select(rows=[1]))
    succeeds(gatewright(runs / "plays", "--start", 10, "--steps", 10**30))
    seen.require(look(runs / "plays", start=10))
    succeeds(gatewright(runs / "plays", runs / "plays.txt"))
    assert seen.shown["rows"] == [{"name": "", "steps": 2000}]


def test_of_many_series_the_first_are_shown(gatewright: Any, runs: Path, seen: Seen, tmp_path: Path) -> None:
    cells = [row for n in range(18) for row in rows_of(f"site {n}", 20, n + 1)]
    many = write_cells(tmp_path / "many.csv", cells)
    out = succeeds(gatewright(runs / "sites", many))
    assert out.startswith("the first 16 of 18 series; --row shows a single series\nlook at many.csv: ")
    assert len(seen.shown["rows"]) == 16
    succeeds(gatewright(runs / "sites", many, "--row", 17))
    assert [row["name"] for row in seen.shown["rows"]] == ["site 17"]
    fails(gatewright(runs / "sites", many, "--row", 18), "--row: expected a series from 0 to 17, got 18")


EXAMPLE = resources.files("gatewright.inspector")
there = all(
    (EXAMPLE / name).is_file()
    for name in ("example.py", "example/model.safetensors", "example/flag.txt", "example/plain_rnn.safetensors")
)


@pytest.mark.skipif(not there, reason="the example is not there yet")
def test_the_built_in_example(gatewright: Any, seen: Seen) -> None:
    assert succeeds(gatewright()).startswith("look at ")
    assert seen.shown["peer"]["name"] == "plain RNN"
    for option in ("--row 0", "--start 1", "--steps 5", "--plain-rnn"):
        name = option.split()[0]
        fails(
            gatewright(*option.split()),
            f"{name}: expected nothing with the built-in example, which is shown as a whole",
        )


# --- a plain RNN beside it


def test_a_plain_rnn_is_trained_once_and_a_stale_one_left_out(
    gatewright: Any, runs: Path, seen: Seen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "load"
    shutil.copytree(runs / "load", run)
    succeeds(gatewright(run))
    assert seen.shown["peer"] is None
    out = succeeds(gatewright(run, "--plain-rnn"))
    best = seen.entries[0]["step"]
    assert out.startswith(
        f"training a plain RNN on the {best} batches that the model was trained on\n"
        f"wrote {run}/plain_rnn.safetensors\n"
    )
    assert seen.shown["peer"] == {"name": "plain RNN", "hidden": 8}
    model, first = load(run / "model.safetensors"), (run / "plain_rnn.safetensors").read_bytes()
    assert plain_rnn.load(run / "plain_rnn.safetensors", model).fingerprint == model.fingerprint
    seen.require(peered(run, model))
    with monkeypatch.context() as patched:
        patched.setattr(plain_rnn, "train_plain_rnn", lambda *_, **__: pytest.fail("trained again"))
        for more in ((), ("--plain-rnn",)):
            assert succeeds(gatewright(run, *more)).startswith("look at ")
            assert seen.shown["peer"] is not None
    assert (run / "plain_rnn.safetensors").read_bytes() == first
    other = load(runs / "load" / "model.safetensors")
    np.asarray(other.head.bias.data)[0] += 1  # trained on: the model is another one
    other.save(run / "model.safetensors")
    out = succeeds(gatewright(run))
    assert re.match(
        r"plain RNN ignored: .*plain_rnn.safetensors: expected a plain RNN trained for this model, "
        r"got one of another model; --plain-rnn trains a new one\nlook at ",
        out,
    )
    assert seen.shown["peer"] is None
    (run / "plain_rnn.safetensors").write_bytes(first[:-5])
    assert re.match(
        "plain RNN ignored: .*: expected a plain RNN, got .*; --plain-rnn trains a new one\n", gatewright(run)[1]
    )
    assert "training a plain RNN" in succeeds(gatewright(run, "--plain-rnn"))
    assert seen.shown["peer"] is not None
    # The same batches, seed and steps: the same weights, but for whose side it stands at.
    assert (run / "plain_rnn.safetensors").read_bytes()[-1000:] == first[-1000:]


def peered(run: Path, model: Any) -> Recording:
    from gatewright.insight.recorder import prepare, record

    opened, batch = prepare(run, steps=2000)
    found = record(opened, batch)
    return plain_rnn.with_peer(found, opened, batch, plain_rnn.load(run / "plain_rnn.safetensors", model))


# --- what cannot be shown


def test_what_cannot_be_looked_at(gatewright: Any, runs: Path, tmp_path: Path) -> None:
    run, table, saved = runs / "load", runs / "load.csv", runs / "load.safetensors"
    empty, header, silence = tmp_path / "empty.csv", tmp_path / "header.csv", tmp_path / "silence.txt"
    empty.write_text("")
    header.write_text("time,load,wind\n")
    silence.write_text("")
    other = write_cells(tmp_path / "other.csv", [["2024-01-01 00:00", "1"]], "time,price")
    sealed = "expected nothing with a recording, which is shown as a whole, got"
    for arguments, pattern in (
        ((tmp_path,), "run: expected the directory of a run, got /"),
        ((tmp_path / "none",), "run: expected the directory of a run, a recording or a model file, got /"),
        (("x" * 5000,), "(run: expected the directory of a run|x+: the name is too long)"),
        (("a\nb",), r"run: expected the directory of a run, .* got a\\nb"),
        (
            (table,),
            "RUN: expected a run, a recording or a model file, and data after it, got the data /.*load.csv",
        ),
        ((run, "--fill", "zeros"), "--fill: expected forward or mean, got .zeros."),
        ((run, "--row", 1), "--row: expected a series from 0 to 0, got 1"),
        ((run, "--row", -1), "--row: expected a series from 0 to 0, got -1"),
        ((run, "--steps", 0), "--steps: expected a whole number of at least 1, got 0"),
        ((run, "--steps", -(10**30)), "--steps: expected a whole number of at least 1, got -1000"),
        ((run, "--start", -1), "--start: expected a whole number of at least 0, got -1"),
        (
            (run, "--start", 5000),
            "--start: expected .* from 0 to 100: the test part has 101 steps to start from, got 5000",
        ),
        (
            (run, table, "--start", 10**30),
            "--start: expected .* from 0 to 396: the table has 397 steps .*, got 10{30}",
        ),
        (
            (runs / "plays", "--start", 10**30),
            r"--start: expected a whole number from 0 to 599: .* has 600 steps to start from, got 10{30}",
        ),
        ((run, empty), "/.*empty.csv: expected a header and rows below it, got an empty file"),
        ((run, header), "/.*header.csv: expected a header and rows below it, got no row"),
        ((run, other), ".*(load|wind)"),
        ((run, runs / "plays.txt"), ".*plays.txt"),
        ((run, tmp_path / "none.csv"), "/.*none.csv: the file does not exist"),
        ((run, tmp_path), "/.*: expected a file, got a directory; name a file in it"),
        ((run, run / "model.safetensors"), "/.*: expected a .csv, .tsv, .txt or .parquet file, got a file named"),
        ((runs / "plays", silence), "/.*silence.txt: expected a text, got an empty file"),
        ((runs / "plays", tmp_path / "none.txt"), "/.*none.txt: the file does not exist"),
        (
            (runs / "plays", saved),
            "DATA: expected a recording of the run's model [0-9a-f]{12}, got a recording of the model",
        ),
        ((saved, table), f"DATA: {sealed} /"),
        ((saved, "--row", 0), f"--row: {sealed} 0"),
        ((saved, "--start", 3), f"--start: {sealed} 3"),
        ((saved, "--steps", 9), f"--steps: {sealed} 9"),
        ((saved, "--plain-rnn"), f"--plain-rnn: {sealed} True"),
        ((run, saved, "--row", 0), f"--row: {sealed} 0"),
        ((run, "--port", 99999), "--port: expected a number from 0 to 65535, got 99999"),
        ((run, "--port", -1), "--port: expected a number from 0 to 65535, got -1"),
        ((run, "--export", tmp_path), "--export: expected a file in a directory that exists, got /"),
        ((run, "--export", "."), "--export: expected a file in a directory that exists, got ."),
        ((run, "--save", tmp_path / "no" / "a"), "--save: expected a file in a directory that exists, got /"),
        (
            (run, "--save", tmp_path / ("x" * 250)),
            "/.*: the name is too long",
        ),
    ):
        fails(gatewright(*arguments, "--no-browser"), pattern)
    fails(gatewright(run, "--steps", "many"), "Invalid value for --steps: expected a whole number", code=2)
    fails(gatewright(run, "--port", "8.5"), "Invalid value for --port: expected a whole number", code=2)
    fails(gatewright(run, table, table), ".*", code=2)
    fails(gatewright(run, "--stesp", "5"), ".*--steps", code=2)
    assert not list(tmp_path.glob(".*"))


def test_a_port_in_use(gatewright: Any, runs: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        pattern = rf"--port: expected a port that is free, got 127.0.0.1:{port}: another program uses it$"
        fails(gatewright(runs / "load", "--port", port), pattern)


def test_damaged_files(gatewright: Any, runs: Path, tmp_path: Path) -> None:
    whole = (runs / "load.safetensors").read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    cut = tmp_path / "cut.safetensors"
    for size in (len(whole) - 1, header + 10, header):
        cut.write_bytes(whole[:size])
        for arguments in ((cut,), (runs / "load", cut)):
            fails(gatewright(*arguments), "/.*cut.safetensors: expected a recording, got ")
    for content in (b"", b"\0" * 7, b"\xff" * 9, whole[: header // 2], b"{}" * 20):
        cut.write_bytes(content)
        fails(gatewright(cut), "/.*cut.safetensors: ")
    with safetensors.safe_open(runs / "load.safetensors", "numpy") as file:
        metadata, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118

    def damaged(**changes: str) -> Path:
        safetensors.numpy.save_file(tensors, cut, {**metadata, **changes})
        return cut

    fails(gatewright(damaged(gatewright_recording="9")), "/.*: expected a recording of format 1 or 2, got")
    fails(gatewright(damaged(about="{")), "about: expected JSON, got ")
    bad = tensors["layers.1.forward.forget_gate"]
    for value, said in ((np.nan, "nan"), (np.inf, "inf")):
        bad[7, 0, 3] = value
        told = f"layer 1 forward, forget gate: expected finite numbers, got {said} at step 7, row 0, unit 3$"
        for arguments in ((damaged(),), (runs / "load", damaged())):
            fails(gatewright(*arguments), told)


def test_runs_that_are_not_whole(gatewright: Any, runs: Path, tmp_path: Path) -> None:
    run = tmp_path / "load"
    shutil.copytree(runs / "load", run)
    metrics = (run / "metrics.jsonl").read_bytes()
    (run / "metrics.jsonl").write_bytes(b"no json\n")
    fails(gatewright(run), "/.*metrics.jsonl: expected lines of metrics, got ")
    (run / "metrics.jsonl").unlink()
    fails(gatewright(run, "--plain-rnn"), "--plain-rnn: expected a run with a validation, got /.*, which has none")
    (run / "metrics.jsonl").write_bytes(metrics)
    (run / "model.safetensors").unlink()
    fails(gatewright(run), "run: expected a run with a trained model, got /.*, which has none yet")
    shutil.copy(runs / "plays" / "model.safetensors", run)
    fails(gatewright(run), "/.*: expected a forecast model, as source.json says, got a language model")
    shutil.copy(runs / "load" / "model.safetensors", run)
    note = (run / "source.json").read_text()
    (run / "source.json").write_text(note.replace("load.csv", "moved.csv"))
    fails(gatewright(run), "source: expected the file that the run learned from, got /.*, which does not exist")
    (run / "source.json").write_text(re.sub('"sha256": "..', '"sha256": "zz', note))
    fails(gatewright(run), "source: expected the file that the run learned from, got /.*, which has changed since")


def test_a_full_disk_leaves_what_was_there(
    gatewright: Any, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("gatewright.files.atomic.os.fsync", full)
    for option, name in (("--save", "a.safetensors"), ("--export", "a.html")):
        (tmp_path / name).write_text("what was there")
        pattern = f"/.*{name}: the disk is full$"
        fails(gatewright(runs / "plays", option, tmp_path / name), pattern)
        assert (tmp_path / name).read_text() == "what was there"
    assert len(list(tmp_path.iterdir())) == 2


def test_a_title_does_not_move_the_cursor(gatewright: Any, runs: Path, seen: Seen, tmp_path: Path) -> None:
    run = tmp_path / "a\x1b[2J\nb"
    shutil.copytree(runs / "plays", run)
    assert succeeds(gatewright(run)).startswith("look at a\\x1b[2J\\nb, test part: http")
    assert seen.shown["title"] == "a\x1b[2J\nb, test part"


@pytest.fixture(params=["starlette", "uvicorn"])
def missing(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package that is not installed."""
    for name in [request.param, "starlette.applications"] if request.param == "starlette" else [request.param]:
        monkeypatch.setitem(sys.modules, name, None)
    for name in ("live", "server", "app"):
        monkeypatch.delitem(sys.modules, f"gatewright.inspector.{name}", raising=False)
    return str(request.param)


def test_without_the_extra_the_hint_is_how_to_install_it(
    gatewright: Any, runs: Path, missing: str, tmp_path: Path
) -> None:
    fails(gatewright(runs / "plays"), rf"this command needs {missing}: pip install 'gatewright\[look\]'$")
    # What is written needs no server.
    assert succeeds(gatewright(runs / "plays", "--export", tmp_path / "a.html")).startswith("wrote ")


def test_train_look_without_the_extra_makes_no_run(
    runs: Path, capsys: pytest.CaptureFixture[str], missing: str, tmp_path: Path
) -> None:
    with pytest.raises(SystemExit):
        cli.main(["train", str(runs / "plays.txt"), "--run", str(tmp_path / "run"), "--look"])
    assert capsys.readouterr().err == f"error: this command needs {missing}: pip install 'gatewright[look]'\n"
    assert not (tmp_path / "run").exists()


# --- as a process


@dataclass
class Looking:
    """The command as a process, with its output and the file of its errors."""

    process: Forked
    out: IO[str]
    errors: Path


@pytest.fixture
def looking(runs: Path, tmp_path: Path) -> Iterator[Looking]:
    command = ["-m", "gatewright", "look", str(runs / "plays"), "--no-browser", "--steps", "40"]
    errors, (reads, writes) = tmp_path / "errors", os.pipe()
    with os.fdopen(reads) as out, errors.open("w") as file:
        try:
            process = fork_server(*TRAINING).start(command, stdout=writes, stderr=file)
        finally:
            os.close(writes)
        yield Looking(process, out, errors)
        process.kill()


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_as_a_process_it_serves_until_ctrl_c(looking: Looking, runs: Path) -> None:
    line = looking.out.readline()
    [url] = re.findall(r"^look at plays, test part: (http://127\.0\.0\.1:\d+/[\w-]{32}/)\n$", line)
    assert looking.out.readline() == "Ctrl-C stops\n"
    with httpx.stream("GET", f"{url}events", trust_env=False, timeout=30):
        assert httpx.get(f"{url}recordings", trust_env=False).json()[0]["id"] == "best"
        looking.process.send_signal(signal.SIGINT)
        code = looking.process.wait(timeout=120)
    # On a busy machine it says what it waits for.
    waits = ("loading torch", f"reading {runs / 'plays'}, and running the model over it")
    lines = looking.errors.read_text().splitlines()
    assert (code, looking.out.read(), [line for line in lines if line not in waits]) == (0, "", [])
