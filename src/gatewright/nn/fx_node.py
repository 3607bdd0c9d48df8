"""The node of a layer in a graph of `torch.fx`: one, as torch's own layers have."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from torch import fx, nn


def fx_node(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
    """Return the node that calls a module, or None if no argument is a proxy of `torch.fx`.

    A tracer enters every module that is not torch's own, unless it is configured not to.  A module that calls
    this first is a leaf to every tracer.

    Raises:
        TraceError: if the module is itself what is traced.

    >>> class Doubled(nn.Module):
    ...     def forward(self, x):
    ...         return fx_node(self, x) if isinstance(x, fx.Proxy) else 2 * x
    >>> traced = fx.symbolic_trace(nn.Sequential(Doubled()))
    >>> [node.op for node in traced.graph.nodes]
    ['placeholder', 'call_module', 'output']
    """
    proxy = next(_proxies([*args, *kwargs.values()]), None)
    if proxy is None:
        return None
    tracer: Any = proxy.tracer
    name = tracer.path_of_module(module)
    if not name:
        raise fx.proxy.TraceError(f"{type(module).__name__} is a leaf of a trace: trace a module that holds it")
    return tracer.create_proxy("call_module", name, args, kwargs)


def _proxies(values: Iterable[Any]) -> Iterator[fx.Proxy]:
    for value in values:
        if isinstance(value, fx.Proxy):
            yield value
        elif isinstance(value, tuple | list):
            yield from _proxies(value)
