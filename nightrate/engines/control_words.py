"""Words that mean something to a model's template, kept plain text where a client writes them.

A client must not be able to end its turn and speak as the system.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

_PRIVATE = range(0xE000, 0xF8FF)
"""Characters that mean nothing to anybody."""


def mark_for(texts: Iterable[str], control: Sequence[str]) -> str:
    """Give a character that no text has, if a text has a control word in it; else nothing."""
    whole = "".join(texts)
    if not any(word in whole for word in control):
        return ""
    return next(mark for mark in map(chr, _PRIVATE) if mark not in whole)


def defused(text: str, control: Sequence[str], mark: str) -> str:
    """Mark where control words are cut, so that each piece is read as plain text."""
    if mark:
        for word in control:
            text = text.replace(word, word[0] + mark + word[1:])
    return text
