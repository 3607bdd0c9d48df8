"""A real browser for tests of the page, what it shows there, and the equations in float64 that judge it."""

from __future__ import annotations

import math
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn.utils.rnn import pack_sequence

from gatewright import LSTM, equations
from gatewright.insight.recorder import prepare
from gatewright.insight.recording import Recording
from gatewright.inspector.catalog import Catalog, Entry, Subject
from gatewright.inspector.server import PageServer
from gatewright.nn.model import Model
from gatewright.train.plain_rnn import PlainModel
from tests.support.small_models import language_model

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

# The last two: one process for all pages, so that none is started anew each time a page is opened.
ARGUMENTS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-site-isolation-trials", "--process-per-site",
)  # fmt: skip
SIZE, SMALL = {"width": 1360, "height": 860}, {"width": 900, "height": 700}

#: Milliseconds after which a page counts as hung, however busy the machine is.
_HUNG = 120_000
#: Counts in the page what is on its way, so that a test knows when everything has come.
_COUNTING = """
window.onTheWay = 0;
for (const [of, name] of [[window, "fetch"], [Response.prototype, "json"], [Response.prototype, "arrayBuffer"]]) {
  const real = of[name];
  of[name] = function (...given) {
    window.onTheWay++;
    return real.apply(this, given).finally(() => setTimeout(() => window.onTheWay--));
  };
}
"""
#: A few frames with nothing on its way: Preact renders, and canvases are painted, one frame later at most.
CALM = """async () => {
  for (let calm = 0, frames = 0; calm < 4; frames++) {
    if (frames > 20000) throw new Error(`still waiting: ${document.querySelector(".gw-skeleton")?.className}`);
    await new Promise(requestAnimationFrame);
    calm = window.onTheWay || document.querySelector(".gw-skeleton") ? 0 : calm + 1;
  }
}"""
#: What the page looks at, in JavaScript.
STATE = 'document.getElementById("gatewright-page").gatewright'
#: What one can choose in a page and its views, as `state.ts` names it.
_CHOICES = (
    "view", "row", "layer", "direction", "t", "units", "quantity", "range", "order", "each", "column", "target",
    "lead", "tracks", "help", "held", "readout",
)  # fmt: skip


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start Chromium, or leave out what needs it."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs Playwright for Python")
    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("needs Chromium")
    with playwright.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        yield browser
        _kept.clear()
        _left.clear()
        browser.close()


class Tab:
    """The page in a browser, and whatever went wrong in it.

    Attributes:
        page: as Playwright has it.
        url: of the page, without a place in it.
        first: what the page chose when it was loaded, once `visit` has asked.
        wrong: errors in its console, of its scripts and of its requests, and requests to anybody else.
    """

    def __init__(self, page: Page, origin: str) -> None:
        self.page, self.url, self.wrong = page, origin, list[str]()
        self.first: dict[str, Any] | None = None
        self._ours = (origin, "data:", "blob:")
        self._handlers: list[tuple[Any, Callable[[Any], Any]]] = []
        self.on("console", lambda said: said.type in ("error", "warning") and self.wrong.append(said.text))
        self.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.on("request", lambda request: self._ours_alone(request.url))
        self.on("requestfailed", lambda request: self._failed(request.url, request.failure))
        self.on("response", lambda answer: answer.ok or self.wrong.append(f"{answer.status} {answer.url}"))

    def on(self, event: Any, handler: Callable[[Any], Any]) -> None:
        """Call a handler at each event of the page, until the tab is left."""
        self.page.on(event, handler)
        self._handlers.append((event, handler))

    def load(self, place: str, *, settled: bool = True) -> None:
        """Load the page at a place, and wait until all of it has come."""
        self.page.goto(f"{self.url}#{place}")
        self.page.locator(".gw-main").wait_for()
        if settled:
            self.settle()

    def visit(self, place: dict[str, Any]) -> None:
        """Go to a place as if the page had just been loaded there."""
        if self.first is None:
            self.load("")
            self.first = {name: self.state(name) for name in _CHOICES}
        wanted = {**self.first, **place}
        if wanted["view"] == self.state("view"):
            self.go(
                view="cell" if wanted["view"] != "cell" else "timeline"
            )  # a view that is left forgets its fields
        self.page.mouse.move(-1, -1)
        self.go(**wanted)

    def leave(self) -> None:
        """Leave the page as if nothing had been opened in it."""
        for event, handler in self._handlers:
            self.page.remove_listener(event, handler)
        self.page.unroute_all(behavior="ignoreErrors")
        self.page.evaluate("localStorage.clear()")
        self.page.goto("about:blank")
        self.page.mouse.move(-1, -1)

    def _ours_alone(self, url: str) -> None:
        if not url.startswith(self._ours):
            self.wrong.append(f"asked elsewhere: {url}")

    def _failed(self, url: str, why: str | None) -> None:
        # It listens until the page goes.
        if not url.endswith("/events"):
            self.wrong.append(f"{why} {url}")

    def settle(self) -> None:
        """Wait until all has come and is drawn."""
        self.page.evaluate(CALM)

    def go(self, **place: Any) -> None:
        """Look at something: a view, a step, units and so on, as `state.ts` names them."""
        self.page.evaluate(
            f"place => {{ for (const name in place) {STATE}[name].value = place[name]; }}", {**place}
        )
        self.settle()

    def state(self, name: str) -> Any:
        return self.page.evaluate(f"{STATE}.{name}.value")

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)
        self.settle()

    def click(self, selector: str, **more: Any) -> None:
        self.page.locator(selector).click(**more)
        self.settle()

    def button(self, name: str | re.Pattern[str]) -> None:
        self.page.get_by_role("button", name=name).click()
        self.settle()

    def all(self, selector: str) -> list[dict[str, str]]:
        """What elements say of themselves: their data attributes, and their text."""
        script = "all => all.map(one => ({...one.dataset, text: one.textContent}))"
        found: list[dict[str, str]] = self.page.eval_on_selector_all(selector, script)
        return found

    def one(self, selector: str) -> dict[str, str]:
        [found] = self.all(selector)
        return found

    def number(self, selector: str) -> float:
        return float(self.one(selector)["value"])

    def text(self, selector: str) -> str:
        return self.page.locator(selector).inner_text()

    @property
    def step(self) -> int:
        """The chosen step, as the line at the bottom says it."""
        return int(self.number(".gw-status [data-status=step]"))

    @property
    def unit(self) -> int:
        """The unit in focus, as the line at the bottom says it."""
        return int(self.number(".gw-status [data-status=unit]"))


#: Pages that no test uses now. The next test uses their processes again: starting one takes as long as most tests.
_left: list[Page] = []
#: The page that `visited` keeps open, if any.
_kept: list[Tab] = []


def _page(browser: Browser) -> Page:
    _leave_kept()
    if _left:
        return _left.pop()
    # Without motion, a page that has come is drawn once, not in sixty frames a second.
    context = browser.new_context(reduced_motion="reduce")
    context.set_default_timeout(_HUNG)
    context.add_init_script(_COUNTING)
    return context.new_page()


@contextmanager
def opened(
    browser: Browser,
    url: str,
    place: str = "",
    *,
    theme: Any = "light",
    size: Any = SIZE,
    routes: Mapping[str | re.Pattern[str], Callable[[Route], Any]] | None = None,
) -> Iterator[Tab]:
    """Open a page at a place, and see to it that nothing goes wrong in it.

    Args:
        browser: the browser.
        url: of the page.
        place: in the page, as its address says it.
        theme: that the browser prefers.
        size: of the window.
        routes: functions for requests, from the first one on; the page is yielded before it has settled.
    """
    page = _page(browser)
    page.set_viewport_size(size)
    page.emulate_media(color_scheme=theme)
    tab = Tab(page, url)
    try:
        for pattern, handler in (routes or {}).items():
            page.route(pattern, handler)
        tab.load(place, settled=not routes)
        yield tab
        assert tab.wrong == []
        tab.leave()
    except BaseException as error:
        page.context.close()
        if tab.wrong:
            raise AssertionError(tab.wrong) from error
        raise
    _left.append(page)


@contextmanager
def visited(browser: Browser, url: str, **place: Any) -> Iterator[Tab]:
    """Go to a place of a page, which is loaded only where the last visit was to another page.

    For tests that change nothing but the choices of `Tab.visit`: a load takes longer than most of them.
    """
    if not _kept or _kept[0].url != url:
        page = _page(browser)
        page.set_viewport_size(SIZE)
        page.emulate_media(color_scheme="light")
        _kept.append(Tab(page, url))
    tab = _kept[0]
    try:
        tab.visit(place)
        yield tab
        assert tab.wrong == []
    except BaseException as error:
        _kept.clear()
        tab.page.context.close()
        if tab.wrong:
            raise AssertionError(tab.wrong) from error
        raise


def _leave_kept() -> None:
    if _kept:
        tab = _kept.pop()
        tab.leave()
        _left.append(tab.page)


@dataclass(frozen=True)
class Shown:
    """One kind of model, served.

    Attributes:
        url: of its page.
        subject: the model, and what it reads.
        recording: of it, as Python has it.
        catalog: what is served.
    """

    url: str
    subject: Subject
    recording: Recording
    catalog: Catalog

    @property
    def lstm(self) -> LSTM:
        model = self.subject.model
        assert model is not None
        return model.lstm if isinstance(model, Model) else model


KINDS = ("series", "text", "layers", "projected", "paired")


def subject(kind: str, runs: Path) -> Subject:
    """A trained forecaster or language model, bare layers, or a text with a plain RNN beside its model."""
    torch.manual_seed(1)
    if kind == "paired":
        model = language_model()
        return Subject(*prepare(model, "abc fed\n" * 9), plain=PlainModel(model).eval())
    if kind == "layers":
        rows = pack_sequence([torch.randn(steps, 3) for steps in (40, 30)])
        return Subject(*prepare(LSTM(3, 5, num_layers=2, bidirectional=True), rows))
    if kind == "projected":
        return Subject(*prepare(LSTM(3, 6, proj_size=2), torch.randn(20, 1, 3)))
    return Subject(*prepare(runs / kind))


@contextmanager
def pages(runs: Path) -> Iterator[dict[str, Shown]]:
    """Serve one page of each kind."""
    found = {}
    with ExitStack() as stack:
        for kind in KINDS:
            one = subject(kind, runs)
            catalog = Catalog()
            catalog.add(Entry(kind, first=True), lambda one=one: one)  # type: ignore[misc]
            server = stack.enter_context(PageServer(catalog, kind))
            found[kind] = Shown(server.url, one, one.record(), catalog)
        yield found


def weights(lstm: LSTM, layer: int, direction: str) -> equations.Weights:
    """The weights of a layer in float64."""
    suffix = f"l{layer}" + ("_reverse" if direction == "reverse" else "")
    names = {"W_ih": "weight_ih", "W_hh": "weight_hh", "b_ih": "bias_ih", "b_hh": "bias_hh", "W_hr": "weight_hr"}
    found = {ours: getattr(lstm, f"{theirs}_{suffix}", None) for ours, theirs in names.items()}
    return equations.Weights(**{name: value if value is None else double(value) for name, value in found.items()})


def double(value: Any) -> NDArray[np.float64]:
    return np.asarray(value.detach() if isinstance(value, torch.Tensor) else value, dtype=np.float64)


class Judge:
    """All layers over one row, by the equations in float64 from the model's own weights and input.

    Args:
        lstm: the layers.
        x: what they read (T, D).
    """

    def __init__(self, lstm: LSTM, x: NDArray[Any]) -> None:
        self.steps = len(x)
        self._records: dict[tuple[int, str], equations.Record] = {}
        x = double(x)
        for layer in range(lstm.num_layers):
            outputs = []
            for direction in ("forward", "reverse")[: 2 if lstm.bidirectional else 1]:
                order = slice(None, None, -1 if direction == "reverse" else 1)
                y, self._records[layer, direction] = equations.forward(x[order], weights(lstm, layer, direction))
                outputs.append(y[order])
            x = np.concatenate(outputs, axis=-1)

    def at(self, layer: int, direction: str, t: int, unit: int) -> dict[str, float]:
        """Every number of a unit at a step, under its name in the page; NaN where there is none."""
        # In reverse, the last step is read first.
        now = self._records[layer, direction].at(self.steps - 1 - t if direction == "reverse" else t)
        f, i, g, o, c = (
            float(part[unit])
            for part in (now.forget_gate, now.input_gate, now.candidate, now.output_gate, now.cell)
        )
        shown = [float(h[unit]) if unit < len(h) else math.nan for h in (now.hidden_initial, now.hidden)]
        before = float(now.cell_initial[unit])
        return {
            "hidden_before": shown[0], "cell_before": before, "forget_gate": f, "kept": f * before,
            "input_gate": i, "candidate": g, "written": i * g, "cell": c, "bent": math.tanh(c),
            "output_gate": o, "shown": o * math.tanh(c), "hidden": shown[1],
        }  # fmt: skip


def close(got: Any, expected: Any, rtol: float = 1e-4, atol: float = 1e-5) -> None:
    np.testing.assert_allclose(np.asarray(got, float), np.asarray(expected, float), rtol=rtol, atol=atol)


def reads_as(text: str, value: float) -> bool:
    """Whether a text is a number to its last digit: "−0.12", "12%", "1.20e−4", "∞"; "–" for none."""
    text = text.strip().replace("−", "-").replace(",", "").replace("∞", "inf")
    if text == "–":
        return math.isnan(value)
    if text == "<0.1%":
        return 0 < abs(value) < 0.001
    if text == "99.9%" and 0.999 < abs(value) < 1:
        return True
    found = re.fullmatch(r"(-?(?:\d+(?:\.(\d+))?|inf))(?:e(-?\d+))?(%?)", text)
    assert found, text
    unit = (0.01 if found[4] else 1) * 10.0 ** int(found[3] or 0)
    shown = float(found[1]) * unit
    return shown == value or abs(shown - value) <= 0.5001 * unit * 10.0 ** -len(found[2] or "")
