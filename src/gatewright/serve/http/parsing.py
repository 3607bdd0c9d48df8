"""From bytes to messages: what a message costs to read is bounded by its size, and the first error ends it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

import msgpack
from pydantic import BaseModel, ValidationError
from pydantic_core import from_json

from gatewright.serve.http.validation_errors import shown, unfit
from gatewright.serve.schemas import FRAMES, MAX_ID

M = TypeVar("M", bound=BaseModel)
#: Numbers in one message, where its model does not read more of them in as many steps as there may be.
_NUMBERS = 65_536
#: Members of a message.
_MEMBERS = 16
#: Numbers in one row, at least.
_ROW = 4096
#: What a row is made of.
_OF_ROW = {int, float, type(None)}
_ROWS = "the number of a symbol, or a row of numbers for each step"


class UnfitError(Exception):
    """A message that is none, or does not fit.

    Attributes:
        told: argument, expected and got.
        id: the number that an answer to a frame bears.
    """

    def __init__(self, told: tuple[str, str, str], id: int | str | None = None) -> None:  # noqa: A002
        super().__init__(told, id)
        self.told, self.id = told, id


@dataclass(frozen=True)
class Bounds:
    """How much there may be in a message.

    Attributes:
        steps: steps of one request.
        columns: numbers in a row of the model of new sessions.
    """

    steps: int
    columns: int

    @property
    def row(self) -> int:
        """Numbers in one row."""
        return max(_ROW, 2 * self.columns)

    @property
    def numbers(self) -> int:
        """Numbers in all rows."""
        return max(_NUMBERS, self.steps * (self.columns + 1))


def body(data: bytes, model: type[M], bounds: Bounds) -> M:
    """Return the body of an HTTP request, which is JSON.

    Raises:
        UnfitError: if it is not, or does not fit.
    """
    return _checked(_of_json(data, "body", bounds), model, bounds)


def frame(data: str | bytes, packed: bool, bounds: Bounds) -> Any:
    """Return a WebSocket frame.

    Args:
        data: the frame.
        packed: whether it is msgpack, not JSON.
        bounds: how much there may be in it.

    Raises:
        UnfitError: if it is none, or does not fit.
    """
    try:
        found = _of_msgpack(data, bounds) if packed else _of_json(data, "frame", bounds)
    except UnfitError as error:
        number = _id(_Unpacking(data, bounds).member("id")) if packed and isinstance(data, bytes) else None
        raise UnfitError(error.told, number) from None
    number = _id(found.get("id") if isinstance(found, dict) else None)
    try:
        if not isinstance(found, dict):
            raise UnfitError(("frame", "an object with a member op", shown(found)))
        op = found.get("op")
        model = FRAMES.get(op) if isinstance(op, str) else None
        if model is None:
            raise UnfitError(("op", f"one of {', '.join(FRAMES)}", shown(op) if "op" in found else "none"))
        return _checked(found, model, bounds)
    except UnfitError as error:
        raise UnfitError(error.told, number) from None


def _id(number: Any) -> int | str | None:
    """Return what an answer to a frame bears, also to one that does not fit."""
    if isinstance(number, str):
        return number if len(number) <= MAX_ID else None
    return number if isinstance(number, int) and -(2**63) <= number < 2**63 else None


def _of_json(data: str | bytes, what: str, bounds: Bounds) -> Any:
    """Read JSON, after a look at how many values there are.

    Raises:
        UnfitError: if it is none, or more than there may be.
    """
    text = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
    slack = 4 * bounds.steps + 1000  # what looks like a value, within texts
    arrays = text.count(b"[") + text.count(b"{")
    if arrays > slack or text.count(b":") > 2 * slack:
        raise UnfitError((what, f"rows of at most {bounds.steps} steps, and few members", "more"))
    if text.count(b",") > bounds.numbers + slack:
        raise UnfitError((what, f"at most {bounds.numbers} numbers in one request", "more"))
    try:
        return from_json(text, allow_inf_nan=False)
    except ValueError:
        raise UnfitError((what, "JSON", "something else")) from None


def _of_msgpack(data: str | bytes, bounds: Bounds) -> Any:
    """Read msgpack, a value at a time.

    Raises:
        UnfitError: if it is none, or more than there may be.
    """
    try:
        if isinstance(data, str):
            raise ValueError("text")
        return _Unpacking(data, bounds).value()
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException):
        raise UnfitError(("frame", "msgpack", "something else")) from None


class _Unpacking:
    """A frame in msgpack: an object whose members are plain, or arrays of such, or arrays of those."""

    def __init__(self, data: bytes, bounds: Bounds) -> None:
        self._data, self._bounds = data, bounds
        self._name, self._lists = "x", 0
        self._unpacker = msgpack.Unpacker(
            max_buffer_size=len(data) or 1, read_size=min(len(data), 16_384) or 1, strict_map_key=True,
            max_array_len=bounds.row, max_map_len=0, list_hook=self._listed, ext_hook=_refused,
        )  # fmt: skip
        self._unpacker.feed(data)

    def value(self) -> Any:
        """Return the frame; what is none is told what it is.

        Raises:
            UnfitError: if there is more of something than there may be.
            ValueError: if it is not msgpack.
        """
        kind = self._next()
        if kind == "array":  # which is no frame
            found: Any = [None] * min(self._unpacker.read_array_header(), 3)
            return found
        if kind != "map":
            found = self._unpacker.unpack()
            self._end()
            return found
        count, found = self._unpacker.read_map_header(), {}
        if count > _MEMBERS:
            raise UnfitError(("frame", f"at most {_MEMBERS} members", str(count)))
        for _ in range(count):
            name = self._plain("a name")
            if not isinstance(name, str):
                raise ValueError("a name that is no text")
            found[name] = self._array(name) if self._next() == "array" else self._plain(name[:80])
        self._end()
        return found

    def member(self, wanted: str) -> Any:
        """Return a plain member of what is no good frame; None if it is not to be found."""
        try:
            for _ in range(min(self._unpacker.read_map_header(), _MEMBERS)):
                if self._plain("a name") == wanted:
                    return self._plain(wanted)
                self._unpacker.skip()
        except (ValueError, TypeError, RecursionError, UnfitError, msgpack.UnpackException):
            pass
        return None

    def _array(self, name: str) -> list[Any]:
        size = self._unpacker.read_array_header()
        if name not in ("x", "times"):
            raise UnfitError((name[:80], "no array", f"{size} of them"))
        if size > self._bounds.steps:
            raise UnfitError((name, f"at most {self._bounds.steps} steps", str(size)))
        found, left = [], self._bounds.numbers
        for place in range(size):
            kind, where = self._next(), f"{name}.{place}"
            if kind == "plain" or name != "x":
                found.append(self._plain(where))
                continue
            if kind == "map":
                raise UnfitError((where, _ROWS, "an object"))
            row = self._row(where)
            left -= len(row)
            if left < 0:
                raise UnfitError((name, f"at most {self._bounds.numbers} numbers in one request", "more"))
            found.append(row)
        return found

    def _row(self, name: str) -> list[Any]:
        self._name, self._lists = name, 0
        try:
            row: list[Any] = self._unpacker.unpack()
        except ValueError as error:
            if "exceeds" not in str(error):
                raise
            raise UnfitError(
                (name, f"at most {self._bounds.row} numbers, and no objects", "another row")
            ) from None
        _require_row(name, row)
        return row

    def _plain(self, name: str) -> Any:
        """Return a value that is neither array nor object."""
        kind = self._next()
        if kind != "plain":
            raise UnfitError(
                (name, "a text, a number, true, false or null", f"an {'object' if kind == 'map' else kind}")
            )
        return self._unpacker.unpack()

    def _next(self) -> str:
        """Return of what kind the next value is, which is not read yet."""
        at = self._unpacker.tell()
        if at >= len(self._data):
            raise ValueError("the end")
        first = self._data[at]
        if 0x90 <= first <= 0x9F or first in (0xDC, 0xDD):
            return "array"
        return "map" if 0x80 <= first <= 0x8F or first in (0xDE, 0xDF) else "plain"

    def _end(self) -> None:
        if self._unpacker.tell() != len(self._data):
            raise ValueError("more than a frame")

    def _listed(self, values: list[Any]) -> list[Any]:
        self._lists += 1
        if self._lists > 1:
            raise UnfitError((self._name, "a row of numbers", "arrays within it"))
        return values


def _refused(*_: object) -> Any:
    raise ValueError("an extension")


def _checked(found: Any, model: type[M], bounds: Bounds) -> M:
    """Return a message after a look at its outline, which costs nothing.

    Raises:
        UnfitError: if it does not fit.
    """
    if isinstance(found, dict):
        for name in found:
            if name not in model.model_fields:
                expected = f"none: there are {', '.join(model.model_fields)}"
                raise UnfitError(
                    (str(name)[:80].encode("utf-8", "replace").decode(), expected, shown(found[name]))
                )
        for name in ("x", "times"):
            values = found.get(name)
            if isinstance(values, list) and len(values) > bounds.steps:
                raise UnfitError((name, f"at most {bounds.steps} steps", str(len(values))))
        if isinstance(found.get("x"), list):
            _require_rows(found["x"])
    try:
        return model.model_validate(found)
    except ValidationError as error:
        raise UnfitError(unfit(error.errors(include_url=False, include_context=False))) from None


def _require_rows(x: list[Any]) -> None:
    """Raise if something among rows is none, or something among the numbers of symbols.

    Raises:
        UnfitError: names the first that is wrong.
    """
    if isinstance(x[0] if x else None, list):
        for place, row in enumerate(x):
            if not isinstance(row, list):
                raise UnfitError((f"x.{place}", "a row of numbers", shown(row)))
            _require_row(f"x.{place}", row)
        return
    for place, number in enumerate(x):
        if type(number) not in (int, float):
            raise UnfitError((f"x.{place}", _ROWS, shown(number)))


def _require_row(name: str, row: list[Any]) -> None:
    if set(map(type, row)) <= _OF_ROW:
        return
    place = next(place for place, value in enumerate(row) if type(value) not in _OF_ROW)
    raise UnfitError((f"{name}.{place}", "a number, or null where none was observed", shown(row[place])))
