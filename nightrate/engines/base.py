"""The engine contract.

An engine runs prompts, or makes vectors of passages, or both. It is opened once and closed once;
between the two, `Engine.generate` and `Engine.embed` may be called concurrently, as often as
`Engine.capacity` says. It does no retries, no queueing and no logging of content:
`service/execute` does these once for all engines.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any

from msgspec import Struct

from nightrate.domain.embedding import Embedding, Passage
from nightrate.domain.generation import Asked, Capability, Prompt, Reply
from nightrate.engines.allowance import Allowance
from nightrate.errors import Code, RequestFailed

Options = Mapping[str, Any]
"""An engine's own settings, as read from the ``[engines.NAME]`` table of the settings file."""

Progress = Callable[[str, float | None], None]
"""Told what an opening engine is doing: a sentence, and the share done from 0 to 1 if known."""


class Capacity(Struct, frozen=True, gc=False):
    """What an engine wants in flight at once.

    ``requests`` is how many of them may be of batches. ``live`` is how many more it takes that
    somebody waits for: these have all places, and so many that no batch fills. ``tokens`` bounds
    the sum of `Engine.cost` over the prompts in flight, without those in the places for live ones;
    None means no bound.
    """

    requests: int
    tokens: int | None = None
    live: int = 0


class Finding(Struct, frozen=True):
    """What a check found: its name, whether all is well, a measurement, and what to do if not."""

    check: str
    ok: bool
    found: str
    remedy: str = ""


def told_from_threads(progress: Progress) -> Progress:
    """Give what a thread may call, to have it told in the running loop."""
    loop = asyncio.get_running_loop()

    def tell(doing: str, share: float | None) -> None:
        loop.call_soon_threadsafe(progress, doing, share)

    return tell


def ignore_progress(_doing: str, _share: float | None) -> None:
    """Show nothing."""


class Engine(ABC):
    """Runs prompts, makes vectors, as its capabilities say; it refuses everything else."""

    name: str

    allowance: Allowance | None = None
    """What it may be asked in a minute, if that is limited. `service/places` lets nobody in beyond
    it, and spends `cost` for whoever comes in; the engine settles that when it knows better."""

    reuses_beginnings: bool = False
    """Whether it gains when prompts that begin alike come one after the other."""

    media: tuple[str, ...] = ()
    """The types of media that it reads in a prompt, such as ``image/*`` and ``application/pdf``;
    there are some where it has `Capability.MEDIA`."""

    dimensions_max: int | None = None
    """How many numbers its vectors have, where it knows; none can be longer."""

    counts_itself: bool = True
    """Whether it counts tokens without asking anybody else, so that it may be asked any time."""

    on_demand: bool = False
    """Whether it is opened only when it is first asked for, so that nobody else waits for it."""

    @property
    @abstractmethod
    def capabilities(self) -> frozenset[Capability]:
        """What this engine can do."""

    @property
    @abstractmethod
    def capacity(self) -> Capacity:
        """What it wants in flight now; may change while it is open."""

    @abstractmethod
    async def open(self, progress: Progress = ignore_progress) -> None:
        """Make ready: fetch and load weights, start processes.

        Raises:
            EngineDown: it cannot run here; the message says why and what to do.
        """

    @abstractmethod
    async def close(self) -> None:
        """Stop. Prompts in flight fail with `EngineDown`."""

    @abstractmethod
    async def ready(self) -> None:
        """Return when the engine can take prompts, waiting while it restarts by itself.

        Raises:
            EngineDown: it has given up; the message says why and what to do.
        """

    def hung(self, since: float) -> None:
        """Be told that a request which came at ``since`` was not answered in time.

        The call is cancelled already. An engine with a process of its own ends it, if it ran by
        then, and starts it again: requests in flight fail with `EngineDown`. ``since`` is of
        `clock.monotonic`.
        """
        del since

    async def generate(self, prompt: Prompt) -> Reply:
        """Answer one prompt. Cancelling the call frees its place in the engine.

        Raises:
            RequestFailed: this prompt cannot be answered, now or ever.
            EngineBusy: the engine takes nobody now; the prompt had no try.
            EngineDown: the engine died or is not running.
        """
        del prompt
        raise RequestFailed(f"The {self.name} engine gives no text.", code=Code.UNIMPLEMENTED)

    async def embed(self, passage: Passage) -> Embedding:
        """Make the vector of one passage. Cancelling the call frees its place in the engine.

        An engine that is fastest with many at once gathers the calls that are open together: a
        request is a row, live or of a batch, so here they come one by one.

        Raises:
            RequestFailed: this passage cannot be embedded, now or ever.
            EngineBusy: the engine takes nobody now; the passage had no try.
            EngineDown: the engine died or is not running.
        """
        del passage
        raise RequestFailed(f"The {self.name} engine makes no vectors.", code=Code.UNIMPLEMENTED)

    async def stream(self, prompt: Prompt) -> AsyncGenerator[str | Reply, None]:
        """Answer one prompt piece by piece: texts as they are made, at last the whole reply.

        The texts, joined, are the text of that reply, which is the one that `generate` would give.
        Pictures come with the reply.
        A text is never taken back: it holds no broken character, and nothing of a stop sequence.
        Closing the generator frees its place in the engine. An engine without
        `Capability.STREAM` gives its answer in one piece.

        Raises:
            RequestFailed: as `generate`; after the first text, the answer breaks off there.
            EngineBusy: likewise.
            EngineDown: likewise.
        """
        reply = await self.generate(prompt)
        if text := reply.candidates[0].text:
            yield text
        yield reply

    async def count_tokens(self, prompt: Prompt) -> int:
        """Count the tokens of a prompt as the model sees it.

        It may be the beginning of other prompts, and have instructions and no turns yet.

        Raises:
            RequestFailed: the engine reads no prompts, or not this one.
            EngineBusy: it takes nobody now.
            EngineDown: the engine died or is not running.
        """
        del prompt
        raise RequestFailed(f"The {self.name} engine reads no prompts.", code=Code.UNIMPLEMENTED)

    async def self_check(self) -> list[Finding]:
        """Prove that the open engine computes what it should; for ``nightrate doctor``."""
        return []

    def cost(self, asked: Asked) -> int:
        """Estimate, quickly and rather too high, the tokens of what is asked and its answer."""
        del asked
        return 0
