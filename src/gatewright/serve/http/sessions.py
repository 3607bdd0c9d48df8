"""HTTP endpoints of the sessions of a model."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response, StreamingResponse
from pydantic_core import to_json

from gatewright.serve.http.endpoints import (
    NAME_CONFLICT,
    NOT_FOUND,
    STEP_CONFLICT,
    Owner,
    SessionName,
    error_responses,
    failed,
    log_request,
    read_body,
    request_body,
    respond,
    served,
)
from gatewright.serve.models import Models
from gatewright.serve.schemas import (
    AdvanceBody,
    AnswerBody,
    CreateBody,
    GenerateBody,
    ModelBody,
    NamesBody,
    SessionBody,
    StateBody,
    TextBody,
)
from gatewright.serve.service import Service


def session_routes(models: Models, prefix: str) -> APIRouter:
    """Return the endpoints of the model that a path names, or of the default one.

    Args:
        models: the models of the server.
        prefix: beginning of the paths, with ``{model}`` for the name.
    """
    router, service = APIRouter(prefix=prefix), served(models, prefix)
    _add_model(router, service, "" if "{model}" in prefix else "/model")
    _add_sessions(router, service)
    _add_steps(router, service)
    _add_generation(router, service)
    _add_state(router, service)
    return router


def _add_model(router: APIRouter, which: Any, path: str) -> None:
    @router.get(path, response_model=ModelBody, responses=error_responses(NOT_FOUND))
    async def model(service: Service = which) -> Response:
        """Return the inputs and outputs of the model of new sessions."""
        return Response(to_json(service.model()), media_type="application/json")


def _add_sessions(router: APIRouter, which: Any) -> None:
    @router.post(
        "/sessions",
        response_model=SessionBody,
        status_code=201,
        responses=error_responses(NAME_CONFLICT),
        openapi_extra=request_body(CreateBody, required=False),
    )
    async def create(owner: Owner, request: Request, service: Service = which) -> Response:
        """Create a session; its name cannot be guessed."""
        message = await read_body(request, CreateBody, service, CreateBody())
        return await respond(service, "create", service.create(owner, message.name), 201)

    @router.get("/sessions", response_model=NamesBody, responses=error_responses())
    async def names(
        owner: Owner,
        after: Annotated[str, Query(max_length=100)] = "",
        most: Annotated[int, Query(ge=1, le=1000)] = 1000,
        service: Service = which,
    ) -> Response:
        """List the caller's sessions."""
        return await respond(service, "list", service.names(owner, after, most))

    @router.get("/sessions/{session}", response_model=StateBody, responses=error_responses(NOT_FOUND))
    async def read(owner: Owner, session: SessionName, service: Service = which) -> Response:
        """Return a session and its state."""
        return await respond(service, "read", service.read(owner, session))

    @router.delete("/sessions/{session}", status_code=204, responses=error_responses(NOT_FOUND))
    async def delete(owner: Owner, session: SessionName, service: Service = which) -> Response:
        """Delete a session."""
        return await respond(service, "delete", service.delete(owner, session), 204)

    @router.post("/sessions/{session}/reset", response_model=SessionBody, responses=error_responses(NOT_FOUND))
    async def reset(owner: Owner, session: SessionName, service: Service = which) -> Response:
        """Reset a session's state; its number of steps does not change."""
        return await respond(service, "reset", service.reset(owner, session))

    @router.post(
        "/sessions/{session}/fork",
        response_model=SessionBody,
        status_code=201,
        responses=error_responses(NOT_FOUND, NAME_CONFLICT),
        openapi_extra=request_body(CreateBody, required=False),
    )
    async def fork(owner: Owner, session: SessionName, request: Request, service: Service = which) -> Response:
        """Create a session with the state of another one."""
        message = await read_body(request, CreateBody, service, CreateBody())
        return await respond(service, "fork", service.fork(owner, session, message.name), 201)


def _add_steps(router: APIRouter, which: Any) -> None:
    @router.post(
        "/sessions/{session}/advance",
        response_model=AnswerBody,
        responses=error_responses(NOT_FOUND, STEP_CONFLICT),
        openapi_extra=request_body(AdvanceBody),
    )
    async def advance(owner: Owner, session: SessionName, request: Request, service: Service = which) -> Response:
        """Advance a session by one or more steps; they are stored before the answer is sent."""
        message = await read_body(request, AdvanceBody, service)
        return await respond(service, "advance", service.advance(owner, session, message))


def _add_generation(router: APIRouter, which: Any) -> None:
    pieces: dict[int | str, dict[str, Any]] = {
        200: {
            "description": "One line of JSON for each piece of text; each is stored before it is sent.",
            "content": {"application/x-ndjson": {"schema": TextBody.model_json_schema()}},
        }
    }

    @router.post(
        "/sessions/{session}/generate",
        response_class=StreamingResponse,
        responses=pieces | error_responses(NOT_FOUND, STEP_CONFLICT),
        openapi_extra=request_body(GenerateBody),
    )
    async def generate(owner: Owner, session: SessionName, request: Request, service: Service = which) -> Response:
        """Generate text piece by piece; the session reads it too."""
        message = await read_body(request, GenerateBody, service)
        start, pieces = time.perf_counter(), service.generate(owner, session, message)
        try:
            first = await anext(pieces)  # an error before the first piece has a status of its own
        except Exception as error:
            response = failed(service, error)
            log_request(service, "generate", response.status_code, start)
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
                log_request(service, "generate", status, start)

        return StreamingResponse(lines(), media_type="application/x-ndjson")


def _add_state(router: APIRouter, which: Any) -> None:
    binary = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}

    @router.get(
        "/sessions/{session}/snapshot",
        response_class=Response,
        responses={
            200: {"content": binary, "description": "For `Stream.restore`."},
            **error_responses(NOT_FOUND),
        },
    )
    async def snapshot(owner: Owner, session: SessionName, service: Service = which) -> Response:
        """Return a session's state as bytes."""
        return await respond(service, "snapshot", service.snapshot(owner, session))

    @router.put(
        "/sessions/{session}/snapshot",
        response_model=SessionBody,
        responses=error_responses(NOT_FOUND),
        openapi_extra={"requestBody": {"required": True, "content": binary}},
    )
    async def restore(owner: Owner, session: SessionName, request: Request, service: Service = which) -> Response:
        """Restore a session's state from a snapshot, of this API or of `Stream.snapshot`."""
        return await respond(service, "restore", service.restore(owner, session, await request.body()))
