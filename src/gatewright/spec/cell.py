"""What a cell is: its gates, its weights - their names, order and shapes - and what a record of it holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

from gatewright.errors import GatewrightError
from gatewright.spec.cell_features import (
    FORGET_GATE_ACTIVATIONS,
    GATE_ACTIVATIONS,
    KINDS,
    RATES,
    STATE_ACTIVATIONS,
    CellFeatures,
    is_whole,
)
from gatewright.spec.json import require, require_size

#: Bits of `CellSpec.code`; those of the activations are the first of two.
_BIAS, PROJECTION, _PEEPHOLE, _COUPLED = 1, 2, 4, 8
_NO_INPUT_GATE, _NO_FORGET_GATE, _NO_OUTPUT_GATE = 16, 32, 64
_HARD_GATES, _CANDIDATE, _OUTPUT, LAYER_NORM = 128, 256, 1024, 4096
SLSTM, EXPONENTIAL_FORGET_GATE = 8192, 16384
#: Cells whose adjoint depends on which side of a bound a number is: that of a hard activation.
HARD = _HARD_GATES | _CANDIDATE | _OUTPUT

#: Name under which a state dict has the cell of a layer: that of torch for what is no parameter.
STORED_CELL = "_extra_state"
#: Name of what a state dict of layers with residual connections has next to the weights.
STORED_RESIDUAL = "residual"

#: The largest `CellSpec.code` of a plain cell.
PLAIN_CODES = _BIAS | PROJECTION

#: Added to the variance by layer normalisation, as in `torch.nn.LayerNorm`.
LAYER_NORM_EPSILON = 1e-5

#: All gates, in the order in which the weights of those that a cell has are stacked.
_GATES = ("input_gate", "forget_gate", "candidate", "output_gate")


@dataclass(frozen=True)
class CellSpec(CellFeatures):
    """What a cell is, its sizes aside: next to the two that follow, the features of `CellFeatures`, by keyword.

    Attributes:
        bias: whether the gates have biases; two, as in torch, whose sum counts.
        proj_size: P, width to which the hidden state is projected; 0 for none.

    Raises:
        SpecError: if a value is out of range, or a combination has no sense.

    >>> CellSpec(proj_size=2).weights(D=3, H=4)["weight_hh"]
    (16, 2)
    >>> CellSpec(coupled=True, peephole=True).weights(D=3, H=4)["weight_ch"]
    (8,)
    >>> CellSpec(kind="slstm", heads=2).weights(D=3, H=4)["weight_hh"]
    (16, 2)
    >>> CellSpec.from_json(CellSpec().to_json()) == CellSpec()
    True
    """

    bias: bool = True
    proj_size: int = 0

    def __post_init__(self) -> None:
        require(isinstance(self.bias, bool), "bias", "True or False", self.bias)
        require(is_whole(self.proj_size), "proj_size", "a whole number", self.proj_size)
        require_size("proj_size", self.proj_size, least=0)
        self._require_features()
        expected = "0 with a projection, after which a unit of the hidden state is no unit of the cell"
        require(not (self.zoneout_hidden and self.proj_size), "zoneout_hidden", expected, self.zoneout_hidden)
        require(not (self.is_slstm and self.proj_size), "proj_size", "0 with kind='slstm'", self.proj_size)

    @classmethod
    def of(cls, features: CellFeatures, *, bias: bool = True, proj_size: int = 0) -> CellSpec:
        """Return the cell with these features, whatever else they are part of."""
        return cls(bias, proj_size, **{each.name: getattr(features, each.name) for each in fields(CellFeatures)})

    @classmethod
    def decoded(cls, code: int, rates: Sequence[float] = ()) -> CellSpec:
        """Return a cell with this `code` and these `rates`; with a projection, one of width 1.

        The heads of an sLSTM are not in its code, but in the shape of W_hh: it gets one.

        >>> CellSpec.decoded(CellSpec(coupled=True, candidate_activation="identity").code()).features()
        ('coupled', 'candidate_activation')
        """
        clip, *others = rates or [0.0] * len(RATES)
        return cls(
            bias=bool(code & _BIAS),
            proj_size=int(bool(code & PROJECTION)),
            peephole=bool(code & _PEEPHOLE),
            coupled=bool(code & _COUPLED),
            input_gate=not code & _NO_INPUT_GATE,
            forget_gate=not code & _NO_FORGET_GATE,
            output_gate=not code & _NO_OUTPUT_GATE,
            gate_activation=GATE_ACTIVATIONS[bool(code & _HARD_GATES)],
            candidate_activation=STATE_ACTIVATIONS[code // _CANDIDATE % 4],
            output_activation=STATE_ACTIVATIONS[code // _OUTPUT % 4],
            layer_norm=bool(code & LAYER_NORM),
            cell_clip=clip,
            kind=KINDS[bool(code & SLSTM)],
            forget_gate_activation=FORGET_GATE_ACTIVATIONS[bool(code & EXPONENTIAL_FORGET_GATE)],
            **dict(zip(RATES, others, strict=False)),  # type: ignore[arg-type]  # which are no heads
        )

    def in_evaluation(self) -> CellSpec:
        """Return the cell without what it does in training alone: its dropouts.

        >>> CellSpec(zoneout_cell=0.1, weight_drop=0.5).in_evaluation().features()
        ('zoneout_cell',)
        """
        return replace(self, hidden_dropout=0.0, candidate_dropout=0.0, weight_drop=0.0)

    def same_features(self, other: CellSpec) -> bool:
        """Return whether two cells differ in no more than bias and projection, which shapes of weights tell.

        >>> CellSpec(cell_clip=3).same_features(CellSpec(bias=False, cell_clip=3))
        True
        """
        return self == replace(other, bias=self.bias, proj_size=self.proj_size)

    def in_words(self) -> str:
        """Return the features of the cell as arguments, for an error.

        >>> CellSpec(kind="slstm", heads=2).in_words(), CellSpec().in_words()
        ("kind='slstm', heads=2", 'a plain cell')
        """
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in self.features()) or "a plain cell"

    def gates(self) -> tuple[str, ...]:
        """Return the names of the gates that have weights, in the order in which these are stacked."""
        absent = {
            "input_gate": self.coupled or not self.input_gate,
            "forget_gate": not self.forget_gate,
            "output_gate": not self.output_gate,
        }
        return tuple(name for name in _GATES if not absent.get(name, False))

    def weights(self, D: int, H: int) -> dict[str, tuple[int, ...]]:
        """Return name and shape of every weight of a layer, in order: the names of torch, less the layer's number.

        Args:
            D: width of the input.
            H: units.

        Raises:
            SpecError: if the heads of an sLSTM are not of equal size.
        """
        self.require_heads(H)
        gates = self.gates()
        rows, P = len(gates) * H, self.proj_size or H // self.heads
        shapes: dict[str, tuple[int, ...]] = {"weight_ih": (rows, D), "weight_hh": (rows, P)}
        if self.bias:
            shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)}
        if self.proj_size:
            shapes["weight_hr"] = (P, H)
        if self.peephole:
            shapes["weight_ch"] = ((len(gates) - 1) * H,)  # all but the candidate
        if self.layer_norm:
            shapes |= {"weight_ln": (rows,), "weight_ln_cell": (H,), "bias_ln_cell": (H,)}
        return shapes

    def require_heads(self, H: int) -> None:
        """Require that the heads of an sLSTM divide its units.

        Raises:
            SpecError: names the heads.
        """
        require(H % self.heads == 0, "heads", f"a number that divides {H} units", self.heads)

    def cell_state_size(self, H: int) -> int:
        """Return the width of the cell state of a layer with H units: that of an sLSTM is c, n and m in a row.

        >>> CellSpec().cell_state_size(4), CellSpec(kind="slstm").cell_state_size(4)
        (4, 12)
        """
        return 3 * H if self.is_slstm else H

    def recorded(self) -> tuple[str, ...]:
        """Return the names of what a record holds of each step, in order; gates without weights are in it too."""
        return (*_GATES, "cell", "hidden")

    def code(self) -> int:
        """Return the number by which operators and the native module know this cell: a bit for each feature.

        Rates are none of its features: `rates` has them.
        """
        code = cell_code(self.bias, self.proj_size)
        bits = {
            _PEEPHOLE: self.peephole,
            _COUPLED: self.coupled,
            _NO_INPUT_GATE: not self.input_gate,
            _NO_FORGET_GATE: not self.forget_gate,
            _NO_OUTPUT_GATE: not self.output_gate,
            _HARD_GATES: self.gate_activation != "sigmoid",
            LAYER_NORM: self.layer_norm,
            SLSTM: self.is_slstm,
            EXPONENTIAL_FORGET_GATE: self.forget_gate_activation != "sigmoid",
        }
        code += sum(bit for bit, present in bits.items() if present)
        code += _CANDIDATE * STATE_ACTIVATIONS.index(self.candidate_activation)
        return code + _OUTPUT * STATE_ACTIVATIONS.index(self.output_activation)

    def rates(self) -> list[float]:
        """Return what operators take next to `code`, or an empty list where all of it is 0.

        These are cell_clip, zoneout_cell, zoneout_hidden, hidden_dropout and candidate_dropout.
        """
        rates = [self.cell_clip, *(getattr(self, name) for name in RATES[:-1])]
        return [float(rate) for rate in rates] if any(rates) else []


#: Every weight that a cell may have, in order, as `CellSpec.weights` names them; the fields of `LayerWeights`.
WEIGHTS = tuple(CellSpec(proj_size=1, peephole=True, layer_norm=True).weights(1, 1))

#: Those of a plain cell, with a projection.
PLAIN_WEIGHTS = tuple(CellSpec(proj_size=1).weights(1, 1))


def cell_code(bias: bool, proj_size: int) -> int:
    """Return `CellSpec.code` of a plain cell with these, unchecked: a layer asks at every call."""
    return (_BIAS if bias else 0) | (PROJECTION if proj_size else 0)


def cell_of_bytes(values: Any) -> CellSpec:
    """Return the cell whose JSON has these bytes, as `STORED_CELL` of a state dict has them.

    Args:
        values: numbers, in an array or a tensor; they may be of another type, as where a state dict was converted.

    Raises:
        GatewrightError: if they are no such bytes.

    >>> cell_of_bytes(list(CellSpec(heads=2, kind="slstm").to_json().encode())).heads
    2
    """
    try:
        numbers = values.tolist() if hasattr(values, "tolist") else list(values)
        text = bytes(map(int, numbers)).decode()
        whole = all(int(number) == number for number in numbers)
    except (TypeError, ValueError, OverflowError):
        whole = False
    if not whole:
        raise GatewrightError(STORED_CELL, "the bytes of a cell's JSON", type(values).__name__)
    return CellSpec.from_json(text, STORED_CELL)


def require_plain(user: str, cell: CellFeatures) -> None:
    """Refuse a cell that a part of Gatewright does not have.

    Args:
        user: the part, such as "a stream".
        cell: any cell.

    Raises:
        GatewrightError: names the features of the cell.

    >>> require_plain("a stream", CellSpec(peephole=True))
    Traceback (most recent call last):
    gatewright.errors.GatewrightError: cell: expected a plain LSTM cell for a stream, got peephole
    """
    features = cell.features()
    if features:
        raise GatewrightError("cell", f"a plain LSTM cell for {user}", ", ".join(features))


def require_lstm(user: str, cell: CellFeatures) -> None:
    """Refuse an sLSTM where a part of Gatewright does not have it.

    Args:
        user: the part, such as "a stream".
        cell: any cell.

    Raises:
        GatewrightError: names the kind of the cell.

    >>> require_lstm("a stream", CellSpec(kind="slstm"))
    Traceback (most recent call last):
    gatewright.errors.GatewrightError: cell: expected one of kind 'lstm' for a stream, got kind 'slstm'
    """
    if cell.is_slstm:
        raise GatewrightError("cell", f"one of kind 'lstm' for {user}", f"kind {cell.kind!r}")


class LayerWeights(NamedTuple):
    """The weights of one layer in one direction, gates stacked in the order i, f, g, o.

    Rows are those of the gates that the cell has, 4H with all of them.  They are NumPy arrays, torch's tensors, or
    memory that goes to the native module, all of one call alike.

    Attributes:
        W_ih: from the input, (4H, D).
        W_hh: from the hidden state, (4H, H), or (4H, P) with a projection, or (4H, H / heads) of an sLSTM.
        b_ih: bias, (4H,), or None.
        b_hh: a second bias, (4H,), or None.
        W_hr: projection of the hidden state, (P, H), or None.
        w_ch: peepholes of i, f and o, (3H,), or None.
        w_ln: gains of the normalised gates, (4H,), or None.
        w_ln_cell: gains of the normalised cell state, (H,), or None.
        b_ln_cell: shifts of the normalised cell state, (H,), or None.

    >>> import numpy as np
    >>> weights = LayerWeights(np.zeros((8, 3)), np.zeros((8, 2)))
    >>> weights.hidden_size, weights.output_size
    (2, 2)
    """

    W_ih: Any
    W_hh: Any
    b_ih: Any = None
    b_hh: Any = None
    W_hr: Any = None
    w_ch: Any = None
    w_ln: Any = None
    w_ln_cell: Any = None
    b_ln_cell: Any = None

    @classmethod
    def of(cls, code: int, weights: Sequence[Any]) -> LayerWeights:
        """Return the weights of a cell, given in the order of `CellSpec.weights`.

        Args:
            code: which cell, `CellSpec.code`.
            weights: those that it has.

        Raises:
            GatewrightError: if the cell has more of them, or fewer.
        """
        present = _present(code)
        if len(weights) != sum(present):
            raise GatewrightError("weights", f"{sum(present)} tensors for this cell", str(len(weights)))
        each = iter(weights)
        return cls(*(next(each) if here else None for here in present))

    def present(self) -> list[Any]:
        """Return the weights that are there, in the order of `CellSpec.weights`."""
        return [W for W in self if W is not None]

    @property
    def code(self) -> int:
        """Which LSTM cell with four gates and plain activations these are the weights of: `CellSpec.code`."""
        plain = cell_code(self.b_ih is not None or self.b_hh is not None, self.W_hr is not None)
        further = (_PEEPHOLE if self.w_ch is not None else 0) | (LAYER_NORM if self.w_ln is not None else 0)
        return plain | further

    @property
    def hidden_size(self) -> int:
        """H, the size of every gate, and of the cell state but for an sLSTM."""
        if self.W_hr is not None:
            return int(self.W_hr.shape[1])
        rows, columns = self.W_hh.shape
        return int(max(columns, rows // 4))  # an sLSTM has fewer columns, and other cells have no more rows

    @property
    def output_size(self) -> int:
        """P, the size of the hidden state: that of the projection, or H without one."""
        return self.hidden_size if self.W_hr is None else len(self.W_hr)


def _present(code: int) -> tuple[bool, ...]:
    """Return which fields of `LayerWeights` a cell has."""
    bias, normalised = code & _BIAS != 0, code & LAYER_NORM != 0
    further = (code & PROJECTION != 0, code & _PEEPHOLE != 0, normalised, normalised, normalised)
    return (True, True, bias, bias, *further)
