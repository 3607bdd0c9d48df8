"""Cells that are not plain on the page, in a real browser: drawn with their parts, judged by the equations."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from gatewright import LSTM, look
from gatewright.insight import diagnose, intervene
from gatewright.insight.recorder import prepare
from gatewright.insight.recording import Recording
from gatewright.inspector.catalog import Catalog, Entry, Subject
from gatewright.inspector.server import PageServer
from gatewright.nn.model import Model
from gatewright.spec import UNKNOWN, CellSpec, ModelSpec, StackSpec, SymbolEncoder, SymbolHead, Vocabulary
from tests.support.browser import SIZE, STATE, Judge, Tab, close, visited
from tests.support.layout import misplaced
from tests.support.page_cells import CELLS, CellJudge, D, H, T, drawn_input, lines, made, numbers, subject

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")

TEXT = "abcab cab abc bca cab abba"
NARROW = {"width": 390, "height": 844}


def language_model(stack: StackSpec) -> Model:
    torch.manual_seed(9)
    vocabulary = Vocabulary((UNKNOWN, *sorted(set(TEXT))))
    model = Model(ModelSpec(SymbolEncoder(len(vocabulary.symbols), 4), stack, SymbolHead()), vocabulary=vocabulary)
    torch.nn.init.normal_(model.head.weight, std=3.0)
    if stack.layer_norm:
        torch.nn.init.normal_(model.lstm.bias_ln_cell_l0)
    return model.eval()


@pytest.fixture(scope="module")
def subjects() -> dict[str, Subject]:
    found = {name: subject(name) for name in CELLS}
    torch.manual_seed(3)
    found["sizes"] = Subject(*prepare(LSTM(D, [6, 4]), drawn_input()))
    stacked = StackSpec(5, num_layers=2, residual=True)
    normal = StackSpec(7, layer_norm=True, zoneout_hidden=0.25, cell_clip=0.6, peephole=True)
    for name, stack in (("text", normal), ("residual", stacked)):
        found[name] = Subject(*prepare(language_model(stack), TEXT))
    return found


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
def test_a_cell_is_drawn_explained_and_accounted_for(
    browser: Browser, url: str, subjects: dict[str, Subject], name: str
) -> None:
    recording = subjects[name].record()
    with visited(browser, url, view="cell") as tab:
        show(tab, name, units=[1, 4])
        judge = CellJudge(name, recording)
        for t in (0, T // 2, T - 1):
            tab.go(t=t)
            assert_numbers(tab, judge, t, [1, 4])
        assert_explained(tab, CELLS[name])
        assert_in_place(tab)
        tab.go(view="ledger", units=[3], t=T - 2)
        assert_adds_up(tab, recording, t=T - 2, unit=3)
        weighted = CELLS[name].coupled or CELLS[name].is_slstm
        assert tab.page.locator(".gw-average").count() == weighted
        if weighted:
            assert_average(tab, recording, t=T - 2, unit=3)


def assert_numbers(tab: Tab, judge: CellJudge, t: int, units: list[int]) -> None:
    """The drawing, the arithmetic below it and the status line, by the equations."""
    expected = {unit: judge.at(t, unit) for unit in units}
    drawn = numbers(tab, ".gw-cell-drawing [data-part]")
    assert {part for part, _ in drawn} == judge.drawn()
    for (part, unit), value in (drawn | numbers(tab, ".gw-status [data-part]")).items():
        close(value, expected[unit][part])
    operations, shown = judge.operations(), lines(tab)
    assert [line["line"] for line in shown] == list(operations)
    for line in shown:
        for term in line["terms"]:
            for one in term:
                close(float(one["value"]), expected[int(one["unit"])][one["part"]])
        *operands, result = (np.array([float(one["value"]) for one in term]) for term in line["terms"])
        operation = operations[line["line"]]
        if operation is not None:
            close(result, operation(*operands), 1e-5, 1e-6)


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


def assert_explained(tab: Tab, cell: CellSpec) -> None:
    """Each part has a caption of its own, layers have boxes, and the equations are those of the cell."""
    said: dict[str, str] = tab.page.evaluate(_SAID)
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


def assert_in_place(tab: Tab) -> None:
    """Nothing overlaps or runs off, on a telephone either."""
    try:
        for size in (NARROW, SIZE):
            tab.page.set_viewport_size(size)
            tab.settle()
            assert misplaced(tab) == {"width": size["width"], "beyond": [], "cut": [], "over": []}
    finally:
        tab.page.set_viewport_size(SIZE)


def assert_adds_up(tab: Tab, recording: Recording, t: int, unit: int) -> None:
    """The shares are those of what is kept and written in effect."""
    ledger, record = recording.ledger(0, t, units=[unit]), recording.layers[0].forward
    sums = {one["sum"]: float(one["value"]) for one in tab.all(".gw-sum [data-sum]")}
    assert abs(sums["difference"]) < 1e-6
    close(sums["total"], record.cell[t, 0, unit], 1e-6)
    close(sums["steps"], ledger.shares.sum())
    listed = [int(one["step"]) for one in tab.all(".gw-top tr[data-step]")]
    assert listed[0] == np.abs(ledger.shares[:, 0]).argmax()
    close([one["share"] for one in tab.all(".gw-top [data-share]")], ledger.shares[listed, 0])
    for one, k in zip(tab.all(".gw-top [data-survival]"), listed, strict=False):
        close(one["survival"], ledger.survival[k, 0])
    close(tab.number(".gw-fate [data-value]"), record.write()[t, 0, unit])


def assert_average(tab: Tab, recording: Recording, t: int, unit: int) -> None:
    """The weights by their definition: what is let in at k, times what all later steps keep."""
    record = recording.layers[0].forward
    parts = (record.input_gate, record.forget_gate, record.candidate)
    i, f, g = (part[: t + 1, 0, unit].astype(float) for part in parts)
    weights = np.array([i[k] * math.prod(f[k + 1 :]) for k in range(t + 1)])
    assert (weights >= 0).all()
    listed = [int(one["step"]) for one in tab.all(".gw-top tr[data-step]")]
    close([one["weight"] for one in tab.all(".gw-top [data-weight]")], weights[listed])
    close([one["candidate"] for one in tab.all(".gw-top [data-candidate]")], g[listed])
    average = {one["average"]: float(one["value"]) for one in tab.all(".gw-average [data-average]")}
    close(average["steps"], weights.sum())
    close(average["sum"], 1.0, 1e-6)
    close(weights @ g, tab.one(".gw-sum [data-sum=steps]")["value"])


@pytest.mark.parametrize(("name", "layer"), [("text", 0), ("residual", 0), ("residual", 1)])
def test_an_output_is_split_by_the_way_from_c_to_h(
    browser: Browser, url: str, subjects: dict[str, Subject], name: str, layer: int
) -> None:
    """Through layer normalisation and zoneout; and with residual connections at every layer."""
    recording = subjects[name].record()
    assert recording.readout_weight is not None
    assert recording.readout_bias is not None
    weight, bias = recording.readout_weight[2].astype(float), recording.readout_bias[2]
    with visited(browser, url, view="ledger") as tab:
        show(tab, name, layer=layer, readout=2)
        for t in (0, len(TEXT) // 2):
            tab.go(t=t)
            parts, rest = recording.ledger(layer, t).readout(weight)
            sums = {one["sum"]: float(one["value"]) for one in tab.all(".gw-sum [data-sum]")}
            close(sums["steps"], parts.sum())
            close(sums["initial"] + sums.get("rest", 0), rest)
            hidden = [each.forward.hidden[t, 0].astype(float) for each in recording.layers]
            close(sums.get("others", 0), weight @ (sum(hidden) - hidden[layer]))
            direct = weight @ sum(hidden) + bias
            close([sums["sum"], sums["total"]], [direct, direct])
            listed = [int(one["step"]) for one in tab.all(".gw-top tr[data-step]")]
            close([one["share"] for one in tab.all(".gw-top [data-share]")], parts[listed])
            # The likeliest symbol is that of the model, by all layers.
            tab.button("the likeliest")
            assert int(tab.one(".gw-readout")["output"]) == recording.predictions[t, 0].argmax()
            tab.go(readout=2)


def test_layers_have_their_own_units(browser: Browser, url: str, subjects: dict[str, Subject]) -> None:
    lstm = subjects["sizes"].model
    assert isinstance(lstm, LSTM)
    judge = Judge(lstm, drawn_input()[:, 0])
    with visited(browser, url, view="cell") as tab:
        show(tab, "sizes", layer=0, units=[2, 5], t=4)
        layers = tab.page.get_by_label("Layer", exact=True)
        assert layers.locator("option").all_text_contents() == ["Layer 0 · 6 units", "Layer 1 · 4 units"]
        for layer, units in ((0, [2, 5]), (1, [2])):
            layers.select_option(str(layer))
            tab.settle()
            drawn = numbers(tab, ".gw-cell-drawing [data-part]")
            assert sorted({unit for _, unit in drawn}) == units
            for (part, unit), value in drawn.items():
                close(value, judge.at(layer, "forward", 4, unit)[part])
        assert "h of layer 0 (6 numbers)" in tab.one(".gw-cell-drawing")["text"]
        tab.go(view="timeline", quantity="hidden")
        assert "hidden state of 4 units" in (
            tab.page.locator(".gw-heat canvas").first.get_attribute("aria-label") or ""
        )
        tab.go(view="whatif")
        tab.button("+ Ablate units")
        tab.page.get_by_role("textbox", name="units").fill("5")
        tab.button("Run again")
        assert tab.text(".gw-whatif-trouble") == "There is no unit 5: this layer has units 0 to 3."
        tab.button("Remove: Ablate units")


@pytest.mark.parametrize("name", ["coupled", "clip and zoneout", "slstm"])
def test_what_if_holds_the_gates_that_there_are(browser: Browser, url: str, name: str) -> None:
    lstm, t, unit = made(name), T // 2, 2
    changed = intervene(lstm, drawn_input(), clamp={0: {"forget_gate": ([unit], 0.0, slice(t, t + 1))}})
    before = look(lstm, drawn_input())
    with visited(browser, url, view="whatif") as tab:
        show(tab, name, units=[unit], t=t)
        tab.button("+ Hold a gate")
        options = tab.page.locator(".gw-change select option").all_text_contents()
        kept, let_in = ("keep gate", "share gate") if CELLS[name].is_slstm else ("forget gate", "input gate")
        assert (let_in in options) == (not CELLS[name].coupled)
        tab.button(re.compile(f"^Close unit {unit}'s {kept} at step {t}"))
        assert tab.one(".gw-whatif-note")["text"] == changed.about.note
        tab.go(view="cell", t=t)
        shown = numbers(tab, ".gw-cell-drawing [data-part]")
        assert shown["forget_gate", unit] == 0
        if name != "clip and zoneout":  # what is not kept is let in
            assert shown["input_gate", unit] == 1
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
