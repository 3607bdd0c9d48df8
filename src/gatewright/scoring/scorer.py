"""`Scorer`: a trained model over tables of many series, without torch."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from gatewright.data.frame import Frame
from gatewright.data.sources import frame_of
from gatewright.errors import GatewrightError, GatewrightWarning, SpecError
from gatewright.estimators.array_input import is_pandas
from gatewright.estimators.python_names import python_names
from gatewright.estimators.table_input import TableInput, require_distinct_ids, table_input
from gatewright.files import model_file, regular_file
from gatewright.files.model_path import MODEL_FILE, is_run, require_model_file
from gatewright.runs.run import Run
from gatewright.runtime.many_series import ManySeries
from gatewright.runtime.whole_sequences import WholeSequences
from gatewright.scoring.advance import advance_series, require_forecasts
from gatewright.scoring.class_scores import classes_of
from gatewright.scoring.notes import Notes
from gatewright.scoring.parts import scored_part
from gatewright.scoring.series_forecasts import Reading, forecast_series, long_enough, require_long
from gatewright.scoring.states import Snapshots, frame_of_states
from gatewright.scoring.whole_series import whole_series
from gatewright.spec import FILLS, SeriesEncoder
from gatewright.tasks.options import ALL_DEFAULTS, DataOptions


class Scored(NamedTuple):
    """What `Scorer.advance` returns.

    Attributes:
        forecasts: a frame of the library of the table.
        states: a snapshot of each series, for the next call: a polars DataFrame, or an Arrow table where the
            table is one.
    """

    forecasts: Any
    states: Any


class Scorer:
    """A trained model that scores tables of many series or sequences, without torch.

    A pickle of it holds the bytes of the model file.  Tables are read and checked as by the estimator of the
    model, with the same errors and the same answers.  Needs ``gatewright[score]`` (or ``[train]``).

    Args:
        model: directory of a run, path of a model file, or the bytes of one: of a forecaster, a classifier or a
            tagger.
        horizon: number of steps to forecast; that of the training if None.
        fill: how missing inputs are filled, "forward" or "mean"; as in training if None.
        threads: maximum number of threads for a call.
        id: the id columns of a classifier's or tagger's long tables; those of the training for the directory of a
            run.  A forecaster's file names its columns.
        time: likewise the time column, by which rows of a sequence are ordered.

    Raises:
        GatewrightError: if there is no such model, it is a language model, or an argument is none that it takes.

    >>> Scorer(b"")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    gatewright.errors.ModelFileError: model: header: expected a safetensors file, ... got 0 bytes
    """

    def __init__(
        self,
        model: Path | str | bytes,
        *,
        horizon: int | None = None,
        fill: str | None = None,
        threads: int = 1,
        id: str | Sequence[str] = (),  # noqa: A002  (the name of the role everywhere)
        time: str = "",
    ) -> None:
        if fill not in (None, *FILLS):
            raise GatewrightError("fill", "forward, mean or None", repr(fill)[:80])
        if isinstance(threads, bool) or not isinstance(threads, int) or threads < 1:
            raise GatewrightError("threads", "a whole number of at least 1", repr(threads)[:80])
        content = _content(model)
        file = model_file.of_bytes(content)
        roles: dict[str, Any] = {"id": (id,) if isinstance(id, str) else tuple(id), "time": time}
        named = {role: value for role, value in roles.items() if value}
        if file.spec.labeller is not None:
            if horizon is not None:
                raise GatewrightError("horizon", "None for a model of classes", str(horizon))
            options = replace(_options_of_run(model), **named)
            self._set(content, (horizon, fill, threads), options if fill is None else replace(options, fill=fill))
            return
        if named:
            role, value = next(iter(named.items()))
            raise GatewrightError(role, "none: a forecaster's file names its columns", repr(value)[:80])
        self._set(content, (horizon, fill, threads), None)

    def _set(self, content: bytes, arguments: tuple[Any, Any, int], options: DataOptions | None) -> None:
        self._content, self._arguments, self._options = content, arguments, options
        (horizon, fill, threads), file = arguments, model_file.of_bytes(content)
        self._file, self._classes = file, None
        if options is not None:
            self._classes = WholeSequences(file, threads)
            return
        if file.spec.forecaster is None:
            expected = "a forecaster, a classifier or a tagger; gatewright.load returns the estimator of any model"
            raise SpecError("model", expected, f"a model with an encoder of kind {file.spec.encoder.kind!r}")
        with python_names():
            self._reading = Reading.of(file, fill, horizon)
        self._model = ManySeries(file, threads)

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (self._content, self._arguments, self._options)

    def __repr__(self) -> str:
        encoder = self._file.spec.encoder
        return f"Scorer({list(encoder.targets or encoder.columns)}, fingerprint={self.fingerprint[:12]})"

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the model, in hexadecimal; snapshots have it."""
        return self._file.fingerprint

    @property
    def ids(self) -> tuple[str, ...]:
        """Columns that name the series of a row."""
        return self.reading.table.id if self._options is None else self._options.id or ()

    def score(self, table: Any) -> Any:
        """Forecast what follows the last observed target of each series, or name the class of each sequence.

        A forecast reads the model's context before it.

        Args:
            table: a frame of polars or pandas, or an Arrow table (any object with the Arrow PyCapsule interface),
                with the columns of the training; or the path of a file.  Inputs known in advance go on for as many
                rows as the model forecasts.

        Returns:
            A frame of the same library (polars for a path): ids, time, and each quantile of each target as
            ``<target>_q<level>``, in the target's units and with the time zone of the table.  Of a classifier a
            row for each sequence: ids, ``label`` and ``p_<class>`` for each class; of a tagger one for each row of
            the table.

        Raises:
            GatewrightError: if the table does not fit the model.
        """
        with python_names():
            if self._classes is not None:
                return _to_library(table)(self._classified(self._frame(table)))
            given = self._given(table)
            found = self._reading.read(given.source)
            require_long(found, self._reading.file)
            found, notes = long_enough(found, self._reading.file)
            _warn(notes)
            return given.answer(forecast_series(self._model, self._reading, found), found)

    def score_batches(self, tables: Iterable[Any], rows: int = 500_000) -> Iterator[Any]:
        """Forecast series that come in pieces, such as the record batches of a partition: `score` of whole series.

        Args:
            tables: frames as for `score`; some may have no rows.  The rows of a series stand together, and may go
                on in the next frame.
            rows: number of rows to gather before they are scored; series stay whole.

        Yields:
            Frames of the library of the first table; series that are too short are left out, perhaps all.

        Raises:
            GatewrightError: if a table does not fit the model, or a series comes again after another one.
        """
        library: list[Any] = []

        def frames() -> Iterator[pl.DataFrame]:
            for table in tables:
                library[:] = library or [_to_library(table)]
                if not _is_empty(table):
                    yield self._frame(table).cells

        with python_names():
            for cells in whole_series(frames(), self.ids, rows):
                if self._classes is not None:
                    yield library[0](self._classified(frame_of(cells)))
                    continue
                part = scored_part(self._model, self._reading, cells)
                _warn(part.notes)
                if part.forecasts is not None:
                    yield library[0](part.forecasts)

    def _classified(self, frame: Frame) -> pl.DataFrame:
        assert self._classes is not None
        assert self._options is not None
        answer, notes = classes_of(self._classes, self._file, frame, self._options)
        _warn(notes)
        return answer

    def advance(self, table: Any, states: Any = None) -> Scored:
        """Read all rows of each series, after those of its snapshot, and forecast what follows.

        Forecasts depend on the rows of a series, and not on how they were divided among calls: two calls have
        the bits of one with all rows.  `score` reads the model's context alone, and has other forecasts where
        there are more rows.  A series that has read fewer rows than the context is read, and not forecast yet.

        Args:
            table: as for `score`; of a series with a snapshot the rows after the one that was read last.
            states: the snapshots of an earlier call, a polars DataFrame or an Arrow table, or the path of a
                Parquet file of them; None to begin.

        Returns:
            The forecasts, and the snapshots of all series, also of those that the table lacks.

        Raises:
            StateError: if a snapshot is damaged or of another model.
            GatewrightError: if the table does not fit the model, or rows of a series do not follow upon its
                snapshot.
        """
        with python_names():
            reading = self.reading
            given = self._given(table)
            snapshots = self.snapshots(states)
            found, advanced = advance_series(self._model, reading, reading.read(given.source), snapshots)
            _warn(advanced.notes)
            forecasts = given.answer(require_forecasts(advanced, self._encoder.context), found)
            rows = snapshots.replaced(advanced.states)
            to_arrow = _to_library(table) is pl.DataFrame.to_arrow
            return Scored(forecasts, rows.to_arrow() if to_arrow else rows)

    def snapshots(self, states: Any = None) -> Snapshots:
        """Return snapshots by series; see `advance`."""
        self.reading  # noqa: B018  (refuses a model of classes)
        inputs = len(self._encoder.columns) - len(self._encoder.targets)
        rows = None if states is None else frame_of_states(states)
        return Snapshots(rows, self.ids, self._model.shape, inputs)

    @property
    def reading(self) -> Reading:
        """How a forecaster's tables are read.

        Raises:
            SpecError: if the model is none.
        """
        if self._classes is not None:
            raise SpecError("model", "a forecaster", "a model of classes, which has no snapshots of series")
        return self._reading

    @property
    def model(self) -> ManySeries:
        """A forecaster, packed."""
        return self._model

    @property
    def _encoder(self) -> SeriesEncoder:
        forecaster = self._reading.file.spec.forecaster
        assert forecaster is not None
        return forecaster[0]

    def _given(self, table: Any) -> TableInput:
        """Return a table as it came.

        Raises:
            GatewrightError: if it is no frame with named columns.
        """
        given = table_input(table)
        if not given.framed:
            expected = "a polars or pandas DataFrame, an Arrow table, or the path of a table"
            raise GatewrightError("table", expected, f"a {type(table).__name__}")
        require_distinct_ids(given, table, self.ids)
        return given

    def _frame(self, table: Any) -> Frame:
        source = self._given(table).source
        return source if isinstance(source, Frame) else frame_of(source)


def _again(content: bytes, arguments: tuple[Any, Any, int], options: DataOptions | None) -> Scorer:
    scorer = object.__new__(Scorer)
    scorer._set(content, arguments, options)
    return scorer


def _options_of_run(model: object) -> DataOptions:
    """Return how the tables of a run were read; the defaults for a model from elsewhere."""
    folder = Path(model) if isinstance(model, str | Path) else None
    if folder is not None and folder.name == MODEL_FILE:
        folder = folder.parent
    return Run.open(folder).options().data if folder is not None and is_run(folder) else ALL_DEFAULTS.data


def _content(model: object) -> bytes:
    """Return the bytes of a model file.

    Raises:
        GatewrightError: if there is none.
    """
    if isinstance(model, bytes):
        return model
    if not isinstance(model, str | Path):
        expected = "the directory of a run, the path of a model file, or the bytes of one"
        raise GatewrightError("model", expected, type(model).__name__)
    with regular_file.open_file(require_model_file(Path(model), "model")) as file:
        return file.read()


def _is_empty(table: Any) -> bool:
    """Say whether a frame has no rows, as some batches of an Arrow stream."""
    frames = ("__arrow_c_stream__", "__arrow_c_array__", "iloc")
    return any(hasattr(table, each) for each in frames) and hasattr(table, "__len__") and len(table) == 0


def _to_library(table: Any) -> Callable[[pl.DataFrame], Any]:
    """Return what makes a frame of polars one of the library of a table."""
    if is_pandas(table):
        return pl.DataFrame.to_pandas
    arrow = sys.modules.get("pyarrow")
    if arrow is not None and isinstance(table, (arrow.Table, arrow.RecordBatch)):
        return pl.DataFrame.to_arrow
    return lambda frame: frame


def _warn(notes: Mapping[str, list[str]]) -> None:
    found = Notes()
    found.add(notes)
    for line in found.lines():
        warnings.warn(line, GatewrightWarning, stacklevel=3)
