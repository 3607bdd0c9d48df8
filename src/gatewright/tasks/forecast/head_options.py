"""Options that go with a head: the loss of a distribution, and what one of whole numbers does without."""

from __future__ import annotations

from dataclasses import replace

from gatewright.errors import GatewrightError, shorten
from gatewright.spec import FAMILIES
from gatewright.tasks.options import AUTO, Options


def with_head(options: Options) -> Options:
    """Return options with the defaults that depend on the head.

    Raises:
        GatewrightError: names an option that does not go with it.
    """
    head = options.data.head or "quantiles"
    if head not in FAMILIES:
        if options.training.loss == "nll":
            raise GatewrightError("--loss", "another one with --head quantiles, which has no likelihood", "nll")
        return options
    training = options.training
    if training.loss not in (None, "nll"):
        raise GatewrightError("--loss", f"nll, or none, with --head {head}", shorten(training.loss))
    if training.calibrate == "conformal":
        expected = f"width or none with --head {head}: a shift of one quantile leaves no {head} distribution"
        raise GatewrightError("--calibrate", expected, "conformal")
    options = replace(options, training=replace(training, loss="nll"))
    return _of_counts(options, head) if FAMILIES[head].counts else options


def _of_counts(options: Options, head: str) -> Options:
    """Return options for whole numbers, of which nothing is the difference from the last value."""
    data, training = options.data, options.training
    if training.calibrate == "width":
        raise GatewrightError(
            "--calibrate", f"none with --head {head}: whole numbers have no width to scale", "width"
        )
    if set(data.transform or ()) - {"none", AUTO}:
        expected = f"none with --head {head}, which forecasts whole numbers as they are"
        raise GatewrightError("--transform", expected, shorten(" ".join(data.transform or ())))
    if data.scale == "window":
        expected = f"global with --head {head}, whose units are those of the training part"
        raise GatewrightError("--scale", expected, "window")
    if data.reads == "change":
        raise GatewrightError("--reads", f"level, both or nothing with --head {head}", "change")
    if data.season is not None and data.season[:1] not in (("none",), ("0",)):
        expected = f"none, or none and that of the baseline, with --head {head}, which adds no differences"
        raise GatewrightError("--season", expected, shorten(" ".join(data.season)))
    data = replace(data, transform=("none",), scale="global", reads=data.reads or "level")
    return replace(options, data=data, training=replace(training, calibrate="none"))
