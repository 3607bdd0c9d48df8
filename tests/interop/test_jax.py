"""LSTM cells of Flax and Equinox both ways, judged by their own steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from gatewright import LSTM, CellSpec
from gatewright.errors import GatewrightError
from tests.support.page_examples import run_example

jax = pytest.importorskip("jax")
pytest.importorskip("flax")
equinox = pytest.importorskip("equinox")

from flax import linen, nnx  # noqa: E402

from gatewright.exchange.equinox import from_equinox, to_equinox  # noqa: E402
from gatewright.exchange.flax import from_flax, to_flax, to_nnx  # noqa: E402

pytestmark = pytest.mark.interop

T, B, D, H = 6, 3, 4, 5
TOLERANCE = 2e-6
X = np.random.default_rng(0).normal(size=(T, B, D)).astype(np.float32)


def random(tree: Any) -> Any:
    """Return arrays like those of a tree, larger than initial weights and with biases."""
    rng = np.random.default_rng(1)
    return jax.tree.map(lambda leaf: jax.numpy.asarray(rng.normal(0, 0.6, leaf.shape), leaf.dtype), tree)


def steps(step: Any, width: int = H, x: Any = X) -> Any:
    """Return the hidden states of a Flax cell step by step, and its last c."""
    carry, hidden = (jax.numpy.zeros((B, width)), jax.numpy.zeros((B, width))), []
    for row in x:
        carry, h = step(carry, row)
        hidden.append(np.asarray(h))
    return np.stack(hidden), np.asarray(carry[0])


@torch.no_grad()
def agrees(lstm: LSTM, expected: Any) -> None:
    y, (_, c) = lstm(torch.from_numpy(X))
    np.testing.assert_allclose(y.numpy(), expected[0], rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(c[-1].numpy(), expected[1], rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("kind", [linen.LSTMCell, linen.OptimizedLSTMCell])
@pytest.mark.parametrize("hard", [False, True])
def test_linen_in_and_out(kind: Any, hard: bool) -> None:
    functions = {"gate_fn": jax.nn.hard_sigmoid, "activation_fn": jax.nn.hard_tanh} if hard else {}
    cell = kind(features=H, **functions)
    carry = (jax.numpy.zeros((B, H)),) * 2
    variables = random(cell.init(jax.random.key(0), carry, X[0]))
    expected = steps(lambda carry, x: cell.apply(variables, carry, x))
    lstm = from_flax(variables, module=cell if hard else None)
    agrees(lstm, expected)
    if not hard:
        [parameters] = to_flax(lstm)
        assert jax.tree.structure(parameters) == jax.tree.structure(dict(variables["params"]))
        agrees(lstm, steps(lambda carry, x: cell.apply({"params": parameters}, carry, x)))


@pytest.mark.parametrize("kind", [nnx.LSTMCell, nnx.OptimizedLSTMCell])
@pytest.mark.parametrize("hard", [False, True])
def test_nnx_in_and_out(kind: Any, hard: bool) -> None:
    functions = {"gate_fn": jax.nn.hard_sigmoid, "activation_fn": jax.nn.identity} if hard else {}
    cell = kind(D, H, **functions, rngs=nnx.Rngs(0))
    nnx.update(cell, random(nnx.state(cell, nnx.Param)))
    lstm = from_flax(cell)
    agrees(lstm, steps(cell))
    [back] = to_nnx(lstm)
    agrees(lstm, steps(back))


def equinox_steps(cell: Any) -> Any:
    state, hidden = (jax.numpy.zeros((B, H)),) * 2, []
    for row in X:
        state = jax.vmap(cell)(row, state)
        hidden.append(np.asarray(state[0]))
    return np.stack(hidden), np.asarray(state[1])


@pytest.mark.parametrize("use_bias", [False, True])
def test_equinox_in_and_out(use_bias: bool) -> None:
    cell = equinox.nn.LSTMCell(D, H, use_bias=use_bias, key=jax.random.key(0))
    lstm = from_equinox(cell)
    assert lstm.bias == use_bias
    agrees(lstm, equinox_steps(cell))
    [back] = to_equinox(lstm)
    agrees(lstm, equinox_steps(back))
    np.testing.assert_array_equal(back.weight_hh, cell.weight_hh)


@pytest.mark.parametrize(("out", "back"), [(to_equinox, from_equinox), (to_flax, from_flax), (to_nnx, from_flax)])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_stack_there_and_back(out: Any, back: Any, bidirectional: bool) -> None:
    torch.manual_seed(0)
    lstm = LSTM(D, [5, 3], bidirectional=bidirectional)
    again = back(out(lstm))
    y, y_again = lstm(torch.from_numpy(X))[0], again(torch.from_numpy(X))[0]
    torch.testing.assert_close(y_again, y, rtol=0, atol=1e-6)
    assert again.hidden_sizes == (5, 3)


def test_refusals() -> None:
    relu = nnx.LSTMCell(D, H, activation_fn=jax.nn.relu, rngs=nnx.Rngs(0))
    with pytest.raises(GatewrightError, match=r"activation_fn: expected one of .* of JAX, got 'relu'"):
        from_flax(relu)
    with pytest.raises(GatewrightError, match="cells: expected parameters of a Flax LSTM cell"):
        from_flax({"kernel": X})
    with pytest.raises(GatewrightError, match="gate_fn: expected one of"):
        from_flax([3])
    with pytest.raises(GatewrightError, match=r"cells: expected an equinox\.nn\.LSTMCell"):
        from_equinox(equinox.nn.GRUCell(D, H, key=jax.random.key(0)))
    two = [equinox.nn.LSTMCell(D, H, key=jax.random.key(0))] * 2
    with pytest.raises(GatewrightError, match="layers whose sizes follow upon each other"):
        from_equinox(two)
    for out in (to_equinox, to_flax, to_nnx):
        with pytest.raises(GatewrightError, match="got peephole"):
            out(LSTM(D, H, cell=CellSpec(peephole=True)))
        with pytest.raises(GatewrightError, match="proj_size: expected 0"):
            out(LSTM(D, H, proj_size=2))


def test_the_examples_of_the_page() -> None:
    found = run_example("exchange.md", "Flax")
    expected = from_flax(found["variables"])(torch.ones(1, 3))[0]
    np.testing.assert_allclose(found["y"], expected.detach().numpy(), rtol=0, atol=TOLERANCE)
    assert found["stack"].num_layers == 2
    found = run_example("exchange.md", "Equinox")
    np.testing.assert_array_equal(found["again"].weight_ih, found["cell"].weight_ih)


def test_cells_with_a_step_of_their_own_are_refused():
    class Doubled(equinox.nn.LSTMCell):
        def __call__(self, x, state, *, key=None):  # noqa: ARG002  # as the cell
            return super().__call__(2 * x, state)

    class Mixed(nnx.LSTMCell):
        def __call__(self, carry, inputs):
            return super().__call__(carry, 2 * inputs)

    class Named(linen.LSTMCell):
        @linen.compact
        def __call__(self, carry, inputs):
            return super().__call__(carry, 2 * inputs)

    class Same(equinox.nn.LSTMCell):
        pass

    with pytest.raises(GatewrightError, match="got a Doubled"):
        from_equinox(Doubled(D, H, key=jax.random.key(0)))
    with pytest.raises(GatewrightError, match="got a Mixed"):
        from_flax(Mixed(D, H, rngs=nnx.Rngs(0)))
    kernels = {f"i{gate}": {"kernel": np.zeros((D, H))} for gate in "ifgo"}
    kernels |= {f"h{gate}": {"kernel": np.zeros((H, H))} for gate in "ifgo"}
    with pytest.raises(GatewrightError, match="got a Named"):
        from_flax(kernels, module=Named(H))
    assert from_equinox(Same(D, H, key=jax.random.key(0))).hidden_size == H
