"""``nightrate verify``: is everything in a data directory what was written, and is it all there?

The server must be stopped: the directory is locked, and nothing in it changes meanwhile but what
the caller orders. Rows are read page by page and blobs piece by piece.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from msgspec import Struct

from nightrate import limits
from nightrate.administer import inline
from nightrate.domain.batch import Batch, PartialResults, batch_folder
from nightrate.domain.file import UploadState
from nightrate.domain.shard import Reopening, ShardRecord
from nightrate.domain.states import LIVE_STATES, ShardState
from nightrate.errors import Damaged, StoreFault
from nightrate.service.repairs import UNTIDY, Repairs
from nightrate.service.vault import Vault
from nightrate.store.blobs import Blobs
from nightrate.store.directory import DataDirectory, open_directory
from nightrate.store.records import BEFORE_ALL
from nightrate.store.sqlite import SQLiteStore
from nightrate.work.soundness import Checker
from nightrate.work.strays import Names, Strays, walk

T = TypeVar("T")

_NEEDED = "without it the server does not start"
KEY_FILES = {
    "secrets.key": _NEEDED,
    "pepper.key": _NEEDED,
    "signing.pem": "without it the server makes a new one, and receivers ask for that",
}
"""The server's own keys, and what becomes of it without each."""

_RESTORE = "restore it from a backup"
_BY_ITSELF = "nothing is to be done: the server does what was lost again"


class Flaw(Struct, frozen=True, kw_only=True):
    """One thing that is not what was written."""

    blob: str
    """Its name below ``blobs/``; of the database and of keys, below the directory."""
    found: str
    remedy: str
    tenant: str | None = None
    batch: str | None = None
    shard: int | None = None


class Summary(Struct, kw_only=True):
    """What a look at a whole directory came to."""

    blobs: int = 0
    bytes: int = 0
    flaws: int = 0
    reopened: int = 0
    """Damaged shards that will run again when the server is started."""
    orphans: Strays


async def verify(
    data: Path, *, repair: bool, tell: Callable[[Flaw], None], watch: Callable[[Summary], None]
) -> Summary:
    """Look at everything.

    Args:
        data: the data directory.
        repair: whether damaged shards are to run again.
        tell: told each flaw when it is found.
        watch: told how far it has come, now and then.

    Raises:
        StoreFault: there is nothing to look at, or it cannot be looked at: a server has it, or
            another version wrote it.
    """
    if not (data / "format").exists():
        raise StoreFault(f"There is no data directory {data}; name one with --data.")
    try:
        directory = open_directory(data)
    except OSError as error:
        raise StoreFault(f"{data} cannot be looked at: {error.strerror}") from error
    try:
        return await _Look(directory, tell, watch, repair=repair).everything()
    finally:
        directory.unlock()


class _Look:
    """One look at a directory."""

    def __init__(
        self,
        directory: DataDirectory,
        tell: Callable[[Flaw], None],
        watch: Callable[[Summary], None],
        *,
        repair: bool,
    ) -> None:
        self._directory = directory
        self._tell = tell
        self._watch = watch
        self._repair = repair
        self._summary = Summary(orphans=Strays(names=[]))
        self._names = Names()
        self._blobs = Blobs(directory.blobs, inline)
        self._checker = Checker(self._blobs, self._read)
        self._store: SQLiteStore
        self._repairs: Repairs

    def _read(self, count: int) -> None:
        self._summary.bytes += count
        self._watch(self._summary)

    def _flaw(self, blob: str, found: str, remedy: str, batch: Batch | None = None) -> None:
        self._summary.flaws += 1
        tenant, batch_id = (batch.tenant, batch.batch_id) if batch else (None, None)
        self._tell(Flaw(blob=blob, found=found, remedy=remedy, tenant=tenant, batch=batch_id))

    async def _check(
        self, blob: str, check: Awaitable[str | None], remedy: str, batch: Batch | None = None
    ) -> None:
        """Make a check, and tell what it finds."""
        self._summary.blobs += 1
        if (found := await _readable(check)) is not None:
            self._flaw(blob, found, remedy, batch)

    async def everything(self) -> Summary:
        """See `verify`."""
        self._check_keys()
        async with self._opened() as store:
            if store is None:  # without it, no blob has a name
                return self._summary
            self._store, self._repairs = store, Repairs(store, self._blobs)
            for found in await store.integrity(limits.FAULTS_LISTED_MAX):
                self._flaw("state.sqlite", found, _RESTORE)
            await self._files()
            await self._uploads()
            await self._caches()
            await self._batches()
            self._find_orphans()
        return self._summary

    def _check_keys(self) -> None:
        folder = self._directory.keys
        missing = [name for name in KEY_FILES if not (folder / name).exists()]
        for name in missing:
            self._flaw(f"keys/{name}", "it is missing", f"{_RESTORE}; {KEY_FILES[name]}")
        if not missing:
            try:
                Vault(folder)
            except StoreFault as fault:
                self._flaw("keys", fault.message, _RESTORE)

    @contextlib.asynccontextmanager
    async def _opened(self) -> AsyncIterator[SQLiteStore | None]:
        path = self._directory.database
        if not path.exists():
            self._flaw(path.name, "it is missing", _RESTORE)
            yield None
            return
        try:
            store = SQLiteStore(path, inline)
        except Damaged as fault:
            self._flaw(path.name, fault.message, _RESTORE)
            yield None
            return
        try:
            yield store
        finally:
            await store.close()

    # what rows name ---------------------------------------------------------------------------

    async def _files(self) -> None:
        after = BEFORE_ALL
        while page := await self._store.every_file(after, limits.SEGMENTS_PAGE_SIZE):
            for file in page:
                if file.blob is None:
                    continue
                self._names.add(file.blob)
                check = self._checker.file(file.blob, file.size_bytes, file.sha256)
                remedy = f"upload files/{file.file_id} again, or {_RESTORE}"
                await self._check(file.blob, check, remedy)
            after = page[-1].tenant, page[-1].file_id

    async def _uploads(self) -> None:
        after = ""
        while page := await self._store.every_upload(after, limits.SEGMENTS_PAGE_SIZE):
            for upload in page:
                self._names.add(upload.blob)
                if upload.state is UploadState.ACTIVE:
                    check = self._checker.at_least(upload.blob, upload.received_bytes)
                    await self._check(upload.blob, check, "the client begins the upload again")
            after = page[-1].upload_id

    async def _caches(self) -> None:
        after = BEFORE_ALL
        while page := await self._store.every_cache(after, limits.SEGMENTS_PAGE_SIZE):
            for cache in page:
                self._names.add(cache.blob)
                check = self._checker.kept(cache.blob, cache.size_bytes, cache.crc32)
                remedy = f"make the content of cachedContents/{cache.cache_id} again, or {_RESTORE}"
                await self._check(cache.blob, check, remedy)
            after = page[-1].tenant, page[-1].cache_id

    # batches ----------------------------------------------------------------------------------

    async def _batches(self) -> None:
        after = BEFORE_ALL
        while page := await self._store.every_batch(after, limits.SEGMENTS_PAGE_SIZE):
            for batch in page:
                self._names.add(batch_folder(batch.tenant, batch.batch_id))
                await self._batch(batch)
            after = page[-1].tenant, page[-1].batch_id

    async def _batch(self, batch: Batch) -> None:
        folder = batch_folder(batch.tenant, batch.batch_id)
        await self._input(batch)
        if batch.request_count is not None:  # else a plan is made anew from the start
            path = self._blobs.path(f"{folder}/plan")
            if path.exists() and (found := self._checker.plan(path)) is not None:
                self._flaw(f"{folder}/plan", found, "nothing: it has been read", batch)
        named = {f"{folder}/plan", f"{folder}/{UNTIDY}", batch.input_blob}
        shard = requests = 0
        while page := await self._store.shards(
            batch.tenant, batch.batch_id, shard, limits.SEGMENTS_PAGE_SIZE
        ):
            for record in page:
                named |= _blobs_of(record, folder)
                await self._shard(batch, record, folder)
                if (record.plan.index, record.plan.first_request) != (shard, requests):
                    self._flaw(
                        "state.sqlite", f"shard {shard} is not the next one", _RESTORE, batch
                    )
                shard, requests = record.plan.index + 1, requests + record.plan.request_count
        if shard and requests != batch.request_count:
            found = f"its shards hold {requests} requests, not {batch.request_count}"
            self._flaw("state.sqlite", found, _RESTORE, batch)
        for name, path in walk(self._directory.blobs, folder):
            if name not in named:
                self._summary.orphans.add(name, path)

    async def _input(self, batch: Batch) -> None:
        """Check the requests of an inline batch; an uploaded file has been checked as such."""
        if batch.input_file_id is not None:
            return
        needed = batch.ended_at is None or batch.partial is PartialResults.DUE
        held = await self._blobs.size(batch.input_blob)
        if needed or held is not None:
            remedy = "the batch fails: send it again" if needed else "what is damaged stays so"
            check = self._checker.exactly(batch.input_blob, batch.input_bytes)
            await self._check(batch.input_blob, check, remedy, batch)

    async def _shard(self, batch: Batch, record: ShardRecord, folder: str) -> None:
        if record.state is not ShardState.SEALED:
            if record.damaged and record.segment is not None:
                self._shard_flaw(batch, record, "it is damaged", _BY_ITSELF)
            for part in record.parts:
                if part.byte_length:
                    name = f"{folder}/journal/{record.plan.index:08d}.{part.epoch}"
                    check = self._checker.journal(name, part)
                    await self._check(name, check, _BY_ITSELF, batch)
            return
        if record.segment is None:  # nobody can ask for it any more
            return
        self._summary.blobs += 1
        if record.lost is not None:
            found: str | None = f"it is damaged for good: {record.lost}"
        else:
            check = self._checker.segment(record.segment, record.plan.request_count)
            found = await _readable(check)
        if found is not None:
            remedy = await self._remedy(batch, record, record.segment.blob)
            self._shard_flaw(batch, record, found, remedy)

    def _shard_flaw(self, batch: Batch, record: ShardRecord, found: str, remedy: str) -> None:
        assert record.segment is not None, "only a segment can be damaged"
        self._summary.flaws += 1
        self._tell(
            Flaw(
                blob=record.segment.blob,
                found=found,
                remedy=remedy,
                tenant=batch.tenant,
                batch=batch.batch_id,
                shard=record.plan.index,
            )
        )

    async def _remedy(self, batch: Batch, record: ShardRecord, blob: str) -> str:
        """Say what becomes of a damaged segment; with the order to do so, let it be made again."""
        if record.lost is not None or not _is_shown(batch):
            return f"nothing makes it again: {_RESTORE}, or delete the batch"
        if not self._repair:
            return "verify with --repair, and the server makes it again"
        key = batch.tenant, batch.batch_id
        outcome, why = await self._repairs.report(*key, record.plan.index, blob)
        if outcome is Reopening.AGAIN:
            self._summary.reopened += 1
            return "it is made again when the server is started"
        return f"it cannot be made again ({why}): {_RESTORE}, or delete the batch"

    # what nothing names -----------------------------------------------------------------------

    def _find_orphans(self) -> None:
        root = self._directory.blobs
        for name, path in walk(root, "."):
            kind, _, rest = name.partition("/")
            if kind == "batches":  # the folders of known batches have been looked through
                tenant, batch_id, *_ = [*rest.split("/"), "", ""]
                named = batch_folder(tenant, batch_id) in self._names
            else:
                named = name in self._names
            if not named:
                self._summary.orphans.add(name, path)


async def _readable(check: Awaitable[str | None]) -> str | None:
    """Make a check; what the disk cannot read is a flaw, too."""
    try:
        return await check
    except Damaged as fault:
        return fault.message
    except OSError as error:
        return f"it cannot be read: {error.strerror}"


def _blobs_of(record: ShardRecord, folder: str) -> set[str]:
    """Name what a shard has on the disk."""
    journals = {part.epoch for part in record.parts} | {record.epoch}
    named = {f"{folder}/journal/{record.plan.index:08d}.{epoch}" for epoch in journals}
    if record.segment is not None:
        named.add(record.segment.blob)
    return named if record.state is not ShardState.SEALED else named - _journals(named)


def _journals(named: set[str]) -> set[str]:
    return {name for name in named if "/journal/" in name}


def _is_shown(batch: Batch) -> bool:
    """Whether anybody can ask for the batch's results, now or later."""
    return batch.state in LIVE_STATES or batch.has_results or batch.partial is not None
