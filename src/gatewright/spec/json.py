"""Strict JSON, and frozen dataclasses that go to JSON and back unchanged."""

from __future__ import annotations

import dataclasses
import functools
import json
import types
import typing
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

from gatewright.errors import SpecError, shorten

if TYPE_CHECKING:
    from typing_extensions import Self


_LARGEST = 2**31 - 1

#: Key in the metadata of a field that JSON leaves out at its default: the version of the format that has it.
_SINCE = "since"


def strict_json(text: str, name: str) -> Any:
    """Parse JSON as its standard says: no repeated field, no NaN, no infinity.

    Raises:
        SpecError: on anything else, with this name.

    >>> strict_json('{"a": [1, 2.5]}', "example")
    {'a': [1, 2.5]}
    """
    try:
        return json.loads(text, object_pairs_hook=_no_repetition, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        got = f"text that is no JSON from character {error.pos} on" if text.strip() else "nothing"
        raise SpecError(name, "JSON", got) from None
    except RecursionError:
        raise SpecError(name, "JSON", "lists or objects nested too deeply") from None
    except ValueError as error:
        raise SpecError(name, "JSON", str(error)) from None


def require(condition: bool, argument: str, expected: str, got: object) -> None:
    """Raise a `SpecError` unless a condition holds."""
    if not condition:
        raise SpecError(argument, expected, shorten(got))


def require_size(argument: str, value: int, least: int = 1) -> None:
    """Require a whole number from ``least`` to 2³¹ - 1."""
    require(least <= value <= _LARGEST, argument, f"a whole number from {least} to {_LARGEST}", value)


def require_text(argument: str, texts: tuple[str, ...]) -> None:
    """Require text that UTF-8 can encode."""
    for text in texts:
        whole = text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)
        require(whole, argument, "text without half a surrogate pair", text)


def left_out(default: Any, *, since: int) -> Any:
    """Return the field of a `Spec` that JSON leaves out at its default: a feature that most models do not use.

    A specification that does not use the feature keeps the text - and a model file the bytes and the fingerprint -
    that it had before the feature existed.

    Args:
        default: value of a specification without the feature.
        since: version of the model file's format that has the field.

    >>> @dataclasses.dataclass(frozen=True)
    ... class Example(Spec):
    ...     size: int
    ...     feature: bool = left_out(False, since=3)
    >>> Example(1).to_json(), Example(1).version(), Example.from_json('{"size":1}') == Example(1)
    ('{"size":1}', 0, True)
    >>> Example(1, feature=True).to_json(), Example(1, feature=True).version()
    ('{"feature":true,"size":1}', 3)
    """
    return dataclasses.field(default=default, metadata={_SINCE: since})


class Spec:
    """What the dataclasses of this file share: the way to JSON and back."""

    def to_json(self) -> str:
        """Return the one JSON text of this specification: sorted keys, no spaces, plain ASCII, no NaN.

        Fields made by `left_out` are in it where they differ from their default.
        """
        return json.dumps(_to_plain(type(self), self), sort_keys=True, separators=(",", ":"), allow_nan=False)

    @classmethod
    def from_json(cls, text: str, name: str = "spec") -> Self:
        """Read what `to_json` wrote, strictly: no missing, unknown, repeated or mistyped field.

        Raises:
            SpecError: on anything else; the field is named, below ``name``.
        """
        return typing.cast("Self", _from_plain(cls, strict_json(text, name), name))

    def version(self) -> int:
        """Return the version of the model file's format that has every field in use; 0 if all are older ones."""
        versions = [0]
        for field in dataclasses.fields(self):  # type: ignore[arg-type]  # a mixin of dataclasses
            value = getattr(self, field.name)
            if _is_written(field, value):
                versions.append(field.metadata.get(_SINCE, 0))
            parts = value if isinstance(value, tuple) else (value,)
            versions += [part.version() for part in parts if isinstance(part, Spec)]
        return max(versions)


#: A whole number, or several.
_ONE_OR_SEVERAL = int | tuple[int, ...]

_hints: Callable[[Any], dict[str, Any]] = functools.cache(typing.get_type_hints)


def _no_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        [(name, count)] = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"the field {shorten(name)} {count} times")
    return fields


def _no_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant}, which is no JSON")


def _to_plain(annotation: Any, value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        hints = _hints(type(value))
        names = [
            field.name for field in dataclasses.fields(value) if _is_written(field, getattr(value, field.name))
        ]
        plain = {name: _to_plain(hints[name], getattr(value, name)) for name in names}
        tag = _tag(value)
        return plain if tag is None else {"kind": tag, **plain}
    if isinstance(value, tuple):
        item = int if annotation == _ONE_OR_SEVERAL else typing.get_args(annotation)[0]
        return [_to_plain(item, part) for part in value]
    # A rate given as 0 is written as 0.0, so that equal specifications have one text.
    return float(value) if annotation is float and type(value) is int else value


def _tag(spec: Any) -> str | None:
    """Return the name of a class of specifications that is one of several, if it is; a field is no name."""
    is_field = "kind" in {field.name for field in dataclasses.fields(spec)}
    return None if is_field else getattr(spec, "kind", None)


def _is_written(field: dataclasses.Field[Any], value: Any) -> bool:
    """Whether JSON has a field: always, unless `left_out` made it and it has its default."""
    return _SINCE not in field.metadata or bool(value != field.default)


def _from_plain(annotation: Any, plain: Any, name: str) -> Any:
    """Turn parsed JSON into what the annotation of a field says, or raise with the field's name."""
    if annotation == _ONE_OR_SEVERAL:
        return _from_plain(tuple[int, ...] if isinstance(plain, list) else int, plain, name)
    if isinstance(annotation, types.UnionType):
        kinds = {cls.kind: cls for cls in typing.get_args(annotation)}
        kind = plain.get("kind") if isinstance(plain, dict) else None
        if not isinstance(kind, str) or kind not in kinds:
            raise SpecError(f"{name}.kind", f"one of {sorted(kinds)}", shorten(kind))
        return _from_plain(kinds[kind], plain, name)
    if dataclasses.is_dataclass(annotation):
        hints = _hints(annotation)
        fields = dataclasses.fields(annotation)
        kind = set() if _tag(annotation) is None else {"kind"}
        required = kind | {field.name for field in fields if _SINCE not in field.metadata}
        extra = {field.name for field in fields} - required
        if not isinstance(plain, dict) or not required <= set(plain) <= required | extra:
            got = sorted(plain) if isinstance(plain, dict) else plain
            may = f", and perhaps {sorted(extra)}" if extra else ""
            raise SpecError(name, f"an object with the fields {sorted(required)}{may}", shorten(got))
        present = [field.name for field in fields if field.name in plain]
        values = {field: _from_plain(hints[field], plain[field], f"{name}.{field}") for field in present}
        return typing.cast(Any, annotation)(**values)
    if typing.get_origin(annotation) is tuple:
        if not isinstance(plain, list):
            raise SpecError(name, "a list", shorten(plain))
        item = typing.get_args(annotation)[0]
        return tuple(_from_plain(item, value, f"{name}[{i}]") for i, value in enumerate(plain))
    if annotation is float and type(plain) is int and abs(plain) <= 2**53:
        return float(plain)
    if type(plain) is not annotation:
        raise SpecError(name, f"a value of type {annotation.__name__}", shorten(plain))
    return plain
