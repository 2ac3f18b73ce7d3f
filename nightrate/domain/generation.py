"""What an engine is asked and what it answers, in no dialect."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from msgspec import Struct

from nightrate.domain.embedding import Embedding, Passage
from nightrate.domain.grounding import Grounding, SearchWish
from nightrate.domain.picture import Picture, PictureWish
from nightrate.domain.schema import Form
from nightrate.errors import Code


class Capability(StrEnum):
    """What an engine can do."""

    TEXT = "text"
    STREAM = "stream"
    """It gives an answer piece by piece, while it is being made."""
    EMBEDDINGS = "embeddings"
    """It makes vectors of texts."""
    SCHEMA = "schema"
    """It gives an answer the form that the prompt demands; see `domain.schema`."""
    IMAGES = "images"
    """It draws pictures."""


class FinishReason(StrEnum):
    """Why a candidate ended."""

    STOP = "stop"
    LENGTH = "length"


class Message(Struct, frozen=True, gc=False):
    """One turn of a conversation; the text of all its parts, joined."""

    role: Literal["user", "model"]
    text: str


class Sampling(Struct, frozen=True, gc=False, kw_only=True):
    """How tokens are drawn. None means the engine's or model's default."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    max_output_tokens: int | None = None
    stop: tuple[str, ...] = ()

    @property
    def reproducible(self) -> bool:
        """Whether the client asked for an answer that does not depend on its neighbours."""
        return self.seed is not None or self.temperature == 0


DEFAULT_SAMPLING = Sampling()


class Prompt(Struct, frozen=True, gc=False, kw_only=True):
    """What an engine is asked."""

    messages: tuple[Message, ...]
    system: str | None = None
    sampling: Sampling = DEFAULT_SAMPLING
    form: Form | None = None
    """Which form the text of the answer must have."""
    picture: PictureWish | None = None
    """What picture the answer must have."""
    search: SearchWish | None = None
    """Whether the answer may rest on a search. Engines have nothing to do with it."""
    cache: str | None = None
    """The id of the cached content it continues, until that is put before it (`domain.cache`)."""
    cached_tokens: int = 0
    """How many of its tokens came from a cached content."""


class Usage(Struct, frozen=True, gc=False):
    """Tokens that a reply used; ``cached_tokens`` is the share of the prompt that was reused.

    ``thought_tokens`` is the share of the output that was only thought, and is not in the answer.
    """

    prompt_tokens: int
    output_tokens: int
    cached_tokens: int = 0
    thought_tokens: int = 0


class Candidate(Struct, frozen=True, gc=False):
    """One answer: its text, and the pictures that come after it."""

    text: str
    finish_reason: FinishReason = FinishReason.STOP
    pictures: tuple[Picture, ...] = ()


class Reply(Struct, frozen=True, gc=False):
    """What an engine answered; ``model_version`` names what really ran."""

    candidates: tuple[Candidate, ...]
    usage: Usage
    model_version: str
    grounding: Grounding | None = None
    """What the answer rests on, where a search was made for it."""


class Failure(Struct, frozen=True, gc=False):
    """How a request ended without a reply. Never carries the prompt or an upstream body."""

    code: Code
    message: str
    field: str | None = None
    """The path of the member of the request that is to blame, for dialects that tell it apart."""


Asked = Prompt | Passage
"""What an engine can be asked."""

Outcome = Reply | Embedding | Failure
"""How a request ended."""
