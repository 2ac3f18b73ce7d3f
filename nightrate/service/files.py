"""Files and the resumable uploads that make them.

What is acknowledged survives: bytes are synced first, then the row that counts them is committed,
then the caller answers. A piece that breaks off keeps what arrived.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable

import msgspec

from nightrate import clock, limits
from nightrate.clock import Instant
from nightrate.domain.file import RESULT_PREFIX, File, FileSource, Page, Upload, UploadState
from nightrate.domain.quota import over_storage
from nightrate.errors import (
    BadRequest,
    MissingFile,
    NotFound,
    OutOfRange,
    OverStorage,
    Precondition,
    StoreFault,
    TooLarge,
)
from nightrate.service.sessions import Session, Sessions
from nightrate.service.space import Space, refused_by_disk
from nightrate.store.base import Store
from nightrate.store.blobs import Blobs

_FILE_ID = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
_MIME_TYPE = re.compile(r"[!-~]([ -~]*[!-~])?")


class Files:
    """The files of tenants and their uploads.

    ``stored_max`` is how many bytes of uploaded files each tenant may have; None for any number.
    """

    def __init__(self, store: Store, blobs: Blobs, stored_max: int | None = None) -> None:
        self._store = store
        self._blobs = blobs
        self._stored_max = stored_max
        self._space = Space(blobs)
        self._sessions = Sessions(blobs)

    # uploads ----------------------------------------------------------------------------------

    async def start_upload(
        self,
        tenant: str,
        *,
        display_name: str | None,
        mime_type: str,
        file_id: str | None,
        announced_bytes: int | None = None,
    ) -> Upload:
        """Begin a session.

        Args:
            tenant: whose file it will be.
            display_name: any text for people, or None.
            mime_type: stored and given back untouched.
            file_id: the id the client wants; None for one of ours.
            announced_bytes: how long the file will be. A hint: only what is clearly too long is
                refused by it; what counts is what arrives.

        Raises:
            BadRequest: a name or type that cannot be.
            TooLarge: more was announced than a file may have.
            NoRoom: the disk is full but for its reserve.
            OverStorage: the tenant's files leave no room for it.
            Conflict: the id is taken.
        """
        _check_names(display_name, mime_type, file_id)
        _require_length(announced_bytes or 0)
        await self._space.require(announced_bytes or 1)
        file_id = file_id or clock.new_id(12)
        upload = Upload(
            tenant=tenant,
            upload_id=clock.new_id(40),
            file_id=file_id,
            # A wanted id may come again after a cancelled session; its bytes may not.
            blob=f"files/{tenant}/{file_id}.{clock.new_id(12)}",
            display_name=display_name,
            mime_type=mime_type,
            received_bytes=0,
            state=UploadState.ACTIVE,
            created_at=clock.now(),
        )
        await self._store.add_upload(
            upload, asked_bytes=announced_bytes or 0, stored_max=self._stored_max
        )
        return upload

    async def append(self, upload_id: str, offset: int, pieces: AsyncIterator[bytes]) -> Upload:
        """Take bytes that begin at an offset; return when they are synced and counted.

        Bytes that were taken before are skipped. When ``pieces`` raises, what arrived is kept and
        the error goes on to the caller. A finished session takes nothing and is given as it is.

        Raises:
            NotFound: no such session.
            OutOfRange: the offset lies behind the end of what was received.
            Precondition: the session was cancelled.
            TooLarge: the file would be longer than a file may be.
            NoRoom: the disk is full but for its reserve; what arrived is kept.
            OverStorage: the tenant's files leave no room for it. The session is cancelled: clients
                do not go on with one that was refused, and its bytes would take room until it ends.
            StoreFault: the disk failed.
        """
        async with self._sessions.hold(upload_id) as session:
            upload = await self.query(upload_id)
            if upload.state is UploadState.FINAL:
                return upload
            _require_active(upload)
            if offset > upload.received_bytes:
                message = (
                    f"The piece begins at byte {offset}, but only {upload.received_bytes} bytes"
                    f" were received."
                )
                raise OutOfRange(message)
            await self._space.require(1)
            await self._written(session.open(upload), upload)
            blocks = self._within_quota(upload, _blocks(pieces, upload, offset))
            blocks = self._space.taken(blocks)
            try:
                return await self._take(session, upload, blocks)
            except OverStorage:
                await self._store.cancel_upload(upload, clock.now())
                await session.close()
                raise

    async def query(self, upload_id: str, tenant: str | None = None) -> Upload:
        """Tell where a session stands.

        Args:
            upload_id: it alone authorises the pieces of the session.
            tenant: who asks, if that is known.

        Raises:
            NotFound: no such session, or it is too old, or another tenant's.
        """
        upload = await self._store.get_upload(upload_id)
        foreign = upload is not None and tenant not in {None, upload.tenant}
        if upload is None or foreign or _is_stale(upload):
            message = "There is no such upload; it may have expired. Start a new one."
            raise NotFound(message)
        return upload

    async def finalize(
        self, upload_id: str, lifetime_seconds: float = limits.FILE_LIFETIME_SECONDS
    ) -> File:
        """Make the file of everything that was received; a repeat gives the same file.

        Args:
            upload_id: the session.
            lifetime_seconds: how long the file is kept.

        Raises:
            NotFound: no such session, or its file is gone again.
            Precondition: the session was cancelled.
            StoreFault: the disk failed.
        """
        async with self._sessions.hold(upload_id) as session:
            upload = await self.query(upload_id)
            if upload.state is UploadState.FINAL:
                return await self.get(upload.tenant, upload.file_id)
            _require_active(upload)
            await self._written(session.open(upload), upload)
            if not upload.received_bytes:  # no piece has synced the name of the empty blob
                await self._checkpoint(session, upload)
            now = clock.now()
            file = File(
                tenant=upload.tenant,
                file_id=upload.file_id,
                blob=upload.blob,
                display_name=upload.display_name,
                mime_type=upload.mime_type,
                size_bytes=upload.received_bytes,
                sha256=session.sha256,
                source=FileSource.UPLOADED,
                created_at=now,
                updated_at=now,
                expires_at=clock.later(now, lifetime_seconds),
            )
            await self._store.finish_upload(upload, file)
            await session.close()
            return file

    async def cancel(self, upload_id: str) -> Upload:
        """Give an upload up; a repeat changes nothing, and neither does a finished session.

        Raises:
            NotFound: no such session.
        """
        async with self._sessions.hold(upload_id) as session:
            upload = await self.query(upload_id)
            if upload.state is UploadState.ACTIVE:
                await self._store.cancel_upload(upload, clock.now())
                await session.close()
                return msgspec.structs.replace(upload, state=UploadState.CANCELLED)
            return upload

    async def close(self) -> None:
        """Let go of every open blob."""
        await self._sessions.close()

    async def _take(
        self, session: Session, upload: Upload, blocks: AsyncIterator[list[bytes]]
    ) -> Upload:
        try:
            async for block in blocks:
                await self._written(session.write(block), upload)
                if session.given_bytes - upload.received_bytes >= limits.UPLOAD_SYNC_BYTES:
                    upload = await self._checkpoint(session, upload)
                    await self._space.require(1)
        finally:
            if session.is_open:
                upload = await self._checkpoint(session, upload)
        return upload

    async def _written(self, work: Awaitable[None], upload: Upload) -> None:
        try:
            await work
        except OSError as error:
            message = (
                f"Writing the upload failed ({error.strerror}); {upload.received_bytes} bytes are"
                f" kept."
            )
            raise refused_by_disk(error, message) from error

    async def _checkpoint(self, session: Session, upload: Upload) -> Upload:
        """Write to the end, sync, then count what is synced."""
        await self._written(session.drain(), upload)
        try:
            await session.sync()
        except OSError as error:
            # The kernel may have dropped any page of the blob: nothing of it can be trusted.
            await self._store.cancel_upload(upload, clock.now())
            message = f"Syncing the upload failed ({error.strerror}); start a new one."
            raise StoreFault(message) from error
        given_bytes = session.given_bytes
        if given_bytes == upload.received_bytes:
            return upload
        await self._store.grow_upload(upload, given_bytes, clock.now(), stored_max=self._stored_max)
        return msgspec.structs.replace(upload, received_bytes=given_bytes)

    async def _within_quota(
        self, upload: Upload, blocks: AsyncIterator[list[bytes]]
    ) -> AsyncIterator[list[bytes]]:
        """Give blocks as long as the tenant has room for them.

        What other uploads of the tenant take meanwhile is seen when the bytes are counted.
        """
        if self._stored_max is None:
            async for block in blocks:
                yield block
            return
        now = clock.now()
        others = (await self._store.stored(upload.tenant, now)).without(upload.received_bytes)
        asked_bytes = upload.received_bytes
        async for block in blocks:
            asked_bytes += sum(map(len, block))
            if others.stored_bytes + asked_bytes > self._stored_max:
                raise over_storage(asked_bytes, others, self._stored_max, now)
            yield block

    # files ------------------------------------------------------------------------------------

    async def get(self, tenant: str, file_id: str) -> File:
        """Find a file.

        Raises:
            MissingFile: there is none, or it has expired.
        """
        file = await self._store.get_file(tenant, file_id, clock.now())
        if file is None:
            message = f"There is no file files/{file_id}; it may have expired or been deleted."
            raise MissingFile(message, file_id)
        return file

    async def list(
        self, tenant: str, page: Page, source: FileSource | None = None
    ) -> tuple[list[File], tuple[Instant, str] | None]:
        """Give a page of files, of one source or any, and the key of the next one if there is one.

        The newest come first, unless the page says otherwise.
        """
        found = await self._store.list_files(tenant, page, clock.now(), source)
        files = found[: page.size]
        more = len(found) > page.size
        return files, (files[-1].created_at, files[-1].file_id) if more else None

    async def delete(self, tenant: str, file_id: str) -> None:
        """Remove a file from sight.

        Raises:
            MissingFile: there is none.
        """
        if not await self._store.delete_file(tenant, file_id, clock.now()):
            message = f"There is no file files/{file_id}."
            raise MissingFile(message, file_id)


async def _blocks(
    pieces: AsyncIterator[bytes], upload: Upload, offset: int
) -> AsyncIterator[list[bytes]]:
    """Cut what was received before, and gather the rest into blocks that are worth a write.

    What has gathered is given out before an error of ``pieces`` goes on.
    """
    position = offset
    block: list[bytes] = []
    block_bytes = 0
    try:
        async for piece in pieces:
            fresh = piece[max(0, upload.received_bytes - position) :]
            position += len(piece)
            _require_length(position)
            block.append(fresh)
            block_bytes += len(fresh)
            if block_bytes >= limits.WRITE_BYTES:
                yield block
                block, block_bytes = [], 0
    except Exception:
        if block_bytes:
            yield block
        raise
    if block_bytes:
        yield block


def _check_names(display_name: str | None, mime_type: str, file_id: str | None) -> None:
    """Refuse names that cannot be; the type goes into a header when the file is downloaded."""
    most = limits.DISPLAY_NAME_CHARACTERS_MAX
    if len(display_name or "") > most:
        message = f"file.displayName: at most {most} characters are allowed."
        raise BadRequest(message, field="file.displayName")
    most = limits.MIME_TYPE_CHARACTERS_MAX
    if len(mime_type) > most or not _MIME_TYPE.fullmatch(mime_type):
        message = f"file.mimeType: it has 1 to {most} printable ASCII characters."
        raise BadRequest(message, field="file.mimeType")
    if file_id is None:
        return
    most = limits.FILE_ID_CHARACTERS_MAX
    if len(file_id) > most or not _FILE_ID.fullmatch(file_id):
        message = f"file.name: an id has 1 to {most} of a-z, 0-9 and inner dashes."
        raise BadRequest(message, field="file.name")
    if file_id.startswith(RESULT_PREFIX):
        message = f"file.name: ids that begin with {RESULT_PREFIX} belong to results."
        raise BadRequest(message, field="file.name")


def _require_active(upload: Upload) -> None:
    if upload.state is not UploadState.ACTIVE:
        message = "The upload was cancelled; start a new one."
        raise Precondition(message)


def _is_stale(upload: Upload) -> bool:
    ends_at = clock.later(upload.created_at, limits.UPLOAD_LIFETIME_SECONDS)
    return upload.state is UploadState.ACTIVE and ends_at <= clock.now()


def _require_length(length: int) -> None:
    if length > limits.FILE_BYTES_MAX:
        message = f"A file may have at most {limits.FILE_BYTES_MAX} bytes."
        raise TooLarge(message)
