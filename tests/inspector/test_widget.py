"""The inspector in a notebook: what `inspector/src/data/widget.ts` asks, and what it is answered."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gatewright
from gatewright.errors import GatewrightError
from gatewright.insight import diagnose
from gatewright.insight.recording import Recording
from gatewright.inspector.html import bundle
from gatewright.inspector.payload import diagnosis
from tests.support.inspected import KINDS, blocks_of, same, small, strict, subjects

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")

Asked = Callable[..., tuple[dict[str, Any], list[Any]]]


class Notebook:
    """A notebook's side of a view: questions go in, answers come out."""

    def __init__(self, recording: Recording, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sent: list[tuple[Any, Any]] = []
        from gatewright.inspector.widget import View

        monkeypatch.setattr(View, "send", lambda _, content, buffers=None: self.sent.append((content, buffers)))
        self.view = gatewright.view(recording)

    def ask(self, **question: Any) -> tuple[dict[str, Any], list[Any]]:
        return self.hear({"id": 17, **question})

    def hear(self, message: Any) -> tuple[dict[str, Any], list[Any]]:
        before = len(self.sent)
        self.view._handle_custom_msg(message, [])
        [(content, buffers)] = self.sent[before:]
        assert content["id"] == message.get("id")
        return strict(json.dumps(content, allow_nan=False)), buffers


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Recording]:
    return {name: subject.record() for name, subject in subjects(tmp_path_factory.mktemp("shown")).items()}


@pytest.mark.parametrize("kind", KINDS)
def test_every_number_is_answered_as_it_was_recorded(
    recordings: dict[str, Recording], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = recordings[kind]
    notebook = Notebook(recording, monkeypatch)
    content, buffers = notebook.ask(ask="entries")
    assert buffers == []
    [entry] = content["json"]
    assert (entry["first"], entry["step"], entry["score"], entry["unit"]) == (True, None, None, "")
    name = entry["id"]
    meta = notebook.ask(ask="meta", recording=name)[0]["json"]
    assert (meta["id"], meta["title"], meta["origin"]) == (name, recording.about.title, None)
    found = notebook.ask(ask="diagnosis", recording=name)[0]["json"]
    assert found == json.loads(json.dumps(diagnosis(diagnose(recording))))
    for row in range(len(recording.lengths)):
        blocks = blocks_of(recording, row)
        assert set(blocks) == set(meta["blocks"][row])
        for block, (dtype, expected) in blocks.items():
            content, [buffer] = notebook.ask(ask="block", recording=name, row=row, name=block)
            assert set(content) == {"id"}
            got = np.frombuffer(buffer, dtype).reshape(meta["blocks"][row][block]["shape"])
            assert same(got, expected.astype(dtype)), (row, block)


def test_what_cannot_be_answered_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = Notebook(small().record(), monkeypatch)
    there = {"ask": "block", "recording": "recording", "row": 0, "name": "inputs"}
    assert len(notebook.ask(**there)[1]) == 1
    for question in (
        {"ask": "meta", "recording": "other"}, {"ask": "meta"}, {"ask": "diagnosis", "recording": None}, {},
        {"ask": "nothing"}, {"ask": "meta", "recording": ["recording"]}, {**there, "row": 2}, {**there, "row": -1},
        {**there, "row": "0"}, {**there, "row": 0.5}, {**there, "row": None}, {**there, "name": "none"},
        {**there, "name": None}, {**there, "name": {}}, {"ask": "block", "recording": "recording"},
        {"ask": "nothing", "recording": "recording"}, {"ask": None, "recording": "recording"},
    ):  # fmt: skip
        content, buffers = notebook.ask(**question)
        assert content == {"id": 17, "error": "There is no data of that name."}
        assert buffers == []
    # Nor is a question that is none answered, and the next one is.
    content, _ = notebook.hear({})
    assert content == {"id": None, "error": "There is no data of that name."}
    for message in (None, [], "x", 3):
        before = len(notebook.sent)
        notebook.view._handle_custom_msg(message, [])
        assert len(notebook.sent) == before
    assert len(notebook.ask(**there)[1]) == 1


def test_what_goes_wrong_is_said_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise GatewrightError("recording", "a longer one", "this one")

    monkeypatch.setattr("gatewright.inspector.catalog.diagnose", fails)
    notebook = Notebook(small().record(), monkeypatch)
    content, _ = notebook.ask(ask="diagnosis", recording="recording")
    assert content == {"id": 17, "error": "recording: expected a longer one, got this one"}


def test_each_question_is_answered_under_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = Notebook(small().record(), monkeypatch)
    for number in (0, 7, 2**51):
        assert notebook.hear({"id": number, "ask": "entries"})[0]["id"] == number


def test_a_saved_recording_is_shown_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recording = small().record()
    recording.save(tmp_path / "a.safetensors")
    notebook = Notebook(Recording.load(tmp_path / "a.safetensors"), monkeypatch)
    got = notebook.ask(ask="block", recording="recording", row=1, name="0/forward/cell")[1][0]
    assert got == recording.layers[0].forward.cell[:, 1].tobytes()
    assert notebook.ask(ask="diagnosis", recording="recording")[0]["json"]["horizon"] is None


def test_it_is_one_module_and_one_style(monkeypatch: pytest.MonkeyPatch) -> None:
    view = Notebook(small().record(), monkeypatch).view
    shown = (str(view._esm), str(view._css))
    same = shown == (bundle("inspector.js"), bundle("inspector.css"))
    assert same  # of texts so long pytest would take a minute to show the difference
    assert "export" in bundle("inspector.js")  # what anywidget takes for its own: { render }


@pytest.mark.parametrize("given", [None, "runs/load", np.zeros(3), small().model, {}])
def test_only_a_recording_is_shown(given: Any) -> None:
    with pytest.raises(GatewrightError) as caught:
        gatewright.view(given)
    assert str(caught.value) == f"recording: expected a recording of gatewright.look, got {type(given).__name__}"


def test_without_anywidget_the_hint_is_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "anywidget", None)
    monkeypatch.delitem(sys.modules, "gatewright.inspector.widget")
    monkeypatch.delitem(vars(gatewright), "view", raising=False)
    with pytest.raises(ModuleNotFoundError, match=r"anywidget.*pip install 'gatewright\[notebook\]'"):
        _ = gatewright.view
