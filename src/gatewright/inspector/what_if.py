"""What a page asks: changes inside a model (`WhatIf` of the contract)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gatewright.errors import GatewrightError, shorten
from gatewright.insight import intervention
from gatewright.insight.layers import DIRECTIONS
from gatewright.nn import LSTM
from gatewright.nn.model import Model
from gatewright.spec.json import Spec

#: The largest number that a cell state holds.
_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class AskedClamp(Spec):
    """Gates held at a value, for steps from ``first`` to before ``end``."""

    gate: str
    units: tuple[int, ...]
    value: float
    first: int
    end: int


@dataclass(frozen=True)
class AskedEdit(Spec):
    """A cell state set by hand, before step ``t``."""

    t: int
    units: tuple[int, ...]
    value: float


@dataclass(frozen=True)
class Asked(Spec):
    """Changes of one layer in one direction; of a cell state in one row.

    >>> asked = '{"row":0,"layer":0,"direction":"forward","clamp":[],"ablate":[1],"edit_cell":[]}'
    >>> Asked.from_json(asked, "what if").plan(LSTM(3, 4), [9])[0, False].clamps[0].gate
    'output_gate'
    """

    row: int
    layer: int
    direction: str
    clamp: tuple[AskedClamp, ...]
    ablate: tuple[int, ...]
    edit_cell: tuple[AskedEdit, ...]

    def plan(self, model: Model | LSTM, lengths: Any) -> intervention.Plan:
        """Check it against a model and the lengths of what it reads.

        Raises:
            GatewrightError: if it does not fit, or asks for nothing.
        """
        if not (self.clamp or self.ablate or self.edit_cell):
            raise GatewrightError("what if", "a gate to hold, a unit to ablate or a cell state to set", "nothing")
        lstm = model.lstm if isinstance(model, Model) else model
        self._require_in_range(lstm, lengths)
        key = (self.layer, self.direction)
        clamp: dict[str, Any] = {}
        for one in self.clamp:
            clamp.setdefault(one.gate, []).append((one.units, one.value, slice(one.first, one.end)))
        return intervention.plan(
            lstm,
            lengths,
            {key: clamp} if clamp else None,
            {key: self.ablate} if self.ablate else None,
            {key: [(one.t, one.units, one.value, self.row) for one in self.edit_cell]} if self.edit_cell else None,
        )

    def _require_in_range(self, lstm: LSTM, lengths: Any) -> None:
        """Raise unless rows, layers, units and steps are there: a page counts none of them from the end.

        Raises:
            GatewrightError: names the first that is not.
        """
        H, T = lstm.hidden_size, int(max(lengths))
        directions = DIRECTIONS[: 2 if lstm.bidirectional else 1]
        last = lstm.num_layers - 1
        _require(0 <= self.layer <= last, "layer", f"a layer from 0 to {last}", self.layer)
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
    there = all(0 <= unit < H for unit in units) and len(set(units)) == len(units) > 0
    _require(there, name, f"units from 0 to {H - 1}, each once", units)


def _require(condition: bool, name: str, expected: str, got: object) -> None:
    if not condition:
        raise GatewrightError(f"what if.{name}", expected, shorten(got))
