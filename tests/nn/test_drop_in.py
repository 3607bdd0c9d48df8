"""What `torch.nn.LSTM` lets users do: checkpoints, resizing, traces, batches of gradients, tangents, threads."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
import torch.autograd.forward_ad as fwd
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence
from torch.utils.checkpoint import checkpoint

from gatewright import kernels
from gatewright.errors import GatewrightError
from gatewright.nn import LSTM, LSTMCell
from gatewright.nn.linear import Linear
from gatewright.spec.cell import LayerWeights

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN"),
    pytest.mark.filterwarnings("ignore:`torch.jit.:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning"),  # torch's own layer has them too
    pytest.mark.filterwarnings("ignore:`isinstance.treespec, LeafSpec.` is deprecated:FutureWarning"),
]

T, B, D, H, P = 5, 2, 3, 4, 2
STACKS: list[dict[str, Any]] = [{}, {"num_layers": 2, "bidirectional": True, "proj_size": P, "bias": False}]


def pair(dtype: torch.dtype = torch.float64, **options: Any) -> tuple[nn.LSTM, LSTM]:
    torch.manual_seed(0)
    theirs = nn.LSTM(D, H, dtype=dtype, **options)
    ours = LSTM(D, H, dtype=dtype, **options)
    ours.load_state_dict(theirs.state_dict())
    return theirs, ours


def example(dtype: torch.dtype = torch.float64, T: int = T, B: int = B) -> Tensor:
    torch.manual_seed(1)
    return torch.randn(T, B, D, dtype=dtype, requires_grad=True)


def close(found: Any, expected: Any, tolerance: float = 1e-10) -> None:
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance / 10)


# Saved tensors.


@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize("options", [*STACKS, {"checkpoint": 2}])
@pytest.mark.parametrize("record", [False, True])
def test_a_checkpoint_around_the_layer(options: dict[str, Any], reentrant: bool, record: bool) -> None:
    torch.manual_seed(0)
    layer = LSTM(D, H, dtype=torch.float64, **options)

    def call(x: Tensor) -> Tensor:
        out = layer(x, record=record)
        return out[0] + (out[2].layers[-1].cell.sum() if record else 0)

    gradients = []
    for run in (call, lambda x: checkpoint(call, x, use_reentrant=reentrant)):
        layer.zero_grad()
        x = example()
        run(x).square().sum().backward()
        gradients.append([x.grad, *(W.grad for W in layer.parameters())])
    for a, b in zip(*gradients, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("twice", [False, True])
def test_saved_tensors_are_unpacked_once_each(twice: bool) -> None:
    packed: list[int] = []
    unpacked: list[int] = []

    def pack(tensor: Tensor) -> tuple[int, Tensor]:
        packed.append(len(packed))
        return packed[-1], tensor.clone()

    def unpack(kept: tuple[int, Tensor]) -> Tensor:
        unpacked.append(kept[0])
        return kept[1]

    layer, x = LSTM(D, H, dtype=torch.float64), example()
    with torch.autograd.graph.saved_tensors_hooks(pack, unpack):
        y = layer(x)[0].sum()
    torch.autograd.grad(y, x, create_graph=twice)
    assert len(set(unpacked)) == len(unpacked)


# Memory.


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("packed", [False, True])
def test_tensors_stay_resizable(dtype: torch.dtype, packed: bool) -> None:
    layer, x = LSTM(D, H, 2, dtype=dtype), example(dtype)
    hx = torch.zeros(2, B, H, dtype=dtype, requires_grad=True), torch.zeros(2, B, H, dtype=dtype)
    given = pack_padded_sequence(x, [T, 3]) if packed else x
    y, (h_n, c_n) = layer(given, hx)
    y = y.data if isinstance(y, PackedSequence) else y
    dy = torch.ones_like(y)
    y.backward(dy)
    gradients = [W.grad for W in layer.parameters()]
    for tensor in (x, *hx, y, h_n, c_n, dy, *layer.parameters(), x.grad, hx[0].grad, *gradients):
        assert tensor is not None
        assert tensor.untyped_storage().resizable()
    with torch.no_grad():
        layer.weight_hh_l0.untyped_storage().resize_(0)
        with pytest.raises(GatewrightError, match=r"^W_hh: expected an array whose memory is there"):
            layer(x)


@pytest.fixture
def _alone() -> Iterator[None]:
    """A process group of one process."""
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.usefixtures("_alone")
@pytest.mark.filterwarnings("ignore::UserWarning")  # of torch: a loss whose parts are not all used
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_sharded_layer_trains() -> None:
    from torch.distributed.fsdp import fully_shard

    theirs, ours = pair(torch.float32, num_layers=2)
    sharded, x = fully_shard(nn.Sequential(ours)), example(torch.float32)
    for _ in range(2):
        y = sharded(x)[0]
        y.square().sum().backward()
        theirs(x)[0].square().sum().backward()
    close(y, theirs(x)[0], 1e-5)
    for a, b in zip(sharded.parameters(), theirs.parameters(), strict=True):
        close(a.grad.full_tensor(), b.grad, 1e-4)


def test_a_stream_and_a_head_leave_tensors_resizable() -> None:
    layer, head, x = LSTM(D, H), Linear(H, 2), torch.ones(3, H, requires_grad=True)
    layer.stream()
    y = head(x)
    y.sum().backward()
    for tensor in (*layer.parameters(), *head.parameters(), x, y, x.grad, head.weight.grad):
        assert tensor.untyped_storage().resizable()


def test_a_view_of_a_negated_part_is_read_as_it_is() -> None:
    theirs, ours = pair()
    torch.manual_seed(1)
    x = torch.randn(T, B, D, dtype=torch.complex128).conj().imag
    assert x.is_neg()
    close(ours(x)[0], theirs(x)[0])


@pytest.mark.parametrize("entry", ["forward", "backward", "linear"])
def test_memory_for_results_that_does_not_fit_is_refused(entry: str) -> None:
    x, W_ih, W_hh = np.ones((T, B, D)), np.ones((4 * H, D)), np.ones((4 * H, H))
    zeros, weights = np.zeros((B, H)), LayerWeights(W_ih, W_hh)
    kept = kernels.forward(x, zeros, zeros, weights, keep=True)
    if entry == "forward":
        expected = kernels.forward(x, zeros, zeros, weights)
        y = np.full((T, B, H), np.nan)
        done = kernels.forward(x, zeros, zeros, weights, out=(y, *[None] * 5))
        assert done.y is y
        np.testing.assert_array_equal(y, expected.y)
        np.testing.assert_array_equal(done.h_n, expected.h_n)
        with pytest.raises(GatewrightError, match=r"^h_n: expected shape \(2, 4\), got \(2, 5\)"):
            kernels.forward(x, zeros, zeros, weights, out=(None, np.ones((B, H + 1)), *[None] * 4))
        wide = np.ones((T, B, 2 * H))[..., :H]
        with pytest.raises(GatewrightError, match=r"^y: expected a contiguous array"):
            kernels.forward(x, zeros, zeros, weights, out=(wide, *[None] * 5))
        with pytest.raises(GatewrightError, match=r"^out: expected 6 arrays or None, got 1"):
            kernels.forward(x, zeros, zeros, weights, out=(None,))
    elif entry == "backward":
        d, inputs = kernels.OutputGradients(kept.y), kernels.Inputs(x, zeros, zeros)
        expected_back = kernels.backward(d, inputs, kept, weights)
        out = [np.full_like(each, np.nan) for each in (x, zeros, zeros, W_ih, W_hh, W_ih[:, 0])]
        done_back = kernels.backward(d, inputs, kept, weights, out=(*out, *[None] * 7))
        for a, b, given in zip(done_back, expected_back, [*out, *[None] * 7], strict=True):
            assert a is given
            if b is not None:
                np.testing.assert_array_equal(a, b)
        out[3] = out[3].astype(np.float32)
        with pytest.raises(GatewrightError, match=r"^dW_ih: expected float64"):
            kernels.backward(d, inputs, kept, weights, out=(*out, *[None] * 7))
    else:
        y = np.full((T * B, 4 * H), np.nan)
        assert kernels.linear(x.reshape(-1, D), W_ih, out=y) is y
        np.testing.assert_array_equal(y, kernels.linear(x.reshape(-1, D), W_ih))
        with pytest.raises(GatewrightError, match=r"^y: expected shape"):
            kernels.linear(x.reshape(-1, D), W_ih, out=y[1:])


# Compilers and tracers.


@pytest.fixture
def _afresh() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def outputs_and_gradients(modules: nn.ModuleList, outputs: list[Any], x: Any) -> list[Tensor]:
    """The outputs of each module, and the gradients of all of them."""
    data = x.data if isinstance(x, PackedSequence) else x
    found, loss = list[Tensor](), torch.zeros(())
    for y, (h_n, c_n) in outputs:
        y = y.data if isinstance(y, PackedSequence) else y
        loss = loss + y.float().square().sum() + h_n.float().sum() + c_n.float().sum()
        found += [y, h_n, c_n]
    wrt = [*([data] if data.requires_grad else []), *modules.parameters()]
    return [*found, *torch.autograd.grad(loss, wrt)]


@pytest.mark.usefixtures("_afresh")
@pytest.mark.parametrize("how", ["autocast bf16", "autocast f16", "bf16", "f16", "autocast of float64", "packed"])
def test_narrow_types_compile_with_gradients(how: str) -> None:
    narrow = torch.float16 if "f16" in how and "bf16" not in how else torch.bfloat16
    dtype = torch.float64 if "float64" in how else narrow if how in ("bf16", "f16") else torch.float32
    # One graph with a layer and a stack: most of the time is torch's own for a graph.
    pairs = [pair(dtype, **options) for options in ({}, {"num_layers": 2, "bidirectional": True})]
    theirs, ours = (nn.ModuleList(modules) for modules in zip(*pairs, strict=True))
    x: Any = example(dtype)
    if how == "packed":
        x = pack_padded_sequence(x.detach(), [T, 3])

    def call(x: Any) -> Any:
        with torch.autocast("cpu", narrow, enabled=how not in ("bf16", "f16")):
            return [module(x) for module in ours]

    compiled = torch.compile(call, backend="aot_eager", fullgraph=True)
    # The processor may have no operation for the narrow type of torch's.
    with torch.autocast("cpu", narrow, enabled=how not in ("bf16", "f16", "autocast f16")):
        eager = [module(x) for module in theirs]
    found = outputs_and_gradients(ours, compiled(x), x)
    expected = outputs_and_gradients(theirs, eager, x)
    tolerance = 1e-9 if dtype == torch.float64 else 0.06
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == b.dtype or how == "autocast f16"
        torch.testing.assert_close(a.to(b.dtype), b, rtol=tolerance, atol=tolerance)


@pytest.mark.usefixtures("_afresh")
def test_a_compiled_transform_looks_through_the_layer() -> None:
    theirs, ours = pair()
    x = example(T=2)
    expected = torch.autograd.grad(theirs(x)[0].square().sum(), x)[0]

    def gradient(x: Tensor) -> Tensor:
        return torch.func.grad(lambda x: ours(x)[0].square().sum())(x)

    close(torch.compile(gradient, backend="eager", fullgraph=True)(x.detach()), expected)
    each = torch.compile(torch.func.vmap(gradient), backend="aot_eager", fullgraph=True)(x.detach()[None])
    close(each[0], expected)


def test_float64_goes_by_the_kernels_under_autocast_too() -> None:
    _, ours = pair()
    x = example()
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(ours(x)[0], ours(x, record=True)[0])
        inside = ours(x)[0]
    assert torch.equal(inside, ours(x)[0])


@pytest.mark.parametrize("options", STACKS)
@pytest.mark.parametrize("grad", [False, True])
def test_a_trace_passes_its_own_check_and_can_be_trained(options: dict[str, Any], grad: bool) -> None:
    theirs, ours = pair(**options)
    model = nn.ModuleDict({"lstm": ours})

    class Whole(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = model

        def forward(self, x: Tensor) -> Tensor:
            return self.inner["lstm"](x)[0]

    with torch.set_grad_enabled(grad):
        traced = torch.jit.trace(Whole(), (example().detach(),))
    for x in (example(), example(T=9)):
        y = traced(x)
        close(y, theirs(x)[0])
        found = torch.autograd.grad(y.square().sum(), [x, *ours.parameters()])
        for a, b in zip(found, torch.autograd.grad(theirs(x)[0].square().sum(), [x, *theirs.parameters()]),
                        strict=True):  # fmt: skip
            close(a, b)


@pytest.mark.parametrize("strict", [False, True])
def test_what_was_exported_without_gradients_can_be_trained(strict: bool) -> None:
    theirs, ours = pair(num_layers=2)
    dims = {0: torch.export.Dim("T", min=1), 1: torch.export.Dim("B", min=1)}
    with torch.no_grad():
        program = torch.export.export(nn.Sequential(ours), (example().detach(),), dynamic_shapes=(dims,),
                                      strict=strict)  # fmt: skip
    module, x = program.module(), example(T=7)
    y = module(x)[0]
    close(y, theirs(x)[0])
    found = torch.autograd.grad(y.square().sum(), [x, *module.parameters()])
    for a, b in zip(
        found, torch.autograd.grad(theirs(x)[0].square().sum(), [x, *theirs.parameters()]), strict=True
    ):
        close(a, b)


class Model(nn.Module):
    """A model that holds one of each."""

    def __init__(self, kind: type[nn.Module], cell: type[nn.Module], head: type[nn.Module]) -> None:
        super().__init__()
        self.lstm, self.cell, self.head = kind(D, H), cell(H, H), head(H, 2)

    def forward(self, x: Tensor, hx: Any = None) -> Tensor:
        y, (h_n, c_n) = self.lstm(x, hx)
        h, _ = self.cell(y[-1], (h_n[0], c_n[0]))
        return self.head(h)


def test_a_symbolic_trace_has_the_layers_as_leaves() -> None:
    torch.manual_seed(0)
    theirs, ours = Model(nn.LSTM, nn.LSTMCell, nn.Linear), Model(LSTM, LSTMCell, Linear)
    ours.load_state_dict(theirs.state_dict())
    judge, traced = torch.fx.symbolic_trace(theirs), torch.fx.symbolic_trace(ours)
    nodes = [[(node.op, str(node.target)) for node in graph.graph.nodes] for graph in (judge, traced)]
    assert nodes[0] == nodes[1]
    assert ("call_module", "lstm") in nodes[1]
    x = example(torch.float32)
    close(traced(x), judge(x), 1e-5)
    close(torch.fx.Transformer(traced).transform()(x), judge(x), 1e-5)
    for root in (nn.LSTM(D, H), LSTM(D, H)):
        with pytest.raises(torch.fx.proxy.TraceError):
            torch.fx.symbolic_trace(root)
    with pytest.raises(torch.fx.proxy.TraceError, match="trace a module that holds it"):
        torch.fx.symbolic_trace(LSTM(D, H), {"hx": None, "record": False})


def test_a_symbolic_trace_of_a_recorded_call() -> None:
    class Gates(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = LSTM(D, H)

        def forward(self, x: Tensor) -> Tensor:
            _, _, record = self.lstm(x, record=True)
            return record.layers[0].forget_gate

    model, x = Gates(), example(torch.float32)
    assert torch.equal(torch.fx.symbolic_trace(model)(x), model(x))


# Derivatives.


@pytest.mark.parametrize("options", [*STACKS, {"checkpoint": 2}])
@pytest.mark.parametrize("packed", [False, True])
def test_a_batch_of_gradients_is_that_of_torch(options: dict[str, Any], packed: bool) -> None:
    theirs, ours = pair(**{name: value for name, value in options.items() if name != "checkpoint"})
    ours.checkpoint = options.get("checkpoint", 0)
    found = []
    for module in (theirs, ours):
        x = example()
        y = module(pack_padded_sequence(x, [T, 3]) if packed else x)[0]
        y = y.data if isinstance(y, PackedSequence) else y
        torch.manual_seed(2)
        adjoints = torch.randn(4, *y.shape, dtype=y.dtype)
        found.append(torch.autograd.grad(y, [x, *module.parameters()], adjoints, is_grads_batched=True))
    for a, b in zip(*found, strict=True):
        close(b, a)


def test_a_batch_of_gradients_reaches_the_record() -> None:
    _, ours = pair()
    x = example()
    gate = ours(x, record=True)[2].layers[0].forget_gate
    adjoints = torch.randn(3, *gate.shape, dtype=gate.dtype)
    each = [torch.autograd.grad(gate, x, adjoint, retain_graph=True)[0] for adjoint in adjoints]
    close(torch.autograd.grad(gate, x, adjoints, is_grads_batched=True)[0], torch.stack(each))


@pytest.mark.parametrize("options", STACKS)
@pytest.mark.parametrize("strategy", ["reverse-mode", "forward-mode"])
def test_a_vectorized_jacobian_is_that_of_torch(options: dict[str, Any], strategy: str) -> None:
    theirs, ours = pair(**options)
    x = example().detach()
    found = torch.autograd.functional.jacobian(lambda x: ours(x)[0], x, vectorize=True, strategy=strategy)
    close(found, torch.autograd.functional.jacobian(lambda x: theirs(x)[0], x))


def test_a_hessian_is_that_of_torch() -> None:
    for vectorize in (False, True):
        found = [
            torch.autograd.functional.hessian(
                lambda x, module=module: module(x)[0].square().sum(), example(T=3).detach(), vectorize=vectorize
            )
            for module in pair()
        ]
        close(found[1], found[0])


@pytest.mark.parametrize("options", STACKS)
def test_finite_differences_of_batches_and_tangents(options: dict[str, Any]) -> None:
    # Small: each weight takes a tangent, step by step.
    torch.manual_seed(0)
    ours = LSTM(2, 3, dtype=torch.float64, **options)
    x = torch.randn(2, 2, 2, dtype=torch.float64, requires_grad=True)
    weights = tuple(ours.parameters())

    def call(x: Tensor, *weights: Tensor) -> tuple[Tensor, ...]:
        y, (h_n, c_n) = torch.func.functional_call(
            ours, dict(zip(dict(ours.named_parameters()), weights, strict=True)), (x,)
        )
        return y, h_n, c_n

    assert torch.autograd.gradcheck(
        call, (x, *weights), check_batched_grad=True, check_forward_ad=True, fast_mode=False
    )
    assert torch.autograd.gradgradcheck(call, (x, *weights), check_batched_grad=True, fast_mode=True)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("what", ["input", "state", "weight"])
@pytest.mark.parametrize("packed", [False, True])
def test_tangents_are_those_of_a_difference(dtype: torch.dtype, what: str, packed: bool) -> None:
    _, ours = pair(dtype, num_layers=2)
    judge, _ = pair(torch.float64, num_layers=2)
    judge.load_state_dict(ours.double().state_dict())
    ours.to(dtype)
    x, h_0 = example(dtype).detach(), torch.zeros(2, B, H, dtype=dtype)
    W = ours.weight_hh_l0.detach()
    torch.manual_seed(5)
    tangent = torch.randn_like({"input": x, "state": h_0, "weight": W}[what])

    def call(module: nn.Module, x: Tensor, h_0: Tensor, W: Tensor) -> Tensor:
        given = PackedSequence(x.flatten(0, 1), torch.tensor([2, 2, 2, 1, 1, 1, 1])) if packed else x
        state = (h_0, torch.zeros_like(h_0))
        y = torch.func.functional_call(module, {"weight_hh_l0": W}, (given, state))[0]
        return y.data if isinstance(y, PackedSequence) else y

    with fwd.dual_level():
        duals = {"input": x, "state": h_0, "weight": W}
        duals[what] = fwd.make_dual(duals[what], tangent)
        y = call(ours, duals["input"], duals["state"], duals["weight"])
        found = fwd.unpack_dual(y).tangent
    values = {"input": x.double(), "state": h_0.double(), "weight": W.double()}
    step = 1e-5
    ends = [
        call(judge, *{**values, what: values[what] + sign * step * tangent.double()}.values()) for sign in (1, -1)
    ]
    torch.testing.assert_close(found.double(), (ends[0] - ends[1]) / (2 * step), rtol=1e-4, atol=1e-5)


def test_a_level_without_tangents_keeps_the_kernels() -> None:
    _, ours = pair(torch.float32)
    x = example(torch.float32)
    expected = ours(x)[0]
    with fwd.dual_level():
        assert torch.equal(ours(x)[0], expected)


# Threads.

AT_EXIT = """
import sys, threading, time
import numpy as np
from gatewright import kernels
entry = sys.argv[1]
x, W, h = np.ones((4000, 8, 64), np.float32), np.ones((1024, 64), np.float32), np.ones((1024, 256), np.float32)
begun = threading.Event()
def work():
    while True:
        begun.set()
        if entry == "forward":
            kernels.forward(x, None, None, kernels.LayerWeights(W, h), kernels.SequenceArgs(threads=1))
        else:
            kernels.linear(x.reshape(-1, 64), W, threads=1)
threads = [threading.Thread(target=work, daemon=True) for _ in range(2)]
for each in threads:
    each.start()
begun.wait()
time.sleep(0.05)
"""


@pytest.mark.parametrize("entry", ["forward", "linear"])
def test_a_daemon_thread_in_a_kernel_does_not_abort_the_exit(entry: str) -> None:
    ended = subprocess.run([sys.executable, "-c", AT_EXIT, entry], capture_output=True, timeout=300, check=False)
    assert (ended.returncode, ended.stderr) == (0, b"")
