"""Which units a training meets with dropout and zoneout, by the numbers of a counter."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gatewright import counter_random
from gatewright.counter_random import Place
from gatewright.equations.arrays import Array
from gatewright.spec.cell import CellSpec


@dataclass(frozen=True)
class StepMasks:
    """The random choices of one step; None where the cell makes none.

    Attributes:
        zoneout_cell: whether a unit of c keeps its previous value, Boolean, (B, H).
        zoneout_hidden: whether a unit of h does, Boolean, (B, H).
        hidden: factor of the hidden state that W_hh reads, (B, P).
        candidate: factor of the candidate, (B, H).
    """

    zoneout_cell: Array | None = None
    zoneout_hidden: Array | None = None
    hidden: Array | None = None
    candidate: Array | None = None

    def of_row(self, row: int) -> StepMasks:
        """Return the choices of one row alone, without B."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return StepMasks(**{name: None if value is None else value[row] for name, value in values.items()})


@dataclass(frozen=True)
class Masks:
    """The random choices of a training pass over a sequence.

    Attributes:
        place: seed, layer and direction; in reverse, the first step that is taken is the last of the sequence.
        rows: numbers of the rows, (B,); None for 0 ... B-1.
        first_step: number of the first step of the sequence that is given.

    >>> masks = Masks(Place(seed=1)).of(CellSpec(candidate_dropout=0.5), 3, 1, 4, 4, np.float64)
    >>> len(masks), masks[0].candidate.shape
    (3, (1, 4))
    """

    place: Place
    rows: Sequence[int] | None = None
    first_step: int = 0

    def of(self, cell: CellSpec, T: int, B: int, H: int, P: int, dtype: Any) -> list[StepMasks]:
        """Return the choices of each step, in the order in which steps are taken.

        Args:
            cell: whose rates they are.
            T: number of steps.
            B: number of rows.
            H: units.
            P: width of the hidden state.
            dtype: of the factors.
        """
        rows = range(B) if self.rows is None else self.rows
        steps = np.arange(self.first_step, self.first_step + T)
        steps = steps[::-1] if self.place.direction else steps
        each: dict[str, Any] = {}
        for name, rate, purpose in (
            ("zoneout_cell", cell.zoneout_cell, counter_random.ZONEOUT_CELL),
            ("zoneout_hidden", cell.zoneout_hidden, counter_random.ZONEOUT_HIDDEN),
        ):
            if rate:
                each[name] = counter_random.hit(rate, self.place, purpose, steps, rows, H)
        if cell.candidate_dropout:
            rate, purpose = cell.candidate_dropout, counter_random.CANDIDATE_DROPOUT
            each["candidate"] = counter_random.scaled_mask(rate, self.place, purpose, steps, rows, H, dtype)
        if cell.hidden_dropout:
            rate, purpose = cell.hidden_dropout, counter_random.HIDDEN_DROPOUT
            mask = counter_random.scaled_mask(rate, self.place, purpose, [0], rows, P, dtype)
            each["hidden"] = np.broadcast_to(mask, (T, *mask.shape[1:]))
        return [StepMasks(**{name: values[t] for name, values in each.items()}) for t in range(T)]
