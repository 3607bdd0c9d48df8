"""Labelled sequences, split, as a classifier or a tagger learns from them; and the classifier that fits them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, TypeVar, cast

import numpy as np
import polars as pl
from numpy.typing import NDArray

from gatewright.data.dataframes import is_dataframe
from gatewright.data.frame import Frame
from gatewright.data.number_format import Notation
from gatewright.data.sequence_categories import notes_on_unknown, with_codes
from gatewright.data.sequence_split import classes_of, stratified
from gatewright.data.sequence_table import SequenceRoles, sequences_of_table
from gatewright.data.sequences import Sequences
from gatewright.data.sources import TableSource, frame_of
from gatewright.data.table_files import FILE, FOLDER, TableFiles
from gatewright.data.ts_reader import read_ts
from gatewright.errors import DataError, shorten
from gatewright.spec import ClassHead, FeatureEncoder, ModelSpec, Scaler
from gatewright.tasks.classify.encoding import as_read_by, encode, fit, sized
from gatewright.tasks.options import DataOptions, Options
from gatewright.tasks.settings import ModelSettings, PartSettings, Settings

#: What a classifier learns from: a table, the path of one, of a ``.ts`` file or of a directory of tables, several
#: tables, or sequences in memory.
SequenceSource = TableSource | TableFiles | Sequences


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


#: A dataset of labelled sequences.
Data = TypeVar("Data", bound="LabelledData")


@dataclass(frozen=True)
class LabelledData:
    """Labelled sequences, split.

    Attributes:
        train: the training part.
        valid: the validation part.
        test: the test part; None without one.
        classes: the labels, in the order of the model's output.
        encoder: the columns that the model reads.
        scaler: their mean and scale in the training part; a model that was trained before has its own.
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

    def with_validation(self: Data) -> Data:
        """Return the same data with the validation part in the training part, too."""
        return replace(self, train=self.train.joined(self.valid))

    def parts(self) -> list[Sequences]:
        """Return the parts that are there, in order."""
        return [self.train, self.valid, *([] if self.test is None else [self.test])]


@dataclass(frozen=True)
class ClassData(LabelledData):
    """Sequences with one label each, split."""

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
        sequences = with_codes(sequences, options.category or ())
    else:
        if labelled and not options.label:
            what = "step" if options.label_per == "step" else "sequence"
            raise DataError("--label", f"the column of the label of each {what}", "none")
        if (files := files_of(source)) is not None:
            source = files.frame(notation_of(options), folders=labelled and options.label == FOLDER)
            options = replace(options, id=options.id or (FILE,))
        roles = SequenceRoles(
            options.id or (),
            options.label or "" if labelled else "",
            options.features or (),
            options.time or "",
            options.time_format or "",
            notation_of(options),
            fixed=not labelled,
            label_per=options.label_per or "sequence",
            category=options.category or (),
        )
        sequences, roles = sequences_of_table(cast("TableSource", source), roles)
        options = replace(options, features=roles.features, time=roles.time)
    if labelled and options.label_per == "step" and sequences.steps is None:
        raise DataError("labels", "a label for each step", f"none{_of_ts(source)}")
    if labelled and options.label_per != "step" and sequences.labels is None:
        raise DataError("labels", "a label for each sequence", "none")
    return sequences, options


def files_of(source: object) -> TableFiles | None:
    """Return several tables, or those of a directory; None for another source."""
    if isinstance(source, (str, Path)) and Path(source).is_dir():
        return TableFiles((Path(source),))
    return source if isinstance(source, TableFiles) else None


def rows_of(source: TableSource | TableFiles, options: DataOptions) -> tuple[Frame, DataOptions]:
    """Return the rows of a table or of several, and the options with the column that names their files."""
    if (files := files_of(source)) is None:
        return frame_of(cast("TableSource", source), notation_of(options)), options
    return files.frame(notation_of(options)), replace(options, id=options.id or (FILE,))


def notation_of(options: DataOptions) -> Notation:
    """Return how options say that numbers are written."""
    return Notation(options.decimal or ".", options.thousands or "", options.missing or ())


def _of_ts(source: SequenceSource) -> str:
    return ": a .ts file has one for each sequence" if is_ts(source) else ""


def source_of(value: object) -> Frame | Sequences | None:
    """Return sequences in memory, a data frame or an Arrow table as a source; None for anything else."""
    if isinstance(value, Sequences):
        return value
    if is_dataframe(value) or isinstance(value, (Frame, pl.LazyFrame)):
        return frame_of(cast("TableSource", value))  # which refuses a LazyFrame and says what helps
    return None


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


class Parts(NamedTuple):
    """Sequences of each part; None for a part that is empty."""

    train: Sequences
    valid: Sequences | None
    test: Sequences | None


class Labelling(NamedTuple):
    """How a kind of model splits labelled sequences, and finds its classes in them.

    Attributes:
        split: divides sequences, with a size of the test part that is no file.
        classes: the classes of the parts.
        labels: the labels that occur in some sequences, each with the place of the first one.
    """

    split: Callable[[Sequences, SequenceSettings, str], Parts]
    classes: Callable[[Parts], tuple[str, ...]]
    labels: Callable[[Sequences], Iterable[tuple[str, str]]]


def read(source: SequenceSource, options: DataOptions, spec: ModelSpec | None = None) -> ClassData:
    """Read and split sequences with one label each, and settle the options that depend on them.

    Raises:
        GatewrightError: see `read_parts` and `stratified`.
    """
    return read_parts(ClassData, Labelling(_stratified, _classes, _placed), source, options, spec)


def read_parts(
    kind: type[Data],
    labelling: Labelling,
    source: SequenceSource,
    options: DataOptions,
    spec: ModelSpec | None,
) -> Data:
    """Read and split labelled sequences, and settle the options that depend on them.

    Args:
        kind: class of the dataset.
        labelling: how it is split.
        source: see `SequenceSource`.
        options: the options.
        spec: of the model that is to read them, with its columns and classes; None before there is one.

    Raises:
        GatewrightError: see `read_sequences`; or if a column of the training part cannot be used, or a label is
            none of the model's classes.
    """
    settings = SequenceSettings.of(options)
    _require_no_roles(source, options)
    sequences, options = read_sequences(source, options)
    test_file = _test_file(settings.test)
    train, valid, test = labelling.split(sequences, settings, "0" if test_file else settings.test)
    if valid is None:
        raise DataError("--valid", "a share above 0, for the choice of the best model", shorten(settings.valid))
    trained = None if spec is None else spec.labeller
    classes = labelling.classes(Parts(train, valid, test)) if trained is None else trained[1].classes
    if trained is not None:
        _require_known(labelling.labels(sequences), classes, "the model")
    encoder, scaler, notes = fit(train, None if trained is None else trained[0])
    if sequences.unread:
        notes = (*notes, f"not read (--features names columns that are): {', '.join(sequences.unread)}")
    options = replace(options, category=as_read_by(encoder, options).category)
    if test_file:
        test = read_sequences(test_file, options)[0]
        placed = ((label, f"{test_file}, {place}") for label, place in labelling.labels(test))
        _require_known(placed, classes, "the training part")
        options = replace(options, test=str(test_file.resolve()))
    if options.features:
        options = replace(options, features=encoder.columns)
    for name, part in (("validation", valid), ("test", test)):
        if part is not None:
            encode(part, encoder, scaler, settings.fill)
            unknown = notes_on_unknown(part.select(encoder.columns), encoder.categories)
            notes += tuple(f"{name} part: {note}" for note in unknown)
    return kind(train, valid, test, classes, encoder, scaler, options, settings, notes)


def _stratified(sequences: Sequences, settings: SequenceSettings, test: str) -> Parts:
    """Split sequences class by class."""
    parts = stratified(_labels(sequences), settings.valid, test, settings.split_seed)
    valid, test_part = (sequences.take(numbers) if len(numbers) else None for numbers in (parts.valid, parts.test))
    return Parts(sequences.take(parts.train), valid, test_part)


def _classes(parts: Parts) -> tuple[str, ...]:
    return classes_of(_labels(parts.train))


def _placed(sequences: Sequences) -> Iterable[tuple[str, str]]:
    """Yield the label of each sequence, and its place."""
    for number, label in enumerate(_labels(sequences)):
        yield label, sequences.title(number)


def build(data: ClassData, options: Options) -> ModelSpec:
    """Return the specification of the model for the sequences."""
    size, reads = ModelSettings.of(options.model), ClassSettings.of(options.model)
    return ModelSpec(
        sized(data.encoder, options), size.stack(reads.directions), ClassHead(data.classes, reads.pooling)
    )


def _labels(sequences: Sequences) -> tuple[str, ...]:
    assert sequences.labels is not None
    return sequences.labels


def _test_file(test: str) -> Path | None:
    """Return the test part as a file, if it names one."""
    try:
        float(test)
    except ValueError:
        path = Path(test)
        return path if path.exists() or path.suffix else None
    return None


def _require_known(labels: Iterable[tuple[str, str]], classes: Sequence[str], source: str) -> None:
    """Require that labels, each with its place, are classes of a source."""
    for label, place in labels:
        if label not in classes:
            expected = f"a class of {source}, out of {', '.join(map(shorten, classes[:20]))}"
            raise DataError(place, expected, shorten(label))
