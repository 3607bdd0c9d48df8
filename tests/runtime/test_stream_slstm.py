"""Streams of sLSTM layers, against the layer and its equations."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from gatewright import LSTM, CellSpec, Stream, equations
from gatewright.errors import GatewrightError, SpecError, StateError
from gatewright.nn.model import Model
from gatewright.runtime.state import State
from gatewright.serve.sessions.manager import Sessions
from gatewright.serve.sessions.requests import Advance, Answer
from gatewright.serve.sessions.sqlite import SqliteStore
from gatewright.spec import StackSpec
from gatewright.spec.cell import LayerWeights
from tests.support.stream_models import SYMBOLS, text_model

T, B, D, H = 19, 5, 3, 18
CELLS = [
    CellSpec(kind="slstm"),
    CellSpec(kind="slstm", heads=3, forget_gate_activation="exponential"),
    CellSpec(kind="slstm", heads=6, bias=False, hidden_dropout=0.3, weight_drop=0.2),  # which do nothing here
]
NAMES = ["whole", "exponential", "small heads"]


def layers_of(cell: CellSpec, **options: Any) -> LSTM:
    torch.manual_seed(3)
    lstm = LSTM(D, H, num_layers=2, bias=cell.bias, cell=cell, **options).eval()
    with torch.no_grad():
        for weight in lstm.parameters():
            weight.add_(0.5 * torch.randn_like(weight))
    return lstm


def arrays_of(lstm: LSTM) -> dict[str, Any]:
    return {name: weight.detach().numpy() for name, weight in lstm.named_parameters()}


def weights_of(lstm: LSTM, layer: int, dtype: Any = np.float32) -> LayerWeights:
    arrays = arrays_of(lstm)
    names = lstm.cell.weights(D, H)
    return LayerWeights.of(lstm.cell.code(), [arrays[f"{name}_l{layer}"].astype(dtype) for name in names])


@pytest.mark.parametrize("weights", ["float32", "bf16"])
@pytest.mark.parametrize("cell", CELLS, ids=NAMES)
def test_steps_have_the_bits_of_the_layer(cell: CellSpec, weights: str) -> None:
    """Two layers: at once and in parts, some sessions next to others, by steps, and on from bytes."""
    lstm = layers_of(cell, compute="bf16" if weights == "bf16" else "full")
    x = np.random.default_rng(1).normal(size=(T, B, D)).astype(np.float32)
    with torch.no_grad():
        y, (h_n, c_n) = lstm(torch.from_numpy(x))
        _, _, whole = lstm(torch.from_numpy(x[:9]), record=True)
    expected = y.numpy()
    stream = lstm.stream(sessions=B, weights=weights)  # type: ignore[arg-type]
    got, record = stream.run(x[:9], record=True)
    assert np.array_equal(got, expected[:9])
    for name in record._fields[:5]:
        of_layers = [getattr(each, name) for each in whole.layers]
        own = torch.from_numpy(getattr(record, name)).to(of_layers[0].dtype)
        assert torch.equal(own, torch.stack(of_layers, dim=2)), name
    for t in range(9, 12):
        assert np.array_equal(stream.step(x[t, 1::2], [1, 3]), expected[t, 1::2])
        for b in (4, 0, 2):
            assert np.array_equal(stream.step(x[t, b], b), expected[t, b])
    later = lstm.stream(weights=weights)  # type: ignore[arg-type]
    for b in range(B):
        later.restore(stream.snapshot(b))
        assert np.array_equal(later.run(x[12:, b]), expected[12:, b])
        assert np.array_equal(later.state().hidden, h_n[:, b].numpy())
        assert np.array_equal(later.state().cell, c_n[:, b].numpy())


@pytest.mark.parametrize("cell", CELLS, ids=NAMES)
def test_the_record_is_that_of_the_equations(cell: CellSpec) -> None:
    lstm = layers_of(cell)
    x = np.random.default_rng(2).normal(size=(T, D)).astype(np.float32)
    stream = Stream.from_weights(arrays_of(lstm), cell=cell)
    _, first = stream.step(x[0], record=True)
    assert (first.input_gate == 1).all()  # of the first step all, and of what was before nothing
    assert (first.forget_gate == 0).all()
    stream.reset()
    _, record = stream.run(x, record=True)
    below = x[:, None].astype(np.float64)
    for layer in range(2):
        below, expected = equations.forward(below, weights_of(lstm, layer, np.float64), cell=cell.in_evaluation())
        for name in ("input_gate", "forget_gate", "candidate", "output_gate", "cell"):
            assert np.abs(getattr(record, name)[:, layer] - getattr(expected, name)[:, 0]).max() < 1e-5, name
    assert (record.kept, record.written) == (None, None)
    assert np.array_equal(record.keep(), record.forget_gate)
    assert np.allclose(record.keep() + record.input_gate, 1, rtol=0, atol=1.2e-7)
    sums = record.keep()[1:] * record.cell[:-1] + record.write()[1:]
    assert np.abs(sums - record.cell[1:]).max() < 5e-7


def test_many_steps_and_sessions_have_the_bits_of_a_step() -> None:
    """More than walk together."""
    lstm = layers_of(CELLS[1])
    x = np.random.default_rng(3).normal(size=(30, 50, D)).astype(np.float32)
    several, alone = lstm.stream(sessions=50, threads=2), lstm.stream()
    y = several.run(x)
    assert np.array_equal(alone.run(x[:, 7]), y[:, 7])
    long = alone.run(x.reshape(-1, D))
    several.restore(alone.snapshot(), 3)
    assert np.array_equal(several.step(x[0, 0], 3), alone.step(x[0, 0]))
    assert np.isfinite(long).all()


def test_what_is_no_state_of_an_slstm_is_refused() -> None:
    cell = CELLS[1]
    lstm = layers_of(cell)
    stream = lstm.stream()
    stream.step([1.0, 2.0, 3.0])
    before = stream.state()
    assert before.cell.shape == (2, 3 * H)
    assert (before.cell[:, H : 2 * H] > 0).all()
    narrow = replace(before, cell=before.cell[:, :H])
    with pytest.raises(
        StateError, match=rf"^state\.cell: expected float32 \(2, {3 * H}\), got float32 \(2, {H}\)"
    ):
        stream.set_state(narrow)
    below = before.cell.copy()
    below[1, H] = -0.5
    with pytest.raises(StateError, match=r"^state\.cell: expected n of an sLSTM"):
        stream.set_state(replace(before, cell=below))
    assert stream.state() == before
    # Snapshots of the same sizes, of another cell or another model.
    plain = LSTM(D, H, num_layers=2).eval().stream()
    for other in (plain, lstm.stream(weights="bf16"), layers_of(replace(cell, heads=6)).stream()):
        with pytest.raises(StateError, match=r"^snapshot: expected a state of the model"):
            stream.restore(other.snapshot())
    with pytest.raises(StateError, match=r"^state\.cell: expected float32 \(2, 18\)"):
        plain.set_state(before)
    # m counts for nothing where n is 0.
    start = State(np.zeros((2, H), "f4"), np.zeros((2, 3 * H), "f4"), np.zeros(0), steps=0)
    start.cell[:, 2 * H :] = 80
    stream.set_state(start)
    y = stream.step([1.0, 2.0, 3.0])
    assert np.array_equal(y, lstm.stream().step([1.0, 2.0, 3.0]))


def test_weights_that_do_not_fit_the_heads_are_refused() -> None:
    arrays = arrays_of(layers_of(CELLS[1]))
    for kept in ("int8", "int8-float32", "bf16-float32"):
        with pytest.raises(GatewrightError, match=rf"^cell: expected a plain LSTM cell .*'{kept}', got .*kind"):
            Stream.from_weights(arrays, cell=CELLS[1], weights=kept)  # type: ignore[arg-type]
    for cell, error, message in (
        (CellSpec(kind="slstm"), GatewrightError, r"^weight_hh_l0: expected shape \(72, 18\), got \(72, 6\)"),
        (CellSpec(kind="slstm", heads=4), SpecError, r"^heads: expected a number that divides 18 units, got 4"),
        (CellSpec(), GatewrightError, r"^W_hh: expected shape \(72, 18\) without W_hr"),
        (CellSpec(coupled=True), GatewrightError, "shape"),
    ):
        with pytest.raises(error, match=message):
            Stream.from_weights(arrays, cell=cell)


def test_a_model_of_such_layers_streams(tmp_path: Any) -> None:
    plain = text_model()
    stack = StackSpec(12, num_layers=2, kind="slstm", heads=4, weight_drop=0.2)
    model = Model(replace(plain.spec, lstm=stack), vocabulary=plain.vocabulary).eval()
    model.save(tmp_path / "model.safetensors")
    numbers = [SYMBOLS.index(symbol) for symbol in "abba hags the bed" if symbol in SYMBOLS]
    with torch.no_grad():
        expected = model(torch.tensor(numbers)[:, None]).y[:, 0].numpy()
    streams = [model.stream(), Stream.load(tmp_path)]
    outputs = [stream.run(numbers) for stream in streams]
    assert np.array_equal(*outputs)
    assert np.array_equal(outputs[0], expected)
    assert streams[0].state() == streams[1].state()
    streams[1].restore(streams[0].snapshot())
    with pytest.raises(GatewrightError, match=r"^snapshot: expected a state of the model"):
        Stream.load(tmp_path, weights="bf16").restore(streams[0].snapshot())


def test_sessions_of_a_server_go_on_where_they_ended(tmp_path: Any) -> None:
    """Also beyond the cache, from what the store has."""
    lstm = layers_of(CELLS[1])
    x = np.random.default_rng(4).normal(size=(2, 12, D)).astype(np.float32)
    expected = [lstm.stream().run(each) for each in x]
    names: list[str] = []
    for part in (slice(0, 5), slice(5, 12)):
        with SqliteStore(tmp_path / "sessions.db") as store:
            sessions = Sessions(lstm.stream(), store)
            names = names or [sessions.create(), sessions.create()]
            for n, name in enumerate(names):  # one session fits into the stream, so each drives out the other
                [answer] = sessions.advance([Advance(name, x[n, part], first=part.start)])
                assert isinstance(answer, Answer), answer
                assert np.array_equal(answer.y, expected[n][part])
