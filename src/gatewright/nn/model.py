"""A whole model as a torch module: encoder, LSTM stack, head; and the way to its file and back."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from gatewright.errors import GatewrightError, SpecError, path_of
from gatewright.files import model_file
from gatewright.nn import LSTM, Record, init, onnx_lstm, precision, stored_cell
from gatewright.nn.category_encoder import encoder_of
from gatewright.nn.linear import Linear
from gatewright.nn.pooling import Pool
from gatewright.nn.seasonal_skip import SeasonSkip
from gatewright.runtime.packed_model import WeightFormat
from gatewright.runtime.stream import Stream
from gatewright.spec import ClassHead, ModelSpec, QuantileHead, Scaler, TableSpec, Vocabulary

#: Hidden and cell states of all layers, each (layers, B, H), or a tuple of those of each layer where sizes differ.
State = tuple[Tensor, Tensor]


class Output(NamedTuple):
    """What a model gives.

    Attributes:
        y: a forecast (steps, B, horizon, targets, quantiles), in the scaler's units, or with the outputs of a
            distribution in place of the quantiles; or scores of the next symbol (steps, B, symbols); or scores of
            the classes of each row, (1, B, classes), or of each step and row, (steps, B, classes).
        state: hidden and cell states after the last step.
        record: the gates and states of every step, if asked for.
    """

    y: Tensor
    state: State
    record: Record | None


class Model(nn.Module):
    """An encoder, an LSTM stack and a head, built from a `ModelSpec`.

    Args:
        spec: what to build.
        scaler: numbers of the numeric columns; for an encoder of series or of features.
        vocabulary: the symbols; for a symbol encoder.
        table: how a forecaster's tables are read, for its file.
        forget_bias: initial sum of the forget gate's two biases, in every layer (Jozefowicz et al. 2015).
        chrono: longest dependencies in steps, for biases by `gatewright.nn.init.chrono_` in place of
            ``forget_bias``; 0 for none.

    Raises:
        SpecError: if scaler or vocabulary do not fit the encoder.

    >>> from gatewright.spec import StackSpec, SymbolEncoder, SymbolHead, UNKNOWN
    >>> spec = ModelSpec(SymbolEncoder(symbols=3, embedding_size=4), StackSpec(8), SymbolHead())
    >>> model = Model(spec, vocabulary=Vocabulary((UNKNOWN, "a", "b")))
    >>> model(torch.tensor([[1], [2]])).y.shape
    torch.Size([2, 1, 3])
    """

    def __init__(
        self,
        spec: ModelSpec,
        *,
        scaler: Scaler | None = None,
        vocabulary: Vocabulary | None = None,
        table: TableSpec | None = None,
        forget_bias: float = 1.0,
        chrono: int = 0,
    ) -> None:
        super().__init__()
        companions = {"scaler": scaler, "vocabulary": vocabulary}
        names = [name for name, companion in companions.items() if companion is not None]
        if names != [spec.encoder.companion]:
            got = f"{' and '.join(names) or 'neither'} for kind {spec.encoder.kind!r}"
            raise SpecError("model", "a scaler for numeric columns, a vocabulary for symbols", got)
        self.spec, self.scaler, self.vocabulary, self.table = spec, scaler, vocabulary, table
        #: Whether the weights are still to be found: not those of a model that `load` returned.
        self.is_new = True
        stack = spec.lstm
        self.encoder = encoder_of(spec)
        between = stack.dropout if stack.num_layers > 1 else 0.0  # torch warns of dropout with one layer
        self.lstm = LSTM(
            *(spec.input_size, stack.hidden_size, stack.num_layers),
            dropout=between,
            bidirectional=stack.bidirectional,
            cell=stack.cell,
            residual=stack.residual,
        )
        self.dropout = nn.Dropout(stack.dropout)
        self.pool = pool_of(spec, stack.output_size)
        self.head = Linear(stack.output_size, spec.output_size)
        self.season = new_skip(spec)
        self._initialise(forget_bias, chrono)

    @torch.no_grad()
    def _initialise(self, forget_bias: float, chrono: int) -> None:
        if chrono:
            init.chrono_(self.lstm, chrono)  # refuses a cell without a forget gate
        elif self.spec.lstm.forget_gate:
            init.forget_bias_(self.lstm, forget_bias)
        if self.spec.encoder.reads_targets:
            # The head gives a difference from the last value, so training starts from persistence.
            self.head.weight.zero_()
            self.head.bias.zero_()

    def forward(
        self,
        x: Tensor,
        state: State | None = None,
        # By keyword; torch.onnx.export(dynamo=False) gives all of a signature by place.
        last: int | None = None,
        record: bool = False,
        differences: Tensor | None = None,
        lengths: Tensor | None = None,
    ) -> Output:
        """Run the model over a sequence.

        Args:
            x: inputs (T, B, D) as `SeriesEncoder` or `FeatureEncoder` lists them, with the index of a category in
                place of its vector; or symbols (T, B).
            state: states to go on from; zeros if None.
            last: how many steps at the end to give an output for; all if None.  A classifier gives one for the
                whole sequence.
            record: whether to keep the gates and states of every step.
            differences: for a forecaster with seasons, those of the steps with an output: (steps, B, seasons,
                horizon, targets), as `gatewright.tasks.forecast.windows.Windows.batch` returns them.
            lengths: steps of each row (B,), on the CPU, where rows of unequal length are padded; for classifiers
                and taggers.

        Raises:
            GatewrightError: if the model has seasons and there are no differences, or the other way round.
        """
        inputs = self.encoder(x)
        if lengths is None or onnx_lstm.is_exported():
            outcome = self.lstm(inputs, state, lengths=lengths, record=record)
            hidden, state = outcome[:2]
        else:
            packed = pack_padded_sequence(inputs, lengths, enforce_sorted=False)
            outcome = self.lstm(packed, state, record=record)
            hidden, state = pad_packed_sequence(outcome[0])[0], outcome[1]
        if self.pool is not None:
            hidden = self.pool(hidden, lengths)[None]
        elif last is not None:
            hidden = hidden[-last:]
        y = self.readout(self.dropout(hidden), differences)
        return Output(y, state, outcome[2] if record else None)

    def pooled(self, hidden: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return what the head reads at each step, (T, B, P): the output of the stack, or a summary of its steps.

        Args:
            hidden: output of the stack (T, B, P).
            lengths: steps of each row (B,); all T if None.
        """
        return hidden if self.pool is None else self.pool.at_steps(hidden, lengths)

    def readout(self, hidden: Tensor, differences: Tensor | None = None) -> Tensor:
        """Return the output of steps, (T, B, ...) as `Output.y`.

        Args:
            hidden: what the head reads of the steps (T, B, P).
            differences: as for `forward`.

        Raises:
            GatewrightError: as `forward`.
        """
        return with_seasons(self.season, self.head(hidden).unflatten(-1, self.output_sizes), differences)

    @property
    def output_sizes(self) -> tuple[int, ...]:
        """Shape of the output of one step and row: (horizon, targets, quantiles), (symbols,) or (classes,)."""
        return self.spec.output_shape

    def save(self, path: Path | str) -> None:
        """Write the model file (`docs/model-file.md`)."""
        model_file.write(path, self.file())

    def stream(self, *, sessions: int = 1, threads: int = 1, weights: WeightFormat = "float32") -> Stream:
        """Return a stream with copies of the weights, to advance the model step by step without torch.

        Args:
            sessions: number of sessions.
            threads: maximum number of threads for a call.
            weights: how those of the gates are kept, as for `Stream.load`.
        """
        return Stream.of(self.file(), sessions=sessions, threads=threads, weights=weights)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the model, in hexadecimal; worked out at each call."""
        return self.file().fingerprint

    def file(self) -> model_file.ModelFile:
        """Return what the model file holds: the specification and the weights, in the memory of the parameters."""
        tensors = {
            name: precision.array(name, value) for name, value in stored_cell.without(self.state_dict()).items()
        }
        return model_file.ModelFile(self.spec, tensors, self.scaler, self.vocabulary, self.table)


def pool_of(spec: ModelSpec, width: int) -> Pool | None:
    """Return a new pooling of hidden states of a width, for the head of a model; None if it reads every step."""
    if not isinstance(spec.head, ClassHead):
        return None
    return Pool(spec.head.pooling, width, spec.lstm.bidirectional)


def new_skip(spec: ModelSpec) -> SeasonSkip | None:
    """Return the seasonal-difference skip of a model, with weights of 0; None for a model without seasons."""
    shapes = spec.encoder.season_tensors(spec.head.horizon)
    if not shapes:
        return None
    moved = spec.head.moved if isinstance(spec.head, QuantileHead) else None
    seasons, horizon, targets = shapes["season.weight"]
    return SeasonSkip(seasons, horizon, targets, moved)


def with_seasons(skip: SeasonSkip | None, y: Tensor, differences: Tensor | None) -> Tensor:
    """Return the output of a head with the seasonal differences, if the model has seasons.

    Args:
        skip: that of the model.
        y: (..., horizon, targets, outputs).
        differences: (..., seasons, horizon, targets); None without seasons.

    Raises:
        GatewrightError: if the model has seasons and there are no differences, or the other way round.
    """
    if (skip is None) != (differences is None):
        expected = "none: the model has no seasons" if skip is None else "the seasonal differences of the steps"
        raise GatewrightError("differences", expected, "none" if differences is None else "some")
    return y if skip is None or differences is None else skip(y, differences)


def load(path: Path | str) -> Model:
    """Read a model file, or that of a run directory, and build the model, in evaluation mode.

    No random number is drawn, so a training in the same process is not disturbed.

    Raises:
        ModelFileError: if the file is damaged, foreign or too new; nothing is built then.
        SpecError: if its specification cannot be read.
    """
    path = path_of(path, "path", "the path of a model file or of a run's directory")
    return of_file(model_file.read(path / "model.safetensors" if path.is_dir() else path))


def of_file(file: model_file.ModelFile) -> Model:
    """Build the model of a model file, in evaluation mode; see `load`."""
    with torch.device("meta"):  # initial weights would be drawn, to be overwritten
        model = Model(file.spec, scaler=file.scaler, vocabulary=file.vocabulary, table=file.table)
    model.is_new = False
    # Assigned, since `to_empty` would import SymPy, which takes half a second.
    dtype = torch.get_default_dtype()
    weights = {name: torch.tensor(value, dtype=dtype, device="cpu") for name, value in file.tensors.items()}
    model.load_state_dict(weights, assign=True)
    return model.eval()
