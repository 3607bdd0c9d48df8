"""What a model is: frozen dataclasses that go to JSON and back unchanged.

A model is an encoder (numeric columns, or an embedding of symbols), a stack of LSTM layers, and a head
(quantiles of the next values, the next symbol, or a label for the sequence or for each step).  The numbers that a
model needs in addition to its weights - the scaler of its columns, or its vocabulary - are here too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from gatewright.errors import shorten
from gatewright.spec.cell import CellSpec
from gatewright.spec.cell_features import CellFeatures
from gatewright.spec.encoders import Encoder, FeatureEncoder, SeriesEncoder, SymbolEncoder
from gatewright.spec.heads import HEADS, ClassHead, QuantileHead, StepClassHead, SymbolHead
from gatewright.spec.json import Spec, left_out, require, require_size, require_text

#: What a step keeps of the rows that are gathered into it; "" stands for the mean.
AGGREGATES = ("", "mean", "sum", "last")


@dataclass(frozen=True)
class StackSpec(CellFeatures):
    """A stack of LSTM layers, as in `torch.nn.LSTM`; that of a classifier or a tagger may run in both directions.

    The cell of its layers has the features of `CellFeatures`, by keyword.

    Attributes:
        hidden_size: units of each layer; a tuple of the units of all layers where these differ.
        num_layers: layers; 1 leaves it to a tuple of units.
        dropout: rate between layers and before the head, while training.
        proj_size: width of the projected hidden state; 0 for none.
        bidirectional: whether each layer also runs in reverse, over whole sequences.
        residual: whether each layer after the first adds its input to its output.

    >>> StackSpec((16, 8)).num_layers, StackSpec((8, 8)) == StackSpec(8, 2)
    (2, True)
    """

    hidden_size: int | tuple[int, ...]
    num_layers: int = 1
    dropout: float = 0.0
    proj_size: int = 0
    bidirectional: bool = left_out(False, since=3)
    residual: bool = left_out(False, since=6)

    def __post_init__(self) -> None:
        self._unify()
        sizes = self.hidden_size if isinstance(self.hidden_size, tuple) else (self.hidden_size,)
        for size in sizes:
            require_size("hidden_size", size)
        require_size("num_layers", self.num_layers)
        require(0.0 <= self.dropout < 1.0, "dropout", "a rate from 0 up to, but not, 1", self.dropout)
        require(0 <= self.proj_size < min(sizes), "proj_size", "0 or less than hidden_size", self.proj_size)
        if self.residual:
            require(self.num_layers > 1, "residual", "false for one layer, or two layers or more", "true")
            expected = "false, or layers of one hidden_size or with a proj_size, whose outputs can be added"
            got = f"true with hidden_size={self.hidden_size}"
            require(not self.is_unequal or self.proj_size > 0, "residual", expected, got)
        for size in sizes:
            self.cell.require_heads(size)  # after the features, which the cell checks

    def _unify(self) -> None:
        """Make a tuple of equal sizes one size, so that equal stacks are equal; the number of layers follows."""
        sizes = self.hidden_size
        if not isinstance(sizes, tuple):
            return
        whole = len(sizes) > 0 and all(type(size) is int for size in sizes)
        require(whole, "hidden_size", "a whole number, or one for each layer", sizes)
        require(self.num_layers in (1, len(sizes)), "num_layers", f"{len(sizes)}, as hidden_size", self.num_layers)
        object.__setattr__(self, "num_layers", len(sizes))
        if len(set(sizes)) == 1:
            object.__setattr__(self, "hidden_size", sizes[0])

    def version(self) -> int:
        """Return the version of the model file's format that has every field in use, as `Spec.version`."""
        return max(super().version(), 6 if self.is_unequal else 0)

    @property
    def is_unequal(self) -> bool:
        """Whether the layers differ in size."""
        return isinstance(self.hidden_size, tuple)

    @property
    def hidden_sizes(self) -> tuple[int, ...]:
        """Units of each layer."""
        return self.hidden_size if isinstance(self.hidden_size, tuple) else (self.hidden_size,) * self.num_layers

    @property
    def output_sizes(self) -> tuple[int, ...]:
        """Width of the output of each layer: that of its hidden state, in each direction."""
        directions = 2 if self.bidirectional else 1
        return tuple((self.proj_size or size) * directions for size in self.hidden_sizes)

    @property
    def cell_state_sizes(self) -> tuple[int, ...]:
        """Width of the cell state of each layer, in one direction."""
        return tuple(map(self.cell.cell_state_size, self.hidden_sizes))

    @property
    def output_size(self) -> int:
        """Width of the stack's output: that of the last hidden state, in each direction."""
        last = self.hidden_size[-1] if isinstance(self.hidden_size, tuple) else self.hidden_size
        return (self.proj_size or last) * (2 if self.bidirectional else 1)

    @property
    def cell(self) -> CellSpec:
        """What the cell of every layer is; in JSON its features are fields of the stack."""
        return CellSpec.of(self, proj_size=self.proj_size)

    def tensors(self, input_size: int) -> dict[str, tuple[int, ...]]:
        """Name and shape of every weight, in order, for an input of this width."""
        widths = (input_size, *self.output_sizes[:-1])
        directions = ("", "_reverse") if self.bidirectional else ("",)
        return {
            f"lstm.{name}_l{layer}{direction}": shape
            for layer, (D, H) in enumerate(zip(widths, self.hidden_sizes, strict=True))
            for direction in directions
            for name, shape in self.cell.weights(D, H).items()
        }


@dataclass(frozen=True)
class ModelSpec(Spec):
    """A whole model: encoder, LSTM stack, head.

    Raises:
        SpecError: if the parts do not fit together.

    >>> spec = ModelSpec(SymbolEncoder(symbols=66, embedding_size=32), StackSpec(128), SymbolHead())
    >>> ModelSpec.from_json(spec.to_json()) == spec
    True
    >>> spec.tensors()["lstm.weight_hh_l0"]
    (512, 128)
    """

    encoder: SeriesEncoder | SymbolEncoder | FeatureEncoder
    lstm: StackSpec
    head: QuantileHead | SymbolHead | ClassHead | StepClassHead

    def __post_init__(self) -> None:
        require(
            type(self.encoder) in HEADS, "encoder", f"one of {[each.__name__ for each in HEADS]}", self.encoder
        )
        heads = HEADS[type(self.encoder)]
        kinds = " or ".join(repr(head.kind) for head in heads)
        require(isinstance(self.head, heads), "head", f"kind {kinds} for this encoder", self.head)
        if isinstance(self.head, QuantileHead):
            for name, bounds in (("minimum", self.head.minimum), ("maximum", self.head.maximum)):
                one_each = len(bounds) in (0, len(self.encoder.targets))
                require(
                    one_each, f"head.{name}", f"a number for each of {len(self.encoder.targets)} targets", bounds
                )
            if self.head.counts:
                expected = f"none with a distribution of {self.head.distribution!r}"
                for name, extras in (("seasons", self.encoder.seasons), ("transform", self.encoder.transform)):
                    require(not extras, f"encoder.{name}", expected, extras)
                require(not self.encoder.window, "encoder.scale", "global with counts", "window")
        # Forecasts and texts go on step by step, and cannot see ahead.
        one_way = not self.lstm.bidirectional or isinstance(self.head, ClassHead | StepClassHead)
        require(one_way, "lstm.bidirectional", f"false with a head of kind {self.head.kind!r}", "true")
        require_size("input_size", self.input_size)
        require_size("output_size", self.output_size)

    @property
    def input_size(self) -> int:
        """Width of what the first LSTM layer reads."""
        return self.encoder.input_size(self.head.horizon)

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of the output of the head, of a step or sequence.

        (horizon, targets, quantiles), or the outputs of a distribution in their place; (symbols,) or (classes,).
        """
        return self.head.output_shape(self.encoder)

    @property
    def output_size(self) -> int:
        """Width of what the head gives."""
        return math.prod(self.output_shape)

    @property
    def forecaster(self) -> tuple[SeriesEncoder, QuantileHead] | None:
        """Encoder and head of a model that reads columns and gives quantiles; None for other models."""
        if isinstance(self.encoder, SeriesEncoder) and isinstance(self.head, QuantileHead):
            return self.encoder, self.head
        return None

    @property
    def classifier(self) -> tuple[FeatureEncoder, ClassHead] | None:
        """Encoder and head of a model that reads columns and gives one label a sequence; None for other models."""
        if isinstance(self.encoder, FeatureEncoder) and isinstance(self.head, ClassHead):
            return self.encoder, self.head
        return None

    @property
    def tagger(self) -> tuple[FeatureEncoder, StepClassHead] | None:
        """Encoder and head of a model that reads columns and gives one label a step; None for other models."""
        if isinstance(self.encoder, FeatureEncoder) and isinstance(self.head, StepClassHead):
            return self.encoder, self.head
        return None

    @property
    def labeller(self) -> tuple[FeatureEncoder, ClassHead | StepClassHead] | None:
        """Encoder and head of a model that gives labels, of sequences or of steps; None for other models."""
        return self.classifier or self.tagger

    def tensors(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every weight, in order."""
        width = self.lstm.output_size
        pool = self.head.tensors(width) if isinstance(self.head, ClassHead) else {}
        head = {"head.weight": (self.output_size, width), "head.bias": (self.output_size,)}
        seasons = self.encoder.season_tensors(self.head.horizon)
        return {**self.encoder.tensors(), **self.lstm.tensors(self.input_size), **pool, **head, **seasons}


@dataclass(frozen=True)
class Scaler(Spec):
    """The numbers that standardise columns, taken from the training part.

    Attributes:
        columns: names, the targets first.
        mean: mean of each column.
        scale: standard deviation of each column.
        change_scale: standard deviation of each target's change from row to row.
        transform_number: number of each target's transform: the power of "boxcox", the unit of "log1p" and
            "asinh", else 0; empty without transforms.  Mean and scales are those of the transformed targets then.
        deviation: standard deviation of each target in its own units; empty where ``scale`` has it.
        least_scale: smallest scale of a window of each target; empty without the scale of a window.
        scale_ratio: of each target, the mean change from row to row over the mean size, for the first rows of a
            window; likewise.
        scale_factor: of each target, the standard deviation over the mean change from row to row; likewise.

    >>> Scaler(columns=("load",), mean=(20.0,), scale=(4.0,), change_scale=(0.5,)).scale
    (4.0,)
    """

    columns: tuple[str, ...]
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    change_scale: tuple[float, ...]
    transform_number: tuple[float, ...] = left_out((), since=4)
    deviation: tuple[float, ...] = left_out((), since=4)
    least_scale: tuple[float, ...] = left_out((), since=4)
    scale_ratio: tuple[float, ...] = left_out((), since=4)
    scale_factor: tuple[float, ...] = left_out((), since=4)

    def __post_init__(self) -> None:
        require_text("scaler.columns", self.columns)
        same = len(self.columns) == len(self.mean) == len(self.scale) >= len(self.change_scale)
        require(same, "scaler", "one mean and one scale a column", self.columns)
        require(all(map(math.isfinite, self.mean)), "scaler.mean", "finite numbers", self.mean)
        good = all(math.isfinite(scale) and scale > 0 for scale in (*self.scale, *self.change_scale))
        require(good, "scaler.scale", "finite numbers above 0", (self.scale, self.change_scale))
        numbers = self.transform_number
        require(all(map(math.isfinite, numbers)), "scaler.transform_number", "finite numbers", numbers)
        good = all(math.isfinite(each) and each > 0 for each in self.deviation)
        require(good, "scaler.deviation", "finite numbers above 0", self.deviation)
        for name, numbers in (("least_scale", self.least_scale), ("scale_factor", self.scale_factor)):
            good = all(math.isfinite(each) and each > 0 for each in numbers)
            require(good, f"scaler.{name}", "finite numbers above 0", numbers)
        good = all(math.isfinite(each) and each >= 0 for each in self.scale_ratio)
        require(good, "scaler.scale_ratio", "finite numbers of at least 0", self.scale_ratio)

    @property
    def windows(self) -> tuple[tuple[float, ...], ...]:
        """The numbers of the scale of a window: smallest mean change, ratio and factor of each target."""
        return self.least_scale, self.scale_ratio, self.scale_factor

    @property
    def deviations(self) -> tuple[float, ...]:
        """Standard deviation of each column in its own units."""
        return self.deviation + self.scale[len(self.deviation) :]

    def misfit(self, encoder: Encoder) -> tuple[str, str, str] | None:
        """Return what does not fit an encoder (argument, expected, got), or None if all does."""
        if self.columns != encoder.columns:
            return "scaler.columns", f"those of the encoder, {shorten(encoder.columns)}", shorten(self.columns)
        if len(self.change_scale) != len(encoder.targets):
            expected = f"one number for each of {len(encoder.targets)} targets"
            return "scaler.change_scale", expected, f"{len(self.change_scale)}"
        for category in encoder.categories:
            place = encoder.columns.index(category.column)
            numbers = self.mean[place], self.scale[place]
            if numbers != (0.0, 1.0):
                return "scaler", f"mean 0 and scale 1 of category {shorten(category.column)}", shorten(numbers)
        transforms = encoder.transform
        for name, count in (("transform_number", len(self.transform_number)), ("deviation", len(self.deviation))):
            if count != len(transforms):
                expected = f"one number for each of {len(transforms)} transformed targets"
                return f"scaler.{name}", expected, f"{count}"
        windows = len(encoder.targets) if encoder.window else 0
        for name in ("least_scale", "scale_ratio", "scale_factor"):
            count = len(getattr(self, name))
            if count != windows:
                return f"scaler.{name}", f"one number for each of {windows} targets with a window", f"{count}"
        for transform, number in zip(transforms, self.transform_number, strict=True):
            if transform in ("log1p", "asinh") and number <= 0:
                return "scaler.transform_number", f"a unit above 0 for {transform}", f"{number}"
        return None
