"""What runs in the vLLM engine's child process: one event loop that reads, asks vLLM and answers.

When vLLM's own processes die, this one ends as well, and the parent starts it again.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from contextlib import aclosing, nullcontext
from functools import partial
from typing import Any, NoReturn

import msgspec
from msgspec import Struct, structs

from nightrate import clock
from nightrate.domain.generation import FinishReason, Prompt, Reply, Usage
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
from nightrate.engines.kin import take_kin_along
from nightrate.engines.streamed_text import StreamedText
from nightrate.engines.told import decides
from nightrate.engines.vllm_model import EngineStopped, Model, VLLMSetup
from nightrate.errors import Code, RequestFailed

BEAT_SECONDS = 1.0
"""How often the parent hears that vLLM goes on with what it has to answer."""


class Offer(Struct, frozen=True):
    """What the child tells when it is ready."""

    tokens_max: int
    """Of a prompt and its answer."""
    cache_tokens: int
    """That the attention cache holds for all requests in flight together."""


class Draft:
    """An answer in the making, from the pieces that vLLM gives."""

    def __init__(self, model: Model, prompt: Prompt, *, streamed: bool) -> None:
        self.ids: list[int] = []
        self.logs: list[Any] = []
        self.reason: str | None = None
        self.cached_tokens = 0
        self.stopped = False
        """Whether a stop sequence has ended it; known at its end."""
        self._text = ""
        self._stops = prompt.sampling.stop
        self._with_calls = model.text_with_calls if decides(prompt) else None
        self._streamed = StreamedText(prompt, model.syntax) if streamed else None

    def grow(self, output: Any) -> str:
        """Add a piece, and give what it makes certain if that is streamed."""
        (piece,) = output.outputs
        self._text += piece.text
        self.ids += piece.token_ids
        self.logs += piece.logprobs or ()
        self.reason = piece.finish_reason
        self.cached_tokens = max(self.cached_tokens, output.num_cached_tokens or 0)
        return self._streamed.more(self._whole()) if self._streamed is not None else ""

    def rest(self, words: str) -> str:
        """Give what was not told yet of the finished words, if they are streamed.

        Raises:
            RequestFailed: the words are not what they were begun with.
        """
        return self._streamed.rest(words) if self._streamed is not None else ""

    def _whole(self) -> str:
        return self._text if self._with_calls is None else self._with_calls(self.ids, self._text)

    def end(self) -> tuple[str, FinishReason]:
        """Give the whole text, and why it ended.

        Raises:
            RequestFailed: vLLM dropped the request.
        """
        text, self.stopped = cut(self._whole(), self._stops)
        if self.reason == "length" and not self.stopped:
            return text, FinishReason.LENGTH
        if self.reason not in ("stop", "length"):
            message = f"vLLM dropped the request ({self.reason})."
            raise RequestFailed(message, code=Code.INTERNAL, retriable=True)
        return text, FinishReason.STOP


class Worker:
    """Turns questions into requests of vLLM, and what comes of them into answers.

    Prompts of batches beyond the places wait here, cut into tokens already, so that one which ended
    is replaced without a word to the parent. Those that somebody waits for never wait here: vLLM
    has places for them, and lets them in first.
    """

    def __init__(self, model: Model, line: ParentLine) -> None:
        self._model = model
        self._line = line
        self._places = asyncio.Semaphore(model.setup.requests)
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._ready: list[Answer] = []
        self._prompt = msgspec.msgpack.Decoder(Prompt).decode
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when there is nobody left to work for, or nothing to work with."""

    def listen(self) -> None:
        """Take the questions that have come."""
        try:
            for question in self._line.questions(wait=False):
                self.take(question)
        except ParentGone as gone:
            self._end(gone)

    def take(self, question: Question) -> None:
        """Begin with a question, or leave one."""
        number = question.number
        if question.verb == CANCEL:
            if task := self._tasks.get(number):
                task.cancel()
            return
        task = asyncio.create_task(self._answer(question))
        self._tasks[number] = task
        task.add_done_callback(partial(self._leave, number))

    async def beat(self) -> None:
        """Tell the parent that vLLM goes on, as long as it does."""
        while True:
            await clock.sleep(BEAT_SECONDS)
            await self._model.pulse()
            if self._tasks:
                self._line.send([])

    def watch(self, task: asyncio.Task[None]) -> None:
        """End with a task that failed."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self._end(error)

    def _leave(self, number: int, task: asyncio.Task[None]) -> None:
        self._tasks.pop(number, None)
        self.watch(task)

    def _end(self, why: BaseException) -> None:
        if not self.over.done():
            self.over.set_exception(why)

    def _tell(self, answer: Answer) -> None:
        """Send an answer, together with the others of this turn of the loop: one step has many."""
        if not self._ready:
            asyncio.get_running_loop().call_soon(self._send)
        self._ready.append(answer)

    def _send(self) -> None:
        answers, self._ready = self._ready, []
        try:
            self._line.send(answers)
        except ParentGone as gone:
            self._end(gone)

    async def _answer(self, question: Question) -> None:
        number, verb = question.number, question.verb
        try:
            if verb in {"generate", "stream"}:
                await self._generate(number, self._prompt(question.body), streamed=verb == "stream")
            elif verb == "count_tokens":
                ids = await self._model.encode(self._prompt(question.body))
                self._tell(Answer(number, raw(len(ids))))
            else:
                self._tell(troubled(number, f"There is no {verb!r}.", Code.UNIMPLEMENTED))
        except RequestFailed as failure:
            retriable = failure.retriable
            self._tell(troubled(number, failure.message, failure.code, retriable=retriable))

    async def _generate(self, number: int, prompt: Prompt, *, streamed: bool) -> None:
        model = self._model
        ids = await model.encode(prompt)
        params = model.params(prompt, len(ids), streamed=streamed)
        draft = Draft(model, prompt, streamed=streamed)
        async with nullcontext() if prompt.live else self._places:
            outputs = model.outputs(number, ids, params, live=prompt.live)
            async with aclosing(outputs):
                async for output in outputs:
                    if words := draft.grow(output):
                        self._tell(Answer(number, raw(words), more=True))
        text, finish = draft.end()
        reply = self._reply(prompt, len(ids), draft, text, finish)
        if rest := draft.rest(reply.candidates[0].text):
            self._tell(Answer(number, raw(rest), more=True))
        self._tell(Answer(number, raw(reply)))

    def _reply(
        self, prompt: Prompt, prompt_tokens: int, draft: Draft, text: str, finish: FinishReason
    ) -> Reply:
        candidate = candidate_of(
            *(text, finish, prompt.calling, self._model.syntax), stopped=draft.stopped
        )
        if (wish := prompt.logprobs) is not None:
            tokens = self._model.tokens(draft.ids, draft.logs, wish.others)
            candidate = structs.replace(candidate, tokens=tokens)
        usage = Usage(prompt_tokens, len(draft.ids), draft.cached_tokens)
        return Reply((candidate,), usage, self._model.setup.model_version)


async def work(line: ParentLine, model: Model) -> None:
    """Answer questions until the parent is gone.

    Raises:
        ParentGone: it is.
        EngineStopped: vLLM's processes are.
    """
    worker = Worker(model, line)
    beat = asyncio.create_task(worker.beat())
    beat.add_done_callback(worker.watch)
    asyncio.get_running_loop().add_reader(line.fileno(), worker.listen)
    await worker.over


def _begin(setup: VLLMSetup) -> tuple[Offer, Callable[[ParentLine], None]]:
    import uvloop

    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)

    async def load() -> Model:
        return Model(setup)

    def serve(line: ParentLine) -> None:
        try:
            loop.run_until_complete(work(line, model))
        except EngineStopped:
            _give_up()

    try:
        model = loop.run_until_complete(load())
    except EngineStopped:
        _give_up()

    return Offer(model.tokens_max, model.cache_tokens), serve


def _give_up() -> NoReturn:
    """End with what vLLM printed as the last words."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)


def main() -> None:
    """Be the child of the engine."""
    take_kin_along()
    lead_life(
        *(VLLMSetup, _begin),
        library="vLLM",
        loaded=lambda setup: setup.model,
        troubles=(OSError, RuntimeError, ValueError),
    )


if __name__ == "__main__":
    main()
