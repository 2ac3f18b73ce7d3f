"""Words that steer a model, such as those which end a turn, kept plain in the text of a client.

A client must not be able to end its turn and speak as the system. A tokenizer reads such a word as
one token wherever it stands; so a word in a client's text is cut in two before it is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any


def mark_for(texts: Iterable[str], words: Sequence[str]) -> str:
    """Give a character that no text has, if a text has a control word in it; else nothing."""
    whole = "".join(texts)
    if not any(word in whole for word in words):
        return ""
    return character_beside(whole)


def character_beside(text: str) -> str:
    """Give a character of those that mean nothing by themselves, which a text does not have."""
    return next(mark for mark in map(chr, range(0xE000, 0xF8FF)) if mark not in text)


def defused(text: str, mark: str, words: Sequence[str]) -> str:
    """Mark where control words in a client's text are cut, so that they stay plain text."""
    if mark:
        for word in words:
            text = text.replace(word, word[0] + mark + word[1:])
    return text


def texts_in(value: object) -> Iterator[str]:
    """Give all texts of a value as JSON has it, names of members among them."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, member in value.items():
            yield name
            yield from texts_in(member)
    elif isinstance(value, list):
        for item in value:
            yield from texts_in(item)


def all_defused(value: Any, mark: str, words: Sequence[str]) -> Any:
    """Mark where control words are cut in all texts of a value as JSON has it."""
    if not mark:
        return value
    if isinstance(value, str):
        return defused(value, mark, words)
    if isinstance(value, dict):
        return {
            defused(name, mark, words): all_defused(member, mark, words)
            for name, member in value.items()
        }
    if isinstance(value, list):
        return [all_defused(item, mark, words) for item in value]
    return value
