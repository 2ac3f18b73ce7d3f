"""From a reply to OpenAI's chat completion."""

from __future__ import annotations

from typing import Final, Literal

from msgspec import UNSET, Struct, UnsetType, json

from nightrate.clock import Instant
from nightrate.dialects.openai_calls import AnswerCall, calls_of
from nightrate.dialects.openai_likely import Likelihoods, likelihoods_of
from nightrate.domain.generation import Candidate, FinishReason, Reply, Usage

_FINISH: Final = {
    FinishReason.STOP: "stop",
    FinishReason.LENGTH: "length",
    FinishReason.BAD_CALL: "stop",
    FinishReason.WITHHELD: "content_filter",
}
_BAD_CALL = "What the model wrote as a call is none of those that it may make. Ask again."

_MICROSECONDS = 1_000_000


def seconds(instant: Instant) -> int:
    """Give a time as OpenAI's documents have it: whole seconds since 1970."""
    return instant // _MICROSECONDS


class PromptDetails(Struct):
    """Of the prompt's tokens."""

    cached_tokens: int


class CompletionDetails(Struct):
    """Of the answer's tokens."""

    reasoning_tokens: int = 0


class CompletionUsage(Struct):
    """What a completion used."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptDetails
    completion_tokens_details: CompletionDetails


class AnswerMessage(Struct, tag_field="role", tag="assistant"):
    """What the model said."""

    content: str | None
    refusal: str | None = None
    tool_calls: list[AnswerCall] | UnsetType = UNSET


class Choice(Struct):
    """One answer."""

    index: int
    message: AnswerMessage
    finish_reason: str
    logprobs: Likelihoods | None = None


class ChatCompletion(Struct, kw_only=True):
    """The answer to a chat request."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[Choice]
    usage: CompletionUsage
    system_fingerprint: None = None


def usage_of(usage: Usage) -> CompletionUsage:
    """Give what was used its shape on the wire."""
    return CompletionUsage(
        usage.prompt_tokens,
        usage.output_tokens,
        usage.prompt_tokens + usage.output_tokens,
        PromptDetails(usage.cached_tokens),
        CompletionDetails(usage.thought_tokens),
    )


def completion_id(response_id: str) -> str:
    """Name a completion."""
    return f"chatcmpl-{response_id}"


def finish_of(candidate: Candidate) -> str:
    """Say why an answer ended."""
    return "tool_calls" if candidate.calls else _FINISH[candidate.finish_reason]


def refusal_of(candidate: Candidate) -> str | None:
    """Say why an answer has no call; the protocol knows no reason for its end that would."""
    return _BAD_CALL if candidate.finish_reason is FinishReason.BAD_CALL else None


def _message(candidate: Candidate, index: int, response_id: str) -> AnswerMessage:
    refusal = refusal_of(candidate)
    if not candidate.calls and refusal is None:
        return AnswerMessage(candidate.text)
    calls = calls_of(candidate, index, response_id)
    return AnswerMessage(candidate.text or None, refusal, calls or UNSET)


def completion_of(reply: Reply, response_id: str, now: Instant) -> ChatCompletion:
    """Give a reply its shape on the wire.

    Args:
        reply: what the engine answered.
        response_id: an opaque id.
        now: when it was answered.
    """
    return ChatCompletion(
        id=completion_id(response_id),
        created=seconds(now),
        model=reply.model_version,
        choices=[
            Choice(
                index,
                _message(candidate, index, response_id),
                finish_of(candidate),
                likelihoods_of(candidate),
            )
            for index, candidate in enumerate(reply.candidates)
        ],
        usage=usage_of(reply.usage),
    )


def render_completion(reply: Reply, response_id: str, now: Instant) -> bytes:
    """Write the answer to a live request."""
    return json.encode(completion_of(reply, response_id, now))
