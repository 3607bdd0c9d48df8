"""The LSTM layer stack: torch's, and with ``record=True`` all that happens inside it."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal, overload

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from gatewright.errors import GatewrightError
from gatewright.nn.ops import Weights, sequence
from gatewright.nn.packed import Layout
from gatewright.nn.record import LayerRecord, Record

_State = tuple[Tensor, Tensor]
_Shapes = tuple[tuple[int, ...], tuple[int, ...]]


class LSTM(torch.nn.LSTM):
    """A stack of LSTM layers, a drop-in for `torch.nn.LSTM` that shows its gates.

    Parameters, initial values, ``state_dict``, results and errors are those of `torch.nn.LSTM`; either one
    loads the other's ``state_dict``.  Called with ``record=True`` it returns a `Record` beside the result,
    with every gate, cell state and hidden state of every step; a loss may use them like any other tensor.

    Equations: Hochreiter & Schmidhuber 1997, Neural Computation 9(8), with the forget gate of Gers et al.
    2000, Neural Computation 12(10); projection: Sak et al. 2014, arXiv:1402.1128, equations 7 to 12
    (here without peepholes and without the non-recurrent part).

    Args:
        input_size: D, width of the input.
        hidden_size: H, units of each layer.
        num_layers: L, layers.
        bias: whether the gates have biases.
        batch_first: whether batched input and output are (B, T, ...) instead of (T, B, ...).
        dropout: rate on the output of every layer but the last, while training.
        bidirectional: whether each layer also runs in reverse; S is then 2, else 1.
        proj_size: P, width to which the hidden state is projected; 0 for none, P is then H.
        device: where the parameters are made.
        dtype: type of the parameters.

    Shapes:
        input (T, B, D), (T, D), or a `PackedSequence`; hx a pair (h_0, c_0) of (L*S, B, P) and (L*S, B, H),
        without B for unbatched input, zeros if None.  Returns y (T, B, S*P), or as the input is, and a pair
        (h_n, c_n) shaped as hx.

    Raises:
        ValueError: if input is not 2-D or 3-D, or not of the type of the weights.
        RuntimeError: if sizes do not fit, or there are no steps.  The states that come with a packed sequence
            are checked too; `torch.nn.LSTM` reads out of bounds, or goes on, with some that do not fit.

    `torch.compile` and `torch.export` take it; the retired `torch.jit.script` does not.

    >>> lstm = LSTM(input_size=3, hidden_size=4, num_layers=2)
    >>> y, (h_n, c_n), record = lstm(torch.ones(5, 2, 3), record=True)
    >>> record.layers[1].forget_gate.shape
    torch.Size([5, 2, 4])
    >>> torch.equal(record.layers[1].cell[-1], c_n[1])
    True
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(
            input_size,
            hidden_size,
            num_layers,
            bias=bias,
            batch_first=batch_first,
            dropout=dropout,
            bidirectional=bidirectional,
            proj_size=proj_size,
            device=device,
            dtype=dtype,
        )

    @overload
    def forward(
        self,
        input: Tensor,
        hx: _State | None = None,
        *,
        record: Literal[False] = False,
    ) -> tuple[Tensor, _State]: ...

    @overload
    def forward(
        self,
        input: PackedSequence,
        hx: _State | None = None,
        *,
        record: Literal[False] = False,
    ) -> tuple[PackedSequence, _State]: ...

    @overload
    def forward(
        self, input: Tensor, hx: _State | None = None, *, record: Literal[True]
    ) -> tuple[Tensor, _State, Record]: ...

    @overload
    def forward(
        self, input: PackedSequence, hx: _State | None = None, *, record: Literal[True]
    ) -> tuple[PackedSequence, _State, Record]: ...

    def forward(self, input: Any, hx: Any = None, *, record: bool = False) -> Any:  # noqa: A002
        """Run the stack over a sequence, and return the record too if asked for."""
        if isinstance(input, PackedSequence):
            self._check_packed_state(input, hx)
        if not record:
            return super().forward(input, hx)
        x = input.data if isinstance(input, PackedSequence) else input
        expected = self._expected_state(x, input.batch_sizes if isinstance(input, PackedSequence) else None)
        if expected is None or not _fits(hx, expected, x.dtype):
            super().forward(input, hx)  # raises torch's own error; what follows is for what torch lets pass
            raise GatewrightError("hx", f"{x.dtype} tensors of the shapes {expected}", _described(hx))
        if hx is None:
            hx = tuple(torch.zeros(shape, dtype=x.dtype, device=x.device) for shape in expected)
        if isinstance(input, PackedSequence):
            return self._record_packed(input, hx)
        return self._record_padded(input, hx)

    def _check_packed_state(self, packed: PackedSequence, hx: Any) -> None:
        """Raise, as torch does for padded input, where its operator would read outside of the states."""
        tracing = torch.jit.is_tracing() or torch.compiler.is_compiling()  # type: ignore[attr-defined]
        if hx is None or tracing:  # while tracing, sizes are not numbers
            return
        x, batch_sizes, _, _ = packed
        expected = self.get_expected_hidden_size(x, batch_sizes), self.get_expected_cell_size(x, batch_sizes)
        for n, (state, shape) in enumerate(zip(hx, expected, strict=False)):
            self.check_hidden_size(state, shape, f"Expected hidden[{n}] size {{}}, got {{}}")

    def _expected_state(self, x: Tensor, batch_sizes: Tensor | None) -> _Shapes | None:
        """Return the shapes that h_0 and c_0 need to have, or None if the input itself does not fit."""
        batch: tuple[int, ...] = ()
        if batch_sizes is not None:
            good = x.dim() == 2
            batch = (int(batch_sizes[0]),)
        else:
            good = x.dim() in (2, 3) and x.size(self._time(x)) > 0
            if x.dim() == 3:
                batch = (x.size(1 - self._time(x)),)
        same_type = x.dtype == self._weights(0).W_ih.dtype or torch._C._is_any_autocast_enabled()
        if not (good and same_type and x.size(-1) == self.input_size):
            return None
        states = self.num_layers * (2 if self.bidirectional else 1)
        return (states, *batch, self.proj_size or self.hidden_size), (states, *batch, self.hidden_size)

    def _time(self, x: Tensor) -> int:
        """Return which dimension of padded input or output is time."""
        return 1 if self.batch_first and x.dim() == 3 else 0

    def _record_padded(self, x: Tensor, hx: _State) -> tuple[Tensor, _State, Record]:
        if x.dim() == 2:
            y, h_n, c_n, layers = self._layers(x[:, None], hx[0][:, None], hx[1][:, None], None)
            return y[:, 0], (h_n[:, 0], c_n[:, 0]), Record(layers)
        y, h_n, c_n, layers = self._layers(x.transpose(0, self._time(x)), *hx, None)
        return y.transpose(0, self._time(y)), (h_n, c_n), Record(layers)

    def _record_packed(self, packed: PackedSequence, hx: _State) -> tuple[PackedSequence, _State, Record]:
        layout = Layout.of(packed)
        y, h_n, c_n, layers = self._layers(layout.unpack(packed.data), *hx, layout)
        return layout.wrap(layout.pack(y)), (h_n, c_n), Record(layers, layout.lengths)

    def _layers(
        self, x: Tensor, h_0: Tensor, c_0: Tensor, layout: Layout | None
    ) -> tuple[Tensor, Tensor, Tensor, tuple[LayerRecord, ...]]:
        """Run all layers and directions over (T, B, D)."""
        lengths = None if layout is None else layout.lengths
        directions = 2 if self.bidirectional else 1
        h_n: list[Tensor] = []
        c_n: list[Tensor] = []
        layers: list[LayerRecord] = []
        for layer in range(self.num_layers):
            if layer > 0:
                x = self._dropped(x, layout)
            ys: list[Tensor] = []
            records: list[LayerRecord] = []
            for direction in range(directions):
                k = layer * directions + direction
                y, h, c, record = sequence(
                    x, h_0[k], c_0[k], self._weights(k), reverse=direction == 1, lengths=lengths
                )
                ys.append(y)
                h_n.append(h)
                c_n.append(c)
                records.append(record)
            x = torch.cat(ys, dim=-1) if self.bidirectional else ys[0]
            reverse = records[1] if self.bidirectional else None
            layers.append(dataclasses.replace(records[0], reverse=reverse))
        return x, torch.stack(h_n), torch.stack(c_n), tuple(layers)

    def _dropped(self, y: Tensor, layout: Layout | None) -> Tensor:
        """Apply dropout between layers, drawing its mask as torch's operator does: packed if the input is."""
        if self.dropout == 0 or not self.training:
            return y
        if layout is None:
            return F.dropout(y, self.dropout)
        return layout.unpack(F.dropout(layout.pack(y), self.dropout))

    def _weights(self, k: int) -> Weights:
        """Return the parameters of one layer in one direction; k counts as hx does."""
        named = {name.split("_l")[0]: getattr(self, name) for name in self._all_weights[k]}
        return Weights(
            named["weight_ih"],
            named["weight_hh"],
            named.get("bias_ih"),
            named.get("bias_hh"),
            named.get("weight_hr"),
        )


def _fits(hx: Any, expected: _Shapes, dtype: torch.dtype) -> bool:
    """Whether hx is None or a pair of tensors of the expected shapes and of the input's type."""
    if hx is None:
        return True
    if not (isinstance(hx, (tuple, list)) and len(hx) == 2 and all(isinstance(s, Tensor) for s in hx)):
        return False
    same_type = torch._C._is_any_autocast_enabled() or all(state.dtype == dtype for state in hx)
    return same_type and tuple(tuple(state.shape) for state in hx) == expected


def _described(hx: Any) -> str:
    if not isinstance(hx, (tuple, list)):
        return type(hx).__name__
    return str([(tuple(s.shape), str(s.dtype)) if isinstance(s, Tensor) else type(s).__name__ for s in hx])
