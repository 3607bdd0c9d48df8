"""What the C source of a classifier or a tagger has for what it reads and gives."""

from __future__ import annotations

from gatewright.errors import SpecError
from gatewright.spec import ModelSpec

COMMENT = """\
 * A step reads MODEL_INPUT numbers as float: for each column of model_columns (value - mean) / scale, computed in
 * double, or 0 where it is missing; then 1 or 0 for each column that model_may_miss marks: whether it is observed.
 * It gives a score (a logit) for each class of model_classes{what}; probabilities are its softmax.
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
        SpecError: if it is a classifier or a tagger that reads in both directions, or pools over steps.
    """
    if spec.labeller is None:
        return
    head = spec.labeller[1]
    if spec.lstm.bidirectional or head.pools:
        pooling = f"one with the pooling {head.pooling!r}"
        got = "one that reads in both directions" if spec.lstm.bidirectional else pooling
        expected = "a classifier of --directions forward and --pooling last, for C"
        if spec.tagger is not None:
            expected = "a tagger of --directions forward, for C"
        raise SpecError("model", expected, got)


def comment(spec: ModelSpec) -> str:
    """Return what a step reads and gives, for the header."""
    return COMMENT.format(what=" by the steps so far" if spec.classifier is not None else " of this step")
