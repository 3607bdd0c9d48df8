"""Advice from the figures of a diagnosis: each in a case for it and in one against it."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch

from gatewright import LSTM, CellSpec, look
from gatewright.insight import diagnose
from gatewright.insight.advice import Advice, advise
from gatewright.insight.diagnosis import Diagnosis
from gatewright.insight.memory_horizon import MemoryHorizon
from tests.support.gates import T, noise, of, units
from tests.support.recordings import record, recording


def advice(found: Diagnosis) -> dict[str, Advice]:
    """The advice on the layer by a word of its finding."""
    words = {
        "never exceed": "weak", "are dead": "dead", "only count": "count", "between resets": "timer",
        "closed in": "shut", "never forget": "stuck", "Inputs matter": "reach", "saturated": "saturated",
    }  # fmt: skip
    return {next(short for word, short in words.items() if word in one.finding): one for one in found.advice}


def told(f: Any, i: Any = 1.0, g: Any = None, o: Any = 1.0) -> dict[str, Advice]:
    f = np.asarray(f, dtype=np.float64)
    return advice(diagnose(recording(record(f, i, noise(*f.shape) if g is None else g, o))))


def test_nothing_is_said_where_nothing_is_wrong() -> None:
    assert told(units(*[0.6] * 20)) == {}


def test_forget_gates_that_never_exceed_a_fifth() -> None:
    found = told(units(0.2, 0.1, 0.05, *[0.6] * 5))["weak"]
    assert (found.layer, found.direction, found.units) == (0, "forward", (0, 1, 2))
    # 0.2^3 = 0.008 is less than 1%, 0.2^2 is not.
    assert found.finding == (
        "38% of layer 0's forget gates never exceed 0.2: in these units nothing older than 3 steps can matter "
        "(less than 1% is left)."
    )
    assert "forget_bias" in found.advice
    assert "older than 1 step can matter" in told(units(0.005, 0.6))["weak"].finding
    assert "older than 1 step can" in told(units(0.0, 0.6))["weak"].finding
    assert "weak" not in told(units(0.1, *[0.6] * 10))  # one of eleven is below a tenth
    once = units(*[0.1] * 4).copy()
    once[50] = 0.3  # now and then it keeps something
    assert "weak" not in told(once)


def test_dead_units() -> None:
    i = units(0.0, 0.0, *[1.0] * 6)
    found = told(units(*[0.6] * 8), i)["dead"]
    assert found.units == (0, 1)
    assert found.finding == "2 of layer 0's 8 units are dead: their hidden state varies by less than 0.001."
    assert "--hidden 6" in found.advice
    assert "--hidden 1," in told(units(0.6), 0.0)["dead"].advice
    assert "dead" not in told(units(*[0.6] * 8), 0.5)
    assert "dead" not in told(units(*[0.6] * 30), units(0.0, *[1.0] * 29))  # one of thirty


def test_units_that_count() -> None:
    g = noise(T, 1, 8)
    g[..., 2] = -0.01
    f = units(0.6, 0.6, 0.99, *[0.6] * 5)
    found = told(f, 1.0, g)["count"]
    assert found.units == (2,)
    assert found.finding == (
        "1 unit of layer 0 only counts: it keeps its cell state and adds with one sign in at least 95% of the "
        "steps."
    )
    g[..., 3], f = g[..., 2], units(0.6, 0.6, 0.99, 0.99, *[0.6] * 4)
    found = told(f, 1.0, g)["count"]
    assert found.units == (2, 3)
    assert found.finding.startswith(
        "2 units of layer 0 only count: they keep their cell state and add with one sign"
    )
    g[:10, 0, 2:4] = 0.01
    assert "count" not in told(f, 1.0, g)


def test_counters_that_reset() -> None:
    """Such a unit runs away between two resets, and no further."""
    g, f = noise(T, 1, 8), units(*[0.6] * 7, 0.99).copy()
    f[50::25, 0, 7], g[..., 7] = 0.01, 0.01
    said = told(f, 1.0, g)
    assert "count" not in said
    assert said["timer"].units == (7,)
    assert said["timer"].finding == (
        "1 unit of layer 0 counts between resets: it keeps its cell state and adds with one sign in at least 95% "
        "of the steps."
    )
    assert said["timer"].advice.startswith("Where resets are further apart than in training it leaves the range")


def test_saturated_units() -> None:
    g = noise(T, 1, 40)
    g[:, 0, 3], g[:, 0, 5] = 0.0, 0.0
    g[:2, 0, 3], g[:3, 0, 5] = 4.5, -1.0  # c sits at 9 and at -3 from the second and third step on
    f = np.full((T, 1, 40), 0.6)
    f[..., [3, 5]] = 1.0
    said = told(f, 1.0, g, 0.5)["saturated"]
    assert said.units == (3, 5)  # two of forty are enough: each tells nothing of what it holds
    cells = np.stack([np.cumsum(g[:, 0, unit]) for unit in (3, 5)])
    assert said.finding == (
        "2 of layer 0's 40 units are saturated: |tanh(c)| is above 0.99 in at least 90% of the steps (mean |c| "
        f"{np.abs(cells).mean():.1f}), so that what they write and forget hardly shows in h."
    )
    assert "forget_bias" in said.advice
    g[:2, 0, 3] = 1.0  # at 2
    assert told(f, 1.0, g, 0.5)["saturated"].finding.startswith("1 of layer 0's 40 units is saturated")
    g[:3, 0, 5] = 0.5
    assert "saturated" not in told(f, 1.0, g, 0.5)


def test_advice_is_of_use_in_the_cell_and_the_stack_that_it_is_for() -> None:
    g = np.full((T, 1, 40), 0.6)
    whole = recording(record(np.full((T, 1, 40), 1.0), 1.0, g, 0.5))  # all of them count, and are saturated
    (layer,) = diagnose(whole).layers
    labels = tuple(("counter", "saturated") for _ in range(40))
    layer = dataclasses.replace(layer, labels=labels, saturated=np.ones(40))
    said = {
        name: advice(Diagnosis((layer,), advise((layer,), None, cell), None))
        for name, cell in (
            ("plain", CellSpec()),
            ("clip", CellSpec(cell_clip=3.0)),
            ("norm", CellSpec(layer_norm=True, output_activation="hard_tanh")),
        )
    }
    assert "count" in said["plain"]
    assert "count" not in said["clip"]  # c stays in range
    assert "|hard_tanh(norm(c))| is above 0.99" in said["norm"]["saturated"].finding
    assert said["norm"]["saturated"].advice.endswith("fewer units will do.")  # no bias moves what is normalised
    dead = dataclasses.replace(layer, labels=(("dead",),) * 5 + ((),) * 35)
    other = dataclasses.replace(layer, layer=1, half_life=layer.half_life[:24], labels=((),) * 24)
    assert "--hidden 35,24," in advise((dead, other), None)[0].advice


def test_output_gates_that_are_shut() -> None:
    o = units(0.05, 0.09, *[0.5] * 8).copy()
    found = told(units(*[0.6] * 10), 1.0, None, o)["shut"]
    assert found.units == (0, 1)
    assert found.finding == (
        "20% of layer 0's output gates are closed in at least 99% of the steps: what these units keep is hardly "
        "ever read."
    )
    o[:2] = 0.5
    assert "shut" not in told(units(*[0.6] * 10), 1.0, None, o)


def test_forget_gates_that_never_let_go() -> None:
    found = told(units(0.95, 0.99, 0.5, 0.6))["stuck"]
    assert found.units == (0, 1)
    assert "50% of layer 0's forget gates are open in at least 99% of the steps" in found.finding
    assert "stuck" not in told(units(0.95, 0.5, 0.5, 0.6))


def test_a_short_reach() -> None:
    layers = (of(units(0.6)),)
    norms = 0.5 ** np.arange(40)
    (found,) = advise(layers, MemoryHorizon(np.arange(40), norms))
    # 0.5^6 is more than 1%, 0.5^7 is not.
    assert found.finding == (
        "Inputs matter for 7 steps: further back, the derivative of the last hidden state is below 1% of its "
        "maximum (40 lags measured)."
    )
    assert (found.layer, found.direction, found.units) == (0, "forward", ())
    assert advise(layers, MemoryHorizon(np.arange(28), norms[:28])) == ()  # a quarter of 28
    assert len(advise(layers, MemoryHorizon(np.arange(29), norms[:29]))) == 1
    assert "for 1 step:" in advise(layers, MemoryHorizon(np.arange(40), np.eye(40)[0]))[0].finding
    assert advise(layers, MemoryHorizon(np.arange(40), np.zeros(40))) == ()
    assert advise(layers, None) == ()


def test_advice_names_the_reverse_direction() -> None:
    weak = record(units(*[0.1] * 4), 1.0, noise(T, 1, 4), reverse=True)
    found = diagnose(recording(record(units(*[0.6] * 4), 1.0, noise(T, 1, 4)), weak)).advice
    assert [(one.direction, one.units) for one in found] == [("reverse", (0, 1, 2, 3))]
    assert found[0].finding.startswith("100% of layer 0's reverse direction's forget gates never exceed 0.2")


def test_a_layer_that_forgets_is_found_in_a_real_pass() -> None:
    """A forget bias of -6 keeps less than 1% for a step."""
    torch.manual_seed(0)
    lstm = LSTM(2, 5)
    with torch.no_grad():
        lstm.bias_hh_l0[5:10] = -6.0
        lstm.weight_hh_l0.mul_(0.1)
    found = diagnose(look(lstm, torch.randn(200, 1, 2)))
    said = advice(found)
    assert said["weak"].units == (0, 1, 2, 3, 4)
    assert said["weak"].finding.startswith("100% of layer 0's forget gates never exceed 0.2")
    assert "reach" in said
    with torch.no_grad():
        lstm.bias_hh_l0[5:10] = 6.0
        for parameter in lstm.parameters():  # so that the cell state stays where tanh is steep
            parameter[10:15] *= 0.01
    said = advice(diagnose(look(lstm, torch.randn(200, 1, 2))))
    assert set(said) & {"weak", "reach"} == set()
    assert said["stuck"].units == (0, 1, 2, 3, 4)
