"""Errors of a training that needs more memory than there is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from gatewright.errors import GatewrightError

#: What torch says in an error that has no class of its own.
_SAYS = ("can't allocate memory", "not enough memory", "out of memory")


@contextmanager
def within_memory() -> Iterator[None]:
    """Raise an error that names the options that need memory where memory ends.

    >>> try:
    ...     with within_memory():
    ...         raise MemoryError
    ... except GatewrightError as error:
    ...     print(error.argument, error.got, sep=": ")
    memory: less than they need
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        lacking = isinstance(error, (MemoryError, torch.OutOfMemoryError))
        if not lacking and not any(words in str(error) for words in _SAYS):
            raise
        expected = (
            "a model and batches that fit into it (--hidden, --layers, --batch and --context make them smaller)"
        )
        raise GatewrightError("memory", expected, "less than they need") from None
