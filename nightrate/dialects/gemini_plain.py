"""Requests of Gemini's in their plainest form, which almost all have: one decoding leaves no doubt.

The shapes here admit less than the protocol does: turns of texts, and settings within their bounds.
What they admit is sound and means what the full reading says of it (`gemini_prompts`); what they
refuse may be just as good and is read in full. A test compares the two readings.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct, json

from nightrate import limits
from nightrate.dialects.gemini_pictures import picture_of
from nightrate.domain.batch import BatchForm
from nightrate.domain.generation import DEFAULT_SAMPLING, Message, Prompt, Sampling
from nightrate.domain.picture import PictureWish

_INT32_MAX: Final = 2**31 - 1
_MODELS_REMEMBERED: Final = 16

_Count = Annotated[int, Meta(ge=1, le=_INT32_MAX)]
_Penalty = Annotated[float, Meta(ge=-2, le=2)]
_StopSequence = Annotated[str, Meta(min_length=1)]


class PlainPart(Struct, forbid_unknown_fields=True, gc=False):
    """A text."""

    text: str


class PlainTurn(Struct, forbid_unknown_fields=True, gc=False):
    """A turn of the user or the model; without a role, of the user."""

    parts: Annotated[list[PlainPart], Meta(min_length=1)]
    role: Literal["user", "model"] | None = None


class PlainSettings(Struct, rename="camel", forbid_unknown_fields=True, gc=False):
    """Settings of the sampler, each within the bounds that `gemini_ranges` has for it."""

    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    top_k: _Count | None = None
    candidate_count: Literal[1] | None = None
    max_output_tokens: _Count | None = None
    stop_sequences: (
        Annotated[list[_StopSequence], Meta(max_length=limits.STOP_SEQUENCES_MAX)] | None
    ) = None
    seed: Annotated[int, Meta(ge=-_INT32_MAX - 1, le=_INT32_MAX)] | None = None
    presence_penalty: _Penalty | None = None
    frequency_penalty: _Penalty | None = None


class PlainRequest(Struct, rename="camel", forbid_unknown_fields=True, gc=False):
    """A conversation and how to go on with it."""

    contents: Annotated[list[PlainTurn], Meta(min_length=1)]
    system_instruction: PlainTurn | None = None
    generation_config: PlainSettings | None = None


class PlainItem(Struct, forbid_unknown_fields=True, gc=False):
    """An inline item that is sound to the last byte: nothing in it stays raw."""

    request: PlainRequest
    metadata: dict[str, str] | None = None


class PlainLine(PlainItem, gc=False):
    """A line of a file of which the same holds."""

    key: str | None = None


SOUND: Final[dict[BatchForm, Callable[[bytes], PlainItem]]] = {
    BatchForm.FILE: json.Decoder(PlainLine).decode,
    BatchForm.INLINE: json.Decoder(PlainItem).decode,
}
"""Readers that take only what is a request without a fault, and refuse much else that is."""


def plain_prompt(request: PlainRequest, model: str) -> Prompt:
    """Make the prompt of a plain request; nothing in it can be refused."""
    instruction, settings = request.system_instruction, request.generation_config
    return Prompt(
        messages=tuple([Message(turn.role or "user", _text(turn)) for turn in request.contents]),
        system=None if instruction is None else _text(instruction) or None,
        sampling=DEFAULT_SAMPLING if settings is None else _sampling(settings),
        picture=_picture(model),
    )


def _text(turn: PlainTurn) -> str:
    parts = turn.parts
    return parts[0].text if len(parts) == 1 else "".join([part.text for part in parts])


def _sampling(settings: PlainSettings) -> Sampling:
    return Sampling(
        temperature=settings.temperature,
        top_p=settings.top_p,
        top_k=settings.top_k,
        seed=settings.seed,
        presence_penalty=settings.presence_penalty,
        frequency_penalty=settings.frequency_penalty,
        max_output_tokens=settings.max_output_tokens,
        stop=tuple(settings.stop_sequences or ()),
    )


@functools.lru_cache(_MODELS_REMEMBERED)
def _picture(model: str) -> PictureWish | None:
    """Find the picture that a model draws when nothing is said of one."""
    return picture_of(None, model)
