"""From an embedding to Gemini's response."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Raw, json

from nightrate.dialects.gemini_embedding_shapes import (
    EmbedContentResponse,
    EmbedContentsResponse,
    EmbeddedContent,
    EmbedUsageMetadata,
    Values,
)
from nightrate.domain.embedding import Embedding


def embedded_content(embedding: Embedding) -> EmbeddedContent:
    """Give an embedding its shape in the results of a batch."""
    tokens = embedding.prompt_tokens
    values = Values(Raw(embedding.written))
    return EmbeddedContent(values, str(tokens), EmbedUsageMetadata(tokens))


def render_embedding(embedding: Embedding) -> bytes:
    """Write the answer to one live request."""
    usage = EmbedUsageMetadata(embedding.prompt_tokens)
    return json.encode(EmbedContentResponse(Values(Raw(embedding.written)), usage))


def render_embeddings(embeddings: Iterable[Embedding]) -> bytes:
    """Write the answer to several requests of one call, in their order."""
    many = list(embeddings)
    usage = EmbedUsageMetadata(sum(embedding.prompt_tokens for embedding in many))
    return json.encode(EmbedContentsResponse([Values(Raw(one.written)) for one in many], usage))
