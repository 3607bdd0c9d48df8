"""LSTM nodes of ONNX models as layers: ONNX's own tests, random nodes by ONNX Runtime, int8, places in graphs."""

from __future__ import annotations

import importlib
import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gatewright import LSTM, CellSpec
from gatewright.errors import GatewrightError
from gatewright.nn.reverse import ReverseLSTM

pytest.importorskip("onnx")

import onnx
from onnx import helper, numpy_helper

from gatewright.exchange.onnx import layers, reading_graph
from gatewright.exchange.onnx.reading import lstm_nodes
from tests.support.onnx_models import (
    by_layer,
    by_runtime,
    lstm_model,
    model_of,
    random_weights,
    values,
)
from tests.support.page_examples import run_example

node_cases = importlib.import_module("onnx.backend.test.case.node")
importlib.import_module("onnx.backend.test.case.node.lstm")  # which collects the cases
CASES = [case for case in node_cases._NodeTestCases if case.name.startswith("test_lstm")]

D, H = 3, 4
WEIGHTS = random_weights(np.random.default_rng(0), 1, D, H)


def test_onnx_has_such_cases() -> None:
    assert {"test_lstm_defaults", "test_lstm_with_peepholes", "test_lstm_reverse", "test_lstm_bidirectional"} <= {
        case.name for case in CASES
    }


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_case_of_onnx(case: Any) -> None:
    [(inputs, outputs)] = case.data_sets
    arrays = dict(zip([each.name for each in case.model.graph.input], map(np.array, inputs), strict=True))
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    model.graph.initializer.extend(numpy_helper.from_array(arrays[name], name) for name in arrays if name != "X")
    [node] = lstm_nodes(model)
    assert node.inputs == {"X": "X"}
    got = by_layer(node, {"X": arrays["X"]})
    expected = dict(zip([name for name in case.model.graph.node[0].output if name], outputs, strict=True))
    assert expected.keys() == node.outputs.keys()
    for name, array in expected.items():
        np.testing.assert_allclose(got[name], array, rtol=0, atol=3e-7, err_msg=name)


ACTIVATIONS = [
    {},
    {"activations": ["HardSigmoid", "Tanh", "Tanh"]},
    {
        "activations": ["hardsigmoid", "ScaledTanh", "tanh"],
        "activation_alpha": [0.3, 1],
        "activation_beta": [0.4, 0.7],
    },
    {"activations": ["Sigmoid", "Affine", "Tanh"], "activation_alpha": [0.7], "activation_beta": [0.1]},
    {
        "activations": ["Sigmoid", "Tanh", "Affine", "Sigmoid", "ScaledTanh", "Affine"],
        "activation_alpha": [1.0, 1.0, 1.0],
        "activation_beta": [0.0, 0.5, 0.0],
    },
]


@st.composite
def nodes(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Constants, values given at run time and attributes of a node."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    direction = draw(st.sampled_from(["forward", "reverse", "bidirectional"]))
    count = 2 if direction == "bidirectional" else 1
    T, B, D, H = (draw(st.integers(1, 5)) for _ in range(4))
    constants = random_weights(rng, count, D, H)
    if draw(st.booleans()):
        del constants["B"]
    if draw(st.booleans()):
        constants["P"] = rng.normal(size=(count, 3 * H)).astype(np.float32)
    given: dict[str, Any] = {"X": rng.normal(size=(T, B, D)).astype(np.float32)}
    if draw(st.booleans()):
        given["sequence_lens"] = rng.integers(1, T + 1, B).astype(np.int32)
    state = draw(st.sampled_from(["none", "given", "constant"]))
    for name in ("initial_h", "initial_c") if state != "none" else ():
        array = rng.normal(size=(count, B, H)).astype(np.float32)
        if state == "given":
            given[name] = array
        else:
            constants[name] = np.repeat(array[:, :1], B, axis=1)
    attributes = {"hidden_size": H, "direction": direction, **draw(st.sampled_from(ACTIVATIONS))}
    names = attributes.get("activations", [])
    if names and len(names) != 3 * count:
        attributes["activations"] = (names * 2)[: 3 * count]
        for name in ("activation_alpha", "activation_beta"):
            if name in attributes and len(names) == 3:
                attributes[name] = list(attributes[name]) * count
    if draw(st.booleans()):
        attributes["input_forget"] = 1
    if draw(st.booleans()) and "Affine" not in names:
        attributes["clip"] = 1e4
    return constants, given, attributes


@settings(max_examples=40, deadline=None)
@given(nodes())
def test_a_random_node_gives_what_onnx_runtime_gives(case: Any) -> None:
    constants, given, attributes = case
    model = lstm_model(constants, given, **attributes)
    [node] = lstm_nodes(model)
    got = by_layer(node, given)
    for name, array in by_runtime(model, given).items():
        scale = max(1.0, float(np.abs(array).max()))
        np.testing.assert_allclose(got[name], array, rtol=0, atol=5e-6 * scale, err_msg=name)


def test_layout_1_is_batch_first() -> None:
    """ONNX Runtime has layout 0 only: ONNX's case and the same node with time first are the judges."""
    rng = np.random.default_rng(1)
    weights = random_weights(rng, 2, D, H)
    X, states = rng.normal(size=(2, 5, D)).astype(np.float32), rng.normal(size=(2, 2, H)).astype(np.float32)
    given = {"X": X, "initial_h": states, "initial_c": states}
    options = {"hidden_size": H, "direction": "bidirectional"}
    [first] = lstm_nodes(lstm_model(weights, given, layout=1, **options))
    [time_first] = lstm_nodes(lstm_model(weights, given, **options))
    expected = by_layer(time_first, {name: array.swapaxes(0, 1) for name, array in given.items()})
    got = by_layer(first, given)
    np.testing.assert_array_equal(got["Y"], expected["Y"].transpose(2, 0, 1, 3))
    np.testing.assert_array_equal(got["Y_c"], expected["Y_c"].swapaxes(0, 1))


def test_an_int8_node_has_the_weights_of_its_numbers(tmp_path: Path) -> None:
    quantization = pytest.importorskip("onnxruntime.quantization")
    rng = np.random.default_rng(2)
    weights = random_weights(rng, 2, 8, 16)
    X = rng.normal(size=(12, 3, 8)).astype(np.float32)
    plain = lstm_model(weights, {"X": X}, hidden_size=16, direction="bidirectional")
    path = tmp_path / "int8.onnx"
    onnx.save(plain, tmp_path / "plain.onnx")
    quantization.quantize_dynamic(tmp_path / "plain.onnx", path, op_types_to_quantize=["LSTM"])
    [node] = lstm_nodes(path)
    assert node.operator == "DynamicQuantizeLSTM"
    got = by_layer(node, {"X": X})["Y"]
    runtime, full = by_runtime(onnx.load(path), {"X": X})["Y"], by_runtime(plain, {"X": X})["Y"]
    # ONNX Runtime rounds x and h too, to 8 bits: its own distance to float32 is as large.
    assert np.abs(got - runtime).max() < 0.05
    assert np.abs(got - full).max() < 0.05
    # The very numbers of the file, in float: no rounding but that of the weights.
    named = {each.name: numpy_helper.to_array(each) for each in onnx.load(path).graph.initializer}
    inputs = list(onnx.load(path).graph.node[-1].input)
    W, scale, zero = (named[inputs[k]].astype(np.float64) for k in (1, 8, 9))
    dequantised = ((W - zero.reshape(2, 1, -1)) * scale.reshape(2, 1, -1)).transpose(0, 2, 1)
    i, o, f, g = np.split(dequantised[1], 4)
    expected = np.concatenate([i, f, g, o]).astype(np.float32)
    np.testing.assert_array_equal(node.layer.weight_ih_l0_reverse.detach().numpy(), expected)


def test_weights_of_constants_and_quantised_weights() -> None:
    """Weights as exporters leave them: transposed, gathered and joined, or as whole numbers with a scale."""
    scale, numbers = np.float32(0.02), np.random.default_rng(3).integers(-100, 100, (1, 4 * H, H)).astype(np.int8)
    W = WEIGHTS["W"]
    tensors = {"upper": W[:, : 2 * H], "R8": numbers, "scale": np.array(scale)}
    tensors |= {"order": np.array([2, 0, 1]), "half": np.float32([[[0.5], *[[1.0]] * (4 * H - 1)]])}
    graph = helper.make_graph(
        [
            helper.make_node("Constant", [], ["lower"], value=numpy_helper.from_array(W[0, 2 * H :].T.copy())),
            helper.make_node("Transpose", ["lower"], ["turned"], perm=[1, 0]),
            helper.make_node("Constant", [], ["axes"], value_ints=[0]),
            helper.make_node("Unsqueeze", ["turned", "axes"], ["wide"]),
            helper.make_node("Concat", ["upper", "wide"], ["turned back"], axis=1),
            helper.make_node("Gather", ["turned back", "order"], ["twice"], axis=2),
            helper.make_node("Mul", ["twice", "half"], ["W"]),
            helper.make_node("DequantizeLinear", ["R8", "scale"], ["R"]),
            helper.make_node("LSTM", ["X", "W", "R"], ["Y"], hidden_size=H),
        ],
        "graph",
        [values("X")],
        [values("Y")],
        [numpy_helper.from_array(array, name) for name, array in tensors.items()],
    )
    model = model_of(graph)
    [node] = lstm_nodes(model)
    X = np.random.default_rng(4).normal(size=(6, 2, D)).astype(np.float32)
    np.testing.assert_allclose(by_layer(node, {"X": X})["Y"], by_runtime(model, {"X": X})["Y"], rtol=0, atol=1e-6)
    assert not node.layer.bias


def test_nodes_of_subgraphs_and_functions_and_what_is_around_them() -> None:
    tensors = [numpy_helper.from_array(array, name) for name, array in WEIGHTS.items()]
    branches = {
        name: helper.make_graph(
            [helper.make_node("LSTM", ["X2", "W", "R", "B"], [f"{name}_y"], hidden_size=H, direction=direction)],
            name,
            [],
            [values(f"{name}_y")],
        )
        for name, direction in (("then", "forward"), ("else", "reverse"))
    }
    # A function whose weights are those of its call, and so is its hidden size.
    inner = helper.make_node("LSTM", ["a", "b", "c"], ["d"], name="inner", direction="forward")
    reference = onnx.AttributeProto(name="hidden_size", ref_attr_name="units", type=onnx.AttributeProto.INT)
    inner.attribute.append(reference)
    function = helper.make_function("own", "Layer", ["a", "b", "c"], ["d"], [inner], graph_opsets(), ["units"])
    graph = helper.make_graph(
        [
            helper.make_node("Relu", ["X"], ["X2"], name="relu"),
            helper.make_node(
                "If", ["flag"], ["Y"], name="choice", then_branch=branches["then"], else_branch=branches["else"]
            ),
            helper.make_node("Layer", ["X2", "W", "R"], ["Z"], name="call", domain="own", units=H),
            helper.make_node("Layer", ["X2", "W", "R"], ["Z2"], domain="own", units=H),
            helper.make_node("LSTM", ["X2", "W", "R", "B"], ["V", "V_h"], name="plain", hidden_size=H),
            helper.make_node("Sigmoid", ["V"], ["V2"], name="after"),
        ],
        "graph",
        [values("X"), values("flag", onnx.TensorProto.BOOL)],
        [values(name) for name in ("Y", "Z", "Z2", "V2", "V_h")],
        tensors,
    )
    found = {node.name: node for node in lstm_nodes(model_of(graph, [function]))}
    assert set(found) == {
        "choice/then_branch/then_y",
        "choice/else_branch/else_y",
        "call/inner",
        "Z2/inner",
        "plain",
    }
    assert isinstance(found["choice/else_branch/else_y"].layer, ReverseLSTM)
    assert found["plain"].fed_by == {"X": "relu"}
    assert found["plain"].feeds == {"Y": ("after",), "Y_h": ("V_h",)}
    assert torch.equal(found["call/inner"].layer.weight_ih_l0, found["plain"].layer.weight_ih_l0)


def graph_opsets() -> list[Any]:
    return [helper.make_opsetid("", 22)]


def test_external_data_is_read_next_to_the_file_and_nowhere_else(tmp_path: Path) -> None:
    model = lstm_model(WEIGHTS, hidden_size=H)
    [expected] = layers(model).values()
    path = tmp_path / "model.onnx"
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    [layer] = layers(path).values()
    assert torch.equal(layer.weight_ih_l0, expected.weight_ih_l0)
    apart = onnx.load(path, load_external_data=False)
    with pytest.raises(GatewrightError, match="model: expected the path of the model"):
        layers(apart)
    (tmp_path / "inner").mkdir()
    for tensor in apart.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = "../weights.bin"
    (tmp_path / "inner" / "model.onnx").write_bytes(apart.SerializeToString())
    with pytest.raises(GatewrightError, match=r"expected data of its type and shape"):
        layers(tmp_path / "inner" / "model.onnx")


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"clip": 3.0}, "lstm.clip: expected none"),
        ({"clip": 200.0, "activations": ["Sigmoid", "Tanh", "Tanh"]}, "lstm.clip"),
        ({"activations": ["Sigmoid", "Relu", "Tanh"]}, "lstm.activations: .* for the candidate, got relu"),
        ({"activations": ["Tanh", "Tanh", "Tanh"]}, "for the gates, got tanh"),
        ({"activations": ["Sigmoid", "Affine", "Tanh"]}, "for the candidate, got affine"),
        (
            {"activations": ["Sigmoid", "Tanh", "Affine"], "activation_alpha": [0.5], "activation_beta": [0.0]},
            "output",
        ),
        ({"activations": ["Sigmoid", "Tanh"]}, "lstm.activations: expected 3 names, got 2"),
        ({"hidden_size": 5}, r"lstm.W: expected the shape \(1, 20, 3\), got \(1, 16, 3\)"),
        ({"direction": "bidirectional"}, r"lstm.W: expected the shape \(2, 16, 3\)"),
        ({"direction": "sideways"}, "lstm.direction: expected one of"),
        ({"own": 1}, "lstm.own: expected an attribute of ONNX's LSTM"),
    ],
)
def test_what_no_layer_has_is_refused_by_name(attributes: dict[str, Any], message: str) -> None:
    with pytest.raises(GatewrightError, match=message):
        layers(lstm_model(WEIGHTS, **{"hidden_size": H, **attributes}))


def test_weights_at_run_time_and_foreign_input_are_refused_by_name(tmp_path: Path) -> None:
    given = {"R": WEIGHTS["R"]}
    with pytest.raises(
        GatewrightError, match=r"lstm.R: expected weights that are constant.* 'R', computed at run"
    ):
        layers(lstm_model({"W": WEIGHTS["W"]}, given, hidden_size=H))
    differing = np.random.default_rng(5).normal(size=(1, 2, H)).astype(np.float32)
    with pytest.raises(
        GatewrightError, match=r"lstm.initial_h: expected one state for all rows.*2 rows that differ"
    ):
        layers(lstm_model({**WEIGHTS, "initial_h": differing}, hidden_size=H))
    with pytest.raises(GatewrightError, match=r"lstm.W_ih: expected finite numbers"):
        layers(lstm_model({**WEIGHTS, "W": WEIGHTS["W"] * np.nan}, hidden_size=H))
    relu = helper.make_graph([helper.make_node("Relu", ["X"], ["Y"])], "g", [values("X")], [values("Y")])
    with pytest.raises(GatewrightError, match="model: expected a graph with an LSTM"):
        layers(model_of(relu))
    path = tmp_path / "model.onnx"
    for content in (b"", b"no protobuf", lstm_model(WEIGHTS, hidden_size=H).SerializeToString()[:-40]):
        path.write_bytes(content)
        with pytest.raises(GatewrightError, match=r"model.onnx: expected an ONNX model"):
            layers(path)
    with pytest.raises(GatewrightError, match="the file does not exist"):
        layers(tmp_path / "none.onnx")
    with pytest.raises(GatewrightError, match="it is a directory"):
        layers(tmp_path)
    with pytest.raises(GatewrightError, match="model: expected the path of an ONNX file"):
        layers([1])


def test_constants_that_double_are_worked_out_once_and_up_to_a_limit() -> None:
    one = numpy_helper.from_array(np.ones((1, 4 * H, 1), np.float32), "w0")
    doubled = [helper.make_node("Concat", [f"w{k}", f"w{k}"], [f"w{k + 1}"], axis=2) for k in range(49)]
    lstm = helper.make_node("LSTM", ["X", "w49", "R"], ["Y"], name="lstm", hidden_size=H)
    tensors = [one, numpy_helper.from_array(WEIGHTS["R"], "R")]
    small = helper.make_node("LSTM", ["X", "w5", "R"], ["Y"], name="lstm", hidden_size=H)
    for node, nodes in ((small, doubled[:5]), (lstm, doubled)):
        graph = helper.make_graph([*nodes, node], "g", [values("X")], [values("Y")], tensors)
        if node is small:
            assert layers(model_of(graph))["lstm"].input_size == 32
            continue
        with monkeypatched_limit(2**12), pytest.raises(GatewrightError, match="expected at most 4,096 numbers"):
            layers(model_of(graph))


@contextmanager
def monkeypatched_limit(numbers: int) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading_graph, "_MOST_NUMBERS", numbers)
        yield


@pytest.mark.parametrize(
    "features",
    [
        {},
        {"peephole": True},
        {"coupled": True, "peephole": True},
        {"gate_activation": "hard_sigmoid", "candidate_activation": "identity"},
        {"forget_gate": False},
        {"output_gate": False, "output_activation": "identity"},
    ],
    ids=str,
)
def test_layers_come_back_from_our_own_export(features: dict[str, Any]) -> None:
    torch.manual_seed(0)
    layer = LSTM(D, H, bidirectional=True, cell=CellSpec(**features)).eval()
    file = io.BytesIO()
    x = torch.randn(5, 2, D)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # those of torch's exporter
        torch.onnx.export(layer, (x,), file, dynamo=False)
    nodes = lstm_nodes(onnx.load_model_from_string(file.getvalue()))
    with torch.no_grad():
        halves = [node.layer(x)[0] for node in nodes]
        expected = layer(x)[0]
    torch.testing.assert_close(torch.cat(halves, -1), expected, rtol=0, atol=1e-6)


def test_functions_that_call_themselves_are_refused() -> None:
    again = helper.make_node("Layer", ["a"], ["d"], domain="own")
    function = helper.make_function("own", "Layer", ["a"], ["d"], [again], graph_opsets())
    call = helper.make_node("Layer", ["X"], ["Y"], name="call", domain="own")
    graph = helper.make_graph([call], "g", [values("X")], [values("Y")])
    with pytest.raises(GatewrightError, match="a function that does not call itself"):
        layers(model_of(graph, [function]))


def test_the_example_of_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = run_example("exchange.md", "ONNX")["found"]
    assert (found.inputs, found.feeds) == ({"X": "x"}, {"Y": ("y",), "Y_h": ()})
