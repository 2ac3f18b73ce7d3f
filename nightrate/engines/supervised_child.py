"""A child process that is started again whenever it dies, and given up at last; see `child`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Sequence
from typing import TypeVar

import msgspec

from nightrate import clock
from nightrate.engines.child import Child, Patience, StartFailed
from nightrate.engines.frames import frame
from nightrate.errors import EngineDown

Shape = TypeVar("Shape")


class SupervisedChild:
    """A child process that is started again whenever it dies."""

    def __init__(self, what: str, arguments: Sequence[str], patience: Patience) -> None:
        self.restarts = 0
        """How often a child that had been ready was replaced."""
        self._what = what
        self._arguments = arguments
        self._patience = patience
        self._setup = b""
        self._child: Child | None = None
        self._ended: str | None = f"{what} is not open."
        self._changed = asyncio.Condition()
        self._supervision: asyncio.Task[None] | None = None

    @property
    def process_id(self) -> int | None:
        """The process that answers now; None while there is none."""
        return self._child.process_id if self._child else None

    async def open(self, setup: object) -> None:
        """Start the child and wait until it is ready.

        Raises:
            EngineDown: it was given up; the message says why.
        """
        self._setup = frame(setup)
        self._ended = None
        self._supervision = asyncio.create_task(self._supervise(), name=f"{self._what}: child")
        try:
            await self.ready()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """End the child; what it was asked fails with `EngineDown`."""
        if self._supervision is not None:
            self._supervision.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._supervision
            self._supervision = None
        if self._ended is None:
            await self._change(None, f"{self._what} is closed.")

    async def ready(self) -> None:
        """Return when questions can be asked, waiting while the child restarts.

        Raises:
            EngineDown: it was given up, or never opened, or is closed.
        """
        async with self._changed:
            await self._changed.wait_for(lambda: self._answering() or self._ended)
        if self._ended is not None:
            raise EngineDown(self._ended)

    def greeting(self, shape: type[Shape]) -> Shape:
        """Give what the child said of itself when it was ready last.

        Raises:
            EngineDown: there is no child now.
        """
        return msgspec.msgpack.decode(self._running().greeting, type=shape)

    async def ask(self, verb: str, body: object, shape: type[Shape]) -> Shape:
        """Ask the child; see `Child.ask`.

        Raises:
            RequestFailed: the child refused or failed this question.
            EngineDown: it died over it (``in_flight``), or does not run now.
        """
        return await self._running().ask(verb, body, shape)

    def answers(self, verb: str, body: object) -> AsyncGenerator[msgspec.Raw, None]:
        """Ask the child for several answers; see `Child.answers`.

        Raises:
            RequestFailed: the child refused or failed this question.
            EngineDown: it died over it (``in_flight``), or does not run now.
        """
        return self._running().answers(verb, body)

    def hung(self, since: float) -> None:
        """Kill the child over a question that it was asked at that moment and did not answer.

        One that was started later is not to blame.
        """
        if self._child is not None:
            self._child.hung(since)

    @property
    def answering(self) -> bool:
        """Whether it can be asked now."""
        return self._answering() is not None

    @property
    def given_up(self) -> bool:
        """Whether it will not be started again by itself."""
        return self._ended is not None

    def pause(self) -> None:
        """Have the child stand still; one that is started meanwhile runs."""
        if self._child is not None:
            self._child.pause()

    def resume(self) -> None:
        """Let the child go on."""
        if self._child is not None:
            self._child.resume()

    def _running(self) -> Child:
        child = self._answering()
        if child is None:
            raise EngineDown(self._ended or f"{self._what} is starting again.")
        return child

    def _answering(self) -> Child | None:
        """Give the child that can be asked.

        One that died is none at once, long before its end is understood: what is asked meanwhile
        would never be in its hands.
        """
        return self._child if self._child and self._child.answering else None

    async def _change(self, child: Child | None, ended: str | None) -> None:
        async with self._changed:
            self._child, self._ended = child, ended
            self._changed.notify_all()

    async def _supervise(self) -> None:
        failures = 0
        while True:
            try:
                child = await Child.start(self._arguments, self._setup, self._patience)
            except StartFailed as failure:
                failures += 1
                if failure.permanent or failures >= self._patience.starts:
                    await self._change(None, f"{self._what} could not be started. {failure}")
                    return
            else:
                failures = 0
                try:
                    await self._change(child, None)
                    await child.run(self._patience)
                finally:
                    self._child = None
                self.restarts += 1
            await clock.sleep(self._patience.backoff_seconds * 2**failures)
