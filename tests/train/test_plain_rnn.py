"""A plain RNN beside an LSTM: it learns from the very batches, is kept in a file, and stands in a recording."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from gatewright import look
from gatewright.errors import ModelFileError
from gatewright.insight import recorder
from gatewright.nn.model import Model
from gatewright.spec import Scaler
from gatewright.tasks import registry
from gatewright.tasks.base import Share
from gatewright.tasks.forecast import dataset as series_data
from gatewright.tasks.forecast.task import ForecastTask
from gatewright.tasks.forecast.windows import absolute
from gatewright.tasks.language import dataset as text_data
from gatewright.tasks.language.task import LanguageTask
from gatewright.tasks.options import Options
from gatewright.tasks.settings import TrainingSettings
from gatewright.train import plain_rnn
from gatewright.train.plain_rnn import PlainModel, train_plain_rnn, with_peer
from tests.support.small_models import forecaster, rows_of, write_cells
from tests.support.training_runs import FORECAST, LANGUAGE, write_table, write_text

STEPS = 40


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("plain")


def forecast_task(folder: Path) -> tuple[ForecastTask, Options]:
    options = FORECAST.over(registry.kind("forecast").defaults)
    data = series_data.read(write_table(folder / "load.csv"), options.data)
    spec, scaler = series_data.build(data, options)
    torch.manual_seed(1)
    model = Model(spec, scaler=scaler)
    return ForecastTask(model, data, 8, 3, Share(0, 1), torch.device("cpu")), options


def language_task(folder: Path) -> tuple[LanguageTask, Options]:
    options = LANGUAGE.over(registry.kind("language").defaults)
    text = text_data.read(write_text(folder / "plays.txt"), options.data)
    torch.manual_seed(1)
    model = Model(text_data.build(text, options), vocabulary=text.vocabulary)
    return LanguageTask(model, text, options, Share(0, 1), torch.device("cpu")), options


@pytest.mark.parametrize("make", [forecast_task, language_task])
def test_it_learns_from_the_batches_that_the_lstm_learned_from(make: Any, folder: Path) -> None:
    task, options = make(folder)
    before = {name: value.clone() for name, value in task.model.state_dict().items()}
    loss, asked, read = task.loss, [], []

    def spied(model: torch.nn.Module, step: int) -> Any:
        asked.append((type(model), step))
        handle = model.encoder.register_forward_pre_hook(lambda _, given: read.append(given[0].clone()))
        try:
            return loss(model, step)
        finally:
            handle.remove()

    task.loss = spied
    seen: list[tuple[int, float]] = []
    training = dataclasses.replace(TrainingSettings.of(options.training), lr=0.02)
    made = train_plain_rnn(task, training, STEPS, progress=lambda *now: seen.append(now))
    assert asked == [(PlainModel, step) for step in range(STEPS)]
    other, _ = make(folder)
    batches: list[torch.Tensor] = []
    other.model.encoder.register_forward_pre_hook(lambda _, given: batches.append(given[0]))
    for step in range(STEPS):
        other.loss(other.model, step)
        assert torch.equal(read[step], batches[step])
    assert [step for step, _ in seen] == list(range(1, STEPS + 1))
    losses = [value for _, value in seen]
    assert np.mean(losses[-5:]) < 0.9 * np.mean(losses[:5])
    assert not made.training
    assert all(torch.equal(value, before[name]) for name, value in task.model.state_dict().items())


def test_it_is_trained_the_same_each_time_and_has_the_sizes_of_the_lstm(folder: Path) -> None:
    task, options = forecast_task(folder)
    made = train_plain_rnn(task, TrainingSettings.of(options.training), 3)
    again = train_plain_rnn(forecast_task(folder)[0], TrainingSettings.of(options.training), 3)
    assert all(torch.equal(a, b) for a, b in zip(made.parameters(), again.parameters(), strict=True))
    stack = task.model.spec.lstm
    sizes = (made.rnn.input_size, made.rnn.hidden_size, made.rnn.num_layers)
    assert sizes == (task.model.spec.input_size, stack.hidden_size, stack.num_layers)
    x, _ = task.inputs(0)
    assert made(x).y.shape == task.model(x).y.shape
    assert made(x, last=1).y.shape == task.model(x, last=1).y.shape
    # A sequence in two parts is the sequence.
    state = made(x[:10]).state
    torch.testing.assert_close(made(x[10:], state).y, made(x).y[10:])


def test_before_training_it_says_what_persistence_says(folder: Path) -> None:
    task, _ = forecast_task(folder)
    assert not PlainModel(task.model)(task.inputs(0)[0]).y.any()


def test_its_file_is_read_as_it_was_written(folder: Path) -> None:
    for make in (forecast_task, language_task):
        task, options = make(folder)
        made = train_plain_rnn(task, TrainingSettings.of(options.training), 2)
        plain_rnn.save(folder / "plain.safetensors", made)
        found = plain_rnn.load(folder / "plain.safetensors", task.model)
        assert not found.training
        ours, theirs = found.state_dict(), made.state_dict()
        assert list(ours) == list(theirs)
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_it_stands_beside_the_trained_model(folder: Path) -> None:
    """The task is made anew, with a model that is not yet trained."""
    task, options = forecast_task(folder)
    trained, _ = forecast_task(folder)
    with torch.no_grad():
        trained.model.head.bias[0] = 1.0
    made = train_plain_rnn(task, TrainingSettings.of(options.training), 1, fingerprint=trained.model.fingerprint)
    plain_rnn.save(folder / "plain", made)
    assert plain_rnn.load(folder / "plain", trained.model).fingerprint == trained.model.fingerprint
    with pytest.raises(ModelFileError, match="got one of another model"):
        plain_rnn.load(folder / "plain", task.model)


def test_another_file_is_refused(folder: Path) -> None:
    task, options = forecast_task(folder)
    made = train_plain_rnn(task, TrainingSettings.of(options.training), 1)
    path = folder / "refused.safetensors"
    plain_rnn.save(path, made)
    content = path.read_bytes()
    other, _ = forecast_task(folder)
    with torch.no_grad():
        other.model.head.bias[0] = 1.0
    with pytest.raises(
        ModelFileError, match="expected a plain RNN trained for this model, got one of another model"
    ):
        plain_rnn.load(path, other.model)
    path.write_bytes(content[:-1])
    with pytest.raises(ModelFileError, match=f"^{path}: expected a plain RNN, got "):
        plain_rnn.load(path, task.model)
    with pytest.raises(ModelFileError, match="nothing: the file does not exist"):
        plain_rnn.load(folder / "nothing", task.model)
    task.model.save(folder / "model.safetensors")
    with pytest.raises(ModelFileError, match="expected a plain RNN of format 1, got another file"):
        plain_rnn.load(folder / "model.safetensors", task.model)
    metadata = {"gatewright_plain_rnn": "1", "beside": made.fingerprint}
    tensors = safetensors.torch.load(content)
    for change, message in (
        (
            {"rnn.bias_hh_l0": None},
            r"'rnn.bias_hh_l0': expected finite numbers of shape \(8,\) in float32, got none",
        ),
        ({"rnn.bias_hh_l0": torch.ones(9)}, r"of shape \(8,\) in float32, got numbers of shape \(9,\)"),
        ({"rnn.bias_hh_l0": torch.full((8,), torch.nan)}, "'rnn.bias_hh_l0': expected finite numbers"),
        ({"more": torch.ones(1)}, r"'more': expected no such tensor, got numbers of shape \(1,\)"),
    ):
        changed = {name: value for name, value in (tensors | change).items() if value is not None}
        path.write_bytes(safetensors.torch.save(changed, metadata))
        with pytest.raises(ModelFileError, match=message):
            plain_rnn.load(path, task.model)
    path.write_bytes(safetensors.torch.save(tensors, metadata | {"gatewright_plain_rnn": "2"}))
    with pytest.raises(ModelFileError, match="expected a plain RNN of format 1, got format '2'"):
        plain_rnn.load(path, task.model)


def hidden_by_hand(made: PlainModel, x: np.ndarray) -> np.ndarray:
    """h' = tanh(W x + b + U h + d), layer by layer, (T, D)."""
    for layer in range(made.rnn.num_layers):
        W, U, b, d = (
            getattr(made.rnn, f"{name}_l{layer}").detach().double().numpy()
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        h, rows = np.zeros(len(U)), []
        for row in x:
            h = np.tanh(W @ row + b + U @ h + d)
            rows.append(h)
        x = np.array(rows)
    return x


def shaken(made: PlainModel) -> PlainModel:
    """With a head that says something."""
    torch.manual_seed(2)
    torch.nn.init.normal_(made.head.weight)
    torch.nn.init.normal_(made.head.bias)
    return made.eval()


def test_it_stands_in_a_recording_of_series(folder: Path) -> None:
    cells = rows_of("north", 60, 1) + rows_of("south", 70, 2)
    table, model = forecaster(write_cells(folder / "sites.csv", cells))
    opened, batch = recorder.prepare(model, table.table)
    assert opened is model
    made = shaken(PlainModel(model))
    alone = recorder.record(model, batch)
    found = with_peer(alone, model, batch, made)
    assert (alone.peer, alone.about.peer) == (None, "")
    assert found.about == dataclasses.replace(alone.about, peer="plain RNN")
    assert found.predictions is alone.predictions
    assert found.peer is not None
    np.testing.assert_array_equal(found.lengths, [57, 67])
    scaler = model.scaler
    assert isinstance(scaler, Scaler)
    scale, mean = (np.array(values[:2])[:, None] for values in (scaler.scale, scaler.mean))
    assert batch.level is not None
    for row, n in enumerate(found.lengths.tolist()):
        hidden = hidden_by_hand(made, found.inputs[:n, row].astype(np.float64))
        np.testing.assert_allclose(found.peer.hidden[:n, row], hidden, rtol=1e-4, atol=1e-6)
        assert not found.peer.hidden[n:, row].any()
        assert not found.peer.predictions[n:, row].any()
        with torch.no_grad():
            y = absolute(model, made(batch.x[:n, [row]]).y, batch.level[:n, [row]])[:, 0]
        said = np.sort(y.double().numpy(), axis=-1) * scale + mean
        np.testing.assert_allclose(found.peer.predictions[:n, row], said, rtol=1e-5)
    part = found.select(steps=slice(4, 20), rows=[1])
    np.testing.assert_array_equal(part.peer.hidden, found.peer.hidden[4:20, [1]])  # type: ignore[union-attr]


def test_it_stands_in_a_recording_of_a_text(folder: Path) -> None:
    task, options = language_task(folder)
    made = train_plain_rnn(task, TrainingSettings.of(options.training), 2)
    text = "what it read, then"
    _, batch = recorder.prepare(task.model, text)
    found = with_peer(look(task.model, text), task.model, batch, made)
    assert found.peer is not None
    vectors = made.encoder.weight.detach().double().numpy()[found.symbols[:, 0]]  # type: ignore[index]
    hidden = hidden_by_hand(made, vectors)
    np.testing.assert_allclose(found.peer.hidden[:, 0], hidden, rtol=1e-4, atol=1e-6)
    scores = hidden @ made.head.weight.detach().double().numpy().T + made.head.bias.detach().double().numpy()
    said = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(found.peer.predictions[:, 0], said, rtol=1e-4, atol=1e-5)
