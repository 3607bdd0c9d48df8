"""A run learns from a value in memory as it does from a file: the same bits, and a digest of the content."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import gatewright as gw
from gatewright.data.sources import Text, digest
from gatewright.errors import GatewrightError, RunError
from gatewright.evaluation.report import evaluate_run, forecast_run
from gatewright.runs.run import Run
from gatewright.tasks.options import DataOptions, Options, TrainingOptions
from gatewright.train.launch import resume, train
from tests.support.training_runs import FORECAST, LANGUAGE, weights, write_table, write_text


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sources")
    pl.read_csv(write_table(folder / "load.csv"), try_parse_dates=True).write_parquet(folder / "load.parquet")
    train(folder / "load.parquet", FORECAST, run=folder / "file")
    train(pl.read_parquet(folder / "load.parquet"), FORECAST, run=folder / "value")
    return folder


@pytest.mark.slow
def test_a_data_frame_gives_the_same_run_as_its_file(folder: Path) -> None:
    frame = pl.read_parquet(folder / "load.parquet")
    for name in ("model.safetensors", "checkpoint.safetensors"):
        expected, got = weights(folder / "file", name), weights(folder / "value", name)
        assert expected.keys() == got.keys()
        assert all(np.array_equal(expected[key], got[key]) for key in expected)
    note = json.loads((folder / "value" / "source.json").read_text())
    assert note == {"kind": "forecast", "source": "", "sha256": digest(frame)}
    run = Run.open(folder / "value", frame)
    assert evaluate_run(run)[1] == evaluate_run(folder / "file")[1]
    np.testing.assert_array_equal(gw.look(run).predictions, gw.look(folder / "file").predictions)
    load = pl.when(pl.int_range(pl.len()) < 397).then(pl.col("load"))  # wind is known for three rows more
    frame.with_columns(load).write_parquet(folder / "ahead.parquet")
    ahead = [forecast_run(folder / name, folder / "ahead.parquet", None, None) for name in ("file", "value")]
    assert ahead[0] == ahead[1]


class Stream:
    """Arrow data that can be read once."""

    def __init__(self, frame: pl.DataFrame) -> None:
        self._frame: pl.DataFrame | None = frame

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        assert self._frame is not None
        frame, self._frame = self._frame, None
        return frame.__arrow_c_stream__(requested_schema)


def test_other_libraries_give_the_same_digest(folder: Path) -> None:
    frame = pl.read_parquet(folder / "load.parquet")
    run = Run.open(folder / "value", Stream(frame))
    assert [run.data().table.step for _ in range(2)] == ["1h", "1h"]
    assert run.data() is run.data()
    assert run.data("mean") is not run.data()


def test_a_run_goes_on_with_its_value(folder: Path) -> None:
    frame = pl.read_parquet(folder / "load.parquet")
    longer = Options(training=TrainingOptions(steps=35))
    resumed, progress = resume(Run.open(folder / "value", frame), longer)
    assert progress.step == 35
    resume(folder / "file", longer)
    assert resumed.best_model().fingerprint == Run.open(folder / "file").best_model().fingerprint


def test_a_text_in_memory_is_that_of_a_file(tmp_path: Path) -> None:
    path = write_text(tmp_path / "plays.txt")
    text = Text(path.read_text("utf-8"))
    of_file, _ = train(path, LANGUAGE, run=tmp_path / "file")
    of_value, _ = train(text, LANGUAGE, run=tmp_path / "value")
    assert of_file.best_model().fingerprint == of_value.best_model().fingerprint
    notes = [json.loads(run.source_note.read_text()) for run in (of_file, of_value)]
    assert notes[0]["sha256"] == notes[1]["sha256"]
    assert evaluate_run(of_file)[1] == evaluate_run(of_value)[1]
    lines = [json.loads(line) for line in of_file.metrics.read_text().splitlines()]
    valid = [line for line in lines if "valid" in line]
    assert len(valid) == 3
    for line in valid:  # a byte a character
        assert line["valid_bits_per_byte"] == pytest.approx(line["valid"] / np.log(2))
        assert line["valid_perplexity"] == pytest.approx(np.exp(line["valid"]))


def test_what_is_missing_or_another_is_refused(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = pl.read_parquet(folder / "load.parquet")
    with pytest.raises(RunError, match=r"expected the data in memory .* Run\.open\(path, source\), got none"):
        evaluate_run(folder / "value")
    other = frame.with_columns(pl.col("wind") + 1)
    with pytest.raises(RunError, match="the data that the run learned from, got data with another content"):
        evaluate_run(Run.open(folder / "value", other))
    monkeypatch.chdir(tmp_path)
    refused = [
        ({"load": [1.0]}, "", r"source: expected the path of a file, .* got an object of type dict"),
        (frame, "language", r"source: expected the path of a file, .* got an object of type DataFrame"),
        (frame.lazy(), "", r"LazyFrame; \.collect\(\) makes a DataFrame"),
        (Text(""), "", "an empty one"),
    ]
    for value, kind, message in refused:
        with pytest.raises(GatewrightError, match=message):
            train(value, kind=kind)
    assert list(tmp_path.iterdir()) == []


def test_a_run_without_a_name_is_called_after_its_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    times = pl.datetime_range(pl.datetime(2024, 1, 1), pl.datetime(2024, 1, 9), "1h", eager=True)
    frame = pl.DataFrame({"time": times, "load": np.sin(np.arange(len(times)) / 4)})
    options = Options(DataOptions(context=12), training=TrainingOptions(steps=1, device="cpu"))
    assert [train(frame, options)[0].path for _ in range(2)] == [Path("runs/forecast"), Path("runs/forecast-2")]
