"""Around every request: what is refused before routing, how errors are answered, what is logged."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from nightrate import clock, limits, telemetry
from nightrate.api.body import ClientGone, Stalled
from nightrate.api.profiles import profile_of
from nightrate.api.respond import document
from nightrate.api.surfaces import Surface, failed, refusal, retry_headers, surface_of
from nightrate.dialects import gemini as wire
from nightrate.domain.generation import Failure
from nightrate.errors import (
    BadRequest,
    BadToken,
    Code,
    Damaged,
    EngineFault,
    NotReady,
    OverQuota,
    Refused,
    StoreFault,
    TooLarge,
)

if TYPE_CHECKING:
    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_PATH_CHARACTERS_LOGGED = 200
_CLIENT_GONE = 499

ErrorHeaders = Callable[["Scope"], Mapping[str, str]]
"""Gives the headers that an error answer to this request must carry."""


class Watch:
    """Answers what went wrong in the shape of the dialect, and logs one line a request.

    Only method, path, status, sizes and times are logged: never the query, which may hold a key.
    """

    def __init__(self, app: ASGIApp, error_headers: ErrorHeaders) -> None:
        self._app = app
        self._error_headers = error_headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = clock.monotonic()
        status, sent_bytes = 0, 0

        async def watched(message: Message) -> None:
            nonlocal status, sent_bytes
            if message["type"] == "http.response.start":
                status = message["status"]
            sent_bytes += len(message.get("body", b""))
            await send(message)

        try:
            refuse_ambiguous(scope)
            await self._app(scope, receive, watched)
        except ClientGone:
            status = _CLIENT_GONE
        except asyncio.CancelledError:  # the server ends, and has waited for long enough
            if status:
                raise
            await self._answer(NotReady("The server is stopping."), scope, receive, watched)
        except Exception as error:  # noqa: BLE001 - the last place: answered and logged, not lost
            if status:  # too late for an answer: the connection ends in the middle of the body
                telemetry.fault("answer broke off", error, path=_path(scope))
            else:
                await self._answer(error, scope, receive, watched)
        telemetry.event(
            "request",
            method=scope["method"],
            path=_path(scope),
            status=status,
            sent_bytes=sent_bytes,
            seconds=round(clock.monotonic() - began, 6),
        )

    async def _answer(
        self, error: Exception, scope: Scope, receive: Receive, watched: Send
    ) -> None:
        headers = self._error_headers(scope)
        answer = answer_to(error, headers, profile_of(scope), surface_of(scope))
        await answer(scope, receive, watched)


def answer_to(
    error: Exception,
    headers: Mapping[str, str],
    profile: wire.Profile = wire.Profile.DOCUMENTED,
    surface: Surface = Surface.GEMINI,
) -> Response:
    """Turn what was raised into an answer; what is the server's fault is logged here."""
    if isinstance(error, Refused):
        status, body = refusal(error, surface, profile)
        fixed = {**headers, **retry_headers(status, surface), **_headers_of(error)}
        return document(body, status, fixed)
    reference = clock.new_id(8)
    telemetry.fault("request failed", error, reference=reference)
    failure = Failure(Code.INTERNAL, f"Internal error; the server's log has it as {reference}.")
    if isinstance(error, Damaged):
        failure = Failure(Code.DATA_LOSS, error.message)
    elif isinstance(error, StoreFault | EngineFault):
        failure = Failure(Code.UNAVAILABLE, error.message)
    status, body = failed(failure, surface)
    return document(body, status, headers)


def _headers_of(error: Refused) -> Mapping[str, str]:
    """Give the headers that belong to a kind of refusal."""
    if isinstance(error, Stalled | Ambiguous):
        # The rest of a body that stalled, or of a request that is not understood, is not awaited.
        return {"connection": "close"}
    if isinstance(error, BadToken):
        return {"www-authenticate": "Bearer"}
    if isinstance(error, OverQuota):
        # Clients that would try again by themselves are told not to: a quota is freed by the end
        # of work or by its owner, seldom within the seconds that they would wait.
        wait = error.retry_seconds
        return {"x-should-retry": "false", **({"retry-after": str(wait)} if wait else {})}
    return {}


class Ambiguous(BadRequest):
    """The request can be read in two ways, which smuggling lives on."""


def refuse_ambiguous(scope: Scope) -> None:
    """Refuse what the HTTP parser lets through.

    Raises:
        TooLarge: more or longer headers than anyone needs.
        Ambiguous: no host, or a chunked body in a version of HTTP that has none.
    """
    headers: list[tuple[bytes, bytes]] = scope["headers"]
    if len(headers) > limits.HEADERS_MAX:
        message = f"The request has more than {limits.HEADERS_MAX} headers."
        raise TooLarge(message)
    if sum(len(name) + len(value) for name, value in headers) > limits.HEADER_BYTES_MAX:
        message = f"The request's headers are longer than {limits.HEADER_BYTES_MAX} bytes."
        raise TooLarge(message)
    names = [name for name, _ in headers]
    if names.count(b"host") != 1:
        message = "The request must name its Host, once."
        raise Ambiguous(message)
    if scope["http_version"] == "1.0" and b"transfer-encoding" in names:
        message = "HTTP/1.0 has no Transfer-Encoding."
        raise Ambiguous(message)


def _path(scope: Scope) -> str:
    path: str = scope["path"]
    return path[:_PATH_CHARACTERS_LOGGED]
