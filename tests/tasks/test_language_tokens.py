"""Language models of bytes, of byte pair encodings and of several documents, from sources to streams."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import gatewright as gw
from gatewright import cli
from gatewright.data.sources import TextFiles, Texts
from gatewright.data.text import encode_text, text_of
from gatewright.data.tokens import tokenizer_of
from gatewright.errors import DataError, GatewrightError, RunError
from gatewright.evaluation.quantization import quantize_run
from gatewright.evaluation.report import evaluate_run
from gatewright.runs.run import Run
from gatewright.runtime.sampling import draw, generate
from gatewright.spec import SEPARATOR
from gatewright.tasks.language.score import SCORE_STREAMS
from gatewright.tasks.options import DataOptions, ModelOptions, Options, TrainingOptions
from gatewright.train.launch import resume, train

pytest.importorskip("tokenizers")
pytestmark = pytest.mark.slow

SENTENCES = ("der Fluß fließt, naïf 🙂\n", "the gate forgets what it read;\n", "日本の門は閉じる。\n")
DOCUMENTS = tuple("".join(SENTENCES[(n + k * k) % 3] for k in range(12 + n)) for n in range(5))
SIZES = {"bytes": 257, "bpe": 301}


def options(tokens: str, **data: Any) -> Options:
    return Options(
        DataOptions(tokens=tokens, context=12, valid="0.2", test="0.2", **data),
        ModelOptions(hidden=10, embedding=6),
        TrainingOptions(steps=8, batch=4, validate_every=4, device="cpu"),
    )


OPTIONS = {"bytes": options("bytes"), "bpe": options("bpe", vocabulary_size=300)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("documents")
    for number, document in enumerate(DOCUMENTS):
        (folder / f"{number}.txt").write_text(document, "utf-8")
    return folder


@pytest.fixture(scope="module")
def runs(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    place = tmp_path_factory.mktemp("runs")
    return {name: train(folder, said, run=place / name)[0] for name, said in OPTIONS.items()}


def nats_by_hand(run: Run) -> list[float]:
    """Log-likelihoods of the test part, token by token from a stream; the first of each of the scored streams is
    only read.
    """
    data, stream = run.data(), run.best_model().stream()
    numbers = encode_text(data.parts.test, run.best_model().vocabulary)
    length = len(numbers) // SCORE_STREAMS
    nats = []
    for first in range(0, SCORE_STREAMS * length, length):
        stream.reset()
        for place in range(first, first + length - 1):
            scores = stream.step(int(numbers[place])).astype(np.float64)
            log_sum = np.log(np.exp(scores - scores.max()).sum()) + scores.max()
            nats.append(log_sum - scores[numbers[place + 1]])
    return nats


@pytest.mark.parametrize("name", OPTIONS)
def test_an_evaluation_is_the_likelihood_by_a_stream(runs: dict[str, Run], name: str) -> None:
    figures = evaluate_run(runs[name])[1]
    nats = nats_by_hand(runs[name])
    model, parts = runs[name].best_model(), runs[name].data().parts
    assert len(model.vocabulary.symbols) == SIZES[name]
    numbers = encode_text(parts.test, model.vocabulary)
    length = len(numbers) // SCORE_STREAMS
    contents = [len(str(symbol)) for symbol in model.vocabulary.own] + [0]  # a character of a name is a byte
    scored = np.delete(numbers[: SCORE_STREAMS * length], np.arange(SCORE_STREAMS) * length)
    size = sum(contents[number] for number in scored)
    assert (figures["tokens"], figures["bytes"], figures["unknown"]) == (len(nats), size, 0)
    assert figures["token"] == {"bytes": "byte", "bpe": "token"}[name]
    assert figures["nats_per_token"]["model"] == pytest.approx(np.mean(nats), rel=1e-5)
    assert figures["bits_per_byte"]["model"] == pytest.approx(np.sum(nats) / math.log(2) / size, rel=1e-5)
    assert figures["perplexity"]["model"] == pytest.approx(np.exp(np.mean(nats)), rel=1e-5)
    assert "nats_per_character" not in figures
    lines = [json.loads(line) for line in runs[name].metrics.read_text().splitlines()]
    assert lines[-1]["valid_perplexity"] == pytest.approx(math.exp(lines[-1]["valid"]))


def test_all_parts_together_are_the_documents_in_order(runs: dict[str, Run]) -> None:
    for run in runs.values():
        parts, vocabulary = run.data().parts, run.best_model().vocabulary
        assert (vocabulary.separator, vocabulary.symbols[-1]) == (True, SEPARATOR)
        numbers = np.concatenate(
            [encode_text(part, vocabulary) for part in (parts.train, parts.valid, parts.test)]
        )
        end, decoder = len(vocabulary.symbols) - 1, tokenizer_of(vocabulary).decoder()
        pieces = ["<end>" if number == end else decoder.add(number) for number in numbers]
        assert "".join(pieces) == "".join(f"{document}<end>" for document in DOCUMENTS)


@pytest.mark.parametrize("name", OPTIONS)
def test_generated_text_is_made_of_whole_characters(runs: dict[str, Run], name: str, capsys: Any) -> None:
    stream = runs[name].best_model().stream()
    pieces = list(generate(stream, "der Flu", 120, seed=1))
    numbers: list[int] = []
    assert all(pieces)
    text = "".join(pieces)
    assert SEPARATOR not in text
    # The same symbols one by one, decoded at once, with the incomplete ones replaced.
    stream.reset()
    tokenizer = stream.tokenizer
    read = tokenizer.encode("der Flu").tolist()
    scores = stream.run(read)[-1]
    for place in range(len(read), len(read) + 120):
        numbers.append(draw(scores, 1.0, 1, place, tokenizer.drawn))
        scores = stream.step(numbers[-1])
    assert max(numbers) < SIZES[name] - 1
    decoder = tokenizer.decoder()
    assert text == "".join(decoder.add(number) for number in numbers) + decoder.end()
    cli.main(["generate", str(runs[name].path), "--prompt", "der Flu", "--length", "120", "--seed", "1"])
    assert capsys.readouterr().out == f"der Flu{text}\n"
    # Without a prompt, a document begins.
    begun = "".join(generate(stream, "", 5, temperature=0))
    stream.reset()
    scores = stream.step(SIZES[name] - 1)
    first = draw(scores, 0, 0, 1, tokenizer.drawn)
    assert begun.startswith(tokenizer.decoder().add(first))


@pytest.mark.parametrize("name", OPTIONS)
def test_a_run_of_files_goes_on_and_sees_a_change(folder: Path, tmp_path: Path, name: str) -> None:
    copied = tmp_path / "texts"
    copied.mkdir()
    for path in sorted(folder.iterdir()):
        (copied / path.name).write_bytes(path.read_bytes())
    paths = [copied / "3.txt", copied / "0.txt"]
    whole, _ = train(paths, OPTIONS[name], run=tmp_path / "whole")
    memory, _ = train(Texts((DOCUMENTS[0], DOCUMENTS[3])), OPTIONS[name], run=tmp_path / "memory", kind="language")
    assert whole.best_model().fingerprint == memory.best_model().fingerprint
    assert (
        json.loads(whole.source_note.read_text())["sha256"] == json.loads(memory.source_note.read_text())["sha256"]
    )
    longer, progress = resume(whole.path, Options(training=TrainingOptions(steps=12)))
    assert progress.step == 12
    # A file that comes into a directory changes what a run of the directory learned from.
    run, _ = train(copied, OPTIONS[name], run=tmp_path / "directory")
    assert evaluate_run(run.path)[1]["tokens"] > 0
    (copied / "4b.txt").write_text("another", "utf-8")
    with pytest.raises(RunError, match="which has changed since"):
        evaluate_run(run.path)
    (copied / "0.txt").unlink()
    with pytest.raises(RunError, match=r"0\.txt, which does not exist"):
        evaluate_run(longer.path)


def test_an_estimator_takes_texts_or_paths_and_refuses_a_mixture(folder: Path, monkeypatch: Any) -> None:
    small: dict[str, Any] = {"tokens": "bytes", "hidden": 8, "context": 12, "batch": 4, "steps": 3}
    of_texts = gw.LanguageModel(**small).fit(list(DOCUMENTS))
    of_paths = gw.LanguageModel(**small).fit(sorted(folder.iterdir()))
    of_folder = gw.LanguageModel(**small).fit(folder)
    fingerprints = {each.model_.fingerprint for each in (of_texts, of_paths, of_folder)}
    assert len(fingerprints) == 1
    assert of_texts.symbols_[97] == "a"
    figures = of_texts.evaluate([DOCUMENTS[0], DOCUMENTS[1]])
    assert figures["token"] == "byte"
    assert of_texts.score(folder / "0.txt") == of_texts.score(DOCUMENTS[0])
    look = of_texts.look(DOCUMENTS[0], steps=9)
    assert look.symbols[:, 0].tolist() == list(DOCUMENTS[0].encode()[:9])
    one = gw.LanguageModel(**small).fit(DOCUMENTS[0] * 3)
    with pytest.raises(DataError, match="documents: expected one, got 2, and a model that was trained on one"):
        one.evaluate(list(DOCUMENTS[:2]))
    monkeypatch.chdir(folder)
    for mixture, message in (
        ([DOCUMENTS[0], folder / "0.txt"], "a list with values of type PosixPath and str"),
        ([DOCUMENTS[0], "0.txt"], r"X\[1\]: .* the name of a file: write Path\('0.txt'\)"),
        ([DOCUMENTS[0], 3], "a list with values of type int and str"),
        ([], "a value of type list"),
    ):
        with pytest.raises(GatewrightError, match=message):
            gw.LanguageModel(**small).fit(mixture)  # type: ignore[arg-type]


def test_bytes_are_of_any_file_and_go_on_from_a_trained_model(runs: dict[str, Run], tmp_path: Path) -> None:
    path = tmp_path / "noise.bin"
    raw = np.random.default_rng(0).integers(0, 256, 900).astype(np.uint8).tobytes()
    path.write_bytes(raw)
    run, _ = train(path, OPTIONS["bytes"], run=tmp_path / "run", kind="language")
    parts = run.data().parts
    whole = "".join((parts.train, parts.valid, parts.test))
    assert whole.encode("utf-8", "surrogateescape") == raw
    assert evaluate_run(run)[1]["unknown"] == 0
    assert quantize_run(run, path)[0].metrics["nats/byte"] > 0
    with pytest.raises(DataError, match="expected UTF-8 text"):
        train(path, OPTIONS["bpe"], run=tmp_path / "bpe", kind="language")
    with pytest.raises(DataError, match="expected UTF-8 text"):
        train(path, options("characters"), run=tmp_path / "characters", kind="language")
    # An initial model says what a text is cut into.
    said = Options(training=OPTIONS["bytes"].training, data=DataOptions(context=12))
    initial = runs["bytes"].best_model()
    more, _ = train(path, said, run=tmp_path / "more", kind="language", initial=initial)
    assert more.options().data.tokens == "bytes"
    assert more.best_model().vocabulary == initial.vocabulary
    said = Options(training=OPTIONS["bytes"].training, data=DataOptions(tokens="bpe"))
    with pytest.raises(
        GatewrightError, match="--tokens: expected 'bytes', as the initial model has it, got 'bpe'"
    ):
        train(path, said, run=tmp_path / "refused", kind="language", initial=initial)


@pytest.mark.parametrize("name", OPTIONS)
def test_a_recording_has_the_tokens_of_the_text(runs: dict[str, Run], folder: Path, name: str) -> None:
    model = runs[name].best_model()
    recording = gw.look(model, folder / "1.txt", start=3, steps=20)
    expected = encode_text(DOCUMENTS[1], model.vocabulary)[3:23]
    assert recording.symbols[:, 0].tolist() == expected.tolist()
    assert recording.targets[:, 0].tolist() == encode_text(DOCUMENTS[1], model.vocabulary)[4:24].tolist()
    assert recording.about.data.symbols == tokenizer_of(model.vocabulary).names
    assert gw.look(runs[name].path, steps=5).symbols.shape == (5, 1)
    whole = gw.look(model, TextFiles((folder,)), steps=3000)
    assert (whole.symbols == SIZES[name] - 1).sum() == len(DOCUMENTS)
    with torch.no_grad():
        scores = model(torch.from_numpy(expected[:, None])).y
    np.testing.assert_allclose(recording.predictions, scores.log_softmax(-1), rtol=1e-6)


def test_files_of_tables_are_refused_together(tmp_path: Path, capsys: Any) -> None:
    for name in ("a.csv", "b.csv", "c.txt"):
        (tmp_path / name).write_text("x\n1\n2\n")
    for sources, message in (
        (
            ("a.csv", "b.csv"),
            "source: expected one table, or several .parquet files of one, got a.csv among 2 files",
        ),
        (("c.txt", "a.csv"), "source: expected files for one kind of model, got c.txt and others; --kind"),
    ):
        with pytest.raises(SystemExit):
            cli.main(["train", *(str(tmp_path / source) for source in sources)])
        assert message in capsys.readouterr().err.replace("\n", " ")
    with pytest.raises(
        GatewrightError, match="--vocabulary-size: expected --tokens bpe with it, got --tokens bytes"
    ):
        train(tmp_path / "c.txt", options("bytes", vocabulary_size=300), run=tmp_path / "run")
    assert text_of(TextFiles((tmp_path,))) == ("x\n1\n2\n", "")
