"""Sessions of a classifier and a tagger: evicted, copied and restored, they give the probabilities of a stream."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.support.class_models import CLASSES, class_model, class_rows
from tests.support.local_server import local, nulls, numbers


@pytest.mark.parametrize("pooling", ["last", "mean", ""])
def test_sessions_give_probabilities(pooling: str, tmp_path: Path) -> None:
    """Four sessions take turns in two places of a stream."""
    model = class_model(pooling)
    with local(model.stream(sessions=2), tmp_path) as server:
        assert server.http.get("/v1/model").json()["classes"] == list(CLASSES)
        names = [server.create() for _ in range(4)]
        alone = [model.stream() for _ in names]
        rows = [class_rows(10, seed) for seed in range(4)]
        for first in range(0, 8, 2):
            for name, stream, xs in zip(names, alone, rows, strict=True):
                found = server.advance(name, nulls(xs[first : first + 2]), first=first)["y"]
                assert np.array_equal(numbers(found), stream.run(xs[first : first + 2]))
        for name, stream in zip(names, alone, strict=True):
            assert server.state(name) == stream.state()
            assert server.snapshot(name) == stream.snapshot()
        fresh = server.create()
        assert server.state(fresh) == model.stream().state()
        assert server.restore(fresh, alone[2].snapshot()).status_code == 200
        found = server.advance(fresh, nulls(rows[2][8:]), first=0)["y"]
        assert np.array_equal(numbers(found), alone[2].run(rows[2][8:]))


def test_attention_and_categories(tmp_path: Path) -> None:
    """Values of categories in JSON; the state of attention goes from one session to another."""
    model, rows = class_model("attention", categories=True), class_rows(8)
    rows[:, 2] = 8
    expected = model.stream().run(rows)
    with local(model.stream(sessions=2), tmp_path) as server:
        assert server.http.get("/v1/model").json()["categories"] == {"c": ["7", "8", "9", "10"]}
        first, second = server.create(), server.create()
        given = [[*row[:2], "8" if n % 2 else 8] for n, row in enumerate(nulls(rows))]
        assert np.array_equal(numbers(server.advance(first, given[:5], first=0)["y"]), expected[:5])
        assert server.restore(second, server.snapshot(first)).status_code == 200
        assert np.array_equal(numbers(server.advance(second, given[5:], first=0)["y"]), expected[5:])
        assert len(server.state(second).last) == 11
        refused = server.http.post(f"/v1/sessions/{first}/advance", json={"x": [[0.0, 0.0, 7.5]], "first": 5})
        assert refused.status_code == 422
