"""The file of a plain RNN, and that of a recording: damaged, or something else in their place."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from gatewright.errors import ModelFileError
from gatewright.insight import recording_file
from gatewright.train import plain_rnn
from tests.support.small_models import language_model

CHANGES: dict[str, Callable[[Tensor], Tensor]] = {
    "shortened": lambda value: value[:-1],
    "in float64": lambda value: value.double(),
    "in bfloat16": lambda value: value.bfloat16(),
    "in whole numbers": lambda value: value.long(),
    "NaN": lambda value: torch.full_like(value, torch.nan),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_damaged_tensor_is_named(tmp_path: Path, change: str) -> None:
    model, path = language_model(), tmp_path / "plain_rnn.safetensors"
    plain_rnn.save(path, plain_rnn.PlainModel(model))
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    tensors = load_file(path)
    for name in ("rnn.weight_hh_l0", "head.bias"):
        save_file({**tensors, name: CHANGES[change](tensors[name])}, path, metadata)
        with pytest.raises(ModelFileError, match=f"{name}'?: expected finite numbers of shape .* in float32, got"):
            plain_rnn.load(path, model)
    save_file(tensors, path, metadata)
    assert torch.equal(plain_rnn.load(path, model).state_dict()["head.bias"], tensors["head.bias"])


def test_a_named_pipe_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with pytest.raises(ModelFileError, match="a named pipe"):
        plain_rnn.load(path, language_model())
    with pytest.raises(ModelFileError, match="a named pipe"):
        recording_file.read(path)
    assert not recording_file.is_recording(path)
