"""The door for uploads: Google's resumable protocols, and the forms that take a single call.

Every answer on an upload URL carries ``X-Goog-Upload-Status``, errors included (``final``): without
it both SDKs send the piece again and again. The URL's unguessable id is the only credential,
because clients send the bytes without a key.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING

import msgspec
from starlette.datastructures import QueryParams

from nightrate import limits
from nightrate.api import body
from nightrate.api.auth import caller_of, tenant_of
from nightrate.api.content_range import parse_content_range
from nightrate.api.links import base_url
from nightrate.api.multipart import Parts, boundary_of, parameter
from nightrate.api.profiles import PREFIXED, VERSIONS
from nightrate.api.respond import document
from nightrate.dialects import gemini as wire
from nightrate.domain.file import File, Upload, UploadState
from nightrate.errors import BadRequest, Fault, OutOfRange, Precondition, TooLarge

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import Scope

    from nightrate.service.files import Files

_PREFIX = "x-goog-upload-"
_STATUS = f"{_PREFIX}status"
_SIZE_RECEIVED = f"{_PREFIX}size-received"
_VERSION = f"(?:{'|'.join(VERSIONS)})"
_PATH = re.compile(f"(?:/{PREFIXED})?(?:/{_VERSION})?/upload/{_VERSION}/files")
_ANY_TYPE = "application/octet-stream"
_COMMANDS = "upload", "upload, finalize", "finalize", "query", "cancel"
_HOW = (
    "Say how the bytes come. Resumable: begin with the headers X-Goog-Upload-Protocol: resumable"
    " and X-Goog-Upload-Command: start, then send the bytes to the URL in the answer's"
    " X-Goog-Upload-URL. In one call: X-Goog-Upload-Protocol: raw (or ?uploadType=media) with the"
    " bytes as the body, or multipart (or ?uploadType=multipart) with metadata and bytes."
)
_FORMS = {"media": "raw", "multipart": "multipart", "resumable": "ranged"}
"""What ``?uploadType=`` says, in the words of ``X-Goog-Upload-Protocol``; ``ranged`` is the older
resumable protocol, which has none there."""
_RESUME_INCOMPLETE = 308


class Uploads:
    """Handlers of the upload URLs."""

    def __init__(self, files: Files, public_url: str | None) -> None:
        self._files = files
        self._public_url = public_url

    async def serve(self, request: Request) -> Response:
        """Begin a session, or continue the one that the URL names."""
        upload_id = request.query_params.get("upload_id")
        if upload_id is None:
            return await self._begin(request)
        caller = caller_of(request)
        if caller is not None:  # a key that comes along must be of the tenant who began
            await self._files.query(upload_id, caller)
        if _is_ranged(request):
            return await self._take_range(request, upload_id)
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

    async def _begin(self, request: Request) -> Response:
        form = _form(request)
        if form == "raw":
            return await self._raw(request)
        if form == "multipart":
            return await self._multipart(request)
        if form == "resumable":
            return await self._start(request)
        if form == "ranged":
            return await self._start_ranged(request)
        raise BadRequest(_HOW)

    async def _start(self, request: Request) -> Response:
        upload, url = await self._open(request, f"{_PREFIX}header-")
        url += "&upload_protocol=resumable"
        return _answer(upload, {f"{_PREFIX}url": url, f"{_PREFIX}control-url": url})

    async def _start_ranged(self, request: Request) -> Response:
        """Begin a session whose pieces come by ``PUT`` with a ``Content-Range``."""
        _, url = await self._open(request, "x-upload-")
        return document(b"", headers={"location": f"{url}&uploadType=resumable"})

    async def _open(self, request: Request, prefix: str) -> tuple[Upload, str]:
        """Make a session from the body and the headers; give it and its URL."""
        asked = wire.parse_upload_start(await body.whole(request))
        declared = request.headers.get(f"{prefix}content-type")
        announced = _number(request, f"{prefix}content-length")
        base = base_url(request, self._public_url)
        upload = await self._files.start_upload(
            tenant_of(request),
            display_name=asked.display_name,
            mime_type=asked.mime_type or declared or _ANY_TYPE,
            file_id=asked.file_id,
            announced_bytes=asked.size_bytes if announced is None else announced,
        )
        version = request.path_params["version"]
        return upload, f"{base}/upload/{version}/files?upload_id={upload.upload_id}"

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
        return self._finished(request, await self._files.finalize(upload_id))

    async def _take_range(self, request: Request, upload_id: str) -> Response:
        """Take a piece, or tell where the session stands: 308 until everything has come."""
        asked = parse_content_range(request.headers.get("content-range"))
        sent_bytes = _number(request, "content-length")
        if None not in {asked.length, sent_bytes} and asked.length != sent_bytes:
            message = "The body is not as long as its Content-Range says."
            raise BadRequest(message)
        upload = await self._files.query(upload_id)
        if asked.first_byte is not None:
            async with aclosing(body.pieces(request)) as pieces:
                upload = await self._files.append(upload_id, asked.first_byte, pieces)
        if asked.total_bytes is not None and upload.received_bytes > asked.total_bytes:
            message = (
                f"Content-Range tells of {asked.total_bytes} bytes in all, but"
                f" {upload.received_bytes} were received."
            )
            raise BadRequest(message)
        complete = asked.is_whole or upload.received_bytes == asked.total_bytes
        if complete or upload.state is UploadState.FINAL:
            return self._finished(request, await self._files.finalize(upload_id))
        held = {"range": f"bytes=0-{upload.received_bytes - 1}"} if upload.received_bytes else {}
        return document(b"", _RESUME_INCOMPLETE, {_STATUS: str(upload.state), **held})

    async def _raw(self, request: Request) -> Response:
        """Take a body that is the file; what is known of it stands in headers."""
        declared = request.headers.get(f"{_PREFIX}header-content-type")
        asked = wire.UploadStart(
            display_name=request.headers.get(f"{_PREFIX}file-name") or None,
            mime_type=declared or request.headers.get("content-type"),
            size_bytes=_number(request, "content-length"),
        )
        async with aclosing(body.pieces(request)) as pieces:
            return self._finished(request, await self._store(request, asked, pieces))

    async def _multipart(self, request: Request) -> Response:
        """Take a body of two parts: metadata, which a form may leave out, and the file."""
        content_type = request.headers.get("content-type", "")
        if not content_type.lower().startswith("multipart/"):
            message = "A multipart upload has a Content-Type of multipart/related or form-data."
            raise BadRequest(message)
        async with aclosing(body.pieces(request)) as pieces:
            parts = Parts(pieces, boundary_of(content_type))
            head = await _require_part(parts)
            asked = wire.UploadStart()
            named = parameter(head, "content-disposition", "name")
            if named != "file":
                asked = wire.parse_upload_start(await _metadata(parts))
                head = await _require_part(parts)
            asked = msgspec.structs.replace(
                asked,
                mime_type=asked.mime_type or head.get("content-type"),
                display_name=asked.display_name
                or parameter(head, "content-disposition", "filename")
                or None,
            )
            file = await self._store(request, asked, parts.content(), parts)
        return self._finished(request, file)

    async def _store(
        self,
        request: Request,
        asked: wire.UploadStart,
        pieces: AsyncIterator[bytes],
        parts: Parts | None = None,
    ) -> File:
        """Make a file of bytes that come in one call; when they break off, nothing is kept."""
        upload = await self._files.start_upload(
            tenant_of(request),
            display_name=asked.display_name,
            mime_type=asked.mime_type or _ANY_TYPE,
            file_id=asked.file_id,
            announced_bytes=asked.size_bytes,
        )
        try:
            await self._files.append(upload.upload_id, 0, pieces)
            if parts is not None and await parts.next_head() is not None:
                message = "A multipart upload has two parts: metadata, then the file."
                raise BadRequest(message)
        except Fault:
            await self._files.cancel(upload.upload_id)
            raise
        return await self._files.finalize(upload.upload_id)

    def _finished(self, request: Request, file: File) -> Response:
        content = wire.render_uploaded_file(file, base_url(request, self._public_url))
        headers = {_STATUS: UploadState.FINAL, _SIZE_RECEIVED: str(file.size_bytes)}
        return document(content, headers=headers)


def error_headers(scope: Scope) -> Mapping[str, str]:
    """Give what an error on this request must carry, wherever it is found."""
    path: str = scope["path"]
    return {_STATUS: UploadState.FINAL} if "/upload/" in path else {}


def is_piece(scope: Scope) -> bool:
    """Tell whether a request belongs to a session: the id in its URL is its credential."""
    named = _PATH.fullmatch(scope["path"]) is not None
    return named and "upload_id" in QueryParams(scope["query_string"])


def _answer(upload: Upload, headers: Mapping[str, str] | None = None) -> Response:
    fixed = {
        _STATUS: str(upload.state),
        _SIZE_RECEIVED: str(upload.received_bytes),
        f"{_PREFIX}chunk-granularity": str(limits.UPLOAD_GRANULARITY_BYTES),
    }
    return document(b"{}", headers={**fixed, **(headers or {})})


def _is_ranged(request: Request) -> bool:
    return request.query_params.get("uploadType", "").lower() == "resumable"


def _form(request: Request) -> str | None:
    """Tell how the bytes come: resumable, ranged, raw or multipart; None if nothing says it."""
    headers = request.headers
    protocol = headers.get(f"{_PREFIX}protocol", "").strip().lower()
    if protocol in {"raw", "multipart"}:
        return protocol
    if protocol == "resumable":
        return protocol if _words(request) == {"start"} else None
    if form := request.query_params.get("uploadType", ""):
        return _FORMS.get(form.lower())
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind in {"multipart/related", "multipart/form-data"}:
        return "multipart"
    # Google's JavaScript client doubles the version in the path and drops its upload headers when
    # a call brings HTTP options of its own. Only a start looks like that.
    lost = not any(name.startswith(_PREFIX) for name in headers)
    doubled = "alias" in request.path_params
    return "resumable" if doubled and lost and kind == "application/json" else None


async def _require_part(parts: Parts) -> Mapping[str, str]:
    head = await parts.next_head()
    if head is None:
        message = "A multipart upload has two parts: metadata, then the file."
        raise BadRequest(message)
    return head


async def _metadata(parts: Parts) -> bytes:
    most = limits.LENIENT_BODY_BYTES_MAX
    text = bytearray()
    async for piece in parts.content():
        text += piece
        if len(text) > most:
            message = f"The metadata of a multipart upload have at most {most} bytes."
            raise TooLarge(message)
    return bytes(text)


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
