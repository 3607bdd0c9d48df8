"""Public holidays by country or by a part of one, from the package `holidays`."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.data import frequency
from gatewright.data.time_zones import Times, is_place, of_days, to_local, to_utc
from gatewright.errors import DataError, GatewrightError, nearest, shorten

_MONDAY = np.datetime64("2024-01-01", "us")


def require_regions(regions: Sequence[str]) -> None:
    """Check that the package is there and knows the regions, such as "DE" or "DE-BY".

    Raises:
        GatewrightError: if it is missing or does not know one, or a region comes twice.
    """
    if len(set(regions)) < len(regions):
        raise GatewrightError("--holidays", "each region once", shorten(tuple(regions)))
    for region in regions:
        _calendar(region)


def counts(starts: Times, step: str, regions: Sequence[str]) -> NDArray[np.float64]:
    """Return the number of public holidays in the steps that begin at these times: (times, regions).

    A step of up to a day, also of a business day, has its own date; a longer one all dates up to the next.

    Args:
        starts: times on the local clock.
        step: length of a step.
        regions: countries, or parts of them.

    Raises:
        GatewrightError: at a region that is unknown, or a year before or after its known holidays.
    """
    times, places = np.unique(starts, return_inverse=True)
    first = times.astype("datetime64[D]")
    last = first + 1
    if frequency.after(_MONDAY, step, np.array([1]))[0] - _MONDAY > np.timedelta64(1, "D"):
        last = np.array([frequency.after(time, step, np.array([1]))[0] for time in times], "datetime64[D]")
    columns = []
    for region in regions:
        years = (int(str(first[0])[:4]), int(str(last[-1])[:4]))
        days = _days(region, *years)
        columns.append(np.searchsorted(days, last) - np.searchsorted(days, first))
    return np.stack(columns, axis=1).astype(np.float64)[places]


def ahead(local: Times, zone: str, step: str, horizon: int, regions: Sequence[str]) -> NDArray[np.float64]:
    """Return the number of public holidays in each of the next steps: (times, regions * horizon).

    A row has the steps of the first region, then those of the second, and so on.

    Args:
        local: times of rows on the local clock.
        zone: whose clock it is; "" or "local" for none.
        step: time between rows.
        horizon: number of steps.
        regions: countries, or parts of them.
    """
    steps = np.arange(1, horizon + 1)
    moments = local
    clock_changes = is_place(zone) and not of_days(step)
    if clock_changes:
        moments = to_utc(local, zone)[0]
    later = np.stack([frequency.after(time, step, steps) for time in moments]).reshape(-1)
    found = counts(to_local(later, zone) if clock_changes else later, step, regions)
    return found.reshape(len(local), horizon, -1).transpose(0, 2, 1).reshape(len(local), -1)


@functools.lru_cache(maxsize=64)
def _days(region: str, first: int, last: int) -> NDArray[np.datetime64]:
    calendar = _calendar(region)
    known = calendar.start_year, calendar.end_year
    if first < known[0] or last > known[1]:
        got = f"{first}" if first < known[0] else f"{last}"
        raise GatewrightError(f"--holidays {region}", f"years from {known[0]} to {known[1]}", got)
    calendar = _calendar(region, range(first, last + 1))
    return np.array(sorted(calendar), "datetime64[D]")


def _calendar(region: str, years: Any = None) -> Any:
    """Return the holidays of a region, as the package has them."""
    try:
        import holidays
    except ModuleNotFoundError:
        raise GatewrightError(
            "--holidays", "the package holidays: pip install 'gatewright[holidays]'", "none"
        ) from None
    country, _, part = region.partition("-")
    known = holidays.list_supported_countries()
    if country not in known:
        expected = "a country such as DE, or a part of one such as DE-BY"
        raise GatewrightError("--holidays", expected, f"{shorten(region)}{nearest(country, known)}")
    try:
        return holidays.country_holidays(country, subdiv=part or None, years=years)
    except NotImplementedError:
        parts = [f"{country}-{name}" for name in known[country]]
    expected = f"one of {shorten(parts)}" if parts else f"{country} without a part"
    raise GatewrightError("--holidays", expected, f"{shorten(region)}{nearest(region, parts)}")


def require_times(regions: Sequence[str], has_times: bool) -> None:
    """Check that a table has timestamps, if holidays are asked for.

    Raises:
        DataError: if it has none.
    """
    if regions and not has_times:
        raise DataError("--holidays", "a table with timestamps", "a table without any, or --time none")
