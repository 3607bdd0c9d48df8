"""Values of options from a file or from Python, checked against the types of the options."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import fields
from datetime import date
from typing import Any

from gatewright.errors import GatewrightError, shorten
from gatewright.tasks.cell_words import words_from
from gatewright.tasks.options import Options


def options_of(values: Mapping[str, Any]) -> Options:
    """Return options from values in Python: also NumPy's numbers and arrays, lists, and a single text for several.

    Args:
        values: by name, of any table.

    Raises:
        GatewrightError: names an option with a value of the wrong type.

    >>> options_of({"target": "load", "horizon": 3}).data.target
    ('load',)
    """
    tables = {}
    for table in fields(Options):
        cls: type[Any] = type(table.default)
        types = types_of(cls)
        own = {name: read_value(name, types[name], _of(name, values[name])) for name in types if name in values}
        tables[table.name] = cls(**own)
    return Options(**tables)


def _of(name: str, value: Any) -> Any:
    """Return the value of an option as the command line has it, such as ``store=8`` of a dict of widths."""
    if name == "cell":
        return _plain(words_from(value))
    if name == "category_size" and isinstance(value, Mapping):
        return [f"{column}={_plain(size)}" for column, size in value.items()]
    return _plain(value)


def _plain(value: Any) -> Any:
    """Return a value of Python for one of NumPy, and a list for a sequence."""
    if hasattr(value, "tolist"):  # an array, a number or a date of NumPy, a tensor
        value = value.tolist()
    return list(value) if isinstance(value, (tuple, set, frozenset)) else value


#: The type of a whole number, or one for each layer.
SIZES = "sizes"
_NAMES = {"int | tuple[int, ...]": SIZES}


def types_of(options: type[Any]) -> dict[str, str]:
    """Return the names of a table's options, each with the type of its values."""
    types = {option.name: str(option.type).removesuffix(" | None") for option in fields(options)}
    return {name: _NAMES.get(kind, kind) for name, kind in types.items()}


def sizes_of(text: str) -> int | tuple[int, ...]:
    """Return a whole number, or several with commas or "+" between them.

    Raises:
        ValueError: if the text is none.

    >>> sizes_of("64"), sizes_of("128,64,32")
    (64, (128, 64, 32))
    """
    words = [word.strip() for word in re.split(r"[,+]", text)]
    if not all(re.fullmatch(r"\d{1,18}", word) for word in words):
        raise ValueError(f"expected a whole number, or several such as 128,64,32, got {text!r}")
    sizes = tuple(map(int, words))
    return sizes if len(sizes) > 1 else sizes[0]


_KINDS = {"int": "a whole number", "float": "a number", "str": "a text"}


def _read_sizes(argument: str, value: Any) -> int | tuple[int, ...]:
    if isinstance(value, list) and value and all(type(size) is int for size in value):
        return tuple(value) if len(value) > 1 else value[0]
    if type(value) is int:
        return value
    try:
        return sizes_of(value if isinstance(value, str) else "")
    except ValueError:
        expected = "a whole number, or one for each layer, such as [128, 64, 32]"
        raise GatewrightError(argument, expected, shorten(value)) from None


def read_value(argument: str, kind: str, value: Any) -> Any:
    """Return a value with the type of an option; a number or a date may stand for a text, one value for several.

    Args:
        argument: the option as an error names it.
        kind: the name of the type.
        value: as a file or a caller gave it.

    Raises:
        GatewrightError: if it has another type.
    """
    if kind.startswith("tuple"):
        item = "str" if "str" in kind else "float"
        items = value if isinstance(value, list) else [value] if value != "" else []
        return tuple(read_value(argument, item, entry) for entry in items)
    if kind == SIZES:
        return _read_sizes(argument, value)
    if kind == "float" and type(value) is int:
        if abs(value) > sys.float_info.max:
            raise GatewrightError(argument, "a number within a float's range", shorten(value))
        return float(value)
    if kind == "str" and type(value) in (int, float):  # valid = 0.15, id = 7
        return str(value)
    if kind == "str" and isinstance(value, date):  # valid = 2017-07-01
        return str(value)
    if type(value).__name__ != kind:
        raise GatewrightError(argument, _KINDS.get(kind, f"a value of type {kind}"), shorten(value))
    return value
