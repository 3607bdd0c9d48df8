"""Several targets of several scales, with codes among the inputs: the same answers through every door."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

import gatewright as gw
from gatewright.errors import GatewrightError

pytestmark = pytest.mark.slow

FACTOR, OFFSET, ROWS, HORIZON, CONTEXT = 3e6, -5e7, 160, 2, 8
SIZES: dict[str, Any] = {
    "horizon": HORIZON, "context": CONTEXT, "hidden": 16, "steps": 6, "valid": 30, "test": 30, "season": "none",
    "lr": 0.02,
}  # fmt: skip


def values(factor: float = 1.0, offset: float = 0.0) -> np.ndarray[Any, Any]:
    """Two targets, of which the second has another unit."""
    random = np.random.default_rng(3)
    walks = 20 + random.normal(size=(ROWS, 2)).cumsum(axis=0)
    return walks * [1.0, factor] + [0.0, offset]


def test_the_unit_of_one_target_changes_no_other() -> None:
    plain, scaled = (gw.Forecaster(**SIZES).fit(values(*unit)) for unit in ((), (FACTOR, OFFSET)))
    one, other = plain.predict(values()), scaled.predict(values(FACTOR, OFFSET))
    assert one.shape == (HORIZON, 2, 3)
    np.testing.assert_allclose(other, one * [[1.0], [FACTOR]] + [[0.0], [OFFSET]], rtol=1e-4)
    tables = (values(), values(FACTOR, OFFSET))
    figures = [model.evaluate(rows)["targets"] for model, rows in zip((plain, scaled), tables, strict=True)]
    for name, factor in (("y0", 1.0), ("y1", FACTOR)):
        mae = [each[name]["model"]["overall"]["mae"] for each in figures]
        assert mae[1] == pytest.approx(mae[0] * factor, rel=1e-3)
        assert figures[0][name]["model"]["overall"]["mase"] == pytest.approx(
            figures[1][name]["model"]["overall"]["mase"], rel=1e-3
        )


def test_arrays_tables_and_streams_agree_with_codes_among_the_inputs() -> None:
    targets, codes = values(FACTOR, OFFSET), np.random.default_rng(4).integers(1, 5, (ROWS, 1))
    sizes = {**SIZES, "start": "zero"}  # few steps, which make a difference
    arrays = gw.Forecaster(**sizes).fit(codes, targets, category="x0")
    frame = pl.DataFrame({"y0": targets[:, 0], "y1": targets[:, 1], "x0": codes[:, 0]})
    columns: dict[str, Any] = {"target": ["y0", "y1"], "past": "x0", "time": "none", "category": "x0"}
    table = gw.Forecaster(**sizes).fit(frame, **columns)
    assert arrays.model_.fingerprint == table.model_.fingerprint
    (category,) = arrays.model_.spec.encoder.categories
    assert category.values == ("1", "2", "3", "4")
    answer = arrays.predict(codes, targets)
    told = table.predict(frame).drop("row").to_numpy().reshape(HORIZON, 2, 3)
    np.testing.assert_array_equal(answer, told)
    rows = np.concatenate([targets, codes], axis=1)[-CONTEXT:]
    np.testing.assert_allclose(table.stream().run(rows)[-1], answer, rtol=1e-12)
    strange = rows.copy()
    strange[-1, 2] = 99  # a code that the training did not have
    unknown = table.stream().run(strange)[-1]
    assert np.isfinite(unknown).all()
    assert not np.array_equal(unknown, answer)
    with pytest.raises(GatewrightError, match="category 'x0': expected text, true and false, or whole numbers"):
        gw.Forecaster(**SIZES).fit(codes + 0.5, targets, category="x0")
