"""What runs in the embedded engine's child process: one loop that reads, steps and answers.

The library's step holds the interpreter lock, so a reading thread would only get its turn between
two steps; the loop reads the line there itself. Requests join and leave the running batch between
steps. A fault of the library ends the process; the parent starts it again.
"""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
from msgspec import Struct, structs

from nightrate import clock
from nightrate.domain.generation import Candidate, FinishReason, Prompt, Reply, Token, Usage
from nightrate.engines.calls import candidate_of_call
from nightrate.engines.certainty import certain, cut
from nightrate.engines.frames import CANCEL, Answer, ParentGone, ParentLine, Question, Trouble, raw
from nightrate.engines.likelihood import PASSAGES, Mode
from nightrate.engines.openvino_model import BLOCK_TOKENS, Encoded, Model, ModelSetup
from nightrate.engines.prefixes import CHUNK_TOKENS, Prefixes, beginnings_of
from nightrate.errors import Code, RequestFailed

BEAT_SECONDS = 1.0
"""How often the parent hears of a child that works but has nothing to answer."""


class Offer(Struct, frozen=True):
    """What the child tells when it is ready."""

    tokens_max: int
    """Of a prompt and its answer."""
    cache_tokens: int
    """That the attention cache holds for all requests in flight together."""


class Draft:
    """An answer in the making: its tokens, and its text as far as that is certain.

    It is kept for answers that are streamed and for those with stop sequences. The library would
    look for these too, but it takes white space at their end for nothing and stops too early.
    """

    def __init__(self, model: Model, stops: tuple[str, ...], *, streamed: bool) -> None:
        self.ids: list[int] = []
        self.logs: list[float] = []
        self.reason: Any = None
        self.stopped = False
        """Whether a stop sequence has come: the answer ends there."""
        self._model = model
        self._stops = stops
        self._streamed = streamed
        self._told = ""

    def grow(self, number: int, handle: Any) -> list[Answer]:
        """Read the tokens of the last step, and tell what they make certain if it is streamed."""
        before = len(self.ids)
        while handle.can_read():
            (output,) = handle.read().values()
            self.ids += output.generated_ids
            self.logs += output.generated_log_probs
            self.reason = output.finish_reason
        if len(self.ids) == before:
            return []
        # From the start each time: 0.13 ms for 1,000 tokens, and right for every tokenizer.
        text = self._model.decode(self.ids)
        self.stopped = cut(text, self._stops)[1]
        sure = certain(text, self._stops) if self._streamed else ""
        if len(sure) <= len(self._told) or not sure.startswith(self._told):
            return []  # Nothing new; or else `end` says what is wrong.
        told, self._told = self._told, sure
        return [Answer(number, raw(sure[len(told) :]), more=True)]

    def end(self, number: int, text: str) -> list[Answer]:
        """Tell what was not told yet of the finished text.

        Raises:
            RequestFailed: the text is not what it was begun with.
        """
        if not text.startswith(self._told):
            message = "The model's tokenizer changed a text that had been sent already."
            raise RequestFailed(message, code=Code.INTERNAL)
        rest = text[len(self._told) :]
        return [Answer(number, raw(rest), more=True)] if rest and self._streamed else []


class Job(Struct):
    """One question on its way through a pipeline."""

    number: int
    encoded: Encoded
    config: Any
    finish: Callable[[list[int], list[float], Any], Reply]
    """Makes the answer of all token ids, their logarithms and the library's reason for the end."""
    beginnings: list[int]
    """See `prefixes`."""
    reused_tokens: int = 0
    """Of the prompt, what was not computed again."""
    draft: Draft | None = None
    """Kept only where somebody looks at an unfinished answer."""

    @property
    def room(self) -> int:
        """Count the cache tokens it may come to hold, in whole blocks."""
        tokens = self.encoded.tokens + int(self.config.max_new_tokens)
        return -(-tokens // BLOCK_TOKENS) * BLOCK_TOKENS


class Lane:
    """One pipeline with its jobs.

    A job is let in only when its prompt and its longest answer fit into the attention cache beside
    the others: the library would otherwise throw running work out and compute it again.
    """

    def __init__(self, model: Model, mode: Mode) -> None:
        self._model = model
        self._pipeline, self.cache_tokens = model.pipeline(mode)
        self._seats = model.setup.requests
        self._waiting: deque[Job] = deque()
        self._live: dict[int, tuple[Job, Any]] = {}
        self._held_tokens = 0
        self._prefixes = Prefixes(self.cache_tokens // CHUNK_TOKENS)
        self._reading: dict[int, tuple[Job, Any]] = {}

    @property
    def busy(self) -> bool:
        """Whether a turn would do anything."""
        return bool(self._waiting or self._live or self._pipeline.has_non_finished_requests())

    def add(self, job: Job) -> None:
        """Queue a job."""
        self._waiting.append(job)

    def cancel(self, number: int) -> None:
        """Forget a job; its place is free after the next step."""
        if number in self._live:
            _, handle = self._leave(number)
            handle.cancel()
        else:
            self._waiting = deque(job for job in self._waiting if job.number != number)

    def turn(self) -> list[Answer]:
        """Let waiting jobs in, step once, and give the answers of those that ended."""
        answers = self._admit()
        if self._pipeline.has_non_finished_requests():
            self._pipeline.step()
        return answers + self._collect()

    def _admit(self) -> list[Answer]:
        refused = []
        held: list[Job] = []
        while self._waiting and len(self._live) < self._seats:
            job = self._waiting[0]
            if self._live and self._held_tokens + job.room > self.cache_tokens:
                break
            self._waiting.popleft()
            if self._prefixes.worth_waiting(job.beginnings):
                held.append(job)
                continue
            try:
                handle = self._pipeline.add_request(job.number, job.encoded.ids, job.config)
            except RuntimeError as error:  # The library's only word for settings it refuses.
                refused.append(_troubled(job.number, _first_line(error), Code.INVALID_ARGUMENT))
                continue
            self._live[job.number] = self._reading[job.number] = (job, handle)
            job.reused_tokens = self._prefixes.reused_tokens(job.beginnings)
            self._held_tokens += job.room
            self._prefixes.make_room((self.cache_tokens - self._held_tokens) // CHUNK_TOKENS)
            self._prefixes.begin(job.beginnings)
        self._waiting.extendleft(reversed(held))
        return refused

    def _collect(self) -> list[Answer]:
        for number, (job, handle) in list(self._reading.items()):
            if handle.can_read():
                del self._reading[number]
                self._prefixes.done(job.beginnings)
        answers: list[Answer] = []
        for number, (job, handle) in list(self._live.items()):
            status = handle.get_status()
            draft = job.draft
            if draft is not None:
                answers += draft.grow(number, handle)
            if status != self._model.running:
                answers += self._ended(number, status)
            elif draft is not None and draft.stopped:
                handle.stop()
                answers += self._ended(number, handle.get_status())
        return answers

    def _ended(self, number: int, status: Any) -> list[Answer]:
        job, handle = self._leave(number)
        if status not in self._model.finished:
            message = f"The engine dropped the request ({status.name}): its cache is full."
            return [_troubled(number, message, Code.RESOURCE_EXHAUSTED, retriable=True)]
        draft = job.draft
        if draft is None:
            output = handle.read_all()[0]
            logs = list(output.generated_log_probs)
            reply = job.finish(list(output.generated_ids), logs, output.finish_reason)
            return [Answer(number, raw(_reused(reply, job.reused_tokens)))]
        reply = _reused(job.finish(draft.ids, draft.logs, draft.reason), job.reused_tokens)
        try:
            return [*draft.end(number, reply.candidates[0].text), Answer(number, raw(reply))]
        except RequestFailed as failure:
            return [_troubled(number, failure.message, failure.code)]

    def _leave(self, number: int) -> tuple[Job, Any]:
        job, handle = self._live.pop(number)
        self._held_tokens -= job.room
        if self._reading.pop(number, None):
            self._prefixes.drop(job.beginnings)
        return job, handle


class Worker:
    """Turns questions into jobs and answers."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._lanes: dict[Mode, Lane] = {}
        self._where: dict[int, Lane] = {}
        self._ready: list[Answer] = []
        self._prompt = msgspec.msgpack.Decoder(Prompt).decode
        first = self._lane("exact" if model.setup.reproducible == "always" else "fast")
        self.offer = Offer(model.tokens_max(first.cache_tokens), first.cache_tokens)

    @property
    def busy(self) -> bool:
        """Whether a turn would do anything."""
        return bool(self._ready) or any(lane.busy for lane in self._lanes.values())

    def take(self, question: Question) -> None:
        """Begin with a question."""
        number, verb = question.number, question.verb
        try:
            if verb == CANCEL:
                if lane := self._where.pop(number, None):
                    lane.cancel(number)
            elif verb in {"generate", "stream"}:
                self._generate(number, self._prompt(question.body), streamed=verb == "stream")
            elif verb == "count_tokens":
                tokens = self._model.encode(self._prompt(question.body)).tokens
                self._ready.append(Answer(number, raw(tokens)))
            elif verb == "likelihood":
                mode = msgspec.msgpack.decode(question.body, type=Mode)
                self._ready.append(Answer(number, raw(self._model.likelihoods(mode, PASSAGES))))
            else:
                self._ready.append(_troubled(number, f"There is no {verb!r}.", Code.UNIMPLEMENTED))
        except RequestFailed as failure:
            self._ready.append(_troubled(number, failure.message, failure.code))

    def turn(self) -> list[Answer]:
        """Step every lane that has work, one step each, and give what is answered."""
        answers, self._ready = self._ready, []
        for lane in self._lanes.values():
            if lane.busy:
                answers += lane.turn()
        for answer in answers:
            if not answer.more:
                self._where.pop(answer.number, None)
        return answers

    def _lane(self, mode: Mode) -> Lane:
        if mode not in self._lanes:
            self._lanes[mode] = Lane(self._model, mode)
        return self._lanes[mode]

    def _generate(self, number: int, prompt: Prompt, *, streamed: bool) -> None:
        lane = self._lane(self._model.mode_of(prompt.sampling))
        encoded = self._model.encode(prompt)
        tokens_max = self._model.tokens_max(lane.cache_tokens)
        config = self._model.config(prompt, encoded.tokens, tokens_max)
        stops = prompt.sampling.stop
        self._where[number] = lane
        beginnings = beginnings_of(encoded.ids.data.tobytes(), encoded.ids.data.itemsize)
        finish = partial(self._reply, encoded=encoded, prompt=prompt)
        streamed = streamed and prompt.calling is None  # A call comes whole, with the reply.
        draft = Draft(self._model, stops, streamed=streamed) if streamed or stops else None
        lane.add(Job(number, encoded, config, finish, beginnings, draft=draft))

    def _reply(
        self,
        ids: list[int],
        logs: list[float],
        reason: Any,
        *,
        encoded: Encoded,
        prompt: Prompt,
    ) -> Reply:
        calling = prompt.calling
        text, stopped = cut(self._model.decode(ids), prompt.sampling.stop)
        length = reason == self._model.length and not stopped
        finish = FinishReason.LENGTH if length else FinishReason.STOP
        candidate = (
            Candidate(text, finish) if calling is None else candidate_of_call(text, finish, calling)
        )
        if prompt.logprobs is not None:
            candidate = structs.replace(candidate, tokens=self._tokens(ids, logs))
        usage = Usage(encoded.tokens, len(ids))
        return Reply((candidate,), usage, self._model.setup.model_version)

    def _tokens(self, ids: list[int], logs: list[float]) -> tuple[Token, ...]:
        """Say how likely each token was; a token alone may be a part of a character only."""
        decode = self._model.decode
        return tuple(
            Token(decode([number]), log, number) for number, log in zip(ids, logs, strict=True)
        )


def serve(line: ParentLine, worker: Worker) -> None:
    """Answer questions until the parent is gone."""
    beat = clock.monotonic()
    while True:
        for question in line.questions(wait=not worker.busy):
            worker.take(question)
        answers = worker.turn()
        now = clock.monotonic()
        if answers or now - beat > BEAT_SECONDS:
            line.send(answers)
            beat = now


def main() -> None:
    """Load what the parent's first frame says, then serve."""
    line = ParentLine.from_arguments()
    try:
        setup = line.setup(ModelSetup)
        try:
            worker = Worker(Model(setup))
        except ImportError as error:
            line.broken(f"OpenVINO GenAI cannot be used on this machine: {error}", permanent=True)
        except RuntimeError as error:
            line.broken(f"OpenVINO GenAI cannot load {setup.path}: {error}", permanent=True)
        else:
            line.started(worker.offer)
            serve(line, worker)
    except ParentGone:
        pass
    sys.stdout.flush()
    sys.stderr.flush()
    # Not an orderly exit: the library complains about work that was left unfinished.
    os._exit(0)


def _reused(reply: Reply, tokens: int) -> Reply:
    """Say of a reply how much of its prompt was not computed again."""
    return structs.replace(reply, usage=structs.replace(reply.usage, cached_tokens=tokens))


def _troubled(number: int, message: str, code: Code, *, retriable: bool = False) -> Answer:
    return Answer(number, trouble=Trouble(message, int(code), retriable))


def _first_line(error: RuntimeError) -> str:
    return str(error).strip().splitlines()[0]


if __name__ == "__main__":
    main()
