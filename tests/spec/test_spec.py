"""A specification goes to JSON and back unchanged, and nothing else gets in."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gatewright.errors import SpecError, shorten
from gatewright.spec import (
    UNKNOWN,
    ModelSpec,
    QuantileHead,
    Scaler,
    SeriesEncoder,
    StackSpec,
    SymbolEncoder,
    SymbolHead,
    Vocabulary,
)
from gatewright.spec.json import Spec, left_out
from tests.support.examples import examples
from tests.support.spec_strategies import TEXTS, changed_json, model_specs, scalers, vocabularies

SERIES = ModelSpec(
    SeriesEncoder(("load",), past=("wind",), known=("price",), static=("area",), calendar=("hour_of_day",)),
    StackSpec(hidden_size=4, num_layers=2, dropout=0.1, proj_size=3),
    QuantileHead(horizon=2),
)
SYMBOLS = ModelSpec(SymbolEncoder(symbols=3, embedding_size=2), StackSpec(4), SymbolHead())
SCALER = Scaler(("load", "wind"), (20.0, -1.5), (4.0, 0.25), (0.5,))
VOCABULARY = Vocabulary((UNKNOWN, "a", "é"))
ALL = [SERIES, SYMBOLS, SCALER, VOCABULARY]


@given(model_specs() | scalers() | vocabularies())
def test_json_and_back_unchanged(spec: Spec) -> None:
    text = spec.to_json()
    again = type(spec).from_json(text)
    assert again == spec
    assert again.to_json() == text
    assert text.isascii()
    assert text.isprintable()


def test_equal_specs_have_one_text() -> None:
    whole = ModelSpec(SERIES.encoder, StackSpec(4, 2, 0, 3), QuantileHead(2))
    rate = ModelSpec(SERIES.encoder, StackSpec(4, 2, 0.0, 3), QuantileHead(2))
    assert whole.to_json() == rate.to_json()
    assert Scaler(("a",), (20,), (4,), (1,)).to_json() == Scaler(("a",), (20.0,), (4.0,), (1.0,)).to_json()


def test_the_text_is_known() -> None:
    # Files hold this text, and their fingerprint is over it: it may not change under one format version.
    assert SYMBOLS.to_json() == (
        '{"encoder":{"embedding_size":2,"kind":"symbols","symbols":3},"head":{"kind":"next_symbol"},'
        '"lstm":{"dropout":0.0,"hidden_size":4,"num_layers":1,"proj_size":0}}'
    )
    assert SERIES.to_json() == (
        '{"encoder":{"calendar":["hour_of_day"],"context":1,"kind":"series","known":["price"],'
        '"past":["wind"],"reads":"change","static":["area"],"step":"row","targets":["load"],"time_zone":""},'
        '"head":{"horizon":2,"kind":"quantiles","quantiles":[0.1,0.5,0.9]},'
        '"lstm":{"dropout":0.1,"hidden_size":4,"num_layers":2,"proj_size":3}}'
    )
    assert SCALER.to_json() == (
        '{"change_scale":[0.5],"columns":["load","wind"],"mean":[20.0,-1.5],"scale":[4.0,0.25]}'
    )
    assert VOCABULARY.to_json() == r'{"symbols":["\ufffd","a","\u00e9"]}'


def edited(spec: Spec, path: str, value: Any) -> str:
    """Return the spec's JSON with the field at a dotted path set; `...` takes it away."""
    plain = json.loads(spec.to_json())
    *parents, last = path.split(".")
    holder = plain
    for parent in parents:
        holder = holder[parent]
    if value is ...:
        del holder[last]
    else:
        holder[last] = value
    return json.dumps(plain)


def fields(plain: Any, path: str = "") -> Any:
    for name, value in plain.items():
        yield f"{path}{name}"
        if isinstance(value, dict):
            yield from fields(value, f"{path}{name}.")


@pytest.mark.parametrize(
    ("spec", "path"), [(spec, path) for spec in ALL for path in fields(json.loads(spec.to_json()))]
)
def test_every_field_has_to_be_there_once_with_its_type(spec: Spec, path: str) -> None:
    name = path.rpartition(".")[2]
    for value in (..., None, {}, True, [[]]):
        with pytest.raises(SpecError, match=name):
            type(spec).from_json(edited(spec, path, value))
    text = spec.to_json()
    plain = json.loads(text)
    for parent in path.split(".")[:-1]:
        plain = plain[parent]
    member = f"{json.dumps(name)}:{json.dumps(plain[name], separators=(',', ':'))}"
    assert text.count(member) == 1
    with pytest.raises(SpecError, match=f"the field '{name}' 2 times"):
        type(spec).from_json(text.replace(member, f"{member},{member}"))
    with pytest.raises(SpecError, match=f"{name}x"):
        type(spec).from_json(text.replace(member, f'{member},"{name}x":1'))


SEASONAL = ModelSpec(SeriesEncoder(("load",), context=9, seasons=(2, 8)), StackSpec(4), QuantileHead(horizon=3))


def test_a_field_that_is_left_out_changes_no_text_of_models_without_it() -> None:
    """As the text of `SERIES` shows, a feature that a model does not use is in none of its texts."""
    text = SEASONAL.to_json()
    assert '"reads":"change","seasons":[2,8],"static":[]' in text
    without = ModelSpec.from_json(text.replace('"seasons":[2,8],', ""))
    assert without.encoder.seasons == ()
    assert (SEASONAL.version(), without.version(), SYMBOLS.version(), SCALER.version()) == (3, 0, 0, 0)
    assert SEASONAL.tensors().keys() - without.tensors().keys() == {"season.weight"}
    assert list(SEASONAL.tensors())[-1] == "season.weight"
    assert SEASONAL.tensors()["season.weight"] == (2, 3, 1)
    with pytest.raises(SpecError, match=r"spec.encoder: expected an object with the fields .*, and perhaps \["):
        ModelSpec.from_json(text.replace('"seasons"', '"season"'))


@dataclasses.dataclass(frozen=True)
class Inner(Spec):
    size: int
    gain: float = left_out(1.0, since=5)


@dataclasses.dataclass(frozen=True)
class Outer(Spec):
    parts: tuple[Inner, ...]
    single: Inner
    feature: bool = left_out(False, since=4)


def test_versions_and_texts_of_nested_features() -> None:
    plain = Outer((Inner(1), Inner(2)), Inner(3))
    assert plain.to_json() == '{"parts":[{"size":1},{"size":2}],"single":{"size":3}}'
    for spec, version in (
        (plain, 0),
        (dataclasses.replace(plain, feature=True), 4),
        (dataclasses.replace(plain, single=Inner(3, 2)), 5),
        (dataclasses.replace(plain, parts=(Inner(1), Inner(2, 0.5)), feature=True), 5),
        (dataclasses.replace(plain, single=Inner(3, 1)), 0),  # 1, the default, as a whole number
    ):
        assert spec.version() == version
        assert Outer.from_json(spec.to_json()) == spec
    assert dataclasses.replace(plain, single=Inner(3, 2)).to_json().endswith('"single":{"gain":2.0,"size":3}}')
    for wrong in ('"gain":true', '"gain":"1"', '"gains":1.0', '"gain":2.0,"gain":2.0'):
        with pytest.raises(SpecError):
            Inner.from_json('{"size":1,' + wrong + "}")


BIG = 2**31
WRONG = [
    (SERIES, "encoder.targets", [], "targets"),
    (SERIES, "encoder.targets", ["load", 1], r"spec\.encoder\.targets\[1\]"),
    (SERIES, "encoder.past", ["load"], "columns"),
    (SERIES, "encoder.static", ["\ud800"], "columns"),
    (SERIES, "encoder.step", "\udfff", "step"),
    (SERIES, "encoder.calendar", ["minute"], "calendar"),
    (SERIES, "encoder.reads", "all", "reads"),
    (SERIES, "encoder.context", 0, "context"),
    (SERIES, "encoder.context", 1.0, r"spec\.encoder\.context"),
    (SERIES, "encoder.kind", "symbols", "encoder"),
    (SERIES, "encoder.kind", "words", r"spec\.encoder\.kind"),
    (SERIES, "encoder.kind", ["series"], r"spec\.encoder\.kind"),
    (SERIES, "encoder", [], r"spec\.encoder\.kind"),
    (SEASONAL, "encoder.seasons", [8, 2], "seasons: expected lengths in rising order"),
    (SEASONAL, "encoder.seasons", [2, 2], "seasons: expected lengths in rising order"),
    (SEASONAL, "encoder.seasons", [0, 2], "seasons: expected lengths from 1 to 1000000, got 0"),
    (SEASONAL, "encoder.seasons", [1_000_001], "seasons: expected lengths from 1 to 1000000"),
    (SEASONAL, "encoder.seasons", [*range(1, 18)], "seasons: expected at most 16"),
    (SEASONAL, "encoder.seasons", [2.0], r"spec\.encoder\.seasons\[0\]"),
    (SEASONAL, "encoder.seasons", 2, r"spec\.encoder\.seasons: expected a list"),
    (SEASONAL, "encoder.context", 8, "context: expected at least 9, a row more than the longest season, got 8"),
    (SEASONAL, "encoder.reads", "nothing", 'seasons: expected none where reads is "nothing"'),
    (SERIES, "head", json.loads(SYMBOLS.to_json())["head"], "head"),
    (SERIES, "head.horizon", BIG, "horizon"),
    (SERIES, "head.horizon", BIG - 1, "input_size|output_size"),
    (SERIES, "head.quantiles", [0.1, 0.9], "quantiles"),
    (SERIES, "head.quantiles", [0.5, 0.1], "quantiles"),
    (SERIES, "head.quantiles", [0.5, 0.5], "quantiles"),
    (SERIES, "head.quantiles", [0.0, 0.5], "quantiles"),
    (SERIES, "head.quantiles", [0.5, 1], "quantiles"),
    (SERIES, "head.quantiles", [0.5, 2**60], r"quantiles\[1\]"),
    (SERIES, "lstm", "big", "spec.lstm"),
    (SERIES, "lstm.hidden_size", 0, "hidden_size"),
    (SERIES, "lstm.hidden_size", BIG, "hidden_size"),
    (SERIES, "lstm.hidden_size", [], "hidden_size"),
    (SERIES, "lstm.hidden_size", [4, 0], "hidden_size"),
    (SERIES, "lstm.hidden_size", [4, 5.0], r"hidden_size\[1\]"),
    (SERIES, "lstm.hidden_size", [4, 5, 6], "num_layers"),
    (SERIES, "lstm.hidden_size", [5, 3], "proj_size"),
    (SYMBOLS, "lstm.residual", True, "residual: expected false for one layer"),
    (SYMBOLS, "lstm.hidden_size", "4", "hidden_size"),
    (SERIES, "lstm.num_layers", -1, "num_layers"),
    (SERIES, "lstm.dropout", 1, "dropout"),
    (SERIES, "lstm.dropout", -0.1, "dropout"),
    (SERIES, "lstm.dropout", "0.1", "dropout"),
    (SERIES, "lstm.proj_size", 4, "proj_size"),
    (SERIES, "lstm.proj_size", -1, "proj_size"),
    (SYMBOLS, "encoder.symbols", 1, "symbols"),
    (SYMBOLS, "encoder.embedding_size", 0, "embedding_size"),
    (SCALER, "columns", ["load"], "scaler"),
    (SCALER, "columns", ["load", "\udc00"], "scaler.columns"),
    (SCALER, "mean", [1.0], "scaler"),
    (SCALER, "scale", [4.0, 0], "scaler.scale"),
    (SCALER, "scale", [4.0, -1.0], "scaler.scale"),
    (SCALER, "change_scale", [0.0], "scaler.scale"),
    (VOCABULARY, "symbols", [], "vocabulary"),
    (VOCABULARY, "symbols", ["a", "b"], "vocabulary"),
    (VOCABULARY, "symbols", [UNKNOWN, "ab"], "vocabulary"),
    (VOCABULARY, "symbols", [UNKNOWN, ""], "vocabulary"),
    (VOCABULARY, "symbols", [UNKNOWN, "a", "a"], "vocabulary"),
    (VOCABULARY, "symbols", [UNKNOWN, "\ud83d"], "vocabulary"),
]


@pytest.mark.parametrize(("spec", "path", "value", "match"), WRONG)
def test_a_wrong_value_is_named(spec: Spec, path: str, value: Any, match: str) -> None:
    with pytest.raises(SpecError, match=match):
        type(spec).from_json(edited(spec, path, value))


def test_sizes_of_layers_are_left_out_where_they_are_equal() -> None:
    """So that equal stacks have one text, and files without the feature their version."""
    stack = StackSpec((5, 3, 4), proj_size=2, residual=True)
    spec = ModelSpec(SYMBOLS.encoder, stack, SYMBOLS.head)
    assert '"hidden_size":[5,3,4],"num_layers":3,"proj_size":2,"residual":true' in spec.to_json()
    assert ModelSpec.from_json(spec.to_json()) == spec
    assert (spec.version(), StackSpec((5, 4)).version(), StackSpec(5, 2, residual=True).version()) == (6, 6, 6)
    assert (StackSpec((5, 5)), StackSpec((5, 5)).version()) == (StackSpec(5, 2), 0)
    shapes = StackSpec((5, 4), bidirectional=True).tensors(3)
    assert shapes["lstm.weight_ih_l1_reverse"] == (16, 10)
    assert shapes["lstm.weight_hh_l1"] == (16, 4)
    with pytest.raises(
        SpecError, match=r"^residual: expected false, or layers of one hidden_size or with a proj_size"
    ):
        StackSpec((5, 4), residual=True)


def test_a_model_reads_something_and_gives_no_billions() -> None:
    with pytest.raises(SpecError, match="output_size"):
        ModelSpec(SeriesEncoder(("load",)), StackSpec(1), QuantileHead(2**31 - 1))
    with pytest.raises(SpecError, match="input_size"):
        ModelSpec(SeriesEncoder(("load",), reads="nothing"), StackSpec(1), QuantileHead())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        '"spec"',
        "\ufeff" + SYMBOLS.to_json(),
        SYMBOLS.to_json() + "x",
        "[" * 1_000_000,
        '{"a":' * 1_000_000,
        "[" * 500 + "]" * 500,
        '{"lstm":' + "[" * 500 + "]" * 500 + "}",
        SYMBOLS.to_json().replace(":4,", ":" + "9" * 5000 + ","),
        SYMBOLS.to_json().replace(":4,", ":" + "9" * 4000 + ","),
        SYMBOLS.to_json().replace("0.0", "NaN"),
        SYMBOLS.to_json().replace("0.0", "Infinity"),
        SYMBOLS.to_json().replace("0.0", "1e999"),
        SYMBOLS.to_json().replace("0.0", "-1e999"),
        SYMBOLS.to_json().replace("symbols", "\0"),
    ],
    ids=range(17),
)
def test_what_is_no_spec_is_a_short_spec_error(text: str) -> None:
    with pytest.raises(SpecError) as caught:
        ModelSpec.from_json(text)
    assert len(str(caught.value)) < 1000


def test_long_values_are_shortened() -> None:
    for value in ("a" * 10**6, ["a" * 1000] * 1000, 10**4000, 10**5000, ("b",) * 10**5, [[[[["c"]]]]]):
        assert len(shorten(value)) < 5000
    assert shorten(("load", 1)) == "('load', 1)"
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    assert len(shorten(deep)) < 100


@st.composite
def mutated_texts(draw: st.DrawFn, text: str) -> str:
    for _ in range(draw(st.integers(1, 4))):
        a, b = sorted(draw(st.tuples(*[st.integers(0, len(text))] * 2)))
        piece = draw(TEXTS | st.sampled_from([text[a:b], "1e999", "NaN", "\\ud800", "0", '"', "["]))
        text = text[:a] + piece + text[draw(st.sampled_from([a, b])) :]
    return text


@pytest.mark.slow
@given(st.data())
@settings(max_examples=examples(100), deadline=None)
def test_a_mutated_text_is_read_or_a_spec_error(data: st.DataObject) -> None:
    spec = data.draw(st.sampled_from(ALL))
    if data.draw(st.booleans()):
        text = data.draw(mutated_texts(spec.to_json()))
    else:
        text = json.dumps(data.draw(changed_json(json.loads(spec.to_json()))))
    check_read_or_spec_error(type(spec), text)


@given(TEXTS)
@example("\ud800")
def test_any_text_is_read_or_a_spec_error(text: str) -> None:
    check_read_or_spec_error(ModelSpec, text)


def check_read_or_spec_error(cls: type[Spec], text: str) -> None:
    try:
        spec = cls.from_json(text)
    except SpecError as error:
        message = str(error)
    else:
        message = ""
        assert cls.from_json(spec.to_json()) == spec
    assert len(message) < 10_000
