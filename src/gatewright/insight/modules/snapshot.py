"""A caller's module and its inputs as they were: copies to run, with the random numbers that they drew."""

from __future__ import annotations

import contextlib
import copy
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from gatewright.errors import GatewrightError, shorten

#: Modules that only pass a call on to the one in them, by the name under which they hold it.
_WRAPPERS = {"OptimizedModule": "_orig_mod", "DataParallel": "module", "DistributedDataParallel": "module"}
_SHARDED = ("FullyShardedDataParallel", "FSDPModule")


@dataclass(frozen=True, eq=False)
class Snapshot:
    """A module with its inputs, to be run again and again from the same state.

    Attributes:
        module: a copy of the module, in evaluation mode, without what compiles or distributes it.
        args: positional arguments.
        kwargs: keyword arguments.
        numbers: states of the random number generators.
    """

    module: nn.Module
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    numbers: RandomState

    @classmethod
    def of(cls, module: nn.Module, inputs: Any) -> Snapshot:
        """Copy a module and its inputs.

        Args:
            module: the module.
            inputs: a tuple of positional arguments, a dict of keyword arguments, or one argument.

        Raises:
            GatewrightError: if one of them cannot be copied, or is no input.
        """
        _require_whole(module)
        copied = _unwrapped(_copy("module", _inner(module)))
        copied.eval()
        args, kwargs = _arguments(_copy("inputs", inputs))
        return cls(copied, args, kwargs, RandomState.now())

    def fresh(self) -> tuple[nn.Module, tuple[Any, ...], dict[str, Any]]:
        """Return copies of module and inputs for one run, which may change both; the parameters are shared."""
        shared = {id(parameter): parameter for parameter in self.module.parameters()}
        with _Leaves():
            return copy.deepcopy((self.module, self.args, self.kwargs), shared)


@dataclass(frozen=True, eq=False)
class RandomState:
    """States of the random number generators of Python, NumPy and torch."""

    python: Any
    numpy: Any
    torch: Tensor
    cuda: tuple[Tensor, ...]

    @classmethod
    def now(cls) -> RandomState:
        """Return the present states."""
        cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else ()
        return cls(random.getstate(), np.random.get_state(), torch.get_rng_state(), tuple(cuda))  # noqa: NPY002 - the one that modules use

    def put(self) -> None:
        """Let the generators continue from these states."""
        random.setstate(self.python)
        np.random.set_state(self.numpy)  # noqa: NPY002
        torch.set_rng_state(self.torch)
        if self.cuda:
            torch.cuda.set_rng_state_all(list(self.cuda))

    @contextlib.contextmanager
    def drawn(self) -> Iterator[None]:
        """Draw the numbers that follow these states, and leave the generators as they were."""
        before = RandomState.now()
        self.put()
        try:
            yield
        finally:
            before.put()


class _Leaves(TorchFunctionMode):
    """Copies of tensors that belong to a graph, which torch refuses to copy, are leaves with their values."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is Tensor.__deepcopy__ and not args[0].is_leaf:
            tensor, memo = args
            memo[id(tensor)] = tensor.detach().clone()
            return memo[id(tensor)]
        return func(*args, **(kwargs or {}))


def _copy(name: str, value: Any) -> Any:
    try:
        with _Leaves():
            return copy.deepcopy(value)
    except GatewrightError:
        raise
    except Exception as error:
        expected = "something that copy.deepcopy copies, since the run must leave it as it is"
        raise GatewrightError(name, expected, f"{type(value).__name__}: {shorten(error)}") from error


def _arguments(inputs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return inputs as positional and keyword arguments.

    Raises:
        GatewrightError: if there are none, or a keyword is no text.
    """
    if inputs is None:
        expected = "a tensor, a tuple of positional arguments or a dict of keyword arguments of the module"
        raise GatewrightError("inputs", expected, "None")
    if isinstance(inputs, dict):
        if not all(isinstance(key, str) for key in inputs):
            expected = "a dict whose keys name arguments of the module; one that is itself an argument in a tuple"
            raise GatewrightError("inputs", expected, shorten(list(inputs)))
        return (), inputs
    if isinstance(inputs, tuple) and not isinstance(inputs, nn.utils.rnn.PackedSequence):
        return tuple(inputs), {}
    return (inputs,), {}


def _inner(module: nn.Module) -> nn.Module:
    """Return the module in wrappers that only pass a call on."""
    while type(module).__name__ in _WRAPPERS:
        inside = module._modules.get(_WRAPPERS[type(module).__name__])
        if inside is None:
            break
        module = inside
    return module


def _unwrapped(module: nn.Module) -> nn.Module:
    """Put what is inside of wrappers in their place, everywhere in a copy."""
    for parent in list(module.modules()):
        for name, child in parent._modules.items():
            if child is not None and _inner(child) is not child:
                parent._modules[name] = _inner(child)
    return module


def _require_whole(module: nn.Module) -> None:
    """Require that every part has its own parameters, with values.

    Raises:
        GatewrightError: names the first that is sharded, or has no values.
    """
    for name, parameter in module.named_parameters():
        if parameter.is_meta:
            raise GatewrightError("module", "parameters with values", f"{name} on the meta device")
    for name, part in module.named_modules():
        if any(kind.__name__ in _SHARDED for kind in type(part).__mro__):
            expected = "a module that is whole, such as that before it was sharded"
            raise GatewrightError("module", expected, f"{name or 'itself'}, a {type(part).__name__}")
