"""Words that steer a model, such as those which end a turn, kept plain in the text of a client.

A client must not be able to end its turn and speak as the system. A tokenizer reads such a word as
one token wherever it stands; so a word in a client's text is cut in two before it is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def plain_turns(
    turns: Sequence[tuple[str, str]], words: Sequence[str]
) -> tuple[list[tuple[str, str]], str]:
    """Mark control words in the texts of a conversation.

    Returns:
        the roles and texts, and the mark at which the rendered text is to be cut; empty if there is
        nothing to cut.
    """
    mark = mark_for((text for _, text in turns), words)
    return [(role, defused(text, mark, words)) for role, text in turns], mark


def mark_for(texts: Iterable[str], words: Sequence[str]) -> str:
    """Give a character that no text has, if a text has a control word in it; else nothing."""
    whole = "".join(texts)
    if not any(word in whole for word in words):
        return ""
    return next(mark for mark in map(chr, range(0xE000, 0xF8FF)) if mark not in whole)


def defused(text: str, mark: str, words: Sequence[str]) -> str:
    """Mark where control words in a client's text are cut, so that they stay plain text."""
    if mark:
        for word in words:
            text = text.replace(word, word[0] + mark + word[1:])
    return text
