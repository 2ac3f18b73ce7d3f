"""Where the requests of an order lie, and whether they are worth a batch."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from pathlib import Path
from typing import Protocol

from msgspec import Struct

from nightrate import clock, limits, planning_limits
from nightrate.domain.batch import Kind, Order
from nightrate.domain.file import File
from nightrate.domain.inspection import Budget, Inspection, refusal
from nightrate.errors import BadRequest, MissingFile, Precondition, TooLarge
from nightrate.store.base import Store
from nightrate.store.blobs import Blobs


class Inspect(Protocol):
    """Looks at an input; see `work.inspector`."""

    def __call__(
        self, source: Path | Sequence[bytes], model: str, kind: Kind, budget: Budget, /
    ) -> Awaitable[Inspection]:
        """Look as far as the budget goes."""
        ...


class Input(Struct, frozen=True):
    """The requests of an order: the blob of an uploaded file, or inline ones."""

    blob: str | None
    size_bytes: int


def _first_look() -> Budget:
    """Is there any request that can be read? The first one usually is."""
    return Budget(
        bytes_max=planning_limits.CHECK_IN_PLACE_BYTES_MAX,
        seconds_max=planning_limits.CHECK_SECONDS,
        faults_max=limits.FAULTS_LISTED_MAX,
        to_first_sound=True,
    )


def _strict_look() -> Budget:
    return Budget(
        bytes_max=planning_limits.CHECK_BYTES_MAX,
        seconds_max=planning_limits.CHECK_SECONDS,
        faults_max=limits.FAULTS_LISTED_MAX,
    )


def _dry_run() -> Budget:
    return Budget(
        bytes_max=limits.FILE_BYTES_MAX,
        seconds_max=planning_limits.DRY_RUN_SECONDS,
        faults_max=planning_limits.DRY_RUN_FAULTS_MAX,
    )


class Inputs:
    """Finds inputs and looks at them."""

    def __init__(self, store: Store, blobs: Blobs, inspect: Inspect | None) -> None:
        """Wire it; without ``inspect`` nothing is looked at before it is planned."""
        self._store = store
        self._blobs = blobs
        self._inspect = inspect

    async def find(self, tenant: str, order: Order) -> Input:
        """Find the input of an order.

        Raises:
            NotFound: no such file.
            BadRequest: the file is empty.
            Precondition: it is no uploaded file.
            TooLarge: it is over the limit of a batch input.
        """
        if order.file_name is None:
            assert order.inline is not None, "exactly one source"
            return Input(None, sum(map(len, order.inline)) + len(order.inline))
        file = await self.uploaded(tenant, order.file_name)
        if file.size_bytes == 0 and not order.kind.unique_keys:  # there, planning tells of it
            raise BadRequest(f"File files/{file.file_id} is empty; it needs one request a line.")
        if file.size_bytes > limits.FILE_BYTES_MAX:
            bound = limits.FILE_BYTES_MAX // limits.MIB
            raise TooLarge(f"File files/{file.file_id} is over the limit of {bound} MiB.")
        return Input(file.blob, file.size_bytes)

    async def uploaded(self, tenant: str, file_id: str) -> File:
        """Find an uploaded file.

        Raises:
            MissingFile: there is none.
            Precondition: it is the result of a batch.
        """
        file = await self._store.get_file(tenant, file_id, clock.now())
        if file is None:
            message = f"File files/{file_id} does not exist, or it expired. Upload it again."
            raise MissingFile(message, file_id)
        if file.blob is None:
            message = f"File files/{file_id} holds results; a batch reads uploaded files only."
            raise Precondition(message)
        return file

    async def refuse_bad(self, found: Input, order: Order, model: str, *, strict: bool) -> None:
        """Look at an input as far as a client can wait, and refuse it if it cannot run.

        What is wrong beyond that is found by planning.

        Raises:
            BadRequest: it has no request, or none that can be read; if it is strict, one cannot.
            NotReady: it could not be looked at.
        """
        if self._inspect is None:
            return
        budget = _strict_look() if strict else _first_look()
        seen = await self._inspect(self._source(found, order), model, order.kind, budget)
        if (why := refusal(seen, strict=strict)) is not None:
            raise BadRequest(why)

    async def inspect(self, found: Input, order: Order, model: str) -> Inspection:
        """Look at a whole input, or as much of it as time allows.

        Raises:
            NotReady: it could not be looked at.
        """
        assert self._inspect is not None, "a server that looks at inputs"
        return await self._inspect(self._source(found, order), model, order.kind, _dry_run())

    def _source(self, found: Input, order: Order) -> Path | Sequence[bytes]:
        if found.blob is not None:
            return self._blobs.path(found.blob)
        assert order.inline is not None, "exactly one source"
        return order.inline
