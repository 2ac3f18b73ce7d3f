"""A batch through a server in this process, from its creation to its final state."""

from __future__ import annotations

import asyncio

from nightrate import clock
from nightrate.domain.batch import Batch, Order
from nightrate.domain.states import FINAL_STATES, BatchState
from nightrate.runtime import House

TENANT = "default"
LOOK_SECONDS = 0.5
"""Between two looks at the batch. The server's clock times it, so none has to be in time: fifty a
second, as this once did, took the engine three hundredths of two cores."""


async def run_to_its_end(house: House, model: str, order: Order) -> tuple[Batch, float]:
    """Submit a batch of which every request must succeed; gives it, and how many seconds it took.

    Raises:
        AssertionError: it failed, or a request of it.
    """
    batch = await house.batches.submit(TENANT, model, order)
    while batch.state not in FINAL_STATES:
        await asyncio.sleep(LOOK_SECONDS)
        batch = await house.batches.get(TENANT, batch.batch_id)
    assert batch.state is BatchState.SUCCEEDED, batch.failure
    assert batch.tally.failed == 0
    assert batch.ended_at is not None, "a final state has its time"
    return batch, clock.seconds_between(batch.created_at, batch.ended_at)
