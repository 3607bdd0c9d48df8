"""The engines that are timed next to each other, each in a process of its own."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from importlib.util import find_spec
from typing import NamedTuple

import gatewright

FORWARD, TRAINING = "forward", "training"

OURS, TORCH, ORT, OPENVINO = "gatewright", "torch", "onnxruntime", "openvino"
OURS_BF16, OURS_BF16_SAVING_FLOAT32 = "gatewright bf16", "gatewright bf16, float32 saved"
TORCH_BF16, TORCH_AUTOCAST, OPENVINO_BF16 = "torch bf16", "torch autocast bf16", "openvino bf16"


class Contender(NamedTuple):
    """An engine and how it computes.

    Attributes:
        name: its key in figures.
        heading: of its column.
        passes: `FORWARD`, `TRAINING` (forward and backward), or both.
        bf16: whether products are of bfloat16.
        packages: what has to be installed for it.
        options: arguments of our layer.
    """

    name: str
    heading: str
    passes: tuple[str, ...]
    bf16: bool = False
    packages: tuple[str, ...] = ()
    options: tuple[tuple[str, str], ...] = ()


#: torch comes first: its float32 results judge everyone else's.
CONTENDERS = (
    Contender(TORCH, "torch", (FORWARD, TRAINING)),
    Contender(OURS, "ours", (FORWARD, TRAINING)),
    Contender(ORT, "ORT", (FORWARD,), packages=("onnx", "onnxruntime")),
    Contender(OPENVINO, "OpenVINO", (FORWARD,), packages=("onnx", "openvino")),
    Contender(OURS_BF16, "ours", (FORWARD, TRAINING), bf16=True, options=(("compute", "bf16"), ("saved", "bf16"))),
    Contender(
        OURS_BF16_SAVING_FLOAT32,
        "f32 saved",
        (TRAINING,),
        bf16=True,
        options=(("compute", "bf16"), ("saved", "float32")),
    ),
    Contender(TORCH_BF16, "torch", (FORWARD, TRAINING), bf16=True),
    Contender(TORCH_AUTOCAST, "autocast", (FORWARD, TRAINING), bf16=True),
    Contender(OPENVINO_BF16, "OpenVINO", (FORWARD,), bf16=True, packages=("onnx", "openvino")),
)

BY_NAME = {contender.name: contender for contender in CONTENDERS}


def reason_to_leave_out(contender: Contender) -> str:
    """Return why a contender cannot be measured here, or nothing if it can."""
    missing = [package for package in contender.packages if find_spec(package) is None]
    if missing:
        return f"{' and '.join(missing)} not installed (pip install 'gatewright[bench]')"
    known = inspect.signature(gatewright.LSTM).parameters
    unknown = [name for name, _ in contender.options if name not in known]
    return f"gatewright.LSTM has no argument {' and no '.join(unknown)}" if unknown else ""


def available(contenders: Iterable[Contender] = CONTENDERS) -> tuple[tuple[Contender, ...], dict[str, str]]:
    """Return the contenders that can be measured here, and why the others cannot, by name."""
    reasons = {contender: reason_to_leave_out(contender) for contender in contenders}
    chosen = tuple(contender for contender, reason in reasons.items() if not reason)
    return chosen, {contender.name: reason for contender, reason in reasons.items() if reason}
