"""What if, recordings that come while one looks, and pages without a server, in a real browser."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from gatewright import look
from gatewright.insight import changes, diagnose, intervene, intervention
from gatewright.insight.recorder import prepare
from gatewright.insight.recording import Recording
from gatewright.inspector.catalog import Catalog, Entry, Subject
from gatewright.inspector.html import export
from gatewright.inspector.server import PageServer
from gatewright.nn.model import Model
from gatewright.spec.recording import SeriesMetadata
from tests.support.browser import STATE, Judge, Shown, Tab, close, opened
from tests.support.inspected import HOSTILE, shelf_of
from tests.support.small_models import language_model

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")


def figures(tab: Tab) -> dict[str, float]:
    found = tab.all(".gw-whatif-figures [data-part]:not([data-part=felt])")
    return {one["part"]: float(one["value"]) for one in found}


def note(tab: Tab) -> str:
    """What was changed, as it stands in the page: style begins it with a capital."""
    return tab.one(".gw-whatif-note")["text"]


def assert_compared(tab: Tab, changed: Recording, before: Recording, row: int = 0) -> None:
    """The figures are those of both recordings."""
    shown, T = figures(tab), int(before.lengths[row])
    apart = changed.difference(before).predictions[:T, row]
    data, moved = before.about.data, np.abs(apart.reshape(T, -1)[:, 0])
    if isinstance(data, SeriesMetadata):
        # What was forecast for each step one step before.
        moved = np.concatenate([[0], np.abs(apart[:-1, 0, 0, data.quantiles.index(0.5)])])
    elif data.kind == "text":
        chances = [np.exp(one.predictions[:T, row].astype(float)) for one in (before, changed)]
        moved = np.abs(chances[1] - chances[0]).sum(axis=-1) / 2
    close(shown["largest_change"], moved.max())
    assert shown["at"] == moved.argmax()
    if data.kind == "layers":
        assert "mean_error_before" not in shown
        return
    errors = np.array([one.error()[:T, row] for one in (before, changed)])
    means = errors[:, ~np.isnan(errors).any(axis=0)].mean(axis=-1)
    close([shown["mean_error_before"], shown["mean_error_after"]], means)


@pytest.mark.parametrize("kind", ["series", "text"])
def test_forgetting_everything(browser: Browser, pages: dict[str, Shown], runs: Path, kind: str) -> None:
    shown, t = pages[kind], 40
    H = shown.lstm.hidden_size
    before = look(runs / kind)
    changed = intervene(runs / kind, edit_cell={0: (t, None, 0.0)})
    with opened(browser, shown.url, f"view=whatif&t={t}&units=3") as tab:
        close(figures(tab)["mean_error_before"], np.nanmean(before.error()))
        tab.button(re.compile(f"^Forget everything at step {t}"))
        assert note(tab) == changed.about.note
        assert_compared(tab, changed, before)
        if kind == "text":
            for part, one in (("before", before), ("after", changed)):
                cells = tab.all(f".gw-whatif-symbols [data-part={part}]")
                symbols = [int(cell["symbol"]) for cell in cells]
                close([cell["value"] for cell in cells], np.exp(one.predictions[t, 0, symbols]))
        # Everywhere else it is the changed run that one sees.
        tab.go(view="cell", units=list(range(4)))
        for part in ("cell_before", "kept"):
            found = tab.all(f".gw-cell-drawing [data-part={part}]")
            close([one["value"] for one in found], [0] * 4, atol=1e-7)
        tab.go(view="ledger", t=t + 2, units=[H - 1])
        ledger = changed.ledger(0, t + 2, units=[H - 1])
        sums = {one["sum"]: one["value"] for one in tab.all(".gw-sum [data-sum]")}
        close(
            [sums["edited"], sums["steps"], sums["sum"]], [ledger.edited[0], ledger.shares.sum(), ledger.cell[0]]
        )
        tab.go(view="units")
        found = diagnose(changed).layers[0]
        close([one["value"] for one in tab.all("td[data-part=write_rate]")], found.write_rate)
        tab.go(view="whatif")
        tab.button("Back to the original")
        assert note(tab) == "The original"
        assert set(figures(tab)) == {"mean_error_before"}
        close(tab.number(".gw-status [data-part=cell]"), before.layers[0].forward.cell[t + 2, 0, H - 1])


def test_a_change_made_by_hand(browser: Browser, pages: dict[str, Shown], runs: Path) -> None:
    shown = pages["series"]
    before = look(runs / "series")
    with opened(browser, shown.url, "view=whatif&layer=1") as tab:
        posted: list[Any] = []
        tab.on("request", lambda asked: asked.method == "POST" and posted.append(asked.post_data_json))
        tab.button("+ Hold a gate")
        form = tab.page.get_by_role("form", name="What to change")
        form.locator(".gw-change select").select_option("input_gate")
        form.get_by_label("Value of the gate, as a number").fill("0.25")
        form.get_by_label("First step").fill("10")
        form.get_by_label("Last step").fill("60")
        # What cannot be is told in a sentence, and nothing is sent.
        for units, told in (
            ("99", "There is no unit 99: this layer has units 0 to 7."),
            ("4-1", "“4-1” runs backwards: write “1-4”."),
            ("one", "“one” is not a unit: write numbers such as “3, 7, 10-14”, or “all”."),
        ):
            form.get_by_role("textbox", name="units").fill(units)
            tab.button("Run again")
            assert tab.text(".gw-whatif-trouble") == told
        assert posted == []
        form.get_by_role("textbox", name="units").fill("1, 4-6")
        assert tab.page.locator(".gw-whatif-trouble").count() == 0
        tab.button("Run again")
        assert len(posted) == 1
        changed = intervene(runs / "series", clamp={1: {"input_gate": ([1, 4, 5, 6], 0.25, slice(10, 61))}})
        assert note(tab) == changed.about.note
        assert_compared(tab, changed, before)
        tab.page.locator("[data-part=at]").click()
        tab.settle()
        assert tab.step == figures(tab)["at"]
        # Of the untouched run again, whatever is shown.
        tab.button("Remove: Hold the input gate")
        tab.button("+ Ablate units")
        form.get_by_role("textbox", name="units").fill("all")
        tab.button("Run again")
        assert_compared(tab, intervene(runs / "series", ablate={1: None}), before)
        chips = tab.page.get_by_role("group", name="Other recordings").get_by_role("button")
        chips.filter(has_text=changed.about.note).click()
        tab.settle()
        assert_compared(tab, changed, before)
        here = tab.page.evaluate(f"{STATE}.recording.value.meta.id")
        tab.page.wait_for_function("here => location.hash.includes(`recording=${here}&`)", arg=here)
        tab.page.reload()
        tab.settle()
        assert note(tab) == changed.about.note


def test_a_change_in_reverse_of_another_row(browser: Browser, pages: dict[str, Shown]) -> None:
    shown, row, t = pages["layers"], 1, 12
    model, batch = shown.subject.model, shown.subject.batch
    assert model is not None
    assert batch is not None
    with opened(browser, shown.url, f"view=whatif&row={row}&layer=1&direction=reverse&t={t}&units=2") as tab:
        tab.button("+ Set the cell state")
        tab.page.get_by_label("set to").fill("−1.5")
        tab.button("Run again")
        plan = changes.plan(shown.lstm, batch.lengths, edit_cell={(1, "reverse"): (t, 2, -1.5, row)})
        changed = intervention.run(model, batch, plan)
        assert note(tab) == changed.about.note
        # The forward half of the outputs is as it was.
        assert tab.text(".gw-whatif-figures").endswith("the two runs predict the same")
        tab.page.get_by_role("spinbutton", name="output").fill("7")
        tab.settle()
        moved = np.abs(changed.difference(shown.recording).predictions[:30, row, 7])
        close([figures(tab)["largest_change"], figures(tab)["at"]], [moved.max(), moved.argmax()])
        tab.go(view="cell")
        assert tab.number(".gw-cell-drawing [data-part=cell_before]") == -1.5
        assert "set by hand" in tab.one(".gw-cell-drawing")["text"]
        # The other row is as it was.
        tab.go(row=0)
        reverse = shown.recording.layers[1].reverse
        assert reverse is not None
        close(tab.number(".gw-cell-drawing [data-part=cell_before]"), reverse.cell[t + 1, 0, 2])
        assert "set by hand" not in tab.one(".gw-cell-drawing")["text"]


def checkpoint(step: int) -> tuple[Entry, Recording, Subject]:
    model, batch = prepare(language_model(seed=step), "abc fed\n" * 9)
    subject = Subject(model, batch.noted(f"step {step}"))
    entry = Entry(f"step-{step}", f"step {step}", step, 3 - step / 100, "nats/char")
    return entry, subject.record(), subject


def test_checkpoints_come_while_one_looks(browser: Browser) -> None:
    catalog, recordings = Catalog(), {}

    def add(step: int) -> None:
        entry, recordings[step], subject = checkpoint(step)
        catalog.add(entry, lambda: subject)

    def assert_shown(tab: Tab, step: int) -> None:
        tab.page.locator(f".gw-checkpoints-label [data-part=step][data-value='{step}']").wait_for()
        tab.settle()
        close(tab.number(".gw-checkpoints-label [data-part=score]"), 3 - step / 100)
        record = recordings[step].layers[0].forward
        for part in ("forget_gate", "candidate", "cell"):
            close(tab.number(f".gw-status [data-part={part}]"), getattr(record, part)[30, 0, 4])
        assert tab.text(".gw-note") == f"step {step}"

    add(10)
    with PageServer(catalog, "live") as server, opened(browser, server.url, "t=30&units=4") as tab:
        assert tab.page.locator(".gw-checkpoints").count() == 0
        for step in (20, 30):
            add(step)
            assert_shown(tab, step)
        slider = tab.page.get_by_role("slider", name="Checkpoint")
        follow = tab.page.get_by_label("Follow")
        assert follow.is_checked()
        assert slider.get_attribute("aria-valuemax") == "2"
        for key, step in (("ArrowLeft", 20), ("Home", 10)):
            slider.press(key)
            assert_shown(tab, step)
        assert not follow.is_checked()
        # One that comes now is listed, and not shown.
        add(40)
        tab.page.locator(".gw-track[aria-valuemax='3']").wait_for()
        assert_shown(tab, 10)
        box = slider.bounding_box()
        assert box is not None
        slider.click(position={"x": box["width"] - 10, "y": 30})
        assert_shown(tab, 40)
        add(50)
        tab.page.locator(".gw-track[aria-valuemax='4']").wait_for()
        follow.check()
        assert_shown(tab, 50)
        # A what if of it stands beside, and what comes then does not take one away from it.
        tab.press("5")
        tab.button(re.compile("^Never forget"))
        add(60)
        tab.page.locator(".gw-track[aria-valuemax='5']").wait_for()
        tab.settle()
        assert tab.page.get_by_role("button", name="Back to the original").is_visible()
        tab.page.get_by_role("button", name="Back to the original").click()
        assert_shown(tab, 50)


def test_a_checkpoint_that_is_gone_is_told(browser: Browser) -> None:
    catalog = Catalog()
    for step in (10, 20):
        entry, _, subject = checkpoint(step)
        catalog.add(entry, lambda subject=subject: subject)
    with PageServer(catalog, "live") as server, opened(browser, server.url) as tab:
        catalog.remove("step-20")
        tab.page.get_by_role("group", name="Other recordings").wait_for()
        tab.page.keyboard.press("3")  # for which numbers are asked that were not before
        assert "This recording no longer exists" in tab.text(".gw-trouble")
        tab.page.keyboard.press("5")
        tab.button(re.compile("^Never forget"))
        assert "This recording no longer exists" in tab.text(".gw-whatif-trouble")
        assert len(tab.wrong) > 0
        assert all("404" in one for one in tab.wrong)
        tab.wrong.clear()
        tab.button("step 10")
        assert not tab.page.locator(".gw-trouble").is_visible()
        assert tab.text(".gw-note") == "step 10"


@pytest.fixture(params=["series", "layers", "paired", "hostile"])
def exported(
    request: pytest.FixtureRequest, pages: dict[str, Shown], tmp_path: Path
) -> tuple[Path, Recording, Any]:
    """A page in a file, what it is of, and its layers."""
    name, path = request.param, tmp_path / "a page.html"
    if name == "hostile":
        model, batch = prepare(language_model(HOSTILE), HOSTILE * 2, title=HOSTILE)
        subject = Subject(model, batch)
        export(path, shelf_of(hostile=subject), name)
        assert isinstance(model, Model)
        return path, subject.record(), model.lstm
    export(path, pages[name].catalog, name)
    return path, pages[name].recording, pages[name].lstm


def test_a_page_without_a_server(browser: Browser, exported: tuple[Path, Recording, Any]) -> None:
    path, recording, lstm = exported
    row, layer = len(recording.lengths) - 1, len(recording.layers) - 1
    direction = "reverse" if lstm.bidirectional else "forward"
    T = int(recording.lengths[row])
    judge, t = Judge(lstm, recording.inputs[:T, row]), T // 2
    with opened(browser, path.as_uri(), f"view=cell&row={row}&layer={layer}&direction={direction}") as tab:
        assert tab.page.title() == " - ".join(filter(None, (recording.about.title, "Gatewright")))
        tab.go(t=t, units=[1, 3])
        for unit in (1, 3):
            expected = judge.at(layer, direction, t, unit)
            for one in tab.all(f".gw-cell-drawing [data-unit='{unit}']"):
                close(one["value"], expected[one["part"]])
        tab.press("3")
        ledger = recording.ledger(layer, t, row, direction=direction, units=[3])
        sums = {one["sum"]: one["value"] for one in tab.all(".gw-sum [data-sum]")}
        close([sums["steps"], sums["sum"]], [ledger.shares.sum(), ledger.cell[0]])
        tab.press("4")
        found = [one for one in diagnose(recording).layers if (one.layer, one.direction) == (layer, direction)]
        close([one["value"] for one in tab.all("td[data-part=activity]")], found[0].activity)
        tab.press("1")
        assert tab.page.locator("canvas.gw-heat-map").first.is_visible()
        if recording.symbols is not None:
            best = np.sort(np.exp(recording.predictions[t, row]))[::-1][:5]
            close([one["value"] for one in tab.all(".gw-timeline-next tbody tr")][:5], best)
            running = tab.page.locator(".gw-timeline-running")
            symbols = recording.about.data.symbols  # type: ignore[union-attr]
            text = "".join(symbols[one] for one in recording.symbols[:, row])
            assert running.text_content() == text.replace("\n", "↵\n")
        assert_nothing_can_be_run(tab)
        tab.press("ArrowRight")
        tab.page.wait_for_function("t => location.hash.includes(`t=${t}&`)", arg=t + 1)
        tab.page.reload()
        tab.settle()
        assert (tab.step - 1, tab.unit, tab.state("layer")) == (t, 3, layer)


def assert_nothing_can_be_run(tab: Tab) -> None:
    what_if = tab.page.get_by_role("button", name="What if")
    assert what_if.get_attribute("aria-disabled") == "true"
    assert "This page cannot run the model" in (what_if.get_attribute("title") or "")
    what_if.click(force=True)
    tab.press("5")
    assert tab.state("view") == "timeline"
    assert tab.page.locator(".gw-whatif").count() == 0
