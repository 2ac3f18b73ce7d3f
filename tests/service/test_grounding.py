"""Searches made for prompts: the query, what the model is shown, and what the reply says."""

from __future__ import annotations

import pytest

from nightrate import limits
from nightrate.domain.generation import Failure, Message, Prompt
from nightrate.domain.grounding import Grounding, SearchWish, Source
from nightrate.errors import Code
from nightrate.service.grounding import Grounder, query_of
from nightrate.tools.search import EmptySearch, Search

WISH = SearchWish("tools[0].googleSearch")
QUESTION = Prompt(messages=(Message("user", "Who won?"),), search=WISH)
FOUND = Source("https://example.com/", "Results", "Zürich won.")


class Found(Search):
    """Finds one thing, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []

    async def search(self, query: str, limit: int) -> list[Source]:
        self.asked.append((query, limit))
        return [FOUND]


@pytest.mark.parametrize(
    ("messages", "query"),
    [
        ((Message("user", " Who\n won  it? "),), "Who won it?"),
        ((Message("user", "a"), Message("model", "b")), "a"),
        ((Message("user", "a"), Message("model", "b"), Message("user", "c")), "c"),
        ((Message("model", "b"),), ""),
        ((Message("user", "word " * 100),), "word " * 50 + "word"),
        ((Message("user", "x" * 1000),), "x" * limits.SEARCH_QUERY_CHARACTERS_MAX),
        ((Message("user", f"{'x' * 255} {'y' * 99}"),), "x" * 255),
    ],
)
def test_the_query_is_what_the_user_said_last(messages: tuple[Message, ...], query: str) -> None:
    assert query_of(Prompt(messages=messages)) == query
    assert len(query) <= limits.SEARCH_QUERY_CHARACTERS_MAX


async def test_a_search_that_finds_nothing_leaves_the_prompt_alone() -> None:
    found = await Grounder(EmptySearch()).ground(QUESTION, WISH)
    assert found == (QUESTION, Grounding(("Who won?",)))


@pytest.mark.parametrize("system", [None, "Be brief."])
async def test_a_model_is_shown_what_was_found(system: str | None) -> None:
    search = Found()
    prompt = Prompt(messages=QUESTION.messages, system=system, search=WISH)
    found = await Grounder(search).ground(prompt, WISH)
    assert not isinstance(found, Failure)
    told, grounding = found
    assert search.asked == [("Who won?", limits.SEARCH_SOURCES_MAX)]
    assert grounding == Grounding(("Who won?",), (FOUND,))
    assert told.messages == prompt.messages
    assert told.system is not None
    assert told.system.startswith(system or "A search found")
    assert told.system.endswith("[1] Results (https://example.com/)\nZürich won.")


async def test_where_nothing_is_searched_the_wish_is_refused_by_its_path() -> None:
    failure = await Grounder(None).ground(QUESTION, WISH)
    assert isinstance(failure, Failure)
    assert failure.code is Code.UNIMPLEMENTED
    assert failure.message.startswith("tools[0].googleSearch: ")
