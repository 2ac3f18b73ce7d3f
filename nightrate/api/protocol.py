"""HTTP as bytes: what the parser refuses, and clients that take their time with it."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from nightrate import limits
from nightrate.api.respond import JSON
from nightrate.dialects import gemini as wire
from nightrate.errors import BadRequest, Refused, TooLarge


class Protocol(HttpToolsProtocol):
    """The strictest parser of those measured; its refusals are JSON documents.

    A connection that does not bring a whole head of a request in time, and one that takes nothing
    of its answer for long, is dropped: each holds a descriptor, and the latter a piece of a file.
    A head that grows without end is refused before its end.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._head_bytes = 0
        self._in_head = True
        self._head_due: asyncio.TimerHandle | None = None
        self._taking_due: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request."""
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        _off(self._head_due)
        _off(self._taking_due)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on, unless the head has become too long."""
        if self._in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        # What came behind a whole head is its body, of any length.
        if self._in_head and self._head_bytes > limits.HEAD_BYTES_MAX:
            most = limits.HEAD_BYTES_MAX
            self._refuse(TooLarge(f"The request's head is longer than {most} bytes."))

    def on_message_begin(self) -> None:
        """Begin with a request."""
        super().on_message_begin()
        if not self._in_head:
            self._await_head()

    def on_headers_complete(self) -> None:
        """Have the head of a request."""
        self._in_head = False
        self._head_bytes = 0
        _off(self._head_due)
        super().on_headers_complete()

    def pause_writing(self) -> None:
        """Wait for the client to take what is there."""
        super().pause_writing()
        self._taking_due = self.loop.call_later(limits.TAKE_TIMEOUT_SECONDS, self._drop)

    def resume_writing(self) -> None:
        """Go on: the client took it."""
        _off(self._taking_due)
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """Refuse bytes that are no HTTP request, and close: what follows them means nothing."""
        self._refuse(BadRequest(msg))

    def _await_head(self) -> None:
        self._in_head = True
        _off(self._head_due)
        self._head_due = self.loop.call_later(limits.RECEIVE_TIMEOUT_SECONDS, self._drop)

    def _drop(self) -> None:
        """End the connection at once: what it has not taken would be waited for."""
        self.transport.abort()

    def _refuse(self, refused: Refused) -> None:
        if self.transport.is_closing():
            return
        _, body = wire.render_error(refused)
        head = (
            "HTTP/1.1 400 Bad Request\r\n"
            f"content-type: {JSON}\r\n"
            f"content-length: {len(body)}\r\n"
            "x-goog-upload-status: final\r\n"  # which door was meant is not known
            "connection: close\r\n\r\n"
        )
        self.transport.write(head.encode("ascii") + body)
        self.transport.close()


def _off(timer: asyncio.TimerHandle | None) -> None:
    """Switch a timer off, if there is one."""
    if timer is not None:
        timer.cancel()
