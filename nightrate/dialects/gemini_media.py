"""Media in Gemini's dialect: parts with bytes or a file of this server, read and written."""

from __future__ import annotations

import re
from typing import Any, Final

from msgspec import Struct, structs

from nightrate.dialects.base64_data import plain_base64
from nightrate.dialects.gemini_options import names_below
from nightrate.dialects.gemini_options_of_turns import PART
from nightrate.dialects.gemini_ranges import RESOLUTIONS
from nightrate.dialects.gemini_shapes import Part
from nightrate.dialects.gemini_values import name_in
from nightrate.dialects.refusals import members_of, text_in, unserved, wrong
from nightrate.dialects.spelling import quoted
from nightrate.domain.medium import Clip, Medium, Resolution, is_type

_FILE: Final = re.compile(
    r"(?:https?://[^?#\s]+/v1(?:beta|alpha)?/)?files/([a-z0-9](?:[a-z0-9-]*[a-z0-9])?)"
    r"(?::download)?(?:[?#]\S*)?",
    re.ASCII,
)
"""A file of this server, as its resource spells it under any version and profile, or as it is
downloaded. By which name the server is reached is not known here: whoever is named, nobody but
this server's own store is asked."""

_OFFSET: Final = re.compile(r"\d{1,9}(?:\.\d{1,9})?s", re.ASCII)
_FRAMES_MAX: Final = 24
_LEVEL: Final = "MEDIA_RESOLUTION_"
_OF_INLINE: Final = names_below(f"{PART}.inlineData")
_OF_FILE: Final = names_below(f"{PART}.fileData")
_OF_CLIP: Final = names_below(f"{PART}.videoMetadata")
_OF_RESOLUTION: Final = names_below(f"{PART}.mediaResolution")
_UPLOAD: Final = "nothing is fetched from elsewhere. Upload it with the Files API and send its uri."


def medium_of(part: Part, offset: int) -> Medium:
    """Read a part that holds a medium; its path, which is still to be completed, begins here.

    Args:
        part: with ``inlineData``, ``fileData`` or both.
        offset: where it stands in the text of its turn.

    Raises:
        BadRequest: it is malformed.
        NotSupported: it lies elsewhere.
    """
    if part.file_data is None:
        medium = _inline(part.inline_data)
    elif part.inline_data is None:
        medium = _file(part.file_data)
    else:
        raise wrong("fileData", 'a part holds one thing, and "inlineData" is there.')
    clip, resolution = look_of(part)
    return structs.replace(medium, offset=offset, clip=clip, resolution=resolution)


def look_of(part: Part) -> tuple[Clip | None, Resolution | None]:
    """Read which part of a medium is looked at, and how closely; whether it is one or not.

    Raises:
        BadRequest: it is malformed.
    """
    clip = None if part.video_metadata is None else _clip(part.video_metadata)
    return clip, None if part.media_resolution is None else _resolution(part.media_resolution)


def _inline(tree: object) -> Medium:
    at = "inlineData"
    members = members_of(tree, at, _OF_INLINE)
    mime_type = _type(members, at)
    if mime_type is None:
        raise wrong(f"{at}.mimeType", 'it is missing; say what it is, such as "image/png".')
    data = members.get("data")
    plain = plain_base64(data) if isinstance(data, str) else None
    if plain is None:
        why = "it is not Base64." if data else "it is missing or empty."
        raise wrong(f"{at}.data", why)
    return Medium(
        field=at, mime_type=mime_type, data=plain, name=text_in(members, "displayName", at)
    )


def _file(tree: object) -> Medium:
    at = "fileData"
    members = members_of(tree, at, _OF_FILE)
    mime_type = _type(members, at)
    uri = members.get("fileUri")
    if not isinstance(uri, str) or not uri:
        raise wrong(f"{at}.fileUri", 'it is missing; send the "uri" or the "name" of a file.')
    found = _FILE.fullmatch(uri)
    if found is None:
        if "://" in uri:
            raise unserved(f"{at}.fileUri", f'"{quoted(uri)}": {_UPLOAD}')
        raise wrong(f"{at}.fileUri", f'"{quoted(uri)}" is no file such as "files/abc-123".')
    name = text_in(members, "displayName", at)
    return Medium(field=at, mime_type=mime_type or "", file_id=found[1], name=name)


def _type(members: dict[str, Any], at: str) -> str | None:
    found = members.get("mimeType")
    if found is None or found == "":
        return None
    if not isinstance(found, str) or not is_type(found):
        raise wrong(f"{at}.mimeType", f'"{quoted(str(found))}" is no type such as "image/png".')
    return found


def _clip(tree: object) -> Clip | None:
    at = "videoMetadata"
    members = members_of(tree, at, _OF_CLIP)
    for name in ("startOffset", "endOffset"):
        offset = members.get(name)
        if offset is not None and not (isinstance(offset, str) and _OFFSET.fullmatch(offset)):
            raise wrong(f"{at}.{name}", f'"{quoted(str(offset))}" is no offset such as "1.5s".')
    fps = members.get("fps")
    number = isinstance(fps, int | float) and not isinstance(fps, bool)
    if fps is not None and not (number and 0 < fps <= _FRAMES_MAX):
        raise wrong(f"{at}.fps", f"{quoted(str(fps))} is not above 0 and at most {_FRAMES_MAX}.")
    clip = Clip(members.get("startOffset"), members.get("endOffset"), fps)
    return None if clip == Clip() else clip


def _resolution(tree: object) -> Resolution | None:
    at = "mediaResolution"
    level = name_in(members_of(tree, at, _OF_RESOLUTION), "level", at, RESOLUTIONS)
    return RESOLUTIONS[level] if level else None


class _Blob(Struct, rename="camel"):
    mime_type: str
    data: str


class _Level(Struct):
    level: str


class _Clip(Struct, rename="camel", omit_defaults=True):
    start_offset: str | None = None
    end_offset: str | None = None
    fps: float | None = None


class MediumPart(Struct, rename="camel", omit_defaults=True):
    """A medium, and how it is looked at."""

    inline_data: _Blob
    video_metadata: _Clip | None = None
    media_resolution: _Level | None = None


def part_of(medium: Medium) -> MediumPart:
    """Write a medium; its bytes, wherever they came from."""
    assert medium.data, "whoever asks an engine has read its files"
    part = MediumPart(_Blob(medium.mime_type, medium.data))
    if (clip := medium.clip) is not None:
        part.video_metadata = _Clip(clip.start, clip.end, clip.frames_per_second)
    if medium.resolution is not None:
        part.media_resolution = _Level(level_of(medium.resolution))
    return part


def level_of(resolution: Resolution) -> str:
    """Write how closely a model shall look."""
    return f"{_LEVEL}{resolution.name}"
