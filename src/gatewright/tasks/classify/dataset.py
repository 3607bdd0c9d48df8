"""Labelled sequences, split, as a classifier learns from them; and the model that fits them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gatewright.data.number_format import Notation
from gatewright.data.sequence_split import classes_of, stratified
from gatewright.data.sequence_table import SequenceRoles, sequences_of_table
from gatewright.data.sequences import Sequences
from gatewright.data.sources import TableSource
from gatewright.data.ts_reader import read_ts
from gatewright.errors import DataError, shorten
from gatewright.spec import ClassHead, FeatureEncoder, ModelSpec, Scaler, StackSpec
from gatewright.tasks.options import DataOptions, Options
from gatewright.tasks.settings import ModelSettings, PartSettings, Settings

#: What a classifier learns from: a table, the path of one or of a ``.ts`` file, or sequences in memory.
SequenceSource = TableSource | Sequences


@dataclass(frozen=True)
class SequenceSettings(PartSettings):
    """How sequences are split, read and weighed."""

    split_seed: int
    class_weights: str
    fill: str = ""


@dataclass(frozen=True)
class ClassSettings(Settings):
    """How a classifier reads a sequence."""

    pooling: str
    directions: str


@dataclass(frozen=True)
class ClassData:
    """Labelled sequences, split.

    Attributes:
        train: the training part.
        valid: the validation part.
        test: the test part; None without one.
        classes: the labels, in the order of the model's output.
        encoder: the columns that the model reads.
        scaler: their mean and scale in the training part.
        options: the options with everything that the data decided.
        settings: the options that do not depend on the data.
        notes: what was left out, in lines for a person.
    """

    train: Sequences
    valid: Sequences
    test: Sequences | None
    classes: tuple[str, ...]
    encoder: FeatureEncoder
    scaler: Scaler
    options: DataOptions
    settings: SequenceSettings
    notes: tuple[str, ...] = ()

    def require_test(self) -> Sequences:
        """Return the test part.

        Raises:
            DataError: without a test part.
        """
        if self.test is None:
            raise DataError(
                "test part", "one to evaluate on, as by --test 0.15 or a file", "--test 0 in the training"
            )
        return self.test

    def numbers(self, part: Sequences) -> NDArray[np.int64]:
        """Return the number of each sequence's class."""
        assert part.labels is not None
        places = {name: number for number, name in enumerate(self.classes)}
        return np.array([places[label] for label in part.labels], np.int64)


def read_sequences(
    source: SequenceSource, options: DataOptions, labelled: bool = True
) -> tuple[Sequences, DataOptions]:
    """Read sequences; return them, and the options with the columns that were detected.

    Args:
        source: see `SequenceSource`.
        options: the options.
        labelled: whether each sequence has to have a label.

    Raises:
        DataError: if the source cannot be read, or has no labels.
    """
    if isinstance(source, Sequences) or is_ts(source):
        sequences = source if isinstance(source, Sequences) else read_ts(Path(str(source)))
        sequences = sequences.select(options.features) if options.features else sequences
    else:
        if labelled and not options.label:
            raise DataError("--label", "the column of the label of each sequence", "none")
        roles = SequenceRoles(
            options.id or (),
            options.label or "" if labelled else "",
            options.features or (),
            options.time or "",
            options.time_format or "",
            Notation(options.decimal or ".", options.thousands or "", options.missing or ()),
            fixed=not labelled,
        )
        sequences, roles = sequences_of_table(source, roles)
        options = replace(options, features=roles.features, time=roles.time)
    if labelled and sequences.labels is None:
        raise DataError("labels", "a label for each sequence", "none")
    return sequences, options


def is_ts(source: object) -> bool:
    """Whether a source is the path of a ``.ts`` file."""
    return isinstance(source, (str, Path)) and Path(source).name.lower().removesuffix(".gz").endswith(".ts")


def _require_no_roles(source: SequenceSource, options: DataOptions) -> None:
    """Refuse options of tables that would have no effect on a source."""
    if not (isinstance(source, Sequences) or is_ts(source)):
        return
    what = "sequences in memory" if isinstance(source, Sequences) else "a .ts file"
    for name in ("id", "label", "time", "time_format", "thousands", "missing"):
        value = getattr(options, name)
        if value:
            flag = f"--{name.replace('_', '-')}"
            raise DataError(flag, f"no such option with {what}", shorten(value))


def read(source: SequenceSource, options: DataOptions) -> ClassData:
    """Read and split labelled sequences, and settle the options that depend on them.

    Raises:
        GatewrightError: see `read_sequences` and `stratified`; or if a column of the training part cannot be used.
    """
    settings = SequenceSettings.of(options)
    _require_no_roles(source, options)
    sequences, options = read_sequences(source, options)
    test_file = _test_file(settings.test)
    parts = stratified(
        _labels(sequences), settings.valid, "0" if test_file else settings.test, settings.split_seed
    )
    if not len(parts.valid):
        raise DataError("--valid", "a share above 0, for the choice of the best model", shorten(settings.valid))
    train, valid = sequences.take(parts.train), sequences.take(parts.valid)
    test = sequences.take(parts.test) if len(parts.test) else None
    classes = classes_of(_labels(train))
    encoder, scaler, notes = _fit(train)
    if test_file:
        test = read_sequences(test_file, options)[0]
        _require_known(test, classes, str(test_file))
        options = replace(options, test=str(test_file.resolve()))
    if options.features:
        options = replace(options, features=encoder.columns)
    for part in (valid, test):
        if part is not None:
            encode(part, encoder, scaler, settings.fill)
    return ClassData(train, valid, test, classes, encoder, scaler, options, settings, notes)


def build(data: ClassData, options: Options) -> ModelSpec:
    """Return the specification of the model for the sequences."""
    size, reads = ModelSettings.of(options.model), ClassSettings.of(options.model)
    stack = StackSpec(size.hidden, size.layers, size.dropout, size.proj, reads.directions == "both")
    return ModelSpec(data.encoder, stack, ClassHead(data.classes, reads.pooling))


def encode(
    sequences: Sequences, encoder: FeatureEncoder, scaler: Scaler, fill: str = ""
) -> list[NDArray[np.float32]]:
    """Return the rows that a model reads of each sequence, (T, D), in the order of `FeatureEncoder`.

    Args:
        sequences: with the columns of the encoder, and perhaps others.
        encoder: the columns.
        scaler: their mean and scale.
        fill: "mean" to read missing values as the mean also where the training part had none; "" refuses them.

    Raises:
        DataError: if a column is not there, a value is missing where the training part had all, or is too far off.

    >>> sequences = Sequences((np.array([[1.0], [np.nan]]),), ("x",), None, ("a",), ("",))
    >>> encode(sequences, FeatureEncoder(("x",), ("x",)), Scaler(("x",), (0.0,), (2.0,), ()))
    [array([[0.5, 1. ],
           [0. , 0. ]], dtype=float32)]
    """
    sequences = sequences.select(encoder.columns)
    may_miss = np.array([name in encoder.missing for name in encoder.columns])
    mean, scale = np.array(scaler.mean), np.array(scaler.scale)
    encoded = []
    for number, values in enumerate(sequences.values):
        missing = np.isnan(values)
        if not fill and (missing & ~may_miss).any():
            t, column = map(int, np.argwhere(missing & ~may_miss)[0])
            place = f"column {shorten(encoder.columns[column])}, row {t + 1} of {sequences.title(number)}"
            expected = "a number, as in the whole training part (--fill mean reads the mean instead)"
            raise DataError(place, expected, "nothing")
        scaled = (values - mean) / scale
        far = np.argwhere(np.abs(scaled) > _FARTHEST)
        if len(far):
            t, column = map(int, far[0])
            place = f"column {shorten(encoder.columns[column])}, row {t + 1} of {sequences.title(number)}"
            expected = f"a value within {_FARTHEST:g} standard deviations of the training part"
            raise DataError(place, expected, f"{values[t, column]:g}")
        observed = ~missing[:, may_miss]
        encoded.append(np.concatenate([np.nan_to_num(scaled), observed], axis=1, dtype=np.float32))
    return encoded


#: Maximum of standard deviations that leaves float32 room to compute with.
_FARTHEST = 1e20


def _labels(sequences: Sequences) -> tuple[str, ...]:
    assert sequences.labels is not None
    return sequences.labels


def _test_file(test: str) -> Path | None:
    """Return the test part as a file, if it names one."""
    try:
        float(test)
    except ValueError:
        path = Path(test)
        return path if path.is_file() or path.suffix else None
    return None


def _require_known(test: Sequences, classes: Sequence[str], source: str) -> None:
    """Require that the training part has the classes of a test file."""
    for number, label in enumerate(_labels(test)):
        if label not in classes:
            expected = f"a class of the training part, out of {', '.join(map(shorten, classes[:20]))}"
            raise DataError(f"{source}, {test.title(number)}", expected, shorten(label))


def _fit(train: Sequences) -> tuple[FeatureEncoder, Scaler, tuple[str, ...]]:
    """Return the columns that vary in the training part, their mean and scale, and notes on the others.

    Raises:
        DataError: if none of them varies, or one has no value.
    """
    rows = np.concatenate(train.values)
    names, missing, means, scales, constant = [], [], [], [], []
    for column, name in zip(rows.T, train.columns, strict=True):
        observed = column[np.isfinite(column)]
        if len(observed) == 0:
            raise DataError(f"column {shorten(name)}", "numbers in the training part", "none")
        varies = float(observed.std()) > 1e-12 * float(np.abs(observed).max())
        if not varies and len(observed) == len(column):
            constant.append(name)
            continue
        names.append(name)
        means.append(float(observed.mean()))
        scales.append(float(observed.std()) if varies else 1.0)  # where it is missing still tells
        missing += [name] if len(observed) < len(column) else []
    if not names:
        raise DataError("features", "columns that vary in the training part", "none")
    notes = (f"left out, the same in every row of the training part: {', '.join(constant)}",) if constant else ()
    encoder = FeatureEncoder(tuple(names), tuple(missing))
    return encoder, Scaler(encoder.columns, tuple(means), tuple(scales), ()), notes
