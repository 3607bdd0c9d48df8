"""Derivatives of every kind: `torch.func`, batches of calls, second derivatives; judged by torch's layer."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import (
    functional_call,
    functionalize,
    grad,
    hessian,
    jacfwd,
    jacrev,
    jvp,
    stack_module_state,
    vjp,
    vmap,
)
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn.utils.rnn import PackedSequence

from gatewright import kernels
from gatewright.errors import SlowPathWarning
from gatewright.nn import LSTM, batched_calls, fallback, slow_path
from gatewright.nn.held_gates import sequence_held
from gatewright.spec import CellSpec
from tests.support.variant_cells import TOGETHER, label

pytestmark = [
    pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN"),
    pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated"),  # by torch itself, at its first tangent
]

T, B, D, H, P, N = 4, 2, 3, 5, 2, 3
PLAIN: dict[str, Any] = {}
DEEP: dict[str, Any] = {"num_layers": 2, "bidirectional": True, "proj_size": P, "bias": False}
Parameters = dict[str, Tensor]


def pair(**options: Any) -> tuple[nn.LSTM, LSTM]:
    """torch's layer and ours, with the same weights."""
    torch.manual_seed(0)
    theirs = nn.LSTM(D, H, dtype=torch.float64, **options)
    ours = LSTM(D, H, dtype=torch.float64, **options)
    ours.load_state_dict(theirs.state_dict())
    return theirs, ours


def random(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def close(found: Any, expected: Any) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-11)


def pack(x: Tensor) -> PackedSequence:
    """Pack rows of 2 and of 4 steps; `torch.func.vmap` has no rule for the function of torch that does it."""
    order = torch.tensor([1, 0])
    data = torch.cat([x[0, order], x[1, order], x[2:, 1]])
    return PackedSequence(data, torch.tensor([2, 2, 1, 1]), order, order)


def loss_of(module: nn.Module, packed: bool = False) -> Callable[[Parameters, Tensor], Tensor]:
    """A loss that reads y, h_n and c_n, each in its own way."""

    def loss(parameters: Parameters, x: Tensor) -> Tensor:
        given = pack(x) if packed else x
        y, (h_n, c_n) = functional_call(module, parameters, (given,))
        y = y.data if isinstance(y, PackedSequence) else y
        return y.square().sum() + h_n.sin().sum() + (c_n * h_n.mean()).sum()

    return loss


def parameters_of(module: nn.Module) -> Parameters:
    return {name: each.detach() for name, each in module.named_parameters()}


def ensemble(**options: Any) -> Parameters:
    """Parameters of N layers, stacked."""
    torch.manual_seed(7)
    return {
        name: each.detach()
        for name, each in stack_module_state([LSTM(D, H, dtype=torch.float64, **options) for _ in range(N)])[
            0
        ].items()
    }


def member(stacked: Parameters, n: int) -> Parameters:
    return {name: each[n] for name, each in stacked.items()}


@pytest.fixture
def _no_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail where torch's operations do the work."""
    monkeypatch.setattr(fallback, "sequence", lambda *_, **__: pytest.fail("torch's operations, step by step"))


# Batches of calls.


@pytest.mark.usefixtures("_no_steps")
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("options", [PLAIN, DEEP])
@pytest.mark.parametrize("what", ["inputs", "weights", "both"])
def test_gradients_of_a_batch_of_calls_are_those_of_each(options: dict[str, Any], packed: bool, what: str) -> None:
    theirs, ours = pair(**options)
    stacked = ensemble(**options) if what != "inputs" else parameters_of(ours)
    x = random(N, T, B, D) if what != "weights" else random(T, B, D)
    dims = (None if what == "inputs" else 0, None if what == "weights" else 0)
    found = vmap(grad(loss_of(ours, packed), argnums=(0, 1)), dims)(stacked, x)
    values = vmap(loss_of(ours, packed), dims)(stacked, x)
    for n in range(N):
        leaves = {
            name: each.clone().requires_grad_()
            for name, each in (member(stacked, n) if what != "inputs" else stacked).items()
        }
        x_n = (x[n] if what != "weights" else x).clone().requires_grad_()
        value = loss_of(theirs, packed)(leaves, x_n)
        close(values[n], value.detach())
        expected = torch.autograd.grad(value, [*leaves.values(), x_n])
        close([*(each[n] for each in found[0].values()), found[1][n]], list(expected))


@pytest.mark.usefixtures("_no_steps")
def test_batches_within_batches() -> None:
    """Samples for each of several members; and members' gates, in a batch dimension that is not the first."""
    theirs, ours = pair()
    stacked, x = ensemble(), random(D, N, T, B).movedim(0, -1)
    each = vmap(vmap(grad(loss_of(ours)), (None, 0)), (0, None))(stacked, x)
    gates = vmap(
        lambda p, x: functional_call(ours, p, (x,), {"record": True})[2].layers[0].forget_gate, (0, 1), 2
    )(stacked, x.movedim(0, 1))
    for n in range(N):
        for k in range(N):
            leaves = {name: value.clone().requires_grad_() for name, value in member(stacked, n).items()}
            expected = torch.autograd.grad(loss_of(theirs)(leaves, x[k]), list(leaves.values()))
            close([value[n, k] for value in each.values()], list(expected))
        record = functional_call(ours, member(stacked, n), (x[n],), {"record": True})[2]
        close(gates[:, :, n], record.layers[0].forget_gate)


@pytest.mark.usefixtures("_no_steps")
@pytest.mark.parametrize("checkpoint", [0, 2])
def test_a_batch_of_calls_is_part_of_an_ordinary_graph(checkpoint: int) -> None:
    """Gradients by `backward`, outside of the transform; batches of adjoints of an ordinary pass."""
    theirs, ours = pair(num_layers=2)
    ours.checkpoint = checkpoint
    stacked = {name: each.requires_grad_() for name, each in ensemble(num_layers=2).items()}
    x = random(T, B, D).requires_grad_()
    vmap(loss_of(ours), (0, None))(stacked, x).sum().backward()
    found, found_x = {name: each.grad for name, each in stacked.items()}, x.grad
    expected_x = torch.zeros_like(x)
    for n in range(N):
        leaves = {name: each.detach().clone().requires_grad_() for name, each in member(stacked, n).items()}
        expected = torch.autograd.grad(loss_of(theirs)(leaves, x), [*leaves.values(), x])
        close([each[n] for each in found.values()], list(expected[:-1]))
        expected_x += expected[-1]
    close(found_x, expected_x)

    (y, _), (expected_y, _) = ours(x), theirs(x)
    d = random(70, *y.shape)  # more than are made as one
    inputs = [x, ours.weight_hh_l1]
    of_batch = vmap(lambda d: torch.autograd.grad(y, inputs, d, retain_graph=True))(d)
    of_x = vmap(lambda d: torch.autograd.grad(y, x, d, retain_graph=True)[0])(d)
    expected = torch.autograd.grad(expected_y, [x, theirs.weight_hh_l1], d, is_grads_batched=True)
    close(list(of_batch), list(expected))
    close(of_x, expected[0])


def test_members_have_second_derivatives_and_batches_of_gradients() -> None:
    """Of an ensemble in an ordinary graph."""
    theirs, ours = pair()
    stacked = {name: each.requires_grad_() for name, each in ensemble().items()}
    x = random(T, B, D).requires_grad_()
    y = vmap(lambda p: functional_call(ours, p, (x,))[0])(stacked)
    d = random(2, *y.shape)
    batched = torch.autograd.grad(y, [x, *stacked.values()], d, is_grads_batched=True, retain_graph=True)
    first = torch.autograd.grad(y.square().sum(), [x, *stacked.values()], create_graph=True)
    found = torch.autograd.grad(sum(each.square().sum() for each in first), [x, *stacked.values()])

    each_y = [functional_call(theirs, member(stacked, n), (x,))[0] for n in range(N)]
    expected_y = torch.stack(each_y)
    expected = torch.autograd.grad(expected_y, [x, *stacked.values()], d, is_grads_batched=True, retain_graph=True)
    close(list(batched), list(expected))
    first = torch.autograd.grad(expected_y.square().sum(), [x, *stacked.values()], create_graph=True)
    close(
        list(found), list(torch.autograd.grad(sum(each.square().sum() for each in first), [x, *stacked.values()]))
    )


@pytest.mark.parametrize("options", [{}, {"compute": "bf16"}, {"compute": "bf16", "saved": "float32"}], ids=str)
def test_members_have_the_bits_of_layers_alone(options: dict[str, Any]) -> None:
    layers = [LSTM(D, H, 2, bidirectional=True, **options) for _ in range(N)]
    stacked, x = stack_module_state(layers)[0], torch.randn(T, B, D)

    def loss(p: Parameters) -> Tensor:
        return functional_call(layers[0], p, (x,))[0].square().sum()

    outside = torch.autograd.grad(vmap(loss)(stacked).sum(), list(stacked.values()))
    inside = vmap(grad(loss))({name: each.detach() for name, each in stacked.items()})
    for n, layer in enumerate(layers):
        expected = torch.autograd.grad(layer(x)[0].square().sum(), list(layer.parameters()))
        assert all(torch.equal(a[n], b) for a, b in zip(outside, expected, strict=True))
        assert all(torch.equal(a[n], b) for a, b in zip(inside.values(), expected, strict=True))


# Derivatives of derivatives, and tangents.


def flat_loss(module: nn.Module) -> tuple[Callable[[Tensor], Tensor], Tensor]:
    """A loss as a function of x, h_0 and all parameters in one vector, and a point."""
    parameters = parameters_of(module)
    sizes = [T * B * D, B * H, *(each.numel() for each in parameters.values())]

    def loss(flat: Tensor) -> Tensor:
        x, h_0, *rest = flat.split(sizes)
        values = {name: part.view(like.shape) for (name, like), part in zip(parameters.items(), rest, strict=True)}
        hx = h_0.view(1, B, H), h_0.view(1, B, H).square()
        y, (h_n, c_n) = functional_call(module, values, (x.view(T, B, D), hx))
        return y.square().sum() + (h_n * c_n).sum()

    point = torch.cat(
        [random(T * B * D), random(B * H, seed=2), *(each.flatten() for each in parameters.values())]
    )
    return loss, point


def test_jacobians_and_hessians_are_those_of_torch() -> None:
    (theirs, ours), (loss, point) = pair(), (None, None)
    loss, point = flat_loss(ours)
    their_loss, _ = flat_loss(theirs)
    expected = torch.autograd.functional.hessian(their_loss, point, vectorize=False)
    close(hessian(loss)(point), expected)  # forward over reverse
    close(jacrev(grad(loss), chunk_size=16)(point), expected)
    v = random(len(point), seed=3)
    close(jvp(grad(loss), (point,), (v,))[1], expected @ v)
    close(vjp(grad(loss), point)[1](v)[0], expected @ v)
    leaf = point.clone().requires_grad_()
    (first,) = torch.autograd.grad(loss(leaf), leaf, create_graph=True)
    close(torch.autograd.grad(first, leaf, v)[0], expected @ v)
    gradient = torch.autograd.functional.jacobian(their_loss, point)
    close(first, gradient)
    close(
        [jacfwd(loss)(point), jacrev(loss)(point), jvp(loss, (point,), (v,))[1]],
        [gradient, gradient, gradient @ v],
    )


def test_third_derivatives_are_those_of_torch() -> None:
    found = []
    for module in pair():
        loss, point = flat_loss(module)
        leaf = point.requires_grad_()
        (first,) = torch.autograd.grad(loss(leaf), leaf, create_graph=True)
        (second,) = torch.autograd.grad(first.square().sum(), leaf, create_graph=True)
        found.append(torch.autograd.grad(second.sin().sum(), leaf)[0])
    close(found[1], found[0])
    loss, point = flat_loss(pair()[1])
    nested = grad(lambda p: grad(lambda p: grad(loss)(p).square().sum())(p).sin().sum())
    close(nested(point), found[0])


@pytest.mark.parametrize("options", [PLAIN, DEEP])
def test_states_that_are_computed_from_the_input_count_once(options: dict[str, Any]) -> None:
    found = []
    for module in pair(**options):
        x = random(T, B, D).requires_grad_()
        M = random(D, H, seed=5).requires_grad_()
        states = (len(module._all_weights), B)
        h_0 = (x.mean(0) @ M)[:, : options.get("proj_size", H)].expand(*states, -1)
        y, (h_n, c_n) = module(x, (h_0, (x.sum(0) @ M).expand(*states, -1)))
        loss = y.square().sum() + (y.mean(0) * y[0].detach()).sum() + h_n.sum() + c_n.square().sum()
        (first,) = torch.autograd.grad(loss, x, create_graph=True)
        found.append(torch.autograd.grad(first.square().sum(), [x, M, *module.parameters()]))
    close(list(found[1]), list(found[0]))


def test_second_derivatives_reach_the_record() -> None:
    """The penalty on a gradient of gates, against one of the same gates by torch's operations."""
    _, ours = pair()
    found = []
    for by_steps in (False, True):
        x = random(T, B, D).requires_grad_()
        zeros = torch.zeros(B, H, dtype=torch.float64)
        record = fallback.sequence(x, zeros, zeros, ours.layer_weights(0))[3] if by_steps else None
        layer = record or ours(x, record=True)[2].layers[0]
        loss = (layer.forget_gate.square() * layer.cell).sum() + (layer.candidate * layer.hidden).sum()
        (first,) = torch.autograd.grad(loss, x, create_graph=True)
        found.append([first, *torch.autograd.grad(first.square().sum(), [x, *ours.parameters()])])
    close(found[0], found[1])


def test_a_step_of_meta_learning_is_that_of_torch() -> None:
    """MAML (Finn et al. 2017, arXiv:1703.03400): the gradient of a loss after steps of gradient descent."""
    found = []
    for module in pair():
        parameters = dict(module.named_parameters())
        loss, adapted = loss_of(module), parameters
        for step in range(2):
            gradients = torch.autograd.grad(
                loss(adapted, random(T, B, D, seed=step)), list(adapted.values()), create_graph=True
            )
            adapted = {n: each - 0.1 * d for (n, each), d in zip(adapted.items(), gradients, strict=True)}
        found.append(torch.autograd.grad(loss(adapted, random(T, B, D, seed=9)), list(parameters.values())))
    close(list(found[1]), list(found[0]))


def test_norms_of_the_gradients_of_samples_have_gradients() -> None:
    theirs, ours = pair()
    parameters, x = parameters_of(ours), random(N, T, B, D)

    def norms(p: Parameters) -> Tensor:
        each = vmap(grad(loss_of(ours)), (None, 0))(p, x)
        return sum((value.flatten(1).square().sum(1) for value in each.values()), torch.zeros(N)).sqrt()

    found = grad(lambda p: norms(p).sum())(parameters)
    leaves = {name: each.clone().requires_grad_() for name, each in parameters.items()}
    total = torch.zeros((), dtype=torch.float64)
    for n in range(N):
        gradients = torch.autograd.grad(loss_of(theirs)(leaves, x[n]), list(leaves.values()), create_graph=True)
        norm = sum(each.square().sum() for each in gradients).sqrt()
        close(norms(parameters)[n], norm.detach())
        total = total + norm
    close(list(found.values()), list(torch.autograd.grad(total, list(leaves.values()))))


@pytest.mark.parametrize(("options", "packed"), [(PLAIN, False), ({"bidirectional": True, "proj_size": P}, True)])
def test_finite_differences_judge_first_and_second_derivatives(options: dict[str, Any], packed: bool) -> None:
    _, ours = pair(**options)
    names = [name for name, _ in ours.named_parameters()]
    states = len(ours._all_weights)
    x, h_0, c_0 = random(T, B, D), random(states, B, options.get("proj_size", H)), random(states, B, H)
    inputs = [each.requires_grad_() for each in (x, h_0, c_0)]

    def call(x: Tensor, h_0: Tensor, c_0: Tensor, *weights: Tensor) -> tuple[Tensor, ...]:
        given = pack(x) if packed else x
        y, states = functional_call(ours, dict(zip(names, weights, strict=True)), (given, (h_0, c_0)))
        return (y.data if isinstance(y, PackedSequence) else y, *states)

    values = (*inputs, *ours.parameters())
    assert torch.autograd.gradcheck(call, values, fast_mode=True)
    assert torch.autograd.gradgradcheck(call, values, fast_mode=True)


# Other cells.


VARIANTS = [CellSpec(**features) for features in TOGETHER]


def variant(cell: CellSpec, seed: int = 0, **options: Any) -> LSTM:
    torch.manual_seed(seed)
    layer = LSTM(D, H, cell=cell, dtype=torch.float64, **options)
    with torch.no_grad():  # gains and shifts at other values than 1 and 0
        for weight in layer.parameters():
            weight.add_(0.3 * torch.randn_like(weight))
    return layer


@pytest.mark.usefixtures("_no_steps")
@pytest.mark.parametrize("cell", VARIANTS, ids=label)
@pytest.mark.parametrize("packed", [False, True])
def test_batches_of_calls_of_every_cell_are_those_of_each(cell: CellSpec, packed: bool) -> None:
    """In training, where all calls have the same random choices."""
    layers = [variant(cell, seed, bidirectional=packed) for seed in range(N)]
    one, x = layers[0], random(N, T, B, D)
    stacked = {name: each.detach() for name, each in stack_module_state(layers)[0].items()}
    loss = loss_of(one, packed)
    torch.manual_seed(3)
    found = {"weights": vmap(grad(loss, (0, 1)), (0, 0), randomness="same")(stacked, x)}
    torch.manual_seed(3)
    found["inputs"] = vmap(grad(loss, (0, 1)), (None, 0), randomness="same")(parameters_of(one), x)
    torch.manual_seed(3)
    gates = vmap(lambda x: one(pack(x) if packed else x, record=True)[2].layers[0].forget_gate, randomness="same")(
        x
    )
    for n in range(N):
        for name, parameters in (("weights", member(stacked, n)), ("inputs", parameters_of(one))):
            leaves = {name: each.clone().requires_grad_() for name, each in parameters.items()}
            x_n = x[n].clone().requires_grad_()
            torch.manual_seed(3)
            expected = torch.autograd.grad(loss(leaves, x_n), [*leaves.values(), x_n])
            close([*(each[n] for each in found[name][0].values()), found[name][1][n]], list(expected))
        torch.manual_seed(3)
        close(gates[n], one(pack(x[n]) if packed else x[n], record=True)[2].layers[0].forget_gate)


@pytest.mark.parametrize("cell", VARIANTS, ids=label)
def test_finite_differences_judge_second_derivatives_of_every_cell(cell: CellSpec) -> None:
    """In training; of all weights, and of a record."""
    layer = variant(cell)
    names = [name for name, _ in layer.named_parameters()]

    def call(x: Tensor, *weights: Tensor) -> tuple[Tensor, ...]:
        torch.manual_seed(4)
        y, states, record = functional_call(layer, dict(zip(names, weights, strict=True)), (x,), {"record": True})
        return y, *states, record.layers[0].forget_gate, record.layers[0].cell

    values = (random(3, B, D).requires_grad_(), *layer.parameters())
    assert torch.autograd.gradgradcheck(call, values, fast_mode=True)


# Rows with steps of their own.


def steps_of(n: int) -> dict[str, Tensor]:
    """Lengths, gaps and resets, others for each ``n``."""
    generator = torch.Generator().manual_seed(20 + n)
    mask, reset = (torch.rand(T, B, generator=generator) < rate for rate in (0.7, 0.3))
    return {"lengths": torch.tensor([T - n % 2, n]), "mask": mask, "reset": reset}


def read(steps: dict[str, Tensor]) -> Tensor:
    """Whether a row has a step."""
    within = torch.arange(T)[:, None] < steps.get("lengths", torch.tensor(T))
    return within.expand(T, B) & steps.get("mask", torch.tensor(True))


def loss_of_steps(layer: LSTM) -> Callable[..., Tensor]:
    def loss(parameters: Parameters, x: Tensor, h: Tensor, steps: dict[str, Tensor]) -> Tensor:
        options = {**steps, "reset_to": (h.cos(), h.sin())} if "reset" in steps else steps
        y, (h_n, c_n) = functional_call(layer, parameters, (x, (h, h.cos())), options)
        return y.square().sum() + h_n.sin().sum() + (c_n * h_n.mean()).sum()

    return loss


#: In training; without layer normalisation and projection, so that gradients by samples are one product.
FOLDING = CellSpec(peephole=True, cell_clip=0.5, zoneout_cell=0.2, zoneout_hidden=0.3, hidden_dropout=0.4)


@pytest.mark.usefixtures("_no_steps")
@pytest.mark.parametrize("cell", [None, VARIANTS[1], FOLDING], ids=["plain", "layer norm", "in training"])
@pytest.mark.parametrize("chosen", [("lengths",), ("mask", "reset"), ("lengths", "mask", "reset")], ids=str)
@pytest.mark.parametrize("same", [True, False], ids=["steps of all", "steps of each"])
def test_batches_of_calls_with_steps_are_those_of_each(
    cell: CellSpec | None, chosen: tuple[str, ...], same: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gradients by samples, in both directions, with NaN where nothing is read."""
    if cell is not VARIANTS[1]:
        monkeypatch.setattr(batched_calls, "one_by_one", lambda *_: pytest.fail("call by call"))
    options: dict[str, Any] = {"bidirectional": True}
    layer = LSTM(D, H, dtype=torch.float64, **options) if cell is None else variant(cell, **options)
    parameters, loss, h = parameters_of(layer), loss_of_steps(layer), random(N, 2, B, H, seed=2)
    calls = [{name: steps_of(2 if same else n)[name] for name in chosen} for n in range(N)]
    x = random(N, T, B, D).where(torch.stack([read(steps) for steps in calls])[..., None], torch.nan)
    given = calls[0] if same else {name: torch.stack([steps[name] for steps in calls]) for name in chosen}
    by_sample = vmap(grad(loss, (0, 1, 2)), (None, 0, 0, None if same else 0), randomness="same")
    torch.manual_seed(3)
    found = by_sample(parameters, x, h, given)
    for n in range(N):
        torch.manual_seed(3)
        leaves = {name: value.clone().requires_grad_() for name, value in parameters.items()}
        inputs = [x[n].clone().requires_grad_(), h[n].clone().requires_grad_()]
        expected = torch.autograd.grad(loss(leaves, *inputs, calls[n]), [*leaves.values(), *inputs])
        close([*(value[n] for value in found[0].values()), found[1][n], found[2][n]], list(expected))


def test_norms_of_the_gradients_of_samples_with_steps_have_gradients() -> None:
    layer = LSTM(D, H, bidirectional=True, dtype=torch.float64)
    parameters, loss, h = parameters_of(layer), loss_of_steps(layer), random(2, B, H, seed=2)
    steps = steps_of(2)
    x = random(N, T, B, D).where(read(steps)[..., None], torch.nan)

    def total(p: Parameters) -> Tensor:
        each = vmap(grad(loss), (None, 0, None, None))(p, x, h, steps)
        return sum((value.flatten(1).square().sum(1) for value in each.values()), torch.zeros(N)).sqrt().sum()

    leaves = {name: value.clone().requires_grad_() for name, value in parameters.items()}
    norms = torch.zeros((), dtype=torch.float64)
    for n in range(N):
        first = torch.autograd.grad(loss(leaves, x[n], h, steps), list(leaves.values()), create_graph=True)
        norms = norms + sum(each.square().sum() for each in first).sqrt()
    expected = torch.autograd.grad(norms, list(leaves.values()))
    assert all(each.isfinite().all() for each in expected)
    close(list(grad(total)(parameters).values()), list(expected))


# What is said.


@pytest.fixture
def _nothing_said() -> Iterator[None]:
    slow_path._say.cache_clear()
    yield
    slow_path._say.cache_clear()


@pytest.mark.usefixtures("_nothing_said")
def test_a_slow_path_is_named_once_and_can_be_silenced() -> None:
    _, ours = pair()
    x = random(T, B, D).requires_grad_()

    def second() -> None:
        (first,) = torch.autograd.grad(ours(x)[0].square().sum(), x, create_graph=True)
        torch.autograd.grad(first.sum(), x)

    def tangent() -> None:
        jvp(lambda x: ours(x)[0], (x.detach(),), (x.detach(),))

    def held() -> None:
        zeros, clamps = x.new_zeros(B, H), x.new_full((4, H), torch.nan)
        y = sequence_held(x, zeros, zeros, ours.layer_weights(0), clamps)[0]
        (first,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
        torch.autograd.grad(first.sum(), x)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for run in (second, tangent, held, second, tangent, held):
            run()
        grad(lambda x: ours(x)[0].sum())(x.detach())  # by the kernels
    messages = [str(each.message) for each in caught if each.category is SlowPathWarning]
    assert len(messages) == 3
    assert messages[0].startswith("Second derivatives of a gatewright.LSTM run on torch's operations")
    assert messages[1].startswith("Forward-mode derivatives of a gatewright.LSTM run on torch's operations")
    assert messages[2].startswith("Second derivatives with gates held of a gatewright.LSTM run on torch's")
    slow_path._say.cache_clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", SlowPathWarning)
        second()


def test_a_gradient_that_could_be_differentiated_has_the_bits_of_one_that_is_not() -> None:
    _, ours = pair(**DEEP)
    x = random(T, B, D).requires_grad_()
    wrt = [x, *ours.parameters()]
    plain = torch.autograd.grad(ours(x)[0].square().sum(), wrt)
    kept = torch.autograd.grad(ours(x)[0].square().sum(), wrt, create_graph=True)
    assert all(map(torch.equal, plain, kept))


def test_transforms_can_be_traced_and_functionalized() -> None:
    _, ours = pair()
    parameters, x, loss = parameters_of(ours), random(N, T, B, D), loss_of(ours)
    samples = vmap(grad(loss), (None, 0))
    close(make_fx(samples)(parameters, x)(parameters, x), samples(parameters, x))
    close(functionalize(grad(loss))(parameters, x[0]), grad(loss)(parameters, x[0]))


def test_gradients_of_samples_come_from_one_call_of_the_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    _, ours = pair()
    parameters, x = parameters_of(ours), random(N, T, B, D)
    calls: list[Any] = []
    for name in ("forward", "backward"):
        original = getattr(kernels, name)
        monkeypatch.setattr(kernels, name, lambda *a, f=original, **k: calls.append(a) or f(*a, **k))
    found = vmap(grad(loss_of(ours)), (None, 0))(parameters, x)
    assert len(calls) == 2
    assert not calls[1][5].weights
    assert found["bias_ih_l0"].data_ptr() != found["bias_hh_l0"].data_ptr()
