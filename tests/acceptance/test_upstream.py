"""A real server whose models run behind another one, at its door for OpenAI's clients."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import openai
import pytest
from google import genai
from google.genai import types
from PIL import Image

from tests.acceptance.conftest import MakeServer
from tests.acceptance.server import Server, counters, request_line, text_of, until

SETTINGS = """
[models]
"gemini-*" = "upstream"
"*embedding*" = "vectors"
"*image*" = "pictures"

[engines.upstream]
kind = "openai"
base_url = "{base_url}/v1beta/openai"
model = "gemini-2.5-flash"
api_key = {{ env = "UPSTREAM_KEY" }}
schema = true
functions = true
concurrency_max = {concurrency}

[engines.vectors]
kind = "openai"
base_url = "{base_url}/v1beta/openai"
model = "gemini-embedding-001"
text = false
embeddings = true

[engines.pictures]
kind = "openai"
base_url = "{base_url}/v1beta/openai"
model = "gemini-3-pro-image-preview"
text = false
images = true
"""


def pointed(make_server: MakeServer, upstream: Server, path: Path, concurrency: int = 32) -> Server:
    """Start a server whose models are those of another one."""
    config = path / "settings.toml"
    config.write_text(SETTINGS.format(base_url=upstream.base_url, concurrency=concurrency))
    key = {"UPSTREAM_KEY": "any-key"}
    return make_server("--config", str(config), environment=key)


@pytest.fixture
def server(make_server: MakeServer, echo: Server, tmp_path: Path) -> Server:
    return pointed(make_server, echo, tmp_path)


def test_every_line_of_a_file_is_answered_by_the_server_behind(server: Server) -> None:
    lines = [request_line(str(number), f"say {number}") for number in range(500)]
    lines[123] = request_line("123", "[[fail 3]]")
    lines[321] = request_line("321", "one of them", topK=40)
    name = server.submit(b"".join(lines))
    assert server.finish(name)["done"]
    results = server.results(name)
    assert [result["key"] for result in results] == [str(number) for number in range(500)]
    failed = {result["key"]: result["error"] for result in results if "error" in result}
    assert failed.keys() == {"123", "321"}
    assert failed["123"]["code"] == 3
    assert "topK" in failed["321"]["message"]
    for result in results:
        if result["key"] not in failed:
            assert text_of(result) == f"say {result['key']}"
            assert result["response"]["modelVersion"] == "echo"
            assert result["response"]["usageMetadata"]["promptTokenCount"] > 0


def test_live_answers_streams_forms_and_vectors_come_from_behind(server: Server) -> None:
    with genai.Client(api_key="any", http_options={"base_url": server.base_url}) as client:
        model = "gemini-2.5-flash"
        assert client.models.generate_content(model=model, contents="hello").text == "hello"
        pieces = client.models.generate_content_stream(model=model, contents="once upon a time")
        texts = [piece.text for piece in pieces if piece.text]
        assert len(texts) > 1
        assert "".join(texts) == "once upon a time"
        form = types.GenerateContentConfig(
            response_mime_type="text/x.enum",
            response_schema={"type": "STRING", "enum": ["red", "blue"]},
        )
        formed = client.models.generate_content(model=model, contents="sky?", config=form)
        assert formed.text in ("red", "blue")
        clock = types.FunctionDeclaration(name="clock")
        decides = types.GenerateContentConfig(tools=[types.Tool(function_declarations=[clock])])
        asked = client.models.generate_content(
            model=model, contents="Now: [[call clock]]", config=decides
        )
        (call,) = asked.function_calls or []
        assert (call.name, call.args) == ("clock", {})
        assert (call.id or "").startswith("call_")
        found = client.models.embed_content(model="gemini-embedding-001", contents=["a b", "c d"])
        assert [len(vector.values or ()) for vector in found.embeddings or ()] == [768, 768]
    asking = openai.OpenAI(base_url=f"{server.base_url}/v1beta/openai", api_key="any")
    with asking, pytest.raises(openai.BadRequestError) as refused:
        asking.chat.completions.create(
            model=model, messages=[{"role": "user", "content": "SECRET [[fail 3]]"}]
        )
    assert "status 400" in str(refused.value)
    assert "SECRET" not in str(refused.value)


def test_nothing_is_lost_when_the_server_behind_is_killed_and_comes_back(
    make_server: MakeServer, tmp_path: Path
) -> None:
    behind = make_server("--engine", "echo")
    port = urlsplit(behind.base_url).port
    server = pointed(make_server, behind, tmp_path, concurrency=4)
    lines = [request_line(str(number), f"{number} [[delay 0.1]]") for number in range(120)]
    name = server.submit(b"".join(lines))
    until(lambda: counters(server.batch(name))[2] > 10, 30)
    behind.kill()
    until(lambda: "is waited for" in server.process.said, 30)
    assert not server.batch(name)["done"]
    again = Server(behind.data, "--engine", "echo", "--port", str(port))
    try:
        again.start()
        server.finish(name)
        results = server.results(name)
    finally:
        again.close()
    assert [result["key"] for result in results] == [str(number) for number in range(120)]
    assert all(text_of(result).startswith(result["key"]) for result in results)


def test_a_start_without_the_server_behind_says_what_is_missing(tmp_path: Path) -> None:
    config = tmp_path / "settings.toml"
    config.write_text(SETTINGS.format(base_url="http://127.0.0.1:9", concurrency=4))
    server = Server(tmp_path / "lonely", "--config", str(config), environment={"UPSTREAM_KEY": "x"})
    try:
        server.spawn()
        words = "cannot run: The endpoint cannot be reached: Connection refused"
        assert server.process.stderr.wait_for(words, 60)
    finally:
        server.close()
    without = Server(tmp_path / "keyless", "--config", str(config))
    try:
        without.spawn()
        assert without.process.wait(60) == 2
        assert "there is no environment variable UPSTREAM_KEY" in without.process.said
    finally:
        without.close()


def test_pictures_come_from_the_server_behind_in_their_size(server: Server) -> None:
    wide = {"aspectRatio": "16:9", "imageSize": "512"}
    config = {"responseModalities": ["TEXT", "IMAGE"], "imageConfig": wide}
    lines = [
        msgspec.json.encode(
            {
                "key": str(key),
                "request": {
                    "contents": [{"parts": [{"text": "a cat"}]}],
                    "generationConfig": config | more,
                },
            }
        )
        for key, more in enumerate(({}, {}, {}, {"seed": 1}))
    ]
    created = server.create(server.upload(b"\n".join(lines)), "gemini-3-pro-image-preview")
    assert created.status == 200, created.body
    name = created.json["name"]
    assert server.finish(name)["done"]
    *drawn, refused = server.results(name)
    assert refused["error"]["message"].startswith("seed: ")
    for result in drawn:
        text, picture = result["response"]["candidates"][0]["content"]["parts"]
        assert text["text"] == "A picture by gemini-3-pro-image-preview."
        data = base64.b64decode(picture["inlineData"]["data"])
        assert Image.open(io.BytesIO(data)).size == (688, 384)
