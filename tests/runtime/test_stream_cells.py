"""Streams of cells other than the plain one, against the layer and its equations."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from gatewright import LSTM, CellSpec, Stream, equations
from gatewright.errors import GatewrightError, SpecError
from gatewright.nn.model import Model
from gatewright.nn.variant import expanded as expanded_by_torch
from gatewright.runtime.native_args import expanded
from gatewright.spec import StackSpec
from gatewright.spec.cell import LayerWeights
from tests.support.stream_models import SYMBOLS, text_model
from tests.support.variant_cells import CELLS, CLIPPED, label

T, B, D, H = 23, 5, 3, 18
#: Features of a cell with `weight_drop`, which does nothing after training either.
DROPPED = CellSpec(coupled=True, weight_drop=0.5)


def layer_of(cell: CellSpec, **options: Any) -> LSTM:
    torch.manual_seed(3)
    lstm = LSTM(D, H, cell=cell, **options).eval()
    with torch.no_grad():  # gains and shifts at other values than 1 and 0
        for weight in lstm.parameters():
            weight.add_(0.3 * torch.randn_like(weight))
    return lstm


def changes_c(cell: CellSpec) -> bool:
    """Whether a step does something else to c than f and i ⊙ g say."""
    return bool(cell.cell_clip or cell.zoneout_cell)


@pytest.mark.parametrize("cell", [*CELLS, CLIPPED, DROPPED], ids=label)
@pytest.mark.parametrize("weights", ["float32", "bf16"])
def test_sessions_of_a_stream_have_the_bits_of_the_layer(cell: CellSpec, weights: str) -> None:
    """Two layers: at once and in parts, some sessions next to others, by steps, and on from bytes."""
    lstm = layer_of(cell, num_layers=2, compute="bf16" if weights == "bf16" else "full")
    x = torch.randn(T, B, D)
    with torch.no_grad():
        y, (h_n, c_n) = lstm(x)
        _, _, record = lstm(x[:9], record=True)
    expected, xs = y.numpy(), x.numpy()
    stream = lstm.stream(sessions=B, weights=weights)  # type: ignore[arg-type]
    got, gates = stream.run(xs[:9], record=True)
    assert np.array_equal(got, expected[:9])
    kind = getattr(record.layers[0], gates._fields[0]).dtype
    for name, values in gates._asdict().items():
        of_layers = [getattr(each, name) for each in record.layers]
        assert (values is None) == (of_layers[0] is None) == (name in ("kept", "written") and not changes_c(cell))
        if values is None:
            continue
        kept = np.stack([each.float().numpy() for each in of_layers], axis=2)
        if name in ("kept", "written") and kind == torch.bfloat16:  # the layer has them of rounded gates
            assert np.abs(values - kept).max() < 2e-2
        else:
            assert np.array_equal(torch.from_numpy(values).to(kind).float().numpy(), kept)
    sums = gates.keep()[1:] * gates.cell[:-1] + gates.write()[1:]
    assert np.abs(sums - gates.cell[1:]).max() < 4e-7 * max(1, np.abs(gates.cell).max())
    for t in range(9, 12):
        before = np.stack([stream.state(b).cell for b in (3, 1)])
        y_t, one = stream.step(xs[t, 3:0:-2], [3, 1], record=True)
        assert np.array_equal(y_t, expected[t, 3:0:-2])
        assert np.allclose(one.keep() * before + one.write(), one.cell, rtol=1e-6, atol=4e-7)
        for b in (4, 0, 2):
            assert np.array_equal(stream.step(xs[t, b], b), expected[t, b])
    later = lstm.stream(weights=weights)  # type: ignore[arg-type]
    for b in range(B):
        later.restore(stream.snapshot(b))
        assert np.array_equal(later.run(xs[12:, b]), expected[12:, b])
        assert np.array_equal(later.state().hidden, h_n[:, b].numpy())
        assert np.array_equal(later.state().cell, c_n[:, b].numpy())


@pytest.mark.parametrize("cell", [*CELLS, CLIPPED], ids=label)
def test_a_stream_does_what_the_equations_say(cell: CellSpec) -> None:
    lstm = layer_of(cell)
    arrays = {name: weight.detach().numpy() for name, weight in lstm.named_parameters()}
    names = lstm.cell.weights(D, H)
    weights = LayerWeights.of(lstm.cell.code(), [arrays[f"{name}_l0"].astype(np.float64) for name in names])
    x = np.random.default_rng(0).normal(size=(T, 1, D)).astype(np.float32)
    expected, _ = equations.forward(x.astype(np.float64), weights, cell=lstm.cell)
    stream = Stream.from_weights(arrays, cell=cell)
    assert np.abs(stream.run(x[:, 0]) - expected[:, 0]).max() < 2e-5
    torch_weights = LayerWeights(*(None if W is None else torch.from_numpy(W) for W in weights))
    for ours, theirs in zip(
        expanded(weights, lstm.cell), expanded_by_torch(torch_weights, lstm.cell), strict=True
    ):
        assert (ours is None and theirs is None) or np.array_equal(ours, theirs.numpy())


def test_many_steps_and_sessions_have_the_bits_of_a_step() -> None:
    """More than walk together."""
    for cell in (
        CellSpec(layer_norm=True, zoneout_hidden=0.2),
        CellSpec(peephole=True, proj_size=5, cell_clip=0.5),
    ):
        lstm = layer_of(cell)
        x = torch.randn(30, 50, D)
        with torch.no_grad():
            y, _ = lstm(x)
        stream = lstm.stream(sessions=50, threads=2)
        assert np.array_equal(stream.run(x.numpy()), y.numpy())
        alone = lstm.stream()
        with torch.no_grad():
            y, _ = lstm(x.reshape(1500, 1, D))
        assert np.array_equal(alone.run(x.numpy().reshape(1500, D)), y[:, 0].numpy())


def test_a_model_of_such_layers_streams(tmp_path: Any) -> None:
    plain = text_model()
    cell = {"peephole": True, "coupled": True, "layer_norm": True, "zoneout_cell": 0.2, "hidden_dropout": 0.5}
    spec = replace(plain.spec, lstm=StackSpec(9, num_layers=2, **cell))
    model = Model(spec, vocabulary=plain.vocabulary).eval()
    model.save(tmp_path / "model.safetensors")
    numbers = [SYMBOLS.index(symbol) for symbol in "abba hags the bed" if symbol in SYMBOLS]
    with torch.no_grad():
        expected = model(torch.tensor(numbers)[:, None]).y[:, 0].numpy()
    for stream in (model.stream(), Stream.load(tmp_path)):
        assert np.array_equal(stream.run(numbers), expected)
    other = Stream.load(tmp_path, weights="bf16")
    with pytest.raises(GatewrightError, match=r"^snapshot: expected a state of the model"):
        other.restore(stream.snapshot())


def test_states_go_on_only_in_the_same_cell() -> None:
    lstm = layer_of(CellSpec(zoneout_cell=0.2))
    arrays = {name: weight.detach().numpy() for name, weight in lstm.named_parameters()}
    snapshot = lstm.stream().snapshot()
    for cell in (CellSpec(), CellSpec(zoneout_cell=0.3), CellSpec(zoneout_cell=0.2, cell_clip=1.0)):
        with pytest.raises(GatewrightError, match=r"^snapshot: expected a state of the model"):
            Stream.from_weights(arrays, cell=cell).restore(snapshot)
    same = CellSpec(zoneout_cell=0.2, weight_drop=0.5)  # dropout does nothing there
    Stream.from_weights(arrays, cell=same).restore(snapshot)


def test_what_a_stream_of_such_a_cell_does_not_have_is_refused() -> None:
    lstm = layer_of(CellSpec(coupled=True, peephole=True))
    arrays = {name: weight.detach().numpy() for name, weight in lstm.named_parameters()}
    for kept in ("int8", "int8-float32", "bf16-float32"):
        with pytest.raises(GatewrightError, match=rf"^cell: expected a plain LSTM cell .*'{kept}', got peephole"):
            lstm.stream(weights=kept)  # type: ignore[arg-type]
    for cell, error, message in (
        (CellSpec(), GatewrightError, r"^cell: expected the CellSpec of the weights.*weight_ch_l0"),
        (CellSpec(peephole=True), GatewrightError, r"^weight_ih_l0: expected shape \(72, 3\), got \(54, 3\)"),
        (CellSpec(coupled=True, layer_norm=True, peephole=True), GatewrightError, "weight_ln_l0, got none"),
        ("coupled", GatewrightError, r"^cell: expected a gatewright\.CellSpec"),
    ):
        with pytest.raises(error, match=message):
            Stream.from_weights(arrays, cell=cell)  # type: ignore[arg-type]
    projected = {name: weight.detach().numpy() for name, weight in LSTM(3, 4, proj_size=2).named_parameters()}
    with pytest.raises(SpecError, match=r"^zoneout_hidden: expected 0 with a projection"):
        Stream.from_weights(projected, cell=CellSpec(zoneout_hidden=0.1))
    dropped = LSTM(3, 4, cell=CellSpec(weight_drop=0.5)).eval()  # plain after training
    assert dropped.stream(weights="int8").step([0.0, 1.0, 2.0]).shape == (4,)
