"""The verbs about files and uploads, in SQL."""

from __future__ import annotations

from nightrate.clock import Instant
from nightrate.domain.batch import Batch, BatchForm, PartialResults
from nightrate.domain.file import (
    File,
    FileSource,
    Page,
    ResultPart,
    Upload,
    UploadState,
    batch_of_result,
    part_of_result,
)
from nightrate.domain.quota import Stored, over_storage
from nightrate.domain.states import BatchState
from nightrate.errors import Conflict
from nightrate.store import statements as sql
from nightrate.store.relational import Relational
from nightrate.store.rows import (
    columns,
    file_of,
    page_values,
    result_name,
    shard_or_end,
    upload_of,
)


class FileVerbs(Relational):
    """See `Store`, files and uploads."""

    async def add_upload(
        self, upload: Upload, *, asked_bytes: int = 0, stored_max: int | None = None
    ) -> None:
        """See `Store.add_upload`."""

        def call() -> None:
            # One byte at least: who has no room left is told so before anything is sent.
            self._require_storage(upload, max(1, asked_bytes), stored_max, upload.created_at)
            if self._one(sql.ADD_UPLOAD, columns(upload)) is None:
                raise Conflict(f"File {upload.file_id} already exists.")

        await self._write(call)

    async def get_upload(self, upload_id: str) -> Upload | None:
        """See `Store.get_upload`."""
        rows = await self._read(sql.GET_UPLOAD, {"upload_id": upload_id})
        return upload_of(rows[0]) if rows else None

    async def grow_upload(
        self, upload: Upload, received_bytes: int, now: Instant, *, stored_max: int | None = None
    ) -> None:
        """See `Store.grow_upload`."""
        values = {**columns(upload), "received_bytes": received_bytes}

        def call() -> None:
            self._require_storage(upload, received_bytes, stored_max, now)
            self._all(sql.GROW_UPLOAD, values)

        await self._write(call)

    async def stored(self, tenant: str, now: Instant) -> Stored:
        """See `Store.stored`."""
        return await self._call(lambda: self._stored(tenant, now))

    def _stored(self, tenant: str, now: Instant) -> Stored:
        values = {"tenant": tenant, "now": now}
        files, next_end = self._aggregate(sql.STORED_FILES, values)
        (uploads,) = self._aggregate(sql.STORED_UPLOADS, values)
        return Stored(int(files) + int(uploads), next_end)

    def _require_storage(self, upload: Upload, asked: int, most: int | None, now: Instant) -> None:
        if most is None:
            return
        others = self._stored(upload.tenant, now).without(upload.received_bytes)
        if others.stored_bytes + asked > most:
            raise over_storage(asked, others, most, now)

    async def finish_upload(self, upload: Upload, file: File) -> None:
        """See `Store.finish_upload`."""

        def call() -> None:
            ended = self._one(sql.END_UPLOAD, {**columns(upload), "state": UploadState.FINAL})
            if ended is None:
                raise Conflict("The upload has ended already.")
            self._all(sql.ADD_FILE, columns(file))

        await self._write(call)

    async def cancel_upload(self, upload: Upload, now: Instant) -> None:
        """See `Store.cancel_upload`."""
        del now
        values = {**columns(upload), "state": UploadState.CANCELLED}
        await self._write(lambda: self._all(sql.END_UPLOAD, values))

    async def get_file(self, tenant: str, file_id: str, now: Instant) -> File | None:
        """See `Store.get_file`."""
        values = {"tenant": tenant, "file_id": file_id, "now": now}
        rows = await self._read(sql.GET_FILE, values)
        if not rows:
            growing = await self._growing_file(tenant, file_id)
            if growing is not None:
                return growing
            # A batch that ended between the two looks has its file now.
            rows = await self._read(sql.GET_FILE, values)
        return file_of(rows[0]) if rows else None

    async def _growing_file(self, tenant: str, file_id: str) -> File | None:
        """Describe the result file of a batch that still grows: what is sealed without a gap."""
        batch_id = batch_of_result(file_id)
        if batch_id is None:
            return None
        batch = await self.get_batch(tenant, batch_id)
        part = part_of_result(file_id)
        if batch is None or batch.form is BatchForm.INLINE or not _grows(batch):
            return None
        if part is ResultPart.ERRORS and not batch.kind.parts_failures:
            return None

        def call() -> int:
            values: dict[str, object] = {"tenant": tenant, "batch_id": batch_id}
            until = shard_or_end(self._aggregate(sql.FIRST_UNSEALED, values)[0])
            values |= {"until_shard": until}
            return int(self._aggregate(sql.PREFIX_BYTES[part], values)[0])

        size_bytes = await self._call(call)
        return File(
            tenant=tenant,
            file_id=file_id,
            blob=None,
            display_name=result_name(batch, part),
            mime_type="application/jsonl",
            size_bytes=size_bytes,
            sha256=None,
            source=FileSource.GENERATED,
            created_at=batch.created_at,
            updated_at=batch.updated_at,
            expires_at=batch.expires_at,
            growing=True,
        )

    async def list_files(
        self, tenant: str, page: Page, now: Instant, source: FileSource | None = None
    ) -> list[File]:
        """See `Store.list_files`."""
        values = {"tenant": tenant, "now": now, "source": source, **page_values(page)}
        text = sql.LIST_FILES_OLDEST_FIRST if page.oldest_first else sql.LIST_FILES
        return [file_of(row) for row in await self._read(text, values)]

    async def delete_file(self, tenant: str, file_id: str, now: Instant) -> bool:
        """See `Store.delete_file`."""
        values = {"tenant": tenant, "file_id": file_id, "now": now}
        return bool(await self._write(lambda: self._all(sql.DELETE_FILE, values)))


def _grows(batch: Batch) -> bool:
    return batch.state is BatchState.RUNNING or batch.partial is PartialResults.DUE
