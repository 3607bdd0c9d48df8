"""The split of series into training, validation and test part, in time order."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gatewright.data.table import Series
from gatewright.errors import GatewrightError

_DATE = re.compile(r"\d{4}-\d{2}(-\d{2}([T ]\d{2}:\d{2}(:\d{2})?)?)?")


@dataclass(frozen=True)
class Parts:
    """Bounds of the parts of a series, in rows: training [0, valid), validation, then test [test, end)."""

    valid: int
    test: int
    end: int


def split(series: Sequence[Series], valid: str, test: str) -> tuple[Parts, ...]:
    """Return the parts of each series, in time order; a short series has no rows in some of them.

    Args:
        series: the series to split.
        valid: size of the validation part: a share ("0.15"), a number of rows ("2880"), or its start date
            ("2017-07-01").
        test: the same for the test part, which comes last; "0" for none.

    Raises:
        GatewrightError: if a size cannot be read, or leaves a part without any row.
    """
    untested = test in ("0", "0.0")
    parts = []
    for each in series:
        rows = len(each.values)
        test_start = rows if untested else min(max(_start(each, "--test", test, rows), 0), rows)
        valid_start = min(max(_start(each, "--valid", valid, test_start), 0), test_start)
        parts.append(Parts(valid_start, test_start, rows))
    sizes = [(part.valid, part.test - part.valid, part.end - part.test) for part in parts]
    if not all(map(any, list(zip(*sizes, strict=True))[: 2 if untested else 3])):
        longest = max(series, key=lambda each: len(each.values))
        of = longest.title + (", the longest series" if len(series) > 1 else "")
        got = f"{valid} and {test} of {len(longest.values)} rows of {of}"
        raise GatewrightError("--valid and --test", "sizes that leave rows in all three parts", got)
    return tuple(parts)


def _start(series: Series, name: str, size: str, end: int) -> int:
    expected = "a share such as 0.15, a number of rows, or (with timestamps) a start date such as 2017-07-01"
    if _DATE.fullmatch(size) and series.times is not None:
        try:
            start = series.clock.from_local(np.array([size], "datetime64[us]"))[0]
            return int(np.searchsorted(series.times, start))
        except ValueError:  # the 31st of February
            raise GatewrightError(name, expected, repr(size)) from None
    try:
        number = float(size)
    except ValueError:
        number = -1.0
    if 0 < number < 1:
        return end - round(number * len(series.values))
    if number >= 1 and number.is_integer():
        return end - int(number)
    raise GatewrightError(name, expected, repr(size))
