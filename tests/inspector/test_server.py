"""The inspector's server: what it gives is what was recorded, and what came of it when something was changed."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch

from gatewright import LSTM
from gatewright.errors import GatewrightError
from gatewright.insight import diagnose, intervene
from gatewright.insight.recorder import prepare, record
from gatewright.inspector import catalog as catalogs
from gatewright.inspector.catalog import MAX_RECORDINGS, MAX_WHAT_IFS, Catalog, Entry, Subject
from gatewright.inspector.payload import diagnosis
from gatewright.inspector.server import PageServer
from gatewright.inspector.what_if import WhatIf
from tests.support.inspected import ASKED, KINDS, blocks_of, get, same, served, shelf_of, small, strict, subjects

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Subject]:
    return subjects(tmp_path_factory.mktemp("shown"))


@pytest.fixture(scope="module")
def page(shown: dict[str, Subject]) -> Iterator[httpx.Client]:
    """A page of every kind of recording."""
    with served(shelf_of(**shown), "<b>a & b</b>\udcff") as client:
        yield client


@pytest.fixture
def asking() -> Iterator[tuple[httpx.Client, Catalog]]:
    """A page of its own for a test that asks "what if"."""
    catalog = shelf_of(small=small())
    with served(catalog) as client:
        yield client, catalog


def ask(client: httpx.Client, name: str = "small", **changes: Any) -> str:
    answer = client.post(f"recordings/{name}/whatif", json={**ASKED, **changes})
    assert answer.status_code == 200, answer.text
    return str(strict(answer.content)["id"])


def read(client: httpx.Client, name: str) -> dict[tuple[int, str], np.ndarray]:
    """Every block of a recording, as `data/source.ts` reads it."""
    kinds = {"f4": "<f4", "f8": "<f8", "i4": "<i4"}
    found = {}
    for row, blocks in enumerate(get(client, f"recordings/{name}/meta")["blocks"]):
        for block, shape in blocks.items():
            answer = client.get(f"recordings/{name}/rows/{row}/{block}").raise_for_status()
            assert answer.headers["content-type"] == "application/octet-stream"
            found[row, block] = np.frombuffer(answer.content, kinds[shape["dtype"]]).reshape(shape["shape"])
    return found


def require_same(client: httpx.Client, name: str, recording: Any) -> None:
    """Check every number of a recording."""
    got = read(client, name)
    names = set()
    for row in range(len(recording.lengths)):
        for block, (kind, expected) in blocks_of(recording, row).items():
            assert got[row, block].dtype == np.dtype(kind)
            assert same(got[row, block], expected.astype(kind)), (row, block)
            names.add((row, block))
    assert set(got) == names


@pytest.mark.parametrize("kind", KINDS)
def test_every_block_is_what_was_recorded(page: httpx.Client, shown: dict[str, Subject], kind: str) -> None:
    require_same(page, kind, shown[kind].record())


@pytest.mark.parametrize("kind", KINDS)
def test_the_meta_says_what_it_is(page: httpx.Client, shown: dict[str, Subject], kind: str) -> None:
    recording, meta = shown[kind].record(), get(page, f"recordings/{kind}/meta")
    about = recording.about
    assert meta["id"] == kind
    assert meta["origin"] is None
    assert (meta["title"], meta["note"], meta["fingerprint"]) == (about.title, about.note, about.fingerprint)
    assert meta["rows"] == [
        {"name": name, "steps": steps} for name, steps in zip(about.rows, recording.lengths.tolist(), strict=True)
    ]
    assert meta["inputs"] == list(about.inputs)
    assert len(meta["inputs"]) == recording.inputs.shape[-1]
    assert len(meta["readouts"]) == (0 if kind == "layers" else len(recording.readout_bias))
    assert meta["kind"] == {"paired": "text"}.get(kind, kind)
    assert (meta["series"] is not None, meta["text"] is not None) == (
        kind == "series",
        meta["kind"] == "text",
    )
    if kind == "series":
        assert [row["steps"] for row in meta["rows"]] == [57, 64]
        assert meta["series"] == {
            "targets": ["load", "flow"], "columns": ["load", "flow", "wind", "heat", "height"], "horizon": 3,
            "quantiles": [0.1, 0.5, 0.9], "step": "1h", "timed": True,
        }  # fmt: skip
    if kind == "layers":
        assert meta["layers"] == [{"hidden": 5, "output": 2, "directions": ["forward", "reverse"]}] * 2
    assert meta["peer"] == ({"name": "plain RNN", "hidden": 9} if kind == "paired" else None)


@pytest.mark.parametrize("kind", KINDS)
def test_the_diagnosis_is_strict_json_and_what_diagnose_finds(
    page: httpx.Client, shown: dict[str, Subject], kind: str
) -> None:
    subject = shown[kind]
    plain = None if subject.plain is None else subject.plain.rnn
    found = diagnose(subject.record(), plain=plain)
    got = get(page, f"recordings/{kind}/diagnosis")
    assert got == json.loads(json.dumps(diagnosis(found)))
    assert [(one["layer"], one["direction"]) for one in got["layers"]] == [
        (one.layer, one.direction) for one in found.layers
    ]
    for one, expected in zip(got["layers"], found.layers, strict=True):
        half_life = [np.inf if value is None else value for value in one["half_life"]]
        assert np.array_equal(half_life, expected.half_life)
        assert np.array_equal(one["histograms"]["candidate"], expected.histograms["candidate"])
    assert (got["horizon"] is None) == (kind == "layers")
    if got["horizon"]:
        assert np.array_equal(got["horizon"]["lstm"], found.horizon.lstm)
        assert (got["horizon"]["peer"] is not None) == (kind == "paired")


def test_what_json_has_no_word_for_is_null() -> None:
    lstm = LSTM(3, 4)
    with torch.no_grad():
        for name in ("bias_ih_l0", "bias_hh_l0"):
            lstm.get_parameter(name)[4:8] = 100.0  # nothing is ever forgotten
    with served(shelf_of(keeps=Subject(*prepare(lstm, torch.zeros(5, 1, 3))))) as client:
        assert get(client, "recordings/keeps/diagnosis")["layers"][0]["half_life"] == [None] * 4


def test_the_list_says_what_is_there(page: httpx.Client) -> None:
    blank: dict[str, Any] = {"note": "", "step": None, "score": None, "unit": "", "first": False, "intro": ""}
    blank |= {"place": "", "name": "", "layers": []}
    assert get(page, "recordings") == [{"id": kind, **blank} for kind in KINDS]


CHANGES = [
    {"ablate": [0, 3]},
    {"clamp": [{"gate": "forget_gate", "units": [1], "value": 0.25, "first": 2, "end": 7}]},
    {"clamp": [{"gate": "candidate", "units": [0, 1, 2, 3], "value": -1.0, "first": 0, "end": 12}], "row": 1},
    {"edit_cell": [{"t": 4, "units": [2, 0], "value": -1.5}], "row": 1},
    {
        "clamp": [
            {"gate": "input_gate", "units": [0], "value": 0, "first": 3, "end": 12},
            {"gate": "input_gate", "units": [1], "value": 1, "first": 0, "end": 3},
        ],
        "ablate": [2],
        "edit_cell": [{"t": 0, "units": [3], "value": 2.0}, {"t": 11, "units": [3], "value": 0.0}],
    },
]


def as_python(asked: dict[str, Any]) -> dict[str, Any]:
    """A question of the page as `intervene` takes it."""
    key = (asked["layer"], asked["direction"])
    gates: dict[str, list[Any]] = {}
    for one in asked["clamp"]:
        held = (one["units"], one["value"], slice(one["first"], one["end"]))
        gates.setdefault(one["gate"], []).append(held)
    edits = [(one["t"], one["units"], one["value"], asked["row"]) for one in asked["edit_cell"]]
    return {
        "clamp": {key: gates} if gates else None,
        "ablate": {key: asked["ablate"]} if asked["ablate"] else None,
        "edit_cell": {key: edits} if edits else None,
    }


@pytest.mark.parametrize("changes", CHANGES)
def test_an_answer_is_what_intervene_gives(asking: tuple[httpx.Client, Catalog], changes: dict[str, Any]) -> None:
    client, _ = asking
    asked = {**ASKED, "ablate": [], **changes}
    subject = small()
    expected = intervene(subject.model, subject.batch.x, **as_python(asked))
    name = ask(client, **asked)
    require_same(client, name, expected)
    meta = get(client, f"recordings/{name}/meta")
    assert meta["origin"] == "small"
    assert meta["note"] == expected.about.note != ""
    assert [edit["added"] for edit in meta["edits"]] == [edit.added for edit in expected.about.edits]
    assert {(edit["row"], edit["layer"], edit["direction"]) for edit in meta["edits"]} <= {
        (asked["row"], 1, "forward")
    }
    listed = get(client, "recordings")
    blank: dict[str, Any] = {"step": None, "score": None, "unit": "", "first": False, "intro": "", "place": ""}
    blank |= {"name": "", "layers": []}
    assert listed[1:] == [{"id": name, "note": expected.about.note, **blank}]
    # What is measured of a model would not be of the changed one.
    assert get(client, f"recordings/{name}/diagnosis")["horizon"] is None
    require_same(client, "small", record(subject.model, subject.batch))


@pytest.mark.parametrize(
    ("kind", "direction"), [("series", "forward"), ("text", "forward"), ("layers", "reverse")]
)
def test_answers_of_every_kind(shown: dict[str, Subject], kind: str, direction: str) -> None:
    subject = shown[kind]
    row = len(subject.batch.lengths) - 1
    last = int(subject.batch.lengths[row]) - 1
    asked = {
        "row": row, "layer": 0, "direction": direction, "ablate": [1],
        "clamp": [{"gate": "output_gate", "units": [0], "value": 0.5, "first": 1, "end": last + 1}],
        "edit_cell": [{"t": last, "units": [2], "value": 0.75}],
    }  # fmt: skip
    plan = WhatIf.from_json(json.dumps(asked)).plan(subject.model, subject.batch.lengths)
    expected = catalogs.intervention.run(subject.model, subject.batch, plan)
    with served(shelf_of(it=subject)) as client:
        name = ask(client, "it", **asked)
        require_same(client, name, expected)
        [edit] = get(client, f"recordings/{name}/meta")["edits"]
        assert (edit["row"], edit["t"], edit["unit"], edit["direction"]) == (row, last, 2, direction)


def test_an_answer_beside_a_plain_rnn_has_none(page: httpx.Client) -> None:
    assert get(page, f"recordings/{ask(page, 'paired', layer=0)}/meta")["peer"] is None


def test_a_question_about_an_answer_is_of_the_original(asking: tuple[httpx.Client, Catalog]) -> None:
    client, _ = asking
    first = ask(client)
    second = ask(client, first, ablate=[0])
    assert get(client, f"recordings/{second}/meta")["origin"] == "small"
    require_same(client, second, intervene(small().model, small().batch.x, ablate={1: [0]}))


def test_the_oldest_answers_are_forgotten_and_what_is_made_again_is_the_same(
    asking: tuple[httpx.Client, Catalog],
) -> None:
    client, catalog = asking
    before = read(client, "small")
    held = [
        {"gate": "forget_gate", "units": [0], "value": n / 64, "first": 0, "end": 2}
        for n in range(MAX_WHAT_IFS + 3)
    ]
    names = [ask(client, clamp=[one], ablate=[]) for one in held]
    kept = ["small", *names[3:]]
    assert [entry["id"] for entry in get(client, "recordings")] == kept
    assert len(catalog._payloads) == MAX_RECORDINGS
    for name in names[:3]:
        for what in ("meta", "diagnosis", "rows/0/inputs"):
            answer = client.get(f"recordings/{name}/{what}")
            assert answer.status_code == 404
            assert answer.json() == {"error": "This recording no longer exists: choose another one."}
        assert client.post(f"recordings/{name}/whatif", json=ASKED).status_code == 404
    for name in kept[-MAX_RECORDINGS:]:
        get(client, f"recordings/{name}/meta")
    assert "small" not in catalog._payloads
    after = read(client, "small")
    assert all(same(after[key], before[key]) for key in before)
    changes = {1: {"forget_gate": ([0], 3 / 64, slice(0, 2))}}
    require_same(client, names[3], intervene(small().model, small().batch.x, clamp=changes))


def test_what_is_forgotten_leaves_nothing_behind(asking: tuple[httpx.Client, Catalog]) -> None:
    client, catalog = asking
    first = ask(client)
    get(client, f"recordings/{first}/diagnosis")
    for n in range(MAX_WHAT_IFS):
        ask(client, edit_cell=[{"t": 0, "units": [0], "value": n + 0.5}])
    for kept in (catalog._payloads, catalog._diagnoses, catalog._plans):
        assert first not in kept


def test_the_same_question_has_one_answer(asking: tuple[httpx.Client, Catalog]) -> None:
    client, catalog = asking
    first = ask(client)
    version = catalog.version
    assert ask(client) == first
    assert catalog.version == version
    assert ask(client, ablate=[2]) != first
    assert set(catalog._payloads) <= set(catalog._entries)


def test_a_recording_of_a_file_cannot_be_asked() -> None:
    recording = small().record()
    with served(shelf_of(it=Subject(recording=recording))) as client:
        answer = client.post("recordings/it/whatif", json=ASKED)
        told = "recording: expected a recording with its model, got one from a file"
        assert (answer.status_code, answer.json()) == (422, {"error": told})
        require_same(client, "it", recording)


def test_eight_threads_get_right_answers(asking: tuple[httpx.Client, Catalog]) -> None:
    client, _ = asking
    subject = small()
    whole = record(subject.model, subject.batch)
    expected = [intervene(subject.model, subject.batch.x, ablate={1: [n % 4]}) for n in range(8)]
    described = get(client, "recordings/small/diagnosis")

    def work(number: int) -> None:
        with httpx.Client(base_url=client.base_url, timeout=60, trust_env=False) as own:
            for _ in range(2):
                name = ask(own, ablate=[number % 4])
                require_same(own, name, expected[number])
                require_same(own, "small", whole)
                assert get(own, "recordings/small/diagnosis") == described
                assert len(get(own, f"recordings/{name}/diagnosis")["layers"]) == 2

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    names = [entry["id"] for entry in get(client, "recordings")]
    assert len(set(names)) == len(names) == 5  # and eight questions, of which four are the same as four others


def test_a_long_diagnosis_keeps_nobody_from_the_numbers(
    asking: tuple[httpx.Client, Catalog], monkeypatch: pytest.MonkeyPatch
) -> None:
    client, _ = asking
    began, on = threading.Event(), threading.Event()

    def slow(*given: Any, **more: Any) -> Any:
        began.set()
        assert on.wait(30)
        return diagnose(*given, **more)

    monkeypatch.setattr(catalogs, "diagnose", slow)
    with ThreadPoolExecutor(1) as pool:
        waits = pool.submit(get, client, "recordings/small/diagnosis")
        assert began.wait(30)
        assert len(client.get("recordings/small/rows/0/inputs").raise_for_status().content) == 12 * 3 * 4
        assert ask(client) == "whatif-1"
        on.set()
        assert len(waits.result(30)["layers"]) == 2


def test_what_cannot_be_made_is_said(tmp_path: Path) -> None:
    def fails() -> Subject:
        raise GatewrightError("source", "the file that the run learned from", "another one")

    catalog = shelf_of(good=small())
    catalog.add(Entry("bad", first=True), fails)
    with served(catalog) as client:
        told = {"error": "source: expected the file that the run learned from, got another one"}
        for _ in range(2):
            for what in ("meta", "diagnosis", "rows/0/inputs"):
                answer = client.get(f"recordings/bad/{what}")
                assert (answer.status_code, answer.json()) == (422, told)
        assert client.post("recordings/bad/whatif", json=ASKED).json() == told
        assert client.get("recordings/good/meta").status_code == 200


def test_what_is_not_there(page: httpx.Client) -> None:
    for path in (
        "recordings/none/meta", "recordings/series/rows/2/inputs", "recordings/series/rows/0/none",
        "recordings/series/rows/0/0/sideways/cell", "recordings/layers/rows/0/columns", "recordings/%00/meta",
        "recordings/series/rows/99999999999999999999/inputs", f"recordings/series/rows/{'9' * 5000}/inputs",
        "recordings/series/rows/-1/inputs", "recordings/series/rows/٣/inputs", "recordings/series/rows/x/inputs",
    ):  # fmt: skip
        answer = page.get(path)
        assert answer.status_code == 404
        assert set(answer.json()) == {"error"}
    for path in ("nothing", "recordings/series", "recordings/a/b/meta"):
        assert page.get(path).status_code == 404
    assert page.get("recordings/series/whatif").status_code == 405
    assert page.delete("recordings").status_code == 405


# --- events


def test_each_new_entry_is_sent_as_an_event(asking: tuple[httpx.Client, Catalog]) -> None:
    client, catalog = asking
    with client.stream("GET", "events") as events:
        assert events.headers["content-type"].startswith("text/event-stream")
        lines = (line for line in events.iter_lines() if line.startswith("data:"))
        next(lines)  # at once, for what came between the list and this
        for change in (
            lambda: catalog.add(Entry("new"), small),
            lambda: catalog.remove("new"),
            lambda: ask(client),
        ):
            change()
            next(lines)


def test_who_listens_does_not_hold_up_the_end() -> None:
    catalog = shelf_of(it=small())
    listening, ended = threading.Barrier(4), []

    def listen(url: str) -> None:
        try:
            with httpx.stream("GET", f"{url}events", timeout=30, trust_env=False) as events:
                for line in events.iter_lines():
                    if line:
                        listening.wait(30)
        except httpx.HTTPError as error:
            ended.append(error)

    with ThreadPoolExecutor(3) as pool:
        with PageServer(catalog, "it") as server:
            waits = [pool.submit(listen, server.url) for _ in range(3)]
            listening.wait(30)
        for one in waits:
            one.result(30)
        assert not ended  # each one saw a proper end
    assert not server._thread.is_alive()
    with pytest.raises(httpx.ConnectError):
        httpx.get(server.url, trust_env=False)
