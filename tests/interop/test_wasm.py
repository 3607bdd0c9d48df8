"""All models as WebAssembly, and their page in Chromium."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from gatewright import Model, Stream
from gatewright.exchange.wasm.export import to_wasm
from tests.support.browser import chromium
from tests.support.c99_models import CATEGORIES, MODELS
from tests.support.class_models import class_model, class_rows
from tests.support.stream_models import series_model, text_model
from tests.support.wasm_programs import TOOLS, largest_difference

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(not all(map(shutil.which, TOOLS)), reason=f"needs {', '.join(TOOLS)}"),
]


@pytest.mark.parametrize("name", MODELS)
def test_the_numbers_are_those_of_a_stream(name: str, tmp_path: Path) -> None:
    found = largest_difference(MODELS[name]().file(), tmp_path)
    print(f"\n{name:18} {found:.1e}, {(tmp_path / 'model.wasm').stat().st_size} bytes")
    assert found < 1e-5


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


class Opened:
    """The page of a model, from the disk; nothing in it may go wrong, and nothing may be asked for.

    Args:
        browser: the browser.
        model: the model.
        folder: where to export it.
    """

    def __init__(self, browser: Browser, model: Model, folder: Path) -> None:
        to_wasm(model.file(), folder)
        self.page: Page = browser.new_page()
        self.wrong: list[str] = []
        self.page.on("console", lambda said: self.wrong.append(said.text))
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("request", lambda asked: asked.url.startswith("file:") or self.wrong.append(asked.url))
        self.page.goto((folder / "index.html").as_uri())

    def read(self, folder: Path, names: list[str], rows: list[list[Any]], steps: int) -> None:
        """Open a table and step to a row."""
        with (folder / "table.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([names, *rows])
        self.page.set_input_files("#file", folder / "table.csv")
        self.page.get_by_role("button", name="Pause").click()
        self.page.get_by_role("button", name="Restart").click()
        for _ in range(steps - 1):
            self.page.get_by_role("button", name="Next row").click()
        assert f"Row {steps} of" in self.page.locator("#status").inner_text()

    def numbers(self, selector: str) -> list[float]:
        texts = self.page.locator(selector).all_inner_texts()
        return [float(text.rstrip("%")) for text in texts]


def test_the_page_of_a_forecaster(browser: Browser, tmp_path: Path) -> None:
    model = series_model(categories=CATEGORIES)
    stream = model.stream()
    random, steps, count = np.random.default_rng(3), 40, 50
    numbers = random.normal(size=(count, 6)) * 9 + 20
    numbers[random.random(count) < 0.2, 0] = np.nan
    words = {each.column: random.choice([*each.values, "other"], count) for each in CATEGORIES}
    names = ["flow", "level", "rain", "holiday", "price", "area"]
    times = np.datetime64("2023-12-30T22:00", "s") + np.arange(count) * np.timedelta64(1, "h")
    rows = [
        [str(times[t]).replace("T", " "), *(words[name][t] if name in words else "" if np.isnan(value) else value
         for name, value in zip(names, numbers[t], strict=True))]
        for t in range(count)
    ]  # fmt: skip
    shown = Opened(browser, model, tmp_path)
    shown.read(tmp_path, ["time", *names], rows, steps)

    def index(name: str, t: int) -> float:
        values = next(each.values for each in CATEGORIES if each.column == name)
        return values.index(words[name][t]) + 1 if words[name][t] in values else 0

    for t in range(steps):
        ahead = [index("holiday", t + j) for j in (1, 2, 3)] + [numbers[t + j, 4] for j in (1, 2, 3)]
        row = [*np.float32(numbers[t, :2]), index("rain", t), index("area", t), *ahead]
        forecast = stream.step(row, time=times[t], indexed=True)
    for target in (0, 1):
        shown.page.locator("#target").select_option(str(target))
        found = np.reshape(shown.numbers("#answer td"), (3, 3))
        np.testing.assert_allclose(found, forecast[:, target], atol=0.0052)
    assert shown.page.locator("#chart path.band").count() == 1
    assert shown.wrong == []
    # Example data run to their end, and can be started again.
    shown.page.get_by_role("button", name="Example data").click()
    shown.page.locator("#speed").fill("6")
    shown.page.get_by_role("button", name="Play").wait_for()
    assert "Row 237 of 237" in shown.page.locator("#status").inner_text()
    # A table without the columns says which.
    (tmp_path / "other.csv").write_text("time,flow\n2024-01-01,1\n")
    shown.page.set_input_files("#file", tmp_path / "other.csv")
    shown.page.get_by_text(
        "The table has no column level, rain, holiday, price, area; it has time, flow."
    ).wait_for()
    assert shown.wrong == []


@pytest.mark.parametrize("pooling", ["mean", ""])
def test_the_page_of_classes(pooling: str, browser: Browser, tmp_path: Path) -> None:
    model, xs = class_model(pooling), class_rows(30)
    shown = Opened(browser, model, tmp_path)
    rows = [["" if np.isnan(value) else value for value in row] for row in xs.tolist()]
    shown.read(tmp_path, ["a", "b", "c"], rows, 30)
    expected = model.stream().run(xs)[-1]
    names = shown.page.locator("#answer .bars li span:first-child").all_inner_texts()
    order = [model.stream().classes.index(name) for name in names]
    np.testing.assert_allclose(
        shown.numbers("#answer .bars li span:last-child"), 100 * expected[order], atol=0.051
    )
    assert shown.wrong == []


def test_the_page_of_a_text(browser: Browser, tmp_path: Path) -> None:
    model = text_model()
    shown, text = Opened(browser, model, tmp_path), "a bad head\nfed"
    shown.page.locator("#prompt").press_sequentially(text)
    scores = Stream.of(model.file()).run(text)[-1].astype(float)
    expected = np.sort(np.exp(scores) / np.exp(scores).sum())[::-1]
    np.testing.assert_allclose(shown.numbers("#scores .bars li span:last-child"), 100 * expected[:12], atol=0.051)
    shown.page.get_by_role("button", name="Continue the text").click()
    shown.page.get_by_text(re.compile("^(2[0-9]|[3-9][0-9]) characters read")).wait_for()
    shown.page.get_by_role("button", name="Stop").click()
    assert shown.page.locator("#prompt").input_value().startswith(text)
    assert shown.wrong == []


def test_the_interface_is_what_the_header_says(tmp_path: Path) -> None:
    to_wasm(MODELS["seasons"]().file(), tmp_path)
    about = json.loads(re.findall(r"export const about = (.*);", (tmp_path / "model.js").read_text("utf-8"))[0])
    assert (about["input"], about["output"], about["horizon"]) == (16, 18, 3)
    assert len(about["columns"]) == about["input"]
