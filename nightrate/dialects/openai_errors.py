"""Errors as OpenAI's clients know them: the body and the HTTP status."""

from __future__ import annotations

from typing import Final

from msgspec import Struct, json

from nightrate.dialects.gemini_errors import http_status
from nightrate.domain.generation import Failure
from nightrate.errors import BadKey, BadToken, Code, NoKey, Refused

_BAD_REQUEST = 400
_TOO_MANY = 429
_SERVER_ERROR = 500

_BAD_KEY = "invalid_api_key"
_NAMES: Final = {
    Code.INVALID_ARGUMENT: "invalid_value",
    Code.UNIMPLEMENTED: "unsupported_parameter",
    Code.UNAUTHENTICATED: _BAD_KEY,
    Code.RESOURCE_EXHAUSTED: "rate_limit_exceeded",
}
"""What a code is called; the others by their own names."""


class ErrorDetail(Struct):
    """What went wrong; ``status`` is the name that Google's clients know."""

    message: str
    type: str
    param: str | None
    code: str
    status: str


class ErrorBody(Struct):
    """The body of an error."""

    error: ErrorDetail


def error_of(failure: Failure) -> tuple[int, ErrorBody]:
    """Give the HTTP status of a failure, and its body.

    An option that is not served is the client's to leave out, so it is 400 and not 501: the
    official clients try again whatever is 500 and more.
    """
    status = http_status(failure.code)
    if failure.code is Code.UNIMPLEMENTED and failure.field is not None:
        status = _BAD_REQUEST
    kind = "server_error" if status >= _SERVER_ERROR else "invalid_request_error"
    if status == _TOO_MANY:
        kind = "rate_limit_error"
    name = _NAMES.get(failure.code, failure.code.name.lower())
    detail = ErrorDetail(failure.message, kind, failure.field, name, failure.code.name)
    return status, ErrorBody(detail)


def render_error(fault: Refused) -> tuple[int, bytes]:
    """Write a refusal: the HTTP status and the body, which names the member to blame."""
    status, body = error_of(Failure(fault.code, fault.message, fault.field))
    if isinstance(fault, NoKey | BadKey | BadToken):
        body.error.code = _BAD_KEY
    return status, json.format(json.encode(body), indent=2)


def render_failure(failure: Failure) -> tuple[int, bytes]:
    """Write how a live request failed: the HTTP status and the body."""
    status, body = error_of(failure)
    return status, json.format(json.encode(body), indent=2)
