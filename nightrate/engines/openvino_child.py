"""What runs in the embedded engine's child process: one loop that reads, steps and answers.

The library's step holds the interpreter lock, so a reading thread would only get its turn between
two steps; the loop reads the line there itself. A fault of the library ends the process; the parent
starts it again.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
from msgspec import Struct, structs

from nightrate import clock
from nightrate.domain.generation import FinishReason, Prompt, Reply, Token, Usage
from nightrate.engines.calls import candidate_of
from nightrate.engines.certainty import cut
from nightrate.engines.frames import (
    CANCEL,
    LOADING,
    Answer,
    ParentLine,
    Question,
    lead_life,
    raw,
    troubled,
)
from nightrate.engines.likelihood import PASSAGES, Mode
from nightrate.engines.openvino_lane import Draft, Job, Lane
from nightrate.engines.openvino_model import Encoded, Model, ModelSetup
from nightrate.engines.prefixes import BLOCK_TOKENS, beginnings_of
from nightrate.errors import Code, RequestFailed

BEAT_SECONDS = 1.0
"""How often the parent hears of a child that works but has nothing to answer."""


class Offer(Struct, frozen=True):
    """What the child tells when it is ready."""

    tokens_max: int
    """Of a prompt and its answer."""
    cache_tokens: int
    """That the attention cache holds for all requests in flight together."""


def _load_unseen() -> None:
    """Tell nobody: there is nobody yet who waits."""


class Worker:
    """Turns questions into jobs and answers.

    Each mode has a lane, loaded when it is first needed; the lanes take turns.
    """

    def __init__(self, model: Model) -> None:
        self.loading: Callable[[], None] = _load_unseen
        """Called before something is loaded that nobody hears of this process over."""
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
                self.loading()
                self._ready.append(Answer(number, raw(self._model.likelihoods(mode, PASSAGES))))
            else:
                self._ready.append(troubled(number, f"There is no {verb!r}.", Code.UNIMPLEMENTED))
        except RequestFailed as failure:
            self._ready.append(troubled(number, failure.message, failure.code))

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
            self.loading()
            self._lanes[mode] = Lane(self._model, mode, self._model.setup.requests)
        return self._lanes[mode]

    def _generate(self, number: int, prompt: Prompt, *, streamed: bool) -> None:
        lane = self._lane(self._model.mode_of(prompt.sampling))
        encoded = self._model.encode(prompt)
        tokens_max = self._model.tokens_max(lane.cache_tokens)
        config = self._model.config(prompt, encoded.tokens, tokens_max)
        self._where[number] = lane
        beginnings = beginnings_of(encoded.ids.data.tobytes(), encoded.ids.data.itemsize)
        finish = partial(self._reply, encoded=encoded, prompt=prompt)
        draft = None
        if streamed or prompt.sampling.stop:
            draft = Draft(self._model, prompt, streamed=streamed)
        lane.add(
            Job(
                *(number, encoded, config, finish, beginnings),
                kept_blocks=prompt.cached_tokens // BLOCK_TOKENS,
                draft=draft,
                live=prompt.live,
            )
        )

    def _reply(
        self,
        ids: list[int],
        logs: list[float],
        reason: Any,
        *,
        encoded: Encoded,
        prompt: Prompt,
    ) -> Reply:
        text, stopped = cut(self._model.decoder(prompt)(ids), prompt.sampling.stop)
        length = reason == self._model.length and not stopped
        finish = FinishReason.LENGTH if length else FinishReason.STOP
        candidate = candidate_of(
            *(text, finish, prompt.calling, self._model.syntax), stopped=stopped
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
    worker.loading = partial(line.send, [Answer(LOADING)])
    beat = clock.monotonic()
    while True:
        for question in line.questions(wait=not worker.busy):
            worker.take(question)
        answers = worker.turn()
        now = clock.monotonic()
        if answers or now - beat > BEAT_SECONDS:
            line.send(answers)
            beat = now


def _begin(setup: ModelSetup) -> tuple[Offer, Callable[[ParentLine], None]]:
    worker = Worker(Model(setup))
    return worker.offer, partial(serve, worker=worker)


def main() -> None:
    """Be the child of the engine."""
    lead_life(ModelSetup, _begin, library="OpenVINO GenAI", loaded=lambda setup: setup.path)


if __name__ == "__main__":
    main()
