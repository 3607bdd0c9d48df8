"""Drawn text: the model's own distribution, at any temperature, and the same for the same seed."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from gatewright.data.text import encode_text
from gatewright.errors import GatewrightError, SpecError
from gatewright.runtime.sampling import generate
from gatewright.spec import UNKNOWN
from tests.support.small_models import forecaster, language_model, write_sites


@pytest.fixture(scope="module")
def model():
    return language_model()


def text(model, *arguments, **options):
    return "".join(generate(model.stream(), *arguments, **options))


def replayed(model, prompt, drawn, temperature):
    """The chances that the model gave at each drawn character, by one pass over the whole text."""
    with torch.no_grad():
        read = torch.from_numpy(encode_text(prompt + drawn[:-1], model.vocabulary))
        scores = model(read.unsqueeze(1)).y[len(prompt) - 1 :, 0].double()
    scores[:, 0] = -math.inf
    return (scores / temperature).softmax(dim=-1).numpy()


@pytest.mark.parametrize("temperature", [1.0, 0.5, 2.5])
def test_characters_are_drawn_from_the_models_distribution(model, temperature):
    drawn = text(model, "abc", 3000, temperature, seed=1)
    chances = replayed(model, "abc", drawn, temperature)
    symbols = encode_text(drawn, model.vocabulary)
    came = np.eye(chances.shape[1])[symbols]
    # Given what came before, each count is a sum of draws with known chances.
    deviation = np.sqrt((chances * (1 - chances)).sum(axis=0))[1:]
    assert (np.abs((came - chances).sum(axis=0)[1:]) < 4.5 * deviation).all()
    with np.errstate(divide="ignore", invalid="ignore"):
        nats = np.where(chances > 0, np.log(chances), 0.0)
    expected = (chances * nats).sum(axis=1)
    spread = (chances * (nats - expected[:, None]) ** 2).sum(axis=1)
    surplus = (came * nats).sum() - expected.sum()
    assert abs(surplus) < 4.5 * math.sqrt(spread.sum())
    # The test can tell: at another temperature it would fail.
    wrong = replayed(model, "abc", drawn, 1.3 * temperature)
    assert abs((came * np.log(wrong + 1e-300)).sum() - (wrong * np.log(wrong + 1e-300)).sum()) > 4.5 * math.sqrt(
        spread.sum()
    )


def test_the_same_seed_draws_the_same_text(model):
    one = text(model, "ab", 200, seed=7)
    assert text(model, "ab", 200, seed=7) == one
    assert text(model, "ab", 100, seed=7) == one[:100]
    assert text(model, "ab", 200, seed=8) != one
    assert set(one) <= set("abcdef \n")


def test_temperature_0_takes_the_likeliest(model):
    read, expected = "ab", ""
    for _ in range(40):
        with torch.no_grad():
            scores = model(torch.from_numpy(encode_text(read, model.vocabulary)).unsqueeze(1)).y[-1, 0]
        scores[0] = -math.inf
        expected += model.vocabulary.symbols[int(scores.argmax())]
        read = "ab" + expected
    assert text(model, "ab", 40, temperature=0, seed=1) == expected
    for coldest in (1e-12, 5e-324):
        assert text(model, "ab", 40, temperature=coldest, seed=2) == expected


def test_a_hot_draw_is_near_uniform_and_never_unknown(model):
    drawn = text(model, "a", 2000, temperature=1e300)
    assert UNKNOWN not in drawn
    assert all(drawn.count(letter) == pytest.approx(250, abs=70) for letter in "abcdef \n")


def test_prompts(model):
    assert text(model, "", 30) == text(model, "\n", 30)
    assert text(model, "äöß", 30) == text(model, "\N{SNOWMAN}\udcff\U0001f600", 30)
    assert text(model, "ab", 0) == ""
    endless = generate(model.stream(), "a", 10**12)
    assert "".join(itertools.islice(endless, 20)) == text(model, "a", 20)


@pytest.mark.parametrize(
    ("argument", "value"),
    [("length", -1), ("temperature", -0.1), ("temperature", math.nan), ("temperature", math.inf), ("seed", -1),
     ("seed", 2**63)],
)  # fmt: skip
def test_arguments_out_of_range_are_refused_at_once(model, argument, value):
    with pytest.raises(GatewrightError, match=f"--{argument}: expected a .* 0.*, got {value}"):
        generate(model.stream(), **{"prompt": "a", "length": 3, argument: value})


def test_a_forecaster_writes_no_text(tmp_path):
    _, model = forecaster(write_sites(tmp_path / "sites.csv"))
    with pytest.raises(SpecError, match="model: expected a language model, got one that does not read symbols"):
        generate(model.stream(), "a", 3)
