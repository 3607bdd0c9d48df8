"""Whole models as ONNX files, which ONNX Runtime has checked before they are there."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any, NamedTuple

from gatewright.errors import GatewrightError, path_of
from gatewright.exchange.written import Files, require_writable, written
from gatewright.files import model_file
from gatewright.files.model_file import ModelFile
from gatewright.files.model_path import require_model_file
from gatewright.runtime.packed_model import WeightFormat

#: Largest difference from the model that a file may have, by the size of the output.
TOLERANCE = 1e-5

#: Largest file that ONNX writes in one piece.
_MOST_BYTES = 2**31 - 2**20

FILE = "model.onnx"


class Exported(NamedTuple):
    """A model that was written.

    Attributes:
        path: of the file.
        difference: the largest one that ONNX Runtime had from the model on random input, by the size of the
            output: of each target of a forecast, of the other outputs, and of the states.
    """

    path: Path
    difference: float


def export(
    model: Any, path: str | os.PathLike[str], *, weights: WeightFormat = "float32", overwrite: bool = False
) -> Exported:
    """Write a whole model as an ONNX file: cells of a table or symbols in, forecasts, scores or probabilities out.

    The graph has dynamic axes for steps and rows, and its states as inputs and outputs (`docs/onnx.md`).  ONNX
    Runtime runs it on random input before it is written: nothing is, unless it gives what the model does to 1e-5.

    Args:
        model: a `gatewright.Model`, an estimator that is fitted, the directory of a run, or a model file.
        path: the file.
        weights: how those of the gates are kept: "float32"; or "bf16-float32" in a half of the space, or
            "int8-float32" in a quarter, rounded as `Stream.load` does it, for products of float32.
        overwrite: whether it may replace another.

    Raises:
        GatewrightError: if ONNX's operators cannot compute what the model does, ONNX Runtime gives another result,
            a package of ``gatewright[onnx]`` is missing, or the file is there or cannot be written.

    >>> import tempfile
    >>> from gatewright.spec import UNKNOWN, ModelSpec, StackSpec, SymbolEncoder, SymbolHead, Vocabulary
    >>> from gatewright import Model
    >>> spec = ModelSpec(SymbolEncoder(symbols=3, embedding_size=2), StackSpec(4), SymbolHead())
    >>> model = Model(spec, vocabulary=Vocabulary((UNKNOWN, "a", "b")))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     export(model, f"{folder}/model.onnx").difference < 1e-6
    True
    """
    path = path_of(path, "path")
    file = file_of(model)
    if path.exists() and not overwrite:
        raise GatewrightError("path", "a file that is not there yet, or overwrite=True", str(path))
    content, difference = _checked(file, weights)
    written(path.parent, {path.name: content}, overwrite=overwrite)
    return Exported(path, difference)


def to_onnx(file: ModelFile, folder: Path, *, overwrite: bool = False, weights: WeightFormat = "float32") -> Files:
    """Write a model as ``model.onnx``, as `export` does.

    Args:
        file: the model.
        folder: where; made if need be.
        overwrite: whether a file of this name may be replaced.
        weights: as for `export`.

    Raises:
        GatewrightError: as `export`.
    """
    require_writable(folder, (FILE,), overwrite=overwrite)
    content, difference = _checked(file, weights)
    paths = written(folder, {FILE: content}, overwrite=overwrite)
    note = f"ONNX Runtime differs from the model by at most {difference:.1e} of the size of an output"
    return Files(paths, f"{note}; weights are {weights}")


def file_of(model: Any) -> ModelFile:
    """Return what the file of a model holds.

    Args:
        model: as for `export`.

    Raises:
        GatewrightError: if it is no model.
    """
    if isinstance(model, str | os.PathLike):
        return model_file.read(require_model_file(Path(model), "model"))
    model = getattr(model, "model_", model)
    if isinstance(model, ModelFile):
        return model
    if callable(getattr(model, "file", None)) and isinstance(file := model.file(), ModelFile):
        return file
    expected = "a gatewright.Model, a fitted estimator, a run's directory or a model file"
    raise GatewrightError("model", expected, f"a value of type {type(model).__name__}")


def _checked(file: ModelFile, weights: WeightFormat = "float32") -> tuple[bytes, float]:
    """Return a model as the bytes of an ONNX file, and how far ONNX Runtime is from it."""
    if sum(each.nbytes for each in file.tensors.values()) > _MOST_BYTES:
        sentence = "ONNX keeps at most 2 GiB in one file"
        raise GatewrightError("model", "one of less than 2 GiB", "a larger one", sentence=sentence)
    try:
        import onnx  # noqa: F401
        import onnxruntime  # type: ignore[import-untyped]  # noqa: F401
    except ModuleNotFoundError as error:
        expected = f"the package {error.name}: pip install 'gatewright[onnx]'"
        raise GatewrightError("onnx", expected, "none") from None
    if file.spec.lstm.bidirectional and importlib.util.find_spec("torch") is None:
        raise GatewrightError("torch", "the package torch, to check a model of both directions", "none")
    from gatewright.exchange.onnx.check import largest_difference
    from gatewright.exchange.onnx.model import built

    model = built(file, weights)
    difference = largest_difference(file, model, weights)
    if not difference <= TOLERANCE:
        sentence = f"ONNX Runtime differs from the model by {difference:.1e} of the size of an output"
        sentence += f", more than {TOLERANCE:.0e}; nothing is written"
        raise GatewrightError("model", f"at most {TOLERANCE:.0e}", f"{difference:.1e}", sentence=sentence)
    content: bytes = model.SerializeToString()
    return content, difference
