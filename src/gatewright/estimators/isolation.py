"""A training that neither depends on the state of the process nor changes it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

#: Dropout draws from torch's only generator: of several threads, one trains at a time.
_TRAINING = threading.RLock()


@contextmanager
def isolated() -> Iterator[None]:
    """Train with torch as it is when it is imported; its random state stays as it is.

    >>> before = torch.get_rng_state()
    >>> with torch.no_grad(), isolated():
    ...     torch.manual_seed(3).initial_seed(), torch.is_grad_enabled()
    (3, True)
    >>> torch.equal(torch.get_rng_state(), before)
    True
    """
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    with (
        _TRAINING,
        plain_torch(),
        torch.random.fork_rng(devices),
        torch.inference_mode(False),
        torch.enable_grad(),
    ):
        yield


@contextmanager
def plain_torch() -> Iterator[None]:
    """Make float32 and the CPU the defaults of torch, where they are not."""
    dtype, device = torch.get_default_dtype(), torch.get_default_device()
    try:
        if dtype != torch.float32:
            torch.set_default_dtype(torch.float32)
        if device.type != "cpu":
            torch.set_default_device("cpu")
        yield
    finally:
        if dtype != torch.float32:
            torch.set_default_dtype(dtype)
        if device.type != "cpu":
            torch.set_default_device(device)
