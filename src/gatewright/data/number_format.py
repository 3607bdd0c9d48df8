"""Number formats: decimal mark, separator of thousands, and stand-ins for a missing value."""

from __future__ import annotations

import re
from dataclasses import dataclass

import polars as pl

from gatewright.errors import GatewrightError, shorten

DECIMALS = (".", ",")
#: Separators of thousands; a space also covers the two that do not break.
THOUSANDS = ("", ".", ",", " ", "'", "_", "\u2019")

#: Marks that need quotes in a shell.
_QUOTED = (" ", "'", "\u2019")
_SPACES = "[ \u00a0\u202f]"


@dataclass(frozen=True)
class Notation:
    """A format of numbers.

    Attributes:
        decimal: the decimal mark, "." or ",".
        thousands: the separator of thousands; "" for none.
        missing: words and numbers that stand for a missing value, in addition to the usual words.

    Raises:
        GatewrightError: if a mark is unknown, or both are equal.
    """

    decimal: str = "."
    thousands: str = ""
    missing: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.decimal not in DECIMALS:
            raise GatewrightError("--decimal", "a point or a comma", shorten(self.decimal))
        if self.thousands not in THOUSANDS:
            expected = "a point, a comma, a space, an apostrophe or an underscore"
            raise GatewrightError("--thousands", expected, shorten(self.thousands))
        if self.decimal == self.thousands:
            other = "," if self.decimal == "." else "."
            got = f"{shorten(self.decimal)} for both; --decimal {other} sets the other mark"
            raise GatewrightError("--decimal and --thousands", "two different characters", got)

    @property
    def group(self) -> str:
        """A regular expression for the separator of thousands."""
        return _SPACES if self.thousands == " " else re.escape(self.thousands)

    def options(self, other: Notation) -> str:
        """Return the command-line options that change another notation into this one."""
        options = [f"--decimal {self.decimal}"] if self.decimal != other.decimal else []
        if self.thousands and self.thousands != other.thousands:
            mark = f'"{self.thousands}"' if self.thousands in _QUOTED else self.thousands
            options.append(f"--thousands {mark}")
        elif self.thousands != other.thousands:
            options.append("without --thousands")
        return " ".join(options)

    def to_plain(self, cells: pl.Series) -> pl.Series:
        """Write numbers with a decimal point and no separators; a cell that is not a number becomes null.

        >>> Notation(",", ".").to_plain(pl.Series(["1.234,5", "-7", "1.5", "1,5"])).to_list()
        ['1234.5', '-7', None, '1.5']
        """
        if self.decimal == "." and not self.thousands:
            return cells
        group = self.group
        whole = rf"\d{{1,3}}(?:{group}\d{{3}})+|\d*" if self.thousands else r"\d*"
        pattern = rf"^[+-]?(?:{whole})(?:{re.escape(self.decimal)}\d*)?(?:[eE][+-]?\d+)?$"
        written = cells.set(~cells.str.contains(pattern), None)
        if self.thousands:
            written = written.str.replace_all(group, "")
        return written.str.replace(self.decimal, ".", literal=True)

    def cast(self, cells: pl.Series) -> pl.Series:
        """Return cells as Float64; null where a cell is not a number in this notation.

        >>> Notation(",").cast(pl.Series(["1,5", "x"])).to_list()
        [1.5, None]
        """
        plain = self.to_plain(cells) if cells.dtype == pl.String else cells
        return plain.cast(pl.Float64, strict=False)

    def number(self, cell: str) -> float | None:
        """Return a cell as a number, or None."""
        return self.to_plain(pl.Series([cell])).cast(pl.Float64, strict=False)[0]


#: The notation of Python.
PLAIN = Notation()

#: Every notation, the most common first.
OTHERS = tuple(Notation(mark, group) for group in THOUSANDS for mark in DECIMALS if mark != group)


def hint(cells: pl.Series, notation: Notation) -> str:
    """Return the options that read a cell as a number, for the end of an error message; "" if none do.

    Args:
        cells: the cell, and others of its column that are no numbers; the options that read most of them win.
        notation: the notation in which they are no numbers.

    >>> hint(pl.Series(["1.234,5"]), PLAIN), hint(pl.Series(["abc,"]), PLAIN)
    ('; --decimal , --thousands . reads it as 1234.5', '')
    >>> hint(pl.Series(["1,234"]), PLAIN)
    '; --decimal , reads it as 1.234, --thousands , reads it as 1234'
    """
    if not re.search(r"\d[^\d]\d", cells[0]) or notation.number(cells[0]) is not None:
        return ""
    readings: list[tuple[int, str]] = []
    for other in OTHERS:
        numbers = other.cast(cells)
        marks = [re.escape(other.decimal)] if other.decimal != notation.decimal else []
        marks += [other.group] if other.thousands else []
        if numbers[0] is not None and all(cells.str.contains(mark).any() for mark in marks):
            readings.append((numbers.count(), f"{other.options(notation)} reads it as {numbers[0]:.15g}"))
    most = max((count for count, _ in readings), default=0)
    best = [reading for count, reading in readings if count == most]
    return "; " + ", ".join(best[:2]) if best else ""
