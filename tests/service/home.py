"""A data directory and the files service over it, as one process after another opens it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

from nightrate.domain.file import File, Upload
from nightrate.service.files import Files
from nightrate.store.blobs import Blobs
from nightrate.store.sqlite import SQLiteStore

T = TypeVar("T")

TENANT = "default"


async def inline(call: Callable[[], T]) -> T:
    return call()


class Home:
    """A data directory, and the files service as one process after another opens it."""

    def __init__(self, path: Path) -> None:
        self.store = SQLiteStore(path / "state.sqlite", inline)
        self.blobs = Blobs(path / "blobs", inline)
        self.files = Files(self.store, self.blobs)

    def restart(self) -> None:
        """Forget everything that was only in memory."""
        self.files = Files(self.store, self.blobs)

    async def start(self, file_id: str | None = None, announced: int | None = None) -> Upload:
        return await self.files.start_upload(
            TENANT,
            display_name="input",
            mime_type="jsonl",
            file_id=file_id,
            announced_bytes=announced,
        )

    async def stored(self, file: File) -> bytes:
        assert file.blob is not None
        return self.blobs.path(file.blob).read_bytes()


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[Home]:
    home = Home(path)
    try:
        yield home
    finally:
        await home.files.close()
        await home.store.close()


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


def open_descriptors() -> int:
    return len(list(Path("/dev/fd").iterdir()))


class LineCutError(Exception):
    """The client's connection broke."""


async def broken(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part
    raise LineCutError
