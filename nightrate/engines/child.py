"""One child process from its start to its end, asked over a socket; see `supervised_child`.

What runs in the child speaks `frames`. A child that dies takes down the questions it was working
on (`EngineDown` with ``in_flight``) and nothing else. A child that works but gives no sign of life
for too long, or speaks what is no frame, is killed and counts as dead.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import math
import signal
import socket
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from nightrate import clock
from nightrate.engines.frames import (
    CANCEL,
    LOADING,
    Answer,
    Greeting,
    Question,
    Rubbish,
    Trouble,
    Unframer,
    frame,
    raw,
)
from nightrate.errors import Code, EngineDown, RequestFailed

Shape = TypeVar("Shape")

_READ_BYTES = 256 * 1024
_LAST_WORDS_LINES = 12
_LAST_WORDS_SECONDS = 1.0
"""How long the end of a child that closed its line is waited for, and then for its output, which a
grandchild could hold open for ever."""
_LINE_CHARACTERS = 400


class Patience(Struct, frozen=True, kw_only=True):
    """How long a child may take, and how often it may fail."""

    start_seconds: float = 300.0
    """From its spawn to its greeting; loading a large model takes minutes."""
    silence_seconds: float = 60.0
    """Without any frame while it has questions to answer."""
    backoff_seconds: float = 0.2
    """Before the first restart; doubles with each failed start."""
    starts: int = 5
    """Failed starts in a row after which it is given up."""


class StartFailed(Exception):
    """The child did not come up."""

    def __init__(self, message: str, *, permanent: bool = False) -> None:
        super().__init__(message)
        self.permanent = permanent


class Child:
    """One child process from its start to its end; never restarted."""

    def __init__(self, process: asyncio.subprocess.Process, ours: socket.socket) -> None:
        self.process_id = process.pid
        self.greeting = msgspec.Raw()
        self._process = process
        self._socket = ours
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter
        self._unframer = Unframer()
        self._waiting: dict[int, Callable[[Answer | EngineDown], None]] = {}
        """Who takes what comes to a question: by its number."""
        self._unsent: list[bytes] = []
        self._numbers = itertools.count(1)
        self._heard = self._started = clock.monotonic()
        self._silence_seconds_max = math.inf
        self._killed_because = ""
        self._paused = False
        self._line_ended = False
        self._output: deque[str] = deque(maxlen=_LAST_WORDS_LINES)
        self._output_read = asyncio.create_task(self._keep_output())

    @classmethod
    async def start(cls, arguments: Sequence[str], setup: bytes, patience: Patience) -> Child:
        """Spawn, configure and wait for the greeting.

        Raises:
            StartFailed: it could not be spawned, said that it cannot work, died or was too slow.
        """
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                process = await asyncio.create_subprocess_exec(
                    *arguments,
                    str(theirs.fileno()),
                    pass_fds=(theirs.fileno(),),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.STDOUT,
                    # An interrupt typed at the terminal is the parent's to handle.
                    start_new_session=True,
                )
        except BaseException as error:
            ours.close()
            if isinstance(error, OSError):
                raise StartFailed(f"{arguments[0]} could not be started: {error}") from error
            raise
        child = cls(process, ours)
        try:
            await child._greet(setup, patience.start_seconds)
        except BaseException:
            await child.end()
            raise
        return child

    async def _greet(self, setup: bytes, start_seconds: float) -> None:
        self._reader, self._writer = await asyncio.open_connection(sock=self._socket)
        self._writer.write(setup)
        payloads: list[bytes] = []
        try:
            async with asyncio.timeout(start_seconds):
                while not payloads:
                    received = await self._read()
                    if not received:
                        await self._process.wait()
                        await self.end()
                        raise StartFailed(f"It {self.last_words()}")
                    payloads += self._unframer.feed(received)
            greeting = msgspec.msgpack.decode(payloads[0], type=Greeting)
        except TimeoutError as error:
            raise StartFailed(f"It was not ready after {start_seconds:g} s.") from error
        except (Rubbish, msgspec.MsgspecError) as error:
            raise StartFailed("Its first words are no greeting.") from error
        if greeting.fault is not None:
            raise StartFailed(greeting.fault, permanent=greeting.permanent)
        self.greeting = greeting.body

    @property
    def answering(self) -> bool:
        """Whether it can be asked: its line is open, as far as is known."""
        return not self._line_ended and not self._writer.is_closing()

    async def _read(self) -> bytes:
        """Give some bytes, or none at the end, however that came about."""
        try:
            return await self._reader.read(_READ_BYTES)
        except ConnectionError:
            return b""

    async def ask(self, verb: str, body: object, shape: type[Shape]) -> Shape:
        """Ask what has one answer, and wait for it; otherwise as `answers`."""
        answered: asyncio.Future[Answer | EngineDown] = asyncio.get_running_loop().create_future()

        def take(answer: Answer | EngineDown) -> None:
            if not answered.done():  # else it was withdrawn in this very moment
                answered.set_result(answer)

        number = self._ask(verb, body, take)
        try:
            answer: Shape = read_answer(_body(await answered), shape)
            return answer
        finally:
            self._withdraw(number)

    async def answers(self, verb: str, body: object) -> AsyncGenerator[msgspec.Raw, None]:
        """Ask, and give the answers as they come; cancelling or closing withdraws the question.

        The question is not held back by a full socket: the engine's capacity bounds what waits.

        Raises:
            RequestFailed: the child refused or failed this question.
            EngineDown: the child died over it.
        """
        inbox: asyncio.Queue[Answer | EngineDown] = asyncio.Queue()
        number = self._ask(verb, body, inbox.put_nowait)
        try:
            more = True
            while more:
                answer = await inbox.get()
                yield _body(answer)
                more = isinstance(answer, Answer) and answer.more
        finally:
            self._withdraw(number)

    def _ask(self, verb: str, body: object, take: Callable[[Answer | EngineDown], None]) -> int:
        number = next(self._numbers)
        question = frame(Question(number, verb, raw(body)))
        if not self._waiting:
            self._heard = clock.monotonic()
        self._waiting[number] = take
        self._send(question)
        return number

    def _withdraw(self, number: int) -> None:
        """Tell the child that nobody waits for an answer any more, if it has not come."""
        if self._waiting.pop(number, None) is not None and self.answering:
            self._send(frame(Question(number, CANCEL)))

    def _send(self, question: bytes) -> None:
        """Send what is asked in one turn of the loop together: each write wakes the child."""
        if not self._unsent:
            asyncio.get_running_loop().call_soon(self._send_all)
        self._unsent.append(question)

    def _send_all(self) -> None:
        unsent, self._unsent = self._unsent, []
        if self.answering:
            self._writer.write(b"".join(unsent))

    async def run(self, patience: Patience) -> None:
        """Hand answers out until the child has ended, then fail what it leaves open."""
        watch = asyncio.create_task(self._watch(patience.silence_seconds))
        try:
            decode = msgspec.msgpack.Decoder(list[Answer]).decode
            while received := await self._read():
                self._heard = clock.monotonic()
                self._silence_seconds_max = patience.silence_seconds
                for payload in self._unframer.feed(received):
                    for answer in decode(payload):
                        if answer.number == LOADING:
                            self._silence_seconds_max = patience.start_seconds
                        self._settle(answer)
        except (Rubbish, msgspec.MsgspecError):
            self._line_ended = True
            self._kill("sent what is no answer and was killed.")
        else:
            self._line_ended = True
            # The line is closed: what ended the process is worth knowing before it is killed.
            with contextlib.suppress(TimeoutError):
                # Not `wait_for`: it forgets that it was cancelled if the process ends just then.
                async with asyncio.timeout(_LAST_WORDS_SECONDS):
                    await self._process.wait()
        finally:
            watch.cancel()
            await self.end()

    def _settle(self, answer: Answer) -> None:
        number = answer.number
        take = self._waiting.get(number) if answer.more else self._waiting.pop(number, None)
        if take is not None:  # Else it was withdrawn while the answer was on its way.
            take(answer)

    async def _watch(self, silence_seconds: float) -> None:
        """Kill a child that works in silence for too long; its death ends `run`."""
        self._silence_seconds_max = silence_seconds
        while True:
            await clock.sleep(silence_seconds / 4)
            quiet_seconds = clock.monotonic() - self._heard
            if self._waiting and not self._paused and quiet_seconds > self._silence_seconds_max:
                self._kill("gave no sign of life and was killed.")
                return

    def hung(self, since: float) -> None:
        """Kill it if it ran at that moment already; its death ends `run`."""
        if self._started <= since:
            self._kill("did not answer in time and was killed.")

    def pause(self) -> None:
        """Have the process stand still. What its owner dies of ends it all the same."""
        self._paused = True
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let the process go on where it was."""
        self._paused = False
        self._heard = clock.monotonic()
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def end(self) -> None:
        """Kill the process if it still runs, reap it and fail what waits. May be called again."""
        self._kill()
        await self._process.wait()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WORDS_SECONDS):
                await self._output_read
        if hasattr(self, "_writer"):
            self._writer.close()
            with contextlib.suppress(ConnectionError):
                await self._writer.wait_closed()
        else:
            self._socket.close()
        waiting, self._waiting = self._waiting, {}
        for take in waiting.values():
            take(EngineDown(f"The engine's process {self.last_words()}", in_flight=True))

    def _kill(self, because: str = "") -> None:
        if self._process.returncode is None:
            self._killed_because = self._killed_because or because
            self._signal(signal.SIGKILL)

    async def _keep_output(self) -> None:
        """Keep the last lines the child prints: they are its last words if it dies."""
        stream = self._process.stdout
        assert stream is not None
        rest = b""
        while received := await stream.read(_READ_BYTES):
            *lines, rest = (rest + received).split(b"\n")
            self._output += (_printable(line) for line in lines)
            rest = rest[-_LINE_CHARACTERS:]
        if rest:
            self._output.append(_printable(rest))

    def last_words(self) -> str:
        """Say how the process ended, with the last lines it printed."""
        code = self._process.returncode
        if self._killed_because:
            how = self._killed_because
        elif code is not None and code < 0:
            how = f"was ended by {_signal_name(-code)}."
        else:
            how = f"ended with status {code}."
        printed = "\n".join(self._output)
        return f"{how} It printed last:\n{printed}" if printed else how


def read_answer(body: msgspec.Raw, shape: Any) -> Any:
    """Read an answer of a child.

    Raises:
        EngineDown: it has not that shape (``in_flight``): whoever answers so is broken.
    """
    try:
        return msgspec.msgpack.decode(body, type=shape)
    except msgspec.MsgspecError as error:
        raise EngineDown("The engine's answer cannot be read.", in_flight=True) from error


def _body(answer: Answer | EngineDown) -> msgspec.Raw:
    """Give the body of an answer, or raise what came in its place."""
    if isinstance(answer, EngineDown):
        raise answer
    if answer.trouble is not None:
        raise _failure(answer.trouble)
    return answer.body


def _failure(trouble: Trouble) -> RequestFailed:
    code = Code(trouble.code) if trouble.code in set(Code) else Code.INTERNAL
    return RequestFailed(trouble.message, code=code, retriable=trouble.retriable)


def _printable(line: bytes) -> str:
    return line.decode(errors="replace").rstrip()[:_LINE_CHARACTERS]


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
