"""Receivers of events: they refuse, are slow, and lose the answer to what they took."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

import aiohttp
from msgspec import json

from nightrate import clock, webhook_limits
from nightrate.domain.webhook import Delivery
from nightrate.testing.simulation.chance import Chance
from nightrate.testing.simulation.world import Violation, World


class Trouble(StrEnum):
    """What a receiver does instead of taking an event."""

    SILENT = "says nothing"
    ABSENT = "is not there"
    BROKEN = "fails"
    BUSY = "is busy"
    FORGETFUL = "takes it, and its answer is lost"


class Receivers:
    """All receivers of a world.

    Args:
        world: where they are.
        heard: told each event that was taken.
        failed: told what must not have been.
    """

    def __init__(
        self,
        world: World,
        heard: Callable[[Delivery], None],
        failed: Callable[[Violation], None],
    ) -> None:
        self._world = world
        self._heard = heard
        self._failed = failed
        self._chance = Chance(world.seed, "receivers")

    async def __call__(self, delivery: Delivery, body: bytes) -> tuple[int, float | None]:
        """Take an event, or not; see `rooms.Receives`."""
        world, chance = self._world, self._chance
        troubled = not world.quiet and chance.happens(world.weather.receiver)
        trouble = chance.one_of(list(Trouble)) if troubled else None
        await clock.sleep(chance.between(0.01, 0.5))
        world.tell(f"a receiver of {delivery.type} {trouble or 'takes it'}")
        if trouble is Trouble.SILENT:
            await clock.sleep(webhook_limits.WEBHOOK_TIMEOUT_SECONDS)
            raise TimeoutError
        if trouble is Trouble.ABSENT:
            raise aiohttp.ClientConnectionError
        if trouble is Trouble.BROKEN:
            return 500, None
        if trouble is Trouble.BUSY:
            return 503, 7.0
        self._take(delivery, body)
        if trouble is Trouble.FORGETFUL:
            raise aiohttp.ServerDisconnectedError
        return 200, None

    def _take(self, delivery: Delivery, body: bytes) -> None:
        event = json.decode(body)
        told = event["type"], event["data"]["id"]
        if told != (delivery.type, f"batches/{delivery.batch_id}"):
            self._failed(Violation(f"a receiver was told {told}"))
        try:
            self._heard(delivery)
        except Violation as violation:
            self._failed(violation)
