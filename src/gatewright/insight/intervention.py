"""Interventions ("what if"): a run with gates held, units ablated, or the cell state set by hand.

The changed run uses the kernels of the unchanged one, so that values before the first change have the same bits;
on devices without kernels of our own, and where gates of an sLSTM are held, they are taken from the unchanged run.
The sequence is cut where a change begins or ends and where a cell state is edited, and continues from the states
at the cut.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gatewright.insight.changes import Plan, plan
from gatewright.insight.recorder import Reading, origin, prepare
from gatewright.insight.recording import Recording
from gatewright.nn import LSTM
from gatewright.nn.model import Model
from gatewright.tasks.inputs import InputBatch

if TYPE_CHECKING:
    from typing_extensions import Unpack


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

    >>> import torch
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
    changed: Recording = origin(model, batch).changed(changes)
    return changed


def _lstm(model: Model | LSTM) -> LSTM:
    return model.lstm if isinstance(model, Model) else model
