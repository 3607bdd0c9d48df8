"""A layer of LSTM cells in C99: one step, with every feature of `CellSpec` but those of the sLSTM.

The equations are those of `gatewright.equations.variants`, in this order.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from gatewright.exchange.c99.arithmetic import ACTIVATIONS
from gatewright.exchange.c99.source import Source, filled, literal
from gatewright.spec.cell import CellSpec, LayerWeights

#: Letter of each gate.
LETTERS = {"input_gate": "i", "forget_gate": "f", "candidate": "g", "output_gate": "o"}

_STEP = """\
/* Layer $n: one step of D = $D inputs, H = $H units$projected. */
static void step_l$n(const float* x, float* h, float* c)
{
    $z_array
    float m[H_l$n];  /* the next h$before_projection */
    $products_first
    for (int k = 0; k < H_l$n; ++k) {
        $gates
        $input
        $forget
        const float g = $candidate;
        float c_next = $c_next;
        $clip
        $zoneout
        c[k] = c_next;
        $output
    }
    $shown
    $hidden
}
"""

_NORMALISED = """\
    float z[$G][H_l$n];  /* the gates before activation */
    for (int k = 0; k < H_l$n; ++k) {
$products
$kept
    }
    for (int k = 0; k < $G; ++k) normalise(z[k], H_l$n);"""

_SHOWN = """\
    float u[H_l$n];  /* the cell state that the output reads */
    for (int k = 0; k < H_l$n; ++k) u[k] = c[k];
    normalise(u, H_l$n);
    for (int k = 0; k < H_l$n; ++k) m[k] *= $activation(w_ln_cell_l$n[k] * u[k] + b_ln_cell_l$n[k]);"""

_PROJECTION = """\
    for (int p = 0; p < P_l$n; ++p) {
        float sum = 0.0f;
        for (int k = 0; k < H_l$n; ++k) sum += W_hr_l$n[p][k] * m[k];
        h[p] = sum;
    }"""


class Layer(NamedTuple):
    """A layer of a stack.

    Attributes:
        number: its number.
        D: width of its input.
        H: its units.
        P: width of its hidden state.
        weights: with rows of the gates that the cell has.
    """

    number: int
    D: int
    H: int
    P: int
    weights: LayerWeights


def sizes(layer: Layer) -> str:
    """Return the definition of the sizes of a layer."""
    n, D, H, P = layer[:4]
    return f"enum {{ D_l{n} = {D}, H_l{n} = {H}, P_l{n} = {P} }};\n"


def add(source: Source, layer: Layer, cell: CellSpec) -> None:
    """Add the weights of a layer and the function of its step."""
    n = layer.number
    letters = [LETTERS[name] for name in cell.gates()]
    add_weights(source, layer, len(letters))
    source.state += [f"float h_l{n}[{layer.P}], c_l{n}[{layer.H}];"]
    if cell.layer_norm:
        source.includes.add("math.h")
        source.uses.add("normalise")
    for name in (cell.gate_activation, cell.candidate_activation, cell.output_activation):
        source.uses |= {ACTIVATIONS[name]} - {""}
    if not set(letters) - {"g"}:
        source.uses -= {"sigmoid"}
    source.function(
        _STEP,
        n=n,
        D=layer.D,
        H=layer.H,
        projected=f", h of P = {layer.P} numbers" if cell.proj_size else "",
        before_projection=" before its projection" if cell.proj_size else "",
        z_array="",
        **_gates(n, cell, letters, int8=source.int8),
        **_states(cell),
        **_ends(n, cell, letters),
    )


def add_weights(source: Source, layer: Layer, gates: int) -> None:
    """Add the weights of a layer, gates next to each other: [unit][column][gate]."""
    n, H, W = layer.number, layer.H, layer.weights

    def by_unit(array: Any) -> Any:
        return np.moveaxis(array.reshape(gates, H, *array.shape[1:]), 0, -1)

    source.constants.append(sizes(layer))
    for name, array in (("W_ih", W.W_ih), ("W_hh", W.W_hh)):
        if source.int8:
            whole, unit = _whole(array)
            source.whole_numbers(f"{name}_l{n}", by_unit(whole))
            source.weights(f"{name}_unit_l{n}", by_unit(unit))
        else:
            source.weights(f"{name}_l{n}", by_unit(array))
    source.weights(f"b_l{n}", by_unit(W.b_ih + W.b_hh))
    if W.W_hr is not None:
        source.weights(f"W_hr_l{n}", W.W_hr)
    if W.w_ch is not None:
        source.weights(f"w_ch_l{n}", W.w_ch.reshape(gates - 1, H))
    if W.w_ln is not None:
        source.weights(f"w_ln_l{n}", by_unit(W.w_ln))
        source.weights(f"w_ln_cell_l{n}", W.w_ln_cell)
        source.weights(f"b_ln_cell_l{n}", W.b_ln_cell)


def _whole(W: Any) -> tuple[Any, Any]:
    """Return the nearest whole numbers from -127 to 127 of a matrix, and the unit of each row: as int8-float32."""
    unit = np.abs(W).max(axis=1) / np.float32(127)
    return np.rint(W / np.where(unit > 0, unit, np.float32(1))[:, None]), unit


def products(n: int, letters: list[str], start: str, h: str = "h", width: str = "") -> str:
    """Return the sums of a unit k: those of W_ih x, and of W_hh h, on top of where they start."""
    starts = ", ".join(f"z_{letter} = {start.format(k=k)}" for k, letter in enumerate(letters))
    lines = [f"        float {starts};"]
    for array, vector, size in (("W_ih", "x", f"D_l{n}"), ("W_hh", h, width or f"P_l{n}")):
        lines.append(f"        for (int j = 0; j < {size}; ++j) {{")
        lines.append(f"            const float* const w = {array}_l{n}[k][j];")
        lines += [f"            z_{letter} += w[{k}] * {vector}[j];" for k, letter in enumerate(letters)]
        lines.append("        }")
    return "\n".join(lines)


def _products_of_int8(n: int, letters: list[str]) -> str:
    """Return the sums of a unit k, each in units of a row of its matrix."""
    start = "b_l{n}[k][{k}]"
    lines = []
    for array, vector, size in (("W_ih", "x", "D"), ("W_hh", "h", "P")):
        sums = ", ".join(f"{vector}_{letter} = 0.0f" for letter in letters)
        lines += [f"        float {sums};", f"        for (int j = 0; j < {size}_l{n}; ++j) {{"]
        lines.append(f"            const int8_t* const w = {array}_l{n}[k][j];")
        lines += [f"            {vector}_{each} += (float)w[{k}] * {vector}[j];" for k, each in enumerate(letters)]
        lines.append("        }")
    for k, each in enumerate(letters):
        sums = f"W_ih_unit_l{n}[k][{k}] * x_{each} + W_hh_unit_l{n}[k][{k}] * h_{each}"
        lines.append(f"        const float z_{each} = {start.format(n=n, k=k)} + {sums};")
    return "\n".join(lines)


def _gates(n: int, cell: CellSpec, letters: list[str], *, int8: bool) -> dict[str, str]:
    """Return the statements from x and h to the gates before activation."""
    if int8:  # of plain cells alone
        return {"products_first": "", "gates": _products_of_int8(n, letters).strip()}
    if not cell.layer_norm:
        return {"products_first": "", "gates": products(n, letters, f"b_l{n}[k][{{k}}]").strip()}
    kept = "\n".join(f"        z[{k}][k] = z_{letter};" for k, letter in enumerate(letters))
    parts = {"G": len(letters), "n": n, "products": products(n, letters, "0.0f"), "kept": kept}
    first = filled(_NORMALISED, **parts).strip()
    scaled = ", ".join(
        f"z_{each} = w_ln_l{n}[k][{k}] * z[{k}][k] + b_l{n}[k][{k}]" for k, each in enumerate(letters)
    )
    return {"products_first": first, "gates": f"const float {scaled};"}


def _states(cell: CellSpec) -> dict[str, str]:
    """Return the statements from the gates to the next cell state, but for peepholes."""
    i = "i * g" if cell.coupled or cell.input_gate else "g"
    f = "f * c[k]" if cell.forget_gate else "c[k]"
    clip, rate = literal(cell.cell_clip), cell.zoneout_cell
    return {
        "candidate": f"{ACTIVATIONS[cell.candidate_activation]}(z_g)".removeprefix("(z_g)") or "z_g",
        "c_next": f"{f} + {i}",
        "clip": f"c_next = c_next < -{clip} ? -{clip} : c_next > {clip} ? {clip} : c_next;"
        if cell.cell_clip
        else "",
        "zoneout": f"c_next = {literal(rate)} * c[k] + {literal(1 - rate)} * c_next;" if rate else "",
    }


def _ends(n: int, cell: CellSpec, letters: list[str]) -> dict[str, str]:
    """Return the statements of the gates, and those from the next cell state to the next hidden state."""
    reading = [letter for letter in letters if letter != "g"]

    def gate(letter: str, state: str) -> str:
        peephole = f" + w_ch_l{n}[{reading.index(letter)}][k] * {state}" if cell.peephole else ""
        return f"{ACTIVATIONS[cell.gate_activation]}(z_{letter}{peephole})"

    forget = f"const float f = {gate('f', 'c[k]')};" if cell.forget_gate else ""
    own_input = f"const float i = {gate('i', 'c[k]')};" if "i" in letters else ""
    o = gate("o", "c_next") if cell.output_gate else ""
    shown = ACTIVATIONS[cell.output_activation]
    if cell.layer_norm:
        output = f"m[k] = {o or '1.0f'};"
    else:
        output = "m[k] = " + " * ".join(filter(None, [o, f"{shown}(c_next)"])) + ";"
        output = output.replace("= (c_next)", "= c_next").replace("* (c_next)", "* c_next")
    rate = cell.zoneout_hidden
    kept = f"{literal(rate)} * h[k] + {literal(1 - rate)} * m[k]" if rate else "m[k]"
    hidden = f"for (int k = 0; k < P_l{n}; ++k) h[k] = {kept};"
    return {
        # The input gate of a coupled cell follows from the forget gate.
        "input": own_input,
        "forget": forget + ("\n        const float i = 1.0f - f;" if cell.coupled else ""),
        "output": output,
        "shown": filled(_SHOWN, n=n, activation=shown).strip() if cell.layer_norm else "",
        "hidden": filled(_PROJECTION, n=n).strip() if cell.proj_size else hidden,
    }
