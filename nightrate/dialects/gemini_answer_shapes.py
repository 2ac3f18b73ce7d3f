"""The shapes of Gemini's answers to one request, member by member.

The page about options has a row for each member, and for each that is never sent; tests see to it.
"""

from __future__ import annotations

from msgspec import UNSET, Raw, Struct, UnsetType

from nightrate.dialects.gemini_grounding import GroundingMetadata, UrlContextMetadata


class TextPart(Struct, gc=False):
    """A piece of an answer; raw text is a JSON string already."""

    text: str | Raw


class ThoughtPart(TextPart, gc=False):
    """A piece of what was thought before an answer."""

    thought: bool = True


class Blob(Struct, rename="camel", gc=False):
    """Bytes in an answer; they are written as base64."""

    mime_type: str
    data: bytes


class InlineDataPart(Struct, rename="camel", gc=False):
    """A picture of an answer."""

    inline_data: Blob


class FunctionCall(Struct, omit_defaults=True, gc=False):
    """A call in an answer; its arguments are JSON as the model wrote it."""

    name: str
    args: Raw
    id: str | None = None


class FunctionCallPart(Struct, rename="camel", gc=False):
    """A call of an answer."""

    function_call: FunctionCall


class AnswerContent(Struct, gc=False):
    """The answer of one candidate; ``parts`` is never missing."""

    parts: tuple[TextPart | ThoughtPart | InlineDataPart | FunctionCallPart, ...]
    role: str = "model"


class LogprobsCandidate(Struct, rename="camel", omit_defaults=True, gc=False):
    """A token, and the natural logarithm of its probability."""

    token: str
    log_probability: float
    token_id: int | None = None


class TopCandidates(Struct, gc=False):
    """The likeliest tokens of one place."""

    candidates: tuple[LogprobsCandidate, ...]


class LogprobsResult(Struct, rename="camel", omit_defaults=True, gc=False):
    """How likely the tokens of an answer were."""

    chosen_candidates: tuple[LogprobsCandidate, ...]
    log_probability_sum: float
    top_candidates: tuple[TopCandidates, ...] = ()


class SafetyRating(Struct, omit_defaults=True, gc=False):
    """How likely a text was found to do a harm, and whether that is why it is not there."""

    category: str
    probability: str
    blocked: bool = False


class CitationSource(Struct, rename="camel", omit_defaults=True, gc=False):
    """A piece of an answer that repeats a source; counted in bytes of UTF-8, without what is 0."""

    start_index: int = 0
    end_index: int = 0
    uri: str = ""
    title: str = ""
    license: str = ""


class CitationMetadata(Struct, rename="camel", gc=False):
    """What an answer repeats."""

    citation_sources: tuple[CitationSource, ...]


class AnswerCandidate(Struct, rename="camel", omit_defaults=True, gc=False):
    """One answer; its index is sent even when it is 0."""

    content: AnswerContent
    finish_reason: str
    index: int
    grounding_metadata: GroundingMetadata | None = None
    url_context_metadata: UrlContextMetadata | None = None
    avg_logprobs: float | None = None
    logprobs_result: LogprobsResult | None = None
    finish_message: str = ""
    safety_ratings: tuple[SafetyRating, ...] = ()
    citation_metadata: CitationMetadata | None = None


class ModalityTokenCount(Struct, rename="camel", gc=False):
    """Tokens of one kind of content."""

    modality: str
    token_count: int


class UsageMetadata(Struct, rename="camel", omit_defaults=True, gc=False):
    """Tokens; the prompt's include the cached ones, and not those of what was looked up."""

    prompt_token_count: int
    candidates_token_count: int
    total_token_count: int
    cached_content_token_count: int = 0
    tool_use_prompt_token_count: int = 0
    thoughts_token_count: int = 0
    prompt_tokens_details: tuple[ModalityTokenCount, ...] = ()
    cache_tokens_details: tuple[ModalityTokenCount, ...] = ()
    candidates_tokens_details: tuple[ModalityTokenCount, ...] = ()
    tool_use_prompt_tokens_details: tuple[ModalityTokenCount, ...] = ()


class PromptFeedback(Struct, rename="camel", omit_defaults=True, gc=False):
    """Why a prompt has no answer."""

    block_reason: str
    safety_ratings: tuple[SafetyRating, ...] = ()


class GenerateContentResponse(Struct, rename="camel", gc=False):
    """The answer to one request; a blocked prompt has no candidates."""

    candidates: list[AnswerCandidate] | UnsetType
    usage_metadata: UsageMetadata
    model_version: str
    response_id: str
    prompt_feedback: PromptFeedback | UnsetType = UNSET


class PieceCandidate(Struct):
    """What is known of an answer while it is made."""

    content: AnswerContent
    index: int


class PieceOfResponse(Struct, rename="camel"):
    """One piece of a streamed answer; the last document of a stream is a whole response."""

    candidates: tuple[PieceCandidate, ...]
    response_id: str


class CountTokensResponse(Struct, rename="camel", omit_defaults=True, gc=False):
    """How long a prompt is; the cached tokens are among the total."""

    total_tokens: int
    prompt_tokens_details: tuple[ModalityTokenCount, ...]
    cached_content_token_count: int = 0
