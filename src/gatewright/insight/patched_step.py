"""One step of a layer with gates or states that have the values of another recording.

A patched quantity has its value, and all that the step computes from it is computed from that value:

    a gate      c_t, h_t and all that follows
    c_t         h_t = o_t tanh(c_t) and all that follows; the gates of step t were computed before
    h_t         the output of step t and all that follows

That is the patching of an activation in a causal graph (Vig et al. 2020, arXiv:2004.12265; Zhang and Nanda 2024,
arXiv:2309.16042).  The kernels run the step: to give c_t a value, they keep all of a cell state that has it and
write nothing.  So a value that is the run's own leaves every bit as it was.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from gatewright.equations import GATES
from gatewright.errors import GatewrightError
from gatewright.insight.changes import Patch
from gatewright.nn.record import LayerRecord

#: Runs steps from h and c, with gates held at (4, H) or at nothing; returns the states after them, and the record.
Span = Callable[[Tensor, Tensor, Tensor, Tensor | None], tuple[Tensor, Tensor, LayerRecord]]


class PatchedStep:
    """A step with patches.

    Args:
        patches: patches that have the step.
        t: the step.
        span: runs steps without patches.
    """

    def __init__(self, patches: Sequence[Patch], t: int, span: Span) -> None:
        self.patches, self.t, self.span = patches, t, span

    def same_in(self, rows: list[int]) -> bool:
        """Whether one call of the kernels does all rows: no gate is patched, and every patch has every row."""
        return all(patch.quantity not in GATES and set(rows) <= set(patch.rows) for patch in self.patches)

    def run(
        self, x: Tensor, h: Tensor, c: Tensor, clamps: Tensor | None, rows: list[int]
    ) -> tuple[Tensor, Tensor, LayerRecord]:
        """Run the step over (1, B, D), of rows that are all patched alike, or of a single one."""
        patches = [patch for patch in self.patches if rows[0] in patch.rows]
        H = c.shape[-1]
        held = c.new_full((len(GATES), H), math.nan) if clamps is None else clamps.clone()
        target = c.new_full(c.shape, math.nan)  # values of c after the step
        hidden: list[tuple[list[int], Tensor]] = []
        for patch in patches:
            units, values = list(patch.units), self._values(patch, rows).to(c.device, c.dtype)
            if patch.quantity == "cell":
                target[:, units] = values
            elif patch.quantity == "hidden":
                hidden.append((units, values))
            else:
                held[GATES.index(patch.quantity), units] = values[0].to(held.dtype)
        before, (h_n, c_n, record) = (h, c), self.span(x, h, c, held if held.isfinite().any() else None)
        if target.isfinite().any():
            h_n, c_n, record = self._with_cell(x, before, held, target, record)
        for units, values in hidden:
            h_n, y = h_n.clone(), record.hidden.clone()
            h_n[:, units] = values.to(h_n.dtype)
            y[0, :, units] = values.to(y.dtype)
            record = replace(record, hidden=y)
        return h_n, c_n, record

    def _with_cell(
        self, x: Tensor, before: tuple[Tensor, Tensor], held: Tensor, target: Tensor, own: LayerRecord
    ) -> tuple[Tensor, Tensor, LayerRecord]:
        """Run the step so that c after it has the values of ``target`` where that is a number."""
        h, c = before
        patched = target.isfinite()
        held = held.clone()
        units = patched.any(0)
        held[GATES.index("forget_gate"), units], held[GATES.index("input_gate"), units] = 1, 0
        h_n, c_n, record = self.span(x, h, torch.where(patched, target, c), held)
        if not torch.equal(c_n[patched], target[patched]):
            raise GatewrightError(
                "quantity", "cell states that the layer can have, within its cell_clip", "others"
            )
        gates = {name: getattr(own, name) for name in ("input_gate", "forget_gate", "candidate")}
        record = with_factors(replace(record, **gates))
        assert record.kept is not None
        assert record.written is not None
        kept = record.kept.masked_fill(patched, 0)
        written = torch.where(patched, target.to(kept.dtype), record.written)
        return h_n, c_n, replace(record, kept=kept, written=written)

    def _values(self, patch: Patch, rows: list[int]) -> Tensor:
        """Return the values of some rows at the step, (B, U)."""
        places = [patch.rows.index(row) for row in rows]
        return torch.from_numpy(np.ascontiguousarray(patch.values[patch.steps.index(self.t)][places]))


def with_factors(record: LayerRecord) -> LayerRecord:
    """Return a record that has what each step keeps of the cell state and what it writes."""
    if record.kept is not None:
        return record
    return replace(record, kept=record.forget_gate, written=record.input_gate * record.candidate)
