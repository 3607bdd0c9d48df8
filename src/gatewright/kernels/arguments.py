"""Arguments and results of the kernels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from numpy.typing import NDArray

Array = NDArray[Any]


class Draws(NamedTuple):
    """Random numbers of a pass, those of `gatewright.counter_random`: the same bits however a batch is divided.

    Attributes:
        seed: 64 bits, as a signed number.
        row_ids: numbers of the rows, (B,), int64; None for 0 to B - 1.
        first_step: number of the first step.
        stream: that of layer and direction, `Place.stream(0)`.
    """

    seed: int
    row_ids: Array | None = None
    first_step: int = 0
    stream: int = 0


class Steps(NamedTuple):
    """Which steps the rows of a padded sequence have, and where their states are reset.

    Attributes:
        lengths: steps of each row, (B,), int64, 0 to T each; None for T.
        mask: whether a row has a step, (T, B), bool; over one that it has not, its state is carried.  None: all.
        reset: whether the state before a step is replaced by the reset state, (T, B), bool; None for nowhere.
        h_reset: hidden state that a reset sets, (B, P); None for zeros.
        c_reset: cell state that a reset sets, (B, H); None for zeros.
    """

    lengths: Array | None = None
    mask: Array | None = None
    reset: Array | None = None
    h_reset: Array | None = None
    c_reset: Array | None = None


class SequenceArgs(NamedTuple):
    """How a sequence is walked, and by how many threads.

    Attributes:
        batch_sizes: how many rows each step has, none more than the step before; None for B each.
        reverse: whether to go from the last step to the first.
        checkpoint: where a pass keeps what `backward` needs, keep only the cell state before every K-th step,
            rounded up to a multiple of `chunk_steps`; 0 keeps every gate of every step.
        threads: maximum number of threads; None for `threads()`.
        split: "rows" or "units" says what threads share out, for tests and benchmarks; "" leaves it to the sizes.
        clamps: values at which gates are held at every step, (4, H), in the order of the gates, after activation;
            NaN where a gate is free.  None holds none.
        compute: "full" multiplies in the type of the arrays; "bf16" multiplies numbers rounded to bfloat16 and
            sums in float32.  Then x, y, gates, cell states and weights are each of float32 or bfloat16: a DLPack
            capsule or a tensor of that type, or in NumPy, which lacks it, its bits as uint16.  States are float32.
            "int8" multiplies whole numbers of one byte, in `forward` of float32 arrays, without checkpoints and
            clamps; without a projection h_0 has to be between -1 and 1.
        kept: with ``compute="bf16"``, "bf16" or "float32" for gates and cell states that a pass keeps, where it
            makes their arrays.
        cell: which cell, `CellSpec.code`; its bits for weights count for nothing: the weights themselves do.  With
            an sLSTM, cell states, their adjoints and checkpoints are c, n, m, (..., 3H), and W_hh is
            (4H, H / heads).
        rates: `CellSpec.rates`.
        draws: random numbers of zoneout and dropout; None for evaluation, with expectations in their place.
        steps: which steps each row has, where not all have all of them; None next to ``batch_sizes``.
        fill: with ``steps``, whether gates and cell states that a pass keeps are filled where a row has no step,
            which `backward` does not need: zeros past a row's end; over a gap a forget gate of one, no other gate,
            and the cell state that is carried.
    """

    batch_sizes: Sequence[int] | None = None
    reverse: bool = False
    checkpoint: int = 0
    threads: int | None = None
    split: str = ""
    clamps: Array | None = None
    compute: str = "full"
    kept: str = "bf16"
    cell: int = 0
    rates: Sequence[float] = ()
    draws: Draws | None = None
    steps: Steps | None = None
    fill: bool = False


class Inputs(NamedTuple):
    """What a forward pass reads, the weights aside; `backward` needs the states too, also where they are zero.

    Attributes:
        x: input, (T, B, D), or (rows, D) where steps are packed.
        h_0: hidden state before the first step, (B, P).
        c_0: cell state before the first step, (B, H).
    """

    x: Array
    h_0: Array
    c_0: Array


class OutputGradients(NamedTuple):
    """The adjoint of all that a forward pass gives; None for zeros.

    Attributes:
        dy: of y, in its shape.
        dh_n: of h_n, (B, P).
        dc_n: of c_n, (B, H).
        dgates: of the gates themselves, where a loss reads them, in their shape; of an sLSTM of keep (share is
            1 - keep), of nothing, of z and of o.
        dcell: of the cell states themselves, in their shape.
    """

    dy: Array | None = None
    dh_n: Array | None = None
    dc_n: Array | None = None
    dgates: Array | None = None
    dcell: Array | None = None


class Wanted(NamedTuple):
    """Which adjoints are wanted of a backward pass, next to those of the states.

    Attributes:
        x: whether dx is.
        weights: whether those of weights and biases are.
        gates: contiguous memory for the adjoint of the gates before activation, (T, B, 4H) or (rows, 4H); None
            where that is not wanted, as with ``compute="bf16"`` or layer normalisation.
    """

    x: bool = True
    weights: bool = True
    gates: Array | None = None


class Forward(NamedTuple):
    """What a forward pass gives.

    Attributes:
        y: the hidden state after each step, (T, B, P), or (rows, P) where steps are packed.
        h_n: the hidden state after each row's last step, (B, P).
        c_n: the cell state after each row's last step, (B, H).
        gates: i, f, g, o after activation, (T, B, 4H) or (rows, 4H); None where they are not kept.  Of an sLSTM
            w, s, z, o: w is keep or, where its sign bit is set, minus share, whichever is less; s is the
            derivative of log f, with the sign bit set where m is log i.
        cell: the cell state after each step, of an sLSTM c / n, (T, B, H) or (rows, H); with checkpoints the cell
            state before every ``checkpoint`` steps, (checkpoints, B, H); None where nothing is kept.
        extra: with layer normalisation, where gates are kept: the gates before gain and bias, then the factors by
            which i, f, g, o were normalised, mean and factor of c, (T, B, 4H + 6) or (rows, 4H + 6).
    """

    y: Array
    h_n: Array
    c_n: Array
    gates: Array | None
    cell: Array | None
    extra: Array | None = None


class Kept(NamedTuple):
    """What `backward` needs of what `forward` gave; its fields are those of `Forward`."""

    y: Array
    gates: Array | None
    cell: Array
    extra: Array | None = None
    c_n: Array | None = None  # of an sLSTM, where dc_n is given


class Backward(NamedTuple):
    """The adjoint of all that a forward pass reads; None where it was not wanted.

    Attributes:
        dx: of x, in its shape.
        dh_0: of h_0, (B, P).
        dc_0: of c_0, (B, H).
        dW_ih: of W_ih, (4H, D).
        dW_hh: of W_hh, (4H, P).
        db: of b_ih, and of b_hh, (4H,).
        dW_hr: of W_hr, (P, H).
        dw_ch: of the peepholes, (3H,).
        dw_ln: of the gains of the gates, (4H,).
        dw_ln_cell: of the gains of the cell state, (H,).
        db_ln_cell: of its shifts, (H,).
        dh_reset: of h_reset, (B, P); None without it.
        dc_reset: of c_reset, (B, H); None without it.
    """

    dx: Array | None
    dh_0: Array
    dc_0: Array
    dW_ih: Array | None  # noqa: N815
    dW_hh: Array | None  # noqa: N815
    db: Array | None
    dW_hr: Array | None  # noqa: N815
    dw_ch: Array | None = None
    dw_ln: Array | None = None
    dw_ln_cell: Array | None = None
    db_ln_cell: Array | None = None
    dh_reset: Array | None = None
    dc_reset: Array | None = None
