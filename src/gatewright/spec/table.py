"""How a forecaster's tables are read: the options that its model file keeps next to the weights."""

from __future__ import annotations

import math
from dataclasses import dataclass

from gatewright.spec.encoders import FILLS
from gatewright.spec.json import Spec, left_out, require, require_size, require_text
from gatewright.spec.model import AGGREGATES

#: Maximum number of outputs of a step - horizon times targets - of which all correlations are kept, and of which
#: those by lag are.
LARGEST_CORRELATION, LARGEST_LAG_CORRELATION = 256, 2048


@dataclass(frozen=True)
class TableSpec(Spec):
    """How tables are read; columns with a role are those of the `SeriesEncoder`.

    Attributes:
        time: column of timestamps; "none" for rows in order, "" to detect it.
        time_format: format of the timestamps as in strftime; "" to detect it.
        time_zone: zone whose clock shows the times; "none" if no time may name a zone, "" to detect it.
        id: columns that name the series of a row.
        resample: width of the steps that rows are aggregated into; "" for rows as they are.
        aggregate: aggregate of the rows of such a step: "mean", "sum", "last", or "" for the mean.
        decimal: decimal mark of numbers in text.
        thousands: thousands separator of numbers in text; "" for none.
        missing: words and numbers that stand for a missing value.
        fill: how missing inputs are filled: "", "forward" or "mean".
        season: length of the season in steps, for the seasonal-naive baseline.
        valid: size or first date of the validation part.
        test: size or first date of the test part.
        source: SHA-256 of what the model learned from, in hexadecimal digits.
        trained_until: time of the last row that training or validation saw, on the clock of the timestamps, as
            in ISO 8601; "" for a table without timestamps.
        widths: factors by which calibration changed the distance of each quantile from the median, (horizon,
            targets) in row-major order; they are in the head's weights already.  Empty without any.
        offsets: what calibration added to the head's output, (horizon, targets, quantiles) in row-major order; in
            the head's bias already.  Empty without any.
        correlation: correlation of the errors over steps ahead and targets, in normal scores: the part of the
            matrix (horizon * targets, horizon * targets) above its diagonal, row by row; for at most
            `LARGEST_CORRELATION` outputs.  Empty without any.
        lag_correlation: of more outputs, that of a target and of another one some steps later, (horizon, targets,
            targets) in row-major order.  Empty without any.

    Raises:
        SpecError: if a field has none of these values.
    """

    time: str
    time_format: str
    time_zone: str
    id: tuple[str, ...]
    resample: str
    aggregate: str
    decimal: str
    thousands: str
    missing: tuple[str, ...]
    fill: str
    season: int
    valid: str
    test: str
    source: str
    trained_until: str
    widths: tuple[float, ...] = left_out((), since=4)
    offsets: tuple[float, ...] = left_out((), since=4)
    correlation: tuple[float, ...] = left_out((), since=4)
    lag_correlation: tuple[float, ...] = left_out((), since=4)

    def __post_init__(self) -> None:
        require(self.aggregate in AGGREGATES, "aggregate", f"one of {AGGREGATES}", self.aggregate)
        require(self.fill in FILLS, "fill", f"one of {FILLS}", self.fill)
        require(self.decimal in (".", ","), "decimal", "a point or a comma", self.decimal)
        require_size("season", self.season)
        texts = ("time", "time_format", "time_zone", "resample", "thousands", "valid", "test", "source")
        for name in (*texts, "trained_until"):
            require_text(name, (getattr(self, name),))
        for name in ("id", "missing"):
            require_text(name, getattr(self, name))
        require(all(0 < width < math.inf for width in self.widths), "widths", "numbers above 0", self.widths)
        require(all(map(math.isfinite, self.offsets)), "offsets", "finite numbers", self.offsets)
        for name in ("correlation", "lag_correlation"):
            numbers = getattr(self, name)
            require(all(-1 <= number <= 1 for number in numbers), name, "numbers from -1 to 1", numbers)
