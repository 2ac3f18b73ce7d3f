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
from nightrate.service.results import BatchKey, Results
from nightrate.store.base import SealedSegment, Store


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

    async def _sealed(self, key: BatchKey, shard: int) -> AsyncGenerator[SealedSegment, None]:
        """Give what is sealed without a gap, from a shard on."""
        while page := await self._store.segments(*key, shard, limits.SEGMENTS_PAGE_SIZE):
            for sealed in page:
                yield sealed
            shard = page[-1].shard + 1

    async def _read(
        self, key: BatchKey, sealed: SealedSegment, part: ResultPart
    ) -> AsyncGenerator[bytes, None]:
        """Give the lines of a segment.

        Raises:
            _MadeAgain: it is damaged, nothing was given out, and it is made again.
            Damaged, NotReady: as `lines`.
        """
        begun = False
        try:
            reading = self._results.read(key, sealed, *sealed.segment.span(part))
            async with aclosing(reading) as pieces:
                async for piece in pieces:
                    begun = True
                    yield piece
        except NotReady as again:
            if begun:
                raise
            raise _MadeAgain from again

    async def lines(
        self, batch: Batch, part: ResultPart = ResultPart.OUTPUT
    ) -> AsyncGenerator[bytes, None]:
        """Give the results of a batch from the first line on, until there will be no more.

        Args:
            batch: one that grows.
            part: which of its lines.

        A segment that is found damaged is made again, and waited for like one that is not there
        yet.

        Raises:
            NotReady: the server ends first, or bytes are damaged in the middle of what is read.
            Damaged: stored bytes are not what was written, and never will be again.
        """
        key = batch.tenant, batch.batch_id
        news = self._news.setdefault(key, _News())
        shard, requests, over = 0, 0, True
        while True:
            # Noted before anything is looked at: nothing can happen unheard in between.
            told, ends = news.told, news.ends
            found = await self._store.get_batch(*key)
            settled = over and _is_settled(found)
            try:
                async with aclosing(self._sealed(key, shard)) as segments:
                    async for sealed in segments:
                        async with aclosing(self._read(key, sealed, part)) as pieces:
                            async for piece in pieces:
                                yield piece
                        shard = sealed.shard + 1
                        requests = sealed.first_request + sealed.request_count
            except _MadeAgain:
                settled = False
            # Damage that somebody else found just now leaves a gap, which must not be an end.
            if settled and not (found and found.has_results and requests != found.request_count):
                return
            if self._stopping:
                raise NotReady("The server is stopping; what follows can be read from the next.")
            heard = await news.wait(told)
            over = not heard or news.ends != ends


class _MadeAgain(Exception):
    """A segment is damaged; nothing of it was given out, and another will take its place."""


def _is_settled(batch: Batch | None) -> bool:
    """Whether no line will be added any more."""
    if batch is None:
        return True
    if batch.partial is PartialResults.DUE or batch.repair_since is not None:
        return False
    return batch.state in FINAL_STATES
