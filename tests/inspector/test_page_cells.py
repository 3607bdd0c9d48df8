"""Cells that are not plain on the page, in a real browser: drawn with their parts, judged by the equations."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from gatewright import look
from gatewright.insight import diagnose, intervene
from gatewright.insight.recorder import prepare
from gatewright.inspector.catalog import Catalog, Entry, Subject
from gatewright.inspector.server import PageServer
from gatewright.nn.model import Model
from gatewright.spec import UNKNOWN, ModelSpec, StackSpec, SymbolEncoder, SymbolHead, Vocabulary
from tests.support.browser import SIZE, STATE, Tab, close, visited
from tests.support.layout import misplaced
from tests.support.page_cells import CELLS, CellJudge, H, T, drawn_input, layer, lines, numbers, subject

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")

TEXT = "abcab cab abc bca cab abba"
NARROW = {"width": 390, "height": 844}


def language_model() -> Model:
    """A head on a layer whose hidden state is c, normalised, in part carried by zoneout."""
    torch.manual_seed(9)
    vocabulary = Vocabulary((UNKNOWN, *sorted(set(TEXT))))
    stack = StackSpec(7, layer_norm=True, zoneout_hidden=0.25, cell_clip=0.6, peephole=True)
    model = Model(ModelSpec(SymbolEncoder(len(vocabulary.symbols), 4), stack, SymbolHead()), vocabulary=vocabulary)
    torch.nn.init.normal_(model.head.weight, std=3.0)
    torch.nn.init.normal_(model.lstm.bias_ln_cell_l0)
    return model.eval()


@pytest.fixture(scope="module")
def subjects() -> dict[str, Subject]:
    found = {name: subject(name) for name in CELLS}
    return {**found, "text": Subject(*prepare(language_model(), TEXT))}


@pytest.fixture(scope="module")
def url(subjects: dict[str, Subject]) -> Iterator[str]:
    """One page with a recording of each cell."""
    catalog = Catalog()
    for name, each in subjects.items():
        catalog.add(Entry(name, note=name), lambda each=each: each)  # type: ignore[misc]
    with PageServer(catalog, "cells") as server:
        yield server.url


def show(tab: Tab, name: str, **place: Any) -> None:
    tab.page.evaluate(f"name => {STATE}.show(name)", name)
    tab.go(**place)


@pytest.mark.parametrize("name", CELLS)
def test_every_number_is_that_of_the_equations(
    browser: Browser, url: str, subjects: dict[str, Subject], name: str
) -> None:
    judge = CellJudge(name, subjects[name].record())
    units = [1, 4]
    with visited(browser, url, view="cell") as tab:
        show(tab, name, units=units)
        for t in (0, T // 2, T - 1):
            tab.go(t=t)
            expected = {unit: judge.at(t, unit) for unit in units}
            drawn = numbers(tab, ".gw-cell-drawing [data-part]")
            assert {part for part, _ in drawn} == judge.drawn()
            for (part, unit), value in drawn.items():
                close(value, expected[unit][part])
            for (part, unit), value in numbers(tab, ".gw-status [data-part]").items():
                close(value, expected[unit][part])
            operations, shown = judge.operations(), lines(tab)
            assert [line["line"] for line in shown] == list(operations)
            for line in shown:
                terms = [[float(one["value"]) for one in term] for term in line["terms"]]
                for term in line["terms"]:
                    for one in term:
                        close(float(one["value"]), expected[int(one["unit"])][one["part"]])
                *operands, result = map(np.array, terms)
                if operations[line["line"]] is not None:
                    close(result, operations[line["line"]](*operands), 1e-5, 1e-6)


#: Focuses on each part and question in turn; returns what the caption says of each.
_SAID = """async () => {
  const said = {};
  for (const one of document.querySelectorAll(".gw-topics button, .gw-piece")) {
    one.focus({preventScroll: true});
    await new Promise(resume => setTimeout(resume));
    said[one.dataset.piece ?? one.textContent] = document.querySelector(".gw-caption-text").innerText;
  }
  document.activeElement.blur();
  return said;
}"""


@pytest.mark.parametrize("name", CELLS)
def test_parts_are_explained_and_nothing_overlaps(browser: Browser, url: str, name: str) -> None:
    cell = CELLS[name]
    with visited(browser, url, view="cell") as tab:
        show(tab, name, t=T // 2, units=[0, 1])
        said: dict[str, str] = tab.page.evaluate(_SAID)
        # A part may be drawn in two pieces; each says something of its own, with numbers.
        assert len(set(said.values())) == len(said)
        for text in said.values():
            assert not re.search(r"NaN|undefined|null|∞| – ", text), text
        assert "How does this cell differ?" in said
        boxes = [one["piece"] for one in tab.all(".gw-piece:has(.gw-box)")]
        assert sorted(boxes) == sorted([*cell.gates(), *(["projection"] if cell.proj_size else [])])
        equations = tab.text(".gw-equations")
        assert ("+ b" in equations) == cell.bias
        assert ("p" in re.sub("exp|clip|keep", "", equations)) == cell.peephole
        assert equations.count("norm(") == (len(cell.gates()) + 1 if cell.layer_norm else 0)
        try:
            for size in (NARROW, SIZE):
                tab.page.set_viewport_size(size)
                tab.settle()
                found = misplaced(tab)
                assert found == {"width": size["width"], "beyond": [], "cut": [], "over": []}
        finally:
            tab.page.set_viewport_size(SIZE)


@pytest.mark.parametrize("name", CELLS)
def test_the_ledger_adds_up(browser: Browser, url: str, subjects: dict[str, Subject], name: str) -> None:
    """The shares are those of what is kept and written in effect; those of an average come with their weights."""
    recording, unit, t = subjects[name].record(), 3, T - 2
    ledger = recording.ledger(0, t, units=[unit])
    record = recording.layers[0].forward
    with visited(browser, url, view="ledger") as tab:
        show(tab, name, units=[unit], t=t)
        sums = {one["sum"]: float(one["value"]) for one in tab.all(".gw-sum [data-sum]")}
        assert abs(sums["difference"]) < 1e-6
        close(sums["total"], record.cell[t, 0, unit], 1e-6)
        close(sums["steps"], ledger.shares.sum())
        listed = [int(one["step"]) for one in tab.all(".gw-top tr[data-step]")]
        assert listed[0] == np.abs(ledger.shares[:, 0]).argmax()
        close([one["share"] for one in tab.all(".gw-top [data-share]")], ledger.shares[listed, 0])
        close(tab.number(".gw-fate [data-value]"), record.write()[t, 0, unit])
        if not (CELLS[name].coupled or CELLS[name].is_slstm):
            assert tab.page.locator(".gw-average").count() == 0
            close([one["survival"] for one in tab.all(".gw-top [data-survival]")], ledger.survival[listed, 0])
            return
        # By the definition of the weights: what is let in at k, times what all later steps keep.
        i, f, g = (
            getattr(record, part)[: t + 1, 0, unit].astype(float)
            for part in ("input_gate", "forget_gate", "candidate")
        )
        weights = [i[k] * math.prod(f[k + 1 :]) for k in range(t + 1)]
        assert min(weights) >= 0
        close([one["weight"] for one in tab.all(".gw-top [data-weight]")], np.take(weights, listed))
        close([one["candidate"] for one in tab.all(".gw-top [data-candidate]")], g[listed])
        average = {one["average"]: float(one["value"]) for one in tab.all(".gw-average [data-average]")}
        close(average["steps"], sum(weights))
        close(average["sum"], 1.0, 1e-6)
        close(np.dot(weights, g), sums["steps"])


def test_an_output_is_split_by_the_way_from_c_to_h(
    browser: Browser, url: str, subjects: dict[str, Subject]
) -> None:
    recording = subjects["text"].record()
    assert recording.readout_weight is not None
    assert recording.readout_bias is not None
    with visited(browser, url, view="ledger") as tab:
        show(tab, "text", readout=2)
        for t in (0, len(TEXT) // 2):
            tab.go(t=t)
            weight = recording.readout_weight[2].astype(float)
            parts, rest = recording.ledger(0, t).readout(weight)
            sums = {one["sum"]: float(one["value"]) for one in tab.all(".gw-sum [data-sum]")}
            close(sums["steps"], parts.sum())
            close(sums["initial"] + sums["rest"], rest)
            direct = weight @ recording.layers[0].forward.hidden[t, 0] + recording.readout_bias[2]
            close([sums["sum"], sums["total"]], [direct, direct])
            listed = [int(one["step"]) for one in tab.all(".gw-top tr[data-step]")]
            close([one["share"] for one in tab.all(".gw-top [data-share]")], parts[listed])


@pytest.mark.parametrize("name", ["coupled", "clip and zoneout"])
def test_what_if_holds_the_gates_that_there_are(browser: Browser, url: str, name: str) -> None:
    lstm, t, unit = layer(name), T // 2, 2
    changed = intervene(lstm, drawn_input(), clamp={0: {"forget_gate": ([unit], 0.0, slice(t, t + 1))}})
    before = look(lstm, drawn_input())
    with visited(browser, url, view="whatif") as tab:
        show(tab, name, units=[unit], t=t)
        tab.button("+ Hold a gate")
        options = tab.page.locator(".gw-change select option").all_text_contents()
        assert ("input gate" in options) == (not CELLS[name].coupled)
        tab.button(re.compile(f"^Close unit {unit}'s forget gate at step {t}"))
        assert tab.one(".gw-whatif-note")["text"] == changed.about.note
        tab.go(view="cell", t=t)
        shown = numbers(tab, ".gw-cell-drawing [data-part]")
        assert shown["forget_gate", unit] == 0
        record = changed.layers[0].forward
        close(shown["cell", unit], record.cell[t, 0, unit])
        assert abs(record.cell[t, 0, unit] - before.layers[0].forward.cell[t, 0, unit]) > 1e-3
        tab.go(view="ledger", t=T - 1)
        sums = {one["sum"]: float(one["value"]) for one in tab.all(".gw-sum [data-sum]")}
        close([sums["sum"], sums["total"]], [record.cell[-1, 0, unit]] * 2, 1e-5)
        show(tab, name)


def test_units_and_map_have_the_gates_of_the_cell(
    browser: Browser, url: str, subjects: dict[str, Subject]
) -> None:
    for name in ("no input gate", "clip and zoneout"):
        recording = subjects[name].record()
        found = diagnose(recording).layers[0]
        with visited(browser, url, view="units") as tab:
            show(tab, name)
            for gate in ("input_gate", "forget_gate", "output_gate"):
                cells = tab.all(f".gw-units-table td[data-part='closed.{gate}']")
                assert len(cells) == (H if gate in CELLS[name].gates() else 0)
                if cells:
                    close([one["value"] for one in cells], found.closed[gate])
            close([one["value"] for one in tab.all("td[data-part=write_rate]")], found.write_rate)
            tab.go(view="timeline", quantity="survival", t=T - 1)
            buttons = tab.page.get_by_role("group", name="Quantity").get_by_role("button").all_text_contents()
            assert ("input" in buttons) == CELLS[name].input_gate
            values: list[float] = tab.page.evaluate(
                f"async () => Array.from(await {STATE}.recording.value.quantity(0, 0, 'forward', 'kept'))"
            )
            close(values, recording.layers[0].forward.keep()[:, 0].ravel())
