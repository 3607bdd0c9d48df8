"""Files of sLSTM models: what a reader takes, and what it rejects by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from gatewright import Stream
from gatewright.errors import GatewrightError
from gatewright.files.model_file import read
from tests.support.model_files import SLSTM, content, fingerprint, parsed, raw

#: The cell of the file, two layers of four units.
CELL = '"kind":"slstm"'


def changed(old: str, new: str) -> bytes:
    """The file with another specification, and the fingerprint that fits it."""
    header, data = parsed(content(SLSTM))
    metadata = header["__metadata__"]
    assert metadata["spec"].count(old) == 1, metadata["spec"]
    metadata["spec"] = metadata["spec"].replace(old, new)
    metadata["sha256"] = fingerprint(header, data)
    return raw(header, data)


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ('"heads":2', '"heads":3', "heads: expected a number that divides 4 units, got 3"),
        ('"heads":2', '"heads":2.0', "heads"),
        ('"heads":2', '"heads":1', "metadata.spec: .*means the same"),  # left out at the default
        ('"heads":2,', "", "weight_hh_l0.*shape"),
        ('"heads":2', '"heads":4', "weight_hh_l0.*shape"),
        (f",{CELL}", "", "heads: expected 1 without kind='slstm'"),
        (CELL, '"kind":"lstm"', "kind"),
        (CELL, '"kind":"gru"', "kind"),
        (CELL, f'{CELL},"peephole":true', "peephole"),
        (CELL, f'{CELL},"cell_clip":2.0', "cell_clip"),
        ('"forget_gate_activation":"exponential"', '"forget_gate_activation":"sigmoid"', "means the same"),
    ],
)
def test_what_does_not_fit_an_slstm_is_rejected(old: str, new: str, match: str, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(changed(old, new))
    for use in (read, Stream.load):
        with pytest.raises(GatewrightError, match=match):
            use(path)


def test_a_stream_of_the_file_reads_the_activation_of_the_forget_gate(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    outputs = []
    for old, new in ((CELL, CELL), (',"forget_gate_activation":"exponential"', "")):
        path.write_bytes(changed(old, new))
        stream = Stream.load(path)
        outputs.append(stream.run([1, 2, 1, 1]))
        assert stream.state().cell.shape == (2, 12)
    assert (outputs[0] != outputs[1]).any()
