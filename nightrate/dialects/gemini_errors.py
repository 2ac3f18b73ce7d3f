"""Errors of calls: the body and the HTTP status."""

from __future__ import annotations

from typing import Final

from msgspec import json

from nightrate.dialects.gemini_profiles import Profile
from nightrate.dialects.gemini_shapes import (
    BadRequestDetail,
    ErrorBody,
    ErrorStatus,
    FieldViolation,
)
from nightrate.domain.generation import Failure
from nightrate.errors import Code, MissingCache, MissingFile, Refused

_HTTP: Final = {
    Code.CANCELLED: 499,
    Code.UNKNOWN: 500,
    Code.INVALID_ARGUMENT: 400,
    Code.DEADLINE_EXCEEDED: 504,
    Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409,
    Code.PERMISSION_DENIED: 403,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.FAILED_PRECONDITION: 400,
    Code.ABORTED: 409,
    Code.OUT_OF_RANGE: 400,
    Code.UNIMPLEMENTED: 501,
    Code.INTERNAL: 500,
    Code.UNAVAILABLE: 503,
    Code.DATA_LOSS: 500,
    Code.UNAUTHENTICATED: 401,
}


def http_status(code: Code) -> int:
    """Give the HTTP status that stands for an rpc code."""
    return _HTTP[code]


def render_error(fault: Refused, profile: Profile = Profile.DOCUMENTED) -> tuple[int, bytes]:
    """Write a refusal: the HTTP status and the body, which names the field if one is to blame."""
    details = []
    if profile is Profile.EXACT and isinstance(fault, MissingFile):
        message = f"You do not have permission to access the File {fault.file_id}"
        return _error(Code.PERMISSION_DENIED, f"{message} or it may not exist.", [])
    if profile is Profile.EXACT and isinstance(fault, MissingCache):
        return _error(Code.PERMISSION_DENIED, fault.message, [])
    if fault.field is not None:
        details = [BadRequestDetail([FieldViolation(fault.field, fault.message)])]
    return _error(fault.code, fault.message, details)


def render_failure(failure: Failure) -> tuple[int, bytes]:
    """Write how a live request failed: the HTTP status and the body."""
    return _error(failure.code, failure.message, [])


def _error(code: Code, message: str, details: list[BadRequestDetail]) -> tuple[int, bytes]:
    status = http_status(code)
    body = ErrorBody(ErrorStatus(status, message, code.name, details))
    return status, json.format(json.encode(body), indent=2)
