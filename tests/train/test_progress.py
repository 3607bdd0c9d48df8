"""The live display of a terminal, and the plain lines elsewhere."""

from __future__ import annotations

import io
import json
import re
import threading
from dataclasses import replace
from types import SimpleNamespace

import pytest
from rich.console import Console

from gatewright import progress
from gatewright.train.callback import Callback
from gatewright.train.launch import _listeners, train
from gatewright.train.progress import Display
from tests.support.training_runs import FORECAST, write_table


def shown(terminal: bool) -> str:
    output = io.StringIO()
    console = Console(file=output, force_terminal=terminal, width=100, color_system=None)
    view = Display(console)
    view.start(total=40, unit="nats/char")
    view.note("12 weights")
    for step in range(1, 21):
        view.step(step, loss=3.25, rate=10.0)
    view.validation(20, epoch=0.5, loss=3.25, valid=3.0, best=True)
    view.close()
    return output.getvalue()


def test_a_terminal_sees_a_bar_with_loss_rate_and_time_left():
    text = shown(terminal=True)
    assert "20/40" in text
    assert "loss 3.2500  10.0 steps/s eta" in text
    assert "valid 3.0000 nats/char  best so far" in text


def test_other_measures_of_a_validation_stand_next_to_its_score():
    output = io.StringIO()
    view = Display(Console(file=output, width=200), lambda score: {"bits_per_byte": score / 2, "perplexity": None})
    view.start(total=40, unit="nats/char")
    view.validation(20, epoch=0.5, loss=3.25, valid=3.0, best=True)
    assert "valid 3.0000 nats/char  1.5 bits per byte  best so far" in output.getvalue()


def test_elsewhere_plain_lines_come_now_and_then(monkeypatch):
    assert "\x1b" not in shown(terminal=False)
    assert "step 20/40" not in shown(terminal=False)
    monkeypatch.setattr(progress, "PLAIN_SECONDS", 0.0)
    assert "step 20/40  loss 3.2500  10.0 steps/s  eta 2 s" in shown(terminal=False)


def waited(monkeypatch, patience, terminal=False):
    """What is shown of a step, and of three batches of windows."""
    monkeypatch.setattr(progress, "PATIENCE", patience)
    console = Console(file=io.StringIO(), force_terminal=terminal, width=100, color_system=None)
    waits = progress.Waits(console)
    with waits.during("reading [load].csv"):
        pass
    with waits.counting("evaluating", 1200, "windows") as advance:
        for more in (300, 500, 400):
            advance(more)
    return console.file.getvalue()


def test_a_step_that_takes_long_says_what_it_is(monkeypatch):
    assert waited(monkeypatch, 1e6) == ""
    assert waited(monkeypatch, 0) == "reading [load].csv\nevaluating: 1,200 windows\n"
    monkeypatch.setattr(progress, "PLAIN_SECONDS", 0.0)
    shown = re.sub(r"eta \d+ s", "eta", waited(monkeypatch, 1e6)).splitlines()
    assert shown == ["evaluating: 300 of 1,200 windows, eta", "evaluating: 800 of 1,200 windows, eta"]
    bar = waited(monkeypatch, 1e6, terminal=True)
    assert "evaluating" in bar
    assert "/1200 windows eta" in bar
    with progress.SILENT.during("reading"), progress.SILENT.counting("evaluating", 5, "windows") as advance:
        advance(5)


def test_a_slow_step_is_told_while_it_goes_on(monkeypatch):
    """By a timer: the line is there before the step ends."""
    monkeypatch.setattr(progress, "PATIENCE", 0.01)
    told = threading.Event()
    monkeypatch.setattr(progress.Waits, "_say", lambda *_: told.set())
    with progress.Waits(Console(file=io.StringIO())).during("reading"):
        assert told.wait(timeout=60)


def test_all_processes_but_the_first_are_silent():
    for first in (True, False):
        accelerator = SimpleNamespace(is_main_process=first)
        console, callback = Console(file=io.StringIO()), Callback()
        task = SimpleNamespace(measures=dict)
        display, *others = _listeners(console, [callback], accelerator, task) or (None,)
        assert isinstance(display, Display) == first
        assert others == [callback][:first]
        assert list(_listeners(None, [callback], accelerator, task)) == [callback][:first]


class Noting(Callback):
    """Writes down which method is called."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def __getattribute__(self, name):
        if name in vars(Callback) and not name.startswith("_"):
            self.calls.append(name)
        return super().__getattribute__(name)


def test_a_training_without_a_console_prints_nothing_and_calls_its_callbacks(tmp_path, capfd):
    noting = Noting()
    source = write_table(tmp_path / "load.csv")
    train(source, FORECAST, run=tmp_path / "run", callbacks=[noting])
    assert capfd.readouterr() == ("", "")
    period = ["step"] * 10 + ["validation", "validated"]
    assert [name for name in noting.calls if name != "close"] == [
        "start", "note", "note", "begin", "validation", "validated", *period * 3, "note", "note", "note",
    ]  # fmt: skip
    assert noting.calls.count("close") == 1  # looked up before the first step, called after the last one


def test_callbacks_are_closed_after_an_error(tmp_path):
    class Failing(Callback):
        closed = False

        def step(self, step, loss, rate):  # noqa: ARG002
            raise RuntimeError(f"step {step}")

        def close(self):
            self.closed = True

    failing = Failing()
    with pytest.raises(RuntimeError, match="step 1"):
        train(write_table(tmp_path / "load.csv"), FORECAST, run=tmp_path / "run", callbacks=[failing])
    assert failing.closed


def test_a_run_says_what_it_learns_and_writes_for_tensorboard(tmp_path):
    output = io.StringIO()
    console = Console(file=output, width=80)
    options = replace(FORECAST, training=replace(FORECAST.training, refit=True))  # which takes step 1 again
    run, _ = train(write_table(tmp_path / "load.csv"), options, run=tmp_path / "run", console=console)
    text = output.getvalue()
    assert "240 + 80 + 80 rows (training + validation + test), every 1h" in text
    assert "214 + 78 + 78 windows" in text
    assert "forecast load, 3 ahead, from 24 steps" in text
    assert "known inputs: wind" in text
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run.tensorboard))
    events.Reload()
    lines = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    expected = {line["step"]: line["valid"] for line in lines if "valid" in line}
    assert {event.step: event.value for event in events.Scalars("valid")} == pytest.approx(expected)
