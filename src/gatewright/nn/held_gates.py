"""A layer with gates held at a value, by the kernels."""

from __future__ import annotations

import torch
from torch import Tensor

from gatewright.nn import fallback, ops
from gatewright.nn.record import LayerRecord
from gatewright.spec.cell import LayerWeights


def sequence_held(
    x: Tensor, h_0: Tensor, c_0: Tensor, weights: LayerWeights, clamps: Tensor, *, reverse: bool = False
) -> tuple[Tensor, Tensor, Tensor, LayerRecord]:
    """Run one layer in one direction with gates held, step by step, and record every step.

    The kernels hold no gates: each step runs by itself, what is held is put into its gates, and what follows from
    that is worked out again.  So the gates of units that are not held, and without a projection their states too,
    have the bits of the kernels.

    Args:
        x: input, (T, B, D) with T >= 1.
        h_0: as for `gatewright.nn.ops.sequence`.
        c_0: as for `gatewright.nn.ops.sequence`.
        weights: as for `gatewright.nn.ops.sequence`.
        clamps: values at which gates are held, (4, H), as for `gatewright.nn.fallback.sequence`.
        reverse: as for `gatewright.nn.ops.sequence`.

    Returns:
        What `gatewright.nn.ops.sequence` does with ``record=True``.

    >>> weights = LayerWeights(W_ih=torch.zeros(8, 3), W_hh=torch.zeros(8, 2))
    >>> clamps = torch.full((4, 2), torch.nan)
    >>> clamps[1, 0] = 1.0  # the forget gate of unit 0
    >>> x, h_0, c_0 = torch.ones(3, 1, 3), torch.zeros(1, 2), torch.ones(1, 2)
    >>> sequence_held(x, h_0, c_0, weights, clamps)[3].cell[:, 0]
    tensor([[1.0000, 0.5000],
            [1.0000, 0.2500],
            [1.0000, 0.1250]])
    """
    i_held, f_held, g_held, o_held = ~clamps.isnan()
    c_changes = i_held | f_held | g_held
    h_changes = c_changes | o_held
    steps: list[tuple[Tensor, ...]] = []
    h, c = h_0, c_0
    for t in reversed(range(len(x))) if reverse else range(len(x)):
        y, _, c_plain, plain = ops.sequence(x[t : t + 1], h, c, weights, record=True)
        assert plain is not None
        recorded = (plain.input_gate[0], plain.forget_gate[0], plain.candidate[0], plain.output_gate[0])
        gates = fallback.held(recorded, clamps)
        c_held, h_held = fallback.next_state(gates, c, weights.W_hr)
        c = torch.where(c_changes, c_held, c_plain)
        h = torch.where(h_changes, h_held, y[0]) if weights.W_hr is None else h_held
        steps.append((*gates, c, h))
    if reverse:
        steps.reverse()
    i, f, g, o, cells, y = (torch.stack(column) for column in zip(*steps, strict=True))
    return y, h, c, LayerRecord(i, f, g, o, cells, y, cell_initial=c_0, hidden_initial=h_0)
