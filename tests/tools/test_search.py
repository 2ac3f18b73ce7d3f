"""Searches, and the setting that chooses among them."""

from __future__ import annotations

import pytest

from nightrate.errors import SettingsFault
from nightrate.tools.search import BACKENDS, REFUSE, create_search


async def test_the_empty_search_finds_nothing() -> None:
    search = create_search("empty")
    assert search is not None
    assert await search.search("who won?", 5) == []


def test_searches_can_be_refused() -> None:
    assert create_search(REFUSE) is None


def test_a_search_that_is_unknown_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(SettingsFault) as fault:
        create_search("everything")
    assert all(name in fault.value.message for name in (*BACKENDS, REFUSE, "everything"))
