"""Files as OpenAI's clients see them, and what they say when they upload one."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, Literal

from msgspec import Struct, json

from nightrate import limits
from nightrate.dialects.openai_replies import seconds
from nightrate.dialects.refusals import unserved, wrong
from nightrate.dialects.spelling import quoted
from nightrate.domain.file import File, FileSource

PURPOSES: Final = {"batch": FileSource.UPLOADED, "batch_output": FileSource.GENERATED}
"""What files are for. Those that were uploaded are all for batches here."""

_PURPOSE_OF: Final = {source: purpose for purpose, source in PURPOSES.items()}
_OTHER_PURPOSES = "assistants", "fine-tune", "vision", "user_data", "evals"
_SECONDS = range(limits.EXPIRES_AFTER_SECONDS_MIN, limits.EXPIRES_AFTER_SECONDS_MAX + 1)
_ANCHOR = "created_at"
_NUMBER = re.compile(r"[0-9]{1,9}")


class _File(Struct, kw_only=True):
    id: str
    object: Literal["file"] = "file"
    bytes: int
    created_at: int
    expires_at: int
    filename: str
    purpose: str
    status: Literal["processed"] = "processed"
    status_details: None = None


class _Files(Struct, kw_only=True):
    object: Literal["list"] = "list"
    data: list[_File]
    first_id: str | None
    last_id: str | None
    has_more: bool


class _Deleted(Struct):
    id: str
    object: Literal["file"] = "file"
    deleted: Literal[True] = True


def render_file(file: File) -> bytes:
    """Write one file."""
    return json.encode(_document(file))


def render_files(files: Iterable[File], *, has_more: bool) -> bytes:
    """Write one page of files."""
    data = [_document(file) for file in files]
    first, last = (data[0].id, data[-1].id) if data else (None, None)
    return json.encode(_Files(data=data, first_id=first, last_id=last, has_more=has_more))


def render_deleted_file(file_id: str) -> bytes:
    """Write that a file is gone."""
    return json.encode(_Deleted(f"files/{file_id}"))


def check_purpose(purpose: str | None) -> None:
    """Check what an uploaded file is said to be for.

    Raises:
        BadRequest: it is missing or unknown.
        NotSupported: files are not kept for that here.
    """
    if purpose is None:
        raise wrong("purpose", "it is missing.")
    if purpose in _OTHER_PURPOSES:
        raise unserved("purpose", 'Use "batch".')
    if purpose != "batch":
        raise wrong("purpose", f'"{quoted(purpose)}" is not "batch".')


def expiry_seconds(anchor: str | None, after: str | None) -> int | None:
    """Read for how long a file is to be kept; None for the usual time.

    Raises:
        BadRequest: it is half said, or a value is out of its bounds.
    """
    if anchor is None and after is None:
        return None
    found = _NUMBER.fullmatch(after or "")
    return check_expiry(anchor, int(found[0]) if found else -1, "expires_after")


def check_expiry(anchor: str | None, after: int, at: str) -> int:
    """Check for how long a file is to be kept.

    Raises:
        BadRequest: a value is out of its bounds.
    """
    if anchor != _ANCHOR:
        raise wrong(f"{at}.anchor", f'it must be "{_ANCHOR}".')
    if after not in _SECONDS:
        raise wrong(f"{at}.seconds", f"it must be {_SECONDS[0]} to {_SECONDS[-1]}.")
    return after


def _document(file: File) -> _File:
    return _File(
        id=f"files/{file.file_id}",
        bytes=file.size_bytes,
        created_at=seconds(file.created_at),
        expires_at=seconds(file.expires_at),
        filename=file.display_name or file.file_id,
        purpose=_PURPOSE_OF[file.source],
    )
