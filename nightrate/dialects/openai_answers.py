"""OpenAI's protocol from the other side: what a server that speaks it answers.

It is read leniently where servers differ (members that are not needed are passed over) and strictly
where an answer could be misunderstood: an answer whose end is not known is none. Nothing of a body
reaches an error text; see `other_servers`.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import Raw, Struct, json, structs

from nightrate import limits
from nightrate.dialects.compact import Compactor
from nightrate.dialects.openai_asks import CHOICE
from nightrate.dialects.openai_likely import ChosenLikelihood, Likelihoods, tokens_of
from nightrate.dialects.other_servers import (
    Blamed,
    Speech,
    broken_off,
    called,
    check_form,
    check_length,
    in_order,
    is_told,
    reckoned,
    reckoned_usage,
    told,
    too_long,
    understood,
    unfinished,
    unreadable,
    withheld,
    without,
)
from nightrate.domain.calling import Call
from nightrate.domain.embedding import Passage
from nightrate.domain.generation import Candidate, FinishReason, Prompt, Reply, Token, Usage
from nightrate.domain.guidance import Withheld
from nightrate.domain.schema import ChoiceForm, Form, JSONForm
from nightrate.errors import Code, RequestFailed

_CALLED = "tool_calls"
_FINISH: Final = {
    "stop": FinishReason.STOP,
    "eos": FinishReason.STOP,
    _CALLED: FinishReason.STOP,
    "length": FinishReason.LENGTH,
    "max_tokens": FinishReason.LENGTH,
}
_WITHHELD: Final = "content_filter"

_BLAMED: Final = (
    "context_length_exceeded",
    "model_not_found",
    "insufficient_quota",
    "unsupported_parameter",
    "unsupported_value",
    "invalid_json_schema",
)
_MEMBERS: Final = (
    *("messages", "temperature", "top_p", "top_k", "seed", "stop", "max_tokens"),
    *("max_completion_tokens", "presence_penalty", "frequency_penalty", "response_format"),
    *("input", "dimensions", "encoding_format", "model", "stream_options", "prompt", "size", "n"),
)
"""Words of ours, or of the protocol's documents, that an answer may repeat to us."""


class _Called(Struct):
    name: str | None = None
    arguments: str | None = None


class _ToolCall(Struct):
    function: _Called
    id: str | None = None
    index: int = 0


class _Said(Struct):
    content: str | None = None
    refusal: str | None = None
    tool_calls: list[_ToolCall] | None = None


class _Answer(Struct):
    message: _Said
    finish_reason: str | None = None
    logprobs: Likelihoods | None = None


class _Details(Struct):
    cached_tokens: int | None = None


class _OutputDetails(Struct):
    reasoning_tokens: int | None = None


class _Used(Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: Raw = Raw()
    completion_tokens_details: Raw = Raw()


class _Completion(Struct):
    choices: list[_Answer]
    usage: Raw = Raw()
    model: str | None = None


class _Part(Struct):
    delta: _Said | None = None
    finish_reason: str | None = None
    logprobs: Likelihoods | None = None


class _Chunk(Struct):
    choices: list[_Part] = []
    usage: Raw = Raw()
    model: str | None = None
    error: Any = None


class _Vector(Struct):
    embedding: list[float]


class _Vectors(Struct):
    data: list[_Vector]
    usage: Raw = Raw()
    model: str | None = None


class _Count(Struct):
    count: int


class _Listed(Struct):
    id: str


class _Models(Struct):
    data: list[_Listed]


class _Blame(Struct):
    code: Any = None
    type: Any = None
    param: Any = None


class _Blamed(Struct):
    error: _Blame


_USED: Final = json.Decoder(_Used, strict=False)
_CACHED: Final = json.Decoder(_Details, strict=False)
_MADE: Final = json.Decoder(_OutputDetails, strict=False)
_COMPLETIONS: Final = json.Decoder(_Completion)
_CHUNKS: Final = json.Decoder(_Chunk)
_VECTORS: Final = json.Decoder(_Vectors)
_COUNTS: Final = json.Decoder(_Count)
_MODELS: Final = json.Decoder(_Models)
_BLAMES: Final = json.Decoder(_Blamed)


def read_reply(body: bytes, prompt: Prompt, model: str) -> Reply:
    """Read the answer to a prompt.

    Args:
        body: what came.
        prompt: what was asked.
        model: the name that was asked for, in case the answer does not say what ran.

    Raises:
        RequestFailed: it is no answer, or one that may not be handed out.
    """
    try:
        found = _COMPLETIONS.decode(body)
        answer = found.choices[0]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, IndexError) as error:
        raise unreadable(len(body)) from error
    said = answer.message
    text = said.content if said.content is not None else said.refusal or ""
    likely = answer.logprobs or Likelihoods()
    answered = _Candidate(text, answer.finish_reason, said.tool_calls or [], likely)
    return in_order(_reply(answered, found, prompt, model), prompt)


class _Candidate(Struct):
    text: str
    reason: str | None
    calls: list[_ToolCall]
    likely: Likelihoods


def _reply(answered: _Candidate, found: _Completion | _Chunk, prompt: Prompt, model: str) -> Reply:
    text = answered.text
    if isinstance(prompt.form, JSONForm):
        text = Compactor().feed(text)
    finish = _FINISH.get(answered.reason or "")
    if answered.reason == _WITHHELD:
        candidate = withheld(text, prompt, Withheld.SAFETY)
        return Reply((candidate,), _usage(found.usage, prompt, text), found.model or model)
    if finish is None or (answered.reason == _CALLED and prompt.calling is None):
        raise unfinished()
    words = [f"{one.function.name or ''}{one.function.arguments or ''}" for one in answered.calls]
    usage = _usage(found.usage, prompt, "".join([text, *words]))
    if prompt.form is not None:
        text = _formed(text, finish, prompt.form, prompt.sampling.stop)
    candidate = Candidate(text, finish)
    if prompt.calling is not None:
        candidate = called(candidate, [_call(one) for one in answered.calls], prompt.calling)
    if prompt.logprobs is not None:
        candidate = structs.replace(candidate, tokens=_likely(answered))
    return Reply((candidate,), usage, found.model or model)


def _call(one: _ToolCall) -> Call:
    return Call(one.function.name or "", one.function.arguments or "{}", one.id or None)


def _likely(answered: _Candidate) -> tuple[Token, ...]:
    """Give the tokens of an answer; a server may pass over that they were asked for."""
    tokens = tokens_of(answered.likely)
    if answered.text and not tokens:
        message = "The endpoint does not say how likely the tokens of its answer were."
        raise RequestFailed(message, code=Code.INTERNAL, retriable=True)
    return tokens


def _usage(said: Raw, prompt: Prompt, text: str) -> Usage:
    """Give what was used; reckoned from lengths where that is not told, or cannot be understood."""
    used = understood(_USED, said) or _Used()
    prompt_tokens, output_tokens = told(used.prompt_tokens), told(used.completion_tokens)
    if prompt_tokens is None or output_tokens is None:
        return reckoned_usage(prompt, text)
    cached = understood(_CACHED, used.prompt_tokens_details) or _Details()
    cached_tokens = cached.cached_tokens or 0
    made = understood(_MADE, used.completion_tokens_details) or _OutputDetails()
    thought_tokens = made.reasoning_tokens or 0
    return Usage(
        *(prompt_tokens, output_tokens),
        max(0, min(cached_tokens, prompt_tokens)),
        max(0, min(thought_tokens, output_tokens)),
        None if prompt.media else (),
    )


def _formed(text: str, finish: FinishReason, form: Form, stops: tuple[str, ...]) -> str:
    """Check that an answer that has come to its end has the form, and take a choice out of it."""
    if finish is FinishReason.LENGTH:
        return "" if isinstance(form, ChoiceForm) else text
    if isinstance(form, JSONForm):
        check_form(text, form, stops)
        return text
    try:
        value = json.decode(text)
    except (ValueError, RecursionError) as error:
        raise without("the form") from error
    choice = value.get(CHOICE) if isinstance(value, dict) else None
    if choice not in form.choices:
        raise without("the form")
    return str(choice)


class Stream:
    """Puts a streamed answer together, event by event.

    Args:
        prompt: what was asked.
        model: the name that was asked for.
    """

    def __init__(self, prompt: Prompt, model: str) -> None:
        self._prompt = prompt
        self._model = model
        self._last = _Chunk()
        self._texts: list[str] = []
        self._characters = 0
        self._reason: str | None = None
        self._calls: dict[int, _ToolCall] = {}
        self._likely: list[ChosenLikelihood] = []
        self._compactor = Compactor() if isinstance(prompt.form, JSONForm) else None

    def read(self, event: bytes) -> str:
        """Read one event, and give the text that it adds.

        Raises:
            RequestFailed: it is no event, it tells of an error, or the answer grows too long.
        """
        try:
            chunk = _CHUNKS.decode(event)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise unreadable(len(event)) from error
        if chunk.error is not None:
            raise broken_off()
        self._last.usage = chunk.usage if is_told(chunk.usage) else self._last.usage
        self._last.model = chunk.model or self._last.model
        text = ""
        for part in chunk.choices[:1]:
            said = part.delta
            text = "" if said is None else said.content or said.refusal or ""
            self._reason = part.finish_reason or self._reason
            if part.logprobs is not None:
                self._likely += part.logprobs.content or ()
                self._characters += len(event)
            for call in (said.tool_calls if said is not None else None) or ():
                self._call(call)
        self._characters += len(text)
        if self._characters > limits.LINE_BYTES_MAX:
            raise too_long()
        if self._compactor is not None:
            text = self._compactor.feed(text)
        if text:
            self._texts.append(text)
        return text

    def _call(self, piece: _ToolCall) -> None:
        """Add a piece of a call: its name comes once, its arguments in pieces."""
        known = self._calls.setdefault(piece.index, _ToolCall(_Called()))
        known.id = piece.id or known.id
        known.function.name = piece.function.name or known.function.name
        arguments = piece.function.arguments or ""
        self._characters += len(arguments) + 1
        known.function.arguments = (known.function.arguments or "") + arguments

    def reply(self) -> Reply:
        """Give the whole answer, after its last event.

        Raises:
            RequestFailed: it did not come to its end.
        """
        calls = [self._calls[index] for index in sorted(self._calls)]
        likely = Likelihoods(self._likely)
        answered = _Candidate("".join(self._texts), self._reason, calls, likely)
        return _reply(answered, self._last, self._prompt, self._model)


def read_vector(body: bytes, passage: Passage, model: str) -> tuple[list[float], int, str]:
    """Read a vector: its numbers as they came, the tokens of the text, and what ran.

    Raises:
        RequestFailed: it is no vector, or not of the length that was asked for.
    """
    try:
        found = _VECTORS.decode(body)
        values = found.data[0].embedding
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, IndexError) as error:
        raise unreadable(len(body)) from error
    if not values:
        raise unreadable(len(body))
    check_length(values, passage)
    tokens = told((understood(_USED, found.usage) or _Used()).prompt_tokens)
    return values, reckoned(passage.text) if tokens is None else tokens, found.model or model


def read_count(body: bytes) -> int:
    """Read the answer of ``/tokenize``.

    Raises:
        RequestFailed: it is none.
    """
    try:
        return _COUNTS.decode(body).count
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise unreadable(len(body)) from error


def read_models(body: bytes) -> list[str] | None:
    """Read the names in the list of models; None when it is no such list."""
    try:
        return [model.id for model in _MODELS.decode(body).data]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def blamed(body: bytes) -> Blamed:
    """Say why a request was refused, as far as that can be said in words of our own."""
    try:
        error = _BLAMES.decode(body).error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Blamed()
    known = [word for word in (error.code, error.type) if word in _BLAMED]
    known += [f"member {error.param}" for word in _MEMBERS if error.param == word]
    return Blamed(words=f": {', '.join(known)}" if known else "")


OPENAI: Final = Speech(ending=b"[DONE]", read_models=read_models, blamed=blamed)
