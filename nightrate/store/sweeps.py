"""The part of the store contract that is about ends: what is dropped, and what is still named.

A row goes before the bytes that it names, in steps of a bounded number of rows. Each verb gives
what nothing names any more when it returns; a crash before the caller has deleted it leaves an
orphan, which `named` and `kept` tell apart from what is needed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from msgspec import Struct

from nightrate.clock import Instant

BatchKey = tuple[str, str]
"""Tenant and id of a batch."""


class Swept(Struct, frozen=True):
    """What one step over batches came to."""

    batches: tuple[BatchKey, ...]
    """Those that are through with: what the step is about is named no more."""
    more: bool
    """Whether another step would find something to do."""


class Kept(Struct, frozen=True):
    """What the row of a batch still needs of its folder."""

    input: bool
    """Its inline requests; also true where it has none."""
    results: bool
    """Its segments and journals."""


class Sweeps(ABC):
    """See `Store`, upkeep."""

    @abstractmethod
    async def sweep(self, now: Instant, uploads_before: Instant, limit: int) -> list[str]:
        """Drop rows that nobody can ask for any more, and name the blobs they held.

        Those of deleted and expired files that no live batch reads, of cancelled uploads, and of
        uploads begun before that time that never became a file. With the last result file of a
        batch its results are over (`sweep_results`).
        """

    @abstractmethod
    async def sweep_results(self, limit: int) -> Swept:
        """Let go of the segments of batches whose result files are gone.

        The batches stay, with their counters.
        """

    @abstractmethod
    async def sweep_inputs(
        self, now: Instant, created_before: Instant, limit: int
    ) -> list[BatchKey]:
        """Let go of the inline requests of batches made before a time, and give the batches.

        Not of live ones, nor of those whose partial results are due: they still read them.
        """

    @abstractmethod
    async def sweep_batches(self, now: Instant, ended_before: Instant, limit: int) -> Swept:
        """Drop deleted batches, and those that ended before a time, with all that is about them.

        One that has a result file stays as long as the file does.

        Args:
            now: the time; what ended is out of sight from then on.
            ended_before: how long a batch is listed after its end.
            limit: rows that one step drops.
        """

    @abstractmethod
    async def sweep_caches(self, now: Instant, inputs_before: Instant, limit: int) -> list[str]:
        """Drop the rows of expired cached contents, and name the blobs they held.

        One stays as long as the tenant has a batch that was made before it expired, and that lives
        or is repaired or may have to be: requests of that batch may name it.

        Args:
            now: what expires by then is dropped.
            inputs_before: batches made by then have no input any more, and cannot be repaired.
            limit: rows at most.
        """

    @abstractmethod
    async def named(self, blobs: Sequence[str]) -> set[str]:
        """Tell which of some blobs of files, uploads and cached contents a row names."""

    @abstractmethod
    async def kept(self, tenant: str, batch_ids: Sequence[str]) -> dict[str, Kept]:
        """Tell what of the folders of some batches is needed; those without a row are left out."""
