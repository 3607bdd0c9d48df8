"""Functions of single numbers in the C99 source: exponential, sigmoid, tanh and what the sLSTM needs.

They are those of ``native/kernels/activations.h``, in float alone, which a Cortex-M4 has in hardware, and call no
C library.
"""

from __future__ import annotations

from collections.abc import Iterable

_EXP = """\
/* e^x - less, where less is 0 or 1: 2^n e^r - less, with |r| at most log(2) / 2.  Of x from -87 to 88. */
static float exp_less(float x, float less)
{
    union { uint32_t bits; float number; } power;
    x = x < -87.0f ? -87.0f : x > 88.0f ? 88.0f : x;
    const int32_t n = (int32_t)(x * 1.44269504f + (x < 0.0f ? -0.5f : 0.5f));
    const float r = x - (float)n * 0.693359375f + (float)n * 2.12194440e-4f;
    float p = 0.00139461086f;
    p = p * r + 0.00836640718f;
    p = p * r + 0.0416662890f;
    p = p * r + 0.166665450f;
    p = p * r + 0.500000006f;
    power.bits = (uint32_t)(n + 127) << 23;
    return power.number * (r + r * r * p) + (power.number - less);
}
"""

_SIGMOID = """\
/* 1 / (1 + e^-x) */
static float sigmoid(float x)
{
    return 1.0f / (2.0f + exp_less(-x, 1.0f));
}
"""

_TANH = """\
/* m / (2 - m) with m = 1 - e^-2|x|, and the sign of x */
static float tanh_of(float x)
{
    const float m = -exp_less(x < 0.0f ? 2.0f * x : -2.0f * x, 1.0f);
    return (x < 0.0f ? -m : m) / (2.0f - m);
}
"""

_LOG_SIGMOID = """\
/* min(x, 0) - log(1 + e) with e = e^-|x|; the logarithm is 2 artanh(s) with s = e / (2 + e) */
static float log_sigmoid(float x)
{
    const float e = exp_less(x < 0.0f ? x : -x, 0.0f);
    const float s = e / (2.0f + e), u = s * s;
    float q = 0.232537827f;
    q = q * u + 0.217000419f;
    q = q * u + 0.285928107f;
    q = q * u + 0.399996963f;
    q = q * u + 0.666666674f;
    return (x < 0.0f ? x : 0.0f) - (e - s * (e - u * q));
}
"""

_HARD_SIGMOID = """\
static float hard_sigmoid(float x)
{
    const float y = x / 6.0f + 0.5f;
    return y < 0.0f ? 0.0f : y > 1.0f ? 1.0f : y;
}
"""

_HARD_TANH = """\
static float hard_tanh(float x)
{
    return x < -1.0f ? -1.0f : x > 1.0f ? 1.0f : x;
}
"""

_NORMALISE = """\
/* z less its mean, over its standard deviation */
static void normalise(float* z, int count)
{
    float mean = 0.0f, variance = 0.0f;
    for (int k = 0; k < count; ++k) mean += z[k];
    mean /= (float)count;
    for (int k = 0; k < count; ++k) {
        z[k] -= mean;
        variance += z[k] * z[k];
    }
    const float deviation = sqrtf(variance / (float)count + 1e-5f);
    for (int k = 0; k < count; ++k) z[k] /= deviation;
}
"""

_FUNCTIONS = {
    "exp_less": _EXP,
    "sigmoid": _SIGMOID,
    "tanh_of": _TANH,
    "log_sigmoid": _LOG_SIGMOID,
    "hard_sigmoid": _HARD_SIGMOID,
    "hard_tanh": _HARD_TANH,
    "normalise": _NORMALISE,
}

#: Names of the activations of cells in the C source; the identity is left out.
ACTIVATIONS = {
    "sigmoid": "sigmoid",
    "tanh": "tanh_of",
    "hard_sigmoid": "hard_sigmoid",
    "hard_tanh": "hard_tanh",
    "identity": "",
}

_USES_EXP = {"sigmoid", "tanh_of", "log_sigmoid"}


def functions(uses: Iterable[str]) -> list[str]:
    """Return the definitions of the functions of these names, and of those that they call."""
    wanted = set(uses)
    if wanted & _USES_EXP:
        wanted.add("exp_less")
    return [text for name, text in _FUNCTIONS.items() if name in wanted]
