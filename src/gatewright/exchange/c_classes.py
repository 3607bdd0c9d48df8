"""What the C source of a classifier has for what it reads and gives."""

from __future__ import annotations

from gatewright.errors import SpecError
from gatewright.spec import ModelSpec

COMMENT = """\
 * A step reads MODEL_INPUT numbers as float: for each column of model_columns (value - mean) / scale, computed in
 * double, or 0 where it is missing; then 1 or 0 for each column that model_may_miss marks: whether it is observed.
 * It gives a score (a logit) for each class of model_classes by the steps so far; probabilities are its softmax.
 * A sequence starts with a session at the beginning: gatewright_reset."""

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
        SpecError: if it is a classifier that pools over steps, or reads in both directions.
    """
    if spec.classifier is None:
        return
    pooling = spec.classifier[1].pooling
    if spec.lstm.bidirectional or pooling != "last":
        got = (
            "one that reads in both directions" if spec.lstm.bidirectional else f"one with the pooling {pooling!r}"
        )
        expected = "a classifier of --directions forward and --pooling last, for C"
        raise SpecError("model", expected, got)
