"""Fetching pages that a client names: only where the server may connect to, and within bounds.

Every place on the way is looked at anew: its address as it is dialled, its port, its robots.txt.
Nothing of ours is sent but a name; nothing that is said there goes into a log.
"""

from __future__ import annotations

import asyncio
import socket
import string
from collections import OrderedDict
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urljoin, urlsplit

from msgspec import Struct

from nightrate import clock, tool_limits
from nightrate.errors import BadRequest, Fault
from nightrate.tools.addresses import Addresses, NotAllowed

if TYPE_CHECKING:
    import aiohttp
    from protego import Protego

AGENT: Final = "nightrate"
"""How the server calls itself, also to a robots.txt."""

_USUAL_PORTS: Final = {None, 80, 443}
_ASCII: Final = string.punctuation
"""Left as it is, beside letters and digits."""

_REDIRECTS: Final = {301, 302, 303, 307, 308}
_OK: Final = 200
_PAYMENT: Final = 402
_CLIENT_ERRORS: Final = range(400, 500)
_TOO_MANY: Final = 429


class Why(StrEnum):
    """Why there is no page."""

    FAILED = "failed"
    """It is not there, takes too long, is too large, or no page."""
    UNSAFE = "unsafe"
    """The server does not connect there."""
    PAYWALL = "paywall"
    """It costs money."""


class NotFetched(Fault):
    """There is no page."""

    def __init__(self, why: Why = Why.FAILED) -> None:
        super().__init__()
        self.why = why


class Fetched(Struct, frozen=True, gc=False):
    """A page as it came; ``charset`` is how its text is encoded, where its site says so."""

    data: bytes
    mime_type: str
    charset: str | None


class _Robots:
    """What a site allows, and until when that is known; None when it allows nothing now."""

    def __init__(self) -> None:
        self.asking = asyncio.Lock()
        self.until = 0.0
        self.rules: Protego | None = None


class Web:
    """Fetches pages.

    Args:
        addresses: where it may connect to.
        private: whether ports of any kind are allowed, as they are in a network of one's own.
    """

    def __init__(self, addresses: Addresses, *, private: bool = False) -> None:
        self._addresses = addresses
        self._private = private
        self._robots: OrderedDict[str, _Robots] = OrderedDict()
        """By site, the one that was looked at last behind the others."""

    async def fetch(self, uri: str) -> Fetched:
        """Fetch a page, over as many places as its site leads to and the bound allows.

        Raises:
            NotFetched: there is none, or none that may be fetched.
        """
        try:
            async with asyncio.timeout(tool_limits.PAGE_SECONDS):
                for _ in range(tool_limits.PAGE_REDIRECTS_MAX + 1):
                    uri = _in_ascii(uri)
                    self._check(uri)
                    await self._ask_robots(uri)
                    found = await self._get(uri, tool_limits.PAGE_BYTES_MAX)
                    if isinstance(found, Fetched):
                        return found
                    uri = found
        except TimeoutError as error:
            raise NotFetched from error
        raise NotFetched

    def _check(self, uri: str) -> None:
        try:
            self._addresses.check_uri(uri, "uri")
        except BadRequest as error:
            raise NotFetched(Why.UNSAFE) from error
        port = urlsplit(uri).port
        web = port in _USUAL_PORTS or (
            tool_limits.PAGE_PORT_MIN <= (port or 0) <= tool_limits.PAGE_PORT_MAX
        )
        if not web and not self._private:
            raise NotFetched(Why.UNSAFE)

    async def _ask_robots(self, uri: str) -> None:
        """Ask the site's robots.txt whether its pages may be fetched by programs."""
        parts = urlsplit(uri)
        site = f"{parts.scheme}://{parts.netloc}"
        known = self._robots.setdefault(site, _Robots())
        self._robots.move_to_end(site)
        while len(self._robots) > tool_limits.ROBOTS_REMEMBERED_MAX:
            self._robots.popitem(last=False)
        async with known.asking:  # once for all pages of a site
            if known.until <= clock.monotonic():
                known.rules = await self._robots_of(site)
                known.until = clock.monotonic() + tool_limits.ROBOTS_SECONDS
        if known.rules is None or not known.rules.can_fetch(uri, AGENT):
            raise NotFetched

    async def _robots_of(self, site: str) -> Protego | None:
        """Read a robots.txt as RFC 9309 wants: none allows all, one that is withheld nothing.

        A long one is judged by its beginning.
        """
        from protego import Protego

        uri = f"{site}/robots.txt"
        try:
            for _ in range(tool_limits.PAGE_REDIRECTS_MAX + 1):
                uri = _in_ascii(uri)
                self._check(uri)
                found = await self._get(uri, tool_limits.ROBOTS_BYTES_MAX, beginning=True)
                if isinstance(found, Fetched):
                    return Protego.parse(found.data.decode("utf-8", "replace"))
                uri = found
        except _Missing:
            return Protego.parse("")
        return None

    async def _get(self, uri: str, bytes_max: int, *, beginning: bool = False) -> Fetched | str:
        """Ask one place; give what it has, or where it leads to.

        Args:
            uri: its address.
            bytes_max: how long it may be.
            beginning: whether of what is longer the first lines are given, instead of nothing.

        Raises:
            NotFetched: it has nothing, or may not be asked.
        """
        import aiohttp

        refused: list[str] = []

        def dial(info: Any) -> socket.socket:
            try:
                return self._addresses.open_socket(info)
            except NotAllowed as error:
                refused.append(str(error))
                raise

        connector = aiohttp.TCPConnector(socket_factory=dial, force_close=True, use_dns_cache=False)
        headers = {"user-agent": AGENT, "accept-encoding": "identity"}
        timeout = aiohttp.ClientTimeout(
            total=tool_limits.PAGE_SECONDS, sock_connect=tool_limits.PAGE_CONNECT_SECONDS
        )
        try:
            async with (
                aiohttp.ClientSession(
                    connector=connector,
                    cookie_jar=aiohttp.DummyCookieJar(),
                    trust_env=False,
                    auto_decompress=False,
                ) as client,
                client.get(uri, headers=headers, timeout=timeout, allow_redirects=False) as answer,
            ):
                return await _taken(answer, uri, bytes_max, beginning=beginning)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise NotFetched(Why.UNSAFE if refused else Why.FAILED) from error


class _Missing(NotFetched):
    """The site says that it has no such page."""


def _in_ascii(uri: str) -> str:
    """Write an address as it is sent; a name that is not ASCII is none that is allowed then."""
    return quote(uri.encode("utf-8", "surrogateescape"), safe=_ASCII)


async def _taken(
    answer: aiohttp.ClientResponse, uri: str, bytes_max: int, *, beginning: bool
) -> Fetched | str:
    status = answer.status
    if status in _REDIRECTS and (to := answer.headers.get("location")):
        return urljoin(uri, to).partition("#")[0]
    if status == _PAYMENT:
        raise NotFetched(Why.PAYWALL)
    if status in _CLIENT_ERRORS and status != _TOO_MANY:
        raise _Missing
    packed = answer.headers.get("content-encoding", "identity").lower() != "identity"
    if status != _OK or packed:  # what comes packed could unfold without bound
        raise NotFetched
    data = bytearray()
    async for piece in answer.content.iter_any():
        data += piece
        if len(data) > bytes_max:
            if not beginning:
                raise NotFetched
            del data[bytes_max:]
            del data[
                1 + max(data.rfind(b"\n"), data.rfind(b"\r")) :
            ]  # half a line says another thing
            break
    return Fetched(bytes(data), answer.content_type.lower(), answer.charset)
