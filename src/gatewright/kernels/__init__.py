"""The native kernels: one function for each entry, over NumPy arrays, without torch.

An array may also be a DLPack capsule.  All arrays of a call are float32, or all are float64, on the CPU, with a
contiguous last dimension.  On one target (`info`) a row's results are the same bits whatever batch it stands in,
however many threads run, and however the sequence is cut; gradients do not depend on the number of threads.
"""

from gatewright.kernels.arguments import (
    Backward,
    Draws,
    Forward,
    Inputs,
    Kept,
    OutputGradients,
    SequenceArgs,
    Steps,
    Wanted,
)
from gatewright.kernels.calls import (
    CHUNK_BYTES,
    LEAST_CHUNK_ROWS,
    backward,
    chunk_steps,
    fma_peak,
    forward,
    linear,
    memory,
    pack,
    sigmoid,
    step,
    tanh,
)
from gatewright.kernels.machine import Info, info, share_threads, threads, use_target
from gatewright.spec.cell import LayerWeights

__all__ = [
    "CHUNK_BYTES",
    "LEAST_CHUNK_ROWS",
    "Backward",
    "Draws",
    "Forward",
    "Info",
    "Inputs",
    "Kept",
    "LayerWeights",
    "OutputGradients",
    "SequenceArgs",
    "Steps",
    "Wanted",
    "backward",
    "chunk_steps",
    "fma_peak",
    "forward",
    "info",
    "linear",
    "memory",
    "pack",
    "share_threads",
    "sigmoid",
    "step",
    "tanh",
    "threads",
    "use_target",
]
