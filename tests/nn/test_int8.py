"""The layer with ``compute="int8"``: bits of streams and kernels in any way, and a name for what it cannot do."""

from __future__ import annotations

import io
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from gatewright import kernels
from gatewright.errors import GatewrightError
from gatewright.insight import intervene
from gatewright.nn import LSTM, operators, precision
from gatewright.spec.cell import CellSpec, LayerWeights

D, H, T, B = 7, 20, 9, 6
STACKS: list[dict[str, Any]] = [{}, {"num_layers": 2, "proj_size": 6}, {"num_layers": 2, "bidirectional": True}]


def layer_of(**options: Any) -> LSTM:
    torch.manual_seed(0)
    return LSTM(D, H, compute="int8", **options)


def example() -> Tensor:
    torch.manual_seed(1)
    return torch.randn(T, B, D)


def by_kernels(layer: LSTM, x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The layers of a stack one after the other, by the kernels alone."""
    for n in range(layer.num_layers):
        found = []
        for reverse in (False, True)[: 1 + layer.bidirectional]:
            weights = LayerWeights(
                *(None if W is None else W.detach().numpy() for W in layer.layer_weights(n, reverse))
            )
            args = kernels.SequenceArgs(reverse=reverse, compute="int8")
            found.append(kernels.forward(x, None, None, weights, args).y)
        x = np.concatenate(found, -1)
    return x


@torch.no_grad()
@pytest.mark.parametrize("options", STACKS)
def test_every_way_gives_the_bits_of_the_kernels(options: dict[str, Any]) -> None:
    layer, x = layer_of(**options), example()
    y, (h_n, c_n) = layer(x)
    assert np.array_equal(y.numpy(), by_kernels(layer, x.numpy()))
    assert y.dtype == h_n.dtype == c_n.dtype == torch.float32
    recorded, _, record = layer(x, record=True)
    assert torch.equal(recorded, y)
    last = record.layers[-1]
    assert last.forget_gate.dtype == last.cell.dtype == torch.float32
    assert torch.equal(last.cell[-1], c_n[-2 if layer.bidirectional else -1])
    assert torch.equal(layer(x[:, 2:3])[0], y[:, 2:3])
    assert torch.equal(layer(x[:, 2])[0], y[:, 2])
    layer.batch_first = True
    assert torch.equal(layer(x.transpose(0, 1))[0].transpose(0, 1), y)
    layer.batch_first = False
    lengths = [9, 9, 7, 4, 4, 1]
    packed, states = layer(pack_padded_sequence(x, lengths))
    padded, _ = pad_packed_sequence(packed)
    for b, length in enumerate(lengths):
        alone, (h, c) = layer(x[:length, b : b + 1])
        assert torch.equal(padded[:length, b], alone[:, 0])
        assert torch.equal(states[0][:, b], h[:, 0])
        assert torch.equal(states[1][:, b], c[:, 0])
    if not layer.bidirectional:
        first, state = layer(x[:4])
        assert torch.equal(torch.cat([first, layer(x[4:], state)[0]]), y)
        stream = layer.stream(sessions=B, weights="int8")
        assert np.array_equal(stream.run(x.numpy()), y.numpy())


def test_the_error_next_to_float32_is_below_a_hundredth() -> None:
    torch.manual_seed(0)
    exact, x = LSTM(64, 256), torch.randn(32, 4, 64)
    ours = LSTM(64, 256, compute="int8")
    ours.load_state_dict(exact.state_dict())
    with torch.inference_mode():
        expected, y = exact(x)[0], ours(x)[0]
    assert 1e-4 < (y - expected).norm() / expected.norm() < 0.01


def test_weights_are_read_at_each_call() -> None:
    layer, x = layer_of(), example()
    with torch.no_grad():
        before = layer(x)[0]
        layer.weight_hh_l0.data[3] *= 2
        assert not torch.equal(layer(x)[0], before)
        layer.weight_hh_l0.data[3] /= 2
        assert torch.equal(layer(x)[0], before)


def test_a_gradient_is_refused_with_the_remedy() -> None:
    layer, x = layer_of(), example()
    refused = pytest.raises(GatewrightError, match=r'^compute: expected "full" or "bf16" where .*torch.no_grad')
    with refused:
        layer(x)
    layer.requires_grad_(False)
    expected = layer(x)[0]
    with refused:
        layer(x.requires_grad_())
    x = x.detach()
    with refused:
        layer(x, (torch.zeros(1, B, H, requires_grad=True), torch.zeros(1, B, H)))
    layer.requires_grad_(True)
    with torch.inference_mode():
        assert torch.equal(layer(x)[0], expected)
    # A program that was compiled or exported without gradients calls the operator.
    weights = [W.requires_grad_() for W in layer.parameters()]
    with refused:
        operators.lstm(x, torch.zeros(B, H), torch.zeros(B, H), weights, 1, None, [0, 0, 0, precision.INT8])


def test_a_batch_of_calls_has_the_same_bits_and_no_gradient() -> None:
    layer, x = layer_of().requires_grad_(False), example()
    y = torch.func.vmap(lambda each: layer(each)[0], in_dims=1, out_dims=1)(x)
    assert torch.equal(y, layer(x)[0])
    with pytest.raises(GatewrightError, match=r'^compute: expected "full" or "bf16" where a gradient is needed'):
        torch.func.grad(lambda each: layer(each)[0].sum())(x)


def test_a_compiled_layer_has_the_same_bits() -> None:
    layer, x = layer_of(num_layers=2), example()
    with torch.no_grad():
        y, (h_n, c_n) = torch.compile(layer, backend="eager", fullgraph=True)(x)
        expected, states = layer(x)
    assert torch.equal(y, expected)
    assert torch.equal(h_n, states[0])
    assert torch.equal(c_n, states[1])


@pytest.mark.filterwarnings("ignore:`torch.jit.:DeprecationWarning")  # of torch's own forward-mode derivatives
@torch.no_grad()
def test_other_types_and_devices_are_refused_by_name() -> None:
    x = example()
    for dtype, name in ((torch.float64, "float64"), (torch.bfloat16, "bfloat16"), (torch.float16, "float16")):
        with pytest.raises(GatewrightError, match=rf'^compute: expected "full" for {name} weights, got "int8"'):
            layer_of().to(dtype)(x.to(dtype))
    with pytest.raises(ValueError, match="dtype"):
        layer_of()(x.double())
    with pytest.raises(GatewrightError, match=r'^compute: expected "full" or "bf16" on meta'):
        layer_of().to("meta")(x.to("meta"))
    with forward_ad.dual_level(), pytest.raises(GatewrightError, match=r"^compute: expected .* in forward mode"):
        layer_of()(forward_ad.make_dual(x, x))
    with pytest.raises(GatewrightError, match=r"^compute: expected .* for a cell with features"):
        layer_of(cell=CellSpec(peephole=True))(x)
    with pytest.raises(GatewrightError, match=r"^h_0: expected numbers from -1 to 1 with compute='int8'"):
        layer_of()(x, (torch.full((1, B, H), 1.5), torch.zeros(1, B, H)))
    with pytest.raises(GatewrightError, match=r'^compute: expected "full" or "bf16" where gates or cell states'):
        intervene(layer_of(), x, ablate={0: [3]})
    with pytest.raises(GatewrightError, match=r'^compute: expected "full", "bf16" or "int8", got'):
        LSTM(2, 3, compute="int4")  # type: ignore[arg-type]


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_an_autocast_rounds_the_results_alone(dtype: torch.dtype) -> None:
    layer, x = layer_of(num_layers=2), example()
    y, (h_n, c_n) = layer(x)
    with torch.autocast("cpu", dtype):
        rounded, (h, c) = layer(x)
        like, (like_h, like_c) = LSTM(D, H, num_layers=2)(x)
    assert (rounded.dtype, h.dtype, c.dtype) == (like.dtype, like_h.dtype, like_c.dtype)
    assert torch.equal(rounded, y.to(dtype))
    assert torch.equal(h, h_n.to(h.dtype))
    assert torch.equal(c, c_n.to(c.dtype))


def test_the_argument_is_kept_and_shown() -> None:
    layer = layer_of()
    assert "compute='int8'" in repr(layer)
    copied = pickle.loads(pickle.dumps(layer))
    torch.save(layer.state_dict(), io.BytesIO())
    assert copied.compute == "int8"
    with torch.no_grad():
        assert torch.equal(copied(example())[0], layer(example())[0])
