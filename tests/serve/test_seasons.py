"""Sessions of a forecaster with seasons: evicted, copied, snapshotted and read, they go on to the same bits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.support.local_server import local, nulls, numbers
from tests.support.stream_models import rows_of, series_model, table


@pytest.mark.parametrize("scale", ["global", "window"])
def test_sessions_keep_their_recent_rows(scale: str, tmp_path: Path) -> None:
    """Four sessions take turns in two places of a stream; with the scale of a window they keep that, too."""
    model = series_model(seasons=(3, 7), calendar=(), scale=scale)
    with local(model.stream(sessions=2), tmp_path) as server:
        names = [server.create() for _ in range(4)]
        alone = [model.stream() for _ in names]
        rows = [rows_of(model, table(model, 25, seed), 20) for seed in range(4)]
        for first in range(0, 18, 2):
            for name, stream, xs in zip(names, alone, rows, strict=True):
                found = server.advance(name, nulls(xs[first : first + 2]), first=first)["y"]
                assert np.array_equal(numbers(found), stream.run(xs[first : first + 2]))
        for name, stream in zip(names, alone, strict=True):
            assert server.state(name) == stream.state()
            assert server.snapshot(name) == stream.snapshot()
        fresh = server.create()
        assert server.state(fresh) == model.stream().state()
        assert server.restore(fresh, alone[2].snapshot()).status_code == 200
        expected = alone[2].run(rows[2][18:])
        assert np.array_equal(numbers(server.advance(fresh, nulls(rows[2][18:]), first=0)["y"]), expected)
