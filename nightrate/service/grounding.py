"""Answers that may rest on a search: the question becomes a query, and sources reach the model."""

from __future__ import annotations

from typing import Protocol

from msgspec import json, structs

from nightrate import limits
from nightrate.domain.generation import Failure, Prompt, Reply
from nightrate.domain.grounding import Grounding, SearchWish, Source
from nightrate.domain.supports import supports_of
from nightrate.errors import Code
from nightrate.tools.search import Search

_INTRODUCTION = "A search found these sources. Use them, and say so when they do not answer."


class Steps(Protocol):
    """Keeps what was looked up for requests, so that a crash does not repeat it: a journal."""

    def add_step(self, index: int, found: bytes) -> None:
        """Keep what was looked up for a request."""
        ...

    async def step(self, index: int) -> bytes | None:
        """Give what was looked up for a request before; None when there is nothing of it."""
        ...


class Step:
    """The place of one request among the steps that are kept."""

    def __init__(self, steps: Steps, index: int) -> None:
        self._steps = steps
        self._index = index

    async def kept(self) -> Grounding | None:
        """Give what was found before, if anybody looked."""
        found = await self._steps.step(self._index)
        return None if found is None else json.decode(found, type=Grounding)

    def keep(self, grounding: Grounding) -> None:
        """Keep what was found, from the next sync on."""
        self._steps.add_step(self._index, json.encode(grounding))


class Grounder:
    """Makes the searches that prompts wish for."""

    def __init__(self, search: Search | None) -> None:
        self._search = search

    async def ground(
        self, prompt: Prompt, wish: SearchWish, step: Step | None = None
    ) -> tuple[Prompt, Grounding] | Failure:
        """Search for a prompt: give it with what was found, or say why nothing is looked up.

        Args:
            prompt: the whole of it.
            wish: why it is to be searched for.
            step: where what was found is kept; what is there already is not looked up again.
        """
        if self._search is None:
            message = f"{wish.field}: this server makes no searches. Leave the tool out."
            return Failure(Code.UNIMPLEMENTED, message)
        grounding = None if step is None else await step.kept()
        if grounding is None:
            query = query_of(prompt)
            found = await self._search.search(query, limits.SEARCH_SOURCES_MAX)
            if isinstance(found, Failure):
                return found
            grounding = Grounding((query,), tuple(found))
            if step is not None:
                step.keep(grounding)
        return _told(prompt, grounding.sources), grounding


def query_of(prompt: Prompt) -> str:
    """Make a query of the last thing that the user said."""
    said = next(
        (message.text for message in reversed(prompt.messages) if message.role == "user"), ""
    )
    most = limits.SEARCH_QUERY_CHARACTERS_MAX
    query = " ".join(said[: 2 * most].split())
    if len(query) <= most:
        return query
    cut = query[: most + 1]
    return cut[: cut.rindex(" ")] if " " in cut else cut[:most]


def _told(prompt: Prompt, sources: tuple[Source, ...]) -> Prompt:
    """Show a model what was found, before the conversation."""
    if not sources:
        return prompt
    listed = [
        f"[{number}] {source.title} ({source.uri})\n{source.text}"
        for number, source in enumerate(sources, 1)
    ]
    pieces = [prompt.system, _INTRODUCTION, *listed]
    return structs.replace(prompt, system="\n\n".join(piece for piece in pieces if piece))


def grounded(reply: Reply, grounding: Grounding) -> Reply:
    """Say in a reply what it rests on, as a whole and sentence by sentence."""
    candidates = tuple(
        structs.replace(candidate, supports=supports_of(candidate.text, grounding.sources))
        for candidate in reply.candidates
    )
    return structs.replace(reply, candidates=candidates, grounding=grounding)
