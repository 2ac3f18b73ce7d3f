"""Cached contents: what a client may keep, for how long, and how it is shown."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightrate import limits
from nightrate.clock import later
from nightrate.dialects.gemini import parse_prompt
from nightrate.dialects.gemini_caches import (
    parse_cache,
    parse_cache_change,
    parse_prefix,
    render_cache,
    render_caches,
)
from nightrate.domain.cache import CacheWish
from nightrate.domain.generation import Message, Prompt
from nightrate.errors import BadRequest, NotSupported, Refused
from nightrate.testing.store_caches import make_cache

NOW = 1_769_083_200_000_000
"""2026-01-22T12:00:00Z."""

TURNS = [{"role": "user", "parts": [{"text": "a book"}]}]
BOOK = Prompt(messages=(Message("user", "a book"),), system="Be brief.")
FULL = {"model": "models/m", "contents": TURNS, "systemInstruction": "Be brief."}


def encoded(value: object) -> bytes:
    return msgspec.json.encode(value)


def parse(body: object) -> CacheWish:
    return parse_cache(encoded(body), NOW)


def refusal(body: object) -> Refused:
    with pytest.raises(Refused) as refused:
        parse(body)
    return refused.value


# what is kept ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("instruction", "name"),
    [("systemInstruction", "displayName"), ("system_instruction", "display_name")],
)
def test_a_cached_content_is_read_in_either_spelling(instruction: str, name: str) -> None:
    parts = [{"text": "Be "}, {"text": "brief."}]
    body = {"model": "models/m", "contents": TURNS, instruction: {"parts": parts}, name: "book"}
    wish = parse(body)
    assert (wish.model, wish.display_name, wish.prompt) == ("m", "book", BOOK)
    assert parse_prefix(wish.content, "m") == BOOK


def test_what_is_kept_is_the_beginning_alone() -> None:
    body = {**FULL, "ttl": "60s", "displayName": "book", "createTime": "now", "tools": None}
    assert msgspec.json.decode(parse(body).content) == {
        "contents": TURNS,
        "systemInstruction": "Be brief.",
    }


def test_a_person_may_type_it() -> None:
    body = b"{'model': 'm', 'contents': 'a book', 'ttl': '60s',}"
    wish = parse_cache(body, NOW)
    assert wish.prompt == Prompt(messages=(Message("user", "a book"),))
    assert wish.display_name is None


def test_instructions_alone_can_be_kept() -> None:
    wish = parse({"model": "m", "systemInstruction": "Be brief.", "displayName": ""})
    assert wish.prompt == Prompt(messages=(), system="Be brief.")
    assert wish.display_name is None


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"model": None}, "model"),
        ({"model": "models/"}, "model"),
        ({"contents": None, "systemInstruction": None}, "contents"),
        ({"contents": [], "systemInstruction": {}}, "contents"),
        ({"contents": [{"parts": []}]}, "contents[0].parts"),
        ({"contents": [{"role": "x", "parts": TURNS}]}, "contents[0].parts[0].role"),
        ({"contents": 5}, "contents"),
        ({"contents": False}, "contents"),
        ({"tools": ""}, "tools"),
        ({"systemInstruction": 5}, "systemInstruction"),
        ({"displayName": "x" * 129}, "displayName"),
        ({"display_name": "x" * 129}, "display_name"),
        ({"display_name": 5}, "display_name"),
        ({"ttl": 300}, "ttl"),
        ({"ttl": "300"}, "ttl"),
        ({"ttl": "-3s"}, "ttl"),
        ({"ttl": "0s"}, "ttl"),
        ({"ttl": "5m"}, "ttl"),
        ({"ttl": f"{limits.CACHE_LIFETIME_SECONDS_MAX + 1}s"}, "ttl"),
        ({"ttl": "60s", "expireTime": "2026-01-22T13:00:00Z"}, "ttl"),
        ({"expireTime": "2026-01-22T12:00:00Z"}, "expireTime"),
        ({"expire_time": "2026-01-22T11:59:59Z"}, "expire_time"),
        ({"expireTime": "2026-01-22T13:00:00"}, "expireTime"),
        ({"expireTime": "tomorrow"}, "expireTime"),
        ({"expireTime": "9999-01-01T00:00:00Z"}, "expireTime"),
    ],
)
def test_a_wrong_member_is_named_as_the_client_wrote_it(change: dict[str, Any], field: str) -> None:
    error = refusal({**FULL, **change})
    assert isinstance(error, BadRequest)
    assert error.field == field


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("generationConfig", "Put it into the requests"),
        ("safety_settings", "Put it into the requests"),
        ("temperature", "Put it into the requests"),
        ("name", "The server gives the name."),
        ("cachedContent", "A cached content cannot continue another one."),
        ("systemInstructions", 'Use "systemInstruction".'),
        ("messages", 'Use "contents".'),
        ("surprise", "Cannot find field."),
    ],
)
def test_an_unknown_name_is_refused_with_what_to_do(name: str, remedy: str) -> None:
    error = refusal({**FULL, name: {}})
    assert error.field == name
    assert remedy in error.message


@pytest.mark.parametrize("body", [b"", b"[]", b'"x"', b"{", b"null"])
def test_what_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(BadRequest):
        parse_cache(body, NOW)


@pytest.mark.parametrize(
    ("member", "value", "path"),
    [
        ("tools", [{"codeExecution": {}}], "tools[0].codeExecution"),
        (
            "tool_config",
            {"functionCallingConfig": {"streamFunctionCallArguments": True}},
            "tool_config.functionCallingConfig.streamFunctionCallArguments",
        ),
        (
            "contents",
            [{"parts": [{"functionCall": {"name": "f", "willContinue": True}}]}],
            "contents[0].parts[0].functionCall",
        ),
    ],
)
def test_what_no_request_may_hold_cannot_be_kept(member: str, value: object, path: str) -> None:
    error = refusal({**FULL, member: value})
    assert isinstance(error, NotSupported)
    assert (error.field or "").startswith(path)


LEAVES = st.none() | st.booleans() | st.integers() | st.text(max_size=9) | st.just("60s")
TREES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["parts", "role", "text", "x"]), inner, max_size=2)
    ),
    max_leaves=6,
)
MEMBERS = ("model", "contents", "system_instruction", "tools", "toolConfig", "ttl", "expireTime")


@given(st.dictionaries(st.sampled_from(MEMBERS), TREES, max_size=4))
def test_any_tree_is_kept_as_it_was_read_or_refused_with_a_field(tree: dict[str, object]) -> None:
    fields: list[str | None] = []
    try:
        wish = parse({**FULL, **tree})
        assert parse_prefix(wish.content, wish.model) == wish.prompt
        assert wish.expires_at > NOW
    except Refused as error:
        fields.append(error.field)
    assert all(fields)


# for how long ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "micros"),
    [
        ({}, 3600 * 10**6),
        ({"ttl": "300s"}, 300 * 10**6),
        ({"ttl": "3.5s"}, 3_500_000),
        ({"ttl": "0.123456789s"}, 123_456),
        ({"expireTime": "2026-01-22T12:05:00Z"}, 300 * 10**6),
        ({"expire_time": "2026-01-22T12:05:00.25Z"}, 300_250_000),
        ({"expireTime": "2026-01-22T14:05:00+02:00"}, 300 * 10**6),
        ({"expireTime": None, "ttl": "1s"}, 10**6),
    ],
)
def test_an_end_is_a_duration_a_time_or_an_hour_away(change: dict[str, Any], micros: int) -> None:
    assert parse({**FULL, **change}).expires_at - NOW == micros


def changed(body: object, mask: str | None = None) -> int:
    return parse_cache_change(encoded(body), mask, NOW)


@pytest.mark.parametrize("mask", [None, "", "expireTime", "expire_time", " expire_time "])
def test_the_end_can_be_changed(mask: str | None) -> None:
    assert changed({"expire_time": "2026-01-22T12:05:00Z"}, mask) == later(NOW, 300)
    assert changed({"ttl": "5s"}) == later(NOW, 5)


@pytest.mark.parametrize(
    ("body", "mask", "field"),
    [
        ({}, None, "ttl"),
        ({"ttl": "5s"}, "expireTime", "updateMask"),
        ({"ttl": "5s"}, "ttl,displayName", "updateMask"),
        ({"ttl": "5s"}, "display_name", "updateMask"),
        ({"expire_time": "never"}, None, "expire_time"),
        ({"ttl": "5s", "displayName": "x"}, None, "displayName"),
        ({"ttl": "5s", "contents": TURNS}, None, "contents"),
        ({"ttl": "5s", "name": "cachedContents/x"}, None, "name"),
    ],
)
def test_nothing_else_can_be_changed(body: dict[str, Any], mask: str | None, field: str) -> None:
    with pytest.raises(BadRequest) as refused:
        changed(body, mask)
    assert refused.value.field == field


def test_what_is_fixed_says_so() -> None:
    with pytest.raises(BadRequest, match="make another cached content"):
        changed({"displayName": "x"})


# requests that continue one --------------------------------------------------------------------

HI = {"contents": [{"parts": [{"text": "hi"}]}]}


def asked(request: object) -> Prompt:
    return parse_prompt(encoded(request), "m")


def refused(request: object) -> Refused:
    with pytest.raises(Refused) as refused:
        asked(request)
    return refused.value


@pytest.mark.parametrize("reference", ["cachedContents/c-1", "c-1"])
@pytest.mark.parametrize("member", ["cachedContent", "cached_content"])
def test_a_request_may_continue_a_cached_content(member: str, reference: str) -> None:
    assert asked({**HI, member: reference}) == Prompt(
        messages=(Message("user", "hi"),), cache="c-1"
    )
    assert asked({member: reference}) == Prompt(messages=(), cache="c-1")
    nothing = {"tools": [], "toolConfig": {}, "systemInstruction": {"parts": []}}
    assert asked({**HI, member: reference, **nothing}).cache == "c-1"


@pytest.mark.parametrize("reference", ["files/c", "cachedContents/", "a/b", "c d", "c" * 129])
def test_a_cached_content_has_a_name(reference: str) -> None:
    error = refused({**HI, "cached_content": reference})
    assert isinstance(error, BadRequest)
    assert error.field == "cached_content"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"systemInstruction": "Be brief."}, "systemInstruction"),
        ({"system_instruction": {"parts": [{"text": "Be brief."}]}}, "system_instruction"),
        ({"contents": [{"role": "system", "parts": "Be brief."}, "hi"]}, "contents"),
        ({"tools": [{"googleSearch": {}}]}, "tools"),
        ({"tools": [{}]}, "tools"),
        ({"toolConfig": {"functionCallingConfig": {}}}, "toolConfig"),
        ({"tool_config": {"functionCallingConfig": {}}}, "tool_config"),
    ],
)
def test_what_belongs_into_a_cached_content_cannot_stand_beside_it(
    change: dict[str, Any], field: str
) -> None:
    error = refused({**HI, "cachedContent": "cachedContents/c", **change})
    assert isinstance(error, BadRequest)
    assert error.field == field
    assert (
        "CachedContent can not be used with GenerateContent request setting system_instruction,"
        " tools or tool_config"
    ) in error.message


# how it is shown ------------------------------------------------------------------------------


def test_it_is_shown_without_what_it_keeps() -> None:
    document = render_cache(msgspec.structs.replace(make_cache(), expires_at=NOW))
    assert document.startswith(b'{\n  "name": "cachedContents/c1",\n')
    assert msgspec.json.decode(document) == {
        "name": "cachedContents/c1",
        "model": "models/m",
        "displayName": "book",
        "createTime": "1970-01-01T00:00:00.001000Z",
        "updateTime": "1970-01-01T00:00:00.001000Z",
        "expireTime": "2026-01-22T12:00:00Z",
        "usageMetadata": {"totalTokenCount": 7},
    }
    nameless = msgspec.structs.replace(make_cache(), display_name=None, token_count=0)
    shown = msgspec.json.decode(render_cache(nameless))
    assert "displayName" not in shown
    assert shown["usageMetadata"] == {"totalTokenCount": 0}


def test_a_page_may_be_the_last_and_may_be_empty() -> None:
    page = msgspec.json.decode(render_caches([make_cache()], "next"))
    assert [one["name"] for one in page["cachedContents"]] == ["cachedContents/c1"]
    assert page["nextPageToken"] == "next"
    assert msgspec.json.decode(render_caches([], None)) == {}
