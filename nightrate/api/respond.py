"""Answers: whole documents and streams."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Self

from starlette.responses import Response

from nightrate.api.body import ClientGone, gone
from nightrate.domain.generation import Failure, Reply

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

JSON = "application/json; charset=UTF-8"

STREAM_HEADERS = {
    "cache-control": "no-cache",
    "x-content-type-options": "nosniff",
    "x-accel-buffering": "no",  # a proxy in front that gathers answers would undo the stream
}


class Unbegun(Exception):
    """A stream failed before its first text, so that it can be answered as any other call."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


async def told(
    pieces: AsyncGenerator[str | Reply | Failure, None],
    write: Callable[[str | Reply | Failure], bytes],
) -> AsyncGenerator[bytes, None]:
    """Write the pieces of a streamed answer.

    Raises:
        Unbegun: the first of them is a failure.
    """
    begun = False
    async with aclosing(pieces):
        async for piece in pieces:
            if isinstance(piece, Failure) and not begun:
                raise Unbegun(piece)
            begun = True
            yield write(piece)


def document(body: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Answer with a JSON document."""
    fixed = {"content-type": JSON, "x-content-type-options": "nosniff"}
    return Response(body, status, {**fixed, **(headers or {})})


class Streamed(Response):
    """An answer whose body is made while it is sent, one piece in memory at a time.

    The first piece is made before the answer begins, so that what can be known to be wrong by then
    is answered as an error. A later error ends the connection in the middle of the body, which a
    client can tell from its proper end.
    """

    def __init__(
        self,
        body: AsyncGenerator[bytes, None],
        first: bytes,
        headers: Mapping[str, str],
        status: int = 200,
    ) -> None:
        super().__init__(None, status, headers)
        # The base class counts an empty body; the length is known to the caller or to nobody.
        self.raw_headers = [
            (name.lower().encode("latin-1"), value.encode("latin-1"))
            for name, value in headers.items()
        ]
        self._body = body
        self._first = first

    @classmethod
    async def begin(
        cls, body: AsyncGenerator[bytes, None], headers: Mapping[str, str], status: int = 200
    ) -> Self:
        """Make the first piece; whatever that raises is raised here."""
        return cls(body, await anext(body, b""), headers, status)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it.

        Raises:
            ClientGone: nobody listens any more.
        """
        leaving = asyncio.create_task(gone(receive))
        try:
            await self._send(scope, send, leaving)
        finally:
            leaving.cancel()
            await asyncio.wait({leaving})

    async def _send(self, scope: Scope, send: Send, leaving: asyncio.Task[None]) -> None:
        start = {
            "type": "http.response.start",
            "status": self.status_code,
            "headers": self.raw_headers,
        }
        async with aclosing(self._body) as body:
            await send(start)
            if scope["method"] != "HEAD":
                await send(_part(self._first))
                async for piece in body:
                    if leaving.done():
                        raise ClientGone
                    await send(_part(piece))
        await send({"type": "http.response.body", "body": b"", "more_body": False})


class Told(Streamed):
    """A streamed answer that somebody else is still making, and that nobody makes for nobody.

    The body is cancelled the moment the client leaves, also while its next piece is waited for.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it.

        Raises:
            ClientGone: nobody listens any more.
        """
        leaving = asyncio.create_task(gone(receive))
        sending = asyncio.create_task(self._send(scope, send, leaving))
        try:
            await asyncio.wait({leaving, sending}, return_when=asyncio.FIRST_COMPLETED)
            if not sending.done():
                raise ClientGone
            sending.result()
        finally:
            leaving.cancel()
            sending.cancel()
            await asyncio.gather(leaving, sending, return_exceptions=True)


def _part(piece: bytes) -> dict[str, object]:
    return {"type": "http.response.body", "body": piece, "more_body": True}
