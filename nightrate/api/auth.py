"""Who is calling."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.requests import Request

DEFAULT_TENANT = "default"


def tenant_of(request: Request) -> str:
    """Name the tenant of a request: the one place that decides whose data is seen.

    A server without keys has one tenant and takes any key, and none: clients of Google's must set
    some key to be constructed at all.
    """
    del request
    return DEFAULT_TENANT
