"""A second child of an engine on this machine's processor, for those that somebody waits for.

It is started when the first of them meets a batch, beside the work, and whoever comes until it is
ready is answered by the first child. From then on the first one stands still while a first token is
waited for (see `precedence`).
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import TypeVar

import msgspec

from nightrate import clock
from nightrate.engines.child import Patience
from nightrate.engines.precedence import Precedence
from nightrate.engines.supervised_child import SupervisedChild
from nightrate.errors import EngineDown

Shape = TypeVar("Shape")

log = logging.getLogger(__name__)

_AGAIN_SECONDS = 60.0
"""From when it is missed: there may have been too little memory for the weights once more."""


class FrontChild:
    """The second child.

    Args:
        what: it is, for messages.
        arguments: the command that is the child.
        patience: how long it may take to start, and be silent.
        behind: the first child.
    """

    def __init__(
        self, what: str, arguments: Sequence[str], patience: Patience, behind: SupervisedChild
    ) -> None:
        self._child = SupervisedChild(what, arguments, patience)
        self._precedence = Precedence(behind.pause, behind.resume)
        self._opening: asyncio.Task[None] | None = None
        self._again_at = math.inf
        """When it may be started once more, after it was given up."""
        self.inside = 0
        """How many it is at."""

    @property
    def answering(self) -> bool:
        """Whether it can be asked."""
        return self._child.answering

    @property
    def process_id(self) -> int | None:
        """The process that answers now; None while there is none."""
        return self._child.process_id

    def open_soon(self, setup: object) -> None:
        """Start it, if nobody has yet; one that was given up is tried again in a while."""
        if self._opening is not None and self._opening.done() and self._child.given_up:
            self._again_at = min(self._again_at, clock.monotonic() + _AGAIN_SECONDS)
        if self._opening is None or clock.monotonic() >= self._again_at:
            self._again_at = math.inf
            self._opening = asyncio.create_task(self._open(setup))

    async def _open(self, setup: object) -> None:
        try:
            await self._child.open(setup)
        except EngineDown as fault:
            log.warning("live requests share the places of batches: %s", fault.message)

    async def close(self) -> None:
        """End it."""
        opening, self._opening, self._again_at = self._opening, None, math.inf
        if opening is not None:
            opening.cancel()
            await asyncio.wait([opening])
        await self._child.close()

    def hung(self, since: float) -> None:
        """Have it started again if it ran at that moment already."""
        self._child.hung(since)

    async def ask(self, verb: str, body: object, shape: type[Shape]) -> Shape:
        """Ask what takes no time to speak of; see `Child.ask`."""
        return await self._child.ask(verb, body, shape)

    async def answers(self, verb: str, body: object) -> AsyncGenerator[msgspec.Raw, None]:
        """Ask, and go first until the first answer comes; see `Child.answers`."""
        self.inside += 1
        try:
            with self._precedence.first() as begun:
                async with aclosing(self._child.answers(verb, body)) as answers:
                    async for answer in answers:
                        begun()
                        yield answer
        finally:
            self.inside -= 1
