"""The index of the operator's documents."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TypeVar

import apsw
import pytest

from nightrate import tool_limits
from nightrate.domain.document import Document
from nightrate.domain.generation import Failure
from nightrate.domain.grounding import Source
from nightrate.errors import BadRequest, Code, NotFound, OverQuota, StoreFault
from nightrate.tools import index as module
from nightrate.tools.index import Index, match_of

T = TypeVar("T")

EURO = Document("file:///euro.txt", "The Euro 2025", "England won the final in Basel.")
TRAINS = Document("file:///trains.txt", "Trains", "The train to Zürich leaves at noon.")


async def inline(call: Callable[[], T]) -> T:
    return call()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "search.sqlite"


@pytest.fixture
async def index(path: Path) -> AsyncIterator[Index]:
    index = Index(path, inline, inline)
    yield index
    await index.close()


async def found(index: Index, query: str, limit: int = 5) -> list[Source]:
    """Search as a row of a batch does; a live request must find the same."""
    sources = await index.search(query, limit, live=False)
    assert not isinstance(sources, Failure)
    assert await index.search(query, limit, live=True) == sources
    return sources


async def test_an_index_without_documents_finds_nothing_and_makes_no_file(
    index: Index, path: Path
) -> None:
    assert await found(index, "who won?") == []
    assert await index.documents() == []
    with pytest.raises(NotFound, match="no document file"):
        await index.remove(EURO.uri)
    assert not path.exists()  # noqa: ASYNC240 - a test waits for its own file


async def test_what_has_the_words_of_a_query_is_found_best_first(index: Index) -> None:
    await index.put(TRAINS)
    await index.put(EURO)
    assert await found(index, "Who won the Euro 2025?") == [Source(EURO.uri, EURO.title, EURO.text)]
    both = await found(index, "when does the train leave for the final in Zurich")
    assert [source.uri for source in both] == [TRAINS.uri, EURO.uri]
    assert len(await found(index, "train final", 1)) == 1
    assert await found(index, "weather tomorrow") == []


@pytest.mark.parametrize(
    "query",
    [
        *('"', "'", "*", "(", "NOT", "a AND", "NEAR(", "col:x", "^x", "-x", "\x00", "%", "—"),
        *('"; DROP TABLE documents', "title : x", "{a b}: c", "x" * 9999, "AND OR NOT", ""),
    ],
)
async def test_no_query_is_an_error(index: Index, query: str) -> None:
    await index.put(EURO)
    await found(index, query)
    assert len(await found(index, f"{query} final")) == 1


def test_stop_words_are_left_out_unless_there_is_nothing_else() -> None:
    assert match_of("Who won the final? The FINAL!") == '"won" OR "final"'
    assert match_of("The Who") == '"the" OR "who"'
    assert match_of("?!") == ""
    words = " ".join(map(str, range(100)))
    assert match_of(words).count("OR") == tool_limits.QUERY_WORDS_MAX - 1


async def test_a_long_document_is_found_by_its_excerpts(index: Index) -> None:
    text = "\n\n".join(f"Paragraph number{n} says {'word ' * 100}" for n in range(20))
    count = await index.put(Document("file:///long.txt", "Long", text))
    assert count > 5
    (one,) = await found(index, "number7")
    assert "number7" in one.text
    assert len(one.text.encode()) <= tool_limits.EXCERPT_BYTES_MAX
    (listed,) = await index.documents()
    assert (listed.excerpts, listed.text_bytes) == (count, len(text.encode()))


async def test_a_document_of_the_same_address_is_replaced(index: Index) -> None:
    await index.put(TRAINS)
    await index.put(EURO)
    await index.put(Document(EURO.uri, "Other", "Spain lost."))
    assert await found(index, "England final Euro") == []
    assert [source.title for source in await found(index, "Spain")] == ["Other"]
    assert [one.title for one in await index.documents()] == ["Other", "Trains"]


async def test_a_removed_document_is_not_found(index: Index) -> None:
    await index.put(EURO)
    await index.put(TRAINS)
    removed = await index.remove(EURO.uri)
    assert (removed.uri, removed.excerpts) == (EURO.uri, 1)
    assert await found(index, "England final") == []
    assert [one.uri for one in await index.documents()] == [TRAINS.uri]
    with pytest.raises(NotFound):
        await index.remove(EURO.uri)


async def test_documents_are_listed_page_by_page(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tool_limits, "DOCUMENTS_PAGE_SIZE", 2)
    for number in range(3):
        await index.put(Document(f"file:///{number}", "", "text"))
    first = await index.documents()
    assert [one.uri for one in first] == ["file:///0", "file:///1"]
    assert [one.uri for one in await index.documents(first[-1].uri)] == ["file:///2"]


async def test_a_crash_in_the_middle_leaves_the_former_document(
    index: Index, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await index.put(EURO)

    def crash(*_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "_insert", crash)
    with pytest.raises(KeyboardInterrupt):
        await index.put(Document(EURO.uri, "Other", "Spain lost."))
    await index.close()
    again = Index(path, inline, inline)
    assert [source.title for source in await found(again, "final")] == [EURO.title]
    await again.close()


async def test_documents_survive_a_new_start(index: Index) -> None:
    await index.put(EURO)
    await index.close()
    assert len(await found(index, "final")) == 1
    await index.close()


@pytest.mark.parametrize(
    ("document", "why"),
    [
        (Document("", "t", "x"), "uri: it must have"),
        (Document("u" * 2049, "t", "x"), "uri: it must have"),
        (Document("u", "t", " "), "text: it is empty"),
        (Document("u", "t", "x" * (tool_limits.DOCUMENT_TEXT_BYTES_MAX + 1)), "text: it is longer"),
    ],
)
async def test_what_is_over_a_bound_is_refused(index: Index, document: Document, why: str) -> None:
    with pytest.raises(BadRequest, match=why):
        await index.put(document)


async def test_an_index_has_so_many_documents_and_no_more(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tool_limits, "DOCUMENTS_MAX", 1)
    await index.put(EURO)
    await index.put(EURO)
    with pytest.raises(OverQuota, match="as many as it may have"):
        await index.put(TRAINS)


async def test_a_damaged_index_fails_searches_and_says_what_to_do(path: Path) -> None:
    path.write_bytes(  # noqa: ASYNC240 - a test waits for its own file
        b"no database " * 1000
    )
    index = Index(path, inline, inline)
    for live in (False, True):
        failure = await index.search("who won", 5, live=live)
        assert isinstance(failure, Failure)
        assert failure.code is Code.UNAVAILABLE
    for call in (index.put(EURO), index.documents(), index.remove("x")):
        with pytest.raises(StoreFault, match=r"is damaged .* add the documents again"):
            await call


async def test_an_index_that_cannot_be_opened_is_told(tmp_path: Path) -> None:
    with pytest.raises(StoreFault, match="cannot be used"):
        await Index(tmp_path, inline, inline).put(EURO)


async def test_an_index_of_another_version_is_refused(index: Index, path: Path) -> None:
    with apsw.Connection(str(path)) as connection:
        connection.execute("PRAGMA user_version=99")
    connection.close()
    with pytest.raises(StoreFault, match="another version"):
        await index.put(EURO)
    assert isinstance(await index.search("final", 5, live=True), Failure)


async def test_a_live_search_finds_nothing_in_an_index_that_is_only_just_being_made(
    index: Index, path: Path
) -> None:
    path.touch()  # noqa: ASYNC240 - a test waits for its own file
    assert await index.search("final", 5, live=True) == []
    await index.put(EURO)
    assert len(await found(index, "final")) == 1
