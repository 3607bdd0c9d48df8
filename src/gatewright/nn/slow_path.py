"""One warning a process for each thing that makes a layer leave the kernels for torch's operations."""

from __future__ import annotations

import functools
import warnings

import torch

from gatewright.errors import SlowPathWarning


def say(cause: str) -> None:
    """Warn that torch's operations do the work, step by step; the first time that this is the cause.

    Args:
        cause: what they are needed for, a plural that begins a sentence.
    """
    if not torch.compiler.is_compiling():
        _say(cause)


@functools.cache
def _say(cause: str) -> None:
    warnings.warn(
        f"{cause} of a gatewright.LSTM run on torch's operations, step by step: right, but slower than the "
        "kernels (docs/gradients.md); this is said once",
        SlowPathWarning,
        stacklevel=3,
    )
