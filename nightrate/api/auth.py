"""Who is calling: the one place that decides whose data is seen."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from starlette.datastructures import QueryParams

from nightrate.api.profiles import PREFIXED
from nightrate.domain.key import DEFAULT_TENANT
from nightrate.errors import BadKey, BadToken, NoKey

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import ASGIApp, Receive, Scope, Send

    from nightrate.service.keys import Keys

_CALLER = "nightrate.tenant"
_OPEN = {"/livez", "/readyz", "/openapi.json", "/.well-known/jwks.json"}
_LOCAL = {"/metrics"}
"""Open to callers on the machine itself, which is where gatherers of figures often are."""

_BEARER = re.compile(r"bearer +(.+)", re.IGNORECASE)
_HOW = (
    "This call needs an API key of this server: as the header x-goog-api-key, as ?key= in the URL,"
    " or as the header Authorization: Bearer."
)


class _Given(NamedTuple):
    """What a caller sent."""

    text: str
    is_bearer: bool


class Gate:
    """Names the tenant of every call, or refuses it, before anything of its body is read.

    A server without keys has one tenant and takes any key, and none: clients of Google's must set
    some key to be constructed at all.
    """

    def __init__(self, app: ASGIApp, keys: Keys, is_piece: Callable[[Scope], bool]) -> None:
        """Stand before an app.

        Args:
            app: what answers.
            keys: which keys there are.
            is_piece: tells the calls that an unguessable id in their URL authorises.
        """
        self._app = app
        self._keys = keys
        self._is_piece = is_piece

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http":
            scope[_CALLER] = await self._caller(scope)
        await self._app(scope, receive, send)

    async def _caller(self, scope: Scope) -> str | None:
        """Name the tenant; None for whoever is let in without one."""
        path: str = scope["path"].removeprefix(f"/{PREFIXED}")
        if path in _OPEN:
            return None
        if not await self._keys.needed():
            return DEFAULT_TENANT
        given = _given(scope)
        if self._is_piece(scope):
            return None if given is None else await self._keys.tenant_of(given.text)
        if given is None:
            if path in _LOCAL and _is_local(scope):
                return None
            raise NoKey(_HOW)
        tenant = await self._keys.tenant_of(given.text)
        if tenant is None:
            if given.is_bearer:
                raise BadToken
            raise BadKey("API key not valid. Please pass a valid API key.")
        return tenant


def tenant_of(request: Request) -> str:
    """Name the tenant of a request."""
    tenant = caller_of(request)
    assert tenant is not None, "the gate let nobody else in here"
    return tenant


def caller_of(request: Request) -> str | None:
    """Name the tenant of a request; None when its URL alone authorises it."""
    tenant: str | None = request.scope[_CALLER]
    return tenant


def _given(scope: Scope) -> _Given | None:
    """Find what was sent: the first place that holds something counts."""
    headers = {name: value for name, value in reversed(scope["headers"]) if value}
    if b"x-goog-api-key" in headers:
        return _Given(headers[b"x-goog-api-key"].decode("latin-1"), is_bearer=False)
    if key := QueryParams(scope["query_string"]).get("key"):
        return _Given(key, is_bearer=False)
    match = _BEARER.fullmatch(headers.get(b"authorization", b"").decode("latin-1"))
    return None if match is None else _Given(match[1].strip(), is_bearer=True)


def _is_local(scope: Scope) -> bool:
    """Tell whether the caller is on this machine; the server has seen through a local proxy."""
    host = (scope.get("client") or ("",))[0]
    try:
        address = ipaddress.ip_address(host)
    except ValueError:  # a proxy may name its client as it likes
        return False
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback
