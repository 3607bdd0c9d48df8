"""Which steps the rows of padded input have, and where states are reset: the arguments of a call, checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from gatewright.errors import GatewrightError
from gatewright.nn import _torch_private, layer_sizes
from gatewright.nn.extras import Extras
from gatewright.nn.initial_state import Shapes, Types, described, have_type, of_rows, tensors_of

_WHOLE = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


@dataclass(frozen=True, eq=False)
class RowSteps:
    """Steps and resets of the rows of a batch, time first.

    Attributes:
        lengths: steps of each row, (B,), int64; None for T.
        mask: whether a row has a step, (T, B); None for everywhere.
        reset: whether the state before a step is the reset state, (T, B); None for nowhere.
        reset_to: that state, h (L*S, B, P) and c (L*S, B, H), or of each layer, as the caller has it; None for
            zeros.
    """

    lengths: Tensor | None
    mask: Tensor | None
    reset: Tensor | None
    reset_to: tuple[Any, Any] | None

    @classmethod
    def of(
        cls,
        input: Any,  # noqa: A002
        batch_first: bool,
        lengths: Any,
        mask: Any,
        reset: Any,
        reset_to: Any,
    ) -> RowSteps | None:
        """Return the steps that the arguments of a call describe, or None where it has none of them.

        Args:
            input: of the call, (T, B, D), (T, D), or with ``batch_first`` (B, T, D).
            batch_first: whether batched tensors have their rows first.
            lengths: whole numbers, (B,), on any device; without B for unbatched input.
            mask: bool, in the first two dimensions of the input, or one of unbatched input; so is ``reset``.
            reset: see ``mask``.
            reset_to: a pair of states of (L*S, F), or (L*S, B, F); of layers of unequal size, one for each layer.

        Raises:
            GatewrightError: names the argument that does not fit.
        """
        given = {"lengths": lengths, "mask": mask, "reset": reset, "reset_to": reset_to}
        there = [name for name, value in given.items() if value is not None]
        if not there:
            return None
        if isinstance(input, PackedSequence):
            raise GatewrightError(there[0], "None next to a PackedSequence, which has its own lengths", "a value")
        if reset_to is not None and reset is None:
            raise GatewrightError("reset", "the steps at which reset_to replaces the state", "None")
        if input.dim() not in (2, 3):
            return cls(None, None, None, None)  # torch says what is wrong with the input
        batched = input.dim() == 3
        swapped = batched and batch_first
        T, B = (input.shape[1], input.shape[0]) if swapped else (input.shape[0], input.shape[1] if batched else 1)
        of_mask, of_reset = (
            _flags(name, value, (T, B), batched, swapped, input.device)
            for name, value in (("mask", mask), ("reset", reset))
        )
        return cls(_lengths(lengths, T, B, batched, input.device), of_mask, of_reset, _pair(reset_to))

    def checked_state(self, expected: Shapes, types: Types, x: Tensor) -> RowSteps:
        """Return the same with the reset state of each row, (L*S, B, F).

        Args:
            expected: shapes of the initial states of the call.
            types: their types.
            x: its input.

        Raises:
            GatewrightError: if the reset state does not fit.
        """
        if self.reset_to is None:
            return self
        parts = zip(self.reset_to, expected, types, strict=True)
        h, c = (self._of_rows(state, shape, dtype, x) for state, shape, dtype in parts)
        return RowSteps(self.lengths, self.mask, self.reset, (h, c))

    def _of_rows(self, state: Any, shape: Any, dtype: torch.dtype, x: Tensor) -> Any:
        """Return the reset state with each row, of one tensor or of one for each layer; see `checked_state`."""
        if isinstance(shape[0], tuple) and isinstance(state, tuple | list) and len(state) == len(shape):
            return tuple(self._of_rows(*layer, dtype, x) for layer in zip(state, shape, strict=True))
        batched, single = x.dim() == 3, shape if isinstance(shape[0], tuple) else (shape[0], shape[-1])
        fitting = isinstance(state, Tensor) and tuple(state.shape) in (shape, single)
        of_type = fitting and (state.dtype == dtype or have_type((state,), x.dtype))
        if not of_type or state.device != x.device:
            wanted = f"{x.dtype} tensors on {x.device} of {single}" + (f" or {shape}" if batched else "")
            raise GatewrightError("reset_to", f"{wanted} and the like for c", described(self.reset_to))
        return state if state.dim() == 3 else of_rows(state, shape[1] if batched else 1)

    def states(self, hx: Any) -> list[Tensor]:
        """Return the states of a call: those of hx and of resets."""
        return tensors_of(hx) + tensors_of(self.reset_to)

    def extras(self, layer: int, direction: int, directions: int) -> Extras:
        """Return the arguments of one layer in one direction."""
        h = c = None
        if self.reset_to is not None:
            h, c = (layer_sizes.one(state, layer, direction, directions) for state in self.reset_to)
        return Extras(self.lengths, self.mask, self.reset, h, c)

    def with_states(self, states: Sequence[Any]) -> RowSteps:
        """Return the same with the reset state in tensors of another type."""
        return RowSteps(self.lengths, self.mask, self.reset, (states[0], states[1]))


def _flags(
    name: str, value: Any, sizes: tuple[int, int], batched: bool, swapped: bool, device: torch.device
) -> Tensor | None:
    """Return a mask as (T, B) on the device of the input."""
    if value is None:
        return None
    T, B = sizes
    shape = (B, T) if swapped else (T, B) if batched else (T,)
    if not isinstance(value, Tensor) or value.dtype != torch.bool or tuple(value.shape) != shape:
        expected = f"a bool tensor of shape {shape}, {'(B, T)' if swapped else '(T, B)' if batched else '(T,)'}"
        raise GatewrightError(name, expected, _described(value))
    require_values(name, value, device)
    value = value.detach().to(device)
    return value.t() if swapped else value if batched else value[:, None]


def _lengths(value: Any, T: int, B: int, batched: bool, device: torch.device) -> Tensor | None:
    """Return lengths as int64 on the device of the input; look at their values where that costs no copy."""
    if value is None:
        return None
    shape = (B,) if batched else ()
    if not isinstance(value, Tensor) or value.dtype not in _WHOLE or tuple(value.shape) != shape:
        raise GatewrightError("lengths", f"a tensor of whole numbers of shape {shape}", _described(value))
    require_values("lengths", value, device)
    hidden = _torch_private.is_wrapped(value)
    value = value.detach().to(torch.int64)  # a narrow type does not have every T
    expected = f"numbers from 0 to {T}, the steps of the input"
    if not (torch.compiler.is_compiling() or hidden):  # else the operator looks at them
        fit = ((value >= 0) & (value <= T)).all()
        if not value.is_cpu:
            _torch_private.assert_later(fit, f"lengths: expected {expected}")
        elif not bool(fit):
            raise GatewrightError("lengths", expected, f"{int(value.min())} to {int(value.max())}")
    return (value if batched else value[None]).to(device)


def require_values(name: str, tensor: Tensor, device: torch.device) -> None:
    """Require that a tensor has values where the input, on ``device``, has some.

    Raises:
        GatewrightError: if it is on the meta device, and the input is not.
    """
    if tensor.is_meta and device.type != "meta":
        raise GatewrightError(name, f"a tensor with values, for an input on {device}", "one on the meta device")


def _pair(value: Any) -> tuple[Any, Any] | None:
    if value is None:
        return None
    pair = isinstance(value, tuple | list) and len(value) == 2
    if not pair or any(layer_sizes.shape_of(state) is None for state in value):
        raise GatewrightError("reset_to", "a pair of tensors, h and c", described(value))
    return value[0], value[1]


def _described(value: Any) -> str:
    return f"{value.dtype} of {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
