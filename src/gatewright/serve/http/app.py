"""HTTP endpoints and their OpenAPI document."""

from __future__ import annotations

import asyncio
import importlib.metadata
from collections.abc import Callable, Collection
from typing import Any

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from fastapi.security import HTTPBearer
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware

from gatewright.serve.http.auth import Tokens
from gatewright.serve.http.endpoints import error_responses
from gatewright.serve.http.middleware import AccessMiddleware, ReplicaMiddleware, error_response
from gatewright.serve.http.open_inference import open_inference_routes
from gatewright.serve.http.parsing import InvalidMessageError
from gatewright.serve.http.sessions import session_routes
from gatewright.serve.http.validation_errors import error_detail
from gatewright.serve.http.websocket import WebSocketEndpoint
from gatewright.serve.models import Models, UnknownModelError
from gatewright.serve.schemas import ModelsBody


def create_app(
    models: Models,
    *,
    tokens: Tokens,
    hosts: Collection[str] = (),
    origins: Collection[str] = (),
    lifespan: Callable[[FastAPI], Any] | None = None,
) -> FastAPI:
    """Return the application.

    Args:
        models: the models; they execute the requests.
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
    max_body = models.shared.limits.max_body
    app.add_middleware(AccessMiddleware, tokens=tokens, hosts=hosts, origins=origins, max_body=max_body)
    if origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(origins),
            allow_methods=["*"],
            allow_headers=["authorization", "gatewright-affinity"],
            expose_headers=["retry-after", "gatewright-replica"],
        )
    app.add_middleware(ReplicaMiddleware, shared=models.shared)
    app.add_exception_handler(RequestValidationError, _invalid_query)
    app.add_exception_handler(InvalidMessageError, _invalid_message)
    app.add_exception_handler(UnknownModelError, _unknown_model)
    app.add_exception_handler(HTTPException, _http_error)
    _add_index(app)
    _add_models(app, models)
    for prefix in ("/v1", "/v1/models/{model}"):
        app.include_router(session_routes(models, prefix))
    app.include_router(open_inference_routes(models))
    _add_monitoring(app, models)
    WebSocketEndpoint(models).add(app)
    return app


async def _invalid_query(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return error_response(422, *error_detail(error.errors()))


async def _invalid_message(_: Request, error: Exception) -> Response:
    assert isinstance(error, InvalidMessageError)
    return error_response(422, *error.detail)


async def _unknown_model(_: Request, error: Exception) -> Response:
    assert isinstance(error, UnknownModelError)
    return error_response(404, error.argument, error.expected, error.got)


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


def _add_index(app: FastAPI) -> None:
    """Add an index of the API at the paths that a person tries first."""
    content = {
        "server": f"Gatewright {importlib.metadata.version('gatewright')}",
        "api": "/v1",
        "model": "/v1/model",
        "models": "/v1/models",
        "sessions": "/v1/sessions",
        "websocket": "/v1/ws",
        "open_inference": "/v2",
        "openapi": "/openapi.json",
        "documentation": "docs/serve.md of Gatewright; pages here would load scripts from other hosts",
    }

    async def index(_: Request) -> Response:
        return JSONResponse(content)

    for path in ("/", "/docs", "/redoc", "/v1", "/v1/"):
        app.add_route(path, index, include_in_schema=False)


def _add_models(app: FastAPI, models: Models) -> None:
    @app.get("/v1/models", response_model=ModelsBody, responses=error_responses())
    async def list_models() -> Response:
        """List the models; `/v1/models/{model}/...` are the operations on the sessions of each."""
        return JSONResponse({"models": models.describe()})


def _add_monitoring(app: FastAPI, models: Models) -> None:
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
        ready = await models.ready()
        return Response("ready\n" if ready else "not ready\n", 200 if ready else 503, media_type="text/plain")

    @app.get(
        "/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}, **error_responses()}
    )
    async def metrics() -> Response:
        """Return metrics for Prometheus."""
        text = await asyncio.to_thread(models.shared.metrics.text)  # reads the store
        return Response(text, media_type="text/plain; version=0.0.4")
