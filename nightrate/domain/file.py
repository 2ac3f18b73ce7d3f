"""Files and upload sessions."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from nightrate.clock import Instant

RESULT_PREFIX = "batch-"
"""Begins the id of a result file, as Google names them; no uploaded file may be called so."""


ERRORS_SUFFIX = "-errors"
"""Ends the id of a file that holds failures only."""


class ResultPart(StrEnum):
    """Which lines of a batch's results a file holds."""

    OUTPUT = "output"
    """All, or those of successful requests where failures are handed out apart."""
    ERRORS = "errors"


def result_file_id(batch_id: str, part: ResultPart = ResultPart.OUTPUT) -> str:
    """Name a result file of a batch."""
    return RESULT_PREFIX + batch_id + (ERRORS_SUFFIX if part is ResultPart.ERRORS else "")


def batch_of_result(file_id: str) -> str | None:
    """Name the batch that a result file belongs to; None for an uploaded file."""
    if not file_id.startswith(RESULT_PREFIX):
        return None
    return file_id.removeprefix(RESULT_PREFIX).removesuffix(ERRORS_SUFFIX)


def part_of_result(file_id: str) -> ResultPart:
    """Tell which lines a result file holds."""
    return ResultPart.ERRORS if file_id.endswith(ERRORS_SUFFIX) else ResultPart.OUTPUT


class FileSource(StrEnum):
    """Where a file's bytes came from."""

    UPLOADED = "uploaded"
    GENERATED = "generated"


class File(Struct, frozen=True, kw_only=True):
    """Bytes with a name. ``blob`` is None for a result file, whose bytes are a batch's segments."""

    tenant: str
    file_id: str
    blob: str | None
    display_name: str | None
    mime_type: str
    size_bytes: int
    sha256: str | None
    """Lowercase hexadecimal; None for a result file, which is a list of segments."""
    source: FileSource
    created_at: Instant
    updated_at: Instant
    expires_at: Instant
    growing: bool = False
    """Whether it is the result file of a batch that still runs, or is still to be completed."""


class UploadState(StrEnum):
    """Where a resumable upload stands."""

    ACTIVE = "active"
    FINAL = "final"
    CANCELLED = "cancelled"


class Upload(Struct, frozen=True, kw_only=True):
    """A resumable upload session. ``received_bytes`` are synced; the blob may hold a torn tail."""

    tenant: str
    upload_id: str
    file_id: str
    blob: str
    display_name: str | None
    mime_type: str
    received_bytes: int
    state: UploadState
    created_at: Instant


class Page(Struct, frozen=True, kw_only=True):
    """Where a list continues: strictly after (created_at, id), newest first."""

    size: int
    after: tuple[Instant, str] | None = None
    oldest_first: bool = False
    """Where a list can be asked for in either order."""
