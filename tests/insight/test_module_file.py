"""The file of a module's recording: back as it was, and nothing else."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from gatewright import GatewrightError, look
from gatewright.equations.record import FIELDS
from gatewright.errors import ModelFileError
from gatewright.insight import ModuleRecording
from gatewright.insight.modules import file
from tests.insight.test_modules import NAMES, Around
from tests.support.module_loop import ledger_error, tensors
from tests.support.modules import architectures


@pytest.mark.parametrize("name", NAMES)
def test_a_recording_comes_back_as_it_was(name: str, tmp_path: Path) -> None:
    recording = look(*architectures()[name])
    recording.save(tmp_path / "module")
    loaded = ModuleRecording.load(tmp_path / "module")
    assert list(loaded) == list(recording)
    for ours, theirs in zip(loaded.values(), recording.values(), strict=True):
        assert ours.about == theirs.about
        for (_, a), (_, b) in zip(ours.records(), theirs.records(), strict=True):
            for field in FIELDS:
                np.testing.assert_array_equal(getattr(a, field), getattr(b, field))
        assert ledger_error(ours) < 1e-6
    for a, b in zip(tensors(loaded.predictions), tensors(recording.predictions), strict=True):
        assert torch.equal(a, b)
    with pytest.raises(GatewrightError, match="with its module, got one from a file"):
        loaded.what_if(next(iter(loaded)), ablate={0: [0]})


def test_predictions_of_every_form_come_back(tmp_path: Path) -> None:
    packed = nn.utils.rnn.pack_sequence([torch.ones(2), torch.ones(3)], enforce_sorted=False)
    value: Any = {"a": [torch.ones(2, dtype=torch.bfloat16), None, 3], "b": (packed, "text"), "c": 0.5}
    recording = look(Around(nn.LSTM(3, 4), lambda layer, x: (layer(x), value)[1]), torch.ones(5, 1, 3))
    recording.save(tmp_path / "module")
    loaded = ModuleRecording.load(tmp_path / "module").predictions
    assert loaded["a"][0].dtype == torch.bfloat16
    assert loaded["a"][1:] == [None, 3]
    assert torch.equal(loaded["b"][0].batch_sizes, packed.batch_sizes)
    assert (loaded["b"][1], loaded["c"]) == ("text", 0.5)
    for wrong in (object(), {1: 2}, lambda: 1):
        with pytest.raises(GatewrightError, match="predictions: expected tensors, numbers and texts"):
            dataclasses.replace(recording, predictions=wrong).save(tmp_path / "module")
    assert file.is_module_recording(tmp_path / "module")


def test_damaged_and_foreign_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "module"
    look(*architectures()["policy"]).save(path)
    whole = path.read_bytes()
    size = int.from_bytes(whole[:8], "little")
    header = json.loads(whole[8 : 8 + size])
    for cut in (0, 7, size // 2, len(whole) - 1):
        path.write_bytes(whole[:cut])
        with pytest.raises(ModelFileError):
            ModuleRecording.load(path)
    metadata, held = header.pop("__metadata__"), safetensors.torch.load(whole)
    for key in metadata:
        for value in (None, "{", "[]", "3", '{"tensor": "nothing"}', '{"list": 3}', '{"object": []}'):
            changed = {**metadata, key: value}
            if value is None:
                del changed[key]
            elif (key, value) == ("not_called", "[]"):
                continue
            path.write_bytes(safetensors.torch.save(held, changed))
            with pytest.raises((ModelFileError, GatewrightError)):
                ModuleRecording.load(path)
    for name in held:
        path.write_bytes(
            safetensors.torch.save({key: each for key, each in held.items() if key != name}, metadata)
        )
        with pytest.raises((ModelFileError, GatewrightError)):
            ModuleRecording.load(path)
    path.write_bytes(safetensors.torch.save({**held, "0/more": torch.ones(1)}, metadata))
    with pytest.raises(ModelFileError, match="a recording and nothing else, got one with 'more' too"):
        ModuleRecording.load(path)
    look(nn.LSTM(3, 4), torch.ones(5, 1, 3)).save(path)
    assert not file.is_module_recording(path)
    with pytest.raises(ModelFileError, match="of format 1, got another file"):
        ModuleRecording.load(path)
