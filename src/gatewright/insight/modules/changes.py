"""Changes in the layers of a module, by the calls in which their steps are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from gatewright.errors import GatewrightError
from gatewright.insight.changed_pass import changed
from gatewright.insight.changes import Changes, Plan, joined
from gatewright.insight.inputs import states_of
from gatewright.nn import LSTM, Record, layer_sizes
from gatewright.nn.packed_sequence import Layout
from gatewright.spec.recording import Edit


@dataclass(frozen=True, eq=False)
class SequenceChanges:
    """Changes in one sequence of calls of a layer.

    Attributes:
        plan: the changes, by the steps of the sequence.
        steps: steps of the sequence that they were made for.
    """

    plan: Plan
    steps: int

    def joined(self, more: SequenceChanges) -> SequenceChanges:
        """Return these and further ones."""
        return SequenceChanges(joined(self.plan, more.plan), max(self.steps, more.steps))

    def of_call(self, first: int, steps: int) -> Plan:
        """Return the changes in a call.

        Args:
            first: the step of the sequence with which the call begins.
            steps: steps of the call.
        """
        parts = {place: changes.part(first, steps, self.steps) for place, changes in self.plan.items()}
        return {place: part for place, part in parts.items() if part != Changes()}


#: Changes by the name of the layer and the number of the sequence, from 0.
ModuleChanges = Mapping[tuple[str, int], SequenceChanges]


def changed_call(
    lstm: LSTM, x: Tensor, lengths: Any, hx: Any, plan: Plan, like: tuple[Any, Any], form: Any
) -> tuple[Any, Any, Record, tuple[Edit, ...]]:
    """Run a call with changes; return its output, its last states, its record and the edits of cell states.

    Args:
        lstm: the layers.
        x: what they read, (T, B, D).
        lengths: steps of each row (B,).
        hx: the initial states of the call, or None.
        plan: the changes.
        like: output and last states of the call without changes, whose types these have.
        form: the input as the caller gave it.
    """
    edits: list[Edit] = []
    x = x.to(lstm.layer_weights(0).W_ih.dtype)
    record = changed(plan, edits)(lstm, x, lengths, states_of(lstm, x, hx))
    states = _last_states(lstm, record, lengths)
    like_y, like_states = like
    unbatched = not isinstance(form, PackedSequence) and form.dim() == 2

    def shaped(state: Any, other: Any) -> Any:
        dtype = (other if isinstance(other, Tensor) else other[0]).dtype
        return layer_sizes.each(lambda part: (part[:, 0] if unbatched else part).to(dtype), state)

    state = tuple(shaped(ours, theirs) for ours, theirs in zip(states, like_states, strict=True))
    return _in_form(lstm, record.output, form, like_y), state, record, tuple(edits)


def _in_form(lstm: LSTM, y: Tensor, form: Any, like: Any) -> Any:
    """Return an output (T, B, S*P) in the form of the input, and of the type of another output."""
    if isinstance(form, PackedSequence):
        layout = Layout.of(form)
        return layout.wrap(layout.pack(y).to(like.data.dtype))
    y = y[:, 0] if form.dim() == 2 else y.transpose(0, 1) if lstm.batch_first else y
    return y.to(like.dtype)


def _last_states(lstm: LSTM, record: Record, lengths: Any) -> tuple[Any, Any]:
    """Return the states after the last step of each row, as those of a call."""
    ends = torch.from_numpy(lengths - 1)
    rows = torch.arange(len(ends))
    hidden, cell = [], []
    for layer in record.layers:
        hidden.append(layer.hidden[ends, rows])
        cell.append(layer.cell[ends, rows])
        if layer.reverse is not None:
            hidden.append(layer.reverse.hidden[0])
            cell.append(layer.reverse.cell[0])
    return layer_sizes.joined(lstm, hidden), layer_sizes.joined(lstm, cell)


def require_changeable(name: str, lstm: LSTM, of_rows: Mapping[str, Any]) -> None:
    """Require a call whose steps can be run with changes.

    Args:
        name: name of the layer.
        lstm: the layer.
        of_rows: lengths, masks and resets of the call.

    Raises:
        GatewrightError: names the layer.
    """
    given = [each for each in ("mask", "reset") if of_rows.get(each) is not None]
    if given:
        raise GatewrightError("name", f"a layer that is called without {given[0]}, for changes in it", name)
    if lstm.cell.is_slstm:
        raise GatewrightError("name", "a layer of an LSTM, for changes in a module", f"{name}, an sLSTM")


def split(key: str, keys: Sequence[str]) -> tuple[str, int]:
    """Return the layer of a recording's name, and the number of its sequence, from 0.

    Args:
        key: name of the recording.
        keys: names of all recordings.

    >>> split("lstm", ["lstm"]), split("lstm#2", ["lstm#1", "lstm#2"])
    (('lstm', 0), ('lstm', 1))
    """
    name, mark, number = key.rpartition("#")
    return (name, int(number) - 1) if mark and f"{name}#1" in keys else (key, 0)
