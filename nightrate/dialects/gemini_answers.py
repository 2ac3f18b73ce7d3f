"""Gemini's protocol from the other side: what a server that speaks it answers.

A whole answer and a streamed one are read alike: documents are put together, and one that came to
its end is a reply. A prompt that was blocked, and an answer that was withheld, are no answers, and
another try would end the same; see `other_servers` for what may be said of them.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import Raw, Struct, json

from nightrate import limits
from nightrate.dialects.compact import Compactor
from nightrate.dialects.gemini_findings import Findings, Judged
from nightrate.dialects.gemini_usage import GeminiUsage
from nightrate.dialects.other_servers import (
    broken_off,
    called,
    check_form,
    in_order,
    too_long,
    unfinished,
    unreadable,
    withheld,
    without,
)
from nightrate.domain.calling import Call
from nightrate.domain.generation import Candidate, FinishReason, Prompt, Reply, Token
from nightrate.domain.guidance import Withheld
from nightrate.domain.picture import Picture
from nightrate.domain.schema import ChoiceForm, Form, JSONForm

_FINISH: Final = {"STOP": FinishReason.STOP, "MAX_TOKENS": FinishReason.LENGTH}
_BAD_CALLS: Final = ("MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL")
_WITHHELD: Final = {found.name: found for found in Withheld if found is not Withheld.OTHER}
"""Ends of answers; one for another reason may come whole the next time."""
_UNFINISHED: Final = (
    *("OTHER", "IMAGE_OTHER", "NO_IMAGE", "MALFORMED_RESPONSE", "ESCALATION"),
    *("TOO_MANY_TOOL_CALLS", "MISSING_THOUGHT_SIGNATURE", *_BAD_CALLS),
)


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


class _Answer(Struct, rename="camel"):
    candidates: list[_Candidate] = []
    prompt_feedback: _Feedback | None = None
    usage_metadata: Raw = Raw()
    model_version: str | None = None
    error: Any = None


_ANSWERS: Final = json.Decoder(_Answer)
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
        self._used = GeminiUsage()
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
        self._used.take(found.usage_metadata)
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
            usage = self._used.told(prompt, text)
            return Reply((candidate,), usage, self._model, blocked=self._blocked)
        finish = self._finish()
        words = [f"{call.name}{call.arguments}" for call in self._calls]
        usage = self._used.told(prompt, "".join([text, *words]))
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


def _check_form(text: str, form: Form, stops: tuple[str, ...]) -> None:
    """Check that an answer has its form.

    Raises:
        RequestFailed: a server that knows no such setting may have passed it over.
    """
    if isinstance(form, JSONForm):
        check_form(text, form, stops)
    elif text not in form.choices:
        raise without("the form")
