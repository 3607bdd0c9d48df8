"""Options of a run, as a person sets them: names, types, and the rules for their values."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from itertools import pairwise
from typing import Any

from gatewright.data.frequency import bin_step
from gatewright.data.target_units import Transform
from gatewright.data.time_zones import canonical
from gatewright.errors import GatewrightError, shorten
from gatewright.spec import (
    AGGREGATES,
    CALENDAR,
    FAMILIES,
    FILLS,
    LONGEST_SEASON,
    MOST_SEASONS,
    POOLINGS,
    READS,
    TOKENS,
    TRANSFORMS,
    StackSpec,
)
from gatewright.spec.encoders import SCALES
from gatewright.spec.vocabulary import MOST_TOKENS
from gatewright.tasks.cell_words import PLAIN, features_of, words_of

SCHEDULES = ("cosine", "linear", "constant")
STARTS = ("data", "zero")
PRECISIONS = ("float32", "bf16")
DEVICES = ("auto", "cpu", "cuda", "mps", "xpu")
CLASS_WEIGHTS = ("none", "balanced")
DIRECTIONS = ("both", "forward")
LABEL_PER = ("sequence", "step")
#: Losses of a forecaster, and what the point forecast is that minimises each; "nll" is that of distributions.
LOSSES = {
    "quantile": "median", "mae": "median", "mse": "mean", "huber": "huber", "nse": "mean", "mase": "median",
    "nll": "median",
}  # fmt: skip
#: Losses that have a scale for each series.
WEIGHTED = ("nse", "mase")
#: Heads of a forecaster.
HEADS = ("quantiles", *FAMILIES)
CALIBRATIONS = ("width", "conformal", "none")


@dataclass(frozen=True)
class Rule:
    """A rule for the values of an option.

    Attributes:
        holds: whether a value keeps it.
        expected: what the rule asks for, as an error says it.
    """

    holds: Callable[[Any], bool]
    expected: str


_LARGEST = 2**31 - 1


def _rule(holds: Callable[[Any], bool], expected: str) -> dict[str, Rule]:
    """Return the metadata of a field with a rule."""
    return {"rule": Rule(holds, expected)}


def _at_least(least: int, largest: int = _LARGEST) -> dict[str, Rule]:
    return _rule(lambda value: least <= value <= largest, f"a whole number from {least} to {largest}")


def _one_of(names: tuple[str, ...]) -> dict[str, Rule]:
    return _rule(lambda value: value in names, f"one of {', '.join(filter(None, names))}")


def _is_zone(name: str) -> bool:
    """Whether a zone has this name; an error with the name that is nearest where none has."""
    return name == "" or canonical(name) is not None


_POSITIVE = _at_least(1)
_NATURAL = _at_least(0)
_NOT_NEGATIVE = _rule(lambda value: 0 <= value < float("inf"), "a number of at least 0")
_ZONE = _rule(_is_zone, "a place such as Europe/Berlin, UTC, an offset such as +02:00, or none")
_PARTS_OF_TIME = _rule(
    lambda parts: list(parts) == ["none"] or len(set(parts) & set(CALENDAR)) == len(parts),
    f"none, or parts out of {', '.join(CALENDAR)}",
)


def _are_seasons(values: tuple[str, ...]) -> bool:
    """Whether these are lengths of seasons, or none: then perhaps with that of the baseline."""
    lengths = values[1:] if values[:1] in (("none",), ("0",)) else values
    if not all(value.isascii() and value.isdecimal() and len(value) <= 7 for value in lengths):
        return False
    most = MOST_SEASONS if lengths == values else 1
    sizes = {int(value) for value in lengths}
    return (
        bool(values) and len(sizes) == len(lengths) <= most and all(1 <= size <= LONGEST_SEASON for size in sizes)
    )


def _are_sizes(value: Any) -> bool:
    sizes = value if isinstance(value, tuple) else (value,)
    return 1 <= len(sizes) <= _MOST_LAYERS and all(1 <= size <= _LARGEST for size in sizes)


_MOST_LAYERS = 256
_SIZES = _rule(_are_sizes, f"a whole number from 1 to {_LARGEST}, or one for each layer, such as 128,64,32")
_SEASONS = _rule(_are_seasons, f"none, or different lengths from 1 to {LONGEST_SEASON}, at most {MOST_SEASONS}")


def _are_bounds(values: tuple[str, ...]) -> bool:
    try:
        return bool(values) and all(value == "none" or math.isfinite(float(value)) for value in values)
    except ValueError:
        return False


#: A transform that the data decide on.
AUTO = "auto"


def _are_transforms(values: tuple[str, ...]) -> bool:
    try:
        return bool(values) and all(value == AUTO or Transform.of(value) for value in values)
    except GatewrightError:
        return False


_TRANSFORMS = _rule(
    _are_transforms,
    f"{AUTO}, {', '.join(TRANSFORMS)}, or with a number: boxcox:POWER (-2 to 2), log1p:UNIT, asinh:UNIT (above 0)",
)
_BOUNDS = _rule(_are_bounds, "finite numbers, or none")
_CATEGORY_SIZES = _rule(
    lambda sizes: (
        all(re.fullmatch(r".+=[1-9][0-9]{0,5}", each) for each in sizes)
        and len({each.rpartition("=")[0] for each in sizes}) == len(sizes)
    ),
    "a column and its width each, such as store=8, no column twice",
)
_LEVELS = _rule(
    lambda levels: 0.5 in levels and all(a < b for a, b in pairwise((0.0, *levels, 1.0))),
    "rising levels between 0 and 1 with 0.5 among them",
)


@dataclass(frozen=True)
class DataOptions:
    """Columns, parts and windows of the data.

    Attributes:
        target: Columns to forecast (default: the only numeric column).
        past: Input columns known only up to now.
        known: Input columns known in advance, such as a weather forecast or a price list.
        static: Input columns that are constant for a series; also one of --id.
        category: Columns among the inputs that hold codes, in addition to those of names and of true and false;
            with "none" first, no others (default: those of names and of true and false).
        holidays: Countries, or parts of them such as DE-BY, whose public holidays are known in advance: their
            number on the date of a step, or in a longer step.
        label: Column of the label of a sequence, for a classifier: all its rows have the same; or of each step,
            for a tagger.
        label_per: What has a label: a whole "sequence" (a classifier) or each "step" (a tagger, whose rows may
            also have none) (default: sequence).
        features: Columns that a classifier or a tagger reads (default: all that are numeric, without another role,
            and those that --category names).
        time: Column of timestamps (default: detected); "none" takes the rows in order.
        time_format: Format of the timestamps, as in strftime (default: detected).
        time_zone: Time zone of the timestamps: a place such as Europe/Berlin, UTC, an offset such as +02:00, or
            "none" (default: the zone in the timestamps).
        id: Columns that identify the series or the sequence of a row, in a table of several: "store item".
        resample: Width of the steps that rows are aggregated into, such as 15m, 1h, 1d, 1w or 1mo: for repeated
            and irregular timestamps.
        aggregate: Aggregate of the rows of such a step: "mean", "sum" or "last" (default: mean). With "sum",
            inputs known in advance keep their last value.
        decimal: Decimal mark of numbers: "." or "," (default: .).
        thousands: Thousands separator, such as "," or " " (default: none).
        missing: Words and numbers for a missing value, such as -999, in addition to NA, nan and similar words.
        fill: Fill missing inputs and rows: "forward" (last value) or "mean" (of the training part).
        reads: Inputs from past targets: "change", "level", "both" or "nothing" (default: change).
        calendar: Calendar inputs: hour_of_day, day_of_week, day_of_year, or "none" (default: those that the
            training part covers twice).
        context: Number of steps that the model reads before a forecast (default: 4 seasons, at least 32 and twice
            the horizon, and more for a long --season); in a text, before gradients are cut (default: 64); for a
            tagger, of the pieces that longer sequences are cut into for training (default: 500).
        reset: Share of the streams of a text that start a chunk with a zero state, so that the model learns to
            start (default: 0.1).
        horizon: Number of steps to forecast (default: 1).
        quantiles: Quantile levels; 0.5 is the point forecast (default: 0.1 0.5 0.9).
        head: Head of a forecaster: "quantiles", or a distribution that gives them: "normal", "student-t" (heavy
            tails), "mixture" (of three normals), for whole numbers "negative-binomial" or
            "zero-inflated-negative-binomial" (default: quantiles).
        season: Lengths of seasons in steps, such as 24 168: a forecast adds how the target went on one season
            before, times weights that are learned; the first is that of the seasonal-naive baseline. "none" adds
            nothing (default: those of the step, such as 24 and 168 for hours, that the training part shows).
        transform: Transform of the targets: "log", "log1p", "asinh", "boxcox" or "none", for all or one each;
            with a number its unit or power, such as asinh:0.5 or boxcox:0.3 (default: "auto", the best of some for
            the model that training starts from).
        scale: Scale of the targets: "global", of the training part, or "window", how much each series moves from
            row to row in the rows that are read, for series of unlike sizes, and for calm and wild times; there is
            none of each series, since a new one has no other (default: "auto", the better one for the model that
            training starts from).
        min: Lower bound of forecasts, such as 0, for all targets or one each; "none" for no bound (default: none).
        max: Upper bound of forecasts, likewise (default: none).
        tokens: Tokens of a text: "characters", "bytes" (of any file; none is unknown) or "bpe", which merges bytes
            that often come together, and needs gatewright[bpe] (default: characters).
        vocabulary_size: Maximum number of tokens of --tokens bpe, the 256 bytes included (default: 2048).
        valid: Validation part: a share, a number of rows, characters or sequences, or its first date (default:
            0.15; text 0.05).
        test: Test part, at the end: a share, a number or a date, as for --valid; 0 for none. For a classifier
            or a tagger also a file like the source.
        split_seed: Random seed of the split of sequences into parts (default: 0).
        class_weights: Weights of the classes in the loss: "none", or "balanced" for rare classes to count as much
            as common ones (default: none).
    """

    target: tuple[str, ...] | None = None
    past: tuple[str, ...] | None = None
    known: tuple[str, ...] | None = None
    static: tuple[str, ...] | None = None
    category: tuple[str, ...] | None = None
    holidays: tuple[str, ...] | None = None
    label: str | None = None
    label_per: str | None = field(default=None, metadata=_one_of(LABEL_PER))
    features: tuple[str, ...] | None = None
    time: str | None = None
    time_format: str | None = None
    time_zone: str | None = field(default=None, metadata=_ZONE)
    id: tuple[str, ...] | None = None
    resample: str | None = None
    aggregate: str | None = field(default=None, metadata=_one_of(AGGREGATES))
    decimal: str | None = field(
        default=None, metadata=_rule(lambda mark: mark in (".", ","), "a point or a comma")
    )
    thousands: str | None = None
    missing: tuple[str, ...] | None = None
    fill: str | None = field(default=None, metadata=_one_of(FILLS))
    reads: str | None = field(default=None, metadata=_one_of(READS))
    calendar: tuple[str, ...] | None = field(default=None, metadata=_PARTS_OF_TIME)
    context: int | None = field(default=None, metadata=_POSITIVE)
    reset: float | None = field(default=None, metadata=_rule(lambda value: 0 <= value <= 1, "a share from 0 to 1"))
    horizon: int | None = field(default=None, metadata=_POSITIVE)
    quantiles: tuple[float, ...] | None = field(default=None, metadata=_LEVELS)
    head: str | None = field(default=None, metadata=_one_of(HEADS))
    season: tuple[str, ...] | None = field(default=None, metadata=_SEASONS)
    transform: tuple[str, ...] | None = field(default=None, metadata=_TRANSFORMS)
    scale: str | None = field(default=None, metadata=_one_of((AUTO, *SCALES)))
    min: tuple[str, ...] | None = field(default=None, metadata=_BOUNDS)
    max: tuple[str, ...] | None = field(default=None, metadata=_BOUNDS)
    tokens: str | None = field(default=None, metadata=_one_of(TOKENS))
    vocabulary_size: int | None = field(default=None, metadata=_at_least(256, MOST_TOKENS))
    valid: str | None = None
    test: str | None = None
    split_seed: int | None = field(default=None, metadata=_NATURAL)
    class_weights: str | None = field(default=None, metadata=_one_of(CLASS_WEIGHTS))


@dataclass(frozen=True)
class ModelOptions:
    """Size of the model.

    Attributes:
        hidden: Number of units of each LSTM layer, or one number for each, such as 128,64,32 (default: 64; text
            512).
        layers: Number of LSTM layers (default: 1, or as many as --hidden has numbers).
        residual: Residual connections: each layer after the first adds its input to its output (Wu et al. 2016);
            layers of one size, or with --proj (default: off).
        dropout: Dropout rate between layers and before the head (default: 0.2; text 0.1).
        proj: Width of the projected hidden state; 0 for none (default: 0).
        cell: Features of the LSTM cell: peephole, coupled, layer_norm, input_gate=false (also forget_gate,
            output_gate), gate_activation=hard_sigmoid, candidate_activation=hard_tanh or identity (also
            output_activation), cell_clip=BOUND, and with a rate zoneout_cell, zoneout_hidden, hidden_dropout,
            candidate_dropout, weight_drop, such as zoneout_cell=0.1; several together. Or slstm, with heads=N and
            forget_gate_activation=exponential (default: plain).
        embedding: Width of the embedding of a symbol, for text (default: 64), or of a category (default: 3 to 50,
            by the number of its values).
        category_size: Widths of the vectors of some categories, such as store=8 kind=2; --embedding is that of the
            others.
        forget_bias: Initial bias of the forget gates (default: 1; text 0).
        chrono: Chrono initialization in place of --forget-bias, for dependencies of up to this number of steps:
            biases of forget gates of log(u), with u from 1 to one step less, and of input gates of -log(u); 0 for
            none (default: 0).
        noise: Noise on the inputs of a classifier or a tagger while training, in standard deviations of a column:
            against learning few sequences by heart (default: 0.3 with fewer than 1,000 training sequences of a
            classifier, else 0).
        shift: Random offset of each column of a sequence while training, the same at all of its steps, in standard
            deviations of the mean of a sequence within its class (default: 1 with fewer than 1,000 training
            sequences of a classifier, else 0).
        pooling: Summary of the steps of a sequence that a classifier decides by: "last", "mean", "max" or
            "attention" (default: max).
        directions: Directions in which a classifier or a tagger reads a sequence: "both", or "forward" for a model
            that can also stream (default: both; tagger forward).
        start: Start of a forecaster: "data" (a regression on seasons and hidden states, and the quantiles of what
            it leaves, in the training part) or "zero" (the last value) (default: data).
    """

    hidden: int | tuple[int, ...] | None = field(default=None, metadata=_SIZES)
    layers: int | None = field(default=None, metadata=_at_least(1, _MOST_LAYERS))
    residual: bool | None = None
    dropout: float | None = field(
        default=None, metadata=_rule(lambda value: 0 <= value < 1, "a rate from 0 up to, but not, 1")
    )
    proj: int | None = field(default=None, metadata=_NATURAL)
    cell: tuple[str, ...] | None = None
    embedding: int | None = field(default=None, metadata=_POSITIVE)
    category_size: tuple[str, ...] | None = field(default=None, metadata=_CATEGORY_SIZES)
    forget_bias: float | None = field(
        default=None, metadata=_rule(lambda value: abs(value) <= 1000, "a number from -1000 to 1000")
    )
    chrono: int | None = field(
        default=None,
        metadata=_rule(lambda value: value == 0 or 2 <= value <= 10**9, "0, or a number of steps from 2"),
    )
    noise: float | None = field(default=None, metadata=_NOT_NEGATIVE)
    shift: float | None = field(default=None, metadata=_NOT_NEGATIVE)
    pooling: str | None = field(default=None, metadata=_one_of(POOLINGS))
    directions: str | None = field(default=None, metadata=_one_of(DIRECTIONS))
    start: str | None = field(default=None, metadata=_one_of(STARTS))


@dataclass(frozen=True)
class TrainingOptions:
    """Optimization.

    Attributes:
        epochs: Number of passes over the training part (default: from --steps; text 10).
        steps: Number of optimizer steps, without --epochs (default: 1000; text: from the epochs).
        batch: Number of windows or text streams in a step, over all processes (default: 64; text 16).
        lr: Maximum learning rate of AdamW (default: 0.001; text 0.006).
        schedule: Decay of the learning rate: "cosine", "linear" or "constant" (default: cosine).
        warmup: Number of steps of the linear warm-up (default: 50).
        weight_decay: Decoupled weight decay (default: 0.01).
        clip: Maximum norm of the gradient; 0 for no clipping (default: 1).
        loss: Loss of a forecaster: "quantile" for quantiles; for one value "mae", "mse", "huber", "mase" or "nse"
            (squared error over the variance of its series, NSE* of Kratzert et al. 2019); "nll", the negative
            log-likelihood, for a --head with a distribution, which has no other (default: quantile or nll).
        calibrate: Calibration of a forecaster's intervals on the validation part, after training: "width" scales
            them for each step ahead and target, "conformal" shifts each quantile, "none" leaves them as they are
            (default: width; whole numbers of a --head none).
        refit: Train a new model on training and validation part, with the scaler and the calibration of the best
            one: a forecaster for as many steps as that one took, a classifier or a tagger for as many as the run
            (default: on for a forecaster with fewer than 2,000 training windows, else off).
        patience: Number of validations without improvement before the training stops; 0 for no limit (default: 10;
            text 5).
        validate_every: Steps between validations (default: 25; classifier and tagger 50; text: an epoch, at most
            500).
        checkpoint_every: Steps between checkpoints, in addition to one at each validation (default: 100).
        seed: Random seed for weights, order and dropout (default: 0).
        precision: Precision of the LSTM layers' products in training: "float32", or "bf16", which is faster on
            processors with bf16 instructions; weights, optimizer, head, loss and validations stay float32
            (default: float32).
        device: "auto", "cpu", "cuda", "mps" or "xpu" (default: auto).
    """

    epochs: int | None = field(default=None, metadata=_POSITIVE)
    steps: int | None = field(default=None, metadata=_POSITIVE)
    batch: int | None = field(default=None, metadata=_POSITIVE)
    lr: float | None = field(
        default=None, metadata=_rule(lambda value: 0 < value < float("inf"), "a number above 0")
    )
    schedule: str | None = field(default=None, metadata=_one_of(SCHEDULES))
    warmup: int | None = field(default=None, metadata=_NATURAL)
    weight_decay: float | None = field(default=None, metadata=_NOT_NEGATIVE)
    clip: float | None = field(default=None, metadata=_NOT_NEGATIVE)
    loss: str | None = field(default=None, metadata=_one_of(tuple(LOSSES)))
    calibrate: str | None = field(default=None, metadata=_one_of(CALIBRATIONS))
    refit: bool | None = None
    patience: int | None = field(default=None, metadata=_NATURAL)
    validate_every: int | None = field(default=None, metadata=_POSITIVE)
    checkpoint_every: int | None = field(default=None, metadata=_POSITIVE)
    seed: int | None = field(default=None, metadata=_NATURAL)
    precision: str | None = field(default=None, metadata=_one_of(PRECISIONS))
    device: str | None = field(default=None, metadata=_one_of(DEVICES))


@dataclass(frozen=True)
class Options:
    """All options of a run, in the tables of its ``config.toml``."""

    data: DataOptions = DataOptions()
    model: ModelOptions = ModelOptions()
    training: TrainingOptions = TrainingOptions()

    def over(self, other: Options) -> Options:
        """Return these options, and the other's where these say nothing.

        ``steps`` and ``epochs`` say one thing in two ways: where these say either, the other's are dropped.

        >>> Options().over(Options(training=TrainingOptions(seed=3))).training.seed
        3
        """
        tables = {}
        for table in fields(self):
            mine, theirs = getattr(self, table.name), getattr(other, table.name)
            values = {name: value for name, value in vars(mine).items() if value is not None}
            if values.keys() & {"steps", "epochs"}:
                theirs = replace(theirs, steps=None, epochs=None)
            tables[table.name] = replace(theirs, **values)
        return Options(**tables)

    def plain(self) -> dict[str, dict[str, Any]]:
        """Return the options that are set as plain tables, ready for TOML."""
        return {
            table: {name: value for name, value in values.items() if value is not None}
            for table, values in asdict(self).items()
        }


def stack_options(stack: StackSpec) -> ModelOptions:
    """Return the sizes of a stack as options.

    >>> stack_options(StackSpec(hidden_size=8)).hidden
    8
    """
    return ModelOptions(
        hidden=stack.hidden_size,
        layers=stack.num_layers,
        residual=stack.residual,
        dropout=stack.dropout,
        proj=stack.proj_size,
        cell=words_of(stack),
    )


#: Options that may differ when a run goes on.
FREE = ("steps", "epochs", "patience", "refit", "device")
#: Leaves everything to the defaults.
ALL_DEFAULTS = Options()


#: Defaults that all kinds of model share.
TRAINING_DEFAULTS = TrainingOptions(
    schedule="cosine", warmup=50, weight_decay=0.01, clip=1.0, patience=5, checkpoint_every=100, seed=0,
    precision="float32", device="auto",
)  # fmt: skip
MODEL_DEFAULTS = ModelOptions(layers=1, residual=False, proj=0, cell=(PLAIN,), forget_bias=1.0, chrono=0)


#: Options of the length of a training, some of which have no default.
_OF_ALL_KINDS = ("steps", "epochs", "validate_every")


def resolve(options: Options, kind: str, defaults: Options, by_data: Sequence[str] = ()) -> Options:
    """Fill in the defaults of a kind of model, and check every value that does not depend on the data.

    Args:
        options: the options that are set.
        kind: name of the kind, for errors.
        defaults: the defaults of the kind; an option without one is not an option of the kind, except for those
            that say how long a training is.
        by_data: options whose defaults depend on the data.

    Raises:
        GatewrightError: names the option.
    """
    for table in ("data", "model", "training"):
        for name, value in vars(getattr(options, table)).items():
            has_default = getattr(getattr(defaults, table), name) is not None
            usable = has_default or name in by_data or name in _OF_ALL_KINDS
            if value is not None and not usable:
                got = shorten(" ".join(map(str, value)) if isinstance(value, tuple) else value)
                raise GatewrightError(_flag(name), f"no such option for a {kind} model", got)
    lengths = (options.training.steps, options.training.epochs)
    if lengths.count(None) == 0:
        raise GatewrightError("--steps and --epochs", "one of them", "both")
    if options.model.chrono and options.model.forget_bias is not None:
        raise GatewrightError("--forget-bias and --chrono", "one of them", "both")
    set_bias = options.model.forget_bias is not None
    options = replace(options, model=_with_sizes(options.model)).over(defaults)
    if options.model.chrono:
        options = replace(options, model=replace(options.model, forget_bias=None))
    _check(options)
    _require_residual(options.model)
    if options.model.cell is not None:
        options = replace(options, model=_with_cell(options.model, set_bias))
    if options.data.resample:
        bin_step(options.data.resample)
    elif options.data.aggregate:
        raise GatewrightError("--aggregate", "--resample STEP with it", shorten(options.data.aggregate))
    return options


def _with_sizes(model: ModelOptions) -> ModelOptions:
    """Return options with the number of layers of several sizes, and one size where they are equal.

    Raises:
        GatewrightError: if ``layers`` is another number.
    """
    sizes = model.hidden
    if not isinstance(sizes, tuple) or not _are_sizes(sizes):
        return model
    if model.layers not in (None, len(sizes)):
        raise GatewrightError("--layers", f"{len(sizes)}, as many as --hidden has, or none", str(model.layers))
    return replace(model, hidden=sizes if len(set(sizes)) > 1 else sizes[0], layers=len(sizes))


def _require_residual(model: ModelOptions) -> None:
    """Require layers whose outputs can be added, where connections are residual.

    Raises:
        GatewrightError: names ``--residual``.
    """
    if not model.residual:
        return
    if model.layers == 1:
        raise GatewrightError("--residual", "--layers 2 or more with it", "one layer")
    if isinstance(model.hidden, tuple) and not model.proj:
        got = f"--hidden {','.join(map(str, model.hidden))}"
        raise GatewrightError("--residual", "one size for all layers, or --proj, with it", got)


def _with_cell(model: ModelOptions, set_bias: bool) -> ModelOptions:
    """Return options whose cell is in the words of `words_of`, with no bias of a forget gate that is not there.

    Raises:
        GatewrightError: if there is no such cell, or an option does not go with it.
    """
    cell = features_of(model.cell or (), model.proj or 0)
    for units in model.hidden if isinstance(model.hidden, tuple) else (model.hidden or 0,):
        if units % cell.heads:
            expected = f"a number that divides the {units} units of --hidden"
            raise GatewrightError("--cell heads", expected, str(cell.heads))
    if not cell.forget_gate:
        for name, is_set in (("--chrono", bool(model.chrono)), ("--forget-bias", set_bias)):
            if is_set:
                raise GatewrightError(name, "a cell with a forget gate", "--cell forget_gate=false")
        model = replace(model, forget_bias=None)
    return replace(model, cell=words_of(cell))


def require_label_per(options: DataOptions, what: str, kind: str) -> None:
    """Require that options name the unit of labels that a kind of model has, or none.

    Raises:
        GatewrightError: names ``--label-per``.
    """
    if options.label_per not in (None, what):
        raise GatewrightError("--label-per", f"{what!r} for a {kind} model", shorten(options.label_per))


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _check(options: Options) -> None:
    for table in (options.data, options.model, options.training):
        for option in fields(table):
            value, rule = getattr(table, option.name), option.metadata.get("rule")
            if value is not None and rule is not None and not rule.holds(value):
                raise GatewrightError(_flag(option.name), rule.expected, shorten(value))
