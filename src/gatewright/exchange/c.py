"""A model as C source: data alone, for a program that links to the C library (``native/c/gatewright.h``)."""

from __future__ import annotations

import importlib.metadata
import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from gatewright.exchange import c_categories, c_cells, c_classes, c_symbols
from gatewright.exchange.c_arrays import block, identifier, names, numbers, text
from gatewright.exchange.written import written
from gatewright.files.model_file import ModelFile
from gatewright.runtime.classes import pooling_of
from gatewright.runtime.signature import Signature
from gatewright.spec import ModelSpec, QuantileHead, Scaler, SeriesEncoder, holiday_column
from gatewright.spec.cell import PLAIN_WEIGHTS, LayerWeights
from gatewright.spec.encoders import WINDOW_NUMBERS

#: The newest version of ``gatewright_parts``, GATEWRIGHT_VERSION of the header.
VERSION = 6

_HEADER = """\
/* A model for gatewright.h, written by gatewright {version}: data alone.
 *
{comment}
 */
#ifndef GATEWRIGHT_EXPORTED_MODEL_H
#define GATEWRIGHT_EXPORTED_MODEL_H

#include "gatewright.h"

#ifdef __cplusplus
extern "C" {{
#endif

/* SHA-256 of all that decides what the model computes. */
#define MODEL_FINGERPRINT "{fingerprint}"

{defines}

/* For gatewright_model_create; a copy may have another .kept. */
extern const gatewright_parts model_parts;

{extras}

#ifdef __cplusplus
}}
#endif

#endif
"""

_SERIES = """\
 * A step reads the columns of one row, model_columns, as double: targets as they were observed, or NaN; sine and
 * cosine of the calendar, worked out as gatewright.h says from what the clock of MODEL_TIME_ZONE shows; inputs
 * known in advance, at t+1 and so on.  It gives the quantiles of the next values: (MODEL_HORIZON, MODEL_TARGETS,
 * MODEL_QUANTILES).  Before a session has read MODEL_CONTEXT steps (gatewright_steps_read) it knows less than it
 * was trained to, and its quantiles are wider.  An input of categories has the index of its value
 * (MODEL_CATEGORIES).  A model with seasons has MODEL_RECENT: the rows whose targets are
 * a part of a session's state (gatewright_get_seasonal_state).  A model with the scale of a window has MODEL_LAST:
 * the numbers that a session remembers of its targets."""

_SERIES_EXTRAS = """\
/* Names in UTF-8, in the order of a row. */
extern const char* const model_columns[MODEL_INPUT];

/* Levels, in the order of the output. */
extern const double model_quantiles[MODEL_QUANTILES];"""

_TIME_ZONE = """\
/* The zone whose clock the calendar is of: "UTC", an offset from it, or a place of the IANA time zone database;
 * "local" for dates as they are written, whatever their zone; "" for times whose zone the table did not name. */
#define MODEL_TIME_ZONE "{zone}"

"""

_LAYER = """\
    {{
        .D = {D},
        .H = {H},
        .P = {P},
{weights}
    }},"""

_COLUMNS = """\
static const gatewright_columns columns = {{
    .targets = {targets},
    .past = {past},
    .statics = {statics},
    .phases = {phases},
    .known = {known},
    .horizon = {horizon},
    .quantiles = {quantiles},
    .change = {change},
    .level = {level},
    .observed = {observed},
    .mean = mean,
    .scale = scale,
    .change_scale = change_scale,
{seasons}{units}{categories}{distribution}}};
"""

_COLUMNS_OF_SEASONS = """\
    .season_count = {count},
    .seasons = seasons,
    .season_weight = season_weight,
"""

_COLUMNS_OF_TRANSFORMS = """\
    .transform = transform,
    .transform_number = transform_number,
"""

_COLUMNS_OF_WINDOW = """\
    .window = {rows},
    .least_scale = least_scale,
    .scale_ratio = scale_ratio,
    .scale_factor = scale_factor,
"""

_COLUMNS_OF_DISTRIBUTION = """\
    .distribution = GATEWRIGHT_{name},
    .levels = model_quantiles,
"""

_PARTS = """\
const gatewright_parts model_parts = {{
    .version = {version},
    .layer_count = {layers},
    .layers = layers,
    .symbols = {symbols},
    .embedding = {embedding},
    .columns = {columns},
    .out = {out},
    .head_W = head_weight,
    .head_b = head_bias,
    .kept = GATEWRIGHT_FLOAT32,
{features}}};
"""


def to_c(file: ModelFile, folder: Path, *, overwrite: bool = False) -> list[Path]:
    """Write a model as ``model.h`` and ``model.c``: static arrays, to the bit, and one struct that holds them.

    Args:
        file: the model.
        folder: where; made if need be.
        overwrite: whether files of these names may be replaced.

    Returns:
        Their paths.

    Raises:
        SpecError: if the model is a classifier or a tagger that the C library does not run whole.
        GatewrightError: if they are there and may not be replaced, or cannot be written.

    >>> import tempfile
    >>> import numpy as np
    >>> from gatewright.spec import UNKNOWN, StackSpec, SymbolEncoder, SymbolHead, Vocabulary
    >>> spec = ModelSpec(SymbolEncoder(symbols=3, embedding_size=2), StackSpec(4), SymbolHead())
    >>> weights = {name: np.full(shape, 0.1, np.float32) for name, shape in spec.tensors().items()}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     paths = to_c(ModelFile(spec, weights, vocabulary=Vocabulary((UNKNOWN, "a", "b"))), Path(folder))
    >>> [path.name for path in paths]
    ['model.h', 'model.c']
    """
    c_classes.require_exportable(file.spec)
    return written(folder, {"model.h": _header(file), "model.c": _source(file)}, overwrite=overwrite)


class _Input(NamedTuple):
    """What the C source of a model has for what it reads.

    Attributes:
        sizes: constants of the header.
        comment: what a step reads and gives.
        extras: declarations of the header.
        arrays: their definitions, and the data of the columns.
        columns: pointer to the columns.
        embedding: pointer to the embedding.
    """

    sizes: dict[str, int]
    comment: str
    extras: str
    arrays: Iterator[str]
    columns: str = "NULL"
    embedding: str = "NULL"

    @classmethod
    def of(cls, file: ModelFile) -> _Input:
        """Return that of a model."""
        if file.spec.labeller is not None:
            sizes, extras = {"COLUMNS": len(file.spec.encoder.columns)}, c_classes.EXTRAS
            if file.spec.encoder.categories:
                sizes["CATEGORIES"] = len(file.spec.encoder.categories)
                extras += c_categories.EXTRAS
            return cls(sizes, c_classes.comment(file.spec), extras, _classes(file))
        if file.spec.forecaster is None:
            assert file.vocabulary is not None
            sizes, comment, extras, arrays = c_symbols.of_vocabulary(file.vocabulary)
            return cls(sizes, comment, extras, arrays, embedding="encoder_weight")
        encoder, head = file.spec.forecaster
        sizes = {
            "HORIZON": head.horizon,
            "TARGETS": len(encoder.targets),
            "QUANTILES": len(head.quantiles),
            "CONTEXT": encoder.context,
        }
        if encoder.seasons:
            sizes["RECENT"] = encoder.recent
        if encoder.window:
            sizes["LAST"] = len(encoder.targets) * (1 + WINDOW_NUMBERS)
        extras = _TIME_ZONE.format(zone=encoder.time_zone) + _SERIES_EXTRAS
        if encoder.categories:
            sizes["CATEGORIES"] = len(encoder.categories)
            extras += c_categories.EXTRAS
        return cls(sizes, _SERIES, extras, _series(encoder, head, file.scaler), columns="&columns")


def _header(file: ModelFile) -> str:
    spec, reads = file.spec, _Input.of(file)
    sizes = {
        "INPUT": spec.labeller[0].row_size
        if spec.labeller is not None
        else len(row_columns(Signature.of(spec, file.vocabulary))) or 1,
        "OUTPUT": spec.output_size
        if spec.forecaster is None
        else math.prod(Signature.of_series(*spec.forecaster).output_shape),
        "HIDDEN": sum(spec.lstm.output_sizes),
        "CELL": sum(spec.lstm.cell_state_sizes),
        **reads.sizes,
    }
    return _HEADER.format(
        version=importlib.metadata.version("gatewright"),
        comment=reads.comment,
        fingerprint=file.fingerprint,
        defines="\n".join(f"#define MODEL_{name} {size}" for name, size in sizes.items()),
        extras=reads.extras,
    )


def _source(file: ModelFile) -> str:
    spec, reads = file.spec, _Input.of(file)
    parts = ['#include "model.h"\n\n#include <stddef.h>\n']
    for name, array in c_cells.tensors(file).items():
        parts.append(numbers(f"static const float {identifier(name)}", array.ravel().tolist(), "f"))
    parts.append(_layers(spec))
    parts.extend(c_cells.definition(file))
    parts.extend(reads.arrays)
    parts.append(
        _PARTS.format(
            version=_version(file),
            layers=spec.lstm.num_layers,
            symbols=spec.encoder.symbols,
            embedding=reads.embedding,
            columns=reads.columns,
            out=spec.output_size,
            features="".join(
                (
                    c_classes.members(spec),
                    "    .cell = &cell,\n" if c_cells.evaluated(file) else "",
                    "    .residual = 1,\n" if spec.lstm.residual else "",
                )
            ),
        )
    )
    return "\n".join(parts)


def _version(file: ModelFile) -> int:
    """Return the oldest version of ``gatewright_parts`` that has all members of a model."""
    spec, encoder = file.spec, file.spec.encoder
    cell = c_cells.evaluated(file)
    if spec.lstm.residual or (cell is not None and cell.is_slstm):
        return 6
    if cell is not None:
        return 5
    if encoder.window or (spec.labeller is not None and (encoder.categories or pooling_of(spec))):
        return 4
    if spec.forecaster is not None and spec.forecaster[1].family is not None:
        return 4
    bounded = spec.forecaster is not None and (spec.forecaster[1].minimum or spec.forecaster[1].maximum)
    if encoder.transform or bounded or encoder.categories:
        return 3
    return 2 if encoder.seasons else 1


def _layers(spec: ModelSpec) -> str:
    stack = spec.lstm
    layers = []
    widths = (spec.input_size, *stack.output_sizes)
    for n, (D, H, P) in enumerate(zip(widths[:-1], stack.hidden_sizes, widths[1:], strict=True)):
        present = stack.cell.weights(D, H)
        arrays = [f"lstm_{name}_l{n}" if name in present else "NULL" for name in PLAIN_WEIGHTS]
        fields = zip(LayerWeights._fields, arrays, strict=False)
        weights = "\n".join(f"        .{field} = {array}," for field, array in fields)
        layers.append(_LAYER.format(D=D, H=H, P=P, weights=weights))
    return "\n".join([f"static const gatewright_layer layers[{stack.num_layers}] = {{", *layers, "};", ""])


def _series(encoder: SeriesEncoder, head: QuantileHead, scaler: Scaler | None) -> Iterator[str]:
    """Yield what a forecaster has next to its weights."""
    assert scaler is not None
    yield numbers("static const double mean", scaler.mean)
    yield numbers("static const double scale", scaler.scale)
    yield numbers("static const double change_scale", scaler.change_scale)
    seasons = ""
    if encoder.seasons:
        yield block("static const int64_t seasons", list(map(str, encoder.seasons)))
        seasons = _COLUMNS_OF_SEASONS.format(count=len(encoder.seasons))
    units = ""
    if encoder.transform:
        transforms = [f"GATEWRIGHT_{name.upper()}" for name in encoder.transform]
        yield block("static const gatewright_transform transform", transforms)
        yield numbers("static const double transform_number", scaler.transform_number)
        units = _COLUMNS_OF_TRANSFORMS
    for name, bounds in (("minimum", head.minimum), ("maximum", head.maximum)):
        if bounds:
            yield numbers(f"static const double {name}", bounds)
            units += f"    .{name} = {name},\n"
    if encoder.window:
        for name in ("least_scale", "scale_ratio", "scale_factor"):
            yield numbers(f"static const double {name}", getattr(scaler, name))
        units += _COLUMNS_OF_WINDOW.format(rows=encoder.window)
    signature = Signature.of_series(encoder, head)
    categories = ""
    if encoder.categories:
        yield from c_categories.arrays(c_categories.of_series(encoder, signature), text)
        categories = c_categories.COLUMNS.format(count=len(encoder.categories))
    distribution = ""
    if head.family is not None:
        distribution = _COLUMNS_OF_DISTRIBUTION.format(name=head.family.in_c)
    yield _COLUMNS.format(
        targets=len(encoder.targets),
        past=len(encoder.past),
        statics=len(encoder.static),
        phases=2 * len(encoder.calendar),
        known=len(encoder.known),
        horizon=head.horizon,
        quantiles=len(head.quantiles),
        change=int(encoder.reads in ("change", "both")),
        level=int(encoder.reads in ("level", "both")),
        observed=int(encoder.reads_targets),
        seasons=seasons,
        units=units,
        categories=categories,
        distribution=distribution,
    )
    yield names("model_columns[MODEL_INPUT]", row_columns(signature))
    yield numbers("const double model_quantiles", head.quantiles)


def _classes(file: ModelFile) -> Iterator[str]:
    """Yield what a classifier or a tagger has next to its weights."""
    assert file.spec.labeller is not None
    assert file.scaler is not None
    encoder, head = file.spec.labeller
    yield names("model_columns[MODEL_COLUMNS]", encoder.columns)
    yield numbers("const double model_mean", file.scaler.mean)
    yield numbers("const double model_scale", file.scaler.scale)
    yield block("const int model_may_miss", [str(int(name in encoder.missing)) for name in encoder.columns])
    yield names("model_classes[MODEL_OUTPUT]", head.classes)
    if encoder.categories:
        yield from c_categories.arrays(c_categories.of_features(encoder), text)


def row_columns(signature: Signature) -> tuple[str, ...]:
    """Return the names of all numbers of a row, with the calendar's, which a stream in Python works out itself."""
    phases = tuple(f"{wave} of {part}" for part in signature.calendar for wave in ("sine", "cosine"))
    steps = range(1, signature.output_shape[0] + 1) if signature.holidays else ()
    holidays = tuple(f"{holiday_column(region)}+{ahead}" for region in signature.holidays for ahead in steps)
    known = signature.columns[signature.phases_at :]
    return signature.columns[: signature.phases_at] + phases + known + holidays
