"""The inspector while a model trains: snapshots as they come, and a training that does not notice."""

from __future__ import annotations

import io
import re
import shutil
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from rich.console import Console

from gatewright import cli, look
from gatewright.errors import GatewrightError
from gatewright.insight.inputs import of_run
from gatewright.insight.recorder import record
from gatewright.inspector import live
from gatewright.inspector.live import Live
from gatewright.inspector.loader import DEFAULT, open_path
from gatewright.inspector.server import PageServer
from gatewright.nn.model import Model, load
from gatewright.runs import snapshots
from gatewright.runs.run import Run
from gatewright.tasks.options import Options
from gatewright.train.launch import resume, train
from tests.support.inspected import blocks_of, same, served, strict
from tests.support.small_models import language_model
from tests.support.training_runs import FORECAST, LANGUAGE, quiet, weights, write_table, write_text


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sources")
    write_table(folder / "load.csv")
    write_text(folder / "plays.txt")
    return folder


def told() -> Console:
    return Console(file=io.StringIO(), width=200)


def said(console: Console) -> str:
    return console.file.getvalue()  # type: ignore[attr-defined]


def url_of(console: Console) -> str:
    [url] = re.findall(r"^look at it: (http://127\.0\.0\.1:\d+/[\w-]{32}/)$", said(console), re.MULTILINE)
    return str(url)


def changed(options: Options, **training: Any) -> Options:
    return replace(options, training=replace(options.training, **training))


class Asking(Live):
    """Asks the page for everything at each validation, while the training waits for it to return."""

    def __init__(self, console: Console) -> None:
        super().__init__(browser=False)
        self._console = console
        self.lists: list[list[dict[str, Any]]] = []
        self.notes: list[str] = []
        self.files: list[list[int]] = []

    def begin(self, run: Run, say: Callable[[str], None]) -> None:
        super().begin(run, say)
        self._ask()

    def validated(self, model: Model, step: int) -> None:
        super().validated(model, step)
        self._ask()

    def _ask(self) -> None:
        self.files.append([step for step, _ in snapshots.found(self._run)])
        with httpx.Client(base_url=url_of(self._console), trust_env=False, timeout=30) as client:
            self.lists.append(strict(client.get("recordings").content))
            for entry in self.lists[-1]:
                meta = strict(client.get(f"recordings/{entry['id']}/meta").raise_for_status().content)
                assert meta["note"] == entry["note"] == f"step {entry['step']}"
                assert meta["title"].endswith(", validation part")
                self.notes.append(meta["note"])
                diagnosis = strict(client.get(f"recordings/{entry['id']}/diagnosis").content)
                assert diagnosis["horizon"] is not None

    @property
    def steps(self) -> list[list[int]]:
        return [[entry["step"] for entry in listed] for listed in self.lists]


@pytest.mark.parametrize(("options", "source"), [(FORECAST, "load.csv"), (LANGUAGE, "plays.txt")])
def test_each_validation_is_there_at_once(sources: Path, tmp_path: Path, options: Options, source: str) -> None:
    console, path = told(), tmp_path / "it"
    with Asking(console) as watcher:
        run, _ = train(sources / source, options, run=path, console=console, callbacks=[watcher])
        first = [0] if options is FORECAST else []  # a forecaster is scored before its first step
        assert watcher.steps == [
            [],
            *([first] if first else []),
            [*first, 10],
            [*first, 10, 20],
            [*first, 10, 20, 30],
        ]
        scores = dict(run.validations())
        for entry in watcher.lists[-1]:
            step = entry["step"]
            assert entry["id"] == f"step-{step}"
            assert entry["score"] == scores[step]
            assert not entry["first"]  # the last one is shown
            assert entry["unit"] in ("nats/char", "quantile loss", "mean quantile loss") or entry["unit"]
        # The last snapshot is the model as it is now, which the checkpoint has too.
        final = {name: value for name, value in weights(path).items() if name.startswith("model.")}
        snapshot = weights(path, "snapshots/step-00000030.safetensors")
        assert sorted(snapshot.values()) == sorted(final.values())
        url = url_of(console)
        name = "step-20"
        model = load(dict(snapshots.found(run))[20])
        expected = record(model, of_run(run, model, None, part="valid", steps=live.STEPS))
        for block, (dtype, values) in blocks_of(expected, 0).items():
            answer = httpx.get(f"{url}recordings/{name}/rows/0/{block}", trust_env=False)
            got = np.frombuffer(answer.content, dtype).reshape(values.shape)
            assert same(got, values.astype(dtype)), block
    with pytest.raises(httpx.ConnectError):
        httpx.get(url, trust_env=False)


@pytest.mark.parametrize(("options", "source"), [(FORECAST, "load.csv"), (LANGUAGE, "plays.txt")])
def test_a_training_comes_to_the_same_bits_when_it_is_watched(
    sources: Path, tmp_path: Path, options: Options, source: str
) -> None:
    options = changed(options, steps=40, validate_every=4)
    train(sources / source, options, run=tmp_path / "alone", console=quiet())
    console, over, fetched = told(), threading.Event(), []

    def poll() -> None:
        while not over.is_set() and "look at it: " not in said(console):
            time.sleep(0.001)
        with httpx.Client(base_url=url_of(console), trust_env=False, timeout=30) as client:
            while not over.is_set():
                for entry in client.get("recordings").json():
                    if not over.is_set():
                        answer = client.get(f"recordings/{entry['id']}/rows/0/0/forward/cell")
                        fetched.append((entry["id"], answer.status_code))

    # More models are made than one page would: each draws nothing from the generator of the training's dropout.
    def make() -> None:
        while not over.is_set():
            for _, path in snapshots.found(Run(tmp_path / "watched")):
                load(path)
            time.sleep(0.001)

    threads = [threading.Thread(target=poll), threading.Thread(target=make)]
    with Live(browser=False) as watcher:
        for thread in threads:
            thread.start()
        try:
            train(sources / source, options, run=tmp_path / "watched", console=console, callbacks=[watcher])
        finally:
            over.set()
            for thread in threads:
                thread.join(30)
    for file in ("checkpoint.safetensors", "model.safetensors"):
        assert weights(tmp_path / "watched", file) == weights(tmp_path / "alone", file)
    assert {status for _, status in fetched} == {200}
    assert Run(tmp_path / "watched").validations() == Run(tmp_path / "alone").validations()


def test_a_model_is_read_without_drawing_weights(tmp_path: Path) -> None:
    model = language_model()
    model.save(tmp_path / "a.safetensors")
    before = torch.get_rng_state()
    read = load(tmp_path / "a.safetensors")
    assert torch.equal(torch.get_rng_state(), before)
    assert read.fingerprint == model.fingerprint
    assert not read.training
    x = torch.arange(6)[:, None]
    assert torch.equal(read(x).y, model(x).y)


class Copying(Live):
    """Keeps the checkpoint of a step."""

    def validated(self, model: Model, step: int) -> None:
        super().validated(model, step)
        if step == 20:
            shutil.copy(self._run.checkpoint, self._run.path / "kept")


def test_a_run_that_goes_on_keeps_its_snapshots_and_takes_later_ones_again(sources: Path, tmp_path: Path) -> None:
    path, options = tmp_path / "it", changed(FORECAST, steps=40)
    with Copying(browser=False) as watcher:
        run, _ = train(sources / "load.csv", options, run=path, console=quiet(), callbacks=[watcher])
    first = {step: file.read_bytes() for step, file in snapshots.found(run)}
    assert list(first) == [0, 10, 20, 30, 40]
    final = weights(path)
    shutil.move(path / "kept", run.checkpoint)  # as if it had been killed then
    console = told()
    with Asking(console) as again:
        resume(path, console=console, callbacks=[again])
    assert again.steps == [[0, 10, 20], [0, 10, 20, 30], [0, 10, 20, 30, 40]]
    assert again.files == [[0, 10, 20, 30, 40], [0, 10, 20, 30], [0, 10, 20, 30, 40]]
    assert {step: file.read_bytes() for step, file in snapshots.found(run)} == first
    assert weights(path) == final
    # A run that is at its end says so at once, and shows what there is.
    console = told()
    with Asking(console) as last:
        resume(path, console=console, callbacks=[last])
    assert last.steps == [[0, 10, 20, 30, 40]]


def test_of_many_snapshots_every_second_one_goes(
    sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshots, "MOST", 4)
    console = told()
    with Asking(console) as watcher:
        options = changed(LANGUAGE, steps=40, validate_every=4)
        train(sources / "plays.txt", options, run=tmp_path / "it", console=console, callbacks=[watcher])
    assert watcher.steps == watcher.files  # the page lists none that is gone
    assert watcher.steps[4:8] == [[4, 8, 12, 16], [8, 16, 20], [8, 16, 20, 24], [16, 24, 28]]
    assert all(len(steps) <= 4 for steps in watcher.steps)
    assert [steps[-1] for steps in watcher.steps[1:]] == list(range(4, 41, 4))


def test_a_folder_that_cannot_be_written_ends_no_training(
    sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(sources / "plays.txt", LANGUAGE, run=tmp_path / "alone", console=quiet())
    path = tmp_path / "it"
    path.mkdir()
    (path / "snapshots").write_text("in the way")
    console = told()
    with Asking(console) as watcher:
        _, progress = train(sources / "plays.txt", LANGUAGE, run=path, console=console, callbacks=[watcher])
    assert progress.finished == "steps"
    assert watcher.steps == [[]] * 4
    for step in (10, 20, 30):
        assert f"no snapshot of step {step}: it exists already\n" in said(console)
    (path / "snapshots").unlink()
    shutil.rmtree(path)

    real = Model.save

    def full(model: Model, to: Path) -> None:
        if Path(to).parent.name == "snapshots" and "00000020" in Path(to).name:
            raise OSError(28, "No space left on device", str(to))
        real(model, to)

    monkeypatch.setattr(Model, "save", full)
    console = told()
    with Asking(console) as watcher:
        train(sources / "plays.txt", LANGUAGE, run=path, console=console, callbacks=[watcher])
    assert watcher.steps[-1] == [10, 30]
    assert said(console).count("no snapshot of step") == 1
    assert "no snapshot of step 20: the disk is full\n" in said(console)
    assert weights(path) == weights(tmp_path / "alone")


def test_afterwards_look_lists_them_with_the_best_one_first(sources: Path, tmp_path: Path) -> None:
    with Live(browser=False) as watcher:
        run, progress = train(
            sources / "plays.txt",
            changed(LANGUAGE, lr=0.5, schedule="constant"),
            run=tmp_path / "it",
            console=quiet(),
            callbacks=[watcher],
        )
    catalog, title = open_path(tmp_path / "it", None, DEFAULT, False, pytest.fail)
    assert title == "it, test part"
    scores, best = dict(run.validations()), progress.best_step
    assert best in (10, 20, 30)
    others = [step for step in scores if step != best]
    with served(catalog) as client:
        entries = strict(client.get("recordings").content)
        assert [(one["id"], one["step"], one["score"], one["first"]) for one in entries] == [
            *((f"step-{step}", step, scores[step], False) for step in others),
            ("best", best, scores[best], True),
        ]
        assert catalog.shown() == "best"
        fingerprints = set()
        for one in entries:
            meta = strict(client.get(f"recordings/{one['id']}/meta").raise_for_status().content)
            assert meta["note"] == one["note"] == f"step {one['step']}" + (", best" if one["first"] else "")
            assert meta["title"] == "it, test part"
            fingerprints.add(meta["fingerprint"])
        assert len(fingerprints) == 3
        expected = look(tmp_path / "it")
        got = client.get("recordings/best/rows/0/scores").content
        assert got == expected.predictions[:, 0].astype("<f4").tobytes()


def test_what_is_no_snapshot_is_left_alone(tmp_path: Path) -> None:
    run, model = Run(tmp_path), language_model()
    assert snapshots.found(run) == []
    assert snapshots.keep(run, model, 5) == []
    for name in (
        "notes.txt",
        "step-x.safetensors",
        "step-7.safetensors.bak",
        ".step-00000009.safetensors.partial",
    ):
        (run.snapshots / name).write_text("mine")
    assert [step for step, _ in snapshots.found(run)] == [5]
    assert snapshots.keep(run, model, 3) == [5]
    assert [step for step, _ in snapshots.found(run)] == [3]
    assert len(list(run.snapshots.iterdir())) == 5


# --- the command


@pytest.fixture
def command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, sources: Path, tmp_path: Path
) -> Callable[..., tuple[Any, str, str]]:
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: Any) -> tuple[Any, str, str]:
        code: Any = 0
        given = [
            "train",
            sources / "plays.txt",
            "--run",
            tmp_path / "it",
            "--steps",
            4,
            "--hidden",
            4,
            "--batch",
            2,
        ]
        try:
            cli.main([str(one) for one in (*given, "--device", "cpu", "--context", 8, *arguments)])
        except SystemExit as end:
            code = end.code
        return (code, *capsys.readouterr())

    return run


def test_train_look_says_where_the_page_is_and_does_not_stay_without_a_terminal(
    command: Callable[..., tuple[Any, str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr(PageServer, "open_browser", lambda server: opened.append(server.url))
    monkeypatch.setattr(PageServer, "wait", lambda _: pytest.fail("stays"))
    code, out, err = command("--look", "--no-browser")
    assert (code, err, opened) == (0, "", [])
    [url] = re.findall(r"^look at it: (http://127.0.0.1:\d+/[\w-]+/)$", out, re.MULTILINE)
    assert out.index(url) < out.index("finished at step 4")
    assert [step for step, _ in snapshots.found(Run(tmp_path / "it"))] == [4]
    shutil.rmtree(tmp_path / "it")
    waited = []
    monkeypatch.setattr(PageServer, "wait", lambda server: waited.append(httpx.get(server.url).status_code))
    for stream in (sys.stdin, sys.stdout):
        monkeypatch.setattr(stream, "isatty", lambda: True)
    code, out, err = command("--look")
    assert (code, err) == (0, "")
    assert out.endswith("the page stays until Ctrl-C\n")
    assert out.index("finished at step 4") < out.index("the page stays")
    assert len(opened) == 1
    assert opened[0] in out
    assert waited == [200]


def test_a_port_that_is_not_free_costs_nothing(
    command: Callable[..., tuple[Any, str, str]], tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for number, told in (
            (99999, "expected a number from 0 to 65535, got 99999"),
            (port, f"expected a port that is free, got 127.0.0.1:{port}: another program uses it"),
        ):
            outcome = command("--look", "--no-browser", "--port", number)
            assert outcome == (1, "", f"error: --port: {told}\n")
            assert not (tmp_path / "it").exists()
    code, out, _ = command("--look", "--no-browser", "--port", port)
    assert code == 0
    assert f"look at it: http://127.0.0.1:{port}/" in out


def test_a_training_that_fails_ends_the_page(sources: Path, tmp_path: Path) -> None:
    with pytest.raises(GatewrightError, match="--target"), Live(browser=False) as watcher:
        train(sources / "load.csv", LANGUAGE, run=tmp_path / "it", console=quiet(), callbacks=[watcher])
    assert not (tmp_path / "it").exists()
    with pytest.raises(httpx.ConnectError):
        httpx.get(watcher._server.url, trust_env=False)
