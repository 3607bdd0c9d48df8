"""A classifier or a tagger in C99: a row of its columns in, probabilities of the classes out."""

from __future__ import annotations

from gatewright.exchange.c99 import columns, stack
from gatewright.exchange.c99.source import Source
from gatewright.exchange.c_arrays import names
from gatewright.files.model_file import ModelFile

_COMMENT = """\
 * A step reads the columns of one row, model_columns, in the table's own units; a missing value is NaN, in columns
 * that had missing values in training{categories}.  It gives the probability of each class of
 * model_classes {what}.  A sequence starts with model_reset."""

_CATEGORIES = """, and an input of categories has the index
 * of its value: 0 for one that is unknown or missing"""

_ENCODE = """\
/* Reads a row: x, what layer 0 reads. */
static model_status encode(const model_number* row, float* x)
{
$columns
    return MODEL_OK;
}
"""

_MISSING = """\
    x[{flag}] = isnan(row[{place}]) ? 0.0f : 1.0f;
    if (isnan(row[{place}])) x[{x}] = 0.0f;
    else """

_SOFTMAX = """\
/* e^z over their sum. */
static void softmax(float* z)
{
    float largest = z[0], sum = 0.0f;
    for (int k = 1; k < MODEL_OUTPUT; ++k) largest = z[k] > largest ? z[k] : largest;
    for (int k = 0; k < MODEL_OUTPUT; ++k) sum += z[k] = exp_less(z[k] - largest, 0.0f);
    for (int k = 0; k < MODEL_OUTPUT; ++k) z[k] /= sum;
}
"""

_STEP = """\
model_status model_step(model_state* s, const model_number* row, float* probabilities)
{
    float x[D_l0];
    const model_status status = encode(row, x);
    if (status != MODEL_OK) return status;
$step
    return MODEL_OK;
}
"""

_DECLARED = """\
/* Advances a session by one row, (MODEL_INPUT); probabilities are (MODEL_OUTPUT). */
model_status model_step(model_state* state, const model_number* row, float* probabilities);

/* Names in UTF-8. */
extern const char* const model_columns[MODEL_INPUT];
extern const char* const model_classes[MODEL_OUTPUT];
"""


def add(source: Source, file: ModelFile) -> str:
    """Add a classifier or a tagger.

    Returns:
        What a step reads and gives.
    """
    assert file.spec.labeller is not None
    assert file.scaler is not None
    encoder, head = file.spec.labeller
    source.number = columns.number_type(file.scaler, file.spec)
    source.sizes |= {"INPUT": len(encoder.columns), "OUTPUT": len(head.classes)}
    if encoder.missing:
        source.includes.add("math.h")
    _add_encoder(source, file)
    y = stack.add_pooling(source, file, stack.add_layers(source, file))
    stack.add_head(source, file)
    source.uses.add("exp_less")
    source.functions.append(_SOFTMAX)
    last = [f"    head({y}, probabilities);", "    softmax(probabilities);"]
    source.function(_STEP, step="\n".join([*source.step, *last]))
    source.declarations.append(_DECLARED)
    source.constants += [names("model_columns[MODEL_INPUT]", encoder.columns)]
    source.constants += [names("model_classes[MODEL_OUTPUT]", head.classes)]
    what = "by the steps so far" if file.spec.classifier else "of this step"
    return _COMMENT.format(what=what, categories=_CATEGORIES if encoder.categories else "")


def _add_encoder(source: Source, file: ModelFile) -> None:
    """Add the function that reads a row: all columns, and then which of them are observed."""
    assert file.spec.labeller is not None
    assert file.scaler is not None
    encoder, _ = file.spec.labeller
    categories = {each.column: (number, each) for number, each in enumerate(encoder.categories)}
    if len(categories) < len(encoder.columns):
        columns.add_checks(source)
        columns.add_numbers(source, file.scaler.mean, file.scaler.scale)
    lines, x = [], 0
    flag = encoder.input_size(1) - len(encoder.missing)
    for place, name in enumerate(encoder.columns):
        if name in categories:
            number, category = categories[name]
            columns.add_vectors(source, number, file.tensors[f"encoder.category.{number}.weight"])
            lines.append(f"    {columns.reads_category(number, category, str(place), str(x))}")
            x += category.size
            continue
        before = "    "
        if name in encoder.missing:
            before = _MISSING.format(flag=flag, place=place, x=x)
            flag += 1
        lines.append(before + columns.reads_number(str(place), str(place), str(x)))
        x += 1
    source.function(_ENCODE, columns="\n".join(lines))
