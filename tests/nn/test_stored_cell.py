"""A state dict names the cell that its weights are of, and another cell of the same shapes refuses it."""

from __future__ import annotations

import io
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from gatewright import LSTM, CellSpec, Stream
from gatewright.errors import GatewrightError
from gatewright.spec.cell import STORED_CELL

#: Cells whose weights have the same names and shapes.
ALIKE = [
    CellSpec(),
    CellSpec(cell_clip=0.5),
    CellSpec(cell_clip=0.25),
    CellSpec(zoneout_cell=0.1),
    CellSpec(gate_activation="hard_sigmoid"),
    CellSpec(kind="slstm"),
    CellSpec(kind="slstm", forget_gate_activation="exponential"),
]


def layer(cell: CellSpec, **options: Any) -> LSTM:
    torch.manual_seed(0)
    return LSTM(3, 4, cell=cell, **options)


def test_another_cell_of_the_same_shapes_refuses_the_weights() -> None:
    pairs = [*itertools.permutations(ALIKE, 2), (CellSpec(coupled=True), CellSpec(input_gate=False))]
    for ours, other in pairs:
        state, target = torch.nn.Sequential(layer(other)).state_dict(), torch.nn.Sequential(layer(ours))
        assert {name.rpartition(".")[2] for name in state} >= {"weight_ih_l0"}
        if not other.features():  # has no name, as before
            target.load_state_dict(state)
            continue
        for strict in (True, False):
            with pytest.raises(
                GatewrightError, match=r"^state_dict: expected weights of the layer's cell, "
            ) as caught:
                target.load_state_dict(state, strict=strict)
            assert caught.value.expected.endswith(f", {ours.in_words()}")
            assert caught.value.got == f"those of {other.in_words()}"


@pytest.mark.parametrize("cell", [*ALIKE, CellSpec(peephole=True, proj_size=2, bias=False)], ids=str)
def test_the_same_cell_takes_them_from_every_kind_of_file(cell: CellSpec, tmp_path: Path) -> None:
    source = layer(cell, num_layers=2)
    keys = [name for name, _ in source.named_parameters()]
    state = source.state_dict()
    assert list(state) == keys + ([STORED_CELL] if cell.features() else [])
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    safetensors.torch.save_file(state, tmp_path / "weights.safetensors")
    x = torch.randn(5, 2, 3)
    old = {name: state[name] for name in keys}
    wide = {name: each.double() for name, each in state.items()}  # as users convert weights
    narrow = {name: each.bfloat16() for name, each in state.items()}
    LSTM(3, 4, 2, cell=cell).bfloat16().load_state_dict(narrow)
    for read in (torch.load(buffer), safetensors.torch.load_file(tmp_path / "weights.safetensors"), old, wide):
        twin = LSTM(3, 4, 2, cell=cell)
        twin.load_state_dict(read)
        assert torch.equal(twin.eval()(x)[0], source.eval()(x)[0])
    assert STORED_CELL in state or not cell.features()  # the caller's own dict stays as it was


def test_dropouts_do_not_make_another_cell() -> None:
    """They are of a training, not of the weights."""
    for state, target in (
        (layer(CellSpec(weight_drop=0.2)).state_dict(), layer(CellSpec())),
        (layer(CellSpec(hidden_dropout=0.2, cell_clip=0.5)).state_dict(), layer(CellSpec(cell_clip=0.5))),
        (layer(CellSpec(cell_clip=0.5)).state_dict(), layer(CellSpec(candidate_dropout=0.2, cell_clip=0.5))),
    ):
        target.load_state_dict(state)
    torch.nn.LSTM(3, 4).load_state_dict(layer(CellSpec(weight_drop=0.2)).state_dict())
    with pytest.raises(RuntimeError, match=STORED_CELL):
        torch.nn.LSTM(3, 4).load_state_dict(layer(CellSpec(cell_clip=0.5)).state_dict())


def test_a_stream_of_a_state_dict_has_its_cell() -> None:
    cell = CellSpec(cell_clip=0.25, hidden_dropout=0.5)
    lstm, xs = layer(cell).eval(), np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
    expected = lstm.stream().run(xs)
    for options in ({}, {"cell": cell}, {"cell": cell.in_evaluation()}):
        stream = Stream.from_weights(lstm.state_dict(), **options)  # type: ignore[arg-type]
        np.testing.assert_array_equal(stream.run(xs), expected)
        assert stream.fingerprint == lstm.stream().fingerprint
    with pytest.raises(GatewrightError, match=r"^cell: expected cell_clip=0.25, .* got cell_clip=0.5$"):
        Stream.from_weights(lstm.state_dict(), cell=CellSpec(cell_clip=0.5))


@pytest.mark.parametrize("value", [torch.tensor([1.5, -1.0]), torch.tensor([123, 125]), "{}", torch.tensor([255])])
def test_what_is_no_cell_is_refused(value: Any) -> None:
    state = {**layer(CellSpec(cell_clip=0.5)).state_dict(), STORED_CELL: value}
    with pytest.raises(GatewrightError, match=rf"^{STORED_CELL}: expected"):
        layer(CellSpec(cell_clip=0.5)).load_state_dict(state)
