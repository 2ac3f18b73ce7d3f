"""Processes that die and freeze, and the seams where they do: calls to the database and the disk.

All of them live in one thread. A call is scheduled, takes virtual time, and is run in one go;
before and after it the process may die, be stopped for longer than its leases last, or lose its
power. Whoever is dead gets no further than his next call: his tasks are ended, and of what they do
on the way out nothing reaches the outside.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import os
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, TypeVar

from nightrate.store import blobs, relational, sqlite
from nightrate.store.blobs import Appender, Reader, Run
from nightrate.testing.simulation.chance import Chance

T = TypeVar("T")

CURRENT: contextvars.ContextVar[Process | None] = contextvars.ContextVar("process", default=None)
"""Whose task is running."""

UNWINDING_TURNS_MAX: Final = 1_000

_PLUMBING: Final = {module.__file__ for module in (blobs, relational, sqlite)}
_CLOSING: Final = "close"


class Died(BaseException):
    """The process is dead: outside `Exception`, so that nobody handles it."""


class Call:
    """A call on its way to the disk or the database, and back."""

    def __init__(self, call: Callable[[], Any], label: str, answer: asyncio.Future[Any]) -> None:
        self.call = call
        self.label = label
        self.answer = answer
        self.begun = False

    @property
    def closes(self) -> bool:
        """Whether it only lets go of a file, which the system does for the dead as well."""
        return _CLOSING in self.call.__qualname__


class Process:
    """One start of one process.

    Args:
        name: of the process.
        start: how often it was started before.
        chance: where its ids and delays come from.
        strike: asked before and after each call; may call `die` or `freeze`.
        looked: told after each call to the database.
    """

    def __init__(
        self,
        name: str,
        start: int,
        chance: Chance,
        strike: Callable[[Process, str], None],
        looked: Callable[[], None],
    ) -> None:
        self.name = f"{name}.{start}"
        self.chance = chance
        self.alive = True
        self.frozen_until = 0.0
        self.strike = strike
        self.looked = looked
        self._tasks: dict[asyncio.Task[Any], None] = {}
        self._calls: dict[Call, None] = {}
        self._files: list[Appender | Reader] = []
        self._buried: list[Callable[[], None]] = []

    def seam(self, *, in_line: bool) -> Run:
        """Make a function that runs calls.

        ``in_line`` for the one thread of the database, else for the several of the disk.
        """
        return _Seam(self, in_line=in_line).run

    def spawn(self, coroutine: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Begin a task that lives and dies with this process, as do all that it begins."""
        context = contextvars.copy_context()
        context.run(CURRENT.set, self)
        return asyncio.get_running_loop().create_task(coroutine, context=context)

    def adopt(self, task: asyncio.Task[Any]) -> None:
        """Take note of a task that was begun by one of ours."""
        self._tasks[task] = None
        task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[Any]) -> None:
        del self._tasks[task]
        if not task.cancelled():
            task.exception()  # looked at, so that nobody reports it as forgotten

    def when_buried(self, call: Callable[[], None]) -> None:
        """Have something done when the last task of the dead process has ended."""
        self._buried.append(call)

    def freeze(self, until: float) -> None:
        """Do nothing until then; leases and timers go on."""
        self.frozen_until = max(self.frozen_until, until)

    def freezes_for(self) -> float:
        """Tell how long this process will do nothing."""
        return max(0.0, self.frozen_until - asyncio.get_running_loop().time())

    def die(self) -> None:
        """Die now, wherever the tasks are."""
        if not self.alive:
            return
        self.alive = False
        calls, self._calls = list(self._calls), {}
        for call in calls:
            if call.closes and not call.begun:
                call.call()
            if not call.answer.done():
                call.answer.set_exception(Died())
                call.answer.exception()
        self._end_tasks(0)

    def _end_tasks(self, turn: int) -> None:
        assert turn < UNWINDING_TURNS_MAX, "a task of a dead process does not end"
        if self._tasks:
            for task in list(self._tasks):
                task.cancel()
            asyncio.get_running_loop().call_soon(self._end_tasks, turn + 1)
            return
        for file in self._files:
            if file._descriptor >= 0:  # noqa: SLF001 - the system closes what the dead had open
                os.close(file._descriptor)  # noqa: SLF001
                file._descriptor = -1  # noqa: SLF001
        for call in self._buried:
            call()

    # what its seams tell ------------------------------------------------------------------------

    def begin(self, call: Call) -> None:
        """Take note of a call."""
        self._calls[call] = None

    def end(self, call: Call) -> None:
        """Forget a call, and note the file that it opened."""
        self._calls.pop(call, None)

    def opened(self, result: Any) -> None:
        """Take note of a file that a call may have opened."""
        if isinstance(result, Appender | Reader):
            self._files.append(result)


class _Seam:
    """Where the calls of one process go: to one thread, one after the other, or to several."""

    def __init__(self, process: Process, *, in_line: bool) -> None:
        self._process = process
        self._line: deque[Call] | None = deque() if in_line else None

    def run(self, call: Callable[[], T], /) -> Awaitable[T]:
        """See `store.blobs.Run`."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()
        job = Call(call, _caller(), answer)
        if not self._process.alive:
            if not job.closes:
                raise Died
            answer.set_result(call())
            return answer
        self._process.begin(job)
        if self._line is None:
            self._soon(self._execute, job)
        else:
            self._line.append(job)
            if len(self._line) == 1:
                self._soon(self._execute, job)
        return answer

    def _soon(self, step: Callable[[Call], None], job: Call) -> None:
        """Go on with a call after a moment, or when the process goes on."""
        process, loop = self._process, asyncio.get_running_loop()
        delay = process.freezes_for() + process.chance.between(0.0001, 0.01)
        loop.call_later(delay, step, job)

    def _execute(self, job: Call) -> None:
        process = self._process
        if process.freezes_for():
            self._soon(self._execute, job)
            return
        if process.alive:
            process.strike(process, f"before {job.label}")
        if not process.alive:
            return
        if process.freezes_for():
            self._soon(self._execute, job)
            return
        # A caller that left takes back a call that has not begun; one that has goes on.
        if not (job.answer.cancelled() and process.chance.happens(0.5)):
            self._call(job)
        if self._line is not None:  # the dead make no more calls
            self._line.popleft()
            if self._line:
                self._soon(self._execute, self._line[0])

    def _call(self, job: Call) -> None:
        process = self._process
        job.begun = True
        error: Exception | None = None
        result = None
        try:
            result = job.call()
        except Died:
            assert not process.alive, "raised by whoever killed it"
            return
        except Exception as raised:  # noqa: BLE001 - it is for whoever called
            error = raised
        process.opened(result)
        if self._line is not None:
            process.looked()
        process.strike(process, f"after {job.label}")
        if process.alive:
            self._soon(lambda job: self._answer(job, result, error), job)

    def _answer(self, job: Call, result: Any, error: Exception | None) -> None:
        process = self._process
        if not process.alive:
            return
        if process.freezes_for():
            self._soon(lambda job: self._answer(job, result, error), job)
            return
        process.end(job)
        if job.answer.done():
            return
        if error is None:
            job.answer.set_result(result)
        else:
            job.answer.set_exception(error)


def adopting(
    loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, T], **options: Any
) -> asyncio.Task[T]:
    """Begin a task for a loop, and tell the process that it belongs to."""
    task = asyncio.Task(coroutine, loop=loop, **options)
    context = options.get("context")
    process = CURRENT.get() if context is None else context.get(CURRENT)
    if process is not None:
        process.adopt(task)
    return task


def _caller() -> str:
    """Name what is asked for: a verb of the store, or a method of the blobs and who called it."""
    frame, last = inspect.currentframe(), ""
    while frame is not None:
        file, name = frame.f_code.co_filename, frame.f_code.co_qualname
        if file not in _PLUMBING and file != __file__:
            break
        if file == blobs.__file__:
            last = name
        frame = frame.f_back
    outer = "" if frame is None else frame.f_code.co_qualname
    return f"{last} in {outer}" if last else outer
