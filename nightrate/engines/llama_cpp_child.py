"""What runs in the child process of the llama.cpp engine: a thread for each slot of the model.

The library makes an answer in the thread that asks for it, and computes all that are open together.
The main thread reads the line and makes prompts into tokens; what has no slot yet waits here, where
it can be taken back: in two lines, because what somebody waits for goes first, and some slots are
kept for it. A fault of the library ends the process; the parent starts it again.
"""

from __future__ import annotations

import os
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, NoReturn

import msgspec
from msgspec import Struct, structs

from nightrate import clock
from nightrate.domain.generation import FinishReason, Prompt, Reply, Token, Usage
from nightrate.engines.call_syntaxes import CallSyntax
from nightrate.engines.calls import candidate_of
from nightrate.engines.certainty import cut
from nightrate.engines.frames import (
    CANCEL,
    Answer,
    ParentGone,
    ParentLine,
    Question,
    lead_life,
    raw,
    troubled,
)
from nightrate.engines.likelihood import PASSAGES, Measured
from nightrate.engines.llama_cpp_model import Model, ModelSetup, Piece, Refused
from nightrate.engines.streamed_text import StreamedText
from nightrate.errors import Code, RequestFailed

BEAT_SECONDS = 1.0
"""How often the parent hears of a child that works but has nothing to answer."""


class Offer(Struct, frozen=True):
    """What the child tells when it is ready."""

    tokens_max: int
    """Of a prompt and its answer."""


_Waiting = tuple[int, Callable[[], None]]
"""A question that has no slot yet: its number, and what answers it."""


class Outbox:
    """The line to the parent, written by all threads."""

    def __init__(self, line: ParentLine) -> None:
        self._line = line
        self._lock = threading.Lock()
        self._sent_at = clock.monotonic()

    def send(self, *answers: Answer) -> None:
        """Give answers back; without any, show that the child is alive."""
        with self._lock:
            try:
                self._line.send(list(answers))
            except ParentGone:
                os._exit(0)  # The library calls this, and lets no exception through.
            self._sent_at = clock.monotonic()

    def beat(self) -> None:
        """Show that the child is alive, unless something was sent just now."""
        if clock.monotonic() - self._sent_at > BEAT_SECONDS:
            self.send()


class Draft:
    """An answer in the making, and what of it was told."""

    def __init__(
        self,
        number: int,
        prompt: Prompt,
        prompt_tokens: int,
        *,
        streamed: bool,
        syntax: CallSyntax | None = None,
    ) -> None:
        self.withdrawn = False
        """Set by the main thread when nobody waits for it any more."""
        self._number = number
        self._prompt = prompt
        self._streamed = StreamedText(prompt, syntax) if streamed else None
        self._syntax = syntax
        self._stops = prompt.sampling.stop
        self._usage = Usage(prompt_tokens, 0)
        self._text = ""
        self._tokens: list[Token] = []
        self._stopped = False
        self._reason = FinishReason.STOP

    def grow(self, piece: Piece) -> list[Answer]:
        """Take up what a step told, and give what it makes certain if that is streamed."""
        self._text += piece.text
        self._tokens += piece.tokens
        self._usage = structs.replace(
            self._usage,
            output_tokens=max(self._usage.output_tokens, piece.output_tokens),
            cached_tokens=max(self._usage.cached_tokens, piece.cached_tokens),
        )
        if piece.finish_reason is not None:
            self._reason = piece.finish_reason
        self._stopped = cut(self._text, self._stops)[1]
        return self._tell(self._streamed.more(self._text) if self._streamed is not None else "")

    @property
    def over(self) -> bool:
        """Whether no more of it is wanted: a stop sequence has come, or nobody waits."""
        return self._stopped or self.withdrawn

    def end(self, model_version: str) -> list[Answer]:
        """Give the rest of its text if that is streamed, and the reply.

        Raises:
            RequestFailed: the text is not what it was begun with.
        """
        text, _ = cut(self._text, self._stops)
        reason = FinishReason.STOP if self._stopped else self._reason
        candidate = candidate_of(
            *(text, reason, self._prompt.calling, self._syntax), stopped=self._stopped
        )
        if self._tokens:
            candidate = structs.replace(candidate, tokens=tuple(self._tokens))
        reply = Reply((candidate,), self._usage, model_version)
        rest = self._streamed.rest(candidate.text) if self._streamed is not None else ""
        return [*self._tell(rest), Answer(self._number, raw(reply))]

    def _tell(self, words: str) -> list[Answer]:
        return [Answer(self._number, raw(words), more=True)] if words else []


class Worker:
    """Turns questions into answers, as many at once as the model has slots."""

    def __init__(self, model: Model, outbox: Outbox) -> None:
        self._model = model
        self._outbox = outbox
        self._prompt = msgspec.msgpack.Decoder(Prompt).decode
        self._lock = threading.Condition()
        self._live: deque[_Waiting] = deque()
        self._batch: deque[_Waiting] = deque()
        self._batch_max = model.setup.slots - model.setup.live_slots
        self._batch_begun = 0
        """Jobs that nobody waits for and that have a slot."""
        self._drafts: dict[int, Draft] = {}
        for number in range(model.setup.slots):
            threading.Thread(target=self._work, name=f"slot {number}", daemon=True).start()

    def take(self, question: Question) -> None:
        """Begin with a question."""
        number, verb = question.number, question.verb
        try:
            if verb == CANCEL:
                self._cancel(number)
            elif verb in {"generate", "stream"}:
                self._generate(number, self._prompt(question.body), streamed=verb == "stream")
            elif verb == "count_tokens":
                ids = self._model.encode(self._prompt(question.body))
                self._outbox.send(Answer(number, raw(len(ids))))
            elif verb == "likelihood":
                self._wait(number, partial(self._measure, number, self._passages()))
            else:
                message = f"There is no {verb!r}."
                self._outbox.send(troubled(number, message, Code.UNIMPLEMENTED))
        except RequestFailed as failure:
            self._outbox.send(troubled(number, failure.message, failure.code))

    def _generate(self, number: int, prompt: Prompt, *, streamed: bool) -> None:
        ids = self._model.encode(prompt)
        order = self._model.order(prompt, ids)
        draft = Draft(number, prompt, len(ids), streamed=streamed, syntax=self._model.syntax)
        self._drafts[number] = draft
        self._wait(number, partial(self._answer, number, prompt, order, draft), live=prompt.live)

    def _passages(self) -> dict[str, list[int]]:
        return {
            name: self._model.encode_text(text, begins=False) for name, text in PASSAGES.items()
        }

    def _wait(self, number: int, job: Callable[[], None], *, live: bool = False) -> None:
        """Have a job done by the next free slot, or one that is kept if somebody waits for it."""
        with self._lock:
            (self._live if live else self._batch).append((number, job))
            self._lock.notify()

    def _cancel(self, number: int) -> None:
        """Forget a question; one that is answered now is given up at its next step."""
        with self._lock:
            self._live = deque(one for one in self._live if one[0] != number)
            self._batch = deque(one for one in self._batch if one[0] != number)
        if draft := self._drafts.pop(number, None):
            draft.withdrawn = True

    def _work(self) -> None:
        """Be the thread of a slot."""
        while True:
            with self._lock:
                self._lock.wait_for(lambda: self._live or self._takes_batch)
                live = bool(self._live)
                _, job = (self._live if live else self._batch).popleft()
                self._batch_begun += not live
            job()
            with self._lock:
                self._batch_begun -= not live
                self._lock.notify()  # a slot that did not take one of a batch may do so now

    @property
    def _takes_batch(self) -> bool:
        return bool(self._batch) and self._batch_begun < self._batch_max

    def _answer(self, number: int, prompt: Prompt, order: dict[str, Any], draft: Draft) -> None:
        def look(piece: Piece) -> bool:
            if not draft.withdrawn and (told := draft.grow(piece)):
                self._outbox.send(*told)
            else:
                self._outbox.beat()
            return draft.over

        try:
            self._model.answer(order, prompt.logprobs, look)
            if not draft.withdrawn:
                self._outbox.send(*draft.end(self._model.setup.model_version))
        except Refused as refused:
            self._outbox.send(_refusal(number, prompt, refused))
        except RequestFailed as failure:
            self._outbox.send(troubled(number, failure.message, failure.code))
        self._drafts.pop(number, None)

    def _measure(self, number: int, passages: dict[str, list[int]]) -> None:
        measured: dict[str, Measured] = {}
        for name, ids in passages.items():
            measured[name] = self._model.likelihood(ids, self._outbox.beat)
        self._outbox.send(Answer(number, raw(measured)))


def _refusal(number: int, prompt: Prompt, refused: Refused) -> Answer:
    """Say why the library does not take an order; the rest was checked before."""
    field = prompt.form.field if prompt.form is not None else ""
    if prompt.calling is not None:
        field = prompt.calling.field
    if refused.grammar:
        message = (
            f"{field}: this engine cannot keep a schema that may begin with itself, or whose "
            "bounds nest too deeply."
        )
        return troubled(number, message, Code.UNIMPLEMENTED)
    message = f"llama.cpp refused the request (status {refused.code})."
    return troubled(number, message, Code.INTERNAL, retriable=True)


def _end(fault: threading.ExceptHookArgs) -> NoReturn:
    """End the process with its last words: a slot that lost its thread would never be missed."""
    traceback.print_exception(fault.exc_type, fault.exc_value, fault.exc_traceback)
    sys.stderr.flush()
    os._exit(1)


def serve(line: ParentLine, model: Model) -> None:
    """Answer questions until the parent is gone."""
    threading.excepthook = _end
    worker = Worker(model, Outbox(line))
    while True:
        for question in line.questions(wait=True):
            worker.take(question)


def _begin(setup: ModelSetup) -> tuple[Offer, Callable[[ParentLine], None]]:
    model = Model(setup)
    return Offer(setup.context_tokens), partial(serve, model=model)


def main() -> None:
    """Be the child of the engine."""
    lead_life(ModelSetup, _begin, library="llama.cpp", loaded=lambda setup: setup.path)


if __name__ == "__main__":
    main()
