"""Errors of calls."""

from __future__ import annotations

import json

import pytest

from nightrate.dialects.gemini import Profile, http_status, render_error, render_failure
from nightrate.domain.generation import Failure
from nightrate.errors import (
    BadKey,
    BadRequest,
    BadToken,
    Code,
    MissingCache,
    MissingFile,
    NoKey,
    NotFound,
    NotSupported,
    OverQuota,
    TooLarge,
)


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (Code.INVALID_ARGUMENT, 400),
        (Code.FAILED_PRECONDITION, 400),
        (Code.OUT_OF_RANGE, 400),
        (Code.UNAUTHENTICATED, 401),
        (Code.PERMISSION_DENIED, 403),
        (Code.NOT_FOUND, 404),
        (Code.ALREADY_EXISTS, 409),
        (Code.ABORTED, 409),
        (Code.RESOURCE_EXHAUSTED, 429),
        (Code.CANCELLED, 499),
        (Code.INTERNAL, 500),
        (Code.UNKNOWN, 500),
        (Code.DATA_LOSS, 500),
        (Code.UNIMPLEMENTED, 501),
        (Code.UNAVAILABLE, 503),
        (Code.DEADLINE_EXCEEDED, 504),
    ],
)
def test_every_code_has_its_status(code: Code, status: int) -> None:
    assert http_status(code) == status


def test_no_code_is_without_a_status() -> None:
    assert all(http_status(code) >= 400 for code in Code)


def test_a_refusal_says_what_is_wrong() -> None:
    status, body = render_error(NotFound("There is no batch b1."))
    assert status == 404
    assert json.loads(body) == {
        "error": {"code": 404, "message": "There is no batch b1.", "status": "NOT_FOUND"}
    }


def test_a_refusal_names_the_field_that_is_to_blame() -> None:
    status, body = render_error(BadRequest("a.b: no.", field="a.b"))
    assert status == 400
    assert json.loads(body)["error"]["details"] == [
        {
            "@type": "type.googleapis.com/google.rpc.BadRequest",
            "fieldViolations": [{"field": "a.b", "description": "a.b: no."}],
        }
    ]


@pytest.mark.parametrize(
    ("fault", "status", "name"),
    [
        (TooLarge(), 400, "INVALID_ARGUMENT"),
        (NotSupported(), 501, "UNIMPLEMENTED"),
        (OverQuota(), 429, "RESOURCE_EXHAUSTED"),
    ],
)
def test_a_refusal_without_words_has_those_of_its_kind(
    fault: BadRequest, status: int, name: str
) -> None:
    answered, body = render_error(fault)
    error = json.loads(body)["error"]
    assert (answered, error["code"], error["status"]) == (status, status, name)
    assert error["message"]


def test_a_live_failure_is_an_error_too() -> None:
    status, body = render_failure(Failure(Code.UNAVAILABLE, "The engine is not running."))
    assert status == 503
    assert json.loads(body) == {
        "error": {"code": 503, "message": "The engine is not running.", "status": "UNAVAILABLE"}
    }


def test_a_missing_file_looks_forbidden_in_the_exact_profile() -> None:
    fault = MissingFile("There is none.", "abc")
    assert render_error(fault)[0] == 404
    status, body = render_error(fault, Profile.EXACT)
    error = json.loads(body)["error"]
    assert (status, error["code"], error["status"]) == (403, 403, "PERMISSION_DENIED")
    assert "the File abc or it may not exist" in error["message"]
    assert render_error(NotFound("no batch"), Profile.EXACT)[0] == 404


def test_a_missing_cached_content_is_not_found_or_forbidden_as_the_profile_has_it() -> None:
    fault = MissingCache("CachedContent not found (or permission denied): cachedContents/c")
    for profile, code, name in [
        (Profile.DOCUMENTED, 404, "NOT_FOUND"),
        (Profile.EXACT, 403, "PERMISSION_DENIED"),
    ]:
        status, body = render_error(fault, profile)
        expected = {"code": code, "message": fault.message, "status": name}
        assert (status, json.loads(body)) == (code, {"error": expected})


def test_a_bad_key_is_told_so_for_programs() -> None:
    status, body = render_error(BadKey())
    error = json.loads(body)["error"]
    assert (status, error["status"]) == (400, "INVALID_ARGUMENT")
    (detail,) = error["details"]
    assert detail["@type"] == "type.googleapis.com/google.rpc.ErrorInfo"
    assert detail["reason"] == "API_KEY_INVALID"


@pytest.mark.parametrize(
    ("fault", "status", "name"),
    [(NoKey(), 403, "PERMISSION_DENIED"), (BadToken(), 401, "UNAUTHENTICATED")],
)
def test_who_brings_no_key_or_a_bad_token_is_told_so(
    fault: NoKey | BadToken, status: int, name: str
) -> None:
    answered, body = render_error(fault)
    error = json.loads(body)["error"]
    assert (answered, error["status"]) == (status, name)
    assert "details" not in error


def test_a_quota_that_is_used_up_is_named_with_when_to_come_again() -> None:
    fault = OverQuota("No room.", quota="file_storage_bytes_max", most=9, retry_seconds=60)
    status, body = render_error(fault)
    assert status == 429
    assert json.loads(body)["error"]["details"] == [
        {
            "@type": "type.googleapis.com/google.rpc.QuotaFailure",
            "violations": [
                {
                    "subject": "tenant",
                    "description": "No room.",
                    "quotaId": "file_storage_bytes_max",
                    "quotaValue": "9",
                }
            ],
        },
        {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "60s"},
    ]


def test_what_waiting_does_not_help_is_not_told_to_wait() -> None:
    _, body = render_error(OverQuota("Never.", quota="enqueued_tokens_max", most=9))
    (detail,) = json.loads(body)["error"]["details"]
    assert detail["@type"].endswith("QuotaFailure")
    assert "details" not in json.loads(render_error(OverQuota("Full."))[1])["error"]


def test_a_live_failure_names_the_field_that_is_to_blame() -> None:
    status, body = render_failure(Failure(Code.INVALID_ARGUMENT, "a.b: too long.", "a.b"))
    error = json.loads(body)["error"]
    assert (status, error["message"]) == (400, "a.b: too long.")
    (detail,) = error["details"]
    assert detail["fieldViolations"] == [{"field": "a.b", "description": "a.b: too long."}]
    _, plain = render_failure(Failure(Code.INTERNAL, "No."))
    assert "details" not in json.loads(plain)["error"]
