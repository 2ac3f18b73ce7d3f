"""Errors of calls: the body and the HTTP status."""

from __future__ import annotations

from typing import Final

from msgspec import Struct, field, json

from nightrate.dialects.gemini_profiles import Profile
from nightrate.domain.generation import Failure
from nightrate.errors import BadKey, Code, MissingCache, MissingFile, OverQuota, Refused


class _FieldViolation(Struct):
    """Which field is to blame."""

    field: str
    description: str


class _BadRequestDetail(Struct, rename="camel"):
    """The detail of an error that names fields."""

    field_violations: list[_FieldViolation]
    type: str = field(name="@type", default="type.googleapis.com/google.rpc.BadRequest")


class _ErrorInfoDetail(Struct):
    """The detail of an error that names its reason for programs."""

    reason: str
    domain: str
    type: str = field(name="@type", default="type.googleapis.com/google.rpc.ErrorInfo")


class _QuotaViolation(Struct, rename="camel"):
    """Which quota is used up."""

    subject: str
    description: str
    quota_id: str
    quota_value: str


class _QuotaFailureDetail(Struct):
    """The detail of an error that names quotas."""

    violations: list[_QuotaViolation]
    type: str = field(name="@type", default="type.googleapis.com/google.rpc.QuotaFailure")


class _RetryInfoDetail(Struct, rename="camel"):
    """The detail of an error that tells when another try may succeed."""

    retry_delay: str
    type: str = field(name="@type", default="type.googleapis.com/google.rpc.RetryInfo")


_ErrorDetail = _BadRequestDetail | _ErrorInfoDetail | _QuotaFailureDetail | _RetryInfoDetail


class _ErrorStatus(Struct, omit_defaults=True):
    """An error of a call; ``code`` is the HTTP status."""

    code: int
    message: str
    status: str
    details: list[_ErrorDetail] = []


class _ErrorBody(Struct):
    """The body of every answer that is not 200."""

    error: _ErrorStatus


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
    if profile is Profile.EXACT and isinstance(fault, MissingCache):
        return _error(Code.PERMISSION_DENIED, fault.message, [])
    return _error(fault.code, fault.message, _details(fault))


def _details(fault: Refused) -> list[_ErrorDetail]:
    if isinstance(fault, BadKey):
        return [_ErrorInfoDetail("API_KEY_INVALID", "googleapis.com")]
    if isinstance(fault, OverQuota):
        return _quota_details(fault)
    return _violations(fault.field, fault.message)


def _violations(field: str | None, message: str) -> list[_ErrorDetail]:
    return [] if field is None else [_BadRequestDetail([_FieldViolation(field, message)])]


def _quota_details(fault: OverQuota) -> list[_ErrorDetail]:
    """Name the quota, if it is one that can be set, and when another try may succeed."""
    details: list[_ErrorDetail] = []
    if fault.quota is not None:
        violation = _QuotaViolation("tenant", fault.message, fault.quota, str(fault.most))
        details.append(_QuotaFailureDetail([violation]))
    if fault.retry_seconds is not None:
        details.append(_RetryInfoDetail(f"{fault.retry_seconds}s"))
    return details


def render_failure(failure: Failure) -> tuple[int, bytes]:
    """Write how a live request failed: the HTTP status and the body."""
    return _error(failure.code, failure.message, _violations(failure.field, failure.message))


def _error(code: Code, message: str, details: list[_ErrorDetail]) -> tuple[int, bytes]:
    status = http_status(code)
    body = _ErrorBody(_ErrorStatus(status, message, code.name, details))
    return status, json.format(json.encode(body), indent=2)
