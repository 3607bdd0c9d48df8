"""One step of one stream through Python, one thread: what a caller waits for between a sample and its answer.

Every contender carries (h, c) itself from step to step, in the form that its call returns them: torch's layers
under one `torch.inference_mode` around all steps, ONNX Runtime by plain ``session.run`` (no I/O binding: that is
what callers do), and `gatewright.Stream`, which needs no torch and keeps the state itself.  A call is `STEPS`
steps from zero states.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from benchmarks import bars, onnx_peer, peers
from benchmarks.bars import Judged
from benchmarks.cases import Case
from benchmarks.peers import ORT, OURS, TORCH
from benchmarks.settings import Part, Settings, torch_threads
from benchmarks.timing import Call, interleaved
from gatewright import Stream

SIZES = (16, 32, 64, 128, 256)
STEPS = 100
STREAM, INTO = "gatewright.Stream.step", "gatewright.Stream.step_into"


def run(settings: Settings) -> Part:
    """Measure and print one step at every size."""
    print("\none step through Python, 1 thread, batch 1 (microseconds)")
    heads = (
        ("Stream.step", 13),
        ("step_into", 11),
        ("our LSTM", 10),
        ("torch", 9),
        ("ORT", 9),
        ("/torch", 9),
        ("/ORT", 8),
    )
    print(f"{'D = H':>6}" + "".join(f"{head:>{width}}" for head, width in heads))
    figures, judged = [], []
    for size in SIZES:
        with torch_threads(1):
            timed = interleaved(contenders(size), settings.plan, peers.agree)
        us = {name: one.seconds / STEPS * 1e6 for name, one in timed.items()}
        over = {name: us[name] / us[STREAM] for name in us if name != STREAM}
        print(
            f"{size:6}{us[STREAM]:13.2f}{us[INTO]:11.2f}{us[OURS]:10.2f}{us[TORCH]:9.2f}{us[ORT]:9.2f}"
            f"{over[TORCH]:9.1f}{over[ORT]:8.1f}",
            flush=True,
        )
        figures.append({"H": size, "us": us, "over": over})
        if size == 64:
            judged = [Judged(bars.STEP_TORCH, 1, over[TORCH]), Judged(bars.STEP_ORT, 1, over[ORT])]
    return Part(figures, judged)


def contenders(size: int, steps: int = STEPS) -> dict[str, Call]:
    """Return a call of so many steps for each contender; each gives the last (h, c)."""
    layers = peers.layers(Case("step", steps, 1, size, size))
    x, _ = peers.inputs(Case("step", steps, 1, size, size))
    inputs = x[:, 0].numpy()
    calls = {STREAM: stream_steps(layers[TORCH], inputs), INTO: stream_steps(layers[TORCH], inputs, into=True)}
    calls |= {name: torch_steps(layer, inputs) for name, layer in layers.items()}
    return {**calls, ORT: onnx_steps(layers[TORCH], inputs)}


def stream_steps(layer: nn.RNNBase, inputs: NDArray[np.float32], *, into: bool = False) -> Call:
    """Steps without torch: x (D,)."""
    stream, rows = Stream.from_weights(layer.state_dict()), list(inputs)
    out = np.empty(stream.output_shape, np.float32)

    def call() -> Sequence[Any]:
        stream.reset()
        if into:
            for x in rows:
                stream.step_into(x, out)
        else:
            for x in rows:
                stream.step(x)
        state = stream.state()
        return state.hidden[None], state.cell[None]

    return call


def torch_steps(layer: nn.RNNBase, inputs: NDArray[np.float32]) -> Call:
    """Steps of a torch layer: x (1, 1, D), h and c (1, 1, H)."""
    layer.eval()
    rows = list(torch.from_numpy(inputs)[:, None, None])
    zero = torch.zeros(1, 1, layer.hidden_size)

    def call() -> Sequence[Any]:
        state = zero, zero
        with torch.inference_mode():
            for x in rows:
                _, state = layer(x, state)
        return state

    return call


def onnx_steps(layer: nn.RNNBase, inputs: NDArray[np.float32]) -> Call:
    """Steps of ONNX Runtime: x (1, 1, D), h and c (1, 1, H)."""
    session = onnx_peer.session(peers.weights(layer), 1, carried=True)
    rows = list(inputs[:, None, None])
    zero = np.zeros((1, 1, layer.hidden_size), np.float32)

    def call() -> Sequence[Any]:
        h, c = zero, zero
        for x in rows:
            h, c = session.run(None, {"X": x, "initial_h": h, "initial_c": c})
        return h, c

    return call
