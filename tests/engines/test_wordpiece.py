"""Words are cut as the model's own tokenizer cuts them."""

from __future__ import annotations

import pytest

from nightrate.engines.minilm import prepare
from nightrate.engines.packages import cache_directory
from nightrate.engines.wordpiece import WordPieces

PIECES = "[PAD] [UNK] [CLS] [SEP] [MASK] hello world un ##bel ##ievable naive , ! ' t don a 字 σας"


@pytest.fixture(scope="module")
def few() -> WordPieces:
    return WordPieces(f"{piece}\n" for piece in PIECES.split())


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("", ""),
        ("Hello, WORLD!", "hello , world !"),
        ("unbelievable", "un ##bel ##ievable"),
        ("na\u00efve NAI\u0308VE", "naive naive"),
        ("don't", "don ' t"),
        ("hello\tworld\r\n\u00a0a", "hello world a"),
        ("he\u200bl\x00l\ufffdo wor\x07ld", "hello world"),
        ("a字a", "a 字 a"),
        ("unknown helloo " + "hello" * 21, "[UNK] [UNK] [UNK]"),
        ("a[MASK]a [SEP]", "a [MASK] a [SEP]"),
        ("\u03a3\u0391\u03a3", "[UNK]"),
        ("hello\u2014world", "hello [UNK] world"),
        ("\ud800", ""),
    ],
)
def test_a_text_is_cut_into_pieces(few: WordPieces, text: str, pieces: str) -> None:
    names = PIECES.split()
    read = [names[number] for number in few.encode(text)]
    assert read == ["[CLS]", *pieces.split(), "[SEP]"]


@pytest.mark.embedded
@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("Hello, World!", [7592, 1010, 2088, 999]),
        ("unbelievably na\u00efve CAF\u00c9", [4895, 8671, 2666, 3567, 6321, 15743, 7668]),
        ("don't \u2014 stop\u2026", [2123, 1005, 1056, 1517, 2644, 1529]),
        ("\u6f22\u5b57\u304b\u306a", [1904, 100, 1651, 30193]),
        ("a[MASK]b [SEP]", [1037, 103, 1038, 102]),
        ("\u0130stanbul \u03a3\u0391\u03a3", [9960, 1173, 14608, 29733]),
        ("tab\tnew\nline\u200bzero\x00\x7f", [21628, 2047, 2240, 6290, 2080]),
        ("\U0001f600 ok", [100, 7929]),
        ("3.14159%", [1017, 1012, 15471, 28154, 1003]),
        ("\uff41\uff42", [100]),
        (" ", []),
    ],
)
def test_the_numbers_are_those_of_the_reference(text: str, ids: list[int]) -> None:
    _, vocabulary = prepare(cache_directory(None))
    assert WordPieces.from_file(vocabulary).encode(text) == [101, *ids, 102]
