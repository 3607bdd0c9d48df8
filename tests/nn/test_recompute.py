"""Records of torch's own operator, as other devices have them, forced on the CPU: against equations and loop."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence
from torch.utils._python_dispatch import TorchDispatchMode

from gatewright.nn import LSTM, Record, fallback
from gatewright.nn.recurrence import recurrence
from gatewright.spec.cell import LayerWeights
from tests.support.other_device import run_as_elsewhere

from .test_record import (
    INITIAL,
    OF_STEPS,
    VARIANTS,
    D,
    H,
    T,
    array,
    assert_is_what_the_equations_give,
    directions,
    made,
)

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")

LENGTHS = [None, [2, 6, 5]]


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """No kernels, as on a device other than the CPU."""
    run_as_elsewhere(monkeypatch)


def called(lstm: LSTM, x: Tensor, hx: Any, lengths: list[int] | None) -> tuple[list[Tensor], Record]:
    """The results and the record of a call with x (T, B, D)."""
    given: Any = x.transpose(0, 1) if lstm.batch_first else x
    if lengths is not None:
        given = pack_padded_sequence(x, lengths, enforce_sorted=False)
    y, states, record = lstm(given, hx, record=True)
    y = y.data if isinstance(y, PackedSequence) else y
    return [y, *states], record


@pytest.mark.usefixtures("elsewhere")
@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.parametrize("options", VARIANTS)
def test_every_gate_is_what_the_equations_give(options: dict[str, Any], lengths: list[int] | None) -> None:
    lstm, x, hx = made(**options)
    results, record = called(lstm, x, hx, lengths)
    assert_is_what_the_equations_give(record, lstm, array(x), *map(array, hx))
    given: Any = x.transpose(0, 1) if lstm.batch_first else x
    given = given if lengths is None else pack_padded_sequence(x, lengths, enforce_sorted=False)
    y, states = lstm._torch_forward(given, hx)
    for ours, theirs in zip(results, [getattr(y, "data", y), *states], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.parametrize("options", [VARIANTS[0], VARIANTS[-1]])
def test_gradients_are_those_of_the_loop_of_steps(
    options: dict[str, Any], lengths: list[int] | None, request: pytest.FixtureRequest
) -> None:
    lstm, x, hx = made(**options)
    wrt = [x, *hx, *lstm.parameters()]

    def gradients() -> list[Tensor]:
        """First and second, of all results and all that is recorded."""
        results, record = called(lstm, x, hx, lengths)
        recorded = [getattr(one, name) for one in directions(record) for name in OF_STEPS + INITIAL]
        loss = sum((value.sin() * (n + 1)).sum() for n, value in enumerate([*results, *recorded]))
        first = torch.autograd.grad(loss, wrt, create_graph=True)
        return [*first, *torch.autograd.grad(sum(each.square().sum() for each in first), wrt)]

    expected = gradients()
    request.getfixturevalue("elsewhere")
    for ours, theirs in zip(gradients(), expected, strict=True):
        assert (ours - theirs).abs().max() <= 1e-11 * theirs.abs().max()


@pytest.mark.usefixtures("elsewhere")
def test_dropout_between_layers_is_that_of_what_ran() -> None:
    lstm, x, hx = made(num_layers=2, dropout=0.5)
    torch.manual_seed(3)
    (y, *_), record = called(lstm, x, hx, None)
    torch.manual_seed(3)
    plain, _ = lstm._torch_forward(x, hx)
    torch.testing.assert_close(y, plain, rtol=1e-12, atol=0)
    torch.manual_seed(3)
    dropped = torch.nn.functional.dropout(record.layers[0].hidden, 0.5)
    above = fallback.sequence(dropped, hx[0][1], hx[1][1], lstm.layer_weights(1))[3]
    torch.testing.assert_close(record.layers[1].cell, above.cell, rtol=1e-12, atol=0)


@pytest.mark.usefixtures("elsewhere")
@pytest.mark.parametrize(
    ("dtype", "by"),
    [(torch.bfloat16, "weights"), (torch.float16, "weights"), (torch.bfloat16, "autocast")],
)
def test_half_types_are_summed_up_in_float32(dtype: torch.dtype, by: str) -> None:
    """Given h as torch has rounded it, each recorded number is the right one, rounded once.

    torch itself has no LSTM under float16 autocast on the CPU.
    """
    lstm, x, _ = made(bidirectional=True)
    if by == "weights":
        lstm, x = lstm.to(dtype), x.to(dtype)
    else:
        lstm, x = lstm.float(), x.float()
    with torch.no_grad(), torch.autocast("cpu", dtype, enabled=by == "autocast"):
        y, (_, c_n), record = lstm(x, record=True)
    assert y.dtype == dtype
    weights = [LayerWeights.of(1, [W.to(dtype).double() for W in lstm._flat_weights[k : k + 4]]) for k in (0, 4)]
    for k, one in enumerate(directions(record)):
        hidden = one.hidden.double()
        zero = hidden.new_zeros(1, *hidden.shape[1:])
        before = torch.cat([hidden[1:], zero] if k else [zero, hidden[:-1]])
        W = weights[k]
        pre = x.to(dtype).double() @ W.W_ih.T + before @ W.W_hh.T + W.b_ih + W.b_hh
        i, f, g, o = (
            activation(part)
            for activation, part in zip(
                (torch.sigmoid,) * 2 + (torch.tanh, torch.sigmoid), pre.chunk(4, -1), strict=True
            )
        )
        c, cells = zero[0], []
        for t in reversed(range(T)) if k else range(T):
            c = f[t] * c + i[t] * g[t]
            cells.append(c)
        cell = torch.stack(cells[::-1] if k else cells)
        for name, value in zip(OF_STEPS, (i, f, g, o, cell), strict=False):
            recorded = getattr(one, name)
            assert recorded.dtype == (c_n.dtype if name == "cell" else dtype)
            error = (recorded.double() - value).abs() / value.abs()
            assert error.max() <= 1.01 * torch.finfo(dtype).eps / 2, name


def test_the_scan_is_the_recurrence_whatever_vanishes() -> None:
    torch.manual_seed(0)
    for steps in (1, 2, 3, 7, 64, 501):
        keep = torch.rand(steps, 2, 3, dtype=torch.float64)
        keep[steps // 2 :, 0] **= 400  # products underflow
        keep[:, 1, 0] = 0
        write, c_0 = torch.randn_like(keep), torch.randn(2, 3, dtype=torch.float64)
        c, cells = c_0, []
        for k, w in zip(keep, write, strict=True):
            c = k * c + w
            cells.append(c)
        torch.testing.assert_close(recurrence(keep, write, c_0), torch.stack(cells), rtol=1e-13, atol=1e-15)
    inputs = [each[:5].clone().requires_grad_() for each in (keep, write)]
    assert torch.autograd.gradcheck(recurrence, (*inputs, c_0.requires_grad_()))
    assert torch.autograd.gradgradcheck(recurrence, (*inputs, c_0))


def test_no_step_reads_a_later_one() -> None:
    keep, write = torch.full((9, 1, 1), 0.5), torch.ones(9, 1, 1)
    write[6] = torch.nan
    c = recurrence(keep, write, torch.zeros(1, 1)).flatten()
    assert c.isnan().tolist() == [False] * 6 + [True] * 3


class Count(TorchDispatchMode):
    """How many operators run."""

    number = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.number += 1
        return func(*args, **(kwargs or {}))


def test_on_another_device_operators_grow_with_the_logarithm_of_the_steps() -> None:
    """On torch's device without memory; what torch's own operator runs there is not counted."""
    lstm = LSTM(D, H, device="meta")
    numbers = []
    for steps in (4, 8):
        x = torch.empty(steps, 3, D, device="meta")
        with torch.no_grad(), Count() as plain:
            lstm(x)
        with torch.no_grad(), Count() as recorded:
            y, (_, c_n), record = lstm(x, record=True)
        assert (y.shape, c_n.shape) == ((steps, 3, H), (1, 3, H))
        assert record.layers[0].forget_gate.shape == (steps, 3, H)
        numbers.append(recorded.number - plain.number)
    of_a_level = numbers[1] - numbers[0]
    assert 0 < of_a_level < 25  # a loop of cells takes 10 for each step more
