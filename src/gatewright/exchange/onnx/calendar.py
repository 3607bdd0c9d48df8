"""Calendar inputs of a forecaster in an ONNX graph: sines and cosines of the parts of a time.

A time is microseconds since 1970 on the clock of the model's zone.  Equations: those of
`gatewright.data.frequency.calendar`; the year of a day by Hinnant's algorithm
(https://howardhinnant.github.io/date_algorithms.html, civil_from_days).
"""

from __future__ import annotations

import numpy as np

from gatewright.exchange.onnx.graph import Graph, Value, whole

_DAY = np.int64(86_400_000_000)
#: Days from March 1 of year 0 to 1970, and of 400 years.
_TO_1970, _ERA = np.int64(719_468), np.int64(146_097)


def waves(g: Graph, time: str, parts: tuple[str, ...]) -> str:
    """Return sine and cosine of each part, (steps, rows, 2 * parts), of times (steps, rows), int64."""
    of_day = g("Mod", time, _DAY)
    day = g("Div", g("Sub", time, of_day), _DAY)
    columns = []
    for part in parts:
        if part == "hour_of_day":
            phase = _ratio(g, of_day, _DAY)
        elif part == "day_of_week":  # from a Monday on
            phase = _ratio(g, g("Mod", g("Sub", time, np.int64(4) * _DAY), np.int64(7) * _DAY), np.int64(7) * _DAY)
        else:
            first, following = _year(g, day)
            passed = g("Sub", time, g("Mul", first, _DAY))
            phase = _ratio(g, passed, g("Mul", g("Sub", following, first), _DAY))
        angle = g("Mul", phase, np.float64(2 * np.pi))
        columns += [g("Unsqueeze", g(wave, angle), whole(-1)) for wave in ("Sin", "Cos")]
    return str(g("Concat", *columns, axis=-1))


def _ratio(g: Graph, numerator: Value, denominator: Value) -> str:
    return str(g("Div", *(g("Cast", each, to=11) for each in (numerator, denominator))))  # float64


def _year(g: Graph, day: str) -> tuple[str, str]:
    """Return the first day of the year of a day, and that of the following year, counted from 1970."""
    from_march = g("Add", day, _TO_1970)
    of_era = g("Mod", from_march, _ERA)
    era = g("Div", g("Sub", from_march, of_era), _ERA)
    leap_days = g("Sub", g("Div", of_era, np.int64(36_524)), g("Div", of_era, np.int64(1_460)))
    leap_days = g("Sub", leap_days, g("Div", of_era, np.int64(146_096)))
    year_of_era = g("Div", g("Add", of_era, leap_days), np.int64(365))
    of_year = g("Sub", of_era, _days_of_years(g, year_of_era))
    january = g("Cast", g("GreaterOrEqual", of_year, np.int64(306)), to=7)  # and February, of the next year
    year = g("Add", g("Add", year_of_era, january), g("Mul", era, np.int64(400)))
    return _first_day(g, year), _first_day(g, g("Add", year, np.int64(1)))


def _days_of_years(g: Graph, years: str) -> str:
    """Return the number of days in years from 0 on, each from March on."""
    days = g("Add", g("Mul", years, np.int64(365)), g("Div", years, np.int64(4)))
    return str(g("Add", g("Sub", days, g("Div", years, np.int64(100))), g("Div", years, np.int64(400))))


def _first_day(g: Graph, year: str) -> str:
    """Return January 1 of a year from 1 on, counted from 1970."""
    return str(g("Sub", _days_of_years(g, g("Sub", year, np.int64(1))), np.int64(719_162)))
