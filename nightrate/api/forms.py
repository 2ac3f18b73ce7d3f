"""A file that comes in a form, with what is said about it in fields of the form, in any order."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

from nightrate import limits
from nightrate.api import body
from nightrate.api.auth import tenant_of
from nightrate.api.multipart import Parts, boundary_of, parameter
from nightrate.dialects import openai as wire
from nightrate.domain.file import File, Upload
from nightrate.errors import BadRequest, Fault, TooLarge

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request

    from nightrate.service.files import Files

_FILE = "file"
_PURPOSE = "purpose"
_ANCHOR = "expires_after[anchor]"
_SECONDS = "expires_after[seconds]"
_FIELDS = _PURPOSE, _ANCHOR, _SECONDS
_ANY_TYPE = "application/octet-stream"


async def receive_file(request: Request, files: Files) -> File:
    """Take the form that uploads a file; when it breaks off or is wrong, nothing is kept.

    Raises:
        BadRequest: it is no such form, or a field of it is wrong.
        TooLarge, OverQuota: the file does not fit.
    """
    content_type = request.headers.get("content-type", "")
    if not content_type.lower().startswith("multipart/form-data"):
        message = f'Send a form (multipart/form-data) with "{_FILE}" and "{_PURPOSE}".'
        raise BadRequest(message)
    form = _Form(tenant_of(request), files)
    try:
        async with aclosing(body.pieces(request)) as pieces:
            await form.read(Parts(pieces, boundary_of(content_type)))
        return await form.finish()
    except Fault:
        await form.drop()
        raise


class _Form:
    """A form as far as it has been read."""

    def __init__(self, tenant: str, files: Files) -> None:
        self._tenant = tenant
        self._files = files
        self._fields: dict[str, str] = {}
        self._upload: Upload | None = None

    async def read(self, parts: Parts) -> None:
        """Read every part: the file goes to the disk as it comes."""
        for _ in range(limits.FORM_FIELDS_MAX):
            head = await parts.next_head()
            if head is None:
                return
            name = parameter(head, "content-disposition", "name")
            if name == _FILE:
                await self._take(parts, head)
            elif name in _FIELDS:
                self._fields[name] = await _text(parts, name)
            else:
                message = f"The form has a field that is none of {', '.join((_FILE, *_FIELDS))}."
                raise BadRequest(message, field=name)
        message = f"The form has more than {limits.FORM_FIELDS_MAX} parts."
        raise TooLarge(message)

    async def _take(self, parts: Parts, head: Mapping[str, str]) -> None:
        if self._upload is not None:
            message = f'The form has "{_FILE}" twice.'
            raise BadRequest(message, field=_FILE)
        self._upload = await self._files.start_upload(
            self._tenant,
            display_name=parameter(head, "content-disposition", "filename") or None,
            mime_type=head.get("content-type") or _ANY_TYPE,
            file_id=None,
        )
        await self._files.append(self._upload.upload_id, 0, parts.content())

    async def finish(self) -> File:
        """Make the file, now that everything is known about it."""
        wire.check_purpose(self._fields.get(_PURPOSE))
        kept_seconds = wire.expiry_seconds(self._fields.get(_ANCHOR), self._fields.get(_SECONDS))
        if self._upload is None:
            message = f"{_FILE}: it is missing."
            raise BadRequest(message, field=_FILE)
        lifetime_seconds = kept_seconds or limits.FILE_LIFETIME_SECONDS
        return await self._files.finalize(self._upload.upload_id, lifetime_seconds)

    async def drop(self) -> None:
        """Keep nothing."""
        if self._upload is not None:
            await self._files.cancel(self._upload.upload_id)


async def _text(parts: Parts, name: str) -> str:
    text = bytearray()
    async for piece in parts.content():
        text += piece
        if len(text) > limits.FORM_FIELD_BYTES_MAX:
            message = f"{name}: it is longer than {limits.FORM_FIELD_BYTES_MAX} bytes."
            raise TooLarge(message, field=name)
    return text.decode(errors="replace")
