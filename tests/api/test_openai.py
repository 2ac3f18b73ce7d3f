"""OpenAI's own Python client at the doors, unmodified, told only where they are."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import OpenAI
from pydantic import BaseModel

from nightrate import limits
from nightrate.domain.key import KeyWish
from tests.api.doors import Doors, opened

MODEL = "gemini-2.5-flash"
VECTORS = "gemini-embedding-001"
BASE = "/v1beta/openai"


def make_client(url: str) -> OpenAI:
    return OpenAI(api_key="any", base_url=url, max_retries=0)


@pytest.fixture(scope="module")
def client(doors: Doors) -> Iterator[OpenAI]:
    with make_client(f"{doors.url}{BASE}/") as client:
        yield client


def ask(client: Any, text: str = "hello", **options: Any) -> Any:
    messages = [{"role": "user", "content": text}]
    return client.chat.completions.create(model=MODEL, messages=messages, **options)


def upload(client: OpenAI, name: str = "in.jsonl", content: bytes = b"{}\n") -> str:
    return client.files.create(file=(name, content), purpose="batch").id


def order(client: OpenAI, content: bytes | None = None, **options: Any) -> Any:
    body = {"model": MODEL, "messages": [{"role": "user", "content": "x"}]}
    row = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": body}
    wanted: dict[str, Any] = {
        "input_file_id": upload(client, content=content or json.dumps(row).encode()),
        "endpoint": "/v1/chat/completions",
        "completion_window": "24h",
    }
    return client.batches.create(**{**wanted, **options})


def form(*fields: tuple[str, str | None, bytes]) -> bytes:
    """Write a form of parts: a name, the name of a file, and bytes."""
    parts = []
    for name, file_name, content in fields:
        named = f'; filename="{file_name}"' if file_name else ""
        head = f'--B\r\nContent-Disposition: form-data; name="{name}"{named}\r\n\r\n'
        parts.append(head.encode() + content + b"\r\n")
    return b"".join(parts) + b"--B--\r\n"


# live -----------------------------------------------------------------------------------------


def test_a_chat_is_answered(client: OpenAI) -> None:
    reply = ask(client, "hello there", max_tokens=2)
    assert reply.choices[0].message.content == "hello th"
    assert reply.choices[0].finish_reason == "length"
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + 2
    assert reply.model == "echo"


@pytest.mark.parametrize(
    "path", ["/v1/openai", "/v1alpha/openai/", "/exact/v1beta/openai", "/v1beta"]
)
def test_a_chat_is_answered_under_every_path(doors: Doors, path: str) -> None:
    with make_client(doors.url + path) as client:
        assert ask(client).choices[0].message.content == "hello"


def test_a_chat_is_streamed_piece_by_piece_with_its_usage(client: OpenAI) -> None:
    options = {"stream": True, "stream_options": {"include_usage": True}}
    chunks = list(ask(client, "hello there", **options))
    texts = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert "".join(texts) == "hello there"
    assert len(texts) > 3
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].usage.completion_tokens == 3


def test_a_stream_that_cannot_begin_is_an_error(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, "[[fail 3]]", stream=True)
    assert caught.value.code == "invalid_value"


def test_a_stream_that_breaks_off_raises_in_the_middle(client: OpenAI) -> None:
    texts: list[str] = []
    stream = ask(client, "[[break 14]] and so on", stream=True)
    with pytest.raises(openai.APIError, match="script failed"):
        texts.extend(chunk.choices[0].delta.content or "" for chunk in stream)
    assert "".join(texts) == "[[br"


def test_a_stream_ends_with_its_closing_word(doors: Doors) -> None:
    body = {"model": MODEL, "stream": True, "messages": [{"role": "user", "content": "x"}]}
    answer = doors.ask("POST", f"{BASE}/chat/completions", json.dumps(body).encode())
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.body.endswith(b"\n\ndata: [DONE]\n\n")


def test_vectors_are_made_packed_and_as_numbers(client: OpenAI) -> None:
    packed = client.embeddings.create(model=VECTORS, input=["one", "two"], dimensions=8)
    plain = client.embeddings.create(
        model=VECTORS, input=["one", "two"], dimensions=8, encoding_format="float"
    )
    assert [one.index for one in packed.data] == [0, 1]
    assert len(packed.data[0].embedding) == 8
    for one, other in zip(packed.data, plain.data, strict=True):
        assert one.embedding == pytest.approx(other.embedding, abs=1e-7)
    assert packed.usage.total_tokens == packed.usage.prompt_tokens > 0
    alone = client.embeddings.create(model=VECTORS, input="two", dimensions=8)
    assert alone.data[0].embedding == packed.data[1].embedding


def test_an_embedding_that_fails_fails_the_call(client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError):
        client.embeddings.create(model=VECTORS, input=["one", "[[fail 5]]"])


class Recipe(BaseModel):
    """What a client wants to read."""

    name: str
    minutes: int


def test_an_answer_keeps_a_schema(client: OpenAI) -> None:
    reply = client.chat.completions.parse(
        model=MODEL, messages=[{"role": "user", "content": "A recipe."}], response_format=Recipe
    )
    assert isinstance(reply.choices[0].message.parsed, Recipe)
    loose = ask(client, response_format={"type": "json_object"})
    assert isinstance(json.loads(loose.choices[0].message.content), dict)


def test_a_picture_is_drawn(client: OpenAI) -> None:
    drawn = client.images.generate(
        model="gemini-3-pro-image-preview", prompt="A river.", size="512x256"
    )
    assert drawn.data is not None
    (picture,) = drawn.data
    assert picture.b64_json is not None
    data = base64.b64decode(picture.b64_json)
    assert data.startswith(b"\x89PNG")
    assert (int.from_bytes(data[16:20]), int.from_bytes(data[20:24])) == (512, 256)
    with pytest.raises(openai.NotFoundError):
        client.images.generate(model="gemini-3-pro-image-preview", prompt="[[fail 5]]")


def test_a_cached_content_is_continued(client: OpenAI, doors: Doors) -> None:
    kept = {"model": MODEL, "contents": "a long book", "systemInstruction": "Be brief."}
    name = doors.ask("POST", "/v1/cachedContents", json.dumps(kept).encode()).json["name"]
    extra = {"extra_body": {"google": {"cached_content": name}}}
    reply = ask(client, "hello", extra_body=extra)
    assert reply.choices[0].message.content == "hello"
    assert reply.usage.prompt_tokens_details.cached_tokens > 0
    chunks = list(ask(client, "hello", extra_body=extra, stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "hello"
    with pytest.raises(openai.APIStatusError, match="nowhere"):
        ask(client, extra_body={"google": {"cached_content": "cachedContents/nowhere"}})


def test_a_wrong_key_is_told_so(tmp_path: Path) -> None:
    with opened(tmp_path) as guarded:
        key = guarded.call(guarded.keys.create(KeyWish(tenant="ours")))[1]
        with make_client(guarded.url + BASE) as client:
            with pytest.raises(openai.AuthenticationError) as caught:
                client.models.list()
            assert caught.value.code == "invalid_api_key"
            mine = client.with_options(api_key=key)
            name = upload(mine)
            assert mine.files.retrieve(name).id == name
        answer = guarded.ask("GET", f"{BASE}/models")
        assert (answer.status, answer.json["error"]["code"]) == (403, "invalid_api_key")


# errors ---------------------------------------------------------------------------------------


def test_a_wrong_value_is_named(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, temperature=9)
    assert (caught.value.param, caught.value.code) == ("temperature", "invalid_value")


def test_an_option_that_is_not_served_is_named_and_not_tried_again(doors: Doors) -> None:
    with (
        OpenAI(api_key="any", base_url=doors.url + BASE, max_retries=2) as client,
        pytest.raises(openai.BadRequestError) as caught,
    ):
        ask(client, logit_bias={"1": 2})
    assert (caught.value.param, caught.value.code) == ("logit_bias", "unsupported_parameter")


def test_a_failure_of_the_engine_is_an_error(client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError):
        ask(client, "[[fail 5]]")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", f"{BASE}/fine_tuning/jobs", 404),
        ("GET", BASE, 404),
        ("PUT", f"{BASE}/batches", 404),
        ("POST", f"{BASE}/batches/b1", 404),
        ("POST", f"{BASE}/batches/b1/stop", 404),
        ("GET", f"{BASE}/batches/x/y", 404),
        ("GET", f"{BASE}/files/files/x/y", 404),
        ("GET", f"{BASE}/models/models/a-tts", 404),
        ("GET", "/v1/chat/completions", 404),
        ("GET", f"/exact{BASE}/files/none", 404),
        ("POST", f"{BASE}/images/generations", 400),
        ("POST", "/v1/images/generations", 400),
        ("POST", f"{BASE}/chat/completions", 400),
        ("GET", f"{BASE}/batches?limit=0", 400),
        ("GET", f"{BASE}/batches?limit=101", 400),
        ("GET", f"{BASE}/batches?limit=x", 400),
        ("GET", f"{BASE}/files?order=up", 400),
        ("GET", f"{BASE}/batches?after=batches/none", 404),
        ("GET", f"{BASE}/files?after=none", 404),
    ],
)
def test_every_error_has_openais_form(doors: Doors, method: str, path: str, status: int) -> None:
    answer = doors.ask(method, path, b"{" if method == "POST" else None)
    assert answer.status == status
    error = answer.json["error"]
    assert set(error) == {"message", "type", "param", "code", "status"}
    assert (error["type"] == "server_error") is (status >= 500)


def test_a_picture_that_a_filter_let_not_through_is_an_error_that_says_so(doors: Doors) -> None:
    for order in ("block", "withhold"):
        body = {"model": "gemini-2.5-flash-image", "prompt": f"a cat [[{order} IMAGE_SAFETY]]"}
        answer = doors.ask("POST", f"{BASE}/images/generations", json.dumps(body).encode())
        assert answer.status == 400
        assert "(IMAGE_SAFETY)" in answer.json["error"]["message"]


def test_what_cannot_be_served_at_all_is_not_to_be_tried_again(doors: Doors) -> None:
    headers = {"Content-Encoding": "gzip"}
    answer = doors.ask("POST", f"{BASE}/chat/completions", b"{}", headers)
    assert answer.status == 501
    assert answer.headers["x-should-retry"] == "false"


def test_a_body_that_is_too_large_has_openais_form(doors: Doors) -> None:
    headers = {"Content-Length": str(limits.BODY_BYTES_MAX + 1)}
    answer = doors.ask("POST", f"{BASE}/chat/completions", b"", headers)
    assert answer.status == 400
    assert "larger than" in answer.json["error"]["message"]


def test_an_error_elsewhere_keeps_its_own_form(doors: Doors) -> None:
    assert doors.ask("GET", "/v1beta/openaix").error[0] == 404
    assert doors.ask("GET", "/v1beta/models/none/openai").error[0] == 404


# models ---------------------------------------------------------------------------------------


def test_models_are_listed_and_found_by_any_name(client: OpenAI) -> None:
    assert f"models/{MODEL}" in {model.id for model in client.models.list()}
    for name in (f"models/{MODEL}", MODEL):
        assert client.models.retrieve(name).id == f"models/{MODEL}"


# files ----------------------------------------------------------------------------------------


def test_a_file_goes_up_and_is_found_read_and_deleted(client: OpenAI) -> None:
    content = bytes(range(256)) * 40_000
    file = client.files.create(
        file=("in.jsonl", content),
        purpose="batch",
        expires_after={"anchor": "created_at", "seconds": 3600},
    )
    assert (file.filename, file.bytes, file.purpose) == ("in.jsonl", len(content), "batch")
    assert file.expires_at == file.created_at + 3600
    assert file.id.startswith("files/")
    for name in (file.id, file.id.removeprefix("files/")):
        assert client.files.retrieve(name) == file
        assert client.files.content(name).read() == content
    assert client.files.delete(file.id).deleted
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(file.id)


def test_the_other_client_sees_the_same_file(client: OpenAI, doors: Doors) -> None:
    name = upload(client, content=b"abc")
    assert doors.ask("GET", f"/v1beta/{name}").json["sizeBytes"] == "3"
    assert client.files.retrieve(f"files/{doors.upload(b'abcd')}").bytes == 4


def test_a_range_of_a_file_is_given(client: OpenAI, doors: Doors) -> None:
    name = upload(client, content=b"0123456789")
    path = f"{BASE}/files/{name.replace('/', '%2F')}/content"
    answer = doors.ask("GET", path, headers={"Range": "bytes=2-4"})
    assert (answer.status, answer.body) == (206, b"234")


def test_files_are_listed_page_by_page_in_either_order(client: OpenAI) -> None:
    names = [upload(client) for _ in range(5)]
    newest = [file.id for file in client.files.list(limit=2, purpose="batch")]
    assert newest[:5] == names[::-1]
    oldest = [file.id for file in client.files.list(limit=2, purpose="batch", order="asc")]
    assert oldest == newest[::-1]
    assert list(client.files.list(purpose="vision")) == []
    following = client.files.list(after=names[4].removeprefix("files/"), limit=1)
    assert (following.data[0].id, following.has_more) == (names[3], True)


@pytest.mark.parametrize("first", ["file", "purpose"])
def test_the_parts_of_a_form_come_in_any_order_and_in_chunks(doors: Doors, first: str) -> None:
    fields = [("file", "in.jsonl", b"{}\n" * 9), ("purpose", None, b"batch")]
    body = form(*(fields if first == "file" else fields[::-1]))
    pieces = (body[start : start + 7] for start in range(0, len(body), 7))
    headers = {"Content-Type": "multipart/form-data; boundary=B"}
    answer = doors.ask("POST", f"{BASE}/files", pieces, headers)
    assert answer.status == 200
    assert (answer.json["bytes"], answer.json["filename"]) == (27, "in.jsonl")


FILE = ("file", "x", b"x")
PURPOSE = ("purpose", None, b"batch")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ([FILE], "purpose"),
        ([FILE, ("purpose", None, b"fine-tune")], "purpose"),
        ([PURPOSE], "file"),
        ([FILE, PURPOSE, FILE], "file"),
        ([FILE, PURPOSE, ("color", None, b"red")], "color"),
        ([FILE, PURPOSE, ("expires_after[seconds]", None, b"3600")], "expires_after.anchor"),
        ([FILE, ("purpose", None, b"x" * (limits.FORM_FIELD_BYTES_MAX + 1))], "purpose"),
        ([PURPOSE] * (limits.FORM_FIELDS_MAX + 1), None),
    ],
)
def test_a_wrong_form_leaves_no_file(
    doors: Doors, client: OpenAI, fields: list[tuple[str, str | None, bytes]], param: str | None
) -> None:
    before = [file.id for file in client.files.list()]
    headers = {"Content-Type": "multipart/form-data; boundary=B"}
    answer = doors.ask("POST", f"{BASE}/files", form(*fields), headers)
    assert (answer.status, answer.json["error"]["param"]) == (400, param)
    assert [file.id for file in client.files.list()] == before


def test_an_upload_that_is_no_form_is_told_so(doors: Doors) -> None:
    answer = doors.ask("POST", f"{BASE}/files", b"{}")
    assert "multipart/form-data" in answer.json["error"]["message"]


# batches --------------------------------------------------------------------------------------


def test_a_batch_is_created_and_seen_by_both_clients(client: OpenAI, doors: Doors) -> None:
    batch = order(client, metadata={"a": "b"}, completion_window="48h")
    assert (batch.status, batch.metadata, batch.model) == ("in_progress", {"a": "b"}, MODEL)
    assert batch.expires_at == batch.created_at + 48 * 3600
    for name in (batch.id, batch.id.removeprefix("batches/")):
        assert client.batches.retrieve(name) == batch
    shown = doors.ask("GET", f"/v1beta/{batch.id}").json
    assert shown["metadata"]["inputConfig"]["fileName"] == batch.input_file_id
    assert shown["metadata"]["state"] == "JOB_STATE_PENDING"
    other = client.batches.retrieve(doors.submit_inline())
    assert (other.status, other.endpoint) == ("in_progress", "/v1/chat/completions")


def test_both_files_are_downloaded_by_both_clients(client: OpenAI, doors: Doors) -> None:
    batch = order(client)
    batch_id = batch.id.removeprefix("batches/")
    doors.plan(batch_id, 1)
    doors.seal_parted(batch_id, b"good\n", b"bad\n")
    batch = client.batches.retrieve(batch.id)
    assert batch.status == "completed"
    for name, content in ((batch.output_file_id, b"good\n"), (batch.error_file_id, b"bad\n")):
        assert name is not None
        assert client.files.content(name).read() == content
        assert client.files.retrieve(name).purpose == "batch_output"
        answer = doors.ask("GET", f"/download/v1beta/{name}:download?alt=media")
        assert (answer.status, answer.body) == (200, content)
    shown = doors.ask("GET", f"/v1beta/{batch.id}").json
    assert shown["response"]["responsesFile"] == batch.output_file_id


def test_batches_are_listed_page_by_page(client: OpenAI) -> None:
    names = [order(client).id for _ in range(5)]
    assert [batch.id for batch in client.batches.list(limit=2)][:5] == names[::-1]
    page = client.batches.list(limit=1, after=names[1])
    assert (page.data[0].id, page.has_more) == (names[0], page.has_more)


def test_a_batch_is_cancelled_and_a_repeat_changes_nothing(client: OpenAI) -> None:
    batch = client.batches.cancel(order(client).id)
    assert batch.status == "cancelling"
    assert batch.cancelling_at is not None
    assert client.batches.cancel(batch.id) == batch


def test_to_the_letter_a_batch_that_has_ended_cannot_be_cancelled(
    client: OpenAI, doors: Doors
) -> None:
    batch = order(client)
    with make_client(f"{doors.url}/exact{BASE}") as exact:
        assert exact.batches.cancel(batch.id).status == "cancelling"
        with pytest.raises(openai.ConflictError) as caught:
            exact.batches.cancel(batch.id)
    assert caught.value.response.headers["x-should-retry"] == "false"


@pytest.mark.parametrize("content", [b"junk", b'{"custom_id":"a"}\n', b"\n \n"])
def test_an_input_whose_first_line_names_no_model_is_taken_and_planning_will_tell(
    client: OpenAI, content: bytes
) -> None:
    assert order(client, content).model == "unknown"


def test_an_empty_file_is_taken_and_planning_will_tell(client: OpenAI) -> None:
    batch = order(client, input_file_id=upload(client, content=b""))
    assert (batch.status, batch.model) == ("in_progress", "unknown")


def test_the_first_line_may_be_longer_than_a_read(client: OpenAI) -> None:
    body = {"model": "gemini-2.5-pro", "messages": [], "user": "x" * limits.READ_BYTES}
    assert order(client, json.dumps({"body": body}).encode()).model == "gemini-2.5-pro"
    assert order(client, b"\n" * 5 + json.dumps({"body": body}).encode() + b"\n").model == (
        "gemini-2.5-pro"
    )


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"input_file_id": "files/none"}, openai.NotFoundError),
        ({"endpoint": "/v1/audio"}, openai.BadRequestError),
        ({"completion_window": "5m"}, openai.BadRequestError),
    ],
)
def test_an_order_that_cannot_be_is_refused(
    client: OpenAI, options: dict[str, Any], kind: type[openai.APIError]
) -> None:
    with pytest.raises(kind):
        order(client, **options)


def test_results_are_no_input(client: OpenAI, doors: Doors) -> None:
    batch = order(client)
    batch_id = batch.id.removeprefix("batches/")
    doors.plan(batch_id, 1)
    doors.seal_parted(batch_id, b"good\n", b"")
    with pytest.raises(openai.BadRequestError, match="holds results"):
        order(client, input_file_id=f"files/batch-{batch_id}")


@pytest.mark.parametrize("slash", ["%2F", "%2f", "/"])
def test_curl_may_write_the_slash_of_an_id_as_it_likes(
    client: OpenAI, doors: Doors, slash: str
) -> None:
    batch = order(client)
    paths = {
        f"batches/{batch.id}": batch.id,
        f"files/{batch.input_file_id}": batch.input_file_id,
        f"models/models/{MODEL}": f"models/{MODEL}",
    }
    for path, name in paths.items():
        collection, _, item = path.partition("/")
        url = f"{doors.url}{BASE}/{collection}/{item.replace('/', slash)}"
        done = subprocess.run(
            ["curl", "-s", "-f", url], capture_output=True, check=True, timeout=30
        )
        assert json.loads(done.stdout)["id"] == name
    url = f"{doors.url}{BASE}/batches/batches{slash}{batch.id.removeprefix('batches/')}/cancel"
    done = subprocess.run(
        ["curl", "-s", "-f", "-X", "POST", url], capture_output=True, check=True, timeout=30
    )
    assert json.loads(done.stdout)["status"] == "cancelling"
