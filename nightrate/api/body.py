"""Receiving: request bodies with bounds and a timeout, and clients that go away.

Bodies are read by route, never by content type: clients label them with anything.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, TypeVar

from nightrate import limits
from nightrate.errors import Code, Fault, NotSupported, Refused, TooLarge

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import Receive

T = TypeVar("T")


class ClientGone(Fault):
    """The client closed its connection before it had its answer."""


class Stalled(Refused):
    """The client sent nothing for too long in the middle of a body."""

    code = Code.DEADLINE_EXCEEDED


async def pieces(request: Request) -> AsyncGenerator[bytes, None]:
    """Give the body as it arrives.

    Raises:
        NotSupported: the body is compressed; a small one could unfold without bound.
        Stalled: nothing arrived for `limits.RECEIVE_TIMEOUT_SECONDS`.
        ClientGone: the connection was closed in the middle.
    """
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding != "identity":
        why = f"Content-Encoding {encoding} is not accepted; send the body as it is."
        raise NotSupported(why)
    more = True
    while more:
        try:
            async with asyncio.timeout(limits.RECEIVE_TIMEOUT_SECONDS):
                message = await request.receive()
        except TimeoutError:
            seconds = limits.RECEIVE_TIMEOUT_SECONDS
            raise Stalled(f"No bytes of the body arrived for {seconds:g} seconds.") from None
        if message["type"] == "http.disconnect":
            raise ClientGone
        if piece := message.get("body", b""):
            yield piece
        more = message.get("more_body", False)


async def whole(request: Request, bytes_max: int = limits.BODY_BYTES_MAX) -> bytes:
    """Give the whole body.

    Raises:
        TooLarge: it is longer than that; nothing beyond the bound is held.
        NotSupported, Stalled, ClientGone: as `pieces`.
    """
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > bytes_max:
        raise _too_large(bytes_max)
    body = bytearray()
    async with aclosing(pieces(request)) as received:
        async for piece in received:
            if len(body) + len(piece) > bytes_max:
                raise _too_large(bytes_max)
            body += piece
    return bytes(body)


async def gone(receive: Receive) -> None:
    """Return when the client has closed its connection."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def while_connected(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Await work, and cancel it when the client goes away.

    Raises:
        ClientGone: it did.
    """
    task = asyncio.create_task(work)
    leaving = asyncio.create_task(gone(request.receive))
    try:
        await asyncio.wait({task, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise ClientGone
    finally:
        leaving.cancel()
        task.cancel()
        await asyncio.gather(task, leaving, return_exceptions=True)


def _too_large(bytes_max: int) -> TooLarge:
    return TooLarge(f"The request body is larger than the {bytes_max} bytes that are accepted.")
