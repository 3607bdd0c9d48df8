"""Whole models as ONNX files: ONNX Runtime next to streams and torch, at every kind, cell and option."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings

from gatewright import GatewrightError, Model, cli
from gatewright.exchange.onnx import check, distributions, export
from gatewright.exchange.onnx import model as graphs
from gatewright.exchange.onnx.graph import Graph, whole
from gatewright.files.model_file import ModelFile
from gatewright.native_module import _kernels
from gatewright.spec import FAMILIES, Category, ModelSpec, QuantileHead, Scaler, SeriesEncoder, Vocabulary
from gatewright.spec.vocabulary import UNKNOWN
from tests.support.class_models import class_model
from tests.support.spec_strategies import model_specs
from tests.support.stream_models import series_model, text_model
from tests.support.variant_cells import ALONE, TOGETHER

SLSTM = [
    {"kind": "slstm", "heads": 2, "num_layers": 2},
    {"kind": "slstm", "forget_gate_activation": "exponential"},
]
STACKS: list[dict[str, Any]] = [
    {"num_layers": 3, "proj_size": 5},
    {"hidden_size": (6, 5)},
    {"num_layers": 2, "residual": True},
    {"hidden_size": (6, 5), "proj_size": 3, "residual": True, "peephole": True, "coupled": True},
]
SERIES: list[dict[str, Any]] = [
    {"reads": "change", "known": ()},
    {"reads": "level", "calendar": ()},
    {"reads": "nothing"},
    {"reads": "both", "seasons": (2, 5), "time_zone": "Europe/Berlin"},
    {"transform": ("log", "none"), "seasons": (3,)},
    {"transform": ("log1p", "asinh")},
    {"transform": ("boxcox", "log"), "bounds": {"minimum": (0.5, 1.0), "maximum": (20.0, 30.0)}},
    {"scale": "window", "context": 4},
    {"scale": "window", "seasons": (2, 5), "transform": ("log1p", "none"), "reads": "change"},
    {"distribution": "normal", "seasons": (2,)},
    {"distribution": "student-t", "scale": "window"},
    {"distribution": "mixture", "transform": ("asinh", "none")},
    {"categories": (Category("rain", ("a", "b"), 2), Category("price", ("1", "2"), 3))},
    {"known": ("holiday", "price", "holidays DE"), "holidays": ("DE",)},
]
CLASSES: list[tuple[str, dict[str, Any]]] = [
    (pooling, {"categories": both, "bidirectional": both})
    for pooling in ("", "last", "mean", "max", "attention")
    for both in (False, True)
]
MAKERS: dict[str, Callable[[], Model]] = {
    **{f"text {options}": lambda options=options: text_model(**options) for options in STACKS + SLSTM},
    **{
        f"text {cell}": lambda cell=cell: text_model(**cell) for cell in ALONE + TOGETHER if cell.get("bias", True)
    },
    **{f"series {options}": lambda options=options: series_model(**options) for options in SERIES},
    **{
        f"classes {pooling} {options}": lambda p=pooling, o=options: class_model(p, **o)
        for pooling, options in CLASSES
    },
}


@pytest.mark.parametrize("name", MAKERS)
def test_outputs_and_states_are_those_of_the_model(name: str) -> None:
    file = MAKERS[name]().file()
    # Inverse transforms multiply the rounding of float32.
    assert check.largest_difference(file, graphs.built(file)) < (1e-5 if file.spec.encoder.transform else 3e-6)


@pytest.mark.parametrize("weights", ["bf16-float32", "int8-float32"])
@pytest.mark.parametrize("stack", [{}, {"num_layers": 2, "proj_size": 5}])
def test_weights_in_fewer_bits_are_those_of_a_stream(stack: dict[str, Any], weights: Any) -> None:
    file = text_model(**stack).file()
    kept = graphs.built(file, weights)
    assert check.largest_difference(file, kept, weights) < 3e-6
    assert check.largest_difference(file, kept) > 1e-4
    assert kept.ByteSize() < 0.75 * graphs.built(file).ByteSize()


@pytest.mark.parametrize(
    ("maker", "weights", "reason"),
    [
        (text_model, "int8", "ONNX Runtime has no products as those of 'int8'"),
        (text_model, "float16", "expected float32 or bf16-float32 or int8-float32, got 'float16'"),
        (lambda: text_model(peephole=True), "bf16-float32", "another cell"),
        (lambda: class_model(bidirectional=True), "int8-float32", "in both directions"),
    ],
)
def test_weights_that_no_graph_has_are_refused(maker: Any, weights: Any, reason: str, tmp_path: Path) -> None:
    with pytest.raises(GatewrightError, match=f"^weights: .*{reason}"):
        export(maker(), tmp_path / "model.onnx", weights=weights)
    assert not list(tmp_path.iterdir())


def file_of(spec: ModelSpec) -> ModelFile:
    """A model with random weights, and a scaler of one."""
    random, encoder = np.random.default_rng(0), spec.encoder
    tensors = {name: random.normal(0, 0.5, shape).astype("f4") for name, shape in spec.tensors().items()}
    if encoder.companion == "vocabulary":
        symbols = (UNKNOWN, *(chr(0x61 + k) for k in range(encoder.symbols - 1)))
        return ModelFile(spec, tensors, vocabulary=Vocabulary(symbols))
    columns, targets = encoder.columns, len(encoder.targets)
    ones = (1.0,) * targets
    of_transform = ((0.5,) * len(encoder.transform), (1.0,) * len(encoder.transform))
    of_window = (ones if encoder.window else (),) * 3
    scaler = Scaler(columns, (0.0,) * len(columns), (1.0,) * len(columns), ones, *of_transform, *of_window)
    return ModelFile(spec, tensors, scaler)


@settings(max_examples=40)
@given(model_specs())
def test_any_specification(spec: ModelSpec) -> None:
    file = file_of(spec)
    if isinstance(spec.encoder, SeriesEncoder) and spec.encoder.window == 1:
        with pytest.raises(GatewrightError, match=r"^scale: a window of one row"):
            graphs.built(file)
    else:
        assert check.largest_difference(file, graphs.built(file)) < 1e-5


@pytest.mark.parametrize("family", ["negative-binomial", "zero-inflated-negative-binomial"])
def test_quantiles_that_no_operator_finds_are_refused(family: str, tmp_path: Path) -> None:
    with pytest.raises(GatewrightError, match=r"^distribution: quantiles of .* are found by a search"):
        export(series_model(distribution=family), tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("family", ["normal", "student-t", "mixture"])
def test_quantiles_of_distributions_are_those_of_the_kernels(family: str) -> None:
    levels = (1e-5, 0.05, 0.5, 0.6, 0.999)
    head, graph = QuantileHead(quantiles=levels, distribution=family), Graph("quantiles")
    shape = ("a", "b", "c", "d")
    outputs = graph.input("outputs", np.float32, *shape, len(head.output_names))
    location = graph("Slice", outputs, whole(0), whole(1), whole(-1))
    found = distributions.quantiles(graph, head, location, outputs)
    graph.output("found", found, np.float64, *shape, len(levels))
    session = onnxruntime.InferenceSession(graph.model({}).SerializeToString())
    values = (np.random.default_rng(0).normal(size=(300, 1, 1, 1, len(head.output_names))) * 3).astype("f4")
    [got] = session.run(None, {"outputs": values})
    number = FAMILIES[family].number
    expected = _kernels.quantiles(values.reshape(300, 1, -1), number, list(levels), [1.0])
    np.testing.assert_allclose(got.reshape(300, -1), np.reshape(expected, (300, -1)), rtol=1e-9, atol=1e-12)


def test_a_file_is_there_only_where_it_gives_what_the_model_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "new" / "model.onnx"
    with monkeypatch.context() as patched:
        other = graphs.built(text_model(cell_clip=0.1).file())
        patched.setattr(graphs, "built", lambda *_: other)
        with pytest.raises(
            GatewrightError, match=r"^model: ONNX Runtime differs from the model by .*nothing is written"
        ):
            export(text_model(), path)
    assert not path.parent.exists()
    assert export(text_model(), path).difference < 1e-6
    with pytest.raises(GatewrightError, match=r"^path: expected a file that is not there yet"):
        export(text_model(), path)
    assert export(text_model(), path, overwrite=True).path == path
    assert [each.name for each in path.parent.iterdir()] == ["model.onnx"]
    with pytest.raises(GatewrightError, match=r"^model: expected a gatewright.Model"):
        export(3, path)


def test_the_command_writes_a_file_that_a_program_can_feed_by_what_it_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = series_model(seasons=(2,), time_zone="Europe/Berlin")
    model.save(tmp_path / "model.safetensors")
    cli.main(["export", str(tmp_path), "--to", "onnx"])
    said = capsys.readouterr().out
    assert f"wrote {tmp_path / 'onnx' / 'model.onnx'}\n" in said
    assert "ONNX Runtime differs from the model by at most" in said
    session = onnxruntime.InferenceSession(tmp_path / "onnx" / "model.onnx")
    texts = session.get_modelmeta().custom_metadata_map
    assert texts["gatewright.kind"] == "forecaster"
    assert texts["gatewright.time_zone"] == "Europe/Berlin"
    assert json.loads(texts["gatewright.quantiles"]) == [0.1, 0.5, 0.9]
    columns = json.loads(texts["gatewright.columns"])
    rows, times = np.ones((5, 1, len(columns))), np.datetime64("2024-05-01T10:00", "us") + np.arange(5)
    feeds: dict[str, Any] = {"x": rows, "time": times.astype("i8")[:, None], "lengths": np.array([5])}
    for state in json.loads(texts["gatewright.states"]):
        value = next(each for each in session.get_inputs() if each.name == state["input"])
        shape = [1 if size == "rows" else size for size in value.shape]
        feeds[state["input"]] = np.full(shape, float(state["start"]), "f4" if "float)" in value.type else "f8")
    forecast = session.run(["forecast"], feeds)[0]
    expected = model.stream().run(rows[:, 0], times=times)
    np.testing.assert_allclose(forecast[:, 0], expected, rtol=1e-5, atol=1e-5)


def test_other_formats_have_no_weights_in_fewer_bits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        cli.main(["export", str(tmp_path), "--to", "c", "--weights", "int8-float32"])
    assert "--weights: expected float32 with --to c, got 'int8-float32'" in capsys.readouterr().err


def test_files_are_valid_and_the_same_each_time() -> None:
    first, second = (graphs.built(series_model(scale="window").file()) for _ in range(2))
    onnx.checker.check_model(first, full_check=True)
    assert first.SerializeToString(deterministic=True) == second.SerializeToString(deterministic=True)


def test_writing_needs_no_torch() -> None:
    code = (
        "import sys; import gatewright.exchange.onnx.writing, gatewright.exchange.onnx.check; print(*sys.modules)"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout.split()
    assert not {"torch", "onnxscript"} & set(loaded)
