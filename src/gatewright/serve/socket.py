"""The server's WebSocket side: many sessions over one connection, in JSON or msgpack."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any

import msgpack
from fastapi import FastAPI
from pydantic import ValidationError
from pydantic_core import from_json, to_json
from starlette.websockets import WebSocket, WebSocketDisconnect

from gatewright.serve.logs import say
from gatewright.serve.messages import (
    FRAME,
    AdvanceFrame,
    CreateFrame,
    ForkFrame,
    Frame,
    GenerateFrame,
    ListFrame,
    ModelFrame,
    SessionFrame,
)
from gatewright.serve.service import Service
from gatewright.serve.unfit import unfit

#: How frames are written, by subprotocol; where a client names none, the first.
SUBPROTOCOLS = ("gatewright.json", "gatewright.msgpack")


class Socket:
    """The WebSocket connections of a server."""

    def __init__(self, service: Service) -> None:
        self._service, self._count = service, 0

    def add(self, app: FastAPI) -> None:
        """Put it where clients find it."""
        app.add_api_websocket_route("/v1/ws", self._serve)

    async def _serve(self, websocket: WebSocket) -> None:
        offered = websocket.scope.get("subprotocols", ())
        chosen = next((name for name in offered if name in SUBPROTOCOLS), None)
        await websocket.accept(chosen)
        if self._count >= self._service.limits.max_connections or self._service.stopping:
            await websocket.close(1013, "retry after 5 s")
            return
        self._count += 1
        self._service.metrics.connections.set(self._count)
        connection = Connection(self._service, websocket, packed=chosen == SUBPROTOCOLS[1])
        began = time.perf_counter()
        try:
            await connection.serve()
        finally:
            self._count -= 1
            self._service.metrics.connections.set(self._count)
            say("connection", frames=connection.frames, seconds=round(time.perf_counter() - began, 3))


class Connection:
    """One connection: its frames are worked on beside each other, those of one session in their order.

    Args:
        service: what it asks.
        websocket: where frames come from.
        packed: whether they are msgpack, not JSON.

    Attributes:
        frames: how many came.
    """

    def __init__(self, service: Service, websocket: WebSocket, *, packed: bool) -> None:
        self._service, self._websocket, self._packed = service, websocket, packed
        self._owner = str(websocket.scope["owner"])
        self._room = asyncio.Semaphore(service.limits.max_in_flight)
        self._last: dict[str, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.frames = 0

    async def serve(self) -> None:
        """Work on frames until the other side goes."""
        try:
            while True:
                message = await self._websocket.receive()
                if message["type"] == "websocket.disconnect":
                    break
                self.frames += 1
                await self._room.acquire()  # whoever sends faster than we work is not read from
                data = message.get("bytes")
                self._begin(message.get("text", "") if data is None else data)
        finally:
            for task in self._tasks:
                task.cancel()

    def _begin(self, data: str | bytes) -> None:
        try:
            frame = self._parsed(data)
        except _UnfitError as error:
            self._start(self._refuse(error))
            return
        session = getattr(frame, "session", None)
        before = self._last.get(session) if session is not None else None
        task = self._start(self._work(frame, before))
        if session is not None:
            self._last[session] = task

            def forget(_: object) -> None:
                if self._last.get(session) is task:
                    del self._last[session]

            task.add_done_callback(forget)

    def _start(self, work: Any) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._room.release()
        if not task.cancelled():
            task.exception()  # a client that has gone is nobody's fault

    def _parsed(self, data: str | bytes) -> Frame:
        """Return a frame.

        Raises:
            _UnfitError: if it is none.
        """
        try:
            found = _unpacked(data) if self._packed else from_json(data, allow_inf_nan=False)
        except (ValueError, TypeError, RecursionError, msgpack.UnpackException):
            raise _UnfitError(None, ("frame", "msgpack" if self._packed else "JSON", "something else")) from None
        number = found.get("id") if isinstance(found, dict) else None
        number = number if isinstance(number, int | str) else None
        try:
            return FRAME.validate_python(found)
        except ValidationError as error:
            raise _UnfitError(number, unfit(error.errors(include_url=False, include_context=False))) from None

    async def _refuse(self, error: _UnfitError) -> None:
        argument, expected, got = error.told
        part = {"argument": argument, "expected": expected, "got": got}
        await self._send({"id": error.id, "status": 422, "error": part})
        self._service.count("frame", 422, time.perf_counter())

    async def _work(self, frame: Frame, before: asyncio.Task[None] | None) -> None:
        """Do what a frame asks for, after what came before it for the same session."""
        if before is not None:
            await asyncio.wait([before])
        began, status = time.perf_counter(), 200
        try:
            if isinstance(frame, AdvanceFrame):
                answer = await self._service.advance(self._owner, frame.session, frame)
            elif isinstance(frame, GenerateFrame):
                async for piece in self._service.generate(self._owner, frame.session, frame):
                    await self._send({"id": frame.id, **piece})
                answer = {"done": True}
            else:
                answer = await self._ask(frame)
        except Exception as error:
            status, answer, after = self._service.told(error)
            answer["status"] = status
            if after is not None:
                answer["retry_after"] = after
        self._service.count(frame.op, status, began)
        await self._send({"id": frame.id, **answer})

    async def _ask(self, frame: ModelFrame | CreateFrame | ListFrame | SessionFrame | ForkFrame) -> dict[str, Any]:
        if isinstance(frame, SessionFrame):
            asks = {
                "read": self._service.read,
                "reset": self._service.reset,
                "delete": self._service.delete,
            }
            return await asks[frame.op](self._owner, frame.session)
        if isinstance(frame, ForkFrame):
            return await self._service.fork(self._owner, frame.session, frame.name)
        if isinstance(frame, CreateFrame):
            return await self._service.create(self._owner, frame.name)
        if isinstance(frame, ListFrame):
            return await self._service.names(self._owner, frame.after, frame.most)
        return self._service.model()

    async def _send(self, answer: dict[str, Any]) -> None:
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):  # it has gone
            if self._packed:
                await self._websocket.send_bytes(msgpack.packb(answer))
            else:
                await self._websocket.send_text(to_json(answer, inf_nan_mode="null").decode())


class _UnfitError(Exception):
    """A frame that is none, and the number that an answer to it bears."""

    def __init__(self, number: int | str | None, told: tuple[str, str, str]) -> None:
        super().__init__(number, told)
        self.id, self.told = number, told


def _unpacked(data: str | bytes) -> Any:
    """Return what msgpack says; NaN and infinity are not numbers here either."""
    if isinstance(data, str):
        raise ValueError("text")
    return msgpack.unpackb(data, strict_map_key=True)
