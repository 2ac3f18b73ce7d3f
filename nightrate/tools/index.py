"""A full-text index over the operator's documents, in an SQLite database of its own.

One process opens it: the server that holds the data directory, or a command that holds it while
there is no server. Live searches have a connection of their own, which only looks: it waits neither
for the searches of batches nor for a document that is being put there. A document is put there by
one transaction, so a crash leaves the one before or the new one. The database is made with the
first document; without it, searches find nothing.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Protocol, TypeVar

import apsw

from nightrate import clock, tool_limits
from nightrate.domain.document import Document, Indexed
from nightrate.domain.generation import Failure
from nightrate.domain.grounding import Source
from nightrate.domain.words import all_words, telling_words
from nightrate.errors import BadRequest, Code, NotFound, OverQuota, StoreFault
from nightrate.tools.excerpts import excerpts
from nightrate.tools.search import Search

log = logging.getLogger(__name__)

T = TypeVar("T")

VERSION = 1
"""Of the layout, as the database itself keeps it."""

_SCHEMA = """
CREATE TABLE documents (
    id INTEGER PRIMARY KEY, uri TEXT NOT NULL UNIQUE, title TEXT NOT NULL,
    text_bytes INTEGER NOT NULL, added_at INTEGER NOT NULL,
    first_excerpt INTEGER NOT NULL, last_excerpt INTEGER NOT NULL
);
CREATE VIRTUAL TABLE excerpts USING fts5(
    title, text, document UNINDEXED, start_byte UNINDEXED, end_byte UNINDEXED,
    tokenize = "porter unicode61 remove_diacritics 2"
);
"""
_FIND = """
SELECT d.uri, d.title, e.text FROM excerpts e JOIN documents d ON d.id = e.document
WHERE excerpts MATCH :match ORDER BY bm25(excerpts, 2.0, 1.0), e.rowid LIMIT :most
"""
_LIST = """
SELECT uri, title, text_bytes, last_excerpt - first_excerpt + 1, added_at FROM documents
WHERE uri > :after ORDER BY uri LIMIT :most
"""
_PUT = """
INSERT INTO documents (id, uri, title, text_bytes, added_at, first_excerpt, last_excerpt)
VALUES (:id, :uri, :title, :text_bytes, :added_at, :first, :last)
"""
_PUT_EXCERPT = """
INSERT INTO excerpts (rowid, title, text, document, start_byte, end_byte) VALUES (?, ?, ?, ?, ?, ?)
"""


class Run(Protocol):
    """Calls a blocking function somewhere and gives its result."""

    def __call__(self, call: Callable[[], T], /) -> Awaitable[T]:
        """Run it."""
        ...


class Index(Search):
    """The documents, and the search in them.

    Args:
        path: the database file; it need not be there.
        run: where its statements run, one after the other.
        run_live: where live searches run, one after the other, on a connection of their own.
    """

    def __init__(self, path: Path, run: Run, run_live: Run) -> None:
        self._path = path
        self._run = run
        self._run_live = run_live
        self._connection: apsw.Connection | None = None
        self._live_connection: apsw.Connection | None = None

    async def put(self, document: Document) -> int:
        """Add a document, or replace the one of that address; give the number of its excerpts.

        Raises:
            BadRequest: it has no address or no text, or is over a bound.
            OverQuota: there are as many documents as there may be.
            StoreFault: the database cannot be used.
        """
        _check(document)
        return await self._run(lambda: self._put(document))

    async def remove(self, uri: str) -> Indexed:
        """Remove a document, and give what it was.

        Raises:
            NotFound: there is none of that address.
            StoreFault: the database cannot be used.
        """
        return await self._run(lambda: self._remove(uri))

    async def documents(self, after: str = "") -> list[Indexed]:
        """List documents by address, those behind ``after``, a page at most.

        Raises:
            StoreFault: the database cannot be used.
        """
        return await self._run(lambda: self._documents(after))

    async def search(self, query: str, limit: int, *, live: bool) -> list[Source] | Failure:
        """Find the excerpts that have the words of a query, the best first."""
        run, opened = (self._run_live, self._open_live) if live else (self._run, self._open)
        try:
            return await run(lambda: self._search(query, limit, opened))
        except StoreFault as fault:
            log.error("a search failed: %s", fault)  # noqa: TRY400 - the reason is all
            message = "The index of this server cannot be read now; its log says why. Try again."
            return Failure(Code.UNAVAILABLE, message)

    async def close(self) -> None:
        """Let go of the database."""
        await self._run_live(self._close_live)
        await self._run(self._close)

    # in the threads ---------------------------------------------------------------------------

    def _put(self, document: Document) -> int:
        try:
            connection = self._open()
            with connection:
                self._drop(connection, document.uri)
                count = connection.execute("SELECT count(*) FROM documents").get
                if count >= tool_limits.DOCUMENTS_MAX:
                    raise OverQuota(f"The index has {count} documents, as many as it may have.")
                put = _insert(connection, document)
        except apsw.Error as error:
            raise self._trouble(error) from error
        return put

    def _remove(self, uri: str) -> Indexed:
        try:
            if self._path.exists():
                connection = self._open()
                with connection:
                    removed = self._drop(connection, uri)
                if removed is not None:
                    return removed
        except apsw.Error as error:
            raise self._trouble(error) from error
        raise NotFound(f"There is no document {uri} in the index.")

    def _drop(self, connection: apsw.Connection, uri: str) -> Indexed | None:
        row = connection.execute(
            "SELECT id, title, text_bytes, added_at, first_excerpt, last_excerpt FROM documents"
            " WHERE uri = ?",
            (uri,),
        ).fetchone()
        if row is None:
            return None
        number, title, text_bytes, added_at, first, last = row
        connection.execute("DELETE FROM excerpts WHERE rowid BETWEEN ? AND ?", (first, last))
        connection.execute("DELETE FROM documents WHERE id = ?", (number,))
        return Indexed(uri, title, text_bytes, last - first + 1, added_at)

    def _documents(self, after: str) -> list[Indexed]:
        if not self._path.exists():
            return []
        asked = {"after": after, "most": tool_limits.DOCUMENTS_PAGE_SIZE}
        try:
            return [Indexed(*row) for row in self._open().execute(_LIST, asked)]
        except apsw.Error as error:
            raise self._trouble(error) from error

    def _search(
        self, query: str, limit: int, opened: Callable[[], apsw.Connection | None]
    ) -> list[Source]:
        match = match_of(query)
        if not match or not self._path.exists():
            return []
        asked = {"match": match, "most": limit}
        try:
            connection = opened()
            return [Source(*row) for row in connection.execute(_FIND, asked)] if connection else []
        except apsw.Error as error:
            raise self._trouble(error) from error

    def _open(self) -> apsw.Connection:
        if self._connection is None:
            with _connected(self._path) as connection:
                _prepare(connection)
            self._connection = connection
        return self._connection

    def _open_live(self) -> apsw.Connection | None:
        """Open what only looks; None while the first document is only just being put there."""
        if self._live_connection is None:
            with _connected(self._path) as connection:
                connection.execute("PRAGMA query_only=ON")
                made = _version_of(connection) != 0
            if not made:
                connection.close()
                return None
            self._live_connection = connection
        return self._live_connection

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _close_live(self) -> None:
        if self._live_connection is not None:
            self._live_connection.close()
            self._live_connection = None

    def _trouble(self, error: apsw.Error) -> StoreFault:
        if isinstance(error, apsw.CorruptError | apsw.NotADBError):
            remedy = "remove it and what begins with its name, and add the documents again"
            return StoreFault(f"{self._path} is damaged ({error}); {remedy}")
        return StoreFault(f"{self._path} cannot be used: {error}")


def match_of(query: str) -> str:
    """Make what FTS5 takes of any text: its telling words, quoted, one of which must be there."""
    words = list(dict.fromkeys(telling_words(query) or all_words(query)))
    return " OR ".join(f'"{word}"' for word in words[: tool_limits.QUERY_WORDS_MAX])


def _check(document: Document) -> None:
    if not 1 <= len(document.uri) <= tool_limits.DOCUMENT_URI_CHARACTERS_MAX:
        most = tool_limits.DOCUMENT_URI_CHARACTERS_MAX
        raise BadRequest(f"uri: it must have 1 to {most} characters.", field="uri")
    if len(document.text.encode()) > tool_limits.DOCUMENT_TEXT_BYTES_MAX:
        most = tool_limits.DOCUMENT_TEXT_BYTES_MAX
        raise BadRequest(f"text: it is longer than {most} bytes.", field="text")
    if not document.text.strip():
        raise BadRequest("text: it is empty.", field="text")


@contextlib.contextmanager
def _connected(path: Path) -> Iterator[apsw.Connection]:
    """Open the database; it stays open unless the block fails."""
    connection = apsw.Connection(str(path))
    try:
        connection.set_busy_timeout(int(tool_limits.INDEX_BUSY_SECONDS * 1000))
        yield connection
    except BaseException:
        connection.close()
        raise


def _prepare(connection: apsw.Connection) -> None:
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    with connection:
        if _version_of(connection) == 0:
            connection.execute(_SCHEMA)
            connection.execute(f"PRAGMA user_version={VERSION}")


def _version_of(connection: apsw.Connection) -> int:
    """Tell the version of the layout; 0 where nothing was made yet.

    Raises:
        StoreFault: it is not ours.
    """
    found = int(connection.execute("PRAGMA user_version").get)
    if found not in {0, VERSION}:
        raise StoreFault(f"the index was written by another version ({found})")
    return found


def _insert(connection: apsw.Connection, document: Document) -> int:
    title = document.title[: tool_limits.DOCUMENT_TITLE_CHARACTERS_MAX]
    number = connection.execute("SELECT coalesce(max(id), 0) + 1 FROM documents").get
    first = connection.execute("SELECT coalesce(max(last_excerpt), 0) + 1 FROM documents").get
    rows = [
        (row, title, excerpt.text, number, excerpt.start_byte, excerpt.end_byte)
        for row, excerpt in enumerate(excerpts(document.text), first)
    ]
    connection.executemany(_PUT_EXCERPT, rows)
    values = {
        "id": number,
        "uri": document.uri,
        "title": title,
        "text_bytes": len(document.text.encode()),
        "added_at": clock.now(),
        "first": first,
        "last": first + len(rows) - 1,
    }
    connection.execute(_PUT, values)
    return len(rows)
