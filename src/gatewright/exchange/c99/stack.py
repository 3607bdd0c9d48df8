"""The layers of a model in C99, and what leads from their states to scores: pooling and the head."""

from __future__ import annotations

from gatewright.exchange.c99 import cells, slstm
from gatewright.exchange.c99.source import Source
from gatewright.files.model_file import ModelFile
from gatewright.runtime.classes import pooling_of
from gatewright.spec.cell import WEIGHTS, LayerWeights

_RESIDUAL = """\
    float y_l{n}[P_l{n}];
    for (int k = 0; k < P_l{n}; ++k) y_l{n}[k] = s->h_l{n}[k] + {below}[k];"""

_HEAD = """\
/* Scores: W y + b. */
static void head(const float* y, float* z)
{
    for (int k = 0; k < $out; ++k) {
        z[k] = head_bias[k];
        for (int j = 0; j < $P; ++j) z[k] += head_weight[k][j] * y[j];
    }
}
"""

_SUM = """\
/* sum += value, with what rounding left out of it so far. */
static void add(float* sum, float* rest, float value)
{
    const float wanted = value - *rest, next = *sum + wanted;
    *rest = next - *sum - wanted;
    *sum = next;
}
"""

_MEAN = """\
/* The mean of the hidden states so far. */
static void pool(model_state* s, const float* h, float* y)
{
    if (s->steps < UINT32_MAX) ++s->steps;
    for (int k = 0; k < $P; ++k) {
        add(&s->pooled[k], &s->rest[k], h[k]);
        y[k] = s->pooled[k] / (float)s->steps;
    }
}
"""

_MAX = """\
/* The largest hidden state so far, unit by unit. */
static void pool(model_state* s, const float* h, float* y)
{
    for (int k = 0; k < $P; ++k) {
        if (!s->began || h[k] > s->pooled[k]) s->pooled[k] = h[k];
        y[k] = s->pooled[k];
    }
    s->began = 1;
}
"""

_ATTENTION = """\
/* The mean of the hidden states so far with the weights e^(w h), all of them times e^-largest. */
static void pool(model_state* s, const float* h, float* y)
{
    float score = 0.0f;
    for (int k = 0; k < $P; ++k) score += pool_weight[k] * h[k];
    if (!s->began || score > s->largest) {
        const float less = s->began ? exp_less(s->largest - score, 0.0f) : 0.0f;
        for (int k = 0; k <= $P; ++k) {
            s->pooled[k] *= less;
            s->rest[k] *= less;
        }
        s->largest = score;
        s->began = 1;
    }
    const float weight = exp_less(score - s->largest, 0.0f);
    add(&s->pooled[$P], &s->rest[$P], weight);  /* the sum of the weights */
    for (int k = 0; k < $P; ++k) {
        add(&s->pooled[k], &s->rest[k], weight * h[k]);
        y[k] = s->pooled[k] / s->pooled[$P];
    }
}
"""

_POOLS = {"mean": _MEAN, "max": _MAX, "attention": _ATTENTION}


def add_layers(source: Source, file: ModelFile) -> str:
    """Add the layers of a model, and the statements of their steps, from ``x`` on.

    Returns:
        The name of what the last one gives.
    """
    stack = file.spec.lstm
    cell = stack.cell.in_evaluation()
    widths = (file.spec.input_size, *stack.output_sizes)
    below = "x"
    for n, H in enumerate(stack.hidden_sizes):
        arrays = [file.tensors.get(f"lstm.{name}_l{n}") for name in WEIGHTS]
        layer = cells.Layer(n, widths[n], H, widths[n + 1], LayerWeights(*arrays))
        (slstm if cell.is_slstm else cells).add(source, layer, cell)
        states = [f"s->{name}_l{n}" for name in ("hcnm" if cell.is_slstm else "hc")]
        source.step.append(f"    step_l{n}({', '.join([below, *states])});")
        if stack.residual and n:
            source.step.append(_RESIDUAL.format(n=n, below=below))
            below = f"y_l{n}"
        else:
            below = f"s->h_l{n}"
    return below


def add_pooling(source: Source, file: ModelFile, y: str) -> str:
    """Add the pooling of a classifier, if it has one, and its statement.

    Returns:
        The name of what the head reads.
    """
    pooling, P = pooling_of(file.spec), file.spec.lstm.output_size
    if not pooling:
        return y
    kept = P + (pooling == "attention")
    source.state.append(f"float pooled[{kept}];")
    if pooling != "max":
        source.state.append(f"float rest[{kept}];  /* what rounding left out of it */")
        source.functions.append(_SUM)
    if pooling == "attention":
        source.state.append("float largest;  /* score */")
        source.uses.add("exp_less")
        source.weights("pool_weight", file.tensors["pool.weight"].reshape(-1))
    source.state.append("uint32_t steps;" if pooling == "mean" else "uint32_t began;")
    source.function(_POOLS[pooling], P=P)
    source.step += [f"    float pooled[{P}];", f"    pool(s, {y}, pooled);"]
    return "pooled"


def add_head(source: Source, file: ModelFile) -> None:
    """Add the head of scores."""
    source.weights("head_weight", file.tensors["head.weight"])
    source.weights("head_bias", file.tensors["head.bias"])
    source.function(_HEAD, out=file.spec.output_size, P=file.spec.lstm.output_size)
