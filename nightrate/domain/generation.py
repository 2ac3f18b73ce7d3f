"""What an engine is asked and what it answers, in no dialect."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from msgspec import Struct

from nightrate.domain.calling import Call, Calling, CallMode, CallResult
from nightrate.domain.embedding import Embedding, Passage
from nightrate.domain.grounding import Citation, Grounding, LookupWish, Support
from nightrate.domain.guidance import HarmFilter, HarmRating, Thinking, Withheld
from nightrate.domain.medium import Medium, Resolution
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
    CALLS = "calls"
    """It answers with the call of a function where it must; see `domain.calling`."""
    LOGPROBS = "logprobs"
    """It says how likely each token of an answer was."""
    TOP_LOGPROBS = "top_logprobs"
    """And which others were likely in its place."""
    TOOLS = "tools"
    """It decides by itself whether it calls a function or answers in words."""
    MEDIA = "media"
    """It reads pictures, sounds, films or documents in a prompt: of which types, it says too."""


class FinishReason(StrEnum):
    """Why a candidate ended."""

    STOP = "stop"
    LENGTH = "length"
    BAD_CALL = "bad_call"
    """What the model wrote as a call is none of those that it may make."""
    WITHHELD = "withheld"
    """A filter of the service that answers let nothing more through."""


class Message(Struct, frozen=True, gc=False):
    """One turn of a conversation: the text of all its parts, joined, and what was called."""

    role: Literal["user", "model"]
    text: str
    calls: tuple[Call, ...] = ()
    results: tuple[CallResult, ...] = ()

    @property
    def words(self) -> str:
        """Say all of it as text, for models that have no other way to read calls."""
        if not self.calls and not self.results:
            return self.text
        said = [self.text, *(call.words for call in self.calls)]
        return "\n".join(one for one in (*said, *(found.words for found in self.results)) if one)


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


class LogprobsWish(Struct, frozen=True, gc=False):
    """The answer says how likely its tokens were, and what else was likely in their places.

    ``others`` is how many of these are told; ``field`` is the path of the wish, for refusals.
    """

    others: int
    field: str


class Prompt(Struct, frozen=True, gc=False, kw_only=True):
    """What an engine is asked."""

    messages: tuple[Message, ...]
    system: str | None = None
    sampling: Sampling = DEFAULT_SAMPLING
    form: Form | None = None
    """Which form the text of the answer must have."""
    calling: Calling | None = None
    """Which functions the answer may call, or must."""
    logprobs: LogprobsWish | None = None
    """Whether the answer says how likely its tokens were."""
    picture: PictureWish | None = None
    """What picture the answer must have."""
    candidates: int = 1
    """How many answers are wanted. Engines have nothing to do with it: each is asked for alone."""
    lookup: LookupWish | None = None
    """What the answer may rest on. Engines have nothing to do with it."""
    cache: str | None = None
    """The id of the cached content it continues, until that is put before it (`domain.cache`)."""
    cached_tokens: int = 0
    """How many of its tokens came from a cached content."""
    thinking: Thinking | None = None
    """How long the model may think, where it does."""
    thoughts: bool = False
    """Whether the answer tells what was thought, where the engine hands that out."""
    filters: tuple[HarmFilter, ...] = ()
    """What is filtered, where anything is."""
    media: tuple[Medium, ...] = ()
    """The media of its turns, as they come; see `domain.medium`."""
    resolution: Resolution | None = None
    """How closely the model looks at media that do not say it themselves."""
    live: bool = False
    """Whether somebody waits for the answer."""


class Usage(Struct, frozen=True, gc=False, omit_defaults=True):
    """Tokens that a reply used; ``cached_tokens`` is the share of the prompt that was reused.

    ``thought_tokens`` is the share of the output that was only thought, and is not in the answer;
    ``media_tokens`` are those of the prompt that are not of text, by their kind in capital letters,
    such as ``IMAGE``. It is None where there are some and nobody says how many. The same of the
    output are ``drawn_tokens``. ``lookup_tokens`` is the share of the prompt that was looked up for
    it; none of these are cached ones.
    """

    prompt_tokens: int
    output_tokens: int
    cached_tokens: int = 0
    thought_tokens: int = 0
    media_tokens: tuple[tuple[str, int], ...] | None = ()
    drawn_tokens: tuple[tuple[str, int], ...] | None = ()
    lookup_tokens: int = 0


class Token(Struct, frozen=True, gc=False):
    """A token of an answer, or one that could have stood there; the logarithm is the natural one.

    ``others`` are the likeliest tokens of its place, itself perhaps among them.
    """

    text: str
    log_probability: float
    token_id: int | None = None
    others: tuple[Token, ...] = ()


class Candidate(Struct, frozen=True, gc=False):
    """One answer: its text, and the pictures or calls that come after it."""

    text: str
    finish_reason: FinishReason = FinishReason.STOP
    pictures: tuple[Picture, ...] = ()
    calls: tuple[Call, ...] = ()
    tokens: tuple[Token, ...] = ()
    """How likely each token was, where that was asked for."""
    supports: tuple[Support, ...] = ()
    """Which pieces of the text rest on which sources of the reply's grounding."""
    withheld: Withheld | None = None
    """What the filter found, where it was one that ended the answer."""
    thoughts: str = ""
    """What was thought before the answer, where that was asked for and is handed out."""
    ratings: tuple[HarmRating, ...] = ()
    """What the filter of the service that answered found in it, where it says so."""
    citations: tuple[Citation, ...] = ()
    """Which pieces of the text repeat a source, where the service that answered says so."""
    end_message: str = ""
    """Why it ended, in words of the service that answered."""


class Reply(Struct, frozen=True, gc=False):
    """What an engine answered; ``model_version`` names what really ran."""

    candidates: tuple[Candidate, ...]
    usage: Usage
    model_version: str
    grounding: Grounding | None = None
    """What the answer rests on, where a search was made for it."""
    blocked: Withheld | None = None
    """What a filter found in the prompt; the only candidate has no text then, and the ratings."""


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


class Need(Struct, frozen=True, gc=False):
    """Something that an engine must be able to do, and the path under which it was asked for."""

    capability: Capability
    field: str


def needs_of(prompt: Prompt) -> list[Need]:
    """Say what an engine must be able to do beyond text."""
    needs = []
    if prompt.form is not None:
        needs.append(Need(Capability.SCHEMA, prompt.form.field))
    if prompt.picture is not None:
        needs.append(Need(Capability.IMAGES, prompt.picture.field))
    if (wish := prompt.logprobs) is not None:
        needs.append(Need(Capability.LOGPROBS, wish.field))
        if wish.others:
            needs.append(Need(Capability.TOP_LOGPROBS, wish.field))
    if (calling := prompt.calling) is not None:
        needs.append(Need(Capability.CALLS, calling.field))
        if calling.mode is CallMode.AUTO:
            needs.append(Need(Capability.TOOLS, calling.mode_field))
    return needs
