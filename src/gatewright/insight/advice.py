"""Advice on a model from figures of its units: findings with their numbers, and what to try."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from gatewright.insight.memory_horizon import MemoryHorizon
from gatewright.insight.unit_stats import LayerDiagnosis
from gatewright.spec.cell import CellSpec

_PLAIN = CellSpec()

#: A forget gate that never exceeds this loses everything within a few steps.
_WEAK = 0.2
#: Minimum shares of a layer's units for a finding.
_SOME, _FEW = 0.1, 0.05


#: Returns advice from units, a finding and what to try.
MakeAdvice = Callable[[np.ndarray, str, str], "Advice"]


@dataclass(frozen=True)
class Advice:
    """A finding about a layer, and what to try.

    Attributes:
        layer: number of the layer.
        direction: "forward" or "reverse".
        units: numbers of the units concerned.
        finding: the finding, with its figure.
        advice: what to try.
    """

    layer: int
    direction: str
    units: tuple[int, ...]
    finding: str
    advice: str


def advise(
    layers: Sequence[LayerDiagnosis], horizon: MemoryHorizon | None, cell: CellSpec = _PLAIN
) -> tuple[Advice, ...]:
    """Return the advice for each layer, and for the stack.

    Args:
        layers: figures of each layer and direction.
        horizon: the memory horizon, or None if it was not measured.
        cell: the cell of the layers.
    """
    sizes = {layer.layer: len(layer.half_life) for layer in layers}
    of_layers = (item for layer in layers for item in _of_layer(layer, cell, sizes))
    return (*of_layers, *_of_horizon(layers, horizon))


def _of_layer(layer: LayerDiagnosis, cell: CellSpec, sizes: dict[int, int]) -> Iterator[Advice]:
    H = len(layer.half_life)
    name = f"layer {layer.layer}" + ("'s reverse direction" if layer.direction == "reverse" else "")

    def make(units: np.ndarray, finding: str, advice: str) -> Advice:
        return Advice(layer.layer, layer.direction, tuple(map(int, units)), finding, advice)

    weak = np.flatnonzero(layer.greatest <= _WEAK)
    if len(weak) >= _SOME * H:
        strongest = float(layer.greatest[weak].max())
        steps = max(1, math.ceil(math.log(0.01) / math.log(max(strongest, 1e-6))))
        yield make(
            weak,
            f"{_share(len(weak), H)} of {name}'s forget gates never exceed {_WEAK}: in these units nothing older "
            f"than {_steps(steps)} can matter (less than 1% is left).",
            "Try a higher forget_bias (1 or 2), or fewer units if the task has no long memory.",
        )
    dead = layer.labelled("dead")
    if len(dead) >= max(1, _FEW * H):
        hidden = _hidden(sizes, layer.layer, max(1, H - len(dead)))
        yield make(
            dead,
            f"{len(dead)} of {name}'s {H} units are dead: their hidden state varies by less than 0.001.",
            f"Try --hidden {hidden}, or a higher learning rate or less weight decay.",
        )
    if not cell.cell_clip:  # which keeps a count within the range that the model knows
        counters, resets = layer.labelled("counter"), layer.labelled("resets")
        yield from _of_counters(np.setdiff1d(counters, resets), name, make, between_resets=False)
        yield from _of_counters(np.intersect1d(counters, resets), name, make, between_resets=True)
    yield from _of_saturated(layer, name, make, cell)
    shut = layer.labelled("shut")
    if len(shut) >= max(1, _SOME * H):
        yield make(
            shut,
            f"{_share(len(shut), H)} of {name}'s output gates are closed in at least 99% of the steps: what these "
            "units keep is hardly ever read.",
            "Ablate them (What if): if the error stays, fewer units will do.",
        )
    # An average keeps ever more of itself, whatever the gates do.
    tells = cell.forget_gate and not cell.is_slstm
    stuck = np.flatnonzero(layer.open["forget_gate"] >= 0.99) if tells else np.zeros(0, np.int64)
    if len(stuck) >= 0.5 * H:
        yield make(
            stuck,
            f"{_share(len(stuck), H)} of {name}'s forget gates are open in at least 99% of the steps: these units "
            "never forget.",
            "If the error grows along a sequence, try a lower forget_bias, or resets between sequences.",
        )


def _of_counters(units: np.ndarray, name: str, make: MakeAdvice, *, between_resets: bool) -> Iterator[Advice]:
    if not len(units):
        return
    several = len(units) > 1
    verb = "count" if several else "counts"
    keeping = "they keep their cell state and add" if several else "it keeps its cell state and adds"
    where = f"{verb} between resets" if between_resets else f"only {verb}"
    ends = "Where resets are further apart" if between_resets else "On longer sequences"
    leave = "they leave" if several else "it leaves"
    late = "late between two resets" if between_resets else "late in a long sequence"
    train = "train on data with such stretches" if between_resets else "train on longer ones"
    yield make(
        units,
        f"{_units(len(units))} of {name} {where}: {keeping} with one sign in at least 95% of the steps.",
        f"{ends} than in training {leave} the range that the model knows: check the error {late}, or {train}.",
    )


def _of_saturated(layer: LayerDiagnosis, name: str, make: MakeAdvice, cell: CellSpec) -> Iterator[Advice]:
    units = layer.labelled("saturated")
    if not len(units):
        return
    bent = f"{cell.output_activation}({'norm(c)' if cell.layer_norm else 'c'})"
    slope = f"so that c stays where {cell.output_activation} has a slope"
    otherwise = "" if cell.layer_norm else f" Otherwise try a lower forget_bias (0), {slope}."
    are, do = ("are", "they write and forget") if len(units) > 1 else ("is", "it writes and forgets")
    yield make(
        units,
        f"{len(units)} of {name}'s {len(layer.size)} units {are} saturated: |{bent}| is above 0.99 in at least "
        f"90% of the steps (mean |c| {layer.size[units].mean():.1f}), so that what {do} hardly shows in h.",
        f"Ablate them (What if): if the error stays, fewer units will do.{otherwise}",
    )


def _of_horizon(layers: Sequence[LayerDiagnosis], horizon: MemoryHorizon | None) -> Iterator[Advice]:
    if horizon is None or not layers or not horizon.lstm.max() > 0:
        return
    reach, lags = horizon.reach(), len(horizon.lags)
    last = layers[-1]
    if reach < lags / 4:
        yield Advice(
            last.layer,
            last.direction,
            (),
            f"Inputs matter for {_steps(reach)}: further back, the derivative of the last hidden state is "
            f"below 1% of its maximum ({lags} lags measured).",
            "If the task needs more, try a higher forget_bias, longer windows (--context), or inputs that carry "
            "the past; if not, a shorter --context trains faster.",
        )


def _hidden(sizes: dict[int, int], layer: int, size: int) -> str:
    """Return the value of ``--hidden`` with another size of one layer: one for all, if they are of one size."""
    if len(set(sizes.values())) == 1:
        return str(size)
    return ",".join(str(size if number == layer else other) for number, other in sorted(sizes.items()))


def _share(count: int, of: int) -> str:
    return f"{round(100 * count / of)}%"


def _units(count: int) -> str:
    return "1 unit" if count == 1 else f"{count} units"


def _steps(count: int) -> str:
    return "1 step" if count == 1 else f"{count} steps"
