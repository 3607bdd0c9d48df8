"""The inspector's server: what it gives is what was recorded, who may ask, and what it is asked wrongly."""

from __future__ import annotations

import json
import os
import re
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gatewright import LSTM
from gatewright.errors import GatewrightError
from gatewright.insight import diagnose, intervene
from gatewright.insight.looking import prepare, record
from gatewright.inspector import shelf as shelves
from gatewright.inspector.asked import Asked
from gatewright.inspector.payload import diagnosis, printable
from gatewright.inspector.server import PageServer
from gatewright.inspector.shelf import MOST_ANSWERS, MOST_MADE, Entry, Shelf, Subject
from tests.inspected import KINDS, blocks_of, same, served, shelf_of, small, strict, subjects

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")

#: A question that changes something in `small`, and its empty form.
ASKED: dict[str, Any] = {
    "row": 0, "layer": 1, "direction": "forward", "clamp": [], "ablate": [1, 3], "edit_cell": [],
}  # fmt: skip


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Subject]:
    return subjects(tmp_path_factory.mktemp("shown"))


@pytest.fixture(scope="module")
def page(shown: dict[str, Subject]) -> Iterator[httpx.Client]:
    """A page of every kind of recording."""
    with served(shelf_of(**shown), "<b>a & b</b>\udcff") as client:
        yield client


@pytest.fixture
def asking() -> Iterator[tuple[httpx.Client, Shelf]]:
    """A page of its own for a test that asks "what if"."""
    shelf = shelf_of(small=small())
    with served(shelf) as client:
        yield client, shelf


def get(client: httpx.Client, path: str) -> Any:
    return strict(client.get(path).raise_for_status().content)


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
    blank = {"note": "", "step": None, "score": None, "unit": "", "first": False}
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
def test_an_answer_is_what_intervene_gives(asking: tuple[httpx.Client, Shelf], changes: dict[str, Any]) -> None:
    client, _ = asking
    asked = {**ASKED, "ablate": [], **changes}
    subject = small()
    expected = intervene(subject.model, subject.material.x, **as_python(asked))
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
    blank = {"step": None, "score": None, "unit": "", "first": False}
    assert listed[1:] == [{"id": name, "note": expected.about.note, **blank}]
    # What is measured of a model would not be of the changed one.
    assert get(client, f"recordings/{name}/diagnosis")["horizon"] is None
    require_same(client, "small", record(subject.model, subject.material))


@pytest.mark.parametrize(
    ("kind", "direction"), [("series", "forward"), ("text", "forward"), ("layers", "reverse")]
)
def test_answers_of_every_kind(shown: dict[str, Subject], kind: str, direction: str) -> None:
    subject = shown[kind]
    row = len(subject.material.lengths) - 1
    last = int(subject.material.lengths[row]) - 1
    asked = {
        "row": row, "layer": 0, "direction": direction, "ablate": [1],
        "clamp": [{"gate": "output_gate", "units": [0], "value": 0.5, "first": 1, "end": last + 1}],
        "edit_cell": [{"t": last, "units": [2], "value": 0.75}],
    }  # fmt: skip
    plan = Asked.from_json(json.dumps(asked)).plan(subject.model, subject.material.lengths)
    expected = shelves.intervention.run(subject.model, subject.material, plan)
    with served(shelf_of(it=subject)) as client:
        name = ask(client, "it", **asked)
        require_same(client, name, expected)
        [edit] = get(client, f"recordings/{name}/meta")["edits"]
        assert (edit["row"], edit["t"], edit["unit"], edit["direction"]) == (row, last, 2, direction)


def test_an_answer_beside_a_plain_rnn_has_none(page: httpx.Client) -> None:
    assert get(page, f"recordings/{ask(page, 'paired', layer=0)}/meta")["peer"] is None


def test_a_question_about_an_answer_is_of_the_original(asking: tuple[httpx.Client, Shelf]) -> None:
    client, _ = asking
    first = ask(client)
    second = ask(client, first, ablate=[0])
    assert get(client, f"recordings/{second}/meta")["origin"] == "small"
    require_same(client, second, intervene(small().model, small().material.x, ablate={1: [0]}))


def test_the_oldest_answers_are_forgotten_and_what_is_made_again_is_the_same(
    asking: tuple[httpx.Client, Shelf],
) -> None:
    client, shelf = asking
    before = read(client, "small")
    names = [ask(client, ablate=[n % 4]) for n in range(MOST_ANSWERS + 3)]
    kept = ["small", *names[3:]]
    assert [entry["id"] for entry in get(client, "recordings")] == kept
    assert len(shelf._made) == MOST_MADE
    for name in names[:3]:
        for what in ("meta", "diagnosis", "rows/0/inputs"):
            answer = client.get(f"recordings/{name}/{what}")
            assert answer.status_code == 404
            assert answer.json() == {"error": "There is no such recording any more: choose another one."}
        assert client.post(f"recordings/{name}/whatif", json=ASKED).status_code == 404
    for name in kept[-MOST_MADE:]:
        get(client, f"recordings/{name}/meta")
    assert "small" not in shelf._made
    after = read(client, "small")
    assert all(same(after[key], before[key]) for key in before)
    require_same(client, names[3], intervene(small().model, small().material.x, ablate={1: [3]}))


def test_what_is_forgotten_leaves_nothing_behind(asking: tuple[httpx.Client, Shelf]) -> None:
    client, shelf = asking
    first = ask(client)
    get(client, f"recordings/{first}/diagnosis")
    for _ in range(MOST_ANSWERS):
        ask(client)
    assert first not in shelf._made
    assert first not in shelf._diagnoses
    assert set(shelf._made) <= set(shelf._entries)


def test_a_recording_of_a_file_cannot_be_asked() -> None:
    recording = small().record()
    with served(shelf_of(it=Subject(recording=recording))) as client:
        answer = client.post("recordings/it/whatif", json=ASKED)
        told = "recording: expected one whose model is at hand, got one from a file"
        assert (answer.status_code, answer.json()) == (422, {"error": told})
        require_same(client, "it", recording)


def test_eight_threads_get_right_answers(asking: tuple[httpx.Client, Shelf]) -> None:
    client, _ = asking
    subject = small()
    whole = record(subject.model, subject.material)
    expected = [intervene(subject.model, subject.material.x, ablate={1: [n % 4]}) for n in range(8)]
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
    assert len(set(names)) == len(names) == 17


def test_a_long_diagnosis_keeps_nobody_from_the_numbers(
    asking: tuple[httpx.Client, Shelf], monkeypatch: pytest.MonkeyPatch
) -> None:
    client, _ = asking
    began, on = threading.Event(), threading.Event()

    def slow(*given: Any, **more: Any) -> Any:
        began.set()
        assert on.wait(30)
        return diagnose(*given, **more)

    monkeypatch.setattr(shelves, "diagnose", slow)
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

    shelf = shelf_of(good=small())
    shelf.add(Entry("bad", first=True), fails)
    with served(shelf) as client:
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
        "recordings/series/rows/99999999999999999999/inputs",
    ):  # fmt: skip
        answer = page.get(path)
        assert answer.status_code == 404
        assert set(answer.json()) == {"error"}
    for path in ("nothing", "recordings/series/rows/-1/inputs", "recordings/series", "recordings/a/b/meta"):
        assert page.get(path).status_code == 404
    assert page.get("recordings/series/whatif").status_code == 405
    assert page.delete("recordings").status_code == 405


# --- events


def test_a_new_entry_is_told_within_two_seconds(asking: tuple[httpx.Client, Shelf]) -> None:
    client, shelf = asking
    with client.stream("GET", "events") as events:
        assert events.headers["content-type"].startswith("text/event-stream")
        lines = (line for line in events.iter_lines() if line.startswith("data:"))
        next(lines)  # at once, for what came between the list and this
        for change in (lambda: shelf.add(Entry("new"), small), lambda: shelf.remove("new"), lambda: ask(client)):
            began = time.monotonic()
            change()
            next(lines)
            assert time.monotonic() - began < 2


def test_who_listens_does_not_hold_up_the_end() -> None:
    shelf = shelf_of(it=small())
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
        with PageServer(shelf, "it") as server:
            waits = [pool.submit(listen, server.url) for _ in range(3)]
            listening.wait(30)
            began = time.monotonic()
        assert time.monotonic() - began < 5
        for one in waits:
            one.result(30)
        assert not ended  # each one saw a proper end
    assert not server._thread.is_alive()
    with pytest.raises(httpx.ConnectError):
        httpx.get(server.url, trust_env=False)


# --- who may ask


def raw(page: httpx.Client, target: bytes, *headers: bytes, method: bytes = b"GET", body: bytes = b"") -> bytes:
    """Ask by hand, as no client would; return the whole answer without its date."""
    port = page.base_url.port
    if not any(header.lower().startswith(b"host:") for header in headers):
        headers = (b"Host: 127.0.0.1:%d" % port, *headers)
    lines = [b"%s %s HTTP/1.1" % (method, target), *headers, b"Connection: close"]
    if body:
        lines.append(b"Content-Length: %d" % len(body))
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(b"\r\n".join(lines) + b"\r\n\r\n" + body)
        answer = b""
        while part := connection.recv(1 << 16):
            answer += part
    return re.sub(rb"date: [^\r]*\r\n", b"", answer)


@pytest.fixture
def token(page: httpx.Client) -> bytes:
    return page.base_url.path.strip("/").encode()


def refusal(page: httpx.Client, token: bytes) -> bytes:
    """The answer to a wrong token."""
    answer = raw(page, b"/" + b"x" * len(token) + b"/recordings")
    assert answer.startswith(b"HTTP/1.1 404 ")
    assert answer.endswith(b"\r\n\r\nnot here\n")
    assert b"content-length: 9\r\n" in answer.lower()
    return answer


HOSTS = [
    b"evil.example", b"evil.example:%d", b"127.0.0.1.evil.example:%d", b"localhost.evil.example",
    b"127.0.0.1@evil", b"evil@127.0.0.1:%d", b"", b"localhost:x", b"[::1", b"127.0.0.1/x", b"\xff",
]  # fmt: skip


@pytest.mark.parametrize("host", HOSTS)
def test_another_host_is_refused(page: httpx.Client, token: bytes, host: bytes) -> None:
    header = b"Host: " + (host % page.base_url.port if b"%d" in host else host)
    for target in (b"", b"recordings", b"recordings/text/meta", b"recordings/text/rows/0/scores", b"events", b"x"):
        answer = raw(page, b"/%s/%s" % (token, target), header)
        assert answer == refusal(page, token) or answer.startswith(b"HTTP/1.1 400 ")
        assert b"feed" not in answer
    assert raw(page, b"/%s/recordings" % token).startswith(b"HTTP/1.1 200 ")


HEADERS = [
    b"Origin: https://evil.example",
    b"Origin: null",
    b"Origin: ",
    b"Origin: http://127.0.0.1",
    b"Origin: http://127.0.0.1:1",
    b"Origin: http://localhost:%d",
    b"Origin: http://127.0.0.1:%d.evil.example",
    b"Origin: http://[",
    b"Origin: file://127.0.0.1:%d",
    b"Sec-Fetch-Site: cross-site",
    b"Sec-Fetch-Site: same-site",
    b"Sec-Fetch-Site: x",
]


@pytest.mark.parametrize("header", HEADERS)
def test_another_origin_is_refused(page: httpx.Client, token: bytes, header: bytes) -> None:
    header = header % page.base_url.port if b"%d" in header else header
    body = json.dumps({**ASKED, "layer": 0}).encode()
    before = page.get("recordings").content
    for target, method in ((b"recordings", b"GET"), (b"recordings/text/whatif", b"POST"), (b"", b"OPTIONS")):
        answer = raw(
            page, b"/%s/%s" % (token, target), header, method=method, body=body if method == b"POST" else b""
        )
        assert answer == refusal(page, token)
    assert page.get("recordings").content == before
    own = (b"Origin: http://127.0.0.1:%d" % page.base_url.port, b"Sec-Fetch-Site: same-origin")
    assert raw(page, b"/%s/recordings" % token, *own).startswith(b"HTTP/1.1 200 ")


def test_a_wrong_token_is_refused(page: httpx.Client, token: bytes) -> None:
    refused = refusal(page, token)
    assert len(token) >= 32
    wrong = [
        b"/", b"/recordings", b"//recordings", b"/%s0/recordings" % token, b"/%s/recordings" % token[:-1],
        b"//%s/recordings" % token, b"/./%s/recordings" % token, b"/x/../%s/recordings" % token,
        b"/%s%%00/recordings" % token, b"/%%20%s/recordings" % token, b"/%s;a/recordings" % token,
        b"/%s%%2Frecordings0" % token[:-1], b"/%ff%fe/recordings", b"/%E2%82%AC/recordings", b"/%/recordings",
        b"/?token=%s" % token, b"/recordings?%s" % token, b"/%s/recordings" % token.swapcase(),
        b"/etc/passwd", b"/../../etc/passwd", b"/%2e%2e/%2e%2e/etc/passwd", b"/" + b"a" * 5000,
    ]  # fmt: skip
    for target in wrong:
        assert raw(page, target) == refused, target
    for target in (b"*", b"/\xff/recordings", b"http://127.0.0.1/%s0/" % token, b"x"):
        answer = raw(page, target, method=b"OPTIONS" if target == b"*" else b"GET")
        assert answer == refused or answer.startswith(b"HTTP/1.1 400 "), target
    header = b"Upgrade: websocket", b"Connection: Upgrade", b"Sec-WebSocket-Key: x", b"Sec-WebSocket-Version: 13"
    assert raw(page, b"/x/recordings", *header) == refused


def test_within_the_token_nothing_leads_out(page: httpx.Client, token: bytes) -> None:
    for target in (
        b"../../etc/passwd", b"%2e%2e/%2e%2e/etc/passwd", b"recordings/../../../etc/passwd/meta", b"/recordings",
        b"recordings/text/rows/0/../../../../../etc/passwd", b"recordings/text/rows/0/..%2f..%2fserver.py",
        b"recordings/%ff/meta", b"recordings/text/rows/0/%ff", b"recordings/text/rows/0/", b"static/inspector.js",
    ):  # fmt: skip
        answer = raw(page, b"/%s/%s" % (token, target))
        assert answer.startswith(b"HTTP/1.1 404 "), target
        assert b"root:" not in answer


def test_every_answer_has_the_headers_of_a_careful_page(page: httpx.Client) -> None:
    paths = [
        "",
        "recordings",
        "recordings/text/meta",
        "recordings/text/rows/0/inputs",
        "nothing",
        "recordings/x/meta",
    ]
    foreign = httpx.get(f"http://127.0.0.1:{page.base_url.port}/x/", trust_env=False)
    for answer in (*map(page.get, paths), page.post("recordings/text/whatif", content=b"x"), foreign):
        headers = answer.headers
        assert headers["cache-control"] == "no-store"
        assert headers["cross-origin-opener-policy"] == "same-origin"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert "server" not in headers
        assert not [name for name in headers if name.startswith("access-control")]


def test_the_page_runs_its_own_script_alone(page: httpx.Client, token: bytes) -> None:
    nonces = []
    for _ in range(2):
        answer = page.get("")
        assert answer.status_code == 200
        policy = dict(part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; "))
        assert "unsafe" not in str(policy)
        assert policy["default-src"] == policy["base-uri"] == policy["form-action"] == "'none'"
        assert policy["frame-ancestors"] == "'none'"
        assert policy["connect-src"] == "'self'"
        [nonce] = re.fullmatch(r"'nonce-([\w-]{20,})'", policy["script-src"]).groups()
        assert policy["style-src"] == f"'nonce-{nonce}'"
        assert re.findall(r"<script[^>]*>", answer.text)[:1] == [f'<script type="module" nonce="{nonce}">']
        assert f'data-base="/{token.decode()}/"' in answer.text
        assert "<title>&lt;b&gt;a &amp; b&lt;/b&gt;?</title>" in answer.text
        nonces.append(nonce)
    assert nonces[0] != nonces[1]


def test_it_listens_on_this_machine_alone() -> None:
    with PageServer(shelf_of(it=small()), "it") as server:
        assert server._listening.getsockname()[0] == "127.0.0.1"
        with pytest.raises(OSError):  # noqa: PT011 - what the system says differs
            socket.create_connection(("127.0.0.2", server._listening.getsockname()[1]), timeout=5).close()
        again = PageServer(shelf_of(it=small()), "it")
        assert again.url.split("/")[3] != server.url.split("/")[3]
        again._listening.close()


def test_a_port_that_is_not_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            GatewrightError, match=f"^--port: expected a port that is free, got 127.0.0.1:{port}: "
        ):
            PageServer(shelf_of(it=small()), "it", port)
    for port in (-1, 65536, 99999):
        with pytest.raises(GatewrightError, match=f"^--port: expected a number from 0 to 65535, got {port}$"):
            PageServer(shelf_of(it=small()), "it", port)


# --- bad questions


@pytest.fixture(scope="module")
def fuzzed() -> Iterator[tuple[httpx.Client, Shelf]]:
    shelf = shelf_of(small=small())
    with served(shelf) as client:
        yield client, shelf


def refused(client: httpx.Client, shelf: Shelf, body: bytes, status: int = 422) -> str:
    """Ask what cannot be answered; return the line that says so, having checked that nothing came of it."""
    before = client.get("recordings").content, shelf.version
    answer = client.post("recordings/small/whatif", content=body)
    assert answer.status_code == status, answer.text
    told = strict(answer.content)
    assert set(told) == {"error"}
    assert "\n" not in told["error"]
    assert len(told["error"]) < 1000
    assert (client.get("recordings").content, shelf.version) == before
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
def test_what_cannot_be_asked(fuzzed: tuple[httpx.Client, Shelf], changes: dict[str, Any], pattern: str) -> None:
    assert re.match(pattern, refused(*fuzzed, json.dumps({**ASKED, **changes}).encode()))


def test_what_is_no_question(asking: tuple[httpx.Client, Shelf]) -> None:
    client, shelf = asking
    whole = json.dumps(ASKED).encode()
    for body in (
        b"", b"x", b"null", b"[]", b"3", b'"row"', b"{}", b"\xff\xfe", whole[:-1], whole + b"x", b"NaN",
        whole.replace(b"[1, 3]", b"[NaN]"), whole.replace(b"[1, 3]", b"[1e999]"),
        whole.replace(b'"row": 0', b'"row": Infinity'),
        whole.replace(b"{", b'{"row": 1, ', 1), b"[" * 100000, b'{"a":' * 100000, b"9" * 5000,
        whole.replace(b'"row": 0', b'"row": ' + b"9" * 5000), whole.replace(b"forward", b"\xed\xa0\x80"),
        whole.replace(b"forward", b"\\ud800"), whole.replace(b"forward", b"a\\nb\\u001b[31m"),
    ):  # fmt: skip
        assert "expected" in refused(client, shelf, body)
    edit = json.dumps({**ASKED, "edit_cell": [EDIT]}).encode()
    for number in (b"1e999", b"-1e999", b"1e308", b"NaN"):
        told = refused(client, shelf, edit.replace(b'"value": 0.5', b'"value": ' + number))
        assert "edit_cell[0].value" in told or "NaN" in told
    for body in (b" " * (2 << 20), whole + b" " * (2 << 20)):
        assert refused(client, shelf, body, 413) == "body: expected at most 1048576 bytes, got more"
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
def test_any_question_is_answered_or_refused(fuzzed: tuple[httpx.Client, Shelf], asked: Any) -> None:
    client, shelf = fuzzed
    before = client.get("recordings").content, shelf.version
    answer = client.post("recordings/small/whatif", content=json.dumps(asked).encode())
    told = strict(answer.content)
    if answer.status_code == 200:
        assert get(client, f"recordings/{told['id']}/meta")["origin"] == "small"
    else:
        assert answer.status_code == 422, answer.text
        assert "\n" not in told["error"]
        assert re.match(r"[\w. ,\[\]]+: expected ", told["error"])
        assert (client.get("recordings").content, shelf.version) == before


def test_a_name_that_is_no_text_is_shown_all_the_same() -> None:
    assert printable("a\udcffb") == "a?b"
    subject = small()
    about = shelves.dataclasses.replace(subject.material.about, title="a\udcffb")
    changed = shelves.dataclasses.replace(subject.material, about=about)
    with served(shelf_of(it=Subject(subject.model, changed)), "a\udcffb") as client:
        assert get(client, "recordings/it/meta")["title"] == "a?b"
        assert "<title>a?b</title>" in client.get("").text
