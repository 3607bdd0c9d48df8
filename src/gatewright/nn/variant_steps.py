"""One step of the general cell as differentiable torch operations: that of `gatewright.equations.variants`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from gatewright import counter_random
from gatewright.nn.random_masks import Draws
from gatewright.spec.cell import LAYER_NORM_EPSILON, CellSpec, LayerWeights

#: From step, hidden state and cell state to i, f, g, o, c and h, and then to the factors of the ledger, where they
#: are not f and i g.
Advance = Callable[[int, Tensor, Tensor], tuple[Tensor, ...]]
Operand = Callable[[Tensor], Tensor]

_READING = ("input_gate", "forget_gate", "output_gate")


@dataclass(frozen=True)
class Variant:
    """A cell that is not plain, and its random choices.

    Attributes:
        cell: the cell.
        draws: the random choices of a training; None outside of training.
    """

    cell: CellSpec
    draws: Draws | None = None

    def steps(self, x: Tensor, weights: LayerWeights, clamps: Tensor | None, operand: Operand) -> Advance:
        """Return the function that advances by one step.

        Args:
            x: input of all steps, (T, B, D).
            weights: of the gates that the cell has.
            clamps: values at which gates are held, (4, H), NaN where they are not; of a coupled cell, the input
                gate follows the held forget gate.
            operand: what is done to the operands of products.
        """
        cell, masks = self.cell, self._masks(x, weights)
        biases = [b for b in (weights.b_ih, weights.b_hh) if b is not None]
        bias = sum(biases[1:], biases[0]) if biases else None
        G, H = len(cell.gates()), weights.hidden_size
        from_input = F.linear(operand(x), operand(weights.W_ih), None if cell.layer_norm else bias).unbind(0)
        W_hh = operand(weights.W_hh).t()
        W_hr = None if weights.W_hr is None else operand(weights.W_hr)
        reading = [name for name in cell.gates() if name in _READING] if cell.peephole else []
        w_c = dict(zip(reading, weights.w_ch.chunk(len(reading)), strict=True)) if reading else {}
        held = {} if clamps is None else dict(zip(CellSpec().gates(), clamps, strict=True))

        def gate(name: str, z: dict[str, Tensor], c: Tensor) -> Tensor:
            if name not in z:
                return _held(name, torch.ones_like(c), held)
            pre = torch.addcmul(z[name], w_c[name], c) if name in w_c else z[name]
            return _held(name, activated(cell.gate_activation, pre), held)

        def advance(t: int, h: Tensor, c: Tensor) -> tuple[Tensor, ...]:
            read = h * masks["hidden"][0] if "hidden" in masks else h
            pre = torch.addmm(from_input[t], operand(read), W_hh)
            if cell.layer_norm:
                normal = F.layer_norm(pre.unflatten(1, (G, H)), (H,), eps=LAYER_NORM_EPSILON).flatten(1)
                pre = normal * weights.w_ln if bias is None else torch.addcmul(bias, normal, weights.w_ln)
            z = dict(zip(cell.gates(), pre.chunk(G, dim=1), strict=True))
            f = gate("forget_gate", z, c)
            i = _held("input_gate", 1 - f, held) if cell.coupled else gate("input_gate", z, c)
            g = _held("candidate", activated(cell.candidate_activation, z["candidate"]), held)
            g = g * masks["candidate"][t] if "candidate" in masks else g
            unclipped = torch.addcmul(f * c, i, g)
            clip = cell.cell_clip
            clipped = unclipped.clamp(-clip, clip) if clip else unclipped
            hit_c, hit_h = (
                masks[name][t] if name in masks else None for name in ("zoneout_cell", "zoneout_hidden")
            )
            c_next = zoned(c, clipped, cell.zoneout_cell, hit_c)
            o = gate("output_gate", z, c_next)
            shown = c_next
            if cell.layer_norm:
                shown = F.layer_norm(c_next, (H,), weights.w_ln_cell, weights.b_ln_cell, LAYER_NORM_EPSILON)
            m = o * activated(cell.output_activation, shown)
            h_next = zoned(h, m if W_hr is None else F.linear(operand(m), W_hr), cell.zoneout_hidden, hit_h)
            if not (clip or cell.zoneout_cell):
                return i, f, g, o, c_next, h_next
            share = torch.where(clipped == unclipped, torch.ones_like(c), clipped / unclipped)
            one, none = torch.ones_like(c), torch.zeros_like(c)
            factors = [zoned(a, share * b, cell.zoneout_cell, hit_c) for a, b in ((one, f), (none, i * g))]
            return i, f, g, o, c_next, h_next, *factors

        return advance

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


def _held(name: str, gate: Tensor, held: dict[str, Tensor]) -> Tensor:
    return torch.where(held[name].isnan(), gate, held[name]) if name in held else gate
