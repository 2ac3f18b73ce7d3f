"""The shapes of Gemini's JSON about embeddings, member by member; as `gemini_shapes`."""

from __future__ import annotations

from msgspec import Raw, Struct

from nightrate.dialects.gemini_shapes import Content

# Requests ------------------------------------------------------------------------------------


class EmbedContentConfig(Struct, rename="camel", forbid_unknown_fields=True):
    """How a content is embedded, in the newer form."""

    task_type: str | None = None
    title: str | None = None
    output_dimensionality: int | None = None
    auto_truncate: bool | None = None
    document_ocr: bool | None = None
    audio_track_extraction: bool | None = None


class EmbedContentRequest(Struct, rename="camel", forbid_unknown_fields=True, gc=False):
    """One embedding. A string may stand for the content, and a list of one for it too."""

    content: list[Content | str] | Content | str | None = None
    contents: list[Content | str] | Content | str | None = None
    task_type: str | None = None
    title: str | None = None
    output_dimensionality: int | None = None
    embed_content_config: EmbedContentConfig | None = None
    model: str | None = None


class EmbedContentsBody(Struct, rename="camel", forbid_unknown_fields=True):
    """The body of ``:batchEmbedContents``."""

    requests: list[EmbedContentRequest] | None = None


# Answers -------------------------------------------------------------------------------------


class Values(Struct, gc=False):
    """A vector."""

    values: Raw


class EmbedUsageMetadata(Struct, rename="camel", gc=False):
    """Tokens that were embedded."""

    prompt_token_count: int


class EmbeddedContent(Struct, rename="camel", gc=False):
    """The answer to one request of an embedding batch."""

    embedding: Values
    token_count: str
    usage_metadata: EmbedUsageMetadata


class EmbedContentResponse(Struct, rename="camel", gc=False):
    """The answer to a live request."""

    embedding: Values
    usage_metadata: EmbedUsageMetadata


class EmbedContentsResponse(Struct, rename="camel", gc=False):
    """The answer to several live requests at once."""

    embeddings: list[Values]
    usage_metadata: EmbedUsageMetadata
