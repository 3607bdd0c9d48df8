"""The page's request to run a model again with changes (`WhatIf` of `inspector/src/data/types.ts`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gatewright.errors import GatewrightError, shorten
from gatewright.insight import changes
from gatewright.insight.layers import DIRECTIONS
from gatewright.nn import LSTM
from gatewright.nn.layer_sizes import hidden_sizes
from gatewright.nn.model import Model
from gatewright.spec.json import Spec

#: The largest number that a cell state can hold.
_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class WhatIfClamp(Spec):
    """Gates held at a value, for steps from ``first`` to before ``end``."""

    gate: str
    units: tuple[int, ...]
    value: float
    first: int
    end: int


@dataclass(frozen=True)
class WhatIfEdit(Spec):
    """Cell states set to a value before step ``t``."""

    t: int
    units: tuple[int, ...]
    value: float


@dataclass(frozen=True)
class WhatIf(Spec):
    """Changes in one layer and direction; those of the cell state in one row.

    >>> request = '{"row":0,"layer":0,"direction":"forward","clamp":[],"ablate":[1],"edit_cell":[]}'
    >>> WhatIf.from_json(request, "what if").plan(LSTM(3, 4), [9])[0, False].clamps[0].gate
    'output_gate'
    """

    row: int
    layer: int
    direction: str
    clamp: tuple[WhatIfClamp, ...]
    ablate: tuple[int, ...]
    edit_cell: tuple[WhatIfEdit, ...]

    def plan(self, model: Model | LSTM, lengths: Any) -> changes.Plan:
        """Return the changes, checked against a model and its inputs.

        Args:
            model: the model.
            lengths: steps of each row of its inputs (B,).

        Raises:
            GatewrightError: if the changes do not fit, or there are none.
        """
        if not (self.clamp or self.ablate or self.edit_cell):
            raise GatewrightError("what if", "a gate to hold, a unit to ablate or a cell state to set", "nothing")
        lstm = model.lstm if isinstance(model, Model) else model
        self._require_in_range(lstm, lengths)
        key = (self.layer, self.direction)
        clamps: dict[str, Any] = {}
        for clamp in self.clamp:
            clamps.setdefault(clamp.gate, []).append((clamp.units, clamp.value, slice(clamp.first, clamp.end)))
        edits = [(edit.t, edit.units, edit.value, self.row) for edit in self.edit_cell]
        return changes.plan(
            lstm,
            lengths,
            {key: clamps} if clamps else None,
            {key: self.ablate} if self.ablate else None,
            {key: edits} if edits else None,
        )

    def _require_in_range(self, lstm: LSTM, lengths: Any) -> None:
        """Raise unless rows, layers, units and steps are in range; a page uses no negative numbers.

        Raises:
            GatewrightError: names the first that is not.
        """
        T = int(max(lengths))
        directions = DIRECTIONS[: 2 if lstm.bidirectional else 1]
        last = lstm.num_layers - 1
        _require(0 <= self.layer <= last, "layer", f"a layer from 0 to {last}", self.layer)
        H = hidden_sizes(lstm)[self.layer]
        _require(self.direction in directions, "direction", "a direction that the layer has", self.direction)
        _require(0 <= self.row < len(lengths), "row", f"a row from 0 to {len(lengths) - 1}", self.row)
        for k, clamp in enumerate(self.clamp):
            _require_units(f"clamp[{k}].units", clamp.units, H)
            span = f"steps from 0 to {T}, the first before the end"
            _require(0 <= clamp.first < clamp.end <= T, f"clamp[{k}].first, end", span, (clamp.first, clamp.end))
        if self.ablate:
            _require_units("ablate", self.ablate, H)
        for k, edit in enumerate(self.edit_cell):
            _require_units(f"edit_cell[{k}].units", edit.units, H)
            steps = int(lengths[self.row])
            _require(0 <= edit.t < steps, f"edit_cell[{k}].t", f"a step from 0 to {steps - 1}", edit.t)
            holds = "a number that a cell state can hold"
            _require(abs(edit.value) <= _LARGEST, f"edit_cell[{k}].value", holds, edit.value)


def _require_units(name: str, units: Sequence[int], H: int) -> None:
    valid = all(0 <= unit < H for unit in units) and len(set(units)) == len(units) > 0
    _require(valid, name, f"units from 0 to {H - 1}, each once", units)


def _require(condition: bool, name: str, expected: str, got: object) -> None:
    if not condition:
        raise GatewrightError(f"what if.{name}", expected, shorten(got))
