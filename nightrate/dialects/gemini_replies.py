"""From a reply to Gemini's response."""

from __future__ import annotations

import math
from json.encoder import encode_basestring_ascii
from typing import Final

from msgspec import UNSET, Raw, json

from nightrate.dialects.gemini_answer_shapes import (
    AnswerCandidate,
    AnswerContent,
    Blob,
    CitationMetadata,
    CitationSource,
    FunctionCallPart,
    GenerateContentResponse,
    InlineDataPart,
    LogprobsCandidate,
    LogprobsResult,
    ModalityTokenCount,
    PromptFeedback,
    SafetyRating,
    TextPart,
    ThoughtPart,
    TopCandidates,
    UsageMetadata,
)
from nightrate.dialects.gemini_calls import call_part
from nightrate.dialects.gemini_grounding import grounding_of, pages_of
from nightrate.dialects.gemini_ranges import harm_name
from nightrate.domain.generation import Candidate, FinishReason, Reply, Token, Usage
from nightrate.domain.grounding import Citation, Grounding
from nightrate.domain.guidance import HarmRating

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
    blocked = reply.blocked
    return GenerateContentResponse(
        UNSET
        if blocked is not None
        else [
            _candidate(candidate, index, reply.grounding, ascii_only)
            for index, candidate in enumerate(reply.candidates)
        ],
        _usage_of(reply.usage),
        reply.model_version,
        response_id,
        UNSET
        if blocked is None
        else PromptFeedback(blocked.name, _ratings(reply.candidates[0].ratings)),
    )


def _candidate(
    candidate: Candidate,
    index: int,
    grounding: Grounding | None,
    ascii_only: bool,  # noqa: FBT001 - private, and one call
) -> AnswerCandidate:
    more = candidate.pictures or candidate.calls or candidate.thoughts
    parts = _parts(candidate, ascii_only) if more else (_part(candidate.text, ascii_only),)
    shown = AnswerCandidate(AnswerContent(parts), _finish_of(candidate), index)
    if grounding is not None:
        text_part = 1 if candidate.thoughts else 0
        shown.grounding_metadata = grounding_of(grounding, candidate.supports, text_part)
        shown.url_context_metadata = pages_of(grounding)
    if candidate.tokens:
        shown.avg_logprobs, shown.logprobs_result = _logprobs(candidate.tokens)
    shown.finish_message = candidate.end_message
    shown.safety_ratings = _ratings(candidate.ratings)
    if candidate.citations:
        shown.citation_metadata = _citations(candidate.citations)
    return shown


def _usage_of(usage: Usage) -> UsageMetadata:
    """Count tokens; what is told of their kinds is told only where it is known."""
    cached, lookup = usage.cached_tokens, usage.lookup_tokens
    prompt_tokens = usage.prompt_tokens - lookup
    answer_tokens = usage.output_tokens - usage.thought_tokens
    return UsageMetadata(
        prompt_tokens,
        answer_tokens,
        usage.prompt_tokens + usage.output_tokens,
        cached,
        lookup,
        usage.thought_tokens,
        _kinds(prompt_tokens, usage.media_tokens),
        _kinds(cached, usage.media_tokens) if usage.media_tokens == () else (),
        _kinds(answer_tokens, usage.drawn_tokens),
        _kinds(lookup),
    )


def _kinds(
    tokens: int, others: tuple[tuple[str, int], ...] | None = ()
) -> tuple[ModalityTokenCount, ...]:
    """Part tokens by their kinds, if there are any and the others than of text are known."""
    if others is None:
        return ()
    text_tokens = tokens - sum(other for _, other in others)
    kinds = (("TEXT", text_tokens), *others)
    return tuple(ModalityTokenCount(*kind) for kind in kinds if kind[1] > 0)


def _ratings(ratings: tuple[HarmRating, ...]) -> tuple[SafetyRating, ...]:
    return tuple(
        SafetyRating(harm_name(one.harm), one.likelihood.name, one.blocked) for one in ratings
    )


def _citations(citations: tuple[Citation, ...]) -> CitationMetadata:
    return CitationMetadata(
        tuple(
            CitationSource(one.start_byte, one.end_byte, one.uri, one.title, one.license)
            for one in citations
        )
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
