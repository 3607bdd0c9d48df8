"""Texts from file to streams, judged by plain loops over characters."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatewright.data.text import (
    TextParts,
    build_vocabulary,
    encode_text,
    read_text,
    split_text,
    streams,
)
from gatewright.data.tokens import decode
from gatewright.errors import DataError, GatewrightError
from gatewright.spec import UNKNOWN

SHAKESPEARE = Path(__file__).parents[3] / "shared" / "data" / "tinyshakespeare.txt"
TEXTS = st.text(st.sampled_from(f"abcß\n\r\0é\u2028\U0001f600{UNKNOWN}"), max_size=30)


@settings(deadline=None)
@given(text=TEXTS.filter(bool))
def test_every_character_of_a_file_is_kept(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("text") / "a.txt"
    for mark in ("", "\ufeff"):
        path.write_bytes((mark + text).encode())
        assert read_text(path) == text
    packed = path.with_name("a.txt.gz")
    packed.write_bytes(gzip.compress(text.encode()))
    assert read_text(packed) == text


@pytest.mark.parametrize(
    ("raw", "got"),
    [
        (b"ab\ncd\n\xfce", "expected UTF-8 text, got byte 0xfc in line 3"),
        (b"\xef\xbb\xbfa\n\xff", "expected UTF-8 text, got byte 0xff in line 2"),  # counted behind the mark
        ("a".encode("utf-16") + b"a", "expected UTF-16 text, as its byte order mark says, got something else"),
        (b"a\n\xe2\x82", "expected UTF-8 text, got byte 0xe2 in line 2"),
        (b"\xed\xa0\x80", "expected UTF-8 text, got byte 0xed in line 1"),  # half a surrogate pair
        (b"", "expected a text, got an empty file"),
        (b"\xef\xbb\xbf", "expected a text, got an empty file"),
    ],
)
def test_a_file_that_is_no_text(tmp_path, raw, got):
    path = tmp_path / "a.txt"
    path.write_bytes(raw)
    with pytest.raises(DataError) as error:
        read_text(path)
    assert str(error.value).startswith(f"{path}: {got}")


def test_a_file_that_cannot_be_read(tmp_path):
    for path, why in {
        tmp_path / "none.txt": "the file does not exist",
        tmp_path: "expected a file, got a directory; name a file in it",
        Path("a\0b.txt"): "its name holds a character that no file name can hold",
    }.items():
        with pytest.raises(DataError) as error:
            read_text(path)
        assert str(error.value) == f"{path}: {why}"


@pytest.mark.parametrize("raw", [b"plain", b"\x1f\x8b\x08", gzip.compress(b"ab" * 99, mtime=0)[:-9], b""])
def test_a_packed_file_that_is_damaged(tmp_path, raw):
    path = tmp_path / "a.txt.gz"
    path.write_bytes(raw)
    with pytest.raises(DataError):
        read_text(path)


@pytest.mark.parametrize(
    ("valid", "test", "sizes"),
    [
        ("0.1", "0.2", (70, 10, 20)),
        ("10", "5", (85, 10, 5)),
        ("1e1", "0.05", (85, 10, 5)),
        ("48", "50", (2, 48, 50)),
    ],
)
def test_the_split_is_in_order(valid, test, sizes):
    text = "".join(chr(33 + i) for i in range(100))
    parts = split_text(text, valid, test)
    assert parts == TextParts(text[: sizes[0]], text[sizes[0] : sizes[0] + sizes[1]], text[-sizes[2] :])


@pytest.mark.parametrize("size", ["x", "", "0", "-1", "1.5", "nan", "inf", "-inf", "1e400", "0.0"])
@pytest.mark.parametrize("name", ["valid", "test"])
def test_a_size_that_cannot_be_read(name, size):
    with pytest.raises(GatewrightError) as error:
        split_text("abc" * 50, **{"valid": "0.1", "test": "0.1", name: size})
    assert error.value.argument == f"--{name}"
    assert error.value.got == repr(size)


@pytest.mark.parametrize(("valid", "test"), [("99", "2"), ("0.5", "0.5"), ("1", "5"), ("5", "1"), ("0.001", "9")])
def test_a_part_that_would_have_nothing_to_predict(valid, test):
    with pytest.raises(
        GatewrightError, match="--valid and --test: expected at least 2 characters left in all"
    ) as e:
        split_text("a" * 100, valid, test)
    assert e.value.got == f"{valid} and {test} of 100"


@settings(deadline=None)
@given(train=TEXTS, later=TEXTS)
def test_symbols_are_numbered_by_the_training_part(train, later):
    vocabulary = build_vocabulary(train)
    symbols = [UNKNOWN, *sorted(set(train) - {UNKNOWN})]
    assert vocabulary.symbols == tuple(symbols)
    expected = [symbols.index(character) if character in symbols else 0 for character in later]
    assert encode_text(later, vocabulary).tolist() == expected
    assert decode(expected, vocabulary) == "".join(c if c in symbols else UNKNOWN for c in later)
    assert decode(encode_text(train, vocabulary).tolist(), vocabulary) == train


@settings(deadline=None)
@given(length=st.integers(0, 40), batch=st.integers(1, 9))
def test_each_stream_goes_on_where_the_one_before_ends(length, batch):
    laid = streams(np.arange(length), batch)
    steps = length // batch
    assert laid.tolist() == [[column * steps + row for column in range(batch)] for row in range(steps)]


@pytest.mark.skipif(not SHAKESPEARE.exists(), reason=f"{SHAKESPEARE} is not there")
def test_shakespeare():
    text = read_text(SHAKESPEARE)
    parts = split_text(text, "0.05", "0.05")
    assert parts.train + parts.valid + parts.test == text
    vocabulary = build_vocabulary(parts.train)
    assert len(text) == 1_115_394
    assert len(vocabulary.symbols) == 1 + len(set(parts.train)) == 66
    assert decode(encode_text(parts.test[:5000], vocabulary).tolist(), vocabulary) == parts.test[:5000]
