"""An ONNX graph in the making."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

Array = NDArray[Any]
#: Name of a value, or a constant; None for an input of a node that is left out.
Value = str | Array | np.generic | None

#: Version of ONNX's operators, and of its files: those of ONNX 1.13, which ONNX Runtime has since 1.14.
OPSET, IR_VERSION = 18, 8


class Graph:
    """Nodes over named values, in order; constants are initializers, each once.

    >>> graph = Graph("sum")
    >>> x = graph.input("x", np.float32, "rows", 3)
    >>> graph.output("y", graph("Add", x, np.float32(1)), np.float32, "rows", 3)
    >>> [node.op_type for node in graph.model({}).graph.node]
    ['Add', 'Identity']
    """

    def __init__(self, name: str, above: Graph | None = None) -> None:
        self._name, self._above = name, above
        self._nodes: list[Any] = []
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []
        self._constants: dict[tuple[Any, ...], Any] = {}
        self._count = 0

    def input(self, name: str, dtype: Any, *axes: str | int) -> str:
        """Add an input, and return its name."""
        self._inputs.append(_described(name, dtype, axes))
        return name

    def output(self, name: str, value: Value, dtype: Any, *axes: str | int) -> None:
        """Make a value an output of this name."""
        self._nodes.append(helper.make_node("Identity", [self._named(value)], [name]))
        self._outputs.append(_described(name, dtype, axes))

    def constant(self, array: Array | np.generic, name: str = "") -> str:
        """Add a constant, and return its name; a graph within another has those of the whole."""
        if self._above is not None:
            return self._above.constant(array, name)
        array = np.asarray(array)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            name = name or f"constant_{len(self._constants)}"
            self._constants[key] = numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), name)
        return str(self._constants[key].name)

    def bits(self, array: NDArray[np.uint16]) -> str:
        """Add a constant of bfloat16, by its bits."""
        if self._above is not None:
            return self._above.bits(array)
        name = f"constant_{len(self._constants)}"
        made = helper.make_tensor(name, onnx.TensorProto.BFLOAT16, array.shape, array.tobytes(), raw=True)
        self._constants["bfloat16", array.shape, array.tobytes()] = made
        return str(made.name)

    def __call__(self, operator: str, *inputs: Value, outputs: int = 1, **attributes: Any) -> Any:
        """Add a node, and return the name of its output, or a list of the names of several."""
        names = [f"{self._name}_{operator.lower()}_{self._next()}" for _ in range(outputs)]
        given = [self._named(each) for each in inputs]
        while given and not given[-1]:
            given.pop()
        self._nodes.append(helper.make_node(operator, given, names, **attributes))
        return names[0] if outputs == 1 else names

    def local(self, name: str) -> str:
        """Return a name that no other graph has."""
        return f"{self._name}_{name}"

    def within(self, name: str) -> Graph:
        """Return a new graph for a node that has one, which may read the values of this one."""
        return Graph(f"{self._name}_{name}_{self._next()}", self)

    def proto(self) -> Any:
        """Return the graph."""
        constants = list(self._constants.values())
        return helper.make_graph(self._nodes, self._name, self._inputs, self._outputs, constants)

    def model(self, metadata: Mapping[str, str]) -> Any:
        """Return the whole model, checked by ONNX, with texts by name."""
        opsets = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(
            self.proto(), opset_imports=opsets, ir_version=IR_VERSION, producer_name="gatewright"
        )
        helper.set_model_props(model, dict(metadata))
        onnx.checker.check_model(model, full_check=True)
        return model

    def _next(self) -> int:
        if self._above is not None:
            return self._above._next()
        self._count += 1
        return self._count

    def _named(self, value: Value) -> str:
        if value is None:
            return ""
        return value if isinstance(value, str) else self.constant(value)


def _described(name: str, dtype: Any, axes: tuple[str | int, ...]) -> Any:
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), list(axes))


def whole(*numbers: int) -> Array:
    """Return whole numbers as ONNX takes axes and sizes."""
    return np.array(numbers, np.int64)
