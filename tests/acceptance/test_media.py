"""A real server shows pictures and files of prompts to models behind it, on every way alike."""

from __future__ import annotations

import asyncio
import threading
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any

import msgspec
import openai
import pytest
from google import genai
from google.genai import errors, types

from tests.acceptance.options import SAMPLES
from tests.acceptance.server import Server, counters, text_of
from tests.acceptance.test_options import Sender
from tests.engines.gemini_upstream import GeminiUpstream
from tests.engines.upstream import Upstream, words_of

MODEL = "gemini-2.5-flash"
PNG, JPEG, SONG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)), b"\xff\xd8\xff\xfb\xef", b"RIFF" * 9

SETTINGS = """
[models]
"*embedding*" = "echo"
"*" = "far"

[engines.far]
kind = "{kind}"
base_url = "{base_url}"
model = "the-model"
{more}
"""
KINDS: dict[str, tuple[type[Upstream], str]] = {
    "openai": (Upstream, 'server = "vllm"\nmedia = ["image/*", "audio/wav"]'),
    "gemini": (GeminiUpstream, 'media = ["image/*", "audio/*"]'),
}


@contextmanager
def behind(kind: type[Upstream]) -> Iterator[Upstream]:
    """Serve from a thread of its own, on a real port."""
    loop, upstream = asyncio.new_event_loop(), kind()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(upstream.start(), loop).result(60)
        yield upstream
    finally:
        asyncio.run_coroutine_threadsafe(upstream.stop(), loop).result(60)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@pytest.fixture(scope="module", params=list(KINDS))
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    kind, more = KINDS[request.param]
    path = tmp_path_factory.mktemp(request.param)
    with behind(kind) as upstream:
        config = path / "settings.toml"
        text = SETTINGS.format(kind=request.param, base_url=upstream.base_url, more=more)
        config.write_text(text)
        server = Server(path / "data", "--config", str(config))
        try:
            yield server.start()
        finally:
            server.close()


def body_of(*parts: Any) -> dict[str, Any]:
    return {"contents": [{"role": "user", "parts": list(parts)}]}


def inline(content: bytes, mime_type: str = "image/png") -> dict[str, Any]:
    return {"inlineData": {"mimeType": mime_type, "data": b64encode(content).decode()}}


def live(server: Server, body: Any) -> Any:
    path = f"/v1beta/models/{MODEL}:generateContent"
    answer = server.ask("POST", path, msgspec.json.encode(body))
    return {"response": answer.json} if answer.status == 200 else answer.json


def all_ways(server: Server, bodies: list[Any]) -> list[list[Any]]:
    """Give the answers to some requests live, in an inline batch and in a file."""
    one_by_one = [live(server, body) for body in bodies]
    requests = {"requests": {"requests": [{"request": body} for body in bodies]}}
    order = {"batch": {"displayName": "media", "inputConfig": requests}}
    path = f"/v1beta/models/{MODEL}:batchGenerateContent"
    name = server.ask("POST", path, msgspec.json.encode(order)).json["name"]
    items = server.finish(name)["response"]["inlinedResponses"]["inlinedResponses"]
    lines = (
        msgspec.json.encode({"key": str(key), "request": body}) for key, body in enumerate(bodies)
    )
    name = server.submit(b"\n".join(lines))
    server.finish(name)
    return [one_by_one, items, server.results(name)]


def test_what_a_model_sees_is_the_same_on_every_way(server: Server) -> None:
    picture = server.upload(PNG, "image/png")
    song = server.upload(SONG, "audio/wav")
    base = f"{server.base_url}/v1beta"
    cat, dog, tune = (
        words_of(kind, content)
        for kind, content in (("image/png", PNG), ("image/jpeg", JPEG), ("audio/wav", SONG))
    )
    urlsafe = {"mime_type": "image/jpeg", "data": urlsafe_b64encode(JPEG).decode().rstrip("=")}
    cases: list[tuple[Any, str]] = [
        (body_of({"text": "a "}, inline(PNG), {"text": " b"}), f"a {cat} b"),
        (body_of({"inline_data": urlsafe}, {"text": "same"}), f"{dog}same"),
        (body_of({"text": "f "}, {"fileData": {"fileUri": picture}}), f"f {cat}"),
        (
            body_of({"fileData": {"fileUri": f"{base}/{song}"}}, inline(PNG), {"text": "."}),
            f"{tune}{cat}.",
        ),
        (
            body_of({"fileData": {"fileUri": picture, "mimeType": "image/jpeg"}}),
            words_of("image/jpeg", PNG),
        ),
        (body_of({"text": "words alone"}), "words alone"),
    ]
    for answers in all_ways(server, [body for body, _ in cases]):
        assert [text_of(answer) for answer in answers] == [text for _, text in cases]


def test_what_cannot_be_shown_fails_its_row_alone(server: Server) -> None:
    kept = server.upload(PNG, "image/png")
    gone = server.upload(PNG, "image/png")
    assert server.ask("DELETE", f"/v1beta/{gone}").status == 200
    cases = [
        (body_of({"fileData": {"fileUri": kept}}), None, ""),
        (body_of({"text": "a"}, {"fileData": {"fileUri": gone}}), 5, f"there is no file {gone}"),
        (body_of({"fileData": {"fileUri": "files/never"}}), 5, "there is no file files/never"),
        (body_of(inline(PNG, "video/x-flv")), 12, "not video/x-flv"),
        (body_of({"fileData": {"fileUri": server.upload(PNG, "jsonl")}}), 3, "Say what it is"),
        (body_of({"fileData": {"fileUri": "https://a/b.png"}}), 12, "fetched from elsewhere"),
        (body_of({"text": "still here"}), None, ""),
    ]
    statuses = {3: 400, 5: 404, 12: 501}
    for way, answers in enumerate(all_ways(server, [body for body, _, _ in cases])):
        for answer, (_, code, words) in zip(answers, cases, strict=True):
            if code is None:
                assert "response" in answer
                continue
            assert answer["error"]["code"] == (code if way else statuses[code])
            assert words in answer["error"]["message"]
            assert "contents[0].parts[" in answer["error"]["message"]


def test_options_about_media_mean_the_same_on_every_way(server: Server) -> None:
    name = server.upload(PNG, "image/png")
    file = msgspec.json.encode(SAMPLES["contents[].parts[].fileData"])
    samples = {
        "inlineData": SAMPLES["contents[].parts[].inlineData"],
        "fileData": msgspec.json.decode(file.replace(b"files/abc", name.encode())),
    }
    found = Sender(server).all(samples, MODEL, "generateContent", "batchGenerateContent")
    assert found[0] == found[1] == found[2]
    for outcome, answer in found[0].values():
        assert outcome == "response"
        assert "<image/png " in str(answer)


def test_a_cached_content_keeps_media_where_they_can_be_counted(
    server: Server, request: pytest.FixtureRequest
) -> None:
    kept = {
        "model": f"models/{MODEL}",
        "contents": [{"role": "user", "parts": [{"text": "this: "}, inline(PNG)]}],
    }
    made = server.ask("POST", "/v1beta/cachedContents", msgspec.json.encode(kept))
    if "openai" in request.node.name:
        assert made.status == 501
        assert "counts texts alone" in made.message
        return
    naming = {"cachedContent": made.json["name"]}
    more = body_of(inline(JPEG, "image/jpeg"), {"text": "and?"}) | naming
    seen = [f"this: {words_of('image/png', PNG)}", f"{words_of('image/jpeg', JPEG)}and?"]
    for answers in all_ways(server, [naming, more]):
        assert [text_of(answer) for answer in answers] == seen


def test_googles_client_shows_bytes_and_an_uploaded_file(server: Server) -> None:
    options = types.HttpOptions(base_url=server.base_url)
    with genai.Client(api_key="any", http_options=options) as client:
        config = types.UploadFileConfig(mime_type="image/png")
        file = client.files.upload(file=BytesIO(PNG), config=config)
        contents: list[Any] = [
            "one ",
            types.Part.from_bytes(data=JPEG, mime_type="image/jpeg"),
            " two ",
            file,
        ]
        expected = f"one {words_of('image/jpeg', JPEG)} two {words_of('image/png', PNG)}"
        assert client.models.generate_content(model=MODEL, contents=contents).text == expected
        stream = client.models.generate_content_stream(model=MODEL, contents=contents)
        assert "".join(piece.text or "" for piece in stream) == expected
        assert file.name is not None
        client.files.delete(name=file.name)
        with pytest.raises(errors.ClientError) as failed:
            client.models.generate_content(model=MODEL, contents=contents)
        assert failed.value.code == 404
        assert "there is no file" in str(failed.value)


def test_openais_client_shows_bytes_and_an_uploaded_file(server: Server) -> None:
    name = server.upload(PNG, "image/png")
    client = openai.OpenAI(api_key="any", base_url=f"{server.base_url}/v1beta/openai/")
    address = f"data:image/jpeg;base64,{b64encode(JPEG).decode()}"
    content: list[Any] = [
        {"type": "text", "text": "one "},
        {"type": "image_url", "image_url": {"url": address}},
        {"type": "file", "file": {"file_id": name}},
    ]
    messages: list[Any] = [{"role": "user", "content": content}]
    with client:
        answer = client.chat.completions.create(model=MODEL, messages=messages)
        seen = f"one {words_of('image/jpeg', JPEG)}{words_of('image/png', PNG)}"
        assert answer.choices[0].message.content == seen
        content.append({"type": "image_url", "image_url": {"url": "https://a/b.png"}})
        with pytest.raises(openai.APIStatusError) as failed:
            client.chat.completions.create(model=MODEL, messages=messages)
        assert "nothing is fetched from elsewhere" in str(failed.value)


def test_a_batch_of_openais_clients_shows_media_too(server: Server) -> None:
    kept, gone = server.upload(PNG, "image/png"), "files/never"
    address = f"data:image/jpeg;base64,{b64encode(JPEG).decode()}"
    parts: list[Any] = [
        {"type": "image_url", "image_url": {"url": address}},
        {"type": "file", "file": {"file_id": kept}},
        {"type": "file", "file": {"file_id": gone}},
    ]
    lines = [
        msgspec.json.encode(
            {
                "custom_id": str(key),
                "method": "POST",
                "url": "/v1/chat/completions",
                "body": {"model": MODEL, "messages": [{"role": "user", "content": [part]}]},
            }
        )
        for key, part in enumerate(parts)
    ]
    client = openai.OpenAI(api_key="any", base_url=f"{server.base_url}/v1beta/openai/")
    with client:
        file = client.files.create(file=("in.jsonl", b"\n".join(lines)), purpose="batch")
        batch = client.batches.create(
            input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
        )
        server.finish(batch.id)
        batch = client.batches.retrieve(batch.id)
        assert batch.output_file_id
        assert batch.error_file_id
        answers, failures = (
            [msgspec.json.decode(line) for line in client.files.content(name).text.splitlines()]
            for name in (batch.output_file_id, batch.error_file_id)
        )
    said = [one["response"]["body"]["choices"][0]["message"]["content"] for one in answers]
    assert said == [words_of("image/jpeg", JPEG), words_of("image/png", PNG)]
    (failure,) = failures
    assert failure["custom_id"] == "2"
    assert "there is no file files/never" in str(failure)
    assert "messages[0].content[0].file" in str(failure)


def test_many_rows_with_one_large_file_are_all_answered(server: Server) -> None:
    large = PNG * 20_000
    name = server.upload(large, "image/png")
    lines = [
        msgspec.json.encode({"key": str(key), "request": body_of({"fileData": {"fileUri": name}})})
        for key in range(40)
    ]
    batch = server.submit(b"\n".join(lines))
    server.finish(batch, 120)
    assert counters(server.batch(batch)) == (40, 0, 40, 0)
    assert {text_of(line) for line in server.results(batch)} == {words_of("image/png", large)}


def test_a_dry_run_of_requests_with_media_finds_no_fault(server: Server) -> None:
    requests = {"requests": {"requests": [{"request": body_of(inline(PNG))}]}}
    order = {"batch": {"displayName": "media", "inputConfig": requests}}
    path = f"/v1beta/models/{MODEL}:batchGenerateContent?dryRun=true"
    answer = server.ask("POST", path, msgspec.json.encode(order))
    assert answer.json["accepted"] is True, answer.body
