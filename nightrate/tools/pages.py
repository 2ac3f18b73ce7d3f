"""Pages of the web that a conversation names, fetched and read as text."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence

import msgspec
from msgspec import Struct, structs

from nightrate import tool_limits
from nightrate.domain.grounding import Page, PageStatus, Source
from nightrate.tools.documents import Extracted, is_readable
from nightrate.tools.excerpts import shortened
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
        self._places = asyncio.Semaphore(tool_limits.EXTRACTIONS_AT_ONCE_MAX)

    async def read(self, uris: Sequence[str]) -> Read:
        """Read pages side by side; one that cannot be read hinders no other."""
        found = await asyncio.gather(*map(self._one, uris))
        sources = [one for one in found if isinstance(one, Source)]
        each = tool_limits.PAGES_TEXT_BYTES_MAX // max(len(sources), 1)
        bytes_max = min(tool_limits.PAGE_TEXT_BYTES_MAX, each)
        statuses = (one if isinstance(one, PageStatus) else PageStatus.SUCCESS for one in found)
        return Read(
            tuple(map(Page, uris, statuses)),
            tuple(structs.replace(one, text=shortened(one.text, bytes_max)) for one in sources),
        )

    async def _one(self, uri: str) -> Source | PageStatus:
        try:
            fetched = await self._web.fetch(uri)
        except NotFetched as fault:
            return _STATUS[fault.why]
        extracted = await self._extracted(fetched) if is_readable(fetched.mime_type) else None
        if extracted is None:
            return PageStatus.ERROR
        return Source(uri, extracted.title or uri, extracted.text)

    async def _extracted(self, page: Fetched) -> Extracted | None:
        """Read a page in a process of its own; None when that cannot be done within the bounds."""
        async with self._places:
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
