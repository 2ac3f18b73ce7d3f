"""A small client in five calls, for programs that were written to an older module's shape.

::

    from nightrate import client as genai

    file = genai.upload_file(path="requests.jsonl")
    job = genai.create_batch_job(model="gemini-2.5-flash", requests=file)
    job = genai.get_batch_job(name=job.name)

The address comes from `configure`, else from ``GOOGLE_GEMINI_BASE_URL``, else it is that of a
server on this machine; the key from `configure`, else from ``GOOGLE_API_KEY`` or
``GEMINI_API_KEY``.
"""

from __future__ import annotations

import mimetypes
import os
from collections.abc import Mapping, Sequence
from enum import Enum
from http.client import HTTPResponse
from pathlib import Path
from typing import Any

from msgspec import Struct, field, json

from nightrate import limits
from nightrate.remote import DEFAULT_BASE_URL, VERSION, CallFailed, Remote, require_http

__all__ = [
    "BatchJob",
    "CallFailed",
    "JobError",
    "JobState",
    "RemoteFile",
    "configure",
    "create_batch_job",
    "download_file",
    "get_batch_job",
    "upload_file",
]

_JSON_LINES = "application/jsonl"
_OPTIONS = {"display_name": "displayName", "priority": "priority"}
_configured: dict[str, str] = {}


class JobState(Enum):
    """Where a job stands; the name of a member is what the wire says."""

    JOB_STATE_PENDING = "pending"
    JOB_STATE_RUNNING = "running"
    JOB_STATE_SUCCEEDED = "succeeded"
    JOB_STATE_FAILED = "failed"
    JOB_STATE_CANCELLED = "cancelled"
    JOB_STATE_EXPIRED = "expired"


class RemoteFile(Struct, frozen=True, rename="camel"):
    """A file on the server. Of a result file only the name is known before it is asked for."""

    name: str
    display_name: str | None = None
    mime_type: str | None = None
    size_bytes: str | None = None
    uri: str | None = None


class JobError(Struct, frozen=True):
    """Why a job as a whole did not succeed."""

    code: int
    message: str

    def __str__(self) -> str:
        """Say it to a person."""
        return f"{self.message} (code {self.code})"


class BatchJob(Struct, frozen=True, kw_only=True):
    """A batch as it stood when it was asked for."""

    name: str
    state: JobState
    model: str
    display_name: str
    result_file: RemoteFile | None = None
    """The answers of a job over a file, once it succeeded."""
    responses: Sequence[Mapping[str, Any]] | None = None
    """The answers to inline requests, once the job succeeded, as the wire has them."""
    error: JobError | None = None


class _Metadata(Struct, rename="camel"):
    state: str
    model: str = ""
    display_name: str = ""


class _Inner(Struct, rename="camel"):
    inlined_responses: list[dict[str, Any]] = field(default_factory=list)


class _Response(Struct, rename="camel"):
    responses_file: str | None = None
    inlined_responses: _Inner | None = None


class _Job(Struct):
    name: str
    metadata: _Metadata
    response: _Response | None = None
    error: JobError | None = None


class _Wrapped(Struct):
    file: RemoteFile


def configure(*, api_key: str | None = None, base_url: str | None = None) -> None:
    """Set the key and the address of all further calls; what is None keeps its value.

    Raises:
        ValueError: the address is not one of HTTP.
    """
    if base_url is not None:
        require_http(base_url)
        _configured["base_url"] = base_url
    if api_key is not None:
        _configured["api_key"] = api_key


def upload_file(
    path: str | os.PathLike[str],
    *,
    display_name: str | None = None,
    mime_type: str | None = None,
) -> RemoteFile:
    """Upload a file, a piece at a time.

    Args:
        path: where it lies.
        display_name: any text for people; None for the name of the file.
        mime_type: None to tell it by the ending; ``.jsonl`` is known.

    Raises:
        CallFailed: the server refused it, or could not be reached.
        OSError: the file cannot be read.
    """
    source = Path(path)
    server = _remote()
    with source.open("rb") as content:
        size = source.stat().st_size
        kind = mime_type or _type_of(source)
        start = json.encode({"file": {"displayName": display_name or source.name}})
        headers = {
            "X-Goog-Upload-Protocol": "resumable",
            "X-Goog-Upload-Command": "start",
            "X-Goog-Upload-Header-Content-Length": str(size),
            "X-Goog-Upload-Header-Content-Type": kind,
            "Content-Type": "application/json",
        }
        with server.open(
            "POST", f"{server.base_url}/upload/{VERSION}/files", start, headers
        ) as answer:
            url = answer.headers["X-Goog-Upload-URL"]
        if url is None:
            raise CallFailed("The server's answer names no URL for the bytes of the file.")
        offset = 0
        piece = content.read(limits.CLIENT_PIECE_BYTES)
        while True:
            following = content.read(limits.CLIENT_PIECE_BYTES)
            command = "upload" if following else "upload, finalize"
            headers = {
                "X-Goog-Upload-Command": command,
                "X-Goog-Upload-Offset": str(offset),
                "Content-Type": "application/octet-stream",
            }
            with server.open("POST", url, piece, headers) as answer:
                body = answer.read()
            if not following:
                return json.decode(body, type=_Wrapped).file
            offset += len(piece)
            piece = following


def create_batch_job(
    *,
    model: str,
    requests: RemoteFile | str | Sequence[Mapping[str, Any] | str],
    config: Mapping[str, Any] | None = None,
) -> BatchJob:
    """Create a batch.

    Args:
        model: with or without ``models/``.
        requests: an uploaded file, its name, or the requests themselves: prompts as text, bodies of
            ``generateContent``, or ``{"request": ..., "metadata": ...}``.
        config: ``display_name`` and ``priority``.

    Raises:
        CallFailed: the server refused it, or could not be reached.
        ValueError: an option that there is not.
    """
    unknown = sorted(set(config or {}) - set(_OPTIONS))
    if unknown:
        raise ValueError(f"config has {', '.join(unknown)}, and may have {', '.join(_OPTIONS)}")
    batch: dict[str, Any] = {_OPTIONS[name]: value for name, value in (config or {}).items()}
    if isinstance(requests, RemoteFile | str):
        name = requests if isinstance(requests, str) else requests.name
        batch["inputConfig"] = {"fileName": name}
    else:
        batch["inputConfig"] = {"requests": {"requests": [_item(one) for one in requests]}}
    resource = model if "/" in model else f"models/{model}"
    body = json.encode({"batch": batch})
    return _job(_remote().document("POST", f"{resource}:batchGenerateContent", body))


def get_batch_job(name: str) -> BatchJob:
    """Ask where a job stands.

    Raises:
        CallFailed: there is no such job, or the server could not be reached.
    """
    return _job(_remote().document("GET", name))


def download_file(name: str) -> HTTPResponse:
    """Open a file for reading: ``read()`` gives its bytes, and iterating over it its lines.

    Raises:
        CallFailed: there is no such file, or the server could not be reached.
    """
    return _remote().download(name)


def _type_of(path: Path) -> str:
    if path.suffix.lower() in {".jsonl", ".ndjson"}:
        return _JSON_LINES
    return mimetypes.guess_type(path.name)[0] or "application/octet-stream"


def _item(request: Mapping[str, Any] | str) -> Mapping[str, Any]:
    if isinstance(request, str):
        return {"request": {"contents": [{"role": "user", "parts": [{"text": request}]}]}}
    return request if "request" in request else {"request": request}


def _job(body: bytes) -> BatchJob:
    document = json.decode(body, type=_Job)
    response = document.response or _Response()
    inner = response.inlined_responses
    return BatchJob(
        name=document.name,
        # Google's own service says BATCH_STATE_*.
        state=JobState[document.metadata.state.replace("BATCH_", "JOB_", 1)],
        model=document.metadata.model,
        display_name=document.metadata.display_name,
        result_file=RemoteFile(response.responses_file) if response.responses_file else None,
        responses=inner.inlined_responses if inner is not None else None,
        error=document.error,
    )


def _remote() -> Remote:
    return Remote(_base_url(), _api_key())


def _base_url() -> str:
    told = _configured.get("base_url") or os.environ.get("GOOGLE_GEMINI_BASE_URL")
    return (told or DEFAULT_BASE_URL).rstrip("/")


def _api_key() -> str:
    return (
        _configured.get("api_key")
        or os.environ.get("GOOGLE_API_KEY")
        or os.environ.get("GEMINI_API_KEY", "")
    )
