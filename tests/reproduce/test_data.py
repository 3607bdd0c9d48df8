"""Data with a checksum, and the experiments that read files."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from gatewright.errors import DataError
from gatewright.progress import SILENT
from gatewright.reproduce import chorales, classification, data, ett, shakespeare
from gatewright.reproduce.registry import EXPERIMENTS


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv(data.FOLDER, str(tmp_path / "data"))
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def known(folder, name, content):
    """Put a file into the folder, and return it as a download that needs no network."""
    (folder / name).write_bytes(content)
    return data.Download(name, "file:///nowhere", hashlib.sha256(content).hexdigest())


def test_a_file_is_downloaded_once_and_checked(tmp_path, folder):
    (tmp_path / "there").write_bytes(b"content")
    download = data.Download("a.txt", (tmp_path / "there").as_uri(), hashlib.sha256(b"content").hexdigest())
    assert download.path() == folder / "a.txt"
    assert (folder / "a.txt").read_bytes() == b"content"
    (tmp_path / "there").unlink()
    assert download.path() == folder / "a.txt"
    (folder / "a.txt").write_bytes(b"other")
    with pytest.raises(DataError, match=r"a\.txt: expected the file with SHA-256 .*, got 5 bytes with"):
        download.path()


def test_another_file_at_the_address_is_not_kept(tmp_path, folder):
    (tmp_path / "there").write_bytes(b"changed")
    with pytest.raises(DataError, match="SHA-256"):
        data.Download("a.txt", (tmp_path / "there").as_uri(), hashlib.sha256(b"content").hexdigest()).path()
    assert list(folder.iterdir()) == []


def test_without_a_network_the_error_says_where_to_put_the_file(folder):
    address = "http://127.0.0.1:9/a.txt"  # nothing listens there
    with pytest.raises(DataError) as error:
        data.Download("a.txt", address, "0" * 64).path()
    assert str(folder / "a.txt") in str(error.value)
    assert f"get {address} by other means" in str(error.value)
    assert data.FOLDER in str(error.value)


def test_a_file_of_a_package_is_read_without_importing_it(tmp_path, folder, monkeypatch):
    (tmp_path / "packs").mkdir()
    package = tmp_path / "packs" / "fakepack"
    (package / "files").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    (package / "files" / "b.ts").write_text("b")
    monkeypatch.syspath_prepend(tmp_path / "packs")
    assert data.packaged("fakepack", "files/b.ts") == package / "files" / "b.ts"
    with pytest.raises(DataError, match="got a version without it"):
        data.packaged("fakepack", "files/c.ts")
    with pytest.raises(
        DataError, match=r"b\.ts: expected the package nopack \(pip install nopack\), or the file at"
    ):
        data.packaged("nopack", "files/b.ts")
    (folder / "b.ts").write_text("own")
    assert data.packaged("nopack", "files/b.ts") == folder / "b.ts"


def test_frames_count_once_and_padding_does_not():
    rng = np.random.default_rng(0)
    rolls = [(rng.random((length, 88)) < 0.1).astype(np.float32) for length in (5, 2, 9)]
    network = torch.nn.Linear(88, 88)
    total, count = chorales.frame_nll(network, rolls)
    W, b = (value.detach().numpy().astype(np.float64) for value in (network.weight, network.bias))
    judge = 0.0
    for roll in rolls:
        p = 1 / (1 + np.exp(-(roll[:-1] @ W.T + b)))
        judge -= (roll[1:] * np.log(p) + (1 - roll[1:]) * np.log(1 - p)).sum()
    assert count == 4 + 1 + 8
    assert float(total.detach()) == pytest.approx(judge, rel=1e-5)


def test_chorales_are_read_as_keys_and_learned(folder, monkeypatch):
    rng = np.random.default_rng(1)
    pitches = [
        [[int(n) for n in rng.choice(np.arange(43, 97), 4, replace=False)] for _ in range(12)] for _ in range(8)
    ]
    parts = dict.fromkeys(("train", "valid", "test"), pitches)
    content = json.dumps(parts).encode()
    monkeypatch.setattr(chorales, "JSB_CHORALES", known(folder, "jsb.json", content))
    rolls = chorales.read("test")
    assert [[sorted(np.flatnonzero(frame) + 21) for frame in roll] for roll in rolls] == [
        [sorted(frame) for frame in chorale] for chorale in pitches
    ]
    experiment = EXPERIMENTS["jsb-chorales"]
    settings = replace(experiment.short, epochs=12, lr=0.1)
    found = experiment.train(settings, 0, SILENT)
    assert found.figures["nll"] == pytest.approx(found.figures["valid"])
    uniform = 88 * np.log(2)
    assert found.figures["nll"] < uniform / 2
    assert found.curves["LSTM"].x == [float(epoch) for epoch in range(1, 13)]
    assert min(found.curves["LSTM"].y) == pytest.approx(found.figures["valid"], rel=1e-5)


def write_ts(path, sequences, labels):
    classes = " ".join(sorted(set(labels)))
    lines = [f"@problemName a\n@classLabel true {classes}\n@data"]
    lines += [f"{','.join(map(str, row))}:{label}" for row, label in zip(sequences, labels, strict=True)]
    path.write_text("\n".join(lines))


def test_an_archive_is_classified_by_its_own_split(folder):
    labels = [str(n % 2) for n in range(20)]
    waves = [np.round(np.sin(np.arange(12) * (1 + n % 2) / 2), 3).tolist() for n in range(20)]
    write_ts(folder / "GunPoint_TRAIN.ts", waves, labels)
    write_ts(folder / "GunPoint_TEST.ts", waves[:8], labels[:8])
    experiment = EXPERIMENTS["ucr-GunPoint"]
    found = experiment.train(replace(experiment.short, steps=60, lr=0.03), 0, SILENT)
    assert found.figures == {"accuracy": 100.0, "steps": 60}
    assert found.curves["LSTM"].x[-1] == 60


def test_networks_vote_by_their_mean_probability(folder, monkeypatch):
    monkeypatch.setattr(classification, "_part", lambda *_: ([np.zeros(3)] * 4, ["a", "b", "b", "a"]))
    given = {0: [0.9, 0.4, 0.1, 0.2], 1: [0.3, 0.55, 0.2, 0.9]}  # probability of "a"; seeds of the second pair

    class Fitted:
        def __init__(self, seed, split_seed):
            assert seed == split_seed
            self.seed, self.n_steps_, self.history_ = seed, 10 * seed, [(1, 0.5)]
            self.classes_ = np.array(["a", "b"])

        def fit(self, *_, **__):
            return self

        def predict_proba(self, _):
            p = np.array(given[self.seed - 6])
            return np.stack([p, 1 - p], axis=1)

    monkeypatch.setattr(classification, "SequenceClassifier", Fitted)
    found = classification.train(classification.Settings("x", networks=2), 3, SILENT)
    # means 0.6, 0.475, 0.15, 0.55: all right; alone: right, right, right, wrong and wrong, wrong, right, right
    assert found.figures == {"accuracy": 100.0, "steps": 65.0, "single": pytest.approx(62.5)}
    assert list(found.curves) == ["network 1", "network 2"]


def test_missing_data_is_named_before_any_work(folder, monkeypatch):
    monkeypatch.setattr(data, "find_spec", lambda _: None)
    with pytest.raises(DataError, match="pip install aeon"):
        EXPERIMENTS["ucr-ACSF1"].train(EXPERIMENTS["ucr-ACSF1"].short, 0, SILENT)
    monkeypatch.setitem(__import__("sys").modules, "mnist1d", None)
    with pytest.raises(DataError, match="pip install mnist1d"):
        classification.read_mnist1d("TRAIN")


def test_the_windows_of_ett_are_those_of_the_published_split():
    settings = EXPERIMENTS["etth1-96"].settings
    values = np.arange(ett.END, dtype=np.float32)[:, None]
    test = ett.windows(values, ett.TEST, ett.END, settings)
    assert test.shape == (2880 - 96 + 1, 720 + 96, 1)
    assert test[0, settings.context, 0] == ett.TEST
    assert test[-1, -1, 0] == ett.END - 1
    learn = ett.windows(values, 0, ett.VALID, settings)
    assert learn[0, 0, 0] == 0
    assert learn[-1, -1, 0] == ett.VALID - 1


def test_the_errors_of_ett_are_means_over_windows_hours_and_columns():
    settings = replace(EXPERIMENTS["etth1-96"].settings, context=8, horizon=4, segment=2)
    cut = torch.randn(300, 12, 3)

    class Persistence(torch.nn.Module):
        def forward(self, x):
            return x[:, -1:].expand(-1, 4, -1)

    mse, mae = ett.errors(Persistence(), cut, settings)
    error = (cut[:, 7:8] - cut[:, 8:]).double().numpy()
    assert mse == pytest.approx((error**2).mean())
    assert mae == pytest.approx(np.abs(error).mean())


def test_segments_follow_the_level_and_know_their_column():
    settings = replace(EXPERIMENTS["etth1-96"].settings, context=8, horizon=6, segment=2, hidden=4)
    torch.manual_seed(0)
    network = ett.Segments(settings, 3).eval()
    x = torch.randn(5, 8, 3)
    y = network(x)
    assert y.shape == (5, 6, 3)
    torch.testing.assert_close(network(x + 100) - 100, y, atol=1e-4, rtol=0)
    torch.testing.assert_close(network(x[2:3]), y[2:3])
    other = x.clone()
    other[:, :, 1] = 0
    torch.testing.assert_close(network(other)[..., [0, 2]], y[..., [0, 2]])
    same = network(x[:, :, :1].expand(-1, -1, 3))
    assert (same[..., 0] - same[..., 1]).abs().max() > 1e-3


def test_the_text_is_split_once_and_scored(folder, monkeypatch):
    monkeypatch.setattr(shakespeare, "SHAKESPEARE", known(folder, "text.txt", b"to be or not to be. " * 260))
    experiment = EXPERIMENTS["tinyshakespeare"]
    found = experiment.train(experiment.short, 0, SILENT)
    assert found.curves["LSTM"].x == [10]
    assert found.figures["nats"] == min(found.curves["LSTM"].y)
    assert 0 < found.figures["nats"] < np.log(256)
