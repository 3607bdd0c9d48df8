# ruff: noqa: ARG002 - no method needs every argument
"""A new kind of model is an entry in the registry: training, evaluation and looking need nothing else."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from rich.table import Table

import gatewright as gw
from gatewright import cli
from gatewright.data.text import encode_text
from gatewright.errors import GatewrightError, RunError
from gatewright.evaluation.quantization import quantize_run
from gatewright.evaluation.report import evaluate_run, forecast_run
from gatewright.nn.model import Model
from gatewright.runs.run import Run
from gatewright.spec import SymbolEncoder
from gatewright.tasks import registry
from gatewright.tasks.base import SESSIONS, Evaluation, Kind, StreamScore
from gatewright.tasks.language import dataset as text_data
from gatewright.tasks.language.dataset import TextData
from gatewright.tasks.language.inputs import of_source, of_text
from gatewright.tasks.language.task import LanguageTask
from gatewright.tasks.options import DataOptions, ModelOptions, Options, TrainingOptions
from gatewright.tasks.tables import empty
from gatewright.train.launch import reopen, resume, train
from tests.support.training_runs import LANGUAGE, quiet, write_text


def error_rate(model: Model, symbols: np.ndarray) -> float:
    """Return the share of next symbols that are not the likeliest one."""
    with torch.no_grad():
        scores = model.eval()(torch.from_numpy(symbols)[:-1, None]).y[:, 0]
    return float((scores.argmax(dim=-1).numpy() != symbols[1:]).mean())


class GuessTask(LanguageTask):
    """Learns as a language model does, and is judged by its likeliest symbol."""

    unit = "errors/char"

    def validate(self) -> float:
        rate = error_rate(self.model, self._valid)
        self.model.train()
        return rate

    def measures(self, score: float) -> dict[str, float | None]:
        return {"right": 1 - score}


class Guess(Kind[TextData]):
    """A model of the next character, scored by how often its first guess is wrong."""

    name = "guess"
    unit = "errors/char"
    suffixes = (".guess",)
    defaults = replace(
        registry.kind("language").defaults,
        data=DataOptions(context=16, reset=0.0, valid="0.1", test="0.1"),
        model=ModelOptions(hidden=10, layers=1, proj=0, dropout=0.0, embedding=4, forget_bias=1.0),
    )

    def fits(self, spec):
        return isinstance(spec.encoder, SymbolEncoder)

    def read(self, source, options, spec=None):
        return text_data.read(source, options)

    def build(self, data, options):
        return Model(text_data.build(data, options), vocabulary=data.vocabulary)

    def task(self, model, data, options, share, device):
        return GuessTask(model, data, options, share, device)

    def evaluate(self, model, data, windows, waits):
        test = encode_text(data.parts.test, model.vocabulary)
        figures = {"kind": self.name, "errors_per_character": error_rate(model, test)}
        return Evaluation(figures, lambda path: path.write_bytes(b"a plot"))

    def tables(self, figures: dict[str, Any]) -> Iterator[Table]:
        table = empty("first guesses", ["errors/char"])
        table.add_row("model", f"{figures['errors_per_character']:.3f}")
        yield table

    def inputs(self, model, data, span, title, fill, options=None):
        return of_source(model, data, span, title)

    def part_inputs(self, model, data, part, span, title):
        return of_text(model, getattr(data.parts, part), span, f"guesses of {title}")

    def predictions(self, model, batch, output):
        return output.double().log_softmax(dim=-1).float()

    def stream_score(self, file, source, options):
        symbols = encode_text(text_data.read(source, options).parts.test, file.vocabulary)

        def metrics(stream):
            x = np.repeat(symbols[:, None], SESSIONS, axis=1)
            scores = stream.run(x[:-1], sessions=range(SESSIONS))
            return {"errors/char": float((scores.argmax(axis=-1) != x[1:]).mean())}

        return StreamScore(symbols, None, metrics)


OPTIONS = Options(training=replace(LANGUAGE.training, steps=20, validate_every=10))


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setitem(registry.KINDS, "guess", Guess())
    source = write_text(tmp_path / "plays.txt").rename(tmp_path / "plays.guess")
    return train(source, OPTIONS, run=tmp_path / "run", console=quiet())[0]


def test_it_trains_resumes_and_evaluates(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert (run.kind, Run.open(run.path).kind) == ("guess", "guess")
    assert run.options().data.context == 16
    model, data = run.best_model(), run.data()
    symbols = encode_text(data.parts.valid, model.vocabulary)
    assert min(score for _, score in run.validations()) == error_rate(model, symbols)

    shown = io.StringIO()
    console = Console(file=shown, width=100)
    _, progress = resume(run.path, Options(training=TrainingOptions(steps=30)), console=console)
    assert progress.step == 30
    assert "errors/char" in shown.getvalue()
    lines = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    assert all(line["valid_right"] == 1 - line["valid"] for line in lines if "valid" in line)

    again, figures = evaluate_run(run.path)
    test = encode_text(data.parts.test, model.vocabulary)
    assert figures["errors_per_character"] == error_rate(again.best_model(), test) < 1
    assert json.loads(run.evaluation.read_text()) == figures
    assert run.plot.read_bytes() == b"a plot"
    cli.main(["evaluate", str(run.path)])
    out = capsys.readouterr().out
    assert f"{figures['errors_per_character']:.3f}" in out
    assert f"wrote {run.evaluation} and {run.plot}" in out.replace("\n", "")
    _, task = reopen(run)
    assert isinstance(task, GuessTask)


def test_it_is_looked_at(run: Run) -> None:
    from gatewright.inspector.loader import Selection, open_path

    recording = gw.look(run, steps=40)
    assert recording.about.title == "guesses of run, test part"
    model, text = run.best_model(), run.data().parts.test
    symbols = torch.from_numpy(encode_text(text, model.vocabulary))[:40, None]
    with torch.no_grad():
        expected = model(symbols).y.double().log_softmax(dim=-1)
    np.testing.assert_allclose(recording.predictions, expected.numpy(), rtol=0, atol=1e-6)
    np.testing.assert_array_equal(recording.symbols, symbols.numpy())
    assert gw.look(run, "gate cell").about.rows == ("",)
    catalog, title = open_path(run.path, None, Selection(), True, lambda _: None)
    assert title == "guesses of run, test part"
    meta = catalog.payload(catalog.shown()).meta()
    assert (meta["kind"], meta["peer"]["name"]) == ("text", "plain RNN")


def test_it_is_quantized_and_streamed(run: Run) -> None:
    source = run.unchanged_source()
    kept = quantize_run(run.path, source)
    test = encode_text(run.data().parts.test, run.best_model().vocabulary)
    assert kept[0].metrics == {"errors/char": pytest.approx(error_rate(run.best_model(), test), abs=1e-9)}


def test_what_it_does_not_do_is_refused(run: Run) -> None:
    with pytest.raises(RunError, match=r"expected a run that forecasts, got .*run, a guess model"):
        forecast_run(run.path, run.unchanged_source(), None, None)
    with pytest.raises(GatewrightError, match=r"--windows: expected a run that forecasts"):
        evaluate_run(run.path, windows=3)
    with pytest.raises(GatewrightError, match=r"--horizon: expected no such option for a guess model"):
        Guess().resolve(Options(DataOptions(horizon=3)))
    with pytest.raises(
        GatewrightError, match=r"ends in \.csv, \.tsv, \.parquet, \.txt, \.ts, \.guess, or the option --kind"
    ):
        registry.kind_of_source(Path("a.dat"))


def test_a_model_of_another_kind_in_a_run_is_refused(run: Run, tmp_path: Path) -> None:
    note = json.loads(run.source_note.read_text())
    run.source_note.write_text(json.dumps({**note, "kind": "forecast"}))
    with pytest.raises(RunError, match=r"expected a forecast model, as source\.json says, got a language model"):
        Run.open(run.path).best_model()
    run.source_note.write_text(json.dumps({**note, "kind": "poem"}))
    with pytest.raises(RunError, match="a kind out of forecast, language, classify, tag, guess, got 'poem'"):
        _ = Run.open(run.path).kind
