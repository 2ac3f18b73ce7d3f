"""From a reply to Gemini's response."""

from __future__ import annotations

import math
from json.encoder import encode_basestring_ascii
from typing import Final

from msgspec import UNSET, Raw, json

from nightrate.dialects.gemini_calls import call_part
from nightrate.dialects.gemini_grounding import grounding_of, pages_of
from nightrate.dialects.gemini_shapes import (
    AnswerCandidate,
    AnswerContent,
    Blob,
    FunctionCallPart,
    GenerateContentResponse,
    InlineDataPart,
    LogprobsCandidate,
    LogprobsResult,
    ModalityTokenCount,
    PromptFeedback,
    TextPart,
    ThoughtPart,
    TopCandidates,
    UsageMetadata,
)
from nightrate.domain.generation import Candidate, FinishReason, Reply, Token, Usage

_FINISH: Final = {
    FinishReason.STOP: "STOP",
    FinishReason.LENGTH: "MAX_TOKENS",
    FinishReason.BAD_CALL: "MALFORMED_FUNCTION_CALL",
}


def _finish_of(candidate: Candidate) -> str:
    found = candidate.withheld
    return _FINISH[candidate.finish_reason] if found is None else found.name


def render_reply(reply: Reply, response_id: str) -> bytes:
    """Write the answer to a live request, as the original service prints it."""
    return json.format(json.encode(response_of(reply, response_id)), indent=2)


def response_of(
    reply: Reply, response_id: str, *, ascii_only: bool = False
) -> GenerateContentResponse:
    """Give a reply its shape on the wire; every candidate has parts, even without text.

    A blocked prompt has no candidates, and a word on why: that is an answer, not an error.

    Args:
        reply: what the engine answered.
        response_id: an opaque id.
        ascii_only: whether texts are escaped now, which is faster than in the finished line.
    """
    usage = reply.usage
    grounding = reply.grounding
    return GenerateContentResponse(
        UNSET
        if reply.blocked is not None
        else [
            AnswerCandidate(
                AnswerContent(
                    _parts(candidate, ascii_only)
                    if candidate.pictures or candidate.calls or candidate.thoughts
                    else (_part(candidate.text, ascii_only),)
                ),
                _finish_of(candidate),
                index,
                None
                if grounding is None
                else grounding_of(grounding, candidate.supports, 1 if candidate.thoughts else 0),
                None if grounding is None else pages_of(grounding),
                *(_logprobs(candidate.tokens) if candidate.tokens else ()),
            )
            for index, candidate in enumerate(reply.candidates)
        ],
        _usage_of(usage),
        reply.model_version,
        response_id,
        UNSET if reply.blocked is None else PromptFeedback(reply.blocked.name),
    )


def _usage_of(usage: Usage) -> UsageMetadata:
    """Count tokens; what is told of their kinds is told only where it is known."""
    media, cached = usage.media_tokens, usage.cached_tokens
    kinds: tuple[ModalityTokenCount, ...] = ()
    if media is not None:
        text_tokens = usage.prompt_tokens - sum(tokens for _, tokens in media)
        kinds = tuple(ModalityTokenCount(*kind) for kind in (("TEXT", text_tokens), *media))
    return UsageMetadata(
        usage.prompt_tokens,
        usage.output_tokens - usage.thought_tokens,
        usage.prompt_tokens + usage.output_tokens,
        cached,
        usage.thought_tokens,
        kinds,
        (ModalityTokenCount("TEXT", cached),) if cached and media == () else (),
    )


def _logprobs(tokens: tuple[Token, ...]) -> tuple[float, LogprobsResult]:
    """Say how likely tokens were: on the average, and one by one."""
    total = math.fsum(token.log_probability for token in tokens)
    tops: tuple[TopCandidates, ...] = ()
    if any(token.others for token in tokens):
        tops = tuple(TopCandidates(tuple(map(_likely, token.others))) for token in tokens)
    return total / len(tokens), LogprobsResult(tuple(map(_likely, tokens)), total, tops)


def _likely(token: Token) -> LogprobsCandidate:
    return LogprobsCandidate(token.text, token.log_probability, token.token_id)


def _parts(
    candidate: Candidate,
    ascii_only: bool,  # noqa: FBT001 - private, and one call
) -> tuple[TextPart | InlineDataPart | FunctionCallPart, ...]:
    """Give what was thought and the text, if there is any, and then the pictures and the calls."""
    thoughts = (
        (ThoughtPart(_part(candidate.thoughts, ascii_only).text),) if candidate.thoughts else ()
    )
    texts = (_part(candidate.text, ascii_only),) if candidate.text else ()
    pictures = (
        InlineDataPart(Blob(picture.mime_type, picture.data)) for picture in candidate.pictures
    )
    return (*thoughts, *texts, *pictures, *map(call_part, candidate.calls))


def _part(text: str, ascii_only: bool) -> TextPart:  # noqa: FBT001 - private, and one call
    if ascii_only and not text.isascii():
        return TextPart(Raw(encode_basestring_ascii(text).encode("ascii")))
    return TextPart(text)
