"""Options of a run: names, types, the options file, and the rules for their values."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

from gatewright.data.frequency import bin_step
from gatewright.data.time_zones import canonical
from gatewright.errors import GatewrightError, nearest, shorten, unusable
from gatewright.spec import AGGREGATES, CALENDAR, FILLS, READS

T = TypeVar("T")
#: Stands in an option until `resolve` gives it a value.
UNSET: Any = None

SCHEDULES = ("cosine", "linear", "constant")
DEVICES = ("auto", "cpu", "cuda", "mps", "xpu")


def _may_be_unset(options: type[T]) -> type[T]:
    """Declare at run time that options are None until `resolve`, so that type checkers accept their defaults."""
    options.__annotations__ = {name: f"{kind} | None" for name, kind in options.__annotations__.items()}
    return options


@_may_be_unset
@dataclass(frozen=True)
class DataOptions:
    """Columns, parts and windows of the data.

    Attributes:
        target: Columns to forecast (default: the only numeric column).
        past: Input columns known only up to now.
        known: Input columns known in advance, such as a weather forecast or a price list.
        static: Input columns that are constant for a series.
        time: Column of timestamps (default: detected); "none" takes the rows in order.
        time_format: Format of the timestamps, as in strftime (default: detected).
        time_zone: Time zone of the timestamps: a place such as Europe/Berlin, UTC, an offset such as +02:00, or
            "none" (default: the zone in the timestamps).
        id: Columns that identify the series of a row, in a table of several series: "store item".
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
            the horizon); in a text, before gradients are cut (default: 128).
        reset: Share of the streams of a text that start a chunk with a zero state, so that the model learns to
            start (default: 0.1).
        horizon: Number of steps to forecast (default: 1).
        quantiles: Quantile levels; 0.5 is the point forecast (default: 0.1 0.5 0.9).
        season: Length of the season in steps, for the seasonal-naive baseline (default: from the step; 24 for
            hours).
        valid: Validation part: a share, a number of rows or characters, or its first date (default: 0.15; text
            0.05).
        test: Test part, at the end: a share, a number or a date, as for --valid.
    """

    target: tuple[str, ...] = UNSET
    past: tuple[str, ...] = UNSET
    known: tuple[str, ...] = UNSET
    static: tuple[str, ...] = UNSET
    time: str = UNSET
    time_format: str = UNSET
    time_zone: str = UNSET
    id: tuple[str, ...] = UNSET
    resample: str = UNSET
    aggregate: str = UNSET
    decimal: str = UNSET
    thousands: str = UNSET
    missing: tuple[str, ...] = UNSET
    fill: str = UNSET
    reads: str = UNSET
    calendar: tuple[str, ...] = UNSET
    context: int = UNSET
    reset: float = UNSET
    horizon: int = UNSET
    quantiles: tuple[float, ...] = UNSET
    season: int = UNSET
    valid: str = UNSET
    test: str = UNSET


@_may_be_unset
@dataclass(frozen=True)
class ModelOptions:
    """Size of the model.

    Attributes:
        hidden: Number of units of each LSTM layer (default: 64; text 512).
        layers: Number of LSTM layers (default: 1).
        dropout: Dropout rate between layers and before the head (default: 0.2).
        proj: Width of the projected hidden state; 0 for none (default: 0).
        embedding: Width of the embedding of a symbol, for text (default: 64).
        forget_bias: Initial bias of the forget gates (default: 1).
    """

    hidden: int = UNSET
    layers: int = UNSET
    dropout: float = UNSET
    proj: int = UNSET
    embedding: int = UNSET
    forget_bias: float = UNSET


@_may_be_unset
@dataclass(frozen=True)
class TrainingOptions:
    """Optimization.

    Attributes:
        epochs: Number of passes over the training part (default: from --steps; text 10).
        steps: Number of optimizer steps, without --epochs (default: 1000; text: from the epochs).
        batch: Number of windows or text streams in a step, over all processes (default: 64; text 32).
        lr: Maximum learning rate of AdamW (default: 0.001; text 0.002).
        schedule: Decay of the learning rate: "cosine", "linear" or "constant" (default: cosine).
        warmup: Number of steps of the linear warm-up (default: 50).
        weight_decay: Decoupled weight decay (default: 0.01).
        clip: Maximum norm of the gradient; 0 for no clipping (default: 1).
        patience: Number of validations without improvement before the training stops; 0 for no limit (default: 5).
        validate_every: Steps between validations (default: 100; text: an epoch, at most 500).
        checkpoint_every: Steps between checkpoints, in addition to one at each validation (default: 100).
        seed: Random seed for weights, order and dropout (default: 0).
        device: "auto", "cpu", "cuda", "mps" or "xpu" (default: auto).
    """

    epochs: int = UNSET
    steps: int = UNSET
    batch: int = UNSET
    lr: float = UNSET
    schedule: str = UNSET
    warmup: int = UNSET
    weight_decay: float = UNSET
    clip: float = UNSET
    patience: int = UNSET
    validate_every: int = UNSET
    checkpoint_every: int = UNSET
    seed: int = UNSET
    device: str = UNSET


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
            given = {name: value for name, value in vars(mine).items() if value is not UNSET}
            if given.keys() & {"steps", "epochs"}:
                theirs = replace(theirs, steps=UNSET, epochs=UNSET)
            tables[table.name] = replace(theirs, **given)
        return Options(**tables)

    def plain(self) -> dict[str, dict[str, Any]]:
        """Return the options that are set as plain tables, ready for TOML."""
        return {
            table: {name: value for name, value in values.items() if value is not UNSET}
            for table, values in asdict(self).items()
        }


#: Options that may differ when a run goes on.
FREE = ("steps", "epochs", "patience", "device")
#: Leaves everything to the defaults.
NOTHING_SAID = Options()


def read_config(path: Path) -> Options:
    """Read options from a TOML file with the tables ``[data]``, ``[model]`` and ``[training]``.

    Raises:
        GatewrightError: names the table and option that cannot be used.
    """
    if sys.version_info >= (3, 11):
        import tomllib
    else:  # in here, so that the command line has its help where tomli is not installed
        import tomli as tomllib
    try:
        text = path.read_text("utf-8-sig")
    except OSError as error:
        raise unusable(GatewrightError, path, error) from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        got = f"byte 0x{error.object[error.start]:02x} in line {line}"
        raise GatewrightError(str(path), "a TOML file in UTF-8", got) from None
    try:
        tables = tomllib.loads(text)
    except RecursionError:
        raise GatewrightError(str(path), "TOML", "lists or tables nested too deeply") from None
    except ValueError as error:
        raise GatewrightError(str(path), "TOML", f"a mistake: {error}") from None
    classes = {table.name: type(table.default) for table in fields(Options)}
    for name in tables:
        if name not in classes:
            got = f"{shorten(name)}{_home(name) or nearest(name, classes)}"
            raise GatewrightError(str(path), f"tables out of {', '.join(classes)}", got)
    return Options(**{name: _read_table(path, name, classes[name], tables.get(name, {})) for name in classes})


def _read_table(path: Path, name: str, cls: type[Any], values: Any) -> Any:
    if not isinstance(values, Mapping):
        raise GatewrightError(f"{path} {name}", f"a table [{name}]", shorten(values))
    types = {option.name: str(option.type) for option in fields(cls)}
    ready = {}
    for option, value in values.items():
        if option not in types:
            got = f"{shorten(option)}{_home(option) or nearest(option, types)}"
            raise GatewrightError(f"{path} [{name}]", f"options out of {', '.join(types)}", got)
        ready[option] = _read_value(f"{path} [{name}] {option}", types[option], value)
    return cls(**ready)


def _home(option: str) -> str:
    """Return a hint at the table that an option stands in, or an empty string."""
    homes = [table.name for table in fields(Options) if option in vars(table.default)]
    return f", which belongs in [{homes[0]}]" if homes else ""


_KINDS = {"int": "a whole number", "float": "a number", "str": "a text"}


def _read_value(argument: str, kind: str, value: Any) -> Any:
    if kind.startswith("tuple"):
        item = "str" if "str" in kind else "float"
        items = value if isinstance(value, list) else [value] if value != "" else []
        return tuple(_read_value(argument, item, one) for one in items)
    if kind == "float" and type(value) is int:
        if abs(value) > sys.float_info.max:
            raise GatewrightError(argument, "a number within a float's range", shorten(value))
        return float(value)
    if kind == "str" and type(value) in (int, float):  # valid = 0.15, id = 7
        return str(value)
    if kind == "str" and isinstance(value, date):  # valid = 2017-07-01
        return str(value)
    if type(value).__name__ != kind:
        raise GatewrightError(argument, _KINDS.get(kind, f"a value of type {kind}"), shorten(value))
    return value


#: Defaults that all kinds of model share.
TRAINING_DEFAULTS = TrainingOptions(
    schedule="cosine", warmup=50, weight_decay=0.01, clip=1.0, patience=5, checkpoint_every=100, seed=0,
    device="auto",
)  # fmt: skip
MODEL_DEFAULTS = ModelOptions(layers=1, proj=0, forget_bias=1.0)


def resolve(options: Options, kind: str, defaults: Options, by_data: Sequence[str] = ()) -> Options:
    """Fill in the defaults of a kind of model, and check every value that does not depend on the data.

    Args:
        options: the options that are set.
        kind: name of the kind, for errors.
        defaults: the defaults of the kind; an option of data or model without one is not an option of the kind.
        by_data: options whose defaults depend on the data.

    Raises:
        GatewrightError: names the option.
    """
    for table in ("data", "model"):
        for name, value in vars(getattr(options, table)).items():
            usable = getattr(getattr(defaults, table), name) is not UNSET or name in by_data
            if value is not UNSET and not usable:
                raise GatewrightError(_flag(name), f"no such option for a {kind} model", shorten(value))
    lengths = (options.training.steps, options.training.epochs)
    if lengths.count(UNSET) == 0:
        raise GatewrightError("--steps and --epochs", "one of them", "both")
    options = options.over(defaults)
    _check(options)
    if options.data.resample:
        bin_step(options.data.resample)
    elif options.data.aggregate:
        raise GatewrightError("--aggregate", "--resample STEP with it", shorten(options.data.aggregate))
    return options


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


_LARGEST = 2**31 - 1

Rule = tuple[Callable[[Any], bool], str]


def _at_least(least: int) -> Rule:
    return lambda value: least <= value <= _LARGEST, f"a whole number from {least} to {_LARGEST}"


def _one_of(names: tuple[str, ...]) -> Rule:
    return lambda value: value in names, f"one of {', '.join(filter(None, names))}"


def _is_zone(name: str) -> bool:
    """Whether a zone has this name; an error with the name that is nearest where none has."""
    return name == "" or canonical(name) is not None


_NOT_NEGATIVE: Rule = (lambda value: 0 <= value < float("inf"), "a number of at least 0")

RULES: dict[str, Rule] = {
    **{name: _at_least(1) for name in ("context", "horizon", "season", "hidden", "embedding")},
    "layers": (lambda value: 1 <= value <= 256, "a whole number from 1 to 256"),
    **{name: _at_least(1) for name in ("epochs", "steps", "batch", "validate_every", "checkpoint_every")},
    **{name: _at_least(0) for name in ("proj", "warmup", "patience", "seed")},
    "decimal": (lambda mark: mark in (".", ","), "a point or a comma"),
    "fill": _one_of(FILLS),
    "reads": _one_of(READS),
    "aggregate": _one_of(AGGREGATES),
    "schedule": _one_of(SCHEDULES),
    "device": _one_of(DEVICES),
    "time_zone": (_is_zone, "a place such as Europe/Berlin, UTC, an offset such as +02:00, or none"),
    "calendar": (
        lambda parts: list(parts) == ["none"] or len(set(parts) & set(CALENDAR)) == len(parts),
        f"none, or parts out of {', '.join(CALENDAR)}",
    ),
    "quantiles": (
        lambda levels: 0.5 in levels and all(a < b for a, b in pairwise((0.0, *levels, 1.0))),
        "rising levels between 0 and 1 with 0.5 among them",
    ),
    "dropout": (lambda value: 0 <= value < 1, "a rate from 0 up to, but not, 1"),
    "reset": (lambda value: 0 <= value <= 1, "a share from 0 to 1"),
    "lr": (lambda value: 0 < value < float("inf"), "a number above 0"),
    "weight_decay": _NOT_NEGATIVE,
    "clip": _NOT_NEGATIVE,
    "forget_bias": (lambda value: abs(value) <= 1000, "a number from -1000 to 1000"),
}


def _check(options: Options) -> None:
    for table in (options.data, options.model, options.training):
        for name, value in vars(table).items():
            if value is not UNSET and name in RULES and not RULES[name][0](value):
                raise GatewrightError(_flag(name), RULES[name][1], shorten(value))
