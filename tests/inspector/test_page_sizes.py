"""The page in windows of every size, in a real browser: nothing runs off, overlaps, or is too pale."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from gatewright.inspector.loader import open_example
from gatewright.inspector.server import PageServer
from tests.support.browser import Shown, Tab, opened
from tests.support.layout import misplaced, pale

if TYPE_CHECKING:
    from playwright.sync_api import Browser

NARROW, MIDDLE, WIDE = (
    {"width": 390, "height": 844},
    {"width": 768, "height": 1024},
    {"width": 1440, "height": 900},
)
SIZES = (NARROW, MIDDLE, WIDE)
VIEWS = {"1": "timeline", "2": "cell", "3": "ledger", "4": "units", "5": "whatif"}


@pytest.fixture(scope="module")
def urls(browser: Browser, pages: dict[str, Shown]) -> Iterator[dict[str, str]]:
    """The built-in example, with its banner, and models of other kinds."""
    with PageServer(open_example()[0], "example") as server:
        yield {"example": server.url, **{kind: pages[kind].url for kind in ("series", "layers")}}


def views(tab: Tab) -> Iterator[str]:
    """Every view, the last one with a changed run in it."""
    for key, view in VIEWS.items():
        tab.press(key)
        if view == "whatif":
            tab.button(re.compile("^Close unit"))
        yield view
    # What has come to all others by it: a list of recordings above.
    tab.press("1")
    yield "timeline again"


@pytest.mark.parametrize("kind", ["example", "series", "layers"])
def test_nothing_runs_off_or_overlaps(browser: Browser, urls: dict[str, str], kind: str) -> None:
    """On a wide screen, no view is half empty either, and all text can be read in both themes."""
    with opened(browser, urls[kind], size=SIZES[0]) as tab:
        for view in views(tab):
            for size in SIZES:
                resize(tab, size)
                found = misplaced(tab)
                assert found == {"width": size["width"], "beyond": [], "cut": [], "over": []}, view
            if kind == "layers":
                continue
            assert tab.page.evaluate(_EMPTY) == [], view
            for theme in ("dark", "light"):
                tab.page.emulate_media(color_scheme=theme)
                tab.settle()
                assert pale(tab) == {}, view
        tab.press("?")
        for size in SIZES:
            resize(tab, size)
            assert misplaced(tab)["width"] == size["width"]


def resize(tab: Tab, size: dict[str, int]) -> None:
    tab.page.set_viewport_size(size)
    tab.settle()


def test_on_a_narrow_screen_the_cell_scrolls_and_says_so(browser: Browser, urls: dict[str, str]) -> None:
    with opened(browser, urls["example"], "view=cell", size=NARROW) as tab:
        assert tab.page.get_by_text("Scroll sideways for the whole cell").is_visible()
        last = tab.page.locator(".gw-cell-drawing [data-part=hidden]").first
        room = tab.page.locator(".gw-cell-scroll").bounding_box()
        assert room is not None
        tab.page.locator(".gw-cell-scroll").evaluate("one => one.scrollTo(one.scrollWidth, 0)")
        box = last.bounding_box()
        assert box is not None
        assert room["x"] <= box["x"] < box["x"] + box["width"] <= room["x"] + room["width"] <= 390
        resize(tab, WIDE)
        assert tab.page.get_by_text("Scroll sideways").count() == 0


def test_nothing_jumps_while_one_points_at_parts(browser: Browser, urls: dict[str, str]) -> None:
    """What is asked or pointed at stays where it is, however long the answer is."""
    with opened(browser, urls["example"], "view=cell", size=SIZES[0]) as tab:
        for size in SIZES:
            resize(tab, size)
            for units in ([5], [1, 3, 5, 7]):
                tab.go(units=units)
                found = tab.page.evaluate(_POINTED, [".gw-topics", ".gw-arithmetic", ".gw-cell-drawing"])
                assert found["moved"] == []
                assert len(set(found["said"])) > 15


#: What the caption says of each part that is pointed at in turn, and at which of them something moved.
_POINTED = """async places => {
  const boxes = () => JSON.stringify(places.map(place => document.querySelector(place).getBoundingClientRect()));
  const at = boxes(), said = [], moved = [];
  for (const one of document.querySelectorAll(".gw-topics button, .gw-piece")) {
    one.focus({preventScroll: true});
    // Preact renders in a microtask, and a box is measured by its latest layout.
    await new Promise(resume => setTimeout(resume));
    said.push(document.querySelector(".gw-caption-text").innerText);
    if (boxes() !== at) moved.push(one.textContent);
  }
  return {said, moved};
}"""
#: Halves and thirds of the view in which no text, drawing or control stands.
_EMPTY = """() => {
  const main = document.querySelector(".gw-main").getBoundingClientRect();
  const parts = {
    "left half": [0, 0, 0.5, 1], "right half": [0.5, 0, 1, 1], "upper half": [0, 0, 1, 0.5],
    "lower third": [0, 0.67, 1, 1], "lower right": [0.5, 0.6, 1, 1], "right third": [0.67, 0, 1, 1],
    "lower left": [0, 0.6, 0.5, 1],
  };
  const things = ".gw-main :is(canvas, svg, button, input, select, td, th, p, h2, h3)";
  const inked = [...document.querySelectorAll(things)].map(one => one.getBoundingClientRect())
    .filter(box => box.width && box.height);
  return Object.entries(parts).filter(([, [x0, y0, x1, y1]]) => {
    const [left, right] = [main.left + x0 * main.width, main.left + x1 * main.width];
    const [top, bottom] = [main.top + y0 * main.height, main.top + y1 * main.height];
    // At least a third of a grid of places has something within 40 pixels.
    let full = 0, all = 0;
    for (let x = left + 20; x < right; x += 40) for (let y = top + 20; y < bottom; y += 40) {
      all++;
      full += inked.some(({left, right, top, bottom}) =>
        x > left - 40 && x < right + 40 && y > top - 40 && y < bottom + 40);
    }
    return full < all / 3;
  }).map(([name]) => name);
}"""
