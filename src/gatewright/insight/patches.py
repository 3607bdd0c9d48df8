"""Patches: gates and states of one recording, to be put into the run of another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.equations import GATES
from gatewright.errors import GatewrightError
from gatewright.insight.changes import Changes, Patch, Plan
from gatewright.insight.layers import require_units
from gatewright.insight.recording_data import RecordingData

#: What can be patched, and shorter names of gates.
QUANTITIES = (*GATES, "cell", "hidden")
_SHORT = {"input": "input_gate", "forget": "forget_gate", "output": "output_gate"}


def patch_plan(
    target: RecordingData,
    source: Any,
    quantity: str | Sequence[str],
    *,
    layer: int = 0,
    steps: Any = None,
    units: Any = None,
    rows: Any = None,
    direction: str = "forward",
) -> Plan:
    """Return the changes that give a run the values of a recording; arguments as for `Recording.patched`.

    Args:
        target: the recording of the run that is to be changed.
        source: the recording that has the values.
        quantity: what is patched, or a sequence of it.
        layer: number of the layer, in both.
        steps: numbers of steps.
        units: numbers of units.
        rows: numbers of rows.
        direction: "forward" or "reverse".

    Raises:
        GatewrightError: names the argument that does not fit, or what the source does not have.
    """
    if not isinstance(source, RecordingData):
        raise GatewrightError("source", "a recording", type(source).__name__)
    if target.about.cell.is_slstm or source.about.cell.is_slstm:
        expected = "layers whose gates and states are those of an LSTM"
        raise GatewrightError("source", expected, "an sLSTM, whose recorded cell is an average")
    record, theirs = target.record(layer, direction), source.record(layer, direction)
    chosen = _chosen("rows", rows, len(target.lengths))
    of_source = _source_rows(source, chosen, len(target.lengths))
    times = _steps(steps, target.lengths[chosen], source.lengths[of_source])
    patches = []
    for name in _quantities(quantity):
        array, own = getattr(theirs, name), getattr(record, name)
        if array.shape[-1] != own.shape[-1]:
            expected = f"a recording whose layer {layer} has a {name} of {own.shape[-1]} units"
            raise GatewrightError("source", expected, str(array.shape[-1]))
        if name == "cell" and target.about.cell.zoneout_cell:
            raise GatewrightError("quantity", "no cell state of a layer with zoneout_cell, which mixes it", name)
        which = _chosen("units", units, own.shape[-1])
        values = array[np.ix_(times, of_source, which)]
        u, t, r = (tuple(each.tolist()) for each in (which, times, chosen))
        patches.append(Patch(name, u, t, r, values))
    return {(layer, direction == "reverse"): Changes(patches=tuple(patches))}


def _quantities(quantity: Any) -> list[str]:
    names = [quantity] if isinstance(quantity, str) else quantity
    if not isinstance(names, list | tuple) or not names:
        raise GatewrightError("quantity", f"one of {', '.join(QUANTITIES)}, or a list", repr(quantity)[:80])
    full = [_SHORT.get(name, name) if isinstance(name, str) else name for name in names]
    for name in full:
        if name not in QUANTITIES:
            raise GatewrightError("quantity", f"one of {', '.join(QUANTITIES)}", repr(name)[:80])
    return full


def _chosen(name: str, numbers: Any, size: int) -> NDArray[np.int64]:
    chosen = np.unique(require_units(numbers, size, name))
    if not len(chosen):
        raise GatewrightError(name, "at least one", "none")
    return chosen


def _source_rows(source: RecordingData, rows: NDArray[np.int64], B: int) -> NDArray[np.int64]:
    """Return the rows of the source that belong to rows of the target; a single one belongs to all."""
    if len(source.lengths) == B:
        return rows
    if len(source.lengths) == 1:
        return np.zeros_like(rows)
    raise GatewrightError("source", f"a recording of {B} rows, or of one", f"{len(source.lengths)} rows")


def _steps(steps: Any, lengths: NDArray[np.int64], available: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the steps that are patched, which the source must have in every row that has them in the target."""
    times = _chosen("steps", steps, int(lengths.max()))
    missing = [(int(t), row) for row, length in enumerate(lengths) for t in times if available[row] <= t < length]
    if missing:
        t, row = missing[0]
        expected = f"steps that the source has: {int(available[row])} in that row"
        raise GatewrightError("steps", expected, f"step {t}")
    return times
