"""`convert` on whole models: what it replaces, what it shares, what it leaves alone."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from gatewright.errors import GatewrightError
from gatewright.nn import LSTM, LSTMCell, convert
from gatewright.nn.linear import Linear


class Tagger(nn.Module):
    """An encoder that stands twice in the tree, a list of layers, a cell, and layers of other kinds."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.LSTM(4, 4, num_layers=2, bidirectional=False)
        self.again = self.encoder
        self.layers = nn.ModuleList([nn.Sequential(nn.LSTM(4, 4, bias=False), nn.Identity()), nn.GRU(4, 4)])
        self.cell = nn.LSTMCell(4, 4)
        self.none = None
        self.register_module("absent", None)

    def forward(self, x: Tensor) -> Tensor:
        x, _ = self.encoder(x)
        x, _ = self.again(x)
        x, _ = self.layers[0][0](x)
        x, _ = self.layers[1](x)
        return self.cell(x[-1])[0]


class Own(nn.LSTM):
    """A subclass with a behaviour of its own."""


def test_a_tree_is_converted_in_place() -> None:
    model = Tagger()
    x = torch.randn(5, 2, 4)
    expected, names = model(x), [name for name, _ in model.named_modules()]
    parameters = dict(model.named_parameters())

    converted, replaced = convert(model)
    assert converted is model
    assert replaced == ["encoder", "layers.0.0", "cell"]
    assert type(model.encoder) is type(model.layers[0][0]) is LSTM
    assert type(model.cell) is LSTMCell
    assert model.again is model.encoder
    assert [name for name, _ in model.named_modules()] == names
    assert list(dict(model.named_parameters())) == list(parameters)
    assert all(parameter is parameters[name] for name, parameter in model.named_parameters())
    assert torch.allclose(model(x), expected)
    assert model.encoder(x, record=True)[2].layers[1].cell.shape == (5, 2, 4)
    assert convert(model) == (model, [])


@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True, "bias": False}])
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_a_root_is_replaced_and_keeps_its_options(options: dict[str, Any], dtype: torch.dtype) -> None:
    old = nn.LSTM(3, 5, batch_first=True, dtype=dtype, **options).eval()
    new, replaced = convert(old)
    assert replaced == [""]
    assert type(new) is LSTM
    assert type(old) is nn.LSTM
    assert repr(new) == repr(old)
    assert not new.training
    assert all(a is b for a, b in zip(new.parameters(), old.parameters(), strict=True))
    x = torch.randn(2, 4, 3, dtype=dtype)
    rounding = 0.0 if dtype == torch.float64 else 2**-6  # torch rounds more than the result
    torch.testing.assert_close(new(x)[0], old(x)[0], rtol=rounding + 1e-5, atol=rounding / 8 + 1e-8)
    assert torch.equal(copy.deepcopy(new)(x)[0], new(x)[0])


def test_a_root_cell_is_replaced() -> None:
    old = nn.LSTMCell(3, 5, bias=False)
    new, replaced = convert(old)
    assert replaced == [""]
    assert type(new) is LSTMCell
    assert new.weight_hh is old.weight_hh
    assert torch.allclose(new(torch.ones(2, 3))[0], old(torch.ones(2, 3))[0])


def test_modules_without_lstm_and_on_meta_pass() -> None:
    linear = nn.Linear(2, 2)
    assert convert(linear) == (linear, [])
    model, replaced = convert(nn.Sequential(nn.LSTM(2, 3, device="meta")))
    assert replaced == ["0"]
    assert type(model[0]) is LSTM
    assert model[0].weight_hh_l0.device.type == "meta"


def test_the_old_layer_stays_as_it_was() -> None:
    old = nn.LSTM(2, 3)
    weight = old.weight_hh_l0
    new, _ = convert(old)
    new.weight_hh_l0 = nn.Parameter(torch.zeros(12, 3))
    new.double()
    new.register_buffer("extra", torch.zeros(1))
    assert old.weight_hh_l0 is weight
    assert old._flat_weights[1] is weight
    assert "extra" not in dict(old.named_buffers())
    old.bfloat16()
    assert new.weight_hh_l0.dtype == torch.float64


def test_an_optimizer_made_before_goes_on() -> None:
    model = nn.Sequential(nn.LSTM(3, 4))
    twin = copy.deepcopy(model)
    optimizers = [torch.optim.Adam(m.parameters(), lr=0.1) for m in (model, twin)]
    convert(model)
    x = torch.randn(5, 2, 3)
    for m, optimizer in zip((model, twin), optimizers, strict=True):
        m(x)[0].sum().backward()
        optimizer.step()
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(model.parameters(), twin.parameters(), strict=True))
    assert not torch.equal(model[0].weight_hh_l0.grad, torch.zeros(16, 4))


def test_tied_weights_stay_tied() -> None:
    first, second = nn.LSTM(4, 4), nn.LSTM(4, 4)
    second.weight_hh_l0 = first.weight_hh_l0
    model, _ = convert(nn.ModuleList([first, second]))
    assert model[0].weight_hh_l0 is model[1].weight_hh_l0
    with torch.no_grad():
        model[0].weight_hh_l0.zero_()
    x = torch.randn(3, 1, 4)
    assert torch.allclose(model[1](x)[0], second(x)[0])


def test_hooks_go_along_and_their_handles_still_remove_them() -> None:
    calls: list[tuple[str, type[nn.Module]]] = []
    old = nn.LSTM(2, 3)
    handle = old.register_forward_hook(lambda *args: calls.append(("forward", type(args[0]))))
    old.register_full_backward_hook(lambda *args: calls.append(("backward", type(args[0]))))
    model, _ = convert(nn.Sequential(old))
    x = torch.randn(4, 1, 2, requires_grad=True)
    model(x)[0].sum().backward()
    assert calls == [("forward", LSTM), ("backward", LSTM)]
    handle.remove()
    model(x)
    assert len(calls) == 2


def test_weights_made_by_a_hook_are_made_for_the_new_layer() -> None:
    torch.manual_seed(0)
    old = nn.utils.spectral_norm(nn.LSTM(2, 3), "weight_hh_l0")
    x = torch.randn(4, 1, 2)
    for _ in range(20):  # in which the hook finds the norm: by a norm near 0 the weights would be huge
        old(x)
    old.eval()
    expected = old(x)[0]
    new, replaced = convert(old)
    assert replaced == [""]
    assert torch.allclose(new(x)[0], expected)
    assert torch.allclose(new(x, record=True)[0], expected, rtol=1e-6, atol=1e-7)


def test_what_has_a_behaviour_of_its_own_is_left_alone() -> None:
    patched = nn.LSTM(2, 3)
    patched.forward = lambda x: x  # type: ignore[method-assign]
    parametrized = parametrizations.weight_norm(nn.LSTM(2, 3), "weight_hh_l0")
    model = nn.ModuleList([Own(2, 3), LSTM(2, 3), parametrized, patched, LSTMCell(2, 3), nn.GRU(2, 3)])
    before = list(model)
    _, replaced = convert(model)
    assert replaced == []
    assert all(a is b for a, b in zip(model, before, strict=True))


def test_a_layer_below_a_layer_is_found() -> None:
    outer = nn.LSTM(2, 3)
    outer.add_module("inner", nn.LSTMCell(2, 3))
    new, replaced = convert(outer)
    assert replaced == ["", "inner"]
    assert type(new.inner) is LSTMCell
    assert type(outer.inner) is nn.LSTMCell


def test_a_compiled_layer_runs_as_the_new_layer() -> None:
    old = nn.LSTM(2, 3)
    old.compile(backend="eager")
    new, _ = convert(old)
    assert new(torch.randn(4, 1, 2), record=True)[2].layers[0].cell.shape == (4, 1, 3)


@pytest.mark.parametrize("module", [None, "model", nn.LSTM, {"weight": 1}])
def test_anything_else_is_refused(module: Any) -> None:
    with pytest.raises(GatewrightError, match=r"module: expected a torch\.nn\.Module, got"):
        convert(module)


def test_there_and_back_again() -> None:
    model, x = Tagger(), torch.randn(5, 2, 4)
    expected, parameters = model(x), dict(model.named_parameters())
    kinds = [type(module) for module in model.modules()]
    _, there = convert(model)
    back, replaced = convert(model, back=True)
    assert back is model
    assert replaced == there == ["encoder", "layers.0.0", "cell"]
    assert [type(module) for module in model.modules()] == kinds
    assert model.again is model.encoder
    assert all(parameter is parameters[name] for name, parameter in model.named_parameters())
    assert torch.equal(model(x), expected)
    assert convert(model, back=True) == (model, [])


@pytest.mark.parametrize("root", [LSTM(3, 5, 2, bidirectional=True, checkpoint=4), LSTMCell(3, 5)])
def test_a_root_goes_back(root: nn.Module) -> None:
    new, replaced = convert(root, back=True)
    kind = nn.LSTM if isinstance(root, LSTM) else nn.LSTMCell
    assert (type(new), replaced) == (kind, [""])
    assert vars(new).keys() == vars(kind(3, 5)).keys()
    x = torch.randn(4, 2, 3) if kind is nn.LSTM else torch.randn(2, 3)
    torch.testing.assert_close(new(x), root(x))
    with torch.no_grad():
        next(new.parameters()).mul_(2)
    torch.testing.assert_close(new(x), root(x))


def test_a_model_of_gatewright_goes_back_with_its_head() -> None:
    class Headed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm, self.head = LSTM(3, 4), Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.lstm(x)[0])

    model, x = Headed(), torch.randn(5, 2, 3)
    expected = model(x)
    _, replaced = convert(model, back=True)
    assert (replaced, type(model.head)) == (["lstm", "head"], nn.Linear)
    torch.testing.assert_close(model(x), expected)


@pytest.mark.filterwarnings("ignore:torch.ao.quantization is deprecated:DeprecationWarning")
@pytest.mark.filterwarnings("ignore::UserWarning")  # of torch's quantized types
def test_dynamic_quantization_finds_what_was_converted_back() -> None:
    from torch.ao.nn.quantized import dynamic
    from torch.ao.quantization import quantize_dynamic

    model = nn.ModuleDict({"lstm": LSTM(16, 32, 2)}).eval()
    x = torch.randn(6, 2, 16)
    expected = model["lstm"](x)[0]
    untouched = quantize_dynamic(copy.deepcopy(model))
    assert type(untouched["lstm"]) is LSTM
    quantized = quantize_dynamic(convert(copy.deepcopy(model), back=True)[0])
    assert type(quantized["lstm"]) is dynamic.LSTM
    torch.testing.assert_close(quantized["lstm"](x)[0], expected, rtol=0.1, atol=0.02)
