"""An HTTP endpoint that answers prompts: bodies there and back, and what becomes of trouble.

Three kinds of trouble are kept apart. The request is to blame for what the endpoint says of it
alone: 400 and its kin, and 500, rubbish or no answer in time while others are answered. Nobody is
to blame for an endpoint that takes nobody now (429, 503), that fails for most, or for a connection
that broke. The configuration is to blame, or the endpoint is gone, when it knows neither key nor
path, or cannot be reached: then nothing is asked before somebody has looked after it, so that not
one request of a batch fails for it.

No word of a foreign body goes into an error; its status and its size do.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import TypeVar

import aiohttp
from aiohttp.typedefs import LooseHeaders
from msgspec import Struct

from nightrate import clock, limits
from nightrate.dialects.other_servers import Speech, too_long
from nightrate.dialects.retry_after import asked_seconds
from nightrate.engines.blame import (
    FORBIDDEN,
    GATEWAY,
    NO_SUCH_CALL,
    OK,
    TAKES_NOBODY,
    TOO_MANY,
    failure_of,
    misconfigured,
    unreachable,
)
from nightrate.engines.pace import Pace
from nightrate.errors import Code, EngineBusy, EngineDown, EngineFault, RequestFailed

Read = TypeVar("Read")

_TROUBLES = (TimeoutError, aiohttp.ClientError, OSError)

_HEALTHY = 0.5
"""The share of answers below which an endpoint is ill."""

_WAS_CLOSED = "The engine was closed."
_DATA = b"data:"


class Look(Struct, frozen=True):
    """What an endpoint says to the question what it serves."""

    status: int
    body: bytes


class Endpoint:
    """One endpoint, its connections and its pace. Made inside a running loop, closed once.

    Args:
        base_url: where it is, without a slash at the end.
        speech: how it says that it refuses, and that a stream ends.
        headers: sent with every request; keys among them.
        pace: how much it is asked.
        timeout_seconds: how long an answer may take.
    """

    def __init__(
        self,
        base_url: str,
        speech: Speech,
        headers: Mapping[str, str],
        pace: Pace,
        timeout_seconds: float,
    ) -> None:
        self.pace = pace
        self._speech = speech
        self._models = f"{base_url}/models"
        connect = limits.ENDPOINT_CONNECT_SECONDS
        self._looking_time = aiohttp.ClientTimeout(total=connect)
        self._closed = False
        self._lost = False
        """Whether it could not be reached the last time."""
        self._given_up: EngineDown | None = None
        self._proven = False
        """Whether it has answered a request since it was opened."""
        self._code = Code.UNAVAILABLE
        """What is said of requests that come while nothing is asked."""
        self._health = 1.0
        """The share of answers among the latest answers and failures."""
        self._look: asyncio.Task[Look | None] | None = None
        common: LooseHeaders = {
            "content-type": "application/json",
            "accept": "*/*",
            "accept-encoding": "identity",
            "user-agent": "nightrate",
            **headers,
        }
        self._session = aiohttp.ClientSession(
            # How many there are is bounded by the pace; idle ones are closed in time.
            connector=aiohttp.TCPConnector(
                limit=0, keepalive_timeout=limits.ENDPOINT_IDLE_SECONDS, enable_cleanup_closed=False
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=common,
            timeout=aiohttp.ClientTimeout(total=timeout_seconds, sock_connect=connect),
            trust_env=False,
            auto_decompress=False,
        )

    async def close(self) -> None:
        """Close every connection; requests under way fail with `EngineDown`."""
        self._closed = True
        if self._look is not None:
            self._look.cancel()
        await self._session.close()

    async def look(self) -> Look:
        """Ask what it serves.

        Raises:
            EngineDown: it cannot be reached.
        """
        try:
            async with self._session.get(
                self._models, timeout=self._looking_time, allow_redirects=False
            ) as response:
                return Look(response.status, await _read(response))
        except RequestFailed:
            return Look(OK, b"")  # far too long for a list
        except _TROUBLES as error:
            raise unreachable(error) from error

    async def ready(self) -> None:
        """Wait while it cannot be reached, for a while.

        Raises:
            EngineDown: it has been lost for too long, or must not be asked again as it is.
        """
        patience_ends = clock.monotonic() + limits.ENDPOINT_PATIENCE_SECONDS
        while True:
            if self._given_up is not None:
                raise self._given_up
            if not self._lost or await self._alive():
                return
            if clock.monotonic() >= patience_ends:
                seconds = limits.ENDPOINT_PATIENCE_SECONDS
                raise EngineDown(f"The endpoint could not be reached for {seconds:g} seconds.")
            await clock.sleep(limits.IDLE_POLL_SECONDS)

    async def post(
        self, url: str, body: bytes, read: Callable[[bytes], Read], *, optional: bool = False
    ) -> Read:
        """Send a body and give what is read out of the one that comes back.

        Args:
            url: where to.
            body: what.
            read: reads the answer, or fails with what may be tried again if it is none.
            optional: whether the endpoint may know no such call.

        Raises:
            RequestFailed: this request is to blame.
            EngineBusy: nobody is.
            EngineDown: the endpoint or its configuration is.
        """
        self.check()
        sent_at = clock.monotonic()
        try:
            async with self._session.post(url, data=_sent(body), allow_redirects=False) as response:
                content = await _read(response)
        except _TROUBLES as error:
            raise await self._fault(error, sent_at) from error
        if response.status != OK:
            raise self._refusal(response, content, sent_at, optional=optional)
        try:
            answer = read(content)
        except RequestFailed as failure:
            raise self._weighed(failure, sent_at) from failure
        self._answered()
        return answer

    async def events(self, url: str, body: bytes) -> AsyncGenerator[bytes, None]:
        """Send a body and give the data of the events that come back, as they come.

        Raises:
            RequestFailed: this request is to blame.
            EngineBusy: nobody is.
            EngineDown: the endpoint or its configuration is.
        """
        self.check()
        sent_at = clock.monotonic()
        try:
            async with self._session.post(url, data=_sent(body), allow_redirects=False) as response:
                if response.status != OK:
                    content = await _read(response)
                    raise self._refusal(response, content, sent_at, optional=False)
                try:
                    async for event in _events(response.content, self._speech.ending):
                        yield event
                finally:
                    if not response.content.at_eof():
                        response.close()  # what still comes is not waited for
        except RuntimeError as error:  # so the library says that the connection was closed here
            if not self._closed:
                raise
            raise EngineDown(_WAS_CLOSED, in_flight=True) from error
        except _TROUBLES as error:
            raise await self._fault(error, sent_at) from error
        self._answered()

    def _answered(self) -> None:
        self._proven = True
        self._health += (1 - self._health) / limits.ENDPOINT_REMEMBERED
        self.pace.answered()

    def _weighed(self, failure: RequestFailed, sent_at: float) -> EngineFault:
        """Say whose failure it is, when it may pass: of the request, or of an endpoint that is ill.

        One that answers its list of models and fails for all prompts has been seen in the wild.
        """
        if not failure.retriable:
            return failure
        self._health -= self._health / limits.ENDPOINT_REMEMBERED
        if self._health > _HEALTHY:
            self.pace.slow(sent_at)
            return failure
        self.pace.pause(sent_at, None)
        self._code = Code.UNAVAILABLE
        return EngineBusy(failure.message, code=failure.code, in_flight=True)

    def check(self) -> None:
        """See whether it may be asked now.

        Raises:
            EngineBusy: it refused others a moment ago.
            EngineDown: it must not be asked as it is.
        """
        if self._closed:
            raise EngineDown("The engine is closed.")
        if self._given_up is not None:
            raise self._given_up
        if pause := self.pace.pause_seconds():
            message = "The endpoint refused others a moment ago."
            raise EngineBusy(message, code=self._code, after_seconds=pause)

    # trouble ----------------------------------------------------------------------------------

    def _refusal(
        self, response: aiohttp.ClientResponse, body: bytes, sent_at: float, *, optional: bool
    ) -> EngineFault:
        """Say what a status means that is not 200."""
        status, blamed = response.status, self._speech.blamed(body)
        if status in TAKES_NOBODY and not blamed.refuses_all:
            asked = asked_seconds(response.headers.get("retry-after"), clock.now())
            if blamed.after_seconds is not None:
                asked = max(asked or 0.0, blamed.after_seconds)
            after_seconds = self.pace.pause(sent_at, asked)
            message = f"The endpoint takes no more requests now (status {status})."
            self._code = Code.RESOURCE_EXHAUSTED if status == TOO_MANY else Code.UNAVAILABLE
            # A gateway says 502 also when what is behind it died of the request.
            broke = status == GATEWAY
            return EngineBusy(
                message, code=self._code, after_seconds=after_seconds, in_flight=broke
            )
        if optional and status in NO_SUCH_CALL:
            message = f"The endpoint knows no such call (status {status})."
            return RequestFailed(message, code=Code.UNIMPLEMENTED)
        if down := misconfigured(status, blamed):
            self._given_up = down
            return down
        if status == FORBIDDEN and not self._proven:
            # The key, or a filter of contents that dislikes this request: others will show it.
            self.pace.slow(sent_at)
            message = "The endpoint forbids the request (status 403): check `api_key`."
            return EngineBusy(message, code=Code.PERMISSION_DENIED)
        return self._weighed(failure_of(status, blamed), sent_at)

    async def _fault(self, error: Exception, sent_at: float) -> EngineFault:
        """Say what an error on the way means."""
        if self._closed:
            return EngineDown(_WAS_CLOSED, in_flight=True)
        if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
            self._lost = True
            self.pace.pause(sent_at, None)
            self._code = Code.UNAVAILABLE
            return unreachable(error)
        if isinstance(error, TimeoutError):
            message = "The endpoint took longer than `timeout_seconds`."
            failure = RequestFailed(message, code=Code.DEADLINE_EXCEEDED, retriable=True)
            return self._weighed(failure, sent_at)
        self.pace.slow(sent_at)
        if await self._alive():
            message = "The connection to the endpoint broke."
            return EngineBusy(message, in_flight=True)
        if self._session.closed:
            return EngineDown(_WAS_CLOSED, in_flight=True)
        self._lost = True
        return EngineDown("The endpoint is gone.", in_flight=True)

    async def _alive(self) -> bool:
        """Tell whether it can be reached; all who want to know it at once ask once."""
        if self._look is None or self._look.done():
            self._look = asyncio.create_task(self._looked())
        look = self._look
        await asyncio.wait([look])  # so that a cancelled caller and a cancelled look differ
        if look.cancelled() or look.result() is None:
            return False
        self._lost = False
        return True

    async def _looked(self) -> Look | None:
        try:
            return await self.look()
        except EngineDown:
            return None


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """Read a body, up to what is held.

    Raises:
        RequestFailed: it is longer.
    """
    size = response.content_length
    if size is not None:
        if size > limits.LINE_BYTES_MAX:
            response.close()
            raise too_long()
        return await response.read()
    pieces, size = [], 0
    async for piece in response.content.iter_any():
        size += len(piece)
        if size > limits.LINE_BYTES_MAX:
            response.close()
            raise too_long()
        pieces.append(piece)
    return b"".join(pieces)


def _sent(body: bytes) -> bytes | io.BytesIO:
    """Have a long body, which holds media, sent in pieces: others get their turns in between."""
    return body if len(body) <= limits.WRITE_BYTES else io.BytesIO(body)


async def _events(
    content: aiohttp.StreamReader, ending: bytes | None
) -> AsyncGenerator[bytes, None]:
    """Give the data of server-sent events; each has one line, as the protocols have it."""
    begun, done = b"", False
    async for piece in content.iter_any():
        *lines, begun = (begun + piece).split(b"\n")
        for line in lines:
            if done or not line.startswith(_DATA):
                continue
            data = line[len(_DATA) :].strip()
            done = data == ending  # The end of the body is read too: the connection is used again.
            if not done:
                yield data
        if len(begun) > limits.ANSWER_EVENT_BYTES_MAX:
            raise too_long()
