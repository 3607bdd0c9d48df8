"""The record of a pass: every gate and state against `gatewright.equations`, with gradients through them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence, pad_sequence

from gatewright import equations
from gatewright.nn import LSTM, LayerRecord, Record
from gatewright.nn.extras import Extras
from gatewright.nn.fallback import sequence
from gatewright.spec.cell import LayerWeights

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")

T, B, D, H, P = 6, 3, 4, 5, 2
OF_STEPS = ("input_gate", "forget_gate", "candidate", "output_gate", "cell", "hidden")
INITIAL = ("cell_initial", "hidden_initial")
VARIANTS = [
    {},
    {"bias": False},
    {"proj_size": P},
    {"num_layers": 3},
    {"num_layers": 2, "bidirectional": True},
    {"num_layers": 2, "bidirectional": True, "proj_size": P, "bias": False, "batch_first": True},
]


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def made(**options: Any) -> tuple[LSTM, Tensor, tuple[Tensor, Tensor]]:
    """A layer stack in float64, input (T, B, D), and initial states."""
    torch.manual_seed(0)
    lstm = LSTM(D, H, dtype=torch.float64, **options)
    states = lstm.num_layers * (2 if lstm.bidirectional else 1)
    x = torch.randn(T, B, D, dtype=torch.float64, requires_grad=True)
    h_0 = torch.randn(states, B, lstm.proj_size or H, dtype=torch.float64, requires_grad=True)
    c_0 = torch.randn(states, B, H, dtype=torch.float64, requires_grad=True)
    return lstm, x, (h_0, c_0)


def array(x: Tensor) -> np.ndarray:
    return x.detach().numpy()


def directions(record: Record) -> list[LayerRecord]:
    """The record of each layer and direction, in the order of h_n."""
    both = ((layer, layer.reverse) for layer in record.layers)
    return [one for pair in both for one in pair if one is not None]


def parameters(lstm: LSTM, k: int) -> dict[str, Tensor]:
    """The parameters of direction k of the stack, under their names in the equations."""
    return {
        {"weight": "W", "bias": "b"}[name.split("_")[0]] + "_" + name.split("_")[1]: getattr(lstm, name)
        for name in lstm._all_weights[k]
    }


def weights(lstm: LSTM, k: int) -> equations.Weights:
    return equations.Weights(**{name: array(value) for name, value in parameters(lstm, k).items()})


def assert_is_what_the_equations_give(
    record: Record, lstm: LSTM, x: np.ndarray, h_0: np.ndarray, c_0: np.ndarray
) -> None:
    """Judge every row of every layer and direction on its own; x is (T, B, D)."""
    ways = 2 if lstm.bidirectional else 1
    lengths = [len(x)] * x.shape[1] if record.lengths is None else record.lengths.tolist()
    for k, ours in enumerate(directions(record)):
        for row, n in enumerate(lengths):
            order = slice(None, None, -1 if k % ways else 1)
            _, judge = equations.forward(x[:n, row][order], weights(lstm, k), h_0[k, row], c_0[k, row])
            for name in OF_STEPS:
                values = array(getattr(ours, name))[:, row]
                np.testing.assert_allclose(values[:n], getattr(judge, name)[order], rtol=1e-12, atol=1e-14)
                assert (values[n:] == 0).all()
            for name in INITIAL:
                np.testing.assert_array_equal(array(getattr(ours, name))[row], getattr(judge, name))
        if k % ways == ways - 1:
            x = np.concatenate([array(one.hidden) for one in directions(record)[k + 1 - ways : k + 1]], -1)


@pytest.mark.parametrize("options", VARIANTS)
def test_every_gate_of_every_step_is_what_the_equations_give(options: dict[str, Any]) -> None:
    lstm, x, hx = made(**options)
    x_given = x.transpose(0, 1) if lstm.batch_first else x
    y, (h_n, c_n), record = lstm(x_given, hx, record=True)
    assert len(record.layers) == lstm.num_layers
    assert all((layer.reverse is not None) == lstm.bidirectional for layer in record.layers)
    assert record.lengths is None
    assert_is_what_the_equations_give(record, lstm, array(x), *map(array, hx))

    top = record.layers[-1]
    hidden = top.hidden if top.reverse is None else torch.cat([top.hidden, top.reverse.hidden], -1)
    assert torch.equal(y.transpose(0, 1) if lstm.batch_first else y, hidden)
    for k, one in enumerate(directions(record)):
        last = 0 if lstm.bidirectional and k % 2 else -1
        assert torch.equal(one.cell[last], c_n[k])
        assert torch.equal(one.hidden[last], h_n[k])


@pytest.mark.parametrize("options", VARIANTS)
@pytest.mark.parametrize("lengths", [[6, 4, 1], [2, 6, 6], [4, 4, 4]])
@pytest.mark.parametrize("enforce_sorted", [False, True])
def test_packed_rows_are_recorded_in_the_order_of_the_caller(
    options: dict[str, Any], lengths: list[int], enforce_sorted: bool
) -> None:
    if enforce_sorted:
        lengths = sorted(lengths, reverse=True)
    lstm, x, hx = made(**options)
    packed = pack_padded_sequence(x, lengths, enforce_sorted=enforce_sorted)
    y, (_, c_n), record = lstm(packed, hx, record=True)
    assert record.lengths.tolist() == lengths
    assert record.lengths.dtype == torch.int64
    assert len(record.layers[0].cell) == max(lengths)
    assert_is_what_the_equations_give(record, lstm, array(x), *map(array, hx))

    padded, _ = pad_packed_sequence(y)
    assert torch.equal(padded[..., : lstm.proj_size or H], record.layers[-1].hidden)
    for k, one in enumerate(directions(record)):
        for row, n in enumerate(lengths):
            assert torch.equal(c_n[k, row], one.cell[0 if lstm.bidirectional and k % 2 else n - 1, row])


@pytest.mark.parametrize("batch_first", [False, True])
def test_unbatched_input_is_recorded_as_one_row(batch_first: bool) -> None:
    lstm, x, hx = made(num_layers=2, bidirectional=True, proj_size=P, batch_first=batch_first)
    _, _, record = lstm(x[:, 0], (hx[0][:, 0], hx[1][:, 0]), record=True)
    assert record.layers[1].cell.shape == (T, 1, H)
    assert record.layers[1].hidden.shape == (T, 1, P)
    assert record.layers[1].cell_initial.shape == (1, H)
    assert record.layers[1].hidden_initial.shape == (1, P)
    assert_is_what_the_equations_give(record, lstm, *(array(part[:, :1]) for part in (x, *hx)))


@pytest.mark.parametrize("packed", [False, True])
def test_without_initial_states_the_record_starts_at_zero(packed: bool) -> None:
    lstm, x, hx = made(proj_size=P)
    given = pack_padded_sequence(x, [2, 3, 6], enforce_sorted=False) if packed else x
    _, _, record = lstm(given, record=True)
    assert_is_what_the_equations_give(record, lstm, array(x), *(0 * array(part) for part in hx))


def equations_backward(
    lstm: LSTM,
    record: Record,
    x: Tensor,
    dy: Tensor,
    dh_n: Tensor,
    dc_n: Tensor,
    d_fields: list[list[Tensor]],
) -> dict[str, np.ndarray]:
    """Chain `equations.backward` through layers and directions, and return the gradients by name."""
    ways = 2 if lstm.bidirectional else 1
    found: dict[str, np.ndarray] = {}
    dh_0, dc_0 = np.empty(dh_n.shape), np.empty(dc_n.shape)
    d_out = array(dy)
    for layer in reversed(range(lstm.num_layers)):
        pair = directions(record)[(layer - 1) * ways : layer * ways] if layer else []
        below = np.concatenate([array(one.hidden) for one in pair], -1) if layer else array(x)
        d_below = np.zeros(below.shape)
        for k in range(layer * ways, (layer + 1) * ways):
            order = slice(None, None, -1 if k % ways else 1)
            one = directions(record)[k]
            fields, d = (
                {
                    name: array(value)[order] if name in OF_STEPS else array(value)
                    for name, value in zip(OF_STEPS + INITIAL, values, strict=True)
                }
                for values in ([getattr(one, name) for name in OF_STEPS + INITIAL], d_fields[k])
            )
            gradients = equations.backward(
                equations.OutputGradients(
                    np.split(d_out, ways, -1)[k % ways][order],
                    array(dh_n[k]),
                    array(dc_n[k]),
                    equations.Record(**d),
                ),
                equations.Record(**fields),
                below[order],
                weights(lstm, k),
            )
            d_below += gradients.dx[order]
            dh_0[k], dc_0[k] = gradients.dh_0, gradients.dc_0
            for name, short in zip(lstm._all_weights[k], parameters(lstm, k), strict=True):
                found[name] = getattr(gradients, "d" + short)
        d_out = d_below
    return {"x": d_out, "h_0": dh_0, "c_0": dc_0, **found}


@pytest.mark.parametrize("options", VARIANTS)
def test_gradients_through_the_record_are_what_the_equations_give(options: dict[str, Any]) -> None:
    lstm, x, hx = made(**options)
    y, states, record = lstm(x.transpose(0, 1) if lstm.batch_first else x, hx, record=True)
    y = y.transpose(0, 1) if lstm.batch_first else y
    d_outputs = [torch.randn_like(part) for part in (y, *states)]
    loss = sum((part * d).sum() for part, d in zip((y, *states), d_outputs, strict=True))
    d_fields = []
    for one in directions(record):
        values = [getattr(one, name) for name in OF_STEPS + INITIAL]
        d_fields.append([torch.randn_like(value) for value in values])
        loss = loss + sum((value * d).sum() for value, d in zip(values, d_fields[-1], strict=True))
    expected = equations_backward(lstm, record, x, *d_outputs, d_fields)

    named = {"x": x, "h_0": hx[0], "c_0": hx[1], **dict(lstm.named_parameters())}
    ours = torch.autograd.grad(loss, list(named.values()))
    assert set(named) == set(expected)
    for name, gradient in zip(named, ours, strict=True):
        error = np.abs(array(gradient) - expected[name]).max() / np.abs(expected[name]).max()
        assert error <= 1e-12, name


def everything(lstm: LSTM, lengths: list[int] | None) -> tuple[Any, list[Tensor]]:
    """A function of x, h_0, c_0 and all parameters that returns all results and recorded tensors."""
    names = [name for name, _ in lstm.named_parameters()]

    def run(x: Tensor, h_0: Tensor, c_0: Tensor, *values: Tensor) -> list[Tensor]:
        given = x if lengths is None else pack_padded_sequence(x, lengths, enforce_sorted=False)
        call = (given, (h_0, c_0))
        y, states, record = torch.func.functional_call(
            lstm, dict(zip(names, values, strict=True)), call, {"record": True}
        )
        recorded = [getattr(one, name) for one in directions(record) for name in OF_STEPS + INITIAL]
        return [y.data if isinstance(y, PackedSequence) else y, *states, *recorded]

    return run, [value.detach().requires_grad_() for value in lstm.parameters()]


@pytest.mark.slow
@pytest.mark.parametrize("lengths", [None, [2, 3, 1]])
@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True, "proj_size": P}])
def test_gradients_are_those_of_finite_differences(lengths: list[int] | None, options: dict[str, Any]) -> None:
    lstm, x, hx = made(**options)
    run, values = everything(lstm, lengths)
    inputs = (x[:3].detach().requires_grad_(), *hx, *values)
    assert torch.autograd.gradcheck(run, inputs, fast_mode=True)
    assert torch.autograd.gradgradcheck(run, inputs, fast_mode=True)


def test_packed_gradients_are_those_of_each_row_alone() -> None:
    lstm, x, _ = made(num_layers=2, bidirectional=True)
    lengths = [2, 6, 3]

    def loss(given: Any) -> Tensor:
        y, _, record = lstm(given, record=True)
        y = y.data if isinstance(y, PackedSequence) else y
        return y.sin().sum() + sum((one.cell.square() * one.forget_gate).sum() for one in directions(record))

    wrt = [x, *lstm.parameters()]
    packed = torch.autograd.grad(loss(pack_padded_sequence(x, lengths, enforce_sorted=False)), wrt)
    alone = torch.autograd.grad(sum(loss(x[:n, row]) for row, n in enumerate(lengths)), wrt)
    for a, b in zip(packed, alone, strict=True):
        assert (a - b).abs().max() <= 1e-12 * b.abs().max()


def test_what_stands_past_the_end_of_a_row_reaches_nothing() -> None:
    _, x, _ = made()
    layer = LayerWeights(*(torch.randn(4 * H, n, dtype=torch.float64, requires_grad=True) for n in (D, H)))
    state = torch.zeros(B, H, dtype=torch.float64)
    lengths = torch.tensor([3, 6, 1])
    garbage = x.detach().clone()
    garbage[3:, 0], garbage[1:, 2] = 1e6, -1e6
    for reverse in (False, True):
        clean = sequence(x, state, state, layer, reverse=reverse, extras=Extras(lengths=lengths))
        dirty = sequence(garbage, state, state, layer, reverse=reverse, extras=Extras(lengths=lengths))
        for a, b in zip(clean[:3], dirty[:3], strict=True):
            assert torch.equal(a, b)
        grads = [torch.autograd.grad(out[0].sum() + out[2].sum(), layer[:2]) for out in (clean, dirty)]
        assert all(torch.allclose(a, b, rtol=1e-12) for a, b in zip(*grads, strict=True))


def test_recording_does_not_depend_on_gradients_or_training() -> None:
    lstm, x, hx = made(num_layers=2)
    recorded = lstm(x, hx, record=True)[2]
    with torch.no_grad():
        quiet = lstm.eval()(x, hx, record=True)[2]
    assert recorded.layers[1].candidate.requires_grad
    assert not quiet.layers[1].candidate.requires_grad
    for a, b in zip(directions(recorded), directions(quiet), strict=True):
        assert all(torch.equal(getattr(a, name), getattr(b, name)) for name in OF_STEPS + INITIAL)


def test_names_are_those_of_the_equations_and_fields_are_frozen() -> None:
    lstm, x, hx = made(bidirectional=True)
    record = lstm(x, hx, record=True)[2]
    names = [field.name for field in dataclasses.fields(LayerRecord)]
    of_equations = [field.name for field in dataclasses.fields(equations.Record)]
    assert names == [*of_equations[: len(names) - 1], "reverse"]  # then what layer normalisation made of c
    with pytest.raises(dataclasses.FrozenInstanceError):
        record.layers[0].cell = x
    one = "LayerRecord(T=6, B=3, H=5"
    assert (
        repr(record)
        == f"Record(layers=({one}, reverse={one})),), lengths=None, mask=None, reset=None, residual=False)"
    )


def test_a_batch_of_series_can_be_packed_from_a_list() -> None:
    lstm, x, _ = made()
    rows = [x[:2, 0], x[:5, 1]]
    lengths = [len(row) for row in rows]
    packed = pack_padded_sequence(pad_sequence(rows), lengths, enforce_sorted=False)
    record = lstm(packed, record=True)[2]
    for row, series in enumerate(rows):
        alone = lstm(series, record=True)[2].layers[0]
        ours = record.layers[0].forget_gate[: len(series), row]
        assert torch.allclose(ours, alone.forget_gate[:, 0], rtol=1e-12)
