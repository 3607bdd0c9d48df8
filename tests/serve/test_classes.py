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
