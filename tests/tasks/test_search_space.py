"""Search spaces: entries and what they mean, and what is refused."""

from __future__ import annotations

from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewright.errors import GatewrightError
from gatewright.tasks import registry
from gatewright.tasks.options import DataOptions, ModelOptions, Options, TrainingOptions
from gatewright.tasks.search_space import Choice, Span, checked, entries_of, searchable, space_of, with_values


def test_entries_are_spans_and_choices():
    entries = [
        "hidden=32:256:log",
        "--lr=1e-4:1e-2",
        "weight-decay=0,0.1",
        "season=none,24+168",
        "reads=level,both",
    ]
    assert space_of(entries) == {
        "hidden": Span(32, 256, log=True, whole=True),
        "lr": Span(1e-4, 1e-2, log=False, whole=False),
        "weight_decay": Choice((0.0, 0.1)),
        "season": Choice(("none", "24+168")),
        "reads": Choice(("level", "both")),
    }


@given(
    st.floats(1e-9, 1e9),
    st.floats(1e-9, 1e9),
    st.booleans(),
    st.lists(st.integers(1, 10**6), min_size=1, unique=True),
)
def test_a_space_is_that_of_its_entries(one, two, log, sizes):
    if one == two:
        return
    space = {"lr": Span(min(one, two), max(one, two), log, whole=False), "hidden": Choice(tuple(sizes))}
    assert space_of(entries_of(space)) == space


@pytest.mark.parametrize("kind", registry.KINDS.values(), ids=lambda kind: kind.name)
def test_each_kind_has_a_space_whose_values_are_all_valid(kind):
    space = space_of(kind.searched)
    assert checked(kind.resolve, Options(), space) == space
    # What decides on the rows that are scored, or on the columns, is in no space.
    assert not {"horizon", "target", "quantiles", "valid", "test", "label"} & searchable().keys()


def test_values_become_options_of_their_tables():
    given = Options(DataOptions(horizon=3), ModelOptions(layers=2), TrainingOptions(steps=7))
    values = {"season": "24+168", "hidden": 8, "lr": 0.5, "calendar": "none", "epochs": 2}
    assert with_values(given, values) == Options(
        DataOptions(horizon=3, season=("24", "168"), calendar=("none",)),
        ModelOptions(layers=2, hidden=8),
        TrainingOptions(lr=0.5, epochs=2),
    )


def test_what_is_set_is_not_searched():
    kind = registry.kind("forecast")
    fixed = Options(model=ModelOptions(hidden=8), training=TrainingOptions(epochs=3))
    space = space_of(["hidden=4:8", "steps=10,20", "lr=1e-3:1e-2"])
    assert list(checked(kind.resolve, fixed, space)) == ["lr"]
    with pytest.raises(
        GatewrightError, match="--search: expected an option to search, got values for all of them"
    ):
        checked(kind.resolve, fixed, space_of(["hidden=4:8"]))
    with pytest.raises(GatewrightError, match="--search hidden: expected an option without a value of its own"):
        checked(kind.resolve, fixed, space, own=["hidden"])


REFUSED = {
    "hiden=4:8": r"--search: expected an option of the training, .*, got 'hiden'; did you mean 'hidden'\?",
    "horizon=1,2": "--search: expected an option that leaves what is scored as it is, .*, got 'horizon'",
    "target=a,b": "--search: expected an option that leaves what is scored as it is",
    "loss=mae,mse": "--search: expected an option that leaves what is scored as it is",
    "transform=log1p,none": "--search: expected an option that leaves what is scored as it is",
    "calibrate=none,scale": "--search: expected an option that leaves what is scored as it is",
    "refit=true,false": "--search: expected an option that leaves what is scored as it is",
    "device=cpu,cuda": "--search: expected an option that leaves what is scored",
    "hidden": "--search: expected NAME=LOW:HIGH, NAME=LOW:HIGH:log or NAME=VALUE,VALUE, got 'hidden'",
    "hidden=": "--search: expected NAME=LOW:HIGH",
    "hidden=8:4": "--search hidden: expected a low end below the high one, got '8:4'",
    "hidden=4:8.5": "--search hidden: expected whole numbers, got '8.5'",
    "hidden=4:8:16": "--search hidden: expected LOW:HIGH or LOW:HIGH:log, got '4:8:16'",
    "hidden=4:8:ln": "--search hidden: expected LOW:HIGH or LOW:HIGH:log",
    "hidden=0:8": "--search hidden: expected a whole number from 1 to 2147483647, or one for each layer.*, got 0",
    "hidden=4,x": "--search hidden: expected whole numbers, or units of each layer such as 128.64.32, got '4,x'",
    "lr=0:1:log": "--search lr: expected a low end above 0 with log, got '0:1:log'",
    "lr=0:1": "--search lr: expected a number above 0, got 0.0",
    "lr=nan:1": "--search lr: expected numbers, got 'nan'",
    "dropout=0:1": "--search dropout: expected a rate from 0 up to, but not, 1, got 1.0",
    "dropout=0.1,0.1": "--search dropout: expected different values",
    "reads=level,all": "--search reads: expected one of change, level, both, nothing, got 'all'",
    "reads=level,": "--search reads: expected different values",
    "season=24,48+x": "--search season: expected none, or different lengths",
    "pooling=last,max": "--search pooling: expected no such option for a forecast model, got 'last'",
}


@pytest.mark.parametrize("entry", REFUSED)
def test_entries_that_cannot_be_searched_are_refused_by_name(entry):
    with pytest.raises(GatewrightError, match=REFUSED[entry]):
        checked(registry.kind("forecast").resolve, Options(), space_of([entry]))


def test_a_pair_that_cannot_be_searched_is_refused():
    with pytest.raises(GatewrightError, match="--search: expected each option once, got lr twice"):
        space_of(["lr=1:2", "lr=3:4"])
    with pytest.raises(GatewrightError, match="--search: expected steps or epochs, got both"):
        checked(registry.kind("forecast").resolve, Options(), space_of(["steps=1:2", "epochs=3:4"]))


def test_every_option_has_a_table_of_its_own():
    """`with_values` finds the table of an option by its name alone."""
    names = [name for table in fields(Options) for name in vars(table.default)]
    assert len(set(names)) == len(names)
