"""Time zones: the offset of a clock from UTC, and the conversion between the two.

A zone is text, as in a model file: "" for times without a zone, "local" for dates whose changing offset is
ignored, "UTC", an offset such as "+02:00", or a place such as "Europe/Berlin", whose offset changes.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone, tzinfo

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import GatewrightError, nearest, shorten

Times = NDArray[np.datetime64]
Offsets = NDArray[np.timedelta64]
Rule = Callable[[datetime], timedelta]

#: The zone of dates as they are written; their offsets are ignored.
LOCAL = "local"
UTC = "UTC"
#: The value of `--time-zone` for times without a zone.
NO_ZONE = "none"

#: From the first to the last microsecond of a day.
_LONG = np.timedelta64(86_400_000_000 - 1, "us")
#: Offsets of a place are looked up within these years: Python's calendar ends soon after.
_RULES = (np.datetime64("0002-01-01", "us"), np.datetime64("9998-12-31", "us"))
_UTC_NAMES = ("UTC", "UT", "GMT", "Z", "ZULU", "ETC/UTC", "ETC/GMT", "ETC/ZULU", "ETC/UCT", "UCT")

#: Abbreviations with a single meaning worldwide, and their offsets in minutes.
ABBREVIATIONS = {
    "WET": 0, "WEST": 60, "CET": 60, "CEST": 120, "MEZ": 60, "MESZ": 120, "EET": 120, "EEST": 180, "MSK": 180,
    "SAST": 120, "JST": 540, "KST": 540, "HKT": 480, "AWST": 480, "ACST": 570, "ACDT": 630, "AEST": 600,
    "AEDT": 660, "NZST": 720, "NZDT": 780,
}  # fmt: skip


def offset_of(text: str) -> int | None:
    """Return the seconds from UTC of the zone at the end of a timestamp; None if it is unknown or ambiguous.

    >>> offset_of("+0530"), offset_of("Z"), offset_of("GMT-3"), offset_of("CEST"), offset_of("CST")
    (19800, 0, -10800, 7200, None)
    """
    name = text.upper()
    if name in _UTC_NAMES:
        return 0
    if name in ABBREVIATIONS:
        return 60 * ABBREVIATIONS[name]
    match = re.fullmatch(r"(?:UTC|GMT)?([+-])(\d{1,2})(?::?(\d{2})(?::?(\d{2}))?)?", name)
    if not match:
        return None
    hours, minutes, seconds = (int(part or 0) for part in match.groups()[1:])
    if hours > 23 or minutes > 59 or seconds > 59:
        return None
    return (-1 if match[1] == "-" else 1) * (3600 * hours + 60 * minutes + seconds)


def offset_name(seconds: int) -> str:
    """Return the zone at an offset from UTC.

    >>> offset_name(19800), offset_name(0), offset_name(-3600)
    ('+05:30', 'UTC', '-01:00')
    """
    if seconds == 0:
        return UTC
    minutes, rest = divmod(abs(seconds), 60)
    tail = f":{rest:02d}" if rest else ""
    return f"{'-' if seconds < 0 else '+'}{minutes // 60:02d}:{minutes % 60:02d}{tail}"


def canonical(name: str, argument: str = "--time-zone") -> str:
    """Return a zone named by a user as a model file writes it.

    Raises:
        GatewrightError: if there is no such zone.

    >>> canonical("GMT"), canonical("+2"), canonical("Europe/Berlin"), canonical("none")
    ('UTC', '+02:00', 'Europe/Berlin', '')
    """
    if name == NO_ZONE:
        return ""
    if name == LOCAL:
        return name
    if name.upper() in _UTC_NAMES:
        return UTC
    offset = offset_of(name) if re.match(r"(?i)(UTC|GMT)?[+-]\d", name) else None
    if offset is not None:
        return offset_name(offset)
    _place(name, argument)
    return name


@functools.lru_cache(maxsize=64)
def _place(name: str, argument: str = "time zone") -> tzinfo:
    import zoneinfo  # here, since few streams need it

    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        hint = nearest(name, sorted(zoneinfo.available_timezones()))
        expected = "a time zone such as Europe/Berlin, UTC or +02:00, or none"
        raise GatewrightError(argument, expected, f"{shorten(name)}{hint}") from None


def is_place(zone: str) -> bool:
    """Say whether a zone is a place, whose offset may change."""
    return zone not in ("", LOCAL, UTC) and zone[0] not in "+-"


def tz_of(zone: str) -> tzinfo:
    """Return a zone, other than "" and "local", for Python's `datetime`."""
    if is_place(zone):
        return _place(zone)
    return timezone(timedelta(seconds=offset_of(zone) or 0))


def to_local(times: Times, zone: str) -> Times:
    """Return times in UTC as the clock of a zone shows them.

    >>> to_local(np.array(["2024-07-01T12:00"], "datetime64[us]"), "Europe/Berlin").astype("datetime64[m]")
    array(['2024-07-01T14:00'], dtype='datetime64[m]')
    """
    tz = tz_of(zone)

    def offset(time: datetime) -> timedelta:
        return time.replace(tzinfo=timezone.utc).astimezone(tz).utcoffset() or timedelta()

    return times + _offsets(times, zone, (offset,))[0]


def to_utc(times: Times, zone: str) -> tuple[Times, Times]:
    """Return the first and the last time in UTC at which the clock of a zone shows these times.

    They differ in an hour that the clock shows twice.  In an hour that it leaves out, the first is the later.

    >>> early, late = to_utc(np.array(["2024-10-27T02:30"], "datetime64[us]"), "Europe/Berlin")
    >>> str(early[0])[11:16], str(late[0])[11:16]
    ('00:30', '01:30')
    """
    tz = tz_of(zone)
    folds = [lambda time, fold=fold: tz.utcoffset(time.replace(fold=fold)) or timedelta() for fold in (0, 1)]
    early, late = _offsets(times, zone, folds)
    return times - early, times - late


def _offsets(times: Times, zone: str, rules: Sequence[Rule]) -> list[Offsets]:
    """Return offsets by each rule, which is evaluated once for each day whose offset does not change."""
    if not is_place(zone):
        fixed = np.timedelta64(offset_of(zone) or 0, "s").astype("timedelta64[us]")
        return [np.full(times.shape, fixed) for _ in rules]

    def evaluate(rule: Rule, moments: Times) -> Offsets:
        return np.array([rule(moment) for moment in moments.tolist()], "timedelta64[us]")

    times = np.minimum(np.maximum(times.astype("datetime64[us]"), _RULES[0]), _RULES[1])
    if times.size < 8:  # as in a step of a stream, where each one is less work
        return [evaluate(rule, times.reshape(-1)).reshape(times.shape) for rule in rules]
    days, places = np.unique(times.astype("datetime64[D]"), return_inverse=True)
    places = places.reshape(times.shape)
    starts = days.astype("datetime64[us]")
    first = [evaluate(rule, starts) for rule in rules]
    last = [evaluate(rule, np.add(starts, _LONG)) for rule in rules]
    steady = np.all([offsets == first[0] for offsets in (*first, *last)], axis=0)
    answers = []
    for rule, offsets in zip(rules, first, strict=True):
        answer = offsets[places]
        changing = ~steady[places]
        answer[changing] = evaluate(rule, times[changing])
        answers.append(answer)
    return answers


def of_days(step: str) -> bool:
    """Say whether a step is a day or longer; such steps are even on the local clock."""
    return step.endswith(("d", "b", "mo", "me"))


@dataclass(frozen=True)
class Clock:
    """The clock on which times are stored: that of a zone, or UTC.

    Attributes:
        zone: the zone, as the docstring of this module describes it.
        absolute: whether times are stored in UTC, as they are for a place at steps shorter than a day, which are
            not even on its own clock.
    """

    zone: str = ""
    absolute: bool = False

    @classmethod
    def of(cls, zone: str, step: str) -> Clock:
        """Return the clock for times of a zone at a step."""
        return cls(zone, is_place(zone) and not of_days(step))

    def local(self, times: Times) -> Times:
        """Return the times that the clock of the zone shows."""
        return to_local(times, self.zone) if self.absolute else times

    def from_local(self, local: Times) -> Times:
        """Return times that the clock of the zone shows as they are stored, the first of two."""
        return to_utc(local, self.zone)[0] if self.absolute else local

    def offsets(self, times: Times) -> list[str]:
        """Return the offset from UTC of each time, such as "+02:00"; "" where the zone has none."""
        if self.zone in ("", LOCAL):
            return [""] * len(times)
        local = self.local(times)
        utc = times if self.absolute else to_utc(local, self.zone)[0]
        seconds = ((local - utc) // np.timedelta64(1, "s")).tolist()
        return [offset_name(each) if each else "+00:00" for each in seconds]


#: The clock of times without a zone.
NAIVE = Clock()
