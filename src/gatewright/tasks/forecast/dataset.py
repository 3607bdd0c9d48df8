"""A table of series, split, as a forecaster learns from it; and the model that fits it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gatewright.data import frequency, preprocessing, split
from gatewright.data.category_values import values_of_training, with_values
from gatewright.data.number_format import Notation
from gatewright.data.sources import TableSource
from gatewright.data.table import Roles, Table, digest_of, table_of
from gatewright.data.time_zones import NO_ZONE
from gatewright.data.window_checks import Sizes, require_windows, without_windows
from gatewright.spec import (
    FAMILIES,
    NO_CATEGORY,
    ModelSpec,
    QuantileHead,
    Scaler,
    SeriesEncoder,
    TableSpec,
    holiday_column,
)
from gatewright.tasks.category_sizes import categories_of
from gatewright.tasks.forecast.seasonality import season_option, seasons_of
from gatewright.tasks.forecast.target_options import (
    NO_TARGET_OPTIONS,
    TargetOptions,
    bounds_option,
    require_counts,
    target_options,
)
from gatewright.tasks.options import LOSSES, DataOptions, Options
from gatewright.tasks.settings import LossSettings, ModelSettings, PartSettings


@dataclass(frozen=True)
class SeriesSettings(PartSettings):
    """What a forecaster forecasts, and from what."""

    horizon: int
    quantiles: tuple[float, ...]
    reads: str
    head: str = "quantiles"
    fill: str = ""

    @property
    def distribution(self) -> str:
        """Family of the distributions of the head; "" for one that gives the quantiles themselves."""
        return "" if self.head == "quantiles" else self.head

    @property
    def counts(self) -> bool:
        """Whether the targets are whole numbers."""
        return self.head in FAMILIES and FAMILIES[self.head].counts


#: What a table is read from: a source, or a table that was read and checked before.
ReadableTable = TableSource | Table


@dataclass(frozen=True)
class SeriesData:
    """A table, split.

    Attributes:
        table: the series.
        parts: where each series' parts begin and end.
        options: the options with everything that the data decided.
        settings: the options that do not depend on the data.
        sizes: lengths of the windows.
        calendar: the parts of a timestamp that the model reads.
        windows: how many windows each series has in each part (series, 3).
        source: SHA-256 of what was read, in hexadecimal digits.
        notes: what was left out, in lines for a person.
        seasons: which seasonal differences a forecast has and why, in a line for a person.
        units: transforms of the targets, and bounds of their forecasts.
        validated: of a refit, of each series the first row of the validation part that training has in it now.
    """

    table: Table
    parts: tuple[split.Parts, ...]
    options: DataOptions
    settings: SeriesSettings
    sizes: Sizes
    calendar: tuple[str, ...]
    windows: NDArray[np.int64]
    source: str = ""
    notes: tuple[str, ...] = ()
    seasons: str = ""
    units: TargetOptions = NO_TARGET_OPTIONS
    validated: tuple[int, ...] = ()


def roles(options: DataOptions, fixed: bool = False) -> Roles:
    """Return what the options say about columns.

    Args:
        options: the options.
        fixed: whether they are those of a trained model.
    """
    return Roles(
        options.target or (),
        options.past or (),
        options.known or (),
        options.static or (),
        time=options.time or "",
        time_format=options.time_format or "",
        time_zone=options.time_zone or "",
        series=options.id or (),
        resample=options.resample or "",
        aggregate=options.aggregate or "",
        category=options.category or (),
        holidays=options.holidays or (),
        notation=Notation(options.decimal or ".", options.thousands or "", options.missing or ()),
        fixed=fixed,
    )


def read(
    source: ReadableTable, options: DataOptions, fitted: tuple[SeriesEncoder, QuantileHead] | None = None
) -> SeriesData:
    """Read and split a table, and settle the options that depend on it.

    Args:
        source: the path of a table, or a table in memory; see `gatewright.data.sources.TableSource`.  A `Table` is
            one that was read and checked before.
        options: the options.
        fitted: encoder and head of the model that is to read the table, if there is one.  It fixes the step
            between rows, since other rules than today's may have found it, and the inputs, also one that does not
            vary.

    Raises:
        GatewrightError: see `table_of`, `split.split` and `require_windows`.
    """
    settings = SeriesSettings.of(options)
    step = "" if fitted is None else fitted[0].step
    columns = roles(options, fixed=fitted is not None)
    table = source if isinstance(source, Table) else table_of(source, columns, settings.fill, step)
    parts = split.split(table.series, settings.valid, settings.test)
    constant: tuple[str, ...] = ()
    if fitted is None:
        table, constant = preprocessing.leave_out_constants(table, parts)
        table = values_of_training(table, parts)
    else:
        table = with_values(table, {each.column: each.values for each in fitted[0].categories})
    base = Sizes(settings.horizon, frequency.season(table.step), options.context)
    units = target_options(table, parts, options)
    if settings.counts:
        require_counts(table, settings.head)
    differences = settings.reads != "nothing" and not settings.counts
    seasons = seasons_of(table, parts, base, options.season, differences)
    sizes = seasons.sizes
    counts = require_windows(table, parts, sizes, ("training", "validation"))
    calendar = _calendar(table, parts, options)
    counted = {holiday_column(region): region for region in options.holidays or ()}
    options = replace(
        options,
        target=table.roles.targets,
        past=table.roles.past,
        known=tuple(name for name in table.roles.known if name not in counted),
        holidays=tuple(region for name, region in counted.items() if name in table.roles.known),
        static=table.roles.static,
        time=table.roles.time,
        time_zone="" if table.step == "row" else table.clock.zone or NO_ZONE,
        season=seasons.option,
        calendar=calendar or ("none",),
        context=sizes.read,
        category=(NO_CATEGORY, *table.categories),
    )
    notes = (*constant, *without_windows(table, counts, sizes))
    source_digest = digest_of(source)
    parts_of_data = (table, parts, options, settings, sizes, calendar, counts)
    return SeriesData(*parts_of_data, source_digest, notes, seasons.note, units)


def _calendar(table: Table, parts: tuple[split.Parts, ...], options: DataOptions) -> tuple[str, ...]:
    if options.calendar is not None:
        return tuple(part for part in options.calendar if part != "none")
    spans = [
        each.times[min(part.valid, len(each.times) - 1)] - each.times[0]
        for each, part in zip(table.series, parts, strict=True)
        if each.times is not None
    ]
    return frequency.calendar_parts(table.step, max(spans)) if spans else ()


def build(data: SeriesData, options: Options) -> tuple[ModelSpec, Scaler]:
    """Return the specification of the model for a table, and the scaler of its training part."""
    columns, settings = data.table.roles, data.settings
    encoder = SeriesEncoder(
        targets=columns.targets,
        past=columns.past,
        known=columns.known,
        static=columns.static,
        calendar=data.calendar,
        step=data.table.step,
        context=data.sizes.read,
        reads=settings.reads,
        time_zone=data.table.clock.zone,
        seasons=data.sizes.seasons,
        holidays=data.options.holidays or (),
        categories=categories_of(data.table.categories, options.model),
        transform=data.units.names,
        scale=data.units.scale,
    )
    size = ModelSettings.of(options.model)
    stack = size.stack()
    point = LOSSES[LossSettings.of(options.training).loss]
    units = data.units
    bounds = (units.minimum, units.maximum)
    distribution = settings.distribution
    head = QuantileHead(settings.horizon, settings.quantiles, *bounds, point=point, distribution=distribution)
    transforms = data.units.transforms if data.units.names else ()
    scaler = preprocessing.fit_scaler(
        *(data.table, data.parts, transforms, data.sizes.season), window=bool(encoder.window)
    )
    return ModelSpec(encoder, stack, head), scaler


def table_spec(data: SeriesData) -> TableSpec:
    """Return how a table was read, for the file of its model."""
    options = data.options
    ends = [
        series.times[parts.test - 1]
        for series, parts in zip(data.table.series, data.parts, strict=True)
        if series.times is not None and parts.test > 0
    ]
    return TableSpec(
        time=options.time or "",
        time_format=options.time_format or "",
        time_zone=options.time_zone or "",
        id=options.id or (),
        resample=options.resample or "",
        aggregate=options.aggregate or "",
        decimal=options.decimal or ".",
        thousands=options.thousands or "",
        missing=options.missing or (),
        fill=options.fill or "",
        season=data.sizes.season,
        valid=data.settings.valid,
        test=data.settings.test,
        source=data.source,
        trained_until=str(max(ends)) if ends else "",
    )


def options_of_model(spec: ModelSpec) -> DataOptions:
    """Return the options that a forecaster fixes: its columns, sizes and what it reads of the targets."""
    assert spec.forecaster is not None
    encoder, head = spec.forecaster
    return DataOptions(
        target=encoder.targets,
        past=encoder.past,
        known=encoder.known_in_table,
        holidays=encoder.holidays,
        static=encoder.static,
        calendar=encoder.calendar or ("none",),
        context=encoder.context,
        reads=encoder.reads,
        horizon=head.horizon,
        quantiles=head.quantiles,
        head=head.distribution or "quantiles",
        season=tuple(map(str, encoder.seasons)) or ("none",),
        category=(NO_CATEGORY, *(each.column for each in encoder.categories)),
        transform=encoder.transform or ("none",),
        scale=encoder.scale,
        min=bounds_option(head.minimum),
        max=bounds_option(head.maximum),
    )


def data_options(table: TableSpec, spec: ModelSpec) -> DataOptions:
    """Return the options by which a model reads a table.

    Args:
        table: how the table is read.
        spec: the model.
    """
    return replace(
        options_of_model(spec),
        time=table.time,
        time_format=table.time_format,
        time_zone=table.time_zone,
        id=table.id,
        resample=table.resample,
        aggregate=table.aggregate,
        decimal=table.decimal,
        thousands=table.thousands,
        missing=table.missing,
        fill=table.fill,
        season=season_option(table.season, spec.encoder.seasons),
        valid=table.valid,
        test=table.test,
    )
