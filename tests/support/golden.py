"""SHA-256 of results that no refactoring may change: ``python -m tests.support.golden --write`` records them anew.

Run in a process of its own, whose environment (`ENVIRONMENT`) fixes the instructions that Gatewright's kernels and
torch's may use.  Inputs come from whole-number arithmetic, not from a library's random numbers.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

import gatewright as gw
from gatewright import kernels
from gatewright.files import model_file
from tests.support import training_runs

FILE = Path(__file__).with_name("golden.json")

ENVIRONMENT = {
    "GATEWRIGHT_TARGET": "avx2",
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_CBWR": "COMPATIBLE",
    "OMP_NUM_THREADS": "1",
}


def digest(arrays: Iterable[Any]) -> str:
    """Return the SHA-256 of numbers, with their types and shapes."""
    found = hashlib.sha256()
    for array in arrays:
        each = np.ascontiguousarray(array.detach().numpy() if isinstance(array, torch.Tensor) else array)
        found.update(f"{each.dtype.str}{each.shape}".encode())
        found.update(each.tobytes())
    return found.hexdigest()


def numbers(*shape: int, seed: int = 0, scale: float = 1.0) -> torch.Tensor:
    """Return numbers between -scale and scale, spread evenly: a multiplicative hash of their position."""
    position = np.arange(int(np.prod(shape)), dtype=np.uint64) + np.uint64(seed * 1_000_003 + 1)
    hashed = (position * np.uint64(2654435761)) % np.uint64(2**32)
    return torch.from_numpy((hashed.astype(np.float64) / 2**31 - 1).reshape(shape) * scale)


def layer(dtype: torch.dtype, **options: Any) -> gw.LSTM:
    """Return an LSTM whose weights are `numbers`."""
    made = gw.LSTM(**options).to(dtype)
    with torch.no_grad():
        for seed, parameter in enumerate(made.parameters()):
            parameter.copy_(numbers(*parameter.shape, seed=seed, scale=0.4))
    return made


def results(x: Any, made: gw.LSTM) -> Iterator[torch.Tensor]:
    """Yield outputs, final states, recorded gates, and the gradients of all that a loss can read."""
    tensor = x.data if isinstance(x, PackedSequence) else x
    tensor.requires_grad_()
    y, (h, c), record = made(x, record=True)
    y = y.data if isinstance(y, PackedSequence) else y
    recorded = [getattr(each, name) for each in record.layers for name in ("forget_gate", "candidate", "cell")]
    yield from (y, h, c, *recorded)
    loss = sum(
        (out * numbers(*out.shape, seed=n).to(out.dtype)).sum() for n, out in enumerate((y, h, c, *recorded))
    )
    loss.backward()  # type: ignore[union-attr]
    yield tensor.grad
    yield from (parameter.grad for parameter in made.parameters() if parameter.grad is not None)


def layers() -> Iterator[tuple[str, str]]:
    """Six shapes: a plain layer, one that is wide, a stack in both directions, a projection, rows of unequal
    length, and one long enough to be walked in chunks, with checkpoints."""
    f32, f64 = torch.float32, torch.float64
    cases: dict[str, tuple[Callable[[], gw.LSTM], Callable[[], Any]]] = {
        "plain": (lambda: layer(f32, input_size=5, hidden_size=20), lambda: numbers(13, 4, 5).float()),
        "wide": (lambda: layer(f32, input_size=33, hidden_size=150), lambda: numbers(7, 1, 33).float()),
        "both directions": (
            lambda: layer(f32, input_size=3, hidden_size=17, num_layers=2, bidirectional=True, bias=False),
            lambda: numbers(9, 5, 3).float(),
        ),
        "projection": (
            lambda: layer(f64, input_size=6, hidden_size=24, proj_size=10, num_layers=2),
            lambda: numbers(11, 3, 6),
        ),
        "packed": (
            lambda: layer(f32, input_size=4, hidden_size=16, bidirectional=True),
            lambda: pack_padded_sequence(numbers(12, 4, 4).float(), torch.tensor([12, 9, 9, 1])),
        ),
        "long": (lambda: layer(f32, input_size=2, hidden_size=40), lambda: numbers(700, 6, 2).float()),
    }
    for name, (model, x) in cases.items():
        yield f"layer, {name}", digest(results(x(), model()))
    made = layer(f32, input_size=2, hidden_size=40, checkpoint=16)
    x = numbers(300, 3, 2).float().requires_grad_()
    y, (_, c) = made(x)
    (y.square().sum() + c.sum()).backward()
    yield "layer, checkpoints", digest([y, c, x.grad, *(each.grad for each in made.parameters())])


def table(path: Path) -> Path:
    """Write an hourly series with a few gaps and an input known in advance."""
    rows = 400
    load, wind = 20 + 4 * numbers(rows), numbers(rows, seed=1)
    times = np.datetime64("2024-01-01T00") + np.arange(rows).astype("timedelta64[h]")
    lines = [
        f"{times[n]}:00,{'' if n % 41 == 7 else f'{load[n] + 2 * wind[n]:.3f}'},{wind[n]:.3f}" for n in range(rows)
    ]
    path.write_text("\n".join(["time,load,wind", *lines]) + "\n", "utf-8")
    return path


def text(path: Path) -> Path:
    """Write words of a small vocabulary."""
    words = ["gate", "cell", "forgets", "what", "it", "read,", "then", "writes", "again."]
    order = ((numbers(1300, seed=2).numpy() + 1) / 2 * len(words)).astype(int)
    path.write_text(" ".join(words[n] for n in order), "utf-8")
    return path


def narrow_streams(trained: Path) -> Iterator[tuple[str, str]]:
    """Yield what a model says with weights of 16 and 8 bits: single steps, then steps of several sessions."""
    for weights in ("bf16-float32", "int8-float32"):
        stream = gw.Stream.load(trained, sessions=7, weights=weights)
        if stream.targets:
            times = np.datetime64("2024-02-01T00") + np.arange(6).astype("timedelta64[h]")
            rows = 20 + 4 * numbers(6, 7, len(stream.columns), seed=3).numpy()
            answers = [
                stream.step(rows[0, 0], 0, time=times[0]),
                *stream.run(rows[1:], times=times[1:], record=True),
            ]
        else:
            symbols = ((numbers(6, 7, seed=3).numpy() + 1) / 2 * len(stream.symbols)).astype(np.int64)
            answers = [stream.step(int(symbols[0, 0]), 0), *stream.run(symbols[1:], record=True)]
        yield weights, digest([*answers[:2], *parts_of(answers[2])])


def parts_of(record: Iterable[Any]) -> list[Any]:
    """Return the parts that the record of a stream has."""
    return [part for part in record if part is not None]


def bare_streams() -> Iterator[tuple[str, str]]:
    """Yield what two layers with a projection say, whose hidden units fill more than one block of a kernel."""
    made = layer(torch.float32, input_size=11, hidden_size=45, proj_size=21, num_layers=2)
    x = numbers(9, 5, 11, seed=4).float().numpy()
    for weights in ("float32", "bf16", "bf16-float32", "int8", "int8-float32"):
        several = gw.Stream.from_weights(made.state_dict(), sessions=5, weights=weights)
        single = gw.Stream.from_weights(made.state_dict(), weights=weights)
        y, record = several.run(x, record=True)
        yield (
            f"stream, layers, {weights}",
            digest([y, *parts_of(record), single.run(x[:, 0]), single.step(x[0, 1])]),
        )


def models(folder: Path) -> Iterator[tuple[str, str]]:
    """A training of each kind, and what its model says: as a stream, a recording, C source."""
    from gatewright.exchange.c import to_c

    sources = {"forecast": table(folder / "load.csv"), "language": text(folder / "plays.txt")}
    forecast = training_runs.FORECAST
    forecast = replace(
        forecast,
        data=replace(forecast.data, season=("none",)),
        model=replace(forecast.model, start="zero"),
        training=replace(forecast.training, calibrate="none"),
    )
    options = {"forecast": forecast, "language": training_runs.LANGUAGE}
    for kind, source in sources.items():
        training_runs.train(source, options[kind], run=folder / kind, console=training_runs.quiet())
        trained = folder / kind / "model.safetensors"
        weights = training_runs.weights(folder / kind, "model.safetensors")
        yield f"training, {kind}", digest(np.frombuffer(weights[name], np.uint8) for name in sorted(weights))

        stream = gw.Stream.load(trained)
        if kind == "forecast":
            rows = [[20.0 + n % 5, *(0.1 * ((n + k) % 7) for k in range(1, 4))] for n in range(24)]
            given = [stream.step(row, time=f"2024-02-01T{n:02}:00") for n, row in enumerate(rows)]
        else:
            given = [stream.step(symbol) for symbol in "the gate forgets what it read"]
        yield f"stream, {kind}", digest(given)
        for kept, value in narrow_streams(trained):
            yield f"stream, {kept}, {kind}", value

        recording = gw.look(folder / kind, steps=60)
        arrays = [
            getattr(each, name)
            for each in recording.layers
            for name in ("input_gate", "forget_gate", "candidate", "output_gate", "cell", "hidden")
        ]
        yield f"recording, {kind}", digest([*arrays, recording.inputs, recording.predictions])

        to_c(model_file.read(trained), folder / f"{kind}-c")
        source_code = (folder / f"{kind}-c" / "model.c").read_text("utf-8")
        data = re.sub(r"/\*.*?\*/", "", source_code, flags=re.DOTALL)
        yield f"C model, {kind}", hashlib.sha256("".join(data.split()).encode()).hexdigest()


def everything() -> dict[str, str]:
    """Return every digest by its name."""
    assert kernels.info().target == ENVIRONMENT["GATEWRIGHT_TARGET"]
    with tempfile.TemporaryDirectory() as folder:
        return {**dict(layers()), **dict(bare_streams()), **dict(models(Path(folder)))}


if __name__ == "__main__":
    printed = json.dumps(everything(), indent=2) + "\n"
    if "--write" in sys.argv:
        FILE.write_text(printed, "utf-8")
    sys.stdout.write(printed)
