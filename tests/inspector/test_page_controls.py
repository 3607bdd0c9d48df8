"""Doing things on the page, in a real browser: every view of every kind of model, mouse, keys, theme, address."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import pytest

from gatewright.insight import diagnose
from tests.support.browser import KINDS, SIZE, SMALL, STATE, Shown, Tab, close, opened, visited

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")

#: What has to be in sight, by the key of the view.
VIEWS = {
    "1": ("timeline", "canvas.gw-heat-map", ".gw-timeline-readout"),
    "2": ("cell", ".gw-cell-drawing", ".gw-arithmetic"),
    "3": ("ledger", ".gw-ledger-bars", ".gw-sum"),
    "4": ("units", ".gw-units-table", ".gw-units-tools"),
    "5": ("whatif", ".gw-whatif-form", ".gw-whatif-results"),
}
#: What no person wants to read.
_BROKEN = re.compile(r"\bNaN\b|undefined|\bnull\b|\[object|Infinity")


@pytest.mark.parametrize("kind", KINDS)
def test_every_view_opens(browser: Browser, pages: dict[str, Shown], kind: str) -> None:
    with opened(browser, pages[kind].url, theme="light") as tab:
        for theme in ("light", "dark") if kind in ("series", "text") else ("light",):
            tab.page.emulate_media(color_scheme=theme)
            tab.settle()
            ground = tab.page.eval_on_selector(".gatewright", "one => getComputedStyle(one).backgroundColor")
            assert (sum(map(int, re.findall(r"\d+", ground)[:3])) < 128 * 3) == (theme == "dark")
            for size in (SIZE, SMALL) if theme == "light" else (SIZE,):
                tab.page.set_viewport_size(size)
                assert_views_open(tab, size)


def assert_views_open(tab: Tab, size: dict[str, int]) -> None:
    for key, (view, *parts) in VIEWS.items():
        tab.press(key)
        assert tab.state("view") == view
        assert tab.text(".gw-tabs [aria-current=page]") == view.capitalize().replace("if", " if")
        for part in parts:
            assert tab.page.locator(part).first.is_visible(), part
        assert not tab.page.locator(".gw-trouble").is_visible()
        assert not _BROKEN.search(tab.text("body")), view
        assert_within(tab, size)
        # What acts as a slider or a button can be reached with the Tab key.
        focus = tab.page.eval_on_selector_all(
            ".gatewright :is([role=slider], [role=button])", "all => all.map(one => one.tabIndex)"
        )
        assert all(index == 0 for index in focus), view


def assert_within(tab: Tab, size: dict[str, int]) -> None:
    """Nothing makes the page wider or taller than its window, and what one presses is not cut off."""
    found = tab.page.evaluate("""() => {
      const page = document.scrollingElement;
      const cut = [...document.querySelectorAll(".gw-header :is(button, select), .gw-status > *, h2")]
        .filter(one => { const {left, right, width} = one.getBoundingClientRect();
                         return width && (left < 0 || right > innerWidth); })
        .map(one => one.outerHTML.slice(0, 120));
      return {width: page.scrollWidth, height: page.scrollHeight, cut};
    }""")
    assert (found["width"], found["height"]) == (size["width"], size["height"])
    assert found["cut"] == []


def order_of(shown: Shown, by: str, layer: int = 0) -> list[int]:
    """Units from the top of the heat-map."""
    figures = getattr(diagnose(shown.recording).layers[layer], by)
    return np.argsort(-figures, kind="stable").tolist()


def map_place(tab: Tab, order: list[int], t: int, unit: int) -> tuple[float, float]:
    """Where a step of a unit is in the window."""
    box = tab.page.locator("canvas.gw-heat-map").bounding_box()
    assert box is not None
    first, end = tab.state("range")
    x = box["x"] + (t + 0.5 - first) / (end - first) * box["width"]
    return x, box["y"] + (order.index(unit) + 0.5) / len(order) * box["height"]


def test_a_click_on_the_map_chooses_step_and_unit(browser: Browser, pages: dict[str, Shown]) -> None:
    shown = pages["series"]
    with visited(browser, shown.url) as tab:
        order = order_of(shown, "half_life")
        names = tab.page.eval_on_selector_all(
            ".gw-heat-name:not(.gw-heat-chosen-name)", "all => all.map(one => +one.textContent)"
        )
        assert names == order
        for t, unit in ((3, 5), (60, 0), (100, 7)):
            tab.page.mouse.click(*map_place(tab, order, t, unit))
            tab.settle()
            assert (tab.step, tab.unit) == (t, unit)
        tab.page.keyboard.down("Shift")
        tab.page.mouse.click(*map_place(tab, order, 50, 2))
        tab.page.keyboard.up("Shift")
        tab.settle()
        assert (tab.step, tab.state("units")) == (50, [7, 2])


def test_the_numbers_under_the_pointer(browser: Browser, pages: dict[str, Shown]) -> None:
    shown = pages["series"]
    with visited(browser, shown.url) as tab:
        order = order_of(shown, "half_life")
        for t, unit in ((4, 1), (97, 6)):
            tab.page.mouse.move(*map_place(tab, order, t, unit))
            tab.settle()
            tip = tab.text(".gw-timeline-tip").replace("−", "-")
            value = shown.recording.layers[0].forward.cell[t, 0, unit]
            assert shown.recording.times is not None
            time = str(shown.recording.times[t, 0])[:16].replace("T", " ")
            first, *_, last = tip.split("\n")
            assert (first, last) == (f"step {t}{time}", f"unit {unit} cell state {value:.3f}")


@pytest.mark.parametrize("by", ["activity", "correlation"])
def test_units_are_sorted(browser: Browser, pages: dict[str, Shown], by: str) -> None:
    shown = pages["series"]
    with visited(browser, shown.url) as tab:
        if by == "activity":
            tab.page.get_by_label("Sort units by").select_option("activity")
            expected = order_of(shown, "activity")
        else:
            tab.page.get_by_label("Sort units by").select_option("column 1")
            assert shown.recording.columns is not None
            cell, column = shown.recording.layers[0].forward.cell[:, 0], shown.recording.columns[:, 0, 1]
            known = ~np.isnan(column)
            figures = [np.corrcoef(cell[known, unit], column[known])[0, 1] for unit in range(cell.shape[1])]
            expected = np.argsort(-np.array(figures), kind="stable").tolist()
        tab.settle()
        assert tab.state("shown") == expected


def test_arrow_keys_walk(browser: Browser, pages: dict[str, Shown]) -> None:
    shown = pages["series"]
    order, last = order_of(shown, "half_life"), len(shown.recording.inputs) - 1
    with visited(browser, shown.url, t=20, units=[order[0]]) as tab:
        steps = [("ArrowRight", 21), ("Shift+ArrowRight", 31), ("ArrowLeft", 30), ("Shift+ArrowLeft", 20),
                 ("Home", 0), ("ArrowLeft", 0), ("End", last), ("ArrowRight", last)]  # fmt: skip
        for key, step in steps:
            tab.press(key)
            assert tab.step == step
        units = [("ArrowDown", 1), ("ArrowDown", 2), ("ArrowUp", 1), ("Shift+ArrowDown", 7), ("Shift+ArrowUp", 0)]
        for key, place in units:
            tab.press(key)
            assert tab.unit == order[place]


def test_a_click_on_a_bar_of_the_ledger_goes_to_its_step(browser: Browser, pages: dict[str, Shown]) -> None:
    shown = pages["series"]
    T = len(shown.recording.inputs)
    with visited(browser, shown.url, view="ledger", t=80, units=[3]) as tab:
        box = tab.page.locator(".gw-ledger-bars").bounding_box()
        assert box is not None
        width = box["width"] - 64 - 76
        tab.page.mouse.click(box["x"] + 64 + 30.5 / T * width, box["y"] + box["height"] / 2)
        tab.settle()
        assert tab.step == int(tab.one(".gw-ledger-at")["query"]) == 30
        tab.button("Back to step 80")
        assert tab.step == 80
        step = int(tab.all(".gw-top tr[data-step]")[-1]["step"])
        tab.page.locator(f".gw-top tr[data-step='{step}'] button").click()
        tab.settle()
        assert tab.step == step
        # Held, the ledger stays while one looks elsewhere.
        tab.button("Hold")
        tab.press("ArrowRight")
        assert (tab.step, int(tab.one(".gw-ledger-at")["query"])) == (step + 1, step)
        tab.button("What matters")
        first, end = tab.state("range")
        assert end - first < T


def test_the_table_of_units_sorts_finds_and_chooses(browser: Browser, pages: dict[str, Shown]) -> None:
    shown = pages["series"]
    found = diagnose(shown.recording).layers[0]
    with visited(browser, shown.url, view="units", units=[2]) as tab:

        def listed() -> list[int]:
            return [int(row["unit"]) for row in tab.all(".gw-units-table tr[data-unit]")]

        assert listed() == list(range(8))
        for name, figures in (("half-life", found.half_life), ("activity", found.activity)):
            head = tab.page.get_by_role("columnheader", name=re.compile(f"^{name}"))
            for descending in (True, False):
                head.get_by_role("button").click()
                tab.settle()
                assert head.get_attribute("aria-sort") == ("descending" if descending else "ascending")
                assert listed() == np.argsort(-figures if descending else figures, kind="stable").tolist()
        tab.page.get_by_label("Find units by label or number").fill("1, 4-5")
        tab.settle()
        assert sorted(listed()) == [1, 4, 5]
        tab.page.get_by_label("Find units by label or number").fill("no such label")
        tab.settle()
        assert listed() == []
        assert "No unit has this label or number." in tab.text(".gw-units-panel")
        tab.page.get_by_label("Find units by label or number").fill("")
        tab.click(".gw-units-table tr[data-unit='6'] th")
        assert tab.unit == 6
        assert tab.one(".gw-units-table tr[aria-selected=true]")["unit"] == "6"
        tab.click(".gw-units-table tr[data-unit='4'] th", modifiers=["Shift"])
        assert tab.state("units") == [6, 4]
        tab.button(re.compile("^chosen"))
        assert sorted(listed()) == [4, 6]
        tab.page.locator(".gw-units-elsewhere").get_by_role("button", name="Cell").click()
        tab.settle()
        assert {one["unit"] for one in tab.all(".gw-cell-drawing [data-part=cell]")} == {"4", "6"}


def test_theme_and_help(browser: Browser, pages: dict[str, Shown]) -> None:
    with opened(browser, pages["layers"].url) as tab:
        theme = tab.page.get_by_role("button", name=re.compile("^Theme"))
        for name, dark in (("light", False), ("dark", True), ("system", False), ("light", False)):
            theme.click()
            tab.settle()
            assert (theme.get_attribute("aria-label") or "").startswith(f"Theme: {name}.")
            assert tab.page.locator(f".gatewright[data-theme={'dark' if dark else 'light'}]").count() == 1
        theme.click()
        tab.page.reload()
        tab.settle()
        assert tab.state("theme") == "dark"  # it is remembered
        for closes in ("?", "Escape", "click"):
            tab.press("?")
            assert tab.page.get_by_role("dialog", name="Help").is_visible()
            if closes == "click":
                tab.page.mouse.click(20, 500)
                tab.settle()
            else:
                tab.press(closes)
            assert not tab.page.get_by_role("dialog", name="Help").is_visible()


def test_the_address_brings_back_the_place(browser: Browser, pages: dict[str, Shown]) -> None:
    shown = pages["layers"]
    names = ("view", "row", "layer", "direction", "t", "units", "quantity", "order", "range", "column")
    with opened(browser, shown.url) as tab:
        tab.page.get_by_label("Row").select_option("1")
        tab.page.get_by_label("Layer").select_option("1")
        tab.page.get_by_label("Direction").select_option("reverse")
        tab.page.get_by_label("Sort units by").select_option("column 2")
        tab.page.get_by_role("group", name="Quantity").get_by_role("button", name="forget").click()
        tab.go(units=[1, 4], t=11)
        tab.press("+", "3")
        before = {name: tab.state(name) for name in names}
        parts = [
            "view=ledger", "row=1", "layer=1", "direction=reverse", "t=11", "units=1,4", "quantity=forget_gate",
            "order=correlation", "column=2",
        ]  # fmt: skip
        tab.page.wait_for_function("parts => parts.every(part => location.hash.includes(part))", arg=parts)
        tab.page.reload()
        tab.settle()
        after = {name: tab.state(name) for name in names}
        close(after.pop("range"), before.pop("range"), atol=0.5)  # whole steps are kept
        assert after == before
        # An address that does not fit is made to.
        tab.page.goto("about:blank")
        tab.page.goto(f"{shown.url}#view=nothing&row=9&layer=7&direction=up&t=999&units=77&range=50-900&order=no")
        tab.settle()
        mended = [tab.state(name) for name in ("view", "row", "layer", "direction", "units")]
        assert mended == ["timeline", 1, 1, "forward", [0]]
        assert tab.step == 29


def test_the_cell_steps_and_plays(browser: Browser, pages: dict[str, Shown]) -> None:
    with opened(browser, pages["layers"].url, "view=cell&t=35") as tab:
        tab.button("Step on (right arrow)")
        tab.button("Step back (left arrow)")
        assert tab.step == 35
        tab.page.get_by_label("Speed").select_option("30")
        tab.button("Play (space)")
        tab.page.locator(".gw-step-count[data-value='39']").wait_for()
        tab.page.get_by_role("button", name="Play (space)").wait_for()  # it has stopped at the end
        # In reverse, time runs to the first step.
        tab.go(direction="reverse", t=4)
        tab.page.evaluate("document.activeElement.blur()")  # a button in focus takes the key for itself
        tab.press(" ")
        tab.page.locator(".gw-step-count[data-value='0']").wait_for()
        tab.page.get_by_role("button", name="Play (space)").wait_for()


def test_parts_of_the_cell_say_what_they_are(browser: Browser, pages: dict[str, Shown]) -> None:
    with visited(browser, pages["text"].url, view="cell") as tab:
        said = set()
        for name in ("Forget gate", "Input gate", "Candidate", "Output gate", "Addition: the new cell state"):
            tab.page.get_by_role("button", name=name, exact=True).focus()
            tab.settle()
            said.add(tab.text(".gw-caption-text"))
        for question in tab.page.locator(".gw-topics button").all():
            question.click()
            tab.settle()
            said.add(tab.text(".gw-caption-text"))
        assert len(said) == 5 + 7


def test_wheel_and_keys_zoom_and_a_drag_moves(browser: Browser, pages: dict[str, Shown]) -> None:
    shown = pages["text"]
    T = len(shown.recording.inputs)
    order = order_of(shown, "half_life")
    with visited(browser, shown.url, t=150) as tab:
        assert tab.state("range") == [0, T]
        x, y = map_place(tab, order, 200, 0)
        tab.page.mouse.move(x, y)
        tab.page.mouse.wheel(0, -600)
        tab.page.wait_for_function(f"T => {STATE}.range.value[1] < T", arg=T)
        tab.settle()
        first, end = tab.state("range")
        assert 0 < first < 200 < end < T
        close(map_place(tab, order, 200, 0)[0], x, atol=0.5)  # what is under the pointer stays there
        tab.page.mouse.down()
        tab.page.mouse.move(x - 60, y, steps=3)
        tab.page.mouse.up()
        tab.settle()
        moved = tab.state("range")
        close(np.subtract(moved, [first, end]), [60 * (end - first) / map_width(tab)] * 2, rtol=1e-2)
        assert tab.step == 150  # a drag chooses nothing
        tab.page.mouse.dblclick(x, y)
        tab.settle()
        assert tab.state("range") == [0, T]
        tab.press("+")
        assert np.subtract(*tab.state("range")[::-1]) == pytest.approx(T / 1.5)
        tab.press("-")
        assert np.subtract(*tab.state("range")[::-1]) == pytest.approx(T)


def map_width(tab: Tab) -> float:
    box = tab.page.locator("canvas.gw-heat-map").bounding_box()
    assert box is not None
    return box["width"]
