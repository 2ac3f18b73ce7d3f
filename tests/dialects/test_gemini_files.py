"""Files and the start of an upload."""

from __future__ import annotations

import base64
import json
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightrate.dialects.gemini import (
    UploadStart,
    parse_upload_start,
    render_file,
    render_files,
    render_uploaded_file,
)
from nightrate.domain.file import File, FileSource
from nightrate.errors import BadRequest

NOON = 1_769_083_200_000_000
DIGEST = "ab" * 32
UPLOADED = File(
    tenant="t",
    file_id="f1",
    blob="b",
    display_name="my file",
    mime_type="jsonl",
    size_bytes=12,
    sha256=DIGEST,
    source=FileSource.UPLOADED,
    created_at=NOON,
    updated_at=NOON,
    expires_at=NOON + 1,
)
GENERATED = msgspec.structs.replace(
    UPLOADED, file_id="batch-b1", source=FileSource.GENERATED, sha256=None, display_name=None
)


@pytest.mark.parametrize("body", [b"", b" \n", b"{}", b'{"file":{}}', b'{"file":null}'])
def test_a_start_may_say_nothing(body: bytes) -> None:
    assert parse_upload_start(body) == UploadStart()


@pytest.mark.parametrize(
    "file",
    [
        {"displayName": "d", "mimeType": "jsonl", "name": "files/my-1", "sizeBytes": "12"},
        {"display_name": "d", "mime_type": "jsonl", "name": "my-1", "size_bytes": 12},
    ],
)
def test_a_start_is_read_in_both_spellings(file: dict[str, object]) -> None:
    start = parse_upload_start(msgspec.json.encode({"file": file}))
    assert start == UploadStart(display_name="d", mime_type="jsonl", file_id="my-1", size_bytes=12)


def test_a_start_may_be_quoted_as_in_a_shell() -> None:
    start = parse_upload_start(b"{'file': {'display_name': 'BatchInput'}}")
    assert start == UploadStart(display_name="BatchInput")


def test_what_only_the_service_sets_is_passed_over() -> None:
    body = b'{"file":{"uri":"u","state":"ACTIVE","sha256Hash":"x","mimeType":"","name":""}}'
    assert parse_upload_start(body) == UploadStart()


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ({"displayName": "x" * 513}, "file.displayName: it has 513 characters"),
        ({"name": "files/A"}, 'file.name: "files/A" is not "files/" and at most 40'),
        ({"name": "-a"}, "file.name: "),
        ({"name": "a-"}, "file.name: "),
        ({"name": "a/b"}, "file.name: "),
        ({"name": "a" * 41}, "file.name: "),
        ({"name": "batch-x"}, 'file.name: names that begin with "batch-" are for results.'),
        ({"mime_type": "text/x\r\nevil: 1"}, "file.mime_type: it is not a short text of printable"),
        ({"mimeType": "é"}, "file.mimeType: "),
        ({"mimeType": "x" * 256}, "file.mimeType: "),
        ({"mimeType": " x"}, "file.mimeType: "),
        ({"sizeBytes": -1}, "file.sizeBytes: it is not a size."),
        ({"sizeBytes": 2**63}, "file.sizeBytes: it is not a size."),
        ({"sizeBytes": "many"}, "Invalid value at 'file.sizeBytes': expected `int`, got `str`."),
        ({"size": 1}, "Unknown name \"size\" at 'file': Cannot find field."),
    ],
)
def test_a_wrong_start_is_refused_with_the_field(file: dict[str, object], message: str) -> None:
    with pytest.raises(BadRequest) as refused:
        parse_upload_start(msgspec.json.encode({"file": file}))
    assert message in refused.value.message
    assert refused.value.field == f"file.{next(iter(file))}"


def test_a_start_without_its_wrapper_is_refused_with_the_remedy() -> None:
    with pytest.raises(BadRequest, match=r'Put it inside "file"\.'):
        parse_upload_start(b'{"display_name": "d"}')


@given(st.binary(max_size=40))
def test_any_bytes_are_a_start_or_refused(body: bytes) -> None:
    with suppress(BadRequest):
        assert parse_upload_start(body) == UploadStart()


def test_an_uploaded_file_has_everything_but_a_download() -> None:
    assert json.loads(render_file(UPLOADED, "http://h:1/p")) == {
        "name": "files/f1",
        "mimeType": "jsonl",
        "sizeBytes": "12",
        "createTime": "2026-01-22T12:00:00Z",
        "updateTime": "2026-01-22T12:00:00Z",
        "expirationTime": "2026-01-22T12:00:00.000001Z",
        "uri": "http://h:1/p/v1beta/files/f1",
        "state": "ACTIVE",
        "source": "UPLOADED",
        "displayName": "my file",
        "sha256Hash": base64.b64encode(DIGEST.encode()).decode(),
    }


def test_a_result_file_can_be_downloaded_and_has_no_digest() -> None:
    shown = json.loads(render_file(GENERATED, "http://h"))
    assert shown["downloadUri"] == "http://h/v1beta/files/batch-b1:download?alt=media"
    assert shown["source"] == "GENERATED"
    assert not {"sha256Hash", "displayName"} & shown.keys()


def test_a_file_is_printed_with_its_name_first() -> None:
    assert render_file(UPLOADED, "http://h").startswith(b'{\n  "name": "files/f1",\n')


def test_the_end_of_an_upload_wraps_the_file() -> None:
    wrapped = json.loads(render_uploaded_file(UPLOADED, "http://h"))
    assert wrapped == {"file": json.loads(render_file(UPLOADED, "http://h"))}


def test_a_page_lists_files_and_where_to_go_on() -> None:
    def page(files: list[File], token: str | None) -> dict[str, Any]:
        read: dict[str, Any] = json.loads(render_files(files, token, "http://h"))
        return read

    both = page([UPLOADED, GENERATED], "next")
    assert [file["name"] for file in both["files"]] == ["files/f1", "files/batch-b1"]
    assert both["nextPageToken"] == "next"
    assert "nextPageToken" not in page([UPLOADED], None)
    assert page([], None) == {}
