"""Long texts that many conversations have, such as a cached content, cut into tokens once.

A tokenizer reads a control word, such as the one that begins a turn, as one token wherever it
stands; so most give the same tokens for a conversation and for its turns one after the other. Not
all do, some put a space before every text: `sound_cuts` tries it with the tokenizer at hand.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

from nightrate import limits

Ids = TypeVar("Ids")
"""Token ids as an engine has them: a list, or an array of one dimension."""

_REMEMBERED_CHARACTERS_MIN = 1024
"""Shorter texts are cut faster than they are looked up with their neighbours."""

_BEFORE = "a", "a ", "a\n", "a\n\n", ".", "é", " "
_AFTER = "user\na", " b", "1"


class TokenMemory(Generic[Ids]):
    """Cuts rendered conversations into tokens, and keeps those of long turns.

    Args:
        encode: gives the token ids of a text.
        cuts: words before which a text may be cut; see `sound_cuts`.
        characters_max: how long the texts that it keeps are together; those used last stay.
    """

    def __init__(
        self,
        encode: Callable[[str], Ids],
        cuts: Iterable[str],
        characters_max: int = limits.TOKENS_HELD_CHARACTERS_MAX,
    ) -> None:
        self._encode = encode
        words = "|".join(map(re.escape, cuts))
        self._cut = re.compile(f"(?={words})") if words else None
        self._characters_max = characters_max
        self._held: dict[str, Ids] = {}
        """By text, the one that was used last at the end."""
        self._held_characters = 0

    def parts(self, text: str) -> list[Ids]:
        """Give the token ids of a rendered text, in parts."""
        if self._cut is None or len(text) < _REMEMBERED_CHARACTERS_MIN:
            return [self._encode(text)]
        found: list[Ids] = []
        short = ""
        for turn in self._cut.split(text):
            if len(turn) < _REMEMBERED_CHARACTERS_MIN:
                short += turn
                continue
            if short:
                found.append(self._encode(short))
                short = ""
            found.append(self._remembered(turn))
        return [*found, self._encode(short)] if short else found

    def _remembered(self, turn: str) -> Ids:
        ids = self._held.pop(turn, None)
        if ids is None:
            ids = self._encode(turn)
            self._held_characters += len(turn)
        self._held[turn] = ids
        while self._held_characters > self._characters_max:
            oldest = next(iter(self._held))
            del self._held[oldest]
            self._held_characters -= len(oldest)
        return ids


def sound_cuts(encode: Callable[[str], Any], words: Iterable[str]) -> list[str]:
    """Find the words before which a cut changes no token, as far as trying tells."""
    return [word for word in words if _is_sound(encode, word)]


def _is_sound(encode: Callable[[str], Any], word: str) -> bool:
    # Also after a control word: a turn may end with one, or with one and a line break.
    starts = [start for before in _BEFORE for start in (before, f"a{word}{before}")]
    first = {start: list(encode(start)) for start in starts}
    then = {after: list(encode(word + after)) for after in _AFTER}
    return all(
        list(encode(start + word + after)) == first[start] + then[after]
        for start in starts
        for after in _AFTER
    )
