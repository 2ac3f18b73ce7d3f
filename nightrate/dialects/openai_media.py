"""Media in OpenAI's dialect: parts of a message with bytes or a file of this server.

Pictures come as ``image_url`` with a ``data:`` address, sounds as ``input_audio``, documents as
``file``. What lies elsewhere is not fetched.
"""

from __future__ import annotations

import re
from typing import Any, Final

from nightrate.dialects.base64_data import in_address, plain_base64
from nightrate.dialects.openai_shapes import ContentPart
from nightrate.dialects.refusals import members_of, unserved, wrong
from nightrate.dialects.spelling import camel, quoted
from nightrate.domain.generation import Message, Prompt
from nightrate.domain.medium import (
    Medium,
    Resolution,
    covers,
    is_pattern,
    is_type,
    kind_of,
    media_of_turn,
    pieces_of,
)
from nightrate.errors import Code, RequestFailed

PARTS: Final = ("image_url", "input_audio", "file")
"""The types of parts that hold media, which are also the names of the members that do."""

PICTURES: Final = "image/*"
SOUNDS: Final = {"audio/wav": "wav", "audio/mpeg": "mp3"}
"""What the protocol calls the sounds that it has words for."""
DOCUMENT: Final = "application/pdf"
OTHER_MEDIA: Final = (*SOUNDS, DOCUMENT)
"""Media that are no pictures, of which every type has its own words."""

_FORMATS: Final = {form: mime_type for mime_type, form in SOUNDS.items()}
_ELSEWHERE: Final = "nothing is fetched from elsewhere. Send the bytes, as data:TYPE;base64,BYTES."
_FILE: Final = re.compile(r"(?:files/)?([a-z0-9](?:[a-z0-9-]*[a-z0-9])?)", re.ASCII)
_UNNAMED: Final = "document.pdf"
_DETAILS: Final = {"auto": None, "low": Resolution.LOW, "high": Resolution.HIGH}
_DETAIL_OF: Final = {
    Resolution.LOW: "low",
    Resolution.HIGH: "high",
    Resolution.ULTRA_HIGH: "high",
}


def medium_of(part: ContentPart, at: str, offset: int) -> Medium:
    """Read a part that holds a medium.

    Args:
        part: of one of the types `PARTS`.
        at: its path.
        offset: where it stands in the text of its message.

    Raises:
        BadRequest: it is malformed.
        NotSupported: it lies elsewhere.
    """
    at = f"{at}.{part.type}"
    tree = getattr(part, part.type)
    if tree is None:
        raise wrong(at, "it is missing.")
    if part.type == "image_url":
        return _picture(tree, at, offset)
    return _sound(tree, at, offset) if part.type == "input_audio" else _document(tree, at, offset)


def _picture(tree: object, at: str, offset: int) -> Medium:
    members = _members(tree, at, "url", "detail")
    detail = members.get("detail") or "auto"
    if detail not in _DETAILS:
        raise wrong(f"{at}.detail", f'"{quoted(detail)}" is not known.')
    mime_type, data = _addressed(members.get("url"), f"{at}.url")
    resolution = _DETAILS[detail]
    return Medium(field=at, offset=offset, mime_type=mime_type, data=data, resolution=resolution)


def _sound(tree: object, at: str, offset: int) -> Medium:
    members = _members(tree, at, "data", "format")
    form = members.get("format") or ""
    if form not in _FORMATS:
        raise wrong(f"{at}.format", f'"{quoted(form)}" is none of {", ".join(_FORMATS)}.')
    data = _plain(members.get("data") or "", f"{at}.data")
    return Medium(field=at, offset=offset, mime_type=_FORMATS[form], data=data)


def _document(tree: object, at: str, offset: int) -> Medium:
    members = _members(tree, at, "file_data", "file_id", "filename")
    name, reference = members.get("filename") or None, members.get("file_id")
    if not reference:
        mime_type, data = _addressed(members.get("file_data"), f"{at}.file_data")
        return Medium(field=at, offset=offset, mime_type=mime_type, data=data, name=name)
    if members.get("file_data"):
        raise wrong(f"{at}.file_id", 'it stands beside "file_data"; send one of them.')
    found = _FILE.fullmatch(reference)
    if found is None:
        raise wrong(f"{at}.file_id", f'"{quoted(reference)}" is no file such as "files/abc-123".')
    return Medium(field=at, offset=offset, file_id=found[1], name=name)


def _members(tree: object, at: str, *known: str) -> dict[str, str]:
    """Read an object of texts."""
    members: dict[str, Any] = members_of(tree, at, tuple(map(camel, known)))
    read = {name: members.get(camel(name)) for name in known}
    for name, value in read.items():
        if value is not None and not isinstance(value, str):
            raise wrong(f"{at}.{name}", "it is not a text.")
    return {name: value for name, value in read.items() if value is not None}


def _addressed(address: str | None, at: str) -> tuple[str, str]:
    """Give the type and the bytes of what an address holds."""
    if not address:
        raise wrong(at, "it is missing.")
    found = in_address(address)
    if found is None:
        if address.lower().startswith(("http:", "https:")):
            raise unserved(at, f'"{quoted(address)}": {_ELSEWHERE}')
        raise wrong(at, "it is no address of the form data:TYPE;base64,BYTES.")
    mime_type, data = found
    if not is_type(mime_type):
        raise wrong(at, f'"{quoted(mime_type)}" is no type such as "image/png".')
    return mime_type, _plain(data, at)


def _plain(data: str, at: str) -> str:
    plain = plain_base64(data)
    if plain is None:
        raise wrong(at, "it is not Base64." if data else "it is missing or empty.")
    return plain


def is_said(pattern: str) -> bool:
    """Tell whether the protocol has words for all media that a pattern covers."""
    return pattern in OTHER_MEDIA or (is_pattern(pattern) and covers((PICTURES,), pattern))


def content_of(message: Message, prompt: Prompt, turn: int) -> str | list[dict[str, Any]]:
    """Write what a turn of a prompt says: its text, or a list of parts where it has media.

    Raises:
        RequestFailed: the protocol has no words for one of them.
    """
    media = media_of_turn(prompt.media, turn)
    if not media:
        return message.text
    if message.role == "model":
        raise _no_words(media[0], "a turn of the model has no media in the protocol of the engine")
    return [
        {"type": "text", "text": piece} if isinstance(piece, str) else _part(piece, prompt)
        for piece in pieces_of(message.text, media)
    ]


def _part(medium: Medium, prompt: Prompt) -> dict[str, Any]:
    assert medium.data, "whoever asks an engine has read its files"
    kind = kind_of(medium.mime_type)
    if covers((PICTURES,), kind):
        picture = {"url": _address(kind, medium)}
        detail = _DETAIL_OF.get(medium.resolution or prompt.resolution or Resolution.MEDIUM)
        return {
            "type": "image_url",
            "image_url": picture if detail is None else {**picture, "detail": detail},
        }
    if kind in SOUNDS:
        sound = {"data": medium.data, "format": SOUNDS[kind]}
        return {"type": "input_audio", "input_audio": sound}
    if kind == DOCUMENT:
        document = {"filename": medium.name or _UNNAMED, "file_data": _address(kind, medium)}
        return {"type": "file", "file": document}
    raise _no_words(medium, f"the protocol of the engine has no words for {kind}")


def _address(kind: str, medium: Medium) -> str:
    return f"data:{kind};base64,{medium.data}"


def _no_words(medium: Medium, why: str) -> RequestFailed:
    return RequestFailed(f"{medium.field}: {why}; leave it out.", code=Code.UNIMPLEMENTED)
