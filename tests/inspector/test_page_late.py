"""Responses that arrive after the user has done something, in a real browser: what the user did last counts."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from gatewright.insight import diagnose
from gatewright.inspector.catalog import Catalog, Entry, Subject
from gatewright.inspector.server import PageServer
from tests.support.browser import STATE, Shown, Tab, close, opened

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Route

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")

PLACE = "view=cell&t=30&units=4"
#: A response of the server has arrived in the page, which is drawn then.
_SHOWN = f"() => {STATE}?.recording.value && document.querySelector('.gw-status [data-status=step]')"


@contextmanager
def held(tab: Tab, path: str) -> Iterator[list[Route]]:
    """Hold the requests for a path of the page until the end; yield them as they come."""
    routes: list[Route] = []
    pattern = re.compile(rf"/{path}$")
    tab.page.route(pattern, lambda route: routes.append(route))
    yield routes
    assert routes, path
    for route in routes:
        route.continue_()
    tab.page.unroute(pattern)


def waiting(tab: Tab, routes: list[Route]) -> None:
    """Wait until a request is held."""
    while not routes:
        tab.page.wait_for_timeout(1)


def revisit(tab: Tab, url: str) -> None:
    tab.page.goto("about:blank")
    tab.page.goto(url)
    tab.page.locator(".gw-tabs").wait_for()


def arrived(tab: Tab) -> None:
    tab.page.wait_for_function(_SHOWN)
    tab.settle()


def test_what_is_done_before_the_recording_arrives_stays(browser: Browser, pages: dict[str, Shown]) -> None:
    url = pages["layers"].url
    T = len(pages["layers"].recording.inputs)
    with opened(browser, url) as tab:
        visits = [(PLACE, "3", "ledger"), (PLACE, "1", "timeline"), ("", "4", "units"), (PLACE, "", "units")]
        for waits, (place, key, view) in itertools.product(["recordings", "recordings/layers/meta"], visits):
            with held(tab, waits) as routes:
                revisit(tab, f"{url}#{place}")
                assert tab.state("view") == ("cell" if place else "timeline")  # the address is read at once
                waiting(tab, routes)
                if key:
                    tab.page.keyboard.press("ArrowRight")  # there is no step to go to yet
                    tab.page.keyboard.press("+")
                    tab.page.keyboard.press(key)
                else:
                    tab.page.get_by_role("button", name="Units").click()
            arrived(tab)
            assert tab.state("view") == view
            assert tab.text(".gw-tabs [aria-current=page]").lower() == view
            assert (tab.step, tab.unit) == ((30, 4) if place else (round((T - 1) / 2), 0))
            assert tab.state("range") == [0, T]


def test_a_link_that_is_followed_in_the_page(browser: Browser, pages: dict[str, Shown]) -> None:
    shown = pages["layers"]
    with opened(browser, shown.url, "view=cell&row=1&layer=1&direction=reverse&t=20&units=2") as tab:
        tab.press("+")
        tab.page.evaluate("location.hash = 'view=ledger&row=0&layer=0&t=7&units=3,1&quantity=hidden'")
        tab.page.wait_for_function(f"() => {STATE}.view.value === 'ledger'")
        tab.settle()
        assert (tab.step, tab.unit, tab.state("units")) == (7, 1, [3, 1])
        names = ("row", "layer", "direction", "range", "quantity")
        assert [tab.state(name) for name in names] == [0, 0, "forward", [0, 40], "hidden"]
        # The page goes on from there, and the address with it.
        tab.press("ArrowRight", "2")
        tab.page.wait_for_function("() => location.hash.includes('view=cell') && location.hash.includes('t=8')")
        tab.page.go_back()
        tab.page.wait_for_function(f"() => {STATE}.view.value !== 'ledger' && {STATE}.t.value === 20")


def test_a_link_that_is_followed_before_the_list_arrives(browser: Browser, pages: dict[str, Shown]) -> None:
    url = pages["layers"].url
    with opened(browser, url) as tab:
        with held(tab, "recordings") as routes:
            revisit(tab, f"{url}#view=cell&t=30&units=4")
            waiting(tab, routes)
            tab.page.evaluate("location.hash = 'view=ledger&t=7&units=3&row=1'")
            tab.page.wait_for_function(f"() => {STATE}.view.value === 'ledger'")
        arrived(tab)
        assert (tab.state("view"), tab.step, tab.unit, tab.state("row")) == ("ledger", 7, 3, 1)


def test_of_several_recordings_the_last_choice_is_shown(browser: Browser, pages: dict[str, Shown]) -> None:
    shown, catalog = pages["text"], Catalog()
    for name in ("a", "b", "c"):
        catalog.add(Entry(name, name, first=name == "a"), lambda: shown.subject)
    with PageServer(catalog, "several") as server, opened(browser, server.url) as tab:
        chips = tab.page.get_by_role("group", name="Other recordings").get_by_role("button")
        for chosen, expected in (("bc", "c"), ("ab", "b"), ("cb", "b"), ("ca", "a")):
            with held(tab, f"recordings/{chosen[0]}/meta") as routes:
                for name in chosen:
                    chips.filter(has_text=re.compile(f"^{name}$")).click()
                waiting(tab, routes)
            tab.page.wait_for_function(
                f"id => !{STATE}.wanted.value && {STATE}.recording.value.meta.id === id", arg=expected
            )
            tab.settle()
            assert tab.state("recording")["meta"]["id"] == expected
            assert tab.page.locator("[aria-pressed=true]", has_text=re.compile(f"^{expected}$")).count() == 1


def test_a_recording_that_is_chosen_during_a_what_if_stays(browser: Browser, pages: dict[str, Shown]) -> None:
    shown, catalog = pages["text"], Catalog()
    for name in ("a", "b"):
        subject = Subject(shown.subject.model, shown.subject.batch)
        catalog.add(Entry(name, name, first=name == "a"), lambda subject=subject: subject)  # type: ignore[misc]
    with PageServer(catalog, "several") as server, opened(browser, server.url, "view=whatif&t=9") as tab:
        with held(tab, "recordings/a/whatif") as routes:
            tab.page.get_by_role("button", name=re.compile("^Never forget")).click()
            waiting(tab, routes)
            tab.page.get_by_role("button", name="b", exact=True).click()
            tab.page.wait_for_function(f"() => {STATE}.recording.value.meta.id === 'b'")
        tab.page.locator(".gw-whatif-progress[data-running=false]").wait_for(state="attached")
        tab.page.wait_for_function(f"() => {STATE}.entries.value.length === 3")
        tab.settle()
        assert tab.state("recording")["meta"]["id"] == "b"
        # Its result is listed, and can be chosen.
        tab.page.get_by_role("group", name="Other recordings").get_by_role("button").last.click()
        tab.settle()
        assert tab.page.get_by_role("button", name="Back to the original").is_visible()


def test_the_figures_of_another_recording_are_marked_until_those_of_the_shown_one_arrive(
    browser: Browser, pages: dict[str, Shown]
) -> None:
    catalog = Catalog()
    for name in ("series", "text"):
        catalog.add(Entry(name, name, first=name == "series"), lambda name=name: pages[name].subject)  # type: ignore[misc]
    with PageServer(catalog, "several") as server, opened(browser, server.url, "view=units") as tab:
        tab.page.locator(".gw-units[aria-busy=false]").wait_for()
        with held(tab, "recordings/text/diagnosis") as routes:
            tab.page.get_by_role("button", name="text", exact=True).click()
            waiting(tab, routes)
            tab.page.locator(".gw-units[aria-busy=true]").wait_for()
        tab.page.locator(".gw-units[aria-busy=false]").wait_for()
        tab.settle()
        found = diagnose(pages["text"].recording).layers[0]
        close([unit["value"] for unit in tab.all("td[data-part=activity]")], found.activity)
