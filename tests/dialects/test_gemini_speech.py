"""What a server that speaks Gemini's protocol says beside answers; what of it may be repeated."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from nightrate.dialects.gemini_speech import blamed, read_count, read_models, read_vector
from nightrate.domain.embedding import Passage
from nightrate.errors import Code, RequestFailed


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"embedding":{"values":[1,2]},"usageMetadata":{"promptTokenCount":7}}', 7),
        (b'{"embedding":{"values":[1,2]},"usageMetadata":{}}', 2),
        (b'{"embedding":{"values":[1,2]}}', 2),
        (b'{"embedding":{"values":[1,2]},"usageMetadata":null}', 2),
        (b'{"embedding":{"values":[1,2]},"usageMetadata":{"promptTokenCount":-7}}', 2),
    ],
)
def test_a_vector_is_read_with_its_tokens(body: bytes, expected: int) -> None:
    assert read_vector(body, Passage(text="12345", dimensions=2)) == ([1.0, 2.0], expected)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"embedding":{"values":[1,2,3]}}', Code.INVALID_ARGUMENT),
        (b'{"embedding":{"values":[]}}', Code.INTERNAL),
        (b'{"embedding":{}}', Code.INTERNAL),
        (b"\xff", Code.INTERNAL),
    ],
)
def test_what_is_no_vector_or_too_long_is_refused(body: bytes, code: Code) -> None:
    with pytest.raises(RequestFailed) as failed:
        read_vector(body, Passage(text="12345", dimensions=2))
    assert failed.value.code is code


def test_a_count_is_read() -> None:
    assert read_count(b'{"totalTokens":31,"promptTokensDetails":[]}') == 31
    with pytest.raises(RequestFailed, match="not of the protocol"):
        read_count(b'{"count":1}')


def test_models_are_named_without_their_collection() -> None:
    body = b'{"models":[{"name":"models/a","version":"1"},{"name":"tunedModels/b"}]}'
    assert read_models(body) == ["a", "tunedModels/b"]
    assert read_models(b"{}") == []
    assert read_models(b"<html>") is None


# refusals -------------------------------------------------------------------------------------


def refusal(status: str = "", message: str = "SECRET", *details: dict[str, Any]) -> bytes:
    error = {"code": 400, "message": message, "status": status, "details": list(details)}
    return msgspec.json.encode({"error": error})


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("generationConfig.topK", ": member generationConfig.topK"),
        ("contents[0].parts[12].text", ": member contents[0].parts[12].text"),
        (
            "generationConfig.responseJsonSchema.properties.SECRET",
            ": member generationConfig.responseJsonSchema",
        ),
        ("SECRET.topK", ""),
        ("", ""),
    ],
)
def test_of_a_path_only_known_names_are_repeated(path: str, words: str) -> None:
    detail = {"@type": "BadRequest", "fieldViolations": [{"field": path}, {"field": path}]}
    found = blamed(refusal("INVALID_ARGUMENT", "SECRET", detail))
    assert (found.words, found.code) == (words, Code.INVALID_ARGUMENT)


def test_a_prompt_that_is_too_long_is_told_so() -> None:
    message = "The input token count (9) exceeds the maximum number of tokens allowed (8)."
    assert blamed(refusal("INVALID_ARGUMENT", message)).words == (
        ": it has more tokens than the model takes"
    )


@pytest.mark.parametrize(
    ("delay", "seconds"),
    [("26s", 26.0), ("0.5s", 0.5), ("34.074824224s", 34.074824224), ("9", None), ("-1s", None)],
)
def test_how_long_to_wait_stands_in_the_body(delay: str, seconds: float | None) -> None:
    help_detail: dict[str, Any] = {"@type": "Help", "links": []}
    details = ({"@type": "RetryInfo", "retryDelay": delay}, help_detail)
    assert blamed(refusal("RESOURCE_EXHAUSTED", "", *details)).after_seconds == seconds


def test_a_refusal_that_nobody_escapes_says_what_to_do() -> None:
    key = {"@type": "ErrorInfo", "reason": "API_KEY_INVALID", "domain": "googleapis.com"}
    other = {"@type": "ErrorInfo", "reason": "SECRET"}
    assert "check `api_key`" in blamed(refusal("INVALID_ARGUMENT", "", other, key)).refuses_all
    place = "User location is not supported for the API use."
    assert "another endpoint" in blamed(refusal("FAILED_PRECONDITION", place)).refuses_all
    assert not blamed(refusal("INVALID_ARGUMENT", "", other)).refuses_all


def test_a_refusal_may_come_in_a_list_of_one() -> None:
    body = b"[" + refusal("OUT_OF_RANGE") + b"]"
    assert blamed(body).code is Code.OUT_OF_RANGE
    assert blamed(refusal("INTERNAL")).code is None


@pytest.mark.parametrize("body", [b"", b"<html>SECRET", b"\xff", b"[]", b'{"error":"SECRET"}'])
def test_a_refusal_in_other_words_says_nothing(body: bytes) -> None:
    found = blamed(body)
    assert (found.words, found.code, found.after_seconds, found.refuses_all) == ("", None, None, "")
