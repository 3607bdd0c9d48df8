"""The application: its parser, its consoles, and what its commands share."""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Sequence
from typing import Any

import cyclopts
from cyclopts import App, Group, Parameter
from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table

from gatewright.errors import GatewrightError
from gatewright.tasks.option_values import sizes_of


def _convert(kind: Any, tokens: Sequence[cyclopts.Token]) -> Any:
    """Convert a value as cyclopts does, but refuse to round 8.7 to a whole number, and in words of our own."""
    for token in tokens if kind in (int, int | None) else ():
        if not re.fullmatch(r"[+-]?\d+", token.value):
            raise ValueError(f"expected a whole number, got {token.value!r}")
    for token in tokens if kind in (float, float | None) else ():
        try:
            float(token.value)
        except ValueError:
            raise ValueError(f"expected a number, got {token.value!r}") from None
    if kind == int | tuple[int, ...] | None:
        return sizes_of(",".join(token.value for token in tokens))
    return cyclopts.convert(kind, tokens)


app = App(
    name="gatewright",
    help="The LSTM you can see through, at full speed.",
    version=lambda: importlib.metadata.version("gatewright"),
    default_parameter=Parameter(converter=_convert, negative=(), consume_multiple=True, show_default=False),
    suppress_keyboard_interrupt=False,
)


console = Console()
errors = Console(stderr=True)


#: Announcement of the slow first step of most commands.
LOADING = "loading torch"


class UsageError(GatewrightError):
    """Arguments that cannot be combined."""


def flat(title: str, order: int) -> Parameter:
    """Return the parameter of a dataclass of options: its fields are options of the command, in a group.

    A field that is true or false and has a default of its own is also an option to turn it off: ``--no-refit``.
    """
    group = Group(title, sort_key=order)
    return Parameter(name="*", group=group, negative=None, negative_iterable=(), negative_none=())


def say(text: str) -> None:
    """Print a text as it is."""
    console.print(text, highlight=False, markup=False, soft_wrap=True)


def print_table(table: Table) -> None:
    """Print a table in its own width where the terminal is narrower: a figure cut short would mislead."""
    table.width = Measurement.get(console, console.options.update(max_width=1000), table).maximum
    console.print(table, "", crop=False)


def on_a_line(text: str) -> str:
    """Return a text with all control characters escaped: a name or a cell may hold some."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def complain(kind: str, text: str) -> None:
    """Print an error on one line."""
    errors.print(f"[bold red]{kind}:[/] {escape(on_a_line(text))}", highlight=False, soft_wrap=True)
