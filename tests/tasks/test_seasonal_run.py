"""A run with seasons, from training to forecasts, recordings, streams and a plain RNN: one model, one answer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

import gatewright as gw
from gatewright.evaluation.report import evaluate_run, forecast_run
from gatewright.files import model_file
from gatewright.insight import inputs, recorder
from gatewright.insight.intervention import intervene
from gatewright.runs.run import Run
from gatewright.tasks.options import DataOptions, ModelOptions, Options, TrainingOptions
from gatewright.train import launch
from gatewright.train.callback import Callback
from gatewright.train.plain_rnn import load, save, train_plain_rnn, with_peer

pytestmark = pytest.mark.slow

ROWS = 300


def table(path: Path) -> Path:
    """Two series, with a season of 6 in one target and of 4 in the other, and gaps."""
    rng = np.random.default_rng(0)
    lines = ["site,load,heat,wind"]
    for site in ("north", "south"):
        rows = np.arange(ROWS)
        profiles = rng.normal(size=6)[rows % 6] * 5, rng.normal(size=4)[rows % 4] * 3
        values = np.stack([*profiles, rng.normal(size=ROWS)], axis=1) + rng.normal(size=(ROWS, 3)) * 0.5
        values[:, :2][rng.random((ROWS, 2)) < 0.1] = np.nan
        lines += [",".join([site, *("" if value != value else f"{value:.5f}" for value in row)]) for row in values]
    path.write_text("\n".join(lines) + "\n")
    return path


OPTIONS = Options(
    DataOptions(
        target=("load", "heat"), past=("wind",), id=("site",), time="none", context=20, horizon=8,
        season=("6", "4"), valid="40", test="40",
    ),
    ModelOptions(hidden=20, dropout=0.1),
    TrainingOptions(steps=24, batch=16, lr=0.01, validate_every=8, checkpoint_every=5, device="cpu"),
)  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("seasonal")
    made, progress = launch.train(table(folder / "table.csv"), OPTIONS, run=folder / "run")
    assert progress.best < float("inf")
    return made


def test_the_model_has_its_seasons_and_the_baseline_the_first(run: Run) -> None:
    file = model_file.read(run.model)
    assert file.spec.encoder.seasons == (4, 6)
    assert file.tensors["season.weight"].shape == (2, 8, 2)
    _, figures = evaluate_run(run.path)
    assert figures["season"] == 6
    for target in ("load", "heat"):
        found = {name: method["overall"]["mae"] for name, method in figures["targets"][target].items()}
        assert found["model"] < 0.5 * found["persistence"], (target, found)


def test_a_recording_and_a_stream_say_the_same(run: Run) -> None:
    recording = gw.look(run.path)
    data, model = run.data(), run.best_model()
    for row, (series, parts) in enumerate(zip(data.table.series, data.parts, strict=True)):
        first, steps = parts.test - 20, int(recording.lengths[row])
        stream = model.stream()
        expected = stream.run(series.values[first : first + steps])
        np.testing.assert_allclose(recording.predictions[:steps, row], expected, rtol=1e-5, atol=1e-5)
    part = inputs.of_run(run, model, None).rows([1])
    alone = recorder.record(model, part)
    np.testing.assert_array_equal(alone.predictions[:, 0], recording.predictions[: alone.lengths[0], 1])


def test_a_forecast_is_that_of_a_stream_of_the_last_rows(run: Run, tmp_path: Path) -> None:
    text, notes = forecast_run(run.path, run.unchanged_source(), None, None)
    shifted = (
        "'load' has no value in the last row before the forecast: the seasonal part of the forecast is shifted by "
        "the rows since its last value; fill it in: south"
    )
    assert notes == [shifted]
    frame = pl.read_csv(text.encode())
    model, data = run.best_model(), run.data()
    for series in data.table.series:
        last = int(np.flatnonzero(np.isfinite(series.values[:, :2]).any(axis=1))[-1])
        expected = model.stream().run(series.values[last - 19 : last + 1])[-1]
        found = frame.filter(pl.col("site") == series.name).select(pl.selectors.starts_with("load", "heat"))
        np.testing.assert_allclose(found.to_numpy().reshape(8, 2, 3), expected, rtol=1e-4, atol=1e-4)


def test_a_change_moves_nothing_before_it_and_the_seasons_stay(run: Run) -> None:
    before = gw.look(run.path, steps=40)
    after = intervene(run.path, clamp={0: {"output_gate": (None, 0.0, slice(25, None))}}, steps=40)
    np.testing.assert_array_equal(after.predictions[:25], before.predictions[:25])
    # Without hidden units a forecast is the last value, the bias and the seasonal differences: no constant change.
    model = run.best_model()
    bias = model.head.bias.detach().view(8, 2, 3).numpy()
    change = after.predictions[30] - before.predictions[30]
    assert np.abs(change).max() > 0
    assert np.ptp(after.predictions[30, 0, :, 0, 1] - bias[:, 0, 1]) > 1


def test_a_plain_rnn_has_seasons_of_its_own(run: Run, tmp_path: Path) -> None:
    options, task = launch.reopen(run)
    plain = train_plain_rnn(task, options.training, 6, fingerprint=run.best_model().fingerprint)
    assert plain.season is not None
    assert task.model.season is not None
    assert not (plain.season.weight == task.model.season.weight).all()  # it learned
    model = run.best_model()
    save(tmp_path / "plain.safetensors", plain)
    again = load(tmp_path / "plain.safetensors", model)
    assert (again.season.weight == plain.season.weight).all()  # type: ignore[union-attr]
    batch = inputs.of_run(run, model, None)
    recording = with_peer(recorder.record(model, batch), model, batch, again)
    assert recording.peer is not None
    assert np.isfinite(recording.peer.predictions).all()


class Stop(Callback):
    """Ends a training with an error after some step."""

    def step(self, step: int, loss: float, rate: float) -> None:  # noqa: ARG002
        if step == 13:
            raise RuntimeError("stopped by the test")


def test_a_run_that_is_resumed_ends_with_the_same_bits(run: Run, tmp_path: Path) -> None:
    source = run.unchanged_source()
    with pytest.raises(RuntimeError, match="stopped by the test"):
        launch.train(source, OPTIONS, run=tmp_path / "run", callbacks=[Stop()])
    resumed, progress = launch.resume(tmp_path / "run")
    assert progress.step == 24
    assert model_file.read(resumed.model).fingerprint == model_file.read(run.model).fingerprint
