"""Gradients by samples for Opacus, which clips them one by one for differential privacy."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from gatewright.errors import GatewrightError
from gatewright.nn import LSTM, LSTMCell


def prepare(module: nn.Module) -> nn.Module:
    """Make every `gatewright.LSTM` in a module ready for Opacus, and return the module.

    Opacus takes the gradient of the first output of a layer alone. So that none is lost, the last layer's h_n is
    taken from y, and a gradient that would reach the other states is an error. The gradients of all samples are
    one call of the kernels.

    Args:
        module: the module, before ``opacus.GradSampleModule`` or ``PrivacyEngine.make_private``; its layers have
            ``batch_first=True`` and are called with their input alone, (B, T, D).

    Returns:
        The same module; its layers are `LSTMForOpacus` now.

    Raises:
        GatewrightError: if Opacus is not installed, the module holds no such layer or also a cell, or a layer does
            not have ``batch_first=True``; later from a call of the layer with another argument, or with packed or
            unbatched input, and from a backward pass that reaches states other than the last layer's h_n.

    >>> prepare(torch.nn.Sequential(LSTM(3, 4, batch_first=True)))  # doctest: +SKIP
    Sequential(
      (0): LSTMForOpacus(3, 4, batch_first=True)
    )
    """
    try:
        from opacus.grad_sample.utils import register_grad_sampler
    except ImportError:
        raise GatewrightError("opacus", "the package, pip install opacus", "none") from None
    layers = {name: each for name, each in module.named_modules() if isinstance(each, LSTM)}
    cells = [name for name, each in module.named_modules() if isinstance(each, LSTMCell | nn.LSTMCell)]
    if cells or not layers:
        got = f"an LSTMCell, {cells[0]!r}" if cells else type(module).__name__
        raise GatewrightError("module", "a module with gatewright.LSTM layers, and without single cells", got)
    for name, layer in layers.items():
        _require_layer(name, layer)
    for layer in layers.values():
        layer.__class__ = LSTMForOpacus
    register_grad_sampler([LSTMForOpacus])(_gradients_by_samples)
    return module


def _require_layer(name: str, layer: LSTM) -> None:
    """Require a layer whose gradients by samples follow from its input and the adjoint of y."""
    if type(layer) not in (LSTM, LSTMForOpacus):
        raise GatewrightError(f"layer {name!r}", "a gatewright.LSTM itself", f"a subclass, {type(layer).__name__}")
    if not layer.batch_first:
        raise GatewrightError(f"batch_first of {name!r}", "True: Opacus looks for samples there", "False")
    if layer.cell.is_random or (layer.dropout and layer.num_layers > 1):
        expected = "without dropout or zoneout within, whose choices a gradient by samples would draw again"
        raise GatewrightError(f"layer {name!r}", expected, repr(layer))


class LSTMForOpacus(LSTM):
    """A layer that `prepare` has changed: its last h_n is taken from y after Opacus' hooks have seen y."""

    def __call__(self, *given: Any, **named: Any) -> Any:
        """Run the layer, and outside of training as ever."""
        if not (self.training and torch.is_grad_enabled()):
            return super().__call__(*given, **named)
        _require_input(given, named)
        return _states_from_output(self, super().__call__(*given))


def _require_input(given: tuple[Any, ...], named: dict[str, Any]) -> None:
    """Refuse what Opacus would not keep of a call."""
    if len(given) != 1 or named:
        got = ", ".join(named) or f"{len(given)} by position"
        raise GatewrightError("arguments", "the input alone, by position, in training with Opacus", got)
    [x] = given
    if not isinstance(x, Tensor) or x.dim() != 3:
        got = f"{x.dim()}-D" if isinstance(x, Tensor) else type(x).__name__
        raise GatewrightError("input", "a tensor (B, T, D) in training with Opacus", got)


def _states_from_output(layer: LSTM, output: tuple[Tensor, Any]) -> tuple[Tensor, Any]:
    """Return the output with its last h_n taken from y, and the other states guarded."""
    y, (h_n, c_n) = output
    if layer.residual and layer.num_layers > 1:  # y is not the hidden state
        return y, tuple(
            tuple(map(_guarded, each)) if isinstance(each, tuple) else _guarded(each) for each in (h_n, c_n)
        )
    if isinstance(h_n, tuple):  # layers of unequal size
        *others, last = h_n
        return y, ((*map(_guarded, others), _last_states(y, last)), tuple(map(_guarded, c_n)))
    directions = 2 if layer.bidirectional else 1
    others, last = h_n[:-directions], h_n[-directions:]
    return y, (torch.cat([_guarded(others), _last_states(y, last)]), _guarded(c_n))


def _last_states(y: Tensor, last: Tensor) -> Tensor:
    """Return the last layer's h_n (S, B, P) out of y (B, T, S*P)."""
    if last.dim() == 3 and len(last) == 2:
        forward, backward = y.chunk(2, dim=-1)
        return torch.stack([forward[:, -1], backward[:, 0]])
    return y[:, -1].reshape(last.shape)


def _guarded(state: Tensor) -> Tensor:
    """Return a state through which no gradient passes unseen."""
    guarded = state.view_as(state)
    if guarded.requires_grad:
        guarded.register_hook(_refuse_gradient)
    return guarded


def _refuse_gradient(d: Tensor | None) -> None:
    if d is not None and bool(d.any()):
        expected = "a loss of y and the last layer's h_n: Opacus takes the gradient of the first output alone"
        raise GatewrightError("loss", expected, "one of c_n, or of h_n of an earlier layer")


def _gradients_by_samples(layer: LSTM, activations: list[Tensor], dy: Tensor) -> dict[nn.Parameter, Tensor]:
    """Return the gradient of each parameter for each sample, (B, *shape).

    Args:
        layer: the layer.
        activations: its input, (B, T, D).
        dy: adjoint of its output, (B, T, S*P).
    """
    x = activations[0]
    if x.stride(0) < x.stride(1) and min(x.shape[:2]) > 1:  # Opacus has exchanged samples and steps
        expected = "contiguous, (B, T, D), and batch_first=True for Opacus too"
        raise GatewrightError("input", expected, f"strides {tuple(x.stride())}")
    unhooked = _Unhooked(layer)
    named = {name: each for name, each in unhooked.named_parameters() if each.requires_grad}
    weights = {name: each.detach() for name, each in named.items()}

    def loss(weights: dict[str, Tensor], x: Tensor, dy: Tensor) -> Tensor:
        return (functional_call(unhooked, weights, (x[None],))[0] * dy).sum()

    gradients = vmap(grad(loss), (None, 0, 0))(weights, x, dy)
    return {each: gradients[name] for name, each in named.items()}


class _Unhooked(nn.Module):
    """A layer without its hooks, those of Opacus included: y (B, T, S*P) of x (B, T, D)."""

    def __init__(self, layer: LSTM) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layer.forward(x)[0]
        return y
