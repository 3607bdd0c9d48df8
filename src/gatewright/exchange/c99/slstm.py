"""A layer of sLSTM cells in C99: one step, by the equations of `gatewright.equations.slstm`."""

from __future__ import annotations

from gatewright.exchange.c99.cells import Layer, add_weights, products
from gatewright.exchange.c99.source import Source
from gatewright.spec.cell import CellSpec

_STEP = """\
/* Layer $n: one step of D = $D inputs and H = $H units, in heads of $S units that read each other's h alone. */
static void step_l$n(const float* x, float* h, float* c, float* n, float* m)
{
    float next[H_l$n];
    for (int k = 0; k < H_l$n; ++k) {
        const float* const own = h + k / $S * $S;
        $gates
        const float log_f = $log_f;
        /* Where n is 0 nothing was read yet, and m counts for nothing. */
        const float kept = log_f + m[k], largest = n[k] > 0.0f && kept > z_i ? kept : z_i;
        const float f = n[k] > 0.0f ? exp_less(kept - largest, 0.0f) : 0.0f, i = exp_less(z_i - largest, 0.0f);
        m[k] = largest;
        c[k] = f * c[k] + i * tanh_of(z_g);
        n[k] = f * n[k] + i;
        next[k] = sigmoid(z_o) * (c[k] / n[k]);
    }
    for (int k = 0; k < H_l$n; ++k) h[k] = next[k];
}
"""


def add(source: Source, layer: Layer, cell: CellSpec) -> None:
    """Add the weights of a layer and the function of its step."""
    n, H = layer.number, layer.H
    width = H // cell.heads
    add_weights(source, layer, 4)
    source.state.append(f"float h_l{n}[{H}], c_l{n}[{H}], n_l{n}[{H}], m_l{n}[{H}];")
    source.uses |= {"exp_less", "sigmoid", "tanh_of"}
    exponential = cell.forget_gate_activation == "exponential"
    if not exponential:
        source.uses.add("log_sigmoid")
    source.function(
        _STEP,
        n=n,
        D=layer.D,
        H=H,
        S=width,
        gates=products(n, list("ifgo"), f"b_l{n}[k][{{k}}]", "own", str(width)).strip(),
        log_f="z_f" if exponential else "log_sigmoid(z_f)",
    )
