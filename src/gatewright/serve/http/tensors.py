"""Tensors of the Open Inference Protocol, in JSON or in the binary extension, and the steps that they hold.

Protocol: https://github.com/kserve/open-inference-protocol; the extension is Triton's ``binary_tensor_data``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import GatewrightError
from gatewright.serve.http.validation_errors import preview
from gatewright.serve.schemas import Datatype, TensorBody

Array = NDArray[Any]

#: Type of the numbers of each datatype.
DTYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype("?"),
    **{f"INT{bits}": np.dtype(f"<i{bits // 8}") for bits in (8, 16, 32, 64)},
    **{f"UINT{bits}": np.dtype(f"<u{bits // 8}") for bits in (8, 16, 32, 64)},
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
}
_TEXT = "BYTES"


def read_tensors(tensors: Sequence[TensorBody], binary: memoryview, most: int) -> dict[str, list[Any]]:
    """Return the values of tensors by name, in rows where a tensor has two axes.

    Args:
        tensors: descriptions, with values of those that are in JSON.
        binary: values of the others, one after another.
        most: maximum number of values in all.

    Raises:
        GatewrightError: if a tensor is invalid, or does not have the size of its shape.
    """
    values: dict[str, list[Any]] = {}
    for tensor in tensors:
        count, size = math.prod(tensor.shape), tensor.parameters.get("binary_data_size")
        most -= count
        if most < 0:
            raise GatewrightError("inputs", "fewer values in one request", "more")
        if tensor.name in values:
            raise GatewrightError("inputs", "one tensor of each name", f"two named {tensor.name!r}"[:80])
        if size is None:
            flat = _of_json(tensor, count)
        else:
            if type(size) is not int or not 0 <= size <= len(binary) or tensor.data is not None:
                expected = "the number of the tensor's bytes after the JSON, and no data in it"
                raise GatewrightError(f"{tensor.name}.binary_data_size", expected, preview(size))
            flat, binary = _of_bytes(tensor, binary[:size], count), binary[size:]
        values[tensor.name] = _rows(flat, tensor.shape)
    if len(binary):
        raise GatewrightError("inputs", "no bytes after the last tensor", f"{len(binary)}")
    return values


def _rows(flat: list[Any], shape: list[int]) -> list[Any]:
    if len(shape) == 1:
        return flat
    return [flat[at : at + shape[1]] for at in range(0, len(flat), shape[1])]


def _of_json(tensor: TensorBody, count: int) -> list[Any]:
    data = tensor.data
    if isinstance(data, list) and data and isinstance(data[0], list):  # rows, or flat
        if not all(isinstance(row, list) and len(row) == len(data[0]) for row in data):
            raise GatewrightError(f"{tensor.name}.data", "rows of equal length", "others")
        data = [value for row in data for value in row]
    if not isinstance(data, list) or len(data) != count:
        got = f"{len(data)}" if isinstance(data, list) else "none"
        raise GatewrightError(f"{tensor.name}.data", f"{count} values, by its shape {tensor.shape}", got)
    allowed = _allowed(tensor.datatype)
    for value in data:
        if type(value) not in allowed:
            raise GatewrightError(f"{tensor.name}.data", f"values of {tensor.datatype}", preview(value))
    return data


def _allowed(datatype: Datatype) -> set[type]:
    if datatype == _TEXT:
        return {str}
    if datatype == "BOOL":
        return {bool}
    return {float, int, type(None)} if datatype.startswith("FP") else {int}  # null: not observed


def _of_bytes(tensor: TensorBody, data: memoryview, count: int) -> list[Any]:
    if tensor.datatype == _TEXT:
        return _texts(tensor.name, data, count)
    dtype = DTYPES[tensor.datatype]
    if len(data) != count * dtype.itemsize:
        expected = f"{count * dtype.itemsize} bytes, by its shape {tensor.shape} of {tensor.datatype}"
        raise GatewrightError(tensor.name, expected, f"{len(data)}")
    values = np.frombuffer(data, dtype)
    if dtype.kind != "f":
        return list(values.tolist())
    if np.isinf(values).any():
        raise GatewrightError(tensor.name, "finite numbers, or NaN where none was observed", "an infinity")
    return [None if value != value else value for value in values.tolist()]


def _texts(name: str, data: memoryview, count: int) -> list[str]:
    """Return texts, each after its length in four bytes."""
    texts, at = [], 0
    for _ in range(count):
        size = int.from_bytes(data[at : at + 4], "little")
        text = bytes(data[at + 4 : at + 4 + size])
        if len(data) < at + 4 + size:
            raise GatewrightError(name, f"{count} texts, each after its length in 4 bytes", "fewer bytes")
        try:
            texts.append(text.decode())
        except UnicodeDecodeError:
            raise GatewrightError(name, "texts in UTF-8", "other bytes") from None
        at += 4 + size
    if at != len(data):
        raise GatewrightError(name, f"{count} texts, each after its length in 4 bytes", "more bytes")
    return texts


def write_tensor(name: str, values: Array, *, binary: bool) -> tuple[dict[str, Any], bytes]:
    """Return the description of a tensor, and its bytes: none if it is written in JSON, with null for NaN."""
    datatype = next(key for key, dtype in DTYPES.items() if dtype == values.dtype.newbyteorder("<"))
    tensor: dict[str, Any] = {"name": name, "datatype": datatype, "shape": list(values.shape)}
    if binary:
        data = np.ascontiguousarray(values, DTYPES[datatype]).tobytes()
        return {**tensor, "parameters": {"binary_data_size": len(data)}}, data
    return {**tensor, "data": values.reshape(-1)}, b""


def steps_of(tensors: dict[str, list[Any]], model: dict[str, Any]) -> dict[str, Any]:
    """Return the input of steps that tensors hold, as the body of a request to advance.

    Args:
        tensors: values by name.
        model: inputs of the model, as `Service.model` describes them.

    Raises:
        GatewrightError: if a tensor is missing, or is none of the model.
    """
    tensors = dict(tensors)
    times = {"times": _column("times", tensors.pop("times"))} if "times" in tensors else {}
    names, expected = set(tensors), _expected(model)
    if model["symbols"] and names == {"text"}:
        text = _column("text", tensors["text"])
        if len(text) != 1:
            raise GatewrightError("text", "one text: shape [1]", f"{len(text)}")
        return {"x": text[0], **times}
    if model["symbols"] and names == {"symbols"}:
        return {"x": _column("symbols", tensors["symbols"]), **times}
    if model["columns"] and names == {"x"}:
        rows = tensors["x"]
        if not all(isinstance(row, list) for row in rows):
            raise GatewrightError("x", f"shape [steps, {len(model['columns'])}]", "one axis")
        return {"x": rows, **times}
    if model["columns"] and names == set(model["columns"]):
        columns = [_column(name, tensors[name]) for name in model["columns"]]
        if len({len(column) for column in columns}) > 1:
            raise GatewrightError("inputs", "columns of equal length", "others")
        return {"x": [list(row) for row in zip(*columns, strict=True)], **times}
    raise GatewrightError("inputs", expected, ", ".join(sorted(names))[:80] or "none")


def _expected(model: dict[str, Any]) -> str:
    if model["symbols"]:
        return "a tensor named text, of BYTES, or symbols, of INT64"
    return f"a tensor named x, or one of each column: {', '.join(model['columns'])}"[:300]


def _column(name: str, values: list[Any]) -> list[Any]:
    """Return the values of one column, of shape [steps] or [steps, 1]."""
    if values and isinstance(values[0], list):
        if len(values[0]) != 1:
            raise GatewrightError(name, "shape [steps] or [steps, 1]", f"{len(values[0])} columns")
        return [value for [value] in values]
    return values
