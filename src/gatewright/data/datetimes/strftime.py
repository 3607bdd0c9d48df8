"""Formats as in strftime, as patterns of `patterns.py` that read what `datetime.strptime` reads."""

from __future__ import annotations

import re

from gatewright.errors import DataError

_MONTH = (
    r"jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sep(?:tember)?"
    r"|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?"
)
_WEEKDAY = r"mon(?:day)?|tue(?:sday)?|wed(?:nesday)?|thu(?:rsday)?|fri(?:day)?|sat(?:urday)?|sun(?:day)?"
_ZONE = r"[+-]\d{2}:?[0-5]\d(?::?[0-5]\d)?|z"
_DAY = r"(?P<day>3[01]|[12]\d|0[1-9]| ?[1-9])"

#: The pattern of each directive.  As in strptime, leading zeros are optional.
_DIRECTIVES = {
    "Y": r"(?P<year>\d{4})",
    "y": r"(?P<yy>\d{2})",
    "m": r"(?P<month>1[0-2]|0[1-9]|[1-9])",
    "d": _DAY,
    "e": _DAY,
    "b": rf"(?P<name>{_MONTH})",
    "B": rf"(?P<name>{_MONTH})",
    "h": rf"(?P<name>{_MONTH})",
    "a": rf"(?P<weekday_name>{_WEEKDAY})",
    "A": rf"(?P<weekday_name>{_WEEKDAY})",
    "u": r"(?P<weekday>[1-7])",
    "w": r"(?P<weekday_from_sunday>[0-6])",
    "j": r"(?P<yday>36[0-6]|3[0-5]\d|[12]\d\d|0[1-9]\d|00[1-9]|[1-9]\d|0[1-9]|[1-9])",
    "U": r"(?P<sunday_week>5[0-3]|[0-4]\d|\d)",
    "W": r"(?P<monday_week>5[0-3]|[0-4]\d|\d)",
    "V": r"(?P<week>5[0-3]|0[1-9]|[1-4]\d|\d)",
    "G": r"(?P<iso_year>\d{4})",
    "H": r"(?P<hour>2[0-3]|[01]\d|\d)",
    "k": r" ?(?P<hour>2[0-3]|[01]\d|\d)",
    "I": r"(?P<hour>1[0-2]|0[1-9]|[1-9])",
    "l": r" ?(?P<hour>1[0-2]|0[1-9]|[1-9])",
    "M": r"(?P<minute>[0-5]\d|\d)",
    "S": r"(?P<second>[0-5]\d|\d)",
    "f": r"(?P<fraction>\d{1,6})",
    "p": r"(?P<half>am|pm)",
    "P": r"(?P<half>am|pm)",
    "z": rf"(?P<zone>{_ZONE})",
    "Z": r"(?P<zone>[a-z]{1,5})",
    "%": "%",
}
_LONG = {"F": "%Y-%m-%d", "T": "%H:%M:%S", "R": "%H:%M", "D": "%m/%d/%y", "r": "%I:%M:%S %p", "n": " ", "t": " "}
#: Sets of parts that name a date; a format needs one of them.
_DATES = (
    {"year", "month", "day"}, {"year", "name", "day"}, {"yy", "month", "day"}, {"yy", "name", "day"},
    {"year", "yday"}, {"yy", "yday"}, {"year", "month"}, {"year", "name"}, {"yy", "month"}, {"yy", "name"},
    {"year", "sunday_week", "weekday"}, {"year", "monday_week", "weekday"}, {"iso_year", "week", "weekday"},
    {"yy", "sunday_week", "weekday"}, {"yy", "monday_week", "weekday"}, {"year"}, {"yy"},
)  # fmt: skip
_OF_A_DATE = {"year", "yy", "month", "name", "day", "yday", "sunday_week", "monday_week", "week", "iso_year"}


def pattern(time_format: str) -> str:
    """Return the pattern that reads what strftime writes with a format.

    Raises:
        DataError: if the format is ambiguous, or has no date.

    >>> re.match(pattern("%d.%m.%y %H:%M"), "31.01.26 07:05").groupdict()["yy"]
    '26'
    """
    whole = _expanded(time_format.strip())
    parts, seen = [], dict[str, str]()
    for piece in re.findall(r"%.|\s+|[^%\s]+", whole):
        if piece[0] != "%":
            parts.append(r"\s+" if piece.isspace() else re.escape(piece))
            continue
        directive = _DIRECTIVES[piece[1]]
        for group in re.findall(r"\?P<(\w+)>", directive):
            if group in seen:
                raise _bad(time_format, f"{seen[group]} and {piece}, which say the same")
            seen[group] = piece
        parts.append(directive)
    _check(time_format, seen)
    return "(?i)^" + "".join(parts) + "$"


def _expanded(time_format: str) -> str:
    """Return a format with simple directives only."""
    whole = re.sub(r"%([FTRDrnt])", lambda match: _LONG[match[1]], time_format.replace("%%", "%\0"))
    whole = re.sub(r"%-([dmyHIMSjUWVGukle])", r"%\1", whole)  # without padding, as glibc has it
    for match in re.finditer(r"%(.?)", whole, re.DOTALL):
        if match[1] != "\0" and match[1] not in _DIRECTIVES:
            got = f"%{match[1]}, which says nothing here" if match[1] else "a % at its end"
            raise _bad(time_format, got)
    return whole.replace("%\0", "%%")


def _check(time_format: str, seen: dict[str, str]) -> None:
    """Refuse formats that strptime would read as another time than the intended one."""
    names = set(seen)
    if names & {"weekday_name", "weekday_from_sunday"}:
        names |= {"weekday"}
    date = names & (_OF_A_DATE | ({"weekday"} if names & {"week", "sunday_week", "monday_week"} else set()))
    if date not in _DATES:
        raise _bad(time_format, "one whose parts name no date: a year, and a month, a day or a week with its day")
    twelve = seen.get("hour") in ("%I", "%l")
    if twelve != ("half" in names):
        raise _bad(time_format, "%I without %p" if twelve else "%p without %I")
    for part, needed in (("minute", "hour"), ("second", "minute"), ("fraction", "second")):
        if part in names and needed not in names:
            raise _bad(time_format, f"{seen[part]} without the {needed}")


def _bad(time_format: str, got: str) -> DataError:
    return DataError(
        "--time-format", "a format as in strftime, such as '%d.%m.%Y %H:%M'", f"{time_format!r}: {got}"
    )
