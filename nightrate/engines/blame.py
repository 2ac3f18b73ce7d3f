"""Who is to blame for what an endpoint says, by its status; in words of ours alone."""

from __future__ import annotations

import os
from typing import Final

import aiohttp

from nightrate.dialects.other_servers import Blamed
from nightrate.errors import Code, EngineDown, RequestFailed

OK: Final = 200
FORBIDDEN: Final = 403
TOO_MANY: Final = 429
GATEWAY: Final = 502

_ELSEWHERE, _REFUSED = 300, 400
_TIMED_OUT, _CONFLICT, _TOO_LARGE, _TOO_EARLY, _CANCELLED = 408, 409, 413, 425, 499
_ERROR, _UNIMPLEMENTED, _GATEWAY_TIME = 500, 501, 504

TAKES_NOBODY: Final = frozenset({TOO_MANY, GATEWAY, 503, 529})
"""Statuses for which nobody is to blame."""

NO_SUCH_CALL: Final = frozenset({404, 405, 501})
"""Statuses of an endpoint that does not know what was asked."""

_MISCONFIGURED: Final = {
    401: "it does not accept the key: check `api_key`",
    402: "it wants to be paid first",
    404: "it knows no such path or model: check `base_url` and `model`",
    405: "it takes no such call there: check `base_url`",
    501: "it takes no such call there: check `base_url`",
}
"""Statuses that no other request would escape, and what to do."""


def misconfigured(status: int, blamed: Blamed) -> EngineDown | None:
    """Say what is wrong with the configuration, if that is to blame."""
    why = blamed.refuses_all or _MISCONFIGURED.get(status)
    if _ELSEWHERE <= status < _REFUSED:
        why = "it is somewhere else: check `base_url`"
    if status == _UNIMPLEMENTED and blamed.code is Code.UNIMPLEMENTED:
        why = None  # It knows the call, and cannot do what this request asks for.
    return EngineDown(f"The endpoint answers with status {status}: {why}.") if why else None


def failure_of(status: int, blamed: Blamed) -> RequestFailed:
    """Say how one request failed, with a status that blames the request."""
    if status in (_TIMED_OUT, _GATEWAY_TIME):
        message = f"The endpoint took too long (status {status})."
        return RequestFailed(message, code=Code.DEADLINE_EXCEEDED, retriable=True)
    if status == _UNIMPLEMENTED:
        message = f"The endpoint cannot do what is asked (status {status}){blamed.words}."
        return RequestFailed(message, code=Code.UNIMPLEMENTED)
    if status >= _ERROR or status in (_CONFLICT, _TOO_EARLY, _CANCELLED):
        message = f"The endpoint failed (status {status})."
        return RequestFailed(message, code=Code.INTERNAL, retriable=True)
    if status < _REFUSED:
        message = f"The endpoint gave no answer (status {status})."
        return RequestFailed(message, code=Code.INTERNAL, retriable=True)
    if status == FORBIDDEN:
        message = "The endpoint forbids this request, unlike others (status 403)."
        return RequestFailed(message, code=Code.PERMISSION_DENIED)
    why = ": it is too large" if status == _TOO_LARGE else blamed.words
    message = f"The endpoint refused the request (status {status}){why}."
    return RequestFailed(message, code=blamed.code or Code.INVALID_ARGUMENT)


def unreachable(error: Exception) -> EngineDown:
    """Say why nobody is there, in words of the operating system; they name no address."""
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    why = type(error).__name__
    if isinstance(cause, OSError) and cause.errno is not None:
        # Names that are not found have numbers below zero, and words of their own.
        why = os.strerror(cause.errno) if cause.errno > 0 else cause.strerror or why
    return EngineDown(f"The endpoint cannot be reached: {why}.")
