"""What several files of tests of recordings look at."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.small_models import forecaster, rows_of, write_cells


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A forecaster of two targets with gaps, and a table of two series of unequal length."""
    path = tmp_path_factory.mktemp("sites") / "sites.csv"
    write_cells(path, rows_of("north", 90, 1) + rows_of("south", 101, 2))
    table, model = forecaster(path)
    return table, model.train()
