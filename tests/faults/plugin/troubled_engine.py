"""An engine of a third party whose child process does every harm that a prompt orders.

It is built as the embedded engines are: a supervised child that is asked over a socket.
"""

from __future__ import annotations

import sys

import msgspec

from nightrate.domain.embedding import Embedding, Passage
from nightrate.domain.generation import Capability, Prompt, Reply
from nightrate.engines.base import Capacity, Engine, Options, Progress, ignore_progress
from nightrate.engines.child import Patience
from nightrate.engines.supervised_child import SupervisedChild


class TroubledOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings of the troubled engine; also the first frame of its child."""

    tally: str
    """The file in which the child notes what it is asked and what it answers."""
    requests: int = 8
    delay_seconds: float = 0.0
    memory_bytes: int = 1 << 30
    """All that the child may map."""
    silence_seconds: float = 0.5


class TroubledEngine(Engine):
    """Has its child answer."""

    name = "troubled"

    def __init__(self, options: TroubledOptions) -> None:
        self._options = options
        self._child = SupervisedChild(
            "The troubled engine",
            (sys.executable, "-m", "troubled_child"),
            Patience(
                start_seconds=60.0,
                silence_seconds=options.silence_seconds,
                backoff_seconds=0.005,
                starts=20,
            ),
        )

    @property
    def capabilities(self) -> frozenset[Capability]:
        """Text and vectors."""
        return frozenset({Capability.TEXT, Capability.EMBEDDINGS})

    @property
    def capacity(self) -> Capacity:
        """As configured."""
        return Capacity(self._options.requests)

    async def open(self, progress: Progress = ignore_progress) -> None:
        """Start the child."""
        del progress
        await self._child.open(self._options)

    async def close(self) -> None:
        """End the child."""
        await self._child.close()

    async def ready(self) -> None:
        """Wait while the child restarts."""
        await self._child.ready()

    def hung(self, since: float) -> None:
        """Have the child started again."""
        self._child.hung(since)

    async def generate(self, prompt: Prompt) -> Reply:
        """Have the child answer."""
        return await self._child.ask("generate", prompt, Reply)

    async def embed(self, passage: Passage) -> Embedding:
        """Have the child answer."""
        return await self._child.ask("embed", passage, Embedding)


def create(options: Options) -> TroubledEngine:
    """Make one; the entry point names this function."""
    return TroubledEngine(msgspec.convert(dict(options), TroubledOptions))
