"""Advice on a model from figures of its units: what is the case, with the number, and what to try."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gatewright.insight.memory_horizon import Horizon

if TYPE_CHECKING:
    from gatewright.insight.diagnosis import LayerDiagnosis

#: A forget gate that never comes above this lets everything go within a few steps.
_WEAK = 0.2
#: Shares of a layer's units from which on there is something to say.
_SOME, _FEW = 0.1, 0.05


#: Makes advice of units, a finding and what to try.
About = Callable[[np.ndarray, str, str], "Advice"]


@dataclass(frozen=True)
class Advice:
    """Something to know about a layer.

    Attributes:
        layer: number of the layer.
        direction: "forward" or "reverse".
        units: the units that it is about.
        finding: what is the case, with its figure.
        advice: what to try.
    """

    layer: int
    direction: str
    units: tuple[int, ...]
    finding: str
    advice: str


def advise(layers: Sequence[LayerDiagnosis], horizon: Horizon | None) -> tuple[Advice, ...]:
    """Return what there is to say of each layer, and of the stack.

    Args:
        layers: figures of each layer and direction.
        horizon: how long inputs have a say, if that was measured.
    """
    found = [advice for layer in layers for advice in _of_layer(layer)]
    return (*found, *_of_horizon(layers, horizon))


def _of_layer(one: LayerDiagnosis) -> Iterator[Advice]:
    H = len(one.half_life)
    name = f"layer {one.layer}" + ("'s reverse direction" if one.direction == "reverse" else "")

    def about(units: np.ndarray, finding: str, advice: str) -> Advice:
        return Advice(one.layer, one.direction, tuple(map(int, units)), finding, advice)

    weak = np.flatnonzero(one.greatest <= _WEAK)
    if len(weak) >= _SOME * H:
        strongest = float(one.greatest[weak].max())
        steps = max(1, math.ceil(math.log(0.01) / math.log(max(strongest, 1e-6))))
        yield about(
            weak,
            f"{_share(len(weak), H)} of {name}'s forget gates never exceed {_WEAK}: in these units nothing older "
            f"than {_steps(steps)} can matter (less than 1% is left).",
            "Try a higher forget_bias (1 or 2), or fewer units if the task has no long memory.",
        )
    dead = one.labelled("dead")
    if len(dead) >= max(1, _FEW * H):
        yield about(
            dead,
            f"{len(dead)} of {name}'s {H} units are dead: their hidden state varies by less than 0.001.",
            f"Try --hidden {max(1, H - len(dead))}, or a higher learning rate or less weight decay to wake them.",
        )
    counters, resets = one.labelled("counter"), one.labelled("resets")
    yield from _of_counters(np.setdiff1d(counters, resets), name, about, between_resets=False)
    yield from _of_counters(np.intersect1d(counters, resets), name, about, between_resets=True)
    yield from _of_saturated(one, name, about)
    shut = one.labelled("shut")
    if len(shut) >= max(1, _SOME * H):
        yield about(
            shut,
            f"{_share(len(shut), H)} of {name}'s output gates are closed in at least 99% of the steps: what these "
            "units keep is hardly ever read.",
            "Ablate them (What if): if the error stays, fewer units will do.",
        )
    stuck = np.flatnonzero(one.open["forget_gate"] >= 0.99)
    if len(stuck) >= 0.5 * H:
        yield about(
            stuck,
            f"{_share(len(stuck), H)} of {name}'s forget gates are open in at least 99% of the steps: these units "
            "never let go.",
            "If the error grows along a sequence, try a lower forget_bias, or resets between sequences.",
        )


def _of_counters(units: np.ndarray, name: str, about: About, *, between_resets: bool) -> Iterator[Advice]:
    if not len(units):
        return
    several = len(units) > 1
    verb = "count" if several else "counts"
    keeping = "they keep what they have and add" if several else "it keeps what it has and adds"
    where = f"{verb} between resets" if between_resets else f"only {verb}"
    ends = "Where resets are further apart" if between_resets else "On longer sequences"
    leave = "they leave" if several else "it leaves"
    late = "late between two resets" if between_resets else "late in a long sequence"
    train = "train on data that has such stretches" if between_resets else "train on longer ones"
    yield about(
        units,
        f"{_units(len(units))} of {name} {where}: {keeping} with one sign in at least 95% of the steps.",
        f"{ends} than in training {leave} the range that the model knows: check the error {late}, or {train}.",
    )


def _of_saturated(one: LayerDiagnosis, name: str, about: About) -> Iterator[Advice]:
    units = one.labelled("saturated")
    if not len(units):
        return
    are, do = ("are", "they write and forget") if len(units) > 1 else ("is", "it writes and forgets")
    yield about(
        units,
        f"{len(units)} of {name}'s {len(one.size)} units {are} saturated: |tanh(c)| is above 0.99 in at least 90% "
        f"of the steps (mean |c| {one.size[units].mean():.1f}), so that what {do} hardly shows in h.",
        "Ablate them (What if): if the error stays, fewer units will do. Else try a lower forget_bias (0), so "
        "that c stays where tanh has a slope.",
    )


def _of_horizon(layers: Sequence[LayerDiagnosis], horizon: Horizon | None) -> Iterator[Advice]:
    if horizon is None or not layers or not horizon.lstm.max() > 0:
        return
    reach, lags = horizon.reach(), len(horizon.lags)
    last = layers[-1]
    if reach < lags / 4:
        yield Advice(
            last.layer,
            last.direction,
            (),
            f"Inputs have a say for {_steps(reach)}: further back, the derivative of the last hidden state is "
            f"below 1% of its largest ({lags} lags were looked at).",
            "If the task needs more, try a higher forget_bias, longer windows (--context), or inputs that carry "
            "the past; if not, a shorter --context trains faster.",
        )


def _share(count: int, of: int) -> str:
    return f"{round(100 * count / of)}%"


def _units(count: int) -> str:
    return "1 unit" if count == 1 else f"{count} units"


def _steps(count: int) -> str:
    return "1 step" if count == 1 else f"{count} steps"
