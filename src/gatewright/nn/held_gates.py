"""A layer with gates held at a value, by the kernels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gatewright.nn import adjoint, fallback, fast_path, kernel_cell, operators, slow_path
from gatewright.nn.extras import Extras
from gatewright.nn.kernel_record import record_of
from gatewright.nn.precision import FULL, kept_type
from gatewright.nn.record import LayerRecord
from gatewright.nn.variant import expanded
from gatewright.nn.variant_steps import Variant
from gatewright.spec.cell import CellSpec, LayerWeights


class _Held(NamedTuple):
    """A call, its tensors aside.

    Attributes:
        code: which weights there are, and which cell it is, `CellSpec.code`; of the weights for all four gates.
        cell: the cell, where it is not the plain one.
        reverse: whether it goes from the last step to the first.
        compute: the arithmetic.
    """

    code: int
    cell: CellSpec | None
    reverse: bool
    compute: int

    def by_steps(
        self, clamps: Tensor, x: Tensor, h_0: Tensor, c_0: Tensor, *weights: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, LayerRecord]:
        """Run it by torch's operations."""
        layer = LayerWeights.of(self.code, weights)
        cell = CellSpec() if self.cell is None else self.cell
        layer = kernel_cell.present_gates(layer, cell)
        options: dict[str, Any] = {"reverse": self.reverse, "variant": Variant(cell, clamps=clamps)}
        if self.compute == FULL:
            return fallback.sequence(x, h_0, c_0, layer, **options)
        return fallback.sequence_in_bf16(x, h_0, c_0, layer, kept=kept_type(x, self.compute), **options)

    def rates(self) -> tuple[float, ...]:
        """Return the rates of the cell."""
        return () if self.cell is None else tuple(self.cell.rates())


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

    Second derivatives, those of the values at which gates are held, tangents and transforms take torch's
    operations, step by step.

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
    cell = CellSpec() if variant is None else variant.cell
    layer = expanded(weights, cell)
    code = layer.code if variant is None else cell.code()
    call = _Held(code, None if variant is None else cell, reverse, compute)
    tensors = (x, h_0, c_0, *layer.present())
    if adjoint.differentiable(clamps) or fast_path.looked_into(x, (h_0, c_0, clamps), tensors[3:]):
        slow_path.say("Transforms, and gradients of clamps, with gates held")
        return call.by_steps(clamps, *tensors)
    y, h_n, c_n, kept, cells = _Kernels.apply(call, clamps, *tensors)
    return y, h_n, c_n, record_of(Variant(cell), (y, kept, cells), (h_0, c_0), compute, reverse=reverse)


class _Kernels(torch.autograd.Function):
    """The kernels with their adjoint: y, h_n, c_n, gates and cell states."""

    @staticmethod
    def forward(ctx: Any, call: _Held, clamps: Tensor, *tensors: Tensor) -> Any:
        """Run the kernels."""
        x, h_0, c_0, *weights = tensors
        args = operators.sequence_args(None, call.reverse, 0, call.compute)
        args = kernel_cell.cell_args(args, call.code, call.rates(), None, None, ())
        args = args._replace(clamps=operators.dense(clamps)[0])
        layer = LayerWeights.of(call.code, weights)
        y, h_n, c_n, gates, cells = operators.forward(x, h_0, c_0, layer, args, keep=True)
        ctx.call = call
        ctx.save_for_backward(y, gates, cells, clamps, *tensors)
        ctx.set_materialize_grads(False)
        return y, h_n, c_n, gates, cells

    @staticmethod
    def backward(ctx: Any, *d: Tensor | None) -> tuple[Tensor | None, ...]:
        """Return the adjoints of the tensors that need one."""
        call: _Held = ctx.call
        y, gates, cells, clamps, *tensors = ctx.saved_tensors
        needs = ctx.needs_input_grad[2:]
        gradients: Sequence[Tensor | None]
        if torch.is_grad_enabled():
            slow_path.say("Second derivatives with gates held")
            gradients = _by_steps(call, clamps, tensors, d)
        else:
            options = [int(call.reverse), 0, int(needs[0]), int(any(needs[3:])), call.compute]
            of_kernels = operators.BackwardCall.of(call.code, None, options, Extras(rates=call.rates()))
            weights = tensors[3:]
            *of_inputs, dW = of_kernels.with_clamps(clamps).run(d, tensors[:3], weights, [y, gates, cells])
            no_weights: list[Tensor | None] = [None] * len(weights)
            gradients = [*of_inputs, *(dW or no_weights)]
        return None, None, *(each if need else None for each, need in zip(gradients, needs, strict=True))


def _by_steps(
    call: _Held, clamps: Tensor, tensors: Sequence[Tensor], d: Sequence[Tensor | None]
) -> Sequence[Tensor | None]:
    """Return the adjoints as a graph of torch's operations, to differentiate further."""
    read = [n for n, each in enumerate(d) if each is not None]

    def results(*values: Tensor) -> list[Tensor]:
        y, h_n, c_n, record = call.by_steps(clamps, *values)
        gates = torch.cat([record.input_gate, record.forget_gate, record.candidate, record.output_gate], dim=-1)
        if LayerWeights.of(call.code, values[3:]).w_ln is not None:
            gates = kernel_cell.joined_kept(gates)
        outputs = [y, h_n, c_n, gates, record.cell]
        return [outputs[n] for n in read]

    return adjoint.vector_jacobian(results, tensors, [d[n] for n in read])
