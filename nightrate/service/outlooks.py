"""Where batches stand: their places in the queues of the engines, and when they will have ended."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from nightrate import clock, limits
from nightrate.domain.batch import Batch
from nightrate.domain.outlook import Outlook, Standing, after_end, outlook_of, standing_of
from nightrate.domain.states import FINAL_STATES, BatchState
from nightrate.service.lane import Lane
from nightrate.service.models import Models
from nightrate.store.base import Store


class Outlooks:
    """Says of batches where they stand.

    What it knows of the others is up to `limits.OUTLOOK_SECONDS` old: clients ask often, and the
    answer changes slowly. How fast an engine is, it learns from one look to the next; after a
    start, from how far batches have come since they were begun.
    """

    def __init__(self, store: Store, models: Models, lanes: Mapping[str, Lane]) -> None:
        self._store = store
        self._models = models
        self._lanes = lanes
        self._standings: dict[str | None, list[Standing]] = {}
        """By engine: names are matched once a look, not once for each batch that is asked for."""
        self._looked_at = -float("inf")
        self._base: dict[tuple[str, str], int] = {}
        """How many requests of each batch were done at the look that speeds are measured from."""
        self._base_at = 0.0
        self._per_second: dict[str, float] = {}
        """Requests of batches that each engine answers in a second, as last measured."""

    async def of(self, batches: Sequence[Batch]) -> list[Outlook | None]:
        """Say where each of some batches stands; None of one that has ended for good.

        Raises:
            StoreFault: the database cannot be asked.
        """
        if any(batch.state not in FINAL_STATES for batch in batches):
            await self._look()
        return [
            after_end(batch) if batch.state in FINAL_STATES else self._outlook(standing_of(batch))
            for batch in batches
        ]

    async def of_new(self, model: str, priority: int, request_count: int | None) -> Outlook:
        """Say where a batch would stand that is made now.

        Args:
            model: without ``models/``.
            priority: of the batch.
            request_count: how many requests it has; None if that is not known.

        Raises:
            StoreFault: the database cannot be asked.
        """
        await self._look()
        return self._outlook(
            Standing(
                tenant="",
                batch_id="",
                model=model,
                priority=priority,
                state=BatchState.PLANNED,
                request_count=request_count,
                done=0,
                created_at=clock.now(),
                started_at=None,
            )
        )

    def _outlook(self, mine: Standing) -> Outlook:
        engine = self._models.engine_of(mine.model)
        if engine is None:
            message = f"No engine answers for models/{mine.model} any more: see [models]."
            return Outlook(reason=message)
        others = [
            one
            for one in self._standings.get(engine, ())
            if (one.tenant, one.batch_id) != (mine.tenant, mine.batch_id)
        ]
        per_second = self._per_second.get(engine) or _since_begun([mine, *others])
        return outlook_of(mine, others, _trouble(self._lanes[engine]), per_second)

    async def _look(self) -> None:
        now = clock.monotonic()
        if now - self._looked_at < limits.OUTLOOK_SECONDS:
            return
        self._looked_at = now
        standings: defaultdict[str | None, list[Standing]] = defaultdict(list)
        for one in await self._store.standings(limits.OUTLOOK_BATCHES_MAX):
            standings[self._models.engine_of(one.model)].append(one)
        self._standings = standings
        if now - self._base_at >= limits.OUTLOOK_SPEED_SECONDS:
            self._measure(now)

    def _measure(self, now: float) -> None:
        """Learn how fast engines have been since the last time; an idle one stays as it was."""
        base, self._base = self._base, {}
        for engine, standings in self._standings.items():
            done = {(one.tenant, one.batch_id): one.done for one in standings}
            count = sum(done[key] - base[key] for key in done.keys() & base.keys())
            if engine is not None and count > 0:
                self._per_second[engine] = count / (now - self._base_at)
            self._base |= done
        self._base_at = now


def _since_begun(standings: Sequence[Standing]) -> float | None:
    """Give the speed of an engine by what its batches have done since each was begun."""
    now = clock.now()
    per_second = sum(
        one.done / clock.seconds_between(one.started_at, now)
        for one in standings
        if one.started_at is not None
        and one.started_at < now
        and one.done >= limits.OUTLOOK_REQUESTS_MIN
    )
    return per_second or None


def _trouble(lane: Lane) -> str | None:
    """Say why an engine answers nobody now."""
    if lane.opened.is_set():
        return None
    if lane.fault is not None:
        return f"Its engine cannot run: {lane.fault.message}"
    return "Its engine is being loaded."
