"""What a client can ask for about batches."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from msgspec import structs

from nightrate import clock, limits
from nightrate.clock import Instant
from nightrate.dialects.lines import LineSplitter, as_lines
from nightrate.domain.batch import (
    ANY_BATCH,
    UNKNOWN_MODEL,
    Batch,
    BatchFilter,
    Change,
    Once,
    Order,
    batch_folder,
)
from nightrate.domain.file import Page
from nightrate.domain.inspection import Inspection
from nightrate.domain.shard import Tally
from nightrate.domain.states import BatchState
from nightrate.domain.tariff import Quote, Tariff
from nightrate.errors import NotFound, Refused
from nightrate.service.inputs import Input, Inputs, Inspect
from nightrate.service.models import Models
from nightrate.service.quotas import TokenQuotas
from nightrate.service.space import Space, refused_by_disk
from nightrate.store.base import Store
from nightrate.store.blobs import Blobs
from nightrate.tools.addresses import Addresses

_ID_LENGTH = 36


async def _nobody(_batch: Batch) -> None:
    """Tell nobody."""


class Batches:
    """Submits, finds, lists, changes and ends batches."""

    def __init__(  # noqa: PLR0913 - one keyword a wire
        self,
        store: Store,
        blobs: Blobs,
        models: Models,
        submitted: Callable[[], None],
        *,
        addresses: Addresses | None = None,
        stopped: Callable[[Batch], Awaitable[None]] = _nobody,
        live_max: int | None = None,
        token_quotas: TokenQuotas | None = None,
        partial_results: bool = True,
        inspect: Inspect | None = None,
        strict: bool = False,
        lifetime_seconds: int = limits.BATCH_LIFETIME_SECONDS,
        tariff: Tariff | None = None,
    ) -> None:
        """Wire the verbs.

        Args:
            store: durable truth.
            blobs: where inline requests are kept.
            models: which names are served.
            submitted: told that there is something to plan.
            addresses: where events may be sent.
            stopped: told each batch that was cancelled or deleted; when it returns, nobody here
                works on that batch any more.
            live_max: how many batches of a tenant may be pending or running; None for any number.
            token_quotas: how many input tokens these may have, by model; None for any number.
            partial_results: whether what a cancelled batch finished is shown.
            inspect: looks at an input before its batch is made; None to leave all to planning.
            strict: whether one malformed request is enough to refuse any batch.
            lifetime_seconds: after which a batch that has not ended expires; an order may ask for
                less.
            tariff: what tokens cost; each batch keeps what it says of its model now.
        """
        self._store = store
        self._blobs = blobs
        self._models = models
        self._submitted = submitted
        self._addresses = addresses or Addresses()
        self._stopped = stopped
        self._live_max = live_max
        self._token_quotas = token_quotas or TokenQuotas({})
        self._partial_results = partial_results
        self._inputs = Inputs(store, blobs, inspect)
        self._space = Space(blobs)
        self._strict = strict
        self._lifetime_seconds = lifetime_seconds
        self._tariff = tariff

    async def submit(
        self,
        tenant: str,
        model: str | None,
        order: Order,
        *,
        strict: bool = False,
        once: Once | None = None,
    ) -> Batch:
        """Accept an order. When this returns, the batch survives a crash and a power cut.

        The bytes come first: inline requests are written and synced as an internal input file, an
        uploaded file is durable already. Then the row that names them is committed.

        Args:
            tenant: whose batch.
            model: the name that is asked for; None where its rows should have named one and do
                not, which planning will find.
            order: what is asked for.
            strict: whether one malformed request is enough to refuse the batch.
            once: set, a second call of the same key is given the batch that the first one made.

        Raises:
            Conflict: an earlier call of the same key asked for something else.
            NotFound: no such model, or none that does this, or no such file; or what an earlier
                call made was deleted.
            BadRequest: the file is empty or its events go to an address that is not allowed; no
                request can be read or, for a strict batch, one cannot, as far as was looked.
            TooLarge: the file is over the limit of a batch input.
            NoRoom: the disk is full but for its reserve.
            OverQuota: the tenant has too many batches at work, or too many tokens in them.
            StoreFault: the disk refused.
        """
        if once is not None and (made := await self._store.made_by(tenant, once, clock.now())):
            return await self.get(tenant, made)
        name = UNKNOWN_MODEL
        if model is not None:
            name = self._models.resolve(model, order.method).name
        self._check_addresses(order)
        found = await self._inputs.find(tenant, order)
        # Where keys are unique, planning tells of every fault in its own way.
        strict = (strict or self._strict) and not order.kind.unique_keys
        if not order.kind.unique_keys:
            await self._inputs.refuse_bad(found, order, name, strict=strict)
        batch = structs.replace(
            _batch(tenant, name, order, found, self._lifetime_seconds, strict=strict),
            quote=self._quote(name),
        )
        await self._space.require(1 if order.inline is None else found.size_bytes)
        if order.inline is not None:
            await self._write_input(batch, order.inline)
        return await self._record(batch, order, once)

    async def _write_input(self, batch: Batch, requests: Sequence[bytes]) -> None:
        try:
            await self._blobs.put(batch.input_blob, as_lines(requests))
        except OSError as error:
            await self._blobs.delete(batch_folder(batch.tenant, batch.batch_id))
            message = f"The requests could not be written ({error.strerror}); try again later."
            raise refused_by_disk(error, message) from error

    async def _record(self, batch: Batch, order: Order, once: Once | None) -> Batch:
        """Let a batch exist, or give the one that another call of the same key has just made."""
        folder = batch_folder(batch.tenant, batch.batch_id)
        try:
            standing = await self._store.add_batch(
                batch,
                live_max=self._live_max,
                tokens_max=self._token_quotas.of(batch.model),
                webhook=order.webhook,
                once=once,
            )
        except Refused:  # nothing else: a call that broke off may have been committed
            if order.inline is not None:
                await self._blobs.delete(folder)
            raise
        if standing != batch.batch_id:
            await self._blobs.delete(folder)
            return await self.get(batch.tenant, standing)
        self._submitted()
        return batch

    async def inspect(
        self, tenant: str, model: str, order: Order, *, strict: bool = False
    ) -> tuple[Inspection, bool, Quote | None]:
        """Look at what an order asks for. Nothing runs, and nothing is kept.

        Returns:
            what was found, whether the batch would be strict, and what it would be charged by.

        Raises:
            NotFound, BadRequest, TooLarge: as `submit`, apart from what is wrong with requests.
            NotReady: the input could not be looked at.
        """
        served = self._models.resolve(model, order.method)
        self._check_addresses(order)
        found = await self._inputs.find(tenant, order)
        inspection = await self._inputs.inspect(found, order, served.name)
        return inspection, strict or self._strict, self._quote(served.name)

    def _quote(self, model: str) -> Quote | None:
        """Give what a batch of a model is charged by, if it is made now."""
        return None if self._tariff is None else self._tariff.quote(model)

    def _check_addresses(self, order: Order) -> None:
        for place, uri in enumerate(order.webhook.uris if order.webhook else ()):
            self._addresses.check_uri(uri, f"batch.webhookConfig.uris[{place}]")

    async def first_line(self, tenant: str, file_id: str) -> bytes | None:
        """Give the first line of a file that is not blank; None if it has none, or too long a one.

        Raises:
            NotFound: there is no such file.
            Precondition: it is no uploaded file.
        """
        file = await self._inputs.uploaded(tenant, file_id)
        assert file.blob is not None, "checked"
        splitter = LineSplitter()
        reader = await self._blobs.open(file.blob)
        try:
            for offset in range(0, file.size_bytes, limits.READ_BYTES):
                length = min(limits.READ_BYTES, file.size_bytes - offset)
                if lines := splitter.feed(await reader.read(offset, length)):
                    return lines[0].data
                if offset > limits.LINE_BYTES_MAX:
                    return None
        finally:
            await reader.close()
        lines = splitter.finish()
        return lines[0].data if lines else None

    async def get(self, tenant: str, batch_id: str) -> Batch:
        """Find a batch.

        Raises:
            NotFound: there is none of that name.
        """
        return _there(batch_id, await self._store.get_batch(tenant, batch_id))

    async def cancel(self, tenant: str, batch_id: str) -> Batch:
        """End a batch now; one that has ended stays as it is. What it finished is kept.

        Raises:
            NotFound: there is none of that name.
        """
        cancelled = await self._store.cancel_batch(
            tenant, batch_id, clock.now(), partial_results=self._partial_results
        )
        batch = _there(batch_id, cancelled)
        if not batch.has_results:  # else it had ended, and whoever works on it repairs it
            await self._stopped(batch)
        return batch

    async def delete(self, tenant: str, batch_id: str) -> None:
        """End a batch if it has not ended, and forget it; its result file lives on.

        Raises:
            NotFound: there is none of that name.
        """
        deleted = await self._store.delete_batch(tenant, batch_id, clock.now())
        await self._stopped(_there(batch_id, deleted))

    async def update(self, tenant: str, batch_id: str, change: Change) -> Batch:
        """Change what a change names.

        Raises:
            NotFound: there is no batch of that name.
        """
        updated = await self._store.update_batch(
            *(tenant, batch_id, clock.now()),
            display_name=change.display_name,
            priority=change.priority,
        )
        return _there(batch_id, updated)

    async def list(
        self, tenant: str, page: Page, wanted: BatchFilter = ANY_BATCH
    ) -> tuple[list[Batch], tuple[Instant, str] | None]:
        """List the batches that are wanted, newest first, and where the next page begins."""
        found = await self._store.list_batches(tenant, page, wanted)
        shown = found[: page.size]
        more = len(found) > page.size
        return shown, (shown[-1].created_at, shown[-1].batch_id) if more else None


def _there(batch_id: str, batch: Batch | None) -> Batch:
    if batch is None:
        raise NotFound(f"Batch batches/{batch_id} does not exist.")
    return batch


def _batch(
    tenant: str, model: str, order: Order, found: Input, lifetime_seconds: int, *, strict: bool
) -> Batch:
    now = clock.now()
    batch_id = clock.new_id(_ID_LENGTH)
    lifetime_seconds = min(order.lifetime_seconds or lifetime_seconds, lifetime_seconds)
    return Batch(
        tenant=tenant,
        batch_id=batch_id,
        model=model,
        display_name=order.display_name or f"batch-{batch_id[:8]}",
        kind=order.kind,
        state=BatchState.SUBMITTED,
        input_blob=found.blob or f"{batch_folder(tenant, batch_id)}/input",
        input_file_id=order.file_name,
        input_bytes=found.size_bytes,
        priority=order.priority,
        request_count=None,
        tally=Tally(),
        created_at=now,
        updated_at=now,
        ended_at=None,
        expires_at=clock.later(now, lifetime_seconds),
        failure=None,
        strict=strict,
        terms=order.terms,
        results_seconds=order.results_seconds,
    )
