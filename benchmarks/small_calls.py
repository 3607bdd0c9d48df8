"""Calls of a few microseconds, batch 1 and one step: what Python, torch and the bindings add to the kernels.

A call is `REPEATS` of the same kind, in the calling thread.  The time is that thread's own (CPU), the minimum over
rounds in which the contenders take turns: what such a call takes where nothing else runs.  The ratio to torch's is
what a busy machine changes least.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks import peers
from benchmarks.bars import Bar, Judged
from benchmarks.cases import Case
from benchmarks.peers import OURS, TORCH
from benchmarks.settings import Part, Settings, torch_threads
from gatewright import Stream

SIZES = (16, 64, 128)
REPEATS = 50
#: Rounds, each of some milliseconds.
ROUNDS, QUICK_ROUNDS = 150, 10

NO_GRAD, STATE, TRAINING = "no_grad", "inference, state", "forward + backward"
STEP, INTO = "Stream.step", "Stream.step_into"
CALL_BAR = Bar("layer call, B = T = 1, D = H = 64, no_grad, µs", 20, 12, at_most=True)
TRAINING_BAR = Bar("... forward + backward, µs", 110, 75, at_most=True)
STEP_BAR = Bar("Stream.step, D = H = 64, µs", 1.0, 0.8, at_most=True)

#: Does a call so many times; returns what the last one gave.
Repeated = Callable[[int], Sequence[Any]]


def run(settings: Settings) -> Part:
    """Measure and print the calls at every size."""
    print("\nsmall calls, 1 thread, batch 1, one step (CPU time of the thread, microseconds)")
    print(f"{'D = H':>6}  {'call':20}{'ours':>9}{'torch':>9}{'/torch':>8}")
    rounds = QUICK_ROUNDS if settings.quick else ROUNDS
    figures, judged = [], []
    for size in SIZES:
        for name, calls in contenders(size).items():
            peers.agree({contender: call(1) for contender, call in calls.items()})
            with torch_threads(1):
                us = least(calls, rounds)
            print(f"{size:6}  {name:20}{us[OURS]:9.2f}", end="")
            print(f"{us[TORCH]:9.2f}{us[TORCH] / us[OURS]:8.1f}" if TORCH in us else "", flush=True)
            figures.append({"H": size, "call": name, "us": us})
            bar = {NO_GRAD: CALL_BAR, TRAINING: TRAINING_BAR, STEP: STEP_BAR}.get(name)
            if size == 64 and bar is not None:
                judged.append(Judged(bar, 1, us[OURS]))
    return Part(figures, judged)


def least(calls: Mapping[str, Repeated], rounds: int) -> dict[str, float]:
    """Return the least microseconds of a call, of each contender, in turns."""
    for call in calls.values():
        call(REPEATS)
    us = dict.fromkeys(calls, float("inf"))
    for _ in range(rounds):
        for name, call in calls.items():
            began = time.thread_time_ns()
            call(REPEATS)
            us[name] = min(us[name], (time.thread_time_ns() - began) / REPEATS / 1000)
    return us


def contenders(size: int) -> dict[str, dict[str, Repeated]]:
    """Return the calls of each kind, by contender."""
    case = Case("small", 1, 1, size, size)
    layers = peers.layers(case)
    kinds: dict[str, Callable[[nn.RNNBase, Case], Repeated]] = {
        NO_GRAD: _without_gradients,
        STATE: _with_state,
        TRAINING: _training,
    }
    calls = {kind: {name: make(layer, case) for name, layer in layers.items()} for kind, make in kinds.items()}
    streams = {STEP: _stream(layers[OURS], case, into=False), INTO: _stream(layers[OURS], case, into=True)}
    return {**calls, **{kind: {OURS: call} for kind, call in streams.items()}}


def _without_gradients(layer: nn.RNNBase, case: Case) -> Repeated:
    x, _ = peers.inputs(case)

    @torch.no_grad()
    def call(times: int) -> Sequence[Any]:
        for _ in range(times):
            y, state = layer(x)
        return y, *state

    return call


def _with_state(layer: nn.RNNBase, case: Case) -> Repeated:
    x, _ = peers.inputs(case)
    zero = torch.zeros(1, 1, case.H)

    @torch.inference_mode()
    def call(times: int) -> Sequence[Any]:
        state = zero, zero
        for _ in range(times):
            y, state = layer(x, state)
        return y, *state

    return call


def _training(layer: nn.RNNBase, case: Case) -> Repeated:
    x, dy = peers.inputs(case)
    weights = list(layer.parameters())

    def call(times: int) -> Sequence[Any]:
        for _ in range(times):
            for weight in weights:
                weight.grad = None
            layer(x)[0].backward(dy)
        return [weight.grad for weight in weights]

    return call


def _stream(layer: nn.RNNBase, case: Case, *, into: bool) -> Repeated:
    x = peers.inputs(case)[0][0, 0].numpy()
    stream = Stream.from_weights(layer.state_dict())
    out = np.empty(stream.output_shape, np.float32)

    def call(times: int) -> Sequence[Any]:
        if into:
            for _ in range(times):
                stream.step_into(x, out)
        else:
            for _ in range(times):
                stream.step(x)
        state = stream.state()
        return state.hidden, state.cell

    return call
