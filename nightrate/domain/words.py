"""The words of a text, and which of them tell something."""

from __future__ import annotations

import re
from typing import Final

_WORD = re.compile(r"\w+")

STOP_WORDS: Final = frozenset(
    (
        *("a", "about", "an", "and", "are", "as", "at", "be", "been", "but", "by", "can", "could"),
        *("did", "do", "does", "for", "from", "give", "had", "has", "have", "he", "her", "his"),
        *("how", "i", "if", "in", "into", "is", "it", "its", "me", "my", "of", "on", "or", "our"),
        *("please", "she", "should", "so", "tell", "than", "that", "the", "their", "them", "then"),
        *("there", "these", "they", "this", "to", "us", "was", "we", "were", "what", "when"),
        *("where", "which", "who", "whom", "whose", "why", "will", "with", "would", "you", "your"),
    )
)
"""Words that nearly every English text has: to find them says nothing."""


def all_words(text: str) -> list[str]:
    """Give the words of a text in its order, in small letters."""
    return _WORD.findall(text.lower())


def telling_words(text: str) -> list[str]:
    """Give those that not every text has."""
    return [word for word in all_words(text) if word not in STOP_WORDS]
