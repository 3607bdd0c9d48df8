"""A step of a converted layer in LiteRT; `pip install litert-torch` brings it, apart from `make interop`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.support.page_examples import run_example

pytest.importorskip("litert_torch")
pytestmark = [
    pytest.mark.interop,
    pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning", "ignore::DeprecationWarning"),
]


def test_steps_are_those_of_the_layer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = run_example("exchange.md", "LiteRT")
    model, converted = found["model"], found["converted"]
    assert Path("step.tflite").stat().st_size < 20_000
    ours, theirs = found["inputs"], found["inputs"]
    for x in torch.randn(5, 1, 1, 3):
        with torch.no_grad():
            y, *ours = model(x, *ours[-2:])
        z, *theirs = (torch.from_numpy(np.asarray(each)) for each in converted(x, *theirs[-2:]))
        torch.testing.assert_close(z, y, rtol=0, atol=1e-6)
