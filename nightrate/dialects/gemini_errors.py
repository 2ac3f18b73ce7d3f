"""Errors of calls: the body and the HTTP status."""

from __future__ import annotations

from typing import Final

from msgspec import json

from nightrate.dialects.gemini_profiles import Profile
from nightrate.dialects.gemini_shapes import (
    BadRequestDetail,
    ErrorBody,
    ErrorDetail,
    ErrorInfoDetail,
    ErrorStatus,
    FieldViolation,
    QuotaFailureDetail,
    QuotaViolation,
    RetryInfoDetail,
)
from nightrate.domain.generation import Failure
from nightrate.errors import BadKey, Code, MissingFile, OverQuota, Refused

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
    if profile is Profile.EXACT and isinstance(fault, MissingFile):
        message = f"You do not have permission to access the File {fault.file_id}"
        return _error(Code.PERMISSION_DENIED, f"{message} or it may not exist.", [])
    return _error(fault.code, fault.message, _details(fault))


def _details(fault: Refused) -> list[ErrorDetail]:
    if isinstance(fault, BadKey):
        return [ErrorInfoDetail("API_KEY_INVALID", "googleapis.com")]
    if isinstance(fault, OverQuota):
        return _quota_details(fault)
    if fault.field is not None:
        return [BadRequestDetail([FieldViolation(fault.field, fault.message)])]
    return []


def _quota_details(fault: OverQuota) -> list[ErrorDetail]:
    """Name the quota, if it is one that can be set, and when another try may succeed."""
    details: list[ErrorDetail] = []
    if fault.quota is not None:
        violation = QuotaViolation("tenant", fault.message, fault.quota, str(fault.most))
        details.append(QuotaFailureDetail([violation]))
    if fault.retry_seconds is not None:
        details.append(RetryInfoDetail(f"{fault.retry_seconds}s"))
    return details


def render_failure(failure: Failure) -> tuple[int, bytes]:
    """Write how a live request failed: the HTTP status and the body."""
    return _error(failure.code, failure.message, [])


def _error(code: Code, message: str, details: list[ErrorDetail]) -> tuple[int, bytes]:
    status = http_status(code)
    body = ErrorBody(ErrorStatus(status, message, code.name, details))
    return status, json.format(json.encode(body), indent=2)
