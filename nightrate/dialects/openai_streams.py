"""Streamed chat completions: chunks as events, closed by a word of its own."""

from __future__ import annotations

from typing import Final, Literal

from msgspec import UNSET, Struct, UnsetType, json

from nightrate.clock import Instant
from nightrate.dialects.ascii import escaped
from nightrate.dialects.openai_calls import AnswerCall, calls_of
from nightrate.dialects.openai_errors import error_of
from nightrate.dialects.openai_likely import Likelihoods, likelihoods_of
from nightrate.dialects.openai_replies import (
    CompletionUsage,
    completion_id,
    finish_of,
    refusal_of,
    seconds,
    usage_of,
)
from nightrate.domain.generation import Candidate, Failure, Reply

CONTENT_TYPE: Final = "text/event-stream; charset=utf-8"
_DONE = b"data: [DONE]\n\n"


class _Delta(Struct, omit_defaults=True):
    role: str | None = None
    content: str | None = None
    refusal: str | None = None
    tool_calls: list[AnswerCall] = []


class _ChunkChoice(Struct):
    index: int
    delta: _Delta
    finish_reason: str | None = None
    logprobs: Likelihoods | None = None


class _Chunk(Struct, kw_only=True):
    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str
    choices: list[_ChunkChoice]
    usage: CompletionUsage | UnsetType | None
    system_fingerprint: None = None


class ChatStream:
    """Writes the chunks of one stream: the role, the texts, why it ended, and the closing word.

    Args:
        model: the name that the client asked for.
        response_id: an opaque id.
        now: when the stream began.
        usage: whether a last chunk tells what was used.
    """

    def __init__(self, model: str, response_id: str, now: Instant, *, usage: bool) -> None:
        self._model = model
        self._response_id = response_id
        self._id = completion_id(response_id)
        self._created = seconds(now)
        self._usage = usage
        self._begun = False
        self._told = False
        """Whether a text has been sent."""

    def write(self, piece: str | Reply | Failure) -> bytes:
        """Write one piece, or the outcome that ends the stream."""
        if isinstance(piece, Failure):
            return _event(json.encode(error_of(piece)[1]))  # clients raise it; nothing follows
        first = b"" if self._begun else self._chunk(0, _Delta("assistant", ""))
        self._begun = True
        if isinstance(piece, str):
            self._told = True
            return first + self._chunk(0, _Delta(None, piece))
        self._model = piece.model_version
        last = first + b"".join(
            self._ended(index, candidate) for index, candidate in enumerate(piece.candidates)
        )
        if self._usage:
            last += self._event([], usage_of(piece.usage))
        return last + _DONE

    def _ended(self, index: int, candidate: Candidate) -> bytes:
        """Say why one answer ended, after its text where that was not sent, and its calls."""
        role = "assistant" if index else None
        untold = candidate.text if not self._told and candidate.text else None
        refusal = refusal_of(candidate)
        said = (
            self._chunk(index, _Delta(role, untold, refusal)) if role or untold or refusal else b""
        )
        for call in calls_of(candidate, index, self._response_id, streamed=True):
            said += self._chunk(index, _Delta(tool_calls=[call]))
        likely = likelihoods_of(candidate)  # Known at the end: clients add up what chunks tell.
        return said + self._chunk(index, _Delta(), finish_of(candidate), likely)

    def _chunk(
        self,
        index: int,
        delta: _Delta,
        finish: str | None = None,
        likely: Likelihoods | None = None,
    ) -> bytes:
        choice = _ChunkChoice(index, delta, finish, likely)
        return self._event([choice], None if self._usage else UNSET)

    def _event(
        self, choices: list[_ChunkChoice], usage: CompletionUsage | UnsetType | None
    ) -> bytes:
        chunk = _Chunk(
            id=self._id, created=self._created, model=self._model, choices=choices, usage=usage
        )
        return _event(json.encode(chunk))


def _event(content: bytes) -> bytes:
    return b"data: " + escaped(content) + b"\n\n"
