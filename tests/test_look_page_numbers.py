"""Numbers on the page, read from a real browser: judged by the equations in float64, the ledger and the diagnosis."""

from __future__ import annotations

import math
import operator
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from gatewright.insight import diagnose
from gatewright.insight.about import SeriesAbout
from tests.browser import Judge, Shown, Tab, close, opened, reads_as

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")

#: Kind, row, layer, direction, units in sight (at most four; the last one in focus).
PLACES = [
    ("series", 0, 0, "forward", [7, 0, 3]),
    ("series", 0, 1, "forward", [1, 2, 5, 6]),
    ("text", 0, 0, "forward", [11, 4]),
    ("layers", 0, 0, "reverse", [0, 4]),
    ("layers", 1, 1, "forward", [3]),
    ("layers", 1, 1, "reverse", [4, 1, 2]),
    ("projected", 0, 0, "forward", [0, 1, 5]),
]


def first_middle_last(steps: int) -> tuple[int, int, int]:
    return 0, steps // 2, steps - 1


@pytest.mark.parametrize(("kind", "row", "layer", "direction", "units"), PLACES)
def test_every_number_of_the_cell_is_that_of_the_equations(
    browser: Browser, pages: dict[str, Shown], kind: str, row: int, layer: int, direction: str, units: list[int]
) -> None:
    shown = pages[kind]
    steps = int(shown.recording.lengths[row])
    judge = Judge(shown.lstm, shown.recording.inputs[:steps, row])
    with opened(browser, shown.url, "view=cell") as tab:
        tab.go(row=row, layer=layer, direction=direction, units=units)
        for t in first_middle_last(steps):
            tab.go(t=t)
            expected = {unit: judge.at(layer, direction, t, unit) for unit in units}
            drawn = numbers(tab, ".gw-cell-drawing [data-part]")
            parts = set(expected[units[0]]) - (set() if kind == "projected" else {"shown"})
            assert set(drawn) == {(part, unit) for part in parts for unit in units}
            for (part, unit), value in drawn.items():
                close(value, expected[unit][part])
            assert_adds_up(tab, expected)
            status = numbers(tab, ".gw-status [data-part]")
            focus = units[-1]
            assert (tab.step, tab.unit) == (t, focus)
            # A projected hidden state has fewer places than there are units.
            for part in ("input_gate", "forget_gate", "candidate", "output_gate", "cell", "hidden"):
                if not math.isnan(expected[focus][part]):
                    close(status[part, focus], expected[focus][part])


def numbers(tab: Tab, selector: str) -> dict[tuple[str, int], float]:
    """Values by part and unit; each is written as it is."""
    found = {}
    for one in tab.all(selector):
        if "value" not in one:  # nothing is known of it
            assert one["text"] == "–"
            continue
        value = float(one["value"])
        assert reads_as(one["text"], value), one
        key = (one["part"], int(one["unit"]))
        assert key not in found or found[key] == value
        found[key] = value
    return found


SIGNS = {"⊗": operator.mul, "+": operator.add}


def assert_adds_up(tab: Tab, expected: dict[int, dict[str, float]]) -> None:
    """Every line below the drawing, [..] ⊗ [..] = [..], by its own numbers and by the equations."""
    result = {"shown": "shown" if "shown" in tab.text(".gw-arithmetic") else "hidden"}
    lines = tab.all(".gw-arithmetic tr[data-line]")
    assert [line["line"] for line in lines] == ["kept", "written", "cell", "bent", "shown"]
    for line in lines:
        place = f".gw-arithmetic tr[data-line={line['line']}]"
        terms = tab.page.eval_on_selector_all(
            f"{place} td:has([data-part])", "all => all.map(td => [...td.children].map(one => ({...one.dataset})))"
        )
        for term in terms:
            assert [int(one["unit"]) for one in term] == sorted(expected)
            for one in term:
                close(float(one["value"]), expected[int(one["unit"])][one["part"]])
        values = [np.array([float(one["value"]) for one in term]) for term in terms]
        signs = [sign for one in tab.all(f"{place} .gw-sign-cell") if (sign := one["text"]) not in ("", "=")]
        assert len(signs) == 1
        if signs == ["tanh"]:
            close(np.tanh(values[0]), values[1], 1e-6, 1e-6)
        else:
            close(SIGNS[signs[0]](values[0], values[1]), values[2], 1e-6, 1e-6)
    assert result


@pytest.mark.parametrize("kind", ["series", "text"])
def test_what_the_cell_view_expects_next(browser: Browser, pages: dict[str, Shown], kind: str) -> None:
    shown = pages[kind]
    said = shown.recording.predictions[:, 0]
    with opened(browser, shown.url, "view=cell") as tab:
        for t in first_middle_last(len(said)):
            tab.go(t=t)
            if kind == "series":
                data = shown.recording.about.data
                assert isinstance(data, SeriesAbout)
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


@pytest.mark.parametrize(("kind", "row", "layer", "direction", "units"), PLACES)
def test_the_ledger_is_that_of_the_recording(
    browser: Browser, pages: dict[str, Shown], kind: str, row: int, layer: int, direction: str, units: list[int]
) -> None:
    shown = pages[kind]
    steps = int(shown.recording.lengths[row])
    with opened(browser, shown.url, "view=ledger") as tab:
        tab.go(row=row, layer=layer, direction=direction, units=units)
        for t in first_middle_last(steps):
            tab.go(t=t)
            ledger = shown.recording.ledger(layer, t, row, direction=direction, units=[units[-1]])
            assert int(tab.one(".gw-ledger-at")["query"]) == t
            listed = assert_lists(tab, ledger.steps, ledger.shares[:, 0])
            places = np.searchsorted(ledger.steps, listed)
            close([one["wrote"] for one in tab.all(".gw-top [data-wrote]")], ledger.writes[places, 0])
            close([one["survival"] for one in tab.all(".gw-top [data-survival]")], ledger.survival[places, 0])
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
    fate = shown.recording.fate(layer, t, row, direction=direction, units=[unit])
    close(tab.number(".gw-fate [data-value]"), fate.write[0])
    half, whole = tab.one(".gw-fate [data-half-life]")["halfLife"], fate.half_life[0]
    if half == "":
        assert whole == math.inf
        return
    assert math.ceil(float(half) - 1e-9) == whole
    above, below = fate.log_survival[int(whole) - 1 : int(whole) + 1, 0]
    if np.isfinite(below):
        close(half, whole - 1 + (above - math.log(0.5)) / (above - below), 1e-4)


@pytest.mark.parametrize("kind", ["series", "text"])
def test_an_output_of_the_head_is_split_as_the_readout_of_the_ledger(
    browser: Browser, pages: dict[str, Shown], kind: str
) -> None:
    shown = pages[kind]
    recording = shown.recording
    layer, H = len(recording.layers) - 1, recording.layers[-1].forward.cell.shape[-1]
    assert recording.readout_weight is not None
    assert recording.readout_bias is not None
    with opened(browser, shown.url, "view=ledger") as tab:
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


@pytest.mark.parametrize(("kind", "layer", "direction"), [
    ("series", 0, "forward"), ("series", 1, "forward"), ("text", 0, "forward"), ("layers", 1, "reverse"),
    ("projected", 0, "forward"),
])  # fmt: skip
def test_units_say_what_the_diagnosis_says(
    browser: Browser, pages: dict[str, Shown], kind: str, layer: int, direction: str
) -> None:
    shown = pages[kind]
    diagnosis = diagnose(shown.recording)
    [found] = [one for one in diagnosis.layers if (one.layer, one.direction) == (layer, direction)]
    figures = {"half_life": found.half_life, "write_rate": found.write_rate, "activity": found.activity}
    for gate in ("input_gate", "forget_gate", "output_gate"):
        figures |= {f"closed.{gate}": found.closed[gate], f"open.{gate}": found.open[gate]}
    with opened(browser, shown.url, "view=units") as tab:
        tab.go(layer=layer, direction=direction)
        for part, values in figures.items():
            cells = tab.all(f".gw-units-table td[data-part='{part}']")
            assert [int(cell["unit"]) for cell in cells] == list(range(len(values)))
            close([float(cell["value"]) for cell in cells], values)
            for cell in cells:
                if part in ("write_rate", "activity", "half_life"):
                    assert reads_as(cell["text"], float(cell["value"])), cell
        labels = tab.page.eval_on_selector_all(
            ".gw-units-table tr[data-unit]",
            "rows => rows.map(row => [...row.querySelectorAll('.gw-chip')].map(chip => chip.textContent))",
        )
        assert labels == [list(one) for one in found.labels]
        text = tab.text(".gw-units")
        assert all(one.finding in text and one.advice in text for one in diagnosis.advice)
        assert (diagnosis.horizon is not None) == tab.page.locator(".gw-horizon").is_visible()
        # The card of the Timeline says the same.
        tab.go(view="timeline", units=[1])
        close(tab.number(".gw-timeline-readout dd[data-value]"), found.half_life[1])


@pytest.mark.parametrize("kind", ["series", "text", "layers"])
def test_the_timeline_says_what_is_forecast_and_what_came(
    browser: Browser, pages: dict[str, Shown], kind: str
) -> None:
    shown = pages[kind]
    recording = shown.recording
    said = recording.predictions[: recording.lengths[0], 0]
    with opened(browser, shown.url, "view=timeline") as tab:
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
        assert reads_as(truth["text"], came[k])
    pairs = tab.all(".gw-timeline-readout section:first-of-type dd")
    assert all(reads_as(one["text"], value) for one, value in zip(pairs, recording.columns[t, 0], strict=True))
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
