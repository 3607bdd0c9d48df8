"""The adjoint of the operators as an operation of its own, which has derivatives, and a rule for batches of calls.

The kernels run it also where it is differentiated later, and under `torch.func`.  Its own derivatives, the second
ones of the layer, are torch operations, step by step, and so is all of it where a tensor has a tangent.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import forward_ad

from gatewright.nn import (
    _torch_private,
    batched_calls,
    fallback,
    kernel_cell,
    operators,
    precision,
    sample_weights,
    slow_path,
    slstm_kept,
)
from gatewright.nn.call import BEFORE_X, KEPT, OF_RESULTS, Call
from gatewright.spec.cell import LayerWeights

_PLAIN = {Tensor, torch.nn.Parameter, type(None)}


def direct(*tensors: Tensor | None) -> bool:
    """Whether nothing intercepts torch's dispatcher, so that the kernels may be called without it: 50 µs less."""
    return (
        not torch.compiler.is_compiling()
        and _torch_private.nothing_intercepts()
        and _PLAIN.issuperset(map(type, tensors))
    )


def differentiable(*tensors: Tensor | None) -> bool:
    """Whether a backward pass may follow."""
    return torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in tensors)


def have_tangents(*tensors: Any) -> bool:
    """Whether a tensor may have a tangent: one has, or a transform hides it."""
    if torch.compiler.is_compiling() or not _torch_private.in_forward_mode():
        return False
    if _torch_private.in_transform(*tensors):
        return True
    return any(isinstance(each, Tensor) and forward_ad.unpack_dual(each).tangent is not None for each in tensors)


def functionalized(*tensors: Any) -> bool:
    """Whether the transform is one that takes no `torch.autograd.Function`."""
    return _torch_private.in_transform(*tensors) and _torch_private.in_functionalization()


def gradients_of(call: Call, saved: Sequence[Any], d: Sequence[Tensor | None], needs: Sequence[bool]) -> list[Any]:
    """Return the adjoints of x, h_0, c_0, the weights, h_reset and c_reset: None where one is not needed.

    Args:
        call: what the forward pass was.
        saved: batch_sizes, what the forward pass kept, then x and what follows it as in the operator.
        d: of what the forward pass gave.
        needs: whether each is needed; those of h_reset and c_reset may be left out where these are None.

    Raises:
        GatewrightError: if the forward pass was in int8.
    """
    if call.compute == precision.INT8:
        precision.refuse_gradient()
    batch_sizes, *tensors = saved
    inputs = tensors[KEPT:]
    needs = [*needs, False, False][: 5 + call.weights]
    need_x, _, _, *more = needs
    call = dataclasses.replace(call, need_x=need_x, need_weights=any(more[: call.weights]))
    gradients: Sequence[Tensor | None]
    batched = _torch_private.in_batched_gradient(d)
    if (
        have_tangents(*d, *inputs)
        or functionalized(*d, *inputs)
        or (batched and (torch.is_grad_enabled() or _has_extras(call, inputs)))
    ):
        gradients = by_steps(call, batch_sizes, d, inputs)
    elif batched:
        gradients = _of_batch(call, batch_sizes, d, tensors)
    else:
        gradients = adjoint(call, batch_sizes, *d, *tensors)
    return [gradient if need else None for gradient, need in zip(gradients, needs, strict=False)]


def _has_extras(call: Call, inputs: Sequence[Any]) -> bool:
    return call.split(inputs[3:])[1].in_use()


def adjoint(call: Call, batch_sizes: Tensor | None, *tensors: Any) -> Sequence[Tensor | None]:
    """Return the adjoints of x, h_0, c_0, the weights, h_reset, c_reset, and of the gates before activation.

    They are None where they are not wanted.

    Args:
        call: which call, and which adjoints.
        batch_sizes: rows of each step, of packed steps.
        tensors: adjoints of y, h_n, c_n, gates and cell states; y, gates and cell states as they were kept; x and
            what follows it as in the operator.
    """
    if _torch_private.in_transform(*tensors) or differentiable(*tensors[:OF_RESULTS], *tensors[BEFORE_X:]):
        results: Sequence[Tensor | None] = Adjoint.apply(call, batch_sizes, *tensors)
        return results
    return _by_kernels(call, batch_sizes, *tensors)


def _by_kernels(call: Call, batch_sizes: Tensor | None, *tensors: Any) -> tuple[Tensor | None, ...]:
    y, *kept = tensors[OF_RESULTS:BEFORE_X]
    x, h_0, c_0, *rest = tensors[BEFORE_X:]
    weights, extras = call.split(rest)
    needs = [int(call.need_x), int(call.need_weights)]
    options = [int(call.reverse), call.checkpoint, *needs, call.compute, *call.place]
    d, inputs = tensors[:OF_RESULTS], [x, h_0, c_0]
    kept = [y, *(y.new_empty(0) if each is None else each.contiguous() for each in kept)]
    dpre = None
    if call.need_gates:
        dpre = torch.zeros_like(kept[1], memory_format=torch.contiguous_format)
        of_kernels = operators.BackwardCall.of(call.cell, batch_sizes, options, extras).into_gates(dpre)
        dx, dh_0, dc_0, dW = of_kernels.run(d, inputs, weights, kept)
    else:
        run = operators.lstm_backward_kernel if direct(*tensors, batch_sizes) else operators.lstm_backward
        dx, dh_0, dc_0, dW = run(
            list(d), inputs, weights, call.cell, batch_sizes, kept, options, *extras.present()
        )
    more = iter(dW)
    of_weights = [next(more) if call.need_weights else None for _ in weights]
    of_state = [None if state is None else next(more) for state in (extras.h_reset, extras.c_reset)]
    return (dx if call.need_x else None, dh_0, dc_0, *of_weights, *of_state, dpre)


class Adjoint(torch.autograd.Function):
    """The adjoint by the kernels, with derivatives by torch's operations, and a rule for `torch.func.vmap`."""

    @staticmethod
    def forward(call: Call, batch_sizes: Tensor | None, *tensors: Any) -> Any:
        """Run the kernels; arguments and results are those of `adjoint`."""
        return _by_kernels(call, batch_sizes, *tensors)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], _output: Any) -> None:
        """Keep what the derivative needs: it computes anew what the forward pass had kept."""
        ctx.call, batch_sizes, *tensors = inputs
        ctx.save_for_backward(batch_sizes, *tensors[:OF_RESULTS], *tensors[BEFORE_X:])
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, *second: Tensor | None) -> tuple[Any, ...]:
        """Return the derivatives of the adjoint, which are the second ones of the layer."""
        slow_path.say("Second derivatives")
        call, (batch_sizes, *tensors) = ctx.call, ctx.saved_tensors
        needs = ctx.needs_input_grad[2:]
        needs = [*needs[:OF_RESULTS], *needs[BEFORE_X:]]
        chosen = [n for n, need in enumerate(needs) if need and tensors[n] is not None]
        wanted = [n for n, each in enumerate(second) if each is not None]

        def first(*values: Tensor) -> list[Tensor | None]:
            replaced = dict(zip(chosen, values, strict=True))
            all_values = [replaced.get(n, each) for n, each in enumerate(tensors)]
            gradients = by_steps(call, batch_sizes, all_values[:OF_RESULTS], all_values[OF_RESULTS:])
            return [gradients[n] for n in wanted]

        gradients: list[Tensor | None] = [None] * len(tensors)
        if chosen and wanted:
            found = vector_jacobian(first, [tensors[n] for n in chosen], [second[n] for n in wanted])
            for n, gradient in zip(chosen, found, strict=True):
                gradients[n] = gradient
        return (None, None, *gradients[:OF_RESULTS], *[None] * KEPT, *gradients[OF_RESULTS:])

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], call: Call, batch_sizes: Tensor | None, *tensors: Any) -> Any:
        """Run a batch of calls: as one where they have the same weights, of which no adjoint is wanted."""
        axes = [-2] * BEFORE_X + call.row_axes()
        batch = batched_calls.Batch(info.batch_size, batch_sizes, tensors, in_dims[2:], axes)
        run = functools.partial(adjoint, call)
        rest = tensors[BEFORE_X + 3 :]
        by_gates = call.need_weights and sample_weights.fit(call)
        folds = batch.folds() and call.folds(rest) and not call.checkpoint
        if not folds or (call.need_weights and not by_gates):
            return batched_calls.one_by_one(run, batch)
        rows = batch.rows(BEFORE_X + 1)
        batch = batch._replace(tensors=call.numbered(tensors, rows))
        as_one = (
            functools.partial(sample_weights.as_one, call, adjoint)
            if by_gates
            else functools.partial(batched_calls.as_one, run)
        )
        if any(dim is not None for dim in batch.dims[OF_RESULTS:BEFORE_X]):
            return as_one(batch)
        # What was kept is that of all calls, and each that is made as one with others takes a copy of it.
        return batched_calls.in_parts(as_one, batch, rows)


def by_steps(
    call: Call, batch_sizes: Tensor | None, d: Sequence[Tensor | None], inputs: Sequence[Any]
) -> list[Tensor | None]:
    """Return what `adjoint` does as a graph of torch operations, to differentiate further."""
    wanted = [call.need_x, True, True, *[call.need_weights] * call.weights, True, True]
    chosen = [n for n, want in enumerate(wanted) if want and inputs[n] is not None]
    read = [n for n, each in enumerate(d) if each is not None]
    values = [inputs[n] for n in chosen]
    if call.need_gates:
        chosen.append(len(wanted))
        values.append(inputs[0].new_zeros(*inputs[0].shape[:-1], inputs[3].shape[0]))

    def results(*values: Tensor) -> list[Tensor]:
        replaced = dict(zip(chosen, values, strict=True))
        to_gates = replaced.pop(len(wanted), None)
        values_of_all = [replaced.get(n, each) for n, each in enumerate(inputs)]
        outputs = _outputs_by_steps(call, batch_sizes, values_of_all, to_gates)
        return [outputs[n] for n in read]

    gradients: list[Tensor | None] = [None] * (len(wanted) + 1)
    if read:
        found = vector_jacobian(results, values, [d[n] for n in read])
        for n, gradient in zip(chosen, found, strict=True):
            gradients[n] = gradient
    return gradients


def _outputs_by_steps(
    call: Call, batch_sizes: Tensor | None, inputs: Sequence[Any], to_gates: Tensor | None = None
) -> list[Tensor]:
    """Return y, h_n, c_n, gates and cell states as the operator gives them, by torch's operations.

    ``to_gates`` is added to the gates before activation.
    """
    x, h_0, c_0, *rest = inputs
    weights, extras = call.split(rest)
    if to_gates is not None:
        present = extras.steps_present(len(x))
        if present is not None:  # elsewhere x is not read, and may be anything
            x = torch.where(present[..., None], x, 0.0)
        x = F.linear(x, weights[0]) + to_gates
        weights[0] = torch.eye(weights[0].shape[0], dtype=x.dtype, device=x.device)
    layer = LayerWeights.of(call.cell, weights)
    variant = kernel_cell.variant_of(call.cell, layer, extras.rates, extras.seed, extras.row_ids, call.place)
    if variant is not None:
        layer = kernel_cell.present_gates(layer, variant.cell)
    place = None
    if batch_sizes is not None:
        present = torch.arange(int(batch_sizes[0]), device=batch_sizes.device) < batch_sizes[:, None]
        extras = extras._replace(lengths=present.sum(0))
        place = present.flatten().nonzero().squeeze(1)
        x = x.new_zeros(present.numel(), x.shape[-1]).index_copy(0, place, x).unflatten(0, tuple(present.shape))
    options: dict[str, Any] = {"reverse": bool(call.reverse), "variant": variant}
    if extras.has_steps():
        options["extras"] = extras
    if call.compute == precision.FULL:
        y, h_n, c_n, record = fallback.sequence(x, h_0, c_0, layer, **options)
    else:
        kept = precision.kept_type(x, call.compute)
        y, h_n, c_n, record = fallback.sequence_in_bf16(x, h_0, c_0, layer, kept=kept, **options)
    gates = torch.cat([record.input_gate, record.forget_gate, record.candidate, record.output_gate], dim=-1)
    outputs = [y, h_n, c_n, gates, record.cell]
    if place is not None:
        for n in (0, 3, 4):
            outputs[n] = outputs[n].flatten(0, 1).index_select(0, place)
    if layer.w_ln is not None:
        outputs[3] = kernel_cell.joined_kept(outputs[3])
    if variant is not None and variant.cell.is_slstm:
        share, keep, z, o = outputs[3].chunk(4, dim=-1)
        outputs[3:] = slstm_kept.as_kept((share, keep, z, o), outputs[4], len(h_0))
    return outputs


def vector_jacobian(
    function: Callable[..., Sequence[Tensor | None]], values: Sequence[Tensor], d: Sequence[Tensor | None]
) -> Sequence[Tensor | None]:
    """Return the adjoints of what a function reads, given those of its results; differentiable where that counts.

    The function gets other tensors of the same values: where one is computed from another, each adjoint is of that
    one alone.
    """
    if _torch_private.in_transform(*values, *d):
        pull = torch.func.vjp(lambda *given: tuple(function(*given)), *values)[1]
        found: Sequence[Tensor | None] = pull(tuple(d))
        return found
    graph = torch.is_grad_enabled()
    with torch.enable_grad():
        aliases = [each.view_as(each) if graph and each.requires_grad else each.detach() for each in values]
        for alias in aliases:
            alias.requires_grad_()
        pairs = [(out, each) for out, each in zip(function(*aliases), d, strict=True) if out is not None]
        pairs = [(out, each) for out, each in pairs if out.requires_grad]
        if not pairs:
            return [None] * len(values)
        outputs, adjoints = zip(*pairs, strict=True)
        return torch.autograd.grad(outputs, aliases, adjoints, create_graph=graph, allow_unused=True)


def _of_batch(
    call: Call, batch_sizes: Tensor | None, d: Sequence[Tensor | None], tensors: Sequence[Tensor]
) -> list[Tensor | None]:
    """Return what `adjoint` does where ``d`` stands for the adjoints of a batch of gradients.

    torch runs an operator for each of them, but none that takes or gives lists: what is saved goes in one tensor.
    """
    y, gates, cells, x, h_0, c_0, *weights = tensors[: KEPT + 3 + call.weights]
    gates, cells = (y.new_empty(0) if each is None else each for each in (gates, cells))
    saved = [x, h_0, c_0, y, gates, cells, *weights]
    sizes = [size for tensor in saved for size in (tensor.dim(), *tensor.shape)]
    flat = torch.cat([tensor.reshape(-1) for tensor in saved])
    needs = [int(call.need_x), int(call.need_weights)]
    options = [call.cell, int(call.reverse), call.checkpoint, *needs, call.compute, *sizes]
    gradient = operators.lstm_backward_flat(*d, flat, batch_sizes, options)
    wanted = [call.need_x, True, True, *[call.need_weights] * len(weights)]
    of = [tensor for tensor, want in zip((x, h_0, c_0, *weights), wanted, strict=True) if want]
    parts = iter(gradient.split([tensor.numel() for tensor in of]))
    gradients = [
        next(parts).view(tensor.shape).to(tensor.dtype) if want else None
        for tensor, want in zip((x, h_0, c_0, *weights), wanted, strict=True)
    ]
    return [*gradients, None, None]
