"""Which prompts begin alike, and the order in which an engine that reuses beginnings gains most.

A beginning is told by marks: one for a cached content, if there is one, and one for each whole
piece of text, each of which says all that came before it too. So prompts that share so many marks
share so many pieces, and sorting by the marks brings them together at every depth: all that have
one instruction, and among these all that ask of one document.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from msgspec import json

from nightrate.domain.generation import Prompt
from nightrate.domain.medium import Medium, media_of_turn, pieces_of

PIECE_CHARACTERS = 512
"""About 128 tokens: what engines compare beginnings by; less is not worth a change of order."""

_MARK_BYTES = 8
_MEDIUM_BYTES = 32
_PIECES_MAX = 256
"""Pieces that are compared: 2 KiB of marks a prompt at most."""


def beginning_of(prompt: Prompt) -> bytes:
    """Give the marks of a prompt's beginning; none if it is too short to be shared."""
    told = hashlib.blake2b(digest_size=_MARK_BYTES)
    marks = []
    if prompt.cache is not None:
        told.update(prompt.cache.encode())
        marks.append(told.digest())
    functions = b"" if prompt.calling is None else json.encode(prompt.calling.functions)
    said = [message.role + message.words for message in prompt.messages]
    if prompt.media:
        _mark(said, prompt)
    text = "\0".join((functions.decode(), prompt.system or "", *said))
    whole = min(len(text) // PIECE_CHARACTERS, _PIECES_MAX) * PIECE_CHARACTERS
    for start in range(0, whole, PIECE_CHARACTERS):
        told.update(text[start : start + PIECE_CHARACTERS].encode(errors="surrogatepass"))
        marks.append(told.digest())
    return b"".join(marks)


def _mark(said: list[str], prompt: Prompt) -> None:
    """Put a piece for each medium into what was said, where it stands: other bytes, other piece."""
    for turn in dict.fromkeys(medium.turn for medium in prompt.media):
        message = prompt.messages[turn]
        rest = said[turn][len(message.role) + len(message.text) :]
        pieces = pieces_of(message.text, media_of_turn(prompt.media, turn))
        marked = (piece if isinstance(piece, str) else _piece_of(piece) for piece in pieces)
        said[turn] = "".join((message.role, *marked, rest))


def _piece_of(medium: Medium) -> str:
    what = f"{medium.mime_type}\0{medium.file_id}\0{medium.data}".encode()
    name = hashlib.blake2b(what, digest_size=_MEDIUM_BYTES).hexdigest()
    return name * (PIECE_CHARACTERS // len(name))


def together(beginnings: Sequence[bytes]) -> list[int]:
    """Give the order, as positions, that puts those together which begin alike.

    Each group stands where its first member stood, and what is shared by nobody where it was.
    """
    groups: dict[bytes | int, list[int]] = {}
    for position, beginning in enumerate(beginnings):
        groups.setdefault(beginning[:_MARK_BYTES] or position, []).append(position)
    return [
        position
        for group in groups.values()
        for position in sorted(group, key=beginnings.__getitem__)
    ]
