"""What an engine is asked about a text's place among others, and what it answers."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct


class EmbeddingTask(StrEnum):
    """What the vector is wanted for; a model that makes no difference may ignore it."""

    RETRIEVAL_QUERY = "retrieval_query"
    RETRIEVAL_DOCUMENT = "retrieval_document"
    SEMANTIC_SIMILARITY = "semantic_similarity"
    CLASSIFICATION = "classification"
    CLUSTERING = "clustering"
    QUESTION_ANSWERING = "question_answering"
    FACT_VERIFICATION = "fact_verification"
    CODE_RETRIEVAL_QUERY = "code_retrieval_query"


class Passage(Struct, frozen=True, gc=False, kw_only=True):
    """A text that is to become a vector."""

    text: str
    task: EmbeddingTask | None = None
    title: str | None = None
    """Of the document that the text comes from."""
    dimensions: int | None = None
    """How long the vector shall be; None for the model's own length."""
    truncate: bool = True
    """Whether a text beyond the model's limit is cut there, or refused."""


class Embedding(Struct, frozen=True, gc=False):
    """A text's vector, of length 1; ``model_version`` names what really ran.

    Numbers that were computed in 32 bits are given as the shortest decimals that mean them.
    """

    values: tuple[float, ...]
    prompt_tokens: int
    model_version: str
