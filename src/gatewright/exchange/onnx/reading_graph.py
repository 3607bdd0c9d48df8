"""Nodes and constants of an ONNX model, within subgraphs and local functions too."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, TensorProto

from gatewright.errors import GatewrightError, shorten, unusable
from gatewright.files import regular_file

Array = NDArray[Any]

#: Operators that may give more numbers than they read; and all whose results are worked out where what they read
#: is constant.
_SPREADING = ("Add", "Div", "Gather", "Mul", "Sub")
_FOLDED = {
    "Cast",
    "Concat",
    "DequantizeLinear",
    "Identity",
    "Neg",
    "Reshape",
    "Shape",
    "Slice",
    "Split",
    "Squeeze",
}
_FOLDED |= {"Transpose", "Unsqueeze", *_SPREADING}
#: Numbers of a constant, nodes one after another that give it, and nodes of a model with its functions called.
_MOST_NUMBERS, _MOST_STEPS, _MOST_NODES = 2**28, 50, 200_000
_ONNX_DOMAINS = ("", "ai.onnx")


def read(model: Any) -> tuple[ModelProto, Path | None]:
    """Return a model and the directory of its external data.

    Args:
        model: an `onnx.ModelProto`, or the path of a file.

    Raises:
        GatewrightError: if there is no such file, or it holds no model.
    """
    if isinstance(model, ModelProto):
        return model, None
    if not isinstance(model, (str, os.PathLike)):
        got = f"a value of type {type(model).__name__}"
        raise GatewrightError("model", "the path of an ONNX file, or an onnx.ModelProto", got)
    path = Path(model)
    try:
        with regular_file.open_file(path) as file:
            content = file.read()
    except OSError as error:
        raise unusable(GatewrightError, path, error) from None
    try:
        loaded = onnx.load_model_from_string(content)
    except Exception:  # that of protobuf, whose package is not ours to import
        loaded = ModelProto()
    if not loaded.graph.node:
        got = "a file that holds none"
        raise GatewrightError(str(path), "an ONNX model", got)
    return loaded, path.parent


@dataclass(frozen=True, eq=False)
class Source:
    """A model, for its scopes.

    Attributes:
        functions: its local functions by domain, name and overload.
        versions: version of each domain's operators.
        folder: directory of its external data; None for a model in memory.
    """

    functions: Mapping[tuple[str, str, str], FunctionProto]
    versions: Mapping[str, int]
    folder: Path | None


@dataclass(eq=False)
class Scope:
    """A graph, or the body of a function in one call of it.

    Attributes:
        source: of the model.
        nodes: of the graph.
        results: names of its outputs.
        path: of the nodes that it is in, "" or with a "/" at its end.
        tensors: constants by name.
        inputs: names that are given at run time.
        outer: the scope around it, whose names it sees.
        arguments: of a function: the scope of the call, and its name there.
        attributes: of a function: those of the call.
        calls: functions that it is within.
        of_function: whether it is the body of one.
    """

    source: Source
    nodes: list[NodeProto]
    results: list[str]
    path: str = ""
    tensors: Mapping[str, TensorProto] = field(default_factory=dict)
    inputs: frozenset[str] = frozenset()
    outer: Scope | None = None
    arguments: Mapping[str, tuple[Scope, str]] = field(default_factory=dict)
    attributes: Mapping[str, AttributeProto] = field(default_factory=dict)
    calls: tuple[tuple[str, str, str], ...] = ()
    of_function: bool = False
    _known: dict[str, Array | None] = field(default_factory=dict)

    @classmethod
    def of(cls, model: Any) -> Scope:
        """Return the graph of a model."""
        proto, folder = read(model)
        functions = {_key(each): each for each in proto.functions}
        versions = {each.domain: each.version for each in proto.opset_import}
        return cls._of_graph(proto.graph, Source(functions, versions, folder))

    @classmethod
    def _of_graph(cls, graph: GraphProto, source: Source, **options: Any) -> Scope:
        tensors = {each.name: each for each in graph.initializer}
        inputs = frozenset(each.name for each in graph.input) - tensors.keys()
        nodes, results = list(graph.node), [each.name for each in graph.output]
        return cls(source, nodes, results, tensors=tensors, inputs=inputs, **options)

    @cached_property
    def names(self) -> list[str]:
        """The name of each node with the path to it; that of its first output where it has none of its own."""
        own = [node.name for node in self.nodes]
        first = [next(filter(None, node.output), "") for node in self.nodes]
        count = Counter(own)
        return [self.path + (a if a and count[a] == 1 else b) for a, b in zip(own, first, strict=True)]

    @cached_property
    def _producers(self) -> dict[str, int]:
        return {name: number for number, node in enumerate(self.nodes) for name in node.output if name}

    @cached_property
    def _readers(self) -> dict[str, list[str]]:
        readers: dict[str, list[str]] = {}
        for node, name in zip(self.nodes, self.names, strict=True):
            for value in set(_read_by(node)):
                readers.setdefault(value, []).append(name)
        for value in self.results:
            readers.setdefault(value, []).append(value)
        return readers

    def producer(self, value: str) -> str:
        """Return the name of the node that gives a value, or the value's own where none in this scope does."""
        return self.names[self._producers[value]] if value in self._producers else value

    def readers(self, value: str) -> tuple[str, ...]:
        """Return the names of the nodes that read a value, and its own if it is an output of the graph."""
        return tuple(self._readers.get(value, ()))

    def attributes_of(self, node: NodeProto) -> dict[str, Any]:
        """Return the attributes of a node, texts decoded, those of its function's call in their places."""
        values = {}
        for attribute in map(self._resolved, node.attribute):
            if attribute is not None:
                values[attribute.name] = _decoded(onnx.helper.get_attribute_value(attribute))
        return values

    def _resolved(self, attribute: AttributeProto) -> AttributeProto | None:
        if not attribute.ref_attr_name:
            return attribute
        given = self.attributes.get(attribute.ref_attr_name)
        if given is None:
            return None
        renamed = AttributeProto()
        renamed.CopyFrom(given)
        renamed.name = attribute.name
        return renamed

    def walk(self) -> Iterator[tuple[Scope, int]]:
        """Yield every node, as its scope and its number there, those of subgraphs and called functions included.

        Raises:
            GatewrightError: if functions call themselves, or there are more nodes than any real model has.
        """
        waiting, count = [self], 0
        while waiting:
            scope = waiting.pop(0)
            count += len(scope.nodes)
            if count > _MOST_NODES:
                expected = f"at most {_MOST_NODES:,} nodes, those of called functions counted at each call"
                raise GatewrightError("model", expected, "more")
            for number, node in enumerate(scope.nodes):
                yield scope, number
                waiting += scope._within(number, node)

    def _within(self, number: int, node: NodeProto) -> list[Scope]:
        """Return the scopes inside a node: its subgraphs, or the body of the function that it calls."""
        path = f"{self.names[number]}/"
        called = self.source.functions.get(_call(node))
        if called is not None:
            return [self._body(called, node, path)]
        graphs = [graph for attribute in node.attribute for graph in (*_graphs(attribute),)]
        several = len(graphs) > 1
        inside = {"outer": self, "attributes": self.attributes, "calls": self.calls}
        return [
            Scope._of_graph(graph, self.source, path=f"{path}{name}/" if several else path, **inside)
            for name, graph in graphs
        ]

    def _body(self, function: FunctionProto, node: NodeProto, path: str) -> Scope:
        key = _key(function)
        if key in self.calls:
            raise GatewrightError(path.rstrip("/"), "a function that does not call itself", shorten(function.name))
        given = {attribute.name: attribute for attribute in map(self._resolved, node.attribute) if attribute}
        defaults = {attribute.name: attribute for attribute in function.attribute_proto}
        arguments = {
            formal: (self, name) for formal, name in zip(function.input, node.input, strict=False) if name
        }
        return Scope(
            self.source,
            list(function.node),
            list(function.output),
            path=path,
            inputs=frozenset(function.input),
            arguments=arguments,
            attributes=defaults | given,
            calls=(*self.calls, key),
            of_function=True,
        )

    def missing(self, name: str) -> bool:
        """Return whether a value is an input of a function that its call leaves out."""
        if name in self.tensors or name in self._producers:
            return False
        if name in self.arguments:
            scope, given = self.arguments[name]
            return scope.missing(given)
        if name in self.inputs:
            return self.of_function
        return self.outer is not None and self.outer.missing(name)

    def constant(self, name: str, steps: int = _MOST_STEPS) -> Array | None:
        """Return a constant; None for a value that is computed at run time.

        Args:
            name: that of the value in this scope.
            steps: the maximum of nodes one after another.

        Raises:
            GatewrightError: if its data is damaged, or too large.
        """
        if name not in self._known:  # or a graph could have one worked out over and over
            self._known[name] = self._found(name, steps)
        return self._known[name]

    def _found(self, name: str, steps: int) -> Array | None:
        """Return a constant; see `constant`."""
        if name in self.tensors:
            return self._array(self.tensors[name], name)
        if name in self._producers:
            return self._folded(self.nodes[self._producers[name]], name, steps - 1) if steps else None
        if name in self.arguments:
            scope, given = self.arguments[name]
            return scope.constant(given, steps - 1) if steps else None
        if name in self.inputs or self.outer is None:
            return None
        return self.outer.constant(name, steps - 1) if steps else None

    def _folded(self, node: NodeProto, name: str, steps: int) -> Array | None:
        """Return the result of a node that reads constants alone; None for any other."""
        if node.domain not in _ONNX_DOMAINS or _call(node) in self.source.functions:
            return None
        attributes = self.attributes_of(node)
        if node.op_type == "Constant":
            return self._constant_node(attributes, name)
        if node.op_type not in _FOLDED:
            return None
        inputs: dict[str, Array] = {}
        for each in filter(None, node.input):
            array = self.constant(each, steps)
            if array is None:
                return None
            inputs[each] = array
        if _numbers(node, attributes, [inputs[each] for each in node.input if each]) > _MOST_NUMBERS:
            raise GatewrightError(self.path + name, f"at most {_MOST_NUMBERS:,} numbers", "more")
        return _evaluated(node, attributes, inputs, self.source.versions.get(node.domain, 1), name)

    def _constant_node(self, attributes: Mapping[str, Any], name: str) -> Array | None:
        if isinstance(attributes.get("value"), TensorProto):
            return self._array(attributes["value"], name)
        for kind, dtype in (("float", np.float32), ("int", np.int64)):
            for key in (f"value_{kind}", f"value_{kind}s"):
                if key in attributes:
                    return np.array(attributes[key], dtype)
        return None

    def _array(self, tensor: TensorProto, name: str) -> Array:
        """Return the numbers of a tensor, from its external file if it has one."""
        where = self.path + name
        try:
            if tensor.data_location == TensorProto.EXTERNAL:
                if self.source.folder is None:
                    expected = (
                        "the path of the model, next to which its external data is, or a model loaded with it"
                    )
                    raise GatewrightError("model", expected, f"an onnx.ModelProto without that of {where}")
                inside = TensorProto()
                inside.CopyFrom(tensor)  # the caller's stays as it is
                onnx.external_data_helper.load_external_data_for_tensor(inside, str(self.source.folder))
                tensor = inside
            array: Array = onnx.numpy_helper.to_array(tensor)
        except GatewrightError:
            raise
        except Exception as error:  # onnx has no class of its own for damaged data
            raise GatewrightError(where, "data of its type and shape", shorten(str(error))) from None
        return array


def _numbers(node: NodeProto, attributes: Mapping[str, Any], inputs: list[Array]) -> int:
    """Return how many numbers a node may give, before it does."""
    if node.op_type not in _SPREADING or len(inputs) != 2:
        return sum(each.size for each in inputs)
    if node.op_type == "Gather":
        data, axis = inputs[0], attributes.get("axis", 0)
        along = data.shape[axis] if -data.ndim <= axis < data.ndim else 1
        return inputs[1].size * (data.size // max(1, along))
    rank = max(each.ndim for each in inputs)
    shapes = [(1,) * (rank - each.ndim) + each.shape for each in inputs]
    return math.prod(map(max, *shapes))


def _evaluated(
    node: NodeProto, attributes: Mapping[str, Any], inputs: Mapping[str, Array], version: int, name: str
) -> Array:
    """Return a result of a node, by ONNX's own reference."""
    from onnx.reference import ReferenceEvaluator

    alone = onnx.helper.make_node(node.op_type, list(node.input), list(node.output), **attributes)
    try:
        values = [onnx.helper.make_empty_tensor_value_info(each) for each in (*inputs, name)]
        graph = onnx.helper.make_graph([alone], "constant", values[:-1], values[-1:])
        model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", version)])
        [result] = ReferenceEvaluator(model).run(None, dict(inputs))
    except Exception as error:  # whatever the reference raises for damaged nodes
        raise GatewrightError(name, f"what {node.op_type} can work out", shorten(str(error))) from None
    return np.asarray(result)


def _key(function: FunctionProto) -> tuple[str, str, str]:
    return _domain(function.domain), function.name, function.overload


def _call(node: NodeProto) -> tuple[str, str, str]:
    return _domain(node.domain), node.op_type, node.overload


def _domain(domain: str) -> str:
    return "" if domain in _ONNX_DOMAINS else domain


def _decoded(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, list):
        return [_decoded(each) for each in value]
    return value


def _graphs(attribute: AttributeProto) -> Iterable[tuple[str, GraphProto]]:
    if attribute.type == AttributeProto.GRAPH:
        yield attribute.name, attribute.g
    for number, graph in enumerate(attribute.graphs):
        yield f"{attribute.name}{number}", graph


def _read_by(node: NodeProto) -> Iterator[str]:
    """Yield the names that a node reads, by its subgraphs too."""
    yield from filter(None, node.input)
    for attribute in node.attribute:
        for _, graph in _graphs(attribute):
            for inner in graph.node:
                yield from _read_by(inner)
            yield from (each.name for each in graph.output)
