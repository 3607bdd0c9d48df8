"""Numbers on the page, in a real browser: judged by the equations in float64, the ledger and the diagnosis."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from gatewright.equations import Record
from gatewright.insight import diagnose
from gatewright.insight.unit_stats import LayerDiagnosis
from gatewright.inspector.catalog import Subject
from gatewright.inspector.server import PageServer
from gatewright.spec.recording import SeriesMetadata
from tests.support import recordings
from tests.support.browser import Judge, Shown, Tab, close, double, opened, reads_as, visited
from tests.support.inspected import shelf_of
from tests.support.page_cells import numbers

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")

#: By kind: row, layer, direction, units in sight (at most four; the last one in focus).
PLACES = {
    "series": [(0, 0, "forward", [7, 0, 3]), (0, 1, "forward", [1, 2, 5, 6])],
    "text": [(0, 0, "forward", [11, 4])],
    "layers": [(0, 0, "reverse", [0, 4]), (1, 1, "forward", [3]), (1, 1, "reverse", [4, 1, 2])],
    "projected": [(0, 0, "forward", [0, 1, 5])],
}


def places(tab: Tab, shown: Shown, kind: str) -> Iterator[tuple[int, int, str, list[int], int]]:
    """Go to every place at its first, a middle and its last step."""
    for row, layer, direction, units in PLACES[kind]:
        tab.go(row=row, layer=layer, direction=direction, units=units, t=0)
        for t in first_middle_last(int(shown.recording.lengths[row])):
            tab.go(t=t)
            yield row, layer, direction, units, t


def first_middle_last(steps: int) -> tuple[int, int, int]:
    return 0, steps // 2, steps - 1


@pytest.mark.parametrize("kind", PLACES, scope="module")
def test_every_number_of_the_cell_is_that_of_the_equations(
    browser: Browser, pages: dict[str, Shown], kind: str
) -> None:
    shown = pages[kind]
    rows = range(len(shown.recording.lengths))
    judges = [Judge(shown.lstm, shown.recording.inputs[: shown.recording.lengths[row], row]) for row in rows]
    with visited(browser, shown.url, view="cell") as tab:
        for row, layer, direction, units, t in places(tab, shown, kind):
            expected = {unit: judges[row].at(layer, direction, t, unit) for unit in units}
            drawn = numbers(tab, ".gw-cell-drawing [data-part]")
            parts = set(expected[units[0]]) - (set() if kind == "projected" else {"shown"})
            assert set(drawn) == {(part, unit) for part in parts for unit in units}
            for (part, unit), value in drawn.items():
                close(value, expected[unit][part])
            assert_adds_up(tab, expected)
            status = numbers(tab, ".gw-status [data-part]")
            focus = units[-1]
            assert (tab.step, tab.unit) == (t, focus)
            for part in ("input_gate", "forget_gate", "candidate", "output_gate", "cell", "hidden"):
                # A projected hidden state has fewer places than there are units.
                close(status.get((part, focus), math.nan), expected[focus][part])


SIGNS = {"⊗": operator.mul, "+": operator.add, "tanh": np.tanh}
_LINES = """rows => rows.map(row => ({
  line: row.dataset.line,
  signs: [...row.querySelectorAll(".gw-sign-cell")].map(one => one.textContent),
  terms: [...row.querySelectorAll("td:has([data-part])")].map(
    td => [...td.children].map(one => ({...one.dataset}))
  ),
}))"""


def assert_adds_up(tab: Tab, expected: dict[int, dict[str, float]]) -> None:
    """Every line below the drawing, [..] ⊗ [..] = [..], by its own numbers and by the equations."""
    lines = tab.page.eval_on_selector_all(".gw-arithmetic tr[data-line]", _LINES)
    assert [line["line"] for line in lines] == ["kept", "written", "cell", "bent", "shown"]
    for line in lines:
        values = []
        for term in line["terms"]:
            assert [int(one["unit"]) for one in term] == sorted(expected)
            for one in term:
                close(float(one["value"]), expected[int(one["unit"])][one["part"]])
            values.append(np.array([float(one["value"]) for one in term]))
        [sign] = [sign for sign in line["signs"] if sign not in ("", "=")]
        *given, result = values
        close(SIGNS[sign](*given), result, 1e-6, 1e-6)


@pytest.mark.parametrize("kind", ["series", "text"], scope="module")
def test_what_the_cell_view_expects_next(browser: Browser, pages: dict[str, Shown], kind: str) -> None:
    shown = pages[kind]
    said = shown.recording.predictions[:, 0]
    with visited(browser, shown.url, view="cell") as tab:
        for t in first_middle_last(len(said)):
            tab.go(t=t)
            if kind == "series":
                data = shown.recording.about.data
                assert isinstance(data, SeriesMetadata)
                one = tab.one(".gw-predicts [data-forecast]")
                close(one["value"], said[t, 0, 0, data.quantiles.index(0.5)])
                [came] = tab.all(".gw-predicts [data-forecast] + [data-value]")
                assert shown.recording.targets is not None
                close(came["value"], shown.recording.targets[t, 0, 0, 0])
                columns = [float(one["value"]) for one in tab.all(".gw-reads [data-column]")]
                assert shown.recording.columns is not None
                close(columns, shown.recording.columns[t, 0])
            else:
                listed = tab.all(".gw-next [data-next]")
                chances = np.exp(said[t])
                assert [int(one["next"]) for one in listed] == np.argsort(-chances, kind="stable")[:5].tolist()
                close([one["value"] for one in listed], np.sort(chances)[::-1][:5])
                assert shown.recording.symbols is not None
                assert int(tab.one(".gw-context")["symbol"]) == shown.recording.symbols[t, 0]


@pytest.mark.parametrize("kind", PLACES, scope="module")
def test_the_ledger_is_that_of_the_recording(browser: Browser, pages: dict[str, Shown], kind: str) -> None:
    shown = pages[kind]
    with visited(browser, shown.url, view="ledger") as tab:
        for row, layer, direction, units, t in places(tab, shown, kind):
            ledger = shown.recording.ledger(layer, t, row, direction=direction, units=[units[-1]])
            assert int(tab.one(".gw-ledger-at")["query"]) == t
            listed = assert_lists(tab, ledger.steps, ledger.shares[:, 0])
            at = np.searchsorted(ledger.steps, listed)
            close([one["wrote"] for one in tab.all(".gw-top [data-wrote]")], ledger.writes[at, 0])
            close([one["survival"] for one in tab.all(".gw-top [data-survival]")], ledger.survival[at, 0])
            sums = {one["sum"]: one["value"] for one in tab.all(".gw-sum [data-sum]")}
            close(sums["steps"], ledger.shares.sum())
            close(sums["initial"], ledger.initial[0])
            close(sums["sum"], ledger.total[0])
            close(sums["total"], ledger.cell[0], 1e-6)
            assert abs(float(sums["difference"])) < 1e-6
            close(tab.one("[data-apart=start]")["value"], ledger.initial[0])
            assert_fate(tab, shown, row, layer, direction, units[-1], t)


def assert_lists(tab: Tab, steps: Any, shares: Any) -> list[int]:
    """The eight largest shares, but for what is nothing beside them; returns their steps."""
    rows = tab.all(".gw-top tr[data-step]")
    listed = [int(one["step"]) for one in rows]
    sizes = np.abs(shares)
    order = np.argsort(-sizes, kind="stable")[:8]
    expected = [int(steps[k]) for k in order if sizes[k] > 0 and sizes[k] >= 1e-3 * sizes[order[0]]]
    assert sorted(listed) == sorted(expected)
    values = tab.all(".gw-top [data-share]")
    close([one["share"] for one in values], shares[np.searchsorted(steps, listed)])
    for one in values:
        assert reads_as(one["text"], float(one["share"]))
    return listed


def assert_fate(tab: Tab, shown: Shown, row: int, layer: int, direction: str, unit: int, t: int) -> None:
    """What becomes of what step t writes: its half-life, which the page takes between two steps."""
    lifetime = shown.recording.lifetime(layer, t, row, direction=direction, units=[unit])
    close(tab.number(".gw-fate [data-value]"), lifetime.write[0])
    half, whole = tab.one(".gw-fate [data-half-life]")["halfLife"], lifetime.half_life[0]
    if half == "":
        assert whole == math.inf
        return
    assert math.ceil(float(half) - 1e-9) == whole
    above, below = lifetime.log_survival[int(whole) - 1 : int(whole) + 1, 0]
    if np.isfinite(below):
        close(half, whole - 1 + (above - math.log(0.5)) / (above - below), 1e-4)


@pytest.mark.parametrize("kind", ["series", "text"], scope="module")
def test_an_output_of_the_head_is_split_as_the_readout_of_the_ledger(
    browser: Browser, pages: dict[str, Shown], kind: str
) -> None:
    shown = pages[kind]
    recording = shown.recording
    layer, H = len(recording.layers) - 1, recording.layers[-1].forward.cell.shape[-1]
    assert recording.readout_weight is not None
    assert recording.readout_bias is not None
    with visited(browser, shown.url, view="ledger") as tab:
        tab.go(layer=layer)
        tab.button("Output of the head")
        for t in first_middle_last(int(recording.lengths[0])):
            if kind == "text":
                assert recording.symbols is not None
                tab.go(t=t, readout="likely")
                output = int(recording.predictions[t, 0].argmax())
                assert int(tab.one(".gw-readout")["output"]) == output
                if t + 1 < len(recording.symbols):
                    tab.button("what came next")
                    output = int(recording.symbols[t + 1, 0])
                    assert int(tab.one(".gw-readout")["output"]) == output
            else:
                tab.go(t=t)
                output = t % len(recording.about.readouts)
                tab.page.get_by_label("Output", exact=True).select_option(str(output))
                tab.settle()
            weight = recording.readout_weight[output].astype(float)
            ledger = recording.ledger(layer, t, units=range(H))
            parts, rest = ledger.readout(weight)
            assert_lists(tab, ledger.steps, parts)
            sums = {one["sum"]: one["value"] for one in tab.all(".gw-sum [data-sum]")}
            close(sums["steps"], parts.sum())
            close(sums["initial"], rest)
            close(sums["bias"], recording.readout_bias[output])
            hidden = ledger.output_gate * np.tanh(ledger.cell)
            close(sums["total"], weight @ hidden + recording.readout_bias[output])
            close(sums["sum"], sums["total"])


@pytest.mark.parametrize("kind", PLACES, scope="module")
def test_units_say_what_the_diagnosis_says(browser: Browser, pages: dict[str, Shown], kind: str) -> None:
    shown = pages[kind]
    diagnosis = diagnose(shown.recording)
    with visited(browser, shown.url, view="units") as tab:
        text = tab.text(".gw-units")
        assert all(one.finding in text and one.advice in text for one in diagnosis.advice)
        assert (diagnosis.horizon is not None) == tab.page.locator(".gw-horizon").is_visible()
        for found in diagnosis.layers:
            tab.go(view="units", layer=found.layer, direction=found.direction)
            assert_diagnosed(tab, found)
            # The card of the Timeline says the same.
            tab.go(view="timeline", units=[1])
            for part in ("half_life", "write_rate", "activity"):
                said = tab.one(f".gw-timeline-readout dd[data-part={part}]")
                # One that never forgets half has no half-life.
                close(said.get("value", math.inf), getattr(found, part)[1])


def assert_diagnosed(tab: Tab, found: LayerDiagnosis) -> None:
    figures = {"half_life": found.half_life, "write_rate": found.write_rate, "activity": found.activity}
    for gate in ("input_gate", "forget_gate", "output_gate"):
        figures |= {f"closed.{gate}": found.closed[gate], f"open.{gate}": found.open[gate]}
    for part, values in figures.items():
        cells = tab.all(f".gw-units-table td[data-part='{part}']")
        assert [int(cell["unit"]) for cell in cells] == list(range(len(values)))
        close([float(cell["value"]) for cell in cells], values)
        assert all(reads_as(cell["text"], float(cell["value"])) for cell in cells)
    labels = tab.page.eval_on_selector_all(
        ".gw-units-table tr[data-unit]",
        "rows => rows.map(row => [...row.querySelectorAll('.gw-chip')].map(chip => chip.textContent))",
    )
    assert labels == [list(one) for one in found.labels]


@pytest.mark.parametrize("kind", ["series", "text", "layers"], scope="module")
def test_the_timeline_says_what_is_forecast_and_what_came(
    browser: Browser, pages: dict[str, Shown], kind: str
) -> None:
    shown = pages[kind]
    recording = shown.recording
    said = recording.predictions[: recording.lengths[0], 0]
    with visited(browser, shown.url, view="timeline") as tab:
        for t in first_middle_last(len(said)):
            tab.go(t=t)
            if kind == "series":
                assert_forecast(tab, recording, t)
            elif kind == "text":
                assert_next(tab, recording, t)
            else:
                texts = [one["text"] for one in tab.all(".gw-timeline-pairs dd")[:3]]
                assert all(map(reads_as, texts, recording.inputs[t, 0].tolist()))


def assert_forecast(tab: Tab, recording: Any, t: int) -> None:
    data = recording.about.data
    middle = data.quantiles.index(0.5)
    said, came = recording.predictions[t, 0, :, 0], recording.targets[t, 0, :, 0]
    rows = tab.page.eval_on_selector_all(
        ".gw-timeline-readout .gw-table tbody tr",
        "rows => rows.map(row => [...row.cells].map(cell => ({...cell.dataset, text: cell.textContent})))",
    )
    assert [row[0]["text"] for row in rows] == [f"+{k + 1}" for k in range(data.horizon)]
    for k, (_, forecast, band, truth) in enumerate(rows):
        close(forecast["value"], said[k, middle])
        assert reads_as(forecast["text"], float(forecast["value"]))
        assert all(map(reads_as, band["text"].split(" – "), said[k, [0, -1]].tolist()))
        close(truth["value"], came[k])
        assert reads_as(truth["text"], came[k])
    columns = tab.all(".gw-timeline-readout [data-column]")
    assert [one["column"] for one in columns] == list(data.columns)
    close([one["value"] for one in columns], recording.columns[t, 0])
    assert all(reads_as(one["text"], float(one["value"])) for one in columns)
    assert tab.text(".gw-timeline-readout-time") == str(recording.times[t, 0])[:16].replace("T", " ")


def assert_next(tab: Tab, recording: Any, t: int) -> None:
    symbols, chances = recording.about.data.symbols, np.exp(recording.predictions[t, 0])
    best = np.argsort(-chances, kind="stable")[:5].tolist()
    came = int(recording.symbols[t + 1, 0]) if t + 1 < len(recording.symbols) else None
    rows = tab.all(".gw-timeline-next tbody tr")
    expected = best if came is None or came in best else [*best, came]
    close([float(one["value"]) for one in rows], chances[expected])
    names = [one["text"] for one in tab.all(".gw-timeline-next kbd")]
    assert names == [{" ": "␣", "\n": "↵"}.get(symbols[one], symbols[one]) for one in expected]
    assert ["came" in one for one in rows] == [one == came for one in expected]


def test_the_plain_rnn_stands_beside(browser: Browser, pages: dict[str, Shown]) -> None:
    shown = pages["paired"]
    recording, plain = shown.recording, shown.subject.plain
    assert plain is not None
    assert recording.peer is not None
    W, U, b, b_too = (double(one) for one in plain.rnn.parameters())
    assert recording.symbols is not None
    h = np.zeros(len(U))
    for x in double(plain.encoder.weight)[recording.symbols[:21, 0]]:
        before, h = h, np.tanh(W @ x + U @ h + b + b_too)
    with opened(browser, shown.url, "view=cell&t=20&units=2,5") as tab:
        tab.button("plain RNN")
        for part, expected in (("peer_before", before), ("peer_hidden", h)):
            found = tab.all(f".gw-arithmetic [data-part={part}]")
            assert [one["unit"] for one in found] == ["2", "5"]
            close([one["value"] for one in found], expected[[2, 5]])
        chances = np.exp(recording.peer.predictions[20, 0])
        close([one["value"] for one in tab.all(".gw-next [data-next]")], np.sort(chances)[::-1][:5])


def by_hand(T: int) -> Subject:
    """A layer whose gates and cells are known: forget gates of 0, 0.1, ... 1, of each unit the same throughout."""
    gates = np.broadcast_to(np.linspace(0, 1, 11), (T, 1, 11))
    f = gates.astype(np.float32).copy()
    f[T // 2 :] = f[T // 2 :, :, ::-1]
    made: Record = recordings.record(f, g=np.linspace(-1, 1, 11), dtype=np.float32)
    return Subject(recording=recordings.recording(made))


@pytest.mark.parametrize("T", [40, 5000])
def test_colours_of_the_map_follow_the_numbers(browser: Browser, T: int) -> None:
    """Cividis from dark blue to yellow; orange below 0, violet above; also where a pixel is several steps."""
    with (
        PageServer(shelf_of(hand=by_hand(T)), "by hand") as server,
        opened(browser, server.url, "order=index") as tab,
    ):
        everything = tab.state("range")
        for theme in ("light", "dark"):
            tab.page.emulate_media(color_scheme=theme)
            tab.go(quantity="forget_gate", range=everything)
            assert_colours(tab, T, theme)


def assert_colours(tab: Tab, T: int, theme: str) -> None:
    early, late = (colours(tab, t, T) for t in (T // 4, 3 * T // 4))
    assert early == late[::-1]
    assert early[0] == [0, 32, 81]
    assert np.abs(np.subtract(early[-1], [253, 234, 69])).max() <= 3
    assert (np.diff(brightness(early)) > 0).all()
    tab.go(quantity="candidate")
    signed = colours(tab, T // 4, T)
    red, blue = np.array(signed)[:, 0], np.array(signed)[:, 2]
    assert (red[:5] > blue[:5]).all()
    assert (red[6:] < blue[6:]).all()
    assert abs(red[5] - blue[5]) < 12
    away = 1 if theme == "dark" else -1
    for side in (signed[5::-1], signed[5:]):
        assert (np.diff(brightness(side)) * away > 0).all()
    # Survival to the chosen step: all of it there, of what comes later nothing.
    tab.go(quantity="survival", t=T // 4, range=[T // 4 - 10, T // 4 + 10])
    at, after = colours(tab, T // 4, T), colours(tab, T // 4 + 1, T)
    before = brightness(colours(tab, T // 4 - 1, T))
    assert at == [early[-1]] * 11
    assert after == [early[0]] * 11
    assert (np.diff(before) > 0).all()


#: From a copy: a canvas that is drawn to warns of being read.
_PIXELS = """(canvas, {across, rows}) => {
  const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", {willReadFrequently: true});
  copy.drawImage(canvas, 0, 0);
  return Array.from({length: rows}, (_, row) => [...copy.getImageData(
    Math.floor(across * canvas.width), Math.floor((row + 0.5) / rows * canvas.height), 1, 1).data.slice(0, 3)]);
}"""


def colours(tab: Tab, t: int, T: int) -> list[list[int]]:
    """Red, green and blue of each of eleven units at a step."""
    first, end = tab.state("range")
    found: list[list[int]] = tab.page.eval_on_selector(
        "canvas.gw-heat-map", _PIXELS, {"across": (t + 0.5 - first) / (end - first), "rows": 11}
    )
    return found


def brightness(colours: Any) -> Any:
    return np.array(colours) @ [0.2126, 0.7152, 0.0722]
