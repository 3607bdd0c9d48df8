"""The layer in bf16: types of torch, values of `equations`, the same bits in any way, errors below torch."""

from __future__ import annotations

import copy
import io
import itertools
import pickle
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

from gatewright import equations
from gatewright.bfloat16 import to_bf16
from gatewright.errors import GatewrightError
from gatewright.nn import LSTM, LSTMCell, precision
from gatewright.nn.linear import Linear

pytestmark = [
    pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN"),
    pytest.mark.filterwarnings("ignore:`torch.jit.:DeprecationWarning"),  # of torch's own forward-mode derivatives
]

T, B, D, H, P = 6, 3, 5, 7, 4
STACKS: list[dict[str, Any]] = [{}, {"proj_size": P}, {"num_layers": 2, "bidirectional": True}]
F32, BF16, F16 = torch.float32, torch.bfloat16, torch.float16


def pair(**options: Any) -> tuple[nn.LSTM, LSTM]:
    torch.manual_seed(0)
    theirs = nn.LSTM(D, H, **options)
    ours = LSTM(D, H, **options)
    ours.load_state_dict(theirs.state_dict())
    return theirs, ours


def example(dtype: torch.dtype = F32, T: int = T, B: int = B) -> Tensor:
    torch.manual_seed(1)
    return torch.randn(T, B, D).to(dtype).requires_grad_()


def tensors(results: Any) -> list[Tensor]:
    y, (h_n, c_n), *_ = results
    return [y.data if isinstance(y, PackedSequence) else y, h_n, c_n]


def trained(module: nn.Module, x: Tensor, autocast: bool, packed: bool, hx: Any = None) -> list[Tensor]:
    """Results of a call, and the gradients of the input, of the states and of the weights."""
    module.zero_grad()
    x = x.detach().clone().requires_grad_()
    with torch.autocast("cpu", BF16, enabled=autocast):
        found = tensors(module(pack_padded_sequence(x, [T, 4, 2]) if packed else x, hx))
    sum(each.float().square().sum() for each in found).backward()
    return [*found, x.grad, *(W.grad for W in module.parameters())]


@pytest.mark.parametrize("options", STACKS)
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("weights", "dtype", "autocast"),
    [(BF16, BF16, False), (F32, F32, True), (F32, BF16, True), (BF16, F32, True), (BF16, BF16, True)],
)
def test_types_and_values_are_those_of_torch(
    options: dict[str, Any], packed: bool, weights: torch.dtype, dtype: torch.dtype, autocast: bool
) -> None:
    found = [trained(each.to(weights), example(dtype), autocast, packed) for each in pair(**options)]
    assert [each.dtype for each in found[1]] == [each.dtype for each in found[0]]
    for a, b in zip(*found, strict=True):
        assert (a - b).abs().max() < 0.03 * b.abs().max()


def test_states_have_the_types_of_torch_too() -> None:
    states = [torch.randn(1, B, H).to(dtype).requires_grad_() for dtype in (F32, BF16)]
    for autocast, weights, state in [(True, F32, states[0]), (True, F32, states[1]), (False, BF16, states[1])]:
        found = []
        for module in pair():
            hx = state.detach().clone().requires_grad_(), (2 * state).detach().requires_grad_()
            dtype = BF16 if weights == BF16 else F32
            found.append(
                [*trained(module.to(weights), example(dtype), autocast, False, hx), hx[0].grad, hx[1].grad]
            )
        for a, b in zip(found[1], found[0], strict=True):
            assert a.dtype == b.dtype
            assert (a - b).abs().max() < 0.03 * b.abs().max()
    with pytest.raises(RuntimeError), torch.autocast("cpu", BF16):
        pair()[1](example(), (torch.zeros(1, B, H).double(), torch.zeros(1, B, H).double()))


def test_a_cell_has_the_types_of_torch() -> None:
    torch.manual_seed(0)
    theirs, ours = nn.LSTMCell(D, H), LSTMCell(D, H)
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(B, D)
    for autocast in (True, False):
        with torch.autocast("cpu", BF16, enabled=autocast):
            for a, b in zip(ours(x), theirs(x), strict=True):
                assert a.dtype == b.dtype
                assert torch.equal(a, b)
        x = x.bfloat16()
        theirs, ours = theirs.bfloat16(), ours.bfloat16()


@pytest.mark.parametrize("autocast", [False, True])
def test_a_head_has_the_types_of_torch_and_rows_that_do_not_depend_on_others(autocast: bool) -> None:
    torch.manual_seed(0)
    theirs, ours = nn.Linear(D, H), Linear(D, H)
    ours.load_state_dict(theirs.state_dict())
    found = []
    for layer in (theirs, ours):
        x = example() if autocast else example(BF16)
        layer.to(x.dtype)
        with torch.autocast("cpu", BF16, enabled=autocast):
            y = layer(x)
            assert layer is theirs or torch.equal(layer(x[1:2, 2]), y[1:2, 2])
        y.float().square().sum().backward()
        found.append([y, x.grad, layer.weight.grad, layer.bias.grad])
    for a, b in zip(*found, strict=True):
        assert a.dtype == b.dtype
        assert (a - b).abs().max() < 0.01 * b.abs().max()
    with torch.no_grad():
        exact = to_bf16(x.float().numpy()) @ to_bf16(ours.weight.float().numpy()).T + ours.bias.float().numpy()
    np.testing.assert_allclose(found[1][0].detach().float().numpy(), exact, rtol=2**-7, atol=1e-3)


def weights_of(layer: LSTM, reverse: bool = False) -> equations.Weights:
    of_layer = layer.layer_weights(0, reverse)
    return equations.Weights(*(None if W is None else W.detach().float().numpy() for W in of_layer))


@pytest.mark.parametrize("options", [{}, {"proj_size": P}, {"bidirectional": True}])
@pytest.mark.parametrize("rows", [F32, BF16])
def test_each_step_and_each_gradient_is_that_of_the_judge(options: dict[str, Any], rows: torch.dtype) -> None:
    torch.manual_seed(2)
    layer = LSTM(D, H, **options, compute="bf16", saved="float32").to(rows)
    x = example(rows, T=9)
    hx = [torch.randn(2 if layer.bidirectional else 1, B, size) for size in (layer.proj_size or H, H)]
    y, _, record = layer(x, [state.to(rows) for state in hx], record=True)
    torch.manual_seed(3)
    dy = torch.randn(y.shape).to(rows)
    y.backward(dy)
    dx = torch.zeros(x.shape)
    width = layer.proj_size or H
    for reverse in (False, True)[: 1 + layer.bidirectional]:
        kept = record.layers[0].reverse if reverse else record.layers[0].forward
        order = slice(None, None, -1) if reverse else slice(None)
        found = {name: getattr(kept, name).detach().float().numpy()[order] for name in equations.QUANTITIES}
        before = {name: getattr(kept, name).float().numpy() for name in ("cell_initial", "hidden_initial")}
        of_pass, weights = equations.Record(**found, **before), weights_of(layer, reverse)
        inputs = x.detach().float().numpy()[order].copy()
        for t in range(len(x)):
            step = of_pass.at(t)
            judge = equations.step(inputs[t], step.hidden_initial, step.cell_initial, weights, compute="bf16")
            for name in equations.QUANTITIES:
                expected = getattr(judge, name)
                if name == "hidden" and rows == BF16:
                    np.testing.assert_allclose(getattr(step, name), to_bf16(expected), rtol=2**-7)
                else:
                    np.testing.assert_allclose(getattr(step, name), expected, rtol=2e-5, atol=2e-6, err_msg=name)
        of_y = dy.float().numpy()[..., width * reverse :][..., :width][order]
        gradients = equations.backward(equations.OutputGradients(of_y), of_pass, inputs, weights, compute="bf16")
        dx += torch.from_numpy(gradients.dx[order].copy())
        names = ["dW_ih", "dW_hh", "db_ih", "db_hh", *(["dW_hr"] if layer.proj_size else [])]
        of_layer = [W for name, W in layer.named_parameters() if name.endswith("_reverse") == reverse]
        for name, W in zip(names, of_layer, strict=True):
            expected = torch.from_numpy(getattr(gradients, name))
            assert W.grad is not None
            assert (W.grad.float() - expected).norm() < (4e-3 if rows == BF16 else 1e-3) * expected.norm(), name
    assert x.grad is not None
    assert (x.grad.float() - dx).norm() < (4e-3 if rows == BF16 else 1e-3) * dx.norm()


def problem(seed: int, T: int, B: int, D: int, H: int) -> tuple[LSTM, Tensor, Tensor, list[Tensor]]:
    """A layer, an input, an adjoint, and what float64 makes of it."""
    torch.manual_seed(seed)
    layer = LSTM(D, H)
    x, dy = torch.randn(T, B, D), torch.randn(T, B, H)
    exact = nn.LSTM(D, H, dtype=torch.float64)
    exact.load_state_dict(layer.state_dict())
    return layer, x, dy, gradients_of(exact, x.double(), dy.double())


def gradients_of(module: nn.Module, x: Tensor, dy: Tensor, autocast: bool = False) -> list[Tensor]:
    x = x.detach().clone().requires_grad_()
    with torch.autocast("cpu", BF16, enabled=autocast):
        y = module(x)[0]
    return [y.detach(), *torch.autograd.grad(y, [x, *module.parameters()], dy.to(y.dtype))]


@pytest.mark.parametrize(("T", "B", "D", "H"), [(96, 8, 1, 32), (24, 8, 40, 64)], ids=["seqmnist", "charlm"])
def test_no_error_exceeds_that_of_bf16_in_torch(T: int, B: int, D: int, H: int) -> None:
    layer, x, dy, exact = problem(4, T, B, D, H)
    theirs = nn.LSTM(D, H)
    theirs.load_state_dict(layer.state_dict())

    def errors(found: list[Tensor]) -> list[float]:
        return [float((a - b).norm() / b.norm()) for a, b in zip(found, exact, strict=True)]

    of_torch = errors(gradients_of(theirs, x, dy, autocast=True))
    ways = {"autocast": errors(gradients_of(layer, x, dy, autocast=True))}
    for saved in ("bf16", "float32"):
        layer.compute, layer.saved = "bf16", saved
        ways[saved] = errors(gradients_of(layer, x, dy))
    for name, found in ways.items():
        assert all(a <= b for a, b in zip(found, of_torch, strict=True)), (name, found, of_torch)
    assert sum(ways["float32"]) < 0.8 * sum(of_torch)


def same(found: list[Tensor], expected: list[Tensor]) -> None:
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == b.dtype
        assert torch.equal(a, b)


@pytest.mark.parametrize("options", STACKS)
@pytest.mark.parametrize("dtype", [F32, BF16])
def test_neither_steps_nor_batch_nor_record_nor_checkpoints_change_a_bit(
    options: dict[str, Any], dtype: torch.dtype
) -> None:
    torch.manual_seed(5)
    layer = LSTM(D, H, **options, compute="bf16").to(dtype)
    x = example(dtype, T=40, B=5)
    expected = trained(layer, x, False, False)
    y, (h_n, c_n) = layer(x)
    recorded = layer(x, record=True)
    same([recorded[0], *recorded[1]], [y, h_n, c_n])
    assert recorded[2].layers[0].cell.dtype == BF16
    same([layer(x[:, 2:3])[0]], [y[:, 2:3]])
    for checkpoint in (1, 16):
        layer.checkpoint = checkpoint
        same(trained(layer, x, False, False), expected)
    layer.checkpoint = 0
    if dtype == F32 and not layer.bidirectional:  # states go on as float32
        state, steps = None, []
        for step in x.split([1, 1, 5, 33]):
            part, state = layer(step, state)
            steps.append(part)
        same([torch.cat(steps), *state], [y, h_n, c_n])
        stream = layer.stream(weights="bf16")
        np.testing.assert_array_equal(stream.run(x[:, 1].detach().numpy()), y[:, 1].detach().numpy())
    packed = pack_padded_sequence(x, [40] * 5)
    same(tensors(layer(packed)), [pack_padded_sequence(y, [40] * 5).data, h_n, c_n])


def test_autocast_is_bf16_with_rounded_results() -> None:
    layer = LSTM(D, H, num_layers=2, compute="bf16")
    x = example()
    with torch.autocast("cpu", BF16):
        y, (h_n, c_n) = layer(x.bfloat16())
    layer.bfloat16()
    expected, state = layer(x.bfloat16(), (torch.zeros(2, B, H).bfloat16(),) * 2)
    assert (y - expected).abs().max() < 2**-6  # whose weights are rounded too, as are those of the products anyway
    assert (h_n.dtype, c_n.dtype, state[0].dtype) == (BF16, BF16, BF16)


def second_derivative(module: nn.Module, x: Tensor) -> list[Tensor]:
    x = x.detach().clone().requires_grad_()
    (first,) = torch.autograd.grad(module(x)[0].float().square().sum(), x, create_graph=True)
    return [first, *torch.autograd.grad(first.float().square().sum(), [x, *module.parameters()])]


@pytest.mark.parametrize("saved", ["bf16", "float32"])
@pytest.mark.parametrize("dtype", [F32, BF16])
def test_a_second_derivative_is_near_that_of_float64(dtype: torch.dtype, saved: str) -> None:
    theirs, ours = pair(proj_size=P)
    ours.compute, ours.saved = "bf16", saved
    found, expected = second_derivative(ours.to(dtype), example(dtype)), second_derivative(
        theirs.double(), example().double()
    )  # fmt: skip
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == dtype
        assert (a - b).norm() < 0.03 * b.norm()


def test_transforms_and_batches_of_gradients_follow_the_kernels() -> None:
    _, ours = pair()
    ours.compute = "bf16"
    x = example().detach()
    expected = ours(x)[0]
    close = {"rtol": 1e-2, "atol": 1e-3}
    torch.testing.assert_close(torch.func.vmap(lambda x: ours(x)[0], 1, 1)(x), expected, **close)
    y, tangent = torch.func.jvp(lambda x: ours(x)[0], (x,), (torch.ones_like(x),))
    torch.testing.assert_close(y, expected, **close)
    ours.compute = "full"
    torch.testing.assert_close(
        tangent, torch.func.jvp(lambda x: ours(x)[0], (x,), (torch.ones_like(x),))[1], rtol=0.05, atol=2e-2
    )
    ours.compute = "bf16"
    for dtype in (F32, BF16):
        layer, x = ours.to(dtype), example(dtype)
        y = layer(x)[0]
        dy = torch.randn(3, *y.shape).to(dtype)
        one_by_one = [torch.autograd.grad(y, [x, layer.weight_ih_l0], d, retain_graph=True) for d in dy]
        batch = torch.autograd.grad(y, [x, layer.weight_ih_l0], dy, is_grads_batched=True)
        same(list(batch), [torch.stack(each) for each in zip(*one_by_one, strict=True)])


@pytest.mark.slow
def test_a_compiled_layer_has_the_same_bits() -> None:
    torch._dynamo.reset()
    _, layer = pair()
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    same(trained(compiled, example(), True, False), trained(layer, example(), True, False))
    torch._dynamo.reset()


@pytest.mark.slow
def test_an_exported_layer_has_the_same_bits() -> None:
    layer = LSTM(D, H, proj_size=P, compute="bf16").eval()
    dims = {0: torch.export.Dim("T", min=1), 1: torch.export.Dim("B", min=1)}
    program = torch.export.export(layer, (example(),), dynamic_shapes=(dims, None, None)[:1])
    x = example(T=9, B=2)
    same(tensors(program.module()(x)), tensors(layer(x)))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "dtype", "checkpoint"), [(precision.BF16, BF16, 2), (precision.BF16_KEPT_FLOAT32, F32, 0)]
)
def test_the_operator_keeps_what_torch_asks_of_one(code: int, dtype: torch.dtype, checkpoint: int) -> None:
    layer = LSTM(D, H)
    weights = [W.detach().to(dtype).requires_grad_() for W in layer.parameters()]
    args = (
        example(dtype),
        torch.zeros(B, H),
        torch.zeros(B, H).to(dtype),
        weights,
        1,
        None,
        [0, 1, checkpoint, code],
    )
    torch.library.opcheck(torch.ops.gatewright.lstm.default, args)


def test_the_arguments_are_kept_shown_and_checked() -> None:
    layer = LSTM(D, H, compute="bf16", saved="float32", checkpoint=3)
    assert repr(layer) == f"LSTM({D}, {H}, checkpoint=3, compute='bf16', saved='float32')"
    assert repr(LSTM(D, H)) == f"LSTM({D}, {H})"
    assert list(layer.state_dict()) == list(nn.LSTM(D, H).state_dict())
    file = io.BytesIO()
    torch.save(layer, file)
    file.seek(0)
    x = example()
    copies = [copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)), torch.load(file, weights_only=False)]
    for other in copies:
        assert (other.compute, other.saved, other.checkpoint) == ("bf16", "float32", 3)
        same([other(x)[0]], [layer(x)[0]])
    assert not torch.equal(LSTM(D, H)(x)[0], layer(x)[0])
    for name, value in (("compute", "bfloat16"), ("saved", "fp32")):
        with pytest.raises(GatewrightError, match=rf'^{name}: expected "'):
            LSTM(D, H, **{name: value})  # type: ignore[arg-type]
        changed = LSTM(D, H, compute="bf16")
        setattr(changed, name, value)
        with pytest.raises(GatewrightError, match=rf'^{name}: expected "'):
            changed(x)
    with pytest.raises(GatewrightError, match=r'^compute: expected "full" for float64 weights'):
        layer.double()(x.double())
    with pytest.raises(ValueError, match="dtype"):
        LSTM(D, H, compute="bf16")(x.bfloat16())


@pytest.mark.parametrize("packed", [False, True])
def test_float16_is_computed_in_float32(packed: bool) -> None:
    theirs, ours = pair(num_layers=2)
    half, x = ours.half(), example(F16)
    found = trained(half, x, False, packed)
    expected = trained(theirs.double(), x.double(), False, packed)
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == F16
        assert (a - b).abs().max() < 2e-3 * b.abs().max()
    assert half(x, record=True)[2].layers[0].forget_gate.dtype == F16
    _, ours = pair(num_layers=2)
    with torch.autocast("cpu", F16):
        y = ours(example())[0]
    assert y.dtype == F16
    assert (y - theirs(x.double())[0]).abs().max() < 2e-3


def test_float16_in_an_autocast_to_bfloat16_is_said_once() -> None:
    _, ours = pair()
    precision._note_float16.cache_clear()
    with torch.autocast("cpu", BF16):
        with pytest.warns(UserWarning, match="float16 tensors are rounded to bfloat16"):
            y = ours(example(F16))[0]
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            ours(example(F16))
    assert y.dtype == F32


@pytest.mark.filterwarnings("ignore:float16 tensors are rounded")
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("proj_size", [0, P])
def test_an_autocast_gives_the_types_of_torch(packed: bool, proj_size: int) -> None:
    theirs, ours = pair(proj_size=proj_size)
    for autocast, dtype, of_state in itertools.product((BF16, F16), (F32, BF16, F16), (None, F32, BF16, F16)):
        if autocast == F16 and not packed and not proj_size:
            continue  # oneDNN has no float16 on most processors
        x = example(dtype).detach()
        rows = pack_padded_sequence(x, [T, 4, 2]) if packed else x
        hx = of_state and (
            torch.full((1, B, proj_size or H), 0.3, dtype=of_state),
            torch.ones(1, B, H).to(of_state),
        )
        with torch.autocast("cpu", autocast):
            expected, *found = (
                tensors(each(rows, hx, **more))
                for each, more in ((theirs, {}), (ours, {}), (ours, {"record": True}))
            )
        for results in found:
            assert [each.dtype for each in results] == [each.dtype for each in expected]
            for a, b in zip(results, expected, strict=True):
                assert (a.float() - b.float()).abs().max() < 0.015
