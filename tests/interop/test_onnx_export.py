"""Every layer, and programs of torch.export, by torch's exporter to ONNX: native LSTM nodes, by ONNX Runtime."""

from __future__ import annotations

import warnings

import pytest
import torch

import gatewright
from gatewright import CellSpec
from tests.support.onnx_files import LAYERS, REFUSED, Caller, exported, largest_difference, nodes

pytestmark = pytest.mark.interop


@pytest.mark.parametrize("lengths", [False, True])
@pytest.mark.parametrize("name", LAYERS)
def test_layers_are_native_nodes_by_export(name: str, lengths: bool) -> None:
    module = Caller(lengths=lengths, **LAYERS[name])
    model = exported(module, module.example(T=5, B=3), module.axes(), dynamo=True)
    assert nodes(model).count("LSTM") == module.layer.num_layers * (2 if module.layer.bidirectional else 1)
    assert largest_difference(model, module, [module.example(7, 2), module.example(2, 4)]) < 2e-6


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
