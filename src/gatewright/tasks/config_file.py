"""The options file of a run, ``config.toml``."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from gatewright.errors import GatewrightError, nearest, shorten, unusable
from gatewright.tasks.option_values import read_value, types_of
from gatewright.tasks.options import Options


def read_tables(path: Path) -> dict[str, Any]:
    """Read the tables of a TOML file as they stand.

    Raises:
        GatewrightError: if it cannot be read, or is no TOML.
    """
    if sys.version_info >= (3, 11):
        import tomllib
    else:  # in here, so that the command line has its help where tomli is not installed
        import tomli as tomllib
    try:
        text = path.read_text("utf-8-sig")
    except OSError as error:
        raise unusable(GatewrightError, path, error) from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        got = f"byte 0x{error.object[error.start]:02x} in line {line}"
        raise GatewrightError(str(path), "a TOML file in UTF-8", got) from None
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise GatewrightError(str(path), "TOML", "lists or tables nested too deeply") from None
    except ValueError as error:
        raise GatewrightError(str(path), "TOML", f"a mistake: {error}") from None


def read_config(path: Path) -> Options:
    """Read options from a TOML file with the tables ``[data]``, ``[model]`` and ``[training]``.

    Raises:
        GatewrightError: names the table and option that cannot be used.
    """
    tables = read_tables(path)
    classes = {table.name: type(table.default) for table in fields(Options)}
    for name in tables:
        if name not in classes:
            got = f"{shorten(name)}{_home(name) or nearest(name, classes)}"
            raise GatewrightError(str(path), f"tables out of {', '.join(classes)}", got)
    return Options(**{name: _read_table(path, name, classes[name], tables.get(name, {})) for name in classes})


def _read_table(path: Path, name: str, cls: type[Any], values: Any) -> Any:
    if not isinstance(values, Mapping):
        raise GatewrightError(f"{path} {name}", f"a table [{name}]", shorten(values))
    types = types_of(cls)
    ready = {}
    for option, value in values.items():
        if option not in types:
            got = f"{shorten(option)}{_home(option) or nearest(option, types)}"
            raise GatewrightError(f"{path} [{name}]", f"options out of {', '.join(types)}", got)
        ready[option] = read_value(f"{path} [{name}] {option}", types[option], value)
    return cls(**ready)


def _home(option: str) -> str:
    """Return a hint at the table that an option stands in, or an empty string."""
    homes = [table.name for table in fields(Options) if option in vars(table.default)]
    return f", which belongs in [{homes[0]}]" if homes else ""
