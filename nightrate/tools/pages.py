"""Pages of the web that a conversation names, fetched and read as text."""

from __future__ import annotations

import asyncio
import functools
import sys
from collections.abc import Sequence

import msgspec
from msgspec import Struct, structs

from nightrate import tool_limits
from nightrate.domain.grounding import Page, PageStatus, Source
from nightrate.tools.documents import Extracted, is_readable
from nightrate.tools.excerpts import shortened
from nightrate.tools.places import Places
from nightrate.tools.web import Fetched, NotFetched, Web, Why

_STATUS = {
    Why.FAILED: PageStatus.ERROR,
    Why.UNSAFE: PageStatus.UNSAFE,
    Why.PAYWALL: PageStatus.PAYWALL,
}


class Read(Struct, frozen=True, gc=False):
    """What became of the pages, one after the other, and what those say that came."""

    pages: tuple[Page, ...]
    sources: tuple[Source, ...]


class Pages:
    """Reads pages.

    Args:
        web: fetches them.
    """

    def __init__(self, web: Web) -> None:
        self._web = web
        self._places = Places(tool_limits.PAGES_AT_ONCE_MAX, tool_limits.LIVE_PAGES_AT_ONCE_MAX)
        """A page has one until it is read, so that no more are in memory than there are places."""
        self._readers = Places(
            tool_limits.EXTRACTIONS_AT_ONCE_MAX, tool_limits.LIVE_EXTRACTIONS_AT_ONCE_MAX
        )

    async def read(self, uris: Sequence[str], *, live: bool) -> Read:
        """Read pages side by side; one that cannot be read hinders no other.

        Args:
            uris: their addresses.
            live: whether somebody waits for them.
        """
        found = await asyncio.gather(*map(functools.partial(self._one, live=live), uris))
        sources = [one for one in found if isinstance(one, Source)]
        each = tool_limits.PAGES_TEXT_BYTES_MAX // max(len(sources), 1)
        bytes_max = min(tool_limits.PAGE_TEXT_BYTES_MAX, each)
        statuses = (one if isinstance(one, PageStatus) else PageStatus.SUCCESS for one in found)
        return Read(
            tuple(map(Page, uris, statuses)),
            tuple(structs.replace(one, text=shortened(one.text, bytes_max)) for one in sources),
        )

    async def _one(self, uri: str, *, live: bool) -> Source | PageStatus:
        async with self._places.of(live=live):
            try:
                fetched = await self._web.fetch(uri)
            except NotFetched as fault:
                return _STATUS[fault.why]
            if not is_readable(fetched.mime_type):
                return PageStatus.ERROR
            extracted = await self._extracted(fetched, live=live)
        if extracted is None:
            return PageStatus.ERROR
        text = shortened(extracted.text, tool_limits.PAGE_TEXT_BYTES_MAX)
        return Source(uri, extracted.title or uri, text)

    async def _extracted(self, page: Fetched, *, live: bool) -> Extracted | None:
        """Read a page in a process of its own; None when that cannot be done within the bounds."""
        async with self._readers.of(live=live):
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "nightrate.tools.extraction_process"),
                *(page.mime_type, page.charset or ""),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,  # it could quote the page
            )
            try:
                async with asyncio.timeout(tool_limits.EXTRACTION_SECONDS):
                    said, _ = await process.communicate(page.data)
            except TimeoutError:
                return None
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.wait()
        return None if process.returncode else msgspec.json.decode(said, type=Extracted)
