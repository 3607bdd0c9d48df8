"""Every layer, and programs of torch.export, by torch's exporter to ONNX: native LSTM nodes, by ONNX Runtime."""

from __future__ import annotations

import warnings

import pytest
import torch

import gatewright
from gatewright import CellSpec
from tests.support.class_models import class_model
from tests.support.onnx_files import LAYERS, REFUSED, Caller, exported, largest_difference, nodes

pytestmark = pytest.mark.interop


@pytest.mark.parametrize("lengths", [False, True])
@pytest.mark.parametrize("name", LAYERS)
def test_layers_are_native_nodes_by_export(name: str, lengths: bool) -> None:
    module = Caller(lengths=lengths, **LAYERS[name])
    model = exported(module, module.example(T=5, B=3), module.axes(), dynamo=True)
    assert nodes(model).count("LSTM") == module.layer.num_layers * (2 if module.layer.bidirectional else 1)
    assert largest_difference(model, module, [module.example(7, 2), module.example(2, 4)]) < 2e-6


def test_lengths_states_and_projections_together() -> None:
    cell = CellSpec(coupled=True, peephole=True)
    module = Caller(lengths=True, state=True, cell=cell, proj_size=2, bidirectional=True)
    model = exported(module, module.example(T=5, B=3), module.axes(), dynamo=True)
    assert largest_difference(model, module, [module.example(7, 2), module.example(1, 1)]) < 2e-6


@pytest.mark.parametrize("name", REFUSED)
def test_what_no_node_can_say_is_refused_by_name(name: str) -> None:
    module = Caller(**REFUSED[name])
    with pytest.raises(torch.onnx.OnnxExporterError, match=f"{name}: an LSTM node of ONNX"):
        exported(module, module.example(4, 2), module.axes(), dynamo=True)


def test_random_choices_of_training_are_refused() -> None:
    module = Caller(cell=CellSpec(hidden_dropout=0.5)).train()
    with pytest.raises(torch.onnx.OnnxExporterError, match="training: an LSTM node of ONNX"):
        exported(module, module.example(4, 2), module.axes(), dynamo=True)


def test_a_program_that_was_exported_before() -> None:
    layer = gatewright.LSTM(3, 4, num_layers=2, bidirectional=True).eval()
    x = torch.randn(5, 2, 3)
    program = torch.export.export(layer, (x,), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        written = torch.onnx.export(program, verbose=False)
    assert written is not None
    model = written.model_proto
    assert nodes(model).count("LSTM") == 4
    assert largest_difference(model, layer, [(torch.randn(7, 2, 3),)]) < 2e-6


@pytest.mark.parametrize("pooling", ["mean", "max", "attention", ""])
def test_models_by_export_and_what_torch_export_made_of_them(pooling: str) -> None:
    model = class_model(pooling)
    x = torch.randn(6, 3, 4)
    graph = exported(model, (x,), [{0: "steps", 1: "rows"}], dynamo=True)
    assert largest_difference(graph, model, [(torch.randn(4, 2, 4),)]) < 2e-6
    if not pooling:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            written = torch.onnx.export(torch.export.export(model, (x,)), verbose=False)
        assert written is not None
        assert largest_difference(written.model_proto, model, [(x,)]) < 2e-6
