"""The server's HTTP side: one function for each way to ask, and a true OpenAPI document of them."""

from __future__ import annotations

import asyncio
import importlib.metadata
import json
import time
from collections.abc import AsyncIterator, Callable, Collection, Coroutine
from typing import Annotated, Any, TypeVar

from fastapi import Depends, FastAPI, Path, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response, StreamingResponse
from fastapi.security import HTTPBearer
from pydantic import BaseModel
from pydantic_core import to_json
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware

from gatewright.serve.http.auth import Tokens
from gatewright.serve.http.middleware import Guard, refused
from gatewright.serve.http.parsing import UnfitError, body
from gatewright.serve.http.responses import rendered
from gatewright.serve.http.validation_errors import unfit
from gatewright.serve.http.websocket import Socket
from gatewright.serve.logs import say
from gatewright.serve.schemas import (
    AdvanceBody,
    AnswerBody,
    ErrorBody,
    GenerateBody,
    MakeBody,
    ModelBody,
    NamesBody,
    SessionBody,
    StateBody,
    TextBody,
)
from gatewright.serve.service import Service

M = TypeVar("M", bound=BaseModel)
_Session = Annotated[
    str, Path(description="The name of a session.", json_schema_extra={"pattern": "^[A-Za-z0-9_-]{32}$"})
]
_ERRORS = {
    401: "No token that this server knows.",
    403: "A page that may not ask.",
    408: "The body did not come in time.",
    413: "The body is too large.",
    421: "A host that is not this server.",
    422: "What came does not fit; nothing has changed.",
    429: "Too much at once; Retry-After says when to come again.",
    503: "Nothing is taken now; Retry-After says when to come again.",
}
_THERE = {404: "No session of that name, or another's."}
_TAKEN = {409: "The name is another session's, or that session has moved since."}
_NEXT = {409: "Neither the session's next request nor its last one again."}


def _may(*more: dict[int, str]) -> dict[int | str, dict[str, Any]]:
    """Return what may go wrong, for the document."""
    found = {status: what for part in (_ERRORS, *more) for status, what in part.items()}
    return {status: {"description": what, "model": ErrorBody} for status, what in sorted(found.items())}


def create_app(
    service: Service,
    *,
    tokens: Tokens,
    hosts: Collection[str] = (),
    origins: Collection[str] = (),
    lifespan: Callable[[FastAPI], Any] | None = None,
) -> FastAPI:
    """Return the application.

    Args:
        service: what it asks.
        tokens: that it knows.
        hosts: its names, beside its addresses.
        origins: of pages that may ask.
        lifespan: what is done before and after.
    """
    app = FastAPI(
        title="Gatewright",
        summary="An LSTM a step at a time; sessions that are not lost.",
        version=importlib.metadata.version("gatewright"),
        docs_url=None,  # these pages fetch scripts from elsewhere
        redoc_url=None,
        lifespan=lifespan,
        dependencies=[Depends(HTTPBearer(auto_error=False))] if len(tokens) else [],
    )
    app.add_middleware(Guard, tokens=tokens, hosts=hosts, origins=origins, most=service.limits.max_body)
    if origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(origins),
            allow_methods=["*"],
            allow_headers=["authorization"],
            expose_headers=["retry-after"],
        )
    app.add_exception_handler(RequestValidationError, _unfit)
    app.add_exception_handler(UnfitError, _unread)
    app.add_exception_handler(HTTPException, _unknown)
    _add_signpost(app)
    _add_sessions(app, service)
    _add_steps(app, service)
    _add_state(app, service)
    _add_watch(app, service)
    Socket(service).add(app)
    return app


async def _unfit(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return refused(422, *unfit(error.errors()))


async def _unread(_: Request, error: Exception) -> Response:
    assert isinstance(error, UnfitError)
    return refused(422, *error.told)


async def _body(request: Request, model: type[M], service: Service, default: M | None = None) -> M:
    """Return what a request asks for; the default, where it says nothing.

    FastAPI's own reader would look at all of a body, and make an error of each value in it.

    Raises:
        UnfitError: if it is not JSON, or does not fit.
    """
    data = await request.body()
    return default if default is not None and not data else body(data, model, service.bounds())


def _reads(model: type[BaseModel], *, required: bool = True) -> dict[str, Any]:
    """Return what a request reads, for the document."""
    content = {"application/json": {"schema": model.model_json_schema()}}
    return {"requestBody": {"required": required, "content": content}}


async def _unknown(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 400:  # what the JSON reader cannot read: too deep, too long a number, other bytes
        return refused(422, "body", "JSON", "something else")
    found = {404: "a path that there is: /openapi.json has them", 405: "a method that it has"}
    response = refused(error.status_code, "request", found.get(error.status_code, "another one"), "another one")
    response.headers.update(error.headers or {})
    return response


class _Answering:
    """Runs what a path asks for, and gives its answer or its error."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def __call__(self, op: str, work: Coroutine[Any, Any, Any], status: int = 200) -> Response:
        began = time.perf_counter()
        try:
            found, media = await work, "application/octet-stream"
            if not isinstance(found, bytes):
                found, media = b"" if status == 204 else await rendered(found), "application/json"
        except Exception as error:
            response = _error(self._service, error)
        else:
            response = Response(found, status, media_type=media)
        _note(self._service, op, response.status_code, began)
        return response


def _error(service: Service, error: Exception) -> Response:
    status, body, after = service.told(error)
    response = Response(json.dumps(body), status, media_type="application/json")
    if after is not None:
        response.headers["Retry-After"] = str(max(1, round(after)))
    return response


def _note(service: Service, op: str, status: int, began: float) -> None:
    service.count(op, status, began)
    say("request", op=op, status=status, seconds=round(time.perf_counter() - began, 6))


def _owner(request: Request) -> str:
    return str(request.scope["owner"])


_Owner = Annotated[str, Depends(_owner)]


def _add_signpost(app: FastAPI) -> None:
    """Tell a person who tries the obvious addresses where everything is."""
    told = {
        "server": f"Gatewright {importlib.metadata.version('gatewright')}",
        "api": "/v1",
        "model": "/v1/model",
        "sessions": "/v1/sessions",
        "websocket": "/v1/ws",
        "openapi": "/openapi.json",
        "documentation": "docs/serve.md of Gatewright; pages of it here would load scripts from elsewhere",
    }

    async def signpost(_: Request) -> Response:
        return JSONResponse(told)

    for path in ("/", "/docs", "/redoc", "/v1", "/v1/"):
        app.add_route(path, signpost, include_in_schema=False)


def _add_sessions(app: FastAPI, service: Service) -> None:
    answering = _Answering(service)

    @app.get("/v1/model", response_model=ModelBody, responses=_may())
    async def model() -> Response:
        """Tell what the model of new sessions reads and gives."""
        return Response(to_json(service.model()), media_type="application/json")

    @app.post(
        "/v1/sessions",
        response_model=SessionBody,
        status_code=201,
        responses=_may(_TAKEN),
        openapi_extra=_reads(MakeBody, required=False),
    )
    async def create(owner: _Owner, request: Request) -> Response:
        """Make a session; its name cannot be guessed."""
        asked = await _body(request, MakeBody, service, MakeBody())
        return await answering("create", service.create(owner, asked.name), 201)

    @app.get("/v1/sessions", response_model=NamesBody, responses=_may())
    async def names(
        owner: _Owner,
        after: Annotated[str, Query(max_length=100)] = "",
        most: Annotated[int, Query(ge=1, le=1000)] = 1000,
    ) -> Response:
        """List one's own sessions."""
        return await answering("list", service.names(owner, after, most))

    @app.get("/v1/sessions/{session}", response_model=StateBody, responses=_may(_THERE))
    async def read(owner: _Owner, session: _Session) -> Response:
        """Read a session and its state."""
        return await answering("read", service.read(owner, session))

    @app.delete("/v1/sessions/{session}", status_code=204, responses=_may(_THERE))
    async def delete(owner: _Owner, session: _Session) -> Response:
        """Forget a session."""
        return await answering("delete", service.delete(owner, session), 204)

    @app.post("/v1/sessions/{session}/reset", response_model=SessionBody, responses=_may(_THERE))
    async def reset(owner: _Owner, session: _Session) -> Response:
        """Put a session's state back to the beginning; the number of its steps goes on."""
        return await answering("reset", service.reset(owner, session))

    @app.post(
        "/v1/sessions/{session}/fork",
        response_model=SessionBody,
        status_code=201,
        responses=_may(_THERE, _TAKEN),
        openapi_extra=_reads(MakeBody, required=False),
    )
    async def fork(owner: _Owner, session: _Session, request: Request) -> Response:
        """Make a session that stands where another one does."""
        asked = await _body(request, MakeBody, service, MakeBody())
        return await answering("fork", service.fork(owner, session, asked.name), 201)


def _add_steps(app: FastAPI, service: Service) -> None:
    answering = _Answering(service)

    @app.post(
        "/v1/sessions/{session}/advance",
        response_model=AnswerBody,
        responses=_may(_THERE, _NEXT),
        openapi_extra=_reads(AdvanceBody),
    )
    async def advance(owner: _Owner, session: _Session, request: Request) -> Response:
        """Take one or many steps: stored, then answered."""
        asked = await _body(request, AdvanceBody, service)
        return await answering("advance", service.advance(owner, session, asked))

    pieces: dict[int | str, dict[str, Any]] = {
        200: {
            "description": "A line of JSON for each piece; each is stored before it is sent.",
            "content": {"application/x-ndjson": {"schema": TextBody.model_json_schema()}},
        }
    }

    @app.post(
        "/v1/sessions/{session}/generate",
        response_class=StreamingResponse,
        responses=pieces | _may(_THERE, _NEXT),
        openapi_extra=_reads(GenerateBody),
    )
    async def generate(owner: _Owner, session: _Session, request: Request) -> Response:
        """Write text, which the session reads too, piece by piece."""
        asked = await _body(request, GenerateBody, service)
        began, written = time.perf_counter(), service.generate(owner, session, asked)
        try:
            first = await anext(written)  # what is wrong from the beginning has a status of its own
        except Exception as error:
            response = _error(service, error)
            _note(service, "generate", response.status_code, began)
            return response

        async def lines() -> AsyncIterator[bytes]:
            yield to_json(first) + b"\n"
            status = 200
            try:
                async for piece in written:
                    yield to_json(piece) + b"\n"
            except Exception as error:
                status, told, _ = service.told(error)
                yield to_json(told) + b"\n"
            finally:
                _note(service, "generate", status, began)

        return StreamingResponse(lines(), media_type="application/x-ndjson")


def _add_watch(app: FastAPI, service: Service) -> None:
    @app.get("/healthz", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    async def healthz() -> Response:
        """Tell that the process runs."""
        return Response("ok\n", media_type="text/plain")

    @app.get(
        "/readyz",
        response_class=Response,
        responses={status: {"content": {"text/plain": {}}, "description": "Whether."} for status in (200, 503)},
    )
    async def readyz() -> Response:
        """Tell whether requests are taken."""
        ready = await service.ready()
        return Response("ready\n" if ready else "not ready\n", 200 if ready else 503, media_type="text/plain")

    @app.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}, **_may()})
    async def metrics() -> Response:
        """Tell what was done, for Prometheus."""
        text = await asyncio.to_thread(service.metrics.text)  # it asks the store
        return Response(text, media_type="text/plain; version=0.0.4")


def _add_state(app: FastAPI, service: Service) -> None:
    answering = _Answering(service)
    binary = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}

    @app.get(
        "/v1/sessions/{session}/snapshot",
        response_class=Response,
        responses={200: {"content": binary, "description": "For `Stream.restore`."}, **_may(_THERE)},
    )
    async def snapshot(owner: _Owner, session: _Session) -> Response:
        """Give a session's state as bytes."""
        return await answering("snapshot", service.snapshot(owner, session))

    @app.put(
        "/v1/sessions/{session}/snapshot",
        response_model=SessionBody,
        responses=_may(_THERE),
        openapi_extra={"requestBody": {"required": True, "content": binary}},
    )
    async def restore(owner: _Owner, session: _Session, request: Request) -> Response:
        """Put a session into a state that came of `snapshot`, here or from `Stream.snapshot`."""
        return await answering("restore", service.restore(owner, session, await request.body()))
