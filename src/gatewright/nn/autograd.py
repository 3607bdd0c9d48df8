"""Autograd of the operators: their adjoint, differentiable any number of times."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from gatewright.nn import _torch_private, fallback, operators, precision
from gatewright.spec.cell import LayerWeights

_PLAIN = {Tensor, torch.nn.Parameter, type(None)}
_NO_EXTRAS = operators.Extras()
_TENSORS = len(_NO_EXTRAS.tensors())


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


class Lstm(torch.autograd.Function):
    """The operator with its adjoint.

    Whether there will be a backward pass is known here, when the operator runs, and not when a program that holds
    it was written down: so this keeps what a backward pass needs, whether the caller wants it too or not.
    """

    @staticmethod
    def forward(
        ctx: Any,
        keys: Any,
        cell: int,
        batch_sizes: Tensor | None,
        options: Any,
        extras: operators.Extras,
        *tensors: Any,
    ) -> Any:
        """Run the operator, and keep what the backward pass needs.

        The tensors are x, h_0, c_0, the weights, h_reset and c_reset.
        """
        ctx.cell, (ctx.reverse, record_wanted, ctx.checkpoint, ctx.compute) = cell, operators.with_compute(options)
        x, h_0, c_0, *weights, h_reset, c_reset = tensors
        extras = extras._replace(h_reset=h_reset, c_reset=c_reset)
        inputs = (x, h_0, c_0, weights, cell, batch_sizes, [ctx.reverse, 1, ctx.checkpoint, ctx.compute])
        results = (
            operators.lstm_kernel(*inputs, *extras.present())
            if keys is None
            else _torch_private.redispatch(operators.lstm, keys, *inputs, *extras.present())
        )
        y, h_n, c_n, gates, cells = results
        ctx.extras = operators.Extras(rates=extras.rates)
        ctx.save_for_backward(batch_sizes, y, gates, cells, x, h_0, c_0, *weights, *extras.tensors())
        ctx.set_materialize_grads(False)  # zeros for gates that no loss reads would be the largest tensor of all
        if not record_wanted:
            gates = cells = None
        elif ctx.checkpoint > 0:
            ctx.mark_non_differentiable(gates, cells)  # nothing to be read: the record keeps all
        return y, h_n, c_n, gates, cells

    @staticmethod
    def backward(ctx: Any, *adjoint: Tensor | None) -> tuple[Tensor | None, ...]:
        """Return the adjoints of the tensors that need one."""
        saved = ctx.saved_tensors  # once: each access runs the hooks that unpack them
        extras = ctx.extras.with_tensors(saved[-_TENSORS:])
        gradients = gradients_of(ctx, saved[:-_TENSORS], adjoint, ctx.needs_input_grad[5:], extras)
        return (None, None, None, None, None, *gradients)


def gradients_of(
    ctx: Any,
    saved: Sequence[Any],
    adjoint: Sequence[Tensor | None],
    needs: Sequence[bool],
    extras: operators.Extras = _NO_EXTRAS,
) -> list[Any]:
    """Return the adjoints of x, h_0, c_0, the weights, h_reset and c_reset: None where one is not needed.

    Args:
        ctx: with cell, reverse, checkpoint and compute as attributes.
        saved: batch_sizes, what the forward pass kept, x, h_0, c_0, and the weights.
        adjoint: of what the forward pass gave.
        needs: whether each is needed; those of h_reset and c_reset may be left out where these are None.
        extras: as the forward pass had them.
    """
    batch_sizes, y, gates, cells, x, h_0, c_0, *weights = saved
    needs = [*needs, False, False][: 5 + len(weights)]
    if torch.is_grad_enabled():  # to be differentiated once more
        return _adjoint_by_steps(ctx, saved, adjoint, needs, extras)
    need_x, _, _, *need_more = needs
    need_weights = any(need_more[: len(weights)])
    if _torch_private.in_batched_gradient(adjoint):
        if extras.in_use():
            return _adjoint_by_steps(ctx, saved, adjoint, needs, extras)
        run: Callable[..., Any] = _of_batch
    else:
        plain = direct(*adjoint, *saved, *extras.tensors())
        run = operators.lstm_backward_kernel if plain else operators.lstm_backward
    options = [ctx.reverse, ctx.checkpoint, int(need_x), int(need_weights), ctx.compute]
    activations = [y, gates, cells]
    dx, dh_0, dc_0, dW = run(
        list(adjoint), [x, h_0, c_0], weights, ctx.cell, batch_sizes, activations, options, *extras.present()
    )
    more = iter(dW)
    gradients = [dx, dh_0, dc_0, *(next(more) if need_weights else None for _ in weights)]
    gradients += [None if state is None else next(more) for state in extras.tensors()[:2]]
    return [gradient if need else None for gradient, need in zip(gradients, needs, strict=True)]


def _of_batch(
    d: Sequence[Tensor | None],
    inputs: Sequence[Tensor],
    weights: Sequence[Tensor],
    cell: int,
    batch_sizes: Tensor | None,
    activations: Sequence[Tensor],
    options: Sequence[int],
) -> tuple[Tensor, Tensor, Tensor, list[Tensor]]:
    """Return what `operators.lstm_backward` does where ``d`` stands for the adjoints of a batch of gradients.

    torch runs an operator for each of them, but none that takes or gives lists: what is saved goes in one tensor.
    """
    saved = [*inputs, *activations, *weights]
    sizes = [size for tensor in saved for size in (tensor.dim(), *tensor.shape)]
    flat = torch.cat([tensor.reshape(-1) for tensor in saved])
    gradient = operators.lstm_backward_flat(*d, flat, batch_sizes, [cell, *options, *sizes])
    differentiated = [*(inputs if options[2] else inputs[1:]), *(weights if options[3] else [])]
    parts = gradient.split([tensor.numel() for tensor in differentiated])
    gradients = [
        part.view(tensor.shape).to(tensor.dtype) for part, tensor in zip(parts, differentiated, strict=True)
    ]
    dx = gradients.pop(0) if options[2] else inputs[0].new_empty(0)
    return dx, gradients[0], gradients[1], gradients[2:]


def _adjoint_by_steps(
    ctx: Any,
    saved: Sequence[Any],
    adjoint: Sequence[Tensor | None],
    needs: Sequence[bool],
    extras: operators.Extras,
) -> list[Tensor | None]:
    """Return the same as a graph of torch operations, to differentiate further."""
    if extras.in_use():
        raise NotImplementedError("second derivatives of steps and variants")
    batch_sizes, _, _, _, *inputs = saved
    states = extras.tensors()[:2]
    differentiated = [tensor for tensor, need in zip([*inputs, *states], needs, strict=True) if need]
    x, h_0, c_0, *weights = inputs
    layer = LayerWeights.of(ctx.cell, weights)
    lengths = place = None
    if batch_sizes is not None:
        present = torch.arange(int(batch_sizes[0]), device=batch_sizes.device) < batch_sizes[:, None]
        lengths, place = present.sum(0), present.flatten().nonzero().squeeze(1)
        x = x.new_zeros(present.numel(), x.shape[-1]).index_copy(0, place, x).unflatten(0, tuple(present.shape))
    by_steps: dict[str, Any] = {"reverse": bool(ctx.reverse), "lengths": lengths}
    if ctx.compute == precision.FULL:
        y, h_n, c_n, record = fallback.sequence(x, h_0, c_0, layer, **by_steps)
    else:
        kept = precision.kept_type(x, ctx.compute)
        y, h_n, c_n, record = fallback.sequence_in_bf16(x, h_0, c_0, layer, kept=kept, **by_steps)
    gates = torch.cat([record.input_gate, record.forget_gate, record.candidate, record.output_gate], dim=-1)
    outputs = [y, h_n, c_n, gates, record.cell]
    if place is not None:
        for n in (0, 3, 4):
            outputs[n] = outputs[n].flatten(0, 1).index_select(0, place)
    read = [(output, d) for output, d in zip(outputs, adjoint, strict=True) if d is not None]
    gradients = iter(
        torch.autograd.grad(
            [output for output, _ in read],
            differentiated,
            [d for _, d in read],
            create_graph=True,
            allow_unused=True,
        )
    )
    return [next(gradients) if need else None for need in needs]


def _with_adjoint(keys: Any, *inputs: Any) -> Any:
    x, h_0, c_0, weights, cell, batch_sizes, options, *more = inputs
    extras = operators.Extras(*more)
    states = extras.h_reset, extras.c_reset
    if not differentiable(x, h_0, c_0, *weights, *states):
        return _torch_private.redispatch(operators.lstm, keys, *inputs)
    results = Lstm.apply(keys, cell, batch_sizes, options, extras, x, h_0, c_0, *weights, *states)
    return tuple(x.new_empty(0) if each is None else each for each in results)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    """Keep what `_later` needs."""
    x, h_0, c_0, weights, ctx.cell, batch_sizes, options, *more = inputs
    extras = operators.Extras(*more)
    ctx.extras = operators.Extras(rates=extras.rates)
    ctx.reverse, ctx.kept, ctx.checkpoint, ctx.compute = operators.with_compute(options)
    y, _, _, gates, cells = output
    ctx.save_for_backward(batch_sizes, y, gates, cells, x, h_0, c_0, *weights, *extras.tensors())
    ctx.set_materialize_grads(False)
    if not ctx.kept or ctx.checkpoint > 0:
        ctx.mark_non_differentiable(gates, cells)


def _later(ctx: Any, *adjoint: Tensor | None) -> tuple[Any, ...]:
    """Return the adjoints as `torch.library.register_autograd` wants them; run again what kept nothing."""
    saved, extras = ctx.saved_tensors[:-_TENSORS], ctx.extras.with_tensors(ctx.saved_tensors[-_TENSORS:])
    batch_sizes, *activations, x, h_0, c_0 = saved[:7]
    weights = list(saved[7:])
    if not ctx.kept:
        with torch.no_grad():
            options = [ctx.reverse, 1, ctx.checkpoint, ctx.compute]
            inputs = (x, h_0, c_0, weights, ctx.cell, batch_sizes, options, *extras.present())
            y, _, _, *rest = operators.lstm(*inputs)
        activations = [y, *rest]
    of_inputs, of_weights = ctx.needs_input_grad[:3], ctx.needs_input_grad[3]
    of_states = [*ctx.needs_input_grad[10:12], False, False][:2]  # torch leaves out arguments at their defaults
    needs = [*of_inputs, *(of_weights or [False] * len(weights)), *of_states]
    saved = (batch_sizes, *activations, x, h_0, c_0, *weights)
    dx, dh_0, dc_0, *dW, dh_reset, dc_reset = gradients_of(ctx, saved, adjoint, needs, extras)
    gradients = (dx, dh_0, dc_0, dW, *[None] * 6, dh_reset, dc_reset, None, None, None)
    return gradients[: len(ctx.needs_input_grad)]


if _torch_private.can_redispatch():
    operators.library.impl("lstm", _with_adjoint, "Autograd", with_keyset=True)
else:
    torch.library.register_autograd("gatewright::lstm", _later, setup_context=_keep, lib=operators.library)
