"""A child process for tests: speaks the frames, answers like the echo engine, does harm on request.

Its first frame may order how it starts; a prompt's text may order how it ends.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import msgspec

from nightrate.domain.generation import Prompt
from nightrate.engines.echo import EchoEngine
from nightrate.engines.frames import (
    CANCEL,
    LOADING,
    Answer,
    ParentGone,
    ParentLine,
    Question,
    Trouble,
    raw,
)
from nightrate.engines.openvino_child import Offer
from nightrate.errors import RequestFailed

ANSWERED = {"generate", "stream"}

HOLD = "[[hold]]"
"""A prompt with this text keeps its place until it is cancelled; a stream gives it back first."""

DIE = "[[die]]"
HANG = "[[hang]]"
LOAD = "[[load]]"
"""Says that it loads, and is silent for as long as it lives."""
CLOSE = "[[close]]"
"""Closes its line and lives on."""

SEND = "[[send]] "
"""A prompt that begins so is answered with the bytes that it names in hexadecimal digits."""


class Start(msgspec.Struct):
    """How it starts. Fields of other first frames are ignored."""

    how: str = "well"
    starts_file: str | None = None
    """Gets one byte for each start."""
    greets: str | None = None
    """A named pipe that gets its process id when it begins to start."""
    good_after: int = 0
    """How many starts go wrong before one goes well."""
    requests: int = 4
    """How many prompts of batches hold a place at once."""


class Fake:
    """Answers questions."""

    def __init__(self, line: ParentLine, seats: int) -> None:
        self._line = line
        self._seats = seats
        self._held: set[int] = set()
        self._queue: list[Question] = []
        self._echo = EchoEngine.from_options({})
        asyncio.run(self._echo.open())

    def run(self) -> None:
        """Answer until the parent is gone."""
        while True:
            for question in self._line.questions(wait=True):
                self._take(question)
            queue, self._queue = self._queue, []
            for question in queue:
                self._take(question)

    def _take(self, question: Question) -> None:
        if question.verb == CANCEL:
            self._held.discard(question.number)
            self._queue = [one for one in self._queue if one.number != question.number]
        elif question.verb == "count_tokens":
            prompt = msgspec.msgpack.decode(question.body, type=Prompt)
            self._answer(question, asyncio.run(self._echo.count_tokens(prompt)))
        elif question.verb in ANSWERED:
            prompt = msgspec.msgpack.decode(question.body, type=Prompt)
            if len(self._held) >= self._seats and not prompt.live:
                self._queue.append(question)
            else:
                self._generate(question, prompt)
        else:
            self._answer(question, question.body)

    def _generate(self, question: Question, prompt: Prompt) -> None:
        text = prompt.messages[-1].text
        if text == DIE:
            sys.stderr.write("a last word\n")
            sys.stderr.flush()
            os.kill(os.getpid(), signal.SIGKILL)
        elif text == HANG:
            signal.pause()
        elif text == LOAD:
            self._line.send([Answer(LOADING)])
            signal.pause()
        elif text == CLOSE:
            self._line.close()
            signal.pause()
        elif text.startswith(SEND):
            self._line._socket.sendall(bytes.fromhex(text.removeprefix(SEND)))
        elif text == HOLD:
            self._held.add(question.number)
            if question.verb == "stream":
                self._line.send([Answer(question.number, raw(HOLD), more=True)])
        else:
            try:
                asyncio.run(self._echo_back(question, prompt))
            except RequestFailed as failure:
                trouble = Trouble(failure.message, int(failure.code), failure.retriable)
                self._line.send([Answer(question.number, trouble=trouble)])

    async def _echo_back(self, question: Question, prompt: Prompt) -> None:
        if question.verb == "generate":
            self._answer(question, await self._echo.generate(prompt))
            return
        async for piece in self._echo.stream(prompt):
            more = isinstance(piece, str)
            self._line.send([Answer(question.number, raw(piece), more=more)])

    def _answer(self, question: Question, body: object) -> None:
        self._line.send([Answer(question.number, raw(body))])


def main() -> None:
    """Start as ordered, then answer."""
    line = ParentLine.from_arguments()
    start = line.setup(Start)
    starts = 1
    if start.greets:
        Path(start.greets).write_text(f"{os.getpid()}\n")
    if start.starts_file:
        with Path(start.starts_file).open("ab") as file:
            file.write(b".")
            starts = file.tell()
    how = start.how if starts > start.good_after or not start.good_after else "dies"
    if how == "dies":
        sys.stderr.write("no luck today\n")
        sys.exit(3)
    elif how == "broken":
        line.broken("It has no legs.", permanent=True)
    elif how == "silent":
        signal.pause()
    elif how == "babbles":
        line._socket.sendall(b"\x05\0\0\0hello")
        signal.pause()
    else:
        line.started(Offer(tokens_max=8192, cache_tokens=50_000))
        if how == "deaf":
            while True:
                signal.pause()
        try:
            Fake(line, start.requests).run()
        except ParentGone:
            sys.exit(0)


if __name__ == "__main__":
    main()
