"""Errors in OpenAI's form."""

from __future__ import annotations

import json

import pytest

from nightrate.dialects.openai import render_error, render_failure
from nightrate.domain.generation import Failure
from nightrate.errors import (
    BadKey,
    BadRequest,
    BadToken,
    Code,
    NoKey,
    NotFound,
    NotSupported,
    OverQuota,
    Refused,
)


@pytest.mark.parametrize(
    ("fault", "status", "kind", "code"),
    [
        (BadRequest("x", field="top_p"), 400, "invalid_request_error", "invalid_value"),
        (NotSupported("x", field="n"), 400, "invalid_request_error", "unsupported_parameter"),
        (NotSupported("x"), 501, "server_error", "unsupported_parameter"),
        (NotFound("x"), 404, "invalid_request_error", "not_found"),
        (OverQuota("x"), 429, "rate_limit_error", "rate_limit_exceeded"),
        (NoKey("x"), 403, "invalid_request_error", "invalid_api_key"),
        (BadKey("x"), 400, "invalid_request_error", "invalid_api_key"),
        (BadToken("x"), 401, "invalid_request_error", "invalid_api_key"),
    ],
)
def test_a_refusal_has_its_status_and_names_its_member(
    fault: Refused, status: int, kind: str, code: str
) -> None:
    found, body = render_error(fault)
    assert found == status
    assert json.loads(body) == {
        "error": {
            "message": "x",
            "type": kind,
            "param": fault.field,
            "code": code,
            "status": fault.code.name,
        }
    }


@pytest.mark.parametrize(
    ("code", "status", "kind", "name"),
    [
        (Code.UNAUTHENTICATED, 401, "invalid_request_error", "invalid_api_key"),
        (Code.UNAVAILABLE, 503, "server_error", "unavailable"),
        (Code.INTERNAL, 500, "server_error", "internal"),
    ],
)
def test_a_failure_has_the_status_of_its_code(
    code: Code, status: int, kind: str, name: str
) -> None:
    found, body = render_failure(Failure(code, "x"))
    error = json.loads(body)["error"]
    assert (found, error["type"], error["code"], error["status"]) == (status, kind, name, code.name)
