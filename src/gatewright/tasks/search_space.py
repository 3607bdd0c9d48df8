"""Search spaces: which values of which options a search tries."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from gatewright.errors import GatewrightError, nearest, shorten
from gatewright.tasks.option_values import SIZES, sizes_of, types_of
from gatewright.tasks.options import Options

#: Options of the data that a search may change: what is scored stays the same.
_OF_DATA = ("reads", "calendar", "context", "season", "reset")
#: Options of the training that a search may not change: the unit of the scores, what is done after the best
#: validation, and what is chosen for its speed.
_NOT_SEARCHED = ("loss", "calibrate", "refit", "precision", "device", "checkpoint_every")

_FORM = "NAME=LOW:HIGH, NAME=LOW:HIGH:log or NAME=VALUE,VALUE"
#: A value of an option, as a study keeps it: several texts are joined by "+".
Value = int | float | str


@dataclass(frozen=True)
class Span:
    """Numbers from ``low`` to ``high``, both included.

    Attributes:
        low: the least.
        high: the largest.
        log: whether their logarithm is drawn evenly.
        whole: whether they are whole numbers.
    """

    low: float
    high: float
    log: bool
    whole: bool

    @property
    def ends(self) -> tuple[Value, ...]:
        """Values whose validity is that of all."""
        return (int(self.low), int(self.high)) if self.whole else (self.low, self.high)

    def __str__(self) -> str:
        low, high = self.ends
        return f"{low}:{high}{':log' if self.log else ''}"


@dataclass(frozen=True)
class Choice:
    """Values out of a list.

    Attributes:
        values: all of them.
    """

    values: tuple[Value, ...]

    @property
    def ends(self) -> tuple[Value, ...]:
        """Values whose validity is that of all."""
        return self.values

    def __str__(self) -> str:
        return ",".join(map(str, self.values))


Domain = Span | Choice
Space = Mapping[str, Domain]


def searchable() -> dict[str, str]:
    """Return the options that a search may change, each with the type of its values.

    >>> searchable()["hidden"], "horizon" in searchable()
    ('sizes', False)
    """
    tables = {table.name: types_of(type(table.default)) for table in fields(Options)}
    of_data = {name: kind for name, kind in tables["data"].items() if name in _OF_DATA}
    of_training = {name: kind for name, kind in tables["training"].items() if name not in _NOT_SEARCHED}
    return {**of_data, **tables["model"], **of_training}


def space_of(entries: Iterable[str]) -> dict[str, Domain]:
    """Return a search space from entries as the command line takes them.

    Raises:
        GatewrightError: if an option is unknown or named twice, or its values cannot be read.

    >>> space_of(["hidden=32:256:log", "dropout=0,0.1"])
    {'hidden': Span(low=32, high=256, log=True, whole=True), 'dropout': Choice(values=(0.0, 0.1))}
    """
    space: dict[str, Domain] = {}
    for entry in entries:
        written, equals, values = entry.partition("=")
        name = written.removeprefix("--").replace("-", "_")
        if not equals or not values:
            raise GatewrightError("--search", _FORM, shorten(entry))
        if name in space:
            raise GatewrightError("--search", "each option once", f"{name} twice")
        space[name] = _domain(name, _type_of(name), values)
    return space


def _type_of(name: str) -> str:
    """Return the type of an option that may be searched.

    Raises:
        GatewrightError: if it may not, or no option has this name.
    """
    types = searchable()
    if name in types:
        return types[name]
    if any(name in vars(table.default) for table in fields(Options)):
        expected = "an option that leaves what is scored as it is, such as hidden, lr or context"
        raise GatewrightError("--search", expected, shorten(name))
    got = f"{shorten(name)}{nearest(name, types)}"
    raise GatewrightError("--search", "an option of the training, such as hidden, lr or dropout", got)


def _domain(name: str, kind: str, text: str) -> Domain:
    flag = f"--search {name}"
    if kind == SIZES:
        return _domain(name, "int", text) if ":" in text else _sizes(flag, text)
    if kind in ("int", "float") and ":" in text:
        low, high, *scale = text.split(":")
        if scale not in ([], ["log"]):
            raise GatewrightError(flag, "LOW:HIGH or LOW:HIGH:log", shorten(text))
        span = Span(_number(flag, kind, low), _number(flag, kind, high), bool(scale), kind == "int")
        if not span.low < span.high:
            raise GatewrightError(flag, "a low end below the high one", shorten(text))
        if span.log and span.low <= 0:
            raise GatewrightError(flag, "a low end above 0 with log", shorten(text))
        return span
    words = text.split(",")
    if kind in ("int", "float"):
        values: tuple[Value, ...] = tuple(_number(flag, kind, word) for word in words)
    else:
        values = tuple(word.strip() for word in words)
    if kind == "bool" and not set(values) <= {"true", "false"}:
        raise GatewrightError(flag, "true, false or both", shorten(text))
    return _choice(flag, values, text)


def _sizes(flag: str, text: str) -> Choice:
    """Return units of layers, each a number or several with "+" between them."""
    words = [word.strip() for word in text.split(",")]
    try:
        sizes = [sizes_of(word) for word in words]
    except ValueError:
        expected = "whole numbers, or units of each layer such as 128+64+32"
        raise GatewrightError(flag, expected, shorten(text)) from None
    values = (each if isinstance(each, int) else "+".join(map(str, each)) for each in sizes)
    return _choice(flag, tuple(values), text)


def _choice(flag: str, values: tuple[Value, ...], text: str) -> Choice:
    if len(set(values)) < len(values) or "" in values:
        raise GatewrightError(flag, "different values", shorten(text))
    return Choice(values)


def _number(flag: str, kind: str, text: str) -> int | float:
    expected = "whole numbers" if kind == "int" else "numbers"
    if kind == "int":
        if not re.fullmatch(r"\s*[+-]?\d{1,18}\s*", text):
            raise GatewrightError(flag, expected, shorten(text))
        return int(text)
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise GatewrightError(flag, expected, shorten(text))
    return number


def entries_of(space: Space) -> list[str]:
    """Return a search space as entries of the command line.

    >>> entries_of(space_of(["hidden=32:256:log"]))
    ['hidden=32:256:log']
    """
    return [f"{name}={domain}" for name, domain in space.items()]


def with_values(options: Options, values: Mapping[str, Value]) -> Options:
    """Return options with some others' values in place of their own.

    Args:
        options: the options.
        values: by name, as a study keeps them.

    >>> with_values(Options(), {"season": "24+168", "hidden": 8}).data.season
    ('24', '168')
    """
    changed = {}
    for table in fields(Options):
        cls: type[Any] = type(table.default)
        own = {name: _option(kind, values[name]) for name, kind in types_of(cls).items() if name in values}
        changed[table.name] = cls(**own)
    return Options(**changed).over(options)


def _option(kind: str, value: Value) -> Any:
    """Return the value of an option as a study keeps it as the option has it."""
    if kind.startswith("tuple"):
        return tuple(str(value).split("+"))
    if kind == SIZES:
        return sizes_of(str(value))
    return value == "true" if kind == "bool" else value


def _fits_another(
    resolve: Callable[[Options], Options], fixed: Options, space: Space, values: Mapping[str, Value]
) -> bool:
    """Whether an option can have a value next to one of another option of the search."""
    for other, domain in space.items():
        for beside in domain.ends if other not in values else ():
            try:
                resolve(with_values(fixed, {**values, other: beside}))
            except GatewrightError:
                continue
            return True
    return False


def checked(resolve: Callable[[Options], Options], fixed: Options, space: Space, own: Sequence[str] = ()) -> Space:
    """Return a search space without the options that are fixed, every value of it checked.

    Args:
        resolve: of the kind of model: checks options.
        fixed: options that are set.
        space: the search space.
        own: names that the user asked to search; they must not be fixed.

    Raises:
        GatewrightError: names the option that cannot be searched, or a value that it cannot have.
    """
    resolve(fixed)
    set_already = {name for table in fixed.plain().values() for name in table}
    if set_already & {"steps", "epochs"}:  # one length in two words
        set_already |= {"steps", "epochs"}
    if isinstance(fixed.model.hidden, tuple):  # which says how many layers there are
        set_already |= {"layers"}
    for name in own:
        if name in set_already:
            raise GatewrightError(f"--search {name}", "an option without a value of its own", f"--{name} too")
    space = {name: domain for name, domain in space.items() if name not in set_already}
    if not space:
        raise GatewrightError("--search", "an option to search", "values for all of them")
    if {"steps", "epochs"} <= space.keys():
        raise GatewrightError("--search", "steps or epochs", "both")
    for name, domain in space.items():
        for value in domain.ends:
            try:
                resolve(with_values(fixed, {name: value}))
            except GatewrightError as error:
                if _fits_another(resolve, fixed, space, {name: value}):
                    continue
                other = error.argument not in (f"--{name.replace('_', '-')}", f"--{name}")
                expected = f"{error.argument} {error.expected}" if other else error.expected
                raise GatewrightError(f"--search {name}", expected, error.got) from None
    return space
