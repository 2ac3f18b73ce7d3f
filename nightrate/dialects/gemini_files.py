"""Files and the start of an upload."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from typing import Final

import msgspec
from msgspec import Struct, json

from nightrate import limits
from nightrate.clock import rfc3339
from nightrate.dialects import tolerant
from nightrate.dialects.gemini_shapes import (
    FileBody,
    FileDocument,
    FilesDocument,
    UploadBody,
    WrappedFileDocument,
)
from nightrate.dialects.refusals import located, wrong
from nightrate.dialects.spelling import Shape, quoted
from nightrate.domain.file import RESULT_PREFIX, File, FileSource
from nightrate.errors import Refused

_ID = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?", re.ASCII)
_REFERENCE = re.compile(r"(?:https?://[^?#]*/)?(?:files/)?([^/?#:]+)(?::download)?(?:[?#].*)?")
_MIME_TYPE = re.compile(r"[!-~](?:[ -~]*[!-~])?", re.ASCII)
"""Printable ASCII, for it goes back in a header. It need not be a type: ``jsonl`` is in use."""

_INT64_MAX = 2**63 - 1
_UPLOAD: Final = Shape(
    UploadBody,
    {
        UploadBody: {
            member.encode_name: 'Put it inside "file".'
            for member in msgspec.structs.fields(FileBody)
        }
    },
)


class UploadStart(Struct, frozen=True, kw_only=True):
    """What a client says about a file before its bytes; every member may be missing."""

    display_name: str | None = None
    mime_type: str | None = None
    file_id: str | None = None
    size_bytes: int | None = None


def parse_upload_start(body: bytes) -> UploadStart:
    """Read the body that starts an upload; it may be empty.

    Raises:
        BadRequest: it is malformed, or a value cannot be used.
    """
    if not body.strip():
        return UploadStart()
    tree = tolerant.loads(body)
    file = _UPLOAD.read(tree).file
    if file is None:
        return UploadStart()
    try:
        return UploadStart(
            display_name=display_name(file.display_name, "file.displayName"),
            mime_type=_mime_type(file.mime_type),
            file_id=_own_id(file.name),
            size_bytes=_size(file.size_bytes),
        )
    except Refused as error:
        raise located(error, tree, "") from error


def display_name(name: str | None, path: str) -> str | None:
    """Check a display name; an empty one is absent.

    Raises:
        BadRequest: it is too long.
    """
    most = limits.DISPLAY_NAME_CHARACTERS_MAX
    if name and len(name) > most:
        raise wrong(path, f"it has {len(name)} characters, and at most {most} are allowed.")
    return name or None


def file_id(reference: str, path: str) -> str:
    """Read a reference to a file: ``files/ID``, a bare id or its URI.

    Raises:
        BadRequest: it is none of these.
    """
    found = _REFERENCE.fullmatch(reference)
    if found is None or not _ID.fullmatch(found[1]):
        raise wrong(path, f'"{quoted(reference)}" is no file name such as "files/abc-123".')
    return found[1]


def render_file(file: File, base_url: str) -> bytes:
    """Write one file. ``base_url`` is this server as the client sees it, without a last slash."""
    return json.format(json.encode(_document(file, base_url)), indent=2)


def render_uploaded_file(file: File, base_url: str) -> bytes:
    """Write a file in the wrapper that ends an upload."""
    wrapped = WrappedFileDocument(_document(file, base_url))
    return json.format(json.encode(wrapped), indent=2)


def render_files(files: Iterable[File], next_token: str | None, base_url: str) -> bytes:
    """Write one page of files."""
    page = FilesDocument([_document(file, base_url) for file in files], next_token)
    return json.format(json.encode(page), indent=2)


def _document(file: File, base_url: str) -> FileDocument:
    uri = f"{base_url}/v1beta/files/{file.file_id}"
    sha256 = file.sha256
    generated = file.source is FileSource.GENERATED
    return FileDocument(
        name=f"files/{file.file_id}",
        mime_type=file.mime_type,
        size_bytes=str(file.size_bytes),
        create_time=rfc3339(file.created_at),
        update_time=rfc3339(file.updated_at),
        expiration_time=rfc3339(file.expires_at),
        uri=uri,
        state="ACTIVE",
        source="GENERATED" if generated else "UPLOADED",
        display_name=file.display_name,
        # The original encodes the hexadecimal text, not the 32 bytes.
        sha256_hash=base64.b64encode(sha256.encode()).decode() if sha256 else None,
        download_uri=f"{uri}:download?alt=media" if generated else None,
    )


def _own_id(name: str | None) -> str | None:
    """Check the name a client wishes for."""
    if not name:
        return None
    wish = name.removeprefix("files/")
    most = limits.FILE_ID_CHARACTERS_MAX
    if len(wish) > most or not _ID.fullmatch(wish):
        raise wrong(
            "file.name",
            f'"{quoted(name)}" is not "files/" and at most {most} of a-z, 0-9 and inner dashes.',
        )
    if wish.startswith(RESULT_PREFIX):
        raise wrong("file.name", f'names that begin with "{RESULT_PREFIX}" are for results.')
    return wish


def _mime_type(mime_type: str | None) -> str | None:
    if not mime_type:
        return None
    if len(mime_type) > limits.MIME_TYPE_CHARACTERS_MAX or not _MIME_TYPE.fullmatch(mime_type):
        raise wrong("file.mimeType", "it is not a short text of printable ASCII.")
    return mime_type


def _size(size_bytes: int | None) -> int | None:
    if size_bytes is not None and not 0 <= size_bytes <= _INT64_MAX:
        raise wrong("file.sizeBytes", "it is not a size.")
    return size_bytes
