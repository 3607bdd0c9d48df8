"""Parsing and validation of messages, with cost bounded by their size; the first error ends it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

import msgpack
from pydantic import BaseModel, ValidationError
from pydantic_core import from_json

from gatewright.serve.http.validation_errors import error_detail, preview
from gatewright.serve.schemas import FRAMES, MAX_ID
from gatewright.serve.sessions.requests import EXPECTED_NUMBER
from gatewright.spec import LONGEST_VALUE

M = TypeVar("M", bound=BaseModel)
#: Minimum limit of the numbers in one message.
_NUMBERS = 65_536
#: Maximum number of members of a message.
_MEMBERS = 16
#: Minimum limit of the numbers in one row.
_ROW = 4096
#: Types of a row's values.
_OF_ROW = {int, float, type(None), bool, str}
_ROWS = "the index of a symbol, or a row of numbers for each step"


class InvalidMessageError(Exception):
    """A malformed or invalid message.

    Attributes:
        detail: argument, expected and got.
        id: the frame's id, for the answer.
    """

    def __init__(self, detail: tuple[str, str, str], id: int | str | None = None) -> None:  # noqa: A002
        super().__init__(detail, id)
        self.detail, self.id = detail, id


@dataclass(frozen=True)
class Bounds:
    """Limits of a message's contents.

    Attributes:
        steps: maximum number of steps.
        columns: number of columns of the model of new sessions.
    """

    steps: int
    columns: int

    @property
    def row(self) -> int:
        """Maximum of numbers in one row."""
        return max(_ROW, 2 * self.columns)

    @property
    def numbers(self) -> int:
        """Maximum of numbers in all rows."""
        return max(_NUMBERS, self.steps * (self.columns + 1))


def body(data: bytes, model: type[M], bounds: Bounds) -> M:
    """Parse and validate the JSON body of an HTTP request.

    Raises:
        InvalidMessageError: if the body is not JSON, or invalid.
    """
    return validated(json_value(data, "body", bounds), model, bounds)


def frame(data: str | bytes, packed: bool, bounds: Bounds) -> Any:
    """Parse and validate a WebSocket frame.

    Args:
        data: the frame.
        packed: whether it is msgpack instead of JSON.
        bounds: limits of its contents.

    Raises:
        InvalidMessageError: if the frame is malformed or invalid.
    """
    try:
        message = _of_msgpack(data, bounds) if packed else json_value(data, "frame", bounds)
    except InvalidMessageError as error:
        number = _id(_FrameUnpacker(data, bounds).member("id")) if packed and isinstance(data, bytes) else None
        raise InvalidMessageError(error.detail, number) from None
    number = _id(message.get("id") if isinstance(message, dict) else None)
    try:
        if not isinstance(message, dict):
            raise InvalidMessageError(("frame", "an object with a member op", preview(message)))
        op = message.get("op")
        model = FRAMES.get(op) if isinstance(op, str) else None
        if model is None:
            raise InvalidMessageError(
                ("op", f"one of {', '.join(FRAMES)}", preview(op) if "op" in message else "none")
            )
        return validated(message, model, bounds)
    except InvalidMessageError as error:
        raise InvalidMessageError(error.detail, number) from None


def _id(number: Any) -> int | str | None:
    """Return a frame's id if it is usable, also of an invalid frame."""
    if isinstance(number, str):
        return number if len(number) <= MAX_ID else None
    return number if isinstance(number, int) and -(2**63) <= number < 2**63 else None


def json_value(data: str | bytes, what: str, bounds: Bounds) -> Any:
    """Parse JSON, after an estimate of its number of values.

    Raises:
        InvalidMessageError: if it is malformed or exceeds a limit.
    """
    text = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
    slack = 4 * bounds.steps + 1000  # punctuation inside strings
    arrays = text.count(b"[") + text.count(b"{")
    if arrays > slack or text.count(b":") > 2 * slack:
        raise InvalidMessageError((what, f"rows of at most {bounds.steps} steps, and few members", "more"))
    if text.count(b",") > bounds.numbers + slack:
        raise InvalidMessageError((what, f"at most {bounds.numbers} numbers in one request", "more"))
    try:
        return from_json(text, allow_inf_nan=False)
    except ValueError:
        raise InvalidMessageError((what, "JSON", "invalid JSON")) from None


def _of_msgpack(data: str | bytes, bounds: Bounds) -> Any:
    """Parse msgpack, one value at a time.

    Raises:
        InvalidMessageError: if it is malformed or exceeds a limit.
    """
    try:
        if isinstance(data, str):
            raise ValueError("text")
        return _FrameUnpacker(data, bounds).value()
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException):
        raise InvalidMessageError(("frame", "msgpack", "invalid msgpack")) from None


class _FrameUnpacker:
    """Unpacks a frame: an object whose members are scalars, or arrays of scalars or rows."""

    def __init__(self, data: bytes, bounds: Bounds) -> None:
        self._data, self._bounds = data, bounds
        self._name, self._lists = "x", 0
        self._unpacker = msgpack.Unpacker(
            max_buffer_size=len(data) or 1, read_size=min(len(data), 16_384) or 1, strict_map_key=True,
            max_array_len=bounds.row, max_map_len=0, list_hook=self._checked_list, ext_hook=_refuse_extension,
        )  # fmt: skip
        self._unpacker.feed(data)

    def value(self) -> Any:
        """Return the frame's contents.

        Raises:
            InvalidMessageError: if a limit is exceeded.
            ValueError: if it is not msgpack.
        """
        syntax = self._next()
        if syntax == "array":  # not a frame
            frame: Any = [None] * min(self._unpacker.read_array_header(), 3)
            return frame
        if syntax != "map":
            frame = self._unpacker.unpack()
            self._end()
            return frame
        count, frame = self._unpacker.read_map_header(), {}
        if count > _MEMBERS:
            raise InvalidMessageError(("frame", f"at most {_MEMBERS} members", str(count)))
        for _ in range(count):
            name = self._scalar("a name")
            if not isinstance(name, str):
                raise ValueError("a name that is no text")
            frame[name] = self._array(name) if self._next() == "array" else self._scalar(name[:80])
        self._end()
        return frame

    def member(self, name: str) -> Any:
        """Return a scalar member of an invalid frame; None if it is not found."""
        try:
            for _ in range(min(self._unpacker.read_map_header(), _MEMBERS)):
                if self._scalar("a name") == name:
                    return self._scalar(name)
                self._unpacker.skip()
        except (ValueError, TypeError, RecursionError, InvalidMessageError, msgpack.UnpackException):
            pass
        return None

    def _array(self, name: str) -> list[Any]:
        size = self._unpacker.read_array_header()
        if name not in ("x", "times"):
            raise InvalidMessageError((name[:80], "a scalar", f"an array of {size}"))
        if size > self._bounds.steps:
            raise InvalidMessageError((name, f"at most {self._bounds.steps} steps", str(size)))
        items, left = [], self._bounds.numbers
        for place in range(size):
            syntax, where = self._next(), f"{name}.{place}"
            if syntax == "scalar" or name != "x":
                items.append(self._scalar(where))
                continue
            if syntax == "map":
                raise InvalidMessageError((where, _ROWS, "an object"))
            row = self._row(where)
            left -= len(row)
            if left < 0:
                raise InvalidMessageError((name, f"at most {self._bounds.numbers} numbers in one request", "more"))
            items.append(row)
        return items

    def _row(self, name: str) -> list[Any]:
        self._name, self._lists = name, 0
        try:
            row: list[Any] = self._unpacker.unpack()
        except ValueError as error:
            if "exceeds" not in str(error):
                raise
            raise InvalidMessageError(
                (name, f"at most {self._bounds.row} numbers, and no objects", "another row")
            ) from None
        _require_row(name, row)
        return row

    def _scalar(self, name: str) -> Any:
        """Return a scalar."""
        syntax = self._next()
        if syntax != "scalar":
            raise InvalidMessageError(
                (name, "a text, a number, true, false or null", f"an {'object' if syntax == 'map' else syntax}")
            )
        return self._unpacker.unpack()

    def _next(self) -> str:
        """Return the syntax of the next value without reading it."""
        at = self._unpacker.tell()
        if at >= len(self._data):
            raise ValueError("the end")
        first = self._data[at]
        if 0x90 <= first <= 0x9F or first in (0xDC, 0xDD):
            return "array"
        return "map" if 0x80 <= first <= 0x8F or first in (0xDE, 0xDF) else "scalar"

    def _end(self) -> None:
        if self._unpacker.tell() != len(self._data):
            raise ValueError("more than a frame")

    def _checked_list(self, values: list[Any]) -> list[Any]:
        self._lists += 1
        if self._lists > 1:
            raise InvalidMessageError((self._name, "a row of numbers", "arrays within it"))
        return values


def _refuse_extension(*_: object) -> Any:
    raise ValueError("an extension")


def validated(message: Any, model: type[M], bounds: Bounds) -> M:
    """Validate a message; cheap checks of its outline come first.

    Raises:
        InvalidMessageError: if it is invalid.
    """
    if isinstance(message, dict):
        for name in message:
            if name not in model.model_fields:
                expected = f"none: there are {', '.join(model.model_fields)}"
                raise InvalidMessageError(
                    (str(name)[:80].encode("utf-8", "replace").decode(), expected, preview(message[name]))
                )
        for name in ("x", "times"):
            values = message.get(name)
            if isinstance(values, list) and len(values) > bounds.steps:
                raise InvalidMessageError((name, f"at most {bounds.steps} steps", str(len(values))))
        if isinstance(message.get("x"), list):
            _require_rows(message["x"])
    try:
        return model.model_validate(message)
    except ValidationError as error:
        raise InvalidMessageError(error_detail(error.errors(include_url=False, include_context=False))) from None


def _require_rows(x: list[Any]) -> None:
    """Raise if rows and other values are mixed, or a value has a wrong type.

    Raises:
        InvalidMessageError: names the first invalid value.
    """
    if isinstance(x[0] if x else None, list):
        for place, row in enumerate(x):
            if not isinstance(row, list):
                raise InvalidMessageError((f"x.{place}", "a row of numbers", preview(row)))
            _require_row(f"x.{place}", row)
        return
    for place, number in enumerate(x):
        if type(number) not in (int, float):
            raise InvalidMessageError((f"x.{place}", _ROWS, preview(number)))


def _require_row(name: str, row: list[Any]) -> None:
    types = set(map(type, row))
    if not types <= _OF_ROW:
        place = next(place for place, value in enumerate(row) if type(value) not in _OF_ROW)
        raise InvalidMessageError((f"{name}.{place}", EXPECTED_NUMBER, preview(row[place])))
    if str in types:
        for place, value in enumerate(row):
            if isinstance(value, str) and len(value) > LONGEST_VALUE:
                expected = f"a text of at most {LONGEST_VALUE} characters"
                raise InvalidMessageError((f"{name}.{place}", expected, f"{len(value)} characters"))
