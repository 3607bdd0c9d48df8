"""What cannot be asked of the inspector: one clear line for it, and nothing comes of it."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gatewright.inspector import catalog as catalogs
from gatewright.inspector.catalog import Catalog, Subject
from gatewright.inspector.payload import printable
from tests.support.inspected import ASKED, get, served, shelf_of, small, strict


@pytest.fixture
def asking() -> Iterator[tuple[httpx.Client, Catalog]]:
    catalog = shelf_of(small=small())
    with served(catalog) as client:
        yield client, catalog


@pytest.fixture(scope="module")
def fuzzed() -> Iterator[tuple[httpx.Client, Catalog]]:
    catalog = shelf_of(small=small())
    with served(catalog) as client:
        yield client, catalog


def refused(client: httpx.Client, catalog: Catalog, body: bytes, status: int = 422) -> str:
    """Ask what cannot be answered; return the line that says so, having checked that nothing came of it."""
    before = client.get("recordings").content, catalog.version
    answer = client.post("recordings/small/whatif", content=body)
    assert answer.status_code == status, answer.text
    told = strict(answer.content)
    assert set(told) == {"error"}
    assert "\n" not in told["error"]
    assert len(told["error"]) < 1000
    assert (client.get("recordings").content, catalog.version) == before
    return str(told["error"])


CLAMP = {"gate": "forget_gate", "units": [0], "value": 0.5, "first": 0, "end": 12}
EDIT = {"t": 3, "units": [0], "value": 0.5}
BAD = [
    ({"ablate": []}, "what if: expected a gate to hold, .* got nothing"),
    ({"row": 2}, r"what if.row: expected a row from 0 to 1, got 2"),
    ({"row": -1}, "what if.row"),
    ({"row": 0.5}, "what if.row: expected a value of type int, got 0.5"),
    ({"row": True}, "what if.row"),
    ({"row": None}, "what if.row"),
    ({"layer": 2}, "what if.layer: expected a layer from 0 to 1, got 2"),
    ({"layer": -1}, "what if.layer"),
    ({"direction": "reverse"}, "what if.direction: expected a direction that the layer has, got 'reverse'"),
    ({"direction": "x" * 10000}, "what if.direction"),
    ({"ablate": [4]}, r"what if.ablate: expected units from 0 to 3, each once, got \(4,\)"),
    ({"ablate": [-1]}, "what if.ablate"),
    ({"ablate": [1, 1]}, "what if.ablate"),
    ({"ablate": [10**30]}, "what if.ablate"),
    ({"ablate": [0] * 100000}, "what if.ablate"),
    ({"ablate": 1}, "what if.ablate: expected a list, got 1"),
    ({"clamp": [{**CLAMP, "gate": "gate"}]}, "clamp: expected a gate out of input_gate, .*, got 'gate'"),
    ({"clamp": [{**CLAMP, "units": []}]}, r"what if.clamp\[0\].units"),
    ({"clamp": [CLAMP, {**CLAMP, "units": [9]}]}, r"what if.clamp\[1\].units"),
    ({"clamp": [{**CLAMP, "value": 1.5}]}, "clamp: expected a value from 0 to 1 for the forget_gate, got 1.5"),
    ({"clamp": [{**CLAMP, "gate": "candidate", "value": -1.1}]}, "clamp: expected a value from -1 to 1"),
    ({"clamp": [{**CLAMP, "value": "1"}]}, r"what if.clamp\[0\].value: expected a value of type float"),
    ({"clamp": [{**CLAMP, "value": 2**60}]}, r"what if.clamp\[0\].value"),
    ({"clamp": [{**CLAMP, "first": 12}]}, r"what if.clamp\[0\].first, end: expected steps from 0 to 12"),
    ({"clamp": [{**CLAMP, "first": -1}]}, r"what if.clamp\[0\].first, end"),
    ({"clamp": [{**CLAMP, "end": 13}]}, r"what if.clamp\[0\].first, end"),
    ({"clamp": [{**CLAMP, "end": 10**40}]}, r"what if.clamp\[0\].first, end"),
    ({"clamp": [{"gate": "forget_gate"}]}, r"what if.clamp\[0\]: expected an object with the fields"),
    ({"edit_cell": [{**EDIT, "t": 12}]}, r"what if.edit_cell\[0\].t: expected a step from 0 to 11, got 12"),
    ({"edit_cell": [{**EDIT, "t": -1}]}, r"what if.edit_cell\[0\].t"),
    ({"edit_cell": [{**EDIT, "units": [0, 4]}]}, r"what if.edit_cell\[0\].units"),
    ({"edit_cell": [EDIT, {**EDIT, "value": 1e39}]}, r"what if.edit_cell\[1\].value"),
    ({"extra": 1}, "what if: expected an object with the fields"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "pattern"), BAD)
def test_what_cannot_be_asked(fuzzed: tuple[httpx.Client, Catalog], changes: dict[str, Any], pattern: str) -> None:
    assert re.match(pattern, refused(*fuzzed, json.dumps({**ASKED, **changes}).encode()))


def test_what_is_no_question(asking: tuple[httpx.Client, Catalog]) -> None:
    client, catalog = asking
    whole = json.dumps(ASKED).encode()
    for body in (
        b"", b"x", b"null", b"[]", b"3", b'"row"', b"{}", b"\xff\xfe", whole[:-1], whole + b"x", b"NaN",
        whole.replace(b"[1, 3]", b"[NaN]"), whole.replace(b"[1, 3]", b"[1e999]"),
        whole.replace(b'"row": 0', b'"row": Infinity'),
        whole.replace(b"{", b'{"row": 1, ', 1), b"[" * 100000, b'{"a":' * 100000, b"9" * 5000,
        whole.replace(b'"row": 0', b'"row": ' + b"9" * 5000), whole.replace(b"forward", b"\xed\xa0\x80"),
        whole.replace(b"forward", b"\\ud800"), whole.replace(b"forward", b"a\\nb\\u001b[31m"),
    ):  # fmt: skip
        assert "expected" in refused(client, catalog, body)
    edit = json.dumps({**ASKED, "edit_cell": [EDIT]}).encode()
    for number in (b"1e999", b"-1e999", b"1e308", b"NaN"):
        told = refused(client, catalog, edit.replace(b'"value": 0.5', b'"value": ' + number))
        assert "edit_cell[0].value" in told or "NaN" in told
    for body in (b" " * (2 << 20), whole + b" " * (2 << 20)):
        assert refused(client, catalog, body, 413) == "body: expected at most 1048576 bytes, got more"
    assert len(get(client, "recordings")) == 1


numbers = st.one_of(
    st.integers(-3, 14), st.integers(), st.floats(), st.sampled_from([2**53, 10**400, 1e308, -0.0]), st.booleans()
)
words = st.one_of(st.text(max_size=5), st.sampled_from(["forward", "reverse", "forget_gate", "cell"]))
leaves = st.one_of(st.none(), numbers, words)
anything = st.recursive(leaves, lambda more: st.lists(more, max_size=4) | st.dictionaries(words, more, max_size=3))
nearly = st.fixed_dictionaries(
    {"row": numbers, "layer": st.integers(-1, 2), "direction": words},
    optional={
        "clamp": st.lists(
            st.fixed_dictionaries({name: anything | st.just(CLAMP[name]) for name in CLAMP}), max_size=3
        ),
        "ablate": st.lists(numbers, max_size=5),
        "edit_cell": st.lists(
            st.fixed_dictionaries({name: anything | st.just(EDIT[name]) for name in EDIT}), max_size=3
        ),
    },
).map(lambda asked: {**ASKED, **asked})


@settings(max_examples=1500 if os.environ.get("GATEWRIGHT_LONG") else 80, deadline=None,
          suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])  # fmt: skip
@given(asked=anything | nearly)
def test_any_question_is_answered_or_refused(fuzzed: tuple[httpx.Client, Catalog], asked: Any) -> None:
    client, catalog = fuzzed
    before = client.get("recordings").content, catalog.version
    answer = client.post("recordings/small/whatif", content=json.dumps(asked).encode())
    told = strict(answer.content)
    if answer.status_code == 200:
        assert get(client, f"recordings/{told['id']}/meta")["origin"] == "small"
    else:
        assert answer.status_code == 422, answer.text
        assert "\n" not in told["error"]
        assert re.match(r"[\w. ,\[\]]+: expected ", told["error"])
        assert (client.get("recordings").content, catalog.version) == before


def test_a_name_that_is_no_text_is_shown_all_the_same() -> None:
    assert printable("a\udcffb") == "a?b"
    subject = small()
    about = catalogs.dataclasses.replace(subject.batch.about, title="a\udcffb")
    changed = catalogs.dataclasses.replace(subject.batch, about=about)
    with served(shelf_of(it=Subject(subject.model, changed)), "a\udcffb") as client:
        assert get(client, "recordings/it/meta")["title"] == "a?b"
        assert "<title>a?b</title>" in client.get("").text
