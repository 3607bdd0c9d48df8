"""Initial biases: of every layer and direction, and of nothing else."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import nn

from gatewright import LSTM, CellSpec, GatewrightError, LSTMCell
from gatewright.nn import init

H = 300
LAYERS = [
    lambda: nn.LSTM(3, H, 2, bidirectional=True, proj_size=2),
    lambda: LSTM(3, H, 2, bidirectional=True, initial_state="learned"),
    lambda: LSTMCell(3, H),
    lambda: LSTM(3, H).bfloat16(),
]


def totals(layer: Any) -> list[list[torch.Tensor]]:
    """The sums of the biases of i, f, g and o, for each layer and direction."""
    pairs = [
        (value, layer.get_parameter(name.replace("_ih", "_hh")))
        for name, value in layer.named_parameters()
        if name.startswith("bias_ih")
    ]
    return [list((a + b).detach().chunk(4)) for a, b in pairs]


@pytest.mark.parametrize("make", LAYERS)
def test_biases_of_all_layers_and_directions_are_set(make: Any) -> None:
    layer = make()
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    first = totals(layer)
    assert init.forget_bias_(layer, 1.5) is layer
    for (i, f, *_), (i_before, *_) in zip(totals(layer), first, strict=True):
        assert (f == 1.5).all()
        assert torch.equal(i, i_before)
    assert init.chrono_(layer, 200, generator=torch.Generator().manual_seed(1)) is layer
    drawn = totals(layer)
    for i, f, *_ in drawn:
        assert torch.equal(i, -f)
        steps = f.double().exp()
        assert 1 <= steps.min() < 8
        assert 190 < steps.max() <= 200
        assert abs(steps.mean() - 100) < 15
    assert all(not torch.equal(a[1], b[1]) for a, b in itertools.pairwise(drawn))
    for name, value in layer.state_dict().items():
        rows = slice(2 * H, None) if name.startswith("bias") else slice(None)
        assert torch.equal(value[rows], before[name][rows]), name
    again = init.chrono_(make(), 200, generator=torch.Generator().manual_seed(1))
    assert all(torch.equal(a[1], b[1]) for a, b in zip(totals(again), drawn, strict=True))


@pytest.mark.parametrize(
    ("features", "forget"),
    [({"coupled": True, "peephole": True}, 0), ({"input_gate": False}, 0), ({"output_gate": False}, H)],
)
def test_rows_are_those_of_the_gates_that_a_cell_has(features: dict[str, bool], forget: int) -> None:
    layer = LSTM(3, H, cell=CellSpec(**features))
    before = layer.bias_ih_l0.clone()
    init.chrono_(layer, 200)
    bias = (layer.bias_ih_l0 + layer.bias_hh_l0).detach()
    assert 190 < bias[forget : forget + H].exp().max() <= 200
    assert forget == 0 or torch.equal(bias[:H], -bias[H : 2 * H])
    assert torch.equal(layer.bias_ih_l0[forget + H :], before[forget + H :])


def test_what_has_no_such_bias_is_refused() -> None:
    with pytest.raises(GatewrightError, match="layer: expected one with a forget gate, got a cell without"):
        init.forget_bias_(LSTM(3, 4, cell=CellSpec(forget_gate=False)), 1.0)
    with pytest.raises(GatewrightError, match="layer: expected an LSTM or an LSTMCell, got GRU"):
        init.forget_bias_(nn.GRU(3, 4), 1.0)
    with pytest.raises(GatewrightError, match="layer: expected one with biases, got LSTM with bias=False"):
        init.chrono_(LSTM(3, 4, bias=False), 10)
    for steps in (1, "10", float("nan")):
        with pytest.raises(GatewrightError, match="max_steps: expected a number of steps of at least 2, got"):
            init.chrono_(LSTM(3, 4), steps)
    with pytest.raises(GatewrightError, match="value: expected a number, got"):
        init.forget_bias_(LSTM(3, 4), float("inf"))
