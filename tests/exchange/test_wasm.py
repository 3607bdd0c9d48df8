"""Models as WebAssembly in Node: the numbers of Python's streams, and what is refused."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from gatewright.errors import GatewrightError
from gatewright.exchange.wasm.export import to_wasm
from tests.support.c99_models import MODELS, difference, steps_of
from tests.support.stream_models import text_model
from tests.support.wasm_programs import TOOLS, largest_difference, run

needs_tools = pytest.mark.skipif(not all(map(shutil.which, TOOLS)), reason=f"needs {', '.join(TOOLS)}")


@needs_tools
@pytest.mark.parametrize("name", ["text", "tagger"])
def test_the_numbers_are_those_of_a_stream(name: str, tmp_path: Path) -> None:
    assert largest_difference(MODELS[name]().file(), tmp_path) < 1e-5


@needs_tools
def test_a_forecaster_with_transforms_calls_functions_of_javascript(tmp_path: Path) -> None:
    file = MODELS["seasons"]().file()
    to_wasm(file, tmp_path)
    assert b"log1pf" in (tmp_path / "model.wasm").read_bytes()
    steps = steps_of(file, "float")
    bad = steps.records[-1:].copy()
    bad[0, 1] = np.inf
    found = run(tmp_path, np.concatenate([steps.records[:1], bad, steps.records[1:]]))
    assert found[1].tolist() == [1, *found[0, 1:]]
    assert difference(np.delete(found, 1, axis=0)[:, 1:], steps.expected) < 1e-5


def test_without_a_compiler_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    expected = (
        "--to wasm: expected clang and wasm-ld (on Debian: apt install clang lld), got no clang and no wasm-ld"
    )
    with pytest.raises(GatewrightError, match=f"^{re.escape(expected)}$"):
        to_wasm(text_model().file(), tmp_path / "wasm")
    assert not list(tmp_path.iterdir())
    (tmp_path / "index.html").write_text("mine")
    with pytest.raises(GatewrightError, match=r"--out: .* or --force, got .*index\.html"):
        to_wasm(text_model().file(), tmp_path)


@needs_tools
def test_names_end_no_script(tmp_path: Path) -> None:
    model = MODELS["change"]()
    assert model.scaler is not None
    name = "</script><b>__SCRIPT__"
    columns = (name, *model.scaler.columns[1:])
    model.scaler = type(model.scaler)(**{**vars(model.scaler), "columns": columns})
    encoder = type(model.spec.encoder)(**{**vars(model.spec.encoder), "targets": columns[:2]})
    object.__setattr__(model.spec, "encoder", encoder)
    to_wasm(model.file(), tmp_path)
    page = (tmp_path / "index.html").read_text("utf-8")
    assert page.count("</script>") == 1
    assert "<title>Forecaster: &lt;/script&gt;&lt;b&gt;__SCRIPT__, level</title>" in page
