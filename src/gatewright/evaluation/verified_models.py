"""What a verification runs: a model's steps, whatever it is written in, and calls of modules and functions."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import GatewrightError, path_of, shorten, unusable
from gatewright.evaluation.whole_sequences import WholeSequences
from gatewright.exchange.onnx.interface import interface_of
from gatewright.exchange.onnx.steps import OnnxSteps, session_of
from gatewright.files import model_file, regular_file
from gatewright.files.model_path import require_model_file
from gatewright.runs.run import Run
from gatewright.runtime.stream import Stream
from gatewright.tasks.base import SESSIONS

Array = NDArray[Any]
#: Inputs of a call: in order, or by name.
Inputs = tuple[Any, ...] | dict[str, Any]

#: Files of arrays.
ARRAYS = (".npy", ".npz")


class Engine(Protocol):
    """A model that goes step by step, as a `gatewright.Stream` does; see there."""

    @property
    def reads_calendar(self) -> bool:
        """Whether a step needs its time."""
        ...

    def reset(self, sessions: Any = None) -> None:
        """Begin anew."""

    def step(self, x: Any, sessions: Any = None, *, time: Any = None, indexed: bool = False) -> Any:
        """Advance by one step."""

    def run(self, xs: Any, sessions: Any = None, *, indexed: bool = False) -> Any:
        """Advance by many steps."""


def is_onnx(path: Any) -> bool:
    """Whether a path is that of an ONNX file, by its name."""
    return isinstance(path, (str, os.PathLike)) and Path(path).suffix == ".onnx"


def engine_of(model: Any, file: model_file.ModelFile, name: str) -> Engine:
    """Return a model that goes step by step.

    Args:
        model: a run, its directory, a model file, an ONNX file, a `gatewright.Model` or a fitted estimator.
        file: the model whose input the data is.
        name: of the argument, for errors.

    Raises:
        GatewrightError: if it is none of these, or reads other columns.
    """
    if is_onnx(model):
        return OnnxSteps(Path(model), file, SESSIONS)
    own = _file(model, name)
    _require_same(own, file, name)
    if own.spec.lstm.bidirectional:
        return WholeSequences(own)
    return Stream.of(own, sessions=SESSIONS)


def _file(model: Any, name: str) -> model_file.ModelFile:
    if isinstance(model, Run):
        return model_file.read(model.require_model())
    if isinstance(model, (str, os.PathLike)):
        return model_file.read(require_model_file(path_of(model, name), name))
    model = getattr(model, "model_", model)  # of an estimator
    if hasattr(model, "file") and hasattr(model, "spec"):
        file: model_file.ModelFile = model.file()
        return file
    expected = "a run, a model file, an ONNX file or a gatewright.Model; to compare functions, give arrays as data"
    raise GatewrightError(name, expected, f"a value of type {type(model).__name__}")


def _require_same(own: model_file.ModelFile, file: model_file.ModelFile, name: str) -> None:
    """Require inputs and outputs that stand for the same: categories and symbols are compared as numbers.

    Raises:
        GatewrightError: names what differs.
    """
    ours, theirs = (
        {"kind": each.spec.head.kind, **interface_of(each), "output": each.spec.output_shape}
        for each in (own, file)
    )
    for what, value in theirs.items():
        if ours[what] != value:
            expected = f"a model with the inputs and outputs of the other, {what} {shorten(value)}"
            raise GatewrightError(name, expected, shorten(ours[what]))


def arrays_of(path: Path) -> Inputs:
    """Return the arrays in a file: the one of an .npy file, those of an .npz file by name.

    Raises:
        GatewrightError: if the file is not there, or holds something else, such as Python objects.
    """
    try:
        with regular_file.open_file(path) as file:
            content = np.load(file, allow_pickle=False)
            return (content,) if isinstance(content, np.ndarray) else dict(content)
    except OSError as error:
        raise unusable(GatewrightError, path, error) from None
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise GatewrightError(str(path), "arrays of numbers", str(error)) from None


def call(model: Any, inputs: Inputs, name: str) -> Any:
    """Return what a model gives for arrays.

    Args:
        model: the path of an ONNX file, a torch module, which is called in evaluation mode, or a function.
        inputs: arrays or tensors, in order or by name.
        name: of the argument, for errors.

    Raises:
        GatewrightError: if it is none of these.
    """
    if is_onnx(model):
        return _by_onnx_runtime(Path(model), inputs)
    if not callable(model):
        expected = "a function, a module or an ONNX file; to compare runs, give the path of a file as data"
        raise GatewrightError(name, expected, f"a value of type {type(model).__name__}")
    if _is_module(model):
        return _by_module(model, inputs)
    return model(**inputs) if isinstance(inputs, dict) else model(*inputs)


def _is_module(model: Any) -> bool:
    import torch

    return isinstance(model, torch.nn.Module)


def _by_module(module: Any, inputs: Inputs) -> Any:
    import torch

    def tensor(value: Any) -> torch.Tensor:
        return value if isinstance(value, torch.Tensor) else torch.as_tensor(np.asarray(value))

    named = {name: tensor(each) for name, each in inputs.items()} if isinstance(inputs, dict) else {}
    placed = [] if isinstance(inputs, dict) else [tensor(each) for each in inputs]
    training = [each for each in module.modules() if each.training]
    module.eval()
    try:
        with torch.no_grad():
            return module(*placed, **named)
    finally:
        for each in training:
            each.training = True


def _by_onnx_runtime(path: Path, inputs: Inputs) -> dict[str, Array]:
    """Return the outputs of an ONNX file by name."""
    session = session_of(path)
    names = [each.name for each in session.get_inputs()]
    if isinstance(inputs, dict):
        if set(inputs) != set(names):
            expected = f"arrays {', '.join(names)} for {path}"
            raise GatewrightError("data", expected, ", ".join(inputs) or "none")
        inputs = tuple(inputs[name] for name in names)
    if len(names) != len(inputs):
        raise GatewrightError("data", f"arrays for {', '.join(names)} of {path}", f"{len(inputs)} of them")
    outputs = [each.name for each in session.get_outputs()]
    arrays = {name: _array(each) for name, each in zip(names, inputs, strict=True)}
    try:
        return dict(zip(outputs, session.run(outputs, arrays), strict=True))
    except Exception as error:  # ONNX Runtime's own classes
        raise GatewrightError("data", f"the inputs of {path}", str(error).splitlines()[0]) from None


def outputs_of(value: Any) -> list[tuple[str, Array]]:
    """Return all arrays in what a model gives, by their place or name in it.

    >>> [(name, array.shape) for name, array in outputs_of((np.ones(2), {"h": np.ones(3)}))]
    [('0', (2,)), ('1.h', (3,))]
    """
    return [(name or "output", array) for name, array in _leaves(value, "")]


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Array]]:
    if value is None:
        return
    if isinstance(value, Mapping):
        items = list(value.items())
    elif isinstance(value, (tuple, list)):
        items = [(str(number), each) for number, each in enumerate(value)]
    else:
        yield path, _array(value)
        return
    for name, each in items:
        yield from _leaves(each, f"{path}.{name}" if path else str(name))


def _array(value: Any) -> Array:
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        value = value.float() if str(value.dtype) == "torch.bfloat16" else value
    return np.asarray(value)
