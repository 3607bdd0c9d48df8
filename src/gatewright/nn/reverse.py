"""A layer that reads its sequence from the end, as other packages have it."""

from __future__ import annotations

from typing import Any, NoReturn

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from gatewright.errors import GatewrightError
from gatewright.nn.lstm import LSTM


class ReverseLSTM(LSTM):
    """A `gatewright.LSTM` that reads each row from its last step to its first.

    It is the second direction of a bidirectional layer alone: ONNX's direction "reverse", Keras's `go_backwards`.
    Step t of y belongs to step t of the input; the last state is that after the first step.  A record is in the
    order in which the layer reads: its index 0 is the last step of the input.

    Args:
        args: as for `gatewright.LSTM`, without ``bidirectional``.
        options: likewise.

    Raises:
        GatewrightError: if ``bidirectional`` is True.

    >>> layer, x = ReverseLSTM(3, 4), torch.ones(5, 2, 3)
    >>> y, (h_n, c_n) = layer(x)
    >>> torch.equal(h_n[0], y[0])
    True
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if self.bidirectional:
            raise GatewrightError("bidirectional", "False for a layer that reads from the end alone", "True")

    def forward(
        self,
        input: Any,  # noqa: A002
        hx: Any = None,
        *,
        lengths: Any = None,
        mask: Any = None,
        reset: Any = None,
        reset_to: Any = None,
        record: bool = False,
    ) -> Any:
        """Run the stack over a sequence from its end; arguments, results and errors as for `LSTM.forward`.

        Raises:
            GatewrightError: if the input is packed; padded input with ``lengths`` says the same.
        """
        if isinstance(input, PackedSequence):
            expected = "padded input with lengths for a layer that reads from the end"
            raise GatewrightError("input", expected, "a PackedSequence")
        if not isinstance(input, Tensor) or input.dim() not in (2, 3):
            return super().forward(input, hx)  # which says what is wrong with it
        time = 1 if input.dim() == 3 and self.batch_first else 0
        order = _order(input, time, lengths)
        mask, reset = (each if each is None else _taken(each, time, order) for each in (mask, reset))
        options: dict[str, Any] = {"lengths": lengths, "mask": mask, "reset": reset, "reset_to": reset_to}
        options["record"] = record
        y, *others = super().forward(_taken(input, time, order), hx, **options)
        return (_taken(y, time, order), *others)

    def stream(self, **_options: Any) -> NoReturn:
        """Refuse: a stream does not have the end of its sequence.

        Raises:
            GatewrightError: always.
        """
        raise GatewrightError("stream", "a layer that reads from the first step", "one that reads from the last")


def _order(input: Tensor, time: int, lengths: Any) -> Tensor | None:  # noqa: A002
    """Return which step of each row is read at each step, (T, B), (B, T) or (T,); None for the reverse."""
    rows = input.shape[1 - time : 2 - time] if input.dim() == 3 else ()
    if not isinstance(lengths, Tensor) or lengths.shape != rows:
        return None  # lengths that do not fit are refused by the layer
    steps = torch.arange(input.shape[time], device=input.device)
    lengths = lengths.to(input.device)
    if rows:
        steps, lengths = (steps[:, None], lengths) if time == 0 else (steps, lengths[:, None])
    return torch.where(steps < lengths, lengths - 1 - steps, steps)


def _taken(values: Any, time: int, order: Tensor | None) -> Any:
    """Return steps in the order in which they are read, which is also the way back."""
    if not isinstance(values, Tensor):
        return values  # refused by the layer
    if order is None:
        return values.flip(time)
    if values.shape[: order.dim()] != order.shape:
        return values
    return values.gather(time, order.reshape(*order.shape, *[1] * (values.dim() - order.dim())).expand_as(values))
