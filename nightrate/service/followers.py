"""Result files that are read while they grow.

A reader is told in process when a shard of its batch is sealed; what nobody tells, such as a batch
that fails, is found by looking now and then.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from weakref import WeakValueDictionary

from nightrate import limits
from nightrate.domain.batch import Batch, BatchForm, PartialResults
from nightrate.domain.file import ResultPart, batch_of_result, part_of_result
from nightrate.domain.states import FINAL_STATES
from nightrate.errors import NotReady
from nightrate.service.results import Results
from nightrate.store.base import Store


class _News:
    """What all readers of one batch wait for."""

    def __init__(self) -> None:
        self.told = self.ends = 0
        """How often something was told, and how often that was an end of the batch."""
        self._event = asyncio.Event()

    def tell(self, *, over: bool) -> None:
        self.told += 1
        self.ends += over
        event, self._event = self._event, asyncio.Event()
        event.set()

    async def wait(self, told: int) -> bool:
        """Wait until more than this was told; False when nothing was for long."""
        try:
            async with asyncio.timeout(limits.FOLLOW_POLL_SECONDS):
                while self.told == told:
                    await self._event.wait()
        except TimeoutError:
            return False
        return True


class Followers:
    """Gives out results as they are sealed."""

    def __init__(self, store: Store, results: Results) -> None:
        self._store = store
        self._results = results
        self._news: WeakValueDictionary[tuple[str, str], _News] = WeakValueDictionary()
        self._stopping = False

    def tell(self, batch: Batch, *, over: bool = False) -> None:
        """Say that a shard of a batch was sealed or, with ``over``, that the batch has ended."""
        news = self._news.get((batch.tenant, batch.batch_id))
        if news is not None:
            news.tell(over=over)

    def stop(self) -> None:
        """Break every reader off: the server ends."""
        self._stopping = True
        for news in list(self._news.values()):
            news.tell(over=False)

    async def growing(self, tenant: str, file_id: str) -> Batch | None:
        """Find the batch whose result file this is, if that will still grow."""
        batch_id = batch_of_result(file_id)
        batch = None if batch_id is None else await self._store.get_batch(tenant, batch_id)
        if batch is None or batch.form is BatchForm.INLINE or _is_settled(batch):
            return None
        if part_of_result(file_id) is ResultPart.ERRORS and not batch.kind.parts_failures:
            return None
        return batch

    async def lines(
        self, batch: Batch, part: ResultPart = ResultPart.OUTPUT
    ) -> AsyncGenerator[bytes, None]:
        """Give the results of a batch from the first line on, until there will be no more.

        Args:
            batch: one that grows.
            part: which of its lines.

        Raises:
            NotReady: the server ends first.
            Damaged: stored bytes are not what was written.
        """
        key = batch.tenant, batch.batch_id
        news = self._news.setdefault(key, _News())
        shard, over = 0, True
        while True:
            # Noted before anything is looked at: nothing can happen unheard in between.
            told, ends = news.told, news.ends
            settled = over and _is_settled(await self._store.get_batch(*key))
            while page := await self._store.segments(*key, shard, limits.SEGMENTS_PAGE_SIZE):
                for sealed in page:
                    span = sealed.segment.span(part)
                    reading = self._results.read(sealed.segment, *span, check=True)
                    async with aclosing(reading) as pieces:
                        async for piece in pieces:
                            yield piece
                shard = page[-1].shard + 1
            if settled:
                return
            if self._stopping:
                raise NotReady("The server is stopping; what follows can be read from the next.")
            heard = await news.wait(told)
            over = not heard or news.ends != ends


def _is_settled(batch: Batch | None) -> bool:
    """Whether no line will be added any more."""
    if batch is None:
        return True
    return batch.state in FINAL_STATES and batch.partial is not PartialResults.DUE
