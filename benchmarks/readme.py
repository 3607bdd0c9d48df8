"""Tables of whole sequences in Markdown, from what ``--json`` writes: ``python -m benchmarks.readme FILE``."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.contenders import (
    FORWARD,
    OPENVINO,
    OPENVINO_BF16,
    ORT,
    OURS,
    OURS_BF16,
    OURS_BF16_SAVING_FLOAT32,
    TORCH,
    TORCH_AUTOCAST,
    TORCH_BF16,
    TRAINING,
)
from benchmarks.settings import counted

#: Columns, ours before those that it is held against.
ORDER = (
    OURS, TORCH, ORT, OPENVINO,
    OURS_BF16, OURS_BF16_SAVING_FLOAT32, TORCH_BF16, TORCH_AUTOCAST, OPENVINO_BF16,
)  # fmt: skip
HEADINGS = {
    OURS: "ours", ORT: "ONNX Runtime", OPENVINO: "OpenVINO",
    OURS_BF16: "ours, bf16", OURS_BF16_SAVING_FLOAT32: "ours, bf16, float32 saved", OPENVINO_BF16: "OpenVINO bf16",
}  # fmt: skip


def page(figures: dict[str, Any]) -> str:
    """Return the tables of the most threads that were measured, and a line about machine, date and versions."""
    rows = [row for row in figures["cases"] if "forward" in row]
    threads = max(row["threads"] for row in rows)
    rows = [row for row in rows if row["threads"] == threads]
    [means] = [
        row["geometric_means"] for row in figures["cases"] if "forward" not in row and row["threads"] == threads
    ]
    versions = ", ".join(
        f"{name} {figures['versions'][name]}"
        for name in ("torch", "onnxruntime", "openvino")
        if figures["versions"][name] != "not installed"
    )
    about = (
        f"{figures['processor']} ({', '.join(figures['instructions'])}), {figures['cores']} cores, "
        f"{counted(threads)}, {figures['date'][:10]}, {versions}; milliseconds, medians of interleaved rounds."
    )
    return "\n\n".join(
        [
            about,
            "Forward:\n\n" + table(rows, FORWARD),
            "Training step; share: multiply-add rate of ours in float32 over the maximum of the cores:\n\n"
            + table(rows, TRAINING),
            "Geometric means: " + ", ".join(f"{what} {mean:.2f}" for what, mean in means.items()) + ".",
        ]
    )


def table(rows: Sequence[dict[str, Any]], passed: str) -> str:
    """Return the table of one pass, a column for each contender that was measured."""
    names = [name for name in ORDER if name in rows[0][passed]["ms"]]
    heads = ["case", "T, B, D, H", *(HEADINGS.get(name, name) for name in names)]
    lines = []
    for row in rows:
        ms = row[passed]["ms"]
        sizes = ", ".join(str(row[size]) for size in "TBDH")
        times = [
            f"**{_written(ms[name])}**" if name in (OURS, OURS_BF16) else _written(ms[name]) for name in names
        ]
        share = [f"{row[passed]['fraction_of_peak']:.0%}"] if passed == TRAINING else []
        lines.append([row["name"], sizes, *times, *share])
    if passed == TRAINING:
        heads.append("share")
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [heads, ["---"] * len(heads), *lines])


def _written(ms: float) -> str:
    """Return milliseconds with three digits, and no exponent.

    >>> [_written(ms) for ms in (0.9734, 9.95, 104.6, 1034.4)]
    ['0.973', '9.95', '105', '1034']
    """
    return f"{ms:.0f}" if ms >= 100 else f"{ms:.3g}"


if __name__ == "__main__":
    print(page(json.loads(Path(sys.argv[1]).read_text())))
