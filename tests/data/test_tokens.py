"""Tokens of a text, judged by Python's UTF-8, plain loops, and the package `tokenizers`."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatewright.data.bpe_training import merges_of
from gatewright.data.byte_pairs import PATTERN
from gatewright.data.sources import Text, TextFiles, Texts, digest
from gatewright.data.text import build_vocabulary, byte_sizes, encode_text, read_text, split_text, text_of
from gatewright.data.tokens import decode, tokenizer_of
from gatewright.errors import DataError, GatewrightError, SpecError
from gatewright.spec import BYTE_NAMES, SEPARATOR, UNKNOWN, Vocabulary
from gatewright.spec.vocabulary import LONGEST_TOKEN, MOST_TOKENS, tokens_of

tokenizers = pytest.importorskip("tokenizers")

#: All kinds of characters, and runs that merges, words and limits of words come from.
ODD = st.text(st.sampled_from("aabe  \n\r\t'1.é€\u0301\u00a0\u2028日🙂👩\u200d\0\x1f\x7f\x80"), max_size=80)
ANY = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
BYTES = Vocabulary(BYTE_NAMES, tokens="bytes")
TEXT = "When he wrote what he wrote, 1234 of them\n\nread it: naïve café 日本 日本 🙂🙂 don't \t  no.\n" * 20


@pytest.fixture(scope="module")
def bpe() -> Vocabulary:
    return build_vocabulary(TEXT, "bpe", 400)


def judge(vocabulary: Vocabulary) -> tokenizers.Tokenizer:
    merges = [tuple(merge.split(" ")) for merge in vocabulary.merges]
    numbers = {token: number for number, token in enumerate(vocabulary.own)}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(vocab=numbers, merges=merges))
    words = tokenizers.pre_tokenizers.Split(tokenizers.Regex(PATTERN), "isolated")
    whole = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Sequence([words, whole])
    return tokenizer


def test_names_of_bytes_are_those_of_the_package():
    assert sorted(BYTE_NAMES) == sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    whole = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    for character in ("A", "\n", "é", "\0", "🙂"):
        [(name, _)] = whole.pre_tokenize_str(character)
        assert name == "".join(BYTE_NAMES[byte] for byte in character.encode())


@settings(deadline=None)
@given(text=ODD | ANY)
def test_the_tokens_of_any_text_are_those_of_the_package(bpe, text):
    numbers = encode_text(text, bpe)
    assert numbers.tolist() == judge(bpe).encode(text).ids
    assert decode(numbers.tolist(), bpe) == text
    assert byte_sizes(text, bpe).sum() == len(text.encode())


@pytest.mark.skipif(
    not (SHAKESPEARE := Path(__file__).parents[3] / "shared" / "data" / "tinyshakespeare.txt").exists(),
    reason="the text is not there",
)
def test_the_tokens_of_shakespeare_are_those_of_the_package():
    text = read_text(SHAKESPEARE)[:200_000]
    vocabulary = build_vocabulary(text[:100_000], "bpe", 1000)
    assert len(vocabulary.symbols) == 1000
    numbers = encode_text(text, vocabulary)
    assert numbers.tolist() == judge(vocabulary).encode(text).ids
    assert len(numbers) < len(text) / 2


def test_what_merges_first_is_what_occurs_most_often():
    assert merges_of(["abab abab"], 258)[0] == "a b"
    assert merges_of(["xyz"], 300) == ()  # nothing comes twice


@settings(deadline=None)
@given(text=ODD | ANY)
def test_bytes_are_those_of_utf_8(text):
    assert encode_text(text, BYTES).tolist() == list(text.encode())
    assert decode(text.encode(), BYTES) == text
    assert (byte_sizes(text, BYTES) == 1).all()


@settings(deadline=None)
@given(raw=st.binary(min_size=1, max_size=40))
def test_any_file_is_bytes(tmp_path_factory, raw):
    path = tmp_path_factory.mktemp("bytes") / "a.bin"
    path.write_bytes(raw)
    text = read_text(path, raw=True)
    assert encode_text(text, BYTES).tolist() == list(raw)
    # Cut between any two characters, it is still the same bytes.
    assert b"".join(bytes(encode_text(c, BYTES).tolist()) for c in text) == raw


@settings(deadline=None)
@given(text=ODD | ANY, extra=st.binary(max_size=5))
def test_a_decoder_gives_whole_characters_and_replaces_at_the_end(text, extra):
    decoder = tokenizer_of(BYTES).decoder()
    pieces = [decoder.add(byte) for byte in text.encode()]
    assert "".join(pieces) == text
    for end, piece in enumerate(pieces, 1):  # a character comes with its last byte, not before
        assert "".join(pieces[:end]) == text.encode()[:end].decode("utf-8", "ignore"), piece
    assert decoder.end() == ""
    whole = text.encode() + extra
    assert decode(whole, BYTES) == whole.decode("utf-8", "replace")


def test_half_of_a_surrogate_pair_is_refused(bpe):
    for vocabulary in (BYTES, bpe):
        with pytest.raises(DataError, match="half of a surrogate pair at character 2"):
            encode_text("ab\ud800", vocabulary)
    with pytest.raises(DataError, match="half of a surrogate pair"):
        encode_text("\udcff", bpe)  # a byte of a file that is no text


def test_characters_have_the_sizes_of_utf_8():
    text = "aé€🙂\n"
    vocabulary = build_vocabulary("ab\n")
    assert byte_sizes(text, vocabulary).tolist() == [len(c.encode()) for c in text]


def test_names_are_what_a_person_reads(bpe):
    names = tokenizer_of(bpe).names
    assert names[ord("a")] == "a"
    assert names[0xE6] == "\\xe6"
    assert " he" in names
    assert all(name.encode() == bytes(encode_text(name, BYTES).tolist()) for name in names)


DOCUMENTS = ("abcd", "ef", "ghi", "j")


@pytest.mark.parametrize(("train", "valid"), list(itertools.combinations((2, 3, 4, 5, 6, 8), 2)))
def test_documents_are_split_by_position_and_end_once(train, valid):
    whole = text_of(Texts(DOCUMENTS))
    valid, test = valid - train, 10 - valid
    if min(valid, test) < 2:
        pytest.skip("a part would have one character")
    parts = split_text(whole, str(valid), str(test))
    vocabulary = build_vocabulary(whole)
    end = len(vocabulary.symbols) - 1
    numbers = [encode_text(part, vocabulary).tolist() for part in (parts.train, parts.valid, parts.test)]
    assert list(itertools.chain(*numbers)) == encode_text(whole, vocabulary).tolist()
    letters = [[number for number in part if number != end] for part in numbers]
    assert [len(part) for part in letters] == [train, valid, test]
    expected = [number for letter in DOCUMENTS for number in [*encode_text(letter, vocabulary).tolist(), end]]
    assert list(itertools.chain(*numbers)) == expected
    assert byte_sizes(whole, vocabulary).sum() == 10
    # The end of a document belongs to the part that has its last character.
    assert not any(part[:1] == [end] for part in numbers)


def test_documents_need_a_model_of_documents():
    with pytest.raises(DataError, match="documents: expected one, got 2, and a model that was trained on one"):
        encode_text(text_of(Texts(("ab", "ba"))), build_vocabulary("ab"))


def test_files_come_by_name_and_directories_with_all_their_texts(tmp_path):
    for name, content in {
        "b.txt": "bb",
        "a.txt": "aa",
        "c/z.txt": "zz",
        "c/d/y.TXT": "yy",
        "c/empty.txt": "",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    for hidden in ("c/.x.txt", "c/.git/x.txt", "c/table.csv"):
        (tmp_path / hidden).parent.mkdir(exist_ok=True)
        (tmp_path / hidden).write_text("hidden")
    files = TextFiles((tmp_path / "c", tmp_path / "b.txt", tmp_path / "a.txt"))
    assert text_of(files) == ("aa", "bb", "yy", "zz", "")
    # The digest is that of the same texts in memory, in this order.
    assert digest(files) == digest(Texts(("aa", "bb", "yy", "", "zz")))
    assert digest(files) != digest(Texts(("aa", "bb", "yyzz", "")))
    with pytest.raises(DataError, match=r"expected each file once, got .*a\.txt twice"):
        TextFiles((tmp_path, tmp_path / "a.txt")).files()
    (tmp_path / "e").mkdir()
    with pytest.raises(DataError, match=r"a directory with files that end in \.txt or \.txt\.gz, got none"):
        TextFiles((tmp_path / "e",)).files()
    (tmp_path / "e" / "a.py").write_text("pass")
    with pytest.raises(DataError, match=r"got files that end in '\.py'; name them"):
        TextFiles((tmp_path / "e",)).files()
    with pytest.raises(DataError, match="the file does not exist"):
        TextFiles((tmp_path / "none.txt", tmp_path / "a.txt")).files()


def test_a_text_of_documents_without_a_character_is_refused():
    with pytest.raises(DataError, match="documents without a character"):
        text_of(Texts(("", "")))
    with pytest.raises(DataError, match="text 1: expected text that UTF-8 can write"):
        text_of(Texts(("a", "\ud800")))
    assert text_of(Text("ab")) == "ab"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"symbols": ("a",)}, "as symbol 0"),
        ({"symbols": (UNKNOWN, "a"), "separator": True}, f"expected '{SEPARATOR}' at the end"),
        ({"symbols": (UNKNOWN, "a", "ab", SEPARATOR), "separator": True}, "single characters"),
        ({"symbols": (UNKNOWN, "a", SEPARATOR)}, "single characters"),
        ({"symbols": (UNKNOWN, "a"), "merges": ("a a",)}, "none for characters"),
        ({"symbols": (UNKNOWN, "a"), "tokens": "words"}, "one of characters, bytes, bpe"),
        ({"symbols": BYTE_NAMES[:-1], "tokens": "bytes"}, "the names of the 256 bytes"),
        ({"symbols": BYTE_NAMES[::-1], "tokens": "bytes"}, "the names of the 256 bytes"),
        ({"symbols": (*BYTE_NAMES, "ab"), "tokens": "bytes"}, "the names of the 256 bytes"),
        ({"symbols": (*BYTE_NAMES, "ab"), "tokens": "bpe"}, "the 256 tokens that the merges make"),
        ({"symbols": (*BYTE_NAMES, "ab"), "tokens": "bpe", "merges": ("a c",)}, "the 257 tokens that the"),
        ({"symbols": (*BYTE_NAMES, "abc"), "tokens": "bpe", "merges": ("ab c",)}, "two tokens of earlier merges"),
        ({"symbols": (*BYTE_NAMES, "ab"), "tokens": "bpe", "merges": ("ab",)}, "two tokens of earlier merges"),
        ({"symbols": (*BYTE_NAMES, "ab"), "tokens": "bpe", "merges": ("a b",) * 2}, "no merge twice"),
    ],
)
def test_a_vocabulary_that_does_not_fit_together_is_refused(fields, message):
    with pytest.raises(SpecError, match=message):
        Vocabulary(**fields)


def test_tokens_have_a_longest_length_and_a_greatest_number():
    doubling, token = [], "a"
    for _ in range(9):
        doubling.append(f"{token} {token}")
        token *= 2
    assert len(tokens_of(tuple(doubling[:-1]))[-1]) == LONGEST_TOKEN
    with pytest.raises(SpecError, match="tokens of at most 256 bytes"):
        tokens_of(tuple(doubling))
    merges = tuple(f"{a} {b}" for a in BYTE_NAMES for b in BYTE_NAMES) * 5
    with pytest.raises(SpecError, match=f"at most {2 * (MOST_TOKENS - 256)}"):
        Vocabulary(BYTE_NAMES, tokens="bpe", merges=merges)


def test_one_token_may_come_of_two_merges():
    """Then its pairs may be ranked before the merge that makes it; the package is the judge of the order."""
    merges = ("a b", "ab c", "b c", "a bc", "abc d")
    vocabulary = Vocabulary(tokens_of(merges), tokens="bpe", merges=merges)
    assert len(vocabulary.symbols) == 256 + 4
    package = judge(vocabulary)
    for letters in itertools.product("abcd", repeat=6):
        text = "".join(letters)
        assert encode_text(text, vocabulary).tolist() == package.encode(text).ids


def test_json_of_a_vocabulary_of_characters_is_what_it_was(bpe):
    assert Vocabulary((UNKNOWN, "a")).to_json() == '{"symbols":["\\ufffd","a"]}'
    assert Vocabulary((UNKNOWN, "a")).version() == 0
    for vocabulary in (BYTES, bpe, Vocabulary((UNKNOWN, "a", SEPARATOR), separator=True)):
        assert Vocabulary.from_json(vocabulary.to_json()) == vocabulary
        assert vocabulary.version() == 4


def test_the_package_is_needed_to_find_merges_only(monkeypatch, bpe):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(GatewrightError, match=r"pip install 'gatewright\[bpe\]'"):
        build_vocabulary(TEXT, "bpe", 300)
    assert decode(encode_text(TEXT, bpe).tolist(), bpe) == TEXT
    assert np.array_equal(encode_text("ab", BYTES), [97, 98])
