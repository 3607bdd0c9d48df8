"""Forecasters: quantiles of the next values of series."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from gatewright.errors import GatewrightError
from gatewright.spec import NO_CATEGORY, QuantileHead
from gatewright.tasks.base import Evaluation, Kind, SamplePaths, Share, StreamScore, Task
from gatewright.tasks.forecast.head_options import with_head
from gatewright.tasks.options import (
    AUTO,
    LOSSES,
    MODEL_DEFAULTS,
    TRAINING_DEFAULTS,
    WEIGHTED,
    DataOptions,
    Options,
    stack_options,
)
from gatewright.tasks.recipes import Recipe
from gatewright.tasks.search_space import Space
from gatewright.tasks.settings import BiasSettings, LossSettings, StartSettings, TrainingSettings

if TYPE_CHECKING:
    import torch
    from rich import table as rich_table
    from torch import Tensor

    from gatewright.data.sources import TableSource
    from gatewright.data.table import TrainingSource
    from gatewright.data.text_sources import TextFiles
    from gatewright.files.model_file import ModelFile
    from gatewright.nn.model import Model
    from gatewright.progress import Waits
    from gatewright.spec import ModelSpec
    from gatewright.tasks.forecast.auto_transform import StartLosses
    from gatewright.tasks.forecast.dataset import ReadableTable, SeriesData
    from gatewright.tasks.forecast.rolling import Rolling
    from gatewright.tasks.inputs import InputBatch

#: Number of training windows from which on only an option makes a refit: it takes as long as the training, while
#: the validation part adds little to a long history.
REFIT_WINDOWS = 2000


class Forecast(Kind["SeriesData"]):
    """Forecasters of the series of a table."""

    name = "forecast"
    unit = "quantile loss"
    suffixes = (".csv", ".tsv", ".parquet")
    defaults = Options(
        DataOptions(
            target=(), past=(), known=(), static=(), holidays=(), time="", time_format="", time_zone="", id=(),
            resample="", aggregate="", decimal=".", thousands="", missing=(), fill="", reads="change",
            horizon=1, quantiles=(0.1, 0.5, 0.9), head="quantiles", transform=("auto",), scale="auto",
            min=("none",), max=("none",), valid="0.15", test="0.15",
        ),
        replace(MODEL_DEFAULTS, hidden=64, dropout=0.2, start="data"),
        replace(
            TRAINING_DEFAULTS, steps=1000, batch=64, lr=1e-3, validate_every=25, patience=10, loss="quantile",
            calibrate="width",
        ),
    )  # fmt: skip
    by_data = ("context", "season", "calendar", "category", "embedding", "category_size", "refit")
    searched = (
        "hidden=16:128:log", "layers=1:2", "reads=change,level,both", "dropout=0:0.5", "lr=3e-4:1e-2:log",
        "batch=16,32,64,128", "weight_decay=1e-4:1e-1:log",
    )  # fmt: skip
    settles = True
    forecasts = True
    several = True

    def files(self, paths: tuple[Path, ...]) -> TextFiles:
        """Return several Parquet files, and directories of them, as one table."""
        from gatewright.data.shards import Shards

        return Shards(paths)

    def resolve(self, options: Options) -> Options:
        """Fill in the defaults; a loss of one value goes with the level 0.5 alone, that of a distribution with it.

        Raises:
            GatewrightError: names the option.
        """
        options = with_head(options)
        loss, levels = options.training.loss, options.data.quantiles
        if loss in LOSSES and loss not in ("quantile", "nll"):
            if levels not in (None, (0.5,)):
                got = " ".join(map(str, levels))
                raise GatewrightError("--quantiles", f"none with --loss {loss}, which gives one value", got)
            transforms = set(options.data.transform or ()) - {"none", AUTO}
            if transforms and LOSSES[loss] != "median":
                expected = f"none with --loss {loss}: a {LOSSES[loss]} of transformed values is none of the values"
                raise GatewrightError("--transform", expected, " ".join(sorted(transforms)))
            data = replace(options.data, quantiles=(0.5,))
            if LOSSES[loss] != "median":
                given = data.transform or ("none",)
                data = replace(data, transform=tuple("none" if name == AUTO else name for name in given))
            options = replace(options, data=data)
        return super().resolve(_with_possible_scale(options))

    def unit_of(self, options: Options) -> str:
        """Return the loss of a run."""
        return LossSettings.of(options.training).unit

    def fits(self, spec: ModelSpec) -> bool:
        """Whether a model reads columns and gives quantiles."""
        return spec.forecaster is not None

    def source_of(self, value: Any) -> TrainingSource | None:
        """Return a data frame or an Arrow table as a frame, and a `Table` as it is."""
        import polars as pl

        from gatewright.data.dataframes import is_dataframe
        from gatewright.data.frame import Frame
        from gatewright.data.sources import frame_of
        from gatewright.data.table import Table

        if isinstance(value, Table):
            return value
        if is_dataframe(value) or isinstance(value, (Frame, pl.LazyFrame)):
            return frame_of(cast("TableSource", value))  # which refuses a LazyFrame and says what helps
        return None

    def read(self, source: TrainingSource, options: DataOptions, spec: ModelSpec | None = None) -> SeriesData:
        """Read and split a table, and choose what the options leave open: transforms and scale of its targets.

        The step between rows is what the model knows, if there is one.
        """
        from gatewright.tasks.forecast import dataset

        data = dataset.read(cast("ReadableTable", source), options, None if spec is None else spec.forecaster)
        if spec is not None:
            return data
        start_losses: StartLosses = {}
        if AUTO in (options.transform or ()):
            from gatewright.tasks.forecast.auto_transform import with_transforms

            data = with_transforms(data, start_losses)
        if options.scale == AUTO:
            from gatewright.tasks.forecast.auto_scale import with_scale

            data = with_scale(data, options, start_losses)
        return data

    def check_head(self, path: Path, options: DataOptions, fixed: bool = False) -> None:
        """Check the format of a table, and that its header has the columns that options name."""
        from gatewright.data.head import check_head
        from gatewright.tasks.forecast.dataset import roles

        columns = roles(options, fixed)
        check_head(path, columns.notation, columns.named(), fixed)

    def complete(self, options: Options, data: SeriesData) -> Options:
        """Return the options with what the table decides."""
        training = options.training
        if training.refit is None:
            few = data.windows[:, 0].sum() < REFIT_WINDOWS and bool(data.windows[:, 1].any())
            training = replace(training, refit=bool(few))
        return replace(options, data=data.options, training=training)

    def search_entries(self, data: SeriesData, options: Options) -> tuple[str, ...]:
        """Return the entries for a table: also half and twice the context, where these have comparable scores."""
        from gatewright.tasks.forecast.trial_scores import ScoredBy

        if options.data.context is not None:
            return self.searched
        sizes = [data.sizes.read // 2, data.sizes.read, 2 * data.sizes.read]
        scored = [
            ScoredBy.of(data, self.resolve(replace(options, data=replace(options.data, context=size))))
            for size in sizes
        ]
        usable = [
            str(size)
            for size, own in zip(sizes, scored, strict=True)
            if size > data.sizes.longest and own == scored[1]
        ]
        return (*self.searched, f"context={','.join(usable)}") if len(usable) > 1 else self.searched

    def settled(self, data: SeriesData, options: Options) -> Options:
        """Return options with the transforms and the scale of a table's targets."""
        from gatewright.tasks.forecast.trial_scores import settled

        return settled(data, options, self.resolve(options))

    def require_comparable(self, data: SeriesData, options: Options, space: Space) -> None:
        """Check that no value changes the unit of the loss or the windows of the validation part."""
        from gatewright.tasks.forecast.trial_scores import require_comparable

        require_comparable(data, options, space, self.resolve)

    def recipes(self, data: SeriesData, options: Options) -> tuple[Recipe, ...]:
        """Return the recipes of forecasters that a table allows, without those of options that are set."""
        from gatewright.tasks.forecast.recipes import recipes

        return recipes(data, options, self.steps_read)

    def steps_read(self, data: SeriesData, options: Options) -> int:
        """Return the context that options mean for a table."""
        from gatewright.tasks.forecast import dataset

        try:
            return dataset.read(data.table, self.resolve(options).data).sizes.read
        except GatewrightError:
            return 0

    def rolling(self, data: SeriesData) -> Rolling:
        """Return the folds of a table's validation part."""
        from gatewright.tasks.forecast.rolling import Rolling

        return Rolling.of(data)

    def build(self, data: SeriesData, options: Options) -> Model:
        """Return a new forecaster."""
        from gatewright.nn.model import Model
        from gatewright.tasks.forecast import dataset

        spec, scaler = dataset.build(data, options)
        table, biases = dataset.table_spec(data), BiasSettings.of(options.model)
        return Model(spec, scaler=scaler, table=table, **vars(biases))

    def continued(self, model: Model, data: SeriesData, options: Options) -> Model:
        """Return a copy whose file says how the other table is read.

        Raises:
            DataError: if the table has other columns or another step than the model.
            GatewrightError: if the loss has another minimum than what the model forecasts.
        """
        from gatewright.tasks.forecast import dataset
        from gatewright.tasks.forecast.fitted_table import fitted, require_forecaster

        encoder, head = require_forecaster(model, None, "")
        fitted(data.table, encoder, head)
        loss = LossSettings.of(options.training).loss
        if LOSSES[loss] != head.point:
            losses = [name for name, point in LOSSES.items() if point == head.point]
            raise GatewrightError("--loss", f"{' or '.join(losses)}, as the initial model", loss)
        copied = super().continued(model, data, options)
        copied.table = dataset.table_spec(data)
        return copied

    def fixed_by(self, model: Model) -> Options:
        """Return columns, sizes and what is read of the targets."""
        from gatewright.tasks.forecast.dataset import options_of_model

        return Options(options_of_model(model.spec), stack_options(model.spec.lstm))

    def require_sizes(self, model: Model, options: Options) -> None:
        """Check the widths of the vectors of categories."""
        from gatewright.tasks.category_sizes import require_sizes_of

        assert model.spec.forecaster is not None
        require_sizes_of(model.spec.forecaster[0].categories, options.model)

    def agrees(self, option: str, value: Any, fixed: Any) -> bool:
        """Whether a value of an option fits that of an initial model or of a run that goes on.

        Of categories, some of them do; of seasons, "none" does where only the baseline has one.
        """
        if option == "category":
            return set(value) <= set(fixed)
        if option == "season" and tuple(value) == ("none",):
            return bool(fixed[:1] == ("none",))
        return super().agrees(option, value, fixed)

    def task(self, model: Model, data: SeriesData, options: Options, share: Share, device: torch.device) -> Task:
        """Return windows in random order."""
        from gatewright.tasks.forecast.task import ForecastTask

        training, start = TrainingSettings.of(options.training), StartSettings.of(options.model).start
        settings = LossSettings.of(options.training)
        return ForecastTask(model, data, training.batch, training.seed, share, device, start, settings)

    def of_earlier(self, options: Options) -> Options:
        """Return the options of a run of an earlier version, as that version understood them.

        Without ``calibrate`` nothing was calibrated; without ``start``, a season was that of the baseline alone;
        without ``category``, true and false were numbers; without ``transform``, targets were read as they are;
        without ``scale``, in units of the training part; without ``head``, heads gave quantiles.
        """
        data, model, training = options.data, options.model, options.training
        if training.calibrate is None:
            training = replace(training, calibrate="none")
        if model.start is None:
            data = replace(data, season=("none", *(data.season or ())))
            model = replace(model, start="zero")
        if data.category is None:
            data = replace(data, category=(NO_CATEGORY,))
        if data.transform is None:
            data = replace(data, transform=("none",))
        if data.scale is None:
            data = replace(data, scale="global")
        if data.head is None:
            data = replace(data, head="quantiles")
        return replace(options, data=data, model=model, training=training)

    def with_validation(self, data: SeriesData) -> SeriesData:
        """Return the same table without a validation part."""
        parts = tuple(replace(part, valid=part.test) for part in data.parts)
        return replace(data, parts=parts, validated=tuple(part.valid for part in data.parts))

    def evaluate(self, model: Model, data: SeriesData, windows: int | None, waits: Waits) -> Evaluation:
        """Score the windows of the test part, next to the baselines."""
        return self.evaluate_next_to((), model, data, windows, waits)

    def evaluate_next_to(
        self, baselines: Sequence[str], model: Model, data: SeriesData, windows: int | None, waits: Waits
    ) -> Evaluation:
        """Score the windows of the test part, next to the baselines and to models of other packages."""
        from gatewright.tasks.forecast.evaluate import choose, evaluate_forecast
        from gatewright.tasks.forecast.fitted_table import fitted, require_forecaster
        from gatewright.tasks.forecast.plot import plot_forecasts
        from gatewright.tasks.forecast.reference_models import REFERENCES, require_references

        require_references(baselines)
        data = replace(data, table=fitted(data.table, *require_forecaster(model, None, "")))
        chosen = choose(model, data, windows)
        series = [number for number, origins in enumerate(chosen.origins) if len(origins)]
        references = {}
        for name in dict.fromkeys(baselines):
            with waits.counting(f"fitting {name}", len(series), "series") as advance:
                references[name] = REFERENCES[name].fit(name, data, series, advance)
        with waits.counting("evaluating", chosen.count, "windows") as advance:
            figures, drawn = evaluate_forecast(model, data, chosen, advance, references)
        return Evaluation(figures, lambda path: plot_forecasts(path, model, data, drawn, len(series)))

    def note_on(self, file: ModelFile, options: Options) -> str:
        """Say how the quantiles were calibrated."""
        from gatewright.tasks.forecast.calibration import calibration_of, described

        head = file.spec.head
        alone = isinstance(head, QuantileHead) and len(head.quantiles) == 1
        method = "none" if alone else LossSettings.of(options.training).calibrate
        return described(calibration_of(file.spec, file.table), method)

    def tables(self, figures: dict[str, Any]) -> Iterator[rich_table.Table]:
        """Lay out the measures of each target: overall, by series, by step ahead."""
        from gatewright.tasks.forecast.tables import tables

        return tables(figures)

    def inputs(
        self, model: Model, data: Any, span: slice, title: str, fill: str, options: DataOptions | None = None
    ) -> InputBatch:
        """Return the series of a table or of its path."""
        from gatewright.tasks.forecast.inputs import of_source

        return of_source(model, data, span, title, fill, options)

    def part_inputs(self, model: Model, data: SeriesData, part: str, span: slice, title: str) -> InputBatch:
        """Return a part of each series, with a context before it."""
        from gatewright.tasks.forecast.inputs import of_part

        return of_part(model, data, part, span, title)

    def predictions(self, model: Model, batch: InputBatch, output: Tensor) -> Tensor:
        """Return quantiles in the table's units, (T, B, horizon, targets, quantiles)."""
        from gatewright.tasks.forecast.windows import in_units

        assert batch.level is not None
        return in_units(model, output, batch.level, batch.place)

    def stream_score(self, file: ModelFile, source: Path, options: DataOptions) -> StreamScore:
        """Read windows of a table, which are scored by MAE and MSE."""
        from gatewright.tasks.forecast.stream_score import stream_score

        return stream_score(file, source, options)

    def forecast(
        self,
        model: Model,
        source: Path,
        options: DataOptions,
        horizon: int | None,
        waits: Waits,
        paths: SamplePaths | None = None,
    ) -> tuple[str, list[str]]:
        """Forecast the rows after each series of a table."""
        from gatewright.tasks.forecast.csv_output import forecast_table

        return forecast_table(model, source, options, horizon, waits, paths)


def _with_possible_scale(options: Options) -> Options:
    """Return options with the scale of the training part where no other is possible and none is set.

    Raises:
        GatewrightError: if another one is set.
    """
    data, loss = options.data, options.training.loss
    reason = "--reads nothing" if data.reads == "nothing" else f"--loss {loss}" if loss in WEIGHTED else ""
    if not reason:
        return options
    if data.scale == "window":
        expected = f"global with {reason}" + (", which has a scale for each series" if loss in WEIGHTED else "")
        raise GatewrightError("--scale", expected, "window")
    return replace(options, data=replace(data, scale="global"))
