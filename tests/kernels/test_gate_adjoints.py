"""The adjoint of the gates before activation, judged by dx and by the gradients of the weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gatewright import kernels
from gatewright.errors import GatewrightError

T, B, D = 5, 3, 4


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("H", [3, 21])
@pytest.mark.parametrize(
    ("args", "P"),
    [
        (kernels.SequenceArgs(), 0),
        (kernels.SequenceArgs(reverse=True, threads=2, split="units"), 2),
        (kernels.SequenceArgs([3, 2, 2, 1, 1], reverse=True), 0),
        (kernels.SequenceArgs([3, 2, 2, 1, 1], checkpoint=1, threads=2, split="rows"), 2),
    ],
)
def test_products_of_it_are_the_other_adjoints(dtype: str, H: int, args: kernels.SequenceArgs, P: int) -> None:
    rng = np.random.default_rng(0)

    def random(*shape: int) -> Any:
        return rng.standard_normal(shape).astype(dtype)

    out = P or H
    rows = (T, B) if args.batch_sizes is None else (sum(args.batch_sizes),)
    W_hr = random(P, H) if P else None
    weights = kernels.LayerWeights(random(4 * H, D), random(4 * H, out), random(4 * H), random(4 * H), W_hr)
    inputs = kernels.Inputs(random(*rows, D), random(B, out), random(B, H))
    kept = kernels.forward(*inputs, weights, args, keep=True)
    d = kernels.OutputGradients(random(*rows, out), random(B, out), random(B, H))
    dpre = np.full((*rows, 4 * H), np.nan, dtype)
    found = kernels.backward(d, inputs, kept, weights, args, kernels.Wanted(gates=dpre))
    alone = np.full_like(dpre, np.nan)
    kernels.backward(d, inputs, kept, weights, args, kernels.Wanted(False, False, alone))
    assert np.array_equal(dpre, alone)
    plain = kernels.backward(d, inputs, kept, weights, args)
    assert all(np.array_equal(a, b) for a, b in zip(found, plain, strict=True) if a is not None)

    flat, x = dpre.reshape(-1, 4 * H).astype("float64"), inputs.x.reshape(-1, D).astype("float64")
    tolerance = {"rtol": 1e-4, "atol": 1e-4} if dtype == "float32" else {"rtol": 1e-11, "atol": 1e-12}
    np.testing.assert_allclose(found.dx.reshape(-1, D), flat @ weights.W_ih, **tolerance)
    np.testing.assert_allclose(found.dW_ih, flat.T @ x, **tolerance)
    np.testing.assert_allclose(found.db, flat.sum(0), **tolerance)


def test_memory_that_does_not_fit_is_refused() -> None:
    weights = kernels.LayerWeights(np.zeros((8, 3)), np.zeros((8, 2)))
    inputs = kernels.Inputs(np.ones((5, 1, 3)), np.zeros((1, 2)), np.zeros((1, 2)))
    kept = kernels.forward(*inputs, weights, keep=True)
    d = kernels.OutputGradients(dc_n=np.ones((1, 2)))
    with pytest.raises(GatewrightError, match=r"^wanted.gates: expected shape \(5, 1, 8\), got \(5, 1, 2\)"):
        kernels.backward(d, inputs, kept, weights, wanted=kernels.Wanted(gates=np.zeros((5, 1, 2))))
    with pytest.raises(GatewrightError, match=r"^wanted.gates: expected float64, as the other arguments"):
        kernels.backward(d, inputs, kept, weights, wanted=kernels.Wanted(gates=np.zeros((5, 1, 8), "float32")))
