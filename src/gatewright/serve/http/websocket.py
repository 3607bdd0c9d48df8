"""WebSocket endpoint: many sessions over one connection, in JSON or msgpack."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Coroutine
from typing import Any

from fastapi import FastAPI
from starlette.websockets import WebSocket, WebSocketDisconnect

from gatewright.serve.http.middleware import error_response
from gatewright.serve.http.parsing import InvalidMessageError, frame
from gatewright.serve.http.responses import render
from gatewright.serve.logs import log_event
from gatewright.serve.models import Models, UnknownModelError
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
from gatewright.web.websocket_connection import GOING_AWAY

#: Subprotocols, one for each encoding of frames; the first is the default.
SUBPROTOCOLS = ("gatewright.json", "gatewright.msgpack")
#: Maximum size of one connection's frames in progress and their unread answers, in bytes; a single frame may
#: exceed it.
_MAX_PENDING_BYTES = 8 * 2**20
#: Size of an answer without its outputs, in bytes.
_ANSWER_BYTES = 65_536


class WebSocketEndpoint:
    """Accepts the WebSocket connections of a server."""

    def __init__(self, models: Models) -> None:
        self._models, self._count = models, 0

    def add(self, app: FastAPI) -> None:
        """Add the endpoint to an application."""
        app.add_api_websocket_route("/v1/ws", self._serve_default)
        app.add_api_websocket_route("/v1/models/{model}/ws", self._serve_named)

    async def _serve_default(self, websocket: WebSocket) -> None:
        await self._serve(websocket, self._models.default)

    async def _serve_named(self, websocket: WebSocket) -> None:
        try:
            service = self._models.named(websocket.path_params["model"])
        except UnknownModelError as error:
            refusal = error_response(404, error.argument, error.expected, error.got)
            await websocket.send_denial_response(refusal)
        else:
            await self._serve(websocket, service)

    async def _serve(self, websocket: WebSocket, service: Service) -> None:
        shared = self._models.shared
        offered = websocket.scope.get("subprotocols", ())
        chosen = next((name for name in offered if name in SUBPROTOCOLS), None)
        await websocket.accept(chosen)
        if self._count >= shared.limits.max_connections or shared.closing:
            await websocket.close(1013, "retry after 5 s")
            return
        self._count += 1
        shared.metrics.connections.set(self._count)
        connection = Connection(service, websocket, packed=chosen == SUBPROTOCOLS[1])
        start = time.perf_counter()
        try:
            await connection.serve()
        finally:
            self._count -= 1
            shared.metrics.connections.set(self._count)
            log_event("connection", frames=connection.frames, seconds=round(time.perf_counter() - start, 3))


class Connection:
    """One connection; frames run concurrently, those of one session in order.

    Args:
        service: executes the requests.
        websocket: the connection.
        packed: whether frames are msgpack instead of JSON.

    Attributes:
        frames: number of received frames.
    """

    def __init__(self, service: Service, websocket: WebSocket, *, packed: bool) -> None:
        self._service, self._websocket, self._packed = service, websocket, packed
        self._owner = str(websocket.scope["owner"])
        self._finished = asyncio.Event()  # set when a frame is done
        self._pending_bytes = 0  # of frames in progress and their answers
        self._sending = asyncio.Lock()
        self._last: dict[str, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.frames = 0

    async def serve(self) -> None:
        """Process frames until the client disconnects, or the server stops: then answer them and close."""
        try:
            while True:
                message = await self._websocket.receive()
                if message["type"] == "websocket.disconnect":
                    if self._service.shared.closing:
                        await self._go_away()
                    break
                self.frames += 1
                data = message.get("bytes")
                await self._begin(message.get("text", "") if data is None else data)
        finally:
            for task in self._tasks:
                task.cancel()

    async def _go_away(self) -> None:
        if self._tasks:
            await asyncio.wait(self._tasks)
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):  # the client has disconnected
            await self._websocket.close(GOING_AWAY, "the server stops; reconnect")

    async def _begin(self, data: str | bytes) -> None:
        try:
            message = frame(data, self._packed, self._service.bounds())
        except InvalidMessageError as error:
            await self._start(self._refuse(error), _ANSWER_BYTES)
            return
        session = getattr(message, "session", None)
        before = self._last.get(session) if session is not None else None
        task = await self._start(self._work(message, before), 8 * len(data) + self._size(message))
        if session is not None:
            self._last[session] = task

            def forget(_: object) -> None:
                if self._last.get(session) is task:
                    del self._last[session]

            task.add_done_callback(forget)

    def _size(self, message: Frame) -> int:
        """Return the maximum size of a frame's answer, in bytes."""
        if not isinstance(message, AdvanceFrame) or message.outputs == "none":
            return _ANSWER_BYTES
        return _ANSWER_BYTES + self._service.output_bytes * (len(message.x) if message.outputs == "all" else 1)

    async def _start(self, work: Coroutine[Any, Any, None], size: int) -> asyncio.Task[None]:
        """Start work on a frame; wait first while the connection exceeds its limits."""
        most = self._service.limits.max_in_flight
        while self._tasks and (len(self._tasks) >= most or self._pending_bytes + size > _MAX_PENDING_BYTES):
            self._finished.clear()
            await self._finished.wait()
        task = asyncio.create_task(work)
        self._tasks.add(task)
        self._pending_bytes += size

        def done(_: object) -> None:
            self._tasks.discard(task)
            self._pending_bytes -= size
            self._finished.set()
            if not task.cancelled():
                task.exception()  # a disconnected client is no error

        task.add_done_callback(done)
        return task

    async def _refuse(self, error: InvalidMessageError) -> None:
        argument, expected, got = error.detail
        part = {"argument": argument, "expected": expected, "got": got}
        await self._send({"id": error.id, "status": 422, "error": part})
        self._service.count("frame", 422, time.perf_counter())

    async def _work(self, frame: Frame, before: asyncio.Task[None] | None) -> None:
        """Execute a frame after the previous one of the same session, and answer it."""
        if before is not None:
            await asyncio.wait([before])
        start, status = time.perf_counter(), 200
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
            status, answer, retry_after = self._service.describe_error(error)
            answer["status"] = status
            if retry_after is not None:
                answer["retry_after"] = retry_after
        self._service.count(frame.op, status, start)
        await self._send({"id": frame.id, **answer})

    async def _ask(self, frame: ModelFrame | CreateFrame | ListFrame | SessionFrame | ForkFrame) -> dict[str, Any]:
        if isinstance(frame, SessionFrame):
            operations = {
                "read": self._service.read,
                "reset": self._service.reset,
                "delete": self._service.delete,
            }
            return await operations[frame.op](self._owner, frame.session)
        if isinstance(frame, ForkFrame):
            return await self._service.fork(self._owner, frame.session, frame.name)
        if isinstance(frame, CreateFrame):
            return await self._service.create(self._owner, frame.name)
        if isinstance(frame, ListFrame):
            return await self._service.names(self._owner, frame.after, frame.most)
        return self._service.model()

    async def _send(self, answer: dict[str, Any]) -> None:
        data = await render(answer, packed=self._packed)
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):  # the client has disconnected
            async with self._sending:  # one at a time: a slow client holds back the others
                if self._packed:
                    await self._websocket.send_bytes(data)
                else:
                    await self._websocket.send_text(data.decode())
