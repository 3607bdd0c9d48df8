"""A pass through layers with changes in some of them."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor

from gatewright.insight.changed_layer import ChangedLayer, present
from gatewright.insight.changes import Changes, Plan
from gatewright.insight.passes import Pass
from gatewright.insight.passes import forward as run_unchanged
from gatewright.nn import LSTM, Record, layer_sizes, precision, recompute
from gatewright.nn import initial_state as start
from gatewright.nn.model import State
from gatewright.nn.record import LayerRecord
from gatewright.spec.recording import Edit

#: Differences of recorded numbers that are rounding, in units of the last place of 1 or of the number.  In types
#: of 16 bits the last place is already a visible effect.
_ROUNDING, _ROUNDING_16 = 100, 4


def changed(changes: Plan, edits: list[Edit]) -> Pass:
    """Return a pass through the layers with the changes; it appends the edits of cell states to ``edits``.

    Args:
        changes: the changes.
        edits: a list, which each run of the pass extends.
    """

    def forward(lstm: LSTM, x: Tensor, lengths: Any, state: State | None) -> Record:
        S = 2 if lstm.bidirectional else 1
        h_0, c_0 = state or initial_state(lstm, x)
        compute, unchanged = precision.code_of(lstm, x), None
        held = lstm.cell.is_slstm and any(change.clamps for change in changes.values())
        if held or recompute.takes(x, state, [lstm.layer_weights(0)]):
            unchanged = run_unchanged(lstm, x, lengths, state)
        if compute != precision.FULL:  # states are not rounded where a change begins or ends
            h_0, c_0 = (layer_sizes.each(Tensor.float, each) for each in (h_0, c_0))
        layers: list[LayerRecord] = []
        for layer in range(lstm.num_layers):
            records = []
            for reverse in (False, True)[:S]:
                change = changes.get((layer, reverse), Changes())
                changed = ChangedLayer(lstm.layer_weights(layer, reverse), change, reverse, compute, lstm.cell)
                h, c = (layer_sizes.one(each, layer, int(reverse), S) for each in (h_0, c_0))
                records.append(changed.run(x, h, c, lengths))
                if unchanged is not None:
                    recorded = unchanged.layers[layer].reverse if reverse else unchanged.layers[layer].forward
                    assert recorded is not None
                    records[-1] = _as_before(records[-1], recorded, reverse, held)
                edits.extend(dataclasses.replace(edit, layer=layer) for edit in changed.edits)
            layers.append(dataclasses.replace(records[0], reverse=records[1] if S == 2 else None))
            x = layers[-1].output + x if lstm.residual and layer else layers[-1].output
        of_rows = None if (lengths == len(x)).all() else torch.from_numpy(lengths)
        return Record(tuple(layers), of_rows, residual=lstm.residual)

    return forward


def initial_state(lstm: LSTM, x: Tensor) -> State:
    """Return the state that a call without one starts from, (L*S, B, ...), or of each layer."""
    B = x.shape[1]
    if start.parameters(lstm):
        h_0, c_0 = (start.of_rows(each, B) for each in start.pair(lstm))
        return h_0, c_0
    return start.zeros(lstm, x, layer_sizes.state_shapes(lstm, (B,)))


def _as_before(changed: LayerRecord, unchanged: LayerRecord, reverse: bool, all_rounding: bool) -> LayerRecord:
    """Return a record with the numbers of the unchanged run up to the first effect of a change in each row.

    Where the two run by other operations, their rounding is no effect.

    Args:
        changed: the record.
        unchanged: that of the unchanged run.
        reverse: whether they are of the reverse direction.
        all_rounding: whether later numbers that rounding alone tells apart are those of the unchanged run, too.
    """
    names = [name for name in present(changed) if getattr(unchanged, name) is not None]
    pairs = {name: (getattr(changed, name), getattr(unchanged, name)) for name in names}

    def more_than_rounding(a: Tensor, b: Tensor) -> Tensor:
        units = _ROUNDING_16 if b.element_size() == 2 else _ROUNDING
        return (a - b).abs() > units * torch.finfo(b.dtype).eps * b.abs().clamp(min=1)

    differs = {name: more_than_rounding(a, b) for name, (a, b) in pairs.items()}
    by_step = torch.stack([each.any(-1) for each in differs.values()]).any(0)  # (T, B)
    order = by_step.flip(0) if reverse else by_step
    same = order.cumsum(0) == 0
    same = (same.flip(0) if reverse else same)[..., None]
    quantities: dict[str, Any] = {
        name: torch.where(same | ~differs[name] if all_rounding else same, b, a) for name, (a, b) in pairs.items()
    }
    return dataclasses.replace(changed, **quantities)
