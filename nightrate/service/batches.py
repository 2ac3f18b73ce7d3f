"""What a client can ask for about batches."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator

from nightrate import clock, limits
from nightrate.clock import Instant
from nightrate.dialects.lines import LineSplitter
from nightrate.domain.batch import UNKNOWN_MODEL, Batch, Change, Kind, Order, batch_folder
from nightrate.domain.file import File, Page
from nightrate.domain.shard import Tally
from nightrate.domain.states import BatchState
from nightrate.errors import BadRequest, MissingFile, NotFound, OverQuota, Precondition, TooLarge
from nightrate.service.addresses import Addresses
from nightrate.service.models import Models
from nightrate.service.quotas import TokenQuotas
from nightrate.store.base import Store
from nightrate.store.blobs import Blobs

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

    async def submit(self, tenant: str, model: str | None, order: Order) -> Batch:
        """Accept an order. When this returns, the batch survives a crash and a power cut.

        The bytes come first: inline requests are written and synced as an internal input file, an
        uploaded file is durable already. Then the row that names them is committed.

        Args:
            tenant: whose batch it will be.
            model: the name that the client asked for; None where its rows should have named one and
                do not, which planning will find.
            order: what is wanted.

        Raises:
            NotFound: no such model, or none that does this, or no such file.
            BadRequest: the file is empty, or its events go to an address that is not allowed.
            TooLarge: the file is over the limit of a batch input.
            OverQuota: the disk is nearly full, or the tenant has too many batches at work, or too
                many tokens in them.
        """
        name = UNKNOWN_MODEL
        if model is not None:
            name = self._models.resolve(model, order.method).name
        for place, uri in enumerate(order.webhook.uris if order.webhook else ()):
            self._addresses.check_uri(uri, f"batch.webhookConfig.uris[{place}]")
        batch_id = clock.new_id(_ID_LENGTH)
        if order.file_name is not None:
            file = await self._input_file(tenant, order.file_name, order.kind)
            assert file.blob is not None, "checked"
            batch = _batch(tenant, batch_id, name, order, (file.blob, file.size_bytes))
        else:
            assert order.inline is not None, "exactly one source"
            blob = f"{batch_folder(tenant, batch_id)}/input"
            size_bytes = sum(map(len, order.inline)) + len(order.inline)
            if size_bytes > await self._blobs.room():
                raise OverQuota("The server's disk is nearly full; try again when space was freed.")
            await self._blobs.put(blob, _lines(order.inline))
            batch = _batch(tenant, batch_id, name, order, (blob, size_bytes))
        try:
            await self._store.add_batch(
                batch,
                live_max=self._live_max,
                tokens_max=self._token_quotas.of(batch.model),
                webhook=order.webhook,
            )
        except OverQuota:
            if order.inline is not None:
                await self._blobs.delete(batch_folder(tenant, batch_id))
            raise
        self._submitted()
        return batch

    async def first_line(self, tenant: str, file_id: str) -> bytes | None:
        """Give the first line of a file that is not blank; None if it has none, or too long a one.

        Raises:
            NotFound: there is no such file.
            Precondition: it is no uploaded file.
        """
        file = await self._uploaded(tenant, file_id)
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

    async def _uploaded(self, tenant: str, file_id: str) -> File:
        file = await self._store.get_file(tenant, file_id, clock.now())
        if file is None:
            message = f"File files/{file_id} does not exist, or it expired. Upload it again."
            raise MissingFile(message, file_id)
        if file.blob is None:
            message = f"File files/{file_id} holds results; a batch reads uploaded files only."
            raise Precondition(message)
        return file

    async def _input_file(self, tenant: str, file_id: str, kind: Kind) -> File:
        file = await self._uploaded(tenant, file_id)
        if file.size_bytes == 0 and not kind.unique_keys:  # there, planning tells of it
            raise BadRequest(f"File files/{file_id} is empty; it needs one request a line.")
        if file.size_bytes > limits.FILE_BYTES_MAX:
            bound = limits.FILE_BYTES_MAX // limits.MIB
            raise TooLarge(f"File files/{file_id} is over the limit of {bound} MiB.")
        return file

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

    async def list(self, tenant: str, page: Page) -> tuple[list[Batch], tuple[Instant, str] | None]:
        """List batches, newest first, and where the next page begins."""
        found = await self._store.list_batches(tenant, page)
        shown = found[: page.size]
        more = len(found) > page.size
        return shown, (shown[-1].created_at, shown[-1].batch_id) if more else None


def _there(batch_id: str, batch: Batch | None) -> Batch:
    if batch is None:
        raise NotFound(f"Batch batches/{batch_id} does not exist.")
    return batch


def _batch(
    tenant: str, batch_id: str, model: str, order: Order, input_blob: tuple[str, int]
) -> Batch:
    now = clock.now()
    lifetime_seconds = order.lifetime_seconds or limits.BATCH_LIFETIME_SECONDS
    return Batch(
        tenant=tenant,
        batch_id=batch_id,
        model=model,
        display_name=order.display_name or f"batch-{batch_id[:8]}",
        kind=order.kind,
        state=BatchState.SUBMITTED,
        input_blob=input_blob[0],
        input_file_id=order.file_name,
        input_bytes=input_blob[1],
        priority=order.priority,
        request_count=None,
        tally=Tally(),
        created_at=now,
        updated_at=now,
        ended_at=None,
        expires_at=clock.later(now, lifetime_seconds),
        failure=None,
        terms=order.terms,
        results_seconds=order.results_seconds,
    )


def _lines(items: Iterable[bytes]) -> Iterator[bytes]:
    """Write each JSON object on one line: a raw line break in JSON is only white space."""
    for item in items:
        yield item.replace(b"\r", b" ").replace(b"\n", b" ")
        yield b"\n"
