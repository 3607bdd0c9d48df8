"""From a row of a forecaster's table to what layer 0 reads, in C99."""

from __future__ import annotations

from typing import NamedTuple

from gatewright.exchange.c99 import columns, targets
from gatewright.exchange.c99.source import Source
from gatewright.files.model_file import ModelFile

_ENCODE = """\
/* Reads a row: x, what layer 0 reads, and where and in which units the forecasts of each target start. */
static model_status encode(model_state* s, const model_number* row, float* x, model_number* centre$unit)
{
    model_number z[MODEL_TARGETS];
    for (int k = 0; k < MODEL_TARGETS; ++k) {
        z[k] = $transformed;
        if (!isnan(row[k]) && !in_range((z[k] - target_mean[k]) / target_scale[k])) return MODEL_NOT_FINITE;
    }
$inputs
$targets
    return MODEL_OK;
}
"""

_NOTHING_READ = """\
    (void)s;
    for (int k = 0; k < MODEL_TARGETS; ++k) centre[k] = target_mean[k];"""


class _Run(NamedTuple):
    """Inputs of one kind, one after another.

    Attributes:
        category: number of their category; None for numbers.
        inputs: how many.
        steps: numbers of each in a row.
        row: place of the first in a row.
        column: place of the first among the scaler's columns.
        x: place of the first in what layer 0 reads.
    """

    category: int | None
    inputs: int
    steps: int
    row: int
    column: int
    x: int


def add(source: Source, file: ModelFile) -> None:
    """Add the function that reads a row."""
    assert file.spec.forecaster is not None
    assert file.scaler is not None
    encoder, _ = file.spec.forecaster
    T = len(encoder.targets)
    runs = _runs(file)
    if any(run.category is None for run in runs):
        columns.add_numbers(source, file.scaler.mean[T:], file.scaler.scale[T:])
    for number in range(len(encoder.categories)):
        columns.add_vectors(source, number, file.tensors[f"encoder.category.{number}.weight"])
    lines = [_statement(file, run) for run in runs]
    if encoder.calendar:
        lines.append(_phases(file))
    source.function(
        _ENCODE,
        unit=", model_number* unit" if encoder.window else "",
        transformed="transformed(row[k], k)" if encoder.transform else "row[k]",
        inputs="\n".join(lines),
        targets=targets.reads(encoder) if encoder.reads_targets else _NOTHING_READ,
    )


def _runs(file: ModelFile) -> list[_Run]:
    """Return the inputs of a row in order; numbers that follow upon each other everywhere are one run."""
    assert file.spec.forecaster is not None
    encoder, head = file.spec.forecaster
    categories = {each.column: number for number, each in enumerate(encoder.categories)}
    T, runs = len(encoder.targets), list[_Run]()
    row, x = T, encoder.numbers_of_targets
    for place, (name, steps) in enumerate(encoder.input_columns(head.horizon)):
        if place == len(encoder.past) + len(encoder.static):
            row, x = row + 2 * len(encoder.calendar), x + 2 * len(encoder.calendar)
        number, column = categories.get(name), encoder.columns.index(name) - T
        last = runs[-1] if runs else None
        if number is None and last is not None and _follows(last, steps, row, column):
            runs[-1] = last._replace(inputs=last.inputs + 1)
        else:
            runs.append(_Run(number, 1, steps, row, column, x))
        row += steps
        x += steps * (1 if number is None else encoder.categories[number].size)
    return runs


def _follows(run: _Run, steps: int, row: int, column: int) -> bool:
    """Whether an input of numbers goes on where a run ends."""
    ends = (run.row + run.inputs * run.steps, run.column + run.inputs)
    return run.category is None and run.steps == steps and ends == (row, column)


def _statement(file: ModelFile, run: _Run) -> str:
    """Return the statements that read a run."""
    if run.category is not None:
        category = file.spec.encoder.categories[run.category]
        if run.steps == 1:
            return f"    {columns.reads_category(run.category, category, str(run.row), str(run.x))}"
        x = columns.plus(run.x, "j" if category.size == 1 else f"{category.size} * j")
        inner = columns.reads_category(run.category, category, columns.plus(run.row, "j"), x)
        return f"    for (int j = 0; j < {run.steps}; ++j)\n        {inner}"
    if run.inputs == run.steps == 1:
        return f"    {columns.reads_number(str(run.row), str(run.column), str(run.x))}"
    if run.steps == 1:
        row, column, x = (columns.plus(first, "k") for first in (run.row, run.column, run.x))
        return f"    for (int k = 0; k < {run.inputs}; ++k)\n        {columns.reads_number(row, column, x)}"
    index = f"{run.steps} * k + j"
    row, column, x = columns.plus(run.row, index), columns.plus(run.column, "k"), columns.plus(run.x, index)
    loops = f"    for (int k = 0; k < {run.inputs}; ++k)\n        for (int j = 0; j < {run.steps}; ++j)"
    return f"{loops}\n            {columns.reads_number(row, column, x)}"


def _phases(file: ModelFile) -> str:
    """Return the statements that read sines and cosines of the calendar, as they are."""
    assert file.spec.forecaster is not None
    encoder, _ = file.spec.forecaster
    first = len(encoder.past) + len(encoder.static)
    row = len(encoder.targets) + first
    wider = sum(each.size - 1 for each in encoder.categories if each.column not in encoder.known)
    x = encoder.numbers_of_targets + first + wider
    return f"""\
    for (int k = 0; k < {2 * len(encoder.calendar)}; ++k) {{
        if (!in_range(row[{row} + k])) return MODEL_NOT_FINITE;
        x[{columns.plus(x, "k")}] = (float)row[{row} + k];
    }}"""
