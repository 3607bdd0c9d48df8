"""Classifiers and taggers that read categories: what they learn, unknown values, and what is refused."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pytest

import gatewright as gw
from gatewright import cli
from gatewright.data.sequence_categories import with_codes
from gatewright.data.sequences import sequences_of
from gatewright.errors import DataError, GatewrightError
from gatewright.estimators.base import GatewrightWarning
from gatewright.spec import Category
from gatewright.tasks.classify.encoding import encode
from gatewright.tasks.classify.neighbours import comparable
from tests.support.lazy import LazyModule

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = LazyModule("pandas")

COUNT, STEPS = 60, 7
FEATURES = ["x", "kind", "zone", "open"]


@functools.cache
def table() -> pl.DataFrame:
    """Sequences whose steps are up or down, by their kind, in one of two zones: the other way round in the second.

    A step is labelled by its own direction, a sequence by that of most of its steps.
    """
    random, frames = np.random.default_rng(0), []
    for number in range(COUNT):
        kind, zone = random.choice(["rise", "drop"], STEPS), 7 if number % 2 else 12
        up = (kind == "rise") == (zone == 7)
        cells = {
            "who": [f"s{number}"] * STEPS, "t": np.arange(STEPS), "x": random.normal(size=STEPS), "kind": kind,
            "zone": [zone] * STEPS, "open": random.random(STEPS) < 0.5, "comment": [f"no {number}"] * STEPS,
            "step": np.where(up, "up", "down"), "most": ["up" if 2 * up.sum() > STEPS else "down"] * STEPS,
        }  # fmt: skip
        frames.append(pl.DataFrame(cells))
    return pl.concat(frames)


COLUMNS: dict[str, Any] = {"id": "who", "time": "t", "features": FEATURES, "category": "zone"}
SIZES: dict[str, Any] = {"hidden": 12, "steps": 120, "lr": 0.03, "validate_every": 120, "directions": "forward"}


@pytest.fixture(scope="module")
def classifier() -> gw.SequenceClassifier:
    return gw.SequenceClassifier(pooling="mean", noise=0, **SIZES).fit(table(), label="most", **COLUMNS)


@pytest.fixture(scope="module")
def tagger() -> gw.SequenceTagger:
    return gw.SequenceTagger(embedding=2, category_size={"zone": 4}, **SIZES).fit(table(), label="step", **COLUMNS)


def rows_of(frame: pl.DataFrame) -> list[list[Any]]:
    return [list(row) for row in frame.select(FEATURES).iter_rows()]


@pytest.mark.parametrize("name", ["classifier", "tagger"])
def test_what_depends_on_categories_alone_is_learned(name: str, request: pytest.FixtureRequest) -> None:
    model = request.getfixturevalue(name)
    assert model.score(table(), label="most" if name == "classifier" else "step", **COLUMNS) > 0.85
    encoder, size, zone = model.model_.spec.encoder, *((3, 3) if name == "classifier" else (2, 4))
    assert encoder.categories == (
        Category("kind", ("drop", "rise"), size), Category("zone", ("7", "12"), zone),
        Category("open", ("false", "true"), size),
    )  # fmt: skip
    assert model.options_.data.category == ("none", "kind", "zone", "open")
    assert (model.model_.scaler.mean[1:], model.model_.scaler.scale[1:]) == ((0.0,) * 3, (1.0,) * 3)


def test_a_stream_has_the_bits_of_a_prediction(
    classifier: gw.SequenceClassifier, tagger: gw.SequenceTagger, tmp_path: Path
) -> None:
    shares = classifier.predict_proba(table())
    steps = tagger.predict_proba(table())
    classifier.save(tmp_path / "model.safetensors")
    loaded = gw.load(tmp_path / "model.safetensors")
    asked = {"id": "who", "time": "t"}
    for form in (
        table().drop("most", "step"),
        table().with_columns(pl.col("kind").cast(pl.Categorical), pl.col("zone").cast(pl.String)),
        pd.DataFrame(table().to_dict()),
    ):
        assert loaded.predict_proba(form, **asked).equals(shares)
    for number in (0, 1):
        own = table().filter(who=f"s{number}")
        stream = gw.Stream.load(tmp_path)
        found = stream.run(rows_of(own))[-1]
        np.testing.assert_array_equal(found, shares[number].drop("who").to_numpy()[0])
        tags = steps.filter(who=f"s{number}").select(pl.col("^p_.*$")).to_numpy()
        np.testing.assert_array_equal(tagger.stream().run(rows_of(own)), tags)
    recording = classifier.look(table().filter(who="s0"))
    assert recording.about.inputs[1:4] == ("kind [1]", "kind [2]", "kind [3]")


def test_an_unknown_value_is_a_missing_one_and_is_said(classifier: gw.SequenceClassifier) -> None:
    own = table().filter(who="s0")
    unknown = own.with_columns(kind=pl.when(pl.col("t") > 4).then(pl.lit("stay")).otherwise("kind"))
    missing = own.with_columns(kind=pl.when(pl.col("t") <= 4).then("kind"))
    with pytest.warns(GatewrightWarning, match="kind: unknown to the training, in 2 rows: 'stay'"):
        told = classifier.predict_proba(unknown)
    assert told.equals(classifier.predict_proba(missing))
    np.testing.assert_array_equal(classifier.stream().run(rows_of(unknown))[-1], told.drop("who").to_numpy()[0])


def test_arrays_have_codes(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    X = np.stack([random.normal(size=(40, 5)), random.choice([3.0, 40.0, np.nan], (40, 5))], axis=2)
    X[:, 0, 1] = 3.0
    y = np.where((X[..., 1] == 40).sum(1) > 1, "many", "few")
    model = gw.SequenceClassifier(**{**SIZES, "steps": 3}).fit(X, y, category="x1")
    assert model.model_.spec.encoder.categories == (Category("x1", ("3", "40"), 3),)
    assert model.model_.spec.encoder.missing == ()
    assert model.predict_proba(X).shape == (40, 2)
    tags = gw.SequenceTagger(**{**SIZES, "steps": 3}).fit(X, np.where(X[..., 1] == 40, "a", "b"), category=["x1"])
    assert tags.predict(X).shape == (40, 5)
    with pytest.raises(GatewrightError, match=r"category 'x1', row 1 of sequence '0': expected codes, .* got 0.5"):
        model.predict(np.where(X == 3.0, 0.5, X))
    with pytest.raises(GatewrightError, match=r"category: expected columns out of .*, got 'kind'"):
        gw.SequenceClassifier(**SIZES).fit(X, y, category="kind")


def test_the_command_line_reads_what_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table().write_csv(tmp_path / "steps.csv")
    command = [
        "train",
        str(tmp_path / "steps.csv"),
        "--id",
        "who",
        "--label",
        "most",
        "--hidden",
        "4",
        "--steps",
        "2",
    ]
    cli.main([*command, "--category", "zone", "--run", str(tmp_path / "plain")])
    said = capsys.readouterr().out
    assert "reads x, zone\n" in said
    assert "not read (--features names columns that are): kind, open, comment, step" in said
    assert "categories, with the number of their values: zone (2)" in said
    cli.main([*command, "--features", "x", "kind", "--run", str(tmp_path / "named"), "--directions", "forward"])
    asked = table().drop("most").with_columns(kind=pl.col("kind").replace({"rise": "stay"}))
    asked.write_csv(tmp_path / "asked.csv")
    cli.main(["evaluate", str(tmp_path / "named")])
    capsys.readouterr()
    cli.main(["predict", str(tmp_path / "named"), str(tmp_path / "asked.csv")])
    done = capsys.readouterr()
    assert len(done.out.splitlines()) == COUNT + 1
    assert "kind: unknown to the training" in done.err
    cli.main(["quantize", str(tmp_path / "named"), str(tmp_path / "steps.csv")])
    assert "accuracy" in capsys.readouterr().out
    tags = ["--label", "step", "--label-per", "step", "--features", "x", "kind", "--run", str(tmp_path / "tags")]
    cli.main(["train", str(tmp_path / "steps.csv"), "--id", "who", "--hidden", "4", "--steps", "2", *tags])
    cli.main(["evaluate", str(tmp_path / "tags")])
    capsys.readouterr()
    cli.main(["predict", str(tmp_path / "tags"), str(tmp_path / "asked.csv")])
    done = capsys.readouterr()
    assert len(done.out.splitlines()) == COUNT * STEPS + 1
    assert "kind: unknown to the training" in done.err


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"features": ["x", "comment"]}, "column 'comment': expected categories that occur more than once"),
        ({"features": ["x"]}, "category: expected columns that features names, got 'zone'"),
        ({"features": (), "category": "most"}, "out of 'x', .*'step', got 'most', the label column$"),
        ({"features": (), "category": "zne"}, "got 'zne'.*'zone'"),
    ],
)
def test_a_column_that_cannot_be_a_category_is_refused(columns: dict[str, Any], message: str) -> None:
    given = {**COLUMNS, **columns}
    if "comment" in given["features"]:
        given.pop("category")
    with pytest.raises(DataError, match=message):
        gw.SequenceClassifier(**SIZES).fit(table(), label="most", **given)
    if columns == {"features": ["x"]}:
        with pytest.raises(GatewrightError, match="embedding: expected a column of categories with it"):
            gw.SequenceClassifier(embedding=4, **SIZES).fit(
                table(), label="most", id="who", features=["x"], time="t"
            )
        with pytest.raises(
            GatewrightError, match=r"category_size: expected columns .*, out of 'kind', got 'kid'; did"
        ):
            gw.SequenceClassifier(category_size=["kid=4"], **SIZES).fit(
                table(), label="most", id="who", features=["x", "kind"], time="t"
            )
        with pytest.raises(GatewrightError, match="category_size: expected a column and its width each"):
            gw.SequenceClassifier(category_size={"kind": 0}, **SIZES).fit(table(), label="most", id="who")


@pytest.mark.parametrize("widths", [{"category_size": {"zone": 3}}, {"embedding": 4}, {"category_size": {"x": 4}}])
def test_a_training_goes_on_with_the_widths_of_its_model(
    tagger: gw.SequenceTagger, widths: dict[str, Any]
) -> None:
    with pytest.raises(GatewrightError, match=rf"^{next(iter(widths))}: expected "):
        gw.SequenceTagger(**{**SIZES, **widths}).fit(table(), init=tagger, label="step", **COLUMNS)


def test_distances_count_other_values_alike() -> None:
    sequences = with_codes(sequences_of([[[1.0, 7], [0.0, 8]], [[1.0, 9], [0.0, np.nan]]]), ["x1"])
    from gatewright.spec import FeatureEncoder, Scaler

    encoder = FeatureEncoder(("x0", "x1"), (), (Category("x1", ("7", "8", "9"), 3),))
    rows = encode(sequences, encoder, Scaler(("x0", "x1"), (0.0, 0.0), (1.0, 1.0), ()))
    np.testing.assert_array_equal([each[:, 1] for each in rows], [[1, 2], [3, 0]])
    one, other = comparable(rows, encoder)
    np.testing.assert_allclose(((one - other) ** 2).sum(axis=1), 1.0, rtol=1e-6)
