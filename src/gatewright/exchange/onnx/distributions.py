"""Quantiles of distributions in an ONNX graph, in float64, as ``native/stream/distribution.cpp`` has them.

Student's t at a fixed level is a smooth function of 1 / degrees of freedom: a Chebyshev series of it, fitted to
the native quantiles when the graph is made.  Quantiles of a mixture are found by bisection in a Loop.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray

from gatewright.errors import GatewrightError
from gatewright.exchange.onnx.graph import Graph, Value, whole
from gatewright.spec import QuantileHead
from gatewright.spec.distributions import COMPONENTS

Array = NDArray[Any]
DOUBLE = 11
ZERO, HALF, ONE, TWO = (np.float64(each) for each in (0, 0.5, 1, 2))
_LARGEST_LOG, _LEAST_SCALE, _LEAST_COMPONENT = np.float64(20), np.float64(1e-4), np.float64(1e-3)
_LEAST_FREEDOM, _LARGEST_FREEDOM = np.float64(2), np.float64(1e4)

#: Halvings of the interval that holds a quantile of a mixture.
_HALVINGS = 64
#: Beyond it, erfc is below 1e-28.
_FARTHEST = np.float64(8)


def quantiles(g: Graph, head: QuantileHead, location: str, outputs: str) -> str:
    """Return the quantiles of the distributions of a head, in its units, (..., quantiles).

    Args:
        g: the graph.
        head: of a family with a location.
        location: first output, moved by what the encoder adds, (..., 1), float32.
        outputs: all outputs, (..., outputs), float32.
    """
    outputs = g("Cast", outputs, to=DOUBLE)
    levels = np.array(head.quantiles)
    standard: Any = _normal(levels)
    if head.distribution == "student-t":
        standard = _student_t(g, levels, _column(g, outputs, 2))
    elif head.distribution == "mixture":
        standard = _mixture(g, levels, outputs)
    scale = g("Add", _exponential(g, _column(g, outputs, 1)), _LEAST_SCALE)
    return str(g("Add", g("Cast", location, to=DOUBLE), g("Mul", scale, standard)))


def _column(g: Graph, outputs: str, first: int, count: int = 1) -> str:
    return str(g("Slice", outputs, whole(first), whole(first + count), whole(-1)))


def _exponential(g: Graph, logarithm: Value) -> str:
    return str(g("Exp", g("Min", logarithm, _LARGEST_LOG)))


def _normal(levels: Array) -> Array:
    return np.array([NormalDist().inv_cdf(level) for level in levels])


def _series(g: Graph, coefficients: Array, x: Value) -> Any:
    """Return a Chebyshev series by Clenshaw's recurrence; coefficients (terms, ...), x from -1 to 1."""
    double = g("Mul", x, TWO)
    last: Any = ZERO
    before: Any = ZERO
    for each in coefficients[:0:-1]:
        last, before = g("Sub", g("Add", g("Mul", double, last), each), before), last
    return g("Sub", g("Add", g("Mul", x, last), coefficients[0]), before)


def _student_t(g: Graph, levels: Array, outputs: str) -> Any:
    """Return the quantiles of Student's t, by the output that its degrees of freedom come from."""
    freedom = np.minimum(1 / np.linspace(1e-5, 0.5, 4001), 2 + 1e4)
    given = _inverse_softplus(freedom - 2).astype(np.float32)
    freedom = 2 + np.logaddexp(given.astype(np.float64), 0)
    exact = _native_student_t(given, levels)
    x = 4 / freedom - 1
    coefficients = chebyshev.chebfit(x[::2], exact[::2], 36)
    error = np.abs(chebyshev.chebval(x, coefficients).T - exact) / (1 + np.abs(exact))
    if not error.max() < 1e-7:
        sentence = (
            f"quantiles of Student's t at {levels[error.max(axis=0).argmax()]:g} have no series that is exact"
        )
        raise GatewrightError("quantiles", "levels nearer to 0.5", "this one", sentence=sentence)
    limited = g("Min", outputs, _LARGEST_FREEDOM)
    softplus = g("Add", g("Max", limited, ZERO), g("Log", g("Add", g("Exp", g("Neg", g("Abs", limited))), ONE)))
    inverse = g("Div", np.float64(4), g("Add", softplus, _LEAST_FREEDOM))
    return _series(g, coefficients, g("Sub", inverse, ONE))


def _inverse_softplus(y: Array) -> Array:
    return np.where(y > 30, y, np.log(np.expm1(np.minimum(np.maximum(y, 1e-12), 30))))


def _native_student_t(freedoms: Array, levels: Array) -> Array:
    from gatewright.native_module import _kernels
    from gatewright.spec import FAMILIES

    outputs = np.zeros((len(freedoms), 1, 3), np.float32)
    outputs[..., 2] = freedoms[:, None]
    found = _kernels.quantiles(outputs, FAMILIES["student-t"].number, list(levels), [1.0])
    return np.asarray(found).reshape(len(freedoms), len(levels)) / (1e-4 + 1)


def _mixture(g: Graph, levels: Array, outputs: str) -> str:
    """Return the quantiles of mixtures of normal distributions of location 0 and scale 1."""
    location, logarithm, logit = (
        g("Unsqueeze", _column(g, outputs, 2 + k * COMPONENTS, COMPONENTS), whole(-2)) for k in range(3)
    )
    scale = g("Add", _exponential(g, logarithm), _LEAST_COMPONENT)
    weight = g("Softmax", logit, axis=-1)
    each = g("Add", location, g("Mul", scale, _normal(levels)[:, None]))  # (..., levels, components)
    low, high = (g(f"Reduce{which}", each, whole(-1), keepdims=0) for which in ("Min", "Max"))
    body = g.within("halve")
    body.input(body.local("n"), np.int64)
    carries_on = body.input(body.local("carries_on"), np.bool_)
    shape = [f"axis{k}" for k in range(4)]
    ends = [body.input(body.local(name), np.float64, *shape, len(levels)) for name in ("low", "high")]
    middle = body("Mul", body("Add", *ends), HALF)
    # Of the share below and that above, the smaller one, without cancellation.
    lower = levels <= HALF
    z = body("Div", body("Sub", body("Unsqueeze", middle, whole(-1)), location), scale)
    z = body("Mul", z, np.where(lower, -1, 1)[:, None] * math.sqrt(0.5))
    share = body("ReduceSum", body("Mul", weight, body("Mul", _erfc(body, z), HALF)), whole(-1), keepdims=0)
    excess = body("Mul", body("Sub", share, np.minimum(levels, 1 - levels)), np.where(lower, 1.0, -1.0))
    above = body("Greater", excess, ZERO)
    body.output(body.local("on"), carries_on, np.bool_)
    body.output(body.local("low_next"), body("Where", above, ends[0], middle), np.float64, *shape, len(levels))
    body.output(body.local("high_next"), body("Where", above, middle, ends[1]), np.float64, *shape, len(levels))
    low, high = g("Loop", np.int64(_HALVINGS), np.bool_(True), low, high, outputs=2, body=body.proto())
    return str(g("Mul", g("Add", low, high), HALF))


def _erfc(g: Graph, z: str) -> Any:
    """Return erfc: t exp(-z^2 + a Chebyshev series of t = 2 / (2 + |z|)), which has no cancellation."""
    size = g("Min", g("Abs", z), _FARTHEST)
    t = g("Div", TWO, g("Add", size, TWO))
    least = 2 / (2 + float(_FARTHEST))
    x = g("Sub", g("Mul", g("Sub", t, np.float64(least)), np.float64(2 / (1 - least))), ONE)
    tail = g("Exp", g("Sub", _series(g, _erfc_series(least), x), g("Mul", size, size)))
    return g("Where", g("Less", z, ZERO), g("Sub", TWO, tail), tail)


def _erfc_series(least: float) -> Array:
    """Return the coefficients of log erfc(z) + z^2 by t."""

    def value(x: Sequence[float]) -> Array:
        t = least + (np.asarray(x) + 1) * (1 - least) / 2
        z = 2 / t - 2
        return np.array([math.log(math.erfc(each)) + each * each for each in z])

    interpolated: Callable[..., Array] = chebyshev.chebinterpolate
    return interpolated(value, 28)
