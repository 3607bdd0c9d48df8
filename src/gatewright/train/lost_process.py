"""The error of a training that lost one of its processes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import distributed

from gatewright.errors import GatewrightError

#: What errors of an exchange between processes say, of which most have no class of their own.
_SAYS = ("gloo", "connection closed by peer", "connection reset by peer", "nccl")


@contextmanager
def with_all_processes() -> Iterator[None]:
    """Raise an error that says what to do where the connection to another process ends.

    Raises:
        GatewrightError: in place of the error of torch.
    """
    try:
        yield
    except RuntimeError as error:
        several = distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1
        of_exchange = isinstance(error, distributed.DistError)
        if not several or not (of_exchange or any(words in str(error).lower() for words in _SAYS)):
            raise
        got = (
            "one that ended or cannot be reached any more: its own message says why; the last checkpoint is kept, "
            "and --run DIR --resume goes on from it in any number of processes"
        )
        raise GatewrightError(
            "processes", f"all {distributed.get_world_size()} of the training, to its end", got
        ) from None
