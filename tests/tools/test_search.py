"""The setting that chooses among the searches."""

from __future__ import annotations

import pytest

from nightrate.errors import SettingsFault
from nightrate.tools.search import EmptySearch
from nightrate.tools.searches import BACKENDS, search_of
from nightrate.tools.searxng import SearXNG

INDEX = EmptySearch()


async def test_the_empty_search_finds_nothing() -> None:
    search = search_of("empty")(INDEX)
    assert search is not None
    assert search is not INDEX
    assert await search.search("who won?", 5, live=False) == []
    await search.close()


def test_searches_can_be_refused() -> None:
    assert search_of("refuse")(INDEX) is None


def test_the_index_is_the_one_that_is_handed_in() -> None:
    assert search_of("index")(INDEX) is INDEX


@pytest.mark.parametrize("address", ["http://127.0.0.1:8888", "https://search.example.com/x/"])
def test_a_web_address_is_one_of_a_searxng(address: str) -> None:
    assert isinstance(search_of(address)(INDEX), SearXNG)


@pytest.mark.parametrize(
    "address",
    ["http://", "http://me:secret@host", "http://host/search?q=1", "http://host/#there"],
)
def test_an_address_that_cannot_be_one_is_refused(address: str) -> None:
    with pytest.raises(SettingsFault, match="write an address such as"):
        search_of(address)


def test_a_search_that_is_unknown_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(SettingsFault) as fault:
        search_of("everything")
    assert all(name in fault.value.message for name in (*BACKENDS, "everything", "SearXNG"))
