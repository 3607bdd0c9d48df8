"""Small problems for the kernels, and what `gatewright.equations` makes of them in float64."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright import equations, kernels

Array = NDArray[Any]

#: All targets that this machine runs; those with code of their own for float32 and float64; those for bfloat16.
SUPPORTED = [name for name, runs in kernels.info().targets.items() if runs]
_BF16 = [name for name in SUPPORTED if name not in ("avx512vnni", "avxvnni", "neondot")]
TARGETS = [name for name in _BF16 if name not in ("avx512bf16", "amx")]
BF16_TARGETS = [*_BF16, *(["amx-model"] if "avx512" in SUPPORTED else [])]
DTYPES = (np.float32, np.float64)
#: Relative to the largest value, or to 1 where that is less: near saturation, 1 - i has few digits left.
TOLERANCE = {np.dtype(np.float32): 1e-5, np.dtype(np.float64): 1e-12}
FORWARD = ("y", "h_n", "c_n", "gates", "cell")
BACKWARD = ("dx", "dh_0", "dc_0", "dW_ih", "dW_hh", "db", "dW_hr")


@dataclass(frozen=True)
class Problem:
    """All arguments of `kernels.forward` and `kernels.backward` but what the one leaves to the other."""

    x: Array
    h_0: Array
    c_0: Array
    weights: equations.Weights
    dy: Array | None
    dh_n: Array | None
    dc_n: Array | None
    dgates: Array | None = None
    dcell: Array | None = None
    batch_sizes: list[int] | None = None
    reverse: bool = False

    @property
    def inputs(self) -> kernels.Inputs:
        return kernels.Inputs(self.x, self.h_0, self.c_0)

    @property
    def d(self) -> kernels.OutputGradients:
        return kernels.OutputGradients(self.dy, self.dh_n, self.dc_n, self.dgates, self.dcell)

    def args(self, **options: Any) -> kernels.SequenceArgs:
        return kernels.SequenceArgs(**{"batch_sizes": self.batch_sizes, "reverse": self.reverse, **options})

    def place(self, b: int) -> Any:
        """Where the steps of row b stand in x, time ascending."""
        if self.batch_sizes is None:
            return slice(None), b
        starts = np.concatenate([[0], np.cumsum(self.batch_sizes)])
        return starts[: sum(size > b for size in self.batch_sizes)] + b

    def row(self, b: int) -> Problem:
        """The same row alone, as a batch of one."""
        place = self.place(b)
        steps = {name: getattr(self, name) for name in ("x", "dy", "dgates", "dcell")}
        states = {name: getattr(self, name) for name in ("h_0", "c_0", "dh_n", "dc_n")}
        return dataclasses.replace(
            self,
            batch_sizes=None,
            **{name: None if array is None else array[place][:, None] for name, array in steps.items()},
            **{name: None if array is None else array[b : b + 1] for name, array in states.items()},
        )


def made(
    T: int,
    B: int,
    D: int,
    H: int,
    P: int = 0,
    *,
    dtype: Any = np.float64,
    bias: bool = True,
    reverse: bool = False,
    batch_sizes: Sequence[int] | None = None,
    record: bool = False,
    seed: int = 0,
) -> Problem:
    """A problem of random numbers; weights are scaled so that errors do not grow from step to step."""
    draw = np.random.default_rng(seed)

    def random(*shape: int, scale: float = 1.0) -> Array:
        return (scale * draw.standard_normal(shape)).astype(dtype)

    out = P or H
    rows = (T, B) if batch_sizes is None else (sum(batch_sizes),)
    weights = equations.Weights(
        random(4 * H, D, scale=D**-0.5),
        random(4 * H, out, scale=H**-0.5),
        random(4 * H, scale=0.5) if bias else None,
        random(4 * H, scale=0.5) if bias else None,
        random(P, H, scale=max(H, P) ** -0.5) if P else None,
    )
    x, h_0, c_0 = random(*rows, D), random(B, out), random(B, H)
    d = random(*rows, out), random(B, out), random(B, H)
    recorded = (random(*rows, 4 * H), random(*rows, H)) if record else (None, None)
    sizes = None if batch_sizes is None else list(batch_sizes)
    return Problem(x, h_0, c_0, weights, *d, *recorded, batch_sizes=sizes, reverse=reverse)


def forward(problem: Problem, **options: Any) -> kernels.Forward:
    """Run `kernels.forward`; options are its own, or fields of its `SequenceArgs`."""
    own = {name: options.pop(name) for name in ("out", "keep") if name in options}
    return kernels.forward(*problem.inputs, problem.weights, problem.args(**options), **{"keep": True, **own})


def backward(problem: Problem, kept: kernels.Forward | kernels.Kept, /, **options: Any) -> kernels.Backward:
    own = {name: options.pop(name) for name in ("out", "wanted") if name in options}
    return kernels.backward(problem.d, problem.inputs, kept, problem.weights, problem.args(**options), **own)


def both(problem: Problem, **options: Any) -> dict[str, Array | None]:
    """Outputs, what is kept, and gradients, by name."""
    kept = forward(problem, **options)
    return {**kept._asdict(), **backward(problem, kept, **options)._asdict()}


def judged(problem: Problem) -> dict[str, Array | None]:
    """The same by `gatewright.equations` in float64, each row of the batch on its own."""

    def double(array: Array | None) -> Array | None:
        return None if array is None else array.astype(np.float64)

    weights = equations.Weights(*map(double, problem.weights))
    H, P = weights.hidden_size, weights.output_size
    rows = problem.x.shape[:-1]
    found: dict[str, Any] = {
        "y": np.zeros((*rows, P)), "h_n": np.array(problem.h_0, float), "c_n": np.array(problem.c_0, float),
        "gates": np.zeros((*rows, 4 * H)), "cell": np.zeros((*rows, H)), "dx": np.zeros(problem.x.shape),
        "dh_0": np.zeros(problem.h_0.shape), "dc_0": np.zeros(problem.c_0.shape),
        "dW_ih": np.zeros(weights.W_ih.shape), "dW_hh": np.zeros(weights.W_hh.shape), "db": np.zeros(4 * H),
        "dW_hr": None if weights.W_hr is None else np.zeros(weights.W_hr.shape),
    }  # fmt: skip
    # With a bias of zero where there is none, so that its gradient is there to be compared.
    zero = np.zeros(4 * H)
    weights = weights._replace(b_ih=zero if weights.b_ih is None else weights.b_ih)
    walk = slice(None, None, -1 if problem.reverse else 1)
    for b in range(len(problem.h_0)):
        place = problem.place(b)
        x, h_0, c_0 = double(problem.x[place][walk]), double(problem.h_0[b]), double(problem.c_0[b])
        y, record = equations.forward(x, weights, h_0, c_0)
        found["y"][place], found["h_n"][b], found["c_n"][b] = y[walk], record.h_n, record.c_n
        gates = record.input_gate, record.forget_gate, record.candidate, record.output_gate
        found["gates"][place], found["cell"][place] = np.concatenate(gates, -1)[walk], record.cell[walk]

        d_record = None
        if problem.dgates is not None and problem.dcell is not None:
            split = np.split(double(problem.dgates[place][walk]), 4, -1)
            unread = np.zeros_like(y), np.zeros(H), np.zeros(P)
            d_record = equations.Record(*split, double(problem.dcell[place][walk]), *unread)
        d = equations.backward(
            equations.OutputGradients(
                None if problem.dy is None else double(problem.dy[place][walk]),
                None if problem.dh_n is None else double(problem.dh_n[b]),
                None if problem.dc_n is None else double(problem.dc_n[b]),
                d_record,
            ),
            record,
            x,
            weights,
        )
        found["dx"][place], found["dh_0"][b], found["dc_0"][b] = d.dx[walk], d.dh_0, d.dc_0
        for name, gradient in (("dW_ih", d.dW_ih), ("dW_hh", d.dW_hh), ("db", d.db_ih), ("dW_hr", d.dW_hr)):
            if gradient is not None:
                found[name] += gradient
    return found


def assert_close(ours: dict[str, Array | None], judge: dict[str, Array | None], where: str = "") -> None:
    ours, judge = _present(ours), _present(judge)
    assert ours.keys() == judge.keys(), where
    for name, expected in judge.items():
        got = ours[name]
        assert got.shape == expected.shape, (where, name)
        if expected.size:
            error = np.abs(got - expected).max() / max(np.abs(expected).max(), 1.0)
            assert error <= TOLERANCE[got.dtype], (where, name, error)


def assert_same_bits(ours: dict[str, Array | None], theirs: dict[str, Array | None]) -> None:
    ours, theirs = _present(ours), _present(theirs)
    assert ours.keys() == theirs.keys()
    for name, expected in theirs.items():
        assert ours[name].shape == expected.shape, name
        assert ours[name].tobytes() == expected.tobytes(), name


def _present(arrays: dict[str, Array | None]) -> dict[str, Array]:
    return {name: array for name, array in arrays.items() if array is not None}


def fill_free_memory_with_nan() -> None:
    """Leave NaN in the memory from which results and workspaces are taken, in blocks of every size."""
    sizes = [n * 8 << power for power in range(16) for n in range(8, 16)]
    blocks = [kernels.sigmoid(np.zeros(size // 8)) for size in sizes for _ in range(2) if size <= 1 << 20]
    for block in blocks:
        block.fill(np.nan)
