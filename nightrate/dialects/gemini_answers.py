"""Gemini's protocol from the other side: what a server that speaks it answers.

A whole answer and a streamed one are read alike: documents are put together, and one that came to
its end is a reply. A prompt that was blocked, and an answer that was withheld, are no answers, and
another try would end the same; see `other_servers` for what may be said of them.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct, field, json

from nightrate import limits
from nightrate.dialects.compact import Compactor
from nightrate.dialects.gemini_findings import Findings, Judged, all_understood
from nightrate.dialects.other_servers import (
    Blamed,
    Speech,
    broken_off,
    called,
    check_form,
    check_length,
    in_order,
    reckoned,
    reckoned_usage,
    told,
    too_long,
    unfinished,
    unreadable,
    withheld,
    without,
)
from nightrate.domain.calling import Call
from nightrate.domain.embedding import Passage
from nightrate.domain.generation import Candidate, FinishReason, Prompt, Reply, Token, Usage
from nightrate.domain.guidance import Withheld
from nightrate.domain.picture import Picture
from nightrate.domain.schema import ChoiceForm, Form, JSONForm
from nightrate.errors import Code

_FINISH: Final = {"STOP": FinishReason.STOP, "MAX_TOKENS": FinishReason.LENGTH}
_BAD_CALLS: Final = ("MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL")
_WITHHELD: Final = {found.name: found for found in Withheld if found is not Withheld.OTHER}
"""Ends of answers; one for another reason may come whole the next time."""
_UNFINISHED: Final = (
    *("OTHER", "IMAGE_OTHER", "NO_IMAGE", "MALFORMED_RESPONSE", "ESCALATION"),
    *("TOO_MANY_TOOL_CALLS", "MISSING_THOUGHT_SIGNATURE", *_BAD_CALLS),
)

_CODES: Final = {
    code.name: code
    for code in (
        *(Code.INVALID_ARGUMENT, Code.FAILED_PRECONDITION, Code.OUT_OF_RANGE, Code.UNIMPLEMENTED),
    )
}
"""Kinds of refusals that are about one request."""
_KEY_REASONS: Final = (
    *("API_KEY_INVALID", "API_KEY_SERVICE_BLOCKED", "API_KEY_HTTP_REFERRER_BLOCKED"),
    *("API_KEY_IP_ADDRESS_BLOCKED", "API_KEY_ANDROID_APP_BLOCKED", "API_KEY_IOS_APP_BLOCKED"),
    *("CONSUMER_INVALID", "CONSUMER_SUSPENDED", "SERVICE_DISABLED", "BILLING_DISABLED"),
    *("CREDENTIALS_MISSING", "ACCESS_TOKEN_EXPIRED", "ACCESS_TOKEN_TYPE_UNSUPPORTED"),
)
"""Reasons that no other request with this key would escape."""
_ELSEWHERE: Final = "User location is not supported"
_TOO_MANY_TOKENS: Final = "exceeds the maximum number of tokens"
_MEMBERS: Final = frozenset(
    {
        *("contents", "parts", "text", "role", "model", "content", "taskType", "title"),
        *("generationConfig", "systemInstruction", "tools", "toolConfig", "functionDeclarations"),
        *("functionCall", "functionResponse", "functionCallingConfig", "mode", "imageConfig"),
        *("temperature", "topP", "topK", "seed", "presencePenalty", "frequencyPenalty"),
        *("maxOutputTokens", "stopSequences", "responseLogprobs", "logprobs", "aspectRatio"),
        *("responseMimeType", "responseSchema", "responseJsonSchema", "responseModalities"),
        *("outputDimensionality", "parametersJsonSchema", "imageSize", "embedContentConfig"),
    }
)
"""Words of ours, or of the protocol's documents, that an answer may repeat to us."""
_PLACES: Final = re.compile(r"\[[0-9]{1,9}\]")
_DELAY: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)s")


class _Blob(Struct, rename="camel"):
    mime_type: str
    data: bytes


class _Called(Struct):
    name: str | None = None
    args: Raw = Raw()
    id: str | None = None


class _Part(Struct, rename="camel"):
    text: str | None = None
    thought: bool | None = None
    inline_data: _Blob | None = None
    function_call: _Called | None = None


class _Content(Struct):
    parts: list[_Part] | None = None


class _Likely(Struct, rename="camel"):
    token: str = ""
    log_probability: float = 0.0
    token_id: int | None = None


class _Likelies(Struct):
    candidates: list[_Likely] = []


class _Logprobs(Struct, rename="camel"):
    chosen_candidates: list[_Likely] = []
    top_candidates: list[_Likelies] = []


class _Candidate(Judged, rename="camel"):
    content: _Content | None = None
    finish_reason: str | None = None
    logprobs_result: _Logprobs | None = None


class _Feedback(Struct, rename="camel"):
    block_reason: str | None = None
    safety_ratings: Raw = Raw()


class _Kind(Struct, rename="camel"):
    modality: str = ""
    token_count: int = 0


class _Used(Struct, rename="camel"):
    prompt_token_count: int | None = None
    candidates_token_count: int = 0
    thoughts_token_count: int = 0
    cached_content_token_count: int = 0
    tool_use_prompt_token_count: int = 0
    prompt_tokens_details: Raw = Raw()
    candidates_tokens_details: Raw = Raw()


class _Answer(Struct, rename="camel"):
    candidates: list[_Candidate] = []
    prompt_feedback: _Feedback | None = None
    usage_metadata: _Used | None = None
    model_version: str | None = None
    error: Any = None


class _Values(Struct):
    values: list[float]


class _Vector(Struct, rename="camel"):
    embedding: _Values
    usage_metadata: _Used | None = None


class _Count(Struct, rename="camel"):
    total_tokens: int


class _Listed(Struct):
    name: str


class _Models(Struct):
    models: list[_Listed] = []


class _Violation(Struct):
    field: str = ""


class _Detail(Struct, rename="camel"):
    type: str = field(name="@type", default="")
    reason: str = ""
    retry_delay: str = ""
    field_violations: list[_Violation] = []


class _Status(Struct):
    message: str = ""
    status: str = ""
    details: list[_Detail] = []


class _Blame(Struct):
    error: _Status


_ANSWERS: Final = json.Decoder(_Answer)
_VECTORS: Final = json.Decoder(_Vector)
_COUNTS: Final = json.Decoder(_Count)
_MODELS: Final = json.Decoder(_Models)
_BLAMES: Final = json.Decoder(_Blame | list[_Blame])

_KIND: Final = json.Decoder(_Kind, strict=False)
_MODALITIES: Final = frozenset({"IMAGE", "AUDIO", "VIDEO", "DOCUMENT"})

_UNDECODABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def read_reply(body: bytes, prompt: Prompt, model: str) -> Reply:
    """Read the answer to a prompt.

    Args:
        body: what came.
        prompt: what was asked.
        model: the name that was asked for, in case the answer does not say what ran.

    Raises:
        RequestFailed: it is no answer, or one that may not be handed out.
    """
    answer = Stream(prompt, model)
    answer.read(body)
    return in_order(answer.reply(), prompt)


class Stream:
    """Puts an answer together, document by document.

    Args:
        prompt: what was asked.
        model: the name that was asked for.
    """

    def __init__(self, prompt: Prompt, model: str) -> None:
        self._prompt = prompt
        self._model = model
        self._size_bytes = 0
        self._texts: list[str] = []
        self._thoughts: list[str] = []
        self._pictures: list[Picture] = []
        self._calls: list[Call] = []
        self._tokens: list[Token] = []
        self._reason: str | None = None
        self._findings = Findings()
        self._used: _Used | None = None
        self._blocked: Withheld | None = None
        self._compactor = Compactor() if isinstance(prompt.form, JSONForm) else None

    def read(self, document: bytes) -> str:
        """Read one document, and give the text that it adds.

        Raises:
            RequestFailed: it is none, it tells of an error, or the answer grows too long.
        """
        self._size_bytes += len(document)
        if self._size_bytes > limits.LINE_BYTES_MAX:
            raise too_long()
        try:
            found = _ANSWERS.decode(document)
        except _UNDECODABLE as error:
            raise unreadable(len(document)) from error
        if found.error is not None:
            raise broken_off()
        if not found.candidates and (feedback := found.prompt_feedback) is not None:
            self._blocked = _blocked(feedback) or self._blocked
            self._findings.rate(feedback.safety_ratings)
        self._used = found.usage_metadata or self._used
        self._model = found.model_version or self._model
        text = ""
        for candidate in found.candidates[:1]:
            self._reason = candidate.finish_reason or self._reason
            self._findings.take(candidate)
            self._likely(candidate.logprobs_result)
            parts = candidate.content.parts if candidate.content is not None else None
            text = "".join(self._part(part) for part in parts or ())
        if self._compactor is not None:
            text = self._compactor.feed(text)
        if text:
            self._texts.append(text)
        return text

    def _part(self, part: _Part) -> str:
        """Take a part in, and give its text; thoughts are no part of what is said."""
        if part.thought:
            if self._prompt.thoughts and part.text:
                self._thoughts.append(part.text)
            return ""
        if (blob := part.inline_data) is not None:
            self._pictures.append(Picture(blob.mime_type, blob.data))
        if (call := part.function_call) is not None:
            # Whole answers are indented and events are not: either way it is the same call.
            try:
                arguments = json.format(call.args or b"{}", indent=-1).decode()
            except UnicodeDecodeError as error:  # nobody has looked into them yet
                raise unreadable(self._size_bytes) from error
            arguments = "{}" if arguments == "null" else arguments
            self._calls.append(Call(call.name or "", arguments, call.id or None))
        return part.text or ""

    def _likely(self, told_of: _Logprobs | None) -> None:
        wish = self._prompt.logprobs
        if wish is None or told_of is None:
            return
        tops = iter(told_of.top_candidates)
        for chosen in told_of.chosen_candidates:
            others = next(tops, _Likelies()).candidates[: wish.others]
            self._tokens.append(_token(chosen, tuple(map(_token, others))))

    def reply(self) -> Reply:
        """Give the whole answer, after its last document.

        Raises:
            RequestFailed: it did not come to its end.
        """
        prompt, text = self._prompt, "".join(self._texts)
        found = self._blocked or _WITHHELD.get(self._reason or "")
        if found is not None:
            candidate = self._judged(withheld(text, prompt, found))
            usage = _usage(self._used, prompt, text)
            return Reply((candidate,), usage, self._model, blocked=self._blocked)
        finish = self._finish()
        words = [f"{call.name}{call.arguments}" for call in self._calls]
        usage = _usage(self._used, prompt, "".join([text, *words]))
        if finish is not FinishReason.BAD_CALL:
            self._check_wishes(finish, text)
            if isinstance(prompt.form, ChoiceForm) and finish is FinishReason.LENGTH:
                text = ""
        candidate = Candidate(
            text,
            finish,
            tuple(self._pictures),
            tokens=tuple(self._tokens),
            thoughts="".join(self._thoughts),
        )
        if prompt.calling is not None and finish is not FinishReason.BAD_CALL:
            candidate = called(candidate, self._calls, prompt.calling)
        return Reply((self._judged(candidate),), usage, self._model)

    def _judged(self, candidate: Candidate) -> Candidate:
        return self._findings.told(candidate, verbatim=self._prompt.form is None)

    def _finish(self) -> FinishReason:
        reason = self._reason or ""
        if reason in _BAD_CALLS and self._prompt.calling is not None:
            return FinishReason.BAD_CALL
        finish = _FINISH.get(reason)
        if finish is None or (self._calls and self._prompt.calling is None):
            raise unfinished(reason if reason in _UNFINISHED else "")
        return finish

    def _check_wishes(self, finish: FinishReason, text: str) -> None:
        """See that an answer which came to its end has what was asked for."""
        if finish is FinishReason.LENGTH:
            return
        if self._prompt.form is not None:
            _check_form(text, self._prompt.form, self._prompt.sampling.stop)
        if self._prompt.picture is not None and not self._pictures:
            raise without("the picture")
        if self._prompt.logprobs is not None and text and not self._tokens:
            raise without("the probabilities of its tokens")


def _blocked(feedback: _Feedback) -> Withheld | None:
    """Say what a filter found in the prompt, if it was blocked."""
    reason = feedback.block_reason
    return Withheld.__members__.get(reason, Withheld.OTHER) if reason else None


def _token(likely: _Likely, others: tuple[Token, ...] = ()) -> Token:
    return Token(likely.token, min(0.0, likely.log_probability), likely.token_id, others)


def _usage(used: _Used | None, prompt: Prompt, text: str) -> Usage:
    """Give what was used; reckoned from the length where the server does not say."""
    prompt_tokens = output_tokens = None
    if used is not None and used.prompt_token_count is not None:
        prompt_tokens = told(used.prompt_token_count + used.tool_use_prompt_token_count)
        output_tokens = told(used.candidates_token_count + used.thoughts_token_count)
    if used is None or prompt_tokens is None or output_tokens is None:
        return reckoned_usage(prompt, text)
    cached_tokens = max(0, min(used.cached_content_token_count, prompt_tokens))
    return Usage(
        *(prompt_tokens, output_tokens, cached_tokens),
        max(0, min(used.thoughts_token_count, output_tokens)),
        (_media_tokens(used.prompt_tokens_details, prompt_tokens) or None) if prompt.media else (),
        _media_tokens(used.candidates_tokens_details, output_tokens) if prompt.picture else (),
        max(0, min(used.tool_use_prompt_token_count, prompt_tokens - cached_tokens)),
    )


def _media_tokens(said: Raw, most: int) -> tuple[tuple[str, int], ...] | None:
    """Give the tokens that are not of text, by kind; None if that is not told, or cannot be."""
    details = all_understood(_KIND, said)
    if not details:
        return None
    kinds = tuple(
        (kind.modality, kind.token_count)
        for kind in details
        if kind.modality in _MODALITIES and kind.token_count >= 0
    )
    return kinds if sum(tokens for _, tokens in kinds) <= most else None


def _check_form(text: str, form: Form, stops: tuple[str, ...]) -> None:
    """Check that an answer has its form.

    Raises:
        RequestFailed: a server that knows no such setting may have passed it over.
    """
    if isinstance(form, JSONForm):
        check_form(text, form, stops)
    elif text not in form.choices:
        raise without("the form")


def read_vector(body: bytes, passage: Passage) -> tuple[list[float], int]:
    """Read a vector: its numbers as they came, and the tokens of the text.

    Raises:
        RequestFailed: it is no vector, or not of the length that was asked for.
    """
    try:
        found = _VECTORS.decode(body)
    except _UNDECODABLE as error:
        raise unreadable(len(body)) from error
    values, used = found.embedding.values, found.usage_metadata
    if not values:
        raise unreadable(len(body))
    check_length(values, passage)
    tokens = None if used is None else told(used.prompt_token_count)
    return values, reckoned(passage.text) if tokens is None else tokens


def read_count(body: bytes) -> int:
    """Read the answer of ``:countTokens``.

    Raises:
        RequestFailed: it is none.
    """
    try:
        return _COUNTS.decode(body).total_tokens
    except _UNDECODABLE as error:
        raise unreadable(len(body)) from error


def read_models(body: bytes) -> list[str] | None:
    """Read the names in the list of models; None when it is no such list."""
    try:
        return [model.name.removeprefix("models/") for model in _MODELS.decode(body).models]
    except _UNDECODABLE:
        return None


def blamed(body: bytes) -> Blamed:
    """Say why a request was refused, as far as that can be said in words of our own."""
    try:
        found = _BLAMES.decode(body)
        error = found[0].error if isinstance(found, list) else found.error
    except (*_UNDECODABLE, IndexError):
        return Blamed()
    delays = [_DELAY.fullmatch(detail.retry_delay) for detail in error.details]
    members = [
        member
        for detail in error.details
        for violation in detail.field_violations
        if (member := _member(violation.field))
    ]
    words = [f"member {member}" for member in dict.fromkeys(members)]
    if _TOO_MANY_TOKENS in error.message:
        words.insert(0, "it has more tokens than the model takes")
    return Blamed(
        words=f": {', '.join(words)}" if words else "",
        code=_CODES.get(error.status),
        after_seconds=max((float(delay[1]) for delay in delays if delay), default=None),
        refuses_all=_refuses_all(error),
    )


def _refuses_all(error: _Status) -> str:
    """Say why no other request would escape."""
    for detail in error.details:
        if detail.reason in _KEY_REASONS:
            return f"it does not accept the key ({detail.reason}): check `api_key`"
    if error.message.startswith(_ELSEWHERE):
        return "it serves nobody from where this server is: use another endpoint"
    return ""


def _member(path: str) -> str:
    """Give the beginning of a path that consists of known names; the rest may be a client's."""
    known = []
    for step in path.split("."):
        if _PLACES.sub("", step) not in _MEMBERS:
            break
        known.append(step)
    return ".".join(known)


GEMINI: Final = Speech(ending=None, read_models=read_models, blamed=blamed)
