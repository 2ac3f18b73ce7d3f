"""Bodies come in with bounds and a timeout."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import pytest
from starlette.requests import Request
from starlette.types import Message

from nightrate import limits
from nightrate.api import body
from nightrate.api.body import ClientGone, Stalled
from nightrate.errors import NotSupported, TooLarge


def request(messages: Iterable[Message], **headers: str) -> Request:
    """Make a request whose client sends these messages and then nothing."""
    queue = iter(messages)

    async def receive() -> Message:
        for message in queue:
            return message
        await asyncio.Event().wait()
        raise AssertionError

    fields = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "method": "POST", "headers": fields}, receive)


def part(data: bytes, *, more: bool) -> Message:
    return {"type": "http.request", "body": data, "more_body": more}


GONE: Message = {"type": "http.disconnect"}


async def test_a_body_is_put_together() -> None:
    parts = [part(b"a", more=True), part(b"", more=True), part(b"bc", more=False)]
    assert await body.whole(request(parts)) == b"abc"


async def test_a_body_of_just_the_bound_is_taken_and_one_byte_more_is_not() -> None:
    assert await body.whole(request([part(b"abc", more=False)]), 3) == b"abc"
    with pytest.raises(TooLarge, match="3 bytes"):
        await body.whole(request([part(b"ab", more=True), part(b"cd", more=True)]), 3)


async def test_a_body_announced_too_long_is_refused_unread() -> None:
    with pytest.raises(TooLarge):
        await body.whole(request([], content_length="4"), 3)


async def test_a_client_that_stalls_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "RECEIVE_TIMEOUT_SECONDS", 0.01)
    with pytest.raises(Stalled, match=r"No bytes of the body arrived for 0\.01 seconds"):
        await body.whole(request([part(b"a", more=True)]))


async def test_a_client_that_closes_is_gone() -> None:
    with pytest.raises(ClientGone):
        await body.whole(request([part(b"a", more=True), GONE]))


@pytest.mark.parametrize("encoding", ["gzip", "br", "identity, gzip"])
async def test_a_compressed_body_is_refused(encoding: str) -> None:
    with pytest.raises(NotSupported, match="Content-Encoding"):
        await body.whole(request([part(b"a", more=False)], content_encoding=encoding))


async def test_an_uncompressed_body_may_say_so() -> None:
    sent = request([part(b"a", more=False)], content_encoding="Identity")
    assert await body.whole(sent) == b"a"


async def test_work_ends_when_its_client_leaves() -> None:
    ended = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    with pytest.raises(ClientGone):
        await body.while_connected(request([GONE]), work())
    assert ended.is_set()


async def test_work_that_ends_gives_its_result_or_its_error() -> None:
    async def right() -> int:
        return 7

    async def wrong() -> int:
        raise ZeroDivisionError

    assert await body.while_connected(request([]), right()) == 7
    with pytest.raises(ZeroDivisionError):
        await body.while_connected(request([]), wrong())
