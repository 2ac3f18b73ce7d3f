"""The address under which clients see this server.

Upload URLs and file URIs are absolute, and the Python client uses them exactly as given, so a proxy
in front must be seen through.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from nightrate.api.profiles import prefix_of
from nightrate.errors import BadRequest

if TYPE_CHECKING:
    from starlette.requests import Request

_BASE = re.compile(
    r"https?://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?(/[A-Za-z0-9._~-]+)*"
)


def base_url(request: Request, public_url: str | None) -> str:
    """Give the base of absolute URLs, without a slash at its end.

    The configured public address rules; else what a proxy says in ``X-Forwarded-Proto``, ``-Host``
    and ``-Prefix``; else the request's own ``Host``. The prefix of a profile is kept.

    Raises:
        BadRequest: these headers do not make an address.
    """
    profile = prefix_of(request.scope)
    if public_url is not None:
        return public_url.rstrip("/") + profile
    scheme = _forwarded(request, "proto") or request.scope["scheme"]
    host = _forwarded(request, "host") or request.headers.get("host", "")
    mounted = request.scope.get("root_path", "").removesuffix(profile)
    prefix = (_forwarded(request, "prefix") or mounted).strip("/")
    base = f"{scheme}://{host}{'/' if prefix else ''}{prefix}{profile}"
    if not _BASE.fullmatch(base):
        message = "The headers Host and X-Forwarded-* do not make a web address."
        raise BadRequest(message)
    return base


def _forwarded(request: Request, part: str) -> str:
    """Give what the proxy nearest to the client said."""
    return request.headers.get(f"x-forwarded-{part}", "").split(",")[0].strip()
