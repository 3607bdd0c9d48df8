"""The fast path of a layer whose cell is not the plain one: by the kernels, with what its ledger needs."""

from __future__ import annotations

import torch
from torch import Tensor

from gatewright.nn import _torch_private, autograd, kernel_cell, transforms
from gatewright.nn.call import Call, CallOptions
from gatewright.nn.extras import Extras
from gatewright.nn.kernel_record import record_of
from gatewright.nn.record import LayerRecord
from gatewright.nn.variant import expanded
from gatewright.nn.variant_steps import Variant
from gatewright.spec.cell import LayerWeights

_WHOLE, _DEFAULT = Extras(), CallOptions()


def sequence(
    x: Tensor,
    h_0: Tensor,
    c_0: Tensor,
    weights: LayerWeights,
    how: CallOptions = _DEFAULT,
    *,
    variant: Variant,
    reverse: bool = False,
    extras: Extras = _WHOLE,
) -> tuple[Tensor, Tensor, Tensor, LayerRecord | None]:
    """Run one layer in one direction, by the kernels.

    Equations: those of `gatewright.equations.variants`.

    Args:
        x: as for `gatewright.nn.fast_path.sequence`, as are h_0, c_0 and the options that are not named here.
        h_0: hidden state before the first step.
        c_0: cell state before the first step.
        weights: of the gates that the cell has.
        how: what all layers and directions have in common; the arithmetic "full" or one of bf16.
        variant: the cell, and its random choices.
        reverse: whether to read x from its last step to its first.
        extras: steps and resets that rows have for themselves.

    Returns:
        What `gatewright.nn.fast_path.sequence` does.

    Raises:
        GatewrightError: if sizes do not fit.

    >>> from gatewright.spec import CellSpec
    >>> weights = LayerWeights(W_ih=torch.zeros(6, 3), W_hh=torch.zeros(6, 2))
    >>> x, h_0, c_0 = torch.ones(5, 1, 3), torch.zeros(1, 2), torch.ones(1, 2)
    >>> sequence(x, h_0, c_0, weights, variant=Variant(CellSpec(coupled=True, bias=False)))[2]
    tensor([[0.0312, 0.0312]])
    """
    batch_sizes, record, checkpoint, compute = how
    cell, draws = variant.cell, variant.draws
    four = expanded(weights, cell)
    if record or (cell.zoneout_hidden and x.dtype == torch.bfloat16):  # whose y, the checkpoint of h, is rounded
        checkpoint = 0
    draws = draws if any(cell.rates()[1:]) else None
    seed, row_ids = (None, None) if draws is None else (draws.seed, draws.row_ids)
    extras = extras._replace(rates=cell.rates(), seed=seed, row_ids=row_ids)
    given = four.present()
    rates, place = tuple(extras.rates), kernel_cell.place_of(draws)
    call = Call(cell.code(), len(given), reverse, checkpoint, compute, rates, place, keep=record)
    tensors = (x, h_0, c_0, *given, *extras.tensors())
    run = transforms.layer if _torch_private.in_transform(*tensors) else autograd.layer
    results = run(call, batch_sizes, *tensors)
    y, h_n, c_n, kept, cells = results
    assert y is not None
    assert h_n is not None
    assert c_n is not None
    if not record:
        return y, h_n, c_n, None
    assert kept is not None
    assert cells is not None
    kept_by_pass, states = (y, kept, cells), (h_0, c_0)
    record_of_pass = record_of(
        variant, kept_by_pass, states, compute, reverse=reverse, batch_sizes=batch_sizes, extras=extras
    )
    return y, h_n, c_n, record_of_pass
