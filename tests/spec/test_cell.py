"""The table of a cell's weights is that of torch, and what else reads the cell agrees with it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import gatewright
from gatewright import Stream, equations, kernels
from gatewright.errors import GatewrightError, SpecError
from gatewright.files import model_file
from gatewright.nn import LSTM, LayerRecord
from gatewright.spec import CellSpec, LayerWeights, ModelSpec, StackSpec, SymbolEncoder, SymbolHead
from gatewright.spec.cell import WEIGHTS
from gatewright.spec.cell_features import CellFeatures
from tests.support.model_files import VARIANT

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
    assert codes == {0, 1, 2, 3}
    assert len(WEIGHTS) == len(LayerWeights._fields)


def test_records_hold_what_the_cell_says() -> None:
    recorded = CellSpec().recorded()
    for record in (equations.Record, LayerRecord):
        assert tuple(field.name for field in dataclasses.fields(record))[: len(recorded)] == recorded
    layer = LSTM(3, 4)(torch.ones(2, 1, 3), record=True)[2].layers[0]
    assert [getattr(layer, name).shape for name in recorded] == [(2, 1, 4)] * 6
    assert recorded[:4] == CellSpec().gates()


#: One cell for each feature, with its code, its gates, its rates, and its weights next to W_ih, W_hh and biases.
FEATURES: list[tuple[dict[str, Any], int, str, list[float], dict[str, tuple[int, ...]]]] = [
    ({"peephole": True}, 4, "ifgo", [], {"weight_ch": (15,)}),
    ({"coupled": True}, 8, "fgo", [], {}),
    ({"input_gate": False}, 16, "fgo", [], {}),
    ({"forget_gate": False}, 32, "igo", [], {}),
    ({"output_gate": False}, 64, "ifg", [], {}),
    ({"gate_activation": "hard_sigmoid"}, 128, "ifgo", [], {}),
    ({"candidate_activation": "hard_tanh"}, 256, "ifgo", [], {}),
    ({"candidate_activation": "identity"}, 512, "ifgo", [], {}),
    ({"output_activation": "hard_tanh"}, 1024, "ifgo", [], {}),
    ({"output_activation": "identity"}, 2048, "ifgo", [], {}),
    ({"layer_norm": True}, 4096, "ifgo", [], {"weight_ln": (20,), "weight_ln_cell": (5,), "bias_ln_cell": (5,)}),
    ({"cell_clip": 3}, 0, "ifgo", [3.0, 0.0, 0.0, 0.0, 0.0], {}),
    ({"zoneout_cell": 0.1}, 0, "ifgo", [0.0, 0.1, 0.0, 0.0, 0.0], {}),
    ({"zoneout_hidden": 0.1}, 0, "ifgo", [0.0, 0.0, 0.1, 0.0, 0.0], {}),
    ({"hidden_dropout": 0.1}, 0, "ifgo", [0.0, 0.0, 0.0, 0.1, 0.0], {}),
    ({"candidate_dropout": 0.1}, 0, "ifgo", [0.0, 0.0, 0.0, 0.0, 0.1], {}),
    ({"weight_drop": 0.1}, 0, "ifgo", [], {}),
    ({"kind": "slstm"}, 8192, "ifgo", [], {}),
    ({"kind": "slstm", "heads": 5, "hidden_dropout": 0.1}, 8192, "ifgo", [0.0, 0.0, 0.0, 0.1, 0.0], {}),
    ({"kind": "slstm", "forget_gate_activation": "exponential", "weight_drop": 0.1}, 8192 + 16384, "ifgo", [], {}),
    (
        {"peephole": True, "coupled": True, "output_gate": False, "layer_norm": True, "proj_size": 2},
        2 + 4 + 8 + 64 + 4096,
        "fg",
        [],
        {
            "weight_hr": (2, 5),
            "weight_ch": (5,),
            "weight_ln": (10,),
            "weight_ln_cell": (5,),
            "bias_ln_cell": (5,),
        },
    ),
]


@pytest.mark.parametrize(("features", "bits", "gates", "rates", "further"), FEATURES)
def test_each_feature_has_its_bit_its_gates_and_its_weights(
    features: dict[str, Any], bits: int, gates: str, rates: list[float], further: dict[str, tuple[int, ...]]
) -> None:
    cell, letters = (
        CellSpec(**features),
        {"i": "input_gate", "f": "forget_gate", "g": "candidate", "o": "output_gate"},
    )
    assert cell.code() == 1 + bits
    assert cell.gates() == tuple(letters[letter] for letter in gates)
    assert cell.rates() == rates
    assert cell.features() == tuple(name for name in vars(cell) if name in set(features) - {"proj_size"})
    P, rows = cell.proj_size or 5, 5 * len(gates)
    first = {"weight_ih": (rows, 3), "weight_hh": (rows, P // cell.heads), "bias_ih": (rows,), "bias_hh": (rows,)}
    assert list(cell.weights(3, 5).items()) == list((first | further).items())
    arrays = [np.zeros(shape) for shape in cell.weights(3, 5).values()]
    layer = LayerWeights.of(cell.code(), arrays)
    assert all(a is b for a, b in zip(layer.present(), arrays, strict=True))
    assert (layer.hidden_size, layer.output_size) == (5, P)
    own = {name: getattr(cell, name) for name in cell.features()}
    stack = StackSpec(5, proj_size=cell.proj_size, **own)
    assert stack.cell == cell
    version = 6 if cell.is_slstm else 5
    assert (cell.version(), stack.version()) == (version, version)
    assert cell.cell_state_size(5) == (15 if cell.is_slstm else 5)
    again = CellSpec.decoded(cell.code(), cell.rates())
    assert (again.code(), again.gates(), again.rates()) == (cell.code(), cell.gates(), cell.rates())
    for spec in (cell, stack):
        assert type(spec).from_json(spec.to_json()) == spec


@pytest.mark.parametrize(
    ("features", "argument", "reason"),
    [
        ({"coupled": True, "input_gate": False}, "input_gate", "coupled"),
        ({"coupled": True, "forget_gate": False}, "forget_gate", "coupled"),
        ({"zoneout_hidden": 0.1, "proj_size": 2}, "zoneout_hidden", "projection"),
        (
            {"peephole": True, "input_gate": False, "forget_gate": False, "output_gate": False},
            "peephole",
            "without",
        ),
        (
            {
                "gate_activation": "hard_sigmoid",
                "input_gate": False,
                "forget_gate": False,
                "output_gate": False,
            },
            "gate_activation",
            "without",
        ),
        ({"cell_clip": -1.0}, "cell_clip", "at least 0"),
        ({"cell_clip": float("inf")}, "cell_clip", "finite"),
        ({"cell_clip": float("nan")}, "cell_clip", "finite"),
        ({"zoneout_cell": 1.0}, "zoneout_cell", "not, 1"),
        ({"weight_drop": True}, "weight_drop", "rate"),
        ({"gate_activation": "tanh"}, "gate_activation", "hard_sigmoid"),
        ({"candidate_activation": None}, "candidate_activation", "identity"),
        ({"kind": "gru"}, "kind", "slstm"),
        ({"heads": 2}, "heads", "1 without kind='slstm'"),
        ({"forget_gate_activation": "exponential"}, "forget_gate_activation", "without kind='slstm'"),
        ({"kind": "slstm", "forget_gate_activation": "tanh"}, "forget_gate_activation", "exponential"),
        ({"kind": "slstm", "heads": 0}, "heads", "from 1"),
        ({"kind": "slstm", "heads": 2.0}, "heads", "whole number"),
        ({"kind": "slstm", "proj_size": 2}, "proj_size", "0 with kind='slstm'"),
        ({"kind": "slstm", "peephole": True}, "peephole", "False with kind='slstm'"),
        ({"kind": "slstm", "coupled": True}, "coupled", "False with kind='slstm'"),
        ({"kind": "slstm", "input_gate": False}, "input_gate", "True with kind='slstm'"),
        ({"kind": "slstm", "forget_gate": False}, "forget_gate", "True with kind='slstm'"),
        ({"kind": "slstm", "output_gate": False}, "output_gate", "True with kind='slstm'"),
        ({"kind": "slstm", "gate_activation": "hard_sigmoid"}, "gate_activation", "'sigmoid' with kind='slstm'"),
        (
            {"kind": "slstm", "candidate_activation": "identity"},
            "candidate_activation",
            "'tanh' with kind='slstm'",
        ),
        ({"kind": "slstm", "output_activation": "identity"}, "output_activation", "'tanh' with kind='slstm'"),
        ({"kind": "slstm", "cell_clip": 3.0}, "cell_clip", "0.0 with kind='slstm'"),
        ({"kind": "slstm", "layer_norm": True}, "layer_norm", "False with kind='slstm'"),
        ({"kind": "slstm", "zoneout_cell": 0.1}, "zoneout_cell", "0.0 with kind='slstm'"),
        ({"kind": "slstm", "zoneout_hidden": 0.1}, "zoneout_hidden", "0.0 with kind='slstm'"),
        ({"kind": "slstm", "candidate_dropout": 0.1}, "candidate_dropout", "0.0 with kind='slstm'"),
        ({"peephole": 1}, "peephole", "True or False"),
        ({"bias": 1}, "bias", "True or False"),
        ({"proj_size": True}, "proj_size", "whole number"),
    ],
)
def test_a_combination_without_sense_is_refused_by_name(
    features: dict[str, Any], argument: str, reason: str
) -> None:
    with pytest.raises(SpecError, match=rf"^{argument}: expected .*{reason}"):
        CellSpec(**features)
    if set(features) <= set(CellFeatures.__dataclass_fields__) | {"proj_size"} and features != {"proj_size": True}:
        with pytest.raises(SpecError, match=rf"^{argument}: expected .*{reason}"):
            StackSpec(4, **features)


def test_a_cell_is_refused_by_what_does_not_have_it(tmp_path: Path) -> None:
    named = r"^cell: expected a plain LSTM cell for .*, got peephole, coupled, gate_activation"
    path = tmp_path / "model.safetensors"
    model_file.write(path, VARIANT)
    with pytest.raises(GatewrightError, match=named):
        Stream.load(path, weights="int8")
    arrays = {name: np.zeros(shape, np.float32) for name, shape in CellSpec(peephole=True).weights(3, 4).items()}
    with pytest.raises(GatewrightError, match=r"^cell: expected the CellSpec of the weights.*weight_ch_l0"):
        Stream.from_weights({f"{name}_l0": array for name, array in arrays.items()})
    layer = LayerWeights.of(CellSpec(peephole=True).code(), list(arrays.values()))
    with pytest.raises(GatewrightError, match=r"^w_ch: expected None, for single steps"):
        kernels.pack(layer)


def test_heads_of_unequal_size_are_refused() -> None:
    for make in (
        lambda: StackSpec(5, kind="slstm", heads=2),
        lambda: CellSpec(kind="slstm", heads=2).weights(3, 5),
    ):
        with pytest.raises(SpecError, match=r"^heads: expected a number that divides 5 units, got 2"):
            make()


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
