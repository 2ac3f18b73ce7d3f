"""The door for bytes: whole files and single ranges of them, results of running batches too."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from starlette.responses import Response

from nightrate.api.auth import tenant_of
from nightrate.api.query import refuse_options
from nightrate.api.respond import Streamed

if TYPE_CHECKING:
    from starlette.requests import Request

    from nightrate.service.results import Content, Results

_RANGE = re.compile(r"bytes=([0-9]{0,19})-([0-9]{0,19})")


class Downloads:
    """Handlers of the download URLs."""

    def __init__(self, results: Results) -> None:
        self._results = results

    async def serve(self, request: Request) -> Response:
        """Send a file's bytes; ``alt=media`` is taken as given."""
        return await self.send(request, request.path_params["file_id"])

    async def send(self, request: Request, file_id: str) -> Response:
        """Send the bytes of a file, or the range of them that the request asks for."""
        refuse_options(request, "follow")
        content = await self._results.content(tenant_of(request), file_id)
        span = _span(request, content)
        headers = {
            "content-type": content.mime_type,
            "etag": content.etag,
            "accept-ranges": "bytes",
            # The bytes are a client's: no browser may take them for a page of this server.
            "content-disposition": "attachment",
            "x-content-type-options": "nosniff",
        }
        if span is None:
            return Response(None, 416, {"content-range": f"bytes */{content.size_bytes}"})
        start, stop = span
        headers["content-length"] = str(stop - start)
        status = 200
        if _asks_for_part(request, content):
            headers["content-range"] = f"bytes {start}-{stop - 1}/{content.size_bytes}"
            status = 206
        return await Streamed.begin(content.stream(start, stop), headers, status)


def _asks_for_part(request: Request, content: Content) -> bool:
    """Whether the request has a range that HTTP wants heeded: one, well-formed, of this version."""
    match = _RANGE.fullmatch(request.headers.get("range", "").replace(" ", ""))
    if match is None or match.groups() == ("", ""):
        return False
    first, last = match.groups()
    if first and last and int(first) > int(last):
        return False
    return request.headers.get("if-range", content.etag) == content.etag


def _span(request: Request, content: Content) -> tuple[int, int] | None:
    """Give the bytes to send as (start, stop); None when the range lies outside the file."""
    size_bytes = content.size_bytes
    if not _asks_for_part(request, content):
        return 0, size_bytes
    first, last = request.headers["range"].replace(" ", "").removeprefix("bytes=").split("-")
    if not first:  # the last so many bytes
        start, stop = max(0, size_bytes - int(last)), size_bytes
    else:
        start, stop = int(first), min(size_bytes, int(last) + 1 if last else size_bytes)
    return (start, stop) if start < stop else None
