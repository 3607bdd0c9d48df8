"""The model of a stream: packed weights, what a step reads and returns, and the shape of its states."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from gatewright.errors import GatewrightError
from gatewright.files.model_file import ModelFile
from gatewright.native_module import _kernels
from gatewright.runtime.classes import pooled_width, pooling_of, require_stepwise
from gatewright.runtime.native_args import native_columns, native_features, pool_weight, sorted_by_layer
from gatewright.runtime.signature import Signature
from gatewright.runtime.state import Shape, State
from gatewright.spec.cell import STORED_CELL, STORED_RESIDUAL, CellSpec, LayerWeights, cell_of_bytes, require_plain

#: How the weights of the gates are stored, and what products are of.
WeightFormat = Literal["float32", "bf16", "bf16-float32", "int8", "int8-float32"]

#: Names of learned initial states among the weights of LSTM layers.
START = ("h_0", "c_0")

#: The same formats as a text.
WEIGHT_FORMATS = "'float32', 'bf16', 'bf16-float32', 'int8' or 'int8-float32'"


def formats_of(cell: CellSpec) -> tuple[WeightFormat, ...]:
    """Return the formats that a stream of a cell may have.

    >>> formats_of(CellSpec(coupled=True))
    ('float32', 'bf16')
    """
    return ("float32", "bf16") if cell.in_evaluation().features() else get_args(WeightFormat)


class PackedModel(NamedTuple):
    """A model as a stream runs it.

    Attributes:
        native: the packed weights.
        signature: what a step reads and returns.
        shape: of the state of a session.
        cell: of its layers, after training.
    """

    native: _kernels.Model
    signature: Signature
    shape: Shape
    cell: CellSpec


def of_file(file: ModelFile, weights: WeightFormat) -> PackedModel:
    """Pack the content of a model file.

    Raises:
        SpecError: if the model needs whole sequences.
        GatewrightError: if ``weights`` is unknown, or of a format that the cell does not have.
    """
    require_stepwise(file.spec)
    spec, tensors = file.spec, file.tensors
    cell = _evaluated(spec.lstm.cell, weights)
    arrays = {name[5:]: array for name, array in tensors.items() if name.startswith("lstm.")}
    layers = sorted_by_layer(arrays, cell)
    signature = Signature.of(spec, file.vocabulary)
    native = _kernels.model(
        layers,
        tensors.get("encoder.weight"),
        tensors["head.weight"],
        tensors["head.bias"],
        native_columns(file),
        weights,
        native_features(file),
        pooling_of(spec),
        pool_weight(tensors),
        cell.code(),
        cell.rates(),
        spec.lstm.residual,
    )
    remembered = len(spec.encoder.targets) or pooled_width(spec)
    shape = _shape(layers, cell, weights, remembered, file.fingerprint)
    shape = replace(shape, recent=spec.encoder.recent, window=spec.encoder.window)
    return PackedModel(native, signature, shape, cell)


def _shape(
    layers: list[LayerWeights], cell: CellSpec, weights: WeightFormat, remembered: int, model: str
) -> Shape:
    """Return the shape of states, with the fingerprint of a model in a format."""
    sizes, widths = ([getattr(layer, name) for layer in layers] for name in ("hidden_size", "output_size"))
    unequal = len(set(sizes)) > 1
    return Shape(
        len(layers),
        sum(widths) if unequal else widths[0],
        sum(sizes) if unequal else sizes[0],
        remembered,
        _fingerprint(model, weights),
        most_hidden=_most_hidden(weights, projected=layers[0].W_hr is not None),
        cell_rows=cell.cell_state_size(1),
        sizes=tuple(sizes) if unequal else (),
    )


def of_arrays(
    arrays: Mapping[str, Any], weights: WeightFormat, cell: CellSpec, residual: bool = False
) -> PackedModel:
    """Pack the weights of LSTM layers, under the names that `CellSpec.weights` gives them.

    The arrays decide about biases and projection, whatever the cell has; a state dict has the cell itself, and
    says where connections are residual.

    Raises:
        GatewrightError: if names, shapes or types do not fit, a weight is not finite, or ``weights`` is unknown or
            of a format that the cell does not have.
        SpecError: if the cell has no sense with a projection.
    """
    if not isinstance(cell, CellSpec):
        raise GatewrightError("cell", "a gatewright.CellSpec", type(cell).__name__)
    if not hasattr(arrays, "items"):
        hint = "; pass its state_dict()" if hasattr(arrays, "state_dict") else ""
        raise GatewrightError("arrays", "weights by name, as in a state_dict", f"a {type(arrays).__name__}{hint}")
    cell, residual = _evaluated(_stored(cell, arrays), weights), residual or STORED_RESIDUAL in arrays
    arrays = {name: _array(name, value) for name, value in arrays.items() if not _is_other(name)}
    projection = arrays.get("weight_hr_l0")
    width = 0 if projection is None or projection.ndim == 0 else len(projection)
    cell = replace(cell, bias="bias_ih_l0" in arrays, proj_size=width)
    layers = sorted_by_layer(arrays, cell)
    code, rates = cell.code(), cell.rates()
    if residual and len(layers) == 1:
        raise GatewrightError("residual", "False for one layer, or two layers or more", "True")
    native = _kernels.model(layers, None, None, None, None, weights, None, "", None, code, rates, residual)
    signature = Signature.of_layers(native.input_width, native.output_width)
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(f"{name} {arrays[name].shape} ".encode() + arrays[name].astype("<f4").tobytes())
    if cell.features():
        digest.update(f"cell {code} {rates}".encode())
    if residual:
        digest.update(b"residual")
    return PackedModel(native, signature, _shape(layers, cell, weights, 0, digest.hexdigest()), cell)


def _is_other(name: str) -> bool:
    """Whether a name among those of a state dict is of something else than a weight of a layer."""
    return name in (STORED_CELL, STORED_RESIDUAL) or _is_start(name)


def _is_start(name: str) -> bool:
    start, of_layer, number = name.partition("_l")
    return start in START and (not of_layer or number.isdecimal())


def _stored(cell: CellSpec, arrays: Mapping[str, Any]) -> CellSpec:
    """Return the cell that a state dict has next to the weights, if it has one and the caller's is no other."""
    if STORED_CELL not in arrays:
        return cell
    stored = cell_of_bytes(arrays[STORED_CELL])
    if cell.features() and not cell.in_evaluation().same_features(stored.in_evaluation()):
        raise GatewrightError("cell", f"{stored.in_words()}, as the state dict has it", cell.in_words())
    return stored


def start_of(arrays: Mapping[str, Any], shape: Shape) -> State | None:
    """Return the state from which sessions start, if it is among the weights of LSTM layers: `START`.

    Raises:
        GatewrightError: if one of the two is missing, or they do not fit.
    """
    names = [name for name in arrays if _is_start(name)]
    if not names:
        return None
    if not shape.sizes:
        if set(names) != set(START):
            raise GatewrightError("weights", "both of h_0 and c_0, or neither", names[0])
        hidden, cell = (_array(name, arrays[name]) for name in START)
        return shape.check(State(hidden, cell, np.full(shape.last_size, np.nan), steps=0))
    by_layer = [[f"{start}_l{n}" for n in range(shape.layers)] for start in START]
    if set(names) != {name for each in by_layer for name in each}:
        raise GatewrightError("weights", "h_0_l0, c_0_l0 and so on for every layer, or none", names[0])
    hidden, cell = (np.concatenate([_array(name, arrays[name]).ravel() for name in each]) for each in by_layer)
    return shape.check(State(hidden, cell, np.full(shape.last_size, np.nan), steps=0))


def _array(name: str, value: Any) -> np.ndarray[Any, Any]:
    try:
        return np.asarray(value)
    except (TypeError, RuntimeError) as error:  # of a tensor: bfloat16, on another device, or with a gradient
        raise GatewrightError(str(name), "a float32 array", f"a {type(value).__name__}: {error}") from error


def _evaluated(cell: CellSpec, weights: object) -> CellSpec:
    """Return the cell as it is after training, if it has this format."""
    if weights not in get_args(WeightFormat):
        raise GatewrightError("weights", WEIGHT_FORMATS, repr(weights)[:80])
    cell = cell.in_evaluation()
    if weights not in formats_of(cell):
        require_plain(f"a stream with weights={weights!r}", cell)
    return cell


def _most_hidden(weights: WeightFormat, projected: bool) -> float:
    """Return `Shape.most_hidden`; without a projection no step gives more than 1."""
    return 1.0 if weights == "int8" and not projected else math.inf


def _fingerprint(model: str, weights: WeightFormat) -> str:
    """Return the fingerprint of states: the same model in fewer bits has another one."""
    return model if weights == "float32" else hashlib.sha256(f"{model} {weights}".encode()).hexdigest()
