"""The kernels as torch operators: derivatives of any order, transforms, and what autograd is told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence
from torch.utils._python_dispatch import TorchDispatchMode

from gatewright import _kernels, kernels
from gatewright.errors import GatewrightError
from gatewright.nn import LSTM, direct_call, fallback, fast_path, operators
from gatewright.nn.call import CallOptions
from gatewright.nn.extras import Extras
from gatewright.spec.cell import LayerWeights

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")

T, B, D, H, P = 5, 3, 4, 6, 2
lstm, lstm_backward = torch.ops.gatewright.lstm.default, torch.ops.gatewright.lstm_backward.default
OPTIONS: list[dict[str, Any]] = [
    {},
    {"grad": False, "keep": False},
    {"checkpoint": 2},
    {"proj_size": P, "reverse": True, "dtype": torch.float32},
    {"batch_sizes": (3, 3, 2, 1), "bias": False},
    {"batch_sizes": (3, 3, 2, 1), "reverse": True, "checkpoint": 1, "proj_size": P},
]


def arguments(
    *,
    proj_size: int = 0,
    bias: bool = True,
    batch_sizes: Sequence[int] | None = None,
    reverse: bool = False,
    keep: bool = True,
    checkpoint: int = 0,
    grad: bool = True,
    dtype: torch.dtype = torch.float64,
) -> tuple[Any, ...]:
    """x, h_0, c_0, the weights or None, rows of each step, reverse, keep, checkpoint."""
    torch.manual_seed(0)
    out = proj_size or H
    rows = (T, B) if batch_sizes is None else (sum(batch_sizes),)

    def random(*shape: int) -> Tensor:
        return torch.randn(shape, dtype=dtype, requires_grad=grad)

    weights = [random(4 * H, D), random(4 * H, out), *([random(4 * H), random(4 * H)] if bias else [None, None])]
    sizes = None if batch_sizes is None else torch.tensor(batch_sizes)
    state = random(B, out), random(B, H)
    W_hr = random(proj_size, H) if proj_size else None
    return random(*rows, D), *state, *weights, W_hr, sizes, reverse, keep, checkpoint


def call(args: tuple[Any, ...]) -> tuple[Any, ...]:
    """The same as arguments of `gatewright::lstm`."""
    x, h_0, c_0, *weights, sizes, reverse, keep, checkpoint = args
    layer = LayerWeights(*weights)
    return x, h_0, c_0, layer.present(), layer.code, sizes, [int(reverse), int(keep), checkpoint]


@pytest.mark.slow
@pytest.mark.parametrize("options", OPTIONS)
def test_the_operator_keeps_what_torch_asks_of_one(options: dict[str, Any]) -> None:
    torch.library.opcheck(lstm, call(arguments(**options)))


@pytest.mark.slow
@pytest.mark.parametrize(
    "options", [{}, {"checkpoint": 2}, {"batch_sizes": (3, 2), "proj_size": P, "bias": False}]
)
@pytest.mark.parametrize("needs", [(True, True), (False, True), (True, False)])
def test_the_adjoint_keeps_what_torch_asks_of_an_operator(
    options: dict[str, Any], needs: tuple[bool, bool]
) -> None:
    args = call(arguments(**options, grad=False))
    x, h_0, c_0, weights, code, sizes, (reverse, _, checkpoint) = args
    y, h_n, c_n, gates, cell = lstm(*args)
    d = [torch.randn_like(value) for value in (y, h_n, c_n)]
    recorded = [None, None] if checkpoint else [torch.randn_like(gates), torch.randn_like(cell)]
    rest = (code, sizes, [y, gates, cell], [reverse, checkpoint, *map(int, needs)])
    # Adjoints of all outputs or of one; both where all is wanted.
    if needs[1]:
        torch.library.opcheck(lstm_backward, ([*d, *recorded], [x, h_0, c_0], weights, *rest))
    if needs[0]:
        torch.library.opcheck(lstm_backward, ([None, None, d[2], None, None], [x, h_0, c_0], weights, *rest))


def run(args: tuple[Any, ...], how: Any, record: bool) -> list[Tensor]:
    x, h_0, c_0, *weights, sizes, reverse, _, checkpoint = args
    options = {"how": CallOptions(sizes, record, checkpoint)}
    if how is fallback.sequence:
        options = {} if sizes is None else {"extras": Extras(lengths=torch.tensor([4, 3, 2]))}
    y, h_n, c_n, kept = how(x, h_0, c_0, LayerWeights(*weights), reverse=reverse, **options)
    fields = [kept.input_gate, kept.forget_gate, kept.candidate, kept.output_gate, kept.cell] if record else []
    return [y, h_n, c_n, *fields]


@pytest.mark.slow
@pytest.mark.parametrize("options", [option for option in OPTIONS if option.get("keep", True)])
@pytest.mark.parametrize("record", [False, True])
def test_derivatives_are_those_of_finite_differences(options: dict[str, Any], record: bool) -> None:
    args = arguments(**{**options, "dtype": torch.float64})
    wrt = [value for value in args if isinstance(value, Tensor) and value.requires_grad]

    def function(*values: Tensor) -> list[Tensor]:
        given = iter(values)
        replaced = (next(given) if isinstance(a, Tensor) and a.requires_grad else a for a in args)
        return run(tuple(replaced), fast_path.sequence, record)

    assert torch.autograd.gradcheck(function, wrt, fast_mode=True)
    assert torch.autograd.gradgradcheck(function, wrt, fast_mode=True)


@pytest.mark.parametrize(
    "options", [{}, {"proj_size": P, "num_layers": 2, "bidirectional": True, "checkpoint": 2}]
)
@pytest.mark.parametrize("lengths", [None, [2, 5, 3]])
def test_a_penalty_on_the_gradient_trains_as_in_torch(options: dict[str, Any], lengths: list[int] | None) -> None:
    torch.manual_seed(0)
    theirs = nn.LSTM(D, H, dtype=torch.float64, **{k: v for k, v in options.items() if k != "checkpoint"})
    ours = LSTM(D, H, dtype=torch.float64, **options)
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(T, B, D, dtype=torch.float64, requires_grad=True)
    found = []
    for module in (theirs, ours):
        given = x if lengths is None else pack_padded_sequence(x, lengths, enforce_sorted=False)
        y = module(given)[0]
        y = y.data if isinstance(y, PackedSequence) else y
        (dx,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
        found.append(torch.autograd.grad(dx.square().sum(), [x, *module.parameters()], allow_unused=True))
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("batch_sizes", [None, (3, 3, 2, 1)])
def test_the_record_is_the_very_buffer_that_was_saved(batch_sizes: tuple[int, ...] | None) -> None:
    args = arguments(batch_sizes=batch_sizes)
    x, h_0, c_0, *weights, sizes, reverse, _, _ = args
    y, _, _, record = fast_path.sequence(
        x, h_0, c_0, LayerWeights(*weights), CallOptions(sizes, record=True), reverse=reverse
    )
    saved = {tensor.data_ptr() for tensor in y.grad_fn.saved_tensors if tensor is not None}
    gates = record.input_gate.data_ptr()
    assert {gates, record.cell.data_ptr(), record.hidden.data_ptr(), c_0.data_ptr(), h_0.data_ptr()} <= saved
    for n, gate in enumerate((record.input_gate, record.forget_gate, record.candidate, record.output_gate)):
        assert gate.data_ptr() == gates + n * H * gate.element_size()
        assert gate.stride(-2) == 4 * H
    assert record.hidden is y


def test_the_layer_hands_that_buffer_out() -> None:
    layer = LSTM(D, H)
    y, _, record = layer(torch.randn(T, B, D), record=True)
    one = record.layers[0]
    saved = {tensor.data_ptr() for tensor in y.grad_fn.saved_tensors if tensor is not None}
    assert {one.input_gate.data_ptr(), one.cell.data_ptr(), one.hidden.data_ptr()} <= saved


NAMES = ("x", "h_0", "c_0", "W_ih", "W_hh", "b_ih", "b_hh", "W_hr")


@pytest.mark.parametrize(
    "wanted", [{"x"}, {"h_0"}, {"c_0", "b_hh"}, {"W_hh"}, {"b_ih"}, {"W_hr"}, set(NAMES) - {"x"}]
)
def test_only_what_needs_a_gradient_gets_one(wanted: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    args = arguments(proj_size=P)
    everything = torch.autograd.grad(run(args, fast_path.sequence, False)[0].square().sum(), args[:8])
    asked = []
    original = kernels.backward
    monkeypatch.setattr(kernels, "backward", lambda *a, **k: asked.append(a[5]) or original(*a, **k))
    for name, value in zip(NAMES, args[:8], strict=True):
        value.requires_grad_(name in wanted)
    run(args, fast_path.sequence, False)[0].square().sum().backward()
    for name, value, expected in zip(NAMES, args[:8], everything, strict=True):
        if name in wanted:
            assert torch.equal(value.grad, expected)
        else:
            assert value.grad is None
    assert asked == [kernels.Wanted("x" in wanted, any(name.startswith(("W", "b")) for name in wanted))]


def test_nothing_is_kept_where_nothing_needs_a_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    original, direct = kernels.forward, _kernels.tensor_forward
    monkeypatch.setattr(kernels, "forward", lambda *a, **k: asked.append(k["keep"]) or original(*a, **k))
    monkeypatch.setattr(_kernels, "tensor_forward", lambda *a: asked.append(a[7] is not None) or direct(*a))
    for available in (True, False):
        monkeypatch.setattr(direct_call, "_available", available)
        layer, x = LSTM(D, H), torch.randn(T, B, D)
        layer(x)
        with torch.no_grad():
            layer(x)
        with torch.inference_mode():
            assert layer(x)[0].is_inference()
        layer.requires_grad_(False)
        assert not layer(x)[0].requires_grad
        assert layer(x.requires_grad_())[0].requires_grad
    assert asked == 2 * [True, False, False, False, True]


def test_gradients_of_the_biases_do_not_share_memory() -> None:
    layer = LSTM(D, H)
    layer(torch.randn(T, B, D))[0].sum().backward()
    assert torch.equal(layer.bias_ih_l0.grad, layer.bias_hh_l0.grad)
    layer.bias_ih_l0.grad.zero_()
    assert layer.bias_hh_l0.grad.abs().max() > 0


@pytest.mark.parametrize("checkpoint", [0, 2])
def test_an_output_that_is_written_to_before_backward_raises(checkpoint: int) -> None:
    layer = LSTM(D, H, checkpoint=checkpoint)
    y, (h_n, c_n) = layer(torch.randn(T, B, D))
    h_n.mul_(2)  # no part of what is kept
    c_n.mul_(2)
    (y.sum() + h_n.sum() + c_n.sum()).backward()
    y = layer(torch.randn(T, B, D))[0]
    y.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_gradients_accumulate_and_a_graph_may_be_walked_twice() -> None:
    layer, x = LSTM(D, H, 2), torch.randn(T, B, D)
    loss = layer(x)[0].square().sum()
    once = torch.autograd.grad(loss, list(layer.parameters()), retain_graph=True)
    loss.backward(retain_graph=True)
    loss.backward()
    for parameter, gradient in zip(layer.parameters(), once, strict=True):
        assert torch.equal(parameter.grad, 2 * gradient)
    with pytest.raises(RuntimeError, match="second time"):
        loss.backward()


@pytest.mark.parametrize("record", [False, True])
def test_what_the_kernels_do_not_take_goes_to_torch(record: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "forward", lambda *_, **__: pytest.fail("the kernels were called"))
    layer, x = LSTM(D, H), torch.randn(T, B, D)
    layer.to("meta")(x.to("meta"), record=record)
    layer.compute = "bf16"
    layer(x.to("meta"), record=record)
    layer.bfloat16()(x.to("meta", torch.bfloat16), record=record)


@pytest.mark.parametrize("checkpoint", [-1, 1.5, "2", None, True])
def test_a_wrong_checkpoint_raises(checkpoint: Any) -> None:
    with pytest.raises(GatewrightError, match=r"^checkpoint: expected a whole number of at least 0, got "):
        LSTM(D, H, checkpoint=checkpoint)


class Listener(TorchDispatchMode):
    """Notes which of our operators torch is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.namespace == "gatewright":
            self.heard.append(func._opname)
        return func(*args, **(kwargs or {}))


def test_whoever_listens_to_torch_hears_of_the_operators() -> None:
    layer, x = LSTM(D, H), torch.ones(T, B, D)
    expected = torch.autograd.grad(layer(x)[0].sum(), [*layer.parameters()])
    with Listener() as listener:
        found = torch.autograd.grad(layer(x)[0].sum(), [*layer.parameters()])
        with torch.no_grad():
            layer(x)
    assert listener.heard == ["lstm", "lstm_backward", "lstm"]
    assert all(map(torch.equal, found, expected))
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        layer(x)[0].sum().backward()
    names = {event.key for event in profile.key_averages()}
    assert {"gatewright::lstm", "gatewright::lstm_backward"} <= names


def test_a_tensor_of_another_class_goes_through_torch() -> None:
    heard: list[str] = []

    class Loud(Tensor):
        @classmethod
        def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            heard.append(str(func))
            plain = torch.utils._pytree.tree_map_only(Loud, lambda each: each.base, (args, kwargs or {}))
            return func(*plain[0], **plain[1])

        @staticmethod
        def __new__(cls, base: Tensor) -> Any:
            loud = Tensor._make_wrapper_subclass(cls, base.shape, dtype=base.dtype)  # type: ignore[attr-defined]
            loud.base = base
            return loud

    layer, x = LSTM(D, H), torch.ones(T, B, D)
    with torch.no_grad():
        assert torch.equal(layer(Loud(x))[0], layer(x)[0])
    assert "gatewright.lstm.default" in heard


@pytest.mark.parametrize("options", [{}, {"checkpoint": 2}, {"batch_sizes": (3, 3, 2, 1)}])
def test_an_operator_that_was_told_to_keep_nothing_is_differentiable_too(options: dict[str, Any]) -> None:
    found = []
    for keep in (True, False):
        args = arguments(**options, keep=keep)
        results = lstm(*call(args))
        wrt = [value for value in args if isinstance(value, Tensor) and value.requires_grad]
        found.append(torch.autograd.grad(sum(value.square().sum() for value in results[:3]), wrt))
    assert [value.numel() for value in results[3:]] == [0, 0]
    for a, b in zip(*found, strict=True):
        assert torch.equal(a, b)


def test_the_operator_says_what_it_cannot_do() -> None:
    x, h_0, c_0, weights, code, sizes, options = call(arguments(grad=False))
    with pytest.raises(GatewrightError, match=r"^h_0: expected shape \(3, 6\), got \(2, 6\)"):
        lstm(x, h_0[:2], c_0, weights, code, sizes, options)
    with pytest.raises(GatewrightError, match=r"^weights: expected 4 tensors for this cell, got 3"):
        lstm(x, h_0, c_0, weights[:3], code, sizes, options)
    with pytest.raises(GatewrightError, match=r"^weights: expected 2 tensors for this cell, got 4"):
        lstm(x, h_0, c_0, weights, 0, sizes, options)
    with pytest.raises(GatewrightError, match=r"^batch_sizes: "):
        lstm(x[0], h_0, c_0, weights, code, torch.tensor([1, 2]), options)
    with pytest.raises(GatewrightError, match=r"^W_ih: expected float64"):
        lstm(x, h_0, c_0, [weights[0].float(), *weights[1:]], code, sizes, options)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("H", [1, 7, 64, 700, 3000])
def test_chunks_of_a_batch_that_is_no_number_yet_are_those_of_the_kernels(H: int, dtype: torch.dtype) -> None:
    for B in (0, 1, 2, 3, 17, 127, 128, 129, 5000):
        assert operators._chunk_steps(B, H, dtype.itemsize) == kernels.chunk_steps(
            B, H, str(dtype).partition(".")[2]
        )


@pytest.mark.parametrize("checkpoint", [0, 1, 2, 3, 200, 5000])
@pytest.mark.parametrize("B", [1, 40, 300])
def test_shapes_worked_out_beforehand_are_those_of_the_results(B: int, checkpoint: int) -> None:
    layer = LayerWeights(torch.zeros(40, 3), torch.zeros(40, 10))
    inputs = torch.zeros(300, B, 3), torch.zeros(B, 10), torch.zeros(B, 10)
    args = (*inputs, layer.present(), layer.code, None, [0, 1, checkpoint])
    shapes = [value.shape for value in lstm(*args)]
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        fake = torch.utils._pytree.tree_map_only(Tensor, mode.from_tensor, args)
        assert [value.shape for value in lstm(*fake)] == shapes
