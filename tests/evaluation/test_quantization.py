"""`gatewright quantize`: the figures are those that the model's own evaluation has."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch

from gatewright import cli
from gatewright.data.preprocessing import encode, origins
from gatewright.data.text import encode_text, streams
from gatewright.evaluation.quantization import lines, quantize_run, remark
from gatewright.nn.model import Model, load
from gatewright.runs.run import Run
from gatewright.runtime.packed_model import WeightFormat
from gatewright.spec import QuantileHead, SeriesEncoder
from gatewright.tasks.forecast import dataset as series_data
from gatewright.tasks.forecast.windows import Windows, predict


@pytest.fixture(scope="module")
def text_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("quantize")
    source = folder / "rhyme.txt"
    source.write_text("the cat sat on the mat and the rat sat on the cat. " * 120)
    options = ["--hidden", "24", "--steps", "30", "--context", "16", "--batch", "4"]
    cli.main(["train", str(source), "--run", str(folder / "run"), *options])
    return folder / "run", source


@pytest.fixture(scope="module")
def series_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("quantize")
    source = folder / "load.csv"
    rng = np.random.default_rng(0)
    hours = np.datetime64("2024-01-01T00:00") + np.arange(900) * np.timedelta64(1, "h")
    wind = np.sin(np.arange(900) / 9) + rng.normal(size=900) / 9
    load = 50 + 9 * np.cos(np.arange(900) * np.pi / 12) + 2 * wind
    cells = [f"{load_:.4f}" if rng.random() > 0.1 else "" for load_ in load]
    rows = [f"{when!s},{cell},{gust:.4f}" for when, cell, gust in zip(hours, cells, wind, strict=True)]
    source.write_text("\n".join(["time,load,wind", *rows]) + "\n")
    options = [
        "--target",
        "load",
        "--known",
        "wind",
        "--horizon",
        "6",
        "--context",
        "24",
        "--hidden",
        "16",
        "--steps",
        "20",
    ]
    cli.main(["train", str(source), "--run", str(folder / "run"), *options])
    return folder / "run", source


def test_a_text_model_is_scored_as_torch_scores_it(text_run: tuple[Path, Path]) -> None:
    run, source = text_run
    found = quantize_run(run, source)
    assert [kept.weights for kept in found] == ["float32", "bf16", "bf16-float32", "int8", "int8-float32"]
    assert [found[0].bytes // kept.bytes for kept in found] == [1, 2, 2, 4, 4]
    assert [kept.milliseconds is not None for kept in found] == [True, True, False, True, False]
    model = load(run)
    assert model.vocabulary is not None
    symbols = encode_text(source.read_text(), model.vocabulary)
    laid = torch.from_numpy(streams(symbols, len(symbols) // 256))
    expected = 0.0
    for kept, compute in ((found[3], "int8"), (found[0], "full")):
        model.lstm.compute = compute
        with torch.no_grad():
            y = model(laid[:-1]).y
        expected = torch.nn.functional.cross_entropy(y.flatten(0, 1).double(), laid[1:].flatten()).item()
        assert kept.metrics["nats/char"] == pytest.approx(expected, rel=1e-9)
    for kept in found[1:]:
        assert kept.metrics["nats/char"] != expected
        assert kept.metrics["nats/char"] == pytest.approx(expected, rel=0.02)


@pytest.mark.slow
def test_a_forecaster_is_scored_as_its_evaluation_scores_it(
    series_run: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, source = series_run
    found = quantize_run(run, source)
    model = load(run)
    data = series_data.read(source, Run.open(run).options().data)
    head, scaler = model.spec.head, model.scaler
    assert isinstance(head, QuantileHead)
    assert scaler is not None
    assert isinstance(model.spec.encoder, SeriesEncoder)
    encoded = encode(data.table.series[0], model.spec.encoder, scaler)
    places = origins(encoded.target, 24, 6, 24, len(encoded.target))
    point = predict(model, Windows([encoded], model.spec.encoder, 6, "cpu"), places)[:, :, 0, 1]
    values = data.table.series[0].values[:, 0]
    truth = np.stack([values[place + 1 : place + 7] for place in places])
    error = (truth - point)[np.isfinite(truth)]
    assert found[0].metrics["MAE"] == pytest.approx(np.abs(error).mean(), rel=1e-9)
    assert found[0].metrics["MSE"] == pytest.approx((error**2).mean(), rel=1e-9)
    assert found[-1].metrics["MAE"] == pytest.approx(found[0].metrics["MAE"], rel=0.05)
    monkeypatch.setattr("gatewright.tasks.forecast.stream_score.MOST_WINDOWS", 10)
    assert quantize_run(run, source)[0].metrics["MAE"] != found[0].metrics["MAE"]


def test_the_command_prints_a_table(text_run: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["quantize", *map(str, text_run)])
    out = capsys.readouterr().out
    assert "weights of the gates" in out
    assert all(
        word in out for word in ("float32", "bf16", "bf16-float32", "int8", "nats/char", "KiB", "ms a batch", "%")
    )


def test_data_that_does_not_fit_is_one_line(
    series_run: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, source = series_run
    short = tmp_path / "short.csv"
    short.write_text("\n".join(source.read_text().splitlines()[:20]))
    for data, message in ((tmp_path / "none.csv", "none.csv"), (short, "at least 30 rows")):
        with pytest.raises(SystemExit) as ended:
            cli.main(["quantize", str(run), str(data)])
        assert ended.value.code == 1
        error = capsys.readouterr().err
        assert message in " ".join(error.split())
        assert "Traceback" not in error


def test_a_cell_has_the_formats_of_its_streams(text_run: tuple[Path, Path], tmp_path: Path) -> None:
    folder, source = tmp_path / "run", text_run[1]
    shutil.copytree(text_run[0], folder)
    path = Run.open(folder).require_model()
    for features, formats in (({"coupled": True}, 2), ({"weight_drop": 0.5}, 5)):
        plain = load(path)
        spec = replace(plain.spec, lstm=replace(plain.spec.lstm, **{"coupled": False, **features}))
        Model(spec, vocabulary=plain.vocabulary).save(path)
        results = quantize_run(folder, source)
        assert [each.weights for each in results] == list(get_args(WeightFormat))[:formats]
        assert results[1].milliseconds is not None
        assert lines(results).row_count == formats
    assert remark(results[:2]) is None
