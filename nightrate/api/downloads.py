"""The door for bytes: whole files and single ranges of them, results of running batches too."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from starlette.responses import Response

from nightrate.api.auth import tenant_of
from nightrate.api.query import switched_on
from nightrate.api.respond import Streamed, Told
from nightrate.domain.file import part_of_result
from nightrate.errors import BadRequest

if TYPE_CHECKING:
    from starlette.requests import Request

    from nightrate.service.followers import Followers
    from nightrate.service.results import Content, Results

_FOLLOWED = {
    "content-type": "application/jsonl",
    "content-disposition": "attachment",
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
    "x-accel-buffering": "no",  # a proxy in front that gathers answers would undo the stream
}
_MEDIA_TYPE = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+/[!#$%&'*+.^_`|~0-9A-Za-z-]+\s*(;|$)")
"""RFC 9110, 8.3.1."""

_RANGE = re.compile(r"bytes=([0-9]{0,19})-([0-9]{0,19})")


class Downloads:
    """Handlers of the download URLs."""

    def __init__(self, results: Results, followers: Followers) -> None:
        self._results = results
        self._followers = followers

    async def serve(self, request: Request) -> Response:
        """Send a file's bytes; ``alt=media`` is taken as given."""
        return await self.send(request, request.path_params["file_id"])

    async def send(self, request: Request, file_id: str) -> Response:
        """Send the bytes of a file, or the range of them that the request asks for."""
        if switched_on(request, "follow") and (answer := await self._followed(request, file_id)):
            return answer
        content = await self._results.content(tenant_of(request), file_id)
        span = _span(request, content)
        headers = {
            "content-type": _media_type(content.mime_type),
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

    async def _followed(self, request: Request, file_id: str) -> Response | None:
        """Send a result file to its end while it grows; None when it grows no more.

        Raises:
            BadRequest: a part of it is asked for as well.
        """
        if "range" in request.headers:
            message = "follow gives a file from its beginning; leave the Range away."
            raise BadRequest(message, field="follow")
        batch = await self._followers.growing(tenant_of(request), file_id)
        if batch is None:
            return None
        return Told(self._followers.lines(batch, part_of_result(file_id)), b"", _FOLLOWED)


def _media_type(declared: str) -> str:
    """Give what a client declared if HTTP can say it; ``jsonl``, as samples have it, is no type."""
    return declared if _MEDIA_TYPE.match(declared) else "application/octet-stream"


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
