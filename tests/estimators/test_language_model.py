"""A text in, more of it out: the same model as the run of the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gatewright as gw
from gatewright.data.sources import Text
from gatewright.errors import GatewrightError
from gatewright.estimators.base import NotFittedError
from gatewright.insight import intervene
from gatewright.runtime.sampling import generate
from gatewright.tasks.options import DataOptions, ModelOptions, Options, TrainingOptions
from gatewright.train.launch import train

pytestmark = pytest.mark.slow

TEXT = "the quick brown fox jumps over the lazy dog; \n" * 30
SMALL: dict[str, Any] = {"hidden": 12, "embedding": 6, "context": 12, "batch": 4, "steps": 20}


@pytest.fixture(scope="module")
def fitted() -> gw.LanguageModel:
    return gw.LanguageModel(**SMALL).fit(TEXT)


def test_it_learns_what_the_run_of_a_file_does(fitted: gw.LanguageModel, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text(TEXT)
    options = Options(
        DataOptions(context=12), ModelOptions(hidden=12, embedding=6), TrainingOptions(steps=20, batch=4)
    )
    run = train(tmp_path / "text.txt", options, run=tmp_path / "run")[0]
    assert run.best_model().fingerprint == fitted.model_.fingerprint
    assert gw.LanguageModel(**SMALL).fit(tmp_path / "text.txt").model_.fingerprint == fitted.model_.fingerprint
    loaded = gw.load(run.path)
    assert isinstance(loaded, gw.LanguageModel)
    assert (loaded.hidden, loaded.context, loaded.batch) == (12, 12, 4)
    assert loaded.generate("the ", length=20, seed=3) == fitted.generate("the ", length=20, seed=3)


def test_it_generates_as_the_stream_does(fitted: gw.LanguageModel) -> None:
    expected = "".join(generate(fitted.stream(), "fox", 30, 0.7, 5))
    assert fitted.generate("fox", length=30, temperature=0.7, seed=5) == expected
    assert fitted.symbols_ == fitted.stream().symbols


def test_a_text_is_scored_by_its_likelihood(fitted: gw.LanguageModel) -> None:
    # By hand: one stream of characters, in float64 from the model's scores.
    text = TEXT[:31]
    figures = fitted.evaluate(text)
    symbols = [fitted.symbols_.index(character) for character in text]
    # 31 characters are scored as 15 streams of 2, each without context.
    nats = []
    for first in range(15):
        stream = fitted.stream()
        scores = stream.step(symbols[2 * first]).astype(np.float64)
        nats.append(np.log(np.exp(scores - scores.max()).sum()) + scores.max() - scores[symbols[2 * first + 1]])
    assert figures["characters"] == 15
    assert figures["nats_per_character"] == pytest.approx(np.mean(nats), rel=1e-5)
    assert figures["bits_per_character"] == pytest.approx(np.mean(nats) / np.log(2), rel=1e-5)
    assert figures["perplexity"] == pytest.approx(np.exp(np.mean(nats)), rel=1e-5)
    assert (figures["bytes"], figures["bits_per_byte"]) == (15, pytest.approx(figures["bits_per_character"]))
    assert fitted.score(text) == -figures["nats_per_character"]
    strange = fitted.evaluate("§§§§")
    assert (strange["unknown"], strange["bytes"]) == (2, 4)
    assert strange["bits_per_byte"] == pytest.approx(strange["bits_per_character"] / 2)


def test_what_was_saved_goes_on_with_another_text(fitted: gw.LanguageModel, tmp_path: Path) -> None:
    fitted.save(tmp_path / "m.safetensors")
    other = gw.load(tmp_path / "m.safetensors")
    assert isinstance(other, gw.LanguageModel)
    more = gw.LanguageModel(context=12, batch=4, steps=6).fit("ümlaut " + TEXT[::-1], init=other)
    assert more.symbols_ == fitted.symbols_
    assert more.hidden is None
    assert more.model_.spec == fitted.model_.spec
    assert more.model_.fingerprint != fitted.model_.fingerprint
    with pytest.raises(GatewrightError, match="embedding: expected 6, as the initial model has it, got 9"):
        gw.LanguageModel(embedding=9).fit(TEXT, init=other)


def test_a_recording_of_a_text(fitted: gw.LanguageModel) -> None:
    recording = gw.look(fitted, TEXT, steps=9)
    expected = gw.look(fitted.model_, TEXT, steps=9)
    np.testing.assert_array_equal(recording.predictions, expected.predictions)
    np.testing.assert_array_equal(recording.inputs, fitted.look(Text(TEXT), steps=9).inputs)
    changed = intervene(fitted, TEXT, ablate={0: 3}, steps=9)
    np.testing.assert_array_equal(
        changed.predictions, intervene(fitted.model_, TEXT, ablate={0: 3}, steps=9).predictions
    )
    with pytest.raises(GatewrightError, match="state: expected None for a whole model"):
        gw.look(fitted, TEXT, state=(None, None))  # type: ignore[arg-type]


def test_wrong_input_is_refused_in_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "plays.txt").write_text(TEXT)
    monkeypatch.chdir(tmp_path)
    model = gw.LanguageModel(**SMALL)
    for text, message in (
        (
            "plays.txt",
            r"X: expected a text, or the Path of one, got the name of a file: write Path\('plays.txt'\)",
        ),
        (3, "X: expected a text, or the Path of one, got a value of type int"),
        ("", "source: expected a text, got an empty one"),
        ("ab", "valid and test: expected at least 2 characters left"),
        ("\ud800" * 500, "half of a surrogate pair"),
        (Path("none.txt"), "the file does not exist"),
    ):
        with pytest.raises(GatewrightError, match=message):
            model.fit(text)  # type: ignore[arg-type]
    with pytest.raises(GatewrightError, match="y: expected None"):
        model.fit(TEXT, TEXT)  # type: ignore[arg-type]
    with pytest.raises(NotFittedError):
        model.generate("a")


def test_generation_refuses_what_it_cannot_draw(fitted: gw.LanguageModel) -> None:
    for arguments, name in (
        ({"length": -1}, "length"),
        ({"temperature": "hot"}, "temperature"),
        ({"seed": 1.5}, "seed"),
    ):
        with pytest.raises(GatewrightError, match=f"^{name}: "):
            fitted.generate("a", **arguments)
    with pytest.raises(GatewrightError, match="prompt: expected a text"):
        fitted.generate(7)  # type: ignore[arg-type]
