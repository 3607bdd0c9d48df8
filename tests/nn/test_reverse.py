"""A layer that reads from the end: the second direction of a bidirectional one."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from gatewright import LSTM
from gatewright.errors import GatewrightError
from gatewright.nn.reverse import ReverseLSTM

T, B, D, H = 6, 3, 2, 4


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("steps", ["whole", "lengths", "mask", "reset"])
def test_it_is_the_second_direction_of_a_bidirectional_layer(batch_first: bool, steps: str) -> None:
    torch.manual_seed(0)
    both = LSTM(D, H, bidirectional=True, batch_first=batch_first)
    layer = ReverseLSTM(D, H, batch_first=batch_first)
    layer.load_state_dict(
        {name.removesuffix("_reverse"): W for name, W in both.state_dict().items() if name.endswith("_reverse")}
    )
    shape = (B, T) if batch_first else (T, B)
    x, flags = torch.randn(*shape, D), torch.rand(shape) < 0.6
    given: dict[str, Any] = {"whole": {}, "lengths": {"lengths": torch.tensor([2, 6, 0])}}.get(
        steps, {steps: flags}
    )
    hx = torch.randn(2, B, H), torch.randn(2, B, H)
    expected, states = both(x, hx, **given)
    y, (h_n, c_n) = layer(x, (hx[0][1:], hx[1][1:]), **given)
    torch.testing.assert_close(y, expected[..., H:], rtol=0, atol=0)
    torch.testing.assert_close((h_n, c_n), (states[0][1:], states[1][1:]), rtol=0, atol=0)
    (d,) = torch.autograd.grad(y.square().sum(), layer.weight_hh_l0)
    (d_expected,) = torch.autograd.grad(expected[..., H:].square().sum(), both.weight_hh_l0_reverse)
    torch.testing.assert_close(d, d_expected, rtol=1e-5, atol=1e-6)


def test_unbatched_input_with_a_length_and_a_record() -> None:
    layer, x = ReverseLSTM(D, H), torch.randn(T, D)
    y, (h_n, _), record = layer(x, lengths=torch.tensor(4), record=True)
    alone, _ = layer(x[:4])
    torch.testing.assert_close(y[:4], alone, rtol=0, atol=0)
    assert not y[4:].any()
    torch.testing.assert_close(record.layers[0].hidden[:4, 0], y[:4].flip(0), rtol=0, atol=0)
    assert torch.equal(h_n[0], y[0])


def test_refusals() -> None:
    with pytest.raises(GatewrightError, match="bidirectional: expected False"):
        ReverseLSTM(D, H, bidirectional=True)
    layer = ReverseLSTM(D, H)
    with pytest.raises(GatewrightError, match="stream: expected a layer that reads from the first step"):
        layer.stream()
    packed = torch.nn.utils.rnn.pack_sequence([torch.zeros(2, D)])
    with pytest.raises(GatewrightError, match="input: expected padded input with lengths"):
        layer(packed)
    with pytest.raises(GatewrightError, match="lengths: expected"):
        layer(torch.zeros(T, B, D), lengths=torch.tensor([1]))
    with pytest.raises(GatewrightError, match="mask: expected"):
        layer(torch.zeros(T, B, D), mask=torch.ones(B, T))
