"""The built-in example on the page, in a real browser: what its banner says is what the views show and offer."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import pytest

from gatewright.insight import diagnose
from gatewright.inspector.catalog import Catalog, Subject
from gatewright.inspector.loader import open_example
from gatewright.inspector.server import PageServer
from tests.support import recordings
from tests.support.browser import Tab, close, opened, visited
from tests.support.inspected import shelf_of

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Route

#: The sign in step 371 has to be known at the question in step 492.
SIGN, QUESTION, UNIT = 371, 492, 5


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return open_example()[0]


@pytest.fixture(scope="module")
def url(browser: Browser, catalog: Catalog) -> Iterator[str]:
    with PageServer(catalog, "example") as server:
        yield server.url


def listed(tab: Tab) -> list[int]:
    return [int(row["unit"]) for row in tab.all(".gw-units-table tr[data-unit]")]


def test_the_unit_that_holds_the_flag_has_the_longest_half_life(
    browser: Browser, url: str, catalog: Catalog
) -> None:
    recording = catalog.payload("only").recording
    found = diagnose(recording).layers[0]
    # What is left of the sign after 121 steps says about the same: that it would take thousands to lose half.
    left = math.exp(recording.lifetime(0, SIGN, units=[UNIT]).log_survival[QUESTION - SIGN, 0])
    assert 0.5 < found.half_life[UNIT] / ((QUESTION - SIGN) * math.log(0.5) / math.log(left)) < 2
    order = np.argsort(-found.half_life, kind="stable").tolist()
    assert order[0] == UNIT
    with visited(browser, url) as tab:
        assert tab.state("order") == "half_life"
        assert tab.state("shown") == order
        card = ".gw-timeline-readout dd[data-part=%s]"
        close(tab.number(card % "half_life"), found.half_life[UNIT])
        close(tab.number(card % "resets"), found.resets[UNIT])
        assert tab.number(card % "longest") == found.longest[UNIT] >= QUESTION - SIGN
        # As the table of Units writes it.
        assert tab.one(card % "half_life")["text"] == "4,497 steps"
        assert "half-life between resets" in tab.text(".gw-timeline-readout")
        tab.press("4")
        head = tab.page.get_by_role("columnheader", name=re.compile("^half-life"))
        head.get_by_role("button").click()
        tab.settle()
        assert listed(tab) == order
        close([one["value"] for one in tab.all("td[data-part=half_life]")], found.half_life[order])
        assert f"unit {UNIT}: 4,497 between resets" in tab.text(".gw-half-lives-unit")
        assert f"the slowest, unit {UNIT}, in 4,497 between resets." in tab.text(".gw-half-lives")
        # The dots are in the order of the figures.
        drawn = tab.all(".gw-half-lives [data-dot]")
        dots = {int(one["dot"]): float(one["at"]) for one in drawn}
        assert sorted(dots, key=lambda unit: -dots[unit]) == order


def test_what_the_banner_asks_for_is_one_click(browser: Browser, url: str, catalog: Catalog) -> None:
    names = catalog.payload("only").meta()["text"]["symbols"]
    with opened(browser, url) as tab:
        banner = tab.text(".gw-intro")
        assert f"Close unit {UNIT}'s forget gate for one step (What if), and the LSTM guesses too." in banner
        tab.press("5")
        chance = ".gw-whatif-symbols [data-part=%s][data-symbol='%s']"
        assert tab.number(chance % ("before", names.index("R"))) > 0.95
        tab.button(re.compile(f"^Close unit {UNIT}'s forget gate at step {QUESTION}"))
        assert tab.one(".gw-whatif-note")["text"] == f"forget gate of unit {UNIT} at 0 at step {QUESTION}"
        after = [tab.number(chance % ("after", names.index(name))) for name in "LR"]
        assert max(after) < 0.8


def test_the_banner_closes_and_stays_closed(browser: Browser, url: str) -> None:
    with opened(browser, url) as tab:
        tab.button("Got it")
        assert tab.page.locator(".gw-intro").count() == 0
        tab.press("3", "1")
        tab.page.reload()
        tab.settle()
        assert tab.page.locator(".gw-intro").count() == 0


@pytest.mark.parametrize("goes", ["aborted", "refused"])
def test_a_map_that_is_on_its_way_or_lost_is_said(browser: Browser, url: str, goes: str) -> None:
    held: list[Route] = []
    with opened(browser, url, routes={"**/candidate": lambda route: held.append(route)}) as tab:
        tab.page.locator("canvas.gw-heat-map").first.wait_for()  # of the cell state, which is there
        tab.page.get_by_role("group", name="Quantity").get_by_role("button", name="candidate").click()
        cover = tab.page.locator(".gw-heat .gw-cover")
        cover.get_by_text("Loading the map of the candidate …").wait_for()
        for route in held:
            if goes == "aborted":
                route.abort()
            else:
                route.fulfill(status=500, body="broken")
        tab.page.unroute("**/candidate")
        cover.get_by_text("The map of the candidate could not be loaded.").wait_for()
        assert len(tab.wrong) > 0
        tab.wrong.clear()
        before = (tab.step, tab.unit)
        cover.get_by_role("button", name="Retry").click()
        tab.page.locator(".gw-timeline-scale[data-scale=candidate]").wait_for()
        tab.settle()
        assert cover.count() == 0
        assert tab.page.locator(".gw-trouble").count() == 0
        assert (tab.step, tab.unit) == before  # a press on the button is none on the map


@pytest.mark.parametrize(("key", "what"), [("2", "The cell"), ("3", "The ledger"), ("4", "The diagnosis")])
def test_a_view_that_could_not_be_loaded_is_tried_again(browser: Browser, url: str, key: str, what: str) -> None:
    lost = re.compile("/(input_gate|diagnosis)$")
    with opened(browser, url, routes={lost: lambda route: route.abort()}) as tab:
        tab.settle()  # by then the page has gone to its first view, which would undo the key
        tab.page.keyboard.press(key)
        tab.page.get_by_text(f"{what} could not be loaded.").wait_for()
        assert len(tab.wrong) > 0
        tab.page.unroute_all()
        tab.page.locator(".gw-main").get_by_role("button", name="Retry").first.click()
        tab.settle()
        assert tab.page.get_by_text("could not be loaded").count() == 0
        assert tab.page.locator(".gw-trouble").count() == 0
        tab.wrong.clear()


def test_units_are_named_alike_wherever_they_are_named(browser: Browser, url: str) -> None:
    """The table's search and the form of What if read the same text in the same way."""
    named = {
        "3, 7": [3, 7], "3 7": [3, 7], "10-11": [10, 11], "2–4, 3": [2, 3, 4], "all": list(range(12)), "5-5": [5],
    }  # fmt: skip
    wrong = {
        "7-3": "“7-3” runs backwards: write “3-7”.",
        "1, 7–3": "“7–3” runs backwards: write “3-7”.",
        "12": "There is no unit 12: this layer has units 0 to 11.",
        "3-12": "There is no unit 12: this layer has units 0 to 11.",
        "3-": "“3-” is not a unit: write numbers such as “3, 7, 10-14”, or “all”.",
        "1-2-3": "“1-2-3” is not a unit: write numbers such as “3, 7, 10-14”, or “all”.",
    }
    with opened(browser, url, "view=units") as tab:
        find = tab.page.get_by_label("Find units by label or number")
        for text, units in named.items():
            find.fill(text)
            tab.settle()
            assert sorted(listed(tab)) == units, text
        for text, says in wrong.items():
            find.fill(text)
            tab.settle()
            assert tab.text(".gw-units-nothing") == says
        find.fill("long")
        tab.settle()
        assert sorted(listed(tab)) == [1, 3, 5, 6, 7, 9]
        tab.press("Escape")
        tab.go(view="whatif")
        tab.button("+ Ablate units")
        asked: list[list[int]] = []
        tab.on("request", lambda one: one.method == "POST" and asked.append(one.post_data_json["ablate"]))
        field = tab.page.get_by_role("textbox", name="units")
        for text, says in wrong.items():
            field.fill(text)
            tab.button("Run again")
            assert tab.text(".gw-whatif-trouble") == says
        assert asked == []
        for text, units in named.items():
            field.fill(text)
            tab.button("Run again")
            assert asked[-1] == units, text


def test_a_cell_that_sits_where_tanh_is_flat_is_no_good_health(browser: Browser) -> None:
    """|c| at 9 from the second step on: made by hand."""
    f, g = np.full((100, 1, 3), 0.6), np.random.default_rng(0).uniform(-1, 1, (100, 1, 3))
    f[..., 1], g[..., 1] = 1.0, 0.0
    g[:2, 0, 1] = 4.5
    o = np.random.default_rng(1).uniform(0.2, 0.8, (100, 1, 3))
    sitting, healthy = (
        recordings.recording(recordings.record(f[..., of], 1.0, g[..., of], o[..., of], dtype=np.float32))
        for of in (slice(None), slice(None, None, 2))
    )
    for made, units in ((sitting, [1]), (healthy, [])):
        catalog = shelf_of(hand=Subject(recording=made))
        with PageServer(catalog, "hand") as server, opened(browser, server.url, "view=units") as tab:
            text = tab.text(".gw-units")
            assert ("found no fault" in text) == (not units)
            found = diagnose(made)
            assert [one.units for one in found.advice] == [(unit,) for unit in units]
            assert all(one.finding in text and "saturated" in one.finding for one in found.advice)
            chips = tab.page.locator(".gw-units-table tr:has(.gw-chip:text-is('saturated'))")
            assert [int(one.get_attribute("data-unit") or -1) for one in chips.all()] == units
            if units:
                tab.page.locator(".gw-advice-card").click()
                assert tab.state("units") == units


def test_advice_on_several_units_is_one_click_further(browser: Browser, url: str) -> None:
    with opened(browser, url, "view=whatif&units=1,3,9") as tab:
        asked: list[list[int]] = []
        tab.on("request", lambda one: one.method == "POST" and asked.append(one.post_data_json["ablate"]))
        tab.button(re.compile("^Ablate the 3 chosen units"))
        assert asked == [[1, 3, 9]]
        assert tab.one(".gw-whatif-note")["text"] == "output gate of units 1, 3, 9 at 0"
