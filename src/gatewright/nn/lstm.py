"""The LSTM layer stack: torch's, by our kernels, and with ``record=True`` all that happens inside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, cast, overload

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from gatewright.errors import GatewrightError
from gatewright.nn import direct_call, fast_path, layer_run, layer_sizes, precision, stored_cell, variant
from gatewright.nn import initial_state as start
from gatewright.nn.fx_node import fx_node
from gatewright.nn.initial_state import State
from gatewright.nn.record import Record
from gatewright.nn.row_steps import RowSteps
from gatewright.runtime.packed_model import WeightFormat
from gatewright.runtime.stream import Stream
from gatewright.spec.cell import CellSpec, LayerWeights, cell_code


class LSTM(torch.nn.RNNBase):
    """A stack of LSTM layers, a drop-in for `torch.nn.LSTM` that shows its gates.

    Parameters, initial values, ``state_dict``, results and errors are those of `torch.nn.LSTM`; either one
    loads the other's ``state_dict``.  Called with ``record=True`` it returns a `Record` next to the result,
    with every gate, cell state and hidden state of every step; a loss may use them like any other tensor.

    On the CPU `gatewright.kernels` do the work, and the record is what they save for their backward pass.
    bfloat16 weights (``.bfloat16()``), ``torch.autocast("cpu", torch.bfloat16)`` and ``compute="bf16"`` make them
    round the operands of all products to bfloat16, and sum in float32, with gates and states in float32; float16
    is computed in float32.  On other devices, for second derivatives and for tangents, torch's operations do
    the work.

    Equations: Hochreiter & Schmidhuber 1997, Neural Computation 9(8), with the forget gate of Gers et al.
    2000, Neural Computation 12(10); projection: Sak et al. 2014, arXiv:1402.1128, equations 7 to 12
    (here without peepholes and without the non-recurrent part).

    Args:
        input_size: D, width of the input.
        hidden_size: H, units of each layer; a sequence of numbers for layers of unequal size, such as
            ``[128, 64, 32]``, from which the number of layers follows.
        num_layers: L, layers.
        bias: whether the gates have biases.
        batch_first: whether batched input and output are (B, T, ...) instead of (T, B, ...).
        dropout: rate on the output of every layer but the last, while training.
        bidirectional: whether each layer also runs in reverse; S is then 2, else 1.
        proj_size: P, width to which the hidden state is projected; 0 for none, P is then H.
        device: where the parameters are made.
        dtype: type of the parameters.
        checkpoint: for the backward pass keep only the states before every K-th step, and recompute the rest,
            with the same bits, at the cost of one more forward pass; 0 keeps the activations of every step.
            Rounded up to a multiple of the steps that the backward pass takes at once (`kernels.chunk_steps`).
            A pass that records, or that torch's operations do, keeps everything.
        compute: "full", or "bf16" to compute in bf16 with float32 weights, input and output: no state or gradient
            of a weight is rounded, and the results of a batch, of single steps and of a compiled layer have the
            same bits.  "int8" multiplies whole numbers of one byte, for float32 tensors and without gradients: the
            faster the larger the layer, with an error of about 1% a layer; the same holds of its bits.
        saved: how a bf16 pass keeps gates and cell states for its backward pass, and for a record: in "bf16", or
            in "float32" with twice the memory and smaller errors of the gradients.
        initial_state: where a call without hx starts: from "zeros", or from the parameters ``h_0`` (L*S, P) and
            ``c_0`` (L*S, H) with "learned"; they are zeros at first, and part of the ``state_dict``.
        cell: features in which the cell differs from the plain one (`docs/variants.md`), with the weights of the
            gates that it has, such as ``weight_ch_l0``; bias and projection are those of the layer, or of the
            cell.  Random choices of a training draw one seed a call from torch's generator.
        residual: whether the input of each layer after the first is added to its output (Wu et al. 2016,
            arXiv:1609.08144, section 3.1), which then have to be of one width.  Dropout acts on what the layer
            reads, not on what is added.

    Shapes:
        input (T, B, D), (T, D), or a `PackedSequence`; hx a pair (h_0, c_0) of `(L*S, B, P)` and
        `(L*S, B, H)`, without B for unbatched input; as ``initial_state`` says if None.  Returns y
        `(T, B, S*P)`, or as the input is, and a pair (h_n, c_n) shaped as hx.  With layers of unequal size each
        of the two is a tuple, of one tensor `(S, B, P)` or `(S, B, H)` for each layer.  Of an sLSTM, c is
        `(L*S, B, 3H)`: c, n and m in a row, n at least 0.

    Raises:
        SpecError: if the projection of the layer contradicts the cell.
        GatewrightError: if hidden sizes contradict ``num_layers``, or widths of layers ``residual``, if
            ``checkpoint`` is not a whole number of at least 0, ``compute``, ``saved`` or
            ``initial_state`` is none of its values, or ``compute`` does not fit the weights' type.  With "int8"
            also where a gradient is needed (a call within ``torch.no_grad()`` needs none), on other devices, in
            forward mode, for a cell with features, and for an h_0 outside of -1 to 1 without a projection.
        ValueError: if input is not 2-D or 3-D, or not of the type of the weights.
        RuntimeError: if sizes do not fit, or there are no steps.  The states that come with a packed sequence
            are checked too; `torch.nn.LSTM` reads out of bounds, or goes on, with some that do not fit.

    `torch.compile` takes it whole, and `torch.export` with any T and B; the retired `torch.jit.script` does not.
    It is a `torch.nn.RNNBase` but not a `torch.nn.LSTM`, since `torch.compile` breaks its graph at every one of
    those: where code asks whether a module is an LSTM, ask for ``(torch.nn.LSTM, gatewright.LSTM)``.

    >>> lstm = LSTM(input_size=3, hidden_size=4, num_layers=2)
    >>> y, (h_n, c_n), record = lstm(torch.ones(5, 2, 3), record=True)
    >>> record.layers[1].forget_gate.shape
    torch.Size([5, 2, 4])
    >>> torch.equal(record.layers[1].cell[-1], c_n[1])
    True
    """

    checkpoint: int = 0
    compute: str = "full"
    saved: str = "bf16"
    initial_state: str = "zeros"
    residual: bool = False
    _variant: CellSpec | None = None
    _is_torchs: bool = True

    # What `torch.nn.LSTM` adds to its base, for the errors that it raises and for what the kernels do not do.
    check_forward_args: Any = torch.nn.LSTM.check_forward_args
    permute_hidden: Any = torch.nn.LSTM.permute_hidden
    _torch_forward: Any = torch.nn.LSTM.forward

    def __init__(
        self,
        input_size: int,
        hidden_size: int | Sequence[int],
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
        *,
        checkpoint: int = 0,
        compute: Literal["full", "bf16", "int8"] = "full",
        saved: Literal["bf16", "float32"] = "bf16",
        initial_state: Literal["zeros", "learned"] = "zeros",
        cell: CellSpec | None = None,
        residual: bool = False,
    ) -> None:
        H, num_layers = layer_sizes.sizes(hidden_size, num_layers)
        cell = variant.merged(cell, bias, proj_size)
        if cell is not None:
            bias, proj_size = cell.bias, cell.proj_size
        if type(checkpoint) is not int or checkpoint < 0:
            raise GatewrightError("checkpoint", "a whole number of at least 0", repr(checkpoint))
        precision.require(compute, saved)
        start.require(initial_state, cell)
        layer_sizes.require_residual(residual, H, num_layers, proj_size)
        unequal = isinstance(H, tuple)
        super().__init__(
            "LSTM",
            input_size,
            min(H) if unequal else H,
            num_layers,
            bias=bias,
            batch_first=batch_first,
            dropout=dropout,
            bidirectional=bidirectional,
            proj_size=proj_size,
            device="meta" if unequal else device,
            dtype=dtype,
        )
        self.checkpoint, self.compute, self.saved = checkpoint, compute, saved
        self.initial_state = initial_state
        self.residual = residual
        if unequal:
            self.hidden_size = H  # torch has one size only
        if cell is not None and cell.features():
            self._variant = cell
        if self._variant is not None or unequal:
            variant.register(self, self.cell, device, dtype)
        self._is_torchs = not (unequal or residual)
        start.register(self)

    @property
    def cell(self) -> CellSpec:
        """What the cell of every layer is, its bias and projection included."""
        return self._variant or CellSpec(self.bias, self.proj_size)

    @property
    def hidden_sizes(self) -> tuple[int, ...]:
        """Units of each layer.

        >>> LSTM(3, [8, 4]).hidden_sizes
        (8, 4)
        """
        return layer_sizes.hidden_sizes(self)

    def get_expected_cell_size(self, input: Any, batch_sizes: Tensor | None) -> tuple[int, int, int]:  # noqa: A002
        """Return the shape of the cell states, for torch's checks of layers of one size."""
        states, rows, _ = torch.nn.LSTM.get_expected_cell_size(cast(Any, self), input, batch_sizes)
        return states, rows, layer_sizes.widths(self)[1][0]

    def reset_parameters(self) -> None:
        """Draw the weights anew as torch does; gains become 1, shifts and learned initial states zeros."""
        if layer_sizes.unequal(self):
            variant.draw(self)
        else:
            super().reset_parameters()
        variant.reset_norms(self)
        start.clear(self)

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        stored_cell.put(self._variant, self.residual, destination, prefix)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *further: Any) -> None:
        stored_cell.take(self.cell, self.residual, state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *further)

    def flatten_parameters(self) -> None:
        """Do what torch does for its own operator, which knows the plain cell only."""
        if self._variant is None and not layer_sizes.unequal(self):
            super().flatten_parameters()

    def extra_repr(self) -> str:
        """Return the arguments that are not at their defaults, as torch does."""
        own = {
            name: getattr(self, name) for name in ("checkpoint", "compute", "saved", "initial_state", "residual")
        }
        changed = [f"{name}={value!r}" for name, value in own.items() if value != getattr(LSTM, name)]
        if self._variant is not None:
            changed.append(f"cell=CellSpec({self._variant.in_words()})")
        return ", ".join([super().extra_repr(), *changed])

    @overload
    def forward(
        self,
        input: Tensor,
        hx: State | None = None,
        *,
        lengths: Tensor | None = None,
        mask: Tensor | None = None,
        reset: Tensor | None = None,
        reset_to: State | None = None,
        record: Literal[False] = False,
    ) -> tuple[Tensor, State]: ...

    @overload
    def forward(
        self,
        input: PackedSequence,
        hx: State | None = None,
        *,
        record: Literal[False] = False,
    ) -> tuple[PackedSequence, State]: ...

    @overload
    def forward(
        self,
        input: Tensor,
        hx: State | None = None,
        *,
        lengths: Tensor | None = None,
        mask: Tensor | None = None,
        reset: Tensor | None = None,
        reset_to: State | None = None,
        record: Literal[True],
    ) -> tuple[Tensor, State, Record]: ...

    @overload
    def forward(
        self, input: PackedSequence, hx: State | None = None, *, record: Literal[True]
    ) -> tuple[PackedSequence, State, Record]: ...

    def forward(
        self,
        input: Any,  # noqa: A002
        hx: Any = None,
        # By keyword, as the overloads say; torch.onnx.export(dynamo=False) gives them all by place.
        lengths: Any = None,
        mask: Any = None,
        reset: Any = None,
        reset_to: Any = None,
        record: bool = False,
    ) -> Any:
        """Run the stack over a sequence, and return the record too if asked for.

        Args:
            input: sequence, padded or packed.
            hx: initial state.
            lengths: steps of each row of padded input, (B,), whole numbers in any order, zero too.  Past a row's
                end y is zero; its last state is that at its end, where the reverse direction starts.
            mask: whether a row has a step, (T, B), bool, or (B, T) with ``batch_first``.  Over a step that it has
                not, the state is carried; x is not read there, and y is the state that is carried.
            reset: whether the state before a step is replaced by the reset state, shaped as ``mask``.  No gradient
                passes there.
            reset_to: the reset state of each layer and direction, a pair of (L*S, P) and (L*S, H), or with B in
                the middle; of tuples with layers of unequal size; if None, zeros, or what the layer learned to
                start from.
            record: whether to return the record.

        Raises:
            GatewrightError: names an argument that does not fit, or is given next to a packed sequence.

        >>> lstm, x = LSTM(3, 4), torch.ones(5, 2, 3)
        >>> y, (h_n, c_n) = lstm(x, lengths=torch.tensor([5, 2]))
        >>> bool((y[2:, 1] == 0).all()), torch.equal(h_n[0, 1], y[1, 1])
        (True, True)
        """
        packed = isinstance(input, PackedSequence)
        x = input.data if packed else input
        if reset is not None and reset_to is None and self.initial_state != "zeros":
            reset_to = start.pair(self)
        of_rows = {"lengths": lengths, "mask": mask, "reset": reset, "reset_to": reset_to}
        if not isinstance(x, Tensor):
            options = {name: value for name, value in of_rows.items() if value is not None}
            node = fx_node(self, input, hx, **options, **({"record": True} if record else {}))
            return self._torch_forward(input, hx) if node is None else node
        steps = RowSteps.of(input, self.batch_first, **of_rows)
        if hx is None and self.initial_state != "zeros":
            hx = start.learned(self, x, input.batch_sizes if packed else None)
        if packed:
            start.check_packed(self, input, hx)
        if self._variant is not None and self._variant.is_slstm:
            start.require_normalisers(self, "hx", hx)
            start.require_normalisers(self, "reset_to", reset_to)
        weights = self._current_weights()
        as_torch = self._is_torchs and not (record or steps or self._variant)
        direct = direct_call.run(self, x, hx, weights) if as_torch and not packed else None
        if direct is not None:
            return direct
        how = precision.arithmetic(self, x, weights, packed, hx)
        whole = how is not None or all(isinstance(W, Tensor) for W in weights)
        states = start.tensors_of(hx) if steps is None else steps.states(hx)
        looked_into = whole and fast_path.looked_into(x, states, weights)
        if not (how is not None or looked_into or (whole and not as_torch)):
            if not self._is_torchs:
                raise GatewrightError("weights", "a tensor each", str({type(W).__name__ for W in weights}))
            return self._torch_forward(input, hx)
        slowly = looked_into and fast_path.step_by_step(x, states, weights)
        by_kernels = how is not None and x.is_cpu and not slowly
        way = layer_run.Way(how, by_kernels, record, steps)
        y, state, gates_and_states = layer_run.run(self, input, hx, weights, way)
        return (y, state, gates_and_states) if record else (y, state)

    def _current_weights(self) -> list[Any]:
        """Return the weights that `torch.nn.LSTM` reads: ``_flat_weights``, after a look at what has changed.

        `torch.nn.RNNBase` makes that list again where an attribute of the module is no longer the tensor that it
        was, and else leaves in it whatever was put there.
        """
        parameters = self._parameters
        for reference, name in zip(self._flat_weight_refs, self._flat_weights_names, strict=False):
            weight = parameters.get(name)
            if weight is None or reference is None or reference() is not weight:
                break
        else:
            return self._flat_weights
        if torch.compiler.is_compiling():  # it must not keep tensors of the graph
            if not self._weights_have_changed():
                return self._flat_weights
            return [getattr(self, name, None) for name in self._flat_weights_names]
        self._update_flat_weights()
        return self._flat_weights

    def stream(self, *, sessions: int = 1, threads: int = 1, weights: WeightFormat = "float32") -> Stream:
        """Return a `gatewright.Stream` with copies of the weights: step by step, without torch, to the same bits.

        A layer with ``compute="bf16"`` has the bits of a stream with ``weights="bf16"``; the same holds of "int8".
        The bits of a cell that is zoned out, or has dropout, are those of the layer after `eval`.

        Args:
            sessions: number of sessions.
            threads: maximum number of threads for a call.
            weights: how they are kept, as for `Stream.load`.

        Raises:
            GatewrightError: if the layer is bidirectional, its weights are not finite float32, or ``weights`` are
                none that its cell has.

        >>> LSTM(3, 4).stream().step([1.0, 2.0, 3.0]).shape
        (4,)
        """
        named = zip(self._flat_weights_names, self._current_weights(), strict=True)
        arrays = {name: precision.array(name, weight) for name, weight in (*named, *start.parameters(self))}
        options: Any = {"sessions": sessions, "threads": threads, "weights": weights}
        return Stream.from_weights(arrays, cell=self.cell, residual=self.residual, **options)

    def layer_weights(self, layer: int, reverse: bool = False) -> LayerWeights:
        """Return the parameters of one layer in one direction, as a call would read them now.

        >>> LSTM(3, 4, num_layers=2).layer_weights(1).W_ih.shape
        torch.Size([16, 4])
        """
        return self._stack(self._current_weights())[layer * (2 if self.bidirectional else 1) + reverse]

    def _stack(self, weights: list[Tensor]) -> list[LayerWeights]:
        """Return the weights of each layer and direction, in the order of hx."""
        cell = self._variant.code() if self._variant else cell_code(self.bias, self.proj_size)
        count = len(self._all_weights[0])
        return [LayerWeights.of(cell, weights[k : k + count]) for k in range(0, len(weights), count)]
