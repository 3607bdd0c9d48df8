"""The cell of a model as options have it, on the command line, in config.toml and in Python."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewright import CellSpec
from gatewright.errors import GatewrightError
from gatewright.spec.cell_features import FORGET_GATE_ACTIVATIONS, GATE_ACTIVATIONS, STATE_ACTIVATIONS
from gatewright.tasks import registry
from gatewright.tasks.cell_words import features_of, words_of
from gatewright.tasks.option_values import options_of
from gatewright.tasks.options import DataOptions, ModelOptions, Options
from gatewright.tasks.search_space import checked, space_of, with_values
from gatewright.tasks.settings import ModelSettings

RATES = st.floats(0, 1, exclude_max=True)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "peephole": st.booleans(), "layer_norm": st.booleans(), "output_gate": st.booleans(),
            "gate_activation": st.sampled_from(GATE_ACTIVATIONS),
            "candidate_activation": st.sampled_from(STATE_ACTIVATIONS),
            "cell_clip": st.floats(0, 1e300), "zoneout_cell": RATES, "weight_drop": RATES,
        },
    )
    | st.fixed_dictionaries(
        {"kind": st.just("slstm")},
        optional={
            "heads": st.integers(1, 2**31 - 1), "hidden_dropout": RATES,
            "forget_gate_activation": st.sampled_from(FORGET_GATE_ACTIVATIONS),
        },
    )
)  # fmt: skip
def test_a_cell_goes_to_words_and_back_from_each_form_a_caller_has(features: dict[str, Any]) -> None:
    cell = CellSpec(**features)
    words = words_of(cell)
    assert features_of(words) == features_of([", ".join(words)]) == features_of([" ".join(words)]) == cell
    for form in (features, cell, list(words), " ".join(words)):
        assert features_of(options_of({"cell": form}).model.cell or ()) == cell


def test_words_as_people_write_them() -> None:
    for words in (["layer-norm", "zoneout_cell=.10"], ["zoneout-cell=0.1 layer_norm=true"]):
        assert features_of(words) == CellSpec(layer_norm=True, zoneout_cell=0.1)
    assert features_of(["forget_gate=FALSE,cell_clip=3"]) == CellSpec(forget_gate=False, cell_clip=3)
    assert features_of(["plain"]) == features_of([]) == CellSpec()
    assert features_of(
        options_of({"cell": {"coupled": np.True_, "weight_drop": np.float32(0.5)}}).model.cell or ()
    )
    assert features_of(["weight_drop=0.1 heads=4 slstm"]) == CellSpec(kind="slstm", heads=4, weight_drop=0.1)
    assert words_of(CellSpec(kind="slstm", weight_drop=0.1, heads=4)) == ("slstm", "weight_drop=0.1", "heads=4")
    assert words_of(CellSpec(cell_clip=3, zoneout_cell=1e-7)) == ("cell_clip=3", "zoneout_cell=1e-07")


REFUSED = {
    "layernorm": r"--cell: expected plain alone, or features out of .*'layernorm'; did you mean 'layer_norm'\?",
    "plain peephole": "--cell: expected plain alone, or .*, got 'plain'",
    "peephole peephole": "--cell peephole: expected each feature once, got twice",
    "peephole=2": "--cell peephole: expected peephole, or peephole=false, got '2'",
    "input_gate": "--cell input_gate: expected input_gate=false for a cell without it, got no value",
    "gate_activation": "--cell gate_activation: expected a value, such as gate_activation=sigmoid, got none",
    "gate_activation=relu": r"--cell gate_activation: expected one of \['sigmoid', 'hard_sigmoid'\], got 'relu'",
    "zoneout_cell": "--cell zoneout_cell: expected a number, such as zoneout_cell=0.1, got ''",
    "zoneout_cell=1": "--cell zoneout_cell: expected a rate from 0 up to, but not, 1, got 1.0",
    "cell_clip=nan": "--cell cell_clip: expected a number, such as cell_clip=3, got 'nan'",
    "coupled forget_gate=false": "--cell forget_gate: expected True with coupled=True",
    "zoneout_hidden=0.1": "--cell zoneout_hidden: expected 0 with a projection",
    "slstm": "--proj: expected 0 with kind='slstm', got 2",
    "heads=2": "--cell heads: expected 1 without kind='slstm', got 2",
    "slstm heads": "--cell heads: expected a number, such as heads=4, got ''",
    "slstm heads=2.5": "--cell heads: expected a whole number, got 2.5",
    "slstm layer_norm": "--cell layer_norm: expected False with kind='slstm', got True",
    "slstm kind=slstm": "--cell kind: expected each feature once, got twice",
    "slsm": r"--cell: expected plain alone, or .*'slsm'; did you mean 'slstm'\?",
    "forget_gate=false": "--forget-bias: expected a cell with a forget gate, got --cell forget_gate=false",
}


@pytest.mark.parametrize("words", REFUSED)
def test_what_is_no_cell_is_refused_with_the_reason(words: str) -> None:
    options = Options(model=ModelOptions(cell=(words,), proj=2, forget_bias=1.0))
    with pytest.raises(GatewrightError, match=f"^{REFUSED[words]}"):
        registry.kind("language").resolve(options)


def test_heads_have_to_divide_the_units() -> None:
    resolve = registry.kind("language").resolve
    assert resolve(Options(model=ModelOptions(cell=("slstm heads=5",), hidden=15))).model.cell == (
        "slstm",
        "heads=5",
    )
    with pytest.raises(
        GatewrightError, match=r"^--cell heads: expected a number that divides the 16 units of --hidden"
    ):
        resolve(Options(model=ModelOptions(cell=("slstm heads=5",), hidden=16)))


@pytest.mark.parametrize("form", [CellSpec(bias=False), CellSpec(proj_size=3)])
def test_what_is_no_feature_is_refused_in_a_spec(form: CellSpec) -> None:
    with pytest.raises(GatewrightError, match=r"^cell: expected .* got (bias=False|proj_size=3)$"):
        options_of({"cell": form})


@pytest.mark.parametrize("kind", registry.KINDS)
def test_every_kind_resolves_a_cell_to_words_in_order_and_builds_layers_of_it(kind: str) -> None:
    learned = registry.kind(kind)
    options = learned.resolve(Options(model=ModelOptions(cell=("weight_drop=0.2 forget-gate=false", "peephole"))))
    assert options.model.cell == ("peephole", "forget_gate=false", "weight_drop=0.2")
    assert options.model.forget_bias is None
    assert learned.resolve(options) == options  # as a run that goes on does
    assert learned.agrees("cell", ("weight_drop=.2, peephole forget_gate=false",), options.model.cell)
    assert not learned.agrees("cell", ("peephole",), options.model.cell)
    expected = CellSpec(peephole=True, forget_gate=False, weight_drop=0.2)
    assert ModelSettings.of(options.model).stack("both").cell == expected
    assert learned.resolve(Options()).model.cell == ("plain",)
    with pytest.raises(GatewrightError, match=r"^--chrono: expected a cell with a forget gate"):
        learned.resolve(Options(model=ModelOptions(cell=("forget_gate=false",), chrono=30)))


def test_a_search_tries_cells() -> None:
    space = space_of(["cell=plain,layer_norm+peephole,zoneout_cell=0.1,slstm+heads=4"])
    resolve = registry.kind("forecast").resolve
    assert checked(resolve, Options(DataOptions()), space) == space
    tried = [resolve(with_values(Options(), {"cell": value})).model.cell for value in space["cell"].ends]
    assert tried == [("plain",), ("peephole", "layer_norm"), ("zoneout_cell=0.1",), ("slstm", "heads=4")]
    with pytest.raises(GatewrightError, match=r"^--search cell: expected plain alone, .* got 'layers'"):
        checked(resolve, Options(DataOptions()), space_of(["cell=plain,layers"]))
