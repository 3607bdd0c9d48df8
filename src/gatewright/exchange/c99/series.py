"""A forecaster in C99: a row of its table in, forecasts in the targets' units out."""

from __future__ import annotations

from gatewright.exchange.c import row_columns
from gatewright.exchange.c99 import columns, series_input, series_output, stack, targets
from gatewright.exchange.c99.source import Source
from gatewright.exchange.c_arrays import names, numbers
from gatewright.files.model_file import ModelFile
from gatewright.runtime.signature import Signature

_COMMENT = """\
 * A step reads one row, model_columns, in the table's own units: targets as they were observed, or NaN; sine and
 * cosine of the calendar{calendar}; inputs known in advance, at t+1 and so on{categories}.
 * It gives forecasts of the next values: (MODEL_HORIZON, MODEL_TARGETS, MODEL_QUANTILES).  Before a session has
 * read MODEL_CONTEXT rows it knows less than it was trained to, and its forecasts are less sure."""

_CALENDAR = """, for each part of it those of 2 pi times a fraction of what the clock of MODEL_TIME_ZONE shows
 * (hour_of_day: time since midnight / 24 hours; day_of_week: time since Monday 00:00 / 7 days; day_of_year: time
 * since 1 January 00:00 / length of this year)"""

_CATEGORIES = """; an
 * input of categories as the index of its value, 0 for one that is unknown or missing"""

_STEP = """\
model_status model_step(model_state* s, const model_number* row, model_number* forecast)
{
    float x[D_l0];
    model_number centre[MODEL_TARGETS];
    $units
    const model_status status = encode(s, row, x, centre$unit_argument);
    if (status != MODEL_OK) return status;
$step
    return MODEL_OK;
}
"""

_DECLARED = """\
/* Advances a session by one row, (MODEL_INPUT). */
model_status model_step(model_state* state, const model_number* row, model_number* forecast);

/* The zone whose clock the calendar is of: "UTC", an offset from it, or a place of the IANA time zone database;
 * "local" for dates as they are written, whatever their zone; "" for times whose zone the table did not name. */
#define MODEL_TIME_ZONE "{zone}"

/* Names in UTF-8, and the levels of the forecasts. */
extern const char* const model_columns[MODEL_INPUT];
extern const double model_quantiles[MODEL_QUANTILES];
"""


def add(source: Source, file: ModelFile) -> str:
    """Add a forecaster.

    Returns:
        What a step reads and gives.
    """
    assert file.spec.forecaster is not None
    assert file.scaler is not None
    encoder, head = file.spec.forecaster
    of_row = row_columns(Signature.of_series(encoder, head))
    source.number = columns.number_type(file.scaler, file.spec)
    source.includes.add("math.h")
    source.sizes |= {
        "INPUT": len(of_row),
        "OUTPUT": head.horizon * len(encoder.targets) * len(head.quantiles),
        "HORIZON": head.horizon,
        "TARGETS": len(encoder.targets),
        "QUANTILES": len(head.quantiles),
        "CONTEXT": encoder.context,
    }
    columns.add_checks(source)
    targets.add(source, encoder, file.scaler)
    series_input.add(source, file)
    y = stack.add_layers(source, file)
    series_output.add(source, file)
    arguments = ", ".join(
        [y, "centre", *(["unit"] if encoder.window else []), *(["s"] if encoder.seasons else []), "forecast"]
    )
    if encoder.seasons:
        source.step.append(f"    decode({arguments});\n    s->place = (s->place + 1) % MODEL_RECENT;")
    else:
        source.step.append(f"    decode({arguments});")
    source.function(
        _STEP,
        units="model_number unit[MODEL_TARGETS];" if encoder.window else "",
        unit_argument=", unit" if encoder.window else "",
        step="\n".join(source.step),
    )
    source.declarations.append(_DECLARED.format(zone=encoder.time_zone))
    source.constants.append(names("model_columns[MODEL_INPUT]", of_row))
    source.constants.append(numbers("const double model_quantiles", head.quantiles))
    return _COMMENT.format(
        calendar=_CALENDAR if encoder.calendar else "", categories=_CATEGORIES if encoder.categories else ""
    )
