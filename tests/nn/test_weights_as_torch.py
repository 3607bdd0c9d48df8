"""Weights changed by the public tools for it: read as `torch.nn.LSTM` reads them, in every way of calling."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune

from gatewright.nn import LSTM

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN"),
    pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning"),
    # While it compiles a module that has a computed tensor as an attribute.
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning"),
]

D, H = 3, 4


def pair(dtype: torch.dtype = torch.float64, **options: Any) -> tuple[nn.LSTM, LSTM]:
    torch.manual_seed(0)
    theirs = nn.LSTM(D, H, 2, dtype=dtype, **options)
    ours = LSTM(D, H, 2, dtype=dtype, **options)
    ours.load_state_dict(theirs.state_dict())
    return theirs, ours


def example(dtype: torch.dtype = torch.float64) -> Tensor:
    torch.manual_seed(1)
    return torch.randn(5, 2, D, dtype=dtype)


def zeroed(m: nn.Module) -> None:
    m._flat_weights = [W.detach() * 0 for W in m._flat_weights]


def scaled(m: nn.Module) -> None:
    m._flat_weights = [(1.5 * W).detach() for W in m._flat_weights]


def one_replaced(m: nn.Module) -> None:
    m._flat_weights[1] = m._flat_weights[1].detach().clone().mul_(2).requires_grad_()


def then_a_parameter(m: nn.Module) -> None:
    scaled(m)
    m.weight_hh_l1 = nn.Parameter(m.weight_hh_l1.detach() * 0.5)


def then_flattened(m: nn.Module) -> None:
    scaled(m)
    m.flatten_parameters()


def then_moved(m: nn.Module) -> None:
    scaled(m)
    m.to(torch.float32).to(torch.float64)


def a_deep_copy(m: nn.Module) -> nn.Module:
    zeroed(m)
    return copy.deepcopy(m)


def a_pickle(m: nn.Module) -> nn.Module:
    zeroed(m)
    return pickle.loads(pickle.dumps(m))


def saved_whole(m: nn.Module) -> nn.Module:
    buffer = io.BytesIO()
    torch.save(m, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=False)


def weight_norm(m: nn.Module) -> None:
    parametrizations.weight_norm(m, "weight_hh_l0")
    parametrizations.weight_norm(m, "weight_ih_l1")


def orthogonal(m: nn.Module) -> None:
    torch.manual_seed(3)
    parametrizations.orthogonal(m, "weight_hh_l0")


def old_weight_norm(m: nn.Module) -> None:
    nn.utils.weight_norm(m, "weight_hh_l0")


def old_spectral_norm(m: nn.Module) -> None:
    torch.manual_seed(3)
    nn.utils.spectral_norm(m, "weight_hh_l1")


def pruned(m: nn.Module) -> None:
    torch.manual_seed(3)
    prune.l1_unstructured(m, "weight_hh_l0", amount=0.4)
    prune.random_structured(m, "weight_ih_l1", amount=1, dim=1)


def pruned_for_good(m: nn.Module) -> None:
    prune.l1_unstructured(m, "weight_hh_l0", amount=0.4)
    prune.remove(m, "weight_hh_l0")


def set_by_a_hook(m: nn.Module) -> None:
    raw = m.weight_hh_l0
    del m.weight_hh_l0
    m.register_parameter("raw", raw)
    m.register_forward_pre_hook(lambda m, _: setattr(m, "weight_hh_l0", torch.tanh(2 * m.raw)))


def swapped(m: nn.Module) -> None:
    torch.__future__.set_swap_module_params_on_conversion(True)
    try:
        m.float().double()
    finally:
        torch.__future__.set_swap_module_params_on_conversion(False)


def loaded_and_assigned(m: nn.Module) -> None:
    m.load_state_dict({name: 1.5 * value for name, value in m.state_dict().items()}, assign=True)


def deleted_and_set(m: nn.Module) -> None:
    W = m.weight_hh_l0
    del m.weight_hh_l0
    m.weight_hh_l0 = nn.Parameter(W.detach() * 2)


def tied(m: nn.Module) -> None:
    m.weight_hh_l1 = m.weight_hh_l0


WAYS = (
    *(zeroed, scaled, one_replaced, then_a_parameter, then_flattened, then_moved, a_deep_copy, a_pickle),
    *(saved_whole, weight_norm, orthogonal, old_weight_norm, old_spectral_norm, pruned, pruned_for_good),
    *(set_by_a_hook, swapped, loaded_and_assigned, deleted_and_set, tied),
)


def outputs_and_gradients(module: nn.Module, x: Tensor, call: Callable[..., Any]) -> list[Tensor]:
    torch.manual_seed(4)  # a parametrization may draw, or move an estimate on, in every call
    x = x.clone().requires_grad_()
    y, (h_n, c_n) = call(module, x)[:2]
    wrt = [x, *(W for _, W in sorted(module.named_parameters()))]
    found = torch.autograd.grad(y.sin().sum() + h_n.sum() + c_n.square().sum(), wrt, allow_unused=True)
    zeros = [torch.zeros_like(W) if d is None else d for W, d in zip(wrt, found, strict=True)]
    return [y, h_n, c_n, *zeros]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("record", [False, True])
def test_changed_weights_are_those_of_torch(way: Callable[..., Any], record: bool) -> None:
    found = []
    for module in pair():
        changed = way(module) or module
        own = {"record": True} if record and isinstance(changed, LSTM) else {}
        for _ in range(2):
            results = outputs_and_gradients(changed, example(), lambda m, x, own=own: m(x, **own))
        found.append(results)
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(b, a, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("way", [zeroed, scaled, one_replaced, weight_norm, pruned, set_by_a_hook])
def test_changed_weights_are_read_under_autocast_too(way: Callable[..., Any]) -> None:
    found = []
    for module in pair(torch.float32):
        way(module)
        with torch.autocast("cpu", torch.bfloat16):
            found.append([module(example(torch.float32))[0]])
            if isinstance(module, LSTM):
                recorded = module(example(torch.float32), record=True)[0]
    torch.testing.assert_close(found[1][0], found[0][0], rtol=0.02, atol=0.004)
    assert torch.equal(recorded, found[1][0])


@pytest.mark.parametrize("way", [zeroed, scaled, one_replaced, weight_norm, orthogonal, pruned, old_weight_norm])
def test_a_stream_has_the_changed_weights(way: Callable[..., Any]) -> None:
    theirs, ours = pair(torch.float32)
    for module in (theirs, ours):
        way(module)
    x = example(torch.float32)[:, :1]
    with torch.no_grad():
        expected = theirs(x)[0][:, 0]
        ours(x)
    stream = ours.stream()
    for t in range(len(x)):
        np.testing.assert_allclose(stream.step(x[t, 0].numpy()), expected[t].numpy(), rtol=1e-5, atol=1e-6)


@pytest.fixture
def _afresh() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.mark.usefixtures("_afresh")
@pytest.mark.parametrize(
    "way", [zeroed, scaled, one_replaced, then_a_parameter, weight_norm, orthogonal, pruned, set_by_a_hook]
)
def test_a_compiled_module_has_the_changed_weights(way: Callable[..., Any]) -> None:
    theirs, ours = pair()
    for module in (theirs, ours):
        way(module)
    # What a backend makes of the weights does not depend on how they were changed: two ways are enough for it.
    backend = "aot_eager" if way in (weight_norm, set_by_a_hook) else "eager"
    compiled = torch.compile(ours, backend=backend, fullgraph=True)
    expected = outputs_and_gradients(theirs, example(), lambda m, x: m(x))
    found = outputs_and_gradients(ours, example(), lambda _, x: compiled(x))
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def adapted(base: type[nn.Module]) -> type[nn.Module]:
    class Adapted(base):  # type: ignore[misc, valid-type]
        """A low-rank adapter, as LoRA layers for LSTMs are written."""

        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            self.down = nn.Parameter(torch.linspace(-1, 1, 2 * H, dtype=torch.float64).view(2, H))
            self.up = nn.Parameter(torch.linspace(1, -1, 8 * H, dtype=torch.float64).view(4 * H, 2))

        def forward(self, input: Any, hx: Any = None) -> Any:  # noqa: A002
            kept = self._flat_weights
            self._flat_weights = [kept[0], kept[1] + self.up @ self.down, *kept[2:]]
            result = super().forward(input, hx)
            self._flat_weights = kept
            return result

    return Adapted


@pytest.mark.usefixtures("_afresh")
@pytest.mark.parametrize("compiled", [False, True])
def test_a_subclass_adapts_weights_in_its_forward(compiled: bool) -> None:
    found = []
    for base in (nn.LSTM, LSTM):
        torch.manual_seed(0)
        module = adapted(base)(D, H, 2, dtype=torch.float64)
        call = module
        if compiled and base is LSTM:
            call = torch.compile(module, backend="aot_eager", fullgraph=True)
        found.append(outputs_and_gradients(module, example(), lambda _, x, call=call: call(x)))
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(b, a, rtol=1e-10, atol=1e-12)
    assert found[1][3:][-1].abs().sum() > 0  # the adapters have gradients


@pytest.mark.usefixtures("_afresh")
@pytest.mark.parametrize("compiled", [False, True])
def test_functional_call_reads_the_weights_that_it_is_given(compiled: bool) -> None:
    theirs, ours = pair()
    given = {name: (W.detach() * 1.5).requires_grad_() for name, W in ours.named_parameters()}
    found = []
    for module in (theirs, ours):

        def call(given: dict[str, Tensor], x: Tensor, module: nn.Module = module) -> Tensor:
            return torch.func.functional_call(module, given, (x,))[0]

        run = call
        if compiled and module is ours:
            run = torch.compile(call, backend="aot_eager", fullgraph=True)
        y = run(given, example())
        found.append([y, *torch.autograd.grad(y.sin().sum(), list(given.values())), module(example())[0]])
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(b, a, rtol=1e-10, atol=1e-12)


def test_a_deleted_weight_is_read_as_long_as_torch_reads_it() -> None:
    found = []
    for module in pair():
        del module.weight_hh_l0
        found.append(module(example())[0])
    torch.testing.assert_close(found[1], found[0], rtol=1e-12, atol=1e-13)
    with pytest.raises(TypeError) as theirs, torch.no_grad():
        partly(nn.LSTM(D, H))
    with pytest.raises(TypeError) as ours, torch.no_grad():
        partly(LSTM(D, H))
    assert type(ours.value) is type(theirs.value)


def partly(module: nn.Module) -> None:
    del module.weight_hh_l0
    module.to(torch.float32)
    module(torch.zeros(2, 1, D))


def test_a_parametrization_is_asked_as_often_as_by_torch() -> None:
    class Counted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.asked = 0

        def forward(self, W: Tensor) -> Tensor:
            self.asked += 1
            return W + 0

    asked = []
    for module in pair():
        counted = Counted()
        parametrize.register_parametrization(module, "weight_hh_l1", counted)
        before = counted.asked
        module(example())
        asked.append(counted.asked - before)
    assert asked[0] == asked[1]
