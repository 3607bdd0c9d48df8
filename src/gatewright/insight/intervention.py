"""Interventions ("what if"): a run with gates held, units ablated, or the cell state set by hand.

The changed run uses the kernels of the unchanged one, so that values before the first change have the same bits;
on devices without kernels of our own these values are those of the unchanged run.
The sequence is cut where a change begins or ends and where a cell state is edited, and continues from the states
at the cut.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from gatewright.equations import GATES, QUANTITIES
from gatewright.insight.changes import Changes, Plan, describe, plan
from gatewright.insight.recorder import Pass, Reading, prepare, record
from gatewright.insight.recorder import forward as run_unchanged
from gatewright.insight.recording import Recording
from gatewright.nn import LSTM, Record, fallback, fast_path, layer_sizes, precision, variant_fast_path
from gatewright.nn import initial_state as start
from gatewright.nn.held_gates import sequence_held
from gatewright.nn.model import Model, State
from gatewright.nn.record import LayerRecord
from gatewright.nn.variant import Pass as CellPass
from gatewright.nn.variant_steps import Variant
from gatewright.spec.cell import LayerWeights
from gatewright.spec.recording import Edit
from gatewright.tasks.inputs import InputBatch

if TYPE_CHECKING:
    from typing_extensions import Unpack

#: Differences of recorded numbers that are rounding, in units of the last place of 1 or of the number.
_ROUNDING = 100


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
            1 less the held forget gate, unless it is held itself.
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
    layer_sizes.require_torchs("a what if", _lstm(opened))
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
    note = describe(changes, batch.lengths, _lstm(model).hidden_size)
    return dataclasses.replace(
        recording, about=dataclasses.replace(recording.about, note=note, edits=tuple(edits))
    )


def _changed(changes: Plan, edits: list[Edit]) -> Pass:
    """Return a pass through the layers with the changes; it appends the edits of cell states to ``edits``."""

    def forward(lstm: LSTM, x: Tensor, lengths: Any, state: State | None) -> Record:
        S, B = (2 if lstm.bidirectional else 1), x.shape[1]
        P = lstm.proj_size or lstm.hidden_size
        shapes = ((lstm.num_layers * S, B, P), (lstm.num_layers * S, B, lstm.hidden_size))
        learned = [start.of_rows(each, B) for _, each in start.parameters(lstm)]
        h_0, c_0 = state or learned or (x.new_zeros(shapes[0]), x.new_zeros(shapes[1]))
        compute, unchanged = precision.code_of(lstm, x), None
        if compute == precision.FULL and not fast_path.takes(x, [h_0, c_0, *lstm.layer_weights(0).present()]):
            unchanged = run_unchanged(lstm, x, lengths, state)
        if compute != precision.FULL:  # states are not rounded where a change begins or ends
            h_0, c_0 = h_0.float(), c_0.float()
        variant = _variant(lstm)
        layers: list[LayerRecord] = []
        for layer in range(lstm.num_layers):
            records = []
            for reverse in (False, True)[:S]:
                k = layer * S + reverse
                change = changes.get((layer, reverse), Changes())
                changed = _Layer(lstm.layer_weights(layer, reverse), change, reverse, compute, variant)
                records.append(changed.run(x, h_0[k], c_0[k], lengths))
                if unchanged is not None:
                    recorded = unchanged.layers[layer].reverse if reverse else unchanged.layers[layer].forward
                    assert recorded is not None
                    records[-1] = _as_before(records[-1], recorded, reverse)
                edits.extend(dataclasses.replace(edit, layer=layer) for edit in changed.edits)
            x = torch.cat([direction.hidden for direction in records], dim=-1)
            layers.append(dataclasses.replace(records[0], reverse=records[1] if S == 2 else None))
        return Record(tuple(layers), None if (lengths == len(x)).all() else torch.from_numpy(lengths))

    return forward


def _variant(lstm: LSTM) -> Variant | None:
    """Return the cell, outside of training; None for what the kernels compute as the plain one."""
    of_cell = CellPass(lstm.cell, training=False)
    return None if of_cell.computed_as_plain() else Variant(lstm.cell)


def _as_before(changed: LayerRecord, unchanged: LayerRecord, reverse: bool) -> LayerRecord:
    """Return a record with the numbers of the unchanged run up to the first effect of a change in each row.

    On devices without our kernels the two run by other operations, whose rounding is no effect.
    """
    pairs = {name: (getattr(changed, name), getattr(unchanged, name)) for name in _present(changed)}
    differs = [
        ((a - b).abs() > _ROUNDING * torch.finfo(b.dtype).eps * b.abs().clamp(min=1)) for a, b in pairs.values()
    ]
    by_step = torch.stack([each.any(-1) for each in differs]).any(0)  # (T, B)
    order = by_step.flip(0) if reverse else by_step
    same = order.cumsum(0) == 0
    same = (same.flip(0) if reverse else same)[..., None]
    quantities: dict[str, Any] = {name: torch.where(same, b, a) for name, (a, b) in pairs.items()}
    return dataclasses.replace(changed, **quantities)


def _present(record: LayerRecord) -> list[str]:
    """Return the names of what a record has of each step."""
    return [*QUANTITIES, *(name for name in ("kept", "written") if getattr(record, name) is not None)]


@dataclass
class _Layer:
    """One layer in one direction, with changes.

    Attributes:
        edits: edits of cell states in the run so far, with 0 as the layer's number.
    """

    weights: LayerWeights
    change: Changes
    reverse: bool
    compute: int
    variant: Variant | None = None
    edits: list[Edit] = field(default_factory=list)

    def run(self, x: Tensor, h_0: Tensor, c_0: Tensor, lengths: Any) -> LayerRecord:
        """Run over (T, B, D); rows of unequal length one by one, to the same bits."""
        B = x.shape[1]
        if self.change.ablated:
            h_0 = h_0.clone()
            h_0[:, list(self.change.ablated)] = 0
        if (lengths == len(x)).all():
            return self._rows(x, h_0, c_0, list(range(B)))
        parts = [self._rows(x[: lengths[b], b : b + 1], h_0[b : b + 1], c_0[b : b + 1], [b]) for b in range(B)]

        def padded(name: str) -> Tensor:
            values = [getattr(part, name) for part in parts]
            whole = values[0].new_zeros(len(x), B, values[0].shape[-1])
            for b, each in enumerate(values):
                whole[: lengths[b], b] = each[:, 0]
            return whole

        quantities: dict[str, Any] = {name: padded(name) for name in _present(parts[0])}
        return LayerRecord(**quantities, cell_initial=c_0, hidden_initial=h_0)

    def _rows(self, x: Tensor, h_0: Tensor, c_0: Tensor, rows: list[int]) -> LayerRecord:
        """Run rows of equal length, cut where a change begins or ends."""
        T = len(x)
        cuts = {0, T}
        for clamp in self.change.clamps:
            cuts |= {min(clamp.first, T), min(clamp.end, T)}
        # In reverse, step t starts from the state that t + 1 left.
        cuts |= {min(edit.t + self.reverse, T) for edit in self.change.edits}
        spans = list(pairwise(sorted(cuts)))
        h, c = h_0, c_0
        parts: list[LayerRecord] = []
        for first, end in reversed(spans) if self.reverse else spans:
            c = self._edited(c, end - 1 if self.reverse else first, rows)
            h, c, part = self._span(x[first:end], h, c, self._clamps(first, x))
            parts.append(part)
        if self.reverse:
            parts.reverse()
        quantities: dict[str, Any] = {
            name: torch.cat([getattr(part, name) for part in parts]) for name in _present(parts[0])
        }
        return LayerRecord(**quantities, cell_initial=c_0, hidden_initial=h_0)

    def _edited(self, c: Tensor, t: int, rows: list[int]) -> Tensor:
        """Return the cell state that step t starts from."""
        for edit in self.change.edits:
            edited = [n for n, row in enumerate(rows) if edit.row in (None, row)]
            if edit.t != t or not edited:
                continue
            before, c = c, c.clone()
            c[np.ix_(edited, edit.units)] = edit.value
            added = (c.double() - before.double()).cpu().numpy()
            self.edits += [
                Edit(0, self.reverse, rows[n], t, unit, float(added[n, unit]))
                for n in edited
                for unit in edit.units
            ]
        return c

    def _clamps(self, first: int, x: Tensor) -> Tensor | None:
        """Return the values at which gates are held from step ``first`` on, (4, H), or None for none."""
        active = [clamp for clamp in self.change.clamps if clamp.first <= first < clamp.end]
        if not active:
            return None
        dtype = x.dtype if self.compute == precision.FULL else torch.float32
        clamps = x.new_full((len(GATES), self.weights.hidden_size), math.nan, dtype=dtype)
        for clamp in active:
            clamps[GATES.index(clamp.gate), list(clamp.units)] = clamp.value
        return clamps

    def _span(self, x: Tensor, h: Tensor, c: Tensor, clamps: Tensor | None) -> tuple[Tensor, Tensor, LayerRecord]:
        """Run steps between two cuts; return the states after the last one, and the record."""
        args, variant = (x, h, c, self.weights), self.variant
        options: dict[str, Any] = {"reverse": self.reverse, "compute": self.compute}
        part: LayerRecord | None
        if self.compute == precision.FULL and not fast_path.takes(x, [h, c, *self.weights.present()]):
            _, h, c, part = fallback.sequence(*args, reverse=self.reverse, clamps=clamps, variant=variant)
        elif clamps is not None:
            _, h, c, part = sequence_held(*args, clamps, **options, variant=variant)
        elif variant is not None:
            _, h, c, part = variant_fast_path.sequence(*args, **options, variant=variant, record=True)
        else:
            _, h, c, part = fast_path.sequence(*args, **options, record=True)
        assert part is not None
        return h, c, part


def _lstm(model: Model | LSTM) -> LSTM:
    return model.lstm if isinstance(model, Model) else model
