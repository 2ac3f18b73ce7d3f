"""Cached contents as resources."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec
from msgspec import Struct, json, structs

from nightrate import limits
from nightrate.clock import Instant, later, rfc3339
from nightrate.dialects import tolerant
from nightrate.dialects.gemini_prompts import REMEDIES, bare_model, prompt_from_tree
from nightrate.dialects.gemini_shapes import (
    Anything,
    GenerateContentRequest,
    GenerationConfig,
)
from nightrate.dialects.refusals import located, wrong
from nightrate.dialects.spelling import Shape, camel, quoted, snake, spelled
from nightrate.domain.cache import Cache, CacheWish
from nightrate.domain.generation import Prompt
from nightrate.errors import Refused


class CachedContentBody(Struct, rename="camel", forbid_unknown_fields=True):
    """A cached content as a client describes it; what only the service sets is ignored.

    What is kept stays untyped here: it is read as a request once it stands alone.
    """

    model: str | None = None
    contents: Anything = None
    system_instruction: Anything = None
    tools: Anything = None
    tool_config: Anything = None
    display_name: str | None = None
    ttl: str | None = None
    expire_time: str | None = None
    create_time: Anything = None
    update_time: Anything = None
    usage_metadata: Anything = None


class CachedContentChange(Struct, rename="camel", forbid_unknown_fields=True):
    """The body that changes a cached content: its end is all that can change."""

    ttl: str | None = None
    expire_time: str | None = None


class CachedTokens(Struct, rename="camel"):
    """How long a cached content is."""

    total_token_count: int


class CachedContentDocument(Struct, rename="camel", omit_defaults=True, kw_only=True):
    """A cached content, without what it keeps."""

    name: str
    model: str
    display_name: str | None = None
    create_time: str
    update_time: str
    expire_time: str
    usage_metadata: CachedTokens


class CachedContentsDocument(Struct, rename="camel", omit_defaults=True):
    """One page of cached contents."""

    cached_contents: list[CachedContentDocument] = []
    next_page_token: str | None = None


_KEPT: Final = ("systemInstruction", "contents", "tools", "toolConfig")
"""Members that are the beginning of a request."""

_LATER = "Put it into the requests that name the cached content."
_FIXED = "It cannot be changed; make another cached content."
_REQUEST_REMEDIES: Final = REMEDIES[GenerateContentRequest]

_BODY: Final = Shape(
    CachedContentBody,
    {
        CachedContentBody: {
            **_REQUEST_REMEDIES,
            **{member.encode_name: _LATER for member in structs.fields(GenerateContentRequest)},
            **{member.encode_name: _LATER for member in structs.fields(GenerationConfig)},
            "config": _LATER,
            "cachedContent": "A cached content cannot continue another one.",
            "name": "The server gives the name.",
        }
    },
)
_CHANGE: Final = Shape(
    CachedContentChange,
    {
        CachedContentChange: {
            "name": "Its name is in the path.",
            **{member.encode_name: _FIXED for member in structs.fields(CachedContentBody)},
        }
    },
)

_DURATION = re.compile(r"(\d{1,12})(?:\.(\d{1,9}))?s", re.ASCII)
_SECOND: Final = 1_000_000
_NOTHING: Final = Prompt(messages=())
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def parse_cache(body: bytes, now: Instant) -> CacheWish:
    """Read the body that makes a cached content.

    Args:
        body: JSON in either spelling, read leniently.
        now: the time that its life is counted from.

    Raises:
        BadRequest: it is malformed, or a member is missing or wrong.
        NotSupported: it keeps something that this server does not do.
    """
    tree = tolerant.loads(body)
    read = _BODY.read(tree)
    try:
        model = bare_model(read.model or "")
        if not model:
            raise wrong("model", "it is missing.")
        display_name = _display_name(read.display_name)
        expires_at = _end(read, now)
    except Refused as error:
        raise located(error, tree, "") from error
    kept = {spelled(tree, name): getattr(read, snake(name)) for name in _KEPT}
    content = json.encode({name: value for name, value in kept.items() if value is not None})
    return CacheWish(
        model=model,
        display_name=display_name,
        content=content,
        prompt=parse_prefix(content, model),
        expires_at=expires_at or later(now, limits.CACHE_LIFETIME_SECONDS),
    )


def parse_prefix(content: bytes, model: str) -> Prompt:
    """Read what a cached content keeps.

    Raises:
        BadRequest: a value is wrong, or there is nothing to keep.
        NotSupported: it keeps something that this server does not do.
    """
    prefix = prompt_from_tree(json.decode(content), model, whole=False)
    if prefix == _NOTHING:
        raise wrong("contents", "there is nothing to keep.")
    return prefix


def parse_cache_change(body: bytes, mask: str | None, now: Instant) -> Instant:
    """Read the body that changes a cached content; gives its new end.

    Args:
        body: ``ttl`` or ``expireTime``, in either spelling.
        mask: which of them counts, in Google's form; without it, what the body holds.
        now: the time that its life is counted from.

    Raises:
        BadRequest: it is malformed, names no end or a wrong one, or names anything else.
    """
    tree = tolerant.loads(body)
    read = _CHANGE.read(tree)
    for name in mask.split(",") if mask else ():
        member = camel(name.strip())
        if member not in {"ttl", "expireTime"}:
            why = f'"{quoted(name)}" is neither ttl nor expireTime; nothing else can change.'
            raise wrong("updateMask", why)
        if getattr(read, snake(member)) is None:
            raise wrong("updateMask", f'it names "{quoted(name)}", which the body does not set.')
    try:
        end = _end(read, now)
        if end is None:
            raise wrong("ttl", "give this or expireTime; nothing else can change.")
    except Refused as error:
        raise located(error, tree, "") from error
    return end


def render_cache(cache: Cache) -> bytes:
    """Write a cached content, without what it keeps."""
    return json.format(json.encode(_document(cache)), indent=2)


def render_caches(caches: Iterable[Cache], next_token: str | None) -> bytes:
    """Write one page of cached contents."""
    page = CachedContentsDocument([_document(cache) for cache in caches], next_token)
    return json.format(json.encode(page), indent=2)


def _document(cache: Cache) -> CachedContentDocument:
    return CachedContentDocument(
        name=f"cachedContents/{cache.cache_id}",
        model=f"models/{cache.model}",
        display_name=cache.display_name,
        create_time=rfc3339(cache.created_at),
        update_time=rfc3339(cache.updated_at),
        expire_time=rfc3339(cache.expires_at),
        usage_metadata=CachedTokens(cache.token_count),
    )


def _display_name(name: str | None) -> str | None:
    most = limits.CACHE_DISPLAY_NAME_CHARACTERS_MAX
    if name and len(name) > most:
        why = f"it has {len(name)} characters, and at most {most} are allowed."
        raise wrong("displayName", why)
    return name or None


def _end(body: CachedContentBody | CachedContentChange, now: Instant) -> Instant | None:
    """Give the end that a body names; None when it names none."""
    if body.ttl is not None and body.expire_time is not None:
        raise wrong("ttl", "give this or expireTime, not both.")
    if body.ttl is not None:
        name, end = "ttl", now + _duration(body.ttl)
    elif body.expire_time is not None:
        name, end = "expireTime", _instant(body.expire_time)
    else:
        return None
    if end <= now:
        raise wrong(name, "the cached content would have expired already.")
    most = limits.CACHE_LIFETIME_SECONDS_MAX
    if end > later(now, most):
        raise wrong(name, f"that is further away than {most} seconds.")
    return end


def _duration(text: str) -> int:
    """Read a duration, in the unit of instants."""
    found = _DURATION.fullmatch(text)
    if found is None:
        raise wrong("ttl", f'"{quoted(text)}" is no duration such as "300s".')
    return int(found[1]) * _SECOND + int((found[2] or "").ljust(6, "0")[:6])


def _instant(text: str) -> Instant:
    try:
        moment = msgspec.convert(text, datetime)
    except msgspec.ValidationError:
        moment = None
    if moment is None or moment.tzinfo is None:
        why = f'"{quoted(text)}" is no time such as "2026-01-22T12:00:00Z".'
        raise wrong("expireTime", why)
    return (moment - _EPOCH) // timedelta(microseconds=1)
