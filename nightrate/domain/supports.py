"""Which sentences of an answer rest on which of its sources, by the words that they share.

No model is asked, so what is said here is what can be seen: a sentence is called supported by a
source that has most of its telling words. The share is given as the confidence.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from nightrate import tool_limits
from nightrate.domain.grounding import Source, Support
from nightrate.domain.words import telling_words

SHARE_MIN: Final = 0.6
"""The share of a sentence's different telling words that a source must have."""

WORDS_MIN: Final = 3
"""A sentence with fewer shares them with anything."""

_SENTENCE = re.compile(r"\S[^\n]*?(?:[.!?]['\")\]*]*(?=\s|$)|[\u3002\uff01\uff1f]|(?=\n)|$)")


def supports_of(text: str, sources: Sequence[Source]) -> tuple[Support, ...]:
    """Give the sentences of an answer that rest on sources, in their order."""
    if not sources:
        return ()
    known = [set(telling_words(f"{source.title} {source.text}")) for source in sources]
    supports: list[Support] = []
    for start_byte, sentence in _sentences(text):
        words = set(telling_words(sentence))
        if len(words) < WORDS_MIN:
            continue
        shares = [len(words & has) / len(words) for has in known]
        rests_on = tuple(index for index, share in enumerate(shares) if share >= SHARE_MIN)
        if rests_on:
            confidences = tuple(round(shares[index], 2) for index in rests_on)
            end_byte = start_byte + len(sentence.encode())
            supports.append(Support(start_byte, end_byte, sentence, rests_on, confidences))
            if len(supports) == tool_limits.SUPPORTS_MAX:
                break
    return tuple(supports)


def _sentences(text: str) -> Iterator[tuple[int, str]]:
    """Give the sentences of a text, each with where it begins in UTF-8."""
    seen, byte = 0, 0
    for found in _SENTENCE.finditer(text):
        byte += len(text[seen : found.start()].encode())
        seen = found.start()
        yield byte, found[0].rstrip()
