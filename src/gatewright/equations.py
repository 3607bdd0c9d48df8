"""The LSTM cell in NumPy, one layer and one direction: its equations and, below each, their adjoint.

This file judges every kernel of the project, so it is written to be read, not to be fast.

    i = σ(W_ii x + b_ii + W_hi h + b_hi)        c' = f ⊙ c + i ⊙ g
    f = σ(W_if x + b_if + W_hf h + b_hf)        h' = o ⊙ tanh(c')
    g = tanh(W_ig x + b_ig + W_hg h + b_hg)
    o = σ(W_io x + b_io + W_ho h + b_ho)        with a projection: h' = W_hr (o ⊙ tanh(c'))

A name with `_pre` is a value before its activation; `d` before a name makes it the adjoint, the gradient of
the loss with respect to it.  Sizes: T steps, B rows of the batch, D inputs, H hidden units, and P outputs,
which is H without a projection.  Arrays keep the float dtype they come in, and all of one call share it.
To run a sequence from its end, give `x[::-1]`.

With `compute="bf16"` they are the numbers of the kernels' bf16 arithmetic: both operands of every product with a
weight, and of the products whose sum is the gradient of one, are rounded to bfloat16 by `bfloat16.to_bf16`; sums,
gates and states stay float32.  The forward pass forms its sums in the order of the kernels (`bfloat16.chain`), so
that only the last digits of sigmoid and tanh differ; the backward pass sums in float64.

Sources:
    Hochreiter & Schmidhuber 1997, Long Short-Term Memory, Neural Computation 9(8): the cell and two gates.
    Gers, Schmidhuber & Cummins 2000, Learning to Forget, Neural Computation 12(10): the forget gate.
    Sak, Senior & Beaufays 2014, Long Short-Term Memory Recurrent Neural Network Architectures for Large Scale
    Acoustic Modeling, Interspeech: the projection.
    Greff, Srivastava, Koutník, Steunebrink & Schmidhuber 2017, LSTM: A Search Space Odyssey, IEEE Trans. on
    Neural Networks and Learning Systems 28(10), section II: both passes, there with peepholes besides.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from gatewright.bfloat16 import chain, product, to_bf16
from gatewright.errors import GatewrightError
from gatewright.spec.cell import CellSpec, LayerWeights

if TYPE_CHECKING:
    from typing_extensions import Self

Array: TypeAlias = NDArray[np.floating[Any]]

#: The arithmetic of products: that of the arrays, or bfloat16 operands with float32 sums, for float32 arrays.
Compute: TypeAlias = Literal["full", "bf16"]

#: Fields of a `Record` with an activation: the gates and the candidate, in the order of the weights' rows.
GATES = CellSpec().gates()
#: Fields of a `Record` with a value at each step, in the order in which a step computes them.
QUANTITIES = CellSpec().recorded()


class Weights(LayerWeights):
    """The weights of one layer, checked: the rows of i, f, g and o in that order, as in `torch.nn.LSTM`.

    Attributes:
        W_ih: from the input, (4H, D).
        W_hh: from the hidden state, (4H, P).
        b_ih: bias, (4H,), or None for none.
        b_hh: a second bias, (4H,), or None for none.
        W_hr: projection, (P, H), or None for none.

    Raises:
        GatewrightError: if a shape or a dtype does not fit.

    >>> Weights(np.ones((8, 3)), np.ones((8, 2))).hidden_size
    2
    """

    __slots__ = ()

    def __new__(
        cls,
        W_ih: Array,
        W_hh: Array,
        b_ih: Array | None = None,
        b_hh: Array | None = None,
        W_hr: Array | None = None,
        *further: None,
    ) -> Self:
        """Check the weights."""
        for name, W in zip(cls._fields[5:], further, strict=False):
            if W is not None:
                raise GatewrightError(name, "None, for the plain cell", _describe(W))
        weights = super().__new__(cls, W_ih, W_hh, b_ih, b_hh, W_hr)
        is_float = isinstance(W_ih, np.ndarray) and np.issubdtype(W_ih.dtype, np.floating)
        if not is_float or W_ih.ndim != 2 or W_ih.shape[0] == 0 or W_ih.shape[0] % 4:
            raise GatewrightError("W_ih", "a float array of shape (4H, D), H at least 1", _describe(W_ih))
        H = len(W_ih) // 4
        if W_hr is not None:
            _require("W_hr", W_hr, W_ih.dtype, ("P", H))
        _require("W_hh", W_hh, W_ih.dtype, (4 * H, H if W_hr is None else len(W_hr)))
        for name, bias in (("b_ih", b_ih), ("b_hh", b_hh)):
            if bias is not None:
                _require(name, bias, W_ih.dtype, (4 * H,))
        return weights

    @classmethod
    def _make(cls, iterable: Iterable[Any]) -> Self:  # type: ignore[override]
        return cls(*iterable)  # which checks what `_replace` changes, too


@dataclass(frozen=True)
class Record:
    """Every gate and state, by name, after activation: of a sequence, or without T of a single step.

    Attributes:
        input_gate: i, (T, B, H).
        forget_gate: f, (T, B, H).
        candidate: g, (T, B, H).
        output_gate: o, (T, B, H).
        cell: c after each step, (T, B, H).
        hidden: h after each step, (T, B, P).
        cell_initial: c before the first step, (B, H).
        hidden_initial: h before the first step, (B, P).

    >>> record = step(np.zeros(3), np.zeros(2), np.ones(2), Weights(np.ones((8, 3)), np.ones((8, 2))))
    >>> record.forget_gate, record.cell
    (array([0.5, 0.5]), array([0.5, 0.5]))
    """

    input_gate: Array
    forget_gate: Array
    candidate: Array
    output_gate: Array
    cell: Array
    hidden: Array
    cell_initial: Array
    hidden_initial: Array

    def keep(self) -> Array:
        """Return the factor of the previous cell state at each step, (T, B, H): f, between 0 and 1.

        With `write` it is all that happens to a cell state: c_t = keep_t ⊙ c_{t-1} + write_t (Gers et al. 2000).

        >>> record = step(np.zeros(3), np.zeros(2), np.ones(2), Weights(np.ones((8, 3)), np.ones((8, 2))))
        >>> bool((record.keep() * record.cell_initial + record.write() == record.cell).all())
        True
        """
        return self.forget_gate

    def write(self) -> Array:
        """Return what each step adds to the cell state, (T, B, H): i ⊙ g, between -1 and 1."""
        return self.input_gate * self.candidate

    def rounded(self) -> Record:
        """Return the record as a pass keeps it in bfloat16: gates and cell states after a step rounded."""
        return dataclasses.replace(self, **{name: to_bf16(getattr(self, name)) for name in (*GATES, "cell")})

    def at(self, t: int) -> Record:
        """Return the record of step t alone, which begins with the state after step t-1."""
        t = range(len(self.cell))[t]
        gates = self.input_gate[t], self.forget_gate[t], self.candidate[t], self.output_gate[t]
        c = self.cell[t - 1] if t > 0 else self.cell_initial
        h = self.hidden[t - 1] if t > 0 else self.hidden_initial
        return Record(*gates, self.cell[t], self.hidden[t], cell_initial=c, hidden_initial=h)

    @property
    def c_n(self) -> Array:
        """The cell state after the last step of a sequence, (B, H)."""
        return self.cell[-1] if len(self.cell) else self.cell_initial

    @property
    def h_n(self) -> Array:
        """The hidden state after the last step of a sequence, (B, P)."""
        return self.hidden[-1] if len(self.hidden) else self.hidden_initial


@dataclass(frozen=True)
class Gradients:
    """The adjoint of everything that `forward` reads, each in the shape of what it belongs to.

    Those of a bias or a projection that is not there are None.

    >>> weights = Weights(np.ones((8, 3)), np.ones((8, 2)))
    >>> y, record = forward(np.ones((5, 1, 3)), weights)
    >>> gradients = backward(np.ones_like(y), None, None, record, np.ones((5, 1, 3)), weights)
    >>> gradients.dW_hh.shape, gradients.db_hh
    ((8, 2), None)
    """

    dx: Array
    dh_0: Array
    dc_0: Array
    dW_ih: Array  # noqa: N815
    dW_hh: Array  # noqa: N815
    db_ih: Array | None
    db_hh: Array | None
    dW_hr: Array | None  # noqa: N815


def step(x: Array, h: Array, c: Array, weights: LayerWeights, *, compute: Compute = "full") -> Record:
    """Advance one step: from the state (h, c) and the input x to the next state, with every gate.

    Args:
        x: input, (B, D), or (D,) for one row alone.
        h: hidden state before the step, (B, P) or (P,).
        c: cell state before the step, (B, H) or (H,).
        weights: the weights of the layer.
        compute: the arithmetic of products.

    Raises:
        GatewrightError: if a shape or a dtype does not fit.

    Equations: Greff et al. 2017, section II.A.

    >>> weights = Weights(W_ih=np.array([[0.0], [9.0], [1.0], [0.0]]), W_hh=np.zeros((4, 1)))
    >>> after = step(np.array([1.0]), np.array([0.0]), np.array([2.0]), weights)
    >>> after.forget_gate.round(2), after.cell.round(2), after.hidden.round(2)
    (array([1.]), array([2.38]), array([0.49]))
    """
    D = weights.W_ih.shape[1]
    _require("x", x, weights.W_ih.dtype, ("B", D), (D,))
    _require("h", h, x.dtype, (*x.shape[:-1], weights.output_size))
    _require("c", c, x.dtype, (*x.shape[:-1], weights.hidden_size))

    pre = _pre_activation(x, h, weights, _in_bf16(compute, weights))
    i_pre, f_pre, g_pre, o_pre = np.split(pre, 4, axis=-1)

    i = _sigmoid(i_pre)
    f = _sigmoid(f_pre)
    g = np.tanh(g_pre)
    o = _sigmoid(o_pre)
    c_next = f * c + i * g
    m = o * np.tanh(c_next)
    if weights.W_hr is None:
        h_next = m
    elif compute == "bf16":
        h_next = chain(np.zeros((), x.dtype), m, weights.W_hr)
    else:
        h_next = m @ weights.W_hr.T
    return Record(i, f, g, o, c_next, h_next, cell_initial=c, hidden_initial=h)


def _pre_activation(x: Array, h: Array, weights: LayerWeights, bf16: bool) -> Array:
    """Return i, f, g, o before activation, (B, 4H)."""
    biases = [b for b in (weights.b_ih, weights.b_hh) if b is not None]
    if bf16:
        pre: Array = chain(np.array(sum(biases), x.dtype), x, weights.W_ih)
        return chain(pre, h, weights.W_hh)
    pre = x @ weights.W_ih.T + h @ weights.W_hh.T
    for b in biases:
        pre = pre + b
    return pre


def _step_adjoint(
    r: Record,
    dh_next: Array,
    dc_next: Array,
    d_gates: tuple[Array, Array, Array, Array],
    weights: LayerWeights,
    bf16: bool,
) -> tuple[Array, Array, Array]:
    """Go back through the `step` that gave the record r: its lines, from the last to the first.

    The d's that go in hold what reaches the next state and i, f, g, o from outside of the step.  Returns
    `d_pre`, `dh` and `dc`.  Equations: Greff et al. 2017, section II.B.
    """
    multiply = product if bf16 else np.matmul
    i, f, g, o = r.input_gate, r.forget_gate, r.candidate, r.output_gate
    di, df, dg, do = d_gates
    tanh_c = np.tanh(r.cell)

    dm = dh_next if weights.W_hr is None else multiply(dh_next, weights.W_hr)
    do = do + dm * tanh_c
    dc_next = dc_next + dm * o * (1 - tanh_c * tanh_c)
    di = di + dc_next * g
    df = df + dc_next * r.cell_initial
    dg = dg + dc_next * i
    dc = dc_next * f

    di_pre = di * i * (1 - i)
    df_pre = df * f * (1 - f)
    dg_pre = dg * (1 - g * g)
    do_pre = do * o * (1 - o)
    d_pre = np.concatenate([di_pre, df_pre, dg_pre, do_pre], axis=-1)
    dh = multiply(d_pre, weights.W_hh)
    return d_pre, dh, dc


def forward(
    x: Array,
    weights: LayerWeights,
    h_0: Array | None = None,
    c_0: Array | None = None,
    *,
    compute: Compute = "full",
) -> tuple[Array, Record]:
    """Run a sequence: `step`, T times.

    Args:
        x: input, (T, B, D), or (T, D) for one row alone.
        weights: the weights of the layer.
        h_0: hidden state before the first step, (B, P) or (P,); None for zeros.
        c_0: cell state before the first step, (B, H) or (H,); None for zeros.
        compute: the arithmetic of products.

    Returns:
        y, the hidden state after each step, (T, B, P); and the record, whose `hidden` is y.

    Raises:
        GatewrightError: if a shape or a dtype does not fit.

    Equations: Greff et al. 2017, section II.A.

    >>> weights = Weights(W_ih=np.full((4, 1), 0.5), W_hh=np.full((4, 1), 0.5))
    >>> y, record = forward(np.array([[1.0], [0.0], [0.0]]), weights)
    >>> y.round(3).tolist(), record.c_n.round(3)
    ([[0.174], [0.101], [0.064]], array([0.126]))
    """
    D = weights.W_ih.shape[1]
    _require("x", x, weights.W_ih.dtype, ("T", "B", D), ("T", D))
    record = _zero_record(x, weights)
    h = record.hidden_initial if h_0 is None else h_0
    c = record.cell_initial if c_0 is None else c_0
    _require("h_0", h, x.dtype, record.hidden_initial.shape)
    _require("c_0", c, x.dtype, record.cell_initial.shape)

    record = dataclasses.replace(record, hidden_initial=h, cell_initial=c)
    for t in range(len(x)):
        after = step(x[t], h, c, weights, compute=compute)
        record.input_gate[t] = after.input_gate
        record.forget_gate[t] = after.forget_gate
        record.candidate[t] = after.candidate
        record.output_gate[t] = after.output_gate
        record.cell[t] = c = after.cell
        record.hidden[t] = h = after.hidden
    return record.hidden, record


def backward(
    dy: Array | None,
    dh_n: Array | None,
    dc_n: Array | None,
    record: Record,
    x: Array,
    weights: LayerWeights,
    d_record: Record | None = None,
    *,
    compute: Compute = "full",
) -> Gradients:
    """Go back through `forward` (backpropagation through time): its steps from the last to the first.

    Args:
        dy: adjoint of y, (T, B, P); None, here and below, for zeros.
        dh_n: adjoint of the last hidden state, (B, P).
        dc_n: adjoint of the last cell state, (B, H).
        record: the record that `forward` returned, or `Record.rounded` of it.
        x: the input that `forward` read.
        weights: the weights that `forward` read.
        d_record: adjoint of each field of the record, for a loss that reads it.
        compute: the arithmetic of products.

    Raises:
        GatewrightError: if a shape or a dtype does not fit.

    Equations: Greff et al. 2017, section II.B.

    >>> weights = Weights(W_ih=np.full((4, 1), 0.5), W_hh=np.full((4, 1), 0.5))
    >>> x = np.array([[1.0], [0.0], [0.0]])
    >>> y, record = forward(x, weights)
    >>> backward(np.ones_like(y), None, None, record, x, weights).dx.round(3).tolist()
    [[0.394], [0.285], [0.16]]
    """
    D = weights.W_ih.shape[1]
    _require("x", x, weights.W_ih.dtype, ("T", "B", D), ("T", D))
    zeros = _zero_record(x, weights)
    d_record = zeros if d_record is None else d_record
    dy = zeros.hidden if dy is None else dy
    dh = zeros.hidden_initial if dh_n is None else dh_n
    dc = zeros.cell_initial if dc_n is None else dc_n
    _require("dy", dy, x.dtype, zeros.hidden.shape)
    _require("dh_n", dh, x.dtype, zeros.hidden_initial.shape)
    _require("dc_n", dc, x.dtype, zeros.cell_initial.shape)
    for field in dataclasses.fields(Record):
        shape = getattr(zeros, field.name).shape
        _require(f"record.{field.name}", getattr(record, field.name), x.dtype, shape)
        _require(f"d_record.{field.name}", getattr(d_record, field.name), x.dtype, shape)
    bf16 = _in_bf16(compute, weights)

    d_pre = np.empty((*x.shape[:-1], 4 * weights.hidden_size), x.dtype)
    d_hidden = np.empty_like(record.hidden)
    for t in reversed(range(len(x))):
        d, r = d_record.at(t), record.at(t)
        d_gates = d.input_gate, d.forget_gate, d.candidate, d.output_gate
        d_hidden[t] = dh + dy[t] + d.hidden
        d_pre[t], dh, dc = _step_adjoint(r, d_hidden[t], dc + d.cell, d_gates, weights, bf16)

    h_before = np.concatenate([record.hidden_initial[None], record.hidden])[:-1]
    m = record.output_gate * np.tanh(record.cell)
    dtype, W_ih = x.dtype, weights.W_ih
    if bf16:
        operands = (d_pre, d_hidden, x, h_before, m, W_ih)
        d_pre, d_hidden, x, h_before, m, W_ih = (to_bf16(operand).astype(np.float64) for operand in operands)
    return Gradients(
        dx=(d_pre @ W_ih).astype(dtype, copy=False),
        dh_0=dh + d_record.hidden_initial,
        dc_0=dc + d_record.cell_initial,
        dW_ih=_sum_outer(d_pre, x, dtype),
        dW_hh=_sum_outer(d_pre, h_before, dtype),
        db_ih=None if weights.b_ih is None else _sum_rows(d_pre, dtype),
        db_hh=None if weights.b_hh is None else _sum_rows(d_pre, dtype),
        dW_hr=None if weights.W_hr is None else _sum_outer(d_hidden, m, dtype),
    )


def _sigmoid(x: Array) -> Array:
    # 1 / (1 + exp(-x)), written so that exp never sees a positive number and cannot overflow.
    sigmoid: Array = np.exp(np.minimum(x, 0)) / (1 + np.exp(-np.abs(x)))
    return sigmoid


def _sum_rows(a: Array, dtype: np.dtype[Any]) -> Array:
    """Sum over steps and batch: (T, B, N) to (N,)."""
    total: Array = a.sum(axis=tuple(range(a.ndim - 1)))
    return total.astype(dtype, copy=False)


def _sum_outer(a: Array, b: Array, dtype: np.dtype[Any]) -> Array:
    """Sum of the outer products a bᵀ over steps and batch: (T, B, N) and (T, B, M) to (N, M)."""
    axes = tuple(range(a.ndim - 1))
    return np.tensordot(a, b, axes=(axes, axes)).astype(dtype, copy=False)


def _in_bf16(compute: Compute, weights: LayerWeights) -> bool:
    """Whether products are those of bf16 arithmetic, which takes float32 arrays."""
    if compute not in ("full", "bf16"):
        raise GatewrightError("compute", '"full" or "bf16"', repr(compute))
    if compute == "bf16" and weights.W_ih.dtype != np.float32:
        raise GatewrightError("compute", '"full" for arrays that are not float32', repr(compute))
    return compute == "bf16"


def _zero_record(x: Array, weights: LayerWeights) -> Record:
    """Return the record that belongs to x, full of zeros."""
    H, P = weights.hidden_size, weights.output_size
    i, f, g, o, cell = (np.zeros((*x.shape[:-1], H), x.dtype) for _ in range(5))
    hidden = np.zeros((*x.shape[:-1], P), x.dtype)
    c, h = np.zeros((*x.shape[1:-1], H), x.dtype), np.zeros((*x.shape[1:-1], P), x.dtype)
    return Record(i, f, g, o, cell, hidden, cell_initial=c, hidden_initial=h)


def _require(name: str, array: Array, dtype: np.dtype[Any], *shapes: tuple[int | str, ...]) -> None:
    """Raise unless the array has the dtype and one of the shapes, in which a letter stands for any size."""
    if isinstance(array, np.ndarray) and array.dtype == dtype:
        for shape in shapes:
            sizes = zip(shape, array.shape, strict=False)
            if len(shape) == array.ndim and all(isinstance(n, str) or n == size for n, size in sizes):
                return
    texts = ["(" + ", ".join(map(str, shape)) + ")" for shape in shapes]
    raise GatewrightError(name, f"a {dtype} array of shape {' or '.join(texts)}", _describe(array))


def _describe(value: object) -> str:
    return (
        f"a {value.dtype} array of shape {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__
    )
