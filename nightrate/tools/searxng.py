"""A SearXNG, asked over HTTP: a metasearch engine that the operator runs.

It is where the operator said, so it may be anywhere. No word that it says goes into an error; its
status does.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from nightrate import clock, tool_limits
from nightrate.domain.generation import Failure
from nightrate.domain.grounding import Source
from nightrate.domain.retry import retry_delay_seconds
from nightrate.errors import Code, SettingsFault
from nightrate.tools.excerpts import excerpts
from nightrate.tools.places import Places
from nightrate.tools.search import Search

if TYPE_CHECKING:
    import aiohttp

_OK = 200
_FORBIDDEN = 403
_TOO_MANY = 429
_ITS_FAULT = 500
_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")


class Result(Struct):
    """A page that it found; what it does not say is empty."""

    url: str | None = None
    title: str | None = None
    content: str | None = None


class Results(Struct):
    """What it answers."""

    results: list[Result]
    unresponsive_engines: list[Any] = []


class _Trouble(Struct):
    """Why a try failed, and whether another one may help."""

    message: str
    again: bool = True


class SearXNG(Search):
    """Asks a SearXNG.

    Args:
        address: its web address, as the setting has it.

    Raises:
        SettingsFault: the address is none, or carries a password, which would be shown with it.
    """

    def __init__(self, address: str) -> None:
        parts = urlsplit(address)
        if not parts.hostname or "@" in parts.netloc or parts.query or parts.fragment:
            message = f"search {address!r}: write an address such as http://127.0.0.1:8888"
            raise SettingsFault([message])
        self._url = f"{address.rstrip('/').removesuffix('/search')}/search"
        self._name = f"the SearXNG at {parts.netloc}"
        self._client: aiohttp.ClientSession | None = None
        self._places = Places(
            tool_limits.SEARCHES_AT_ONCE_MAX, tool_limits.LIVE_SEARCHES_AT_ONCE_MAX
        )

    async def search(self, query: str, limit: int, *, live: bool) -> list[Source] | Failure:
        """Ask, again where that may help, and give the first results."""
        attempt = 1
        while True:
            async with self._places.of(live=live):
                found = await self._ask(query)
            if isinstance(found, Results):
                return _sources(found, limit)
            if not found.again or attempt >= tool_limits.SEARCH_TRIES_MAX:
                return Failure(Code.UNAVAILABLE, f"No search was made: {found.message}")
            await clock.sleep(retry_delay_seconds(attempt, None, clock.jitter()))
            attempt += 1

    async def close(self) -> None:
        """Close every connection."""
        if self._client is not None:
            await self._client.close()
            self._client = None

    async def _ask(self, query: str) -> Results | _Trouble:
        import aiohttp

        if self._client is None:
            self._client = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0),  # its places are the bound
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"user-agent": "nightrate", "accept": "application/json"},
                timeout=aiohttp.ClientTimeout(
                    total=None,  # one that goes on answering is not late
                    sock_connect=tool_limits.SEARCH_SECONDS,
                    sock_read=tool_limits.SEARCH_SECONDS,
                ),
                trust_env=False,
            )
        asked = {"q": query, "format": "json"}
        try:
            async with self._client.get(self._url, params=asked, allow_redirects=False) as response:
                if response.status != _OK:
                    return self._refused(response.status)
                body = await _body(response)
        except TimeoutError:
            seconds = tool_limits.SEARCH_SECONDS
            return _Trouble(f"{self._name} did not answer within {seconds:g} s. Try again.")
        except (aiohttp.ClientError, OSError) as error:
            what = type(error).__name__
            return _Trouble(f"{self._name} cannot be reached ({what}). Start it, and try again.")
        return self._read(body)

    def _refused(self, status: int) -> _Trouble:
        said = f"{self._name} answers with status {status}."
        if status == _FORBIDDEN:
            remedy = "Let it answer in JSON: search.formats in its settings.yml."
            return _Trouble(f"{said} {remedy}", again=False)
        if status == _TOO_MANY or status >= _ITS_FAULT:
            return _Trouble(f"{said} Try again later.")
        return _Trouble(f"{said} Check the setting search.", again=False)

    def _read(self, body: bytes | None) -> Results | _Trouble:
        if body is None:
            most = tool_limits.SEARCH_ANSWER_BYTES_MAX
            return _Trouble(f"{self._name} answers with more than {most} bytes.", again=False)
        try:
            found = msgspec.json.decode(body, type=Results)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return _Trouble(
                f"{self._name} does not answer as one. Check the setting search.", again=False
            )
        if not found.results and found.unresponsive_engines:
            return _Trouble(f"The engines behind {self._name} do not answer. Try again later.")
        return found


async def _body(response: aiohttp.ClientResponse) -> bytes | None:
    """Give the body, unpacked; None when it is too long, of which no more is held than allowed."""
    body = bytearray()
    async for piece in response.content.iter_any():
        body += piece
        if len(body) > tool_limits.SEARCH_ANSWER_BYTES_MAX:
            return None
    return bytes(body)


def _sources(found: Results, limit: int) -> list[Source]:
    sources: list[Source] = []
    for result in found.results:
        uri = (result.url or "").strip()
        usable = uri.lower().startswith(("http://", "https://"))
        if len(sources) < limit and usable and len(uri) <= tool_limits.DOCUMENT_URI_CHARACTERS_MAX:
            title = _line(result.title or uri)[: tool_limits.DOCUMENT_TITLE_CHARACTERS_MAX]
            first = next(excerpts(_line(result.content or "")), None)
            sources.append(Source(uri, title, first.text if first else ""))
    return sources


def _line(text: str) -> str:
    return " ".join(_CONTROL.sub(" ", text).split())
