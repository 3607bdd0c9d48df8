"""The OpenAPI document is true: what schemathesis makes of it gets answers that it tells of, and never a 500.

Set GATEWRIGHT_LONG to try many more requests.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from gatewright.serve.settings import Limits
from tests.support.lazy import LazyModule
from tests.support.local_server import Local, local
from tests.support.stream_models import series_model, text_model

if TYPE_CHECKING:
    import schemathesis
    from schemathesis.specs.openapi import checks as conformance
else:
    schemathesis = LazyModule("schemathesis")
    conformance = LazyModule("schemathesis.specs.openapi.checks")

EXAMPLES = 2000 if os.environ.get("GATEWRIGHT_LONG") else 12
#: Beginning of the paths that name a model.
NAMED = "/v1/models/{model}"
#: Paths without a body or a query; a name of a model is any text.
NOTHING_TO_GET_WRONG = (
    *("/v1/model", "/v1/models", NAMED, "/healthz", "/readyz", "/metrics"),
    *("/v2", "/v2/health/live", "/v2/health/ready", "/v2/models/{model}", "/v2/models/{model}/ready"),
)
LIMITS = Limits(max_steps=50, max_body=20_000)


@pytest.fixture(scope="module", params=["text", "series"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    model = text_model() if request.param == "text" else series_model()
    with local(model.stream(sessions=3), tmp_path_factory.mktemp(request.param), limits=LIMITS) as running:
        yield running


def operations(server: Local) -> list[Any]:
    schema = schemathesis.openapi.from_dict(server.app.openapi())
    return [result.ok() for result in schema.get_all_operations()]


def test_the_document_has_all_that_can_be_asked(server: Local) -> None:
    document = server.http.get("/openapi.json").json()
    assert document == server.app.openapi()
    of_sessions = {
        ("POST", "/v1/sessions"),
        ("GET", "/v1/sessions"),
        ("GET", "/v1/sessions/{session}"),
        ("DELETE", "/v1/sessions/{session}"),
        ("POST", "/v1/sessions/{session}/reset"),
        ("POST", "/v1/sessions/{session}/fork"),
        ("POST", "/v1/sessions/{session}/advance"),
        ("POST", "/v1/sessions/{session}/generate"),
        ("GET", "/v1/sessions/{session}/snapshot"),
        ("PUT", "/v1/sessions/{session}/snapshot"),
    }
    named = {(method, path.replace("/v1", NAMED)) for method, path in of_sessions}
    assert {(each.method.upper(), each.path) for each in operations(server)} == {
        *of_sessions,
        *named,
        ("GET", "/v1/model"),
        ("GET", "/v1/models"),
        ("GET", NAMED),
        ("GET", "/v2"),
        ("GET", "/v2/health/live"),
        ("GET", "/v2/health/ready"),
        ("GET", "/v2/models/{model}"),
        ("GET", "/v2/models/{model}/ready"),
        ("POST", "/v2/models/{model}/infer"),
        ("GET", "/healthz"),
        ("GET", "/readyz"),
        ("GET", "/metrics"),
    }


@pytest.mark.parametrize("mode", ["positive", "negative"])
def test_what_schemathesis_asks(server: Local, mode: str, caplog: pytest.LogCaptureFixture) -> None:
    watched = server.create()
    before = (server.snapshot(watched), server.http.get(f"/v1/sessions/{watched}").json())
    statuses: Counter[tuple[str, int]] = Counter()
    with caplog.at_level(logging.ERROR):
        for operation in operations(server):
            named = operation.path.startswith(f"{NAMED}/")  # the same functions as without a name
            fixed = operation.path.startswith("/v2") and operation.path in NOTHING_TO_GET_WRONG
            if (named or fixed) and not os.environ.get("GATEWRIGHT_LONG"):
                continue
            ask(server, operation, schemathesis.GenerationMode(mode), statuses)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert server.snapshot(watched) == before[0]
    assert server.http.get(f"/v1/sessions/{watched}").json() == before[1]
    if mode == "positive":  # it came through to the model, and not only to what stands before it
        assert statuses["POST /v1/sessions/{session}/fork", 201] > 0
        assert statuses["PUT /v1/sessions/{session}/snapshot", 422] > 0
        assert statuses["POST /v1/sessions/{session}/advance", 422] > 0
    if os.environ.get("GATEWRIGHT_LONG"):
        print(f"\n{mode}: {sum(statuses.values())} requests")
        print("\n".join(f"{what} {status}: {count}" for (what, status), count in sorted(statuses.items())))


def ask(server: Local, operation: Any, mode: Any, statuses: Counter[tuple[str, int]]) -> None:
    """Send requests of one kind, for a session that there is as often as for one that there is not."""
    checks = [
        schemathesis.checks.not_a_server_error,
        conformance.status_code_conformance,
        conformance.content_type_conformance,
        conformance.response_schema_conformance,
        conformance.response_headers_conformance,
    ]
    session = server.create()
    what = f"{operation.method.upper()} {operation.path}"

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode), known=st.booleans())
    def send(case: Any, known: bool) -> None:
        if known and "{model}" in operation.path:
            case.path_parameters["model"] = "default"
        if known and "{session}" in operation.path and what[:6] != "DELETE":
            case.path_parameters["session"] = session
        response = case.call(base_url=str(server.http.base_url))
        statuses[what, response.status_code] += 1
        case.validate_response(response, checks=checks)

    if mode == schemathesis.GenerationMode.NEGATIVE and (
        operation.path in NOTHING_TO_GET_WRONG or what == "POST /v1/sessions"
    ):
        return
    send()
