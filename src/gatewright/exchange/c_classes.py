"""What the C source of a classifier or a tagger has for what it reads and gives."""

from __future__ import annotations

from gatewright.errors import SpecError
from gatewright.exchange.c_categories import COLUMNS
from gatewright.runtime.classes import pooling_of
from gatewright.spec import ModelSpec

COMMENT = """\
 * A step reads MODEL_INPUT numbers as float: for each column of model_columns (value - mean) / scale, computed in
 * double, or 0 where it is missing; then 1 or 0 for each column that model_may_miss marks: whether it is observed.
{categories} * It gives a score (a logit) for each class of model_classes{what}; probabilities are its softmax.
 * A sequence starts with a session at the beginning: gatewright_reset."""

_CATEGORIES = """\
 * A column of categories (MODEL_CATEGORIES) has the index of its value: its mean and scale are 0 and 1, and a
 * missing one has the index 0.
"""

EXTRAS = """\
/* Names in UTF-8, mean and standard deviation of the columns, and 1 for those that may be missing. */
extern const char* const model_columns[MODEL_COLUMNS];
extern const double model_mean[MODEL_COLUMNS];
extern const double model_scale[MODEL_COLUMNS];
extern const int model_may_miss[MODEL_COLUMNS];

/* Labels in UTF-8, in the order of the output. */
extern const char* const model_classes[MODEL_OUTPUT];"""


def require_exportable(spec: ModelSpec) -> None:
    """Require a model that the C library runs whole.

    Raises:
        SpecError: if it is a classifier or a tagger that reads in both directions.
    """
    if spec.labeller is not None and spec.lstm.bidirectional:
        kind = "classifier" if spec.classifier is not None else "tagger"
        got = "one that reads in both directions"
        raise SpecError("model", f"a {kind} of --directions forward, for C", got)


def comment(spec: ModelSpec) -> str:
    """Return what a step reads and gives, for the header."""
    what = " by the steps so far" if spec.classifier is not None else " of this step"
    return COMMENT.format(what=what, categories=_CATEGORIES if spec.encoder.categories else "")


def members(spec: ModelSpec) -> str:
    """Return the members of the parts for pooling and categories, those in use."""
    pooling, categories = pooling_of(spec), spec.labeller is not None and spec.encoder.categories
    lines = f"    .pooling = GATEWRIGHT_{pooling.upper()},\n" if pooling else ""
    lines += "    .pool_weight = pool_weight,\n" if pooling == "attention" else ""
    return lines + (COLUMNS.format(count=len(spec.encoder.categories)) if categories else "")
