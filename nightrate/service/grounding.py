"""Answers that may rest on more than the model: searches, pages, and how both reach it."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from msgspec import Struct, json, structs

from nightrate import limits, tool_limits
from nightrate.domain.generation import Failure, Prompt, Reply
from nightrate.domain.grounding import Grounding, LookupWish, PageStatus
from nightrate.domain.supports import supports_of
from nightrate.errors import Code
from nightrate.tools.pages import Pages, Read
from nightrate.tools.search import Search

_SEARCH = "A search found these sources. Use them, and say so when they do not answer."
_PAGES = "These are the pages that the user names. Use them, and say so when they do not answer."

_ADDRESS = re.compile(r"https?://[^\s<>\"`\\^{}|\x00-\x1f\x7f]+", re.IGNORECASE)
_AROUND = frozenset(".,;:!?'*_~)]\u3002\uff0c\uff01\uff1f\u3001\uff09\u201d\u2019")
_PAIRS = {")": "(", "]": "["}

_NOTHING_READ = Read((), ())


class Steps(Protocol):
    """Keeps what was looked up for requests, so that a crash does not repeat it: a journal."""

    def add_step(self, index: int, found: bytes) -> None:
        """Keep what was looked up for a request."""
        ...

    async def step(self, index: int) -> bytes | None:
        """Give what was looked up for a request before; None when there is nothing of it."""
        ...


Aside = Callable[[], AbstractContextManager[None]]
"""Gives what is entered while something is looked up: who asks for it waits for no engine then."""


class Step:
    """The place of one request among the steps that are kept.

    Args:
        steps: keeps them.
        index: of the request.
        aside: entered while something is looked up for it.
    """

    def __init__(self, steps: Steps, index: int, aside: Aside = nullcontext) -> None:
        self._steps = steps
        self._index = index
        self.aside = aside

    async def kept(self) -> Grounding | None:
        """Give what was found before, if anybody looked."""
        found = await self._steps.step(self._index)
        return None if found is None else json.decode(found, type=Grounding)

    def keep(self, grounding: Grounding) -> None:
        """Keep what was found, from the next sync on."""
        self._steps.add_step(self._index, json.encode(grounding))


class LookedUp(Struct, frozen=True):
    """A prompt without and with what was looked up for it; the same one where that is nothing."""

    bare: Prompt
    prompt: Prompt
    grounding: Grounding


class Grounder:
    """Looks up what prompts wish for.

    Args:
        search: makes the searches; None refuses them.
        pages: reads the pages that users name; None refuses that.
    """

    def __init__(self, search: Search | None, pages: Pages | None = None) -> None:
        self._search = search
        self._pages = pages

    async def ground(
        self, prompt: Prompt, wish: LookupWish, step: Step | None = None
    ) -> LookedUp | Failure:
        """Look up for a prompt: give it with what was found, or say why nothing is looked up.

        Args:
            prompt: the whole of it; what a live one wishes for waits for no batch.
            wish: what is to be looked up.
            step: where what was found is kept; what is there already is not looked up again.
        """
        if wish.search is not None and self._search is None:
            message = f"{wish.search}: this server makes no searches. Leave the tool out."
            return Failure(Code.UNIMPLEMENTED, message)
        if wish.pages is not None and self._pages is None:
            message = f"{wish.pages}: this server fetches no pages. Leave the tool out."
            return Failure(Code.UNIMPLEMENTED, message)
        grounding = None if step is None else await step.kept()
        if grounding is None:
            with nullcontext() if step is None else step.aside():
                found = await self._looked_up(prompt, wish)
            if isinstance(found, Failure):
                return found
            grounding = found
            if step is not None:
                step.keep(grounding)
        return LookedUp(prompt, _told(prompt, grounding), grounding)

    async def _looked_up(self, prompt: Prompt, wish: LookupWish) -> Grounding | Failure:
        read = _NOTHING_READ
        if wish.pages is not None and self._pages is not None:
            uris = pages_of(prompt)
            if len(uris) > (most := tool_limits.PAGES_MAX):
                message = f"{wish.pages}: {len(uris)} pages are named, and {most} are the most."
                return Failure(Code.INVALID_ARGUMENT, message)
            longest = max((len(uri.encode(errors="replace")) for uri in uris), default=0)
            if longest > (most := tool_limits.PAGE_ADDRESS_BYTES_MAX):
                message = f"{wish.pages}: an address has {longest} bytes, and {most} are the most."
                return Failure(Code.INVALID_ARGUMENT, message)
            read = await self._pages.read(uris, live=prompt.live)
        if wish.search is None or self._search is None:
            return Grounding((), read.sources, read.pages)
        query = query_of(prompt)
        found = await self._search.search(query, limits.SEARCH_SOURCES_MAX, live=prompt.live)
        if isinstance(found, Failure):
            return found
        return Grounding((query,), (*read.sources, *found), read.pages)


def pages_of(prompt: Prompt) -> list[str]:
    """Find the addresses of pages in what the user said, each once."""
    found = (
        _bare(address)
        for message in prompt.messages
        if message.role == "user"
        for address in _ADDRESS.findall(message.text)
    )
    return list(dict.fromkeys(address for address in found if not address.endswith("://")))


def _bare(address: str) -> str:
    """Take off what belongs to the sentence around an address, and the place within the page."""
    address = address.partition("#")[0]
    while address[-1] in _AROUND:
        closes = _PAIRS.get(address[-1])
        if closes and address.count(address[-1]) <= address.count(closes):
            break
        address = address[:-1]
    return address


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


def _told(prompt: Prompt, grounding: Grounding) -> Prompt:
    """Show a model what was found, before the conversation."""
    listed = [
        f"[{number}] {source.title} ({source.uri})\n{source.text}"
        for number, source in enumerate(grounding.sources, 1)
    ]
    came = sum(page.status is PageStatus.SUCCESS for page in grounding.pages)
    pieces = [prompt.system]
    pieces += [_PAGES, *listed[:came]] if came else []
    pieces += [_SEARCH, *listed[came:]] if listed[came:] else []
    if len(pieces) == 1:
        return prompt
    return structs.replace(prompt, system="\n\n".join(piece for piece in pieces if piece))


def grounded(reply: Reply, grounding: Grounding, bare_tokens: int) -> Reply:
    """Say in a reply what it rests on, as a whole and sentence by sentence.

    Args:
        reply: the answer.
        grounding: what was looked up for it.
        bare_tokens: what its prompt would have had without. Those that were reused count as its
            own, so that nobody finds more tokens reused than it had.
    """
    usage = reply.usage
    looked_up = usage.prompt_tokens - max(bare_tokens, usage.cached_tokens)
    usage = structs.replace(usage, lookup_tokens=max(0, looked_up))
    candidates = tuple(
        structs.replace(candidate, supports=supports_of(candidate.text, grounding.sources))
        for candidate in reply.candidates
    )
    return structs.replace(reply, candidates=candidates, grounding=grounding, usage=usage)
