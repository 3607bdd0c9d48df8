"""One layer in one direction with changes in it, cut where one begins or ends."""

from __future__ import annotations

import functools
import math
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gatewright.equations import GATES, QUANTITIES
from gatewright.errors import GatewrightError
from gatewright.insight.changes import Changes
from gatewright.insight.patched_step import PatchedStep, with_factors
from gatewright.nn import fallback, fast_path, precision, slstm_steps, variant_fast_path
from gatewright.nn.call import CallOptions
from gatewright.nn.held_gates import sequence_held
from gatewright.nn.record import LayerRecord
from gatewright.nn.variant import Pass
from gatewright.nn.variant_steps import Variant
from gatewright.spec.cell import CellSpec, LayerWeights
from gatewright.spec.recording import Edit


def present(record: LayerRecord) -> list[str]:
    """Return the names of what a record has of each step."""
    return [*QUANTITIES, *(name for name in ("kept", "written") if getattr(record, name) is not None)]


class ChangedLayer:
    """One layer in one direction, with changes.

    Args:
        weights: of the gates that the cell has.
        change: the changes.
        reverse: whether it reads from the last step to the first.
        compute: the arithmetic, a code of `gatewright.nn.precision`.
        cell: the cell of the layer.

    Attributes:
        edits: edits of cell states in the run so far, with 0 as the layer's number.
    """

    def __init__(
        self, weights: LayerWeights, change: Changes, reverse: bool, compute: int, cell: CellSpec
    ) -> None:
        self.weights, self.change, self.reverse, self.compute = weights, change, reverse, compute
        self.variant = None if Pass(cell, training=False).computed_as_plain() else Variant(cell)
        self.edits: list[Edit] = []

    def run(self, x: Tensor, h_0: Tensor, c_0: Tensor, lengths: Any) -> LayerRecord:
        """Run over (T, B, D); rows of unequal length one by one, to the same bits."""
        B = x.shape[1]
        if self.change.ablated:
            h_0 = h_0.clone()
            h_0[:, list(self.change.ablated)] = 0
        if (lengths == len(x)).all():
            return self._rows(x, h_0, c_0, list(range(B)))
        parts = _with_same_factors(
            [self._rows(x[: lengths[b], b : b + 1], h_0[b : b + 1], c_0[b : b + 1], [b]) for b in range(B)]
        )

        def padded(name: str) -> Tensor:
            values = [getattr(part, name) for part in parts]
            whole = values[0].new_zeros(len(x), B, values[0].shape[-1])
            for b, each in enumerate(values):
                whole[: lengths[b], b] = each[:, 0]
            return whole

        quantities: dict[str, Any] = {name: padded(name) for name in present(parts[0])}
        return LayerRecord(**quantities, cell_initial=self._recorded(c_0), hidden_initial=h_0)

    def _rows(self, x: Tensor, h_0: Tensor, c_0: Tensor, rows: list[int]) -> LayerRecord:
        """Run rows of equal length, cut where a change begins or ends."""
        T = len(x)
        cuts = {0, T}
        for clamp in self.change.clamps:
            cuts |= {min(clamp.first, T), min(clamp.end, T)}
        # In reverse, step t starts from the state that t + 1 left.
        cuts |= {min(edit.t + self.reverse, T) for edit in self.change.edits}
        patched = {t for patch in self.change.patches if set(patch.rows) & set(rows) for t in patch.steps if t < T}
        cuts |= patched | {t + 1 for t in patched}
        spans = list(pairwise(sorted(cuts)))
        h, c = h_0, c_0
        parts: list[LayerRecord] = []
        for first, end in reversed(spans) if self.reverse else spans:
            c = self._edited(c, end - 1 if self.reverse else first, rows)
            run = functools.partial(self._patched, first, rows) if first in patched else self._span
            h, c, part = run(x[first:end], h, c, self._clamps(first, x))
            parts.append(part)
        if self.reverse:
            parts.reverse()
        parts = _with_same_factors(parts)
        quantities: dict[str, Any] = {
            name: torch.cat([getattr(part, name) for part in parts]) for name in present(parts[0])
        }
        return LayerRecord(**quantities, cell_initial=self._recorded(c_0), hidden_initial=h_0)

    @property
    def _is_slstm(self) -> bool:
        return self.variant is not None and self.variant.cell.is_slstm

    def _recorded(self, c: Tensor) -> Tensor:
        """Return a cell state as a record has it: of an sLSTM the average c / n."""
        return slstm_steps.average(c) if self._is_slstm else c

    def _edited(self, c: Tensor, t: int, rows: list[int]) -> Tensor:
        """Return the cell state that step t starts from."""
        for edit in self.change.edits:
            edited = [n for n, row in enumerate(rows) if edit.row in (None, row)]
            if edit.t != t or not edited:
                continue
            before, c = self._recorded(c), c.clone()
            places = np.ix_(edited, edit.units)
            c[places] = edit.value * _normaliser(c)[places] if self._is_slstm else edit.value
            added = (self._recorded(c).double() - before.double()).cpu().numpy()
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

    def _patched(
        self, t: int, rows: list[int], x: Tensor, h: Tensor, c: Tensor, clamps: Tensor | None
    ) -> tuple[Tensor, Tensor, LayerRecord]:
        """Run step t with what is patched in it; rows one by one where they differ in that."""
        step = PatchedStep([patch for patch in self.change.patches if t in patch.steps], t, self._span)
        if step.same_in(rows):
            return step.run(x, h, c, clamps, rows)
        each = [step.run(x[:, n : n + 1], h[n : n + 1], c[n : n + 1], clamps, [row]) for n, row in enumerate(rows)]
        parts = _with_same_factors([part for _, _, part in each])
        quantities: dict[str, Any] = {
            name: torch.cat([getattr(part, name) for part in parts], dim=1) for name in present(parts[0])
        }
        record = LayerRecord(**quantities, cell_initial=c, hidden_initial=h)
        return torch.cat([h for h, _, _ in each]), torch.cat([c for _, c, _ in each]), record

    def _span(self, x: Tensor, h: Tensor, c: Tensor, clamps: Tensor | None) -> tuple[Tensor, Tensor, LayerRecord]:
        """Run steps between two cuts; return the states after the last one, and the record."""
        args, variant, reverse = (x, h, c, self.weights), self.variant, self.reverse
        how = CallOptions(record=True, compute=self.compute)
        part: LayerRecord | None
        if self._is_slstm and clamps is not None:
            return self._by_operations(x, h, c, clamps)
        if self.compute == precision.FULL and not fast_path.takes(x, [h, c, *self.weights.present()]):
            _, h, c, part = fallback.sequence(*args, reverse=reverse, variant=_held(variant, clamps))
        elif clamps is not None:
            _, h, c, part = sequence_held(*args, clamps, reverse=reverse, compute=self.compute, variant=variant)
        elif variant is not None:
            _, h, c, part = variant_fast_path.sequence(*args, how, reverse=reverse, variant=variant)
        else:
            _, h, c, part = fast_path.sequence(*args, how, reverse=reverse)
        assert part is not None
        return h, c, part

    def _by_operations(
        self, x: Tensor, h: Tensor, c: Tensor, clamps: Tensor | None
    ) -> tuple[Tensor, Tensor, LayerRecord]:
        """Run steps of an sLSTM by torch's operations, which hold its gates too."""
        args, run = (x, h, c, self.weights), fallback.sequence
        if self.compute != precision.FULL:
            run = functools.partial(fallback.sequence_in_bf16, kept=precision.kept_type(x, self.compute))
        _, h, c, part = run(*args, reverse=self.reverse, variant=_held(self.variant, clamps))
        return h, c, part


def _with_same_factors(parts: list[LayerRecord]) -> list[LayerRecord]:
    """Return records that all have what a step keeps and writes, if one of them has."""
    return [with_factors(part) for part in parts] if any(part.kept is not None for part in parts) else parts


def _held(variant: Variant | None, clamps: Tensor | None) -> Variant | None:
    """Return the cell with gates held."""
    return variant if clamps is None else Variant(CellSpec() if variant is None else variant.cell, clamps=clamps)


def _normaliser(c: Tensor) -> Tensor:
    """Return n of the cell states of an sLSTM, (B, H).

    Raises:
        GatewrightError: if one is 0.
    """
    _, n, _ = slstm_steps.parts(c)
    if not n.all():
        expected = "a step before which an sLSTM has read something"
        raise GatewrightError("edit_cell", expected, "the first step, before which its cell state has no weight")
    return n
