"""What of an unfinished answer is certain: no later token can change it or take it back."""

from __future__ import annotations

from collections.abc import Sequence

_UNFINISHED = "\ufffd"
"""What some tokenizers decode the first bytes of a character to."""


def cut(text: str, stops: Sequence[str]) -> tuple[str, bool]:
    """Cut a text before its first stop sequence, and tell whether it had one."""
    ends = [at for stop in stops if (at := text.find(stop)) >= 0]
    return (text[: min(ends)], True) if ends else (text, False)


def certain(text: str, stops: Sequence[str]) -> str:
    """Give the beginning of an unfinished text that stays, whatever follows.

    Held back are characters that are not whole yet, and what may become a stop sequence. White
    space waits too: some tokenizers take it away before a full stop.
    """
    text = text.rstrip(_UNFINISHED)
    end = len(cut(text, stops)[0])
    for stop in stops:
        for size in range(min(len(stop) - 1, len(text)), 0, -1):
            if text.endswith(stop[:size]):
                end = min(end, len(text) - size)
                break
    return text[:end].rstrip()
