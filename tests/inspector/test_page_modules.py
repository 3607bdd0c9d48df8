"""The page of a module's recording: its layers are a menu, and steps that begin anew are explained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

import gatewright
from gatewright import LSTM, look
from gatewright.insight import ModuleRecording
from gatewright.inspector import html, loader
from gatewright.inspector.module_catalog import module_catalog
from gatewright.inspector.payload import Payload
from gatewright.inspector.selection import DEFAULT
from tests.support.browser import opened
from tests.support.modules import architectures

if TYPE_CHECKING:
    from playwright.sync_api import Browser

#: A policy whose states are reset, and a stack in two directions, as one module's.
LAYERS = ["lstm_actor", "lstm_critic", "rnn"]


@pytest.fixture(scope="module")
def recording() -> ModuleRecording:
    made = architectures()
    policy, crnn = (look(*made[name]) for name in ("policy", "CRNN"))
    return ModuleRecording({**policy, **crnn}, policy.predictions)


def test_the_menu_shows_every_layer(browser: Browser, recording: ModuleRecording, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    catalog = module_catalog(recording)
    html.export(path, catalog, catalog.shown())
    with opened(browser, path.as_uri()) as tab:
        menu = tab.page.get_by_label("Layer", exact=True)
        assert menu.locator("option").all_inner_texts() == [
            "lstm_actor · 5 units", "lstm_critic · 5 units", "rnn, layer 0 · 5 units", "rnn, layer 1 · 5 units"
        ]  # fmt: skip
        assert tab.page.locator(".gw-checkpoints").count() == 0
        menu.select_option(index=3)
        tab.settle()
        assert tab.state("layer") == 1
        assert tab.state("range") == [0, 6]
        assert "CRNN, rnn" in tab.text(".gw-title")
        tab.go(t=2, units=[4])
        assert tab.number(".gw-status [data-part=cell]") == pytest.approx(
            recording["rnn"].layers[1].cell[2, 0, 4], abs=1e-6
        )
        menu.select_option(index=2)
        tab.settle()
        assert tab.state("layer") == 0
        menu.select_option(index=0)
        tab.settle()
        tab.go(view="cell", t=5, row=1, units=[2])
        assert "then set anew" in tab.text(".gw-cell-main")
        record = recording["lstm_actor"].layers[0]
        steps = {name: getattr(record, name)[5, 1, 2] for name in ("input_gate", "candidate", "cell")}
        assert steps["input_gate"] * steps["candidate"] == pytest.approx(steps["cell"], abs=1e-6)


def test_a_patched_hidden_state_is_named_next_to_what_the_step_computes(browser: Browser, tmp_path: Path) -> None:
    lstm = LSTM(3, 4)
    one, other = (look(lstm, torch.randn(5, 1, 3)) for _ in range(2))
    patched = one.patched(other, "hidden", steps=2, units=1)
    path, catalog = tmp_path / "page.html", module_catalog(ModuleRecording({"lstm": patched}, None))
    html.export(path, catalog, catalog.shown())
    record = patched.layers[0]
    computed = record.output_gate[2, 0, 1] * np.tanh(record.cell[2, 0, 1])
    with opened(browser, path.as_uri(), "view=cell&t=2&units=1") as tab:
        assert "h is patched" in tab.text(".gw-cell-main")
        assert tab.number(".gw-arithmetic [data-part=hidden]") == pytest.approx(computed, abs=1e-6)
        shown = tab.number(".gw-status [data-part=hidden]")
        assert shown == pytest.approx(other.layers[0].hidden[2, 0, 1], abs=1e-6)
        tab.go(t=1)
        assert "patched" not in tab.text(".gw-cell-main")


def test_a_file_of_a_module_is_a_page_of_its_layers(recording: ModuleRecording, tmp_path: Path) -> None:
    path = tmp_path / "module.recording"
    recording.save(path)
    catalog, title = loader.open_path(path, None, DEFAULT, False, print)
    assert title == "module.recording"
    assert [entry["name"] for entry in catalog.entries()] == LAYERS
    assert [entry["layers"] for entry in catalog.entries()] == [(5,), (5,), (5, 5)]
    np.testing.assert_array_equal(catalog.payload("layers-2").recording.inputs, recording["rnn"].inputs)


def test_a_notebook_shows_every_layer(recording: ModuleRecording, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("anywidget")
    from gatewright.inspector.widget import View

    sent: list[Any] = []
    monkeypatch.setattr(View, "send", lambda _, content, buffers=None: sent.append(content))  # noqa: ARG005
    view = gatewright.view(recording)
    view._handle_custom_msg({"id": 1, "ask": "entries"}, [])
    assert [entry["name"] for entry in json.loads(json.dumps(sent[0]["json"]))] == LAYERS
    view._handle_custom_msg({"id": 2, "ask": "meta", "recording": "layers-1"}, [])
    assert sent[1]["json"]["title"] == "Policy, lstm_critic"


def test_a_patched_hidden_state_is_sent_to_the_page() -> None:
    lstm = LSTM(3, 4)
    one, other = (look(lstm, torch.randn(5, 1, 3)) for _ in range(2))
    place = "0/forward/hidden"
    for each, is_sent in ((one, False), (one.patched(other, "cell"), False), (one.patched(other, "hidden"), True)):
        assert (place in Payload(each, "a").meta()["blocks"][0]) == is_sent
    patched = one.patched(other, "hidden", steps=2)
    numbers = np.frombuffer(Payload(patched, "a").block(0, place), np.float32)
    np.testing.assert_array_equal(numbers.reshape(5, 4), patched.layers[0].hidden[:, 0])
