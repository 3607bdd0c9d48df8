"""All layers and directions of a call in turn, over a padded or a packed sequence."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from gatewright.nn import layer_sizes
from gatewright.nn.extras import Extras
from gatewright.nn.initial_state import State, time_of
from gatewright.nn.packed_sequence import Layout
from gatewright.nn.record import LayerRecord, Record
from gatewright.nn.row_steps import RowSteps
from gatewright.spec.cell import LayerWeights

#: One layer in one direction: `fallback.sequence`, or `fast_path.sequence`.
Run = Callable[..., tuple[Tensor, Tensor, Tensor, Any]]


def padded(
    lstm: Any, x: Tensor, hx: State, stack: list[LayerWeights], run: Run, steps: RowSteps | None
) -> tuple[Tensor, State, Record | None]:
    """Run over a padded sequence.

    Args:
        lstm: a `gatewright.nn.LSTM`.
        x: its input, (T, B, D), (B, T, D) with ``batch_first``, or (T, D).
        hx: its states.
        stack: weights of each layer and direction, in the order of hx.
        run: what runs one of them.
        steps: steps and resets that rows have for themselves.
    """
    if x.dim() == 2:
        h_0, c_0 = (layer_sizes.each(lambda state: state[:, None], state) for state in hx)
        y, h_n, c_n, layers = _layers(lstm, stack, run, F.dropout, x[:, None], (h_0, c_0), steps)
        y, h_n, c_n = y[:, 0], *(layer_sizes.each(lambda state: state[:, 0], state) for state in (h_n, c_n))
    elif time_of(lstm, x) == 0:
        y, h_n, c_n, layers = _layers(lstm, stack, run, F.dropout, x, hx, steps)
    else:
        y, h_n, c_n, layers = _layers(lstm, stack, run, F.dropout, x.transpose(0, 1), hx, steps)
        y = y.transpose(0, 1)
    if not layers:
        return y, (h_n, c_n), None
    of_rows = (None, None, None) if steps is None else (steps.lengths, steps.mask, steps.reset)
    return y, (h_n, c_n), Record(tuple(layers), *of_rows, lstm.residual)


def packed(
    lstm: Any, sequence: PackedSequence, hx: State, stack: list[LayerWeights], run: Run
) -> tuple[PackedSequence, State, Record | None]:
    """Run by the kernels, which take packed steps as they are; the arguments are those of `padded`."""
    x, batch_sizes, order, back = sequence
    h_0, c_0 = hx if order is None else _rows(hx, order)
    y, h_n, c_n, layers = _layers(lstm, stack, run, F.dropout, x, (h_0, c_0))
    if back is not None:
        h_n, c_n = _rows((h_n, c_n), back)
    out = PackedSequence(y, batch_sizes, order, back)
    if not layers:
        return out, (h_n, c_n), None
    layout = Layout.of(sequence)
    for n, layer in enumerate(layers):
        reverse = layer.reverse and layer.reverse.unpacked(layout, back)
        layers[n] = dataclasses.replace(layer.unpacked(layout, back), reverse=reverse)
    return out, (h_n, c_n), Record(tuple(layers), layout.lengths, residual=lstm.residual)


def packed_by_steps(
    lstm: Any, sequence: PackedSequence, hx: State, stack: list[LayerWeights], run: Run
) -> tuple[PackedSequence, State, Record]:
    """Run by torch's operations, over padded rows; the arguments are those of `padded`."""
    layout = Layout.of(sequence)

    def dropout(y: Tensor, rate: float) -> Tensor:
        """Draw the mask over packed steps, as torch's operator does."""
        return layout.unpack(F.dropout(layout.pack(y), rate))

    run = functools.partial(run, extras=Extras(lengths=layout.lengths.to(sequence.data.device)))
    y, h_n, c_n, layers = _layers(lstm, stack, run, dropout, layout.unpack(sequence.data), hx)
    return layout.wrap(layout.pack(y)), (h_n, c_n), Record(tuple(layers), layout.lengths, residual=lstm.residual)


def _rows(hx: State, order: Tensor) -> State:
    """Return states with their rows in another order."""
    h, c = (layer_sizes.each(lambda state: state.index_select(1, order), state) for state in hx)
    return h, c


def _layers(
    lstm: Any,
    stack: list[LayerWeights],
    run: Run,
    dropout: Callable[[Tensor, float], Tensor],
    x: Tensor,
    hx: State,
    steps: RowSteps | None = None,
) -> tuple[Tensor, Any, Any, list[LayerRecord]]:
    """Run all layers and directions over (T, B, D) or packed steps; the list is empty unless recording.

    Residual connections: Wu et al. 2016, arXiv:1609.08144, section 3.1.
    """
    directions = 2 if lstm.bidirectional else 1
    h_n: list[Tensor] = []
    c_n: list[Tensor] = []
    layers: list[LayerRecord] = []
    for layer in range(lstm.num_layers):
        below = x if layer > 0 and lstm.residual else None
        if layer > 0 and lstm.dropout > 0 and lstm.training:
            x = dropout(x, lstm.dropout)
        ys: list[Tensor] = []
        records: list[LayerRecord | None] = []
        for direction in range(directions):
            k = layer * directions + direction
            of_rows = {} if steps is None else {"extras": steps.extras(layer, direction, directions)}
            h_0, c_0 = (layer_sizes.one(state, layer, direction, directions) for state in hx)
            y, h, c, record = run(x, h_0, c_0, stack[k], reverse=direction == 1, **of_rows)
            ys.append(y)
            h_n.append(h)
            c_n.append(c)
            records.append(record)
        x = torch.cat(ys, dim=-1) if lstm.bidirectional else ys[0]
        if below is not None:
            x = x + below
        if records[0] is not None:
            layers.append(dataclasses.replace(records[0], reverse=records[1] if lstm.bidirectional else None))
    return x, layer_sizes.joined(lstm, h_n), layer_sizes.joined(lstm, c_n), layers
