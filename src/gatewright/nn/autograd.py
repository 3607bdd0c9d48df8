"""Autograd of the operators: their adjoint, differentiable any number of times."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from gatewright.nn import _torch_private, adjoint, onnx_lstm, operators, precision
from gatewright.nn.adjoint import differentiable, direct
from gatewright.nn.call import Call
from gatewright.nn.extras import Extras

_NO_EXTRAS = Extras()
_TENSORS = len(_NO_EXTRAS.tensors())


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
        extras: Extras,
        *tensors: Any,
    ) -> Any:
        """Run the operator, and keep what the backward pass needs.

        The tensors are x, h_0, c_0, the weights, h_reset and c_reset.
        """
        ctx.cell, (ctx.reverse, record_wanted, ctx.checkpoint, ctx.compute) = cell, operators.with_compute(options)
        if ctx.compute == precision.INT8:  # as in a program that was exported without gradients
            precision.refuse_gradient()
        x, h_0, c_0, *weights, h_reset, c_reset = tensors
        extras = extras._replace(h_reset=h_reset, c_reset=c_reset)
        ctx.place = operators.place_of_draws(options)
        options = [ctx.reverse, 1 if record_wanted else 2, ctx.checkpoint, ctx.compute, *ctx.place]
        inputs = (x, h_0, c_0, weights, cell, batch_sizes, options)
        results = (
            operators.lstm_kernel(*inputs, *extras.present())
            if keys is None
            else _torch_private.redispatch(operators.lstm, keys, *inputs, *extras.present())
        )
        y, h_n, c_n, gates, cells = results
        ctx.extras = Extras(rates=extras.rates)
        ctx.save_for_backward(batch_sizes, y, gates, cells, x, h_0, c_0, *weights, *extras.tensors())
        ctx.set_materialize_grads(False)  # zeros for gates that no loss reads would be the largest tensor of all
        if not record_wanted:
            gates = cells = None
        elif ctx.checkpoint > 0:
            ctx.mark_non_differentiable(gates, cells)  # nothing to be read: the record keeps all
        return y, h_n, c_n, gates, cells

    @staticmethod
    def backward(ctx: Any, *d: Tensor | None) -> tuple[Tensor | None, ...]:
        """Return the adjoints of the tensors that need one."""
        saved = ctx.saved_tensors  # once: each access runs the hooks that unpack them
        extras = ctx.extras.with_tensors(saved[-_TENSORS:])
        gradients = gradients_of(ctx, saved[:-_TENSORS], d, ctx.needs_input_grad[5:], extras)
        return (None, None, None, None, None, *gradients)


def gradients_of(
    ctx: Any,
    saved: Sequence[Any],
    d: Sequence[Tensor | None],
    needs: Sequence[bool],
    extras: Extras = _NO_EXTRAS,
) -> list[Any]:
    """Return the adjoints of x, h_0, c_0, the weights, h_reset and c_reset: None where one is not needed.

    Args:
        ctx: with cell, reverse, checkpoint and compute as attributes.
        saved: batch_sizes, what the forward pass kept, x, h_0, c_0, and the weights.
        d: adjoints of what the forward pass gave.
        needs: whether each is needed; those of h_reset and c_reset may be left out where these are None.
        extras: as the forward pass had them.
    """
    call = Call(
        cell=ctx.cell,
        weights=len(saved) - 7,
        reverse=bool(ctx.reverse),
        checkpoint=ctx.checkpoint,
        compute=ctx.compute,
        rates=tuple(extras.rates),
        place=tuple(ctx.place),
    )
    return adjoint.gradients_of(call, (*saved, *extras.tensors()), d, needs)


def layer(call: Call, batch_sizes: Tensor | None, *tensors: Any) -> Sequence[Tensor | None]:
    """Run one layer in one direction, by the kernels, outside of transforms.

    Args:
        call: which call.
        batch_sizes: rows of each step, of packed steps.
        tensors: x, h_0, c_0, the weights, and `Extras.tensors`.

    Returns:
        y, h_n, c_n, gates and cell states, of which the last two are None where the call does not keep them.
    """
    x, h_0, c_0, *rest = tensors
    weights, extras = call.split(rest)
    options = call.options()
    states = extras.h_reset, extras.c_reset
    plain = direct(*tensors, batch_sizes)
    trained = differentiable(x, h_0, c_0, *weights, *states)
    results: Sequence[Tensor | None]
    if plain and trained:
        results = Lstm.apply(None, call.cell, batch_sizes, options, extras, x, h_0, c_0, *weights, *states)
        return results
    if trained and not _torch_private.can_redispatch():
        options[1] = 1  # or the backward pass would have to run it again
    run = operators.lstm_kernel if plain else operators.lstm
    if not plain and onnx_lstm.is_exported():
        run = onnx_lstm.decomposed
    results = run(x, h_0, c_0, weights, call.cell, batch_sizes, options, *extras.present())
    return results if call.keep else (*results[:3], None, None)


def _with_adjoint(keys: Any, *inputs: Any) -> Any:
    if onnx_lstm.is_translated():
        return onnx_lstm.decomposed(*inputs)
    x, h_0, c_0, weights, cell, batch_sizes, options, *more = inputs
    extras = Extras(*more)
    states = extras.h_reset, extras.c_reset
    if not differentiable(x, h_0, c_0, *weights, *states):
        return _torch_private.redispatch(operators.lstm, keys, *inputs)
    results = Lstm.apply(keys, cell, batch_sizes, options, extras, x, h_0, c_0, *weights, *states)
    return tuple(x.new_empty(0) if each is None else each for each in results)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    """Keep what `_later` needs."""
    x, h_0, c_0, weights, ctx.cell, batch_sizes, options, *more = inputs
    extras = Extras(*more)
    ctx.extras = Extras(rates=extras.rates)
    ctx.reverse, ctx.kept, ctx.checkpoint, ctx.compute = operators.with_compute(options)
    ctx.place = operators.place_of_draws(options)
    y, _, _, gates, cells = output
    ctx.save_for_backward(batch_sizes, y, gates, cells, x, h_0, c_0, *weights, *extras.tensors())
    ctx.set_materialize_grads(False)
    if not ctx.kept or ctx.checkpoint > 0:
        ctx.mark_non_differentiable(gates, cells)


def _later(ctx: Any, *d: Tensor | None) -> tuple[Any, ...]:
    """Return the adjoints as `torch.library.register_autograd` wants them; run again what kept nothing."""
    saved, extras = ctx.saved_tensors[:-_TENSORS], ctx.extras.with_tensors(ctx.saved_tensors[-_TENSORS:])
    batch_sizes, *activations, x, h_0, c_0 = saved[:7]
    weights = list(saved[7:])
    if not ctx.kept:
        with torch.no_grad():
            options = [ctx.reverse, 1, ctx.checkpoint, ctx.compute, *ctx.place]
            inputs = (x, h_0, c_0, weights, ctx.cell, batch_sizes, options, *extras.present())
            y, _, _, *rest = operators.lstm(*inputs)
        activations = [y, *rest]
    of_inputs, of_weights = ctx.needs_input_grad[:3], ctx.needs_input_grad[3]
    of_states = [*ctx.needs_input_grad[10:12], False, False][:2]  # torch leaves out arguments at their defaults
    needs = [*of_inputs, *(of_weights or [False] * len(weights)), *of_states]
    saved = (batch_sizes, *activations, x, h_0, c_0, *weights)
    dx, dh_0, dc_0, *dW, dh_reset, dc_reset = gradients_of(ctx, saved, d, needs, extras)
    gradients = (dx, dh_0, dc_0, dW, *[None] * 6, dh_reset, dc_reset, None, None, None)
    return gradients[: len(ctx.needs_input_grad)]


if _torch_private.can_redispatch():
    operators.library.impl("lstm", _with_adjoint, "Autograd", with_keyset=True)
else:
    torch.library.register_autograd("gatewright::lstm", _later, setup_context=_keep, lib=operators.library)
