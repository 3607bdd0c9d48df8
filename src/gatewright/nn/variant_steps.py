"""One step of the general cell as differentiable torch operations: that of `gatewright.equations.variants`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from gatewright import counter_random
from gatewright.nn import slstm_steps
from gatewright.nn.random_masks import Draws
from gatewright.spec.cell import LAYER_NORM_EPSILON, CellSpec, LayerWeights

#: From step, hidden state and cell state to i, f, g, o, c and h, and then to the factors of the ledger, where they
#: are not f and i g.
Advance = Callable[[int, Tensor, Tensor], tuple[Tensor, ...]]
Operand = Callable[[Tensor], Tensor]

_READING = ("input_gate", "forget_gate", "output_gate")


@dataclass(frozen=True)
class Variant:
    """A cell that is not plain, its random choices, and gates that are held.

    Attributes:
        cell: the cell.
        draws: the random choices of a training; None outside of training.
        clamps: values at which gates are held at every step, (4, H), in the order of the gates, after activation;
            NaN where one is not; of a coupled cell, the input gate follows the held forget gate.  None holds none.
    """

    cell: CellSpec
    draws: Draws | None = None
    clamps: Tensor | None = None

    def steps(self, x: Tensor, weights: LayerWeights, operand: Operand) -> Advance:
        """Return the function that advances by one step.

        Args:
            x: input of all steps, (T, B, D).
            weights: of the gates that the cell has.
            operand: what is done to the operands of products.
        """
        masks, clamps = self._masks(x, weights), self.clamps
        if self.cell.is_slstm:
            from_input = F.linear(operand(x), operand(weights.W_ih), _bias(weights)).unbind(0)
            mask = masks["hidden"][0] if masks else None
            return slstm_steps.Steps(self.cell, from_input, operand(weights.W_hh), mask, clamps, operand).advance
        return _Steps(self.cell, x, weights, masks, clamps, operand).advance

    def _masks(self, x: Tensor, weights: LayerWeights) -> dict[str, Tensor]:
        """Return the random choices of all steps by name, (T, B, H); none outside of training."""
        if self.draws is None:
            return {}
        cell, draws, (T, B, _) = self.cell, self.draws, x.shape
        H, P, masks = weights.hidden_size, weights.output_size, {}
        if cell.zoneout_cell:
            hit = draws.hit(cell.zoneout_cell, counter_random.ZONEOUT_CELL, T, B, H)
            masks["zoneout_cell"] = hit.to(x.device)
        if cell.zoneout_hidden:
            hit = draws.hit(cell.zoneout_hidden, counter_random.ZONEOUT_HIDDEN, T, B, H)
            masks["zoneout_hidden"] = hit.to(x.device)
        if cell.candidate_dropout:
            purpose = counter_random.CANDIDATE_DROPOUT
            masks["candidate"] = draws.scaled(cell.candidate_dropout, purpose, T, B, H, x)
        if cell.hidden_dropout:
            whole = draws._replace(first_step=0)
            masks["hidden"] = whole.scaled(cell.hidden_dropout, counter_random.HIDDEN_DROPOUT, 1, B, P, x)
        return masks


class _Steps:
    """The steps of one layer in one direction: what all of them share, and the lines of one."""

    def __init__(
        self,
        cell: CellSpec,
        x: Tensor,
        weights: LayerWeights,
        masks: dict[str, Tensor],
        clamps: Tensor | None,
        operand: Operand,
    ) -> None:
        self.cell, self.weights, self.masks, self.operand = cell, weights, masks, operand
        self.bias = _bias(weights)
        bias = None if cell.layer_norm else self.bias
        self.from_input = F.linear(operand(x), operand(weights.W_ih), bias).unbind(0)
        self.W_hh = operand(weights.W_hh).t()
        self.W_hr = None if weights.W_hr is None else operand(weights.W_hr)
        reading = [name for name in cell.gates() if name in _READING] if cell.peephole else []
        self.w_c = dict(zip(reading, weights.w_ch.chunk(len(reading)), strict=True)) if reading else {}
        self.held = {} if clamps is None else dict(zip(CellSpec().gates(), clamps, strict=True))

    def advance(self, t: int, h: Tensor, c: Tensor) -> tuple[Tensor, ...]:
        """Advance by step t."""
        cell, masks = self.cell, self.masks
        z = self._sums(t, h)
        f = self._gate("forget_gate", z, c)
        i = self._as_held("input_gate", 1 - f) if cell.coupled else self._gate("input_gate", z, c)
        g = self._as_held("candidate", activated(cell.candidate_activation, z["candidate"]))
        g = g * masks["candidate"][t] if "candidate" in masks else g
        unclipped = torch.addcmul(f * c, i, g)
        clipped = unclipped.clamp(-cell.cell_clip, cell.cell_clip) if cell.cell_clip else unclipped
        hit_c, hit_h = (masks[name][t] if name in masks else None for name in ("zoneout_cell", "zoneout_hidden"))
        c_next = zoned(c, clipped, cell.zoneout_cell, hit_c)
        o = self._gate("output_gate", z, c_next)
        m = o * activated(cell.output_activation, self._shown(c_next))
        h_next = m if self.W_hr is None else F.linear(self.operand(m), self.W_hr)
        h_next = zoned(h, h_next, cell.zoneout_hidden, hit_h)
        if not (cell.cell_clip or cell.zoneout_cell):
            return i, f, g, o, c_next, h_next
        one, none, whole = torch.ones_like(c), torch.zeros_like(c), clipped == unclipped
        share = torch.where(whole, one, clipped / torch.where(whole, one, unclipped))
        factors = [zoned(a, share * b, cell.zoneout_cell, hit_c) for a, b in ((one, f), (none, i * g))]
        return i, f, g, o, c_next, h_next, *factors

    def _sums(self, t: int, h: Tensor) -> dict[str, Tensor]:
        """Return each gate before peepholes and activation."""
        cell, weights = self.cell, self.weights
        G, H = len(cell.gates()), weights.hidden_size
        read = h * self.masks["hidden"][0] if "hidden" in self.masks else h
        sums = torch.addmm(self.from_input[t], self.operand(read), self.W_hh)
        if cell.layer_norm:
            normal = F.layer_norm(sums.unflatten(1, (G, H)), (H,), eps=LAYER_NORM_EPSILON).flatten(1)
            sums = normal * weights.w_ln if self.bias is None else torch.addcmul(self.bias, normal, weights.w_ln)
        return dict(zip(cell.gates(), sums.chunk(G, dim=1), strict=True))

    def _gate(self, name: str, z: dict[str, Tensor], c: Tensor) -> Tensor:
        """Return a gate that reads the cell state through its peepholes; 1 where the cell does not have it."""
        if name not in z:
            return self._as_held(name, torch.ones_like(c))
        sums = torch.addcmul(z[name], self.w_c[name], c) if name in self.w_c else z[name]
        return self._as_held(name, activated(self.cell.gate_activation, sums))

    def _as_held(self, name: str, gate: Tensor) -> Tensor:
        return torch.where(self.held[name].isnan(), gate, self.held[name]) if name in self.held else gate

    def _shown(self, c: Tensor) -> Tensor:
        """Return what the output reads of the cell state, before its activation."""
        if not self.cell.layer_norm:
            return c
        weights = self.weights
        return F.layer_norm(c, c.shape[-1:], weights.w_ln_cell, weights.b_ln_cell, LAYER_NORM_EPSILON)


def _bias(weights: LayerWeights) -> Tensor | None:
    """Return the sum of the biases that are there."""
    biases = [b for b in (weights.b_ih, weights.b_hh) if b is not None]
    return sum(biases[1:], biases[0]) if biases else None


def activated(name: str, z: Tensor) -> Tensor:
    """Return an activation of `gatewright.spec.cell`.

    >>> activated("hard_sigmoid", torch.tensor([-4.0, 0.0, 1.5]))
    tensor([0.0000, 0.5000, 0.7500])
    """
    if name == "sigmoid":
        return z.sigmoid()
    if name == "tanh":
        return z.tanh()
    if name == "hard_sigmoid":
        return (z / 6 + 0.5).clamp(0, 1)
    return z.clamp(-1, 1) if name == "hard_tanh" else z


def zoned(before: Tensor, after: Tensor, rate: float, hit: Tensor | None) -> Tensor:
    """Return a state after zoneout: the previous one where a unit is met, or without that the expectation."""
    if not rate:
        return after
    return rate * before + (1 - rate) * after if hit is None else torch.where(hit, before, after)
