"""The shortest way to the kernels: bits, gradients and errors of the general way; and only the plain case."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
import torch
import torch.autograd.forward_ad as fwd
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from gatewright import _kernels
from gatewright.nn import LSTM, direct_call, operators

pytestmark = [
    pytest.mark.filterwarnings("ignore:`torch.jit.:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning"),  # torch's own layer has them too
]

T, B, D, H, P = 5, 3, 4, 6, 2
STACKS: list[dict[str, Any]] = [{}, {"bias": False}, {"proj_size": P, "batch_first": True}, {"num_layers": 3}]
BF16: list[dict[str, Any]] = [
    {"compute": "bf16", **options}
    for options in ({}, {"saved": "float32"}, *STACKS[1:], {"saved": "float32", **STACKS[2]})
]

#: Native calls, by whether they did something.
Calls = list[bool]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """Return what the native entries have answered."""
    answers: Calls = []
    for name in ("tensor_forward", "tensor_backward"):
        original = getattr(_kernels, name)
        monkeypatch.setattr(_kernels, name, lambda *a, of=original: answers.append(of(*a)) or answers[-1])
    return answers


def generally(run: Callable[[], Any]) -> Any:
    """Return what the general way gives."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(direct_call, "_available", False)
        return run()


def layer(dtype: torch.dtype = torch.float32, **options: Any) -> LSTM:
    torch.manual_seed(0)
    return LSTM(D, H, dtype=dtype, **options)


def same(found: Any, expected: Any) -> None:
    """Compare tensors and tuples of them, bit for bit, with strides and whether they need a gradient."""
    if isinstance(expected, Tensor):
        assert torch.equal(found, expected)
        assert (found.stride(), found.requires_grad) == (expected.stride(), expected.requires_grad)
    else:
        assert len(found) == len(expected)
        for each, other in zip(found, expected, strict=True):
            same(each, other)


def inputs(options: dict[str, Any], dtype: torch.dtype, *, batched: bool, states: bool) -> tuple[Tensor, Any]:
    torch.manual_seed(1)
    layers, width = options.get("num_layers", 1), options.get("proj_size", H)
    shape = (B, T, D) if options.get("batch_first") else (T, B, D)
    x = torch.randn(shape if batched else (T, D), dtype=dtype)
    batch = (B,) if batched else ()
    hx = tuple(torch.randn(layers, *batch, size, dtype=dtype) for size in (width, H)) if states else None
    return x, hx


@pytest.mark.parametrize("states", [False, True])
@pytest.mark.parametrize("batched", [False, True])
@pytest.mark.parametrize(
    ("options", "dtype"),
    [*itertools.product(STACKS, [torch.float32, torch.float64]), *itertools.product(BF16, [torch.float32])],
)
def test_results_and_gradients_have_the_bits_of_the_general_way(
    options: dict[str, Any], dtype: torch.dtype, batched: bool, states: bool, calls: Calls
) -> None:
    lstm = layer(dtype, **options)
    x, hx = inputs(options, dtype, batched=batched, states=states)

    def forward() -> Any:
        with torch.inference_mode():
            return lstm(x, hx)

    def backward() -> Any:
        leaves = [x.clone().requires_grad_(), *(s.clone().requires_grad_() for s in hx or ()), *lstm.parameters()]
        y, (h_n, c_n) = lstm(leaves[0], tuple(leaves[1:3]) if states else None)
        loss = y.square().sum() + h_n.sum() + (c_n[..., 1] * 3).sum()  # expanded, and strided, adjoints
        return y, h_n, c_n, torch.autograd.grad(loss, leaves)

    expected = generally(forward), generally(backward)
    assert calls == []
    same((forward(), backward()), expected)
    several = options.get("num_layers", 1) > 1
    assert calls == ([True] if several else [True, True, False, True])  # h_n's adjoint was made contiguous


@pytest.mark.parametrize("steps", [1, T])
@pytest.mark.parametrize("proj_size", [0, P])
@pytest.mark.parametrize("read", [0, 1, 2])
def test_a_loss_of_one_output_alone(read: int, proj_size: int, steps: int, calls: Calls) -> None:
    """Of one step without states nothing but the gradients of the weights is wanted."""
    lstm, x = layer(proj_size=proj_size), torch.randn(steps, B, D)

    def gradients() -> Any:
        y, (h_n, c_n) = lstm(x)
        return torch.autograd.grad((y, h_n, c_n)[read].square().sum(), list(lstm.parameters()))

    same(gradients(), generally(gradients))
    assert calls == [True, True]


@pytest.mark.parametrize("frozen", [{"weight_ih_l0"}, {"bias_hh_l0", "weight_hh_l0"}, "all"])
def test_weights_that_need_no_gradient_have_none(frozen: Any) -> None:
    lstm, (x, hx) = layer(), inputs({}, torch.float32, batched=True, states=True)
    for name, weight in lstm.named_parameters():
        weight.requires_grad_(frozen != "all" and name not in frozen)

    def gradients() -> Any:
        lstm.zero_grad()
        leaf = x.clone().requires_grad_()
        lstm(leaf, hx)[0].square().sum().backward()
        return leaf.grad, *(weight.grad for weight in lstm.parameters())

    for found, expected in zip(gradients(), generally(gradients), strict=True):
        assert found is expected is None or torch.equal(found, expected)


@pytest.mark.parametrize("options", [{}, {"compute": "bf16"}, {"compute": "bf16", "saved": "float32"}])
def test_more_than_is_kept_for_a_small_call_is_kept_in_memory_that_is_used_again(
    options: dict[str, Any], calls: Calls
) -> None:
    lstm = layer(**options)
    x = torch.randn(1 + direct_call._KEPT_BYTES // (5 * H * 2), 1, D, requires_grad=True)

    def run() -> Any:
        y, state = lstm(x)
        return y, *state, torch.autograd.grad(y.square().sum(), [x, *lstm.parameters()])

    same(run(), generally(run))
    assert calls == [True, True]
    lstm(x[:0].reshape(T, 0, D))  # nothing to do, but no error either


def test_gradients_of_gradients_and_of_batches() -> None:
    lstm, (x, hx) = layer(torch.float64), inputs({}, torch.float64, batched=True, states=True)

    def second(x: Tensor, hx: Any) -> Any:
        leaf = x.clone().requires_grad_()
        y, (_, c_n) = lstm(leaf, hx)
        (first,) = torch.autograd.grad(y.square().sum() + c_n.sum(), leaf, create_graph=True)
        (rows,) = torch.autograd.grad(y, leaf, torch.stack([y, 2 * y]).detach(), True, is_grads_batched=True)
        return first, rows, torch.autograd.grad(first.square().sum(), list(lstm.parameters()))

    for case in ((x, hx), (x, None), (x[:, 0], None)):
        same(second(*case), generally(lambda case=case: second(*case)))


class _Own(Tensor):
    """A class of a user's, which torch lets see every operation."""


class _Functions(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return func(*args, **(kwargs or {}))


class _Dispatched(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return func(*args, **(kwargs or {}))


CONTEXTS: list[Callable[[], Any]] = [
    lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    _Functions,
    _Dispatched,
    lambda: torch.device("cpu"),
    torch.autograd.profiler.profile,
]


@pytest.mark.parametrize("context", CONTEXTS)
def test_what_wants_to_see_operations_sees_them(context: Callable[[], Any], calls: Calls) -> None:
    lstm, (x, hx) = layer(), inputs({}, torch.float32, batched=True, states=True)
    with context():
        found = lstm(x, hx)
    with context():
        same(found, generally(lambda: lstm(x, hx)))
    assert calls == []


INPUTS: list[Callable[[Tensor], Tensor]] = [
    lambda x: x.as_subclass(_Own),
    torch._neg_view,
    lambda x: torch.complex(x, x).conj().imag[..., :1].contiguous().expand(T, B, D),
    lambda x: x[..., :1].expand(T, B, D),
    lambda x: x.double()[..., ::2].repeat_interleave(2, -1).float().mT.contiguous().mT,
    lambda x: x.bfloat16().float().to_sparse().to_dense(),
]


@pytest.mark.parametrize("made", INPUTS)
def test_tensors_of_other_kinds_and_strides(made: Callable[[Tensor], Tensor]) -> None:
    lstm, (x, hx) = layer(), inputs({}, torch.float32, batched=True, states=True)
    found = lstm(made(x), hx)
    same(found, generally(lambda: lstm(made(x), hx)))
    torch.testing.assert_close(found[0].as_subclass(Tensor), lstm(made(x).as_subclass(Tensor).clone(), hx)[0])


def test_rows_and_states_that_are_the_negative_of_others() -> None:
    """A view of the negative has the memory of the numbers themselves."""
    lstm, (x, hx) = layer(), inputs({}, torch.float32, batched=True, states=True)
    negative = tuple(torch._neg_view(-state) for state in hx)
    same(lstm(torch._neg_view(-x), negative), lstm(x, hx))
    column = torch.complex(x[..., 0], -x[..., 0]).conj().imag.unsqueeze(-1)
    assert column.is_neg()
    assert column.stride(-1) == 1
    one = LSTM(1, H)
    same(one(column), one(x[..., :1].contiguous()))


def test_transforms_tangents_and_traces_go_the_general_way(calls: Calls) -> None:
    lstm, (x, _) = layer(), inputs({}, torch.float32, batched=True, states=False)
    many = torch.stack([x, 2 * x])
    found = torch.func.vmap(lambda each: lstm(each)[0], randomness="error")(many)
    torch.testing.assert_close(found, torch.stack([generally(lambda each=each: lstm(each)[0]) for each in many]))
    with fwd.dual_level():
        tangent = fwd.unpack_dual(lstm(fwd.make_dual(x, torch.ones_like(x)))[0]).tangent
    assert tangent is not None
    traced = torch.jit.trace(lstm, x, check_trace=False)  # the check runs the layer untraced
    assert calls == []
    same(traced(2 * x)[0], lstm(2 * x)[0])
    replaced = torch.func.functional_call(lstm, {"bias_ih_l0": torch.ones(4 * H)}, (x,))[0]
    assert not torch.equal(replaced, lstm(x)[0])


def test_replaced_weights_and_hooks_count_at_once() -> None:
    class Doubled(nn.Module):
        def forward(self, W: Tensor) -> Tensor:
            return 2 * W

    lstm, (x, _) = layer(), inputs({}, torch.float32, batched=True, states=False)
    lstm.register_forward_hook(lambda _module, _given, result: (result[0] + 1, result[1]))
    seen = [lstm(x)[0]]
    with torch.no_grad():
        lstm.weight_hh_l0.mul_(-1)
    seen.append(lstm(x)[0])
    lstm.weight_ih_l0.data = lstm.weight_ih_l0.data.t().contiguous().t()  # the same shape, other strides
    same(lstm(x)[0], seen[-1])
    parametrize.register_parametrization(lstm, "bias_ih_l0", Doubled())
    seen.append(lstm(x)[0])
    lstm.weight_hh_l0 = nn.Parameter(torch.zeros(4 * H, H))
    seen.append(lstm(x)[0])
    for n, y in enumerate(seen):
        assert (y > 0).all()  # the hook adds 1
        assert not any(torch.equal(y, other) for other in seen[:n])
    same(seen[-1], generally(lambda: lstm(x)[0]))


def _without(name: str) -> Callable[[LSTM], None]:
    return lambda lstm: setattr(lstm, name, nn.Parameter(torch.zeros(3)))


WRONG: list[tuple[Callable[[LSTM], None] | None, Callable[[Tensor, Any], tuple[Any, Any]]]] = [
    (None, lambda x, hx: (x[0, 0], hx)),
    (None, lambda x, hx: (x[None], hx)),
    (None, lambda x, hx: (x[:0], hx)),
    (None, lambda x, hx: (x[..., 1:], hx)),
    (None, lambda x, hx: (x.double(), hx)),
    (None, lambda x, hx: (x.long(), hx)),
    (None, lambda x, hx: (x.to("meta"), hx)),
    (None, lambda x, hx: (x, hx[0])),
    (None, lambda x, hx: (x, (hx[0],))),
    (None, lambda x, hx: (x, (hx[0][:, 1:], hx[1]))),
    (None, lambda x, hx: (x, (hx[0], hx[1][0]))),
    (None, lambda x, hx: (x, (hx[0].double(), hx[1]))),
    (None, lambda x, hx: (x, (hx[0], None))),
    (None, lambda x, hx: (x.tolist(), hx)),
    (_without("weight_hh_l0"), lambda x, hx: (x, hx)),
    (_without("bias_ih_l0"), lambda x, hx: (x, hx)),
    (lambda lstm: lstm.weight_ih_l0.data.untyped_storage().resize_(0), lambda x, hx: (x, hx)),
    (lambda lstm: setattr(lstm, "hidden_size", H + 1), lambda x, _hx: (x, None)),
]


@pytest.mark.parametrize("case", range(len(WRONG)))
def test_errors_are_those_of_the_general_way(case: int) -> None:
    spoil, change = WRONG[case]
    lstm = layer()
    if spoil is not None:
        spoil(lstm)
    given = change(*inputs({}, torch.float32, batched=True, states=True))
    for context in (torch.no_grad(), nullcontext()):
        with context, pytest.raises(Exception) as expected:  # noqa: PT011 - whatever the general way raises
            generally(lambda: lstm(*given))
        with context, pytest.raises(Exception) as found:  # noqa: PT011
            lstm(*given)
        assert (type(found.value), str(found.value)) == (type(expected.value), str(expected.value))


def test_inference_tensors_are_refused_for_a_backward_pass_as_before() -> None:
    lstm = layer()
    with torch.inference_mode():
        x = torch.randn(T, B, D)
        assert lstm(x)[0].is_inference()
    with pytest.raises(RuntimeError, match="Inference tensors cannot be saved for backward"):
        lstm(x)
    with torch.no_grad():
        assert not lstm(x)[0].is_inference()


def test_memory_of_a_call_may_be_resized_and_results_are_apart(calls: Calls) -> None:
    lstm, (x, hx) = layer(), inputs({}, torch.float32, batched=True, states=True)
    with torch.no_grad():
        y, (h_n, c_n) = lstm(x, hx)
    assert calls == [True]
    tensors = [x, *hx, y, h_n, c_n, *lstm.parameters()]
    assert len({tensor.untyped_storage().data_ptr() for tensor in tensors}) == len(tensors)
    for tensor in tensors:
        tensor.untyped_storage().resize_(4096)
    y.resize_(2, 2)


def test_threads_at_once_while_another_replaces_the_weights() -> None:
    """A call has the old or the new weights, never memory that has been given back."""
    torch.manual_seed(0)
    lstm = LSTM(32, 32).requires_grad_(False)
    W = lstm.weight_hh_l0.detach().clone()
    big, small = torch.randn(20, 8, 32), torch.randn(3, 1, 32)  # without and with Python's lock
    expected: dict[int, list[Tensor]] = {}
    for scale in (2.0, 1.0):
        lstm.weight_hh_l0.data = scale * W
        for x in (big, small):
            expected.setdefault(len(x), []).append(generally(lambda x=x: lstm(x)[0]))
    found: dict[int, list[Tensor]] = {20: [], 3: []}

    def call(x: Tensor) -> None:
        found[len(x)].extend(lstm(x)[0] for _ in range(100))

    threads = [threading.Thread(target=call, args=(x,)) for x in (big, small, big)]
    for thread in threads:
        thread.start()
    turn = 0
    while any(thread.is_alive() for thread in threads):
        turn += 1
        lstm.weight_hh_l0.data = (1.0 + turn % 2) * W
        torch.full_like(W, 9.0)  # lies where the memory that was given back is
    for thread in threads:
        thread.join()
    assert [len(ys) for ys in found.values()] == [200, 100]
    for length, ys in found.items():
        assert all(any(torch.equal(y, other) for other in expected[length]) for y in ys)


def test_what_the_kernels_are_given_outlives_the_memory_of_a_parameter() -> None:
    parameter = torch.nn.Parameter(torch.full((64, 32), 7.0))
    given = [*operators.dense(parameter), operators.rows(parameter)]
    parameter.data = torch.zeros(64, 32)
    others = [torch.full((64, 32), 3.0) for _ in range(4)]
    for each in given:
        assert torch.equal(torch.from_dlpack(each), torch.full((64, 32), 7.0))
    assert len(others) == 4
