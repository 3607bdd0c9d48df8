"""The page that opens without a server: every number is in it, and nothing in it can break it."""

from __future__ import annotations

import base64
import json
import os
import re
import zlib
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gatewright.files import atomic
from gatewright.insight import diagnose
from gatewright.insight.recorder import prepare
from gatewright.inspector import html
from gatewright.inspector.catalog import Catalog, Entry, Subject
from gatewright.inspector.payload import diagnosis
from tests.support.inspected import HOSTILE, KINDS, blocks_of, same, shelf_of, small, strict, subjects
from tests.support.small_models import language_model

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")


class Page(HTMLParser):
    """The elements of a page, in order: name, attributes, and the text in it."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None], str]] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.elements.append((tag, dict(attrs), ""))
        if tag not in ("meta", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.elements:
            tag, attributes, text = self.elements[-1]
            self.elements[-1] = (tag, attributes, text + data)

    def handle_comment(self, data: str) -> None:
        raise AssertionError(data)

    @property
    def parts(self) -> dict[str, str]:
        """The numbers that it holds, by name; each once."""
        named = [
            (attributes["data-name"], text) for _, attributes, text in self.elements if "data-name" in attributes
        ]
        assert len(dict(named)) == len(named)
        return dict(named)


def block(text: str, shape: dict[str, Any]) -> np.ndarray:
    """Numbers as `data/source.ts` reads them: base64, deflate, planes of first bytes, second bytes and so on."""
    planes = zlib.decompress(base64.b64decode(text.strip(), validate=True))
    size = {"f4": 4, "i4": 4, "f8": 8}[shape["dtype"]]
    count = len(planes) // size
    whole = bytearray(len(planes))
    for plane in range(size):
        whole[plane::size] = planes[plane * count : (plane + 1) * count]
    return np.frombuffer(bytes(whole), "<" + shape["dtype"]).reshape(shape["shape"])


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Subject]:
    return subjects(tmp_path_factory.mktemp("shown"))


@pytest.mark.parametrize("kind", KINDS)
def test_an_export_is_the_recording_bit_for_bit(shown: dict[str, Subject], kind: str, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    size = html.export(path, shelf_of(**shown), kind)
    assert size == path.stat().st_size
    text = path.read_text("utf-8")
    page = Page(text)
    parts, recording = page.parts, shown[kind].record()
    meta = strict(parts.pop(f"{kind}/meta"))
    assert meta == strict(_json(shelf_of(**shown).payload(kind).meta()))
    blank: dict[str, Any] = {"note": "", "step": None, "score": None, "unit": "", "first": False, "intro": ""}
    blank |= {"place": "", "name": "", "layers": []}
    assert strict(parts.pop("entries")) == [{"id": kind, **blank}]
    plain = shown[kind].plain
    found = diagnosis(diagnose(recording, plain=None if plain is None else plain.rnn))
    assert strict(parts.pop(f"{kind}/diagnosis")) == strict(_json(found))
    for row in range(len(recording.lengths)):
        for name, (dtype, expected) in blocks_of(recording, row).items():
            got = block(parts.pop(f"{kind}/rows/{row}/{name}"), meta["blocks"][row][name])
            assert got.dtype == np.dtype(dtype)
            assert same(got, expected.astype(dtype)), (row, name)
    assert parts == {}
    # Nothing is loaded from anywhere, and no server is asked.
    assert "data-base" not in text.replace(html.bundle("inspector.js"), "")
    links = [attributes.get("src", attributes.get("href")) for _, attributes, _ in page.elements]
    assert all(link is None or link.startswith("data:") for link in links)


def _json(value: Any) -> str:
    return json.dumps(value)


def elements(page: Page) -> list[tuple[str, str | None]]:
    return [(tag, attributes.get("type")) for tag, attributes, _ in page.elements]


def test_what_a_text_holds_does_not_break_the_page(tmp_path: Path) -> None:
    model = language_model(HOSTILE + "</SCRIPT>\0\r\x85\N{GRINNING FACE}")
    title = "</title></script><script>alert(1)</script><!-- \u2028 \" ' & \udcff"
    subject = Subject(*prepare(model, HOSTILE, title=title))
    path = tmp_path / "page.html"
    html.export(path, shelf_of(it=subject), "it")
    page = Page(path.read_bytes().decode("utf-8"))
    expected = [("html", None), ("head", None), *[("meta", None)] * 3, ("link", None), ("title", None)]
    expected += [("style", None), ("body", None), ("div", None)]
    expected += [("script", "application/json")] * 3
    blocks = len(blocks_of(subject.record(), 0))
    expected += [("script", "text/plain")] * blocks + [("script", "module")]
    assert elements(page) == expected
    parts = page.parts
    meta = strict(parts["it/meta"])
    assert meta["text"]["symbols"] == meta["readouts"] == list(model.vocabulary.symbols)
    assert meta["title"] == title.replace("\udcff", "?")
    [said] = [text for tag, _, text in page.elements if tag == "title"]
    assert said.strip() == f"{title} - Gatewright".replace("\udcff", "?")
    symbols = block(parts["it/rows/0/symbols"], meta["blocks"][0]["symbols"])
    assert "".join(meta["text"]["symbols"][symbol] for symbol in symbols) == HOSTILE
    for name, text in parts.items():
        assert "<" not in text, name
        assert text.isascii(), name


def test_the_bundle_cannot_break_the_page() -> None:
    assert "<!--" not in html.bundle("inspector.js")
    assert "</style" not in html.bundle("inspector.css").lower()


def test_an_end_tag_in_the_script_is_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    ends = 'const a = "</script><b>", b = "</SCRIPT ><b>", c = /<\\/script>/;'
    monkeypatch.setattr(html, "bundle", lambda name: ends if name.endswith(".js") else "p { color: red }")
    page = Page(html.page("a title"))
    assert [tag for tag, _, _ in page.elements].count("b") == 0
    assert [tag for tag, _, _ in page.elements].count("script") == 1


def test_the_entry_shown_is_the_one_listed(tmp_path: Path) -> None:
    catalog = Catalog()
    subject = small()
    for step in (10, 20):
        catalog.add(Entry(f"step-{step}", f"step {step}", step, 0.5, "loss"), lambda: subject)
    catalog.add(Entry("best", "step 20, best", 20, 0.25, "loss", first=True), lambda: subject)
    html.export(tmp_path / "page.html", catalog, catalog.shown())
    parts = Page((tmp_path / "page.html").read_text("utf-8")).parts
    [entry] = strict(parts["entries"])
    assert (entry["id"], entry["note"], entry["score"]) == ("best", "step 20, best", 0.25)
    assert all(name == "entries" or name.startswith("best/") for name in parts)


def test_numbers_that_are_much_alike_are_packed(tmp_path: Path) -> None:
    subject = Subject(*prepare(small().model, torch.zeros(3000, 1, 3)))
    size = html.export(tmp_path / "page.html", shelf_of(it=subject), "it")
    raw = sum(array.size * np.dtype(dtype).itemsize for dtype, array in blocks_of(subject.record(), 0).values())
    page = len(html.bundle("inspector.js")) + len(html.bundle("inspector.css"))
    assert size - page < raw / 4


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_it_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, catalog = tmp_path / "page.html", shelf_of(it=small())
    for bad in (tmp_path / "none" / "page.html", tmp_path / ("x" * 300), tmp_path / "x\0y"):
        with pytest.raises((OSError, ValueError)):
            html.export(bad, catalog, "it")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="folder"):
        html.export(tmp_path / "folder", catalog, "it")
    assert left(tmp_path) == ["folder"]

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(atomic.os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            html.export(path, catalog, "it")
        assert left(tmp_path) == ["folder"]
        path.write_text("what was there")
        with pytest.raises(OSError, match="No space left"):
            html.export(path, catalog, "it")
    assert path.read_text() == "what was there"
    html.export(path, catalog, "it")
    assert left(tmp_path) == ["folder", "page.html"]
    assert re.match("<!doctype html>", path.read_text("utf-8"))


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(PermissionError):
            html.export(tmp_path / "page.html", shelf_of(it=small()), "it")
    finally:
        tmp_path.chmod(0o700)
