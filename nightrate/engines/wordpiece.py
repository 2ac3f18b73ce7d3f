"""Words cut into the pieces of a vocabulary, as BERT's models read them (lower case).

The library that does this for others brings twenty packages along; the rules are few. Tests hold
them against token ids that it gave.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Final

_BEGIN, _END, _UNKNOWN = "[CLS]", "[SEP]", "[UNK]"
_SPECIAL: Final = re.compile(r"(\[(?:PAD|UNK|CLS|SEP|MASK)\])")
"""A vocabulary's own marks; in a text they stand for themselves."""

_WORD_CHARACTERS_MAX = 100
"""A longer word is unknown as a whole."""

_WORDS_REMEMBERED = 1 << 16

_IDEOGRAPHS: Final = (
    (0x4E00, 0x9FFF),
    (0x3400, 0x4DBF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    (0x2B920, 0x2CEAF),
    (0xF900, 0xFAFF),
    (0x2F800, 0x2FA1F),
)
"""Each of these characters is a word."""


class WordPieces:
    """Cuts texts by one vocabulary: one piece a line, numbered from 0."""

    def __init__(self, vocabulary: Iterable[str]) -> None:
        self._ids = {piece.rstrip("\n"): number for number, piece in enumerate(vocabulary)}
        self._unknown = self._ids[_UNKNOWN]
        self.begin, self.end = self._ids[_BEGIN], self._ids[_END]
        self._pieces = lru_cache(_WORDS_REMEMBERED)(self._cut)

    @classmethod
    def from_file(cls, path: Path) -> WordPieces:
        """Read a vocabulary."""
        with path.open(encoding="utf-8") as file:
            return cls(file)

    def encode(self, text: str) -> list[int]:
        """Give the numbers of a text's pieces, between the marks of its beginning and its end."""
        ids = [self.begin]
        for run in _SPECIAL.split(text):
            if _SPECIAL.fullmatch(run):
                ids.append(self._ids[run])
            else:
                for word in _words(run):
                    ids += self._pieces(word)
        ids.append(self.end)
        return ids

    def _cut(self, word: str) -> tuple[int, ...]:
        """Cut a word: from the left, the longest piece that is known each time."""
        if len(word) > _WORD_CHARACTERS_MAX:
            return (self._unknown,)
        pieces: list[int] = []
        start = 0
        while start < len(word):
            mark = "##" if start else ""
            for stop in range(len(word), start, -1):
                number = self._ids.get(mark + word[start:stop])
                if number is not None:
                    break
            else:
                return (self._unknown,)
            pieces.append(number)
            start = stop
        return tuple(pieces)


def _words(text: str) -> list[str]:
    """Clean a text, take accents and capitals away, and split it at spaces and punctuation."""
    if not text.isascii():
        cleaned = "".join(map(_cleaned, text))
        plain = unicodedata.normalize("NFD", cleaned)
        # One by one: the lower case of a Σ at the end of a word would be another letter.
        text = "".join(char.lower() for char in plain if unicodedata.category(char) != "Mn")
    return "".join(map(_apart, text.lower())).split()


@lru_cache(1 << 16)
def _cleaned(char: str) -> str:
    """Drop what nobody sees, and put space around ideographs."""
    if char in "\t\n\r":
        return " "
    if char in "\x00\ufffd" or unicodedata.category(char) in {"Cc", "Cf", "Co", "Cs"}:
        return ""
    if any(first <= ord(char) <= last for first, last in _IDEOGRAPHS):
        return f" {char} "
    return char


@lru_cache(1 << 16)
def _apart(char: str) -> str:
    """Put space around punctuation, and take control characters out."""
    code = ord(char)
    if code < 0x80:  # noqa: PLR2004 - the end of ASCII
        if char.isalnum() or char == " ":
            return char
        if char in "\t\n\r":
            return " "
        return f" {char} " if 0x20 < code < 0x7F else ""  # noqa: PLR2004 - what prints
    return f" {char} " if unicodedata.category(char).startswith("P") else char
