"""An engine that does what a prompt tells it, and has troubles of its own.

A prompt says how it will fare: ``ok``, ``bad`` (refused for good), ``flaky N`` (fails N times, then
answers), ``stubborn`` (fails every time), ``poison`` (kills the engine whenever it runs). Each
answer is another one, so that an answer that was replaced is seen.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from nightrate import clock
from nightrate.domain.embedding import Embedding, Passage
from nightrate.domain.generation import Candidate, Capability, Prompt, Reply, Usage
from nightrate.engines.base import Capacity, Engine, Progress, ignore_progress
from nightrate.errors import Code, EngineDown, RequestFailed
from nightrate.testing.simulation.processes import Process
from nightrate.testing.simulation.world import World

RESTART_SECONDS: Final = 0.5
PROMPT_TOKENS: Final = 2
OUTPUT_TOKENS: Final = 3


class TroubledEngine(Engine):
    """The engine of one process."""

    name = "troubled"

    def __init__(self, world: World, process: Process) -> None:
        self._world = world
        self._chance = process.chance
        self._running = False
        self._lives = 0
        self._gave_up = False
        self._failed: Counter[str] = Counter()
        self._answers = 0

    @property
    def capabilities(self) -> frozenset[Capability]:
        """Text and vectors."""
        return frozenset({Capability.TEXT, Capability.EMBEDDINGS})

    @property
    def capacity(self) -> Capacity:
        """A few at once."""
        return Capacity(3)

    async def open(self, progress: Progress = ignore_progress) -> None:
        """Start, sometimes not."""
        progress("opening", None)
        await clock.sleep(self._chance.between(0.1, 1))
        if self._trouble(0.2):
            raise EngineDown("It does not start.")
        self._running, self._gave_up = True, False

    async def close(self) -> None:
        """Stop."""
        self._die()

    async def ready(self) -> None:
        """Start again after a death, or give up."""
        if self._gave_up:
            raise EngineDown("It has given up.")
        await clock.sleep(RESTART_SECONDS)
        if not self._running and self._trouble(0.2):
            self._gave_up = True
        if self._gave_up:
            raise EngineDown("It has given up.")
        self._running = True

    async def generate(self, prompt: Prompt) -> Reply:
        """Answer with the question."""
        text = prompt.messages[-1].text
        answer = await self._answer(text)
        # Other numbers for each answer, so that one that is counted for another is seen.
        output_tokens = OUTPUT_TOKENS + answer % 5
        usage = Usage(PROMPT_TOKENS, output_tokens, answer % 2, answer % 3)
        return Reply((Candidate(f"{text} #{answer}"),), usage, "troubled-1")

    async def embed(self, passage: Passage) -> Embedding:
        """Answer with the number of the answer."""
        answer = await self._answer(passage.text)
        return Embedding.of((float(answer), 0.5), PROMPT_TOKENS, "troubled-1")

    async def count_tokens(self, prompt: Prompt) -> int:
        """Count what every prompt has."""
        del prompt
        return PROMPT_TOKENS

    async def _answer(self, text: str) -> int:
        if not self._running:
            raise EngineDown("It is not running.")
        life = self._lives
        await clock.sleep(self._seconds())
        if life != self._lives:
            raise EngineDown("It died.", in_flight=True)
        fate, _, rest = text.partition(" ")
        if fate == "poison":
            self._die()
            raise EngineDown("It was killed.", in_flight=True)
        if fate == "bad":
            raise RequestFailed("It cannot be answered.", code=Code.INVALID_ARGUMENT)
        if fate == "stubborn" or (fate == "flaky" and self._failed[text] < int(rest.split()[0])):
            self._failed[text] += 1
            raise RequestFailed("Not now.", code=Code.UNAVAILABLE, retriable=True)
        self._answers += 1
        return self._chance.whole(0, 10**6)

    def _seconds(self) -> float:
        if self._trouble(0.02):
            return self._chance.between(5, 40)
        return self._chance.between(0.02, self._world.weather.pace)

    def _trouble(self, likely: float) -> bool:
        world = self._world
        return not world.quiet and self._chance.happens(likely * world.weather.engine)

    def _die(self) -> None:
        self._running = False
        self._lives += 1
