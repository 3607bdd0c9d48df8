"""HTTP endpoints and their OpenAPI document."""

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
from gatewright.serve.http.middleware import AccessMiddleware, error_response
from gatewright.serve.http.parsing import InvalidMessageError, body
from gatewright.serve.http.responses import render
from gatewright.serve.http.validation_errors import error_detail
from gatewright.serve.http.websocket import WebSocketEndpoint
from gatewright.serve.logs import log_event
from gatewright.serve.schemas import (
    AdvanceBody,
    AnswerBody,
    CreateBody,
    ErrorBody,
    GenerateBody,
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
    401: "Missing or invalid token.",
    403: "Origin not allowed.",
    408: "The body did not arrive in time.",
    413: "The body is too large.",
    421: "Unknown host name.",
    422: "Invalid input; nothing has changed.",
    429: "Limit exceeded; see Retry-After.",
    503: "Store unavailable or server stopping; see Retry-After.",
}
_NOT_FOUND = {404: "The caller has no session of that name."}
_NAME_CONFLICT = {409: "The name belongs to another session, or the session has advanced since."}
_STEP_CONFLICT = {409: "Neither the session's next request nor a retry of its last one."}


def _error_responses(*more: dict[int, str]) -> dict[int | str, dict[str, Any]]:
    """Return the error responses of an endpoint for the OpenAPI document."""
    descriptions = {status: what for part in (_ERRORS, *more) for status, what in part.items()}
    return {status: {"description": what, "model": ErrorBody} for status, what in sorted(descriptions.items())}


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
        service: executes the requests.
        tokens: valid tokens.
        hosts: names of this server, in addition to its addresses.
        origins: allowed origins of web pages.
        lifespan: startup and shutdown, as in FastAPI.
    """
    app = FastAPI(
        title="Gatewright",
        summary="Streaming LSTM inference with durable sessions.",
        version=importlib.metadata.version("gatewright"),
        docs_url=None,  # these pages load scripts from other hosts
        redoc_url=None,
        lifespan=lifespan,
        dependencies=[Depends(HTTPBearer(auto_error=False))] if len(tokens) else [],
    )
    app.add_middleware(
        AccessMiddleware, tokens=tokens, hosts=hosts, origins=origins, max_body=service.limits.max_body
    )
    if origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(origins),
            allow_methods=["*"],
            allow_headers=["authorization"],
            expose_headers=["retry-after"],
        )
    app.add_exception_handler(RequestValidationError, _invalid_query)
    app.add_exception_handler(InvalidMessageError, _invalid_message)
    app.add_exception_handler(HTTPException, _http_error)
    _add_index(app)
    _add_model(app, service)
    _add_sessions(app, service)
    _add_steps(app, service)
    _add_generation(app, service)
    _add_state(app, service)
    _add_monitoring(app, service)
    WebSocketEndpoint(service).add(app)
    return app


async def _invalid_query(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return error_response(422, *error_detail(error.errors()))


async def _invalid_message(_: Request, error: Exception) -> Response:
    assert isinstance(error, InvalidMessageError)
    return error_response(422, *error.detail)


async def _body(request: Request, model: type[M], service: Service, default: M | None = None) -> M:
    """Return a request's validated body; the default if it is empty.

    FastAPI's own validation reads the whole body and reports every error in it.

    Raises:
        InvalidMessageError: if the body is not JSON, or invalid.
    """
    data = await request.body()
    return default if default is not None and not data else body(data, model, service.bounds())


def _request_body(model: type[BaseModel], *, required: bool = True) -> dict[str, Any]:
    """Return the request body of an endpoint for the OpenAPI document."""
    content = {"application/json": {"schema": model.model_json_schema()}}
    return {"requestBody": {"required": required, "content": content}}


async def _http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 400:  # unreadable JSON: too deep, a too long number, other bytes
        return error_response(422, "body", "JSON", "invalid JSON")
    expected = {404: "an existing path: see /openapi.json", 405: "an allowed method"}
    response = error_response(
        error.status_code, "request", expected.get(error.status_code, "another one"), "another one"
    )
    response.headers.update(error.headers or {})
    return response


class _Responder:
    """Runs an operation and returns its answer or error as a response."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def __call__(self, op: str, work: Coroutine[Any, Any, Any], status: int = 200) -> Response:
        start = time.perf_counter()
        try:
            content, media = await work, "application/octet-stream"
            if not isinstance(content, bytes):
                content, media = b"" if status == 204 else await render(content), "application/json"
        except Exception as error:
            response = _error(self._service, error)
        else:
            response = Response(content, status, media_type=media)
        _log_request(self._service, op, response.status_code, start)
        return response


def _error(service: Service, error: Exception) -> Response:
    status, content, retry_after = service.describe_error(error)
    response = Response(json.dumps(content), status, media_type="application/json")
    if retry_after is not None:
        response.headers["Retry-After"] = str(max(1, round(retry_after)))
    return response


def _log_request(service: Service, op: str, status: int, start: float) -> None:
    service.count(op, status, start)
    log_event("request", op=op, status=status, seconds=round(time.perf_counter() - start, 6))


def _owner(request: Request) -> str:
    return str(request.scope["owner"])


_Owner = Annotated[str, Depends(_owner)]


def _add_index(app: FastAPI) -> None:
    """Add an index of the API at the paths that a person tries first."""
    content = {
        "server": f"Gatewright {importlib.metadata.version('gatewright')}",
        "api": "/v1",
        "model": "/v1/model",
        "sessions": "/v1/sessions",
        "websocket": "/v1/ws",
        "openapi": "/openapi.json",
        "documentation": "docs/serve.md of Gatewright; pages here would load scripts from other hosts",
    }

    async def index(_: Request) -> Response:
        return JSONResponse(content)

    for path in ("/", "/docs", "/redoc", "/v1", "/v1/"):
        app.add_route(path, index, include_in_schema=False)


def _add_model(app: FastAPI, service: Service) -> None:
    @app.get("/v1/model", response_model=ModelBody, responses=_error_responses())
    async def model() -> Response:
        """Return the inputs and outputs of the model of new sessions."""
        return Response(to_json(service.model()), media_type="application/json")


def _add_sessions(app: FastAPI, service: Service) -> None:
    respond = _Responder(service)

    @app.post(
        "/v1/sessions",
        response_model=SessionBody,
        status_code=201,
        responses=_error_responses(_NAME_CONFLICT),
        openapi_extra=_request_body(CreateBody, required=False),
    )
    async def create(owner: _Owner, request: Request) -> Response:
        """Create a session; its name cannot be guessed."""
        message = await _body(request, CreateBody, service, CreateBody())
        return await respond("create", service.create(owner, message.name), 201)

    @app.get("/v1/sessions", response_model=NamesBody, responses=_error_responses())
    async def names(
        owner: _Owner,
        after: Annotated[str, Query(max_length=100)] = "",
        most: Annotated[int, Query(ge=1, le=1000)] = 1000,
    ) -> Response:
        """List the caller's sessions."""
        return await respond("list", service.names(owner, after, most))

    @app.get("/v1/sessions/{session}", response_model=StateBody, responses=_error_responses(_NOT_FOUND))
    async def read(owner: _Owner, session: _Session) -> Response:
        """Return a session and its state."""
        return await respond("read", service.read(owner, session))

    @app.delete("/v1/sessions/{session}", status_code=204, responses=_error_responses(_NOT_FOUND))
    async def delete(owner: _Owner, session: _Session) -> Response:
        """Delete a session."""
        return await respond("delete", service.delete(owner, session), 204)

    @app.post("/v1/sessions/{session}/reset", response_model=SessionBody, responses=_error_responses(_NOT_FOUND))
    async def reset(owner: _Owner, session: _Session) -> Response:
        """Reset a session's state; its number of steps does not change."""
        return await respond("reset", service.reset(owner, session))

    @app.post(
        "/v1/sessions/{session}/fork",
        response_model=SessionBody,
        status_code=201,
        responses=_error_responses(_NOT_FOUND, _NAME_CONFLICT),
        openapi_extra=_request_body(CreateBody, required=False),
    )
    async def fork(owner: _Owner, session: _Session, request: Request) -> Response:
        """Create a session with the state of another one."""
        message = await _body(request, CreateBody, service, CreateBody())
        return await respond("fork", service.fork(owner, session, message.name), 201)


def _add_steps(app: FastAPI, service: Service) -> None:
    respond = _Responder(service)

    @app.post(
        "/v1/sessions/{session}/advance",
        response_model=AnswerBody,
        responses=_error_responses(_NOT_FOUND, _STEP_CONFLICT),
        openapi_extra=_request_body(AdvanceBody),
    )
    async def advance(owner: _Owner, session: _Session, request: Request) -> Response:
        """Advance a session by one or more steps; they are stored before the answer is sent."""
        message = await _body(request, AdvanceBody, service)
        return await respond("advance", service.advance(owner, session, message))


def _add_generation(app: FastAPI, service: Service) -> None:
    pieces: dict[int | str, dict[str, Any]] = {
        200: {
            "description": "One line of JSON for each piece of text; each is stored before it is sent.",
            "content": {"application/x-ndjson": {"schema": TextBody.model_json_schema()}},
        }
    }

    @app.post(
        "/v1/sessions/{session}/generate",
        response_class=StreamingResponse,
        responses=pieces | _error_responses(_NOT_FOUND, _STEP_CONFLICT),
        openapi_extra=_request_body(GenerateBody),
    )
    async def generate(owner: _Owner, session: _Session, request: Request) -> Response:
        """Generate text piece by piece; the session reads it too."""
        message = await _body(request, GenerateBody, service)
        start, pieces = time.perf_counter(), service.generate(owner, session, message)
        try:
            first = await anext(pieces)  # an error before the first piece has a status of its own
        except Exception as error:
            response = _error(service, error)
            _log_request(service, "generate", response.status_code, start)
            return response

        async def lines() -> AsyncIterator[bytes]:
            yield to_json(first) + b"\n"
            status = 200
            try:
                async for piece in pieces:
                    yield to_json(piece) + b"\n"
            except Exception as error:
                status, content, _ = service.describe_error(error)
                yield to_json(content) + b"\n"
            finally:
                _log_request(service, "generate", status, start)

        return StreamingResponse(lines(), media_type="application/x-ndjson")


def _add_monitoring(app: FastAPI, service: Service) -> None:
    @app.get("/healthz", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    async def healthz() -> Response:
        """Report that the process runs."""
        return Response("ok\n", media_type="text/plain")

    @app.get(
        "/readyz",
        response_class=Response,
        responses={status: {"content": {"text/plain": {}}, "description": "Readiness."} for status in (200, 503)},
    )
    async def readyz() -> Response:
        """Report whether requests are accepted and the store is available."""
        ready = await service.ready()
        return Response("ready\n" if ready else "not ready\n", 200 if ready else 503, media_type="text/plain")

    @app.get(
        "/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}, **_error_responses()}
    )
    async def metrics() -> Response:
        """Return metrics for Prometheus."""
        text = await asyncio.to_thread(service.metrics.text)  # reads the store
        return Response(text, media_type="text/plain; version=0.0.4")


def _add_state(app: FastAPI, service: Service) -> None:
    respond = _Responder(service)
    binary = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}

    @app.get(
        "/v1/sessions/{session}/snapshot",
        response_class=Response,
        responses={
            200: {"content": binary, "description": "For `Stream.restore`."},
            **_error_responses(_NOT_FOUND),
        },
    )
    async def snapshot(owner: _Owner, session: _Session) -> Response:
        """Return a session's state as bytes."""
        return await respond("snapshot", service.snapshot(owner, session))

    @app.put(
        "/v1/sessions/{session}/snapshot",
        response_model=SessionBody,
        responses=_error_responses(_NOT_FOUND),
        openapi_extra={"requestBody": {"required": True, "content": binary}},
    )
    async def restore(owner: _Owner, session: _Session, request: Request) -> Response:
        """Restore a session's state from a snapshot, of this API or of `Stream.snapshot`."""
        return await respond("restore", service.restore(owner, session, await request.body()))
