"""Pictures, sounds, films and documents that stand in a prompt."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from typing import Final

from msgspec import Struct

from nightrate import endpoint_limits, limits

_NAME: Final = r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]*"
_TYPE: Final = re.compile(rf"({_NAME}/{_NAME}) *(?:;[ -~]*)?", re.ASCII)
_PATTERN: Final = re.compile(rf"{_NAME}/(?:{_NAME}|\*)", re.ASCII)
_OTHER_NAMES: Final = {
    "image/jpg": "image/jpeg",
    "audio/mp3": "audio/mpeg",
    "audio/x-wav": "audio/wav",
    "audio/wave": "audio/wav",
    "audio/vnd.wave": "audio/wav",
}
"""What clients call types beside their registered names."""

_ANY: Final = "/*"
_PICTURES: Final = "image/"


class Resolution(StrEnum):
    """How closely a model looks at a medium."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    ULTRA_HIGH = "ultra_high"


class Clip(Struct, frozen=True, gc=False):
    """Which part of a film is meant, from and to an offset such as ``1.5s``, and how densely."""

    start: str | None = None
    end: str | None = None
    frames_per_second: float | None = None


class Medium(Struct, frozen=True, gc=False, kw_only=True):
    """A medium of a prompt: where it stands, and what it is.

    ``turn`` is the index of its turn, ``offset`` the number of characters of that turn's text which
    come before it, ``field`` the path under which it was sent, for refusals.
    """

    turn: int = 0
    offset: int = 0
    field: str
    mime_type: str = ""
    """Empty of a file until it is read: what the file is."""
    data: str = ""
    """Its bytes in Base64, of the usual alphabet and padded; empty of a file until it is read."""
    file_id: str | None = None
    """The uploaded file that it is; None for one that came with the prompt."""
    name: str | None = None
    """What its sender calls it."""
    clip: Clip | None = None
    resolution: Resolution | None = None
    """Of this medium; None for that of the prompt."""


def is_type(text: str) -> bool:
    """Tell whether a text is a media type, with its parameters perhaps."""
    return len(text) <= limits.MIME_TYPE_CHARACTERS_MAX and _TYPE.fullmatch(text) is not None


def is_pattern(text: str) -> bool:
    """Tell whether a text is a pattern of types: one without parameters, or ``image/*``."""
    return _PATTERN.fullmatch(text) is not None


def kind_of(mime_type: str) -> str:
    """Give a media type without its parameters, in small letters, by its registered name."""
    found = _TYPE.fullmatch(mime_type)
    kind = (mime_type if found is None else found[1]).lower()
    return _OTHER_NAMES.get(kind, kind)


def covers(patterns: Iterable[str], mime_type: str) -> bool:
    """Tell whether some pattern covers a media type."""
    kind = kind_of(mime_type)
    whole = kind.partition("/")[0] + _ANY
    return any(pattern.lower() == whole or kind_of(pattern) == kind for pattern in patterns)


def size_bytes_of(data: str) -> int:
    """Give how many bytes Base64 holds."""
    return len(data) // 4 * 3 - data.count("=", -2)


def pieces_of(text: str, media: Iterable[Medium]) -> Iterator[str | Medium]:
    """Cut the text of a turn where its media stand, and give both in their order; no empty text."""
    begin = 0
    for medium in media:
        if begin < medium.offset:
            yield text[begin : medium.offset]
        yield medium
        begin = medium.offset
    if begin < len(text):
        yield text[begin:]


def media_of_turn(media: Sequence[Medium], turn: int) -> tuple[Medium, ...]:
    """Give the media of one turn."""
    return tuple(medium for medium in media if medium.turn == turn)


def estimated_tokens(media: Iterable[Medium]) -> int:
    """Reckon the tokens of media that are read, rather too high, where nobody counts them."""
    tokens = 0
    for medium in media:
        if kind_of(medium.mime_type).startswith(_PICTURES):
            tokens += endpoint_limits.ESTIMATED_PICTURE_TOKENS
        else:
            size_bytes = size_bytes_of(medium.data)
            tokens += -(-size_bytes // endpoint_limits.ESTIMATED_MEDIUM_BYTES_PER_TOKEN)
    return tokens
