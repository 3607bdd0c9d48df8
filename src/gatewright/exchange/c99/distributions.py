"""Quantiles of a forecast's distribution in C99: of a normal one, and of a mixture of normals.

They are those of ``native/stream/distribution.cpp``, of location 0 and scale 1.
"""

from __future__ import annotations

from statistics import NormalDist

import numpy as np

from gatewright.exchange.c99.source import Source, literal, nested
from gatewright.spec import QuantileHead
from gatewright.spec.distributions import COMPONENTS

#: The families that are here.
FAMILIES = ("normal", "mixture")

_NORMAL = """\
/* Quantiles of the standard normal distribution. */
static void standard(const float* a, float* quantile)
{
    (void)a;
    for (int q = 0; q < MODEL_QUANTILES; ++q) quantile[q] = normal_score[q];
}
"""

_MIXTURE = """\
/* Quantiles of a mixture of $K normals: a has their locations, logs of their scales, logits of their weights. */
static void standard(const float* a, float* quantile)
{
    float scale[$K], weight[$K], largest = a[2 * $K], sum = 0.0f;
    for (int k = 1; k < $K; ++k) largest = a[2 * $K + k] > largest ? a[2 * $K + k] : largest;
    for (int k = 0; k < $K; ++k) {
        scale[k] = 1e-3f + exp_less(a[$K + k] > 20.0f ? 20.0f : a[$K + k], 0.0f);
        weight[k] = exp_less(a[2 * $K + k] - largest, 0.0f);
        sum += weight[k];
    }
    for (int q = 0; q < MODEL_QUANTILES; ++q) {
        const float side = normal_score[q] < 0.0f ? -1.0f : 1.0f;
        float low = a[0] + scale[0] * normal_score[q], high = low;
        for (int k = 1; k < $K; ++k) {
            const float x = a[k] + scale[k] * normal_score[q];
            low = x < low ? x : low;
            high = x > high ? x : high;
        }
        /* Newton's method within bounds that close in; halves them where it would leave them or is slow. */
        float x = low + 0.5f * (high - low), before = high - low;
        for (int n = 0; n < 100 && low < high; ++n) {
            float share = 0.0f, density = 0.0f; /* the share beyond x */
            for (int k = 0; k < $K; ++k) {
                const float z = (x - a[k]) / scale[k];
                share += weight[k] / sum * 0.5f * erfcf(side * z * 0.707106781f);
                density += weight[k] / sum / scale[k] * exp_less(-0.5f * z * z, 0.0f) * 0.398942280f;
            }
            const float excess = side * (tail[q] - share);
            if (excess < 0.0f)
                low = x;
            else
                high = x;
            float next = x - excess / density;
            if (!(next >= low && next <= high) || fabsf(next - x) > 0.5f * before)
                next = low + 0.5f * (high - low);
            before = fabsf(next - x);
            x = next;
            if (before <= 1e-7f * fabsf(x)) break;
        }
        quantile[q] = x;
    }
}
"""


def add(source: Source, head: QuantileHead) -> None:
    """Add the function of the quantiles of a head's distribution."""
    source.uses.add("exp_less")
    source.constants.append(_floats("normal_score", [NormalDist().inv_cdf(level) for level in head.quantiles]))
    if head.distribution == "normal":
        source.functions.append(_NORMAL)
    else:
        source.constants.append(_floats("tail", [min(level, 1 - level) for level in head.quantiles]))
        source.function(_MIXTURE, K=COMPONENTS)


def _floats(name: str, values: list[float]) -> str:
    return nested(f"static const float {name}", np.array(values), literal)
