"""Two models on the same data: the largest difference of each output, and where it is."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.table import Table as Lines

from gatewright.errors import GatewrightError, path_of, shorten
from gatewright.evaluation.output_differences import Difference, OutputDifferences
from gatewright.evaluation.verified_models import (
    ARRAYS,
    Engine,
    Inputs,
    arrays_of,
    call,
    engine_of,
    is_onnx,
    outputs_of,
)
from gatewright.files import model_file
from gatewright.files.model_path import is_run, require_model_file
from gatewright.runs.run import Run
from gatewright.runtime.signature import Signature
from gatewright.tasks import registry
from gatewright.tasks.tables import empty

#: The largest relative difference of models that agree.
TOLERANCE = 1e-5
#: Outputs that are printed.
_MOST_LINES = 40


class Verification(NamedTuple):
    """How far two models' outputs are apart.

    Attributes:
        differences: the largest of each output, in order.
        steps: number of steps compared, those of all sequences counted.
        tolerance: the largest relative difference of models that agree.
    """

    differences: list[Difference]
    steps: int
    tolerance: float

    @property
    def largest(self) -> Difference:
        """The largest difference, by its relative size."""
        return max(self.differences, key=lambda each: each.relative)

    @property
    def agrees(self) -> bool:
        """Whether no output differs by more than the tolerance, relative to its scale."""
        return self.largest.relative <= self.tolerance


def verify(a: Any, b: Any, data: Any, *, run: Any = None, tolerance: float = TOLERANCE) -> Verification:
    """Compare two models on data.

    With a file, both models read it step by step as a run's data, as `gatewright quantize` does: windows of a
    table (up to 2,000, evenly spread), the first 200,000 characters of a text, the first sequences; every output
    of every step is compared.  With arrays, both are called with them, and all arrays that they give are compared.

    Args:
        a: a run directory, a model file, an ONNX file that `gatewright export --to onnx` wrote, a
            `gatewright.Model` or a fitted estimator; with arrays an ONNX file, a torch module, a Keras model, or
            any function.
        b: likewise; it is ``b`` that is held against the scale of ``a``.
        data: the path of a file like that of the training; or an array, a tuple of arrays, or arrays by the names
            of inputs, also as the path of an .npy or .npz file.
        run: the run directory whose options say how the file is read, where neither ``a`` nor ``b`` is one.
        tolerance: the largest difference of models that agree, relative to the largest value of an output.

    Raises:
        GatewrightError: if a model or the data cannot be read, they do not fit, or outputs differ in shape.

    >>> import torch
    >>> layer = torch.nn.Linear(2, 1)
    >>> same = verify(layer, lambda x: layer(torch.from_numpy(x)), np.ones((3, 2), np.float32))
    >>> same.agrees, same.largest.absolute
    (True, 0.0)
    """
    numeric = isinstance(tolerance, int | float) and not isinstance(tolerance, bool)
    if not numeric or not 0 <= tolerance < math.inf:
        raise GatewrightError("tolerance", "a finite number of at least 0", shorten(tolerance))
    if not isinstance(data, (str, os.PathLike)):
        return _on_arrays(a, b, data if isinstance(data, (tuple, dict)) else (data,), tolerance)
    path = path_of(data, "data")
    if path.suffix in ARRAYS:
        return _on_arrays(a, b, arrays_of(path), tolerance)
    return _on_file(a, b, path, run, tolerance)


def lines(verification: Verification) -> Lines:
    """Lay out the outputs, those with the largest relative differences first where there are many."""
    shown = verification.differences
    title = f"{verification.steps:,} steps"
    if len(shown) > _MOST_LINES:
        shown = sorted(shown, key=lambda each: -each.relative)[:_MOST_LINES]
        title += f", the {_MOST_LINES} most different of {len(verification.differences):,} outputs"
    laid_out = empty(title, ["largest difference", "of the scale", "scale", "A", "B", "sequence", "step", "part"])
    for each in shown:
        where = (str(each.sequence), str(each.step), each.part) if each.absolute else ("", "", "")
        numbers = (
            f"{each.absolute:.3g}",
            f"{each.relative:.2e}",
            f"{each.scale:.4g}",
            f"{each.a:.9g}",
            f"{each.b:.9g}",
        )
        laid_out.add_row(each.name, *numbers, *where)
    return laid_out


def _on_file(a: Any, b: Any, path: Path, run: Any, tolerance: float) -> Verification:
    reader, file = _reader(a, b, run)
    engines = [engine_of(model, file, name) for name, model in (("A", a), ("B", b))]
    differences = OutputDifferences(*_labels(Signature.of(file.spec, file.vocabulary)))
    with reader.reading():
        score = registry.kind(reader.kind).stream_score(file, path, reader.options().data)
    score.metrics(_Pair(engines[0], engines[1], differences))  # type: ignore[arg-type]  # in a stream's place
    return Verification(differences.by_output(), differences.steps, tolerance)


def _reader(a: Any, b: Any, run: Any) -> tuple[Run, model_file.ModelFile]:
    """Return the run that says how data is read, and the model whose input it is.

    Raises:
        GatewrightError: if neither is in a run, and no run is given.
    """
    for name, each in (("--run", run), ("A", a), ("B", b)):
        if isinstance(each, Run):
            return each, model_file.read(each.require_model())
        if isinstance(each, (str, os.PathLike)) and not is_onnx(each):
            path = path_of(each, name, "the directory of a run")
            if not path.exists():
                require_model_file(path, name)  # which says so
            folder = path if is_run(path) else path.parent
            if is_run(folder):
                found = Run.open(folder)
                return found, model_file.read(found.require_model() if path == folder else path)
            if each is run:
                Run.open(path)  # which says what is wrong with it
    expected = "the run whose data this is like, where neither A nor B is in one"
    raise GatewrightError("--run", expected, "none")


class _Pair:
    """Two models in the place of one stream: both read everything, and their outputs are compared.

    Args:
        a: the first model, whose outputs the caller gets.
        b: the second.
        differences: where they are counted.
    """

    def __init__(self, a: Engine, b: Engine, differences: OutputDifferences) -> None:
        self._a, self._b, self._differences = a, b, differences
        self._first, self._sessions, self._step = 0, 0, 0

    @property
    def reads_calendar(self) -> bool:
        """Whether a step needs its time."""
        return self._a.reads_calendar

    def reset(self, sessions: Any = None) -> None:
        """Begin new sequences."""
        self._first += self._sessions
        self._sessions, self._step = 0, 0
        for engine in (self._a, self._b):
            engine.reset(sessions)

    def step(self, x: Any, sessions: Any = None, *, time: Any = None, indexed: bool = False) -> Any:
        """Advance both by one step of several sessions."""
        results = [each.step(x, sessions, time=time, indexed=indexed) for each in (self._a, self._b)]
        self._compare(results[0][None], results[1][None], sessions)
        return results[0]

    def run(self, xs: Any, sessions: Any = None, *, indexed: bool = False) -> Any:
        """Advance both by many steps of one or several sessions."""
        results = [each.run(xs, sessions, indexed=indexed) for each in (self._a, self._b)]
        a, b = (each[:, None] for each in results) if isinstance(sessions, int) else results
        self._compare(a, b, sessions)
        return results[0]

    def _compare(self, a: Any, b: Any, sessions: Any) -> None:
        if a.shape != b.shape:
            raise GatewrightError("B", f"outputs of shape {a.shape[2:]}, as A gives", str(b.shape[2:]))
        numbers = [sessions] if isinstance(sessions, int) else list(sessions)
        self._differences.add(a, b, [self._first + number for number in numbers], self._step)
        self._sessions = max(self._sessions, *(number + 1 for number in numbers))
        self._step += len(a)


def _labels(signature: Signature) -> tuple[Sequence[str], Sequence[str]]:
    """Return name and part of each number of a step's output."""
    if signature.targets:
        horizon = range(1, signature.output_shape[0] + 1)
        pairs = [
            (f"{target} {level:g}", f"t+{ahead}")
            for ahead in horizon
            for target in signature.targets
            for level in signature.quantiles
        ]
    elif signature.classes:
        pairs = [(name, "") for name in signature.classes]
    else:
        pairs = [("score", shorten(symbol)) for symbol in signature.symbols]
    return [name for name, _ in pairs], [part for _, part in pairs]


def _on_arrays(a: Any, b: Any, inputs: Inputs, tolerance: float) -> Verification:
    ours, theirs = (outputs_of(call(model, inputs, name)) for name, model in (("a", a), ("b", b)))
    if len(ours) != len(theirs):
        raise GatewrightError("b", f"{len(ours)} arrays, as a gives", str(len(theirs)))
    found, steps = [], 0
    for (name, mine), (_, other) in zip(ours, theirs, strict=True):
        if mine.shape != other.shape:
            raise GatewrightError("b", f"an output {name} of shape {mine.shape}, as a gives", str(other.shape))
        differences = OutputDifferences([name])
        differences.add(mine.reshape(-1, 1, 1), other.reshape(-1, 1, 1), [0], 0)
        [largest] = differences.by_output() or [Difference(name, 0.0, 0.0, 0.0, 0.0, 0.0, 0, 0)]
        place = np.unravel_index(largest.step, mine.shape) if mine.size else ()
        found.append(largest._replace(step=0, part=str(list(map(int, place)))))
        steps += 1
    return Verification(found, steps, tolerance)
