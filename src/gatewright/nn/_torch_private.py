"""Private names of torch, all of them here: what each is used for, and what does without it, more slowly.

A release of torch may rename or drop any of these.  Where one is missing, only speed is lost
(`tests/nn/test_torch_private.py` runs the layer without them).
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad, profiler

#: torch's names by the names under which they stand in this module; None where torch has none of that name.
NAMES = (
    "dispatch_stack_length",
    "function_stack_length",
    "tracing_state",
    "transforms_are_active",
    "dispatch_key_is_included",
    "any_autocast_is_enabled",
    "below_autograd",
    "keys_after_autograd",
    "interpreters",
    "assert_async",
)

dispatch_stack_length: Any = getattr(torch._C, "_len_torch_dispatch_stack", None)
function_stack_length: Any = getattr(torch._C, "_len_torch_function_stack", None)
tracing_state: Any = getattr(torch._C, "_get_tracing_state", None)
transforms_are_active: Any = getattr(torch._C, "_are_functorch_transforms_active", None)
dispatch_key_is_included: Any = getattr(torch._C, "_dispatch_tls_is_dispatch_key_included", None)
any_autocast_is_enabled: Any = getattr(torch._C, "_is_any_autocast_enabled", None)
below_autograd: Any = getattr(torch._C, "_AutoDispatchBelowAutograd", None)
keys_after_autograd: Any = getattr(torch._C, "_after_autograd_keyset", None)
interpreters: Any = getattr(getattr(torch._C, "_functorch", None), "get_interpreter_stack", None)
assert_async: Any = getattr(torch, "_assert_async", None)


def nothing_intercepts() -> bool:
    """Whether no mode, profiler or tracer wants to see each operator, so that a call may go past the dispatcher.

    Without the private names: False, and every call goes by the dispatcher.
    """
    return (
        dispatch_stack_length is not None
        and tracing_state is not None
        and dispatch_stack_length() == 0
        and not getattr(profiler, "_is_profiler_enabled", True)
        and not tracing_state()
    )


def undisturbed() -> bool:
    """Whether no mode, profiler, tracer, transform, autocast or tangent can be at work: plain tensors are plain.

    Without the private names: False.
    """
    return (
        dispatch_stack_length is not None
        and function_stack_length is not None
        and transforms_are_active is not None
        and any_autocast_is_enabled is not None
        and tracing_state is not None
        and dispatch_stack_length() == 0
        and function_stack_length() == 0
        and not transforms_are_active()
        and not any_autocast_is_enabled()
        and not getattr(profiler, "_is_profiler_enabled", True)
        and not tracing_state()
        and getattr(forward_ad, "_current_level", 0) < 0
    )


def in_transform(*tensors: Any) -> bool:
    """Whether a transform of `torch.func` is active, such as `torch.func.vmap`.

    Without the private name: whether a tensor has no memory of its own, as those of a transform have none.
    """
    if transforms_are_active is not None:
        return bool(transforms_are_active())
    if torch.compiler.is_compiling():
        return False
    return any(is_wrapped(tensor) for tensor in tensors)


def in_functionalization() -> bool:
    """Whether an active transform is `torch.func.functionalize`, which takes no `torch.autograd.Function`.

    Without the private name: True.
    """
    if interpreters is None:
        return True
    return any(each.key().name == "Functionalize" for each in interpreters() or ())


def in_forward_mode() -> bool:
    """Whether a tensor may have a tangent.  Without the private name: True, and each tensor is looked at."""
    return bool(getattr(forward_ad, "_current_level", 0) >= 0)


def in_batched_gradient(tensors: Iterable[Any]) -> bool:
    """Whether torch computes the gradients of a batch at once (``is_grads_batched``).

    Without the private name: whether one of the tensors has no memory of its own.
    """
    if dispatch_key_is_included is not None:
        return bool(dispatch_key_is_included("VmapMode"))
    return not torch.compiler.is_compiling() and any(is_wrapped(tensor) for tensor in tensors)


def any_autocast() -> bool:
    """Whether autocast is enabled for any type of device; without the private name, for those that torch lists."""
    if any_autocast_is_enabled is not None:
        return bool(any_autocast_is_enabled())
    devices = {"cpu", "cuda", getattr(torch.accelerator.current_accelerator(), "type", "cpu")}
    return any(torch.is_autocast_enabled(device) for device in devices)


def assert_later(condition: Tensor, message: str) -> None:
    """Raise where a condition does not hold, when its device gets there.  Without the private name: not at all."""
    if assert_async is not None:
        assert_async(condition, message)


def compiler_is_loaded() -> bool:
    """Whether something has asked for `torch.compile`: importing it takes a second."""
    return "torch._dynamo" in sys.modules


def can_redispatch() -> bool:
    """Whether an operator's autograd kernel can call what is registered below autograd.

    If not, `torch.library.register_autograd` has to be enough.
    """
    return below_autograd is not None and keys_after_autograd is not None


def redispatch(operator: Any, keys: Any, *inputs: Any) -> Any:
    """Call what is registered for an operator below autograd."""
    with below_autograd():
        return operator.redispatch(keys & keys_after_autograd, *inputs)


def is_wrapped(tensor: Any) -> bool:
    """Whether a tensor stands for others in a transform; classes of their own, fake tensors among them, do not."""
    if type(tensor) not in (Tensor, torch.nn.Parameter):
        return False
    try:
        tensor.data_ptr()
    except RuntimeError:
        return True
    return False
