"""Times written as numbers: 20200131, 2020013106, seconds since 1970, serial days of a spreadsheet."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import polars as pl
from numpy.typing import NDArray

from gatewright.data.cell_text import is_text, text
from gatewright.data.datetimes.patterns import moments
from gatewright.data.time_zones import Times

Numbers = NDArray[np.float64]
_NAT = np.datetime64("NaT", "us")

#: Numbers of digits of dates such as 20200131, and the parts after the year, of two digits each.
_DATES = {
    4: (), 6: ("month",), 8: ("month", "day"), 10: ("month", "day", "hour"),
    12: ("month", "day", "hour", "minute"),
    14: ("month", "day", "hour", "minute", "second"),
}  # fmt: skip
#: Years of such dates: other numbers are something else.
_YEARS = (1000, 2999)
#: Years of dates with ten digits and more, which could count seconds since 1970 too (only after 2030 here).
_LATE_YEARS = (1900, 2100)

#: Counts since 1970: the range from 1973 to 2286, which nothing else has, and the microseconds of a unit.
_SINCE_1970 = {"seconds": (1e8, 1e10, 1e6), "milliseconds": (1e11, 1e13, 1e3), "microseconds": (1e14, 1e16, 1.0)}
_NANOSECONDS = (10**17, 9 * 10**18)
#: Days since 1899-12-30, as spreadsheets count them: 1954 to 2119.
_SPREADSHEET = (20_000, 80_000)
_EPOCH = 25_569  # 1970-01-01 there


def looks_like_number(column: pl.Series) -> bool:
    """Say whether most of a column's first cells are numbers."""
    if column.dtype.is_numeric():
        return True
    if not is_text(column):
        return False
    head = text(column.head(1000)).drop_nulls()
    return 2 * int(head.cast(pl.Float64, strict=False).is_finite().sum()) > len(head)


def times(column: pl.Series) -> tuple[Times, str]:
    """Return numbers as times by the meaning that fits most of the first cells, and that meaning.

    Other cells become NaT.
    """
    whole, real = _numbers(column)
    known = np.flatnonzero(np.isfinite(real))[:1000]
    fits = {
        meaning: int((~np.isnat(read(whole[known], real[known]))).sum()) for meaning, read in _MEANINGS.items()
    }
    meaning = max(fits, key=lambda meaning: fits[meaning])  # of two that fit alike, the first
    return _MEANINGS[meaning](whole, real), meaning


def _numbers(column: pl.Series) -> tuple[NDArray[np.int64], Numbers]:
    """Return cells as whole numbers, -1 for any other cell, and as real numbers, NaN for any other cell."""
    cells = column if column.dtype.is_numeric() else text(column)
    real = cells.cast(pl.Float64, strict=False).fill_null(float("nan")).to_numpy()
    if column.dtype.is_float():
        exact = np.isfinite(real) & (real == np.rint(real)) & (np.abs(real) < 9e18)
        return np.where(exact, real, -1).astype(np.int64), real
    if is_text(column):
        digits = cells.str.replace(r"\.0*$", "")
        cells = digits.set(~digits.str.contains(r"^\d{1,19}$").fill_null(False), None)
    whole = cells.cast(pl.Int64, strict=False).fill_null(-1).to_numpy()
    exact = np.isfinite(real) & (real == np.rint(real)) & (np.abs(real) < 2**53) & (whole < 0)
    return np.where(exact, np.where(exact, real, 0).astype(np.int64), whole), real


def _digits_as_dates(whole: NDArray[np.int64], _: Numbers, digits: int) -> Times:
    """Return numbers with this many digits as dates such as 20200131."""
    fits = (whole >= 10 ** (digits - 1)) & (whole < 10**digits)
    rest = np.where(fits, whole, 10 ** (digits - 1))
    parts = {}
    for name in reversed(_DATES[digits]):
        rest, parts[name] = np.divmod(rest, 100)
    first, last = _YEARS if digits < 10 else _LATE_YEARS
    fits &= (rest >= first) & (rest <= last)
    return np.where(fits, moments({"year": np.where(fits, rest, first), **parts}, len(whole)), _NAT)


def _spreadsheet(_: NDArray[np.int64], real: Numbers) -> Times:
    """Return days of a spreadsheet as times, rounded to seconds if all are near one, else to milliseconds."""
    missing = ~((real >= _SPREADSHEET[0]) & (real < _SPREADSHEET[1]))
    exact = np.where(missing, 0, real - _EPOCH) * 86_400e6
    seconds = np.rint(exact / 1e6) * 1e6
    near = np.abs(exact - seconds) <= 10_000
    rounded = seconds if near.all() else np.rint(exact / 1e3) * 1e3
    return np.where(missing, _NAT, rounded.astype(np.int64).astype("datetime64[us]"))


def _since_1970(whole: NDArray[np.int64], real: Numbers, unit: str) -> Times:
    first, last, size = _SINCE_1970[unit]
    inside = (real >= first) & (real < last)
    rounded = np.rint(np.where(inside, real, 0) * size).astype(np.int64)
    exact = np.where(whole >= 0, np.where(inside, whole, 0) * np.int64(size), rounded)
    return np.where(inside, exact.astype("datetime64[us]"), _NAT)


def _nanoseconds(whole: NDArray[np.int64], _: Numbers) -> Times:
    inside = (whole >= _NANOSECONDS[0]) & (whole < _NANOSECONDS[1])
    return np.where(inside, (whole // 1000).astype("datetime64[us]"), _NAT)


#: Every meaning of numbers.
_MEANINGS: dict[str, Callable[[NDArray[np.int64], Numbers], Times]] = {
    **{f"{digits} digits": partial(_digits_as_dates, digits=digits) for digits in _DATES},
    "days of a spreadsheet": _spreadsheet,
    **{f"since 1970 in {unit}": partial(_since_1970, unit=unit) for unit in _SINCE_1970},
    "since 1970 in nanoseconds": _nanoseconds,
}
