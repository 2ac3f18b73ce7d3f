"""Whatever is asked, the answer is one that was meant."""

from __future__ import annotations

import json

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.api.doors import Doors
from tests.api.test_gemini import COUNT, CREATE, GENERATE
from tests.api.test_streams import STREAM

_ANY_TEXT = st.text(st.characters(codec="utf-8"), max_size=12)
_WORDS = [
    "v1",
    "v1beta",
    "upload",
    "download",
    "models",
    "batches",
    "files",
    "cachedContents",
    "gemini",
    ":generateContent",
    ":streamGenerateContent",
    ":countTokens",
    ":download",
    ":cancel",
    ":batchGenerateContent",
    "%3A",
    "%2F",
    "%00",
    "%FF",
    ".",
    "..",
    "a",
    "batch-a",
    "openai",
]
_PATHS = st.sampled_from(
    [
        "upload/v1/files",
        "v1/batches",
        "v1/files",
        "v1/files/a:download",
        "v1/models",
        "v1/batches/b",
        "v1/cachedContents",
        "v1/cachedContents/c",
    ]
) | st.builds(str.join, st.sampled_from(["/", ""]), st.lists(st.sampled_from(_WORDS), max_size=6))
_NAMES = [
    "pageSize",
    "pageToken",
    "upload_id",
    "key",
    "alt",
    "filter",
    "updateMask",
    "dryRun",
    "follow",
    "uploadType",
]
_HEADERS = [
    "X-Goog-Upload-Protocol",
    "X-Goog-Upload-Command",
    "X-Goog-Upload-Offset",
    "Range",
    "If-Range",
    "Content-Encoding",
    "Content-Type",
    "X-Forwarded-Host",
    "X-Forwarded-Prefix",
    "X-Goog-Upload-Header-Content-Length",
    "X-Goog-Upload-Header-Content-Type",
]
_VALUES = [
    "start",
    "upload",
    "finalize",
    "query",
    "resumable",
    "0",
    "1",
    "-1",
    "bytes=0-1",
    "bytes=-5",
    "gzip",
    "a/b",
    "%00",
    "MTox",
    "nobody",
    "true",
]
_MEMBERS = [
    "batch",
    "inputConfig",
    "requests",
    "request",
    "contents",
    "generateContentRequest",
    "parts",
    "text",
    "file",
    "displayName",
]
_BODIES = st.one_of(
    st.binary(max_size=40),
    st.recursive(
        st.none() | st.booleans() | st.integers(-5, 2**70) | st.floats() | _ANY_TEXT,
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(_MEMBERS) | _ANY_TEXT, inner, max_size=3)
        ),
        max_leaves=12,
    ).map(lambda tree: json.dumps(tree).encode()),
)


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(
    method=st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"]),
    path=_PATHS,
    query=st.dictionaries(st.sampled_from(_NAMES), st.sampled_from(_VALUES), max_size=3),
    headers=st.dictionaries(st.sampled_from(_HEADERS), st.sampled_from(_VALUES), max_size=4),
    body=_BODIES,
)
def test_no_request_finds_a_mistake_of_ours(
    doors: Doors,
    method: str,
    path: str,
    query: dict[str, str],
    headers: dict[str, str],
    body: bytes,
) -> None:
    target = f"/{path}?" + "&".join(f"{name}={value}" for name, value in query.items())
    answer = doors.ask(method, target, body, headers)
    assert answer.status in {200, 206, 400, 404, 409, 416, 501}


# One that reaches every handler: the routes with a body, and any body.
@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(
    path=st.sampled_from([GENERATE, STREAM, COUNT, CREATE, "/upload/v1/files"]),
    body=_BODIES,
)
def test_no_body_finds_a_mistake_of_ours(doors: Doors, path: str, body: bytes) -> None:
    start = {"X-Goog-Upload-Protocol": "resumable", "X-Goog-Upload-Command": "start"}
    answer = doors.ask("POST", path, body, start)
    assert answer.status in {200, 400, 404, 409, 501}
