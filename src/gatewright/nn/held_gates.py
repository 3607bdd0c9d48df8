"""A layer with gates held at a value, by the kernels."""

from __future__ import annotations

from torch import Tensor

from gatewright.nn import adjoint, fallback, fast_path, kernel_cell, operators, slow_path
from gatewright.nn.precision import FULL, kept_type
from gatewright.nn.record import LayerRecord
from gatewright.nn.variant import expanded
from gatewright.nn.variant_steps import Variant
from gatewright.spec.cell import LayerWeights


def sequence_held(
    x: Tensor,
    h_0: Tensor,
    c_0: Tensor,
    weights: LayerWeights,
    clamps: Tensor,
    *,
    reverse: bool = False,
    compute: int = FULL,
    variant: Variant | None = None,
) -> tuple[Tensor, Tensor, Tensor, LayerRecord]:
    """Run one layer in one direction with gates held, and record every step.

    For gradients the steps run one by one, by torch's operations.

    Args:
        x: input, (T, B, D) with T >= 1.
        h_0: as for `gatewright.nn.fast_path.sequence`.
        c_0: as for `gatewright.nn.fast_path.sequence`.
        weights: as for `gatewright.nn.fast_path.sequence`.
        clamps: values at which gates are held, (4, H), as for `gatewright.nn.fallback.sequence`; float32 in bf16.
        reverse: as for `gatewright.nn.fast_path.sequence`.
        compute: as for `gatewright.nn.fast_path.sequence`.
        variant: the cell, outside of training; None for the plain one.

    Returns:
        What `gatewright.nn.fast_path.sequence` does with ``record=True``.

    Raises:
        GatewrightError: if sizes do not fit.

    >>> import torch
    >>> weights = LayerWeights(W_ih=torch.zeros(8, 3), W_hh=torch.zeros(8, 2))
    >>> clamps = torch.full((4, 2), torch.nan)
    >>> clamps[1, 0] = 1.0  # the forget gate of unit 0
    >>> x, h_0, c_0 = torch.ones(3, 1, 3), torch.zeros(1, 2), torch.ones(1, 2)
    >>> sequence_held(x, h_0, c_0, weights, clamps)[3].cell[:, 0]
    tensor([[1.0000, 0.5000],
            [1.0000, 0.2500],
            [1.0000, 0.1250]])
    """
    tensors = weights.present()
    if adjoint.differentiable(x, h_0, c_0, clamps, *tensors) or fast_path.looked_into(x, (h_0, c_0), tensors):
        slow_path.say("Gradients with gates held")
        if compute == FULL:
            return fallback.sequence(x, h_0, c_0, weights, reverse=reverse, clamps=clamps, variant=variant)
        kept, held = kept_type(x, compute), {"clamps": clamps, "variant": variant}
        return fallback.sequence_in_bf16(x, h_0, c_0, weights, kept=kept, reverse=reverse, **held)
    args = operators.sequence_args(None, reverse, 0, compute)._replace(clamps=operators.dense(clamps)[0])
    if variant is not None:
        cell, weights = variant.cell, expanded(weights, variant.cell)
        args = kernel_cell.cell_args(args, cell.code(), cell.rates(), None, None, ())
    y, h_n, c_n, kept_gates, cells = operators.forward(x, h_0, c_0, weights, args, keep=True)
    assert kept_gates is not None
    assert cells is not None
    if variant is None:
        i, f, g, o = kept_gates.chunk(4, dim=-1)
        return y, h_n, c_n, LayerRecord(i, f, g, o, cells, y, cell_initial=c_0, hidden_initial=h_0)
    record = kernel_cell.record_of(variant, (y, kept_gates, cells), (h_0, c_0), compute, reverse=reverse)
    return y, h_n, c_n, record
