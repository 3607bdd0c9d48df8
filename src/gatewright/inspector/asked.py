"""What a page asks: changes inside a model (`WhatIf` of the contract)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gatewright.errors import GatewrightError
from gatewright.insight import intervention
from gatewright.model import Model
from gatewright.nn import LSTM
from gatewright.spec import Spec


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
