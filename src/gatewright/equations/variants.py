"""One step of the general cell, and below it its adjoint: every feature of `CellSpec`, in the order of a step.

    z = W_ih x + W_hh (k ⊙ h)                        k: dropout of the hidden state (Gal & Ghahramani 2016)
    z ← w_ln ⊙ (z - mean) / sqrt(var + 1e-5)         layer normalisation, gate by gate (Ba et al. 2016)
    i = σ(z_i + b_i + w_ci ⊙ c)                      peepholes (Gers & Schmidhuber 2000)
    f = σ(z_f + b_f + w_cf ⊙ c)                      coupled: i = 1 - f (Greff et al. 2017)
    g = tanh(z_g + b_g) ⊙ d                          d: dropout of the candidate (Semeniuta et al. 2016)
    c' = clip(f ⊙ c + i ⊙ g)                         clipping (Sak et al. 2014)
    c' ← ζ_c ⊙ c + (1 - ζ_c) ⊙ c'                    zoneout (Krueger et al. 2017)
    o = σ(z_o + b_o + w_co ⊙ c')
    h' = o ⊙ tanh(w ⊙ (c' - mean) / sqrt(var + 1e-5) + b)       w = b = none without layer normalisation
    h' ← ζ_h ⊙ h + (1 - ζ_h) ⊙ h'                    zoneout; or else the projection: h' ← W_hr h'

In training ζ is 1 where a unit is met, else 0; outside of training it is the rate itself, and there is no dropout.
σ and tanh are the activations of the cell.  A gate that is left out is 1 (Greff et al. 2017: NIG, NFG, NOG).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from gatewright.bfloat16 import chain, product
from gatewright.equations.arrays import Array, sigmoid
from gatewright.equations.masks import StepMasks
from gatewright.equations.record import Record
from gatewright.spec.cell import LAYER_NORM_EPSILON, CellSpec, LayerWeights

#: Gates that read the cell state through peepholes, in the order of the weights.
PEEPHOLES = ("input_gate", "forget_gate", "output_gate")

NO_MASKS = StepMasks()


def step(
    x: Array,
    h: Array,
    c: Array,
    weights: LayerWeights,
    cell: CellSpec,
    masks: StepMasks | None = None,
    *,
    bf16: bool = False,
) -> Record:
    """Advance one step of the general cell; shapes as for `gatewright.equations.step`, which checks them.

    Args:
        x: input.
        h: hidden state before the step.
        c: cell state before the step.
        weights: of the gates that the cell has.
        cell: any cell.
        masks: the random choices of training; None outside of training.
        bf16: whether products are those of bf16 arithmetic.
    """
    chosen = masks or NO_MASKS
    z = normalised_gates(x, h, weights, cell, chosen, bf16=bf16)
    w_c = peepholes(weights, cell)
    gates = {name: np.ones_like(c) for name in PEEPHOLES}
    for name in ("input_gate", "forget_gate"):
        if name in z:
            pre = z[name] + w_c[name] * c if name in w_c else z[name]
            gates[name] = activated(cell.gate_activation, pre)
    if cell.coupled:
        gates["input_gate"] = 1 - gates["forget_gate"]
    i, f = gates["input_gate"], gates["forget_gate"]
    g = activated(cell.candidate_activation, z["candidate"])
    if chosen.candidate is not None:
        g = g * chosen.candidate

    unclipped = f * c + i * g
    clipped = np.clip(unclipped, -cell.cell_clip, cell.cell_clip) if cell.cell_clip else unclipped
    c_next = zoned(c, clipped, cell.zoneout_cell, chosen.zoneout_cell, training=masks is not None)
    kept: Array | None = None
    written: Array | None = None
    if cell.cell_clip or cell.zoneout_cell:
        one, none = np.ones(c.shape, c.dtype), np.zeros(c.shape, c.dtype)
        share: Array = np.divide(clipped, unclipped, out=np.ones_like(c), where=clipped != unclipped)
        training = masks is not None
        kept = zoned(one, share * f, cell.zoneout_cell, chosen.zoneout_cell, training=training)
        written = zoned(none, share * (i * g), cell.zoneout_cell, chosen.zoneout_cell, training=training)

    if "output_gate" in z:
        pre = z["output_gate"]
        pre = pre + w_c["output_gate"] * c_next if "output_gate" in w_c else pre
        gates["output_gate"] = activated(cell.gate_activation, pre)
    o = gates["output_gate"]
    m: Array = o * activated(cell.output_activation, shown(c_next, weights, cell))
    h_next = m
    if weights.W_hr is not None:
        h_next = chain(np.zeros((), x.dtype), m, weights.W_hr) if bf16 else m @ weights.W_hr.T
    h_next = zoned(h, h_next, cell.zoneout_hidden, chosen.zoneout_hidden, training=masks is not None)
    return Record(i, f, g, o, c_next, h_next, c, h, kept, written)


@dataclass
class StepAdjoint:
    """The adjoint of a step: of what it reads, and its share of that of the weights, not yet summed over rows.

    Attributes:
        dz: of the product W_ih x + W_hh h, (B, GH), for G gates.
        dh: of the hidden state before the step.
        dc: of the cell state before the step.
        dh_new: of the projected hidden state before zoneout, (B, P).
        m: the hidden state before its projection, (B, H).
        h_read: what W_hh reads, (B, P).
        weights: of biases, peepholes and the weights of layer normalisation, each (B, size).
    """

    dz: Array
    dh: Array
    dc: Array
    dh_new: Array
    m: Array
    h_read: Array
    weights: dict[str, Array] = field(default_factory=dict)


def step_adjoint(
    r: Record,
    x: Array,
    d: Record,
    weights: LayerWeights,
    cell: CellSpec,
    masks: StepMasks | None,
    *,
    bf16: bool = False,
) -> StepAdjoint:
    """Go back through the `step` that gave the record r: its lines, from the last to the first.

    Args:
        r: the record of the step.
        x: its input.
        d: the adjoint of each gate and of both next states, from outside of the step.
        weights: as `step` had them, as are cell, masks and bf16.
        cell: the cell.
        masks: the random choices of training.
        bf16: whether products are those of bf16 arithmetic.
    """
    chosen, multiply = masks or NO_MASKS, product if bf16 else np.matmul
    i, f, g = r.input_gate, r.forget_gate, r.candidate
    c, h, w_c = r.cell_initial, r.hidden_initial, peepholes(weights, cell)
    training = masks is not None

    dh, dh_new = zoned_adjoint(d.hidden, cell.zoneout_hidden, chosen.zoneout_hidden, training=training)
    dm = dh_new if weights.W_hr is None else multiply(dh_new, weights.W_hr)
    m, dc_next, d_pre, d_weights = _output_adjoint(r, dm, d, weights, cell)
    dc, d_clipped = zoned_adjoint(dc_next, cell.zoneout_cell, chosen.zoneout_cell, training=training)
    if cell.cell_clip:
        d_clipped = np.where(np.abs(f * c + i * g) <= cell.cell_clip, d_clipped, 0)
    di, df, dg = d.input_gate + d_clipped * g, d.forget_gate + d_clipped * c, d.candidate + d_clipped * i
    dc = dc + d_clipped * f

    if chosen.candidate is not None:  # g is after dropout
        dg = dg * chosen.candidate
        g = np.divide(g, chosen.candidate, out=np.zeros_like(g), where=chosen.candidate != 0)
    d_pre["candidate"] = dg * slope(cell.candidate_activation, g)
    if cell.coupled:
        df = df - di
    elif cell.input_gate:
        d_pre["input_gate"] = di * slope(cell.gate_activation, i)
    if cell.forget_gate:
        d_pre["forget_gate"] = df * slope(cell.gate_activation, f)
    for name in ("input_gate", "forget_gate"):
        if name in w_c:
            dc = dc + d_pre[name] * w_c[name]
    if w_c:
        reads = {"input_gate": c, "forget_gate": c, "output_gate": r.cell}
        d_weights["dw_ch"] = np.concatenate([d_pre[name] * reads[name] for name in w_c], axis=-1)

    d_weights["db"] = np.concatenate([d_pre[name] for name in cell.gates()], axis=-1)
    h_read = h if chosen.hidden is None else h * chosen.hidden
    dz = d_weights["db"]
    if cell.layer_norm:
        dz, d_weights["dw_ln"] = _gates_adjoint(dz, x, h_read, weights, cell, bf16=bf16)
    dh_read = multiply(dz, weights.W_hh)
    dh = dh + (dh_read if chosen.hidden is None else dh_read * chosen.hidden)
    return StepAdjoint(dz, dh, dc, dh_new, m, h_read, d_weights)


def _output_adjoint(
    r: Record, dm: Array, d: Record, weights: LayerWeights, cell: CellSpec
) -> tuple[Array, Array, dict[str, Array], dict[str, Array]]:
    """Go back from m = o ⊙ tanh(norm(c')) to c'.

    Returns:
        m; the adjoints of c', of the output gate before activation, and of the weights of layer normalisation.
    """
    o = r.output_gate
    d_pre: dict[str, Array] = {}
    d_weights: dict[str, Array] = {}
    s = activated(cell.output_activation, shown(r.cell, weights, cell))
    do = d.output_gate + dm * s
    du: Array = dm * o * slope(cell.output_activation, s)
    if cell.layer_norm:
        n, deviation = normalised(r.cell)
        d_weights = {"dw_ln_cell": du * n, "db_ln_cell": du}
        du = normalised_adjoint(du * weights.w_ln_cell, n, deviation)
    dc_next = d.cell + du
    if cell.output_gate:
        d_pre["output_gate"] = do * slope(cell.gate_activation, o)
        if cell.peephole:
            dc_next = dc_next + d_pre["output_gate"] * peepholes(weights, cell)["output_gate"]
    return o * s, dc_next, d_pre, d_weights


def normalised_gates(
    x: Array, h: Array, weights: LayerWeights, cell: CellSpec, masks: StepMasks, *, bf16: bool
) -> dict[str, Array]:
    """Return each gate before peepholes and activation: normalised if the cell does so, then with its bias."""
    names = cell.gates()
    h = h if masks.hidden is None else h * masks.hidden
    biases = [b for b in (weights.b_ih, weights.b_hh) if b is not None]
    if not cell.layer_norm:
        return dict(zip(names, np.split(_products(x, h, weights, biases, bf16), len(names), axis=-1), strict=True))
    z = np.split(_products(x, h, weights, [], bf16), len(names), axis=-1)
    pre = np.concatenate([normalised(each)[0] for each in z], axis=-1) * weights.w_ln
    for b in biases:
        pre = pre + b
    return dict(zip(names, np.split(pre, len(names), axis=-1), strict=True))


def _products(x: Array, h: Array, weights: LayerWeights, biases: list[Array], bf16: bool) -> Array:
    """Return W_ih x + W_hh h and biases, (B, GH)."""
    if bf16:
        start: Array = chain(np.array(sum(biases), x.dtype), x, weights.W_ih)
        return chain(start, h, weights.W_hh)
    pre: Array = x @ weights.W_ih.T + h @ weights.W_hh.T
    for b in biases:
        pre = pre + b
    return pre


def _gates_adjoint(
    d_pre: Array, x: Array, h_read: Array, weights: LayerWeights, cell: CellSpec, *, bf16: bool
) -> tuple[Array, Array]:
    """Return the adjoints of the products and of the gains of layer normalisation, (B, GH)."""
    G = len(cell.gates())
    parts = [np.split(_products(x, h_read, weights, [], bf16), G, axis=-1)]
    parts += [np.split(each, G, axis=-1) for each in (d_pre * weights.w_ln, d_pre)]
    dz, dw = [], []
    for z, dn, d in zip(*parts, strict=True):
        n, deviation = normalised(z)
        dz.append(normalised_adjoint(dn, n, deviation))
        dw.append(d * n)
    return np.concatenate(dz, axis=-1), np.concatenate(dw, axis=-1)


def peepholes(weights: LayerWeights, cell: CellSpec) -> dict[str, Array]:
    """Return the peepholes of each gate that has them, (H,), in the order of the weights."""
    if not cell.peephole:
        return {}
    names = [name for name in cell.gates() if name in PEEPHOLES]
    return dict(zip(names, np.split(weights.w_ch, len(names)), strict=True))


def shown(c: Array, weights: LayerWeights, cell: CellSpec) -> Array:
    """Return what the output reads of the cell state, before its activation: c, or c normalised."""
    if not cell.layer_norm:
        return c
    read: Array = normalised(c)[0] * weights.w_ln_cell + weights.b_ln_cell
    return read


def normalised(z: Array) -> tuple[Array, Array]:
    """Return z less its mean over units, divided by its deviation; and that, sqrt(var + 1e-5).

    Equation: Ba, Kiros & Hinton 2016, arXiv:1607.06450, equation 4; the constant is that of `torch.nn.LayerNorm`.

    >>> normalised(np.array([1.0, 3.0]))[0].round(4)
    array([-1.,  1.])
    """
    centred = z - z.mean(axis=-1, keepdims=True)
    variance = (centred * centred).mean(axis=-1, keepdims=True)
    deviation = np.sqrt(variance + np.asarray(LAYER_NORM_EPSILON, z.dtype))
    return centred / deviation, deviation


def normalised_adjoint(dn: Array, n: Array, deviation: Array) -> Array:
    """Return the adjoint of z for n, deviation = `normalised` (z), and the adjoint of n."""
    along: Array = (dn * n).mean(axis=-1, keepdims=True)
    adjoint: Array = (dn - dn.mean(axis=-1, keepdims=True) - n * along) / deviation
    return adjoint


def zoned(before: Array, after: Array, rate: float, hit: Array | None, *, training: bool) -> Array:
    """Return a state after zoneout: in training the previous one where a unit is met, else the expectation.

    Equation: Krueger et al. 2017, arXiv:1606.01305, equation 5.
    """
    if not rate:
        return after
    if training:
        return np.where(hit, before, after)  # type: ignore[arg-type]
    z = np.asarray(rate, after.dtype)
    return z * before + (1 - z) * after


def zoned_adjoint(d: Array, rate: float, hit: Array | None, *, training: bool) -> tuple[Array, Array]:
    """Return the adjoints of the state before and of the one after, for that of `zoned`."""
    if not rate:
        return np.zeros_like(d), d
    if training:
        return np.where(hit, d, 0), np.where(hit, 0, d)  # type: ignore[arg-type]
    z = np.asarray(rate, d.dtype)
    return z * d, (1 - z) * d


def activated(name: str, z: Array) -> Array:
    """Return an activation of `GATE_ACTIVATIONS` or `STATE_ACTIVATIONS`.

    >>> activated("hard_sigmoid", np.array([-4.0, 0.0, 1.5])), activated("hard_tanh", np.array([-4.0, 0.5]))
    (array([0.  , 0.5 , 0.75]), array([-1. ,  0.5]))
    """
    if name == "sigmoid":
        return sigmoid(z)
    if name == "tanh":
        return np.tanh(z)
    if name == "hard_sigmoid":
        return np.clip(z / 6 + np.asarray(0.5, z.dtype), 0, 1)
    return np.clip(z, -1, 1) if name == "hard_tanh" else z


def slope(name: str, a: Array) -> Array:
    """Return the derivative of an activation where its value is a; 0 where a hard one is at its bounds."""
    if name == "sigmoid":
        return a * (1 - a)
    if name == "tanh":
        return 1 - a * a
    if name == "hard_sigmoid":
        return np.where((a > 0) & (a < 1), np.asarray(1 / 6, a.dtype), 0)
    return np.where(np.abs(a) < 1, np.ones_like(a), 0) if name == "hard_tanh" else np.ones_like(a)
