"""The server's WebSocket side: many sessions over one connection, in JSON or msgpack."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Coroutine
from typing import Any

from fastapi import FastAPI
from starlette.websockets import WebSocket, WebSocketDisconnect

from gatewright.serve.http.parsing import UnfitError, frame
from gatewright.serve.http.responses import rendered
from gatewright.serve.logs import say
from gatewright.serve.schemas import (
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

#: How frames are written, by subprotocol; where a client names none, the first.
SUBPROTOCOLS = ("gatewright.json", "gatewright.msgpack")
#: Bytes of one connection's frames that are worked on and of its answers that are not read yet; a single frame and
#: its answer may have more.
_ROOM = 8 * 2**20
#: Bytes of an answer but for its outputs.
_ANSWER = 65_536


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
        self._left = asyncio.Event()  # a frame is done
        self._waiting = 0  # bytes of frames that are not, and of their answers
        self._sending = asyncio.Lock()
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
                data = message.get("bytes")
                await self._begin(message.get("text", "") if data is None else data)
        finally:
            for task in self._tasks:
                task.cancel()

    async def _begin(self, data: str | bytes) -> None:
        try:
            asked = frame(data, self._packed, self._service.bounds())
        except UnfitError as error:
            await self._start(self._refuse(error), _ANSWER)
            return
        session = getattr(asked, "session", None)
        before = self._last.get(session) if session is not None else None
        task = await self._start(self._work(asked, before), 8 * len(data) + self._size(asked))
        if session is not None:
            self._last[session] = task

            def forget(_: object) -> None:
                if self._last.get(session) is task:
                    del self._last[session]

            task.add_done_callback(forget)

    def _size(self, asked: Frame) -> int:
        """Return how many bytes an answer may have."""
        if not isinstance(asked, AdvanceFrame) or asked.outputs == "none":
            return _ANSWER
        return _ANSWER + self._service.output_bytes * (len(asked.x) if asked.outputs == "all" else 1)

    async def _start(self, work: Coroutine[Any, Any, None], size: int) -> asyncio.Task[None]:
        """Begin with a frame as soon as there is room: who sends faster than we work, or reads slower, waits."""
        most = self._service.limits.max_in_flight
        while self._tasks and (len(self._tasks) >= most or self._waiting + size > _ROOM):
            self._left.clear()
            await self._left.wait()
        task = asyncio.create_task(work)
        self._tasks.add(task)
        self._waiting += size

        def done(_: object) -> None:
            self._tasks.discard(task)
            self._waiting -= size
            self._left.set()
            if not task.cancelled():
                task.exception()  # a client that has gone is nobody's fault

        task.add_done_callback(done)
        return task

    async def _refuse(self, error: UnfitError) -> None:
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
        data = await rendered(answer, packed=self._packed)
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):  # it has gone
            async with self._sending:  # else all that wait for the client to read would be written at once
                if self._packed:
                    await self._websocket.send_bytes(data)
                else:
                    await self._websocket.send_text(data.decode())
