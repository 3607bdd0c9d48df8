"""Sessions of models with layers of unequal size or residual connections: evicted, told, copied and restored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.local_server import local, numbers
from tests.support.stream_models import SYMBOLS, text_model


@pytest.mark.parametrize(
    "stack", [{"hidden_size": (6, 4)}, {"hidden_size": (7, 5), "proj_size": 3, "residual": True}]
)
def test_sessions_give_what_a_stream_gives(stack: dict[str, Any], tmp_path: Path) -> None:
    """Three sessions take turns in two places of a stream."""
    model = text_model(**stack)
    with local(model.stream(sessions=2), tmp_path) as server:
        names = [server.create() for _ in range(3)]
        alone = [model.stream() for _ in names]
        symbols = np.random.default_rng(0).integers(0, len(SYMBOLS), (3, 4))
        for first in (0, 2):
            for name, stream, xs in zip(names, alone, symbols, strict=True):
                found = server.advance(name, xs[first : first + 2].tolist(), first=first)["y"]
                assert np.array_equal(numbers(found), stream.run(xs[first : first + 2]))
        for name, stream in zip(names, alone, strict=True):
            assert server.state(name) == stream.state()
            assert server.snapshot(name) == stream.snapshot()
        fresh = server.create()
        assert server.restore(fresh, alone[1].snapshot()).status_code == 200
        assert server.state(fresh) == alone[1].state()
        assert server.restore(fresh, text_model().stream().snapshot()).status_code == 422
