"""What the sLSTM of `gatewright.equations.slstm` reads and gives: weights, states, records and adjoints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from gatewright.equations.arrays import Array


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
        m: stabiliser; not read where n is 0.
    """

    h: Array
    c: Array
    n: Array
    m: Array

    @classmethod
    def start(cls, *shape: int, dtype: DTypeLike = np.float64) -> State:
        """Return the state before the first step of a sequence, zeros: nothing is read yet.

        >>> State.start(1, 2).n
        array([[0., 0.]])
        """
        return cls(*(np.zeros(shape, dtype) for _ in range(4)))

    def average(self) -> Array:
        """Return c / n, the average of what was read, (B, H); 0 where nothing was."""
        read = self.n != 0
        average: Array = np.divide(self.c, self.n, out=np.zeros_like(self.c), where=read)
        return average


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
        """Return the states before each step, of the shape of those after it."""
        if self.state.h.ndim == self.initial.h.ndim:
            return self.initial
        pairs = zip(self.initial, self.state, strict=True)
        return State(*(np.concatenate([first[None], each])[:-1] for first, each in pairs))

    def at(self, t: int) -> Record:
        """Return the record of step t alone, which begins with the state after step t-1."""
        t = range(len(self.candidate))[t]
        gates = self.log_input_gate[t], self.log_forget_gate[t], self.candidate[t], self.output_gate[t]
        before = State(*(a[t - 1] for a in self.state)) if t > 0 else self.initial
        return Record(*gates, State(*(a[t] for a in self.state)), before)

    def keep(self) -> Array:
        """Return the factor of the previous average c / n at each step, (T, B, H): f n / n', between 0 and 1.

        With `write`: (c / n)_t = keep_t ⊙ (c / n)_{t-1} + write_t, and the average is that of the candidates, with
        `share` = 1 - keep as the weight of the step's own.
        """
        before = self.before()
        kept: Array = scaled_forget_gate(self.log_forget_gate, before, self.state.m) * before.n / self.state.n
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


class OutputGradients(NamedTuple):
    """The adjoint of all that a pass gives; None for zeros.

    Attributes:
        dy: of y, (T, B, H).
        dh_n: of h after the last step, (B, H).
        dc_n: of c after the last step, at its n and m.
        dn_n: of n after the last step, at its m.
        dm_n: of m after the last step.
        dshare: of `Record.share`, (T, B, H); that of `Record.keep` is the same with the other sign.
        dcandidate: of z, (T, B, H).
        doutput_gate: of o, (T, B, H).
        daverage: of the average c / n after each step, (T, B, H).
    """

    dy: Array | None = None
    dh_n: Array | None = None
    dc_n: Array | None = None
    dn_n: Array | None = None
    dm_n: Array | None = None
    dshare: Array | None = None
    dcandidate: Array | None = None
    doutput_gate: Array | None = None
    daverage: Array | None = None


class Gradients(NamedTuple):
    """The adjoint of all that `forward` reads, each in the shape of what it belongs to.

    Those of c, n and m are 0 where n is 0.
    """

    dx: Array
    dh_0: Array
    dc_0: Array
    dn_0: Array
    dm_0: Array
    dW_ih: Array  # noqa: N815
    dW_hh: Array  # noqa: N815
    db: Array | None


def scaled_forget_gate(log_f: Array, before: State, m: Array) -> Array:
    """Return f e^(m_before - m), the factor of c and n; 0 where n is 0."""
    none = before.n == 0
    exponent = np.where(none, 0, log_f) + np.where(none, 0, before.m) - np.where(none, 0, m)
    factor: Array = np.where(none, np.zeros_like(m), np.exp(exponent))
    return factor
