"""Cached contents: beginnings of prompts, kept to be continued by many requests."""

from __future__ import annotations

from msgspec import Struct, structs

from nightrate.clock import Instant
from nightrate.domain.generation import Prompt

_FIELD = "cachedContent"
"""What a request is to blame for of a beginning that it continues."""

_MEMBERS = tuple((member.name, member.default) for member in structs.fields(Prompt))


class Cache(Struct, frozen=True, kw_only=True):
    """A kept beginning: what is known of it without its bytes."""

    tenant: str
    cache_id: str
    model: str
    """The one name under which it can be continued, without ``models/``."""
    display_name: str | None
    blob: str
    size_bytes: int
    token_count: int
    """As its engine counted when it was made."""
    created_at: Instant
    updated_at: Instant
    expires_at: Instant
    crc32: int | None = None
    """Of its bytes; None for one that was made before this was kept."""


class CacheWish(Struct, frozen=True, kw_only=True):
    """What a client wants to be kept."""

    model: str
    display_name: str | None
    content: bytes
    """As the dialect can read it again."""
    prompt: Prompt
    """The same, read."""
    expires_at: Instant


class Reach(Struct, frozen=True, gc=False):
    """Which cached contents a request can continue.

    For a request of a batch the instant is when the batch was made: what it could name then still
    serves when its turn comes, however long it waits.
    """

    tenant: str
    alive_at: Instant


def continued(prefix: Prompt, prompt: Prompt, token_count: int) -> Prompt:
    """Put a kept beginning before the prompt that continues it.

    Everything that the beginning sets holds: a prompt that continues one sets none of it. How the
    answer is drawn is the prompt's own affair.
    """
    given = {
        name: value for name, default in _MEMBERS if (value := getattr(prefix, name)) != default
    }
    turns = len(prefix.messages)
    own = {
        "messages": prefix.messages + prompt.messages,
        "media": (
            *(structs.replace(medium, field=_FIELD) for medium in prefix.media),
            *(structs.replace(medium, turn=medium.turn + turns) for medium in prompt.media),
        ),
        "sampling": prompt.sampling,
        "form": prompt.form,
        "logprobs": prompt.logprobs,
        "picture": prompt.picture,
        "resolution": prompt.resolution,
        "thoughts": prompt.thoughts,
        "candidates": prompt.candidates,
        "cache": None,
        "cached_tokens": token_count,
    }
    return structs.replace(prompt, **{**given, **own})
