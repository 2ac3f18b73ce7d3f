"""What an engine is asked about a text's place among others, and what it answers."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct, json


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


class Passage(Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """A text that is to become a vector."""

    text: str
    task: EmbeddingTask | None = None
    title: str | None = None
    """Of the document that the text comes from."""
    dimensions: int | None = None
    """How long the vector shall be; None for the model's own length."""
    dimensions_field: str = "outputDimensionality"
    """The path under which the client asked for that, for refusals."""
    truncate: bool = True
    """Whether a text beyond the model's limit is cut there, or refused."""
    live: bool = False
    """Whether somebody waits for the vector."""


class Embedding(Struct, frozen=True, gc=False):
    """A text's vector, of length 1; ``model_version`` names what really ran.

    The numbers are written where they are computed, and go from there to the answer as they are:
    a few hundred of them cost more to read and write than all else that is done for a text.
    """

    written: bytes
    """The vector as JSON. Numbers of 32 bits are the shortest decimals that mean them; what is no
    number is ``null``."""
    prompt_tokens: int
    model_version: str

    @classmethod
    def of(cls, values: tuple[float, ...], prompt_tokens: int, model_version: str) -> Embedding:
        """Write down a vector."""
        return cls(json.encode(values), prompt_tokens, model_version)

    @property
    def finite(self) -> bool:
        """Whether it consists of numbers."""
        return b"n" not in self.written

    @property
    def values(self) -> tuple[float, ...]:
        """Read the vector, which must be finite: for those who calculate with it."""
        return json.decode(self.written, type=tuple[float, ...])
