"""Interventions ("what if"): a run with gates held, units ablated, or the cell state set by hand.

The changed run uses the kernels of the unchanged one, so that values before the first change have the same bits;
on devices without kernels of our own, and where gates of an sLSTM are held, they are taken from the unchanged run.
The sequence is cut where a change begins or ends and where a cell state is edited, and continues from the states
at the cut.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from gatewright.insight.changed_layer import ChangedLayer, present
from gatewright.insight.changes import Changes, Plan, describe, plan
from gatewright.insight.recorder import Pass, Reading, prepare, record
from gatewright.insight.recorder import forward as run_unchanged
from gatewright.insight.recording import Recording
from gatewright.nn import LSTM, Record, layer_sizes, precision, recompute
from gatewright.nn import initial_state as start
from gatewright.nn.model import Model, State
from gatewright.nn.record import LayerRecord
from gatewright.spec.recording import Edit
from gatewright.tasks.inputs import InputBatch

if TYPE_CHECKING:
    from typing_extensions import Unpack

#: Differences of recorded numbers that are rounding, in units of the last place of 1 or of the number.  In types
#: of 16 bits the last place is already a visible effect.
_ROUNDING, _ROUNDING_16 = 100, 4


def intervene(
    model: Any,
    data: Any = None,
    *,
    clamp: Mapping[Any, Mapping[str, Any]] | None = None,
    ablate: Mapping[Any, Any] | None = None,
    edit_cell: Any = None,
    **reading: Unpack[Reading],
) -> Recording:
    """Run a model over data as `look` does, with changes inside it, and return the recording.

    A layer's key is its number; the key of its reverse direction is (number, "reverse").

    Args:
        model: as for `look`.
        data: as for `look`.
        clamp: gates to hold, by layer and gate: ``{0: {"forget_gate": (units, value)}}``, or (units, value,
            steps) with a slice of steps, or a list of these.  Units are a number, a sequence, a slice, or None for
            all.  Gates that the cell does not have can be held too: they are 1 otherwise.  A coupled input gate is
            1 less the held forget gate, unless it is held itself.  Of an sLSTM, the forget gate is the weight of
            the average before, and the input gate that of the step: each is 1 less the other.
        ablate: units whose hidden state is 0 at every step (their output gate is held at 0), by layer:
            ``{0: [3]}``.
        edit_cell: cell states to set, by layer: ``{0: (t, units, value)}``, from which step t starts, or (t,
            units, value, row) for one row of the batch; or a list of these.  A tuple without a dict suffices if
            there is one layer in one direction.
        **reading: ``state``, ``start``, ``steps`` and ``title``, as for `look`; the steps of the changes are
            counted from ``start``.

    Returns:
        The recording; ``recording.difference(look(model, data))`` is the effect of the changes.

    Raises:
        GatewrightError: if there is no such layer, gate, unit or step, or a value is out of range; and as `look`.
        TypeError: on any other keyword.

    >>> from gatewright import LSTM, look
    >>> lstm, x = LSTM(3, 4), torch.ones(10, 1, 3)
    >>> changed = intervene(lstm, x, clamp={0: {"forget_gate": (None, 0.0, slice(5, 6))}})
    >>> changed.layers[0].forward.forget_gate[5]
    array([[0., 0., 0., 0.]], dtype=float32)
    >>> changed.difference(look(lstm, x)).first  # the step whose output is the first to differ
    array([5])
    """
    for name in reading.keys() - Reading.__annotations__.keys():
        raise TypeError(f"intervene() got an unexpected keyword argument {name!r}")
    opened, batch = prepare(model, data, **reading)
    return run(opened, batch, plan(_lstm(opened), batch.lengths, clamp, ablate, edit_cell))


def run(model: Model | LSTM, batch: InputBatch, changes: Plan) -> Recording:
    """Run a model on prepared inputs, with changes, and return the recording.

    Args:
        model: the model.
        batch: its inputs, as `gatewright.insight.recorder.prepare` returns them.
        changes: the changes, as `plan` returns them.
    """
    edits: list[Edit] = []
    recording = record(model, batch, _changed(changes, edits))
    note = describe(changes, batch.lengths, layer_sizes.hidden_sizes(_lstm(model)))
    return dataclasses.replace(
        recording, about=dataclasses.replace(recording.about, note=note, edits=tuple(edits))
    )


def _changed(changes: Plan, edits: list[Edit]) -> Pass:
    """Return a pass through the layers with the changes; it appends the edits of cell states to ``edits``."""

    def forward(lstm: LSTM, x: Tensor, lengths: Any, state: State | None) -> Record:
        S = 2 if lstm.bidirectional else 1
        h_0, c_0 = state or _initial_state(lstm, x)
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


def _initial_state(lstm: LSTM, x: Tensor) -> State:
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
    pairs = {name: (getattr(changed, name), getattr(unchanged, name)) for name in present(changed)}

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


def _lstm(model: Model | LSTM) -> LSTM:
    return model.lstm if isinstance(model, Model) else model
