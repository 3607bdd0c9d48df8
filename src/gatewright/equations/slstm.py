"""The sLSTM cell in NumPy, one layer: its equations, their adjoint, and its ledger.

    log i = W_i x + R_i h + b_i                    m' = max(log f + m, log i)
    log f = log σ(W_f x + R_f h + b_f)             c' = exp(log f + m - m') ⊙ c + exp(log i - m') ⊙ z
    z = tanh(W_z x + R_z h + b_z)                  n' = exp(log f + m - m') ⊙ n + exp(log i - m')
    o = σ(W_o x + R_o h + b_o)                     h' = o ⊙ c' / n'

The input gate is exponential; the forget gate is sigmoid, as above, or exponential: log f = W_f x + R_f h + b_f.
R is block diagonal: a head reads its own hidden units alone.  The stabiliser m keeps the exponentials in range and
cancels in c / n.  It starts at -inf in each row, so that c and n of a row start at 0 whatever its batch.

Adjoints of c and n are those at a fixed m: the true states are e^m c and e^m n, and a loss depends on these alone.

Source: Beck et al. 2024, xLSTM: Extended Long Short-Term Memory, arXiv:2405.04517, section 2.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import DTypeLike

from gatewright.equations.arrays import Array, described, require, sigmoid, sum_outer, sum_rows
from gatewright.errors import GatewrightError

#: How the forget gate is activated.
ForgetGate: TypeAlias = Literal["sigmoid", "exponential"]


class Weights(NamedTuple):
    """The weights of a layer: rows of the input gate, the forget gate, the candidate z and the output gate.

    Attributes:
        W_ih: from the input, (4H, D).
        W_hh: from the hidden state, (4H, H / heads): a row reads the hidden units of its own head.
        b: bias, (4H,), or None for none.
    """

    W_ih: Array
    W_hh: Array
    b: Array | None = None

    @property
    def hidden_size(self) -> int:
        """H, units of the layer."""
        return len(self.W_ih) // 4

    @property
    def heads(self) -> int:
        """Number of heads."""
        return self.hidden_size // self.W_hh.shape[1]


class State(NamedTuple):
    """What a step passes on, each (B, H) or (H,).

    Attributes:
        h: hidden state.
        c: cell state, times e^-m.
        n: normaliser, times e^-m.
        m: stabiliser.
    """

    h: Array
    c: Array
    n: Array
    m: Array

    @classmethod
    def start(cls, *shape: int, dtype: DTypeLike = np.float64) -> State:
        """Return the state before the first step of a sequence: nothing is read yet.

        >>> State.start(1, 2).m
        array([[-inf, -inf]])
        """
        h, c, n = (np.zeros(shape, dtype) for _ in range(3))
        return cls(h, c, n, np.full(shape, -np.inf, dtype))


@dataclass(frozen=True)
class Record:
    """Gates and states of each step of a sequence, (T, B, H), or of a single step, (B, H).

    Attributes:
        log_input_gate: logarithm of the input gate.
        log_forget_gate: logarithm of the forget gate.
        candidate: z.
        output_gate: o.
        state: h, c, n and m after each step.
        initial: h, c, n and m before the first step, (B, H).
    """

    log_input_gate: Array
    log_forget_gate: Array
    candidate: Array
    output_gate: Array
    state: State
    initial: State

    def before(self) -> State:
        """Return the states before each step, (T, B, H)."""
        pairs = zip(self.initial, self.state, strict=True)
        return State(*(np.concatenate([first[None], each])[:-1] for first, each in pairs))

    def keep(self) -> Array:
        """Return the factor of the previous average c / n at each step, (T, B, H): f n / n', between 0 and 1.

        With `write`: (c / n)_t = keep_t ⊙ (c / n)_{t-1} + write_t, and the average is that of the candidates, with
        `share` = 1 - keep as the weight of the step's own.
        """
        before = self.before()
        with np.errstate(invalid="ignore"):
            kept: Array = np.exp(self.log_forget_gate + before.m - self.state.m) * before.n / self.state.n
        return kept

    def share(self) -> Array:
        """Return the weight of each step's candidate in the average after that step, (T, B, H): i / n'."""
        share: Array = np.exp(self.log_input_gate - self.state.m) / self.state.n
        return share

    def write(self) -> Array:
        """Return what each step adds to the average c / n, (T, B, H)."""
        return self.share() * self.candidate

    def ledger(self, t: int) -> tuple[Array, Array]:
        """Split the average after step t: h_t = o_t ⊙ (Σ_k w_k ⊙ z_k + w_initial ⊙ (c / n)_initial).

        Args:
            t: the step.

        Returns:
            w of steps 0 ... t, (t + 1, B, H), each at least 0; and that of the initial state, (B, H), which is 0
            where the sequence starts from nothing.  They sum to 1: m cancels.
        """
        t = range(len(self.candidate))[t]
        keep = self.keep()[: t + 1]
        survived = np.concatenate([np.cumprod(keep[::-1], axis=0)[::-1], np.ones_like(keep[:1])])
        return survived[1:] * self.share()[: t + 1], survived[0]


class Gradients(NamedTuple):
    """The adjoint of all that `forward` reads, each in the shape of what it belongs to."""

    dx: Array
    dh_0: Array
    dc_0: Array
    dn_0: Array
    dW_ih: Array  # noqa: N815
    dW_hh: Array  # noqa: N815
    db: Array | None


def step(x: Array, state: State, weights: Weights, *, forget_gate: ForgetGate = "sigmoid") -> Record:
    """Advance one step.

    Args:
        x: input, (B, D), or (D,) for one row alone.
        state: before the step.
        weights: of the layer.
        forget_gate: its activation.

    Raises:
        GatewrightError: if a shape or a type does not fit.

    >>> weights = Weights(W_ih=np.zeros((4, 1)), W_hh=np.zeros((4, 1)), b=np.array([0.0, 0.0, 9.0, 9.0]))
    >>> step(np.ones(1), State.start(1), weights).state.h.round(3)
    array([1.])
    """
    H = _require(x, weights, forget_gate)
    for name, each in zip(State._fields, state, strict=True):
        require(name, each, x.dtype, (*x.shape[:-1], H))
    pre = x @ weights.W_ih.T + _by_heads(state.h, weights)
    if weights.b is not None:
        pre = pre + weights.b
    log_i, f_pre, z_pre, o_pre = np.split(pre, 4, axis=-1)
    log_f = f_pre if forget_gate == "exponential" else -np.logaddexp(0, -f_pre)
    z, o = np.tanh(z_pre), sigmoid(o_pre)

    m = np.maximum(log_f + state.m, log_i)
    f, i = np.exp(log_f + state.m - m), np.exp(log_i - m)
    c = f * state.c + i * z
    n = f * state.n + i
    h = o * (c / n)
    return Record(log_i, log_f, z, o, State(h, c, n, m), state)


def forward(
    x: Array, weights: Weights, state: State | None = None, *, forget_gate: ForgetGate = "sigmoid"
) -> tuple[Array, Record]:
    """Run a sequence: `step`, T times.

    Args:
        x: input, (T, B, D), or (T, D) for one row alone.
        weights: of the layer.
        state: before the first step; `State.start` if None.
        forget_gate: its activation.

    Returns:
        y, the hidden state after each step, (T, B, H); and the record.

    Raises:
        GatewrightError: if a shape or a type does not fit.

    >>> random = np.random.default_rng(0)
    >>> weights = Weights(random.normal(size=(16, 3)), random.normal(size=(16, 2)))  # two heads of two units
    >>> y, record = forward(random.normal(size=(6, 1, 3)), weights)
    >>> w, _ = record.ledger(5)
    >>> bool((w >= 0).all()), w.sum(axis=0).round(12)
    (True, array([[1., 1., 1., 1.]]))
    >>> bool(np.allclose(record.output_gate[5] * (w * record.candidate).sum(axis=0), y[5]))
    True
    """
    H = _require(x, weights, forget_gate)
    initial = State.start(*x.shape[1:-1], H, dtype=x.dtype) if state is None else state
    log_i, log_f, z, o, h, c, n, m = arrays = [np.zeros((*x.shape[:-1], H), x.dtype) for _ in range(8)]
    record = Record(log_i, log_f, z, o, State(h, c, n, m), initial)
    before = initial
    for t in range(len(x)):
        after = step(x[t], before, weights, forget_gate=forget_gate)
        values = (after.log_input_gate, after.log_forget_gate, after.candidate, after.output_gate, *after.state)
        for whole, value in zip(arrays, values, strict=True):
            whole[t] = value
        before = after.state
    return record.state.h, record


def backward(
    dy: Array,
    d_last: tuple[Array | None, Array | None, Array | None],
    record: Record,
    x: Array,
    weights: Weights,
    *,
    forget_gate: ForgetGate = "sigmoid",
) -> Gradients:
    """Go back through `forward`, from the last step to the first.

    Args:
        dy: adjoint of y, (T, B, H).
        d_last: adjoints of h, c and n after the last step, at its m; None for zeros.
        record: the record that `forward` returned.
        x: the input that `forward` read, as are the weights and the forget gate.
        weights: of the layer.
        forget_gate: its activation.

    Raises:
        GatewrightError: if a shape or a type does not fit.
    """
    H = _require(x, weights, forget_gate)
    require("dy", dy, x.dtype, (*x.shape[:-1], H))
    zeros = np.zeros((*x.shape[1:-1], H), x.dtype)
    dh, dc, dn = (zeros if each is None else each for each in d_last)
    before = record.before()
    d_pre = np.empty((*x.shape[:-1], 4 * H), x.dtype)
    for t in reversed(range(len(x))):
        o, z, log_f = record.output_gate[t], record.candidate[t], record.log_forget_gate[t]
        _, c, n, m = (each[t] for each in record.state)
        _, c_before, n_before, m_before = (each[t] for each in before)
        f, i = np.exp(log_f + m_before - m), np.exp(record.log_input_gate[t] - m)

        dh = dh + dy[t]
        average = c / n
        do = dh * average
        d_average = dh * o
        dc = dc + d_average / n
        dn = dn - d_average * average / n
        di = dc * z + dn
        df = dc * c_before + dn * n_before
        dz = dc * i

        di_pre = di * i
        df_pre = df * f * (1 if forget_gate == "exponential" else -np.expm1(log_f))
        dz_pre = dz * (1 - z * z)
        do_pre = do * o * (1 - o)
        d_pre[t] = np.concatenate([di_pre, df_pre, dz_pre, do_pre], axis=-1)
        dc, dn = dc * f, dn * f
        dh = _by_heads_adjoint(d_pre[t], weights)
    dtype = x.dtype
    return Gradients(
        dx=d_pre @ weights.W_ih,
        dh_0=dh,
        dc_0=dc,
        dn_0=dn,
        dW_ih=sum_outer(d_pre, x, dtype),
        dW_hh=_sum_outer_by_heads(d_pre, before.h, weights),
        db=None if weights.b is None else sum_rows(d_pre, dtype),
    )


def _by_heads(h: Array, weights: Weights) -> Array:
    """Return R h, (B, 4H): each block of rows reads the hidden units of its head."""
    heads, d = weights.heads, weights.W_hh.shape[1]
    R = weights.W_hh.reshape(4, heads, d, d)
    product = np.einsum("gkij,...kj->...gki", R, h.reshape(*h.shape[:-1], heads, d))
    return product.reshape(*h.shape[:-1], -1)


def _by_heads_adjoint(d_pre: Array, weights: Weights) -> Array:
    """Return the adjoint of h for that of R h."""
    heads, d = weights.heads, weights.W_hh.shape[1]
    R = weights.W_hh.reshape(4, heads, d, d)
    adjoint = np.einsum("gkij,...gki->...kj", R, d_pre.reshape(*d_pre.shape[:-1], 4, heads, d))
    return adjoint.reshape(*d_pre.shape[:-1], -1)


def _sum_outer_by_heads(d_pre: Array, h: Array, weights: Weights) -> Array:
    """Return the adjoint of R, (4H, H / heads)."""
    heads, d = weights.heads, weights.W_hh.shape[1]
    of_rows, of_columns = d_pre.reshape(-1, 4, heads, d), h.reshape(-1, heads, d)
    adjoint: Array = np.einsum("ngki,nkj->gkij", of_rows, of_columns).reshape(weights.W_hh.shape)
    return adjoint


def _require(x: Array, weights: Weights, forget_gate: str) -> int:
    """Require that input and weights fit, and return H."""
    if forget_gate not in ("sigmoid", "exponential"):
        raise GatewrightError("forget_gate", '"sigmoid" or "exponential"', repr(forget_gate))
    W_ih, W_hh = weights.W_ih, weights.W_hh
    is_float = isinstance(W_ih, np.ndarray) and np.issubdtype(W_ih.dtype, np.floating)
    if not is_float or W_ih.ndim != 2 or W_ih.shape[0] == 0 or W_ih.shape[0] % 4:
        raise GatewrightError("W_ih", "a float array of shape (4H, D), H at least 1", described(W_ih))
    H, D = len(W_ih) // 4, W_ih.shape[1]
    require("W_hh", W_hh, W_ih.dtype, (4 * H, "H / heads"))
    if W_hh.shape[1] == 0 or H % W_hh.shape[1]:
        raise GatewrightError("W_hh", f"a number of columns that divides H = {H}", described(W_hh))
    if weights.b is not None:
        require("b", weights.b, W_ih.dtype, (4 * H,))
    shapes = [("T", "B", D), ("T", D), (D,)]
    require("x", x, W_ih.dtype, *[shape for shape in shapes if x.ndim == len(shape)] or shapes)
    return H
