"""The door for uploads: Google's resumable protocol.

Every answer on an upload URL carries ``X-Goog-Upload-Status``, errors included (``final``): without
it both SDKs send the piece again and again. The URL's unguessable id is the only credential,
because clients send the bytes without a key.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from nightrate import limits
from nightrate.api import body
from nightrate.api.auth import tenant_of
from nightrate.api.links import base_url
from nightrate.api.respond import document
from nightrate.dialects import gemini as wire
from nightrate.domain.file import Upload, UploadState
from nightrate.errors import BadRequest, OutOfRange, Precondition

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import Scope

    from nightrate.service.files import Files

_PREFIX = "x-goog-upload-"
_STATUS = f"{_PREFIX}status"
_SIZE_RECEIVED = f"{_PREFIX}size-received"
_ANY_TYPE = "application/octet-stream"
_COMMANDS = "upload", "upload, finalize", "finalize", "query", "cancel"
_HOW = (
    "This server takes resumable uploads: begin with the headers X-Goog-Upload-Protocol: resumable"
    " and X-Goog-Upload-Command: start, then send the bytes to the URL in the answer's"
    " X-Goog-Upload-URL. Multipart and raw uploads are not served yet."
)


class Uploads:
    """Handlers of the upload URLs."""

    def __init__(self, files: Files, public_url: str | None) -> None:
        self._files = files
        self._public_url = public_url

    async def serve(self, request: Request) -> Response:
        """Begin a session, or continue the one that the URL names."""
        upload_id = request.query_params.get("upload_id")
        if upload_id is None:
            return await self._start(request)
        command = _command(request)
        if command == {"query"}:
            return _answer(await self._files.query(upload_id))
        if command == {"cancel"}:
            upload = await self._files.cancel(upload_id)
            if upload.state is UploadState.FINAL:
                message = "The upload is complete; delete its file instead."
                raise Precondition(message)
            return _answer(upload)
        return await self._take(request, upload_id, finalize="finalize" in command)

    async def _start(self, request: Request) -> Response:
        protocol = request.headers.get(f"{_PREFIX}protocol", "").strip().lower()
        if protocol != "resumable" or _words(request) != {"start"}:
            raise BadRequest(_HOW)
        asked = wire.parse_upload_start(await body.whole(request))
        declared = request.headers.get(f"{_PREFIX}header-content-type")
        announced = _number(request, f"{_PREFIX}header-content-length")
        base = base_url(request, self._public_url)
        upload = await self._files.start_upload(
            tenant_of(request),
            display_name=asked.display_name,
            mime_type=asked.mime_type or declared or _ANY_TYPE,
            file_id=asked.file_id,
            announced_bytes=asked.size_bytes if announced is None else announced,
        )
        version = request.path_params["version"]
        url = f"{base}/upload/{version}/files?upload_id={upload.upload_id}"
        url += "&upload_protocol=resumable"
        return _answer(upload, {f"{_PREFIX}url": url, f"{_PREFIX}control-url": url})

    async def _take(self, request: Request, upload_id: str, *, finalize: bool) -> Response:
        upload = await self._files.query(upload_id)
        offset = _number(request, f"{_PREFIX}offset")
        if offset is None:
            if not finalize:
                message = "A piece must say in X-Goog-Upload-Offset where its first byte belongs."
                raise BadRequest(message)
            offset = upload.received_bytes
        try:
            upload = await self._files.append(upload_id, offset, body.pieces(request))
        except OutOfRange as error:
            held = await self._files.query(upload_id)
            status, content = wire.render_error(error)
            fixed = {**error_headers(request.scope), _SIZE_RECEIVED: str(held.received_bytes)}
            return document(content, status, fixed)
        if not finalize:
            return _answer(upload)
        file = await self._files.finalize(upload_id)
        content = wire.render_uploaded_file(file, base_url(request, self._public_url))
        headers = {_STATUS: UploadState.FINAL, _SIZE_RECEIVED: str(file.size_bytes)}
        return document(content, headers=headers)


def error_headers(scope: Scope) -> Mapping[str, str]:
    """Give what an error on this request must carry, wherever it is found."""
    path: str = scope["path"]
    return {_STATUS: UploadState.FINAL} if "/upload/" in path else {}


def _answer(upload: Upload, headers: Mapping[str, str] | None = None) -> Response:
    fixed = {
        _STATUS: str(upload.state),
        _SIZE_RECEIVED: str(upload.received_bytes),
        f"{_PREFIX}chunk-granularity": str(limits.UPLOAD_GRANULARITY_BYTES),
    }
    return document(b"{}", headers={**fixed, **(headers or {})})


def _command(request: Request) -> set[str]:
    words = _words(request)
    if ", ".join(sorted(words, reverse=True)) not in _COMMANDS:
        message = f"X-Goog-Upload-Command must be one of: {'; '.join(_COMMANDS)}."
        raise BadRequest(message)
    return words


def _words(request: Request) -> set[str]:
    text = request.headers.get(f"{_PREFIX}command", "")
    return {word.strip().lower() for word in text.split(",")}


def _number(request: Request, header: str) -> int | None:
    text = request.headers.get(header, "").strip()
    if not text:
        return None
    if not (text.isascii() and text.isdecimal()) or len(text) > len(str(2**63)):
        message = f"The header {header} must be a number of bytes."
        raise BadRequest(message)
    return int(text)
