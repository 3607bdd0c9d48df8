"""Sessions of a forecaster with categories: values in JSON and msgpack, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gatewright.serve.client import Client
from tests.runtime.test_stream_categories import ALL, shown
from tests.support.local_server import local, numbers
from tests.support.stream_models import rows_of, series_model, table

MODEL = series_model(categories=ALL, calendar=())


def given() -> list[list[Any]]:
    """Rows as JSON has them."""
    rows = shown(MODEL, rows_of(MODEL, table(MODEL, 25), 20))
    plain = [[value.item() if isinstance(value, np.generic) else value for value in row] for row in rows]
    return [[None if value != value else value for value in row] for row in plain]


def test_values_give_the_bits_of_a_stream(tmp_path: Path) -> None:
    rows = given()
    expected = MODEL.stream().run(rows_of(MODEL, table(MODEL, 25), 20), indexed=True)
    with local(MODEL.stream(sessions=2), tmp_path) as server:
        known = server.http.get("/v1/model").json()["categories"]
        assert known == {each.column: list(each.values) for each in ALL}
        names = [server.create() for _ in range(3)]
        for first in range(0, 20, 5):
            for name in names:
                found = server.advance(name, rows[first : first + 5], first=first)["y"]
                assert np.array_equal(numbers(found), expected[first : first + 5])
        with Client(f"http://127.0.0.1:{server.port}") as client:  # in msgpack
            session = client.create()
            told = shown(MODEL, rows_of(MODEL, table(MODEL, 25), 20))
            assert np.array_equal(session.run(told[:12]), expected[:12])
            assert np.array_equal(session.step(told[12]), expected[12])
        again = server.advance(names[0], rows[15:], first=15)  # a retry
        assert again["repeated"]


REFUSED: dict[str, tuple[int, Any, str, str]] = {
    "a text in a column of numbers": (0, "1", "x.0.0", "a number, or null"),
    "a truth value in a column of numbers": (1, True, "x.0.1", "a number, or null"),
    "a number in a column of texts": (2, 1.5, "x", "a text such as 'dry' for category 'rain'"),
    "a long text": (2, "x" * 201, "x.0.2", "a text of at most 200 characters"),
    "a list": (2, ["dry"], "x.0.2", "a number, or null"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_wrong_value_is_refused_by_its_place(name: str, tmp_path: Path) -> None:
    place, value, argument, expected = REFUSED[name]
    row = given()[0]
    row[place] = value
    with local(MODEL.stream(), tmp_path) as server:
        session = server.create()
        answer = server.http.post(f"/v1/sessions/{session}/advance", json={"x": [row]})
        assert answer.status_code == 422
        error = answer.json()["error"]
        assert error["argument"] == argument
        assert expected in error["expected"]
        assert server.http.get(f"/v1/sessions/{session}").json()["steps"] == 0


def test_text_is_refused_for_a_model_without_categories(tmp_path: Path) -> None:
    model = series_model(calendar=())
    row = rows_of(model, table(model, 9), 1)[0].tolist()
    with local(model.stream(), tmp_path) as server:
        assert server.http.get("/v1/model").json()["categories"] == {}
        session = server.create()
        for value in ("1", True):
            answer = server.ask(session, "advance", x=[[None, None, value, *row[3:]]])
            assert (answer.status_code, answer.json()["error"]["argument"]) == (422, "x.0.2")
