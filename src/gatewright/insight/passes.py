"""Passes of an LSTM that record, and their records as arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence

from gatewright import equations
from gatewright.equations.record import FIELDS
from gatewright.insight.layers import Layer
from gatewright.insight.output import with_normal
from gatewright.nn import LSTM, Record
from gatewright.nn.model import State
from gatewright.nn.record import LayerRecord
from gatewright.spec.cell import LayerWeights

#: A pass of an LSTM over (T, B, D) with lengths and initial states, which returns its record.
Pass = Callable[[LSTM, Tensor, Any, State | None], Record]


def forward(lstm: LSTM, x: Tensor, lengths: Any, state: State | None) -> Record:
    """Run the layers over (T, B, D) by their fast path, rows of unequal length as a packed sequence."""
    if (lengths == len(x)).all():
        if lstm.batch_first:
            x = x.transpose(0, 1)
        return lstm(x, state, record=True)[2]
    packed = pack_padded_sequence(x, torch.from_numpy(lengths), enforce_sorted=False)
    return lstm(packed, state, record=True)[2]


def arrays_of_layer(lstm: LSTM, number: int, record: LayerRecord) -> Layer:
    """Return the record of a layer as arrays.

    Args:
        lstm: the layers.
        number: number of the layer.
        record: its record.
    """
    forward = _numpy(record, lstm.layer_weights(number))
    if record.reverse is None:
        return Layer(forward)
    return Layer(forward, _numpy(record.reverse, lstm.layer_weights(number, reverse=True)))


def _numpy(layer: LayerRecord, weights: LayerWeights) -> equations.Record:
    tensors = {name: getattr(layer, name) for name in (*FIELDS, "kept", "written")}
    arrays: dict[str, Any] = {name: each if each is None else array_of(each) for name, each in tensors.items()}
    record = equations.Record(**arrays)
    if weights.w_ln_cell is None:
        return record
    return with_normal(record, array_of(weights.w_ln_cell), array_of(weights.b_ln_cell))


def array_of(tensor: Tensor) -> Any:
    """Return a tensor as an array, in the same memory if possible."""
    tensor = tensor.detach().cpu()
    return (tensor.float() if tensor.dtype in (torch.bfloat16, torch.float16) else tensor).numpy()
