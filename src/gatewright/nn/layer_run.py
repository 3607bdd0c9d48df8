"""A call of an LSTM in its arithmetic: tensors of the types that it takes, and what runs each layer."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from gatewright.errors import GatewrightError
from gatewright.nn import (
    fallback,
    fast_path,
    layer_sizes,
    layer_stack,
    onnx_lstm,
    precision,
    recompute,
    variant,
    variant_fast_path,
)
from gatewright.nn.call import CallOptions
from gatewright.nn.initial_state import State, described, expected_shapes, fits, tensors_of, types_of, zeros
from gatewright.nn.precision import Arithmetic
from gatewright.nn.record import Record
from gatewright.nn.row_steps import RowSteps
from gatewright.spec.cell import LayerWeights


class Way(NamedTuple):
    """How a call is run.

    Attributes:
        how: its arithmetic; None for that of torch's operations.
        by_kernels: whether the kernels do the work.
        record: whether a record is wanted.
        steps: steps and resets that rows have for themselves.
    """

    how: Arithmetic | None
    by_kernels: bool
    record: bool
    steps: RowSteps | None

    @property
    def code(self) -> int:
        """Code of the arithmetic in `gatewright.nn.precision`."""
        return precision.FULL if self.how is None else self.how.code


def run(
    lstm: Any,
    input: Any,  # noqa: A002
    hx: Any,
    weights: list[Tensor],
    way: Way,
) -> tuple[Any, State, Record | None]:
    """Run by the kernels, or else step by step, after the checks of torch.

    Args:
        lstm: a `gatewright.nn.LSTM`.
        input: its input, padded or packed.
        hx: its states, of any type; None for zeros.
        weights: those of the layer, in its order.
        way: how.

    Raises:
        GatewrightError: if states, or what rows have for themselves, do not fit, or not the arithmetic.
        ValueError: from torch, as RuntimeError.
    """
    how, steps = way.how, way.steps
    packed = isinstance(input, PackedSequence)
    x = input.data if packed else input
    expected = expected_shapes(lstm, x, input.batch_sizes if packed else None, weights)
    types = types_of(lstm, x.dtype)
    if expected is None or not fits(hx, expected, types):
        if lstm._variant or not lstm._is_torchs:
            _require_input(lstm, input)
        of_shape = [tuple(part.shape) for part in tensors_of(hx)] == list(expected or ())
        if not (layer_sizes.unequal(lstm) or (lstm._variant and of_shape)):
            lstm._torch_forward(input, hx)  # raises torch's own error; what follows is for what torch lets pass
        raise GatewrightError("hx", f"{x.dtype} tensors of the shapes {expected}", described(hx))
    if steps is not None:
        steps = steps.checked_state(expected, types, x)
    if how is None or how.as_it_is:
        if hx is None:
            hx = zeros(lstm, x, expected)
        return _by_type(lstm, input, hx, weights, way._replace(steps=steps))
    how = how._replace(c=types_of(lstm, how.c)[1])
    h_0, c_0 = precision.state(how, x, hx, expected)
    state = h_0, layer_sizes.each(lambda part: part.to(types_of(lstm, part.dtype)[1]), c_0)
    rows = precision.rows(how, x)
    if steps is not None and steps.reset_to is not None:
        steps = steps.with_states(precision.state(how, x, steps.reset_to, expected))
    with torch.autocast("cpu", enabled=False):
        y, (h_n, c_n), record_of_pass = _by_type(
            lstm,
            PackedSequence(rows, *input[1:]) if packed else rows,
            state,
            precision.weights(how, weights),
            way._replace(steps=steps),
        )
        y = PackedSequence(y.data.to(how.y), *y[1:]) if packed else y.to(how.y)
        h_n = layer_sizes.each(lambda state: state.to(how.y), h_n)
        c_n = layer_sizes.each(lambda state: state.to(how.c), c_n)
        return y, (h_n, c_n), precision.record(how, record_of_pass)


def _require_input(lstm: Any, input: Any) -> None:  # noqa: A002
    """Raise torch's error for an input that does not fit; torch's operator does not know all weights."""
    packed = isinstance(input, PackedSequence)
    x = input.data if packed else input
    if not packed and x.dim() not in (2, 3):
        raise ValueError(f"LSTM: Expected input to be 2D or 3D, got {x.dim()}D instead")
    if x.dim() == 2 and not packed:
        x = x[None]
    lstm.check_input(x, input.batch_sizes if packed else None)
    if not packed and x.shape[1 if lstm.batch_first or input.dim() == 2 else 0] == 0:
        raise RuntimeError("Expected sequence length to be larger than 0 in RNN")


def _by_type(
    lstm: Any,
    input: Any,  # noqa: A002
    hx: State,
    weights: list[Tensor],
    way: Way,
) -> tuple[Any, State, Record | None]:
    """Run what is of the types that the kernels take, padded or packed."""
    stack, directions = lstm._stack(weights), 2 if lstm.bidirectional else 1
    of_cell = None if lstm._variant is None else variant.Pass(lstm._variant, lstm.training)
    plain = of_cell is None or of_cell.computed_as_plain()
    if of_cell is not None and not plain:
        way = way._replace(by_kernels=way.by_kernels and way.code != precision.INT8)
    if of_cell is not None:
        stack = of_cell.dropped(stack, directions)
    sizes = input.batch_sizes if isinstance(input, PackedSequence) else None
    if way.code == precision.INT8:
        _require_int8(plain, way)
    one_layer = _kernels(lstm, plain, sizes, way) if way.by_kernels else _operations(input, hx, stack, plain, way)
    if of_cell is not None and not plain:
        order = input.sorted_indices if way.by_kernels and sizes is not None else None
        one_layer = of_cell.in_turn(one_layer, directions, order)
    if sizes is None:
        return layer_stack.padded(lstm, input, hx, stack, one_layer, way.steps)
    over_packed = layer_stack.packed if way.by_kernels else layer_stack.packed_by_steps
    return over_packed(lstm, input, hx, stack, one_layer)


def _require_int8(plain: bool, way: Way) -> None:
    """Require that the kernels have int8 arithmetic for a call."""
    if way.steps is not None:
        raise GatewrightError("compute", '"full" or "bf16" next to lengths, mask or reset', '"int8"')
    if not way.by_kernels:
        case = "in forward mode" if plain else "for a cell with features"
        raise GatewrightError("compute", f'"full" or "bf16" {case}', '"int8"')


def _kernels(lstm: Any, plain: bool, batch_sizes: Tensor | None, way: Way) -> layer_stack.Run:
    """Return what runs one layer in one direction by the kernels."""
    how = CallOptions(batch_sizes, way.record, lstm.checkpoint, way.code)
    return functools.partial(fast_path.sequence if plain else variant_fast_path.sequence, how=how)


def _operations(
    input: Any,  # noqa: A002
    hx: State,
    stack: list[LayerWeights],
    plain: bool,
    way: Way,
) -> layer_stack.Run:
    """Return what runs one layer in one direction by torch's operations."""
    steps = way.steps
    if way.code != precision.FULL:
        return functools.partial(fallback.sequence_in_bf16, kept=precision.kept_type(tensors_of(hx)[0], way.code))
    states = tensors_of(hx) if steps is None else steps.states(hx)
    if steps is not None and input.is_meta:  # whose rows cannot be cut at resets
        return fallback.sequence
    if plain and recompute.takes(input, states, stack):
        return functools.partial(recompute.sequence, record=way.record)
    if onnx_lstm.is_exported():
        sentence = "a layer is exported to ONNX from the CPU: elsewhere a trace would hold its steps one by one"
        raise GatewrightError("device", "the CPU", str(states[0].device), sentence=sentence)
    return fallback.sequence
