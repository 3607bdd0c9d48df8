"""The table of a cell's weights is that of torch, and what else reads the cell agrees with it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

import gatewright
from gatewright import equations, kernels
from gatewright.errors import GatewrightError, SpecError
from gatewright.nn import LSTM, LayerRecord
from gatewright.spec import CellSpec, LayerWeights, ModelSpec, StackSpec, SymbolEncoder, SymbolHead
from gatewright.spec.cell import WEIGHTS

SHAPES = [(1, 1, 0), (3, 4, 0), (7, 5, 2), (2, 9, 8), (64, 33, 1)]


@pytest.mark.parametrize(("D", "H", "P"), SHAPES)
@pytest.mark.parametrize("bias", [True, False])
def test_the_table_is_that_of_torch(D: int, H: int, P: int, bias: bool) -> None:
    cell = CellSpec(bias=bias, proj_size=P)
    layer = torch.nn.LSTM(D, H, num_layers=2, bias=bias, bidirectional=True, proj_size=P)
    expected = []
    for n, width in enumerate((D, 2 * (P or H))):
        for suffix in ("", "_reverse"):
            expected += [(f"{name}_l{n}{suffix}", shape) for name, shape in cell.weights(width, H).items()]
    assert [(name, tuple(value.shape)) for name, value in layer.state_dict().items()] == expected


@pytest.mark.parametrize(("D", "H", "P"), SHAPES)
def test_a_model_has_the_weights_of_the_table(D: int, H: int, P: int) -> None:
    spec = ModelSpec(SymbolEncoder(5, D), StackSpec(H, 3, proj_size=P), SymbolHead())
    assert spec.lstm.cell == CellSpec(proj_size=P)
    layer = torch.nn.LSTM(D, H, num_layers=3, proj_size=P)
    expected = {f"lstm.{name}": tuple(value.shape) for name, value in layer.state_dict().items()}
    tensors = spec.tensors()
    assert list(tensors) == ["encoder.weight", *expected, "head.weight", "head.bias"]
    assert {name: tensors[name] for name in expected} == expected


def test_weights_go_into_a_list_and_back() -> None:
    codes = set()
    for bias in (True, False):
        for P in (0, 2):
            cell = CellSpec(bias=bias, proj_size=P)
            arrays = [np.zeros(shape) for shape in cell.weights(3, 4).values()]
            layer = LayerWeights.of(cell.code(), arrays)
            assert layer.code == cell.code()
            assert all(a is b for a, b in zip(layer.present(), arrays, strict=True))
            assert (layer.hidden_size, layer.output_size) == (4, P or 4)
            kernels.pack(layer)
            codes.add(cell.code())
            for wrong in (arrays[:-1], [*arrays, arrays[0]]):
                with pytest.raises(GatewrightError, match=rf"^weights: expected {len(arrays)} tensors"):
                    LayerWeights.of(cell.code(), wrong)
    assert len(codes) == 4
    assert len(WEIGHTS) == len(LayerWeights._fields)


def test_records_hold_what_the_cell_says() -> None:
    recorded = CellSpec().recorded()
    for record in (equations.Record, LayerRecord):
        assert tuple(field.name for field in dataclasses.fields(record))[: len(recorded)] == recorded
    layer = LSTM(3, 4)(torch.ones(2, 1, 3), record=True)[2].layers[0]
    assert [getattr(layer, name).shape for name in recorded] == [(2, 1, 4)] * 6
    assert recorded[:4] == CellSpec().gates()


@pytest.mark.parametrize("cell", [CellSpec(), CellSpec(bias=False), CellSpec(proj_size=3)])
def test_json_and_back(cell: CellSpec) -> None:
    assert CellSpec.from_json(cell.to_json()) == cell
    assert gatewright.CellSpec is CellSpec


@pytest.mark.parametrize(
    "text", ['{"bias":true}', '{"bias":1,"proj_size":0}', '{"bias":true,"proj_size":-1}', "{}"]
)
def test_other_json_is_refused(text: str) -> None:
    with pytest.raises(SpecError):
        CellSpec.from_json(text)
