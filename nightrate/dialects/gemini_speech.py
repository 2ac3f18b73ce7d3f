"""What a server that speaks Gemini's protocol says beside answers: vectors, counts, refusals.

See `gemini_answers` for answers, and `other_servers` for what may be repeated of a refusal.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec
from msgspec import Raw, Struct, field, json

from nightrate.dialects.gemini_usage import prompt_tokens_of
from nightrate.dialects.other_servers import Blamed, Speech, check_length, reckoned, unreadable
from nightrate.domain.embedding import Passage
from nightrate.errors import Code

_CODES: Final = {
    code.name: code
    for code in (
        *(Code.INVALID_ARGUMENT, Code.FAILED_PRECONDITION, Code.OUT_OF_RANGE, Code.UNIMPLEMENTED),
    )
}
"""Kinds of refusals that are about one request."""
_KEY_REASONS: Final = (
    *("API_KEY_INVALID", "API_KEY_SERVICE_BLOCKED", "API_KEY_HTTP_REFERRER_BLOCKED"),
    *("API_KEY_IP_ADDRESS_BLOCKED", "API_KEY_ANDROID_APP_BLOCKED", "API_KEY_IOS_APP_BLOCKED"),
    *("CONSUMER_INVALID", "CONSUMER_SUSPENDED", "SERVICE_DISABLED", "BILLING_DISABLED"),
    *("CREDENTIALS_MISSING", "ACCESS_TOKEN_EXPIRED", "ACCESS_TOKEN_TYPE_UNSUPPORTED"),
)
"""Reasons that no other request with this key would escape."""
_ELSEWHERE: Final = "User location is not supported"
_TOO_MANY_TOKENS: Final = "exceeds the maximum number of tokens"
_MEMBERS: Final = frozenset(
    {
        *("contents", "parts", "text", "role", "model", "content", "taskType", "title"),
        *("generationConfig", "systemInstruction", "tools", "toolConfig", "functionDeclarations"),
        *("functionCall", "functionResponse", "functionCallingConfig", "mode", "imageConfig"),
        *("temperature", "topP", "topK", "seed", "presencePenalty", "frequencyPenalty"),
        *("maxOutputTokens", "stopSequences", "responseLogprobs", "logprobs", "aspectRatio"),
        *("responseMimeType", "responseSchema", "responseJsonSchema", "responseModalities"),
        *("outputDimensionality", "parametersJsonSchema", "imageSize", "embedContentConfig"),
    }
)
"""Words of ours, or of the protocol's documents, that an answer may repeat to us."""
_PLACES: Final = re.compile(r"\[[0-9]{1,9}\]")
_DELAY: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)s")


class _Values(Struct):
    values: list[float]


class _Vector(Struct, rename="camel"):
    embedding: _Values
    usage_metadata: Raw = Raw()


class _Count(Struct, rename="camel"):
    total_tokens: int


class _Listed(Struct):
    name: str


class _Models(Struct):
    models: list[_Listed] = []


class _Violation(Struct):
    field: str = ""


class _Detail(Struct, rename="camel"):
    type: str = field(name="@type", default="")
    reason: str = ""
    retry_delay: str = ""
    field_violations: list[_Violation] = []


class _Status(Struct):
    message: str = ""
    status: str = ""
    details: list[_Detail] = []


class _Blame(Struct):
    error: _Status


_VECTORS: Final = json.Decoder(_Vector)
_COUNTS: Final = json.Decoder(_Count)
_MODELS: Final = json.Decoder(_Models)
_BLAMES: Final = json.Decoder(_Blame | list[_Blame])

_UNDECODABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def read_vector(body: bytes, passage: Passage) -> tuple[list[float], int]:
    """Read a vector: its numbers as they came, and the tokens of the text.

    Raises:
        RequestFailed: it is no vector, or not of the length that was asked for.
    """
    try:
        found = _VECTORS.decode(body)
    except _UNDECODABLE as error:
        raise unreadable(len(body)) from error
    values = found.embedding.values
    if not values:
        raise unreadable(len(body))
    check_length(values, passage)
    tokens = prompt_tokens_of(found.usage_metadata)
    return values, reckoned(passage.text) if tokens is None else tokens


def read_count(body: bytes) -> int:
    """Read the answer of ``:countTokens``.

    Raises:
        RequestFailed: it is none.
    """
    try:
        return _COUNTS.decode(body).total_tokens
    except _UNDECODABLE as error:
        raise unreadable(len(body)) from error


def read_models(body: bytes) -> list[str] | None:
    """Read the names in the list of models; None when it is no such list."""
    try:
        return [model.name.removeprefix("models/") for model in _MODELS.decode(body).models]
    except _UNDECODABLE:
        return None


def blamed(body: bytes) -> Blamed:
    """Say why a request was refused, as far as that can be said in words of our own."""
    try:
        found = _BLAMES.decode(body)
        error = found[0].error if isinstance(found, list) else found.error
    except (*_UNDECODABLE, IndexError):
        return Blamed()
    delays = [_DELAY.fullmatch(detail.retry_delay) for detail in error.details]
    members = [
        member
        for detail in error.details
        for violation in detail.field_violations
        if (member := _member(violation.field))
    ]
    words = [f"member {member}" for member in dict.fromkeys(members)]
    if _TOO_MANY_TOKENS in error.message:
        words.insert(0, "it has more tokens than the model takes")
    return Blamed(
        words=f": {', '.join(words)}" if words else "",
        code=_CODES.get(error.status),
        after_seconds=max((float(delay[1]) for delay in delays if delay), default=None),
        refuses_all=_refuses_all(error),
    )


def _refuses_all(error: _Status) -> str:
    """Say why no other request would escape."""
    for detail in error.details:
        if detail.reason in _KEY_REASONS:
            return f"it does not accept the key ({detail.reason}): check `api_key`"
    if error.message.startswith(_ELSEWHERE):
        return "it serves nobody from where this server is: use another endpoint"
    return ""


def _member(path: str) -> str:
    """Give the beginning of a path that consists of known names; the rest may be a client's."""
    known = []
    for step in path.split("."):
        if _PLACES.sub("", step) not in _MEMBERS:
            break
        known.append(step)
    return ".".join(known)


GEMINI: Final = Speech(ending=None, read_models=read_models, blamed=blamed)
