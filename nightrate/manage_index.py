"""``nightrate index``: the documents that searches find, whether a server holds them or not."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import msgspec
from msgspec import Struct

from nightrate import administer, tool_limits
from nightrate.administer import RefusedByServer, ask_opened, call_for, inline
from nightrate.dialects import documents as dialect
from nightrate.dialects.documents import IndexedDocument, IndexedDocuments, Put
from nightrate.domain.document import Document
from nightrate.errors import Refused
from nightrate.store.directory import DataDirectory
from nightrate.tools.documents import SUFFIXES, Unreadable, extract, kind_of
from nightrate.tools.index import Index

T = TypeVar("T")

Tell = Callable[["Added"], None]


class Trouble(Struct, frozen=True):
    """A file that could not be added, and why."""

    path: str
    message: str


class Added(Struct):
    """What has been added so far."""

    documents: int = 0
    excerpts: int = 0
    text_bytes: int = 0
    skipped: int = 0
    """Files below a named folder that are of no known kind."""
    failed: list[Trouble] = []


def summary_of(added: Added) -> dict[str, Any]:
    """Describe what has been added, for a script."""
    document: dict[str, Any] = msgspec.to_builtins(added)
    document["textBytes"] = document.pop("text_bytes")
    return document


async def add(data: Path, paths: Sequence[Path], base_uri: str | None, tell: Tell) -> Added:
    """Add files, and those below folders; each is a document, and replaces an earlier one.

    A file that cannot be read is told and the others are added.

    Args:
        data: the data directory.
        paths: files and folders.
        base_uri: what the addresses of the documents begin with, before their path from the named
            folder or file on; None for the address of the file.
        tell: told after each file what has been added.

    Raises:
        StoreFault: the directory or the index cannot be used.
    """

    async def here(index: Index) -> Added:
        adding = _Adding(paths, base_uri, tell)
        for path, document in adding.documents():
            try:
                adding.put(document, await index.put(document))
            except Refused as fault:
                adding.refused(path, fault.message)
        return adding.added

    def there() -> Added:
        adding = _Adding(paths, base_uri, tell)
        for path, document in adding.documents():
            try:
                body = dialect.write_put(document)
                adding.put(document, call_for(data, "POST", "/index:put", body, Put).excerpts)
            except RefusedByServer as fault:
                adding.refused(path, fault.message)
        return adding.added

    return await ask_opened(data, _opened, here, there)


class _Adding:
    """Reads the documents that are to be added, and counts what becomes of them."""

    def __init__(self, paths: Sequence[Path], base_uri: str | None, tell: Tell) -> None:
        self.added = Added()
        self._paths = paths
        self._base_uri = base_uri
        self._tell = tell

    def documents(self) -> Iterator[tuple[Path, Document]]:
        """Give what is named, and what lies below folders that are named, in order."""
        for named in self._paths:
            if not named.is_dir():
                yield from self._read(named, named.parent, named=True)
                continue
            for folder, below, names in os.walk(named):
                below[:] = sorted(name for name in below if not name.startswith("."))
                for name in sorted(names):
                    if not name.startswith("."):
                        yield from self._read(Path(folder, name), named, named=False)

    def put(self, document: Document, excerpts: int) -> None:
        """Count a document that is in the index."""
        self.added.documents += 1
        self.added.excerpts += excerpts
        self.added.text_bytes += len(document.text.encode())

    def refused(self, path: Path, message: str) -> None:
        """Note why a file is not in the index."""
        self.added.failed.append(Trouble(_shown(path), message))

    def _read(self, path: Path, folder: Path, *, named: bool) -> Iterator[tuple[Path, Document]]:
        kind = kind_of(path.name)
        try:
            if kind is None and not named:
                self.added.skipped += 1
            else:
                yield path, _document(path, kind, self._uri(path, folder))
        except OSError as error:
            self.refused(path, error.strerror or str(error))
        except Unreadable as fault:
            self.refused(path, fault.message)
        self._tell(self.added)

    def _uri(self, path: Path, folder: Path) -> str:
        if self._base_uri is None:
            return path.absolute().as_uri()
        inside = path.relative_to(folder).as_posix()
        return f"{self._base_uri.rstrip('/')}/{quote(os.fsencode(inside))}"


def _document(path: Path, kind: str | None, uri: str) -> Document:
    """Read a file.

    Raises:
        Unreadable: it is none, of no known kind, too large, or not what its kind says.
        OSError: the disk refused.
    """
    size = path.stat().st_size
    if not path.is_file():
        raise Unreadable("it is no file")
    if kind is None:
        raise Unreadable(f"its kind is not known by its name; there are: {', '.join(SUFFIXES)}")
    if size > (most := tool_limits.DOCUMENT_FILE_BYTES_MAX):
        raise Unreadable(f"it has {size} bytes, and {most} is the most; split it")
    extracted = extract(path.read_bytes(), kind)
    return Document(uri, extracted.title or _shown(Path(path.stem)), extracted.text)


def _shown(path: Path) -> str:
    """Give a path as text, whatever bytes it has."""
    return os.fsencode(path).decode(errors="replace")


async def list_documents(data: Path) -> list[IndexedDocument]:
    """Give every document, by address.

    Raises:
        StoreFault: the directory or the index cannot be used, or there is none.
    """

    async def here(index: Index) -> list[IndexedDocument]:
        found: list[IndexedDocument] = []
        while page := await index.documents(found[-1].uri if found else ""):
            found += map(dialect.document_of, page)
        return found

    def there() -> list[IndexedDocument]:
        found: list[IndexedDocument] = []
        while page := _page(data, found[-1].uri if found else ""):
            found += page
        return found

    administer.require_directory(data)
    return await ask_opened(data, _opened, here, there)


async def remove(data: Path, uri: str) -> IndexedDocument:
    """Remove a document.

    Raises:
        NotFound, RefusedByServer: there is none of that address.
        StoreFault: the directory or the index cannot be used, or there is none.
    """

    async def here(index: Index) -> IndexedDocument:
        return dialect.document_of(await index.remove(uri))

    administer.require_directory(data)
    body = dialect.write_removal(uri)
    return await ask_opened(
        data,
        _opened,
        here,
        lambda: call_for(data, "POST", "/index:remove", body, IndexedDocument),
    )


@contextlib.asynccontextmanager
async def _opened(directory: DataDirectory) -> AsyncIterator[Index]:
    index = Index(directory.index, inline, inline)
    try:
        yield index
    finally:
        await index.close()


def _page(data: Path, after: str) -> list[IndexedDocument]:
    return call_for(
        data, "POST", "/index:list", dialect.write_page(after), IndexedDocuments
    ).documents
