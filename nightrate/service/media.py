"""Uploaded files that prompts name: found for their tenant, and read while a request is under way.

A prompt that comes with the bytes of its media holds them already. One that names a file holds
nothing until its turn has come, and nothing when it is answered: so a shard of a thousand lines
with a film each takes the memory of those few that are asked at once
(`limits.MEDIA_HELD_BYTES_MAX`).
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from binascii import b2a_base64
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import NamedTuple

from msgspec import structs

from nightrate import clock, limits
from nightrate.domain.cache import Reach
from nightrate.domain.file import File
from nightrate.domain.generation import Failure, Prompt
from nightrate.domain.medium import Medium, is_type, size_bytes_of
from nightrate.errors import BadRequest, Code, Damaged, MissingFile, Refused, StoreFault
from nightrate.service.abilities import unreadable
from nightrate.service.lane import Lane
from nightrate.store.base import Store
from nightrate.store.blobs import Blobs

log = logging.getLogger(__name__)

_PIECE_BYTES = limits.READ_BYTES // 3 * 3
"""Three bytes are four characters of Base64: pieces of so many can be put together."""


class Shelf(NamedTuple):
    """Where uploaded files are."""

    store: Store
    blobs: Blobs


class Room:
    """So many bytes of files as may be in memory at once; who comes first is let in first."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._held_bytes = 0
        self._first = asyncio.Lock()
        self._freed = asyncio.Event()

    async def take(self, size_bytes: int) -> None:
        """Wait until there is room for so many bytes, which are not more than it has."""
        async with self._first:
            while self._held_bytes + size_bytes > self._bytes_max:
                self._freed.clear()
                await self._freed.wait()
            self._held_bytes += size_bytes

    def give(self, size_bytes: int) -> None:
        """Be told that so many bytes are held no more."""
        self._held_bytes -= size_bytes
        self._freed.set()


class _Held:
    """What one request holds of a room."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._size_bytes = 0

    async def take(self, size_bytes: int) -> None:
        await self._room.take(size_bytes)
        self._size_bytes = size_bytes

    def give(self) -> None:
        self._room.give(self._size_bytes)
        self._size_bytes = 0


class Media:
    """Makes prompts with media ready to be asked.

    Args:
        shelf: where the files are; without it, prompts that name some find none.
    """

    def __init__(self, shelf: Shelf | None = None) -> None:
        self._shelf = shelf
        self._rooms: dict[tuple[str, bool], Room] = {}
        """By lane, for live requests and for those of batches: one engine that stands still, or a
        batch that waits for it, keeps nobody else from reading files."""

    @asynccontextmanager
    async def read(
        self, prompt: Prompt, lane: Lane, reach: Reach | None, *, live: bool
    ) -> AsyncGenerator[Prompt | Failure]:
        """Give a prompt with the bytes of its files, or why it has none, while the block runs.

        A row of a batch waits while the disk refuses; a live request does not.

        Args:
            prompt: the whole of it.
            lane: will answer it; what its engine does not read is refused before it is looked for.
            reach: whose files it may name, and when these must have been there; None for nobody's.
            live: whether somebody waits for the answer.

        Raises:
            StoreFault: a file of a live request cannot be read.
            OSError: likewise.
        """
        key = lane.name, live
        room = self._rooms.get(key)
        if room is None:
            room = self._rooms[key] = Room(limits.MEDIA_HELD_BYTES_MAX)
        held = _Held(room)
        try:
            yield await self._patiently(prompt, lane, reach, held, live=live)
        finally:
            held.give()

    async def _patiently(
        self, prompt: Prompt, lane: Lane, reach: Reach | None, held: _Held, *, live: bool
    ) -> Prompt | Failure:
        while True:
            try:
                return await self._read(prompt, lane, reach, held)
            except Refused as fault:
                return Failure(fault.code, fault.message, fault.field)
            except Damaged as fault:
                return Failure(Code.DATA_LOSS, f"A file cannot be read any more: {fault.message}")
            except (OSError, StoreFault) as error:
                if live:
                    raise
                held.give()
                log.error("a file of a prompt cannot be read now: %s", error)  # noqa: TRY400 - the reason is all
                await clock.sleep(limits.DISK_PAUSE_SECONDS)

    async def _read(
        self, prompt: Prompt, lane: Lane, reach: Reach | None, held: _Held
    ) -> Prompt | Failure:
        media = prompt.media
        if failure := unreadable(lane.engine, lane.name, media):
            return failure
        named = {one.file_id: one for one in reversed(media) if one.file_id is not None}
        files = {name: await self._file(medium, name, reach) for name, medium in named.items()}
        if files:
            media = tuple(_typed(medium, files) for medium in media)
            if failure := unreadable(lane.engine, lane.name, media):
                return failure
        sizes = [_size_bytes(medium, files) for medium in media]
        _check_sizes(media, sizes)
        if not files:
            return prompt
        await held.take(
            sum(size for medium, size in zip(media, sizes, strict=True) if medium.file_id)
        )
        data = {}
        for name, file in files.items():
            try:
                data[name] = await self._content(file)
            except Damaged:
                await self._file(named[name], name, reach)  # or it was deleted just now
                raise
        return structs.replace(
            prompt,
            media=tuple(
                medium
                if medium.file_id is None
                else structs.replace(medium, data=data[medium.file_id])
                for medium in media
            ),
        )

    async def _file(self, medium: Medium, file_id: str, reach: Reach | None) -> File:
        """Find a file that may be read.

        Raises:
            MissingFile: there is none for this tenant, or it has expired.
            BadRequest: it is not one that was uploaded, or it is empty.
        """
        file = None
        if self._shelf is not None and reach is not None:
            file = await self._shelf.store.get_file(reach.tenant, file_id, reach.alive_at)
        if file is None:
            raise _missing(medium, file_id)
        if file.blob is None or not file.size_bytes:
            what = "a result of a batch" if file.blob is None else "empty"
            message = f"{medium.field}: files/{file_id} is {what}. Upload what is to be read."
            raise BadRequest(message, field=medium.field)
        return file

    async def _content(self, file: File) -> str:
        """Read a file, as Base64.

        Raises:
            Damaged: its bytes are not what was uploaded.
        """
        assert self._shelf is not None, "a file was found"
        assert file.blob is not None, "results are refused"
        reader = await self._shelf.blobs.open(file.blob)
        digest, pieces = hashlib.sha256(), list[bytes]()
        try:
            for start in range(0, file.size_bytes, _PIECE_BYTES):
                piece = await reader.read(start, min(_PIECE_BYTES, file.size_bytes - start))
                digest.update(piece)
                pieces.append(b2a_base64(piece, newline=False))
        finally:
            await reader.close()
        if file.sha256 not in (None, digest.hexdigest()):
            raise Damaged(f"blob {file.blob} is damaged: it is not what was uploaded")
        return b"".join(pieces).decode("ascii")


def _missing(medium: Medium, file_id: str) -> MissingFile:
    message = (
        f"{medium.field}: there is no file files/{file_id} (or no permission to read it); it may"
        " have expired or been deleted. Upload it with the Files API."
    )
    fault = MissingFile(message, file_id)
    fault.field = medium.field
    return fault


def _typed(medium: Medium, files: dict[str, File]) -> Medium:
    """Say what a medium is: what its sender says now, else what its file was uploaded as.

    Raises:
        BadRequest: neither says it.
    """
    if medium.mime_type or medium.file_id is None:
        return medium
    mime_type = files[medium.file_id].mime_type
    if not is_type(mime_type):
        message = (
            f"{medium.field}: files/{medium.file_id} was uploaded without a media type such as"
            " image/png. Say what it is beside its uri, or upload it anew."
        )
        raise BadRequest(message, field=medium.field)
    return structs.replace(medium, mime_type=mime_type)


def _size_bytes(medium: Medium, files: dict[str, File]) -> int:
    if medium.file_id is None:
        return size_bytes_of(medium.data)
    return files[medium.file_id].size_bytes


def _check_sizes(media: tuple[Medium, ...], sizes: list[int]) -> None:
    """Refuse media that are too large together, by the first that is too much."""
    size_bytes, most = 0, limits.MEDIA_BYTES_MAX
    for medium, size in zip(media, sizes, strict=True):
        size_bytes += size
        if size_bytes > most:
            message = (
                f"{medium.field}: the media of the request have {sum(sizes)} bytes together, and"
                f" {most} are the most."
            )
            raise BadRequest(message, field=medium.field)
