"""A case as each contender computes it. Nothing here imports an engine that another contender needs."""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.cases import Case
from benchmarks.contenders import FORWARD, OPENVINO, OPENVINO_BF16, ORT, TORCH_AUTOCAST, TORCH_BF16, Contender
from benchmarks.redirection import output_redirected
from benchmarks.timing import Call

if TYPE_CHECKING:
    from torch import nn


class Work(NamedTuple):
    """One pass over one case.

    Attributes:
        case: the sizes.
        passed: `FORWARD` or `TRAINING`.
        x: the input (T, B, D).
        dy: the adjoint of the output (T, B, H).
        weights: W_ih, W_hh, b_ih, b_hh as torch orders them.
        threads: how many threads to use.
    """

    case: Case
    passed: str
    x: NDArray[np.float32]
    dy: NDArray[np.float32]
    weights: tuple[NDArray[np.float32], ...]
    threads: int


class First(NamedTuple):
    """The first call.

    Attributes:
        results: what it returned.
        seconds: how long it took.
        implementation: which code ran, as the engine says.
    """

    results: Sequence[Any]
    seconds: float
    implementation: str


class Engine(NamedTuple):
    """A prepared pass.

    Attributes:
        call: what is timed.
        said: a context around one call, which returns a function that names what ran.
    """

    call: Call
    said: Callable[[], Any]

    def watched(self) -> First:
        """Run the first call."""
        with self.said() as implementation:
            began = time.perf_counter()
            results = self.call()
            seconds = time.perf_counter() - began
        return First(results, seconds, implementation())


def engine(contender: Contender, work: Work) -> Engine:
    """Return the pass of a contender, prepared."""
    if contender.name == ORT:
        return _onnxruntime(work)
    if contender.name in (OPENVINO, OPENVINO_BF16):
        return _openvino(contender, work)
    return _torch(contender, work)


def _onnxruntime(work: Work) -> Engine:
    from benchmarks import onnx_peer

    return Engine(onnx_peer.forward(work.weights, work.x, work.threads), _named("MLAS"))


def _openvino(contender: Contender, work: Work) -> Engine:
    from benchmarks import openvino_peer

    request = openvino_peer.request(work.weights, work.x, work.threads, bf16=contender.bf16)
    return Engine(openvino_peer.forward(request), _named(openvino_peer.implementation(request)))


def _torch(contender: Contender, work: Work) -> Engine:
    """Return the pass of torch's layer or of ours."""
    import torch

    import gatewright
    from benchmarks import peers

    torch.set_num_threads(work.threads)
    sizes = work.case.D, work.case.H
    ours = contender.name.startswith(peers.OURS)
    layer: nn.RNNBase
    layer = gatewright.LSTM(*sizes, **dict(contender.options)) if ours else torch.nn.LSTM(*sizes)  # type: ignore[arg-type]
    layer.load_state_dict(dict(zip(layer.state_dict(), map(torch.from_numpy, work.weights), strict=True)))
    x, dy = torch.from_numpy(work.x), torch.from_numpy(work.dy)
    context = peers.no_context
    if contender.name == TORCH_BF16:
        layer, x, dy = layer.bfloat16(), x.bfloat16(), dy.bfloat16()
    elif contender.name == TORCH_AUTOCAST:
        context, dy = peers.autocast, dy.bfloat16()  # y is of bfloat16 then, and its adjoint too
    forward = work.passed == FORWARD
    call = peers.forward(layer, x, context) if forward else peers.training(layer, x, dy, context)
    return Engine(call, _named(_our_implementation(contender)) if ours else onednn)


def _our_implementation(contender: Contender) -> str:
    from gatewright import kernels

    return f"{kernels.info().target}{', products in bf16' if contender.bf16 else ''}"


def _named(implementation: str) -> Callable[[], Any]:
    """Return a context of `Engine.said` for what is known before the call."""

    @contextmanager
    def said() -> Iterator[Callable[[], str]]:
        yield lambda: implementation

    return said


@contextmanager
def onednn() -> Iterator[Callable[[], str]]:
    """Let oneDNN, the library below torch, say which implementation of its recurrent primitive runs."""
    import torch

    text = ""
    with tempfile.TemporaryFile() as file:
        with output_redirected(file), torch.backends.mkldnn.verbose(torch.backends.mkldnn.VERBOSE_ON):
            yield lambda: onednn_implementation(text)
        file.seek(0)
        text = file.read().decode(errors="replace")


def onednn_implementation(text: str) -> str:
    """Return the implementations that oneDNN's verbose lines name, each once.

    >>> onednn_implementation("onednn_verbose,v1,primitive,exec,cpu,rnn,brgemm:avx512_core_bf16,backward,...")
    'oneDNN brgemm:avx512_core_bf16'
    >>> onednn_implementation("")
    'ATen'
    """
    names = dict.fromkeys(re.findall(r"exec,cpu,rnn,([^,\s]+),", text))
    return f"oneDNN {', '.join(names)}" if names else "ATen"
