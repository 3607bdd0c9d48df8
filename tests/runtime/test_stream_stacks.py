"""Streams of layers of unequal size and with residual connections: to the bits of the layer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from gatewright import LSTM, CellSpec, Stream
from gatewright.errors import GatewrightError, StateError
from gatewright.runtime.state import State
from tests.support.stream_models import SYMBOLS, text_model

T, B, D = 17, 4, 3
STACKS: list[dict[str, Any]] = [
    {"hidden_size": [9, 4, 17]},
    {"hidden_size": [9, 7], "proj_size": 5, "residual": True, "bias": False},
    {"hidden_size": 6, "num_layers": 3, "residual": True},
    {"hidden_size": [4, 6], "cell": CellSpec(kind="slstm", heads=2)},
    {"hidden_size": 5, "num_layers": 2, "residual": True, "cell": CellSpec(peephole=True, cell_clip=0.4)},
]


def layers_of(options: dict[str, Any], **more: Any) -> LSTM:
    torch.manual_seed(3)
    lstm = LSTM(D, **options, **more).eval()
    with torch.no_grad():
        for weight in lstm.parameters():
            weight.add_(0.5 * torch.randn_like(weight))
    return lstm


def of_session(lstm: LSTM, state: Any, b: int) -> np.ndarray:
    """The state of a row as a stream has it."""
    if isinstance(state, tuple):
        return np.concatenate([each[0, b].numpy() for each in state])
    return state[:, b].numpy()


@pytest.mark.parametrize("weights", ["float32", "bf16", "int8"])
@pytest.mark.parametrize("options", STACKS)
def test_steps_have_the_bits_of_the_layer(options: dict[str, Any], weights: str) -> None:
    if "cell" in options and weights == "int8":
        return
    if weights == "bf16" and "cell" in options and options["cell"].is_slstm:
        return
    # The layer of an sLSTM may be computed by other operations than the kernels.
    near = 1e-4 if "cell" in options and options["cell"].is_slstm else 0
    lstm = layers_of(options, compute={"float32": "full"}.get(weights, weights))
    x = torch.randn(T, B, D)
    with torch.no_grad():
        y, (h_n, c_n) = lstm(x)
    stream = lstm.stream(sessions=B, weights=weights)  # type: ignore[arg-type]
    np.testing.assert_allclose(stream.run(x[:9].numpy()), y[:9], rtol=0, atol=near)
    later = lstm.stream(weights=weights)  # type: ignore[arg-type]
    for b in range(B):
        later.restore(stream.snapshot(b))
        for t in range(9, T):
            np.testing.assert_allclose(later.step(x[t, b].numpy()), y[t, b], rtol=0, atol=near)
        state = later.state()
        np.testing.assert_allclose(state.hidden, of_session(lstm, h_n, b), rtol=0, atol=near)
        np.testing.assert_allclose(state.cell, of_session(lstm, c_n, b), rtol=0, atol=near)
        assert state.hidden.ndim == (2 if isinstance(h_n, torch.Tensor) else 1)
    by_dict = Stream.from_weights(
        {name: weight.detach() for name, weight in lstm.state_dict().items()},
        weights=weights,  # type: ignore[arg-type]
    )
    np.testing.assert_allclose(by_dict.run(x[:, 0].numpy()), y[:, 0], rtol=0, atol=near)
    assert by_dict.fingerprint == stream.fingerprint


@pytest.mark.parametrize("options", [STACKS[0], STACKS[3], STACKS[4]])
def test_the_record_has_the_units_of_every_layer(options: dict[str, Any]) -> None:
    lstm = layers_of(options)
    x = torch.randn(T, B, D)
    with torch.no_grad():
        record = lstm(x, record=True)[2]
    _, steps = lstm.stream(sessions=B).run(x.numpy(), record=True)
    unequal = isinstance(lstm.hidden_size, tuple)
    for name in ("input_gate", "forget_gate", "candidate", "output_gate", "cell"):
        layers = [getattr(layer, name).numpy() for layer in record.layers]
        expected = np.concatenate(layers, axis=-1) if unequal else np.stack(layers, axis=-2)
        np.testing.assert_allclose(getattr(steps, name), expected, rtol=0, atol=2e-6)
    one, alone = lstm.stream().step(x[0, 1].numpy(), record=True)
    assert alone.cell.shape == steps.cell.shape[2:]
    np.testing.assert_allclose(alone.keep() * 0 + alone.write() * 0, 0)
    assert one.shape == (lstm.hidden_sizes[-1],)


def test_sessions_start_from_learned_states() -> None:
    lstm = layers_of(STACKS[0], initial_state="learned")
    x = torch.randn(T, D)
    with torch.no_grad():
        y, _ = lstm(x)
    stream = lstm.stream(sessions=2)
    assert np.array_equal(stream.run(x.numpy(), 1), y)
    stream.reset(1)
    assert np.array_equal(stream.run(x.numpy(), 1), y)
    assert np.array_equal(Stream.from_weights(lstm.state_dict()).run(x.numpy()), y)
    arrays = dict(lstm.state_dict())
    del arrays["c_0_l1"]
    with pytest.raises(GatewrightError, match=r"^weights: expected h_0_l0, c_0_l0 and so on for every layer"):
        Stream.from_weights(arrays)


def test_states_of_other_stacks_are_refused() -> None:
    streams = [layers_of(options).stream() for options in STACKS[:4]]
    assert len({stream.fingerprint for stream in streams}) == 4
    # The same weights with residual connections are another model.
    weights = layers_of(STACKS[2]).state_dict()
    plain = {name: weight for name, weight in weights.items() if name != "residual"}
    assert Stream.from_weights(plain).fingerprint != streams[2].fingerprint
    assert Stream.from_weights(plain, residual=True).fingerprint == streams[2].fingerprint
    snapshot = streams[0].snapshot()
    assert (snapshot[7], streams[1].snapshot()[7], streams[2].snapshot()[7]) == (3, 3, 1)
    with pytest.raises(StateError, match=r"^snapshot: expected a state of the model"):
        streams[1].restore(snapshot)
    with pytest.raises(StateError, match=r"^snapshot: expected version 1, got version 3"):
        streams[2].restore(snapshot)
    state = streams[0].state()
    for wrong in (replace(state, hidden=np.zeros((3, 9), "f4")), replace(state, cell=np.zeros(29, "f4"))):
        with pytest.raises(StateError, match=r"^state\.(hidden|cell): expected float32 \(30,\)"):
            streams[0].set_state(wrong)
    negative = np.ones(30, np.float32)
    negative[12 + 6] = -1  # n of the second layer
    with pytest.raises(StateError, match=r"^state.cell: expected n of an sLSTM"):
        streams[3].set_state(State(np.zeros(10, "f4"), negative, np.zeros(0), steps=1))
    assert repr(streams[0]).startswith("Stream(layers=3, hidden_size=[9, 4, 17], ")


def test_what_is_no_stack_is_refused() -> None:
    weights = layers_of(STACKS[0]).state_dict()
    with pytest.raises(GatewrightError, match=r"^residual: expected layers after the first"):
        Stream.from_weights(weights, residual=True)
    with pytest.raises(GatewrightError, match=r"^residual: expected False for one layer"):
        Stream.from_weights({n: w for n, w in weights.items() if n.endswith("_l0")}, residual=True)
    projected = dict(layers_of(STACKS[1]).state_dict())
    projected["weight_hr_l1"] = projected["weight_hr_l1"][:4]
    with pytest.raises(GatewrightError, match=r"^weight_hr_l1: expected 5 rows, as in layer 0"):
        Stream.from_weights(projected)
    with pytest.raises(GatewrightError, match=r"^state_dict: expected weights of a layer without residual"):
        LSTM(D, 6, 3).load_state_dict(layers_of(STACKS[2]).state_dict())
    residual = LSTM(D, 6, 3, residual=True)
    residual.load_state_dict(LSTM(D, 6, 3).state_dict())  # where a training may begin
    residual.load_state_dict(layers_of(STACKS[2]).state_dict())


def test_a_model_streams_to_its_own_bits() -> None:
    for stack in ({"hidden_size": (6, 4)}, {"hidden_size": (6, 4), "proj_size": 3, "residual": True}):
        model = text_model(**stack)
        symbols = np.random.default_rng(0).integers(0, len(SYMBOLS), (T, B))
        with torch.no_grad():
            expected = model(torch.from_numpy(symbols)).y
        stream = model.stream(sessions=B)
        np.testing.assert_allclose(stream.run(symbols), expected, rtol=0, atol=1e-5)
        assert stream.state().hidden.shape == ((6,) if "residual" in stack else (10,))
